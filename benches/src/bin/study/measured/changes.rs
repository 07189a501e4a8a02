//! What is answered right after real installers changed something, when nobody told the caches.
//!
//! The changes are made in the virtual environment's own `site-packages`, in turn, to one distribution
//! with a member of the small group. Before each one all caches are made fresh.
//!
//! stevedore compares times as 32-bit floats, which go in steps of 128 s. What was there before a change
//! gets a time of the same step, so that its answers are those to changes of files that are not older
//! than that, and not a matter of chance.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

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

/// More than the caches and a change take.
const TAKES: Duration = Duration::from_secs(25);

/// Files of a wheel are older.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
    for (change, made) in CHANGES {
        eprintln!("change: {change}");
        if contenders.iter().any(is_stevedore) {
            wait_for_room_in_step();
        }
        let before = pin_times(&study.venv)?;
        let able = prepare(study, &field, &contenders, change)?;
        let venv = &study.venv;
        made.run(venv)
            .with_context(|| format!("make the change: {change}"))?;
        let in_step = step(before) == step(SystemTime::now());
        let right = expected(venv, &field, Work::FindSmall)?;
        let mut records = Vec::new();
        for contender in able {
            if is_stevedore(&contender) && !in_step {
                let what = format!("{contender} at the change {change}");
                study.results.leave_out(&what, "128 s began meanwhile")?;
                continue;
            }
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

fn is_stevedore(contender: &Contender) -> bool {
    contender.name == "stevedore"
}

/// Waits for the next step if there is too little left of this one.
fn wait_for_room_in_step() {
    while step(SystemTime::now()) != step(SystemTime::now() + TAKES) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Gives what is going to change the time of now, but for what has the old time of its wheel, and
/// returns it.
fn pin_times(venv: &Venv) -> Result<SystemTime> {
    let now = SystemTime::now();
    let site_packages = &venv.site_packages;
    let mut changing = vec![site_packages.clone()];
    for version in ["1.0", "2.0"] {
        let metadata = site_packages.join(format!("bench_probe-{version}.dist-info"));
        changing.extend([metadata.join("entry_points.txt"), metadata]);
    }
    for path in changing.iter().filter(|path| path.exists()) {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let age = now.duration_since(file.metadata()?.modified()?);
        if age.is_ok_and(|age| age < A_DAY) {
            file.set_modified(now)
                .with_context(|| format!("set the time of {}", path.display()))?;
        }
    }
    Ok(now)
}

/// A time as stevedore compares it.
fn step(time: SystemTime) -> f32 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f32())
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
