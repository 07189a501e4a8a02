//! The watcher's log: lines on standard error; where that is the journal, entries with fields. A message
//! says everything by itself; its fields say it once more for programs, and are not in the lines.
//!
//! Whoever logs a name that comes from the file system escapes it first.

use crate::cli::{Global, When};
use rustix::fs::fstat;
use std::fmt::Debug;
use std::io::{self, IsTerminal};
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What the fields of an entry in the journal begin with, and the name of the program there.
const FIELD_PREFIX: &str = "EPCACHE";
const IDENTIFIER: &str = "epcache";

/// From now on, what is logged is written.
pub(super) fn start(global: &Global) {
    let level = match global {
        Global { quiet: true, .. } => LevelFilter::WARN,
        Global { verbose: true, .. } => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    // Fails only if it was done before.
    let _ = match journal() {
        Some(journal) => tracing_subscriber::registry()
            .with(level)
            .with(journal)
            .try_init(),
        None => tracing_subscriber::fmt()
            .with_max_level(level)
            .with_target(false)
            .fmt_fields(debug_fn(message_alone))
            .with_ansi(color(global))
            .with_writer(io::stderr)
            // It would say on standard error that standard error is closed.
            .log_internal_errors(false)
            .finish()
            .try_init(),
    };
}

fn message_alone(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        _ => Ok(()),
    }
}

/// The journal, if that is what standard error leads to: systemd says in `JOURNAL_STREAM` which file
/// that would be (see systemd.exec(5)).
fn journal() -> Option<tracing_journald::Layer> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let stat = fstat(io::stderr()).ok()?;
    if stream != format!("{}:{}", stat.st_dev, stat.st_ino) {
        return None;
    }
    let journal = tracing_journald::layer().ok()?;
    let journal = journal.with_field_prefix(Some(FIELD_PREFIX.to_owned()));
    Some(journal.with_syslog_identifier(IDENTIFIER.to_owned()))
}

fn color(global: &Global) -> bool {
    match global.color {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            io::stderr().is_terminal() && !no_color
        }
    }
}
