//! Answering: which entry points, dists and groups a `sys.path` has, from the cache where it can be
//! believed and from the sources where it can't.
//!
//! For each path entry a *view* is built: its dists in CPython's order, each backed by an index or
//! read from its source. What is asked is then put together from the views, and shadowing is decided
//! there, across all of them: the first dist of a normalized name wins, also when it declares
//! nothing.

use crate::dist;
use crate::entry_point::EntryPoint;
use crate::index::{Freshness, Index, IndexedDist};
use crate::layout::{Root, RootKind, Unusable};
use crate::mirror::{Mirror, NotUsed};
use crate::path_entry::PathEntry;
use crate::problem::{Problem, ProblemKind};
use crate::scan::{self, Contents, Dist, ENTRY_POINTS};
use crate::stamp::Stamp;
use crate::trust;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// How much is checked before an index is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The path entry and every dist: one `stat` each. Never wrong.
    #[default]
    Exact,
    /// The path entry alone. Sees what pip and uv install, upgrade and remove; not an edit inside an
    /// existing metadata directory.
    Fast,
    /// Nothing: path entries are not touched at all; what index or mirror files say is the answer.
    Only,
    /// No cache is touched; the sources answer.
    Off,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(mode: &str) -> Result<Self, Self::Err> {
        match mode {
            "exact" => Ok(Self::Exact),
            "fast" => Ok(Self::Fast),
            "only" => Ok(Self::Only),
            "off" => Ok(Self::Off),
            other => Err(format!(
                "{other:?} is no mode; it is one of exact, fast, only, off"
            )),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
            Self::Only => "only",
            Self::Off => "off",
        })
    }
}

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
    /// What is wrong with the dists that are not shadowed.
    pub problems: Vec<Problem>,
    /// What in the cache is not used, and why.
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

/// What answers for a path entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A fresh index; this many dists, which can't be indexed, are read from their sources.
    Fresh {
        /// How many.
        read: usize,
    },
    /// A stale index: what it still knows, and the sources for the rest.
    Stale {
        /// Whether the path entry itself was changed (and so listed again).
        path_entry_changed: bool,
        /// How many dists are read from their sources.
        read: usize,
    },
    /// A sealed index in the vendor root.
    Sealed,
    /// No index; this many dists are believed as the vendor root has them.
    Vouched {
        /// How many.
        dists: usize,
    },
    /// Mode `only`: an index, whatever its age.
    Unchecked,
    /// Mode `only`: mirror files, in no particular order.
    MirrorFiles,
    /// The sources, for this reason.
    Source(String),
    /// There is nothing there to have dists.
    Nothing(String),
}

/// A path entry, ready to answer.
struct View<'p> {
    path_entry: &'p PathEntry,
    index: Option<Index>,
    dists: Vec<Backed>,
    basis: Basis,
    root: Option<Root>,
    not_used: Vec<String>,
}

/// Where what a dist declares is to be had.
enum Backed {
    /// The view's index has it, under this number.
    Indexed(usize),
    /// It was read.
    Read(Box<Dist>),
}

/// One entry of a view: the place of its dist, and which one of the dist it is.
struct Entry<'v> {
    dist: usize,
    sequence: usize,
    group: Cow<'v, str>,
    name: &'v str,
    value: &'v str,
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
        let mut answer = Answer {
            notes: self.unusable_roots(),
            ..Answer::default()
        };
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
            let told = (0..view.dists.len()).filter(|&dist| !view.problems(dist).is_empty());
            let told = told.filter(|&dist| !shadowing.is_shadowed(&views, number, dist));
            answer
                .problems
                .extend(told.flat_map(|dist| view.problems(dist)).cloned());
        }
        answer
    }

    /// All dists of a `sys.path`, shadowed ones too, in CPython's order.
    pub fn dists(&self, path: &[PathEntry]) -> Vec<DistInfo> {
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
        found
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
                None => source(path_entry, "its index is damaged".to_owned()),
            }
        };
        path.iter().map(readable).collect()
    }

    fn view<'p>(&self, path_entry: &'p PathEntry) -> View<'p> {
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
        let mut path = path_entry.location().to_owned();
        let holds = |dist: IndexedDist<'_>| match dist {
            IndexedDist::ReadItYourself { .. } => false,
            // No check of its own: a zip's, or one that mode `fast` leaves out.
            IndexedDist::Here { checks, .. } if mode == Mode::Fast || checks.is_empty() => true,
            IndexedDist::Here { .. } => dist.holds(&mut path),
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
        let mut path = path_entry.location().to_owned();
        let mut backed = |name: &OsString| match known.get(OsStr::new(name)) {
            Some(&number) if self.index.dist(number).holds(&mut path) => Backed::Indexed(number),
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

fn source(path_entry: &PathEntry, why: String) -> View<'_> {
    let contents = Contents::of(path_entry);
    let basis = match &contents {
        Contents::Nothing(nothing) => Basis::Nothing(nothing.clone()),
        _ => Basis::Source(why),
    };
    let dists = contents
        .dists()
        .iter()
        .map(|name| Backed::Read(Box::new(contents.read(path_entry, name))))
        .collect();
    View {
        path_entry,
        index: None,
        dists,
        basis,
        root: None,
        not_used: Vec::new(),
    }
}

fn nothing(path_entry: &PathEntry, why: String) -> View<'_> {
    View {
        path_entry,
        index: None,
        dists: Vec::new(),
        basis: Basis::Nothing(why),
        root: None,
        not_used: Vec::new(),
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

impl View<'_> {
    /// The selected entries of all its dists, in order; `None` if its index is damaged.
    fn entries(&self, select: Select<'_>) -> Option<Vec<Entry<'_>>> {
        let mut entries = self.indexed_entries(select)?;
        for (dist, backed) in self.dists.iter().enumerate() {
            let Backed::Read(read) = backed else { continue };
            let selected = read
                .entries()
                .enumerate()
                .filter(|(_, e)| select.group.is_none_or(|group| group == e.group));
            entries.extend(selected.map(|(sequence, e)| Entry {
                dist,
                sequence,
                group: Cow::Borrowed(e.group),
                name: e.name,
                value: e.value,
            }));
        }
        entries.retain(|entry| select.name.is_none_or(|name| name == entry.name));
        entries.sort_by_key(|entry| (entry.dist, entry.sequence));
        Some(entries)
    }

    fn indexed_entries(&self, select: Select<'_>) -> Option<Vec<Entry<'_>>> {
        let Some(index) = &self.index else {
            return Some(Vec::new());
        };
        let groups = match select.group {
            Some(group) => vec![(Cow::Owned(group.to_owned()), index.group(group)?)],
            None => index
                .groups()?
                .into_iter()
                .map(|(group, entries)| (Cow::Borrowed(group), entries))
                .collect(),
        };
        let mut place = vec![None; index.len()];
        for (dist, backed) in self.dists.iter().enumerate() {
            if let Backed::Indexed(number) = backed {
                place[*number] = Some(dist);
            }
        }
        let mut found = Vec::new();
        for (group, entries) in groups {
            found.extend(entries.into_iter().filter_map(|entry| {
                let dist = place[entry.dist]?;
                Some(Entry {
                    dist,
                    sequence: entry.sequence,
                    group: group.clone(),
                    name: entry.name,
                    value: entry.value,
                })
            }));
        }
        Some(found)
    }

    /// The dists of which it matters whether they are shadowed: those with entries, and those with
    /// problems.
    fn concerned(&self, entries: &[Entry<'_>]) -> Vec<usize> {
        let mut dists: Vec<usize> = entries.iter().map(|entry| entry.dist).collect();
        dists.dedup();
        dists.extend((0..self.dists.len()).filter(|&dist| !self.problems(dist).is_empty()));
        dists
    }

    fn normalized_name(&self, dist: usize) -> Option<Cow<'_, [u8]>> {
        match &self.dists[dist] {
            Backed::Read(read) => read.normalized_name.as_deref().map(Cow::Borrowed),
            Backed::Indexed(number) => match self.index.as_ref()?.dist(*number) {
                IndexedDist::Here {
                    normalized_name, ..
                } => Some(Cow::Borrowed(normalized_name.as_bytes())),
                IndexedDist::ReadItYourself { .. } => None,
            },
        }
    }

    fn problems(&self, dist: usize) -> &[Problem] {
        match &self.dists[dist] {
            Backed::Read(read) => &read.problems,
            Backed::Indexed(_) => &[],
        }
    }

    fn dist_name(&self, dist: usize) -> DistName {
        let metadata_dir = match (&self.dists[dist], &self.index) {
            (Backed::Read(read), _) => read.metadata_dir.clone(),
            (Backed::Indexed(number), Some(index)) => {
                index.dist(*number).metadata_dir().into_owned()
            }
            (Backed::Indexed(_), None) => OsString::new(), // only an index backs so
        };
        DistName {
            path_entry: self.path_entry.as_os_str().to_owned(),
            metadata_dir,
        }
    }
}

/// Which dist is the first of its normalized name, for the names that matter.
struct Shadowing<'v> {
    first: HashMap<Cow<'v, [u8]>, Option<(usize, usize)>>,
}

impl<'v> Shadowing<'v> {
    /// Looks through all dists once, for the names of those `concerned` in each view.
    fn among(views: &'v [View<'_>], concerned: &[Vec<usize>]) -> Self {
        let mut first = HashMap::new();
        for (view, dists) in views.iter().zip(concerned) {
            first.extend(
                dists
                    .iter()
                    .filter_map(|&dist| view.normalized_name(dist))
                    .map(|name| (name, None)),
            );
        }
        let mut wanted = first.len();
        for (number, view) in views.iter().enumerate() {
            for dist in 0..view.dists.len() {
                if wanted == 0 {
                    return Self { first };
                }
                let Some(name) = view.normalized_name(dist) else {
                    continue;
                };
                if let Some(place @ None) = first.get_mut(&name) {
                    *place = Some((number, dist));
                    wanted -= 1;
                }
            }
        }
        Self { first }
    }

    fn is_shadowed(&self, views: &[View<'_>], view: usize, dist: usize) -> bool {
        let name = views[view].normalized_name(dist);
        name.and_then(|name| self.first.get(&name).copied().flatten())
            .is_some_and(|first| first != (view, dist))
    }
}
