//! Debian's packages and systems: packages built by its own tools, systems made by `debootstrap`
//! in a scratch directory, and that system's own Python as the judge of what is installed there.
//!
//! Nothing of the machine's own system is touched: what runs, runs in a root directory, with mounts
//! and processes of its own that go with it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::environment::{Scratch, is_root, set_mode};
use crate::oracle::{Answer, Oracle, Truth};
use crate::skip::{missing, skip};
use crate::{binary, process};

/// How many seconds the packages of a small system may take to arrive and be unpacked.
const DEBOOTSTRAP_SECONDS: u64 = 600;
/// How many seconds `apt-get` may take for what a test wants downloaded or installed.
const APT_SECONDS: u64 = 600;
/// How much longer than that it is waited: it is ended by then, and can say so.
const GRACE: Duration = Duration::from_secs(30);
/// How old a system may be that an earlier run made: apt must still find what its lists name.
const ARCHIVE_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// To be raised when a system is made otherwise than before.
const ARCHIVE_REVISION: u32 = 1;
/// What `timeout` exits with when it had to end the program.
const TIMED_OUT: i32 = 124;

/// Which Debian, where this machine is none. The command may not start there, as it is linked with the
/// machine's own C library; that is tried.
const SUITE: &str = "bookworm";

/// The command and the Python reader, as who has not installed our package may have them.
const TOOLS: &str = "opt/epcache";

/// Where programs are in a Debian system.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The site directory of Debian's packages.
pub const DIST_PACKAGES: &str = "/usr/lib/python3/dist-packages";

/// What a program in the system sees: a mount namespace in which `/proc` is that of its own process
/// namespace, dpkg's database is in memory, and on request there is a small disk. All end with the
/// program, also if the test is killed.
/// Arguments: the root directory, the program.
const ENTER: &str = r#"
root=$1 && shift && mount -t proc proc "$root/proc" || exit
test -z "$DATABASE" || mount --bind "$DATABASE" "$root/var/lib/dpkg" || exit
test -z "$SMALL_DISK" || mount -t tmpfs -o "$SMALL_DISK_OPTIONS" none "$SMALL_DISK" || exit
exec chroot "$root" "$@"
"#;

/// dpkg's database, which it syncs some thirty times in each run, whatever it is told.
const DATABASE: &str = "var/lib/dpkg";
/// A file system that has nothing to sync. What is compared stays on the disk.
const MEMORY: &str = "/dev/shm";

/// What a fresh Python of the system asks the Python reader. Arguments: the path entries.
const READER: &str = r#"
import sys
sys.path.insert(0, "/opt/epcache/python")
import epcache, json
sys.path[:] = sys.argv[1:]
print(json.dumps([[e.group, e.name, e.value] for e in epcache.entry_points()]))
"#;

// ---- systems

/// A Debian system with a Python in it, as an archive from which any number can be made.
pub struct Debian {
    archive: PathBuf,
}

/// The system, made below `directory` (`CARGO_TARGET_TMPDIR`), where an earlier run may have left
/// it; nothing where it is not to be had, which is said.
pub fn debian(directory: &Path) -> Option<&'static Debian> {
    static DEBIAN: OnceLock<Result<Debian, String>> = OnceLock::new();
    if !can_enter() {
        return None;
    }
    let suite = suite();
    let made = DEBIAN.get_or_init(|| Debian::at(directory, suite.as_deref().unwrap_or(SUITE)));
    match (made, suite) {
        (Ok(debian), _) => return Some(debian),
        // Only a machine that is a Debian itself can be expected to have what it takes.
        (Err(reason), Some(_)) => missing(reason),
        (Err(reason), None) => skip(reason),
    }
    None
}

/// Whether this user, on this machine, can have root directories; says so where not.
fn can_enter() -> bool {
    if !is_root() {
        skip("a Debian system is made by root only");
        return false;
    }
    let mut namespaces = Command::new("unshare");
    namespaces.args(["--mount", "--pid", "--fork", "true"]);
    let tried = namespaces.output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        skip("a Debian system: mounts and processes of a test's own are not to be had");
    }
    can
}

/// The release that this machine is, if it is a Debian.
fn suite() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    match (value("ID="), value("VERSION_CODENAME=")) {
        (Some(id), codename) if id == "debian" => codename,
        _ => None,
    }
}

impl Debian {
    fn at(directory: &Path, suite: &str) -> Result<Self, String> {
        let key = format!(
            "debian-{suite}-{}-{ARCHIVE_REVISION}",
            std::env::consts::ARCH
        );
        let archive = directory.join(format!("{key}.tar"));
        for child in fs::read_dir(directory).unwrap() {
            let path = child.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if name.starts_with("debian-")
                && name.ends_with(".tar")
                && (path != archive || is_old(&path))
            {
                fs::remove_file(&path).unwrap();
            }
        }
        if !archive.exists() {
            // Complete, or not there: another run may look for it.
            let part = directory.join(format!("{key}.{}", std::process::id()));
            make(suite, &part)?;
            fs::rename(&part, &archive).unwrap();
        }
        let debian = Self { archive };
        debian.can_run_the_command()?;
        Ok(debian)
    }

    fn can_run_the_command(&self) -> Result<(), String> {
        let (_scratch, directory) = self.unpacked();
        let program = Path::new("/").join(TOOLS).join("epcache");
        let output = process::finish(enter(&directory, program).arg("--version"));
        if output.status.success() {
            return Ok(());
        }
        let (said, machine) = (said(&output), std::env::consts::ARCH);
        Err(format!(
            "the command of this machine ({machine}) does not start in that Debian: {}",
            said.trim()
        ))
    }

    /// A new system, with the command and the Python reader in it.
    fn unpacked(&self) -> (Scratch, PathBuf) {
        let scratch = Scratch::new();
        let directory = scratch.join("root");
        fs::create_dir(&directory).unwrap();
        process::succeed(
            Command::new("tar")
                .args(["--numeric-owner", "-C"])
                .arg(&directory)
                .arg("-xf")
                .arg(&self.archive),
        );
        let tools = directory.join(TOOLS);
        fs::create_dir_all(&tools).unwrap();
        copy(binary(), &tools.join("epcache"));
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
        copy(&package, &tools.join("python"));
        // Root's own in there, as if it had been installed.
        process::succeed(Command::new("chown").arg("-R").arg("0:0").arg(&tools));
        (scratch, directory)
    }

    /// A system of a test's own.
    pub fn root(&self) -> Root {
        let (scratch, directory) = self.unpacked();
        let python = scratch.join("python");
        let script = format!(
            "#!/bin/sh\nexec chroot '{}' /usr/bin/python3 \"$@\"\n",
            directory.display()
        );
        fs::write(&python, script).unwrap();
        set_mode(&python, 0o755);
        let memory = Path::new(MEMORY);
        let database = memory.is_dir().then(|| Scratch::within(memory));
        if let Some(database) = &database {
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(directory.join(DATABASE));
            process::succeed(copy.arg(database.join("dpkg")));
        }
        let mut root = Root {
            oracle: Oracle::start(&python),
            database,
            _scratch: scratch,
            directory,
            sys_path: Vec::new(),
        };
        let mut question = root.command("python3");
        question.args(["-I", "-c", r#"import sys; print("\n".join(sys.path))"#]);
        let said = process::stdout(&process::succeed(&mut question));
        root.sys_path = said.lines().map(str::to_owned).collect();
        assert!(root.sys_path.iter().any(|item| item == DIST_PACKAGES));
        root
    }
}

/// Whether an archive may name packages that are not to be had any more.
fn is_old(archive: &Path) -> bool {
    let made = fs::metadata(archive).and_then(|stat| stat.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > ARCHIVE_AGE))
}

/// Makes a system, as an archive; the error says why it is not to be had.
fn make(suite: &str, archive: &Path) -> Result<(), String> {
    let tried = Command::new("debootstrap").arg("--version").output();
    if tried.is_err() {
        return Err(
            "there is no debootstrap, so no package is installed (Debian: debootstrap)".to_owned(),
        );
    }
    let scratch = Scratch::new();
    let root = scratch.join("root");
    let mut debootstrap = Command::new("timeout");
    debootstrap
        .arg(DEBOOTSTRAP_SECONDS.to_string())
        .args([
            "debootstrap",
            "--variant=minbase",
            "--include=python3",
            suite,
        ])
        .arg(&root);
    let limit = Duration::from_secs(DEBOOTSTRAP_SECONDS) + GRACE;
    let output = process::finish_within(&mut debootstrap, limit);
    if !output.status.success() {
        return Err(format!("no Debian {suite} is to be had: {}", why(&output)));
    }
    settle(&root);
    process::succeed(
        Command::new("tar")
            .args(["--numeric-owner", "-C"])
            .arg(&root)
            .arg("-cf")
            .arg(archive)
            .arg("."),
    );
    Ok(())
}

/// Why a program that downloads did not succeed.
pub fn why(output: &Output) -> String {
    if output.status.code() == Some(TIMED_OUT) {
        return "it took too long".to_owned();
    }
    said(output).lines().last().unwrap_or_default().to_owned()
}

/// Makes a new system one to install things on: what it downloads from where this machine does,
/// starting no services, and without what only takes space.
fn settle(root: &Path) {
    let mut settings = String::from("Acquire::Languages \"none\";\n");
    let dump = Command::new("apt-config")
        .args(["dump", "Acquire"])
        .output();
    let dump = dump
        .map(|output| process::stdout(&output))
        .unwrap_or_default();
    for line in dump.lines() {
        let asked = ["http::", "https::", "Check-", "Retries"];
        if asked.iter().any(|name| {
            line[..]
                .strip_prefix("Acquire::")
                .is_some_and(|it| it.starts_with(name))
        }) {
            settings.push_str(line);
            settings.push('\n');
        }
    }
    fs::write(root.join("etc/apt/apt.conf.d/99tests"), settings).unwrap();
    // No power will fail that would be survived.
    fs::write(root.join("etc/dpkg/dpkg.cfg.d/tests"), "force-unsafe-io\n").unwrap();
    let policy = root.join("usr/sbin/policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n").unwrap();
    set_mode(&policy, 0o755);
    let mut clean = Command::new("chroot");
    process::succeed(clean.arg(root).args(["apt-get", "clean"]));
    for directory in ["usr/share/locale", "usr/share/man"] {
        for child in fs::read_dir(root.join(directory)).unwrap() {
            fs::remove_dir_all(child.unwrap().path()).ok();
        }
    }
}

/// Not `fs::copy`: a child that another test starts meanwhile would have inherited a program open
/// for writing, and nobody can run it then (ETXTBSY).
fn copy(from: &Path, to: &Path) {
    process::succeed(Command::new("cp").arg("-rL").arg(from).arg(to));
}

/// A program to be run in a root directory, with mounts and processes of its own.
fn enter(directory: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    for name in [
        "EPCACHE_PATH",
        "EPCACHE_MODE",
        "PYTHONPATH",
        "PYTHONHOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "TMPDIR",
    ] {
        command.env_remove(name);
    }
    command
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            ENTER,
            "sh",
        ])
        .arg(directory)
        .arg(program)
        .env("PATH", SEARCH_PATH)
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The background process would be ended with the one that asks, somewhere in its work.
        .env("EPCACHE_ON_STALE", "ignore")
        .current_dir("/");
    command
}

/// A Debian system in a scratch directory, and its Python, running.
pub struct Root {
    /// Holds the system, and goes with it.
    _scratch: Scratch,
    directory: PathBuf,
    /// Holds dpkg's database, if there is a place in memory.
    database: Option<Scratch>,
    oracle: Oracle,
    /// Of the system's Python.
    sys_path: Vec<String>,
}

impl Root {
    /// Where a path of the system is on this machine.
    pub fn join(&self, path: &str) -> PathBuf {
        self.directory.join(path.trim_start_matches('/'))
    }

    /// A program of the system, to be run in it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = enter(&self.directory, program);
        if let Some(database) = &self.database {
            command.env("DATABASE", database.join("dpkg"));
        }
        command
    }

    /// `dpkg` with packages that are files of this machine.
    pub fn dpkg(&self, options: &[&str], packages: &[impl AsRef<Path>]) -> Command {
        let incoming = self.join("incoming");
        fs::create_dir_all(&incoming).unwrap();
        let mut dpkg = self.command("dpkg");
        dpkg.args(options);
        for package in packages {
            let name = package.as_ref().file_name().unwrap();
            fs::copy(package, incoming.join(name)).unwrap();
            dpkg.arg(Path::new("/incoming").join(name));
        }
        dpkg
    }

    /// Has such a program see a file system of its own, with these options of `tmpfs`, in one directory.
    pub fn on_a_full_disk<'c>(
        &self,
        program: &'c mut Command,
        directory: &str,
        options: &str,
    ) -> &'c mut Command {
        program
            .env("SMALL_DISK", self.join(directory))
            .env("SMALL_DISK_OPTIONS", options)
    }

    /// Installs packages that are files of this machine, which must succeed; gives what was said.
    pub fn install(&self, packages: &[impl AsRef<Path>]) -> String {
        said(&process::succeed(&mut self.dpkg(&["--install"], packages)))
    }

    /// `apt-get`, which must succeed, without questions and recommendations; gives what was said.
    pub fn apt_get(&self, arguments: &[&str]) -> String {
        let output = self.try_apt_get(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    }

    /// The same, that may fail.
    pub fn try_apt_get(&self, arguments: &[&str]) -> Output {
        fs::copy("/etc/resolv.conf", self.join("etc/resolv.conf")).ok();
        let mut apt = self.command("timeout");
        apt.arg(APT_SECONDS.to_string()).args([
            "apt-get",
            "--quiet",
            "--assume-yes",
            "--no-install-recommends",
        ]);
        let limit = Duration::from_secs(APT_SECONDS) + GRACE;
        process::finish_within(apt.args(arguments), limit)
    }

    /// The command, which nobody installed in this system, with the path entries of its Python.
    pub fn epcache(&self, arguments: &[&str]) -> Command {
        let mut epcache = self.command(Path::new("/").join(TOOLS).join("epcache"));
        epcache.args(arguments);
        for path_entry in &self.sys_path {
            epcache.args(["--path", path_entry]);
        }
        epcache
    }

    /// `epcache query` for everything, as it is to be run.
    pub fn query(&self) -> Command {
        self.epcache(&["query", "--format", "jsonl"])
    }

    /// The Python reader, asked for everything by a fresh process of the system's Python.
    pub fn reader(&self) -> Command {
        let mut reader = self.command("python3");
        reader
            .args(["-I", "-S", "-B", "-c", READER])
            .args(&self.sys_path);
        reader
    }

    /// What such a query says.
    pub fn answers(&self, output: &Output) -> Vec<Answer> {
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{}",
            said(output)
        );
        let text = process::stdout(output);
        text.lines()
            .map(|line| Answer::from_command(line).unwrap())
            .collect()
    }

    /// What the system's Python says.
    pub fn truth(&mut self) -> Vec<Answer> {
        let Truth {
            entry_points,
            raises,
            ..
        } = self.oracle.ask(&self.sys_path, Path::new("/"));
        assert!(raises.is_empty(), "{raises:?}");
        entry_points
    }

    /// Compares the command and the Python reader with the system's Python, and gives its answer.
    pub fn check(&mut self, place: &str) -> Vec<Answer> {
        let truth = self.truth();
        assert_eq!(
            self.said_by_both(place),
            truth,
            "{place}: the command and the reader"
        );
        truth
    }

    /// What the command says, which has to be what the Python reader says.
    pub fn said_by_both(&self, place: &str) -> Vec<Answer> {
        let answer = self.answers(&process::finish(&mut self.query()));
        let said = process::succeed(&mut self.reader()).stdout;
        let read: Vec<[String; 3]> = serde_json::from_slice(&said).unwrap();
        let expected: Vec<[String; 3]> = answer
            .iter()
            .map(|it| [it.group.clone(), it.name.clone(), it.value.clone()])
            .collect();
        assert_eq!(read, expected, "{place}: the Python reader");
        answer
    }

    /// What `epcache status` says about the site directory of Debian's packages: its state, and
    /// which root answers.
    pub fn status(&self) -> (String, String) {
        let output = process::succeed(&mut self.epcache(&["status", "--format", "jsonl"]));
        let line = process::stdout(&output)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .find(|line| line["path_entry"] == DIST_PACKAGES)
            .unwrap();
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("answered_by"))
    }

    /// Everything in the system, but for what package managers write about their own work.
    pub fn everything(&self) -> Vec<String> {
        let ours = [
            "var/lib/dpkg",
            "var/log",
            "var/cache/apt",
            "var/lib/apt",
            "incoming",
            "var/cache/debconf",
            "proc",
        ];
        let mut found: Vec<String> = walkdir::WalkDir::new(&self.directory)
            .into_iter()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                entry
                    .path()
                    .strip_prefix(&self.directory)
                    .unwrap()
                    .to_owned()
            })
            .filter(|path| !ours.iter().any(|it| path.starts_with(it)))
            .map(|path| path.display().to_string())
            .collect();
        found.sort();
        found
    }
}

/// All that a program said.
pub fn said(output: &Output) -> String {
    process::stdout(output) + &process::stderr(output)
}

// ---- packages

/// How a package comes to have mirror files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// By a line in `debian/rules`.
    ByHand,
    /// By the debhelper sequence.
    Helper,
    /// It has none.
    Neither,
}

/// All of them.
pub const WAYS: [Way; 3] = [Way::ByHand, Way::Helper, Way::Neither];

/// A Python package's source, of which a Debian package is made.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name of the distribution and of its module; the package is `python3-` and that.
    pub name: &'static str,
    /// Its version, and that of the package.
    pub version: &'static str,
    /// `dist-info` or `egg-info`.
    pub kind: &'static str,
    /// What is in `entry_points.txt`, if there is one.
    pub entry_points: Option<String>,
}

impl Source {
    /// The name of the metadata directory.
    pub fn metadata_dir(&self) -> String {
        format!("{}-{}.{}", self.name, self.version, self.kind)
    }

    /// The mirror file of the package, as the system names it.
    pub fn mirror_file(&self) -> String {
        format!(
            "/usr/share/epcache{DIST_PACKAGES}/{}.txt",
            self.metadata_dir()
        )
    }

    /// The name of the package.
    pub fn package(&self) -> String {
        format!("python3-{}", self.name)
    }

    /// The name of the package's file.
    fn file_name(&self) -> String {
        format!("{}_{}_all.deb", self.package(), self.version)
    }

    /// What the package installs, below the directory of a Debian source.
    fn write(&self, directory: &Path) {
        let metadata = directory.join(self.metadata_dir());
        fs::create_dir_all(&metadata).unwrap();
        let (name, version) = (self.name, self.version);
        let headers = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
        let file = if self.kind == "dist-info" {
            "METADATA"
        } else {
            "PKG-INFO"
        };
        fs::write(metadata.join(file), headers).unwrap();
        if let Some(text) = &self.entry_points {
            fs::write(metadata.join("entry_points.txt"), text).unwrap();
        }
        fs::write(directory.join(format!("{name}.py")), "main = print\n").unwrap();
    }
}

/// Writes the Debian source of these packages, which are of one version.
fn write(sources: &[Source], directory: &Path, way: Way) {
    fs::create_dir_all(directory.join("debian/source")).unwrap();
    let debian = |file: &str, text: String| {
        fs::write(directory.join("debian").join(file), text).unwrap();
    };
    let Source { name, version, .. } = sources[0];
    // The two ways to ask for a sequence, one for each version.
    let (dependency, option) = match (way, version) {
        (Way::Helper, "1.0") => (", dh-epcache", " --with epcache"),
        (Way::Helper, _) => (", dh-sequence-epcache", ""),
        _ => ("", ""),
    };
    let mut control = format!(
        "Source: {name}\nSection: python\nPriority: optional\n\
         Maintainer: A Packager <packager@packages.test>\n\
         Build-Depends: debhelper-compat (= 13){dependency}\nStandards-Version: 4.6.2\n\
         Rules-Requires-Root: no\n"
    );
    let mut rules = format!("#!/usr/bin/make -f\n%:\n\tdh $@{option}\n");
    if way == Way::ByHand {
        rules += "\nexecute_after_dh_install:\n";
    }
    for source in sources {
        source.write(directory);
        let package = source.package();
        control += &format!(
            "\nPackage: {package}\nArchitecture: all\nDepends: python3:any, ${{misc:Depends}}\n\
             Description: entry points for a test, named {0}\n \
             This package is installed, upgraded and removed, and has no other use.\n",
            source.name
        );
        let (module, metadata) = (format!("{}.py", source.name), source.metadata_dir());
        debian(
            &format!("{package}.install"),
            format!("{module} {0}\n{metadata} {0}\n", &DIST_PACKAGES[1..]),
        );
        if way == Way::ByHand {
            rules += &lines_by_hand().replace("python3-greet", &package);
        }
    }
    debian("control", control);
    debian("rules", rules);
    set_mode(&directory.join("debian/rules"), 0o755);
    debian("source/format", "3.0 (native)\n".to_owned());
    debian(
        "changelog",
        format!(
            "{name} ({version}) unstable; urgency=medium\n\n  * A test. (Closes: #1000000)\n\n \
             -- A Packager <packager@packages.test>  Sat, 01 Jan 2022 00:00:00 +0000\n"
        ),
    );
    debian(
        "copyright",
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
         Files: *\nCopyright: 2022 A Packager\nLicense: Expat\n This is a test.\n"
            .to_owned(),
    );
}

/// The recipe that the documentation gives to who does without the sequence, for `python3-greet`.
fn lines_by_hand() -> String {
    const TARGET: &str = "    execute_after_dh_python3:\n";
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/packagers.md");
    let text = fs::read_to_string(docs).unwrap();
    let (_, after) = text.split_once(TARGET).expect("the documentation has it");
    after
        .lines()
        .map_while(|line| line.strip_prefix("    "))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Debian's tools for building packages, and ours, in a directory of their own.
pub struct Builder {
    directory: PathBuf,
    /// The command of the packages: that of the tests, without what only debuggers read.
    pub command: PathBuf,
    /// The tool's own packages.
    pub epcache: PathBuf,
    /// The debhelper sequence.
    pub dh_epcache: PathBuf,
}

/// The builder that the tests of a process share, below `directory` (`CARGO_TARGET_TMPDIR`), where it
/// removes what an earlier run built; nothing where it lacks a program, which is said.
pub fn builder(directory: &Path) -> Option<&'static Builder> {
    static BUILDER: OnceLock<Result<Builder, String>> = OnceLock::new();
    match BUILDER.get_or_init(|| Builder::at(&directory.join("debian-packages"))) {
        Ok(builder) => Some(builder),
        Err(reason) => {
            missing(reason);
            None
        }
    }
}

impl Builder {
    fn at(directory: &Path) -> Result<Self, String> {
        for (program, package) in [
            ("dpkg-buildpackage", "dpkg-dev"),
            ("strip", "binutils"),
            ("dh", "debhelper"),
        ] {
            // `dh` says something sensible in a source package only, but it can be started.
            if Command::new(program).arg("--help").output().is_err() {
                return Err(format!(
                    "there is no {program}, so no package is built (Debian: {package})"
                ));
            }
        }
        if directory.exists() {
            fs::remove_dir_all(directory).unwrap();
        }
        fs::create_dir_all(directory).unwrap();
        // The command of a debug build is large, and it is packed several times.
        let command = directory.join("command");
        process::succeed(
            Command::new("strip")
                .arg("--strip-debug")
                .arg("-o")
                .arg(&command)
                .arg(binary()),
        );
        let tree = directory.join("epcache/source");
        write_epcache(&tree);
        process::succeed(buildpackage(&tree).env("EPCACHE_BINARY", &command));
        let [epcache, dh_epcache] = epcache_packages(&tree);
        // As it is once installed: nothing of the machine's own packages is touched.
        process::succeed(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(&dh_epcache)
                .arg(directory.join("tools")),
        );
        let programs = directory.join("tools/usr/bin");
        copy(&command, &programs.join("epcache"));
        Ok(Self {
            directory: directory.to_owned(),
            command,
            epcache,
            dh_epcache,
        })
    }

    /// The directory of everything that is built.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Builds the packages of one source, in a new directory of this name; gives the packages.
    pub fn build(&self, sources: &[Source], way: Way, name: &str) -> Vec<PathBuf> {
        let directory = self.directory.join(name);
        let tree = self.tree(sources, way, name);
        process::succeed(&mut self.buildpackage(&tree));
        sources
            .iter()
            .map(|source| directory.join(source.file_name()))
            .collect()
    }

    /// The source of these packages, in a new directory of this name, to be built.
    pub fn tree(&self, sources: &[Source], way: Way, name: &str) -> PathBuf {
        let tree = self.directory.join(name).join("source");
        write(sources, &tree, way);
        tree
    }

    /// `dpkg-buildpackage` of a source tree, with our sequence at hand.
    pub fn buildpackage(&self, tree: &Path) -> Command {
        let tools = self.directory.join("tools");
        let mut command = buildpackage(tree);
        let programs = tools.join("usr/bin");
        command
            .env("EPCACHE_BINARY", &self.command)
            .env("PATH", format!("{}:{SEARCH_PATH}", programs.display()))
            .env("PERL5LIB", tools.join("usr/share/perl5"));
        command
    }
}

/// `dpkg-buildpackage`, without a signature. What it depends on it is not asked, as ours is not
/// installed.
fn buildpackage(tree: &Path) -> Command {
    let mut command = Command::new("dpkg-buildpackage");
    command
        .args(["--no-sign", "--no-check-builddeps"])
        .env("LC_ALL", "C.UTF-8")
        .env("DEB_BUILD_PROFILES", "pkg.epcache.prebuilt")
        .env("DPKG_DEB_COMPRESSOR_TYPE", "gzip")
        // There is nothing left for debuggers in the command that is packed.
        .env("DEB_BUILD_OPTIONS", "noautodbgsym")
        .env_remove("SOURCE_DATE_EPOCH")
        .current_dir(tree);
    command
}

/// Writes the source of the tool's packages: all of it that a build around a command takes.
pub fn write_epcache(tree: &Path) {
    fs::create_dir_all(tree).unwrap();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["packaging", "docs", "README.md", "CHANGELOG.md"] {
        copy(&repository.join(name), &tree.join(name));
    }
    copy(&repository.join("packaging/debian"), &tree.join("debian"));
}

/// The tool's packages that were built from a source tree: that of the command, and `dh-epcache`.
pub fn epcache_packages(tree: &Path) -> [PathBuf; 2] {
    ["epcache_", "dh-epcache_"].map(|name| built(tree, name, "deb"))
}

/// The one file beside a source tree that was built from it, of this name and kind.
pub fn built(tree: &Path, name: &str, kind: &str) -> PathBuf {
    fs::read_dir(tree.parent().unwrap())
        .unwrap()
        .map(|child| child.unwrap().path())
        .find(|path| {
            let file = path.file_name().unwrap().to_string_lossy();
            file.starts_with(name) && path.extension().is_some_and(|it| it == kind)
        })
        .unwrap_or_else(|| panic!("{name}*.{kind} beside {}", tree.display()))
}

/// What is in a package: each path with its mode, owner, size and time, as `dpkg-deb` prints it.
pub fn payload(package: &Path) -> Vec<String> {
    let output = process::succeed(Command::new("dpkg-deb").arg("-c").arg(package));
    process::stdout(&output)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The files (not the directories) of a package, sorted.
pub fn files(package: &Path) -> Vec<String> {
    let mut files: Vec<String> = payload(package)
        .iter()
        .filter(|line| !line.starts_with('d'))
        .map(|line| line.split_whitespace().nth(5).unwrap()[1..].to_owned())
        .collect();
    files.sort();
    files
}

/// The same package with something changed in its tree, in a new directory.
pub fn repacked(package: &Path, to: &Path, change: impl FnOnce(&Path)) -> PathBuf {
    let tree = to.join("tree");
    fs::create_dir_all(to).unwrap();
    process::succeed(Command::new("dpkg-deb").arg("-R").arg(package).arg(&tree));
    change(&tree);
    let changed = to.join("changed.deb");
    process::succeed(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-b"])
            .arg(&tree)
            .arg(&changed),
    );
    changed
}

/// The same with another maintainer script.
pub fn with_script(package: &Path, name: &str, script: &str, to: &Path) -> PathBuf {
    repacked(package, to, |tree| {
        let path = tree.join("DEBIAN").join(name);
        fs::write(&path, script).unwrap();
        set_mode(&path, 0o755);
    })
}
