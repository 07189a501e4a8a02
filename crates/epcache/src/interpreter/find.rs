//! From what a user names, or does not name, to an environment: the order in which files are read
//! and interpreters are asked.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::{
    Environment, Error, How, Memory,
    ask::ask,
    posixpath::as_path,
    pyvenv_cfg::PYVENV_CFG,
    remember::is_native,
    surroundings::Surroundings,
    undecided::Undecided,
    venv::{self, EXECUTABLES, SCRIPTS},
};
use crate::{stamp, trust};

/// The directory that tools give to a project's virtual environment.
const PROJECT_ENVIRONMENT: &str = ".venv";

/// The directory that makes a directory a conda prefix.
const CONDA: &str = "conda-meta";

/// The interpreter that is meant when nothing else is.
const DEFAULT_INTERPRETER: &str = "python3";

impl Surroundings {
    /// The environment in this directory: a virtual environment, resolved from its files; asked
    /// only where they do not tell (a base interpreter of unknown layout, `PYTHONHOME`, ...), as a
    /// conda prefix always is.
    ///
    /// # Errors
    /// If it is none, has no interpreter, or does not answer.
    pub fn venv(&self, directory: &Path, memory: Option<&Memory>) -> Result<Environment, Error> {
        let prefix = self.normal(directory)?;
        if !is_environment(&prefix) {
            return Err(Error::NotAnEnvironment { directory: prefix });
        }
        let executable = interpreter_in(&prefix)?;
        match self.resolve(&prefix, &executable) {
            Ok(environment) => Ok(environment),
            Err(_) => self.ask(&executable, memory),
        }
    }

    /// The environment of this interpreter: a path, or a name that is looked up on `PATH`.
    ///
    /// # Errors
    /// If there is no such program, or it does not answer.
    pub fn python(
        &self,
        executable: &OsStr,
        memory: Option<&Memory>,
    ) -> Result<Environment, Error> {
        let executable = if executable.as_bytes().contains(&b'/') {
            self.absolute_or_error(Path::new(executable))?
        } else {
            self.on_path(executable)?
        };
        let normal = self.normal(&executable)?;
        if let Some(prefix) = venv::prefix_of(&normal)
            && let Ok(environment) = self.resolve(&prefix, &normal)
        {
            return Ok(environment);
        }
        self.ask(&executable, memory)
    }

    /// The environment that is meant when none is named: `VIRTUAL_ENV`, else `.venv` in the
    /// current directory or the nearest above, else `python3` on `PATH`.
    ///
    /// # Errors
    /// If there is none, or it does not answer. A `.venv` that was only found is not started if
    /// others than root and the effective user can have put it there.
    pub fn default_environment(&self, memory: Option<&Memory>) -> Result<Environment, Error> {
        if let Some(active) = self.filled("VIRTUAL_ENV") {
            return self
                .venv(Path::new(active), memory)
                .map_err(|error| match error {
                    Error::NotAnEnvironment { directory } => Error::NotActive { directory },
                    other => other,
                });
        }
        match self.project_environment() {
            Some(prefix) => self.found(&prefix, memory),
            None => self.python(OsStr::new(DEFAULT_INTERPRETER), memory),
        }
    }

    /// `.venv` in the current directory or the nearest above.
    fn project_environment(&self) -> Option<PathBuf> {
        self.cwd()?
            .ancestors()
            .map(|directory| directory.join(PROJECT_ENVIRONMENT))
            .find(|prefix| is_environment(prefix))
    }

    /// An environment that nobody named.
    fn found(&self, prefix: &Path, memory: Option<&Memory>) -> Result<Environment, Error> {
        let executable = interpreter_in(prefix)?;
        match self.resolve(prefix, &executable) {
            Ok(environment) => Ok(environment),
            Err(_) if is_ours(prefix) && is_ours(&prefix.join(SCRIPTS)) && is_ours(&executable) => {
                self.ask(&executable, memory)
            }
            Err(Undecided(reason)) => Err(Error::NotTrusted { executable, reason }),
        }
    }

    /// A virtual environment from its files.
    fn resolve(&self, prefix: &Path, executable: &Path) -> Result<Environment, Undecided> {
        if !prefix.join(PYVENV_CFG).is_file() {
            return Undecided::because("it has no pyvenv.cfg");
        }
        if !is_native(executable) {
            return Undecided::because(format!("{} is a script", executable.display()));
        }
        venv::resolve(prefix, executable, self)
    }

    /// What the interpreter says, now or before.
    fn ask(&self, executable: &Path, memory: Option<&Memory>) -> Result<Environment, Error> {
        if let Some(answer) = memory.and_then(|memory| memory.recall(executable, self)) {
            return Ok(answer.environment(How::Remembered, self));
        }
        let asked = stamp::now();
        let answer = ask(executable, self)?;
        if let Some(memory) = memory {
            memory.remember(executable, self, asked, &answer);
        }
        Ok(answer.environment(How::Asked, self))
    }

    /// The first program of this name on `PATH`.
    fn on_path(&self, name: &OsStr) -> Result<PathBuf, Error> {
        self.search_directories()
            .into_iter()
            .map(|directory| directory.join(name))
            .find(|program| program.is_file() && access(program, Access::EXEC_OK).is_ok())
            .filter(|_| !name.is_empty())
            .ok_or_else(|| Error::NotOnPath {
                name: name.to_owned(),
            })
    }

    fn absolute_or_error(&self, path: &Path) -> Result<PathBuf, Error> {
        self.absolute(path)
            .ok_or_else(|| Error::NoCurrentDirectory {
                path: path.to_path_buf(),
            })
    }

    /// The path as `os.path.abspath` makes it, which is what Python's own strings begin with.
    fn normal(&self, path: &Path) -> Result<PathBuf, Error> {
        let normal =
            self.abspath(path.as_os_str().as_bytes())
                .ok_or_else(|| Error::NoCurrentDirectory {
                    path: path.to_path_buf(),
                })?;
        Ok(as_path(&normal).to_path_buf())
    }
}

fn is_environment(prefix: &Path) -> bool {
    prefix.join(PYVENV_CFG).is_file() || prefix.join(CONDA).is_dir()
}

/// The interpreter of an environment.
fn interpreter_in(prefix: &Path) -> Result<PathBuf, Error> {
    EXECUTABLES
        .map(|name| prefix.join(SCRIPTS).join(name))
        .into_iter()
        .find(|executable| executable.is_file())
        .ok_or_else(|| Error::NoInterpreter {
            directory: prefix.to_path_buf(),
        })
}

/// Whether nobody but root and the effective user can have written the file or directory.
fn is_ours(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|stat| trust::check(&stat).is_ok())
}
