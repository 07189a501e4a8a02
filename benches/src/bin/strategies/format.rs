//! The formats in which the nine caches are written, and what they have in common.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use crate::job::Job;
use crate::record::{Contents, Record, Stamps, stamps};
use crate::scan::Dist;
use crate::{ini, json, sqlite};

/// In what a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    Ini,
    Json,
    Sqlite,
}

impl Format {
    pub(crate) fn named(name: &str) -> Option<Format> {
        Some(match name {
            "ini" => Format::Ini,
            "json" => Format::Json,
            "sqlite" => Format::Sqlite,
            _ => return None,
        })
    }

    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Format::Ini => ".ini",
            Format::Json => ".json",
            Format::Sqlite => ".sqlite",
        }
    }

    fn load(self, path: &Path, group: Option<&str>, seen: &Stamps) -> Option<Record> {
        match self {
            Format::Ini => ini::load(path, group, seen),
            Format::Json => json::load(path, group, seen),
            Format::Sqlite => sqlite::load(path, group, seen),
        }
    }

    fn save(self, path: &Path, contents: &Contents) {
        match self {
            Format::Ini => ini::save(path, contents),
            Format::Json => json::save(path, contents),
            Format::Sqlite => sqlite::save(path, contents),
        }
    }

    /// The record of these paths (a `sys.path`, a path entry, or a source), from the file or, if that is
    /// stale, from what `build` reads, which is written then.
    pub(crate) fn record(
        self,
        job: &Job,
        file: &Path,
        paths: &[OsString],
        build: impl FnOnce() -> Result<Vec<Dist>>,
    ) -> Result<Record> {
        let seen = stamps(paths);
        if let Some(record) = self.load(file, job.group.as_deref(), &seen) {
            return Ok(record);
        }
        let (mut names, mut rows) = (Vec::new(), Vec::new());
        for dist in build()? {
            rows.extend(dist.points.into_iter().map(|point| (names.len(), point)));
            names.push(dist.name);
        }
        let contents = Contents { seen, names, rows };
        self.save(file, &contents);
        Ok(contents.into())
    }
}
