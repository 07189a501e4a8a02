//! System calls, seen and cut short: the same command under `strace`.

use std::fs;
use std::process::{Command, Output};

use tempfile::NamedTempFile;

use crate::process;

/// Every call that asks or tells a file system something. `?` passes over a call that the
/// architecture does not have.
pub const FILE_SYSTEM: &str = "trace=%file,?read,?pread64,?readv,?preadv,?write,?pwrite64,?writev,\
    ?fstat,?getdents,?getdents64,?lseek,?close,?fsync,?fdatasync,?ftruncate,?fchmod,?fchown,\
    ?fallocate,?copy_file_range,?sendfile,?flock,?fstatfs,?syncfs,?fsetxattr,?fgetxattr";

/// One system call of a trace.
#[derive(Clone, Debug)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// The call's name.
    pub name: String,
    /// The whole line after the thread: name, arguments, result if it came at once.
    pub text: String,
}

impl Call {
    /// Whether it opens a file.
    pub fn is_open(&self) -> bool {
        matches!(self.name.as_str(), "open" | "openat" | "openat2")
    }

    /// Whether it asks for a file's metadata by path or descriptor.
    pub fn is_stat(&self) -> bool {
        matches!(
            self.name.as_str(),
            "stat" | "lstat" | "statx" | "newfstatat" | "fstatat64" | "fstat"
        )
    }

    /// Whether it changes something in a file system: writes, creates, renames, removes, or sets
    /// times or modes. An open counts if it may create or cut; what goes into a pipe does not.
    pub fn is_change(&self) -> bool {
        if self.text.contains("<pipe:") {
            return false;
        }
        match self.name.as_str() {
            name if self.is_open() || name == "creat" => {
                self.text.contains("O_CREAT") || self.text.contains("O_TRUNC") || name == "creat"
            }
            "write" | "pwrite64" | "writev" | "ftruncate" | "truncate" | "fchmod" | "chmod"
            | "fchmodat" | "fchown" | "chown" | "lchown" | "fchownat" | "rename" | "renameat"
            | "renameat2" | "unlink" | "unlinkat" | "rmdir" | "mkdir" | "mkdirat" | "link"
            | "linkat" | "symlink" | "symlinkat" | "mknod" | "mknodat" | "utime" | "utimes"
            | "futimesat" | "utimensat" | "fallocate" | "copy_file_range" => true,
            _ => false,
        }
    }

    /// Whether a path that contains `text` is among the arguments.
    pub fn touches(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

/// Whether there is an `strace` that may trace here; the reason why not otherwise.
pub fn available() -> Result<(), String> {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output();
    match tried {
        Err(error) => Err(format!("strace can't be started: {error}")),
        Ok(output) if !output.status.success() => Err(format!(
            "strace may not trace here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Ok(_) => Ok(()),
    }
}

/// Runs a command and gives every call of the `expression` (`trace=...`) that it made, in order,
/// descriptors shown with the path that they stand for.
pub fn trace(command: &Command, expression: &str) -> (Output, Vec<Call>) {
    let log = NamedTempFile::new().unwrap();
    let mut traced = under(
        command,
        &[
            "-f",
            "-y",
            "-qq",
            "-s",
            "4096",
            "-e",
            "signal=none",
            "-e",
            expression,
        ],
        log.path(),
    );
    let output = process::finish(&mut traced);
    let text = fs::read(log.path()).unwrap();
    (output, parse(&String::from_utf8_lossy(&text)))
}

/// The same, each call of that `name` a millisecond late, as on a file system that is far away.
pub fn trace_where_slow(command: &Command, name: &str) -> (Output, Vec<Call>) {
    trace(command, &format!("inject={name}:delay_enter=1000"))
}

/// Runs a command and kills it as it enters the `nth` call of that name (per thread), which is then not made.
pub fn kill_at(command: &Command, name: &str, nth: usize) -> Output {
    let inject = format!("inject={name}:signal=SIGKILL:when={nth}");
    let log = NamedTempFile::new().unwrap();
    let trace = format!("trace={name}");
    process::finish(&mut under(
        command,
        &["-f", "-qq", "-e", &trace, "-e", &inject],
        log.path(),
    ))
}

fn under(command: &Command, options: &[&str], log: &std::path::Path) -> Command {
    let mut traced = Command::new("strace");
    traced.args(options).arg("-o").arg(log).arg("--");
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        traced.current_dir(directory);
    }
    traced
}

fn parse(log: &str) -> Vec<Call> {
    log.lines().filter_map(parse_line).collect()
}

/// `1234 openat(AT_FDCWD</x>, "y", O_RDONLY) = 3</x/y>`; ends of interrupted calls and notes on
/// signals and exits are no calls.
fn parse_line(line: &str) -> Option<Call> {
    let (thread, text) = line.split_once(' ')?;
    let text = text.trim_start();
    let name = text.split('(').next()?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| Call {
        thread: thread.parse().unwrap_or(0),
        name: name.to_owned(),
        text: text.to_owned(),
    })
}
