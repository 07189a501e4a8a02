//! Polling: a look at what tells of no changes, in intervals. One `stat` for each path.

use crate::stamp::Stamp;
use std::path::{Path, PathBuf};

/// A path that is looked at, and what there was last time.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) path: PathBuf,
    /// The number of the path entry, if it is one.
    pub(super) path_entry: Option<usize>,
    stamp: Option<Stamp>,
}

impl Polled {
    pub(super) fn new(path: &Path, path_entry: Option<usize>) -> Self {
        Self {
            path: path.to_owned(),
            path_entry,
            stamp: stamp(path),
        }
    }

    /// Looks at it; whether it is another one than last time, or was changed.
    pub(super) fn changed(&mut self) -> bool {
        let now = stamp(&self.path);
        std::mem::replace(&mut self.stamp, now) != now
    }
}

/// `None` if there is nothing that can be looked at.
fn stamp(path: &Path) -> Option<Stamp> {
    let stat = std::fs::metadata(path).ok()?;
    Some(Stamp::of_directory(&stat))
}
