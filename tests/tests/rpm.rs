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
    Kit, Package, SITE, SYSTEM_ROOT, System, VENDOR_ROOT, Way, built, contents, kit,
};
use epcache_tests::skip::{missing, skip};
use epcache_tests::strace::{self, FILE_SYSTEM};

/// Longer than rpm's clock takes to go on by a second.
const PATIENCE: Duration = Duration::from_secs(30);

fn a_kit() -> Option<&'static Kit> {
    kit(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// Packages that were built, in a directory that goes with this.
struct Built<'k> {
    kit: &'k Kit,
    scratch: Scratch,
    way: Way,
}

impl<'k> Built<'k> {
    fn new(kit: &'k Kit, way: Way) -> Self {
        let scratch = Scratch::new();
        Self { kit, scratch, way }
    }

    fn one(&self, package: &Package) -> PathBuf {
        let label = format!(
            "{}-{}-{}-{}-{}",
            package.name,
            package.version,
            package.release,
            package.value.unwrap_or("none").replace(':', "_"),
            package.scriptlets.len(),
        );
        self.kit
            .build_in(&self.scratch.join(label), package, self.way)
    }

    fn all(&self, packages: &[Package]) -> Vec<PathBuf> {
        packages.iter().map(|package| self.one(package)).collect()
    }
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
    let built = Built::new(kit, way);
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
        system.install(&built.all(packages));
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
        let built = Built::new(kit, way);
        let system = System::with_trigger(kit);
        system.install(&built.all(&Package::three("1.0", 1, "one:main")));
        for packages in [
            Package::three("1.0", 1, "new:main"),
            Package::three("2.0", 1, "two:main"),
        ] {
            process::succeed(system.upgrade(&built.all(&packages)).arg("--notriggers"));
            assert_right(&system, &packages, &format!("{way:?}, no triggers"));
            assert_eq!(status(&system).0, "stale");
        }
    }
}

#[test]
fn a_payload_has_the_mirror_files_of_its_own_distribution_alone() {
    let Some(kit) = a_kit() else { return };
    for package in Package::three("1.0", 1, "one:main") {
        let bare: Vec<_> = contents(&Built::new(kit, Way::Nothing).one(&package));
        let mut ships: Vec<(PathBuf, String)> = Path::new(VENDOR_ROOT)
            .join(&SITE[1..])
            .ancestors()
            .take_while(|it| it.starts_with(VENDOR_ROOT))
            .map(|it| (it.to_owned(), "drwxr-xr-x root root".to_owned()))
            .collect();
        let mirror_file = format!("{VENDOR_ROOT}{SITE}/{}.txt", package.metadata_dir());
        ships.push((mirror_file.into(), "-rw-r--r-- root root".to_owned()));
        ships.extend(bare);
        ships.sort();
        for way in Way::SHIPPING {
            let mut found = contents(&Built::new(kit, way).one(&package));
            found.sort();
            assert_eq!(found, ships, "{way:?}: {package:?}");
        }
    }
}

#[test]
fn two_builds_are_identical_also_on_another_file_system() {
    let Some(kit) = a_kit() else { return };
    let elsewhere = Path::new("/dev/shm");
    if !elsewhere.is_dir() {
        return skip("a build on a tmpfs: no /dev/shm here");
    }
    for way in Way::SHIPPING {
        for package in Package::three("1.0", 1, "one:main") {
            let [first, second] = [std::env::temp_dir(), elsewhere.to_owned()].map(|base| {
                let scratch = Scratch::within(&base);
                fs::read(kit.build_in(&scratch.join("top"), &package, way)).unwrap()
            });
            assert!(first == second, "{way:?}: {package:?}");
        }
    }
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
        system.install(&Built::new(kit, way).all(&packages));
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
    let built = Built::new(kit, Way::Nothing);
    let system = System::with_trigger(kit);
    let first = built.all(&Package::three("1.0", 1, "one:main"));
    assert_eq!(starts(&system.upgrade(&first)), 1, "an installation");
    let second = built.all(&Package::three("2.0", 1, "two:main"));
    // For what came, and for what went.
    assert_eq!(starts(&system.upgrade(&second)), 2, "an upgrade");
    let mut remove = system.rpm();
    remove.args(["-e", "--nodeps", "python3-plain", "python3-eggy"]);
    assert_eq!(starts(&remove), 1, "a removal");
}

#[test]
fn a_trigger_that_fails_fails_no_transaction() {
    let Some(kit) = a_kit() else { return };
    let built = Built::new(kit, Way::Macros);
    let system = System::with_trigger(kit);
    // Where the system's cache would be is something that is none.
    fs::remove_dir_all(system.at(SYSTEM_ROOT)).unwrap();
    fs::write(system.at(SYSTEM_ROOT), "").unwrap();
    for packages in [
        Package::three("1.0", 1, "one:main"),
        Package::three("2.0", 1, "two:main"),
    ] {
        let output = process::succeed(&mut system.upgrade(&built.all(&packages)));
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
    let built = Built::new(kit, Way::Nothing);
    let mut rpm = system.upgrade(&built.all(&packages));
    process::succeed(rpm.env("EPCACHE_PATH", "").env("EPCACHE_MODE", "nonsense"));
    assert_right(&system, &packages, "a strange environment");
    assert_eq!(status(&system), ("fresh".to_owned(), "system".to_owned()));
}

#[test]
fn the_command_comes_to_a_system_and_goes_from_it_and_leaves_nothing() {
    let Some(kit) = a_kit() else { return };
    let system = System::without_trigger(kit);
    let packages = Package::three("1.0", 1, "one:main");
    system.install(&Built::new(kit, Way::Nothing).all(&packages));
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
    for way in [Way::ByHand, Way::Macros, Way::Policy, Way::Nothing] {
        for trigger in [true, false] {
            let built = Built::new(kit, way);
            let system = if trigger {
                System::with_trigger(kit)
            } else {
                System::without_trigger(kit)
            };
            let old = Package::three("1.0", 1, "one:main");
            system.install(&built.all(&old));
            let mut new = Package::three("2.0", 1, "two:main");
            new[0].scriptlets = "%pre\nexit 1\n";
            let output = process::finish(&mut system.upgrade(&built.all(&new)));
            assert!(!output.status.success());
            // The others are upgraded.
            new[0] = old[0].clone();
            let place = format!("{way:?}, trigger {trigger}, a %pre that fails");
            assert_right(&system, &new, &place);
        }
    }
}

/// A file system of 160 MiB on a directory, for as long as this lives.
struct Small(PathBuf);

impl Small {
    fn on(directory: &Path) -> Option<Self> {
        let mounted = process::finish(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", "mode=755,size=160m", "none"])
                .arg(directory),
        );
        mounted.status.success().then(|| Self(directory.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("--lazy")
            .arg(&self.0)
            .status()
            .ok();
    }
}

#[test]
fn an_upgrade_for_which_the_disk_is_too_small_leaves_the_answers_right() {
    let Some(kit) = a_kit() else { return };
    for way in [Way::Macros, Way::Nothing] {
        let Some((system, _mounted)) = System::in_mount(kit, Small::on) else {
            return skip("a full disk: no tmpfs can be mounted here");
        };
        let built = Built::new(kit, way);
        let old = Package::three("1.0", 1, "one:main");
        system.install(&built.all(&old));
        let mut new = Package::three("2.0", 1, "two:main");
        new[0].module_kib = 8 * 1024;
        let new = built.all(&new);
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

/// Kills rpm at each rename and removal of an upgrade, each time from the same state, and tells at which
/// of them the answers were not CPython's.
fn wrong_when_killed(system: &System, upgrade: &Command) -> (usize, Vec<String>) {
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
    let mut killed = 0;
    let mut wrong = Vec::new();
    for name in CALLS {
        let all: Vec<_> = calls.iter().filter(|call| call.name == name).collect();
        for (nth, call) in all.iter().enumerate() {
            if !call.touches("site-packages") {
                continue;
            }
            restore();
            let output = strace::kill_at(upgrade, name, nth + 1);
            killed += usize::from(output.status.signal() == Some(9));
            let truth = system.truth();
            for mode in ["exact", "fast"] {
                if system.answers(mode) != truth {
                    wrong.push(format!("mode {mode}, before {}", call.text));
                }
            }
        }
    }
    (killed, wrong)
}

/// The one case in which the answers may be wrong, and how: a rebuild of the same version, which replaces `entry_points.txt`
/// and the mirror file one after the other, where no index is there to tell that the former changed.
fn between_the_two_renames(call: &str) -> bool {
    call.contains("plain.py;") || call.contains("plain-1.0.dist-info.txt;")
}

#[test]
fn an_upgrade_that_is_killed_leaves_the_answers_right() {
    let Some(kit) = a_kit() else { return };
    if let Err(reason) = strace::available() {
        return missing(&format!("killing rpm: {reason}"));
    }
    for (way, trigger, version, value) in [
        (Way::Macros, true, "2.0", "two:main"),
        (Way::Macros, true, "1.0", "new:main"),
        (Way::Macros, false, "2.0", "two:main"),
        (Way::Macros, false, "1.0", "new:main"),
        (Way::Nothing, true, "2.0", "two:main"),
    ] {
        let built = Built::new(kit, way);
        let system = if trigger {
            System::with_trigger(kit)
        } else {
            System::without_trigger(kit)
        };
        let [old, ..] = Package::three("1.0", 1, "one:main");
        let [new, ..] = Package::three(version, 2, value);
        system.install(&[built.one(&old)]);
        let upgrade = system.upgrade(&[built.one(&new)]);
        let (killed, mut wrong) = wrong_when_killed(&system, &upgrade);
        let place = format!("{way:?}, trigger {trigger}, to {version}");
        assert!(killed >= 3, "{place}: killed {killed} times");
        if !trigger && version == old.version {
            wrong.retain(|call| !between_the_two_renames(call));
        }
        assert_eq!(wrong, [""; 0], "{place}");
        // What was killed is tried again. rpm stumbles over the files of one that began in the same second.
        let deadline = Instant::now() + PATIENCE;
        while !process::finish(&mut system.upgrade(&[built.one(&new)]))
            .status
            .success()
        {
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

#[test]
fn the_build_policy_puts_each_mirror_file_into_the_package_of_its_distribution() {
    let Some(kit) = a_kit() else { return };
    let scratch = Scratch::new();
    let output = kit.build_spec(&scratch.join("top"), SEVERAL, true);
    let said = process::stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("ghost-1.0.dist-info is in no package"),
        "{said}"
    );
    let mut shipped = Vec::new();
    for package in built(&scratch.join("top")) {
        let file = package.file_name().unwrap().to_str().unwrap();
        let (name, _) = file.split_once("-1.0").unwrap();
        for (path, _) in contents(&package) {
            if path.starts_with(VENDOR_ROOT) && path.extension().is_some_and(|it| it == "txt") {
                let mirror_file = path.file_name().unwrap().to_str().unwrap();
                shipped.push(format!("{name} {mirror_file}"));
            }
        }
    }
    shipped.sort();
    assert_eq!(
        shipped,
        [
            "python3-one one-1.0.dist-info.txt",
            "several-two listed-1.0.dist-info.txt",
            "several-two two_words-1.0.dist-info.txt",
        ]
    );
}

#[test]
fn the_build_policy_leaves_alone_what_has_no_distribution_and_what_turns_it_off() {
    let Some(kit) = a_kit() else { return };
    let scratch = Scratch::new();
    let off = format!("%global __brp_epcache %{{nil}}\n{SEVERAL}");
    let without = SEVERAL.replace("/usr/lib/python3.12/site-packages", "/usr/share/several");
    for (name, spec) in [("off", off), ("without", without)] {
        let top = scratch.join(name);
        let output = kit.build_spec(&top, &spec, true);
        let said = process::stderr(&output);
        assert!(output.status.success(), "{said}");
        for package in built(&top) {
            let found = contents(&package);
            assert!(
                !found.iter().any(|(path, _)| path.starts_with(VENDOR_ROOT)),
                "{found:?}"
            );
        }
    }
}

/// What `rpmlint` says of packages, without the summary and the names of the packages.
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
        .map(|(_, said)| said.to_owned())
        .collect();
    said.sort();
    said
}

/// What is for a distribution to set: tags of its own, its names of licenses, how it compresses manual pages.
const LEFT_TO_DISTRIBUTIONS: [&str; 10] = [
    "no-packager-tag",
    "no-group-tag",
    "no-signature",
    "invalid-license",
    "manpage-not-compressed",
    "no-manual-page-for-binary",
    // Takes the names of packages for those of libraries and translations.
    "no-dependency-on",
    "no-buildroot-tag",
    // Where rpm wants its macros to be.
    "only-non-binary-in-usr-lib",
    // As these tests build it.
    "unstripped-binary-or-object",
];

#[test]
fn rpmlint_has_nothing_to_say_of_what_is_shipped() {
    let Some(kit) = a_kit() else { return };
    let found = Command::new("rpmlint").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        return missing("there is no rpmlint, so no package is checked (Debian: rpmlint)");
    }
    let packages = Package::three("1.0", 1, "one:main");
    let bare = rpmlint(kit, &Built::new(kit, Way::Nothing).all(&packages));
    for way in Way::SHIPPING {
        let said = rpmlint(kit, &Built::new(kit, way).all(&packages));
        assert_eq!(said, bare, "{way:?}");
    }
    let mut own = kit.helpers.to_vec();
    own.push(kit.command.clone());
    let mut said = rpmlint(kit, &own);
    said.retain(|line| !LEFT_TO_DISTRIBUTIONS.iter().any(|it| line.contains(it)));
    assert_eq!(said, [""; 0]);
}
