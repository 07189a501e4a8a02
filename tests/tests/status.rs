//! What `epcache status` says of watchers, and what `epcache prune` leaves of them, from files that
//! are made as `docs/format.md` says.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use epcache_tests::environment::{Scratch, named, set_mode};
use epcache_tests::judge;
use epcache_tests::process;
use epcache_tests::user::{self, ALICE};
use rustix::fs::{FlockOperation, fcntl_lock};
use serde_json::{Value, json};

/// As a user, opens a file, has a lock on it, says so, and then does nothing. (Other users may not be
/// allowed to start the Python that there is.)
const HOLDER: &str = "\
import fcntl, os, sys
os.setuid(int(sys.argv[2]))
if sys.argv[3] == 'write':
    file = open(sys.argv[1], 'rb+')
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
else:
    file = open(sys.argv[1], 'rb')
    fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    # On the same file a second lock, of the kind for which reading is enough.
    other = open(sys.argv[1], 'rb')
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
print('locked', flush=True)
sys.stdin.read()
";

/// A process with a lock, until it is dropped.
struct Holder(Child);

impl Holder {
    fn start(user: u32, file: &Path, kind: &str) -> Self {
        let mut python = Command::new(judge::python());
        let python = python.args(["-c", HOLDER]).arg(file);
        let python = python.args([&user.to_string(), kind]);
        let python = python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Self(python.spawn().unwrap());
        let mut said = String::new();
        let mut stdout = BufReader::new(holder.0.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap(); // it waits for nothing before
        assert_eq!(said, "locked\n");
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The file of a watcher that keeps a path entry, without a lock.
fn announced(root: &Path, name: &str, how: &str, path_entry: &Path) -> PathBuf {
    let directory = root.join(".watchers");
    fs::create_dir_all(&directory).unwrap();
    for directory in [root, &directory] {
        set_mode(directory, 0o755);
    }
    let file = directory.join(name);
    let path_entry = path_entry.to_str().unwrap();
    fs::write(
        &file,
        format!("epcache-watcher 1\n{how} {path_entry}\nend\n"),
    )
    .unwrap();
    set_mode(&file, 0o644);
    file
}

/// A lock that this process holds until what it gives is dropped.
fn locked(file: &Path) -> File {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(file).unwrap();
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    file
}

/// The field `watched` of each path entry.
fn watched(status: &mut Command) -> Vec<Value> {
    let output = process::succeed(status.args(["--format", "json"]));
    let Value::Array(rows) = serde_json::from_slice(&output.stdout).unwrap() else {
        panic!("{}", process::stdout(&output));
    };
    rows.iter().map(|row| row["watched"].clone()).collect()
}

#[test]
fn status_shows_for_each_path_entry_how_a_watcher_keeps_it_current() {
    let scratch = Scratch::new();
    let [one, other] = ["one", "other"].map(|name| scratch.path_entry(name));
    let both = [one.as_path(), &other];
    let ask = || watched(&mut scratch.command("status", &both));
    assert_eq!(ask(), [Value::Null, Value::Null], "no root");
    scratch.sync(&both);
    assert_eq!(ask(), [Value::Null, Value::Null], "no watcher");
    let root = scratch.cache();
    announced(&root, "1-dead", "events", &one);
    assert_eq!(ask(), [Value::Null, Value::Null], "a dead watcher");

    let slow = locked(&announced(&root, "7-slow", "poll 60", &one));
    let polling = locked(&announced(&root, "7-polls", "poll 5", &one));
    let pid = std::process::id();
    let expected = json!({"pid": pid, "how": "poll", "seconds": 5});
    assert_eq!(ask(), [expected, Value::Null], "the kernel knows who");
    let plain = process::stdout(&process::succeed(&mut scratch.command("status", &both)));
    let lines: Vec<Vec<&str>> = plain
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let column: Vec<_> = lines.iter().map(|line| line[3]).collect();
    assert_eq!(column, ["every 5 s", "-"], "{plain}");

    let with_events = locked(&announced(&root, "7-events", "events", &one));
    let expected = json!({"pid": pid, "how": "events", "seconds": null});
    assert_eq!(ask(), [expected, Value::Null]);
    let off = watched(scratch.command("status", &both).args(["--mode", "off"]));
    assert_eq!(off, [Value::Null, Value::Null], "no cache is touched");

    drop((slow, polling, with_events));
    assert_eq!(ask(), [Value::Null, Value::Null], "all gone");
}

#[test]
fn in_an_image_a_path_entry_is_watched_by_its_name_there() {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    let path_entry = Path::new("/opt/site-packages");
    fs::create_dir_all(image.join("opt/site-packages")).unwrap();
    let root = image.join("var/cache/epcache");
    let _locked = locked(&announced(&root, "7-abc", "events", path_entry));
    let mut status = scratch.epcache();
    let status = status.arg("status").arg("--root").arg(&image);
    let found = watched(status.args(named(&[path_entry])));
    assert_eq!(found[0]["how"], "events");
}

#[test]
fn prune_removes_what_dead_watchers_left_and_leaves_those_that_live() {
    let scratch = Scratch::new();
    let path_entry = scratch.path_entry("lib");
    scratch.sync(&[&path_entry]);
    let root = scratch.cache();
    let dead = announced(&root, "1-dead", "events", &path_entry);
    let live = announced(&root, "7-live", "events", &path_entry);
    let lock = locked(&live);
    let prune = || {
        let mut prune = scratch.epcache();
        let prune = prune.args(["prune", "--cache-dir"]).arg(&root);
        process::stdout(&process::succeed(prune))
    };
    assert_eq!(prune(), format!("{}\n", dead.display()));
    assert!(live.exists());
    drop(lock);
    let directory = root.join(".watchers");
    let expected = format!("{}\n{}\n", live.display(), directory.display());
    assert_eq!(prune(), expected);
    assert!(scratch.index(&path_entry).exists());
}

#[test]
fn only_who_may_write_a_file_can_be_the_watcher_that_it_tells_of() {
    let scratch = Scratch::new();
    if !user::available(&scratch) {
        return;
    }
    let path_entry = scratch.path_entry("lib");
    let root = scratch.cache();
    let file = announced(&root, "1-dead", "events", &path_entry);
    let ask = || watched(&mut scratch.command("status", &[&path_entry]))[0].clone();
    let alices = Holder::start(ALICE.0, &file, "read");
    assert_eq!(ask(), Value::Null);
    drop(alices);

    let watcher = Holder::start(0, &file, "write");
    assert_eq!(ask()["pid"], watcher.0.id());
    let as_alice = || {
        let mut status = ALICE.epcache(&scratch);
        status.args(["status", "--cache-dir"]).arg(&root);
        watched(status.args(named(&[&path_entry])))[0].clone()
    };
    assert_eq!(as_alice()["how"], "events", "root is believed by all");
    drop(watcher);
    assert_eq!((ask(), as_alice()), (Value::Null, Value::Null), "killed");

    ALICE.takes(&root);
    let _watcher = Holder::start(ALICE.0, &file, "write");
    assert_eq!(as_alice()["how"], "events", "her own");
    assert_eq!(ask(), Value::Null, "root believes nobody else");
}
