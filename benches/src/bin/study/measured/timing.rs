//! The time that each contender takes for a work: all in turn, in another order each round.
//!
//! `pass` runs several times a round, among the others, and the median of all its runs is what is
//! subtracted: a single run of it says less than is subtracted from.

use std::time::Duration;

use anyhow::{Context as _, Result};
use epcache_benches::measure::shuffled;

use super::conditions::Field;
use super::contenders::{Contender, Family, Language, expected};
use super::environments::Venv;
use super::fresh;
use super::record::{Quartiles, Record, Time, rounded};
use super::results::Results;
use super::run::{self, Ran};
use super::work::{Work, is_right};

/// The number of the distribution that is installed to count calls.
const NOT_A_ROUND: usize = 999;

/// How often `pass` runs in each round.
const PASSES: usize = 3;

/// Who has run for so long has run often enough, if it was in [`Measuring::least`] rounds.
const ENOUGH: Duration = Duration::from_secs(2);

/// How a cell of the plan is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measuring {
    pub(crate) rounds: usize,
    /// In how many of them also the slow ones take part.
    pub(crate) least: usize,
    /// Whether the kernel is to forget all files before each run.
    pub(crate) cold: bool,
    /// Whether to count calls too, in a run of its own.
    pub(crate) count: bool,
    /// How late each operation is while it is measured; before, when caches are built and
    /// answers compared, none is.
    pub(crate) delay: Duration,
}

/// A contender, what its answer was worth, and each of its runs.
struct Runner<'a> {
    contender: &'a Contender,
    /// Right or wrong, and whether the order was looked at.
    right: Option<(bool, bool)>,
    calls: Option<u64>,
    runs: Vec<Ran>,
    /// The files of the cache as they were built.
    built: fresh::Files,
}

impl Measuring {
    /// Round 0 reads what will be in memory later, and does not count. It is not needed where nothing
    /// stays in memory, and takes long there.
    fn all_rounds(self) -> std::ops::RangeInclusive<usize> {
        usize::from(self.cold || !self.delay.is_zero())..=self.rounds
    }
}

/// Measures one work of all contenders that can do it, language by language.
pub(crate) fn measure(
    venv: &Venv,
    field: &Field,
    contenders: &[Contender],
    work: Work,
    measuring: Measuring,
    results: &mut Results,
) -> Result<()> {
    for language in [Language::Python, Language::Rust] {
        let mut runners = Vec::new();
        for contender in contenders.iter().filter(|one| one.language == language) {
            let takes_part = match contender.family {
                Family::Pass => true,
                Family::Floor => !work.is_build(),
                _ => contender.builds || !work.is_build(),
            };
            if takes_part {
                runners.push(Runner {
                    contender,
                    right: None,
                    calls: None,
                    runs: Vec::new(),
                    built: fresh::Files::new(),
                });
            }
        }
        // Nothing is told from `pass` alone.
        if runners.len() < 2 {
            continue;
        }
        eprintln!(
            "{}, {} dists, {}: {} contenders in {}, {} rounds",
            field.condition,
            field.dists,
            work.name(),
            runners.len(),
            language.name(),
            measuring.rounds
        );
        let mut runners = prepare(venv, field, runners, work, results)?;
        if measuring.count {
            count_calls(venv, field, &mut runners, work)?;
        }
        field.set_delay(measuring.delay);
        let ran = run_rounds(venv, field, &mut runners, work, measuring);
        field.set_delay(Duration::ZERO);
        ran?;
        if work.is_build() {
            let right = expected(venv, field, Work::List)?;
            for runner in &mut runners {
                runner.built = fresh::files(runner.contender, field)?;
                runner.compare(venv, field, Work::List, &right)?;
            }
        }
        for runner in &mut runners {
            runner.check_cache(venv, field)?;
        }
        if work == Work::Rebuild {
            for round in measuring.all_rounds() {
                field.remove_one(round)?;
            }
        }
        results.put(records(venv, field, &runners, work)?)?;
    }
    Ok(())
}

/// Builds all caches, and compares all answers; who fails at either is left out.
fn prepare<'a>(
    venv: &Venv,
    field: &Field,
    runners: Vec<Runner<'a>>,
    work: Work,
    results: &mut Results,
) -> Result<Vec<Runner<'a>>> {
    venv.let_stamps_age()?;
    // `floor` reads a cache that epcache builds, so who builds comes first.
    let mut able = Vec::new();
    for runner in runners {
        match runner.first_time(venv, field, work) {
            Ok(()) => able.push(runner),
            Err(error) => {
                let Runner { contender, .. } = runner;
                let what = format!("{contender}, {}, Python {}", work.name(), venv.version);
                results.leave_out(&what, &last_line(&format!("{error:#}")))?;
            }
        }
    }
    if !work.is_build() {
        let right = expected(venv, field, work)?;
        for runner in &mut able {
            runner.compare(venv, field, work, &right)?;
        }
    }
    for runner in &mut able {
        runner.built = fresh::files(runner.contender, field)?;
        fresh::ensure_fresh(venv, field, runner.contender)?;
    }
    Ok(able)
}

/// A message may hold all that a program said; a record needs the end, which says what it died of.
fn last_line(message: &str) -> String {
    let last = message.trim_end().lines().next_back().unwrap_or_default();
    last.chars().take(200).collect()
}

fn run_rounds(
    venv: &Venv,
    field: &Field,
    runners: &mut [Runner<'_>],
    work: Work,
    measuring: Measuring,
) -> Result<()> {
    for round in measuring.all_rounds() {
        if work == Work::Rebuild {
            field.install_one(round)?;
            venv.let_stamps_age()?;
        }
        let each = take_part(runners, measuring);
        for index in shuffled(each.len(), u32::try_from(round)?) {
            let runner = &mut runners[each[index]];
            if work == Work::FirstBuild && runner.contender.builds {
                runner.contender.remove_cache(field)?;
            }
            let mut command = runner.contender.command(venv, field, work);
            if measuring.cold {
                run::drop_caches()?;
            }
            let ran = run::timed(&mut command).with_context(|| runner.contender.to_string())?;
            if round > 0 {
                runner.runs.push(ran);
            }
        }
    }
    Ok(())
}

/// The runners of the next round: `pass`, which is the first, several times.
fn take_part(runners: &[Runner<'_>], measuring: Measuring) -> Vec<usize> {
    let others = (1..runners.len()).filter(|&index| {
        let runs = &runners[index].runs;
        let taken: Duration = runs.iter().map(|ran| ran.wall).sum();
        runs.len() < measuring.least || taken < ENOUGH
    });
    std::iter::repeat_n(0, PASSES).chain(others).collect()
}

/// Counts each one's calls to the file system, doing the same as when it will be timed.
fn count_calls(venv: &Venv, field: &Field, runners: &mut [Runner<'_>], work: Work) -> Result<()> {
    if work == Work::Rebuild {
        field.install_one(NOT_A_ROUND)?;
        venv.let_stamps_age()?;
    }
    for runner in runners {
        if work == Work::FirstBuild && runner.contender.builds {
            runner.contender.remove_cache(field)?;
        }
        let command = runner.contender.command(venv, field, work);
        runner.calls = Some(run::file_system_calls(&command, &venv.home)?);
    }
    if work == Work::Rebuild {
        field.remove_one(NOT_A_ROUND)?;
    }
    Ok(())
}

impl Runner<'_> {
    fn first_time(&self, venv: &Venv, field: &Field, work: Work) -> Result<()> {
        self.contender.build(venv, field)?;
        if self.contender.answers() && !work.is_build() {
            self.contender.answer(venv, field, work)?;
        }
        Ok(())
    }

    fn compare(&mut self, venv: &Venv, field: &Field, work: Work, right: &str) -> Result<()> {
        if !self.contender.answers() {
            return Ok(());
        }
        let order = self.contender.promises(venv, work)?.order;
        let answer = self.contender.answer(venv, field, work)?;
        let is_right = is_right(&answer, right, order);
        if !is_right {
            eprintln!(
                "{}: another answer than importlib.metadata's to {}",
                self.contender,
                work.name()
            );
        }
        self.right = Some((is_right, order));
        Ok(())
    }

    /// A right answer is worth nothing if the cache was not built, or not read: fails where epcache's is
    /// stale, and calls the answer wrong where another's was built again by who was to read it.
    fn check_cache(&mut self, venv: &Venv, field: &Field) -> Result<()> {
        if !self.contender.builds {
            return Ok(());
        }
        fresh::ensure_fresh(venv, field, self.contender)?;
        if self.built.is_empty() || self.built != fresh::files(self.contender, field)? {
            eprintln!(
                "{}: the cache was not built, or built again",
                self.contender
            );
            self.right = self.right.map(|(_, order)| (false, order));
        }
        Ok(())
    }

    fn wall(&self) -> Vec<f64> {
        self.runs.iter().map(|ran| milliseconds(ran.wall)).collect()
    }

    /// What each run took more than this.
    fn above(&self, pass: f64) -> Vec<f64> {
        self.wall().iter().map(|own| own - pass).collect()
    }
}

fn records(venv: &Venv, field: &Field, runners: &[Runner<'_>], work: Work) -> Result<Vec<Record>> {
    let pass = runners.first().context("nobody was measured")?.wall();
    let pass = Quartiles::of(&pass).context("no round was run")?.median;
    let median_above = |runner: &Runner<'_>| Some(Quartiles::of(&runner.above(pass))?.median);
    let none = runners
        .iter()
        .find(|runner| runner.contender.family == Family::None)
        .and_then(median_above);
    let record = |runner: &Runner<'_>| {
        let told: Vec<_> = runner.runs.iter().filter_map(|ran| ran.told).collect();
        let median = |numbers: Vec<f64>| Some(Quartiles::of(&numbers)?.median);
        let in_process = told.iter().map(|told| told.nanoseconds as f64 / 1e6);
        let bytes = median(told.iter().map(|told| told.bytes_read as f64).collect());
        let peak = median(
            told.iter()
                .map(|told| told.peak_kib as f64 / 1024.0)
                .collect(),
        );
        Some(Record::Time(Box::new(Time {
            language: runner.contender.language.name(),
            contender: runner.contender.name,
            work: work.name(),
            dists: field.dists,
            condition: field.condition,
            python: venv.version.clone(),
            rounds: runner.runs.len(),
            wall_ms: Quartiles::of(&runner.wall())?,
            above_ms: Quartiles::of(&runner.above(pass))?,
            in_process_ms: Quartiles::of(&in_process.collect::<Vec<_>>()),
            ratio_to_none: none
                .filter(|_| runner.contender.answers())
                .and_then(|none| Some(rounded(median_above(runner)? / none))),
            calls: runner.calls,
            bytes_read: bytes.map(|bytes| bytes as u64),
            peak_mib: peak,
            right: runner.right.map(|(right, _)| right),
            order: runner.right.map(|(_, order)| order),
        })))
    };
    runners
        .iter()
        .map(|runner| record(runner).context("no round was run"))
        .collect()
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
