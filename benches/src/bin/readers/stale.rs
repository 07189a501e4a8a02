//! A cache that is stale by one new distribution: the answer is right at once, and should cost
//! little more.

use std::rc::Rc;

use anyhow::{Result, ensure};
use epcache_benches::environment::SMALL_GROUP;

use crate::contenders::{Contender, run_rounds};
use crate::fresh::{self, EXACT, FAST, IMPORTLIB, NOTHING};
use crate::report::{Limit, Section, Unit, estimate};
use crate::venv::{Asked, Venv, Workshop};

const LISTING: &str = "os.listdir of the path entry";
const EXACT_STALE: &str = "epcache, exact, stale, left so";
const FAST_STALE: &str = "epcache, fast, stale, left so";
const EXACT_SYNC: &str = "epcache, exact, stale, starts a sync";

/// Measures whole processes on a fresh and on a stale cache, in two environments that are the
/// same but for the new distribution.
pub(crate) fn measure(
    workshop: &Workshop,
    fresh: &Venv,
    dists: usize,
    rounds: u32,
) -> Result<Section> {
    let stale = fresh::prepare(workshop, "stale", dists)?;
    stale.add_dist(0, SMALL_GROUP)?;
    ensure!(
        !stale.is_fresh("exact")? && !stale.is_fresh("fast")?,
        "a new distribution, and the cache is not stale"
    );
    let modes = [Asked::Epcache("exact"), Asked::Epcache("fast")];
    stale.check_that_answers_agree(&modes)?;
    let refreshed = Rc::new(fresh::prepare(workshop, "refreshed", dists)?);

    let ask = |venv: &Venv, asked, on_stale| {
        let mut command = venv.ask(asked, SMALL_GROUP);
        command.env("EPCACHE_ON_STALE", on_stale);
        command
    };
    let syncing = ask(&refreshed, Asked::Epcache("exact"), "sync");
    let listing = format!("import os; os.listdir({:?})", fresh.site_packages);
    let process = |name, command| Contender::process(name, command, workshop.clock);
    let mut contenders = vec![
        process(NOTHING, fresh.nothing()),
        process(LISTING, fresh.code(&listing)),
        process(IMPORTLIB, stale.ask(Asked::Importlib, SMALL_GROUP)),
        process(EXACT, ask(fresh, Asked::Epcache("exact"), "ignore")),
        process(FAST, ask(fresh, Asked::Epcache("fast"), "ignore")),
        process(EXACT_STALE, ask(&stale, Asked::Epcache("exact"), "ignore")),
        process(FAST_STALE, ask(&stale, Asked::Epcache("fast"), "ignore")),
        starts_a_sync(process(EXACT_SYNC, syncing), &refreshed),
    ];
    run_rounds(&mut contenders, rounds)?;
    refreshed.check_that_answers_agree(&modes)?;

    let title = format!("Stale by one new dist of {dists}");
    let mut section = Section::of(&title, rounds, &contenders, Some(NOTHING))?;
    for (own, fresh) in [
        (EXACT_STALE, EXACT),
        (FAST_STALE, FAST),
        (EXACT_SYNC, EXACT),
    ] {
        section.goal(
            &format!("{own}: as long as fresh twice and one listing"),
            Limit::AtMost(1.0),
            Unit::Times,
            estimate(&contenders, |medians| {
                let allowed = 2.0 * medians.above(fresh, NOTHING) + medians.above(LISTING, NOTHING);
                medians.above(own, NOTHING) / allowed
            })?,
        );
    }
    Ok(section)
}

/// Stale anew before each run; afterwards the sync that was started is waited for, untimed.
fn starts_a_sync(contender: Contender, venv: &Rc<Venv>) -> Contender {
    let (before, after) = (Rc::clone(venv), Rc::clone(venv));
    let mut number = 0;
    contender
        .before(move || {
            number += 1;
            before.add_dist(number, SMALL_GROUP)?;
            before.let_stamps_age()
        })
        .after(move || after.wait_until_fresh())
}
