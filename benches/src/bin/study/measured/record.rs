//! What was measured: one JSON object a line, which the report is made from.

use serde::Serialize;

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Record {
    Machine(Machine),
    Part(Part),
    Time(Box<Time>),
    Together(Together),
    Killed(Killed),
    Changes(Changes),
    Application(Application),
    LeftOut(LeftOut),
}

/// On what all was measured, and how.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) system: String,
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    pub(crate) memory_mib: u64,
    /// Of the directory that everything was measured in.
    pub(crate) file_system: String,
    /// The first is the one that everything is measured with.
    pub(crate) pythons: Vec<String>,
    pub(crate) epcache: String,
    pub(crate) command: String,
    /// The average number of processes at work in the minute before.
    pub(crate) load: f64,
    /// The dists of the environment itself, the rivals among them, which everybody finds beside the
    /// generated ones.
    pub(crate) dists_beside: usize,
}

/// When a part of all was measured: `Results` adds which.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) date: String,
    pub(crate) seconds: u64,
}

/// How long one contender takes for one work in one condition.
#[derive(Debug, Serialize)]
pub(crate) struct Time {
    pub(crate) language: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) work: &'static str,
    pub(crate) dists: usize,
    pub(crate) condition: &'static str,
    /// Also of a Rust contender: whose `sys.path` it looks at.
    pub(crate) python: String,
    /// Runs that were timed.
    pub(crate) rounds: usize,
    pub(crate) wall_ms: Quartiles,
    /// More than the median of all runs of `pass` in the same rounds.
    pub(crate) above_ms: Quartiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_process_ms: Option<Quartiles>,
    /// The median of `above_ms` divided by that of `none`: below 1 is faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_to_none: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peak_mib: Option<f64>,
    /// Whether the answer is that of `importlib.metadata`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) right: Option<bool>,
    /// Whether the order was compared too: false where the contender promises none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<bool>,
}

/// Several processes that refresh one cache at once.
#[derive(Debug, Serialize)]
pub(crate) struct Together {
    pub(crate) language: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) dists: usize,
    pub(crate) processes: usize,
    pub(crate) rounds: usize,
    /// How many were at work at one moment at most: the median of the rounds.
    pub(crate) overlapped: usize,
    /// Rounds after which there was no cache, or the next one who asked wrote it again.
    pub(crate) rebuilt: usize,
    /// Answers: in each round one while they are at work, and afterwards as many as there were
    /// builders.
    pub(crate) wrong: usize,
    /// Processes.
    pub(crate) failed: usize,
}

/// Builds that were killed, and the answers after each.
#[derive(Debug, Serialize)]
pub(crate) struct Killed {
    pub(crate) language: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) dists: usize,
    pub(crate) kills: usize,
    /// How many of them came before the process had ended.
    pub(crate) in_time: usize,
    /// How many came as it entered a call that changes the cache.
    pub(crate) writing: usize,
    pub(crate) wrong: usize,
    pub(crate) failed: usize,
}

/// The answer right after a change.
#[derive(Debug, Serialize)]
pub(crate) struct Changes {
    pub(crate) language: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) change: &'static str,
    pub(crate) wrong: bool,
}

/// A real application, from its start to its end.
#[derive(Debug, Serialize)]
pub(crate) struct Application {
    pub(crate) name: &'static str,
    pub(crate) condition: &'static str,
    pub(crate) dists: usize,
    #[serde(rename = "as")]
    pub(crate) served: &'static str,
    pub(crate) rounds: usize,
    pub(crate) wall_ms: Quartiles,
    /// `python -c pass` in the same environment and rounds.
    pub(crate) pass_ms: f64,
    /// Spent in calls that ask for entry points, in runs of their own; of programs as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entry_points_ms: Option<f64>,
}

/// What was not measured.
#[derive(Debug, Serialize)]
pub(crate) struct LeftOut {
    pub(crate) what: String,
    pub(crate) why: String,
}

pub(crate) fn left_out(what: &str, why: &str) -> Record {
    Record::LeftOut(LeftOut {
        what: what.to_owned(),
        why: why.to_owned(),
    })
}

/// The middle of many measurements and how far they lie apart, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Quartiles {
    pub(crate) median: f64,
    pub(crate) q1: f64,
    pub(crate) q3: f64,
}

impl Quartiles {
    /// Sums up; `None` if nothing was measured.
    pub(crate) fn of(milliseconds: &[f64]) -> Option<Quartiles> {
        let mut sorted = milliseconds.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let middle = f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]);
        Some(Quartiles {
            median: rounded(middle),
            q1: rounded(sorted[last / 4]),
            q3: rounded(sorted[last - last / 4]),
        })
    }
}

/// To a thousandth: what is below is noise. The sum has no negative zero.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3 + 0.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_around_the_median() {
        let of = |numbers: &[f64]| Quartiles::of(numbers);
        let expected = Quartiles {
            median: 3.0,
            q1: 2.0,
            q3: 5.0,
        };
        assert_eq!(of(&[3.0, 1.0, 2.0, 5.0, 9_000.0]), Some(expected));
        assert_eq!(of(&[-4.0, 1.0]).unwrap().median, -1.5);
        assert_eq!(of(&[]), None);
    }
}
