//! The writing of one snapshot into one mirror: what differs, and nothing else.

use super::snapshot::{Scanned, Snapshot, keeps_change_times};
use super::{Done, Outcome, Sync};
use crate::dist::{mirror_file, shown};
use crate::error::Error;
use crate::index::{self, Freshness, Index, Record, can_be_mirrored};
use crate::layout::{RootKind, exists_for_writing};
use crate::mirror::{Listing, Mirror};
use crate::path_entry::PathEntry;
use crate::problem::{Problem, ProblemKind};
use crate::scan::{self, Below, Check, Dist};
use crate::trust;
use crate::walk::Place;
use crate::write;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The writing of one snapshot into one mirror.
pub(super) struct Work<'a> {
    pub(super) sync: &'a Sync,
    pub(super) path_entry: &'a PathEntry,
    pub(super) string: &'a str,
    pub(super) mirror: Mirror,
    pub(super) old: Option<&'a Index>,
    /// The records of the old index.
    pub(super) records: Vec<Record<'a>>,
    pub(super) listing: Listing,
    pub(super) outcome: Outcome,
}

impl<'a> Work<'a> {
    pub(super) fn write(mut self, snapshot: Snapshot) -> Result<Outcome, Error> {
        self.outcome.mirror = Some(self.mirror.path.clone());
        self.outcome.dists = snapshot.dists.len();
        self.outcome.index = Ok(());
        let listed = |stat: &Metadata| Place::of(stat) == snapshot.place;
        if self.may_publish(self.path_entry.location(), listed) {
            let mut records = Vec::with_capacity(snapshot.dists.len());
            for scanned in &snapshot.dists {
                records.push(self.dist(scanned)?);
            }
            self.index(&snapshot, &records)?;
        } else {
            self.outcome.index = Err(ProblemKind::NotForAll.to_string());
            if self.sync.root.kind == RootKind::Vendor {
                // A package or an image would lack what it is built for.
                self.outcome.problems.push(Problem {
                    path: self.path_entry.location().to_owned(),
                    line: None,
                    kind: ProblemKind::NotForAll,
                });
            }
            self.remove_index()?;
        }
        self.remove_the_rest()?;
        let changed = !self.outcome.written.is_empty() || !self.outcome.removed.is_empty();
        self.outcome.done = if changed {
            Done::Refreshed
        } else {
            Done::Unchanged
        };
        Ok(self.outcome)
    }

    /// Whether what was read at a path may be written: in the roots that everybody reads, if
    /// everybody could have read it.
    fn may_publish(&self, path: &Path, is_it: impl Fn(&Metadata) -> bool) -> bool {
        !self.sync.publishes()
            || trust::everybody_could_read(path, self.sync.within.as_deref(), is_it)
    }

    fn may_publish_all(
        &self,
        metadata_dir: &OsStr,
        mut checks: impl Iterator<Item = Option<Check>>,
    ) -> bool {
        if !self.sync.publishes() {
            return true;
        }
        let path = self.path_entry.location().join(metadata_dir);
        let of_check = |check: Check| match check.what.file() {
            "" => self.may_publish(&path, |stat| check.is_of(stat)),
            file => self.may_publish(&path.join(file), |stat| check.is_of(stat)),
        };
        checks.all(|check| check.is_some_and(of_check))
    }

    /// Writes the mirror file of a dist, if it is to have one, and gives its record.
    fn dist<'d>(&mut self, scanned: &'d Scanned) -> Result<Record<'d>, Error>
    where
        'a: 'd,
    {
        let record = match scanned {
            Scanned::Known(number) => self.known(*number),
            Scanned::Read { dist, settled } => self.read(dist, *settled)?,
        };
        if let Record::ReadItYourself { metadata_dir } = &record {
            let metadata_dir = OsStr::from_bytes(metadata_dir).to_owned();
            self.outcome.read_each_time.push(metadata_dir);
        }
        Ok(record)
    }

    /// One that is as it was: its mirror file stays, unless it has become private.
    fn known(&mut self, number: usize) -> Record<'a> {
        let nothing = Record::ReadItYourself {
            metadata_dir: Vec::new(),
        };
        // A snapshot has each number once.
        let record = std::mem::replace(&mut self.records[number], nothing);
        if let Record::Here {
            metadata_dir,
            checks,
            ..
        } = &record
        {
            let metadata_dir = OsStr::new(metadata_dir.as_ref());
            if !self.may_publish_all(metadata_dir, checks.split('\t').map(Check::parse)) {
                return Record::read_it_yourself(metadata_dir);
            }
            self.listing.metadata_dirs.remove(metadata_dir);
        }
        record
    }

    fn read<'d>(&mut self, dist: &'d Dist, settled: bool) -> Result<Record<'d>, Error> {
        self.outcome.problems.extend(dist.problems.iter().cloned());
        let may_publish = match &dist.checks {
            Some(checks) => {
                self.may_publish_all(&dist.metadata_dir, checks.iter().copied().map(Some))
            }
            None => !self.sync.publishes(), // it is not known what was read
        };
        if may_publish {
            self.mirror_file(dist)?;
        }
        let believed = settled || self.sync.root.kind == RootKind::Vendor;
        let path = self.path_entry.location().join(&dist.metadata_dir);
        if !believed && scan::has_many_files(&path) {
            self.outcome.problems.push(Problem {
                path,
                line: None,
                kind: ProblemKind::ManyFiles,
            });
        }
        self.outcome.settled &= believed;
        Ok(match may_publish && believed {
            true => Record::of(dist),
            false => Record::read_it_yourself(&dist.metadata_dir),
        })
    }

    fn mirror_file(&mut self, dist: &Dist) -> Result<(), Error> {
        if !can_be_mirrored(&dist.metadata_dir) || (dist.text.is_none() && dist.checks.is_none()) {
            return Ok(());
        }
        let present = self.listing.metadata_dirs.remove(&dist.metadata_dir);
        let text = dist.text.as_deref().unwrap_or_default();
        let same = |(old, stat): (Vec<u8>, Metadata)| {
            let modified = stat.modified().ok() == Some(dist.modified);
            old == text
                && modified
                && self.mirror.has_mode(&stat)
                && !self.is_not_believed(&stat, &dist.metadata_dir)
        };
        if present && self.mirror.read_file(&dist.metadata_dir).is_ok_and(same) {
            return Ok(());
        }
        let name = shown(dist.metadata_dir.as_encoded_bytes()).into_owned();
        let path = self.mirror.path.join(mirror_file(&name));
        self.writing(path)?;
        match self.sync.dry_run {
            true => Ok(()),
            false => self.mirror.write_file(&name, text, dist.modified),
        }
    }

    /// Whether a copy is to be written again as it is, since readers would not believe the old one.
    fn is_not_believed(&self, copy: &Metadata, metadata_dir: &OsStr) -> bool {
        self.sync.root.kind == RootKind::Vendor
            && Below::new(self.path_entry).is_older_than_its_source(copy, metadata_dir)
    }

    /// Notes that a file will be written. Before the first, sees to it that the root is there, and
    /// is nobody else's also if somebody made it just before us.
    fn writing(&mut self, path: PathBuf) -> Result<(), Error> {
        if self.outcome.written.is_empty() && !self.sync.dry_run {
            let root = &self.sync.root;
            write::make_directories(&root.path, root.kind.modes().0)
                .map_err(Error::io("make this directory", &root.path))?;
            exists_for_writing(root, self.sync.within.as_deref())?;
        }
        self.outcome.written.push(path);
        Ok(())
    }

    /// Writes the index, if there is to be one and it differs.
    fn index(&mut self, snapshot: &Snapshot, records: &[Record<'_>]) -> Result<(), Error> {
        let freshness = match self.sync.root.kind {
            RootKind::Vendor if self.sync.seal => Freshness::Sealed(snapshot.stamp.mtime_seconds()),
            RootKind::Vendor => {
                self.outcome.index = Err(
                    "the vendor root holds mirror files; an index only when it is sealed"
                        .to_owned(),
                );
                return self.remove_index();
            }
            _ if snapshot.stamp.may_be_an_images()
                && !keeps_change_times(self.path_entry.location()) =>
            {
                let why = "the file system keeps no change times, so nothing could tell that an index is fresh; seal one in the vendor root";
                self.outcome.index = Err(why.to_owned());
                return self.remove_index();
            }
            _ if snapshot.settled => Freshness::Stamp(snapshot.stamp),
            _ => Freshness::Never,
        };
        self.outcome.settled &= freshness != Freshness::Never;
        let text = index::render(self.string, freshness, records);
        if text.len() as u64 > index::MAX_INDEX {
            self.remove_index()?;
            return Err(Error::TooLarge {
                path: self.mirror.index(),
                size: text.len() as u64,
            });
        }
        if self.old.as_ref().is_some_and(|old| old.as_str() == text) {
            return Ok(());
        }
        self.writing(self.mirror.index())?;
        if self.sync.dry_run {
            Ok(())
        } else {
            self.mirror.write_index(&text)
        }
    }

    fn remove_index(&mut self) -> Result<(), Error> {
        if self.listing.has_index {
            self.remove(self.mirror.index())
        } else {
            Ok(())
        }
    }

    /// Removes the mirror files of dists that are gone, and what killed writers left.
    fn remove_the_rest(&mut self) -> Result<(), Error> {
        let mut gone: Vec<PathBuf> = std::mem::take(&mut self.listing.leftovers);
        for metadata_dir in std::mem::take(&mut self.listing.metadata_dirs) {
            let mut name = metadata_dir;
            name.push(".txt");
            gone.push(self.mirror.path.join(name));
        }
        gone.sort();
        gone.into_iter().try_for_each(|path| self.remove(path))
    }

    fn remove(&mut self, path: PathBuf) -> Result<(), Error> {
        if !self.sync.dry_run {
            Mirror::remove(&path)?;
        }
        self.outcome.removed.push(path);
        Ok(())
    }
}
