//! The conformance cases, `tests/conformance/`, put to the command: whatever the state of the cache
//! roots, the answer is the one that stands in the case, and CPython's where the case says so.
//!
//! The Python reader's tests put the same cases to it.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use epcache_tests::environment::Scratch;
use epcache_tests::oracle::{Answer, Oracle};
use epcache_tests::skip::skip;
use epcache_tests::{binary, judge, process};
use serde::Deserialize;

/// The builder of the cases, which all their runners use.
const BUILDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/scene.py");

/// So many cases there are at least: a builder that finds none must not pass.
const CASES: usize = 80;

/// One case, as its builder tells it.
#[derive(Deserialize)]
struct Case {
    name: String,
    about: String,
    directory: PathBuf,
    #[serde(default)]
    skip: Option<String>,
    /// In hexadecimal: not every path is UTF-8.
    path: Vec<String>,
    #[serde(default)]
    roots: Vec<String>,
    /// What is to run the command, if not the test itself: it mounts roots at well-known places.
    #[serde(default)]
    launcher: Vec<String>,
    #[serde(default)]
    questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    mode: String,
    group: Option<String>,
    name: Option<String>,
    answer: Vec<Row>,
    /// Whether the order depends on that in which the file system lists names.
    any_order: bool,
    cpython: CPython,
}

/// Whether CPython gives the same answer.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(untagged)]
enum CPython {
    /// It does, or need not.
    Same(bool),
    /// It would, if something did not make it raise an error.
    Raises(Raises),
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Raises {
    Raises,
}

/// Group, name, value, metadata directory, path entry.
type Row = [String; 5];

impl Case {
    fn path(&self) -> Vec<OsString> {
        let byte = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).unwrap();
            u8::from_str_radix(digits, 16).unwrap()
        };
        let unhex = |item: &String| item.as_bytes().chunks(2).map(byte).collect();
        self.path
            .iter()
            .map(unhex)
            .map(OsString::from_vec)
            .collect()
    }

    /// What the command answers; an `Err` tells what went wrong instead.
    fn ask(&self, home: &Path, question: &Question) -> Result<Vec<Row>, String> {
        let output = process::finish(&mut self.query(home, question));
        match output.status.code() {
            Some(0 | 1) => process::stdout(&output)
                .lines()
                .map(|line| Answer::from_command(line).map(row))
                .collect(),
            code => Err(format!("status {code:?}: {}", process::stderr(&output))),
        }
    }

    fn query(&self, home: &Path, question: &Question) -> Command {
        let mut command = match self.launcher.split_first() {
            None => Command::new(binary()),
            Some((launcher, arguments)) => {
                let mut command = Command::new(launcher);
                command.args(arguments).arg(binary());
                command
            }
        };
        for (name, value) in epcache_tests::epcache(home).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .current_dir(&self.directory)
            .env("EPCACHE_PATH", self.roots.join(":"))
            .args(["query", "--format", "jsonl", "--mode", &question.mode]);
        for item in self.path() {
            command.arg(equals("--path=", &item));
        }
        command.arg("--");
        command.args(&question.group).args(&question.name);
        command
    }

    /// What is wrong with the answers, if anything is.
    fn failures(&self, home: &Path, oracle: &mut Oracle) -> Vec<String> {
        let wrong = |question| self.failure(home, oracle, question);
        self.questions.iter().filter_map(wrong).collect()
    }

    fn failure(&self, home: &Path, oracle: &mut Oracle, question: &Question) -> Option<String> {
        let told = |what: &str, rows: &dyn std::fmt::Debug| {
            Some(format!(
                "{} ({})\n  asked in mode {} for {:?} {:?}\n  {what}: {rows:#?}\n  expected: {:#?}",
                self.name,
                self.about,
                question.mode,
                question.group,
                question.name,
                question.answer
            ))
        };
        let answer = match self.ask(home, question) {
            Ok(answer) => answer,
            Err(error) => return told("failed", &error),
        };
        if !question.is_answered_by(&answer) {
            return told("answered", &answer);
        }
        if question.cpython == CPython::Same(false) {
            return None;
        }
        let truth = oracle.ask(&self.path(), &self.directory);
        if truth.raises.is_empty() == (question.cpython == CPython::Raises(Raises::Raises)) {
            return told("what makes CPython raise", &truth.raises);
        }
        let truth: Vec<Row> = truth.entry_points.into_iter().map(row).collect();
        let truth: Vec<Row> = truth.into_iter().filter(|row| question.asks(row)).collect();
        if truth != answer {
            return told("CPython answers", &truth);
        }
        None
    }
}

impl Question {
    fn is_answered_by(&self, answer: &[Row]) -> bool {
        if !self.any_order {
            return answer == self.answer;
        }
        let sorted = |rows: &[Row]| {
            let mut rows = rows.to_vec();
            rows.sort();
            rows
        };
        sorted(answer) == sorted(&self.answer)
    }

    fn asks(&self, [group, name, ..]: &Row) -> bool {
        self.group.as_ref().is_none_or(|asked| asked == group)
            && self.name.as_ref().is_none_or(|asked| asked == name)
    }
}

fn row(answer: Answer) -> Row {
    [
        answer.group,
        answer.name,
        answer.value,
        answer.metadata_dir,
        answer.path_entry,
    ]
}

fn equals(option: &str, value: &OsStr) -> OsString {
    let mut argument = OsString::from(option);
    argument.push(value);
    argument
}

/// All cases, built below a scratch directory.
fn built(scratch: &Scratch) -> Vec<Case> {
    let mut builder = Command::new(judge::python());
    builder.args(["-I", "-S", "-B", BUILDER]);
    builder.arg(scratch.join("cases"));
    std::fs::create_dir(scratch.join("cases")).unwrap();
    let output = process::succeed(&mut builder);
    process::stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_command_answers_every_conformance_case_as_it_says() {
    let scratch = Scratch::new();
    let cases = built(&scratch);
    let mut oracle = Oracle::start(judge::python());
    let mut failures = Vec::new();
    for case in &cases {
        if let Some(reason) = &case.skip {
            skip(&format!("conformance case {}: {reason}", case.name));
            continue;
        }
        failures.extend(case.failures(&scratch.home(), &mut oracle));
    }
    assert!(
        failures.is_empty(),
        "{} wrong\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(cases.len() >= CASES, "{} cases", cases.len());
}
