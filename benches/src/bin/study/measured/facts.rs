//! The machine that everything is measured on, in the words that a reader of the numbers needs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use epcache_benches::machine;

use super::environments::{OTHER_PYTHONS, Venv, Workshop, find_python};
use super::record::Machine;

/// How anyone can do the same.
const COMMAND: &str = "cargo run --release -p epcache-benches --bin study";

pub(super) fn machine(
    workshop: &Workshop,
    scratch: &Path,
    venv: &Venv,
    load: f64,
) -> Result<Machine> {
    let mut pythons = vec![venv.version.clone()];
    for python in OTHER_PYTHONS.into_iter().filter_map(find_python) {
        let mut ask = Command::new(python);
        pythons.push(machine::answer(
            ask.args(["-c", "import sys; print(sys.version.split()[0])"]),
        )?);
    }
    let version = &workshop.machine.epcache_version;
    Ok(Machine {
        date: date()?,
        system: workshop.machine.system.clone(),
        cpu: value_in("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
        processors: workshop.machine.processors,
        memory_mib: memory_mib(),
        file_system: file_system(scratch).unwrap_or_else(|| "unknown".to_owned()),
        pythons,
        epcache: version
            .split_whitespace()
            .last()
            .unwrap_or_default()
            .to_owned(),
        command: COMMAND.to_owned(),
        load,
        dists_beside: dists(venv)?,
    })
}

/// Today.
pub(super) fn date() -> Result<String> {
    machine::answer(Command::new("date").args(["-u", "+%F"]))
}

/// How many dists are on the path of the environment, before any are generated.
fn dists(venv: &Venv) -> Result<usize> {
    let code = "import importlib.metadata as m; print(sum(1 for _ in m.distributions()))";
    let said = machine::answer(venv.python().args(["-c", code]))?;
    said.parse().with_context(|| format!("count dists: {said}"))
}

/// The average number of processes at work in the last minute.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

fn memory_mib() -> u64 {
    let kib = value_in("/proc/meminfo", "MemTotal");
    let number = kib.and_then(|kib| kib.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) / 1024
}

/// What stands after a name and a colon.
fn value_in(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| found.trim() == name)?;
    Some(value.trim().to_owned())
}

/// The type of the file system that a directory is on: that of the innermost mount around it.
fn file_system(directory: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut around: Vec<(usize, &str)> = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (at, kind) = (words.next()?, words.next()?);
            directory.starts_with(at).then_some((at.len(), kind))
        })
        .collect();
    // Of two at the same place the later one is on top: the sort keeps their order.
    around.sort_by_key(|(length, _)| *length);
    around.last().map(|(_, kind)| (*kind).to_owned())
}
