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

use std::collections::BTreeMap;
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

/// The exit status of the script below if nothing can be mounted here.
const CANNOT_MOUNT: i32 = 77;

/// Mounts directories, given in pairs of source and target, then runs the rest of the arguments.
/// What is beside a target vanishes, for this process alone.
const WITH_MOUNTS: &str = r#"
while [ "$1" != -- ]; do
    mount -t tmpfs -o mode=755 none "${2%/*}" && mkdir -p "$2" && mount --bind "$1" "$2" || exit 77
    shift 2
done
shift
exec "$@"
"#;

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
    /// What is to be mounted where.
    #[serde(default)]
    mounts: BTreeMap<String, PathBuf>,
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
        let query = self.query(home, question);
        let mut command = self.with_mounts(&query);
        command.current_dir(&self.directory);
        let output = process::finish(&mut command);
        match output.status.code() {
            Some(0 | 1) => process::stdout(&output)
                .lines()
                .map(|line| Answer::from_command(line).map(row))
                .collect(),
            Some(CANNOT_MOUNT) if !self.mounts.is_empty() => Err("can't mount".to_owned()),
            code => Err(format!("status {code:?}: {}", process::stderr(&output))),
        }
    }

    fn query(&self, home: &Path, question: &Question) -> Command {
        let mut command = epcache_tests::epcache(home);
        command.env("EPCACHE_PATH", self.roots.join(":")).args([
            "query",
            "--format",
            "jsonl",
            "--mode",
            &question.mode,
        ]);
        for item in self.path() {
            command.arg(equals("--path=", &item));
        }
        command.arg("--");
        command.args(&question.group).args(&question.name);
        command
    }

    /// The command as it is, or in a mount namespace of its own.
    fn with_mounts(&self, command: &Command) -> Command {
        let mut wrapped = if self.mounts.is_empty() {
            Command::new(binary())
        } else {
            let mut unshare = Command::new("unshare");
            unshare.args(["--mount", "sh", "-c", WITH_MOUNTS, "sh"]);
            for (target, source) in &self.mounts {
                unshare.arg(source).arg(target);
            }
            unshare.arg("--").arg(binary());
            unshare
        };
        wrapped.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
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

/// Why nothing can be mounted here, if so.
fn cannot_mount() -> Option<&'static str> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]);
    match command.output() {
        Ok(output) if output.status.success() => None,
        _ => Some("no mount namespaces here"),
    }
}

#[test]
fn the_command_answers_every_conformance_case_as_it_says() {
    let scratch = Scratch::new();
    let cases = built(&scratch);
    let cannot_mount = cannot_mount();
    let mut oracle = Oracle::start(judge::python());
    let mut failures = Vec::new();
    for case in &cases {
        let mounting = cannot_mount.filter(|_| !case.mounts.is_empty());
        if let Some(reason) = case.skip.as_deref().or(mounting) {
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
