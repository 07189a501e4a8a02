//! epcache itself, as a program that uses the library asks it.

use anyhow::Result;
use epcache::sync::Sync;
use epcache::{Cache, EntryPoint, Mode, PathEntry, Root, RootKind, Select};

use crate::job::Job;

/// Builds or asks the cache.
pub(crate) fn answer(job: &Job, mode: Mode) -> Result<Vec<EntryPoint>> {
    let root = Root {
        path: job.cache.clone(),
        kind: RootKind::User,
    };
    let path: Vec<PathEntry> = job.path.iter().map(PathEntry::new).collect();
    if job.is_build() {
        let sync = Sync::new(root.clone(), &[root], None)?;
        for path_entry in &path {
            sync.path_entry(path_entry)?;
        }
        return Ok(Vec::new());
    }
    let select = Select {
        group: job.group.as_deref(),
        ..Select::default()
    };
    let answer = Cache::new(vec![root], mode).entry_points(&path, select);
    let found = answer.entry_points.into_iter();
    Ok(found.map(|found| found.entry_point).collect())
}
