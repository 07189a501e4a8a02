//! Scratch environments: a directory with a home, a cache root and path entries of its own, and
//! the command run on them. Everything a test writes lies inside one, and goes with it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::judge::Entry;
use crate::{epcache, process};

/// One test's directory tree. It is removed when dropped.
pub struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// A scratch tree in the default directory for temporary files.
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// A scratch tree in `base`, which decides the file system. Everybody may look into it, so
    /// that tests of permissions meet only those that they set themselves.
    pub fn within(base: &Path) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("epcache-test-")
            .tempdir_in(base)
            .unwrap();
        let scratch = Self { directory };
        set_mode(scratch.path(), 0o755);
        fs::create_dir(scratch.home()).unwrap();
        scratch
    }

    /// The tree's own directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path inside the tree; nothing is created.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// The home directory that the command is given.
    pub fn home(&self) -> PathBuf {
        self.join("home")
    }

    /// The cache root that [`Scratch::sync`] and [`Scratch::query`] name.
    pub fn cache(&self) -> PathBuf {
        self.join("root")
    }

    /// The mirror of `path_entry` in [`Scratch::cache`].
    pub fn mirror(&self, path_entry: &Path) -> PathBuf {
        mirror(&self.cache(), path_entry)
    }

    /// The index of `path_entry` in [`Scratch::cache`].
    pub fn index(&self, path_entry: &Path) -> PathBuf {
        self.mirror(path_entry).join(".index")
    }

    /// Creates an empty path entry.
    pub fn path_entry(&self, name: &str) -> PathBuf {
        let path_entry = self.join(name);
        fs::create_dir_all(&path_entry).unwrap();
        path_entry
    }

    /// The command, with this tree's home and nothing else said.
    pub fn epcache(&self) -> Command {
        epcache(&self.home())
    }

    /// The command with a subcommand, path entries and this tree's cache root.
    pub fn command(&self, subcommand: &str, path_entries: &[&Path]) -> Command {
        let mut command = self.epcache();
        command
            .arg(subcommand)
            .arg("--cache-dir")
            .arg(self.cache())
            .args(named(path_entries));
        command
    }

    /// `epcache sync`, which must succeed.
    pub fn sync(&self, path_entries: &[&Path]) -> Output {
        process::succeed(&mut self.command("sync", path_entries))
    }

    /// `epcache query` for everything.
    pub fn query(&self, path_entries: &[&Path]) -> Vec<Entry> {
        self.query_with(path_entries, &[] as &[&str])
    }

    /// `epcache query` with more arguments: a group, a name, a mode.
    pub fn query_with(
        &self,
        path_entries: &[&Path],
        arguments: &[impl AsRef<OsStr>],
    ) -> Vec<Entry> {
        entries(self.command("query", path_entries).args(arguments))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the mirror of `path_entry` lies in `root`: the root, then the path entry's own path.
pub fn mirror(root: &Path, path_entry: &Path) -> PathBuf {
    root.join(path_entry.strip_prefix("/").unwrap())
}

/// `--path` before each of the path entries.
pub fn named<'a>(path_entries: &[&'a Path]) -> Vec<&'a OsStr> {
    path_entries
        .iter()
        .flat_map(|path_entry| [OsStr::new("--path"), path_entry.as_os_str()])
        .collect()
}

/// Runs a query, adds `--format json` to it, and reads the answer. Fails the test on any error,
/// and where the exit status does not say what was found.
pub fn entries(query: &mut Command) -> Vec<Entry> {
    let output = process::finish(query.args(["--format", "json"]));
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 1)),
        "{query:?} ended with {code:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found = parse_json(&output.stdout);
    assert_eq!(
        code,
        Some(i32::from(found.is_empty())),
        "the exit status of {query:?} tells whether something was found"
    );
    found
}

/// Reads what `query --format json` prints; nothing at all is the empty list.
pub fn parse_json(text: &[u8]) -> Vec<Entry> {
    if text.trim_ascii().is_empty() {
        return Vec::new();
    }
    let list: Vec<serde_json::Value> = serde_json::from_slice(text).unwrap();
    list.iter().map(Entry::from_json).collect()
}

/// Writes a metadata directory such as `six-1.16.0.dist-info` with its METADATA, and with an
/// `entry_points.txt` if there is a text for it.
pub fn write_dist(path_entry: &Path, metadata_dir: &str, entry_points: Option<&str>) -> PathBuf {
    let directory = path_entry.join(metadata_dir);
    fs::create_dir_all(&directory).unwrap();
    let stem = metadata_dir
        .rsplit_once('.')
        .map_or(metadata_dir, |(stem, _)| stem);
    let (name, version) = stem.split_once('-').unwrap_or((stem, "0"));
    fs::write(
        directory.join("METADATA"),
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
    )
    .unwrap();
    if let Some(text) = entry_points {
        fs::write(directory.join("entry_points.txt"), text).unwrap();
    }
    directory
}

/// Replaces a file's content the way careful installers do: whole, by a rename.
pub fn replace_file(path: &Path, text: &str) {
    let mut new = tempfile::Builder::new()
        .tempfile_in(path.parent().unwrap())
        .unwrap();
    std::io::Write::write_all(&mut new, text.as_bytes()).unwrap();
    new.persist(path).unwrap();
}

/// Changes a file's or a directory's permission bits.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The permission bits of a file or a directory.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Whether the test runs as root, which some of them need.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A copy with everything that `cp -a` keeps: times, modes, links, owners.
pub fn copy_tree(from: &Path, to: &Path) {
    process::succeed(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Every file below a directory, as sorted paths relative to it; an absent directory has none.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(directory)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().strip_prefix(directory).unwrap().to_path_buf())
        .collect();
    files.sort();
    files
}

/// The temporary files that killed writers left in a cache root.
pub fn leftovers(root: &Path) -> Vec<PathBuf> {
    files_below(root)
        .into_iter()
        .filter(|file| {
            let name = file.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(b".tmp-")
        })
        .collect()
}
