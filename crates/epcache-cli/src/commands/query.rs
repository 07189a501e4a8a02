//! `epcache query`: entry points.

use crate::Exit;
use crate::output::{Column, Output, Row};
use crate::setting::Setting;
use anyhow::Result;
use epcache::resolve::{Found, Remarks};
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
    warn(output, &answer.remarks);
    let rows: Vec<_> = answer
        .entry_points
        .iter()
        .map(|found| EntryPointRow::of(found, group.is_some()))
        .collect();
    output.rows(&rows)?;
    Ok(Exit::of_rows(&rows))
}

/// Says what was left out of an answer.
pub(crate) fn warn(output: &Output, remarks: &Remarks) {
    for problem in remarks
        .problems
        .iter()
        .filter(|problem| !problem.kind.is_silent_in_cpython())
    {
        output.warn(&problem.to_string());
    }
    for note in &remarks.notes {
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
    /// Whether the group is known to whoever asks.
    #[serde(skip)]
    of_one_group: bool,
}

#[derive(Serialize)]
struct Dist<'a> {
    name: String,
    version: Option<String>,
    metadata_dir: Cow<'a, str>,
    path_entry: Cow<'a, str>,
}

impl<'a> EntryPointRow<'a> {
    fn of(found: &'a Found, of_one_group: bool) -> Self {
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
            of_one_group,
        }
    }
}

impl Row for EntryPointRow<'_> {
    fn titles(&self) -> &'static [Column] {
        const REST: [Column; 3] = [
            Column::Text("NAME"),
            Column::Text("VALUE"),
            Column::Text("DISTRIBUTION"),
        ];
        const ALL: [Column; 4] = [Column::Text("GROUP"), REST[0], REST[1], REST[2]];
        const OF_ONE_GROUP: [Column; 4] = [Column::NotInTables, REST[0], REST[1], REST[2]];
        if self.of_one_group {
            &OF_ONE_GROUP
        } else {
            &ALL
        }
    }

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![
            self.group.into(),
            self.name.into(),
            self.value.into(),
            self.dist.name.as_str().into(),
        ]
    }
}
