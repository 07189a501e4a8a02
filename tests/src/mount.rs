//! A file system that is mounted for a test, and not for longer.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// A file system on a directory, for as long as this lives.
pub struct Mount {
    target: PathBuf,
}

impl Mount {
    /// Nothing where the user or the machine does not allow it.
    pub fn new(kind: &str, options: &str, target: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", kind, "-o", options, "none"])
            .arg(target)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self {
            target: target.to_path_buf(),
        })
    }

    /// A file system in memory.
    pub fn tmpfs(options: &str, target: &Path) -> Option<Self> {
        Self::new("tmpfs", options, target)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Gives it other options.
    pub fn change(&self, options: &str) {
        let options = format!("remount,{options}");
        process::succeed(
            Command::new("mount")
                .args(["-o", &options])
                .arg(&self.target),
        );
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("--lazy")
            .arg(&self.target)
            .status()
            .ok();
    }
}
