//! What is compared, and on what: the two programs, found once, and the words that tell a reader
//! of the numbers which machine they are from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

/// Variables of the caller's that would change what is measured. The last one is cargo's, for what
/// it runs: with it the loader would look for every library in cargo's directories first.
const LEFT_OUT: [&str; 11] = [
    "EPCACHE_PATH",
    "EPCACHE_MODE",
    "EPCACHE_ON_STALE",
    "PYTHONPYCACHEPREFIX",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONDONTWRITEBYTECODE",
    "LD_LIBRARY_PATH",
];

/// The two programs and the machine.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The command under measurement, absolute.
    #[serde(skip)]
    pub epcache: PathBuf,
    /// The interpreter itself: a launcher in front of it (pyenv's is a shell script) is not what
    /// is to be measured.
    #[serde(skip)]
    pub python: PathBuf,
    /// What `epcache --version` says.
    pub epcache_version: String,
    /// As `3.12.1`.
    pub python_version: String,
    /// Operating system, kernel version and architecture.
    pub system: String,
    /// How many processors this process may use.
    pub processors: usize,
}

impl Machine {
    /// Builds `epcache`, unless one is given, and looks up the interpreter.
    ///
    /// # Errors
    /// Cargo can't build it, or one of the two can't be started or does not say what it is.
    pub fn look(epcache: Option<&Path>, python: &Path) -> Result<Machine> {
        let epcache = match epcache {
            Some(path) => std::path::absolute(path).context("find the current directory")?,
            None => build("epcache-cli", "epcache")?,
        };
        let asked = answer(Command::new(python).args([
            "-c",
            "import sys; print(sys.executable); print(sys.version.split()[0])",
        ]))?;
        let (python, python_version) = asked
            .split_once('\n')
            .with_context(|| format!("{} does not say what it is", python.display()))?;
        Ok(Machine {
            epcache_version: answer(Command::new(&epcache).arg("--version"))?,
            epcache,
            python: PathBuf::from(python),
            python_version: python_version.to_owned(),
            system: system(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

/// A command that sees nothing of the caller's configuration, caches and Python settings.
#[must_use]
pub fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    for variable in LEFT_OUT {
        command.env_remove(variable);
    }
    command
        .env("HOME", home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("XDG_CONFIG_HOME", home.join("config"));
    command
}

/// What a command prints, without the last line end.
///
/// # Errors
/// It can't be started, fails (the error then holds what it said), or prints no UTF-8.
pub fn answer(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} failed: {}\n{error}",
        output.status
    );
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("read what {command:?} prints"))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Builds a binary of a package of this workspace as this program was built, and returns where cargo
/// put it.
///
/// # Errors
/// Cargo can't build it.
pub fn build(package: &str, binary: &str) -> Result<PathBuf> {
    let profile = if cfg!(debug_assertions) {
        eprintln!("not optimized (see --release): the numbers are good for nothing but a trial");
        "dev"
    } else {
        "release"
    };
    eprintln!("building {binary}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--profile", profile])
        .args(["--package", package, "--bin", binary])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    ensure!(output.status.success(), "cargo can't build {binary}");
    String::from_utf8(output.stdout)
        .context("read cargo's messages")?
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        // Others of the package that were built before are told of, too.
        .filter(|message| message["target"]["name"] == binary)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo does not name the executable that it built")
}

/// The operating system, and its kernel's version where that is to be read.
fn system() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{system} {} {architecture}", kernel.trim()).replace("  ", " ")
}
