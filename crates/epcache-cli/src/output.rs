//! All printing: rows in one of four formats to standard output, warnings to standard error.
//!
//! A subcommand gives rows; how they look is decided here, once. What goes to a terminal has its
//! control characters escaped, so that no name on a path entry can play with it.

use crate::cli::Format;
use crate::setting::Setting;
use anyhow::{Context, Result};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// The width of a terminal that does not tell it.
const DEFAULT_WIDTH: u16 = 80;

/// One row of output.
pub(crate) trait Row: Serialize {
    /// The titles of the columns.
    const TITLES: &'static [&'static str];

    /// The columns, as text.
    fn columns(&self) -> Vec<Cow<'_, str>>;

    /// Whether the row is to be noticed, and how.
    fn tone(&self) -> Tone {
        Tone::Plain
    }
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
    pub(crate) fn new(setting: &Setting) -> Result<Self> {
        let terminal = io::stdout().is_terminal();
        Ok(Self {
            format: setting.global.format.unwrap_or(if terminal {
                Format::Table
            } else {
                Format::Plain
            }),
            quiet: setting.global.quiet,
            verbose: setting.global.verbose,
            color: setting.color(),
            terminal,
            out: BufWriter::new(io::stdout().lock()),
        })
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Writes rows; none at all write nothing, but an empty list as JSON.
    pub(crate) fn rows<R: Row>(&mut self, rows: &[R]) -> Result<()> {
        match self.format {
            Format::Plain => rows.iter().try_for_each(|row| self.plain(row)),
            Format::Table => self.table(rows),
            Format::Jsonl => rows.iter().try_for_each(|row| self.json_line(row)),
            Format::Json => self.json(rows),
        }
        .context("can't write to standard output")
    }

    /// Writes one thing: as JSON itself, else the rows that show it.
    pub(crate) fn thing<T: Serialize, R: Row>(&mut self, thing: &T, rows: &[R]) -> Result<()> {
        match self.format {
            Format::Json | Format::Jsonl => self
                .json_line(thing)
                .context("can't write to standard output"),
            Format::Plain | Format::Table => self.rows(rows),
        }
    }

    /// Writes what is buffered; errors of writing show here at the latest.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.out.flush().context("can't write to standard output")
    }

    fn plain<R: Row>(&mut self, row: &R) -> io::Result<()> {
        let columns = row.columns();
        for (number, column) in columns.iter().enumerate() {
            let column = field(column);
            let column = if self.terminal {
                escaped(&column).into_owned().into()
            } else {
                column
            };
            write!(self.out, "{}{column}", if number == 0 { "" } else { "\t" })?;
        }
        writeln!(self.out)
    }

    fn json_line<T: Serialize>(&mut self, thing: &T) -> io::Result<()> {
        let text = serde_json::to_string(thing)?;
        writeln!(self.out, "{}", self.for_terminal(&text))
    }

    fn json<R: Row>(&mut self, rows: &[R]) -> io::Result<()> {
        let text = serde_json::to_string_pretty(rows)?;
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
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        if self.color {
            table.enforce_styling();
        }
        if self.terminal {
            // Asked while it still counts as a terminal: without colors it does not.
            let width = table.width();
            table.set_width(width.filter(|width| *width > 0).unwrap_or(DEFAULT_WIDTH));
        }
        if !self.color {
            table.force_no_tty();
        }
        table.set_header(
            R::TITLES
                .iter()
                .map(|title| Cell::new(title).add_attribute(Attribute::Bold)),
        );
        for row in rows {
            table.add_row(row.columns().iter().enumerate().map(|(number, column)| {
                let cell = Cell::new(escaped(column));
                match row.tone() {
                    Tone::Good if number == 0 => cell.fg(Color::Green),
                    Tone::Attention if number == 0 => cell.fg(Color::Yellow),
                    _ => cell,
                }
            }));
        }
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
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

/// One line on standard error.
pub(crate) fn complain(line: &str) {
    // There is nowhere left to say that this can't be said.
    let _ = writeln!(io::stderr(), "epcache: {}", escaped(line));
}

/// A field of plain output, with what would end it escaped.
fn field(text: &str) -> Cow<'_, str> {
    if !text.contains(['\t', '\n', '\r', '\\']) {
        return text.into();
    }
    text.replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .into()
}

/// Text for a terminal: control characters, and those that change the direction of writing, as
/// escapes.
fn escaped(text: &str) -> Cow<'_, str> {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(acts) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts(c) {
            let _ = write!(shown, "{}", c.escape_default()); // to a string: does not fail
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        assert_eq!(
            escaped("a\x1b[2Jb\u{202e}c\u{9b}"),
            "a\\u{1b}[2Jb\\u{202e}c\\u{9b}"
        );
        assert_eq!(escaped("é 漢"), "é 漢");
    }

    #[test]
    fn a_field_can_not_end_its_line() {
        assert_eq!(field("a\tb\nc\\d\r"), "a\\tb\\nc\\\\d\\r");
    }
}
