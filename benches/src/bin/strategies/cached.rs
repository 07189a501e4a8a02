//! The nine caches: in which file is what, and when it is fresh. Only what is stale is built again.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Result;
use epcache::EntryPoint;

use crate::format::Format;
use crate::job::Job;
use crate::record::{Names, Record, file_for, keep_only};
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
            let record = format.record(job, &file, &job.path, || {
                let mut all = Vec::new();
                for path_entry in &job.path {
                    all.extend(scan::read_all(path_entry, &mut taken)?);
                }
                // Who is shadowed is known; nobody will ask for names.
                let points = all.into_iter().flat_map(|dist| dist.points).collect();
                let name = String::new();
                Ok(vec![Dist { name, points }])
            })?;
            found.extend(record.rows.into_iter().map(|(_, point)| point));
        }
        Layout::PathEntry => {
            let mut records = Vec::new();
            for path_entry in &job.path {
                let path = std::slice::from_ref(path_entry);
                let file = file_of(job, format, path);
                records.push(format.record(job, &file, path, || {
                    scan::read_all(path_entry, &mut HashSet::new())
                })?);
            }
            found = not_shadowed(records);
        }
        Layout::Dist => {
            for path_entry in &job.path {
                for dist in of_dists(job, format, path_entry, &mut taken)? {
                    found.extend(dist.points);
                }
            }
        }
    }
    found.retain(|point| job.group.as_ref().is_none_or(|group| *group == point.group));
    Ok(found)
}

fn file_of(job: &Job, format: Format, paths: &[OsString]) -> PathBuf {
    let name = file_for(paths) + format.suffix();
    job.cache.join(&job.strategy).join(name)
}

/// The entry points of the dists that no dist of an earlier record shadows.
fn not_shadowed(records: Vec<Record>) -> Vec<EntryPoint> {
    let mut found = Vec::new();
    let mut earlier: Vec<Box<dyn Names>> = Vec::new();
    for Record { names, rows } in records {
        let mut shown = names.of(&rows.iter().map(|(dist, _)| *dist).collect());
        for other in &earlier {
            other.drop_known(&mut shown);
        }
        let of_shown = rows
            .into_iter()
            .filter(|(dist, _)| shown.contains_key(dist));
        found.extend(of_shown.map(|(_, point)| point));
        earlier.push(names);
    }
    found
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
        let source = path.join("entry_points.txt");
        if let Some(name) = &name
            && !source.exists()
        {
            // It declares nothing, so there is no file either.
            return Ok(Dist {
                name: name.clone(),
                points: Vec::new(),
            });
        }
        let mut file = metadata_dir.to_owned();
        file.push(format.suffix());
        let record = format.record(job, &directory.join(&file), &[source.into()], || {
            Ok(vec![scan::read(&path, name.clone())?])
        })?;
        files.insert(file);
        let name = match name {
            Some(name) => name,
            None => record
                .names
                .of(&HashSet::from([0]))
                .remove(&0)
                .unwrap_or_default(),
        };
        let points = record.rows.into_iter().map(|(_, point)| point).collect();
        Ok(Dist { name, points })
    })?;
    if job.is_build() {
        keep_only(&directory, format.suffix(), &files);
    }
    Ok(dists)
}
