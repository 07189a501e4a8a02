//! `epcache dists`: the distributions, with what each declares.

use crate::Exit;
use crate::commands::query::warn;
use crate::output::{Column, Output, Row};
use crate::setting::Setting;
use anyhow::Result;
use epcache::resolve::DistInfo;
use serde::Serialize;
use std::borrow::Cow;

pub(crate) fn run(setting: &Setting, output: &mut Output) -> Result<Exit> {
    let found = setting.cache().dists(&setting.path()?);
    warn(output, &found.remarks);
    let rows: Vec<_> = found.dists.iter().map(DistRow::of).collect();
    output.rows(&rows)?;
    Ok(Exit::of_rows(&rows))
}

#[derive(Serialize)]
struct DistRow<'a> {
    name: String,
    version: Option<String>,
    normalized_name: Option<&'a str>,
    metadata_dir: Cow<'a, str>,
    path_entry: Cow<'a, str>,
    entry_points: usize,
    shadowed: bool,
}

impl<'a> DistRow<'a> {
    fn of(info: &'a DistInfo) -> Self {
        let (name, version) = info.dist.name_and_version();
        Self {
            name,
            version,
            normalized_name: info.normalized_name.as_deref(),
            metadata_dir: info.dist.metadata_dir.to_string_lossy(),
            path_entry: info.dist.path_entry.to_string_lossy(),
            entry_points: info.entry_points,
            shadowed: info.shadowed,
        }
    }
}

impl Row for DistRow<'_> {
    fn titles(&self) -> &'static [Column] {
        &[
            Column::Text("NAME"),
            Column::Text("VERSION"),
            Column::Number("ENTRIES"),
            Column::Text("SHADOWED"),
            Column::Path("PATH ENTRY"),
        ]
    }

    fn columns(&self) -> Vec<Cow<'_, str>> {
        let version = self.version.as_deref().unwrap_or_default();
        let shadowed = if self.shadowed { "shadowed" } else { "" };
        vec![
            self.name.as_str().into(),
            version.into(),
            self.entry_points.to_string().into(),
            shadowed.into(),
            self.path_entry.as_ref().into(),
        ]
    }
}
