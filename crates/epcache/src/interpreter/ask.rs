//! Asking an interpreter for its `sys.path`, by starting it once, in bounded time and memory.

use std::{
    io::{self, Read},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};

use super::{Error, answer::Answer, base::Version, surroundings::Surroundings};

/// The most that is read from an interpreter's standard output and from its standard error: a
/// `sys.path` of ten thousand entries fits, a program that prints without end is stopped.
const MAX_OUTPUT_BYTES: u64 = 4 << 20;

/// How many lines, and of how many characters, of an interpreter's output an error shows.
const SHOWN_LINES: usize = 6;
const SHOWN_CHARACTERS: usize = 200;

/// The program that the interpreter runs, and the mark before its answer: code that runs when
/// Python starts may print before it.
const PROGRAM: &str = include_str!("answer.py");
const MARK: &[u8] = b"epcache-answer ";

/// Starts the interpreter and gives its answer.
///
/// # Errors
/// When it can't be started, fails, does not end in time, prints no answer, or is too old.
pub(super) fn ask(executable: &Path, surroundings: &Surroundings) -> Result<Answer, Error> {
    let finished = run(executable, surroundings)?;
    if !finished.status.success() {
        return Err(Error::Failed {
            executable: executable.to_path_buf(),
            status: finished.status.to_string(),
            output: excerpt(&finished),
        });
    }
    let answer = find_answer(&finished.output).ok_or_else(|| Error::NoAnswer {
        executable: executable.to_path_buf(),
        output: excerpt(&finished),
    })?;
    if answer.version < (3, Version::OLDEST) {
        return Err(Error::TooOld {
            executable: executable.to_path_buf(),
            version: answer.version,
        });
    }
    Ok(answer)
}

/// The last line that is an answer.
fn find_answer(output: &[u8]) -> Option<Answer> {
    let line = output
        .split(|&byte| byte == b'\n')
        .rfind(|line| line.starts_with(MARK))?;
    serde_json::from_slice(&line[MARK.len()..]).ok()
}

/// A program that has ended.
#[derive(Debug)]
struct Finished {
    status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

/// What the threads that watch a running program report.
enum Event {
    Output(Vec<u8>),
    Errors(Vec<u8>),
    Ended,
}

/// Runs the interpreter to its end, or kills it with all that it started in its process group.
fn run(executable: &Path, surroundings: &Surroundings) -> Result<Finished, Error> {
    let cannot_start = |error| Error::CannotStart {
        executable: executable.to_path_buf(),
        error,
    };
    let deadline = Instant::now() + surroundings.patience();
    let mut child = start(executable, surroundings).map_err(cannot_start)?;
    let collected = watch(&mut child)
        .map_err(cannot_start)
        .map(|events| collect(&events, &child, deadline));

    // Whatever happened, nothing of it is left running: the child is not waited for yet, so its
    // process group can't be another's.
    kill(&child);
    let status = child.wait().map_err(cannot_start)?;
    let Collected {
        output,
        errors,
        end,
    } = collected?;
    let finished = Finished {
        status,
        output,
        errors,
    };
    match end {
        End::Ended => Ok(finished),
        End::TimedOut => Err(Error::TimedOut {
            executable: executable.to_path_buf(),
            after: surroundings.patience(),
            output: excerpt(&finished),
        }),
        End::TooMuch => Err(Error::TooMuchOutput {
            executable: executable.to_path_buf(),
            bound: MAX_OUTPUT_BYTES,
            output: excerpt(&finished),
        }),
    }
}

fn start(executable: &Path, surroundings: &Surroundings) -> io::Result<Child> {
    let mut command = Command::new(executable);
    command
        .args(["-B", "-c", PROGRAM])
        .env_clear()
        .envs(surroundings.variables())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(cwd) = surroundings.cwd() {
        command.current_dir(cwd);
    }
    command.spawn()
}

/// Starts the threads that read both outputs and notice the end.
fn watch(child: &mut Child) -> io::Result<Receiver<Event>> {
    let (sender, events) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        read_in_background(pipe, sender.clone(), Event::Output)?;
    }
    if let Some(pipe) = child.stderr.take() {
        read_in_background(pipe, sender.clone(), Event::Errors)?;
    }
    let pid = Pid::from_child(child);
    thread::Builder::new().spawn(move || {
        // Left as a zombie, so that its process group stays its own until it is killed.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        // The receiver is gone when nobody wants to know any more.
        let _ = sender.send(Event::Ended);
    })?;
    Ok(events)
}

fn read_in_background(
    pipe: impl Read + Send + 'static,
    sender: Sender<Event>,
    event: fn(Vec<u8>) -> Event,
) -> io::Result<()> {
    thread::Builder::new().spawn(move || {
        let mut content = Vec::new();
        // A pipe that fails has said all that it will say.
        let _ = pipe.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut content);
        let _ = sender.send(event(content));
    })?;
    Ok(())
}

#[derive(Debug, Default)]
struct Collected {
    output: Vec<u8>,
    errors: Vec<u8>,
    end: End,
}

#[derive(Debug, Default, PartialEq)]
enum End {
    #[default]
    TimedOut,
    TooMuch,
    Ended,
}

/// How long the outputs of a killed program are waited for: what it printed before is shown.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Waits until the program has ended and both its outputs have.
fn collect(events: &Receiver<Event>, child: &Child, deadline: Instant) -> Collected {
    let mut collected = Collected::default();
    let mut deadline = deadline;
    let (mut open, mut ended, mut killed) = (2, false, false);
    while open > 0 || !ended {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Output(output)) => {
                open -= 1;
                collected.output = output;
            }
            Ok(Event::Errors(errors)) => {
                open -= 1;
                collected.errors = errors;
            }
            Ok(Event::Ended) => {
                ended = true;
                // What it has left running in its group would keep the outputs open.
                kill(child);
            }
            Err(RecvTimeoutError::Timeout) if !killed => {
                killed = true;
                deadline = Instant::now() + LAST_WORDS;
                kill(child);
                if ended {
                    // Something outside its group keeps the outputs open.
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
        let longest = collected.output.len().max(collected.errors.len()) as u64;
        if longest > MAX_OUTPUT_BYTES {
            collected.end = End::TooMuch;
            return collected;
        }
    }
    if open == 0 && ended && !killed {
        collected.end = End::Ended;
    }
    collected
}

/// Kills the program and what it started, as far as that is in its process group.
fn kill(child: &Child) {
    // It fails only if nothing of the group is left.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

/// The first lines of what a program printed, errors first, on one line, nothing in it that a
/// terminal would obey.
fn excerpt(finished: &Finished) -> String {
    let printed = [finished.errors.as_slice(), finished.output.as_slice()].join(&b'\n');
    let printed = String::from_utf8_lossy(&printed);
    let mut lines = printed.lines().filter(|line| !line.trim().is_empty());
    let shown: Vec<String> = lines.by_ref().take(SHOWN_LINES).map(printable).collect();
    let rest = if lines.next().is_some() { " | ..." } else { "" };
    if shown.is_empty() {
        "nothing".to_owned()
    } else {
        shown.join(" | ") + rest
    }
}

/// The beginning of a line, with what a terminal would obey written as an escape.
fn printable(line: &str) -> String {
    let mut printable = String::new();
    for character in line.chars().take(SHOWN_CHARACTERS) {
        match character {
            '\'' | '"' => printable.push(character),
            _ => printable.extend(character.escape_debug()),
        }
    }
    printable
}
