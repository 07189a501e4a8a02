//! What all subcommands act on: which path entries, which roots, how much is checked. Put together
//! once, from the command line, then the environment, then the configuration.

use crate::cli::Global;
use crate::config::{Config, absolute_paths};
use anyhow::{Context, Result, anyhow, bail};
use epcache::interpreter::{self, Environment, Memory};
use epcache::layout;
use epcache::{Cache, Mode, PathEntry, Root, RootKind};
use std::env;
use std::ffi::OsString;

/// The directory in the user's root that holds what interpreters answered.
const MEMORY: &str = ".interpreters";

pub(crate) struct Setting {
    pub(crate) global: Global,
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    pub(crate) roots: Vec<Root>,
}

impl Setting {
    pub(crate) fn new(mut global: Global) -> Result<Self> {
        if let Some(root) = &mut global.root {
            if !root.is_dir() {
                bail!(
                    "--root {}: not a directory; name the root of the image or package",
                    root.display()
                );
            }
            *root = std::path::absolute(&*root)
                .with_context(|| format!("--root {}", root.display()))?;
        }
        let config = Config::read(global.root.as_deref())?;
        Ok(Self {
            mode: mode(&global, &config)?,
            roots: roots(&global, &config)?,
            global,
            config,
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
        let Global {
            path,
            root,
            python,
            venv,
            ..
        } = &self.global;
        if !path.is_empty() || root.is_some() {
            return Ok(self.system_environment());
        }
        let memory = self.memory();
        let memory = memory.as_ref();
        Ok(if let Some(python) = python {
            interpreter::python(python, memory)?
        } else if let Some(venv) = venv {
            interpreter::venv(venv, memory)?
        } else {
            interpreter::default(memory)?
        })
    }

    /// That of the system: what `--path` names, else the well-known site directories.
    fn system_environment(&self) -> Environment {
        let Global { path, root, .. } = &self.global;
        if path.is_empty() {
            let more = &self.config.settings.system_path_entries;
            Environment::well_known(root.as_deref(), more)
        } else {
            Environment::given(path.clone())
        }
    }

    /// The path entries of the environment that is meant.
    pub(crate) fn path(&self) -> Result<Vec<PathEntry>> {
        Ok(self.path_entries(self.environment()?))
    }

    /// Those of the system.
    pub(crate) fn system_path(&self) -> Vec<PathEntry> {
        self.path_entries(self.system_environment())
    }

    fn path_entries(&self, environment: Environment) -> Vec<PathEntry> {
        let entry = |string: OsString| match &self.global.root {
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
}

/// How much is checked.
fn mode(global: &Global, config: &Config) -> Result<Mode> {
    if let Some(mode) = global.mode {
        return Ok(mode);
    }
    match env::var_os("EPCACHE_MODE").filter(|mode| !mode.is_empty()) {
        Some(mode) => mode
            .to_string_lossy()
            .parse()
            .map_err(|error| anyhow!("EPCACHE_MODE: {error}")),
        None => Ok(config.settings.mode.unwrap_or_default()),
    }
}

/// The cache roots. A list of them in the configuration was looked at when it was read.
fn roots(global: &Global, config: &Config) -> Result<Vec<Root>> {
    if let Some(path) = &global.cache_dir {
        let path =
            std::path::absolute(path).with_context(|| format!("--cache-dir {}", path.display()))?;
        let kind = RootKind::User;
        return Ok(vec![Root { path, kind }]);
    }
    if let Some(root) = &global.root {
        return Ok(layout::roots_within(root));
    }
    if let Some(list) = env::var_os("EPCACHE_PATH") {
        absolute_paths(&list).context("EPCACHE_PATH")?;
        return Ok(layout::roots_in(&list));
    }
    if let Some(list) = &config.settings.path {
        return Ok(layout::roots_in(list.as_ref()));
    }
    let mut roots = layout::default_roots();
    // A relative HOME names no directory of the user's.
    roots.retain(|root| root.path.is_absolute());
    Ok(roots)
}
