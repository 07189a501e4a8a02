//! What the study does not measure.

/// What is not measured, and why not.
pub(crate) const LEFT_OUT: [(&str, &str); 15] = [
    (
        "Python 3.14",
        "other Pythons are those that were installed already",
    ),
    (
        "large groups and lists with 10 and 100 dists",
        "they measure the making of entry points, of which there are few",
    ),
    (
        "large groups and lists anywhere but on a warm disk",
        "elsewhere the same files are read as for a small group; what the size of the answer adds is the same",
    ),
    (
        "epi with 10,000 dists, on slow file systems and overlay, and for large groups and lists",
        "it imports what it shows, which is another work",
    ),
    (
        "pkg_resources with 10,000 dists and on slow file systems",
        "it takes much longer than importlib.metadata wherever it was measured; the time goes to others",
    ),
    (
        "10,000 dists, cold, slow, on other file systems and with other Pythons",
        "they would take most of the time; what grows with the size is seen on a warm disk",
    ),
    (
        "10 dists anywhere but on a warm disk, 100 on tmpfs and overlay and with other Pythons",
        "there is little to read; the other sizes show what the condition changes",
    ),
    (
        "5 ms per operation with 1,000 dists",
        "each operation takes ten times as long as with 0.5 ms, so all but the waiting is seen with 100",
    ),
    (
        "rebuilds and builds with nothing to do on tmpfs and overlay",
        "first builds there write most",
    ),
    (
        "builds by Python with 100 and 10,000 dists",
        "the rejected ways are built in Rust, too, where their format is what costs; rivals build at 1,000",
    ),
    (
        "builds with other Pythons, on a cold disk or a slow file system",
        "all read each source once there, whatever they write",
    ),
    (
        "file system calls and bytes anywhere but on a warm disk",
        "they are the same: nobody asks where he is, but for epcache, which stats in threads where a stat is slow",
    ),
    (
        "the rejected ways and the rivals with their caches on the slow file system",
        "epcache's is what is proposed to be shared; a file per dist would cost an operation and more for each",
    ),
    (
        "builders at once and kills in both languages",
        "whether a file or database is whole depends on how it is written, which is the same in both",
    ),
    (
        "builders at once and kills with other sizes and file systems",
        "they were tried on one disk with 500 dists, which is long enough to be met at work",
    ),
];
