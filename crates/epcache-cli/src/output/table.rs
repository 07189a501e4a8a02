//! Tables: columns with titles, as wide as their content, and no wider together than the terminal.
//!
//! `comfy-table` aligns, wraps and colors. How wide each column is, is decided here: titles,
//! numbers and words are not broken while there is room elsewhere.

use super::text::escaped;
use super::{Column, Row, Tone};
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, Width,
    presets,
};

/// The width of a terminal that does not tell it.
const DEFAULT_WIDTH: u16 = 80;

/// The narrowest terminal to which a table is fitted: on a narrower one the terminal's own breaks
/// are easier to read than columns of a few letters.
const NARROWEST: u16 = 50;

/// Between two columns.
const GAP: u16 = 2;

/// Where a table goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) color: bool,
    pub(super) terminal: bool,
}

/// The lines of a table; none if it has no rows.
pub(super) fn lines<R: Row>(rows: &[R], look: Look) -> Vec<String> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let texts: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            row.columns()
                .iter()
                .map(|text| escaped(text).into())
                .collect()
        })
        .collect();
    let columns: Vec<Shown> = first
        .titles()
        .iter()
        .enumerate()
        .filter_map(|(number, &column)| Shown::of(column, number, &texts))
        .collect();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if look.color {
        table.enforce_styling();
    }
    let widths = room(&table, look.terminal).map(|room| widths(&columns, room));
    if !look.color {
        table.force_no_tty();
    }
    table.set_header(
        columns
            .iter()
            .map(|column| column.cell(column.title).add_attribute(Attribute::Bold)),
    );
    for (row, texts) in rows.iter().zip(&texts) {
        table.add_row(columns.iter().enumerate().map(|(place, column)| {
            let text = &texts[column.number];
            let cell = match &widths {
                Some(widths) if column.is_path => column.cell(&folded(text, widths[place])),
                _ => column.cell(text),
            };
            match row.tone() {
                Tone::Good if place == 0 => cell.fg(Color::Green),
                Tone::Attention if place == 0 => cell.fg(Color::Yellow),
                _ => cell,
            }
        }));
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GAP));
        if let Some(widths) = &widths {
            let width = Width::Fixed(widths[place] + GAP);
            column.set_constraint(ColumnConstraint::Absolute(width));
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// How many columns there are for a table, if it is to be fitted.
fn room(table: &Table, terminal: bool) -> Option<u16> {
    // Asked while the table still takes its output for a terminal: without colors it does not.
    terminal
        .then(|| {
            table
                .width()
                .filter(|width| *width > 0)
                .unwrap_or(DEFAULT_WIDTH)
        })
        .filter(|width| *width >= NARROWEST)
}

/// A column that is in the table.
struct Shown {
    title: &'static str,
    number: usize,
    is_number: bool,
    is_path: bool,
    /// What its content needs.
    wanted: u16,
    /// What its longest word needs.
    least: u16,
}

impl Shown {
    /// A column, unless all rows leave it empty.
    fn of(column: Column, number: usize, texts: &[Vec<String>]) -> Option<Self> {
        let (Column::Text(title) | Column::Number(title) | Column::Path(title)) = column else {
            return None;
        };
        let (is_number, is_path) = (
            matches!(column, Column::Number(_)),
            matches!(column, Column::Path(_)),
        );
        let texts = || texts.iter().map(|row| row[number].as_str());
        if texts().all(str::is_empty) {
            return None;
        }
        let wanted = longest(texts().chain([title]));
        let least = if is_path {
            longest(
                texts()
                    .flat_map(|text| text.split_inclusive('/'))
                    .chain([title]),
            )
        } else {
            longest(texts().chain([title]).flat_map(str::split_whitespace))
        };
        Some(Self {
            title,
            number,
            is_number,
            is_path,
            wanted,
            least: if is_number { wanted } else { least },
        })
    }

    fn cell(&self, text: &str) -> Cell {
        Cell::new(text).set_alignment(if self.is_number {
            CellAlignment::Right
        } else {
            CellAlignment::Left
        })
    }

    /// The width below which nothing brings it.
    fn floor(&self) -> u16 {
        if self.is_number {
            self.wanted
        } else {
            length(self.title)
        }
    }
}

/// The widths of the columns, together at most `room`: the widest is made narrower first, down to
/// its longest word; only if that is not enough, words are broken too.
fn widths(columns: &[Shown], room: u16) -> Vec<u16> {
    let gaps = GAP * u16::try_from(columns.len().saturating_sub(1)).unwrap_or_default();
    let room = usize::from(room.saturating_sub(gaps));
    let mut widths: Vec<u16> = columns.iter().map(|column| column.wanted).collect();
    let least = |column: &Shown| column.least;
    for floor in [least, Shown::floor] {
        while widths.iter().copied().map(usize::from).sum::<usize>() > room {
            let widest = (0..widths.len())
                .filter(|&place| widths[place] > floor(&columns[place]))
                .max_by_key(|&place| widths[place]);
            match widest {
                Some(place) => widths[place] -= 1,
                None => break,
            }
        }
    }
    widths
}

/// A path in lines of at most `width`, broken after slashes.
fn folded(path: &str, width: u16) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for part in path.split_inclusive('/') {
        let length = length(part);
        if used > 0 && used + length > width {
            lines.push('\n');
            used = 0;
        }
        lines.push_str(part);
        used += length;
    }
    lines
}

fn longest<'t>(texts: impl Iterator<Item = &'t str>) -> u16 {
    texts.map(length).max().unwrap_or_default()
}

/// How much room a text takes: as many columns as characters, but for wide ones two.
fn length(text: &str) -> u16 {
    let columns = |c: char| if c < '\u{1100}' { 1 } else { 2 };
    text.chars()
        .fold(0, |length: u16, c| length.saturating_add(columns(c)))
}
