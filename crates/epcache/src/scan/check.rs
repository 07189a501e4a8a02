//! Checks: the files and directories of a dist by whose stamps it is known again.

use super::ENTRY_POINTS;
use crate::path_entry::PathEntry;
use crate::stamp::Stamp;
use crate::trust;
use crate::walk::Place;
use std::ffi::OsStr;
use std::fmt;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
pub(crate) struct Below<'p> {
    path_entry: &'p PathEntry,
    path: Vec<u8>,
    /// The length of the location of the path entry, with a slash.
    location: usize,
}

impl<'p> Below<'p> {
    pub(crate) fn new(path_entry: &'p PathEntry) -> Self {
        let mut path = path_entry.location().as_os_str().as_bytes().to_owned();
        path.push(b'/');
        Self {
            path_entry,
            location: path.len(),
            path,
        }
    }

    /// Whether a mirror file with this `stat`, which a package ships, can be the copy of what the
    /// metadata directory has now. One `stat`.
    ///
    /// Whatever replaces or edits a source later leaves it with a change time later than that of the
    /// copy, and no program sets a change time back. A link can lead elsewhere without a trace in what
    /// it leads to, so it never passes; nor does what not all may read, since they may not be told.
    pub(crate) fn can_be_the_source_of(&mut self, copy: &Metadata, metadata_dir: &OsStr) -> bool {
        let path_entry = self.path_entry;
        let path = self.to(metadata_dir, ENTRY_POINTS);
        let source = match std::fs::symlink_metadata(path) {
            Ok(source) => source,
            Err(error) => {
                let none = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
                return none && copy.len() == 0;
            }
        };
        source.is_file()
            && source.len() == copy.len()
            // Packages keep whole seconds.
            && source.mtime() == copy.mtime()
            && !is_later(&source, copy)
            && trust::all_may_read(&source)
            && path_entry.contains(Path::new(path), &source)
    }

    /// Whether a mirror file with this `stat` would not be believed as it was written before its
    /// source, though it is the copy of it.
    pub(crate) fn is_older_than_its_source(
        &mut self,
        copy: &Metadata,
        metadata_dir: &OsStr,
    ) -> bool {
        let source = std::fs::symlink_metadata(self.to(metadata_dir, ENTRY_POINTS));
        source.is_ok_and(|source| source.is_file() && is_later(&source, copy))
    }

    /// The `stat` of a file of a metadata directory; of the directory itself if `file` is empty.
    fn stat(&mut self, metadata_dir: &OsStr, file: &str) -> io::Result<Metadata> {
        std::fs::metadata(self.to(metadata_dir, file))
    }

    fn to(&mut self, metadata_dir: &OsStr, file: &str) -> &OsStr {
        self.path.truncate(self.location);
        self.path.extend_from_slice(metadata_dir.as_bytes());
        if !file.is_empty() {
            self.path.push(b'/');
            self.path.extend_from_slice(file.as_bytes());
        }
        OsStr::from_bytes(&self.path)
    }
}

/// Whether a source may have been changed later than its copy, as far as their `stat`s tell.
///
/// That of a copy with several links tells nothing, since each link made or removed changes its change
/// time, unless the source is one of them; nor does one without any, which was just replaced. And
/// another file system may have been mounted since.
fn is_later(source: &Metadata, copy: &Metadata) -> bool {
    let changed = |stat: &Metadata| (stat.ctime(), stat.ctime_nsec());
    let tells = copy.nlink() == 1 && source.dev() == copy.dev();
    Place::of(source) != Place::of(copy) && (!tells || changed(source) > changed(copy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    /// Writes a file until it gets another change time: two changes within a tick get the same.
    fn wait_for_another_time_than(stat: &Metadata, file: &Path) -> io::Result<()> {
        let changed = |stat: &Metadata| (stat.ctime(), stat.ctime_nsec());
        loop {
            fs::write(file, "")?;
            if changed(&fs::metadata(file)?) != changed(stat) {
                return Ok(());
            }
        }
    }

    #[test]
    fn what_was_made_readable_after_it_was_read_is_not_what_was_read() -> io::Result<()> {
        for links in [1, 2] {
            let scratch = tempfile::tempdir()?;
            let file = scratch.path().join(ENTRY_POINTS);
            fs::write(&file, "secret")?;
            fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            if links == 2 {
                fs::hard_link(&file, scratch.path().join("other"))?;
            }
            let stat = fs::metadata(&file)?;
            assert_eq!(stat.nlink(), links);
            let check = Check {
                what: What::EntryPoints,
                stamp: Stamp::of_file(&stat),
                place: Some(Place::of(&stat)),
            };
            assert!(check.is_of(&stat), "{links} links");
            wait_for_another_time_than(&stat, &scratch.path().join("later"))?;
            fs::write(&file, "public")?;
            let text = File::options().append(true).open(&file)?;
            text.set_modified(stat.modified()?)?;
            fs::set_permissions(&file, Permissions::from_mode(0o644))?;
            let public = fs::metadata(&file)?;
            let size_and_time = |stat: &Metadata| (stat.len(), stat.modified().ok());
            assert_eq!(size_and_time(&public), size_and_time(&stat));
            assert!(!check.is_of(&public), "{links} links");
        }
        Ok(())
    }

    #[test]
    fn a_copy_is_told_to_be_older_by_its_own_change_time_alone() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let [source, copy, link] = ["source", "copy", "link"].map(|name| scratch.path().join(name));
        fs::write(&source, "")?;
        fs::write(&copy, "")?;
        let opened = File::open(&copy)?;
        assert!(!is_later(&fs::metadata(&source)?, &opened.metadata()?));
        fs::hard_link(&copy, &link)?;
        let linked = opened.metadata()?;
        assert!(is_later(&fs::metadata(&source)?, &linked), "two links");
        assert!(!is_later(&fs::metadata(&link)?, &linked), "one of them");
        fs::remove_file(&copy)?;
        fs::remove_file(&link)?;
        let gone = opened.metadata()?;
        assert!(is_later(&fs::metadata(&source)?, &gone), "replaced");
        Ok(())
    }
}
