//! What all subcommands act on: which path entries, which roots, how much is checked. Put together
//! once, from the command line, then the environment, then the configuration.

use crate::cli::Global;
use crate::config::{Config, absolute_paths};
use anyhow::{Context, Result, anyhow, bail};
use epcache::interpreter::{self, Environment, Memory};
use epcache::layout;
use epcache::{Cache, Mode, PathEntry, Root, RootKind};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The directory in the user's root that holds what interpreters answered.
const MEMORY: &str = ".interpreters";

pub(crate) struct Setting {
    pub(crate) global: Global,
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    pub(crate) roots: Vec<Root>,
}

/// One environment that is meant. It says by what name and not what was found: it can be resolved
/// again at any time, whatever has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// That of a virtual environment.
    Venv(PathBuf),
    /// That of an interpreter: a path, or a name to look up on `PATH`.
    Python(OsString),
    /// These path entries.
    Given(Vec<OsString>),
    /// The well-known site directories and those that the configuration names for the system.
    System,
    /// That which is meant where none is named.
    Default,
}

impl fmt::Display for Wanted {
    /// In words for a message.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Venv(venv) => write!(formatter, "venv {}", venv.display()),
            Self::Python(python) => write!(formatter, "python {}", python.display()),
            Self::Given(path) => {
                formatter.write_str("path ")?;
                for (number, path_entry) in path.iter().enumerate() {
                    let separator = if number > 0 { ":" } else { "" };
                    write!(formatter, "{separator}{}", path_entry.display())?;
                }
                Ok(())
            }
            Self::System => formatter.write_str("the system's site directories"),
            Self::Default => formatter.write_str("the default environment"),
        }
    }
}

impl Setting {
    /// That of a subcommand that acts on one environment.
    ///
    /// # Errors
    /// The options name several, or a place that can't be used; or the configuration is wrong.
    pub(crate) fn new(global: Global) -> Result<Self> {
        refuse_several(&global)?;
        Self::for_several(global)
    }

    /// That of a subcommand that takes several environments at once. To read the configuration
    /// anew, give it its own `global` again.
    pub(crate) fn for_several(mut global: Global) -> Result<Self> {
        make_absolute(&mut global);
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
        // There is one at most, see `new`.
        let named = self.named().into_iter().next();
        self.resolve(&named.unwrap_or(Wanted::Default))
    }

    /// The environments that are meant for a root of this kind, each once. For a user's: what the
    /// options name, else what `[watch]` of the configuration does, else the default one.
    ///
    /// # Errors
    /// The options name one whose Python would have to be started for a root that all use.
    #[cfg_attr(
        not(feature = "watch"),
        allow(dead_code, reason = "for 'watch', which is left out")
    )]
    pub(crate) fn environments(&self, kind: RootKind) -> Result<Vec<Wanted>> {
        self.start_no_python_for(kind)?;
        if kind != RootKind::User {
            return Ok(vec![self.of_the_system()]);
        }
        let mut wanted = self.named();
        if wanted.is_empty() {
            wanted = self.configured();
        }
        if wanted.is_empty() {
            wanted.push(Wanted::Default);
        }
        Ok(each_once(wanted))
    }

    /// Refuses an interpreter or a virtual environment where the root is everybody's.
    pub(crate) fn start_no_python_for(&self, kind: RootKind) -> Result<()> {
        let Global { python, venv, .. } = &self.global;
        if kind == RootKind::User || python.is_empty() && venv.is_empty() {
            return Ok(());
        }
        bail!(
            "--{} starts no Python: name path entries with --path instead of --python or --venv",
            kind.name()
        )
    }

    /// What the options name.
    fn named(&self) -> Vec<Wanted> {
        let Global {
            path,
            root,
            python,
            venv,
            ..
        } = &self.global;
        if root.is_some() {
            return vec![self.of_the_system()];
        }
        let venvs = venv.iter().cloned().map(Wanted::Venv);
        let pythons = python.iter().cloned().map(Wanted::Python);
        let given = (!path.is_empty()).then(|| Wanted::Given(path.clone()));
        venvs.chain(pythons).chain(given).collect()
    }

    /// What `--path` names, else the site directories of the system.
    fn of_the_system(&self) -> Wanted {
        match &self.global.path {
            path if path.is_empty() => Wanted::System,
            path => Wanted::Given(path.clone()),
        }
    }

    /// What `[watch]` of the configuration names.
    fn configured(&self) -> Vec<Wanted> {
        let settings = &self.config.settings;
        let venvs = settings.watch_venvs.iter().flatten();
        let path = settings.watch_path_entries.iter().flatten();
        let path: Vec<OsString> = path.map(OsString::from).collect();
        let given = (!path.is_empty()).then_some(Wanted::Given(path));
        venvs.cloned().map(Wanted::Venv).chain(given).collect()
    }

    /// What is there now of an environment that is meant.
    ///
    /// # Errors
    /// There is none by that name, or its interpreter does not tell.
    pub(crate) fn resolve(&self, wanted: &Wanted) -> Result<Environment> {
        let memory = self.memory();
        let memory = memory.as_ref();
        Ok(match wanted {
            Wanted::Venv(venv) => interpreter::venv(venv, memory)?,
            Wanted::Python(python) => interpreter::python(python, memory)?,
            Wanted::Given(path) => Environment::given(path.clone()),
            Wanted::System => {
                let more = &self.config.settings.system_path_entries;
                Environment::well_known(self.global.root.as_deref(), more)
            }
            Wanted::Default => interpreter::default(memory)?,
        })
    }

    /// The path entries of the environment that is meant.
    pub(crate) fn path(&self) -> Result<Vec<PathEntry>> {
        Ok(self.path_entries(self.environment()?))
    }

    /// Those of the system.
    pub(crate) fn system_path(&self) -> Result<Vec<PathEntry>> {
        Ok(self.path_entries(self.resolve(&self.of_the_system())?))
    }

    /// The path entries of an environment, where they are: in the image, with `--root`.
    pub(crate) fn path_entries(&self, environment: Environment) -> Vec<PathEntry> {
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

/// Says by which options several environments are named, if so.
fn refuse_several(global: &Global) -> Result<()> {
    let given = usize::from(!global.path.is_empty());
    if global.venv.len() + global.python.len() + given <= 1 {
        return Ok(());
    }
    let options: Vec<&str> = [
        ("--venv", global.venv.is_empty()),
        ("--python", global.python.is_empty()),
        ("--path", global.path.is_empty()),
    ]
    .into_iter()
    .filter_map(|(option, absent)| (!absent).then_some(option))
    .collect();
    bail!(
        "{}: one environment at a time; only 'watch' takes several",
        options.join(" and ")
    )
}

/// Makes the environments that the options name independent of the current directory of later on.
fn make_absolute(global: &mut Global) {
    // Where there is none, a relative path is an error once it is used, which says what to do.
    let Ok(cwd) = env::current_dir() else { return };
    for venv in &mut global.venv {
        *venv = cwd.join(&venv);
    }
    for python in &mut global.python {
        if is_path(python) {
            *python = cwd.join(&python).into_os_string();
        }
    }
}

/// Whether an interpreter is named by its path, and not to be looked up on `PATH`.
fn is_path(python: &OsStr) -> bool {
    python.as_bytes().contains(&b'/')
}

fn each_once(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let mut once: Vec<Wanted> = Vec::new();
    for one in wanted {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::config::Settings;
    use clap::Parser;

    /// That of these options, with a configuration that names two environments for `watch`.
    fn setting(options: &[&str]) -> Result<Setting> {
        let words = ["epcache", "paths"].iter().chain(options);
        let mut global = Cli::try_parse_from(words)?.global;
        make_absolute(&mut global);
        let settings = Settings {
            watch_venvs: Some(vec!["/c/venv".into(), "/c/venv".into()]),
            watch_path_entries: Some(vec!["/c/one".into(), "/c/two".into()]),
            ..Settings::default()
        };
        let config = Config {
            settings,
            files: Vec::new(),
        };
        let (mode, roots) = (Mode::Exact, Vec::new());
        Ok(Setting {
            global,
            config,
            mode,
            roots,
        })
    }

    fn wanted(kind: RootKind, options: &[&str]) -> Result<Vec<String>> {
        let wanted = setting(options)?.environments(kind)?;
        Ok(wanted.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_options_name_is_meant_all_of_it_each_once() -> Result<()> {
        let options = [
            "--path=x",
            "--venv=/a",
            "--python=python3",
            "--path=/y",
            "--venv=/b",
            "--venv=/a",
        ];
        assert_eq!(
            wanted(RootKind::User, &options)?,
            ["venv /a", "venv /b", "python python3", "path x:/y"]
        );
        Ok(())
    }

    #[test]
    fn what_the_configuration_names_is_meant_where_no_option_does() -> Result<()> {
        let expected = ["venv /c/venv", "path /c/one:/c/two"];
        assert_eq!(wanted(RootKind::User, &[])?, expected);
        let mut nothing = setting(&[])?;
        nothing.config.settings = Settings {
            watch_venvs: Some(Vec::new()),
            ..Settings::default()
        };
        assert_eq!(nothing.environments(RootKind::User)?, [Wanted::Default]);
        Ok(())
    }

    #[test]
    fn of_a_system_or_an_image_its_site_directories_are_meant_or_what_is_given() -> Result<()> {
        let system = ["the system's site directories"];
        assert_eq!(wanted(RootKind::System, &[])?, system);
        assert_eq!(wanted(RootKind::User, &["--root=/image"])?, system);
        for options in [["--path=/x"].as_slice(), &["--path=/x", "--root=/image"]] {
            assert_eq!(wanted(RootKind::System, options)?, ["path /x"]);
        }
        for option in ["--venv=/a", "--python=/a"] {
            assert!(wanted(RootKind::System, &[option]).is_err(), "{option}");
        }
        Ok(())
    }

    #[test]
    fn a_path_is_made_absolute_a_name_is_not() -> Result<()> {
        let here = env::current_dir()?;
        let options = ["--venv=../v", "--python=bin/python", "--python=python3"];
        assert_eq!(
            setting(&options)?.environments(RootKind::User)?,
            [
                Wanted::Venv(here.join("../v")),
                Wanted::Python(here.join("bin/python").into()),
                Wanted::Python("python3".into()),
            ]
        );
        Ok(())
    }
}
