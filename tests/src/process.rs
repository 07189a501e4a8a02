//! Running a process to its end, with a bound on how long that may take: no test ever hangs.

use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything that the command is asked here takes on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a command without input to its end and gives what it said. Fails the test if it can't be
/// started or runs longer than two minutes.
pub fn finish(command: &mut Command) -> Output {
    finish_within(command, LIMIT)
}

/// As [`finish`], with a limit of one's own.
pub fn finish_within(command: &mut Command, limit: Duration) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
    let pid = Pid::from_child(&child);
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if late {
            kill_process(pid, Signal::KILL).ok();
        }
        late
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    assert!(
        !watchdog.join().unwrap(),
        "{command:?} did not end within {limit:?}"
    );
    output
}

/// Runs a command that must exit with 0.
pub fn succeed(command: &mut Command) -> Output {
    expect_status(command, 0)
}

/// Runs a command that must exit with the given status.
pub fn expect_status(command: &mut Command, status: i32) -> Output {
    let output = finish(command);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{command:?}\nstandard output: {}\nstandard error: {}",
        shortened(&output.stdout),
        shortened(&output.stderr)
    );
    output
}

/// Standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn shortened(text: &[u8]) -> String {
    const MOST: usize = 4096;
    String::from_utf8_lossy(&text[..text.len().min(MOST)]).into_owned()
}

/// The same command, which fails when it asks for more address space than this many KiB.
pub fn in_address_space(command: &Command, kib: u64) -> Command {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("ulimit -v {kib} && exec \"$@\""))
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}
