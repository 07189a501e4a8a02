//! What all subcommands act on: which path entries, which roots, how much is checked. Put together
//! once, from the command line, then the environment, then the configuration.

use crate::cli::{Global, When};
use crate::config::Config;
use anyhow::{Context, Result, anyhow, bail};
use epcache::interpreter::{self, Environment, Memory};
use epcache::layout;
use epcache::{Cache, Mode, PathEntry, Root, RootKind};
use std::env;
use std::io::IsTerminal;

/// The directory in the user's root that holds what interpreters answered.
const MEMORY: &str = ".interpreters";

pub(crate) struct Setting {
    pub(crate) global: Global,
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    pub(crate) roots: Vec<Root>,
}

impl Setting {
    pub(crate) fn new(global: Global) -> Result<Self> {
        if let Some(root) = &global.root
            && !root.is_dir()
        {
            bail!(
                "--root {}: not a directory; name the root of the image or package",
                root.display()
            );
        }
        let config = Config::read()?;
        let mode = match (global.mode, env::var("EPCACHE_MODE")) {
            (Some(mode), _) => mode,
            (None, Ok(mode)) if !mode.is_empty() => mode
                .parse()
                .map_err(|error| anyhow!("EPCACHE_MODE: {error}"))?,
            _ => config.mode.unwrap_or_default(),
        };
        let roots = match (&global.cache_dir, env::var_os("EPCACHE_PATH"), &config.path) {
            (Some(path), ..) => vec![Root {
                path: std::path::absolute(path)
                    .with_context(|| format!("--cache-dir {}", path.display()))?,
                kind: RootKind::User,
            }],
            _ if global.root.is_some() => {
                layout::roots_within(global.root.as_deref().unwrap_or("/".as_ref()))
            }
            (None, Some(list), _) => layout::roots_in(&list),
            (None, None, Some(list)) => layout::roots_in(list.as_ref()),
            (None, None, None) => layout::default_roots(),
        };
        Ok(Self {
            global,
            config,
            mode,
            roots,
        })
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.roots.clone(), self.mode)
    }

    /// The root of a kind, made one of that kind if `--cache-dir` names it.
    pub(crate) fn root(&self, kind: RootKind) -> Result<Root> {
        if let (Some(_), [root]) = (&self.global.cache_dir, self.roots.as_slice()) {
            return Ok(Root {
                path: root.path.clone(),
                kind,
            });
        }
        match self.roots.iter().find(|root| root.kind == kind) {
            Some(root) => Ok(root.clone()),
            None if self.global.root.is_some() => {
                bail!("with --root there is no user's root: use --system, --vendor or --cache-dir")
            }
            None if self.roots.is_empty() => Err(epcache::Error::NoRoot.into()),
            None if kind == RootKind::User => Err(epcache::Error::NoUserRoot.into()),
            None => bail!(
                "no {} root among those of EPCACHE_PATH: name one with --cache-dir",
                kind.name()
            ),
        }
    }

    /// The environment that is meant.
    pub(crate) fn environment(&self) -> Result<Environment> {
        let memory = self.memory();
        Ok(
            match (
                &self.global.path,
                &self.global.root,
                &self.global.python,
                &self.global.venv,
            ) {
                (path, ..) if !path.is_empty() => Environment::given(path.clone()),
                (_, Some(root), ..) => {
                    Environment::well_known(Some(root), &self.config.system_path_entries)
                }
                (_, _, Some(python), _) => interpreter::python(python, memory.as_ref())?,
                (_, _, _, Some(venv)) => interpreter::venv(venv, memory.as_ref())?,
                _ => interpreter::default(memory.as_ref())?,
            },
        )
    }

    /// Its path entries.
    pub(crate) fn path(&self) -> Result<Vec<PathEntry>> {
        Ok(self.path_entries(self.environment()?))
    }

    /// Those of the system: what `--path` names, else the well-known site directories.
    pub(crate) fn system_path(&self) -> Vec<PathEntry> {
        let given = &self.global.path;
        let well_known = || {
            Environment::well_known(
                self.global.root.as_deref(),
                &self.config.system_path_entries,
            )
        };
        self.path_entries(if given.is_empty() {
            well_known()
        } else {
            Environment::given(given.clone())
        })
    }

    fn path_entries(&self, environment: Environment) -> Vec<PathEntry> {
        let entry = |string| match &self.global.root {
            Some(root) => PathEntry::within(root, string),
            None => PathEntry::new(string),
        };
        environment.path.into_iter().map(entry).collect()
    }

    /// Where answers of interpreters are kept: in the user's root, if caches may be touched.
    fn memory(&self) -> Option<Memory> {
        let root = self
            .roots
            .iter()
            .find(|root| root.kind == RootKind::User)
            .filter(|_| self.mode != Mode::Off)?;
        Some(Memory::in_directory(root.path.join(MEMORY)))
    }

    /// Whether to color what goes to standard output.
    pub(crate) fn color(&self) -> bool {
        match self.global.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                std::io::stdout().is_terminal()
                    && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}
