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
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use epcache_tests::deb::{
    Builder, DIST_PACKAGES, Debian, Root, Source, WAYS, Way, build_epcache, builder, debian, files,
    payload, said, with_script,
};
use epcache_tests::environment::{Scratch, set_mode};
use epcache_tests::oracle::Answer;
use epcache_tests::process;
use epcache_tests::skip::missing;
use epcache_tests::strace::{self, Call};

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
        let build = |versions: &[Version]| -> Packages {
            versions
                .iter()
                .flat_map(|version| (0..WAYS.len()).map(move |way| (*version, way)))
                .map(|(version, way)| {
                    (
                        (version, way),
                        build_all(builder, version, WAYS[way], "built"),
                    )
                })
                .collect()
        };
        thread::scope(|scope| {
            let threads = VERSIONS.map(|version| scope.spawn(move || build(&[version])));
            threads
                .into_iter()
                .flat_map(|it| it.join().unwrap())
                .collect()
        })
    })
}

fn build_all(builder: &Builder, version: Version, way: Way, directory: &str) -> Vec<PathBuf> {
    version
        .sources()
        .iter()
        .map(|source| {
            let name = format!("{directory}/{version:?}-{way:?}-{}", source.name);
            builder.build(source, way, &name)
        })
        .collect()
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
            assert_eq!(files(&by_hand[position]), expected, "{version:?}");
            assert_eq!(files(&helped[position]), expected, "{version:?}");
            // The same modes, owners, sizes and times.
            assert_eq!(payload(&by_hand[position]), payload(&helped[position]));

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
            if source.entry_points.is_some() {
                let original = inside(&format!(
                    "{DIST_PACKAGES}/{}/entry_points.txt",
                    source.metadata_dir()
                ));
                let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
                assert_eq!(time(&copy), time(&original));
            }
        }
    }
}

#[test]
fn two_builds_are_identical() {
    let Some(builder) = the_builder() else { return };
    for way in [Way::ByHand, Way::Helper] {
        let first = packages_of(packages(builder), Version::First, way);
        // In a directory with a longer name, and a mask that forbids what packages allow.
        let second = build_all(builder, Version::First, way, "built/once-more/elsewhere");
        for (one, other) in first.iter().zip(&second) {
            process::succeed(Command::new("cmp").arg(one).arg(other));
        }
    }
    let again = build_epcache(&builder.directory().join("built/epcache-once-more"));
    for (one, other) in [&builder.epcache, &builder.dh_epcache]
        .into_iter()
        .zip(&again)
    {
        process::succeed(Command::new("cmp").arg(one).arg(other));
    }
}

#[test]
fn a_private_directory_and_a_narrow_umask_do_not_change_what_is_built() {
    let Some(builder) = the_builder() else { return };
    let private = builder.directory().join("private");
    fs::create_dir(&private).unwrap();
    set_mode(&private, 0o700);
    let source = &Version::First.sources()[0];
    // Written as others are, then built as somebody with a home and habits of their own does.
    let usual = builder.build(source, Way::Helper, "private/usual");
    let tree = private.join("narrow/source");
    fs::create_dir(private.join("narrow")).unwrap();
    process::succeed(
        Command::new("cp")
            .arg("-r")
            .arg(private.join("usual/source"))
            .arg(&tree),
    );
    let command = builder.buildpackage(&tree);
    let mut narrow = Command::new("sh");
    narrow.args([
        "-c",
        "umask 077 && debian/rules clean && chmod -R go= . && exec \"$@\"",
        "sh",
    ]);
    narrow
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(&tree);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => narrow.env(name, value),
            None => narrow.env_remove(name),
        };
    }
    process::succeed(&mut narrow);
    assert_eq!(
        payload(&private.join("narrow").join(usual.file_name().unwrap())),
        payload(&usual)
    );
}

#[test]
fn a_package_without_distributions_is_left_as_it_is() {
    let Some(builder) = the_builder() else { return };
    let source = Source {
        name: "modules",
        version: "1.0",
        kind: "dist-info",
        entry_points: None,
    };
    let first = builder.build(&source, Way::Helper, "modules/with");
    assert!(files(&first).contains(&source.mirror_file()));

    // The same without metadata: there is a site directory, and no distribution in it.
    let tree = builder.directory().join("modules/with/source");
    fs::write(
        tree.join("debian/install"),
        format!("modules.py {}\n", &DIST_PACKAGES[1..]),
    )
    .unwrap();
    process::succeed(&mut builder.buildpackage(&tree));
    let lines = payload(&first);
    assert!(lines.iter().any(|line| line.ends_with("/modules.py")));
    assert!(
        lines.iter().all(|line| !line.contains("share/epcache")),
        "{lines:?}"
    );
    let control = process::succeed(Command::new("dpkg-deb").arg("-I").arg(&first));
    assert!(!said(&control).contains("preinst"));
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
    let package = builder.build(&source, Way::Helper, "pybuild/with");
    let tree = builder.directory().join("pybuild/with/source");
    fs::remove_dir_all(tree.join(source.metadata_dir())).unwrap();
    fs::remove_file(tree.join("debian/install")).unwrap();
    fs::remove_file(&package).unwrap();
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
    let mut build = builder.buildpackage(&tree);
    // Debian's Python, not one that comes first on this machine.
    let path = build
        .get_envs()
        .find(|(name, _)| *name == "PATH")
        .and_then(|(_, value)| value)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let (tools, _) = path.split_once(':').unwrap();
    build.env("PATH", format!("{tools}:/usr/sbin:/usr/bin:/sbin:/bin"));
    process::succeed(&mut build);
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
    let lintian = |packages: &[&PathBuf]| {
        let mut lintian = Command::new("lintian");
        lintian
            .env("LC_ALL", "C.UTF-8")
            .arg("--allow-root")
            .args(packages);
        said(&process::finish(&mut lintian))
    };
    let packages = packages(builder);
    let mut all = vec![&builder.epcache, &builder.dh_epcache];
    for way in [Way::ByHand, Way::Helper] {
        for version in [Version::First, Version::Second] {
            all.extend(packages_of(packages, version, way));
        }
    }
    assert_eq!(lintian(&all), "");
    // It does look, and finds what is wrong.
    let wrong = with_script(
        &packages_of(packages, Version::First, Way::Helper)[0],
        "preinst",
        "true\n",
        &builder.directory().join("wrong"),
    );
    assert!(lintian(&[&wrong]).contains("preinst"));
}

#[test]
fn the_manual_page_can_be_read() {
    let Some(builder) = the_builder() else { return };
    let page = builder
        .directory()
        .join("tools/usr/share/man/man1/dh_epcache.1.gz");
    let text = process::stdout(&process::succeed(Command::new("zcat").arg(page)));
    for word in [
        "dh_epcache",
        "\\-\\-no\\-scripts",
        "dh\\-sequence\\-epcache",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn the_package_s_version_is_the_command_s() {
    let changelog = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/debian/changelog");
    let first = fs::read_to_string(changelog).unwrap();
    let version = format!("epcache ({}-", env!("CARGO_PKG_VERSION"));
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

#[test]
fn packages_are_answered_right_all_their_life_without_our_package() {
    let Some((debian, _, packages)) = scene() else {
        return;
    };
    let mut root = debian.root();
    for way in WAYS {
        live(&mut root, packages, way, |root, place| {
            let gone = ["removed", "purged"]
                .iter()
                .any(|step| place.ends_with(step));
            let vouched = way != Way::Neither && !gone;
            assert_eq!(root.join("/usr/share/epcache").exists(), vouched, "{place}");
            let expected = if vouched { "vouched" } else { "source" };
            assert_eq!(root.status().0, expected, "{place}");
            assert!(!root.join("/var/cache/epcache").exists(), "{place}");
        });
    }
}

#[test]
fn packages_are_answered_right_and_from_the_cache_all_their_life_with_our_trigger() {
    let Some((debian, builder, packages)) = scene() else {
        return;
    };
    let mut root = debian.root();
    root.install(&[&builder.epcache]);
    for way in WAYS {
        live(&mut root, packages, way, |root, place| {
            let fresh = ("fresh".to_owned(), "system".to_owned());
            assert_eq!(root.status(), fresh, "{place}: the trigger has run");
        });
    }
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

#[test]
fn a_maintainer_script_that_fails_leaves_answers_right() {
    let Some((debian, builder, packages)) = scene() else {
        return;
    };
    let failing = "#!/bin/sh\nexit 1\n";
    for with_trigger in [false, true] {
        let mut root = debian.root();
        if with_trigger {
            root.install(&[&builder.epcache]);
        }
        for (way, script, version) in [
            (Way::ByHand, "preinst", Version::Second),
            (Way::Helper, "preinst", Version::Rebuilt),
            (Way::Helper, "postinst", Version::Rebuilt),
        ] {
            root.install(packages_of(packages, Version::First, way));
            let name = format!("failing/{with_trigger}-{way:?}-{script}-{version:?}");
            let package = &packages_of(packages, version, way)[0];
            let broken = with_script(package, script, failing, &builder.directory().join(&name));
            process::expect_status(&mut root.dpkg(&["--install"], &[broken]), 1);
            let answer = values(&root.check(&name));
            let kept = if script == "preinst" {
                Version::First
            } else {
                version
            };
            assert!(
                answer.contains(&format!("plain:{}", kept.word())),
                "{name}: {answer:?}"
            );
            root.install(packages_of(packages, version, way));
            assert_eq!(
                values(&root.check(&name)),
                version.values(),
                "{name}: mended"
            );
        }
    }
}

/// The calls with which `dpkg` puts a package's files in place, or removes them: the name of each, and
/// which one of its kind it is.
fn moments(root: &Root, packages: &[PathBuf]) -> Vec<(String, usize, String)> {
    let dpkg = root.dpkg(&["--install"], packages);
    let (output, calls) = strace::trace(
        &dpkg,
        "trace=?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir",
    );
    assert!(output.status.success(), "{}", said(&output));
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
            moments.push((call.name.clone(), *nth, call.text.clone()));
        }
    }
    moments
}

/// What the documentation tells of packages by hand, and why the sequence adds to `preinst`: dpkg needs
/// two renames to replace a distribution and its copy, and what is vouched for is not compared.
#[test]
fn a_package_by_hand_is_behind_if_dpkg_is_killed_between_the_text_and_its_copy_and_in_no_other_case()
 {
    let Some((debian, _, packages)) = scene() else {
        return;
    };
    if let Err(reason) = strace::available() {
        missing(&format!(
            "killing dpkg where it changes something: {reason}"
        ));
        return;
    }
    let mut root = debian.root();
    let before = &packages_of(packages, Version::First, Way::ByHand)[..1];
    let after = &packages_of(packages, Version::Rebuilt, Way::ByHand)[..1];
    root.install(before);
    let source = &Version::First.sources()[0];
    let mut behind = 0;
    for (call, nth, text) in moments(&root, after) {
        root.install(before);
        strace::kill_at(&root.dpkg(&["--install"], after), &call, nth);
        let answers = root.answers(&process::finish(&mut root.query()));
        let truth = root.truth();
        if answers != truth {
            behind += 1;
            assert_eq!(values(&answers), ["plain:first"], "{text}");
            assert_eq!(values(&truth), ["plain:again"], "{text}");
            let copy = fs::read(root.join(&source.mirror_file())).unwrap();
            assert_eq!(copy, source.entry_points.as_ref().unwrap().as_bytes());
        }
        root.install(after);
        let mended = root.check(&format!("installed after it was killed at {text}"));
        assert_eq!(values(&mended), ["plain:again"]);
    }
    assert!(behind > 0, "it is so no more, and docs should not tell it");
}

#[test]
fn dpkg_killed_at_any_moment_leaves_answers_right() {
    let Some((debian, _, packages)) = scene() else {
        return;
    };
    if let Err(reason) = strace::available() {
        missing(&format!(
            "killing dpkg where it changes something: {reason}"
        ));
        return;
    }
    let mut root = debian.root();
    let changes = [
        (Version::First, Version::Rebuilt),
        (Version::First, Version::Second),
    ];
    for (before, after) in changes {
        // One package, as each is done by itself.
        let before = &packages_of(packages, before, Way::Helper)[..1];
        let after = &packages_of(packages, after, Way::Helper)[..1];
        root.install(before);
        let moments = moments(&root, after);
        assert!(moments.len() > 4, "{moments:?}");
        for (call, nth, text) in moments {
            root.install(before);
            strace::kill_at(&root.dpkg(&["--install"], after), &call, nth);
            root.check(&format!("killed at {text}"));
            root.install(after);
            root.check(&format!("installed after it was killed at {text}"));
        }
    }
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
    let update = root.try_apt_get(&["update"]);
    if !update.status.success() {
        missing(&format!(
            "Debian's packages are not to be had: {}",
            said(&update)
        ));
        return;
    }
    let mut names = root.command("apt-cache");
    let known = process::stdout(&process::succeed(names.args(["pkgnames", "python3-"])));
    let known: Vec<&str> = known.lines().collect();

    root.install(&[&builder.epcache]);
    let mut dists = 0;
    for (position, batch) in REAL_PACKAGES.iter().enumerate() {
        let batch: Vec<&str> = batch
            .iter()
            .copied()
            .filter(|it| known.contains(it))
            .collect();
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
