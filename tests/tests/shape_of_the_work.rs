//! How much the command does, counted in system calls: a query opens one file per path entry however
//! many distributions there are, and a sync with nothing to do changes nothing.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use epcache_tests::environment::{Scratch, files_below};
use epcache_tests::judge;
use epcache_tests::process;
use epcache_tests::skip::missing;
use epcache_tests::strace::{self, Call, FILE_SYSTEM};

/// The numbers of distributions that are compared.
const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// So many distributions, whatever the size, are in the group that is asked for.
const MEMBERS: usize = 5;
/// The group that is asked for.
const GROUP: &str = "asked.for";

/// A path entry with `size` distributions, half of them with entry points, `MEMBERS` in the group.
fn path_entry_of(scratch: &Scratch, size: usize) -> PathBuf {
    let path_entry = scratch.path_entry("site-packages");
    for number in 0..size {
        let dist = path_entry.join(format!("dist{number}-1.0.dist-info"));
        fs::create_dir(&dist).unwrap();
        if number % 2 == 1 {
            continue;
        }
        let group = if number < 2 * MEMBERS {
            GROUP
        } else {
            "another"
        };
        let text = format!("[{group}]\nname{number} = module{number}:main\n");
        fs::write(dist.join("entry_points.txt"), text).unwrap();
    }
    path_entry
}

/// What the C library looks at when a second thread is started: under strace, on a machine that has
/// much to do, each `stat` may take so long that threads make them.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// How often each call was made.
fn count(calls: &[Call]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for call in calls.iter().filter(|call| !call.touches(PROCESSORS)) {
        *counts.entry(call.name.as_str()).or_default() += 1;
    }
    counts
}

/// One synced environment and the calls of a query of it in each mode.
struct Measured {
    size: usize,
    fast: Vec<Call>,
    exact: Vec<Call>,
}

fn measure(size: usize) -> Measured {
    let scratch = Scratch::new();
    let path_entry = path_entry_of(&scratch, size);
    scratch.sync(&[&path_entry]);
    let expected: Vec<_> = judge::entry_points(&[&path_entry])
        .into_iter()
        .filter(|entry| entry.group == GROUP)
        .collect();
    assert_eq!(expected.len(), MEMBERS);
    let [fast, exact] = ["fast", "exact"].map(|mode| {
        let mut query = scratch.command("query", &[&path_entry]);
        query.args([GROUP, "--mode", mode, "--format", "json"]);
        let (output, calls) = strace::trace(&query, FILE_SYSTEM);
        assert_eq!(
            epcache_tests::environment::parse_json(&output.stdout),
            expected,
            "{size} dists, mode {mode}"
        );
        one_file_is_opened(&calls, &scratch, &path_entry);
        calls
    });
    Measured { size, fast, exact }
}

/// Of all that lies in the cache and on the path entry, the index alone is opened.
fn one_file_is_opened(calls: &[Call], scratch: &Scratch, path_entry: &Path) {
    let own = scratch.path().to_str().unwrap();
    let index = format!("\"{}\"", scratch.index(path_entry).display());
    let opened: Vec<&Call> = calls
        .iter()
        .filter(|call| call.is_open() && call.touches(own))
        .filter(|call| !call.touches("/home/config/") && !call.text.contains("O_PATH"))
        .collect();
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert!(
        opened[0].touches(&index) || opened[0].touches("\".index\""),
        "{opened:?}"
    );
}

#[test]
fn a_query_of_a_fresh_index_does_the_same_for_10_as_for_10_000_dists_but_for_one_stat_each() {
    if let Err(reason) = strace::available() {
        missing(&format!("counting system calls: {reason}"));
        return;
    }
    let measured = SIZES.map(measure);
    let fast = count(&measured[0].fast);
    for Measured {
        size,
        fast: calls,
        exact,
    } in &measured
    {
        assert_eq!(count(calls), fast, "mode fast with {size} dists");

        let mut more = count(exact);
        for (name, times) in &fast {
            let left = more.get(name).copied().unwrap_or(0).checked_sub(*times);
            let left = left.unwrap_or_else(|| panic!("mode exact leaves out a {name}"));
            more.insert(name, left);
        }
        more.retain(|_, times| *times > 0);
        let stats: usize = more
            .iter()
            .filter(|(name, _)| matches!(**name, "stat" | "statx" | "newfstatat" | "fstatat64"))
            .map(|(_, times)| times)
            .sum();
        assert_eq!(stats, *size, "mode exact with {size} dists: {more:?}");
        assert_eq!(
            more.values().sum::<usize>(),
            *size,
            "and nothing else: {more:?}"
        );
    }
}

/// Threads that wait for a `stat` at the same time, beside the one that waited for the first ones.
const THREADS: usize = 16;

#[test]
fn where_a_stat_is_waited_for_many_are_made_at_once() {
    if let Err(reason) = strace::available() {
        missing(&format!("counting threads: {reason}"));
        return;
    }
    let scratch = Scratch::new();
    let size = 500;
    let path_entry = path_entry_of(&scratch, size);
    scratch.sync(&[&path_entry]);
    let stats = stats_where_slow(&scratch, &path_entry);
    assert_eq!(stats.len(), size, "one for each");
    let threads: BTreeSet<u32> = stats.iter().map(|call| call.thread).collect();
    assert_eq!(threads.len(), THREADS + 1);
    // strace says so of a call during which another one began or ended.
    let beside = |call: &&Call| call.text.contains("<unfinished ...>");
    let beside = stats.iter().filter(beside).count();
    assert!(beside > size / 2, "{beside} of {size} beside another");
}

#[test]
fn of_many_stats_at_once_each_is_of_its_own_distribution() {
    if let Err(reason) = strace::available() {
        missing(&format!("delaying system calls: {reason}"));
        return;
    }
    let scratch = Scratch::new();
    let path_entry = path_entry_of(&scratch, 200);
    scratch.sync(&[&path_entry]);
    let declare = |number: usize| {
        let dist = path_entry.join(format!("dist{number}-1.0.dist-info"));
        fs::create_dir_all(&dist).unwrap();
        let text = format!("[{GROUP}]\nedited{number} = module:main\n");
        fs::write(dist.join("entry_points.txt"), text).unwrap();
    };
    for number in [3, 40, 41, 77, 150, 199] {
        declare(number);
        stats_where_slow(&scratch, &path_entry);
    }
    // Now the path entry is changed, too, and listed again.
    declare(1000);
    fs::remove_dir_all(path_entry.join("dist8-1.0.dist-info")).unwrap();
    stats_where_slow(&scratch, &path_entry);
}

/// The `stat`s of distributions in a query that waits for each; its answer is compared with CPython's.
fn stats_where_slow(scratch: &Scratch, path_entry: &Path) -> Vec<Call> {
    let mut query = scratch.command("query", &[path_entry]);
    query.args([GROUP, "--mode", "exact", "--format", "json"]);
    let (output, mut calls) = strace::trace_where_slow(&query, "statx");
    let mut expected = judge::entry_points(&[path_entry]);
    expected.retain(|entry| entry.group == GROUP);
    assert_eq!(
        epcache_tests::environment::parse_json(&output.stdout),
        expected
    );
    calls.retain(|call| call.is_stat() && call.touches(".dist-info"));
    calls
}

#[test]
fn a_query_that_finds_nothing_in_a_fresh_index_opens_no_more_files() {
    if let Err(reason) = strace::available() {
        missing(&format!("counting system calls: {reason}"));
        return;
    }
    let scratch = Scratch::new();
    let path_entry = path_entry_of(&scratch, 20);
    scratch.sync(&[&path_entry]);
    let mut query = scratch.command("query", &[&path_entry]);
    let (output, calls) = strace::trace(query.arg("no.such.group"), FILE_SYSTEM);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    one_file_is_opened(&calls, &scratch, &path_entry);
}

#[test]
fn a_sync_with_nothing_to_do_changes_nothing() {
    if let Err(reason) = strace::available() {
        missing(&format!("counting system calls: {reason}"));
        return;
    }
    let scratch = Scratch::new();
    let path_entry = path_entry_of(&scratch, 50);
    scratch.sync(&[&path_entry]);
    let mirror = scratch.mirror(&path_entry);
    assert_eq!(files_below(&mirror).len(), 51);

    let (output, calls) = strace::trace(&scratch.command("sync", &[&path_entry]), FILE_SYSTEM);

    assert!(output.status.success(), "{}", process::stderr(&output));
    let own = scratch.path().to_str().unwrap();
    let changes: Vec<&Call> = calls
        .iter()
        .filter(|call| call.is_change() && call.touches(own))
        .collect();
    assert!(changes.is_empty(), "{changes:?}");
    let sources: Vec<&Call> = calls
        .iter()
        .filter(|call| call.is_open() && call.touches("entry_points.txt"))
        .collect();
    assert!(
        sources.is_empty(),
        "what has its stamp is not read: {sources:?}"
    );
}

#[test]
fn a_query_after_one_change_reads_that_distribution_alone() {
    if let Err(reason) = strace::available() {
        missing(&format!("counting system calls: {reason}"));
        return;
    }
    let scratch = Scratch::new();
    let path_entry = path_entry_of(&scratch, 100);
    scratch.sync(&[&path_entry]);
    let changed = path_entry.join("dist4-1.0.dist-info/entry_points.txt");
    epcache_tests::environment::replace_file(&changed, "[asked.for]\nchanged = other\n");

    let mut query = scratch.command("query", &[&path_entry]);
    let (output, calls) = strace::trace(query.args([GROUP, "--format", "json"]), FILE_SYSTEM);

    let expected: Vec<_> = judge::entry_points(&[&path_entry])
        .into_iter()
        .filter(|entry| entry.group == GROUP)
        .collect();
    assert_eq!(
        epcache_tests::environment::parse_json(&output.stdout),
        expected
    );
    let opened: Vec<&Call> = calls
        .iter()
        .filter(|call| call.is_open() && call.touches("entry_points.txt"))
        .filter(|call| !call.touches("O_PATH"))
        .collect();
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert!(opened[0].touches("dist4-1.0.dist-info"), "{opened:?}");
}
