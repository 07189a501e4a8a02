//! `ratios`: how long `epcache` takes, and how long `importlib.metadata` takes for the same, in
//! one run.
//!
//! A path entry is made, both are asked which entry points a group has and must agree, and then
//! they are run in turn, round by round and in another order each round, so that a machine that
//! grows busy is busy for all. Printed is each one's median, the quartiles, and the ratio to the
//! rival, beside the ratio that is the goal.
//!
//! ```text
//! cargo run --release -p epcache-benches --bin ratios -- --dists 1000 --rounds 40 --json out.json
//! ```

mod contenders;
mod report;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use epcache_benches::environment::{self, PathEntry};
use epcache_benches::machine::Machine;
use epcache_benches::measure::{self, PeakMemory, shuffled};
use epcache_benches::scratch;

use contenders::{Contender, Names, Setting};
use report::Report;

/// The first argument with which this program is started by itself: see [`peak_in_small_process`].
const PEAK_OF: &str = "--peak-memory-of";

/// Peak memory varies by some pages; the largest of this many runs is told.
const MEMORY_RUNS: usize = 5;

#[derive(Debug, Parser)]
#[command(about = "Measure epcache against importlib.metadata, as ratios in one run")]
struct Arguments {
    /// How many distributions the path entry of the main comparison holds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(20..))]
    dists: u32,

    /// How many rounds to run
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How often to run each in a row when it is its turn: 1 finds the processor's caches as
    /// another program left them, more as a loop of the same command does
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    in_a_row: u32,

    /// The sizes to compare growth over, in rising order; without a value: none
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "100,1000,10000",
          value_parser = clap::value_parser!(u32).range(20..))]
    sizes: Vec<u32>,

    /// How many rounds to run for growth
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    size_rounds: u32,

    /// Measure this program instead of building one
    #[arg(long, value_name = "EXE")]
    epcache: Option<PathBuf>,

    /// The Python to compare with
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

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == PEAK_OF) {
        return print_peak_of(arguments.collect());
    }
    compare(&Arguments::parse())
}

fn compare(arguments: &Arguments) -> Result<()> {
    let machine = Machine::look(arguments.epcache.as_deref(), &arguments.python)?;
    let parent = arguments.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = scratch::directory(&parent, "epcache-ratios-", arguments.time_limit)?;

    let mut report = Report::new(
        &machine,
        arguments.dists,
        arguments.rounds,
        arguments.in_a_row,
    );
    report.print_machine();

    let setting = prepare(&machine, scratch.path(), arguments.dists)?;
    report.print_groups(setting.groups());
    let mut main = setting.all();
    run_rounds(&mut main, arguments.rounds, arguments.in_a_row)?;
    report.speed(&main)?;
    report.memory(&peaks(&mut main)?);

    if !arguments.sizes.is_empty() {
        let mut growth = Vec::new();
        for &size in &arguments.sizes {
            growth.extend(prepare(&machine, scratch.path(), size)?.growing());
        }
        run_rounds(&mut growth, arguments.size_rounds, arguments.in_a_row)?;
        report.growth(&growth)?;
        let queries = growth
            .iter_mut()
            .filter(|one| one.name == Names::FAST_SMALL);
        report.memory_by_size(&peaks(queries)?);
    }
    if let Some(file) = &arguments.json {
        report.write(file)?;
    }
    Ok(())
}

/// Makes a path entry of that size with a cache beside it, and checks that all contenders give the
/// same answers there.
fn prepare(machine: &Machine, scratch: &Path, dists: u32) -> Result<Setting> {
    eprintln!("making {dists} distributions");
    let home = scratch.join(format!("{dists}-dists"));
    // The main comparison and the growth may want the same size: each has a directory of its own.
    let home = (0..)
        .map(|copy| home.with_extension(copy.to_string()))
        .find(|home| !home.exists())
        .context("find an unused directory")?;
    let count = usize::try_from(dists).context("count distributions")?;
    let path_entry: PathEntry = environment::generate(&home.join("site-packages"), count)?;
    write_back();
    let setting = Setting::new(machine, path_entry, &home);
    // Nothing was synced yet: what is young now must not be waited for inside a measurement.
    setting.let_stamps_age()?;
    setting.sync_once()?;
    setting.check_that_answers_agree()?;
    Ok(setting)
}

/// Has the system write to the disk now what it would otherwise write in the middle of a measurement.
fn write_back() {
    #[cfg(unix)]
    rustix::fs::sync();
}

/// One round to warm up, then the rounds that count.
fn run_rounds(contenders: &mut [Contender], rounds: u32, in_a_row: u32) -> Result<()> {
    for contender in &mut *contenders {
        contender.run(0)?;
        contender.times.clear();
    }
    for round in 1..=rounds {
        show_progress(round, rounds);
        for index in shuffled(contenders.len(), round) {
            for time in 0..in_a_row {
                contenders[index].run(round * in_a_row + time)?;
            }
        }
    }
    Ok(())
}

/// Tells someone who waits at a terminal, and no one else, how far it is.
fn show_progress(round: u32, rounds: u32) {
    if std::io::stderr().is_terminal() {
        let end = if round == rounds { "\n" } else { "" };
        eprint!("\rround {round} of {rounds}{end}");
    }
}

/// The peak memory of each, in the order given.
fn peaks<'a>(
    contenders: impl IntoIterator<Item = &'a mut Contender>,
) -> Result<Vec<(&'a Contender, PeakMemory)>> {
    if cfg!(not(unix)) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for contender in contenders {
        let mut largest: Option<PeakMemory> = None;
        for round in 1..=MEMORY_RUNS {
            // Rounds far from those of the times, so that a change is a change.
            contender.prepare(u32::MAX / 2 + u32::try_from(round)?)?;
            let peak = peak_in_small_process(&contender.command)?;
            if largest.is_none_or(|largest| peak.bytes > largest.bytes) {
                largest = Some(peak);
            }
        }
        let largest = largest.context("no memory was measured")?;
        found.push((&*contender, largest));
    }
    Ok(found)
}

/// Measures peak memory in a new process of this program, which has done nothing else.
///
/// The kernel counts what a process had before its `exec`, which is what its parent has: started
/// from here, everything would seem to have what the reports and path entries in this process take.
fn peak_in_small_process(command: &Command) -> Result<PeakMemory> {
    let this = std::env::current_exe().context("find this program")?;
    let mut small = Command::new(this);
    small.arg(PEAK_OF).arg(command.get_program());
    small.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => small.env(name, value),
            None => small.env_remove(name),
        };
    }
    let output = small.output().with_context(|| format!("start {small:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = text.split_whitespace().flat_map(str::parse).collect();
    let (true, &[bytes, floor]) = (output.status.success(), numbers.as_slice()) else {
        let error = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("measure the memory of {command:?}: {error}");
    };
    Ok(PeakMemory { bytes, floor })
}

/// The other side of [`peak_in_small_process`].
fn print_peak_of(command: Vec<std::ffi::OsString>) -> Result<()> {
    let mut words = command.into_iter();
    let program = words.next();
    ensure!(program.is_some(), "{PEAK_OF} needs a program");
    let peak = measure::peak_memory(Command::new(program.unwrap_or_default()).args(words))?;
    println!("{} {}", peak.bytes, peak.floor);
    Ok(())
}
