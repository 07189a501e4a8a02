//! What is answered while something is being installed and a watcher syncs in the middle of it: at each
//! moment what CPython answers at that moment. No half of an installation is ever recorded as if it
//! were all.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use epcache_tests::environment::{Scratch, write_dist};
use epcache_tests::process;
use epcache_tests::skip::skip;
use epcache_tests::watcher::{PATIENCE, Sampler, Watched, values_of};

/// How long an installer pauses after each step: longer than a watcher waits for the end of changes, and
/// than a time must be old to be believed.
const PAUSE: Duration = Duration::from_millis(400);
/// And at least until answers were compared so often.
const MOMENTS: usize = 4;
/// An installer that pauses for longer (a second, less what it takes to look) can be taken for one that
/// has done all in a metadata directory: what it still puts into it is one of the edits that mode
/// `fast` does not promise to see. So long a pause is this machine's, if it is busy.
const LONGEST_PAUSE: Duration = Duration::from_millis(900);

fn installed(scratch: &Scratch) -> PathBuf {
    let path_entry = scratch.path_entry("site-packages");
    write_dist(
        &path_entry,
        "anchor-1.dist-info",
        Some("[g]\nanchor = anchor\n"),
    );
    let quiet = write_dist(&path_entry, "quiet-1.dist-info", None);
    fs::write(quiet.join("RECORD"), "").unwrap();
    path_entry
}

/// Makes the steps of a slow installer in a directory, and compares answers after each.
fn compare_after_each<'w>(
    steps: &[&str],
    directory: &Path,
    watched: &'w Watched<'w>,
    modes: &[&str],
) -> Sampler<'w> {
    let mut sampler = Sampler::new(watched);
    let mut last_step = Instant::now();
    for step in steps {
        process::succeed(
            Command::new("sh")
                .args(["-euc", step])
                .current_dir(directory),
        );
        let was_in_time = last_step.elapsed() < LONGEST_PAUSE;
        let modes = if was_in_time { modes } else { &["exact"] };
        last_step = Instant::now();
        let (start, before) = (last_step, sampler.compared);
        while start.elapsed() < PAUSE || sampler.compared < before + MOMENTS {
            assert!(
                start.elapsed() < PATIENCE,
                "CPython's answer stays the same"
            );
            sampler.sample(modes);
        }
    }
    sampler
}

/// A tmpfs on every common Linux. Its times are coarse: several changes can have the same.
const TMPFS: &str = "/dev/shm";

/// Runs a slow installer, on each kind of file system at the same time.
fn at_each_moment_of(steps: &[&str]) {
    thread::scope(|scope| {
        let here = scope.spawn(|| at_each_moment_in(&std::env::temp_dir(), steps));
        match Path::new(TMPFS) {
            tmpfs if tmpfs.is_dir() => at_each_moment_in(tmpfs, steps),
            _ => skip(&format!("an installation on a tmpfs: no {TMPFS} here")),
        }
        here.join().unwrap();
    });
}

/// Runs a slow installer; its entry points came, at some moment in the middle of it.
fn at_each_moment_in(base: &Path, steps: &[&str]) {
    let scratch = Scratch::within(base);
    let path_entry = installed(&scratch);
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    watched.becomes_current("the start");
    let sampler = compare_after_each(steps, &path_entry, &watched, &["exact", "fast"]);
    assert!(sampler.answers.len() >= 2, "the answer has changed");
    let answer = watched.becomes_current("the end of the installation");
    assert_eq!(values_of(&answer, "demo"), ["demo:main"]);
    watcher.stop();
}

#[test]
fn an_installer_that_writes_record_last() {
    at_each_moment_of(&[
        "mkdir demo-1.dist-info",
        "echo 'Name: demo' >demo-1.dist-info/METADATA",
        "printf '[g]\\nname = demo:main\\n' >demo-1.dist-info/entry_points.txt",
        "echo >demo-1.dist-info/INSTALLER",
        "echo >demo-1.dist-info/RECORD",
    ]);
}

#[test]
fn an_installer_that_writes_entry_points_last() {
    at_each_moment_of(&[
        "mkdir demo-1.dist-info",
        "echo >demo-1.dist-info/RECORD",
        "echo 'Name: demo' >demo-1.dist-info/METADATA",
        "printf '[g]\\nname = demo:main\\n' >demo-1.dist-info/entry_points.txt",
    ]);
}

#[test]
fn an_installation_for_development() {
    at_each_moment_of(&[
        "mkdir demo.egg-info",
        "echo 'Name: demo' >demo.egg-info/PKG-INFO",
        "printf '[g]\\nname = demo:main\\n' >demo.egg-info/entry_points.txt",
        "echo >demo.egg-info/SOURCES.txt",
    ]);
}

#[test]
fn an_installer_that_renames_each_file_when_it_is_whole() {
    at_each_moment_of(&[
        "mkdir demo-1.dist-info",
        "echo 'Name: demo' >demo-1.dist-info/METADATA.dpkg-new",
        "echo >demo-1.dist-info/RECORD.dpkg-new",
        "printf '[g]\\nname = demo:main\\n' >demo-1.dist-info/entry_points.txt.dpkg-new",
        "cd demo-1.dist-info; mv METADATA.dpkg-new METADATA",
        "cd demo-1.dist-info; mv RECORD.dpkg-new RECORD",
        "cd demo-1.dist-info; mv entry_points.txt.dpkg-new entry_points.txt",
    ]);
}

#[test]
fn an_installer_that_replaces_a_distribution_by_another_version() {
    at_each_moment_of(&[
        "mkdir demo-1.dist-info",
        "printf '[g]\\nname = old:main\\n' >demo-1.dist-info/entry_points.txt",
        "echo >demo-1.dist-info/RECORD",
        "mv demo-1.dist-info '~emo-1.dist-info'",
        "mkdir demo-2.dist-info",
        "printf '[g]\\nname = demo:main\\n' >demo-2.dist-info/entry_points.txt",
        "echo >demo-2.dist-info/RECORD",
        "rm '~emo-1.dist-info/RECORD'",
        "rm '~emo-1.dist-info/entry_points.txt'; rmdir '~emo-1.dist-info'",
    ]);
}

#[test]
fn an_installer_that_moves_in_what_is_complete() {
    at_each_moment_of(&[
        "mkdir ../new.dist-info",
        "printf '[g]\\nname = demo:main\\n' >../new.dist-info/entry_points.txt",
        "mv ../new.dist-info demo-1.dist-info",
        "touch demo.py",
    ]);
}

/// Edits in a metadata directory that was there are what mode `fast` does not promise to see; mode `exact`
/// does, at each moment.
#[test]
fn edits_in_place_of_what_is_installed() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    write_dist(
        &path_entry,
        "demo-1.dist-info",
        Some("[g]\nname = old:main\n"),
    );
    let watched = Watched::path_entries(&scratch, &[&path_entry]);
    let mut watcher = watched.watch(&[]);
    let steps = [
        "printf '[g]\\nname = new:main\\n' >entry_points.txt",
        "printf '[g]\\nname = oldest:main\\n' >t; mv t entry_points.txt",
        "rm entry_points.txt",
        "printf '[g]\\nname = demo:main\\n' >entry_points.txt",
    ];
    let dist = path_entry.join("demo-1.dist-info");
    let sampler = compare_after_each(&steps, &dist, &watched, &["exact"]);
    let answers = sampler.answers.len();
    assert!(answers >= 4, "each edit was seen: {answers}");
    watcher.stop();
}
