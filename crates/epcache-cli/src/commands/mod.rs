//! The subcommands, a file each.

pub(crate) mod completions;
pub(crate) mod dists;
pub(crate) mod groups;
pub(crate) mod man;
pub(crate) mod paths;
pub(crate) mod prune;
pub(crate) mod query;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod verify;
#[cfg(feature = "watch")]
pub(crate) mod watch;

use crate::output::without_number;
use epcache::PathEntry;
use epcache::layout::Unusable;
use std::io::ErrorKind;

/// Whether there is nothing in the place of a path entry. What can't be looked at may well be there.
fn is_absent(path_entry: &PathEntry) -> bool {
    std::fs::symlink_metadata(path_entry.location())
        .is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// Why a root does not count, in words; nothing if there is just none.
fn why_not_used(unusable: &Unusable) -> Option<String> {
    match unusable {
        Unusable::Absent => None,
        Unusable::NotTrusted(why) => Some(format!("not trusted: {why}")),
        Unusable::Broken(why) => Some(without_number(why).into_owned()),
    }
}
