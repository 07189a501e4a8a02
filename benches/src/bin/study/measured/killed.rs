//! Builds that are killed, and the next answer and the next build.
//!
//! Half of the kills come at moments spread over the time that a build takes, most of which goes into
//! reading the sources; the other half as it enters a call that changes the cache, spread over these.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::Study;
use super::conditions::{Field, Storage};
use super::contenders::{Contender, Family, Language, expected};
use super::record::{Killed, Record};
use super::run;
use super::work::{Work, is_right};

/// Builds whose median says how long one takes.
const BUILDS: usize = 3;

/// Calls that may change a file; `?` is for systems that lack one.
const CHANGING_CALLS: &str = "trace=?open,openat,?mkdir,mkdirat,write,?writev,pwrite64,ftruncate,\
     ?fsync,?fdatasync,?rename,?renameat,?renameat2,?unlink,?unlinkat,?link,?linkat,?utimensat,?fchmod";

/// When a build is killed.
enum Moment<'a> {
    After(Duration),
    At(&'a Call),
}

/// A system call, as the how manieth of its name in its thread.
struct Call {
    name: String,
    number: usize,
}

/// How a whole build goes.
struct Course {
    stale: bool,
    takes: Duration,
    /// Calls that change the cache; none where calls can't be traced.
    changes: Vec<Call>,
    /// What is to be answered afterwards, and whether in this order.
    right: String,
    order: bool,
}

impl Course {
    /// The moment of so many parts of the whole.
    fn moment(&self, part: f64, at_a_call: bool) -> Moment<'_> {
        let index = (part * self.changes.len() as f64) as usize;
        match self.changes.get(index).filter(|_| at_a_call) {
            Some(call) => Moment::At(call),
            None => Moment::After(self.takes.mul_f64(part)),
        }
    }
}

/// Who has something to break: the rejected ways and epcache in Rust, which writes as the Python of
/// the same does, and rivals as they are. One mode of epcache does, because all read what one writes.
pub(super) fn contestants(contenders: &[Contender]) -> Vec<Contender> {
    let in_its_language = |contender: &&Contender| match contender.family {
        Family::Rival => true,
        _ => contender.language == Language::Rust,
    };
    let builders = contenders.iter().filter(|contender| contender.builds);
    builders.filter(in_its_language).copied().collect()
}

/// Kills first builds and rebuilds in turn.
pub(super) fn measure(study: &mut Study) -> Result<()> {
    let dists = study.plan.contested_dists();
    let field = Field::new(&study.workshop.scratch, "killed", Storage::Disk, dists)?;
    for contender in contestants(&study.contenders) {
        let contender = &contender;
        let kills = study.plan.kills();
        let first = Course::of(study, &field, contender, false)?;
        let rebuild = Course::of(study, &field, contender, true)?;
        eprintln!(
            "kills: {contender}, builds take {:.0?} and {:.0?}, and {} and {} changes",
            first.takes,
            rebuild.takes,
            first.changes.len(),
            rebuild.changes.len()
        );
        let mut record = Killed {
            language: contender.language.name(),
            contender: contender.name,
            dists,
            kills,
            in_time: 0,
            writing: 0,
            wrong: 0,
            failed: 0,
        };
        for kill in 0..kills {
            let course = if kill % 2 == 1 { &rebuild } else { &first };
            let part = f64::from(u32::try_from(kill + 1)?) / f64::from(u32::try_from(kills + 1)?);
            prepare(study, &field, contender, course.stale)?;
            let moment = course.moment(part, kill % 4 >= 2);
            kill_one(study, &field, contender, &moment, &mut record)?;
            ask_and_build(study, &field, contender, course, &mut record);
            if course.stale {
                undo_install(study, &field)?;
            }
        }
        study.results.put([Record::Killed(record)])?;
    }
    Ok(())
}

/// Leaves no cache, or one that an install has made stale.
fn prepare(study: &Study, field: &Field, contender: &Contender, stale: bool) -> Result<()> {
    contender.remove_cache(field)?;
    if stale {
        contender.build(&study.venv, field)?;
        field.install_one(0)?;
        study.venv.let_stamps_age()?;
    }
    Ok(())
}

fn undo_install(study: &Study, field: &Field) -> Result<()> {
    field.remove_one(0)?;
    study.venv.let_stamps_age()
}

impl Course {
    /// Builds several times, and once more for the calls.
    fn of(study: &Study, field: &Field, contender: &Contender, stale: bool) -> Result<Course> {
        let mut times = Vec::new();
        let mut changes = Vec::new();
        let mut right = String::new();
        for build in 0..=BUILDS {
            prepare(study, field, contender, stale)?;
            let mut command = contender.command(&study.venv, field, Work::Nothing);
            if build < BUILDS {
                times.push(run::timed(&mut command)?.wall);
            } else if study.can_trace {
                let log = study.venv.home.join("strace.log");
                let trace = ["-y", "-e", CHANGING_CALLS, "-e", "signal=none"];
                run::timed(&mut run::under_strace(&command, &trace, &log))?;
                let log = std::fs::read(&log).context("read what strace wrote")?;
                let cache = contender.cache_in(&field.caches.written);
                changes = changing(&String::from_utf8_lossy(&log), &cache.to_string_lossy());
            }
            if build == BUILDS {
                right = expected(&study.venv, field, Work::List)?;
            }
            if stale {
                undo_install(study, field)?;
            }
        }
        times.sort_unstable();
        Ok(Course {
            stale,
            takes: times[BUILDS / 2],
            changes,
            right,
            order: contender.promises(&study.venv, Work::List)?.order,
        })
    }
}

/// The calls of a trace that change something in the directory.
fn changing(log: &str, directory: &str) -> Vec<Call> {
    let mut numbers: HashMap<(&str, &str), usize> = HashMap::new();
    let mut found = Vec::new();
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        let Some((name, arguments)) = call.split_once('(') else {
            continue;
        };
        // The end of a call that another one came between.
        if name.contains(' ') {
            continue;
        }
        let number = numbers.entry((thread, name)).or_default();
        *number += 1;
        let is_read = name.starts_with("open") && !arguments.contains("O_CREAT");
        if arguments.contains(directory) && !is_read {
            found.push(Call {
                name: name.to_owned(),
                number: *number,
            });
        }
    }
    found
}

/// Kills one build at its moment.
fn kill_one(
    study: &Study,
    field: &Field,
    contender: &Contender,
    moment: &Moment<'_>,
    record: &mut Killed,
) -> Result<()> {
    let command = &mut contender.command(&study.venv, field, Work::Nothing);
    match moment {
        Moment::After(time) => {
            let mut child = run::start(command)?;
            let start = Instant::now();
            // Busy, because who sleeps for a millisecond wakes when he pleases.
            while start.elapsed() < *time {
                std::hint::spin_loop();
            }
            record.in_time += usize::from(child.try_wait()?.is_none());
            run::kill(&mut child)
        }
        Moment::At(Call { name, number }) => {
            let log = study.venv.home.join("strace.log");
            let inject = format!("inject={name}:signal=KILL:when={number}");
            let options = ["-e", &format!("trace={name}"), "-e", &inject];
            let mut child = run::start(&mut run::under_strace(command, &options, &log))?;
            // strace ends as who it traced.
            let ended = child.wait().context("wait for strace")?;
            let is_killed = ended.signal() == Some(Signal::KILL.as_raw());
            record.in_time += usize::from(is_killed);
            record.writing += usize::from(is_killed);
            Ok(())
        }
    }
}

/// Whether what a killed build left can be asked, and built again.
fn ask_and_build(
    study: &Study,
    field: &Field,
    contender: &Contender,
    course: &Course,
    record: &mut Killed,
) {
    let venv = &study.venv;
    let first = contender.answer(venv, field, Work::List);
    let second = contender
        .build(venv, field)
        .and_then(|()| contender.answer(venv, field, Work::List));
    for answer in [first, second] {
        match answer {
            Ok(answer) if is_right(&answer, &course.right, course.order) => {}
            Ok(_) => record.wrong += 1,
            Err(error) => {
                record.failed += 1;
                eprintln!("{error:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_change_the_cache_are_numbered_by_name_and_thread() {
        let log = "\
7 openat(AT_FDCWD</>, \"/lib/x\", O_RDONLY) = 3</lib/x>
7 openat(AT_FDCWD</>, \"/c/new\", O_WRONLY|O_CREAT, 0666 <unfinished ...>
8 write(4</c/other>, \"x\", 1) = 1
7 <... openat resumed>) = 3</c/new>
7 openat(AT_FDCWD</>, \"/c/old\", O_RDONLY) = 3</c/old>
8 write(2</dev/null>, \"x\", 1) = 1
8 write(4</c/other>, \"x\", 1) = 1
";
        let found = changing(log, "/c/");
        let found: Vec<_> = found
            .iter()
            .map(|call| (call.name.as_str(), call.number))
            .collect();
        assert_eq!(found, [("openat", 2), ("write", 1), ("write", 3)]);
    }
}
