//! The caches that were not chosen, each as its author would write it, beside epcache's own: what the
//! study measures, in Rust. `benches/python` has the same, and the rivals, in Python.
//!
//! ```text
//! strategies STRATEGY WORK --cache DIR --path P [--path P ...] [--group G]
//! strategies STRATEGY [WORK] --promises
//! ```
//!
//! `build` makes the cache fresh, whatever is there; `find` prints the entry points of the group, `list`
//! all, as `GROUP<tab>NAME<tab>VALUE` in the order of the answer; `version` does nothing else than to
//! start. The last line on standard error is `ns=N peak=KIB rchar=N`: the time from the start of `main`
//! until the answer was there, printing left out; the most memory; how much was read.
//!
//! The nine caches are a format (`ini`, `json`, `sqlite`) and what one file is of:
//!
//! - `sys-path`: of a whole `sys.path`. Fresh while each path entry has the modification time it had;
//! - `path-entry`: of one path entry. The same;
//! - `dist`: of one dist. Fresh while its `entry_points.txt` has the modification time it had; which dists
//!   there are says the listing of the path entry.
//!
//! `mirror-files` has copies of the `entry_points.txt`: the path entry is listed, and what is copied is
//! believed by its name alone. `index-exact`, `index-fast` and `index-only` are epcache, `none` is no
//! cache. All keep CPython's order and shadowing. Path entries that are zips are epcache's alone: for the
//! others they are empty. A line on which CPython raises is left out.

mod cached;
mod format;
mod index;
mod ini;
mod job;
mod json;
mod listing;
mod mirror;
mod record;
mod scan;
mod sqlite;

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use cached::Layout;
use epcache::{EntryPoint, Mode};
use format::Format;
use job::{Job, Work};

fn main() -> Result<()> {
    let start = Instant::now();
    let job = Job::from_arguments(std::env::args_os().skip(1))?;
    if job.promises {
        println!(r#"{{"order": true}}"#);
        return Ok(());
    }
    let found = match job.work {
        Some(Work::Version) => Vec::new(),
        _ => answer(&job)?,
    };
    let taken = start.elapsed().as_nanos();
    let read = number_in("/proc/self/io", "rchar:");
    let peak = number_in("/proc/self/status", "VmHWM:");
    if !job.is_build() {
        print(&found)?;
    }
    eprintln!("ns={taken} peak={peak} rchar={read}");
    Ok(())
}

/// Builds or asks the cache of the strategy.
fn answer(job: &Job) -> Result<Vec<EntryPoint>> {
    let strategy = job.strategy.as_str();
    let mode = match strategy {
        "none" => return scan::answer(job),
        "mirror-files" => return mirror::answer(job),
        "index-exact" => Mode::Exact,
        "index-fast" => Mode::Fast,
        "index-only" => Mode::Only,
        _ => {
            let (format, layout) = strategy.split_once('-').context("no such strategy")?;
            let format = Format::named(format).context("no such format")?;
            let layout = Layout::named(layout).context("no such layout")?;
            return cached::answer(job, format, layout);
        }
    };
    index::answer(job, mode)
}

fn print(found: &[EntryPoint]) -> Result<()> {
    let mut text = String::new();
    for point in found {
        text.extend([&point.group, "\t", &point.name, "\t", &point.value, "\n"]);
    }
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("print the answer")
}

/// The number after a word in one of the files about this process; 0 where there is none.
fn number_in(path: &str, word: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let after = text.split(word).nth(1).unwrap_or_default();
    let number = after.split_whitespace().next().unwrap_or_default();
    number.parse().unwrap_or(0)
}
