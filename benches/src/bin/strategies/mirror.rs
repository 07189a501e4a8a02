//! Mirror files: copies of each `entry_points.txt`, under the names that epcache gives them. The path
//! entry is listed, and what is copied is believed by its name alone.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;
use epcache::layout::mirror_of;
use epcache::{EntryPoint, Root, RootKind};

use crate::job::Job;
use crate::record::{keep_only, write_atomically};
use crate::scan::{self, Dist};

/// Builds or asks the cache.
pub(crate) fn answer(job: &Job) -> Result<Vec<EntryPoint>> {
    let root = Root {
        path: job.cache.clone(),
        kind: RootKind::User,
    };
    let mut taken = HashSet::new();
    let mut found = Vec::new();
    for path_entry in &job.path {
        let dists = match mirror_of(&root, path_entry) {
            Some(mirror) => of_mirror(job, path_entry, &mirror, &mut taken)?,
            None => scan::read_all(path_entry, &mut taken, |group| job.wants(group))?,
        };
        found.extend(dists.into_iter().flat_map(|dist| dist.points));
    }
    Ok(found)
}

/// What the mirror files of one path entry say; where there is none, one is made.
fn of_mirror(
    job: &Job,
    path_entry: &OsStr,
    mirror: &Path,
    taken: &mut HashSet<String>,
) -> Result<Vec<Dist>> {
    let mut files = HashSet::new();
    let dists = scan::of_listing(path_entry, taken, |metadata_dir, name| {
        let metadata = Path::new(path_entry).join(metadata_dir);
        let mut file = OsString::from(metadata_dir);
        file.push(".txt");
        let copy = mirror.join(&file);
        let text = if job.is_build() {
            files.insert(file);
            copy_unless_fresh(&metadata, &copy)?;
            String::new()
        } else {
            match std::fs::read_to_string(&copy) {
                Ok(text) => text,
                Err(_) => copied(&metadata, &copy, modified(&metadata))?,
            }
        };
        let name = match name {
            Some(name) => name,
            None => scan::name_in_metadata(&metadata)?, // which is not copied
        };
        // To look for a word is faster than to parse.
        let points = match &job.group {
            Some(group) if !text.contains(group) => Vec::new(),
            _ => scan::points_in(&text, |group| job.wants(group)),
        };
        Ok(Dist { name, points })
    })?;
    if job.is_build() {
        keep_only(mirror, ".txt", &files);
    }
    Ok(dists)
}

/// Copies a source, if its time is not that of the copy.
fn copy_unless_fresh(metadata: &Path, copy: &Path) -> Result<()> {
    let modified = modified(metadata);
    if modified.is_none() || modified != time_of(copy) {
        copied(metadata, copy, modified)?;
    }
    Ok(())
}

/// Copies a source, with its time. A dist without one has an empty copy.
fn copied(metadata: &Path, copy: &Path, modified: Option<SystemTime>) -> Result<String> {
    let text = scan::read_if_there(&metadata.join("entry_points.txt"))?.unwrap_or_default();
    write_atomically(copy, text.as_bytes(), modified);
    Ok(text)
}

/// The time that a mirror file has: its source's, or the dist's, if that has no `entry_points.txt`.
fn modified(metadata: &Path) -> Option<SystemTime> {
    time_of(&metadata.join("entry_points.txt")).or_else(|| time_of(metadata))
}

fn time_of(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
