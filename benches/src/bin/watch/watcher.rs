//! The process that is measured: `epcache watch`, what it logs, and what the kernel counts of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use epcache::watch::QUIET_AFTER_INSTALL;
use epcache_benches::machine::{self, Machine};
use rustix::process::{Pid, Signal, kill_process};

/// A first sync of some thousand distributions takes seconds on a slow disk.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How long it may take to end when it is told to.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// How soon to look again at what is waited for without being timed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Beyond the time after which a watcher looks once more: to have looked, and be asleep again.
const LAST_LOOK_TAKES: Duration = Duration::from_secs(1);

/// A running watcher. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    child: Child,
    /// When it had done its first sync.
    pub(crate) since: Instant,
    log: PathBuf,
    /// Its cache root.
    pub(crate) cache: PathBuf,
}

/// What the kernel says that a process has resident, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// All pages, also those that others share.
    pub(crate) resident: u64,
    /// Of shared pages the process's part.
    pub(crate) proportional: u64,
}

impl Watcher {
    /// Starts one with its own cache and log in `home`, and waits until it watches.
    pub(crate) fn start(
        machine: &Machine,
        home: &Path,
        environment: &[impl AsRef<std::ffi::OsStr>],
    ) -> Result<Watcher> {
        let (cache, log) = (home.join("cache-root"), home.join("watch.log"));
        let to_log = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut command: Command = machine::command(&machine.epcache, home);
        command
            .args(["watch", "-v", "--cache-dir"])
            .arg(&cache)
            .args(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(to_log);
        let child = command
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let mut watcher = Watcher {
            child,
            since: Instant::now(),
            log,
            cache,
        };
        watcher.wait_until_it_watches()?;
        watcher.since = Instant::now();
        Ok(watcher)
    }

    fn wait_until_it_watches(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.log()?.contains(" watching ") {
            if let Some(status) = self.child.try_wait().context("wait for the watcher")? {
                bail!("the watcher ended ({status}): {}", self.log()?);
            }
            ensure!(
                start.elapsed() < STARTS_WITHIN,
                "the watcher does not watch: {}",
                self.log()?
            );
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Waits until it has looked for the last time at what it has synced before this.
    pub(crate) fn let_it_become_quiet(&self, after: Instant) {
        let quiet = after + QUIET_AFTER_INSTALL + LAST_LOOK_TAKES;
        thread::sleep(quiet.saturating_duration_since(Instant::now()));
    }

    /// How often it has synced a path entry, also where that changed nothing.
    pub(crate) fn syncs(&self, path_entry: &Path) -> Result<usize> {
        let name = format!("path_entry={} ", path_entry.display());
        let is_sync = |line: &&str| line.contains(" synced ") && line.contains(&name);
        Ok(self.log()?.lines().filter(is_sync).count())
    }

    /// Stops unless it is running, with nothing to complain of.
    pub(crate) fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait().context("wait for the watcher")?;
        let log = self.log()?;
        ensure!(ended.is_none(), "the watcher has ended: {log}");
        for said in log.lines() {
            ensure!(
                !said.contains(" ERROR ") && !said.contains(" WARN "),
                "the watcher says: {said}"
            );
        }
        Ok(())
    }

    fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("read {}", self.log.display()))
    }

    /// How often its threads have gone to sleep of their own accord: each sleep is followed by a wake-up.
    pub(crate) fn sleeps(&self) -> Result<u64> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut sleeps = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("list {tasks}"))? {
            let status = task.context("list threads")?.path().join("status");
            sleeps += number_in(&status, "voluntary_ctxt_switches:")?;
        }
        Ok(sleeps)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        Ok(Memory {
            resident: number_in(&process.join("status"), "VmRSS:")?,
            proportional: number_in(&process.join("smaps_rollup"), "Pss:")?,
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < ENDS_WITHIN {
            thread::sleep(LOOK_AGAIN);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number that follows a label at the start of a line, in a file of `/proc`.
fn number_in(file: &Path, label: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("{} has no {label}", file.display()))
}
