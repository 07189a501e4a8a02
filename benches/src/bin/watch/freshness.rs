//! Waiting until a fresh index answers for a path entry, by the word of the library that all readers
//! share.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use epcache::resolve::Basis;
use epcache::{Cache, Mode, PathEntry, Root, RootKind};

/// How soon to look again. What is looked at is one `stat`, so that looking takes the watcher no time.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What takes so long is not slow but broken.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// A path entry and the cache root of the one watcher that keeps it current.
pub(crate) struct Freshness {
    cache: Cache,
    path_entry: PathEntry,
    index: PathBuf,
}

impl Freshness {
    pub(crate) fn of(path_entry: &Path, root: &Path) -> Freshness {
        let mirror = root.join(path_entry.strip_prefix("/").unwrap_or(path_entry));
        let root = Root {
            path: root.to_owned(),
            kind: RootKind::User,
        };
        Freshness {
            cache: Cache::new(vec![root], Mode::Exact),
            path_entry: PathEntry::new(path_entry),
            index: mirror.join(".index"),
        }
    }

    /// Waits until the index is fresh, and none of its dists is left to be read from the source.
    ///
    /// # Errors
    /// That does not come to be.
    pub(crate) fn wait(&self) -> Result<()> {
        let start = Instant::now();
        let mut looked_at = None;
        loop {
            // Nothing but another index can make it fresh. Seen before it is looked at: one that comes
            // meanwhile is looked at the next time.
            let seen = identity(&self.index);
            if seen.is_some() && seen != looked_at {
                if self.basis() == Some(Basis::Fresh { read: 0 }) {
                    return Ok(());
                }
                looked_at = seen;
            }
            ensure!(
                start.elapsed() < GIVE_UP_AFTER,
                "{}: not fresh after {GIVE_UP_AFTER:?}, but {:?}",
                self.path_entry.location().display(),
                self.basis()
            );
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn basis(&self) -> Option<Basis> {
        let path = std::slice::from_ref(&self.path_entry);
        self.cache.status(path).pop().map(|status| status.basis)
    }

    /// Whether a metadata directory of this name is there, by what the cache says.
    pub(crate) fn knows(&self, metadata_dir: &str) -> bool {
        let path = std::slice::from_ref(&self.path_entry);
        let found = self.cache.dists(path).dists;
        found.iter().any(|it| it.dist.metadata_dir == metadata_dir)
    }

    /// When anything last changed that a reader looks at: in the path entry, or in a metadata
    /// directory in it.
    pub(crate) fn last_change(&self) -> Result<SystemTime> {
        let path_entry = self.path_entry.location();
        let mut latest = changed(path_entry)?;
        for metadata_dir in children(path_entry)? {
            if metadata_dir.extension().is_none_or(|it| it != "dist-info") {
                continue;
            }
            latest = latest.max(changed(&metadata_dir)?);
            for file in children(&metadata_dir)? {
                latest = latest.max(changed(&file)?);
            }
        }
        Ok(latest)
    }
}

/// What is another for another index.
fn identity(index: &Path) -> Option<(u64, i64, i64)> {
    let stat = fs::metadata(index).ok()?;
    Some((stat.ino(), stat.ctime(), stat.ctime_nsec()))
}

fn children(dir: &Path) -> Result<Vec<PathBuf>> {
    let children = fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    let paths = children.map(|child| Ok(child?.path()));
    paths.collect::<Result<_>>()
}

fn changed(path: &Path) -> Result<SystemTime> {
    let stat: Metadata =
        fs::symlink_metadata(path).with_context(|| format!("look at {}", path.display()))?;
    let seconds = u64::try_from(stat.ctime()).context("a time before 1970")?;
    let nanoseconds = u32::try_from(stat.ctime_nsec()).context("a part of a second")?;
    Ok(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds))
}
