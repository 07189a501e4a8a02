//! The files of `ini-*`, written and read by rust-ini, which could not read an `entry_points.txt`: it splits
//! `a:b = m` at the colon, loses a name that starts with `;`, ends a section's name at the first `]`, and
//! joins a line that ends in a backslash with the next one, whatever it is told about escapes.
//!
//! So keys are numbers here: the place in the order of all. Values stand in quotes, which are no quotes to
//! the library but keep it from looking at the ends. Sections are numbered, too:
//!
//! ```ini
//! [groups]
//! 0 = "console_scripts"
//! [0]
//! 7 = "3 pip = pip._internal.cli.main:main"
//! ```

use std::collections::{HashMap, HashSet};
use std::path::Path;

use epcache::EntryPoint;
use ini::{EscapePolicy, Ini, LineSeparator, ParseOption, WriteOption};

use crate::job::Job;
use crate::record::{Contents, Names, Record, Stamps, write_atomically};

/// Names are not unquoted until somebody asks.
impl Names for Ini {
    fn of(&self, dists: &HashSet<usize>) -> Option<HashMap<usize, String>> {
        let names = self.section(Some("names"))?;
        let name = |&dist: &usize| {
            let name = names.get(dist.to_string())?;
            Some((dist, unquoted(name).to_owned()))
        };
        dists.iter().map(name).collect()
    }

    fn drop_known(&self, dists: &mut HashMap<usize, String>) -> Option<()> {
        let known: HashSet<&str> = values(self, "names").collect();
        dists.retain(|_, name| !known.contains(name.as_str()));
        Some(())
    }
}

/// What a file holds of what is wanted; `None` unless it is one of these `seen`.
pub(crate) fn load(path: &Path, job: &Job, seen: &Stamps) -> Option<Record> {
    let text = std::fs::read_to_string(path).ok()?;
    let options = ParseOption {
        enabled_quote: false,
        enabled_escape: false,
        ..ParseOption::default()
    };
    let file = Ini::load_from_str_opt(&text, options).ok()?;
    if !values(&file, "seen").eq(lines_of(seen)) {
        return None;
    }
    let mut rows = Vec::new();
    for (number, name) in file
        .section(Some("groups"))
        .into_iter()
        .flat_map(|of| of.iter())
    {
        let name = unquoted(name);
        if job.wants(name) {
            for (at, line) in file.section(Some(number))? {
                rows.push((at.parse::<usize>().ok()?, row(name, unquoted(line))?));
            }
        }
    }
    rows.sort_by_key(|(at, _)| *at);
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    let names = Box::new(file);
    Some(Record { names, rows })
}

/// Writes a file.
pub(crate) fn save(path: &Path, contents: &Contents) {
    let mut file = Ini::new();
    let lines = lines_of(&contents.seen);
    for (section, values) in [("seen", &lines), ("names", &contents.names)] {
        for (number, value) in values.iter().enumerate() {
            set(&mut file, section, number, value);
        }
    }
    let mut groups: HashMap<&str, usize> = HashMap::new();
    for (at, (dist, point)) in contents.rows.iter().enumerate() {
        let next = groups.len();
        let number = *groups.entry(&point.group).or_insert_with(|| {
            set(&mut file, "groups", next, &point.group);
            next
        });
        let line = format!("{dist} {} = {}", point.name, point.value);
        set(&mut file, &number.to_string(), at, &line);
    }
    let options = WriteOption {
        escape_policy: EscapePolicy::Nothing,
        line_separator: LineSeparator::CR,
        kv_separator: " = ",
    };
    let mut text = Vec::new();
    if file.write_to_opt(&mut text, options).is_ok() {
        write_atomically(path, &text, None);
    }
}

fn set(file: &mut Ini, section: &str, key: usize, value: &str) {
    let quoted = format!("\"{value}\"");
    file.with_section(Some(section))
        .set(key.to_string(), quoted);
}

fn values<'a>(file: &'a Ini, section: &str) -> impl Iterator<Item = &'a str> {
    let section = file.section(Some(section)).into_iter();
    section
        .flat_map(|of| of.iter())
        .map(|(_, value)| unquoted(value))
}

/// What stands between the first and the last character.
fn unquoted(value: &str) -> &str {
    value
        .get(1..value.len().saturating_sub(1))
        .unwrap_or_default()
}

/// The row in a line `DIST NAME = VALUE`.
fn row(group: &str, line: &str) -> Option<(usize, EntryPoint)> {
    let (dist, rest) = line.split_once(' ')?;
    let (name, value) = rest.split_once('=')?;
    let point = EntryPoint {
        group: group.to_owned(),
        name: name.strip_suffix(' ')?.to_owned(),
        value: value.strip_prefix(' ')?.to_owned(),
    };
    Some((dist.parse().ok()?, point))
}

fn lines_of(seen: &Stamps) -> Vec<String> {
    seen.iter()
        .map(|(path, mtime)| format!("{mtime:?} {path}"))
        .collect()
}
