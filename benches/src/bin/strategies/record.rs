//! What one file of a cache holds, in whichever format, and how it is known and written.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes};
use std::io::{ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use epcache::EntryPoint;

/// Paths, escaped because not every format takes what a path can be, each with its modification time in
/// nanoseconds, if there is such a file: by which a file of a cache is known to be fresh.
pub(crate) type Stamps = Vec<(String, Option<i64>)>;

/// The state of files now.
pub(crate) fn stamps(paths: &[OsString]) -> Stamps {
    let stamp = |path: &OsString| (format!("{path:?}"), mtime(Path::new(path)));
    paths.iter().map(stamp).collect()
}

/// When a file was modified, in nanoseconds.
pub(crate) fn mtime(path: &Path) -> Option<i64> {
    let stat = std::fs::metadata(path).ok()?;
    Some(stat.mtime() * 1_000_000_000 + stat.mtime_nsec())
}

/// What is written to a file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) seen: Stamps,
    /// The normalized names of the dists, in order.
    pub(crate) names: Vec<String>,
    /// The number of the dist, and what it declares: in CPython's order.
    pub(crate) rows: Vec<(usize, EntryPoint)>,
}

/// What is read from a file: as much of it as was asked for.
pub(crate) struct Record {
    pub(crate) names: Box<dyn Names>,
    pub(crate) rows: Vec<(usize, EntryPoint)>,
}

/// The normalized names of the dists of a file, of which few are asked for. `None` if the file is damaged.
pub(crate) trait Names {
    /// The names of these dists.
    fn of(&self, dists: &HashSet<usize>) -> Option<HashMap<usize, String>>;
    /// Drops those whose names are here.
    fn drop_known(&self, dists: &mut HashMap<usize, String>) -> Option<()>;
}

/// Names that were just read from the sources.
impl Names for Vec<String> {
    fn of(&self, dists: &HashSet<usize>) -> Option<HashMap<usize, String>> {
        let name = |&dist: &usize| Some((dist, self.get(dist)?.clone()));
        dists.iter().map(name).collect()
    }

    fn drop_known(&self, dists: &mut HashMap<usize, String>) -> Option<()> {
        let known: HashSet<&String> = self.iter().collect();
        dists.retain(|_, name| !known.contains(name));
        Some(())
    }
}

impl From<Contents> for Record {
    fn from(contents: Contents) -> Record {
        Record {
            names: Box::new(contents.names),
            rows: contents.rows,
        }
    }
}

/// A file's name for these paths: their FNV-1a hash. It says in the file for which it is.
pub(crate) fn file_for(paths: &[OsString]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in paths.join(OsStr::new(":")).as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// Writes a file under a temporary name and renames it. It need not be possible: what can't be written
/// is answered all the same.
pub(crate) fn write_atomically(path: &Path, data: &[u8], modified: Option<SystemTime>) {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(data)?;
        if let Some(modified) = modified {
            file.set_times(FileTimes::new().set_modified(modified))?;
        }
        std::fs::rename(&temporary, path)
    };
    let written = write().or_else(|error| match error.kind() {
        ErrorKind::NotFound => {
            make_directory(path);
            write()
        }
        _ => Err(error),
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
}

/// Makes the directory of a file, if it can be made.
pub(crate) fn make_directory(file: &Path) {
    if let Some(directory) = file.parent() {
        let _ = std::fs::create_dir_all(directory);
    }
}

/// Removes the files with this suffix, but for these.
pub(crate) fn keep_only(directory: &Path, suffix: &str, files: &HashSet<OsString>) {
    for file in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = file.file_name();
        if name.as_bytes().ends_with(suffix.as_bytes()) && !files.contains(&name) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}
