//! `epcache watch` as a service: how it starts and stops, what it tells its manager, the journal and
//! `status`, and that it reads its configuration again when it is told to.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use epcache_tests::environment::{Scratch, entries, files_below, is_root, write_dist};
use epcache_tests::process;
use epcache_tests::skip::skip;
use epcache_tests::tools::make_venv;
use epcache_tests::watcher::{PATIENCE, SOON, Watched, Watcher, holds, values_of, wait_until};
use rustix::process::Signal;

fn declares(value: &str) -> String {
    format!("[g]\nname = {value}\n")
}

fn installed(scratch: &Scratch) -> PathBuf {
    let path_entry = scratch.path_entry("lib/site-packages");
    write_dist(&path_entry, "demo-1.dist-info", Some(&declares("one:main")));
    path_entry
}

/// The file by which a watcher says that it runs.
fn announcements(scratch: &Scratch) -> Vec<PathBuf> {
    files_below(&scratch.cache().join(".watchers"))
}

#[test]
fn it_says_when_it_is_ready_what_it_watches_and_that_it_stops() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    for signal in [Signal::TERM, Signal::INT] {
        let mut watcher = watched.watch(&[]);
        // Ready is who has synced all.
        watched.is_current().unwrap();
        watched.answers_what_cpython_does("READY=1");
        assert_eq!(watcher.count(&["watching", "path_entries=1"]), 1);
        watcher.wait_for_message("STATUS=", 1);
        watcher.stop_with(signal);
        wait_until(PATIENCE, "the last message has arrived", || {
            let messages = watcher.messages();
            let last = messages.iter().rfind(|it| !it.starts_with("STATUS="));
            let stopping = last.is_some_and(|it| it == "STOPPING=1");
            holds(stopping, format!("{messages:?}"))
        });
        let ready = watcher
            .messages()
            .iter()
            .filter(|it| *it == "READY=1")
            .count();
        assert_eq!(ready, 1, "{:?}", watcher.messages());
        assert_eq!(announcements(&scratch), Vec::<PathBuf>::new());
    }
}

#[test]
fn it_tells_a_watchdog_that_it_lives_and_goes_on_doing_so() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut command = watched.command("watch");
    command
        .env("WATCHDOG_USEC", "500000")
        .env_remove("WATCHDOG_PID");
    let start = Instant::now();
    let mut watcher = Watcher::start(&scratch, &mut command);
    watcher.wait_for_message("WATCHDOG=1", 6);
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(1),
        "as often as needed, not all the time: {took:?}"
    );
    watcher.stop();
}

#[test]
fn a_signal_in_the_middle_of_a_sync_lets_it_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let scratch = Scratch::new();
        let path_entry = installed(&scratch);
        let watched = Watched::path_entries(&scratch, &[&path_entry]);
        let mut watcher = watched.watch(&[]);
        watched.becomes_current("the start");
        let text = path_entry.join("demo-1.dist-info/entry_points.txt");
        fs::write(&text, declares("two:main")).unwrap();
        write_dist(
            &path_entry,
            "more-1.dist-info",
            Some(&declares("more:main")),
        );
        // As long as names come and go, a sync waits for an end of that.
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let passing = path_entry.join("passing");
                while !is_over.load(Ordering::Relaxed) {
                    fs::write(&passing, "").unwrap();
                    fs::remove_file(&passing).unwrap();
                    thread::sleep(Duration::from_millis(10));
                }
            });
            wait_until(PATIENCE, "a sync is in progress", || {
                holds(is_syncing(&watcher), "it waits for events")
            });
            is_over.store(true, Ordering::Relaxed);
            watcher.stop_with(signal);
        });
        watched.is_current().unwrap();
        let answer = watched.answers_what_cpython_does(&format!("{signal:?}"));
        assert_eq!(values_of(&answer, "demo"), ["two:main"]);
    }
}

/// Whether the main thread of a watcher sleeps for some time, as a sync does that waits for times to
/// grow old, and not for a message.
fn is_syncing(watcher: &Watcher) -> bool {
    let wchan = format!("/proc/{}/wchan", watcher.pid().as_raw_nonzero());
    let sleeps_in = fs::read_to_string(wchan).unwrap_or_default();
    sleeps_in.contains("nanosleep")
}

#[test]
fn once_is_a_sync_that_ends() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let output = process::succeed(watched.command("watch").args(["--once", "-v"]));
    assert!(process::stderr(&output).contains("synced"), "{output:?}");
    watched.is_current().unwrap();
    watched.answers_what_cpython_does("--once");
    assert_eq!(announcements(&scratch), Vec::<PathBuf>::new());

    let quiet = process::succeed(watched.command("watch").args(["--once", "-q"]));
    assert_eq!(process::stderr(&quiet), "");
    let polling = process::succeed(watched.command("watch").args(["--once", "--poll"]));
    assert_eq!(
        process::stdout(&polling),
        "",
        "all is said on standard error"
    );
}

#[test]
fn what_can_never_work_ends_with_2_and_says_what_and_where() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let file = scratch.join("file");
    fs::write(&file, "").unwrap();
    let mut no_root = scratch.epcache();
    no_root
        .args(["watch", "--path"])
        .arg(&path_entry)
        .arg("--cache-dir")
        .arg(file.join("root"));
    let mut no_python = scratch.epcache();
    no_python
        .args(["watch", "--python"])
        .arg(scratch.join("nowhere"));
    let mut no_number = scratch.epcache();
    no_number
        .args(["watch", "--poll=often", "--path"])
        .arg(&path_entry);
    for (mut command, where_) in [
        (no_root, file.to_str().unwrap()),
        (no_python, "nowhere"),
        (no_number, "often"),
    ] {
        let output = process::expect_status(&mut command, 2);
        let said = process::stderr(&output);
        assert!(said.contains(where_), "{said}");
    }
}

#[test]
fn a_virtual_environment_that_is_not_there_yet_is_waited_for() {
    let scratch = Scratch::new();
    let venv = scratch.join("project/.venv");
    let watched = Watched::venv(&scratch, &venv);
    let mut watcher = watched.watch(&[]);
    let said = [" WARN ", venv.to_str().unwrap(), "waiting for it"];
    assert_eq!(watcher.count(&said), 1, "{}", watcher.log());
    fs::create_dir(scratch.join("project")).unwrap();
    let site_packages = make_venv(&venv);
    write_dist(
        &site_packages,
        "demo-1.dist-info",
        Some(&declares("one:main")),
    );
    let answer = watched.becomes_current("the making of the environment");
    assert_eq!(values_of(&answer, "demo"), ["one:main"]);
    watcher.stop();
}

#[test]
fn status_tells_of_a_watcher_for_as_long_as_it_lives() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    process::succeed(&mut watched.command("sync"));
    let is_told = || watched.watchers()[0].clone();
    assert!(is_told().is_null());

    let mut watcher = watched.watch(&[]);
    let pid = i64::from(watcher.pid().as_raw_nonzero().get());
    let told = is_told();
    assert_eq!(told["pid"], pid);
    assert_eq!(told["how"], "events");
    assert!(told["seconds"].is_null());
    let mut table = watched.command("status");
    let table = process::stdout(&process::succeed(table.args(["--format", "table"])));
    assert!(
        table.contains("WATCHED") && table.contains("events"),
        "{table}"
    );
    // Of another path entry it is not said.
    let other = scratch.path_entry("other");
    let elsewhere = Watched::path_entries(&scratch, &[&other]);
    assert!(elsewhere.watchers()[0].is_null());

    watcher.kill();
    assert!(is_told().is_null(), "the lock went with the process");
    let mut watcher = watched.watch(&[]);
    assert!(!is_told().is_null());
    watcher.stop();
    assert!(is_told().is_null());
    assert_eq!(
        announcements(&scratch),
        Vec::<PathBuf>::new(),
        "what a killed one left is tidied up too"
    );
}

#[test]
fn two_watchers_of_one_environment_are_harmless() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut first = watched.watch(&[]);
    let mut second = watched.watch(&["--poll=1"]);
    for round in 0..5 {
        let name = format!("more{round}-1.dist-info");
        write_dist(&path_entry, &name, Some(&declares("more:main")));
        watched.becomes_current("an installation");
    }
    assert_eq!(watched.watchers()[0]["how"], "events");
    first.stop();
    assert_eq!(watched.watchers()[0]["how"], "poll");
    write_dist(
        &path_entry,
        "last-1.dist-info",
        Some(&declares("last:main")),
    );
    let answer = watched.becomes_current("the end of one of them");
    assert_eq!(values_of(&answer, "last"), ["last:main"]);
    second.stop();
    for watcher in [&first, &second] {
        assert_eq!(watcher.count(&[" ERROR "]), 0, "{}", watcher.log());
        assert_eq!(watcher.count(&[" WARN "]), 0, "{}", watcher.log());
    }
}

/// Several environments, which the configuration names, and then others.
#[test]
fn sighup_has_it_read_its_configuration_again() {
    let scratch = Scratch::new();
    let venvs = ["one", "two", "three"].map(|name| {
        let venv = scratch.path_entry(name).join(".venv");
        make_venv(&venv);
        venv
    });
    let [one, two, three] = &venvs;
    let config = scratch.home().join("config/epcache/epcache.ini");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let configure = |venvs: &[&PathBuf]| {
        let list: Vec<&str> = venvs.iter().map(|it| it.to_str().unwrap()).collect();
        fs::write(&config, format!("[watch]\nvenvs = {}\n", list.join(":"))).unwrap();
    };
    let watched = venvs.each_ref().map(|venv| Watched::venv(&scratch, venv));
    let is_watched = || {
        let watchers = watched.each_ref().map(|it| it.watchers());
        watchers
            .map(|watchers| watchers.iter().filter(|it| !it.is_null()).count() == watchers.len())
    };
    let install = |venv: &Path, name: &str| {
        let path_entry = epcache_tests::tools::site_packages(venv);
        let value = format!("{name}:main");
        write_dist(
            &path_entry,
            &format!("{name}-1.dist-info"),
            Some(&declares(&value)),
        );
    };

    configure(&[one, two]);
    let mut command = scratch.epcache();
    command
        .args(["watch", "-v", "--cache-dir"])
        .arg(scratch.cache());
    let mut watcher = Watcher::start(&scratch, &mut command);
    assert_eq!(is_watched(), [true, true, false]);
    install(one, "alpha");
    install(two, "bravo");
    watched[0].becomes_current("an installation into the first");
    watched[1].becomes_current("an installation into the second");

    configure(&[two, three]);
    watcher.signal(Signal::HUP);
    watcher.wait_for_message("RELOADING=1", 1);
    watcher.wait_for_message("MONOTONIC_USEC=", 1);
    watcher.wait_for_message("READY=1", 2);
    assert_eq!(is_watched(), [false, true, true]);
    install(two, "charlie");
    install(three, "delta");
    watched[1].becomes_current("an installation into the second");
    watched[2].becomes_current("an installation into the third");

    // What can't be read changes nothing but is said.
    fs::write(&config, "[watch]\nvenvs = relative/path\n").unwrap();
    watcher.signal(Signal::HUP);
    watcher.wait_for_message("READY=1", 3);
    assert_eq!(
        watcher.count(&[" ERROR ", "epcache.ini"]),
        1,
        "{}",
        watcher.log()
    );
    install(three, "echo");
    let synced = [
        "synced",
        &format!(
            "path_entry={} ",
            epcache_tests::tools::site_packages(three).display()
        ),
        "dists=2",
    ];
    watcher.wait_for_lines(&synced, 1);
    configure(&[two, three]); // nobody else can read it either
    watched[2].becomes_current("a configuration that can't be read");
    assert_eq!(is_watched(), [false, true, true]);
    watcher.stop();
}

#[test]
fn several_environments_and_path_entries_can_be_named() {
    let scratch = Scratch::new();
    let venvs = ["one", "two"].map(|name| scratch.path_entry(name).join(".venv"));
    let site_packages = venvs.each_ref().map(|venv| make_venv(venv));
    let [extra, more] = ["extra", "more"].map(|name| scratch.path_entry(name));
    let mut command = scratch.epcache();
    command
        .args(["watch", "-v", "--cache-dir"])
        .arg(scratch.cache());
    for venv in &venvs {
        command.arg("--venv").arg(venv);
    }
    command.arg("--path").arg(&extra).arg("--path").arg(&more);
    let mut watcher = Watcher::start(&scratch, &mut command);
    for directory in site_packages.iter().chain([&extra, &more]) {
        write_dist(directory, "demo-1.dist-info", Some(&declares("one:main")));
    }
    for venv in &venvs {
        Watched::venv(&scratch, venv).becomes_current("an installation");
    }
    Watched::path_entries(&scratch, &[&extra, &more]).becomes_current("an installation");
    watcher.stop();
}

/// Lines that a person reads: when, how bad, what.
#[test]
fn each_line_of_the_log_has_a_time_and_a_level_and_no_colours_in_a_file() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    watcher.stop();
    let log = watcher.log();
    for line in log.lines() {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(is_utc(time), "{line}");
        let level = rest.split_whitespace().next().unwrap();
        assert!(
            ["DEBUG", "INFO", "WARN", "ERROR"].contains(&level),
            "{line}"
        );
        assert!(!line.contains('\x1b'), "{line:?}");
    }
    let synced = watcher.lines(&[
        " INFO synced",
        &format!("path_entry={}", path_entry.display()),
        "done=refreshed",
        "dists=1",
        "written=2",
    ]);
    assert_eq!(synced.len(), 1, "{log}");
}

/// As in `2026-11-22T04:05:06Z`, or with a fraction of a second.
fn is_utc(time: &str) -> bool {
    let shape: String = time
        .chars()
        .map(|it| if it.is_ascii_digit() { '0' } else { it })
        .collect();
    let date_and_time = "0000-00-00T00:00:00";
    let fraction = shape
        .strip_prefix(date_and_time)
        .and_then(|it| it.strip_suffix('Z'));
    fraction.is_some_and(|it| it.is_empty() || it.trim_end_matches('0') == ".")
}

/// A name that is no text for a terminal, nor for a reader who goes by lines.
#[test]
fn a_hostile_path_entry_forges_no_line_of_the_log() {
    let scratch = Scratch::new();
    let path_entry = scratch.path_entry("a\n2026-01-01T00:00:00Z ERROR forged\x1b[31m");
    write_dist(
        &path_entry,
        "demo-1.dist-info",
        Some("[g]\nno equals sign\n"),
    );
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let output = process::finish(watched.command("watch").args(["-v", "--once"]));
    let said = process::stderr(&output);
    assert!(!said.contains('\x1b'), "{said:?}");
    assert!(
        !said.lines().any(|line| line.starts_with("2026-01-01T")),
        "{said:?}"
    );
}

/// The journal's socket, in a mount namespace where it is a directory of the test's.
#[test]
fn in_the_journal_each_message_has_fields() {
    const SYSTEMD: &str = "/run/systemd";
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    if !is_root() || !Path::new(SYSTEMD).is_dir() && fs::create_dir(SYSTEMD).is_err() {
        return skip("the journal: it takes root and a /run/systemd");
    }
    let journal = scratch.path_entry("systemd/journal");
    let socket = UnixDatagram::bind(journal.join("socket")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let log = scratch.join("log");
    let file = fs::File::create(&log).unwrap();
    let stat = file.metadata().unwrap();
    let once = |stream: String| {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-ec"])
            .arg(format!(
                "mount --bind \"$1\" {SYSTEMD} || exit 77; shift; exec \"$@\""
            ))
            .arg("sh")
            .arg(scratch.join("systemd"))
            .arg(epcache_tests::binary())
            .args(["watch", "-v", "--once", "--cache-dir"])
            .arg(scratch.cache())
            .arg("--path")
            .arg(&path_entry);
        let asked = scratch.epcache();
        for (name, value) in asked.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("JOURNAL_STREAM", stream);
        command
            .stderr(file.try_clone().unwrap())
            .stdin(std::process::Stdio::null())
            .status()
            .unwrap()
    };
    let status = once(format!("{}:{}", stat.dev(), stat.ino()));
    if status.code() == Some(77) {
        return skip("the journal: no mount namespaces here");
    }
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "",
        "nothing is said twice"
    );
    let mut messages = Vec::new();
    let mut message = [0; 4096];
    socket.set_nonblocking(true).unwrap(); // all has been sent
    while let Ok(length) = socket.recv(&mut message) {
        messages.push(String::from_utf8_lossy(&message[..length]).into_owned());
    }
    let synced = messages.iter().find(|it| it.contains("synced path_entry="));
    let synced = synced.unwrap_or_else(|| panic!("{messages:?}"));
    for part in ["MESSAGE", "PRIORITY", "EPCACHE_PATH_ENTRY", "EPCACHE_DISTS"] {
        assert!(synced.contains(part), "{part} in {synced}");
    }

    // A variable that is inherited, where standard error is something else, means nothing.
    fs::write(scratch.mirror(&path_entry).join(".index"), "").unwrap();
    let status = once(format!("{}:{}", stat.dev(), stat.ino() + 1));
    assert_eq!(status.code(), Some(0));
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("synced"), "{said}");
}

/// What is asked of the command by default: the environment that `query` answers for.
#[test]
fn without_options_it_watches_the_environment_that_is_active() {
    let scratch = Scratch::new();
    let venv = scratch.path_entry("project").join(".venv");
    let site_packages = make_venv(&venv);
    let mut command = scratch.epcache();
    command
        .args(["watch", "-v"])
        .current_dir(scratch.join("project"));
    let mut watcher = Watcher::start(&scratch, &mut command);
    write_dist(
        &site_packages,
        "demo-1.dist-info",
        Some(&declares("one:main")),
    );
    let root = scratch.home().join("cache/epcache");
    wait_until(SOON, "the user's own root is kept current", || {
        let mut query = scratch.epcache();
        query
            .args(["query", "--mode", "only", "--path"])
            .arg(&site_packages);
        let values = entries(&mut query).len();
        holds(values == 1, format!("{values} in {}", root.display()))
    });
    watcher.stop();
}
