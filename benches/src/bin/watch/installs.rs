//! From the end of an installer to a fresh index.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use epcache_benches::machine::{self, Machine};
use epcache_benches::measure;

use crate::report::{Section, Times, Unit};
use crate::venv::{VERSIONS, Venv};

/// Of it, 100 ms are the age that a stamp needs before it is believed.
const MEDIAN_GOAL: Duration = Duration::from_millis(250);
const WORST_GOAL: Duration = Duration::from_millis(600);

/// What is done in turn: at the end, all is as it was at the beginning.
const STEPS: [Step; 3] = [
    Step::Install(0), // the first version
    Step::Install(1), // the second over the first
    Step::Remove,
];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The wheel of this number.
    Install(usize),
    Remove,
}

/// A program that installs wheels.
pub(crate) struct Installer {
    name: String,
    program: PathBuf,
    /// What comes before its subcommand, and what after it.
    before: Vec<&'static str>,
    /// With which environment it is to work, if it is not its own.
    python: Option<PathBuf>,
    /// uv asks nobody before it removes something, and pip must be told so.
    remove: &'static [&'static str],
}

impl Installer {
    /// The environment's own pip.
    pub(crate) fn pip(venv: &Venv) -> Installer {
        Installer {
            name: "pip".to_owned(),
            program: venv.python.clone(),
            before: vec!["-I", "-m", "pip", "--disable-pip-version-check"],
            python: None,
            remove: &["uninstall", "--yes"],
        }
    }

    /// uv, from `PATH` or else from the package index.
    pub(crate) fn uv(machine: &Machine, scratch: &Path, venv: &Venv) -> Result<Installer> {
        let program = match machine::answer(Command::new("uv").arg("--version")) {
            Ok(_) => PathBuf::from("uv"),
            Err(_) => install_uv(machine, scratch)?,
        };
        Ok(Installer {
            name: machine::answer(Command::new(&program).arg("--version"))?,
            program,
            before: vec!["--offline", "pip"],
            python: Some(venv.python.clone()),
            remove: &["uninstall"],
        })
    }

    fn command(&self, venv: &Venv, step: Step) -> Command {
        let mut command = machine::command(&self.program, &venv.home);
        command.args(&self.before);
        match step {
            Step::Install(_) => command.args(["install", "--no-index", "--no-deps", "--quiet"]),
            Step::Remove => command.args(self.remove).arg("--quiet"),
        };
        if let Some(python) = &self.python {
            command.arg("--python").arg(python);
        }
        match step {
            Step::Install(version) => command.arg(&venv.wheels[version]),
            Step::Remove => command.arg("bench-plugin"),
        };
        command
    }
}

/// Gets uv with the caller's settings for pip, which may say where the package index is.
fn install_uv(machine: &Machine, scratch: &Path) -> Result<PathBuf> {
    let tools = scratch.join("tools");
    machine::answer(
        machine::command(&machine.python, scratch)
            .args(["-m", "venv"])
            .arg(&tools),
    )?;
    machine::answer(
        Command::new(tools.join("bin/python"))
            .args(["-I", "-m", "pip", "--disable-pip-version-check"])
            .args(["install", "--quiet", "--only-binary", ":all:", "uv"]),
    )
    .context("uv can't be installed")?;
    Ok(tools.join("bin/uv"))
}

/// Times what a round takes after the installer has ended.
pub(crate) fn measure(venv: &Venv, installer: &Installer, rounds: u32) -> Result<Section> {
    eprintln!("{}: {rounds} rounds", installer.name);
    venv.freshness.wait()?;
    // The first one compiles the installer's modules, and fills its cache.
    for step in STEPS {
        round(venv, installer, step)?;
    }
    let mut of_installer = Vec::new();
    let mut after_end = Vec::new();
    let mut after_change = Vec::new();
    for (_, step) in (0..rounds).zip(STEPS.into_iter().cycle()) {
        let took = round(venv, installer, step)?;
        of_installer.push(took.installer);
        after_end.push(took.after_end);
        after_change.push(took.after_change);
    }
    venv.watcher.borrow_mut().check()?;

    let title = format!(
        "{} in an environment of {} dists",
        installer.name, venv.dists
    );
    let mut section = Section::new(&title);
    section.times("the installer itself", &of_installer)?;
    let times = section.times("from its end to a fresh index", &after_end)?;
    section.times(
        "from the last change of a file to a fresh index",
        &after_change,
    )?;
    let Times {
        median_ms,
        worst_ms,
        ..
    } = times;
    for (what, measured, goal) in [
        ("median from its end", median_ms, MEDIAN_GOAL),
        ("worst from its end", worst_ms, WORST_GOAL),
    ] {
        section.goal(what, goal.as_secs_f64() * 1e3, measured, Unit::Milliseconds);
    }
    Ok(section)
}

/// What a round took.
struct Took {
    installer: Duration,
    /// From the installer's end.
    after_end: Duration,
    /// From the last change before it ended.
    after_change: Duration,
}

fn round(venv: &Venv, installer: &Installer, step: Step) -> Result<Took> {
    let took = measure::time(&mut installer.command(venv, step))?;
    let end = Instant::now();
    let wait = venv.freshness.wait();
    let (after_end, now) = (end.elapsed(), SystemTime::now());
    wait.with_context(|| format!("after {step:?} by {}", installer.name))?;
    check(venv, step)?;
    let since_change = now.duration_since(venv.freshness.last_change()?);
    Ok(Took {
        installer: took,
        after_end,
        after_change: since_change.context("a change in the future")?,
    })
}

/// A cache that is fresh and says something else would be fast, and wrong.
fn check(venv: &Venv, step: Step) -> Result<()> {
    for (number, version) in VERSIONS.iter().enumerate() {
        let expected = matches!(step, Step::Install(installed) if installed == number);
        let name = format!("bench_plugin-{version}.dist-info");
        ensure!(
            venv.freshness.knows(&name) == expected,
            "after {step:?} the cache is wrong about {name}"
        );
    }
    Ok(())
}
