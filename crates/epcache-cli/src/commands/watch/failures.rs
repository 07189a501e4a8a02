//! What does not work at the moment: said once, tried again after a while that grows, and said again
//! when it works.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// The pause before the first retry; nothing that failed is tried again sooner, whatever happens.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: somebody who has freed a full disk does not want to wait longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What can fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// To find the path entries of the environment of this number.
    Environment(usize),
    /// To sync a path entry.
    PathEntry(OsString),
    /// To say, in the cache root, that this watcher runs.
    Announcement,
}

#[derive(Debug, Default)]
pub(super) struct Failures {
    known: BTreeMap<Subject, Failure>,
}

#[derive(Debug)]
struct Failure {
    /// The same for all that fails for the same reason.
    reason: String,
    tried: Instant,
    pause: Duration,
}

impl Failures {
    /// Notes that something failed; whether nothing failed for this reason so far, so that it is to be
    /// said.
    pub(super) fn failed(&mut self, subject: Subject, reason: String, now: Instant) -> bool {
        let is_new = self.known.values().all(|known| known.reason != reason);
        let before = self.known.remove(&subject);
        let same = before.filter(|before| before.reason == reason);
        let pause = same.map_or(FIRST_PAUSE, |same| (same.pause * 2).min(LONGEST_PAUSE));
        let failure = Failure {
            reason,
            tried: now,
            pause,
        };
        self.known.insert(subject, failure);
        is_new
    }

    /// Notes that something works; the reason for which it did not, if that is to be said: nothing
    /// fails for it any more.
    pub(super) fn works(&mut self, subject: &Subject) -> Option<String> {
        let Failure { reason, .. } = self.known.remove(subject)?;
        let gone = self.known.values().all(|known| known.reason != reason);
        gone.then_some(reason)
    }

    /// Forgets what is no longer tried.
    pub(super) fn retain(&mut self, is_tried: impl Fn(&Subject) -> bool) {
        self.known.retain(|subject, _| is_tried(subject));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether it may be tried now, as something has changed: it works, or did not fail just now.
    pub(super) fn may_try(&self, subject: &Subject, now: Instant) -> bool {
        let known = self.known.get(subject);
        known.is_none_or(|failure| failure.tried + FIRST_PAUSE <= now)
    }

    /// What is to be tried again now.
    pub(super) fn due(&self, now: Instant) -> Vec<Subject> {
        let due = |(_, failure): &(&Subject, &Failure)| failure.tried + failure.pause <= now;
        let due = self.known.iter().filter(due);
        due.map(|(subject, _)| subject.clone()).collect()
    }

    /// When the next is to be tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        let next = self.known.values();
        next.map(|failure| failure.tried + failure.pause).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn site(name: &str) -> Subject {
        Subject::PathEntry(name.into())
    }

    #[test]
    fn a_reason_is_said_once_and_once_more_when_it_is_gone() {
        let mut failures = Failures::default();
        let now = Instant::now();
        let full = || "no space".to_owned();
        assert!(failures.failed(site("a"), full(), now));
        assert!(!failures.failed(site("a"), full(), now));
        assert!(!failures.failed(site("b"), full(), now));
        assert!(failures.failed(site("c"), "not readable".to_owned(), now));
        assert_eq!(failures.works(&site("a")), None, "b still fails");
        assert_eq!(failures.works(&site("b")), Some(full()));
        assert_eq!(failures.works(&site("b")), None);
        assert!(failures.failed(site("b"), full(), now));
    }

    #[test]
    fn each_retry_waits_twice_as_long_up_to_a_bound() {
        let mut failures = Failures::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            failures.failed(site("a"), "full".to_owned(), now);
            let next = failures.next().unwrap_or(now);
            assert!(failures.due(next - Duration::from_millis(1)).is_empty());
            assert_eq!(failures.due(next), [site("a")]);
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        failures.failed(site("a"), "another reason".to_owned(), now);
        assert_eq!(failures.next(), Some(now + SECOND));
    }

    #[test]
    fn a_change_makes_what_failed_be_tried_but_not_at_once() {
        let mut failures = Failures::default();
        let now = Instant::now();
        for _ in 0..5 {
            failures.failed(site("a"), "full".to_owned(), now);
        }
        assert!(!failures.may_try(&site("a"), now));
        assert!(failures.may_try(&site("a"), now + SECOND));
        assert!(failures.may_try(&site("b"), now));
    }
}
