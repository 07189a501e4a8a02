//! A file system on which every operation takes long: a directory, served as a network that is
//! 0.5 ms away would serve it.
//!
//! A FUSE file system in this process: what the kernel asks is answered from the directory behind
//! it, after a delay, and nothing may be remembered (the timeouts of names and attributes are zero), so
//! that each process pays for each operation. It is read only; names, contents, times, inode
//! numbers, owners and modes are those of the directory behind.
//!
//! Mounting needs root. Only the calling process and those that it starts see the mount, and it is
//! gone with the last of them, however they end: see [`enter_own_mounts`].

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirEntryExt as _, FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, Request,
};

/// Nothing that was answered may be used again.
const NOTHING_IS_REMEMBERED: Duration = Duration::ZERO;

/// As many requests can be late at once: a network would not make one process wait for another's.
const THREADS: usize = 16;

/// A mounted slow file system; dropped, it is unmounted.
#[derive(Debug)]
pub struct SlowMount {
    delay: Arc<AtomicU64>,
    operations: Arc<AtomicU64>,
    _session: BackgroundSession,
}

impl SlowMount {
    /// Serves `behind` at the existing, empty directory `at`, each operation `delay` late.
    ///
    /// # Errors
    /// It can't be mounted: no right to, or no FUSE in this kernel.
    pub fn new(behind: &Path, at: &Path, delay: Duration) -> Result<SlowMount> {
        let operations = Arc::new(AtomicU64::new(0));
        let delay = Arc::new(AtomicU64::new(nanoseconds(delay)));
        let served = SlowFs {
            delay: Arc::clone(&delay),
            operations: Arc::clone(&operations),
            paths: Mutex::new(HashMap::from([(INodeNo::ROOT.0, behind.to_owned())])),
            listings: Mutex::new(HashMap::new()),
            next_listing: AtomicU64::new(1),
        };
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::RO,
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::FSName("slow".to_owned()),
        ];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(served, at, &config)
            .with_context(|| format!("mount a FUSE file system at {}", at.display()))?;
        Ok(SlowMount {
            delay,
            operations,
            _session: session,
        })
    }

    /// How late each operation is from now on: what is not measured need not wait.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.store(nanoseconds(delay), Ordering::Relaxed);
    }

    /// How many operations were asked for since the mount, but for the release of what was closed,
    /// which nobody waits for and which is not late.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }
}

/// Gives this process mounts of its own, so that what it mounts nobody else sees, and nothing is
/// left mounted even where it is killed.
///
/// To be called before the first thread is started: threads keep the mounts that they have.
///
/// # Errors
/// Not root, or not allowed in this container.
#[allow(
    unsafe_code,
    reason = "neither the standard library nor rustix offers a safe unshare"
)]
pub fn enter_own_mounts() -> Result<()> {
    // SAFETY: takes no pointers; of what may be shared with other threads it parts the mounts only.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error()).context("leave the mounts of other processes");
    }
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )
    .context("keep own mounts from other processes")
}

/// The file system. A node's number is the inode's behind, but for the root's, which is 1.
#[derive(Debug)]
struct SlowFs {
    /// In nanoseconds.
    delay: Arc<AtomicU64>,
    operations: Arc<AtomicU64>,
    /// Where each node that was looked up is. Nothing is ever forgotten: there are no more than
    /// files behind.
    paths: Mutex<HashMap<u64, PathBuf>>,
    /// What each open directory held when it was opened.
    listings: Mutex<HashMap<u64, Vec<Child>>>,
    next_listing: AtomicU64,
}

/// A child of a directory, as it was listed.
#[derive(Debug)]
struct Child {
    inode: u64,
    kind: fuser::FileType,
    name: OsString,
}

impl SlowFs {
    /// What every operation begins with that someone waits for.
    fn be_slow(&self) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let delay = self.delay.load(Ordering::Relaxed);
        if delay > 0 {
            std::thread::sleep(Duration::from_nanos(delay));
        }
    }

    fn path(&self, node: INodeNo) -> io::Result<PathBuf> {
        let path = lock(&self.paths).get(&node.0).cloned();
        path.ok_or_else(|| io::Error::from_raw_os_error(libc::ESTALE))
    }

    fn look_up(&self, parent: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        let path = self.path(parent)?.join(name);
        let attributes = attributes(&fs::symlink_metadata(&path)?);
        lock(&self.paths).insert(attributes.ino.0, path);
        Ok(attributes)
    }

    fn read_part(&self, node: INodeNo, offset: u64, size: u32) -> io::Result<Vec<u8>> {
        let file = File::open(self.path(node)?)?;
        let mut part = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut filled = 0;
        while filled < part.len() {
            let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match file.read_at(&mut part[filled..], at)? {
                0 => break,
                read => filled += read,
            }
        }
        part.truncate(filled);
        Ok(part)
    }

    /// Lists a directory and returns the number under which the listing is kept.
    fn list(&self, node: INodeNo) -> io::Result<u64> {
        let children = fs::read_dir(self.path(node)?)?
            .map(|child| {
                let child = child?;
                Ok(Child {
                    inode: child.ino(),
                    kind: kind(child.file_type()?),
                    name: child.file_name(),
                })
            })
            .collect::<io::Result<Vec<Child>>>()?;
        let number = self.next_listing.fetch_add(1, Ordering::Relaxed);
        lock(&self.listings).insert(number, children);
        Ok(number)
    }
}

impl Filesystem for SlowFs {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.be_slow();
        match self.look_up(parent, name) {
            Ok(found) => reply.entry(&NOTHING_IS_REMEMBERED, &found, Generation(0)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.be_slow();
        match self.path(node).and_then(fs::symlink_metadata) {
            Ok(found) => reply.attr(&NOTHING_IS_REMEMBERED, &attributes(&found)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn readlink(&self, _: &Request, node: INodeNo, reply: ReplyData) {
        self.be_slow();
        match self.path(node).and_then(fs::read_link) {
            Ok(target) => reply.data(target.as_os_str().as_bytes()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.be_slow();
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.be_slow();
        match self.read_part(node, offset, size) {
            Ok(part) => reply.data(&part),
            Err(error) => reply.error(error.into()),
        }
    }

    fn opendir(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.be_slow();
        match self.list(node) {
            Ok(number) => reply.opened(FileHandle(number), FopenFlags::empty()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        listing: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.be_slow();
        let listings = lock(&self.listings);
        let Some(children) = listings.get(&listing.0) else {
            reply.error(Errno::EBADF);
            return;
        };
        // The offset of a child is the number of children up to it, which is where to go on after it.
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (child, next) in children.iter().zip(1..).skip(skipped) {
            if reply.add(INodeNo(child.inode), next, child.kind, &child.name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        listing: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        lock(&self.listings).remove(&listing.0);
        reply.ok();
    }
}

/// A panic of another request's thread leaves the map whole: each change of it is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn attributes(found: &Metadata) -> FileAttr {
    let narrow = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
    FileAttr {
        ino: INodeNo(found.ino()),
        size: found.size(),
        blocks: found.blocks(),
        atime: time(found.atime(), found.atime_nsec()),
        mtime: time(found.mtime(), found.mtime_nsec()),
        ctime: time(found.ctime(), found.ctime_nsec()),
        crtime: UNIX_EPOCH,
        kind: kind(found.file_type()),
        perm: u16::try_from(found.mode() & 0o7777).unwrap_or(0),
        nlink: narrow(found.nlink()),
        uid: found.uid(),
        gid: found.gid(),
        rdev: narrow(found.rdev()),
        blksize: narrow(found.blksize()),
        flags: 0,
    }
}

/// A time as the system tells it; one before 1970 becomes 1970.
fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let nanoseconds = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
    UNIX_EPOCH + seconds + nanoseconds
}

fn kind(found: FileType) -> fuser::FileType {
    if found.is_dir() {
        fuser::FileType::Directory
    } else if found.is_symlink() {
        fuser::FileType::Symlink
    } else if found.is_fifo() {
        fuser::FileType::NamedPipe
    } else if found.is_socket() {
        fuser::FileType::Socket
    } else if found.is_block_device() {
        fuser::FileType::BlockDevice
    } else if found.is_char_device() {
        fuser::FileType::CharDevice
    } else {
        fuser::FileType::RegularFile
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_served_is_what_is_behind_and_each_operation_is_late_and_counted() {
        let delay = Duration::from_millis(2);
        let scratch = tempfile::tempdir().unwrap();
        let (behind, at) = (scratch.path().join("behind"), scratch.path().join("at"));
        fs::create_dir_all(behind.join("a-1.dist-info")).unwrap();
        fs::create_dir(&at).unwrap();
        fs::write(behind.join("a-1.dist-info/entry_points.txt"), "[g]\na=b\n").unwrap();
        std::os::unix::fs::symlink("a-1.dist-info", behind.join("link")).unwrap();
        // Parts this thread from the others' mounts, and only this one mounts and asks.
        if let Err(error) = enter_own_mounts() {
            eprintln!("skipped: {error:#}");
            return;
        }
        if !Path::new("/dev/fuse").exists() {
            eprintln!("skipped: no /dev/fuse");
            return;
        }
        let mount = SlowMount::new(&behind, &at, delay).unwrap();

        let before = mount.operations();
        let start = Instant::now();
        let served = fs::metadata(at.join("a-1.dist-info")).unwrap();
        let (elapsed, asked) = (start.elapsed(), mount.operations() - before);
        assert!(asked >= 2, "a name and its attributes: {asked}");
        assert!(elapsed >= delay * u32::try_from(asked).unwrap());

        let behind_it = fs::metadata(behind.join("a-1.dist-info")).unwrap();
        assert_eq!(served.ino(), behind_it.ino());
        assert_eq!(served.mtime_nsec(), behind_it.mtime_nsec());
        assert_eq!(served.ctime_nsec(), behind_it.ctime_nsec());
        assert_eq!(served.mode(), behind_it.mode());
        let text = fs::read_to_string(at.join("link/entry_points.txt")).unwrap();
        assert_eq!(text, "[g]\na=b\n");
        let names = |dir: &Path| -> Vec<OsString> {
            fs::read_dir(dir)
                .unwrap()
                .map(|child| child.unwrap().file_name())
                .collect()
        };
        assert_eq!(names(&at), names(&behind));

        let before = mount.operations();
        fs::metadata(at.join("a-1.dist-info")).unwrap();
        assert_eq!(mount.operations() - before, asked, "nothing is remembered");

        mount.set_delay(delay * 20);
        let start = Instant::now();
        fs::metadata(at.join("a-1.dist-info")).unwrap();
        assert!(start.elapsed() >= delay * 40, "it can be made slower");
        drop(mount);
        assert!(names(&at).is_empty(), "unmounted");
    }
}
