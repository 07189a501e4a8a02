//! The command line: its words, and the texts of `--help`.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
#[cfg(feature = "watch")]
use clap::value_parser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use epcache::Mode;
use std::ffi::OsString;
use std::path::PathBuf;
#[cfg(feature = "watch")]
use std::time::Duration;

/// updatedb and locate for Python entry points
///
/// Which plugins are installed, answered without reading every package: 'epcache sync' refreshes a
/// cache, everything else answers from it. An answer is always what importlib.metadata would give;
/// the cache only makes it faster.
#[derive(Debug, Parser)]
#[command(
    name = "epcache",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 found or done; 1 nothing found, or verify found a difference; 2 an error."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every subcommand takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// This directory, egg or zip, verbatim, instead of an interpreter's sys.path (repeatable)
    #[arg(long = "path", value_name = "DIR", value_hint = ValueHint::AnyPath, global = true, help_heading = "Which environment")]
    pub(crate) path: Vec<OsString>,
    /// The sys.path of this interpreter
    #[arg(
        long,
        value_name = "EXE",
        value_hint = ValueHint::CommandName,
        global = true,
        help_heading = "Which environment"
    )]
    pub(crate) python: Vec<OsString>,
    /// The sys.path of this virtual environment; by default the active one, then .venv here or
    /// above, then python3 on PATH
    #[arg(
        long,
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        global = true,
        help_heading = "Which environment"
    )]
    pub(crate) venv: Vec<PathBuf>,
    /// Treat DIR as the root of the file system, for image and package builds
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, global = true, help_heading = "Which environment", conflicts_with_all = ["python", "venv"])]
    pub(crate) root: Option<PathBuf>,
    /// Use this cache root and no other (also: EPCACHE_PATH, a list)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, global = true, help_heading = "Which cache")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// How much is checked before the cache is believed (also: EPCACHE_MODE)
    #[arg(
        long,
        value_name = "MODE",
        value_parser = PossibleValuesParser::new(modes()).try_map(|mode| mode.parse::<Mode>()),
        global = true,
        help_heading = "Which cache"
    )]
    pub(crate) mode: Option<Mode>,
    /// Output format; by default table on a terminal, plain (tab separated) otherwise
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        global = true,
        help_heading = "Output"
    )]
    pub(crate) format: Option<Format>,
    /// No warnings, notes and progress, and of 'sync' and 'prune' no report
    #[arg(
        short,
        long,
        global = true,
        help_heading = "Output",
        conflicts_with = "verbose"
    )]
    pub(crate) quiet: bool,
    /// Say more: what in the cache is not used and why, path entries that do not exist, and what
    /// --dry-run would write
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) verbose: bool,
    /// Colors: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        global = true,
        help_heading = "Output"
    )]
    pub(crate) color: When,
}

/// The modes, each with what it means.
fn modes() -> [PossibleValue; 4] {
    [
        (
            "exact",
            "Each path entry and each distribution (the default)",
        ),
        ("fast", "Each path entry only"),
        ("only", "Nothing: path entries are not looked at"),
        ("off", "No cache is used"),
    ]
    .map(|(mode, help)| PossibleValue::new(mode).help(help))
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tab separated; in a field, tab, newline, carriage return and backslash are \t, \n, \r and
    /// \\, other control characters \x and two digits
    Plain,
    /// One list; of 'paths' one object
    Json,
    /// One object a line
    Jsonl,
    /// Aligned columns that fit the terminal
    Table,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Refresh the cache of an environment
    ///
    /// Copies each distribution's entry_points.txt into the cache and derives an index from them.
    /// Reads only what changed, and writes nothing where nothing did.
    #[command(after_help = "Example: epcache sync --venv .venv")]
    Sync(SyncOptions),
    /// Entry points: all, those of a group, or one by name
    #[command(
        after_help = "Example: epcache query console_scripts\n         epcache query --format json pytest11"
    )]
    Query {
        /// Only this group
        group: Option<String>,
        /// Only this name in it
        name: Option<String>,
    },
    /// The groups, with the number of entry points in each
    #[command(after_help = "Example: epcache groups --venv .venv")]
    Groups,
    /// The distributions, with the number of entry points that each declares
    #[command(after_help = "Example: epcache dists --format jsonl | grep '\"shadowed\":true'")]
    Dists,
    /// For every path entry: which root answers, fresh or stale and why, what is not trusted
    #[command(after_help = "Example: epcache status --venv .venv")]
    Status,
    /// Compare the cache with the sources, byte for byte
    ///
    /// Exits with 1 on any difference, and if there is nothing to compare with.
    #[command(after_help = "Example: epcache verify --repair")]
    Verify {
        /// Remove what differs and sync again
        #[arg(long)]
        repair: bool,
    },
    /// Remove mirrors whose path entry is gone, and leftovers of killed writers
    #[command(after_help = "Example: epcache prune --dry-run")]
    Prune {
        /// Only say what would be removed
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Keep the cache current, until it is stopped
    ///
    /// Waits for packages to come and go, and syncs what changed, in the foreground. Several
    /// environments can be named at once, with --venv, --python and --path; without any, those of
    /// [watch] in epcache.ini are meant, else the one that 'sync' would take. Ends after SIGTERM or
    /// SIGINT (Ctrl-C); reads the configuration again after SIGHUP.
    #[cfg(feature = "watch")]
    #[command(
        after_help = "Example: epcache watch --venv ~/one/.venv --venv ~/two/.venv\n         systemctl --user enable --now epcache-watch"
    )]
    Watch(WatchOptions),
    /// Where things are: roots, mirrors, configuration, the interpreter and its sys.path
    #[command(after_help = "Example: epcache paths --python python3.13")]
    Paths,
    /// A completion script for a shell
    #[command(
        after_help = "Example: mkdir -p ~/.local/share/bash-completion/completions\n         epcache completions bash > ~/.local/share/bash-completion/completions/epcache"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// The manual page, or all of them into a directory
    #[command(
        after_help = "Example: epcache man | man -l -\n         epcache man /usr/local/share/man/man1"
    )]
    Man {
        /// Write epcache.1 and a page for each subcommand here; the directory must exist
        #[arg(value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SyncOptions {
    /// Only say what would be written and removed
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Return at once, and go on without terminal and output
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) background: bool,
    /// Into the user's root (the default)
    #[arg(long, conflicts_with_all = ["system", "vendor"])]
    pub(crate) user: bool,
    /// Into the system's root, /var/cache/epcache: the well-known site directories and those of the
    /// configuration; starts no Python
    #[arg(long, conflicts_with = "vendor")]
    pub(crate) system: bool,
    /// Into the vendor root, /usr/share/epcache: mirror files only, for a package build
    #[arg(long)]
    pub(crate) vendor: bool,
    /// With --vendor: also a sealed index, which vouches for an image that holds both
    #[arg(long)]
    pub(crate) seal: bool,
}

#[cfg(feature = "watch")]
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchOptions {
    /// Sync, and exit when there is nothing more to do
    #[arg(long)]
    pub(crate) once: bool,
    /// How long it must have been quiet before a sync, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = value_parser!(u64).range(..=60_000))]
    pub(crate) debounce: u64,
    /// Wait for no events, but look at each path entry every SECONDS [default: 5]; what there are no
    /// events of (network file systems, FUSE, overlays) is polled in any case
    #[arg(long, value_name = "SECONDS", require_equals = true, value_parser = interval)]
    pub(crate) poll: Option<Option<Duration>>,
    /// Into the user's root (the default)
    #[arg(long, conflicts_with = "system")]
    pub(crate) user: bool,
    /// Into the system's root, /var/cache/epcache: the well-known site directories and those of the
    /// configuration; starts no Python
    #[arg(long)]
    pub(crate) system: bool,
}

/// An interval of polling: not so short that it is all that the machine does, nor longer than a day.
#[cfg(feature = "watch")]
fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match seconds {
        0.1..=86_400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not between 0.1 and 86400 seconds".to_owned()),
    }
}
