//! The path entry that everything is measured on: as many distributions as are asked for, half of
//! them with entry points, every byte decided by the number of distributions alone.
//!
//! A directory made by pip is the model: a package and a `.dist-info` beside it for each, the
//! latter with `METADATA`, `RECORD`, `WHEEL` and `INSTALLER`. What is in the files is as long as in
//! the average distribution, so that a reader which opens too many of them pays what it would.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A group with few members, however large the environment: what an application's own plugin
/// group looks like.
pub const SMALL_GROUP: &str = "bench.small";

/// A group with so many members that printing them counts.
pub const LARGE_GROUP: &str = "bench.large";

/// The group whose one member [`PathEntry::change_one`] sets.
pub const CHANGED_GROUP: &str = "bench.changed";

/// As many as a well-known test runner finds plugins in a large environment.
const SMALL_GROUP_MEMBERS: usize = 10;

/// About what the largest real group (the OpenStack client's commands) has.
const LARGE_GROUP_MEMBERS: usize = 2_500;

/// In a small environment the large group is no larger than this for each declaring distribution.
const LARGE_GROUP_MEMBERS_PER_DIST: usize = 5;

/// Groups that real distributions declare, given out in turn.
const COMMON_GROUPS: [&str; 8] = [
    "pytest11",
    "flake8.extension",
    "sphinx.html_themes",
    "openstack.cli.extension",
    "babel.extractors",
    "pygments.lexers",
    "jupyter_serverproxy_servers",
    "distutils.commands",
];

/// Names are made of two of these and a number.
const WORDS: [&str; 16] = [
    "async", "cloud", "data", "event", "file", "graph", "http", "image", "json", "kernel", "log",
    "math", "network", "object", "parser", "queue",
];

/// A path entry that [`generate`] made.
#[derive(Debug)]
pub struct PathEntry {
    /// The directory, absolute: an item of `sys.path`.
    pub path: PathBuf,
    /// How many distributions it holds.
    pub dists: usize,
    /// Every group, with the number of its members.
    pub groups: BTreeMap<String, usize>,
    /// The metadata directories of the distributions that declare entry points.
    declaring: Vec<PathBuf>,
}

impl PathEntry {
    /// Changes the entry points of one distribution, another one each `round`, as an installer
    /// does: a new file, renamed over the old one.
    ///
    /// Afterwards the group [`CHANGED_GROUP`] has a member `dist-INDEX` there, with the round in
    /// its value. Needs two distributions at least.
    ///
    /// # Errors
    /// The file can't be read, written or renamed, or no distribution declares anything.
    pub fn change_one(&self, round: usize) -> Result<()> {
        let index = round
            .checked_rem(self.declaring.len())
            .context("no distribution declares entry points")?;
        let file = self.declaring[index].join("entry_points.txt");
        let old = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let section = format!("[{CHANGED_GROUP}]\n");
        let kept = old.split(&section).next().unwrap_or_default();
        write_file(
            &file.with_extension("new"),
            &format!("{kept}{section}dist-{index} = bench_changed:round_{round}\n"),
        )?;
        fs::rename(file.with_extension("new"), &file)
            .with_context(|| format!("rename over {}", file.display()))
    }
}

/// Makes a path entry of `dists` distributions in `dir`, which is created and should be empty.
///
/// # Errors
/// A directory or file can't be written.
pub fn generate(dir: &Path, dists: usize) -> Result<PathEntry> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let path = fs::canonicalize(dir).with_context(|| format!("resolve {}", dir.display()))?;
    let mut made = PathEntry {
        path,
        dists,
        groups: BTreeMap::new(),
        declaring: Vec::new(),
    };
    for number in 0..dists {
        let dist = Dist::numbered(number, dists);
        write_package(&made.path, &dist)?;
        let metadata = write_metadata(&made.path, &dist)?;
        if !dist.entry_points.is_empty() {
            write_file(&metadata.join("entry_points.txt"), &dist.text())?;
            made.declaring.push(metadata);
        }
        for (group, members) in &dist.entry_points {
            *made.groups.entry(group.clone()).or_default() += members.len();
        }
    }
    Ok(made)
}

/// Copies directories and regular files, but for compiled modules, which belong to where they are.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let children = fs::read_dir(from).with_context(|| format!("list {}", from.display()))?;
    for child in children {
        let child = child.with_context(|| format!("list {}", from.display()))?;
        let (source, target) = (child.path(), to.join(child.file_name()));
        if child.file_name() == "__pycache__" {
            continue;
        } else if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target)
                .with_context(|| format!("copy {} to {}", source.display(), target.display()))?;
        }
    }
    Ok(())
}

/// One distribution, before it is written.
struct Dist {
    number: usize,
    /// As in a file name: words joined by `_`.
    name: String,
    version: String,
    /// Group and lines, in file order; empty for every other distribution.
    entry_points: Vec<(String, Vec<String>)>,
}

impl Dist {
    fn numbered(number: usize, dists: usize) -> Dist {
        let first = WORDS[number % WORDS.len()];
        let second = WORDS[number / WORDS.len() % WORDS.len()];
        let mut dist = Dist {
            number,
            name: format!("{first}_{second}_{number:05}"),
            version: format!("{}.{}.{}", number % 7 + 1, number % 13, number % 5),
            entry_points: Vec::new(),
        };
        if number % 2 == 1 {
            dist.declare(number / 2, dists / 2);
        }
        dist
    }

    /// Gives the distribution its groups, as the `rank`-th of `declaring` that have some.
    fn declare(&mut self, rank: usize, declaring: usize) {
        let mut groups = vec![
            ("console_scripts".to_owned(), self.scripts(rank % 3 + 1)),
            (
                COMMON_GROUPS[rank % COMMON_GROUPS.len()].to_owned(),
                self.plugins("plugin", rank % 5 + 1),
            ),
        ];
        let few = declaring.min(SMALL_GROUP_MEMBERS);
        groups.push((
            SMALL_GROUP.to_owned(),
            self.plugins("small", share(few, rank, declaring)),
        ));
        let many = (declaring * LARGE_GROUP_MEMBERS_PER_DIST).min(LARGE_GROUP_MEMBERS);
        groups.push((
            LARGE_GROUP.to_owned(),
            self.plugins("large", share(many, rank, declaring)),
        ));
        groups.retain(|(_, members)| !members.is_empty());
        self.entry_points = groups;
    }

    fn scripts(&self, count: usize) -> Vec<String> {
        let command = self.name.replace('_', "-");
        (0..count)
            .map(|n| format!("{command}-{n} = {}.cli.command_{n}:main", self.name))
            .collect()
    }

    fn plugins(&self, kind: &str, count: usize) -> Vec<String> {
        (0..count)
            .map(|n| {
                let (package, number) = (&self.name, self.number);
                format!("{kind}_{number:05}_{n} = {package}.plugins.{kind}:Plugin{n}")
            })
            .collect()
    }

    /// The text of its `entry_points.txt`, as the common build tools write it.
    fn text(&self) -> String {
        let sections: Vec<String> = self
            .entry_points
            .iter()
            .map(|(group, members)| format!("[{group}]\n{}\n", members.join("\n")))
            .collect();
        sections.join("\n")
    }
}

/// How many of `total` things the `rank`-th of `holders` gets, if all get the same, but for one.
fn share(total: usize, rank: usize, holders: usize) -> usize {
    (rank + 1) * total / holders - rank * total / holders
}

/// Writes the importable package, which no reader of metadata opens but every one finds listed.
fn write_package(path_entry: &Path, dist: &Dist) -> Result<()> {
    let package = path_entry.join(&dist.name);
    create_dir(&package)?;
    write_file(
        &package.join("__init__.py"),
        &format!("__version__ = {:?}\n", dist.version),
    )
}

/// Writes the metadata directory with what every wheel's has, and returns it.
fn write_metadata(path_entry: &Path, dist: &Dist) -> Result<PathBuf> {
    let directory = format!("{}-{}.dist-info", dist.name, dist.version);
    let metadata = path_entry.join(&directory);
    create_dir(&metadata)?;
    write_file(&metadata.join("METADATA"), &metadata_text(dist))?;
    write_file(&metadata.join("RECORD"), &record_text(dist, &directory))?;
    write_file(
        &metadata.join("WHEEL"),
        "Wheel-Version: 1.0\nGenerator: bench (1.0)\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    )?;
    write_file(&metadata.join("INSTALLER"), "pip\n")?;
    Ok(metadata)
}

fn metadata_text(dist: &Dist) -> String {
    let name = dist.name.replace('_', "-");
    let mut text = format!(
        "Metadata-Version: 2.1\nName: {name}\nVersion: {}\nSummary: A distribution to measure on\n\
         License: MIT\nRequires-Python: >=3.10\nDescription-Content-Type: text/markdown\n",
        dist.version
    );
    for (minor, word) in WORDS.iter().take(dist.number % 9).enumerate() {
        let _ = writeln!(text, "Requires-Dist: {word}-base (>=1.{minor})");
    }
    let _ = writeln!(text, "\n# {name}\n");
    for paragraph in 0..20 + dist.number % 20 {
        let _ = writeln!(
            text,
            "Paragraph {paragraph} says what {name} does, at the length of an average description.\n"
        );
    }
    text
}

fn record_text(dist: &Dist, directory: &str) -> String {
    let mut text = String::new();
    for module in 0..20 + dist.number % 40 {
        let digest = "n0tArea1DigestButAsLongAsOneIsAndTheSameEachT";
        let size = 1_000 + module;
        let _ = writeln!(
            text,
            "{}/module_{module}.py,sha256={digest},{size}",
            dist.name
        );
    }
    let _ = writeln!(text, "{directory}/RECORD,,");
    text
}

fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir(path).with_context(|| format!("create {}", path.display()))
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]
mod tests {
    use super::*;

    /// Every file below `dir`, with its content.
    fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut directories = vec![dir.to_owned()];
        while let Some(directory) = directories.pop() {
            for child in fs::read_dir(directory).unwrap() {
                let path = child.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let name = path.strip_prefix(dir).unwrap().to_owned();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    /// The members that the files of a path entry declare for `group`, counted by reading lines.
    fn members_on_disk(path_entry: &PathEntry, group: &str) -> usize {
        contents(&path_entry.path)
            .iter()
            .filter(|(name, _)| name.ends_with("entry_points.txt"))
            .map(|(_, text)| {
                std::str::from_utf8(text)
                    .unwrap()
                    .lines()
                    .skip_while(|line| *line != format!("[{group}]"))
                    .skip(1)
                    .take_while(|line| !line.starts_with('['))
                    .filter(|line| line.contains('='))
                    .count()
            })
            .sum()
    }

    #[test]
    fn the_same_request_makes_the_same_bytes() {
        let scratch = tempfile::tempdir().unwrap();
        let one = generate(&scratch.path().join("one"), 40).unwrap();
        let two = generate(&scratch.path().join("two"), 40).unwrap();
        assert_eq!(contents(&one.path), contents(&two.path));
        assert_eq!(one.groups, two.groups);
    }

    #[test]
    fn half_of_the_distributions_declare_entry_points() {
        let scratch = tempfile::tempdir().unwrap();
        let made = generate(scratch.path(), 40).unwrap();
        let files = contents(&made.path);
        let named = |name: &str| files.keys().filter(|path| path.ends_with(name)).count();
        assert_eq!(named("METADATA"), 40);
        assert_eq!(named("RECORD"), 40);
        assert_eq!(named("entry_points.txt"), 20);
    }

    #[test]
    fn the_groups_have_the_sizes_that_they_are_said_to_have() {
        let scratch = tempfile::tempdir().unwrap();
        let made = generate(scratch.path(), 1_000).unwrap();
        assert_eq!(made.groups[SMALL_GROUP], 10);
        assert_eq!(made.groups[LARGE_GROUP], 2_500);
        for (group, members) in &made.groups {
            assert_eq!(members_on_disk(&made, group), *members, "{group}");
        }
    }

    #[test]
    fn a_change_replaces_one_file_and_only_its_last_section() {
        let scratch = tempfile::tempdir().unwrap();
        let made = generate(scratch.path(), 6).unwrap();
        let before = contents(&made.path);
        made.change_one(1).unwrap();
        made.change_one(4).unwrap();
        let after = contents(&made.path);
        let changed: Vec<_> = before
            .keys()
            .filter(|name| before[*name] != after[*name])
            .collect();
        assert_eq!(changed.len(), 1);
        let (old, new) = (&before[changed[0]], &after[changed[0]]);
        let section = "[bench.changed]\ndist-1 = bench_changed:round_4\n";
        assert_eq!(*new, [old.as_slice(), section.as_bytes()].concat());
        assert_eq!(before.len(), after.len());
    }
}
