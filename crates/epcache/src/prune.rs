//! Pruning: removes the mirrors of path entries that are gone, and what killed writers left.

use crate::dist;
use crate::error::Error;
use crate::index;
use crate::layout::{Root, exists_for_writing};
use crate::mirror::Mirror;
use crate::write;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How deep below a root mirrors are looked for: deeper than any path that a file system allows
/// in practice, and no endless descent.
const MAX_DEPTH: usize = 256;

/// Removes from a root the files of mirrors whose path entry does not exist, leftovers of killed
/// writers, and then the directories that are empty. Files that are not a cache's stay.
///
/// `within` is the directory that stands for the root of the file system, if not `/`. Gives what
/// was (in a dry run: would be) removed.
///
/// # Errors
/// The root belongs to somebody else, or something in it could not be removed.
pub fn root(root: &Root, within: Option<&Path>, dry_run: bool) -> Result<Vec<PathBuf>, Error> {
    let mut pruning = Pruning {
        within: within.unwrap_or(Path::new("/")),
        root: &root.path,
        dry_run,
        removed: Vec::new(),
    };
    if exists_for_writing(root)? {
        pruning.directory(&root.path, 0)?;
    }
    Ok(pruning.removed)
}

struct Pruning<'a> {
    within: &'a Path,
    root: &'a Path,
    dry_run: bool,
    removed: Vec<PathBuf>,
}

impl Pruning<'_> {
    /// Prunes a directory; whether it is empty afterwards.
    fn directory(&mut self, directory: &Path, depth: usize) -> Result<bool, Error> {
        let gone = self.is_gone(directory);
        let children = std::fs::read_dir(directory).map_err(Error::io("list", directory))?;
        let mut empty = true;
        for child in children.flatten() {
            empty &= self.child(&child, gone, depth)?;
        }
        Ok(empty)
    }

    /// Prunes one child of a directory; whether it is gone afterwards.
    fn child(&mut self, child: &DirEntry, gone: bool, depth: usize) -> Result<bool, Error> {
        let path = child.path();
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth == MAX_DEPTH || !self.directory(&path, depth + 1)? {
                return Ok(false);
            }
            if !self.dry_run {
                match std::fs::remove_dir(&path) {
                    Ok(()) => {}
                    // Somebody writes there again, or has removed it already.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound
                        ) =>
                    {
                        return Ok(false);
                    }
                    Err(error) => return Err(Error::io("remove", &path)(error)),
                }
            }
            self.removed.push(path);
            return Ok(true);
        }
        let name = child.file_name();
        let of_a_mirror = name == index::FILE_NAME || dist::mirrored(name.as_bytes()).is_some();
        if !(gone && of_a_mirror || write::is_leftover(&path)) {
            return Ok(false);
        }
        if !self.dry_run {
            Mirror::remove(&path)?;
        }
        self.removed.push(path);
        Ok(true)
    }

    /// Whether the path entry that a directory is the mirror of does not exist. One that can't be
    /// looked at may well exist.
    fn is_gone(&self, directory: &Path) -> bool {
        let Ok(below) = directory.strip_prefix(self.root) else {
            return false;
        };
        let path_entry = self.within.join(below);
        matches!(std::fs::symlink_metadata(path_entry), Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
    }
}
