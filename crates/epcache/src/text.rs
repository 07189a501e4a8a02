//! Python's text rules, where they differ from Rust's: what `str.splitlines`, `str.strip`,
//! `str.lower` and `\w` mean.
//!
//! The lowest layer: the grammar and the names stand on it and on nothing else. Sources: CPython's
//! `Objects/unicodeobject.c` (`_PyUnicode_IsLinebreak`, `_PyUnicode_IsWhitespace`) and
//! `Modules/_sre` (`SRE_CATEGORY_UNI_WORD`).

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Whether `str.isspace` holds: Unicode white space and the four information separators, which
/// Rust's `char::is_whitespace` leaves out.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// `str.strip()`.
pub(crate) fn strip(s: &str) -> &str {
    s.trim_matches(is_space)
}

/// Whether `re`'s `\w` matches: a letter, a number or the underscore.
///
/// Not `char::is_alphanumeric`, which also has combining marks (Unicode's `Other_Alphabetic`).
pub(crate) fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    matches!(
        c.general_category_group(),
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number
    )
}

/// Whether `str.splitlines` ends a line here.
fn is_line_break(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// `str.splitlines()`: the lines without their ends; `\r\n` is one end. (Universal newlines, which
/// CPython applies when it reads the file, change nothing that this does not do as well.)
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text).filter(|text| !text.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let Some((at, end)) = text.char_indices().find(|&(_, c)| is_line_break(c)) else {
            rest = None;
            return Some(text);
        };
        let after = &text[at + end.len_utf8()..];
        let after = if end == '\r' {
            after.strip_prefix('\n').unwrap_or(after)
        } else {
            after
        };
        rest = Some(after).filter(|after| !after.is_empty());
        Some(&text[..at])
    })
}

/// `str.lower()` of a name that may not be UTF-8: what Python reads with `surrogateescape` has no
/// case and stays as it is.
pub(crate) fn lower(name: &[u8]) -> Vec<u8> {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let mut lower = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        lower.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        lower.extend_from_slice(chunk.invalid());
    }
    lower
}

/// Whether a name can stand in a line of an index and on a terminal: UTF-8 without control
/// characters, and without the two line separators that other readers might split at.
pub(crate) fn is_plain(name: &[u8]) -> bool {
    std::str::from_utf8(name)
        .is_ok_and(|name| !name.chars().any(|c| c.is_control() || is_line_break(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_pythons_splitlines_ends_them() {
        let split = |text| lines(text).collect::<Vec<_>>();
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split("a"), ["a"]);
        assert_eq!(split("a\n"), ["a"]);
        assert_eq!(split("a\r\nb\rc\n\nd"), ["a", "b", "c", "", "d"]);
        assert_eq!(
            split("a\x0bb\x0cc\x1cd\x1de\x1ef\u{85}g\u{2028}h\u{2029}i"),
            "abcdefghi"
                .split("")
                .filter(|s| !s.is_empty())
                .collect::<Vec<_>>()
        );
        assert_eq!(split("a\x1fb"), ["a\x1fb"]);
    }

    #[test]
    fn strip_takes_the_information_separators_too() {
        assert_eq!(strip("\x1c\x1f \u{a0}\u{3000}a b\x1d\t"), "a b");
        assert_eq!(strip("\u{feff}a"), "\u{feff}a");
    }

    #[test]
    fn word_characters_are_letters_numbers_and_underscore_but_no_marks() {
        assert!("aZ9_é漢²Ⅷ٣".chars().all(is_word));
        assert!(!"-. \u{301}\u{93e}€".chars().any(is_word));
    }

    #[test]
    fn lower_keeps_bytes_that_are_no_utf8() {
        assert_eq!(lower(b"A\xffB"), b"a\xffb");
        assert_eq!(lower("İΣ".as_bytes()), "i̇ς".as_bytes());
    }
}
