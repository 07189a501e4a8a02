//! Places: the files and directories that are watched, each with what a change there concerns.
//!
//! They are few: the path entries themselves (not what is in them), the `.egg-info` directories in
//! them, which a development install edits in place, the directories that decide which path entries
//! there are, those of the links that lead to one, and for what does not exist the nearest directory
//! above it.

use crate::dist;
use crate::path_entry::PathEntry;
use crate::stamp::{self, Settling, Stamp};
use crate::walk::Place as Inode;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The most `.egg-info` directories that are watched in one path entry. Development installs are
/// few; a distribution's package manager can have hundreds of such directories, which it replaces.
pub(super) const MAX_DEVELOPED: usize = 128;

/// The most links that a path leads through, as for the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What a change in a place concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    /// The place is the path entry of this number.
    PathEntry(usize),
    /// Something of this name decides which path entries there are, or what is to be watched.
    Name(OsString),
    /// Whatever appears or goes in the directory decides that.
    Listing,
    /// The place is a metadata directory in the path entry of this number.
    Metadata(usize),
}

/// A file or directory that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) inode: Inode,
    /// In order, so that the first is the most important one.
    pub(super) concerns: BTreeSet<Concern>,
}

/// All places, the most important first, and which path entry is which file or directory: a plan is
/// another one as soon as one of them was replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) places: Vec<Place>,
    pub(super) path_entries: Vec<Option<Inode>>,
}

impl Plan {
    /// What is to be watched for these path entries. `deciders` are other files and directories that
    /// decide which path entries there are; `young` are metadata directories that just appeared,
    /// each with the number of its path entry.
    pub(super) fn of(
        path_entries: &[PathEntry],
        deciders: &[PathBuf],
        young: &[(PathBuf, usize)],
        developed: &mut Developed,
    ) -> Self {
        let mut drawing = Drawing {
            places: BTreeMap::new(),
            developed,
        };
        let found = path_entries.iter().map(PathEntry::location).enumerate();
        let found = found.map(|(number, path)| drawing.path_entry(path, number));
        let inodes = found.collect();
        for path in deciders {
            let known = path_entries.iter().any(|entry| entry.location() == path);
            if !known {
                drawing.decider(path);
            }
        }
        for (path, number) in young {
            drawing.existing(path, Concern::Metadata(*number));
        }
        Self {
            places: drawing.into_places(),
            path_entries: inodes,
        }
    }
}

/// A plan that is being made. Several paths may lead to one directory (`lib64` is a link to `lib`):
/// one of them is watched.
struct Drawing<'a> {
    places: BTreeMap<Inode, Place>,
    developed: &'a mut Developed,
}

impl Drawing<'_> {
    fn path_entry(&mut self, path: &Path, number: usize) -> Option<Inode> {
        self.way_to(path);
        let stat = self.existing(path, Concern::PathEntry(number))?;
        if stat.is_dir() {
            for developed in self.developed.in_path_entry(path, &stat) {
                self.existing(&developed, Concern::Metadata(number));
            }
        }
        Some(Inode::of(&stat))
    }

    /// Adds the directories of the links that a path leads through: where one is pointed elsewhere,
    /// the path leads to another directory, in which nothing has changed. And if it leads nowhere, the
    /// nearest directory above that does exist.
    fn way_to(&mut self, path: &Path) {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let above: Vec<_> = path.ancestors().collect();
            let link = above.into_iter().rev().find(|above| above.is_symlink());
            let Some((link, target)) = link.and_then(|link| Some((link, target(link)?))) else {
                return self.missing(&path);
            };
            if let (Some(directory), Some(name)) = (link.parent(), link.file_name()) {
                self.existing(directory, Concern::Name(name.to_owned()));
            }
            // Nothing joined would be a slash, by which the kernel follows a link.
            path = match path.strip_prefix(link) {
                Ok(rest) if !rest.as_os_str().is_empty() => target.join(rest),
                _ => target,
            };
        }
    }

    fn decider(&mut self, path: &Path) {
        let name = || path.file_name().map(OsStr::to_owned);
        match (std::fs::metadata(path), path.parent()) {
            (Ok(stat), _) if stat.is_dir() => {
                self.existing(path, Concern::Listing);
            }
            (Ok(_), Some(directory)) => {
                let concern = name().map(Concern::Name).unwrap_or(Concern::Listing);
                self.existing(directory, concern);
            }
            _ => self.way_to(path),
        }
    }

    /// Adds the nearest directory above what does not exist.
    fn missing(&mut self, path: &Path) {
        if path.exists() {
            return;
        }
        let mut above = path;
        while let (Some(directory), Some(name)) = (above.parent(), above.file_name()) {
            let is_there = std::fs::metadata(directory).is_ok_and(|stat| stat.is_dir());
            if is_there {
                self.existing(directory, Concern::Name(name.to_owned()));
                return;
            }
            above = directory;
        }
    }

    fn existing(&mut self, path: &Path, concern: Concern) -> Option<Metadata> {
        let stat = std::fs::metadata(path).ok()?;
        let inode = Inode::of(&stat);
        let place = self.places.entry(inode).or_insert_with(|| Place {
            path: path.to_owned(),
            inode,
            concerns: BTreeSet::new(),
        });
        place.concerns.insert(concern);
        Some(stat)
    }

    fn into_places(self) -> Vec<Place> {
        let mut places: Vec<Place> = self.places.into_values().collect();
        places.sort_by(|a, b| (&a.concerns, &a.path).cmp(&(&b.concerns, &b.path)));
        places
    }
}

/// Where a link points, as an absolute path without `..`.
fn target(link: &Path) -> Option<PathBuf> {
    let directory = link.parent()?.canonicalize().ok()?;
    let mut target = PathBuf::new();
    for part in directory.join(link.read_link().ok()?).components() {
        match part {
            Component::ParentDir => drop(target.pop()),
            Component::CurDir => {}
            part => target.push(part),
        }
    }
    Some(target)
}

/// The metadata directories that are edited in place, of each path entry, until that is another one.
#[derive(Debug, Default)]
pub(super) struct Developed {
    known: HashMap<PathBuf, (Stamp, Vec<PathBuf>)>,
}

impl Developed {
    /// `.egg-info` directories, and that of an egg. At most [`MAX_DEVELOPED`].
    fn in_path_entry(&mut self, path_entry: &Path, stat: &Metadata) -> Vec<PathBuf> {
        let now = stamp::now();
        if let Some((known, developed)) = self.known.get(path_entry)
            && known.holds(stat)
        {
            return developed.clone();
        }
        let developed = developed_in(path_entry);
        let stamp = Stamp::of_directory(stat);
        if stamp.settles(now) == Settling::Settled {
            let known = (stamp, developed.clone());
            self.known.insert(path_entry.to_owned(), known);
        }
        developed
    }
}

fn developed_in(path_entry: &Path) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(path_entry) else {
        return Vec::new();
    };
    let is_egg = dist::is_egg(path_entry.as_os_str().as_bytes());
    let is_one = |name: &OsStr| {
        dist::is_dist(name.as_bytes(), is_egg)
            && !dist::ends_with_ignoring_case(name.as_bytes(), b".dist-info")
    };
    let found = listing.flatten().filter(|child| is_one(&child.file_name()));
    let mut found: Vec<PathBuf> = found
        .map(|child| child.path())
        .filter(|path| path.is_dir())
        .take(MAX_DEVELOPED)
        .collect();
    found.sort();
    found
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that can't make its directories should stop there"
)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// The places below a directory, each with its concerns.
    fn plan(root: &Path, path_entries: &[&str], deciders: &[&str]) -> Vec<(String, Vec<Concern>)> {
        let path_entries: Vec<_> = path_entries
            .iter()
            .map(|name| PathEntry::new(root.join(name)))
            .collect();
        let deciders: Vec<_> = deciders.iter().map(|name| root.join(name)).collect();
        let plan = Plan::of(&path_entries, &deciders, &[], &mut Developed::default());
        let below = |place: Place| {
            let path = place.path.strip_prefix(root).unwrap();
            let concerns = place.concerns.into_iter().collect();
            (path.to_str().unwrap().to_owned(), concerns)
        };
        plan.places.into_iter().map(below).collect()
    }

    fn name(name: &str) -> Concern {
        Concern::Name(name.into())
    }

    #[test]
    fn a_path_entry_costs_one_place_however_many_dists_are_in_it() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..50 {
            fs::create_dir_all(root.path().join(format!("site/d{number}-1.dist-info"))).unwrap();
        }
        fs::create_dir(root.path().join("site/dev.egg-info")).unwrap();
        fs::write(root.path().join("site/single.egg-info"), "").unwrap();
        assert_eq!(
            plan(root.path(), &["site"], &[]),
            [
                ("site".to_owned(), vec![Concern::PathEntry(0)]),
                ("site/dev.egg-info".to_owned(), vec![Concern::Metadata(0)]),
            ]
        );
    }

    #[test]
    fn for_what_is_missing_the_nearest_directory_above_is_watched_for_the_next_name() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert_eq!(
            plan(root.path(), &["a/b/c", "file/x", "d"], &["a/e"]),
            [
                ("a".to_owned(), vec![name("b"), name("e")]),
                (String::new(), vec![name("d"), name("file")]),
            ]
        );
    }

    #[test]
    fn deciders_are_watched_by_their_directory_or_as_a_listing() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("venv/site")).unwrap();
        fs::create_dir(root.path().join("lib")).unwrap();
        fs::write(root.path().join("venv/pyvenv.cfg"), "").unwrap();
        assert_eq!(
            plan(
                root.path(),
                &["venv/site"],
                &["venv/pyvenv.cfg", "lib", "venv/site"]
            ),
            [
                ("venv/site".to_owned(), vec![Concern::PathEntry(0)]),
                ("venv".to_owned(), vec![name("pyvenv.cfg")]),
                ("lib".to_owned(), vec![Concern::Listing]),
            ]
        );
    }

    #[test]
    fn two_paths_to_one_directory_are_one_place() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("lib/site")).unwrap();
        symlink("lib", root.path().join("lib64")).unwrap();
        assert_eq!(
            plan(root.path(), &["lib/site", "lib64/site"], &[]),
            [
                (
                    "lib/site".to_owned(),
                    vec![Concern::PathEntry(0), Concern::PathEntry(1)]
                ),
                (String::new(), vec![name("lib64")]),
            ]
        );
    }

    #[test]
    fn each_link_on_the_way_and_the_place_where_it_ends_are_watched() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("releases")).unwrap();
        symlink("releases/../latest", root.path().join("current")).unwrap();
        symlink("releases/5", root.path().join("latest")).unwrap();
        let on_the_way = vec![name("current"), name("latest")];
        assert_eq!(
            plan(root.path(), &["current/site"], &[]),
            [
                ("releases".to_owned(), vec![name("5")]),
                (String::new(), on_the_way),
            ]
        );
        assert_eq!(
            plan(root.path(), &["current"], &[]),
            [
                ("releases".to_owned(), vec![name("5")]),
                (String::new(), vec![name("current"), name("latest")]),
            ]
        );
        symlink("loop", root.path().join("loop")).unwrap();
        let places = plan(root.path(), &["loop"], &[]);
        assert_eq!(places, [(String::new(), vec![name("loop")])]);
    }

    #[test]
    fn a_directory_that_was_replaced_makes_another_plan() {
        let root = tempfile::tempdir().unwrap();
        let site = root.path().join("site");
        fs::create_dir(&site).unwrap();
        let path_entries = [PathEntry::new(&site)];
        let plan = || Plan::of(&path_entries, &[], &[], &mut Developed::default());
        let before = plan();
        assert_eq!(plan(), before);
        fs::rename(&site, root.path().join("old")).unwrap();
        assert_eq!(plan().path_entries, [None]);
        fs::create_dir(&site).unwrap();
        assert_ne!(plan(), before);
    }

    #[test]
    fn an_eggs_own_metadata_directory_is_watched() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("x.egg/EGG-INFO")).unwrap();
        fs::create_dir_all(root.path().join("x/EGG-INFO")).unwrap();
        let places = plan(root.path(), &["x.egg", "x"], &[]);
        let paths: Vec<_> = places.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["x.egg", "x", "x.egg/EGG-INFO"]);
    }
}
