//! The thread beside the loop, held in the middle of a write: what is asked meanwhile, and what comes of it.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Model;
use super::sim_disk::SimDisk;
use super::world::tiny;
use crate::ids::{Millis, Zxid};
use crate::store::access::{Disk, ReadAt};
use crate::store::{Record, Store, StoreError, StoreOptions};

/// A disk whose direct writes wait until they are let go.
struct Held {
    disk: SimDisk,
    begun: Mutex<Sender<u64>>,
    go_on: Mutex<Receiver<io::Result<()>>>,
}

/// The other side: says where a write has begun, and lets it go.
struct Holder {
    begun: Receiver<u64>,
    go_on: SyncSender<io::Result<()>>,
}

impl Holder {
    /// Where the next write is that has begun.
    fn next(&self) -> u64 {
        self.begun.recv_timeout(Duration::from_secs(60)).expect("a write begins")
    }
}

fn held(disk: SimDisk) -> (Arc<Held>, Holder) {
    let ((begun_to, begun), (go_on, gone_on)) = (channel(), sync_channel(100));
    (Arc::new(Held { disk, begun: Mutex::new(begun_to), go_on: Mutex::new(gone_on) }), Holder { begun, go_on })
}

impl ReadAt for Held {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.disk.read_at(buf, at)
    }
}

impl Disk for Held {
    fn grow(&self, len: u64) -> io::Result<()> {
        self.disk.grow(len)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.disk.write_at(buf, at)
    }

    fn write_at_synced(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.disk.write_at_synced(buf, at)
    }

    fn write_at_direct(&self, buf: &[u8], at: u64) -> io::Result<()> {
        // Nobody is there to hold it when the test is over.
        if self.begun.lock().unwrap().send(at).is_ok() {
            self.go_on.lock().unwrap().recv().unwrap_or(Ok(()))?;
        }
        self.disk.write_at_direct(buf, at)
    }

    fn read_at_direct(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.disk.read_at_direct(buf, at)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.sync_all()
    }

    fn background(&self) -> bool {
        true
    }

    fn writer(&self) -> &'static str {
        "held"
    }

    fn now_us(&self) -> u64 {
        self.disk.now_us()
    }

    fn random(&self, buf: &mut [u8]) -> io::Result<()> {
        self.disk.random(buf)
    }

    fn is_being_created(&self) -> bool {
        self.disk.is_being_created()
    }

    fn put_in_place(&self) -> io::Result<()> {
        self.disk.put_in_place()
    }
}

/// A store with a snapshot of several chunks under way, the first of which is being written at the place that is told.
fn writing() -> (Store, Holder, u64) {
    let image = Arc::new(SimDisk::new(1));
    let mut store = super::open(&image, &tiny());
    store.append(&[Record { zxid: Zxid(1), txn: b"one" }]).unwrap();
    for now in 0..20 {
        store.tick(Millis(now)).unwrap();
    }
    drop(store);
    let (disk, holder) = held(SimDisk::of_image(image.image(), 2));
    let (mut store, _) = Store::open_on(disk, &tiny(), &mut Model::default()).unwrap();
    store.append(&[Record { zxid: Zxid(2), txn: b"two" }]).unwrap();
    store.snapshot_begin(Zxid(2), 30_000).unwrap();
    for _ in 0..20 {
        store.snapshot_push(&[7; 996]).unwrap();
    }
    let at = holder.next();
    (store, holder, at)
}

/// Turns until nothing of a snapshot is left; what was told meanwhile.
fn turns(store: &mut Store) -> Vec<Result<u64, StoreError>> {
    let mut told = Vec::new();
    let mut now = 100;
    let begun = Instant::now();
    while store.snapshot_running() {
        now += 1;
        assert!(begun.elapsed().as_secs() < 60, "the snapshot does not end");
        told.extend(store.tick(Millis(now)).unwrap().map(|done| done.outcome));
        std::thread::yield_now();
    }
    told
}

#[test]
fn who_has_an_extent_zeroed_beside_it_says_when_to_look_at_it_again() {
    let (disk, holder) = held(SimDisk::new(1));
    let extent_size = 64 << 10;
    let options = StoreOptions { extent_size, initial_size: extent_size, mark_after_ms: 0, ..tiny() };
    // The first write of all makes the file.
    holder.go_on.send(Ok(())).unwrap();
    let (mut store, _) = Store::open_on(disk, &options, &mut Model::default()).unwrap();
    let small = store.stats().file_bytes;
    store.append(&[Record { zxid: Zxid(1), txn: &[1; 4000] }]).unwrap();
    assert_eq!(store.poll_timeout(Millis(1)), None);
    store.tick(Millis(1)).unwrap();
    for _ in 0..2 {
        holder.next();
    }
    // Nothing else waits to be done.
    assert_eq!(store.poll_timeout(Millis(1)), Some(10));
    assert_eq!(store.tick(Millis(2)), Ok(None));
    assert_eq!(store.stats().file_bytes, small, "it does not count before it is zeroed");
    for _ in 0..50 {
        holder.go_on.send(Ok(())).unwrap();
    }
    store.wait_for_helper().unwrap();
    assert_eq!(store.stats().file_bytes, store.extents.bytes_of(1));
}

#[test]
fn a_snapshot_that_its_caller_gives_up_ends_with_its_last_write_and_is_not_reported() {
    let (mut store, holder, _) = writing();
    store.snapshot_abort();
    assert!(store.snapshot_running(), "its space is still being written to");
    assert_eq!(store.snapshot_push(&[1; 10]), Err(StoreError::NoSnapshot));
    assert_eq!(store.snapshot_begin(Zxid(2), 100), Err(StoreError::SnapshotRunning));
    let before = store.space().free;
    holder.go_on.send(Ok(())).unwrap();
    assert_eq!(turns(&mut store), []);
    assert!(store.space().free > before, "its space is free again");
    assert!(holder.begun.try_recv().is_err(), "nothing more of it is written");
    assert_eq!(store.stats().snapshots_failed, 1);
}

#[test]
fn a_state_is_installed_once_the_snapshot_that_is_being_written_has_let_go() {
    // S-08
    let (mut store, holder, at) = writing();
    // What has not begun does not begin any more.
    store.snapshot_abort();
    holder.go_on.send(Ok(())).unwrap();
    let state = store.member_state().clone();
    store.install_begin(Zxid(9), 100, &state).unwrap();
    assert_eq!(store.stats().snapshots_failed, 1);
    store.snapshot_push(b"whole").unwrap();
    store.snapshot_finish().unwrap();
    // The place of the first is used again.
    assert_eq!(holder.next(), at);
    holder.go_on.send(Ok(())).unwrap();
    assert_eq!(store.snapshot_wait().unwrap().outcome, Ok(9));
    assert_eq!(store.last_zxid(), Zxid(9));
}

#[test]
fn a_snapshot_that_cannot_be_written_is_reported_once_and_its_place_is_bad() {
    // F-07
    let (mut store, holder, at) = writing();
    holder.go_on.send(Err(io::Error::other("a bad sector"))).unwrap();
    // The next may have been begun by then.
    drop(holder);
    let told = turns(&mut store);
    assert!(matches!(told[..], [Err(StoreError::Io { what: "write a snapshot", .. })]), "{told:?}");
    let bad = crate::store::superblock::ExtentState::Bad;
    let index = store.sb().map.iter().position(|extent| extent.state == bad).unwrap();
    assert_eq!(store.sb().extent_at(index as u32), at);
}

#[test]
fn a_stop_waits_for_the_write_that_is_under_way_and_for_no_other() {
    // D-11
    let (store, holder, at) = writing();
    let disk = Arc::clone(&store.extents.root.disk);
    holder.go_on.send(Ok(())).unwrap();
    drop(holder.go_on);
    store.close().unwrap();
    assert_eq!(Arc::strong_count(&disk), 1, "no thread has the file any more");
    let mut chunk = [0; 4];
    disk.read_at(&mut chunk, at).unwrap();
    assert_ne!(chunk, [0; 4]);
}

#[test]
fn a_store_that_is_dropped_takes_its_thread_with_it() {
    let (store, holder, _) = writing();
    let disk = Arc::clone(&store.extents.root.disk);
    holder.go_on.send(Ok(())).unwrap();
    drop(holder.go_on);
    drop(store);
    assert_eq!(Arc::strong_count(&disk), 1);
}

#[test]
fn who_waits_for_room_waits_for_a_chunk_and_goes_on_with_the_next() {
    let (mut store, holder, _) = writing();
    let before = store.snapshot_backlog();
    holder.go_on.send(Ok(())).unwrap();
    store.snapshot_await_room().unwrap();
    let after = store.snapshot_backlog();
    assert!(after < before, "{after} of {before} bytes still wait");
    for _ in 0..20 {
        holder.go_on.send(Ok(())).unwrap();
    }
    store.snapshot_finish().unwrap();
    assert_eq!(store.snapshot_wait().unwrap().outcome, Ok(20_000));
    assert_eq!(store.snapshot_backlog(), 0);
}
