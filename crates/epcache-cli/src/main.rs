//! The `epcache` command: `updatedb` and `locate` for Python entry points.
//!
//! Everything that knows the cache is in the library `epcache`; here arguments are read, one
//! subcommand is run (a file each in `commands`), and its result becomes output and an exit status.

mod cli;
mod commands;
mod config;
mod output;
mod setting;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;
use cli::{Cli, Command};
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

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => match run(cli) {
            Ok(exit) => exit,
            // Whoever reads has read enough (`epcache query | head -1`): that is no error.
            Err(error) if is_broken_pipe(&error) => Exit::Found,
            Err(error) => {
                output::complain(&format!("{error:#}"));
                Exit::Failed
            }
        },
        Err(error) => usage(&error),
    };
    ExitCode::from(exit as u8)
}

fn run(cli: Cli) -> Result<Exit> {
    match cli.command {
        Command::Completions { shell } => return commands::completions::run(shell),
        Command::Man { directory } => return commands::man::run(directory.as_deref()),
        _ => {}
    }
    let setting = Setting::new(cli.global)?;
    let mut output = Output::new(&setting)?;
    for skipped in &setting.config.skipped {
        output.warn(skipped);
    }
    let exit = match cli.command {
        Command::Sync(options) => commands::sync::run(&setting, &mut output, &options),
        Command::Query { group, name } => {
            commands::query::run(&setting, &mut output, group.as_deref(), name.as_deref())
        }
        Command::Groups => commands::groups::run(&setting, &mut output),
        Command::Dists => commands::dists::run(&setting, &mut output),
        Command::Status => commands::status::run(&setting, &mut output),
        Command::Verify { repair } => commands::verify::run(&setting, &mut output, repair),
        Command::Prune { dry_run } => commands::prune::run(&setting, &mut output, dry_run),
        Command::Paths => commands::paths::run(&setting, &mut output),
        Command::Completions { .. } | Command::Man { .. } => Ok(Exit::Found), // done above
    }?;
    output.finish()?;
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

/// What clap has to say: help as it is, an error in one line.
fn usage(error: &clap::Error) -> Exit {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // Help that nobody reads to the end is no error either.
        let _ = error.print();
        return Exit::Found;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return Exit::Failed;
    }
    let text = error.render().to_string();
    let lines: Vec<_> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(str::trim)
        .collect();
    let said = lines
        .into_iter()
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    output::complain(&format!(
        "{}; see 'epcache --help'",
        said.trim_start_matches("error: ")
    ));
    Exit::Failed
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
