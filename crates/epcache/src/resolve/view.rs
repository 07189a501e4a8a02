//! A view: one path entry, ready to answer, with its dists in CPython's order, each backed by an
//! index or read from its source.

use super::{DistName, Select};
use crate::index::{Index, IndexedDist};
use crate::layout::Root;
use crate::path_entry::PathEntry;
use crate::problem::Problem;
use crate::scan::{Contents, Dist};
use std::borrow::Cow;
use std::ffi::OsString;

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
pub(super) struct View<'p> {
    pub(super) path_entry: &'p PathEntry,
    pub(super) index: Option<Index>,
    pub(super) dists: Vec<Backed>,
    pub(super) basis: Basis,
    pub(super) root: Option<Root>,
    pub(super) not_used: Vec<String>,
}

/// Where what a dist declares is to be had.
pub(super) enum Backed {
    /// The view's index has it, under this number.
    Indexed(usize),
    /// It was read.
    Read(Box<Dist>),
}

/// One entry of a view: the place of its dist, and which one of the dist it is.
pub(super) struct Entry<'v> {
    pub(super) dist: usize,
    pub(super) sequence: usize,
    pub(super) group: Cow<'v, str>,
    pub(super) name: &'v str,
    pub(super) value: &'v str,
}

/// The view of the sources, with the reason why no cache answers.
pub(super) fn source(path_entry: &PathEntry, why: String) -> View<'_> {
    let contents = match Contents::of(path_entry) {
        Ok(contents) => contents,
        Err(nothing_there) => return nothing(path_entry, nothing_there),
    };
    let read = |name: &OsString| Backed::Read(Box::new(contents.read(path_entry, name)));
    let dists = contents.dists().iter().map(read).collect();
    let basis = Basis::Source(why);
    View {
        path_entry,
        index: None,
        dists,
        basis,
        root: None,
        not_used: Vec::new(),
    }
}

/// The view of what holds no dists, with the reason.
pub(super) fn nothing(path_entry: &PathEntry, why: String) -> View<'_> {
    View {
        path_entry,
        index: None,
        dists: Vec::new(),
        basis: Basis::Nothing(why),
        root: None,
        not_used: Vec::new(),
    }
}

impl View<'_> {
    /// The selected entries of all its dists, in order; `None` if its index is damaged.
    pub(super) fn entries(&self, select: Select<'_>) -> Option<Vec<Entry<'_>>> {
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
    pub(super) fn concerned(&self, entries: &[Entry<'_>]) -> Vec<usize> {
        let mut dists: Vec<usize> = entries.iter().map(|entry| entry.dist).collect();
        dists.dedup();
        dists.extend((0..self.dists.len()).filter(|&dist| !self.problems(dist).is_empty()));
        dists
    }

    pub(super) fn normalized_name(&self, dist: usize) -> Option<Cow<'_, [u8]>> {
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

    pub(super) fn problems(&self, dist: usize) -> &[Problem] {
        match &self.dists[dist] {
            Backed::Read(read) => &read.problems,
            Backed::Indexed(_) => &[],
        }
    }

    pub(super) fn dist_name(&self, dist: usize) -> DistName {
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
