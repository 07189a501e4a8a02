//! The `Name:` of a METADATA or PKG-INFO text, as CPython's `email` package finds it.
//!
//! Needed only where the metadata directory's own name does not give the normalized name (an egg, a
//! zip, an odd directory name). Source of the rules: `email/feedparser.py` (`headerRE`,
//! `_parse_headers`), `email/_policybase.py` (`Compat32.header_source_parse`) and
//! `importlib/metadata/_adapters.py` (`_repair_headers`).

/// The value of the first `Name` header; `None` if there is none, on which CPython raises.
pub(crate) fn name(text: &str) -> Option<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = text
        .split('\n')
        .take_while(|line| is_header_line(line))
        .peekable();
    while let Some(line) = lines.next() {
        let Some(value) = value_of_name(line) else {
            continue;
        };
        let mut value = value.trim_start_matches([' ', '\t']).to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            value.push('\n');
            value.push_str(more);
        }
        let value = value.trim_end_matches('\n');
        return Some(if value.contains('\n') {
            dedent(value)
        } else {
            value.to_owned()
        });
    }
    None
}

/// `headerRE`: an envelope line, a field name of printable ASCII and a colon, or a continuation.
/// Anything else, an empty line too, ends the headers.
fn is_header_line(line: &str) -> bool {
    line.starts_with("From ")
        || line.starts_with([' ', '\t'])
        || line
            .split_once(':')
            .is_some_and(|(field, _)| field.bytes().all(|b| (b'!'..=b'~').contains(&b)))
}

fn value_of_name(line: &str) -> Option<&str> {
    let (field, value) = line.split_once(':')?;
    (!line.starts_with("From ") && field.eq_ignore_ascii_case("name")).then_some(value)
}

/// `textwrap.dedent(' ' * 8 + value)`, which `_repair_headers` applies to values of several lines.
fn dedent(value: &str) -> String {
    let value = format!("{}{value}", " ".repeat(8));
    let blank = |line: &str| line.bytes().all(|b| b == b' ' || b == b'\t');
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let mut margin: Option<&str> = None;
    for line in value.split('\n').filter(|line| !blank(line)) {
        let own = &line[..indent(line)];
        let common = margin.map_or(own.len(), |m| {
            m.bytes()
                .zip(own.bytes())
                .take_while(|(a, b)| a == b)
                .count()
        });
        margin = Some(&own[..common]);
    }
    let margin = margin.unwrap_or_default().len();
    let lines: Vec<_> = value
        .split('\n')
        .map(|line| if blank(line) { "" } else { &line[margin..] })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_is_found_as_cpythons_email_package_finds_it() {
        // Each right side was printed by CPython 3.13.
        let cases = [
            ("Metadata-Version: 2.1\nName: foo\n", Some("foo")),
            ("name:\tFoo Bar \n", Some("Foo Bar ")),
            ("NAME: a\nName: b\n", Some("a")),
            ("Name: a\r\nVersion: 1\r\n", Some("a")),
            ("Name:\n", Some("")),
            ("Name: a\n b\n", Some("       a\nb")),
            (" Name: a\nName: b", Some("b")),
            ("From x: y\nName: b", Some("b")),
            (": x\n y\nName: b", Some("b")),
            ("Version: 1\n\nName: a\n", None),
            ("Version: 1\nno header\nName: a\n", None),
            ("Näme: a\nName: b", None),
            ("Name : a\n", None),
            ("", None),
        ];
        for (text, name) in cases {
            assert_eq!(super::name(text).as_deref(), name, "{text:?}");
        }
    }
}
