//! Verifying: compares a mirror with its path entry, byte for byte, believing no stamp.

use crate::dist;
use crate::error::Error;
use crate::index::{Index, Record, can_be_mirrored};
use crate::layout::{Root, RootKind};
use crate::mirror::{Mirror, NotUsed};
use crate::path_entry::PathEntry;
use crate::scan::{Contents, Dist};
use std::collections::HashSet;
use std::path::PathBuf;

/// A file of a cache that does not say what its source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file.
    pub path: PathBuf,
    /// How it differs.
    pub what: String,
}

/// Compares the mirror of a path entry in one root with the sources. `None` if there is no mirror.
pub fn path_entry(root: &Root, path_entry: &PathEntry) -> Option<Vec<Difference>> {
    let string = path_entry.cacheable().ok()?;
    let mirror = Mirror::of(root, string);
    let listing = mirror.list();
    if !listing.has_index && listing.metadata_dirs.is_empty() {
        return None;
    }
    let dists: Vec<Dist> = match Contents::of(path_entry) {
        Ok(contents) => {
            let names = contents.dists().iter();
            names.map(|name| contents.read(path_entry, name)).collect()
        }
        Err(_) => Vec::new(),
    };
    let mut differences = Vec::new();
    let mut left = listing.metadata_dirs;
    for dist in &dists {
        let present = left.remove(&dist.metadata_dir);
        // In the user's root each dist has a file; in the others, those that are published.
        if present || (root.kind == RootKind::User && has_mirror_file(dist)) {
            differences.extend(mirror_file(&mirror, dist));
        }
    }
    let mut left: Vec<_> = left.into_iter().collect();
    left.sort();
    for metadata_dir in left {
        let mut name = metadata_dir;
        name.push(".txt");
        differences.push(Difference {
            path: mirror.path.join(name),
            what: "the path entry has no such distribution".to_owned(),
        });
    }
    if listing.has_index {
        differences.extend(index(&mirror, string, &dists));
    }
    Some(differences)
}

/// Removes the files of a mirror that differ from their sources, so that the next sync writes them
/// anew.
///
/// # Errors
/// One could not be removed, or a link leads out of the root.
pub fn remove_differing(root: &Root, entry: &PathEntry) -> Result<(), Error> {
    if let Ok(string) = entry.cacheable() {
        Mirror::of(root, string).check_links(&root.path)?;
    }
    let differences = path_entry(root, entry).unwrap_or_default();
    differences
        .iter()
        .try_for_each(|difference| Mirror::remove(&difference.path))
}

fn has_mirror_file(dist: &Dist) -> bool {
    can_be_mirrored(&dist.metadata_dir) && (dist.text.is_some() || dist.checks.is_some())
}

fn mirror_file(mirror: &Mirror, dist: &Dist) -> Option<Difference> {
    let name = dist::shown(dist.metadata_dir.as_encoded_bytes());
    let what = match mirror.read_file(&dist.metadata_dir) {
        Ok((text, _)) if text != dist.text.as_deref().unwrap_or_default() => {
            "differs from the entry_points.txt of the distribution".to_owned()
        }
        Ok((_, stat)) if stat.modified().ok() != Some(dist.modified) => {
            "has another modification time than its source".to_owned()
        }
        Ok(_) => return None,
        Err(NotUsed::Absent) => "is missing".to_owned(),
        Err(why) => why.to_string(),
    };
    Some(Difference {
        path: mirror.path.join(dist::mirror_file(&name)),
        what,
    })
}

fn index(mirror: &Mirror, string: &str, dists: &[Dist]) -> Option<Difference> {
    let read = mirror
        .read_index()
        .and_then(|(text, _)| Index::parse(text, string).ok_or(NotUsed::Damaged));
    let what = match read.as_ref().map(Index::records) {
        Ok(Some(records)) => compare(&records, dists)?,
        Ok(None) => NotUsed::Damaged.to_string(),
        Err(why) => why.to_string(),
    };
    Some(Difference {
        path: mirror.index(),
        what,
    })
}

/// How the records of an index differ from the dists, if they do.
fn compare(records: &[Record<'_>], dists: &[Dist]) -> Option<String> {
    let said: Vec<_> = records.iter().map(metadata_dir).collect();
    let found: Vec<_> = dists
        .iter()
        .map(|dist| dist.metadata_dir.as_encoded_bytes())
        .collect();
    if said != found {
        let same = said.iter().collect::<HashSet<_>>() == found.iter().collect();
        return Some(
            if same {
                "lists the distributions in another order"
            } else {
                "lists other distributions"
            }
            .to_owned(),
        );
    }
    let differs = |(record, dist): (&Record<'_>, &Dist)| match (record, Record::of(dist)) {
        (Record::ReadItYourself { .. }, _) => false,
        (
            Record::Here {
                normalized_name,
                entries,
                ..
            },
            Record::Here {
                normalized_name: name,
                entries: now,
                ..
            },
        ) => *normalized_name != name || *entries != now,
        (Record::Here { .. }, Record::ReadItYourself { .. }) => true,
    };
    let dist = records
        .iter()
        .zip(dists)
        .find(|&pair| differs(pair))
        .map(|(_, dist)| dist)?;
    Some(format!("differs from {}", dist.metadata_dir.display()))
}

fn metadata_dir<'r>(record: &'r Record<'_>) -> &'r [u8] {
    match record {
        Record::Here { metadata_dir, .. } => metadata_dir.as_bytes(),
        Record::ReadItYourself { metadata_dir } => metadata_dir,
    }
}
