//! Texts as they are printed: escaped, and in words for people.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// A path as text; what is not UTF-8 in it is replaced.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A message of the operating system without its number, which tells people nothing.
pub(crate) fn without_number(text: &str) -> Cow<'_, str> {
    const NUMBER: &str = " (os error ";
    let Some((before, rest)) = text.split_once(NUMBER) else {
        return text.into();
    };
    match rest.split_once(')') {
        Some((number, after)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{before}{}", without_number(after)).into()
        }
        _ => text.into(),
    }
}

/// A field of plain output: what would end it is escaped, and every other control character, as
/// what is piped often ends on a terminal all the same.
pub(super) fn field(text: &str) -> Cow<'_, str> {
    let acts = |c: char| c == '\\' || c.is_control();
    if !text.contains(acts) {
        return text.into();
    }
    let mut field = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => field.push_str("\\\\"),
            '\t' => field.push_str("\\t"),
            '\n' => field.push_str("\\n"),
            '\r' => field.push_str("\\r"),
            // No control character is above U+009F. To a string: does not fail.
            c if c.is_control() => drop(write!(field, "\\x{:02x}", u32::from(c))),
            c => field.push(c),
        }
    }
    field.into()
}

/// Text for a terminal: control characters, and those that change the direction of writing, as
/// escapes.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
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
            shown.extend(c.escape_default());
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
    fn a_field_can_not_end_its_line_nor_act_on_a_terminal() {
        assert_eq!(field("a\tb\nc\\d\r"), "a\\tb\\nc\\\\d\\r");
        assert_eq!(field("\x1b[2J\u{9b}\x7f\0é"), "\\x1b[2J\\x9b\\x7f\\x00é");
    }

    #[test]
    fn an_error_s_number_is_left_out_and_nothing_else() {
        assert_eq!(
            without_number("/a: Permission denied (os error 13); do (this)"),
            "/a: Permission denied; do (this)"
        );
        for text in ["/a (os error x)", "/a (os error 1", "plain"] {
            assert_eq!(without_number(text), text);
        }
    }
}
