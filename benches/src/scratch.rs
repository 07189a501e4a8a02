//! The directory that a benchmark works in. It is gone afterwards, and whoever was at work there, also
//! when the benchmark took too long or was interrupted: it can hold ten thousand distributions, and a
//! watcher never ends by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LockResult, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Lazily, the last one first: who is at work there is about to end.
const UNMOUNT_BELOW: &str = r#"while read -r _ at _; do case $at in "$1"/*) echo "$at";; esac; done </proc/self/mounts | tac | xargs -r umount -l"#;

/// Who had a file open there may have written once more while it was removed.
const ATTEMPTS: usize = 5;

/// Held by who removes the directory of this process. Who removes it because the process is to end never
/// gives it back, so that the benchmark, which fails then, neither ends earlier nor says that it failed.
static REMOVAL: Mutex<()> = Mutex::new(());

/// A directory that is removed when this is dropped, and when the process is interrupted or terminated.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _held = REMOVAL.lock();
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A new directory in `parent`. After so many `minutes` the process is ended, with exit status 2.
///
/// # Errors
/// The directory can't be made, or signals can't be handled.
pub fn directory(parent: &Path, prefix: &str, minutes: u32) -> Result<Scratch> {
    // Not SIGHUP, which `nohup` ignores for those that it starts.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("handle signals")?;
    let path = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(parent)
        .with_context(|| format!("make a directory in {}", parent.display()))?
        .keep();
    let interrupted = path.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            let _held = remove(&interrupted, "interrupted");
            let _ = emulate_default_handler(signal);
        }
    });
    let late = path.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(60) * minutes);
        let why = format!("error: not done after {minutes} minutes (see --time-limit)");
        let _held = remove(&late, &why);
        std::process::exit(2);
    });
    Ok(Scratch(path))
}

/// Before the process ends. Not through what is mounted in it, which may be slow, and hides what is below.
fn remove(scratch: &Path, why: &str) -> LockResult<MutexGuard<'static, ()>> {
    let held = REMOVAL.lock();
    eprintln!("{why}; removing {}", scratch.display());
    let mut unmount = Command::new("sh");
    unmount.args(["-c", UNMOUNT_BELOW, "sh"]).arg(scratch);
    let _ = unmount.status();
    kill_children();
    // Under another name it is not found by the benchmark, which may write faster than this removes.
    let away = scratch.with_extension("removed");
    let _ = fs::rename(scratch, &away);
    for _ in 0..ATTEMPTS {
        if fs::remove_dir_all(&away).is_ok() {
            break;
        }
    }
    held
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
