//! A fresh cache, in a process that has `importlib.metadata` loaded already: what is left when
//! the import of it is not what is saved.

use std::process::Command;

use anyhow::Result;
use epcache_benches::environment::SMALL_GROUP;

use crate::contenders::{Clock, Contender, run_rounds};
use crate::report::{Limit, Section, Unit, estimate};
use crate::venv::Venv;

const IMPORTLIB_FIRST: &str = "importlib.metadata, first call";
const EXACT_FIRST: &str = "epcache, exact, its import and first call";
const FAST_FIRST: &str = "epcache, fast, its import and first call";
const IMPORTLIB_AGAIN: &str = "importlib.metadata, call after call";
const EXACT_AGAIN: &str = "epcache, exact, call after call";
const FAST_AGAIN: &str = "epcache, fast, call after call";

/// Prints the nanoseconds that the first call takes. The module to ask is imported in that time:
/// for `importlib.metadata`, that is nothing.
const FIRST: &str = "
import importlib, importlib.metadata, sys, time
module, group, clock = sys.argv[1:]
now = getattr(time, clock)
start = now()
found = importlib.import_module(module).entry_points(group=group)
[(one.group, one.name, one.value) for one in found]
print(now() - start)
";

/// Prints the nanoseconds that a call takes, the median of as many as take the time of a few
/// calls of the slowest.
const AGAIN: &str = "
import importlib, importlib.metadata, sys, time
module, group, clock = sys.argv[1:]
now = getattr(time, clock)
ask = importlib.import_module(module).entry_points
times = []
begin = now()
while len(times) < 10 or now() - begin < 200_000_000:
    start = now()
    found = ask(group=group)
    [(one.group, one.name, one.value) for one in found]
    times.append(now() - start)
print(sorted(times)[len(times) // 2])
";

/// Times calls inside of processes.
pub(crate) fn measure(venv: &Venv, clock: Clock, rounds: u32) -> Result<Section> {
    let importlib = |code| ask(venv, clock, code, "importlib.metadata", "off");
    let epcache = |code, mode| ask(venv, clock, code, "epcache", mode);
    let mut contenders = vec![
        Contender::inside(IMPORTLIB_FIRST, importlib(FIRST)),
        Contender::inside(EXACT_FIRST, epcache(FIRST, "exact")),
        Contender::inside(FAST_FIRST, epcache(FIRST, "fast")),
        Contender::inside(IMPORTLIB_AGAIN, importlib(AGAIN)),
        Contender::inside(EXACT_AGAIN, epcache(AGAIN, "exact")),
        Contender::inside(FAST_AGAIN, epcache(AGAIN, "fast")),
    ];
    run_rounds(&mut contenders, rounds)?;
    let title = "In a process that has importlib.metadata loaded, no start counted";
    let mut section = Section::of(title, rounds, &contenders, None)?;
    for (own, rival, least) in [
        (EXACT_FIRST, IMPORTLIB_FIRST, 25.0),
        (FAST_FIRST, IMPORTLIB_FIRST, 60.0),
        (EXACT_AGAIN, IMPORTLIB_AGAIN, 25.0),
        (FAST_AGAIN, IMPORTLIB_AGAIN, 60.0),
    ] {
        section.goal(
            &format!("{own}: less than importlib.metadata"),
            Limit::AtLeast(least),
            Unit::Times,
            estimate(&contenders, |medians| medians.ratio(rival, own))?,
        );
    }
    Ok(section)
}

fn ask(venv: &Venv, clock: Clock, code: &str, module: &str, mode: &str) -> Command {
    let clock = match clock {
        Clock::Wall => "perf_counter_ns",
        Clock::Processor => "process_time_ns",
    };
    let mut command = venv.code(code);
    command
        .args([module, SMALL_GROUP, clock])
        .env("EPCACHE_MODE", mode);
    command
}
