//! Refreshing: brings the mirror of a path entry, and its index, to what the path entry holds.
//!
//! Writers never coordinate. One sync takes a snapshot (list, read what is not known to be unchanged,
//! look again whether anything moved), waits for stamps that are too young to be believed, and then
//! writes what differs: mirror files first, the index last. Where it is killed, the index is the old
//! one, whose stamps tell what changed since.

use crate::error::Error;
use crate::index::{self, Freshness, Index, IndexedDist, Record, can_be_mirrored};
use crate::layout::{Root, RootKind, Unusable};
use crate::mirror::{Listing, Mirror};
use crate::path_entry::PathEntry;
use crate::problem::Problem;
use crate::resolve::{Cache, Mode};
use crate::scan::{self, Check, Contents, Dist};
use crate::stamp::{self, Settling, Stamp};
use crate::trust;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How long one path entry is waited for until its stamps can be believed: what the coarsest clock
/// needs (2 s), and the time for another scan. What is younger still then is recorded as such.
const MAX_SETTLING: Duration = Duration::from_millis(2500);

/// The pause before something that changed while it was read is read again.
const MOVED: Duration = Duration::from_millis(100);

/// Refreshes mirrors in one cache root.
#[derive(Clone, Debug)]
pub struct Sync {
    root: Root,
    system: Vec<Root>,
    seal: bool,
    dry_run: bool,
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
    /// what the system's root answers.
    ///
    /// # Errors
    /// The root is no directory, or others may write it.
    pub fn new(root: Root, roots: &[Root]) -> Result<Self, Error> {
        check_root(&root)?;
        let mut system = Vec::new();
        if root.kind == RootKind::User {
            system.extend(
                roots
                    .iter()
                    .filter(|other| other.kind == RootKind::System)
                    .cloned(),
            );
        }
        Ok(Self {
            root,
            system,
            seal: false,
            dry_run: false,
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

    /// Refreshes the mirror of one path entry.
    ///
    /// Takes as long as its reading, plus at most 2.5 s if something changed just before.
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
        let old = mirror
            .read_index()
            .ok()
            .and_then(|text| Index::parse(text, string));
        let listing = mirror.list();
        if let Some(outcome) = self.nothing_to_do(path_entry, &mirror, old.as_ref(), &listing) {
            return Ok(outcome);
        }
        let snapshot = match Snapshot::settled(path_entry, old.as_ref(), self.patience()) {
            Ok(snapshot) => snapshot,
            Err(nothing) => return Ok(Outcome::not_cached(path_entry, nothing)),
        };
        Work {
            sync: self,
            path_entry,
            string,
            mirror,
            old,
            listing,
            outcome: Outcome::not_cached(path_entry, String::new()),
        }
        .write(snapshot)
    }

    /// How long to wait for young stamps: the vendor root's files hold none.
    fn patience(&self) -> Duration {
        if self.root.kind == RootKind::Vendor {
            Duration::ZERO
        } else {
            MAX_SETTLING
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
        let stamp = scan::stamp_of(path_entry)?;
        let mut path = path_entry.location().to_owned();
        let complete = old.freshness == Freshness::Stamp(stamp)
            && self.root.kind == RootKind::User
            && listing.leftovers.is_empty()
            && listing.metadata_dirs.len() == old.len()
            && old.dists().all(|dist| match dist {
                IndexedDist::Here {
                    metadata_dir,
                    checks,
                    ..
                } => {
                    listing.metadata_dirs.contains(OsStr::new(metadata_dir))
                        && (checks.is_empty() || dist.holds(&mut path))
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

/// Whether a cache root can be written to safely: it, or what it is to be made in, is nobody else's.
fn check_root(root: &Root) -> Result<(), Error> {
    match root.usable() {
        Ok(()) => Ok(()),
        Err(Unusable::NotTrusted(why)) => Err(Error::NotTrusted {
            path: root.path.clone(),
            why,
        }),
        Err(Unusable::Broken(why)) => Err(Error::io("use it as a cache", &root.path)(
            std::io::Error::new(std::io::ErrorKind::NotADirectory, why),
        )),
        Err(Unusable::Absent) => {
            // What root makes in a user's home directory, the user could not use.
            let above = root
                .path
                .ancestors()
                .skip(1)
                .find_map(|above| Some((above, std::fs::metadata(above).ok()?)));
            match above {
                Some((above, stat)) => trust::check_owner(&stat).map_err(|why| Error::NotTrusted {
                    path: above.to_owned(),
                    why,
                }),
                None => Ok(()),
            }
        }
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
            problems: Vec::new(),
        }
    }
}

/// What a path entry held during one scan.
struct Snapshot {
    stamp: Stamp,
    /// Whether the stamp of the path entry can be believed.
    settled: bool,
    dists: Vec<Scanned>,
}

/// A dist in a snapshot.
enum Scanned {
    /// The old index has it, and its checks hold.
    Known(Record),
    /// It was read; `settled` says whether its checks can be believed.
    Read { dist: Box<Dist>, settled: bool },
}

impl Snapshot {
    /// Scans until everything can be believed, or patience ends.
    ///
    /// `Err` says why there is nothing to scan.
    fn settled(
        path_entry: &PathEntry,
        old: Option<&Index>,
        patience: Duration,
    ) -> Result<Self, String> {
        let deadline = Instant::now() + patience;
        let mut known: HashMap<OsString, Record> = HashMap::new();
        for record in old.and_then(Index::records).unwrap_or_default() {
            if let Record::Here { metadata_dir, .. } = &record {
                known.insert(metadata_dir.into(), record);
            }
        }
        loop {
            let (snapshot, wait) = Self::take(
                path_entry,
                &known,
                deadline.saturating_duration_since(Instant::now()),
            )?;
            match wait {
                Some(wait) => std::thread::sleep(wait),
                None => return Ok(snapshot),
            }
        }
    }

    /// Scans once. Also gives how long to wait before another scan can do better; nothing, if that
    /// is longer than `patience`.
    fn take(
        path_entry: &PathEntry,
        known: &HashMap<OsString, Record>,
        patience: Duration,
    ) -> Result<(Self, Option<Duration>), String> {
        let start = stamp::now();
        let Some(stamp) = scan::stamp_of(path_entry) else {
            return Err(std::fs::metadata(path_entry.location())
                .err()
                .map_or("it moved away".to_owned(), |error| error.to_string()));
        };
        let contents = Contents::of(path_entry);
        if let Contents::Nothing(why) = contents {
            return Err(why);
        }
        let believable = Believable {
            start,
            path_entry,
            keeps_change_times: OnceCell::new(),
        };
        let mut path = path_entry.location().to_owned();
        let mut waits = Vec::new();
        let mut dists = Vec::new();
        for name in contents.dists() {
            if let Some(record @ Record::Here { checks, .. }) = known.get(name) {
                path.push(name);
                let holds = !checks.is_empty() && checks.iter().all(|check| check.holds(&mut path));
                path.pop();
                if holds {
                    dists.push(Scanned::Known(record.clone()));
                    continue;
                }
            }
            let dist = Box::new(contents.read(path_entry, name));
            let settled = believable.dist(&dist, &mut waits);
            dists.push(Scanned::Read { dist, settled });
        }
        let moved = scan::stamp_of(path_entry) != Some(stamp);
        let settled = if moved {
            believable.moved(&mut waits)
        } else {
            believable.stamp(&stamp, &mut waits)
        };
        let wait = waits.into_iter().filter(|wait| *wait <= patience).max();
        Ok((
            Self {
                stamp,
                settled,
                dists,
            },
            wait,
        ))
    }
}

/// Which stamps of a scan can be believed.
struct Believable<'a> {
    start: i128,
    path_entry: &'a PathEntry,
    /// Asked for only if a time makes it doubtful; see [`keeps_change_times`].
    keeps_change_times: OnceCell<bool>,
}

impl Believable<'_> {
    /// Whether the stamps of a dist that was just read can be believed; if another scan can do
    /// better, adds how long to wait for it.
    fn dist(&self, dist: &Dist, waits: &mut Vec<Duration>) -> bool {
        let Some(checks) = &dist.checks else {
            return true;
        }; // nothing that could be believed
        let mut path = self.path_entry.location().join(&dist.metadata_dir);
        let mut settled = true;
        for check in checks {
            settled &= if check.holds(&mut path) {
                self.stamp(&check.stamp, waits)
            } else {
                self.moved(waits)
            };
        }
        settled && !scan::is_being_unpacked(&path)
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
fn keeps_change_times(path: &Path) -> bool {
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

/// The writing of one snapshot into one mirror.
struct Work<'a> {
    sync: &'a Sync,
    path_entry: &'a PathEntry,
    string: &'a str,
    mirror: Mirror,
    old: Option<Index>,
    listing: Listing,
    outcome: Outcome,
}

impl Work<'_> {
    fn write(mut self, snapshot: Snapshot) -> Result<Outcome, Error> {
        self.outcome.mirror = Some(self.mirror.path.clone());
        self.outcome.dists = snapshot.dists.len();
        self.outcome.index = Ok(());
        if self.everybody_must_read(self.path_entry.location(), snapshot.stamp.inode()) {
            let mut records = Vec::new();
            for scanned in &snapshot.dists {
                records.push(self.dist(scanned)?);
            }
            self.index(&snapshot, records)?;
        } else {
            self.outcome.index = Err(
                "not everybody may read the path entry, so nothing of it is published".to_owned(),
            );
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

    /// In the system root, whether everybody could have read it; in the others that is no matter.
    fn everybody_must_read(&self, path: &Path, inode: u64) -> bool {
        self.sync.root.kind != RootKind::System || trust::everybody_could_read(path, inode)
    }

    fn everybody_must_read_all(&self, metadata_dir: &OsStr, checks: &[Check]) -> bool {
        let path = self.path_entry.location().join(metadata_dir);
        let of_check = |check: &Check| {
            let file = check.what.file();
            let path = if file.is_empty() {
                path.clone()
            } else {
                path.join(file)
            };
            self.everybody_must_read(&path, check.stamp.inode())
        };
        checks.iter().all(of_check)
    }

    /// Writes the mirror file of a dist, if it is to have one, and gives its record.
    fn dist(&mut self, scanned: &Scanned) -> Result<Record, Error> {
        let record = match scanned {
            Scanned::Known(
                record @ Record::Here {
                    metadata_dir,
                    checks,
                    ..
                },
            ) if self.everybody_must_read_all(OsStr::new(metadata_dir), checks) => {
                if !self.listing.metadata_dirs.remove(OsStr::new(metadata_dir)) {
                    let again = Contents::of(self.path_entry)
                        .read(self.path_entry, OsStr::new(metadata_dir));
                    self.mirror_file(&again)?;
                }
                record.clone()
            }
            Scanned::Known(Record::Here { metadata_dir, .. }) => {
                Record::read_it_yourself(OsStr::new(metadata_dir))
            }
            Scanned::Known(record) => record.clone(),
            Scanned::Read { dist, settled } => {
                self.outcome.problems.extend(dist.problems.iter().cloned());
                let public = match &dist.checks {
                    Some(checks) => self.everybody_must_read_all(&dist.metadata_dir, checks),
                    None => self.sync.root.kind != RootKind::System,
                };
                if public {
                    self.mirror_file(dist)?;
                }
                let believed = *settled || self.sync.root.kind == RootKind::Vendor;
                if public && believed {
                    Record::of(dist)
                } else {
                    Record::read_it_yourself(&dist.metadata_dir)
                }
            }
        };
        if let Record::ReadItYourself { metadata_dir } = &record {
            self.outcome
                .read_each_time
                .push(OsStr::from_bytes(metadata_dir).to_owned());
        }
        Ok(record)
    }

    fn mirror_file(&mut self, dist: &Dist) -> Result<(), Error> {
        if !can_be_mirrored(&dist.metadata_dir) || (dist.text.is_none() && dist.checks.is_none()) {
            return Ok(());
        }
        let present = self.listing.metadata_dirs.remove(&dist.metadata_dir);
        let text = dist.text.as_deref().unwrap_or_default();
        let same =
            |(old, modified): (Vec<u8>, SystemTime)| old == text && modified == dist.modified;
        if present && self.mirror.read_file(&dist.metadata_dir).is_ok_and(same) {
            return Ok(());
        }
        let name = crate::dist::shown(dist.metadata_dir.as_encoded_bytes()).into_owned();
        self.outcome
            .written
            .push(self.mirror.path.join(crate::dist::mirror_file(&name)));
        if self.sync.dry_run {
            Ok(())
        } else {
            self.mirror.write_file(&name, text, dist.modified)
        }
    }

    /// Writes the index, if there is to be one and it differs.
    fn index(&mut self, snapshot: &Snapshot, records: Vec<Record>) -> Result<(), Error> {
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
        let text = index::render(self.string, freshness, &records);
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
        self.outcome.written.push(self.mirror.index());
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
