//! Where operating systems put distributions for everyone, for those who must not start Python:
//! package managers' triggers and image builds.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// The directories that hold `python3.*` directories, in the order of `sys.path`, each with what
/// such a directory may hold.
const LIBRARIES: [(&str, &[&str]); 4] = [
    ("/usr/local/lib64", &["site-packages"]),
    ("/usr/local/lib", &["site-packages", "dist-packages"]),
    ("/usr/lib64", &["site-packages"]),
    ("/usr/lib", &["site-packages", "dist-packages"]),
];

/// Debian's directory for all of its Python 3 versions, looked at before `/usr/lib64`.
const DEBIAN: &str = "/usr/lib/python3/dist-packages";

/// The well-known site directories that exist, and those of `more` that do: local ones before the
/// system's, older versions before newer, each string once. `root` is the directory to look in
/// instead of `/`; the strings do not contain it. No link in them is resolved.
#[must_use]
pub fn well_known(root: Option<&Path>, more: &[PathBuf]) -> Vec<OsString> {
    let root = root.unwrap_or(Path::new("/"));
    let mut found: Vec<OsString> = Vec::new();
    for candidate in candidates(root, more) {
        if within(root, &candidate).is_dir()
            && !found.iter().any(|known| known == candidate.as_os_str())
        {
            found.push(candidate.into_os_string());
        }
    }
    found
}

/// All that can change which directories are found, as they are on disk: those in which the
/// versions are, each directory of a version that can be a site directory, and those of `more`.
pub(super) fn deciders(root: Option<&Path>, more: &[PathBuf]) -> Vec<PathBuf> {
    let root = root.unwrap_or(Path::new("/"));
    let libraries = LIBRARIES.map(|(library, _)| PathBuf::from(library));
    libraries
        .into_iter()
        .chain(candidates(root, more))
        .map(|path| within(root, &path))
        .collect()
}

/// The directories that may be there, in order.
fn candidates(root: &Path, more: &[PathBuf]) -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    for (library, kinds) in LIBRARIES {
        if library == "/usr/lib64" {
            candidates.push(PathBuf::from(DEBIAN));
        }
        for version in versions(&within(root, Path::new(library))) {
            candidates.extend(
                kinds
                    .iter()
                    .map(|kind| Path::new(library).join(&version).join(kind)),
            );
        }
    }
    candidates.extend_from_slice(more);
    candidates
}

/// The names `python3.N` and `python3.Nt` in a directory, by number, free-threaded ones last.
fn versions(library: &Path) -> Vec<String> {
    let mut versions: Vec<(u32, bool, String)> = fs::read_dir(library)
        .into_iter()
        .flatten()
        .filter_map(|child| child.ok()?.file_name().into_string().ok())
        .filter_map(|name| {
            let number = name.strip_prefix("python3.")?;
            let (number, threaded) = match number.strip_suffix('t') {
                Some(number) => (number, true),
                None => (number, false),
            };
            Some((number.parse().ok()?, threaded, name))
        })
        .collect();
    versions.sort();
    versions.into_iter().map(|(_, _, name)| name).collect()
}

/// The absolute path as seen in the file system whose root is `root`.
fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that can't make its directories should stop there"
)]
mod tests {
    use super::{deciders, well_known};
    use std::{fs, path::PathBuf};

    fn root_with(directories: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in directories {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        root
    }

    #[test]
    fn what_exists_is_listed_without_the_root_local_first_and_by_version() {
        let root = root_with(&[
            "usr/lib/python3/dist-packages",
            "usr/lib/python3.9/site-packages",
            "usr/lib/python3.12/site-packages",
            "usr/lib/python3.12/dist-packages",
            "usr/lib/python3.13t/site-packages",
            "usr/lib/python2.7/site-packages",
            "usr/lib/python3.x/site-packages",
            "usr/lib64/python3.12/site-packages",
            "usr/local/lib/python3.12/dist-packages",
            "usr/local/lib/python3.12/site-packages",
            "usr/local/lib64/python3.12/site-packages",
        ]);
        assert_eq!(
            well_known(Some(root.path()), &[]),
            [
                "/usr/local/lib64/python3.12/site-packages",
                "/usr/local/lib/python3.12/site-packages",
                "/usr/local/lib/python3.12/dist-packages",
                "/usr/lib/python3/dist-packages",
                "/usr/lib64/python3.12/site-packages",
                "/usr/lib/python3.9/site-packages",
                "/usr/lib/python3.12/site-packages",
                "/usr/lib/python3.12/dist-packages",
                "/usr/lib/python3.13t/site-packages",
            ]
        );
    }

    #[test]
    fn named_directories_follow_once_each_and_only_if_they_exist() {
        let root = root_with(&["usr/lib/python3/dist-packages", "opt/app"]);
        let more = [
            "/opt/app",
            "/opt/none",
            "/usr/lib/python3/dist-packages",
            "/opt/app",
        ]
        .map(PathBuf::from);
        assert_eq!(
            well_known(Some(root.path()), &more),
            ["/usr/lib/python3/dist-packages", "/opt/app"]
        );
    }

    #[test]
    fn a_link_keeps_its_own_name() {
        let root = root_with(&["usr/lib/python3.12/site-packages"]);
        std::os::unix::fs::symlink("lib", root.path().join("usr/lib64")).unwrap();
        assert_eq!(
            well_known(Some(root.path()), &[]),
            [
                "/usr/lib64/python3.12/site-packages",
                "/usr/lib/python3.12/site-packages"
            ]
        );
    }

    #[test]
    fn each_directory_that_can_come_to_be_one_decides_where_it_is_on_disk() {
        let root = root_with(&[
            "usr/local/lib/python3.12/dist-packages",
            "usr/lib/python3/dist-packages",
        ]);
        let more = [PathBuf::from("/opt/app")];
        let found = deciders(Some(root.path()), &more);
        for expected in [
            "usr/local/lib64",
            "usr/local/lib",
            "usr/lib64",
            "usr/lib",
            "usr/lib/python3/dist-packages",
            "usr/local/lib/python3.12/site-packages",
            "usr/local/lib/python3.12/dist-packages",
            "opt/app",
        ] {
            assert!(found.contains(&root.path().join(expected)), "{expected}");
        }
        assert_eq!(found.len(), 8);
    }

    #[test]
    fn what_comes_to_be_one_shows_at_what_decided_before() {
        let root = root_with(&["usr/lib/python3.12"]);
        for new in [
            "usr/lib/python3.12/site-packages",
            "usr/lib/python3.13/site-packages",
            "usr/lib64/python3.13/site-packages",
            "usr/local/lib/python3.13/dist-packages",
            "opt/app/lib",
        ] {
            let more = [PathBuf::from("/opt/app/lib")];
            let before = deciders(Some(root.path()), &more);
            let known = well_known(Some(root.path()), &more).len();
            let place = root.path().join(new);
            let version = place.parent().unwrap();
            let decider = if version.is_dir() || new.starts_with("opt") {
                place.clone()
            } else {
                // The new version shows in its library.
                version.parent().unwrap().to_path_buf()
            };
            fs::create_dir_all(&place).unwrap();
            let now = well_known(Some(root.path()), &more).len();
            assert_eq!(now, known + 1, "{new}");
            assert!(before.contains(&decider), "{new}");
        }
    }

    #[test]
    fn an_empty_root_has_none() {
        assert!(well_known(Some(root_with(&[]).path()), &[]).is_empty());
    }
}
