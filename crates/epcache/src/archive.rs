//! A path entry that is a zip file: its dists and their texts, as `zipfile.Path` shows them.

use crate::dist;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::time::SystemTime;
use zip::ZipArchive;

/// A zip file whose directory has been read.
pub(crate) struct Archive {
    archive: RefCell<ZipArchive<File>>,
    /// The members that can matter: of dists, and no deeper than their files.
    names: HashSet<String>,
    /// The first path components that are directories.
    directories: HashSet<String>,
    /// First path components in the order of the central directory.
    children: Vec<String>,
    pub(crate) mtime: SystemTime,
}

/// What reading a member gives.
pub(crate) enum Member {
    Text(Vec<u8>),
    /// There is none, or it is a directory.
    Absent,
    TooLarge(u64),
    Failed(String),
}

impl Archive {
    /// Reads the directory of a zip file; `None` if it is none. Data may precede the archive.
    pub(crate) fn open(file: File) -> Option<Self> {
        let stat = file.metadata().and_then(|stat| stat.modified());
        let archive = ZipArchive::new(file).ok()?;
        let mut names = HashSet::new();
        let mut directories = HashSet::new();
        let mut children = Vec::new();
        let mut seen = HashSet::new();
        for name in archive.file_names() {
            let name = name.ok()?;
            let (child, rest) = match name.split_once('/') {
                Some((child, rest)) => (child, Some(rest)),
                None => (name.as_ref(), None),
            };
            if !dist::is_dist(child.as_bytes(), true) {
                continue;
            }
            if seen.insert(child.to_owned()) {
                children.push(child.to_owned());
            }
            if rest.is_some() {
                directories.insert(child.to_owned());
            }
            if rest.is_none_or(|rest| !rest.contains('/')) {
                names.insert(name.into_owned());
            }
        }
        Some(Self {
            mtime: stat.unwrap_or(SystemTime::UNIX_EPOCH),
            archive: RefCell::new(archive),
            names,
            directories,
            children,
        })
    }

    /// The first path components that can be dists, each once, in the order of the central
    /// directory.
    pub(crate) fn children(&self) -> &[String] {
        &self.children
    }

    /// Whether a child is a directory, and not a member of its own (`CompleteDirs.resolve_dir`).
    pub(crate) fn is_directory(&self, child: &str) -> bool {
        !self.names.contains(child) && self.directories.contains(child)
    }

    /// Reads a member of at most `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Member {
        if !self.names.contains(name) {
            return Member::Absent;
        }
        let mut archive = self.archive.borrow_mut();
        let member = match archive.by_name(name) {
            Ok(member) => member,
            Err(error) => return Member::Failed(error.to_string()),
        };
        let mut text = Vec::new();
        match member.take(limit + 1).read_to_end(&mut text) {
            Ok(read) if read as u64 > limit => Member::TooLarge(read as u64),
            Ok(_) => Member::Text(text),
            Err(error) => Member::Failed(error.to_string()),
        }
    }
}
