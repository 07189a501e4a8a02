//! What was measured, as the lines of `results.jsonl` tell it, and ways to find one thing in it.
//!
//! All that the document says comes through here: what can't be found is an error that names it.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// One line of the file.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Machine(Machine),
    Part(Part),
    Time(Time),
    Together(Attempts),
    Killed(Attempts),
    Changes(Change),
    Application(Application),
    LeftOut(LeftOut),
    /// What a later program records and this one does not show.
    #[serde(other)]
    Other,
}

/// Where and when it was measured.
#[derive(Deserialize)]
pub(super) struct Machine {
    pub(super) date: String,
    pub(super) system: String,
    pub(super) cpu: String,
    pub(super) processors: u32,
    pub(super) memory_mib: f64,
    pub(super) file_system: String,
    /// The first one is the one of everything that names none.
    pub(super) pythons: Vec<String>,
    pub(super) epcache: String,
    pub(super) command: String,
    /// Processes that wanted a processor when the measuring began, on average.
    pub(super) load: Option<f64>,
    /// The environment's own dists, which are found beside the generated ones.
    pub(super) dists_beside: Option<u32>,
}

/// When a part was measured.
#[derive(Deserialize)]
pub(super) struct Part {
    pub(super) part: String,
    pub(super) date: String,
}

/// A median and its quartiles, in milliseconds.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) q1: f64,
    pub(super) q3: f64,
}

/// One contender's time for one work, on so many dists, under one condition.
#[derive(Deserialize)]
pub(super) struct Time {
    pub(super) language: String,
    pub(super) contender: String,
    pub(super) work: String,
    pub(super) dists: u32,
    pub(super) condition: String,
    pub(super) python: Option<String>,
    /// Runs.
    pub(super) rounds: Option<u32>,
    pub(super) wall_ms: Option<Spread>,
    /// Above a process of the same round that does nothing.
    pub(super) above_ms: Option<Spread>,
    pub(super) in_process_ms: Option<Spread>,
    pub(super) calls: Option<f64>,
    pub(super) bytes_read: Option<f64>,
    pub(super) peak_mib: Option<f64>,
    /// Whether the answer was that of `importlib.metadata`.
    pub(super) right: Option<bool>,
}

/// How often something was tried that may go wrong: builds at once, or kills in the middle of one.
#[derive(Deserialize)]
pub(super) struct Attempts {
    pub(super) language: String,
    pub(super) contender: String,
    #[serde(alias = "kills")]
    pub(super) rounds: u32,
    pub(super) processes: Option<u32>,
    /// Of the builders, the most that were at work at one moment.
    pub(super) overlapped: Option<u32>,
    /// Rounds that left no cache, or one that was not believed.
    pub(super) rebuilt: Option<u32>,
    /// Kills that came before the build was done.
    pub(super) in_time: Option<u32>,
    /// Kills as the build entered a call that changes the cache.
    pub(super) writing: Option<u32>,
    /// Answers that were not those of `importlib.metadata`.
    pub(super) wrong: u32,
    /// Processes that ended with an error.
    pub(super) failed: u32,
}

/// What was answered right after one kind of change.
#[derive(Deserialize)]
pub(super) struct Change {
    pub(super) language: String,
    pub(super) contender: String,
    pub(super) change: String,
    pub(super) wrong: bool,
}

/// How long a real program takes to start.
#[derive(Deserialize)]
pub(super) struct Application {
    pub(super) name: String,
    pub(super) condition: String,
    /// `plain`, or patched: `epcache-exact`, `epcache-fast`.
    #[serde(rename = "as")]
    pub(super) way: String,
    pub(super) rounds: Option<u32>,
    pub(super) wall_ms: Spread,
    pub(super) pass_ms: Option<f64>,
    pub(super) entry_points_ms: Option<f64>,
}

/// What was not measured.
#[derive(Deserialize)]
pub(super) struct LeftOut {
    pub(super) what: String,
    pub(super) why: String,
}

/// Everything that was measured.
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) parts: Vec<Part>,
    pub(super) times: Vec<Time>,
    pub(super) together: Vec<Attempts>,
    pub(super) killed: Vec<Attempts>,
    pub(super) changes: Vec<Change>,
    pub(super) applications: Vec<Application>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Results {
    /// Reads the lines.
    ///
    /// # Errors
    /// A line is not of the form that is documented above, there is no machine, or the same thing
    /// was measured twice: nobody could tell which of the two a number is from.
    pub(super) fn parse(text: &str) -> Result<Results> {
        let mut machine = None;
        let [mut together, mut killed] = [Vec::new(), Vec::new()];
        let (mut parts, mut times, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut applications, mut left_out) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let line = serde_json::from_str(line)
                .with_context(|| format!("read line {} of the results: {line}", index + 1))?;
            match line {
                Line::Machine(found) => machine = Some(found),
                Line::Part(part) => parts.push(part),
                Line::Time(time) => times.push(time),
                Line::Together(attempts) => together.push(attempts),
                Line::Killed(attempts) => killed.push(attempts),
                Line::Changes(change) => changes.push(change),
                Line::Application(application) => applications.push(application),
                Line::LeftOut(thing) => left_out.push(thing),
                Line::Other => {}
            }
        }
        let results = Results {
            machine: machine.context("the results do not say on which machine")?,
            parts,
            times,
            together,
            killed,
            changes,
            applications,
            left_out,
        };
        results.ensure_each_once()?;
        Ok(results)
    }

    fn ensure_each_once(&self) -> Result<()> {
        let mut cases: Vec<(Case<'_>, &str)> = self
            .times
            .iter()
            .map(|time| (self.case_of(time), time.contender.as_str()))
            .collect();
        cases.sort_unstable();
        match cases.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => bail!("measured twice: {} {}", pair[0].1, pair[0].0),
        }
    }

    /// What was measured there.
    fn case_of<'a>(&'a self, time: &'a Time) -> Case<'a> {
        Case {
            language: &time.language,
            work: &time.work,
            dists: time.dists,
            condition: &time.condition,
            python: match &time.python {
                Some(python) => python,
                None => self.main_python(),
            },
        }
    }

    /// The Python of everything that names none.
    pub(super) fn main_python(&self) -> &str {
        self.machine.pythons.first().map_or("", String::as_str)
    }

    /// One contender's measurement, if there is one.
    pub(super) fn time(&self, case: Case<'_>, contender: &str) -> Option<&Time> {
        self.times
            .iter()
            .find(|time| time.contender == contender && self.case_of(time) == case)
    }

    /// What was measured of `field`, if it was.
    pub(super) fn spread(&self, field: Field, case: Case<'_>, contender: &str) -> Option<Spread> {
        field.of(self.time(case, contender)?)
    }

    /// One number.
    ///
    /// # Errors
    /// It was not measured.
    pub(super) fn number(&self, field: Field, case: Case<'_>, contender: &str) -> Result<f64> {
        let spread = self.spread(field, case, contender);
        let spread = spread
            .ok_or_else(|| NotMeasured(format!("not measured: {field} {contender} {case}")))?;
        ensure!(
            spread.median.is_finite(),
            "no number: {field} {contender} {case}"
        );
        Ok(spread.median)
    }

    /// All cases that were measured, each once, in the order of the file.
    pub(super) fn cases(&self) -> Vec<Case<'_>> {
        let mut cases = Vec::new();
        for time in &self.times {
            let case = self.case_of(time);
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        cases
    }
}

/// Why a placeholder can't be filled in: not because of what it says.
#[derive(Debug)]
pub(super) struct NotMeasured(pub(super) String);

impl fmt::Display for NotMeasured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for NotMeasured {}

/// What a contender is measured at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Case<'a> {
    pub(super) language: &'a str,
    pub(super) work: &'a str,
    pub(super) dists: u32,
    pub(super) condition: &'a str,
    pub(super) python: &'a str,
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            language,
            work,
            dists,
            condition,
            python,
        } = self;
        write!(
            formatter,
            "{language} {work} {dists} {condition} (Python {python})"
        )
    }
}

/// A figure of a measurement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// The whole process above one that does nothing, in milliseconds.
    Above,
    /// The whole process, in milliseconds.
    Wall,
    /// From the first line of the program to the answer, in milliseconds.
    InProcess,
    /// File system calls.
    Calls,
    /// Bytes read.
    Bytes,
    /// Peak memory, in MiB.
    Peak,
}

impl Field {
    /// The field that a template names.
    pub(super) fn named(name: &str) -> Option<Field> {
        Some(match name {
            "above" => Field::Above,
            "wall" => Field::Wall,
            "in-process" => Field::InProcess,
            "calls" => Field::Calls,
            "bytes" => Field::Bytes,
            "peak" => Field::Peak,
            _ => return None,
        })
    }

    fn of(self, time: &Time) -> Option<Spread> {
        let alone = |number: f64| Spread {
            median: number,
            q1: number,
            q3: number,
        };
        match self {
            Field::Above => time.above_ms,
            Field::Wall => time.wall_ms,
            Field::InProcess => time.in_process_ms,
            Field::Calls => time.calls.map(alone),
            Field::Bytes => time.bytes_read.map(alone),
            Field::Peak => time.peak_mib.map(alone),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Field::Above => "above",
            Field::Wall => "wall",
            Field::InProcess => "in-process",
            Field::Calls => "calls",
            Field::Bytes => "bytes",
            Field::Peak => "peak",
        })
    }
}
