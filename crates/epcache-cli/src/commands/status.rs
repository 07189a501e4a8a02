//! `epcache status`: how each path entry is answered for.

use crate::Exit;
use crate::commands::is_absent;
use crate::output::{Column, Output, Row, Tone, shown, without_number};
use crate::setting::Setting;
use anyhow::Result;
use epcache::resolve::{Basis, Status};
use epcache::watchers::{self, How, Running};
use epcache::{Mode, PathEntry};
use serde::Serialize;
use serde_json::Number;
use std::borrow::Cow;
use std::time::Duration;

pub(crate) fn run(setting: &Setting, output: &mut Output) -> Result<Exit> {
    let path = setting.path()?;
    let cache = setting.cache();
    let watchers = watchers(setting);
    let mut rows: Vec<_> = path
        .iter()
        .zip(cache.status(&path))
        .map(|(path_entry, status)| {
            let watched = Watched::by(&watchers, path_entry);
            StatusRow::of(path_entry, &status, setting.mode, watched)
        })
        .collect();
    let said = said(&rows);
    if !output.tells_all() {
        rows.retain(|row| row.state != State::Absent);
    }
    output.rows(&rows)?;
    output.flush()?;
    said.iter().for_each(|line| output.warn(line));
    Ok(Exit::Found)
}

/// The watchers of all roots. Mode 'off' never touches a cache.
fn watchers(setting: &Setting) -> Vec<Running> {
    let asked = setting.roots.iter().filter(|_| setting.mode != Mode::Off);
    asked.flat_map(watchers::running).collect()
}

/// What a table has no room for, each once.
fn said(rows: &[StatusRow]) -> Vec<String> {
    let not_used = rows.iter().flat_map(|row| &row.not_used);
    let not_used = not_used.map(|why| format!("not used: {why}"));
    let problems = rows.iter().flat_map(|row| row.problems.iter().cloned());
    let mut said = Vec::new();
    for line in not_used.chain(problems) {
        if !said.contains(&line) {
            said.push(line);
        }
    }
    said
}

#[derive(Serialize)]
struct StatusRow {
    path_entry: String,
    answered_by: &'static str,
    state: State,
    reason: String,
    root: Option<String>,
    dists: usize,
    watched: Option<Watched>,
    not_used: Vec<String>,
    problems: Vec<String>,
}

/// The watcher that keeps a path entry current.
#[derive(Serialize)]
struct Watched {
    pid: u32,
    how: &'static str,
    seconds: Option<Number>,
}

impl Watched {
    /// That by one of the watchers: one that has events, else one that looks most often.
    fn by(watchers: &[Running], path_entry: &PathEntry) -> Option<Self> {
        let every = |how: How| match how {
            How::Events => None,
            How::Polled(every) => Some(every),
        };
        let (pid, every) = watchers
            .iter()
            .flat_map(|watcher| watcher.kept.iter().map(|kept| (watcher.pid, kept)))
            .filter(|(_, (kept, _))| kept == path_entry.as_os_str())
            .map(|(pid, (_, how))| (pid, every(*how)))
            .min_by_key(|(_, every)| *every)?;
        Some(Self {
            pid,
            how: every.map_or("events", |_| "poll"),
            seconds: every.and_then(seconds),
        })
    }

    fn in_words(&self) -> Cow<'static, str> {
        match &self.seconds {
            None => "events".into(),
            Some(seconds) => format!("every {seconds} s").into(),
        }
    }
}

/// As one writes it: without a fraction if there is none.
fn seconds(every: Duration) -> Option<Number> {
    match every.subsec_nanos() {
        0 => Some(every.as_secs().into()),
        _ => Number::from_f64(every.as_secs_f64()),
    }
}

/// What answers for a path entry, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
enum State {
    Fresh,
    Stale,
    Sealed,
    Vouched,
    Unchecked,
    MirrorFiles,
    Source,
    Absent,
    Nothing,
}

impl From<State> for &'static str {
    fn from(state: State) -> Self {
        match state {
            State::Fresh => "fresh",
            State::Stale => "stale",
            State::Sealed => "sealed",
            State::Vouched => "vouched",
            State::Unchecked => "unchecked",
            State::MirrorFiles => "mirror files",
            State::Source => "source",
            State::Absent => "absent",
            State::Nothing => "nothing",
        }
    }
}

impl StatusRow {
    fn of(path_entry: &PathEntry, status: &Status, mode: Mode, watched: Option<Watched>) -> Self {
        let (state, reason) = match &status.basis {
            // Mode 'only' does not look at path entries, and neither does this.
            Basis::Nothing(_) if mode != Mode::Only && is_absent(path_entry) => {
                (State::Absent, "does not exist".into())
            }
            basis => state(basis, mode),
        };
        Self {
            path_entry: status.path_entry.to_string_lossy().into_owned(),
            answered_by: match (&status.root, state) {
                (Some(root), _) => root.kind.name(),
                (None, State::Absent | State::Nothing) => "nothing",
                (None, _) => "source",
            },
            state,
            reason: without_number(&reason).into_owned(),
            root: status.root.as_ref().map(|root| shown(&root.path)),
            dists: status.dists,
            watched,
            not_used: status
                .not_used
                .iter()
                .map(|why| without_number(why).into_owned())
                .collect(),
            problems: status.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A word for the state, and the reason for it.
fn state(basis: &Basis, mode: Mode) -> (State, Cow<'_, str>) {
    match basis {
        Basis::Fresh { .. } if mode == Mode::Fast => (
            State::Fresh,
            "mode 'fast': edits inside a metadata directory are not seen".into(),
        ),
        Basis::Fresh { read: 0 } => (State::Fresh, "".into()),
        Basis::Fresh { read } => (
            State::Fresh,
            format!("{read} read from the source each time").into(),
        ),
        Basis::Stale {
            path_entry_changed: true,
            read,
        } => (
            State::Stale,
            format!("the path entry changed, {read} read from the source; run 'epcache sync'")
                .into(),
        ),
        Basis::Stale {
            path_entry_changed: false,
            read,
        } => (
            State::Stale,
            format!("{read} changed and read from the source; run 'epcache sync'").into(),
        ),
        Basis::Sealed => (
            State::Sealed,
            "vouched for by the builder of the image".into(),
        ),
        Basis::Vouched { dists } => (
            State::Vouched,
            format!("{dists} believed as their packages ship them").into(),
        ),
        Basis::Unchecked => (State::Unchecked, "mode 'only': whatever its age".into()),
        Basis::MirrorFiles => (
            State::MirrorFiles,
            "mode 'only': no index, order by name".into(),
        ),
        Basis::Source(why) => (State::Source, why.as_str().into()),
        Basis::Nothing(why) => (State::Nothing, why.as_str().into()),
    }
}

impl Row for StatusRow {
    fn titles(&self) -> &'static [Column] {
        &[
            Column::Text("STATE"),
            Column::Text("FROM"),
            Column::Number("DISTS"),
            Column::Text("WATCHED"),
            Column::Text("REASON"),
            Column::Path("PATH ENTRY"),
        ]
    }

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![
            <&str>::from(self.state).into(),
            self.answered_by.into(),
            self.dists.to_string().into(),
            self.watched.as_ref().map_or("-".into(), Watched::in_words),
            self.reason.as_str().into(),
            self.path_entry.as_str().into(),
        ]
    }

    fn tone(&self) -> Tone {
        match self.state {
            State::Fresh | State::Sealed | State::Vouched => Tone::Good,
            State::Absent | State::Nothing => Tone::Plain,
            State::Stale | State::Unchecked | State::MirrorFiles | State::Source => Tone::Attention,
        }
    }
}
