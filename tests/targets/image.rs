//! Recovery over whole file images: real small files, changed, with checksums put right or left wrong (Z-09, Z-10).

use std::collections::HashMap;
use std::sync::OnceLock;

use zoarium::engine::{Engine, ReplicatedState};
use zoarium::ids::Zxid;
use zoarium::store::{DamageCause, EndOfLog, InspectVerdict, Replay, StoreError, inspect_bytes, recover_image};

use super::conversation::settings;
use super::state::picture;

/// Files as a server left them, stopped and killed: only the bytes that are not zero, see [`sparse`].
pub(crate) const SPARSE_IMAGES: [&[u8]; 2] = [include_bytes!("stopped.sparse"), include_bytes!("killed.sparse")];

/// Bytes of one change in an input: which byte in use u24, what to do u8, with what u32.
const CHANGE_SIZE: usize = 8;
/// First byte of an input that is an image itself.
const RAW: u8 = 0xff;

/// Superblock copies, see `docs/FORMAT.md`.
const COPIES: [usize; 4] = [0, 32 << 10, 64 << 10, 96 << 10];
const COPY_SIZE: usize = 16 << 10;
const EXTENTS_AT: usize = 128 << 10;
const SECTOR: usize = 512;

struct Image {
    bytes: Vec<u8>,
    /// Offsets of the bytes that were not zero, and their neighbours.
    used: Vec<u32>,
}

fn images() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(|| SPARSE_IMAGES.iter().map(|sparse| whole(sparse)).collect())
}

/// Length u32, then runs: offset u32, length u32, bytes.
pub(crate) fn sparse(image: &[u8]) -> Vec<u8> {
    let mut out = (image.len() as u32).to_le_bytes().to_vec();
    for (index, block) in image.chunks(64).enumerate() {
        if block.iter().any(|&byte| byte != 0) {
            out.extend_from_slice(&(index as u32 * 64).to_le_bytes());
            out.extend_from_slice(&(block.len() as u32).to_le_bytes());
            out.extend_from_slice(block);
        }
    }
    out
}

fn whole(sparse: &[u8]) -> Image {
    let number = |at: usize| u32::from_le_bytes(sparse[at..at + 4].try_into().expect("four bytes")) as usize;
    let mut image = Image { bytes: Vec::new(), used: Vec::new() };
    if sparse.is_empty() {
        return image;
    }
    image.bytes.resize(number(0), 0);
    let mut at = 4;
    while at < sparse.len() {
        let (offset, length) = (number(at), number(at + 4));
        image.bytes[offset..offset + length].copy_from_slice(&sparse[at + 8..at + 8 + length]);
        image.used.extend((offset as u32)..(offset + length) as u32);
        at += 8 + length;
    }
    image
}

/// Takes everything, to judge the file alone.
#[derive(Default)]
struct Anything {
    last: Zxid,
}

impl Replay for Anything {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        self.last = zxid;
    }

    fn snapshot_entry(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn txn(&mut self, zxid: Zxid, _: &[u8]) -> Result<(), String> {
        assert!(zxid > self.last, "{zxid} after {}", self.last);
        self.last = zxid;
        Ok(())
    }
}

/// A server's state, as it starts on the file.
struct Loading(ReplicatedState);

impl Replay for Loading {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        self.0.load_begin(zxid);
    }

    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        self.0.load_entry(entry).map_err(|damage| damage.0)
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        self.0.load_end().map_err(|damage| damage.0)
    }

    fn snapshot_value(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.0.fill(zxid, txn).map_err(|damage| damage.0)
    }

    fn snapshot_filled(&mut self) -> Result<(), String> {
        self.0.load_filled().map_err(|damage| damage.0)
    }

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.0.replay(zxid, txn).map_err(|damage| damage.0)
    }
}

/// Z-09
pub(crate) fn recovery(input: &[u8]) {
    let Some((&head, body)) = input.split_first() else { return };
    if head == RAW {
        return look_at(body);
    }
    let images = images();
    let base = &images[usize::from(head & 1) % images.len()];
    if base.bytes.is_empty() {
        return;
    }
    let mut image = base.bytes.clone();
    for change in body.chunks_exact(CHANGE_SIZE) {
        apply(&mut image, base, change);
    }
    if head & 2 != 0 {
        repair(&mut image);
    }
    look_at(&image);
}

fn apply(image: &mut Vec<u8>, base: &Image, change: &[u8]) {
    let place = usize::from(change[0]) | usize::from(change[1]) << 8 | usize::from(change[2]) << 16;
    let at = base.used[place % base.used.len()] as usize;
    let value = &change[4..8];
    let number = u32::from_le_bytes(value.try_into().expect("four bytes")) as usize;
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = image.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    let aligned = at & !3;
    match change[3] % 10 {
        0 => put(at, &value[..1]),
        1 => put(at, &[base.bytes[at] ^ 1 << (value[0] & 7)]),
        2 => put(aligned, value),
        3 => put(aligned & !7, &(number as u64).to_le_bytes()),
        4 => put(aligned & !7, &u64::MAX.to_le_bytes()),
        5 => put(at & !(SECTOR - 1), &[0; SECTOR]),
        6 => {
            let from = base.used[number % base.used.len()] as usize & !(SECTOR - 1);
            put(at & !(SECTOR - 1), &base.bytes[from..from + SECTOR]);
        }
        7 => {
            let from = base.used[number % base.used.len()] as usize & !63;
            put(at & !63, &base.bytes[from..from + 64]);
        }
        8 => image.truncate(at),
        // A whole superblock copy in the place of another.
        _ => {
            let (from, to) = (COPIES[usize::from(value[0] & 3)], COPIES[usize::from(value[1] & 3)]);
            put(to, &base.bytes[from..from + COPY_SIZE]);
        }
    }
}

/// Neither opening nor looking panics, and both come to the same verdict.
fn look_at(image: &[u8]) {
    let verdict = inspect_bytes(&image, false, &mut |_| ());
    let opened = recover_image(image, &mut Anything::default());
    match (&opened, &verdict) {
        (Ok(report), Ok(InspectVerdict::Good { .. })) => assert_eq!(report.end, EndOfLog::Clean),
        (Ok(report), Ok(InspectVerdict::Torn { at, .. })) => assert_eq!(report.end, EndOfLog::Cut { at: *at }),
        (Err(StoreError::Corrupt { offset, .. }), Ok(InspectVerdict::Damaged { at, cause, .. })) => {
            // When no snapshot is whole, each names one of them; what is marked as damaged is not opened to find more.
            let same = offset == at || *offset == 0 || matches!(cause, DamageCause::NoWholeSnapshot(_));
            assert!(same, "opened {opened:?}, inspected {verdict:?}");
        }
        (Err(_), Ok(InspectVerdict::Unfinished) | Err(_)) => {}
        _ => panic!("opened {opened:?}, inspected {verdict:?}"),
    }
    let mut loading = Loading(ReplicatedState::new(&settings(), [1, 2]));
    if let Ok(report) = recover_image(image, &mut loading) {
        let mut engine = Engine::new(settings(), [3; 32], loading.0);
        assert_eq!(engine.applied(), report.last_zxid);
        picture(&mut engine);
    }
}

/// Puts every checksum right that a reader looks at, so that what is behind them is reached.
fn repair(image: &mut [u8]) {
    let Some(uuid) = image.get(32..48) else { return };
    let seed = crc32c::crc32c(uuid);
    let mut renewed: HashMap<u32, u32> = HashMap::new();
    let mut chain: Vec<(u64, u64, usize, bool)> = Vec::new();
    for at in (EXTENTS_AT..image.len().saturating_sub(64)).step_by(64) {
        match &image[at..at + 4] {
            b"ZLF1" => chain.push((0, u64_at(image, at + 16), at, true)),
            b"ZSN1" => {
                chain.push((u64_at(image, at + 16).saturating_add(1), u64::from(u32_at(image, at + 32)), at, false))
            }
            _ => {}
        }
    }
    chain.sort_unstable();
    for (_, _, at, is_frame) in chain {
        let (crc_at, prev_at, length_at) = if is_frame { (4, 56, 32) } else { (4, 40, 36) };
        let length = u32_at(image, at + length_at) as usize;
        let body = image.get(at + 64..).and_then(|rest| rest.get(..length)).map(crc32c::crc32c);
        if let Some(body) = body.filter(|_| is_frame) {
            put_u32(image, at + 36, body);
        }
        let before = u32_at(image, at + prev_at);
        if let Some(&new) = renewed.get(&before) {
            put_u32(image, at + prev_at, new);
        }
        let covered = if is_frame { 64 } else { 64 + length };
        if let Some(covered) = image.get(at + 8..at + covered) {
            let crc = crc32c::crc32c_append(seed, covered);
            renewed.insert(u32_at(image, at + crc_at), crc);
            put_u32(image, at + crc_at, crc);
        }
    }
    for at in COPIES {
        if image.len() < at + COPY_SIZE {
            continue;
        }
        for kept in [144 + 56, 208 + 56] {
            if let Some(&new) = renewed.get(&u32_at(image, at + kept)) {
                put_u32(image, at + kept, new);
            }
        }
        let crc = crc32c::crc32c(&image[at + 12..at + COPY_SIZE]);
        put_u32(image, at + 8, crc);
    }
}

fn u32_at(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(image[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(image: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(image[at..at + 8].try_into().expect("eight bytes"))
}

fn put_u32(image: &mut [u8], at: usize, value: u32) {
    image[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// A small file in which a server's transactions were logged and snapshots taken.
pub(crate) fn make(path: &std::path::Path, story: &[u8], stopped: bool) {
    use zoarium::ids::Millis;
    use zoarium::store::{Record, Store, StoreOptions};
    let options = StoreOptions {
        extent_size: 16 << 10,
        initial_size: 8 * (16 << 10),
        max_size: 16 * (16 << 10),
        log_window: 16 << 10,
        follower_window: 0,
        max_record: 8 << 10,
        snapshot_rate: 0,
        mark_after_ms: 0,
        small_extents: true,
        ..StoreOptions::default()
    };
    let (_, log) = super::conversation::history(story);
    let mut loading = Loading(ReplicatedState::new(&settings(), [1, 2]));
    let (mut store, _) = Store::open(path, &options, &mut loading).expect("a new file");
    let mut engine = Engine::new(settings(), [3; 32], loading.0);
    for (index, proposal) in log.iter().enumerate() {
        store.append(&[Record { zxid: proposal.zxid, txn: &proposal.txn }]).expect("there is room");
        engine.replay(proposal.zxid, &proposal.txn).expect("it was applied before");
        let (mut now, snapshots) = (Millis(0), store.stats().snapshots);
        if index == log.len() / 3 || index == log.len() * 2 / 3 {
            store.snapshot_begin(engine.applied(), engine.snapshot_estimate()).expect("there is room");
            for entry in super::state::entries(&mut engine) {
                store.snapshot_push(&entry).expect("there is room");
            }
            store.snapshot_finish().expect("it was begun");
            while store.stats().snapshots == snapshots {
                now = now.plus(1);
                store.tick(now).expect("the file can be written");
                std::thread::yield_now();
            }
        }
    }
    if stopped {
        store.close().expect("the file can be written");
    }
}
