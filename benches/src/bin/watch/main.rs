//! `watch`: how soon `epcache watch` has the cache fresh again, and what it takes meanwhile.
//!
//! A virtual environment is made, a watcher is started on it, and real installers install, upgrade
//! and remove a real wheel in it. What is timed is the wait of somebody who starts a program
//! right after the installer has ended: until a fresh index answers, by the library's own word. Beside
//! that: how often a watcher wakes up while nothing happens and what it has resident, how many
//! syncs a burst of changes leads to, and how often it is woken by programs that only read.
//!
//! ```text
//! cargo run --release -p epcache-benches --bin watch -- --json out.json
//! ```

mod burst;
mod freshness;
mod installs;
mod report;
mod starts;
mod venv;
mod watcher;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use epcache_benches::machine::Machine;
use epcache_benches::scratch;

use installs::Installer;
use report::{Report, Section};
use venv::Venv;

#[derive(Debug, Parser)]
#[command(about = "Measure how soon the watcher has the cache fresh, and what it takes")]
struct Arguments {
    /// How many distributions the virtual environment, and each of the path entries, holds
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    dists: u32,

    /// How many rounds to run: an install, an upgrade and a removal are a round each, in turn
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How many path entries the watcher has that is left alone
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    path_entries: u32,

    /// For how many seconds it is left alone
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    idle_seconds: u32,

    /// How many changes of files are a burst
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..))]
    changes: u32,

    /// Measure these parts alone
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,

    /// Measure this program instead of building one
    #[arg(long, value_name = "EXE")]
    epcache: Option<PathBuf>,

    /// The Python to make the environment with
    #[arg(long, value_name = "EXE", default_value = "python3")]
    python: PathBuf,

    /// Work in a new directory below this one: it decides the file system
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// Give up after so many minutes, whatever has not ended by then
    #[arg(long, default_value_t = 60, value_name = "MINUTES")]
    time_limit: u32,

    /// Write all numbers to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A burst of changes, then nothing: syncs, wake-ups, memory
    Idle,
    /// Programs that only read
    Starts,
    /// pip
    Pip,
    /// uv, from PATH or the package index
    Uv,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let machine = Machine::look(arguments.epcache.as_deref(), &arguments.python)?;
    let parent = arguments.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = scratch::directory(&parent, "epcache-watch-", arguments.time_limit)?;
    measure(&arguments, &machine, scratch.path())
}

fn measure(arguments: &Arguments, machine: &Machine, scratch: &Path) -> Result<()> {
    let scratch = scratch
        .canonicalize()
        .context("resolve the scratch directory")?;
    let dists = usize::try_from(arguments.dists).context("count distributions")?;
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let mut report = Report::new(machine, arguments.dists);

    // Its watcher becomes quiet while the other one is measured.
    let in_venv = [Part::Starts, Part::Pip, Part::Uv];
    let venv = in_venv
        .into_iter()
        .any(wanted)
        .then(|| Venv::make(machine, &scratch.join("environment"), dists))
        .transpose()?;

    if wanted(Part::Idle) {
        let home = scratch.join("path-entries");
        let idle = Duration::from_secs(arguments.idle_seconds.into());
        let path_entries = burst::prepare(&home, arguments.path_entries, dists)?;
        let changes = arguments.changes;
        report.add(burst::measure(
            machine,
            &home,
            &path_entries,
            changes,
            idle,
        )?);
    }
    if let Some(venv) = &venv {
        if wanted(Part::Starts) {
            report.add(counted("Starts", || starts::measure(venv))?);
        }
        if wanted(Part::Pip) {
            let pip = Installer::pip(venv);
            report.add(installs::measure(venv, &pip, arguments.rounds)?);
        }
        if wanted(Part::Uv) {
            report.add(match Installer::uv(machine, &scratch, venv) {
                Ok(uv) => installs::measure(venv, &uv, arguments.rounds)?,
                Err(error) => Section::skipped("uv", format!("{error:#}")),
            });
        }
    }
    report.print_goals();
    match &arguments.json {
        Some(file) => report.write(file),
        None => Ok(()),
    }
}

/// What the kernel counts, and tells in `/proc`.
fn counted(title: &str, measure: impl FnOnce() -> Result<Section>) -> Result<Section> {
    if cfg!(target_os = "linux") {
        measure()
    } else {
        let reason = "what a process does is counted on Linux only";
        Ok(Section::skipped(title, reason.to_owned()))
    }
}
