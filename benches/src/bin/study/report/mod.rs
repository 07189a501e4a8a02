//! The document of the study, made from its records: tables, plots, and the sentences about them.
//!
//! `benches/templates/benchmarks.md` is the prose. What it says in numbers stands in it as
//! placeholders (`template.rs`), which are filled in from `results.jsonl` (`data.rs`), so that the
//! document can't differ from the data: with numbers, tables (`tables.rs`, `near.rs`, `tried.rs`) and plots (`figures.rs`).
//! `words.rs` knows how things are called.

mod data;
mod drawing;
mod figures;
mod near;
mod plot;
mod tables;
mod template;
#[cfg(test)]
mod tests;
mod tried;
mod words;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use data::Results;
use template::Of;

const TEMPLATE: &str = include_str!("../../../../templates/benchmarks.md");

/// Writes the document and its plots into `out_dir`, from the records in `results`.
///
/// # Errors
/// The records can't be read, or a datum that the document names is not among them.
pub(crate) fn write(results: &Path, out_dir: &Path) -> Result<()> {
    let text =
        fs::read_to_string(results).with_context(|| format!("read {}", results.display()))?;
    let results = Results::parse(&text)?;
    // All of it before anything is written: a document and plots of different data are worth nothing.
    let document = template::fill(TEMPLATE, &results, Of::Everything)?;
    let figures = figures::all(&results)?;
    let directory = out_dir.join("benchmarks");
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    for (name, svg) in figures {
        write_file(&directory.join(format!("{name}.svg")), &svg)?;
    }
    write_file(&out_dir.join("benchmarks.md"), &document)
}

/// The document of what was measured, dashes for the rest: to see that records can be read and shown.
///
/// # Errors
/// A record or a placeholder can't be read.
#[cfg(target_os = "linux")]
pub(crate) fn try_out(results: &Path) -> Result<String> {
    let text =
        fs::read_to_string(results).with_context(|| format!("read {}", results.display()))?;
    template::fill(TEMPLATE, &Results::parse(&text)?, Of::Parts)
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
