//! `readers`: how long the Python reader takes to answer, and how long its rivals take for the same, in
//! one run.
//!
//! Virtual environments are made with generated distributions, the reader and the rivals in them.
//! All must give the same answers. Then whole processes are run in turn, round by round and in
//! another order each round, so that a machine that grows busy is busy for all. What counts is the time above
//! `python -c pass`, because that is what nobody can save.
//!
//! ```text
//! cargo run --release -p epcache-benches --bin readers -- --rounds 40 --hosts --json out.json
//! ```

mod cold;
mod contenders;
mod enabled;
mod fresh;
mod hosts;
mod loaded;
mod report;
mod slow;
mod stale;
mod venv;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use epcache_benches::machine::Machine;
use epcache_benches::scratch;

use contenders::Clock;
use report::Report;
use venv::Workshop;

/// The second size: what is added per distribution must not be much here.
const FEW_DISTS: usize = 100;

#[derive(Debug, Parser)]
#[command(about = "Measure the Python reader against its rivals, as ratios in one run")]
struct Arguments {
    /// How many distributions an environment holds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(20..))]
    dists: u32,

    /// How many rounds to run
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How many rounds to run on a cold disk
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    cold_rounds: u32,

    /// How many rounds to run on the slow file system, and of whole applications
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    slow_rounds: u32,

    /// How late each operation of the slow file system is, in microseconds
    #[arg(long, default_value_t = 500, value_name = "MICROSECONDS")]
    delay: u32,

    /// Which time counts, for whole processes on a warm disk
    #[arg(long, value_enum, default_value_t = Clock::Wall)]
    clock: Clock,

    /// Also measure real applications, which are installed from the package index
    #[arg(long)]
    hosts: bool,

    /// Measure these parts alone
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,

    /// Measure this program instead of building one
    #[arg(long, value_name = "EXE")]
    epcache: Option<PathBuf>,

    /// Measure this reader instead of the one beside the benchmarks: a directory named epcache
    #[arg(long, value_name = "DIR")]
    reader: Option<PathBuf>,

    /// The Python to make the environments with
    #[arg(long, value_name = "EXE", default_value = "python3")]
    python: PathBuf,

    /// Work in a new directory below this one, which must not be below /tmp
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    scratch: PathBuf,

    /// Give up after so many minutes, whatever has not ended by then
    #[arg(long, default_value_t = 60, value_name = "MINUTES")]
    time_limit: u32,

    /// Write all numbers to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A fresh cache, whole processes
    Fresh,
    /// A fresh cache, in a process that has importlib.metadata loaded
    Loaded,
    /// A page cache that was dropped
    Cold,
    /// A slow file system
    Slow,
    /// A cache that is stale by one distribution
    Stale,
    /// An environment for which the cache was enabled
    Enabled,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Before the first thread is started, which would keep the mounts of everybody.
    let own_mounts = slow::prepare();
    let machine = Machine::look(arguments.epcache.as_deref(), &arguments.python)?;
    let scratch = scratch::directory(&arguments.scratch, "epcache-readers-", arguments.time_limit)?;
    compare(&arguments, &machine, scratch.path(), own_mounts)
}

fn compare(
    arguments: &Arguments,
    machine: &Machine,
    scratch: &Path,
    own_mounts: Result<()>,
) -> Result<()> {
    let scratch = std::fs::canonicalize(scratch).context("resolve the scratch directory")?;
    // `python -c` searches the current directory too: let there be nothing, for everyone.
    let nowhere = scratch.join("nowhere");
    std::fs::create_dir(&nowhere).context("make an empty directory")?;
    std::env::set_current_dir(&nowhere).context("enter an empty directory")?;

    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/epcache");
    let reader = arguments.reader.as_deref().unwrap_or(&beside);
    let workshop = Workshop::set_up(machine, reader, &scratch, arguments.clock)?;
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let dists = usize::try_from(arguments.dists).context("count distributions")?;

    let mut report = Report::new(machine, arguments.clock);
    // The other parts compare with this one: it is made in any case, and never changed.
    let fresh = fresh::prepare(&workshop, "fresh", dists)?;
    if wanted(Part::Fresh) {
        report.add(fresh::measure(&workshop, &fresh, dists, arguments.rounds)?);
        if dists > FEW_DISTS {
            let few = fresh::prepare(&workshop, "few", FEW_DISTS)?;
            report.add(fresh::measure_few(
                &workshop,
                &few,
                FEW_DISTS,
                arguments.rounds,
            )?);
        }
    }
    if wanted(Part::Loaded) {
        report.add(loaded::measure(&fresh, arguments.clock, arguments.rounds)?);
    }
    if wanted(Part::Stale) {
        report.add(stale::measure(&workshop, &fresh, dists, arguments.rounds)?);
    }
    if wanted(Part::Enabled) {
        report.add(enabled::measure(
            &workshop,
            &fresh,
            dists,
            arguments.rounds,
        )?);
    }
    if wanted(Part::Cold) {
        report.add(cold::measure(&workshop, &fresh, arguments.cold_rounds)?);
    }
    if wanted(Part::Slow) {
        let delay = Duration::from_micros(arguments.delay.into());
        let rounds = arguments.slow_rounds;
        report.add(slow::measure(&workshop, own_mounts, dists, delay, rounds)?);
    }
    if arguments.hosts {
        report.add(hosts::measure(&workshop, dists, arguments.slow_rounds)?);
    }
    report.print_goals();
    if let Some(file) = &arguments.json {
        report.write(file)?;
    }
    Ok(())
}
