//! Refreshing: brings the mirror of a path entry, and its index, to what the path entry holds.
//!
//! Writers never coordinate. One sync takes a snapshot (list, read what is not known to be unchanged,
//! look again whether anything moved), waits for stamps that are too young to be believed, and then
//! writes what differs: mirror files first, the index last. Where it is killed, the index is the old
//! one, whose stamps tell what changed since.

mod snapshot;
mod work;

use crate::claim;
use crate::error::Error;
use crate::index::{Freshness, Index, IndexedDist};
use crate::layout::{Root, RootKind, exists_for_writing};
use crate::mirror::{Listing, Mirror};
use crate::path_entry::PathEntry;
use crate::problem::Problem;
use crate::resolve::{Cache, Mode};
use crate::scan::Below;
use crate::stamp::Stamp;
use crate::trust;
use crate::walk::Place;
use snapshot::{Snapshot, Waiting};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;
use work::Work;

/// How long one path entry is waited for until its stamps can be believed: what the coarsest clock
/// needs (2 s), and the time for another scan. What is younger still then is recorded as such.
const MAX_SETTLING: Duration = Duration::from_millis(2500);

/// Refreshes mirrors in one cache root.
#[derive(Clone, Debug)]
pub struct Sync {
    root: Root,
    system: Vec<Root>,
    within: Option<PathBuf>,
    seal: bool,
    dry_run: bool,
    installing: Duration,
    patience: Duration,
}

/// What became of one path entry.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The item of `sys.path`.
    pub path_entry: OsString,
    /// Its mirror, where it can have one.
    pub mirror: Option<PathBuf>,
    /// What was done.
    pub done: Done,
    /// How many dists the path entry holds.
    pub dists: usize,
    /// The files that were (in a dry run: would be) written.
    pub written: Vec<PathBuf>,
    /// The files that were (in a dry run: would be) removed.
    pub removed: Vec<PathBuf>,
    /// Whether there is an index now, or why not.
    pub index: Result<(), String>,
    /// The metadata directories that readers must read from the source, as nothing could be recorded
    /// that tells later whether they changed, or as not everybody may read them.
    pub read_each_time: Vec<OsString>,
    /// Whether all of it can be believed; if not, another sync may do better in a while.
    pub settled: bool,
    /// What is wrong with what was read.
    pub problems: Vec<Problem>,
}

/// What a sync did about a path entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Something was written or removed.
    Refreshed,
    /// Nothing had changed; nothing was written.
    Unchanged,
    /// A fresh index in the system root answers, so the user's root needs none.
    LeftToSystem,
    /// It has no mirror, for this reason.
    NotCached(String),
}

impl Sync {
    /// Prepares to write to `root`. `roots` are all that readers ask: a user's sync leaves alone
    /// what the system's root answers. `within` is the directory that stands for the root of the
    /// file system, if not `/`: nothing outside is written, and who can search the directories above
    /// it does not matter.
    ///
    /// # Errors
    /// The root is no directory, others may write it, or it leads out of `within`.
    pub fn new(root: Root, roots: &[Root], within: Option<&Path>) -> Result<Self, Error> {
        exists_for_writing(&root, within)?;
        let mut system = Vec::new();
        if root.kind == RootKind::User {
            let of_the_system = |other: &&Root| other.kind == RootKind::System;
            system.extend(roots.iter().filter(of_the_system).cloned());
        }
        Ok(Self {
            root,
            system,
            within: within.map(Path::to_owned),
            seal: false,
            dry_run: false,
            installing: Duration::ZERO,
            patience: MAX_SETTLING,
        })
    }

    /// Also writes a sealed index: the builder of an image says by it that the image's path entries
    /// and the index travel together in it. For the vendor root.
    pub fn seal(self, seal: bool) -> Self {
        Self { seal, ..self }
    }

    /// Only finds out what would be written and removed.
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// Takes it for an install that is under way if a metadata directory has no entry points and was
    /// changed in the last second, or, if it has no `RECORD` either, which installers write last, less
    /// than this ago: such a dist is read from the source each time. For those who sync while
    /// packages are being installed, and again what was not [settled](Outcome::settled).
    pub fn installing(self, installing: Duration) -> Self {
        Self { installing, ..self }
    }

    /// Waits no longer than this for what changed just before, and goes on changing. For those who have
    /// more to do meanwhile, and sync again what was not [settled](Outcome::settled).
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Refreshes the mirror of one path entry.
    ///
    /// Takes as long as its reading, plus at most 2.5 s (or its [patience](Self::patience)) if
    /// something changed just before.
    ///
    /// # Errors
    /// The mirror could not be written. Readers are none the worse.
    pub fn path_entry(&self, path_entry: &PathEntry) -> Result<Outcome, Error> {
        let string = match path_entry.cacheable() {
            Ok(string) => string,
            Err(why) => return Ok(Outcome::not_cached(path_entry, why.reason().to_owned())),
        };
        if !self.system.is_empty()
            && Cache::new(self.system.clone(), Mode::Exact).system_answers(path_entry)
        {
            return Ok(Outcome {
                done: Done::LeftToSystem,
                ..Outcome::not_cached(path_entry, String::new())
            });
        }
        let mirror = Mirror::of(&self.root, string);
        if Place::at(&mirror.path).is_some_and(|it| Some(it) == Place::at(path_entry.location())) {
            let why = "its mirror would be the path entry itself: name another root";
            return Ok(Outcome::not_cached(path_entry, why.to_owned()));
        }
        let before = std::fs::metadata(path_entry.location());
        let result = self.mirror(path_entry, string, mirror.clone());
        if self.root.kind == RootKind::User && !self.dry_run {
            let before = before.ok().map(|stat| Stamp::of_directory(&stat));
            claim::note(&mirror, &self.root.path, before);
        }
        result
    }

    /// Refreshes a mirror, which the path entry can have.
    fn mirror(
        &self,
        path_entry: &PathEntry,
        string: &str,
        mirror: Mirror,
    ) -> Result<Outcome, Error> {
        let old = mirror
            .read_index()
            .ok()
            .filter(|(_, stat)| mirror.has_mode(stat));
        let old = old.and_then(|(text, _)| Index::parse(text, string));
        mirror.check_links(&self.root.path)?;
        let listing = mirror.list();
        if let Some(outcome) = self.nothing_to_do(path_entry, &mirror, old.as_ref(), &listing) {
            return Ok(outcome);
        }
        // One whose groups are damaged is of no use.
        let records = old.as_ref().and_then(Index::records);
        let old = old.as_ref().filter(|_| records.is_some());
        let snapshot = match Snapshot::settled(path_entry, old, &listing, self.waiting()) {
            Ok(snapshot) => snapshot,
            Err(nothing) => return Ok(Outcome::not_cached(path_entry, nothing)),
        };
        Work {
            sync: self,
            path_entry,
            string,
            mirror,
            old,
            records: records.unwrap_or_default(),
            listing,
            outcome: Outcome::not_cached(path_entry, String::new()),
        }
        .write(snapshot)
    }

    /// Whether only what everybody could have read may be written, and if so, below which directory
    /// that is asked: in the roots that everybody reads. A package build that is not root's reads
    /// nothing that its user could not write there anyway.
    fn publishes(&self) -> bool {
        match self.root.kind {
            RootKind::User => false,
            RootKind::System => true,
            RootKind::Vendor => trust::effective_user() == 0,
        }
    }

    /// How long to wait: for young stamps, which the vendor root's files do not hold.
    fn waiting(&self) -> Waiting {
        let patience = match self.root.kind {
            RootKind::Vendor => Duration::ZERO,
            RootKind::System | RootKind::User => self.patience,
        };
        Waiting {
            patience,
            installing: self.installing,
        }
    }

    /// Whether the index is fresh and the mirror complete: every stamp is compared, nothing is read.
    fn nothing_to_do(
        &self,
        path_entry: &PathEntry,
        mirror: &Mirror,
        old: Option<&Index>,
        listing: &Listing,
    ) -> Option<Outcome> {
        let old = old?;
        let stat = std::fs::metadata(path_entry.location()).ok()?;
        let is_zip = stat.is_file(); // whose dists have no stamps of their own
        let mut below = Below::new(path_entry);
        let complete = old.freshness == Freshness::Stamp(Stamp::of_directory(&stat))
            && self.root.kind == RootKind::User
            && listing.leftovers.is_empty()
            && listing.metadata_dirs.len() == old.len()
            && old.dists().all(|dist| match dist {
                IndexedDist::Here { metadata_dir, .. } => {
                    listing.metadata_dirs.contains(OsStr::new(metadata_dir))
                        && (is_zip || dist.holds(&mut below))
                }
                IndexedDist::ReadItYourself { .. } => false,
            });
        complete.then(|| Outcome {
            mirror: Some(mirror.path.clone()),
            done: Done::Unchanged,
            dists: old.len(),
            index: Ok(()),
            ..Outcome::not_cached(path_entry, String::new())
        })
    }
}

impl Outcome {
    fn not_cached(path_entry: &PathEntry, why: String) -> Self {
        Self {
            path_entry: path_entry.as_os_str().to_owned(),
            mirror: None,
            index: Err(why.clone()),
            done: Done::NotCached(why),
            dists: 0,
            written: Vec::new(),
            removed: Vec::new(),
            read_each_time: Vec::new(),
            settled: true,
            problems: Vec::new(),
        }
    }
}
