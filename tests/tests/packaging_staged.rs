//! `epcache sync --vendor --root "$DESTDIR"` in the install step of a package: what it puts beside the
//! staged distributions, which is to be the same whoever builds, where, when and how.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, UNIX_EPOCH};

use epcache_tests::environment::{Scratch, entries, files_below, named, set_mode, write_dist};
use epcache_tests::judge::{self, Entry};
use epcache_tests::process::{self, stderr, stdout};
use epcache_tests::skip::{missing, skip};
use epcache_tests::strace;
use epcache_tests::user::{self, ALICE, User};

/// Where packages put distributions: Fedora's two, Debian's two, and those of a local build.
const PLACES: [&str; 6] = [
    "usr/lib/python3.12/site-packages",
    "usr/lib64/python3.12/site-packages",
    "usr/lib/python3/dist-packages",
    "usr/lib/python3.11/dist-packages",
    "usr/local/lib/python3.11/dist-packages",
    "usr/local/lib64/python3.12/site-packages",
];
/// Where the vendor root is.
const VENDOR: &str = "usr/share/epcache";
/// The time of the newest file of the sources, as `SOURCE_DATE_EPOCH` names it.
const SOURCE_DATE: u64 = 1_500_000_000;
/// Where a file system lists names in another order than most disks' do.
const ELSEWHERE: &str = "/dev/shm";

/// The distributions of a package, in the order in which they are put into the tree.
const DISTS: [(&str, Option<&str>); 4] = [
    (
        "alpha-1.0.dist-info",
        Some("[demo]\na = alpha:main\nb = alpha:other [x]\n"),
    ),
    (
        "Beta.Lib-2.egg-info",
        Some("[demo]\nbeta=beta:run\n\n[more]\nb = beta"),
    ),
    ("empty-3.dist-info", Some("")),
    ("quiet-4.dist-info", None),
];

/// Stages the distributions in each place. The times are those that careful installers give.
fn stage(destdir: &Path, backwards: bool) {
    let mut dists = DISTS;
    if backwards {
        dists.reverse();
    }
    for place in PLACES {
        for (metadata_dir, text) in dists {
            let directory = destdir.join(place).join(metadata_dir);
            write_dist(directory.parent().unwrap(), metadata_dir, text);
            for file in [directory.join("entry_points.txt"), directory] {
                if file.exists() {
                    set_mtime(&file);
                }
            }
        }
    }
}

fn set_mtime(path: &Path) {
    let time = UNIX_EPOCH + Duration::new(SOURCE_DATE, 123_456_789);
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// `epcache sync --vendor --root`.
fn sync(command: &mut Command, destdir: &Path) -> Output {
    process::finish(command.args(["sync", "--vendor", "--root"]).arg(destdir))
}

fn syncs(command: &mut Command, destdir: &Path) -> Output {
    let output = sync(command, destdir);
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// Of a file, the seconds and nanoseconds of its time, and what is in it.
type Content = (i64, i64, Vec<u8>);

/// Everything in the staged vendor root but the times of directories: names, modes, and of files the
/// times and the contents.
fn picture(destdir: &Path) -> Vec<(PathBuf, u32, Option<Content>)> {
    let root = destdir.join(VENDOR);
    walkdir::WalkDir::new(&root)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let stat = entry.metadata().unwrap();
            let path = entry.path();
            let file = stat
                .is_file()
                .then(|| (stat.mtime(), stat.mtime_nsec(), fs::read(path).unwrap()));
            let name = path.strip_prefix(&root).unwrap().to_owned();
            (name, stat.mode(), file)
        })
        .collect()
}

/// What CPython finds in the staged places, told as it will be when the package is installed.
fn judged(destdir: &Path) -> Vec<Vec<Entry>> {
    let inside = |place: &str| {
        let mut found = judge::entry_points(&[&destdir.join(place)]);
        for entry in &mut found {
            entry.path_entry = format!("/{place}");
        }
        found
    };
    PLACES.iter().map(|place| inside(place)).collect()
}

/// The payload of a package, as deterministic packers make it: sorted, root's, no time after that of
/// the sources.
fn payload(destdir: &Path) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--numeric-owner", "--clamp-mtime"])
        .arg(format!("--mtime=@{SOURCE_DATE}"))
        .args(["--owner=0", "--group=0", "-cf", "-", "-C"])
        .arg(destdir)
        .arg("usr");
    process::succeed(&mut tar).stdout
}

#[test]
fn each_staged_path_entry_gets_copies_and_nothing_else() {
    let scratch = Scratch::new();
    let destdir = scratch.path_entry("build/root");
    stage(&destdir, false);
    let said = stdout(&syncs(&mut scratch.epcache(), &destdir));
    for place in PLACES {
        assert!(said.contains(&format!("\t/{place}\n")), "{place}: {said}");
    }

    let mut expected: Vec<PathBuf> = PLACES
        .iter()
        .flat_map(|place| {
            DISTS.map(|(metadata_dir, _)| Path::new(place).join(format!("{metadata_dir}.txt")))
        })
        .collect();
    expected.sort();
    let root = destdir.join(VENDOR);
    assert_eq!(files_below(&root), expected, "no index, nothing left over");
    let build = scratch.path().as_os_str().as_encoded_bytes();
    for file in &expected {
        let copy = root.join(file);
        let metadata_dir = destdir.join(file.with_extension(""));
        let source = metadata_dir.join("entry_points.txt");
        let (text, of) = match source.exists() {
            true => (fs::read(&source).unwrap(), source),
            false => (Vec::new(), metadata_dir),
        };
        let found = fs::read(&copy).unwrap();
        assert_eq!(found, text, "{}", copy.display());
        assert!(!found.windows(build.len()).any(|part| part == build));
        let time = |path: &Path| {
            let stat = fs::metadata(path).unwrap();
            (stat.mtime(), stat.mtime_nsec())
        };
        assert_eq!(time(&copy), time(&of), "{}", copy.display());
    }
    for (name, mode, file) in picture(&destdir) {
        let expected = if file.is_some() { 0o644 } else { 0o755 };
        assert_eq!(mode & 0o7777, expected, "{}", name.display());
    }
    let answers = PLACES.map(|place| {
        let mut query = scratch.epcache();
        query.args(["query", "--root"]).arg(&destdir);
        entries(query.args(["--path", &format!("/{place}")]))
    });
    let judged = judged(&destdir);
    assert_eq!(answers.to_vec(), judged);
    assert_eq!(judged[0].len(), 4);
}

/// Stages a copy of a tree under a umask, and syncs it under the same, as a user or as root.
fn stages_and_syncs(umask: &str, command: &Command, user: Option<User>, tree: &Path, to: &Path) {
    const SCRIPT: &str = "cp -R --no-preserve=mode --preserve=timestamps \"$1\" \"$2\" &&
        exec \"$0\" sync --vendor --root \"$2\"";
    let output = process::finish(as_under(umask, SCRIPT, command, user).arg(tree).arg(to));
    assert!(
        output.status.success(),
        "umask {umask}: {}",
        stderr(&output)
    );
    assert_eq!(stderr(&output), "", "umask {umask}");
}

/// A script under a umask. Its `$0` is the command, whose environment it has.
fn as_under(umask: &str, script: &str, command: &Command, user: Option<User>) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("umask {umask} && {script}")]);
    shell.arg(command.get_program()).current_dir("/");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(User(number)) = user {
        shell.uid(number).gid(number);
    }
    shell
}

#[test]
fn neither_the_umask_nor_the_user_nor_the_environment_shows_in_what_is_built() {
    let scratch = Scratch::new();
    if !user::available(&scratch) {
        return;
    }
    let tree = scratch.path_entry("tree");
    stage(&tree, false);
    let built = scratch.path_entry("built");
    stage(&built, true);
    syncs(&mut scratch.epcache(), &built);
    let expected = picture(&built);
    assert_eq!(expected.iter().filter(|it| it.2.is_some()).count(), 24);

    for umask in ["000", "002", "022", "027", "077"] {
        let to = ALICE
            .directory(&scratch, &format!("alice-{umask}"))
            .join("root");
        let alice = ALICE.epcache(&scratch);
        stages_and_syncs(umask, &alice, Some(ALICE), &tree, &to);
        assert_eq!(picture(&to), expected, "a user's umask {umask}");
    }
    for umask in ["000", "002", "022", "077"] {
        let to = scratch.path_entry(&format!("root-{umask}"));
        stage(&to, false);
        let mut command = scratch.epcache();
        command
            .env("EPCACHE_MODE", "off")
            .env("EPCACHE_PATH", scratch.join("elsewhere"))
            .env("VIRTUAL_ENV", scratch.join("venv"))
            .env("TZ", "Pacific/Kiritimati")
            .env("LC_ALL", "C");
        let script = "exec \"$0\" sync --vendor --root \"$1\"";
        process::succeed(as_under(umask, script, &command, None).arg(&to));
        assert_eq!(picture(&to), expected, "root's umask {umask}");
    }
    assert!(!scratch.join("elsewhere").exists());
}

#[test]
fn what_root_staged_for_itself_alone_is_not_published_and_that_is_said() {
    let scratch = Scratch::new();
    if !user::available(&scratch) {
        return;
    }
    let destdir = scratch.path_entry("root");
    stage(&destdir, false);
    let closed = destdir.join("usr/lib/python3");
    set_mode(&closed, 0o700);
    let output = syncs(&mut scratch.epcache(), &destdir);
    let said = stderr(&output);
    let path = closed.join("dist-packages");
    let warning = format!("warning: {}: not everybody may read", path.display());
    assert!(said.contains(&warning), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let published = files_below(&destdir.join(VENDOR));
    assert_eq!(published.len(), (PLACES.len() - 1) * DISTS.len());
    assert!(!published.iter().any(|file| file.starts_with(PLACES[2])));
}

#[test]
fn two_builds_are_byte_identical_wherever_and_in_whatever_order_they_were_staged() {
    let scratch = Scratch::new();
    let first = scratch.path_entry("a");
    stage(&first, false);
    syncs(&mut scratch.epcache(), &first);
    let expected = payload(&first);
    assert!(expected.len() > 10_000, "{} bytes", expected.len());

    let second = scratch.path_entry("some/where/else/of/another/length");
    stage(&second, true);
    syncs(&mut scratch.epcache(), &second);
    syncs(&mut scratch.epcache(), &second);
    assert!(payload(&second) == expected, "staged backwards");

    if !Path::new(ELSEWHERE).is_dir() {
        return skip(&format!("a build on another file system: no {ELSEWHERE}"));
    }
    let elsewhere = Scratch::within(Path::new(ELSEWHERE));
    let third = elsewhere.path_entry("root");
    stage(&third, true);
    let listing = |destdir: &Path| -> Vec<_> {
        let children = fs::read_dir(destdir.join(PLACES[0])).unwrap();
        children.map(|child| child.unwrap().file_name()).collect()
    };
    if listing(&third) == listing(&first) {
        skip("a build where names are listed in another order: here they are not");
    }
    syncs(&mut scratch.epcache(), &third);
    assert!(payload(&third) == expected, "on another file system");
}

#[test]
fn under_fakeroot_the_payload_is_the_same() {
    let scratch = Scratch::new();
    if !user::available(&scratch) {
        return;
    }
    if Command::new("fakeroot").arg("true").output().is_err() {
        return missing("there is no fakeroot (Debian: fakeroot)");
    }
    let tree = scratch.path_entry("tree");
    stage(&tree, false);
    let expected = {
        let built = scratch.path_entry("built");
        stage(&built, false);
        syncs(&mut scratch.epcache(), &built);
        payload(&built)
    };
    // As `dpkg-buildpackage -rfakeroot`: staged, synced and packed by somebody who seems to be root.
    const SCRIPT: &str = "exec fakeroot sh -c '
        cp -R --preserve=timestamps \"$1\" \"$2\" &&
        \"$0\" sync --vendor --root \"$2\" >&2 &&
        exec tar --sort=name --numeric-owner --clamp-mtime \"--mtime=@$3\" -cf - -C \"$2\" usr
        ' \"$0\" \"$@\"";
    let to = ALICE.directory(&scratch, "alice").join("root");
    let mut build = as_under("022", SCRIPT, &ALICE.epcache(&scratch), Some(ALICE));
    build.arg(&tree).arg(&to).arg(SOURCE_DATE.to_string());
    let output = process::succeed(&mut build);
    assert!(output.stdout == expected, "{}", stderr(&output));
    let owner = fs::metadata(to.join(VENDOR)).unwrap().uid();
    assert_eq!(owner, ALICE.0, "nobody was root");
}

#[test]
fn a_package_without_python_gets_nothing_and_hears_nothing() {
    let scratch = Scratch::new();
    let destdir = scratch.path_entry("root");
    fs::create_dir_all(destdir.join("usr/lib/python3.12/lib-dynload")).unwrap();
    fs::write(destdir.join("usr/bin-program"), "").unwrap();
    let before = files_below(&destdir);
    let output = syncs(&mut scratch.epcache(), &destdir);
    assert_eq!(stdout(&output) + &stderr(&output), "");
    assert_eq!(files_below(&destdir), before);
    assert!(!destdir.join("usr/share").exists());

    let verbose = syncs(scratch.epcache().arg("-v"), &destdir);
    assert!(stderr(&verbose).contains("no site directory found"));
    // An image is another matter: something is to be sealed.
    let mut seal = scratch.epcache();
    seal.args(["sync", "--vendor", "--seal", "--root"]);
    let sealing = process::succeed(seal.arg(&destdir));
    assert!(stderr(&sealing).contains("warning: no site directory"));

    // A directory for modules alone is none of distributions.
    fs::create_dir_all(destdir.join(PLACES[0])).unwrap();
    fs::write(destdir.join(PLACES[0]).join("module.py"), "").unwrap();
    let output = syncs(&mut scratch.epcache(), &destdir);
    assert_eq!(stderr(&output), "");
    assert!(!destdir.join("usr/share").exists());
}

#[test]
fn a_destdir_that_is_not_there_is_an_error() {
    let scratch = Scratch::new();
    for destdir in ["", "none", "/none/at/all"] {
        let output = sync(
            scratch.epcache().current_dir(scratch.path()),
            Path::new(destdir),
        );
        assert_eq!(output.status.code(), Some(2), "{destdir:?}");
        let said = stderr(&output);
        assert!(said.contains("--root"), "{destdir:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{destdir:?}: {said}");
    }
}

#[test]
fn the_line_by_hand_makes_the_same_file() {
    let scratch = Scratch::new();
    let destdir = scratch.path_entry("root");
    let metadata_dir = write_dist(
        &destdir.join(PLACES[2]),
        "alpha-1.0.dist-info",
        Some("[demo]\na = alpha:main\n"),
    );
    set_mtime(&metadata_dir.join("entry_points.txt"));
    // As in docs/packagers.md.
    const LINE: &str = "install -Dpm644 \
        \"$1/usr/lib/python3/dist-packages/alpha-1.0.dist-info/entry_points.txt\" \
        \"$1/usr/share/epcache/usr/lib/python3/dist-packages/alpha-1.0.dist-info.txt\"";
    process::succeed(
        Command::new("sh")
            .args(["-c", &format!("umask 022 && {LINE}"), "sh"])
            .arg(&destdir),
    );
    let by_hand = picture(&destdir);
    let said = stdout(&syncs(&mut scratch.epcache(), &destdir));
    assert_eq!(
        said,
        "unchanged\t1\t0\t0\t\t/usr/lib/python3/dist-packages\n"
    );
    fs::remove_dir_all(destdir.join(VENDOR)).unwrap();
    syncs(&mut scratch.epcache(), &destdir);
    assert_eq!(picture(&destdir), by_hand);
}

#[test]
fn what_is_staged_anew_is_copied_anew_and_what_is_gone_goes() {
    let scratch = Scratch::new();
    let destdir = scratch.path_entry("root");
    stage(&destdir, false);
    syncs(&mut scratch.epcache(), &destdir);
    let place = destdir.join(PLACES[2]);
    fs::remove_dir_all(place.join("quiet-4.dist-info")).unwrap();
    let text = "[demo]\na = alpha:new_\nb = alpha:other [x]\n";
    // Of the same length and time as before.
    let metadata_dir = write_dist(&place, "alpha-1.0.dist-info", Some(text));
    set_mtime(&metadata_dir.join("entry_points.txt"));
    syncs(&mut scratch.epcache(), &destdir);
    let mirror = destdir.join(VENDOR).join(PLACES[2]);
    assert_eq!(
        fs::read_to_string(mirror.join("alpha-1.0.dist-info.txt")).unwrap(),
        text
    );
    assert_eq!(files_below(&mirror).len(), DISTS.len() - 1);

    // As rpm's and dpkg's tools do, if they build a package once more in the same place.
    let mut query = scratch.epcache();
    query.args(["query", "--root"]).arg(&destdir);
    let answer = entries(query.args(named(&[&Path::new("/").join(PLACES[2])])));
    assert_eq!(answer, judged(&destdir)[2]);
}

#[test]
fn links_out_of_the_tree_are_not_copied() {
    let scratch = Scratch::new();
    let destdir = scratch.path_entry("root");
    let outside = scratch.path_entry("outside");
    write_dist(
        &outside,
        "host-1.dist-info",
        Some("[demo]\nh = of_the_host:main\n"),
    );
    let place = destdir.join(PLACES[0]);
    write_dist(
        &place,
        "alpha-1.0.dist-info",
        Some("[demo]\na = alpha:main\n"),
    );
    let text = outside.join("host-1.dist-info/entry_points.txt");
    let linked = write_dist(&place, "linked-1.dist-info", None);
    symlink(&text, linked.join("entry_points.txt")).unwrap();
    symlink(
        outside.join("host-1.dist-info"),
        place.join("host-1.dist-info"),
    )
    .unwrap();
    // As `/usr/lib64 -> /usr/lib`, absolute, seen from outside.
    fs::create_dir_all(destdir.join("usr/lib/python3")).unwrap();
    symlink(&outside, destdir.join(PLACES[2])).unwrap();

    let output = syncs(&mut scratch.epcache(), &destdir);
    assert!(stderr(&output).contains("leads out of the given root"));
    let said = stdout(&output);
    let not_cached = "not cached\t0\t0\t0\tleads out of the given root directory, left out";
    assert!(said.contains(not_cached), "{said}");
    let root = destdir.join(VENDOR);
    let published = files_below(&root);
    for file in &published {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(!text.contains("of_the_host"), "{}", file.display());
    }
    let expected = Path::new(PLACES[0]).join("alpha-1.0.dist-info.txt");
    assert_eq!(published, [expected]);
}

#[test]
fn more_places_are_named_inside_the_tree_and_not_by_the_builder() {
    let scratch = Scratch::new();
    let destdir = scratch.path_entry("root");
    for place in ["opt/app/site", "opt/other/site"] {
        let text = Some("[demo]\na = alpha:main\n");
        write_dist(&destdir.join(place), "alpha-1.0.dist-info", text);
    }
    let configure = |directory: PathBuf, place: &str| {
        fs::create_dir_all(&directory).unwrap();
        let text = format!("[system]\npath-entries = {place}\n");
        fs::write(directory.join("epcache.ini"), text).unwrap();
    };
    configure(scratch.home().join("config/epcache"), "/opt/other/site");
    configure(destdir.join("etc/epcache"), "/opt/app/site");
    let said = stdout(&syncs(&mut scratch.epcache(), &destdir));
    assert_eq!(said, "refreshed\t1\t1\t0\t\t/opt/app/site\n");
}

#[test]
fn no_program_is_started_and_no_module_is_opened() {
    let scratch = Scratch::new();
    if let Err(reason) = strace::available() {
        return missing(&format!("looking for started programs: {reason}"));
    }
    let destdir = scratch.path_entry("root");
    stage(&destdir, false);
    let place = destdir.join(PLACES[0]);
    for module in ["sitecustomize.py", "alpha.py", "evil.pth"] {
        fs::write(place.join(module), "import os; os.abort()\n").unwrap();
    }
    for option in [&["--vendor"][..], &["--vendor", "--seal"], &["--system"]] {
        let mut command = scratch.epcache();
        command.arg("sync").args(option).arg("--root").arg(&destdir);
        let (output, calls) = strace::trace(&command, "trace=%file,%process");
        assert!(output.status.success(), "{}", stderr(&output));
        let started = calls.iter().filter(|call| call.name.starts_with("execve"));
        assert_eq!(started.count(), 1, "{option:?}: the command itself");
        let forked = |name: &str| name.ends_with("fork") || name.starts_with("clone");
        let threads = |text: &str| text.contains("CLONE_THREAD");
        let child = calls
            .iter()
            .find(|call| forked(&call.name) && !threads(&call.text));
        assert!(child.is_none(), "{option:?}: {child:?}");
        for module in [".py\"", ".pth\""] {
            let opened = calls.iter().find(|call| call.touches(module));
            assert!(opened.is_none(), "{option:?}: {opened:?}");
        }
        let copied = calls.iter().any(|call| call.touches("alpha-1.0.dist-info"));
        assert!(copied, "{option:?}: the trace shows what is looked at");
    }
}
