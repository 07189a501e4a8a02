//! Debian packages, by Debian's own tools: three small Python packages, each built by hand, with the
//! debhelper sequence and without either, are installed, upgraded, downgraded, rebuilt at the same
//! version, removed, and interrupted, in a Debian system of the test's own. After each step the
//! answers are those of that system's own Python.
//!
//! It takes root, `debootstrap` and the packages of a small system; without, each test says so.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;

use epcache_tests::deb::{
    Builder, DIST_PACKAGES, Debian, Root, Source, WAYS, Way, builder, built, debian,
    epcache_packages, files, payload, repacked, said, why, with_script, write_epcache,
};
use epcache_tests::environment::{Scratch, set_mode};
use epcache_tests::oracle::Answer;
use epcache_tests::process;
use epcache_tests::skip::missing;
use epcache_tests::strace::{self, Call};
use epcache_tests::user::{self, ALICE};

/// How many distributions with entry points a real system must have for its test to count.
const REAL_DISTS: usize = 40;

/// Debian's packages with entry points, or those of a test tool's small plugins: each of them is small.
/// What a release lacks is left out.
const REAL_PACKAGES: [&[&str]; 3] = [
    &[
        "python3-setuptools",
        "python3-wheel",
        "python3-pip",
        "python3-pbr",
        "python3-stevedore",
        "python3-cliff",
        "python3-pygments",
        "python3-docutils",
        "python3-babel",
        "python3-mako",
        "python3-markdown",
        "python3-chardet",
        "python3-charset-normalizer",
        "python3-distro",
        "python3-tabulate",
        "python3-tqdm",
        "python3-waitress",
        "python3-gunicorn",
        "python3-build",
        "python3-rsa",
    ],
    &[
        "python3-pytest",
        "python3-pytest-asyncio",
        "python3-pytest-cov",
        "python3-pytest-datadir",
        "python3-pytest-forked",
        "python3-pytest-instafail",
        "python3-pytest-lazy-fixture",
        "python3-pytest-localserver",
        "python3-pytest-mock",
        "python3-pytest-order",
        "python3-pytest-repeat",
        "python3-pytest-rerunfailures",
        "python3-pytest-runner",
        "python3-pytest-skip-markers",
        "python3-pytest-subtests",
        "python3-pytest-sugar",
        "python3-pytest-tempdir",
        "python3-pytest-timeout",
        "python3-pytest-xdist",
    ],
    &[
        "python3-flake8",
        "python3-pep8-naming",
        "python3-pydocstyle",
        "python3-isort",
        "python3-nose2",
        "python3-pastedeploy",
        "python3-zope.testrunner",
        "python3-oslo.i18n",
        "python3-watchdog",
        "python3-anyio",
        "python3-virtualenv",
    ],
];

/// What the trigger of our package says when it runs.
const TRIGGERED: &str = "Processing triggers for epcache";

// ---- the three packages

/// A state of the three packages, of which each has one to bring about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Version {
    First,
    /// The first version, built again from other entry points, of the same length and time.
    Rebuilt,
    Second,
}

const VERSIONS: [Version; 3] = [Version::First, Version::Rebuilt, Version::Second];

impl Version {
    fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Rebuilt => "again",
            Self::Second => "other",
        }
    }

    fn number(self) -> &'static str {
        match self {
            Self::First | Self::Rebuilt => "1.0",
            Self::Second => "2.0",
        }
    }

    /// A plain one, one with an `.egg-info`, and one without entry points. But rebuilt, the last has some.
    fn sources(self) -> [Source; 3] {
        let source = |name, kind, declares: bool| Source {
            name,
            version: self.number(),
            kind,
            entry_points: declares.then(|| {
                let word = self.word();
                format!("[test.plugins]\n{word} = {name}:{word}\n")
            }),
        };
        [
            source("plain", "dist-info", true),
            source("egg", "egg-info", true),
            source("quiet", "dist-info", self == Self::Rebuilt),
        ]
    }

    /// The values that all three together declare, sorted.
    fn values(self) -> Vec<String> {
        let mut values: Vec<String> = self
            .sources()
            .iter()
            .filter(|source| source.entry_points.is_some())
            .map(|source| format!("{}:{}", source.name, self.word()))
            .collect();
        values.sort();
        values
    }
}

fn values(answers: &[Answer]) -> Vec<String> {
    let mut values: Vec<String> = answers.iter().map(|it| it.value.clone()).collect();
    values.sort();
    values
}

/// All packages that the tests install, by version and way, in the order of [`Version::sources`].
type Packages = BTreeMap<(Version, usize), Vec<PathBuf>>;

/// Builds them once for all tests, on both of the processors that a small machine has.
fn packages(builder: &'static Builder) -> &'static Packages {
    static PACKAGES: OnceLock<Packages> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let build = |version: Version| -> Packages {
            let built = |way: Way| {
                let name = directory_of(version, way);
                builder.build(&version.sources(), way, &name)
            };
            let ways = WAYS.iter().enumerate();
            ways.map(|(position, way)| ((version, position), built(*way)))
                .collect()
        };
        thread::scope(|scope| {
            let threads = VERSIONS.map(|version| scope.spawn(move || build(version)));
            threads
                .into_iter()
                .flat_map(|it| it.join().unwrap())
                .collect()
        })
    })
}

/// The directory, below the builder's, in which they are built.
fn directory_of(version: Version, way: Way) -> String {
    format!("built/{version:?}-{way:?}")
}

fn packages_of(packages: &Packages, version: Version, way: Way) -> &[PathBuf] {
    let position = WAYS.iter().position(|it| *it == way).unwrap();
    &packages[&(version, position)]
}

fn the_builder() -> Option<&'static Builder> {
    builder(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// What every test of installed packages needs.
fn scene() -> Option<(&'static Debian, &'static Builder, &'static Packages)> {
    let debian = debian(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let builder = the_builder()?;
    Some((debian, builder, packages(builder)))
}

fn package_names() -> Vec<String> {
    Version::First
        .sources()
        .iter()
        .map(Source::package)
        .collect()
}

// ---- what is in the packages

#[test]
fn a_package_has_the_mirror_files_of_its_own_distributions_and_nothing_else_more() {
    let Some(builder) = the_builder() else { return };
    let packages = packages(builder);
    for version in VERSIONS {
        let [by_hand, helped, neither] = WAYS.map(|way| packages_of(packages, version, way));
        for (position, source) in version.sources().iter().enumerate() {
            let mut expected = files(&neither[position]);
            assert!(expected.iter().all(|file| !file.contains("epcache")));
            expected.push(source.mirror_file());
            expected.sort();
            assert_eq!(files(&helped[position]), expected, "{version:?}");
            // Modes, owners, times and maintainer scripts too; so what is tried with one holds for both.
            let mut same = Command::new("cmp");
            process::succeed(same.arg(&by_hand[position]).arg(&helped[position]));

            let unpacked = Scratch::new();
            process::succeed(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .arg(&helped[position])
                    .arg(unpacked.join("x")),
            );
            let inside = |path: &str| unpacked.join("x").join(path.trim_start_matches('/'));
            let copy = inside(&source.mirror_file());
            let text = source.entry_points.clone().unwrap_or_default();
            assert_eq!(fs::read_to_string(&copy).unwrap(), text);
            assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o7777, 0o644);
        }
    }
}

/// The second time somebody else builds, with a home, a umask, a clock and a language of their own, in
/// a private directory with a longer name, below which files were made, and are listed, in another order.
#[test]
fn two_builds_are_identical() {
    let Some(builder) = the_builder() else { return };
    // A file system in memory lists what was made last first; a disk does not.
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() {
        Scratch::within(memory)
    } else {
        Scratch::new()
    };
    if !user::available(&scratch) {
        return;
    }
    let elsewhere = ALICE.directory(&scratch, "a/directory/with/a/longer/name");
    let again = |name: &str, tree: &Path| {
        let copy = elsewhere.join(name).join("source");
        fs::create_dir_all(&copy).unwrap();
        process::succeed(
            Command::new("sh")
                .arg("-c")
                .arg(REVERSED)
                .arg("sh")
                .arg(tree)
                .arg(&copy),
        );
        ALICE.takes(&elsewhere);
        set_mode(&elsewhere, 0o700);
        let command = builder.buildpackage(&copy);
        let mut other = Command::new("sh");
        other
            .args(["-c", "umask 077 && chmod -R go= . && exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(&copy);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => other.env(name, value),
                None => other.env_remove(name),
            };
        }
        other
            .env("TZ", "Asia/Kathmandu")
            .env("LC_ALL", "C")
            .env("LANG", "tr_TR.UTF-8")
            .env("HOME", &elsewhere)
            .env("USER", "alice")
            .env("DEB_BUILD_OPTIONS", "noautodbgsym nocheck");
        (
            said(&process::succeed(other.uid(ALICE.0).gid(ALICE.0))),
            copy,
        )
    };
    for way in [Way::ByHand, Way::Helper] {
        let tree = directory_of(Version::First, way) + "/source";
        let (_, copy) = again(&format!("{way:?}"), &builder.directory().join(tree));
        for one in packages_of(packages(builder), Version::First, way) {
            let other = copy.parent().unwrap().join(one.file_name().unwrap());
            process::succeed(Command::new("cmp").arg(one).arg(other));
        }
    }
    let tree = builder.directory().join("once-more");
    write_epcache(&tree);
    let (log, copy) = again("epcache", &tree);
    assert!(!log.contains("debian/check"), "nocheck: {log}");
    let first = [&builder.epcache, &builder.dh_epcache];
    for (one, other) in first.into_iter().zip(epcache_packages(&copy)) {
        process::succeed(Command::new("cmp").arg(one).arg(other));
    }
}

/// Copies a source without what a build made of it, the last name first. Arguments: from, to.
const REVERSED: &str = r#"
set -eu
cd "$1"
find . \( -path './debian/.debhelper' -o -path './debian/build' -o -path './debian/*epcache*/*' -o -path './debian/python3-*/*' \) -prune -o -type f -print |
    sort -r | while read -r file; do
        mkdir -p "$2/$(dirname "$file")"
        cp -p "$file" "$2/$file"
    done
"#;

#[test]
fn the_check_of_the_build_fails_for_a_command_that_finds_nothing() {
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/debian/check");
    let scratch = Scratch::new();
    let run = |program: &Path| {
        let mut run = Command::new(&check);
        run.arg(program).arg(scratch.join("tree"));
        process::finish(&mut run)
    };
    assert!(run(epcache_tests::binary()).status.success());
    assert!(!run(Path::new("/bin/true")).status.success());
}

#[test]
fn a_package_without_distributions_is_left_as_it_is_and_what_is_excluded_is_left_out() {
    let Some(builder) = the_builder() else { return };
    let sources = Version::First.sources();
    let tree = builder.tree(&sources, Way::Helper, "left-out");
    let debian =
        |file: &str, text: String| fs::write(tree.join("debian").join(file), text).unwrap();
    // A site directory, and no distribution in it; no site directory; one that is not well-known.
    let site = &DIST_PACKAGES[1..];
    debian("python3-plain.install", format!("plain.py {site}\n"));
    let metadata_dir = sources[1].metadata_dir();
    debian(
        "python3-egg.install",
        format!(
            "{metadata_dir} usr/share/plugins\n{metadata_dir} usr/share/excluded\n{metadata_dir} {site}\n"
        ),
    );
    // A link is no directory to be removed, empty or not.
    let link = "/usr/share/epcache/linked";
    debian("python3-egg.links", format!("/usr/share/plugins {link}\n"));
    debian(
        "rules",
        "#!/usr/bin/make -f\n%:\n\tdh $@ --with epcache\n\noverride_dh_epcache:\n\
         \tdh_epcache -Xquiet\n\tdh_epcache -ppython3-egg -Xexcluded -- --path /usr/share/plugins --path /usr/share/excluded\n"
            .to_owned(),
    );
    process::succeed(&mut builder.buildpackage(&tree));
    let ours = |source: &Source| -> Vec<String> {
        let files = files(&built(&tree, &source.package(), "deb"));
        let ours = |it: &String| it.contains("share/epcache");
        files.into_iter().filter(ours).collect()
    };
    assert_eq!(ours(&sources[0]), [""; 0]);
    assert_eq!(
        ours(&sources[1]),
        [
            link.to_owned(),
            sources[1].mirror_file(),
            format!("/usr/share/epcache/usr/share/plugins/{metadata_dir}.txt"),
        ]
    );
    let quiet = payload(&built(&tree, "python3-quiet", "deb"));
    assert!(
        quiet
            .iter()
            .any(|line| line.contains("quiet-1.0.dist-info"))
    );
    assert!(
        !quiet.iter().any(|line| line.contains("epcache")),
        "{quiet:?}"
    );
}

#[test]
fn a_broken_distribution_is_a_warning_in_a_build_and_what_cannot_be_written_is_an_error() {
    let Some(builder) = the_builder() else { return };
    let mut source = Version::First.sources()[0].clone();
    source.entry_points = Some("[group]\nno value\n".to_owned());
    let tree = builder.tree(&[source.clone()], Way::Helper, "broken");
    let log = said(&process::succeed(&mut builder.buildpackage(&tree)));
    let metadata_dir = source.metadata_dir();
    let warned = |line: &str| line.contains("warning") && line.contains(&metadata_dir);
    assert!(log.lines().any(warned), "{log}");

    // A file of the package is where the directory of the mirror files should be.
    fs::write(tree.join("epcache"), "").unwrap();
    let install = tree.join("debian/python3-plain.install");
    let more = fs::read_to_string(&install).unwrap() + "epcache usr/share\n";
    fs::write(install, more).unwrap();
    let output = process::finish(&mut builder.buildpackage(&tree));
    assert!(!output.status.success());
    assert!(
        said(&output).contains("dh_epcache: error"),
        "{}",
        said(&output)
    );
}

#[test]
fn the_sequence_comes_after_that_of_python_packages() {
    let Some(builder) = the_builder() else { return };
    let usable = Command::new("/usr/bin/python3")
        .args(["-I", "-c", "import setuptools"])
        .output()
        .is_ok_and(|output| output.status.success());
    let pybuild = Command::new("pybuild").arg("--version").output();
    if !usable || !pybuild.is_ok_and(|output| output.status.success()) {
        missing(
            "there is no pybuild or no setuptools of the system's Python (Debian: dh-python, python3-all, python3-setuptools)",
        );
        return;
    }
    let source = Source {
        name: "built",
        version: "1.0",
        kind: "egg-info",
        entry_points: Some("[test.plugins]\nbuilt = built:main\n".to_owned()),
    };
    let tree = builder.tree(std::slice::from_ref(&source), Way::Helper, "pybuild");
    fs::remove_dir_all(tree.join(source.metadata_dir())).unwrap();
    fs::remove_file(tree.join("debian/python3-built.install")).unwrap();
    fs::write(
        tree.join("setup.py"),
        "from setuptools import setup\n\
         setup(name='built', version='1.0', py_modules=['built'],\n      \
         entry_points={'test.plugins': ['built = built:main']})\n",
    )
    .unwrap();
    // pybuild looks there for what it is to build for.
    let control = fs::read_to_string(tree.join("debian/control")).unwrap();
    let depends = "Build-Depends: dh-python, python3-all, python3-setuptools,";
    fs::write(
        tree.join("debian/control"),
        control.replace("Build-Depends:", depends),
    )
    .unwrap();
    fs::write(
        tree.join("debian/rules"),
        "#!/usr/bin/make -f\nexport PYBUILD_NAME = built\n%:\n\tdh $@ --with python3,epcache --buildsystem=pybuild\n",
    )
    .unwrap();
    process::succeed(&mut builder.buildpackage(&tree));
    let package = built(&tree, "python3-built", "deb");
    // dh_python3 moved the metadata directory here, from site-packages, and gave it this name.
    let unpacked = Scratch::new();
    process::succeed(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(&package)
            .arg(unpacked.join("x")),
    );
    let site = unpacked.join("x").join(&DIST_PACKAGES[1..]);
    let metadata_dir = fs::read_dir(site)
        .unwrap()
        .map(|child| child.unwrap().file_name().into_string().unwrap())
        .find(|name| name.ends_with("-info"))
        .unwrap();
    let ours: Vec<String> = files(&package)
        .into_iter()
        .filter(|it| it.contains("epcache"))
        .collect();
    assert_eq!(
        ours,
        [format!(
            "/usr/share/epcache{DIST_PACKAGES}/{metadata_dir}.txt"
        )]
    );
}

#[test]
fn lintian_has_nothing_to_say() {
    let Some(builder) = the_builder() else { return };
    if Command::new("lintian").arg("--version").output().is_err() {
        missing("there is no lintian, so no package is looked at (Debian: lintian)");
        return;
    }
    let lintian = |uploads: &[&Path]| {
        let mut lintian = Command::new("lintian");
        lintian
            .env("LC_ALL", "C.UTF-8")
            .args(["--allow-root", "--display-info", "--pedantic"])
            .args(uploads);
        said(&process::finish(&mut lintian))
    };
    // Sources and packages, with all that lintian knows; what is allowed is in the package, with the reason.
    let tree = builder.directory().join("epcache/source");
    assert_eq!(lintian(&[&built(&tree, "epcache_", "changes")]), "");

    // Test packages lack some things that a package should have. Mirror files add this, and no more.
    packages(builder);
    let of_three = |way: Way| {
        let tree = directory_of(Version::First, way) + "/source";
        lintian(&[&built(&builder.directory().join(tree), "plain_", "changes")])
    };
    let without = of_three(Way::Neither);
    assert!(without.contains("extended-description"), "it does look");
    let mut expected: Vec<String> = without.lines().map(str::to_owned).collect();
    for source in Version::First.sources() {
        let (package, file) = (source.package(), source.mirror_file());
        // They are no documentation, and have the path of what they are copies of.
        expected.extend([
            format!(
                "I: {package}: package-contains-documentation-outside-usr-share-doc [{}]",
                &file[1..]
            ),
            format!("P: {package}: repeated-path-segment usr [usr/share/epcache/usr/]"),
        ]);
    }
    expected.sort();
    for way in [Way::ByHand, Way::Helper] {
        let said = of_three(way);
        let mut found: Vec<&str> = said.lines().collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{way:?}");
    }
}

#[test]
fn removing_our_package_stops_the_service_and_an_upgrade_starts_it_again() {
    let Some(builder) = the_builder() else { return };
    let scratch = Scratch::new();
    let mut extract = Command::new("dpkg-deb");
    extract
        .arg("-e")
        .arg(&builder.epcache)
        .arg(scratch.join("x"));
    process::succeed(&mut extract);
    let script = |name: &str| fs::read_to_string(scratch.join("x").join(name)).unwrap_or_default();
    // There is no systemd to try it with: what debhelper adds is all that can be seen.
    assert!(script("prerm").contains("deb-systemd-invoke stop epcache-watch.service"));
    assert!(script("postinst").contains("deb-systemd-invoke try-restart 'epcache-watch.service'"));
    assert!(!script("preinst").contains("stop"));
}

#[test]
fn the_manual_page_can_be_read() {
    let Some(builder) = the_builder() else { return };
    let page = builder
        .directory()
        .join("tools/usr/share/man/man1/dh_epcache.1.gz");
    let text = process::stdout(&process::succeed(Command::new("zcat").arg(page)));
    for word in ["dh_epcache", "\\-\\-exclude=", "dh\\-sequence\\-epcache"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn the_package_s_version_is_the_command_s() {
    let changelog = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/debian/changelog");
    let first = fs::read_to_string(changelog).unwrap();
    let version = format!("epcache ({})", env!("CARGO_PKG_VERSION"));
    assert!(first.starts_with(&version), "{first}");
}

// ---- installing them

/// Every step in the life of packages that are built in one way. After each, `and_then` is told what
/// was done.
fn live(root: &mut Root, packages: &Packages, way: Way, and_then: impl Fn(&Root, &str)) {
    let steps = [
        ("installed", Version::First),
        ("upgraded", Version::Second),
        ("downgraded", Version::First),
        ("reinstalled at the same version", Version::Rebuilt),
    ];
    for (step, version) in steps {
        root.install(packages_of(packages, version, way));
        after_step(
            root,
            &format!("{way:?}: {step}"),
            version.values(),
            &and_then,
        );
    }
    let names = package_names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    remove(root, "--remove", &names);
    after_step(root, &format!("{way:?}: removed"), Vec::new(), &and_then);

    root.install(packages_of(packages, Version::Rebuilt, way));
    let place = format!("{way:?}: installed again");
    after_step(root, &place, Version::Rebuilt.values(), &and_then);
    remove(root, "--purge", &names);
    after_step(root, &format!("{way:?}: purged"), Vec::new(), &and_then);
    assert!(!root.join("/usr/share/epcache").exists(), "{way:?}");
}

fn remove(root: &Root, option: &str, names: &[&str]) {
    let mut dpkg = root.command("dpkg");
    process::succeed(dpkg.arg(option).args(names));
}

/// The answers are right, and what they should be: else nothing was done.
fn after_step(
    root: &mut Root,
    place: &str,
    expected: Vec<String>,
    and_then: &impl Fn(&Root, &str),
) {
    assert_eq!(values(&root.check(place)), expected, "{place}");
    and_then(root, place);
}

/// Each way in a system of its own, at the same time: most of what a trigger does is to wait for the clock.
fn in_each_way(debian: &Debian, act: impl Fn(&mut Root, Way) + Sync) {
    thread::scope(|scope| {
        for way in WAYS {
            let act = &act;
            scope.spawn(move || act(&mut debian.root(), way));
        }
    });
}

#[test]
fn packages_are_answered_right_all_their_life_without_our_package() {
    let Some((debian, _, packages)) = scene() else {
        return;
    };
    in_each_way(debian, |root, way| {
        live(root, packages, way, |root, place| {
            let gone = ["removed", "purged"]
                .iter()
                .any(|step| place.ends_with(step));
            let vouched = way != Way::Neither && !gone;
            assert_eq!(root.join("/usr/share/epcache").exists(), vouched, "{place}");
            let expected = if vouched { "vouched" } else { "source" };
            assert_eq!(root.status().0, expected, "{place}");
            assert!(!root.join("/var/cache/epcache").exists(), "{place}");
        });
    });
}

#[test]
fn packages_are_answered_right_and_from_the_cache_all_their_life_with_our_trigger() {
    let Some((debian, builder, packages)) = scene() else {
        return;
    };
    in_each_way(debian, |root, way| {
        root.install(&[&builder.epcache]);
        live(root, packages, way, |root, place| {
            let fresh = ("fresh".to_owned(), "system".to_owned());
            assert_eq!(root.status(), fresh, "{place}: the trigger has run");
        });
    });
}

/// Opens below a metadata directory of the packages' distributions, and of files in the vendor root.
fn opens(calls: &[Call]) -> (usize, usize) {
    let mirror = format!("/usr/share/epcache{DIST_PACKAGES}");
    let count = |matches: &dyn Fn(&Call) -> bool| {
        calls
            .iter()
            .filter(|call| call.is_open() && matches(call))
            .count()
    };
    let is_mirror = |call: &Call| call.touches(&mirror) || call.touches("-info.txt");
    let inside = |call: &Call| call.touches(".dist-info") || call.touches(".egg-info");
    (
        count(&|call| inside(call) && !is_mirror(call)),
        count(&|call| is_mirror(call) && call.touches(".txt")),
    )
}

#[test]
fn drop_in_files_alone_make_readers_open_no_metadata_directory() {
    let Some((debian, _, packages)) = scene() else {
        return;
    };
    if let Err(reason) = strace::available() {
        missing(&format!("counting opened files: {reason}"));
        return;
    }
    let mut root = debian.root();
    for way in WAYS {
        root.install(packages_of(packages, Version::First, way));
        let truth = root.check(&format!("{way:?}"));
        assert_eq!(values(&truth), Version::First.values());
        let (output, calls) = strace::trace(&root.query(), strace::FILE_SYSTEM);
        assert_eq!(root.answers(&output), truth, "{way:?}");
        let (output, read_calls) = strace::trace(&root.reader(), strace::FILE_SYSTEM);
        assert!(output.status.success(), "{}", said(&output));
        for (who, calls) in [("the command", calls), ("the Python reader", read_calls)] {
            let (sources, copies) = opens(&calls);
            let place = format!("{way:?}, {who}");
            if way == Way::Neither {
                assert!(
                    sources >= 2,
                    "{place}: those that declare something are opened"
                );
                assert_eq!(copies, 0, "{place}");
            } else {
                assert_eq!(sources, 0, "{place}");
                assert!(copies >= 2, "{place}");
            }
        }
    }
}

// ---- when it goes wrong

/// What makes an upgrade fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    /// A script ends with an error, before anything is unpacked.
    Preinst,
    /// A file that is unpacked after the distribution and its copy is another package's.
    Conflict,
    /// The disk is full when the distribution and its copy have been unpacked.
    FullDisk,
    /// A script of both packages ends with an error, when everything is in place. dpkg then puts the old
    /// files back, the last one first.
    Postrm,
    /// A script ends with an error, when everything is unpacked.
    Postinst,
}

const FAILURES: [Failure; 5] = [
    Failure::Preinst,
    Failure::Conflict,
    Failure::FullDisk,
    Failure::Postrm,
    Failure::Postinst,
];

/// Sorts behind the mirror files.
const LAST_DIRECTORY: &str = "/usr/share/zz-plain";
/// What the disk has room for, and what the package has for it.
const ROOM: &str = "size=64k";
const TOO_MUCH: usize = 1024 * 1024;

impl Failure {
    /// The package, made to fail in this way.
    fn caused_in(self, package: &Path, to: &Path) -> PathBuf {
        let failing = "#!/bin/sh\nexit 1\n";
        match self {
            Self::Preinst => with_script(package, "preinst", failing, to),
            Self::Postinst => with_script(package, "postinst", failing, to),
            // dpkg asks that of the old package, and if it fails that of the new one. Nothing else fails.
            Self::Postrm => {
                let upgrades = "#!/bin/sh\ncase $1 in upgrade | failed-upgrade) exit 1 ;; esac\n";
                with_script(package, "postrm", upgrades, to)
            }
            Self::Conflict => repacked(package, to, |tree| {
                let doc = tree.join("usr/share/zz-egg");
                fs::create_dir(&doc).unwrap();
                fs::write(doc.join("owned"), "").unwrap();
            }),
            Self::FullDisk => repacked(package, to, |tree| {
                let last = tree.join(&LAST_DIRECTORY[1..]);
                fs::create_dir(&last).unwrap();
                fs::write(last.join("much"), vec![b'x'; TOO_MUCH]).unwrap();
            }),
        }
    }

    /// What dpkg then says.
    fn complaint(self) -> &'static str {
        match self {
            Self::Preinst => "pre-installation script subprocess returned error",
            Self::Conflict => "which is also in package",
            Self::FullDisk => "No space left on device",
            Self::Postrm => {
                "new python3-plain package post-removal script subprocess returned error"
            }
            Self::Postinst => "post-installation script subprocess returned error",
        }
    }
}

/// The package, made to succeed where [`Failure::Postrm`] has made the script of the installed one fail.
fn forgiving(package: &Path, to: &Path) -> PathBuf {
    with_script(package, "postrm", "#!/bin/sh\n", to)
}

/// Upgrades to a rebuild of the same version, of which neither size nor time tells anything.
fn fail(root: &mut Root, builder: &Builder, packages: &Packages, way: Way, with_trigger: bool) {
    let before = packages_of(packages, Version::First, way);
    let after = packages_of(packages, Version::Rebuilt, way);
    // Owns what another package brings then.
    let owner = builder
        .directory()
        .join(format!("failing/{with_trigger}-{way:?}-owner"));
    let owner = Failure::Conflict.caused_in(&before[1], &owner);
    fs::create_dir_all(root.join(LAST_DIRECTORY)).unwrap();
    for failure in FAILURES {
        root.install(before);
        root.install(&[&owner]);
        let name = format!("failing/{with_trigger}-{way:?}-{failure:?}");
        let directory = builder.directory().join(&name);
        let mut mending = after.to_vec();
        if failure == Failure::Postrm {
            root.install(&[failure.caused_in(&before[0], &directory.join("before"))]);
            mending[0] = forgiving(&after[0], &directory.join("mending"));
        }
        let broken = failure.caused_in(&after[0], &directory);
        let mut dpkg = root.dpkg(&["--install"], &[broken]);
        let output = process::finish(match failure {
            Failure::FullDisk => root.on_a_full_disk(&mut dpkg, LAST_DIRECTORY, ROOM),
            _ => &mut dpkg,
        });
        assert_eq!(output.status.code(), Some(1), "{name}: {}", said(&output));
        assert!(
            said(&output).contains(failure.complaint()),
            "{name}: {}",
            said(&output)
        );

        let kept = match failure {
            Failure::Postinst => "plain:again",
            _ => "plain:first",
        };
        let answer = values(&root.check(&name));
        assert_eq!(answer, ["egg:first", kept], "{name}");
        assert_eq!(values(&fast(root)), answer, "{name}: mode fast");
        root.install(&mending);
        let mended = values(&root.check(&name));
        assert_eq!(mended, Version::Rebuilt.values(), "{name}: mended");
    }
}

/// What mode `fast` says.
fn fast(root: &Root) -> Vec<Answer> {
    let mut query = root.query();
    root.answers(&process::finish(query.env("EPCACHE_MODE", "fast")))
}

#[test]
fn an_upgrade_that_fails_leaves_answers_right() {
    let Some((debian, builder, packages)) = scene() else {
        return;
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut root = debian.root();
            root.install(&[&builder.epcache]);
            fail(&mut root, builder, packages, Way::Helper, true);
        });
        in_each_way(debian, |root, way| {
            fail(root, builder, packages, way, false);
        });
    });
}

/// A call of `dpkg` that puts a file in place, or removes one.
struct Moment {
    /// The name of the call, and which one of its kind it is.
    name: String,
    nth: usize,
    text: String,
}

/// All of them, in the order in which `dpkg` makes them in the course of a change.
fn moments(root: &Root, change: &Change) -> Vec<Moment> {
    let dpkg = root.dpkg(&["--install"], &[&change.after]);
    let (output, calls) = strace::trace(
        &dpkg,
        "trace=?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir",
    );
    let (succeeded, said) = (output.status.success(), said(&output));
    assert_eq!(succeeded, change.instead.is_none(), "{said}");
    if let Some(instead) = change.instead {
        root.install(&[instead]);
    }
    let ours = |call: &Call| call.touches("dist-packages") || call.touches("share/epcache");
    let thread = calls
        .iter()
        .find(|call| call.name.starts_with("rename") && ours(call))
        .expect("dpkg puts files in place by renaming them")
        .thread;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut moments = Vec::new();
    for call in calls.iter().filter(|call| call.thread == thread) {
        let nth = seen.entry(call.name.clone()).or_default();
        *nth += 1;
        // That a temporary name is not there is found out with calls that do nothing.
        if ours(call) && !call.text.contains("= -1") {
            moments.push(Moment {
                name: call.name.clone(),
                nth: *nth,
                text: call.text.clone(),
            });
        }
    }
    moments
}

/// A change that dpkg is killed in.
struct Change<'p> {
    /// The package before and after.
    before: &'p PathBuf,
    after: &'p PathBuf,
    /// If that one fails: one that can be installed then.
    instead: Option<&'p PathBuf>,
    source: Source,
    /// Whether there is a moment in which a mirror file is no copy of the text beside it.
    is_apart: bool,
}

/// The moments in which mode exact believes a mirror file that is none: dpkg takes an upgrade back, has
/// put the old mirror file in place again, and is yet to put the old source there. Both builds' are of
/// the same size and time, and the mirror file changed last.
fn known_ones(moments: &[Moment]) -> Range<usize> {
    let put_back = |name: &str| {
        let text = format!("{name}.dpkg-tmp\"");
        moments
            .iter()
            .position(|it| it.name.starts_with("rename") && it.text.contains(&text))
    };
    match (put_back("-info.txt"), put_back("/entry_points.txt")) {
        (Some(copy), Some(source)) => copy + 1..source + 1,
        _ => 0..0,
    }
}

#[test]
fn dpkg_killed_at_any_moment_leaves_answers_right_but_for_the_known_ones() {
    let Some((debian, builder, packages)) = scene() else {
        return;
    };
    if let Err(reason) = strace::available() {
        missing(&format!(
            "killing dpkg where it changes something: {reason}"
        ));
        return;
    }
    let (first, rebuilt, second) = (Version::First, Version::Rebuilt, Version::Second);
    let (helper, neither) = (Way::Helper, Way::Neither);
    // By hand is the same package, to the byte. Of the three, the plain one and the one that has
    // entry points in one build and none in another.
    let changes = [
        (0, (first, helper), (rebuilt, helper), true),
        (0, (first, helper), (second, helper), false),
        (0, (first, helper), (rebuilt, neither), true),
        (0, (first, neither), (rebuilt, helper), false),
        (0, (first, neither), (rebuilt, neither), false),
        (2, (first, helper), (rebuilt, helper), true),
        (2, (rebuilt, helper), (first, helper), true),
    ];
    let changes = changes.map(|(position, before, after, is_apart)| Change {
        before: &packages_of(packages, before.0, before.1)[position],
        after: &packages_of(packages, after.0, after.1)[position],
        instead: None,
        source: before.0.sources()[position].clone(),
        is_apart,
    });
    let directory = builder.directory().join("killed");
    let failing = |package, to| Failure::Postrm.caused_in(package, &directory.join(to));
    let before = failing(changes[0].before, "before");
    let after = failing(changes[0].after, "after");
    let instead = forgiving(changes[0].after, &directory.join("instead"));
    let taken_back = Change {
        before: &before,
        after: &after,
        instead: Some(&instead),
        source: changes[0].source.clone(),
        is_apart: true,
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut root = debian.root();
            kill_in(&mut root, &taken_back);
            root.install(&[&builder.epcache]);
            kill_at_a_known_one(&mut root, &taken_back);
        });
        scope.spawn(|| {
            let mut root = debian.root();
            for change in &changes {
                kill_in(&mut root, change);
            }
        });
    });
}

/// Kills dpkg at each moment of a change, and compares.
fn kill_in(root: &mut Root, change: &Change) {
    let Change { before, after, .. } = change;
    root.install(&[before]);
    let moments = moments(root, change);
    comes_before_its_copy(&moments);
    let known = known_ones(&moments);
    assert_eq!(known.is_empty(), change.instead.is_none());
    let mut apart = 0;
    for (position, moment) in moments.iter().enumerate() {
        root.install(&[before]);
        kill(root, change, moment);

        let place = format!(
            "killed at {}, on the way to {}",
            moment.text,
            after.display()
        );
        let answer = root.said_by_both(&place);
        let truth = root.truth();
        let believes = answer != truth;
        assert_eq!(believes, known.contains(&position), "{place}: {answer:?}");
        // Mode fast believes by name: it tells what the copy says, if there is one.
        let copy = fs::read_to_string(root.join(&change.source.mirror_file()));
        let differs = copy.is_ok_and(|copy| copy != text_of(root, &change.source));
        apart += usize::from(differs);
        assert_eq!(fast(root) != truth, differs, "{place}: mode fast");

        root.install(&[change.instead.unwrap_or(after)]);
        root.check(&format!("installed after it was {place}"));
    }
    let place = format!("on the way to {}", after.display());
    assert_eq!(apart > 0, change.is_apart, "{place}");
    assert!(moments.len() > 2, "{place}");
}

fn kill(root: &Root, change: &Change, Moment { name, nth, text }: &Moment) {
    let dpkg = root.dpkg(&["--install"], &[change.after]);
    let output = strace::kill_at(&dpkg, name, *nth);
    assert!(
        was_killed(&output),
        "not killed at {text}: {}",
        said(&output)
    );
}

/// The same where our trigger has made an index, which tells that the source is not what it was.
fn kill_at_a_known_one(root: &mut Root, change: &Change) {
    root.install(&[change.before]);
    let moments = moments(root, change);
    let moment = &moments[known_ones(&moments).start];
    root.install(&[change.before]);
    kill(root, change, moment);
    let answer = root.check("killed at a known moment, with an index");
    assert_eq!(values(&answer), ["plain:again"]);
    assert_eq!(fast(root), answer, "mode fast");
}

/// The order of dpkg's renames is what makes change times tell the old copy from the new one.
fn comes_before_its_copy(moments: &[Moment]) {
    let renamed = |name: &str| {
        moments
            .iter()
            .position(|it| it.name.starts_with("rename") && it.text.contains(&format!("{name}\"")))
    };
    if let (Some(source), Some(copy)) = (renamed("/entry_points.txt"), renamed("-info.txt")) {
        assert!(source < copy, "dpkg renames in the order of the archive");
    }
}

/// What dpkg says at last when it failed by itself, and has put back what it could.
const GAVE_UP: &str = "Errors were encountered while processing";

/// Whether dpkg did not come to the end of its work, that of an upgrade that fails neither. (How `unshare` ends when the
/// program in it was killed is not the same in all its versions.)
fn was_killed(output: &Output) -> bool {
    let said = said(output);
    !output.status.success() && !said.contains("Setting up") && !said.contains(GAVE_UP)
}

/// What the system's `entry_points.txt` holds; nothing if it is not there.
fn text_of(root: &Root, source: &Source) -> String {
    let path = format!("{DIST_PACKAGES}/{}/entry_points.txt", source.metadata_dir());
    fs::read_to_string(root.join(&path)).unwrap_or_default()
}

/// A change to the system of a test.
type Act<'a> = &'a dyn Fn();

#[test]
fn the_trigger_never_fails_an_installation() {
    let Some((debian, builder, packages)) = scene() else {
        return;
    };
    let mut root = debian.root();
    root.install(&[&builder.epcache]);
    let cache = root.join("/var/cache/epcache");
    let config = root.join("/etc/epcache/epcache.ini");
    let program = root.join("/usr/bin/epcache");
    let away = root.join("/usr/bin/epcache.away");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let complains = "is not up to date";
    // What is the matter, and how it is mended: a broken configuration is an error for readers, too.
    let troubles: [(&str, Act, Act); 3] = [
        (
            "somebody's file is where the cache should be",
            &|| {
                fs::remove_dir_all(&cache).unwrap();
                fs::write(&cache, "").unwrap();
            },
            &|| fs::remove_file(&cache).unwrap(),
        ),
        (
            "the configuration is broken",
            &|| fs::write(&config, "[nonsense").unwrap(),
            &|| fs::remove_file(&config).unwrap(),
        ),
        (
            "the command is not there",
            &|| fs::rename(&program, &away).unwrap(),
            &|| fs::rename(&away, &program).unwrap(),
        ),
    ];
    for (place, trouble, mend) in troubles {
        for version in [Version::First, Version::Second] {
            trouble();
            let said = root.install(packages_of(packages, version, Way::Neither));
            assert!(said.contains(TRIGGERED), "{place}: {said}");
            assert!(said.contains(complains), "{place}: {said}");
            mend();
            assert_eq!(values(&root.check(place)), version.values(), "{place}");
            let mut sync = root.command("epcache");
            process::succeed(sync.args(["sync", "--system"]));
        }
    }

    // What root's own shell and files say is about root's own cache.
    let own = root.join("/root/.config/epcache");
    fs::create_dir_all(&own).unwrap();
    fs::write(
        own.join("epcache.ini"),
        "[epcache]\npath = /root/elsewhere\n",
    )
    .unwrap();
    let mut dpkg = root.dpkg(
        &["--install"],
        packages_of(packages, Version::Second, Way::Neither),
    );
    process::succeed(dpkg.env("EPCACHE_PATH", "/root/elsewhere"));
    fs::remove_file(own.join("epcache.ini")).unwrap();
    assert_eq!(root.status(), ("fresh".to_owned(), "system".to_owned()));
    assert!(!root.join("/root/elsewhere").exists());

    // A hostile distribution, and a broken one.
    let site = root.join(DIST_PACKAGES);
    fs::create_dir(site.join("secret-1.dist-info")).unwrap();
    symlink(
        "/etc/shadow",
        site.join("secret-1.dist-info/entry_points.txt"),
    )
    .unwrap();
    fs::create_dir(site.join("broken-1.dist-info")).unwrap();
    fs::write(
        site.join("broken-1.dist-info/entry_points.txt"),
        "[g]\nnothing\n",
    )
    .unwrap();
    let said = root.install(packages_of(packages, Version::First, Way::Neither));
    assert!(
        said.contains(TRIGGERED) && !said.contains(complains),
        "{said}"
    );
    assert_eq!(root.status().1, "system");
    let published = epcache_tests::environment::files_below(&cache);
    assert!(!published.is_empty());
    for file in published {
        let text = fs::read_to_string(cache.join(&file)).unwrap();
        assert!(!text.contains("root:"), "{}", file.display());
    }
}

#[test]
fn purging_our_package_leaves_nothing_and_removes_nothing_else() {
    let Some((debian, builder, packages)) = scene() else {
        return;
    };
    let mut root = debian.root();
    root.install(packages_of(packages, Version::First, Way::Helper));
    let mut own = root.epcache(&["sync"]);
    process::succeed(&mut own);
    assert!(root.join("/root/.cache/epcache").exists());
    let before = root.everything();
    root.install(&[&builder.epcache]);
    assert!(root.join("/var/cache/epcache").exists());
    assert!(root.join("/usr/bin/epcache").exists());
    remove(&root, "--remove", &["epcache"]);
    assert!(
        !root.join("/var/cache/epcache").exists(),
        "nobody keeps it current"
    );
    root.install(&[&builder.epcache]);
    remove(&root, "--purge", &["epcache"]);
    assert_eq!(root.everything(), before);
    assert_eq!(values(&root.check("purged")), Version::First.values());
}

#[test]
fn a_real_system_is_answered_right_after_every_transaction() {
    let Some((debian, builder, _)) = scene() else {
        return;
    };
    let mut root = debian.root();
    let arrived = |output: Output| {
        let arrived = output.status.success();
        if !arrived {
            missing(&format!(
                "Debian's packages are not to be had: {}",
                why(&output)
            ));
        }
        arrived
    };
    if !arrived(root.try_apt_get(&["update"])) {
        return;
    }
    let mut names = root.command("apt-cache");
    let known = process::stdout(&process::succeed(names.args(["pkgnames", "python3-"])));
    let known: Vec<&str> = known.lines().collect();

    let batches = REAL_PACKAGES.map(|batch| -> Vec<&str> {
        let batch = batch.iter().copied();
        batch.filter(|it| known.contains(it)).collect()
    });
    // What arrives late, or not at all, is no failure of ours; what is installed then is here already.
    let download = [&["install", "--download-only"], &batches.concat()[..]].concat();
    if !arrived(root.try_apt_get(&download)) {
        return;
    }

    root.install(&[&builder.epcache]);
    let mut dists = 0;
    for (position, batch) in batches.iter().enumerate() {
        let said = root.apt_get(&[&["install"], &batch[..]].concat());
        assert_eq!(said.matches(TRIGGERED).count(), 1, "once for all: {said}");
        dists = check_real(&mut root, &format!("batch {position} was installed"));
    }
    assert!(
        dists >= REAL_DISTS,
        "only {dists} distributions with entry points"
    );

    for batch in [
        &["python3-pytest-mock", "python3-pytest-cov"][..],
        &["python3-stevedore"],
        &["python3-pytest"],
    ] {
        let said = root.apt_get(&[&["remove"], batch].concat());
        assert!(said.contains(TRIGGERED), "{said}");
        let fewer = check_real(&mut root, &format!("{batch:?} was removed"));
        assert!(fewer < dists, "{batch:?}");
        dists = fewer;
    }
    let said = root.apt_get(&["install", "--reinstall", "python3-pygments"]);
    assert!(said.contains(TRIGGERED), "{said}");
    assert_eq!(check_real(&mut root, "one was reinstalled"), dists);
    root.apt_get(&["purge", "epcache"]);
    root.check("our package was purged");
    assert!(!root.join("/var/cache/epcache").exists());
}

/// Compares with the system's Python; the cache must have the answer. Gives the number of
/// distributions that declare something.
fn check_real(root: &mut Root, place: &str) -> usize {
    let truth = root.check(place);
    assert_eq!(
        root.status(),
        ("fresh".to_owned(), "system".to_owned()),
        "{place}"
    );
    let mut dists: Vec<&str> = truth.iter().map(|it| it.metadata_dir.as_str()).collect();
    dists.sort_unstable();
    dists.dedup();
    dists.len()
}
