//! What the numbers say: each beside its rival's, the ratio, the goal, and whether it is reached;
//! on standard output for people, and in a file for programs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use epcache_benches::environment::{LARGE_GROUP, SMALL_GROUP};
use epcache_benches::machine::Machine;
use epcache_benches::measure::{PeakMemory, Summary};
use serde::Serialize;

use crate::contenders::{Contender, Names};

/// A query is to have no more than this resident.
const MEMORY_GOAL: u64 = 8 * 1024 * 1024;

/// From the smallest to the largest size, a query of a small group is to take no more than this
/// many times as long.
const FAST_QUERY_GROWTH_GOAL: f64 = 3.0;

/// Against which rival each is measured, and how many times as fast it is to be.
const SPEED_GOALS: [(&str, &str, Option<f64>); 9] = [
    (Names::PYTHON_NOTHING, Names::PYTHON_SMALL, None),
    (Names::EXACT_SMALL, Names::PYTHON_SMALL, Some(60.0)),
    (Names::FAST_SMALL, Names::PYTHON_SMALL, Some(100.0)),
    (Names::OFF_SMALL, Names::PYTHON_SMALL, None),
    (Names::EXACT_SCRIPTS, Names::PYTHON_SCRIPTS, None),
    (Names::EXACT_LARGE, Names::PYTHON_LARGE, None),
    (Names::SYNC_NOTHING, Names::PYTHON_SMALL, Some(30.0)),
    (Names::SYNC_FIRST, Names::PYTHON_SMALL, Some(2.0)),
    (Names::SYNC_CHANGED, Names::PYTHON_SMALL, Some(20.0)),
];

/// All numbers of a run, as they are written to the file.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    machine: &'a Machine,
    dists: u32,
    rounds: u32,
    in_a_row: u32,
    speed: Vec<Speed>,
    memory: Vec<Memory>,
    growth: Vec<Growth>,
}

#[derive(Serialize)]
struct Speed {
    name: &'static str,
    dists: usize,
    median_ms: f64,
    lower_quartile_ms: f64,
    upper_quartile_ms: f64,
    /// How many times as long its rival takes; none for a rival itself.
    ratio: Option<f64>,
    goal: Option<f64>,
    reached: Option<bool>,
}

#[derive(Serialize)]
struct Memory {
    name: &'static str,
    dists: usize,
    peak_bytes: u64,
    floor_bytes: u64,
    goal_bytes: Option<u64>,
    reached: Option<bool>,
}

#[derive(Serialize)]
struct Growth {
    name: &'static str,
    from_dists: usize,
    to_dists: usize,
    /// How many times as long the larger takes.
    growth: f64,
    goal: Option<f64>,
    reached: Option<bool>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(machine: &'a Machine, dists: u32, rounds: u32, in_a_row: u32) -> Report<'a> {
        Report {
            machine,
            dists,
            rounds,
            in_a_row,
            speed: Vec::new(),
            memory: Vec::new(),
            growth: Vec::new(),
        }
    }

    pub(crate) fn print_machine(&self) {
        let machine = self.machine;
        println!(
            "{}, Python {}, {}, {} processors; whole processes, {} rounds, {} in a row",
            machine.epcache_version,
            machine.python_version,
            machine.system,
            machine.processors,
            self.rounds,
            self.in_a_row,
        );
    }

    /// Prints how many members the groups have that are asked for.
    pub(crate) fn print_groups(&self, groups: &BTreeMap<String, usize>) {
        let members = |group: &str| groups.get(group).copied().unwrap_or(0);
        println!(
            "{} dists, half with entry points; small group: {} members, large group: {}, \
             console_scripts: {}",
            self.dists,
            members(SMALL_GROUP),
            members(LARGE_GROUP),
            members("console_scripts"),
        );
    }

    /// Prints the main comparison.
    pub(crate) fn speed(&mut self, contenders: &[Contender]) -> Result<()> {
        println!("\nTime, {} dists", self.dists);
        heading();
        for contender in contenders {
            let own = summary(contender)?;
            let compared = SPEED_GOALS
                .iter()
                .find(|(name, ..)| *name == contender.name);
            let mut row = Speed::new(contender, own);
            if let Some(&(_, rival, goal)) = compared {
                let rival = contenders
                    .iter()
                    .find(|other| other.name == rival)
                    .with_context(|| format!("{rival} was not measured"))?;
                row.compare(summary(rival)?.median.div_duration_f64(own.median), goal);
            }
            row.print();
            self.speed.push(row);
        }
        Ok(())
    }

    /// Prints the peak memory of the main comparison: queries with an index have a goal.
    pub(crate) fn memory(&mut self, peaks: &[(&Contender, PeakMemory)]) {
        println!("\nPeak memory, {} dists", self.dists);
        let queries = [
            Names::EXACT_SMALL,
            Names::FAST_SMALL,
            Names::EXACT_SCRIPTS,
            Names::EXACT_LARGE,
        ];
        for (contender, peak) in peaks {
            let goal = queries.contains(&contender.name).then_some(MEMORY_GOAL);
            self.add_memory(contender, *peak, goal);
        }
    }

    /// Prints the peak memory of one contender in path entries of several sizes.
    pub(crate) fn memory_by_size(&mut self, peaks: &[(&Contender, PeakMemory)]) {
        println!("\nPeak memory by size");
        for (contender, peak) in peaks {
            self.add_memory(contender, *peak, None);
        }
    }

    fn add_memory(&mut self, contender: &Contender, peak: PeakMemory, goal: Option<u64>) {
        let row = Memory {
            name: contender.name,
            dists: contender.dists,
            peak_bytes: peak.bytes,
            floor_bytes: peak.floor,
            goal_bytes: goal,
            reached: goal.map(|goal| peak.bytes <= goal),
        };
        row.print();
        self.memory.push(row);
    }

    /// Prints the times at each size, and how they grow from the smallest to the next and to
    /// the largest.
    pub(crate) fn growth(&mut self, contenders: &[Contender]) -> Result<()> {
        println!("\nTime by size");
        heading();
        let mut names: Vec<&'static str> = Vec::new();
        for contender in contenders {
            if !names.contains(&contender.name) {
                names.push(contender.name);
            }
        }
        for &name in &names {
            for contender in contenders.iter().filter(|one| one.name == name) {
                let mut row = Speed::new(contender, summary(contender)?);
                let rival = contenders
                    .iter()
                    .find(|one| one.name == Names::PYTHON_SMALL && one.dists == contender.dists);
                if let Some(rival) = rival.filter(|rival| rival.name != name) {
                    let rival = summary(rival)?.median;
                    row.compare(rival.div_duration_f64(summary(contender)?.median), None);
                }
                row.print();
                self.speed.push(row);
            }
        }
        println!("\nGrowth");
        for &name in &names {
            let sizes: Vec<&Contender> = contenders.iter().filter(|one| one.name == name).collect();
            self.grow(&sizes)?;
        }
        Ok(())
    }

    /// Each step from one size to the next, and the whole way if there is more than one step.
    fn grow(&mut self, sizes: &[&Contender]) -> Result<()> {
        let mut steps: Vec<[&Contender; 2]> =
            sizes.windows(2).map(|pair| [pair[0], pair[1]]).collect();
        if let (Some(first), Some(last), true) = (sizes.first(), sizes.last(), steps.len() > 1) {
            steps.push([first, last]);
        }
        for [small, large] in steps {
            let row = Growth::between(small, large)?;
            row.print();
            self.growth.push(row);
        }
        Ok(())
    }

    /// Writes all numbers as JSON.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write the report as JSON")?;
        std::fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))
    }
}

impl Speed {
    fn new(contender: &Contender, own: Summary) -> Speed {
        Speed {
            name: contender.name,
            dists: contender.dists,
            median_ms: own.median.as_secs_f64() * 1e3,
            lower_quartile_ms: own.lower_quartile.as_secs_f64() * 1e3,
            upper_quartile_ms: own.upper_quartile.as_secs_f64() * 1e3,
            ratio: None,
            goal: None,
            reached: None,
        }
    }

    fn compare(&mut self, ratio: f64, goal: Option<f64>) {
        self.ratio = Some(ratio);
        self.goal = goal;
        self.reached = goal.map(|goal| ratio >= goal);
    }

    fn print(&self) {
        let ratio = self
            .ratio
            .map_or(String::new(), |ratio| format!("{ratio:.1}x"));
        let goal = self
            .goal
            .map_or(String::new(), |goal| format!(">= {goal:.0}x"));
        println!(
            "{:<38}{:>7}{:>11.3}{:>20}{ratio:>9}{goal:>9}  {}",
            self.name,
            self.dists,
            self.median_ms,
            format!(
                "{:.3}-{:.3}",
                self.lower_quartile_ms, self.upper_quartile_ms
            ),
            verdict(self.reached),
        );
    }
}

impl Memory {
    fn print(&self) {
        let mib = |bytes: u64| {
            let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
            f64::from(kib) / 1024.0
        };
        let sign = if self.peak_bytes <= self.floor_bytes {
            "<="
        } else {
            ""
        };
        let goal = self
            .goal_bytes
            .map_or(String::new(), |goal| format!("<= {:.0} MiB", mib(goal)));
        println!(
            "{:<38}{:>7}{:>11} MiB{goal:>12}  {}",
            self.name,
            self.dists,
            format!("{sign}{:.2}", mib(self.peak_bytes)),
            verdict(self.reached),
        );
    }
}

impl Growth {
    fn between(small: &Contender, large: &Contender) -> Result<Growth> {
        let growth = summary(large)?
            .median
            .div_duration_f64(summary(small)?.median);
        let goal = match small.name {
            Names::FAST_SMALL => Some(FAST_QUERY_GROWTH_GOAL),
            Names::SYNC_FIRST | Names::SYNC_NOTHING => {
                Some(large.dists as f64 / small.dists as f64)
            }
            _ => None,
        };
        Ok(Growth {
            name: small.name,
            from_dists: small.dists,
            to_dists: large.dists,
            growth,
            goal,
            reached: goal.map(|goal| growth <= goal),
        })
    }

    fn print(&self) {
        let goal = self
            .goal
            .map_or(String::new(), |goal| format!("<= {goal:.0}x"));
        println!(
            "{:<38}{:>16}{:>9}{goal:>9}  {}",
            self.name,
            format!("{} to {}", self.from_dists, self.to_dists),
            format!("{:.2}x", self.growth),
            verdict(self.reached),
        );
    }
}

fn summary(contender: &Contender) -> Result<Summary> {
    Summary::of(&contender.times).with_context(|| format!("{} was not measured", contender.name))
}

fn heading() {
    println!(
        "{:<38}{:>7}{:>11}{:>20}{:>9}{:>9}",
        "", "dists", "median ms", "quartiles ms", "ratio", "goal"
    );
}

fn verdict(reached: Option<bool>) -> &'static str {
    match reached {
        Some(true) => "reached",
        Some(false) => "NOT REACHED",
        None => "",
    }
}
