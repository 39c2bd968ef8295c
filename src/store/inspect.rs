//! Looks into a file without changing it, also while a server uses it, and says what it is worth.
//!
//! Made for any bytes: a hostile or rotten file gives lines and a verdict, never a panic.

use std::path::Path;

use crate::ids::Zxid;
use crate::store::access::ReadAt;
use crate::store::cause::{DamageCause, FrameFault, SnapshotFault};
use crate::store::chain::{Chain, ChainEnd};
use crate::store::chunks;
use crate::store::cover::first_needed;
use crate::store::disk::{MappedFile, is_being_created};
use crate::store::error::StoreError;
use crate::store::frame::{FrameHead, FrameKind, Records};
use crate::store::layout::{SLOT_AT, sb};
use crate::store::replay::Replay;
use crate::store::superblock::{Copies, CopyFault, Superblock};

/// What a file is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectVerdict {
    /// Whole. The log ends at `end`, in bytes from the start of the file.
    Good {
        /// Where the next frame goes.
        end: u64,
    },
    /// A crash cut the log's last write, or spared it without saying so; opening the file goes on from here.
    Torn {
        /// Where the log ends.
        at: u64,
        /// What is there in place of a frame.
        why: FrameFault,
    },
    /// Bytes that had been durable are gone; a server refuses the file.
    Damaged {
        /// The first damaged place.
        at: u64,
        /// What was expected and found.
        cause: DamageCause,
        /// The last transaction that can be read.
        good_to: Zxid,
        /// The highest transaction known to be lost.
        lost_to: Option<Zxid>,
    },
    /// By its name a file whose creation is under way, or was cut short: a server begins it anew.
    Unfinished,
}

/// One superblock copy, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuperblockLine {
    /// 0 or 1: generation modulo 2.
    pub slot: usize,
    /// 0 or 1.
    pub mirror: usize,
    /// In bytes from the start of the file.
    pub offset: u64,
    /// Counts the updates; `Err` says why the copy is not valid.
    pub generation: Result<u64, String>,
}

/// One thing found in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InspectLine<'a> {
    /// The file as a whole.
    File {
        /// Bytes.
        len: u64,
        /// Whether a server has it open, where that can be told.
        in_use: bool,
    },
    /// One of the four superblock copies.
    Superblock(SuperblockLine),
    /// What the newest complete superblock says.
    Root {
        /// The file's identity.
        file_uuid: [u8; 16],
        /// The server it belongs to; 0 = not said.
        server_id: u64,
        /// Bytes of an extent.
        extent_size: u64,
        /// How often it was opened for writing.
        incarnation: u32,
        /// Whether it was stopped cleanly.
        clean: bool,
        /// The epoch promised to a leader.
        accepted_epoch: u64,
        /// The epoch of the history.
        current_epoch: u64,
    },
    /// One extent.
    Extent {
        /// Its number.
        index: u32,
        /// Where it begins.
        offset: u64,
        /// What it is used for.
        state: &'static str,
        /// Its number in the log, or its position in the snapshot.
        order: u64,
    },
    /// One kept snapshot.
    Snapshot {
        /// 0 or 1.
        slot: usize,
        /// Its number.
        id: u64,
        /// The state it holds.
        zxid: Zxid,
        /// Stream bytes.
        bytes: u64,
        /// Entries.
        entries: u64,
        /// The log after this belongs to it: below `zxid` where it leaves data to the log.
        log_after: Zxid,
        /// `Err` names the first bad byte and what is wrong there.
        whole: Result<(), (u64, SnapshotFault)>,
    },
    /// Log that the newest snapshot covers is damaged. The state is whole without it: a server starts, takes a new snapshot
    /// and gives this part of the log up.
    CoveredDamage {
        /// The first damaged place.
        offset: u64,
        /// What was expected and found.
        cause: DamageCause,
    },
    /// One frame of the log.
    Frame {
        /// Where it begins.
        offset: u64,
        /// Its number.
        fseq: u64,
        /// The opening that wrote it.
        incarnation: u32,
        /// OPEN, TXNS, MARK or TRUNC.
        kind: &'static str,
        /// Bytes it takes.
        len: u64,
        /// The last frame known to be durable when this one was made.
        synced_fseq: u64,
        /// The last transaction in it or before it.
        last_zxid: Zxid,
        /// How many records it has.
        records: u32,
    },
    /// One record of the frame named last.
    Record {
        /// Its id.
        zxid: Zxid,
        /// Its bytes.
        txn: &'a [u8],
    },
}

/// How often a file is looked at, at most, while what looks like damage does not stay where it is.
const LOOKS_MAX: u32 = 1000;

/// Looks into the file at `path`: `each` gets what is found, in the order of [`InspectLine`]'s variants.
///
/// Takes no lock and writes nothing. On a file in use it shows the state of one moment; damage is what is found at the same
/// place twice.
///
/// # Errors
/// [`StoreError::Foreign`] and [`StoreError::Newer`] for what is not ours to read, [`StoreError::Io`]. Damage is no error
/// here but a verdict.
pub fn inspect(path: &Path, each: &mut dyn FnMut(InspectLine<'_>)) -> Result<InspectVerdict, StoreError> {
    let file = MappedFile::open(path)?;
    if is_being_created(path) {
        return Ok(InspectVerdict::Unfinished);
    }
    inspect_bytes(&file, file.in_use(), each)
}

/// [`inspect`] over any bytes.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_bytes(
    source: &dyn ReadAt,
    in_use: bool,
    each: &mut dyn FnMut(InspectLine<'_>),
) -> Result<InspectVerdict, StoreError> {
    let mut in_use = in_use;
    let mut seen = look(source)?;
    for _ in 1..LOOKS_MAX {
        let Some(before) = seen.damaged_at() else { break };
        // What an append or an update in the middle looks like is gone at the next look, or is another one farther on.
        // That is so whatever is known of the lock: the system's list of locks leaves some out while others come and go.
        seen = look(source)?;
        if seen.damaged_at() == Some(before) {
            break;
        }
        in_use = true;
    }
    let len = source.len().map_err(StoreError::io("examine the file"))?;
    each(InspectLine::File { len, in_use });
    seen.tell(source, in_use, each)
}

struct Inspected {
    copies: Copies,
    root: Option<Superblock>,
    verdict: InspectVerdict,
    covered: Option<CoveredFault>,
}

/// Damage in log that is not needed, because the newest snapshot is whole.
struct CoveredFault {
    at: u64,
    cause: DamageCause,
    /// The first log extent that is needed.
    needed: u64,
}

/// What the log of `root` is worth from its extent `lseq` on, and its last transaction.
fn worth(source: &dyn ReadAt, root: &Superblock, lseq: u64) -> Result<(InspectVerdict, Zxid), StoreError> {
    let chain = match Chain::walk_from(source, root, lseq, &mut |_, _| Ok(())) {
        Ok(chain) => chain,
        Err(StoreError::Corrupt { offset, cause, good_to, lost_to }) => {
            return Ok((InspectVerdict::Damaged { at: offset, cause, good_to, lost_to }, good_to));
        }
        Err(other) => return Err(other),
    };
    let verdict = match chain.judge(source, root) {
        ChainEnd::Clean => InspectVerdict::Good { end: chain.at },
        ChainEnd::Torn { .. } => InspectVerdict::Torn { at: chain.at, why: chain.why },
        ChainEnd::Damaged { cause, lost_to } => {
            InspectVerdict::Damaged { at: chain.at, cause, good_to: chain.last_zxid, lost_to }
        }
    };
    Ok((verdict, chain.last_zxid))
}

/// What the log is worth behind the newest snapshot, when that is whole and its log begins behind the first extent.
fn worth_behind_snapshot(
    source: &dyn ReadAt,
    root: &Superblock,
) -> Result<Option<(u64, InspectVerdict, Zxid)>, StoreError> {
    let age = |slot: &usize| root.snapshots[*slot].map(|kept| (kept.zxid, kept.id));
    let newest = [0, 1].into_iter().max_by_key(age).and_then(|slot| Some((slot, root.snapshots[slot]?)));
    let Some((slot, kept)) = newest else { return Ok(None) };
    let needed = first_needed(source, root, kept.log_after);
    if needed == root.log_base_lseq || chunks::load(source, root, slot, &kept, &mut Unread).is_err() {
        return Ok(None);
    }
    let (verdict, last) = worth(source, root, needed)?;
    let is_whole = !matches!(verdict, InspectVerdict::Damaged { .. }) && kept.zxid <= last;
    Ok(is_whole.then_some((needed, verdict, last)))
}

fn look(source: &dyn ReadAt) -> Result<Inspected, StoreError> {
    let copies = Copies::read(source).map_err(StoreError::io("read the superblocks"))?;
    let len = source.len().map_err(StoreError::io("examine the file"))?;
    let seen = |copies, root, verdict| Ok(Inspected { copies, root, verdict, covered: None });
    let damaged = |error: StoreError| match error {
        StoreError::Corrupt { offset, cause, good_to, lost_to } => {
            Ok(InspectVerdict::Damaged { at: offset, cause, good_to, lost_to })
        }
        other => Err(other),
    };
    let root = match copies.choose() {
        Ok(root) => root.clone(),
        Err(error) => {
            let verdict = damaged(error)?;
            let root = copies.newest().cloned().filter(|root| root.file_len() <= len);
            return seen(copies, root, verdict);
        }
    };
    if len < root.file_len() {
        let cut = StoreError::corrupt(len, DamageCause::CutShort { expected: root.file_len() });
        return seen(copies, None, damaged(cut)?);
    }
    let (mut verdict, mut last_zxid) = worth(source, &root, root.log_base_lseq)?;
    let mut covered = None;
    if let InspectVerdict::Damaged { at, cause, .. } = &verdict
        && let Some((needed, behind, last)) = worth_behind_snapshot(source, &root)?
    {
        covered = Some(CoveredFault { at: *at, cause: cause.clone(), needed });
        (verdict, last_zxid) = (behind, last);
    }
    let marked = root.flags & (sb::FLAG_DAMAGED | sb::FLAG_RESYNC) != 0;
    let verdict = match verdict {
        InspectVerdict::Good { .. } | InspectVerdict::Torn { .. } if marked => {
            InspectVerdict::Damaged { at: 0, cause: DamageCause::Marked, good_to: last_zxid, lost_to: None }
        }
        verdict => verdict,
    };
    Ok(Inspected { copies, root: Some(root), verdict, covered })
}

/// Counts as a reader of a snapshot, and keeps nothing of it.
struct Unread;

impl Replay for Unread {
    fn snapshot_begin(&mut self, _: Zxid) {}

    fn snapshot_entry(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn txn(&mut self, _: Zxid, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

impl Inspected {
    /// The first damaged place.
    fn damaged_at(&self) -> Option<u64> {
        match (&self.verdict, &self.covered) {
            (InspectVerdict::Damaged { at, .. }, _) => Some(*at),
            (_, covered) => covered.as_ref().map(|fault| fault.at),
        }
    }

    fn tell(
        self,
        source: &dyn ReadAt,
        in_use: bool,
        each: &mut dyn FnMut(InspectLine<'_>),
    ) -> Result<InspectVerdict, StoreError> {
        for (slot, mirrors) in self.copies.found.iter().enumerate() {
            for (mirror, copy) in mirrors.iter().enumerate() {
                let generation = copy.as_ref().map(|copy| copy.generation).map_err(CopyFault::to_string);
                let offset = SLOT_AT[slot][mirror];
                each(InspectLine::Superblock(SuperblockLine { slot, mirror, offset, generation }));
            }
        }
        let Some(root) = &self.root else { return Ok(self.verdict) };
        each(InspectLine::Root {
            file_uuid: root.file_uuid,
            server_id: root.server_id,
            extent_size: root.extent_size(),
            incarnation: root.incarnation,
            clean: root.clean(),
            accepted_epoch: root.member.accepted_epoch,
            current_epoch: root.member.current_epoch,
        });
        for (index, extent) in (0u32..).zip(&root.map) {
            let (offset, state) = (root.extent_at(index), extent.state.name());
            each(InspectLine::Extent { index, offset, state, order: extent.order });
        }
        let mut first_fault = None;
        let mut whole_ones = Vec::new();
        for (slot, kept) in root.snapshots.iter().enumerate() {
            let Some(kept) = kept else { continue };
            let whole = chunks::load(source, root, slot, kept, &mut Unread);
            match &whole {
                Ok(()) => whole_ones.push((kept.log_after, kept.zxid)),
                Err(fault) => first_fault = first_fault.or(Some(fault.clone())),
            }
            let (id, zxid, bytes, entries) = (kept.id, kept.zxid, kept.bytes, kept.entries);
            each(InspectLine::Snapshot { slot, id, zxid, bytes, entries, log_after: kept.log_after, whole });
        }
        if let Some(CoveredFault { at, cause, .. }) = &self.covered {
            each(InspectLine::CoveredDamage { offset: *at, cause: cause.clone() });
        }
        let mut last_zxid = Zxid::ZERO;
        let mut each_frame = |head: &FrameHead, body: &[u8]| {
            last_zxid = head.last_zxid;
            each(InspectLine::Frame {
                offset: head.own_offset,
                fseq: head.fseq,
                incarnation: head.incarnation,
                kind: head.kind.name(),
                len: head.len(),
                synced_fseq: head.synced_fseq,
                last_zxid: head.last_zxid,
                records: head.records,
            });
            if head.kind == FrameKind::Txns {
                for one in Records::of(body).flatten() {
                    each(InspectLine::Record { zxid: one.zxid, txn: one.txn });
                }
            }
            Ok(())
        };
        let mut walked = Chain::walk(source, root, &mut each_frame);
        if let Some(CoveredFault { needed, .. }) = &self.covered {
            walked = Chain::walk_from(source, root, *needed, &mut each_frame);
        }
        if let Ok(chain) = &walked {
            // One without its log is of no use to an opening either.
            let log_from = chain.extents.first().map_or(Zxid::ZERO, |first| first.base_zxid);
            whole_ones.retain(|&(log_after, zxid)| {
                let (from, to) = (log_from, chain.last_zxid);
                let inside = log_after >= from && zxid <= to;
                if !inside {
                    let zxid = if zxid > to { zxid } else { log_after };
                    first_fault.get_or_insert((0, SnapshotFault::OutsideLog { zxid, from, to }));
                }
                inside
            });
        }
        match (self.verdict, first_fault) {
            (damaged @ InspectVerdict::Damaged { .. }, _) => Ok(damaged),
            // A snapshot that a server has replaced meanwhile is no damage.
            (_, Some((at, fault))) if whole_ones.is_empty() && !in_use => Ok(InspectVerdict::Damaged {
                at,
                cause: DamageCause::NoWholeSnapshot(fault),
                good_to: Zxid::ZERO,
                lost_to: Some(last_zxid),
            }),
            // The end of a file in use is where its server writes next, and not a crash.
            (InspectVerdict::Torn { at, .. }, _) if in_use => {
                Ok(InspectVerdict::Good { end: walked.map_or(at, |chain| chain.at) })
            }
            (verdict, _) => Ok(verdict),
        }
    }
}
