//! What a path entry holds: its dists in CPython's order, the text of each, and the stamps by which
//! one can tell later that they are unchanged.
//!
//! This reads sources and nothing else; it knows of no cache. Nothing found is imported or executed,
//! and nothing that is no regular file is ever read.

mod check;
mod source;

pub(crate) use check::{Below, Check, What};
pub use source::MAX_SOURCE;

use crate::archive::{Archive, Member};
use crate::dist;
use crate::headers;
use crate::parse::{Entry, parse};
use crate::path_entry::PathEntry;
use crate::problem::{Problem, ProblemKind};
use crate::stamp::Stamp;
use crate::walk::Place;
use source::{NotRead, Source};
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::SystemTime;

/// What the dists of one path entry may declare together, counted as [`cost`] does: some hundred
/// times what the largest environments do.
const MAX_COST: u64 = 256 << 20;

/// What an entry costs beside its text: about what it takes in memory.
const COST_OF_AN_ENTRY: u64 = 64;

/// So many files of a metadata directory are looked at; the largest have some hundred. There may be
/// many links to one that was filled to keep us busy.
pub const MAX_FILES: usize = 1000;

/// So many bad lines of a text are named; of a million, the rest is counted.
const MAX_TOLD: usize = 10;

/// The name of the file that declares entry points.
pub(crate) const ENTRY_POINTS: &str = "entry_points.txt";

/// A path entry, opened and listed.
pub(crate) struct Contents {
    /// What a `stat` said before it was listed.
    stat: Metadata,
    archive: Option<Archive>,
    dists: Vec<OsString>,
    /// What is left of [`MAX_COST`].
    budget: Cell<u64>,
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

impl Contents {
    /// Opens and lists a path entry.
    ///
    /// `Err` says in words why there is nothing, for CPython and for us: it is not there, can't be
    /// listed, or is no zip.
    pub(crate) fn of(path_entry: &PathEntry) -> Result<Self, String> {
        let in_egg = dist::is_egg(path_entry.bytes());
        let (contents, file) = Self::open(path_entry)?;
        let names = match &contents.archive {
            Some(archive) => archive
                .children()
                .iter()
                .cloned()
                .map(String::into_bytes)
                .collect(),
            None => list(&file).map_err(|error| error.to_string())?,
        };
        Ok(Self {
            dists: in_order(names, in_egg),
            ..contents
        })
    }

    /// Opens a path entry whose dists are known already.
    pub(crate) fn unlisted(path_entry: &PathEntry) -> Result<Self, String> {
        Self::open(path_entry).map(|(contents, _)| contents)
    }

    fn open(path_entry: &PathEntry) -> Result<(Self, File), String> {
        let said = |error: io::Error| error.to_string();
        let location = path_entry.location();
        let found = std::fs::metadata(location).map_err(said)?;
        if !found.is_dir() && !found.is_file() {
            return Err(NO_PATH_ENTRY.to_owned());
        }
        let file = source::open(location).map_err(said)?;
        let stat = file.metadata().map_err(said)?;
        if !path_entry.contains(location, &stat) {
            return Err(ProblemKind::LeavesRoot.to_string());
        }
        let archive = match stat.is_dir() {
            true => None,
            false => {
                let zip = stat.is_file().then(|| file.try_clone().ok()).flatten();
                Some(zip.and_then(Archive::open).ok_or(NO_PATH_ENTRY)?)
            }
        };
        let budget = Cell::new(MAX_COST);
        Ok((
            Self {
                stat,
                archive,
                dists: Vec::new(),
                budget,
            },
            file,
        ))
    }

    /// The names of the metadata directories, in CPython's order.
    pub(crate) fn dists(&self) -> &[OsString] {
        &self.dists
    }

    /// The stamp of the path entry, taken before it was listed.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::of_directory(&self.stat)
    }

    /// Which directory or file was listed.
    pub(crate) fn place(&self) -> Place {
        Place::of(&self.stat)
    }

    pub(crate) fn is_archive(&self) -> bool {
        self.archive.is_some()
    }

    /// Reads one of the dists.
    pub(crate) fn read(&self, path_entry: &PathEntry, metadata_dir: &OsStr) -> Dist {
        let path = path_entry.location().join(metadata_dir);
        match &self.archive {
            Some(archive) => self.read_archive(archive, &path, metadata_dir),
            None => self.read_directory(path_entry, &path, metadata_dir),
        }
    }

    fn read_directory(&self, path_entry: &PathEntry, path: &Path, metadata_dir: &OsStr) -> Dist {
        let mut reading = Reading::new();
        let file = path.join(ENTRY_POINTS);
        let name = dist::name_in(metadata_dir.as_bytes());
        let source = reading.source(path_entry, &file, What::EntryPoints);
        let mut modified = source
            .as_ref()
            .and_then(|source| source.stat.modified().ok());
        if source.is_none() || name.is_none() {
            match std::fs::metadata(path) {
                Ok(stat) => {
                    reading.check(
                        What::Directory,
                        Stamp::of_directory(&stat),
                        Place::of(&stat),
                    );
                    modified = modified.or(stat.modified().ok());
                }
                // A dangling link counts as a dist, and what it leads to may come into being unseen.
                Err(_) => reading.read_each_time(),
            }
        }
        let normalized_name = name.or_else(|| name_from_files(&mut reading, path_entry, path));
        let text = source.map(|source| source.text);
        let text = self.affordable(&mut reading, text, &file);
        Dist {
            metadata_dir: metadata_dir.to_owned(),
            normalized_name,
            text,
            modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
            checks: reading.checks,
            problems: reading.problems,
        }
    }

    fn read_archive(&self, archive: &Archive, path: &Path, metadata_dir: &OsStr) -> Dist {
        // The stamp of a zip is its path entry's own: there is nothing to check for a single dist.
        let mut reading = Reading::new();
        let child = metadata_dir.to_str().unwrap_or_default();
        let name = match archive.is_directory(child) {
            true => None,
            false => dist::name_in(child.as_bytes()),
        };
        let normalized_name =
            name.or_else(|| name_from_members(&mut reading, archive, path, child));
        let file = path.join(ENTRY_POINTS);
        let text = reading.member(archive, &format!("{child}/{ENTRY_POINTS}"), &file);
        let text = self.affordable(&mut reading, text, &file);
        Dist {
            metadata_dir: metadata_dir.to_owned(),
            normalized_name,
            text,
            modified: archive.mtime,
            checks: reading.checks,
            problems: reading.problems,
        }
    }

    /// A text, if the budget of the path entry is not used up. Notes what is wrong with it.
    fn affordable(
        &self,
        reading: &mut Reading,
        text: Option<Vec<u8>>,
        file: &Path,
    ) -> Option<Vec<u8>> {
        let text = text?;
        let left = self.budget.get();
        // What is too long by itself is not parsed: there may be many links to it.
        let affordable = (text.len() as u64 <= left).then(|| cost(&text));
        let Some(left) = affordable.and_then(|cost| left.checked_sub(cost)) else {
            reading.problem(file, ProblemKind::TooMuch);
            return None;
        };
        self.budget.set(left);
        let problems = problems_of_text(&text, file);
        if !problems.is_empty() {
            reading.read_each_time(); // so that it is said each time
        }
        reading.problems.extend(problems);
        Some(text)
    }
}

impl Dist {
    /// The entries that it declares, by group, name and value, in the order of the file.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
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

/// What a text costs: its bytes, and those of its entries once each has its group, with
/// [`COST_OF_AN_ENTRY`].
fn cost(text: &[u8]) -> u64 {
    let entries = std::str::from_utf8(text)
        .map(parse)
        .into_iter()
        .flatten()
        .flatten();
    let bytes =
        entries.map(|e| (e.group.len() + e.name.len() + e.value.len()) as u64 + COST_OF_AN_ENTRY);
    bytes.fold(text.len() as u64, u64::saturating_add)
}

/// Why a path entry holds nothing.
const NO_PATH_ENTRY: &str = "neither a directory nor a zip file";

/// `os.listdir`: in the order of the directory; an error in the middle is an error of the listing.
fn list(directory: &File) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for child in rustix::fs::Dir::read_from(directory)? {
        let name = child?.file_name().to_bytes().to_owned();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
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
    fn new() -> Self {
        Self {
            checks: Some(Vec::new()),
            problems: Vec::new(),
        }
    }

    fn check(&mut self, what: What, stamp: Stamp, place: Place) {
        if let Some(checks) = &mut self.checks {
            let place = Some(place);
            checks.push(Check { what, stamp, place });
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

    /// Takes a file's text, or notes why there is none.
    fn source(&mut self, path_entry: &PathEntry, path: &Path, what: What) -> Option<Source> {
        match source::read(path_entry, path) {
            Ok(source) => {
                self.check(what, Stamp::of_file(&source.stat), Place::of(&source.stat));
                return Some(source);
            }
            Err(NotRead::Absent) => {}
            Err(NotRead::Problem(kind)) => self.problem(path, kind),
            Err(NotRead::Failed(error)) => {
                self.problem(path, ProblemKind::Unreadable(error.to_string()));
            }
        }
        None
    }

    /// Takes a zip member's text, or notes why there is none.
    fn member(&mut self, archive: &Archive, name: &str, path: &Path) -> Option<Vec<u8>> {
        match archive.read(name, MAX_SOURCE) {
            Member::Text(text) => return Some(text),
            Member::Absent => {}
            Member::TooLarge(size) => self.problem(path, ProblemKind::TooLarge(size)),
            Member::Failed(error) => self.problem(path, ProblemKind::Unreadable(error)),
        }
        None
    }
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
        let Some(source) = reading.source(path_entry, &file, what) else {
            continue;
        };
        if !source.text.is_empty() {
            return name_in_text(reading, &source.text, &file);
        }
    }
    reading.problem(path, ProblemKind::NoName);
    None
}

/// The same of a zip.
fn name_from_members(
    reading: &mut Reading,
    archive: &Archive,
    path: &Path,
    child: &str,
) -> Option<Vec<u8>> {
    for file in ["METADATA", "PKG-INFO"] {
        let text = reading.member(archive, &format!("{child}/{file}"), &path.join(file));
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            return name_in_text(reading, &text, &path.join(file));
        }
    }
    match reading
        .member(archive, child, path)
        .filter(|text| !text.is_empty())
    {
        Some(text) => name_in_text(reading, &text, path),
        None => {
            reading.problem(path, ProblemKind::NoName);
            None
        }
    }
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

/// The stamp of a path entry, and whether it is a directory or file at all; `None` if it is not
/// there.
pub(crate) fn stamp_of(path_entry: &PathEntry) -> Option<Stamp> {
    std::fs::metadata(path_entry.location())
        .ok()
        .map(|stat| Stamp::of_directory(&stat))
}

/// Whether the metadata directory is one that dpkg is unpacking into: it renames its `*.dpkg-new`
/// files when all are there, up to half a second later. Of one that [`has_many_files`], this is not
/// known.
pub(crate) fn is_being_unpacked(metadata_dir: &Path) -> bool {
    std::fs::read_dir(metadata_dir).is_ok_and(|files| {
        let mut looked_at = files.flatten().take(MAX_FILES);
        looked_at.any(|file| file.file_name().as_bytes().ends_with(b".dpkg-new"))
    })
}

/// Whether there are more than [`MAX_FILES`] in a metadata directory.
pub(crate) fn has_many_files(metadata_dir: &Path) -> bool {
    std::fs::read_dir(metadata_dir).is_ok_and(|files| files.flatten().nth(MAX_FILES).is_some())
}

/// Whether the metadata directory is a `.dist-info` without `RECORD`, the file that installers write
/// when all others are there.
///
/// Source: <https://packaging.python.org/specifications/recording-installed-packages/>.
pub(crate) fn has_no_record(metadata_dir: &Path) -> bool {
    let name = metadata_dir.as_os_str().as_bytes();
    dist::ends_with_ignoring_case(name, b".dist-info") && !metadata_dir.join("RECORD").exists()
}
