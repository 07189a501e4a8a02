//! `epcache query`: entry points.

use crate::Exit;
use crate::output::{Output, Row};
use crate::setting::Setting;
use anyhow::Result;
use epcache::resolve::{Answer, Found};
use epcache::{EntryPoint, Select};
use serde::Serialize;
use std::borrow::Cow;

pub(crate) fn run(
    setting: &Setting,
    output: &mut Output,
    group: Option<&str>,
    name: Option<&str>,
) -> Result<Exit> {
    let answer = setting
        .cache()
        .entry_points(&setting.path()?, Select { group, name });
    warn(output, &answer);
    let rows: Vec<_> = answer.entry_points.iter().map(EntryPointRow::of).collect();
    output.rows(&rows)?;
    Ok(if rows.is_empty() {
        Exit::Nothing
    } else {
        Exit::Found
    })
}

/// Says what was left out of an answer.
pub(crate) fn warn(output: &Output, answer: &Answer) {
    for problem in answer
        .problems
        .iter()
        .filter(|problem| !problem.kind.is_silent_in_cpython())
    {
        output.warn(&problem.to_string());
    }
    for note in &answer.notes {
        output.note(note);
    }
}

#[derive(Serialize)]
struct EntryPointRow<'a> {
    group: &'a str,
    name: &'a str,
    value: &'a str,
    module: Option<&'a str>,
    attr: Option<&'a str>,
    extras: Vec<&'a str>,
    dist: Dist<'a>,
}

#[derive(Serialize)]
struct Dist<'a> {
    name: String,
    version: Option<String>,
    metadata_dir: Cow<'a, str>,
    path_entry: Cow<'a, str>,
}

impl<'a> EntryPointRow<'a> {
    fn of(found: &'a Found) -> Self {
        let EntryPoint { group, name, value } = &found.entry_point;
        let reference = found.entry_point.reference();
        let (dist_name, version) = found.dist.name_and_version();
        Self {
            group,
            name,
            value,
            module: reference.as_ref().map(|reference| reference.module),
            attr: reference.as_ref().and_then(|reference| reference.attr),
            extras: reference
                .map(|reference| reference.extras)
                .unwrap_or_default(),
            dist: Dist {
                name: dist_name,
                version,
                metadata_dir: found.dist.metadata_dir.to_string_lossy(),
                path_entry: found.dist.path_entry.to_string_lossy(),
            },
        }
    }
}

impl Row for EntryPointRow<'_> {
    const TITLES: &'static [&'static str] = &["GROUP", "NAME", "VALUE", "DISTRIBUTION"];

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![
            self.group.into(),
            self.name.into(),
            self.value.into(),
            self.dist.name.as_str().into(),
        ]
    }
}
