//! `epcache watch`: keep the cache current.
//!
//! The library's watcher says what has changed, this syncs it: one loop in one thread, which sleeps
//! until something is due, an event or a signal arrives. Nothing in it waits without a bound but for
//! those.

mod environments;
mod failures;
mod log;
mod service;

use crate::Exit;
use crate::cli::{Global, WatchOptions};
use crate::commands::sync::What;
use crate::output::{escaped, shown, without_number};
use crate::setting::Setting;
use anyhow::Result;
use environments::Environments;
use epcache::sync::{Done, Outcome, Sync};
use epcache::watch::{self, Changes, QUIET_AFTER_INSTALL, Watcher};
use epcache::watchers::Announcement;
use epcache::{Error, PathEntry, Root, RootKind};
use failures::{Failures, Subject};
use service::{Manager, Stop};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How often is looked at what there are no events of: network file systems, which remember what they
/// saw for about as long.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a sync waits for one path entry in which things go on changing; others wait with it. Its
/// own events, or a retry, bring it back.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often in a row path entries are found anew at once, if each time they are other ones, and how
/// often after that: a Python whose start-up code makes up its `sys.path` each time must not keep this
/// busy.
const MAX_NEW_SETS: u32 = 5;
const BETWEEN_NEW_SETS: Duration = Duration::from_secs(1);

/// How many problems are remembered as said; more is no memory but a leak.
const MAX_SAID: usize = 10_000;

/// What wakes the loop.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    /// Something has become due.
    Changed,
    /// The configuration is to be read again.
    Reload,
    Stop,
}

pub(crate) fn run(global: Global, options: &WatchOptions) -> Result<Exit> {
    log::start(&global);
    let (sender, messages) = mpsc::channel();
    let stop = service::forward_signals(sender.clone())?;
    let mut daemon = Daemon::new(global, options, stop, sender)?;
    daemon.run(&messages)
}

struct Daemon {
    global: Global,
    kind: RootKind,
    once: bool,
    polls_all: bool,
    stop: Stop,
    setting: Setting,
    root: Root,
    sync: Sync,
    announcement: Announcement,
    environments: Environments,
    path: Vec<PathEntry>,
    watcher: Watcher,
    failures: Failures,
    manager: Manager,
    is_announced: bool,
    /// How often the path entries were other ones, in a row, and when they are found anew if that was
    /// put off.
    new_sets: u32,
    resolve_at: Option<Instant>,
    /// What was said of dists and indexes.
    said: HashSet<String>,
}

/// What is made of the configuration, and made anew when that is read again.
struct Made {
    setting: Setting,
    root: Root,
    sync: Sync,
    environments: Environments,
}

impl Made {
    fn new(global: &Global, kind: RootKind, once: bool) -> Result<Self> {
        let setting = Setting::for_several(global.clone())?;
        for not_used in setting.config.not_used() {
            tracing::warn!("{}", escaped(&not_used));
        }
        let root = setting.root(kind)?;
        let sync = Sync::new(root.clone(), &setting.roots, setting.global.root.as_deref())?;
        let sync = match once {
            true => sync, // there is no later sync
            false => sync.installing(QUIET_AFTER_INSTALL).patience(PATIENCE),
        };
        let environments = Environments::new(setting.environments(kind)?);
        Ok(Self {
            setting,
            root,
            sync,
            environments,
        })
    }

    fn announcement(&self) -> Announcement {
        Announcement::new(&self.root, self.setting.global.root.as_deref())
    }
}

impl Daemon {
    fn new(
        global: Global,
        options: &WatchOptions,
        stop: Stop,
        messages: Sender<Message>,
    ) -> Result<Self> {
        let kind = match options.system {
            true => RootKind::System,
            false => RootKind::User,
        };
        let made = Made::new(&global, kind, options.once)?;
        let announcement = made.announcement();
        let wake = move || {
            let _ = messages.send(Message::Changed); // nobody listens once it has ended
        };
        let mut daemon = Self {
            watcher: Watcher::new(options.of_watcher(), wake),
            global,
            kind,
            once: options.once,
            polls_all: options.poll.is_some(),
            stop,
            setting: made.setting,
            root: made.root,
            sync: made.sync,
            announcement,
            environments: made.environments,
            path: Vec::new(),
            failures: Failures::default(),
            manager: Manager::new(),
            is_announced: false,
            new_sets: 0,
            resolve_at: None,
            said: HashSet::new(),
        };
        daemon.find_path_entries()?;
        daemon.watch();
        Ok(daemon)
    }

    /// Until it is to stop.
    fn run(&mut self, messages: &Receiver<Message>) -> Result<Exit> {
        loop {
            let is_done = self.act();
            if self.stop.is_asked_for() {
                break;
            }
            if self.once && is_done && self.watcher.is_idle() {
                return Ok(Exit::of_doing(self.failures.are_there()));
            }
            if self.wait(messages) == Some(Message::Reload) {
                self.reload();
            }
        }
        self.manager.stopping();
        tracing::info!("stopped");
        Ok(Exit::Found)
    }

    /// Sleeps until something is due, or a message comes.
    fn wait(&mut self, messages: &Receiver<Message>) -> Option<Message> {
        let deadlines = [
            self.watcher.due(),
            self.failures.next(),
            self.resolve_at,
            self.manager.next_ping(),
        ];
        let message = match deadlines.into_iter().flatten().min() {
            Some(deadline) => {
                messages.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            }
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        self.manager.ping();
        message.ok()
    }

    /// Does what is due; whether nothing more is, as far as is known.
    fn act(&mut self) -> bool {
        let changes = self.watcher.take();
        let now = Instant::now();
        let retried = self.failures.due(now);
        let put_off = self.resolve_at.is_some_and(|at| at <= now);
        if changes == Changes::default() && retried.is_empty() && !put_off && self.is_announced {
            return true;
        }
        self.give_notices();
        let is_environment = |subject: &Subject| matches!(subject, Subject::Environment(_));
        let resolves = changes.resolve || put_off || retried.iter().any(is_environment);
        if resolves && self.resolve(now) {
            return false; // all are due now
        }
        if self.announcement.was_removed() && self.makes_cache_anew() {
            return false; // the same
        }
        let mut numbers = changes.path_entries;
        numbers.extend(self.numbers_of(&retried));
        let mut numbers: Vec<_> = numbers.into_iter().collect();
        // First those that will not take long.
        numbers.sort_by_key(|number| self.failures.has(&self.subject(*number)));
        for number in numbers {
            if self.stop.is_asked_for() {
                return true; // what is left is synced at the next start
            }
            self.sync(number);
            self.manager.ping();
        }
        self.announce();
        true
    }

    /// Says again that this watches, as somebody has removed that, and probably all else in the root.
    /// Whether that could be written; if so, all path entries are due.
    fn makes_cache_anew(&mut self) -> bool {
        self.announce();
        let is_anew = !self.announcement.was_removed();
        if is_anew {
            tracing::info!("the cache was removed; making it anew");
            self.watcher.all_due();
        }
        is_anew
    }

    fn subject(&self, number: usize) -> Subject {
        Subject::PathEntry(self.path[number].as_os_str().to_owned())
    }

    fn numbers_of(&self, subjects: &[Subject]) -> BTreeSet<usize> {
        (0..self.path.len())
            .filter(|number| subjects.contains(&self.subject(*number)))
            .collect()
    }

    /// Finds the path entries anew, or puts that off; whether they are other ones, which are all due
    /// then.
    fn resolve(&mut self, now: Instant) -> bool {
        if self.new_sets >= MAX_NEW_SETS && self.resolve_at.is_none_or(|at| at > now) {
            self.resolve_at = self.resolve_at.or(Some(now + BETWEEN_NEW_SETS));
            return false;
        }
        self.resolve_at = None;
        if let Err(error) = self.find_path_entries() {
            environments::say_of_hopeless(&error);
        }
        let is_new = self.watch();
        self.new_sets = if is_new { self.new_sets + 1 } else { 0 };
        is_new
    }

    fn find_path_entries(&mut self) -> Result<()> {
        let (stop, manager) = (&self.stop, &mut self.manager);
        let go_on = || {
            manager.ping();
            !stop.is_asked_for()
        };
        self.environments
            .resolve(&self.setting, &mut self.failures, go_on)
    }

    /// Watches what the environments have now; whether that is something else than before.
    fn watch(&mut self) -> bool {
        self.path = self.environments.path();
        let path = &self.path;
        self.failures.retain(|subject| match subject {
            Subject::PathEntry(known) => path.iter().any(|entry| entry.as_os_str() == known),
            Subject::Environment(_) | Subject::Announcement => true,
        });
        let mut deciders = self.environments.deciders();
        if !self.polls_all {
            // Whoever removes the cache removes what this says there, too.
            deciders.push(Announcement::directory_in(&self.root));
        }
        let is_new = self.watcher.watch(self.path.clone(), deciders);
        self.is_announced &= !is_new;
        is_new
    }

    /// Reads the configuration again. If that fails, all stays as it is.
    fn reload(&mut self) {
        self.manager.reloading();
        match Made::new(&self.global, self.kind, self.once) {
            Ok(made) => {
                if made.root != self.root {
                    self.announcement = made.announcement();
                }
                self.setting = made.setting;
                self.root = made.root;
                self.sync = made.sync;
                self.environments = made.environments;
                self.failures = Failures::default();
                self.new_sets = 0;
                self.resolve(Instant::now());
                self.watcher.all_due();
                tracing::info!("configuration read again");
            }
            Err(error) => {
                tracing::error!("{}; all stays as it is", escaped(&format!("{error:#}")));
                self.manager.ready();
            }
        }
    }

    fn sync(&mut self, number: usize) {
        let subject = self.subject(number);
        if !self.failures.may_try(&subject) {
            return; // it is tried soon
        }
        let path_entry = self.path[number].clone();
        let start = Instant::now();
        match self.sync.path_entry(&path_entry) {
            Err(error) => self.failed(subject, reason(&error), &error.to_string()),
            Ok(outcome) => match &outcome.done {
                Done::NotCached(why) if can_not_be_read(path_entry.location()) => {
                    let name = path_entry.as_os_str().display();
                    let message = format!("{name}: {why}; make it readable");
                    self.failed(subject, why.clone(), &message);
                }
                _ => {
                    let gone = match outcome.settled {
                        true => self.failures.works(&subject),
                        false => self.failures.unsettled(&subject),
                    };
                    works_again(gone);
                    self.tell(&outcome, start.elapsed());
                }
            },
        }
    }

    fn failed(&mut self, subject: Subject, reason: String, message: &str) {
        let message = escaped(&without_number(message)).into_owned();
        if self.failures.failed(subject, reason, Duration::ZERO) {
            tracing::error!("{message}; trying again from time to time");
        } else {
            tracing::debug!("{message}");
        }
    }

    /// Says what a sync did, and what is wrong with what it found.
    fn tell(&mut self, outcome: &Outcome, took: Duration) {
        let done = <&str>::from(What::of(&outcome.done));
        let path_entry = shown_name(&outcome.path_entry);
        let (written, removed) = (outcome.written.len(), outcome.removed.len());
        let (dists, ms) = (outcome.dists, took.as_millis() as u64);
        let message = format!(
            "synced path_entry={path_entry} done={done} dists={dists} written={written} removed={removed} ms={ms}"
        );
        if outcome.done == Done::Refreshed {
            tracing::info!(%path_entry, done, dists, written, removed, ms, "{message}");
        } else {
            tracing::debug!(%path_entry, done, dists, written, removed, ms, "{message}");
        }
        let exists = || Path::new(&outcome.path_entry).exists();
        let no_index = match (&outcome.done, &outcome.index) {
            (Done::Refreshed | Done::Unchanged, Err(why)) => {
                Some(format!("{path_entry}: no index: {why}"))
            }
            (Done::NotCached(why), _) if exists() => {
                Some(format!("{path_entry}: not cached: {why}"))
            }
            _ => None,
        };
        let problems = outcome.problems.iter().map(ToString::to_string);
        for said in problems.chain(no_index) {
            if self.said.len() < MAX_SAID && self.said.insert(said.clone()) {
                tracing::warn!("{}", escaped(&without_number(&said)));
            }
        }
    }

    fn give_notices(&mut self) {
        for notice in self.watcher.notices() {
            tracing::warn!("{}", escaped(&without_number(&notice.to_string())));
        }
    }

    /// Says that this watches: in the cache root, to the service manager, and once in the log.
    fn announce(&mut self) {
        let kept = self.path.iter().enumerate();
        let kept = kept.map(|(number, it)| (it.as_os_str().to_owned(), self.watcher.how(number)));
        let kept: Vec<_> = kept.collect();
        let subject = Subject::Announcement;
        if !self.once && self.failures.may_try(&subject) {
            match self.announcement.say(&kept) {
                Ok(()) => works_again(self.failures.works(&subject)),
                Err(error) => self.failed(subject, reason(&error), &error.to_string()),
            }
        }
        let (watches, polled) = self.watcher.numbers();
        let path_entries = kept.len();
        let root = shown_name(self.root.path.as_os_str());
        let is_other = self.manager.status(format!(
            "watching {path_entries} path entries: {watches} watches, {polled} polled"
        ));
        let message = format!(
            "watching path_entries={path_entries} watches={watches} polled={polled} root={root}"
        );
        if !std::mem::replace(&mut self.is_announced, true) {
            tracing::info!(path_entries, watches, polled, %root, "{message}");
        } else if is_other {
            tracing::debug!(path_entries, watches, polled, %root, "{message}");
        }
        self.manager.ready();
    }
}

/// Says that something works for whatever failed for this reason, if nothing does any more.
fn works_again(reason: Option<String>) {
    if let Some(reason) = reason {
        let reason = without_number(&reason).into_owned();
        tracing::info!("works again, after: {}", escaped(&reason));
    }
}

/// Whether there is something that only lacks permission, or works, to be read.
fn can_not_be_read(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(stat) if stat.is_dir() => std::fs::read_dir(path).is_err(),
        Ok(stat) if stat.is_file() => std::fs::File::open(path).is_err(),
        Ok(_) => false,
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// What is the same for all path entries that fail for one reason.
fn reason(error: &Error) -> String {
    match error.io_kind() {
        Some(kind) => kind.to_string(),
        None => error.to_string(),
    }
}

fn shown_name(path_entry: &OsStr) -> String {
    escaped(&shown(path_entry.as_ref())).into_owned()
}

impl WatchOptions {
    fn of_watcher(&self) -> watch::Options {
        watch::Options {
            debounce: Duration::from_millis(self.debounce),
            poll_all: self.poll.is_some(),
            interval: self.poll.flatten().unwrap_or(DEFAULT_INTERVAL),
        }
    }
}
