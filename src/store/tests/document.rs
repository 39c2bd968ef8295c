//! `docs/FORMAT.md` says what the code does.

use std::collections::BTreeMap;

use crate::store::layout::{chunk, frame, mem, open, record, sb, snap};

const DOCUMENT: &str = include_str!("../../../docs/FORMAT.md");

/// The `| off | type | field |` rows below the heading `### title`.
fn table(title: &str) -> BTreeMap<String, usize> {
    let (_, rest) = DOCUMENT.split_once(&format!("### {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    let section = rest.split("\n#").next().unwrap();
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let off: usize = cells.next()?.parse().ok()?;
        let name = cells.nth(1)?.trim_matches('`').to_owned();
        Some((name, off))
    });
    rows.collect()
}

macro_rules! same {
    ($title:literal, $module:ident: $($name:ident)*) => {
        let code: BTreeMap<String, usize> = [$((stringify!($name).to_lowercase(), $module::$name)),*].into();
        assert_eq!(table($title), code, "table {} differs from the code", $title);
    };
}

#[test]
fn the_tables_of_the_document_are_those_of_the_code() {
    same!("Superblock copy", sb: MAGIC CRC SLOT_LEN OWN_OFFSET GENERATION FILE_UUID FORMAT COMPAT RO_COMPAT INCOMPAT
        EXTENT_LOG2 EXTENT_COUNT INCARNATION FLAGS ACCEPTED_EPOCH CURRENT_EPOCH SERVER_ID LOG_BASE_LSEQ LOG_HEAD_LSEQ
        END_FSEQ END_ZXID END_OFFSET SNAPSHOT_A SNAPSHOT_B SECRET BASE_FSEQ FIRST_LEN MAP_EXTENT MAP_CRC
        MEMBER EXTENT_MAP);
    same!("What a member keeps", mem: ENSEMBLE_ID SOUNDNESS PASSWORDS KEYED_SINCE CONFIG_VERSION SEEN_VERSION CONFIG_LEN
        SEEN_LEN TEXTS);
    same!("Kept snapshot", snap: STATE ID ZXID BYTES CHUNKS ENTRIES LOG_AFTER CHAIN_CRC);
    same!("Frame header", frame: MAGIC HEADER_CRC OWN_OFFSET FSEQ INCARNATION KIND FLAGS BODY_LEN BODY_CRC SYNCED_FSEQ
        LAST_ZXID PREV_CRC RECORDS);
    same!("OPEN body", open: LSEQ EXTENT PREV_EXTENT PREV_END_OFFSET PREV_LSEQ BASE_ZXID);
    same!("Record", record: LENGTH KIND FLAGS ZXID);
    same!("Snapshot chunk", chunk: MAGIC CRC OWN_OFFSET SNAPSHOT_ID ZXID NUMBER USED PREV_CRC FLAGS RESERVED);
}
