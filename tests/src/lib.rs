//! What every whole-system test needs: the real command, built once, and a scratch directory.
//!
//! One folder of helpers for all tests: `command` runs the binary, the other modules (one noun
//! each) build what it is run on and ask CPython what is true.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that fails should stop its test there"
)]

pub mod command;
pub mod deb;
pub mod environment;
pub mod generate;
pub mod judge;
pub mod mount;
pub mod oracle;
pub mod process;
pub mod reader;
pub mod rpm;
pub mod scene;
pub mod skip;
pub mod strace;
pub mod talk;
pub mod tools;
pub mod user;
pub mod watcher;
pub mod wheel;

pub use command::{binary, epcache};
