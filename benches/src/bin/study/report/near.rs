//! The tables of how near epcache is to the floor, and of who is faster.

use anyhow::{Result, ensure};

use super::data::{Case, Field, NotMeasured, Results};
use super::tables::{NOTHING, Table, cell, contenders, sorted};
use super::words;

/// The modes of epcache that claim to be near the floor.
const MODES: [&str; 2] = ["epcache-exact", "epcache-fast"];

pub(super) fn floor(results: &Results, conditions: &[&str]) -> Table {
    let dists = sorted(results.cases().iter().map(|case| case.dists).collect());
    let headings = dists.iter().map(|dists| words::grouped(f64::from(*dists)));
    let mut table = Table::new(headings);
    for condition in conditions {
        for mode in MODES {
            let cells = dists.iter().map(|dists| {
                let case = Case {
                    language: "python",
                    work: "find-10",
                    dists: *dists,
                    condition,
                    python: results.main_python(),
                };
                let wall = |contender| results.spread(Field::Wall, case, contender);
                match (wall(mode), wall("floor")) {
                    (Some(mode), Some(floor)) if floor.median > 0.0 => {
                        format!("{:.2}", mode.median / floor.median)
                    }
                    _ => NOTHING.to_owned(),
                }
            });
            let cells = cells.collect();
            let name = format!(
                "{}, {}",
                words::contender(mode),
                words::condition(condition)
            );
            table.row(&name, cells);
        }
    }
    table
}

/// The cases in which somebody is faster than epcache in one of its modes, by more than the quartiles of
/// both, and who.
pub(super) fn behind(results: &Results) -> Result<String> {
    let [exact, fast] = MODES;
    let mut table = Table::new([
        "`exact`, ms",
        "faster than `exact`, ms",
        "`fast`, ms",
        "faster than `fast`, ms",
    ]);
    let mut compared = false;
    for case in results.cases() {
        compared |= results.spread(Field::Above, case, exact).is_some();
        let [than_exact, than_fast] = MODES.map(|mode| faster(results, case, mode));
        if [&than_exact, &than_fast].iter().all(|who| *who == NOTHING) {
            continue;
        }
        let name = format!(
            "{}, {}, {} dists, {}",
            in_which(case, results),
            words::work(case.work),
            words::grouped(f64::from(case.dists)),
            words::condition(case.condition),
        );
        let ours = |mode| cell(results, Field::Above, case, mode);
        table.row(&name, vec![ours(exact), than_exact, ours(fast), than_fast]);
    }
    ensure!(compared, NotMeasured("epcache was not measured".to_owned()));
    if table.rows.is_empty() {
        return Ok("Nowhere.".to_owned());
    }
    Ok(table.markdown())
}

/// Who is faster than this mode of epcache, and how fast.
fn faster(results: &Results, case: Case<'_>, mode: &str) -> String {
    let spread = |contender| results.spread(Field::Above, case, contender);
    let Some(ours) = spread(mode) else {
        return NOTHING.to_owned();
    };
    let is_other = |contender: &&str| {
        !contender.starts_with("epcache-") && !["pass", "floor"].contains(contender)
    };
    let faster: Vec<String> = contenders(results)
        .into_iter()
        .filter(is_other)
        .filter_map(|contender| Some((contender, spread(contender)?)))
        .filter(|(_, theirs)| theirs.q3 < ours.q1)
        .map(|(contender, theirs)| {
            let name = words::contender(contender);
            format!("{name}: {}", words::number(theirs.median))
        })
        .collect();
    match faster.as_slice() {
        [] => NOTHING.to_owned(),
        faster => faster.join("; "),
    }
}

/// The language, and the version of Python where it is not the main one.
fn in_which(case: Case<'_>, results: &Results) -> String {
    let language = words::language(case.language);
    if case.python == results.main_python() {
        language.to_owned()
    } else {
        format!("{language}, Python {}", case.python)
    }
}
