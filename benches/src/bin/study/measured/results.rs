//! The file of records.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::record::{Machine, Record, left_out};

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
    use super::super::record::Changes;
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
