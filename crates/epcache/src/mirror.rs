//! A mirror: the directory in a cache root that stands for one path entry, and the files in it.

use crate::dist;
use crate::error::Error;
use crate::index;
use crate::layout::{Root, RootKind, Unusable, usable_directory};
use crate::scan::MAX_SOURCE;
use crate::trust::{self, Distrust};
use crate::write;
use foldhash::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The mirror of a path entry in one root. It need not exist.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    pub(crate) path: PathBuf,
    pub(crate) kind: RootKind,
}

/// Why a file of a cache is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotUsed {
    /// There is none.
    Absent,
    /// Another user could have written it.
    NotTrusted(Distrust),
    /// It is damaged, of another version, or of another path entry.
    Damaged,
    /// It can't be read.
    Unreadable(String),
}

impl std::fmt::Display for NotUsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::NotTrusted(why) => write!(f, "not trusted: {why}"),
            Self::Damaged => f.write_str("damaged, of another version, or of another path entry"),
            Self::Unreadable(error) => write!(f, "not readable: {error}"),
        }
    }
}

impl Mirror {
    /// The mirror of a cacheable path entry.
    pub(crate) fn of(root: &Root, path_entry: &str) -> Self {
        Self {
            path: root.mirror(path_entry),
            kind: root.kind,
        }
    }

    /// Where the index is.
    pub(crate) fn index(&self) -> PathBuf {
        self.path.join(index::FILE_NAME)
    }

    /// The bytes of the index, and its `stat`.
    pub(crate) fn read_index(&self) -> Result<(Vec<u8>, Metadata), NotUsed> {
        match usable_directory(&self.path) {
            Ok(_) => read_trusted(&self.index(), index::MAX_INDEX),
            Err(Unusable::Absent) => Err(NotUsed::Absent),
            Err(Unusable::NotTrusted(why)) => Err(NotUsed::NotTrusted(why)),
            Err(Unusable::Broken(why)) => Err(NotUsed::Unreadable(why)),
        }
    }

    /// The bytes and the `stat` of the mirror file of a metadata directory.
    pub(crate) fn read_file(&self, metadata_dir: &OsStr) -> Result<(Vec<u8>, Metadata), NotUsed> {
        let name = metadata_dir.to_str().ok_or(NotUsed::Absent)?;
        read_trusted(&self.path.join(dist::mirror_file(name)), MAX_SOURCE)
    }

    /// Whether a file has the mode that files of this mirror have.
    pub(crate) fn has_mode(&self, stat: &Metadata) -> bool {
        stat.permissions().mode() & 0o7777 == self.kind.modes().1
    }

    /// Whether the directory counts, as each mirror file's name is believed.
    pub(crate) fn is_trusted(&self) -> bool {
        usable_directory(&self.path).is_ok()
    }

    /// Whether no link stands between the root and this mirror, so that it lies where it seems to.
    pub(crate) fn check_links(&self, root: &Path) -> Result<(), Error> {
        let below = self.path.ancestors().take_while(|path| *path != root);
        for path in below {
            if std::fs::symlink_metadata(path).is_ok_and(|stat| stat.is_symlink()) {
                let error = std::io::Error::other("it is a symbolic link; remove it");
                return Err(Error::io("write below it", path)(error));
            }
        }
        Ok(())
    }

    /// What the directory holds: the metadata directories that have a mirror file, and the
    /// leftovers of killed writers.
    pub(crate) fn list(&self) -> Listing {
        let mut listing = Listing::default();
        for file in std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = file.file_name();
            if file.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue; // the mirror of another path entry
            }
            if let Some(metadata_dir) = dist::mirrored(name.as_bytes()) {
                listing
                    .metadata_dirs
                    .insert(OsStr::from_bytes(metadata_dir).to_owned());
            } else if name == index::FILE_NAME {
                listing.has_index = true;
            } else if write::is_leftover(&file.path()) {
                listing.leftovers.push(file.path());
            }
        }
        listing
    }

    /// Writes the mirror file of a metadata directory, with the modification time of its source.
    pub(crate) fn write_file(
        &self,
        metadata_dir: &str,
        text: &[u8],
        modified: SystemTime,
    ) -> Result<(), Error> {
        self.write(
            &self.path.join(dist::mirror_file(metadata_dir)),
            text,
            Some(modified),
        )
    }

    pub(crate) fn write_index(&self, text: &str) -> Result<(), Error> {
        self.write(&self.index(), text.as_bytes(), None)
    }

    fn write(&self, path: &Path, text: &[u8], modified: Option<SystemTime>) -> Result<(), Error> {
        let (directory_mode, mode) = self.kind.modes();
        match write::write(path, text, mode, modified) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                write::make_directories(&self.path, directory_mode)
                    .map_err(Error::io("make this directory", &self.path))?;
                write::write(path, text, mode, modified)
            }
            done => done,
        }
        .map_err(Error::io("write", path))
    }

    /// Removes files of the mirror; one that is gone already is no error.
    pub(crate) fn remove(path: &Path) -> Result<(), Error> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// What a mirror holds.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) metadata_dirs: HashSet<OsString>,
    pub(crate) has_index: bool,
    pub(crate) leftovers: Vec<PathBuf>,
}

/// Reads a file of a cache, if it counts: a regular file, no link, trusted, of at most `limit`
/// bytes.
fn read_trusted(path: &Path, limit: u64) -> Result<(Vec<u8>, Metadata), NotUsed> {
    let flags =
        rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => NotUsed::Absent,
        _ => NotUsed::Unreadable(error.to_string()),
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
        .map_err(unreadable)?;
    let stat = file.metadata().map_err(unreadable)?;
    if !stat.is_file() || stat.len() > limit {
        return Err(NotUsed::Damaged);
    }
    trust::check(&stat).map_err(NotUsed::NotTrusted)?;
    let text = read_all(&file, stat.len() as usize).map_err(unreadable)?;
    Ok((text, stat))
}

/// Reads a file that is never changed once it has its name, so that its size is known.
fn read_all(mut file: &File, size: usize) -> std::io::Result<Vec<u8>> {
    let mut text = vec![0; size];
    file.read_exact(&mut text)?;
    Ok(text)
}
