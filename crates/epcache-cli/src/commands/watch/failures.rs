//! What does not work at the moment: said once, tried again after a while that grows, and said again
//! when it works.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// The pause before the first retry; nothing that could not be written or read is tried again sooner,
/// whatever happens.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long an environment that can't be resolved is not tried again, at least: one that is just being
/// made anew takes longer.
const SHORTEST_GATE: Duration = Duration::from_millis(100);

/// The longest pause: somebody who has freed a full disk does not want to wait longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The longest pause before what was only not settled is done once more. What is young by its times is
/// so for two seconds at most; what is so still then has its times in the future.
const LONGEST_UNSETTLED: Duration = Duration::from_secs(8);

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
    /// The same for all that fails for the same reason; nothing if it is no failure, but is to be
    /// done once more.
    reason: Option<String>,
    /// Not before this, whatever happens.
    not_before: Instant,
    /// The pause until it is tried again, though nothing happens, and when that ends.
    pause: Duration,
    due: Instant,
}

impl Failures {
    /// Notes that something failed, and took so long; whether nothing failed for this reason so far,
    /// so that it is to be said.
    pub(super) fn failed(&mut self, subject: Subject, reason: String, took: Duration) -> bool {
        let now = Instant::now();
        let gate = gate(&subject, took);
        let reason = Some(reason);
        let is_new = self.known.values().all(|known| known.reason != reason);
        self.note(subject, reason, now + gate, now);
        is_new
    }

    /// Notes that something works, but is to be done once more, a few times at most. Gives what
    /// [`Self::works`] would.
    pub(super) fn unsettled(&mut self, subject: &Subject) -> Option<String> {
        let now = Instant::now();
        let failed = self
            .known
            .get(subject)
            .is_some_and(|known| known.reason.is_some());
        let gone = failed.then(|| self.works(subject)).flatten();
        self.note(subject.clone(), None, now, now);
        if self.known[subject].pause > LONGEST_UNSETTLED {
            self.known.remove(subject);
        }
        gone
    }

    fn note(
        &mut self,
        subject: Subject,
        reason: Option<String>,
        not_before: Instant,
        now: Instant,
    ) {
        let before = self.known.remove(&subject);
        let same = before.filter(|before| before.reason == reason);
        let pause = same.map_or(FIRST_PAUSE, |same| (same.pause * 2).min(LONGEST_PAUSE));
        let failure = Failure {
            reason,
            not_before,
            pause,
            due: (now + pause).max(not_before),
        };
        self.known.insert(subject, failure);
    }

    /// Notes that something works; the reason for which it did not, if that is to be said: nothing
    /// fails for it any more.
    pub(super) fn works(&mut self, subject: &Subject) -> Option<String> {
        let Failure { reason, .. } = self.known.remove(subject)?;
        let gone = self.known.values().all(|known| known.reason != reason);
        reason.filter(|_| gone)
    }

    /// Forgets what is no longer tried.
    pub(super) fn retain(&mut self, is_tried: impl Fn(&Subject) -> bool) {
        self.known.retain(|subject, _| is_tried(subject));
    }

    /// Whether something fails.
    pub(super) fn are_there(&self) -> bool {
        self.known.values().any(|known| known.reason.is_some())
    }

    /// Whether it did not work last time, or not for good.
    pub(super) fn has(&self, subject: &Subject) -> bool {
        self.known.contains_key(subject)
    }

    /// Whether it may be tried now, as something has changed. If it failed just now, it is to be tried
    /// soon, however long the pause would have been.
    pub(super) fn may_try(&mut self, subject: &Subject) -> bool {
        let Some(failure) = self.known.get_mut(subject) else {
            return true;
        };
        failure.due = failure.due.min(failure.not_before);
        failure.not_before <= Instant::now()
    }

    /// What is to be tried again now.
    pub(super) fn due(&self, now: Instant) -> Vec<Subject> {
        let due = self.known.iter().filter(|(_, failure)| failure.due <= now);
        due.map(|(subject, _)| subject.clone()).collect()
    }

    /// When the next is to be tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.known.values().map(|failure| failure.due).min()
    }
}

/// How long something that failed is not tried again, whatever happens. An interpreter may take ten
/// seconds to say nothing, and may not have all the time there is.
fn gate(subject: &Subject, took: Duration) -> Duration {
    match subject {
        Subject::Environment(_) => (took * 10).max(SHORTEST_GATE),
        Subject::PathEntry(_) | Subject::Announcement => FIRST_PAUSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn site(name: &str) -> Subject {
        Subject::PathEntry(name.into())
    }

    fn fail(failures: &mut Failures, name: &str, reason: &str) -> bool {
        failures.failed(site(name), reason.to_owned(), Duration::ZERO)
    }

    #[test]
    fn a_reason_is_said_once_and_once_more_when_it_is_gone() {
        let mut failures = Failures::default();
        assert!(fail(&mut failures, "a", "full"));
        assert!(!fail(&mut failures, "a", "full"));
        assert!(!fail(&mut failures, "b", "full"));
        assert!(fail(&mut failures, "c", "not readable"));
        assert_eq!(failures.works(&site("a")), None, "b still fails");
        assert_eq!(failures.works(&site("b")), Some("full".to_owned()));
        assert_eq!(failures.works(&site("b")), None);
        assert!(fail(&mut failures, "b", "full"));
    }

    #[test]
    fn each_retry_waits_twice_as_long_up_to_a_bound() {
        let mut failures = Failures::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let before = Instant::now();
            fail(&mut failures, "a", "full");
            let next = failures.next().unwrap_or(before);
            assert!(failures.due(before).is_empty());
            assert_eq!(failures.due(next), [site("a")]);
            pauses.push((next - before).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        let before = Instant::now();
        fail(&mut failures, "a", "another reason");
        assert!(failures.next() < Some(before + 2 * SECOND));
    }

    #[test]
    fn a_change_makes_what_failed_be_tried_soon_but_not_at_once() {
        let mut failures = Failures::default();
        for _ in 0..5 {
            fail(&mut failures, "a", "full");
        }
        let now = Instant::now();
        assert!(failures.next() > Some(now + 8 * SECOND));
        assert!(!failures.may_try(&site("a")));
        assert!(failures.next() <= Some(now + SECOND));
        assert!(failures.may_try(&site("b")));
    }

    #[test]
    fn an_interpreter_that_takes_long_to_fail_is_left_alone_for_longer() {
        let mut failures = Failures::default();
        let before = Instant::now();
        let python = Subject::Environment(0);
        failures.failed(python.clone(), "no answer".to_owned(), 10 * SECOND);
        assert!(!failures.may_try(&python));
        assert!(failures.next() >= Some(before + 100 * SECOND));
    }

    #[test]
    fn what_is_not_settled_is_no_failure_and_done_again_a_few_times() {
        let mut failures = Failures::default();
        for pause in [1, 2, 4, 8] {
            let before = Instant::now();
            failures.unsettled(&site("a"));
            assert!(failures.next() >= Some(before + pause * SECOND));
            assert!(failures.may_try(&site("a")) && !failures.are_there());
        }
        failures.unsettled(&site("a"));
        assert_eq!(failures.next(), None);
        assert_eq!(failures.works(&site("a")), None);
    }
}
