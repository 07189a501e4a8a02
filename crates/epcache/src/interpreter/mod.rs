//! Which `sys.path` is meant: the path entries of the Python environment that a question is about.
//!
//! A virtual environment is resolved from its files ([`venv`](Surroundings::venv)), without
//! starting Python. Any other interpreter is asked, by starting it once; the answer is remembered
//! in a [`Memory`] until something changes that it depends on. For a whole system,
//! [`well_known`] looks where operating systems put distributions.
//!
//! The path is that of a command installed for the environment: the scripts directory first
//! (`sys.path[0]` of a script), then `PYTHONPATH`, the standard library and the site directories,
//! as strings, exactly as CPython has them.

mod answer;
mod ask;
mod base;
mod decide;
mod find;
mod posixpath;
mod pth;
mod pyenv;
mod pyvenv_cfg;
mod read;
mod remember;
mod site_py;
mod surroundings;
mod undecided;
mod venv;
mod well_known;

use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use decide::Basis;
pub use remember::Memory;
pub use surroundings::{PATIENCE, Surroundings};
pub use well_known::well_known;

/// How a `sys.path` was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// From the files of a virtual environment.
    Venv,
    /// The interpreter was started and told it.
    Asked,
    /// The interpreter told it before, and nothing has changed since.
    Remembered,
    /// The caller named the path entries.
    Given,
    /// By looking in the well-known directories.
    WellKnown,
}

impl How {
    /// One word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            How::Venv => "venv",
            How::Asked => "asked",
            How::Remembered => "remembered",
            How::Given => "given",
            How::WellKnown => "well-known",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A Python environment, as far as its `sys.path` goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The interpreter, if one is meant.
    pub executable: Option<PathBuf>,
    /// `sys.prefix`.
    pub prefix: Option<PathBuf>,
    /// Major and minor version.
    pub version: Option<(u32, u32)>,
    /// `sys.path` of an installed command, in order.
    pub path: Vec<OsString>,
    /// How it was found.
    pub how: How,
    basis: Basis,
}

impl Environment {
    /// Path entries that a caller names, taken as they are.
    #[must_use]
    pub fn given(path: Vec<OsString>) -> Environment {
        Environment::without_interpreter(path, How::Given, Basis::Words)
    }

    /// The [`well_known`] directories.
    #[must_use]
    pub fn well_known(root: Option<&Path>, more: &[PathBuf]) -> Environment {
        let basis = Basis::WellKnown {
            root: root.map(|root| std::path::absolute(root).unwrap_or_else(|_| root.into())),
            more: more.to_vec(),
        };
        Environment::without_interpreter(well_known(root, more), How::WellKnown, basis)
    }

    /// What, besides the path entries themselves, decides which path entries there are: files and
    /// directories, absolute, each once, wherever they are on disk (in the image, with a root).
    ///
    /// A directory among them that exists decides by the names that it has, a file by its content,
    /// and what does not exist by coming to be:
    /// - of a virtual environment `pyvenv.cfg`, the interpreter, the site directories, and what their `.pth` files
    ///   name that does not exist;
    /// - of an interpreter that was asked, now or before, the same, with the `pyvenv.cfg` that it
    ///   has, if any;
    /// - of the well-known directories these themselves, and those in which Python's versions are;
    /// - of path entries that the caller gave nothing.
    ///
    /// They are looked for when this is called. What code that runs at Python's start depends on
    /// besides is not seen.
    #[must_use]
    pub fn deciders(&self) -> Vec<PathBuf> {
        self.basis.deciders()
    }

    fn without_interpreter(path: Vec<OsString>, how: How, basis: Basis) -> Environment {
        Environment {
            executable: None,
            prefix: None,
            version: None,
            path,
            how,
            basis,
        }
    }
}

/// Why no `sys.path` was found. Each message says what, where, and what to do about it, on one
/// line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory is no virtual environment and no conda prefix.
    #[error(
        "{directory:?} is not a virtual environment: it has no pyvenv.cfg; name its top directory, or an interpreter with --python"
    )]
    NotAnEnvironment {
        /// The directory.
        directory: PathBuf,
    },
    /// `VIRTUAL_ENV` names a directory that is none.
    #[error(
        "VIRTUAL_ENV names {directory:?}, which is not a virtual environment (it has no pyvenv.cfg); deactivate it, or use --venv or --python"
    )]
    NotActive {
        /// The directory.
        directory: PathBuf,
    },
    /// An environment without an interpreter: it was made incompletely, or its base was removed.
    #[error(
        "{directory:?} has no working bin/python; make the environment again, or name an interpreter with --python"
    )]
    NoInterpreter {
        /// The environment.
        directory: PathBuf,
    },
    /// No such program.
    #[error(
        "no interpreter {name:?} on PATH; name one with --python, an environment with --venv, or path entries with --path"
    )]
    NotOnPath {
        /// The name that was looked for.
        name: OsString,
    },
    /// A path is relative, and the current directory is gone.
    #[error(
        "{path:?} is relative, and the current directory can't be determined; give an absolute path"
    )]
    NoCurrentDirectory {
        /// The relative path.
        path: PathBuf,
    },
    /// An environment that nobody named would have to be started, and others could have put it
    /// there.
    #[error(
        "{executable:?} would have to be started to find its sys.path ({reason}), and others than you and root can have put it there; name it with --venv if you trust it"
    )]
    NotTrusted {
        /// The interpreter.
        executable: PathBuf,
        /// Why its files do not tell.
        reason: String,
    },
    /// The interpreter could not be started.
    #[error("can't start {executable:?}: {error}; name a Python interpreter with --python")]
    CannotStart {
        /// The interpreter.
        executable: PathBuf,
        /// The operating system's reason.
        error: io::Error,
    },
    /// The interpreter ended with a failure.
    #[error(
        "{executable:?} failed when asked for its sys.path ({status}); it printed: {output}; repair it, or name another with --python"
    )]
    Failed {
        /// The interpreter.
        executable: PathBuf,
        /// How it ended.
        status: String,
        /// The first lines that it printed.
        output: String,
    },
    /// The interpreter did not end in time.
    #[error(
        "{executable:?} did not tell its sys.path within {after:?} and was stopped; it printed: {output}; repair it, or name another with --python"
    )]
    TimedOut {
        /// The interpreter.
        executable: PathBuf,
        /// How long it was waited for.
        after: Duration,
        /// The first lines that it printed.
        output: String,
    },
    /// The interpreter printed without end.
    #[error(
        "{executable:?} printed more than {bound} bytes when asked for its sys.path and was stopped; it printed: {output}; name another with --python"
    )]
    TooMuchOutput {
        /// The interpreter.
        executable: PathBuf,
        /// The most that is read.
        bound: u64,
        /// The first lines that it printed.
        output: String,
    },
    /// What the interpreter printed is no answer: it is probably not Python.
    #[error(
        "{executable:?} did not tell its sys.path; it printed: {output}; name a Python interpreter with --python"
    )]
    NoAnswer {
        /// The interpreter.
        executable: PathBuf,
        /// The first lines that it printed.
        output: String,
    },
    /// The interpreter is older than 3.10.
    #[error("{executable:?} is Python {}.{}; epcache needs 3.10 or newer: name another with --python", version.0, version.1)]
    TooOld {
        /// The interpreter.
        executable: PathBuf,
        /// Its version.
        version: (u32, u32),
    },
}

/// The environment in this directory: a virtual environment or a conda prefix.
///
/// # Errors
/// If it is none, or has to be asked (see [`Surroundings::venv`]) and does not answer.
pub fn venv(directory: &Path, memory: Option<&Memory>) -> Result<Environment, Error> {
    Surroundings::of_this_process().venv(directory, memory)
}

/// The environment of this interpreter: a path, or a name that is looked up on `PATH`.
///
/// # Errors
/// If there is no such program, or it does not answer.
pub fn python(executable: &OsStr, memory: Option<&Memory>) -> Result<Environment, Error> {
    Surroundings::of_this_process().python(executable, memory)
}

/// The environment that is meant when none is named: the active virtual environment, else `.venv`
/// in the current directory or the nearest above, else `python3` on `PATH`.
///
/// # Errors
/// If there is none, or it does not answer.
pub fn default(memory: Option<&Memory>) -> Result<Environment, Error> {
    Surroundings::of_this_process().default_environment(memory)
}
