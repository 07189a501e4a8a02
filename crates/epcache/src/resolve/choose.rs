//! Which view answers for a path entry: a fresh index, a stale one repaired, what is vouched for, or
//! the source.

use super::view::{Backed, Basis, View, nothing, source};
use super::{Cache, Mode};
use crate::dist;
use crate::index::{Freshness, Index, IndexedDist};
use crate::layout::Root;
use crate::mirror::{Mirror, NotUsed};
use crate::path_entry::PathEntry;
use crate::problem::{Problem, ProblemKind};
use crate::scan::{self, Below, Contents, Dist, ENTRY_POINTS};
use crate::stamp::Stamp;
use crate::trust;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
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
        if path_entry.leaves_root(path_entry.location()) {
            return nothing(path_entry, ProblemKind::LeavesRoot.to_string());
        }
        let stat = match std::fs::metadata(path_entry.location()) {
            Ok(stat) => stat,
            Err(error) => return nothing(path_entry, error.to_string()),
        };
        let mut stale = None;
        for root in self.usable_roots(false) {
            let Some(index) = load(root, string, not_used) else {
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
            let candidate = Candidate::of(root, index, unchanged, self.mode, path_entry);
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
            let Some(index) = load(root, string, not_used) else {
                continue;
            };
            if index.freshness == Freshness::Sealed(seconds) {
                return Candidate::of(root, index, true, Mode::Fast, path_entry)
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
        // installed since.
        if trust::is_roots_alone(&stat) && !seal_is_broken {
            let mirrors = self
                .usable_roots(true)
                .map(|root| (root, Mirror::of(root, string)));
            for (root, mirror) in mirrors {
                if mirror.is_trusted() {
                    return vouched(path_entry, root, &mirror);
                }
            }
        }
        source(path_entry, "no index".to_owned())
    }

    /// Mode `only`: an index, else mirror files; the path entry itself is not touched.
    fn unchecked<'p>(
        &self,
        path_entry: &'p PathEntry,
        string: &str,
        not_used: &mut Vec<String>,
    ) -> View<'p> {
        let roots = || self.usable_roots(false).chain(self.usable_roots(true));
        for root in roots() {
            let Some(index) = load(root, string, not_used) else {
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
        for root in roots() {
            let mirror = Mirror::of(root, string);
            let mut names: Vec<_> = mirror
                .list()
                .metadata_dirs
                .into_iter()
                .map(OsString::into_encoded_bytes)
                .collect();
            if !mirror.is_trusted() || names.is_empty() {
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
    fn of(
        root: &'r Root,
        index: Index,
        unchanged: bool,
        mode: Mode,
        path_entry: &PathEntry,
    ) -> Self {
        let mut below = Below::new(path_entry);
        let holds = |dist: IndexedDist<'_>| match dist {
            IndexedDist::ReadItYourself { .. } => false,
            // No check of its own: a zip's, or one that mode `fast` leaves out.
            IndexedDist::Here { checks, .. } if mode == Mode::Fast || checks.is_empty() => true,
            IndexedDist::Here { .. } => dist.holds(&mut below),
        };
        let holds = if unchanged {
            index.dists().map(holds).collect()
        } else {
            Vec::new()
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
        let told = |dist| matches!(dist, IndexedDist::ReadItYourself { .. });
        self.index
            .dists()
            .zip(&self.holds)
            .filter(|&(dist, &holds)| !holds && !told(dist))
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
        View {
            path_entry,
            dists,
            basis,
            root: Some(self.root.clone()),
            index: Some(self.index),
            not_used: Vec::new(),
        }
    }

    /// The dists in the order of the index, which is still the path entry's.
    fn as_listed(&self, path_entry: &PathEntry) -> Vec<Backed> {
        let mut contents = None;
        let mut read = |number| {
            let contents = contents.get_or_insert_with(|| Contents::of(path_entry));
            Backed::Read(Box::new(
                contents.read(path_entry, &self.index.dist(number).metadata_dir()),
            ))
        };
        self.holds
            .iter()
            .enumerate()
            .map(|(number, &holds)| {
                if holds {
                    Backed::Indexed(number)
                } else {
                    read(number)
                }
            })
            .collect()
    }

    /// The dists in the order of a new listing: each whose checks hold is the one in the index.
    fn listed_again(&self, path_entry: &PathEntry) -> Vec<Backed> {
        let contents = Contents::of(path_entry);
        let known: HashMap<_, _> = self
            .index
            .dists()
            .enumerate()
            .map(|(number, dist)| (dist.metadata_dir(), number))
            .collect();
        let mut below = Below::new(path_entry);
        let mut backed = |name: &OsString| match known.get(OsStr::new(name)) {
            Some(&number) if self.index.dist(number).holds(&mut below) => Backed::Indexed(number),
            _ => Backed::Read(Box::new(contents.read(path_entry, name))),
        };
        contents.dists().iter().map(&mut backed).collect()
    }
}

/// The index of a path entry in a root, if there is one that counts.
fn load(root: &Root, string: &str, not_used: &mut Vec<String>) -> Option<Index> {
    let mirror = Mirror::of(root, string);
    match mirror
        .read_index()
        .and_then(|text| Index::parse(text, string).ok_or(NotUsed::Damaged))
    {
        Ok(index) => Some(index),
        Err(NotUsed::Absent) => None,
        Err(why) => {
            not_used.push(format!("{}: {why}", mirror.index().display()));
            None
        }
    }
}

/// The path entry as listed; a dist that the vendor root has a mirror file for is believed by name.
fn vouched<'p>(path_entry: &'p PathEntry, root: &Root, mirror: &Mirror) -> View<'p> {
    let contents = Contents::of(path_entry);
    let mut vouched = 0;
    let mut backed = |name: &OsString| {
        let own = || contents.read(path_entry, name);
        let dist = match (
            &contents,
            dist::name_in(name.as_bytes()),
            mirror.read_file(name),
        ) {
            // In a zip, the name is in the metadata.
            (Contents::Directory(_), Some(normalized_name), Ok((text, modified))) => {
                vouched += 1;
                from_mirror(path_entry, name, Some(normalized_name), text, modified)
            }
            _ => own(),
        };
        Backed::Read(Box::new(dist))
    };
    let dists: Vec<_> = contents.dists().iter().map(&mut backed).collect();
    match vouched {
        0 => View {
            path_entry,
            index: None,
            dists,
            basis: Basis::Source("no index".to_owned()),
            root: None,
            not_used: Vec::new(),
        },
        dists_vouched => View {
            path_entry,
            index: None,
            dists,
            basis: Basis::Vouched {
                dists: dists_vouched,
            },
            root: Some(root.clone()),
            not_used: Vec::new(),
        },
    }
}

/// A dist as its mirror file has it, for mode `only`.
fn mirrored(path_entry: &PathEntry, mirror: &Mirror, metadata_dir: &OsStr) -> Dist {
    let name = dist::name_in(metadata_dir.as_bytes());
    match mirror.read_file(metadata_dir) {
        Ok((text, modified)) => from_mirror(path_entry, metadata_dir, name, text, modified),
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
    modified: SystemTime,
) -> Dist {
    let problems = scan::problems_of_text(
        &text,
        &path_entry.location().join(metadata_dir).join(ENTRY_POINTS),
    );
    Dist {
        metadata_dir: metadata_dir.to_owned(),
        normalized_name,
        text: Some(text),
        modified,
        checks: None,
        problems,
    }
}
