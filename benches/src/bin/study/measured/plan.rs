//! What is measured on what, and how often: the whole takes about 40 minutes on two processors.
//!
//! Left out of the matrix is what would take long and say nothing new; `left_out` tells what and why.

use std::time::Duration;

use clap::ValueEnum;

use super::conditions::Storage;
use super::contenders::{Contender, Family, Language};
use super::timing::Measuring;
use super::work::Work;

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Answers from a warm disk, for all sizes
    Warm,
    /// First builds, rebuilds, and builds with nothing to do
    Builds,
    /// Answers from a page cache that was dropped
    Cold,
    /// Answers from a file system whose operations take long
    Slow,
    /// Answers and first builds on tmpfs and overlay
    Storage,
    /// Answers with other versions of Python
    Pythons,
    /// Eight builders at once
    Together,
    /// Builds that are killed
    Killed,
    /// Answers right after real installers changed something
    Changes,
    /// Real applications
    Applications,
}

/// Some works on one path entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) condition: &'static str,
    pub(crate) storage: Storage,
    pub(crate) dists: usize,
    pub(crate) works: &'static [Work],
    pub(crate) measuring: Measuring,
    /// Whether the caches, too, are on the slow file system.
    pub(crate) shared: bool,
    who: fn(&Contender) -> bool,
}

/// The counts of rounds. Quick is for a test that all works, not for numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
}

const FINDS: &[Work] = &[Work::FindSmall];
const LARGE: &[Work] = &[Work::FindLarge, Work::List];
const BUILDS: &[Work] = &[Work::FirstBuild, Work::Rebuild, Work::Nothing];
const FIND_AND_BUILD: &[Work] = &[Work::FindSmall, Work::FirstBuild];

/// Milliseconds of 0.5 and 5: a network nearby, and one with a busy server.
const NEAR: Duration = Duration::from_micros(500);
const FAR: Duration = Duration::from_millis(5);

impl Plan {
    /// The cells of a part that is made of such.
    pub(crate) fn cells(self, part: Part) -> Vec<Cell> {
        let mut cells = match part {
            Part::Warm => vec![
                warm(10, FINDS, 11, everyone),
                warm(100, FINDS, 11, everyone),
                warm(1_000, FINDS, 15, everyone),
                warm(1_000, LARGE, 9, everyone),
                at_least(5, warm(10_000, FINDS, 9, everyone)),
                at_least(5, uncounted(warm(10_000, LARGE, 9, everyone))),
            ],
            Part::Builds => vec![
                warm(100, BUILDS, 9, in_rust),
                warm(1_000, BUILDS, 7, everyone),
                warm(10_000, BUILDS, 5, in_rust),
            ],
            Part::Cold => vec![cold(1_000, 7), cold(100, 5)],
            Part::Slow => vec![
                at_least(3, slow("slow-0.5ms", NEAR, 100, 7)),
                at_least(3, slow("slow-0.5ms", NEAR, 1_000, 7)),
                at_least(3, slow("slow-5ms", FAR, 100, 7)),
                Cell {
                    shared: true,
                    who: epcache_and_none,
                    ..slow("slow-0.5ms-shared", NEAR, 1_000, 5)
                },
            ],
            Part::Storage => vec![
                Cell {
                    condition: "tmpfs",
                    storage: Storage::Tmpfs,
                    ..uncounted(warm(1_000, FIND_AND_BUILD, 5, everyone))
                },
                Cell {
                    condition: "overlay",
                    storage: Storage::Overlay,
                    ..uncounted(warm(1_000, FIND_AND_BUILD, 5, everyone))
                },
            ],
            Part::Pythons => vec![uncounted(warm(1_000, FINDS, 5, in_python))],
            Part::Together | Part::Killed | Part::Changes | Part::Applications => Vec::new(),
        };
        if self.quick {
            cells.truncate(1);
            for cell in &mut cells {
                cell.dists = 20;
                cell.measuring.rounds = 2;
                cell.measuring.least = 2;
            }
        }
        cells
    }

    /// How often eight builders are set to work at once.
    pub(crate) fn together_rounds(self) -> usize {
        if self.quick { 2 } else { 6 }
    }

    /// How many builds of each contender are killed.
    pub(crate) fn kills(self) -> usize {
        if self.quick { 4 } else { 24 }
    }

    /// The size of the path entry that builders fight for, and are killed at.
    pub(crate) fn contested_dists(self) -> usize {
        if self.quick { 20 } else { 500 }
    }

    /// How often each application is started.
    pub(crate) fn application_rounds(self) -> usize {
        if self.quick { 1 } else { 15 }
    }

    /// Whether a contender takes part at all: a few are enough to see that all works.
    pub(crate) fn takes_part(self, contender: &Contender) -> bool {
        const QUICK: [&str; 7] = [
            "pass",
            "floor",
            "none",
            "json-path-entry",
            "sqlite-dist",
            "epcache-exact",
            "epcache-fast",
        ];
        !self.quick || QUICK.contains(&contender.name)
    }
}

impl Cell {
    /// Who takes part in a work of this cell.
    pub(crate) fn has(&self, contender: &Contender, work: Work) -> bool {
        let is_slow = self.storage == Storage::Slow;
        let is_worth_it = match contender.name {
            // The compiled modules that it leaves would change an overlay's path entry.
            "epi" if self.storage == Storage::Overlay => false,
            "epi" => self.dists <= 1_000 && !is_slow && work == Work::FindSmall,
            "pkg_resources" => self.dists <= 1_000 && !is_slow,
            _ => true,
        };
        (self.who)(contender) && is_worth_it
    }
}

fn measuring(rounds: usize) -> Measuring {
    Measuring {
        rounds,
        least: rounds,
        cold: false,
        count: false,
        delay: Duration::ZERO,
    }
}

fn warm(dists: usize, works: &'static [Work], rounds: usize, who: fn(&Contender) -> bool) -> Cell {
    Cell {
        condition: "warm",
        storage: Storage::Disk,
        dists,
        works,
        measuring: Measuring {
            count: true,
            ..measuring(rounds)
        },
        shared: false,
        who,
    }
}

/// Without a run of each contender under `strace`: the calls are those of another cell.
fn uncounted(cell: Cell) -> Cell {
    Cell {
        measuring: Measuring {
            count: false,
            ..cell.measuring
        },
        ..cell
    }
}

fn cold(dists: usize, rounds: usize) -> Cell {
    Cell {
        condition: "cold",
        measuring: Measuring {
            cold: true,
            ..measuring(rounds)
        },
        ..warm(dists, FINDS, 0, everyone)
    }
}

/// Who takes long takes part in so many rounds only.
fn at_least(least: usize, cell: Cell) -> Cell {
    Cell {
        measuring: Measuring {
            least,
            ..cell.measuring
        },
        ..cell
    }
}

fn slow(condition: &'static str, delay: Duration, dists: usize, rounds: usize) -> Cell {
    Cell {
        condition,
        storage: Storage::Slow,
        measuring: Measuring {
            delay,
            ..measuring(rounds)
        },
        ..warm(dists, FINDS, 0, everyone)
    }
}

fn everyone(_: &Contender) -> bool {
    true
}

fn in_rust(contender: &Contender) -> bool {
    contender.language == Language::Rust
}

fn in_python(contender: &Contender) -> bool {
    contender.language == Language::Python
}

fn epcache_and_none(contender: &Contender) -> bool {
    !matches!(contender.family, Family::Rejected | Family::Rival)
}
