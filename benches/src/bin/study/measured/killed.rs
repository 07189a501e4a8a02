//! Builds that are killed at moments spread over the time that they take, and the next answer.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Study;
use super::conditions::{Field, Storage};
use super::contenders::{Contender, Family, Language, expected};
use super::record::{Killed, Record};
use super::run;
use super::work::{Work, is_right};

/// Builds whose median says how long one takes.
const BUILDS: usize = 3;

/// Who has something to break: the rejected ways and epcache in Rust, which writes as the Python of
/// the same does, and rivals as they are. One mode of epcache does, because all read what one writes.
pub(super) fn contestants(contenders: &[Contender]) -> Vec<Contender> {
    let in_its_language = |contender: &&Contender| match contender.family {
        Family::Rival => true,
        _ => contender.language == Language::Rust,
    };
    let builders = contenders.iter().filter(|contender| contender.builds);
    builders.filter(in_its_language).copied().collect()
}

/// Kills first builds and rebuilds in turn.
pub(super) fn measure(study: &mut Study) -> Result<()> {
    let dists = study.plan.contested_dists();
    let field = Field::new(&study.workshop.scratch, "killed", Storage::Disk, dists)?;
    for contender in contestants(&study.contenders) {
        let contender = &contender;
        let kills = study.plan.kills();
        let whole = [false, true].map(|stale| time_of_build(study, &field, contender, stale));
        let [first, rebuild] = whole;
        let (first, rebuild) = (first?, rebuild?);
        eprintln!("kills: {contender}, builds take {first:.0?} and {rebuild:.0?}");
        let mut record = Killed {
            language: contender.language.name(),
            contender: contender.name,
            dists,
            kills,
            in_time: 0,
            wrong: 0,
            failed: 0,
        };
        for kill in 0..kills {
            let stale = kill % 2 == 1;
            let whole = if stale { rebuild } else { first };
            let part = f64::from(u32::try_from(kill + 1)?) / f64::from(u32::try_from(kills + 1)?);
            one_kill(
                study,
                &field,
                contender,
                stale,
                whole.mul_f64(part),
                &mut record,
            )?;
        }
        study.results.put([Record::Killed(record)])?;
    }
    Ok(())
}

/// Leaves no cache, or one that an install has made stale.
fn prepare(study: &Study, field: &Field, contender: &Contender, stale: bool) -> Result<()> {
    if stale {
        contender.build(&study.venv, field)?;
        field.install_one(0)?;
        study.venv.let_stamps_age()
    } else {
        contender.remove_cache(field)
    }
}

fn time_of_build(
    study: &Study,
    field: &Field,
    contender: &Contender,
    stale: bool,
) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..BUILDS {
        prepare(study, field, contender, stale)?;
        let mut command = contender.command(&study.venv, field, Work::Nothing);
        times.push(run::timed(&mut command)?.wall);
        if stale {
            field.remove_one(0)?;
            study.venv.let_stamps_age()?;
        }
    }
    times.sort_unstable();
    Ok(times[BUILDS / 2])
}

/// Kills one build after this time, and asks.
fn one_kill(
    study: &Study,
    field: &Field,
    contender: &Contender,
    stale: bool,
    after: Duration,
    record: &mut Killed,
) -> Result<()> {
    let venv = &study.venv;
    prepare(study, field, contender, stale)?;
    let mut child = run::start(&mut contender.command(venv, field, Work::Nothing))?;
    let start = Instant::now();
    // Busy, because who sleeps for a millisecond wakes when he pleases.
    while start.elapsed() < after {
        std::hint::spin_loop();
    }
    if child.try_wait()?.is_none() {
        record.in_time += 1;
    }
    run::kill(&mut child)?;
    let right = expected(venv, field, Work::List)?;
    match contender.answer(venv, field, Work::List) {
        Ok(answer) => {
            let order = contender.promises(venv, Work::List)?.order;
            record.wrong += usize::from(!is_right(&answer, &right, order));
        }
        Err(error) => {
            record.failed += 1;
            eprintln!("{error:#}");
        }
    }
    if stale {
        field.remove_one(0)?;
        venv.let_stamps_age()?;
    }
    Ok(())
}
