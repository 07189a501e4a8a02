//! Whom to believe, and what to tell: nothing that another user could have written counts, and
//! nothing is published that not everybody could have read.

use rustix::fs::{Mode, OFlags};
use std::fmt;
use std::fs::Metadata;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why a cache root, a mirror or a file in it does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It belongs to this user, who is neither root nor the one who asks.
    Owner(u32),
    /// Its mode lets the group or others write it.
    Writable(u32),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(uid) => write!(f, "belongs to user {uid}, who is neither root nor you"),
            Self::Writable(mode) => write!(f, "group or others may write it (mode {mode:04o})"),
        }
    }
}

/// Whether what this is the `stat` of may be believed: its owner is root or the effective user, and
/// nobody else may write it.
///
/// # Errors
/// The reason why not.
pub fn check(stat: &Metadata) -> Result<(), Distrust> {
    check_owner(stat)?;
    only_owner_writes(stat)
}

/// Whether it belongs to root or the effective user.
pub(crate) fn check_owner(stat: &Metadata) -> Result<(), Distrust> {
    match stat.uid() {
        0 => Ok(()),
        uid if uid == effective_user() => Ok(()),
        uid => Err(Distrust::Owner(uid)),
    }
}

/// Whether it belongs to root, and nobody else may write it.
pub(crate) fn is_roots_alone(stat: &Metadata) -> bool {
    stat.uid() == 0 && only_owner_writes(stat).is_ok()
}

pub(crate) fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn only_owner_writes(stat: &Metadata) -> Result<(), Distrust> {
    let mode = stat.mode() & 0o7777;
    if mode & 0o022 == 0 {
        Ok(())
    } else {
        Err(Distrust::Writable(mode))
    }
}

/// Whether everybody could have read what was read at `path`: a file or directory with this inode
/// is there, all may read it, and all may search every directory on the way, links resolved.
///
/// Walks component by component without following links, so that nobody who swaps one meanwhile
/// can make it look at one way and be read by another.
pub(crate) fn everybody_could_read(path: &Path, inode: u64) -> bool {
    let Ok(real) = path.canonicalize() else {
        return false;
    };
    walk(&real).is_some_and(|stat| stat.st_ino == inode && readable(&stat))
}

/// The `stat` of a canonical path, if all may search every directory above it.
fn walk(real: &Path) -> Option<rustix::fs::Stat> {
    const ROOT: &str = "/";
    // O_PATH, where there is one: neither needs a permission nor has an effect.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut fd: OwnedFd = rustix::fs::open(ROOT, flags, Mode::empty()).ok()?;
    let mut stat = rustix::fs::fstat(&fd).ok()?;
    for part in real.strip_prefix(ROOT).ok()? {
        if stat.st_mode & 0o011 != 0o011 {
            return None;
        }
        fd = rustix::fs::openat(&fd, part, flags, Mode::empty()).ok()?;
        stat = rustix::fs::fstat(&fd).ok()?;
    }
    Some(stat)
}

/// Whether all may read it and, if it is a directory, search it. The group is asked for too: who is
/// in it has its permissions, not those of the others.
fn readable(stat: &rustix::fs::Stat) -> bool {
    let is_directory = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
    let needed = if is_directory { 0o055 } else { 0o044 };
    stat.st_mode & needed == needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn could_read(path: &Path) -> bool {
        let inode = fs::metadata(path).map_or(0, |stat| stat.ino());
        everybody_could_read(path, inode)
    }

    #[test]
    fn what_lies_below_a_private_directory_is_private() -> std::io::Result<()> {
        let scratch = tempfile::tempdir()?;
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
        let dir = scratch.path().join("dir");
        fs::create_dir(&dir)?;
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
        let file = dir.join("file");
        fs::write(&file, "x")?;
        fs::set_permissions(&file, Permissions::from_mode(0o644))?;
        let link = scratch.path().join("link");
        symlink(&file, &link)?;
        assert!(could_read(&file) && could_read(&dir) && could_read(&link));
        assert!(!everybody_could_read(&file, 0), "another inode");

        fs::set_permissions(&dir, Permissions::from_mode(0o750))?;
        assert!(!could_read(&file) && !could_read(&dir) && !could_read(&link));
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
        for mode in [0o640, 0o604] {
            fs::set_permissions(&file, Permissions::from_mode(mode))?;
            assert!(could_read(&dir) && !could_read(&file) && !could_read(&link));
        }
        Ok(())
    }

    #[test]
    fn what_others_may_write_is_not_believed() -> std::io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let trust = |mode| {
            fs::set_permissions(scratch.path(), Permissions::from_mode(mode))?;
            Ok::<_, std::io::Error>(check(&fs::metadata(scratch.path())?))
        };
        assert_eq!(trust(0o755)?, Ok(()));
        assert_eq!(trust(0o775)?, Err(Distrust::Writable(0o775)));
        assert_eq!(trust(0o702)?, Err(Distrust::Writable(0o702)));
        Ok(())
    }
}
