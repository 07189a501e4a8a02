//! The memory of what interpreters have answered, so that each is started once and not with every
//! question.
//!
//! An answer is remembered together with all that it is known to depend on: variables, the
//! executable, `pyvenv.cfg`, the site directories, their `.pth` files and what those name. It
//! counts for as long as none of that differs. Not seen is a change in what code that runs at
//! Python's start (`import` lines, `sitecustomize`) depends on besides.
//!
//! Of a program that is a script, nothing is known about which interpreter it starts, so its answer
//! is not remembered; pyenv's shims, whose rules are known, are the exception.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use rustix::fs::{OFlags, StatVfsMountFlags, statvfs};
use serde::{Deserialize, Serialize};

use super::{
    answer::{Answer, Bytes},
    posixpath::join,
    pth, pyenv,
    pyvenv_cfg::PYVENV_CFG,
    read::{self, Small},
    surroundings::Surroundings,
};
use crate::{
    stamp::{Settling, Stamp},
    trust, write,
};

/// The form of a remembered answer. One of another form counts as absent.
const FORM: u32 = 1;

/// The largest remembered answer that is read or written.
const MAX_MEMORY_BYTES: u64 = 4 << 20;

/// The mode of a remembered answer: it tells of directories that are nobody else's business.
const FILE_MODE: u32 = 0o600;

/// How much of an executable is read to know what it is; a pyenv shim has 400 bytes.
const MAX_SHIM_BYTES: u64 = 16 << 10;

/// The longest file name that a remembered answer gets; an executable with a longer path is asked
/// each time.
const MAX_NAME_BYTES: usize = 240;

/// Variables that an interpreter's `sys.path` can depend on besides those that begin with
/// `PYTHON`: where the user's files are, how names are decoded, which libraries are loaded, and
/// what distributions' patches read.
const VARIABLES: [&str; 9] = [
    "HOME",
    "LC_ALL",
    "LC_CTYPE",
    "LANG",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "RPM_BUILD_ROOT",
    "DEB_PYTHON_INSTALL_LAYOUT",
    "__PYVENV_LAUNCHER__",
];

/// Modules that Python imports when it starts, from any entry of `sys.path`.
const CUSTOMIZATIONS: [&str; 2] = ["sitecustomize.py", "usercustomize.py"];

/// A directory of remembered answers. It is believed only if it belongs to root or the effective
/// user and nobody else can write it; otherwise nothing is remembered.
#[derive(Debug, Clone)]
pub struct Memory {
    directory: PathBuf,
}

impl Memory {
    /// A memory in this directory, which is made when the first answer is remembered.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Memory {
        Memory {
            directory: directory.into(),
        }
    }

    /// The answer of this executable, if it is remembered and would still be the same.
    pub(super) fn recall(&self, executable: &Path, surroundings: &Surroundings) -> Option<Answer> {
        let file = self.directory.join(file_name(executable)?);
        trust::check(&fs::symlink_metadata(&self.directory).ok()?).ok()?;
        let record: Record = serde_json::from_slice(&self.read(&file).ok()??).ok()?;
        let circumstances = Circumstances::of(executable, surroundings)?;
        let still = record.form == FORM
            && record.circumstances == circumstances
            && record.watched.iter().all(Watched::is_unchanged);
        still.then_some(record.answer)
    }

    /// Remembers an answer, if all that it depends on is known and settled since before `asked`,
    /// the moment (as stamps count) when the interpreter was about to be started. A memory that can't be written is
    /// none.
    pub(super) fn remember(
        &self,
        executable: &Path,
        surroundings: &Surroundings,
        asked: i128,
        answer: &Answer,
    ) {
        let Some(name) = file_name(executable) else {
            return;
        };
        let Some(record) = Record::new(executable, surroundings, asked, answer) else {
            return;
        };
        // Not remembering costs time and nothing else.
        let _ = self.write(&self.directory.join(name), &record);
    }

    fn read(&self, file: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = read::open(file, OFlags::NOFOLLOW)?;
        if trust::check(&file.metadata()?).is_err() {
            return Ok(None);
        }
        Ok(match read::content(file, MAX_MEMORY_BYTES)? {
            Small::Content(content) => Some(content),
            Small::TooLarge => None,
        })
    }

    /// Writes the whole file under another name, then gives it its own.
    fn write(&self, file: &Path, record: &Record) -> io::Result<()> {
        let content = serde_json::to_vec(record)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        let trusted = trust::check(&fs::symlink_metadata(&self.directory)?).is_ok();
        if !trusted || content.len() as u64 > MAX_MEMORY_BYTES {
            return Ok(());
        }
        write::write(file, &content, FILE_MODE, None)
    }
}

/// The name of the file for an executable: its path, readable, `/` written as `-` and everything
/// but letters, digits, `.` and `_` as `%XX`.
fn file_name(executable: &Path) -> Option<String> {
    let mut name = String::new();
    for &byte in executable.as_os_str().as_bytes().strip_prefix(b"/")? {
        match byte {
            b'/' => name.push('-'),
            b'.' | b'_' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name.push_str(".json");
    (name.len() <= MAX_NAME_BYTES).then_some(name)
}

/// A remembered answer as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    form: u32,
    circumstances: Circumstances,
    watched: Vec<Watched>,
    answer: Answer,
}

impl Record {
    fn new(
        executable: &Path,
        surroundings: &Surroundings,
        asked: i128,
        answer: &Answer,
    ) -> Option<Record> {
        let circumstances = Circumstances::of(executable, surroundings)?;
        let watched = watched_by(answer);
        let determined = match &circumstances.pyenv {
            Some(root) => pyenv::has_installed(root.as_path(), answer.executable.as_path()),
            // A native program that starts another one has reasons of its own.
            None => {
                surroundings.abspath(executable.as_os_str().as_bytes())
                    == surroundings.abspath(answer.executable.as_bytes())
            }
        };
        let settled = [&circumstances.deciders, &watched]
            .into_iter()
            .flatten()
            .all(|watched| watched.is_settled_at(asked));
        (determined && settled).then(|| Record {
            form: FORM,
            circumstances,
            watched,
            answer: answer.clone(),
        })
    }
}

/// All that is known before the interpreter is asked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Circumstances {
    executable: Bytes,
    variables: Vec<(Bytes, Bytes)>,
    users: [u32; 4],
    /// The current directory, where a variable names a path relative to it.
    cwd: Option<Bytes>,
    /// The directory of pyenv, where the executable is one of its shims.
    pyenv: Option<Bytes>,
    /// The executable and, of a shim, the files that decide which interpreter it starts.
    deciders: Vec<Watched>,
}

impl Circumstances {
    /// `None` if what the executable is does not tell which interpreter it starts.
    fn of(executable: &Path, surroundings: &Surroundings) -> Option<Circumstances> {
        use rustix::process::{getegid, geteuid, getgid, getuid};
        let pyenv = match start_of(executable)? {
            start if pyenv::is_native(&start) => None,
            script => Some(pyenv::root_of_shim(&script)?),
        };
        let mut deciders = vec![executable.to_path_buf()];
        deciders.extend(
            pyenv
                .iter()
                .flat_map(|root| pyenv::deciders(root, surroundings)),
        );
        Some(Circumstances {
            executable: Bytes::of(executable),
            variables: relevant_variables(surroundings, pyenv.is_some()),
            users: [
                getuid().as_raw(),
                geteuid().as_raw(),
                getgid().as_raw(),
                getegid().as_raw(),
            ],
            cwd: depends_on_cwd(surroundings)
                .then(|| surroundings.cwd().map(Bytes::of))
                .flatten(),
            deciders: deciders.iter().map(Watched::stamped).collect(),
            pyenv: pyenv.map(Bytes::of),
        })
    }
}

/// The first bytes of a file.
fn start_of(executable: &Path) -> Option<Vec<u8>> {
    use io::Read;
    let mut start = Vec::new();
    let file = read::open(executable, OFlags::empty()).ok()?;
    file.metadata().ok()?.is_file().then_some(())?;
    file.take(MAX_SHIM_BYTES).read_to_end(&mut start).ok()?;
    Some(start)
}

/// Whether an executable is a native program, which a virtual environment's Python is.
pub(super) fn is_native(executable: &Path) -> bool {
    start_of(executable).is_some_and(|start| pyenv::is_native(&start))
}

fn relevant_variables(surroundings: &Surroundings, is_shim: bool) -> Vec<(Bytes, Bytes)> {
    surroundings
        .variables()
        .filter(|(name, _)| {
            let name = name.as_bytes();
            name.starts_with(b"PYTHON")
                || name.starts_with(b"NIX_PYTHON")
                || VARIABLES.iter().any(|variable| variable.as_bytes() == name)
                || is_shim && pyenv::is_relevant(name)
        })
        .map(|(name, value)| (Bytes::of(name), Bytes::of(value)))
        .collect()
}

/// Whether a variable holds a path that is not absolute.
fn depends_on_cwd(surroundings: &Surroundings) -> bool {
    ["PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "HOME"]
        .into_iter()
        .filter_map(|name| surroundings.filled(name))
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b':'))
        .any(|item| !item.starts_with(b"/"))
}

/// A file that must stay as it was, or stay absent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Watched {
    path: Bytes,
    /// What is looked at: all that a stamp tells, or only whether the file exists.
    only_existence: bool,
    exists: bool,
    stamp: Option<String>,
}

impl Watched {
    fn stamped(path: impl AsRef<Path>) -> Watched {
        let stamp = fs::metadata(&path).map(|stat| Stamp::of_directory(&stat).to_string());
        Watched {
            path: Bytes::of(path.as_ref()),
            only_existence: false,
            exists: stamp.is_ok(),
            stamp: stamp.ok(),
        }
    }

    fn existing(path: impl AsRef<Path>) -> Watched {
        Watched {
            path: Bytes::of(path.as_ref()),
            only_existence: true,
            exists: path.as_ref().exists(),
            stamp: None,
        }
    }

    /// Whether any change after `moment` shows.
    fn is_settled_at(&self, moment: i128) -> bool {
        let Some(stamp) = &self.stamp else {
            return true;
        };
        Stamp::parse(stamp).is_some_and(|stamp| {
            let keeps_change_times =
                !stamp.may_be_an_images() || !is_read_only(self.path.as_path());
            stamp.settles(moment) == Settling::Settled && keeps_change_times
        })
    }

    fn is_unchanged(&self) -> bool {
        let path = self.path.as_path();
        *self
            == if self.only_existence {
                Watched::existing(path)
            } else {
                Watched::stamped(path)
            }
    }
}

/// Whether a file is on a file system that is mounted read-only. Images (squashfs, erofs, iso9660)
/// are, and have no change times: one can take another's place unseen. A change time in a whole
/// second alone says little, as a disk made from an image has them on every file.
fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// All that the answer is known to depend on, once the interpreter has given it.
fn watched_by(answer: &Answer) -> Vec<Watched> {
    let executable = answer.executable.as_path();
    let mut watched = vec![Watched::stamped(executable)];
    for directory in executable.ancestors().skip(1).take(2) {
        watched.push(Watched::stamped(directory.join(PYVENV_CFG)));
    }
    watched.push(Watched::stamped(answer.standard_library.as_path()));
    watched.extend(
        answer
            .customizations
            .iter()
            .map(|file| Watched::stamped(file.as_path())),
    );
    for entry in &answer.path {
        watched.extend(CUSTOMIZATIONS.map(|name| Watched::stamped(entry.as_path().join(name))));
    }
    for directory in answer
        .site_directories
        .iter()
        .filter(|directory| !directory.as_bytes().is_empty())
    {
        watched.push(Watched::stamped(directory.as_path()));
        watched.extend(watched_in(directory));
    }
    watched
}

/// The `.pth` files of a site directory and what they name.
fn watched_in(directory: &Bytes) -> Vec<Watched> {
    let mut watched = Vec::new();
    for name in pth::pth_names(directory.as_path()) {
        let path = |bytes: &[u8]| super::posixpath::as_path(bytes).to_path_buf();
        watched.push(Watched::stamped(path(&join(directory.as_bytes(), &name))));
        let targets = pth::targets(directory.as_bytes(), &name);
        watched.extend(targets.iter().map(|target| Watched::existing(path(target))));
    }
    watched
}

#[cfg(test)]
mod tests {
    use super::file_name;
    use std::path::Path;

    #[test]
    fn a_file_name_can_be_read_and_is_no_other_executables() {
        assert_eq!(
            file_name(Path::new("/usr/bin/python3.12")).as_deref(),
            Some("usr-bin-python3.12.json")
        );
        assert_eq!(
            file_name(Path::new("/a-b/ü\n")).as_deref(),
            Some("a%2Db-%C3%BC%0A.json")
        );
        assert_eq!(file_name(Path::new(&format!("/{}", "x".repeat(300)))), None);
        assert_eq!(file_name(Path::new("python3")), None);
    }
}
