//! A file system that is mounted for a test, and not for longer: in a mount namespace of the test's
//! own, which goes with it, however it ends.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::thread::UnshareFlags;

use crate::process;

/// A file system on a directory, for as long as this lives. Only the thread that mounted it sees it,
/// with the threads and programs that it starts afterwards.
pub struct Mount {
    target: PathBuf,
}

impl Mount {
    /// Nothing where the user or the machine does not allow it.
    pub fn new(kind: &str, options: &str, target: &Path) -> Option<Self> {
        Self::with(["-t", kind, "-o", options, "none"], target)
    }

    /// A file system in memory.
    pub fn tmpfs(options: &str, target: &Path) -> Option<Self> {
        Self::new("tmpfs", options, target)
    }

    /// The file system that is in a file, to be read only.
    pub fn image(file: &Path, target: &Path) -> Option<Self> {
        let options = ["-o", "loop,ro"].map(OsString::from);
        Self::with(options.into_iter().chain([file.into()]), target)
    }

    /// A directory as it is, to be read only.
    pub fn read_only(directory: &Path) -> Option<Self> {
        let options = ["--bind", "-o", "ro"].map(OsString::from);
        Self::with(options.into_iter().chain([directory.into()]), directory)
    }

    fn with(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, target: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(arguments).arg(target);
        let mounted = is_private() && mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self {
            target: target.to_path_buf(),
        })
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

/// Before what is mounted goes, so that nothing in it is removed with the test's directory.
impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("--lazy")
            .arg(&self.target)
            .status()
            .ok();
    }
}

/// Sees to it that this thread has a mount namespace of its own, from which nothing gets out; whether
/// it has one.
fn is_private() -> bool {
    thread_local!(static IS_PRIVATE: Cell<bool> = const { Cell::new(false) });
    if !IS_PRIVATE.get() {
        #[expect(
            deprecated,
            reason = "what made it so is a flag that is not given: descriptors that threads no longer share"
        )]
        let is_own = rustix::thread::unshare(UnshareFlags::NEWNS).is_ok();
        let mut alone = Command::new("mount");
        alone.args(["--make-rprivate", "/"]);
        IS_PRIVATE.set(is_own && alone.status().is_ok_and(|status| status.success()));
    }
    IS_PRIVATE.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Scratch;
    use crate::skip::skip;
    use std::fs;
    use std::os::unix::process::parent_id;

    #[test]
    fn what_is_mounted_is_seen_by_who_mounted_it_and_by_nobody_else() {
        let scratch = Scratch::new();
        let target = scratch.path_entry("target");
        let Some(mount) = Mount::tmpfs("mode=755", &target) else {
            return skip("a file system: none can be mounted here");
        };
        let sees = |who: &str| {
            let mounts = fs::read_to_string(format!("/proc/{who}/mountinfo")).unwrap();
            mounts.contains(target.to_str().unwrap())
        };
        assert!(sees("thread-self"));
        assert!(!sees(&parent_id().to_string()));
        drop(mount);
        assert!(!sees("thread-self"));
    }
}
