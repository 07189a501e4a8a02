//! On what it is measured: a generated path entry and room for caches, on a file system.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use epcache_benches::environment;
use epcache_benches::slow_fs::SlowMount;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// How the path entry is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// The file system of the scratch directory.
    Disk,
    /// Behind one that can be made slow; the caches are on the disk.
    Slow,
    Tmpfs,
    /// In the lower layer, as in a container; the caches are written to the upper one.
    Overlay,
}

/// The path entry and the caches.
#[derive(Debug)]
pub(crate) struct Field {
    /// As in the records.
    pub(crate) condition: &'static str,
    pub(crate) dists: usize,
    /// The path entry, as contenders are told.
    pub(crate) path: PathBuf,
    pub(crate) caches: Caches,
    dir: PathBuf,
    mounts: Vec<Mount>,
    slow: Option<SlowMount>,
}

/// The directory of the caches, which readers may see through another file system.
#[derive(Debug)]
pub(crate) struct Caches {
    pub(crate) written: PathBuf,
    pub(crate) read: PathBuf,
}

impl Field {
    /// Makes a path entry of so many distributions.
    pub(crate) fn new(
        scratch: &Path,
        condition: &'static str,
        storage: Storage,
        dists: usize,
    ) -> Result<Field> {
        let dir = scratch.join(format!("{condition}-{dists}"));
        create_dir(&dir)?;
        let mut mounts = Vec::new();
        let mut slow = None;
        let (mut site, mut caches) = (dir.join("site"), dir.join("caches"));
        match storage {
            Storage::Disk => {
                environment::generate(&site, dists)?;
            }
            Storage::Tmpfs => {
                mounts.push(Mount::new("tmpfs", &dir, "")?);
                environment::generate(&site, dists)?;
            }
            Storage::Overlay => {
                environment::generate(&dir.join("lower/site"), dists)?;
                let [lower, upper, work, merged] =
                    ["lower", "upper", "work", "merged"].map(|name| dir.join(name));
                for layer in [&upper, &work, &merged] {
                    create_dir(layer)?;
                }
                let options = format!(
                    "lowerdir={},upperdir={},workdir={}",
                    lower.display(),
                    upper.display(),
                    work.display()
                );
                mounts.push(Mount::new("overlay", &merged, &options)?);
                (site, caches) = (merged.join("site"), merged.join("caches"));
            }
            Storage::Slow => {
                let (behind, at) = (dir.join("behind"), dir.join("network"));
                environment::generate(&behind.join("site"), dists)?;
                create_dir(&behind.join("caches"))?;
                create_dir(&at)?;
                slow = Some(SlowMount::new(&behind, &at, Duration::ZERO)?);
                site = at.join("site");
            }
        }
        fs::create_dir_all(&caches).with_context(|| format!("create {}", caches.display()))?;
        Ok(Field {
            condition,
            dists,
            path: site,
            caches: Caches {
                written: caches.clone(),
                read: caches,
            },
            dir,
            mounts,
            slow,
        })
    }

    /// How late each operation on the path entry is from now on, if it is on slow storage.
    pub(crate) fn set_delay(&self, delay: Duration) {
        if let Some(slow) = &self.slow {
            slow.set_delay(delay);
        }
    }

    /// From now on readers find the caches on the slow storage too: one cache for many machines.
    pub(crate) fn share_caches(&mut self) {
        self.caches = Caches {
            written: self.dir.join("behind/caches"),
            read: self.dir.join("network/caches"),
        };
    }

    /// The metadata directory that [`Field::install_one`] makes.
    fn installed(&self, number: usize) -> PathBuf {
        self.path.join(format!("added_{number:03}-1.0.dist-info"))
    }

    /// Installs one more distribution, as far as readers of metadata can tell.
    pub(crate) fn install_one(&self, number: usize) -> Result<()> {
        let metadata = self.installed(number);
        create_dir(&metadata)?;
        let write = |name: &str, text: &str| {
            let file = metadata.join(name);
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))
        };
        write(
            "METADATA",
            &format!("Metadata-Version: 2.1\nName: added-{number:03}\nVersion: 1.0\n"),
        )?;
        write(
            "entry_points.txt",
            &format!("[bench.added]\nadded-{number} = added_{number:03}:plugin\n"),
        )
    }

    /// Removes it again.
    pub(crate) fn remove_one(&self, number: usize) -> Result<()> {
        let metadata = self.installed(number);
        fs::remove_dir_all(&metadata).with_context(|| format!("remove {}", metadata.display()))
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.mounts.clear();
        self.slow = None;
        // What can't be removed now goes with the scratch directory.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A mounted file system; dropped, it is unmounted.
#[derive(Debug)]
pub(crate) struct Mount(PathBuf);

impl Mount {
    fn new(kind: &str, at: &Path, options: &str) -> Result<Mount> {
        let options = std::ffi::CString::new(options).context("name the mount's options")?;
        mount(kind, at, kind, MountFlags::NODEV, options.as_c_str())
            .with_context(|| format!("mount {kind} at {}", at.display()))?;
        Ok(Mount(at.to_owned()))
    }

    /// Shows a directory at another place.
    pub(crate) fn bind(from: &Path, at: &Path) -> Result<Mount> {
        rustix::mount::mount_bind(from, at)
            .with_context(|| format!("mount {} at {}", from.display(), at.display()))?;
        Ok(Mount(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Where it fails, the mount goes with the process: nobody else has it.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir(path).with_context(|| format!("create {}", path.display()))
}
