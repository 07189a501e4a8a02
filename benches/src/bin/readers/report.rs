//! What the numbers say: medians with their quartiles, what is above an interpreter that does
//! nothing, and each goal beside what was measured; for people on standard output, and in a file
//! for programs.
//!
//! A difference or a ratio of medians is given with an interval: the rounds are drawn again and again,
//! with repetition, all contenders of a round together (a bootstrap), and nine in ten of such draws
//! fall into it. A goal is judged by the measured value; one whose interval holds the goal too
//! could fall either way in the next run.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use epcache_benches::machine::Machine;
use epcache_benches::measure::Summary;
use serde::Serialize;

use crate::contenders::{Clock, Contender};

/// So many draws leave the ends of the interval steady to a few per cent of its width.
const DRAWS: usize = 500;

/// The part of the draws that is left out at each end.
const LEFT_OUT_AT_EACH_END: usize = DRAWS / 20;

/// What takes less time than this above the baseline is not told from it on the quietest machine,
/// and a ratio to it could be of any size. Milliseconds.
const SMALLEST_DIFFERENCE: f64 = 0.1;

/// All numbers of a run, as they are written to the file.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    machine: &'a Machine,
    clock: Clock,
    sections: Vec<Section>,
}

/// One comparison, whose contenders were run in turn.
#[derive(Serialize)]
pub(crate) struct Section {
    title: String,
    rounds: u32,
    rows: Vec<Row>,
    goals: Vec<Goal>,
    /// Why nothing was measured.
    skipped: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    median_ms: f64,
    lower_quartile_ms: f64,
    upper_quartile_ms: f64,
    /// How much more than the baseline's, where there is one.
    above_ms: Option<Estimate>,
    /// What the contender's counter counted, the median of its runs.
    operations: Option<u64>,
}

/// A value made of medians, and where nine in ten draws put it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    value: f64,
    low: f64,
    high: f64,
}

#[derive(Serialize)]
struct Goal {
    what: String,
    limit: Limit,
    unit: Unit,
    measured: Estimate,
    reached: bool,
}

/// What a goal asks for.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
    /// Not told from nothing: the interval begins at zero or below.
    NotMeasurable,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Unit {
    Times,
    Milliseconds,
}

impl<'a> Report<'a> {
    pub(crate) fn new(machine: &'a Machine, clock: Clock) -> Report<'a> {
        println!(
            "{}, Python {}, {}, {} processors; {} time, but where it says otherwise",
            machine.epcache_version,
            machine.python_version,
            machine.system,
            machine.processors,
            match clock {
                Clock::Wall => "wall clock",
                Clock::Processor => "processor",
            }
        );
        Report {
            machine,
            clock,
            sections: Vec::new(),
        }
    }

    /// Prints a section and keeps it.
    pub(crate) fn add(&mut self, section: Section) {
        section.print();
        self.sections.push(section);
    }

    /// Prints every goal once more, all together, and what was left out.
    pub(crate) fn print_goals(&self) {
        println!("\nGoals");
        for section in &self.sections {
            section.goals.iter().for_each(Goal::print);
        }
        for section in &self.sections {
            if let Some(reason) = &section.skipped {
                println!("skipped: {}: {reason}", section.title);
            }
        }
    }

    /// Writes all numbers as JSON.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write the report as JSON")?;
        std::fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))
    }
}

impl Section {
    /// Sums up what was run; `baseline` is the contender whose time is not counted in `above`.
    pub(crate) fn of(
        title: &str,
        rounds: u32,
        contenders: &[Contender],
        baseline: Option<&'static str>,
    ) -> Result<Section> {
        let mut rows = Vec::new();
        for contender in contenders {
            let name = contender.name;
            let summary = Summary::of(&contender.times)
                .with_context(|| format!("{name} was not measured"))?;
            let above_ms = baseline
                .filter(|baseline| *baseline != name)
                .map(|baseline| estimate(contenders, |medians| medians.above(name, baseline)))
                .transpose()?;
            rows.push(Row {
                name,
                median_ms: milliseconds(summary.median),
                lower_quartile_ms: milliseconds(summary.lower_quartile),
                upper_quartile_ms: milliseconds(summary.upper_quartile),
                above_ms,
                operations: middle(&contender.counts),
            });
        }
        Ok(Section {
            title: title.to_owned(),
            rounds,
            rows,
            goals: Vec::new(),
            skipped: None,
        })
    }

    /// A section that can't be measured here.
    pub(crate) fn skipped(title: &str, reason: String) -> Section {
        Section {
            title: title.to_owned(),
            rounds: 0,
            rows: Vec::new(),
            goals: Vec::new(),
            skipped: Some(reason),
        }
    }

    /// Adds a goal and judges it.
    pub(crate) fn goal(&mut self, what: &str, limit: Limit, unit: Unit, measured: Estimate) {
        let reached = match limit {
            Limit::AtLeast(least) => measured.value >= least,
            Limit::AtMost(most) => measured.value <= most,
            Limit::NotMeasurable => measured.low <= 0.0,
        };
        self.goals.push(Goal {
            what: what.to_owned(),
            limit,
            unit,
            measured,
            reached,
        });
    }

    fn print(&self) {
        println!("\n{}", self.title);
        if let Some(reason) = &self.skipped {
            println!("skipped: {reason}");
            return;
        }
        let rounds = format!("{} rounds", self.rounds);
        println!(
            "{rounds:<46}{:>11}{:>21}{:>11}{:>19}",
            "median ms", "quartiles", "above ms", "90%"
        );
        for row in &self.rows {
            row.print();
        }
        self.goals.iter().for_each(Goal::print);
    }
}

impl Row {
    fn print(&self) {
        let quartiles = format!(
            "{:.3}-{:.3}",
            self.lower_quartile_ms, self.upper_quartile_ms
        );
        let (above, interval) = self
            .above_ms
            .map_or((String::new(), String::new()), |above| {
                let interval = format!("{:.2} to {:.2}", above.low, above.high);
                (format!("{:.3}", above.value), interval)
            });
        let operations = self
            .operations
            .map_or(String::new(), |count| format!("  {count} operations"));
        println!(
            "{:<46}{:>11.3}{quartiles:>21}{above:>11}{interval:>19}{operations}",
            self.name, self.median_ms,
        );
    }
}

impl Goal {
    fn print(&self) {
        let unit = match self.unit {
            Unit::Times => "x",
            Unit::Milliseconds => " ms",
        };
        let limit = match self.limit {
            Limit::AtLeast(least) => format!(">= {least}{unit}"),
            Limit::AtMost(most) => format!("<= {most}{unit}"),
            Limit::NotMeasurable => "not told from 0".to_owned(),
        };
        let Estimate { value, low, high } = self.measured;
        println!(
            "  {:<72}{limit:>16}{:>13}{:>20}  {}",
            self.what,
            format!("{value:.2}{unit}"),
            format!("{low:.2} to {high:.2}"),
            if self.reached {
                "reached"
            } else {
                "NOT REACHED"
            },
        );
    }
}

/// The medians of one draw of the rounds, in milliseconds.
pub(crate) struct Medians {
    by_name: HashMap<&'static str, f64>,
}

impl Medians {
    /// The median of a contender, which must be one of those given to [`estimate`].
    pub(crate) fn of(&self, name: &'static str) -> f64 {
        self.by_name.get(name).copied().unwrap_or(f64::NAN)
    }

    /// How much longer than the baseline it takes.
    pub(crate) fn above(&self, name: &'static str, baseline: &'static str) -> f64 {
        self.of(name) - self.of(baseline)
    }

    /// How many times as long the rival takes, both above the baseline.
    pub(crate) fn ratio_above(
        &self,
        rival: &'static str,
        own: &'static str,
        baseline: &'static str,
    ) -> f64 {
        self.above(rival, baseline) / self.above(own, baseline).max(SMALLEST_DIFFERENCE)
    }

    /// How many times as long the rival takes.
    pub(crate) fn ratio(&self, rival: &'static str, own: &'static str) -> f64 {
        self.of(rival) / self.of(own)
    }
}

/// The value that a formula gives for the medians, and its interval.
pub(crate) fn estimate(
    contenders: &[Contender],
    formula: impl Fn(&Medians) -> f64,
) -> Result<Estimate> {
    let rounds = contenders.first().map_or(0, |first| first.times.len());
    ensure!(
        rounds > 0 && contenders.iter().all(|one| one.times.len() == rounds),
        "contenders of one section were run in different numbers of rounds"
    );
    let all: Vec<usize> = (0..rounds).collect();
    let value = formula(&medians(contenders, &all));
    ensure!(value.is_finite(), "a goal names what was not measured");

    let mut dice = Dice::default();
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let draw: Vec<usize> = (0..rounds).map(|_| dice.below(rounds)).collect();
            formula(&medians(contenders, &draw))
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    Ok(Estimate {
        value,
        low: drawn[LEFT_OUT_AT_EACH_END],
        high: drawn[DRAWS - 1 - LEFT_OUT_AT_EACH_END],
    })
}

fn medians(contenders: &[Contender], rounds: &[usize]) -> Medians {
    let by_name = contenders
        .iter()
        .filter_map(|contender| {
            let times: Vec<Duration> = rounds.iter().map(|&round| contender.times[round]).collect();
            Some((contender.name, milliseconds(Summary::of(&times)?.median)))
        })
        .collect();
    Medians { by_name }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn middle(counts: &[u64]) -> Option<u64> {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// Numbers that look drawn and are the same in each run of this program: the generator SplitMix64.
#[derive(Default)]
struct Dice {
    state: u64,
}

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % end.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]
mod tests {
    use std::process::Command;

    use super::*;

    fn measured(name: &'static str, milliseconds: &[u64]) -> Contender {
        let mut contender = Contender::process(name, Command::new("true"), Clock::Wall);
        contender.times = milliseconds
            .iter()
            .map(|&one| Duration::from_millis(one))
            .collect();
        contender
    }

    #[test]
    fn a_ratio_is_of_the_times_above_the_baseline() {
        let contenders = [
            measured("nothing", &[10, 10, 10]),
            measured("own", &[12, 12, 12]),
            measured("rival", &[110, 110, 110]),
        ];
        let ratio = estimate(&contenders, |medians| {
            medians.ratio_above("rival", "own", "nothing")
        });
        let Estimate { value, low, high } = ratio.unwrap();
        assert!((value - 50.0).abs() < 1e-9, "{value}");
        assert!((low - 50.0).abs() < 1e-9 && (high - 50.0).abs() < 1e-9);
    }

    #[test]
    fn the_interval_holds_the_value_and_what_the_rounds_spread_over() {
        let contenders = [
            measured("nothing", &[10, 10, 10, 10, 10]),
            measured("own", &[11, 12, 13, 14, 15]),
        ];
        let above = estimate(&contenders, |medians| medians.above("own", "nothing")).unwrap();
        assert!((above.value - 3.0).abs() < 1e-9);
        assert!(above.low >= 1.0 && above.low < 3.0, "{above:?}");
        assert!(above.high > 3.0 && above.high <= 5.0, "{above:?}");
    }

    #[test]
    fn a_goal_for_what_was_not_measured_is_an_error() {
        let contenders = [measured("nothing", &[10])];
        assert!(estimate(&contenders, |medians| medians.of("own")).is_err());
        let uneven = [measured("nothing", &[10]), measured("own", &[10, 10])];
        assert!(estimate(&uneven, |medians| medians.of("own")).is_err());
    }
}
