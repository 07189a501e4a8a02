//! The tables of the document: contenders from above to below, in Markdown.
//!
//! | name and arguments | columns |
//! |---|---|
//! | `by-dists FIELD LANGUAGE WORK CONDITION` | numbers of dists |
//! | `by-condition FIELD LANGUAGE WORK DISTS` | conditions |
//! | `by-work FIELD LANGUAGE DISTS CONDITION WORK…` | these works |
//! | `by-python FIELD LANGUAGE WORK DISTS CONDITION` | versions of Python |
//! | `all LANGUAGE WORK DISTS CONDITION` | all that was measured |
//! | `floor CONDITION…` | how many times the floor the reader of epcache takes, by numbers of dists |
//! | `behind` | where a contender is faster than epcache, one case a line |
//! | `together`, `killed`, `applications`, `left-out` | what these parts recorded |
//! | `changes LANGUAGE` | kinds of change |
//!
//! A cell that was left out is a dash; a table of nothing but dashes is an error.

use anyhow::{Result, bail, ensure};

use super::data::{Attempts, Case, Field, NotMeasured, Results, Spread};
use super::template::case;
use super::words;

/// What stands where nothing was measured.
const NOTHING: &str = "–";
/// Stands beside the time of a wrong answer.
const WRONG: &str = " ✗";

/// The table of that name.
///
/// # Errors
/// There is none, its arguments are others, or there is no data at all for it.
pub(super) fn table(name: &str, arguments: &[&str], results: &Results) -> Result<String> {
    let table = match (name, arguments) {
        ("by-dists", [field, language, work, condition]) => {
            let start = Start::new(field, case(results, &[language, work, "0", condition])?)?;
            let dists = results.cases().iter().map(|case| case.dists).collect();
            let columns = sorted(dists).into_iter().map(|dists| {
                let heading = words::grouped(f64::from(dists));
                (
                    heading,
                    Case {
                        dists,
                        ..start.case
                    },
                )
            });
            by_column(results, &start, columns.collect())
        }
        ("by-condition", [field, language, work, dists]) => {
            let start = Start::new(field, case(results, &[language, work, dists, ""])?)?;
            let cases = results.cases();
            let mut conditions = cases.iter().map(|case| case.condition).collect();
            words::conditions_in_order(&mut conditions);
            let columns = conditions.into_iter().map(|condition| {
                let heading = words::condition(condition).to_owned();
                (
                    heading,
                    Case {
                        condition,
                        ..start.case
                    },
                )
            });
            by_column(results, &start, columns.collect())
        }
        ("by-work", [field, language, dists, condition, works @ ..]) => {
            let start = Start::new(field, case(results, &[language, "", dists, condition])?)?;
            let columns = works.iter().map(|work| {
                let heading = words::work(work).to_owned();
                (heading, Case { work, ..start.case })
            });
            by_column(results, &start, columns.collect())
        }
        ("by-python", [field, language, work, dists, condition]) => {
            let start = Start::new(field, case(results, &[language, work, dists, condition])?)?;
            let columns = results.machine.pythons.iter().map(|python| {
                let heading = format!("Python {python}");
                (
                    heading,
                    Case {
                        python,
                        ..start.case
                    },
                )
            });
            by_column(results, &start, columns.collect())
        }
        ("all", arguments) => all(results, case(results, arguments)?),
        ("floor", conditions) => floor(results, conditions),
        ("behind", []) => return behind(results),
        ("together", []) => attempts(
            &results.together,
            "rounds",
            &[
                ("processes", |one| one.processes),
                ("at work at once", |one| one.overlapped),
                ("not built", |one| one.rebuilt),
            ],
        ),
        ("killed", []) => attempts(
            &results.killed,
            "kills",
            &[
                ("before the end", |one| one.in_time),
                ("while writing", |one| one.writing),
            ],
        ),
        ("changes", [language]) => changes(results, language),
        ("applications", []) => applications(results),
        ("left-out", []) => left_out(results),
        _ => bail!("there is no such table"),
    };
    ensure!(
        !table.rows.is_empty(),
        NotMeasured("nothing of this was measured".to_owned())
    );
    Ok(table.markdown())
}

/// Headings and rows, the first column of which names the row.
struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings, the first of which is empty.
    fn new<T: ToString>(headings: impl IntoIterator<Item = T>) -> Table {
        let headings = headings.into_iter().map(|heading| heading.to_string());
        Table {
            headings: std::iter::once(String::new()).chain(headings).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, unless all of its cells are dashes.
    fn row(&mut self, name: &str, cells: Vec<String>) {
        if cells.iter().any(|cell| cell != NOTHING) {
            self.rows.push([vec![name.to_owned()], cells].concat());
        }
    }

    fn markdown(mut self) -> String {
        self.leave_out_empty_columns();
        let rule = vec!["---".to_owned(); self.headings.len()].join("|");
        let line = |cells: &Vec<String>| format!("| {} |", cells.join(" | "));
        let mut lines = vec![line(&self.headings), format!("|{rule}|")];
        lines.extend(self.rows.iter().map(line));
        lines.join("\n")
    }

    fn leave_out_empty_columns(&mut self) {
        for column in (1..self.headings.len()).rev() {
            if self.rows.iter().all(|row| row[column] == NOTHING) {
                self.headings.remove(column);
                for row in &mut self.rows {
                    row.remove(column);
                }
            }
        }
    }
}

/// Which figure a table shows, and what all its columns have in common.
struct Start<'a> {
    field: Field,
    case: Case<'a>,
}

impl<'a> Start<'a> {
    fn new(field: &str, case: Case<'a>) -> Result<Start<'a>> {
        match Field::named(field) {
            Some(field) => Ok(Start { field, case }),
            None => bail!("there is no figure of this name: {field}"),
        }
    }
}

fn by_column(results: &Results, start: &Start<'_>, columns: Vec<(String, Case<'_>)>) -> Table {
    let mut table = Table::new(columns.iter().map(|(heading, _)| heading));
    for contender in contenders(results) {
        let cells = columns
            .iter()
            .map(|(_, case)| cell(results, start.field, *case, contender))
            .collect();
        table.row(words::contender(contender), cells);
    }
    table
}

/// All contenders of all measurements, in the document's order.
fn contenders(results: &Results) -> Vec<&str> {
    let mut contenders = results
        .times
        .iter()
        .map(|time| time.contender.as_str())
        .collect();
    words::contenders_in_order(&mut contenders);
    contenders
}

/// A figure with its quartiles, and a mark if the answer was wrong.
fn cell(results: &Results, field: Field, case: Case<'_>, contender: &str) -> String {
    let Some(spread) = results.spread(field, case, contender) else {
        return NOTHING.to_owned();
    };
    let time = results.time(case, contender);
    let wrong = time.and_then(|time| time.right) == Some(false);
    let text = match field {
        Field::Calls | Field::Bytes => words::grouped(spread.median),
        Field::Peak => format!("{:.1}", spread.median),
        _ => with_quartiles(spread, time.and_then(|time| time.rounds)),
    };
    text + if wrong { WRONG } else { "" }
}

/// Of fewer runs, the number is told: quartiles of three are the least and the most.
const FEW: u32 = 5;

fn with_quartiles(spread: Spread, runs: Option<u32>) -> String {
    let [median, q1, q3] = [spread.median, spread.q1, spread.q3].map(words::number);
    let runs = match runs {
        Some(runs) if runs < FEW => format!(", n={runs}"),
        _ => String::new(),
    };
    format!("{median} ({q1}–{q3}{runs})")
}

fn all(results: &Results, case: Case<'_>) -> Table {
    let fields = [
        ("above `pass`, ms", Field::Above),
        ("in process, ms", Field::InProcess),
        ("file system calls", Field::Calls),
        ("bytes read", Field::Bytes),
        ("peak memory, MiB", Field::Peak),
    ];
    let mut headings = vec!["whole process, ms", "less than `importlib.metadata`"];
    headings.extend(fields.iter().map(|(heading, _)| heading));
    let mut table = Table::new(headings);
    let none = results.spread(Field::Above, case, "none");
    for contender in contenders(results) {
        let above = results.spread(Field::Above, case, contender);
        let ratio = match (none, above) {
            (Some(none), Some(above))
                if above.median > 0.0 && !["none", "floor"].contains(&contender) =>
            {
                format!("{}x", words::ratio(none.median / above.median))
            }
            _ => NOTHING.to_owned(),
        };
        let mut cells = vec![cell(results, Field::Wall, case, contender), ratio];
        cells.extend(
            fields
                .iter()
                .map(|(_, field)| cell(results, *field, case, contender)),
        );
        table.row(words::contender(contender), cells);
    }
    table
}

/// The modes of epcache that claim to be near the floor.
const MODES: [&str; 2] = ["epcache-exact", "epcache-fast"];

fn floor(results: &Results, conditions: &[&str]) -> Table {
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
fn behind(results: &Results) -> Result<String> {
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

/// A column's heading and its number.
type Count = (&'static str, fn(&Attempts) -> Option<u32>);

/// What was tried by each contender that took part, and how often it went wrong.
fn attempts(of: &[Attempts], what: &'static str, extra: &[Count]) -> Table {
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

fn changes(results: &Results, language: &str) -> Table {
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

fn applications(results: &Results) -> Table {
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

fn left_out(results: &Results) -> Table {
    let mut table = Table::new(["why"]);
    for one in &results.left_out {
        table.row(&one.what, vec![one.why.replace(['|', '\n'], " ")]);
    }
    table
}

/// In ascending order, each once.
fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
