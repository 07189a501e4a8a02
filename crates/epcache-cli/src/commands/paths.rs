//! `epcache paths`: where things are.

use crate::Exit;
use crate::config;
use crate::output::{Output, Row};
use crate::setting::Setting;
use anyhow::Result;
use epcache::layout;
use serde::Serialize;
use std::borrow::Cow;

pub(crate) fn run(setting: &Setting, output: &mut Output) -> Result<Exit> {
    let environment = setting.environment()?;
    let shown = |path: &std::path::Path| path.display().to_string();
    let places = Places {
        mode: setting.mode.to_string(),
        roots: setting
            .roots
            .iter()
            .map(|root| RootPlace {
                kind: root.kind.name(),
                path: shown(&root.path),
                exists: root.path.exists(),
            })
            .collect(),
        config: config::files()
            .iter()
            .map(|path| FilePlace {
                path: shown(path),
                exists: path.exists(),
            })
            .collect(),
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
fn mirrors(setting: &Setting, path_entry: &std::ffi::OsStr) -> Vec<String> {
    let mirrors = setting
        .roots
        .iter()
        .filter_map(|root| layout::mirror_of(root, path_entry));
    mirrors
        .filter(|mirror| mirror.is_dir())
        .map(|mirror| mirror.display().to_string())
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
}

#[derive(Serialize)]
struct FilePlace {
    path: String,
    exists: bool,
}

#[derive(Serialize)]
struct SysPathItem {
    path_entry: String,
    mirrors: Vec<String>,
}

impl Places {
    fn rows(&self) -> Vec<PlaceRow> {
        let exists = |exists: bool| if exists { "" } else { "absent" };
        let row = |what: &str, path: &str, note: &str| PlaceRow {
            what: what.to_owned(),
            path: path.to_owned(),
            note: note.to_owned(),
        };
        let mut rows = vec![row("mode", &self.mode, "")];
        rows.extend(self.roots.iter().map(|root| {
            row(
                &format!("{} root", root.kind),
                &root.path,
                exists(root.exists),
            )
        }));
        rows.extend(
            self.config
                .iter()
                .map(|file| row("configuration", &file.path, exists(file.exists))),
        );
        rows.push(row(
            "interpreter",
            self.interpreter.as_deref().unwrap_or("none"),
            self.found_by,
        ));
        for item in &self.sys_path {
            rows.push(row("path entry", &item.path_entry, ""));
            rows.extend(item.mirrors.iter().map(|mirror| row("mirror", mirror, "")));
        }
        rows
    }
}

#[derive(Serialize)]
struct PlaceRow {
    what: String,
    path: String,
    note: String,
}

impl Row for PlaceRow {
    const TITLES: &'static [&'static str] = &["WHAT", "WHERE", "NOTE"];

    fn columns(&self) -> Vec<Cow<'_, str>> {
        vec![
            self.what.as_str().into(),
            self.path.as_str().into(),
            self.note.as_str().into(),
        ]
    }
}
