//! Watchers: the file in a cache root by which a watcher says that it runs, and which path entries
//! it keeps current.
//!
//! Whether what it says is still so is told by the kernel: a watcher holds a lock on its file as
//! long as it lives, and the lock ends with the process, however that ends. It is a POSIX lock, as
//! only who may write a file can hold such a one for writing; the locks of `flock` can be held by all
//! who can read, who could so keep a dead watcher of the system root alive. No answer depends on
//! any of it.

use crate::error::Error;
use crate::layout::{Root, RootKind, exists_for_writing};
use crate::path_entry::PathEntry;
use crate::trust;
use crate::walk::Place;
use crate::write;
use rustix::fs::{FlockOperation, OFlags, fcntl_lock};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The directory in a root.
pub(crate) const DIRECTORY: &str = ".watchers";

/// The first line of a file: what it is, and the version of the format.
const MAGIC: &str = "epcache-watcher 1";

/// The last line: without it, a file is damaged.
const END: &str = "end";

/// The largest file that is written or read. A path entry takes about 60 bytes, so that is what
/// thousands of environments take; those that do not fit in are not said.
const MAX_BYTES: usize = 1 << 20;

/// How often the directory is listed until each file that was listed is also found. A watcher takes a
/// file back when it has another, which is seldom: once more does, unless somebody does nothing else.
const MAX_LISTINGS: usize = 100;

/// How a path entry is kept current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The kernel tells of each change.
    Events,
    /// It is looked at again each time so long has passed.
    Polled(Duration),
}

/// A watcher's word, in a cache root, that it runs, and for which path entries; taken back when
/// dropped.
#[derive(Debug)]
pub struct Announcement {
    root: Root,
    within: Option<PathBuf>,
    held: Option<Held>,
}

/// A watcher that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its process. In a cache that several machines or containers share, it may be of another one.
    pub pid: u32,
    /// The path entries that it keeps current, and how.
    pub kept: Vec<(OsString, How)>,
}

/// A file that says so, with the lock.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    place: Place,
    kept: Vec<(OsString, How)>,
    _locked: File,
}

/// What a file turned out to be.
enum Found {
    Watcher(Running),
    /// Its watcher is no more.
    Dead,
    /// It was removed since it was listed.
    Gone,
    /// It is not to be believed, or not known.
    Strange,
}

/// The files that this process holds, and what they say. To close one of them would end the lock, also
/// if it was opened by somebody else in this process: so they are not opened again.
static OURS: Mutex<Vec<(Place, Running)>> = Mutex::new(Vec::new());

impl Announcement {
    /// Prepares to write to `root`; touches nothing. `within` is the directory that stands for the
    /// root of the file system, if not `/`.
    pub fn new(root: &Root, within: Option<&Path>) -> Self {
        Self {
            root: root.clone(),
            within: within.map(Path::to_owned),
            held: None,
        }
    }

    /// Says which path entries are kept current. Those that have no mirror are left out; where all may
    /// read the root, those too that not everybody could have read. Writes nothing if that is what it
    /// says already, so this can be called after each sync; then it also is there again, should
    /// somebody have removed it. And it removes the files of watchers that are no more.
    ///
    /// # Errors
    /// The root can't be written, or its file system has no locks. What was said before still is.
    pub fn say(&mut self, kept: &[(OsString, How)]) -> Result<(), Error> {
        let kept: Vec<_> = kept
            .iter()
            .filter(|(path_entry, _)| self.may_tell(path_entry))
            .cloned()
            .collect();
        let said = |held: &Held| held.kept == kept && held.is_there();
        if self.held.as_ref().is_some_and(said) {
            return Ok(());
        }
        let held = match self.hold(kept.clone()) {
            // Somebody removed the directory, or took the temporary file for a leftover: once more.
            Err(error) if error.io_kind() == Some(ErrorKind::NotFound) => self.hold(kept)?,
            held => held?,
        };
        // Only now the old one goes, so there is one at each moment.
        self.held = Some(held);
        remove_dead(&self.root.path.join(DIRECTORY));
        Ok(())
    }

    /// Whether what was said has been removed, as when somebody cleans up caches.
    pub fn was_removed(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.is_there())
    }

    /// The directory in a root where watchers say that they run.
    pub fn directory_in(root: &Root) -> PathBuf {
        root.path.join(DIRECTORY)
    }

    /// Whether it can be kept current at all, and whoever may read the root may hear of it.
    fn may_tell(&self, path_entry: &OsStr) -> bool {
        let path_entry = match &self.within {
            Some(within) => PathEntry::within(within, path_entry),
            None => PathEntry::new(path_entry),
        };
        let to_all = || {
            let within = self.within.as_deref();
            trust::everybody_could_read(path_entry.location(), within, |_| true)
        };
        path_entry.cacheable().is_ok() && (self.root.kind == RootKind::User || to_all())
    }

    fn hold(&self, kept: Vec<(OsString, How)>) -> Result<Held, Error> {
        let directory = self.directory()?;
        let (_, mode) = self.root.kind.modes();
        Held::new(&directory, mode, kept)
    }

    /// The directory for the file, made if need be in a root that is nobody else's.
    fn directory(&self) -> Result<PathBuf, Error> {
        let Root { path: root, kind } = &self.root;
        let (mode, _) = kind.modes();
        exists_for_writing(&self.root, self.within.as_deref())?;
        write::make_directories(root, mode).map_err(Error::io("make this directory", root))?;
        exists_for_writing(&self.root, self.within.as_deref())?;
        let directory = root.join(DIRECTORY);
        match fs::symlink_metadata(&directory) {
            Ok(stat) if stat.is_dir() => {
                trust::check(&stat).map_err(|why| Error::not_trusted(&directory, why))?;
            }
            Ok(_) => {
                let error = ErrorKind::NotADirectory.into();
                return Err(Error::io("use it as a directory", &directory)(error));
            }
            Err(_) => write::make_directories(&directory, mode)
                .map_err(Error::io("make this directory", &directory))?,
        }
        Ok(directory)
    }
}

impl Held {
    /// Writes a file, locks it, and only then gives it a name by which it is looked for.
    fn new(directory: &Path, mode: u32, kept: Vec<(OsString, How)>) -> Result<Self, Error> {
        let in_directory = |error| Error::io("write a file in it", directory)(error);
        let temporary = write::temporary(directory, render(&kept).as_bytes(), mode);
        let temporary = temporary.map_err(in_directory)?;
        lock(temporary.as_file()).map_err(Error::io(
            "lock a file in it, so no 'epcache status' will tell of this watcher",
            directory,
        ))?;
        let place = Place::of(&temporary.as_file().metadata().map_err(in_directory)?);
        let name = temporary.path().file_name().unwrap_or_default();
        // Another name each time: who has found one dead and removes it by its name removes no other.
        let path = directory.join(write::own_part(&name.to_string_lossy()));
        let running = Running {
            pid: std::process::id(),
            kept: kept.clone(),
        };
        ours().push((place, running));
        match temporary.persist(&path) {
            Ok(locked) => Ok(Self {
                path,
                place,
                kept,
                _locked: locked,
            }),
            Err(error) => {
                forget(place);
                Err(in_directory(error.error))
            }
        }
    }

    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|stat| Place::of(&stat) == self.place)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Before the lock ends: a file without one would be a dead watcher's.
        if self.is_there() {
            let _ = fs::remove_file(&self.path); // if it stays, it is known for dead
        }
        forget(self.place);
    }
}

/// The watchers that run now and write to this root.
pub fn running(root: &Root) -> Vec<Running> {
    let mut running = Vec::new();
    let directory = root.path.join(DIRECTORY);
    if root.usable().is_err() {
        return running;
    }
    for _ in 0..MAX_LISTINGS {
        running.clear();
        let mut all = true;
        for path in files(&directory) {
            match look(&path) {
                Found::Watcher(watcher) => running.push(watcher),
                Found::Gone => all = false,
                Found::Dead | Found::Strange => {}
            }
        }
        if all {
            break;
        }
    }
    running
}

/// Whether a file in the directory was left by a watcher that is no more.
pub(crate) fn is_dead(path: &Path) -> bool {
    matches!(look(path), Found::Dead)
}

/// Removes what watchers left that are no more. What can't be removed is as dead as before.
fn remove_dead(directory: &Path) {
    for path in files(directory) {
        if is_dead(&path) || write::is_leftover(&path) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// What is in the directory, if it is to be trusted.
fn files(directory: &Path) -> Vec<PathBuf> {
    let trusted = fs::symlink_metadata(directory)
        .is_ok_and(|stat| stat.is_dir() && trust::check(&stat).is_ok());
    let listed = trusted.then(|| fs::read_dir(directory));
    let Some(Ok(listed)) = listed else {
        return Vec::new();
    };
    listed.flatten().map(|child| child.path()).collect()
}

fn look(path: &Path) -> Found {
    let Some(named) = path.file_name().and_then(process_of) else {
        return Found::Strange;
    };
    let ours = ours(); // until the file is closed again
    let is_file = match fs::symlink_metadata(path) {
        Ok(stat) => {
            let place = Place::of(&stat);
            if let Some((_, running)) = ours.iter().find(|(known, _)| *known == place) {
                return Found::Watcher(running.clone());
            }
            stat.is_file()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Found::Gone,
        Err(_) => false,
    };
    match is_file {
        true => look_into(path, named),
        false => Found::Strange,
    }
}

fn look_into(path: &Path, named: u32) -> Found {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    let file = match options
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Found::Gone,
        Err(_) => return Found::Strange,
    };
    let trusted = |file: &File| {
        let stat = file.metadata()?;
        Ok::<_, io::Error>(stat.is_file() && trust::check(&stat).is_ok())
    };
    if !trusted(&file).unwrap_or(false) {
        return Found::Strange;
    }
    match holder(&file) {
        Ok(Some(pid)) => {
            let kept = read(file).and_then(|text| parse(&text));
            let pid = pid.unwrap_or(named);
            kept.map_or(Found::Strange, |kept| Found::Watcher(Running { pid, kept }))
        }
        Ok(None) => match file.metadata() {
            // Taken back between the opening and the question.
            Ok(stat) if stat.nlink() == 0 => Found::Gone,
            _ => Found::Dead,
        },
        Err(_) => Found::Strange,
    }
}

/// Whether somebody holds the lock, and which process as this one knows it, if it does: it may be on
/// another machine, or in a container.
fn holder(file: &File) -> io::Result<Option<Option<u32>>> {
    // A lock for reading is stopped by those for writing alone, and all who can read may hold one.
    let lock = fcntl_getlk(file, &Flock::from(FlockType::ReadLock))?;
    Ok(lock.map(|lock| {
        let pid = lock.pid.map(|pid| pid.as_raw_nonzero().get());
        pid.and_then(|pid| u32::try_from(pid).ok())
    }))
}

fn lock(file: &File) -> io::Result<()> {
    fcntl_lock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        let advice =
            "its file system has no locks: allow them, or name another root with --cache-dir";
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{error}; {advice}"))
    })
}

fn ours() -> MutexGuard<'static, Vec<(Place, Running)>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forget(place: Place) {
    ours().retain(|(known, _)| *known != place);
}

/// The process in the name of a file, which is `PID-RANDOM`.
fn process_of(name: &OsStr) -> Option<u32> {
    let (pid, random) = name.to_str()?.split_once('-')?;
    let is_random = !random.is_empty() && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_number = pid.bytes().all(|byte| byte.is_ascii_digit());
    pid.parse().ok().filter(|_| is_random && is_number)
}

fn read(file: File) -> Option<String> {
    let mut text = String::new();
    let bound = MAX_BYTES as u64;
    file.take(bound + 1).read_to_string(&mut text).ok()?;
    (text.len() <= MAX_BYTES).then_some(text)
}

/// A line each. Path entries that have a mirror have no control characters, so none ends its line.
fn render(kept: &[(OsString, How)]) -> String {
    let mut text = format!("{MAGIC}\n");
    for (path_entry, how) in kept {
        let path_entry = path_entry.display();
        let line = match how {
            How::Events => format!("events {path_entry}\n"),
            How::Polled(every) => format!("poll {} {path_entry}\n", every.as_secs_f64()),
        };
        if text.len() + line.len() + END.len() < MAX_BYTES {
            text.push_str(&line);
        }
    }
    let _ = writeln!(text, "{END}"); // a string takes all
    text
}

/// What a file says; `None` if it is damaged, or of another version.
fn parse(text: &str) -> Option<Vec<(OsString, How)>> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let whole = lines.next() == Some(MAGIC) && lines.next_back() == Some(END);
    whole.then_some(())?;
    lines.map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(OsString, How)> {
    let (how, path_entry) = match line.split_once(' ')? {
        ("events", path_entry) => (How::Events, path_entry),
        ("poll", rest) => {
            let (seconds, path_entry) = rest.split_once(' ')?;
            let every = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
            (How::Polled(every), path_entry)
        }
        _ => return None,
    };
    let path_entry = PathEntry::new(path_entry);
    path_entry.cacheable().ok()?;
    Some((path_entry.as_os_str().to_owned(), how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    fn kept(path_entries: &[(&str, How)]) -> Vec<(OsString, How)> {
        let owned = |(path_entry, how): &(&str, How)| (path_entry.into(), *how);
        path_entries.iter().map(owned).collect()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let kept = kept(&[
            ("/a b/c", How::Events),
            ("/ü", How::Polled(Duration::from_secs(5))),
            ("/end", How::Polled(Duration::from_millis(250))),
        ]);
        let text = "epcache-watcher 1\nevents /a b/c\npoll 5 /ü\npoll 0.25 /end\nend\n";
        assert_eq!(render(&kept), text);
        assert_eq!(parse(text), Some(kept));
        assert_eq!(parse(&render(&[])), Some(Vec::new()));
    }

    #[test]
    fn a_damaged_file_says_nothing() {
        let whole = "epcache-watcher 1\nevents /a\npoll 5 /b\nend\n";
        assert!(parse(whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{:?}", &whole[..length]);
        }
        for line in [
            "events",
            "events ",
            "events a",
            "events /a/..",
            "poll /a",
            "poll -1 /a",
            "poll inf /a",
            "poll 1e30 /a",
            "poll NaN /a",
            "other /a",
            "",
            "end",
            "events /a\r",
        ] {
            let text = format!("epcache-watcher 1\n{line}\nend\n");
            assert_eq!(parse(&text), None, "{text:?}");
        }
        for text in [
            "epcache-watcher 2\nevents /a\nend\n",
            "epcache-watcher 1 \nevents /a\nend\n",
            "epcache-watcher 1\nevents /a\nend\nevents /b\n",
            "epcache-watcher 1\nevents /aend\n",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_does_not_fit_in_is_left_out() {
        let long = format!("/{}", "x".repeat(4000));
        let many = vec![(OsString::from(long), How::Events); 1000];
        let text = render(&many);
        assert!(text.len() <= MAX_BYTES);
        let read = parse(&text).map(|kept| kept.len());
        assert_eq!(
            read,
            Some(MAX_BYTES / "events /".len().saturating_add(4001))
        );
    }

    #[test]
    fn a_name_tells_the_process_or_is_none() {
        assert_eq!(process_of(OsStr::new("12-aB3")), Some(12));
        for name in [
            "12",
            "12-",
            "-a",
            "+1-a",
            "a-1",
            "12-a.b",
            "12-a-b",
            "99999999999-a",
            "",
        ] {
            assert_eq!(process_of(OsStr::new(name)), None, "{name:?}");
        }
        assert_eq!(process_of(OsStr::from_bytes(b"1-\xff")), None);
    }

    #[test]
    fn without_locks_the_error_says_so() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let file = scratch.path().join("file");
        fs::write(&file, "")?;
        // As a file system without locks, a file that can't be written refuses.
        let error = lock(&File::open(&file)?).map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("no locks")));
        Ok(())
    }
}
