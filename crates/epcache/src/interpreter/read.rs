//! Reading a small file that somebody else wrote: never waiting, never more than a bound.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;

/// What reading a bounded regular file came to.
#[derive(Debug)]
pub(super) enum Small {
    /// The whole content.
    Content(Vec<u8>),
    /// The file has more bytes than the bound.
    TooLarge,
}

/// The content of a regular file (links followed) of at most `bound` bytes. A FIFO or a device is
/// not waited on: it is an error, as a file is that can't be read.
pub(super) fn small(path: &Path, bound: u64) -> io::Result<Small> {
    content(open(path, OFlags::empty())?, bound)
}

/// The file opened for reading without ever waiting for a writer.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// The content of an open regular file of at most `bound` bytes.
pub(super) fn content(file: File, bound: u64) -> io::Result<Small> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let mut content = Vec::new();
    file.take(bound.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > bound {
        return Ok(Small::TooLarge);
    }
    Ok(Small::Content(content))
}
