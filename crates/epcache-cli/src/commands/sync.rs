//! `epcache sync`: refresh mirrors and indexes.

use crate::Exit;
use crate::cli::{Global, SyncOptions};
use crate::output::{Output, Row, Tone, complain};
use crate::setting::Setting;
use anyhow::{Result, bail};
use epcache::sync::{Done, Outcome, Sync};
use epcache::{PathEntry, RootKind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal};
use std::time::{Duration, Instant};

/// How long a sync may take before it shows its progress on a terminal.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) fn run(setting: &Setting, output: &mut Output, options: &SyncOptions) -> Result<Exit> {
    let kind = match options {
        SyncOptions { system: true, .. } => RootKind::System,
        SyncOptions { vendor: true, .. } => RootKind::Vendor,
        _ => RootKind::User,
    };
    let Global { python, venv, .. } = &setting.global;
    if kind != RootKind::User && (python.is_some() || venv.is_some()) {
        bail!(
            "--{} starts no Python: name path entries with --path instead of --python or --venv",
            kind.name()
        );
    }
    let root = setting.root(kind)?;
    let path = if kind == RootKind::User {
        setting.path()?
    } else {
        setting.system_path()
    };
    let sync = Sync::new(root, &setting.roots)?
        .seal(options.seal)
        .dry_run(options.dry_run);
    let (outcomes, failed) = sync_all(&sync, &path, output);
    for outcome in &outcomes {
        tell(outcome, output);
    }
    let rows: Vec<_> = outcomes
        .iter()
        .filter(|outcome| output.is_verbose() || !is_absent(outcome))
        .map(SyncRow::of)
        .collect();
    if !output.is_quiet() {
        output.rows(&rows)?;
    }
    Ok(if failed { Exit::Failed } else { Exit::Found })
}

/// Refreshes one path entry after another; what fails is said at once, and the rest goes on. What
/// fails again for the same reason (the disk is full, the root can't be written) is not said again.
pub(crate) fn sync_all(sync: &Sync, path: &[PathEntry], output: &Output) -> (Vec<Outcome>, bool) {
    let progress = Progress::new(path.len(), output);
    let mut said: Vec<Option<ErrorKind>> = Vec::new();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for path_entry in path {
        if outcomes
            .iter()
            .any(|outcome| outcome.path_entry == path_entry.as_os_str())
        {
            continue; // twice on sys.path
        }
        progress.on(path_entry);
        match sync.path_entry(path_entry) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                let kind = error.io_kind();
                if !said.contains(&kind) {
                    progress.bar.suspend(|| complain(&error.to_string()));
                }
                said.push(kind);
            }
        }
        progress.bar.inc(1);
    }
    progress.bar.finish_and_clear();
    (outcomes, !said.is_empty())
}

/// What was wrong with the dists, also what CPython passes over in silence.
fn tell(outcome: &Outcome, output: &Output) {
    for problem in &outcome.problems {
        output.warn(&problem.to_string());
    }
}

fn is_absent(outcome: &Outcome) -> bool {
    matches!(outcome.done, Done::NotCached(_))
        && !std::path::Path::new(&outcome.path_entry).exists()
}

/// A bar on a terminal, once it takes long.
struct Progress {
    bar: ProgressBar,
    start: Instant,
    wanted: bool,
}

impl Progress {
    fn new(length: usize, output: &Output) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {wide_msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            start: Instant::now(),
            wanted: !output.is_quiet() && std::io::stderr().is_terminal(),
        }
    }

    fn on(&self, path_entry: &PathEntry) {
        if self.wanted && self.start.elapsed() > PATIENCE && self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_message(
            path_entry
                .as_os_str()
                .to_string_lossy()
                .escape_default()
                .to_string(),
        );
    }
}

#[derive(Serialize)]
struct SyncRow {
    path_entry: String,
    done: &'static str,
    reason: String,
    dists: usize,
    written: Vec<String>,
    removed: Vec<String>,
    mirror: Option<String>,
    index: bool,
    read_each_time: Vec<String>,
    problems: Vec<String>,
}

impl SyncRow {
    fn of(outcome: &Outcome) -> Self {
        let shown = |paths: &[std::path::PathBuf]| {
            paths
                .iter()
                .map(|path| path.display().to_string())
                .collect()
        };
        let (done, reason) = match (&outcome.done, &outcome.index) {
            (Done::Refreshed, Err(why)) => ("refreshed", format!("no index: {why}")),
            (Done::Unchanged, Err(why)) => ("unchanged", format!("no index: {why}")),
            (Done::Refreshed, Ok(())) => ("refreshed", String::new()),
            (Done::Unchanged, Ok(())) => ("unchanged", String::new()),
            (Done::LeftToSystem, _) => ("left alone", "the system's root answers".to_owned()),
            (Done::NotCached(why), _) => ("not cached", why.clone()),
        };
        let reason = match outcome.read_each_time.len() {
            0 => reason,
            some if reason.is_empty() => format!("{some} read from the source each time"),
            some => format!("{reason}; {some} read from the source each time"),
        };
        Self {
            path_entry: outcome.path_entry.to_string_lossy().into_owned(),
            done,
            reason,
            dists: outcome.dists,
            written: shown(&outcome.written),
            removed: shown(&outcome.removed),
            mirror: outcome
                .mirror
                .as_ref()
                .map(|path| path.display().to_string()),
            index: outcome.index.is_ok(),
            read_each_time: outcome
                .read_each_time
                .iter()
                .map(|name| name.to_string_lossy().into_owned())
                .collect(),
            problems: outcome.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Row for SyncRow {
    const TITLES: &'static [&'static str] = &[
        "DONE",
        "DISTRIBUTIONS",
        "WRITTEN",
        "REMOVED",
        "PATH ENTRY",
        "REASON",
    ];

    fn columns(&self) -> Vec<Cow<'_, str>> {
        let number = |number: usize| Cow::Owned(number.to_string());
        vec![
            self.done.into(),
            number(self.dists),
            number(self.written.len()),
            number(self.removed.len()),
            self.path_entry.as_str().into(),
            self.reason.as_str().into(),
        ]
    }

    fn tone(&self) -> Tone {
        match self.done {
            "refreshed" | "unchanged" => Tone::Good,
            _ => Tone::Plain,
        }
    }
}
