//! What the benchmarks are made of: an environment to be measured on, and a way to measure.
//!
//! [`environment`] writes a path entry with as many distributions as are asked for, the same
//! bytes each time; [`measure`] starts a process and tells how long it took and how much memory it
//! had; [`machine`] finds the programs and keeps the caller's settings from them; `scratch` makes the
//! directory to work in; `slow_fs` serves a directory as a slow network would. What is compared with
//! what is the business of the programs: `src/bin/ratios` (the command), `src/bin/readers` (the
//! Python reader), `src/bin/watch` (the watcher), and `src/bin/study` (the ways of caching, of which
//! `src/bin/strategies` has those in Rust).
//!
//! Nothing here is a test with a time limit: a busy machine makes every number wrong, so the
//! program prints ratios of things measured in turn, in one run, and leaves the judging to who reads.

pub mod environment;
pub mod machine;
pub mod measure;
#[cfg(unix)]
pub mod scratch;
#[cfg(target_os = "linux")]
pub mod slow_fs;
