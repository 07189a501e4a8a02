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

use super::data::{Case, Field, NotMeasured, Results, Spread};
use super::template::case;
use super::{near, tried, words};

/// What stands where nothing was measured.
pub(super) const NOTHING: &str = "–";
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
        ("floor", conditions) => near::floor(results, conditions),
        ("behind", []) => return near::behind(results),
        ("together", []) => tried::attempts(
            &results.together,
            "rounds",
            &[
                ("processes", |one| one.processes),
                ("at work at once", |one| one.overlapped),
                ("not built", |one| one.rebuilt),
            ],
        ),
        ("killed", []) => tried::attempts(
            &results.killed,
            "kills",
            &[
                ("before the end", |one| one.in_time),
                ("while writing", |one| one.writing),
            ],
        ),
        ("changes", [language]) => tried::changes(results, language),
        ("applications", []) => tried::applications(results),
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
pub(super) struct Table {
    headings: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings, the first of which is empty.
    pub(super) fn new<T: ToString>(headings: impl IntoIterator<Item = T>) -> Table {
        let headings = headings.into_iter().map(|heading| heading.to_string());
        Table {
            headings: std::iter::once(String::new()).chain(headings).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, unless all of its cells are dashes.
    pub(super) fn row(&mut self, name: &str, cells: Vec<String>) {
        if cells.iter().any(|cell| cell != NOTHING) {
            self.rows.push([vec![name.to_owned()], cells].concat());
        }
    }

    pub(super) fn markdown(mut self) -> String {
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
pub(super) fn contenders(results: &Results) -> Vec<&str> {
    let mut contenders = results
        .times
        .iter()
        .map(|time| time.contender.as_str())
        .collect();
    words::contenders_in_order(&mut contenders);
    contenders
}

/// A figure with its quartiles, and a mark if the answer was wrong.
pub(super) fn cell(results: &Results, field: Field, case: Case<'_>, contender: &str) -> String {
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

pub(super) fn with_quartiles(spread: Spread, runs: Option<u32>) -> String {
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

fn left_out(results: &Results) -> Table {
    let mut table = Table::new(["why"]);
    for one in &results.left_out {
        table.row(&one.what, vec![one.why.replace(['|', '\n'], " ")]);
    }
    table
}

/// In ascending order, each once.
pub(super) fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
