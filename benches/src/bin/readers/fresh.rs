//! A fresh cache, whole processes: the comparison that most goals are about.

use anyhow::{Result, ensure};
use epcache_benches::environment::{LARGE_GROUP, SMALL_GROUP};

use crate::contenders::{Contender, run_rounds};
use crate::report::{Limit, Section, Unit, estimate};
use crate::venv::{Asked, Venv, Workshop};

/// The names that several parts use for the same thing.
pub(crate) const NOTHING: &str = "python -c pass";
pub(crate) const IMPORTLIB: &str = "importlib.metadata";
pub(crate) const EXACT: &str = "epcache, exact";
pub(crate) const FAST: &str = "epcache, fast";
pub(crate) const PATCHED_EXACT: &str = "importlib.metadata, patched, exact";
pub(crate) const PATCHED_FAST: &str = "importlib.metadata, patched, fast";

const STEVEDORE: &str = "stevedore, its own cache warm";
const IMPORT: &str = "import epcache";
const IMPORT_IMPORTLIB: &str = "import importlib.metadata";
const IMPORTLIB_LARGE: &str = "importlib.metadata, large group";
const EXACT_LARGE: &str = "epcache, exact, large group";
const FAST_LARGE: &str = "epcache, fast, large group";

/// Makes an environment and its cache, and checks that all give the same answers.
pub(crate) fn prepare(workshop: &Workshop, name: &str, dists: usize) -> Result<Venv> {
    let venv = workshop.venv(name, dists)?;
    venv.sync()?;
    for mode in ["exact", "fast"] {
        ensure!(
            venv.is_fresh(mode)?,
            "after a sync the cache is stale in mode {mode}"
        );
    }
    let mut asked = vec![
        Asked::Epcache("exact"),
        Asked::Epcache("fast"),
        Asked::Epcache("off"),
        Asked::Patched("exact"),
        Asked::Patched("fast"),
    ];
    if workshop.no_stevedore().is_none() {
        asked.push(Asked::Stevedore);
    }
    venv.check_that_answers_agree(&asked)?;
    if workshop.no_stevedore().is_none() {
        venv.check_that_stevedore_is_warm()?;
    }
    Ok(venv)
}

/// The main comparison.
pub(crate) fn measure(
    workshop: &Workshop,
    venv: &Venv,
    dists: usize,
    rounds: u32,
) -> Result<Section> {
    let process = |name, command| Contender::process(name, command, workshop.clock);
    let ask = |name, asked, group| process(name, venv.ask(asked, group));
    let mut contenders = vec![
        process(NOTHING, venv.nothing()),
        process(IMPORT, venv.code("import epcache")),
        process(IMPORT_IMPORTLIB, venv.code("import importlib.metadata")),
        ask(IMPORTLIB, Asked::Importlib, SMALL_GROUP),
        ask(EXACT, Asked::Epcache("exact"), SMALL_GROUP),
        ask(FAST, Asked::Epcache("fast"), SMALL_GROUP),
        ask(PATCHED_EXACT, Asked::Patched("exact"), SMALL_GROUP),
        ask(PATCHED_FAST, Asked::Patched("fast"), SMALL_GROUP),
        ask(IMPORTLIB_LARGE, Asked::Importlib, LARGE_GROUP),
        ask(EXACT_LARGE, Asked::Epcache("exact"), LARGE_GROUP),
        ask(FAST_LARGE, Asked::Epcache("fast"), LARGE_GROUP),
    ];
    match workshop.no_stevedore() {
        None => contenders.push(ask(STEVEDORE, Asked::Stevedore, SMALL_GROUP)),
        Some(reason) => println!("skipped: {STEVEDORE}: {reason}"),
    }
    run_rounds(&mut contenders, rounds)?;

    let title = format!("Fresh cache, {dists} dists, {}", members(venv));
    let mut section = Section::of(&title, rounds, &contenders, Some(NOTHING))?;
    for (own, than_importlib, than_stevedore, most) in
        [(EXACT, 40.0, 25.0, 4.0), (FAST, 80.0, 50.0, 2.0)]
    {
        let than = |rival| {
            estimate(&contenders, move |medians| {
                medians.ratio_above(rival, own, NOTHING)
            })
        };
        section.goal(
            &format!("{own}: less than importlib.metadata"),
            Limit::AtLeast(than_importlib),
            Unit::Times,
            than(IMPORTLIB)?,
        );
        if workshop.no_stevedore().is_none() {
            section.goal(
                &format!("{own}: less than stevedore"),
                Limit::AtLeast(than_stevedore),
                Unit::Times,
                than(STEVEDORE)?,
            );
        }
        section.goal(
            &format!("{own}: more than python -c pass"),
            Limit::AtMost(most),
            Unit::Milliseconds,
            estimate(&contenders, |medians| medians.above(own, NOTHING))?,
        );
    }
    section.goal(
        &format!("{FAST_LARGE}: more than python -c pass"),
        Limit::AtMost(6.0),
        Unit::Milliseconds,
        estimate(&contenders, |medians| medians.above(FAST_LARGE, NOTHING))?,
    );
    Ok(section)
}

/// The same with few distributions.
pub(crate) fn measure_few(
    workshop: &Workshop,
    venv: &Venv,
    dists: usize,
    rounds: u32,
) -> Result<Section> {
    let process = |name, command| Contender::process(name, command, workshop.clock);
    let ask = |name, asked| process(name, venv.ask(asked, SMALL_GROUP));
    let mut contenders = vec![
        process(NOTHING, venv.nothing()),
        ask(IMPORTLIB, Asked::Importlib),
        ask(EXACT, Asked::Epcache("exact")),
        ask(FAST, Asked::Epcache("fast")),
    ];
    run_rounds(&mut contenders, rounds)?;
    let title = format!("Fresh cache, {dists} dists, {}", members(venv));
    let mut section = Section::of(&title, rounds, &contenders, Some(NOTHING))?;
    section.goal(
        &format!("{EXACT}, {dists} dists: more than python -c pass"),
        Limit::AtMost(1.0),
        Unit::Milliseconds,
        estimate(&contenders, |medians| medians.above(EXACT, NOTHING))?,
    );
    Ok(section)
}

/// How many members the groups have that are asked for.
fn members(venv: &Venv) -> String {
    let of = |wanted| {
        let mut groups = venv.groups();
        groups
            .find(|(group, _)| *group == wanted)
            .map_or(0, |(_, members)| members)
    };
    format!("{} and {} members", of(SMALL_GROUP), of(LARGE_GROUP))
}
