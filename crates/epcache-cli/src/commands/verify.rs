//! `epcache verify`: compare the cache with the sources.

use crate::Exit;
use crate::commands::sync::sync_all;
use crate::commands::why_not_used;
use crate::output::{Column, Output, Row, Tone, shown};
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
    for root in &setting.roots {
        if let Err(unusable) = root.usable() {
            if let Some(why) = why_not_used(&unusable) {
                output.warn(&format!("not compared: {}: {why}", root.path.display()));
            }
            continue;
        }
        let mut differ: Vec<PathEntry> = Vec::new();
        for path_entry in &path {
            let Some(found) = verify::path_entry(root, path_entry) else {
                continue;
            };
            compared += 1;
            if !found.is_empty() {
                differ.push(path_entry.clone());
            }
            differences.extend(found);
        }
        if repair && !differ.is_empty() {
            failed |= !repair_root(setting, output, root, &differ)?;
        }
    }
    let rows: Vec<_> = differences.iter().map(DifferenceRow::of).collect();
    output.rows(&rows)?;
    output.flush()?;
    // Whoever relies on a cache is to hear that there is none.
    let missing = compared == 0 && path.iter().any(could_have_a_mirror);
    if missing {
        output.warn("there is nothing to compare: no root has a mirror of this environment; run 'epcache sync'");
    } else if rows.is_empty() {
        let mirrors = if compared == 1 { "mirror" } else { "mirrors" };
        output.note(&format!("{compared} {mirrors} compared, no difference"));
    }
    Ok(match (failed, missing || !rows.is_empty()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Nothing,
        (false, false) => Exit::Found,
    })
}

fn could_have_a_mirror(path_entry: &PathEntry) -> bool {
    path_entry.cacheable().is_ok() && path_entry.location().is_dir()
}

/// Removes what differs and refreshes; whether that succeeded. The vendor's root belongs to packages.
fn repair_root(
    setting: &Setting,
    output: &Output,
    root: &Root,
    differ: &[PathEntry],
) -> Result<bool> {
    if root.kind == RootKind::Vendor {
        output.warn(&format!(
            "{}: not repaired: its files belong to packages; reinstall them",
            root.path.display()
        ));
        return Ok(true);
    }
    // First whether the root can be written to safely, then the removing.
    let sync = Sync::new(root.clone(), &setting.roots, setting.global.root.as_deref())?;
    for path_entry in differ {
        verify::remove_differing(root, path_entry)?;
    }
    let results = sync_all(&sync, differ, output);
    Ok(results.iter().all(|(_, result)| result.is_ok()))
}

#[derive(Serialize)]
struct DifferenceRow {
    path: String,
    difference: String,
}

impl DifferenceRow {
    fn of(difference: &Difference) -> Self {
        Self {
            path: shown(&difference.path),
            difference: difference.what.clone(),
        }
    }
}

impl Row for DifferenceRow {
    fn titles(&self) -> &'static [Column] {
        &[Column::Path("FILE"), Column::Text("DIFFERENCE")]
    }

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![self.path.as_str().into(), self.difference.as_str().into()]
    }

    fn tone(&self) -> Tone {
        Tone::Attention
    }
}
