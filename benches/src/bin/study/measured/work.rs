//! What contenders are asked to do, and when an answer is right.

use epcache_benches::environment::{LARGE_GROUP, SMALL_GROUP};

/// What a contender is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    FindSmall,
    FindLarge,
    List,
    FirstBuild,
    Rebuild,
    Nothing,
}

impl Work {
    /// As in the records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::FindSmall => "find-10",
            Work::FindLarge => "find-2500",
            Work::List => "list",
            Work::FirstBuild => "first-build",
            Work::Rebuild => "rebuild",
            Work::Nothing => "nothing",
        }
    }

    pub(crate) fn is_build(self) -> bool {
        matches!(self, Work::FirstBuild | Work::Rebuild | Work::Nothing)
    }

    /// The words on a contender's command line.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Work::FindSmall => &["find", "--group", SMALL_GROUP],
            Work::FindLarge => &["find", "--group", LARGE_GROUP],
            Work::List => &["list"],
            Work::FirstBuild | Work::Rebuild | Work::Nothing => &["build"],
        }
    }
}

/// Whether an answer is the right one, in its order too if that was promised.
pub(crate) fn is_right(answer: &str, expected: &str, order: bool) -> bool {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    answer == expected || (!order && sorted(answer) == sorted(expected))
}
