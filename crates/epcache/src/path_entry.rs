//! A path entry: one item of `sys.path`, as the string that CPython sees and the place where it is.

use crate::claim;
use crate::dist;
use crate::index;
use crate::text::is_plain;
use crate::walk::{Place, walk};
use crate::watchers;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One item of `sys.path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEntry {
    string: OsString,
    location: PathBuf,
    root: Option<PathBuf>,
}

/// Why a path entry has no mirror and is read from the source each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCached {
    /// Empty or relative: it means another directory whenever the current one changes.
    Relative,
    /// `.`, `..`, doubled or trailing slashes: CPython decides by the string, and a mirror must
    /// never lie outside its root.
    NotNormal,
    /// A part of it is named as a file in a mirror is, which is where its mirror would be.
    NameOfACache,
    /// Not UTF-8, or with control characters.
    OddCharacters,
}

impl NotCached {
    /// The reason in words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Relative => "not an absolute path",
            Self::NotNormal => "not in normal form ('.', '..', a doubled or trailing slash)",
            Self::NameOfACache => "a part of it is named like a file of a cache",
            Self::OddCharacters => "not UTF-8, or has control characters",
        }
    }
}

impl PathEntry {
    /// An item of `sys.path`, verbatim. `""` is the current directory, as for CPython.
    pub fn new(string: impl Into<OsString>) -> Self {
        let string = string.into();
        let location = PathBuf::from(if string.is_empty() {
            OsStr::new(".")
        } else {
            &string
        });
        Self {
            string,
            location,
            root: None,
        }
    }

    /// An item of the `sys.path` of a system whose root directory is `root`: it keeps its name and
    /// is looked for below `root`. Nothing that leads out of there is followed.
    pub fn within(root: &Path, string: impl Into<OsString>) -> Self {
        let string = string.into();
        let below = Path::new(&string)
            .strip_prefix("/")
            .unwrap_or(Path::new(&string));
        Self {
            location: root.join(below),
            root: Some(root.to_owned()),
            string,
        }
    }

    /// The string on `sys.path`.
    pub fn as_os_str(&self) -> &OsStr {
        &self.string
    }

    /// Where it is on this file system.
    pub fn location(&self) -> &Path {
        &self.location
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.string.as_bytes()
    }

    /// Whether what was opened at `path`, and has this `stat`, lies within the root that was given,
    /// if one was.
    pub(crate) fn contains(&self, path: &Path, stat: &Metadata) -> bool {
        let Some(root) = &self.root else { return true };
        let (Ok(root), Ok(real)) = (root.canonicalize(), path.canonicalize()) else {
            return false;
        };
        let found = || walk(&real, |_, _| true).map(|found| Place::of(&found));
        real.starts_with(root) && found() == Some(Place::of(stat))
    }

    /// The string, if this path entry can have a mirror.
    ///
    /// # Errors
    /// The reason why it has none.
    pub fn cacheable(&self) -> Result<&str, NotCached> {
        let path = self
            .string
            .to_str()
            .filter(|path| is_plain(path.as_bytes()))
            .ok_or(NotCached::OddCharacters)?;
        let below = path.strip_prefix('/').ok_or(NotCached::Relative)?;
        if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(NotCached::NotNormal);
        }
        if below.split('/').any(is_of_a_cache) {
            return Err(NotCached::NameOfACache);
        }
        Ok(path)
    }
}

fn is_of_a_cache(part: &str) -> bool {
    let directories = [watchers::DIRECTORY, ".interpreters"];
    let files = [index::FILE_NAME, claim::FILE_NAME];
    let reserved =
        directories.contains(&part) || files.contains(&part) || part.starts_with(".tmp-");
    reserved || dist::mirrored(part.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_in_normal_form_are_cached() {
        let cacheable = |path: &str| PathEntry::new(path).cacheable().map(str::to_owned);
        assert_eq!(cacheable("/a/b.egg"), Ok("/a/b.egg".into()));
        assert_eq!(cacheable("/a/..b/.c"), Ok("/a/..b/.c".into()));
        for relative in ["", "a", "./a", "../a"] {
            assert_eq!(
                cacheable(relative),
                Err(NotCached::Relative),
                "{relative:?}"
            );
        }
        for odd in ["/", "//a", "/a/", "/a//b", "/a/./b", "/a/../b", "/a/.."] {
            assert_eq!(cacheable(odd), Err(NotCached::NotNormal), "{odd:?}");
        }
        for name in [
            "/a/.index",
            "/.tmp-1/b",
            "/a/.refresh/b",
            "/a/six-1.dist-info.txt",
            "/.interpreters",
            "/.watchers/a",
        ] {
            assert_eq!(cacheable(name), Err(NotCached::NameOfACache), "{name:?}");
        }
        assert_eq!(cacheable("/a\nb"), Err(NotCached::OddCharacters));
        assert_eq!(
            PathEntry::new(OsStr::from_bytes(b"/a\xff")).cacheable(),
            Err(NotCached::OddCharacters)
        );
    }
}
