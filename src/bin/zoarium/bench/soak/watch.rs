//! Beside the load: the server's own numbers, its memory, and a client that wants no more than a read now and then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use zoarium::raw::four_letter;

use super::writes::{SoakShared, honest};
use crate::bench::{BenchError, load, machine};

/// How often the server is asked for its numbers.
const EVERY: Duration = Duration::from_millis(50);
/// How often the client beside the load reads.
const READ_EVERY: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(30);
/// Memory beside the tree: buffers, the store's, what a running snapshot keeps.
const MEMORY_BESIDE: u64 = 128 << 20;

/// The numbers of `mntr`.
pub(super) struct MonitorNumbers(HashMap<String, u64>);

impl MonitorNumbers {
    pub(super) fn ask(address: &str) -> Result<MonitorNumbers, BenchError> {
        let text = four_letter(address, "mntr", PATIENCE)?;
        let line = |line: &str| {
            let (key, value) = line.split_once('\t')?;
            Some((key.trim_start_matches("zk_").to_owned(), value.parse().ok()?))
        };
        let numbers: HashMap<_, _> = text.lines().filter_map(line).collect();
        if numbers.is_empty() { Err(format!("no numbers in {text:?}").into()) } else { Ok(MonitorNumbers(numbers)) }
    }

    pub(super) fn of(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }

    fn snapshot_runs(&self) -> bool {
        self.of("zoarium_snapshot_running") > 0
    }

    /// Bytes of log after which a snapshot is due.
    pub(super) fn window(&self) -> u64 {
        self.of("zoarium_log_window_bytes")
    }
}

/// When to stop the load.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Time(Instant),
    /// A snapshot begins, or it is late.
    Snapshot(Instant),
    /// It has nothing more to do.
    Done,
}

/// A value, what it may be at that moment, and how much of that it is.
#[derive(Clone, Copy, Default)]
pub(super) struct Worst {
    pub(super) value: u64,
    pub(super) bound: u64,
}

impl Worst {
    fn take(&mut self, value: u64, bound: u64) {
        let share = |value: u64, bound: u64| value as f64 / bound.max(1) as f64;
        if share(value, bound) >= share(self.value, self.bound) {
            *self = Worst { value, bound };
        }
    }

    pub(super) fn held(self) -> bool {
        self.value <= self.bound
    }
}

/// What was seen beside a load.
#[derive(Default)]
pub(super) struct SoakSeen {
    pub(super) file: Worst,
    pub(super) memory: Worst,
    /// Replies that came, and the time, while no snapshot ran.
    pub(super) quiet: (u64, Duration),
}

/// Watches one load, and stops it when it is time.
pub(super) fn watch(
    address: &str,
    pid: u32,
    shared: &SoakShared,
    until: Until,
    over: &AtomicBool,
) -> Result<SoakSeen, BenchError> {
    let mut seen = SoakSeen::default();
    let mut before: Option<(Instant, u64)> = None;
    let result = loop {
        let numbers = match MonitorNumbers::ask(address) {
            Ok(numbers) => numbers,
            Err(error) => break Err(error),
        };
        let (now, replies) = (Instant::now(), shared.replies.load(Ordering::Relaxed));
        seen.file.take(numbers.of("zoarium_file_bytes"), numbers.of("zoarium_file_bound_bytes"));
        let tree = numbers.of("zoarium_tree_memory_bytes");
        seen.memory.take(machine::memory(pid, "RssAnon"), tree + tree / 2 + MEMORY_BESIDE);
        let running = numbers.snapshot_runs();
        if let Some((at, count)) = before
            && !running
        {
            seen.quiet.0 += replies - count;
            seen.quiet.1 += now - at;
        }
        before = (!running).then_some((now, replies));
        let stop = match until {
            Until::Time(end) => now >= end,
            Until::Snapshot(end) => running || now >= end,
            Until::Done => false,
        };
        if stop || over.load(Ordering::Relaxed) {
            break Ok(seen);
        }
        std::thread::sleep(EVERY);
    };
    shared.stop.store(true, Ordering::Relaxed);
    result
}

/// Waits until no snapshot runs; false when that takes past `end`.
pub(super) fn await_quiet(address: &str, end: Instant) -> Result<bool, BenchError> {
    while MonitorNumbers::ask(address)?.snapshot_runs() {
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(EVERY);
    }
    Ok(true)
}

/// Reads a znode every now and then until `over`; how long each read took, in nanoseconds.
pub(super) fn read_beside(address: &str, over: &AtomicBool) -> Result<Histogram<u64>, BenchError> {
    let mut took = load::histogram();
    let mut client = honest(address)?;
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        client.exists("/", false)?;
        took.saturating_record(begun.elapsed().as_nanos() as u64);
        std::thread::sleep(READ_EVERY);
    }
    client.close()?;
    Ok(took)
}
