//! The Python reader under test: one long-lived process of an interpreter that is asked through
//! `import epcache` (`reader.py`, beside this file), as the command is through its arguments.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::judge::Entry;
use crate::oracle::{Answer, hex, lossy, pythons, unhex};
use crate::talk::Talk;

/// What the process runs.
const SOURCE: &str = include_str!("reader.py");

/// The directory that makes `import epcache` work, where `EPCACHE_TEST_PACKAGE` names no other (the
/// `site-packages` that a wheel was installed into, say).
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../python");

/// Where a [`Reader`] stands: what a process's own state and its settings decide.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The items of `sys.path`.
    pub sys_path: &'a [OsString],
    /// The current directory.
    pub cwd: &'a Path,
    /// The only cache root.
    pub cache: &'a Path,
    /// `exact`, `fast`, `only` or `off`.
    pub mode: &'static str,
}

/// The parameters of one call of `entry_points`, in order.
pub type Question<'a> = Vec<(&'static str, &'a str)>;

/// What the reader said to one question.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The entry points, in the reader's order; each path entry as `pathlib` spells it.
    pub entry_points: Vec<Answer>,
    /// The category and message of each warning that was issued.
    pub warnings: Vec<(String, String)>,
}

/// A running interpreter with the reader imported.
pub struct Reader {
    python: PathBuf,
    talk: Talk,
}

impl Reader {
    /// Starts `python`, isolated from the environment and from what is installed beside it.
    pub fn start(python: &Path) -> Self {
        Self {
            python: python.to_owned(),
            talk: start(python),
        }
    }

    /// The interpreter.
    pub fn python(&self) -> &Path {
        &self.python
    }

    /// Has it start anew, as in a fresh process.
    pub fn forget(&mut self) -> Result<(), String> {
        self.request(&json!({"forget": true})).map(|_| ())
    }

    /// Puts all questions to it, one after the other. It may remember what it saw at earlier ones.
    pub fn ask(&mut self, place: &Place, questions: &[Question]) -> Result<Vec<Reply>, String> {
        let mut request = request_of(place);
        request["questions"] = json!(questions);
        let answer = self.request(&request)?;
        let replies = answer["answers"].as_array().ok_or("no list of answers")?;
        replies.iter().map(read_reply).collect()
    }

    /// What `importlib.metadata` answers differently in a fresh process that called
    /// `epcache.patch()`, in words.
    pub fn differences_when_patched(&mut self, place: &Place) -> Result<Vec<String>, String> {
        let answer = self.request(&json!({"patched": request_of(place)}))?;
        serde_json::from_value(answer["differences"].clone()).map_err(|error| error.to_string())
    }

    fn request(&mut self, request: &Value) -> Result<Value, String> {
        self.talk.try_request(request).inspect_err(|_| {
            // It may have ended, or not know any more where it is.
            self.talk = start(&self.python);
        })
    }
}

fn request_of(place: &Place) -> Value {
    json!({
        "path": place.sys_path.iter().map(|entry| hex(entry)).collect::<Vec<_>>(),
        "cwd": hex(place.cwd.as_os_str()),
        "cache": hex(place.cache.as_os_str()),
        "mode": place.mode,
    })
}

fn start(python: &Path) -> Talk {
    let package = std::env::var_os("EPCACHE_TEST_PACKAGE").unwrap_or_else(|| PACKAGE.into());
    Talk::start(
        Command::new(python)
            .args(["-I", "-S", "-X", "utf8"])
            .args(["-c", SOURCE])
            .arg(hex(&package)),
    )
}

impl From<Answer> for Entry {
    fn from(answer: Answer) -> Self {
        Self {
            group: answer.group,
            name: answer.name,
            value: answer.value,
            metadata_dir: answer.metadata_dir,
            path_entry: answer.path_entry,
        }
    }
}

fn read_reply(reply: &Value) -> Result<Reply, String> {
    let points = reply["entry_points"].as_array().ok_or("no entry points")?;
    Ok(Reply {
        entry_points: points.iter().map(read_point).collect::<Result<_, _>>()?,
        warnings: serde_json::from_value(reply["warnings"].clone())
            .map_err(|error| format!("warnings: {error}"))?,
    })
}

fn read_point(point: &Value) -> Result<Answer, String> {
    let path = |key: &str| {
        let digits = point[key].as_str().ok_or_else(|| format!("no {key:?}"))?;
        Ok::<_, String>(lossy(&unhex(digits)))
    };
    Answer::read(point, path("metadata_dir")?, path("path_entry")?)
}

/// What CPython answers, with each path entry as a distribution's `_path` tells it.
pub fn as_pathlib_spells(answers: &[Answer]) -> Vec<Answer> {
    answers
        .iter()
        .cloned()
        .map(|answer| Answer {
            path_entry: pathlib_spelling(&answer.path_entry),
            ..answer
        })
        .collect()
}

/// Without doubled and trailing slashes and without `.`; but two slashes at the start stay, which
/// POSIX lets mean something else than one.
fn pathlib_spelling(path: &str) -> String {
    let root = match path.len() - path.trim_start_matches('/').len() {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    match (root, parts.join("/")) {
        ("", rest) if rest.is_empty() => ".".to_owned(),
        (root, rest) => format!("{root}{rest}"),
    }
}

/// The interpreters that the reader is tried on: `EPCACHE_TEST_READERS` (a list, separated as
/// `PATH` is, and empty for none), or every CPython that there is.
pub fn reader_pythons() -> Vec<PathBuf> {
    match std::env::var_os("EPCACHE_TEST_READERS") {
        Some(chosen) => std::env::split_paths(&chosen)
            .filter(|python| !python.as_os_str().is_empty())
            .collect(),
        None => pythons(),
    }
}

/// Whether a path entry has a mirror: mode `only` looks at no other (`docs/format.md`).
pub fn has_mirror(path_entry: &OsStr) -> bool {
    let is_separator = |character: char| matches!(character, '\u{2028}' | '\u{2029}');
    let is_cache_file = |part: &str| {
        let metadata_dir = part.strip_suffix(".txt").map(str::to_lowercase);
        part == ".index"
            || part == ".interpreters"
            || part == ".refresh"
            || part == ".watchers"
            || part.starts_with(".tmp-")
            || metadata_dir.is_some_and(|name| {
                name == "egg-info" || name.ends_with(".dist-info") || name.ends_with(".egg-info")
            })
    };
    path_entry.to_str().is_some_and(|text| {
        text.strip_prefix('/').is_some_and(|parts| {
            parts
                .split('/')
                .all(|part| !matches!(part, "" | "." | "..") && !is_cache_file(part))
        }) && !text.chars().any(|it| it.is_control() || is_separator(it))
    })
}

/// Whether the cache tells all of a path entry that it was just refreshed for: mode `only` must
/// then say what the sources say.
///
/// It does not tell all of it where there is no index, and of a distribution that is to be read
/// from its source and whose shadowing can't be known without that.
pub fn tells_all(cache: &Path, path_entry: &Path) -> bool {
    let Ok(relative) = path_entry.strip_prefix("/") else {
        return false;
    };
    let Ok(index) = std::fs::read(cache.join(relative).join(".index")) else {
        return false;
    };
    index
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"self\t"))
        .all(|digits| {
            let name = unhex(&String::from_utf8_lossy(digits));
            path_entry.is_dir() && names_itself(&name)
        })
}

/// Whether a metadata directory's name can be that of a mirror file, and alone gives the
/// normalized name.
fn names_itself(metadata_dir: &[u8]) -> bool {
    /// The longest name that has room for `.txt` behind it.
    const LONGEST: usize = 251;
    let Ok(name) = std::str::from_utf8(metadata_dir) else {
        return false;
    };
    let stem = name
        .strip_suffix(".dist-info")
        .or_else(|| name.strip_suffix(".egg-info"));
    let is_plain = |it: char| !it.is_control() && !matches!(it, '\u{2028}' | '\u{2029}');
    name.len() <= LONGEST
        && name.chars().all(is_plain)
        && stem.is_some_and(|stem| !stem.trim_matches('.').is_empty() && !stem.starts_with('-'))
}
