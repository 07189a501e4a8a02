//! `epcache paths`: where things are.

use crate::Exit;
use crate::commands::why_not_used;
use crate::config::{ConfigFile, Found};
use crate::output::{Column, Output, Row, shown};
use crate::setting::Setting;
use anyhow::Result;
use epcache::Root;
use epcache::layout::{self, Unusable};
use serde::Serialize;
use std::borrow::Cow;
use std::ffi::OsStr;

pub(crate) fn run(setting: &Setting, output: &mut Output) -> Result<Exit> {
    let environment = setting.environment()?;
    let places = Places {
        mode: setting.mode.to_string(),
        roots: setting.roots.iter().map(RootPlace::of).collect(),
        config: setting.config.files.iter().map(FilePlace::of).collect(),
        interpreter: environment.executable.as_deref().map(shown),
        found_by: environment.how.as_str(),
        version: environment
            .version
            .map(|(major, minor)| format!("{major}.{minor}")),
        sys_path: environment
            .path
            .iter()
            .map(|item| SysPathItem {
                path_entry: item.to_string_lossy().into_owned(),
                mirrors: mirrors(setting, item),
            })
            .collect(),
    };
    output.thing(&places, &places.rows())?;
    Ok(Exit::Found)
}

/// The mirrors of a path entry that exist.
fn mirrors(setting: &Setting, path_entry: &OsStr) -> Vec<String> {
    let mirrors = setting
        .roots
        .iter()
        .filter_map(|root| layout::mirror_of(root, path_entry));
    mirrors
        .filter(|mirror| mirror.is_dir())
        .map(|mirror| shown(&mirror))
        .collect()
}

#[derive(Serialize)]
struct Places {
    mode: String,
    roots: Vec<RootPlace>,
    config: Vec<FilePlace>,
    interpreter: Option<String>,
    found_by: &'static str,
    version: Option<String>,
    sys_path: Vec<SysPathItem>,
}

#[derive(Serialize)]
struct RootPlace {
    kind: &'static str,
    path: String,
    exists: bool,
    not_used: Option<String>,
}

impl RootPlace {
    fn of(root: &Root) -> Self {
        let unusable = root.usable().err();
        Self {
            kind: root.kind.name(),
            path: shown(&root.path),
            exists: unusable != Some(Unusable::Absent),
            not_used: unusable.as_ref().and_then(why_not_used),
        }
    }
}

#[derive(Serialize)]
struct FilePlace {
    path: String,
    exists: bool,
    not_used: Option<String>,
}

impl FilePlace {
    fn of(file: &ConfigFile) -> Self {
        Self {
            path: shown(&file.path),
            exists: file.found != Found::Absent,
            not_used: match &file.found {
                Found::NotUsed(why) => Some(format!("not used: {why}")),
                Found::Absent | Found::Read => None,
            },
        }
    }
}

#[derive(Serialize)]
struct SysPathItem {
    path_entry: String,
    mirrors: Vec<String>,
}

impl Places {
    fn rows(&self) -> Vec<PlaceRow<'_>> {
        let row = |what: &'static str, path, note| PlaceRow {
            what: what.into(),
            path,
            note,
        };
        let mut rows = vec![row("mode", &self.mode, "")];
        rows.extend(self.roots.iter().map(|root| {
            let note = note(root.exists, root.not_used.as_deref());
            PlaceRow {
                what: format!("{} root", root.kind).into(),
                path: &root.path,
                note,
            }
        }));
        rows.extend(self.config.iter().map(|file| {
            let note = note(file.exists, file.not_used.as_deref());
            row("configuration", &file.path, note)
        }));
        let interpreter = self.interpreter.as_deref().unwrap_or("none");
        rows.push(row("interpreter", interpreter, self.found_by));
        for item in &self.sys_path {
            rows.push(row("path entry", &item.path_entry, ""));
            rows.extend(item.mirrors.iter().map(|mirror| row("mirror", mirror, "")));
        }
        rows
    }
}

fn note(exists: bool, not_used: Option<&str>) -> &str {
    not_used.unwrap_or(if exists { "" } else { "absent" })
}

#[derive(Serialize)]
struct PlaceRow<'a> {
    what: Cow<'static, str>,
    path: &'a str,
    note: &'a str,
}

impl Row for PlaceRow<'_> {
    fn titles(&self) -> &'static [Column] {
        &[
            Column::Text("WHAT"),
            Column::Text("NOTE"),
            Column::Path("WHERE"),
        ]
    }

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![
            self.what.as_ref().into(),
            self.note.into(),
            self.path.into(),
        ]
    }
}
