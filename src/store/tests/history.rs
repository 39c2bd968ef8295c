//! Reading, cutting and replacing the history: against a model, with the power going at any call.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::crash::seeds;
use super::sim_disk::{Rng, SimDisk, Trap};
use super::world::{Wrong, tiny};
use super::{Model, fill, open};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, Zxid};
use crate::store::{Disk, LogCursor, MemberState, Record, Store, StoreError, StoreOptions};

/// A state, and what led to it as far as the test remembers.
#[derive(Clone, Default)]
struct Owed {
    state: Model,
    /// The state after each transaction.
    past: BTreeMap<i64, Rc<Model>>,
    /// Each transaction's bytes.
    txns: BTreeMap<i64, Rc<[u8]>>,
    epoch: u64,
}

impl Owed {
    fn apply(&mut self, zxid: i64, txn: &[u8]) {
        self.state.apply(Zxid(zxid), txn);
        self.past.insert(zxid, Rc::new(self.state.clone()));
        self.txns.insert(zxid, txn.into());
    }

    /// The same, cut behind `to`.
    fn cut(&self, to: i64) -> Owed {
        let mut cut = self.clone();
        cut.past.split_off(&(to + 1));
        cut.txns.split_off(&(to + 1));
        cut.state = if to == 0 { Model::default() } else { Model::clone(&self.past[&to]) };
        cut
    }
}

struct Reader {
    cursor: LogCursor,
    upto: i64,
}

struct World {
    rng: Rng,
    options: StoreOptions,
    disk: Arc<SimDisk>,
    store: Option<Store>,
    owed: Owed,
    /// What may be found instead after a crash.
    tried: Vec<Owed>,
    reader: Option<Reader>,
    now: u64,
    cuts: u64,
    refused: u64,
    installed: u64,
    read: u64,
    released: u64,
    snapshots: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng(seed);
        World {
            disk: Arc::new(SimDisk::new(rng.next())),
            rng,
            options: StoreOptions {
                keep_snapshots: 1 + u32::from(!seed.is_multiple_of(3)),
                large_data: if seed.is_multiple_of(4) { 512 } else { 0 },
                ..tiny()
            },
            store: None,
            owed: Owed::default(),
            tried: Vec::new(),
            reader: None,
            now: 0,
            cuts: 0,
            refused: 0,
            installed: 0,
            read: 0,
            released: 0,
            snapshots: 0,
        }
    }

    fn open(&mut self) -> Result<Result<(), StoreError>, Wrong> {
        let mut found = Model::default();
        let disk: Arc<dyn Disk> = Arc::clone(&self.disk) as _;
        let store = match Store::open_on(disk, &self.options, &mut found) {
            Ok((store, _)) => store,
            Err(error) => return Ok(Err(error)),
        };
        let epoch = store.member_state().current_epoch;
        let fits = |owed: &&Owed| owed.state.same_state(&found) && owed.epoch == epoch;
        let all = || std::iter::once(&self.owed).chain(&self.tried);
        let Some(owed) = all().find(fits) else {
            let known: Vec<(i64, u64)> = all().map(|owed| (owed.state.last, owed.epoch)).collect();
            return Err(format!("the state at {} with epoch {epoch} is none of {known:?}", found.last));
        };
        if store.last_zxid() != Zxid(found.last) {
            return Err(format!("the store ends at {}, the state at {}", store.last_zxid(), found.last));
        }
        self.owed = owed.clone();
        self.tried.clear();
        self.reader = None;
        self.store = Some(store);
        Ok(Ok(()))
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("open")
    }

    fn step(&mut self) -> Result<Result<(), StoreError>, Wrong> {
        self.now += self.rng.below(40);
        let now = Millis(self.now);
        Ok(match self.rng.below(24) {
            0..=9 => self.append(),
            10..=13 => self.store().tick(now).map(drop),
            14..=16 => self.snapshot(),
            17 | 18 => self.truncate()?,
            19 if self.rng.chance(3) => self.install()?,
            20..=22 => self.read()?,
            _ => self.reload()?,
        })
    }

    fn append(&mut self) -> Result<(), StoreError> {
        let mut after = self.owed.clone();
        let mut txns = Vec::new();
        for _ in 0..1 + self.rng.below(4) {
            let most = if self.rng.chance(6) { 7000 } else { 500 };
            let txn: Vec<u8> = (0..self.rng.below(most)).map(|_| self.rng.next() as u8).collect();
            let zxid = after.state.last + 1 + i64::from(self.rng.chance(9));
            // A crash may leave any prefix of a batch.
            self.tried.push(after.clone());
            after.apply(zxid, &txn);
            txns.push((zxid, txn));
        }
        self.tried.push(after.clone());
        let records: Vec<Record<'_>> = txns.iter().map(|(z, txn)| Record { zxid: Zxid(*z), txn }).collect();
        let result = self.store().append(&records);
        match &result {
            Ok(()) => self.owed = after,
            Err(StoreError::Full { .. }) => {}
            Err(_) => return result,
        }
        self.tried.clear();
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(), StoreError> {
        let state = self.owed.state.clone();
        let store = self.store();
        if store.snapshot_running() || !store.budget().may_begin_snapshot() {
            return Ok(());
        }
        let entries = match state.snapshot_in(store) {
            Err(StoreError::Full { .. }) => return Ok(()),
            other => other?,
        };
        for entry in entries {
            store.snapshot_push(&entry)?;
        }
        store.snapshot_finish()?;
        self.snapshots += 1;
        if self.rng.chance(2) { self.store().snapshot_wait().map(drop) } else { Ok(()) }
    }

    fn truncate(&mut self) -> Result<Result<(), StoreError>, Wrong> {
        let known: Vec<i64> = self.owed.past.keys().rev().take(30).copied().collect();
        let to = match self.rng.below(12) {
            0 => 0,
            1 => self.owed.state.last + 1,
            2 => 1 + self.rng.below(self.owed.state.last.max(1) as u64) as i64,
            _ if known.is_empty() => return Ok(Ok(())),
            _ => known[self.rng.below(known.len() as u64) as usize],
        };
        if to == 0 || self.owed.past.contains_key(&to) {
            self.tried.push(self.owed.cut(to));
        }
        match self.store().truncate(Zxid(to)) {
            Ok(true) => {
                let Some(cut) = self.tried.pop() else { return Err(format!("S-15: cut at {to}, which was no state")) };
                self.owed = cut;
                self.reader = None;
                self.cuts += 1;
                if self.store().last_zxid() != Zxid(to) {
                    return Err(format!("cut to {to}, and the log ends at {}", self.store().last_zxid()));
                }
                self.reload()
            }
            Ok(false) => {
                self.tried.clear();
                self.refused += 1;
                Ok(Ok(()))
            }
            Err(StoreError::Full { .. }) => {
                self.tried.clear();
                self.reader = None;
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// The state is read back as it is owed (S-15).
    fn reload(&mut self) -> Result<Result<(), StoreError>, Wrong> {
        let mut found = Model::default();
        match self.store().reload(&mut found) {
            Ok(_) if found.same_state(&self.owed.state) => Ok(Ok(())),
            Ok(_) => Err(format!("reloaded {}, owed {}", found.last, self.owed.state.last)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn install(&mut self) -> Result<Result<(), StoreError>, Wrong> {
        let mut next = Owed { epoch: self.owed.epoch + 1, ..Owed::default() };
        // It may be behind what is here.
        let at = (self.owed.state.last - 20 + self.rng.below(60) as i64).max(1);
        for _ in 0..1 + self.rng.below(12) {
            let txn: Vec<u8> = (0..self.rng.below(3000)).map(|_| self.rng.next() as u8).collect();
            next.state.apply(Zxid(at), &txn);
        }
        next.past.insert(at, Rc::new(next.state.clone()));
        let (entries, size) = (next.state.entries(), next.state.size());
        let state = MemberState { accepted_epoch: next.epoch, current_epoch: next.epoch, ..MemberState::default() };
        self.reader = None;
        self.tried.push(next.clone());
        let store = self.store();
        let work = || {
            store.install_begin(Zxid(at), size, &state)?;
            for entry in entries {
                store.snapshot_push(&entry)?;
            }
            store.snapshot_finish()?;
            store.snapshot_wait()?.outcome
        };
        match work() {
            Ok(_) => {
                self.owed = next;
                self.installed += 1;
            }
            Err(StoreError::Full { .. }) => {}
            Err(error) => return Ok(Err(error)),
        }
        self.tried.clear();
        if self.store().last_zxid() != Zxid(self.owed.state.last) {
            return Err(format!("installed, and the log ends at {}", self.store().last_zxid()));
        }
        self.reload()
    }

    fn read(&mut self) -> Result<Result<(), StoreError>, Wrong> {
        if self.reader.is_none() {
            let after = match self.rng.below(4) {
                0 => 0,
                1 => self.owed.state.last - self.rng.below(9) as i64,
                _ => self.rng.below(self.owed.state.last.max(1) as u64 + 3) as i64,
            };
            let base = self.owed.past.keys().next().copied().unwrap_or(0).min(self.owed.state.last);
            let cursor = match self.store().read_open(Zxid(after)) {
                Ok(Some(cursor)) => cursor,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            let before = self.owed.past.range(..=after).next_back().map_or(0, |(zxid, _)| *zxid);
            if cursor.before() != Zxid(before) && after >= base {
                return Err(format!("before {after} comes {before}, not {}", cursor.before()));
            }
            self.reader = Some(Reader { cursor, upto: after });
        }
        let mut reader = self.reader.take().expect("just made");
        let most = 1 + self.rng.below(20_000) as usize;
        let found = match self.store().read(&mut reader.cursor, most) {
            Ok(found) => found,
            Err(StoreError::LogReleased) => {
                self.released += 1;
                self.store().read_close(reader.cursor);
                return Ok(Ok(()));
            }
            Err(error) => return Ok(Err(error)),
        };
        let bytes: usize = found.iter().map(|(_, txn)| txn.len()).sum();
        if bytes > most && found.len() > 1 {
            return Err(format!("{bytes} bytes where {most} were asked for"));
        }
        let mut owed = self.owed.txns.range(reader.upto + 1..);
        for (zxid, txn) in &found {
            if owed.next().is_none_or(|(next, bytes)| (*next, &bytes[..]) != (zxid.0, &txn[..])) {
                return Err(format!("G-16: {zxid} is read after {}, and is not what follows", reader.upto));
            }
            reader.upto = zxid.0;
            self.read += 1;
        }
        if found.is_empty() && owed.next().is_some() {
            return Err(format!("nothing is read after {}, and there is more", reader.upto));
        }
        if found.is_empty() && self.rng.chance(2) {
            self.store().read_close(reader.cursor);
        } else {
            self.reader = Some(reader);
        }
        Ok(Ok(()))
    }

    fn run(&mut self, rounds: u32) -> Result<(), Wrong> {
        self.open()?.map_err(|error| error.to_string())?;
        for _ in 0..rounds {
            if self.rng.chance(2) {
                let calls = 1 + self.rng.below(60);
                self.disk.set_trap(calls, Trap::Crash);
            }
            for _ in 0..self.rng.below(60) {
                if let Err(error) = self.step()? {
                    if !self.disk.dead() {
                        return Err(format!("an error without a fault: {error}"));
                    }
                    break;
                }
            }
            if let Some(store) = self.store.take()
                && !self.disk.dead()
                && self.rng.chance(3)
            {
                // A clean stop, at which everything is where it was said to be.
                if store.close().is_ok() {
                    self.tried.clear();
                }
            }
            let next = if self.rng.chance(5) {
                self.disk.after_kill(self.rng.next())
            } else {
                self.disk.after_power_cut(&mut self.rng)
            };
            self.disk = Arc::new(next);
            self.open()?.map_err(|error| format!("P5: a crash was not survived: {error}"))?;
        }
        Ok(())
    }
}

// D-08, S-08, S-15, S-40, G-16, L-10
#[test]
fn what_is_cut_read_and_installed_is_so_after_any_crash() {
    // SC-13, SC-52
    let (mut cuts, mut refused, mut installed, mut read, mut snapshots, mut released) = (0, 0, 0, 0, 0, 0);
    for seed in seeds(60) {
        let mut world = World::new(seed);
        if let Err(wrong) = world.run(25) {
            panic!("{wrong}\nreplay: ZOA_SEED={seed} cargo test --lib what_is_cut");
        }
        (cuts, refused, installed) = (cuts + world.cuts, refused + world.refused, installed + world.installed);
        (read, snapshots, released) = (read + world.read, snapshots + world.snapshots, released + world.released);
    }
    println!(
        "{cuts} cuts, {refused} refused, {installed} installed, {read} read, {snapshots} snapshots, {released} released"
    );
    let enough = cuts > 1000 && refused > 100 && installed > 100 && read > 10_000 && snapshots > 100;
    assert!(std::env::var("ZOA_SEED").is_ok() || enough);
}

#[test]
fn planted_bugs_of_cutting_and_installing_are_found() {
    // SC-14
    let mut missed = Vec::new();
    for bug in [
        Failpoint::TruncKeepsSnapshot,
        Failpoint::TruncInMemoryOnly,
        Failpoint::EpochsBeforeState,
        Failpoint::PublishUnsynced,
        Failpoint::MirrorsTogether,
        Failpoint::AckBeforeSync,
    ] {
        let found = failpoint::with(bug, || {
            (0..200).find(|seed| {
                let run = std::panic::catch_unwind(|| World::new(*seed).run(25));
                !matches!(run, Ok(Ok(())))
            })
        });
        println!("{bug:?}: seed {found:?}");
        missed.extend(found.is_none().then_some(bug));
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn a_reader_keeps_its_extents_until_it_is_done_or_takes_too_long() {
    for too_long in [false, true] {
        let disk = Arc::new(SimDisk::new(1));
        let options = StoreOptions { keep_snapshots: 1, follower_window: 0, log_window: 1 << 20, ..tiny() };
        let mut store = open(&disk, &options);
        fill(&mut store, 1..=40, 1000);
        let mut cursor = store.read_open(Zxid(3)).unwrap().unwrap();
        assert_eq!((cursor.before(), store.read(&mut cursor, 1).unwrap()[0].0), (Zxid(3), Zxid(4)));
        let mut now = 0;
        let mut snapshot = |store: &mut Store| {
            now += 3000;
            store.tick(Millis(now)).unwrap();
            store.snapshot_begin(store.last_zxid(), 100).unwrap();
            store.snapshot_push(b"12345678910").unwrap();
            store.snapshot_finish().unwrap();
            assert!(store.snapshot_wait().unwrap().outcome.is_ok());
        };
        snapshot(&mut store);
        assert_eq!(store.read(&mut cursor, 1).unwrap()[0].0, Zxid(5));
        if too_long {
            store.tick(Millis(10 * 60 * 1000)).unwrap();
            assert_eq!(store.read(&mut cursor, 1), Err(StoreError::LogReleased));
        } else {
            store.read_close(cursor);
        }
        fill(&mut store, 41..=42, 1000);
        let mut later = store.read_open(Zxid(41)).unwrap().unwrap();
        let txns = store.read(&mut later, 1 << 20).unwrap();
        assert_eq!(txns.iter().map(|(zxid, _)| zxid.0).collect::<Vec<_>>(), [42]);
        store.read_close(later);
        snapshot(&mut store);
        assert!(store.read_open(Zxid(3)).unwrap().is_none(), "released with its reader");
    }
}

// G-16
#[test]
fn rot_in_the_log_is_an_error_and_never_given_out() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &tiny());
    fill(&mut store, 1..=9, 1000);
    let mut image = disk.image();
    let needle = [7u8; 1000];
    let at = image.windows(1000).position(|window| window == needle).unwrap();
    image[at + 500] ^= 4;
    disk.write_at(&image[at / 512 * 512..at / 512 * 512 + 1024], (at / 512 * 512) as u64).unwrap();
    let mut cursor = store.read_open(Zxid(5)).unwrap().unwrap();
    let first = store.read(&mut cursor, 1).unwrap();
    assert_eq!(first[0].0, Zxid(6));
    assert!(matches!(store.read(&mut cursor, 1), Err(StoreError::Corrupt { .. })));
    assert!(matches!(store.read_open(Zxid(8)), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_file_that_does_not_say_whose_it_is_becomes_the_members() {
    let disk = Arc::new(SimDisk::new(1));
    drop(open(&disk, &tiny()));
    let mine = StoreOptions { server_id: Some(3), ..tiny() };
    drop(open(&disk, &mine));
    let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
    let other = StoreOptions { server_id: Some(4), ..tiny() };
    let refused = Store::open_on(shared, &other, &mut Model::default()).unwrap_err();
    assert_eq!(refused, StoreError::WrongServer { expected: 4, found: 3 });
}

// L-10: what is damaged is not served and not lost before something whole is there.
#[test]
fn a_damaged_file_is_filled_by_a_state_from_elsewhere() {
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let disk = Arc::new(SimDisk::new(rng.next()));
        let mut store = open(&disk, &tiny());
        fill(&mut store, 1..=60, 900);
        store.keep(&MemberState { accepted_epoch: 2, current_epoch: 2, ..MemberState::default() }).unwrap();
        store.close().unwrap();
        let mut image = disk.image();
        match seed % 3 {
            0 => {
                let at = image.windows(900).position(|window| window == [30; 900]).unwrap();
                image[at] ^= 1;
            }
            // Both mirrors of a slot.
            1 => [0, 64 << 10].into_iter().for_each(|at| image[at + 100] ^= 1),
            _ => [32 << 10, 96 << 10].into_iter().for_each(|at| image[at + 100] ^= 1),
        }
        let mut disk = Arc::new(SimDisk::of_image(image, seed));
        let open_hollow = |disk: &Arc<SimDisk>| Store::open_to_be_filled(Arc::clone(disk) as _, &tiny());
        let refused = |disk: &Arc<SimDisk>| {
            let opened = Store::open_on(Arc::clone(disk) as _, &tiny(), &mut Model::default());
            assert!(matches!(opened, Err(StoreError::Corrupt { .. })), "{opened:?}");
        };
        refused(&disk);
        let mut state = Model::default();
        state.apply(Zxid(70), b"whole");
        let kept = MemberState { accepted_epoch: 3, current_epoch: 3, ..MemberState::default() };
        // The power goes anywhere on the way.
        for calls in [2, 3, 5, 6, 9, 12, 14, u64::MAX / 2] {
            disk.set_trap(calls, Trap::Crash);
            let filled = open_hollow(&disk).and_then(|mut store| {
                assert!(store.is_to_be_filled() && store.last_zxid() == Zxid::ZERO);
                assert!(store.append(&[Record { zxid: Zxid(90), txn: b"" }]).is_err());
                assert!(store.read_open(Zxid(5)).is_err() && store.truncate(Zxid(5)).is_err());
                store.install_begin(Zxid(70), 100, &kept)?;
                state.entries().iter().try_for_each(|entry| store.snapshot_push(entry))?;
                store.snapshot_finish()?;
                store.snapshot_wait()?.outcome
            });
            let is_done = filled.is_ok();
            disk = Arc::new(disk.after_power_cut(&mut rng));
            let mut found = Model::default();
            match Store::open_on(Arc::clone(&disk) as _, &tiny(), &mut found) {
                Ok((store, _)) => {
                    assert!(found.same_state(&state));
                    assert_eq!(*store.member_state(), kept);
                    break;
                }
                Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }) && !is_done, "{error}"),
            }
        }
        let mut found = Model::default();
        let (mut store, _) = Store::open_on(Arc::clone(&disk) as _, &tiny(), &mut found).unwrap();
        assert!(found.same_state(&state) && !store.is_to_be_filled());
        fill(&mut store, 71..=90, 900);
    }
}
