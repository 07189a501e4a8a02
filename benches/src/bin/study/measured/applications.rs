//! Real applications: what they take from start to end, what of it goes into asking for entry points,
//! and what is gained where epcache serves them unchanged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use epcache_benches::environment;
use epcache_benches::machine;
use epcache_benches::measure::shuffled;
use epcache_benches::slow_fs::SlowMount;

use super::Study;
use super::conditions::Mount;
use super::environments::{Venv, Workshop};
use super::record::{Application, Quartiles, Record};
use super::run;
use super::timing::milliseconds;

/// What is installed from the package index.
const PACKAGES: [&str; 3] = [
    "python-openstackclient==10.5.0",
    "pytest==9.2.0",
    "flake8==7.5.0",
];

/// What is installed beside: a large environment.
const DISTS: usize = 1_000;

/// As late as a network nearby.
const DELAY: Duration = Duration::from_micros(500);

/// Behind it, where a start takes long.
const SLOW_ROUNDS: usize = 3;

/// How often each environment's `pass` runs in each round.
const PASSES: usize = 3;

/// See there.
const ASKING: &str = include_str!("asking.py");

/// Name, program and arguments; `TEST` is an empty test.
const APPLICATIONS: [(&str, &str, &[&str]); 3] = [
    ("openstack --help", "openstack", &["--help"]),
    (
        "pytest, one empty test",
        "pytest",
        &["-q", "-p", "no:cacheprovider", "TEST"],
    ),
    ("flake8 --version", "flake8", &["--version"]),
];

/// As which the applications are run: `plain` in an environment that knows nothing of epcache.
const SERVED: [(&str, Option<&str>); 3] = [
    ("plain", None),
    ("epcache-exact", Some("exact")),
    ("epcache-fast", Some("fast")),
];

/// The first of them.
const AS_IT_IS: usize = 0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Warm,
    Cold,
    Slow,
}

impl Condition {
    fn name(self) -> &'static str {
        match self {
            Condition::Warm => "warm",
            Condition::Cold => "cold",
            Condition::Slow => "slow-0.5ms",
        }
    }
}

/// Twin environments, and a program for the time spent in asking.
struct Twins {
    plain: Venv,
    enabled: Venv,
    /// Holds a `sitecustomize`.
    asking: PathBuf,
}

pub(super) fn measure(study: &mut Study) -> Result<()> {
    if study.plan.quick {
        return Ok(());
    }
    let twins = match Twins::make(&study.workshop) {
        Ok(twins) => twins,
        Err(error) => {
            return study
                .results
                .leave_out("applications", &format!("{error:#}"));
        }
    };
    let rounds = study.plan.application_rounds();
    let warm = twins.measure(Condition::Warm, rounds)?;
    study.results.put(warm)?;
    match run::drop_caches() {
        Ok(()) => {
            let cold = twins.measure(Condition::Cold, rounds)?;
            study.results.put(cold)?;
        }
        Err(error) => study
            .results
            .leave_out("applications, cold", &format!("{error:#}"))?,
    }
    match &study.no_mounts {
        None => {
            let slow = twins.measure_slow(rounds.min(SLOW_ROUNDS))?;
            study.results.put(slow)
        }
        Some(why) => study.results.leave_out("applications, slow", &why.clone()),
    }
}

impl Twins {
    /// Installs the applications once, and copies everything to the twin.
    fn make(workshop: &Workshop) -> Result<Twins> {
        let plain = workshop.venv("applications", &workshop.machine.python)?;
        plain.pip_install(&PACKAGES)?;
        environment::generate(&plain.site_packages, DISTS)?;
        keep_from_applications(&plain.site_packages)?;
        plain.compile()?;
        let enabled = workshop.venv("applications-enabled", &workshop.machine.python)?;
        copy(&plain.site_packages, &enabled.site_packages)?;
        for (_, program, _) in APPLICATIONS {
            copy(&bin(&plain, program), &bin(&enabled, program))?;
        }
        machine::answer(enabled.python().args(["-m", "epcache", "enable"]))?;
        let asking = workshop.scratch.join("asking");
        fs::create_dir(&asking).context("make a directory")?;
        fs::write(asking.join("sitecustomize.py"), ASKING).context("write a program")?;
        let twins = Twins {
            plain,
            enabled,
            asking,
        };
        for venv in [&twins.plain, &twins.enabled] {
            let tests = venv.home.join("test_nothing.py");
            fs::write(tests, "def test_nothing():\n    pass\n").context("write a test")?;
        }
        // Each once, for what it writes when it runs for the first time.
        for (index, served) in each() {
            twins.run(index, served)?;
        }
        twins.sync()?;
        Ok(twins)
    }

    fn sync(&self) -> Result<()> {
        self.enabled.let_stamps_age()?;
        self.epcache("sync")
    }

    /// Does something with the cache of the twin that is served from it.
    fn epcache(&self, what: &str) -> Result<()> {
        let program = self.enabled.root.join("bin/epcache");
        let mut command = machine::command(&program, &self.enabled.home);
        machine::answer(command.arg(what).arg("--venv").arg(&self.enabled.root)).map(drop)
    }

    fn venv(&self, served: usize) -> &Venv {
        match SERVED[served].1 {
            None => &self.plain,
            Some(_) => &self.enabled,
        }
    }

    fn command(&self, application: usize, served: usize) -> Command {
        let (_, program, arguments) = APPLICATIONS[application];
        let venv = self.venv(served);
        let mut command = self.python(served);
        command.arg(bin(venv, program));
        for &argument in arguments {
            match argument {
                "TEST" => command.arg(venv.home.join("test_nothing.py")),
                _ => command.arg(argument),
            };
        }
        command
    }

    /// The interpreter, with the mode in which it is served.
    fn python(&self, served: usize) -> Command {
        let mut command = self.venv(served).python();
        if let Some(mode) = SERVED[served].1 {
            command.env("EPCACHE_MODE", mode);
        }
        command
    }

    fn run(&self, application: usize, served: usize) -> Result<f64> {
        let ran = run::timed(&mut self.command(application, served))?;
        Ok(milliseconds(ran.wall))
    }

    /// How long an application spends in asking, as it is. Who tells puts himself into
    /// `importlib.metadata`, which epcache's patch respects: it would serve nothing.
    fn asking(&self, application: usize) -> Result<f64> {
        let mut command = self.command(application, AS_IT_IS);
        let output = command
            .env("PYTHONPATH", &self.asking)
            .stdin(std::process::Stdio::null())
            .output()
            .context("start an application")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{command:?} failed: {}\n{said}",
            output.status
        );
        let told = said
            .lines()
            .find_map(|line| line.strip_prefix("asking_ns="));
        let nanoseconds: f64 = told
            .and_then(|told| told.parse().ok())
            .with_context(|| format!("{command:?} does not tell: {said}"))?;
        Ok(nanoseconds / 1e6)
    }

    /// All in turn, in another order each round.
    fn measure(&self, condition: Condition, rounds: usize) -> Result<Vec<Record>> {
        eprintln!("applications, {}: {rounds} rounds", condition.name());
        let each: Vec<(usize, usize)> = each().collect();
        let before = || match condition {
            Condition::Cold => run::drop_caches(),
            Condition::Warm | Condition::Slow => Ok(()),
        };
        let mut walls = vec![Vec::new(); each.len()];
        let mut askings = vec![Vec::new(); each.len()];
        let mut passes = vec![Vec::new(); SERVED.len()];
        for round in 1..=rounds {
            // Where a start takes long, once.
            let tells = condition != Condition::Slow || round == 1;
            for index in shuffled(each.len(), u32::try_from(round)?) {
                let (application, served) = each[index];
                before()?;
                walls[index].push(self.run(application, served)?);
                if tells && served == AS_IT_IS {
                    before()?;
                    askings[index].push(self.asking(application)?);
                }
            }
            for (served, times) in passes.iter_mut().enumerate() {
                for _ in 0..PASSES {
                    before()?;
                    let ran = run::timed(self.python(served).args(["-c", "pass"]))?;
                    times.push(milliseconds(ran.wall));
                }
            }
        }
        // What is told of a stale cache would be told of something else.
        self.epcache("verify")?;
        let mut records = Vec::new();
        for ((&(application, served), walls), asking) in each.iter().zip(&walls).zip(&askings) {
            let median = |times: &[f64]| Quartiles::of(times).context("no round was run");
            records.push(Record::Application(Application {
                name: APPLICATIONS[application].0,
                condition: condition.name(),
                dists: DISTS,
                served: SERVED[served].0,
                rounds,
                wall_ms: median(walls)?,
                pass_ms: median(&passes[served])?.median,
                entry_points_ms: Quartiles::of(asking).map(|times| times.median),
            }));
        }
        Ok(records)
    }

    /// Has both `site-packages` served late, at their own places.
    fn measure_slow(&self, rounds: usize) -> Result<Vec<Record>> {
        let mut mounts = Vec::new();
        for venv in [&self.plain, &self.enabled] {
            let behind = venv.home.join("behind");
            fs::create_dir(&behind).context("make a directory")?;
            let bound = Mount::bind(&venv.site_packages, &behind)?;
            let slow = SlowMount::new(&behind, &venv.site_packages, Duration::ZERO)?;
            // The first to be dropped is what is on top.
            mounts.push((slow, bound));
        }
        self.sync()?;
        for (slow, _) in &mounts {
            slow.set_delay(DELAY);
        }
        self.measure(Condition::Slow, rounds)
    }
}

/// Every application, served in every way.
fn each() -> impl Iterator<Item = (usize, usize)> {
    (0..APPLICATIONS.len())
        .flat_map(|application| (0..SERVED.len()).map(move |served| (application, served)))
}

fn bin(venv: &Venv, program: &str) -> PathBuf {
    venv.root.join("bin").join(program)
}

/// Renames the groups that applications would load plugins from: there is nothing to load.
fn keep_from_applications(site_packages: &Path) -> Result<()> {
    for child in fs::read_dir(site_packages).context("list the environment")? {
        let path = child?.path();
        let is_generated = fs::read_to_string(path.join("METADATA"))
            .is_ok_and(|text| text.contains("\nSummary: A distribution to measure on\n"));
        let file = path.join("entry_points.txt");
        if is_generated && file.exists() {
            let text = fs::read_to_string(&file).context("read entry points")?;
            fs::write(&file, text.replace('[', "[bench."))
                .with_context(|| format!("write {}", file.display()))?;
        }
    }
    Ok(())
}

/// Copies with times, because compiled modules tell by them whether they are of their sources.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut copy = Command::new("cp");
    copy.args(["-a", "-T"]).args([from, to]);
    machine::answer(&mut copy).map(drop)
}
