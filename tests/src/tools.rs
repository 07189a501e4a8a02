//! Installers from the Python Package Index, in a virtual environment that all cases of a test share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::judge;
use crate::process;
use crate::skip::missing;

/// How long a package index may take to tell that it is there, in seconds. pip asks this way
/// several times before it gives up.
const INDEX_TIMEOUT_SECONDS: &str = "10";
/// How long all installers together may take to arrive.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// The installers, in an environment below `directory` that all tests share (`CARGO_TARGET_TMPDIR`);
/// nothing where they are not to be had, which is said.
pub fn installers(directory: &Path) -> Option<&'static Tools> {
    static TOOLS: OnceLock<Result<Tools, String>> = OnceLock::new();
    let tools = TOOLS.get_or_init(|| {
        let packages = ["pip", "uv", "poetry", "flit", "setuptools"];
        Tools::at(&directory.join("installers"), &packages)
    });
    match tools {
        Ok(tools) => Some(tools),
        Err(reason) => {
            missing(reason);
            None
        }
    }
}

/// A virtual environment with installers in it.
pub struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Installs packages into a virtual environment at `directory`, or takes the one that an earlier
    /// run left there. The error says why they are not to be had.
    pub fn at(directory: &Path, packages: &[&str]) -> Result<Self, String> {
        let tools = Self {
            directory: directory.to_path_buf(),
        };
        // Written last, and names what is there: half an environment is made anew.
        let complete = directory.join("complete");
        let wanted = format!("{}\n{}\n", judge::python().display(), packages.join("\n"));
        if fs::read_to_string(&complete).is_ok_and(|found| found == wanted) {
            return Ok(tools);
        }
        if directory.exists() {
            fs::remove_dir_all(directory).unwrap();
        }
        process::succeed(
            Command::new(judge::python())
                .args(["-m", "venv"])
                .arg(directory),
        );
        let mut install = tools.pip();
        install.args(["--timeout", INDEX_TIMEOUT_SECONDS, "--retries", "2"]);
        install.args(["install", "--quiet", "--only-binary", ":all:"]);
        let output = process::finish_within(install.args(packages), INSTALL_LIMIT);
        if !output.status.success() {
            let said = process::stderr(&output);
            let line = said.lines().rfind(|line| line.starts_with("ERROR"));
            return Err(format!(
                "{} can't be had from the package index: {}",
                packages.join(", "),
                line.unwrap_or(said.trim())
            ));
        }
        fs::write(complete, wanted).unwrap();
        Ok(tools)
    }

    /// The environment's Python.
    pub fn python(&self) -> PathBuf {
        self.directory.join("bin/python")
    }

    /// The environment's pip.
    pub fn pip(&self) -> Command {
        let mut pip = Command::new(self.python());
        pip.args(["-m", "pip", "--disable-pip-version-check"]);
        pip
    }

    /// One of the installed programs.
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.directory.join("bin").join(name))
    }

    /// Where the environment's packages are.
    pub fn site_packages(&self) -> PathBuf {
        site_packages(&self.directory)
    }
}

/// Makes a virtual environment without anything in it and gives its `site-packages`.
pub fn make_venv(directory: &Path) -> PathBuf {
    process::succeed(
        Command::new(judge::python())
            .args(["-m", "venv", "--without-pip"])
            .arg(directory),
    );
    site_packages(directory)
}

/// The `site-packages` of a virtual environment, or of an installation prefix.
pub fn site_packages(prefix: &Path) -> PathBuf {
    fs::read_dir(prefix.join("lib"))
        .unwrap()
        .map(|version| version.unwrap().path().join("site-packages"))
        .find(|path| path.is_dir())
        .unwrap()
}
