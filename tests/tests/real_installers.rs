//! The manners of real installers: after a sync, each changes a distribution's entry points at the
//! same version, and a query without another sync tells the new ones; so does the Python reader, in a
//! process that lives through all of it.
//!
//! All cases share one procedure ([`changes_are_seen`]) and differ in how they install. They run on
//! the file system for temporary files and on a tmpfs, and never pause between a sync and a change.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use epcache_tests::environment::{Scratch, is_root};
use epcache_tests::judge;
use epcache_tests::process;
use epcache_tests::reader::{Place, Reader, reader_pythons};
use epcache_tests::skip::{missing, skip};
use epcache_tests::tools::{Tools, installers, make_venv, site_packages};
use epcache_tests::wheel::Wheel;

/// A tmpfs on every common Linux.
const TMPFS: &str = "/dev/shm";
/// How often each installer flips between the two states on each file system.
const ROUNDS: usize = 3;
/// Longer than any installer takes to begin with its changes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is installed: the same distribution, version and size, with one or the other entry point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Alpha,
    Bravo,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Alpha => "alpha",
            Self::Bravo => "bravo",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Alpha => Self::Bravo,
            Self::Bravo => Self::Alpha,
        }
    }

    fn entry_points(self) -> String {
        let word = self.word();
        format!("[demo.plugins]\n{word} = demo:{word}\n")
    }
}

/// A place to install into, and both states' sources.
struct Site {
    scratch: Scratch,
    venv: PathBuf,
    path_entry: PathBuf,
    /// The Python reader, on each interpreter.
    readers: RefCell<Vec<Reader>>,
}

impl Site {
    fn within(base: &Path) -> Self {
        let scratch = Scratch::within(base);
        let venv = scratch.join("venv");
        let path_entry = make_venv(&venv);
        let site = Self {
            scratch,
            venv,
            path_entry,
            readers: RefCell::new(
                reader_pythons()
                    .iter()
                    .map(|it| Reader::start(it))
                    .collect(),
            ),
        };
        for state in [State::Alpha, State::Bravo] {
            let wheel = Wheel {
                name: "demo".to_owned(),
                version: "1.0".to_owned(),
                entry_points: state.entry_points(),
            };
            wheel.write(site.wheel(state).parent().unwrap());
        }
        // Distributions that stay, so that an index has more to say than the one that changes.
        for name in ["anchor", "zenith"] {
            let text = format!("[demo.plugins]\n{name} = {name}\n");
            epcache_tests::environment::write_dist(
                &site.path_entry,
                &format!("{name}-1.0.dist-info"),
                Some(&text),
            );
        }
        site
    }

    fn wheel(&self, state: State) -> PathBuf {
        self.scratch
            .join(state.word())
            .join("demo-1.0-py3-none-any.whl")
    }

    fn python(&self) -> PathBuf {
        self.venv.join("bin/python")
    }

    /// The tool's pip, installing into this site's environment, from files alone.
    fn pip_install(&self, tools: &Tools) -> Command {
        let mut pip = tools.pip();
        pip.arg("--python")
            .arg(self.python())
            .args([
                "install",
                "--quiet",
                "--no-index",
                "--no-deps",
                "--no-warn-script-location",
            ])
            .env("PIP_ROOT_USER_ACTION", "ignore");
        pip
    }

    /// The environment variables with which a process in this environment finds pip and the builds'
    /// backends among the tools.
    fn with_tools(&self, tools: &Tools, command: &mut Command) {
        command
            .env("PYTHONPATH", tools.site_packages())
            .env("VIRTUAL_ENV", &self.venv);
    }

    /// A project directory with the given `pyproject.toml`.
    fn project(&self, pyproject: &str) -> PathBuf {
        let project = self.scratch.path_entry("project");
        let module =
            "\"\"\"A demonstration.\"\"\"\n\n__version__ = \"1.0\"\nalpha = bravo = print\n";
        fs::write(project.join("demo.py"), module).unwrap();
        fs::write(project.join("pyproject.toml"), pyproject).unwrap();
        project
    }

    fn query(&self, path_entry: &Path) -> Vec<judge::Entry> {
        self.scratch.query(&[path_entry])
    }

    /// The Python readers' answers: with what each knows from before, then as in a fresh process.
    fn ask_readers(&self, path_entry: &Path) -> Vec<(String, Vec<judge::Entry>)> {
        let place = Place {
            sys_path: &[path_entry.into()],
            cwd: self.scratch.path(),
            cache: &self.scratch.cache(),
            mode: "exact",
        };
        let mut answers = Vec::new();
        for reader in self.readers.borrow_mut().iter_mut() {
            for knowledge in ["remembering", "fresh"] {
                if knowledge == "fresh" {
                    reader.forget().unwrap();
                }
                let mut replies = reader.ask(&place, &[vec![]]).unwrap();
                let points = replies.remove(0).entry_points;
                answers.push((
                    format!("{knowledge}, {}", reader.python().display()),
                    points.into_iter().map(judge::Entry::from).collect(),
                ));
            }
        }
        answers
    }
}

/// The file systems that the machine offers for this.
fn file_systems() -> Vec<PathBuf> {
    let mut bases = vec![std::env::temp_dir()];
    if Path::new(TMPFS).is_dir() {
        bases.push(PathBuf::from(TMPFS));
    } else {
        skip(&format!("installers on a tmpfs: no {TMPFS} here"));
    }
    bases
}

/// The procedure: install, sync, change at once, ask; and again, both ways. `install` brings about a
/// state; it gives the path entry that it installs into.
fn changes_are_seen(what: &str, site: &Site, install: impl Fn(State) -> PathBuf) {
    let mut state = State::Alpha;
    let path_entry = install(state);
    for round in 0..ROUNDS {
        let place = format!(
            "{what}, round {round}, in {}",
            site.scratch.path().display()
        );
        site.scratch.sync(&[&path_entry]);
        assert_declares(site, &path_entry, state, &format!("{place}: after a sync"));

        state = state.other();
        install(state);
        assert_declares(
            site,
            &path_entry,
            state,
            &format!("{place}: after the change"),
        );
    }
    site.scratch.sync(&[&path_entry]);
    assert_declares(site, &path_entry, state, &format!("{what}: at the end"));
    process::succeed(&mut site.scratch.command("verify", &[&path_entry]));
}

/// The answer is CPython's, and CPython's is the one that the state should have: else the installer
/// has not done what this test is about.
fn assert_declares(site: &Site, path_entry: &Path, state: State, place: &str) {
    let answer = site.query(path_entry);
    let expected = judge::entry_points(&[path_entry]);
    assert_eq!(answer, expected, "{place}");
    for (reader, answer) in site.ask_readers(path_entry) {
        assert_eq!(answer, expected, "{place}: the Python reader, {reader}");
    }
    let values: Vec<&str> = expected
        .iter()
        .filter(|entry| entry.metadata_dir.starts_with("demo"))
        .map(|entry| entry.value.as_str())
        .collect();
    assert_eq!(
        values,
        [format!("demo:{}", state.word())],
        "{place}: what is installed"
    );
}

/// Runs the procedure on each file system, in an environment of its own each.
fn on_each_file_system(what: &str, case: impl Fn(&Site, &str)) {
    for base in file_systems() {
        case(&Site::within(&base), what);
    }
}

fn tools() -> Option<&'static Tools> {
    installers(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// Whether a program is on `PATH`; says so where not.
fn have(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .is_ok();
    if !found {
        missing(&format!("{program} is not on PATH"));
    }
    found
}

/// Runs an installer that must succeed, and gives the path entry back for convenience.
fn run(command: &mut Command, path_entry: &Path) -> PathBuf {
    process::succeed(command);
    path_entry.to_path_buf()
}

#[test]
fn pip_reinstalling_a_wheel() {
    let Some(tools) = tools() else { return };
    on_each_file_system("pip install --force-reinstall", |site, what| {
        changes_are_seen(what, site, |state| {
            let mut pip = site.pip_install(tools);
            pip.arg("--force-reinstall").arg(site.wheel(state));
            run(&mut pip, &site.path_entry)
        });
    });
}

#[test]
fn pip_ignoring_what_is_installed() {
    let Some(tools) = tools() else { return };
    on_each_file_system("pip install -I", |site, what| {
        changes_are_seen(what, site, |state| {
            let mut pip = site.pip_install(tools);
            run(pip.arg("-I").arg(site.wheel(state)), &site.path_entry)
        });
    });
}

#[test]
fn pip_into_a_prefix() {
    let Some(tools) = tools() else { return };
    on_each_file_system("pip install --prefix", |site, what| {
        let prefix = site.scratch.join("prefix");
        changes_are_seen(what, site, |state| {
            let mut pip = site.pip_install(tools);
            pip.arg("--ignore-installed").arg("--prefix").arg(&prefix);
            process::succeed(pip.arg(site.wheel(state)));
            site_packages(&prefix)
        });
    });
}

#[test]
fn pip_into_a_root() {
    let Some(tools) = tools() else { return };
    on_each_file_system("pip install --root", |site, what| {
        let root = site.scratch.join("image");
        let below = site.path_entry.strip_prefix("/").unwrap();
        changes_are_seen(what, site, |state| {
            let mut pip = site.pip_install(tools);
            pip.arg("--ignore-installed").arg("--root").arg(&root);
            run(pip.arg(site.wheel(state)), &root.join(below))
        });
    });
}

#[test]
fn pip_installing_for_development_again() {
    let Some(tools) = tools() else { return };
    on_each_file_system("pip install -e", |site, what| {
        changes_are_seen(what, site, |state| {
            let word = state.word();
            let project = site.project(&format!(
                "[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n\n\
                 [project]\nname = \"demo\"\nversion = \"1.0\"\n\n\
                 [project.entry-points.\"demo.plugins\"]\n{word} = \"demo:{word}\"\n\n\
                 [tool.setuptools]\npy-modules = [\"demo\"]\n"
            ));
            let mut pip = site.pip_install(tools);
            site.with_tools(tools, &mut pip);
            pip.args(["--no-build-isolation", "-e"]).arg(project);
            run(&mut pip, &site.path_entry)
        });
    });
}

#[test]
fn pip_interrupted_and_run_again() {
    let Some(tools) = tools() else { return };
    on_each_file_system("pip, killed and run again", |site, what| {
        changes_are_seen(what, site, |state| {
            let reinstall = || {
                // The environment's own Python, as one process: pip's `--python` starts another.
                let mut pip = Command::new(site.python());
                site.with_tools(tools, &mut pip);
                pip.args(["-m", "pip", "install", "--no-index", "--no-deps"])
                    .args(["--force-reinstall", "--disable-pip-version-check"])
                    .arg(site.wheel(state));
                pip
            };
            kill_when_it_changes(&mut reinstall(), &site.path_entry);
            assert_eq!(
                site.query(&site.path_entry),
                judge::entry_points(&[&site.path_entry]),
                "{what}: just killed"
            );
            // What pip leaves behind when it is killed in the middle of a removal.
            for leftover in names_in(&site.path_entry) {
                if leftover.to_string_lossy().starts_with('~') {
                    fs::remove_dir_all(site.path_entry.join(leftover)).unwrap();
                }
            }
            // It may have been quick, or have left half a distribution that it can't remove.
            let mut again = reinstall();
            again.arg("--ignore-installed");
            run(&mut again, &site.path_entry)
        });
    });
}

/// Starts an installer and kills it as soon as it has changed a directory's list of names, or what is in
/// the distribution that it installs.
fn kill_when_it_changes(installer: &mut Command, path_entry: &Path) {
    let look = || {
        let mut names = names_in(path_entry);
        names.extend(names_in(&path_entry.join("demo-1.0.dist-info")));
        names
    };
    let before = look();
    let mut child = installer
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while look() == before && child.try_wait().unwrap().is_none() {
        assert!(
            start.elapsed() < PATIENCE,
            "the installer changes something"
        );
        thread::yield_now();
    }
    child.kill().ok();
    child.wait().unwrap();
}

fn names_in(directory: &Path) -> Vec<OsString> {
    let Ok(listing) = fs::read_dir(directory) else {
        return Vec::new();
    };
    listing
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .collect()
}

fn uv_reinstalling(link_mode: &str) {
    let Some(tools) = tools() else { return };
    on_each_file_system(&format!("uv --link-mode {link_mode}"), |site, what| {
        changes_are_seen(what, site, |state| {
            let mut uv = tools.program("uv");
            uv.args([
                "pip",
                "install",
                "--quiet",
                "--offline",
                "--no-index",
                "--no-deps",
            ])
            .args(["--reinstall", "--link-mode", link_mode, "--cache-dir"])
            .arg(site.scratch.join("uv-cache"))
            .arg("--python")
            .arg(site.python())
            .arg(site.wheel(state));
            run(&mut uv, &site.path_entry)
        });
    });
}

#[test]
fn uv_with_hard_links() {
    uv_reinstalling("hardlink");
}

#[test]
fn uv_with_copies() {
    uv_reinstalling("copy");
}

#[test]
fn uv_with_clones() {
    uv_reinstalling("clone");
}

#[test]
fn uv_with_symbolic_links() {
    uv_reinstalling("symlink");
}

#[test]
fn uv_whose_linked_cache_is_edited() {
    let Some(tools) = tools() else { return };
    on_each_file_system("a change behind uv's symbolic link", |site, what| {
        let mut uv = tools.program("uv");
        uv.args([
            "pip",
            "install",
            "--quiet",
            "--offline",
            "--no-index",
            "--no-deps",
        ])
        .args(["--link-mode", "symlink", "--cache-dir"])
        .arg(site.scratch.join("uv-cache"))
        .arg("--python")
        .arg(site.python())
        .arg(site.wheel(State::Alpha));
        process::succeed(&mut uv);
        let linked = site.path_entry.join("demo-1.0.dist-info/entry_points.txt");
        let target = fs::canonicalize(&linked).unwrap();
        assert_ne!(target, linked, "{what}: there is a link");
        changes_are_seen(what, site, |state| {
            epcache_tests::environment::replace_file(&target, &state.entry_points());
            site.path_entry.clone()
        });
    });
}

#[test]
fn poetry_installing_a_project_again() {
    let Some(tools) = tools() else { return };
    on_each_file_system("poetry install", |site, what| {
        changes_are_seen(what, site, |state| {
            let word = state.word();
            let project = site.project(&format!(
                "[build-system]\nrequires = [\"poetry-core\"]\n\
                 build-backend = \"poetry.core.masonry.api\"\n\n\
                 [project]\nname = \"demo\"\nversion = \"1.0\"\nrequires-python = \">=3.10\"\n\n\
                 [project.entry-points.\"demo.plugins\"]\n{word} = \"demo:{word}\"\n"
            ));
            let mut poetry = tools.program("poetry");
            poetry
                .args(["install", "--only-root", "--no-interaction", "--quiet"])
                .current_dir(project)
                .env("HOME", site.scratch.home())
                .env("POETRY_CONFIG_DIR", site.scratch.join("poetry-config"))
                .env("POETRY_CACHE_DIR", site.scratch.join("poetry-cache"))
                .env("POETRY_VIRTUALENVS_CREATE", "false")
                .env("VIRTUAL_ENV", &site.venv);
            run(&mut poetry, &site.path_entry)
        });
    });
}

fn flit_installing(options: &[&str]) {
    let Some(tools) = tools() else { return };
    on_each_file_system(
        &format!("flit install {}", options.join(" ")),
        |site, what| {
            changes_are_seen(what, site, |state| {
                let word = state.word();
                let project = site.project(&format!(
                "[build-system]\nrequires = [\"flit_core\"]\nbuild-backend = \"flit_core.buildapi\"\n\n\
                 [project]\nname = \"demo\"\ndynamic = [\"version\", \"description\"]\n\n\
                 [project.entry-points.\"demo.plugins\"]\n{word} = \"demo:{word}\"\n"
            ));
                let mut flit = tools.program("flit");
                site.with_tools(tools, &mut flit);
                flit.args(["install", "--deps", "none"])
                    .args(options)
                    .arg("--python")
                    .arg(site.python())
                    .current_dir(project)
                    .env("FLIT_ROOT_INSTALL", "1")
                    .env("FLIT_NO_NETWORK", "1")
                    .env("FLIT_ALLOW_INVALID", "1")
                    .env("PIP_NO_INDEX", "1")
                    .env("PIP_NO_BUILD_ISOLATION", "0")
                    .env("PIP_FORCE_REINSTALL", "1");
                run(&mut flit, &site.path_entry)
            });
        },
    );
}

#[test]
fn flit_installing_a_project_again() {
    flit_installing(&[]);
}

#[test]
fn flit_linking_a_project_again() {
    flit_installing(&["--symlink"]);
}

/// Debian's way: the same upstream version, packaged again.
#[test]
fn dpkg_unpacking_a_rebuilt_package() {
    if !have("dpkg-deb") || !have("dpkg") {
        return;
    }
    if !is_root() {
        return skip("dpkg: only root installs with it");
    }
    on_each_file_system("dpkg -i", |site, what| {
        let root = site.scratch.path_entry("debian");
        let database = root.join("var/lib/dpkg");
        for directory in ["info", "updates", "triggers"] {
            fs::create_dir_all(database.join(directory)).unwrap();
        }
        fs::write(database.join("status"), "").unwrap();
        let packages = [State::Alpha, State::Bravo].map(|state| debian_package(site, state));
        let path_entry = root.join("usr/lib/python3/dist-packages");
        changes_are_seen(what, site, |state| {
            let mut dpkg = Command::new("dpkg");
            dpkg.args(["--force-not-root", "--force-bad-path", "--force-downgrade"])
                .arg("--log=/dev/null")
                .arg(format!("--instdir={}", root.display()))
                .arg(format!("--admindir={}", database.display()))
                .arg("--install")
                .arg(&packages[usize::from(state == State::Bravo)]);
            run(&mut dpkg, &path_entry)
        });
    });
}

/// A package with the distribution and one that stays; revision 1 or 2 of version 1.0, with the same
/// times in it.
fn debian_package(site: &Site, state: State) -> PathBuf {
    let tree = site.scratch.join(format!("debian-{}", state.word()));
    let path_entry = tree.join("usr/lib/python3/dist-packages");
    let anchor = "[demo.plugins]\nanchor = anchor\n";
    epcache_tests::environment::write_dist(&path_entry, "anchor-1.0.dist-info", Some(anchor));
    epcache_tests::environment::write_dist(
        &path_entry,
        "demo-1.0.dist-info",
        Some(&state.entry_points()),
    );
    let revision = if state == State::Alpha { 1 } else { 2 };
    fs::create_dir(tree.join("DEBIAN")).unwrap();
    fs::write(
        tree.join("DEBIAN/control"),
        format!(
            "Package: python3-demo\nVersion: 1.0-{revision}\nArchitecture: all\n\
             Maintainer: Nobody <nobody@example.org>\nDescription: a demonstration\n"
        ),
    )
    .unwrap();
    give_one_time(&tree);
    let package = site.scratch.join(format!("demo_1.0-{revision}_all.deb"));
    process::succeed(
        Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group", "-Znone"])
            .arg(&tree)
            .arg(&package),
    );
    package
}

/// Gives everything below a directory one and the same time, as reproducible builds do.
fn give_one_time(directory: &Path) {
    process::succeed(Command::new("find").arg(directory).args([
        "-exec",
        "touch",
        "-h",
        "-d",
        "2020-01-01T00:00:00Z",
        "{}",
        "+",
    ]));
}

#[test]
fn unzip_over_what_is_there() {
    if Command::new("unzip").arg("-v").output().is_err() {
        return missing("unzip is not on PATH");
    }
    on_each_file_system("unzip -o", |site, what| {
        changes_are_seen(what, site, |state| {
            let mut unzip = Command::new("unzip");
            unzip
                .arg("-qo")
                .arg(site.wheel(state))
                .arg("-d")
                .arg(&site.path_entry);
            run(&mut unzip, &site.path_entry)
        });
    });
}

/// Both states as trees whose files are equal in size and time, so that no copy of one shows by these
/// that it is not the other.
fn trees_of_one_time(site: &Site) {
    for state in [State::Alpha, State::Bravo] {
        let tree = site.scratch.path_entry(&format!("tree-{}", state.word()));
        epcache_tests::environment::write_dist(
            &tree,
            "demo-1.0.dist-info",
            Some(&state.entry_points()),
        );
        give_one_time(&tree);
    }
}

fn tree(site: &Site, state: State) -> PathBuf {
    site.scratch.join(format!("tree-{}", state.word()))
}

#[test]
fn cp_of_another_tree_with_its_times() {
    on_each_file_system("cp -a", |site, what| {
        trees_of_one_time(site);
        changes_are_seen(what, site, |state| {
            let mut cp = Command::new("cp");
            cp.arg("-a")
                .arg(tree(site, state).join("."))
                .arg(&site.path_entry);
            run(&mut cp, &site.path_entry)
        });
    });
}

#[test]
fn tar_of_another_tree_with_its_times() {
    on_each_file_system("tar -x", |site, what| {
        trees_of_one_time(site);
        changes_are_seen(what, site, |state| {
            let archive = site.scratch.join("tree.tar");
            let source = tree(site, state);
            process::succeed(
                Command::new("tar")
                    .arg("-cf")
                    .arg(&archive)
                    .arg("-C")
                    .arg(source)
                    .arg("."),
            );
            let mut tar = Command::new("tar");
            tar.arg("-xpf")
                .arg(&archive)
                .arg("-C")
                .arg(&site.path_entry);
            run(&mut tar, &site.path_entry)
        });
    });
}

#[test]
fn rsync_of_another_tree_with_its_times() {
    if !have("rsync") {
        return;
    }
    for options in [
        ["-a", "--checksum"].as_slice(),
        &["-a", "--checksum", "--inplace"],
    ] {
        on_each_file_system(&format!("rsync {}", options.join(" ")), |site, what| {
            trees_of_one_time(site);
            changes_are_seen(what, site, |state| {
                let mut source = tree(site, state).into_os_string();
                source.push("/");
                let mut rsync = Command::new("rsync");
                rsync.args(options).arg(source).arg(&site.path_entry);
                run(&mut rsync, &site.path_entry)
            });
        });
    }
}

#[test]
fn an_edit_in_place_that_keeps_size_and_time() {
    on_each_file_system("an edit in place", |site, what| {
        trees_of_one_time(site);
        let mut cp = Command::new("cp");
        run(
            cp.arg("-a")
                .arg(tree(site, State::Alpha).join("."))
                .arg(&site.path_entry),
            &site.path_entry,
        );
        let file = site.path_entry.join("demo-1.0.dist-info/entry_points.txt");
        changes_are_seen(what, site, |state| {
            fs::write(&file, state.entry_points()).unwrap();
            give_one_time(&file);
            site.path_entry.clone()
        });
    });
}

/// A sync while an installer is in the middle of it sees a state that will not last; what it records must not
/// outlive that.
#[test]
fn syncs_in_the_middle_of_an_installation() {
    let Some(tools) = tools() else { return };
    on_each_file_system("pip while sync runs", |site, what| {
        changes_are_seen(what, site, |state| {
            let mut pip = site.pip_install(tools);
            pip.arg("--force-reinstall").arg(site.wheel(state));
            let installation: Output = thread::scope(|scope| {
                let installer = scope.spawn(|| process::finish(&mut pip));
                while !installer.is_finished() {
                    site.scratch.sync(&[&site.path_entry]);
                }
                installer.join().unwrap()
            });
            assert!(
                installation.status.success(),
                "{}",
                process::stderr(&installation)
            );
            site.path_entry.clone()
        });
    });
}
