//! Entry points and the object references that are their values: the words of the
//! [entry points specification](https://packaging.python.org/specifications/entry-points/).

use crate::text::{is_space, is_word};

/// One entry point: a name in a group, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPoint {
    /// The group, such as `console_scripts`: what a host application asks for.
    pub group: String,
    /// The name within the group. Not necessarily unique, not necessarily an identifier.
    pub name: String,
    /// The value, by the specification an object reference; see [`EntryPoint::reference`].
    pub value: String,
}

impl EntryPoint {
    /// The value as an object reference; `None` where it is none (CPython's `module` and `attr`
    /// then raise; the entry point counts all the same).
    pub fn reference(&self) -> Option<ObjectReference<'_>> {
        ObjectReference::parse(&self.value)
    }
}

/// An object reference, `module:attr [extras]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectReference<'a> {
    /// The dotted name of the module to import.
    pub module: &'a str,
    /// The dotted attribute in the module; `None` for a reference to the module itself.
    pub attr: Option<&'a str>,
    /// The extras whose dependencies the object needs (deprecated by the specification).
    pub extras: Vec<&'a str>,
}

impl<'a> ObjectReference<'a> {
    /// Reads a value as `importlib.metadata.EntryPoint.pattern` does:
    /// `module`, then `: attr`, then `[extras]`, the latter two optional, white space allowed
    /// between them and at the end. Takes any string, never panics.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (module, rest) = dotted_name(value)?;
        let rest = skip_space(rest);
        let (attr, rest) = match rest.strip_prefix(':') {
            Some(rest) => {
                let (attr, rest) = dotted_name(skip_space(rest))?;
                (Some(attr), skip_space(rest))
            }
            None => (None, rest),
        };
        if rest.is_empty() {
            return Some(Self {
                module,
                attr,
                extras: Vec::new(),
            });
        }
        let inside = rest
            .strip_prefix('[')?
            .trim_end_matches(is_space)
            .strip_suffix(']')?;
        if inside.contains('\n') {
            return None; // the pattern's `.` does not match it
        }
        let extras = inside
            .split(|c| !is_word(c))
            .filter(|extra| !extra.is_empty())
            .collect();
        Some(Self {
            module,
            attr,
            extras,
        })
    }
}

/// The longest prefix of word characters and dots, and what follows; `None` if it is empty.
fn dotted_name(s: &str) -> Option<(&str, &str)> {
    let end = s.find(|c| !is_word(c) && c != '.').unwrap_or(s.len());
    (end > 0).then(|| s.split_at(end))
}

fn skip_space(s: &str) -> &str {
    s.trim_start_matches(is_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Option<(&str, Option<&str>, Vec<&str>)> {
        ObjectReference::parse(value).map(|r| (r.module, r.attr, r.extras))
    }

    #[test]
    fn references_are_read_as_cpythons_pattern_reads_them() {
        // Each right side was printed by CPython 3.13's EntryPoint.
        assert_eq!(parse("a.b"), Some(("a.b", None, vec![])));
        assert_eq!(parse("a:b.c"), Some(("a", Some("b.c"), vec![])));
        assert_eq!(
            parse("a : b [x, y-z]"),
            Some(("a", Some("b"), vec!["x", "y", "z"]))
        );
        assert_eq!(parse("a [x] [y]"), Some(("a", None, vec!["x", "y"])));
        assert_eq!(parse("a []"), Some(("a", None, vec![])));
        assert_eq!(parse("..:."), Some(("..", Some("."), vec![])));
        assert_eq!(parse("é:漢"), Some(("é", Some("漢"), vec![])));
        for none in [
            "", ":b", "a:", "a b", "a:b c", "a-b", "a [x", "a x]", "a: [x]", " a", "a:b:c", "[",
        ] {
            assert_eq!(parse(none), None, "{none:?}");
        }
    }
}
