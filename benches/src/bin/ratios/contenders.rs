//! The commands that are run against each other: what each is, and what has to be done before
//! each run so that every run is the same work.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use epcache_benches::environment::{CHANGED_GROUP, LARGE_GROUP, PathEntry, SMALL_GROUP};
use epcache_benches::machine::{self, Machine};
use epcache_benches::measure;

/// After this long a stamp is old enough to be believed, so `sync` does not wait for it: the
/// rule says 100 ms.
const STAMPS_ARE_OLD: Duration = Duration::from_millis(150);

/// What a Python program does, and nothing that it need not: the path entry alone is searched, and
/// of the answer only what costs nothing more is printed (a distribution's name would have to be
/// read from its metadata).
const PYTHON_QUERY: &str = "\
import sys
from importlib.metadata import entry_points
sys.path[:] = [sys.argv[1]]
for found in entry_points(group=sys.argv[2]):
    print(found.group, found.name, found.value, sep='\\t')
";

/// The names of the contenders, which are also the keys of the report.
pub(crate) struct Names;

impl Names {
    pub(crate) const PYTHON_SMALL: &str = "importlib.metadata, small group";
    pub(crate) const PYTHON_SCRIPTS: &str = "importlib.metadata, console_scripts";
    pub(crate) const PYTHON_LARGE: &str = "importlib.metadata, large group";
    pub(crate) const PYTHON_NOTHING: &str = "python3 -c pass";
    pub(crate) const VERSION: &str = "epcache --version";
    pub(crate) const TRUE: &str = "true";
    pub(crate) const EXACT_SMALL: &str = "query --mode exact, small group";
    pub(crate) const EXACT_SCRIPTS: &str = "query --mode exact, console_scripts";
    pub(crate) const EXACT_LARGE: &str = "query --mode exact, large group";
    pub(crate) const FAST_SMALL: &str = "query --mode fast, small group";
    pub(crate) const OFF_SMALL: &str = "query --mode off, small group";
    pub(crate) const SYNC_NOTHING: &str = "sync, nothing to do";
    pub(crate) const SYNC_FIRST: &str = "sync, first";
    pub(crate) const SYNC_CHANGED: &str = "sync, one dist changed";
}

/// One command, what has to be done before it, and how long it took each time.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) dists: usize,
    pub(crate) command: Command,
    before: Before,
    pub(crate) times: Vec<Duration>,
}

/// What is done before a run, untimed.
enum Before {
    Nothing,
    /// Move the cache away: the sync to come is a first one.
    MoveCacheAway(PathBuf),
    /// Change one distribution, and let that be long ago.
    ChangeOne(Rc<Place>),
}

impl Contender {
    /// Prepares and measures one run.
    pub(crate) fn run(&mut self, round: u32) -> Result<()> {
        self.prepare(round)?;
        let time = measure::time(&mut self.command).with_context(|| self.name)?;
        self.times.push(time);
        Ok(())
    }

    /// Does what has to be done before a run.
    pub(crate) fn prepare(&self, round: u32) -> Result<()> {
        match &self.before {
            Before::Nothing => Ok(()),
            Before::MoveCacheAway(cache) => move_away(cache),
            Before::ChangeOne(place) => {
                place.path_entry.change_one(usize::try_from(round)?)?;
                place.let_stamps_age()
            }
        }
    }
}

/// A path entry, the cache for it, and the programs to be run there.
pub(crate) struct Setting {
    place: Rc<Place>,
}

struct Place {
    path_entry: PathEntry,
    cache: PathBuf,
    home: PathBuf,
    epcache: PathBuf,
    python: PathBuf,
}

impl Place {
    /// Returns when everything that was written before is old enough to be believed.
    ///
    /// Busy all the while, because a processor that slept would be slower for the one who comes next.
    fn let_stamps_age(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < STAMPS_ARE_OLD {
            measure::time(&mut self.python_nothing())?;
        }
        Ok(())
    }

    fn python_nothing(&self) -> Command {
        let mut command = machine::command(&self.python, &self.home);
        command.args(["-c", "pass"]);
        command
    }

    /// What it takes to start the command and read its arguments.
    fn version(&self) -> Command {
        let mut command = machine::command(&self.epcache, &self.home);
        command.arg("--version");
        command
    }

    fn python_query(&self, group: &str) -> Command {
        let mut command = machine::command(&self.python, &self.home);
        command
            .args(["-c", PYTHON_QUERY])
            .arg(&self.path_entry.path)
            .arg(group);
        command
    }

    fn query(&self, mode: &str, group: &str) -> Command {
        let mut command = self.epcache("query");
        command
            .arg(group)
            .args(["--mode", mode, "--format", "plain"]);
        command
    }

    fn epcache(&self, subcommand: &str) -> Command {
        let mut command = machine::command(&self.epcache, &self.home);
        command
            .arg(subcommand)
            .arg("--path")
            .arg(&self.path_entry.path)
            .arg("--cache-dir")
            .arg(&self.cache);
        command
    }
}

impl Setting {
    pub(crate) fn new(machine: &Machine, path_entry: PathEntry, home: &Path) -> Setting {
        Setting {
            place: Rc::new(Place {
                path_entry,
                cache: home.join("cache-root"),
                home: home.to_owned(),
                epcache: machine.epcache.clone(),
                python: machine.python.clone(),
            }),
        }
    }

    pub(crate) fn let_stamps_age(&self) -> Result<()> {
        self.place.let_stamps_age()
    }

    /// Every group of the path entry, with the number of its members.
    pub(crate) fn groups(&self) -> &BTreeMap<String, usize> {
        &self.place.path_entry.groups
    }

    /// The first sync, which makes the cache that all queries find.
    pub(crate) fn sync_once(&self) -> Result<()> {
        machine::answer(&mut self.place.epcache("sync")).map(drop)
    }

    /// Asks all contenders the same questions once, and stops if an answer differs: what gives
    /// another answer is no rival.
    pub(crate) fn check_that_answers_agree(&self) -> Result<()> {
        for (group, &members) in &self.place.path_entry.groups {
            let expected = machine::answer(&mut self.place.python_query(group))?;
            ensure!(
                expected.lines().count() == members,
                "importlib.metadata finds another number than {members} in {group}"
            );
            for mode in ["exact", "fast", "only", "off"] {
                let found = machine::answer(&mut self.place.query(mode, group))?;
                ensure!(
                    found.lines().map(first_three).eq(expected.lines()),
                    "mode {mode} and importlib.metadata differ in {group}"
                );
            }
        }
        self.check_that_sync_sees_a_change()
    }

    /// A sync that overlooks a change would be fast, and no rival either.
    fn check_that_sync_sees_a_change(&self) -> Result<()> {
        let last = u32::MAX as usize;
        self.place.path_entry.change_one(last)?;
        self.place.let_stamps_age()?;
        self.sync_once()?;
        let found = machine::answer(&mut self.place.query("only", CHANGED_GROUP))?;
        ensure!(
            found.contains(&format!("round_{last}")),
            "sync did not see a change: {found:?}"
        );
        Ok(())
    }

    /// Everything that is compared at one size.
    pub(crate) fn all(&self) -> Vec<Contender> {
        let scripts = "console_scripts";
        let place = &self.place;
        vec![
            self.contender(Names::PYTHON_SMALL, place.python_query(SMALL_GROUP)),
            self.contender(Names::EXACT_SMALL, place.query("exact", SMALL_GROUP)),
            self.contender(Names::FAST_SMALL, place.query("fast", SMALL_GROUP)),
            self.contender(Names::OFF_SMALL, place.query("off", SMALL_GROUP)),
            self.contender(Names::PYTHON_SCRIPTS, place.python_query(scripts)),
            self.contender(Names::EXACT_SCRIPTS, place.query("exact", scripts)),
            self.contender(Names::PYTHON_LARGE, place.python_query(LARGE_GROUP)),
            self.contender(Names::EXACT_LARGE, place.query("exact", LARGE_GROUP)),
            self.contender(Names::PYTHON_NOTHING, place.python_nothing()),
            self.contender(Names::VERSION, place.version()),
            self.contender(
                Names::TRUE,
                machine::command(Path::new("true"), &place.home),
            ),
            self.sync_nothing(),
            self.sync_first(),
            self.sync_changed(),
        ]
    }

    /// What is compared between sizes.
    pub(crate) fn growing(&self) -> Vec<Contender> {
        let place = &self.place;
        vec![
            self.contender(Names::PYTHON_SMALL, place.python_query(SMALL_GROUP)),
            self.contender(Names::EXACT_SMALL, place.query("exact", SMALL_GROUP)),
            self.contender(Names::FAST_SMALL, place.query("fast", SMALL_GROUP)),
            self.sync_nothing(),
            self.sync_first(),
        ]
    }

    fn sync_nothing(&self) -> Contender {
        self.contender(Names::SYNC_NOTHING, self.place.epcache("sync"))
    }

    fn sync_first(&self) -> Contender {
        Contender {
            before: Before::MoveCacheAway(self.place.cache.clone()),
            ..self.contender(Names::SYNC_FIRST, self.place.epcache("sync"))
        }
    }

    fn sync_changed(&self) -> Contender {
        Contender {
            before: Before::ChangeOne(Rc::clone(&self.place)),
            ..self.contender(Names::SYNC_CHANGED, self.place.epcache("sync"))
        }
    }

    fn contender(&self, name: &'static str, command: Command) -> Contender {
        Contender {
            name,
            dists: self.place.path_entry.dists,
            command,
            before: Before::Nothing,
            times: Vec::new(),
        }
    }
}

/// Group, name and value of a line of `epcache query --format plain`, which goes on with the
/// distribution.
fn first_three(line: &str) -> &str {
    line.match_indices('\t')
        .nth(2)
        .map_or(line, |(end, _)| &line[..end])
}

/// Moves a directory to where nobody looks for it.
///
/// Not removed: for five seconds after many files are removed, ext4 searches long for the inode of
/// each new one (`recently_deleted` in `fs/ext4/ialloc.c`), and no first sync outside of a benchmark
/// follows the removal of a thousand files.
fn move_away(dir: &Path) -> Result<()> {
    let parent = dir.parent().context("a cache has a parent")?;
    let away = tempfile::Builder::new()
        .prefix("away-")
        .tempdir_in(parent)?
        .keep();
    match fs::rename(dir, away.join("cache")) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("move {}", dir.display()))
        }
        _ => Ok(()),
    }
}
