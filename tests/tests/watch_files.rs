//! `epcache watch` and changes made by hand: each kind of path entry and metadata directory, with
//! events and by polling.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use epcache_tests::environment::{Scratch, replace_file, write_dist};
use epcache_tests::judge;
use epcache_tests::mount::Mount;
use epcache_tests::oracle::{Archive, Member, Oracle};
use epcache_tests::process;
use epcache_tests::skip::skip;
use epcache_tests::watcher::{PATIENCE, SOON, Watched, holds, values_of, wait_until};

/// A text with one entry point.
fn declares(value: &str) -> String {
    format!("[g]\nname = {value}\n")
}

/// A path entry with a distribution that stays.
fn path_entry(scratch: &Scratch, name: &str) -> PathBuf {
    let path_entry = scratch.path_entry(name);
    write_dist(
        &path_entry,
        "anchor-1.dist-info",
        Some("[g]\nanchor = anchor\n"),
    );
    path_entry
}

/// Each change is followed, and afterwards the dist declares these values.
fn follow(watched: &Watched, what: &str, values: &[&str]) {
    let answer = watched.becomes_current(what);
    assert_eq!(values_of(&answer, "demo"), values, "after {what}");
}

/// The same of what may be in the middle of being written, and so is not recorded for some time: a
/// metadata directory without entry points.
fn follow_unfinished(watched: &Watched, what: &str) {
    wait_until(SOON, &format!("fresh after {what}"), || watched.is_fresh());
    let answer = watched.answers_what_cpython_does(what);
    assert_eq!(values_of(&answer, "demo"), [""; 0], "after {what}");
}

#[test]
fn an_egg_info_that_is_made_edited_and_removed_is_followed() {
    let scratch = Scratch::new();
    let path_entry = path_entry(&scratch, "project");
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    let egg_info = path_entry.join("demo.egg-info");
    let text = egg_info.join("entry_points.txt");

    fs::create_dir(&egg_info).unwrap();
    follow_unfinished(&watched, "an .egg-info");
    fs::write(&text, declares("one:main")).unwrap();
    follow(&watched, "a first entry_points.txt", &["one:main"]);
    fs::write(&text, declares("two:main")).unwrap();
    follow(&watched, "an edit in place", &["two:main"]);
    replace_file(&text, &declares("six:main"));
    follow(&watched, "an exchange", &["six:main"]);
    fs::remove_file(&text).unwrap();
    follow_unfinished(&watched, "a removed entry_points.txt");
    fs::remove_dir_all(&egg_info).unwrap();
    follow(&watched, "a removed .egg-info", &[]);

    // Made anew: the same name, another directory.
    fs::create_dir(&egg_info).unwrap();
    fs::write(&text, declares("new:main")).unwrap();
    follow(&watched, "an .egg-info made anew", &["new:main"]);
    fs::write(&text, declares("old:main")).unwrap();
    follow(&watched, "an edit in the new one", &["old:main"]);
    fs::remove_dir_all(&egg_info).unwrap();
    fs::write(&egg_info, "Metadata-Version: 1.1\nName: demo\n").unwrap();
    follow(&watched, "an .egg-info that is a file", &[]);
    watcher.stop();
}

/// What setuptools wrote long ago, not just now: no watch is left over from its making, and no look
/// that comes some time after one.
#[test]
fn an_edit_in_an_egg_info_that_was_there_is_seen_by_its_event() {
    let scratch = Scratch::new();
    let path_entry = path_entry(&scratch, "project");
    let egg_info = write_dist(&path_entry, "demo.egg-info", Some(&declares("one:main")));
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    wait_for_last_look(&watched, &watcher, &path_entry);
    for value in ["two:main", "one:main"] {
        fs::write(egg_info.join("entry_points.txt"), declares(value)).unwrap();
        follow(&watched, "an edit in an old .egg-info", &[value]);
    }
    watcher.stop();
}

/// Waits for the sync that comes some time after the last one, in any case.
fn wait_for_last_look(
    watched: &Watched,
    watcher: &epcache_tests::watcher::Watcher,
    path_entry: &Path,
) {
    watched.becomes_current("the start");
    let synced = ["synced", &format!("path_entry={}", path_entry.display())];
    let before = watcher.count(&synced);
    watcher.wait_for_lines(&synced, before + 1);
}

#[test]
fn a_dist_info_whose_files_come_late_is_followed() {
    let scratch = Scratch::new();
    let path_entry = path_entry(&scratch, "site-packages");
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    let dist_info = path_entry.join("demo-1.dist-info");
    // Until there is an entry_points.txt or a RECORD, nobody knows what it will declare.
    let under_way = |what: &str| {
        wait_until(SOON, &format!("fresh after {what}"), || {
            watched.is_fresh()?;
            let status = watched.status()?;
            let reason = status[0]["reason"].as_str().unwrap();
            holds(reason.starts_with("1 read from the source"), reason)
        });
        watched.answers_what_cpython_does(what);
    };
    fs::create_dir(&dist_info).unwrap();
    under_way("a .dist-info");
    fs::write(dist_info.join("METADATA"), "Name: demo\n").unwrap();
    under_way("METADATA");
    let text = dist_info.join("entry_points.txt");
    fs::write(&text, declares("one:main")).unwrap();
    follow(&watched, "entry_points.txt", &["one:main"]);
    fs::write(&text, declares("two:main")).unwrap();
    follow(&watched, "an edit just after", &["two:main"]);
    fs::write(dist_info.join("RECORD"), "").unwrap();
    follow(&watched, "RECORD", &["two:main"]);

    // This one is never finished: in the end it is recorded as it is.
    fs::create_dir(path_entry.join("other-1.dist-info")).unwrap();
    under_way("another .dist-info");
    watched.becomes_current_within(PATIENCE, "some time without a change");
    assert_eq!(watched.status().unwrap()[0]["reason"], "");
    watcher.stop();
}

#[test]
fn a_path_entry_that_is_made_later_is_followed() {
    let scratch = Scratch::new();
    let there = path_entry(&scratch, "there");
    let later = scratch.join("not/yet/there");
    let watched = Watched::path_entries(&scratch, &[&there, &later]);
    let mut watcher = watched.watch(&[]);
    for (round, gone) in [&later, later.parent().unwrap(), &scratch.join("not")]
        .into_iter()
        .enumerate()
    {
        let value = format!("round{round}:main");
        write_dist(&later, "demo-1.dist-info", Some(&declares(&value)));
        follow(&watched, "a path entry that was made", &[&value]);
        write_dist(&later, "demo-1.dist-info", Some(&declares("edited:main")));
        write_dist(&later, "more-1.dist-info", Some("[g]\nmore = more\n"));
        follow(&watched, "an installation into it", &["edited:main"]);
        fs::remove_dir_all(gone).unwrap();
        wait_until(SOON, "it is gone for the watcher too", || {
            watched.is_current()
        });
        assert_eq!(watched.answer("exact"), watched.truth());
    }
    watcher.stop();
}

#[test]
fn a_path_entry_exchanged_for_another_is_followed() {
    let scratch = Scratch::new();
    let path_entry = path_entry(&scratch, "project/site-packages");
    let other = scratch.path_entry("other");
    write_dist(&other, "demo-1.dist-info", Some(&declares("other:main")));
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    fs::rename(&path_entry, scratch.join("away")).unwrap();
    fs::rename(&other, &path_entry).unwrap();
    follow(&watched, "an exchange", &["other:main"]);
    // The old one is not the path entry any more, the new one is.
    write_dist(&scratch.join("away"), "demo2-1.dist-info", None);
    write_dist(
        &path_entry,
        "demo2-1.dist-info",
        Some(&declares("new:main")),
    );
    follow(
        &watched,
        "an installation into it",
        &["new:main", "other:main"],
    );

    watcher.stop();
}

/// Of that the kernel tells nothing: the watch goes with the directory. But whatever else makes it look
/// makes it see that too.
#[test]
fn a_change_above_a_path_entry_is_seen_at_the_next_change_of_anything_else() {
    let scratch = Scratch::new();
    let path_entry = path_entry(&scratch, "project/site-packages");
    let other = scratch.path_entry("other");
    let watched = Watched::path_entries(&scratch, &[&path_entry, &other]);
    let mut watcher = watched.watch(&[]);
    fs::rename(scratch.join("project"), scratch.join("old")).unwrap();
    write_dist(&path_entry, "demo-1.dist-info", Some(&declares("one:main")));
    assert_eq!(watched.answer("exact"), watched.truth());
    write_dist(&other, "other-1.dist-info", Some(&declares("other:main")));
    follow(&watched, "another project in its place", &["one:main"]);
    write_dist(
        &path_entry,
        "demo2-1.dist-info",
        Some(&declares("two:main")),
    );
    follow(&watched, "a change in it", &["one:main", "two:main"]);
    watcher.stop();
}

#[test]
fn a_path_entry_behind_a_link_that_is_turned_is_followed() {
    let scratch = Scratch::new();
    let [one, two] = ["one", "two"].map(|name| {
        let directory = scratch.path_entry(name);
        let value = format!("{name}:main");
        write_dist(&directory, "demo-1.dist-info", Some(&declares(&value)));
        directory
    });
    let link = scratch.join("current");
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let watched = Watched::path_entries(&scratch, &[&link]);
    let mut watcher = watched.watch(&[]);
    write_dist(&one, "demo2-1.dist-info", Some(&declares("more:main")));
    follow(
        &watched,
        "a change behind a link",
        &["more:main", "one:main"],
    );
    let new = scratch.join("new");
    std::os::unix::fs::symlink(&two, &new).unwrap();
    fs::rename(&new, &link).unwrap();
    follow(&watched, "a link turned", &["two:main"]);
    write_dist(&two, "demo2-1.dist-info", Some(&declares("more:main")));
    follow(
        &watched,
        "a change where it leads now",
        &["more:main", "two:main"],
    );
    watcher.stop();
}

#[test]
fn a_path_entry_that_is_a_link_to_what_is_made_later_is_followed() {
    let scratch = Scratch::new();
    let target = scratch.join("releases/next");
    let link = scratch.join("current");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let watched = Watched::path_entries(&scratch, &[&link]);
    let mut watcher = watched.watch(&[]);
    assert_eq!(watcher.count(&[" ERROR "]), 0, "{}", watcher.log());
    write_dist(&target, "demo-1.dist-info", Some(&declares("one:main")));
    follow(&watched, "the making of what it leads to", &["one:main"]);
    write_dist(&target, "demo2-1.dist-info", Some(&declares("two:main")));
    follow(&watched, "a change there", &["one:main", "two:main"]);
    watcher.stop();
}

#[test]
fn an_egg_whose_metadata_is_edited_is_followed() {
    let scratch = Scratch::new();
    let egg = scratch.path_entry("demo.egg");
    let metadata = write_dist(&egg, "EGG-INFO", Some(&declares("one:main")));
    fs::write(metadata.join("PKG-INFO"), "Name: demo\n").unwrap();
    let watched = Watched::path_entries(&scratch, &[&egg]);
    let mut watcher = watched.watch(&[]);
    let values = |what: &str| -> Vec<String> {
        let answer = watched.becomes_current(what);
        answer.into_iter().map(|entry| entry.value).collect()
    };
    assert_eq!(values("the start"), ["one:main"]);
    fs::write(metadata.join("entry_points.txt"), declares("two:main")).unwrap();
    assert_eq!(values("an edit"), ["two:main"]);
    fs::remove_dir_all(&metadata).unwrap();
    assert_eq!(values("a removal"), [""; 0]);
    watcher.stop();
}

#[test]
fn a_zip_file_that_is_replaced_is_followed() {
    let scratch = Scratch::new();
    let mut oracle = Oracle::start(judge::python());
    let zip = scratch.path_entry("archives").join("plugins.zip");
    let mut write = |path: &Path, value: &str| {
        let member = |name: &str, text: &str| Member {
            name: format!("demo-1.dist-info/{name}"),
            content: text.as_bytes().to_vec(),
            deflated: true,
        };
        let members = vec![
            member("METADATA", "Name: demo\n"),
            member("entry_points.txt", &declares(value)),
        ];
        oracle.write_zip(
            path,
            &Archive {
                members,
                ..Archive::default()
            },
        );
    };
    write(&zip, "one:main");
    let watched = Watched::path_entries(&scratch, &[&zip]);
    let mut watcher = watched.watch(&[]);
    follow(&watched, "the start", &["one:main"]);
    let new = scratch.join("new.zip");
    write(&new, "two:main");
    fs::rename(&new, &zip).unwrap();
    follow(&watched, "an exchange", &["two:main"]);
    write(&zip, "six:main");
    follow(&watched, "a zip written over", &["six:main"]);
    fs::remove_file(&zip).unwrap();
    watched.becomes_current_within(SOON, "its removal");
    write(&zip, "new:main");
    follow(&watched, "a new one", &["new:main"]);
    watcher.stop();
}

#[test]
fn polling_sees_what_events_would_tell() {
    let scratch = Scratch::new();
    let there = path_entry(&scratch, "there");
    let later = scratch.join("later");
    let watched = Watched::path_entries(&scratch, &[&there, &later]);
    let mut watcher = watched.watch(&["--poll=1"]);
    assert_eq!(
        watcher.count(&["watching", "polled=2"]),
        1,
        "{}",
        watcher.log()
    );
    for row in watched.watchers() {
        assert_eq!(row["how"], "poll");
        assert_eq!(row["seconds"], 1);
    }
    let table = process::succeed(watched.command("status").args(["--format", "table"]));
    assert!(process::stdout(&table).contains("every 1 s"), "{table:?}");

    write_dist(&there, "demo-1.dist-info", Some(&declares("one:main")));
    follow(&watched, "an installation", &["one:main"]);
    write_dist(&later, "demo2-1.dist-info", Some(&declares("two:main")));
    follow(
        &watched,
        "a path entry that was made",
        &["one:main", "two:main"],
    );
    fs::remove_dir_all(there.join("demo-1.dist-info")).unwrap();
    follow(&watched, "a removal", &["two:main"]);
    watcher.stop();
}

#[test]
fn polling_follows_pth_files_and_environments_made_anew() {
    let scratch = Scratch::new();
    let venv = scratch.path_entry("project").join(".venv");
    let site_packages = epcache_tests::tools::make_venv(&venv);
    let elsewhere = scratch.path_entry("elsewhere");
    write_dist(&elsewhere, "demo-1.dist-info", Some(&declares("one:main")));
    let watched = Watched::venv(&scratch, &venv);
    let mut watcher = watched.watch(&["--poll=1"]);
    let pth = site_packages.join("demo.pth");
    fs::write(&pth, elsewhere.to_str().unwrap()).unwrap();
    follow(&watched, "a .pth", &["one:main"]);
    fs::remove_dir_all(&venv).unwrap();
    epcache_tests::tools::make_venv(&venv);
    write_dist(
        &site_packages,
        "demo2-1.dist-info",
        Some(&declares("two:main")),
    );
    follow(&watched, "an environment made anew", &["two:main"]);
    watcher.stop();
}

/// The lower layer of an overlay, into which something is installed behind its back: no event comes
/// of it.
#[test]
fn an_overlay_is_polled_without_being_told_to() {
    let scratch = Scratch::new();
    let [lower, upper, work, merged] =
        ["lower", "upper", "work", "merged"].map(|name| scratch.path_entry(name));
    let below = path_entry(&scratch, "lower/site-packages");
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let Some(_mount) = Mount::new("overlay", &options, &merged) else {
        return skip("an overlay: none can be mounted here");
    };
    let path_entry = merged.join("site-packages");
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    assert_eq!(
        watcher.count(&["watching", "polled=1"]),
        1,
        "{}",
        watcher.log()
    );
    assert_eq!(watched.watchers()[0]["how"], "poll");
    assert!(
        watcher.count(&[" INFO ", "overlay"]) + watcher.count(&[" WARN ", "overlay"]) == 1,
        "it is said once, and why: {}",
        watcher.log()
    );
    write_dist(&below, "demo-1.dist-info", Some(&declares("below:main")));
    follow(&watched, "a change in the lower layer", &["below:main"]);
    write_dist(&below, "demo2-1.dist-info", Some(&declares("again:main")));
    follow(&watched, "another one", &["again:main", "below:main"]);
    watcher.stop();
}

/// As a program does that writes a file into a path entry again and again.
#[test]
fn a_steady_stream_of_events_does_not_starve_the_sync() {
    /// Shorter than the quiet that a watcher waits for.
    const PACE: Duration = Duration::from_millis(5);
    let scratch = Scratch::new();
    let path_entry = path_entry(&scratch, "site-packages");
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    let goes_on = AtomicBool::new(true);
    thread::scope(|scope| {
        let stream = scope.spawn(|| {
            let file = path_entry.join("stream.tmp");
            let mut events = 0_u64;
            while goes_on.load(Ordering::Relaxed) {
                fs::write(&file, "").unwrap();
                fs::remove_file(&file).unwrap();
                events += 1;
                thread::sleep(PACE);
            }
            events
        });
        // Every second a sync, at the latest, and each knows what was installed before it.
        let stopped_late = StopOnDrop(&goes_on);
        for value in ["one:main", "two:main", "six:main"] {
            write_dist(&path_entry, "demo-1.dist-info", Some(&declares(value)));
            wait_until(SOON, "synced while events go on", || {
                let answer = watched.answer("only");
                let values = values_of(&answer, "demo");
                holds(values == [value], format!("{values:?}"))
            });
        }
        drop(stopped_late);
        assert!(stream.join().unwrap() > 0);
    });
    follow(&watched, "the end of the stream", &["six:main"]);
    watcher.stop();
}

/// Ends a thread also where its test fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A file that is written all the time, which is nobody's distribution, costs no syncs.
#[test]
fn what_can_change_no_answer_costs_no_syncs() {
    const WRITES: usize = 300;
    let scratch = Scratch::new();
    let path_entry = path_entry(&scratch, "site-packages");
    let module = path_entry.join("module.py");
    fs::write(&module, "").unwrap();
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    watched.becomes_current("the start");
    let synced = || watcher.count(&["synced"]);
    let before = synced();
    for number in 0..WRITES {
        fs::write(&module, number.to_string()).unwrap();
    }
    // What comes after them in the queue has been seen, so they have been too.
    write_dist(&path_entry, "demo-1.dist-info", Some(&declares("one:main")));
    follow(&watched, "an installation", &["one:main"]);
    let syncs = synced() - before;
    assert!(syncs <= 3, "{syncs} syncs: {}", watcher.log());
    watcher.stop();
}

/// The time limit is generous: the debounce is longer than every other test would wait for.
#[test]
fn the_debounce_is_the_one_that_was_asked_for() {
    const LONG: Duration = Duration::from_secs(3);
    let scratch = Scratch::new();
    let path_entry = path_entry(&scratch, "site-packages");
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&["--debounce", "3000"]);
    watched.becomes_current("the start");
    write_dist(&path_entry, "demo-1.dist-info", Some(&declares("one:main")));
    let took = watched.becomes_current_within(PATIENCE, "an installation");
    assert!(took >= LONG / 2, "it was waited for {took:?}");
    watcher.stop();
}
