//! The same promises on a real file.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use super::Model;
use crate::ids::{Millis, Zxid};
use crate::store::{
    EndOfLog, InspectLine, InspectVerdict, ReadAt, Record, Store, StoreError, StoreOptions, inspect, inspect_bytes,
};

/// A folder that goes when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("zoarium-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("zoarium.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn append(store: &mut Store, model: &mut Model, from: i64, count: i64, size: usize) {
    let txns: Vec<(i64, Vec<u8>)> = (from..from + count).map(|z| (z, vec![z as u8; size])).collect();
    let records: Vec<Record<'_>> = txns.iter().map(|(z, txn)| Record { zxid: Zxid(*z), txn }).collect();
    store.append(&records).unwrap();
    for (z, txn) in &txns {
        model.apply(Zxid(*z), txn);
    }
}

// G-09, S-40
#[test]
fn what_was_appended_is_there_after_a_stop_and_after_a_drop() {
    let folder = Folder::new();
    let options = StoreOptions::default();
    let mut model = Model::default();
    let (mut store, report) = Store::open(&folder.file(), &options, &mut Model::default()).unwrap();
    assert_eq!(report.end, EndOfLog::Created);
    append(&mut store, &mut model, 1, 10, 200);
    append(&mut store, &mut model, 11, 300, 20_000);
    let (uuid, secret) = (store.file_uuid(), store.secret());
    assert_ne!((uuid, secret), ([0; 16], [0; 32]));
    drop(store);

    let mut found = Model::default();
    let (mut store, report) = Store::open(&folder.file(), &options, &mut found).unwrap();
    assert!(matches!(report.end, EndOfLog::Cut { .. }), "{report:?}");
    assert!(found.same_state(&model));
    assert_eq!(found.seen, (1..=310).collect::<Vec<_>>());
    assert_eq!((store.file_uuid(), store.secret()), (uuid, secret));
    append(&mut store, &mut model, 311, 1, 5);
    store.close().unwrap();

    let mut found = Model::default();
    let (store, report) = Store::open(&folder.file(), &options, &mut found).unwrap();
    assert_eq!(report.end, EndOfLog::Clean);
    assert_eq!((report.incarnation, report.last_zxid, store.last_zxid()), (3, Zxid(311), Zxid(311)));
    assert!(found.same_state(&model));
}

// F-23
#[test]
fn a_second_opener_is_told_that_the_file_is_in_use() {
    let folder = Folder::new();
    let options = StoreOptions::default();
    let (store, _) = Store::open(&folder.file(), &options, &mut Model::default()).unwrap();
    let second = Store::open(&folder.file(), &options, &mut Model::default()).unwrap_err();
    assert_eq!(second, StoreError::Locked { path: folder.file(), holder: Some(std::process::id()) });
    assert!(second.to_string().contains("in use by this process"), "{second}");
    let elsewhere = StoreError::Locked { path: folder.file(), holder: Some(1) };
    assert!(elsewhere.to_string().contains("in use by process 1;"), "{elsewhere}");
    drop(store);
    Store::open(&folder.file(), &options, &mut Model::default()).unwrap();
}

#[test]
fn a_new_file_is_for_its_owner_only_and_opens_fast() {
    let folder = Folder::new();
    let begun = Instant::now();
    let (store, report) = Store::open(&folder.file(), &StoreOptions::default(), &mut Model::default()).unwrap();
    println!("created in {:?}, reported {} us", begun.elapsed(), report.took_us);
    assert_eq!(std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    drop(store);
}

// F-23
#[test]
fn a_foreign_file_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    for content in [b"hello".to_vec(), vec![7; 300_000]] {
        std::fs::write(folder.file(), &content).unwrap();
        let error = Store::open(&folder.file(), &StoreOptions::default(), &mut Model::default()).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read(folder.file()).unwrap(), content);
    }
}

#[test]
fn a_new_file_grows_to_its_initial_size_beside_the_loop() {
    let folder = Folder::new();
    let options = StoreOptions { initial_size: 32 << 20, snapshot_rate: 0, ..StoreOptions::default() };
    let (mut store, _) = Store::open(&folder.file(), &options, &mut Model::default()).unwrap();
    assert!(store.stats().file_bytes < 8 << 20);
    let begun = Instant::now();
    let now = || Millis(begun.elapsed().as_millis() as u64);
    while store.poll_timeout(now()).is_some() {
        assert!(begun.elapsed().as_secs() < 60, "growth does not end: {:?}", store.stats());
        std::thread::yield_now();
        store.tick(now()).unwrap();
    }
    assert_eq!(store.stats().file_bytes, (128 << 10) + (32 << 20));
}

// S-43, D-09
#[test]
fn a_snapshot_is_written_beside_the_loop_and_frees_log() {
    let folder = Folder::new();
    let options = StoreOptions {
        extent_size: 64 << 10,
        initial_size: 512 << 10,
        max_size: 4 << 20,
        max_record: 16 << 10,
        log_window: 256 << 10,
        follower_window: 0,
        snapshot_rate: 0,
        small_extents: true,
        ..StoreOptions::default()
    };
    let mut model = Model::default();
    let (mut store, _) = Store::open(&folder.file(), &options, &mut Model::default()).unwrap();
    let (mut zxid, mut now, mut taken) = (1, 0, 0);
    while taken < 10 {
        append(&mut store, &mut model, zxid, 5, 3000);
        (zxid, now) = (zxid + 5, now + 1);
        if store.wants_snapshot() {
            store.snapshot_begin(store.last_zxid(), 30_000).unwrap();
            for entry in model.entries() {
                store.snapshot_push(&entry).unwrap();
            }
            store.snapshot_finish().unwrap();
            let done = loop {
                if let Some(done) = store.tick(Millis(now)).unwrap() {
                    break done;
                }
                std::thread::yield_now();
            };
            assert!(done.outcome.is_ok(), "{done:?}");
            taken += 1;
        }
        store.tick(Millis(now)).unwrap();
        let stats = store.stats();
        assert!(stats.file_bytes <= stats.file_bound, "{stats:?}");
    }
    drop(store);
    let mut found = Model::default();
    let (_, report) = Store::open(&folder.file(), &options, &mut found).unwrap();
    assert!(report.snapshot.is_some() && report.replayed < zxid as u64 / 2, "{report:?}");
    assert!(found.same_state(&model));
}

#[test]
fn inspect_shows_a_file_in_use_and_after_each_kind_of_stop() {
    let folder = Folder::new();
    let options = StoreOptions::default();
    let mut model = Model::default();
    let (mut store, _) = Store::open(&folder.file(), &options, &mut Model::default()).unwrap();
    append(&mut store, &mut model, 1, 5, 100);
    append(&mut store, &mut model, 6, 1, 70_000);
    let look = || {
        let (mut zxids, mut frames, mut copies, mut used) = (Vec::new(), 0, 0, false);
        let verdict = inspect(&folder.file(), &mut |line| match line {
            InspectLine::File { in_use, .. } => used = in_use,
            InspectLine::Superblock(copy) => copies += u32::from(copy.generation.is_ok()),
            InspectLine::Frame { .. } => frames += 1,
            InspectLine::Record { zxid, txn } => {
                assert_eq!(txn[0], zxid.0 as u8);
                zxids.push(zxid.0);
            }
            _ => {}
        });
        assert_eq!((copies, zxids), (4, (1..=6).collect::<Vec<_>>()));
        (verdict.unwrap(), frames, used)
    };
    // OPEN, MARK, two appends.
    let (verdict, frames, used) = look();
    assert_eq!((matches!(verdict, InspectVerdict::Good { .. }), frames, used), (true, 4, true), "{verdict:?}");
    drop(store);
    let (verdict, _, used) = look();
    assert_eq!((matches!(verdict, InspectVerdict::Torn { .. }), used), (true, false), "{verdict:?}");
    Store::open(&folder.file(), &options, &mut Model::default()).unwrap().0.close().unwrap();
    let (verdict, frames, _) = look();
    assert_eq!((matches!(verdict, InspectVerdict::Good { .. }), frames), (true, 5), "{verdict:?}");
}

// What another thread's appends look like to a reader is never damage.
#[test]
fn inspect_of_a_busy_file_is_good() {
    let folder = Folder::new();
    let options = StoreOptions::default();
    let (mut store, _) = Store::open(&folder.file(), &options, &mut Model::default()).unwrap();
    let busy = std::thread::spawn(move || {
        for zxid in 1..=2000 {
            store.append(&[Record { zxid: Zxid(zxid), txn: &[1; 900] }]).unwrap();
            store.tick(Millis(zxid as u64)).unwrap();
        }
    });
    let mut looks = 0;
    while !busy.is_finished() {
        let verdict = inspect(&folder.file(), &mut |_| ()).unwrap();
        assert!(!matches!(verdict, InspectVerdict::Damaged { .. }), "{verdict:?}");
        looks += 1;
    }
    busy.join().unwrap();
    assert!(looks > 0);
}

// Who copies a file in use learns from inspect whether the copy is worth anything.
#[test]
fn inspect_of_a_copy_says_whether_a_server_starts_on_it() {
    let folder = Folder::new();
    let options = StoreOptions { log_window: 1 << 20, snapshot_rate: 0, ..StoreOptions::default() };
    let (mut store, _) = Store::open(&folder.file(), &options, &mut Model::default()).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    // However long a copy takes, the file does not become too large for the next.
    let (copied, txns_of_a_copy) = (Arc::new(AtomicU32::new(0)), 1500);
    let busy = std::thread::spawn({
        let (over, copied) = (Arc::clone(&over), Arc::clone(&copied));
        move || {
            let mut zxid = 0;
            while !over.load(Ordering::Relaxed) {
                if zxid >= i64::from(copied.load(Ordering::Relaxed) + 1) * txns_of_a_copy {
                    std::thread::yield_now();
                    continue;
                }
                zxid += 1;
                store.append(&[Record { zxid: Zxid(zxid), txn: &[1; 20_000] }]).unwrap();
                store.tick(Millis(zxid as u64)).unwrap();
            }
        }
    });
    let copies = Folder::new();
    for _ in 0..12 {
        std::fs::copy(folder.file(), copies.file()).unwrap();
        let verdict = inspect(&copies.file(), &mut |_| ());
        let good = matches!(verdict, Ok(InspectVerdict::Good { .. } | InspectVerdict::Torn { .. }));
        let opened = Store::open(&copies.file(), &options, &mut Model::default());
        assert_eq!(good, opened.is_ok(), "{verdict:?} and {:?}", opened.err());
        copied.fetch_add(1, Ordering::Relaxed);
    }
    over.store(true, Ordering::Relaxed);
    busy.join().unwrap();
}

/// The bytes of a file at one look, and those at every later one.
struct Changing {
    first: Vec<u8>,
    then: Vec<u8>,
    looks: AtomicU32,
}

impl ReadAt for Changing {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.then.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> std::io::Result<()> {
        // Each look begins with the first superblock copy.
        let looks = self.looks.fetch_add(u32::from(at == 0), Ordering::Relaxed) + u32::from(at == 0);
        let bytes = if looks < 2 { &self.first } else { &self.then };
        buf.copy_from_slice(&bytes[at as usize..at as usize + buf.len()]);
        Ok(())
    }
}

// A reader that met an append in the middle sees a hole with later frames behind it.
#[test]
fn what_only_one_look_shows_is_no_damage_whether_the_lock_was_seen_or_not() {
    let folder = Folder::new();
    let (mut store, _) = Store::open(&folder.file(), &StoreOptions::default(), &mut Model::default()).unwrap();
    for zxid in 1..=6 {
        store.append(&[Record { zxid: Zxid(zxid), txn: &[1; 900] }]).unwrap();
    }
    drop(store);
    let then = std::fs::read(folder.file()).unwrap();
    let mut frames = Vec::new();
    let mut note = |line: InspectLine<'_>| {
        if let InspectLine::Frame { offset, len, .. } = line {
            frames.push(offset as usize..(offset + len) as usize);
        }
    };
    inspect_bytes(&then.as_slice(), false, &mut note).unwrap();
    let mut first = then.clone();
    first[frames[frames.len() - 4].clone()].fill(0);
    let hole = inspect_bytes(&first.as_slice(), false, &mut |_| ()).unwrap();
    assert!(matches!(hole, InspectVerdict::Damaged { .. }), "{hole:?}");
    let file = Changing { first, then, looks: AtomicU32::new(0) };
    let mut told = false;
    let verdict = inspect_bytes(&file, false, &mut |line| {
        told |= matches!(line, InspectLine::File { in_use: true, .. });
    });
    assert!(matches!(verdict, Ok(InspectVerdict::Good { .. })), "{verdict:?}");
    assert!(told, "a file that changes is in use");
}

#[test]
fn inspect_refuses_what_is_not_ours() {
    let folder = Folder::new();
    std::fs::write(folder.file(), vec![9; 200_000]).unwrap();
    assert!(matches!(inspect(&folder.file(), &mut |_| ()), Err(StoreError::Foreign { .. })));
}
