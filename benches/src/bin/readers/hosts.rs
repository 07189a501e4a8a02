//! Real applications that were not changed, in an environment for which the cache was enabled and
//! in one for which it was not.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use epcache_benches::{environment, machine};

use crate::contenders::{Contender, run_rounds};
use crate::enabled::enable;
use crate::report::Section;
use crate::venv::{Venv, Workshop};

const TITLE: &str = "Real applications";

/// What is installed from the package index.
const PACKAGES: [&str; 4] = ["python-openstackclient", "pytest", "flake8", "stevedore"];

/// Loads real plugins by a manager of stevedore's, as its users do.
const MANAGER: &str = "
from stevedore import ExtensionManager
print(sorted(ExtensionManager('cliff.formatter.list').names()))
";

/// A host, what it is called where it is not enabled and where it is, and how it is started.
type Host = (&'static str, &'static str, fn(&Venv) -> Command);

const HOSTS: [Host; 5] = [
    ("openstack --help", "openstack --help, enabled", |venv| {
        with(venv.program("openstack"), &["--help"])
    }),
    ("pytest --version", "pytest --version, enabled", |venv| {
        with(venv.program("pytest"), &["--version"])
    }),
    (
        "pytest, one empty test",
        "pytest, one empty test, enabled",
        |venv| {
            let test = venv.home.join("tests/test_nothing.py");
            let mut command = with(venv.program("pytest"), &["-q", "-p", "no:cacheprovider"]);
            command.arg(test);
            command
        },
    ),
    ("flake8 --version", "flake8 --version, enabled", |venv| {
        with(venv.program("flake8"), &["--version"])
    }),
    (
        "stevedore.ExtensionManager",
        "stevedore.ExtensionManager, enabled",
        |venv| venv.code(MANAGER),
    ),
];

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// Measures whole processes of each in both environments.
pub(crate) fn measure(workshop: &Workshop, dists: usize, rounds: u32) -> Result<Section> {
    let plain = match prepare(workshop, "hosts", dists) {
        Ok(venv) => venv,
        Err(error) => return Ok(Section::skipped(TITLE, format!("{error:#}"))),
    };
    let enabled = prepare(workshop, "hosts-enabled", dists)?;
    plain.sync()?;
    enable(&enabled)?;

    let process = |name, command| Contender::process(name, command, workshop.clock);
    let mut contenders = Vec::new();
    for (name, name_enabled, command) in HOSTS {
        let (said, said_enabled) = (said(&plain, command)?, said(&enabled, command)?);
        if let Some(difference) = first_difference(&said, &said_enabled) {
            bail!("{name} says something else where the cache is enabled: {difference}");
        }
        contenders.push(process(name, command(&plain)));
        contenders.push(process(name_enabled, command(&enabled)));
    }
    ensure!(
        enabled.is_fresh("exact")?,
        "to run the applications made their cache stale"
    );
    run_rounds(&mut contenders, rounds)?;
    let title = format!("{TITLE}, beside {dists} dists");
    Section::of(&title, rounds, &contenders, None)
}

/// An environment with the applications, and with distributions that mean nothing to them.
fn prepare(workshop: &Workshop, name: &str, dists: usize) -> Result<Venv> {
    let venv = workshop.empty_venv(name)?;
    environment::generate(&venv.site_packages, dists)?;
    keep_from_hosts(&venv)?;
    let tests = venv.home.join("tests");
    fs::create_dir(&tests).with_context(|| format!("create {}", tests.display()))?;
    let test = tests.join("test_nothing.py");
    fs::write(&test, "def test_nothing():\n    pass\n")
        .with_context(|| format!("write {}", test.display()))?;
    workshop.pip_install_into(&venv, &PACKAGES)?;
    Ok(venv)
}

/// Renames the groups that the hosts would load plugins from: there is nothing to load.
fn keep_from_hosts(venv: &Venv) -> Result<()> {
    for child in fs::read_dir(&venv.site_packages).context("list the environment")? {
        let file = child?.path().join("entry_points.txt");
        if let Ok(text) = fs::read_to_string(&file) {
            fs::write(&file, text.replace('[', "[bench."))
                .with_context(|| format!("write {}", file.display()))?;
        }
    }
    Ok(())
}

/// The words that a host prints, sorted: several print sets, in no order. Left out is what only
/// tells in which environment it was, or how long it took.
fn said(venv: &Venv, command: fn(&Venv) -> Command) -> Result<Vec<String>> {
    // What is chosen by the order of a set is the same in each run then.
    let said = machine::answer(command(venv).env("PYTHONHASHSEED", "0"))?;
    ensure!(!said.is_empty(), "a host says nothing");
    let home = venv
        .home
        .to_str()
        .context("the scratch directory's name is no UTF-8")?;
    let kept = said.lines().filter(|line| !line.contains(" passed in "));
    let mut words: Vec<String> = kept
        .flat_map(str::split_whitespace)
        .map(|word| word.replace(home, "HOME"))
        .collect();
    words.sort_unstable();
    Ok(words)
}

fn first_difference(one: &[String], other: &[String]) -> Option<String> {
    if one == other {
        return None;
    }
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    Some(format!("{:?}, not {:?}", other.get(same), one.get(same)))
}
