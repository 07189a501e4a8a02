//! What is answered right after real installers changed something, when nobody told the caches.
//!
//! The changes are made in the virtual environment's own `site-packages`, in turn, to one distribution
//! with a member of the small group. Before each one all caches are made fresh.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use epcache_benches::environment::SMALL_GROUP;
use epcache_benches::machine;

use super::Study;
use super::conditions::{Field, Storage};
use super::contenders::{Contender, expected};
use super::environments::Venv;
use super::record::{Changes, Record};
use super::work::{Work, is_right};

/// Beside the distribution that changes.
const DISTS: usize = 100;

/// Writes a wheel with nothing in it but what an installer needs, and an entry point. All have the same
/// old file times, as those have that are built to be the same each time.
const WRITE_WHEEL: &str = "
import sys, zipfile
directory, version, group, value = sys.argv[1:]
info = f'bench_probe-{version}.dist-info'
files = {
    'bench_probe/__init__.py': f'__version__ = {version!r}\\n',
    f'{info}/METADATA': f'Metadata-Version: 2.1\\nName: bench-probe\\nVersion: {version}\\n',
    f'{info}/WHEEL': 'Wheel-Version: 1.0\\nGenerator: bench\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
    f'{info}/entry_points.txt': f'[{group}]\\nprobe = bench_probe:{value}\\n',
}
files[f'{info}/RECORD'] = ''.join(f'{name},,\\n' for name in [*files, f'{info}/RECORD'])
with zipfile.ZipFile(f'{directory}/bench_probe-{version}-py3-none-any.whl', 'w') as wheel:
    for file, text in files.items():
        info = zipfile.ZipInfo(file, (2020, 2, 2, 0, 0, 0))
        info.external_attr = 0o644 << 16
        wheel.writestr(info, text)
";

/// A wheel, as its version and the value of its entry point.
type Wheel = (&'static str, &'static str);

#[derive(Clone, Copy, Debug)]
enum Step {
    Pip(&'static [&'static str], Wheel),
    Unzip(Wheel),
    Edit,
    Uninstall,
}

/// Each change is made to what those before it left.
const CHANGES: [(&str, Step); 8] = [
    ("installation", Step::Pip(&[], ("1.0", "one"))),
    (
        "same-version reinstall",
        Step::Pip(&["--force-reinstall"], ("1.0", "two")),
    ),
    (
        "same-version reinstall, pip -I",
        Step::Pip(&["--ignore-installed"], ("1.0", "six")),
    ),
    ("entry_points.txt edited", Step::Edit),
    ("upgrade", Step::Pip(&[], ("2.0", "one"))),
    ("same version by unzip -o", Step::Unzip(("2.0", "two"))),
    ("the same, same size and time", Step::Unzip(("2.0", "six"))),
    ("removal", Step::Uninstall),
];

pub(super) fn measure(study: &mut Study) -> Result<()> {
    let dists = if study.plan.quick { 20 } else { DISTS };
    let field = Field::new(&study.workshop.scratch, "changes", Storage::Disk, dists)?;
    let contenders: Vec<Contender> = study
        .contenders
        .iter()
        .copied()
        .filter(Contender::answers)
        .collect();
    for (change, step) in CHANGES {
        eprintln!("change: {change}");
        let able = prepare(study, &field, &contenders, change)?;
        let venv = &study.venv;
        step.run(venv)
            .with_context(|| format!("make the change: {change}"))?;
        let right = expected(venv, &field, Work::FindSmall)?;
        let mut records = Vec::new();
        for contender in able {
            let wrong = match contender.answer(venv, &field, Work::FindSmall) {
                Ok(found) => !is_right(&found, &right, order(&contender, venv)?),
                Err(error) => {
                    eprintln!("{error:#}");
                    true
                }
            };
            records.push(Record::Changes(Changes {
                language: contender.language.name(),
                contender: contender.name,
                change,
                wrong,
            }));
        }
        study.results.put(records)?;
    }
    Ok(())
}

/// Makes all caches fresh. Who is wrong even then says nothing about changes.
fn prepare(
    study: &mut Study,
    field: &Field,
    contenders: &[Contender],
    change: &str,
) -> Result<Vec<Contender>> {
    let venv = &study.venv;
    venv.let_stamps_age()?;
    let right = expected(venv, field, Work::FindSmall)?;
    let mut able = Vec::new();
    for contender in contenders {
        // Without the old one: who can't see a change believes in it even when told to build.
        if contender.has_own_cache() {
            contender.remove_cache(field)?;
        }
        let fresh = contender
            .build(venv, field)
            .and_then(|()| contender.answer(venv, field, Work::FindSmall));
        match fresh {
            Ok(found) if is_right(&found, &right, order(contender, venv)?) => able.push(*contender),
            Ok(_) => {
                let what = format!("{contender} at the change {change}");
                study.results.leave_out(&what, "wrong before it, too")?;
            }
            Err(error) => {
                let what = format!("{contender} at the change {change}");
                study.results.leave_out(&what, &format!("{error:#}"))?;
            }
        }
    }
    // A change must not fall into the same moment as the builds before it.
    venv.let_stamps_age()?;
    Ok(able)
}

fn order(contender: &Contender, venv: &Venv) -> Result<bool> {
    Ok(contender.promises(venv, Work::FindSmall)?.order)
}

impl Step {
    fn run(self, venv: &Venv) -> Result<()> {
        match self {
            Step::Pip(options, wheel) => {
                let mut pip = venv.pip("install");
                pip.args(["--no-index", "--no-deps"]).args(options);
                machine::answer(pip.arg(write_wheel(venv, wheel)?)).map(drop)
            }
            Step::Unzip(wheel) => {
                let mut unzip = Command::new("unzip");
                unzip.args(["-o", "-q"]).arg(write_wheel(venv, wheel)?);
                machine::answer(unzip.arg("-d").arg(&venv.site_packages)).map(drop)
            }
            Step::Edit => {
                let metadata = venv.site_packages.join("bench_probe-1.0.dist-info");
                let file = metadata.join("entry_points.txt");
                let text = format!("[{SMALL_GROUP}]\nprobe = bench_probe:ten\n");
                fs::write(&file, text).with_context(|| format!("write {}", file.display()))
            }
            Step::Uninstall => {
                machine::answer(venv.pip("uninstall").args(["--yes", "bench-probe"])).map(drop)
            }
        }
    }
}

/// Makes a wheel in a directory of its own: the versions may be the same.
fn write_wheel(venv: &Venv, (version, value): Wheel) -> Result<PathBuf> {
    let directory = venv.home.join("wheels").join(value);
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let mut write = venv.python();
    write.args(["-c", WRITE_WHEEL]).arg(&directory);
    machine::answer(write.args([version, SMALL_GROUP, value]))?;
    Ok(directory.join(Path::new(&format!(
        "bench_probe-{version}-py3-none-any.whl"
    ))))
}
