//! The one writer: every file is written whole under a temporary name in its directory and renamed,
//! so that a reader sees the old file or the new one and a killed writer leaves only a leftover.
//!
//! Nothing is synced to the disk: a cache that a power cut damages is known for damaged (an index by
//! its end mark) and built again.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

/// The start of every temporary name; the process's id follows.
const PREFIX: &str = ".tmp-";

/// The age at which a temporary file is a leftover whoever wrote it: of another host that shares the
/// cache, whose processes can't be asked for. No write takes so long.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// Writes a file with this mode and, if given, this modification time. The directory must exist.
pub(crate) fn write(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    modified: Option<SystemTime>,
) -> io::Result<()> {
    match write_once(path, bytes, mode, modified) {
        // Somebody took the temporary file for a leftover (another host's process has our id). Once
        // more: by then it is gone.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write_once(path, bytes, mode, modified)
        }
        done => done,
    }
}

fn write_once(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    modified: Option<SystemTime>,
) -> io::Result<()> {
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let file = temporary(directory, bytes, mode)?;
    if let Some(modified) = modified {
        file.as_file().set_modified(modified)?;
    }
    file.persist(path)?;
    Ok(())
}

/// A file with this mode under a temporary name, to be renamed within its directory, which must exist.
pub(crate) fn temporary(directory: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let mut file = tempfile::Builder::new()
        .prefix(&prefix)
        .tempfile_in(directory)
        .map_err(without_path)?;
    file.write_all(bytes).map_err(without_path)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// What is particular about a temporary name: the process and what is random.
pub(crate) fn own_part(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// An error of a temporary file names that file, of which nobody has heard.
fn without_path(error: io::Error) -> io::Error {
    let text = error.to_string();
    let text = text.split(" at path ").next().unwrap_or_default();
    io::Error::new(error.kind(), text)
}

/// Makes a directory and the missing ones above it, each with this mode whatever the umask is.
pub(crate) fn make_directories(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_directories(path.parent().ok_or(error)?, mode)?;
            match DirBuilder::new().mode(mode).create(path) {
                Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
                Err(error) => Err(error),
            }
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a file in a mirror was left by a writer that is gone: its process is no more, or it is
/// older than any write takes.
pub(crate) fn is_leftover(path: &Path) -> bool {
    let Some(process) = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(writer_of)
    else {
        return false;
    };
    let gone = match rustix::process::Pid::from_raw(process) {
        Some(pid) => rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH),
        None => true,
    };
    gone || fs::symlink_metadata(path).is_ok_and(|stat| {
        // The change time: the modification time is already that of the source.
        let changed =
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.ctime()).unwrap_or(0));
        changed.elapsed().is_ok_and(|age| age > LEFTOVER_AGE)
    })
}

/// The id of the process that made a temporary file; `None` if it is none of ours.
fn writer_of(name: &str) -> Option<i32> {
    let (process, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    process.parse().ok().filter(|_| !name.ends_with(".txt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_has_the_given_mode_and_time_and_leaves_nothing_beside_it() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = scratch.path().join("a/b");
        make_directories(&dir, 0o750)?;
        assert_eq!(
            fs::metadata(scratch.path().join("a"))?.mode() & 0o777,
            0o750
        );
        let path = dir.join("file");
        let time = SystemTime::UNIX_EPOCH + Duration::new(5, 7);
        write(&path, b"text", 0o604, Some(time))?;
        let stat = fs::metadata(&path)?;
        assert_eq!(
            (stat.mode() & 0o777, stat.modified()?, fs::read(&path)?),
            (0o604, time, b"text".to_vec())
        );
        assert_eq!(fs::read_dir(&dir)?.count(), 1);
        Ok(())
    }

    #[test]
    fn only_the_files_of_writers_that_are_gone_are_leftovers() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let leftover = |name: &str| {
            let path = scratch.path().join(name);
            fs::write(&path, "")?;
            Ok::<_, io::Error>(is_leftover(&path))
        };
        assert!(!leftover(&format!(".tmp-{}-abc", std::process::id()))?);
        assert!(leftover(".tmp-2147483647-abc")?); // above the kernel's largest process id
        assert!(!leftover(".tmp-2147483647-abc.dist-info.txt")?);
        assert!(!leftover("six.dist-info.txt")?);
        Ok(())
    }
}
