//! Opening and reading one source: a regular file of bounded size, and nothing else.

use crate::path_entry::PathEntry;
use crate::problem::ProblemKind;
use crate::stamp::Stamp;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The largest source that is read, in bytes: a hundred times the largest known
/// `entry_points.txt`, and still read in an instant.
pub const MAX_SOURCE: u64 = 8 << 20;

/// How often a source is read that changes while it is read.
const ATTEMPTS: usize = 3;

/// A source that was read, and what a `stat` said of it just before.
pub(super) struct Source {
    pub(super) text: Vec<u8>,
    pub(super) stat: Metadata,
}

/// Why there is no text.
pub(super) enum NotRead {
    /// No such file, as for most dists.
    Absent,
    Problem(ProblemKind),
    Failed(io::Error),
}

impl From<io::Error> for NotRead {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::Absent,
            ErrorKind::PermissionDenied => Self::Problem(ProblemKind::PermissionDenied),
            _ => Self::Failed(error),
        }
    }
}

/// Reads a source.
pub(super) fn read(path_entry: &PathEntry, path: &Path) -> Result<Source, NotRead> {
    let link = std::fs::symlink_metadata(path)?;
    if link.is_symlink() {
        match std::fs::metadata(path).map_err(NotRead::from) {
            Err(NotRead::Absent) => return Err(NotRead::Problem(ProblemKind::DanglingLink)),
            target => check_regular(&target?)?,
        }
    } else {
        check_regular(&link)?;
    }
    let mut file = open(path)?;
    for _ in 0..ATTEMPTS {
        let stat = file.metadata()?;
        check_regular(&stat)?; // it may be another one by now
        if !path_entry.contains(path, &stat) {
            return Err(NotRead::Problem(ProblemKind::LeavesRoot));
        }
        let text = read_all(&mut file, &stat)?;
        let after = file.metadata()?;
        let unchanged = Stamp::of_directory(&stat) == Stamp::of_directory(&after);
        if unchanged && text.len() as u64 == stat.len() {
            return Ok(Source { text, stat });
        }
        file.rewind()?;
    }
    Err(NotRead::Failed(io::Error::other(
        "its size is not that of what it holds, or it keeps changing",
    )))
}

/// What a file holds, which says that it has `stat.len()` bytes. One that says that it has none is
/// not read at all: those of `/proc` do, and to read some of them has effects.
fn read_all(file: &mut File, stat: &Metadata) -> Result<Vec<u8>, NotRead> {
    if stat.len() > MAX_SOURCE {
        return Err(NotRead::Problem(ProblemKind::TooLarge(stat.len())));
    }
    let mut text = Vec::new();
    if stat.len() > 0 {
        text.reserve_exact(stat.len() as usize + 1); // so that the end is seen without growing
        file.take(stat.len() + 1).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// Opens what was found to be a regular file or a directory: a FIFO would be waited on, and opening
/// a device can have effects. What has taken its place meanwhile is not waited on either.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
}

fn check_regular(stat: &Metadata) -> Result<(), NotRead> {
    let kind = stat.file_type();
    let special = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => return Err(NotRead::Problem(ProblemKind::Directory)),
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(NotRead::Problem(ProblemKind::Special(special)))
}
