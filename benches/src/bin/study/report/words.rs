//! How the document calls things, in which order, and how it writes numbers.

/// The contenders in the order of the tables, from no cache over the rejected ones to epcache and
/// the rivals, with their names. What is not here comes last, under its own name.
const CONTENDERS: [(&str, &str); 21] = [
    ("pass", "`pass`"),
    ("floor", "the floor"),
    ("none", "`importlib.metadata`"),
    ("ini-dist", "INI, one per dist"),
    ("json-dist", "JSON, one per dist"),
    ("sqlite-dist", "SQLite, one per dist"),
    ("mirror-files", "epcache's mirror files alone"),
    ("ini-path-entry", "INI, one per path entry"),
    ("json-path-entry", "JSON, one per path entry"),
    ("sqlite-path-entry", "SQLite, one per path entry"),
    ("ini-sys-path", "INI, one per `sys.path`"),
    ("json-sys-path", "JSON, one per `sys.path`"),
    ("sqlite-sys-path", "SQLite, one per `sys.path`"),
    ("epcache-exact", "epcache, `exact`"),
    ("epcache-fast", "epcache, `fast`"),
    ("epcache-only", "epcache, `only`"),
    ("stevedore", "stevedore"),
    ("entrypoints", "entrypoints"),
    ("pkg_resources", "pkg_resources"),
    ("importlib_metadata", "importlib_metadata"),
    ("epi", "epi"),
];

/// The works.
const WORKS: [(&str, &str); 6] = [
    ("find-10", "find a group of 10"),
    ("find-2500", "find a group of 2,500"),
    ("list", "list all"),
    ("first-build", "first build"),
    ("rebuild", "rebuild after one install"),
    ("nothing", "nothing to do"),
];

/// The conditions, roughly from the fastest file system to the slowest.
const CONDITIONS: [(&str, &str); 7] = [
    ("tmpfs", "tmpfs"),
    ("warm", "warm"),
    ("overlay", "overlay"),
    ("cold", "cold"),
    ("slow-0.5ms", "0.5 ms per operation"),
    ("slow-0.5ms-shared", "0.5 ms, the caches too"),
    ("slow-5ms", "5 ms per operation"),
];

/// The document's name of a contender.
pub(super) fn contender(id: &str) -> &str {
    named(&CONTENDERS, id)
}

/// The same in a figure, where no code is marked.
pub(super) fn plain_contender(id: &str) -> String {
    contender(id).replace('`', "")
}

/// The document's name of a language.
pub(super) fn language(id: &str) -> &str {
    named(&[("python", "Python"), ("rust", "Rust")], id)
}

/// The document's name of a work.
pub(super) fn work(id: &str) -> &str {
    named(&WORKS, id)
}

/// The document's name of a condition.
pub(super) fn condition(id: &str) -> &str {
    named(&CONDITIONS, id)
}

/// Puts contenders, each once, into the order of the document.
pub(super) fn contenders_in_order(ids: &mut Vec<&str>) {
    in_order(&CONTENDERS, ids);
}

/// Puts conditions, each once, into the order of the document.
pub(super) fn conditions_in_order(ids: &mut Vec<&str>) {
    in_order(&CONDITIONS, ids);
}

fn named<'a>(names: &[(&str, &'static str)], id: &'a str) -> &'a str {
    names
        .iter()
        .find(|(known, _)| *known == id)
        .map_or(id, |(_, name)| *name)
}

fn in_order(names: &[(&str, &str)], ids: &mut Vec<&str>) {
    let place = |id: &str| {
        let known = names.iter().position(|(known, _)| *known == id);
        known.unwrap_or(names.len())
    };
    ids.sort_by(|one, other| (place(one), one).cmp(&(place(other), other)));
    ids.dedup();
}

/// A number with three digits that count; a thousand and more in whole numbers with commas.
pub(super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 99.95 {
        return grouped(value);
    }
    let decimals = match magnitude {
        m if m >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// A ratio: two digits that count are what such measurements support.
pub(super) fn ratio(value: f64) -> String {
    match value {
        v if v >= 9.95 => grouped(v),
        v => format!("{v:.1}"),
    }
}

/// A duration in milliseconds, in the unit in which people would say it.
pub(super) fn milliseconds(value: f64) -> String {
    if value.abs() >= 9_999.5 {
        format!("{} s", number(value / 1_000.0))
    } else {
        format!("{} ms", number(value))
    }
}

/// A whole number with commas between the thousands.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 && digits != "0" {
        text.insert(0, '-');
    }
    text
}
