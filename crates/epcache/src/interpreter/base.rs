//! The base interpreter of a virtual environment: where its standard library is, found by the
//! landmarks that CPython's `getpath` looks for.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    posixpath::{as_path, join, parent},
    pyvenv_cfg::PYVENV_CFG,
    undecided::Undecided,
};

/// The directory names that CPython is built with (`sys.platlibdir`).
const LIBRARY_DIRECTORIES: [&str; 2] = ["lib", "lib64"];

/// How many links from one executable to the next are followed (`MAXSYMLINKS` of 3.10's getpath).
const MAX_LINKS: usize = 40;

/// A version of CPython 3, as far as paths tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) minor: u32,
    /// A free-threaded build: its directories' names end in `t`.
    pub(super) threaded: bool,
}

impl Version {
    /// The oldest that is supported.
    pub(super) const OLDEST: u32 = 10;

    /// The newest whose rules are known here. 3.15 adds what `.pth` files name after all site
    /// directories instead of between them (PEP 829), and strips both ends of their lines.
    const NEWEST_KNOWN: u32 = 14;

    /// From `3.12.1` or `3.12.1.final.0`.
    pub(super) fn parse(text: &str) -> Option<Version> {
        let mut numbers = text.split('.');
        if numbers.next()? != "3" {
            return None;
        }
        let minor = numbers.next()?.parse().ok()?;
        Some(Version {
            minor,
            threaded: false,
        })
    }

    /// From an executable's name: `python3.12`, `python3.13t`.
    fn of_executable_name(name: &OsStr) -> Option<Version> {
        let minor = name.to_str()?.strip_prefix("python3.")?;
        let (minor, threaded) = match minor.strip_suffix('t') {
            Some(minor) => (minor, true),
            None => (minor, false),
        };
        Some(Version {
            minor: minor.parse().ok()?,
            threaded,
        })
    }

    /// Only for these versions do files alone tell a `sys.path`.
    fn has_known_rules(self) -> Result<(), Undecided> {
        if (Version::OLDEST..=Version::NEWEST_KNOWN).contains(&self.minor) {
            return Ok(());
        }
        Undecided::because(format!("the rules of {} are not known", self.directory()))
    }

    /// `python3.12`, the directory in `lib`.
    pub(super) fn directory(self) -> String {
        format!("python3.{}{}", self.minor, self.suffix())
    }

    /// `python312.zip`.
    fn zip(self) -> String {
        format!("python3{}{}.zip", self.minor, self.suffix())
    }

    fn suffix(self) -> &'static str {
        if self.threaded { "t" } else { "" }
    }
}

/// A base interpreter.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) version: Version,
    /// `sys.base_prefix`.
    pub(super) prefix: Vec<u8>,
    /// `sys.base_exec_prefix`.
    pub(super) exec_prefix: Vec<u8>,
    /// `sys.platlibdir`.
    pub(super) library: &'static str,
}

impl Base {
    /// The one that a virtual environment's executable starts, with `home` from `pyvenv.cfg`.
    pub(super) fn find(
        executable: &Path,
        home: &Path,
        told: Option<Version>,
    ) -> Result<Base, Undecided> {
        let version = version_of(executable, told)?;
        refuse_other_layouts(executable, home)?;
        let start = if version.minor == 10 {
            start_of_3_10(executable, home)?
        } else {
            home.to_path_buf()
        };
        let start = start.as_os_str().as_bytes();

        let mut found = LIBRARY_DIRECTORIES
            .into_iter()
            .filter_map(|library| Base::above(start, version, library));
        match (found.next(), found.next()) {
            (Some(base), None) => Ok(base),
            (None, _) => Undecided::because(format!(
                "there is no standard library of {} above {}",
                version.directory(),
                as_path(start).display()
            )),
            (Some(_), Some(_)) => Undecided::because("both lib and lib64 have a standard library"),
        }
    }

    /// The standard library itself.
    pub(super) fn standard_library(&self) -> Vec<u8> {
        self.inside(&self.prefix, &self.version.directory())
    }

    /// What the interpreter has on `sys.path` before `site` is imported.
    pub(super) fn initial_path(&self) -> [Vec<u8>; 3] {
        let extensions = self.inside(&self.exec_prefix, &self.version.directory());
        [
            self.inside(&self.prefix, &self.version.zip()),
            self.standard_library(),
            join(&extensions, b"lib-dynload"),
        ]
    }

    /// The base whose prefix is `start` or a directory above it.
    fn above(start: &[u8], version: Version, library: &'static str) -> Option<Base> {
        let directory = format!("{library}/{}", version.directory());
        let zip = format!("{library}/{}", version.zip());
        let prefix = search_up(start, |prefix| prefix.join(&zip).is_file())
            .filter(|_| version.minor > 10)
            .or_else(|| {
                search_up(start, |prefix| {
                    prefix.join(&directory).join("os.py").is_file()
                })
            })?;
        let exec_prefix = search_up(start, |prefix| {
            prefix.join(&directory).join("lib-dynload").is_dir()
        })?;
        Some(Base {
            version,
            prefix: prefix.to_vec(),
            exec_prefix: exec_prefix.to_vec(),
            library,
        })
    }

    fn inside(&self, prefix: &[u8], name: &str) -> Vec<u8> {
        join(&join(prefix, self.library.as_bytes()), name.as_bytes())
    }
}

/// The nearest directory at or above `start`, but never `/`, that passes the test.
fn search_up(start: &[u8], test: impl Fn(&Path) -> bool) -> Option<&[u8]> {
    let mut directory = start;
    while !directory.is_empty() {
        if test(as_path(directory)) {
            return Some(directory);
        }
        directory = parent(directory);
    }
    None
}

/// The version of the interpreter that an environment's executable is. A link's target tells it
/// by its name (what `pyvenv.cfg` says is old once the system's Python has been upgraded); of a
/// copy, `pyvenv.cfg` tells it.
fn version_of(executable: &Path, told: Option<Version>) -> Result<Version, Undecided> {
    let real = executable
        .canonicalize()
        .map_err(|error| Undecided(format!("{}: {error}", executable.display())))?;
    let named = real.file_name().and_then(Version::of_executable_name);
    let is_copy = fs::symlink_metadata(executable).is_ok_and(|metadata| metadata.is_file());
    let version = match (named, told) {
        (Some(named), None) => named,
        (Some(named), Some(told)) if named.minor == told.minor => named,
        (None, Some(told)) if is_copy => threaded_by_directories(executable, told)?,
        _ => {
            return Undecided::because(format!(
                "the version of {} is not certain",
                executable.display()
            ));
        }
    };
    version.has_known_rules()?;
    Ok(version)
}

/// Whether a copied interpreter is a free-threaded build, which `pyvenv.cfg` does not say but the
/// name of the environment's own library directory does.
fn threaded_by_directories(executable: &Path, told: Version) -> Result<Version, Undecided> {
    let library = executable
        .parent()
        .and_then(Path::parent)
        .map(|prefix| prefix.join("lib"));
    let candidates = [false, true].map(|threaded| Version { threaded, ..told });
    let mut existing = candidates.into_iter().filter(|version| {
        library
            .as_ref()
            .is_some_and(|library| library.join(version.directory()).is_dir())
    });
    match (existing.next(), existing.next()) {
        (Some(version), None) => Ok(version),
        _ => Undecided::because(format!(
            "the build of {} is not certain",
            executable.display()
        )),
    }
}

/// Layouts with rules of their own: `._pth` files, a build directory, macOS's frameworks.
fn refuse_other_layouts(executable: &Path, home: &Path) -> Result<(), Undecided> {
    if !home.is_absolute() {
        return Undecided::because("home in pyvenv.cfg is not absolute");
    }
    let real = executable
        .canonicalize()
        .unwrap_or_else(|_| executable.to_path_buf());
    for executable in [executable, &real] {
        let mut pth = executable.as_os_str().to_owned();
        pth.push("._pth");
        if Path::new(&pth).exists() {
            return Undecided::because(format!("{} exists", PathBuf::from(pth).display()));
        }
    }
    for landmark in ["pybuilddir.txt", "Modules/Setup.local"] {
        if home.join(landmark).exists() {
            return Undecided::because(format!("{} is a build directory", home.display()));
        }
    }
    if real
        .components()
        .any(|part| part.as_os_str().as_bytes().ends_with(b".framework"))
    {
        return Undecided::because(format!("{} is in a framework", real.display()));
    }
    Ok(())
}

/// Where 3.10 begins to search: it looks for `pyvenv.cfg` only after following the executable's
/// links, so that it finds one, and uses its `home`, only if the executable is a copy.
fn start_of_3_10(executable: &Path, home: &Path) -> Result<PathBuf, Undecided> {
    let followed = links_followed(executable)?;
    if Some(followed.as_path()) == executable.parent() {
        return Ok(home.to_path_buf());
    }
    let mut nearby = followed.ancestors().take(2);
    if nearby.any(|directory| directory.join(PYVENV_CFG).exists()) {
        return Undecided::because(format!(
            "{} is in an environment itself",
            followed.display()
        ));
    }
    Ok(followed)
}

/// The directory of an executable after following its own links, but none of its directories'.
fn links_followed(executable: &Path) -> Result<PathBuf, Undecided> {
    let mut executable = executable.to_path_buf();
    for _ in 0..MAX_LINKS {
        let directory = executable.parent().unwrap_or(Path::new("/")).to_path_buf();
        match fs::read_link(&executable) {
            Ok(target) => executable = directory.join(target),
            Err(_) => return Ok(directory),
        }
    }
    Undecided::because(format!("{} has too many links", executable.display()))
}

#[cfg(test)]
mod tests {
    use super::{Version, search_up};
    use std::{ffi::OsStr, path::Path};

    #[test]
    fn a_version_is_read_from_what_the_tools_write() {
        let plain = |minor| {
            Some(Version {
                minor,
                threaded: false,
            })
        };
        for (text, version) in [
            ("3.12.1", plain(12)),
            ("3.13.0.final.0", plain(13)),
            ("3.9", plain(9)),
            ("3", None),
            ("2.7.18", None),
            ("3.x", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text:?}");
        }
    }

    #[test]
    fn an_executables_name_tells_its_version_only_if_it_is_complete() {
        let version = |name| Version::of_executable_name(OsStr::new(name));
        assert_eq!(
            version("python3.12"),
            Some(Version {
                minor: 12,
                threaded: false
            })
        );
        assert_eq!(
            version("python3.13t"),
            Some(Version {
                minor: 13,
                threaded: true
            })
        );
        for name in [
            "python",
            "python3",
            "python3.12d",
            "pypy3.10",
            "python3.12-config",
        ] {
            assert_eq!(version(name), None, "{name}");
        }
    }

    #[test]
    fn an_older_or_newer_version_than_those_whose_rules_are_known_is_left_to_the_interpreter() {
        for (minor, known) in [(9, false), (10, true), (14, true), (15, false)] {
            let version = Version {
                minor,
                threaded: false,
            };
            assert_eq!(version.has_known_rules().is_ok(), known, "3.{minor}");
        }
    }

    #[test]
    fn a_search_upwards_ends_below_the_root() {
        let seen = std::cell::RefCell::new(Vec::new());
        assert_eq!(
            search_up(b"/a/b", |directory| {
                seen.borrow_mut().push(directory.to_path_buf());
                false
            }),
            None
        );
        assert_eq!(*seen.borrow(), [Path::new("/a/b"), Path::new("/a")]);
    }
}
