//! Where a path really leads: walked component by component, following no link, so that nobody who
//! swaps one meanwhile can make it look at one way and be read by another.

use rustix::fs::{Mode, OFlags};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which file or directory it is, on this machine and until the next restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    pub(crate) fn of(stat: &Metadata) -> Self {
        Self {
            device: stat.dev(),
            inode: stat.ino(),
        }
    }

    /// Which one a path leads to, if there is one.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|stat| Self::of(&stat))
    }
}

/// The `stat` of a canonical path, if `may_pass` holds for each directory above it. Whatever has
/// become a link since the path was made canonical ends the walk.
pub(crate) fn walk(real: &Path, may_pass: impl Fn(&Path, &Metadata) -> bool) -> Option<Metadata> {
    const ROOT: &str = "/";
    // O_PATH, where there is one: it needs no permission and has no effect.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(ROOT, flags, Mode::empty()).ok()?);
    let mut stat = file.metadata().ok()?;
    let mut path = PathBuf::from(ROOT);
    for part in real.strip_prefix(ROOT).ok()? {
        if !may_pass(&path, &stat) {
            return None;
        }
        file = File::from(rustix::fs::openat(&file, part, flags, Mode::empty()).ok()?);
        stat = file.metadata().ok()?;
        path.push(part);
    }
    Some(stat)
}
