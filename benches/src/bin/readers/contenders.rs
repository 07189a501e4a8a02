//! What is run against what: a command, what is done around each run of it, and the rounds in which
//! all of a section are run in turn.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use epcache_benches::machine;
use epcache_benches::measure::{self, shuffled};
use serde::Serialize;

/// Something done before or after a run, untimed.
pub(crate) type Action = Box<dyn FnMut() -> Result<()>>;

/// One command and how long it took each time.
pub(crate) struct Contender {
    /// Unique in its section.
    pub(crate) name: &'static str,
    command: Command,
    teller: Teller,
    before: Option<Action>,
    after: Option<Action>,
    counter: Option<Box<dyn Fn() -> u64>>,
    pub(crate) times: Vec<Duration>,
    /// How far the counter went in each run, if there is one.
    pub(crate) counts: Vec<u64>,
}

/// Which time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Clock {
    /// What the one who waits sees
    Wall,
    /// What the processors work: on a machine that others use too
    Processor,
}

/// Who says how long it took.
enum Teller {
    /// From before the process is started until it has been waited for.
    Process(Clock),
    /// The process itself, which prints a number of nanoseconds.
    Itself,
}

impl Contender {
    /// A whole process is timed.
    pub(crate) fn process(name: &'static str, command: Command, clock: Clock) -> Contender {
        Contender {
            name,
            command,
            teller: Teller::Process(clock),
            before: None,
            after: None,
            counter: None,
            times: Vec::new(),
            counts: Vec::new(),
        }
    }

    /// A part of a process is timed, by the process itself.
    pub(crate) fn inside(name: &'static str, command: Command) -> Contender {
        Contender {
            teller: Teller::Itself,
            ..Contender::process(name, command, Clock::Wall)
        }
    }

    /// Does this before each run.
    pub(crate) fn before(mut self, action: impl FnMut() -> Result<()> + 'static) -> Contender {
        self.before = Some(Box::new(action));
        self
    }

    /// Does this after each run.
    pub(crate) fn after(mut self, action: impl FnMut() -> Result<()> + 'static) -> Contender {
        self.after = Some(Box::new(action));
        self
    }

    /// Reads this before and after each run, and notes the difference.
    pub(crate) fn counting(mut self, counter: impl Fn() -> u64 + 'static) -> Contender {
        self.counter = Some(Box::new(counter));
        self
    }

    /// One run, with what belongs around it.
    fn run(&mut self) -> Result<()> {
        if let Some(before) = &mut self.before {
            before().with_context(|| format!("prepare {}", self.name))?;
        }
        let counted = self.counter.as_ref().map(|counter| counter());
        let time = match self.teller {
            Teller::Process(Clock::Wall) => measure::time(&mut self.command),
            Teller::Process(Clock::Processor) => measure::processor_time(&mut self.command),
            Teller::Itself => printed_time(&mut self.command),
        };
        self.times.push(time.with_context(|| self.name)?);
        if let (Some(counter), Some(before)) = (&self.counter, counted) {
            self.counts.push(counter() - before);
        }
        if let Some(after) = &mut self.after {
            after().with_context(|| format!("clean up after {}", self.name))?;
        }
        Ok(())
    }
}

/// Runs the command and reads the nanoseconds that it prints.
fn printed_time(command: &mut Command) -> Result<Duration> {
    let printed = machine::answer(command)?;
    let nanoseconds = printed
        .trim()
        .parse()
        .with_context(|| format!("{command:?} prints no number of nanoseconds: {printed:?}"))?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Runs each once to warm up, and then all in turn, in another order each round.
pub(crate) fn run_rounds(contenders: &mut [Contender], rounds: u32) -> Result<()> {
    for contender in &mut *contenders {
        contender.run()?;
        contender.times.clear();
        contender.counts.clear();
    }
    for round in 1..=rounds {
        for index in shuffled(contenders.len(), round) {
            contenders[index].run()?;
        }
    }
    Ok(())
}
