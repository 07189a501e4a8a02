//! What others may put in the way of a root that runs `epcache`: links in the place of what it
//! writes or reads, files that are exchanged while it looks, and input that grows when it is read.
//!
//! Each test is an attack that once worked, or nearly did.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use epcache_tests::environment::{
    Scratch, copy_tree, entries, files_below, mirror, named, set_mode, write_dist,
};
use epcache_tests::judge::{self, Entry};
use epcache_tests::mount::Mount;
use epcache_tests::process;
use epcache_tests::skip::skip;
use epcache_tests::user::{self, ALICE, BOB};
use epcache_tests::watcher::{PATIENCE, Watched, holds, wait_until};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Where Debian's packages go, which a system's sync looks at without being told.
const DIST_PACKAGES: &str = "usr/lib/python3/dist-packages";
/// A text that must not be found in what all may read.
const SECRET: &str = "top_secret";
/// The address space of a command whose input tries to make it grow: some hundred times what it
/// needs for a large environment.
const ADDRESS_SPACE_KIB: u64 = 3 << 20;
/// How long such a command may take, in a build without optimization on a busy machine. What is
/// quadratic in such input takes minutes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A scratch tree, where root runs this and there are other users.
fn scratch_of_root() -> Option<Scratch> {
    let scratch = Scratch::new();
    user::available(&scratch).then_some(scratch)
}

/// A path entry with one harmless dist.
fn installed(scratch: &Scratch, name: &str) -> PathBuf {
    let path_entry = scratch.path_entry(name);
    write_dist(
        &path_entry,
        "alpha-1.dist-info",
        Some("[g]\na = alpha:main\n"),
    );
    path_entry
}

/// `epcache sync` of a path entry into the scratch tree's cache, as a root for all.
fn publish(scratch: &Scratch, option: &str, path_entry: &Path) -> Output {
    process::finish(scratch.command("sync", &[path_entry]).arg(option))
}

/// The names and the contents of everything in a directory.
fn everything_in(directory: &Path) -> String {
    files_below(directory)
        .into_iter()
        .map(|file| {
            let content = fs::read(directory.join(&file)).unwrap();
            let content = String::from_utf8_lossy(&content).into_owned();
            format!("{}\n{content}\n", file.display())
        })
        .collect()
}

/// Everything below a directory, with who owns it, its mode and its times.
fn picture(directory: &Path) -> Vec<(PathBuf, u32, u32, i64, i64)> {
    walkdir::WalkDir::new(directory)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let stat = entry.metadata().unwrap();
            let path = entry.into_path();
            (
                path,
                stat.uid(),
                stat.mode(),
                stat.mtime(),
                stat.mtime_nsec(),
            )
        })
        .collect()
}

/// A command must refuse with status 2 and say of which path, and leave a directory alone.
fn refuses(command: &mut Command, path: &Path, untouched: &Path) {
    let before = picture(untouched);
    let output = process::expect_status(command, 2);
    let said = process::stderr(&output);
    let path = path.to_str().unwrap();
    assert!(said.contains(path), "{command:?} names {path}: {said}");
    assert_eq!(picture(untouched), before, "{command:?}");
}

fn values(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.value.as_str()).collect()
}

fn set_mtime(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// A time in the past, with a fraction of a second.
fn long_ago() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_500_000_000, 123_456_789)
}

#[test]
fn a_link_of_somebody_else_s_in_the_place_of_a_cache_root_is_neither_filled_nor_pruned() {
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let path_entry = installed(&scratch, "site-packages");
    // It belongs to root, and looks like mirrors whose path entries are gone.
    let victim = scratch.path_entry("victim");
    fs::create_dir_all(victim.join("important/empty")).unwrap();
    fs::create_dir(victim.join("keep")).unwrap();
    fs::write(victim.join("keep/notes.egg-info.txt"), "").unwrap();
    let home = ALICE.directory(&scratch, "home-of-alice");
    let link = home.join("cache/epcache");
    fs::create_dir(home.join("cache")).unwrap();
    symlink(&victim, &link).unwrap();
    ALICE.takes(&home.join("cache"));
    std::os::unix::fs::lchown(&link, Some(ALICE.0), Some(ALICE.0)).unwrap();

    // As with sudo, where it keeps HOME.
    let as_root_at_home = || epcache_tests::epcache(&home);
    refuses(as_root_at_home().arg("prune"), &link, &victim);
    let named = named(&[&path_entry]);
    refuses(as_root_at_home().arg("sync").args(&named), &link, &victim);
    for subcommand in ["sync", "prune"] {
        let mut command = scratch.epcache();
        command.arg(subcommand).arg("--cache-dir").arg(&link);
        if subcommand == "sync" {
            command.args(&named);
        }
        refuses(&mut command, &link, &victim);
    }
    let answer = entries(as_root_at_home().arg("query").args(&named));
    assert_eq!(answer, judge::entry_points(&[&path_entry]));
}

#[test]
fn a_link_of_somebody_else_s_above_a_cache_root_is_not_followed_to_write() {
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let path_entry = installed(&scratch, "site-packages");
    let victim = scratch.path_entry("victim");
    let home = ALICE.directory(&scratch, "home-of-alice");
    let link = home.join("cache");
    symlink(&victim, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(ALICE.0), Some(ALICE.0)).unwrap();
    let sync = || {
        let mut command = epcache_tests::epcache(&home);
        command.arg("sync").args(named(&[&path_entry]));
        command
    };
    refuses(&mut sync(), &link, &victim);

    // Nor one of root's, where its owner could put another in its place.
    std::os::unix::fs::lchown(&link, Some(0), Some(0)).unwrap();
    refuses(&mut sync(), &home, &victim);
}

#[test]
fn nothing_is_written_through_a_link_inside_a_cache_root() {
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let path_entry = installed(&scratch, "site-packages");
    let outside = scratch.path_entry("outside");
    let inside = mirror(&scratch.cache(), scratch.path());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    symlink(&outside, &inside).unwrap();
    for option in ["--user", "--system", "--vendor"] {
        let mut sync = scratch.command("sync", &[&path_entry]);
        refuses(sync.arg(option), &inside, &outside);
    }
    let expected = judge::entry_points(&[&path_entry]);
    assert_eq!(scratch.query(&[&path_entry]), expected);

    let elsewhere = outside.join("site-packages/beta-1.dist-info.txt");
    fs::create_dir(elsewhere.parent().unwrap()).unwrap();
    fs::write(&elsewhere, "no such distribution").unwrap();
    let mut repair = scratch.command("verify", &[&path_entry]);
    process::expect_status(repair.arg("--repair"), 2);
    assert!(elsewhere.exists(), "removed through the link");
}

/// A mirror lies where its path entry does, below the root: if that is `/`, it is the path entry.
#[test]
fn nothing_is_mirrored_into_a_path_entry_itself() {
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let path_entry = installed(&scratch, "site-packages");
    let link = scratch.join("link");
    symlink("/", &link).unwrap();
    let before = picture(scratch.path());
    for root in [Path::new("/"), &link] {
        for option in ["--user", "--system", "--vendor"] {
            let mut sync = scratch.epcache();
            sync.args(["sync", option, "--cache-dir"]).arg(root);
            let output = process::succeed(sync.args(named(&[&path_entry])));
            let said = process::stdout(&output);
            let why = "its mirror would be the path entry itself";
            assert!(said.starts_with("not cached\t"), "{sync:?}: {said}");
            assert!(said.contains(why), "{sync:?}: {said}");
            assert_eq!(picture(scratch.path()), before, "{sync:?}");
        }
        let mut prune = scratch.epcache();
        prune.args(["prune", "--dry-run", "--cache-dir"]).arg(root);
        let said = process::stderr(&process::expect_status(&mut prune, 2));
        assert!(said.contains("it is the whole file system"), "{said}");
    }
}

#[test]
fn links_in_an_image_do_not_lead_a_build_out_of_it() {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    installed(&scratch, &format!("image/{DIST_PACKAGES}"));
    let outside = scratch.path_entry("outside");
    fs::create_dir_all(outside.join("epcache/gone")).unwrap();
    fs::write(outside.join("epcache/gone/a-1.dist-info.txt"), "").unwrap();
    fs::create_dir_all(image.join("usr/share")).unwrap();
    fs::create_dir(image.join("var")).unwrap();
    symlink(&outside, image.join("var/cache")).unwrap();
    symlink(&outside, image.join("usr/share/epcache")).unwrap();

    let within = |arguments: &[&str]| {
        let mut command = scratch.epcache();
        command.args(arguments).arg("--root").arg(&image);
        command
    };
    let system = image.join("var/cache/epcache");
    let vendor = image.join("usr/share/epcache");
    refuses(&mut within(&["sync", "--system"]), &system, &outside);
    refuses(&mut within(&["sync", "--vendor"]), &vendor, &outside);
    refuses(
        &mut within(&["sync", "--vendor", "--seal"]),
        &vendor,
        &outside,
    );
    refuses(&mut within(&["prune"]), &system, &outside);
}

#[test]
fn a_link_to_a_private_file_is_published_in_no_root() {
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let path_entry = installed(&scratch, "site-packages");
    let private = scratch.join("private");
    fs::write(&private, format!("[g]\ns = {SECRET}:main\n")).unwrap();
    set_mode(&private, 0o600);
    let dist = write_dist(&path_entry, "link-1.dist-info", None);
    symlink(&private, dist.join("entry_points.txt")).unwrap();
    ALICE.takes(&path_entry);

    for options in [&["--system"][..], &["--vendor"], &["--vendor", "--seal"]] {
        process::succeed(scratch.command("sync", &[&path_entry]).args(options));
        let published = everything_in(&scratch.cache());
        assert!(published.contains("alpha"), "{options:?}: {published}");
        assert!(!published.contains(SECRET), "{options:?}: {published}");
        fs::remove_dir_all(scratch.cache()).unwrap();
    }
}

#[test]
fn what_the_kernel_tells_root_alone_is_not_published() {
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let path_entry = installed(&scratch, "site-packages");
    for (name, target, _) in KERNEL_FILES {
        if !Path::new(target).exists() {
            skip(&format!("a link to {target}: there is none here"));
            continue;
        }
        let dist = write_dist(&path_entry, &format!("{name}-1.dist-info"), None);
        symlink(target, dist.join("entry_points.txt")).unwrap();
    }
    ALICE.takes(&path_entry);
    for option in ["--system", "--vendor"] {
        let output = publish(&scratch, option, &path_entry);
        assert!(output.status.code().is_some_and(|code| code < 2));
        let published = everything_in(&scratch.cache());
        assert!(published.contains("alpha"), "{option}: {published}");
        for (_, target, words) in KERNEL_FILES {
            assert!(!published.contains(words), "{target}: {published}");
        }
    }
}

/// Files that all may open, and that tell each reader something else; with what they would tell us.
const KERNEL_FILES: [(&str, &str, &str); 2] = [
    ("memory", "/proc/self/maps", "[stack]"),
    ("ram", "/proc/iomem", "System RAM"),
];

#[test]
fn a_mode_that_denies_the_owner_or_the_group_is_private_too() {
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let path_entry = installed(&scratch, "site-packages");
    let of = |name: &str, mode: u32| {
        let text = format!("[g]\n{name} = {SECRET}_{name}:main\n");
        let dist = write_dist(&path_entry, &format!("{name}-1.dist-info"), Some(&text));
        let file = dist.join("entry_points.txt");
        chown(&file, Some(ALICE.0), Some(BOB.0)).unwrap();
        set_mode(&file, mode);
    };
    of("not_the_owner", 0o044);
    of("not_the_group", 0o604);
    let output = publish(&scratch, "--system", &path_entry);
    assert_eq!(output.status.code(), Some(0));
    let published = everything_in(&scratch.cache());
    assert!(!published.contains(SECRET), "{published}");

    // ALICE is the owner, whom 0044 denies; BOB is in the group, which 0604 denies.
    let ask = |user: user::User| {
        let mut query = user.epcache(&scratch);
        query.args(["query", "--cache-dir"]).arg(scratch.cache());
        entries(query.args(named(&[&path_entry])))
    };
    let told = |answer: &[Entry], name: &str| answer.iter().any(|entry| entry.name == name);
    for (user, hidden, readable) in [
        (ALICE, "not_the_owner", "not_the_group"),
        (BOB, "not_the_group", "not_the_owner"),
    ] {
        let answer = ask(user);
        assert!(told(&answer, "a"), "{user:?}: {answer:?}");
        assert!(told(&answer, readable), "{user:?}: {answer:?}");
        assert!(!told(&answer, hidden), "{user:?}: {answer:?}");
    }
}

/// Somebody who exchanges two names for each other all the time, for as long as this lives.
struct Swapping {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swapping {
    fn start(first: &Path, second: &Path, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (first, second) = (first.to_path_buf(), second.to_path_buf());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &first, CWD, &second, RenameFlags::EXCHANGE).unwrap();
                // No wait for anything: the pace of the attack.
                thread::sleep(pause);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Dists that all have the same text, so that each exchange of it can meet one of them.
fn many_dists_of(path_entry: &Path, text: &Path) {
    for number in 0..40 {
        let dist = write_dist(path_entry, &format!("d{number}-1.dist-info"), None);
        symlink(text, dist.join("entry_points.txt")).unwrap();
    }
}

#[test]
fn a_private_file_with_the_inode_number_of_a_public_one_is_not_taken_for_it() {
    /// More than a new tmpfs has files.
    const TRIES: usize = 64;
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let mounts =
        ["private", "public"].map(|name| Mount::tmpfs("mode=755", &scratch.path_entry(name)));
    let [Some(private), Some(public)] = &mounts else {
        skip("files with the same inode number: no file system can be mounted here");
        return;
    };
    let hidden = private.path().join("file");
    fs::write(&hidden, format!("[g]\ns = {SECRET}:main\n")).unwrap();
    set_mode(&hidden, 0o600);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let twin = (0..TRIES)
        .map(|number| public.path().join(number.to_string()))
        .find(|path| {
            fs::write(path, "[g]\np = public:main\n").unwrap();
            inode(path) == inode(&hidden)
        });
    let Some(twin) = twin else {
        skip("files with the same inode number: this tmpfs counts its files otherwise");
        return;
    };
    let path_entry = installed(&scratch, "site-packages");
    let (link, other) = (path_entry.join("link"), path_entry.join("other"));
    symlink(&twin, &link).unwrap();
    symlink(&hidden, &other).unwrap();
    many_dists_of(&path_entry, &link);
    ALICE.takes(&path_entry);

    let swapping = Swapping::start(&link, &other, Duration::from_micros(200));
    // Its two seconds and a half of waiting for the files to settle are the length of the race.
    publish(&scratch, "--system", &path_entry);
    drop(swapping);
    let published = everything_in(&scratch.cache());
    assert!(published.contains("alpha"), "{published}");
    assert!(!published.contains(SECRET), "{published}");
}

/// What a user has put in the way of root's sync, and what it is exchanged for again and again: a path
/// entry, a metadata directory and a METADATA for links to what is private, a text for a FIFO.
struct Traps {
    path_entry: PathBuf,
    swaps: [(PathBuf, PathBuf); 4],
}

impl Traps {
    /// What of the private is in the names of directories, and must not be published either.
    const HIDDEN_NAME: &str = "hidden_name";
    /// So many distributions meet each of the swaps.
    const EACH: usize = 10;

    fn set(scratch: &Scratch) -> Self {
        // Everybody may enter, but not these three.
        let private = scratch.path_entry("private");
        let text = format!("[g]\ns = {SECRET}:main\n");
        let named = format!("{}-1.dist-info", Self::HIDDEN_NAME);
        write_dist(&private.join("site-packages"), &named, Some(&text));
        set_mode(&private.join("site-packages"), 0o700);
        set_mode(&write_dist(&private, "one-1.dist-info", Some(&text)), 0o700);
        let metadata = private.join("METADATA");
        fs::write(&metadata, format!("Name: {}\n", Self::HIDDEN_NAME)).unwrap();
        set_mode(&metadata, 0o600);

        let home = scratch.path_entry("alice");
        let path_entry = installed(scratch, "alice/site-packages");
        write_dist(&home, "open-1.dist-info", Some("[g]\no = open:main\n"));
        let [directory, name, text, fifo] =
            ["open-1.dist-info", "NAME", "text", "fifo"].map(|name| home.join(name));
        fs::write(&name, "Name: open\n").unwrap();
        fs::write(&text, "[g]\nt = open:text\n").unwrap();
        process::succeed(Command::new("mkfifo").arg(&fifo));
        for number in 0..Self::EACH {
            symlink(
                &directory,
                path_entry.join(format!("d{number}-1.dist-info")),
            )
            .unwrap();
            let odd = write_dist(&path_entry, &format!("n{number}-1.DIST-INFO"), None);
            fs::remove_file(odd.join("METADATA")).unwrap();
            symlink(&name, odd.join("METADATA")).unwrap();
            let with_text = write_dist(&path_entry, &format!("t{number}-1.dist-info"), None);
            symlink(&text, with_text.join("entry_points.txt")).unwrap();
        }
        let evil = |name: &str, target: PathBuf| {
            let link = home.join(name);
            symlink(target, &link).unwrap();
            link
        };
        let swaps = [
            (
                path_entry.clone(),
                evil("evil-site", private.join("site-packages")),
            ),
            (
                directory,
                evil("evil-directory", private.join("one-1.dist-info")),
            ),
            (name, evil("evil-name", metadata)),
            (text, fifo),
        ];
        // Last, as making something in it is up to its owner from now on.
        ALICE.takes(&home);
        Self { path_entry, swaps }
    }

    fn spring(swaps: &[(PathBuf, PathBuf)]) -> Vec<Swapping> {
        let swap = |(first, second): &(PathBuf, PathBuf)| {
            Swapping::start(first, second, Duration::from_micros(150))
        };
        swaps.iter().map(swap).collect()
    }

    /// Puts the public things where they were.
    fn put_back(&self) {
        for (first, second) in &self.swaps {
            let is_evil = fs::symlink_metadata(first).unwrap().is_symlink()
                || !first.is_dir() && !first.is_file();
            if is_evil {
                renameat_with(CWD, first, CWD, second, RenameFlags::EXCHANGE).unwrap();
            }
        }
    }

    fn leave_no_trace_in(cache: &Path) {
        for file in files_below(cache) {
            // One that is replaced at this moment is seen at the next.
            let content = fs::read(cache.join(&file)).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            let name = file.display().to_string();
            for hidden in [SECRET, Self::HIDDEN_NAME] {
                assert!(!content.contains(hidden), "{name}: {content}");
                assert!(!name.contains(hidden), "{name}");
            }
        }
    }
}

#[test]
fn what_is_swapped_for_links_and_fifos_while_root_syncs_leaks_nothing_and_hangs_nothing() {
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let traps = Traps::set(&scratch);
    let private = picture(&scratch.join("private"));
    // A path entry that is swapped hides what is swapped in it, so each has a turn of its own.
    for swaps in [&traps.swaps[..1], &traps.swaps[1..], &traps.swaps] {
        let swapping = Traps::spring(swaps);
        let mut sync = scratch.command("sync", &[&traps.path_entry]);
        process::finish_within(sync.arg("--system"), DEADLINE);
        drop(swapping);
        Traps::leave_no_trace_in(&scratch.cache());
    }
    assert_eq!(picture(&scratch.join("private")), private);

    traps.put_back();
    let output = publish(&scratch, "--system", &traps.path_entry);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let published = everything_in(&scratch.cache());
    for public in ["alpha:main", "open:main", "open:text"] {
        assert!(published.contains(public), "{public}: {published}");
    }
    let expected = judge::entry_points(&[&traps.path_entry]);
    assert_eq!(scratch.query(&[&traps.path_entry]), expected);

    // Where the links stay, nothing is published either, and their owner is told nothing.
    for (first, second) in &traps.swaps[1..] {
        renameat_with(CWD, first, CWD, second, RenameFlags::EXCHANGE).unwrap();
    }
    publish(&scratch, "--system", &traps.path_entry);
    Traps::leave_no_trace_in(&scratch.cache());
    let mut query = ALICE.epcache(&scratch);
    query.args(["query", "--cache-dir"]).arg(scratch.cache());
    let told = entries(query.args(named(&[&traps.path_entry])));
    assert_eq!(values(&told), ["alpha:main"]);
}

#[test]
fn root_s_watcher_of_a_user_s_directory_leaks_nothing_and_goes_on() {
    const ATTACK: Duration = Duration::from_secs(3);
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let traps = Traps::set(&scratch);
    let watched = Watched::path_entries(&scratch, &[&traps.path_entry]);
    let mut watcher = watched.watch(&["--system"]);
    let swapping = Traps::spring(&traps.swaps[1..]);
    let start = Instant::now();
    let syncs = || watcher.count(&["synced"]);
    let before = syncs();
    while start.elapsed() < ATTACK {
        // So that the watcher looks again.
        let file = traps.path_entry.join("module.py");
        fs::write(&file, "").unwrap();
        fs::remove_file(file).unwrap();
        Traps::leave_no_trace_in(&scratch.cache());
    }
    drop(swapping);
    assert!(syncs() > before, "nothing was attacked: {}", watcher.log());
    Traps::leave_no_trace_in(&scratch.cache());
    traps.put_back();
    let text = "[g]\nl = later:main\n";
    write_dist(&traps.path_entry, "later-1.dist-info", Some(text));
    wait_until(PATIENCE, "synced after the attack", || {
        let answer = scratch.query_with(&[&traps.path_entry], &["--mode", "only"]);
        let known = values(&answer).contains(&"later:main");
        holds(known, format!("{answer:?}"))
    });
    let expected = judge::entry_points(&[&traps.path_entry]);
    assert_eq!(scratch.query(&[&traps.path_entry]), expected);
    Traps::leave_no_trace_in(&scratch.cache());
    watcher.stop();
}

#[test]
fn a_mirror_file_that_is_missing_is_made_again_from_what_is_public() {
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let path_entry = installed(&scratch, "site-packages");
    let public = path_entry.join("public");
    fs::write(&public, "[g]\np = public:main\n").unwrap();
    let private = scratch.join("private");
    fs::write(&private, format!("[g]\ns = {SECRET}:main\n")).unwrap();
    set_mode(&private, 0o600);
    let (link, other) = (path_entry.join("link"), path_entry.join("other"));
    symlink(&public, &link).unwrap();
    symlink(&private, &other).unwrap();
    many_dists_of(&path_entry, &link);
    ALICE.takes(&path_entry);
    publish(&scratch, "--system", &path_entry);
    let known = everything_in(&scratch.cache());
    assert!(known.contains("public:main"), "{known}");

    for file in files_below(&scratch.cache()) {
        if file.extension().is_some_and(|extension| extension == "txt") {
            fs::remove_file(scratch.cache().join(file)).unwrap();
        }
    }
    let swapping = Swapping::start(&link, &other, Duration::from_micros(200));
    publish(&scratch, "--system", &path_entry);
    drop(swapping);
    let published = everything_in(&scratch.cache());
    assert!(published.contains("alpha"), "{published}");
    assert!(!published.contains(SECRET), "{published}");
}

/// Runs a command that has little memory and little time; it must end by itself.
fn in_bounds(command: &Command) -> Output {
    let mut bounded = process::in_address_space(command, ADDRESS_SPACE_KIB);
    let output = process::finish_within(&mut bounded, DEADLINE);
    assert!(
        output.status.code().is_some_and(|code| code <= 2),
        "{command:?} ended with {:?}: {}",
        output.status,
        process::stderr(&output)
    );
    output
}

/// Everything that reads a path entry, in bounds; and what is beside it is answered, before a sync
/// and after.
fn is_answered_in_bounds(scratch: &Scratch, path_entry: &Path) {
    let beside = installed(scratch, "beside");
    let both = [path_entry, beside.as_path()];
    for subcommand in ["query", "sync", "query"] {
        let mut command = scratch.command(subcommand, &both);
        if subcommand == "query" {
            command.args(["g", "a"]);
        }
        let output = in_bounds(&command);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            process::stderr(&output)
        );
        if subcommand == "query" {
            let said = process::stdout(&output);
            assert!(said.starts_with("g\ta\talpha:main\t"), "{said}");
        }
    }
}

#[test]
fn a_small_text_whose_entries_all_repeat_a_long_group_is_left_out_in_bounded_memory() {
    const LONG: usize = 300_000;
    let scratch = Scratch::new();
    let path_entry = scratch.path_entry("site-packages");
    let text = format!("[{}]\n{}", "g".repeat(LONG), "=\n".repeat(LONG));
    write_dist(&path_entry, "growing-1.dist-info", Some(&text));
    is_answered_in_bounds(&scratch, &path_entry);
    let output = in_bounds(&scratch.command("query", &[&path_entry]));
    let said = process::stderr(&output);
    assert!(
        said.contains("growing-1.dist-info/entry_points.txt"),
        "{said}"
    );
}

#[test]
fn many_links_to_one_large_file_are_answered_in_bounded_memory() {
    const LINKS: usize = 400;
    const LARGE: u64 = 8 << 20;
    let scratch = Scratch::new();
    let path_entry = scratch.path_entry("site-packages");
    let large = scratch.join("large");
    // Not UTF-8, so that no test waits for a parser that is built without optimization.
    fs::write(&large, b"\xff").unwrap();
    let file = File::options().write(true).open(&large).unwrap();
    file.set_len(LARGE).unwrap();
    for number in 0..LINKS {
        let dist = path_entry.join(format!("d{number}-1.dist-info"));
        fs::create_dir(&dist).unwrap();
        fs::hard_link(&large, dist.join("entry_points.txt")).unwrap();
    }
    is_answered_in_bounds(&scratch, &path_entry);
}

#[test]
fn many_links_to_one_large_metadata_directory_are_synced_in_bounded_time() {
    const LINKS: usize = 2500;
    const FILES: usize = 50_000;
    let scratch = Scratch::new();
    let path_entry = installed(&scratch, "site-packages");
    let large = scratch.path_entry("large");
    for number in 0..FILES {
        File::create(large.join(number.to_string())).unwrap();
    }
    for number in 0..LINKS {
        symlink(&large, path_entry.join(format!("d{number}-1.dist-info"))).unwrap();
    }
    let mut sync = scratch.command("sync", &[&path_entry]);
    let output = process::finish_within(&mut sync, DEADLINE);
    assert!(output.status.success(), "{}", process::stderr(&output));
    let expected = judge::entry_points(&[&path_entry]);
    assert_eq!(scratch.query(&[&path_entry]), expected);
    assert_eq!(values(&expected), ["alpha:main"]);
}

#[test]
fn a_small_zip_with_very_deep_members_is_answered_in_bounded_memory() {
    const SCRIPT: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as archive:
    for number in range(4):
        archive.writestr(f'{number}/' + 'a/' * 32_000 + 'x', '')
        archive.writestr(f'd{number}-1.dist-info/' + 'a/' * 32_000 + 'x', '')
";
    let scratch = Scratch::new();
    let zip = scratch.join("deep.zip");
    process::succeed(
        Command::new(judge::python())
            .args(["-I", "-S", "-c", SCRIPT])
            .arg(&zip),
    );
    is_answered_in_bounds(&scratch, &zip);
}

#[test]
fn pruning_removes_nothing_but_mirrors_of_what_is_gone() {
    let scratch = Scratch::new();
    let gone = installed(&scratch, "gone/site-packages");
    let kept = installed(&scratch, "kept/site-packages");
    scratch.sync(&[&gone, &kept]);
    fs::remove_dir_all(scratch.join("gone")).unwrap();
    let cache = scratch.cache();
    fs::create_dir_all(cache.join("own/empty")).unwrap();
    fs::create_dir_all(cache.join("own/mail")).unwrap();
    fs::write(cache.join("own/mail/.index"), "of a mail program").unwrap();
    fs::write(cache.join("own/notes.txt"), "").unwrap();

    process::succeed(scratch.epcache().args(["prune", "--cache-dir"]).arg(&cache));

    assert!(!scratch.mirror(&scratch.join("gone")).exists());
    assert!(scratch.index(&kept).is_file());
    for path in ["own/empty", "own/mail/.index", "own/notes.txt"] {
        assert!(cache.join(path).exists(), "{path}");
    }
}

#[test]
fn two_who_prune_at_once_do_not_fail_because_of_each_other() {
    const MIRRORS: usize = 500;
    let scratch = Scratch::new();
    for number in 0..MIRRORS {
        let mirror = mirror(&scratch.cache(), &scratch.join(format!("gone/{number}")));
        fs::create_dir_all(&mirror).unwrap();
        fs::write(mirror.join("a-1.dist-info.txt"), "").unwrap();
    }
    set_mode(&scratch.cache(), 0o700);
    let prune = || {
        let mut prune = scratch.epcache();
        prune.args(["prune", "--cache-dir"]).arg(scratch.cache());
        process::succeed(&mut prune);
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(prune);
        }
    });
    assert_eq!(files_below(&scratch.cache()), [] as [PathBuf; 0]);
}

#[test]
fn a_broken_seal_vouches_for_nothing_also_where_the_index_can_not_be_read() {
    /// What becomes of the index, by its name.
    type Fault = (&'static str, fn(&Path));
    const FAULTS: [Fault; 5] = [
        ("as it was", |_| {}),
        ("of root alone", |index| set_mode(index, 0o600)),
        ("for a group to write", |index| set_mode(index, 0o664)),
        ("damaged", |index| fs::write(index, "x").unwrap()),
        ("of another version", |index| {
            let text = fs::read_to_string(index).unwrap();
            fs::write(index, text.replacen('1', "9", 1)).unwrap();
        }),
    ];
    let Some(scratch) = scratch_of_root() else {
        return;
    };
    let path_entry = installed(&scratch, &format!("image/{DIST_PACKAGES}"));
    let image = scratch.join("image");
    process::succeed(
        scratch
            .epcache()
            .args(["sync", "--vendor", "--seal", "--root"])
            .arg(&image),
    );
    // As by another build on top of it, which does not seal anew.
    let text = "[g]\na = alpha:new\n";
    write_dist(&path_entry, "alpha-1.dist-info", Some(text));
    set_mtime(&path_entry, long_ago());

    let root = image.join("usr/share/epcache");
    let index = root.join(DIST_PACKAGES).join(".index");
    let saved = scratch.join("saved");
    copy_tree(&index, &saved);
    for (what, damage) in FAULTS {
        damage(&index);
        for mut query in [scratch.epcache(), ALICE.epcache(&scratch)] {
            query
                .args(["query", "--root"])
                .arg(&image)
                .args(["--path", &format!("/{DIST_PACKAGES}")]);
            assert_eq!(values(&entries(&mut query)), ["alpha:new"], "{what}");
        }
        fs::remove_file(&index).unwrap();
        copy_tree(&saved, &index);
    }
}

#[test]
fn a_text_that_was_made_anew_behind_its_links_is_seen_whatever_its_inode_and_times_say() {
    let scratch = Scratch::new();
    let store = scratch.path_entry("store");
    let target = store.join("text");
    let make = |text: &str| {
        fs::write(&target, text).unwrap();
        set_mtime(&target, long_ago());
    };
    let path_entry = scratch.path_entry("site-packages");
    let hard = write_dist(&path_entry, "hard-1.dist-info", None).join("entry_points.txt");
    let soft = write_dist(&path_entry, "soft-1.dist-info", None).join("entry_points.txt");
    make("[g]\na=m:x\n");
    fs::hard_link(&target, &hard).unwrap();
    symlink(&target, &soft).unwrap();
    let before = scratch.sync(&[&path_entry]);
    assert_eq!(scratch.query(&[&path_entry]).len(), 2, "{before:?}");

    // All its names go first, so that many file systems give its inode to the next file.
    fs::remove_file(&target).unwrap();
    let time = fs::metadata(hard.parent().unwrap()).unwrap().modified();
    fs::remove_file(&hard).unwrap();
    make("[g]\nb=m:x\n");
    fs::hard_link(&target, &hard).unwrap();
    set_mtime(hard.parent().unwrap(), time.unwrap());

    let answer = scratch.query(&[&path_entry]);
    assert_eq!(answer, judge::entry_points(&[&path_entry]));
    assert!(answer.iter().all(|entry| entry.name == "b"), "{answer:?}");
}

#[test]
fn a_name_that_ends_in_a_capital_sigma_shadows_as_in_cpython() {
    let scratch = Scratch::new();
    let path_entries = ["first", "second"].map(|name| scratch.path_entry(name));
    // Before a hyphen a sigma is final, before a dot it is not: it matters which comes first, the
    // hyphens or the small letters.
    let names = ["ΑΣ", "ας", "ασ", "ΑΣ.Β", "ας_β", "ασ_β"];
    for (number, name) in names.into_iter().enumerate() {
        let text = format!("[g]\nn{number} = m{number}:x\n");
        let metadata_dir = format!("{name}-1.dist-info");
        write_dist(&path_entries[number % 2], &metadata_dir, Some(&text));
    }
    for order in [[0, 1], [1, 0]] {
        let sys_path = order.map(|number| path_entries[number].as_path());
        let expected = judge::entry_points(&sys_path);
        assert!(expected.len() < names.len(), "one shadows another");
        assert_eq!(scratch.query(&sys_path), expected, "before a sync");
        scratch.sync(&sys_path);
        assert_eq!(scratch.query(&sys_path), expected, "after it");
    }
}

#[test]
fn an_index_of_which_a_page_was_lost_changes_no_answer_and_is_healed() {
    const PAGE: usize = 4096;
    const DISTS: usize = 300;
    let scratch = Scratch::new();
    let path_entry = scratch.path_entry("site-packages");
    for number in 0..DISTS {
        let text = format!("[g{number}]\na = m:x\n[console_scripts]\nc{number} = m:x\n");
        write_dist(&path_entry, &format!("d{number}-1.dist-info"), Some(&text));
    }
    let expected = judge::entry_points(&[&path_entry]);
    scratch.sync(&[&path_entry]);
    let index = scratch.index(&path_entry);
    let whole = fs::read(&index).unwrap();
    // Neither the first page nor the last, whose loss a reader would see anyway.
    let pages = whole.len().div_ceil(PAGE);
    assert!(pages >= 3, "{} bytes", whole.len());
    for page in 1..pages - 1 {
        let mut damaged = whole.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0);
        fs::write(&index, damaged).unwrap();
        assert_eq!(scratch.query(&[&path_entry]), expected, "page {page}");
        for group in ["g7", "g99", "g150", "g290"] {
            let of_a_group = scratch.query_with(&[&path_entry], &[group]);
            assert_eq!(of_a_group.len(), 1, "page {page}, {group}");
        }
        scratch.sync(&[&path_entry]);
        assert_eq!(fs::read(&index).unwrap(), whole, "page {page} is healed");
    }
}
