//! Site directories and their `.pth` files: what `site.addsitedir` would append to `sys.path`.
//!
//! The rules are those of CPython's `Lib/site.py`; where 3.10 to 3.14 differ, the base
//! interpreter's own `site.py` tells which hold (see [`SitePy`]). Lines that `site` would execute
//! are skipped: nothing found on a path entry is ever run.

use std::{collections::HashSet, ffi::OsString, fs, os::unix::ffi::OsStringExt, path::Path};

use super::{
    posixpath::{as_path, is_space, join},
    read::{self, Small},
    site_py::SitePy,
    surroundings::Surroundings,
    undecided::Undecided,
};

/// The largest `.pth` file that is read. Real ones have a few lines; CPython has no bound, so the
/// interpreter is asked where one is larger.
pub(super) const MAX_PTH_BYTES: u64 = 8 << 20;

/// A `sys.path` while `site` builds it: the strings in order, and which are known.
#[derive(Debug)]
pub(super) struct SearchPath<'a> {
    entries: Vec<Vec<u8>>,
    known: HashSet<Vec<u8>>,
    site_py: &'a SitePy,
    surroundings: &'a Surroundings,
}

impl<'a> SearchPath<'a> {
    /// What `site.removeduppaths` leaves of the interpreter's initial path.
    pub(super) fn new(
        initial: &[Vec<u8>],
        site_py: &'a SitePy,
        surroundings: &'a Surroundings,
    ) -> Result<SearchPath<'a>, Undecided> {
        let mut path = SearchPath {
            entries: Vec::new(),
            known: HashSet::new(),
            site_py,
            surroundings,
        };
        for entry in initial {
            let entry = path.absolute(entry)?;
            path.append(entry);
        }
        Ok(path)
    }

    /// `if os.path.isdir(directory): site.addsitedir(directory)`.
    pub(super) fn add_site_directory(&mut self, directory: &[u8]) -> Result<(), Undecided> {
        let directory = self.absolute(directory)?;
        if !as_path(&directory).is_dir() {
            return Ok(());
        }
        self.append(directory.clone());
        for name in pth_names(as_path(&directory)) {
            if name.starts_with(b".") && self.site_py.skips_hidden_pth()? {
                continue;
            }
            self.add_pth_file(&directory, &name)?;
        }
        Ok(())
    }

    /// The finished path.
    pub(super) fn into_entries(self) -> Vec<OsString> {
        self.entries.into_iter().map(OsString::from_vec).collect()
    }

    /// `site.addpackage`: a `.pth` file that can't be read is nothing.
    fn add_pth_file(&mut self, directory: &[u8], name: &[u8]) -> Result<(), Undecided> {
        let file = join(directory, name);
        if is_flagged_hidden(as_path(&file)) && self.site_py.skips_flagged_pth()? {
            return Ok(());
        }
        let content = match read::small(as_path(&file), MAX_PTH_BYTES) {
            Ok(Small::Content(content)) => content,
            Ok(Small::TooLarge) => {
                return Undecided::because(format!("{} is too large", as_path(&file).display()));
            }
            Err(_) => return Ok(()),
        };
        let text = self.decode(&content, as_path(&file))?;
        let utf8_first =
            content.is_ascii() && !has_rare_breaks(&content) || self.site_py.reads_pth_as_utf8()?;
        for line in lines(&text, utf8_first) {
            let Some(line) = directory_line(line) else {
                continue;
            };
            let entry = self.absolute(&join(directory, line.as_bytes()))?;
            if !self.known.contains(&entry) && as_path(&entry).exists() {
                self.append(entry);
            }
        }
        Ok(())
    }

    /// The text of a `.pth` file, where its encoding is certain.
    fn decode(&self, content: &[u8], file: &Path) -> Result<String, Undecided> {
        let Ok(text) = std::str::from_utf8(content) else {
            return Undecided::because(format!("{} is not UTF-8", file.display()));
        };
        if !content.is_ascii() && !self.surroundings.locale_is_utf8() {
            return Undecided::because(format!(
                "{} is not ASCII, and the locale is not UTF-8",
                file.display()
            ));
        }
        if let Some(rest) = text.strip_prefix('\u{feff}')
            && self.site_py.reads_pth_as_utf8()?
        {
            return Ok(rest.to_owned());
        }
        Ok(text.to_owned())
    }

    fn absolute(&self, path: &[u8]) -> Result<Vec<u8>, Undecided> {
        self.surroundings
            .abspath(path)
            .ok_or_else(|| Undecided("the current directory is gone".to_owned()))
    }

    fn append(&mut self, entry: Vec<u8>) {
        if self.known.insert(entry.clone()) {
            self.entries.push(entry);
        }
    }
}

/// The directory lines of a `.pth` file joined to its site directory, by the newest rules,
/// whether they exist or not: what a remembered answer has to watch. Nothing if the file can't be
/// read or is not UTF-8.
pub(super) fn targets(directory: &[u8], name: &[u8]) -> Vec<Vec<u8>> {
    let Ok(Small::Content(content)) = read::small(as_path(&join(directory, name)), MAX_PTH_BYTES)
    else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&content);
    lines(text.trim_start_matches('\u{feff}'), true)
        .into_iter()
        .filter_map(directory_line)
        .map(|line| join(directory, line.as_bytes()))
        .collect()
}

/// The names in a directory that end in `.pth`, in the order of Python's `sorted`; none if it
/// can't be listed.
pub(super) fn pth_names(directory: &Path) -> Vec<Vec<u8>> {
    let Ok(listing) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<Vec<u8>> = listing
        .filter_map(|child| child.ok().map(|child| child.file_name().into_vec()))
        .filter(|name| name.ends_with(b".pth"))
        .collect();
    names.sort_by_cached_key(|name| code_points(name));
    names
}

/// A file name as the code points of the `str` that Python makes of it: a byte that is not UTF-8
/// becomes a lone surrogate, which sorts before U+E000.
fn code_points(name: &[u8]) -> Vec<u32> {
    let mut points = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        points.extend(chunk.valid().chars().map(u32::from));
        points.extend(chunk.invalid().iter().map(|&byte| 0xdc00 + u32::from(byte)));
    }
    points
}

/// Whether the file has the hidden flag of macOS's file systems.
#[cfg(target_os = "macos")]
fn is_flagged_hidden(file: &Path) -> bool {
    use std::os::macos::fs::MetadataExt;
    /// `UF_HIDDEN` of `<sys/stat.h>`.
    const HIDDEN: u32 = 0x8000;
    fs::symlink_metadata(file).is_ok_and(|metadata| metadata.st_flags() & HIDDEN != 0)
}

/// Whether the file has a hidden flag: only macOS's file systems have one.
#[cfg(not(target_os = "macos"))]
fn is_flagged_hidden(_file: &Path) -> bool {
    false
}

/// What a line says after `sys.path` strings: nothing if it is a comment, empty, or code.
fn directory_line(line: &str) -> Option<&str> {
    let code = line.starts_with("import ") || line.starts_with("import\t");
    let directory = line.trim_end_matches(is_space);
    // A NUL can't be in a path: CPython finds that such a directory does not exist.
    let nothing = directory.is_empty() || line.starts_with('#') || code || directory.contains('\0');
    (!nothing).then_some(directory)
}

/// Whether the ASCII text has one of the breaks that only `str.splitlines` knows.
fn has_rare_breaks(content: &[u8]) -> bool {
    content
        .iter()
        .any(|byte| matches!(byte, b'\x0b' | b'\x0c' | b'\x1c'..=b'\x1e'))
}

/// The lines of a `.pth` file: `str.splitlines` where it is read as UTF-8 first (3.13), a text
/// file's lines before. An empty last line makes no difference.
fn lines(text: &str, utf8_first: bool) -> Vec<&str> {
    // `\r\n` gives an empty line between, which is skipped like any other.
    text.split(|character| match character {
        '\n' | '\r' => true,
        '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}' => utf8_first,
        _ => false,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{code_points, directory_line, lines};

    #[test]
    fn comments_code_and_blank_lines_name_no_directory() {
        for line in ["", "  ", "\x1c", "#x", "import x", "import\tx", "a\0b"] {
            assert_eq!(directory_line(line), None, "{line:?}");
        }
        for (line, directory) in [
            ("a \t", "a"),
            (" #x", " #x"),
            ("importx", "importx"),
            ("import\u{a0}", "import"),
        ] {
            assert_eq!(directory_line(line), Some(directory), "{line:?}");
        }
    }

    #[test]
    fn only_the_newer_rules_split_at_every_unicode_line_break() {
        assert_eq!(lines("a\x0cb\u{2028}c\nd", true), ["a", "b", "c", "d"]);
        assert_eq!(lines("a\x0cb\u{2028}c\nd", false), ["a\x0cb\u{2028}c", "d"]);
    }

    #[test]
    fn a_byte_that_is_not_utf8_sorts_as_a_surrogate() {
        assert!(code_points(b"\xff") < code_points("\u{e000}".as_bytes()));
        assert!(code_points(b"\xff") > code_points("\u{d7ff}".as_bytes()));
    }
}
