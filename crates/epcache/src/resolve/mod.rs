//! Answering: which entry points, dists and groups a `sys.path` has, from the cache where it can be
//! believed and from the sources where it can't.
//!
//! For each path entry a *view* is built: its dists in CPython's order, each backed by an index or
//! read from its source. What is asked is then put together from the views, and shadowing is decided
//! there, across all of them: the first dist of a normalized name wins, also when it declares
//! nothing.

mod checked;
mod choose;
mod mode;
mod shadowing;
mod view;

pub use mode::Mode;
pub use view::Basis;

use crate::dist;
use crate::entry_point::EntryPoint;
use crate::layout::{Root, RootKind, Unusable};
use crate::path_entry::PathEntry;
use crate::problem::Problem;
use shadowing::Shadowing;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};
use view::{Entry, View};

/// The cache roots that are asked, and how.
#[derive(Debug)]
pub struct Cache {
    roots: Vec<(Root, OnceLock<Result<(), Unusable>>)>,
    mode: Mode,
}

/// Which entry points are asked for; `None` is all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Select<'a> {
    /// Those of this group.
    pub group: Option<&'a str>,
    /// Those of this name.
    pub name: Option<&'a str>,
}

/// The entry points that were asked for, in CPython's order, and what had to be left out.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// As `importlib.metadata.entry_points()` of CPython 3.12 and newer gives them.
    pub entry_points: Vec<Found>,
    /// What is not as it should be.
    pub remarks: Remarks,
}

/// The dists of a `sys.path`.
#[derive(Clone, Debug, Default)]
pub struct Dists {
    /// All of them, shadowed ones too, in CPython's order.
    pub dists: Vec<DistInfo>,
    /// What is not as it should be.
    pub remarks: Remarks,
}

/// What is not as it should be, on the path entries and in the caches.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    /// What is wrong with the dists that are not shadowed.
    pub problems: Vec<Problem>,
    /// What in the caches is not used, and why.
    pub notes: Vec<String>,
}

/// An entry point and the dist that declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The entry point.
    pub entry_point: EntryPoint,
    /// The dist.
    pub dist: Arc<DistName>,
}

/// Which dist it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistName {
    /// The item of `sys.path` that holds it.
    pub path_entry: OsString,
    /// The name of its metadata directory.
    pub metadata_dir: OsString,
}

impl DistName {
    /// The name and version, as the name of the metadata directory spells them.
    pub fn name_and_version(&self) -> (String, Option<String>) {
        dist::spelled(self.metadata_dir.as_bytes(), self.path_entry.as_bytes())
    }
}

/// A dist of a path entry.
#[derive(Clone, Debug)]
pub struct DistInfo {
    /// Which one.
    pub dist: DistName,
    /// By which it shadows and is shadowed; `None` where it is nowhere to be found. What is not UTF-8
    /// in it is replaced.
    pub normalized_name: Option<String>,
    /// How many entry points it declares.
    pub entry_points: usize,
    /// Whether an earlier dist has the same normalized name.
    pub shadowed: bool,
}

/// How a path entry is answered for.
#[derive(Clone, Debug)]
pub struct Status {
    /// The item of `sys.path`.
    pub path_entry: OsString,
    /// What answers.
    pub basis: Basis,
    /// The root that answers, if one does.
    pub root: Option<Root>,
    /// How many dists there are.
    pub dists: usize,
    /// What in the cache is not used, and why; nothing is said of what is merely absent.
    pub not_used: Vec<String>,
    /// What is wrong with its dists, shadowed ones too.
    pub problems: Vec<Problem>,
}

impl Cache {
    /// A cache that asks these roots, in the order of their kinds: system, user, vendor.
    pub fn new(mut roots: Vec<Root>, mode: Mode) -> Self {
        roots.sort_by_key(|root| match root.kind {
            RootKind::System => 0,
            RootKind::User => 1,
            RootKind::Vendor => 2,
        });
        Self {
            roots: roots
                .into_iter()
                .map(|root| (root, OnceLock::new()))
                .collect(),
            mode,
        }
    }

    /// The entry points of a `sys.path`: the same, of the same dists, in the same order as a fresh
    /// CPython process gives.
    ///
    /// Never fails: what CPython fails on is left out and reported.
    pub fn entry_points(&self, path: &[PathEntry], select: Select<'_>) -> Answer {
        let views = self.views(path, select);
        let entries: Vec<Vec<Entry<'_>>> = views
            .iter()
            .map(|view| view.entries(select).unwrap_or_default())
            .collect();
        let concerned: Vec<Vec<usize>> = views
            .iter()
            .zip(&entries)
            .map(|(view, entries)| view.concerned(entries))
            .collect();
        let shadowing = Shadowing::among(&views, &concerned);
        let mut answer = Answer {
            entry_points: Vec::new(),
            remarks: self.remarks(&views, &shadowing),
        };
        for (number, (view, entries)) in views.iter().zip(entries).enumerate() {
            let mut last: Option<(usize, Arc<DistName>)> = None;
            for entry in entries
                .into_iter()
                .filter(|entry| !shadowing.is_shadowed(&views, number, entry.dist))
            {
                let dist = match &last {
                    Some((dist, name)) if *dist == entry.dist => Arc::clone(name),
                    _ => Arc::new(view.dist_name(entry.dist)),
                };
                last = Some((entry.dist, Arc::clone(&dist)));
                let entry_point = EntryPoint {
                    group: entry.group.into_owned(),
                    name: entry.name.to_owned(),
                    value: entry.value.to_owned(),
                };
                answer.entry_points.push(Found { entry_point, dist });
            }
        }
        answer
    }

    /// All dists of a `sys.path`.
    pub fn dists(&self, path: &[PathEntry]) -> Dists {
        let views = self.views(path, Select::default());
        let all: Vec<Vec<usize>> = views
            .iter()
            .map(|view| (0..view.dists.len()).collect())
            .collect();
        let shadowing = Shadowing::among(&views, &all);
        let mut found = Vec::new();
        for (number, view) in views.iter().enumerate() {
            let mut counts = vec![0; view.dists.len()];
            for entry in view.entries(Select::default()).unwrap_or_default() {
                counts[entry.dist] += 1;
            }
            found.extend(counts.into_iter().enumerate().map(|(dist, entry_points)| {
                DistInfo {
                    dist: view.dist_name(dist),
                    normalized_name: view
                        .normalized_name(dist)
                        .map(|name| dist::shown(&name).into_owned()),
                    entry_points,
                    shadowed: shadowing.is_shadowed(&views, number, dist),
                }
            }));
        }
        Dists {
            dists: found,
            remarks: self.remarks(&views, &shadowing),
        }
    }

    fn remarks(&self, views: &[View<'_>], shadowing: &Shadowing<'_>) -> Remarks {
        let mut remarks = Remarks {
            problems: Vec::new(),
            notes: self.unusable_roots(),
        };
        for (number, view) in views.iter().enumerate() {
            let problems = (0..view.dists.len())
                .filter(|&dist| !view.problems(dist).is_empty())
                .filter(|&dist| !shadowing.is_shadowed(views, number, dist))
                .flat_map(|dist| view.problems(dist));
            remarks.problems.extend(problems.cloned());
            remarks.notes.extend(view.not_used.iter().cloned());
        }
        remarks
    }

    /// How each path entry is answered for.
    pub fn status(&self, path: &[PathEntry]) -> Vec<Status> {
        path.iter()
            .map(|path_entry| {
                let view = self.view(path_entry);
                Status {
                    path_entry: path_entry.as_os_str().to_owned(),
                    dists: view.dists.len(),
                    problems: (0..view.dists.len())
                        .flat_map(|dist| view.problems(dist))
                        .cloned()
                        .collect(),
                    basis: view.basis,
                    root: view.root,
                    not_used: self
                        .unusable_roots()
                        .into_iter()
                        .chain(view.not_used)
                        .collect(),
                }
            })
            .collect()
    }

    /// The roots that exist and do not count, with the reason.
    fn unusable_roots(&self) -> Vec<String> {
        let unusable = |(root, usable): &(Root, _)| match Self::check(root, usable) {
            Err(Unusable::NotTrusted(why)) => {
                Some(format!("{}: not trusted: {why}", root.path.display()))
            }
            Err(Unusable::Broken(why)) => Some(format!("{}: {why}", root.path.display())),
            Err(Unusable::Absent) | Ok(()) => None,
        };
        self.roots.iter().filter_map(unusable).collect()
    }

    /// Whether a fresh index in the system root answers for a path entry.
    pub(crate) fn system_answers(&self, path_entry: &PathEntry) -> bool {
        let view = self.view(path_entry);
        matches!(view.basis, Basis::Fresh { .. })
            && view.root.is_some_and(|root| root.kind == RootKind::System)
    }

    fn check<'r>(
        root: &Root,
        usable: &'r OnceLock<Result<(), Unusable>>,
    ) -> Result<(), &'r Unusable> {
        usable.get_or_init(|| root.usable()).as_ref().copied()
    }

    fn usable_roots(&self, vendor: bool) -> impl Iterator<Item = &Root> {
        let kind = move |root: &Root| (root.kind == RootKind::Vendor) == vendor;
        self.roots
            .iter()
            .filter(move |(root, usable)| kind(root) && Self::check(root, usable).is_ok())
            .map(|(root, _)| root)
    }

    /// A view of each path entry, all of which can give the selected entries.
    fn views<'p>(&self, path: &'p [PathEntry], select: Select<'_>) -> Vec<View<'p>> {
        let readable = |path_entry| {
            let view = self.view(path_entry);
            match view.entries(select) {
                Some(_) => view,
                None => self.distrusted(path_entry),
            }
        };
        path.iter().map(readable).collect()
    }
}
