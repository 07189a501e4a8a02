//! Against CPython, generated: on random path entries, before and after everything that can happen
//! to them and to the cache, the command answers what `importlib.metadata` answers, as lists.
//!
//! `EPCACHE_TEST_CASES` is the number of cases, `EPCACHE_TEST_SEED` the seed of the first one (each
//! further case has the next number), `EPCACHE_TEST_PYTHON` the interpreter that judges.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on should stop there"
)]

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use epcache_tests::generate::{Case, Change, Damage, PlaceKind, Times, case};
use epcache_tests::oracle::{Answer, Oracle, Truth, reference_python};
use epcache_tests::scene::Scene;
use epcache_tests::{epcache, process, skip};
use proptest::prelude::TestCaseError;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Enough to meet each kind of thing several times, in less than a minute.
const DEFAULT_CASES: u64 = 200;

/// Fixed, so that a test run says the same twice.
const DEFAULT_SEED: u64 = 20_260_101;

/// A case mostly waits for processes and, in `sync`, for young time stamps.
const THREADS_PER_PROCESSOR: usize = 2;

/// The generated trees of values are deep, and a debug build does not keep their frames small.
const STACK_SIZE: usize = 32 * 1024 * 1024;

/// How often a failing case is run again to find a smaller one, and for how long (milliseconds).
const SHRINK_RUNS: u32 = 500;
const SHRINK_TIME: u32 = 90_000;

/// So many of a case's groups are asked one by one.
const GROUPS_ASKED: usize = 3;

/// No pool of names has it.
const MISSING_GROUP: &str = "no-such-group";

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[test]
fn every_query_answers_what_cpython_answers_whatever_happens_to_sources_and_cache() {
    let Some(python) = reference_python() else {
        skip::missing("there is no CPython 3.10 to 3.14 on PATH, which would judge the answers");
        return;
    };
    let cases = number_from("EPCACHE_TEST_CASES", DEFAULT_CASES);
    let seed = number_from("EPCACHE_TEST_SEED", DEFAULT_SEED);
    println!(
        "{cases} cases from EPCACHE_TEST_SEED={seed}, judged by {}",
        python.display()
    );
    // Built once, and not by each thread.
    epcache_tests::binary();
    let next = AtomicU64::new(0);
    let failure = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(1, usize::from) * THREADS_PER_PROCESSOR;
    thread::scope(|scope| {
        for _ in 0..threads {
            let work = || {
                let oracle = RefCell::new(Oracle::start(&python));
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cases {
                        break;
                    }
                    // The other threads stop at once: what is left to do is to look into this one.
                    let stop = || next.store(cases, Ordering::Relaxed);
                    if let Err(report) = run_seed(seed.wrapping_add(number), &oracle, &stop) {
                        failure.lock().unwrap().get_or_insert(report);
                    }
                }
            };
            thread::Builder::new()
                .stack_size(STACK_SIZE)
                .spawn_scoped(scope, work)
                .expect("a thread can be started");
        }
    });
    if let Some(report) = failure.into_inner().unwrap() {
        panic!("{report}");
    }
}

fn number_from(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{variable}={text:?}: {error}")),
        Err(_) => default,
    }
}

/// Runs the case of one seed; if it fails, the report of the smallest case found that fails too.
fn run_seed(seed: u64, oracle: &RefCell<Oracle>, on_failure: &dyn Fn()) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: SHRINK_RUNS,
        max_shrink_time: SHRINK_TIME,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&case(), |case| {
        run_case(&case, &mut oracle.borrow_mut()).map_err(|failure| {
            on_failure();
            TestCaseError::fail(failure.what)
        })
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Abort(reason)) => Err(format!("seed {seed}: {reason}")),
        Err(TestError::Fail(what, smallest)) => {
            Err(report(seed, &what.to_string(), &smallest, oracle))
        }
    }
}

/// Everything that is needed to look into a failure, with the scratch directory left in place.
fn report(seed: u64, what: &str, smallest: &Case, oracle: &RefCell<Oracle>) -> String {
    let mut report = format!(
        "the smallest case found (again: EPCACHE_TEST_SEED={seed} EPCACHE_TEST_CASES=1):\n\
         {smallest:#?}\n\n{what}\n\n"
    );
    let again = run_case(smallest, &mut oracle.borrow_mut());
    let last = match again {
        Err(Failure {
            scene: Some(scene),
            what,
        }) => {
            format!(
                "the same in {}, which is kept:\n{what}",
                scene.keep().display()
            )
        }
        Err(Failure { scene: None, what }) => what,
        Ok(()) => "it does not fail when run once more: the moment matters".to_owned(),
    };
    report.push_str(&last);
    report
}

/// What went wrong, and where it can be looked at.
struct Failure {
    what: String,
    scene: Option<Box<Scene>>,
}

fn run_case(case: &Case, oracle: &mut Oracle) -> Result<(), Failure> {
    let scene = Scene::new(case, oracle).map_err(|error| Failure {
        what: format!("the case can't be put on disk: {error:#}"),
        scene: None,
    })?;
    let mut run = Run {
        case,
        scene,
        oracle,
        stage: String::new(),
    };
    match run.all_stages() {
        Ok(()) => Ok(()),
        Err(error) => Err(Failure {
            what: format!("{}: {error}", run.stage),
            scene: Some(Box::new(run.scene)),
        }),
    }
}

/// A case on its way through the stages.
struct Run<'a> {
    case: &'a Case,
    scene: Scene,
    oracle: &'a mut Oracle,
    stage: String,
}

impl Run<'_> {
    fn all_stages(&mut self) -> Result<()> {
        self.enter("before any sync");
        self.compare()?;

        self.enter("the first sync");
        self.sync()?;
        self.compare()?;
        self.scene.remember_cache()?;
        self.sync_again()?;

        for change in &self.case.changes {
            self.enter(&format!("after {change:?}, without a sync"));
            if self.scene.change(change, self.oracle)? {
                self.compare()?;
            }
        }

        self.enter("the sync after the changes");
        self.sync()?;
        self.compare()?;
        self.verify()?;
        self.sync_again()?;

        self.enter(&format!("the cache damaged: {:?}", self.case.damages));
        for damage in &self.case.damages {
            self.scene.damage(damage)?;
        }
        self.compare()?;

        self.enter("the sync after the damage");
        let heals = self.case.damages.iter().all(can_be_healed);
        let truth = self.truth();
        let output = self.run(&["sync"], &[])?;
        if heals {
            self.expect_success(&output, &truth)?;
        }
        self.compare()
    }

    fn enter(&mut self, stage: &str) {
        stage.clone_into(&mut self.stage);
    }

    fn truth(&mut self) -> Truth {
        self.oracle.ask(&self.scene.sys_path(), &self.scene.cwd())
    }

    /// Compares the answers to several questions with CPython's.
    fn compare(&mut self) -> Result<()> {
        let truth = self.truth();
        let all = &truth.entry_points;

        let output = self.expect_answer(&["query"], &[], all)?;
        if !truth.raises.is_empty() && !stderr(&output).contains("epcache: warning: ") {
            let raises = &truth.raises;
            return Err(format!("CPython raises, and there is no warning: {raises:#?}").into());
        }
        for group in groups_to_ask(all) {
            let members = matching(all, |answer| answer.group == group);
            self.expect_answer(&["query"], &[&group], &members)?;
        }
        self.expect_answer(&["query"], &[MISSING_GROUP], &[])?;
        if let Some(one) = all.get(all.len() / 2).filter(|one| can_be_argument(one)) {
            let members = matching(all, |other| {
                other.group == one.group && other.name == one.name
            });
            self.expect_answer(&["query"], &[&one.group, &one.name], &members)?;
            self.expect_answer(&["query"], &[&one.group, MISSING_GROUP], &[])?;
        }
        if self.case.asks_mode_off {
            self.expect_answer(&["query", "--mode", "off"], &[], all)?;
        }
        Ok(())
    }

    fn expect_answer(
        &self,
        options: &[&str],
        question: &[&str],
        expected: &[Answer],
    ) -> Result<Output> {
        let options: Vec<&str> = options
            .iter()
            .copied()
            .chain(["--format", "jsonl"])
            .collect();
        let output = self.run(&options, question)?;
        let text = String::from_utf8(output.stdout.clone())?;
        // Not `str::lines`: JSON lines end in nothing else than a line feed.
        let got = text
            .split_terminator('\n')
            .map(Answer::from_command)
            .collect::<Result<Vec<Answer>, String>>();
        let status = i32::from(expected.is_empty());
        if got.as_deref() == Ok(expected) && output.status.code() == Some(status) {
            return Ok(output);
        }
        let command = self.command(&options, question);
        let mut message = format!("{command:?}\n");
        writeln!(
            message,
            "expected exit status {status}, got {}",
            output.status
        )?;
        writeln!(message, "expected: {expected:#?}\ngot: {got:#?}")?;
        writeln!(message, "standard error: {}", stderr(&output))?;
        Err(message.into())
    }

    fn sync(&mut self) -> Result<()> {
        let truth = self.truth();
        let output = self.run(&["sync"], &[])?;
        self.expect_success(&output, &truth)
    }

    /// `sync` reports what is broken; where nothing is, it has nothing to complain about.
    fn expect_success(&self, output: &Output, truth: &Truth) -> Result<()> {
        if is_whole(truth) && self.scene.has_cacheable_directory() && !output.status.success() {
            return Err(format!("{}: {}", output.status, stderr(output)).into());
        }
        Ok(())
    }

    /// A second sync, with nothing changed, writes nothing: no file is another.
    fn sync_again(&mut self) -> Result<()> {
        if self.case.times == Times::Future {
            // Those time stamps are never believed: what they stand for is settled by no sync.
            return Ok(());
        }
        let before = self.scene.cache_listing()?;
        self.sync()?;
        let after = self.scene.cache_listing()?;
        if before == after {
            return Ok(());
        }
        let different: Vec<&PathBuf> = before
            .keys()
            .chain(after.keys())
            .filter(|path| before.get(*path) != after.get(*path))
            .collect();
        Err(format!("a sync with nothing to do changed {different:#?}").into())
    }

    /// Right after a sync, the cache says what the sources say.
    fn verify(&mut self) -> Result<()> {
        let output = self.run(&["verify"], &[])?;
        let is_expected =
            is_whole(&self.truth()) && !self.case.changes.iter().any(orphans_a_mirror);
        if is_expected && !output.status.success() {
            let stdout = String::from_utf8_lossy(&output.stdout);
            let stderr = stderr(&output);
            return Err(format!("verify: {}\n{stdout}\n{stderr}", output.status).into());
        }
        Ok(())
    }

    /// Runs the command, which must end in one of its three ways.
    fn run(&self, options: &[&str], question: &[&str]) -> Result<Output> {
        let mut command = self.command(options, question);
        let output = process::finish(&mut command);
        let ended = matches!(output.status.code(), Some(0..=2));
        if ended && !stderr(&output).contains("panicked") {
            return Ok(output);
        }
        Err(format!("{command:?}\n{}\n{}", output.status, stderr(&output)).into())
    }

    fn command(&self, options: &[&str], question: &[&str]) -> Command {
        let mut command = epcache(&self.scene.home());
        command
            .current_dir(self.scene.cwd())
            .args(options)
            .arg("--cache-dir")
            .arg(self.scene.cache());
        for path_entry in self.scene.sys_path() {
            command.arg("--path").arg(path_entry);
        }
        // A group may start with a hyphen.
        command.arg("--").args(question);
        command
    }
}

/// Where neither a visible nor a shadowed distribution is broken.
fn is_whole(truth: &Truth) -> bool {
    truth.raises.is_empty() && truth.hidden.is_empty()
}

/// What leaves a mirror behind that stands for nothing: to remove it is `prune`'s work.
fn orphans_a_mirror(change: &Change) -> bool {
    let Change::Replace(_, kind) = change else {
        return false;
    };
    !matches!(kind, PlaceKind::Directory(_) | PlaceKind::Zip(_))
}

/// What a sync can't put right: another's directory stands where its file belongs.
fn can_be_healed(damage: &Damage) -> bool {
    !matches!(
        damage,
        Damage::Directory(_) | Damage::DirectoryWritableByAll(_)
    )
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The first groups of an answer, in its order.
fn groups_to_ask(answers: &[Answer]) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for answer in answers {
        if groups.len() < GROUPS_ASKED && can_be_argument(answer) && !groups.contains(&answer.group)
        {
            groups.push(answer.group.clone());
        }
    }
    groups
}

/// No argument of a command can hold a NUL.
fn can_be_argument(answer: &Answer) -> bool {
    !answer.group.contains('\0') && !answer.name.contains('\0')
}

fn matching(answers: &[Answer], is_asked: impl Fn(&Answer) -> bool) -> Vec<Answer> {
    answers
        .iter()
        .filter(|answer| is_asked(answer))
        .cloned()
        .collect()
}
