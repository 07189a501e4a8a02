//! `epcache groups`: the groups, with counts.

use crate::Exit;
use crate::commands::query::warn;
use crate::output::{Column, Output, Row};
use crate::setting::Setting;
use anyhow::Result;
use epcache::Select;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

pub(crate) fn run(setting: &Setting, output: &mut Output) -> Result<Exit> {
    let answer = setting
        .cache()
        .entry_points(&setting.path()?, Select::default());
    warn(output, &answer.remarks);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for found in &answer.entry_points {
        *counts.entry(&found.entry_point.group).or_default() += 1;
    }
    let rows: Vec<_> = counts
        .into_iter()
        .map(|(group, count)| GroupRow { group, count })
        .collect();
    output.rows(&rows)?;
    Ok(Exit::of_rows(&rows))
}

#[derive(Serialize)]
struct GroupRow<'a> {
    group: &'a str,
    count: usize,
}

impl Row for GroupRow<'_> {
    fn titles(&self) -> &'static [Column] {
        &[Column::Text("GROUP"), Column::Number("ENTRY POINTS")]
    }

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![self.group.into(), self.count.to_string().into()]
    }
}
