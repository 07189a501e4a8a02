//! The tests of the Python package, so that one command runs all tests there are.
//!
//! They are pytest's. What they need is installed into a virtual environment below the target
//! directory, from the package index; where that can't be had, they are skipped, and said to be.

#![allow(
    clippy::expect_used,
    reason = "a test that can't be set up should stop there"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use epcache_tests::process::{finish_within, stderr, stdout};
use epcache_tests::{binary, judge, skip};

/// With real packages on every CPython of the machine they take some minutes.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Set to 0 by who runs pytest by itself.
const SWITCH: &str = "EPCACHE_TEST_PYTEST";

/// What the tests use; `.ci/run` and CONTRIBUTING have the versions that check the package.
const TOOLS: [&str; 3] = ["maturin>=1.9,<2", "mypy>=1.11", "pytest>=8"];

#[test]
fn the_tests_of_the_python_package_pass() {
    if std::env::var_os(SWITCH).is_some_and(|value| value == "0") {
        return skip::skip(&format!("the Python package's tests: {SWITCH}=0"));
    }
    let Some(python) = python_with_tools() else {
        return;
    };
    let output = finish_within(
        Command::new(python)
            .args(["-m", "pytest", "-q"])
            .current_dir(repository())
            .env("EPCACHE_TEST_BINARY", binary())
            .env_remove("EPCACHE_ON_STALE"),
        LIMIT,
    );
    let said = stdout(&output);
    for line in said.lines().filter(|line| line.starts_with("SKIPPED")) {
        skip::skip(line);
    }
    assert!(output.status.success(), "{said}\n{}", stderr(&output));
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the workspace")
}

/// An interpreter that has what the tests use.
fn python_with_tools() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-tools");
    let python = venv.join("bin/python");
    let mut make = Command::new(judge::python());
    let mut install = Command::new(&python);
    let steps = [
        make.args(["-m", "venv"]).arg(&venv),
        install
            .args(["-m", "pip", "install", "--quiet"])
            .args(TOOLS),
    ];
    for step in steps {
        let output = finish_within(step, LIMIT);
        if !output.status.success() {
            skip::missing(&format!(
                "the tools of the Python package's tests can't be installed: {}",
                stderr(&output)
            ));
            return None;
        }
    }
    Some(python)
}
