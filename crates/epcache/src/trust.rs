//! Whom to believe, and what to tell: nothing that another user could have written counts, and
//! nothing is published that not everybody could have read.

use crate::walk::walk;
use std::fmt;
use std::fs::Metadata;
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

/// Whether everybody could have read what was read at `path`: what is there by now, links resolved,
/// is what was read (`is_it` says so of its `stat`), all may read it, and all may search every
/// directory on the way. Directories above `base`, if that is given, are no matter.
pub(crate) fn everybody_could_read(
    path: &Path,
    base: Option<&Path>,
    is_it: impl Fn(&Metadata) -> bool,
) -> bool {
    let (Ok(real), Ok(base)) = (
        path.canonicalize(),
        base.unwrap_or(Path::new("/")).canonicalize(),
    ) else {
        return false;
    };
    let searchable =
        |path: &Path, stat: &Metadata| !path.starts_with(&base) || stat.mode() & 0o111 == 0o111;
    walk(&real, searchable).is_some_and(|stat| is_it(&stat) && all_may_read(&stat))
}

/// Whether all may read it and, if it is a directory, search it. The owner and the group are asked
/// for too: they have their own permissions, not those of the others.
pub(crate) fn all_may_read(stat: &Metadata) -> bool {
    let needed = if stat.is_dir() { 0o555 } else { 0o444 };
    stat.mode() & needed == needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn could_read(path: &Path) -> bool {
        everybody_could_read(path, None, |stat| stat.is_file() || stat.is_dir())
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
        assert!(
            !everybody_could_read(&file, None, |_| false),
            "another file"
        );

        fs::set_permissions(&dir, Permissions::from_mode(0o750))?;
        assert!(!could_read(&file) && !could_read(&dir) && !could_read(&link));
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o700))?;
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
        assert!(!could_read(&file));
        assert!(
            everybody_could_read(&file, Some(&dir), |_| true),
            "above the base"
        );
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
        for mode in [0o640, 0o604, 0o044] {
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
