//! The nine caches: in which file is what, and when it is fresh. Only what is stale is built again.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use epcache::EntryPoint;

use crate::format::Format;
use crate::job::Job;
use crate::record::{Names, Record, file_for, keep_only, stamps};
use crate::scan::{self, Dist};

/// Of what one file is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    SysPath,
    PathEntry,
    Dist,
}

impl Layout {
    pub(crate) fn named(name: &str) -> Option<Layout> {
        Some(match name {
            "sys-path" => Layout::SysPath,
            "path-entry" => Layout::PathEntry,
            "dist" => Layout::Dist,
            _ => return None,
        })
    }
}

/// Builds or asks the cache.
pub(crate) fn answer(job: &Job, format: Format, layout: Layout) -> Result<Vec<EntryPoint>> {
    let mut taken = HashSet::new();
    let mut found = Vec::new();
    match layout {
        Layout::SysPath => {
            let file = file_of(job, format, &job.path);
            let record = format.record(job, &file, stamps(&job.path), || {
                let mut all = Vec::new();
                for path_entry in &job.path {
                    all.extend(scan::read_all(path_entry, &mut taken, scan::every)?);
                }
                // Who is shadowed is known; nobody will ask for names.
                let points = all.into_iter().flat_map(|dist| dist.points).collect();
                let name = String::new();
                Ok(vec![Dist { name, points }])
            })?;
            found.extend(record.rows.into_iter().map(|(_, point)| point));
        }
        Layout::PathEntry => {
            let cached = |path_entry| of_path_entry(job, format, path_entry);
            let records = job.path.iter().map(cached).collect::<Result<_>>()?;
            found = match not_shadowed(records) {
                Some(found) => found,
                None => {
                    let built = |path_entry| built_for(job, format, path_entry);
                    let records = job.path.iter().map(built).collect::<Result<_>>()?;
                    not_shadowed(records).context("what was just read has no names")?
                }
            };
        }
        Layout::Dist => {
            for path_entry in &job.path {
                for dist in of_dists(job, format, path_entry, &mut taken)? {
                    found.extend(dist.points);
                }
            }
        }
    }
    found.retain(|point| job.wants(&point.group));
    Ok(found)
}

fn file_of(job: &Job, format: Format, paths: &[OsString]) -> PathBuf {
    let name = file_for(paths) + format.suffix();
    job.cache.join(&job.strategy).join(name)
}

/// What the file of a path entry says; if it is stale, what the sources say.
fn of_path_entry(job: &Job, format: Format, path_entry: &OsString) -> Result<Record> {
    let path = std::slice::from_ref(path_entry);
    let file = file_of(job, format, path);
    format.record(job, &file, stamps(path), || {
        scan::read_all(path_entry, &mut HashSet::new(), scan::every)
    })
}

/// What the sources of a path entry say, whatever the file does.
fn built_for(job: &Job, format: Format, path_entry: &OsString) -> Result<Record> {
    let path = std::slice::from_ref(path_entry);
    let file = file_of(job, format, path);
    let seen = stamps(path);
    let dists = scan::read_all(path_entry, &mut HashSet::new(), scan::every)?;
    Ok(format.built(&file, seen, dists))
}

/// The entry points of the dists that no dist of an earlier record shadows. `None` if a file is damaged.
fn not_shadowed(records: Vec<Record>) -> Option<Vec<EntryPoint>> {
    let mut found = Vec::new();
    let mut earlier: Vec<Box<dyn Names>> = Vec::new();
    for Record { names, mut rows } in records {
        if !rows.is_empty() && !earlier.is_empty() {
            let mut shown = names.of(&rows.iter().map(|(dist, _)| *dist).collect())?;
            for other in &earlier {
                other.drop_known(&mut shown)?;
            }
            rows.retain(|(dist, _)| shown.contains_key(dist));
        }
        found.extend(rows.into_iter().map(|(_, point)| point));
        earlier.push(names);
    }
    Some(found)
}

/// What the files of one path entry's dists say, and the sources where there is none or a stale one.
fn of_dists(
    job: &Job,
    format: Format,
    path_entry: &OsStr,
    taken: &mut HashSet<String>,
) -> Result<Vec<Dist>> {
    let directory = file_for(&[path_entry.to_owned()]);
    let directory = job.cache.join(&job.strategy).join(directory);
    let mut files = HashSet::new();
    let dists = scan::of_listing(path_entry, taken, |metadata_dir, name| {
        let path = Path::new(path_entry).join(metadata_dir);
        let seen = stamps(&[path.join("entry_points.txt").into()]);
        if let (Some(name), [(_, None)]) = (&name, &seen[..]) {
            // It declares nothing, so there is no file either.
            return Ok(Dist {
                name: name.clone(),
                points: Vec::new(),
            });
        }
        let mut file = metadata_dir.to_owned();
        file.push(format.suffix());
        let record = format.record(job, &directory.join(&file), seen, || {
            Ok(vec![scan::read(&path, name.clone(), scan::every)?])
        })?;
        if job.is_build() {
            files.insert(file);
        }
        let named = || record.names.of(&HashSet::from([0]))?.remove(&0);
        let name = match name.or_else(named) {
            Some(name) => name,
            None => scan::name_in_metadata(&path)?, // the file is damaged
        };
        let points = record.rows.into_iter().map(|(_, point)| point).collect();
        Ok(Dist { name, points })
    })?;
    if job.is_build() {
        keep_only(&directory, format.suffix(), &files);
    }
    Ok(dists)
}
