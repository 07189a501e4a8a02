//! Mirror files: copies of each `entry_points.txt`, under the names that epcache gives them. The path
//! entry is listed, and what is copied is believed by its name alone.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::Result;
use epcache::layout::mirror_of;
use epcache::{EntryPoint, Root, RootKind};

use crate::job::Job;
use crate::record::{keep_only, mtime, write_atomically};
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
            None => scan::read_all(path_entry, &mut taken)?,
        };
        found.extend(dists.into_iter().flat_map(|dist| dist.points));
    }
    found.retain(|point| job.group.as_ref().is_none_or(|group| *group == point.group));
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
        files.insert(file);
        let text = match !job.is_build() || mtime(&copy) == mtime(&source_of(&metadata)) {
            true => std::fs::read_to_string(&copy).ok(),
            false => None,
        };
        let text = match text {
            Some(text) => text,
            None => copied(&metadata, &copy)?,
        };
        let name = match name {
            Some(name) => name,
            None => scan::read(&metadata, None)?.name, // it is in the metadata, which is not copied
        };
        let points = scan::points_in(&text);
        Ok(Dist { name, points })
    })?;
    if job.is_build() {
        keep_only(mirror, ".txt", &files);
    }
    Ok(dists)
}

/// Copies a source, with its time. A dist without one has an empty copy.
fn copied(metadata: &Path, copy: &Path) -> Result<String> {
    let source = source_of(metadata);
    let modified = std::fs::metadata(&source).and_then(|stat| stat.modified());
    let text = scan::read_if_there(&metadata.join("entry_points.txt"))?.unwrap_or_default();
    write_atomically(copy, text.as_bytes(), modified.ok());
    Ok(text)
}

/// Whose time a mirror file has: the dist's, if it has no `entry_points.txt`.
fn source_of(metadata: &Path) -> std::path::PathBuf {
    let source = metadata.join("entry_points.txt");
    if source.exists() {
        source
    } else {
        metadata.to_owned()
    }
}
