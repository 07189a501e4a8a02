//! What a path entry holds: its dists in CPython's order, the text of each, and the stamps by which
//! one can tell later that they are unchanged.
//!
//! This reads sources and nothing else; it knows of no cache. Nothing found is imported or executed,
//! and nothing that is no regular file is ever opened.

use crate::archive::{Archive, Member};
use crate::dist;
use crate::headers;
use crate::parse::parse;
use crate::path_entry::PathEntry;
use crate::problem::{Problem, ProblemKind};
use crate::stamp::Stamp;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The largest source that is read, in bytes: a hundred times the largest known
/// `entry_points.txt`, and still read in an instant.
pub const MAX_SOURCE: u64 = 8 << 20;

/// So many bad lines of a text are named; of a million, the rest is counted.
const MAX_TOLD: usize = 10;

/// The name of the file that declares entry points.
pub(crate) const ENTRY_POINTS: &str = "entry_points.txt";

/// What a path entry holds.
pub(crate) enum Contents {
    Directory(Vec<OsString>),
    Archive(Archive, Vec<OsString>),
    /// Nothing, for CPython and for us: it is not there, can't be listed, or is no zip.
    Nothing(String),
}

/// One dist, read from its source.
pub(crate) struct Dist {
    pub(crate) metadata_dir: OsString,
    /// `None` where it is nowhere to be found; see [`ProblemKind::NoName`].
    pub(crate) normalized_name: Option<Vec<u8>>,
    /// The bytes of its `entry_points.txt`, if it has one that can be read.
    pub(crate) text: Option<Vec<u8>>,
    pub(crate) modified: SystemTime,
    /// By what to tell that it is unchanged; `None` if nothing could: read it each time.
    pub(crate) checks: Option<Vec<Check>>,
    pub(crate) problems: Vec<Problem>,
}

/// One file or directory of a dist, and the stamp that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) what: What,
    pub(crate) stamp: Stamp,
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
        })
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

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.what.letter(), self.stamp)
    }
}

impl Contents {
    /// Lists a path entry. Never fails: what CPython finds empty is [`Contents::Nothing`].
    pub(crate) fn of(path_entry: &PathEntry) -> Self {
        let location = path_entry.location();
        if path_entry.leaves_root(location) {
            return Self::Nothing(ProblemKind::LeavesRoot.to_string());
        }
        let in_egg = dist::is_egg(path_entry.bytes());
        match list_directory(location) {
            Ok(names) => Self::Directory(in_order(names, in_egg)),
            Err(error) if error.kind() == ErrorKind::NotADirectory => match open_zip(location) {
                Some(archive) => {
                    let names = archive.children().iter().cloned().map(String::into_bytes);
                    let names = in_order(names.collect(), in_egg);
                    Self::Archive(archive, names)
                }
                None => Self::Nothing("neither a directory nor a zip file".to_owned()),
            },
            Err(error) => Self::Nothing(error.to_string()),
        }
    }

    /// The names of the metadata directories, in CPython's order.
    pub(crate) fn dists(&self) -> &[OsString] {
        match self {
            Self::Directory(dists) | Self::Archive(_, dists) => dists,
            Self::Nothing(_) => &[],
        }
    }

    /// Reads one of them.
    pub(crate) fn read(&self, path_entry: &PathEntry, metadata_dir: &OsStr) -> Dist {
        let path = path_entry.location().join(metadata_dir);
        match self {
            Self::Archive(archive, _) => from_archive(archive, path, metadata_dir),
            Self::Directory(_) | Self::Nothing(_) => from_directory(path_entry, path, metadata_dir),
        }
    }
}

impl Dist {
    /// The entries that it declares, by group, name and value, in the order of the file.
    pub(crate) fn entries(&self) -> impl Iterator<Item = crate::parse::Entry<'_>> {
        let text = self
            .text
            .as_deref()
            .and_then(|text| std::str::from_utf8(text).ok());
        parse(text.unwrap_or_default()).flatten()
    }
}

/// The problems of a text: none, or that it is not UTF-8, or its lines that are no entries, of
/// which no more than [`MAX_TOLD`] are named one by one.
pub(crate) fn problems_of_text(text: &[u8], path: &Path) -> Vec<Problem> {
    let problem = |line, kind| Problem {
        path: path.to_owned(),
        line,
        kind,
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return vec![problem(None, ProblemKind::NotUtf8)];
    };
    let mut bad = parse(text).filter_map(Result::err);
    let told = bad.by_ref().take(MAX_TOLD);
    let mut problems: Vec<_> = told
        .map(|bad| problem(Some(bad.line), ProblemKind::NoEqualsSign))
        .collect();
    match bad.count() {
        0 => {}
        more => problems.push(problem(None, ProblemKind::MoreWithoutEqualsSign(more))),
    }
    problems
}

/// `os.listdir`: an error in the middle of a listing is an error of the listing.
fn list_directory(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    std::fs::read_dir(path)?
        .map(|child| Ok(child?.file_name().into_vec()))
        .collect()
}

fn open_zip(path: &Path) -> Option<Archive> {
    check_regular(&std::fs::metadata(path).ok()?).ok()?;
    let (file, _) = open_regular(path).ok()?;
    Archive::open(file)
}

fn in_order(mut names: Vec<Vec<u8>>, in_egg: bool) -> Vec<OsString> {
    names.retain(|name| dist::is_dist(name, in_egg));
    dist::in_order(names)
        .into_iter()
        .map(OsString::from_vec)
        .collect()
}

/// A dist in the making, whose problems and checks come together file by file.
struct Reading {
    checks: Option<Vec<Check>>,
    problems: Vec<Problem>,
}

impl Reading {
    fn check(&mut self, what: What, stamp: Stamp) {
        if let Some(checks) = &mut self.checks {
            checks.push(Check { what, stamp });
        }
    }

    /// Something that no stamp can vouch for, or that is to be said each time.
    fn read_each_time(&mut self) {
        self.checks = None;
    }

    fn problem(&mut self, path: &Path, kind: ProblemKind) {
        self.problems.push(Problem {
            path: path.to_owned(),
            line: None,
            kind,
        });
        self.read_each_time();
    }

    /// Takes a file's text, or says why there is none.
    fn text(
        &mut self,
        path_entry: &PathEntry,
        path: &Path,
        what: What,
    ) -> Option<(Vec<u8>, Metadata)> {
        match read_source(path_entry, path) {
            Ok((text, stat, stamp)) => {
                self.check(what, stamp);
                return Some((text, stat));
            }
            Err(NotRead::Absent) => {}
            Err(NotRead::Problem(kind)) => self.problem(path, kind),
            Err(NotRead::Failed(error)) => {
                self.problem(path, ProblemKind::Unreadable(error.to_string()));
            }
        }
        None
    }
}

fn from_directory(path_entry: &PathEntry, path: PathBuf, metadata_dir: &OsStr) -> Dist {
    let mut reading = Reading {
        checks: Some(Vec::new()),
        problems: Vec::new(),
    };
    let file = path.join(ENTRY_POINTS);
    let name = dist::name_in(metadata_dir.as_bytes());
    let text = reading.text(path_entry, &file, What::EntryPoints);
    let directory = (text.is_none() || name.is_none()).then(|| std::fs::metadata(&path));
    match &directory {
        Some(Ok(stat)) => reading.check(What::Directory, Stamp::of_directory(stat)),
        // A dangling link counts as a dist, and what it leads to may come into being unseen.
        Some(Err(_)) => reading.read_each_time(),
        None => {}
    }
    let modified = text
        .as_ref()
        .map(|(_, stat)| stat)
        .or(directory.as_ref().and_then(|stat| stat.as_ref().ok()));
    let modified = modified
        .and_then(|stat| stat.modified().ok())
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let normalized_name = name.or_else(|| name_from_files(&mut reading, path_entry, &path));
    finish(
        reading,
        metadata_dir,
        normalized_name,
        text.map(|(text, _)| text),
        modified,
        &file,
    )
}

/// `Distribution.metadata`: METADATA, or else PKG-INFO, or else the `.egg-info` file itself; an
/// empty one counts as none.
fn name_from_files(reading: &mut Reading, path_entry: &PathEntry, path: &Path) -> Option<Vec<u8>> {
    let files = [
        (What::Metadata, path.join("METADATA")),
        (What::PkgInfo, path.join("PKG-INFO")),
        (What::Directory, path.to_owned()),
    ];
    for (what, file) in files {
        if what == What::Directory && !std::fs::metadata(&file).is_ok_and(|stat| stat.is_file()) {
            break; // a directory, as it should be, is no text
        }
        let Some((text, _)) = reading.text(path_entry, &file, what) else {
            continue;
        };
        if !text.is_empty() {
            return name_in_text(reading, &text, &file);
        }
    }
    reading.problem(path, ProblemKind::NoName);
    None
}

fn name_in_text(reading: &mut Reading, text: &[u8], file: &Path) -> Option<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(text) else {
        reading.problem(file, ProblemKind::NotUtf8);
        return None;
    };
    let name = headers::name(text);
    if name.is_none() {
        reading.problem(file, ProblemKind::NoName);
    }
    name.map(|name| dist::normalize(name.as_bytes()))
}

fn from_archive(archive: &Archive, path: PathBuf, metadata_dir: &OsStr) -> Dist {
    // The stamp of a zip is its path entry's own: there is nothing to check for a single dist.
    let mut reading = Reading {
        checks: Some(Vec::new()),
        problems: Vec::new(),
    };
    let child = metadata_dir.to_str().unwrap_or_default();
    let member = |reading: &mut Reading, file: &str| {
        let name = if file.is_empty() {
            child.to_owned()
        } else {
            format!("{child}/{file}")
        };
        let kind = match archive.read(&name, MAX_SOURCE) {
            Member::Text(text) => return Some(text),
            Member::Absent | Member::Directory => return None,
            Member::TooLarge(size) => ProblemKind::TooLarge(size),
            Member::Failed(error) => ProblemKind::Unreadable(error),
        };
        reading.problem(&path.join(file), kind);
        None
    };
    let name = (!archive.is_directory(child))
        .then(|| dist::name_in(child.as_bytes()))
        .flatten();
    let normalized_name = name.or_else(|| {
        let files = ["METADATA", "PKG-INFO", ""];
        let found = files.iter().find_map(|file| {
            Some((
                file,
                member(&mut reading, file).filter(|text| !text.is_empty())?,
            ))
        });
        match found {
            Some((file, text)) => name_in_text(&mut reading, &text, &path.join(file)),
            None => {
                reading.problem(&path, ProblemKind::NoName);
                None
            }
        }
    });
    let text = member(&mut reading, ENTRY_POINTS);
    finish(
        reading,
        metadata_dir,
        normalized_name,
        text,
        archive.mtime,
        &path.join(ENTRY_POINTS),
    )
}

fn finish(
    mut reading: Reading,
    metadata_dir: &OsStr,
    normalized_name: Option<Vec<u8>>,
    text: Option<Vec<u8>>,
    modified: SystemTime,
    file: &Path,
) -> Dist {
    if let Some(text) = &text {
        let problems = problems_of_text(text, file);
        if !problems.is_empty() {
            reading.read_each_time(); // so that it is said each time
        }
        reading.problems.extend(problems);
    }
    Dist {
        metadata_dir: metadata_dir.to_owned(),
        normalized_name,
        text,
        modified,
        checks: reading.checks,
        problems: reading.problems,
    }
}

/// Why there is no text.
enum NotRead {
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

/// Reads a source with the stamp by which to know it again.
fn read_source(path_entry: &PathEntry, path: &Path) -> Result<(Vec<u8>, Metadata, Stamp), NotRead> {
    let link = std::fs::symlink_metadata(path)?;
    if path_entry.leaves_root(path) {
        return Err(NotRead::Problem(ProblemKind::LeavesRoot));
    }
    if link.is_symlink() {
        match std::fs::metadata(path).map_err(NotRead::from) {
            Err(NotRead::Absent) => return Err(NotRead::Problem(ProblemKind::DanglingLink)),
            target => check_regular(&target?)?,
        }
    } else {
        check_regular(&link)?;
    }
    let (mut file, stat) = open_regular(path)?;
    if stat.len() > MAX_SOURCE {
        return Err(NotRead::Problem(ProblemKind::TooLarge(stat.len())));
    }
    let mut text = Vec::with_capacity(stat.len() as usize + 1); // at most MAX_SOURCE
    (&mut file).take(MAX_SOURCE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_SOURCE {
        return Err(NotRead::Problem(ProblemKind::TooLarge(text.len() as u64)));
    }
    let stamp = if link.is_symlink() {
        Stamp::of_linked_file(&stat)
    } else {
        Stamp::of_file(&stat)
    };
    Ok((text, stat, stamp))
}

/// Opens what was found to be a regular file: a FIFO would be waited on, and opening a device can
/// have effects. What has taken its place meanwhile is not waited on either, and not read.
fn open_regular(path: &Path) -> Result<(File, Metadata), NotRead> {
    let nonblocking = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking as i32)
        .open(path)?;
    let stat = file.metadata()?;
    check_regular(&stat)?;
    Ok((file, stat))
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

/// The stamp of a path entry, and whether it is a directory or file at all; `None` if it is not
/// there.
pub(crate) fn stamp_of(path_entry: &PathEntry) -> Option<Stamp> {
    std::fs::metadata(path_entry.location())
        .ok()
        .map(|stat| Stamp::of_directory(&stat))
}

/// Whether the metadata directory is one that dpkg is unpacking into: it renames its `*.dpkg-new`
/// files when all are there, up to half a second later.
pub(crate) fn is_being_unpacked(metadata_dir: &Path) -> bool {
    std::fs::read_dir(metadata_dir).is_ok_and(|files| {
        files
            .flatten()
            .any(|file| file.file_name().as_bytes().ends_with(b".dpkg-new"))
    })
}
