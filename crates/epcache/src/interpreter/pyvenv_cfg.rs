//! `pyvenv.cfg`: the file that makes a directory a virtual environment.

use std::path::{Path, PathBuf};

use ini::{Ini, ParseOption};

use super::{
    base::Version,
    posixpath::is_space,
    read::{self, Small},
    undecided::Undecided,
};

/// The file's name.
pub(super) const PYVENV_CFG: &str = "pyvenv.cfg";

/// The largest `pyvenv.cfg` that is read; real ones have ten lines.
const MAX_PYVENV_CFG_BYTES: u64 = 1 << 20;

/// What CPython and the tools that make virtual environments say in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PyvenvCfg {
    /// The directory of the base interpreter.
    pub(super) home: Option<PathBuf>,
    /// `include-system-site-packages`, true if it is not said, as for CPython.
    pub(super) system_site: bool,
    /// `version` (venv) or `version_info` (virtualenv, uv).
    pub(super) version: Option<Version>,
    /// `implementation` (virtualenv, uv); CPython's own venv does not say it.
    pub(super) implementation: Option<String>,
}

impl PyvenvCfg {
    /// Reads the file.
    pub(super) fn read(file: &Path) -> Result<PyvenvCfg, Undecided> {
        let unread = |reason: &str| Undecided(format!("{} {reason}", file.display()));
        match read::small(file, MAX_PYVENV_CFG_BYTES) {
            Ok(Small::Content(content)) => {
                let text = String::from_utf8(content).map_err(|_| unread("is not UTF-8"))?;
                PyvenvCfg::parse(&text).ok_or_else(|| unread("is not understood"))
            }
            Ok(Small::TooLarge) => Err(unread("is too large")),
            Err(error) => Err(unread(&format!("can't be read: {error}"))),
        }
    }

    /// Reads the text as CPython does: keys in any case, no section, nothing quoted or escaped,
    /// lines without `=` are nothing. The first `home` counts and the last of every other key.
    fn parse(text: &str) -> Option<PyvenvCfg> {
        let options = ParseOption {
            enabled_quote: false,
            enabled_escape: false,
            enabled_indented_mutiline_value: false,
            enabled_preserve_key_leading_whitespace: false,
        };
        let settings: Vec<&str> = text.lines().filter(|line| is_setting(line)).collect();
        let ini = Ini::load_from_str_opt(&settings.join("\n"), options).ok()?;

        let mut cfg = PyvenvCfg {
            system_site: true,
            ..PyvenvCfg::default()
        };
        for (key, value) in ini.iter().flat_map(|(_, section)| section.iter()) {
            let value = value.trim_matches(is_space);
            match key.trim_matches(is_space).to_lowercase().as_str() {
                "home" if cfg.home.is_none() => cfg.home = Some(PathBuf::from(value)),
                "include-system-site-packages" => cfg.system_site = value.to_lowercase() == "true",
                "version" | "version_info" => cfg.version = Version::parse(value),
                "implementation" => cfg.implementation = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(cfg)
    }
}

/// Whether a line sets a key that can matter: not one of the comments, section headings and keys
/// with a colon that an INI reader would see otherwise than CPython, which splits at the first `=`.
fn is_setting(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| {
        let key = key.trim();
        !key.is_empty() && !key.starts_with(['#', ';', '[']) && !key.contains(':')
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a text that is not understood should stop its test"
)]
mod tests {
    use super::PyvenvCfg;
    use crate::interpreter::base::Version;
    use std::path::PathBuf;

    #[test]
    fn what_venv_writes_is_understood() {
        let cfg = PyvenvCfg::parse(
            "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.12.1\n\
             executable = /usr/bin/python3.12\ncommand = /usr/bin/python3 -m venv /x\n",
        );
        let expected = PyvenvCfg {
            home: Some(PathBuf::from("/usr/bin")),
            system_site: false,
            version: Some(Version {
                minor: 12,
                threaded: false,
            }),
            implementation: None,
        };
        assert_eq!(cfg, Some(expected));
    }

    #[test]
    fn what_virtualenv_and_uv_write_is_understood() {
        let cfg = PyvenvCfg::parse(
            "home = /opt/p/bin\nimplementation = CPython\nuv = 0.4\nversion_info = 3.13.0.final.0\n\
             include-system-site-packages = true\nprompt = 'a:b = \"c'\n",
        )
        .unwrap();
        assert_eq!(cfg.implementation.as_deref(), Some("CPython"));
        assert_eq!(
            cfg.version,
            Some(Version {
                minor: 13,
                threaded: false
            })
        );
        assert!(cfg.system_site);
    }

    #[test]
    fn odd_lines_mean_what_they_mean_to_cpython() {
        let cfg = PyvenvCfg::parse(
            "nonsense\n[section]\n[a = b]\n# home = /no\nhome: x = /no\n  HOME=\t/a=b:c \\ \"d\" \nhome = /second\n\
             Include-System-Site-Packages = TRUE\ninclude-system-site-packages = False\n=\n",
        )
        .unwrap();
        assert_eq!(cfg.home, Some(PathBuf::from("/a=b:c \\ \"d\"")));
        assert!(!cfg.system_site);
    }

    #[test]
    fn system_packages_are_included_if_nothing_is_said() {
        assert!(PyvenvCfg::parse("home = /a").unwrap().system_site);
        assert!(
            !PyvenvCfg::parse("include-system-site-packages = yes")
                .unwrap()
                .system_site
        );
    }
}
