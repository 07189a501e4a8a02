//! The errors of writing: what could not be done, where, and what to do about it.
//!
//! Answering has none: where a cache can't be used, the source answers.

use crate::trust::Distrust;
use std::io;
use std::path::{Path, PathBuf};

/// Why a cache root could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("{}: can't {action}: {error}{}", .path.display(), advice(action, .error))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as in "can't …".
        action: &'static str,
        /// What the file system said.
        error: io::Error,
    },
    /// Others could change what would be written.
    #[error("{}: not used as a cache: {why}; run this as its owner, correct its mode, or name another root with --cache-dir (with sudo: is HOME yours?)", .path.display())]
    NotTrusted {
        /// The directory.
        path: PathBuf,
        /// Why not.
        why: Distrust,
    },
    /// There is no home directory and no cache root was named.
    #[error(
        "no home directory, so no cache root of the user's: set HOME, or name one with --cache-dir"
    )]
    NoUserRoot,
    /// None of the roots is of the kind to be written.
    #[error(
        "no cache root to write: EPCACHE_PATH is empty; unset it, or name one with --cache-dir"
    )]
    NoRoot,
    /// The index would be larger than any reader reads.
    #[error("{}: the index would have {size} bytes, more than are ever read; the sources answer", .path.display())]
    TooLarge {
        /// The index.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
}

impl Error {
    /// What the file system said, if it was the file system.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { error, .. } => Some(error.kind()),
            _ => None,
        }
    }

    pub(crate) fn not_trusted(path: &Path, why: Distrust) -> Self {
        let path = path.to_owned();
        Self::NotTrusted { path, why }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            path: path.to_owned(),
            action,
            error,
        }
    }
}

fn advice(action: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if action == "list" => "; make it readable, or remove it",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; name a root that you can write with --cache-dir"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or name another root with --cache-dir"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; remove what is in the way, or name another root with --cache-dir"
        }
        _ => "",
    }
}
