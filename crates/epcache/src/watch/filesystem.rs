//! Which file systems tell of all their changes: those whose changes are all made through this
//! kernel. Of what another machine does, or a server behind the mount, there are no events.

use std::path::Path;

/// The file systems that others can change unseen, by the type that `statfs` gives (`linux/magic.h`
/// and the file systems' own headers), with the name for messages.
#[cfg(target_os = "linux")]
const CHANGED_ELSEWHERE: [(i128, &str); 16] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x6573_5546, "FUSE"),
    // Its lower directories can be changed beside it, and an event may name another inode.
    (0x794c_7630, "overlayfs"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x786f_4256, "vboxsf"),
    (0x7461_636f, "OCFS2"),
];

/// The name of the file system of the nearest existing directory, if others can change it unseen.
#[cfg(target_os = "linux")]
pub(super) fn changed_elsewhere(path: &Path) -> Option<&'static str> {
    let system = path
        .ancestors()
        .find_map(|above| rustix::fs::statfs(above).ok())?;
    // The type of the field differs between architectures, and 32 bits of it count.
    let kind = i128::from(system.f_type) & 0xffff_ffff;
    let known = CHANGED_ELSEWHERE.iter().find(|(magic, _)| *magic == kind);
    known.map(|(_, name)| *name)
}

/// Elsewhere it is not known by a number; `--poll` is for that.
#[cfg(not(target_os = "linux"))]
pub(super) fn changed_elsewhere(_path: &Path) -> Option<&'static str> {
    None
}
