//! Measuring one process from its start to its end, and summing up many such measurements.
//!
//! Time is what the one who waits sees: from before the process is started until it has been
//! waited for. Memory is what the kernel says that the process had resident at most.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// Runs the command with nothing to read and nobody to read it, and returns how long that took.
///
/// The standard library starts it without copying this process (`posix_spawn`), as long as
/// no working directory is set and the program is named by its path: keep it so.
///
/// # Errors
/// It can't be started, or fails: a time for work that was not done would be no measurement.
pub fn time(command: &mut Command) -> Result<Duration> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status();
    let elapsed = start.elapsed();
    let status = status.with_context(|| format!("start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(elapsed)
}

/// The indexes below `length` in an order that only the round decides.
///
/// Contenders that are run in turn are run in another order each round, so that none always comes
/// after the same other one.
#[must_use]
pub fn shuffled(length: usize, round: u32) -> Vec<usize> {
    // A multiplicative hash (Knuth's constant) of the index and the round is random enough here.
    let key = |index: &usize| {
        let seed = u32::try_from(*index).unwrap_or(0).wrapping_add(round << 16);
        (seed ^ (seed >> 15))
            .wrapping_mul(2_654_435_761)
            .rotate_left(round % 32)
    };
    let mut order: Vec<usize> = (0..length).collect();
    order.sort_by_key(key);
    order
}

/// The middle of many measurements, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Half of them took at most this long.
    pub median: Duration,
    /// A quarter took at most this long.
    pub lower_quartile: Duration,
    /// A quarter took at least this long.
    pub upper_quartile: Duration,
}

impl Summary {
    /// Sums up; `None` if nothing was measured.
    pub fn of(times: &[Duration]) -> Option<Summary> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        Some(Summary {
            median: (sorted[last / 2] + sorted[last.div_ceil(2)]) / 2,
            lower_quartile: sorted[last / 4],
            upper_quartile: sorted[last - last / 4],
        })
    }
}

/// Runs the command as [`time`] does, and returns how long the processors worked for it, and for
/// what it waited for.
///
/// What other programs do at the same time moves this much less than the time on the clock; waiting
/// for a disk is not in it.
///
/// # Errors
/// It can't be started or waited for, or fails.
#[cfg(unix)]
pub fn processor_time(command: &mut Command) -> Result<Duration> {
    let usage = usage(command)?;
    let time = |part: libc::timeval| {
        let seconds = u64::try_from(part.tv_sec).unwrap_or(0);
        let microseconds = u64::try_from(part.tv_usec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(microseconds)
    };
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

/// There is no such number from this system.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn processor_time(_command: &mut Command) -> Result<Duration> {
    anyhow::bail!("processor time is measured on Unix only")
}

/// What a process had resident at most, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeakMemory {
    /// The kernel's number.
    pub bytes: u64,
    /// What the kernel would have said of a process that used nothing: it counts, up to `exec`, the
    /// memory of the process that started it. A number equal to this one means "at most".
    pub floor: u64,
}

/// Runs the command as [`time`] does, and returns its peak memory.
///
/// To be called in a process that is itself small, because its own memory is the least that can be
/// measured ([`PeakMemory::floor`]).
///
/// # Errors
/// It can't be started or waited for, or fails.
#[cfg(unix)]
pub fn peak_memory(command: &mut Command) -> Result<PeakMemory> {
    // The kernel counts in KiB, but for Apple's, which counts in bytes.
    const UNIT: u64 = if cfg!(target_vendor = "apple") {
        1
    } else {
        1024
    };
    let floor = own_peak().unwrap_or(0);
    let peak = u64::try_from(usage(command)?.ru_maxrss).unwrap_or(0);
    Ok(PeakMemory {
        bytes: peak * UNIT,
        floor,
    })
}

/// There is no such number from this system.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn peak_memory(_command: &mut Command) -> Result<PeakMemory> {
    anyhow::bail!("peak memory is measured on Unix only")
}

/// Runs the command as [`time`] does, and returns what the kernel says that it used.
#[cfg(unix)]
fn usage(command: &mut Command) -> Result<libc::rusage> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let (status, usage) =
        wait_for_usage(child.id()).with_context(|| format!("wait for {command:?}"))?;
    ensure!(status == 0, "{command:?} failed: wait status {status}");
    Ok(usage)
}

/// Waits for a child and returns its wait status and what it used.
#[cfg(unix)]
#[allow(
    unsafe_code,
    reason = "neither the standard library nor rustix offers wait4, and getrusage sums all children"
)]
fn wait_for_usage(pid: u32) -> io::Result<(i32, libc::rusage)> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: a `rusage` is plain numbers, for which all zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live, writable values of the types that wait4 fills in.
        if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } == pid {
            return Ok((status, usage));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The most that this process had resident so far, in bytes, where the system tells.
#[cfg(unix)]
fn own_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]
mod tests {
    use super::*;

    fn milliseconds(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_summary_is_not_moved_by_one_long_wait() {
        let summary = Summary::of(&milliseconds(&[3, 1, 2, 5, 9_000])).unwrap();
        assert_eq!(summary.median, Duration::from_millis(3));
        assert_eq!(summary.lower_quartile, Duration::from_millis(2));
        assert_eq!(summary.upper_quartile, Duration::from_millis(5));
    }

    #[test]
    fn an_even_number_has_its_median_between_the_two_in_the_middle() {
        let summary = Summary::of(&milliseconds(&[4, 1, 3, 2])).unwrap();
        assert_eq!(summary.median, Duration::from_micros(2_500));
    }

    #[test]
    fn nothing_measured_is_not_summed_up() {
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_round_takes_everyone_once_and_the_next_in_another_order() {
        let mut orders: Vec<Vec<usize>> = (1..=4).map(|round| shuffled(8, round)).collect();
        assert!(orders.windows(2).all(|pair| pair[0] != pair[1]));
        for order in &mut orders {
            order.sort_unstable();
            assert_eq!(*order, (0..8).collect::<Vec<_>>());
        }
    }

    #[cfg(unix)]
    #[test]
    fn who_waits_for_another_has_no_processor_time() {
        let mut sleeping = Command::new("sleep");
        sleeping.arg("0.2");
        assert!(time(&mut sleeping).unwrap() >= Duration::from_millis(200));
        assert!(processor_time(&mut sleeping).unwrap() < Duration::from_millis(100));
    }

    #[test]
    fn a_command_that_fails_has_no_time() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--no-such-option");
        assert!(time(&mut command).is_err());
        assert!(processor_time(&mut command).is_err());
    }
}
