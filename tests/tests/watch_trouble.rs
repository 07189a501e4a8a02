//! `epcache watch` when things go wrong: lost events, limits of the kernel, full disks, missing
//! permissions. It says so once, goes on as well as it can, and catches up by itself.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use epcache_tests::environment::{Scratch, is_root, set_mode, write_dist};
use epcache_tests::judge;
use epcache_tests::mount::Mount;
use epcache_tests::process;
use epcache_tests::skip::skip;
use epcache_tests::user::{self, ALICE};
use epcache_tests::watcher::{PATIENCE, SOON, Watched, Watcher, holds, values_of, wait_until};
use rustix::process::Signal;

fn declares(value: &str) -> String {
    format!("[g]\nname = {value}\n")
}

fn installed(scratch: &Scratch, name: &str) -> PathBuf {
    let path_entry = scratch.path_entry(name);
    write_dist(
        &path_entry,
        "anchor-1.dist-info",
        Some("[g]\nanchor = anchor\n"),
    );
    path_entry
}

/// A number in `/proc/sys`.
fn sysctl(name: &str) -> u64 {
    let file = Path::new("/proc/sys").join(name);
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

/// More events than the kernel keeps, while the watcher does not take any; what happens then in another
/// path entry leaves no trace but that something was lost.
#[test]
fn lost_events_make_it_look_at_everything() {
    /// So many files would take long.
    const MOST: u64 = 1_000_000;
    /// Made, closed and removed.
    const EVENTS_OF_A_FILE: u64 = 3;
    let kept = sysctl("fs/inotify/max_queued_events");
    if kept > MOST {
        return skip(&format!("an overflow: the kernel keeps {kept} events"));
    }
    let scratch = Scratch::new();
    let [busy, other] = ["busy", "other"].map(|name| installed(&scratch, name));
    let project = scratch.path_entry("project");
    let watched = Watched::path_entries(&scratch, &[&busy, &other, &project]);
    let mut watcher = watched.watch(&[]);
    // Nothing is to come but by events: the look after some quiet is over.
    for path_entry in [&busy, &other] {
        watcher.wait_for_lines(
            &["synced", &format!("path_entry={} ", path_entry.display())],
            2,
        );
    }

    watcher.pause();
    for number in 0..kept / EVENTS_OF_A_FILE + 1000 {
        let file = busy.join(format!("{number}"));
        fs::write(&file, "").unwrap();
        fs::remove_file(&file).unwrap();
    }
    write_dist(&other, "demo-1.dist-info", Some(&declares("one:main")));
    watcher.signal(Signal::CONT);
    let answer = watched.becomes_current("an overflow");
    assert_eq!(values_of(&answer, "demo"), ["one:main"]);
    assert_eq!(watcher.count(&["events were lost"]), 1, "{}", watcher.log());

    // And it goes on by events.
    write_dist(&other, "demo-1.dist-info", Some(&declares("two:main")));
    write_dist(&other, "more-1.dist-info", Some(&declares("more:main")));
    let answer = watched.becomes_current("an installation after it");
    assert_eq!(values_of(&answer, "demo"), ["two:main"]);
    watcher.stop();
}

/// Starts a watcher in a user namespace of its own, with one of its limits lowered: nobody else is
/// concerned. Nothing where there are no such namespaces.
fn with_limit(scratch: &Scratch, watched: &Watched, limit: &str, number: u32) -> Option<Watcher> {
    let mut command = Command::new("unshare");
    let script = format!("echo {number} >/proc/sys/user/{limit} && exec \"$@\"");
    let in_namespace = |command: &mut Command, script: &str| {
        command.args(["--user", "--map-root-user", "sh", "-ec", script, "sh"]);
    };
    let mut probe = Command::new("unshare");
    in_namespace(&mut probe, &script);
    let possible = probe.arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip(&format!(
            "{limit} of {number}: no user namespaces with limits here"
        ));
        return None;
    }
    let watch = watched.command("watch");
    in_namespace(&mut command, &script);
    command
        .arg(watch.get_program())
        .args(watch.get_args())
        .arg("-v");
    for (name, value) in watch.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(Watcher::start(scratch, &mut command))
}

/// All path entries are kept current although it has not all that it needs for that, and it is said
/// which setting is to be changed.
fn is_kept_current_by_polling(limit: &str, number: u32, sysctl: &str, polled: usize) {
    let scratch = Scratch::new();
    let names: Vec<String> = (0..6).map(|number| format!("site{number}")).collect();
    let sites: Vec<PathBuf> = names.iter().map(|name| installed(&scratch, name)).collect();
    let sites: Vec<&Path> = sites.iter().map(PathBuf::as_path).collect();
    let watched = Watched::path_entries(&scratch, &sites);
    let Some(mut watcher) = with_limit(&scratch, &watched, limit, number) else {
        return;
    };
    assert_eq!(watcher.count(&[" WARN ", sysctl]), 1, "{}", watcher.log());
    let found = watched
        .watchers()
        .iter()
        .filter(|it| it["how"] == "poll")
        .count();
    assert!(found >= polled, "{found} are polled: {}", watcher.log());
    for value in ["one:main", "two:main"] {
        for site in &sites {
            write_dist(
                site,
                &format!("demo{}-1.dist-info", &value[..3]),
                Some(&declares(value)),
            );
        }
        let answer = watched.becomes_current(&format!("an installation with {limit} of {number}"));
        assert!(!values_of(&answer, "demo").is_empty());
    }
    assert_eq!(watcher.count(&[sysctl]), 1, "said once: {}", watcher.log());
    watcher.stop();
}

#[test]
fn what_there_are_no_watches_for_is_polled() {
    is_kept_current_by_polling("max_inotify_watches", 3, "fs.inotify.max_user_watches", 3);
}

#[test]
fn without_an_instance_everything_is_polled() {
    is_kept_current_by_polling(
        "max_inotify_instances",
        0,
        "fs.inotify.max_user_instances",
        6,
    );
}

/// Writes until there is no space left.
fn fill(file: &Path) {
    let mut file = fs::File::create(file).unwrap();
    let block = [0; 4096];
    while file.write_all(&block).is_ok() {}
}

#[test]
fn a_full_disk_is_said_once_and_made_up_for_once_there_is_space() {
    let scratch = Scratch::new();
    let cache = scratch.path_entry("root");
    let Some(_mount) = Mount::tmpfs("size=256k,mode=700", &cache) else {
        return skip("a full disk: no tmpfs can be mounted here");
    };
    let path_entry = installed(&scratch, "site-packages");
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    watched.becomes_current("the start");

    let filler = cache.join("filler");
    fill(&filler);
    write_dist(&path_entry, "demo-1.dist-info", Some(&declares("one:main")));
    watcher.wait_for_lines(&[" ERROR ", cache.to_str().unwrap()], 1);
    for mode in ["exact", "fast"] {
        assert_eq!(
            watched.answer(mode),
            watched.truth(),
            "mode {mode}, with a full disk"
        );
    }
    // It is tried again by itself: nothing happens meanwhile, and the look after some quiet is later.
    let tried_again = [" DEBUG ", cache.to_str().unwrap()];
    wait_until(SOON, "two more tries", || {
        let found = watcher.count(&tried_again);
        holds(found >= 2, format!("{found}"))
    });
    // And when more happens, which is no reason to say it again, nor to try each time.
    for number in 0..10 {
        write_dist(
            &path_entry,
            &format!("more{number}-1.dist-info"),
            Some(&declares("more:main")),
        );
    }
    let before = watcher.count(&tried_again);
    watcher.wait_for_lines(&tried_again, before + 1);
    assert_eq!(watcher.count(&[" ERROR "]), 1, "{}", watcher.log());
    let tries = watcher.count(&tried_again);
    assert!(tries < 10, "no busy loop: {}", watcher.log());

    fs::remove_file(&filler).unwrap();
    watched.becomes_current_within(PATIENCE, "there is space again");
    let answer = watched.answers_what_cpython_does("there is space again");
    assert_eq!(values_of(&answer, "demo"), ["one:main"]);
    watcher.wait_for_lines(&[" INFO ", "works again"], 1);
    watcher.stop();
}

#[test]
fn a_root_that_can_t_be_written_is_said_once_and_made_up_for_once_it_can() {
    let scratch = Scratch::new();
    if !user::available(&scratch) {
        return;
    }
    let path_entry = installed(&scratch, "site-packages");
    let cache = ALICE.directory(&scratch, "root");
    let watched = Watched::path_entries(&scratch, &[&path_entry]).by(ALICE);
    let mut watcher = watched.watch(&[]);
    watched.becomes_current("the start");
    let mirror = scratch.mirror(&path_entry);
    set_mode(&mirror, 0o500);
    write_dist(&path_entry, "demo-1.dist-info", Some(&declares("one:main")));
    watcher.wait_for_lines(&[" ERROR ", cache.to_str().unwrap()], 1);
    assert_eq!(watched.answer("exact"), watched.truth());
    set_mode(&mirror, 0o700);
    watched.becomes_current_within(PATIENCE, "it can be written again");
    let answer = watched.answers_what_cpython_does("it can be written again");
    assert_eq!(values_of(&answer, "demo"), ["one:main"]);
    watcher.wait_for_lines(&[" INFO ", "works again"], 1);
    assert_eq!(watcher.count(&[" ERROR "]), 1, "{}", watcher.log());
    watcher.stop();
}

#[test]
fn a_path_entry_that_can_t_be_read_is_said_once_and_followed_once_it_can() {
    let scratch = Scratch::new();
    if !user::available(&scratch) {
        return;
    }
    ALICE.directory(&scratch, "root");
    let path_entry = installed(&scratch, "site-packages");
    let other = installed(&scratch, "other");
    set_mode(&path_entry, 0o700);
    let watched = Watched::path_entries(&scratch, &[&path_entry, &other]).by(ALICE);
    let mut watcher = watched.watch(&[]);
    let path = path_entry.to_str().unwrap();
    watcher.wait_for_lines(&[" ERROR ", path], 1);
    // The rest is kept current all the same.
    write_dist(&other, "demo-1.dist-info", Some(&declares("other:main")));
    wait_until(SOON, "the other path entry is current", || {
        let values = Watched::path_entries(&scratch, &[&other])
            .by(ALICE)
            .answer("only");
        holds(
            values_of(&values, "demo") == ["other:main"],
            format!("{values:?}"),
        )
    });

    set_mode(&path_entry, 0o755);
    watched.becomes_current_within(PATIENCE, "it can be read");
    watched.answers_what_cpython_does("it can be read");
    watcher.wait_for_lines(&[" INFO ", "works again"], 1);
    assert_eq!(watcher.count(&[" ERROR "]), 1, "{}", watcher.log());
    write_dist(
        &path_entry,
        "demo2-1.dist-info",
        Some(&declares("two:main")),
    );
    let answer = watched.becomes_current("an installation into what can be read now");
    assert_eq!(values_of(&answer, "demo2"), ["two:main"]);

    // And not any more: its content is nobody's business then.
    set_mode(&path_entry, 0o700);
    watcher.wait_for_lines(&[" ERROR ", path], 2);
    let answer = watched.answer("exact");
    assert_eq!(values_of(&answer, "demo2"), [""; 0]);
    watcher.stop();
}

/// The cache is disposable, also while it is kept current.
#[test]
fn an_interpreter_that_is_gone_is_said_once_and_watched_for_once_it_is_back() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch, "site-packages");
    let python = scratch.join("python");
    let come = || symlink(judge::python(), &python).unwrap();
    let go = || fs::remove_file(&python).unwrap();
    let interpreter = ["--python", python.to_str().unwrap()];
    let gone = [" WARN ", interpreter[1], "trying again"];
    let found = [" INFO ", "found", interpreter[1]];

    // Beside something else, it was never there.
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&interpreter);
    watched.becomes_current("the start");
    assert_eq!(watcher.count(&gone), 1, "{}", watcher.log());
    come();
    watcher.wait_for_lines(&found, 1);
    assert_eq!(watcher.count(&gone), 1, "{}", watcher.log());
    watcher.stop();

    // Alone, it goes before the configuration is read again.
    let mut command = scratch.epcache();
    command.args(["watch", "-v", "--cache-dir"]);
    command.arg(scratch.cache()).args(interpreter);
    let mut watcher = Watcher::start(&scratch, &mut command);
    go();
    watcher.signal(Signal::HUP);
    watcher.wait_for_message("READY=1", 2);
    assert_eq!(watcher.count(&gone), 1, "{}", watcher.log());
    come();
    watcher.wait_for_lines(&found, 1);
    assert_eq!(watcher.count(&gone), 1, "{}", watcher.log());
    watcher.stop();

    // Where nothing else is to be watched, there is no start without it.
    go();
    let output = process::expect_status(&mut command, 2);
    let said = process::stderr(&output);
    assert!(
        said.contains(interpreter[1]) && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_cache_that_is_removed_is_made_again() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch, "site-packages");
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    fs::remove_dir_all(scratch.cache()).unwrap();
    write_dist(&path_entry, "demo-1.dist-info", Some(&declares("one:main")));
    let answer = watched.becomes_current("the removal of the cache and an installation");
    assert_eq!(values_of(&answer, "demo"), ["one:main"]);
    wait_until(SOON, "it is told of again", || {
        let told = watched.watchers();
        holds(told.iter().all(|it| !it.is_null()), format!("{told:?}"))
    });
    watcher.stop();
}

/// With events there is nothing to do while nothing happens, whatever it was that failed before.
#[test]
fn it_sleeps_while_nothing_happens() {
    const QUIET: Duration = Duration::from_secs(2);
    let scratch = Scratch::new();
    let path_entry = installed(&scratch, "site-packages");
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    watched.becomes_current("the start");
    // After the last look that follows a sync, nothing is due any more.
    watcher.wait_for_lines(&["synced", path_entry.to_str().unwrap()], 2);
    let mut before = wakeups(&watcher);
    wait_until(PATIENCE, "the look is over", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = wakeups(&watcher);
        let settled = std::mem::replace(&mut before, now) == now;
        holds(settled, format!("{now} wake-ups"))
    });
    // The time is what is tested: nothing wakes it for so long.
    std::thread::sleep(QUIET);
    assert_eq!(wakeups(&watcher), before, "wake-ups in {QUIET:?}");
    watcher.stop();
}

/// How often any thread of a watcher went to sleep by itself.
fn wakeups(watcher: &Watcher) -> u64 {
    let tasks = format!("/proc/{}/task", watcher.pid().as_raw_nonzero());
    let of_task = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    fs::read_dir(tasks)
        .unwrap()
        .map(|task| of_task(task.unwrap()))
        .sum()
}

/// Only root may lower this, and nobody else notices: it counts when a watcher starts, and is put back
/// as soon as it has.
#[test]
fn a_queue_of_events_that_is_short_is_said_to_be_so() {
    const SYSCTL: &str = "/proc/sys/fs/inotify/max_queued_events";
    let scratch = Scratch::new();
    let path_entry = installed(&scratch, "site-packages");
    let other = installed(&scratch, "other");
    let watched = Watched::path_entries(&scratch, &[&path_entry, &other]);
    let mut watcher = {
        let Some(_lowered) = is_root()
            .then(|| Lowered::to(Path::new(SYSCTL), "16"))
            .flatten()
        else {
            return skip("a short queue of events: its length can't be set here");
        };
        watched.watch(&[])
    };
    watcher.pause();
    for number in 0..20 {
        fs::write(path_entry.join(format!("{number}")), "").unwrap();
    }
    write_dist(&other, "demo-1.dist-info", Some(&declares("one:main")));
    watcher.signal(Signal::CONT);
    let answer = watched.becomes_current("an overflow of a short queue");
    assert_eq!(values_of(&answer, "demo"), ["one:main"]);
    assert!(
        watcher.count(&[" WARN ", "fs.inotify.max_queued_events"]) >= 1,
        "{}",
        watcher.log()
    );
    watcher.stop();
}

/// A setting of the kernel, lowered for as long as this lives.
struct Lowered<'a> {
    file: &'a Path,
    before: Vec<u8>,
}

impl<'a> Lowered<'a> {
    fn to(file: &'a Path, value: &str) -> Option<Self> {
        let before = fs::read(file).ok()?;
        fs::write(file, value).ok()?;
        Some(Self { file, before })
    }
}

impl Drop for Lowered<'_> {
    fn drop(&mut self) {
        fs::write(self.file, &self.before).unwrap();
    }
}

/// A program that ends at once has said what it had to: the command's own reports go on working.
#[test]
fn standard_error_that_nobody_reads_any_more_stops_nothing() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch, "site-packages");
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut command = watched.command("watch");
    // As `epcache watch 2>&1 | head -n 1` does.
    let mut child = command
        .arg("-v")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    wait_until(PATIENCE, "the first sync", || watched.is_current());
    write_dist(&path_entry, "demo-1.dist-info", Some(&declares("one:main")));
    wait_until(PATIENCE, "a sync, or its end", || {
        let ended = child.try_wait().unwrap().is_some();
        if ended { Ok(()) } else { watched.is_current() }
    });
    if let Some(status) = child.try_wait().unwrap() {
        assert!(status.code().is_some_and(|code| code < 100), "{status:?}");
    } else {
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    process::succeed(&mut watched.command("verify"));
}
