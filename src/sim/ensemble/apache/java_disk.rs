//! What a Java server has on disk and in memory, and the thread between the two: the log is written apart from what is applied.

use std::collections::VecDeque;

use super::JavaOwn;
use super::deciding::applied_to;
use crate::ids::Zxid;
use crate::records::txn::Payload;
use crate::sim::Wrong;
use crate::sim::model::Model;

/// The log from the very first transaction on, and the two epoch files: accepted and current. Snapshots are not told apart from it.
#[derive(Clone, Debug, Default)]
pub(in crate::sim::ensemble) struct JavaDisk {
    pub log: Vec<(Zxid, Payload)>,
    pub epochs: (u64, u64),
    /// How long a write takes at most, µs.
    pub write_us: u64,
}

impl JavaDisk {
    /// Cuts the log behind `to`. When that is not in it, one record too many stays: the one that was read last.
    pub(super) fn truncate(&mut self, to: Zxid) {
        let kept = self.log.partition_point(|(zxid, _)| *zxid <= to);
        let is_there = to == Zxid::ZERO || kept.checked_sub(1).is_some_and(|at| self.log[at].0 == to);
        self.log.truncate(if is_there { kept } else { kept + 1 });
    }
}

/// What is applied.
pub(in crate::sim::ensemble) struct JavaMemory {
    pub history: Vec<(Zxid, Payload)>,
    pub state: Model,
    /// `lastProcessedZxid`: the last of them, or the begin of the epoch in which this server took office.
    pub last: Zxid,
}

impl JavaMemory {
    pub(super) fn restored(log: &[(Zxid, Payload)]) -> Result<JavaMemory, Wrong> {
        let mut memory = JavaMemory { history: Vec::new(), state: Model::new(), last: Zxid::ZERO };
        log.iter().try_for_each(|(zxid, bytes)| memory.apply(*zxid, bytes))?;
        Ok(memory)
    }

    pub(super) fn apply(&mut self, zxid: Zxid, bytes: &Payload) -> Result<(), Wrong> {
        applied_to(&mut self.state, bytes)?;
        self.history.push((zxid, Payload::clone(bytes)));
        self.last = zxid;
        Ok(())
    }

    /// Is what the log says: goes on to its end, or begins anew when something else was applied.
    pub(super) fn follow(&mut self, log: &[(Zxid, Payload)]) -> Result<(), Wrong> {
        let applied = self.history.len();
        if log.len() < applied || self.history.last() != log[..applied].last() {
            *self = JavaMemory::restored(log)?;
            return Ok(());
        }
        log[applied..].iter().try_for_each(|(zxid, bytes)| self.apply(*zxid, bytes))
    }
}

/// `SyncRequestProcessor`: takes what waits, writes it, and says so when it is synced.
#[derive(Default)]
pub(super) struct LogThread {
    queue: VecDeque<(Zxid, Payload)>,
    writing: Vec<(Zxid, Payload)>,
    until: u64,
}

impl LogThread {
    pub(super) fn due(&self) -> u64 {
        if self.writing.is_empty() { u64::MAX } else { self.until }
    }
}

impl JavaOwn {
    pub(super) fn log(&mut self, zxid: Zxid, bytes: Payload) {
        self.log.queue.push_back((zxid, bytes));
        self.log_goes_on();
    }

    fn log_goes_on(&mut self) {
        if self.log.writing.is_empty() && !self.log.queue.is_empty() {
            self.log.writing = self.log.queue.drain(..).collect();
            self.log.until = self.now + 20 + self.rng.below(self.disk.write_us);
        }
    }

    /// What has become durable since it was asked last.
    pub(super) fn log_written(&mut self) -> Vec<Zxid> {
        if self.log.writing.is_empty() || self.now < self.log.until {
            return Vec::new();
        }
        let written = std::mem::take(&mut self.log.writing);
        let durable = written.iter().map(|(zxid, _)| *zxid).collect();
        self.disk.log.extend(written);
        self.log_goes_on();
        durable
    }

    /// Everything that waits is written before anything else is done.
    pub(super) fn flush_log(&mut self) {
        let written = std::mem::take(&mut self.log.writing);
        self.disk.log.extend(written);
        self.disk.log.extend(self.log.queue.drain(..));
    }

    /// A process dies: of what is being written some is there.
    pub(in crate::sim::ensemble) fn torn_log(&mut self, kept: u64) {
        let written = std::mem::take(&mut self.log.writing);
        let kept = kept as usize % (written.len() + 1);
        self.disk.log.extend(written.into_iter().take(kept));
        self.log.queue.clear();
    }
}
