//! Whatever is wrong with a cache root, queries are right, and `sync` heals it or says what is
//! wrong with it.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use epcache_tests::environment::{
    Scratch, copy_tree, files_below, is_root, leftovers, set_mode, write_dist,
};
use epcache_tests::judge::{self, Entry};
use epcache_tests::mount::Mount;
use epcache_tests::process;
use epcache_tests::skip::skip;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// What can be wrong with a file or a cache root, and how it is made so.
type Fault = (&'static str, fn(&Path));

/// Nobody's user number.
const OTHER_USER: u32 = 12345;

/// Two path entries: the second shadowed in part by the first, one dist without entry points.
fn two_path_entries(scratch: &Scratch) -> [PathBuf; 2] {
    let first = scratch.path_entry("first/site-packages");
    write_dist(
        &first,
        "alpha-1.0.dist-info",
        Some("[tools]\nzip = alpha.zip:main\nls = alpha.ls [colour]\n[other]\na = alpha\n"),
    );
    write_dist(&first, "quiet-2.dist-info", None);
    write_dist(&first, "bravo-3.egg-info", Some("[tools]\nb = bravo:run\n"));
    let second = scratch.path_entry("second/site-packages");
    write_dist(
        &second,
        "quiet-1.dist-info",
        Some("[tools]\nq = quiet:shadowed\n"),
    );
    write_dist(
        &second,
        "delta-1.dist-info",
        Some("[other]\nd = delta:x\n[tools]\nd = delta\n"),
    );
    [first, second]
}

/// The same, in the cache, and what CPython finds in them.
fn two_synced_path_entries() -> (Scratch, [PathBuf; 2], Vec<Entry>) {
    let scratch = Scratch::new();
    let made = two_path_entries(&scratch);
    let path_entries = made.each_ref().map(PathBuf::as_path);
    let expected = judge::entry_points(&path_entries);
    scratch.sync(&path_entries);
    (scratch, made, expected)
}

/// Does something to a file, asks, and puts the file back as it was.
fn damaged(
    scratch: &Scratch,
    file: &Path,
    damage: impl FnOnce(&Path),
    path_entries: &[&Path],
) -> Vec<Entry> {
    let saved = scratch.join("saved");
    copy_tree(file, &saved);
    fs::remove_file(file).unwrap();
    damage(file);
    let answer = scratch.query(path_entries);
    remove(file);
    fs::rename(&saved, file).unwrap();
    answer
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

#[test]
fn an_index_truncated_at_any_byte_changes_no_answer() {
    let (scratch, [first, second], expected) = two_synced_path_entries();
    let path_entries = [first.as_path(), second.as_path()];

    let index = scratch.index(&first);
    let whole = fs::read(&index).unwrap();
    for length in 0..whole.len() {
        fs::write(&index, &whole[..length]).unwrap();
        assert_eq!(
            scratch.query(&path_entries),
            expected,
            "the index cut to {length} of {} bytes",
            whole.len()
        );
    }

    scratch.sync(&path_entries);
    assert_eq!(fs::read(&index).unwrap(), whole, "sync heals the index");
}

#[test]
fn a_mirror_file_truncated_at_any_byte_changes_no_answer_and_is_healed() {
    let (scratch, [first, second], expected) = two_synced_path_entries();
    let path_entries = [first.as_path(), second.as_path()];

    let file = scratch.mirror(&first).join("alpha-1.0.dist-info.txt");
    let whole = fs::read(&file).unwrap();
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert_eq!(
            scratch.query(&path_entries),
            expected,
            "cut to {length} bytes"
        );
    }
    fs::remove_file(scratch.index(&first)).unwrap();
    assert_eq!(scratch.query(&path_entries), expected, "cut, and no index");

    repair(&scratch, &path_entries);
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn any_other_content_in_place_of_the_index_changes_no_answer() {
    let (scratch, [first, second], expected) = two_synced_path_entries();
    let path_entries = [first.as_path(), second.as_path()];
    let index = scratch.index(&first);
    let whole = fs::read(&index).unwrap();
    let others = fs::read(scratch.index(&second)).unwrap();
    let first_line_end = whole.iter().position(|&byte| byte == b'\n').unwrap();
    let with_first_line = |line: &[u8]| [line, &whole[first_line_end..]].concat();
    let contents = [
        ("nothing", Vec::new()),
        ("an empty line", b"\n".to_vec()),
        ("NUL bytes", vec![0; whole.len()]),
        ("no UTF-8", vec![0xff; whole.len()]),
        ("its end alone", whole[whole.len() / 2..].to_vec()),
        ("itself twice", [whole.as_slice(), &whole].concat()),
        ("another first line", with_first_line(b"something else 1")),
        (
            "a newer version",
            with_first_line(&next_version(&whole[..first_line_end])),
        ),
        ("another path entry's", others),
        (
            "carriage returns",
            String::from_utf8_lossy(&whole)
                .replace('\n', "\r\n")
                .into_bytes(),
        ),
    ];
    for (what, content) in contents {
        let answer = damaged(
            &scratch,
            &index,
            |index| fs::write(index, content).unwrap(),
            &path_entries,
        );
        assert_eq!(answer, expected, "the index holds {what}");
    }
}

/// The first line with every number in it raised.
fn next_version(line: &[u8]) -> Vec<u8> {
    let raised: Vec<u8> = line
        .iter()
        .map(|&byte| if byte.is_ascii_digit() { b'9' } else { byte })
        .collect();
    assert_ne!(raised, line, "the first line tells the version");
    raised
}

#[test]
fn another_kind_of_file_in_place_of_the_index_or_a_mirror_file_is_never_waited_on() {
    let (scratch, [first, second], expected) = two_synced_path_entries();
    let path_entries = [first.as_path(), second.as_path()];
    let kinds: [Fault; 5] = [
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a FIFO", |path| {
            mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        }),
        ("a dangling link", |path| {
            symlink("/nowhere/at/all", path).unwrap();
        }),
        ("a link to itself", |path| symlink(path, path).unwrap()),
        ("a device", |path| symlink("/dev/zero", path).unwrap()),
    ];
    let mirror = scratch.mirror(&first);
    for name in [".index", "alpha-1.0.dist-info.txt"] {
        for (what, make) in kinds {
            let answer = damaged(&scratch, &mirror.join(name), make, &path_entries);
            assert_eq!(answer, expected, "{what} instead of {name}");
        }
    }
}

#[test]
fn sync_replaces_what_can_be_replaced_in_a_mirror() {
    let scratch = Scratch::new();
    let [first, second] = two_path_entries(&scratch);
    let path_entries = [first.as_path(), second.as_path()];
    let expected = judge::entry_points(&path_entries);
    let mirror = scratch.mirror(&first);
    for name in [".index", "alpha-1.0.dist-info.txt"] {
        for make in [
            (|path| symlink("/nowhere/at/all", path).unwrap()) as fn(&Path),
            |path| mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
            |path| fs::write(path, "garbage").unwrap(),
        ] {
            scratch.sync(&path_entries);
            fs::remove_file(mirror.join(name)).unwrap();
            make(&mirror.join(name));
            repair(&scratch, &path_entries);
            scratch.sync(&path_entries);
            assert!(fs::symlink_metadata(mirror.join(name)).unwrap().is_file());
            process::succeed(&mut scratch.command("verify", &path_entries));
            assert_eq!(scratch.query(&path_entries), expected);
        }
    }
}

#[test]
fn swapped_caches_change_no_answer() {
    let (scratch, [first, second], expected) = two_synced_path_entries();
    let path_entries = [first.as_path(), second.as_path()];

    let [one, other] = [scratch.mirror(&first), scratch.mirror(&second)];
    let aside = scratch.join("aside");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&other, &one).unwrap();
    fs::rename(&aside, &other).unwrap();

    assert_eq!(scratch.query(&path_entries), expected);
    scratch.sync(&path_entries);
    assert_eq!(scratch.query(&path_entries), expected);
    process::succeed(&mut scratch.command("verify", &path_entries));
}

#[test]
fn a_copied_environment_with_its_copied_cache_answers_for_itself() {
    let scratch = Scratch::new();
    let [first, second] = two_path_entries(&scratch);
    scratch.sync(&[&first, &second]);
    let whole = scratch.join("whole");
    fs::create_dir(&whole).unwrap();
    for part in ["first", "second", "root"] {
        copy_tree(&scratch.join(part), &whole.join(part));
    }
    // The copy's cache: its mirrors moved to where the copies of the path entries belong.
    let copies = [
        whole.join("first/site-packages"),
        whole.join("second/site-packages"),
    ];
    let root = whole.join("root");
    for (original, copy) in [&first, &second].into_iter().zip(&copies) {
        let from = epcache_tests::environment::mirror(&root, original);
        let to = epcache_tests::environment::mirror(&root, copy);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        copy_tree(&from, &to);
    }
    // An edit that keeps size and times, so that only the copy knows of it.
    let edited = copies[0].join("alpha-1.0.dist-info/entry_points.txt");
    let time = fs::metadata(&edited).unwrap().modified().unwrap();
    let text = fs::read_to_string(&edited)
        .unwrap()
        .replace("alpha.zip:main", "alpha.zap:main");
    fs::write(&edited, text).unwrap();
    File::options()
        .write(true)
        .open(&edited)
        .unwrap()
        .set_modified(time)
        .unwrap();

    let path_entries = [copies[0].as_path(), copies[1].as_path()];
    let expected = judge::entry_points(&path_entries);
    assert!(expected.iter().any(|entry| entry.value == "alpha.zap:main"));
    let ask = || {
        epcache_tests::environment::entries(
            scratch
                .epcache()
                .arg("query")
                .arg("--cache-dir")
                .arg(&root)
                .args(epcache_tests::environment::named(&path_entries)),
        )
    };
    assert_eq!(ask(), expected, "with the copied cache");
    process::succeed(
        scratch
            .epcache()
            .arg("sync")
            .arg("--cache-dir")
            .arg(&root)
            .args(epcache_tests::environment::named(&path_entries)),
    );
    assert_eq!(ask(), expected, "after a sync of the copy");
}

#[test]
fn an_environment_copied_over_another_with_its_times_is_seen() {
    let scratch = Scratch::new();
    let [one, other] = [scratch.path_entry("one"), scratch.path_entry("other")];
    for (path_entry, word) in [(&one, "alpha"), (&other, "bravo")] {
        let dist = write_dist(
            path_entry,
            "demo-1.dist-info",
            Some(&format!("[g]\nn = {word}\n")),
        );
        for path in [dist.join("entry_points.txt"), dist, path_entry.clone()] {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
            File::open(path).unwrap().set_modified(time).unwrap();
        }
    }
    scratch.sync(&[&one]);
    process::succeed(Command::new("cp").arg("-a").arg(other.join(".")).arg(&one));

    let expected = judge::entry_points(&[&one]);
    assert_eq!(expected[0].value, "bravo");
    assert_eq!(scratch.query(&[&one]), expected);
}

#[test]
fn a_cache_root_that_is_none_costs_no_answer_and_sync_names_it() {
    let faults: [Fault; 4] = [
        ("a file", |root| fs::write(root, "not a directory").unwrap()),
        ("a dangling link", |root| {
            symlink("/nowhere/at/all", root).unwrap();
        }),
        ("a link to itself", |root| symlink(root, root).unwrap()),
        ("a FIFO", |root| {
            mknodat(CWD, root, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        }),
    ];
    for (what, make) in faults {
        let scratch = Scratch::new();
        let [first, second] = two_path_entries(&scratch);
        let path_entries = [first.as_path(), second.as_path()];
        make(&scratch.cache());
        refuses_to_sync_but_answers(&scratch, &path_entries, what);
    }
}

#[test]
fn a_cache_root_that_others_own_or_may_write_is_not_used_and_sync_names_it() {
    let mut faults: Vec<Fault> = vec![
        ("writable by all", |root| set_mode(root, 0o777)),
        ("writable by the group", |root| set_mode(root, 0o770)),
    ];
    if is_root() {
        faults.push(("someone else's", |root| {
            std::os::unix::fs::chown(root, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
        }));
    } else {
        skip("only root can give a cache root to someone else");
    }
    for (what, make) in faults {
        let scratch = Scratch::new();
        let [first, second] = two_path_entries(&scratch);
        let path_entries = [first.as_path(), second.as_path()];
        scratch.sync(&path_entries);
        make(&scratch.cache());
        refuses_to_sync_but_answers(&scratch, &path_entries, what);
    }
}

#[test]
fn a_read_only_cache_root_costs_no_answer_and_sync_names_it() {
    let scratch = Scratch::new();
    let [first, second] = two_path_entries(&scratch);
    let path_entries = [first.as_path(), second.as_path()];
    fs::create_dir(scratch.cache()).unwrap();
    // Permission bits do not stop root; a read-only mount does.
    let mounted = if is_root() {
        let mounted = Mount::tmpfs("ro,mode=700", &scratch.cache());
        if mounted.is_none() {
            skip("a read-only cache root: no mounts here");
            return;
        }
        mounted
    } else {
        set_mode(&scratch.cache(), 0o500);
        None
    };
    refuses_to_sync_but_answers(&scratch, &path_entries, "read-only");
    if mounted.is_none() {
        set_mode(&scratch.cache(), 0o700);
    }
}

/// The contract for a root that can't be used: every query right, `sync` exits 2 and its one line
/// names the root.
fn refuses_to_sync_but_answers(scratch: &Scratch, path_entries: &[&Path], what: &str) {
    let expected = judge::entry_points(path_entries);
    assert_eq!(
        scratch.query(path_entries),
        expected,
        "a root that is {what}"
    );

    let output = process::finish(&mut scratch.command("sync", path_entries));
    let said = process::stderr(&output);
    assert_eq!(
        output.status.code(),
        Some(2),
        "a root that is {what}: {said}"
    );
    assert!(
        said.contains(scratch.cache().to_str().unwrap()),
        "a root that is {what} is named: {said}"
    );
    assert!(!said.contains("panicked"), "{said}");

    // Moved back: what was changed since is not hidden by whatever `sync` managed to do.
    write_dist(
        path_entries[0],
        "late-1.dist-info",
        Some("[tools]\nlate = late\n"),
    );
    assert_eq!(
        scratch.query(path_entries),
        judge::entry_points(path_entries),
        "after a sync into a root that is {what}"
    );
}

#[test]
fn a_full_disk_costs_no_answer_and_sync_heals_once_there_is_space() {
    let scratch = Scratch::new();
    let [first, second] = two_path_entries(&scratch);
    for number in 0..200 {
        let text = format!("[many]\nn{number} = module_{number}:{}\n", "x".repeat(400));
        write_dist(&first, &format!("many{number}-1.dist-info"), Some(&text));
    }
    let path_entries = [first.as_path(), second.as_path()];
    let expected = judge::entry_points(&path_entries);
    fs::create_dir(scratch.cache()).unwrap();
    let Some(disk) = Mount::tmpfs("size=64k,mode=700", &scratch.cache()) else {
        skip("a full disk: it takes root and the right to mount");
        return;
    };

    let output = process::expect_status(&mut scratch.command("sync", &path_entries), 2);
    let said = process::stderr(&output);
    assert!(
        said.contains(scratch.cache().to_str().unwrap()),
        "the full root is named: {said}"
    );
    assert_eq!(scratch.query(&path_entries), expected, "on a full disk");
    assert_eq!(
        leftovers(&scratch.cache()),
        Vec::<PathBuf>::new(),
        "a writer that fails cleans up after itself"
    );

    disk.change("size=16m");
    scratch.sync(&path_entries);
    process::succeed(&mut scratch.command("verify", &path_entries));
    assert_eq!(scratch.query(&path_entries), expected, "with space again");
    assert_eq!(
        files_below(&scratch.mirror(&first)).len(),
        203 + 1,
        "a mirror file for each dist, and the index"
    );
}

#[test]
fn any_part_of_the_cache_may_vanish_at_any_moment() {
    let (scratch, [first, second], expected) = two_synced_path_entries();
    let path_entries = [first.as_path(), second.as_path()];
    let saved = scratch.join("saved-root");
    copy_tree(&scratch.cache(), &saved);
    let files = files_below(&saved);
    assert_eq!(
        files.len(),
        3 + 2 + 2,
        "a mirror file for each dist, an index for each path entry"
    );
    for file in &files {
        fs::remove_file(scratch.cache().join(file)).unwrap();
        assert_eq!(
            scratch.query(&path_entries),
            expected,
            "without {}",
            file.display()
        );
        fs::remove_dir_all(scratch.cache()).unwrap();
        copy_tree(&saved, &scratch.cache());
    }
    fs::remove_dir_all(scratch.cache()).unwrap();
    assert_eq!(scratch.query(&path_entries), expected, "without any");
}

/// `verify --repair`, which says by its status that it found something, and after which nothing is
/// left to find.
fn repair(scratch: &Scratch, path_entries: &[&Path]) {
    let output = process::finish(scratch.command("verify", path_entries).arg("--repair"));
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        process::stderr(&output)
    );
    process::succeed(&mut scratch.command("verify", path_entries));
}
