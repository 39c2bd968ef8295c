//! A file system without space: what makes room goes on from blocks that the file has, and all goes on when space returns.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Model;
use super::world::{World, tiny};
use crate::ids::{Millis, Zxid};
use crate::store::{Record, SpaceLevel, Store, StoreError, StoreOptions};

/// Takes a snapshot of `model`, ticking by `now`.
fn snapshot(store: &mut Store, model: &Model, now: &mut u64) {
    let entries = model.entries();
    let size: usize = entries.iter().map(|entry| entry.len() + 4).sum();
    store.snapshot_begin(store.last_zxid(), size as u64).unwrap_or_else(|error| panic!("{error}: {:?}", store.space()));
    for entry in entries {
        store.snapshot_push(&entry).unwrap();
    }
    store.snapshot_finish().unwrap();
    let begun = std::time::Instant::now();
    loop {
        *now += 1;
        if let Some(done) = store.tick(Millis(*now)).unwrap() {
            done.outcome.unwrap_or_else(|error| panic!("{error}: {:?}", store.space()));
            return;
        }
        assert!(begun.elapsed().as_secs() < 60, "the snapshot does not end");
        std::thread::yield_now();
    }
}

#[test]
fn a_state_is_installed_once_the_disk_has_space_again_though_nothing_else_needs_any() {
    // F-09, F-21
    let mut world = World::new(1, tiny());
    world.open().unwrap().unwrap();
    world.append().unwrap();
    let disk = std::sync::Arc::clone(&world.disk);
    let store = world.store.as_mut().unwrap();
    let (kept, size) = (store.member_state().clone(), 300 << 10);
    (1..1000).for_each(|now| assert_eq!(store.tick(Millis(now)), Ok(None)));
    disk.set_room(world.disk.image().len() as u64);
    let install = |store: &mut Store, now: u64| {
        let begun = store.install_begin(Zxid(1000), size, &kept);
        for _ in 0..300 {
            begun.clone()?;
            let _ = store.snapshot_push(&[7; 1000]);
        }
        begun?;
        store.snapshot_finish()?;
        store.tick(Millis(now)).unwrap();
        store.snapshot_wait()?.outcome
    };
    assert!(matches!(install(store, 1500), Err(StoreError::Full { .. })), "there was room");
    assert!(matches!(install(store, 3000), Err(StoreError::Full { .. })), "there was room");
    disk.set_room(u64::MAX);
    for tick in 100_000..102_000 {
        store.tick(Millis(tick)).unwrap();
    }
    install(store, 102_000).unwrap();
    assert_eq!(store.last_zxid(), Zxid(1000));
}

/// Works as a server does, refusing what grows at the reserve. `size` of each value; whether anything was refused.
struct Server {
    store: Store,
    model: Model,
    now: u64,
}

impl Server {
    fn write(&mut self, key: u8, size: usize) {
        let zxid = self.model.last + 1;
        let mut txn = vec![key; size.max(1)];
        txn[0] = key;
        self.store
            .append(&[Record { zxid: Zxid(zxid), txn: &txn }])
            .unwrap_or_else(|e| panic!("{e}: {:?}", self.store.space()));
        self.model.apply(Zxid(zxid), &txn);
    }

    /// One turn: the level it is at, and whether writes may go on.
    fn turn(&mut self) -> (SpaceLevel, bool) {
        self.now += 1;
        let size = self.model.size();
        self.store.set_state_size(size);
        let budget = self.store.log_budget(0);
        let level = self.store.space().level;
        if self.store.wants_snapshot() && !self.store.snapshot_running() {
            let model = self.model.clone();
            snapshot(&mut self.store, &model, &mut self.now);
        }
        self.store.tick(Millis(self.now)).unwrap();
        (level, budget > 0)
    }

    /// Grows the state until growing is refused.
    fn fill(&mut self, most: usize, step: usize) {
        let (mut size, mut written) = (step, 0);
        let begun = std::time::Instant::now();
        loop {
            let (level, goes_on) = self.turn();
            assert!(level < SpaceLevel::Exhausted, "{:?}", self.store.space());
            if level >= SpaceLevel::Reserve {
                return;
            }
            if goes_on {
                self.write(written as u8, size);
                (size, written) = ((size + step).min(most), written + 1);
            } else {
                std::thread::yield_now();
            }
            let hangs = written > 20_000 || begun.elapsed().as_secs() > 120;
            assert!(!hangs, "never full: {:?}", self.store.space());
        }
    }

    /// Everything that must go on when the disk is full, and does: at once, or when the snapshot is over that makes room.
    fn goes_on(&mut self, small: usize) {
        for key in 0..30 {
            let begun = std::time::Instant::now();
            loop {
                let (level, goes_on) = self.turn();
                assert!(level < SpaceLevel::Exhausted, "sessions, deletes: {:?}", self.store.space());
                if goes_on {
                    break;
                }
                assert!(begun.elapsed().as_secs() < 60, "waits for ever: {:?}", self.store.space());
                std::thread::yield_now();
            }
            self.write(key, small);
        }
    }
}

fn works(server: &mut Server, most: usize, step: usize, give_space: impl FnOnce()) {
    server.fill(most, step);
    assert!(server.store.stats().poisoned.is_none());
    server.goes_on(20);
    // All values are small by now: deletes have made room, and growing goes on within it.
    for _ in 0..200 {
        if server.turn().0 < SpaceLevel::Reserve {
            break;
        }
        server.write(1, 20);
    }
    assert!(server.turn().0 < SpaceLevel::Reserve, "deletes free space: {:?}", server.store.space());
    server.fill(most, step);
    // Again, and now the disk gets space.
    give_space();
    let begun = std::time::Instant::now();
    while server.turn().0 >= SpaceLevel::Reserve && begun.elapsed().as_secs() < 60 {
        // The disk is asked again after a second, and here a turn is a millisecond.
        std::thread::yield_now();
    }
    assert!(server.turn().0 < SpaceLevel::Reserve, "resumes by itself: {:?}", server.store.space());
    server.write(1, most);
}

// R-22, F-09
#[test]
fn a_disk_without_space_takes_deletes_and_sessions_and_recovers_by_itself() {
    for room in [8, 9, 10] {
        let mut world = World::new(4, StoreOptions { max_size: 64 << 20, ..tiny() });
        world.disk.set_room((128 << 10) + room * (16 << 10));
        world.open().unwrap().unwrap();
        let store = world.store.take().unwrap();
        let mut server = Server { store, model: Model::default(), now: 0 };
        let disk = std::sync::Arc::clone(&world.disk);
        works(&mut server, 8000, 100, || disk.set_room(u64::MAX));
    }
}

/// A file system in memory, mounted as long as this lives.
pub(crate) struct Mounted(pub(crate) std::path::PathBuf);

impl Mounted {
    pub(crate) fn new(mib: u64) -> Option<Mounted> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("zoarium-full-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then_some(Mounted(path))
    }

    fn resize(path: &Path, mib: u64) {
        let size = format!("remount,size={mib}m");
        assert!(Command::new("mount").args(["-o", &size]).arg(path).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_real_file_system_without_space_is_survived() {
    let Some(mounted) = Mounted::new(34) else {
        println!("SKIPPED: no file system can be mounted here");
        return;
    };
    let options = StoreOptions { snapshot_rate: 0, log_window: 8 << 20, ..StoreOptions::default() };
    let (store, _) = Store::open(&mounted.0.join("zoarium.db"), &options, &mut Model::default()).unwrap();
    let mut server = Server { store, model: Model::default(), now: 0 };
    let path = mounted.0.clone();
    works(&mut server, 2 << 20, 256 << 10, || Mounted::resize(&path, 200));
    drop(server);
}
