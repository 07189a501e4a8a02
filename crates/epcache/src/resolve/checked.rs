//! Which dists of an index are still what it says: one `stat` for most, many at the same time where each
//! is waited for.
//!
//! On a network file system, and on a disk that has not been read yet, the time goes into waiting for
//! one answer after the other. The Python reader does the same, with the same bounds.

use crate::index::Index;
use crate::path_entry::PathEntry;
use crate::scan::Below;
use std::io;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// So many are looked at one after the other, which tells whether they are waited for.
const PROBED: usize = 16;

/// A `stat` takes some microseconds where nothing is waited for, and a network some hundred.
const SLOW_STAT: Duration = Duration::from_micros(100);

/// So many are waited for at once: about as many as network file systems ask a server in parallel.
const THREADS: usize = 16;

/// The stack of a thread, in bytes: a `stat` needs little, and where memory is limited sixteen times
/// the usual two megabytes may be too much.
const STACK: usize = 256 << 10;

/// Whether all checks of each of these dists of an index hold.
pub(super) fn which_hold(index: &Index, dists: &[usize], path_entry: &PathEntry) -> Vec<bool> {
    if dists.len() <= 2 * PROBED {
        return one_by_one(index, dists, path_entry);
    }
    let (probed, rest) = dists.split_at(PROBED);
    let began = Instant::now();
    let mut holds = one_by_one(index, probed, path_entry);
    let is_slow = began.elapsed() >= SLOW_STAT * PROBED as u32;
    holds.extend(match is_slow {
        true => in_parallel(index, rest, path_entry),
        false => one_by_one(index, rest, path_entry),
    });
    holds
}

fn one_by_one(index: &Index, dists: &[usize], path_entry: &PathEntry) -> Vec<bool> {
    let mut below = Below::new(path_entry);
    let holds = |&number: &usize| index.dist(number).holds(&mut below);
    dists.iter().map(holds).collect()
}

fn in_parallel(index: &Index, dists: &[usize], path_entry: &PathEntry) -> Vec<bool> {
    let size = dists.len().div_ceil(THREADS).max(1);
    thread::scope(|scope| {
        let start = |part| {
            let work = move || one_by_one(index, part, path_entry);
            let builder = thread::Builder::new().stack_size(STACK);
            (part, builder.spawn_scoped(scope, work))
        };
        // All are started before the first is waited for.
        let started: Vec<_> = dists.chunks(size).map(start).collect();
        let finish = |(part, thread): (_, io::Result<ScopedJoinHandle<'_, _>>)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // What no thread was to be had for is done here.
            Err(_) => one_by_one(index, part, path_entry),
        };
        started.into_iter().flat_map(finish).collect()
    })
}
