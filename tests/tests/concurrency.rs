//! Readers and writers at once, while the environment changes under them: every answer is the one
//! before or the one after, and where nothing changed during a query, the present one.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use epcache_tests::environment::{Scratch, leftovers, replace_file, write_dist};
use epcache_tests::judge::{self, Entry};
use epcache_tests::process;
use rustix::fs::{CWD, RenameFlags, renameat_with};

const READERS: usize = 8;
const WRITERS: usize = 4;
/// Enough for every phase of a sync to meet a change several times.
const FLIPS: usize = 60;
/// The next change waits until so many queries lay wholly in one state ...
const QUERIES_IN_EACH_STATE: usize = 4;
/// ... and every so many changes until a sync did too, so that there are fresh indexes to be wrong.
const FLIPS_BETWEEN_WHOLE_SYNCS: usize = 6;
/// No condition takes longer to come true, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the threads tell each other.
#[derive(Default)]
struct Progress {
    /// Even: the state with the number of the half, modulo 2, holds. Odd: just changing.
    epoch: AtomicUsize,
    /// Queries and syncs that began and ended in the present epoch.
    whole_queries: AtomicUsize,
    whole_syncs: AtomicUsize,
    done: AtomicBool,
}

impl Progress {
    /// Makes a change; what was counted in the old state counts no more.
    fn change(&self, change: impl FnOnce()) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        change();
        self.whole_queries.store(0, Ordering::SeqCst);
        self.whole_syncs.store(0, Ordering::SeqCst);
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// The state that held from the start to the end of `action`, if it was one.
    fn during<T>(&self, action: impl FnOnce() -> T) -> (T, Option<usize>) {
        let before = self.epoch.load(Ordering::SeqCst);
        let result = action();
        let after = self.epoch.load(Ordering::SeqCst);
        let quiet = before == after && before.is_multiple_of(2);
        (result, quiet.then_some(before / 2 % 2))
    }

    fn wait_until(&self, counter: &AtomicUsize, least: usize) {
        let start = Instant::now();
        while counter.load(Ordering::SeqCst) < least {
            assert!(start.elapsed() < PATIENCE, "readers or writers hang");
            // A failed reader or writer sets this: the failure is its own to tell.
            if self.done.load(Ordering::SeqCst) {
                return;
            }
            thread::yield_now();
            thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// Sets `done` however its thread ends, so that a failure ends the others as well.
struct Ends<'a>(&'a Progress);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.done.store(true, Ordering::SeqCst);
        }
    }
}

/// Flips `path_entry` between two states by `flip`, which is atomic for whoever looks, while readers
/// ask and writers sync.
fn readers_and_writers(scratch: &Scratch, path_entry: &Path, flip: impl Fn()) {
    // Where the listing's order is that of arrival, what is moved for the first time moves in it.
    flip();
    flip();
    let first = judge::entry_points(&[path_entry]);
    flip();
    let second = judge::entry_points(&[path_entry]);
    flip();
    assert_ne!(first, second, "the states differ");
    assert_eq!(
        judge::entry_points(&[path_entry]),
        first,
        "two flips are none"
    );
    let states = [first, second];
    let progress = Progress::default();

    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| read(scratch, path_entry, &progress, &states));
        }
        for _ in 0..WRITERS {
            scope.spawn(|| write(scratch, path_entry, &progress));
        }
        let _ends = Ends(&progress);
        for number in 1..=FLIPS {
            progress.change(&flip);
            progress.wait_until(&progress.whole_queries, QUERIES_IN_EACH_STATE);
            if number % FLIPS_BETWEEN_WHOLE_SYNCS == 0 {
                progress.wait_until(&progress.whole_syncs, 1);
                progress.whole_queries.store(0, Ordering::SeqCst);
                progress.wait_until(&progress.whole_queries, QUERIES_IN_EACH_STATE);
            }
        }
        progress.done.store(true, Ordering::SeqCst);
    });

    scratch.sync(&[path_entry]);
    assert_eq!(
        scratch.query(&[path_entry]),
        states[FLIPS % 2],
        "at the end"
    );
    assert_eq!(leftovers(&scratch.cache()), Vec::<PathBuf>::new());
    process::succeed(&mut scratch.command("verify", &[path_entry]));
}

fn read(scratch: &Scratch, path_entry: &Path, progress: &Progress, states: &[Vec<Entry>; 2]) {
    let _ends = Ends(progress);
    while !progress.done.load(Ordering::SeqCst) {
        let (answer, state) = progress.during(|| scratch.query(&[path_entry]));
        if let Some(state) = state {
            assert_eq!(
                answer, states[state],
                "nothing changed while this was asked"
            );
            progress.whole_queries.fetch_add(1, Ordering::SeqCst);
        } else {
            assert!(
                states.contains(&answer),
                "neither before nor after: {answer:?}"
            );
        }
    }
}

fn write(scratch: &Scratch, path_entry: &Path, progress: &Progress) {
    let _ends = Ends(progress);
    while !progress.done.load(Ordering::SeqCst) {
        let (output, state) =
            progress.during(|| process::finish(&mut scratch.command("sync", &[path_entry])));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            process::stderr(&output)
        );
        if state.is_some() {
            progress.whole_syncs.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn installed(scratch: &Scratch) -> PathBuf {
    let path_entry = scratch.path_entry("site-packages");
    for name in ["alpha", "bravo", "charlie", "delta"] {
        let text = format!("[g]\n{name} = {name}:main\n[h]\n{name} = {name}\n");
        write_dist(&path_entry, &format!("{name}-1.dist-info"), Some(&text));
    }
    write_dist(&path_entry, "quiet-1.dist-info", None);
    path_entry
}

#[test]
fn an_edited_file_is_seen_before_or_after_and_never_between() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let file = path_entry.join("bravo-1.dist-info/entry_points.txt");
    // Equal in size, so that nothing but the stamps' times and inode tells them apart.
    let texts = ["[g]\nbravo = bravo:one\n", "[g]\nbravo = bravo:two\n"];
    replace_file(&file, texts[0]);
    readers_and_writers(&scratch, &path_entry, || {
        let now = fs::read_to_string(&file).unwrap();
        replace_file(&file, texts[usize::from(now == texts[0])]);
    });
}

#[test]
fn a_file_that_comes_and_goes_is_seen_or_not() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let file = path_entry.join("bravo-1.dist-info/entry_points.txt");
    let aside = scratch.join("aside.txt");
    readers_and_writers(&scratch, &path_entry, || {
        if file.exists() {
            fs::rename(&file, &aside).unwrap();
        } else {
            fs::rename(&aside, &file).unwrap();
        }
    });
}

#[test]
fn a_reinstalled_distribution_is_seen_before_or_after_and_never_between() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let other = scratch.path_entry("other");
    let name = "bravo-1.dist-info";
    write_dist(
        &other,
        name,
        Some("[g]\nbravo = bravo:diff\n[h]\nbravo = other\n"),
    );
    readers_and_writers(&scratch, &path_entry, || {
        let [one, two] = [path_entry.join(name), other.join(name)];
        renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
    });
}

#[test]
fn a_distribution_that_comes_and_goes_is_there_or_not() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let aside = scratch.join("aside");
    let dist = path_entry.join("delta-1.dist-info");
    readers_and_writers(&scratch, &path_entry, || {
        if dist.exists() {
            fs::rename(&dist, &aside).unwrap();
        } else {
            fs::rename(&aside, &dist).unwrap();
        }
    });
}
