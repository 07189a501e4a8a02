//! The tables of what was tried: builders at once, kills, changes and applications.

use super::data::{Attempts, Results};
use super::tables::{NOTHING, Table, with_quartiles};
use super::words;

/// A column's heading and its number.
pub(super) type Count = (&'static str, fn(&Attempts) -> Option<u32>);

/// What was tried by each contender that took part, and how often it went wrong.
pub(super) fn attempts(of: &[Attempts], what: &'static str, extra: &[Count]) -> Table {
    let mut columns: Vec<Count> = vec![(what, |one| Some(one.rounds))];
    columns.extend(extra);
    columns.push(("wrong answers", |one| Some(one.wrong)));
    columns.push(("failures", |one| Some(one.failed)));
    let mut table = Table::new(columns.iter().map(|(heading, _)| heading));
    let mut contenders = of.iter().map(|one| one.contender.as_str()).collect();
    words::contenders_in_order(&mut contenders);
    for contender in contenders {
        for one in of.iter().filter(|one| one.contender == contender) {
            let cells = columns
                .iter()
                .map(|(_, count)| count(one).map_or(NOTHING.to_owned(), |count| count.to_string()));
            let language = words::language(&one.language);
            table.row(
                &format!("{}, {language}", words::contender(contender)),
                cells.collect(),
            );
        }
    }
    table
}

pub(super) fn changes(results: &Results, language: &str) -> Table {
    let in_language = || {
        results
            .changes
            .iter()
            .filter(|change| change.language == language)
    };
    let mut kinds: Vec<&str> = Vec::new();
    for change in in_language() {
        if !kinds.contains(&change.change.as_str()) {
            kinds.push(&change.change);
        }
    }
    let mut contenders = in_language()
        .map(|change| change.contender.as_str())
        .collect();
    words::contenders_in_order(&mut contenders);
    let mut table = Table::new(&kinds);
    for contender in contenders {
        let cells = kinds.iter().map(|kind| {
            let mut of_kind = in_language()
                .filter(|change| change.contender == contender && change.change == *kind);
            match of_kind.clone().count() {
                0 => NOTHING,
                _ if of_kind.any(|change| change.wrong) => "**wrong**",
                _ => "right",
            }
        });
        let cells = cells.map(str::to_owned).collect();
        table.row(words::contender(contender), cells);
    }
    table
}

pub(super) fn applications(results: &Results) -> Table {
    let mut ways: Vec<&str> = results
        .applications
        .iter()
        .map(|one| one.way.as_str())
        .collect();
    let plain_first = |way: &str| (way != "plain", way.to_owned());
    ways.sort_by_key(|way| plain_first(way));
    ways.dedup();
    let headings = ways
        .iter()
        .map(|way| match *way {
            "plain" => "as it is, ms".to_owned(),
            way => format!("{}, ms", words::contender(way)),
        })
        .chain([
            "`pass`, ms".to_owned(),
            "entry points, ms".to_owned(),
            "their share".to_owned(),
        ]);
    let mut table = Table::new(headings);
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for one in &results.applications {
        if seen.contains(&(&one.name, &one.condition)) {
            continue;
        }
        seen.push((&one.name, &one.condition));
        let of_way = |way: &str| {
            results.applications.iter().find(|other| {
                (&other.name, &other.condition) == (&one.name, &one.condition) && other.way == way
            })
        };
        let plain = of_way("plain");
        let known = |number: Option<f64>| number.map_or(NOTHING.to_owned(), words::number);
        let entry_points = plain.and_then(|plain| plain.entry_points_ms);
        let share = entry_points
            .zip(plain)
            .map_or(NOTHING.to_owned(), |(part, plain)| {
                format!("{:.0}%", part / plain.wall_ms.median * 100.0)
            });
        let mut cells: Vec<String> = ways
            .iter()
            .map(|way| {
                of_way(way).map_or(NOTHING.to_owned(), |one| {
                    with_quartiles(one.wall_ms, one.rounds)
                })
            })
            .collect();
        cells.extend([
            known(plain.and_then(|plain| plain.pass_ms)),
            known(entry_points),
            share,
        ]);
        let name = format!("{}, {}", one.name, words::condition(&one.condition));
        table.row(&name, cells);
    }
    table
}
