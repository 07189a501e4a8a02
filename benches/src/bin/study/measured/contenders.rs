//! Who is measured: the ways of caching in both languages, the rivals, and how each is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use epcache_benches::machine;
use serde::Deserialize;

use super::conditions::Field;
use super::environments::Venv;
use super::run;
use super::work::Work;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Rust,
}

impl Language {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::Rust => "rust",
        }
    }
}

/// What a contender is, to decide where it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Does nothing: what everybody pays.
    Pass,
    /// What no reader of epcache's index can save. It gives no answer.
    Floor,
    /// No cache.
    None,
    /// A way of caching that was not chosen.
    Rejected,
    Epcache,
    /// Somebody else's, as it is.
    Rival,
}

/// One program with its strategy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    pub(crate) language: Language,
    pub(crate) family: Family,
    /// As in the records.
    pub(crate) name: &'static str,
    /// A module and its strategy, if it has several; or the strategy of the Rust program.
    how: &'static [&'static str],
    /// The cache that it reads, by a name. Those with the same one share it.
    cache: Option<&'static str>,
    /// Whether it is the one to build that cache.
    pub(crate) builds: bool,
}

/// The rejected ways: format and what one file is of, and epcache's own mirror files alone.
const REJECTED: [&str; 10] = [
    "ini-sys-path",
    "ini-path-entry",
    "ini-dist",
    "json-sys-path",
    "json-path-entry",
    "json-dist",
    "sqlite-sys-path",
    "sqlite-path-entry",
    "sqlite-dist",
    "mirror-files",
];

/// The module that has them in Python.
const CACHED: &str = "cached";

/// The script that starts the modules.
const START: &str = "start.py";

/// One cache serves all modes of epcache; this mode is asked to build it.
const EPCACHE: [(&str, &[&str], &[&str], bool); 3] = [
    (
        "epcache-exact",
        &["reader", "exact"],
        &["index-exact"],
        true,
    ),
    ("epcache-fast", &["reader", "fast"], &["index-fast"], false),
    ("epcache-only", &["reader", "only"], &["index-only"], false),
];

/// Name, module, and whether it builds a cache when it is told to.
const RIVALS: [(&str, &[&str], bool); 5] = [
    ("stevedore", &["stevedore_cache"], true),
    ("entrypoints", &["entrypoints_pkg"], false),
    ("pkg_resources", &["pkg_resources_old"], false),
    ("importlib_metadata", &["backport"], false),
    ("epi", &["epi_tool"], false),
];

/// Everyone, `pass` first in each language. Without rivals, nothing needs to be installed.
pub(crate) fn all(with_rivals: bool) -> Vec<Contender> {
    let mut all = python();
    if with_rivals {
        all.extend(RIVALS.iter().map(|&(name, how, builds)| Contender {
            how,
            cache: Some(name),
            builds,
            ..simple(Language::Python, Family::Rival, name)
        }));
    }
    all.extend(rust());
    all
}

fn python() -> Vec<Contender> {
    let simple = |family, name, how| Contender {
        how,
        ..simple(Language::Python, family, name)
    };
    let mut found = vec![
        simple(Family::Pass, "pass", &["pass"]),
        Contender {
            cache: Some("epcache"),
            ..simple(Family::Floor, "floor", &["floor"])
        },
        simple(Family::None, "none", &["none"]),
    ];
    found.extend(rejected(Language::Python));
    found.extend(EPCACHE.iter().map(|&(name, how, _, builds)| Contender {
        cache: Some("epcache"),
        builds,
        ..simple(Family::Epcache, name, how)
    }));
    found
}

fn rust() -> Vec<Contender> {
    let simple = |family, name, how| Contender {
        how,
        ..simple(Language::Rust, family, name)
    };
    let mut found = vec![
        simple(Family::Pass, "pass", &["none"]),
        simple(Family::None, "none", &["none"]),
    ];
    found.extend(rejected(Language::Rust));
    found.extend(EPCACHE.iter().map(|&(name, _, how, builds)| Contender {
        cache: Some("epcache"),
        builds,
        ..simple(Family::Epcache, name, how)
    }));
    found
}

fn rejected(language: Language) -> impl Iterator<Item = Contender> {
    REJECTED.iter().map(move |name| Contender {
        how: std::slice::from_ref(name),
        cache: Some(*name),
        builds: true,
        ..simple(language, Family::Rejected, name)
    })
}

fn simple(language: Language, family: Family, name: &'static str) -> Contender {
    Contender {
        language,
        family,
        name,
        how: &[],
        cache: None,
        builds: false,
    }
}

/// What a contender says of its own answers.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Promises {
    pub(crate) order: bool,
}

impl Contender {
    /// Whether it gives an answer that can be compared.
    pub(crate) fn answers(&self) -> bool {
        !matches!(self.family, Family::Pass | Family::Floor)
    }

    /// The command that does this work on a field.
    pub(crate) fn command(&self, venv: &Venv, field: &Field, work: Work) -> Command {
        // What is read may be the same directory as seen through a slow file system.
        let caches = if work.is_build() {
            &field.caches.written
        } else {
            &field.caches.read
        };
        let mut command = self.program(venv);
        match (self.language, self.family) {
            (Language::Rust, Family::Pass) => command.arg("version"),
            _ => command.args(work.words()),
        };
        command.arg("--cache").arg(self.cache_in(caches));
        if self.language == Language::Rust {
            for path_entry in &venv.sys_path {
                command.arg("--path").arg(path_entry);
            }
        }
        command.arg("--path").arg(&field.path);
        command
    }

    /// The program with its strategy.
    ///
    /// Nobody refreshes a cache in the background, where the next one to be measured would pay for it.
    fn program(&self, venv: &Venv) -> Command {
        let mut command = match self.language {
            Language::Python => {
                let mut command = venv.python();
                command.arg(venv.scripts.join(START));
                if self.family == Family::Rejected {
                    command.arg(CACHED);
                }
                command.args(self.how);
                command
            }
            Language::Rust => {
                let mut command = machine::command(&venv.strategies, &venv.home);
                command.args(self.how);
                command
            }
        };
        command.env("EPCACHE_ON_STALE", "ignore");
        command
    }

    /// Its cache among all caches.
    pub(crate) fn cache_in(&self, caches: &Path) -> PathBuf {
        caches
            .join(self.language.name())
            .join(self.cache.unwrap_or("nothing"))
    }

    /// Makes its cache fresh, if it has one to build.
    pub(crate) fn build(&self, venv: &Venv, field: &Field) -> Result<()> {
        if self.builds {
            run::timed(&mut self.command(venv, field, Work::Nothing))
                .with_context(|| format!("build the cache of {self}"))?;
        }
        Ok(())
    }

    /// Whether nobody else builds the cache that it reads.
    pub(crate) fn has_own_cache(&self) -> bool {
        self.builds || self.family == Family::Rival
    }

    /// Removes its cache.
    pub(crate) fn remove_cache(&self, field: &Field) -> Result<()> {
        let cache = self.cache_in(&field.caches.written);
        match fs::remove_dir_all(&cache) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", cache.display()))
            }
            _ => fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display())),
        }
    }

    /// What it promises of its answers to this work.
    pub(crate) fn promises(&self, venv: &Venv, work: Work) -> Result<Promises> {
        let mut command = self.program(venv);
        command.arg(work.words()[0]).arg("--promises");
        let said = machine::answer(&mut command)?;
        serde_json::from_str(&said).with_context(|| format!("{self} promises {said:?}"))
    }

    /// What it answers, a line for each entry point.
    pub(crate) fn answer(&self, venv: &Venv, field: &Field, work: Work) -> Result<String> {
        machine::answer(&mut self.command(venv, field, work))
    }
}

impl std::fmt::Display for Contender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.name, self.language.name())
    }
}

/// The right answer: that of `importlib.metadata`.
pub(crate) fn expected(venv: &Venv, field: &Field, work: Work) -> Result<String> {
    let none = Contender {
        how: &["none"],
        ..simple(Language::Python, Family::None, "none")
    };
    none.answer(venv, field, work)
}
