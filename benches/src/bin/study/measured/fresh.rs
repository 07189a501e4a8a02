//! Whether a cache is what a measurement takes it for: written by who was told to build it, fresh, and
//! left alone by who asks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use epcache_benches::machine;
use serde::Deserialize;

use super::conditions::Field;
use super::contenders::{Contender, Family};
use super::environments::Venv;

/// The files of a cache, each with its inode, size, and time of modification.
pub(crate) type Files = BTreeMap<PathBuf, [i64; 4]>;

/// What a contender's cache consists of now.
pub(crate) fn files(contender: &Contender, field: &Field) -> Result<Files> {
    let mut found = Files::new();
    let cache = contender.cache_in(&field.caches.written);
    if cache.exists() {
        add_files(&cache, &mut found).with_context(|| format!("list {}", cache.display()))?;
    }
    Ok(found)
}

fn add_files(directory: &Path, found: &mut Files) -> std::io::Result<()> {
    for child in fs::read_dir(directory)? {
        let path = child?.path();
        let stat = fs::symlink_metadata(&path)?;
        if stat.is_dir() {
            add_files(&path, found)?;
        } else {
            let size = stat.size().cast_signed();
            let inode = stat.ino().cast_signed();
            found.insert(path, [inode, size, stat.mtime(), stat.mtime_nsec()]);
        }
    }
    Ok(())
}

/// A line of `epcache status --json`.
#[derive(Deserialize)]
struct Status {
    path_entry: PathBuf,
    state: String,
    reason: Option<String>,
}

/// Fails unless epcache calls the index of the path entry fresh. Other contenders are not asked: they
/// build what they don't believe in, which [`files`] shows.
pub(crate) fn ensure_fresh(venv: &Venv, field: &Field, contender: &Contender) -> Result<()> {
    if contender.family != Family::Epcache || !contender.builds {
        return Ok(());
    }
    let program = venv.root.join("bin/epcache");
    let mut command = machine::command(&program, &venv.home);
    command.args([
        "status",
        "--format",
        "jsonl",
        "--mode",
        "exact",
        "--cache-dir",
    ]);
    command.arg(contender.cache_in(&field.caches.written));
    let said = machine::answer(command.arg("--path").arg(&field.path))?;
    for line in said.lines() {
        let status: Status =
            serde_json::from_str(line).with_context(|| format!("read a state: {line}"))?;
        let reason = status.reason.unwrap_or_default();
        ensure!(
            status.state == "fresh",
            "{contender}: {} is {}: {reason}",
            status.path_entry.display(),
            status.state,
        );
    }
    ensure!(!said.is_empty(), "epcache says nothing of its cache");
    Ok(())
}
