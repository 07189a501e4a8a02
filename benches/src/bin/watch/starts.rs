//! Programs that only read: each start of a Python opens, lists and reads what is watched, and is none of
//! the watcher's business.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use epcache_benches::measure;

use crate::report::{Section, Unit};
use crate::venv::Venv;

/// How many processes are started.
const STARTS: u32 = 20;

/// Longer than the watcher waits for an end of changes, and for its processor.
const WOULD_HAVE_WOKEN: Duration = Duration::from_millis(500);

/// What such a process does at least, and what one does that looks for plugins.
const PROGRAMS: [(&str, &str); 2] = [
    ("python -c pass", "pass"),
    (
        "importlib.metadata.entry_points()",
        "from importlib.metadata import entry_points; entry_points()",
    ),
];

pub(crate) fn measure(venv: &Venv) -> Result<Section> {
    eprintln!("starting Python");
    let since = venv.watcher.borrow().since;
    venv.watcher.borrow().let_it_become_quiet(since);
    let mut section = Section::new("Wake-ups by programs that only read, for each that is started");
    for (name, code) in PROGRAMS {
        let mut python = venv.python();
        python.args(["-c", code]);
        measure::time(&mut python)?;
        let all = AllEvents::of(&venv.site_packages)?;
        let before = venv.watcher.borrow().sleeps()?;
        for _ in 0..STARTS {
            measure::time(&mut python)?;
        }
        thread::sleep(WOULD_HAVE_WOKEN);
        let wake_ups = venv.watcher.borrow().sleeps()? - before;
        let each =
            |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / f64::from(STARTS);
        section.goal(name, 0.0, each(wake_ups), Unit::Number);
        section.value(
            "  events that there were in site-packages, all kinds",
            each(all.count()?),
            Unit::Number,
        );
    }
    venv.watcher.borrow_mut().check()?;
    Ok(section)
}

/// Everything that the kernel tells of a directory, if one asks for it.
#[cfg(target_os = "linux")]
struct AllEvents(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl AllEvents {
    fn of(dir: &Path) -> Result<AllEvents> {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let events = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        add_watch(&events, dir, WatchFlags::ALL_EVENTS)?;
        Ok(AllEvents(events))
    }

    /// How many there were so far.
    fn count(self) -> Result<u64> {
        use rustix::fs::inotify::Reader;
        use rustix::io::Errno;
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(self.0, &mut buffer);
        let mut count = 0;
        loop {
            match reader.next() {
                Ok(_) => count += 1,
                Err(Errno::AGAIN) => return Ok(count),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// There are other events on other systems.
#[cfg(not(target_os = "linux"))]
struct AllEvents;

#[cfg(not(target_os = "linux"))]
impl AllEvents {
    fn of(_dir: &Path) -> Result<AllEvents> {
        anyhow::bail!("events are counted on Linux only")
    }

    fn count(self) -> Result<u64> {
        Ok(0)
    }
}
