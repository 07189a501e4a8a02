//! Checks: the files and directories of a dist by whose stamps it is known again.

use super::ENTRY_POINTS;
use crate::path_entry::PathEntry;
use crate::stamp::Stamp;
use crate::walk::Place;
use std::ffi::OsStr;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// One file or directory of a dist, and the stamp that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) what: What,
    pub(crate) stamp: Stamp,
    /// Which file was looked at; unknown of a check that was read from an index.
    pub(crate) place: Option<Place>,
}

/// What a check is of. A letter in an index stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// `E`: its `entry_points.txt`.
    EntryPoints,
    /// `D`: the metadata directory itself: changes when a file appears in it.
    Directory,
    /// `M`: its `METADATA`.
    Metadata,
    /// `P`: its `PKG-INFO`.
    PkgInfo,
}

impl What {
    const ALL: [(Self, char, &'static str); 4] = [
        (Self::EntryPoints, 'E', ENTRY_POINTS),
        (Self::Directory, 'D', ""),
        (Self::Metadata, 'M', "METADATA"),
        (Self::PkgInfo, 'P', "PKG-INFO"),
    ];

    fn letter(self) -> char {
        Self::ALL[self as usize].1
    }

    pub(crate) fn file(self) -> &'static str {
        Self::ALL[self as usize].2
    }
}

impl Check {
    /// Whether a `stat` is of the file or directory that was looked at, as it was then: who may read
    /// it by now tells nothing of who could have read what was in it before.
    pub(crate) fn is_of(&self, stat: &Metadata) -> bool {
        self.stamp.holds(stat) && self.place.is_none_or(|place| place == Place::of(stat))
    }

    /// Whether the file or directory is as it was. One `stat`.
    pub(crate) fn holds(&self, below: &mut Below, metadata_dir: &OsStr) -> bool {
        let stat = below.stat(metadata_dir, self.what.file());
        stat.is_ok_and(|stat| self.stamp.holds(&stat))
    }

    /// Reads what [`fmt::Display`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let letter = text.chars().next()?;
        let (what, ..) = *What::ALL.iter().find(|(_, l, _)| *l == letter)?;
        Some(Self {
            what,
            stamp: Stamp::parse(&text[1..])?,
            place: None,
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.what.letter(), self.stamp)
    }
}

/// Looks at files below a path entry, without making a path anew for each.
pub(crate) struct Below {
    path: Vec<u8>,
    /// The length of the location of the path entry, with a slash.
    location: usize,
}

impl Below {
    pub(crate) fn new(path_entry: &PathEntry) -> Self {
        let mut path = path_entry.location().as_os_str().as_bytes().to_owned();
        path.push(b'/');
        Self {
            location: path.len(),
            path,
        }
    }

    /// The `stat` of a file of a metadata directory; of the directory itself if `file` is empty.
    fn stat(&mut self, metadata_dir: &OsStr, file: &str) -> io::Result<Metadata> {
        self.path.truncate(self.location);
        self.path.extend_from_slice(metadata_dir.as_bytes());
        if !file.is_empty() {
            self.path.push(b'/');
            self.path.extend_from_slice(file.as_bytes());
        }
        std::fs::metadata(OsStr::from_bytes(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_made_readable_after_it_was_read_is_not_what_was_read() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let file = scratch.path().join(ENTRY_POINTS);
        for links in [1, 2] {
            fs::write(&file, "secret")?;
            fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            let stat = fs::metadata(&file)?;
            let check = Check {
                what: What::EntryPoints,
                stamp: Stamp::of_file(&stat),
                place: Some(Place::of(&stat)),
            };
            assert!(check.is_of(&stat), "{links} links");
            fs::write(&file, "public, and longer")?;
            fs::set_permissions(&file, Permissions::from_mode(0o644))?;
            assert!(!check.is_of(&fs::metadata(&file)?), "{links} links");
            fs::hard_link(&file, scratch.path().join("other")).ok();
        }
        Ok(())
    }
}
