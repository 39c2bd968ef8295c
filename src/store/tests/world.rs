//! One store on a simulated disk, a model of what it owes, and random work between crashes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Model;
use super::sim_disk::{Rng, SimDisk, Trap};
use crate::ids::{Millis, Zxid};
use crate::store::access::ReadAt;
use crate::store::chain::Chain;
use crate::store::chunks;
use crate::store::superblock::Copies;
use crate::store::{EndOfLog, Record, RecoveryReport, Store, StoreError, StoreOptions};

/// Extents of 16 KiB: everything happens often.
pub(crate) fn tiny() -> StoreOptions {
    StoreOptions {
        extent_size: 16 << 10,
        initial_size: 128 << 10,
        max_size: (128 << 10) + 36 * (16 << 10),
        max_record: 8 << 10,
        log_window: 40 << 10,
        follower_window: 16 << 10,
        snapshot_rate: 0,
        small_extents: true,
        ..StoreOptions::default()
    }
}

/// What was found wrong. Planted bugs must lead here.
pub(crate) type Wrong = String;

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) options: StoreOptions,
    pub(crate) disk: Arc<SimDisk>,
    pub(crate) store: Option<Store>,
    /// The state that is owed: every acknowledged transaction.
    pub(crate) owed: Model,
    /// Handed in, not acknowledged.
    tried: Vec<(i64, Vec<u8>)>,
    /// Updates of the superblock are written when the caller has time.
    pub(crate) is_apart: bool,
    epochs_owed: (u64, u64),
    epochs_tried: (u64, u64),
    entries: VecDeque<Vec<u8>>,
    walking: bool,
    now: u64,
    pub(crate) crashes: u64,
    pub(crate) snapshots: u64,
    pub(crate) full: u64,
    pub(crate) appended: u64,
}

impl World {
    pub(crate) fn new(seed: u64, options: StoreOptions) -> World {
        let mut rng = Rng(seed);
        World {
            disk: Arc::new(SimDisk::new(rng.next())),
            rng,
            options,
            store: None,
            owed: Model::default(),
            tried: Vec::new(),
            is_apart: false,
            epochs_owed: (0, 0),
            epochs_tried: (0, 0),
            entries: VecDeque::new(),
            walking: false,
            now: 0,
            crashes: 0,
            snapshots: 0,
            full: 0,
            appended: 0,
        }
    }

    /// Opens what the disk holds and compares it with what is owed.
    pub(crate) fn open(&mut self) -> Result<Result<RecoveryReport, StoreError>, Wrong> {
        let mut found = Model::default();
        let disk: Arc<dyn crate::store::Disk> = Arc::clone(&self.disk) as _;
        (self.walking, self.entries) = (false, VecDeque::new());
        let (mut store, report) = match Store::open_on(disk, &self.options, &mut found) {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        self.compare(&found, &report)?;
        if store.last_zxid() != Zxid(found.last) {
            return Err(format!("S-40: the store ends at {}, the state at {}", store.last_zxid(), found.last));
        }
        let (accepted, current) = store.epochs();
        let ((a0, c0), (a1, c1)) = (self.epochs_owed, self.epochs_tried);
        if accepted < a0 || current < c0 || accepted > a1 || current > c1 {
            return Err(format!("S-08: epochs {accepted}, {current}; owed {:?}, tried {:?}", (a0, c0), (a1, c1)));
        }
        (self.epochs_owed, self.epochs_tried) = ((accepted, current), (accepted, current));
        // What recovery has shown is durable, and the rest of what was tried is gone for good.
        self.owed = Model { seen: Vec::new(), ..found };
        self.tried.clear();
        if self.is_apart {
            store.set_writes_apart();
        }
        self.store = Some(store);
        Ok(Ok(report))
    }

    /// S-40, P1 to P3: everything acknowledged, then a prefix of what was tried, nothing else.
    pub(crate) fn compare(&self, found: &Model, report: &RecoveryReport) -> Result<(), Wrong> {
        let mut expected = self.owed.clone();
        for (zxid, txn) in &self.tried {
            if expected.last >= found.last {
                break;
            }
            expected.apply(Zxid(*zxid), txn);
        }
        if found.last < self.owed.last {
            return Err(format!(
                "S-40: {} was acknowledged, the log ends at {}: {report:?}",
                self.owed.last, found.last
            ));
        }
        if !expected.same_state(found) {
            return Err(format!("S-40: the state at {} is not what was written: {report:?}", found.last));
        }
        if report.end == EndOfLog::Created && self.owed.last != 0 {
            return Err("S-40: made anew over an old file".to_owned());
        }
        Ok(())
    }

    /// S-43, P6: what the superblock slot before the present one names has not been overwritten.
    fn older_generation_is_whole(&self) -> Result<(), Wrong> {
        let image = self.disk.image();
        let source = &image[..];
        let copies = Copies::read(&source).map_err(|e| e.to_string())?;
        let Some(newest) = copies.newest() else { return Ok(()) };
        let Some(older) = copies.of_slot(1 - (newest.generation % 2) as usize) else { return Ok(()) };
        if older.generation == 1 {
            return Ok(());
        }
        let mut older = older.clone();
        // The log has gone on since.
        older.incarnation = newest.incarnation;
        let chain = Chain::walk(&source, &older, &mut |_, _| Ok(())).map_err(|e| format!("S-43: {e}"))?;
        if chain.fseq < older.end_fseq {
            return Err(format!("S-43: log of the older slot lost from {} on: {}", chain.at, chain.why));
        }
        for slot in [0, 1] {
            if let Some(kept) = older.snapshots[slot] {
                let whole = chunks::read_chunks(&source, &older, slot, &kept, &mut |_, _| Ok(()));
                whole.map_err(|(at, what)| format!("S-43: snapshot of the older slot, byte {at}: {what}"))?;
            }
        }
        Ok(())
    }

    fn txn(&mut self, most: u64) -> Vec<u8> {
        let size = match self.rng.below(10) {
            0 => self.rng.below(4),
            1 => self.rng.below(most),
            _ => self.rng.below(700),
        };
        (0..size).map(|_| self.rng.next() as u8).collect()
    }

    /// One piece of work. A store error comes back as such; a broken promise as `Wrong`.
    pub(crate) fn step(&mut self) -> Result<Result<(), StoreError>, Wrong> {
        let kind = self.rng.below(16);
        self.now += self.rng.below(40);
        let now = self.now;
        let result = match kind {
            0..=4 => self.append(),
            5..=9 => self.tick(),
            10..=13 => self.walk(),
            14 if self.rng.chance(8) => {
                let (accepted, current) = (self.epochs_owed.0 + 1, self.epochs_owed.0);
                self.epochs_tried = (accepted, current);
                let store = self.store.as_mut().ok_or("no store")?;
                let mut result = store.set_epochs(accepted, current);
                if result.is_ok() && self.is_apart {
                    result = self.upkeep();
                }
                if result.is_ok() {
                    self.epochs_owed = (accepted, current);
                }
                result
            }
            15 if self.rng.chance(20) => {
                let store = self.store.take().ok_or("no store")?;
                match store.close() {
                    Err(error) => Err(error),
                    Ok(()) => match self.open()? {
                        Err(error) => Err(error),
                        Ok(report) if report.end != EndOfLog::Clean => return Err(format!("D-11: {report:?}")),
                        Ok(_) => Ok(()),
                    },
                }
            }
            _ if self.is_apart => self.upkeep(),
            _ => Ok(()),
        };
        if let Some(store) = &self.store {
            let (stats, len) = (store.stats(), self.disk.len().unwrap());
            if len > self.options.max_size {
                return Err(format!("S-43: {len} bytes, allowed {} at {now}", stats.file_max));
            }
            if result.is_ok() && self.rng.chance(25) {
                self.older_generation_is_whole()?;
            }
        }
        Ok(result)
    }

    /// Writes what waits to be written, while a snapshot goes on.
    fn upkeep(&mut self) -> Result<(), StoreError> {
        let Some(write) = self.store.as_mut().expect("open").upkeep_begin()? else { return Ok(()) };
        if self.rng.chance(3) {
            self.tick()?;
            if self.store.as_ref().is_some_and(Store::snapshot_running) {
                self.walk()?;
            }
        }
        self.store.as_mut().expect("open").append_end(write.carry_out())
    }

    pub(crate) fn append(&mut self) -> Result<(), StoreError> {
        let count = 1 + self.rng.below(6);
        let most = self.options.max_record;
        let first = self.owed.last + 1;
        let txns: Vec<(i64, Vec<u8>)> = (0..count as i64).map(|i| (first + i, self.txn(most))).collect();
        self.append_these(txns)
    }

    pub(crate) fn append_these(&mut self, txns: Vec<(i64, Vec<u8>)>) -> Result<(), StoreError> {
        let records: Vec<Record<'_>> = txns.iter().map(|(z, txn)| Record { zxid: Zxid(*z), txn }).collect();
        let store = self.store.as_mut().expect("open");
        let before = self.disk.calls();
        let result = store.append(&records);
        match &result {
            Ok(()) => {
                for (zxid, txn) in txns {
                    self.owed.apply(Zxid(zxid), &txn);
                    self.appended += 1;
                }
            }
            Err(StoreError::Full { .. }) => {
                self.full += 1;
                return Ok(());
            }
            // Refused without touching the disk: not even tried (S-42).
            Err(_) if before == self.disk.calls() => {}
            Err(_) => self.tried = txns,
        }
        result
    }

    fn tick(&mut self) -> Result<(), StoreError> {
        let now = Millis(self.now);
        let done = self.store.as_mut().expect("open").tick(now)?;
        if let Some(done) = done {
            self.walking = false;
            if done.outcome.is_ok() {
                self.snapshots += 1;
            }
        }
        Ok(())
    }

    /// Begins a snapshot when one is wanted, or goes on with it.
    fn walk(&mut self) -> Result<(), StoreError> {
        let store = self.store.as_mut().expect("open");
        if !store.snapshot_running() {
            if store.wants_snapshot() || self.rng.chance(12) {
                match self.owed.snapshot_in(store) {
                    Ok(entries) => (self.entries, self.walking) = (entries.into(), true),
                    Err(StoreError::Full { .. }) => self.full += 1,
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
        if !self.walking {
            return Ok(());
        }
        if self.rng.chance(30) {
            self.walking = false;
            store.snapshot_abort();
            return Ok(());
        }
        for _ in 0..1 + self.rng.below(8) {
            let result = match self.entries.pop_front() {
                Some(entry) => store.snapshot_push(&entry),
                None => {
                    self.walking = false;
                    store.snapshot_finish()
                }
            };
            if result.is_err() || !self.walking {
                self.walking = false;
                break;
            }
        }
        Ok(())
    }

    /// Works until the power goes at a random call, then brings the disk back as a crash may leave it.
    pub(crate) fn crash(&mut self) -> Result<(), Wrong> {
        let calls = 1 + self.rng.below(if self.rng.0.is_multiple_of(3) { 60 } else { 8 });
        self.disk.set_trap(calls, Trap::Crash);
        for _ in 0..400 {
            if self.step()?.is_err() || self.disk.dead() {
                break;
            }
        }
        self.store = None;
        self.restart_disk();
        Ok(())
    }

    pub(crate) fn restart_disk(&mut self) {
        self.crashes += 1;
        let next = match self.rng.chance(5) {
            true => self.disk.after_kill(self.rng.next()),
            false => self.disk.after_power_cut(&mut self.rng),
        };
        self.disk = Arc::new(next);
    }

    /// Opens after a crash, with further crashes in the middle of recovery now and then.
    pub(crate) fn come_back(&mut self) -> Result<(), Wrong> {
        for _ in 0..4 {
            if !self.rng.chance(3) {
                break;
            }
            let calls = 1 + self.rng.below(8);
            self.disk.set_trap(calls, Trap::Crash);
            match self.open()? {
                Err(StoreError::Corrupt { offset, cause, .. }) => {
                    return Err(format!("P5: damage at {offset}: {cause}"));
                }
                Err(_) if self.disk.dead() => {}
                Err(error) => return Err(format!("recovery failed: {error}")),
                Ok(_) => {}
            }
            self.store = None;
            self.restart_disk();
        }
        match self.open()? {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("P5: a crash was not survived: {error}")),
        }
    }

    /// Crashes and comes back `rounds` times.
    pub(crate) fn run(&mut self, rounds: u32) -> Result<(), Wrong> {
        self.disk.set_trap(1 + self.rng.below(12), Trap::Crash);
        match self.open()? {
            Ok(_) if !self.disk.dead() => {}
            _ => {
                self.store = None;
                self.restart_disk();
                self.come_back()?;
            }
        }
        for _ in 0..rounds {
            // Some stretches without a crash, so that files get old.
            let calm = if self.rng.chance(4) { 200 } else { 20 };
            for _ in 0..self.rng.below(calm) {
                if let Err(error) = self.step()? {
                    if !self.disk.dead() {
                        return Err(format!("an error without a fault: {error}"));
                    }
                    self.store = None;
                    break;
                }
            }
            if self.store.is_some() {
                self.crash()?;
            } else {
                self.restart_disk();
            }
            self.come_back()?;
        }
        Ok(())
    }
}
