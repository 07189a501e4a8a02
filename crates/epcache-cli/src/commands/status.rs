//! `epcache status`: how each path entry is answered for.

use crate::Exit;
use crate::output::{Output, Row, Tone};
use crate::setting::Setting;
use anyhow::Result;
use epcache::Mode;
use epcache::resolve::{Basis, Status};
use serde::Serialize;
use std::borrow::Cow;

pub(crate) fn run(setting: &Setting, output: &mut Output) -> Result<Exit> {
    let path = setting.path()?;
    let cache = setting.cache();
    let rows: Vec<_> = cache
        .status(&path)
        .iter()
        .map(|status| StatusRow::of(status, setting.mode))
        .collect();
    output.rows(&rows)?;
    // What a table has no room for.
    let mut said: Vec<String> = rows
        .iter()
        .flat_map(|row| row.not_used.iter().map(|why| format!("not used: {why}")))
        .collect();
    said.extend(rows.iter().flat_map(|row| row.problems.clone()));
    said.dedup();
    said.iter().for_each(|line| output.warn(line));
    Ok(Exit::Found)
}

#[derive(Serialize)]
struct StatusRow {
    path_entry: String,
    answered_by: &'static str,
    state: &'static str,
    reason: String,
    root: Option<String>,
    dists: usize,
    not_used: Vec<String>,
    problems: Vec<String>,
}

impl StatusRow {
    fn of(status: &Status, mode: Mode) -> Self {
        let (state, reason) = state(&status.basis, mode);
        Self {
            path_entry: status.path_entry.to_string_lossy().into_owned(),
            answered_by: match (&status.root, &status.basis) {
                (Some(root), _) => root.kind.name(),
                (None, Basis::Nothing(_)) => "nothing",
                (None, _) => "source",
            },
            state,
            reason,
            root: status
                .root
                .as_ref()
                .map(|root| root.path.display().to_string()),
            dists: status.dists,
            not_used: status.not_used.clone(),
            problems: status.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A word for the state, and the reason for it.
fn state(basis: &Basis, mode: Mode) -> (&'static str, String) {
    match basis {
        Basis::Fresh { .. } if mode == Mode::Fast => (
            "fresh",
            "mode 'fast': edits inside a metadata directory are not seen".to_owned(),
        ),
        Basis::Fresh { read: 0 } => ("fresh", String::new()),
        Basis::Fresh { read } => ("fresh", format!("{read} read from the source each time")),
        Basis::Stale {
            path_entry_changed: true,
            read,
        } => (
            "stale",
            format!("the path entry changed, {read} read from the source; run 'epcache sync'"),
        ),
        Basis::Stale {
            path_entry_changed: false,
            read,
        } => (
            "stale",
            format!("{read} changed and read from the source; run 'epcache sync'"),
        ),
        Basis::Sealed => (
            "sealed",
            "vouched for by the builder of the image".to_owned(),
        ),
        Basis::Vouched { dists } => (
            "vouched",
            format!("{dists} believed as their packages ship them"),
        ),
        Basis::Unchecked => ("unchecked", "mode 'only': whatever its age".to_owned()),
        Basis::MirrorFiles => (
            "mirror files",
            "mode 'only': no index, order by name".to_owned(),
        ),
        Basis::Source(why) => ("source", why.clone()),
        Basis::Nothing(why) => ("nothing", why.clone()),
    }
}

impl Row for StatusRow {
    const TITLES: &'static [&'static str] = &[
        "STATE",
        "ANSWERED BY",
        "DISTRIBUTIONS",
        "PATH ENTRY",
        "REASON",
    ];

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![
            self.state.into(),
            self.answered_by.into(),
            self.dists.to_string().into(),
            self.path_entry.as_str().into(),
            self.reason.as_str().into(),
        ]
    }

    fn tone(&self) -> Tone {
        match self.state {
            "fresh" | "sealed" | "vouched" => Tone::Good,
            "nothing" => Tone::Plain,
            _ => Tone::Attention,
        }
    }
}
