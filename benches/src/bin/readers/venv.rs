//! The environments that everything is measured in: real virtual environments, filled with
//! generated distributions, with the reader, the command and the rival installed in them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use epcache_benches::environment::{self, PathEntry, copy_tree};
use epcache_benches::machine::{self, Machine};
use epcache_benches::measure;

use crate::contenders::Clock;

/// After this long a stamp is old enough to be believed, so `sync` does not wait for it: the
/// rule says 100 ms.
const STAMPS_ARE_OLD: Duration = Duration::from_millis(150);

/// A background `sync` of a thousand distributions takes well below a second.
const SYNC_TAKES_NO_LONGER: Duration = Duration::from_secs(30);

/// How soon to look again whether it is done.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Each contender's question, and what prints the answer if a second argument asks for it. What
/// an entry point is made of is read from each, in case that it is made only then.
const TELL: &str = "
found = [(one.group, one.name, one.value) for one in found]
if len(sys.argv) > 2:
    for one in found:
        print(*one, sep='\\t')
";

/// The standard library's answer.
const ASK_IMPORTLIB: &str = "\
import sys
from importlib.metadata import entry_points
found = entry_points(group=sys.argv[1])
";

/// The answer of stevedore, as its managers ask for it.
const ASK_STEVEDORE: &str = "\
import sys
import stevedore
from stevedore import _cache
found = _cache.get_group_all(sys.argv[1])
";

/// The reader's answer: the one changed line.
const ASK_EPCACHE: &str = "\
import sys
from epcache import entry_points
found = entry_points(group=sys.argv[1])
";

/// The standard library's answer where the reader serves it.
const ASK_PATCHED: &str = "\
import sys
import epcache
epcache.patch()
from importlib.metadata import entry_points
found = entry_points(group=sys.argv[1])
";

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Importlib,
    Stevedore,
    /// In this mode.
    Epcache(&'static str),
    /// `importlib.metadata`, patched, in this mode.
    Patched(&'static str),
}

/// What environments are made with.
#[derive(Debug)]
pub(crate) struct Workshop<'a> {
    pub(crate) machine: &'a Machine,
    /// The reader's sources, a directory named `epcache`.
    pub(crate) reader: &'a Path,
    pub(crate) scratch: &'a Path,
    /// Which time counts.
    pub(crate) clock: Clock,
    /// An interpreter that has pip, which the measured environments do not.
    pip: PathBuf,
    /// What is asked for, once, from the package index; why not, where it could not be had.
    stevedore: Result<PathBuf, String>,
}

impl<'a> Workshop<'a> {
    /// Makes the environment that holds pip, and gets the rival with it.
    pub(crate) fn set_up(
        machine: &'a Machine,
        reader: &'a Path,
        scratch: &'a Path,
        clock: Clock,
    ) -> Result<Workshop<'a>> {
        ensure!(
            !scratch.starts_with("/tmp"),
            "{}: stevedore keeps no cache for an interpreter below /tmp; name another --scratch",
            scratch.display()
        );
        ensure!(
            reader.join("__init__.py").is_file(),
            "{} is not the reader",
            reader.display()
        );
        let tools = scratch.join("tools");
        let mut make = machine::command(&machine.python, scratch);
        machine::answer(make.args(["-m", "venv"]).arg(&tools))?;
        let mut workshop = Workshop {
            machine,
            reader,
            scratch,
            clock,
            pip: tools.join("bin/python"),
            stevedore: Err("not asked for".to_owned()),
        };
        let target = scratch.join("stevedore");
        let got = workshop.pip_install(
            &[OsStr::new("--target"), target.as_os_str()],
            &["stevedore"],
        );
        workshop.stevedore = match got {
            Ok(()) => Ok(target),
            Err(error) => Err(format!("stevedore can't be installed: {error:#}")),
        };
        Ok(workshop)
    }

    /// Why there is no rival to compare with, if there is none.
    pub(crate) fn no_stevedore(&self) -> Option<&str> {
        self.stevedore.as_ref().err().map(String::as_str)
    }

    /// Installs packages from the package index, with compiled modules.
    pub(crate) fn pip_install(&self, options: &[&OsStr], packages: &[&str]) -> Result<()> {
        // With the caller's settings for pip: they may say where the package index is.
        let mut pip = Command::new(&self.pip);
        pip.args([
            "-I",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(options)
        .args(packages);
        machine::answer(&mut pip).map(drop)
    }

    /// The same for one of the environments, which has no pip.
    pub(crate) fn pip_install_into(&self, venv: &Venv, packages: &[&str]) -> Result<()> {
        let mut pip = Command::new(&self.pip);
        pip.args(["-I", "-m", "pip", "--python"])
            .arg(&venv.python)
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages);
        machine::answer(&mut pip).map(drop)
    }

    /// Makes a virtual environment with that many distributions, the reader and the rival.
    ///
    /// Nothing is synced yet.
    pub(crate) fn venv(&self, name: &str, dists: usize) -> Result<Venv> {
        let venv = self.empty_venv(name)?;
        let generated = environment::generate(&venv.site_packages, dists)?;
        Ok(Venv {
            generated: Some(generated),
            ..venv
        })
    }

    /// Makes a virtual environment with the reader and the rival alone.
    pub(crate) fn empty_venv(&self, name: &str) -> Result<Venv> {
        eprintln!("making the environment {name}");
        let home = self.scratch.join(name);
        let root = home.join("venv");
        create_dir(&home)?;
        let mut make = machine::command(&self.machine.python, &home);
        machine::answer(make.args(["-m", "venv", "--without-pip"]).arg(&root))?;
        let python = root.join("bin/python");
        let mut ask = machine::command(&python, &home);
        ask.args([
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
        ]);
        let site_packages = PathBuf::from(machine::answer(&mut ask)?);
        let venv = Venv {
            command: root.join("bin/epcache"),
            home,
            root,
            python,
            site_packages,
            generated: None,
        };
        self.install_reader(&venv)?;
        if let Ok(stevedore) = &self.stevedore {
            copy_tree(stevedore, &venv.site_packages)?;
        }
        let mut compile = venv.python();
        compile
            .args(["-m", "compileall", "-q"])
            .arg(&venv.site_packages);
        machine::answer(&mut compile)?;
        Ok(venv)
    }

    /// Puts the reader and the command where their wheel does.
    fn install_reader(&self, venv: &Venv) -> Result<()> {
        copy_tree(self.reader, &venv.site_packages.join("epcache"))?;
        let version = self
            .machine
            .epcache_version
            .split_whitespace()
            .last()
            .context("epcache --version says nothing")?;
        let metadata = venv
            .site_packages
            .join(format!("epcache-{version}.dist-info"));
        create_dir(&metadata)?;
        write(
            &metadata.join("METADATA"),
            &format!("Metadata-Version: 2.1\nName: epcache\nVersion: {version}\n"),
        )?;
        fs::copy(&self.machine.epcache, &venv.command)
            .with_context(|| format!("copy the command to {}", venv.command.display()))?;
        Ok(())
    }
}

/// A virtual environment, and a home directory with caches for it alone.
#[derive(Debug)]
pub(crate) struct Venv {
    pub(crate) home: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) site_packages: PathBuf,
    python: PathBuf,
    /// The installed `epcache`.
    command: PathBuf,
    generated: Option<PathEntry>,
}

impl Venv {
    /// The interpreter, without arguments.
    pub(crate) fn python(&self) -> Command {
        machine::command(&self.python, &self.home)
    }

    /// A program that was installed into the environment.
    pub(crate) fn program(&self, name: &str) -> Command {
        machine::command(&self.root.join("bin").join(name), &self.home)
    }

    /// The interpreter, which does nothing: the baseline.
    pub(crate) fn nothing(&self) -> Command {
        self.code("pass")
    }

    /// The interpreter, to run these lines.
    pub(crate) fn code(&self, code: &str) -> Command {
        let mut command = self.python();
        command.args(["-c", code]);
        command
    }

    /// Asks for the members of a group.
    pub(crate) fn ask(&self, asked: Asked, group: &str) -> Command {
        let (question, mode) = match asked {
            Asked::Importlib => (ASK_IMPORTLIB, None),
            Asked::Stevedore => (ASK_STEVEDORE, None),
            Asked::Epcache(mode) => (ASK_EPCACHE, Some(mode)),
            Asked::Patched(mode) => (ASK_PATCHED, Some(mode)),
        };
        let mut command = self.code(&format!("{question}{TELL}"));
        command.arg(group);
        if let Some(mode) = mode {
            command.env("EPCACHE_MODE", mode);
        }
        command
    }

    /// The groups that are asked for, each with the number of its members.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, usize)> {
        let groups = self.generated.iter().flat_map(|made| &made.groups);
        groups.map(|(group, members)| (group.as_str(), *members))
    }

    /// Refreshes the cache, when everything that was written before is old enough to be believed.
    pub(crate) fn sync(&self) -> Result<()> {
        self.let_stamps_age()?;
        let mut sync = machine::command(&self.command, &self.home);
        machine::answer(sync.arg("sync").arg("--venv").arg(&self.root)).map(drop)
    }

    /// Busy all the while, because a processor that slept would be slower for who comes next.
    pub(crate) fn let_stamps_age(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < STAMPS_ARE_OLD {
            measure::time(&mut self.nothing())?;
        }
        Ok(())
    }

    /// Whether a fresh index answers for all that can have one, in this mode.
    pub(crate) fn is_fresh(&self, mode: &'static str) -> Result<bool> {
        let mut ask = machine::command(&self.python, &self.home);
        // The reader warns of what is stale and will not be repaired: here that is an error.
        ask.args([
            "-W",
            "error",
            "-c",
            &format!("{ASK_EPCACHE}{TELL}"),
            "no.such.group",
        ])
        .env("EPCACHE_MODE", mode)
        .env("EPCACHE_ON_STALE", "warn")
        .stdin(Stdio::null());
        let output = ask.output().with_context(|| format!("start {ask:?}"))?;
        if output.status.success() {
            return Ok(true);
        }
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(error.contains("StaleCacheWarning"), "{ask:?}: {error}");
        Ok(false)
    }

    /// Waits until a `sync` in the background is done.
    pub(crate) fn wait_until_fresh(&self) -> Result<()> {
        let start = Instant::now();
        while !self.is_fresh("exact")? {
            if start.elapsed() > SYNC_TAKES_NO_LONGER {
                bail!(
                    "{} is still stale: no sync was started",
                    self.home.display()
                );
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Stops unless all give the standard library's answers: what gives another is no rival.
    pub(crate) fn check_that_answers_agree(&self, asked: &[Asked]) -> Result<()> {
        for (group, members) in self.groups() {
            let expected = self.answer(Asked::Importlib, group)?;
            ensure!(
                expected.lines().count() >= members,
                "importlib.metadata finds fewer than {members} in {group}"
            );
            self.check_answers(asked, group, &expected)?;
        }
        Ok(())
    }

    /// The same for one group, where each answer takes long.
    pub(crate) fn check_that_answers_in(&self, group: &str, asked: &[Asked]) -> Result<()> {
        let expected = self.answer(Asked::Importlib, group)?;
        ensure!(
            !expected.is_empty(),
            "importlib.metadata finds nothing in {group}"
        );
        self.check_answers(asked, group, &expected)
    }

    fn check_answers(&self, asked: &[Asked], group: &str, expected: &str) -> Result<()> {
        for &asked in asked {
            ensure!(
                self.answer(asked, group)? == expected,
                "{asked:?} and importlib.metadata differ in {group}, in {}",
                self.home.display()
            );
        }
        Ok(())
    }

    /// What is found in a group, a line for each; no cache is refreshed for it.
    pub(crate) fn answer(&self, asked: Asked, group: &str) -> Result<String> {
        let mut command = self.ask(asked, group);
        machine::answer(command.arg("tell").env("EPCACHE_ON_STALE", "ignore"))
    }

    /// Stops unless stevedore has a cache of its own for this environment: it was asked before.
    pub(crate) fn check_that_stevedore_is_warm(&self) -> Result<()> {
        let cache = self.home.join("cache/python-entrypoints");
        let files = fs::read_dir(&cache).map_or(0, Iterator::count);
        ensure!(files > 0, "stevedore keeps no cache in {}", cache.display());
        Ok(())
    }

    /// Installs one more distribution with one member of `group`, as far as readers can tell.
    pub(crate) fn add_dist(&self, number: u32, group: &str) -> Result<()> {
        let metadata = self
            .site_packages
            .join(format!("added_{number}-1.0.dist-info"));
        create_dir(&metadata)?;
        write(
            &metadata.join("METADATA"),
            &format!("Metadata-Version: 2.1\nName: added-{number}\nVersion: 1.0\n"),
        )?;
        write(
            &metadata.join("entry_points.txt"),
            &format!("[{group}]\nadded-{number} = added_{number}:plugin\n"),
        )
    }
}

fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir(path).with_context(|| format!("create {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
