//! What rpm packages ship and do: real ones, built with `rpmbuild` in each way that packagers have, and installed,
//! upgraded, downgraded, rebuilt and removed on a system of their own. After each step the answers are CPython's.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use epcache_tests::environment::{Scratch, copy_tree, files_below};
use epcache_tests::judge::Entry;
use epcache_tests::process;
use epcache_tests::reader::{Place, Reader};
use epcache_tests::rpm::{
    ENTRY_POINTS_TIME, EPOCH, Kit, Package, SITE, SYSTEM_ROOT, Surroundings, System, VENDOR_ROOT,
    Way, build_epcache, built, contents, kit,
};
use epcache_tests::skip::{missing, skip};
use epcache_tests::strace::{self, FILE_SYSTEM};

/// Longer than rpm's clock takes to go on by a second.
const PATIENCE: Duration = Duration::from_secs(30);

fn a_kit() -> Option<&'static Kit> {
    kit(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// Packages, built in one way.
fn all(kit: &Kit, packages: &[Package], way: Way) -> Vec<PathBuf> {
    packages.iter().map(|it| kit.package(it, way)).collect()
}

/// Right is what CPython says; and that has to be what was installed, or the test is about nothing.
fn assert_right(system: &System, installed: &[Package], place: &str) {
    let truth = system.truth();
    let mut declared: Vec<(String, String)> = installed
        .iter()
        .filter_map(|it| Some((it.metadata_dir(), it.value?.to_owned())))
        .collect();
    let mut found: Vec<(String, String)> = truth
        .iter()
        .map(|entry| (entry.metadata_dir.clone(), entry.value.clone()))
        .collect();
    declared.sort();
    found.sort();
    assert_eq!(found, declared, "{place}: what is installed");
    assert_agrees(system, &truth, place);
}

fn assert_agrees(system: &System, truth: &[Entry], place: &str) {
    for mode in ["exact", "fast"] {
        assert_eq!(system.answers(mode), truth, "{place}: mode {mode}");
    }
}

/// The Python reader too, with what it knows from before and then as in a fresh process.
fn assert_reader_right(reader: &mut Reader, system: &System, trigger: bool, place: &str) {
    let truth = system.truth();
    for mode in ["exact", "fast"] {
        for knowledge in ["remembering", "fresh"] {
            if knowledge == "fresh" {
                reader.forget().unwrap();
            }
            let asked = Place {
                sys_path: &[SITE.into()],
                cwd: Path::new("/"),
                cache: Path::new(if trigger { SYSTEM_ROOT } else { VENDOR_ROOT }),
                mode,
            };
            let mut replies = reader.ask(&asked, &[vec![]]).unwrap();
            let points = replies.remove(0).entry_points;
            let answer: Vec<Entry> = points.into_iter().map(Entry::from).collect();
            assert_eq!(
                answer, truth,
                "{place}: the Python reader, {knowledge}, mode {mode}"
            );
        }
    }
}

/// The mirror files of the packages and nothing else are in the vendor root.
fn assert_ships(system: &System, installed: &[Package], way: Way, place: &str) {
    let mut expected: Vec<PathBuf> = match way {
        Way::Nothing => Vec::new(),
        _ => installed
            .iter()
            .map(|it| PathBuf::from(format!("{}/{}.txt", &SITE[1..], it.metadata_dir())))
            .collect(),
    };
    expected.sort();
    assert_eq!(files_below(&system.at(VENDOR_ROOT)), expected, "{place}");
}

/// What `status` says of the path entry: its state and whose root answers.
fn status(system: &System) -> (String, String) {
    let mut status = system.epcache();
    status.args(["status", "--path", SITE, "--format", "json"]);
    let rows: serde_json::Value =
        serde_json::from_slice(&process::succeed(&mut status).stdout).unwrap();
    let text = |key: &str| rows[0][key].as_str().unwrap_or("-").to_owned();
    (text("state"), text("answered_by"))
}

/// All that can happen to packages, one after the other.
fn through_all_steps(kit: &Kit, way: Way, trigger: bool) {
    let system = if trigger {
        System::with_trigger(kit)
    } else {
        System::without_trigger(kit)
    };
    let mut reader = system.reader();
    let mut check = |installed: &[Package], step: &str| {
        let place = format!("{way:?}, trigger {trigger}, after {step}");
        assert_right(&system, installed, &place);
        if let Some(reader) = &mut reader {
            assert_reader_right(reader, &system, trigger, &place);
        }
        assert_ships(&system, installed, way, &place);
        if trigger && !installed.is_empty() {
            let fresh = ("fresh".to_owned(), "system".to_owned());
            assert_eq!(status(&system), fresh, "{place}: the trigger has run");
        }
    };
    // Each value has the same length: no size and, as all builds have one time, no time tells them apart.
    let first = Package::three("1.0", 1, "one:main");
    let second = Package::three("2.0", 1, "two:main");
    let rebuilt = Package::three("1.0", 2, "new:main");
    let changed = Package::three("1.0", 2, "odd:main");

    let steps = [
        ("an installation", &first),
        ("an upgrade", &second),
        ("a downgrade", &first),
        ("a rebuild of the same version", &rebuilt),
        ("a rebuild of the same version and release", &changed),
    ];
    for (step, packages) in steps {
        system.install(&all(kit, packages, way));
        check(packages, step);
    }
    system.remove(&["python3-plain"]);
    check(&changed[1..], "a removal");
    system.remove(&["python3-eggy", "python3-quiet"]);
    check(&[], "the removal of the rest");
    assert!(
        !system.at(VENDOR_ROOT).exists(),
        "{way:?}: no directory is left of what packages shipped"
    );
}

#[test]
fn mirror_files_from_a_plain_install_line_give_cpythons_answers() {
    let Some(kit) = a_kit() else { return };
    through_all_steps(kit, Way::ByHand, false);
}

#[test]
fn mirror_files_from_the_macros_give_cpythons_answers() {
    let Some(kit) = a_kit() else { return };
    through_all_steps(kit, Way::Macros, false);
}

#[test]
fn mirror_files_from_the_build_policy_give_cpythons_answers() {
    let Some(kit) = a_kit() else { return };
    through_all_steps(kit, Way::Policy, false);
}

#[test]
fn the_trigger_alone_gives_cpythons_answers() {
    let Some(kit) = a_kit() else { return };
    through_all_steps(kit, Way::Nothing, true);
}

#[test]
fn the_trigger_with_mirror_files_gives_cpythons_answers() {
    let Some(kit) = a_kit() else { return };
    for way in Way::SHIPPING {
        through_all_steps(kit, way, true);
    }
}

#[test]
fn a_system_whose_triggers_did_not_run_gives_cpythons_answers() {
    let Some(kit) = a_kit() else { return };
    for way in [Way::Macros, Way::Nothing] {
        let system = System::with_trigger(kit);
        system.install(&all(kit, &Package::three("1.0", 1, "one:main"), way));
        for packages in [
            Package::three("1.0", 1, "new:main"),
            Package::three("2.0", 1, "two:main"),
        ] {
            process::succeed(
                system
                    .upgrade(&all(kit, &packages, way))
                    .arg("--notriggers"),
            );
            assert_right(&system, &packages, &format!("{way:?}, no triggers"));
            assert_eq!(status(&system).0, "stale");
        }
    }
}

#[test]
fn a_payload_has_the_mirror_files_of_its_own_distribution_alone() {
    let Some(kit) = a_kit() else { return };
    for package in Package::three("1.0", 1, "one:main") {
        let bare: Vec<_> = contents(&kit.package(&package, Way::Nothing));
        let mut ships: Vec<(PathBuf, String)> = Path::new(VENDOR_ROOT)
            .join(&SITE[1..])
            .ancestors()
            .take_while(|it| it.starts_with(VENDOR_ROOT))
            .map(|it| (it.to_owned(), format!("drwxr-xr-x root root {EPOCH}")))
            .collect();
        let mirror_file = format!("{VENDOR_ROOT}{SITE}/{}.txt", package.metadata_dir());
        // A copy has the time of what it is a copy of, an empty one that of the build.
        let time = package.value.map_or(EPOCH, |_| ENTRY_POINTS_TIME);
        let attributes = format!("-rw-r--r-- root root {time}");
        ships.push((mirror_file.into(), attributes));
        ships.extend(bare);
        ships.sort();
        for way in Way::SHIPPING {
            let mut found = contents(&kit.package(&package, way));
            found.sort();
            assert_eq!(found, ships, "{way:?}: {package:?}");
        }
    }
}

#[test]
fn two_builds_are_identical_whoever_builds_and_wherever() {
    let Some(kit) = a_kit() else { return };
    let elsewhere = Path::new("/dev/shm");
    if !elsewhere.is_dir() {
        return skip("a build on a tmpfs: no /dev/shm here");
    }
    let one = Surroundings::default();
    // A tmpfs lists a directory in another order, too.
    let other = Surroundings {
        umask: "077",
        time_zone: "Asia/Tokyo",
        language: "C",
        home: "another/home",
    };
    let builders = [(std::env::temp_dir(), one), (elsewhere.to_owned(), other)];
    let [plain, _, quiet] = Package::three("1.0", 1, "one:main");
    for way in Way::SHIPPING {
        for package in [&plain, &quiet] {
            let [first, second] = builders.clone().map(|(base, surroundings)| {
                let scratch = Scratch::within(&base);
                fs::read(kit.build_in(&scratch.join("top"), package, way, surroundings)).unwrap()
            });
            assert!(first == second, "{way:?}: {package:?}");
        }
    }
    let [first, second] = builders.map(|(base, surroundings)| {
        let scratch = Scratch::within(&base);
        let mut paths = build_epcache(&scratch.join("epcache"), surroundings).to_vec();
        let top = scratch.join("several");
        process::succeed(&mut kit.rpmbuild(&top, SEVERAL, true, surroundings));
        paths.extend(built(&top));
        let package = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        };
        paths.iter().map(package).collect::<Vec<_>>()
    });
    for (one, other) in first.iter().zip(&second) {
        assert!(one == other, "{:?} and {:?}", one.0, other.0);
    }
    // Three of epcache, and those of the spec that have a %files.
    assert_eq!((first.len(), second.len()), (7, 7));
}

/// The opens of something in a metadata directory, and those of mirror files, that a query makes.
fn opened(system: &System, mode: &str) -> (usize, usize) {
    let (output, calls) = strace::trace(&system.query(mode), FILE_SYSTEM);
    assert!(output.status.success(), "{}", process::stderr(&output));
    let opens = calls.iter().filter(|call| call.is_open());
    let (mirrors, sources): (Vec<_>, Vec<_>) = opens
        .filter(|call| call.touches("-info"))
        .partition(|call| call.touches(VENDOR_ROOT));
    (sources.len(), mirrors.len())
}

#[test]
fn with_mirror_files_and_nothing_else_no_metadata_directory_is_opened() {
    let Some(kit) = a_kit() else { return };
    if let Err(reason) = strace::available() {
        return missing(&format!("counting system calls: {reason}"));
    }
    let packages = Package::three("1.0", 1, "one:main");
    for way in [Way::ByHand, Way::Macros, Way::Policy, Way::Nothing] {
        let system = System::without_trigger(kit);
        system.install(&all(kit, &packages, way));
        for mode in ["exact", "fast"] {
            let (sources, mirrors) = opened(&system, mode);
            let place = format!("{way:?}, mode {mode}: {sources} and {mirrors}");
            if way == Way::Nothing {
                assert!(sources >= packages.len() - 1 && mirrors == 0, "{place}");
            } else {
                assert!(sources == 0 && mirrors == packages.len(), "{place}");
            }
        }
    }
}

/// How often a command starts the command of the package.
fn starts(command: &Command) -> usize {
    let (output, calls) = strace::trace(command, "trace=execve");
    assert!(output.status.success(), "{}", process::stderr(&output));
    let is_start = |text: &str| text.starts_with("execve(\"/usr/bin/epcache\"");
    calls.iter().filter(|call| is_start(&call.text)).count()
}

#[test]
fn a_transaction_of_many_packages_runs_the_trigger_once_and_one_that_replaces_some_once_more() {
    let Some(kit) = a_kit() else { return };
    if let Err(reason) = strace::available() {
        return missing(&format!("counting starts: {reason}"));
    }
    let system = System::with_trigger(kit);
    let first = all(kit, &Package::three("1.0", 1, "one:main"), Way::Nothing);
    assert_eq!(starts(&system.upgrade(&first)), 1, "an installation");
    let second = all(kit, &Package::three("2.0", 1, "two:main"), Way::Nothing);
    // For what came, and for what went.
    assert_eq!(starts(&system.upgrade(&second)), 2, "an upgrade");
    let mut remove = system.rpm();
    remove.args(["-e", "--nodeps", "python3-plain", "python3-eggy"]);
    assert_eq!(starts(&remove), 1, "a removal");
}

#[test]
fn a_trigger_that_fails_fails_no_transaction() {
    let Some(kit) = a_kit() else { return };
    let system = System::with_trigger(kit);
    // Where the system's cache would be is something that is none.
    fs::remove_dir_all(system.at(SYSTEM_ROOT)).unwrap();
    fs::write(system.at(SYSTEM_ROOT), "").unwrap();
    for packages in [
        Package::three("1.0", 1, "one:main"),
        Package::three("2.0", 1, "two:main"),
    ] {
        let output = process::succeed(&mut system.upgrade(&all(kit, &packages, Way::Macros)));
        let said = process::stderr(&output);
        assert!(
            said.contains("epcache: ") && !said.contains("scriptlet"),
            "{said}"
        );
        assert_right(&system, &packages, "a trigger that failed");
    }
}

#[test]
fn a_trigger_does_not_ask_the_environment_of_who_installs() {
    let Some(kit) = a_kit() else { return };
    let system = System::with_trigger(kit);
    let packages = Package::three("1.0", 1, "one:main");
    let mut rpm = system.upgrade(&all(kit, &packages, Way::Nothing));
    process::succeed(rpm.env("EPCACHE_PATH", "").env("EPCACHE_MODE", "nonsense"));
    assert_right(&system, &packages, "a strange environment");
    assert_eq!(status(&system), ("fresh".to_owned(), "system".to_owned()));
}

#[test]
fn the_command_comes_to_a_system_and_goes_from_it_and_leaves_nothing() {
    let Some(kit) = a_kit() else { return };
    let system = System::without_trigger(kit);
    let packages = Package::three("1.0", 1, "one:main");
    system.install(&all(kit, &packages, Way::Nothing));
    system.install(std::slice::from_ref(&kit.command));
    // What was there before is synced when the trigger comes.
    assert_right(&system, &packages, "the command came");
    assert_eq!(status(&system), ("fresh".to_owned(), "system".to_owned()));
    system.remove(&["epcache"]);
    assert!(!system.at(SYSTEM_ROOT).exists());
    assert_right(&system, &packages, "the command went");

    system.install(std::slice::from_ref(&kit.command));
    system.remove(&["epcache", "python3-plain", "python3-eggy", "python3-quiet"]);
    assert!(!system.at(SYSTEM_ROOT).exists(), "all in one transaction");
}

#[test]
fn an_upgrade_that_a_scriptlet_refuses_leaves_the_answers_right() {
    let Some(kit) = a_kit() else { return };
    for way in [Way::Macros, Way::Nothing] {
        for trigger in [true, false] {
            let system = if trigger {
                System::with_trigger(kit)
            } else {
                System::without_trigger(kit)
            };
            let old = Package::three("1.0", 1, "one:main");
            system.install(&all(kit, &old, way));
            let mut new = Package::three("2.0", 1, "two:main");
            new[0].scriptlets = "%pre\nexit 1\n";
            let output = process::finish(&mut system.upgrade(&all(kit, &new, way)));
            assert!(!output.status.success());
            // The others are upgraded.
            new[0] = old[0].clone();
            let place = format!("{way:?}, trigger {trigger}, a %pre that fails");
            assert_right(&system, &new, &place);
        }
    }
}

#[test]
fn an_upgrade_for_which_the_disk_is_too_small_leaves_the_answers_right() {
    let Some(kit) = a_kit() else { return };
    for way in [Way::Macros, Way::Nothing] {
        let Some(system) = System::in_memory(kit, "mode=755,size=160m") else {
            return skip("a full disk: no tmpfs can be mounted here");
        };
        let old = Package::three("1.0", 1, "one:main");
        system.install(&all(kit, &old, way));
        let mut new = Package::three("2.0", 1, "two:main");
        new[0].module_kib = 8 * 1024;
        let new = all(kit, &new, way);
        // Leaves one MiB.
        let free = rustix::fs::statvfs(system.root()).unwrap();
        let size = (free.f_bavail * free.f_frsize) - (1 << 20);
        fs::write(
            system.at("/filler"),
            vec![0; usize::try_from(size).unwrap()],
        )
        .unwrap();
        // rpm sees it coming, and if it is told not to look, it fails in the midst.
        for options in [&[][..], &["--ignoresize"]] {
            let output = process::finish(system.upgrade(&new[..1]).args(options));
            assert!(!output.status.success(), "{options:?}");
            assert_right(&system, &old, &format!("{way:?}, a full disk, {options:?}"));
        }
    }
}

/// What an installation of packages changes.
const CHANGED: [&str; 3] = ["/usr/lib/python3.12", VENDOR_ROOT, "/var"];

/// What was tried with an upgrade that is killed.
struct Tried {
    /// The calls of the upgrade that changed names, in their order.
    calls: Vec<strace::Call>,
    /// How often it was killed.
    killed: usize,
    /// The modes in which the answers were wrong, each with the call before which it was killed.
    wrong: Vec<(&'static str, usize)>,
}

/// Kills rpm at each rename and removal of an upgrade in the site directory or its mirror, each time from the same state.
fn kill_at_each(system: &System, upgrade: &Command) -> Tried {
    const CALLS: [&str; 4] = ["rename", "renameat", "unlink", "unlinkat"];
    let kept = system.scratch().path_entry("kept");
    let keep = |path: &str| kept.join(path.replace('/', "-"));
    for path in CHANGED {
        if system.at(path).exists() {
            copy_tree(&system.at(path), &keep(path));
        }
    }
    let restore = || {
        for path in CHANGED {
            fs::remove_dir_all(system.at(path)).ok();
            if keep(path).exists() {
                copy_tree(&keep(path), &system.at(path));
            }
        }
    };
    let (output, calls) = strace::trace(upgrade, &format!("trace={}", CALLS.join(",")));
    assert!(output.status.success(), "{}", process::stderr(&output));
    let mut tried = Tried {
        killed: 0,
        wrong: Vec::new(),
        calls,
    };
    for (position, call) in tried.calls.iter().enumerate() {
        if !call.touches("site-packages") {
            continue;
        }
        let before = &tried.calls[..position];
        let nth = before.iter().filter(|it| it.name == call.name).count() + 1;
        restore();
        let output = strace::kill_at(upgrade, &call.name, nth);
        tried.killed += usize::from(output.status.signal() == Some(9));
        let truth = system.truth();
        for mode in ["exact", "fast"] {
            if system.answers(mode) != truth {
                tried.wrong.push((mode, position));
            }
        }
    }
    tried
}

impl Tried {
    /// The moment in which mode `fast`, which believes by name, may be wrong: the new `entry_points.txt` is there, and
    /// the old mirror file has not been replaced or removed yet.
    fn is_in_between(&self, position: usize) -> bool {
        let source = |call: &strace::Call| {
            call.name.starts_with("rename") && call.touches("\"entry_points.txt;")
        };
        let copy = |call: &strace::Call| call.touches(VENDOR_ROOT) && call.touches("-info.txt");
        let from = self.calls.iter().position(source);
        let to = self.calls.iter().rposition(copy);
        from.zip(to)
            .is_some_and(|(from, to)| from < position && position <= to)
    }
}

#[test]
fn an_upgrade_that_is_killed_leaves_the_answers_right() {
    let Some(kit) = a_kit() else { return };
    if let Err(reason) = strace::available() {
        return missing(&format!("killing rpm: {reason}"));
    }
    for (was, way, trigger, version) in [
        (Way::Macros, Way::Macros, true, "1.0"),
        (Way::Macros, Way::Macros, false, "2.0"),
        (Way::Macros, Way::Macros, false, "1.0"),
        (Way::Macros, Way::Nothing, false, "1.0"),
        (Way::Nothing, Way::Macros, false, "1.0"),
        (Way::Nothing, Way::Nothing, true, "2.0"),
    ] {
        let system = if trigger {
            System::with_trigger(kit)
        } else {
            System::without_trigger(kit)
        };
        let [old, ..] = Package::three("1.0", 1, "one:main");
        let [new, ..] = Package::three(version, 2, "new:main");
        system.install(&[kit.package(&old, was)]);
        let upgrade = || system.upgrade(&[kit.package(&new, way)]);
        let mut tried = kill_at_each(&system, &upgrade());
        let place = format!("{was:?} to {way:?}, trigger {trigger}, to {version}");
        assert!(tried.killed >= 3, "{place}: killed {} times", tried.killed);
        let mut wrong = std::mem::take(&mut tried.wrong);
        if !trigger && version == old.version {
            wrong.retain(|(mode, position)| *mode == "exact" || !tried.is_in_between(*position));
        }
        let wrong: Vec<_> = wrong
            .iter()
            .map(|(mode, position)| (mode, &tried.calls[*position].text))
            .collect();
        assert!(wrong.is_empty(), "{place}: {wrong:#?}");
        // What was killed is tried again. rpm stumbles over the files of one that began in the same second.
        let deadline = Instant::now() + PATIENCE;
        while !process::finish(&mut upgrade()).status.success() {
            assert!(Instant::now() < deadline, "{place}: it can't be done again");
        }
        assert_right(&system, &[new], &place);
    }
}

/// A spec of several packages, some lists of which are in files, one of which is empty.
const SEVERAL: &str = r"
%define python3_sitelib /usr/lib/python3.12/site-packages
Name: several
Version: 1.0
Release: 1
Summary: Packages for a test
License: MIT
BuildArch: noarch
AutoReqProv: no
%description
No files.
%package -n python3-one
Summary: One
%description -n python3-one
One.
%package two
Summary: Two
%description two
Two.
%package doc
Summary: Documents
%description doc
No distribution.
%install
for dist in one-1.0 two_words-1.0 listed-1.0 ghost-1.0; do
    install -d %{buildroot}%{python3_sitelib}/$dist.dist-info
    printf '[g]
x = y
' >%{buildroot}%{python3_sitelib}/$dist.dist-info/entry_points.txt
done
install -d %{buildroot}/usr/share/several
touch %{buildroot}/usr/share/several/README
cat >two.files <<'END'
%%dir %{python3_sitelib}/listed-1.0.dist-info
%{python3_sitelib}/listed-1.0.dist-info/entry_points.txt
END
%files
%files doc
/usr/share/several
%files -n python3-one
%dir %{python3_sitelib}
%{python3_sitelib}/o*-%{version}.dist-info/
%files two -f two.files
%{python3_sitelib}/two_words-%{version}.dist-info/entry_points.txt
%ghost %{python3_sitelib}/ghost-1.0.dist-info
%changelog
";

/// The mirror files in the packages below `top`, each with the name of its package.
fn shipped(top: &Path) -> Vec<String> {
    let mut shipped = Vec::new();
    for package in built(top) {
        let file = package.file_name().unwrap().to_str().unwrap();
        let (name, _) = file.split_once("-1.0").unwrap();
        for (path, _) in contents(&package) {
            if path.starts_with(VENDOR_ROOT) && path.extension().is_some_and(|it| it == "txt") {
                let mirror_file = path.file_name().unwrap().to_str().unwrap();
                let dist = mirror_file.strip_suffix("-1.0.dist-info.txt").unwrap();
                shipped.push(format!("{name} {dist}"));
            }
        }
    }
    shipped.sort();
    shipped
}

/// What the packages below `top` have beside mirror files.
fn others(top: &Path) -> Vec<(PathBuf, String)> {
    let packages = built(top).into_iter();
    packages
        .flat_map(|package| contents(&package))
        .filter(|(path, _)| !path.starts_with(VENDOR_ROOT))
        .collect()
}

/// Builds a spec with the build policy and without it, where it ships nothing; what was shipped with it, and what was said.
fn with_policy(kit: &Kit, spec: &str, place: &str) -> (Vec<String>, String) {
    let scratch = Scratch::new();
    let [without, with] = [false, true].map(|policy| {
        let top = scratch.join(if policy { "with" } else { "without" });
        let output =
            process::finish(&mut kit.rpmbuild(&top, spec, policy, Surroundings::default()));
        let said = process::stderr(&output);
        assert!(output.status.success(), "{place}, policy {policy}: {said}");
        assert!(!said.contains("listed twice"), "{place}: {said}");
        (top, said)
    });
    assert_eq!(others(&with.0), others(&without.0), "{place}");
    (shipped(&with.0), with.1)
}

#[test]
fn the_build_policy_puts_each_mirror_file_into_the_package_of_its_distribution() {
    let Some(kit) = a_kit() else { return };
    let (shipped, said) = with_policy(kit, SEVERAL, "several packages");
    let expected = [
        "python3-one one",
        "several-two listed",
        "several-two two_words",
    ];
    assert_eq!(shipped, expected);
    assert!(
        said.contains("no mirror file for /usr/lib/python3.12/site-packages/ghost-1.0.dist-info: no %files lists it"),
        "{said}"
    );
}

/// A spec with two packages and the distributions `one` and `two`: what stands before it, at the end of %install, and at its end.
fn two_packages(before: &str, install: &str, files: &str) -> String {
    format!(
        r"%global dists {SITE}
{before}
Name: main
Version: 1.0
Release: 1
Summary: Packages for a test
License: MIT
%{{!?is_arch:BuildArch: noarch}}
AutoReqProv: no
%description
What %%files lists.
%package two
Summary: Two
BuildArch: noarch
%description two
Two.
%install
for dist in one-1.0 two-1.0; do
    install -d %{{buildroot}}%{{dists}}/$dist.dist-info
    printf '[g]\nx = y\n' >%{{buildroot}}%{{dists}}/$dist.dist-info/entry_points.txt
    touch %{{buildroot}}%{{dists}}/$dist.dist-info/METADATA %{{buildroot}}%{{dists}}/$dist.dist-info/RECORD
done
{install}
{files}
"
    )
}

const EACH: &str = "%files\n%{dists}/one-1.0.dist-info\n%files two\n%{dists}/two-1.0.dist-info\n";

#[test]
fn the_build_policy_understands_what_lists_of_files_mean() {
    let Some(kit) = a_kit() else { return };
    let own_lists = "echo %{dists}/one-1.0.dist-info >one.files
printf '%%%%dir %%s\n%%s/*\n' %{dists}/two-1.0.dist-info %{dists}/two-1.0.dist-info >two.files";
    let debug_package = "%global is_arch 1
%global __debug_install_post install -d %{buildroot}/usr/lib/debug && \
objcopy --only-keep-debug %{buildroot}/usr/bin/one %{buildroot}/usr/lib/debug/one.debug && \
echo /usr/lib/debug/one.debug >debugfiles.list
%define install %{debug_package}\\
%%install";
    let compile = "echo 'int main(void) { return 0; }' >main.c
install -d %{buildroot}/usr/bin
gcc -o %{buildroot}/usr/bin/one main.c";
    let with_program = EACH.replacen("%files\n", "%files\n/usr/bin/one\n", 1);
    let mentioned = format!(
        "{EACH}# The %files end\n%changelog\n* Mon Nov 13 2023 A <a@example.org> - 1\n- Fix  %files  too\n"
    );
    let odd_names = ["mirrors", "main"].map(|name| {
        format!("%package {name}\nSummary: None\n%description {name}\nNone.\n%files {name}\n")
    });
    let odd_names = format!("{EACH}{}{}", odd_names[0], odd_names[1]);
    let each = ["main one", "main-two two"];
    let both = ["main one", "main two"];
    for (case, before, install, files, expected) in [
        ("nothing special", "", "", EACH, each),
        (
            "a list of its own each",
            "",
            own_lists,
            "%files -f one.files\n%files two -f two.files\n",
            each,
        ),
        (
            "a package for debugging",
            debug_package,
            compile,
            &with_program,
            each,
        ),
        (
            "a policy of the distribution's own",
            "%global __arch_install_post echo 'a\\\\b' 100%% | cat",
            "",
            EACH,
            each,
        ),
        ("texts that name %files", "", "", &mentioned, each),
        (
            "packages with names as the policy may give them",
            "",
            "",
            &odd_names,
            each,
        ),
        (
            "modes that hide nothing from anybody",
            "",
            "",
            "%files\n%defattr(644, root, root, 755)\n%{dists}/one-1.0.dist-info\n%files two\n%defattr(-,root,root)\n%attr(0755,root,root) %dir %{dists}/two-1.0.dist-info\n%attr(0600,root,root) %{dists}/two-1.0.dist-info/[MR]*\n%attr(0644,root,root) %{dists}/two-1.0.dist-info/entry_points.txt\n",
            each,
        ),
        (
            "a comment",
            "",
            "",
            "%files\n# moved: %{dists}/two-1.0.dist-info\n%{dists}/one-1.0.dist-info\n%files two\n%{dists}/two-1.0.dist-info\n",
            each,
        ),
        (
            "an %exclude of a metadata directory",
            "",
            "",
            "%files\n%{dists}/*\n%exclude %{dists}/two-1.0.dist-info\n%files two\n%{dists}/two-1.0.dist-info\n",
            each,
        ),
        (
            "an %exclude of entry_points.txt",
            "",
            "",
            "%files\n%{dists}/*\n%exclude %{dists}/two-1.0.dist-info/entry_points.txt\n%files two\n%{dists}/two-1.0.dist-info/entry_points.txt\n",
            each,
        ),
        (
            "braces",
            "",
            "",
            "%files\n%attr(-, root, root) %{dists}/{one,t{w,}o}-1.0.dist-info/\n%files two\n",
            both,
        ),
        (
            "an %exclude of another file",
            "",
            "",
            "%files\n%{dists}/*.dist-info\n%exclude %{dists}/*.dist-info/RECORD\n%files two\n",
            both,
        ),
        (
            "lines of the spec's own",
            "",
            "%epcache_install",
            "%files\n%{dists}\n%epcache_files\n%files two\n",
            both,
        ),
        (
            "a directory above all",
            "",
            "install -d %{buildroot}%{_datadir}",
            "%files\n%{_prefix}\n%files two\n",
            both,
        ),
    ] {
        let (shipped, said) = with_policy(kit, &two_packages(before, install, files), case);
        assert_eq!(shipped, expected, "{case}: {said}");
        assert!(!said.contains("brp-epcache:"), "{case}: {said}");
    }
}

#[test]
fn the_build_policy_leaves_out_what_is_not_certain_and_says_why() {
    let Some(kit) = a_kit() else { return };
    let by_hand = "install -Dpm644 %{buildroot}%{dists}/one-1.0.dist-info/entry_points.txt %{buildroot}/usr/share/epcache%{dists}/one-1.0.dist-info.txt";
    let one = &["main one"][..];
    for (case, install, files, expected, why) in [
        (
            "a line that is not there",
            "",
            "%files\n%{dists}/one-1.0.dist-info\n%if 0\n%{dists}/two-1.0.dist-info\n%endif\n%files two\n%{dists}/two-1.0.dist-info\n",
            one,
            "it is not certain whether %files of (main) two lists it",
        ),
        (
            "a section that is there perhaps",
            "",
            "%files\n%{dists}/one-1.0.dist-info\n%if 1\n%files two\n%{dists}/two-1.0.dist-info\n%endif\n",
            one,
            "it is not certain whether %files of (main) two lists it",
        ),
        (
            "two that list the same",
            "",
            "%files\n%{dists}/*\n%files two\n%{dists}/two-1.0.dist-info\n",
            one,
            "it is not certain whether %files of (main) two lists it",
        ),
        (
            "a section that a macro makes",
            "",
            "%files\n%{dists}/one-1.0.dist-info\n%{expand:\n%%files two\n%{dists}/two-1.0.dist-info\n}\n",
            &[],
            "a macro of the spec makes %files two",
        ),
        (
            "a line for all mirror files",
            by_hand,
            "%files\n%{dists}/one-1.0.dist-info\n/usr/share/*\n%files two\n%{dists}/two-1.0.dist-info\n",
            one,
            "%files of (main) may have its mirror file already",
        ),
        (
            "a list with a macro",
            "echo '%%{dists}/two-1.0.dist-info' >two.files",
            "%files -f two.files\n%{dists}/one-1.0.dist-info\n%files two\n",
            &[],
            "it is not certain that %files of (main) lists it",
        ),
        (
            "a name with a space",
            "mv %{buildroot}%{dists}/two-1.0.dist-info '%{buildroot}%{dists}/two -1.0.dist-info'",
            "%files\n%{dists}/*\n%files two\n",
            one,
            "its name has a character that means something in a list of files",
        ),
        (
            "a name that is a pattern",
            "mv %{buildroot}%{dists}/two-1.0.dist-info %{buildroot}%{dists}/'two[12]-1.0.dist-info'",
            "%files\n%{dists}\n%files two\n",
            one,
            "its name has a character that means something in a list of files",
        ),
        (
            "a file for the owner alone",
            "",
            "%files\n%{dists}/one-1.0.dist-info\n%files two\n%dir %{dists}/two-1.0.dist-info\n%{dists}/two-1.0.dist-info/[MR]*\n%attr(0600, root, root) %{dists}/two-1.0.dist-info/entry_points.txt\n",
            one,
            "not everybody may read it",
        ),
        (
            "files for a group",
            "",
            "%files\n%{dists}/one-1.0.dist-info\n%files two\n%defattr(0640,root,daemon)\n%{dists}/two-1.0.dist-info\n",
            one,
            "not everybody may read it",
        ),
        (
            "a directory for a group",
            "",
            "%files\n%{dists}/one-1.0.dist-info\n%files two\n%attr(0750,root,daemon) %dir %{dists}/two-1.0.dist-info\n%{dists}/two-1.0.dist-info/*\n",
            one,
            "not everybody may read it",
        ),
        (
            "directories for a group, by a list",
            "printf '%%%%defattr(-,root,daemon,0750)\\n%%s\\n' %{dists}/two-1.0.dist-info >two.files",
            "%files\n%{dists}/one-1.0.dist-info\n%files two -f two.files\n",
            one,
            "not everybody may read it",
        ),
    ] {
        let (shipped, said) = with_policy(kit, &two_packages("", install, files), case);
        assert_eq!(shipped, expected, "{case}: {said}");
        let place = "no mirror file for /usr/lib/python3.12/site-packages/two";
        let is_it = |line: &str| line.contains(place) && line.ends_with(&format!(": {why}"));
        assert!(said.lines().any(is_it), "{case}: {said}");
    }
}

#[test]
fn the_build_policy_leaves_alone_what_has_no_distribution_and_what_turns_it_off() {
    let Some(kit) = a_kit() else { return };
    let without_install = "Name: none\nVersion: 1.0\nRelease: 1\nSummary: Nothing\nLicense: MIT\nBuildArch: noarch\n%description\nNothing.\n%files\n";
    let late = |line| {
        let install = format!("{EACH}{line}\n%install\n");
        two_packages("", "", "").replacen("%install\n", &install, 1)
    };
    for (case, spec) in [
        (
            "off",
            two_packages("%global __brp_epcache %{nil}", "", EACH),
        ),
        (
            "no policy at all",
            two_packages("%global __spec_install_post %{nil}", "", EACH),
        ),
        (
            "no site directory",
            two_packages("", "", EACH).replace(SITE, "/usr/share/main"),
        ),
        ("no %install", without_install.to_owned()),
        (
            "an %install that is not there",
            without_install.replace("%files", "%if 0\n%install\ntrue\n%endif\n%files"),
        ),
        ("an %install that leaves", two_packages("", "exit 0", EACH)),
        ("off after %files", late("%global __brp_epcache %{nil}")),
        (
            "no policy at all after %files",
            late("%define __spec_install_post %{nil}"),
        ),
        (
            "the macros without a distribution",
            two_packages(
                "",
                "rm -r %{buildroot}%{dists}\ninstall -d %{buildroot}/opt\n%epcache_install --path /opt",
                "%files\n/opt\n%epcache_files\n",
            ),
        ),
    ] {
        let (shipped, said) = with_policy(kit, &spec, case);
        assert_eq!(shipped, [""; 0], "{case}: {said}");
    }
}

#[test]
fn builds_beside_each_other_do_not_share_what_the_build_policy_writes() {
    let Some(kit) = a_kit() else { return };
    let scratch = Scratch::new();
    let spec = two_packages("", "", EACH);
    let other = spec.replace("Name: main", "Name: other");
    let top = scratch.join("top");
    // Two rpmbuilds that make one of these at the same moment fail: rpm takes it for an error that
    // what it did not find a moment ago is there.
    for directory in ["BUILD", "BUILDROOT", "RPMS/noarch", "SRPMS"] {
        fs::create_dir_all(top.join(directory)).unwrap();
    }
    let build = |spec, home, options: &[&str]| {
        let surroundings = Surroundings {
            home,
            ..Surroundings::default()
        };
        process::succeed(kit.rpmbuild(&top, spec, true, surroundings).args(options));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| build(&spec, "one", &[]));
        scope.spawn(|| build(&other, "another", &[]));
    });
    let expected = ["main one", "main-two two", "other one", "other-two two"];
    assert_eq!(shipped(&top), expected);
    // And once more, with all that the first left; and from that %install again.
    build(&spec, "one", &["--noclean"]);
    assert_eq!(shipped(&top), expected);
    build(&spec, "one", &["--short-circuit"]);
    assert_eq!(shipped(&top), expected);
    // What those left says nothing of a build in which the policy is not run.
    build(&two_packages("", "exit 0", EACH), "one", &[]);
    assert_eq!(shipped(&top), expected[2..]);
}

/// What `rpmlint` says of packages: the package's name, the tag, and what it is about.
fn rpmlint(kit: &Kit, packages: &[PathBuf]) -> Vec<String> {
    let settings = kit.machine().join("etc/xdg/rpmlint/epcache.toml");
    let output = process::finish(
        Command::new("rpmlint")
            .env("LC_ALL", "C.UTF-8")
            .arg("-c")
            .arg(settings)
            .args(packages),
    );
    let text = process::stdout(&output);
    assert!(
        text.contains("packages and"),
        "{text}{}",
        process::stderr(&output)
    );
    let mut said: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(_, said)| said.starts_with("E: ") || said.starts_with("W: "))
        .map(|(package, said)| {
            let (name, _architecture) = package.split_once('.').unwrap();
            format!("{name}: {}", said[3..].trim())
        })
        .collect();
    said.sort();
    said
}

/// What is said of each package of ours, and is for a distribution to set, or where rpm wants its macros to be.
const OF_EACH: [&str; 4] = [
    "no-packager-tag",
    "no-group-tag",
    "no-signature",
    "only-non-binary-in-usr-lib",
];

/// What is said of one, to the letter.
const OF_ONE: [&str; 13] = [
    // The three are built together, so they go together.
    "epcache-brp: requires-on-release epcache-rpm-macros = 0.1.0-1",
    "epcache-rpm-macros: requires-on-release epcache = 0.1.0-1",
    // Takes the name for that of translations.
    "epcache-brp: no-dependency-on locales-brp",
    // As these tests build it.
    "epcache: unstripped-binary-or-object /usr/bin/epcache",
    // There is one; this rpmlint knows compressed ones only.
    "epcache: no-manual-page-for-binary epcache",
    // The names of licenses are a distribution's list; and it does not understand the expression.
    "epcache: invalid-license-exception LLVM-exception",
    "epcache: invalid-license (Apache-2.0",
    "epcache: invalid-license MIT",
    "epcache: invalid-license Apache-2.0",
    "epcache-brp: invalid-license MIT",
    "epcache-brp: invalid-license Apache-2.0",
    "epcache-rpm-macros: invalid-license MIT",
    "epcache-rpm-macros: invalid-license Apache-2.0",
];

#[test]
fn rpmlint_has_nothing_to_say_of_what_is_shipped() {
    let Some(kit) = a_kit() else { return };
    let found = Command::new("rpmlint").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        return missing("there is no rpmlint, so no package is checked (Debian: rpmlint)");
    }
    let packages = Package::three("1.0", 1, "one:main");
    let bare = rpmlint(kit, &all(kit, &packages, Way::Nothing));
    for way in Way::SHIPPING {
        let said = rpmlint(kit, &all(kit, &packages, way));
        assert_eq!(said, bare, "{way:?}");
    }
    let mut own = kit.helpers.to_vec();
    own.push(kit.command.clone());
    let mut said = rpmlint(kit, &own);
    // How a distribution compresses its manual pages; for exactly those that we have.
    let pages = contents(&kit.command)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.starts_with("/usr/share/man"))
        .map(|path| format!("epcache: manpage-not-compressed bz2 {}", path.display()));
    let mut expected: Vec<String> = pages.collect();
    for package in ["epcache", "epcache-brp", "epcache-rpm-macros"] {
        expected.extend(OF_EACH.map(|tag| format!("{package}: {tag}")));
    }
    expected.extend(OF_ONE.map(str::to_owned));
    said.retain(|line| !expected.contains(line));
    assert_eq!(said, [""; 0]);
}
