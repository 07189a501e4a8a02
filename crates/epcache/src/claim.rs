//! Claims: the file by which processes that all find a mirror stale agree that one of them has it
//! refreshed, and that nobody tries again at once where that changes nothing.
//!
//! Whoever starts a refresh holds a lock on the file, which the refresh inherits and which ends with
//! it; here only what became of it is noted. No answer depends on it, nor does any other writer: a
//! claim saves work, and is as disposable as all else.

use crate::mirror::Mirror;
use crate::stamp::Stamp;
use crate::trust;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The name of the file in a mirror.
pub(crate) const FILE_NAME: &str = ".refresh";

/// How it starts: what it is, and the version of the format.
const MAGIC: &str = "epcache-refresh 1 ";

/// The length of what is in it, in bytes, always the same: so it can be written over where the disk
/// is full. It is more than two stamps and a number can have.
const LENGTH: usize = 256;

/// The number of attempts after which the next has to wait: a refresh that was killed is tried again
/// at once, one that ended is not.
const ENOUGH: u32 = 2;

/// Notes in a mirror's claim, if it has one, that a refresh ended: with which stamp of the path
/// entry it began, and which index is there now. Where that fails, somebody refreshes in vain.
pub(crate) fn note(mirror: &Mirror, root: &Path, path_entry: Option<Stamp>) {
    let Some(claim) = open(&mirror.path.join(FILE_NAME)) else {
        return;
    };
    if mirror.check_links(root).is_err() {
        return;
    }
    let state = state(mirror, path_entry);
    let mut old = String::new();
    let _ = (&claim).take(LENGTH as u64).read_to_string(&mut old); // damaged: another state
    let attempts = parse(&old).filter(|(known, _)| *known == state);
    if attempts.is_some_and(|(_, attempts)| attempts >= ENOUGH) {
        return;
    }
    let text = format!("{MAGIC}{state} {ENOUGH}");
    let text = format!("{text:<width$}\n", width = LENGTH - 1);
    let _ = claim.write_all_at(text.as_bytes(), 0);
}

/// Whether a file is a claim, and not somebody else's file of that name. It was made just now, if it
/// is empty.
pub(crate) fn is_one(path: &Path) -> bool {
    let (word, _) = MAGIC.split_at("epcache-refresh ".len());
    let mut start = String::new();
    open(path).is_some_and(|file| {
        let read = file.take(word.len() as u64).read_to_string(&mut start);
        read.is_ok() && (start.is_empty() || start == word)
    })
}

/// By what a later process sees that nothing has changed since: the stamps of path entry and index.
fn state(mirror: &Mirror, path_entry: Option<Stamp>) -> String {
    let index = std::fs::symlink_metadata(mirror.index()).ok();
    let shown = |stamp: Option<Stamp>| stamp.map_or("-".to_owned(), |stamp| stamp.to_string());
    let index = index.map(|stat| Stamp::of_directory(&stat));
    format!("{} {}", shown(path_entry), shown(index))
}

/// The state and the number of attempts.
fn parse(text: &str) -> Option<(&str, u32)> {
    let (state, attempts) = text.strip_prefix(MAGIC)?.trim_end().rsplit_once(' ')?;
    Some((state, attempts.parse().ok()?))
}

/// Opens a claim that is this user's: no link, a regular file that nobody else may write.
fn open(path: &Path) -> Option<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true);
    let file = options.custom_flags(flags.bits() as i32).open(path).ok()?;
    let stat = file.metadata().ok()?;
    let ours = stat.uid() == trust::effective_user() && trust::check(&stat).is_ok();
    (ours && stat.is_file()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::RootKind;
    use std::fs;
    use std::io;

    fn note_in(directory: &Path, path_entry: Option<Stamp>) {
        let mirror = Mirror {
            path: directory.to_owned(),
            kind: RootKind::User,
        };
        note(&mirror, directory, path_entry);
    }

    fn stamp(path: &Path) -> io::Result<Stamp> {
        fs::metadata(path).map(|stat| Stamp::of_directory(&stat))
    }

    #[test]
    fn an_ended_refresh_is_noted_in_place_and_only_in_a_claim() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let claim = scratch.path().join(FILE_NAME);
        note_in(scratch.path(), None);
        assert!(!claim.exists(), "no process has asked for one");

        fs::write(&claim, "")?;
        let inode = fs::metadata(&claim)?.ino();
        note_in(scratch.path(), None);
        let none = fs::read_to_string(&claim)?;
        assert_eq!(none.trim_end(), "epcache-refresh 1 - - 2");
        assert_eq!((none.len(), none.ends_with(" \n")), (LENGTH, true));

        let index = scratch.path().join(".index");
        fs::write(&index, "")?;
        let of_index = stamp(&index)?;
        let of_path_entry = stamp(Path::new("/"))?;
        note_in(scratch.path(), Some(of_path_entry));
        let text = fs::read_to_string(&claim)?;
        let expected = format!("epcache-refresh 1 {of_path_entry} {of_index} 2");
        assert_eq!(text.trim_end(), expected);
        assert_eq!(fs::metadata(&claim)?.ino(), inode);
        assert!(is_one(&claim));
        Ok(())
    }

    #[test]
    fn the_attempts_in_one_state_go_on_being_counted() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let claim = scratch.path().join(FILE_NAME);
        for (before, after) in [(1, 2), (2, 2), (7, 7)] {
            fs::write(&claim, format!("{MAGIC}- - {before}"))?;
            note_in(scratch.path(), None);
            let text = fs::read_to_string(&claim)?;
            assert_eq!(parse(&text), Some(("- -", after)));
        }
        Ok(())
    }

    #[test]
    fn what_only_has_the_name_of_a_claim_is_left_alone() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let other = scratch.path().join("other");
        fs::write(&other, "")?;
        let claim = scratch.path().join(FILE_NAME);
        std::os::unix::fs::symlink(&other, &claim)?;
        note_in(scratch.path(), None);
        assert_eq!(fs::read(&other)?, b"");
        assert!(!is_one(&claim));

        fs::remove_file(&claim)?;
        fs::write(&claim, "of a mail program")?;
        assert!(!is_one(&claim));
        Ok(())
    }
}
