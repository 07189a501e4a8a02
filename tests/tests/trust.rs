//! Whose files are believed, and who is told what: never what another user could have written, and
//! nothing that the asker could not have read.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use epcache_tests::environment::{
    Scratch, copy_tree, entries, files_below, mode, named, set_mode, write_dist,
};
use epcache_tests::judge::{self, Entry};
use epcache_tests::process;
use epcache_tests::skip::{missing, skip};
use epcache_tests::strace::{self, FILE_SYSTEM};
use epcache_tests::user::{self, ALICE, BOB};
use epcache_tests::watcher::{PATIENCE, holds, wait_until};

/// Where Debian's packages go, which a system's sync looks at without being told.
const DIST_PACKAGES: &str = "usr/lib/python3/dist-packages";
/// Texts that must not be found in what all may read.
const SECRET: &str = "top_secret";

fn installed(scratch: &Scratch) -> PathBuf {
    let path_entry = scratch.path_entry("lib/site-packages");
    write_dist(
        &path_entry,
        "alpha-1.dist-info",
        Some("[g]\na = alpha:main\n"),
    );
    write_dist(
        &path_entry,
        "bravo-1.dist-info",
        Some("[g]\nb = bravo:main\n"),
    );
    write_dist(&path_entry, "quiet-1.dist-info", None);
    path_entry
}

/// What the cache alone answers: mode `only` never looks at a path entry.
fn from_the_cache(command: &mut Command, cache: &Path, path_entry: &Path) -> Vec<Entry> {
    entries(
        command
            .args(["query", "--mode", "only", "--cache-dir"])
            .arg(cache)
            .args(named(&[path_entry])),
    )
}

fn exactly(command: &mut Command, cache: &Path, path_entry: &Path) -> Vec<Entry> {
    entries(
        command
            .args(["query", "--cache-dir"])
            .arg(cache)
            .args(named(&[path_entry])),
    )
}

#[test]
fn what_others_may_write_is_not_believed_and_status_tells_why() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let expected = judge::entry_points(&[&path_entry]);
    let index = scratch.index(&path_entry);
    for bits in [0o020, 0o002] {
        scratch.sync(&[&path_entry]);
        let ask = || from_the_cache(&mut scratch.epcache(), &scratch.cache(), &path_entry);
        assert_eq!(ask(), expected, "the cache answers while it is trusted");
        let mirror_files: Vec<PathBuf> = files_below(&scratch.cache())
            .into_iter()
            .map(|file| scratch.cache().join(file))
            .collect();
        assert!(mirror_files.contains(&index));
        for file in &mirror_files {
            set_mode(file, mode(file) | bits);
        }
        assert_eq!(ask(), [], "files with the bits {bits:o}");
        assert_eq!(scratch.query(&[&path_entry]), expected);
        let verbose = process::finish(scratch.command("query", &[&path_entry]).arg("-v"));
        let note = format!("note: {}: not trusted", index.display());
        assert!(process::stderr(&verbose).contains(&note), "{verbose:?}");
        let status = scratch
            .command("status", &[&path_entry])
            .args(["--format", "jsonl"])
            .output();
        let said = process::stdout(&status.unwrap());
        assert!(said.contains("writ") || said.contains("trust"), "{said}");
        fs::remove_dir_all(scratch.cache()).unwrap();

        scratch.sync(&[&path_entry]);
        assert_eq!(ask(), expected);
        set_mode(&scratch.cache(), 0o700 | bits);
        assert_eq!(ask(), [], "a root with the bits {bits:o}");
        assert_eq!(scratch.query(&[&path_entry]), expected);
        fs::remove_dir_all(scratch.cache()).unwrap();
    }
}

#[test]
fn an_index_that_someone_else_owns_is_not_believed() {
    let scratch = Scratch::new();
    if !user::available(&scratch) {
        return;
    }
    let path_entry = installed(&scratch);
    let expected = judge::entry_points(&[&path_entry]);
    scratch.sync(&[&path_entry]);
    forge(&scratch.index(&path_entry));
    ALICE.takes(&scratch.index(&path_entry));
    assert_eq!(scratch.query(&[&path_entry]), expected);
    let fast = ["--mode", "fast"];
    assert_eq!(scratch.query_with(&[&path_entry], &fast), expected);
    let mut by_name = from_the_cache(&mut scratch.epcache(), &scratch.cache(), &path_entry);
    by_name.sort();
    let mut true_ones = expected.clone();
    true_ones.sort();
    assert_eq!(
        by_name, true_ones,
        "the mirror files are still ours, and say what is true, if not in which order"
    );

    forge(&scratch.mirror(&path_entry).join("alpha-1.dist-info.txt"));
    ALICE.takes(&scratch.cache());
    assert_eq!(scratch.query(&[&path_entry]), expected);
    assert_eq!(
        from_the_cache(&mut scratch.epcache(), &scratch.cache(), &path_entry),
        [],
        "nothing here is ours"
    );
}

/// Makes a file of the cache tell a lie of the same length.
fn forge(file: &Path) {
    let text = String::from_utf8(fs::read(file).unwrap()).unwrap();
    let forged = text.replace("alpha:main", "evils:main");
    assert_ne!(forged, text);
    fs::write(file, forged).unwrap();
}

#[test]
fn root_ignores_a_user_s_cache_and_a_user_another_user_s() {
    let scratch = Scratch::new();
    if !user::available(&scratch) {
        return;
    }
    let path_entry = installed(&scratch);
    let expected = judge::entry_points(&[&path_entry]);
    let cache = ALICE.directory(&scratch, "cache-of-alice");
    process::succeed(
        ALICE
            .epcache(&scratch)
            .args(["sync", "--cache-dir"])
            .arg(&cache)
            .args(named(&[&path_entry])),
    );
    assert_eq!(
        from_the_cache(&mut ALICE.epcache(&scratch), &cache, &path_entry),
        expected,
        "it is hers"
    );
    // Whether others may read it is not what keeps them from believing it.
    process::succeed(Command::new("chmod").args(["-R", "a+rX"]).arg(&cache));
    for (who, command) in [
        ("root", &mut scratch.epcache()),
        ("another user", &mut BOB.epcache(&scratch)),
    ] {
        assert_eq!(from_the_cache(command, &cache, &path_entry), [], "{who}");
    }
    forge(&epcache_tests::environment::mirror(&cache, &path_entry).join(".index"));
    ALICE.takes(&cache);
    for (who, command) in [
        ("root", &mut scratch.epcache()),
        ("another user", &mut BOB.epcache(&scratch)),
    ] {
        assert_eq!(exactly(command, &cache, &path_entry), expected, "{who}");
    }
}

#[test]
fn a_user_s_root_is_for_that_user_alone() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    for option in [None, Some("--user")] {
        process::succeed(
            scratch
                .epcache()
                .arg("sync")
                .args(option)
                .args(named(&[&path_entry])),
        );
        let root = scratch.join("home/cache/epcache");
        assert_eq!(mode(&root), 0o700);
        let index = epcache_tests::environment::mirror(&root, &path_entry).join(".index");
        assert!(index.is_file());
        fs::remove_dir_all(&root).unwrap();
    }
}

/// A file system with one public and several private distributions, for `--root`.
struct Image {
    scratch: Scratch,
}

impl Image {
    fn new() -> Self {
        let scratch = Scratch::new();
        let path_entry = scratch.path_entry(&format!("image/{DIST_PACKAGES}"));
        write_dist(
            &path_entry,
            "alpha-1.dist-info",
            Some("[g]\na = alpha:main\n"),
        );
        write_dist(&path_entry, "quiet-1.dist-info", None);
        Self { scratch }
    }

    fn directory(&self) -> PathBuf {
        self.scratch.join("image")
    }

    /// The path entry, as it is found from outside.
    fn path_entry(&self) -> PathBuf {
        self.directory().join(DIST_PACKAGES)
    }

    fn sync(&self, options: &[&str]) {
        process::succeed(
            self.scratch
                .epcache()
                .arg("sync")
                .args(options)
                .arg("--root")
                .arg(self.directory()),
        );
    }

    fn question(directory: &Path) -> Vec<OsString> {
        vec![
            "query".into(),
            "--root".into(),
            directory.into(),
            "--path".into(),
            format!("/{DIST_PACKAGES}").into(),
        ]
    }

    fn query(&self) -> Vec<Entry> {
        entries(
            self.scratch
                .epcache()
                .args(Self::question(&self.directory())),
        )
    }

    /// What CPython finds here, told as from inside.
    fn judged(&self) -> Vec<Entry> {
        judged_inside(&self.directory())
    }

    /// The files below the system's cache root that hold `text`, and all their names.
    fn published(&self) -> String {
        let root = self.directory().join("var/cache/epcache");
        files_below(&root)
            .into_iter()
            .map(|file| {
                let content = fs::read(root.join(&file)).unwrap();
                format!(
                    "{}\n{}\n",
                    file.display(),
                    String::from_utf8_lossy(&content)
                )
            })
            .collect()
    }
}

fn judged_inside(directory: &Path) -> Vec<Entry> {
    judge::entry_points(&[&directory.join(DIST_PACKAGES)])
        .into_iter()
        .map(|entry| Entry {
            path_entry: format!("/{DIST_PACKAGES}"),
            ..entry
        })
        .collect()
}

#[test]
fn the_system_root_is_for_all_and_answers_all() {
    let image = Image::new();
    if !user::available(&image.scratch) {
        return;
    }
    image.sync(&["--system"]);
    let expected = image.judged();
    assert_eq!(expected.len(), 1);
    let mirror = image
        .directory()
        .join("var/cache/epcache")
        .join(DIST_PACKAGES);
    for file in [".index", "alpha-1.dist-info.txt", "quiet-1.dist-info.txt"] {
        assert_eq!(
            mode(&mirror.join(file)) & 0o022,
            0,
            "{file}: root alone writes"
        );
        assert_eq!(mode(&mirror.join(file)) & 0o444, 0o444, "{file}: all read");
    }
    fs::rename(image.path_entry(), image.scratch.join("aside")).unwrap();
    let mut question = Image::question(&image.directory());
    question.extend(["--mode".into(), "only".into()]);
    for (who, command) in [
        ("root", &mut image.scratch.epcache()),
        ("a user", &mut ALICE.epcache(&image.scratch)),
    ] {
        assert_eq!(entries(command.args(&question)), expected, "{who}");
    }
}

#[test]
fn the_system_root_publishes_nothing_that_some_may_not_read() {
    let image = Image::new();
    if !user::available(&image.scratch) {
        return;
    }
    let path_entry = image.path_entry();
    let secret = |name: &str| {
        let text = format!("[g]\n{name} = {SECRET}_{name}:main\n");
        write_dist(&path_entry, &format!("{name}-1.dist-info"), Some(&text))
    };
    set_mode(&secret("file").join("entry_points.txt"), 0o600);
    set_mode(&secret("directory"), 0o700);
    // What a group may read is not what all may read.
    set_mode(&secret("group").join("entry_points.txt"), 0o640);
    let behind = image.scratch.join("image/private.txt");
    fs::write(&behind, format!("[g]\nlink = {SECRET}_link:main\n")).unwrap();
    set_mode(&behind, 0o600);
    let link = write_dist(&path_entry, "link-1.dist-info", None);
    symlink(&behind, link.join("entry_points.txt")).unwrap();
    let closed = image.scratch.join("image/closed");
    fs::create_dir(&closed).unwrap();
    fs::write(
        closed.join("public.txt"),
        format!("[g]\nin = {SECRET}_in:main\n"),
    )
    .unwrap();
    set_mode(&closed, 0o700);
    let link = write_dist(&path_entry, "inside-1.dist-info", None);
    symlink(closed.join("public.txt"), link.join("entry_points.txt")).unwrap();

    image.sync(&["--system"]);

    let published = image.published();
    assert!(published.contains("alpha:main"), "{published}");
    assert!(!published.contains(SECRET), "{published}");
    let expected = image.judged();
    assert_eq!(expected.len(), 1 + 5, "root may read them all");
    assert_eq!(image.query(), expected);
    let as_alice = entries(
        ALICE
            .epcache(&image.scratch)
            .args(Image::question(&image.directory())),
    );
    let values: Vec<&str> = as_alice.iter().map(|entry| entry.value.as_str()).collect();
    assert_eq!(values, ["alpha:main"], "a user is told what they may read");
}

#[test]
fn what_becomes_private_is_withdrawn_from_the_system_root() {
    let image = Image::new();
    if !user::available(&image.scratch) {
        return;
    }
    let text = format!("[g]\ns = {SECRET}:main\n");
    let dist = write_dist(&image.path_entry(), "soon-1.dist-info", Some(&text));
    image.sync(&["--system"]);
    assert!(image.published().contains(SECRET), "it is public as yet");
    set_mode(&dist.join("entry_points.txt"), 0o600);
    image.sync(&["--system"]);
    assert!(!image.published().contains(SECRET), "{}", image.published());
    assert_eq!(image.query(), image.judged());
}

#[test]
fn nothing_of_a_private_path_entry_or_below_a_private_directory_is_published() {
    for private in [DIST_PACKAGES, "usr/lib/python3", "usr/lib"] {
        let image = Image::new();
        if !user::available(&image.scratch) {
            return;
        }
        let text = format!("[g]\ns = {SECRET}:main\n");
        write_dist(&image.path_entry(), "secretive-1.dist-info", Some(&text));
        set_mode(&image.directory().join(private), 0o700);
        image.sync(&["--system"]);
        let published = image.published();
        assert!(
            !published.contains(SECRET),
            "{private} is 0700: {published}"
        );
        assert!(
            !published.contains("secretive"),
            "{private} is 0700: {published}"
        );
        assert_eq!(image.query(), image.judged(), "{private} is 0700");
        let question = Image::question(&image.directory());
        assert_eq!(entries(ALICE.epcache(&image.scratch).args(question)), []);
    }
}

/// The opens of a query, of sources and of mirror files.
fn opens(command: &Command) -> (Vec<Entry>, usize, usize, usize) {
    let (output, calls) = strace::trace(command, FILE_SYSTEM);
    assert!(output.status.success(), "{}", process::stderr(&output));
    let opened = |what: &str| {
        calls
            .iter()
            .filter(|call| call.is_open() && !call.touches("O_PATH") && call.touches(what))
            .filter(|call| !call.touches("ENOENT"))
            .count()
    };
    (
        epcache_tests::environment::parse_json(&output.stdout),
        opened("entry_points.txt\""),
        opened(".dist-info.txt\""),
        opened(".index\""),
    )
}

fn traced_question(scratch: &Scratch, directory: &Path) -> Command {
    let mut command = scratch.epcache();
    command
        .args(Image::question(directory))
        .args(["--format", "json"]);
    command
}

/// The path entry and the metadata directories of a package as an OS package installs them.
fn shipped() -> Image {
    let image = Image::new();
    let source = image
        .path_entry()
        .join("alpha-1.dist-info/entry_points.txt");
    let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    File::options()
        .write(true)
        .open(source)
        .unwrap()
        .set_modified(time)
        .unwrap();
    image
}

#[test]
fn a_vendor_root_holds_copies_with_the_source_s_time_and_no_index() {
    let image = shipped();
    image.sync(&["--vendor"]);
    let mirror = image
        .directory()
        .join("usr/share/epcache")
        .join(DIST_PACKAGES);
    assert_eq!(
        files_below(&mirror),
        ["alpha-1.dist-info.txt", "quiet-1.dist-info.txt"].map(PathBuf::from)
    );
    for file in files_below(&mirror) {
        assert_eq!(mode(&mirror.join(file)), 0o644);
    }
    let source = image
        .path_entry()
        .join("alpha-1.dist-info/entry_points.txt");
    let copy = mirror.join("alpha-1.dist-info.txt");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&source).unwrap());
    let time = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.mtime(), metadata.mtime_nsec())
    };
    assert_eq!(time(&copy), time(&source));
    assert_eq!(fs::read(mirror.join("quiet-1.dist-info.txt")).unwrap(), b"");
}

#[test]
fn a_vouched_mirror_file_is_read_instead_of_its_source_where_the_path_entry_is_root_s() {
    let image = shipped();
    if !user::available(&image.scratch) {
        return;
    }
    if let Err(reason) = strace::available() {
        missing(&format!("counting opened files: {reason}"));
        return;
    }
    // As packages come: the path entry holds one that has no mirror file, too.
    image.sync(&["--vendor"]);
    write_dist(
        &image.path_entry(),
        "local-1.dist-info",
        Some("[g]\nl = local:main\n"),
    );

    let question = traced_question(&image.scratch, &image.directory());
    let (answer, sources, mirror_files, _) = opens(&question);
    assert_eq!(answer, image.judged());
    assert_eq!(answer.len(), 2);
    assert_eq!(sources, 1, "that of the one that nobody vouches for");
    assert!(mirror_files >= 1, "the vouched copy is read");

    ALICE.takes(&image.path_entry());
    let (answer, sources, _, _) = opens(&question);
    assert_eq!(answer, image.judged());
    assert_eq!(sources, 2, "nobody can vouch for what a user may write");
}

/// As after a copy that wrote the tree in another order: the mirror file is right, and not believed.
#[test]
fn a_vendor_sync_writes_a_mirror_file_again_that_is_older_than_its_source() {
    let image = shipped();
    let source = image
        .path_entry()
        .join("alpha-1.dist-info/entry_points.txt");
    let mirror = image
        .directory()
        .join("usr/share/epcache")
        .join(DIST_PACKAGES);
    let copy = mirror.join("alpha-1.dist-info.txt");
    let stat = |path: &Path| fs::metadata(path).unwrap();
    let changed = |path: &Path| (stat(path).ctime(), stat(path).ctime_nsec());
    image.sync(&["--vendor"]);
    wait_until(PATIENCE, "the clock goes on", || {
        set_mode(&source, 0o644);
        holds(changed(&source) > changed(&copy), "the same change time")
    });
    image.sync(&["--vendor"]);
    assert!(changed(&copy) >= changed(&source), "not written again");
    // The change time of one with other links can be that of a link that was made or removed.
    fs::hard_link(&copy, image.scratch.join("other")).unwrap();
    image.sync(&["--vendor"]);
    assert_eq!(stat(&copy).nlink(), 1, "not written again");

    let inode = stat(&copy).ino();
    image.sync(&["--vendor"]);
    assert_eq!(stat(&copy).ino(), inode, "nothing was to be done");
}

#[test]
fn a_mirror_file_in_the_vendor_root_that_is_not_root_s_vouches_for_nothing() {
    let image = shipped();
    if !user::available(&image.scratch) {
        return;
    }
    image.sync(&["--vendor"]);
    let mirror = image
        .directory()
        .join("usr/share/epcache")
        .join(DIST_PACKAGES);
    let copy = mirror.join("alpha-1.dist-info.txt");
    forge(&copy);
    ALICE.takes(&copy);
    assert_eq!(image.query(), image.judged());
}

#[test]
fn a_sealed_index_is_believed_wherever_the_image_is_taken() {
    let image = shipped();
    if !user::available(&image.scratch) {
        return;
    }
    if let Err(reason) = strace::available() {
        missing(&format!("counting opened files: {reason}"));
        return;
    }
    image.sync(&["--vendor", "--seal"]);
    let index = image
        .directory()
        .join("usr/share/epcache")
        .join(DIST_PACKAGES)
        .join(".index");
    assert!(index.is_file());
    assert_eq!(mode(&index), 0o644);

    let copied = image.scratch.join("copied");
    copy_tree(&image.directory(), &copied);
    let unpacked = image.scratch.join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let archive = image.scratch.join("image.tar");
    process::succeed(
        Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(image.directory())
            .arg("."),
    );
    process::succeed(
        Command::new("tar")
            .arg("-xpf")
            .arg(&archive)
            .arg("-C")
            .arg(&unpacked),
    );
    for directory in [image.directory(), copied.clone(), unpacked] {
        sealed_answers(&image.scratch, &directory);
    }

    // Another second: what was sealed is not what is here.
    let path_entry = copied.join(DIST_PACKAGES);
    write_dist(
        &path_entry,
        "late-1.dist-info",
        Some("[g]\nl = late:main\n"),
    );
    let later = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::open(&path_entry)
        .unwrap()
        .set_modified(later)
        .unwrap();
    let (answer, ..) = opens(&traced_question(&image.scratch, &copied));
    assert_eq!(answer, judged_inside(&copied));
    assert_eq!(answer.len(), 2);
}

/// Right, and from the index alone.
fn sealed_answers(scratch: &Scratch, directory: &Path) {
    let (answer, sources, mirror_files, indexes) = opens(&traced_question(scratch, directory));
    let place = directory.display();
    assert_eq!(answer, judged_inside(directory), "{place}");
    assert_eq!((sources, mirror_files, indexes), (0, 0, 1), "{place}");
}

#[test]
fn a_sealed_index_is_believed_on_a_squashfs() {
    let image = shipped();
    if !user::available(&image.scratch) {
        return;
    }
    if let Err(reason) = strace::available() {
        missing(&format!("counting opened files: {reason}"));
        return;
    }
    image.sync(&["--vendor", "--seal"]);
    let squashed = image.scratch.join("image.squashfs");
    let made = Command::new("mksquashfs")
        .arg(image.directory())
        .arg(&squashed)
        .args(["-quiet", "-no-progress"])
        .output();
    if !made.is_ok_and(|output| output.status.success()) {
        skip("a sealed image as squashfs: no mksquashfs here");
        return;
    }
    let target = image.scratch.path_entry("mounted");
    let mounted = Command::new("mount")
        .args(["-o", "loop,ro"])
        .arg(&squashed)
        .arg(&target)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        skip("a sealed image as squashfs: it can't be mounted here");
        return;
    }
    let asked = std::panic::catch_unwind(|| sealed_answers(&image.scratch, &target));
    process::succeed(Command::new("umount").arg("--lazy").arg(&target));
    if let Err(failure) = asked {
        std::panic::resume_unwind(failure);
    }
}
