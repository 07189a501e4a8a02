//! Watching: which path entries have changed and are to be synced again, and when their set has to be
//! found anew.
//!
//! One thread of [`notify`] receives what the kernel tells and notes what matters of it (`pending`);
//! whoever owns the [`Watcher`] sleeps until that is [due](Watcher::due), [takes](Watcher::take) it,
//! and syncs. Nothing here syncs or resolves: a watcher only says when. Few things are watched
//! (`place`), and what the kernel tells nothing of is polled (`polled`, `filesystem`).
//!
//! No answer depends on any of this: a change that nobody noticed leaves an index stale, which every
//! reader sees for itself.

mod filesystem;
mod pending;
mod place;
mod polled;

use crate::path_entry::PathEntry;
use crate::walk::Place as Inode;
use crate::watchers::How;
use notify::event::EventKindMask;
use notify::{Config, Error, ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use pending::{Changed, Pending};
use place::{Concern, Developed, Place, Plan};
use polled::Polled;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest that a change waits for an end of the changes, in a steady stream of them.
const LONGEST: Duration = Duration::from_secs(1);

/// After how long without a change a path entry is looked at once more, and no longer counts as one
/// that packages are being installed into. An installer that fills a metadata directory pauses for
/// less (dpkg: up to half a second); one on a slow network file system may take some seconds.
pub const QUIET_AFTER_INSTALL: Duration = Duration::from_secs(10);

/// How often what is to be watched is found anew, if each time it has changed meanwhile, before
/// something else is done.
const MAX_PLANS: u32 = 5;

/// The events that are asked for. Not that a file was opened, which each start of a Python does many
/// times; and not each single write to a file, where the system tells when it was closed.
fn events() -> EventKindMask {
    let of_names = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME;
    let of_contents = match cfg!(target_os = "linux") {
        true => EventKindMask::ACCESS_CLOSE,
        false => EventKindMask::MODIFY_DATA,
    };
    of_names | of_contents | EventKindMask::MODIFY_META
}

/// How it is watched.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long it must have been quiet before changes are due.
    pub debounce: Duration,
    /// Wait for no events, but look at everything in intervals.
    pub poll_all: bool,
    /// How long such an interval is, also for that which there are no events of.
    pub interval: Duration,
}

/// What is to be done, by a [`Watcher`]'s word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The numbers of the path entries that are to be synced.
    pub path_entries: BTreeSet<usize>,
    /// Whether there may be other path entries now.
    pub resolve: bool,
}

/// What its user should know of a watcher. What holds for long is said once, until it no longer does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Notice {
    /// The kernel gives no more watches: some path entries are polled.
    TooManyWatches,
    /// The kernel gives no more instances: everything is polled.
    TooManyInstances,
    /// There are no events at all, for this reason: everything is polled.
    NoEvents(String),
    /// This can't be watched, for this reason; if it is a path entry, it is polled.
    NotWatched(PathBuf, String),
    /// This is on a file system of this name, which others can change unseen, and is polled too.
    ChangedElsewhere(PathBuf, &'static str),
    /// Events were lost, as there were too many at once: everything is looked at.
    Lost,
    /// No events could be received, for this reason: everything is looked at.
    Trouble(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyWatches => f.write_str(
                "the limit of watches is reached, so what is beyond is polled; raise it with 'sysctl fs.inotify.max_user_watches=524288' (see sysctl.d(5)), or end other programs that watch files",
            ),
            Self::TooManyInstances => f.write_str(
                "the limit of programs that watch files (or of open files) is reached, so everything is polled; raise it with 'sysctl fs.inotify.max_user_instances=1024' (see sysctl.d(5)), or end other such programs",
            ),
            Self::NoEvents(why) => write!(f, "no events ({why}), so everything is polled"),
            Self::NotWatched(path, why) => {
                write!(f, "{}: can't be watched, so path entries there are polled: {why}", path.display())
            }
            Self::ChangedElsewhere(path, system) => write!(
                f,
                "{}: on {system}, where changes made elsewhere cause no events, so it is polled too",
                path.display()
            ),
            Self::Trouble(why) => write!(
                f,
                "events could not be received, so everything is looked at: {why}"
            ),
            Self::Lost => f.write_str(
                "events were lost, so everything is looked at; if this is often: 'sysctl fs.inotify.max_queued_events=65536'",
            ),
        }
    }
}

/// Watches path entries, and what decides which there are.
pub struct Watcher {
    options: Options,
    /// Shared with the thread that receives events.
    pending: Arc<Mutex<Pending>>,
    /// Nothing if everything is polled.
    notify: Option<RecommendedWatcher>,
    path_entries: Vec<PathEntry>,
    deciders: Vec<PathBuf>,
    developed: Developed,
    plan: Plan,
    /// What was watched under each path.
    watched: HashMap<PathBuf, Inode>,
    /// The places that could not be watched.
    unwatched: BTreeSet<PathBuf>,
    polled: Vec<Polled>,
    next_poll: Option<Instant>,
    /// When a path entry is looked at once more, after its last change.
    last_looks: BTreeMap<usize, Instant>,
    notices: Vec<Notice>,
    /// The notices that were given and still hold.
    given: HashSet<Notice>,
}

impl Watcher {
    /// One that watches nothing yet. `wake` is called, from another thread, when something becomes
    /// [due](Self::due) that was not before.
    pub fn new(options: Options, wake: impl Fn() + Send + 'static) -> Self {
        let pending = Arc::new(Mutex::new(Pending::default()));
        let mut watcher = Self {
            options,
            pending: Arc::clone(&pending),
            notify: None,
            path_entries: Vec::new(),
            deciders: Vec::new(),
            developed: Developed::default(),
            plan: Plan::default(),
            watched: HashMap::new(),
            unwatched: BTreeSet::new(),
            polled: Vec::new(),
            next_poll: None,
            last_looks: BTreeMap::new(),
            notices: Vec::new(),
            given: HashSet::new(),
        };
        if !options.poll_all {
            watcher.receive(pending, wake);
        }
        watcher
    }

    /// Has events received, where that is possible.
    fn receive(&mut self, pending: Arc<Mutex<Pending>>, wake: impl Fn() + Send + 'static) {
        let handler = move |event: Result<Event, Error>| {
            let now = Instant::now();
            let mut pending = lock(&pending);
            let first = match event {
                Ok(event) => pending.event(&event, now),
                Err(error) => pending.trouble(reason(&error), now),
            };
            drop(pending);
            if first {
                wake();
            }
        };
        let config = Config::default().with_event_kinds(events());
        match RecommendedWatcher::new(handler, config) {
            Ok(notify) => self.notify = Some(notify),
            Err(error) => self.give(match &error.kind {
                ErrorKind::Io(io) if is_too_many_files(io) => Notice::TooManyInstances,
                _ => Notice::NoEvents(reason(&error)),
            }),
        }
    }

    /// From now on watches these path entries. `deciders` are the other files and directories that
    /// decide which path entries there are: of a file its contents, of a directory the names in it, of
    /// what is missing that it appears.
    ///
    /// All of the path entries are due then, and to resolve once more: what changed before they were
    /// watched was not seen.
    ///
    /// Gives whether they are other ones than before; if not, nothing is due.
    pub fn watch(&mut self, path_entries: Vec<PathEntry>, deciders: Vec<PathBuf>) -> bool {
        if path_entries == self.path_entries && deciders == self.deciders {
            return false;
        }
        self.path_entries = path_entries;
        self.deciders = deciders;
        self.plan = Plan::default();
        self.developed = Developed::default();
        self.last_looks.clear();
        lock(&self.pending).set_path_entries(&self.path_entries);
        self.all_due();
        true
    }

    /// Makes all path entries due, and to resolve.
    pub fn all_due(&mut self) {
        let mut pending = lock(&self.pending);
        let long_ago = Instant::now().checked_sub(LONGEST.max(self.options.debounce));
        let long_ago = long_ago.unwrap_or_else(Instant::now);
        pending.resolve(long_ago);
        (0..self.path_entries.len()).for_each(|number| pending.path_entry(number, long_ago));
    }

    /// When something is to be [taken](Self::take), by what is known now; nothing if only an event can
    /// bring something.
    pub fn due(&self) -> Option<Instant> {
        let changes = lock(&self.pending).due(self.options.debounce, LONGEST);
        let last_look = self.last_looks.values().min().copied();
        [changes, last_look, self.next_poll]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether changes wait to be taken.
    pub fn is_idle(&self) -> bool {
        lock(&self.pending)
            .due(self.options.debounce, LONGEST)
            .is_none()
    }

    /// Takes what is due, after it was seen to that whatever happens from now on is noticed: so the
    /// path entries have to be synced after this. Polls, if it is time for that.
    pub fn take(&mut self) -> Changes {
        let now = Instant::now();
        if self.next_poll.is_some_and(|next| next <= now) {
            self.poll(now);
        }
        let mut due = self.last_looks_due(now);
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let mut changed = Changed::default();
        let changes_due = is_due(lock(&self.pending).due(self.options.debounce, LONGEST));
        if changes_due {
            changed = lock(&self.pending).take();
        }
        if !changes_due && due.is_empty() {
            return Changes::default();
        }
        if changed.everything {
            let trouble = changed.trouble.take();
            let notice = trouble.map_or(Notice::Lost, Notice::Trouble);
            self.notices.push(notice);
            self.forget_watches();
            changed.path_entries.extend(0..self.path_entries.len());
        }
        let replaced = self.update();
        changed.path_entries.extend(replaced);
        let again = now + QUIET_AFTER_INSTALL;
        let again = changed.path_entries.iter().map(|number| (*number, again));
        self.last_looks.extend(again);
        due.extend(changed.path_entries);
        Changes {
            path_entries: due,
            resolve: changed.resolve || changed.everything,
        }
    }

    /// What its user should know and was not told yet.
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// How a path entry is watched.
    pub fn how(&self, number: usize) -> How {
        match self
            .polled
            .iter()
            .any(|polled| polled.path_entry == Some(number))
        {
            true => How::Polled(self.options.interval),
            false => How::Events,
        }
    }

    /// How many places are watched, and how many paths are polled.
    pub fn numbers(&self) -> (usize, usize) {
        let watched = match self.notify {
            Some(_) => self.plan.places.len() - self.unwatched.len(),
            None => 0,
        };
        (watched, self.polled.len())
    }

    /// The path entries whose last look is due; nothing in them counts as young any more.
    fn last_looks_due(&mut self, now: Instant) -> BTreeSet<usize> {
        let mut pending = lock(&self.pending);
        let mut due = BTreeSet::new();
        self.last_looks.retain(|number, at| {
            if *at <= now {
                pending.grown_up(*number);
                due.insert(*number);
            }
            *at > now
        });
        due
    }

    /// Looks at everything that is polled.
    fn poll(&mut self, now: Instant) {
        let changed = self.polled.iter_mut().filter_map(|polled| {
            let changed = polled.changed();
            changed.then_some(polled.path_entry)
        });
        let changed: Vec<_> = changed.collect();
        let mut pending = lock(&self.pending);
        for path_entry in changed {
            pending.resolve(now);
            if let Some(number) = path_entry {
                pending.path_entry(number, now);
            }
        }
        self.next_poll = Some(now + self.options.interval);
    }

    /// Watches nothing any more: with the events that were lost may be those that tell so.
    fn forget_watches(&mut self) {
        if let Some(notify) = &mut self.notify {
            for path in std::mem::take(&mut self.watched).into_keys() {
                let _ = notify.unwatch(&path); // as may well be
            }
        }
    }

    /// Watches what is to be watched now, until that stays the same; gives the path entries that are
    /// other directories or files than before.
    fn update(&mut self) -> BTreeSet<usize> {
        let before = self.plan.path_entries.clone();
        for plans in 1.. {
            let young = lock(&self.pending).young();
            let plan = Plan::of(
                &self.path_entries,
                &self.deciders,
                &young,
                &mut self.developed,
            );
            let same = plan == self.plan;
            self.plan = plan;
            if !self.apply() && same {
                break;
            }
            if plans == MAX_PLANS {
                lock(&self.pending).resolve(Instant::now()); // and so again, in a moment
                break;
            }
        }
        self.poll_the_rest();
        let now = &self.plan.path_entries;
        let is_another = |number: &usize| before.get(*number) != now.get(*number);
        (0..now.len()).filter(is_another).collect()
    }

    /// Watches the places of the plan and no others; whether one was added.
    fn apply(&mut self) -> bool {
        let Some(notify) = &mut self.notify else {
            return false;
        };
        lock(&self.pending).set_places(&self.plan);
        // It is asked for these each time: of what was deleted or unmounted it has none.
        if let Ok(alive) = notify.watched_paths() {
            let alive: HashSet<_> = alive.into_iter().map(|(path, _)| path).collect();
            self.watched.retain(|path, _| alive.contains(path));
        }
        let mut before = std::mem::take(&mut self.watched);
        let mut added = false;
        let mut failed = Vec::new();
        for Place { path, inode, .. } in &self.plan.places {
            match before.remove(path) {
                Some(known) if known == *inode => {}
                known => {
                    if known.is_some() {
                        // It would take the path for one that is watched already.
                        let _ = notify.unwatch(path);
                    }
                    if let Err(error) = notify.watch(path, RecursiveMode::NonRecursive) {
                        failed.push((path.clone(), error));
                        continue;
                    }
                    added = true;
                }
            }
            self.watched.insert(path.clone(), *inode);
        }
        for path in before.into_keys() {
            let _ = notify.unwatch(&path); // gone meanwhile
        }
        self.note_failures(failed);
        added
    }

    /// Remembers what could not be watched, and says so.
    fn note_failures(&mut self, failed: Vec<(PathBuf, Error)>) {
        self.unwatched.clear();
        let mut notices = HashSet::new();
        for (path, error) in failed {
            match &error.kind {
                ErrorKind::PathNotFound => continue, // so there will be another plan
                ErrorKind::MaxFilesWatch => notices.insert(Notice::TooManyWatches),
                _ => notices.insert(Notice::NotWatched(path.clone(), reason(&error))),
            };
            self.unwatched.insert(path);
        }
        self.given.retain(|given| match given {
            Notice::TooManyWatches | Notice::NotWatched(..) => notices.contains(given),
            _ => true,
        });
        notices.into_iter().for_each(|notice| self.give(notice));
    }

    /// Polls what there are no events of, and goes on from what was seen last of it.
    fn poll_the_rest(&mut self) {
        let mut before: HashMap<_, _> = std::mem::take(&mut self.polled)
            .into_iter()
            .map(|polled| (polled.path.clone(), polled))
            .collect();
        for (path, path_entry) in self.without_events() {
            let known = before.remove(&path);
            let known = known.filter(|known| known.path_entry == path_entry);
            let polled = known.unwrap_or_else(|| Polled::new(&path, path_entry));
            self.polled.push(polled);
        }
        let next = Instant::now() + self.options.interval;
        self.next_poll = match self.polled.is_empty() {
            true => None,
            false => Some(self.next_poll.unwrap_or(next)),
        };
    }

    /// What there are no events of, with the numbers of path entries: where there is no watch, or
    /// others make changes unseen. Of the deciders, what is missing, unless a path entry is where it
    /// will be; the others decide of path entries that tell themselves that they were made anew.
    fn without_events(&mut self) -> Vec<(PathBuf, Option<usize>)> {
        let mut to_poll = Vec::new();
        let mut elsewhere = Vec::new();
        for (number, path_entry) in self.path_entries.iter().enumerate() {
            let path = path_entry.location();
            let system = filesystem::changed_elsewhere(path);
            if system.is_some() || !self.has_events(path, Some(number)) {
                to_poll.push((path.to_owned(), Some(number)));
            }
            elsewhere.extend(system.map(|system| (path.to_owned(), system)));
        }
        for decider in &self.deciders {
            let is_told = |entry: &PathEntry| Some(entry.location()) == decider.parent();
            if !decider.exists()
                && !self.path_entries.iter().any(is_told)
                && !self.has_events(decider, None)
            {
                to_poll.push((decider.clone(), None));
            }
        }
        if !self.options.poll_all {
            for (path, system) in elsewhere {
                self.give_for_file_system(path, system);
            }
        }
        to_poll
    }

    /// Whether what is watched tells of a path.
    fn has_events(&self, path: &Path, path_entry: Option<usize>) -> bool {
        let is_its_own = |place: &&Place| {
            path_entry.is_some_and(|it| place.concerns.contains(&Concern::PathEntry(it)))
        };
        let is_unwatched = |path: &Path| self.unwatched.contains(path);
        let is_missed = match self.plan.places.iter().find(is_its_own) {
            Some(place) => is_unwatched(&place.path),
            None => path.ancestors().any(is_unwatched),
        };
        self.notify.is_some() && !is_missed
    }

    /// Says once of a file system that it is polled.
    fn give_for_file_system(&mut self, path: PathBuf, system: &'static str) {
        let is_it = |given: &Notice| matches!(given, Notice::ChangedElsewhere(_, known) if *known == system);
        if !self.given.iter().any(is_it) {
            self.give(Notice::ChangedElsewhere(path, system));
        }
    }

    fn give(&mut self, notice: Notice) {
        if self.given.insert(notice.clone()) {
            self.notices.push(notice);
        }
    }
}

/// A lock that outlives a panic of whoever held it: what is noted is only ever added to.
fn lock(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why something can't be watched, without the path.
fn reason(error: &Error) -> String {
    match &error.kind {
        ErrorKind::Io(io) => io.to_string(),
        ErrorKind::Generic(why) => why.clone(),
        _ => error.to_string(),
    }
}

/// Whether there are too many instances, or too many open files: the kernel says the same of both.
fn is_too_many_files(error: &std::io::Error) -> bool {
    let too_many = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    too_many
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
