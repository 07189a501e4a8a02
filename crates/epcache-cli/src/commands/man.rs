//! `epcache man`: the manual pages, made from the same words as `--help`.

use crate::cli::Cli;
use crate::{Exit, output};
use anyhow::{Result, anyhow};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use std::io::Write;
use std::path::Path;

const EXIT_STATUS: [(&str, &str); 3] = [
    ("0", "Found, or done."),
    (
        "1",
        "Nothing found; or verify found a difference, or nothing to compare with.",
    ),
    (
        "2",
        "An error, which one line on standard error tells of. Warnings do not change the exit status.",
    ),
];

const ENVIRONMENT: [(&str, &str); 5] = [
    (
        "EPCACHE_PATH",
        "A list of cache roots, separated as PATH is, instead of all others. Each must be absolute. An empty list: no cache.",
    ),
    ("EPCACHE_MODE", "As --mode."),
    (
        "NO_COLOR",
        "No colors, unless it is empty or --color says otherwise.",
    ),
    (
        "XDG_CACHE_HOME",
        "Where the user's cache root is, instead of ~/.cache.",
    ),
    (
        "XDG_CONFIG_HOME",
        "Where the user's configuration is, instead of ~/.config.",
    ),
];

const FILES: [(&str, &str); 5] = [
    ("~/.cache/epcache", "The user's cache root."),
    (
        "/var/cache/epcache",
        "The system's, written by root with 'epcache sync --system'.",
    ),
    (
        "/usr/share/epcache",
        "The vendor root, into which packages put files.",
    ),
    (
        "~/.config/epcache/epcache.ini",
        "The user's configuration, which counts more than the system's.",
    ),
    (
        "/etc/epcache/epcache.ini",
        "The system's configuration; with --root the one in there, and no other.",
    ),
];

/// Examples for the first page; those of a subcommand are in its help.
const EXAMPLES: &str = "epcache sync
epcache query console_scripts
epcache query --format json --venv .venv pytest11
epcache status";

pub(crate) fn run(directory: Option<&Path>) -> Result<Exit> {
    let mut command = Cli::command();
    command.build();
    match directory {
        Some(directory) => {
            write(&command, directory)?;
            for subcommand in command.get_subcommands() {
                write(subcommand, directory)?;
            }
        }
        None => output::print(&page(&command)?)?,
    }
    Ok(Exit::Found)
}

fn write(command: &Command, directory: &Path) -> Result<()> {
    let file = directory.join(format!("{}.1", name(command)));
    std::fs::write(&file, page(command)?).map_err(|error| {
        anyhow!(
            "{}: can't write a manual page: {error}; name a directory that exists and that you can write",
            file.display()
        )
    })
}

/// The name of a page: that of the command, with a hyphen before the subcommand.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

/// One page.
fn page(command: &Command) -> Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    // By hand, as the empty date has to be quoted to be one.
    writeln!(
        page,
        r#".TH {} 1 "" "epcache {}" "User Commands""#,
        name(command),
        env!("CARGO_PKG_VERSION")
    )?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let is_first = command.has_subcommands();
    if is_first {
        man.render_subcommands_section(&mut page)?;
    }
    let mut roff = Roff::default();
    terms(&mut roff, "EXIT STATUS", &EXIT_STATUS);
    if is_first {
        terms(&mut roff, "ENVIRONMENT", &ENVIRONMENT);
        terms(&mut roff, "FILES", &FILES);
        examples(&mut roff, EXAMPLES);
    } else {
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        examples(&mut roff, help.trim_start_matches("Example:"));
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("epcache"), roman("(1)")]);
    }
    roff.to_writer(&mut page)?;
    Ok(page)
}

/// A section of words, each with what it means.
fn terms(roff: &mut Roff, title: &str, terms: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, meaning) in terms {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*meaning)]);
    }
}

/// A section of command lines, as they are typed.
fn examples(roff: &mut Roff, examples: &str) {
    let lines: Vec<Inline> = examples.lines().map(|line| roman(line.trim())).collect();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in lines {
        roff.text([line]);
    }
    roff.control("fi", []);
}
