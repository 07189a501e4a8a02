//! `epcache watch` beside real installers: whatever pip, uv, setuptools and `venv` do to an
//! environment, soon afterwards the cache is current and answers what CPython does.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use epcache_tests::environment::{Scratch, write_dist};
use epcache_tests::judge;
use epcache_tests::process;
use epcache_tests::tools::{Tools, installers, make_venv};
use epcache_tests::watcher::{PATIENCE, Sampler, Watched, Watcher, holds, values_of, wait_until};
use epcache_tests::wheel::{Wheel, write_wheels};

/// How many packages are "many at once".
const MANY: usize = 200;

fn tools() -> Option<&'static Tools> {
    installers(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

#[derive(Clone, Copy, Debug)]
enum Installer {
    Pip,
    Uv,
}

impl Installer {
    /// `pip install` of wheels, from files alone.
    fn install(self, tools: &Tools, place: &Place) -> Command {
        let mut command = self.start(tools, place, "install");
        command.args(["--no-index", "--no-deps"]);
        if let Self::Uv = self {
            command
                .arg("--offline")
                .arg("--cache-dir")
                .arg(place.scratch.join("uv-cache"));
        } else {
            command.arg("--no-warn-script-location");
        }
        command
    }

    /// The same, also of what is there at that version.
    fn reinstall(self, tools: &Tools, place: &Place) -> Command {
        let mut command = self.install(tools, place);
        command.arg(match self {
            Self::Pip => "--force-reinstall",
            Self::Uv => "--reinstall",
        });
        command
    }

    fn uninstall(self, tools: &Tools, place: &Place) -> Command {
        let mut command = self.start(tools, place, "uninstall");
        if let Self::Pip = self {
            command.arg("--yes");
        }
        command
    }

    fn start(self, tools: &Tools, place: &Place, subcommand: &str) -> Command {
        let python = place.venv.join("bin/python");
        match self {
            Self::Pip => {
                let mut pip = tools.pip();
                pip.arg("--python")
                    .arg(python)
                    .args([subcommand, "--quiet"]);
                pip.env("PIP_ROOT_USER_ACTION", "ignore");
                pip
            }
            Self::Uv => {
                let mut uv = tools.program("uv");
                uv.args(["pip", subcommand, "--quiet", "--python"])
                    .arg(python);
                uv
            }
        }
    }
}

/// A virtual environment as a developer has it.
struct Place {
    scratch: Scratch,
    venv: PathBuf,
    site_packages: PathBuf,
}

impl Place {
    fn new() -> Self {
        let scratch = Scratch::new();
        let venv = scratch.path_entry("project").join(".venv");
        let site_packages = make_venv(&venv);
        Self {
            scratch,
            venv,
            site_packages,
        }
    }

    fn watched(&self) -> Watched<'_> {
        Watched::venv(&self.scratch, &self.venv)
    }

    /// A directory outside the environment with one distribution in it.
    fn elsewhere(&self, name: &str) -> PathBuf {
        let directory = self.scratch.path_entry(&format!("elsewhere-{name}"));
        let text = format!("[demo.plugins]\n{name} = {name}:main\n");
        write_dist(&directory, &format!("{name}-1.0.dist-info"), Some(&text));
        directory
    }
}

/// How many syncs of a path entry were told, also those that changed nothing.
fn syncs_of(watcher: &Watcher, path_entry: &Path) -> usize {
    watcher.count(&["synced", &format!("path_entry={} ", path_entry.display())])
}

fn what_an_installer_does_is_followed(installer: Installer) {
    let Some(tools) = tools() else { return };
    let place = Place::new();
    let wheel = |directory: &str, version, value| {
        Wheel::new("demo", version, value).write(&place.scratch.join(directory))
    };
    let (one, two) = (wheel("a", "1.0", "demo:one"), wheel("a", "2.0", "demo:two"));
    let other_one = wheel("b", "1.0", "demo:another");
    let watched = place.watched();
    let mut watcher = watched.watch(&[]);
    let follow = |what: &str, command: &mut Command, declared: &[&str]| {
        process::succeed(command);
        let answer = watched.becomes_current(&format!("{installer:?}: {what}"));
        assert_eq!(values_of(&answer, "demo"), declared, "{what}");
    };
    let install = || installer.install(tools, &place);
    follow("install", install().arg(&one), &["demo:one"]);
    follow("upgrade", install().arg(&two), &["demo:two"]);
    follow("downgrade", install().arg(&one), &["demo:one"]);
    follow(
        "reinstall at the same version",
        installer.reinstall(tools, &place).arg(other_one),
        &["demo:another"],
    );
    follow(
        "uninstall",
        installer.uninstall(tools, &place).arg("demo"),
        &[],
    );
    follow("install again", install().arg(&two), &["demo:two"]);
    watcher.stop();
}

#[test]
fn what_pip_does_is_followed() {
    what_an_installer_does_is_followed(Installer::Pip);
}

#[test]
fn what_uv_does_is_followed() {
    what_an_installer_does_is_followed(Installer::Uv);
}

/// Mode `exact` promises that for each moment; mode `fast` does for all but edits inside a metadata
/// directory, and installers make such when they replace a distribution by the same version.
fn at_each_moment_answers_are_cpython_s(installer: Installer) {
    /// Fewer moments than this would prove nothing.
    const FEWEST_MOMENTS: usize = 12;
    let Some(tools) = tools() else { return };
    let place = Place::new();
    let wheels = ["1.0", "2.0", "1.0", "2.0"].map(|version| {
        let value = format!("demo:v{}", &version[..1]);
        Wheel::new("demo", version, &value).write(&place.scratch.join("wheels"))
    });
    let watched = place.watched();
    let mut watcher = watched.watch(&[]);
    let mut sampler = Sampler::new(&watched);
    sampler.sample(&["exact", "fast"]);
    for wheel in &wheels {
        let mut install = installer.install(tools, &place);
        let mut install = install.arg(wheel).stdin(Stdio::null()).spawn().unwrap();
        while install.try_wait().unwrap().is_none() {
            sampler.sample(&["exact"]);
        }
        sampler.sample(&["exact"]);
        watched.becomes_current(&format!("{installer:?} with {}", wheel.display()));
        sampler.sample(&["exact", "fast"]);
    }
    let (compared, answers) = (sampler.compared, sampler.answers.len());
    assert!(compared >= FEWEST_MOMENTS, "{compared} moments");
    assert!(
        answers > wheels.len(),
        "each installation was seen: {answers}"
    );
    watcher.stop();
}

#[test]
fn at_each_moment_of_what_pip_does_answers_are_cpython_s() {
    at_each_moment_answers_are_cpython_s(Installer::Pip);
}

#[test]
fn at_each_moment_of_what_uv_does_answers_are_cpython_s() {
    at_each_moment_answers_are_cpython_s(Installer::Uv);
}

/// A project of setuptools, with the module in `src`.
fn write_project(project: &Path, value: &str) {
    fs::create_dir_all(project.join("src")).unwrap();
    fs::write(project.join("src/demo.py"), "def main():\n    pass\n").unwrap();
    fs::write(
        project.join("setup.py"),
        format!(
            "from setuptools import setup\n\
             setup(name='demo', version='1.0', package_dir={{'': 'src'}}, py_modules=['demo'],\n\
             \x20     entry_points={{'demo.plugins': ['demo = {value}']}})\n"
        ),
    )
    .unwrap();
}

#[test]
fn an_installation_for_development_is_followed_and_so_is_its_path_entry() {
    let Some(tools) = tools() else { return };
    let place = Place::new();
    let project = place.scratch.path_entry("demo");
    let watched = place.watched();
    let mut watcher = watched.watch(&[]);
    for value in ["demo:one", "demo:two"] {
        write_project(&project, value);
        let mut pip = Installer::Pip.install(tools, &place);
        pip.args(["--no-build-isolation", "--editable"])
            .arg(&project)
            .env("PYTHONPATH", tools.site_packages());
        process::succeed(&mut pip);
        let answer = watched.becomes_current(&format!("pip install -e with {value}"));
        assert_eq!(values_of(&answer, "demo"), [value]);
        assert!(
            watched.sys_path().contains(&project.join("src")),
            "the .pth file of setuptools names the project"
        );
    }
    process::succeed(Installer::Pip.uninstall(tools, &place).arg("demo"));
    let answer = watched.becomes_current("pip uninstall of what was installed with -e");
    assert_eq!(values_of(&answer, "demo"), [""; 0]);
    watcher.stop();
}

#[test]
fn setup_py_egg_info_in_place_is_followed() {
    let Some(tools) = tools() else { return };
    let place = Place::new();
    let project = place.scratch.path_entry("demo");
    let watched = place.watched();
    let mut watcher = watched.watch(&[]);
    let source = project.join("src");
    fs::write(
        place.site_packages.join("demo.pth"),
        format!("{}\n", source.display()),
    )
    .unwrap();
    for value in ["demo:one", "demo:two", "demo:three"] {
        write_project(&project, value);
        process::succeed(
            Command::new(tools.python())
                .args(["setup.py", "--quiet", "egg_info"])
                .current_dir(&project),
        );
        let answer = watched.becomes_current(&format!("setup.py egg_info with {value}"));
        assert_eq!(values_of(&answer, "demo.egg-info"), [value]);
    }
    fs::remove_dir_all(source.join("demo.egg-info")).unwrap();
    let answer = watched.becomes_current("the removal of an .egg-info");
    assert_eq!(values_of(&answer, "demo"), [""; 0]);
    watcher.stop();
}

#[test]
fn path_entries_come_and_go_with_pth_files() {
    let place = Place::new();
    let [alpha, bravo] = ["alpha", "bravo"].map(|name| place.elsewhere(name));
    let watched = place.watched();
    let mut watcher = watched.watch(&[]);
    let pth = place.site_packages.join("demo.pth");
    let follow = |what: &str, declared: &[&str]| {
        let answer = watched.becomes_current(what);
        let found: Vec<&str> = answer.iter().map(|entry| entry.value.as_str()).collect();
        assert_eq!(found, declared, "{what}");
    };
    fs::write(&pth, format!("{}\n", alpha.display())).unwrap();
    follow("a new .pth", &["alpha:main"]);

    let text = "[demo.plugins]\nmore = more:main\n";
    write_dist(&alpha, "more-1.0.dist-info", Some(text));
    follow(
        "an installation where a .pth leads",
        &truth_of(&[&alpha])
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );

    fs::write(&pth, format!("{}\n", bravo.display())).unwrap();
    follow("an edited .pth", &["bravo:main"]);

    // It names what is not there yet.
    let later = place.scratch.join("elsewhere-later/deep");
    fs::write(&pth, format!("{}\n", later.display())).unwrap();
    follow("a .pth that leads nowhere", &[]);
    fs::create_dir_all(&later).unwrap();
    let text = "[demo.plugins]\nlater = later:main\n";
    write_dist(&later, "later-1.0.dist-info", Some(text));
    // CPython passes over a line that names no directory; now it names one, and no file of the
    // environment has changed.
    follow("what a .pth names is made", &["later:main"]);

    fs::remove_file(&pth).unwrap();
    follow("a removed .pth", &[]);
    watcher.stop();
}

/// The values that CPython finds, in its order.
fn truth_of(path_entries: &[&Path]) -> Vec<String> {
    judge::entry_points(path_entries)
        .into_iter()
        .map(|entry| entry.value)
        .collect()
}

#[test]
fn an_environment_that_is_made_anew_is_followed_without_a_restart() {
    let Some(tools) = tools() else { return };
    let place = Place::new();
    let wheel =
        |version, value| Wheel::new("demo", version, value).write(&place.scratch.join("wheels"));
    let (one, two) = (wheel("1.0", "demo:one"), wheel("2.0", "demo:two"));
    let three = wheel("3.0", "demo:three");
    let watched = place.watched();
    let mut watcher = watched.watch(&[]);
    let follow = |what: &str, wheel: &Path, value: &str| {
        process::succeed(Installer::Pip.install(tools, &place).arg(wheel));
        let answer = watched.becomes_current(what);
        assert_eq!(values_of(&answer, "demo"), [value], "{what}");
    };
    follow("an installation", &one, "demo:one");

    // As people do it: the new one with a pip of its own.
    fs::remove_dir_all(&place.venv).unwrap();
    process::succeed(
        Command::new(judge::python())
            .args(["-m", "venv"])
            .arg(&place.venv),
    );
    let answer = watched.becomes_current("rm -rf .venv && python -m venv .venv");
    assert!(!values_of(&answer, "pip-").is_empty(), "{answer:?}");
    follow("an installation into the new one", &two, "demo:two");

    fs::rename(&place.venv, place.venv.with_file_name("old")).unwrap();
    make_venv(&place.venv);
    let answer = watched.becomes_current("mv .venv old, and a new one");
    assert_eq!(answer, []);
    follow(
        "an installation in place of the old one",
        &three,
        "demo:three",
    );

    // The moved one is not the environment any more, and moved back it is.
    fs::remove_dir_all(&place.venv).unwrap();
    fs::rename(place.venv.with_file_name("old"), &place.venv).unwrap();
    let answer = watched.becomes_current("mv old .venv");
    assert_eq!(values_of(&answer, "demo"), ["demo:two"]);
    watcher.stop();
}

#[test]
fn an_environment_that_is_long_gone_is_followed_when_it_comes_back() {
    let place = Place::new();
    let watched = place.watched();
    let mut watcher = watched.watch(&[]);
    for parent_too in [false, true] {
        let gone = if parent_too {
            place.venv.parent().unwrap()
        } else {
            &place.venv
        };
        fs::remove_dir_all(gone).unwrap();
        // It has seen that: one more sync, or one that found nothing.
        wait_until(PATIENCE, "nothing is watched but what is above", || {
            holds(
                watched.status().is_err(),
                "status still tells of an environment",
            )
        });
        let path_entry = make_venv(&place.venv);
        let text = "[demo.plugins]\nback = back:main\n";
        write_dist(&path_entry, "back-1.0.dist-info", Some(text));
        let answer = watched.becomes_current("an environment that came back");
        assert_eq!(values_of(&answer, "back"), ["back:main"]);
    }
    watcher.stop();
}

fn many_wheels(place: &Place) -> Vec<PathBuf> {
    let wheels: Vec<Wheel> = (0..MANY)
        .map(|number| {
            let name = format!("package{number:03}");
            Wheel::new(&name, "1.0", &format!("{name}:main"))
        })
        .collect();
    write_wheels(&place.scratch.join("wheels"), &wheels)
}

fn many_at_once_lead_to_few_syncs(installer: Installer) {
    /// One at most for each second of a burst, and these: the first, the last, one for what the
    /// installer tidies up, and one more look.
    const BESIDES: usize = 4;
    let Some(tools) = tools() else { return };
    let place = Place::new();
    let wheels = many_wheels(&place);
    let watched = place.watched();
    let mut watcher = watched.watch(&[]);
    let before = syncs_of(&watcher, &place.site_packages);
    let start = Instant::now();
    process::succeed(installer.install(tools, &place).args(&wheels));
    let took = start.elapsed();
    let answer = watched.becomes_current(&format!("{installer:?}: {MANY} packages at once"));
    assert_eq!(values_of(&answer, "package").len(), MANY);
    let syncs = syncs_of(&watcher, &place.site_packages) - before;
    let most = took.as_secs() as usize + BESIDES;
    assert!(syncs <= most, "{syncs} syncs in {took:?}, not {most}");
    watcher.stop();
}

#[test]
fn many_packages_that_pip_installs_at_once_lead_to_few_syncs() {
    many_at_once_lead_to_few_syncs(Installer::Pip);
}

#[test]
fn many_packages_that_uv_installs_at_once_lead_to_few_syncs() {
    many_at_once_lead_to_few_syncs(Installer::Uv);
}

#[test]
fn a_watcher_killed_in_the_middle_of_a_burst_and_started_again_catches_up() {
    let Some(tools) = tools() else { return };
    let place = Place::new();
    let wheels = many_wheels(&place);
    let watched = place.watched();
    let mut parts: Vec<Command> = wheels
        .chunks(MANY / 4)
        .map(|wheels| {
            let mut install = Installer::Pip.install(tools, &place);
            install.args(wheels);
            install
        })
        .collect();
    let mut watcher = watched.watch(&[]);
    let before = syncs_of(&watcher, &place.site_packages);
    let again = thread::scope(|scope| {
        let installation = scope.spawn(|| {
            for install in &mut parts {
                process::succeed(install);
            }
        });
        wait_until(PATIENCE, "a sync in the middle of the burst", || {
            let syncs = syncs_of(&watcher, &place.site_packages);
            holds(syncs > before, "none yet")
        });
        watcher.kill();
        assert!(!installation.is_finished(), "the burst goes on");
        // What a killed watcher left changes no answer.
        let mut sampler = Sampler::new(&watched);
        sampler.sample(&["exact", "fast"]);
        let again = watched.watch(&[]);
        installation.join().unwrap();
        again
    });
    let answer = watched.becomes_current("a burst with a kill in it");
    assert_eq!(values_of(&answer, "package").len(), MANY);
    drop(again);

    // Nothing happens, but the one that was there is gone: the next one starts with a sync.
    fs::remove_dir_all(place.site_packages.join("package007-1.0.dist-info")).unwrap();
    let mut third = watched.watch(&[]);
    watched.is_current().unwrap();
    let answer = watched.answers_what_cpython_does("a change while nobody watched");
    assert_eq!(values_of(&answer, "package").len(), MANY - 1);
    third.stop();
}
