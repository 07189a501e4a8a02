//! `epcache.ini`: what the command line and the environment leave open.
//!
//! The user's is asked first, then the system's; with `--root` the image's alone, as a build must
//! not depend on who runs it. Like a cache it counts only if nobody else could have written it.

use crate::output::{shown, without_number};
use anyhow::{Context, Result, anyhow, bail};
use epcache::Mode;
use ini::Ini;
use rustix::fs::OFlags;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The system's configuration.
const SYSTEM: &str = "/etc/epcache/epcache.ini";

/// The largest configuration that is read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// The settings that there are.
const SETTINGS: &str =
    "[epcache] mode, path, [system] path-entries and [watch] venvs, path-entries";

/// What the configuration says.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// Where it was looked for, in the order in which it counts.
    pub(crate) files: Vec<ConfigFile>,
}

/// The settings of one file, or of all.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// `mode` in `[epcache]`.
    pub(crate) mode: Option<Mode>,
    /// `path` in `[epcache]`: a list of cache roots, like `EPCACHE_PATH`.
    pub(crate) path: Option<String>,
    /// `path-entries` in `[system]`: more for `sync --system`, a list like `PATH`.
    pub(crate) system_path_entries: Vec<PathBuf>,
    /// `venvs` in `[watch]`: what `watch` keeps current where its options name nothing, a list like
    /// `PATH` of virtual environments.
    pub(crate) watch_venvs: Option<Vec<PathBuf>>,
    /// `path-entries` in `[watch]`: besides these, a list like `PATH`.
    pub(crate) watch_path_entries: Option<Vec<PathBuf>>,
}

/// A file that may hold a configuration.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) found: Found,
}

/// What there is in the place of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, which is no fault.
    Absent,
    /// A configuration.
    Read,
    /// Something that does not count, for this reason.
    NotUsed(String),
}

impl Config {
    /// Reads the image's file if `root` is one, else the user's and the system's; what the first
    /// says wins. A missing file says nothing.
    pub(crate) fn read(root: Option<&Path>) -> Result<Self> {
        let mut config = Self::default();
        for path in files(root) {
            let found = match text_of(&path)? {
                Text::Absent => Found::Absent,
                Text::NotUsed(why) => Found::NotUsed(why),
                Text::Read(text) => {
                    let settings = Settings::parse(&shown(&path), &text)
                        .map_err(|error| anyhow!("{error:#}; correct it, or remove the file"))?;
                    config.settings.add(settings);
                    Found::Read
                }
            };
            config.files.push(ConfigFile { path, found });
        }
        Ok(config)
    }

    /// The files that do not count, and why.
    pub(crate) fn not_used(&self) -> impl Iterator<Item = String> {
        self.files.iter().filter_map(|file| match &file.found {
            Found::NotUsed(why) => Some(format!(
                "{}: configuration not used: {why}",
                file.path.display()
            )),
            Found::Absent | Found::Read => None,
        })
    }
}

/// Where the configuration is looked for.
fn files(root: Option<&Path>) -> Vec<PathBuf> {
    if let Some(root) = root {
        return vec![root.join(SYSTEM.trim_start_matches('/'))];
    }
    let user = epcache::layout::user_config_directory().filter(|path| path.is_absolute());
    user.map(|directory| directory.join("epcache.ini"))
        .into_iter()
        .chain([PathBuf::from(SYSTEM)])
        .collect()
}

/// What a configuration file says, if there is one that counts.
enum Text {
    Absent,
    NotUsed(String),
    Read(String),
}

/// Reads a file that may hold a configuration. It is opened once, without waiting for a FIFO's
/// writer, and all that decides is known of what was opened.
///
/// # Errors
/// It counts, and can't be read.
fn text_of(path: &Path) -> Result<Text> {
    let mut open = OpenOptions::new();
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = match open.read(true).custom_flags(flags.cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) => return not_opened(path, &error),
    };
    let stat = file.metadata();
    let stat = stat.map_err(|error| refusal(path, without_number(&error.to_string())))?;
    if let Err(why) = epcache::check_trust(&stat) {
        // As when root runs with the HOME of somebody else.
        return Ok(Text::NotUsed(why.to_string()));
    }
    let what = match stat {
        stat if stat.is_dir() => "is a directory",
        stat if !stat.is_file() => "not a regular file",
        _ => return bounded(file, path),
    };
    Err(refusal(path, what))
}

/// What it means that a file can't be opened. Where it can't even be looked at, it is no
/// configuration of ours: as when somebody runs with the HOME of root.
fn not_opened(path: &Path, error: &io::Error) -> Result<Text> {
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        return Ok(Text::Absent);
    }
    match std::fs::metadata(path) {
        Err(error) => {
            let hint = match error.kind() {
                ErrorKind::PermissionDenied => " (is HOME right?)",
                _ => "",
            };
            let why = error.to_string();
            Ok(Text::NotUsed(format!("{}{hint}", without_number(&why))))
        }
        Ok(stat) => match epcache::check_trust(&stat) {
            Err(why) => Ok(Text::NotUsed(why.to_string())),
            Ok(()) if !stat.is_file() => Err(refusal(path, "not a regular file")),
            Ok(()) => Err(refusal(path, without_number(&error.to_string()))),
        },
    }
}

fn bounded(file: File, path: &Path) -> Result<Text> {
    let mut text = Vec::new();
    file.take(MAX_CONFIG + 1)
        .read_to_end(&mut text)
        .map_err(|error| refusal(path, without_number(&error.to_string())))?;
    if text.len() as u64 > MAX_CONFIG {
        return Err(refusal(path, "larger than 1 MiB"));
    }
    match String::from_utf8(text) {
        Ok(text) => Ok(Text::Read(text)),
        Err(_) => Err(refusal(path, "not UTF-8")),
    }
}

fn refusal(path: &Path, why: impl AsRef<str>) -> anyhow::Error {
    let why = why.as_ref();
    anyhow!("{}: {why}; correct it, or remove the file", path.display())
}

impl Settings {
    /// Takes over what is not said yet.
    fn add(&mut self, other: Self) {
        self.mode = self.mode.or(other.mode);
        self.path = self.path.take().or(other.path);
        self.system_path_entries.extend(other.system_path_entries);
        self.watch_venvs = self.watch_venvs.take().or(other.watch_venvs);
        self.watch_path_entries = self.watch_path_entries.take().or(other.watch_path_entries);
    }

    /// The settings in the text of a file, whose name is for what is said of it.
    fn parse(name: &str, text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(number) = stray_line(text) {
            return Err(misread(name, text, number));
        }
        let ini = Ini::load_from_str_noescape(text);
        let ini = ini.map_err(|error| misread(name, text, error.line))?;
        let mut settings = Self::default();
        let mut said = Vec::new();
        for (section, properties) in &ini {
            for (key, value) in properties {
                let section = section.unwrap_or_default();
                if said.contains(&(section, key)) {
                    bail!("{name}: [{section}] {key}: given twice");
                }
                said.push((section, key));
                let set = settings.set(section, key, value);
                set.with_context(|| name.to_owned())?;
            }
        }
        Ok(settings)
    }

    fn set(&mut self, section: &str, key: &str, value: &str) -> Result<()> {
        match (section, key) {
            ("epcache", "mode") => {
                let mode = value.parse();
                self.mode = Some(mode.map_err(|error| anyhow!("[epcache] mode: {error}"))?);
            }
            ("epcache", "path") => {
                absolute_paths(value.as_ref()).context("[epcache] path")?;
                self.path = Some(value.to_owned());
            }
            ("system", "path-entries") => {
                self.system_path_entries =
                    absolute_paths(value.as_ref()).context("[system] path-entries")?;
            }
            ("watch", "venvs") => {
                let venvs = absolute_paths(value.as_ref()).context("[watch] venvs")?;
                self.watch_venvs = Some(venvs);
            }
            ("watch", "path-entries") => {
                let path = absolute_paths(value.as_ref()).context("[watch] path-entries")?;
                self.watch_path_entries = Some(path);
            }
            ("", "mode" | "path") => bail!("{key}: outside of a section; put it below [epcache]"),
            ("", "venvs") => bail!("{key}: outside of a section; put it below [watch]"),
            ("", "path-entries") => {
                bail!("{key}: outside of a section; put it below [system] or [watch]")
            }
            ("", _) => bail!("{key}: no such setting; there are {SETTINGS}"),
            (section, key) => bail!("[{section}] {key}: no such setting; there are {SETTINGS}"),
        }
        Ok(())
    }
}

/// The items of a list like `PATH`, all of which must be absolute: what they mean must not depend
/// on the current directory.
pub(crate) fn absolute_paths(list: &OsStr) -> Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = std::env::split_paths(list)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if let Some(path) = paths.iter().find(|path| path.is_relative()) {
        let looks_expandable = path.to_string_lossy().contains(['~', '$']);
        bail!(
            "{:?} is not an absolute path{}",
            shown(path),
            if looks_expandable {
                " (\"~\" and variables are not expanded)"
            } else {
                ""
            }
        );
    }
    Ok(paths)
}

/// The line of a text that can be no part of a configuration, from 1, if there is one. The parser
/// would take it and the next line for one name.
fn stray_line(text: &str) -> Option<usize> {
    let stray = |line: &str| {
        let line = line.trim();
        match line.chars().next() {
            None | Some('#' | ';') => false,
            Some('[') => !line.contains(']'),
            Some(_) => !line.contains(['=', ':']),
        }
    };
    text.lines().position(stray).map(|index| index + 1)
}

/// The error that a line is.
fn misread(name: &str, text: &str, number: usize) -> anyhow::Error {
    let index = number.saturating_sub(1);
    let line = text.lines().nth(index).unwrap_or_default().trim();
    anyhow!("{name}:{number}: {line:?} is no setting (expected name = value)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Settings::parse("f", text)
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default()
    }

    #[test]
    fn the_settings_are_read() -> Result<()> {
        let settings = Settings::parse(
            "f",
            "\u{feff}# a comment\n[epcache]\nmode = fast\npath = /a:/b\n[system]\npath-entries = /opt/x:/opt/y\n",
        )?;
        assert_eq!(
            (settings.mode, settings.path.as_deref()),
            (Some(Mode::Fast), Some("/a:/b"))
        );
        assert_eq!(
            settings.system_path_entries,
            [Path::new("/opt/x"), Path::new("/opt/y")]
        );
        Ok(())
    }

    #[test]
    fn what_is_to_be_watched_is_read_and_the_first_file_s_lists_win_one_by_one() -> Result<()> {
        let mut settings = Settings::parse("f", "[watch]\nvenvs = /a:/b::\n")?;
        let second = "[watch]\nvenvs = /c\npath-entries = /d:/e\n[system]\npath-entries = /s\n";
        settings.add(Settings::parse("g", second)?);
        let list = |paths: &[&str]| Some(paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(settings.watch_venvs, list(&["/a", "/b"]));
        assert_eq!(settings.watch_path_entries, list(&["/d", "/e"]));
        assert_eq!(settings.system_path_entries, [Path::new("/s")]);
        Ok(())
    }

    #[test]
    fn an_empty_list_of_the_first_file_leaves_nothing_of_the_second_s() -> Result<()> {
        let mut settings = Settings::parse("f", "[watch]\nvenvs =\n")?;
        settings.add(Settings::parse("g", "[watch]\nvenvs = /c\n")?);
        assert_eq!(settings.watch_venvs, Some(Vec::new()));
        Ok(())
    }

    #[test]
    fn an_empty_list_has_no_items() -> Result<()> {
        let settings = Settings::parse("f", "[system]\npath-entries =\n")?;
        assert!(settings.system_path_entries.is_empty());
        Ok(())
    }

    #[test]
    fn an_unknown_setting_or_mode_is_an_error_that_names_it() {
        assert!(error("[epcache]\nmod = fast").contains("[epcache] mod: no such setting"));
        assert!(error("[epcache]\nmode = quick").contains("\"quick\" is no mode"));
        assert_eq!(
            error("mode = fast"),
            "f: mode: outside of a section; put it below [epcache]"
        );
        assert_eq!(
            error("venvs = /a"),
            "f: venvs: outside of a section; put it below [watch]"
        );
        assert_eq!(
            error("[watch]\nvenv = /a"),
            "f: [watch] venv: no such setting; there are [epcache] mode, path, [system] path-entries and [watch] venvs, path-entries"
        );
    }

    #[test]
    fn a_setting_that_is_given_twice_is_an_error() {
        for twice in [
            "[epcache]\nmode = fast\nmode = only",
            "[epcache]\nmode = fast\n[system]\n[epcache]\nmode = fast",
        ] {
            assert_eq!(error(twice), "f: [epcache] mode: given twice");
        }
    }

    #[test]
    fn a_line_that_is_no_setting_is_an_error_with_its_number() {
        for text in [
            "[epcache]\ngarbage\n",
            "[epcache]\ngarbage\nmode = fast",
            "[epcache]\ngarbage\n\n[system]\n",
            "\ngarbage",
        ] {
            assert_eq!(
                error(text),
                "f:2: \"garbage\" is no setting (expected name = value)",
                "{text:?}"
            );
        }
        assert!(error("[epcache\nmode = fast").starts_with("f:1: \"[epcache\" is no setting"));
    }

    #[test]
    fn a_path_that_is_not_absolute_is_an_error() {
        assert_eq!(
            error("[epcache]\npath = /a:~/c"),
            "f: [epcache] path: \"~/c\" is not an absolute path (\"~\" and variables are not expanded)"
        );
        assert_eq!(
            error("[system]\npath-entries = /a:b"),
            "f: [system] path-entries: \"b\" is not an absolute path"
        );
        for key in ["venvs", "path-entries"] {
            assert_eq!(
                error(&format!("[watch]\n{key} = /a:.venv")),
                format!("f: [watch] {key}: \".venv\" is not an absolute path")
            );
        }
    }
}
