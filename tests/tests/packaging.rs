//! What is in `packaging/`: that the tools which are to read it find nothing wrong, that what it starts
//! is what the command understands, and that a service can do no more than is meant.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epcache_tests::environment::Scratch;
use epcache_tests::skip::{missing, skip};
use epcache_tests::{binary, judge, process};

/// How exposed a unit may be, in tenths, by `systemd-analyze security`: 10 is everything. One tenth
/// or two above what systemd 252 says, as other versions weigh differently.
const SYSTEM_EXPOSURE: u32 = 11;
/// Without namespaces a user's unit sees what the user sees, and that is most of it.
const USER_EXPOSURE: u32 = 64;
/// The user's unit with `read-only.conf`.
const READ_ONLY_EXPOSURE: u32 = 48;

/// What every unit starts, before its arguments.
const START: &str = "ExecStart=:epcache ";

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// The units of a directory below `packaging/systemd`, as text, by name.
fn units(manager: &str) -> Vec<(String, String)> {
    let directory = packaging().join("systemd").join(manager);
    let mut units: Vec<(String, String)> = fs::read_dir(directory)
        .unwrap()
        .map(|child| child.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "service"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    units.sort();
    units
}

/// The unit in a directory of its own, where the program that it starts is there: the tested one.
fn installed(scratch: &Scratch, manager: &str, name: &str, text: &str) -> PathBuf {
    let directory = scratch.join(manager);
    fs::create_dir_all(&directory).unwrap();
    let start = format!("ExecStart=:{} ", binary().display());
    assert_eq!(text.matches(START).count(), 1, "{name} starts one command");
    let unit = directory.join(name);
    fs::write(&unit, text.replace(START, &start)).unwrap();
    unit
}

/// `systemd-analyze`, as the manager of the system or of a user would read units.
fn analyze(scratch: &Scratch, manager: &str) -> Command {
    let mut analyze = Command::new("systemd-analyze");
    // A user's manager has such a directory; this one has nobody's units.
    let runtime = scratch.join("runtime");
    fs::create_dir_all(&runtime).unwrap();
    analyze
        .env("XDG_RUNTIME_DIR", runtime)
        .env("HOME", scratch.home())
        .env("LC_ALL", "C.UTF-8")
        .arg(format!("--{manager}"));
    analyze
}

/// Whether there is a `systemd-analyze`; says so where not.
fn can_analyze() -> bool {
    if cfg!(not(target_os = "linux")) {
        skip("there is no systemd on this system");
        return false;
    }
    let found = Command::new("systemd-analyze").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        missing("there is no systemd-analyze, so no unit is checked (Debian: systemd)");
        return false;
    }
    true
}

/// What `systemd-analyze verify` has to say. The manual page is not installed where tests run.
fn verify(scratch: &Scratch, manager: &str, unit: &Path) -> String {
    let mut verify = analyze(scratch, manager);
    let output = process::finish(verify.args(["verify", "--man=no"]).arg(unit));
    let said = process::stdout(&output) + &process::stderr(&output);
    if said.is_empty() && !output.status.success() {
        return output.status.to_string();
    }
    said
}

/// How exposed `systemd-analyze security` finds a unit, in tenths.
fn exposure(scratch: &Scratch, manager: &str, unit: &Path) -> u32 {
    let mut security = analyze(scratch, manager);
    security.args(["security", "--offline=true", "--no-pager"]);
    let said = process::stdout(&process::succeed(security.arg(unit)));
    let (_, level) = said
        .rsplit_once("Overall exposure level for ")
        .unwrap_or_else(|| panic!("no level: {said}"));
    let number = level.split_whitespace().nth(1).unwrap();
    number.replace('.', "").parse().unwrap()
}

#[test]
fn there_is_nothing_wrong_with_the_units() {
    if !can_analyze() {
        return;
    }
    let scratch = Scratch::new();
    for (manager, expected) in [("system", 1), ("user", 2)] {
        let units = units(manager);
        assert_eq!(units.len(), expected, "units of the {manager}");
        for (name, text) in units {
            let unit = installed(&scratch, manager, &name, &text);
            assert_eq!(verify(&scratch, manager, &unit), "", "{manager}/{name}");
            // A verifier that finds nothing wrong with anything proves nothing.
            let wrong = text.replace("WatchdogSec=", "WatchDogSec=");
            let unit = installed(&scratch, manager, &name, &wrong);
            let said = verify(&scratch, manager, &unit);
            assert!(said.contains("WatchDogSec"), "{manager}/{name}: {said:?}");
        }
    }
}

#[test]
fn a_service_can_do_little_more_than_it_must() {
    if !can_analyze() {
        return;
    }
    let scratch = Scratch::new();
    for (manager, most) in [("system", SYSTEM_EXPOSURE), ("user", USER_EXPOSURE)] {
        for (name, text) in units(manager) {
            let unit = installed(&scratch, manager, &name, &text);
            let exposure = exposure(&scratch, manager, &unit);
            assert!(exposure <= most, "{manager}/{name}: {exposure} tenths");
        }
    }
}

#[test]
fn the_drop_in_makes_a_user_s_service_safer_and_nothing_is_wrong_with_it() {
    if !can_analyze() {
        return;
    }
    let scratch = Scratch::new();
    let drop_in = packaging().join("systemd/user/read-only.conf");
    for (name, text) in units("user") {
        let unit = installed(&scratch, "user", &name, &text);
        let directory = unit.with_file_name(format!("{name}.d"));
        fs::create_dir(&directory).unwrap();
        fs::copy(&drop_in, directory.join("read-only.conf")).unwrap();
        assert_eq!(verify(&scratch, "user", &unit), "", "{name}");
        let exposure = exposure(&scratch, "user", &unit);
        assert!(exposure <= READ_ONLY_EXPOSURE, "{name}: {exposure} tenths");
    }
}

#[test]
fn the_command_understands_what_the_units_say() {
    let scratch = Scratch::new();
    for manager in ["system", "user"] {
        for (name, text) in units(manager) {
            let start = text.lines().find_map(|line| line.strip_prefix(START));
            let arguments = start.expect("a unit starts the command").split(' ');
            let mut command = scratch.epcache();
            // What can't be understood is said before there is any help.
            process::succeed(command.args(arguments).arg("--help"));
            assert!(text.contains("\nType=notify\n"), "{name}");
        }
    }
}

#[test]
fn a_user_s_two_units_differ_in_what_they_start_alone() {
    let settings = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .filter(|line| !line.starts_with("Description=") && !line.starts_with(START))
            .map(str::to_owned)
            .collect()
    };
    let units = units("user");
    assert_eq!(settings(&units[0].1), settings(&units[1].1));
}

#[test]
fn the_plist_is_one_and_starts_the_command() {
    const READ: &str = "
import plistlib, sys
job = plistlib.load(open(sys.argv[1], 'rb'))
assert job['RunAtLoad'] is True and job['KeepAlive'] == {'SuccessfulExit': False}, job
assert job['Label'] + '.plist' == sys.argv[1].rpartition('/')[2], job
shell, option, line = job['ProgramArguments']
assert (shell, option) == ('/bin/sh', '-c'), job
print(line)
";
    let plist = packaging().join("launchd/epcache-watch.plist");
    let mut read = Command::new(judge::python());
    let output = process::succeed(read.args(["-c", READ]).arg(&plist));
    let line = process::stdout(&output);

    // In a home like a user's, with a program there that says how it was started.
    let scratch = Scratch::new();
    let programs = scratch.home().join(".local/bin");
    fs::create_dir_all(&programs).unwrap();
    fs::create_dir_all(scratch.home().join("Library/Logs")).unwrap();
    let program = programs.join("epcache");
    fs::write(&program, "#!/bin/sh\necho \"started: $*\" >&2\n").unwrap();
    process::succeed(Command::new("chmod").arg("+x").arg(program));
    let mut job = Command::new("/bin/sh");
    process::succeed(job.args(["-c", line.trim()]).env("HOME", scratch.home()));
    let log = scratch.home().join("Library/Logs/epcache-watch.log");
    assert_eq!(fs::read_to_string(log).unwrap(), "started: watch\n");
}
