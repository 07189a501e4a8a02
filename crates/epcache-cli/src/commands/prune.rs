//! `epcache prune`: remove mirrors whose path entry is gone, and leftovers.

use crate::Exit;
use crate::output::{Column, Output, Row, complain, shown};
use crate::setting::Setting;
use anyhow::Result;
use epcache::prune::Pruned;
use epcache::{RootKind, layout};
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
        if root.kind == RootKind::System && !layout::is_writable_by_us(root) {
            let path = root.path.display();
            output.note(&format!("{path}: left alone: not yours to write"));
            continue;
        }
        let pruned = epcache::prune::root(root, setting.global.root.as_deref(), dry_run);
        let Pruned { removed, errors } = pruned.unwrap_or_else(|error| Pruned {
            errors: vec![error],
            ..Pruned::default()
        });
        rows.extend(removed.iter().map(|path| PruneRow {
            removed: shown(path),
            dry_run,
        }));
        failed |= !errors.is_empty();
        errors.iter().for_each(|error| complain(&error.to_string()));
    }
    if rows.is_empty() && !failed {
        output.note("nothing to remove");
    }
    if !output.is_quiet() {
        output.rows(&rows)?;
    }
    Ok(Exit::of_doing(failed))
}

#[derive(Serialize)]
struct PruneRow {
    removed: String,
    #[serde(skip)]
    dry_run: bool,
}

impl Row for PruneRow {
    fn titles(&self) -> &'static [Column] {
        if self.dry_run {
            &[Column::Path("WOULD REMOVE")]
        } else {
            &[Column::Path("REMOVED")]
        }
    }

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![self.removed.as_str().into()]
    }
}
