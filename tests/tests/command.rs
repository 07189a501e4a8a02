//! The command as a new user meets it: exit statuses, formats, terminals, help, and each subcommand's
//! own promise.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use epcache_tests::environment::{
    Scratch, entries, files_below, is_root, leftovers, mirror, named, set_mode, write_dist,
};
use epcache_tests::judge;
use epcache_tests::process;
use epcache_tests::skip::{missing, skip};
use epcache_tests::strace::{self, FILE_SYSTEM};
use serde_json::{Value, json};

/// The subcommands, each with arguments that it needs.
const SUBCOMMANDS: [&str; 10] = [
    "sync",
    "query",
    "groups",
    "dists",
    "status",
    "verify",
    "prune",
    "paths",
    "completions",
    "man",
];

fn installed(scratch: &Scratch) -> PathBuf {
    let path_entry = scratch.path_entry("lib/site-packages");
    write_dist(
        &path_entry,
        "alpha-1.5.dist-info",
        Some(
            "[console_scripts]\nalpha = alpha.cli:main [fast, tidy]\n[plug.ins]\na = alpha.plugin\n",
        ),
    );
    write_dist(
        &path_entry,
        "Bravo_Tools-2.dist-info",
        Some("[plug.ins]\nb = bravo:Plugin.make\n"),
    );
    write_dist(&path_entry, "quiet-3.dist-info", None);
    path_entry
}

fn json_lines(output: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_sync_in_the_background_returns_at_once_and_is_nobody_s_child() {
    // What the sync has to wait for, until the time is past.
    const AHEAD: Duration = Duration::from_millis(1500);
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let soon = SystemTime::now() + AHEAD;
    let directory = fs::File::open(&path_entry).unwrap();
    directory.set_modified(soon).unwrap();

    let mut sync = scratch.command("sync", &[&path_entry]);
    let output = process::succeed(sync.arg("--background"));
    assert_eq!(process::stdout(&output) + &process::stderr(&output), "");
    let cache = scratch.cache();
    let [worker] = processes_with(cache.as_os_str().as_bytes())[..] else {
        panic!("one process works, and it is not done before the time is past")
    };
    let me = stat_of(std::process::id() as i32);
    let its = stat_of(worker);
    assert_ne!((its.parent, its.session), (me.parent, me.session));
    assert_ne!(its.parent, std::process::id() as i32);
    assert_eq!(its.terminal, 0);
    for descriptor in 0..3 {
        let open = fs::read_link(format!("/proc/{worker}/fd/{descriptor}")).unwrap();
        assert_eq!(open, Path::new("/dev/null"));
    }

    wait_until("the sync has ended", || {
        processes_with(cache.as_os_str().as_bytes()).is_empty()
    });
    assert!(scratch.index(&path_entry).is_file());
    assert_eq!(leftovers(&cache), [] as [PathBuf; 0]);
    let query = scratch.query(&[&path_entry]);
    assert_eq!(query, judge::entry_points(&[&path_entry]));
}

/// What `/proc/PID/stat` says of a process.
struct ProcessStat {
    parent: i32,
    session: i32,
    terminal: i32,
}

fn stat_of(process: i32) -> ProcessStat {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after_name) = text.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = after_name.split(' ').collect();
    let field = |number: usize| fields[number].parse().unwrap();
    ProcessStat {
        parent: field(1),
        session: field(3),
        terminal: field(4),
    }
}

/// The processes that have this somewhere in their command line.
fn processes_with(word: &[u8]) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let has_word = |process: &i32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        line.windows(word.len()).any(|part| part == word)
    };
    processes
        .filter_map(|child| child.file_name().to_str()?.parse().ok())
        .filter(has_word)
        .collect()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    const LIMIT: Duration = Duration::from_secs(60);
    const PAUSE: Duration = Duration::from_millis(10);
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "in vain: {what}");
        thread::sleep(PAUSE);
    }
}

#[test]
fn what_can_t_be_done_in_the_background_is_said_before() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let mut sync = scratch.command("sync", &[&path_entry]);
    let output = process::expect_status(sync.args(["--background", "--dry-run"]), 2);
    assert!(process::stderr(&output).contains("--dry-run"));
    let mut sync = scratch.command("sync", &[&path_entry]);
    process::expect_status(sync.args(["--background", "--seal"]), 2);
    assert!(!scratch.cache().exists());
}

#[test]
fn a_sync_says_in_a_mirror_s_claim_that_it_ended_and_prune_removes_it() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    scratch.sync(&[&path_entry]);
    let claim = scratch.mirror(&path_entry).join(".refresh");
    assert!(!claim.exists(), "nobody asked for a refresh");

    fs::write(&claim, "").unwrap();
    set_mode(&claim, 0o600);
    scratch.sync(&[&path_entry]);
    let text = fs::read_to_string(&claim).unwrap();
    let stamp = |path: &Path| {
        let stat = fs::metadata(path).unwrap();
        let nanoseconds = |seconds: i64, rest: i64| seconds * 1_000_000_000 + rest;
        let mtime = nanoseconds(stat.mtime(), stat.mtime_nsec());
        let ctime = nanoseconds(stat.ctime(), stat.ctime_nsec());
        format!("{}:{}:{mtime}:{ctime}", stat.ino(), stat.size())
    };
    let (before, index) = (stamp(&path_entry), stamp(&scratch.index(&path_entry)));
    let expected = format!("epcache-refresh 1 {before} {index} 2");
    assert_eq!(text.trim_end(), expected);
    let noted = stamp(&claim);
    scratch.sync(&[&path_entry]);
    assert_eq!(stamp(&claim), noted, "nothing changed, nothing is written");

    fs::remove_dir_all(&path_entry).unwrap();
    process::succeed(&mut scratch.command("prune", &[]));
    assert_eq!(files_below(&scratch.cache()), [] as [PathBuf; 0]);
}

#[test]
fn query_tells_by_its_exit_status_whether_something_was_found() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    for synced in [false, true] {
        if synced {
            scratch.sync(&[&path_entry]);
        }
        for (arguments, status) in [
            ([].as_slice(), 0),
            (&["plug.ins"], 0),
            (&["plug.ins", "b"], 0),
            (&["plug.ins", "c"], 1),
            (&["plug"], 1),
        ] {
            let mut query = scratch.command("query", &[&path_entry]);
            process::expect_status(query.args(arguments), status);
        }
    }
    let empty = scratch.path_entry("empty");
    process::expect_status(&mut scratch.command("query", &[&empty]), 1);
}

#[test]
fn plain_is_one_tab_separated_line_for_each_entry_point() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let mut query = scratch.command("query", &[&path_entry]);
    let output = process::succeed(query.args(["plug.ins", "--format", "plain"]));
    let expected: Vec<[String; 3]> = judge::entry_points(&[&path_entry])
        .into_iter()
        .filter(|entry| entry.group == "plug.ins")
        .map(|entry| [entry.group, entry.name, entry.value])
        .collect();
    let text = process::stdout(&output);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(lines.len(), 2);
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(line[..3], expected[..]);
        assert_eq!(line.len(), 4, "group, name, value, dist: {line:?}");
    }
    let dists: Vec<&str> = lines.iter().map(|line| line[3]).collect();
    assert!(
        dists.iter().any(|dist| dist.starts_with("alpha")),
        "{dists:?}"
    );

    let piped = process::succeed(scratch.command("query", &[&path_entry]).arg("plug.ins"));
    assert_eq!(process::stdout(&piped), text, "what a pipe gets");
}

#[test]
fn json_and_jsonl_carry_every_field() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let expected = json!({
        "group": "console_scripts",
        "name": "alpha",
        "value": "alpha.cli:main [fast, tidy]",
        "module": "alpha.cli",
        "attr": "main",
        "extras": ["fast", "tidy"],
        "dist": {
            "name": "alpha",
            "version": "1.5",
            "metadata_dir": "alpha-1.5.dist-info",
            "path_entry": path_entry,
        },
    });
    for synced in [false, true] {
        if synced {
            scratch.sync(&[&path_entry]);
        }
        let ask = |arguments: &[&str]| {
            let mut query = scratch.command("query", &[&path_entry]);
            process::succeed(query.args(arguments)).stdout
        };
        let list: Value =
            serde_json::from_slice(&ask(&["console_scripts", "--format", "json"])).unwrap();
        assert_eq!(list, json!([expected]));
        let lines = json_lines(&ask(&["console_scripts", "--format", "jsonl"]));
        assert_eq!(lines, std::slice::from_ref(&expected));

        let module_alone = json_lines(&ask(&["plug.ins", "a", "--format", "jsonl"]));
        assert_eq!(module_alone[0]["module"], "alpha.plugin");
        assert_eq!(module_alone[0]["attr"], Value::Null);
        assert_eq!(module_alone[0]["extras"], json!([]));
        let dotted = json_lines(&ask(&["plug.ins", "b", "--format", "jsonl"]));
        assert_eq!(dotted[0]["attr"], "Plugin.make");
    }
}

#[test]
fn a_value_that_is_no_object_reference_has_no_module() {
    let scratch = Scratch::new();
    let path_entry = scratch.path_entry("site-packages");
    write_dist(
        &path_entry,
        "odd-1.dist-info",
        Some("[g]\nodd = not a reference!\n"),
    );
    let output = process::succeed(
        scratch
            .command("query", &[&path_entry])
            .args(["--format", "jsonl"]),
    );
    let line = &json_lines(&output.stdout)[0];
    assert_eq!(line["value"], "not a reference!");
    assert_eq!(line["module"], Value::Null);
    assert_eq!(line["attr"], Value::Null);
}

#[test]
fn groups_counts_what_cpython_finds() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for entry in judge::entry_points(&[&path_entry]) {
        *expected.entry(entry.group).or_default() += 1;
    }
    let output = process::succeed(
        scratch
            .command("groups", &[&path_entry])
            .args(["--format", "plain"]),
    );
    let found: BTreeMap<String, usize> = process::stdout(&output)
        .lines()
        .map(|line| {
            let (group, count) = line.split_once('\t').unwrap();
            (group.to_owned(), count.parse().unwrap())
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn dists_tells_of_every_distribution_shadowed_ones_too() {
    let scratch = Scratch::new();
    let first = installed(&scratch);
    let second = scratch.path_entry("second");
    write_dist(&second, "quiet-9.dist-info", Some("[g]\nq = quiet\n"));
    write_dist(
        &second,
        "zulu-1.dist-info",
        Some("[g]\nz = zulu\ny = zulu\n"),
    );
    let path_entries = [first.as_path(), second.as_path()];
    for synced in [false, true] {
        if synced {
            scratch.sync(&path_entries);
        }
        let output = process::succeed(
            scratch
                .command("dists", &path_entries)
                .args(["--format", "jsonl"]),
        );
        let found = json_lines(&output.stdout);
        let expected = judge::distributions(&path_entries);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found["metadata_dir"], expected.metadata_dir.as_str());
            assert_eq!(found["path_entry"], expected.path_entry.as_str());
            assert_eq!(found["normalized_name"], expected.normalized_name.as_str());
            assert_eq!(found["shadowed"], expected.shadowed);
            assert_eq!(found["entry_points"], expected.entry_points.len());
        }
        let shadowed: Vec<&Value> = found
            .iter()
            .filter(|dist| dist["shadowed"] == true)
            .collect();
        assert_eq!(shadowed.len(), 1);
        assert_eq!(shadowed[0]["version"], "9");
    }
}

#[test]
fn status_tells_for_each_path_entry_whether_the_cache_answers() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let ask = || {
        let output = process::finish(
            scratch
                .command("status", &[&path_entry])
                .args(["--format", "jsonl"]),
        );
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{}",
            process::stderr(&output)
        );
        json_lines(&output.stdout)
            .into_iter()
            .find(|line| line["path_entry"] == path_entry.to_str().unwrap())
            .unwrap()
    };
    let before = ask();
    scratch.sync(&[&path_entry]);
    let fresh = ask();
    write_dist(&path_entry, "new-1.dist-info", None);
    let stale = ask();
    assert_ne!(
        before["answered_by"], fresh["answered_by"],
        "{before} {fresh}"
    );
    assert_eq!(fresh["state"], "fresh", "{fresh}");
    assert_eq!(fresh["root"], scratch.cache().to_str().unwrap(), "{fresh}");
    assert_eq!(stale["state"], "stale", "{stale}");
    assert_ne!(stale["reason"], fresh["reason"], "why it is stale: {stale}");
}

#[test]
fn a_dry_run_tells_what_it_would_write_and_writes_nothing() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let output = process::succeed(scratch.command("sync", &[&path_entry]).arg("--dry-run"));
    assert!(!scratch.cache().exists(), "nothing is created");
    let said = process::stdout(&output) + &process::stderr(&output);
    assert!(said.contains(path_entry.to_str().unwrap()), "{said}");

    scratch.sync(&[&path_entry]);
    let before = contents(&scratch.cache());
    write_dist(&path_entry, "new-1.dist-info", Some("[g]\nn = new\n"));
    process::succeed(scratch.command("sync", &[&path_entry]).arg("--dry-run"));
    assert_eq!(contents(&scratch.cache()), before);
}

/// Every file with its content and the time of its last change.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>, i64, i64)> {
    files_below(directory)
        .into_iter()
        .map(|file| {
            let metadata = fs::metadata(directory.join(&file)).unwrap();
            let content = fs::read(directory.join(&file)).unwrap();
            (file, content, metadata.ctime(), metadata.ctime_nsec())
        })
        .collect()
}

#[test]
fn a_mirror_file_is_a_copy_with_its_source_s_time_and_every_dist_has_one() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let text = "[g]\r\n# comment\r\n  odd   =  spaced : out  \r\n\u{85}\n";
    write_dist(&path_entry, "odd-1.egg-info", Some(text));
    fs::write(path_entry.join("single-1.egg-info"), "Name: single\n").unwrap();
    scratch.sync(&[&path_entry]);
    let mirror = scratch.mirror(&path_entry);
    let expected = [
        ".index",
        "Bravo_Tools-2.dist-info.txt",
        "alpha-1.5.dist-info.txt",
        "odd-1.egg-info.txt",
        "quiet-3.dist-info.txt",
        "single-1.egg-info.txt",
    ];
    assert_eq!(files_below(&mirror), expected.map(PathBuf::from));
    for dist in [
        "alpha-1.5.dist-info",
        "Bravo_Tools-2.dist-info",
        "odd-1.egg-info",
    ] {
        let source = path_entry.join(dist).join("entry_points.txt");
        let copy = mirror.join(format!("{dist}.txt"));
        assert_eq!(fs::read(&copy).unwrap(), fs::read(&source).unwrap());
        let [copy, source] = [copy, source].map(|path| fs::metadata(path).unwrap());
        assert_eq!(
            (copy.mtime(), copy.mtime_nsec()),
            (source.mtime(), source.mtime_nsec())
        );
    }
    for dist in ["quiet-3.dist-info", "single-1.egg-info"] {
        assert_eq!(fs::read(mirror.join(format!("{dist}.txt"))).unwrap(), b"");
    }
}

#[test]
fn verify_finds_a_changed_mirror_file_and_repair_heals_it() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    scratch.sync(&[&path_entry]);
    process::succeed(&mut scratch.command("verify", &[&path_entry]));
    let changed = scratch.mirror(&path_entry).join("alpha-1.5.dist-info.txt");
    let right = fs::read(&changed).unwrap();
    fs::write(&changed, b"[g]\nx = y\n").unwrap();

    let output = process::expect_status(&mut scratch.command("verify", &[&path_entry]), 1);
    let said = process::stdout(&output) + &process::stderr(&output);
    assert!(said.contains("alpha-1.5.dist-info"), "{said}");

    process::finish(scratch.command("verify", &[&path_entry]).arg("--repair"));
    assert_eq!(fs::read(&changed).unwrap(), right);
    process::succeed(&mut scratch.command("verify", &[&path_entry]));
}

#[test]
fn verify_finds_a_source_that_changed_and_an_index_that_lies() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    scratch.sync(&[&path_entry]);
    write_dist(&path_entry, "alpha-1.5.dist-info", Some("[g]\nx = y\n"));
    process::expect_status(&mut scratch.command("verify", &[&path_entry]), 1);
    scratch.sync(&[&path_entry]);
    process::succeed(&mut scratch.command("verify", &[&path_entry]));

    let index = scratch.index(&path_entry);
    let text = fs::read_to_string(&index).unwrap();
    let lie = text.replace("bravo:Plugin.make", "bravo:Plugin.fake");
    assert_ne!(lie, text);
    fs::write(&index, lie).unwrap();
    process::expect_status(&mut scratch.command("verify", &[&path_entry]), 1);
    process::finish(scratch.command("verify", &[&path_entry]).arg("--repair"));
    process::succeed(&mut scratch.command("verify", &[&path_entry]));
    assert_eq!(
        scratch.query(&[&path_entry]),
        judge::entry_points(&[&path_entry])
    );
}

#[test]
fn prune_removes_what_no_path_entry_stands_behind_and_leftovers_and_nothing_else() {
    let scratch = Scratch::new();
    let stays = installed(&scratch);
    let goes = scratch.path_entry("gone/site-packages");
    write_dist(&goes, "gone-1.dist-info", Some("[g]\ng = gone\n"));
    scratch.sync(&[&stays, &goes]);
    let kept = contents(&scratch.mirror(&stays));
    fs::remove_dir_all(scratch.join("gone")).unwrap();
    // Of a process that can't be: the number is above all that the kernel gives.
    let leftover = scratch.mirror(&stays).join(".tmp-2147483647-half");
    fs::write(&leftover, "half").unwrap();
    process::succeed(
        scratch
            .epcache()
            .arg("prune")
            .arg("--cache-dir")
            .arg(scratch.cache()),
    );

    assert!(!scratch.mirror(&goes).exists());
    assert_eq!(leftovers(&scratch.cache()), Vec::<PathBuf>::new());
    assert_eq!(contents(&scratch.mirror(&stays)), kept);
}

#[test]
fn sync_removes_the_mirror_files_of_what_was_uninstalled() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    scratch.sync(&[&path_entry]);
    let file = scratch.mirror(&path_entry).join("alpha-1.5.dist-info.txt");
    assert!(file.exists());
    fs::remove_dir_all(path_entry.join("alpha-1.5.dist-info")).unwrap();
    scratch.sync(&[&path_entry]);
    assert!(!file.exists());
    assert_eq!(
        scratch.query(&[&path_entry]),
        judge::entry_points(&[&path_entry])
    );
}

#[test]
fn mode_only_answers_with_the_path_entry_gone() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    scratch.sync(&[&path_entry]);
    let expected = judge::entry_points(&[&path_entry]);
    fs::rename(&path_entry, scratch.join("aside")).unwrap();
    assert_eq!(
        scratch.query_with(&[&path_entry], &["--mode", "only"]),
        expected
    );
    assert_eq!(
        scratch.query(&[&path_entry]),
        [],
        "the default tells what is there"
    );
    let mut by_environment = scratch.command("query", &[&path_entry]);
    assert_eq!(
        entries(by_environment.env("EPCACHE_MODE", "only")),
        expected
    );
}

#[test]
fn mode_off_never_opens_the_cache_and_mode_only_never_the_path_entry() {
    if let Err(reason) = strace::available() {
        missing(&format!("seeing what is opened: {reason}"));
        return;
    }
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    scratch.sync(&[&path_entry]);
    let expected = judge::entry_points(&[&path_entry]);
    let mirror = scratch.mirror(&path_entry);
    let source = format!("\"{}", path_entry.display());
    for (mode, kept_from) in [("off", mirror.to_str().unwrap()), ("only", source.as_str())] {
        let mut query = scratch.command("query", &[&path_entry]);
        let (output, calls) = strace::trace(
            query.args(["--mode", mode, "--format", "json"]),
            FILE_SYSTEM,
        );
        assert_eq!(
            epcache_tests::environment::parse_json(&output.stdout),
            expected
        );
        let touching: Vec<_> = calls
            .iter()
            .filter(|call| call.name != "execve" && call.name != "write" && call.touches(kept_from))
            .collect();
        assert!(touching.is_empty(), "mode {mode}: {touching:?}");
    }
}

#[test]
fn the_cache_roots_of_the_environment_replace_all_others() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let [one, two] = [scratch.join("one"), scratch.join("two")];
    let roots = std::env::join_paths([&one, &two]).unwrap();
    process::succeed(
        scratch
            .epcache()
            .env("EPCACHE_PATH", &roots)
            .arg("sync")
            .args(named(&[&path_entry])),
    );
    let written: Vec<bool> = [&one, &two]
        .map(|root| mirror(root, &path_entry).join(".index").is_file())
        .into();
    assert!(written.contains(&true), "one of them holds the index");
    assert!(
        !scratch.home().join("cache").exists(),
        "the user's own is left alone"
    );
    let expected = judge::entry_points(&[&path_entry]);
    fs::rename(&path_entry, scratch.join("aside")).unwrap();
    let mut query = scratch.epcache();
    query
        .env("EPCACHE_PATH", &roots)
        .args(["query", "--mode", "only"])
        .args(named(&[&path_entry]));
    assert_eq!(entries(&mut query), expected);
}

#[test]
fn a_virtual_environment_is_found_by_option_by_activation_and_by_its_place() {
    let scratch = Scratch::new();
    let project = scratch.path_entry("project/deeper");
    let venv = scratch.join("project/.venv");
    process::succeed(
        Command::new(judge::python())
            .args(["-m", "venv", "--without-pip"])
            .arg(&venv),
    );
    let site_packages = walkdir_site_packages(&venv);
    write_dist(
        &site_packages,
        "inside-1.dist-info",
        Some("[only.here]\ni = inside\n"),
    );
    let found = |command: &mut Command| {
        let values: Vec<String> = entries(command.arg("only.here"))
            .into_iter()
            .map(|entry| entry.value)
            .collect();
        assert_eq!(values, ["inside"], "{command:?}");
    };
    found(scratch.epcache().args(["query", "--venv"]).arg(&venv));
    found(
        scratch
            .epcache()
            .args(["query", "--python"])
            .arg(venv.join("bin/python")),
    );
    found(scratch.epcache().arg("query").env("VIRTUAL_ENV", &venv));
    found(
        scratch
            .epcache()
            .arg("query")
            .current_dir(scratch.join("project")),
    );
    found(scratch.epcache().arg("query").current_dir(&project));
}

fn walkdir_site_packages(venv: &Path) -> PathBuf {
    let lib = fs::read_dir(venv.join("lib")).unwrap();
    lib.map(|entry| entry.unwrap().path().join("site-packages"))
        .find(|path| path.is_dir())
        .unwrap()
}

#[test]
fn a_sync_of_an_interpreter_makes_its_queries_come_from_the_cache() {
    let scratch = Scratch::new();
    let venv = scratch.join("venv");
    process::succeed(
        Command::new(judge::python())
            .args(["-m", "venv", "--without-pip"])
            .arg(&venv),
    );
    let site_packages = walkdir_site_packages(&venv);
    write_dist(
        &site_packages,
        "inside-1.dist-info",
        Some("[only.here]\ni = inside\n"),
    );
    process::succeed(scratch.epcache().args(["sync", "--venv"]).arg(&venv));
    let root = scratch.join("home/cache/epcache");
    assert!(mirror(&root, &site_packages).join(".index").is_file());
    let output = process::succeed(scratch.epcache().args(["paths", "--venv"]).arg(&venv));
    let said = process::stdout(&output);
    assert!(said.contains(site_packages.to_str().unwrap()), "{said}");
    assert!(said.contains(root.to_str().unwrap()), "{said}");
}

#[test]
fn every_subcommand_s_help_has_an_example() {
    let scratch = Scratch::new();
    for subcommand in SUBCOMMANDS {
        let output = process::succeed(scratch.epcache().args([subcommand, "--help"]));
        let text = process::stdout(&output);
        let example = format!("epcache {subcommand}");
        assert!(
            text.split_once("Example")
                .is_some_and(|(_, rest)| rest.contains(&example)),
            "a line to copy: {text}"
        );
    }
    let text = process::stdout(&process::succeed(scratch.epcache().arg("--help")));
    for subcommand in SUBCOMMANDS {
        assert!(text.contains(subcommand), "{subcommand}: {text}");
    }
    let version = process::stdout(&process::succeed(scratch.epcache().arg("--version")));
    assert!(version.starts_with("epcache "), "{version}");
}

#[test]
fn completions_are_a_script_that_the_shell_reads() {
    let scratch = Scratch::new();
    for (shell, word) in [
        ("bash", "complete"),
        ("zsh", "#compdef"),
        ("fish", "complete -c epcache"),
    ] {
        let output = process::succeed(scratch.epcache().args(["completions", shell]));
        let text = process::stdout(&output);
        assert!(text.contains(word), "{shell}");
        for subcommand in SUBCOMMANDS {
            assert!(text.contains(subcommand), "{shell}: {subcommand}");
        }
    }
    let script = scratch.join("completion.bash");
    let output = process::succeed(scratch.epcache().args(["completions", "bash"]));
    fs::write(&script, output.stdout).unwrap();
    let Ok(read) = Command::new("bash").arg("-n").arg(&script).output() else {
        skip("reading the completions: no bash here");
        return;
    };
    assert!(read.status.success(), "{}", process::stderr(&read));
}

#[test]
fn manual_pages_are_printed_or_written_to_a_directory() {
    let scratch = Scratch::new();
    let output = process::succeed(scratch.epcache().arg("man"));
    assert!(process::stdout(&output).contains(".TH epcache 1"));
    let pages = scratch.path_entry("man1");
    process::succeed(scratch.epcache().arg("man").arg(&pages));
    let names = files_below(&pages);
    assert!(names.contains(&PathBuf::from("epcache.1")), "{names:?}");
    for subcommand in SUBCOMMANDS {
        let page = format!("epcache-{subcommand}.1");
        assert!(names.contains(&PathBuf::from(&page)), "{page} in {names:?}");
    }
}

/// Runs a command on a terminal of so many columns and gives what that shows; nothing where there
/// is no `script` to make one.
fn on_a_terminal(command: &Command, columns: usize) -> Option<String> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''")))
        .collect();
    let line = format!("stty cols {columns} rows 50 && {}", words.join(" "));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("COLUMNS");
    if Command::new("script").arg("--version").output().is_err() {
        missing("a terminal: no script(1) here");
        return None;
    }
    let output = process::succeed(&mut script);
    Some(process::stdout(&output).replace("\r\n", "\n"))
}

/// What is left to see when sequences for colours and the like are taken out.
fn visible(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character == '\x1b' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(character);
        }
    }
    text
}

#[test]
fn a_table_on_a_terminal_fits_its_width() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let long = format!(
        "[g]\n{} = {}:main\n",
        "name".repeat(40),
        "module".repeat(40)
    );
    write_dist(&path_entry, "long-1.dist-info", Some(&long));
    for subcommand in ["query", "groups", "dists", "status"] {
        for columns in [50, 80, 120] {
            let command = scratch.command(subcommand, &[&path_entry]);
            let Some(shown) = on_a_terminal(&command, columns) else {
                return;
            };
            assert!(!shown.trim().is_empty(), "{subcommand}");
            for line in shown.lines() {
                let width = visible(line).chars().count();
                assert!(
                    width <= columns,
                    "{subcommand} on {columns} columns: {width}: {line:?}"
                );
                assert!(!line.contains('\t'), "a table, not plain lines: {line:?}");
            }
        }
    }
}

#[test]
fn control_characters_are_escaped_on_a_terminal_and_in_a_pipe_that_may_end_on_one() {
    let scratch = Scratch::new();
    let path_entry = scratch.path_entry("site-packages");
    write_dist(
        &path_entry,
        "odd-1.dist-info",
        Some("[g]\n\x1b]0;owned\x07red\x1b[31m = odd:\u{9b}31m\u{202e}main\n"),
    );
    write_dist(
        &path_entry,
        "\x1b[2Jclear-1.dist-info",
        Some("[g]\nc = clear\n"),
    );
    for format in ["table", "plain"] {
        for subcommand in ["query", "dists"] {
            let mut command = scratch.command(subcommand, &[&path_entry]);
            command.args(["--format", format, "--color", "never"]);
            let Some(shown) = on_a_terminal(&command, 120) else {
                return;
            };
            let raw: Vec<char> = shown
                .chars()
                .filter(|&character| character.is_control() && !matches!(character, '\n' | '\t'))
                .collect();
            assert_eq!(raw, [], "{subcommand} as {format}: {shown:?}");
        }
    }
    let mut query = scratch.command("query", &[&path_entry]);
    let piped = process::succeed(query.args(["g", "--format", "plain"]));
    // Which of the two comes first is the file system's matter.
    let piped = process::stdout(&piped);
    let escaped = "g\t\\x1b]0;owned\\x07red\\x1b[31m\todd:\\x9b31m\u{202e}main\todd";
    assert!(piped.lines().any(|line| line == escaped), "{piped:?}");
    let mut query = scratch.command("query", &[&path_entry]);
    let json = process::succeed(query.args(["g", "--format", "jsonl"]));
    let lines = json_lines(&json.stdout);
    assert!(
        lines
            .iter()
            .any(|entry| entry["name"] == "\x1b]0;owned\x07red\x1b[31m"),
        "a program gets what is there: {lines:?}"
    );
}

#[test]
fn colours_are_for_terminals_and_for_who_wants_them() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let query = || scratch.command("query", &[&path_entry]);
    let mut always = query();
    let always = process::succeed(always.args(["--format", "table", "--color", "always"]));
    assert!(process::stdout(&always).contains("\x1b["), "asked for");
    let piped = process::succeed(query().args(["--format", "table"]));
    assert!(!process::stdout(&piped).contains('\x1b'), "a pipe");
    let Some(shown) = on_a_terminal(&query(), 80) else {
        return;
    };
    assert!(shown.contains("\x1b["), "a terminal");
    let mut without = query();
    without.env("NO_COLOR", "1");
    assert!(
        !on_a_terminal(&without, 80).unwrap().contains('\x1b'),
        "NO_COLOR"
    );
    let mut never = query();
    never.args(["--color", "never"]);
    assert!(
        !on_a_terminal(&never, 80).unwrap().contains('\x1b'),
        "--color never"
    );
}

#[test]
fn quiet_leaves_out_warnings_and_verbose_says_what_is_not_used() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let bad = write_dist(
        &path_entry,
        "bad-1.dist-info",
        Some("[g]\nno equals sign\n"),
    );
    let warned = process::succeed(&mut scratch.command("query", &[&path_entry]));
    assert!(process::stderr(&warned).contains(bad.to_str().unwrap()));
    let quiet = process::succeed(scratch.command("query", &[&path_entry]).arg("-q"));
    assert_eq!(quiet.stdout, warned.stdout, "the answer is the same");
    assert_eq!(process::stderr(&quiet), "");
    fs::remove_dir_all(bad).unwrap();

    // The root is not used now, and that is worth telling whoever wants to know.
    scratch.sync(&[&path_entry]);
    set_mode(&scratch.cache(), 0o777);
    let plain = process::succeed(&mut scratch.command("query", &[&path_entry]));
    let verbose = process::succeed(scratch.command("query", &[&path_entry]).arg("-v"));
    assert_eq!(verbose.stdout, plain.stdout, "the answer is the same");
    assert_eq!(process::stderr(&plain), "");
    let said = process::stderr(&verbose);
    assert!(said.contains(scratch.cache().to_str().unwrap()), "{said}");
}

#[test]
fn paths_tells_where_the_configuration_and_the_caches_are() {
    let scratch = Scratch::new();
    let said = process::stdout(&process::succeed(scratch.epcache().arg("paths")));
    for place in ["config/epcache/epcache.ini", "cache/epcache"] {
        let place = scratch.home().join(place);
        assert!(said.contains(place.to_str().unwrap()), "{said}");
    }
    assert!(said.contains("/var/cache/epcache"), "{said}");
}

/// Runs a shell script in a mount namespace of its own, where `/var/cache` is empty and the test's
/// path entry stands in for the system's. Nothing where that is not allowed.
fn as_the_system(scratch: &Scratch, script: &str) -> Option<std::process::Output> {
    let system = Path::new("/usr/lib/python3/dist-packages");
    if !is_root() || !system.is_dir() || !Path::new("/var/cache").is_dir() {
        skip("the system's own root: it takes root and a /usr/lib/python3/dist-packages");
        return None;
    }
    let mut command = Command::new("unshare");
    for (name, value) in scratch.epcache().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let prepared = format!(
        "mount -t tmpfs -o mode=755 none /var/cache || exit 77\n\
         mount --bind \"$1\" {system} || exit 77\n\
         EPCACHE=\"$2\"\n{script}",
        system = system.display()
    );
    command
        .args(["--mount", "sh", "-ec", &prepared, "sh"])
        .arg(scratch.join("lib/site-packages"))
        .arg(epcache_tests::binary());
    let output = process::finish(&mut command);
    if output.status.code() == Some(77) || process::stderr(&output).contains("unshare failed") {
        skip("the system's own root: no mount namespaces here");
        return None;
    }
    assert!(output.status.success(), "{}", process::stderr(&output));
    Some(output)
}

#[test]
fn a_user_s_sync_leaves_alone_what_a_fresh_system_index_answers() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let expected = judge::entry_points(&[&path_entry]);
    let system = "/usr/lib/python3/dist-packages";
    let script = format!(
        "\"$EPCACHE\" sync --system >&2\n\
         test -f /var/cache/epcache{system}/.index\n\
         \"$EPCACHE\" sync --user --path {system} >&2\n\
         \"$EPCACHE\" query --path {system} --format json"
    );
    let Some(output) = as_the_system(&scratch, &script) else {
        return;
    };
    let found = epcache_tests::environment::parse_json(&output.stdout);
    let values = |entries: &[judge::Entry]| -> Vec<String> {
        entries.iter().map(|entry| entry.value.clone()).collect()
    };
    assert_eq!(values(&found), values(&expected));
    assert_eq!(
        files_below(&scratch.home().join("cache/epcache/usr")),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn a_user_s_sync_stands_in_where_the_system_s_index_is_stale() {
    let scratch = Scratch::new();
    installed(&scratch);
    let system = "/usr/lib/python3/dist-packages";
    let script = format!(
        "\"$EPCACHE\" sync --system >&2\n\
         mkdir {system}/late-1.dist-info\n\
         printf '[late]\\nl = late\\n' > {system}/late-1.dist-info/entry_points.txt\n\
         \"$EPCACHE\" sync --user --path {system} >&2\n\
         \"$EPCACHE\" query late --path {system} --format plain"
    );
    let Some(output) = as_the_system(&scratch, &script) else {
        return;
    };
    assert!(
        process::stdout(&output).starts_with("late\tl\tlate\t"),
        "{}",
        process::stdout(&output)
    );
    let own = scratch.home().join("cache/epcache").join(&system[1..]);
    assert!(
        own.join(".index").is_file(),
        "the user has an index of their own now"
    );
}

/// Writes the user's configuration.
fn configure(scratch: &Scratch, text: &str) -> PathBuf {
    let file = scratch.home().join("config/epcache/epcache.ini");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    set_mode(&file, 0o644);
    file
}

/// Runs a command that must exit with 2 and say why in one line, which is given without the
/// command's name.
fn refusal(command: &mut Command) -> String {
    let output = process::expect_status(command, 2);
    let said = process::stderr(&output);
    let line = said.strip_prefix("epcache: ").unwrap_or_default();
    assert_eq!(line.lines().count(), 1, "one line: {said}");
    line.trim_end().to_owned()
}

#[test]
fn a_cache_root_that_is_not_absolute_is_refused_and_nothing_is_made() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let directory = scratch.path_entry("here");
    let sync = || {
        let mut command = scratch.epcache();
        command
            .current_dir(&directory)
            .arg("sync")
            .args(named(&[&path_entry]));
        command
    };
    let absolute = scratch.join("abs");
    let list = format!("rel:{}", absolute.display());
    assert_eq!(
        refusal(sync().env("EPCACHE_PATH", &list)),
        "EPCACHE_PATH: \"rel\" is not an absolute path"
    );
    let file = configure(&scratch, "[epcache]\npath = ~/c\n");
    assert_eq!(
        refusal(&mut sync()),
        format!(
            "{}: [epcache] path: \"~/c\" is not an absolute path (\"~\" and variables are not expanded); correct it, or remove the file",
            file.display()
        )
    );
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    assert!(!absolute.exists());
}

#[test]
fn what_is_to_be_watched_is_a_setting_whose_mistakes_are_errors_of_every_command() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let query = || {
        let mut query = scratch.command("query", &[&path_entry]);
        query.arg("plug.ins");
        query
    };
    configure(
        &scratch,
        "[watch]\nvenvs = /no/such:/none\npath-entries = /nowhere\n",
    );
    let output = process::succeed(&mut query());
    assert_eq!(process::stderr(&output), "", "nothing is looked for");
    assert_eq!(process::stdout(&output).lines().count(), 2);
    for (text, expected) in [
        (
            "[watch]\nvenvs = /a:.venv\n",
            "[watch] venvs: \".venv\" is not an absolute path; correct it, or remove the file",
        ),
        (
            "[watch]\nvenv = /a\n",
            "[watch] venv: no such setting; there are [epcache] mode, path, [system] path-entries and [watch] venvs, path-entries; correct it, or remove the file",
        ),
    ] {
        let file = configure(&scratch, text);
        assert_eq!(
            refusal(&mut query()),
            format!("{}: {expected}", file.display())
        );
    }
}

#[test]
fn several_environments_at_once_are_refused_where_one_is_asked_about() {
    let scratch = Scratch::new();
    for subcommand in [
        "sync", "query", "groups", "dists", "status", "verify", "prune", "paths",
    ] {
        for (options, named) in [
            (["--venv=/a", "--venv=/b"], "--venv"),
            (["--python=/a", "--python=/b"], "--python"),
            (["--venv=/a", "--path=/b"], "--venv and --path"),
            (["--path=/b", "--python=/a"], "--python and --path"),
            (["--python=/a", "--venv=/b"], "--venv and --python"),
        ] {
            assert_eq!(
                refusal(scratch.epcache().arg(subcommand).args(options)),
                format!("{named}: one environment at a time; only 'watch' takes several"),
                "{subcommand} {options:?}"
            );
        }
    }
    assert!(!scratch.cache().exists(), "and nothing is written");
    let system = ["sync", "--system", "--venv=/a"];
    assert_eq!(
        refusal(scratch.epcache().args(system)),
        "--system starts no Python: name path entries with --path instead of --python or --venv"
    );
    let said = refusal(scratch.epcache().args(["query", "--root=/", "--venv=/a"]));
    assert!(said.contains("can't be given together with"), "{said}");
}

#[test]
fn a_virtual_environment_may_be_named_by_a_relative_path() {
    let scratch = Scratch::new();
    let venv = scratch.join("proj/venv");
    process::succeed(
        Command::new(judge::python())
            .args(["-m", "venv", "--without-pip"])
            .arg(&venv),
    );
    let deeper = scratch.path_entry("proj/deeper");
    let site_packages = walkdir_site_packages(&venv);
    for option in [
        ["--venv", "../venv"],
        ["--python", "../venv/bin/python"],
        ["--venv", "../venv/."],
    ] {
        let mut paths = scratch.epcache();
        paths.current_dir(&deeper).arg("paths").args(option);
        let said = process::stdout(&process::succeed(&mut paths));
        let expected = format!("path entry\t\t{}", site_packages.display());
        assert!(said.lines().any(|line| line == expected), "{said}");
    }
}

#[test]
fn a_configuration_that_can_not_be_looked_at_is_not_used_and_breaks_no_query() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let file = scratch.home().join("config/epcache/epcache.ini");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("epcache.ini", &file).unwrap();
    let mut query = scratch.command("query", &[&path_entry]);
    let output = process::succeed(query.arg("plug.ins"));
    let said = process::stderr(&output);
    let expected = format!(
        "epcache: warning: {}: configuration not used: ",
        file.display()
    );
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(process::stdout(&output).lines().count(), 2);
}

#[test]
fn a_configuration_that_is_no_file_is_an_error_and_never_waited_for() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let file = configure(&scratch, "");
    fs::remove_file(&file).unwrap();
    let query = || refusal(&mut scratch.command("query", &[&path_entry]));
    fs::create_dir(&file).unwrap();
    assert!(query().contains("is a directory"), "{}", query());
    fs::remove_dir(&file).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &file,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(query().contains("not a regular file"), "{}", query());
}

#[test]
fn with_root_only_the_configuration_in_there_counts() {
    let scratch = Scratch::new();
    let image = scratch.path_entry("image");
    fs::create_dir_all(image.join("opt/app")).unwrap();
    write_dist(
        &image.join("opt/app"),
        "in-1.dist-info",
        Some("[g]\ni = in\n"),
    );
    configure(
        &scratch,
        "[system]\npath-entries = /opt/none\nno-such = 1\n",
    );
    let values = || -> Vec<String> {
        let mut query = scratch.epcache();
        let found = entries(query.args(["query", "--root"]).arg(&image));
        found.into_iter().map(|entry| entry.value).collect()
    };
    assert_eq!(values(), Vec::<String>::new(), "the user's has no say");
    let file = image.join("etc/epcache/epcache.ini");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "[system]\npath-entries = /opt/app\n").unwrap();
    set_mode(&file, 0o644);
    assert_eq!(values(), ["in"]);
    let mut paths = scratch.epcache();
    let output = process::succeed(
        paths
            .current_dir(scratch.path())
            .args(["paths", "--root", "image", "--format", "json"]),
    );
    let places: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        places["config"],
        json!([{ "path": file, "exists": true, "not_used": null }])
    );
    assert_eq!(
        places["roots"][0]["path"],
        image.join("var/cache/epcache").to_str().unwrap()
    );
}

#[test]
fn an_epcache_mode_that_is_no_text_is_an_error() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let mut query = scratch.command("query", &[&path_entry]);
    let said = refusal(query.env("EPCACHE_MODE", std::ffi::OsStr::from_bytes(b"\xff")));
    assert!(said.starts_with("EPCACHE_MODE: "), "{said}");
}

#[test]
fn errors_of_usage_name_the_help_to_read() {
    let scratch = Scratch::new();
    for (arguments, expected) in [
        (
            ["sync", "--dry"].as_slice(),
            "--dry: no such argument; did you mean --dry-run?; see 'epcache sync --help'",
        ),
        (
            &["snyc"],
            "snyc: no such subcommand; did you mean sync?; see 'epcache --help'",
        ),
    ] {
        assert_eq!(refusal(scratch.epcache().args(arguments)), expected);
    }
    let said = refusal(scratch.epcache().args(["sync", "--seal"]));
    assert!(said.starts_with("--seal needs --vendor"), "{said}");
}

#[test]
fn what_can_not_be_written_to_standard_output_is_an_error() {
    let scratch = Scratch::new();
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        skip("a full device: there is no /dev/full here");
        return;
    };
    for arguments in [
        ["--help"].as_slice(),
        &["--version"],
        &["man"],
        &["completions", "bash"],
        &["paths", "--path", "/"],
    ] {
        let mut command = scratch.epcache();
        let mut child = command
            .args(arguments)
            .stdout(full.try_clone().unwrap())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(2), "{arguments:?}");
        assert!(
            said.starts_with("epcache: can't write to standard output: "),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn a_path_that_can_not_be_cached_is_shown_and_an_error_where_a_system_is_built() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let gone = scratch.join("gone");
    for (option, expected, status) in [
        ("--user", ["not cached", "not cached", "refreshed"], 0),
        ("--system", ["failed", "failed", "refreshed"], 2),
    ] {
        let mut sync = scratch.command("sync", &[Path::new("relative"), &gone, &path_entry]);
        sync.args([option, "--format", "jsonl"]);
        let output = process::expect_status(&mut sync, status);
        let rows = json_lines(&output.stdout);
        let done: Vec<&Value> = rows.iter().map(|row| &row["done"]).collect();
        assert_eq!(done, expected, "{option}");
        assert_eq!(rows[0]["reason"], "not an absolute path", "{option}");
        assert_eq!(rows[1]["reason"], "does not exist", "{option}");
        let said = process::stderr(&output);
        let told = format!(
            "epcache: --path relative: not an absolute path\nepcache: --path {}: does not exist\n",
            gone.display()
        );
        assert_eq!(said, if status == 0 { "" } else { &told }, "{option}");
        fs::remove_dir_all(scratch.cache()).unwrap();
    }
    process::expect_status(&mut scratch.command("query", &[&gone]), 1);
}

#[test]
fn with_root_a_path_is_named_as_it_is_inside() {
    let scratch = Scratch::new();
    let image = scratch.path_entry("image");
    let inside = scratch.path_entry("image/usr/lib/app");
    write_dist(&inside, "in-1.dist-info", None);
    let sync = |path: &str| {
        let mut command = scratch.epcache();
        command.args(["sync", "--vendor", "--path", path, "--root"]);
        command.arg(&image);
        command
    };
    let said = |path: &str| refusal(&mut sync(path));
    assert_eq!(
        said("usr/lib/app"),
        "--path usr/lib/app: not an absolute path; with --root, name it as it is inside the image"
    );
    let outside = inside.to_str().unwrap();
    assert_eq!(
        said(outside),
        format!("--path {outside}: starts with --root; leave that out")
    );
    assert_eq!(
        said("/usr/lib/none"),
        format!(
            "--path /usr/lib/none: does not exist (in {})",
            image.display()
        )
    );
    let output = process::succeed(&mut sync("/usr/lib/app"));
    assert_eq!(
        process::stdout(&output),
        "refreshed\t1\t1\t0\t\t/usr/lib/app\n",
        "an index is not missed where there is to be none"
    );
}

#[test]
fn path_entries_that_fail_have_rows_and_one_line_for_each_reason() {
    let scratch = Scratch::new();
    let path_entries = ["one", "two", "three"].map(|name| scratch.path_entry(name));
    fs::create_dir_all(scratch.cache()).unwrap();
    set_mode(&scratch.cache(), 0o700);
    // In the way of all mirrors.
    let first = scratch.path().components().nth(1).unwrap();
    fs::write(scratch.cache().join(first), "").unwrap();
    let paths: Vec<&Path> = path_entries.iter().map(PathBuf::as_path).collect();
    let mut sync = scratch.command("sync", &paths);
    let output = process::expect_status(sync.args(["--format", "jsonl"]), 2);
    let said = process::stderr(&output);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.ends_with("; 2 more path entries failed for the same reason\n"),
        "{said}"
    );
    let rows = json_lines(&output.stdout);
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!(row["done"], "failed");
        assert_ne!(row["reason"], "", "{row}");
    }
}

#[test]
fn a_dry_run_says_what_would_be_and_lists_the_files_to_who_wants_more() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let mut sync = scratch.command("sync", &[&path_entry]);
    let output = process::succeed(sync.args(["-n", "-v", "--format", "plain"]));
    let row = process::stdout(&output);
    assert!(row.starts_with("would refresh\t3\t4\t0\t"), "{row}");
    let index = scratch.index(&path_entry);
    let note = format!("epcache: note: {}: would be written\n", index.display());
    let said = process::stderr(&output);
    assert!(said.contains(&note), "{said}");
}

#[test]
fn verify_without_anything_to_compare_with_is_no_success() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    let mut verify = scratch.command("verify", &[&path_entry]);
    let output = process::expect_status(&mut verify, 1);
    assert!(process::stderr(&output).contains("epcache sync"));
    scratch.sync(&[&path_entry]);
    let mut verify = scratch.command("verify", &[&path_entry]);
    let output = process::succeed(verify.arg("-v"));
    assert_eq!(
        process::stderr(&output),
        "epcache: note: 1 mirror compared, no difference\n"
    );
    set_mode(&scratch.cache(), 0o777);
    let mut verify = scratch.command("verify", &[&path_entry]);
    let said = process::stderr(&process::expect_status(&mut verify, 1));
    let cache = scratch.cache();
    let root = format!("{}: not trusted: ", cache.display());
    assert!(said.contains(&root), "{said}");
}

#[test]
fn status_says_a_thing_once_and_shows_what_is_absent_only_when_asked() {
    let scratch = Scratch::new();
    let path_entries = ["one", "two", "three"].map(|name| scratch.path_entry(name));
    let absent = scratch.join("absent");
    let mut paths: Vec<&Path> = path_entries.iter().map(PathBuf::as_path).collect();
    scratch.sync(&paths);
    set_mode(&scratch.cache(), 0o777);
    paths.push(&absent);
    let status =
        |arguments: &[&str]| process::succeed(scratch.command("status", &paths).args(arguments));
    let plain = status(&["--format", "plain"]);
    assert_eq!(process::stdout(&plain).lines().count(), 3);
    let said = process::stderr(&plain);
    assert_eq!(said.matches("not trusted").count(), 1, "{said}");
    let verbose = process::stdout(&status(&["--format", "plain", "-v"]));
    let line = format!(
        "absent\tnothing\t0\t-\tdoes not exist\t{}",
        absent.display()
    );
    assert!(verbose.lines().any(|shown| shown == line), "{verbose}");
    let rows = json_lines(&status(&["--format", "jsonl"]).stdout);
    assert_eq!(rows[3]["state"], "absent");
}

#[test]
fn a_long_sync_shows_its_progress_on_a_terminal_and_clears_it() {
    let scratch = Scratch::new();
    let path_entry = installed(&scratch);
    // A whole second is believed only when it is 2 s old: until then it is waited for.
    let now = SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let second = std::time::UNIX_EPOCH + Duration::from_secs(now);
    fs::File::open(&path_entry)
        .unwrap()
        .set_modified(second)
        .unwrap();
    let command = scratch.command("sync", &[&path_entry]);
    let Some(shown) = on_a_terminal(&command, 80) else {
        return;
    };
    let bar = shown.find("1/1 ").expect("a bar");
    let table = shown.find("DONE").expect("a table");
    assert!(bar < table, "{shown:?}");
    assert!(shown[bar..table].contains("\x1b[2K"), "it goes: {shown:?}");
}
