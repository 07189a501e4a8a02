//! CPython as the judge: which interpreter, and one long-lived process of it that is asked.
//!
//! What is true of a `sys.path` is what `importlib.metadata` says about it. Starting an
//! interpreter for each question takes 50 times as long as the answer, so an [`Oracle`] starts one
//! and puts many questions to it, over pipes, with CPython's own caches cleared in between
//! (`oracle.py`, beside this file).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::process;
use crate::talk::Talk;

/// What the oracle process runs.
const SOURCE: &str = include_str!("oracle.py");

/// The versions of CPython whose answer counts: older ones have another algorithm, and newer ones
/// are not known.
const MINOR_VERSIONS: RangeInclusive<u32> = 10..=14;

/// One entry point, as the command's JSON and the oracle both tell it. Paths are lossy, as JSON
/// can only hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The group it is declared in.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its value, verbatim.
    pub value: String,
    /// The module of the object reference, if the value is one.
    pub module: Option<String>,
    /// The attribute, if the object reference has one.
    pub attr: Option<String>,
    /// The extras of the object reference.
    pub extras: Vec<String>,
    /// The name of the metadata directory that declares it.
    pub metadata_dir: String,
    /// The item of `sys.path` it was found on.
    pub path_entry: String,
}

impl Answer {
    /// Reads one line of `epcache query --format jsonl`.
    pub fn from_command(line: &str) -> Result<Self, String> {
        let json: Value =
            serde_json::from_str(line).map_err(|error| format!("not JSON: {error}: {line:?}"))?;
        let dist = &json["dist"];
        Self::read(
            &json,
            text(dist, "metadata_dir")?,
            text(dist, "path_entry")?,
        )
    }

    pub(crate) fn read(
        json: &Value,
        metadata_dir: String,
        path_entry: String,
    ) -> Result<Self, String> {
        let extras = json["extras"]
            .as_array()
            .ok_or_else(|| format!("no list of extras: {json}"))?;
        Ok(Self {
            group: text(json, "group")?,
            name: text(json, "name")?,
            value: text(json, "value")?,
            module: text_or_null(json, "module")?,
            attr: text_or_null(json, "attr")?,
            extras: extras
                .iter()
                .map(|extra| extra.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| format!("an extra that is no string: {json}"))?,
            metadata_dir,
            path_entry,
        })
    }
}

fn text(json: &Value, key: &str) -> Result<String, String> {
    text_or_null(json, key)?.ok_or_else(|| format!("{key:?} is null: {json}"))
}

fn text_or_null(json: &Value, key: &str) -> Result<Option<String>, String> {
    match json.get(key) {
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Null) => Ok(None),
        _ => Err(format!("no {key:?}: {json}")),
    }
}

/// What is true of one `sys.path`.
#[derive(Clone, Debug)]
pub struct Truth {
    /// The entry points, in CPython's order, without what CPython raises on.
    pub entry_points: Vec<Answer>,
    /// What makes `entry_points()` raise, in words; empty if it does not.
    pub raises: Vec<String>,
    /// What is as broken, but never read because its distribution is shadowed.
    pub hidden: Vec<String>,
}

/// A running CPython that answers questions about paths.
pub struct Oracle(Talk);

impl Oracle {
    /// Starts `python`, isolated from the environment and from what is installed beside it.
    pub fn start(python: &Path) -> Self {
        Self(Talk::start(Command::new(python).args([
            "-I", "-S", "-B", "-W", "ignore", "-X", "utf8", "-c", SOURCE,
        ])))
    }

    /// Asks what is true of `sys_path` for a process whose current directory is `cwd`.
    pub fn ask(&mut self, sys_path: &[impl AsRef<OsStr>], cwd: &Path) -> Truth {
        self.try_ask(sys_path, cwd)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, of what may change meanwhile: an error if CPython was told different things.
    pub fn try_ask(&mut self, sys_path: &[impl AsRef<OsStr>], cwd: &Path) -> Result<Truth, String> {
        let digits: Vec<String> = sys_path.iter().map(|entry| hex(entry.as_ref())).collect();
        let answer = self
            .0
            .try_request(&json!({"path": digits, "cwd": hex(cwd.as_os_str())}))?;
        let points = answer["entry_points"].as_array().expect("a list");
        Ok(Truth {
            entry_points: points
                .iter()
                .map(|point| read_point(point, sys_path))
                .collect(),
            raises: strings(&answer["raises"]),
            hidden: strings(&answer["hidden"]),
        })
    }

    /// Has CPython's `zipfile` write an archive.
    pub fn write_zip(&mut self, path: &Path, archive: &Archive) {
        let members: Vec<Value> = archive
            .members
            .iter()
            .map(|member| json!([member.name, hex_bytes(&member.content), member.deflated]))
            .collect();
        self.0.request(&json!({"zip": {
            "path": hex(path.as_os_str()),
            "members": members,
            "before": hex_bytes(&archive.before),
            "offsets_count_from_file_start": archive.offsets_count_from_file_start,
        }}));
    }
}

/// A zip file to be written.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    /// Its members, in order; names may repeat.
    pub members: Vec<Member>,
    /// Data in front of the archive, as a self-extracting one has.
    pub before: Vec<u8>,
    /// Whether the archive's offsets count that data too, or only the archive itself.
    pub offsets_count_from_file_start: bool,
}

/// One member of a zip file; a directory if its name ends in a slash.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name, from the archive's root.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// Whether it is deflated, or stored as it is.
    pub deflated: bool,
}

fn read_point(point: &Value, sys_path: &[impl AsRef<OsStr>]) -> Answer {
    let position = point["position"]
        .as_u64()
        .and_then(|position| usize::try_from(position).ok())
        .expect("a position in sys.path");
    let digits = point["metadata_dir"].as_str().expect("digits");
    Answer::read(
        point,
        lossy(&unhex(digits)),
        lossy(sys_path[position].as_ref().as_bytes()),
    )
    .expect("the oracle tells all of an entry point")
}

fn strings(list: &Value) -> Vec<String> {
    serde_json::from_value(list.clone()).expect("a list of strings")
}

/// The rule by which a path that is not UTF-8 is written in JSON.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn hex(text: &OsStr) -> String {
    hex_bytes(text.as_bytes())
}

pub(crate) fn hex_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("two digits"))
        .collect()
}

/// The interpreter that judges: `EPCACHE_TEST_PYTHON`, or the newest CPython that there is.
pub fn reference_python() -> Option<PathBuf> {
    match std::env::var_os("EPCACHE_TEST_PYTHON") {
        Some(chosen) => Some(PathBuf::from(chosen)),
        None => pythons().pop(),
    }
}

/// The CPythons that count, oldest first, the newest of each minor version: those on `PATH`, and
/// pyenv's, whose commands on `PATH` may be of a version that is not chosen.
pub fn pythons() -> Vec<PathBuf> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&search_path).collect();
    directories.extend(pyenv_directories(&directories));
    let candidates: BTreeSet<PathBuf> = directories
        .iter()
        .flat_map(|directory| {
            MINOR_VERSIONS
                .map(|minor| directory.join(format!("python3.{minor}")))
                .chain([directory.join("python3")])
        })
        .filter_map(|candidate| Some(real_or(candidate.canonicalize().ok()?, candidate)))
        .collect();
    let mut newest: BTreeMap<u32, (u32, PathBuf)> = BTreeMap::new();
    for candidate in candidates {
        let Some((3, minor, patch)) = version(&candidate) else {
            continue;
        };
        if MINOR_VERSIONS.contains(&minor) {
            let found = (patch, candidate);
            newest
                .entry(minor)
                .and_modify(|known| *known = known.clone().max(found.clone()))
                .or_insert(found);
        }
    }
    newest.into_values().map(|(_, python)| python).collect()
}

/// A shim is a link or script that decides by its own name what to run, so it keeps that name;
/// several links to one interpreter are one candidate.
fn real_or(real: PathBuf, candidate: PathBuf) -> PathBuf {
    let is_python = |path: &Path| {
        path.file_name()
            .is_some_and(|name| name.as_bytes().starts_with(b"python3"))
    };
    if is_python(&real) { real } else { candidate }
}

/// The `bin` directories of pyenv's versions, if there is a pyenv.
fn pyenv_directories(search_path: &[PathBuf]) -> Vec<PathBuf> {
    let root = search_path
        .iter()
        .find_map(|directory| output_of(&directory.join("pyenv"), &["root"]));
    let Some(root) = root else {
        return Vec::new();
    };
    let root = PathBuf::from(OsString::from_vec(root.trim_ascii().to_vec()));
    let Ok(versions) = root.join("versions").read_dir() else {
        return Vec::new();
    };
    versions
        .filter_map(Result::ok)
        .map(|version| version.path().join("bin"))
        .collect()
}

/// The version of an interpreter, if it is a CPython that runs.
fn version(python: &Path) -> Option<(u32, u32, u32)> {
    const QUESTION: &str = "import sys; print(sys.implementation.name, *sys.version_info[:3])";
    let answer = String::from_utf8(output_of(python, &["-I", "-S", "-c", QUESTION])?).ok()?;
    let numbers = answer.trim().strip_prefix("cpython ")?;
    let mut numbers = numbers.split(' ').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// What a program prints, if it is one and succeeds.
fn output_of(program: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    const PERMITTED: u32 = 0o111;
    let metadata = program.metadata().ok()?;
    if !metadata.is_file() || metadata.permissions().mode() & PERMITTED == 0 {
        return None;
    }
    let output = process::finish(Command::new(program).args(arguments));
    output.status.success().then_some(output.stdout)
}
