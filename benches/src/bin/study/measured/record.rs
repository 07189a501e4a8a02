//! What was measured: one JSON object a line, which the report is made from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;

/// What tells one record from another. A newer record takes the place of an older one that has the
/// same values in all of these.
const IDENTITY: [&str; 12] = [
    "kind",
    "part",
    "language",
    "contender",
    "work",
    "dists",
    "condition",
    "python",
    "change",
    "name",
    "as",
    "what",
];

/// In what all records must be of the same machine.
const SAME_MACHINE: [&str; 7] = [
    "cpu",
    "processors",
    "memory_mib",
    "system",
    "file_system",
    "pythons",
    "epcache",
];

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Record {
    Machine(Machine),
    Part(Part),
    Time(Box<Time>),
    Together(Together),
    Killed(Killed),
    Changes(Changes),
    Application(Application),
    LeftOut(LeftOut),
}

/// On what all was measured, and how.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) system: String,
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    pub(crate) memory_mib: u64,
    /// Of the directory that everything was measured in.
    pub(crate) file_system: String,
    /// The first is the one that everything is measured with.
    pub(crate) pythons: Vec<String>,
    pub(crate) epcache: String,
    pub(crate) command: String,
    /// The average number of processes at work in the minute before.
    pub(crate) load: f64,
    /// The dists of the environment itself, the rivals among them, which everybody finds beside the
    /// generated ones.
    pub(crate) dists_beside: usize,
}

/// When a part of all was measured: `Results` adds which.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) date: String,
    pub(crate) seconds: u64,
}

/// How long one contender takes for one work in one condition.
#[derive(Debug, Serialize)]
pub(crate) struct Time {
    pub(crate) language: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) work: &'static str,
    pub(crate) dists: usize,
    pub(crate) condition: &'static str,
    /// Also of a Rust contender: whose `sys.path` it looks at.
    pub(crate) python: String,
    /// Runs that were timed.
    pub(crate) rounds: usize,
    pub(crate) wall_ms: Quartiles,
    /// More than the median of all runs of `pass` in the same rounds.
    pub(crate) above_ms: Quartiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_process_ms: Option<Quartiles>,
    /// The median of `above_ms` divided by that of `none`: below 1 is faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_to_none: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peak_mib: Option<f64>,
    /// Whether the answer is that of `importlib.metadata`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) right: Option<bool>,
    /// Whether the order was compared too: false where the contender promises none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<bool>,
}

/// Several processes that refresh one cache at once.
#[derive(Debug, Serialize)]
pub(crate) struct Together {
    pub(crate) language: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) dists: usize,
    pub(crate) processes: usize,
    pub(crate) rounds: usize,
    /// How many were at work at one moment at most: the median of the rounds.
    pub(crate) overlapped: usize,
    /// Rounds after which there was no cache, or the next one who asked wrote it again.
    pub(crate) rebuilt: usize,
    /// Answers: in each round one while they are at work, and afterwards as many as there were
    /// builders.
    pub(crate) wrong: usize,
    /// Processes.
    pub(crate) failed: usize,
}

/// Builds that were killed, and the answers after each.
#[derive(Debug, Serialize)]
pub(crate) struct Killed {
    pub(crate) language: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) dists: usize,
    pub(crate) kills: usize,
    /// How many of them came before the process had ended.
    pub(crate) in_time: usize,
    /// How many came as it entered a call that changes the cache.
    pub(crate) writing: usize,
    pub(crate) wrong: usize,
    pub(crate) failed: usize,
}

/// The answer right after a change.
#[derive(Debug, Serialize)]
pub(crate) struct Changes {
    pub(crate) language: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) change: &'static str,
    pub(crate) wrong: bool,
}

/// A real application, from its start to its end.
#[derive(Debug, Serialize)]
pub(crate) struct Application {
    pub(crate) name: &'static str,
    pub(crate) condition: &'static str,
    pub(crate) dists: usize,
    #[serde(rename = "as")]
    pub(crate) served: &'static str,
    pub(crate) rounds: usize,
    pub(crate) wall_ms: Quartiles,
    /// `python -c pass` in the same environment and rounds.
    pub(crate) pass_ms: f64,
    /// Spent in calls that ask for entry points, in runs of their own.
    pub(crate) entry_points_ms: f64,
}

/// What was not measured.
#[derive(Debug, Serialize)]
pub(crate) struct LeftOut {
    pub(crate) what: String,
    pub(crate) why: String,
}

pub(crate) fn left_out(what: &str, why: &str) -> Record {
    Record::LeftOut(LeftOut {
        what: what.to_owned(),
        why: why.to_owned(),
    })
}

/// The middle of many measurements and how far they lie apart, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Quartiles {
    pub(crate) median: f64,
    pub(crate) q1: f64,
    pub(crate) q3: f64,
}

impl Quartiles {
    /// Sums up; `None` if nothing was measured.
    pub(crate) fn of(milliseconds: &[f64]) -> Option<Quartiles> {
        let mut sorted = milliseconds.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let middle = f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]);
        Some(Quartiles {
            median: rounded(middle),
            q1: rounded(sorted[last / 4]),
            q3: rounded(sorted[last - last / 4]),
        })
    }
}

/// To a thousandth: what is below is noise.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// The records in a file, which is written beside it until all is done.
#[derive(Debug)]
pub(crate) struct Results {
    file: PathBuf,
    lines: Vec<Line>,
    /// Which what is added is part of.
    part: Option<String>,
}

#[derive(Debug)]
struct Line {
    value: Value,
    text: String,
}

impl Line {
    fn new(text: String) -> Result<Line> {
        let value = serde_json::from_str(&text).context("read a record")?;
        Ok(Line { value, text })
    }

    fn identity(&self) -> [&Value; IDENTITY.len()] {
        IDENTITY.map(|key| &self.value[key])
    }
}

impl Results {
    /// Begins a file, or goes on with what is in it.
    pub(crate) fn open(file: &Path, go_on: bool) -> Result<Results> {
        let mut lines = Vec::new();
        if go_on {
            let text =
                fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
            for line in text.lines() {
                lines.push(Line::new(line.to_owned())?);
            }
            // What is left out of all parts is said anew.
            lines.retain(|line| line.value["kind"] != "left_out" || !line.value["part"].is_null());
        }
        Ok(Results {
            file: file.to_owned(),
            lines,
            part: None,
        })
    }

    /// Notes the machine; where there are records of another one, they can't stand beside new ones.
    pub(crate) fn put_machine(&mut self, machine: Machine) -> Result<()> {
        let Some(old) = self
            .lines
            .iter()
            .find(|line| line.value["kind"] == "machine")
        else {
            return self.put([Record::Machine(machine)]);
        };
        let new = serde_json::to_value(&machine).context("write a record")?;
        for key in SAME_MACHINE {
            ensure!(
                old.value[key] == new[key],
                "{}: measured with another {key}, {} and not {}: measure all parts",
                self.file.display(),
                old.value[key],
                new[key]
            );
        }
        Ok(())
    }

    /// Forgets what was measured of a part, and says of what comes that it is of it.
    pub(crate) fn begin_part(&mut self, part: &str) {
        self.lines.retain(|line| line.value["part"] != part);
        self.part = Some(part.to_owned());
    }

    /// Where everything is written to until all is done.
    fn partial(&self) -> PathBuf {
        self.file.with_extension("jsonl.partial")
    }

    /// Puts the file in its place.
    pub(crate) fn finish(self) -> Result<()> {
        fs::rename(self.partial(), &self.file)
            .with_context(|| format!("rename to {}", self.file.display()))
    }

    /// Adds records and writes the file, so that a run that stops has left what it measured.
    pub(crate) fn put(&mut self, records: impl IntoIterator<Item = Record>) -> Result<()> {
        for record in records {
            let mut text = serde_json::to_string(&record).context("write a record")?;
            if let Some(part) = &self.part {
                text = text.replacen('{', &format!("{{\"part\":\"{part}\","), 1);
            }
            let line = Line::new(text)?;
            match self
                .lines
                .iter_mut()
                .find(|old| old.identity() == line.identity())
            {
                Some(old) => *old = line,
                None => self.lines.push(line),
            }
        }
        let text: String = self
            .lines
            .iter()
            .flat_map(|line| [line.text.as_str(), "\n"])
            .collect();
        let file = self.partial();
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    }

    /// Says that something was not measured, to who waits and in the file.
    pub(crate) fn leave_out(&mut self, what: &str, why: &str) -> Result<()> {
        eprintln!("left out: {what}: {why}");
        self.put([left_out(what, why)])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]
mod tests {
    use super::*;

    fn change(contender: &'static str, wrong: bool) -> Record {
        Record::Changes(Changes {
            language: "rust",
            contender,
            change: "upgrade",
            wrong,
        })
    }

    #[test]
    fn quartiles_lie_around_the_median() {
        let of = |numbers: &[f64]| Quartiles::of(numbers);
        let expected = Quartiles {
            median: 3.0,
            q1: 2.0,
            q3: 5.0,
        };
        assert_eq!(of(&[3.0, 1.0, 2.0, 5.0, 9_000.0]), Some(expected));
        assert_eq!(of(&[-4.0, 1.0]).unwrap().median, -1.5);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_newer_record_takes_the_place_of_the_same_older_one() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("results.jsonl");
        let mut first = Results::open(&file, false).unwrap();
        first
            .put([change("none", true), change("stevedore", true)])
            .unwrap();
        first.finish().unwrap();
        let mut second = Results::open(&file, true).unwrap();
        second.put([change("none", false)]).unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("true}\n{"));
        second.finish().unwrap();
        let expected = "\
{\"kind\":\"changes\",\"language\":\"rust\",\"contender\":\"none\",\"change\":\"upgrade\",\"wrong\":false}
{\"kind\":\"changes\",\"language\":\"rust\",\"contender\":\"stevedore\",\"change\":\"upgrade\",\"wrong\":true}
";
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    }

    #[test]
    fn nothing_old_is_left_of_a_part_that_is_measured_again() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("results.jsonl");
        let mut first = Results::open(&file, false).unwrap();
        first.put([left_out("in general", "no")]).unwrap();
        for part in ["warm", "cold"] {
            first.begin_part(part);
            first.put([left_out("that", part)]).unwrap();
        }
        first.finish().unwrap();
        let mut second = Results::open(&file, true).unwrap();
        second.begin_part("warm");
        second.put([]).unwrap();
        second.finish().unwrap();
        let expected =
            "{\"part\":\"cold\",\"kind\":\"left_out\",\"what\":\"that\",\"why\":\"cold\"}\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    }

    #[test]
    fn records_of_two_machines_are_not_mixed() {
        let machine = |system: &str| Machine {
            date: String::new(),
            system: system.to_owned(),
            cpu: String::new(),
            processors: 2,
            memory_mib: 1,
            file_system: String::new(),
            pythons: Vec::new(),
            epcache: String::new(),
            command: String::new(),
            load: 0.0,
            dists_beside: 0,
        };
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("results.jsonl");
        let mut first = Results::open(&file, false).unwrap();
        first.put_machine(machine("one")).unwrap();
        first.finish().unwrap();
        let mut second = Results::open(&file, true).unwrap();
        second.put_machine(machine("one")).unwrap();
        let error = second.put_machine(machine("two")).unwrap_err();
        assert!(error.to_string().contains("another system"), "{error}");
    }
}
