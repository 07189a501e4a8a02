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
