//! Another user than root: the command, run as one that owns nothing but what a test gives it.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment::{Scratch, is_root, set_mode};
use crate::skip::skip;
use crate::{binary, process};

/// A user by number; such a one need not have a name.
#[derive(Clone, Copy, Debug)]
pub struct User(pub u32);

/// Two that are not root.
pub const ALICE: User = User(12_345);
/// The other.
pub const BOB: User = User(12_346);

impl User {
    /// A directory of this user's own, open to all.
    pub fn directory(self, scratch: &Scratch, name: &str) -> PathBuf {
        let directory = scratch.join(name);
        fs::create_dir_all(&directory).unwrap();
        chown(&directory, Some(self.0), Some(self.0)).unwrap();
        directory
    }

    /// Makes this user the owner of everything below a path.
    pub fn takes(self, path: &Path) {
        let owner = format!("{0}:{0}", self.0);
        process::succeed(Command::new("chown").arg("-R").arg(owner).arg(path));
    }

    /// The command as this user runs it: a program that they may run, their own home.
    pub fn epcache(self, scratch: &Scratch) -> Command {
        let program = program_for_all(scratch);
        let home = self.directory(scratch, &format!("home-{}", self.0));
        let mut command = Command::new(program);
        for (name, value) in crate::epcache(&home).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.uid(self.0).gid(self.0).current_dir("/");
        command
    }
}

/// Whether tests as another user can be made here; if not, skips the one that asks, with the reason.
pub fn available(scratch: &Scratch) -> bool {
    let reason = unavailable(scratch);
    if let Some(reason) = &reason {
        skip(reason);
    }
    reason.is_none()
}

/// Why tests as another user can't be made here, if so.
fn unavailable(scratch: &Scratch) -> Option<String> {
    if !is_root() {
        return Some("only root can act as another user".to_owned());
    }
    let output = Command::new("ls")
        .arg(scratch.path())
        .uid(ALICE.0)
        .gid(ALICE.0)
        .current_dir("/")
        .output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(_) => Some(format!(
            "other users can't enter {}",
            scratch.path().display()
        )),
        Err(error) => Some(format!("no other user can be acted as: {error}")),
    }
}

/// The command's binary lies where its builder may look; a copy of it is there for all.
fn program_for_all(scratch: &Scratch) -> PathBuf {
    let program = scratch.join("bin/epcache");
    if !program.exists() {
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        // Not `fs::copy`: a child that another test starts meanwhile would have inherited the file
        // open for writing, and nobody can run it then (ETXTBSY).
        process::succeed(Command::new("cp").arg(binary()).arg(&program));
        set_mode(&program, 0o755);
    }
    program
}
