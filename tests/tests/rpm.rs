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

use epcache_tests::environment::{Scratch, copy_tree, files_below};
use epcache_tests::judge::Entry;
use epcache_tests::process;
use epcache_tests::rpm::{
    Kit, Package, SITE, SYSTEM_ROOT, System, VENDOR_ROOT, Way, contents, kit,
};
use epcache_tests::skip::{missing, skip};
use epcache_tests::strace::{self, FILE_SYSTEM};

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

/// What `status` says of the path entry: its state and the root that answers.
fn status(system: &System) -> (String, String) {
    let mut status = system.epcache();
    status.args(["status", "--path", SITE, "--format", "json"]);
    let rows: serde_json::Value =
        serde_json::from_slice(&process::succeed(&mut status).stdout).unwrap();
    let text = |key: &str| rows[0][key].as_str().unwrap_or("-").to_owned();
    (text("state"), text("root"))
}

/// All that can happen to packages, one after the other.
fn through_all_steps(kit: &Kit, way: Way, trigger: bool) {
    let built = Built::new(kit, way);
    let system = if trigger {
        System::with_trigger(kit)
    } else {
        System::without_trigger(kit)
    };
    let check = |installed: &[Package], step: &str| {
        let place = format!("{way:?}, trigger {trigger}, after {step}");
        assert_right(&system, installed, &place);
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
