//! A running `epcache watch`, and what must become true behind its back: after a change, within a
//! bound, the cache is current and answers what CPython does.
//!
//! Nothing here sleeps for a fixed time to be on the safe side: every wait is for a condition, has a
//! deadline, and says what was missing when it passed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::environment::{Scratch, named, set_mode};
use crate::judge;
use crate::oracle::{Answer, Oracle};
use crate::process;
use crate::user::User;

/// Longer than anything takes that is waited for, on a slow and busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How soon the cache must be current again. Shorter than the 10 s after which a watcher looks once
/// more in any case: an event that was lost must not be made good by that.
pub const SOON: Duration = Duration::from_secs(8);
/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(15);

/// Waits until a condition holds, and gives how long that took. The condition's error says what is
/// still missing; it is the test's failure if the time runs out.
pub fn wait_until(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<(), String>,
) -> Duration {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(()) => return start.elapsed(),
            Err(missing) => assert!(
                start.elapsed() < limit,
                "{what}: not within {limit:?}: {missing}"
            ),
        }
        thread::sleep(PAUSE);
    }
}

/// A condition in words: nothing where it holds, else what is missing.
pub fn holds(condition: bool, missing: impl Into<String>) -> Result<(), String> {
    if condition {
        Ok(())
    } else {
        Err(missing.into())
    }
}

/// A running watcher. It is killed when dropped; what it said is shown if the test has failed.
pub struct Watcher {
    child: Child,
    log: PathBuf,
    socket: NotifySocket,
    started: String,
}

impl Watcher {
    /// Starts a watcher and waits until it says that it is ready.
    pub fn start(scratch: &Scratch, command: &mut Command) -> Self {
        let mut watcher = Self::spawn(scratch, command);
        watcher.wait_for_message("READY=1", 1);
        watcher
    }

    /// Starts a watcher. It has a socket to notify, and standard error is a file.
    pub fn spawn(scratch: &Scratch, command: &mut Command) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = scratch.join(format!("watch-{number}.log"));
        let socket = NotifySocket::bind(&scratch.join(format!("notify-{number}")));
        let child = command
            .env("NOTIFY_SOCKET", &socket.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
        Self {
            child,
            log,
            socket,
            started: format!("{command:?}"),
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops all its threads, until it is sent `SIGCONT`. One that is just about to read events
    /// reads them first, so this waits until none does anything any more.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        wait_until(PATIENCE, "all threads stop", || {
            let running = self.threads_that_run();
            holds(running.is_empty(), format!("these run: {running:?}"))
        });
    }

    /// What `/proc` says of each thread that is not stopped.
    fn threads_that_run(&self) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        let tasks = fs::read_dir(tasks).unwrap();
        let stats =
            tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
        // The state stands behind the name, which is in parentheses and may have any in it.
        let is_stopped = |stat: &String| stat.rsplit(')').next().unwrap().starts_with(" T");
        stats.filter(|stat| !is_stopped(stat)).collect()
    }

    /// All that it said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// The lines of the log that contain all of these.
    pub fn lines(&self, parts: &[&str]) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .map(str::to_owned)
            .collect()
    }

    /// How many lines of the log contain all of these.
    pub fn count(&self, parts: &[&str]) -> usize {
        self.lines(parts).len()
    }

    /// Waits until the log has so many lines that contain all of these.
    pub fn wait_for_lines(&self, parts: &[&str], number: usize) -> Duration {
        wait_until(PATIENCE, &format!("{number} lines with {parts:?}"), || {
            let found = self.count(parts);
            holds(found >= number, format!("there are {found}"))
        })
    }

    /// The messages that it sent to its service manager, one variable each, in order.
    pub fn messages(&self) -> Vec<String> {
        self.socket.messages.lock().unwrap().clone()
    }

    /// Waits until it has sent so many messages that start with a text. It must live until then.
    pub fn wait_for_message(&mut self, start: &str, number: usize) {
        wait_until(PATIENCE, &format!("{number} messages {start}"), || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", self.started);
            let messages = self.messages();
            let found = messages.iter().filter(|it| it.starts_with(start)).count();
            holds(found >= number, format!("there are {found}: {messages:?}"))
        });
    }

    /// Waits until it has ended.
    pub fn end(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let mut status = None;
        wait_until(PATIENCE, "the watcher ends", || {
            status = child.try_wait().unwrap();
            holds(status.is_some(), "it is still there")
        });
        status.unwrap()
    }

    /// Ends it with a signal: it must exit with 0.
    pub fn stop_with(&mut self, signal: Signal) {
        self.signal(signal);
        let status = self.end();
        assert_eq!(status.code(), Some(0), "after {signal:?}: {}", self.log());
    }

    /// Ends it as a service manager does.
    pub fn stop(&mut self) {
        self.stop_with(Signal::TERM);
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.end();
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // A stopped process takes the signal too.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!("{} said:\n{}", self.started, self.log());
        }
    }
}

/// What a service manager listens on (`sd_notify(3)`).
struct NotifySocket {
    path: PathBuf,
    messages: Arc<Mutex<Vec<String>>>,
}

impl NotifySocket {
    /// More than a message has.
    const LONGEST: usize = 4096;
    /// How often the thread that listens looks whether it is still needed.
    const TURN: Duration = Duration::from_millis(500);

    /// Listens, open to all users; a thread takes what comes for as long as this lives.
    fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Self::TURN)).unwrap();
        set_mode(path, 0o666);
        let messages = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&messages);
        thread::spawn(move || {
            let mut message = [0; Self::LONGEST];
            while Arc::strong_count(&taken) > 1 {
                let Ok(length) = socket.recv(&mut message) else {
                    continue;
                };
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                let mut taken = taken.lock().unwrap();
                taken.extend(text.lines().map(str::to_owned));
            }
        });
        Self {
            path: path.to_path_buf(),
            messages,
        }
    }
}

/// What is watched: which environment, with which cache root, asked by whom.
pub struct Watched<'a> {
    scratch: &'a Scratch,
    which: Which,
    user: Option<User>,
    oracle: Mutex<Oracle>,
}

enum Which {
    Venv(PathBuf),
    PathEntries(Vec<PathBuf>),
}

impl<'a> Watched<'a> {
    /// A virtual environment, and what its own Python says is on its `sys.path`.
    pub fn venv(scratch: &'a Scratch, venv: &Path) -> Self {
        Self::new(scratch, Which::Venv(venv.to_path_buf()))
    }

    /// Path entries.
    pub fn path_entries(scratch: &'a Scratch, path_entries: &[&Path]) -> Self {
        let path_entries = path_entries.iter().map(|it| it.to_path_buf()).collect();
        Self::new(scratch, Which::PathEntries(path_entries))
    }

    fn new(scratch: &'a Scratch, which: Which) -> Self {
        Self {
            scratch,
            which,
            user: None,
            oracle: Mutex::new(Oracle::start(judge::python())),
        }
    }

    /// The same, watched and asked about by another user.
    pub fn by(self, user: User) -> Self {
        Self {
            user: Some(user),
            ..self
        }
    }

    /// A subcommand for this environment and cache root.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = match self.user {
            Some(user) => user.epcache(self.scratch),
            None => self.scratch.epcache(),
        };
        command
            .arg(subcommand)
            .arg("--cache-dir")
            .arg(self.scratch.cache())
            .args(self.arguments());
        command
    }

    fn arguments(&self) -> Vec<OsString> {
        match &self.which {
            Which::Venv(venv) => vec!["--venv".into(), venv.into()],
            Which::PathEntries(path_entries) => {
                let path_entries: Vec<&Path> = path_entries.iter().map(PathBuf::as_path).collect();
                named(&path_entries).into_iter().map(Into::into).collect()
            }
        }
    }

    /// Starts a watcher that tells all, and waits until it is ready.
    pub fn watch(&self, arguments: &[&str]) -> Watcher {
        Watcher::start(
            self.scratch,
            self.command("watch").arg("-v").args(arguments),
        )
    }

    /// `sys.path`, as CPython makes it.
    pub fn sys_path(&self) -> Vec<PathBuf> {
        match &self.which {
            Which::Venv(venv) => {
                let script = "import sys; print('\\0'.join(sys.path), end='')";
                let mut python = Command::new(venv.join("bin/python"));
                let output = process::succeed(python.args(["-I", "-c", script]));
                process::stdout(&output)
                    .split('\0')
                    .map(PathBuf::from)
                    .collect()
            }
            Which::PathEntries(path_entries) => path_entries.clone(),
        }
    }

    /// What CPython answers now.
    pub fn truth(&self) -> Vec<Answer> {
        self.try_truth(&self.sys_path())
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same while it may change: an error if it does so in the middle of CPython's answer.
    fn try_truth(&self, sys_path: &[PathBuf]) -> Result<Vec<Answer>, String> {
        let mut oracle = self.oracle.lock().unwrap();
        let truth = oracle.try_ask(sys_path, Path::new("/"))?;
        Ok(truth.entry_points)
    }

    /// What the command answers in a mode. Whatever that is, it must not fail.
    pub fn answer(&self, mode: &str) -> Vec<Answer> {
        let mut query = self.command("query");
        query.args(["--mode", mode, "--format", "jsonl"]);
        let output = process::finish(&mut query);
        let answer: Vec<Answer> = process::stdout(&output)
            .lines()
            .map(|line| Answer::from_command(line).unwrap())
            .collect();
        let expected = i32::from(answer.is_empty());
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{query:?}: {output:?}"
        );
        answer
    }

    /// The lines of `status`; or why there are none.
    pub fn status(&self) -> Result<Vec<Value>, String> {
        json_lines(self.command("status").args(["--mode", "exact"]))
    }

    /// Whether every path entry has a fresh index, and a sync would do nothing; else what is not so.
    pub fn is_current(&self) -> Result<(), String> {
        self.is_fresh()?;
        for row in json_lines(self.command("sync").arg("--dry-run"))? {
            let nothing_to_do = match row["done"].as_str().unwrap() {
                "unchanged" => true,
                "not cached" => row["reason"] == "does not exist",
                _ => false,
            };
            holds(nothing_to_do, row.to_string())?;
        }
        Ok(())
    }

    /// What must be so after each change: soon, the cache is current, and all that is answered from it
    /// is what CPython says. Gives that.
    pub fn becomes_current(&self, what: &str) -> Vec<Answer> {
        self.becomes_current_within(SOON, what);
        self.answers_what_cpython_does(what)
    }

    /// Waits until the cache is current.
    pub fn becomes_current_within(&self, limit: Duration, what: &str) -> Duration {
        wait_until(limit, &format!("current after {what}"), || {
            self.is_current()
        })
    }

    /// Whether each path entry has a fresh index, whatever is still read from the source each time.
    pub fn is_fresh(&self) -> Result<(), String> {
        for row in self.status()? {
            let state = row["state"].as_str().unwrap();
            holds(matches!(state, "fresh" | "absent"), row.to_string())?;
        }
        Ok(())
    }

    /// Each mode that uses the cache answers what CPython does. Gives the answer.
    pub fn answers_what_cpython_does(&self, what: &str) -> Vec<Answer> {
        let truth = self.truth();
        for mode in ["exact", "fast", "only"] {
            assert_eq!(self.answer(mode), truth, "mode {mode}, after {what}");
        }
        truth
    }

    /// Which watcher `status` names for each path entry that exists.
    pub fn watchers(&self) -> Vec<Value> {
        let mut rows = self.status().unwrap();
        rows.retain(|row| row["state"] != "absent");
        rows.iter()
            .map(|row| match row.get("watched") {
                Some(watched) => watched.clone(),
                None => panic!("no watched in {row}"),
            })
            .collect()
    }
}

/// Runs a command that prints one JSON object a line, at least one; else gives what it said.
fn json_lines(command: &mut Command) -> Result<Vec<Value>, String> {
    let output = process::finish(command.args(["--format", "jsonl"]));
    let rows: Vec<Value> = process::stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    holds(
        output.status.success() && !rows.is_empty(),
        format!("{command:?}: {output:?}"),
    )?;
    Ok(rows)
}

/// Compares answers with CPython's while things change.
pub struct Sampler<'w> {
    watched: &'w Watched<'w>,
    sys_path: Vec<PathBuf>,
    /// CPython's answers, one after the other, of the moments that were compared.
    pub answers: Vec<Vec<Answer>>,
    /// How many moments were compared: those in which CPython's answer was one and the same from
    /// before the first question to after the last.
    pub compared: usize,
}

impl<'w> Sampler<'w> {
    /// Takes `sys.path` to be what it is now.
    pub fn new(watched: &'w Watched<'w>) -> Self {
        Self {
            watched,
            sys_path: watched.sys_path(),
            answers: Vec::new(),
            compared: 0,
        }
    }

    /// Asks once in each mode: the answers are CPython's, unless that changed meanwhile.
    pub fn sample(&mut self, modes: &[&str]) {
        let Ok(before) = self.watched.try_truth(&self.sys_path) else {
            return;
        };
        let given: Vec<_> = modes
            .iter()
            .map(|mode| (mode, self.watched.answer(mode)))
            .collect();
        if self.watched.try_truth(&self.sys_path).as_ref() != Ok(&before) {
            return;
        }
        for (mode, answer) in given {
            assert_eq!(answer, before, "mode {mode}, moment {}", self.compared);
        }
        self.compared += 1;
        if self.answers.last() != Some(&before) {
            self.answers.push(before);
        }
    }
}

/// The values of the entry points that the dists whose names start so declare, sorted.
pub fn values_of<'a>(answer: &'a [Answer], dist: &str) -> Vec<&'a str> {
    let mut values: Vec<&str> = answer
        .iter()
        .filter(|entry| entry.metadata_dir.starts_with(dist))
        .map(|entry| entry.value.as_str())
        .collect();
    values.sort_unstable();
    values
}
