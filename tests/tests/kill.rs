//! A `sync` that is killed at any system call that touches the cache leaves a cache that changes no
//! answer, and the next `sync` heals it. `strace` injects the signal.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use epcache_tests::environment::{Scratch, copy_tree, leftovers, replace_file, write_dist};
use epcache_tests::judge;
use epcache_tests::process;
use epcache_tests::skip::missing;
use epcache_tests::strace::{self, Call, FILE_SYSTEM};

/// A sync makes more calls on the cache than this (a directory, three mirror files and an index,
/// each opened, written and renamed), so a count below means that the trace was misread.
const FEWEST_CALLS_OF_A_FIRST_SYNC: usize = 8;

#[test]
fn a_first_sync_killed_at_any_call_is_healed_by_the_next() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let calls = kill_everywhere(&scratch, &path_entry);
    assert!(calls >= FEWEST_CALLS_OF_A_FIRST_SYNC, "{calls} calls");
}

#[test]
fn a_sync_after_a_change_killed_at_any_call_is_healed_by_the_next() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    scratch.sync(&[&path_entry]);
    replace_file(
        &path_entry.join("alpha-1.dist-info/entry_points.txt"),
        "[g]\nalpha = alpha:other\nmore = alpha:more\n",
    );
    write_dist(&path_entry, "new-1.dist-info", Some("[g]\nnew = new\n"));
    kill_everywhere(&scratch, &path_entry);
}

#[test]
fn a_sync_after_a_removal_killed_at_any_call_is_healed_by_the_next() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    scratch.sync(&[&path_entry]);
    fs::remove_dir_all(path_entry.join("bravo-1.dist-info")).unwrap();
    kill_everywhere(&scratch, &path_entry);
}

fn installed(scratch: &Scratch) -> PathBuf {
    let path_entry = scratch.path_entry("lib/site-packages");
    write_dist(
        &path_entry,
        "alpha-1.dist-info",
        Some("[g]\nalpha = alpha:main\n"),
    );
    write_dist(
        &path_entry,
        "bravo-1.dist-info",
        Some("[h]\nb = bravo\n[g]\nb = bravo\n"),
    );
    write_dist(&path_entry, "quiet-1.dist-info", None);
    path_entry
}

/// Runs one sync to see which calls touch the cache, then one for each of them that is killed as it
/// makes it, each from the same state of the cache. Gives the number of calls.
fn kill_everywhere(scratch: &Scratch, path_entry: &Path) -> usize {
    if let Err(reason) = strace::available() {
        missing(&format!("killing sync at each call: {reason}"));
        return FEWEST_CALLS_OF_A_FIRST_SYNC;
    }
    let expected = judge::entry_points(&[path_entry]);
    let before = scratch.join("before");
    let had_cache = scratch.cache().exists();
    if had_cache {
        copy_tree(&scratch.cache(), &before);
    }
    let restore = || {
        if scratch.cache().exists() {
            fs::remove_dir_all(scratch.cache()).unwrap();
        }
        if had_cache {
            copy_tree(&before, &scratch.cache());
        }
    };
    // Once without a trace: the wait for young times is over, and every sync below does the same.
    scratch.sync(&[path_entry]);
    restore();

    let sync = scratch.command("sync", &[path_entry]);
    let (output, trace) = strace::trace(&sync, FILE_SYSTEM);
    assert!(output.status.success(), "{}", process::stderr(&output));
    let points = calls_on(&trace, scratch.cache().to_str().unwrap());
    let mut killed = 0;
    for (name, nth) in &points {
        restore();
        let output = strace::kill_at(&sync, name, *nth);
        killed += usize::from(output.status.signal() == Some(9));
        let state = format!("killed at {name} number {nth}");
        assert_eq!(scratch.query(&[path_entry]), expected, "{state}");
        is_healed(scratch, path_entry, &state);
    }
    // Threads may share the work out differently each time, so some calls may not come again.
    assert!(
        killed * 10 >= points.len() * 9,
        "{killed} of {} syncs were killed",
        points.len()
    );
    killed
}

/// What must hold after one plain sync, whatever came before it.
fn is_healed(scratch: &Scratch, path_entry: &Path, state: &str) {
    scratch.sync(&[path_entry]);
    assert_eq!(
        leftovers(&scratch.cache()),
        Vec::<PathBuf>::new(),
        "sync cleans up what one {state} left"
    );
    process::succeed(&mut scratch.command("verify", &[path_entry]));
    assert_eq!(
        scratch.query(&[path_entry]),
        judge::entry_points(&[path_entry]),
        "after a sync that heals one {state}"
    );
    let (_, trace) = strace::trace(&scratch.command("sync", &[path_entry]), FILE_SYSTEM);
    let cache = scratch.cache();
    let changes: Vec<&Call> = trace
        .iter()
        .filter(|call| call.is_change() && call.touches(cache.to_str().unwrap()))
        .collect();
    assert!(changes.is_empty(), "healed once and for all: {changes:?}");
}

/// The calls that touch `cache`, as (name, how many-th of that name in its thread).
fn calls_on(trace: &[Call], cache: &str) -> BTreeSet<(String, usize)> {
    let mut seen: HashMap<(u32, &str), usize> = HashMap::new();
    let mut points = BTreeSet::new();
    for call in trace {
        let nth = seen.entry((call.thread, &call.name)).or_default();
        *nth += 1;
        if call.touches(cache) && call.name != "execve" {
            points.insert((call.name.clone(), *nth));
        }
    }
    points
}
