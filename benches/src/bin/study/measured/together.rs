//! Eight builders of one cache at once, each as after an install that all of them noticed, and eight who
//! ask afterwards.
//!
//! The builders wait for a pipe to be closed, which all of them hear of at once.

use std::io::PipeWriter;
use std::ops::Range;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Study;
use super::conditions::{Field, Storage};
use super::contenders::{Contender, expected};
use super::fresh;
use super::killed::contestants;
use super::record::{Record, Together};
use super::run;
use super::work::{Work, is_right};

const PROCESSES: usize = 8;

/// Becomes the program in its arguments when its standard input ends.
const WAIT: &str = r#"read -r end; exec "$@""#;

/// Within which all shells have come to wait.
const TO_THE_BARRIER: Duration = Duration::from_millis(50);

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
            overlapped: 0,
            rebuilt: 0,
            wrong: 0,
            failed: 0,
        };
        let mut overlapped = Vec::new();
        contender.build(&study.venv, &field)?;
        for round in 0..record.rounds {
            if round % 2 == 0 {
                contender.remove_cache(&field)?;
            } else {
                field.install_one(round)?;
            }
            study.venv.let_stamps_age()?;
            overlapped.push(at_once(study, &field, contender, &mut record)?);
        }
        overlapped.sort_unstable();
        record.overlapped = overlapped[overlapped.len() / 2];
        for round in (1..record.rounds).step_by(2) {
            field.remove_one(round)?;
        }
        study.results.put([Record::Together(record)])?;
    }
    Ok(())
}

/// One round: the builders, one who asks while they are at work, and as many who ask afterwards.
fn at_once(
    study: &Study,
    field: &Field,
    contender: &Contender,
    record: &mut Together,
) -> Result<usize> {
    let venv = &study.venv;
    let right = expected(venv, field, Work::List)?;
    let order = contender.promises(venv, Work::List)?.order;
    let builders = Crowd::of(|| contender.command(venv, field, Work::Nothing))?;
    let mut answers = Vec::new();
    let built = builders.go(|| answers.push(contender.answer(venv, field, Work::List)))?;
    for Done { output, .. } in &built {
        if !output.status.success() {
            record.failed += 1;
            eprintln!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
    }
    let files = fresh::files(contender, field)?;
    let askers = Crowd::of(|| contender.command(venv, field, Work::List))?;
    answers.extend(askers.go(|| ())?.into_iter().map(Done::answer));
    for answer in answers {
        match answer {
            Ok(answer) if is_right(&answer, &right, order) => {}
            Ok(_) => record.wrong += 1,
            Err(error) => {
                record.failed += 1;
                eprintln!("{error:#}");
            }
        }
    }
    if files.is_empty() || files != fresh::files(contender, field)? {
        eprintln!("{contender}: nothing was built, or who asked built it again");
        record.rebuilt += 1;
    }
    Ok(most_at_once(&built))
}

/// Processes that are about to begin.
struct Crowd {
    waiting: Vec<Child>,
    /// Nobody begins before this is closed.
    barrier: PipeWriter,
}

/// A process that has ended.
struct Done {
    output: Output,
    /// From the first line of its program, as it says, to its end.
    at_work: Range<Instant>,
}

impl Crowd {
    fn of(command: impl Fn() -> Command) -> Result<Crowd> {
        let (wait, barrier) = std::io::pipe().context("make a pipe")?;
        let mut waiting = Vec::new();
        for _ in 0..PROCESSES {
            let mut shell = run::with_environment_of(&command(), Command::new("/bin/sh"));
            shell.args(["-c", WAIT, "sh"]);
            shell
                .arg(command().get_program())
                .args(command().get_args());
            shell
                .stdin(wait.try_clone().context("share a pipe")?)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            waiting.push(shell.spawn().context("start a shell")?);
        }
        std::thread::sleep(TO_THE_BARRIER);
        Ok(Crowd { waiting, barrier })
    }

    /// Lets all of them begin, and does something `meanwhile`.
    fn go(self, meanwhile: impl FnOnce()) -> Result<Vec<Done>> {
        let Crowd { waiting, barrier } = self;
        let wait =
            |child: Child| std::thread::spawn(move || (child.wait_with_output(), Instant::now()));
        let waiters: Vec<_> = waiting.into_iter().map(wait).collect();
        drop(barrier);
        meanwhile();
        let mut all = Vec::new();
        for waiter in waiters {
            let (output, end) = waiter.join().ok().context("wait for a process")?;
            let output = output.context("wait for a process")?;
            let taken = run::told(&output.stderr).map_or(0, |told| told.nanoseconds);
            let start = end - Duration::from_nanos(taken);
            all.push(Done {
                output,
                at_work: start..end,
            });
        }
        Ok(all)
    }
}

impl Done {
    fn answer(self) -> Result<String> {
        let said = String::from_utf8_lossy(&self.output.stderr);
        ensure!(self.output.status.success(), "an answer failed: {said}");
        let text = String::from_utf8(self.output.stdout).context("read an answer")?;
        Ok(text.trim_end_matches('\n').to_owned())
    }
}

/// How many were at work at the moment when most were.
fn most_at_once(all: &[Done]) -> usize {
    let at = |moment: Instant| {
        all.iter()
            .filter(|one| one.at_work.contains(&moment))
            .count()
    };
    all.iter()
        .map(|one| at(one.at_work.start))
        .max()
        .unwrap_or(0)
}
