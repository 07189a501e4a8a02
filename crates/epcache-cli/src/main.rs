//! The `epcache` command: `updatedb` and `locate` for Python entry points.
//!
//! Everything that knows the cache is in the library `epcache`; here arguments are read, one
//! subcommand is run (a file each in `commands`), and its result becomes output and an exit status.

mod cli;
mod commands;
mod config;
mod output;
mod setting;
mod usage;

use anyhow::Result;
use clap::Parser;
use cli::{Cli, Command, Global};
use output::Output;
use setting::Setting;
use std::process::ExitCode;

/// How the command ended; the number is its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Found, or done.
    Found = 0,
    /// Nothing found, or `verify` found a difference.
    Nothing = 1,
    /// An error, which was said on standard error.
    Failed = 2,
}

impl Exit {
    /// That of a subcommand that was asked for something.
    pub(crate) fn of_rows<R>(rows: &[R]) -> Self {
        if rows.is_empty() {
            Self::Nothing
        } else {
            Self::Found
        }
    }

    /// That of a subcommand that was to do something.
    pub(crate) fn of_doing(failed: bool) -> Self {
        if failed { Self::Failed } else { Self::Found }
    }
}

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => usage::refuse_divided(std::env::args_os()).and_then(|()| run(cli)),
        Err(error) => usage::tell(&error),
    };
    let exit = match result {
        Ok(exit) => exit,
        // Whoever reads has read enough (`epcache query | head -1`): that is no error.
        Err(error) if is_broken_pipe(&error) => Exit::Found,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            Exit::Failed
        }
    };
    ExitCode::from(exit as u8)
}

fn run(Cli { global, command }: Cli) -> Result<Exit> {
    use commands::{completions, dists, groups, man, paths, prune, query, status, sync, verify};
    match command {
        Command::Sync(options) => with(global, |setting, out| sync::run(setting, out, &options)),
        Command::Query { group, name } => with(global, |setting, out| {
            query::run(setting, out, group.as_deref(), name.as_deref())
        }),
        Command::Groups => with(global, groups::run),
        Command::Dists => with(global, dists::run),
        Command::Status => with(global, status::run),
        Command::Verify { repair } => {
            with(global, |setting, out| verify::run(setting, out, repair))
        }
        Command::Prune { dry_run } => {
            with(global, |setting, out| prune::run(setting, out, dry_run))
        }
        Command::Paths => with(global, paths::run),
        #[cfg(feature = "watch")]
        Command::Watch(options) => commands::watch::run(global, &options),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { directory } => man::run(directory.as_deref()),
    }
}

/// Runs a subcommand that acts on an environment and caches.
fn with(
    global: Global,
    subcommand: impl FnOnce(&Setting, &mut Output) -> Result<Exit>,
) -> Result<Exit> {
    let mut output = Output::new(&global);
    let setting = Setting::new(global)?;
    for not_used in setting.config.not_used() {
        output.warn(&not_used);
    }
    let exit = subcommand(&setting, &mut output)?;
    output.flush()?;
    Ok(exit)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind)
    };
    error
        .chain()
        .any(|cause| kind(cause) == Some(std::io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let error = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe))
            .context("write");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }
}
