//! Bad input, row by row as the documentation promises: no hang, no panic, bounded memory, nothing
//! written where it does not belong, and every good distribution beside a bad one answered.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use epcache_tests::environment::{Scratch, entries, files_below, is_root, set_mode, write_dist};
use epcache_tests::judge::{self, Entry};
use epcache_tests::process;
use epcache_tests::skip::skip;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// A source is read up to here, and not beyond.
const LARGEST_SOURCE: u64 = 8 * 1024 * 1024;
/// Address space, in KiB, that is enough for the largest source and not for a file read whole
/// without a bound.
const ADDRESS_SPACE_KIB: u64 = 1 << 20;
/// A command that waits for a FIFO waits for ever; one that does not is done long before.
const SOON: Duration = Duration::from_secs(30);

/// As long as a sync waits, at most, for times that can be believed.
const WAIT_FOR_A_CLOCK: Duration = Duration::from_millis(2500);

/// A path entry with a good distribution before and after the one that a test spoils.
fn with_good_neighbours(scratch: &Scratch) -> PathBuf {
    let path_entry = scratch.path_entry("site-packages");
    write_dist(
        &path_entry,
        "alpha-1.dist-info",
        Some("[g]\na = alpha:main\n"),
    );
    write_dist(
        &path_entry,
        "zulu-1.dist-info",
        Some("[g]\nz = zulu:main\n"),
    );
    path_entry
}

fn values(entries: &[Entry]) -> Vec<&str> {
    let mut values: Vec<&str> = entries.iter().map(|entry| entry.value.as_str()).collect();
    values.sort_unstable();
    values
}

/// Asks before a sync, syncs, asks after it, in each mode that reads sources. Gives all answers, and all that
/// was said on standard error.
fn before_and_after_a_sync(scratch: &Scratch, path_entry: &Path) -> (Vec<Vec<Entry>>, String) {
    let mut answers = Vec::new();
    let mut said = String::new();
    let mut ask = |said: &mut String, mode: &str| {
        let mut query = scratch.command("query", &[path_entry]);
        let output = process::finish_within(query.args(["--format", "json", "--mode", mode]), SOON);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{:?}: {}",
            output.status,
            process::stderr(&output)
        );
        said.push_str(&process::stderr(&output));
        answers.push(epcache_tests::environment::parse_json(&output.stdout));
    };
    ask(&mut said, "exact");
    ask(&mut said, "off");
    let output = process::finish_within(&mut scratch.command("sync", &[path_entry]), SOON);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        process::stderr(&output)
    );
    said.push_str(&process::stderr(&output));
    ask(&mut said, "exact");
    ask(&mut said, "fast");
    // What CPython passes over in silence is told by `status` alone.
    let status = process::finish_within(&mut scratch.command("status", &[path_entry]), SOON);
    said.push_str(&process::stderr(&status));
    assert!(!said.contains("panicked"), "{said}");
    (answers, said)
}

/// The distribution `mike` is spoiled by `spoil`, which is given the path of its `entry_points.txt`. Its
/// neighbours are answered all the same, and standard error names it.
fn is_reported_and_left_out(what: &str, spoil: impl FnOnce(&Path)) {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let bad = write_dist(&path_entry, "mike-1.dist-info", None).join("entry_points.txt");
    spoil(&bad);
    let (answers, said) = before_and_after_a_sync(&scratch, &path_entry);
    for answer in answers {
        assert_eq!(values(&answer), ["alpha:main", "zulu:main"], "{what}");
    }
    assert!(
        said.contains(bad.to_str().unwrap()),
        "{what} is reported: {said}"
    );
}

#[test]
fn what_is_no_regular_file_is_reported_and_never_waited_on() {
    is_reported_and_left_out("a FIFO", |path| {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    });
    is_reported_and_left_out("a link to a FIFO", |path| {
        let fifo = path.with_file_name("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        symlink("fifo", path).unwrap();
    });
    is_reported_and_left_out("a link to a device without end", |path| {
        symlink("/dev/zero", path).unwrap();
    });
    is_reported_and_left_out("a directory", |path| fs::create_dir(path).unwrap());
    is_reported_and_left_out("a dangling link", |path| {
        symlink("/nowhere/at/all", path).unwrap();
    });
    is_reported_and_left_out("a link to itself", |path| symlink(path, path).unwrap());
    is_reported_and_left_out("a socket", |path| {
        // Bound by a short name: a socket's path has a bound of its own.
        let short = std::env::temp_dir().join(format!("s{}", std::process::id()));
        drop(UnixListener::bind(&short).unwrap());
        let moved = fs::rename(&short, path);
        assert!(moved.is_ok(), "{moved:?}");
    });
}

#[test]
fn a_device_is_reported_and_never_read() {
    if !is_root() {
        skip("a character device: only root makes one");
        return;
    }
    let scratch = Scratch::new();
    let probe = scratch.join("probe");
    if mknodat(
        CWD,
        &probe,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o644),
        makedev(1, 5),
    )
    .is_err()
    {
        skip("a character device: none can be made here");
        return;
    }
    is_reported_and_left_out("a character device", |path| {
        let zero = makedev(1, 5);
        mknodat(
            CWD,
            path,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o644),
            zero,
        )
        .unwrap();
    });
}

#[test]
fn what_is_no_utf_8_is_reported_and_left_out() {
    is_reported_and_left_out("invalid UTF-8", |path| {
        fs::write(path, b"[g]\nm = mike:\xff\n").unwrap();
    });
    is_reported_and_left_out("UTF-16", |path| {
        fs::write(path, b"\xff\xfe[\0g\0]\0\n\0m\0=\0m\0").unwrap();
    });
}

#[test]
fn a_line_that_is_none_is_reported_with_its_number_and_the_others_are_kept() {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let bad = write_dist(
        &path_entry,
        "mike-1.dist-info",
        Some("[g]\nm = mike:main\nno equals sign\nn = mike:more\n"),
    );
    let (answers, said) = before_and_after_a_sync(&scratch, &path_entry);
    for answer in answers {
        assert_eq!(
            values(&answer),
            ["alpha:main", "mike:main", "mike:more", "zulu:main"]
        );
    }
    let place = format!("{}:3", bad.join("entry_points.txt").display());
    assert!(said.contains(&place), "{said}");
}

#[test]
fn a_file_over_the_bound_is_reported_and_left_out_and_one_at_the_bound_is_read() {
    is_reported_and_left_out("one byte over 8 MiB", |path| {
        fs::write(path, text_of(LARGEST_SOURCE + 1)).unwrap();
    });
    is_reported_and_left_out("64 GiB", |path| {
        File::create(path).unwrap().set_len(64 << 30).unwrap();
    });

    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    write_dist(
        &path_entry,
        "mike-1.dist-info",
        Some(&text_of(LARGEST_SOURCE)),
    );
    let expected = judge::entry_points(&[&path_entry]);
    assert_eq!(values(&expected), ["alpha:main", "mike:main", "zulu:main"]);
    let (answers, _) = before_and_after_a_sync(&scratch, &path_entry);
    for answer in answers {
        assert_eq!(answer, expected);
    }
}

/// An `entry_points.txt` of so many bytes: a comment, and one entry point at the very end.
fn text_of(size: u64) -> String {
    let end = "\n[g]\nm = mike:main\n";
    let comment = usize::try_from(size).unwrap() - end.len();
    let mut text = "#".repeat(comment);
    text.push_str(end);
    text
}

#[test]
fn nul_bytes_and_control_characters_are_kept_as_cpython_keeps_them() {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    write_dist(
        &path_entry,
        "mike-1.dist-info",
        Some(
            "[g]\nnul\0in = mike:\0main\ntab\tin = mike:tab\n\x1b[31m = mike:red\n[nul\0]\nx = y\n",
        ),
    );
    let expected = judge::entry_points(&[&path_entry]);
    assert!(expected.iter().any(|entry| entry.value == "mike:\0main"));
    let (answers, _) = before_and_after_a_sync(&scratch, &path_entry);
    for answer in answers {
        assert_eq!(answer, expected);
    }
}

#[test]
fn a_million_entry_points_are_answered_in_bounded_memory() {
    const MILLION: usize = 1_000_000;
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let mut text = String::from("[g]\n");
    for number in 0..MILLION {
        text.push_str(&short_name(number));
        text.push_str("=m\n");
    }
    assert!(text.len() as u64 <= LARGEST_SOURCE);
    write_dist(&path_entry, "mike-1.dist-info", Some(&text));

    for round in ["before a sync", "after a sync"] {
        let output = in_bounded_memory(&scratch.command("query", &[&path_entry]));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{round}: {}",
            process::stderr(&output)
        );
        let lines = process::stdout(&output);
        assert_eq!(lines.lines().count(), MILLION + 2, "{round}");
        let last = format!("g\t{}\tm\tmike", short_name(MILLION - 1));
        assert_eq!(
            lines.lines().filter(|line| line.starts_with(&last)).count(),
            1,
            "{round}"
        );

        let mut one = scratch.command("query", &[&path_entry]);
        let output = in_bounded_memory(one.args(["g", "z"]));
        assert_eq!(process::stdout(&output).lines().count(), 1, "{round}");

        let output = in_bounded_memory(&scratch.command("sync", &[&path_entry]));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{round}: {}",
            process::stderr(&output)
        );
    }
}

/// Four characters from a number below 36^4.
fn short_name(number: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let digit = |place: u32| char::from(DIGITS[number / 36_usize.pow(place) % 36]);
    [digit(3), digit(2), digit(1), digit(0)].iter().collect()
}

/// Runs a command that fails when it asks for more address space than there is for it.
fn in_bounded_memory(command: &Command) -> Output {
    process::finish(&mut process::in_address_space(command, ADDRESS_SPACE_KIB))
}

#[test]
fn hostile_names_forge_nothing_and_nothing_is_written_outside_the_mirror() {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let long = format!("{}-1.dist-info", "l".repeat(255 - "-1.dist-info".len()));
    let names: Vec<Vec<u8>> = vec![
        b"new\nline-1.dist-info".to_vec(),
        b"x\n[g]\nforged = forged:main\n-1.dist-info".to_vec(),
        b"tab\tin-1.dist-info".to_vec(),
        b"escape\x1b[31m-1.dist-info".to_vec(),
        b"bell\x07-1.dist-info".to_vec(),
        b"delete\x7f-1.dist-info".to_vec(),
        "next\u{85}line-1.dist-info".into(),
        "separator\u{2028}-1.dist-info".into(),
        "right\u{202e}left-1.dist-info".into(),
        b"..-1.dist-info".to_vec(),
        b"...dist-info".to_vec(),
        b"..dist-info".to_vec(),
        b".dist-info".to_vec(),
        b"-1.dist-info".to_vec(),
        b" space -1.dist-info".to_vec(),
        b"back\\slash-1.dist-info".to_vec(),
        b"quote\"'$(touch x)`-1.dist-info".to_vec(),
        b".tmp-1.dist-info".to_vec(),
        long.into_bytes(),
    ];
    for (number, name) in names.iter().enumerate() {
        hostile(&path_entry, name, number);
    }
    let expected = judge::entry_points(&[&path_entry]);
    assert!(expected.len() >= names.len(), "all but few of them count");
    nothing_else_is_written(&scratch, &path_entry, || {
        let (answers, _) = before_and_after_a_sync(&scratch, &path_entry);
        for answer in answers {
            assert_eq!(answer, expected);
        }
    });
    let index =
        String::from_utf8_lossy(&fs::read(scratch.index(&path_entry)).unwrap()).into_owned();
    assert!(
        !index.contains("\nforged"),
        "no name forges a line: {index}"
    );

    // In place edits of what the index leaves to be read are seen as any other's.
    for (number, name) in names.iter().enumerate() {
        hostile(&path_entry, name, number + names.len());
    }
    assert_eq!(
        scratch.query(&[&path_entry]),
        judge::entry_points(&[&path_entry])
    );
}

#[test]
fn a_name_that_is_no_utf_8_is_read_from_the_source() {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let name = b"latin\xe9-1.dist-info";
    if fs::create_dir(path_entry.join(OsStr::from_bytes(name))).is_err() {
        skip("names that are no UTF-8: this file system has none");
        return;
    }
    hostile(&path_entry, name, 0);
    let expected = judge::entry_points(&[&path_entry]);
    assert_eq!(values(&expected), ["alpha:main", "hostile:n0", "zulu:main"]);
    nothing_else_is_written(&scratch, &path_entry, || {
        let (answers, _) = before_and_after_a_sync(&scratch, &path_entry);
        for answer in answers {
            assert_eq!(answer, expected);
        }
    });
}

fn hostile(path_entry: &Path, name: &[u8], number: usize) {
    let directory = path_entry.join(OsStr::from_bytes(name));
    fs::create_dir_all(&directory).unwrap();
    let metadata = format!("Metadata-Version: 2.1\nName: hostile{number}\nVersion: 1\n");
    fs::write(directory.join("METADATA"), metadata).unwrap();
    let text = format!("[g]\nn{number} = hostile:n{number}\n");
    fs::write(directory.join("entry_points.txt"), text).unwrap();
}

/// Whatever `action` does, in the whole scratch tree only the path entry's mirror gains files.
fn nothing_else_is_written(scratch: &Scratch, path_entry: &Path, action: impl FnOnce()) {
    let before = files_below(scratch.path());
    action();
    let mirror = scratch.mirror(path_entry);
    let mirror = mirror.strip_prefix(scratch.path()).unwrap();
    let stray: Vec<PathBuf> = files_below(scratch.path())
        .into_iter()
        .filter(|file| !before.contains(file) && file.parent() != Some(mirror))
        .collect();
    assert_eq!(stray, Vec::<PathBuf>::new());
}

#[test]
fn path_entries_that_are_missing_odd_or_no_directory_answer_as_cpython_does() {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let file = scratch.join("a file");
    fs::write(&file, "text").unwrap();
    let dangling = scratch.join("dangling");
    symlink("/nowhere/at/all", &dangling).unwrap();
    let missing = scratch.join("missing");
    let doubled = PathBuf::from(format!("{}//site-packages", scratch.path().display()));
    let up = scratch.join("site-packages/../site-packages");
    let fifo = scratch.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();

    for odd in [&file, &dangling, &missing, &doubled, &up] {
        let path_entries = [odd.as_path(), path_entry.as_path()];
        let expected = judge::entry_points(&path_entries);
        assert_eq!(scratch.query(&path_entries), expected, "{}", odd.display());
        scratch.sync(&path_entries);
        assert_eq!(scratch.query(&path_entries), expected, "{}", odd.display());
    }
    let outside: Vec<PathBuf> = files_below(&scratch.cache())
        .into_iter()
        .filter(|path| {
            !scratch
                .cache()
                .join(path)
                .starts_with(scratch.mirror(&path_entry))
        })
        .collect();
    assert_eq!(
        outside,
        Vec::<PathBuf>::new(),
        "no mirror for what is in no normal form"
    );

    // CPython would wait for a writer here.
    let (answers, _) = before_and_after_a_sync(&scratch, &fifo);
    assert!(answers.iter().all(Vec::is_empty), "{answers:?}");
}

#[test]
fn a_path_entry_and_a_metadata_directory_that_may_not_be_read_are_empty() {
    if is_root() {
        skip("what may not be read: root may read everything; trust.rs asks as another user");
        return;
    }
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let closed = write_dist(&path_entry, "mike-1.dist-info", Some("[g]\nm = mike\n"));
    set_mode(&closed, 0);
    let expected = judge::entry_points(&[&path_entry]);
    let answer = scratch.query(&[&path_entry]);
    set_mode(&closed, 0o755);
    assert_eq!(answer, expected);
}

#[test]
fn a_group_or_a_name_that_does_not_exist_prints_nothing_and_exits_1() {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    for arguments in [
        ["no.such.group"].as_slice(),
        &["g", "no-such-name"],
        &["no.such.group", "a"],
        &[""],
        &["g", ""],
        &["G"],
        &["g\n"],
    ] {
        for synced in [false, true] {
            if synced {
                scratch.sync(&[&path_entry]);
            }
            let mut query = scratch.command("query", &[&path_entry]);
            let output = process::expect_status(query.args(arguments), 1);
            assert_eq!(process::stdout(&output), "", "{arguments:?}");
            assert_eq!(process::stderr(&output), "", "{arguments:?}");
        }
    }
}

/// One line that starts with the program's name and holds every one of `words`; exit status 2.
fn fails_in_one_line(command: &mut Command, words: &[&str]) {
    let output = process::finish_within(command, SOON);
    let said = process::stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
    assert_eq!(process::stdout(&output), "", "{command:?}");
    assert_eq!(said.trim_end().lines().count(), 1, "one line: {said}");
    assert!(said.starts_with("epcache: "), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}

#[test]
fn a_wrong_command_line_is_one_line_and_exit_status_2() {
    let scratch = Scratch::new();
    fails_in_one_line(
        scratch.epcache().arg("--no-such-option"),
        &["--no-such-option"],
    );
    fails_in_one_line(
        scratch.epcache().args(["query", "--no-such-option"]),
        &["--no-such-option"],
    );
    fails_in_one_line(
        scratch.epcache().arg("no-such-command"),
        &["no-such-command"],
    );
    fails_in_one_line(
        scratch.epcache().args(["query", "--mode", "no-such-mode"]),
        &["no-such-mode", "exact"],
    );
    fails_in_one_line(
        scratch
            .epcache()
            .args(["query", "--format", "no-such-format"]),
        &["no-such-format", "jsonl"],
    );
    fails_in_one_line(
        scratch
            .epcache()
            .env("EPCACHE_MODE", "no-such-mode")
            .args(["query", "--path", "/"]),
        &["no-such-mode"],
    );
    fails_in_one_line(
        scratch.epcache().args(["query", "g", "n", "one-too-many"]),
        &["one-too-many"],
    );
}

#[test]
fn an_interpreter_that_is_none_fails_or_prints_garbage_is_one_line_and_exit_status_2() {
    let scratch = Scratch::new();
    let missing = scratch.join("no-python");
    fails_in_one_line(
        scratch.epcache().args(["query", "--python"]).arg(&missing),
        &[missing.to_str().unwrap()],
    );
    let directory = scratch.path_entry("directory");
    fails_in_one_line(
        scratch
            .epcache()
            .args(["query", "--python"])
            .arg(&directory),
        &[directory.to_str().unwrap()],
    );
    for (name, script, said) in [
        ("garbage", "echo this is no python", "this is no python"),
        (
            "failing",
            "echo broken installation >&2; exit 7",
            "broken installation",
        ),
        ("silent", "exit 0", "silent"),
    ] {
        let python = interpreter(&scratch, name, script);
        fails_in_one_line(
            scratch.epcache().args(["query", "--python"]).arg(&python),
            &[python.to_str().unwrap(), said],
        );
    }
    let missing = scratch.join("no-venv");
    fails_in_one_line(
        scratch.epcache().args(["query", "--venv"]).arg(&missing),
        &[missing.to_str().unwrap()],
    );
}

#[test]
fn an_interpreter_that_hangs_is_given_up() {
    let scratch = Scratch::new();
    let python = interpreter(&scratch, "hanging", "echo still thinking; exec sleep 600");
    fails_in_one_line(
        scratch.epcache().args(["query", "--python"]).arg(&python),
        &[python.to_str().unwrap()],
    );
}

fn interpreter(scratch: &Scratch, name: &str, script: &str) -> PathBuf {
    let path = scratch.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    set_mode(&path, 0o755);
    path
}

#[test]
fn a_configuration_that_can_not_be_read_is_one_line_and_exit_status_2() {
    a_configuration_is_refused("a directory", |path| fs::create_dir(path).unwrap());
    a_configuration_is_refused("no UTF-8", |path| {
        fs::write(path, b"[epcache]\nmode = \xff\n").unwrap();
    });
}

fn a_configuration_is_refused(what: &str, make: impl FnOnce(&Path)) {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let config = scratch.home().join("config/epcache/epcache.ini");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    make(&config);
    eprintln!("the configuration is {what}");
    let mut sync = scratch.epcache();
    sync.arg("sync").arg("--path").arg(&path_entry);
    fails_in_one_line(&mut sync, &[config.to_str().unwrap()]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let scratch = Scratch::new();
    let path_entry = scratch.path_entry("site-packages");
    // More than a pipe holds, so that the command meets its end.
    let text: String = (0..50_000)
        .map(|number| format!("n{number} = m\n"))
        .collect();
    write_dist(
        &path_entry,
        "many-1.dist-info",
        Some(&format!("[g]\n{text}")),
    );
    for format in ["plain", "json", "jsonl", "table"] {
        let mut child = scratch
            .command("query", &[&path_entry])
            .args(["--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        drop(reader);
        assert!(!line.is_empty(), "{format}");
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}: {said}");
        assert_eq!(said, "", "{format}");
    }
}

#[test]
fn a_broken_line_is_reported_with_a_fresh_index_as_without() {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let bad = write_dist(
        &path_entry,
        "mike-1.dist-info",
        Some("[g]\nno equals sign\n"),
    );
    let place = bad.join("entry_points.txt");
    scratch.sync(&[&path_entry]);
    let mut query = scratch.command("query", &[&path_entry]);
    assert_eq!(entries(&mut query).len(), 2);
    let output = process::finish(&mut scratch.command("query", &[&path_entry]));
    assert!(
        process::stderr(&output).contains(place.to_str().unwrap()),
        "what is left out is said with a cache as without: {}",
        process::stderr(&output)
    );
}

#[test]
fn dists_warns_of_what_query_warns_of() {
    let scratch = Scratch::new();
    let path_entry = scratch.path_entry("site-packages");
    write_dist(
        &path_entry,
        "alpha-1.dist-info",
        Some("[g]\nno equals sign\n"),
    );
    let warning = "alpha-1.dist-info/entry_points.txt:2: a line without '='";
    for subcommand in ["query", "groups", "dists"] {
        let output = process::finish(&mut scratch.command(subcommand, &[&path_entry]));
        let said = process::stderr(&output);
        assert!(said.contains(warning), "{subcommand}: {said}");
    }
}

#[test]
fn a_metadata_directory_with_more_files_than_are_looked_at_is_read_each_time_and_sync_says_so() {
    let scratch = Scratch::new();
    let path_entry = with_good_neighbours(&scratch);
    let many = write_dist(
        &path_entry,
        "mike-1.dist-info",
        Some("[g]\nm = mike:main\n"),
    );
    // With METADATA and entry_points.txt, one more than are looked at.
    let (last, others) = (many.join("999"), 1..999);
    others.for_each(|number| fs::write(many.join(number.to_string()), "").unwrap());
    let said = process::stderr(&scratch.sync(&[&path_entry]));
    assert_eq!(said, "", "as many as are looked at");
    fs::write(&last, "").unwrap();
    let told = format!(
        "epcache: warning: {}: more than 1000 files, so that it is read from the source each time; \
         report the package\n",
        many.display()
    );
    fs::remove_dir_all(scratch.cache()).unwrap();
    scratch.sync(&[&path_entry]);
    for _ in 0..2 {
        let start = Instant::now();
        let said = process::stderr(&scratch.sync(&[&path_entry]));
        assert_eq!(said, told);
        assert!(start.elapsed() < WAIT_FOR_A_CLOCK, "nothing is waited for");
        let answer = scratch.query(&[&path_entry]);
        assert_eq!(answer, judge::entry_points(&[&path_entry]));
        assert_eq!(values(&answer), ["alpha:main", "mike:main", "zulu:main"]);
    }
}
