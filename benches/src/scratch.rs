//! The directory that a benchmark works in. It is gone afterwards, and whoever was at work there, also
//! when the benchmark took too long or was interrupted: it can hold ten thousand distributions, and a
//! watcher never ends by itself.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tempfile::TempDir;

/// Lazily, the last one first: who is at work there is about to end.
const UNMOUNT_BELOW: &str = r#"while read -r _ at _; do case $at in "$1"/*) echo "$at";; esac; done </proc/self/mounts | tac | xargs -r umount -l"#;

/// What a killed process has started may write once more while it is removed.
const ATTEMPTS: usize = 5;

/// A new directory in `parent`, removed when it is dropped, and when this process is interrupted or
/// terminated. After so many `minutes` the process is ended, with exit status 2.
///
/// # Errors
/// The directory can't be made, or signals can't be handled.
pub fn directory(parent: &Path, prefix: &str, minutes: u32) -> Result<TempDir> {
    let scratch = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(parent)
        .with_context(|| format!("make a directory in {}", parent.display()))?;
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("handle signals")?;
    let path = scratch.path().to_owned();
    thread::spawn(move || {
        for signal in signals.forever() {
            // What is said after that is of work that lost its ground.
            eprintln!("interrupted: removing {}", path.display());
            remove(&path);
            let _ = emulate_default_handler(signal);
        }
    });
    let path = scratch.path().to_owned();
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(60) * minutes);
        eprintln!("error: not done after {minutes} minutes (see --time-limit)");
        remove(&path);
        std::process::exit(2);
    });
    Ok(scratch)
}

/// Not through what is mounted in it, which may be slow, and hides what is below.
fn remove(scratch: &Path) {
    let mut unmount = Command::new("sh");
    unmount.args(["-c", UNMOUNT_BELOW, "sh"]).arg(scratch);
    let _ = unmount.status();
    kill_children();
    for _ in 0..ATTEMPTS {
        if fs::remove_dir_all(scratch).is_ok() {
            break;
        }
    }
}

/// As `/proc` tells them; where there is none, they have to end by themselves.
fn kill_children() {
    let parent = format!("\nPPid:\t{}\n", std::process::id());
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        let status = fs::read_to_string(process.path().join("status"));
        if status.is_ok_and(|status| status.contains(&parent)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
