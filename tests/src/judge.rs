//! The judge of every answer: a fresh CPython process, asked what `importlib.metadata` finds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::oracle::reference_python;
use crate::process;

/// The rule of 3.12 and newer, told so that 3.10 and 3.11 give the same: the first distribution of
/// each normalized name counts, and entry points keep their file's order.
const SCRIPT: &str = r#"
import email.parser, importlib.metadata, json, os, sys

def shown(path):
    # As the command shows a name that is not UTF-8.
    return os.fsencode(path).decode("utf-8", "replace")


seen = set()
dists = []
for path_entry in sys.argv[1:]:
    for dist in importlib.metadata.distributions(path=[path_entry]):
        shadowed = dist._normalized_name in seen
        seen.add(dist._normalized_name)
        metadata_dir = shown(os.path.basename(str(dist._path)))
        dists.append({
            "normalized_name": shown(dist._normalized_name),
            "metadata_dir": metadata_dir,
            "path_entry": shown(path_entry),
            "shadowed": shadowed,
            "entry_points": [
                {
                    "group": point.group,
                    "name": point.name,
                    "value": point.value,
                    "metadata_dir": metadata_dir,
                    "path_entry": shown(path_entry),
                }
                for point in dist.entry_points
            ],
        })
json.dump(dists, sys.stdout)
"#;

/// An entry point, as far as CPython and the command must agree on it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Entry {
    /// The section of `entry_points.txt`.
    pub group: String,
    /// What stands before the `=`.
    pub name: String,
    /// What stands after the `=`.
    pub value: String,
    /// The name of the metadata directory.
    pub metadata_dir: String,
    /// The item of `sys.path`.
    pub path_entry: String,
}

impl Entry {
    /// Reads one entry point as the command writes it.
    pub fn from_json(object: &serde_json::Value) -> Self {
        let text = |value: &serde_json::Value| {
            value
                .as_str()
                .unwrap_or_else(|| panic!("a string is missing in {object}"))
                .to_owned()
        };
        Self {
            group: text(&object["group"]),
            name: text(&object["name"]),
            value: text(&object["value"]),
            metadata_dir: text(&object["dist"]["metadata_dir"]),
            path_entry: text(&object["dist"]["path_entry"]),
        }
    }
}

/// A distribution, as CPython sees it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Dist {
    /// The name by which it shadows later ones.
    pub normalized_name: String,
    /// The name of the metadata directory.
    pub metadata_dir: String,
    /// The item of `sys.path`.
    pub path_entry: String,
    /// Whether an earlier one has the same normalized name.
    pub shadowed: bool,
    /// What it declares, in the file's order, shadowed or not.
    pub entry_points: Vec<Entry>,
}

/// The interpreter that judges.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        reference_python().expect("a CPython, which is the judge of every answer, is on PATH")
    })
}

/// What a fresh CPython process answers: `importlib.metadata.entry_points()` for this `sys.path`.
pub fn entry_points(path_entries: &[&Path]) -> Vec<Entry> {
    distributions(path_entries)
        .into_iter()
        .filter(|dist| !dist.shadowed)
        .flat_map(|dist| dist.entry_points)
        .collect()
}

/// What a fresh CPython process answers: `importlib.metadata.distributions()` for this `sys.path`.
pub fn distributions(path_entries: &[&Path]) -> Vec<Dist> {
    let output = process::succeed(
        Command::new(python())
            .args(["-I", "-S", "-c", SCRIPT])
            .args(path_entries),
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
