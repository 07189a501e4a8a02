//! Eight builders of one cache at once, each as after an install that all of them noticed.

use anyhow::{Context as _, Result};

use super::Study;
use super::conditions::{Field, Storage};
use super::contenders::{Contender, expected};
use super::killed::contestants;
use super::record::{Record, Together};
use super::run;
use super::work::{Work, is_right};

const PROCESSES: usize = 8;

/// Sets the builders of each contender to work, on no cache and on a stale one in turn.
pub(super) fn measure(study: &mut Study) -> Result<()> {
    let dists = study.plan.contested_dists();
    let field = Field::new(&study.workshop.scratch, "together", Storage::Disk, dists)?;
    for contender in contestants(&study.contenders) {
        let contender = &contender;
        eprintln!("{PROCESSES} at once: {contender}");
        let mut record = Together {
            language: contender.language.name(),
            contender: contender.name,
            dists,
            processes: PROCESSES,
            rounds: study.plan.together_rounds(),
            wrong: 0,
            failed: 0,
        };
        contender.build(&study.venv, &field)?;
        for round in 0..record.rounds {
            if round % 2 == 0 {
                contender.remove_cache(&field)?;
            } else {
                field.install_one(round)?;
            }
            study.venv.let_stamps_age()?;
            at_once(study, &field, contender, &mut record)?;
        }
        for round in (1..record.rounds).step_by(2) {
            field.remove_one(round)?;
        }
        study.results.put([Record::Together(record)])?;
    }
    Ok(())
}

/// One round: the builders, one who asks while they are at work, and one who asks afterwards.
fn at_once(
    study: &Study,
    field: &Field,
    contender: &Contender,
    record: &mut Together,
) -> Result<()> {
    let venv = &study.venv;
    let right = expected(venv, field, Work::List)?;
    let order = contender.promises(venv, Work::List)?.order;
    let mut builders = Vec::new();
    for _ in 0..PROCESSES {
        let mut command = contender.command(venv, field, Work::Nothing);
        builders.push(run::start(&mut command)?);
    }
    let meanwhile = contender.answer(venv, field, Work::List);
    for builder in builders {
        let output = builder.wait_with_output().context("wait for a builder")?;
        if !output.status.success() {
            record.failed += 1;
            eprintln!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
    }
    for answer in [meanwhile, contender.answer(venv, field, Work::List)] {
        match answer {
            Ok(answer) if is_right(&answer, &right, order) => {}
            Ok(_) => record.wrong += 1,
            Err(error) => {
                record.failed += 1;
                eprintln!("{error:#}");
            }
        }
    }
    Ok(())
}
