//! Folders written by hand and by [`export()`], whole and with every byte changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::sealed::SealedReader;
use super::snapshot::read_snapshot;
use super::*;
use crate::engine::EngineSettings;
use crate::ids::{ServerId, SessionId, Zxid};
use crate::jute::{Buffer, Text};
use crate::member::Loading;
use crate::records::Acl;
use crate::records::javasnap::{StatPersisted, put_count, put_end_of_znodes, put_znode};
use crate::records::txn::{CreateSessionTxn, CreateTxn, Txn, TxnHeader, encode_txn};
use crate::store::tests::real::Folder;
use crate::store::{Record, Store, StoreError, StoreOptions, read_only};

/// A log as ZooKeeper writes it, with zeros behind it, of a session and znodes `/n<counter>`.
fn log(zxids: std::ops::RangeInclusive<i64>) -> (Vec<u8>, Vec<usize>) {
    log_with(zxids, |_| None)
}

/// The same with digests of the tree behind transactions.
fn log_with(zxids: std::ops::RangeInclusive<i64>, digest: impl Fn(i64) -> Option<i64>) -> (Vec<u8>, Vec<usize>) {
    let mut file = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
    let mut places = Vec::new();
    for zxid in zxids {
        let path = format!("/n{}", zxid & 0xffff);
        let txn = match zxid & 0xffff {
            1 => Txn::CreateSession(CreateSessionTxn { timeout: 4000 }),
            number => Txn::Create(CreateTxn {
                path: Text::new(&path),
                data: Buffer::new(b"data"),
                acl: vec![Acl::open()],
                ephemeral: number % 3 == 0,
                parent_cversion: number as i32 - 1,
            }),
        };
        let op = txn.op().to_i32();
        let header = TxnHeader { session: SessionId(77), cxid: zxid as i32, zxid: Zxid(zxid), time: 1000 + zxid, op };
        let mut bytes = Vec::new();
        encode_txn(&header, &txn, &mut bytes);
        if let Some(value) = digest(zxid) {
            bytes.extend_from_slice(&2i32.to_be_bytes());
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        places.push(file.len());
        file.extend_from_slice(&u64::from(adler2::adler32_slice(&bytes)).to_be_bytes());
        file.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        file.extend_from_slice(&bytes);
        file.push(0x42);
    }
    places.push(file.len());
    file.resize(file.len() + 100, 0);
    (file, places)
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder.join("version-2")).unwrap();
    fs::write(folder.join("version-2").join(name), bytes).unwrap();
}

fn read(folder: &Path) -> Result<Import, DatadirError> {
    import(DataFolder::find(folder, None)?, ServerId(1), &mut |_| ())
}

fn digest(folder: &Path) -> Result<(Zxid, u64), DatadirError> {
    read(folder).map(|read| (read.state().applied(), read.state().tree().digest()))
}

/// The state in a file of ours.
fn state_in(file: &Path) -> crate::engine::ReplicatedState {
    let mut state = crate::engine::ReplicatedState::new(&crate::engine::EngineSettings::default(), [3, 4]);
    read_only(file, &mut Loading::into(&mut state)).unwrap();
    state
}

#[test]
fn a_log_from_the_beginning_becomes_a_file_and_the_file_a_snapshot_with_the_same_state() {
    let folder = Folder::new();
    let theirs = folder.path().join("theirs");
    put(&theirs, "log.1", &log(1..=20).0);
    let found = read(&theirs).unwrap();
    assert_eq!((found.applied(), found.snapshot(), found.epochs()), (20, None, (0, 0)));
    assert_eq!((found.state().session_count(), found.state().tree().node_count()), (1, 4 + 19));
    let before = (found.state().applied(), found.state().tree().digest());
    let file = folder.path().join("zoarium.db");
    found.write(&file, &StoreOptions::default(), &mut |_| ()).unwrap();
    let state = state_in(&file);
    assert_eq!((state.applied(), state.tree().digest(), state.session_count()), (before.0, before.1, 1));

    let back = folder.path().join("back");
    let exported = export(&file, &back, &mut |_| ()).unwrap();
    assert_eq!((exported.zxid, exported.znodes, exported.sessions), (Zxid(20), 23, 1));
    assert_eq!(exported.snapshot, back.join("version-2/snapshot.14"));
    assert_eq!(digest(&back).unwrap(), before);
    assert!(matches!(export(&file, &back, &mut |_| ()), Err(DatadirError::Exists { .. })));
    let again = read(&back).unwrap().write(&file, &StoreOptions::default(), &mut |_| ());
    assert!(matches!(again, Err(DatadirError::Exists { .. })), "{again:?}");
}

#[test]
fn what_a_member_has_behind_its_snapshot_is_exported_as_a_log_that_can_be_cut() {
    let folder = Folder::new();
    let (theirs, file, back) =
        (folder.path().join("theirs"), folder.path().join("zoarium.db"), folder.path().join("back"));
    put(&theirs, "snapshot.0", &snapshot(NEW, |_| ()));
    put(&theirs, "log.100000001", &log(0x1_0000_0001..=0x1_0000_0004).0);
    read(&theirs).unwrap().write(&file, &StoreOptions::default(), &mut |_| ()).unwrap();
    // What a leader has proposed further, when it is killed.
    let (bytes, places) = log(0x1_0000_0005..=0x1_0000_0007);
    let mut state = state_in(&file);
    let (mut store, _) = Store::open(&file, &StoreOptions::default(), &mut Loading::into(&mut state)).unwrap();
    for (at, zxid) in (0x1_0000_0005..=0x1_0000_0007).enumerate() {
        let txn = &bytes[places[at] + 12..places[at + 1] - 1];
        store.append(&[Record { zxid: Zxid(zxid), txn }]).unwrap();
    }
    drop(store);
    let exported = export(&file, &back, &mut |_| ()).unwrap();
    assert_eq!(exported.snapshot, back.join("version-2/snapshot.100000004"));
    assert_eq!((exported.logged, exported.zxid), (3, Zxid(0x1_0000_0007)));
    assert_eq!(digest(&back).unwrap(), (exported.zxid, state_in(&file).tree().digest()));
    // Cut as ZooKeeper cuts it, between two transactions.
    let name = "log.100000004";
    let logged = fs::read(back.join("version-2").join(name)).unwrap();
    assert!(logged.ends_with(&bytes[places[0]..places[3]]));
    let mark = logged.len() - places[3];
    for kept in 0..3 {
        // ZooKeeper looks for the transaction behind which it cuts, and there must be one.
        put(&back, name, &logged[..places[kept] + mark]);
        let mut reader = txn_log::TxnLogReader::open(&back.join("version-2").join(name)).unwrap().unwrap();
        let zxids = std::iter::from_fn(|| match reader.next().unwrap() {
            txn_log::NextTxn::Txn(zxid) => Some(zxid.0),
            other => (other != txn_log::NextTxn::End).then(|| panic!("{other:?}")),
        });
        let last = 0x1_0000_0004 + kept as i64;
        assert_eq!(zxids.collect::<Vec<_>>(), (0x1_0000_0004..=last).collect::<Vec<_>>());
        put(&theirs, "log.100000001", &log(0x1_0000_0001..=last).0);
        assert_eq!(digest(&back).unwrap(), digest(&theirs).unwrap());
    }
    assert_eq!(fs::read(back.join("version-2/currentEpoch")).unwrap(), b"1");
}

#[test]
fn what_was_cut_off_a_members_log_is_not_exported() {
    // S-15: so much that a part of it was handed over before the cut is seen.
    let folder = Folder::new();
    let (theirs, file, back) =
        (folder.path().join("theirs"), folder.path().join("zoarium.db"), folder.path().join("back"));
    put(&theirs, "snapshot.0", &snapshot(NEW, |_| ()));
    put(&theirs, "log.100000001", &log(0x1_0000_0001..=0x1_0000_0004).0);
    read(&theirs).unwrap().write(&file, &StoreOptions::default(), &mut |_| ()).unwrap();
    let mut state = state_in(&file);
    let (mut store, _) = Store::open(&file, &StoreOptions::default(), &mut Loading::into(&mut state)).unwrap();
    let append = |store: &mut Store, zxids: std::ops::RangeInclusive<i64>| {
        let (bytes, places) = log(zxids.clone());
        let txns: Vec<Record<'_>> = zxids
            .zip(places.windows(2))
            .map(|(zxid, ends)| Record { zxid: Zxid(zxid), txn: &bytes[ends[0] + 12..ends[1] - 1] })
            .collect();
        store.append(&txns).unwrap();
        bytes.len()
    };
    let logged = append(&mut store, 0x1_0000_0005..=0x1_0000_4e20);
    assert!(logged > 3 << 19, "{logged} bytes");
    assert!(store.truncate(Zxid(0x1_0000_0007)).unwrap());
    append(&mut store, 0x2_0000_0001..=0x2_0000_0003);
    drop(store);
    let exported = export(&file, &back, &mut |_| ()).unwrap();
    assert_eq!((exported.logged, exported.zxid), (6, Zxid(0x2_0000_0003)));
    assert_eq!(digest(&back).unwrap(), (exported.zxid, state_in(&file).tree().digest()));
    let mut names: Vec<String> = fs::read_dir(back.join("version-2"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("log.") || name.starts_with("snapshot."))
        .collect();
    names.sort();
    assert_eq!(names, ["log.100000004", "snapshot.100000004"]);
}

#[test]
fn nothing_is_left_of_an_export_of_a_file_that_is_damaged() {
    let folder = Folder::new();
    let (file, back) = (folder.path().join("zoarium.db"), folder.path().join("back"));
    fs::write(&file, b"no file of ours").unwrap();
    assert!(matches!(export(&file, &back, &mut |_| ()), Err(DatadirError::Store { .. })));
    assert!(!back.exists());
    fs::create_dir(&back).unwrap();
    assert!(export(&file, &back, &mut |_| ()).is_err());
    assert_eq!(fs::read_dir(&back).unwrap().count(), 0);
}

#[test]
fn the_log_goes_on_behind_the_snapshot_and_its_older_part_is_passed_over() {
    let folder = Folder::new();
    let theirs = folder.path().join("theirs");
    put(&theirs, "log.1", &log(1..=30).0);
    let whole = digest(&theirs).unwrap();
    // The same in two logs and a snapshot between them.
    let file = folder.path().join("zoarium.db");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    put(&first, "log.1", &log(1..=20).0);
    read(&first).unwrap().write(&file, &StoreOptions::default(), &mut |_| ()).unwrap();
    export(&file, &second, &mut |_| ()).unwrap();
    put(&second, "log.1", &log(1..=12).0);
    put(&second, "log.d", &log(13..=25).0);
    put(&second, "log.1a", &log(26..=30).0);
    assert_eq!(digest(&second).unwrap(), whole);
    // One of them is gone.
    fs::remove_file(second.join("version-2/log.d")).unwrap();
    let error = digest(&second).unwrap_err();
    assert!(matches!(error, DatadirError::Gap { after: Zxid(20), before: Zxid(26), .. }), "{error}");
}

// F-05, F-20 of a folder that is not ours
#[test]
fn whatever_byte_of_a_log_is_changed_nothing_but_its_last_transaction_is_ever_left_out() {
    let folder = Folder::new();
    let theirs = folder.path().join("theirs");
    let (image, places) = log(1..=6);
    put(&theirs, "log.1", &image);
    let whole = digest(&theirs).unwrap();
    put(&theirs, "log.1", &log(1..=5).0);
    let without_last = digest(&theirs).unwrap();
    let [.., last, end] = places[..] else { panic!() };
    let mut kinds = BTreeSet::new();
    for at in 0..image.len() {
        for bit in [0x01, 0x40, 0x80] {
            let mut changed = image.clone();
            changed[at] ^= bit;
            put(&theirs, "log.1", &changed);
            let kind = match digest(&theirs) {
                // Behind the magic number nothing in the head is looked at, as in ZooKeeper.
                Ok(state) if state == whole => "whole",
                Ok(state) if state == without_last && (last..end).contains(&at) => "without the last",
                Ok(state) => panic!("byte {at} ^ {bit:#x}: the state at {}", state.0),
                Err(DatadirError::Damaged { .. }) => "damaged",
                Err(error) => panic!("byte {at} ^ {bit:#x}: {error}"),
            };
            kinds.insert((kind, at < last));
        }
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    for len in 17..image.len() {
        put(&theirs, "log.1", &image[..len]);
        let (zxid, _) = digest(&theirs).unwrap();
        let there = places.iter().filter(|place| **place <= len).count() - 1;
        assert_eq!(zxid.0, there as i64, "cut at {len}");
    }
}

#[test]
fn whatever_byte_of_a_snapshot_is_changed_it_is_refused() {
    let folder = Folder::new();
    let (theirs, file) = (folder.path().join("theirs"), folder.path().join("zoarium.db"));
    put(&theirs, "log.1", &log(1..=6).0);
    read(&theirs).unwrap().write(&file, &StoreOptions::default(), &mut |_| ()).unwrap();
    let back = folder.path().join("back");
    let snapshot = export(&file, &back, &mut |_| ()).unwrap().snapshot;
    let image = fs::read(&snapshot).unwrap();
    for at in 0..image.len() {
        let mut changed = image.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&snapshot, &changed).unwrap();
        let error = digest(&back).unwrap_err();
        assert!(matches!(error, DatadirError::NoSnapshot { .. }), "byte {at}: {error}");
    }
    for len in 0..image.len() {
        fs::write(&snapshot, &image[..len]).unwrap();
        assert!(matches!(digest(&back), Err(DatadirError::NoSnapshot { .. })), "cut at {len}");
    }
    for ending in ["gz", "snappy"] {
        let other = snapshot.with_file_name(format!("snapshot.7.{ending}"));
        fs::write(&other, &image).unwrap();
        fs::write(&snapshot, &image).unwrap();
        let mut skipped = 0;
        let found = import(DataFolder::find(&back, None).unwrap(), ServerId(1), &mut |step| {
            skipped += u32::from(matches!(step, ImportStep::SnapshotSkipped { .. }));
        });
        assert_eq!((found.unwrap().state().applied(), skipped), (Zxid(6), 1), "{ending}");
        fs::remove_file(&other).unwrap();
    }
}

#[test]
fn epochs_that_contradict_the_log_or_each_other_are_refused() {
    let folder = Folder::new();
    let theirs = folder.path().join("theirs");
    put(&theirs, "snapshot.0", &snapshot(OLD, |_| ()));
    put(&theirs, "log.300000001", &log(0x3_0000_0001..=0x3_0000_0004).0);
    for (accepted, current, wanted) in
        [("4", "3", Some((4, 3))), ("3", "3", Some((3, 3))), ("2", "3", None), ("9", "2", None), ("x", "3", None)]
    {
        put(&theirs, "acceptedEpoch", accepted.as_bytes());
        put(&theirs, "currentEpoch", current.as_bytes());
        match (read(&theirs), wanted) {
            (Ok(found), Some(wanted)) => assert_eq!(found.epochs(), wanted),
            (Err(DatadirError::Epochs { .. }), None) => {}
            (Ok(_), None) => panic!("{accepted}, {current} was taken"),
            (Err(error), _) => panic!("{accepted}, {current}: {error}"),
        }
    }
    // A change of epoch that was begun before a crash.
    put(&theirs, "acceptedEpoch", b"3");
    put(&theirs, "currentEpoch", b"2");
    put(&theirs, "currentEpoch.tmp", b"3");
    assert_eq!(read(&theirs).unwrap().epochs(), (3, 3));
}

#[test]
fn a_file_that_is_in_use_is_not_exported() {
    let folder = Folder::new();
    let (theirs, file) = (folder.path().join("theirs"), folder.path().join("zoarium.db"));
    put(&theirs, "log.1", &log(1..=6).0);
    read(&theirs).unwrap().write(&file, &StoreOptions::default(), &mut |_| ()).unwrap();
    let open = crate::store::DiskFile::open(&file).unwrap();
    let error = export(&file, &folder.path().join("back"), &mut |_| ()).unwrap_err();
    assert!(matches!(error, DatadirError::Store { source: StoreError::Locked { .. }, .. }), "{error}");
    drop(open);
    export(&file, &folder.path().join("back"), &mut |_| ()).unwrap();
}

/// A snapshot with these znodes, and behind its state what `behind` makes of the checksum so far.
fn snapshot(paths: &[&str], behind: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut file = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff".to_vec();
    put_count(0, &mut file);
    put_count(0, &mut file);
    for path in paths {
        put_znode(path, Some(b""), -1, &StatPersisted::default(), &mut file);
    }
    put_end_of_znodes(&mut file);
    seal(&mut file);
    behind(&mut file);
    file
}

fn seal(file: &mut Vec<u8>) {
    let sum = u64::from(adler2::adler32_slice(file));
    file.extend_from_slice(&sum.to_be_bytes());
    file.extend_from_slice(b"\0\0\0\x01/");
}

const OLD: &[&str] = &["", "/zookeeper", "/zookeeper/quota", "/a"];
const NEW: &[&str] = &["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/a"];

#[test]
fn a_snapshot_from_before_3_5_gets_the_znode_of_the_configuration() {
    let folder = Folder::new();
    put(folder.path(), "snapshot.5", &snapshot(OLD, |_| ()));
    let found = read(folder.path()).unwrap();
    let tree = found.state().tree();
    let new = crate::tree::Tree::new([1, 2]);
    let config = |tree: &crate::tree::Tree| {
        let id = tree.lookup("/zookeeper/config").unwrap();
        (tree.stat(id), tree.acl(id).entries().to_vec())
    };
    assert_eq!(config(tree), config(&new));
    assert_eq!((tree.node_count(), found.state().applied()), (5, Zxid(5)));
}

/// Gives one byte at a time.
struct Drops(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Drops {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let most = to.len().min(1);
        self.0.read(&mut to[..most])
    }
}

#[test]
fn every_ending_of_a_snapshot_is_read_however_its_bytes_come() {
    let digest = |file: &mut Vec<u8>| {
        file.extend_from_slice(&9i64.to_be_bytes());
        file.extend_from_slice(&2i32.to_be_bytes());
        file.extend_from_slice(&77i64.to_be_bytes());
        seal(file);
    };
    let text = |file: &mut Vec<u8>| {
        file.extend_from_slice(&9i64.to_be_bytes());
        file.extend_from_slice(&1i32.to_be_bytes());
        file.extend_from_slice(b"\0\0\0\x03abc");
        seal(file);
    };
    let last_zxid = |file: &mut Vec<u8>| {
        file.extend_from_slice(&9i64.to_be_bytes());
        seal(file);
    };
    let both = |file: &mut Vec<u8>| {
        digest(file);
        last_zxid(file);
    };
    type Ending<'e> = &'e dyn Fn(&mut Vec<u8>);
    let endings: [(Ending<'_>, Option<i64>); 5] =
        [(&|_| (), None), (&digest, Some(77)), (&text, None), (&last_zxid, None), (&both, Some(77))];
    for (at, (ending, value)) in endings.into_iter().enumerate() {
        let image = snapshot(OLD, ending);
        let found = |image: &[u8]| {
            let source = Drops(std::io::Cursor::new(image.to_vec()));
            let mut file = SealedReader::over(Path::new("snapshot.5"), Box::new(source));
            let read = read_snapshot(&mut file, Zxid(5), &EngineSettings::default(), [1, 2], &mut |_| ());
            read.map(|read| read.digest.map(|digest| digest.value))
        };
        assert_eq!(found(&image).unwrap(), value, "ending {at}");
        let more = [&image[..], b"x"].concat();
        assert!(found(&more).is_err(), "ending {at} and a byte");
    }
}

#[test]
fn a_snapshot_that_nothing_follows_is_compared_with_its_own_digest() {
    let folder = Folder::new();
    let read_with = |name: &str, zxid: i64, value: i64| {
        let theirs = folder.path().join(name);
        let behind = |file: &mut Vec<u8>| {
            file.extend_from_slice(&zxid.to_be_bytes());
            file.extend_from_slice(&2i32.to_be_bytes());
            file.extend_from_slice(&value.to_be_bytes());
            seal(file);
        };
        put(&theirs, "snapshot.5", &snapshot(NEW, behind));
        read(&theirs)
    };
    // Of a state that the snapshot does not have.
    let later = read_with("later", 6, 77).unwrap();
    assert!(!later.is_checked());
    let right = later.state().tree().zookeeper_digest() as i64;
    assert!(read_with("right", 5, right).unwrap().is_checked());
    let refused = read_with("wrong", 5, 77).err();
    assert!(matches!(refused, Some(DatadirError::Digest { zxid: Zxid(5), expected: 77, .. })), "{refused:?}");
}

#[test]
fn a_snapshot_that_has_effects_of_the_transaction_after_its_digest_is_taken_if_a_later_digest_is_equal() {
    // As servers of ZooKeeper's leave them now and then; `zookeeper-3.6.4-gz` of the kept folders is one.
    let folder = Folder::new();
    let behind = |file: &mut Vec<u8>| {
        file.extend_from_slice(&6i64.to_be_bytes());
        file.extend_from_slice(&2i32.to_be_bytes());
        file.extend_from_slice(&77i64.to_be_bytes());
        seal(file);
    };
    let read_with = |name: &str, last: i64, digest: &dyn Fn(i64) -> Option<i64>| {
        let theirs = folder.path().join(name);
        put(&theirs, "snapshot.5", &snapshot(NEW, behind));
        put(&theirs, "log.6", &log_with(6..=last, digest).0);
        read(&theirs)
    };
    let values: Vec<i64> = (7..=9)
        .map(|last| {
            let theirs = folder.path().join(format!("value-{last}"));
            put(&theirs, "snapshot.5", &snapshot(NEW, |_| ()));
            put(&theirs, "log.6", &log(6..=last).0);
            read(&theirs).unwrap().state().tree().zookeeper_digest() as i64
        })
        .collect();
    let of = |zxid: i64| (zxid >= 7).then(|| values[zxid as usize - 7]);
    assert!(read_with("equal-at-once", 7, &of).unwrap().is_checked());
    assert!(read_with("equal-later", 9, &of).unwrap().is_checked());
    assert!(read_with("equal-once", 9, &|zxid| of(zxid).filter(|_| zxid == 8)).is_ok());
    type DigestOf<'a> = &'a dyn Fn(i64) -> Option<i64>;
    let refusals: [(&str, i64, DigestOf<'_>); 4] = [
        ("nothing-follows", 6, &|_| None),
        ("no-digest-follows", 9, &|_| None),
        ("none-is-equal", 9, &|zxid| of(zxid).map(|value| value + 1)),
        ("the-last-is-not", 9, &|zxid| of(zxid).map(|value| value + i64::from(zxid == 9))),
    ];
    for (name, last, digest) in refusals {
        let refused = read_with(name, last, digest).err();
        assert!(matches!(refused, Some(DatadirError::Digest { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn a_log_without_a_snapshot_must_begin_at_the_beginning() {
    let folder = Folder::new();
    for (name, first) in [("log.2", 2), ("log.100000001", 0x1_0000_0001), ("log.300000001", 0x3_0000_0001)] {
        let theirs = folder.path().join(name);
        put(&theirs, name, &log(first..=first + 3).0);
        let error = digest(&theirs).unwrap_err();
        assert!(matches!(error, DatadirError::Gap { after: Zxid(0), .. }), "{name}: {error}");
    }
}

#[test]
fn bytes_made_to_look_like_transactions_do_not_hold_the_reading_up() {
    let folder = Folder::new();
    let (mut image, _) = log(1..=3);
    // Each is a frame whose length reaches to another one's end mark: 100 GB to be summed up.
    let length = 13 * 20_000u32;
    let frame = [&[0, 0, 0, 0, 1, 2, 3, 4][..], &length.to_be_bytes(), &[0x42]].concat();
    image.extend(frame.repeat(400_000));
    put(folder.path(), "log.1", &image);
    let error = digest(folder.path()).unwrap_err();
    assert!(matches!(error, DatadirError::Damaged { .. }), "{error}");
}

#[test]
fn an_export_leaves_alone_what_another_one_has_begun() {
    let folder = Folder::new();
    let (theirs, file, back) =
        (folder.path().join("theirs"), folder.path().join("zoarium.db"), folder.path().join("back"));
    put(&theirs, "log.1", &log(1..=6).0);
    read(&theirs).unwrap().write(&file, &StoreOptions::default(), &mut |_| ()).unwrap();
    fs::create_dir_all(back.join("version-2.export")).unwrap();
    fs::write(back.join("version-2.export/theirs"), b"x").unwrap();
    assert!(matches!(export(&file, &back, &mut |_| ()), Err(DatadirError::Exists { .. })));
    assert_eq!(fs::read(back.join("version-2.export/theirs")).unwrap(), b"x");
}
