//! rpm for tests: the packages of epcache, built from the repository's spec; small Python packages, built
//! in each of the ways that packagers have; and systems to install them on, which are directories.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use crate::environment::{Scratch, entries, is_root, set_mode};
use crate::judge::{self, Entry};
use crate::reader::Reader;
use crate::skip::{missing, skip};
use crate::{binary, process};

/// The path entry into which all packages install.
pub const SITE: &str = "/usr/lib/python3.12/site-packages";
/// The vendor root.
pub const VENDOR_ROOT: &str = "/usr/share/epcache";
/// The system root.
pub const SYSTEM_ROOT: &str = "/var/cache/epcache";
/// Where a system has the command: from its package, or a test's own.
const COMMANDS: [&str; 2] = ["/usr/bin/epcache", "/opt/epcache"];
/// The time of all builds, in seconds since 1970: so rebuilds have the same times.
pub const EPOCH: u64 = 1_700_000_000;
/// The time of each `entry_points.txt`, before that of the build, so that it is seen whether a copy keeps it.
pub const ENTRY_POINTS_TIME: u64 = 1_600_000_000;

/// How the spec of a Python package comes to ship mirror files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// By the plain `install` line.
    ByHand,
    /// By `%epcache_install` and `%epcache_files`.
    Macros,
    /// Not a word in the spec; the build policy does it.
    Policy,
    /// Not at all.
    Nothing,
}

impl Way {
    /// All that ship mirror files.
    pub const SHIPPING: [Self; 3] = [Self::ByHand, Self::Macros, Self::Policy];
}

/// A Python package with one distribution.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Package {
    /// The distribution's name; the package is `python3-` and this.
    pub name: &'static str,
    /// `dist-info` or `egg-info`.
    pub suffix: &'static str,
    /// The version, of both.
    pub version: &'static str,
    /// The package's release.
    pub release: u32,
    /// The value of its one entry point, in the group `demo.plugins`; none declares nothing.
    pub value: Option<&'static str>,
    /// Lines of the spec for its scriptlets.
    pub scriptlets: &'static str,
    /// The size of its module, in KiB.
    pub module_kib: usize,
}

impl Package {
    /// One with a `.dist-info` directory, an `.egg-info` directory, and one without entry points.
    pub fn three(version: &'static str, release: u32, value: &'static str) -> [Self; 3] {
        let package = |name, suffix, value| Self {
            name,
            suffix,
            version,
            release,
            value,
            scriptlets: "",
            module_kib: 0,
        };
        [
            package("plain", "dist-info", Some(value)),
            package("eggy", "egg-info", Some(value)),
            package("quiet", "dist-info", None),
        ]
    }

    /// The name of the metadata directory.
    pub fn metadata_dir(&self) -> String {
        format!("{}-{}.{}", self.name, self.version, self.suffix)
    }

    /// The text of `entry_points.txt`.
    pub fn text(&self) -> String {
        self.value.map_or_else(String::new, |value| {
            format!("[demo.plugins]\n{} = {value}\n", self.name)
        })
    }

    fn spec(&self, way: Way) -> String {
        let metadata_dir = self.metadata_dir();
        let headers = match self.suffix {
            "egg-info" => "PKG-INFO",
            _ => "METADATA",
        };
        let entry_points = if self.value.is_some() {
            format!(
                "cat >entry_points.txt <<'END'\n{}END\ntouch -d @{ENTRY_POINTS_TIME} entry_points.txt\n\
                 install -Dpm644 entry_points.txt -t %{{buildroot}}%{{python3_sitelib}}/{metadata_dir}",
                self.text()
            )
        } else {
            String::new()
        };
        let source = match self.value {
            Some(_) => {
                format!("%{{buildroot}}%{{python3_sitelib}}/{metadata_dir}/entry_points.txt")
            }
            None => "/dev/null".to_owned(),
        };
        let (install, files) = match way {
            Way::ByHand => (
                format!(
                    "install -Dpm644 {source} %{{buildroot}}/usr/share/epcache%{{python3_sitelib}}/{metadata_dir}.txt"
                ),
                "/usr/share/epcache",
            ),
            Way::Macros => ("%epcache_install".to_owned(), "%epcache_files"),
            Way::Policy | Way::Nothing => (String::new(), ""),
        };
        let Self {
            name,
            version,
            release,
            scriptlets,
            module_kib,
            ..
        } = self;
        format!(
            "%define python3_sitelib {SITE}\n\
             Name: python3-{name}\nVersion: {version}\nRelease: {release}\nSummary: Distribution for a test\n\
             License: MIT\nURL: https://example.org/\nBuildArch: noarch\nAutoReqProv: no\n\n\
             %description\nIt is there to be installed and removed.\n\n\
             %install\n\
             install -d %{{buildroot}}%{{python3_sitelib}}/{metadata_dir}\n\
             echo 'main = print' >%{{buildroot}}%{{python3_sitelib}}/{name}.py\n\
             head -c {module_kib}K /dev/urandom >>%{{buildroot}}%{{python3_sitelib}}/{name}.py\n\
             printf 'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n' \
             >%{{buildroot}}%{{python3_sitelib}}/{metadata_dir}/{headers}\n\
             {entry_points}\n\
             {install}\n\n\
             {scriptlets}\n\
             %files\n\
             %{{python3_sitelib}}/{name}.py\n\
             %{{python3_sitelib}}/{metadata_dir}\n\
             {files}\n\n\
             %changelog\n\
             * Mon Nov 13 2023 A Tester <tester@example.org> - {version}-{release}\n- Built\n"
        )
    }
}

/// The packages of epcache itself, and what their files do where packages are built.
pub struct Kit {
    directory: PathBuf,
    /// The package of the command, with the trigger.
    pub command: PathBuf,
    /// The packages of the macros and of the build policy.
    pub helpers: [PathBuf; 2],
    /// The packages that tests install, each built once, by spec.
    built: Mutex<HashMap<String, Arc<OnceLock<PathBuf>>>>,
}

/// What is different where two people build the same.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// The mask of modes.
    pub umask: &'static str,
    /// `TZ`.
    pub time_zone: &'static str,
    /// `LC_ALL` and `LANG`.
    pub language: &'static str,
    /// The name of the home directory, below that of the build.
    pub home: &'static str,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            umask: "022",
            time_zone: "UTC",
            language: "C.UTF-8",
            home: "home",
        }
    }
}

/// The kit, built once in `directory` (`CARGO_TARGET_TMPDIR`) for all tests of a run; nothing where it can't be built,
/// which is said.
pub fn kit(directory: &Path) -> Option<&'static Kit> {
    static KIT: OnceLock<Result<Kit, String>> = OnceLock::new();
    if !is_root() {
        skip("packages on a system of their own: only root can install them");
        return None;
    }
    match KIT.get_or_init(|| Kit::build(&directory.join("rpm"))) {
        Ok(kit) => Some(kit),
        Err(reason) => {
            missing(reason);
            None
        }
    }
}

impl Kit {
    fn build(directory: &Path) -> Result<Self, String> {
        for program in ["rpm", "rpmbuild"] {
            Command::new(program)
                .arg("--version")
                .output()
                .map_err(|error| format!("{program} can't be started: {error} (Debian: rpm)"))?;
        }
        if directory.exists() {
            fs::remove_dir_all(directory).unwrap();
        }
        fs::create_dir_all(directory).unwrap();
        let [command, helpers @ ..] =
            build_epcache(&directory.join("epcache"), Surroundings::default());
        let kit = Self {
            directory: directory.to_owned(),
            command,
            helpers,
            built: Mutex::default(),
        };
        // Where packages are built, all three are installed.
        let machine = kit.machine();
        fs::create_dir_all(&machine).unwrap();
        process::succeed(rpm(&machine).arg("--initdb"));
        process::succeed(
            rpm(&machine)
                .args(["-U", "--nodeps", "--noscripts", "--notriggers"])
                .arg(&kit.command)
                .args(&kit.helpers),
        );
        Ok(kit)
    }

    /// The root of a system where packages are built.
    pub fn machine(&self) -> PathBuf {
        self.directory.join("machine")
    }

    /// The command, from its package.
    pub fn program(&self) -> PathBuf {
        self.machine().join("usr/bin/epcache")
    }

    /// A package, built with the macros that a machine has where the kit's packages are installed.
    pub fn package(&self, package: &Package, way: Way) -> PathBuf {
        let mut built = self.built.lock().unwrap();
        let number = built.len();
        let key = format!("{way:?}\n{}", package.spec(way));
        let path = Arc::clone(built.entry(key).or_default());
        drop(built);
        let top = self.directory.join(format!("packages/{number}"));
        path.get_or_init(|| self.build_in(&top, package, way, Surroundings::default()))
            .clone()
    }

    /// Builds such a package below `top`.
    pub fn build_in(
        &self,
        top: &Path,
        package: &Package,
        way: Way,
        surroundings: Surroundings,
    ) -> PathBuf {
        let output = process::finish(&mut self.rpmbuild(
            top,
            &package.spec(way),
            way == Way::Policy,
            surroundings,
        ));
        assert!(output.status.success(), "{}", process::stderr(&output));
        let mut found = built(top);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// `rpmbuild` of a spec, which is written below `top`, with or without the build policy.
    pub fn rpmbuild(
        &self,
        top: &Path,
        spec: &str,
        policy: bool,
        surroundings: Surroundings,
    ) -> Command {
        fs::create_dir_all(top).unwrap();
        let file = tempfile::Builder::new()
            .suffix(".spec")
            .tempfile_in(top)
            .unwrap();
        fs::write(&file, spec).unwrap();
        let (_, file) = file.keep().unwrap();
        let libraries = self.machine().join("usr/lib/rpm");
        let macros = format!(
            "/usr/lib/rpm/macros:{}/macros.d/macros.{}:/usr/lib/rpm/platform/%{{_target}}/macros",
            libraries.display(),
            if policy { "*" } else { "epcache" },
        );
        let mut rpmbuild = rpmbuild(top, Some(&macros), surroundings);
        let libraries = libraries.display();
        for define in [
            format!("__epcache {}", self.program().display()),
            format!("__brp_epcache {libraries}/brp-epcache %{{__epcache}}"),
            format!("__epcache_lua {libraries}/lua/epcache.lua"),
        ] {
            // A spec that turns the policy off does so after this, and counts.
            rpmbuild.arg("--define").arg(define);
        }
        // What the builder has in the environment is not asked.
        rpmbuild.env("EPCACHE", "false");
        rpmbuild.arg("-bb").arg(file);
        rpmbuild
    }
}

/// Builds the packages of epcache itself, around a command that is built already: the command's, and the two for builds.
pub fn build_epcache(top: &Path, surroundings: Surroundings) -> [PathBuf; 3] {
    let spec = repository().join("packaging/rpm/epcache.spec");
    let source = top.join("SOURCES/epcache-0.1.0.tar.gz");
    fs::create_dir_all(source.parent().unwrap()).unwrap();
    // What the spec takes from the sources, when it need not build the command.
    process::succeed(
        Command::new("tar")
            .arg("-czf")
            .arg(&source)
            .arg("-C")
            .arg(repository())
            .args(["--transform", "s,^,epcache-0.1.0/,"])
            .args([
                "packaging",
                "docs",
                "README.md",
                "LICENSE-MIT",
                "LICENSE-APACHE",
            ]),
    );
    process::succeed(
        rpmbuild(top, None, surroundings)
            .arg("--define")
            .arg(format!("epcache_binary {}", binary().display()))
            .args(["--nodeps", "-bb"])
            .arg(spec),
    );
    let found = built(top);
    ["epcache-0", "epcache-rpm-macros-", "epcache-brp-"].map(|name| {
        let is_it = |path: &&PathBuf| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(name)
        };
        found.iter().find(is_it).unwrap().clone()
    })
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// `rpmbuild` below a directory, told to build the same each time; with the machine's macros, or those of a list of files.
fn rpmbuild(top: &Path, macros: Option<&str>, surroundings: Surroundings) -> Command {
    fs::create_dir_all(top.join(surroundings.home)).unwrap();
    let mut rpmbuild = Command::new("sh");
    rpmbuild.args([
        "-c",
        "umask \"$1\"; shift; exec rpmbuild \"$@\"",
        "sh",
        surroundings.umask,
    ]);
    if let Some(macros) = macros {
        // Before all else: the first definition has rpm read its files.
        rpmbuild.arg("--macros").arg(macros);
    }
    rpmbuild
        .env("HOME", top.join(surroundings.home))
        .env("LC_ALL", surroundings.language)
        .env("LANG", surroundings.language)
        .env("TZ", surroundings.time_zone)
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string());
    for define in [
        format!("_topdir {}", top.display()),
        // A build that fails leaves its scripts there.
        format!("_tmppath {}", top.join("tmp").display()),
        "_buildhost test.example.org".to_owned(),
        "use_source_date_epoch_as_buildtime Y".to_owned(),
        "clamp_mtime_to_source_date_epoch Y".to_owned(),
        "_binary_payload w1.gzdio".to_owned(),
        "_build_id_links none".to_owned(),
    ] {
        rpmbuild.arg("--define").arg(define);
    }
    rpmbuild
}

/// The packages below a directory in which `rpmbuild` worked.
pub fn built(top: &Path) -> Vec<PathBuf> {
    let mut packages: Vec<PathBuf> = walkdir::WalkDir::new(top.join("RPMS"))
        .into_iter()
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|it| it == "rpm"))
        .collect();
    packages.sort();
    packages
}

/// `rpm` on the system in `root`, with nobody's configuration.
fn rpm(root: &Path) -> Command {
    let mut rpm = Command::new("rpm");
    rpm.env("HOME", root)
        .env("LC_ALL", "C.UTF-8")
        .arg("--root")
        .arg(root)
        .args(["--dbpath", "/var/lib/rpm"]);
    rpm
}

/// The files and directories of a package, with the mode, the owner and the time of each.
pub fn contents(package: &Path) -> Vec<(PathBuf, String)> {
    let output = process::succeed(
        Command::new("rpm")
            .args(["-qp", "--qf"])
            .arg("[%{FILENAMES}\t%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEMTIMES}\n]")
            .arg(package),
    );
    process::stdout(&output)
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(path, rest)| (PathBuf::from(path), rest.to_owned()))
        .collect()
}

/// A mount that only a process of this has, which ends with this, and with the test if that is killed.
struct Mounts {
    holder: Child,
    directory: PathBuf,
}

impl Mounts {
    /// A file system in memory on a directory.
    fn tmpfs(options: &str, directory: &Path) -> Option<Self> {
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-ec"])
            .arg("mount -t tmpfs -o \"$1\" none \"$2\"; echo mounted; read -r _ || :")
            .args(["sh", options])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let answer = holder.stdout.take().unwrap();
        BufReader::new(answer).read_line(&mut said).ok();
        let mounts = Self {
            holder,
            directory: directory.to_owned(),
        };
        (said == "mounted\n").then_some(mounts)
    }

    /// The path of the directory for those who have not the mount.
    fn seen_from_here(&self) -> PathBuf {
        let (holder, directory) = (self.holder.id(), self.directory.display());
        format!("/proc/{holder}/root{directory}").into()
    }

    /// A command, where the mount is.
    fn enter(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => entered.env(name, value),
                None => entered.env_remove(name),
            };
        }
        entered
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // The end of its input is the end of it.
        drop(self.holder.stdin.take());
        self.holder.wait().ok();
    }
}

/// A system in a directory of its own: a shell for scriptlets, a database of packages, and what is installed.
pub struct System {
    scratch: Scratch,
    root: PathBuf,
    /// Has the root, where that is not to be seen by all.
    mounts: Option<Mounts>,
}

impl System {
    /// One with nothing but a command to ask with, which nothing runs by itself.
    pub fn without_trigger(kit: &Kit) -> Self {
        let system = Self::empty("root");
        system.add_program(&kit.program(), Path::new(COMMANDS[1]));
        system
    }

    /// One with the command's package.
    pub fn with_trigger(kit: &Kit) -> Self {
        let system = Self::empty("root");
        // For the package's own programs, which nothing else brings here.
        system.add_libraries(&kit.program());
        system.install(std::slice::from_ref(&kit.command));
        system
    }

    fn empty(name: &str) -> Self {
        let scratch = Scratch::new();
        let root = scratch.path_entry(name);
        let system = Self {
            scratch,
            root,
            mounts: None,
        };
        system.furnish();
        system
    }

    /// One without trigger on a file system in memory with these options for `mount`. Nothing where it can't be mounted.
    pub fn in_memory(kit: &Kit, options: &str) -> Option<Self> {
        let scratch = Scratch::new();
        let mounts = Mounts::tmpfs(options, &scratch.path_entry("root"))?;
        let system = Self {
            root: mounts.seen_from_here(),
            scratch,
            mounts: Some(mounts),
        };
        system.furnish();
        system.add_program(&kit.program(), Path::new(COMMANDS[1]));
        Some(system)
    }

    fn furnish(&self) {
        for program in ["/bin/sh", "/usr/bin/find"] {
            self.add_program(Path::new(program), Path::new(program));
        }
        process::succeed(self.rpm().arg("--initdb"));
    }

    /// The directory that is its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path of this system, as the test sees it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A directory beside the system.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    fn add_program(&self, program: &Path, path: &Path) {
        let to = self.at(path.to_str().unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(program, to).unwrap();
        self.add_libraries(program);
    }

    /// What the program is linked with, at the same places.
    fn add_libraries(&self, program: &Path) {
        let output = process::succeed(Command::new("ldd").arg(program));
        let said = process::stdout(&output);
        let libraries = said.split_whitespace().filter(|word| word.starts_with('/'));
        for library in libraries {
            let to = self.at(library);
            if !to.exists() {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(library, &to).unwrap();
                fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
    }

    /// `rpm` on this system; what packages need is not looked after.
    pub fn rpm(&self) -> Command {
        match &self.mounts {
            Some(mounts) => mounts.enter(&rpm(&mounts.directory)),
            None => rpm(&self.root),
        }
    }

    /// `rpm -U` with options, which also takes older packages and the same once more.
    pub fn upgrade(&self, packages: &[PathBuf]) -> Command {
        let mut rpm = self.rpm();
        rpm.args(["-U", "--nodeps", "--oldpackage", "--replacepkgs"])
            .args(packages);
        rpm
    }

    /// Installs, upgrades or downgrades to these packages; they must say nothing of it.
    pub fn install(&self, packages: &[PathBuf]) {
        silently(&mut self.upgrade(packages));
    }

    /// Removes the packages of these names.
    pub fn remove(&self, names: &[&str]) {
        silently(self.rpm().args(["-e", "--nodeps"]).args(names));
    }

    /// The command on this system, from within.
    pub fn epcache(&self) -> Command {
        let program = COMMANDS
            .into_iter()
            .find(|path| self.at(path).exists())
            .expect("a system has the command");
        let mut chroot = Command::new("chroot");
        for (name, value) in self.scratch.epcache().get_envs() {
            match value {
                Some(value) => chroot.env(name, value),
                None => chroot.env_remove(name),
            };
        }
        chroot
            .env("HOME", "/home")
            .env("XDG_CACHE_HOME", "/home/cache");
        chroot.env("XDG_CONFIG_HOME", "/home/config");
        chroot.arg(&self.root).arg(program);
        chroot
    }

    /// What a query on this system is, in this mode.
    pub fn query(&self, mode: &str) -> Command {
        let mut query = self.epcache();
        query.args(["query", "--path", SITE, "--mode", mode]);
        query
    }

    /// What the command answers on this system.
    pub fn answers(&self, mode: &str) -> Vec<Entry> {
        entries(&mut self.query(mode))
    }

    /// The Python reader on this system, from within: by an interpreter that it borrows, which only the reader's
    /// own process sees. Nothing where there is none that lies outside the directories of the system.
    pub fn reader(&self) -> Option<Reader> {
        const SCRIPT: &str =
            "import os, sys; print(sys.base_prefix); print(os.path.realpath(sys.executable))";
        let output = process::succeed(Command::new(judge::python()).args(["-I", "-c", SCRIPT]));
        let said = process::stdout(&output);
        let (prefix, python) = said.trim().split_once('\n').unwrap();
        if prefix.starts_with("/usr") || prefix == "/" {
            skip("the Python reader on an rpm system: CPython lies in /usr");
            return None;
        }
        let linked = process::stdout(&process::succeed(Command::new("ldd").arg(python)));
        let mut borrowed: Vec<PathBuf> = linked
            .split_whitespace()
            .filter(|word| word.starts_with('/') && !word.starts_with(prefix))
            .filter_map(|library| Some(Path::new(library).parent()?.to_owned()))
            .collect();
        borrowed.push(prefix.into());
        borrowed.push(repository().canonicalize().unwrap());
        borrowed.sort();
        borrowed.dedup();
        let mut script =
            "#!/bin/sh\nexec unshare --mount --propagation private sh -ec '\n".to_owned();
        for directory in borrowed {
            let here = self.at(directory.to_str().unwrap());
            fs::create_dir_all(&here).unwrap();
            let (directory, here) = (directory.display(), here.display());
            script += &format!("mount --bind {directory} {here}\n");
        }
        script += &format!(
            "exec chroot {} {python} \"$@\"' sh \"$@\"\n",
            self.root.display()
        );
        let wrapper = self.scratch.join("python");
        fs::write(&wrapper, script).unwrap();
        set_mode(&wrapper, 0o755);
        if !process::finish(Command::new(&wrapper).args(["-I", "-c", "pass"]))
            .status
            .success()
        {
            skip("the Python reader on an rpm system: mounts of its own are not to be had");
            return None;
        }
        Some(Reader::start(&wrapper))
    }

    /// What CPython answers of this system.
    pub fn truth(&self) -> Vec<Entry> {
        let root = self.root.to_str().unwrap();
        judge::entry_points(&[&self.at(SITE)])
            .into_iter()
            .map(|entry| Entry {
                path_entry: entry.path_entry.strip_prefix(root).unwrap().to_owned(),
                ..entry
            })
            .collect()
    }
}

fn silently(rpm: &mut Command) {
    let output = process::succeed(rpm);
    let said = process::stdout(&output) + &process::stderr(&output);
    // Debian's rpm warns everybody of itself.
    let of_rpm = said.lines().filter(|line| !line.starts_with("rpm: "));
    assert_eq!(of_rpm.collect::<Vec<_>>(), [""; 0], "{rpm:?}");
}
