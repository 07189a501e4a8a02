//! What a service manager is told, by the protocol of sd_notify(3), and which signals it sends.
//! Without one, nothing is told to nobody.

use super::Message;
use anyhow::{Context, Result};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

/// The service manager, if there is one.
pub(super) struct Manager {
    /// How often it wants to hear that all is well.
    interval: Option<Duration>,
    pinged: Instant,
    status: String,
    is_ready: bool,
}

impl Manager {
    pub(super) fn new() -> Self {
        Self {
            // Half of the time after which it loses patience, as sd_watchdog_enabled(3) recommends.
            interval: sd_notify::watchdog_enabled().map(|patience| patience / 2),
            pinged: Instant::now(),
            status: String::new(),
            is_ready: false,
        }
    }

    /// Tells, once, that the first sync is done.
    pub(super) fn ready(&mut self) {
        if !std::mem::replace(&mut self.is_ready, true) {
            tell(&[NotifyState::Ready]);
        }
    }

    /// Tells what is being done; whether that is something else than before.
    pub(super) fn status(&mut self, status: String) -> bool {
        let is_new = status != self.status;
        if is_new {
            tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
        is_new
    }

    /// Tells that the configuration is being read again. That it was is told by [`Self::ready`].
    pub(super) fn reloading(&mut self) {
        self.is_ready = false;
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]), // what systemd before 253 expects
        }
    }

    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Tells that all is well, if it is time for that.
    pub(super) fn ping(&mut self) {
        if self.next_ping().is_some_and(|next| next <= Instant::now()) {
            self.pinged = Instant::now();
            tell(&[NotifyState::Watchdog]);
        }
    }

    pub(super) fn next_ping(&self) -> Option<Instant> {
        Some(self.pinged + self.interval?)
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("can't tell the service manager: {error}");
    }
}

/// Whether it is time to stop.
#[derive(Clone)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn is_asked_for(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// From now on turns signals into messages: SIGTERM and SIGINT ask to stop, SIGHUP to read the
/// configuration again. Who asks to stop twice does not want to wait.
pub(super) fn forward_signals(messages: Sender<Message>) -> Result<Stop> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("receive signals")?;
    let stop = Stop(Arc::default());
    let asked = stop.clone();
    let had_terminal = io::stderr().is_terminal();
    let forward = move || {
        for signal in signals.forever() {
            // Also sent when the terminal goes, with which whoever started this goes too.
            let terminal_went = had_terminal && !io::stderr().is_terminal();
            let message = match signal {
                SIGHUP if !terminal_went => Message::Reload,
                _ => Message::Stop,
            };
            if message == Message::Stop && asked.0.swap(true, Ordering::Relaxed) {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            let _ = messages.send(message); // nobody listens once it has ended
        }
    };
    let thread = thread::Builder::new().name("signals".to_owned());
    thread
        .spawn(forward)
        .context("start a thread for signals")?;
    Ok(stop)
}
