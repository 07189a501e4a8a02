//! `epcache man`: the manual pages, made from the same words as `--help`.

use crate::Exit;
use crate::cli::Cli;
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::io::Write;
use std::path::Path;

pub(crate) fn run(directory: Option<&Path>) -> Result<Exit> {
    match directory {
        Some(directory) => {
            clap_mangen::generate_to(Cli::command(), directory)
                .with_context(|| format!("{}: can't write manual pages; name a directory that exists and that you can write", directory.display()))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
        }
    }
    Ok(Exit::Found)
}
