//! A slow file system: the distributions are behind one that is late with each operation, as on a
//! cluster; the interpreter, the reader and the cache are not.

#[cfg(target_os = "linux")]
pub(crate) use linux::{measure, prepare};
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{measure, prepare};

const TITLE: &str = "Slow file system, wall clock";

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::rc::Rc;
    use std::time::Duration;

    use anyhow::{Context as _, Result, ensure};
    use epcache_benches::environment::{self, SMALL_GROUP};
    use epcache_benches::slow_fs::{SlowMount, enter_own_mounts};

    use super::TITLE;
    use crate::contenders::{Clock, Contender, run_rounds};
    use crate::fresh::{EXACT, FAST, IMPORTLIB, NOTHING, PATCHED_EXACT, PATCHED_FAST};
    use crate::report::{Limit, Section, Unit, estimate};
    use crate::venv::{Asked, Workshop};

    const STEVEDORE: &str = "stevedore, its own cache warm";

    /// To be done before the first thread is started, for what is mounted later.
    pub(crate) fn prepare() -> Result<()> {
        enter_own_mounts()
    }

    /// Measures whole processes on a path entry that is served late.
    pub(crate) fn measure(
        workshop: &Workshop,
        own_mounts: Result<()>,
        dists: usize,
        delay: Duration,
        rounds: u32,
    ) -> Result<Section> {
        if let Err(error) = own_mounts {
            return Ok(Section::skipped(TITLE, format!("{error:#}")));
        }
        let venv = workshop.empty_venv("slow")?;
        let (behind, at) = (venv.home.join("behind"), venv.home.join("network"));
        environment::generate(&behind, dists)?;
        fs::create_dir(&at).with_context(|| format!("create {}", at.display()))?;
        let mount = match SlowMount::new(&behind, &at, delay) {
            Ok(mount) => Rc::new(mount),
            Err(error) => return Ok(Section::skipped(TITLE, format!("{error:#}"))),
        };
        let pth = venv.site_packages.join("network.pth");
        fs::write(&pth, format!("{}\n", at.display()))
            .with_context(|| format!("write {}", pth.display()))?;
        venv.sync()?;
        for mode in ["exact", "fast"] {
            ensure!(
                venv.is_fresh(mode)?,
                "on the slow file system the cache is stale in mode {mode} after a sync"
            );
        }

        let mut all = vec![
            (IMPORTLIB, Asked::Importlib),
            (EXACT, Asked::Epcache("exact")),
            (FAST, Asked::Epcache("fast")),
            (PATCHED_EXACT, Asked::Patched("exact")),
            (PATCHED_FAST, Asked::Patched("fast")),
        ];
        if workshop.no_stevedore().is_none() {
            all.push((STEVEDORE, Asked::Stevedore));
        }
        let asked: Vec<Asked> = all.iter().map(|(_, asked)| *asked).collect();
        venv.check_that_answers_in(SMALL_GROUP, &asked)?;
        let counted = |name, command| {
            let mount = Rc::clone(&mount);
            // Waiting is what costs here, whatever else is measured.
            Contender::process(name, command, Clock::Wall).counting(move || mount.operations())
        };
        let mut contenders = vec![counted(NOTHING, venv.nothing())];
        for (name, asked) in all {
            contenders.push(counted(name, venv.ask(asked, SMALL_GROUP)));
        }
        run_rounds(&mut contenders, rounds)?;

        let title = format!(
            "{TITLE}: each operation {} ms late, nothing remembered",
            delay.as_secs_f64() * 1e3
        );
        let mut section = Section::of(&title, rounds, &contenders, Some(NOTHING))?;
        for (own, least) in [(EXACT, 6.0), (FAST, 100.0)] {
            section.goal(
                &format!("slow, {own}: less than importlib.metadata"),
                Limit::AtLeast(least),
                Unit::Times,
                estimate(&contenders, |medians| {
                    medians.ratio_above(IMPORTLIB, own, NOTHING)
                })?,
            );
        }
        Ok(section)
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::time::Duration;

    use anyhow::{Result, bail};

    use super::TITLE;
    use crate::report::Section;
    use crate::venv::Workshop;

    pub(crate) fn prepare() -> Result<()> {
        bail!("a slow file system can be made on Linux only")
    }

    pub(crate) fn measure(
        _: &Workshop,
        own_mounts: Result<()>,
        _: usize,
        _: Duration,
        _: u32,
    ) -> Result<Section> {
        let reason = own_mounts.map_or_else(|error| format!("{error:#}"), |()| String::new());
        Ok(Section::skipped(TITLE, reason))
    }
}
