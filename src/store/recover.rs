//! Recovery: from the bytes of a file to a state and a place to go on from. Reads only; [`Store::open_on`] does the rest.
//!
//! The end of the log is where the chain of good frames stops. Whether that is a *torn tail* (a crash; cut it) or
//! *damage* (bytes that had been durable are gone; refuse) is decided by what later frames and the superblock say had
//! been synced. See `docs/FORMAT.md`.
//!
//! [`Store::open_on`]: crate::store::Store::open_on

use std::fmt;

use crate::store::access::ReadAt;
use crate::store::cause::{DamageCause, SnapshotFault};
use crate::store::chain::{Chain, ChainEnd, LogExtent, frame_at, unreadable};
use crate::store::chunks;
use crate::store::disk::MappedFile;
use crate::store::error::StoreError;
use crate::store::frame::{FrameKind, Records};
use crate::store::layout::{frame, sb};
use crate::store::log::Log;
use crate::store::member::MemberState;
use crate::store::parallel::{self, Whole};
use crate::store::replay::Replay;
use crate::store::superblock::{Copies, SnapshotSlot, Superblock};
use crate::store::window::Window;

use crate::ids::Zxid;
use std::path::Path;

/// How the log was found to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfLog {
    /// The file is new.
    Created,
    /// Stopped cleanly, every byte accounted for.
    Clean,
    /// Stopped by a crash: cut at this offset. Nothing behind it had been acknowledged.
    Cut {
        /// In bytes from the start of the file.
        at: u64,
    },
}

/// What an opening found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How the log ended.
    pub end: EndOfLog,
    /// The zxid of the snapshot that was loaded.
    pub snapshot: Option<Zxid>,
    /// Entries in it.
    pub snapshot_entries: u64,
    /// Snapshots that turned out to be damaged and were dropped.
    pub snapshots_damaged: Vec<DamagedSnapshot>,
    /// Transactions replayed after the snapshot.
    pub replayed: u64,
    /// Frames of the log that were checked.
    pub frames: u64,
    /// The last transaction.
    pub last_zxid: Zxid,
    /// Superblock copies that had to be written anew.
    pub repaired: u32,
    /// Openings for writing in the file's life, this one included.
    pub incarnation: u32,
    /// Microseconds it took.
    pub took_us: u64,
}

/// A snapshot that cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedSnapshot {
    /// The state that it holds.
    pub zxid: Zxid,
    /// Where it is damaged, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong there.
    pub fault: SnapshotFault,
}

impl fmt::Display for DamagedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot at zxid {}: byte {}: {}", self.zxid, self.offset, self.fault)
    }
}

/// Everything recovery found out.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) sb: Superblock,
    /// Copies to be written anew, with the generation each should hold.
    pub(crate) repairs: Vec<(usize, usize, Superblock)>,
    pub(crate) chain: Chain,
    pub(crate) highest_fseq: u64,
    /// Slots whose snapshot is damaged.
    pub(crate) bad_slots: Vec<usize>,
    pub(crate) report: RecoveryReport,
}

/// Reads a file that is there: superblocks, chain, verdict, snapshot, transactions. Writes nothing. `threads`: other
/// threads may read and check while this one takes in what they found good.
pub(crate) fn recover(
    source: &dyn ReadAt,
    server_id: Option<u64>,
    replay: &mut dyn Replay,
    threads: bool,
) -> Result<Recovered, StoreError> {
    let copies = Copies::read(source).map_err(StoreError::io("read the superblocks"))?;
    let sb = copies.choose()?.clone();
    // A file that does not say whose it is may become anybody's.
    if let Some(expected) = server_id.filter(|id| *id != sb.server_id && sb.server_id != 0) {
        return Err(StoreError::WrongServer { expected, found: sb.server_id });
    }
    let len = source.len().map_err(StoreError::io("examine the file"))?;
    if len < sb.file_len() {
        return Err(StoreError::corrupt(len, DamageCause::CutShort { expected: sb.file_len() }));
    }
    if sb.flags & (sb::FLAG_DAMAGED | sb::FLAG_RESYNC) != 0 {
        return Err(StoreError::corrupt(0, DamageCause::Marked));
    }
    let (chain, verdict, taken_in) = match parallel::recover(source, &sb, replay, threads) {
        Some(Whole { chain, verdict, snapshot, replayed }) => (chain, verdict, Some((snapshot, replayed))),
        None => {
            let chain = Chain::walk(source, &sb, &mut |_, _| Ok(()))?;
            let verdict = chain.judge(source, &sb);
            (chain, verdict, None)
        }
    };
    let (clean, highest_fseq) = match verdict {
        ChainEnd::Clean => (true, chain.fseq),
        ChainEnd::Torn { highest_fseq } => (false, highest_fseq),
        ChainEnd::Damaged { cause, lost_to } => {
            return Err(StoreError::Corrupt { offset: chain.at, cause, good_to: chain.last_zxid, lost_to });
        }
    };
    let mut found = Recovered {
        repairs: copies
            .repairs()
            .into_iter()
            .filter_map(|(slot, mirror)| copies.of_slot(slot).map(|copy| (slot, mirror, copy.clone())))
            .collect(),
        highest_fseq,
        bad_slots: Vec::new(),
        report: RecoveryReport {
            end: if clean { EndOfLog::Clean } else { EndOfLog::Cut { at: chain.at } },
            snapshot: None,
            snapshot_entries: 0,
            snapshots_damaged: Vec::new(),
            replayed: 0,
            frames: chain.frames,
            last_zxid: chain.last_zxid,
            repaired: 0,
            incarnation: sb.incarnation,
            took_us: 0,
        },
        sb,
        chain,
    };
    if let Some((snapshot, replayed)) = taken_in {
        let report = &mut found.report;
        (report.snapshot, report.snapshot_entries, report.replayed) = (Some(snapshot.zxid), snapshot.entries, replayed);
        return Ok(found);
    }
    let mut read = StateRead::default();
    let (sb, chain) = (&found.sb, &found.chain);
    let from = StateSource { source, sb, extents: &chain.extents, truncs: &chain.truncs, last_zxid: chain.last_zxid };
    from.load_snapshot(replay, &mut read)?;
    from.replay_log(replay, &mut read)?;
    let report = &mut found.report;
    if let Some((zxid, entries)) = read.snapshot {
        (report.snapshot, report.snapshot_entries) = (Some(zxid), entries);
    }
    (report.snapshots_damaged, report.replayed) = (read.damages, read.replayed);
    found.bad_slots = read.bad_slots;
    Ok(found)
}

/// Recovers from the image of a file, without a file: for fuzzing and for tests.
///
/// # Errors
/// As [`Store::open`](crate::store::Store::open). Never panics, whatever the bytes.
pub fn recover_image(image: &[u8], replay: &mut dyn Replay) -> Result<RecoveryReport, StoreError> {
    recover(&image, None, replay, false).map(|found| found.report)
}

/// Reads the state in the file at `path`, which no server may have open, and changes nothing. What is kept beside it is told as
/// well.
///
/// # Errors
/// [`StoreError::Locked`] when a server has it open; else as [`Store::open`](crate::store::Store::open).
pub fn read_only(path: &Path, replay: &mut dyn Replay) -> Result<(MemberState, RecoveryReport), StoreError> {
    let file = MappedFile::open(path)?;
    if file.in_use() {
        return Err(StoreError::Locked { path: path.to_owned(), holder: None });
    }
    recover(&file, None, replay, true).map(|found| (found.sb.member, found.report))
}

/// What a state is read from: where the log lies, and what of it counts.
struct StateSource<'a> {
    source: &'a dyn ReadAt,
    sb: &'a Superblock,
    extents: &'a [LogExtent],
    truncs: &'a [(u64, Zxid)],
    last_zxid: Zxid,
}

/// What came of it.
#[derive(Debug, Default)]
struct StateRead {
    snapshot: Option<(Zxid, u64)>,
    bad_slots: Vec<usize>,
    damages: Vec<DamagedSnapshot>,
    replayed: u64,
}

/// Reads the state of an open store anew, and tells which snapshot it began with.
pub(crate) fn read_state(
    source: &dyn ReadAt,
    sb: &Superblock,
    log: &Log,
    replay: &mut dyn Replay,
) -> Result<Option<Zxid>, StoreError> {
    let from = StateSource { source, sb, extents: &log.extents, truncs: &log.truncs, last_zxid: log.last_zxid };
    let mut read = StateRead::default();
    from.load_snapshot(replay, &mut read)?;
    from.replay_log(replay, &mut read)?;
    Ok(read.snapshot.map(|(zxid, _)| zxid))
}

impl StateSource<'_> {
    /// Loads the newest snapshot that is whole and has its log.
    fn load_snapshot(&self, replay: &mut dyn Replay, read: &mut StateRead) -> Result<(), StoreError> {
        let log_from = self.extents.first().map_or(Zxid::ZERO, |first| first.base_zxid);
        let mut slots: Vec<usize> = [0, 1].into_iter().filter(|slot| self.sb.snapshots[*slot].is_some()).collect();
        slots.sort_by_key(|slot| std::cmp::Reverse(self.sb.snapshots[*slot].map(|kept| (kept.zxid, kept.id))));
        let mut first_fault = None;
        for slot in slots {
            let Some(kept) = self.sb.snapshots[slot] else { continue };
            // Behind a state that was received the log is empty at first.
            let is_installed = self.extents.is_empty() && kept.zxid == self.sb.end_zxid;
            let result = if (kept.log_after < log_from || kept.zxid > self.last_zxid) && !is_installed {
                let (from, to) = (log_from, self.last_zxid);
                let zxid = if kept.zxid > to { kept.zxid } else { kept.log_after };
                let at = self.sb.extent_at(self.sb.snapshot_extents(slot)[0]);
                Err((at, SnapshotFault::OutsideLog { zxid, from, to }))
            } else {
                match chunks::load(self.source, self.sb, slot, &kept, replay) {
                    Ok(()) => self.fill(&kept, replay)?,
                    Err(fault) => Err(fault),
                }
            };
            match result {
                Ok(()) => {
                    read.snapshot = Some((kept.zxid, kept.entries));
                    return Ok(());
                }
                Err((offset, fault)) => {
                    read.damages.push(DamagedSnapshot { zxid: kept.zxid, offset, fault: fault.clone() });
                    read.bad_slots.push(slot);
                    first_fault.get_or_insert((offset, fault));
                }
            }
        }
        match first_fault {
            None => Ok(()),
            Some((offset, fault)) => Err(StoreError::Corrupt {
                offset,
                cause: DamageCause::NoSnapshot(fault),
                good_to: Zxid::ZERO,
                lost_to: Some(self.last_zxid),
            }),
        }
    }

    /// Hands the transactions to `replay` to which the snapshot leaves data.
    fn fill(
        &self,
        kept: &SnapshotSlot,
        replay: &mut dyn Replay,
    ) -> Result<Result<(), (u64, SnapshotFault)>, StoreError> {
        let mut refused = None;
        if kept.leaves() {
            self.each_txn(kept.log_after, &mut |at, zxid, txn| {
                if zxid > kept.zxid {
                    return Ok(false);
                }
                refused = replay.snapshot_value(zxid, txn).err().map(|why| (at, SnapshotFault::Refused(why)));
                Ok(refused.is_none())
            })?;
        }
        let at = self.sb.extent_at(self.sb.log_extent(self.sb.log_base_lseq).unwrap_or(0));
        Ok(match refused {
            Some(fault) => Err(fault),
            None => replay.snapshot_filled().map_err(|why| (at, SnapshotFault::Refused(why))),
        })
    }

    /// Hands the transactions after the snapshot to `replay`.
    fn replay_log(&self, replay: &mut dyn Replay, read: &mut StateRead) -> Result<(), StoreError> {
        let after = read.snapshot.map_or(Zxid::ZERO, |(zxid, _)| zxid);
        self.each_txn(after, &mut |at, zxid, txn| {
            replay.txn(zxid, txn).map_err(|why| StoreError::Corrupt {
                offset: at,
                cause: DamageCause::TxnRefused { zxid, why },
                good_to: self.last_zxid.min(Zxid(zxid.0 - 1)),
                lost_to: Some(self.last_zxid),
            })?;
            read.replayed += 1;
            Ok(true)
        })
    }

    /// Gives the transactions after `after` to `take`, but those a truncation made void, each with the place of its frame, until it
    /// wants no more.
    fn each_txn(&self, after: Zxid, take: &mut TakeTxn<'_>) -> Result<(), StoreError> {
        let mut window = Window::new(self.source);
        for extent in self.extents {
            let mut at = self.sb.extent_at(extent.index);
            // An extent whose last zxid is not after that has nothing for us.
            while extent.last_zxid > after && at < extent.end {
                let again = frame_at(&mut window, self.sb, at, self.sb.extent_end(extent.index));
                let head = again.map_err(|error| unreadable(at, after, &error))?;
                let head = head.map_err(|why| StoreError::corrupt(at, DamageCause::ReadTwice(why)))?;
                let body_at = at + frame::HEADER_LEN as u64;
                let body = window
                    .bytes(body_at, head.body_len as usize, extent.end)
                    .map_err(|error| unreadable(at, after, &error))?;
                if head.kind == FrameKind::Txns {
                    for one in Records::of(body) {
                        let one = one.map_err(|fault| StoreError::corrupt(at, DamageCause::Record(fault)))?;
                        let void = self.truncs.iter().any(|(fseq, to)| *fseq > head.fseq && one.zxid > *to);
                        if !void && one.zxid > after && !take(at, one.zxid, one.txn)? {
                            return Ok(());
                        }
                    }
                }
                at += head.len();
            }
        }
        Ok(())
    }
}

/// Takes the place of a frame, and a transaction in it; whether more are wanted.
type TakeTxn<'t> = dyn FnMut(u64, Zxid, &[u8]) -> Result<bool, StoreError> + 't;
