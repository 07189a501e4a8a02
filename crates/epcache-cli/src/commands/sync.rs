//! `epcache sync`: refresh mirrors and indexes.

use crate::Exit;
use crate::cli::{Global, SyncOptions};
use crate::commands::is_absent;
use crate::output::{Column, Output, Row, Tone, complain, escaped, shown, without_number};
use crate::setting::Setting;
use anyhow::{Context, Result, bail};
use epcache::sync::{Done, Outcome, Sync};
use epcache::{Error, PathEntry, RootKind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal};
use std::mem::{Discriminant, discriminant};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a sync may take before it shows its progress on a terminal.
const PATIENCE: Duration = Duration::from_millis(500);

/// The option that the command in the background does not have.
const BACKGROUND: &str = "--background";

pub(crate) fn run(setting: &Setting, output: &mut Output, options: &SyncOptions) -> Result<Exit> {
    let kind = kind(setting, options)?;
    let root = setting.root(kind)?;
    let sync = Sync::new(root, &setting.roots, setting.global.root.as_deref())?
        .seal(options.seal)
        .dry_run(options.dry_run);
    if options.background {
        return go_on_in_background();
    }
    let path = if kind == RootKind::User {
        setting.path()?
    } else {
        setting.system_path()?
    };
    if path.is_empty() {
        tell_of_no_path_entry(setting, output, options);
    }
    let (refused, path) = match kind {
        // CPython passes over what it finds nothing in, and so does a refresh for its sake.
        RootKind::User => (Vec::new(), path),
        RootKind::System | RootKind::Vendor => sort_out(setting, path),
    };
    for (path_entry, why) in &refused {
        complain(&format!(
            "--path {}: {why}",
            path_entry.as_os_str().display()
        ));
    }
    let results = sync_all(&sync, &path, output);
    let failed = !refused.is_empty() || results.iter().any(|(_, result)| result.is_err());
    for outcome in results
        .iter()
        .filter_map(|(_, result)| result.as_ref().ok())
    {
        tell(outcome, output, options);
    }
    let refused = refused.iter().map(|(path_entry, why)| {
        let why = without_number(why).into_owned();
        SyncRow::failed(path_entry, why)
    });
    let rows: Vec<_> = refused
        .chain(
            results
                .iter()
                .filter(|(path_entry, result)| {
                    let named = !setting.global.path.is_empty();
                    named || output.tells_all() || result.is_err() || !is_absent(path_entry)
                })
                .map(|(path_entry, result)| SyncRow::of(path_entry, result, options)),
        )
        .collect();
    if !output.is_quiet() {
        output.rows(&rows)?;
    }
    Ok(Exit::of_doing(failed))
}

/// Starts the same command once more, which nothing ties to the terminal or to the process that
/// started this one: that one has no child left once this one has ended. What else was inherited
/// stays open in it, so that a lock which the starter took lasts as long as the work.
fn go_on_in_background() -> Result<Exit> {
    // Fails for the first process of a group, as a shell makes each command: then the group is left.
    let of_its_own = rustix::process::setsid().is_ok();
    let program = std::env::current_exe().context("find this program")?;
    let mut again = Command::new(program);
    again
        .args(
            std::env::args_os()
                .skip(1)
                .filter(|word| word != BACKGROUND),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !of_its_own {
        again.process_group(0);
    }
    again.spawn().context("start this program again")?;
    Ok(Exit::Found)
}

/// The kind of root that is meant, if the arguments go together.
fn kind(setting: &Setting, options: &SyncOptions) -> Result<RootKind> {
    let kind = match options {
        SyncOptions { system: true, .. } => RootKind::System,
        SyncOptions { vendor: true, .. } => RootKind::Vendor,
        _ => RootKind::User,
    };
    if options.seal && kind != RootKind::Vendor {
        bail!(
            "--seal needs --vendor: only the vendor root is believed without a look at the source"
        );
    }
    setting.start_no_python_for(kind)?;
    Ok(kind)
}

/// A package build is told only if it asks: scripts run this for every package, and most have nothing
/// to do with Python.
fn tell_of_no_path_entry(setting: &Setting, output: &Output, options: &SyncOptions) {
    let place = match &setting.global.root {
        Some(root) => shown(root),
        None => "the well-known places".to_owned(),
    };
    let text = format!("no site directory found in {place}; name one with --path");
    if options.vendor && !options.seal && setting.global.root.is_some() {
        output.note(&text);
    } else {
        output.warn(&text);
    }
}

/// Which path entries were named with `--path` and can't be refreshed, each with the reason, and
/// the others. What an interpreter has on its `sys.path` may well not exist.
fn sort_out(setting: &Setting, path: Vec<PathEntry>) -> (Vec<(PathEntry, String)>, Vec<PathEntry>) {
    let mut refused = Vec::new();
    let mut rest = Vec::new();
    for path_entry in path {
        match why_refused(setting, &path_entry) {
            Some(why) => refused.push((path_entry, why)),
            None => rest.push(path_entry),
        }
    }
    (refused, rest)
}

/// Why a path entry that was named with `--path` can't be refreshed, if so.
fn why_refused(setting: &Setting, path_entry: &PathEntry) -> Option<String> {
    let Global { path, root, .. } = &setting.global;
    if path.is_empty() {
        return None;
    }
    let hint = match root {
        Some(_) => "; with --root, name it as it is inside the image",
        None => "",
    };
    if let Err(why) = path_entry.cacheable() {
        return Some(format!("{}{hint}", why.reason()));
    }
    if !is_absent(path_entry) {
        return None;
    }
    Some(match root {
        Some(root) if std::path::Path::new(path_entry.as_os_str()).starts_with(root) => {
            "starts with --root; leave that out".to_owned()
        }
        Some(root) => format!("does not exist (in {})", root.display()),
        None => "does not exist".to_owned(),
    })
}

/// What became of each path entry, in order.
pub(crate) type Results<'p> = Vec<(&'p PathEntry, Result<Outcome, Error>)>;

/// Refreshes one path entry after another; where one fails, the rest goes on. What fails again for
/// the same reason (the disk is full, the root can't be written) is only counted.
pub(crate) fn sync_all<'p>(sync: &Sync, path: &'p [PathEntry], output: &Output) -> Results<'p> {
    let progress = Progress::new(path.len(), output);
    let mut results: Results<'p> = Vec::new();
    for path_entry in path {
        if results.iter().any(|(done, _)| *done == path_entry) {
            continue; // twice on sys.path
        }
        progress.on(path_entry);
        results.push((path_entry, sync.path_entry(path_entry)));
    }
    progress.end();
    complain_of_failures(&results);
    results
}

/// Says for each reason which path entry failed first, and how many more.
fn complain_of_failures(results: &Results) {
    type Reason = (Discriminant<Error>, Option<ErrorKind>);
    let mut reasons: Vec<(Reason, &Error, usize)> = Vec::new();
    for error in results
        .iter()
        .filter_map(|(_, result)| result.as_ref().err())
    {
        let reason = (discriminant(error), error.io_kind());
        match reasons.iter_mut().find(|(known, ..)| *known == reason) {
            Some((_, _, more)) => *more += 1,
            None => reasons.push((reason, error, 0)),
        }
    }
    for (_, error, more) in reasons {
        match more {
            0 => complain(&error.to_string()),
            1 => complain(&format!(
                "{error}; 1 more path entry failed for the same reason"
            )),
            _ => complain(&format!(
                "{error}; {more} more path entries failed for the same reason"
            )),
        }
    }
}

/// What was wrong with the dists, also what CPython passes over in silence; and for those who want
/// to know more, what is not in the table.
fn tell(outcome: &Outcome, output: &Output, options: &SyncOptions) {
    for problem in &outcome.problems {
        output.warn(&problem.to_string());
    }
    let path_entry = std::path::Path::new(&outcome.path_entry);
    for metadata_dir in &outcome.read_each_time {
        let path = path_entry.join(metadata_dir);
        output.note(&format!(
            "{}: read from the source each time",
            path.display()
        ));
    }
    if options.dry_run {
        for path in &outcome.written {
            output.note(&format!("{}: would be written", path.display()));
        }
        for path in &outcome.removed {
            output.note(&format!("{}: would be removed", path.display()));
        }
    }
}

/// A bar on a terminal, once it takes long. Path entries are few, and one may take all the time: so
/// a thread brings up the bar, not the next path entry.
struct Progress {
    bar: ProgressBar,
    patience: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    fn new(length: usize, output: &Output) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {wide_msg}") {
            bar.set_style(style);
        }
        let wanted = !output.is_quiet() && std::io::stderr().is_terminal();
        let patience = wanted.then(|| {
            let (sender, end) = mpsc::channel();
            let bar = bar.clone();
            let thread = thread::spawn(move || {
                if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                    bar.tick();
                }
            });
            (sender, thread)
        });
        Self { bar, patience }
    }

    /// Goes on to a path entry, the next in order.
    fn on(&self, path_entry: &PathEntry) {
        let name = path_entry.as_os_str().to_string_lossy();
        self.bar.set_message(escaped(&name).into_owned());
        self.bar.inc(1);
    }

    /// Leaves nothing on the terminal. Waits for the thread first, which could bring up the bar yet.
    fn end(self) {
        if let Some((sender, thread)) = self.patience {
            drop(sender);
            let _ = thread.join(); // it has nothing to give
        }
        self.bar.finish_and_clear();
    }
}

#[derive(Serialize)]
struct SyncRow {
    path_entry: String,
    done: What,
    reason: String,
    dists: usize,
    written: Vec<String>,
    removed: Vec<String>,
    mirror: Option<String>,
    index: bool,
    read_each_time: Vec<String>,
    problems: Vec<String>,
}

/// What was done about a path entry, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub(crate) enum What {
    Refreshed,
    WouldRefresh,
    Unchanged,
    LeftAlone,
    NotCached,
    Failed,
}

impl What {
    pub(crate) fn of(done: &Done) -> Self {
        match done {
            Done::Refreshed => Self::Refreshed,
            Done::Unchanged => Self::Unchanged,
            Done::LeftToSystem => Self::LeftAlone,
            Done::NotCached(_) => Self::NotCached,
        }
    }
}

impl From<What> for &'static str {
    fn from(what: What) -> Self {
        match what {
            What::Refreshed => "refreshed",
            What::WouldRefresh => "would refresh",
            What::Unchanged => "unchanged",
            What::LeftAlone => "left alone",
            What::NotCached => "not cached",
            What::Failed => "failed",
        }
    }
}

impl SyncRow {
    fn of(path_entry: &PathEntry, result: &Result<Outcome, Error>, options: &SyncOptions) -> Self {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                let why = without_number(&error.to_string()).into_owned();
                return Self::failed(path_entry, why);
            }
        };
        let shown = |paths: &[std::path::PathBuf]| paths.iter().map(|path| shown(path)).collect();
        Self {
            done: match What::of(&outcome.done) {
                What::Refreshed if options.dry_run => What::WouldRefresh,
                done => done,
            },
            reason: reason(path_entry, outcome, options),
            dists: outcome.dists,
            written: shown(&outcome.written),
            removed: shown(&outcome.removed),
            mirror: outcome.mirror.as_deref().map(crate::output::shown),
            index: outcome.index.is_ok(),
            read_each_time: outcome
                .read_each_time
                .iter()
                .map(|name| name.to_string_lossy().into_owned())
                .collect(),
            problems: outcome.problems.iter().map(ToString::to_string).collect(),
            ..Self::failed(path_entry, String::new())
        }
    }

    fn failed(path_entry: &PathEntry, reason: String) -> Self {
        Self {
            path_entry: path_entry.as_os_str().to_string_lossy().into_owned(),
            done: What::Failed,
            reason,
            dists: 0,
            written: Vec::new(),
            removed: Vec::new(),
            mirror: None,
            index: false,
            read_each_time: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// What is unusual about what was done.
fn reason(path_entry: &PathEntry, outcome: &Outcome, options: &SyncOptions) -> String {
    let mut reasons = Vec::new();
    match (&outcome.done, &outcome.index) {
        (Done::LeftToSystem, _) => reasons.push("the system's root answers".to_owned()),
        (Done::NotCached(_), _) if path_entry.cacheable().is_ok() && is_absent(path_entry) => {
            reasons.push("does not exist".to_owned());
        }
        (Done::NotCached(why), _) => reasons.push(without_number(why).into_owned()),
        // As it is to be: packages ship mirror files.
        (_, Err(_)) if options.vendor && !options.seal => {}
        (_, Err(why)) => reasons.push(format!("no index: {why}")),
        (_, Ok(())) => {}
    }
    if !outcome.read_each_time.is_empty() {
        let number = outcome.read_each_time.len();
        reasons.push(format!("{number} read from the source each time"));
    }
    reasons.join("; ")
}

impl Row for SyncRow {
    fn titles(&self) -> &'static [Column] {
        &[
            Column::Text("DONE"),
            Column::Number("DISTS"),
            Column::Number("+"),
            Column::Number("-"),
            Column::Text("REASON"),
            Column::Path("PATH ENTRY"),
        ]
    }

    fn columns(&self) -> Vec<Cow<'_, str>> {
        let number = |number: usize| Cow::Owned(number.to_string());
        vec![
            <&str>::from(self.done).into(),
            number(self.dists),
            number(self.written.len()),
            number(self.removed.len()),
            self.reason.as_str().into(),
            self.path_entry.as_str().into(),
        ]
    }

    fn tone(&self) -> Tone {
        match self.done {
            What::Refreshed | What::WouldRefresh => Tone::Good,
            What::Unchanged | What::LeftAlone => Tone::Plain,
            What::NotCached | What::Failed => Tone::Attention,
        }
    }
}
