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

/// How narrow a column of words gets before paths and dotted names are broken.
const READABLE: u16 = 20;

/// After what words and dotted names are broken, if they have to be.
const JOINTS: &[char] = &[' ', '.', ':', '_', '/'];

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
                Some(widths) => column.cell(&column.folded(text, widths[place])),
                None => column.cell(text),
            };
            match row.tone() {
                Tone::Good if place == 0 => cell.fg(Color::Green),
                Tone::Attention if place == 0 => cell.fg(Color::Yellow),
                _ => cell,
            }
        }));
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        let gap = if place + 1 < columns.len() { GAP } else { 0 };
        column.set_padding((0, gap));
        if let Some(widths) = &widths {
            let width = Width::Fixed(widths[place] + gap);
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
    /// After what its texts are broken.
    joints: &'static [char],
    /// What its content needs.
    wanted: u16,
    /// The widths to which it is made narrower, in the order in which that is tried.
    floors: [u16; 3],
}

impl Shown {
    /// A column, unless all rows leave it empty.
    fn of(column: Column, number: usize, texts: &[Vec<String>]) -> Option<Self> {
        let (title, joints): (_, &[char]) = match column {
            Column::Text(title) => (title, JOINTS),
            Column::Path(title) => (title, &['/']),
            Column::Number(title) => (title, &[]),
            Column::NotInTables => return None,
        };
        let texts = || texts.iter().map(|row| row[number].as_str());
        if texts().all(str::is_empty) {
            return None;
        }
        let title_length = length(title);
        let wanted = longest(texts()).max(title_length);
        let word = longest(texts().flat_map(|text| text.split(' '))).max(title_length);
        let piece = longest(texts().flat_map(|text| text.split_inclusive(joints)));
        let floors = match column {
            Column::Number(_) => [wanted; 3],
            Column::Path(_) => [wanted, piece.max(title_length), title_length],
            Column::Text(_) | Column::NotInTables => [
                word.max(READABLE).min(wanted),
                piece.max(title_length),
                title_length,
            ],
        };
        Some(Self {
            title,
            number,
            is_number: matches!(column, Column::Number(_)),
            joints,
            wanted,
            floors,
        })
    }

    fn cell(&self, text: &str) -> Cell {
        Cell::new(text).set_alignment(if self.is_number {
            CellAlignment::Right
        } else {
            CellAlignment::Left
        })
    }

    /// A text in lines of at most `width`, broken after joints. A longer piece is left to be broken
    /// anywhere.
    fn folded(&self, text: &str, width: u16) -> String {
        if length(text) <= width {
            return text.to_owned();
        }
        let mut lines = String::new();
        let mut used = 0;
        for piece in text.split_inclusive(self.joints) {
            if used > 0 && used + length(piece.trim_end()) > width {
                lines.push('\n');
                used = 0;
            }
            lines.push_str(piece);
            used += length(piece);
        }
        lines
    }
}

/// The widths of the columns, together at most `room`: the widest is made narrower first. Prose is
/// wrapped before paths and dotted names are broken, and these are before words are.
fn widths(columns: &[Shown], room: u16) -> Vec<u16> {
    let gaps = GAP * u16::try_from(columns.len().saturating_sub(1)).unwrap_or_default();
    let room = u32::from(room.saturating_sub(gaps));
    let mut widths: Vec<u16> = columns.iter().map(|column| column.wanted).collect();
    for stage in 0..3 {
        while widths.iter().copied().map(u32::from).sum::<u32>() > room {
            let widest = (0..widths.len())
                .filter(|&place| widths[place] > columns[place].floors[stage])
                .max_by_key(|&place| widths[place]);
            match widest {
                Some(place) => widths[place] -= 1,
                None => break,
            }
        }
    }
    widths
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(column: Column, texts: &[&str]) -> Shown {
        let texts: Vec<Vec<String>> = texts.iter().map(|&text| vec![text.to_owned()]).collect();
        Shown::of(column, 0, &texts).unwrap_or_else(|| unreachable!("it has a text"))
    }

    #[test]
    fn prose_is_wrapped_before_a_path_is_broken() {
        let path = "/srv/app/lib/python3.11/site-packages";
        let columns = [
            of(Column::Number("DISTS"), &["11"]),
            of(
                Column::Text("REASON"),
                &["1 changed and read from the source; run it"],
            ),
            of(Column::Path("PATH ENTRY"), &[path]),
        ];
        assert_eq!(widths(&columns, 120), [5, 42, 37]);
        assert_eq!(widths(&columns, 70), [5, 24, 37]);
        assert_eq!(widths(&columns, 60), [5, 20, 31]);
        assert_eq!(
            columns[2].folded(path, 31),
            "/srv/app/lib/python3.11/\nsite-packages"
        );
    }

    #[test]
    fn a_name_is_broken_at_a_joint() {
        let value = "flake8.plugins.pycodestyle:pycodestyle_logical";
        let column = of(Column::Text("VALUE"), &[value]);
        assert_eq!(
            column.folded(value, 30),
            "flake8.plugins.pycodestyle:\npycodestyle_logical"
        );
    }

    #[test]
    fn a_column_that_is_empty_everywhere_is_left_out() {
        let texts = [vec![String::new()], vec![String::new()]];
        assert!(Shown::of(Column::Text("REASON"), 0, &texts).is_none());
    }
}
