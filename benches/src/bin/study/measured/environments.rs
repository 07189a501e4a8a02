//! The virtual environments that everybody is measured in: one for each Python, with the reader, the
//! command and the rivals.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use epcache_benches::environment::copy_tree;
use epcache_benches::machine::{self, Machine};

/// Younger stamps are not believed, which takes 100 ms: a sync would wait for them.
const STAMPS_ARE_OLD: Duration = Duration::from_millis(150);

/// Where a Python is looked for that is not on `PATH`.
const PYENV: &str = "PYENV_ROOT";

/// The Pythons beside the main one that are measured where they are found.
pub(crate) const OTHER_PYTHONS: [&str; 2] = ["3.12", "3.13"];

/// What environments are made with.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) machine: Machine,
    /// The program of the Rust contenders.
    pub(crate) strategies: PathBuf,
    pub(crate) scratch: PathBuf,
    /// A copy of the Python contenders: what they compile must not lie among the sources.
    scripts: PathBuf,
}

/// A virtual environment, and a home directory for it alone.
#[derive(Debug)]
pub(crate) struct Venv {
    pub(crate) home: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) site_packages: PathBuf,
    /// As `3.11.7`.
    pub(crate) version: String,
    pub(crate) scripts: PathBuf,
    pub(crate) strategies: PathBuf,
    /// Of a program in `scripts`: where Rust contenders are to look too.
    pub(crate) sys_path: Vec<PathBuf>,
    python: PathBuf,
}

impl Workshop {
    /// Builds what is measured and copies the contenders.
    pub(crate) fn set_up(
        epcache: Option<&Path>,
        python: &Path,
        scratch: &Path,
    ) -> Result<Workshop> {
        ensure!(
            !scratch.starts_with("/tmp"),
            "{}: stevedore keeps no cache for an interpreter below /tmp; name another --scratch",
            scratch.display()
        );
        let scripts = scratch.join("contenders");
        copy_tree(&sources("benches/python"), &scripts)?;
        Ok(Workshop {
            machine: Machine::look(epcache, python)?,
            strategies: machine::build("epcache-benches", "strategies")?,
            scratch: scratch.to_owned(),
            scripts,
        })
    }

    /// Makes an environment with nothing but the reader and the command in it.
    pub(crate) fn venv(&self, name: &str, python: &Path) -> Result<Venv> {
        eprintln!("making the environment {name}");
        let home = self.scratch.join(name);
        let root = home.join("venv");
        create_dir(&home)?;
        machine::answer(
            machine::command(python, &home)
                .args(["-m", "venv"])
                .arg(&root),
        )?;
        let python = root.join("bin/python");
        let ask = |code: &str| machine::answer(machine::command(&python, &home).args(["-c", code]));
        let site_packages = PathBuf::from(ask("import site; print(site.getsitepackages()[0])")?);
        let version = ask("import sys; print(sys.version.split()[0])")?;
        let sys_path = ask("import sys; print(*sys.path[1:], sep='\\n')")?;
        let sys_path = std::iter::once(self.scripts.clone())
            .chain(sys_path.lines().map(PathBuf::from))
            .collect();
        let venv = Venv {
            home,
            root,
            site_packages,
            version,
            scripts: self.scripts.clone(),
            strategies: self.strategies.clone(),
            sys_path,
            python,
        };
        self.install_reader(&venv)?;
        venv.compile()?;
        Ok(venv)
    }

    /// Installs the rivals, in the versions that are pinned beside the contenders.
    pub(crate) fn install_rivals(&self, venv: &Venv) -> Result<()> {
        let mut arguments = Vec::new();
        for child in fs::read_dir(&self.scripts).context("list the contenders")? {
            let path = child?.path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
            if name.starts_with("requirements") && name.ends_with(".txt") {
                arguments.extend([OsStr::new("-r").to_owned(), path.into_os_string()]);
            }
        }
        ensure!(!arguments.is_empty(), "no rivals are named");
        venv.pip_install(&arguments)?;
        venv.compile()
    }

    /// Puts the reader and the command where their wheel does.
    fn install_reader(&self, venv: &Venv) -> Result<()> {
        copy_tree(
            &sources("python/epcache"),
            &venv.site_packages.join("epcache"),
        )?;
        let version = self.machine.epcache_version.split_whitespace().last();
        let version = version.context("epcache --version says nothing")?;
        let metadata = venv
            .site_packages
            .join(format!("epcache-{version}.dist-info"));
        create_dir(&metadata)?;
        fs::write(
            metadata.join("METADATA"),
            format!("Metadata-Version: 2.1\nName: epcache\nVersion: {version}\n"),
        )
        .with_context(|| format!("write in {}", metadata.display()))?;
        let command = venv.root.join("bin/epcache");
        fs::copy(&self.machine.epcache, &command)
            .with_context(|| format!("copy the command to {}", command.display()))?;
        Ok(())
    }
}

impl Venv {
    /// The interpreter, without arguments.
    pub(crate) fn python(&self) -> Command {
        machine::command(&self.python, &self.home)
    }

    /// Installs with pip and the caller's settings for it: they may say where the package index is.
    pub(crate) fn pip_install<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<()> {
        machine::answer(self.pip("install").args(arguments)).map(drop)
    }

    /// The environment's pip, to do this.
    pub(crate) fn pip(&self, what: &str) -> Command {
        let mut pip = Command::new(&self.python);
        pip.args(["-I", "-m", "pip", "--disable-pip-version-check", "--quiet"])
            .arg(what);
        pip
    }

    /// Compiles all modules, so that no contender is the first to do so.
    pub(crate) fn compile(&self) -> Result<()> {
        let mut compile = self.python();
        compile
            .args(["-m", "compileall", "-q", "-x", "lib2to3|bad_"])
            .args([&self.site_packages, &self.scripts]);
        // A module that is not for this Python can't be compiled, and nobody will import it.
        let _ = compile.output().context("start the interpreter")?;
        Ok(())
    }

    /// Waits until everything that was written before is old enough to be believed.
    ///
    /// Busy all the while, because a processor that slept would be slower for who comes next.
    pub(crate) fn let_stamps_age(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < STAMPS_ARE_OLD {
            machine::answer(self.python().args(["-c", "pass"]))?;
        }
        Ok(())
    }
}

/// The interpreter of another version, from `PATH` or among pyenv's, with what it says it is.
pub(crate) fn find_python(version: &str) -> Option<PathBuf> {
    let works = |path: &Path| {
        let mut ask = Command::new(path);
        ask.args(["-c", "import sys, venv, ensurepip; print(sys.executable)"]);
        machine::answer(&mut ask).ok().map(PathBuf::from)
    };
    let name = format!("python{version}");
    let pyenv = std::env::var_os(PYENV)
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let installed = pyenv.and_then(|pyenv| fs::read_dir(pyenv.join("versions")).ok());
    let of_pyenv = installed
        .into_iter()
        .flatten()
        .filter_map(|child| Some(child.ok()?.path().join("bin").join(&name)));
    std::iter::once(PathBuf::from(&name))
        .chain(of_pyenv)
        .find_map(|path| works(&path))
}

/// A directory of this repository.
pub(crate) fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir(path).with_context(|| format!("create {}", path.display()))
}
