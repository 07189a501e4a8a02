//! All printing: rows in one of four formats to standard output, warnings to standard error.
//!
//! A subcommand gives rows; how they look is decided here, once. Control characters are escaped in
//! everything that can end on a terminal, so that no name on a path entry can play with it.

mod table;
mod text;

pub(crate) use text::{escaped, shown, without_number};

use crate::cli::{Format, Global, When};
use anyhow::{Context, Result};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use table::Look;
use text::field;

/// What went wrong when standard output can't be written.
pub(crate) const CAN_NOT_WRITE: &str = "can't write to standard output";

/// One row of output.
pub(crate) trait Row: Serialize {
    /// What the columns are; the same for all rows that are shown together.
    fn titles(&self) -> &'static [Column];

    /// The columns, as text.
    fn columns(&self) -> Vec<Cow<'_, str>>;

    /// Whether the row is to be noticed, and how.
    fn tone(&self) -> Tone {
        Tone::Plain
    }
}

/// What a column holds, which decides how a table shows it, and its title.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Words, which are wrapped where there is too little room.
    Text(&'static str),
    /// A number.
    Number(&'static str),
    /// A path, which is broken after a slash.
    Path(&'static str),
    /// In no table: it says what the reader has just asked for.
    NotInTables,
}

/// How a row looks on a terminal with colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Attention,
}

pub(crate) struct Output {
    format: Format,
    quiet: bool,
    verbose: bool,
    color: bool,
    terminal: bool,
    out: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            format: global.format.unwrap_or(if terminal {
                Format::Table
            } else {
                Format::Plain
            }),
            quiet: global.quiet,
            verbose: global.verbose,
            color: match global.color {
                When::Always => true,
                When::Never => false,
                When::Auto => {
                    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                }
            },
            terminal,
            out: BufWriter::new(io::stdout().lock()),
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether all is to be told: who wants less can filter.
    pub(crate) fn tells_all(&self) -> bool {
        self.verbose || matches!(self.format, Format::Json | Format::Jsonl)
    }

    /// Writes rows; none at all write nothing, but an empty list as JSON.
    pub(crate) fn rows<R: Row>(&mut self, rows: &[R]) -> Result<()> {
        match self.format {
            Format::Plain => rows.iter().try_for_each(|row| self.plain(row)),
            Format::Table => self.table(rows),
            Format::Jsonl => rows.iter().try_for_each(|row| self.json_line(row)),
            Format::Json => self.json(rows),
        }
        .context(CAN_NOT_WRITE)
    }

    /// Writes one thing: as JSON itself, else the rows that show it.
    pub(crate) fn thing<T: Serialize, R: Row>(&mut self, thing: &T, rows: &[R]) -> Result<()> {
        match self.format {
            Format::Json => self.json(thing).context(CAN_NOT_WRITE),
            Format::Jsonl => self.json_line(thing).context(CAN_NOT_WRITE),
            Format::Plain | Format::Table => self.rows(rows),
        }
    }

    /// Writes what is buffered; errors of writing show here at the latest.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().context(CAN_NOT_WRITE)
    }

    fn plain<R: Row>(&mut self, row: &R) -> io::Result<()> {
        for (number, column) in row.columns().iter().enumerate() {
            let column = field(column);
            let column = self.for_terminal(&column);
            write!(self.out, "{}{column}", if number == 0 { "" } else { "\t" })?;
        }
        writeln!(self.out)
    }

    fn json_line<T: Serialize>(&mut self, thing: &T) -> io::Result<()> {
        let text = serde_json::to_string(thing)?;
        writeln!(self.out, "{}", self.for_terminal(&text))
    }

    fn json<T: Serialize + ?Sized>(&mut self, thing: &T) -> io::Result<()> {
        let text = serde_json::to_string_pretty(thing)?;
        for line in text.lines() {
            writeln!(self.out, "{}", self.for_terminal(line))?;
        }
        Ok(())
    }

    fn for_terminal<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.terminal {
            escaped(text)
        } else {
            text.into()
        }
    }

    fn table<R: Row>(&mut self, rows: &[R]) -> io::Result<()> {
        let look = Look {
            color: self.color,
            terminal: self.terminal,
        };
        for line in table::lines(rows, look) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    /// Says on standard error what is not as it should be, unless it is to be quiet.
    pub(crate) fn warn(&self, warning: &str) {
        if !self.quiet {
            complain(&format!("warning: {warning}"));
        }
    }

    /// Says on standard error what only those want to know who ask for more.
    pub(crate) fn note(&self, note: &str) {
        if self.verbose {
            complain(&format!("note: {note}"));
        }
    }
}

/// Writes a text that is no rows: help, a script, a manual page.
pub(crate) fn print(text: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)
        .and_then(|()| out.flush())
        .context(CAN_NOT_WRITE)
}

/// One line on standard error.
pub(crate) fn complain(line: &str) {
    // There is nowhere left to say that this can't be said.
    let _ = writeln!(io::stderr(), "epcache: {}", escaped(&without_number(line)));
}
