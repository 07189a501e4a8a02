//! `epcache.ini`: what the command line and the environment leave open.
//!
//! The user's is asked first, then the system's. Like a cache it counts only if nobody else could
//! have written it.

use anyhow::{Context, Result, anyhow, bail};
use epcache::Mode;
use ini::Ini;
use std::path::{Path, PathBuf};

/// The system's configuration.
const SYSTEM: &str = "/etc/epcache/epcache.ini";

/// The largest configuration that is read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// What the configuration says.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// `mode` in `[epcache]`.
    pub(crate) mode: Option<Mode>,
    /// `path` in `[epcache]`: a list of cache roots, like `EPCACHE_PATH`.
    pub(crate) path: Option<String>,
    /// `path-entries` in `[system]`: more for `sync --system`, a list like `PATH`.
    pub(crate) system_path_entries: Vec<PathBuf>,
    /// The files that do not count, and why.
    pub(crate) skipped: Vec<String>,
}

/// Where the configuration is looked for: the user's, then the system's.
pub(crate) fn files() -> Vec<PathBuf> {
    epcache::layout::user_config_directory()
        .map(|directory| directory.join("epcache.ini"))
        .into_iter()
        .chain([PathBuf::from(SYSTEM)])
        .collect()
}

impl Config {
    /// Reads both files; what the first says wins. A missing file says nothing.
    pub(crate) fn read() -> Result<Self> {
        let mut config = Self::default();
        for file in files() {
            let read = Self::read_file(&file)
                .with_context(|| format!("{}: correct it, or remove it", file.display()))?;
            config.mode = config.mode.or(read.mode);
            config.path = config.path.or(read.path);
            config.system_path_entries.extend(read.system_path_entries);
            config.skipped.extend(read.skipped);
        }
        Ok(config)
    }

    fn read_file(file: &Path) -> Result<Self> {
        let stat = match std::fs::metadata(file) {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Self::default());
            }
            stat => stat?,
        };
        if !stat.is_file() || stat.len() > MAX_CONFIG {
            bail!("not a file of at most {MAX_CONFIG} bytes");
        }
        if let Err(why) = epcache::check_trust(&stat) {
            // As when root runs with the HOME of somebody else.
            let skipped = vec![format!("{}: configuration not used: {why}", file.display())];
            return Ok(Self {
                skipped,
                ..Self::default()
            });
        }
        Self::parse(&std::fs::read_to_string(file)?)
    }

    fn parse(text: &str) -> Result<Self> {
        let ini = Ini::load_from_str_noescape(text)?;
        let mut config = Self::default();
        for (section, properties) in &ini {
            for (key, value) in properties {
                match (section.unwrap_or_default(), key) {
                    ("epcache", "mode") => {
                        config.mode =
                            Some(value.parse().map_err(|error| anyhow!("mode: {error}"))?);
                    }
                    ("epcache", "path") => config.path = Some(value.to_owned()),
                    ("system", "path-entries") => {
                        config.system_path_entries = std::env::split_paths(value).collect();
                        let relative = config
                            .system_path_entries
                            .iter()
                            .find(|path| path.is_relative());
                        if let Some(path) = relative {
                            bail!("path-entries: {} is not an absolute path", path.display());
                        }
                    }
                    (section, key) => bail!(
                        "[{section}] {key}: no such setting; there are [epcache] mode, path and [system] path-entries"
                    ),
                }
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_read() -> Result<()> {
        let config = Config::parse(
            "# a comment\n[epcache]\nmode = fast\npath = /a:/b\n[system]\npath-entries = /opt/x:/opt/y\n",
        )?;
        assert_eq!(
            (config.mode, config.path.as_deref()),
            (Some(Mode::Fast), Some("/a:/b"))
        );
        assert_eq!(
            config.system_path_entries,
            [Path::new("/opt/x"), Path::new("/opt/y")]
        );
        Ok(())
    }

    #[test]
    fn an_unknown_setting_or_mode_is_an_error_that_names_it() {
        let error = |text| {
            Config::parse(text)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        assert!(error("[epcache]\nmod = fast").contains("[epcache] mod"));
        assert!(error("[epcache]\nmode = quick").contains("\"quick\" is no mode"));
        assert!(error("[system]\npath-entries = /a:b").contains("b is not an absolute path"));
    }
}
