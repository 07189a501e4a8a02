//! `study`: which way of caching entry points is worth it, measured against the rejected ones and
//! the rivals.
//!
//! `measured` measures and writes records, one JSON object a line; `report` makes the document and
//! its plots from these alone.
//!
//! ```text
//! cargo run --release -p epcache-benches --bin study
//! ```

#[cfg(target_os = "linux")]
mod measured;
mod report;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    measured::main()
}

/// Elsewhere there is no `strace`, no FUSE, and no page cache that can be dropped.
#[cfg(not(target_os = "linux"))]
fn main() -> anyhow::Result<()> {
    eprintln!("only Linux is measured on; this writes the report of what was measured there");
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    report::write(&docs.join("benchmarks/results.jsonl"), &docs)
}
