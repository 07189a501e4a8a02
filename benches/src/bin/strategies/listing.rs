//! What a path entry's listing says of its dists: which there are, in which order and under which names.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

const SUFFIXES: [&str; 2] = [".dist-info", ".egg-info"];

/// The dists of a directory, in the order of CPython's `Lookup`: as listed, but those of one name
/// together, then `EGG-INFO`.
pub(crate) fn metadata_dirs(path_entry: &OsStr) -> Vec<OsString> {
    let here = if path_entry.is_empty() {
        OsStr::new(".")
    } else {
        path_entry
    };
    let is_egg = ends_with(path_entry, ".egg");
    let mut ranks = HashMap::new();
    let mut ranked = Vec::new();
    for child in std::fs::read_dir(here).into_iter().flatten().flatten() {
        let child = child.file_name();
        if SUFFIXES.iter().any(|suffix| ends_with(&child, suffix)) {
            let name = child.to_string_lossy();
            let stem = &name[..name.rfind('.').unwrap_or(0)];
            let next = ranks.len();
            let rank = *ranks.entry(normalize(before_hyphen(stem))).or_insert(next);
            ranked.push((rank, child));
        } else if is_egg && child.eq_ignore_ascii_case("egg-info") {
            ranked.push((usize::MAX, child));
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank); // stable: within a name, as listed
    ranked.into_iter().map(|(_, child)| child).collect()
}

/// In upper or lower case.
fn ends_with(name: &OsStr, suffix: &str) -> bool {
    let name = name.as_bytes();
    let start = name.len().saturating_sub(suffix.len());
    name[start..].eq_ignore_ascii_case(suffix.as_bytes())
}

/// The normalized name, where CPython does not take it from the metadata.
pub(crate) fn name_in(metadata_dir: &str) -> Option<String> {
    let stem = SUFFIXES
        .iter()
        .find_map(|suffix| metadata_dir.strip_suffix(suffix))?;
    let name = normalize(before_hyphen(stem));
    (!name.is_empty() && stem.bytes().any(|byte| byte != b'.')).then_some(name)
}

fn before_hyphen(stem: &str) -> &str {
    stem.split('-').next().unwrap_or_default()
}

/// PEP 503, with `_` for `-`.
pub(crate) fn normalize(name: &str) -> String {
    let mut normalized = String::with_capacity(name.len());
    for c in name.to_lowercase().chars() {
        let c = if matches!(c, '-' | '.') { '_' } else { c };
        if c != '_' || !normalized.ends_with('_') {
            normalized.push(c);
        }
    }
    normalized
}
