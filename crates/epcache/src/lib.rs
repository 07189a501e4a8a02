//! `updatedb` and `locate` for Python entry points: which plugins are installed, without reading
//! every distribution.
//!
//! The cache never changes an answer, only its speed; CPython's `importlib.metadata` is the judge.
//! Data goes one way through the modules, and lower ones know nothing of higher ones:
//!
//! - names and grammar: [`entry_point`], [`mod@parse`], and beside them how names of dists are read;
//! - what a path entry holds: [`path_entry`], [`scan`], and the stamps by which it is known again;
//! - where its mirror is and whether to trust it: [`layout`], `trust`;
//! - the files: `mirror`, `index`, written by one atomic writer, and `claim`;
//! - the two directions through them: [`sync`] and [`resolve`], with [`verify`] and [`prune`];
//! - beside that, which `sys.path` is meant: [`interpreter`], and who keeps it current: [`watchers`], by `watch`
//!   (with the feature of that name).
//!
//! No part prints or reads arguments, and nothing that is found on a path entry is ever imported or
//! executed.

#![warn(missing_docs)]

#[cfg(not(unix))]
compile_error!(
    "epcache knows the files of Unix only: stamps and trust rest on inodes, change times, owners and modes"
);

mod archive;
mod claim;
mod dist;
pub mod entry_point;
pub mod error;
mod headers;
mod index;
pub mod interpreter;
pub mod layout;
mod mirror;
pub mod parse;
pub mod path_entry;
pub mod problem;
pub mod prune;
pub mod resolve;
pub mod scan;
mod stamp;
pub mod sync;
mod text;
mod trust;
pub mod verify;
mod walk;
#[cfg(feature = "watch")]
pub mod watch;
pub mod watchers;
mod write;

pub use entry_point::{EntryPoint, ObjectReference};
pub use error::Error;
pub use layout::{Root, RootKind};
pub use path_entry::PathEntry;
pub use problem::{Problem, ProblemKind};
pub use resolve::{Answer, Cache, Mode, Select};
pub use trust::{Distrust, check as check_trust};
