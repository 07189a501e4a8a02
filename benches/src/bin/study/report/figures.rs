//! The plots of the document: which of the results each of them shows.

use anyhow::{Context as _, Result, ensure};

use super::data::{Application, Case, Field, Results};
use super::plot::{Bar, Point, Series, bars, dots, lines};
use super::words;

/// What the document may show, and what is written.
pub(super) const NAMES: [&str; 5] = ["formats", "applications", "growth", "conditions", "builds"];

/// The number of dists in the plots that do not go by it.
const DISTS: u32 = 1_000;

/// Those whose way from fast to slow is to be seen: one line each, so no more than can be told apart.
const COMPARED: [&str; 6] = [
    "none",
    "stevedore",
    "mirror-files",
    "json-path-entry",
    "epcache-exact",
    "epcache-fast",
];

/// All plots, by their names.
///
/// # Errors
/// There is no data for one of them.
pub(super) fn all(results: &Results) -> Result<Vec<(&'static str, String)>> {
    NAMES
        .into_iter()
        .map(|name| {
            let svg = match name {
                "formats" => formats(results),
                "applications" => applications(results),
                "growth" => growth(results),
                "conditions" => conditions(results),
                _ => builds(results),
            };
            Ok((name, svg.with_context(|| format!("plot {name}"))?))
        })
        .collect()
}

/// How many files and in which format, where files are fast and where they are slow.
fn formats(results: &Results) -> Result<String> {
    let shown = ["warm", "cold", "slow-0.5ms"];
    let columns: Vec<(String, Case<'_>)> = shown
        .into_iter()
        .map(|condition| {
            let name = words::condition(condition).to_owned();
            (name, find(results, DISTS, condition))
        })
        .collect();
    let title =
        "Python asks for a group of 10 among 1,000 dists: above a process that asks nothing";
    rows_of_contenders(results, title, &columns)
}

/// What it takes to make a cache, to mend it, and to see that nothing is to be done.
fn builds(results: &Results) -> Result<String> {
    let columns: Vec<(String, Case<'_>)> = ["nothing", "rebuild", "first-build"]
        .into_iter()
        .map(|work| {
            let case = Case {
                language: "rust",
                work,
                ..find(results, DISTS, "warm")
            };
            (words::work(work).to_owned(), case)
        })
        .collect();
    rows_of_contenders(results, "Rust makes a cache of 1,000 dists", &columns)
}

/// Dots: a row for each contender that has any of the cases.
fn rows_of_contenders(
    results: &Results,
    title: &str,
    columns: &[(String, Case<'_>)],
) -> Result<String> {
    let mut contenders: Vec<&str> = results
        .times
        .iter()
        .map(|time| time.contender.as_str())
        .filter(|contender| *contender != "pass")
        .collect();
    words::contenders_in_order(&mut contenders);
    contenders.retain(|contender| {
        columns
            .iter()
            .any(|(_, case)| point(results, *case, contender).is_some())
    });
    let series: Vec<Series> = columns
        .iter()
        .map(|(name, case)| Series {
            name: name.clone(),
            points: contenders
                .iter()
                .map(|contender| point(results, *case, contender))
                .collect(),
        })
        .collect();
    let rows: Vec<String> = contenders.into_iter().map(words::plain_contender).collect();
    dots(title, "milliseconds", &rows, &series)
}

/// How time grows with the number of dists.
fn growth(results: &Results) -> Result<String> {
    let mut dists: Vec<u32> = results
        .cases()
        .iter()
        .filter(|case| **case == find(results, case.dists, "warm"))
        .map(|case| case.dists)
        .collect();
    dists.sort_unstable();
    let places: Vec<String> = dists
        .iter()
        .map(|dists| words::grouped(f64::from(*dists)))
        .collect();
    let cases: Vec<Case<'_>> = dists
        .iter()
        .map(|dists| find(results, *dists, "warm"))
        .collect();
    let title = "Python asks for a group of 10, warm: above a process that asks nothing";
    lines(
        title,
        "milliseconds",
        "dists",
        &places,
        &compared(results, &cases),
    )
}

/// How time grows from fast file systems to slow ones.
fn conditions(results: &Results) -> Result<String> {
    let cases = results.cases();
    let mut shown: Vec<&str> = cases
        .iter()
        // Where only some were measured, lines would end in the middle.
        .filter(|case| point(results, **case, "stevedore").is_some())
        .filter(|case| **case == find(results, DISTS, case.condition))
        .map(|case| case.condition)
        .collect();
    words::conditions_in_order(&mut shown);
    let cases: Vec<Case<'_>> = shown
        .iter()
        .map(|condition| find(results, DISTS, condition))
        .collect();
    let places: Vec<String> = shown
        .iter()
        .map(|condition| words::condition(condition).replace(" per operation", ""))
        .collect();
    let title =
        "Python asks for a group of 10 among 1,000 dists: above a process that asks nothing";
    lines(
        title,
        "milliseconds",
        "file system",
        &places,
        &compared(results, &cases),
    )
}

fn compared(results: &Results, cases: &[Case<'_>]) -> Vec<Series> {
    COMPARED
        .into_iter()
        .map(|contender| Series {
            name: words::plain_contender(contender),
            points: cases
                .iter()
                .map(|case| point(results, *case, contender))
                .collect(),
        })
        .collect()
}

/// What of the start of a real program finding entry points is, as it is and served by epcache.
fn applications(results: &Results) -> Result<String> {
    let mut rows = Vec::new();
    let of_way = |way: &'static str| {
        results
            .applications
            .iter()
            .filter(move |one| one.way == way)
    };
    for plain in of_way("plain") {
        let name = format!("{}, {}", plain.name, words::condition(&plain.condition));
        rows.push(bar(name, plain, plain));
        let served = of_way("epcache-exact")
            .find(|one| (&one.name, &one.condition) == (&plain.name, &plain.condition));
        if let Some(served) = served {
            rows.push(bar("with epcache".to_owned(), served, plain));
        }
    }
    ensure!(!rows.is_empty(), "there is nothing to plot");
    let parts = [
        "interpreter",
        "entry points",
        "all else",
        "with epcache, these two",
    ];
    bars("What real programs spend their start on", &parts, &rows)
}

/// A program's start in parts, as shares of what it takes as it is.
fn bar(name: String, one: &Application, plain: &Application) -> Bar {
    let whole = plain.wall_ms.median;
    let pass = one.pass_ms.or(plain.pass_ms).unwrap_or(0.0) / whole;
    let above = one.wall_ms.median / whole - pass;
    let parts = match one.entry_points_ms {
        Some(asking) => vec![pass, asking / whole, (above - asking / whole).max(0.0)],
        None => vec![pass, 0.0, 0.0, above],
    };
    Bar {
        name,
        parts,
        note: words::milliseconds(one.wall_ms.median),
    }
}

/// The work of most plots, in the main Python.
fn find<'a>(results: &'a Results, dists: u32, condition: &'a str) -> Case<'a> {
    Case {
        language: "python",
        work: "find-10",
        dists,
        condition,
        python: results.main_python(),
    }
}

fn point(results: &Results, case: Case<'_>, contender: &str) -> Option<Point> {
    let spread = results.spread(Field::Above, case, contender)?;
    Some(Point {
        middle: spread.median,
        low: spread.q1,
        high: spread.q3,
    })
}
