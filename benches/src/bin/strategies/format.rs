//! The formats in which the nine caches are written, and what they have in common.

use std::path::Path;

use anyhow::Result;

use crate::job::Job;
use crate::record::{Contents, Record, Stamps};
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

    fn load(self, path: &Path, job: &Job, seen: &Stamps) -> Option<Record> {
        match self {
            Format::Ini => ini::load(path, job, seen),
            Format::Json => json::load(path, job, seen),
            Format::Sqlite => sqlite::load(path, job, seen),
        }
    }

    fn save(self, path: &Path, contents: &Contents) {
        match self {
            Format::Ini => ini::save(path, contents),
            Format::Json => json::save(path, contents),
            Format::Sqlite => sqlite::save(path, contents),
        }
    }

    /// The record of what was `seen` so (a `sys.path`, a path entry, or a source), from the file or, if
    /// that is stale, from what `build` reads, which is written then.
    pub(crate) fn record(
        self,
        job: &Job,
        file: &Path,
        seen: Stamps,
        build: impl FnOnce() -> Result<Vec<Dist>>,
    ) -> Result<Record> {
        match self.load(file, job, &seen) {
            Some(record) => Ok(record),
            None => Ok(self.built(file, seen, build()?)),
        }
    }

    /// The record of what the sources say, which is written.
    pub(crate) fn built(self, file: &Path, seen: Stamps, dists: Vec<Dist>) -> Record {
        let (mut names, mut rows) = (Vec::new(), Vec::new());
        for dist in dists {
            rows.extend(dist.points.into_iter().map(|point| (names.len(), point)));
            names.push(dist.name);
        }
        let contents = Contents { seen, names, rows };
        self.save(file, &contents);
        contents.into()
    }
}
