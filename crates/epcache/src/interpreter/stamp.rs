//! Whether a file is still the one that was looked at.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::{StatVfsMountFlags, statvfs};
use serde::{Deserialize, Serialize};

/// How old a file's times must be to be believed: two changes within one tick of a file system's
/// clock leave the same times.
const SETTLED_AFTER: Duration = Duration::from_millis(100);

/// The same where a time is a whole second, so that the file system may know no finer ones.
const SETTLED_AFTER_COARSE: Duration = Duration::from_secs(2);

/// Identity, size and times of a file, found through links, as `(seconds, nanoseconds)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file or directory; `None` if there is none that can be looked at.
    pub(super) fn of(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        Some(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether any later change will show, if this was taken after `moment`: both times are old
    /// enough then and not in the future.
    pub(super) fn is_settled_at(&self, moment: SystemTime) -> bool {
        let Ok(moment) = moment.duration_since(UNIX_EPOCH) else {
            return false;
        };
        let age = if self.modified.1 == 0 || self.changed.1 == 0 {
            SETTLED_AFTER_COARSE
        } else {
            SETTLED_AFTER
        };
        let Some(latest) = moment.checked_sub(age) else {
            return false;
        };
        let is_older = |(seconds, nanoseconds): (i64, i64)| {
            let time = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
            time <= latest.as_nanos().cast_signed()
        };
        is_older(self.modified) && is_older(self.changed)
    }

    /// Whether a change shows in the change time, wherever the modification time is set back:
    /// images (squashfs, erofs, iso9660) have no change times, show whole seconds for them, and
    /// are mounted read-only. A whole second alone says little: a disk made from an image has
    /// them on every file, until the first change.
    pub(super) fn has_change_time(&self, path: &Path) -> bool {
        let is_read_only =
            || statvfs(path).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY));
        self.changed.1 != 0 || !is_read_only()
    }
}

#[cfg(test)]
mod tests {
    use super::Stamp;
    use std::time::{Duration, UNIX_EPOCH};

    fn settled(modified: (i64, i64), changed: (i64, i64), now: Duration) -> bool {
        Stamp {
            device: 1,
            inode: 1,
            size: 1,
            modified,
            changed,
        }
        .is_settled_at(UNIX_EPOCH + now)
    }

    #[test]
    fn times_are_believed_when_they_are_old_enough() {
        let now = Duration::new(100, 0);
        assert!(settled((99, 1), (99, 1), now));
        assert!(!settled((99, 950_000_000), (99, 1), now));
        assert!(!settled((99, 1), (99, 950_000_000), now));
        assert!(!settled((101, 1), (99, 1), now), "in the future");
        assert!(!settled((99, 0), (99, 1), now), "a whole second");
        assert!(settled((90, 0), (97, 1), now));
        assert!(!settled((90, 1), (99, 0), now), "a whole second");
        assert!(settled((-5, 1), (90, 1), now), "before 1970");
    }
}
