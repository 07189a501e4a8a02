//! The files of `json-*`: an object with the entry points by group, each with its place in the order of
//! all and the number of its dist. Written and read by serde_json.

use std::collections::BTreeMap;
use std::path::Path;

use epcache::EntryPoint;
use serde::{Deserialize, Serialize};

use crate::record::{Contents, Record, Stamps, write_atomically};

#[derive(Serialize, Deserialize)]
struct Object {
    seen: Stamps,
    names: Vec<String>,
    /// Of each group: place, dist, name, value.
    groups: BTreeMap<String, Vec<(usize, usize, String, String)>>,
}

/// What a file holds about one group, or about all; `None` unless it is one of these `seen`.
pub(crate) fn load(path: &Path, group: Option<&str>, seen: &Stamps) -> Option<Record> {
    let text = std::fs::read(path).ok()?;
    let mut object: Object = serde_json::from_slice(&text).ok()?;
    if object.seen != *seen {
        return None;
    }
    if let Some(group) = group {
        object.groups.retain(|name, _| name == group);
    }
    let mut rows = Vec::new();
    for (group, members) in object.groups {
        for (at, dist, name, value) in members {
            let group = group.clone();
            rows.push((at, (dist, EntryPoint { group, name, value })));
        }
    }
    rows.sort_by_key(|(at, _)| *at);
    Some(Record {
        names: Box::new(object.names),
        rows: rows.into_iter().map(|(_, row)| row).collect(),
    })
}

/// Writes a file.
pub(crate) fn save(path: &Path, contents: &Contents) {
    let mut object = Object {
        seen: contents.seen.clone(),
        names: contents.names.clone(),
        groups: BTreeMap::new(),
    };
    for (at, (dist, point)) in contents.rows.iter().enumerate() {
        let members = object.groups.entry(point.group.clone()).or_default();
        members.push((at, *dist, point.name.clone(), point.value.clone()));
    }
    if let Ok(text) = serde_json::to_vec(&object) {
        write_atomically(path, &text, None);
    }
}
