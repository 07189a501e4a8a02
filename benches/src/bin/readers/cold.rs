//! A cold disk: the page cache is dropped before each run, as it is after a machine was started.

use anyhow::{Context as _, Result};
use epcache_benches::environment::SMALL_GROUP;

use crate::contenders::{Clock, Contender, run_rounds};
use crate::fresh::{EXACT, FAST, IMPORTLIB, NOTHING, PATCHED_EXACT, PATCHED_FAST};
use crate::report::{Limit, Section, Unit, estimate};
use crate::venv::{Asked, Venv, Workshop};

const TITLE: &str = "Cold disk, wall clock";

const STEVEDORE: &str = "stevedore, its own cache warm";

/// Everything that the kernel keeps of file systems: pages, names and inodes.
const ALL_CACHES: &str = "3";

/// Measures whole processes that find nothing in memory, not even the interpreter.
pub(crate) fn measure(workshop: &Workshop, venv: &Venv, rounds: u32) -> Result<Section> {
    if let Err(error) = drop_caches() {
        return Ok(Section::skipped(TITLE, format!("{error:#}")));
    }
    // Waiting is what costs here, whatever else is measured.
    let process = |name, command| Contender::process(name, command, Clock::Wall);
    let mut contenders = vec![
        process(NOTHING, venv.nothing()),
        process(IMPORTLIB, venv.ask(Asked::Importlib, SMALL_GROUP)),
        process(EXACT, venv.ask(Asked::Epcache("exact"), SMALL_GROUP)),
        process(FAST, venv.ask(Asked::Epcache("fast"), SMALL_GROUP)),
    ];
    for (name, mode) in [(PATCHED_EXACT, "exact"), (PATCHED_FAST, "fast")] {
        contenders.push(process(name, venv.ask(Asked::Patched(mode), SMALL_GROUP)));
    }
    if workshop.no_stevedore().is_none() {
        let ask = venv.ask(Asked::Stevedore, SMALL_GROUP);
        contenders.push(process(STEVEDORE, ask));
    }
    let mut contenders: Vec<Contender> = contenders
        .into_iter()
        .map(|contender| contender.before(drop_caches))
        .collect();
    run_rounds(&mut contenders, rounds)?;

    let mut section = Section::of(TITLE, rounds, &contenders, Some(NOTHING))?;
    section.goal(
        "cold, fast: as long as python -c pass cold",
        Limit::AtMost(1.3),
        Unit::Times,
        estimate(&contenders, |medians| medians.ratio(FAST, NOTHING))?,
    );
    section.goal(
        "cold, exact: less than importlib.metadata, whole processes",
        Limit::AtLeast(3.0),
        Unit::Times,
        estimate(&contenders, |medians| medians.ratio(IMPORTLIB, EXACT))?,
    );
    section.goal(
        "cold, exact: less than importlib.metadata, above python -c pass",
        Limit::AtLeast(3.0),
        Unit::Times,
        estimate(&contenders, |medians| {
            medians.ratio_above(IMPORTLIB, EXACT, NOTHING)
        })?,
    );
    Ok(section)
}

/// Has everything written to the disk, and then forgotten.
#[cfg(target_os = "linux")]
fn drop_caches() -> Result<()> {
    let control = "/proc/sys/vm/drop_caches";
    rustix::fs::sync();
    std::fs::write(control, ALL_CACHES)
        .with_context(|| format!("{control} can't be written, which needs root"))
}

#[cfg(not(target_os = "linux"))]
fn drop_caches() -> Result<()> {
    anyhow::bail!("how to empty the page cache is known for Linux only")
}
