//! An environment for which the cache was enabled: what that costs those that never ask, and
//! what it gives those that ask `importlib.metadata`.

use anyhow::{Result, ensure};
use epcache_benches::environment::SMALL_GROUP;
use epcache_benches::machine;

use crate::contenders::{Contender, run_rounds};
use crate::fresh::{self, IMPORTLIB, NOTHING};
use crate::report::{Limit, Section, Unit, estimate};
use crate::venv::{Asked, Venv, Workshop};

const NOTHING_ENABLED: &str = "python -c pass, enabled";
const NOTHING_TWIN: &str = "python -c pass, a twin that is not enabled";
const IMPORTLIB_ENABLED: &str = "importlib.metadata, enabled";

/// Switches the cache on for everything in an environment, and refreshes it.
pub(crate) fn enable(venv: &Venv) -> Result<()> {
    let mut enable = venv.python();
    machine::answer(enable.args(["-m", "epcache", "enable"]))?;
    venv.sync()
}

/// Measures whole processes in twin environments.
pub(crate) fn measure(
    workshop: &Workshop,
    plain: &Venv,
    dists: usize,
    rounds: u32,
) -> Result<Section> {
    let twin = fresh::prepare(workshop, "twin", dists)?;
    let enabled = fresh::prepare(workshop, "enabled", dists)?;
    enable(&enabled)?;
    for (group, _) in plain.groups() {
        ensure!(
            enabled.answer(Asked::Importlib, group)? == plain.answer(Asked::Importlib, group)?,
            "where the cache is enabled importlib.metadata gives another answer for {group}"
        );
    }
    let process = |name, command| Contender::process(name, command, workshop.clock);
    let mut contenders = vec![
        process(NOTHING, plain.nothing()),
        process(NOTHING_TWIN, twin.nothing()),
        process(NOTHING_ENABLED, enabled.nothing()),
        process(IMPORTLIB, plain.ask(Asked::Importlib, SMALL_GROUP)),
        process(
            IMPORTLIB_ENABLED,
            enabled.ask(Asked::Importlib, SMALL_GROUP),
        ),
    ];
    run_rounds(&mut contenders, rounds)?;
    let title = format!("An environment of {dists} dists, enabled or not");
    let mut section = Section::of(&title, rounds, &contenders, Some(NOTHING))?;
    section.goal(
        "enabled, asked nothing: more than not enabled",
        Limit::NotMeasurable,
        Unit::Milliseconds,
        estimate(&contenders, |medians| {
            let plain = f64::midpoint(medians.of(NOTHING), medians.of(NOTHING_TWIN));
            medians.of(NOTHING_ENABLED) - plain
        })?,
    );
    Ok(section)
}
