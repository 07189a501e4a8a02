//! A burst of changes in one of many path entries, and then nothing at all: how many syncs that
//! takes, how often the watcher wakes up afterwards, and what it has resident.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use epcache_benches::environment;
use epcache_benches::machine::Machine;

use crate::freshness::Freshness;
use crate::report::{Section, Unit};
use crate::watcher::Watcher;

/// However many changes there were in a short time.
const SYNCS_GOAL: f64 = 5.0;

const WAKE_UPS_GOAL: f64 = 0.0;

/// With 20 path entries.
const MEMORY_GOAL_MIB: f64 = 10.0;

/// Makes path entries with that many distributions each.
pub(crate) fn prepare(home: &Path, number: u32, dists: usize) -> Result<Vec<PathBuf>> {
    eprintln!("making {number} path entries");
    (0..number)
        .map(|number| {
            let path_entry = home.join(format!("path-entry-{number}"));
            Ok(environment::generate(&path_entry, dists)?.path)
        })
        .collect()
}

pub(crate) fn measure(
    machine: &Machine,
    home: &Path,
    path_entries: &[PathBuf],
    changes: u32,
    idle: Duration,
) -> Result<Section> {
    let named: Vec<&OsStr> = path_entries
        .iter()
        .flat_map(|it| ["--path".as_ref(), it.as_os_str()])
        .collect();
    let mut watcher = Watcher::start(machine, home, &named)?;
    let mut section = Section::new(&format!("{} path entries", path_entries.len()));
    section.value(
        "resident after the first sync",
        resident(&watcher)?,
        Unit::Mebibytes,
    );

    let changed = path_entries.first().context("there is no path entry")?;
    let freshness = Freshness::of(changed, &watcher.cache);
    freshness.wait()?;
    let before = watcher.syncs(changed)?;

    eprintln!("changing files {changes} times");
    let (took, until_fresh) = burst(changed, changes, &freshness)?;
    watcher.let_it_become_quiet(Instant::now());
    let syncs = watcher.syncs(changed)? - before;
    section.value(
        &format!("{changes} files made or removed in one of them, in"),
        took.as_secs_f64() * 1e3,
        Unit::Milliseconds,
    );
    section.value(
        "from the last of them to a fresh index",
        until_fresh.as_secs_f64() * 1e3,
        Unit::Milliseconds,
    );
    section.goal(
        "syncs of that path entry, with the last look 10 s later",
        SYNCS_GOAL,
        f64::from(u32::try_from(syncs)?),
        Unit::Number,
    );

    eprintln!("doing nothing for {} s", idle.as_secs());
    let before = watcher.sleeps()?;
    thread::sleep(idle);
    let wake_ups = watcher.sleeps()? - before;
    watcher.check()?;
    section.goal(
        &format!("wake-ups in {} s in which nothing happens", idle.as_secs()),
        WAKE_UPS_GOAL,
        f64::from(u32::try_from(wake_ups)?),
        Unit::Number,
    );
    let memory = watcher.memory()?;
    section.goal(
        "resident at the end (VmRSS)",
        MEMORY_GOAL_MIB,
        resident(&watcher)?,
        Unit::Mebibytes,
    );
    section.value(
        "of it, its part (Pss)",
        mebibytes(memory.proportional)?,
        Unit::Mebibytes,
    );
    Ok(section)
}

/// Makes files and removes them, and tells how long that took, and how long after it the index was
/// fresh.
fn burst(dir: &Path, changes: u32, freshness: &Freshness) -> Result<(Duration, Duration)> {
    let start = Instant::now();
    for number in 0..changes / 2 {
        let file = dir.join(format!("burst-{number}"));
        fs::write(&file, "").with_context(|| format!("write {}", file.display()))?;
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    }
    let end = Instant::now();
    freshness.wait()?;
    Ok((end - start, end.elapsed()))
}

fn resident(watcher: &Watcher) -> Result<f64> {
    mebibytes(watcher.memory()?.resident)
}

fn mebibytes(kibibytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(kibibytes)?) / 1024.0)
}
