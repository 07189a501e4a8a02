//! The files of `json-*`: an object with the entry points by group, each with its place in the order of
//! all and the number of its dist. Written and read by serde_json, which takes nothing apart that is not
//! asked for.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use epcache::EntryPoint;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::job::Job;
use crate::record::{Contents, Names, Record, Stamps, write_atomically};

#[derive(Serialize)]
struct Written<'a> {
    seen: &'a Stamps,
    names: &'a [String],
    /// Of each group: place, dist, name, value.
    groups: BTreeMap<&'a str, Vec<(usize, usize, &'a str, &'a str)>>,
}

#[derive(Deserialize)]
struct Read<'a> {
    seen: Stamps,
    names: Box<RawValue>,
    #[serde(borrow)]
    groups: BTreeMap<Text<'a>, &'a RawValue>,
}

/// A string that is copied only if there are escapes in it.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Names are not parsed until somebody asks.
impl Names for Box<RawValue> {
    fn of(&self, dists: &HashSet<usize>) -> Option<HashMap<usize, String>> {
        let names: Vec<Text<'_>> = serde_json::from_str(self.get()).ok()?;
        let name = |&dist: &usize| Some((dist, names.get(dist)?.0.to_string()));
        dists.iter().map(name).collect()
    }

    fn drop_known(&self, dists: &mut HashMap<usize, String>) -> Option<()> {
        let known: HashSet<Text<'_>> = serde_json::from_str(self.get()).ok()?;
        dists.retain(|_, name| !known.contains(&Text(Cow::Borrowed(name))));
        Some(())
    }
}

/// What a file holds of what is wanted; `None` unless it is one of these `seen`.
pub(crate) fn load(path: &Path, job: &Job, seen: &Stamps) -> Option<Record> {
    let text = std::fs::read_to_string(path).ok()?;
    let read: Read<'_> = serde_json::from_str(&text).ok()?;
    if read.seen != *seen {
        return None;
    }
    let mut rows = Vec::new();
    for (Text(group), members) in read.groups {
        if job.wants(&group) {
            let members: Vec<(usize, usize, String, String)> =
                serde_json::from_str(members.get()).ok()?;
            for (at, dist, name, value) in members {
                let group = group.to_string();
                rows.push((at, (dist, EntryPoint { group, name, value })));
            }
        }
    }
    rows.sort_by_key(|(at, _)| *at);
    Some(Record {
        names: Box::new(read.names),
        rows: rows.into_iter().map(|(_, row)| row).collect(),
    })
}

/// Writes a file.
pub(crate) fn save(path: &Path, contents: &Contents) {
    let mut written = Written {
        seen: &contents.seen,
        names: &contents.names,
        groups: BTreeMap::new(),
    };
    for (at, (dist, point)) in contents.rows.iter().enumerate() {
        let members = written.groups.entry(&point.group).or_default();
        members.push((at, *dist, &point.name, &point.value));
    }
    if let Ok(text) = serde_json::to_vec(&written) {
        write_atomically(path, &text, None);
    }
}
