//! Which view answers for a path entry: a fresh index, a stale one repaired, what is vouched for, or
//! the source.

use super::checked::which_hold;
use super::view::{Backed, Basis, View, nothing, source};
use super::{Cache, Mode};
use crate::dist;
use crate::index::{Freshness, Index, IndexedDist};
use crate::layout::{Root, comes_before_its_mirror_files};
use crate::mirror::{Mirror, NotUsed};
use crate::path_entry::PathEntry;
use crate::problem::{Problem, ProblemKind};
use crate::scan::{self, Below, Contents, Dist, ENTRY_POINTS};
use crate::stamp::Stamp;
use crate::trust;
use foldhash::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

impl Cache {
    pub(super) fn view<'p>(&self, path_entry: &'p PathEntry) -> View<'p> {
        let string = match path_entry.cacheable() {
            _ if self.mode == Mode::Off => return source(path_entry, "mode 'off'".to_owned()),
            Ok(string) => string,
            Err(why) if self.mode == Mode::Only => {
                return nothing(path_entry, why.reason().to_owned());
            }
            Err(why) => return source(path_entry, why.reason().to_owned()),
        };
        let mut not_used = Vec::new();
        let view = match self.mode {
            Mode::Only => self.unchecked(path_entry, string, &mut not_used),
            Mode::Exact | Mode::Fast | Mode::Off => self.checked(path_entry, string, &mut not_used),
        };
        View { not_used, ..view }
    }

    /// Modes `exact` and `fast`: a fresh index, else a stale one repaired, else what is vouched for,
    /// else the source.
    fn checked<'p>(
        &self,
        path_entry: &'p PathEntry,
        string: &str,
        not_used: &mut Vec<String>,
    ) -> View<'p> {
        let stat = match std::fs::metadata(path_entry.location()) {
            Ok(stat) => stat,
            Err(error) => return nothing(path_entry, error.to_string()),
        };
        if !path_entry.contains(path_entry.location(), &stat) {
            return nothing(path_entry, ProblemKind::LeavesRoot.to_string());
        }
        // A zip has no stamps but its own.
        let unchecked = self.mode == Mode::Fast || stat.is_file();
        let mut stale = None;
        for root in self.usable_roots(false) {
            let Ok(index) = load(root, string, not_used) else {
                continue;
            };
            if matches!(index.freshness, Freshness::Sealed(_)) {
                let index = Mirror::of(root, string).index();
                not_used.push(format!(
                    "{}: sealed, which counts in the vendor root only",
                    index.display()
                ));
                continue;
            }
            let unchanged =
                matches!(index.freshness, Freshness::Stamp(stamp) if stamp.holds(&stat));
            let candidate = Candidate::of(root, index, unchanged, unchecked, path_entry);
            if candidate.is_fresh() {
                return candidate.view(path_entry);
            }
            stale = Some(candidate); // the last: the user's own was written because the system's was stale
        }
        if let Some(stale) = stale {
            return stale.view(path_entry);
        }
        let seconds = Stamp::of_directory(&stat).mtime_seconds();
        let mut seal_is_broken = false;
        for root in self.usable_roots(true) {
            let index = match load(root, string, not_used) {
                Err(NotUsed::Absent) => continue,
                Err(_) => {
                    seal_is_broken = true;
                    continue;
                }
                Ok(index) => index,
            };
            if index.freshness == Freshness::Sealed(seconds) {
                return Candidate::of(root, index, true, true, path_entry)
                    .view_as(path_entry, Basis::Sealed);
            }
            seal_is_broken = true;
            let index = Mirror::of(root, string).index();
            not_used.push(format!(
                "{}: sealed for another state of the path entry",
                index.display()
            ));
        }
        // The mirror files beside a broken seal are of the image as it was built, not of what was
        // installed since. One that can't be read may be broken. And of a mirror file that is put in
        // place before its source, no change time tells that it is ahead of it.
        let may_vouch = self.mode == Mode::Fast || comes_before_its_mirror_files(string);
        if trust::is_roots_alone(&stat) && !seal_is_broken && may_vouch {
            let mirrors = self
                .usable_roots(true)
                .map(|root| (root, Mirror::of(root, string)));
            for (root, mirror) in mirrors {
                if mirror.is_trusted() {
                    return self.vouched(path_entry, root, &mirror);
                }
            }
        }
        source(path_entry, "no index".to_owned())
    }

    /// The path entry as listed; a dist that the vendor root has a mirror file for is believed, in
    /// mode `exact` as far as its source is one that the file can be a copy of.
    fn vouched<'p>(&self, path_entry: &'p PathEntry, root: &Root, mirror: &Mirror) -> View<'p> {
        let contents = match Contents::of(path_entry) {
            Ok(contents) => contents,
            Err(why) => return nothing(path_entry, why),
        };
        let mut below = Below::new(path_entry);
        let mut is_believed = |name: &OsStr, copy: &Metadata| {
            self.mode == Mode::Fast || below.can_be_the_source_of(copy, name)
        };
        let mut vouched = 0;
        let mut backed = |name: &OsString| {
            let normalized_name = dist::name_in(name.as_bytes()).filter(|_| !contents.is_archive());
            let dist = match (normalized_name, mirror.read_file(name)) {
                (Some(normalized_name), Ok((text, stat))) if is_believed(name, &stat) => {
                    vouched += 1;
                    from_mirror(path_entry, name, Some(normalized_name), text, &stat)
                }
                // Also in a zip, where the name is in the metadata.
                _ => contents.read(path_entry, name),
            };
            Backed::Read(Box::new(dist))
        };
        let dists = contents.dists().iter().map(&mut backed).collect();
        let (basis, root) = match vouched {
            0 => (Basis::Source("no index".to_owned()), None),
            dists => (Basis::Vouched { dists }, Some(root.clone())),
        };
        View {
            path_entry,
            index: None,
            dists,
            basis,
            root,
            not_used: Vec::new(),
        }
    }

    /// Mode `only`: an index, else mirror files; the path entry itself is not touched.
    fn unchecked<'p>(
        &self,
        path_entry: &'p PathEntry,
        string: &str,
        not_used: &mut Vec<String>,
    ) -> View<'p> {
        for root in self.usable_roots(false).chain(self.usable_roots(true)) {
            let Ok(index) = load(root, string, not_used) else {
                continue;
            };
            let mirror = Mirror::of(root, string);
            let dists = (0..index.len())
                .map(|number| match index.dist(number) {
                    IndexedDist::Here { .. } => Backed::Indexed(number),
                    own => {
                        Backed::Read(Box::new(mirrored(path_entry, &mirror, &own.metadata_dir())))
                    }
                })
                .collect();
            return View {
                path_entry,
                index: Some(index),
                dists,
                basis: Basis::Unchecked,
                root: Some(root.clone()),
                not_used: Vec::new(),
            };
        }
        self.mirror_files(path_entry, string)
    }

    /// In the place of a view whose index turned out to be damaged.
    pub(super) fn distrusted<'p>(&self, path_entry: &'p PathEntry) -> View<'p> {
        match (self.mode, path_entry.cacheable()) {
            (Mode::Only, Ok(string)) => self.mirror_files(path_entry, string),
            _ => source(path_entry, "its index is damaged".to_owned()),
        }
    }

    /// Mode `only` without an index.
    fn mirror_files<'p>(&self, path_entry: &'p PathEntry, string: &str) -> View<'p> {
        for root in self.usable_roots(false).chain(self.usable_roots(true)) {
            let mirror = Mirror::of(root, string);
            if !mirror.is_trusted() {
                continue;
            }
            let mut names: Vec<_> = mirror
                .list()
                .metadata_dirs
                .into_iter()
                .map(OsString::into_encoded_bytes)
                .collect();
            if names.is_empty() {
                continue;
            }
            names.sort(); // the order of the path entry is not known
            let dists = dist::in_order(names).into_iter();
            let dists = dists
                .map(|name| {
                    Backed::Read(Box::new(mirrored(
                        path_entry,
                        &mirror,
                        OsStr::from_bytes(&name),
                    )))
                })
                .collect();
            return View {
                path_entry,
                index: None,
                dists,
                basis: Basis::MirrorFiles,
                root: Some(root.clone()),
                not_used: Vec::new(),
            };
        }
        nothing(
            path_entry,
            "mode 'only', and no trusted index or mirror files".to_owned(),
        )
    }
}

/// An index that might answer, and which of its dists may be believed.
struct Candidate<'r> {
    root: &'r Root,
    index: Index,
    path_entry_changed: bool,
    holds: Vec<bool>,
}

impl<'r> Candidate<'r> {
    /// `unchanged` says whether the path entry is, `unchecked` whether the dists then are believed
    /// without a look at them.
    fn of(
        root: &'r Root,
        index: Index,
        unchanged: bool,
        unchecked: bool,
        path_entry: &PathEntry,
    ) -> Self {
        let dists: Vec<usize> = (0..index.len()).collect();
        let holds = match (unchanged, unchecked) {
            (false, _) => Vec::new(),
            (true, true) => dists.iter().map(|&number| index.is_here(number)).collect(),
            (true, false) => which_hold(&index, &dists, path_entry),
        };
        Self {
            root,
            holds,
            index,
            path_entry_changed: !unchanged,
        }
    }

    fn is_fresh(&self) -> bool {
        !self.path_entry_changed && self.read_without_being_told() == 0
    }

    /// How many dists must be read though the index means to know them.
    fn read_without_being_told(&self) -> usize {
        let holds = self.holds.iter().enumerate();
        holds
            .filter(|&(number, holds)| !holds && self.index.is_here(number))
            .count()
    }

    fn view(self, path_entry: &PathEntry) -> View<'_> {
        let fresh = self.is_fresh();
        let path_entry_changed = self.path_entry_changed;
        let mut view = self.view_as(path_entry, Basis::Fresh { read: 0 });
        let read = view
            .dists
            .iter()
            .filter(|dist| matches!(dist, Backed::Read(_)))
            .count();
        view.basis = if fresh {
            Basis::Fresh { read }
        } else {
            Basis::Stale {
                path_entry_changed,
                read,
            }
        };
        view
    }

    fn view_as(self, path_entry: &PathEntry, basis: Basis) -> View<'_> {
        let dists = if self.path_entry_changed {
            self.listed_again(path_entry)
        } else {
            self.as_listed(path_entry)
        };
        match dists {
            Ok(dists) => View {
                path_entry,
                dists,
                basis,
                root: Some(self.root.clone()),
                index: Some(self.index),
                not_used: Vec::new(),
            },
            Err(why) => nothing(path_entry, why),
        }
    }

    /// The dists in the order of the index, which is still the path entry's.
    fn as_listed(&self, path_entry: &PathEntry) -> Result<Vec<Backed>, String> {
        if self.holds.iter().all(|holds| *holds) {
            return Ok((0..self.index.len()).map(Backed::Indexed).collect());
        }
        let contents = Contents::unlisted(path_entry)?;
        let backed = |(number, &holds): (usize, &bool)| match holds {
            true => Backed::Indexed(number),
            false => {
                let metadata_dir = self.index.dist(number).metadata_dir();
                Backed::Read(Box::new(contents.read(path_entry, &metadata_dir)))
            }
        };
        Ok(self.holds.iter().enumerate().map(backed).collect())
    }

    /// The dists in the order of a new listing: each whose checks hold is the one in the index.
    fn listed_again(&self, path_entry: &PathEntry) -> Result<Vec<Backed>, String> {
        let contents = Contents::of(path_entry)?;
        let known = self.index.dists().enumerate();
        let known: HashMap<_, _> = known
            .map(|(number, dist)| (dist.metadata_dir(), number))
            .collect();
        let number_of = |name: &OsString| known.get(OsStr::new(name)).copied();
        let again: Vec<usize> = contents.dists().iter().filter_map(number_of).collect();
        let mut holds = vec![false; self.index.len()];
        for (number, held) in again
            .iter()
            .zip(which_hold(&self.index, &again, path_entry))
        {
            holds[*number] = held;
        }
        let backed = |name: &OsString| match number_of(name) {
            Some(number) if holds[number] => Backed::Indexed(number),
            _ => Backed::Read(Box::new(contents.read(path_entry, name))),
        };
        Ok(contents.dists().iter().map(backed).collect())
    }
}

/// The index of a path entry in a root, if there is one that counts; notes why one that is there
/// does not.
fn load(root: &Root, string: &str, not_used: &mut Vec<String>) -> Result<Index, NotUsed> {
    let mirror = Mirror::of(root, string);
    let index = mirror
        .read_index()
        .and_then(|(text, _)| Index::parse(text, string).ok_or(NotUsed::Damaged));
    if let Err(why) = &index
        && *why != NotUsed::Absent
    {
        not_used.push(format!("{}: {why}", mirror.index().display()));
    }
    index
}

/// A dist as its mirror file has it, for mode `only`.
fn mirrored(path_entry: &PathEntry, mirror: &Mirror, metadata_dir: &OsStr) -> Dist {
    let name = dist::name_in(metadata_dir.as_bytes());
    match mirror.read_file(metadata_dir) {
        Ok((text, stat)) => from_mirror(path_entry, metadata_dir, name, text, &stat),
        Err(_) => Dist {
            metadata_dir: metadata_dir.to_owned(),
            normalized_name: name,
            text: None,
            modified: SystemTime::UNIX_EPOCH,
            checks: None,
            problems: vec![Problem {
                path: path_entry.location().join(metadata_dir),
                line: None,
                kind: ProblemKind::NotMirrored,
            }],
        },
    }
}

fn from_mirror(
    path_entry: &PathEntry,
    metadata_dir: &OsStr,
    normalized_name: Option<Vec<u8>>,
    text: Vec<u8>,
    stat: &Metadata,
) -> Dist {
    let problems = scan::problems_of_text(
        &text,
        &path_entry.location().join(metadata_dir).join(ENTRY_POINTS),
    );
    Dist {
        metadata_dir: metadata_dir.to_owned(),
        normalized_name,
        text: Some(text),
        modified: stat.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        checks: None,
        problems,
    }
}
