//! `epcache verify`: compare the cache with the sources.

use crate::Exit;
use crate::commands::sync::sync_all;
use crate::output::{Output, Row, Tone};
use crate::setting::Setting;
use anyhow::Result;
use epcache::sync::Sync;
use epcache::verify::{self, Difference};
use epcache::{PathEntry, Root, RootKind};
use serde::Serialize;
use std::borrow::Cow;

pub(crate) fn run(setting: &Setting, output: &mut Output, repair: bool) -> Result<Exit> {
    let path = setting.path()?;
    let mut compared = 0;
    let mut differences = Vec::new();
    let mut failed = false;
    for root in setting.roots.iter().filter(|root| root.usable().is_ok()) {
        let mut differ: Vec<&PathEntry> = Vec::new();
        for path_entry in &path {
            let Some(found) = verify::path_entry(root, path_entry) else {
                continue;
            };
            compared += 1;
            if !found.is_empty() {
                differ.push(path_entry);
            }
            differences.extend(found);
        }
        if repair && !differ.is_empty() {
            failed |= !repair_root(setting, output, root, &differ)?;
        }
    }
    if compared == 0 {
        output.warn("there is nothing to compare: no root has a mirror of this environment; run 'epcache sync'");
    }
    let rows: Vec<_> = differences.iter().map(DifferenceRow::of).collect();
    output.rows(&rows)?;
    Ok(match (failed, rows.is_empty()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Found,
        (false, false) => Exit::Nothing,
    })
}

/// Removes what differs and refreshes; whether that succeeded. The vendor's root belongs to packages.
fn repair_root(
    setting: &Setting,
    output: &Output,
    root: &Root,
    differ: &[&PathEntry],
) -> Result<bool> {
    if root.kind == RootKind::Vendor {
        output.warn(&format!(
            "{}: not repaired: its files belong to packages; reinstall them",
            root.path.display()
        ));
        return Ok(true);
    }
    for path_entry in differ {
        verify::remove_differing(root, path_entry)?;
    }
    let path: Vec<PathEntry> = differ
        .iter()
        .map(|&path_entry| path_entry.clone())
        .collect();
    let (_, failed) = sync_all(&Sync::new(root.clone(), &setting.roots)?, &path, output);
    Ok(!failed)
}

#[derive(Serialize)]
struct DifferenceRow {
    path: String,
    difference: String,
}

impl DifferenceRow {
    fn of(difference: &Difference) -> Self {
        Self {
            path: difference.path.display().to_string(),
            difference: difference.what.clone(),
        }
    }
}

impl Row for DifferenceRow {
    const TITLES: &'static [&'static str] = &["FILE", "DIFFERENCE"];

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![self.path.as_str().into(), self.difference.as_str().into()]
    }

    fn tone(&self) -> Tone {
        Tone::Attention
    }
}
