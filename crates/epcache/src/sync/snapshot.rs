//! A snapshot: what a path entry held during one scan, and which of its stamps can be believed.

use crate::index::Index;
use crate::mirror::Listing;
use crate::path_entry::PathEntry;
use crate::scan::{self, Below, Contents, Dist};
use crate::stamp::{self, Settling, Stamp};
use crate::walk::Place;
use foldhash::HashMap;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

/// The pause before something that changed while it was read is read again.
const MOVED: Duration = Duration::from_millis(100);

/// What a path entry held during one scan.
pub(super) struct Snapshot {
    pub(super) stamp: Stamp,
    /// Which directory or file was listed.
    pub(super) place: Place,
    /// Whether the stamp of the path entry can be believed.
    pub(super) settled: bool,
    pub(super) dists: Vec<Scanned>,
}

/// A dist in a snapshot.
pub(super) enum Scanned {
    /// The old index has it, under this number, and its checks hold.
    Known(usize),
    /// It was read; `settled` says whether its checks can be believed.
    Read { dist: Box<Dist>, settled: bool },
}

/// How long a metadata directory without entry points must have been left alone before it is believed
/// that there are none, where somebody syncs while packages are being installed: no installer pauses
/// for so long between a directory's first file and its last, unless it is stopped.
const FILLING: Duration = Duration::from_secs(1);

/// How long is waited for what changes.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    /// For stamps that can be believed.
    pub(super) patience: Duration,
    /// Not waited for, but taken for an install under way: see [`super::Sync::installing`].
    pub(super) installing: Duration,
}

impl Snapshot {
    /// Scans until everything can be believed, or patience ends.
    ///
    /// `Err` says why there is nothing to scan.
    pub(super) fn settled(
        path_entry: &PathEntry,
        old: Option<&Index>,
        listing: &Listing,
        waiting: Waiting,
    ) -> Result<Self, String> {
        let deadline = Instant::now() + waiting.patience;
        let known = Known::of(old, listing);
        loop {
            let waiting = Waiting {
                patience: deadline.saturating_duration_since(Instant::now()),
                ..waiting
            };
            let (snapshot, wait) = Self::take(path_entry, &known, waiting)?;
            match wait {
                Some(wait) => std::thread::sleep(wait),
                None => return Ok(snapshot),
            }
        }
    }

    /// Scans once. Also gives how long to wait before another scan can do better; nothing, if that
    /// is longer than patience.
    fn take(
        path_entry: &PathEntry,
        known: &Known<'_>,
        waiting: Waiting,
    ) -> Result<(Self, Option<Duration>), String> {
        let start = stamp::now();
        let contents = Contents::of(path_entry)?;
        let stamp = contents.stamp();
        let believable = Believable {
            start,
            path_entry,
            installing: waiting.installing,
            keeps_change_times: OnceCell::new(),
        };
        let mut below = Below::new(path_entry);
        let mut waits = Vec::new();
        let mut dists = Vec::new();
        for name in contents.dists() {
            if let Some(number) = known.unchanged(name, &mut below) {
                dists.push(Scanned::Known(number));
                continue;
            }
            let dist = Box::new(contents.read(path_entry, name));
            let settled = believable.dist(&dist, &mut below, &mut waits);
            dists.push(Scanned::Read { dist, settled });
        }
        let moved = scan::stamp_of(path_entry) != Some(stamp);
        let settled = if moved {
            believable.moved(&mut waits)
        } else {
            believable.stamp(&stamp, &mut waits)
        };
        let wait = waits
            .into_iter()
            .filter(|wait| *wait <= waiting.patience)
            .max();
        Ok((
            Self {
                stamp,
                place: contents.place(),
                settled,
                dists,
            },
            wait,
        ))
    }
}

/// The dists that the old index can answer for, as long as their checks hold.
struct Known<'a> {
    old: Option<&'a Index>,
    numbers: HashMap<Cow<'a, OsStr>, usize>,
}

impl<'a> Known<'a> {
    /// One without its mirror file is not among them: it is read again, and then written.
    fn of(old: Option<&'a Index>, listing: &Listing) -> Self {
        let dists = old.into_iter().flat_map(Index::dists).enumerate();
        let named = dists.map(|(number, dist)| (dist.metadata_dir(), number));
        let mirrored = |(name, _): &(Cow<'_, OsStr>, _)| listing.metadata_dirs.contains(&**name);
        let numbers = named.filter(mirrored);
        Self {
            old,
            numbers: numbers.collect(),
        }
    }

    fn unchanged(&self, metadata_dir: &OsStr, below: &mut Below) -> Option<usize> {
        let number = *self.numbers.get(metadata_dir)?;
        self.old?.dist(number).holds(below).then_some(number)
    }
}

/// Which stamps of a scan can be believed.
struct Believable<'a> {
    start: i128,
    path_entry: &'a PathEntry,
    installing: Duration,
    /// Asked for only if a time makes it doubtful; see [`keeps_change_times`].
    keeps_change_times: OnceCell<bool>,
}

impl Believable<'_> {
    /// Whether the stamps of a dist that was just read can be believed; if another scan can do
    /// better, adds how long to wait for it.
    fn dist(&self, dist: &Dist, below: &mut Below, waits: &mut Vec<Duration>) -> bool {
        let Some(checks) = &dist.checks else {
            return true; // nothing that could be believed
        };
        let mut settled = true;
        for check in checks {
            settled &= if check.holds(below, &dist.metadata_dir) {
                self.stamp(&check.stamp, waits)
            } else {
                self.moved(waits)
            };
        }
        let path = self.path_entry.location().join(&dist.metadata_dir);
        settled
            && !scan::has_many_files(&path)
            && !scan::is_being_unpacked(&path)
            && !self.is_being_installed(dist, &path)
    }

    /// Whether an installer may not have put everything into a metadata directory yet.
    fn is_being_installed(&self, dist: &Dist, metadata_dir: &Path) -> bool {
        if self.installing.is_zero() || dist.text.is_some() || !metadata_dir.is_dir() {
            return false;
        }
        let quiet = match scan::has_no_record(metadata_dir) {
            true => self.installing,
            false => FILLING,
        };
        stamp::age(metadata_dir, self.start).is_some_and(|age| age < quiet)
    }

    fn stamp(&self, stamp: &Stamp, waits: &mut Vec<Duration>) -> bool {
        let keeps = || keeps_change_times(self.path_entry.location());
        if stamp.may_be_an_images() && !self.keeps_change_times.get_or_init(keeps) {
            return false;
        }
        match stamp.settles(self.start) {
            Settling::Settled => true,
            Settling::In(wait) => {
                waits.push(wait);
                false
            }
        }
    }

    /// It changed while it was read.
    fn moved(&self, waits: &mut Vec<Duration>) -> bool {
        waits.push(MOVED);
        false
    }
}

/// Whether a file system with change times in whole seconds keeps them at all. An image (squashfs,
/// erofs, iso9660; also below an overlay) gives the times of its building to whatever it holds, so
/// that another image can show the same; such file systems are read-only, or overlays.
pub(super) fn keeps_change_times(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        const OVERLAYFS_SUPER_MAGIC: i128 = 0x794c_7630; // linux/magic.h
        if rustix::fs::statfs(path)
            .map_or(true, |fs| i128::from(fs.f_type) == OVERLAYFS_SUPER_MAGIC)
        {
            return false;
        }
    }
    rustix::fs::statvfs(path)
        .is_ok_and(|fs| !fs.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}
