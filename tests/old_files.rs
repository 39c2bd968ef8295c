//! Files that earlier versions wrote can be opened and written on: one set for each format, never written anew.
//!
//! `format-1-*` are of version 0.1.0 at commit 0f966f6: a server's file while it ran and after it was stopped, and small
//! ones with snapshots in them. Only bytes that are not zero are kept: the length as u32, then runs of offset u32, length
//! u32, bytes, all little-endian.

use std::path::{Path, PathBuf};

use zoarium::ids::Zxid;
use zoarium::store::{EndOfLog, InspectVerdict, Record, Replay, Store, StoreOptions, inspect};

/// Counts what it is given.
#[derive(Default)]
struct Counted {
    entries: u64,
    txns: u64,
    bytes: Vec<u8>,
}

impl Replay for Counted {
    fn snapshot_begin(&mut self, _: Zxid) {
        *self = Counted::default();
    }

    fn snapshot_entry(&mut self, _: &[u8]) -> Result<(), String> {
        self.entries += 1;
        Ok(())
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn txn(&mut self, _: Zxid, txn: &[u8]) -> Result<(), String> {
        self.txns += 1;
        self.bytes.extend_from_slice(txn);
        Ok(())
    }
}

fn whole(sparse: &[u8]) -> Vec<u8> {
    let number = |at: usize| u32::from_le_bytes(sparse[at..at + 4].try_into().expect("four bytes")) as usize;
    let mut image = vec![0; number(0)];
    let mut at = 4;
    while at < sparse.len() {
        let (offset, length) = (number(at), number(at + 4));
        image[offset..offset + length].copy_from_slice(&sparse[at + 8..at + 8 + length]);
        at += 8 + length;
    }
    image
}

fn place(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}.db", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn small() -> StoreOptions {
    StoreOptions {
        extent_size: 16 << 10,
        initial_size: 128 << 10,
        max_size: 400 << 10,
        max_record: 8 << 10,
        small_extents: true,
        ..StoreOptions::default()
    }
}

fn check(name: &str, sparse: &[u8], options: &StoreOptions, clean: bool, last: i64, expected: (u64, u64)) {
    let path = place(name);
    std::fs::write(&path, whole(sparse)).expect("the folder can be written");
    let verdict = inspect(&path, &mut |_| ()).expect("it is ours");
    assert_eq!(matches!(verdict, InspectVerdict::Good { .. }), clean, "{name}: {verdict:?}");
    for round in 0..2 {
        let mut found = Counted::default();
        let (mut store, report) =
            Store::open(&path, options, &mut found).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(report.last_zxid, Zxid(last + round), "{name}: {report:?}");
        assert_eq!((found.entries, found.txns), (expected.0, expected.1 + round as u64), "{name}: {report:?}");
        assert!(round == 0 || found.bytes.ends_with(b"new"), "{name}");
        assert!(report.end != EndOfLog::Created && report.snapshots_damaged.is_empty(), "{name}: {report:?}");
        store.append(&[Record { zxid: Zxid(last + round + 1), txn: b"new" }]).expect("there is room");
        store.close().expect("the file can be written");
    }
    let verdict = inspect(&path, &mut |_| ()).expect("it is ours");
    assert!(matches!(verdict, InspectVerdict::Good { .. }), "{name}: {verdict:?}");
    std::fs::remove_file(&path).expect("it is there");
}

#[test]
fn files_of_format_1_are_opened_and_written_on() {
    let server = StoreOptions::default();
    check("stopped", include_bytes!("old_files/format-1-stopped.sparse"), &server, true, 0x16, (0, 22));
    check("running", include_bytes!("old_files/format-1-running.sparse"), &server, false, 0x16, (0, 22));
    let stopped = include_bytes!("old_files/format-1-snapshots-stopped.sparse");
    check("snapshots-stopped", stopped, &small(), true, 0xd, (18, 4));
    let killed = include_bytes!("old_files/format-1-snapshots-killed.sparse");
    check("snapshots-killed", killed, &small(), false, 0xd, (18, 4));
}
