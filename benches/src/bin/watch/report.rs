//! What the numbers say, beside the goals: for people on standard output, and in a file for programs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use epcache_benches::machine::Machine;
use epcache_benches::measure::Summary;
use serde::Serialize;

/// All numbers of a run, as they are written to the file.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    machine: &'a Machine,
    dists: u32,
    sections: Vec<Section>,
}

/// What was measured together.
#[derive(Serialize)]
pub(crate) struct Section {
    title: String,
    times: Vec<Times>,
    figures: Vec<Figure>,
    /// Why nothing was measured.
    skipped: Option<String>,
}

/// Many measurements of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Times {
    name: &'static str,
    rounds: usize,
    pub(crate) median_ms: f64,
    lower_quartile_ms: f64,
    upper_quartile_ms: f64,
    /// Nine in ten took at most this long.
    p90_ms: f64,
    pub(crate) worst_ms: f64,
}

/// One number.
#[derive(Serialize)]
struct Figure {
    what: String,
    measured: f64,
    unit: Unit,
    /// What it is to be at most, if there is a goal.
    at_most: Option<f64>,
    reached: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Unit {
    Milliseconds,
    Mebibytes,
    Number,
}

impl<'a> Report<'a> {
    pub(crate) fn new(machine: &'a Machine, dists: u32) -> Report<'a> {
        println!(
            "{}, Python {}, {}, {} processors; {dists} dists in each path entry",
            machine.epcache_version, machine.python_version, machine.system, machine.processors,
        );
        Report {
            machine,
            dists,
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
            match &section.skipped {
                None => println!("{}", section.title),
                Some(reason) => println!("skipped: {}: {reason}", section.title),
            }
            let goals = section.figures.iter().filter(|it| it.at_most.is_some());
            goals.for_each(Figure::print);
        }
    }

    /// Writes all numbers as JSON.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write the report as JSON")?;
        std::fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))
    }
}

impl Section {
    pub(crate) fn new(title: &str) -> Section {
        Section {
            title: title.to_owned(),
            times: Vec::new(),
            figures: Vec::new(),
            skipped: None,
        }
    }

    /// A section that can't be measured here.
    pub(crate) fn skipped(title: &str, reason: String) -> Section {
        Section {
            skipped: Some(reason),
            ..Section::new(title)
        }
    }

    /// Sums up measurements, of which there must be one at least.
    pub(crate) fn times(&mut self, name: &'static str, measured: &[Duration]) -> Result<Times> {
        let times =
            Times::of(name, measured).with_context(|| format!("{name} was not measured"))?;
        self.times.push(times);
        Ok(times)
    }

    /// Adds a number that has no goal.
    pub(crate) fn value(&mut self, what: &str, measured: f64, unit: Unit) {
        self.figures.push(Figure {
            what: what.to_owned(),
            measured,
            unit,
            at_most: None,
            reached: None,
        });
    }

    /// Adds a number that has one, and judges it.
    pub(crate) fn goal(&mut self, what: &str, at_most: f64, measured: f64, unit: Unit) {
        self.figures.push(Figure {
            what: what.to_owned(),
            measured,
            unit,
            at_most: Some(at_most),
            reached: Some(measured <= at_most),
        });
    }

    fn print(&self) {
        println!("\n{}", self.title);
        if let Some(reason) = &self.skipped {
            println!("skipped: {reason}");
        }
        if !self.times.is_empty() {
            println!(
                "{:<50}{:>8}{:>11}{:>19}{:>9}{:>9}",
                "", "rounds", "median ms", "quartiles", "p90", "worst"
            );
        }
        self.times.iter().for_each(Times::print);
        self.figures.iter().for_each(Figure::print);
    }
}

impl Times {
    fn of(name: &'static str, measured: &[Duration]) -> Option<Times> {
        let summary = Summary::of(measured)?;
        let mut sorted = measured.to_vec();
        sorted.sort_unstable();
        // The smallest that nine in ten do not exceed.
        let ninth = (sorted.len() * 9).div_ceil(10) - 1;
        Some(Times {
            name,
            rounds: sorted.len(),
            median_ms: milliseconds(summary.median),
            lower_quartile_ms: milliseconds(summary.lower_quartile),
            upper_quartile_ms: milliseconds(summary.upper_quartile),
            p90_ms: milliseconds(sorted[ninth]),
            worst_ms: milliseconds(*sorted.last()?),
        })
    }

    fn print(&self) {
        println!(
            "{:<50}{:>8}{:>11.1}{:>19}{:>9.1}{:>9.1}",
            self.name,
            self.rounds,
            self.median_ms,
            format!(
                "{:.1}-{:.1}",
                self.lower_quartile_ms, self.upper_quartile_ms
            ),
            self.p90_ms,
            self.worst_ms,
        );
    }
}

impl Figure {
    fn print(&self) {
        let measured = self.unit.with(self.measured);
        let judged = match (self.at_most, self.reached) {
            (Some(most), Some(reached)) => format!(
                "{:>16}  {}",
                format!("<= {}", self.unit.with(most)),
                if reached { "reached" } else { "NOT REACHED" }
            ),
            _ => String::new(),
        };
        println!("  {:<60}{measured:>16}{judged}", self.what);
    }
}

impl Unit {
    fn with(self, number: f64) -> String {
        match self {
            Unit::Milliseconds => format!("{number:.0} ms"),
            Unit::Mebibytes => format!("{number:.1} MiB"),
            Unit::Number => format!("{number}"),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]
mod tests {
    use super::*;

    #[test]
    fn nine_in_ten_take_no_longer_than_the_ninth_decile() {
        let times = |count: u64| -> Vec<Duration> {
            (1..=count).rev().map(Duration::from_millis).collect()
        };
        let p90 = |count| Times::of("", &times(count)).unwrap().p90_ms;
        assert_eq!([p90(1), p90(2), p90(10), p90(50)], [1.0, 2.0, 9.0, 45.0]);
        let fifty = Times::of("", &times(50)).unwrap();
        assert_eq!((fifty.median_ms, fifty.worst_ms), (25.5, 50.0));
        assert_eq!(Times::of("", &[]), None);
    }

    #[test]
    fn a_goal_is_reached_by_its_limit_and_not_by_more() {
        let mut section = Section::new("");
        section.goal("", 5.0, 5.0, Unit::Number);
        section.goal("", 5.0, 5.5, Unit::Number);
        section.value("", 9.0, Unit::Number);
        let reached: Vec<_> = section.figures.iter().map(|it| it.reached).collect();
        assert_eq!(reached, [Some(true), Some(false), None]);
    }
}
