//! The document from made-up results.

#![allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;

use super::data::Results;
use super::template::Of;
use super::{TEMPLATE, figures, template, write};

/// What every results file begins with.
fn machine() -> String {
    json!({
        "kind": "machine", "date": "2001-02-03", "system": "Linux 1.2", "cpu": "A <B> & \"C\"",
        "processors": 2, "memory_mib": 2048, "file_system": "ext4", "pythons": ["3.11.7", "3.13.0"],
        "epcache": "0.1.0", "command": "cargo run", "load": 0.5,
        "dists_beside": 9,
    })
    .to_string()
}

/// One measured time, in which the numbers follow from `middle`.
fn time(
    language: &str,
    contender: &str,
    work: &str,
    dists: u32,
    condition: &str,
    middle: f64,
) -> String {
    let spread = |middle: f64| json!({"median": middle, "q1": middle * 0.9, "q3": middle * 1.1});
    json!({
        "kind": "time", "language": language, "contender": contender, "work": work,
        "dists": dists, "condition": condition, "python": "3.11.7", "rounds": 5,
        "wall_ms": spread(middle + 10.0), "above_ms": spread(middle),
        "in_process_ms": spread(middle), "calls": 1234, "bytes_read": 5678, "peak_mib": 9.5,
        "right": true,
    })
    .to_string()
}

/// A machine and these lines.
fn results(lines: &[String]) -> Results {
    Results::parse(&[&[machine()], lines].concat().join("\n")).unwrap()
}

/// Two contenders at two sizes, one cell of which is missing.
fn small() -> Results {
    results(&[
        time("python", "none", "find-10", 100, "warm", 40.0),
        time("python", "none", "find-10", 1_000, "warm", 1_234.0),
        time("python", "epcache-exact", "find-10", 1_000, "warm", 12.34),
    ])
}

/// Up to one and a half times of which a contender takes.
fn of_about(contender: &str, dists: u32) -> f64 {
    match (contender, dists) {
        ("none", _) => 1_000.0,
        ("mirror-files", _) => 40.0,
        ("epcache-fast", 10_000) => 6.0,
        ("sqlite-path-entry", 10_000) | ("epcache-fast", _) => 3.0,
        _ => 10.0,
    }
}

/// Everything that the document names, with numbers of which what it says is true.
fn complete() -> String {
    let contenders = "pass floor none ini-dist json-dist sqlite-dist mirror-files ini-path-entry json-path-entry \
        sqlite-path-entry ini-sys-path json-sys-path sqlite-sys-path epcache-exact epcache-fast epcache-only \
        stevedore entrypoints pkg_resources importlib_metadata epi a<b&c";
    let works = "find-10 find-2500 list first-build rebuild nothing";
    let conditions = "tmpfs warm overlay cold slow-0.5ms slow-0.5ms-shared slow-5ms";
    let mut lines = vec![machine()];
    let mut number = 1.0;
    for contender in contenders.split_whitespace() {
        for language in ["python", "rust"] {
            for work in works.split_whitespace() {
                for condition in conditions.split_whitespace() {
                    for dists in [10, 100, 1_000, 10_000] {
                        number = number * 1.7 % 9_973.0;
                        let middle = of_about(contender, dists) * (1.0 + number / 20_000.0);
                        lines.push(time(language, contender, work, dists, condition, middle));
                    }
                }
            }
            for change in ["upgrade", "removal"] {
                let wrong = contender == "stevedore";
                lines.push(
                    json!({"kind": "changes", "language": language, "contender": contender,
                        "change": change, "wrong": wrong})
                    .to_string(),
                );
            }
        }
        for (kind, count) in [("together", "rounds"), ("killed", "kills")] {
            lines.push(
                json!({"kind": kind, "language": "rust", "contender": contender, "dists": 5,
                    count: 20, "wrong": 0, "failed": 1})
                .to_string(),
            );
        }
    }
    for name in [
        "openstack --help",
        "pytest, one empty test",
        "flake8 --version",
    ] {
        for way in ["plain", "epcache-exact", "epcache-fast"] {
            let mut record = json!({"kind": "application", "name": name, "condition": "warm",
                "as": way, "wall_ms": {"median": 200.0, "q1": 190.0, "q3": 210.0}, "pass_ms": 20.0});
            if way == "plain" {
                record["entry_points_ms"] = json!(50.0);
            }
            lines.push(record.to_string());
        }
    }
    lines.push(json!({"kind": "left_out", "what": "this", "why": "no time"}).to_string());
    lines.join("\n")
}

/// What a template becomes.
fn filled(template: &str, results: &Results) -> String {
    template::fill(template, results, Of::Everything).unwrap()
}

/// What is wrong with a template, with all causes.
fn refused(template: &str, results: &Results) -> String {
    format!(
        "{:#}",
        template::fill(template, results, Of::Everything).unwrap_err()
    )
}

#[test]
fn a_table_has_a_row_for_each_contender_and_a_dash_for_what_was_not_measured() {
    let expected = "\
|  | 100 | 1,000 |
|---|---|---|
| `importlib.metadata` | 40.0 (36.0–44.0) | 1,234 (1,111–1,357) |
| epcache, `exact` | – | 12.3 (11.1–13.6) |";
    let table = filled("{{table by-dists above python find-10 warm}}", &small());
    assert_eq!(table, expected);
}

#[test]
fn a_wrong_answer_is_marked() {
    let wrong = time("rust", "json-dist", "find-10", 10, "cold", 2.0).replace("true", "false");
    let table = filled(
        "{{table by-condition above rust find-10 10}}",
        &results(&[wrong]),
    );
    assert!(
        table.ends_with("| JSON, one per dist | 2.00 (1.80–2.20) ✗ |"),
        "{table}"
    );
}

#[test]
fn all_that_was_measured_stands_in_one_row() {
    let table = filled("{{table all python find-10 1000 warm}}", &small());
    let row = table.lines().last().unwrap();
    let expected = "| epcache, `exact` | 22.3 (20.1–24.6) | 100x | 12.3 (11.1–13.6) | 12.3 (11.1–13.6) | 1,234 | 5,678 | 9.5 |";
    assert_eq!(row, expected);
}

#[test]
fn numbers_ratios_and_shares_come_from_the_results() {
    let (none, ours) = (
        "above python none find-10 1000 warm",
        "above python epcache-exact find-10 1000 warm",
    );
    let template =
        format!("{{{{{none}}}}}, {{{{{none} / {ours}}}}}x, {{{{percent {ours} / {none}}}}}");
    assert_eq!(filled(&template, &small()), "1,234 ms, 100x, 1%");
    assert_eq!(filled("on {{machine cpu}}", &small()), "on A <B> & \"C\"");
    let fastest = "{{fastest above python find-10 1000 warm : none epcache-exact}}";
    assert_eq!(filled(fastest, &small()), "epcache, `exact`");
}

#[test]
fn a_number_that_was_not_measured_is_an_error_that_names_it() {
    let error = refused(
        "one\ntwo {{above python stevedore find-10 1000 warm}}",
        &small(),
    );
    let expected = "line 2 of the template: {{above python stevedore find-10 1000 warm}}: \
        not measured: above stevedore python find-10 1000 warm (Python 3.11.7)";
    assert_eq!(error, expected);
}

#[test]
fn a_table_or_a_figure_of_nothing_is_an_error_that_names_it() {
    let table = "{{table by-work above rust 1000 warm list}}";
    let error = refused(table, &small());
    assert!(
        error.contains(table) && error.ends_with("nothing of this was measured"),
        "{error}"
    );
    let error = format!("{:#}", figures::all(&results(&[])).unwrap_err());
    assert!(error.starts_with("plot formats"), "{error}");
}

#[test]
fn where_parts_were_measured_a_dash_stands_for_the_rest() {
    let template = "{{above rust none list 10 warm}} {{table by-dists above python find-10 warm}}";
    let document = template::fill(template, &results(&[]), Of::Parts).unwrap();
    assert_eq!(document, "– –");
    assert!(template::fill("{{table x}}", &results(&[]), Of::Parts).is_err());
}

#[test]
fn parts_of_another_date_are_named() {
    let part = |date| json!({"kind": "part", "part": "warm", "date": date}).to_string();
    assert_eq!(
        filled("{{machine date}}", &results(&[part("2001-02-03")])),
        "2001-02-03"
    );
    assert_eq!(
        filled("{{machine date}}", &results(&[part("2001-02-04")])),
        "2001-02-03 (warm on 2001-02-04)"
    );
}

#[test]
fn few_runs_are_told() {
    let few =
        time("rust", "none", "find-10", 10, "warm", 2.0).replace("\"rounds\":5", "\"rounds\":3");
    let table = filled(
        "{{table by-dists above rust find-10 warm}}",
        &results(&[few]),
    );
    assert!(table.ends_with("| 2.00 (1.80–2.20, n=3) |"), "{table}");
}

#[test]
fn what_is_no_placeholder_is_an_error() {
    for template in [
        "{{abov python none find-10 1000 warm}}",
        "{{table x}}",
        "{{figure x y}}",
        "{{",
        "{{}}",
    ] {
        assert!(refused(template, &small()).starts_with("line 1 of the template"));
    }
}

#[test]
fn words_that_the_numbers_contradict_are_an_error() {
    let (none, ours) = (
        "above python none find-10 1000 warm",
        "above python epcache-exact find-10 1000 warm",
    );
    assert_eq!(
        filled(&format!("{{{{check {ours} * 2 < {none}}}}}"), &small()),
        ""
    );
    let error = refused(&format!("{{{{check {none} < {ours}}}}}"), &small());
    assert!(error.ends_with("1234 < 12.34 is not so"), "{error}");
}

#[test]
fn the_same_thing_measured_twice_is_an_error() {
    let twice = time("rust", "none", "list", 10, "warm", 1.0);
    let error = Results::parse(&[machine(), twice.clone(), twice].join("\n"))
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("measured twice: none rust list 10 warm"),
        "{error}"
    );
}

#[test]
fn epcache_is_behind_only_where_the_quartiles_are_apart() {
    let behind = |theirs: f64| {
        let results = results(&[
            time("rust", "epcache-exact", "list", 10, "warm", 10.0),
            time("rust", "json-dist", "list", 10, "warm", theirs),
        ]);
        filled("{{table behind}}", &results)
    };
    assert_eq!(behind(9.0), "Nowhere.");
    let of_fast = results(&[
        time("rust", "epcache-exact", "list", 10, "warm", 20.0),
        time("rust", "epcache-fast", "list", 10, "warm", 10.0),
        time("rust", "json-dist", "list", 10, "warm", 5.0),
        time("rust", "ini-dist", "list", 10, "warm", 10.0),
    ]);
    let both = "| 20.0 (18.0–22.0) | INI, one per dist: 10.0; JSON, one per dist: 5.00 | 10.0 (9.00–11.0) | JSON, one per dist: 5.00 |";
    assert!(filled("{{table behind}}", &of_fast).ends_with(both));
    assert!(behind(5.0).ends_with("| 10.0 (9.00–11.0) | JSON, one per dist: 5.00 |"));
}

#[test]
fn the_whole_document_and_its_plots_are_written() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("results.jsonl");
    std::fs::write(&file, complete()).unwrap();
    write(&file, scratch.path()).unwrap();
    let document = std::fs::read_to_string(scratch.path().join("benchmarks.md")).unwrap();
    assert!(!document.contains("{{") && !document.contains("}}"));
    for name in figures::NAMES {
        assert!(
            document.contains(&format!("](benchmarks/{name}.svg)")),
            "{name}"
        );
        assert!(
            scratch
                .path()
                .join(format!("benchmarks/{name}.svg"))
                .is_file()
        );
    }
    assert!(TEMPLATE.len() < document.len());
}

#[test]
fn plots_are_well_formed_and_take_the_colour_of_the_page() {
    for (name, svg) in figures::all(&Results::parse(&complete()).unwrap()).unwrap() {
        assert!(svg.contains("prefers-color-scheme:dark"), "{name}");
        assert!(
            svg.contains("fill=\"currentColor\"") && !svg.contains("#010203"),
            "{name}"
        );
        // No background: nothing is drawn in black or white.
        assert!(
            !svg.contains("#FFFFFF") && !svg.contains("#000000"),
            "{name}"
        );
        // Python's parser, because it is one, and refuses what is not well-formed.
        let mut parser = Command::new("python3")
            .args([
                "-c",
                "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.stdin.buffer)",
            ])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        parser
            .stdin
            .take()
            .unwrap()
            .write_all(svg.as_bytes())
            .unwrap();
        assert!(parser.wait().unwrap().success(), "{name}");
    }
}
