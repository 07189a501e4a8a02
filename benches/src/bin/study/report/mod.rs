//! The document of the study, made from its records: tables, plots, and the sentences about them.

use std::path::Path;

use anyhow::Result;

/// Writes the document and its plots into `out_dir`, from the records in `results`.
///
/// # Errors
/// The records can't be read, or a datum that the document names is not among them.
pub(crate) fn write(results: &Path, out_dir: &Path) -> Result<()> {
    anyhow::bail!(
        "no report of {} is written to {} yet",
        results.display(),
        out_dir.display()
    )
}
