//! The sources: what the dists of a path entry declare, as `importlib.metadata` reads it, and with no more
//! care than an author of a cache would take.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context as _, Result};
use epcache::EntryPoint;
use epcache::parse::parse;

use crate::job::Job;
use crate::listing::{metadata_dirs, name_in, normalize};

/// What a dist declares, and the normalized name by which it shadows and is shadowed.
pub(crate) struct Dist {
    pub(crate) name: String,
    pub(crate) points: Vec<EntryPoint>,
}

/// The answer without a cache.
pub(crate) fn answer(job: &Job) -> Result<Vec<EntryPoint>> {
    let mut found = Vec::new();
    if !job.is_build() {
        let mut taken = HashSet::new();
        for path_entry in &job.path {
            for dist in read_all(path_entry, &mut taken, |group| job.wants(group))? {
                found.extend(dist.points);
            }
        }
    }
    Ok(found)
}

/// All groups, for a cache.
pub(crate) fn every(_: &str) -> bool {
    true
}

/// Reads what the dists of a path entry whose names are not taken declare in the groups that are wanted.
pub(crate) fn read_all(
    path_entry: &OsStr,
    taken: &mut HashSet<String>,
    wants: impl Fn(&str) -> bool,
) -> Result<Vec<Dist>> {
    of_listing(path_entry, taken, |metadata_dir, name| {
        read(&Path::new(path_entry).join(metadata_dir), name, &wants)
    })
}

/// The dists of a path entry whose names are not taken, in order, as `one` knows them; `one` is given
/// the metadata directory, and the name where that gives it.
pub(crate) fn of_listing(
    path_entry: &OsStr,
    taken: &mut HashSet<String>,
    mut one: impl FnMut(&OsStr, Option<String>) -> Result<Dist>,
) -> Result<Vec<Dist>> {
    let mut dists = Vec::new();
    for metadata_dir in metadata_dirs(path_entry) {
        let name = name_in(&metadata_dir.to_string_lossy());
        if name.as_ref().is_some_and(|name| taken.contains(name)) {
            continue; // shadowed, so nobody reads it
        }
        let dist = one(&metadata_dir, name)?;
        if taken.insert(dist.name.clone()) {
            dists.push(dist);
        }
    }
    Ok(dists)
}

/// Reads one dist, from its metadata directory.
pub(crate) fn read(
    metadata_dir: &Path,
    name: Option<String>,
    wants: impl Fn(&str) -> bool,
) -> Result<Dist> {
    let name = match name {
        Some(name) => name,
        None => name_in_metadata(metadata_dir)?,
    };
    let text = read_if_there(&metadata_dir.join("entry_points.txt"))?;
    let text = text.unwrap_or_default();
    let points = points_in(&text, wants);
    Ok(Dist { name, points })
}

/// The entry points of an `entry_points.txt` in the groups that are wanted.
pub(crate) fn points_in(text: &str, wants: impl Fn(&str) -> bool) -> Vec<EntryPoint> {
    let own = |entry: epcache::parse::Entry<'_>| EntryPoint {
        group: entry.group.to_owned(),
        name: entry.name.to_owned(),
        value: entry.value.to_owned(),
    };
    let entries = parse(text).filter_map(Result::ok);
    entries
        .filter(|entry| wants(entry.group))
        .map(own)
        .collect()
}

/// The text of a file; `None` where CPython goes on without it.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>> {
    let absent = |error: &io::Error| {
        use ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
        matches!(
            error.kind(),
            NotFound | NotADirectory | IsADirectory | PermissionDenied
        )
    };
    match std::fs::read_to_string(path) {
        Err(error) if absent(&error) => Ok(None),
        text => text
            .map(Some)
            .with_context(|| format!("read {}", path.display())),
    }
}

/// The normalized name by the first `Name` of METADATA, PKG-INFO, or the dist itself if it is a file.
pub(crate) fn name_in_metadata(metadata_dir: &Path) -> Result<String> {
    let files = ["METADATA", "PKG-INFO"].map(|file| metadata_dir.join(file));
    for file in files
        .iter()
        .map(|file| file.as_path())
        .chain([metadata_dir])
    {
        let text = read_if_there(file)?.unwrap_or_default();
        let is_name = |line: &&str| {
            line.get(..5)
                .is_some_and(|key| key.eq_ignore_ascii_case("name:"))
        };
        if let Some(line) = text.lines().find(is_name) {
            return Ok(normalize(line[5..].trim()));
        }
    }
    anyhow::bail!(
        "{}: its name is nowhere to be found",
        metadata_dir.display()
    )
}
