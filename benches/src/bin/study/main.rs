//! `study`: which way of caching entry points is worth it, measured against the rejected ones and
//! the rivals.

mod report;

use std::path::Path;

use anyhow::Result;

fn main() -> Result<()> {
    report::write(
        Path::new("docs/benchmarks/results.jsonl"),
        Path::new("docs"),
    )
}
