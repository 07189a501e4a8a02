//! Everything that is measured, in one run.
//!
//! `plan` says what. Contenders (`contenders`) are run in turn, round by round and in another order each
//! round (`timing`), in a virtual environment (`environments`), on generated path entries (`conditions`).
//! What is not about time alone has a module of its own: `together`, `killed`, `changes` and `applications`.

mod applications;
mod changes;
mod conditions;
mod contenders;
mod environments;
mod facts;
mod fresh;
mod killed;
mod left_out;
mod plan;
mod record;
mod results;
mod run;
mod timing;
mod together;
mod work;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum as _};
use epcache_benches::scratch;
use epcache_benches::slow_fs::enter_own_mounts;

use super::report;
use conditions::{Field, Storage};
use contenders::Contender;
use environments::{OTHER_PYTHONS, Venv, Workshop, find_python, sources};
use plan::{Cell, Part, Plan};
use record::Record;
use results::Results;

#[derive(Debug, Parser)]
#[command(about = "Measure ways of caching entry points, and write docs/benchmarks.md")]
struct Arguments {
    /// Do a small part, to see that all works, and keep nothing
    #[arg(long)]
    quick: bool,

    /// Measure these parts alone, and keep what was measured of the others
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,

    /// Write the document from what was measured before
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    report: bool,

    /// Write here instead of to the repository's docs
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Measure this program instead of building one
    #[arg(long, value_name = "EXE")]
    epcache: Option<PathBuf>,

    /// The Python to measure with
    #[arg(long, value_name = "EXE", default_value = "python3")]
    python: PathBuf,

    /// Work in a new directory below this one, which must not be below /tmp
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    scratch: PathBuf,

    /// Give up after so many minutes, whatever has not ended by then
    #[arg(long, default_value_t = 60, value_name = "MINUTES")]
    time_limit: u32,
}

pub(super) fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let docs = match &arguments.out {
        Some(out) => std::path::absolute(out).context("find the current directory")?,
        None => std::fs::canonicalize(sources("docs")).context("find the repository's docs")?,
    };
    let kept = docs.join("benchmarks/results.jsonl");
    if arguments.report {
        return report::write(&kept, &docs);
    }
    // Before the first thread is started, which would keep the mounts of everybody.
    let own_mounts = enter_own_mounts();
    let scratch = scratch::directory(&arguments.scratch, "epcache-study-", arguments.time_limit)?;
    let file = if arguments.quick && arguments.out.is_none() {
        scratch.path().join("results.jsonl")
    } else {
        std::fs::create_dir_all(docs.join("benchmarks")).context("make a directory for results")?;
        kept
    };
    let results = Results::open(&file, !arguments.only.is_empty() && file.exists())?;
    Study::set_up(&arguments, scratch.path(), own_mounts, results)?.run(&arguments.only)?;
    if arguments.quick {
        let records = std::fs::read_to_string(&file).context("read the results")?;
        println!("{records}\n{}", report::try_out(&file)?);
        return Ok(());
    }
    report::write(&file, &docs)
}

/// What all parts work with.
struct Study {
    plan: Plan,
    workshop: Workshop,
    /// Of the main Python.
    venv: Venv,
    contenders: Vec<Contender>,
    /// Why nothing can be mounted, where nothing can be.
    no_mounts: Option<String>,
    /// Whether system calls can be traced.
    can_trace: bool,
    results: Results,
}

impl Study {
    fn set_up(
        arguments: &Arguments,
        scratch: &Path,
        own_mounts: Result<()>,
        mut results: Results,
    ) -> Result<Study> {
        let scratch = std::fs::canonicalize(scratch).context("resolve the scratch directory")?;
        let load = facts::load();
        let plan = Plan {
            quick: arguments.quick,
        };
        let workshop = Workshop::set_up(arguments.epcache.as_deref(), &arguments.python, &scratch)?;
        // `python -c` searches the current directory too: let there be nothing, for everyone.
        let nowhere = scratch.join("nowhere");
        std::fs::create_dir(&nowhere).context("make an empty directory")?;
        std::env::set_current_dir(&nowhere).context("enter an empty directory")?;
        let venv = workshop.venv("main", &workshop.machine.python)?;
        if !plan.quick {
            workshop.install_rivals(&venv)?;
        }
        let mut contenders = contenders::all(!plan.quick);
        contenders.retain(|contender| plan.takes_part(contender));
        results.put_machine(facts::machine(&workshop, &scratch, &venv, load)?)?;
        let traced = run::can_trace();
        if let Err(error) = &traced {
            results.leave_out(
                "file system calls, and kills at a call",
                &format!("{error:#}"),
            )?;
        }
        Ok(Study {
            plan,
            workshop,
            venv,
            contenders,
            no_mounts: own_mounts.err().map(|error| format!("{error:#}")),
            can_trace: traced.is_ok(),
            results,
        })
    }

    fn run(mut self, only: &[Part]) -> Result<()> {
        for (what, why) in left_out::LEFT_OUT {
            self.results.put([record::left_out(what, why)])?;
        }
        for &part in Part::value_variants() {
            if !only.is_empty() && !only.contains(&part) {
                continue;
            }
            let start = Instant::now();
            let name = part.to_possible_value().context("a part has no name")?;
            self.results.begin_part(name.get_name());
            let date = facts::date()?;
            self.measure(part)
                .with_context(|| format!("measure the part {part:?}"))?;
            let seconds = start.elapsed().as_secs();
            eprintln!("{part:?}: {seconds} s");
            self.results
                .put([Record::Part(record::Part { date, seconds })])?;
        }
        self.results.finish()
    }

    fn measure(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Pythons => return self.other_pythons(),
            Part::Applications => return applications::measure(self),
            Part::Changes => return changes::measure(self),
            Part::Together => return together::measure(self),
            Part::Killed => return killed::measure(self),
            _ => {}
        }
        for cell in self.cells(part) {
            if let Some(why) = self.can_not(&cell) {
                self.results.leave_out(cell.condition, &why)?;
                continue;
            }
            measure_cell(
                &self.venv,
                &self.workshop.scratch,
                &self.contenders,
                &cell,
                &mut self.results,
            )?;
        }
        Ok(())
    }

    /// The cells of a part, without what can't be done here.
    fn cells(&self, part: Part) -> Vec<Cell> {
        let mut cells = self.plan.cells(part);
        for cell in &mut cells {
            cell.measuring.count &= self.can_trace;
        }
        cells
    }

    /// Why the cell's condition can't be made here, if it can't.
    fn can_not(&self, cell: &Cell) -> Option<String> {
        if cell.measuring.cold {
            return run::drop_caches().err().map(|error| format!("{error:#}"));
        }
        let mounts = cell.storage != Storage::Disk;
        self.no_mounts.clone().filter(|_| mounts)
    }

    /// The same with other Pythons, each in an environment of its own.
    fn other_pythons(&mut self) -> Result<()> {
        if self.plan.quick {
            return Ok(());
        }
        for version in OTHER_PYTHONS {
            let Some(python) = find_python(version) else {
                let what = format!("Python {version}");
                self.results.leave_out(&what, "not on this machine")?;
                continue;
            };
            let venv = self.workshop.venv(version, &python)?;
            self.workshop.install_rivals(&venv)?;
            for cell in self.cells(Part::Pythons) {
                measure_cell(
                    &venv,
                    &self.workshop.scratch,
                    &self.contenders,
                    &cell,
                    &mut self.results,
                )?;
            }
        }
        Ok(())
    }
}

fn measure_cell(
    venv: &Venv,
    scratch: &Path,
    contenders: &[Contender],
    cell: &Cell,
    results: &mut Results,
) -> Result<()> {
    let mut field = Field::new(scratch, cell.condition, cell.storage, cell.dists)?;
    if cell.shared {
        field.share_caches();
    }
    for &work in cell.works {
        let mut able = contenders.to_vec();
        able.retain(|contender| cell.has(contender, work));
        timing::measure(venv, &field, &able, work, cell.measuring, results)
            .with_context(|| format!("{}, {} dists", cell.condition, cell.dists))?;
    }
    Ok(())
}
