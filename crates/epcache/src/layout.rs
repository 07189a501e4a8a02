//! Where caches are: the roots, and in each the mirror of a path entry.
//!
//! One rule says it all: the mirror of a path entry is at the cache root plus the path entry's own
//! absolute path (the idea of `PYTHONPYCACHEPREFIX`). Nothing is hashed, so that a human can find it
//! and a packager can write it in a spec file.

use crate::error::Error;
use crate::path_entry::PathEntry;
use crate::trust::{self, Distrust};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The root that root or a package manager's trigger keeps.
const SYSTEM: &str = "/var/cache/epcache";

/// The root into which OS packages put files.
const VENDOR: &str = "/usr/share/epcache";

/// Whose a cache root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RootKind {
    /// `/var/cache/epcache`: written by root, for everybody; holds what everybody may read.
    System,
    /// The user's own, readable by nobody else. Also one that was named without a kind.
    User,
    /// `/usr/share/epcache`: what OS packages ship, believed because the dist is shipped beside it.
    Vendor,
}

impl RootKind {
    /// The word for it in messages and machine-readable output.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Vendor => "vendor",
        }
    }

    /// The modes of the directories and files in it.
    pub(crate) fn modes(self) -> (u32, u32) {
        match self {
            Self::System | Self::Vendor => (0o755, 0o644),
            Self::User => (0o700, 0o600),
        }
    }
}

/// Whether package managers, which put files in place in the order of their paths, put what is in a path
/// entry in place before its mirror files in the vendor root.
pub(crate) fn comes_before_its_mirror_files(path_entry: &str) -> bool {
    Path::new(path_entry) < Path::new(VENDOR)
}

/// A directory that holds a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub kind: RootKind,
}

/// Why a root does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is none, which is no fault.
    Absent,
    /// Others could have written it.
    NotTrusted(Distrust),
    /// It can't be looked at, or is no directory.
    Broken(String),
}

impl Root {
    /// The mirror of a path entry, which must be cacheable.
    pub(crate) fn mirror(&self, path_entry: &str) -> PathBuf {
        self.path.join(path_entry.trim_start_matches('/'))
    }

    /// Whether it counts.
    ///
    /// # Errors
    /// Why it does not.
    pub fn usable(&self) -> Result<(), Unusable> {
        usable_directory(&self.path).map(|_| ())
    }
}

/// Whether there is a root; if there is, or is to be one, it can be written to safely. `within` is the
/// directory that stands for the root of the file system, if not `/`: nothing outside is written.
///
/// # Errors
/// There is something else, others may write it, or it leads out of `within`.
pub(crate) fn exists_for_writing(root: &Root, within: Option<&Path>) -> Result<bool, Error> {
    let exists = match root.usable() {
        Ok(()) => true,
        Err(Unusable::Absent) => false,
        Err(Unusable::NotTrusted(why)) => return Err(Error::not_trusted(&root.path, why)),
        Err(Unusable::Broken(why)) => {
            let error = io::Error::new(io::ErrorKind::NotADirectory, why);
            return Err(Error::io("use it as a cache", &root.path)(error));
        }
    };
    let mut above = root.path.ancestors();
    let real = above.find_map(|above| above.canonicalize().ok());
    let real = real.ok_or(io::ErrorKind::NotFound.into());
    let real = real.map_err(Error::io("find what is above it", &root.path))?;
    let base = within.unwrap_or(Path::new("/")).canonicalize();
    let base = base.map_err(Error::io("find it", within.unwrap_or(Path::new("/"))))?;
    if !real.starts_with(&base) {
        let error = io::Error::other(format!("a symbolic link leads out of {}", base.display()));
        return Err(Error::io("write below it", &root.path)(error));
    }
    check_above(&real, &base)?;
    check_way(&root.path, within)?;
    Ok(exists)
}

/// Whether no link on the way to a root, as it was named, is somebody else's; and whether, if root
/// asks, nobody else could put one there.
fn check_way(path: &Path, within: Option<&Path>) -> Result<(), Error> {
    let is_inside = |above: &&Path| within.is_none_or(|within| *above != within);
    for above in path.ancestors().take_while(is_inside) {
        let Ok(stat) = std::fs::symlink_metadata(above) else {
            continue;
        };
        let checked = match stat.is_symlink() {
            true => trust::check_owner(&stat),
            false if trust::effective_user() != 0 => Ok(()),
            false if stat.mode() & STICKY != 0 => trust::check_owner(&stat),
            false => trust::check(&stat),
        };
        checked.map_err(|why| Error::not_trusted(above, why))?;
    }
    Ok(())
}

/// Who has this bit set in a directory's mode lets nobody move what is another's in it (`/tmp`).
const STICKY: u32 = 0o1000;

/// Whether nobody else can put another directory in the place of this one. What others own is never
/// made into; and root, whose writing is worth an attack, writes only where each directory above is
/// root's too (or, as `/tmp`, lets nobody move what is another's).
fn check_above(real: &Path, base: &Path) -> Result<(), Error> {
    for above in real.ancestors().take_while(|above| above.starts_with(base)) {
        let Ok(stat) = std::fs::metadata(above) else {
            continue;
        };
        trust::check_owner(&stat).map_err(|why| Error::not_trusted(above, why))?;
        if trust::effective_user() != 0 {
            break; // whoever is above could always have done as they like
        }
        if stat.mode() & STICKY == 0 {
            trust::check(&stat).map_err(|why| Error::not_trusted(above, why))?;
        }
    }
    Ok(())
}

/// Whether a directory of a cache counts: trusted, and a directory. A link to one counts if it is
/// nobody else's.
pub(crate) fn usable_directory(path: &Path) -> Result<Metadata, Unusable> {
    let broken = |error: io::Error| Unusable::Broken(error.to_string());
    let stat = match std::fs::symlink_metadata(path) {
        Ok(link) if link.is_symlink() => {
            trust::check_owner(&link).map_err(Unusable::NotTrusted)?;
            match std::fs::metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Unusable::Broken("a symbolic link to nothing".to_owned()));
                }
                target => target.map_err(broken)?,
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Absent),
        found => found.map_err(broken)?,
    };
    if !stat.is_dir() {
        return Err(Unusable::Broken("not a directory".to_owned()));
    }
    trust::check(&stat).map_err(Unusable::NotTrusted)?;
    Ok(stat)
}

/// The roots of this machine, in the order in which they are asked: the system's, the user's (where
/// there is a home directory), the vendor's.
pub fn default_roots() -> Vec<Root> {
    let mut roots = vec![Root {
        path: SYSTEM.into(),
        kind: RootKind::System,
    }];
    roots.extend(user_root());
    roots.push(Root {
        path: VENDOR.into(),
        kind: RootKind::Vendor,
    });
    roots
}

/// The user's root: `epcache` in the user's cache directory; `None` without a home directory.
pub fn user_root() -> Option<Root> {
    let directories = directories::ProjectDirs::from("", "", "epcache")?;
    Some(Root {
        path: directories.cache_dir().to_owned(),
        kind: RootKind::User,
    })
}

/// The user's configuration directory; `None` without a home directory.
pub fn user_config_directory() -> Option<PathBuf> {
    Some(
        directories::ProjectDirs::from("", "", "epcache")?
            .config_dir()
            .to_owned(),
    )
}

/// The mirror of an item of `sys.path` in a root; `None` if it is never cached.
pub fn mirror_of(root: &Root, path_entry: &OsStr) -> Option<PathBuf> {
    PathEntry::new(path_entry)
        .cacheable()
        .ok()
        .map(|string| root.mirror(string))
}

/// Whether this process may write a root: it is this user's, or this user is root.
pub fn is_writable_by_us(root: &Root) -> bool {
    let owner = |stat: Metadata| stat.uid();
    trust::effective_user() == 0
        || std::fs::metadata(&root.path).is_ok_and(|stat| owner(stat) == trust::effective_user())
}

/// The roots of the system whose root directory is `root`, for image and package builds. No user's
/// root is among them: whoever builds an image is no user of it.
pub fn roots_within(root: &Path) -> Vec<Root> {
    let below = |path: &str, kind| Root {
        path: root.join(path.trim_start_matches('/')),
        kind,
    };
    vec![
        below(SYSTEM, RootKind::System),
        below(VENDOR, RootKind::Vendor),
    ]
}

/// The roots of an `EPCACHE_PATH`: a list, separated as `PATH` is; empty items are nothing. The
/// well-known system and vendor root are what they are there too; any other is as the user's own.
pub fn roots_in(list: &OsStr) -> Vec<Root> {
    let kind = |path: &Path| match path {
        path if path == Path::new(SYSTEM) => RootKind::System,
        path if path == Path::new(VENDOR) => RootKind::Vendor,
        _ => RootKind::User,
    };
    std::env::split_paths(list)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| Root {
            kind: kind(&path),
            path,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_at_the_root_plus_the_path_entry() {
        let root = Root {
            path: "/c".into(),
            kind: RootKind::User,
        };
        assert_eq!(
            root.mirror("/usr/lib/python3"),
            Path::new("/c/usr/lib/python3")
        );
    }

    #[test]
    fn a_list_of_roots_is_read_as_path_is() {
        let roots = roots_in(OsStr::new("/a::/usr/share/epcache"));
        let kinds: Vec<_> = roots
            .iter()
            .map(|root| (root.path.to_str().unwrap_or_default(), root.kind))
            .collect();
        assert_eq!(
            kinds,
            [
                ("/a", RootKind::User),
                ("/usr/share/epcache", RootKind::Vendor)
            ]
        );
    }
}
