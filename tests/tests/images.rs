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

    /// How many sources and indexes a query opens.
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
        (count("entry_points.txt\""), count(".index\""))
    }
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

fn set_all_times(directory: &Path, seconds: u64) {
    let time = format!("@{seconds}");
    process::succeed(
        Command::new("find")
            .arg(directory)
            .args(["-depth", "-exec", "touch", "-hd", &time, "{}", "+"]),
    );
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

/// `mksquashfs` of an image, as in a build that is to be reproducible; `None` where there is none.
fn squashed(image: &Image<'_>, file: &Path) -> Option<()> {
    let made = Command::new("mksquashfs")
        .arg(&image.directory)
        .arg(file)
        .args(["-quiet", "-no-progress"])
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE.to_string())
        .output();
    let Ok(output) = made else {
        missing("there is no mksquashfs (Debian: squashfs-tools)");
        return None;
    };
    assert!(output.status.success(), "{}", stderr(&output));
    Some(())
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
        let Some(()) = squashed(image, &file) else {
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
