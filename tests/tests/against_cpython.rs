//! Against CPython, generated: on random path entries, before and after everything that can happen
//! to them and to the cache, the command and the Python reader answer what `importlib.metadata`
//! answers, as lists.
//!
//! `EPCACHE_TEST_CASES` is the number of cases, `EPCACHE_TEST_SEED` the seed of the first one (each
//! further case has the next number), `EPCACHE_TEST_PYTHON` the interpreter that judges,
//! `EPCACHE_TEST_READERS` the interpreters that the reader is tried on, in turn.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on should stop there"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use epcache_tests::generate::{Case, Change, Damage, PlaceKind, Times, case};
use epcache_tests::oracle::{Answer, Oracle, Truth, reference_python};
use epcache_tests::reader::{self, Place, Reader, Reply, reader_pythons};
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

/// In modes other than exact, the reader is asked so many of its questions: each reads everything.
const QUESTIONS_IN_OTHER_MODES: usize = 2;

/// Mode `off` looks at no cache, and is asked at one of so many stages.
const STAGES_PER_OFF: usize = 3;

/// A process of its own for each question takes long: it is asked in one of so many cases.
const ROUNDS_PER_PATCH: u64 = 7;

/// The modes in which the reader is asked.
const MODES: [&str; 4] = ["exact", "off", "fast", "only"];

/// In so many cases, each mode must have been compared once at least. (It is about 300 times.)
const CASES_PER_COMPARISON: u64 = 100;

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
    let readers = reader_pythons();
    println!("the Python reader is tried on {readers:?}");
    // Built once, and not by each thread.
    epcache_tests::binary();
    let comparisons = Comparisons::default();
    let next = AtomicU64::new(0);
    let failure = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(1, usize::from) * THREADS_PER_PROCESSOR;
    thread::scope(|scope| {
        for _ in 0..threads {
            let work = || {
                let interpreters = RefCell::new(Interpreters {
                    oracle: Oracle::start(&python),
                    pythons: &readers,
                    readers: BTreeMap::new(),
                    comparisons: &comparisons,
                });
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cases {
                        break;
                    }
                    // The other threads stop at once: what is left to do is to look into this one.
                    let stop = || next.store(cases, Ordering::Relaxed);
                    if let Err(report) = run_seed(seed.wrapping_add(number), &interpreters, &stop) {
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
    let comparisons = comparisons.0.into_inner().unwrap();
    println!("stages at which the reader was compared, by mode: {comparisons:?}");
    // Two of the modes are compared only where they must be exact: that must not be nowhere.
    let is_enough =
        |mode| comparisons.get(mode).copied().unwrap_or_default() >= cases / CASES_PER_COMPARISON;
    assert!(readers.is_empty() || MODES.into_iter().all(is_enough));
}

/// At how many stages the reader was compared in each mode.
#[derive(Default)]
struct Comparisons(Mutex<BTreeMap<&'static str, u64>>);

impl Comparisons {
    fn count(&self, mode: &'static str) {
        *self.0.lock().unwrap().entry(mode).or_default() += 1;
    }
}

/// What a thread has at hand: the judge, and the interpreters that the reader is tried on.
struct Interpreters<'a> {
    oracle: Oracle,
    pythons: &'a [PathBuf],
    readers: BTreeMap<&'a Path, Reader>,
    comparisons: &'a Comparisons,
}

impl Interpreters<'_> {
    /// The judge, and the reader on the interpreter whose turn it is.
    fn for_seed(&mut self, seed: u64) -> (&mut Oracle, Option<&mut Reader>) {
        let turn = usize::try_from(seed).unwrap_or_default();
        let reader = pick(turn, self.pythons).map(|python| {
            self.readers
                .entry(python)
                .or_insert_with(|| Reader::start(python))
        });
        (&mut self.oracle, reader)
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
fn run_seed(
    seed: u64,
    interpreters: &RefCell<Interpreters>,
    on_failure: &dyn Fn(),
) -> Result<(), String> {
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
        run_case(seed, &case, &mut interpreters.borrow_mut()).map_err(|failure| {
            on_failure();
            TestCaseError::fail(failure.what)
        })
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Abort(reason)) => Err(format!("seed {seed}: {reason}")),
        Err(TestError::Fail(what, smallest)) => {
            Err(report(seed, &what.to_string(), &smallest, interpreters))
        }
    }
}

/// Everything that is needed to look into a failure, with the scratch directory left in place.
fn report(seed: u64, what: &str, smallest: &Case, interpreters: &RefCell<Interpreters>) -> String {
    let mut report = format!(
        "the smallest case found (again: EPCACHE_TEST_SEED={seed} EPCACHE_TEST_CASES=1):\n\
         {smallest:#?}\n\n{what}\n\n"
    );
    let again = run_case(seed, smallest, &mut interpreters.borrow_mut());
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

fn run_case(seed: u64, case: &Case, interpreters: &mut Interpreters) -> Result<(), Failure> {
    let comparisons = interpreters.comparisons;
    // What is not done in all cases is done on each interpreter in turn.
    let number_of_readers = u64::try_from(interpreters.pythons.len()).unwrap_or(1);
    let round = seed / number_of_readers.max(1);
    let (oracle, reader) = interpreters.for_seed(seed);
    let scene = Scene::new(case, oracle).map_err(|error| Failure {
        what: format!("the case can't be put on disk: {error:#}"),
        scene: None,
    })?;
    let mut run = Run {
        case,
        scene,
        oracle,
        reader,
        reader_forgets: round.is_multiple_of(2),
        asks_patched: round.is_multiple_of(ROUNDS_PER_PATCH),
        comparisons,
        cache: CacheState::default(),
        stage: String::new(),
        stages: 0,
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
    reader: Option<&'a mut Reader>,
    /// Whether the reader starts anew at each stage, or knows what it saw at earlier ones.
    reader_forgets: bool,
    /// Whether `importlib.metadata` is also asked with the reader's patch in place.
    asks_patched: bool,
    comparisons: &'a Comparisons,
    cache: CacheState,
    stage: String,
    /// How many stages there were so far.
    stages: usize,
}

/// What is known of the cache, as far as it decides in which modes it must answer exactly.
#[derive(Default)]
struct CacheState {
    /// Nothing happened since the last sync.
    is_just_synced: bool,
    /// Since the last sync, distributions were changed in place: path entries' stamps don't tell.
    is_changed_in_place: bool,
    /// The same since the first sync.
    was_ever_changed_in_place: bool,
    /// There is a mirror of what is no path entry any more.
    has_orphans: bool,
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
            self.note(change);
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
        self.cache.is_just_synced = false;
        let is_older = self
            .case
            .damages
            .iter()
            .any(|it| matches!(it, Damage::OldFiles));
        self.cache.is_changed_in_place = is_older && self.cache.was_ever_changed_in_place;
        self.compare()?;

        self.enter("the sync after the damage");
        let heals = self.case.damages.iter().all(can_be_healed);
        let truth = self.truth();
        let output = self.run(&["sync"], &[])?;
        if heals {
            self.expect_success(&output, &truth)?;
            self.note_sync();
        }
        self.compare()
    }

    /// Keeps account of what a change does to what the cache says.
    fn note(&mut self, change: &Change) {
        self.cache.is_just_synced = false;
        self.cache.is_changed_in_place |= is_in_place(change);
        self.cache.was_ever_changed_in_place |= is_in_place(change);
        self.cache.has_orphans |= orphans_a_mirror(change);
    }

    fn note_sync(&mut self) {
        self.cache.is_just_synced = true;
        self.cache.is_changed_in_place = false;
    }

    fn enter(&mut self, stage: &str) {
        stage.clone_into(&mut self.stage);
        self.stages += 1;
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
        self.compare_reader(&truth)
    }

    /// Compares what the Python reader answers with CPython's answers, in each mode that must
    /// give just these now.
    fn compare_reader(&mut self, truth: &Truth) -> Result<()> {
        if self.reader.is_none() {
            return Ok(());
        }
        let sys_path = self.scene.sys_path();
        let mut modes = vec![("exact", truth)];
        if self.stages.is_multiple_of(STAGES_PER_OFF) {
            modes.push(("off", truth));
        }
        if !self.cache.is_changed_in_place {
            modes.push(("fast", truth));
        }
        let mirrored: Vec<OsString> = sys_path
            .iter()
            .filter(|it| reader::has_mirror(it))
            .cloned()
            .collect();
        let of_mirrored;
        if self.cache_tells_all(&mirrored) {
            of_mirrored = if mirrored == sys_path {
                truth.clone()
            } else {
                self.oracle.ask(&mirrored, &self.scene.cwd())
            };
            modes.push(("only", &of_mirrored));
        }
        // What is asked first is answered, in every other case, without what was seen before.
        let number_of_modes = modes.len();
        modes.rotate_left(self.stages % number_of_modes);
        if self.reader_forgets
            && let Some(reader) = &mut self.reader
        {
            reader.forget()?;
        }
        for (number, (mode, truth)) in modes.into_iter().enumerate() {
            let replies = self.expect_replies(mode, &sys_path, truth)?;
            // What was told once in a process is not told again; and what a cache does not say
            // can't be complained about. The first question is for all.
            let must_warn = self.reader_forgets && number == 0 && mode != "only";
            let raises = &truth.raises;
            if must_warn && !raises.is_empty() && !replies.first().is_some_and(is_warning) {
                return Err(
                    format!("mode {mode}: no warning, but CPython raises: {raises:#?}").into(),
                );
            }
        }
        if self.asks_patched {
            self.expect_nothing_else_when_patched(&sys_path)?;
        }
        Ok(())
    }

    /// Whether nothing but the cache is needed to answer for these path entries as the sources do.
    fn cache_tells_all(&self, path_entries: &[OsString]) -> bool {
        let is_told = |path: &Path| !path.exists() || reader::tells_all(&self.scene.cache(), path);
        self.cache.is_just_synced
            && !self.cache.has_orphans
            && path_entries.iter().all(|entry| is_told(Path::new(entry)))
    }

    fn expect_replies(
        &mut self,
        mode: &'static str,
        sys_path: &[OsString],
        truth: &Truth,
    ) -> Result<Vec<Reply>> {
        let Some(reader) = &mut self.reader else {
            return Ok(Vec::new());
        };
        let cwd = self.scene.cwd();
        let cache = self.scene.cache();
        let place = Place {
            sys_path,
            cwd: &cwd,
            cache: &cache,
            mode,
        };
        let all = reader::as_pathlib_spells(&truth.entry_points);
        let mut questions = questions(&all, self.stages);
        if mode != "exact" {
            questions.truncate(QUESTIONS_IN_OTHER_MODES);
        }
        let replies = reader.ask(&place, &questions);
        let python = reader.python().display();
        let replies = replies.map_err(|error| format!("{python}, mode {mode}: {error}"))?;
        for (question, reply) in questions.iter().zip(&replies) {
            let expected = matching(&all, |answer| is_asked_for(answer, question));
            if reply.entry_points != expected {
                let got = &reply.entry_points;
                return Err(format!(
                    "{python}, mode {mode}, asked for {question:?}\n\
                     expected: {expected:#?}\ngot: {got:#?}"
                )
                .into());
            }
        }
        self.comparisons.count(mode);
        Ok(replies)
    }

    /// In a process that called `epcache.patch()`, CPython answers what it answers in others.
    fn expect_nothing_else_when_patched(&mut self, sys_path: &[OsString]) -> Result<()> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let place = Place {
            sys_path,
            cwd: &self.scene.cwd(),
            cache: &self.scene.cache(),
            mode: "exact",
        };
        let differences = reader.differences_when_patched(&place)?;
        if differences.is_empty() {
            self.comparisons.count("patched");
            return Ok(());
        }
        let python = reader.python().display();
        Err(format!("{python}, patched:\n{}", differences.join("\n")).into())
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
        self.note_sync();
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

/// What changes a distribution and not the path entry it is in: mode `fast` can't see it.
fn is_in_place(change: &Change) -> bool {
    match change {
        Change::EditInPlace(..)
        | Change::WriteText(..)
        | Change::ChangeTargets(_)
        | Change::Relink(..)
        | Change::WriteMetadata { .. } => true,
        Change::Install(..)
        | Change::Reinstall { .. }
        | Change::Remove(..)
        | Change::ReplaceZip { .. }
        | Change::Rename(..)
        | Change::AddModule(_)
        | Change::Replace(..) => false,
    }
}

/// Whether the reader says of something that it is left out.
fn is_warning(reply: &Reply) -> bool {
    reply
        .warnings
        .iter()
        .any(|(category, _)| category == "BrokenMetadataWarning")
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

/// What the reader is asked at a stage where this is the whole answer. The first question is for the
/// whole; the others are another choice at each stage.
fn questions(all: &[Answer], stage: usize) -> Vec<Vec<(&'static str, &str)>> {
    let whole = vec![];
    let missing = vec![("group", MISSING_GROUP)];
    let Some(one) = pick(stage, all) else {
        return vec![whole, missing];
    };
    let group = ("group", one.group.as_str());
    let name = ("name", one.name.as_str());
    let narrower = [
        vec![group, name],
        vec![name, group],
        vec![name],
        vec![group, ("name", MISSING_GROUP)],
        vec![group, ("value", one.value.as_str())],
    ];
    let narrower = narrower[stage % narrower.len()].clone();
    vec![whole, vec![group], narrower, missing]
}

fn is_asked_for(answer: &Answer, question: &[(&str, &str)]) -> bool {
    question.iter().all(|(parameter, value)| match *parameter {
        "group" => answer.group == *value,
        "name" => answer.name == *value,
        "value" => answer.value == *value,
        other => panic!("no question has the parameter {other}"),
    })
}

/// The item that a number means, counted modulo their number.
fn pick<T>(number: usize, items: &[T]) -> Option<&T> {
    (!items.is_empty()).then(|| &items[number % items.len()])
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
