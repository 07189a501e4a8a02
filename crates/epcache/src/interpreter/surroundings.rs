//! What a `sys.path` depends on besides files: the process's environment variables and current
//! directory, taken once, so that one resolution sees one state of them (and tests can make it up).

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::posixpath;

/// How long an interpreter may take to tell its `sys.path`. A cold one on a slow network file
/// system needs seconds; one that needs longer than this hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Where `execvp` looks when `PATH` is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The environment variables and the current directory that a question is asked in.
#[derive(Debug, Clone)]
pub struct Surroundings {
    cwd: Option<PathBuf>,
    variables: BTreeMap<OsString, OsString>,
    patience: Duration,
}

impl Surroundings {
    /// This process's.
    #[must_use]
    pub fn of_this_process() -> Surroundings {
        Surroundings {
            cwd: std::env::current_dir().ok(),
            variables: std::env::vars_os().collect(),
            patience: PATIENCE,
        }
    }

    /// The same with this current directory, which must be absolute.
    #[must_use]
    pub fn in_directory(mut self, directory: &Path) -> Surroundings {
        self.cwd = Some(directory.to_path_buf());
        self
    }

    /// The same with this variable set.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Surroundings {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// The same without this variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Surroundings {
        self.variables.remove(OsStr::new(name));
        self
    }

    /// The same, waiting this long for an interpreter instead of [`PATIENCE`].
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Surroundings {
        self.patience = patience;
        self
    }

    /// The current directory; `None` if it is gone.
    #[must_use]
    pub fn cwd(&self) -> Option<&Path> {
        self.cwd.as_deref()
    }

    /// How long to wait for an interpreter.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// All variables, sorted by name.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// A variable's value, whatever it is.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }

    /// A variable's value, where empty counts as not set, as it does for CPython.
    pub(super) fn filled(&self, name: &str) -> Option<&OsStr> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// A variable that CPython reads as a number flag: set, and not a zero (`PYTHONNOUSERSITE=0`
    /// is off; what is no number is on).
    pub(super) fn number_flag(&self, name: &str) -> bool {
        self.filled(name).is_some_and(|value| {
            !value
                .to_str()
                .is_some_and(|text| text.trim_start().parse::<i32>() == Ok(0))
        })
    }

    /// The path made absolute against the current directory, not normalized.
    pub(super) fn absolute(&self, path: &Path) -> Option<PathBuf> {
        if path.is_absolute() {
            return Some(path.to_path_buf());
        }
        Some(self.cwd()?.join(path))
    }

    /// `os.path.abspath` in these surroundings.
    pub(super) fn abspath(&self, path: &[u8]) -> Option<Vec<u8>> {
        posixpath::abspath(self.cwd(), path)
    }

    /// The directories of `PATH`, absolute; an empty item is the current directory.
    pub(super) fn search_directories(&self) -> Vec<PathBuf> {
        let path = self.variable("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
        path.as_bytes()
            .split(|&byte| byte == b':')
            .filter_map(|item| self.absolute(posixpath::as_path(item)))
            .collect()
    }

    /// Whether file names and `.pth` files are UTF-8 for an interpreter started here. The C
    /// locale is: CPython has replaced it by UTF-8 since 3.7.
    pub(super) fn locale_is_utf8(&self) -> bool {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(|name| self.filled(name))
            .map(|value| value.to_string_lossy().to_ascii_lowercase())
            .unwrap_or_default();
        matches!(locale.as_str(), "" | "c" | "posix")
            || locale.contains("utf-8")
            || locale.contains("utf8")
    }
}

#[cfg(test)]
mod tests {
    use super::Surroundings;
    use std::path::{Path, PathBuf};

    fn bare() -> Surroundings {
        let mut bare = Surroundings::of_this_process().in_directory(Path::new("/here"));
        bare.variables.clear();
        bare
    }

    #[test]
    fn a_number_flag_is_off_when_empty_or_zero_and_on_otherwise() {
        for (value, on) in [
            ("", false),
            ("0", false),
            ("00", false),
            ("1", true),
            ("-1", true),
            ("no", true),
        ] {
            assert_eq!(
                bare()
                    .with("PYTHONNOUSERSITE", value)
                    .number_flag("PYTHONNOUSERSITE"),
                on,
                "{value:?}"
            );
        }
        assert!(!bare().number_flag("PYTHONNOUSERSITE"));
    }

    #[test]
    fn an_empty_item_of_path_is_the_current_directory() {
        assert_eq!(
            bare().with("PATH", "/a::b").search_directories(),
            [
                PathBuf::from("/a"),
                PathBuf::from("/here/"),
                PathBuf::from("/here/b")
            ]
        );
    }

    #[test]
    fn the_first_filled_locale_variable_decides() {
        assert!(bare().locale_is_utf8());
        assert!(bare().with("LANG", "C").locale_is_utf8());
        assert!(bare().with("LC_ALL", "de_DE.UTF-8").locale_is_utf8());
        assert!(!bare().with("LANG", "de_DE.ISO-8859-1").locale_is_utf8());
        assert!(
            !bare()
                .with("LANG", "C")
                .with("LC_CTYPE", "ja_JP.eucJP")
                .locale_is_utf8()
        );
    }
}
