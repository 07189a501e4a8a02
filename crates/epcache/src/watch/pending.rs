//! What has changed and is not yet dealt with: filled by the thread that receives events, emptied by
//! the one that syncs.
//!
//! Here is decided what an event says: most say nothing that could change an answer or the stamp of
//! a path entry.

use super::place::{Concern, Place, Plan};
use crate::dist;
use crate::path_entry::PathEntry;
use notify::event::{Event, EventKind, ModifyKind, RenameMode};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The most metadata directories that just appeared which are watched at a time. What is beyond is
/// seen by the look that follows when all is quiet.
const MAX_YOUNG: usize = 256;

/// What has changed, and the places by which that is told.
#[derive(Debug, Default)]
pub(super) struct Pending {
    places: HashMap<PathBuf, BTreeSet<Concern>>,
    noted: Noted,
    /// When the first and the last of it changed.
    since: Option<(Instant, Instant)>,
}

#[derive(Debug, Default)]
struct Noted {
    changed: Changed,
    /// Metadata directories that just appeared, with the numbers of their path entries: what is put
    /// into them is told by them alone.
    young: HashMap<PathBuf, usize>,
}

/// What has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// The numbers of path entries.
    pub(super) path_entries: BTreeSet<usize>,
    /// Perhaps which path entries there are.
    pub(super) resolve: bool,
    /// Events were lost: anything may have changed.
    pub(super) everything: bool,
    /// Why, if not because there were too many.
    pub(super) trouble: Option<String>,
}

impl Pending {
    /// The places that tell of changes from now on.
    pub(super) fn set_places(&mut self, plan: &Plan) {
        let concerns = |place: &Place| (place.path.clone(), place.concerns.clone());
        self.places = plan.places.iter().map(concerns).collect();
    }

    /// From now on the path entries are these, with other numbers.
    pub(super) fn set_path_entries(&mut self, path_entries: &[PathEntry]) {
        let number_of = |directory: Option<&Path>| {
            let mut locations = path_entries.iter().map(PathEntry::location);
            locations.position(|location| Some(location) == directory)
        };
        self.places.clear();
        self.noted.changed.path_entries.clear();
        let young = std::mem::take(&mut self.noted.young).into_keys();
        let young = young.filter_map(|path| Some((number_of(path.parent())?, path)));
        self.noted.young = young.map(|(number, path)| (path, number)).collect();
    }

    /// The metadata directories that just appeared, with the numbers of their path entries.
    pub(super) fn young(&self) -> Vec<(PathBuf, usize)> {
        let young = self.noted.young.iter();
        young
            .map(|(path, number)| (path.clone(), *number))
            .collect()
    }

    /// No longer watches the metadata directories that appeared in a path entry.
    pub(super) fn grown_up(&mut self, path_entry: usize) {
        self.noted.young.retain(|_, number| *number != path_entry);
    }

    /// Notes what an event says; whether it is the first that says something.
    pub(super) fn event(&mut self, event: &Event, now: Instant) -> bool {
        if event.need_rescan() {
            return self.everything(now);
        }
        let mut says = false;
        for path in &event.paths {
            if let Some(concerns) = self.places.get(path) {
                concerns.iter().for_each(|it| self.noted.of_itself(it));
                says |= !concerns.is_empty();
            }
            let inside = path.parent().and_then(|place| self.places.get(place));
            for concern in inside.into_iter().flatten() {
                says |= self.noted.inside(concern, path, event.kind);
            }
        }
        says && self.at(now)
    }

    /// Notes that events were lost; whether that is the first that is to be noted.
    pub(super) fn everything(&mut self, now: Instant) -> bool {
        self.noted.changed.everything = true;
        self.at(now)
    }

    /// Notes that no events could be received, for this reason.
    pub(super) fn trouble(&mut self, why: String, now: Instant) -> bool {
        self.noted.changed.trouble = Some(why);
        self.everything(now)
    }

    /// Notes that a path entry has changed.
    pub(super) fn path_entry(&mut self, number: usize, now: Instant) {
        self.noted.changed.path_entries.insert(number);
        self.at(now);
    }

    /// Notes that perhaps there are other path entries.
    pub(super) fn resolve(&mut self, now: Instant) {
        self.noted.changed.resolve = true;
        self.at(now);
    }

    /// Notes when; whether nothing was noted before.
    fn at(&mut self, now: Instant) -> bool {
        let first = self.since.map_or(now, |(first, _)| first);
        self.since.replace((first, now)).is_none()
    }

    /// When what has changed is to be dealt with: once it has been quiet for so long, at the latest
    /// `longest` after the first change.
    pub(super) fn due(&self, quiet: Duration, longest: Duration) -> Option<Instant> {
        let (first, last) = self.since?;
        Some((last + quiet).min(first + longest.max(quiet)))
    }

    /// Takes what has changed.
    pub(super) fn take(&mut self) -> Changed {
        self.since = None;
        std::mem::take(&mut self.noted.changed)
    }
}

impl Noted {
    /// A place itself was changed, moved or removed.
    fn of_itself(&mut self, concern: &Concern) {
        match concern {
            Concern::Metadata(number) => {
                self.changed.path_entries.insert(*number);
            }
            Concern::PathEntry(number) => {
                self.changed.path_entries.insert(*number);
                self.changed.resolve = true;
            }
            Concern::Name(_) | Concern::Listing => self.changed.resolve = true,
        }
    }

    /// Something in a place was changed, appeared, or went; whether that says anything.
    fn inside(&mut self, concern: &Concern, path: &Path, kind: EventKind) -> bool {
        let Some(name) = path.file_name() else {
            return false;
        };
        match concern {
            Concern::Name(other) if other == name => self.changed.resolve = true,
            Concern::Listing if came_or_went(kind) => self.changed.resolve = true,
            Concern::Name(_) | Concern::Listing => return false,
            Concern::Metadata(number) => {
                self.changed.path_entries.insert(*number);
            }
            Concern::PathEntry(number) => return self.in_path_entry(*number, path, name, kind),
        }
        true
    }

    fn in_path_entry(&mut self, number: usize, path: &Path, name: &OsStr, kind: EventKind) -> bool {
        let is_dist = dist::is_dist(name.as_bytes(), true);
        let is_pth = name.as_bytes().ends_with(b".pth");
        self.changed.resolve |= is_pth;
        if !is_dist && !came_or_went(kind) {
            return is_pth; // the contents of a module
        }
        self.changed.path_entries.insert(number);
        if came(kind)
            && dist::ends_with_ignoring_case(name.as_bytes(), b".dist-info")
            && self.young.len() < MAX_YOUNG
        {
            self.young.insert(path.to_owned(), number);
        }
        true
    }
}

/// Whether an event changes which names there are in a directory, and so the stamp of that.
fn came_or_went(kind: EventKind) -> bool {
    !matches!(
        kind,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_))
    )
}

/// Whether a name may be new.
fn came(kind: EventKind) -> bool {
    let went = matches!(
        kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
    );
    came_or_went(kind) && !went
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, AccessMode, CreateKind, Flag, MetadataKind, RemoveKind};

    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::Folder);
    const WRITTEN: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const CHMOD: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));

    /// What is pending after an event: the path entry 7 is `/site`, which has `/site/d.egg-info`,
    /// and `/venv/pyvenv.cfg` and the names in `/lib` decide.
    fn after(path: &str, kind: EventKind) -> Pending {
        let mut pending = Pending::default();
        for (path, concern) in [
            ("/site", Concern::PathEntry(7)),
            ("/site/d.egg-info", Concern::Metadata(7)),
            ("/venv", Concern::Name("pyvenv.cfg".into())),
            ("/lib", Concern::Listing),
        ] {
            pending.places.insert(path.into(), [concern].into());
        }
        pending.event(&Event::new(kind).add_path(path.into()), Instant::now());
        pending
    }

    /// Whether the event makes the path entry be synced, and the environment be resolved.
    fn says(path: &str, kind: EventKind) -> (bool, bool) {
        let mut pending = after(path, kind);
        let something = pending.since.is_some();
        let changed = pending.take();
        let says = (changed.path_entries.contains(&7), changed.resolve);
        assert_eq!(something, says != (false, false), "{path} {kind:?}");
        says
    }

    #[test]
    fn what_changes_the_stamp_of_a_path_entry_or_a_dist_in_it_makes_it_be_synced() {
        for kind in [CREATED, REMOVED] {
            assert_eq!(says("/site/module.py", kind), (true, false));
            assert_eq!(says("/site/a.dist-info", kind), (true, false));
        }
        assert_eq!(says("/site/module.py", WRITTEN), (false, false));
        assert_eq!(says("/site/module.py", CHMOD), (false, false));
        for kind in [WRITTEN, CHMOD] {
            assert_eq!(says("/site/single.Egg-Info", kind), (true, false));
            assert_eq!(
                says("/site/d.egg-info/entry_points.txt", kind),
                (true, false)
            );
        }
        assert_eq!(says("/elsewhere/d.egg-info/x", CREATED), (false, false));
    }

    #[test]
    fn what_decides_which_path_entries_there_are_makes_them_be_resolved() {
        assert_eq!(says("/site/x.pth", CREATED), (true, true));
        assert_eq!(says("/site/x.pth", WRITTEN), (false, true));
        assert_eq!(says("/venv/pyvenv.cfg", WRITTEN), (false, true));
        assert_eq!(says("/venv/other", CREATED), (false, false));
        assert_eq!(says("/lib/python3.99", CREATED), (false, true));
        assert_eq!(says("/lib/libx.so", WRITTEN), (false, false));
        assert_eq!(says("/site", REMOVED), (true, true));
        assert_eq!(says("/venv", REMOVED), (false, true));
    }

    #[test]
    fn a_rescan_without_a_path_is_everything() {
        let mut pending = Pending::default();
        let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert!(pending.event(&lost, Instant::now()));
        assert!(pending.take().everything);
    }

    #[test]
    fn a_metadata_directory_is_young_from_its_appearing_until_all_is_quiet() {
        let young = |pending: &Pending| pending.young().len();
        let mut pending = after("/site/a-1.dist-info", CREATED);
        assert_eq!(young(&pending), 1);
        pending.grown_up(8);
        assert_eq!(young(&pending), 1);
        pending.grown_up(7);
        assert_eq!(young(&pending), 0);
        let mut pending = after("/site/a-1.dist-info", CREATED);
        pending.set_path_entries(&[PathEntry::new("/new"), PathEntry::new("/site")]);
        assert_eq!(pending.young(), [("/site/a-1.dist-info".into(), 1)]);
        pending.set_path_entries(&[PathEntry::new("/new")]);
        assert_eq!(young(&pending), 0);
        assert_eq!(young(&after("/site/a-1.dist-info", REMOVED)), 0);
        assert_eq!(young(&after("/site/a-1.dist-info", CHMOD)), 0);
    }

    #[test]
    fn a_steady_stream_of_changes_is_dealt_with_all_the_same() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let mut pending = Pending::default();
        assert_eq!(pending.due(ms(50), ms(1000)), None);
        pending.path_entry(0, start);
        assert_eq!(pending.due(ms(50), ms(1000)), Some(start + ms(50)));
        for tick in 1..100 {
            pending.path_entry(0, start + ms(40 * tick));
        }
        assert_eq!(pending.due(ms(50), ms(1000)), Some(start + ms(1000)));
        assert_eq!(pending.due(ms(3000), ms(1000)), Some(start + ms(3000)));
        pending.take();
        assert_eq!(pending.due(ms(50), ms(1000)), None);
    }
}
