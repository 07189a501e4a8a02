//! Pruning: removes the mirrors of path entries that are gone, and what killed writers and watchers
//! left.

use crate::claim;
use crate::dist;
use crate::error::Error;
use crate::index;
use crate::layout::{Root, exists_for_writing};
use crate::watchers;
use crate::write;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How deep below a root mirrors are looked for: deeper than any path that a file system allows
/// in practice, and no endless descent.
const MAX_DEPTH: usize = 256;

/// What pruning did.
#[derive(Debug, Default)]
pub struct Pruned {
    /// The files and directories that were (in a dry run: would be) removed.
    pub removed: Vec<PathBuf>,
    /// What could not be listed or removed; the rest was done all the same.
    pub errors: Vec<Error>,
}

/// Removes from a root the mirrors whose path entry does not exist, leftovers of killed writers, the
/// files of watchers that are no more, and the directories that become empty by that. What is not a
/// cache's stays, should the root hold anything else.
///
/// `within` is the directory that stands for the root of the file system, if not `/`.
///
/// # Errors
/// The root is none, or belongs to somebody else.
pub fn root(root: &Root, within: Option<&Path>, dry_run: bool) -> Result<Pruned, Error> {
    let mut pruning = Pruning {
        within: within.unwrap_or(Path::new("/")),
        root: &root.path,
        dry_run,
        pruned: Pruned::default(),
    };
    if root
        .path
        .canonicalize()
        .is_ok_and(|path| path == Path::new("/"))
    {
        let why = io::Error::other("it is the whole file system");
        return Err(Error::io("take it for a cache to prune", &root.path)(why));
    }
    if exists_for_writing(root, within)? {
        pruning.directory(&root.path, 0);
    }
    Ok(pruning.pruned)
}

struct Pruning<'a> {
    within: &'a Path,
    root: &'a Path,
    dry_run: bool,
    pruned: Pruned,
}

impl Pruning<'_> {
    /// Prunes a directory and those in it; whether everything in it was removed.
    fn directory(&mut self, directory: &Path, depth: usize) -> bool {
        let (directories, files) = match list(directory) {
            Ok(listed) => listed,
            Err(error) if error.kind() == ErrorKind::NotFound => return true, // pruned by somebody else
            Err(error) => {
                self.pruned.errors.push(Error::io("list", directory)(error));
                return false;
            }
        };
        let of_watchers = directory == self.root.join(watchers::DIRECTORY);
        let mut emptied = of_watchers || !(directories.is_empty() && files.is_empty());
        for directory in directories {
            emptied &= depth < MAX_DEPTH && self.directory(&directory, depth + 1);
        }
        let gone = is_mirror(&files) && self.is_gone(directory);
        for file in files {
            let dead = of_watchers && watchers::is_dead(&file);
            let ours = gone || dead || write::is_leftover(&file);
            emptied &= ours && self.remove(file, |file| std::fs::remove_file(file));
        }
        emptied
            && directory != self.root
            && self.remove(directory.to_owned(), |directory| {
                std::fs::remove_dir(directory)
            })
    }

    /// Removes a file or an empty directory; whether it is gone.
    fn remove(&mut self, path: PathBuf, remove: impl Fn(&Path) -> io::Result<()>) -> bool {
        let removed = if self.dry_run { Ok(()) } else { remove(&path) };
        match removed {
            Ok(()) => self.pruned.removed.push(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => return false, // somebody writes there again
            Err(error) => {
                self.pruned.errors.push(Error::io("remove", &path)(error));
                return false;
            }
        }
        true
    }

    /// Whether the path entry that a directory is the mirror of does not exist. One that can't be
    /// looked at may well exist.
    fn is_gone(&self, directory: &Path) -> bool {
        let Ok(below) = directory.strip_prefix(self.root) else {
            return false;
        };
        let stat = std::fs::symlink_metadata(self.within.join(below));
        stat.is_err_and(|error| {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        })
    }
}

/// The directories and the other files in a directory; links are not followed.
fn list(directory: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut directories = Vec::new();
    let mut files = Vec::new();
    for child in std::fs::read_dir(directory)? {
        let child = child?;
        let kind = if child.file_type()?.is_dir() {
            &mut directories
        } else {
            &mut files
        };
        kind.push(child.path());
    }
    Ok((directories, files))
}

/// Whether these are the files of a mirror: nothing but mirror files, an index, a claim and what
/// writers left.
fn is_mirror(files: &[PathBuf]) -> bool {
    let of_a_mirror = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default();
        match name.as_bytes() {
            name if name == index::FILE_NAME.as_bytes() => index::is_one(file),
            name if name == claim::FILE_NAME.as_bytes() => claim::is_one(file),
            name => dist::mirrored(name).is_some() || write::is_leftover(file),
        }
    };
    !files.is_empty() && files.iter().all(of_a_mirror)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::RootKind;
    use std::fs;

    #[test]
    fn only_mirrors_of_what_is_gone_are_removed() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let at = |path: &str| scratch.path().join(path);
        let path = scratch.path().to_owned();
        for directory in [
            "gone/mirror",
            "gone/asked",
            "own/empty",
            "own/mail",
            "own/refresh",
            "gone/mixed",
        ] {
            fs::create_dir_all(at(directory))?;
        }
        fs::write(at("gone/mirror/.index"), "epcache 1\n")?;
        fs::write(at("gone/mirror/a-1.dist-info.txt"), "")?;
        fs::write(at("gone/mirror/.refresh"), "epcache-refresh 1 - - 2\n")?;
        fs::write(at("gone/asked/.refresh"), "")?;
        fs::write(at("own/mail/.index"), "of a mail program")?;
        fs::write(at("own/refresh/.refresh"), "of somebody else")?;
        fs::write(at("gone/mixed/a-1.dist-info.txt"), "")?;
        fs::write(at("gone/mixed/notes"), "")?;
        let pruned = root(
            &Root {
                path,
                kind: RootKind::User,
            },
            None,
            false,
        );
        let removed = pruned
            .map(|pruned| pruned.removed)
            .map_err(io::Error::other)?;
        assert_eq!(removed.len(), 6, "{removed:?}");
        assert!(!at("gone/mirror").exists() && !at("gone/asked").exists());
        for kept in [
            "own/empty",
            "own/mail/.index",
            "own/refresh/.refresh",
            "gone/mixed/a-1.dist-info.txt",
        ] {
            assert!(at(kept).exists(), "{kept}");
        }
        Ok(())
    }
}
