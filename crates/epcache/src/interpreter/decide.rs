//! What a `sys.path` was resolved from, kept so that somebody who watches an environment can be told
//! what to watch: the files and directories that, besides the path entries themselves, decide which
//! path entries there are. Looked for when it is asked, as hardly anybody does.

use std::{
    collections::{BTreeSet, HashSet},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    answer::{Answer, Bytes},
    posixpath::{as_path, normpath},
    pth,
    pyvenv_cfg::PYVENV_CFG,
    site_py::SitePy,
    surroundings::Surroundings,
    well_known,
};

/// The most targets of `.pth` files that are told. Real environments have a handful that do not
/// exist; a `.pth` file may have a million lines, and each would be watched for.
const MAX_TARGETS: usize = 1000;

/// What an environment was resolved from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Basis {
    /// The caller's words, which do not change.
    Words,
    /// The files of a virtual environment.
    Files(Files),
    /// What its interpreter said.
    Answer {
        executable: PathBuf,
        site_directories: Vec<PathBuf>,
    },
    /// The places where operating systems put distributions, in the file system whose root this is,
    /// and more directories.
    WellKnown {
        root: Option<PathBuf>,
        more: Vec<PathBuf>,
    },
}

/// The files of a virtual environment that were looked at. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) pyvenv_cfg: PathBuf,
    /// The interpreter, whose link tells the version. Where an environment is made, it comes after
    /// `pyvenv.cfg`.
    pub(super) executable: PathBuf,
    /// The site directories that any CPython of the version would add, existing or not.
    pub(super) site_directories: Vec<PathBuf>,
    /// Those that one with Debian's patch adds besides.
    pub(super) debians: Vec<PathBuf>,
    /// Where `site.py` is, which tells whether this one has it.
    pub(super) standard_library: PathBuf,
}

impl Basis {
    /// What the answer depends on as far as a watcher can follow.
    pub(super) fn of_answer(answer: &Answer, surroundings: &Surroundings) -> Basis {
        let site_directories = answer
            .site_directories
            .iter()
            .map(Bytes::as_bytes)
            .filter(|directory| !directory.is_empty())
            .filter_map(|directory| surroundings.abspath(directory))
            .map(|directory| as_path(&directory).to_path_buf())
            .collect();
        Basis::Answer {
            executable: answer.executable.as_path().to_path_buf(),
            site_directories,
        }
    }

    /// See [`Environment::deciders`](super::Environment::deciders).
    pub(super) fn deciders(&self) -> Vec<PathBuf> {
        let mut deciders = match self {
            Basis::Words => Vec::new(),
            Basis::Files(files) => files.deciders(),
            Basis::Answer {
                executable,
                site_directories,
            } => {
                let mut deciders = vec![executable.clone()];
                deciders.extend(cfgs_of(executable));
                deciders.extend(with_targets(site_directories.clone()));
                deciders
            }
            Basis::WellKnown { root, more } => well_known::deciders(root.as_deref(), more),
        };
        let mut told = HashSet::new();
        deciders.retain(|path| path.is_absolute() && told.insert(path.clone()));
        deciders
    }
}

impl Files {
    fn deciders(&self) -> Vec<PathBuf> {
        let mut site_directories = self.site_directories.clone();
        let site_py = SitePy::of(&self.standard_library);
        // Without a site.py nothing is known of it, and nothing would start.
        if site_py.is_debians().unwrap_or(false) {
            site_directories.extend_from_slice(&self.debians);
        }
        let mut deciders = vec![self.pyvenv_cfg.clone(), self.executable.clone()];
        deciders.extend(with_targets(site_directories));
        deciders
    }
}

/// The `pyvenv.cfg` that an interpreter finds beside or above itself.
fn cfgs_of(executable: &Path) -> impl Iterator<Item = PathBuf> {
    let nearby = executable.ancestors().skip(1).take(2);
    nearby
        .map(|directory| directory.join(PYVENV_CFG))
        .filter(|cfg| cfg.is_file())
}

/// The site directories, and what their `.pth` files name that does not exist: it is a path entry
/// as soon as it does.
fn with_targets(mut site_directories: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut targets = BTreeSet::new();
    for directory in &site_directories {
        let directory = directory.as_os_str().as_bytes();
        for name in pth::pth_names(as_path(directory)) {
            let named = pth::targets(directory, &name);
            let missing = named
                .iter()
                .map(|target| as_path(&normpath(target)).to_path_buf())
                .filter(|target| !target.exists());
            targets.extend(missing.take(MAX_TARGETS.saturating_sub(targets.len())));
        }
    }
    site_directories.extend(targets);
    site_directories
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that can't make its directories should stop there"
)]
mod tests {
    use super::{Basis, MAX_TARGETS};
    use std::{fs, path::Path};

    fn deciders(executable: &Path, site: &Path) -> Vec<std::path::PathBuf> {
        let basis = Basis::Answer {
            executable: executable.to_path_buf(),
            site_directories: vec![site.to_path_buf(), site.to_path_buf()],
        };
        basis.deciders()
    }

    #[test]
    fn what_a_pth_file_names_decides_while_it_does_not_exist() {
        let site = tempfile::tempdir().unwrap();
        let site = site.path();
        fs::create_dir(site.join("there")).unwrap();
        let lines = "# /comment\nimport x\nthere\nabsent/./a\n/nowhere/b/../c\nabsent/a\n";
        fs::write(site.join("a.pth"), lines).unwrap();
        let mut expected = [
            site.to_path_buf(),
            "/nowhere/c".into(),
            site.join("absent/a"),
        ];
        let mut found = deciders(Path::new(""), site);
        found[1..].sort();
        expected[1..].sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn however_much_a_pth_file_names_a_bounded_number_is_told() {
        let site = tempfile::tempdir().unwrap();
        let lines: String = (0..2 * MAX_TARGETS).map(|n| format!("no{n}\n")).collect();
        fs::write(site.path().join("a.pth"), &lines).unwrap();
        fs::write(site.path().join("b.pth"), lines.replace("no", "none")).unwrap();
        let found = deciders(Path::new(""), site.path());
        assert_eq!(found.len(), 1 + MAX_TARGETS);
    }

    #[test]
    fn of_an_interpreter_that_was_asked_it_and_the_cfg_that_it_has_decide() {
        let prefix = tempfile::tempdir().unwrap();
        let executable = prefix.path().join("bin/python");
        let site = prefix.path().join("site");
        assert_eq!(
            deciders(&executable, &site),
            [executable.clone(), site.clone()]
        );
        let cfg = prefix.path().join("pyvenv.cfg");
        fs::write(&cfg, "").unwrap();
        assert_eq!(deciders(&executable, &site), [executable, cfg, site]);
    }
}
