//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// What is to be done with a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Build,
    Find,
    List,
    Version,
}

/// What the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Job {
    pub(crate) strategy: String,
    pub(crate) work: Option<Work>,
    pub(crate) cache: PathBuf,
    pub(crate) path: Vec<OsString>,
    pub(crate) group: Option<String>,
    pub(crate) promises: bool,
}

impl Job {
    /// Understands the command line, without more ado: a library for that would be measured, too.
    pub(crate) fn from_arguments(mut arguments: impl Iterator<Item = OsString>) -> Result<Job> {
        let mut job = Job::default();
        while let Some(word) = arguments.next() {
            let mut next = || arguments.next().context("something is missing at the end");
            match word.to_str().unwrap_or_default() {
                "--promises" => job.promises = true,
                "--cache" => job.cache = std::path::absolute(next()?)?,
                "--path" => job.path.push(next()?),
                "--group" => {
                    job.group = Some(next()?.into_string().ok().context("a group is UTF-8")?);
                }
                "build" => job.work = Some(Work::Build),
                "find" => job.work = Some(Work::Find),
                "list" => job.work = Some(Work::List),
                "version" => job.work = Some(Work::Version),
                strategy if job.strategy.is_empty() => job.strategy = strategy.to_owned(),
                other => bail!("{other:?}: not understood here"),
            }
        }
        match job.work {
            _ if job.promises => {}
            None => bail!("one of build, find, list, version must be given"),
            Some(Work::Version) => {}
            Some(_) if job.cache.as_os_str().is_empty() => bail!("--cache must be given"),
            Some(Work::Find) if job.group.is_none() => bail!("find needs a --group"),
            Some(Work::Find) => {}
            Some(_) => job.group = None,
        }
        Ok(job)
    }

    /// Whether the answer has this group. A build has no answer.
    pub(crate) fn wants(&self, group: &str) -> bool {
        let asked = self.group.as_deref();
        !self.is_build() && asked.is_none_or(|asked| asked == group)
    }

    /// Whether the cache is to be made fresh, rather than asked.
    pub(crate) fn is_build(&self) -> bool {
        self.work == Some(Work::Build)
    }
}
