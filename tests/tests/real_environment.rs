//! The main job on real input: hundreds of packages from the Python Package Index in one virtual
//! environment, and every answer is CPython's.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use epcache_tests::environment::{Scratch, entries};
use epcache_tests::judge::{self, Entry};
use epcache_tests::process;
use epcache_tests::skip::missing;
use epcache_tests::tools::{Tools, make_venv};

/// Below these, the environment is not the real one that this test is about.
const FEWEST_DISTS: usize = 150;
const FEWEST_ENTRY_POINTS: usize = 1_000;
/// How long all packages may take to arrive.
const INSTALL_LIMIT: Duration = Duration::from_secs(280);

/// What declares many entry points, or declares them in its own way. All have wheels.
const PACKAGES: &str = "
    python-openstackclient python-barbicanclient python-cinderclient python-designateclient
    python-glanceclient python-heatclient python-ironicclient python-ironic-inspector-client
    python-magnumclient python-manilaclient python-mistralclient python-neutronclient
    python-novaclient python-octaviaclient python-swiftclient python-vitrageclient
    python-watcherclient python-zaqarclient python-zunclient aodhclient gnocchiclient osc-placement
    keystonemiddleware oslo.messaging oslo.middleware oslo.policy
    pytest pytest-asyncio pytest-benchmark pytest-cov pytest-django pytest-flask pytest-html
    pytest-mock pytest-randomly pytest-rerunfailures pytest-timeout pytest-xdist hypothesis
    flake8 flake8-bugbear flake8-comprehensions flake8-docstrings flake8-import-order
    flake8-simplify pep8-naming hacking
    jupyter nbconvert ipykernel
    sphinx sphinx-copybutton sphinx-rtd-theme sphinxcontrib-mermaid furo myst-parser
    mkdocs tox pylint black isort twine keyring flit pre-commit
    babel pygments docutils celery sqlalchemy alembic flask fsspec setuptools wheel
";

/// Removed without a sync afterwards: one with many entry points, a small one, one without any.
const UNINSTALLED: [&str; 3] = ["python-openstackclient", "pytest-mock", "idna"];

/// The environment, and the command as its user runs it.
struct Real {
    scratch: Scratch,
    tools: Tools,
    venv: PathBuf,
    site_packages: PathBuf,
}

impl Real {
    fn build() -> Result<Self, String> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uv");
        let tools = Tools::at(&directory, &["uv", "setuptools"])?;
        let scratch = Scratch::new();
        let venv = scratch.join("venv");
        let site_packages = make_venv(&venv);
        let real = Self {
            scratch,
            tools,
            venv,
            site_packages,
        };
        real.uv(
            &["install", "--only-binary", ":all:"],
            &PACKAGES.split_whitespace().collect::<Vec<_>>(),
        )?;
        real.develop();
        Ok(real)
    }

    fn uv(&self, options: &[&str], packages: &[&str]) -> Result<(), String> {
        let mut uv = self.tools.program("uv");
        uv.args(["--quiet", "pip"]).args(options);
        uv.arg("--python")
            .arg(self.venv.join("bin/python"))
            .args(packages);
        let output = process::finish_within(&mut uv, INSTALL_LIMIT);
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "uv can't {}: {}",
            options[0],
            process::stderr(&output).trim()
        ))
    }

    /// A development install as setuptools makes it: an `.egg-info` beside the sources, and a `.pth`
    /// file that makes the sources a path entry.
    fn develop(&self) {
        let project = self.scratch.path_entry("project");
        fs::write(
            project.join("setup.py"),
            "from setuptools import setup\n\
             setup(name='developed', version='0.1', py_modules=['developed'],\n\
                   entry_points={'console_scripts': ['developed = developed:main'],\n\
                                 'pytest11': ['developed = developed']})\n",
        )
        .unwrap();
        fs::write(project.join("developed.py"), "def main(): pass\n").unwrap();
        process::succeed(
            Command::new(self.tools.python())
                .args(["setup.py", "--quiet", "egg_info"])
                .current_dir(&project),
        );
        assert!(
            project
                .join("developed.egg-info/entry_points.txt")
                .is_file()
        );
        let line = format!("{}\n", project.display());
        fs::write(self.site_packages.join("__editable__.developed.pth"), line).unwrap();
    }

    /// The environment's `sys.path`, as its own interpreter tells it, and first the directory of the
    /// scripts that run in it.
    fn sys_path(&self) -> Vec<PathBuf> {
        let output = process::succeed(
            Command::new(self.venv.join("bin/python"))
                .args(["-I", "-c", "import sys; print('\\n'.join(sys.path))"])
                .env_remove("PYTHONPATH"),
        );
        let text = process::stdout(&output);
        let site = text.lines().map(PathBuf::from);
        std::iter::once(self.venv.join("bin")).chain(site).collect()
    }

    fn expected(&self) -> Vec<Entry> {
        let sys_path = self.sys_path();
        judge::entry_points(&sys_path.iter().map(PathBuf::as_path).collect::<Vec<_>>())
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = self.scratch.epcache();
        command.arg(subcommand).arg("--venv").arg(&self.venv);
        command
    }

    /// Everything that can be asked of the environment is answered as CPython does.
    fn answers_as_cpython(&self, state: &str) {
        let expected = self.expected();
        assert_same(&entries(&mut self.command("query")), &expected, state);
        let mut groups: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
        for entry in &expected {
            groups.entry(&entry.group).or_default().push(entry.clone());
        }
        for (group, members) in &groups {
            let found = entries(self.command("query").arg(group));
            assert_same(&found, members, &format!("group {group} {state}"));
            let name = &members[members.len() / 2].name;
            let named: Vec<Entry> = members
                .iter()
                .filter(|entry| entry.name == *name)
                .cloned()
                .collect();
            let found = entries(self.command("query").args([group, name.as_str()]));
            assert_same(
                &found,
                &named,
                &format!("name {name} of group {group} {state}"),
            );
        }
        let counted = process::succeed(self.command("groups").args(["--format", "plain"]));
        let counted: BTreeMap<String, usize> = process::stdout(&counted)
            .lines()
            .map(|line| {
                let (group, count) = line.split_once('\t').unwrap();
                (group.to_owned(), count.parse().unwrap())
            })
            .collect();
        let expected: BTreeMap<String, usize> = groups
            .iter()
            .map(|(group, members)| ((*group).to_owned(), members.len()))
            .collect();
        assert_eq!(counted, expected, "groups {state}");
    }
}

/// Equal as lists; where not, the first difference is told and not thousands of lines.
fn assert_same(found: &[Entry], expected: &[Entry], state: &str) {
    if let Some(at) =
        (0..found.len().max(expected.len())).find(|&at| found.get(at) != expected.get(at))
    {
        panic!(
            "{state}: of {} found and {} expected, number {at} differs:\n{:?}\n{:?}",
            found.len(),
            expected.len(),
            found.get(at),
            expected.get(at)
        );
    }
}

#[test]
fn hundreds_of_real_packages_are_answered_as_cpython_does() {
    let real = match Real::build() {
        Ok(real) => real,
        Err(reason) => return missing(&format!("an environment of real packages: {reason}")),
    };
    let sys_path = real.sys_path();
    let dists = judge::distributions(&sys_path.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let declared: usize = dists.iter().map(|dist| dist.entry_points.len()).sum();
    assert!(dists.len() >= FEWEST_DISTS, "{} dists", dists.len());
    assert!(declared >= FEWEST_ENTRY_POINTS, "{declared} entry points");
    assert!(
        dists
            .iter()
            .any(|dist| dist.metadata_dir == "developed.egg-info"),
        "the development install is one of them"
    );

    real.answers_as_cpython("before a sync");
    process::succeed(&mut real.command("sync"));
    real.answers_as_cpython("after a sync");
    process::succeed(&mut real.command("verify"));

    let found: Vec<serde_json::Value> = {
        let output = process::succeed(real.command("dists").args(["--format", "json"]));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let told: Vec<(&str, u64)> = found
        .iter()
        .map(|dist| {
            (
                dist["metadata_dir"].as_str().unwrap(),
                dist["entry_points"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected: Vec<(&str, u64)> = dists
        .iter()
        .map(|dist| (dist.metadata_dir.as_str(), dist.entry_points.len() as u64))
        .collect();
    assert_eq!(told, expected, "the distributions");

    real.uv(&["uninstall"], &UNINSTALLED).unwrap();
    let remaining = real.expected();
    assert!(
        remaining
            .iter()
            .all(|entry| !entry.metadata_dir.starts_with("python_openstackclient-"))
    );
    real.answers_as_cpython("after an uninstallation without a sync");
    process::succeed(&mut real.command("sync"));
    real.answers_as_cpython("after an uninstallation and a sync");
    process::succeed(&mut real.command("verify"));
}
