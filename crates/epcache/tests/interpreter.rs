//! Which `sys.path` is meant, compared with what the environment's own Python reports from a
//! command in its scripts directory, for every CPython that this machine has.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't make its environment should stop there"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant, SystemTime},
};

use epcache::interpreter::{Environment, Error, How, Memory, Surroundings};
use tempfile::TempDir;

/// Prints `sys.path` in hexadecimal digits, one entry a line.
const SCRIPT: &str = "import os, sys\nfor entry in sys.path: print(os.fsencode(entry).hex())\n";

/// The oldest CPython that is compared with.
const OLDEST: (u32, u32) = (3, 10);

/// A real CPython.
#[derive(Debug)]
struct Python {
    executable: PathBuf,
    version: (u32, u32),
}

/// Every CPython from 3.10 that is on `PATH` or that pyenv has installed, each once.
fn pythons() -> Vec<Python> {
    let mut candidates = Vec::new();
    for directory in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        let minors = (OLDEST.1..30).map(|minor| format!("python3.{minor}"));
        candidates.extend(
            minors
                .chain(["python3".to_owned()])
                .map(|name| directory.join(name)),
        );
    }
    match Command::new("pyenv").arg("root").output() {
        Ok(output) => {
            let root = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
            let versions = fs::read_dir(root.join("versions"))
                .into_iter()
                .flatten()
                .flatten();
            candidates.extend(versions.map(|version| version.path().join("bin/python3")));
        }
        Err(error) => println!("skipped: no pyenv to list interpreters: {error}"),
    }
    let mut found = BTreeMap::new();
    for candidate in candidates {
        let Ok(real) = candidate.canonicalize() else {
            continue;
        };
        if let Some(version) = version_of(&candidate) {
            found.entry(real).or_insert(Python {
                executable: candidate,
                version,
            });
        }
    }
    if found.is_empty() {
        println!("skipped: no CPython from 3.10 on PATH");
    }
    found.into_values().collect()
}

/// The version of a CPython that is new enough and is itself, not a shim for another one.
fn version_of(executable: &Path) -> Option<(u32, u32)> {
    let program = "import sys; print(sys.executable); print(sys.implementation.name); \
        print(*sys.version_info[:2])";
    let output = Command::new(executable)
        .args(["-c", program])
        .output()
        .ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    let [path, implementation, version] = output.lines().collect::<Vec<_>>().try_into().ok()?;
    let (major, minor) = version.split_once(' ')?;
    let version = (major.parse().ok()?, minor.parse().ok()?);
    let usable = Path::new(path) == executable && implementation == "cpython" && version >= OLDEST;
    usable.then_some(version)
}

/// A scratch directory that is the home and the current directory, with nothing inherited that
/// could change a `sys.path`.
struct Scratch {
    directory: TempDir,
    surroundings: Surroundings,
}

impl Scratch {
    fn new() -> Scratch {
        // With its links followed, so that expectations can be written as strings.
        let base = std::env::temp_dir().canonicalize().unwrap();
        let directory = tempfile::tempdir_in(base).unwrap();
        let inherited = [
            "PYTHONPATH",
            "PYTHONHOME",
            "PYTHONUSERBASE",
            "PYTHONNOUSERSITE",
        ];
        let mut surroundings = Surroundings::of_this_process()
            .in_directory(directory.path())
            .with("HOME", directory.path());
        for name in inherited
            .into_iter()
            .chain(["PYTHONSAFEPATH", "VIRTUAL_ENV"])
        {
            surroundings = surroundings.without(name);
        }
        Scratch {
            directory,
            surroundings,
        }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a program in the scratch surroundings.
    fn run(&self, surroundings: &Surroundings, program: &Path, arguments: &[&OsStr]) -> Output {
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(surroundings.variables())
            .current_dir(surroundings.cwd().unwrap())
            .output()
            .unwrap()
    }

    /// Makes a virtual environment of the interpreter's own kind.
    fn venv(&self, python: &Python, name: &str, options: &[&str]) -> Option<PathBuf> {
        let directory = self.path(name);
        let mut arguments = vec![
            OsStr::new("-m"),
            OsStr::new("venv"),
            OsStr::new("--without-pip"),
        ];
        arguments.extend(options.iter().map(OsStr::new));
        arguments.push(directory.as_os_str());
        let output = self.run(&self.surroundings, &python.executable, &arguments);
        if !output.status.success() {
            println!(
                "skipped: {} has no venv module that works",
                python.executable.display()
            );
            return None;
        }
        Some(directory)
    }

    /// What Python itself has as `sys.path` in a command in this directory.
    fn truth(
        &self,
        surroundings: &Surroundings,
        executable: &Path,
        scripts: &Path,
    ) -> Vec<OsString> {
        let script = scripts.join(format!("epcache-test-{}", std::process::id()));
        fs::write(&script, SCRIPT).unwrap();
        let output = self.run(surroundings, executable, &[script.as_os_str()]);
        fs::remove_file(&script).unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .map(|line| OsString::from_vec(unhex(line)))
            .collect()
    }

    /// Asserts that the environment is resolved from its files and as Python has it.
    #[track_caller]
    fn assert_resolved(&self, surroundings: &Surroundings, venv: &Path) -> Environment {
        let environment = surroundings.venv(venv, None).unwrap();
        let truth = self.truth(surroundings, &venv.join("bin/python"), &venv.join("bin"));
        assert_eq!(environment.path, truth);
        assert_eq!(environment.how, How::Venv);
        environment
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |start| u8::from_str_radix(&digits[start..start + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn site_packages(venv: &Path, version: (u32, u32)) -> PathBuf {
    venv.join(format!(
        "lib/python{}.{}/site-packages",
        version.0, version.1
    ))
}

/// An executable shell script.
fn script(path: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_path_buf()
}

/// The kinds of lines and files that `.pth` processing treats differently.
fn write_pth_files(scratch: &Scratch, site: &Path) {
    for name in [
        "rel",
        "rel2",
        "after-code",
        "bom",
        "hidden",
        "crlf",
        "nested",
        "late",
        "ff",
        "ü",
        "space ",
    ] {
        fs::create_dir_all(site.join(name)).unwrap();
    }
    let outside = scratch.path("outside");
    fs::create_dir_all(outside.join("x")).unwrap();
    fs::write(site.join("egg.zip"), "").unwrap();
    symlink(&outside, site.join("link")).unwrap();

    let absolute = outside.display();
    let lines = format!(
        "# comment\nrel\n  \n./rel2/../rel2\n{absolute}\n{absolute}/x/..\n//{absolute}\nrel\n/no/such/dir\n\
         nor-this\nimport sys\nimport\tsys\nafter-code  \t\negg.zip\nlink\n rel\n.\n..\na\0b\n#rel2"
    );
    fs::write(site.join("b.pth"), lines).unwrap();
    fs::write(site.join("a-bom.pth"), "\u{feff}bom\n# x\n").unwrap();
    fs::write(site.join("c-bom-comment.pth"), "\u{feff}# x\nspace \n").unwrap();
    fs::write(site.join(".hidden.pth"), "hidden\n").unwrap();
    fs::write(site.join("d-crlf.pth"), "crlf\r\n\r\nlate\rrel").unwrap();
    fs::write(site.join("e-breaks.pth"), "ff\x0cnested\u{2028}rel\n").unwrap();
    fs::write(site.join("f-not-ascii.pth"), "ü\n").unwrap();
    fs::write(site.join("g-empty.pth"), "").unwrap();
    fs::write(site.join("Z.PTH"), "never\n").unwrap();
    fs::write(site.join("nested/inner.pth"), format!("{absolute}/x\n")).unwrap();
    fs::write(site.join("h-nested.pth"), "nested\n").unwrap();
    fs::create_dir(site.join("i-directory.pth")).unwrap();
    symlink("no-target", site.join("j-dangling.pth")).unwrap();
    fs::write(site.join(OsStr::from_bytes(b"k-\xff.pth")), "late\n").unwrap();
}

#[test]
fn a_plain_virtual_environment_is_resolved_without_starting_python() {
    for python in pythons() {
        let scratch = Scratch::new();
        let Some(venv) = scratch.venv(&python, "venv", &[]) else {
            continue;
        };
        let environment = scratch.assert_resolved(&scratch.surroundings, &venv);
        assert_eq!(environment.version, Some(python.version));
        assert_eq!(environment.prefix.as_deref(), Some(venv.as_path()));
        assert_eq!(environment.executable, Some(venv.join("bin/python")));
        assert_eq!(environment.path[0], venv.join("bin"));

        let by_interpreter = scratch
            .surroundings
            .python(venv.join("bin/python").as_os_str(), None)
            .unwrap();
        assert_eq!(by_interpreter, environment);
    }
}

#[test]
fn every_kind_of_pth_line_is_treated_as_python_treats_it() {
    for python in pythons() {
        let scratch = Scratch::new();
        let Some(venv) = scratch.venv(&python, "venv", &[]) else {
            continue;
        };
        write_pth_files(&scratch, &site_packages(&venv, python.version));
        for locale in ["C.UTF-8", "C", ""] {
            let surroundings = scratch
                .surroundings
                .clone()
                .without("LC_ALL")
                .with("LC_CTYPE", locale);
            let environment = scratch.assert_resolved(&surroundings, &venv);
            assert!(
                environment
                    .path
                    .contains(&scratch.path("outside").into_os_string())
            );
        }
    }
}

#[test]
fn a_pth_file_that_is_not_utf8_is_left_to_the_interpreter() {
    for python in pythons() {
        let scratch = Scratch::new();
        let Some(venv) = scratch.venv(&python, "venv", &[]) else {
            continue;
        };
        fs::write(
            site_packages(&venv, python.version).join("a.pth"),
            b"\xff\nrel\n",
        )
        .unwrap();
        match scratch.surroundings.venv(&venv, None) {
            Ok(environment) => {
                assert_eq!(environment.how, How::Asked);
                let scripts = venv.join("bin");
                let truth =
                    scratch.truth(&scratch.surroundings, &venv.join("bin/python"), &scripts);
                assert_eq!(environment.path, truth);
            }
            Err(error) => assert!(matches!(error, Error::Failed { .. }), "{error}"),
        }
    }
}

#[test]
fn pythonpath_comes_before_the_standard_library_with_its_empty_items() {
    for python in pythons() {
        let scratch = Scratch::new();
        let Some(venv) = scratch.venv(&python, "venv", &[]) else {
            continue;
        };
        fs::create_dir(scratch.path("a")).unwrap();
        let site = site_packages(&venv, python.version);
        fs::write(site.join("a.pth"), scratch.path("a").as_os_str().as_bytes()).unwrap();
        let beside = format!("{}:/no/../x/:a", site.display());
        let not_utf8 = OsString::from_vec(b"/\xff/b:./a".to_vec());
        for value in ["", ":", "a", ":a::b/../c:a", "/no//such/:", "a:", &beside]
            .map(OsString::from)
            .iter()
            .chain([&not_utf8])
        {
            let surroundings = scratch.surroundings.clone().with("PYTHONPATH", value);
            scratch.assert_resolved(&surroundings, &venv);
        }
    }
}

#[test]
fn system_packages_follow_where_they_are_included() {
    for python in pythons() {
        let scratch = Scratch::new();
        let Some(venv) = scratch.venv(&python, "venv", &["--system-site-packages"]) else {
            continue;
        };
        let user = scratch
            .path(".local/lib")
            .join(format!("python3.{}", python.version.1));
        let surroundings = &scratch.surroundings;
        let without_user = scratch.assert_resolved(surroundings, &venv);

        fs::create_dir_all(user.join("site-packages/named")).unwrap();
        fs::write(user.join("site-packages/a.pth"), "named\n").unwrap();
        write_pth_files(&scratch, &site_packages(&venv, python.version));
        let with_user = scratch.assert_resolved(surroundings, &venv);
        assert!(
            with_user
                .path
                .contains(&user.join("site-packages/named").into_os_string())
        );
        assert!(with_user.path.len() > without_user.path.len());

        for (name, value) in [
            ("PYTHONNOUSERSITE", "1"),
            ("PYTHONNOUSERSITE", "0"),
            ("PYTHONUSERBASE", "elsewhere"),
            ("HOME", "/"),
            ("HOME", ""),
            ("PYTHONSAFEPATH", "1"),
            ("PYTHONSAFEPATH", "0"),
            (
                "PYTHONPATH",
                &user.join("site-packages/named/..").display().to_string(),
            ),
        ] {
            scratch.assert_resolved(&surroundings.clone().with(name, value), &venv);
        }
    }
}

/// What the interpreter's own `site` takes for site directories, the user's with the others.
fn site_directories(scratch: &Scratch, executable: &Path) -> Vec<PathBuf> {
    let program = "import os, site\n\
        for entry in site.getsitepackages(site.PREFIXES) + [site.getusersitepackages()]:\n \
        print(os.fsencode(entry).hex())\n";
    let arguments = [OsStr::new("-c"), OsStr::new(program)];
    let output = scratch.run(&scratch.surroundings, executable, &arguments);
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| PathBuf::from(OsString::from_vec(unhex(line))))
        .collect()
}

#[test]
fn whatever_decides_of_a_virtual_environments_path_entries_is_told() {
    for python in pythons() {
        let scratch = Scratch::new();
        let surroundings = &scratch.surroundings;
        let Some(plain) = scratch.venv(&python, "plain", &[]) else {
            continue;
        };
        let Some(venv) = scratch.venv(&python, "venv", &["--system-site-packages"]) else {
            continue;
        };
        let site = site_packages(&venv, python.version);
        fs::create_dir(scratch.path("there")).unwrap();
        fs::write(site.join("a.pth"), "../absent\n").unwrap();
        let lines = format!("{}\n", scratch.path("there").display());
        fs::write(site.join("b.pth"), lines).unwrap();

        let told = surroundings.venv(&venv, None).unwrap().deciders();
        assert_eq!(
            told[..2],
            [venv.join("pyvenv.cfg"), venv.join("bin/python")]
        );
        for directory in site_directories(&scratch, &venv.join("bin/python")) {
            assert!(told.contains(&directory), "{}", directory.display());
        }
        assert!(!told.contains(&scratch.path("there")));
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len());

        let of_the_plain = surroundings.venv(&plain, None).unwrap().deciders();
        assert!(of_the_plain.iter().all(|path| path.starts_with(&plain)));

        // And nothing else: what does not exist is a path entry once it does.
        let missing: Vec<&PathBuf> = told
            .iter()
            .filter(|path| path.starts_with(scratch.path("")) && !path.exists())
            .collect();
        assert!(missing.contains(&&scratch.path(site.parent().unwrap().join("absent"))));
        for path in missing {
            fs::create_dir_all(path).unwrap();
            let now = scratch.assert_resolved(surroundings, &venv).path;
            assert!(
                now.iter().any(|entry| entry == path.as_os_str()),
                "{path:?}"
            );
        }
    }
}

#[test]
fn an_interpreter_that_was_asked_and_one_that_is_remembered_tell_the_same_deciders() {
    let Some(remembering) = Remembering::new() else {
        return;
    };
    let told = remembering.ask().deciders();
    let scratch = &remembering.scratch;
    for directory in site_directories(scratch, &remembering.executable) {
        assert!(told.contains(&directory), "{}", directory.display());
    }
    for path in [
        "venv/bin/python",
        "venv/pyvenv.cfg",
        "venv/bin/pyvenv.cfg",
        "absent",
    ] {
        assert!(told.contains(&scratch.path(path)), "{path}");
    }
    assert!(!told.contains(&scratch.path("named")));
    let again = remembering.ask();
    assert_eq!(again.how, How::Remembered);
    assert_eq!(again.deciders(), told);
}

#[test]
fn path_entries_that_are_given_are_decided_by_nothing() {
    assert!(Environment::given(vec!["/x".into()]).deciders().is_empty());
}

#[test]
fn an_environment_reached_through_links_or_moved_has_the_names_it_is_reached_by() {
    for python in pythons() {
        let scratch = Scratch::new();
        let Some(venv) = scratch.venv(&python, "venv", &[]) else {
            continue;
        };
        symlink(&venv, scratch.path("link")).unwrap();
        fs::create_dir(scratch.path("deep")).unwrap();
        symlink("../link", scratch.path("deep/link")).unwrap();
        for name in ["link", "deep/link", "deep/../venv", "./venv/."] {
            let environment = scratch
                .surroundings
                .venv(&scratch.path(name), None)
                .unwrap();
            let truth = scratch.truth(
                &scratch.surroundings,
                &scratch.path(name).join("bin/python"),
                &scratch.path(name).join("bin"),
            );
            assert_eq!(environment.path, truth, "{name}");
            assert_eq!(environment.how, How::Venv);
        }
        let relative = scratch
            .surroundings
            .venv(Path::new("deep/link"), None)
            .unwrap();
        let absolute = scratch
            .surroundings
            .venv(&scratch.path("deep/link"), None)
            .unwrap();
        assert_eq!(relative, absolute);

        fs::rename(&venv, scratch.path("moved")).unwrap();
        scratch.assert_resolved(&scratch.surroundings, &scratch.path("moved"));
    }
}

#[test]
fn an_interpreter_behind_a_chain_of_links_or_copied_is_recognized() {
    for python in pythons() {
        let scratch = Scratch::new();
        let Some(venv) = scratch.venv(&python, "venv", &[]) else {
            continue;
        };
        let real = fs::read_link(venv.join("bin/python3")).unwrap();
        fs::remove_file(venv.join("bin/python3")).unwrap();
        symlink(&real, scratch.path("second")).unwrap();
        symlink(scratch.path("second"), scratch.path("first")).unwrap();
        symlink("../../first", venv.join("bin/python3")).unwrap();
        scratch.assert_resolved(&scratch.surroundings, &venv);

        if let Some(copied) = scratch.venv(&python, "copied", &["--copies"]) {
            scratch.assert_resolved(&scratch.surroundings, &copied);
        }
    }
}

#[test]
fn an_environment_that_uv_or_virtualenv_made_is_resolved() {
    let Some(python) = pythons().pop() else {
        return;
    };
    let scratch = Scratch::new();
    let Some(tools) = scratch.venv(&python, "tools", &[]) else {
        return;
    };
    let online = &Surroundings::of_this_process().in_directory(&scratch.path(""));
    let install = [
        "-m",
        "pip",
        "--python",
        "tools",
        "install",
        "-q",
        "--retries=1",
        "--timeout=10",
        "uv",
        "virtualenv",
    ]
    .map(OsStr::new);
    if !scratch
        .run(online, &python.executable, &install)
        .status
        .success()
    {
        println!("skipped: uv and virtualenv can't be installed with pip here");
        return;
    }
    for python in pythons() {
        for options in [&[][..], &["--system-site-packages"]] {
            let made = |program: &str, directory: &Path, more: &[&str]| {
                let mut arguments: Vec<&OsStr> =
                    more.iter().chain(options).map(OsStr::new).collect();
                arguments.extend([
                    OsStr::new("-p"),
                    python.executable.as_os_str(),
                    directory.as_os_str(),
                ]);
                let output = scratch.run(
                    &scratch.surroundings,
                    &tools.join("bin").join(program),
                    &arguments,
                );
                assert!(output.status.success(), "{output:?}");
                scratch.assert_resolved(&scratch.surroundings, directory);
                fs::remove_dir_all(directory).unwrap();
            };
            made("uv", &scratch.path("of-uv"), &["venv", "--offline"]);
            made(
                "virtualenv",
                &scratch.path("of-virtualenv"),
                &["--no-download"],
            );
        }
    }
}

#[test]
fn an_interpreter_outside_an_environment_is_asked() {
    for python in pythons() {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.path("a")).unwrap();
        // A module in the current directory that would be imported by a careless question.
        for name in ["sysconfig.py", "os.py", "site.py", "json.py"] {
            fs::write(
                scratch.path(name),
                "raise SystemExit('imported from the current directory')",
            )
            .unwrap();
        }
        let plain = &scratch.surroundings;
        let variants = [
            plain.clone(),
            plain.clone().with("PYTHONPATH", scratch.path("a")),
            plain.clone().with("PYTHONSAFEPATH", "1"),
            plain.clone().with(
                "PYTHONPATH",
                OsString::from_vec(b"/\xff:/\xc3\xbc".to_vec()),
            ),
        ];
        for surroundings in variants {
            let environment = surroundings
                .python(python.executable.as_os_str(), None)
                .unwrap();
            assert_eq!(environment.how, How::Asked);
            assert_eq!(environment.version, Some(python.version));
            // The scripts directory may not be ours to write to: another one stands for it.
            let mut truth = scratch.truth(&surroundings, &python.executable, &scratch.path("a"));
            let safe = surroundings
                .variables()
                .any(|(name, _)| name == "PYTHONSAFEPATH");
            if !(safe && python.version >= (3, 11)) {
                truth[0] = scripts_directory(&scratch, &python).into_os_string();
            }
            assert_eq!(environment.path, truth);
        }
    }
}

fn scripts_directory(scratch: &Scratch, python: &Python) -> PathBuf {
    let program = "import os, sysconfig, sys\nsys.stdout.write(os.path.realpath(sysconfig.get_path('scripts')))";
    let file = scratch.path("a/where.py");
    fs::write(&file, program).unwrap();
    let output = scratch.run(
        &scratch.surroundings,
        &python.executable,
        &[file.as_os_str()],
    );
    PathBuf::from(OsString::from_vec(output.stdout))
}

#[test]
fn an_environment_whose_base_is_of_unknown_layout_is_asked() {
    let Some(python) = pythons().pop() else {
        return;
    };
    let scratch = Scratch::new();
    let Some(venv) = scratch.venv(&python, "venv", &[]) else {
        return;
    };
    let cfg = fs::read_to_string(venv.join("pyvenv.cfg")).unwrap();
    let scripts = venv.join("bin");
    // A version that is not the linked interpreter's, and an implementation that is not CPython.
    for change in [
        cfg.replace("version = 3.", "version = 3.9"),
        format!("implementation = Other\n{cfg}"),
    ] {
        fs::write(venv.join("pyvenv.cfg"), change).unwrap();
        let environment = scratch.surroundings.venv(&venv, None).unwrap();
        assert_eq!(environment.how, How::Asked);
        assert_eq!(
            environment.path,
            scratch.truth(&scratch.surroundings, &scripts.join("python"), &scripts)
        );
    }
}

#[test]
fn a_conda_prefix_is_asked_through_its_own_interpreter() {
    let Some(python) = pythons().pop() else {
        return;
    };
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("conda/conda-meta")).unwrap();
    let call = format!("exec '{}' \"$@\"", python.executable.display());
    script(&scratch.path("conda/bin/python"), &call);
    let environment = scratch
        .surroundings
        .venv(&scratch.path("conda"), None)
        .unwrap();
    let direct = scratch
        .surroundings
        .python(python.executable.as_os_str(), None)
        .unwrap();
    assert_eq!(environment, direct);
}

#[test]
fn without_a_name_the_active_environment_is_meant_then_the_projects_then_python3_on_path() {
    let Some(python) = pythons().pop() else {
        return;
    };
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("project/deep/er")).unwrap();
    let Some(venv) = scratch.venv(&python, "project/.venv", &[]) else {
        return;
    };
    let Some(active) = scratch.venv(&python, "active", &[]) else {
        return;
    };
    fs::create_dir_all(scratch.path("project/deep/.venv/not-an-environment")).unwrap();
    let surroundings = scratch
        .surroundings
        .clone()
        .in_directory(&scratch.path("project/deep/er"));

    let prefix =
        |surroundings: &Surroundings| surroundings.default_environment(None).unwrap().prefix;
    assert_eq!(
        prefix(&surroundings.clone().with("VIRTUAL_ENV", &active)),
        Some(active)
    );
    assert_eq!(prefix(&surroundings), Some(venv.clone()));
    let path = format!("{}:/no/such", python.executable.parent().unwrap().display());
    let outside = scratch.surroundings.clone().with("PATH", path);
    let found = outside.default_environment(None).unwrap();
    assert_eq!(
        (found.how, found.version),
        (How::Asked, Some(python.version))
    );
    let path = format!("/no/such:{}", venv.join("bin").display());
    let found = scratch
        .surroundings
        .clone()
        .with("PATH", path)
        .default_environment(None)
        .unwrap();
    assert_eq!((found.how, found.prefix), (How::Venv, Some(venv)));
}

#[test]
fn an_environment_that_was_only_found_is_not_started_if_others_could_have_put_it_there() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path(".venv/conda-meta")).unwrap();
    script(&scratch.path(".venv/bin/python"), "touch started");
    fs::set_permissions(scratch.path(".venv"), fs::Permissions::from_mode(0o777)).unwrap();
    let error = scratch.surroundings.default_environment(None).unwrap_err();
    assert!(matches!(error, Error::NotTrusted { .. }), "{error}");
    assert!(!scratch.path("started").exists());
}

#[test]
fn what_is_no_environment_or_no_program_is_said() {
    let scratch = Scratch::new();
    let surroundings = &scratch.surroundings;
    fs::create_dir_all(scratch.path("plain")).unwrap();
    let error = surroundings.venv(&scratch.path("plain"), None).unwrap_err();
    assert!(matches!(error, Error::NotAnEnvironment { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(scratch.path("plain").to_str().unwrap())
    );

    let active = surroundings
        .clone()
        .with("VIRTUAL_ENV", scratch.path("gone"));
    let error = active.default_environment(None).unwrap_err();
    assert!(matches!(error, Error::NotActive { .. }), "{error}");

    fs::write(scratch.path("plain/pyvenv.cfg"), "home = /no\n").unwrap();
    let error = surroundings.venv(&scratch.path("plain"), None).unwrap_err();
    assert!(matches!(error, Error::NoInterpreter { .. }), "{error}");

    for name in ["no-such-program", ""] {
        let error = surroundings.python(OsStr::new(name), None).unwrap_err();
        assert!(matches!(error, Error::NotOnPath { .. }), "{error}");
    }
    fs::write(scratch.path("text"), "not a program").unwrap();
    for name in ["text", "no/such", "plain"] {
        let error = surroundings
            .python(scratch.path(name).as_os_str(), None)
            .unwrap_err();
        assert!(matches!(error, Error::CannotStart { .. }), "{error}");
    }
}

#[test]
fn an_interpreter_that_fails_is_reported_with_its_output() {
    let scratch = Scratch::new();
    let failing = script(
        &scratch.path("failing"),
        "echo first; echo 'bad \x1b[31m \"library\"' >&2; exit 3",
    );
    let error = scratch
        .surroundings
        .python(failing.as_os_str(), None)
        .unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    let message = error.to_string();
    for part in [
        failing.to_str().unwrap(),
        "exit status: 3",
        "bad \\u{1b}[31m \"library\" | first",
        "--python",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains(['\n', '\x1b']), "{message}");
}

#[test]
fn an_interpreter_that_prints_garbage_is_reported_with_its_output() {
    let scratch = Scratch::new();
    for text in [
        "echo hello",
        "",
        "printf '\\377\\0'",
        "echo 'epcache-answer {'",
        "echo 'epcache-answer 1'",
    ] {
        let garbage = script(&scratch.path("garbage"), text);
        let error = scratch
            .surroundings
            .python(garbage.as_os_str(), None)
            .unwrap_err();
        assert!(matches!(error, Error::NoAnswer { .. }), "{text}: {error}");
    }
    let error = scratch
        .surroundings
        .python(script(&scratch.path("hello"), "seq 100").as_os_str(), None)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("printed: 1 | 2 | 3 | 4 | 5 | 6 | ...;"),
        "{error}"
    );
}

#[test]
fn an_interpreter_that_hangs_is_stopped_with_all_that_it_started() {
    let scratch = Scratch::new();
    let patience = Duration::from_millis(300);
    let surroundings = scratch.surroundings.clone().with_patience(patience);
    for text in [
        "echo begun; echo $$ >pid; exec sleep 1000",
        "echo begun; sleep 1000 & echo $! >pid; wait",
        "echo begun; trap '' TERM INT HUP; echo $$ >pid; while :; do sleep 1000; done",
        "echo begun; echo $$ >pid; exec >&- 2>&-; exec sleep 1000",
    ] {
        let hanging = script(&scratch.path("hanging"), text);
        let begun = Instant::now();
        let error = surroundings.python(hanging.as_os_str(), None).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(
            begun.elapsed() < patience + Duration::from_secs(5),
            "{text}"
        );
        assert!(error.to_string().contains("printed: begun;"), "{error}");
        wait_until(|| !is_running(&fs::read_to_string(scratch.path("pid")).unwrap()));
    }
}

#[test]
fn what_an_interpreter_leaves_running_does_not_delay_its_answer() {
    let Some(python) = pythons().pop() else {
        return;
    };
    let scratch = Scratch::new();
    let text = format!(
        "sleep 1000 &\necho $! >pid\nexec '{}' \"$@\"",
        python.executable.display()
    );
    let leaving = script(&scratch.path("leaving"), &text);
    let found = scratch
        .surroundings
        .python(leaving.as_os_str(), None)
        .unwrap();
    assert_eq!(found.version, Some(python.version));
    wait_until(|| !is_running(&fs::read_to_string(scratch.path("pid")).unwrap()));
}

#[test]
fn an_interpreter_that_prints_without_end_is_stopped() {
    let scratch = Scratch::new();
    for text in ["exec yes", "exec yes >&2"] {
        let endless = script(&scratch.path("endless"), text);
        let error = scratch
            .surroundings
            .python(endless.as_os_str(), None)
            .unwrap_err();
        assert!(matches!(error, Error::TooMuchOutput { .. }), "{error}");
        assert!(error.to_string().len() < 2000);
    }
}

#[test]
fn an_interpreter_that_is_too_old_is_named_with_its_version() {
    let scratch = Scratch::new();
    let old = script(
        &scratch.path("old"),
        "echo 'epcache-answer {\"version\":[2,7]}'",
    );
    let error = scratch
        .surroundings
        .python(old.as_os_str(), None)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooOld {
                version: (2, 7),
                ..
            }
        ),
        "{error}"
    );
}

/// Whether a process is there and not only waiting to be reaped.
fn is_running(pid: &str) -> bool {
    match Command::new("ps")
        .args(["-o", "state=", "-p", pid.trim()])
        .output()
    {
        Ok(output) => !output.stdout.is_empty() && !output.stdout.starts_with(b"Z"),
        Err(error) => {
            println!("skipped: whether process {pid} has ended: no ps: {error}");
            false
        }
    }
}

/// Waits for a condition that is about to come true.
#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it never came true"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How old a change must be for an answer that depends on it to be remembered, and some more.
const SETTLING: Duration = Duration::from_millis(150);

/// A memory, and an interpreter whose answer depends on files that a test may change: the base of
/// one environment, reached through another that has to be asked.
struct Remembering {
    scratch: Scratch,
    memory: Memory,
    executable: PathBuf,
    site: PathBuf,
}

impl Remembering {
    fn new() -> Option<Remembering> {
        let python = pythons().pop()?;
        let scratch = Scratch::new();
        let venv = scratch.venv(&python, "venv", &[])?;
        // A second pyvenv.cfg makes this one that must be asked.
        fs::copy(venv.join("pyvenv.cfg"), venv.join("bin/pyvenv.cfg")).unwrap();
        fs::create_dir_all(scratch.path("named")).unwrap();
        let site = site_packages(&venv, python.version);
        let lines = format!(
            "{}\n{}\n",
            scratch.path("named").display(),
            scratch.path("absent").display()
        );
        fs::write(site.join("a.pth"), lines).unwrap();
        let remembering = Remembering {
            memory: Memory::in_directory(scratch.path("cache/.interpreters")),
            executable: venv.join("bin/python"),
            site,
            scratch,
        };
        remembering.settle();
        Some(remembering)
    }

    /// Waits until a change made now would have other times than those before it, which is what
    /// makes an answer one that is remembered.
    fn settle(&self) {
        let young = self.scratch.path("young");
        fs::write(&young, "").unwrap();
        let made = fs::metadata(&young).unwrap().modified().unwrap();
        wait_until(|| {
            SystemTime::now()
                .duration_since(made)
                .is_ok_and(|age| age > SETTLING)
        });
    }

    fn ask(&self) -> Environment {
        self.ask_in(&self.scratch.surroundings)
    }

    fn ask_in(&self, surroundings: &Surroundings) -> Environment {
        surroundings
            .python(self.executable.as_os_str(), Some(&self.memory))
            .unwrap()
    }

    /// Asserts that an answer is remembered now, and not after the change, which makes it what
    /// Python says then.
    #[track_caller]
    fn assert_forgotten_after(&self, what: &str, change: impl FnOnce()) {
        let mut expected = self.ask();
        expected.how = How::Remembered;
        assert_eq!(self.ask(), expected, "before: {what}");
        change();
        let now = self.ask();
        assert_eq!(now.how, How::Asked, "after: {what}");
        let scripts = self.executable.parent().unwrap();
        let truth = self
            .scratch
            .truth(&self.scratch.surroundings, &self.executable, scripts);
        assert_eq!(now.path, truth, "after: {what}");
        self.settle();
    }
}

#[test]
fn an_answer_is_remembered_until_something_it_depends_on_changes() {
    let Some(remembering) = Remembering::new() else {
        return;
    };
    let Remembering {
        scratch,
        executable,
        site,
        ..
    } = &remembering;
    let write = |file: PathBuf, text: &str| fs::write(file, text).unwrap();
    let replace = |file: &Path| {
        let content = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        fs::write(file, content).unwrap();
    };
    let prefix = executable.parent().unwrap().parent().unwrap();

    remembering.assert_forgotten_after("a .pth file's content changes", || {
        write(site.join("a.pth"), "..\n");
    });
    remembering.assert_forgotten_after("a .pth file appears", || {
        write(site.join("b.pth"), "../..\n");
    });
    remembering.assert_forgotten_after("a .pth file is removed", || {
        fs::remove_file(site.join("b.pth")).unwrap();
    });
    remembering.assert_forgotten_after("a .pth file names what is absent", || {
        let lines = format!("{}\n", scratch.path("absent").display());
        write(site.join("a.pth"), &lines);
    });
    remembering.assert_forgotten_after("what a .pth file names appears", || {
        fs::create_dir(scratch.path("absent")).unwrap();
    });
    remembering.assert_forgotten_after("what a .pth file names is removed", || {
        fs::remove_dir(scratch.path("absent")).unwrap();
    });
    remembering.assert_forgotten_after("a site directory gets an entry", || {
        fs::create_dir(site.join("six-1.16.0.dist-info")).unwrap();
    });
    remembering.assert_forgotten_after("the user's site directory appears", || {
        let version = site.parent().unwrap().file_name().unwrap();
        let user = scratch
            .path(".local/lib")
            .join(version)
            .join("site-packages");
        fs::create_dir_all(user).unwrap();
    });
    remembering.assert_forgotten_after("pyvenv.cfg changes", || {
        let cfg = fs::read_to_string(prefix.join("pyvenv.cfg"))
            .unwrap()
            .replace("= false", "= true");
        write(prefix.join("pyvenv.cfg"), &cfg);
        write(prefix.join("bin/pyvenv.cfg"), &cfg);
    });
    remembering.assert_forgotten_after("pyvenv.cfg is replaced by an equal one", || {
        replace(&prefix.join("pyvenv.cfg"));
    });
    remembering.assert_forgotten_after("sitecustomize appears", || {
        write(
            site.join("sitecustomize.py"),
            "import sys; sys.path.append('/custom')",
        );
    });
    remembering.assert_forgotten_after("sitecustomize changes", || {
        write(
            site.join("sitecustomize.py"),
            "import sys; sys.path.append('/other')",
        );
    });
    remembering.assert_forgotten_after("the interpreter is replaced", || {
        let real = executable.canonicalize().unwrap();
        fs::remove_file(executable).unwrap();
        fs::copy(real, executable).unwrap();
    });
    remembering.assert_forgotten_after("the interpreter is replaced by an equal one", || {
        replace_program(executable);
    });
}

/// Replaces a program file by a copy of itself.
fn replace_program(program: &Path) {
    let copy = program.with_extension("copy");
    fs::copy(program, &copy).unwrap();
    fs::rename(copy, program).unwrap();
}

#[test]
fn an_answer_is_remembered_for_its_variables_and_directory_only() {
    let Some(remembering) = Remembering::new() else {
        return;
    };
    let plain = remembering.scratch.surroundings.clone();
    let how = |surroundings: &Surroundings| remembering.ask_in(surroundings).how;
    let mut before = plain.clone();
    assert_eq!(how(&before), How::Asked);
    for changed in [
        plain.clone().with("PYTHONPATH", "/a"),
        plain.clone().with("PYTHONPATH", "a"),
        plain
            .clone()
            .with("PYTHONPATH", "a")
            .in_directory(Path::new("/")),
        plain.clone().with("PYTHONNOUSERSITE", "1"),
        plain.clone().with("HOME", "/"),
        plain.clone().with("PYTHONSAFEPATH", "1"),
        plain.clone(),
    ] {
        assert_eq!(how(&before), How::Remembered);
        assert_eq!(how(&changed), How::Asked, "{changed:?}");
        let scripts = remembering.executable.parent().unwrap();
        let truth = remembering
            .scratch
            .truth(&changed, &remembering.executable, scripts);
        assert_eq!(remembering.ask_in(&changed).path, truth);
        before = changed;
    }
    assert_eq!(
        how(&plain
            .clone()
            .with("UNRELATED", "1")
            .in_directory(Path::new("/"))),
        How::Remembered
    );
}

#[test]
fn an_answer_given_right_after_a_change_is_not_remembered() {
    let Some(remembering) = Remembering::new() else {
        return;
    };
    fs::write(remembering.site.join("a.pth"), "..\n").unwrap();
    let future = SystemTime::now() + Duration::from_secs(3600);
    fs::File::options()
        .write(true)
        .open(remembering.site.join("a.pth"))
        .unwrap()
        .set_modified(future)
        .unwrap();
    assert_eq!(remembering.ask().how, How::Asked);
    assert_eq!(remembering.ask().how, How::Asked);
}

#[test]
fn a_damaged_or_untrusted_memory_is_none() {
    let Some(remembering) = Remembering::new() else {
        return;
    };
    let directory = remembering.scratch.path("cache/.interpreters");
    assert_eq!(remembering.ask().how, How::Asked);
    assert_eq!(remembering.ask().how, How::Remembered);
    let mode = fs::metadata(&directory).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o700);
    let [file] = fs::read_dir(&directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let content = fs::read(&file).unwrap();

    let damaged: [&[u8]; 4] = [b"", b"{}", b"[[[[", &content[..content.len() / 2]];
    for damaged in damaged {
        fs::write(&file, damaged).unwrap();
        assert_eq!(remembering.ask().how, How::Asked);
        assert_eq!(remembering.ask().how, How::Remembered, "it is repaired");
    }
    for (path, mode) in [(&file, 0o622), (&directory, 0o777)] {
        let before = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(remembering.ask().how, How::Asked, "{}", path.display());
        fs::set_permissions(path, before).unwrap();
    }
    fs::remove_file(&file).unwrap();
    symlink(remembering.scratch.path("elsewhere"), &file).unwrap();
    fs::write(remembering.scratch.path("elsewhere"), content).unwrap();
    assert_eq!(remembering.ask().how, How::Asked);

    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "a file where the directory should be").unwrap();
    assert_eq!(remembering.ask().how, How::Asked);
    assert_eq!(remembering.ask().how, How::Asked);
}

#[test]
fn the_answer_of_a_script_is_not_remembered() {
    let Some(remembering) = Remembering::new() else {
        return;
    };
    let call = format!("exec '{}' \"$@\"", remembering.executable.display());
    let wrapper = script(&remembering.scratch.path("wrapper"), &call);
    remembering.settle();
    for _ in 0..2 {
        let surroundings = &remembering.scratch.surroundings;
        let found = surroundings
            .python(wrapper.as_os_str(), Some(&remembering.memory))
            .unwrap();
        assert_eq!(found.how, How::Asked);
    }
}

#[test]
fn the_answer_of_a_pyenv_shim_is_remembered_until_another_version_is_chosen() {
    // A pyenv in miniature: its shim, and an interpreter below `versions`.
    let Some(python) = pythons().pop() else {
        return;
    };
    let scratch = Scratch::new();
    let Some(venv) = scratch.venv(&python, "pyenv/versions/one", &[]) else {
        return;
    };
    scratch.venv(&python, "pyenv/versions/two", &[]).unwrap();
    let root = scratch.path("pyenv");
    let choose = "version=${PYENV_VERSION:-$(cat .python-version 2>/dev/null || cat \"$PYENV_ROOT/version\")}\n\
        program=$2\nshift 2\nexec \"$PYENV_ROOT/versions/$version/bin/$program\" \"$@\"";
    let pyenv = script(&root.join("libexec/pyenv"), choose);
    let shim = format!(
        "program=\"${{0##*/}}\"\nexport PYENV_ROOT=\"{}\"\nexec \"{}\" exec \"$program\" \"$@\"",
        root.display(),
        pyenv.display()
    );
    let shim = script(&root.join("shims/python3"), &shim);
    fs::write(root.join("version"), "one\n").unwrap();
    fs::create_dir_all(scratch.path("project")).unwrap();
    fs::create_dir_all(scratch.path("empty")).unwrap();
    let remembering = Remembering {
        memory: Memory::in_directory(scratch.path("memory")),
        executable: shim,
        site: site_packages(&venv, python.version),
        scratch,
    };
    let Remembering { scratch, .. } = &remembering;
    remembering.settle();

    let ask = |surroundings: &Surroundings| {
        let found = remembering.ask_in(surroundings);
        (
            found.how,
            found.prefix.unwrap().file_name().unwrap().to_owned(),
        )
    };
    let answer = |how, version: &str| (how, OsString::from(version));
    let plain = scratch
        .surroundings
        .clone()
        .in_directory(&scratch.path("project"))
        .without("PYENV_VERSION");
    assert_eq!(ask(&plain), answer(How::Asked, "one"));
    assert_eq!(ask(&plain), answer(How::Remembered, "one"));
    assert_eq!(
        ask(&plain.clone().in_directory(&scratch.path("empty"))),
        answer(How::Remembered, "one")
    );
    assert_eq!(
        ask(&plain.clone().with("PYENV_VERSION", "two")),
        answer(How::Asked, "two")
    );
    assert_eq!(ask(&plain), answer(How::Asked, "one"));
    fs::write(scratch.path("project/.python-version"), "two\n").unwrap();
    assert_eq!(ask(&plain), answer(How::Asked, "two"));
    remembering.settle();
    assert_eq!(ask(&plain), answer(How::Asked, "two"));
    assert_eq!(ask(&plain), answer(How::Remembered, "two"));
    fs::remove_file(scratch.path("project/.python-version")).unwrap();
    assert_eq!(ask(&plain), answer(How::Asked, "one"));
    fs::write(root.join("version"), "two\n").unwrap();
    assert_eq!(ask(&plain), answer(How::Asked, "two"));
}
