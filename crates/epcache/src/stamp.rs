//! Stamps: by what epcache tells that a file or directory is still the one that was read.
//!
//! A stamp is compared for equality, never for "older than": clocks differ and times go backwards.
//! And it is believed only once its times are old enough that a later change must show
//! ([`Stamp::settles`]).

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How old the times of a stamp must be at the start of the scan that took it.
///
/// The kernel stamps files with the time of its last clock tick, so two changes within one tick
/// leave the same times. A tick is at most 10 ms; the rest is margin.
const TICK: i128 = 100_000_000;

/// The same for a time in whole seconds, which may come from a file system that keeps no finer ones
/// (ext3, HFS+: 1 s; FAT: 2 s).
const COARSE_TICK: i128 = 2_000_000_000;

const SECOND: i128 = 1_000_000_000;

/// What a `stat` said of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    mtime: i128,
    /// Nanoseconds since 1970; `None` where it tells nothing of the content: of a file with several
    /// links (uv shares files between environments), where each link made or removed changes it.
    ctime: Option<i128>,
}

/// Whether a stamp can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settling {
    /// Any later change shows.
    Settled,
    /// Not yet; after so long it would be.
    In(Duration),
}

impl Stamp {
    /// The stamp of a directory or a zip file, from its `stat`.
    pub(crate) fn of_directory(stat: &Metadata) -> Self {
        Self {
            ctime: Some(time(stat.ctime(), stat.ctime_nsec())),
            ..Self::of_linked_file(stat)
        }
    }

    /// The stamp of a regular file that has one name only, or else of [`Stamp::of_linked_file`].
    pub(crate) fn of_file(stat: &Metadata) -> Self {
        if stat.nlink() == 1 {
            Self::of_directory(stat)
        } else {
            Self::of_linked_file(stat)
        }
    }

    /// The stamp of a file that was reached by a symbolic link, or has several names.
    pub(crate) fn of_linked_file(stat: &Metadata) -> Self {
        Self {
            inode: stat.ino(),
            size: stat.size(),
            mtime: time(stat.mtime(), stat.mtime_nsec()),
            ctime: None,
        }
    }

    /// Whether a `stat` of now gives the same.
    pub(crate) fn holds(&self, stat: &Metadata) -> bool {
        let now = if self.ctime.is_some() {
            Self::of_directory(stat)
        } else {
            Self::of_linked_file(stat)
        };
        *self == now
    }

    /// When a stamp that was taken by a scan that began at `start` can be believed. A time in the
    /// future never can: what it gives here is how long it will stay so.
    pub(crate) fn settles(&self, start: i128) -> Settling {
        let times = [Some(self.mtime), self.ctime];
        let coarse = times.iter().flatten().any(|time| time % SECOND == 0);
        let age = if coarse { COARSE_TICK } else { TICK };
        let missing = times
            .iter()
            .flatten()
            .map(|time| time + age - start)
            .max()
            .unwrap_or(0);
        match u64::try_from(missing) {
            Ok(missing @ 1..) => Settling::In(Duration::from_nanos(missing)),
            Ok(0) => Settling::Settled,
            Err(_) if missing < 0 => Settling::Settled,
            Err(_) => Settling::In(Duration::MAX),
        }
    }

    /// Whether the change time is in whole seconds, as on file systems that keep none of their own
    /// (squashfs, erofs, iso9660).
    pub(crate) fn has_whole_second_ctime(&self) -> bool {
        self.ctime.is_some_and(|ctime| ctime % SECOND == 0)
    }

    /// The inode number.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// The modification time in whole seconds, rounded down.
    pub(crate) fn mtime_seconds(&self) -> i128 {
        self.mtime.div_euclid(SECOND)
    }

    /// Reads what [`fmt::Display`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(':');
        let inode = numbers.next()?.parse().ok()?;
        let size = numbers.next()?.parse().ok()?;
        let mtime = numbers.next()?.parse::<i64>().ok()?.into();
        let ctime = match numbers.next() {
            Some(ctime) => Some(ctime.parse::<i64>().ok()?.into()),
            None => None,
        };
        numbers.next().is_none().then_some(Self {
            inode,
            size,
            mtime,
            ctime,
        })
    }
}

/// `inode:size:mtime:ctime`, the times in nanoseconds since 1970; the last may be absent.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.inode, self.size, self.mtime)?;
        self.ctime.map_or(Ok(()), |ctime| write!(f, ":{ctime}"))
    }
}

/// The time of now, as stamps count.
pub(crate) fn now() -> i128 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => nanoseconds(since),
        Err(before) => -nanoseconds(before.duration()),
    }
}

fn nanoseconds(duration: Duration) -> i128 {
    i128::from(duration.as_secs()) * SECOND + i128::from(duration.subsec_nanos())
}

fn time(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * SECOND + i128::from(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(mtime: i128, ctime: i128) -> Stamp {
        Stamp {
            inode: 1,
            size: 2,
            mtime,
            ctime: Some(ctime),
        }
    }

    #[test]
    fn a_stamp_settles_a_tenth_of_a_second_after_its_last_time() {
        let then = 5 * SECOND + 1;
        assert_eq!(stamp(then, 1).settles(then + TICK), Settling::Settled);
        assert_eq!(
            stamp(then, 1).settles(then + TICK - 7),
            Settling::In(Duration::from_nanos(7))
        );
        assert_eq!(
            stamp(1, then).settles(then),
            Settling::In(Duration::from_millis(100))
        );
    }

    #[test]
    fn a_time_in_whole_seconds_settles_after_two() {
        assert_eq!(
            stamp(5 * SECOND, 5 * SECOND).settles(7 * SECOND),
            Settling::Settled
        );
        assert_eq!(
            stamp(5 * SECOND, 1).settles(6 * SECOND),
            Settling::In(Duration::from_secs(1))
        );
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        for stamp in [
            stamp(-5, 7),
            Stamp {
                ctime: None,
                ..stamp(i64::MAX.into(), 0)
            },
        ] {
            assert_eq!(Stamp::parse(&stamp.to_string()), Some(stamp));
        }
        for bad in ["", "1:2", "1:2:3:4:5", "1:2:x", "-1:2:3", "1:2:3:"] {
            assert_eq!(Stamp::parse(bad), None, "{bad:?}");
        }
    }
}
