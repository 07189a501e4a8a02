//! What must not keep `epcache watch` busy, or blind: path entries that come one after the other or
//! lie behind several links, interpreters that fail, names that come and go, failures of long ago.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use epcache_tests::environment::{Scratch, set_mode, write_dist};
use epcache_tests::tools::make_venv;
use epcache_tests::user::{self, ALICE};
use epcache_tests::watcher::{PATIENCE, SOON, Watched, holds, values_of, wait_until};

/// Installs one distribution, which declares an entry point with its own name as the value.
fn install(path_entry: &Path, dist: &str) {
    let text = format!("[g]\n{dist} = {dist}\n");
    write_dist(path_entry, &format!("{dist}-1.dist-info"), Some(&text));
}

/// A path entry with one distribution.
fn installed(scratch: &Scratch, name: &str, dist: &str) -> PathBuf {
    let path_entry = scratch.path_entry(name);
    install(&path_entry, dist);
    path_entry
}

/// A virtual environment, and its `site-packages`.
fn venv(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let venv = scratch.join("project/.venv");
    let site_packages = make_venv(&venv);
    (venv, site_packages)
}

/// Has a `.pth` file name directories.
fn name_in_pth(pth: &Path, directories: &[&Path]) {
    let lines = directories.iter().map(|it| format!("{}\n", it.display()));
    fs::write(pth, lines.collect::<String>()).unwrap();
}

/// A change is followed, and afterwards these distributions are there whose names start with `demo`.
fn follow(watched: &Watched, what: &str, dists: &[&str]) {
    let answer = watched.becomes_current(what);
    assert_eq!(values_of(&answer, "demo"), dists, "after {what}");
}

/// Each time they are found anew, the path entries are other ones: that is put off then, but never given
/// up.
#[test]
fn however_many_path_entries_come_one_after_the_other_all_are_watched_in_the_end() {
    const MANY: usize = 300;
    const PACE: Duration = Duration::from_millis(10);
    let scratch = Scratch::new();
    let (venv, site_packages) = venv(&scratch);
    let names: Vec<String> = (0..MANY).map(|number| format!("demo{number:03}")).collect();
    let projects: Vec<PathBuf> = names
        .iter()
        .map(|name| installed(&scratch, name, name))
        .collect();
    let watched = Watched::venv(&scratch, &venv);
    let mut watcher = watched.watch(&[]);
    for (name, project) in names.iter().zip(&projects) {
        name_in_pth(&site_packages.join(format!("{name}.pth")), &[project]);
        thread::sleep(PACE);
    }
    watched.becomes_current_within(PATIENCE, "the last of many .pth files");
    let answer = watched.answers_what_cpython_does("the last of many .pth files");
    assert_eq!(values_of(&answer, "demo"), names);
    // That is told after the sync.
    wait_until(SOON, "all are watched", || {
        let watchers = watched.watchers();
        let by_events = watchers.iter().filter(|it| it["how"] == "events").count();
        let number = watchers.len();
        holds(
            number > MANY && by_events == number,
            format!("{by_events} of {number}"),
        )
    });

    for number in [0, MANY / 2, MANY - 1] {
        install(&projects[number], &format!("more{number:03}"));
    }
    let answer = watched.becomes_current("changes in some of them");
    assert_eq!(
        values_of(&answer, "more"),
        ["more000", "more150", "more299"]
    );
    watcher.stop();
}

#[test]
fn polling_follows_what_a_pth_file_names_beside_a_path_entry_and_is_made_later() {
    let scratch = Scratch::new();
    let (venv, site_packages) = venv(&scratch);
    let there = installed(&scratch, "projects/there", "demo1");
    let later = scratch.join("projects/later");
    name_in_pth(&site_packages.join("demo.pth"), &[&there, &later]);
    let watched = Watched::venv(&scratch, &venv);
    let mut watcher = watched.watch(&["--poll=0.2"]);
    follow(&watched, "the start", &["demo1"]);
    install(&later, "demo2");
    follow(&watched, "what was missing is made", &["demo1", "demo2"]);
    install(&later, "demo3");
    follow(&watched, "a change in it", &["demo1", "demo2", "demo3"]);
    watcher.stop();
}

#[test]
fn a_link_in_the_middle_of_a_chain_that_is_turned_is_followed() {
    let scratch = Scratch::new();
    let one = installed(&scratch, "releases/v1", "demo1");
    let two = installed(&scratch, "releases/v2", "demo2");
    fs::create_dir(scratch.join("links")).unwrap();
    let [current, latest, new] =
        ["current", "links/latest", "links/new"].map(|name| scratch.join(name));
    symlink("links/latest", &current).unwrap();
    symlink("../releases/v1", &latest).unwrap();
    let watched = Watched::path_entries(&scratch, &[&current]);
    let mut watcher = watched.watch(&[]);
    // After this it has nothing more to do for which it would look at everything.
    install(&one, "demo3");
    follow(&watched, "a change behind links", &["demo1", "demo3"]);
    symlink("../releases/v2", &new).unwrap();
    fs::rename(&new, &latest).unwrap();
    follow(&watched, "a link that was turned", &["demo2"]);
    install(&two, "demo4");
    follow(&watched, "a change where it leads now", &["demo2", "demo4"]);
    watcher.stop();
}

/// A program in the place of a Python, which fails after a while, and how often it was started.
struct Failing {
    program: PathBuf,
    starts: PathBuf,
    since: Instant,
}

impl Failing {
    fn new(scratch: &Scratch, seconds: u32) -> Self {
        let program = scratch.join("python");
        let starts = scratch.join("starts");
        let script = format!(
            "#!/bin/sh\necho started >>'{}'\nsleep {seconds}\nexit 3\n",
            starts.display()
        );
        fs::write(&program, script).unwrap();
        set_mode(&program, 0o755);
        Self {
            program,
            starts,
            since: Instant::now(),
        }
    }

    /// It was started at least once, and at most once each `pause`.
    fn was_started_at_most_once_in(&self, pause: Duration) {
        let starts = fs::read_to_string(&self.starts).unwrap().lines().count();
        let took = self.since.elapsed();
        let most = 1 + took.as_millis() / pause.as_millis();
        assert!(
            starts >= 1 && starts as u128 <= most,
            "{starts} starts in {took:?}"
        );
    }
}

#[test]
fn an_interpreter_that_takes_long_to_fail_does_not_keep_other_environments_waiting() {
    const CHANGES: usize = 8;
    const PAUSE: Duration = Duration::from_secs(10);
    let scratch = Scratch::new();
    let (venv, site_packages) = venv(&scratch);
    let python = Failing::new(&scratch, 1);
    let watched = Watched::venv(&scratch, &venv);
    let mut watcher = watched.watch(&["--python", python.program.to_str().unwrap()]);
    let mut expected = Vec::new();
    for number in 0..CHANGES {
        let dist = format!("demo{number}");
        let project = installed(&scratch, &dist, &dist);
        name_in_pth(&site_packages.join(format!("{dist}.pth")), &[&project]);
        expected.push(dist);
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        follow(
            &watched,
            "a change of the environment that works",
            &expected,
        );
    }
    python.was_started_at_most_once_in(PAUSE);
    watcher.stop();
}

#[test]
fn an_interpreter_that_fails_at_once_is_not_started_at_each_change() {
    const CHANGES: usize = 100;
    const PACE: Duration = Duration::from_millis(20);
    const PAUSE: Duration = Duration::from_millis(100);
    let scratch = Scratch::new();
    let (venv, site_packages) = venv(&scratch);
    let project = installed(&scratch, "project1", "demo1");
    let python = Failing::new(&scratch, 0);
    let watched = Watched::venv(&scratch, &venv);
    let program = python.program.to_str().unwrap();
    let mut watcher = watched.watch(&["--debounce=1", "--python", program]);
    for _ in 0..CHANGES {
        name_in_pth(&site_packages.join("demo.pth"), &[&project]);
        thread::sleep(PACE);
    }
    follow(&watched, "many changes of a .pth file", &["demo1"]);
    python.was_started_at_most_once_in(PAUSE);
    watcher.stop();
}

/// Ends a thread also where its test fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn names_that_come_and_go_in_one_path_entry_do_not_delay_another() {
    /// As a program does that makes a lock file again and again.
    const PACE: Duration = Duration::from_millis(30);
    const ROUNDS: usize = 5;
    const LONGEST: Duration = Duration::from_secs(2);
    let scratch = Scratch::new();
    let busy = installed(&scratch, "busy", "busy");
    let other = installed(&scratch, "other", "demo");
    let both = Watched::path_entries(&scratch, &[&busy, &other]);
    let watched = Watched::path_entries(&scratch, &[&other]);
    let mut watcher = both.watch(&[]);
    let is_over = AtomicBool::new(false);
    let mut delays = thread::scope(|scope| {
        scope.spawn(|| {
            let passing = busy.join("passing");
            while !is_over.load(Ordering::Relaxed) {
                fs::write(&passing, "").unwrap();
                thread::sleep(PACE);
                fs::remove_file(&passing).unwrap();
                thread::sleep(PACE);
            }
        });
        let _stopped = StopOnDrop(&is_over);
        (0..ROUNDS)
            .map(|number| {
                let dist = format!("demo{number}");
                install(&other, &dist);
                wait_until(SOON, "synced", || {
                    let answer = watched.answer("only");
                    holds(!values_of(&answer, &dist).is_empty(), "it is not known")
                })
            })
            .collect::<Vec<_>>()
    });
    delays.sort();
    // Each but one: the machine may be busy, too.
    assert!(delays[ROUNDS - 2] < LONGEST, "{delays:?}");
    watcher.stop();
}

/// It is tried again at longer and longer intervals, but at once where something has changed, even just
/// after it was tried.
#[test]
fn what_could_long_not_be_read_is_followed_soon_after_it_can() {
    /// The fourth time the pause until the next is 8 s.
    const TRIES: usize = 4;
    const LONGEST: Duration = Duration::from_secs(3);
    let scratch = Scratch::new();
    if !user::available(&scratch) {
        return;
    }
    ALICE.directory(&scratch, "root");
    let path_entry = installed(&scratch, "site-packages", "demo1");
    let watched = Watched::path_entries(&scratch, &[&path_entry]).by(ALICE);
    let mut watcher = watched.watch(&[]);
    follow(&watched, "the start", &["demo1"]);
    set_mode(&path_entry, 0o700);
    install(&path_entry, "demo2");
    let tries = || watcher.count(&[path_entry.to_str().unwrap(), "make it readable"]);
    wait_until(PATIENCE, "it was tried a few times", || {
        holds(tries() >= TRIES, format!("{} times", tries()))
    });
    set_mode(&path_entry, 0o755);
    watched.becomes_current_within(LONGEST, "it can be read");
    follow(&watched, "it can be read", &["demo1", "demo2"]);
    watcher.stop();
}
