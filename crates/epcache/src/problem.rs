//! What is wrong with something found on a path entry: left out of the answer, and said.

use std::fmt;
use std::path::PathBuf;

/// Something on a path entry that can't be read as it should be, and what was left out for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong; see [`ProblemKind::is_silent_in_cpython`] for the two sorts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A line in a section without `=`; the line is left out.
    NoEqualsSign,
    /// So many more such lines, which are left out too.
    MoreWithoutEqualsSign(usize),
    /// Not UTF-8; the text is left out.
    NotUtf8,
    /// No regular file, but this; the text is left out, and never waited for.
    Special(&'static str),
    /// Larger than [`crate::scan::MAX_SOURCE`]; this many bytes. The text is left out.
    TooLarge(u64),
    /// The dists before it declare as much as is read of one path entry; the text is left out.
    TooMuch,
    /// Reading failed in a way on which CPython raises; the text is left out.
    Unreadable(String),
    /// The normalized name is nowhere to be found: the dist shadows none and is shadowed by none.
    NoName,
    /// A directory where a file should be; the dist declares nothing.
    Directory,
    /// A symbolic link to nothing; the dist declares nothing.
    DanglingLink,
    /// Not readable by this user; the dist declares nothing.
    PermissionDenied,
    /// A metadata directory with more than [`crate::scan::MAX_FILES`] files, so that it can't be told
    /// whether all are there; its source is read each time.
    ManyFiles,
    /// Leads out of the directory that was given as the root of the file system; left out.
    LeavesRoot,
    /// Not everybody may read the path entry, and what root writes is for all.
    NotForAll,
    /// Mode `only` found neither index nor mirror file that says what this dist declares.
    NotMirrored,
}

impl ProblemKind {
    /// Whether CPython too passes it over in silence: then nobody misses anything in the answer,
    /// and only `epcache status` and `sync` tell of it.
    pub fn is_silent_in_cpython(&self) -> bool {
        matches!(
            self,
            Self::Directory | Self::DanglingLink | Self::PermissionDenied | Self::ManyFiles
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEqualsSign => f.write_str("a line without '=' is left out (importlib.metadata fails on it); reinstall or report the package"),
            Self::MoreWithoutEqualsSign(lines) => write!(f, "{lines} more lines without '=' are left out"),
            Self::NotUtf8 => f.write_str("not UTF-8, left out (importlib.metadata fails on it); reinstall or report the package"),
            Self::Special(what) => write!(f, "{what} instead of a regular file, left out; remove it"),
            Self::TooLarge(bytes) => write!(f, "{bytes} bytes are more than the {} that are read, left out", crate::scan::MAX_SOURCE),
            Self::TooMuch => f.write_str("left out: the distributions before it declare as much as is read of one path entry"),
            Self::Unreadable(error) => write!(f, "can't be read, left out: {error}"),
            Self::NoName => f.write_str("no METADATA or PKG-INFO gives the name of this distribution (importlib.metadata fails on it); remove or reinstall it"),
            Self::Directory => f.write_str("a directory instead of a file; the distribution declares nothing"),
            Self::DanglingLink => f.write_str("a symbolic link to nothing; the distribution declares nothing"),
            Self::PermissionDenied => f.write_str("not readable; for you the distribution declares nothing"),
            Self::ManyFiles => write!(f, "more than {} files, so that it is read from the source each time; report the package", crate::scan::MAX_FILES),
            Self::LeavesRoot => f.write_str("leads out of the given root directory, left out"),
            Self::NotForAll => f.write_str("not everybody may read the path entry, so nothing of it is published"),
            Self::NotMirrored => f.write_str("neither index nor mirror file says what it declares (mode 'only'); run 'epcache sync'"),
        }
    }
}
