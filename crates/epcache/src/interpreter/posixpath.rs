//! The few functions of Python's `posixpath` and `str` that decide what a `sys.path` string is,
//! on bytes, so that a path that is not UTF-8 comes through unchanged.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// `os.path.join(directory, name)`.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if name.starts_with(b"/") || directory.is_empty() {
        return name.to_vec();
    }
    let mut joined = directory.to_vec();
    if !joined.ends_with(b"/") {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

/// `os.path.normpath(path)`: by the string alone, no link is looked at. Two leading slashes stay
/// two, three or more become one, as POSIX has it.
pub(super) fn normpath(path: &[u8]) -> Vec<u8> {
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    let root: &[u8] = match slashes {
        0 => b"",
        2 => b"//",
        _ => b"/",
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if root.is_empty() && parts.last().is_none_or(|last| *last == b"..") => {
                parts.push(part);
            }
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let mut normal = root.to_vec();
    normal.extend_from_slice(&parts.join(&b'/'));
    if normal.is_empty() {
        normal.push(b'.');
    }
    normal
}

/// `os.path.abspath(path)`; `None` for a relative path where the current directory is gone.
pub(super) fn abspath(cwd: Option<&Path>, path: &[u8]) -> Option<Vec<u8>> {
    if path.starts_with(b"/") {
        return Some(normpath(path));
    }
    Some(normpath(&join(cwd?.as_os_str().as_bytes(), path)))
}

/// The directory part as CPython's `getpath` cuts it: of `/usr` it is empty, so that a search
/// upwards never looks in `/` itself.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map_or(b"", |slash| &path[..slash])
}

/// `os.path.realpath(path)` of an absolute path: what does not exist is left as it is written.
pub(super) fn realpath(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return missing
                .iter()
                .rev()
                .fold(real, |real, name| real.join(name));
        }
        if let Some(name) = ancestor.file_name() {
            missing.push(name);
        }
    }
    path.to_path_buf()
}

/// Whether Python's `str.strip` takes this character for white space: Unicode's, and the four
/// information separators.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

/// The bytes as a path.
pub(super) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::{abspath, join, normpath, parent, realpath};
    use std::path::Path;

    #[test]
    fn normpath_answers_what_posixpath_answers() {
        for (path, normal) in [
            ("", "."),
            ("/", "/"),
            ("//", "//"),
            ("///", "/"),
            ("//a//b/", "//a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/..", "/"),
            ("/../a", "/a"),
            ("a/../..", ".."),
            ("../../a", "../../a"),
            ("./.", "."),
        ] {
            assert_eq!(normpath(path.as_bytes()), normal.as_bytes(), "{path:?}");
        }
    }

    #[test]
    fn an_absolute_name_replaces_the_directory_it_is_joined_to() {
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(join(b"/a/", b"b"), b"/a/b");
        assert_eq!(join(b"/a", b"/b"), b"/b");
        assert_eq!(join(b"/a", b""), b"/a/");
    }

    #[test]
    fn a_relative_path_needs_a_current_directory() {
        assert_eq!(abspath(None, b"/a/.."), Some(b"/".to_vec()));
        assert_eq!(abspath(None, b"a"), None);
        assert_eq!(abspath(Some(Path::new("/c")), b""), Some(b"/c".to_vec()));
    }

    #[test]
    fn the_parent_of_a_top_directory_is_empty() {
        assert_eq!(parent(b"/usr/bin"), b"/usr");
        assert_eq!(parent(b"/usr"), b"");
        assert_eq!(parent(b""), b"");
    }

    #[test]
    fn realpath_keeps_what_does_not_exist() {
        let real = Path::new("/")
            .canonicalize()
            .map(|root| root.join("no-such/dir"));
        assert_eq!(Some(realpath(Path::new("/no-such/dir"))), real.ok());
    }
}
