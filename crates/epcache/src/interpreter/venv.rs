//! A virtual environment's `sys.path`, from its files alone: no Python is started, so nothing that
//! lies in the environment is run.
//!
//! The steps are those of CPython's `getpath` and `site.main`. Where a step's outcome is not
//! certain, the answer is [`Undecided`] and the interpreter has to be asked. What `site` would run
//! (`import` lines of `.pth` files, `sitecustomize`) is not run, and what it would do to
//! `sys.path` is not seen.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    Environment, How,
    base::Base,
    decide::{Basis, Files},
    posixpath::{as_path, join, realpath},
    pth::SearchPath,
    pyvenv_cfg::{PYVENV_CFG, PyvenvCfg},
    site_py::SitePy,
    surroundings::Surroundings,
    undecided::Undecided,
};

/// The directory of a virtual environment's commands.
pub(super) const SCRIPTS: &str = "bin";

/// The names an environment's interpreter may have, in the order they are tried.
pub(super) const EXECUTABLES: [&str; 2] = ["python", "python3"];

/// Variables that change where CPython looks for its own library.
const RELOCATING: [&str; 4] = [
    "PYTHONHOME",
    "PYTHONPLATLIBDIR",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
];

/// The `sys.path` of a virtual environment. `prefix` is absolute and normalized, `executable` a
/// native program in its scripts directory.
pub(super) fn resolve(
    prefix: &Path,
    executable: &Path,
    surroundings: &Surroundings,
) -> Result<Environment, Undecided> {
    refuse_relocation(surroundings)?;
    let cfg = read_cfg(prefix)?;
    let base = base_of(executable, &cfg)?;
    let site_py = SitePy::of(as_path(&base.standard_library()));

    let mut initial = python_path(surroundings);
    initial.extend(base.initial_path());
    let mut path = SearchPath::new(&initial, &site_py, surroundings)?;
    let site = Site {
        prefix: prefix.as_os_str().as_bytes(),
        base: &base,
        site_py: &site_py,
    };
    let mut directories = site.directories_of(site.prefix);
    if cfg.system_site {
        directories.extend(site.system_directories(surroundings)?);
    }
    for directory in &directories {
        if site.adds(directory)? {
            path.add_site_directory(&directory.path)?;
        }
    }

    let mut entries = scripts_entry(&prefix.join(SCRIPTS), base.version.minor, surroundings);
    entries.extend(path.into_entries());
    Ok(Environment {
        executable: Some(executable.to_path_buf()),
        prefix: Some(prefix.to_path_buf()),
        version: Some((3, base.version.minor)),
        path: entries,
        how: How::Venv,
        basis: Basis::Files(files(prefix, executable, &base, directories, surroundings)),
    })
}

/// What was looked at, for those who want to know when it changes.
fn files(
    prefix: &Path,
    executable: &Path,
    base: &Base,
    directories: Vec<SiteDirectory>,
    surroundings: &Surroundings,
) -> Files {
    let (debians, others): (Vec<_>, Vec<_>) = directories
        .into_iter()
        .partition(|directory| directory.is_debians);
    let absolute = |directories: Vec<SiteDirectory>| {
        directories
            .iter()
            .filter_map(|directory| surroundings.abspath(&directory.path))
            .map(|path| as_path(&path).to_path_buf())
            .collect()
    };
    Files {
        pyvenv_cfg: prefix.join(PYVENV_CFG),
        executable: executable.to_path_buf(),
        site_directories: absolute(others),
        debians: absolute(debians),
        standard_library: as_path(&base.standard_library()).to_path_buf(),
    }
}

/// `sys.path[0]` of a command installed in a scripts directory: its real path, or nothing with
/// `PYTHONSAFEPATH` (3.11).
pub(super) fn scripts_entry(
    scripts: &Path,
    minor: u32,
    surroundings: &Surroundings,
) -> Vec<OsString> {
    if minor >= 11 && surroundings.filled("PYTHONSAFEPATH").is_some() {
        return Vec::new();
    }
    vec![realpath(scripts).into_os_string()]
}

fn refuse_relocation(surroundings: &Surroundings) -> Result<(), Undecided> {
    match RELOCATING
        .into_iter()
        .find(|name| surroundings.filled(name).is_some())
    {
        Some(name) => Undecided::because(format!("{name} is set")),
        None => Ok(()),
    }
}

fn read_cfg(prefix: &Path) -> Result<PyvenvCfg, Undecided> {
    let second = prefix.join(SCRIPTS).join(PYVENV_CFG);
    if second.exists() {
        // CPython's getpath and site.py would each read another one.
        return Undecided::because(format!("{} exists", second.display()));
    }
    PyvenvCfg::read(&prefix.join(PYVENV_CFG))
}

fn base_of(executable: &Path, cfg: &PyvenvCfg) -> Result<Base, Undecided> {
    if let Some(other) = cfg
        .implementation
        .as_ref()
        .filter(|name| *name != "CPython")
    {
        return Undecided::because(format!("{other} has another layout than CPython"));
    }
    let Some(home) = &cfg.home else {
        return Undecided::because("pyvenv.cfg has no home");
    };
    Base::find(executable, home, cfg.version)
}

/// The items of `PYTHONPATH`; an empty one is the current directory.
fn python_path(surroundings: &Surroundings) -> Vec<Vec<u8>> {
    surroundings
        .filled("PYTHONPATH")
        .map_or_else(Vec::new, |items| {
            items
                .as_bytes()
                .split(|&byte| byte == b':')
                .map(<[u8]>::to_vec)
                .collect()
        })
}

/// A directory that `site` adds if it exists.
struct SiteDirectory {
    path: Vec<u8>,
    /// Only Debian's `site` does.
    is_debians: bool,
}

impl SiteDirectory {
    fn plain(path: Vec<u8>) -> SiteDirectory {
        SiteDirectory {
            path,
            is_debians: false,
        }
    }
}

/// What `site.py` knows about directories while it runs in this environment.
struct Site<'a> {
    prefix: &'a [u8],
    base: &'a Base,
    site_py: &'a SitePy,
}

impl Site<'_> {
    /// `site.getsitepackages([prefix])`.
    fn directories_of(&self, prefix: &[u8]) -> Vec<SiteDirectory> {
        let version = self.base.version.directory();
        let plain = |library: &str| format!("{library}/{version}/site-packages");
        let debians = [
            format!("local/lib/{version}/dist-packages"),
            "lib/python3/dist-packages".to_owned(),
            format!("lib/{version}/dist-packages"),
        ];
        let mut plains = vec![plain(self.base.library)];
        if self.base.library != "lib" {
            plains.push(plain("lib"));
        }
        let named = |name: String, is_debians| SiteDirectory {
            path: join(prefix, name.as_bytes()),
            is_debians,
        };
        let plains = plains.into_iter().map(|name| named(name, false));
        plains
            .chain(debians.map(|name| named(name, true)))
            .collect()
    }

    /// Whether this interpreter's `site` looks at a directory. Its text is read only if one exists
    /// for which that matters.
    fn adds(&self, directory: &SiteDirectory) -> Result<bool, Undecided> {
        if !directory.is_debians {
            return Ok(true);
        }
        Ok(as_path(&directory.path).is_dir() && self.site_py.is_debians()?)
    }

    /// What comes after the environment's own: the user's, then the base interpreter's.
    fn system_directories(
        &self,
        surroundings: &Surroundings,
    ) -> Result<Vec<SiteDirectory>, Undecided> {
        if self.site_py.is_fedoras()? {
            return Undecided::because("the base interpreter has Fedora's site.py");
        }
        let mut directories = Vec::new();
        if allows_user_site(surroundings) {
            let user = join(&user_base(surroundings)?, b"lib");
            let user = join(&user, self.base.version.directory().as_bytes());
            directories.push(SiteDirectory::plain(join(&user, b"site-packages")));
        }
        directories.extend(self.directories_of(&self.base.prefix));
        if self.base.exec_prefix != self.base.prefix {
            directories.extend(self.directories_of(&self.base.exec_prefix));
        }
        Ok(directories)
    }
}

/// `site.check_enableusersite`.
fn allows_user_site(surroundings: &Surroundings) -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    !surroundings.number_flag("PYTHONNOUSERSITE") && getuid() == geteuid() && getgid() == getegid()
}

/// `site.getuserbase`, with `HOME` as `os.path.expanduser` reads it.
fn user_base(surroundings: &Surroundings) -> Result<Vec<u8>, Undecided> {
    if let Some(base) = surroundings.filled("PYTHONUSERBASE") {
        return Ok(base.as_bytes().to_vec());
    }
    let Some(home) = surroundings.variable("HOME") else {
        return Undecided::because("HOME is not set");
    };
    let home = home.as_bytes();
    let end = home
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |last| last + 1);
    Ok([&home[..end], b"/.local"].concat())
}

/// The prefix of the virtual environment that an executable belongs to, if it belongs to one.
/// `executable` is absolute and normalized.
pub(super) fn prefix_of(executable: &Path) -> Option<PathBuf> {
    let scripts = executable.parent()?;
    let prefix = scripts.parent()?;
    (scripts.file_name()? == SCRIPTS && prefix.join(PYVENV_CFG).is_file())
        .then(|| prefix.to_path_buf())
}
