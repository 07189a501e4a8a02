//! Images, and what runs from them: trees whose files all have one time (as OSTree and Nix make them),
//! and squashfs. Each step is compared with CPython.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use epcache_tests::environment::{self, Scratch, entries, is_root, write_dist};
use epcache_tests::judge::{self, Entry};
use epcache_tests::mount::Mount;
use epcache_tests::process::{self, stderr, stdout};
use epcache_tests::skip::{missing, skip};
use epcache_tests::strace::{self, FILE_SYSTEM};

/// Where Debian's packages go.
const DIST_PACKAGES: &str = "usr/lib/python3/dist-packages";
/// Where Nix puts an environment: each has a path of its own, which is never another's.
const STORE: &str = "nix/store/0c1q-python3-3.12-env/lib/python3.12/site-packages";
/// Longer than a file system's change times stand still: a tick of the kernel's clock is at most 10 ms.
const TICK: Duration = Duration::from_millis(20);
/// The time of the newest source of an image, as `SOURCE_DATE_EPOCH` names it.
const SOURCE_DATE: u64 = 1_500_000_000;

/// The root directory of an image, with one path entry, as it is seen from outside.
struct Image<'s> {
    scratch: &'s Scratch,
    directory: PathBuf,
    path_entry: &'static str,
}

impl<'s> Image<'s> {
    /// One with three distributions.
    fn new(scratch: &'s Scratch, name: &str, path_entry: &'static str) -> Self {
        let image = Self {
            scratch,
            directory: scratch.path_entry(name),
            path_entry,
        };
        image.install("alpha-1.dist-info", Some("[g]\na = alpha:main\n"));
        image.install("bravo-1.dist-info", Some("[g]\nb = bravo:main\n"));
        image.install("quiet-1.egg-info", None);
        image
    }

    /// The same image at another place.
    fn at(&self, directory: PathBuf) -> Self {
        Self { directory, ..*self }
    }

    fn install(&self, metadata_dir: &str, text: Option<&str>) {
        write_dist(&self.location(), metadata_dir, text);
    }

    /// Another content for one of the distributions, with the size and the time of the one before,
    /// and with a later change time.
    fn rebuild_alpha(&self) {
        thread::sleep(TICK);
        let metadata_dir = self.location().join("alpha-1.dist-info");
        fs::remove_dir_all(&metadata_dir).ok(); // in a layer of its own there is none
        self.install("alpha-1.dist-info", Some("[g]\na = alpha:niam\n"));
        set_all_times(&metadata_dir, 0);
    }

    fn has_rebuilt_alpha(&self) -> bool {
        let found = self.query();
        found.iter().any(|entry| entry.value == "alpha:niam")
    }

    fn location(&self) -> PathBuf {
        self.directory.join(self.path_entry)
    }

    fn index(&self) -> PathBuf {
        let root = self.directory.join("usr/share/epcache");
        root.join(self.path_entry).join(".index")
    }

    /// What comes after the options of a subcommand.
    fn named(&self) -> [std::ffi::OsString; 4] {
        let path_entry = format!("/{}", self.path_entry);
        let directory = self.directory.clone().into();
        [
            "--path".into(),
            path_entry.into(),
            "--root".into(),
            directory,
        ]
    }

    fn sync(&self, options: &[&str]) -> Output {
        let mut command = self.scratch.epcache();
        let output = process::succeed(command.arg("sync").args(options).args(self.named()));
        assert_eq!(stderr(&output), "");
        output
    }

    fn seal(&self) {
        self.sync(&["--vendor", "--seal"]);
        assert!(self.index().is_file());
    }

    fn query(&self) -> Vec<Entry> {
        entries(self.scratch.epcache().arg("query").args(self.named()))
    }

    /// What CPython finds here, told as from inside.
    fn judged(&self) -> Vec<Entry> {
        let found = judge::entry_points(&[&self.location()]);
        let inside = |entry| Entry {
            path_entry: format!("/{}", self.path_entry),
            ..entry
        };
        found.into_iter().map(inside).collect()
    }

    /// In the second column of `status`: which kind of root answers.
    fn state(&self) -> String {
        let mut status = self.scratch.epcache();
        status.arg("status").args(self.named());
        let said = stdout(&process::succeed(&mut status));
        said.split('\t').next().unwrap().to_owned()
    }

    /// Gives everything one time, and takes the rights to write.
    fn freeze(&self, seconds: u64) {
        set_all_times(&self.directory, seconds);
        process::succeed(
            Command::new("chmod")
                .args(["-R", "a-w"])
                .arg(&self.directory),
        );
    }

    fn thaw(&self) {
        process::succeed(
            Command::new("chmod")
                .args(["-R", "u+w"])
                .arg(&self.directory),
        );
    }

    /// The order in which a path entry lists its distributions is that of its file system: of another
    /// than the one on which the index was sealed, it may be another.
    fn answers_from_the_seal(&self, what: &str) {
        assert_eq!(self.state(), "sealed", "{what}");
        assert_eq!(sorted(self.query()), sorted(self.judged()), "{what}");
        let (sources, indexes) = self.opened();
        assert_eq!((sources, indexes), (0, 1), "{what}");
    }

    /// Answers what CPython does; and of the distributions that declare something, the mirror files
    /// are believed or not.
    fn answers(&self, how: How, what: &str) {
        assert_eq!(self.query(), self.judged(), "{what}");
        let (sources, _) = self.opened();
        match how {
            How::Believed => assert_eq!(sources, 0, "{what}"),
            How::Read => assert_eq!(sources, self.judged().len(), "{what}"),
            How::EitherWay => {}
        }
    }

    /// How many sources (metadata directories are, too) and indexes a query opens.
    fn opened(&self) -> (usize, usize) {
        let mut query = self.scratch.epcache();
        query.arg("query").args(self.named());
        let (_, calls) = strace::trace(&query, FILE_SYSTEM);
        let count = |what: &str| {
            let opens = calls.iter().filter(|call| call.is_open());
            opens
                .filter(|call| call.touches(what) && !call.touches("O_PATH"))
                .filter(|call| !call.touches("ENOENT"))
                .count()
        };
        let sources = count("entry_points.txt\"") + count("-info\"");
        (sources, count(".index\""))
    }
}

/// What becomes of mirror files.
#[derive(Clone, Copy)]
enum How {
    /// They are believed: no source is opened.
    Believed,
    /// The sources are read.
    Read,
    /// The one or the other.
    EitherWay,
}

/// A tree that nobody may write can't be removed by those who are not root.
impl Drop for Image<'_> {
    fn drop(&mut self) {
        if self.directory.is_dir() {
            let mut chmod = Command::new("chmod");
            chmod.args(["-Rf", "u+w"]).arg(&self.directory);
            chmod.output().ok();
        }
    }
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort();
    entries
}

/// In the order of the paths, as package managers put files in place, whatever order the file system
/// lists them in: it decides which change time is the later one, a mirror file's or its source's.
fn set_all_times(directory: &Path, seconds: u64) {
    const TOUCH: &str = "find \"$1\" -print0 | LC_ALL=C sort -z | xargs -0 touch -h --date=\"@$2\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", TOUCH, "sh"]).arg(directory);
    process::succeed(shell.arg(seconds.to_string()));
}

/// Whether opened files can be counted; says so where not.
fn can_count() -> bool {
    if let Err(reason) = strace::available() {
        missing(&format!("counting opened files: {reason}"));
        return false;
    }
    true
}

#[test]
fn trees_whose_files_all_have_one_time_are_answered_from_the_seal() {
    if !can_count() {
        return;
    }
    for (path_entry, seconds) in [(DIST_PACKAGES, 0), (STORE, 1)] {
        let scratch = Scratch::new();
        // The times first: the seal is for the time that the path entry will have.
        let image = Image::new(&scratch, "image", path_entry);
        set_all_times(&image.directory, seconds);
        image.seal();
        image.freeze(seconds);
        image.answers_from_the_seal("the image");

        // As OSTree checks it out: directories anew, files as hard links.
        let deployed = |image: &Image<'_>, name: &str| {
            let deployment = scratch.join(name);
            let mut copy = Command::new("cp");
            process::succeed(copy.arg("-al").arg(&image.directory).arg(&deployment));
            deployment
        };
        let first = image.at(deployed(&image, "first"));
        first.answers_from_the_seal("checked out");

        // The next version: one more, one less, one upgraded; and the same time.
        let next = image.at(scratch.join("next"));
        environment::copy_tree(&image.directory, &next.directory);
        next.thaw();
        fs::remove_dir_all(next.location().join("alpha-1.dist-info")).unwrap();
        fs::remove_dir_all(next.location().join("bravo-1.dist-info")).unwrap();
        next.install("alpha-2.dist-info", Some("[g]\na = alpha:second\n"));
        next.install("charlie-1.dist-info", Some("[g]\nc = charlie:main\n"));
        set_all_times(&next.directory, seconds);
        next.seal();
        next.freeze(seconds);
        next.answers_from_the_seal("the next version");
        let second = image.at(deployed(&next, "second"));
        second.answers_from_the_seal("checked out beside the first");
        first.answers_from_the_seal("the first, later");
        assert_ne!(first.query(), second.query());
    }
}

#[test]
fn a_seal_that_was_made_before_the_times_were_set_is_broken_and_changes_no_answer() {
    let scratch = Scratch::new();
    let image = Image::new(&scratch, "image", DIST_PACKAGES);
    image.seal();
    assert_eq!(image.state(), "sealed");
    image.freeze(0);
    assert_eq!(image.state(), "source");
    assert_eq!(image.query(), image.judged());
    assert_eq!(image.judged().len(), 2);
}

/// The two that docs/packagers.md warns of.
#[test]
fn what_a_seal_can_not_see_is_right_after_a_sync_into_the_system_s_root() {
    type Change = (&'static str, fn(&Image<'_>));
    const CHANGES: [Change; 2] = [
        ("the same version, rebuilt", |image| {
            image.install("alpha-1.dist-info", Some("[g]\na = alpha:rebuilt\n"));
        }),
        ("one more, at the same time", |image| {
            image.install("charlie-1.dist-info", Some("[g]\nc = charlie:main\n"));
        }),
    ];
    for (what, change) in CHANGES {
        let scratch = Scratch::new();
        let image = Image::new(&scratch, "image", DIST_PACKAGES);
        set_all_times(&image.directory, 0);
        image.seal();
        let sealed = image.judged();
        change(&image);
        set_all_times(&image.directory.join("usr"), 0);
        assert_eq!(image.state(), "sealed", "{what}: nothing tells");

        image.sync(&["--system"]);
        assert_eq!(image.state(), "fresh", "{what}");
        assert_eq!(image.query(), image.judged(), "{what}");
        assert_ne!(image.query(), sealed, "{what}");
    }
}

#[test]
fn packages_that_ship_mirror_files_can_be_layered_where_all_times_are_one() {
    let scratch = Scratch::new();
    if !is_root() {
        return skip("only root can make a path entry that is root's");
    }
    let image = Image::new(&scratch, "image", DIST_PACKAGES);
    image.sync(&["--vendor"]);
    image.freeze(0);
    assert_eq!(image.state(), "vouched");
    assert_eq!(image.query(), image.judged());

    // What rpm-ostree does: new packages go into a copy of the tree, and the times are set again.
    let layer = |name: &str, from: &Image<'_>, change: &dyn Fn(&Image<'_>)| {
        let to = image.at(scratch.join(name));
        environment::copy_tree(&from.directory, &to.directory);
        to.thaw();
        change(&to);
        to.sync(&["--vendor"]);
        to.freeze(0);
        assert_eq!(to.state(), "vouched", "{name}");
        assert_eq!(to.query(), to.judged(), "{name}");
        to
    };
    let added = layer("added", &image, &|image| {
        image.install("charlie-1.dist-info", Some("[g]\nc = charlie:main\n"));
    });
    assert_eq!(added.judged().len(), 3);
    let rebuilt = layer("rebuilt", &added, &|image| {
        image.install("alpha-1.dist-info", Some("[g]\na = alpha:else\n"));
    });
    assert!(
        rebuilt
            .query()
            .iter()
            .any(|entry| entry.value == "alpha:else")
    );
    let removed = layer("removed", &rebuilt, &|image| {
        fs::remove_dir_all(image.location().join("bravo-1.dist-info")).unwrap();
    });
    assert_eq!(removed.judged().len(), 2);
}

/// How a tree is copied: a shell script, after [`COPYING`].
type Way = (&'static str, How, &'static str);

/// From a tree to an empty directory. `later` waits until what is written gets another change time.
const COPYING: &str = r#"
    from=$1 to=$2
    now() { touch "$to/.now" && stat -c %z "$to/.now"; }
    later() {
        before=$(now)
        while [ "$(now)" = "$before" ]; do :; done
        rm "$to/.now"
    }
    cd "$from"
"#;

const WAYS: [Way; 8] = [
    ("cp", How::EitherWay, r#"cp -a . "$to""#),
    ("links", How::EitherWay, r#"cp -al . "$to""#),
    ("tar", How::EitherWay, r#"tar -cf - . | tar -C "$to" -xf -"#),
    (
        "tar, by name",
        How::Believed,
        r#"tar --sort=name -cf - . | tar -C "$to" -xf -"#,
    ),
    ("rsync", How::Believed, r#"rsync -a ./ "$to""#),
    (
        "sources first",
        How::Believed,
        r#"cp -a --parents usr/lib "$to"; later; cp -a --parents usr/share "$to""#,
    ),
    (
        "mirror files first",
        How::Read,
        r#"cp -a --parents usr/share "$to"; later; cp -a --parents usr/lib "$to""#,
    ),
    // As when labels are set in the finished tree.
    (
        "attributes, by name",
        How::Believed,
        r#"cp -a . "$to"; cd "$to"; find . -type f | sort | xargs chmod a-x"#,
    ),
];

/// Mirror files of packages are believed as far as they were put in their places after their sources.
/// Where it was otherwise, the sources are read.
#[test]
fn a_tree_of_packages_answers_right_however_it_was_copied() {
    let scratch = Scratch::new();
    if !is_root() {
        return skip("only root can make a path entry that is root's");
    }
    if Command::new("rsync").arg("--version").output().is_err() {
        return missing("there is no rsync (Debian: rsync)");
    }
    if !can_count() {
        return;
    }
    let image = Image::new(&scratch, "image", DIST_PACKAGES);
    image.sync(&["--vendor"]);
    set_all_times(&image.directory, 0);
    for (number, (what, how, script)) in WAYS.into_iter().enumerate() {
        let copy = image.at(scratch.path_entry(&format!("copy-{number}")));
        let script = format!("{COPYING}{script}");
        let mut shell = Command::new("sh");
        shell.args(["-ec", &script, "sh"]).arg(&image.directory);
        process::succeed(shell.arg(&copy.directory));
        copy.answers(how, what);

        // The same version again, which neither its size nor its time tells.
        copy.rebuild_alpha();
        copy.answers(How::EitherWay, &format!("{what}, and a rebuild"));
        assert!(copy.has_rebuilt_alpha(), "{what}");
        if matches!(how, How::Read) {
            copy.sync(&["--system"]);
            copy.answers(How::Believed, "the system's sync");
        }
    }
}

/// As OSTree checks out what it keeps: each content once, with a link wherever it is needed. Nobody
/// writes there: what happened to the one of two names would show as a change of the other.
#[test]
fn mirror_files_that_are_the_same_file_as_their_source_are_believed_in_whatever_order() {
    let scratch = Scratch::new();
    if !is_root() {
        return skip("only root can make a path entry that is root's");
    }
    if !can_count() {
        return;
    }
    let objects = scratch.path_entry("objects");
    for version in ["1", "2"] {
        let image = Image::new(&scratch, &format!("image-{version}"), DIST_PACKAGES);
        if version == "2" {
            image.rebuild_alpha();
        }
        image.sync(&["--vendor"]);
        set_all_times(&image.directory, 0);
        let deployed = image.at(scratch.path_entry(&format!("deployed-{version}")));
        let script = r#"
            find . -type d -exec mkdir -p "$to/{}" ';'
            for part in usr/share usr/lib; do
                find "$part" -type f | while read -r file; do
                    object=$objects/$(sha256sum <"$file" | cut -c1-64)
                    [ -e "$object" ] || cp -p "$file" "$object"
                    ln "$object" "$to/$file"
                done
                later
            done
        "#;
        let script = format!("objects=$3\n{COPYING}{script}");
        let mut shell = Command::new("sh");
        shell.args(["-ec", &script, "sh"]).arg(&image.directory);
        process::succeed(shell.arg(&deployed.directory).arg(&objects));
        deployed.answers(How::Believed, version);
        assert_eq!(deployed.has_rebuilt_alpha(), version == "2");
    }
}

/// The third that docs/packagers.md warns of.
#[test]
fn what_a_copied_mirror_file_can_not_show_is_right_after_a_sync() {
    let scratch = Scratch::new();
    if !is_root() || !can_count() {
        return skip("only root can make a path entry that is root's");
    }
    let image = Image::new(&scratch, "image", DIST_PACKAGES);
    image.sync(&["--vendor"]);
    set_all_times(&image.directory, 0);
    image.rebuild_alpha();
    image.answers(How::EitherWay, "a mirror file that is behind");
    let copy = image.at(scratch.path_entry("copy"));
    let tar = "tar -C \"$1\" --sort=name -cf - . | tar -C \"$2\" -xf -";
    let mut shell = Command::new("sh");
    shell.args(["-ec", tar, "sh"]).arg(&image.directory);
    process::succeed(shell.arg(&copy.directory));
    assert_eq!(copy.opened().0, 0, "nothing tells");
    assert_ne!(copy.query(), copy.judged());
    copy.sync(&["--vendor"]);
    copy.answers(How::EitherWay, "the last step of a build");
}

#[test]
fn layers_with_packages_answer_right_whatever_is_in_which() {
    let scratch = Scratch::new();
    if !is_root() {
        return skip("only root can mount layers");
    }
    if !can_count() {
        return;
    }
    let below = Image::new(&scratch, "below", DIST_PACKAGES);
    below.sync(&["--vendor"]);
    let layer = |name: &str| below.at(scratch.path_entry(name));
    let [package, rebuilt, work] = ["package", "rebuilt", "work"].map(layer);
    package.install("charlie-1.dist-info", Some("[g]\nc = charlie:main\n"));
    package.sync(&["--vendor"]);
    for image in [&below, &package] {
        set_all_times(&image.directory, 0);
    }
    rebuilt.rebuild_alpha();

    let merged = layer("merged");
    let stack = |layers: &[&Image<'_>], more: &str| {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| layer.directory.to_str().unwrap())
            .collect();
        let options = format!("lowerdir={}{more}", layers.join(":"));
        Mount::new("overlay", &options, &merged.directory)
    };
    let Some(mount) = stack(&[&package, &below], "") else {
        return skip("layers: no overlay can be mounted here");
    };
    assert_eq!(merged.judged().len(), 3);
    merged.answers(How::Believed, "a package in a layer of its own");
    drop(mount);

    let mount = stack(&[&rebuilt, &package, &below], "");
    merged.answers(How::EitherWay, "a rebuild without its mirror file");
    assert!(merged.has_rebuilt_alpha());
    drop(mount);

    let upper = layer("upper");
    let writable = format!(
        ",upperdir={},workdir={}",
        upper.directory.display(),
        work.directory.display()
    );
    let _mount = stack(&[&package, &below], &writable);
    merged.answers(How::Believed, "with a layer to write in");
    merged.rebuild_alpha();
    merged.answers(How::EitherWay, "a rebuild in the layer to write in");
    assert!(merged.has_rebuilt_alpha());
}

/// `mksquashfs` of a directory, as in a build that is to be reproducible; `None` where there is none.
fn squashed(directory: &Path, file: &Path) -> Option<()> {
    let mut command = Command::new("mksquashfs");
    command.arg(directory).arg(file);
    command.args(["-quiet", "-no-progress"]);
    made(&mut command, "squashfs-tools")
}

fn made(command: &mut Command, package: &str) -> Option<()> {
    command.env("SOURCE_DATE_EPOCH", SOURCE_DATE.to_string());
    let Ok(output) = command.output() else {
        missing(&format!(
            "there is no {:?} (Debian: {package})",
            command.get_program()
        ));
        return None;
    };
    assert!(output.status.success(), "{}", stderr(&output));
    Some(())
}

/// There is no change time but that of the content: an image is made once, as a whole.
#[test]
fn mirror_files_in_an_image_that_keeps_no_change_times_are_believed() {
    let scratch = Scratch::new();
    if !is_root() {
        return skip("only root can make a path entry that is root's");
    }
    if !can_count() {
        return;
    }
    let image = Image::new(&scratch, "image", DIST_PACKAGES);
    image.sync(&["--vendor"]);
    set_all_times(&image.directory, SOURCE_DATE);
    let [squashfs, erofs] = ["squashfs", "erofs"].map(|kind| scratch.join(kind));
    let erofs_made = {
        let mut command = Command::new("mkfs.erofs");
        made(command.arg(&erofs).arg(&image.directory), "erofs-utils")
    };
    let images = [
        (squashed(&image.directory, &squashfs), squashfs),
        (erofs_made, erofs),
    ];
    for (made, file) in images {
        let what = file.display().to_string();
        let mounted = image.at(scratch.path_entry(&format!("{what}-mounted")));
        let mount = made.and_then(|()| Mount::image(&file, &mounted.directory));
        let Some(_mount) = mount else {
            skip(&format!("{what}: it can't be mounted here"));
            continue;
        };
        mounted.answers(How::Believed, &what);
    }
}

#[test]
fn a_squashfs_of_a_reproducible_build_is_answered_from_the_seal() {
    if !can_count() {
        return;
    }
    let scratch = Scratch::new();
    let image = Image::new(&scratch, "image", DIST_PACKAGES);
    let late = Image::new(&scratch, "late", DIST_PACKAGES);
    late.seal();
    // As in docs/packagers.md: mksquashfs sets later times to this one, so it is set before the seal.
    const CLAMP: &str = "find \"$1/usr\" -newermt \"@$SOURCE_DATE_EPOCH\" \
        -exec touch -hd \"@$SOURCE_DATE_EPOCH\" {} +";
    process::succeed(
        Command::new("sh")
            .args(["-c", CLAMP, "sh"])
            .arg(&image.directory)
            .env("SOURCE_DATE_EPOCH", SOURCE_DATE.to_string()),
    );
    image.seal();

    for (image, state) in [(&image, "sealed"), (&late, "source")] {
        let file = scratch.join(format!("{state}.squashfs"));
        let Some(()) = squashed(&image.directory, &file) else {
            return;
        };
        let unpacked = image.at(scratch.join(format!("unpacked-{state}")));
        process::succeed(
            Command::new("unsquashfs")
                .args(["-quiet", "-no-progress", "-d"])
                .arg(&unpacked.directory)
                .arg(&file),
        );
        let mut places = vec![unpacked];
        let mounted = image.at(scratch.path_entry(&format!("mounted-{state}")));
        let mount = Mount::image(&file, &mounted.directory);
        match &mount {
            Some(_) => places.push(mounted),
            None => skip("a squashfs that is mounted: it can't be here"),
        }
        for place in &places {
            let what = place.directory.display().to_string();
            assert_eq!(place.state(), state, "{what}");
            assert_eq!(sorted(place.query()), sorted(place.judged()), "{what}");
            if state == "sealed" {
                place.answers_from_the_seal(&what);
            }
        }
        drop(places);
        drop(mount);
    }
}

/// As where rpm-ostree runs the scriptlets of packages: `/var` is the machine's, and not theirs.
#[test]
fn where_var_can_not_be_written_the_system_s_sync_says_so_in_one_line_and_answers_stay_right() {
    let scratch = Scratch::new();
    let image = Image::new(&scratch, "image", DIST_PACKAGES);
    let other = Image::new(&scratch, "image", "usr/lib/python3.12/site-packages");
    let var = scratch.path_entry("image/var");
    let synced = |status: i32| {
        let mut sync = scratch.epcache();
        sync.args(["sync", "--system", "--root"])
            .arg(&image.directory);
        process::expect_status(&mut sync, status)
    };
    for (what, path, names) in [
        ("nothing there", "var/cache", 2),
        ("as tmpfiles.d makes it", "var/cache/epcache", 2),
        ("a cache that is behind", "", 1),
    ] {
        fs::create_dir_all(image.directory.join(path)).unwrap();
        if path.is_empty() {
            synced(0);
            image.install("alpha-2.dist-info", Some("[g]\na = alpha:two\n"));
        }
        let Some(mount) = Mount::read_only(&var) else {
            return skip("a read-only /var: it can't be mounted here");
        };
        let said = stderr(&synced(2));
        assert_eq!(said.lines().count(), 1, "{what}: {said}");
        assert!(said.contains("Read-only file system"), "{what}: {said}");
        assert!(said.contains(var.to_str().unwrap()), "{what}: {said}");
        assert_eq!(said.contains("1 more path entry"), names == 2, "{said}");
        for image in [&image, &other] {
            assert_eq!(image.query(), image.judged(), "{what}");
        }
        drop(mount);
    }
    synced(0);
    assert_eq!(image.state(), "fresh");
}
