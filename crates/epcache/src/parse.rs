//! The grammar of `entry_points.txt`, exactly CPython's (`importlib.metadata.Sectioned` and
//! `Pair.parse`), which is neither TOML nor any INI dialect.

use crate::text::{lines, strip};

/// One entry of a text, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The group: the name of the section.
    pub group: &'a str,
    /// What stands before the first `=`.
    pub name: &'a str,
    /// What stands after it.
    pub value: &'a str,
}

/// A line inside a section that has no `=`. CPython raises `TypeError` on it, and so gives no
/// answer at all; epcache leaves out this line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The number of the line, from 1, counted as `str.splitlines` does.
    pub line: usize,
}

/// The entries of an `entry_points.txt`, one after another.
///
/// Takes any text, keeps nothing in memory, never panics. The rules, where they surprise: lines end
/// wherever `str.splitlines` ends them; a section line starts with `[` and ends with `]`, and its
/// name is what is left when all of both are stripped from its ends; only `#` starts a comment, and
/// only at the start of a line; lines before the first section are ignored; names and values may be
/// empty.
pub fn parse(text: &str) -> impl Iterator<Item = Result<Entry<'_>, BadLine>> {
    let mut group = None;
    lines(text).enumerate().filter_map(move |(number, line)| {
        let line = strip(line);
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        if line.starts_with('[') && line.ends_with(']') {
            group = Some(line.trim_matches(['[', ']']));
            return None;
        }
        let group = group?;
        Some(match line.split_once('=') {
            Some((name, value)) => Ok(Entry {
                group,
                name: strip(name),
                value: strip(value),
            }),
            None => Err(BadLine { line: number + 1 }),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(&str, &str, &str)> {
        parse(text)
            .map(|entry| entry.map_or(("!", "", ""), |e| (e.group, e.name, e.value)))
            .collect()
    }

    #[test]
    fn texts_are_read_as_cpython_reads_them() {
        // Each right side was printed by CPython 3.13.
        assert_eq!(read("[g]\na = b:c\n"), [("g", "a", "b:c")]);
        assert_eq!(read("x = y\n[g]\na:b = m"), [("g", "a:b", "m")]);
        assert_eq!(read("[ a ]\nn=v"), [(" a ", "n", "v")]);
        assert_eq!(read("[a][b]\nn=v"), [("a][b", "n", "v")]);
        assert_eq!(read("[]\nn=v"), [("", "n", "v")]);
        assert_eq!(read("[\n[[x]]\nn=v"), [("x", "n", "v")]);
        assert_eq!(read("[x] = y [z]\nn=v"), [("x] = y [z", "n", "v")]);
        assert_eq!(
            read("[g]\n;n = v\n#n = v\n =v\nn=\n=\na=b=c # d"),
            [
                ("g", ";n", "v"),
                ("g", "", "v"),
                ("g", "n", ""),
                ("g", "", ""),
                ("g", "a", "b=c # d"),
            ]
        );
        assert_eq!(read("\u{feff}[g]\nn=v"), []);
        assert_eq!(
            read("[g]\x1cn=v\u{85}m=\x1fw\x1f"),
            [("g", "n", "v"), ("g", "m", "w")]
        );
    }

    #[test]
    fn a_line_without_an_equals_sign_is_named_by_its_number() {
        let found: Vec<_> = parse("ignored\n[g]\nn = v\n[g] # c\nm = w").collect();
        assert_eq!(found[1], Err(BadLine { line: 4 }));
        assert_eq!(found.len(), 3);
    }
}
