//! One process: timed, asked, counted, or killed.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// What counts as a call to the file system; `?` is for systems that lack one.
const FILE_SYSTEM_CALLS: &str = "trace=%file,?read,?readv,?pread64,?write,?writev,?pwrite64,?close,\
     ?lseek,?getdents64,?fstat,?fsync,?fdatasync,?ftruncate,?fcntl,?flock";

/// Everything that the kernel keeps of file systems: pages, names and inodes.
const ALL_CACHES: &str = "3";

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// How one process went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    /// From before it was started until it had been waited for.
    pub(crate) wall: Duration,
    /// What it says about itself, if it does.
    pub(crate) told: Option<Told>,
}

/// What a contender writes as its last line on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// From its first line to the answer.
    pub(crate) nanoseconds: u64,
    /// The most that it had resident.
    pub(crate) peak_kib: u64,
    /// What it read, as the kernel counts: also what was in memory.
    pub(crate) bytes_read: u64,
}

impl Told {
    /// Reads the line `ns=N peak=KIB rchar=N`.
    fn parse(line: &str) -> Option<Told> {
        let mut words = line.split_whitespace();
        let mut number = |name: &str| words.next()?.strip_prefix(name)?.parse().ok();
        Some(Told {
            nanoseconds: number("ns=")?,
            peak_kib: number("peak=")?,
            bytes_read: number("rchar=")?,
        })
    }
}

/// Runs the command, whose answer nobody reads.
pub(crate) fn timed(command: &mut Command) -> Result<Ran> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let said = read_errors(&mut child)?;
    let status = child.wait().context("wait for a contender")?;
    let wall = start.elapsed();
    ensure!(status.success(), "{command:?} failed: {status}\n{said}");
    let told = told(said.as_bytes());
    Ok(Ran { wall, told })
}

/// What a contender tells in its last line on standard error.
pub(crate) fn told(said: &[u8]) -> Option<Told> {
    let said = String::from_utf8_lossy(said);
    said.lines().next_back().and_then(Told::parse)
}

fn read_errors(child: &mut Child) -> Result<String> {
    let mut said = Vec::new();
    if let Some(errors) = &mut child.stderr {
        errors
            .read_to_end(&mut said)
            .context("read what a contender says")?;
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Starts the command in a process group of its own, its answer and its errors kept.
pub(crate) fn start(command: &mut Command) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {command:?}"))
}

/// Kills what [`start`] started, with all that it started in turn, and waits for it.
pub(crate) fn kill(child: &mut Child) -> Result<()> {
    let group = rustix::process::Pid::from_child(child);
    // It may have ended by itself: then there is nobody to kill, unless something of it is left.
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    child.wait().map(drop).context("wait for what was killed")
}

/// How many calls to the file system a command makes, those of its start included.
pub(crate) fn file_system_calls(command: &Command, scratch: &Path) -> Result<u64> {
    let log = scratch.join("strace.log");
    let trace = ["-e", FILE_SYSTEM_CALLS, "-e", "signal=none"];
    timed(&mut under_strace(command, &trace, &log))?;
    let log = std::fs::read(&log).context("read what strace wrote")?;
    let calls = String::from_utf8_lossy(&log)
        .lines()
        .filter(|line| !line.contains(" resumed>") && !line.contains("+++"))
        .count();
    Ok(u64::try_from(calls)?)
}

/// The same command under `strace`.
pub(crate) fn under_strace(command: &Command, options: &[&str], log: &Path) -> Command {
    let mut strace = with_environment_of(command, Command::new("strace"));
    strace.args(["-f", "-qq"]).args(options);
    strace.arg("-o").arg(log).arg("--");
    strace.arg(command.get_program()).args(command.get_args());
    strace
}

/// Whether there is an `strace` that may trace here; the reason why not otherwise.
pub(crate) fn can_trace() -> Result<()> {
    timed(Command::new("strace").args(["-f", "-o", "/dev/null", "true"])).map(drop)
}

/// Another command with the environment of the first.
pub(crate) fn with_environment_of(command: &Command, mut other: Command) -> Command {
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other
}

/// Has everything written to the disk, and then forgotten.
pub(crate) fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    std::fs::write(DROP_CACHES, ALL_CACHES)
        .with_context(|| format!("{DROP_CACHES} can't be written, which needs root"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_contender_tells_about_itself_in_its_last_line() {
        let ran = timed(&mut shell(
            "echo warning >&2; echo ns=12 peak=34 rchar=56 >&2",
        ))
        .unwrap();
        let told = ran.told.unwrap();
        assert_eq!(told.nanoseconds, 12);
        assert_eq!(told.peak_kib, 34);
        assert_eq!(told.bytes_read, 56);
        assert_eq!(timed(&mut shell("echo ns=12 >&2")).unwrap().told, None);
    }

    #[test]
    fn a_contender_that_fails_has_no_time_and_says_why() {
        let error = timed(&mut shell("echo no such cache >&2; exit 1")).unwrap_err();
        assert!(format!("{error:#}").contains("no such cache"));
    }

    #[test]
    fn what_a_killed_process_had_started_is_killed_with_it() {
        let mut child = start(&mut shell("sleep 1000 & echo started; wait")).unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut started = [0; 8];
        output.read_exact(&mut started).unwrap();
        kill(&mut child).unwrap();
        // The end of the output comes when nobody can write to it any more.
        assert_eq!(output.read(&mut [0; 1]).unwrap(), 0);
    }
}
