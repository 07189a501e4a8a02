//! What the name of a metadata directory says of its dist: whether it is one, how it is called,
//! and beside which others CPython lists it.
//!
//! All names are bytes, as the file system has them. Source of every rule: `Lookup`, `Prepared` and
//! `PathDistribution` in CPython's `importlib/metadata/__init__.py`.

use crate::text::lower;
use foldhash::{HashMap, HashMapExt};
use std::borrow::Cow;

const SUFFIXES: [&[u8]; 2] = [b".dist-info", b".egg-info"];

/// The directory with the metadata inside an egg.
const EGG_INFO: &[u8] = b"egg-info";

/// Whether a path entry's string makes `EGG-INFO` in it a dist: it ends in `.egg`, in any case, and
/// in nothing more (`/x/foo.egg/` has none).
pub(crate) fn is_egg(path_entry: &[u8]) -> bool {
    ends_with_ignoring_case(base_name(path_entry), b".egg")
}

/// Whether a child of a path entry is a dist.
pub(crate) fn is_dist(child: &[u8], in_egg: bool) -> bool {
    // Lower-casing turns no character that is not ASCII into one of these, so bytes do.
    SUFFIXES
        .iter()
        .any(|suffix| ends_with_ignoring_case(child, suffix))
        || (in_egg && child.eq_ignore_ascii_case(EGG_INFO))
}

/// Puts the dists of one path entry into CPython's order: as listed, but those of one lookup name
/// together, where the first of them stands; then `EGG-INFO`.
pub(crate) fn in_order<N: AsRef<[u8]>>(listed: Vec<N>) -> Vec<N> {
    let mut first = HashMap::with_capacity(listed.len());
    let ranks: Vec<usize> = listed
        .iter()
        .map(|name| {
            let name = name.as_ref();
            if name.eq_ignore_ascii_case(EGG_INFO) {
                return usize::MAX;
            }
            let next = first.len();
            *first.entry(lookup_name(name)).or_insert(next)
        })
        .collect();
    let mut ranked: Vec<_> = ranks.into_iter().zip(listed).collect();
    ranked.sort_by_key(|&(rank, _)| rank); // stable: within a name, as listed
    ranked.into_iter().map(|(_, name)| name).collect()
}

/// The name under which `Lookup` files a child: of the lower-cased name what stands before the last
/// dot, cut at the first hyphen, normalized.
fn lookup_name(child: &[u8]) -> Vec<u8> {
    let low = lower(child);
    let stem = low
        .iter()
        .rposition(|&b| b == b'.')
        .map_or(&b""[..], |dot| &low[..dot]);
    normalize(cut_at_hyphen(stem))
}

/// The normalized name, where the metadata directory's own name gives it; `None` where CPython
/// takes it from the metadata: a suffix not in lower case, an empty stem, `EGG-INFO`.
pub(crate) fn name_in(metadata_dir: &[u8]) -> Option<Vec<u8>> {
    let name = cut_at_hyphen(stem(metadata_dir)?);
    (!name.is_empty()).then(|| normalize(name))
}

/// [PEP 503](https://peps.python.org/pep-0503/) normalization, with `_` for `-`
/// (`Prepared.normalize`).
pub(crate) fn normalize(name: &[u8]) -> Vec<u8> {
    // Hyphens first, as CPython does: whether a sigma is final depends on what follows it.
    let mut hyphenated = Vec::with_capacity(name.len());
    for &b in name {
        let b = if matches!(b, b'_' | b'.') { b'-' } else { b };
        if b != b'-' || hyphenated.last() != Some(&b'-') {
            hyphenated.push(b);
        }
    }
    let mut normalized = lower(&hyphenated);
    for b in &mut normalized {
        *b = if *b == b'-' { b'_' } else { *b };
    }
    normalized
}

/// The name and version as the metadata directory spells them, for display: `("foo_bar", "1.0")` of
/// `foo_bar-1.0-py3.11.egg-info`. Of `EGG-INFO`, as the egg itself spells them.
pub(crate) fn spelled(metadata_dir: &[u8], path_entry: &[u8]) -> (String, Option<String>) {
    let name = if metadata_dir.eq_ignore_ascii_case(EGG_INFO) {
        base_name(path_entry)
    } else {
        metadata_dir
    };
    let stem = name
        .iter()
        .rposition(|&b| b == b'.')
        .map_or(name, |dot| &name[..dot]);
    let mut parts = stem
        .splitn(3, |&b| b == b'-')
        .map(|part| String::from_utf8_lossy(part).into_owned());
    (parts.next().unwrap_or_default(), parts.next())
}

/// The name of the file in a mirror that stands for a metadata directory.
pub(crate) fn mirror_file(metadata_dir: &str) -> String {
    format!("{metadata_dir}.txt")
}

/// The metadata directory that a file in a mirror stands for; `None` if it is no mirror file.
pub(crate) fn mirrored(file: &[u8]) -> Option<&[u8]> {
    file.strip_suffix(b".txt")
        .filter(|name| is_dist(name, true))
}

/// What stands before an exact suffix, by `os.path.splitext`, to which leading dots belong to the
/// stem.
fn stem(metadata_dir: &[u8]) -> Option<&[u8]> {
    let stem = SUFFIXES
        .iter()
        .find_map(|suffix| metadata_dir.strip_suffix(*suffix))?;
    stem.iter().any(|&b| b != b'.').then_some(stem)
}

fn cut_at_hyphen(stem: &[u8]) -> &[u8] {
    stem.iter()
        .position(|&b| b == b'-')
        .map_or(stem, |hyphen| &stem[..hyphen])
}

fn base_name(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|&b| b == b'/')
        .map_or(path, |slash| &path[slash + 1..])
}

/// Whether a name ends so, in whatever case.
pub(crate) fn ends_with_ignoring_case(name: &[u8], suffix: &[u8]) -> bool {
    name.len() >= suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

/// A name for a message: what is not UTF-8 replaced.
pub(crate) fn shown(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dist_is_what_ends_in_dist_info_or_egg_info_in_any_case() {
        for yes in [
            "a-1.dist-info",
            "a.EGG-INFO",
            ".dist-info",
            "~a-1.dist-info",
            "a b.Dist-Info",
        ] {
            assert!(is_dist(yes.as_bytes(), false), "{yes}");
        }
        for no in ["a", "dist-info", "a.dist-info.txt", "EGG-INFO", "a.egg"] {
            assert!(!is_dist(no.as_bytes(), false), "{no}");
        }
        assert!(is_dist(b"EGG-INFO", is_egg(b"/x/foo.EGG")));
        assert!(!is_dist(b"EGG-INFO", is_egg(b"/x/foo.egg/")));
    }

    #[test]
    fn dists_of_one_name_stand_together_and_egg_info_last() {
        let listed = vec![
            "EGG-INFO",
            "a-1.dist-info",
            "b-1.dist-info",
            "A-2.dist-info",
            "a.egg-info",
        ];
        assert_eq!(
            in_order(listed),
            [
                "a-1.dist-info",
                "A-2.dist-info",
                "a.egg-info",
                "b-1.dist-info",
                "EGG-INFO"
            ]
        );
    }

    #[test]
    fn names_are_cut_at_the_first_hyphen_and_normalized() {
        let name = |dir: &str| {
            name_in(dir.as_bytes()).map(|name| String::from_utf8(name).expect("was UTF-8"))
        };
        assert_eq!(name("foo-bar-1.0.dist-info").as_deref(), Some("foo"));
        assert_eq!(name("Foo.-_Bar-1.0.egg-info").as_deref(), Some("foo_"));
        assert_eq!(
            name("Zope.Interface-5.dist-info").as_deref(),
            Some("zope_interface")
        );
        assert_eq!(name("~oo.dist-info").as_deref(), Some("~oo"));
        assert_eq!(name("ΑΣ.Β-1.dist-info").as_deref(), Some("ας_β"));
        for from_metadata in [
            "-oo-1.dist-info",
            ".dist-info",
            "..dist-info",
            "a-1.DIST-INFO",
            "EGG-INFO",
        ] {
            assert_eq!(name(from_metadata), None, "{from_metadata}");
        }
    }

    #[test]
    fn names_and_versions_are_shown_as_spelled() {
        let spelled = |dir: &str| spelled(dir.as_bytes(), b"/x/egg_y-2.egg");
        assert_eq!(
            spelled("foo_bar-1.0-py3.11.egg-info"),
            ("foo_bar".into(), Some("1.0".into()))
        );
        assert_eq!(spelled("old.egg-info"), ("old".into(), None));
        assert_eq!(spelled("EGG-INFO"), ("egg_y".into(), Some("2".into())));
    }
}
