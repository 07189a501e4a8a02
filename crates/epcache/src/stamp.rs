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
    /// In bytes.
    size: u64,
    /// Nanoseconds since 1970.
    mtime: i128,
    status: Status,
}

/// By what a stamp tells that the status of the inode is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// The ctime, in nanoseconds since 1970.
    Changed(i128),
    /// Who may read it, and since when it is there (nanoseconds since 1970, if the file system
    /// tells). Of a file with several links (uv shares files between environments), where each link
    /// made or removed changes the ctime.
    Permissions {
        mode: u32,
        uid: u32,
        gid: u32,
        born: Option<i128>,
    },
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
        Self::with(stat, Status::Changed(time(stat.ctime(), stat.ctime_nsec())))
    }

    /// The stamp of a regular file.
    pub(crate) fn of_file(stat: &Metadata) -> Self {
        if stat.nlink() == 1 {
            return Self::of_directory(stat);
        }
        Self::of_linked_file(stat)
    }

    /// The stamp of a file that has several names.
    fn of_linked_file(stat: &Metadata) -> Self {
        let status = Status::Permissions {
            mode: stat.mode(),
            uid: stat.uid(),
            gid: stat.gid(),
            born: stat.created().ok().map(since_1970),
        };
        Self::with(stat, status)
    }

    fn with(stat: &Metadata, status: Status) -> Self {
        Self {
            inode: stat.ino(),
            size: stat.size(),
            mtime: time(stat.mtime(), stat.mtime_nsec()),
            status,
        }
    }

    /// Whether a `stat` of now gives the same.
    pub(crate) fn holds(&self, stat: &Metadata) -> bool {
        let now = match self.status {
            Status::Changed(_) => Self::of_directory(stat),
            Status::Permissions { .. } => Self::of_linked_file(stat),
        };
        *self == now.as_far_as(self)
    }

    /// Without a birth time, if the other one has none.
    fn as_far_as(mut self, other: &Self) -> Self {
        let silent = matches!(other.status, Status::Permissions { born: None, .. });
        if let (true, Status::Permissions { born, .. }) = (silent, &mut self.status) {
            *born = None;
        }
        self
    }

    /// The times that it rests on.
    fn times(&self) -> impl Iterator<Item = i128> {
        let changed = match self.status {
            Status::Changed(ctime) => Some(ctime),
            Status::Permissions { .. } => None,
        };
        [Some(self.mtime), changed].into_iter().flatten()
    }

    /// When a stamp that was taken by a scan that began at `start` can be believed. A time in the
    /// future never can: what it gives here is how long it will stay so.
    pub(crate) fn settles(&self, start: i128) -> Settling {
        let coarse = self.times().any(|time| time % SECOND == 0);
        let age = if coarse { COARSE_TICK } else { TICK };
        let missing = self
            .times()
            .map(|time| time + age - start)
            .max()
            .unwrap_or(0);
        if self.times().any(|time| i64::try_from(time).is_err()) {
            return Settling::In(Duration::MAX); // it could not be written down
        }
        match u64::try_from(missing) {
            Ok(missing @ 1..) => Settling::In(Duration::from_nanos(missing)),
            Ok(0) => Settling::Settled,
            Err(_) if missing < 0 => Settling::Settled,
            Err(_) => Settling::In(Duration::MAX),
        }
    }

    /// Whether its last time is in whole seconds, as it always is on file systems that keep no
    /// change times of their own (squashfs, erofs, iso9660) but show those of their building.
    pub(crate) fn may_be_an_images(&self) -> bool {
        self.times().last().is_some_and(|time| time % SECOND == 0)
    }

    /// The modification time in whole seconds, rounded down.
    pub(crate) fn mtime_seconds(&self) -> i128 {
        self.mtime.div_euclid(SECOND)
    }

    /// Reads what [`fmt::Display`] writes. By bytes: a query reads as many stamps as there are
    /// dists, and taking strings apart was a third of its instructions.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.as_bytes();
        let inode = unsigned(&mut rest, b':')?;
        let size = unsigned(&mut rest, b':')?;
        let mtime = signed(&mut rest, b':')?;
        let status = match rest.strip_prefix(b"p") {
            Some(permissions) => parse_permissions(std::str::from_utf8(permissions).ok()?)?,
            None => Status::Changed(signed(&mut rest, END)?),
        };
        Some(Self {
            inode,
            size,
            mtime,
            status,
        })
    }
}

/// In the place of the byte that ends a number: the end of the text.
const END: u8 = 0;

/// Takes a number and the byte behind it off the front of a text.
fn unsigned(text: &mut &[u8], end: u8) -> Option<u64> {
    let mut number: u64 = 0;
    let mut length = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(length) {
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
        length += 1;
    }
    let rest = &text[length..];
    *text = match end {
        END => rest.is_empty().then_some(rest),
        end => rest.strip_prefix(&[end]),
    }?;
    (length > 0).then_some(number)
}

/// The same, with a sign.
fn signed(text: &mut &[u8], end: u8) -> Option<i128> {
    let negative = text.strip_prefix(b"-");
    *text = negative.unwrap_or(text);
    let number = i64::try_from(unsigned(text, end)?).ok()?;
    Some(if negative.is_some() { -number } else { number }.into())
}

/// An integer, and nothing else.
pub(crate) fn integer(text: &str) -> Option<i128> {
    signed(&mut text.as_bytes(), END)
}

fn parse_permissions(text: &str) -> Option<Status> {
    let mut fields = text.split('.');
    let octal = fields.next().filter(|mode| !mode.starts_with('+'))?;
    let mode = u32::from_str_radix(octal, 8).ok()?;
    let mut id = || u32::try_from(unsigned(&mut fields.next()?.as_bytes(), END)?).ok();
    let (uid, gid) = (id()?, id()?);
    let born = match fields.next() {
        Some(born) => Some(integer(born)?),
        None => None,
    };
    let status = Status::Permissions {
        mode,
        uid,
        gid,
        born,
    };
    fields.next().is_none().then_some(status)
}

/// `inode:size:mtime:ctime`, the times in nanoseconds since 1970, or
/// `inode:size:mtime:pMODE.UID.GID.BORN`, the mode in octal with the file type; the last may be
/// absent.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:", self.inode, self.size, self.mtime)?;
        match self.status {
            Status::Changed(ctime) => write!(f, "{ctime}"),
            Status::Permissions {
                mode,
                uid,
                gid,
                born,
            } => {
                write!(f, "p{mode:o}.{uid}.{gid}")?;
                born.map_or(Ok(()), |born| write!(f, ".{born}"))
            }
        }
    }
}

/// The time of now, as stamps count.
pub(crate) fn now() -> i128 {
    since_1970(SystemTime::now())
}

/// How long before `moment` a file or directory was changed; nothing if that is not known, or lies in
/// the future.
pub(crate) fn age(path: &std::path::Path, moment: i128) -> Option<Duration> {
    let stat = std::fs::metadata(path).ok()?;
    let age = moment - time(stat.mtime(), stat.mtime_nsec());
    u64::try_from(age).ok().map(Duration::from_nanos)
}

fn since_1970(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
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
            status: Status::Changed(ctime),
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
        let status = |born| Status::Permissions {
            mode: 0o100_644,
            uid: 0,
            gid: 7,
            born,
        };
        let linked = |born| Stamp {
            status: status(born),
            ..stamp(i64::MAX.into(), 0)
        };
        assert_eq!(
            linked(Some(-3)).to_string(),
            "1:2:9223372036854775807:p100644.0.7.-3"
        );
        for stamp in [stamp(-5, 7), linked(None), linked(Some(9))] {
            assert_eq!(Stamp::parse(&stamp.to_string()), Some(stamp));
        }
        for bad in [
            "",
            "1:2:3",
            "1:2:3:4:5",
            "1:2:x:4",
            "-1:2:3:4",
            "1:2:3:",
            "1:2:3:p",
            "1:2:3:p644.0",
            "1:2:3:p9.0.0",
            "1:2:3:p+644.0.0",
            "1:2:3:p-644.0.0",
            "1:2:3:p644.+0.0",
            "1:2:3:p644.0.-0",
            "1:2:3:p644.4294967296.0",
            "1:2:3:p644.0.0.",
            "1:2:3:p644.0.0.+7",
            "1:2:3:p644.0.0.7.8",
            "1:2:3:p644.0.0.9223372036854775808",
            "+1:2:3:4",
            "1:+2:3:4",
            "1:2:+3:4",
            "1:2:3:+4",
            "1:2:3:--4",
            "1:2:3:-",
            " 1:2:3:4",
            "1:2:3:4 ",
            "1_0:2:3:4",
            "1:2:\u{0663}:4",
        ] {
            assert_eq!(Stamp::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_integer_is_digits_with_a_minus_sign_at_most() {
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("-17"), Some(-17));
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX.into()));
        for bad in [
            "",
            "-",
            "+5",
            "--5",
            " 5",
            "5 ",
            "1_5",
            "0x5",
            "\u{0665}",
            "9223372036854775808",
        ] {
            assert_eq!(integer(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_linked_stamp_holds_whatever_the_birth_time_if_it_has_none() {
        let file = tempfile::NamedTempFile::new().expect("can be made");
        let stat = file.as_file().metadata().expect("has a stat");
        let now = Stamp::of_linked_file(&stat);
        let Status::Permissions { mode, uid, gid, .. } = now.status else {
            panic!("is a linked stamp");
        };
        let with = |mode, born| Stamp {
            status: Status::Permissions {
                mode,
                uid,
                gid,
                born,
            },
            ..now
        };
        assert!(now.holds(&stat));
        assert!(with(mode, None).holds(&stat));
        assert!(!with(mode, Some(1)).holds(&stat));
        assert!(!with(mode ^ 1, None).holds(&stat));
    }
}
