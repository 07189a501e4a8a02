//! Fills in a document: `{{…}}` becomes a number, a table or a figure that comes from the results.
//!
//! | placeholder | becomes |
//! |---|---|
//! | `{{VALUE}}` | the number, with its unit |
//! | `{{VALUE / VALUE}}` | how many times as much the first is |
//! | `{{VALUE - VALUE}}` | the difference, with its unit |
//! | `{{percent VALUE / VALUE}}` | the first as a share of the second |
//! | `{{check VALUE < VALUE}}` | nothing; an error unless it is so. For words that depend on numbers. Both sides may be a product: `VALUE * 2` |
//! | `{{machine NAME}}` | what the results say of the machine |
//! | `{{fastest FIELD LANGUAGE WORK DISTS CONDITION : CONTENDER…}}` | the name of the one with the least |
//! | `{{table NAME …}}` | see `tables.rs` |
//! | `{{figure NAME "what it shows"}}` | see `figures.rs` |
//!
//! A VALUE is one of
//!
//! - `FIELD LANGUAGE CONTENDER WORK DISTS CONDITION [PYTHON]`, where FIELD is `above`, `wall`, `in-process`, `calls`, `bytes` or `peak`;
//! - `together LANGUAGE CONTENDER wrong|failed|rounds`, and `killed` alike;
//! - `changes LANGUAGE CONTENDER wrong|tried`;
//! - `application NAME CONDITION WAY wall|pass|entry-points`, where NAME is how the name begins;
//! - a number.

use anyhow::{Context as _, Result, bail, ensure};

use super::data::{Attempts, Case, Field, NotMeasured, Part, Results};
use super::{figures, tables, words};

/// What the results are of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Everything,
    /// A dash stands for what was not measured, and nothing is checked.
    Parts,
}

/// Fills in all placeholders.
///
/// # Errors
/// There is no data for one, or it can't be read, or what it checks is not so. The error names it,
/// and the line where it stands.
pub(super) fn fill(template: &str, results: &Results, of: Of) -> Result<String> {
    let mut document = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        document.push_str(before);
        let line = template[..template.len() - after.len()].lines().count();
        let (placeholder, after) = after
            .split_once("}}")
            .with_context(|| format!("line {line} of the template: {{{{ has no end"))?;
        let text = match placeholder_text(placeholder, results, of) {
            Err(error) if of == Of::Parts && error.is::<NotMeasured>() => "–".to_owned(),
            text => {
                text.with_context(|| format!("line {line} of the template: {{{{{placeholder}}}}}"))?
            }
        };
        document.push_str(&text);
        rest = after;
    }
    document.push_str(rest);
    Ok(document)
}

fn placeholder_text(placeholder: &str, results: &Results, of: Of) -> Result<String> {
    let words = split(placeholder);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["table", name, ref rest @ ..] => tables::table(name, rest, results),
        ["figure", name, alt] => {
            ensure!(
                figures::NAMES.contains(&name),
                "there is no figure of this name"
            );
            Ok(format!("![{alt}](benchmarks/{name}.svg)"))
        }
        ["machine", name] => machine(results, name),
        ["check", ref rest @ ..] => match of {
            Of::Everything => check(results, rest).map(|()| String::new()),
            Of::Parts => Ok(String::new()),
        },
        ["percent", ref rest @ ..] => {
            let (part, whole) = operands(rest, "/").context("of what is it a share?")?;
            let share = value(results, part)?.number / value(results, whole)?.number;
            Ok(format!("{:.0}%", share * 100.0))
        }
        [
            "fastest",
            field,
            language,
            work,
            dists,
            condition,
            ":",
            ref contenders @ ..,
        ] => {
            let case = case(results, &[language, work, dists, condition])?;
            fastest(results, named_field(field)?, case, contenders)
        }
        ref words => calculation(results, words),
    }
}

/// `VALUE`, `VALUE / VALUE` or `VALUE - VALUE`.
fn calculation(results: &Results, words: &[&str]) -> Result<String> {
    if let Some((one, other)) = operands(words, "/") {
        let ratio = value(results, one)?.number / value(results, other)?.number;
        ensure!(
            ratio.is_finite() && ratio > 0.0,
            "the ratio is no positive number: {ratio}"
        );
        return Ok(words::ratio(ratio));
    }
    if let Some((one, other)) = operands(words, "-") {
        let (one, other) = (value(results, one)?, value(results, other)?);
        let number = one.number - other.number;
        return Ok(Value { number, ..one }.text());
    }
    value(results, words).map(|value| value.text())
}

fn check(results: &Results, words: &[&str]) -> Result<()> {
    let (less, more) = operands(words, "<").context("what is to be checked?")?;
    let (less, more) = (product(results, less)?, product(results, more)?);
    ensure!(
        less < more,
        "the text says less, but {less} < {more} is not so"
    );
    Ok(())
}

fn product(results: &Results, words: &[&str]) -> Result<f64> {
    match operands(words, "*") {
        None => Ok(value(results, words)?.number),
        Some((one, other)) => Ok(value(results, one)?.number * value(results, other)?.number),
    }
}

fn fastest(results: &Results, field: Field, case: Case<'_>, contenders: &[&str]) -> Result<String> {
    let mut least: Option<(f64, &str)> = None;
    for contender in contenders {
        let number = results.number(field, case, contender)?;
        if least.is_none_or(|(least, _)| number < least) {
            least = Some((number, contender));
        }
    }
    let (_, contender) = least.context("the fastest of whom?")?;
    Ok(words::contender(contender).to_owned())
}

fn machine(results: &Results, name: &str) -> Result<String> {
    let machine = &results.machine;
    Ok(match name {
        "date" => dates(results),
        "system" => machine.system.clone(),
        "cpu" => machine.cpu.clone(),
        "processors" => machine.processors.to_string(),
        "memory" => format!("{:.1} GiB", machine.memory_mib / 1024.0),
        "file-system" => machine.file_system.clone(),
        "python" => results.main_python().to_owned(),
        "pythons" => machine.pythons.join(", "),
        "epcache" => machine.epcache.clone(),
        "command" => machine.command.clone(),
        "dists-beside" => {
            let dists = machine.dists_beside;
            let dists = dists.context("the environment's own dists were not counted")?;
            dists.to_string()
        }
        "load" => {
            let load = machine.load.context("the load was not recorded")?;
            format!("{load:.1}")
        }
        _ => bail!("the results say nothing of this"),
    })
}

/// The date of all, and of the parts that were measured on others.
fn dates(results: &Results) -> String {
    let date = &results.machine.date;
    let others = results.parts.iter().filter(|part| part.date != *date);
    let others: Vec<String> = others
        .map(|Part { part, date }| format!("{part} on {date}"))
        .collect();
    if others.is_empty() {
        date.clone()
    } else {
        format!("{date} ({})", others.join(", "))
    }
}

/// A number and what it counts.
#[derive(Clone, Copy)]
struct Value {
    number: f64,
    unit: Unit,
}

#[derive(Clone, Copy)]
enum Unit {
    Milliseconds,
    Mebibytes,
    Count,
}

impl Value {
    fn text(self) -> String {
        match self.unit {
            Unit::Milliseconds => words::milliseconds(self.number),
            Unit::Mebibytes => format!("{:.1} MiB", self.number),
            Unit::Count => words::grouped(self.number),
        }
    }
}

fn value(results: &Results, words: &[&str]) -> Result<Value> {
    let count = |number: f64| Value {
        number,
        unit: Unit::Count,
    };
    match *words {
        [number] => {
            let number = number
                .parse()
                .with_context(|| format!("no number: {number}"))?;
            Ok(count(number))
        }
        ["together", language, contender, part] => {
            attempts(&results.together, language, contender, part).map(count)
        }
        ["killed", language, contender, part] => {
            attempts(&results.killed, language, contender, part).map(count)
        }
        ["changes", language, contender, part] => {
            changes(results, language, contender, part).map(count)
        }
        ["application", name, condition, way, part] => Ok(Value {
            number: application(results, name, condition, way, part)?,
            unit: Unit::Milliseconds,
        }),
        [field, language, contender, ref rest @ ..] => {
            let field = named_field(field)?;
            let case = case(results, &[&[language], rest].concat())?;
            Ok(Value {
                number: results.number(field, case, contender)?,
                unit: match field {
                    Field::Above | Field::Wall | Field::InProcess => Unit::Milliseconds,
                    Field::Peak => Unit::Mebibytes,
                    Field::Calls | Field::Bytes => Unit::Count,
                },
            })
        }
        _ => bail!("this is no value"),
    }
}

fn attempts(of: &[Attempts], language: &str, contender: &str, part: &str) -> Result<f64> {
    let found = of
        .iter()
        .find(|attempts| attempts.language == language && attempts.contender == contender)
        .ok_or_else(|| NotMeasured(format!("not tried: {language} {contender}")))?;
    Ok(f64::from(match part {
        "wrong" => found.wrong,
        "failed" => found.failed,
        "rounds" => found.rounds,
        _ => bail!("nothing of this name is counted: {part}"),
    }))
}

fn changes(results: &Results, language: &str, contender: &str, part: &str) -> Result<f64> {
    let of_contender = results
        .changes
        .iter()
        .filter(|change| change.language == language && change.contender == contender);
    let tried = of_contender.clone().count();
    ensure!(
        tried > 0,
        NotMeasured(format!("not tried: {language} {contender}"))
    );
    let counted = match part {
        "wrong" => of_contender.filter(|change| change.wrong).count(),
        "tried" => tried,
        _ => bail!("nothing of this name is counted: {part}"),
    };
    Ok(f64::from(u32::try_from(counted)?))
}

fn application(
    results: &Results,
    name: &str,
    condition: &str,
    way: &str,
    part: &str,
) -> Result<f64> {
    let found = results
        .applications
        .iter()
        .find(|one| one.name.starts_with(name) && one.condition == condition && one.way == way)
        .ok_or_else(|| {
            NotMeasured(format!(
                "not measured: application {name} {condition} {way}"
            ))
        })?;
    let number = match part {
        "wall" => Some(found.wall_ms.median),
        "pass" => found.pass_ms,
        "entry-points" => found.entry_points_ms,
        _ => bail!("nothing of this name is measured: {part}"),
    };
    number.with_context(|| format!("not measured: {part} of application {name} {condition} {way}"))
}

fn named_field(name: &str) -> Result<Field> {
    Field::named(name).with_context(|| format!("there is no figure of this name: {name}"))
}

/// `LANGUAGE WORK DISTS CONDITION [PYTHON]`.
pub(super) fn case<'a>(results: &'a Results, words: &[&'a str]) -> Result<Case<'a>> {
    let (language, work, dists, condition, python) = match *words {
        [language, work, dists, condition] => {
            (language, work, dists, condition, results.main_python())
        }
        [language, work, dists, condition, python] => (language, work, dists, condition, python),
        _ => bail!(
            "not LANGUAGE WORK DISTS CONDITION [PYTHON]: {}",
            words.join(" ")
        ),
    };
    Ok(Case {
        language,
        work,
        dists: dists
            .parse()
            .with_context(|| format!("no number of dists: {dists}"))?,
        condition,
        python,
    })
}

/// What stands before and after the operator, if it is there.
fn operands<'a, 'b>(
    words: &'a [&'b str],
    operator: &str,
) -> Option<(&'a [&'b str], &'a [&'b str])> {
    let place = words.iter().position(|word| *word == operator)?;
    Some((&words[..place], &words[place + 1..]))
}

/// The words of a placeholder; what stands between quotation marks is one word.
fn split(placeholder: &str) -> Vec<String> {
    placeholder
        .split('"')
        .enumerate()
        .flat_map(|(index, part)| match index % 2 {
            1 => vec![part.to_owned()],
            _ => part.split_whitespace().map(str::to_owned).collect(),
        })
        .collect()
}
