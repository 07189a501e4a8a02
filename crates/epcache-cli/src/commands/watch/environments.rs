//! The environments that are kept current, and the path entries that they have now. One that can't
//! be resolved, because it is being made anew, keeps those that it had.

use super::failures::{Failures, Subject};
use crate::output::escaped;
use crate::setting::{Setting, Wanted};
use anyhow::{Error, Result};
use epcache::PathEntry;
use std::path::PathBuf;
use std::time::Instant;

pub(super) struct Environments {
    all: Vec<Known>,
}

/// An environment, and what is known of it.
struct Known {
    wanted: Wanted,
    path: Vec<PathEntry>,
    deciders: Vec<PathBuf>,
}

impl Environments {
    pub(super) fn new(wanted: Vec<Wanted>) -> Self {
        let known = |wanted| Known {
            deciders: deciders_of_none(&wanted),
            path: Vec::new(),
            wanted,
        };
        Self {
            all: wanted.into_iter().map(known).collect(),
        }
    }

    /// Finds the path entries of all environments anew, but of those that failed just now. For a virtual
    /// environment that is not there can be waited, for anything else not. Whether to `go_on` is asked
    /// before each.
    ///
    /// What is wrong is said, the same thing once.
    ///
    /// # Errors
    /// None was ever found, and none of them can be waited for; not said yet.
    pub(super) fn resolve(
        &mut self,
        setting: &Setting,
        failures: &mut Failures,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<()> {
        let mut hopeless = Vec::new();
        for (number, known) in self.all.iter_mut().enumerate() {
            let subject = Subject::Environment(number);
            if !go_on() {
                return Ok(());
            }
            if failures.may_try(&subject) {
                let resolved = known.resolve(setting, failures, subject);
                hopeless.extend(resolved.err());
            }
        }
        let mut hopeless = hopeless.into_iter();
        if self.all.iter().all(Known::can_not_be_waited_for)
            && let Some(error) = hopeless.next()
        {
            return Err(error);
        }
        hopeless.for_each(|error| say_of_hopeless(&error));
        Ok(())
    }

    /// The path entries that can be kept current, each once.
    pub(super) fn path(&self) -> Vec<PathEntry> {
        let mut path: Vec<PathEntry> = Vec::new();
        for path_entry in self.all.iter().flat_map(|known| &known.path) {
            if path_entry.cacheable().is_ok() && !path.contains(path_entry) {
                path.push(path_entry.clone());
            }
        }
        path
    }

    /// What decides which they are.
    pub(super) fn deciders(&self) -> Vec<PathBuf> {
        let mut deciders: Vec<_> = self.all.iter().flat_map(|known| &known.deciders).collect();
        deciders.sort();
        deciders.dedup();
        deciders.into_iter().cloned().collect()
    }
}

impl Known {
    /// # Errors
    /// It can't be resolved, nor waited for, and that is to be said; what can be waited for is said.
    fn resolve(
        &mut self,
        setting: &Setting,
        failures: &mut Failures,
        subject: Subject,
    ) -> Result<()> {
        let start = Instant::now();
        let error = match setting.resolve(&self.wanted) {
            Ok(environment) => {
                self.deciders = environment.deciders();
                self.path = setting.path_entries(environment);
                if failures.works(&subject).is_some() {
                    tracing::info!("found {}", said(&self.wanted));
                }
                return Ok(());
            }
            Err(error) => error,
        };
        let message = format!("{error:#}");
        let is_new = failures.failed(subject, message.clone(), start.elapsed());
        match (is_new, self.can_not_be_waited_for()) {
            (false, _) => return Ok(()),
            (true, true) => return Err(error),
            (true, false) => tracing::warn!("{}; waiting for it", escaped(&message)),
        }
        Ok(())
    }

    /// Whether nothing was ever found, nor will tell that it has appeared.
    fn can_not_be_waited_for(&self) -> bool {
        self.path.is_empty() && self.deciders.is_empty()
    }
}

/// Says of an environment that nothing will tell when it appears.
pub(super) fn say_of_hopeless(error: &Error) {
    let message = format!("{error:#}; trying again from time to time");
    tracing::warn!("{}", escaped(&message));
}

/// What will tell that an environment has appeared.
fn deciders_of_none(wanted: &Wanted) -> Vec<PathBuf> {
    match wanted {
        Wanted::Venv(venv) => {
            let parts = ["pyvenv.cfg", "bin/python", "bin/python3", "conda-meta"];
            parts.map(|part| venv.join(part)).to_vec()
        }
        Wanted::Python(_) | Wanted::Given(_) | Wanted::System | Wanted::Default => Vec::new(),
    }
}

fn said(wanted: &Wanted) -> String {
    escaped(&wanted.to_string()).into_owned()
}
