//! What watchers say of themselves, with real processes: only the kernel tells one process of the
//! locks of another.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use epcache::watchers::{Announcement, How, Running, running};
use epcache::{Error, Root, RootKind, prune};
use tempfile::TempDir;

/// The longest that a child is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What tells a child its root.
const ROOT: &str = "EPCACHE_TEST_WATCHERS_ROOT";

/// How often something is done while something else goes on.
const OFTEN: usize = 2000;

fn user_root(scratch: &TempDir) -> Root {
    Root {
        path: scratch.path().join("cache"),
        kind: RootKind::User,
    }
}

fn events(path_entry: &str) -> (OsString, How) {
    (path_entry.into(), How::Events)
}

/// The files of watchers.
fn files(root: &Root) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(root.path.join(".watchers")) else {
        return Vec::new();
    };
    listed.map(|child| child.unwrap().path()).collect()
}

/// A process that holds an announcement: this program, with nothing but [`watcher`] to do.
struct Watcher {
    child: Child,
    answers: Receiver<String>,
}

impl Watcher {
    fn start(root: &Root) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "watcher", "--ignored", "--nocapture"])
            .env(ROOT, &root.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (answer, answers) = mpsc::channel();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| answer.send(line))
        });
        Self { child, answers }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn order(&mut self, order: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    fn expect(&mut self, order: &str) {
        self.order(order);
        assert_eq!(self.answers.recv_timeout(PATIENCE).as_deref(), Ok("done"));
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// No test: what a [`Watcher`] does. An order is a word and a path entry.
#[test]
#[ignore = "the child of other tests"]
fn watcher() {
    let Some(path) = std::env::var_os(ROOT) else {
        return;
    };
    let root = Root {
        path: path.into(),
        kind: RootKind::User,
    };
    let mut announcement = Announcement::new(&root, None);
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (order, path_entry) = line.split_once(' ').unwrap();
        match order {
            "say" => announcement.say(&[events(path_entry)]).unwrap(),
            "change" => {
                for number in 0..OFTEN {
                    let path_entry = format!("{path_entry}{number}");
                    announcement.say(&[events(&path_entry)]).unwrap();
                }
            }
            "insist" => {
                for _ in 0..OFTEN {
                    // The directory is removed meanwhile; the last word counts.
                    announcement.say(&[events(path_entry)]).ok();
                }
            }
            "look" => {
                assert_eq!(running(&root).len(), 1);
                assert!(prune::root(&root, None, false).unwrap().removed.is_empty());
            }
            _ => drop(std::mem::replace(
                &mut announcement,
                Announcement::new(&root, None),
            )),
        }
        eprintln!("done");
    }
}

#[test]
fn a_watcher_runs_until_it_is_killed_and_what_it_left_is_removed() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    assert_eq!(running(&root), []);
    assert!(!root.path.exists(), "to look makes nothing");
    let mut watcher = Watcher::start(&root);
    watcher.expect("say /a");
    let expected = Running {
        pid: watcher.pid(),
        kept: vec![events("/a")],
    };
    assert_eq!(running(&root), [expected]);
    assert!(prune::root(&root, None, false).unwrap().removed.is_empty());
    let directory = root.path.join(".watchers");
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    let [file] = files(&root).try_into().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);

    watcher.kill();
    assert_eq!(running(&root), []);
    assert!(file.exists());
    let mut other = Announcement::new(&root, None);
    other.say(&[events("/b")]).unwrap();
    assert!(!file.exists(), "the next one tidies up");
    assert_eq!(files(&root).len(), 1);
    drop(other);
    assert_eq!(files(&root), [] as [PathBuf; 0], "taken back");
}

#[test]
fn pruning_removes_what_dead_watchers_left_and_the_directory_with_the_last() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    let mut first = Watcher::start(&root);
    first.expect("say /a");
    let mut second = Watcher::start(&root);
    second.expect("say /b");
    let [dead] = files(&root)
        .into_iter()
        .filter(|file| fs::read_to_string(file).unwrap().contains("/a\n"))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    first.kill();
    let prune = |dry_run| prune::root(&root, None, dry_run).unwrap().removed;
    assert_eq!(prune(true), [dead.as_path()]);
    assert!(dead.exists());
    assert_eq!(prune(false), [dead]);
    assert_eq!(running(&root).len(), 1);

    second.expect("end now");
    assert_eq!(prune(false), [root.path.join(".watchers")]);
    assert!(root.path.exists());
}

#[test]
fn two_watchers_of_one_root_both_count() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    let mut watchers = [Watcher::start(&root), Watcher::start(&root)];
    let mut own = Announcement::new(&root, None);
    own.say(&[events("/a")]).unwrap();
    let mut pids = vec![std::process::id()];
    for watcher in &mut watchers {
        watcher.expect("say /a");
        pids.push(watcher.pid());
    }
    let mut found: Vec<_> = running(&root).iter().map(|watcher| watcher.pid).collect();
    pids.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, pids);
}

#[test]
fn a_watcher_that_says_something_else_is_seen_all_the_while() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    let mut watcher = Watcher::start(&root);
    watcher.expect("say /a");
    watcher.order("change /a");
    let end = Instant::now() + PATIENCE;
    for turn in 0.. {
        if watcher.answers.try_recv().is_ok() {
            break;
        }
        assert_ne!(running(&root), []);
        if turn % 16 == 0 {
            // Who tidies up meanwhile does no harm either.
            Announcement::new(&root, None).say(&[]).unwrap();
        }
        assert!(Instant::now() < end);
    }
    let last = format!("/a{}", OFTEN - 1);
    assert_eq!(running(&root)[0].kept, [events(&last)]);
    assert_eq!(files(&root).len(), 1);
}

#[test]
fn a_watcher_that_looks_at_the_root_itself_keeps_its_lock() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    let mut watcher = Watcher::start(&root);
    watcher.expect("say /a");
    watcher.expect("look now");
    assert_eq!(running(&root).len(), 1);
}

#[test]
fn the_directory_may_be_removed_at_any_moment() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    let mut watcher = Watcher::start(&root);
    let directory = root.path.join(".watchers");
    watcher.expect("say /a");
    for removed in [&directory, &root.path] {
        fs::remove_dir_all(removed).unwrap();
        assert_eq!(running(&root), []);
        watcher.expect("say /a");
        assert_eq!(running(&root).len(), 1, "said again");
    }
    watcher.order("insist /a");
    let end = Instant::now() + PATIENCE;
    while watcher.answers.try_recv().is_err() {
        fs::remove_dir_all(&directory).ok();
        assert!(Instant::now() < end);
    }
    watcher.expect("say /a");
    assert_eq!(running(&root).len(), 1);
}

#[test]
fn what_says_the_same_again_is_not_written_again() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    let mut announcement = Announcement::new(&root, None);
    announcement.say(&[events("/a")]).unwrap();
    let first = files(&root);
    announcement.say(&[events("/a")]).unwrap();
    assert_eq!(files(&root), first);
    announcement.say(&[events("/b")]).unwrap();
    assert_ne!(files(&root), first);
}

#[test]
fn a_hostile_name_says_nothing_of_another_path_entry() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    let hostile: [&[u8]; 6] = [
        b"/a\nevents /b",
        b"/a\nend",
        b"/\xff",
        b"",
        b"relative",
        b"/a/../b",
    ];
    let mut kept: Vec<_> = hostile
        .iter()
        .map(|name| (OsStr::from_bytes(name).to_owned(), How::Events))
        .collect();
    kept.push((
        "/poll 5 /end".into(),
        How::Polled(Duration::from_secs(3600)),
    ));
    let mut announcement = Announcement::new(&root, None);
    announcement.say(&kept).unwrap();
    // As other processes read it.
    let [file] = files(&root).try_into().unwrap();
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text, "epcache-watcher 1\npoll 3600 /poll 5 /end\nend\n");
}

#[test]
fn what_others_could_have_written_or_is_damaged_is_no_watcher() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    let mut watcher = Watcher::start(&root);
    watcher.expect("say /a");
    let [file] = files(&root).try_into().unwrap();
    let directory = root.path.join(".watchers");
    for (path, mode) in [(&file, 0o600), (&directory, 0o700), (&root.path, 0o700)] {
        let set = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for bits in [0o020, 0o002] {
            set(mode | bits);
            assert_eq!(running(&root), [], "{} {bits:o}", path.display());
            set(mode);
        }
        assert_eq!(running(&root).len(), 1);
        if chown(path, Some(12_345), None).is_ok() {
            assert_eq!(running(&root), [], "{} of another user", path.display());
            chown(path, Some(0), None).unwrap();
        }
    }
    let moved = scratch.path().join("moved");
    for path in [&file, &directory] {
        fs::rename(path, &moved).unwrap();
        symlink(&moved, path).unwrap();
        assert_eq!(running(&root), [], "{} is a link", path.display());
        fs::remove_file(path).unwrap();
        fs::rename(&moved, path).unwrap();
        assert_eq!(running(&root).len(), 1);
    }
    let good = fs::read(&file).unwrap();
    let long = [b"x".repeat(1 << 20), good.clone()].concat();
    for damage in [
        b"".as_slice(),
        &good[1..],
        b"epcache-watcher 1\nevents /\xff\nend\n",
        &long,
    ] {
        fs::write(&file, damage).unwrap();
        assert_eq!(running(&root), [], "{} bytes", damage.len());
        assert!(prune::root(&root, None, false).unwrap().removed.is_empty());
    }
    fs::write(&file, good).unwrap();
    assert_eq!(running(&root).len(), 1);
}

#[test]
fn something_in_the_way_is_an_error_that_names_it() {
    let scratch = tempfile::tempdir().unwrap();
    let root = user_root(&scratch);
    fs::create_dir(&root.path).unwrap();
    let directory = root.path.join(".watchers");
    let refused = || {
        let error = Announcement::new(&root, None).say(&[events("/a")]);
        error.unwrap_err().to_string()
    };
    fs::write(&directory, "").unwrap();
    assert!(refused().starts_with(directory.to_str().unwrap()));
    fs::remove_file(&directory).unwrap();
    symlink(scratch.path(), &directory).unwrap();
    assert!(refused().starts_with(directory.to_str().unwrap()));
    fs::remove_file(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused().contains("0777"));
    fs::remove_dir(&directory).unwrap();
    fs::set_permissions(&root.path, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(
        Announcement::new(&root, None).say(&[]),
        Err(Error::NotTrusted { .. })
    ));
    assert_eq!(fs::read_dir(&root.path).unwrap().count(), 0);
}

#[test]
fn the_system_root_tells_only_of_what_everybody_could_have_read() {
    let scratch = tempfile::tempdir().unwrap();
    let within = scratch.path();
    let root = Root {
        path: within.join("var/cache/epcache"),
        kind: RootKind::System,
    };
    for (name, mode) in [
        ("public", 0o755),
        ("private", 0o700),
        ("private/inner", 0o755),
    ] {
        let directory = within.join(name);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut announcement = Announcement::new(&root, Some(within));
    let names = ["/public", "/private", "/private/inner", "/missing"];
    let said = |announcement: &mut Announcement| {
        announcement.say(&names.map(events)).unwrap();
        running(&root)[0].kept.clone()
    };
    assert_eq!(said(&mut announcement), [events("/public")]);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&root.path.join(".watchers")), 0o755);
    assert_eq!(mode(&files(&root)[0]), 0o644);

    fs::create_dir(within.join("missing")).unwrap();
    let public = fs::Permissions::from_mode(0o755);
    fs::set_permissions(within.join("missing"), public).unwrap();
    let both = [events("/public"), events("/missing")];
    assert_eq!(said(&mut announcement), both, "it has appeared");
}
