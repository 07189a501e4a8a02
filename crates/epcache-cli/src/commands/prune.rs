//! `epcache prune`: remove mirrors whose path entry is gone, and leftovers.

use crate::Exit;
use crate::output::{Output, Row, complain};
use crate::setting::Setting;
use anyhow::Result;
use epcache::RootKind;
use serde::Serialize;
use std::borrow::Cow;

pub(crate) fn run(setting: &Setting, output: &mut Output, dry_run: bool) -> Result<Exit> {
    let mut rows = Vec::new();
    let mut failed = false;
    // The vendor's root belongs to packages, who remove their own. The system's is root's.
    for root in setting
        .roots
        .iter()
        .filter(|root| root.kind != RootKind::Vendor)
    {
        if root.kind == RootKind::System && !epcache::layout::is_writable_by_us(root) {
            output.note(&format!(
                "{}: left alone: not yours to write",
                root.path.display()
            ));
            continue;
        }
        match epcache::prune::root(root, setting.global.root.as_deref(), dry_run) {
            Ok(pruned) => {
                rows.extend(pruned.removed.iter().map(|path| PruneRow {
                    removed: path.display().to_string(),
                }));
                failed |= !pruned.errors.is_empty();
                pruned.errors.iter().for_each(|error| complain(&error.to_string()));
            }
            Err(error) => {
                complain(&error.to_string());
                failed = true;
            }
        }
    }
    if !output.is_quiet() {
        output.rows(&rows)?;
    }
    Ok(if failed { Exit::Failed } else { Exit::Found })
}

#[derive(Serialize)]
struct PruneRow {
    removed: String,
}

impl Row for PruneRow {
    const TITLES: &'static [&'static str] = &["REMOVED"];

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![self.removed.as_str().into()]
    }
}
