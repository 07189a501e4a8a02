//! The virtual environment that installers work in, with a watcher on it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use epcache_benches::environment;
use epcache_benches::machine::{self, Machine};

use crate::freshness::Freshness;
use crate::watcher::Watcher;

/// Writes a wheel with nothing in it but what an installer needs, and an entry point.
const WRITE_WHEEL: &str = "
import sys, zipfile
directory, version = sys.argv[1:]
info = f'bench_plugin-{version}.dist-info'
files = {
    'bench_plugin/__init__.py': f'__version__ = {version!r}\\n',
    f'{info}/METADATA': f'Metadata-Version: 2.1\\nName: bench-plugin\\nVersion: {version}\\n',
    f'{info}/WHEEL': 'Wheel-Version: 1.0\\nGenerator: bench\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
    f'{info}/entry_points.txt': f'[bench.plugins]\\nplugin = bench_plugin:v{version}\\n',
}
files[f'{info}/RECORD'] = ''.join(f'{name},,\\n' for name in [*files, f'{info}/RECORD'])
name = f'{directory}/bench_plugin-{version}-py3-none-any.whl'
with zipfile.ZipFile(name, 'w') as wheel:
    for file, text in files.items():
        wheel.writestr(file, text)
print(name)
";

/// The versions of the wheel: an upgrade is from the first to the second.
pub(crate) const VERSIONS: [&str; 2] = ["1.0", "2.0"];

/// The virtual environment, what is to be installed into it, and who keeps it current.
pub(crate) struct Venv {
    pub(crate) home: PathBuf,
    pub(crate) python: PathBuf,
    pub(crate) dists: usize,
    pub(crate) site_packages: PathBuf,
    /// One for each of the [`VERSIONS`].
    pub(crate) wheels: Vec<PathBuf>,
    pub(crate) freshness: Freshness,
    pub(crate) watcher: RefCell<Watcher>,
}

impl Venv {
    /// Makes one with pip and `dists` more distributions, and starts a watcher.
    pub(crate) fn make(machine: &Machine, home: &Path, dists: usize) -> Result<Venv> {
        eprintln!("making the environment");
        let root = home.join("venv");
        std::fs::create_dir_all(home).with_context(|| format!("create {}", home.display()))?;
        let mut make = machine::command(&machine.python, home);
        machine::answer(make.args(["-m", "venv"]).arg(&root))?;
        let python = root.join("bin/python");
        let run = |code: &str, arguments: &[&str]| {
            let mut command = machine::command(&python, home);
            machine::answer(command.args(["-I", "-c", code]).args(arguments))
        };
        let purelib = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let site_packages = PathBuf::from(run(purelib, &[])?);
        environment::generate(&site_packages, dists)?;
        let directory = home.to_str().context("the scratch directory is no UTF-8")?;
        let wheels = VERSIONS
            .iter()
            .map(|version| Ok(PathBuf::from(run(WRITE_WHEEL, &[directory, version])?)))
            .collect::<Result<_>>()?;
        // Compiles what programs will import. Later that would be a change.
        run(
            "from importlib.metadata import entry_points; entry_points()",
            &[],
        )?;
        let watcher = Watcher::start(machine, home, &["--venv".as_ref(), root.as_os_str()])?;
        Ok(Venv {
            home: home.to_owned(),
            freshness: Freshness::of(&site_packages, &watcher.cache),
            python,
            dists,
            site_packages,
            wheels,
            watcher: RefCell::new(watcher),
        })
    }

    /// The environment's interpreter.
    pub(crate) fn python(&self) -> Command {
        machine::command(&self.python, &self.home)
    }
}
