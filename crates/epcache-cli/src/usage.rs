//! What the parser of arguments has to say: help as it is, an error in one line.

use crate::Exit;
use crate::cli::Cli;
use crate::output::{CAN_NOT_WRITE, complain};
use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap::error::{ContextKind, Error, ErrorKind};
use std::ffi::OsString;
use std::io::Write;

/// Prints help, or says what is wrong with the arguments and where to read on.
pub(crate) fn tell(error: &Error) -> Result<Exit> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error
                .print()
                .and_then(|()| std::io::stdout().flush())
                .context(CAN_NOT_WRITE)?;
            return Ok(Exit::Found);
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print(); // to standard error, of which nothing can be said elsewhere
        }
        _ => complain(&format!(
            "{}; see '{} --help'",
            said(error),
            asked_for(std::env::args_os().skip(1))
        )),
    }
    Ok(Exit::Failed)
}

/// The options that may be given more than once.
const REPEATABLE: [&str; 3] = ["--path", "--python", "--venv"];

/// Refuses an option that is given both before and after the subcommand: of these the parser would keep
/// only those after it.
pub(crate) fn refuse_divided(words: impl Iterator<Item = OsString>) -> Result<()> {
    let words: Vec<_> = words.collect();
    let is = |word: &OsString, option: &str| {
        let rest = word.to_str().and_then(|word| word.strip_prefix(option));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    for option in REPEATABLE {
        let given = |words: &[OsString]| words.iter().filter(|word| is(word, option)).count();
        if given(&words) < 2 {
            continue; // as nearly always
        }
        let command = Cli::command();
        let is_subcommand = |word: &OsString| command.find_subcommand(word).is_some();
        let at = words.iter().position(is_subcommand).unwrap_or_default();
        if given(&words[..at]) > 0 && given(&words[at..]) > 0 {
            bail!("{option}: given before and after the subcommand; give all after it");
        }
    }
    Ok(())
}

/// What is wrong, in one line.
fn said(error: &Error) -> String {
    let text = |kind| error.get(kind).map(ToString::to_string);
    let argument = || text(ContextKind::InvalidArg).unwrap_or_default();
    let value = || text(ContextKind::InvalidValue).unwrap_or_default();
    let instead = |kind| match text(kind) {
        Some(suggestion) => format!("; did you mean {suggestion}?"),
        None => String::new(),
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => format!(
            "{}: no such subcommand{}",
            text(ContextKind::InvalidSubcommand).unwrap_or_default(),
            instead(ContextKind::SuggestedSubcommand)
        ),
        ErrorKind::UnknownArgument => format!(
            "{}: no such argument{}",
            argument(),
            instead(ContextKind::SuggestedArg)
        ),
        ErrorKind::InvalidValue if value().is_empty() => {
            format!("{}: a value is missing", argument())
        }
        ErrorKind::InvalidValue => format!(
            "{}: {:?} is none of {}{}",
            argument(),
            value(),
            text(ContextKind::ValidValue).unwrap_or_default(),
            instead(ContextKind::SuggestedValue)
        ),
        ErrorKind::ArgumentConflict => match text(ContextKind::PriorArg) {
            Some(prior) if prior != argument() => {
                format!("{} can't be given together with {prior}", argument())
            }
            _ => format!("{}: given twice", argument()),
        },
        ErrorKind::MissingRequiredArgument => format!("{} is missing", argument()),
        _ => first_line(error),
    }
}

/// The parser's own words, without those that are for several lines.
fn first_line(error: &Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// The command whose help tells more: that of the subcommand, if one was named.
fn asked_for(arguments: impl Iterator<Item = OsString>) -> String {
    let command = Cli::command();
    let mut subcommands = arguments.filter_map(|word| command.find_subcommand(word));
    match subcommands.next() {
        Some(subcommand) => format!("epcache {}", subcommand.get_name()),
        None => "epcache".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn line(arguments: &str) -> String {
        let arguments = arguments.split(' ');
        let error = Cli::try_parse_from(std::iter::once("epcache").chain(arguments.clone())).err();
        let said = error.as_ref().map(said).unwrap_or_default();
        format!("{said} | {}", asked_for(arguments.map(OsString::from)))
    }

    #[test]
    fn an_error_is_one_line_that_names_the_argument_and_the_help_to_read() {
        for (arguments, expected) in [
            (
                "snyc",
                "snyc: no such subcommand; did you mean sync? | epcache",
            ),
            (
                "sync --dryrun",
                "--dryrun: no such argument; did you mean --dry-run? | epcache sync",
            ),
            ("query a b c", "c: no such argument | epcache query"),
            (
                "query --mode quick",
                "--mode <MODE>: \"quick\" is none of exact, fast, only, off | epcache query",
            ),
            (
                "query --mode",
                "--mode <MODE>: a value is missing | epcache query",
            ),
            (
                "sync --user --system",
                "--user can't be given together with --system | epcache sync",
            ),
            (
                "query --mode only --mode off",
                "--mode <MODE>: given twice | epcache query",
            ),
            ("completions", "<SHELL> is missing | epcache completions"),
        ] {
            assert_eq!(line(arguments), expected, "epcache {arguments}");
        }
    }

    #[test]
    fn an_option_that_would_be_lost_is_refused() {
        let refused = |line: &str| refuse_divided(line.split(' ').map(OsString::from)).is_err();
        assert!(refused("epcache --venv a watch --venv b"));
        assert!(refused("epcache --path=a query --path b"));
        assert!(!refused("epcache --venv a --venv b watch"));
        assert!(!refused("epcache watch --venv a --venv=b"));
        assert!(!refused("epcache --venv a watch --venvs --path b"));
    }
}
