//! Recovery: from the bytes of a file to a state and a place to go on from. Reads only; [`Store::open_on`] does the rest.
//!
//! The end of the log is where the chain of good frames stops. Whether that is a *torn tail* (a crash; cut it) or
//! *damage* (bytes that had been durable are gone; refuse) is decided by what later frames and the superblock say had
//! been synced. See `docs/FORMAT.md`.
//!
//! [`Store::open_on`]: crate::store::Store::open_on

use std::io;

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::chunks;
use crate::store::disk::ReadAt;
use crate::store::error::StoreError;
use crate::store::layout::{frame, sb};
use crate::store::log::{FrameHead, Kind, LogExtent, OpenBody, Records, Tail};
use crate::store::parallel::{self, Whole};
use crate::store::superblock::{Copies, Superblock};
use crate::store::window::Window;

/// What recovery feeds: a state that is rebuilt from a snapshot and the transactions after it.
pub trait Replay {
    /// Start over from an empty state: a snapshot taken at `zxid` follows. Called again when that one is damaged.
    fn snapshot_begin(&mut self, zxid: Zxid);

    /// One entry of the snapshot, as it was pushed.
    ///
    /// # Errors
    /// The text says why the entry cannot be; the snapshot then counts as damaged.
    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String>;

    /// The snapshot is whole.
    ///
    /// # Errors
    /// The text says what is missing; the snapshot then counts as damaged.
    fn snapshot_end(&mut self) -> Result<(), String>;

    /// One transaction after the snapshot, in order.
    ///
    /// # Errors
    /// The text says why it cannot be applied; the file then counts as damaged.
    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String>;
}

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
    pub snapshots_damaged: Vec<String>,
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

/// The chain of good frames, and where it stops.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) extents: Vec<LogExtent>,
    /// The extent in which it stops.
    pub(crate) lseq: u64,
    pub(crate) index: u32,
    /// Where it stops.
    pub(crate) at: u64,
    /// Why the bytes there do not continue it.
    pub(crate) why: &'static str,
    /// Its last frame.
    pub(crate) fseq: u64,
    pub(crate) last_crc: u32,
    pub(crate) incarnation: u32,
    pub(crate) last_zxid: Zxid,
    pub(crate) last_txns_fseq: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Truncations: the frame's number and the zxid after which earlier frames are void.
    pub(crate) truncs: Vec<(u64, Zxid)>,
}

/// What the end of the chain means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChainEnd {
    Clean,
    /// The highest frame number seen anywhere.
    Torn {
        highest_fseq: u64,
    },
    Damaged {
        what: String,
        lost_to: Option<Zxid>,
    },
}

/// Looks at every frame the walk accepts.
pub(crate) type FrameVisitor<'v> = dyn FnMut(&FrameHead, &[u8]) -> Result<(), StoreError> + 'v;

fn unreadable(at: u64, good_to: Zxid, error: &io::Error) -> StoreError {
    StoreError::Corrupt { offset: at, what: format!("cannot be read: {error}"), good_to, lost_to: None }
}

/// The frame at `at`, if it is good by itself: header and body whole, in its own place, inside the extent.
pub(crate) fn frame_at(
    window: &mut Window<'_>,
    sb: &Superblock,
    at: u64,
    end: u64,
) -> io::Result<Result<FrameHead, &'static str>> {
    if end - at < frame::HEADER_LEN as u64 {
        return Ok(Err("the extent ends"));
    }
    let Some(head) = FrameHead::decode(window.bytes(at, frame::HEADER_LEN, end)?, sb.seed()) else {
        return Ok(Err("no frame header"));
    };
    if head.own_offset != at {
        return Ok(Err("a frame of another place"));
    }
    if head.incarnation > sb.incarnation {
        return Ok(Err("a frame of a later incarnation than the superblock's"));
    }
    if u64::from(head.body_len) > end - at - frame::HEADER_LEN as u64 {
        return Ok(Err("a frame longer than its extent"));
    }
    let body = window.bytes(at + frame::HEADER_LEN as u64, head.body_len as usize, end)?;
    if crc32c::crc32c(body) != head.body_crc {
        return Ok(Err("the frame's body does not match its checksum"));
    }
    Ok(Ok(head))
}

/// Whether the body is what the header says, given the last zxid before it.
fn check_body(head: &FrameHead, body: &[u8], last_zxid: Zxid) -> Result<(), &'static str> {
    match head.kind {
        FrameKind::Open => match OpenBody::decode(body) {
            Some(open) if open.base_zxid == head.last_zxid => Ok(()),
            _ => Err("an OPEN frame that contradicts itself"),
        },
        FrameKind::Mark if body.is_empty() && head.last_zxid == last_zxid => Ok(()),
        FrameKind::Mark => Err("a MARK frame with content"),
        FrameKind::Trunc if trunc_to(body) == Some(head.last_zxid) && head.last_zxid <= last_zxid => Ok(()),
        FrameKind::Trunc => Err("a TRUNC frame that contradicts itself"),
        FrameKind::Txns => {
            let (mut last, mut count) = (last_zxid, 0);
            for one in Records::of(body) {
                let one = one?;
                if one.zxid <= last {
                    return Err("zxids go backwards inside a frame");
                }
                last = one.zxid;
                count += 1;
            }
            match count == head.records && count > 0 && last == head.last_zxid {
                true => Ok(()),
                false => Err("a frame with other records than it says"),
            }
        }
    }
}

fn trunc_to(body: &[u8]) -> Option<Zxid> {
    Some(Zxid(i64::from_le_bytes(body.try_into().ok()?)))
}

impl Chain {
    /// Walks from the OPEN of the first needed log extent as far as good frames go.
    pub(crate) fn walk(
        source: &dyn ReadAt,
        sb: &Superblock,
        visit: &mut FrameVisitor<'_>,
    ) -> Result<Chain, StoreError> {
        let index = sb.log_extent(sb.log_base_lseq).expect("the superblock was checked: every lseq is there");
        let mut chain = Chain {
            extents: Vec::new(),
            lseq: sb.log_base_lseq,
            index,
            at: sb.extent_at(index),
            why: "",
            fseq: 0,
            last_crc: 0,
            incarnation: 0,
            last_zxid: Zxid::ZERO,
            last_txns_fseq: 0,
            frames: 0,
            records: 0,
            truncs: Vec::new(),
        };
        let mut window = Window::new(source);
        loop {
            let (at, end) = (chain.at, sb.extent_end(chain.index));
            let next = chain.next(&mut window, sb, at, end, None);
            match next.map_err(|error| unreadable(at, chain.last_zxid, &error))? {
                Ok(head) => {
                    chain.accept(&mut window, sb, &head, visit)?;
                    continue;
                }
                Err(why) => chain.why = why,
            }
            // The chain may go on in the next linked extent, if that one says it left this one exactly here.
            let Some(next_index) = sb.log_extent(chain.lseq + 1).filter(|_| !chain.extents.is_empty()) else {
                return Ok(chain);
            };
            let (open_at, open_end) = (sb.extent_at(next_index), sb.extent_end(next_index));
            let from = OpenBody {
                lseq: chain.lseq + 1,
                extent: next_index,
                prev_extent: chain.index,
                prev_end_offset: chain.at,
                prev_lseq: chain.lseq,
                base_zxid: chain.last_zxid,
            };
            let next = chain.next(&mut window, sb, open_at, open_end, Some(from));
            match next.map_err(|error| unreadable(open_at, chain.last_zxid, &error))? {
                Ok(head) => {
                    (chain.lseq, chain.index, chain.at) = (chain.lseq + 1, next_index, open_at);
                    chain.accept(&mut window, sb, &head, visit)?;
                }
                Err(_) => return Ok(chain),
            }
        }
    }

    /// The number the next frame has, at least.
    pub(crate) fn expected_fseq(&self, sb: &Superblock) -> u64 {
        if self.extents.is_empty() { sb.base_fseq } else { self.fseq + 1 }
    }

    /// The frame at `at`, if it is good and continues the chain.
    fn next(
        &self,
        window: &mut Window<'_>,
        sb: &Superblock,
        at: u64,
        end: u64,
        from: Option<OpenBody>,
    ) -> io::Result<Result<FrameHead, &'static str>> {
        let head = match frame_at(window, sb, at, end)? {
            Ok(head) => head,
            Err(why) => return Ok(Err(why)),
        };
        let first = self.extents.is_empty();
        let opens = first || from.is_some();
        if opens != (head.kind == FrameKind::Open) {
            return Ok(Err("an OPEN frame in the wrong place, or none in the right one"));
        }
        let body = window.bytes(at + frame::HEADER_LEN as u64, head.body_len as usize, end)?;
        if first {
            // What came before the first needed extent is taken as given; its number is known.
            let lseq = OpenBody::decode(body).map(|open| open.lseq);
            if head.fseq != sb.base_fseq || lseq != Some(sb.log_base_lseq) {
                return Ok(Err("an OPEN frame of an earlier use of the extent"));
            }
        } else if !failpoint::on(Failpoint::ChainUnchecked) {
            let follows = head.fseq == self.fseq + 1 && head.incarnation == self.incarnation;
            let resumes = head.fseq > self.fseq && head.incarnation > self.incarnation;
            if !follows && !resumes {
                return Ok(Err("a frame of an earlier use of the space"));
            }
            if head.prev_crc != self.last_crc {
                return Ok(Err("a frame that follows another one"));
            }
            if from.is_some() && OpenBody::decode(body) != from {
                return Ok(Err("an OPEN frame that left the chain elsewhere"));
            }
        }
        Ok(check_body(&head, body, self.last_zxid).map(|()| head))
    }

    fn accept(
        &mut self,
        window: &mut Window<'_>,
        sb: &Superblock,
        head: &FrameHead,
        visit: &mut FrameVisitor<'_>,
    ) -> Result<(), StoreError> {
        let at = head.own_offset;
        let body = window.bytes(at + frame::HEADER_LEN as u64, head.body_len as usize, sb.extent_end(self.index));
        let body = body.map_err(|error| unreadable(at, self.last_zxid, &error))?;
        match head.kind {
            FrameKind::Open => self.extents.push(LogExtent {
                lseq: self.lseq,
                index: self.index,
                first_fseq: head.fseq,
                base_zxid: head.last_zxid,
                last_zxid: head.last_zxid,
                end: at,
            }),
            FrameKind::Txns => {
                self.last_txns_fseq = head.fseq;
                self.records += u64::from(head.records);
            }
            FrameKind::Trunc => self.truncs.push((head.fseq, head.last_zxid)),
            FrameKind::Mark => {}
        }
        visit(head, body)?;
        self.frames += 1;
        self.at = at + head.len();
        (self.fseq, self.last_crc, self.incarnation) = (head.fseq, head.header_crc, head.incarnation);
        self.last_zxid = head.last_zxid;
        let current = self.extents.last_mut().expect("the first frame of a chain is an OPEN");
        current.last_zxid = current.last_zxid.max(head.last_zxid);
        current.end = self.at;
        Ok(())
    }

    /// Tells a torn tail from damage (S-41).
    pub(crate) fn judge(&self, source: &dyn ReadAt, sb: &Superblock) -> ChainEnd {
        let expected = self.expected_fseq(sb);
        let damaged = |what: String, lost_to: Option<Zxid>| ChainEnd::Damaged { what, lost_to };
        let known = Some(sb.end_zxid).filter(|zxid| *zxid > self.last_zxid);
        if failpoint::on(Failpoint::EverythingTorn) {
            return ChainEnd::Torn { highest_fseq: self.fseq.max(sb.end_fseq).max(sb.base_fseq) + 1000 };
        }
        if sb.clean() {
            if (self.at, self.fseq) == (sb.end_offset, sb.end_fseq) || failpoint::on(Failpoint::EndUnchecked) {
                return ChainEnd::Clean;
            }
            let (at, fseq) = (sb.end_offset, sb.end_fseq);
            return damaged(format!("{}, though a clean stop left frame {fseq} to end at {at}", self.why), known);
        }
        if sb.end_fseq >= expected && !failpoint::on(Failpoint::EndUnchecked) {
            return damaged(format!("{}, though frame {} was durable", self.why, sb.end_fseq), known);
        }
        // Headers suffice as witnesses: one was made only after the syncs it speaks of had returned.
        let mut highest = self.fseq.max(sb.end_fseq);
        let mut synced = 0;
        let mut witnesses = Vec::new();
        let mut window = Window::new(source);
        let mut places = vec![(self.at, sb.extent_end(self.index))];
        for lseq in self.lseq + 1..=sb.log_head_lseq {
            places.extend(sb.log_extent(lseq).map(|index| (sb.extent_at(index), sb.extent_end(index))));
        }
        for (from, end) in places {
            let mut at = from;
            while at + frame::HEADER_LEN as u64 <= end {
                let bytes = match window.bytes(at, frame::HEADER_LEN, end) {
                    Ok(bytes) => bytes,
                    Err(error) => return damaged(format!("byte {at} behind the end cannot be read: {error}"), known),
                };
                if let Some(head) = FrameHead::decode(bytes, sb.seed()).filter(|head| head.own_offset == at) {
                    if head.incarnation > sb.incarnation {
                        return damaged(format!("a frame at {at} is newer than both superblock slots"), known);
                    }
                    highest = highest.max(head.fseq);
                    if head.fseq >= expected && head.incarnation >= self.incarnation {
                        synced = synced.max(head.synced_fseq);
                        witnesses.push((head.fseq, head.last_zxid));
                    }
                }
                at += frame::ALIGN as u64;
            }
        }
        if synced >= expected {
            let lost = witnesses.iter().filter(|(fseq, _)| *fseq <= synced).map(|(_, zxid)| *zxid).max();
            return damaged(
                format!("{}, though a later frame says that frame {expected} was durable", self.why),
                known.max(lost.filter(|zxid| *zxid > self.last_zxid)),
            );
        }
        ChainEnd::Torn { highest_fseq: highest }
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
        return Err(StoreError::corrupt(len, format!("the file ends here and should have {} bytes", sb.file_len())));
    }
    if sb.flags & (sb::FLAG_DAMAGED | sb::FLAG_RESYNC) != 0 {
        return Err(StoreError::corrupt(0, "the file is marked as damaged and waits to be filled by its peers"));
    }
    let (chain, verdict, taken_in) = match if threads { parallel::recover(source, &sb, replay) } else { None } {
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
        ChainEnd::Damaged { what, lost_to } => {
            return Err(StoreError::Corrupt { offset: chain.at, what, good_to: chain.last_zxid, lost_to });
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
    damages: Vec<String>,
    replayed: u64,
}

/// Reads the state of an open store anew, and tells which snapshot it began with.
pub(crate) fn read_state(
    source: &dyn ReadAt,
    sb: &Superblock,
    log: &Tail,
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
            let result = if (kept.zxid < log_from || kept.zxid > self.last_zxid) && !is_installed {
                let (from, to) = (log_from, self.last_zxid);
                Err((
                    self.sb.extent_at(self.sb.snapshot_extents(slot)[0]),
                    format!("its zxid {} is outside the log, {from} to {to}", kept.zxid),
                ))
            } else {
                chunks::load(self.source, self.sb, slot, &kept, replay)
            };
            match result {
                Ok(()) => {
                    read.snapshot = Some((kept.zxid, kept.entries));
                    return Ok(());
                }
                Err((offset, what)) => {
                    read.damages.push(format!("snapshot at zxid {}: byte {offset}: {what}", kept.zxid));
                    read.bad_slots.push(slot);
                    first_fault.get_or_insert((offset, what));
                }
            }
        }
        match first_fault {
            None => Ok(()),
            Some((offset, what)) => Err(StoreError::Corrupt {
                offset,
                what: format!("no snapshot can be loaded, the newest because {what}"),
                good_to: Zxid::ZERO,
                lost_to: Some(self.last_zxid),
            }),
        }
    }

    /// Hands the transactions after the snapshot to `replay`, but those a truncation made void.
    fn replay_log(&self, replay: &mut dyn Replay, read: &mut StateRead) -> Result<(), StoreError> {
        let after = read.snapshot.map_or(Zxid::ZERO, |(zxid, _)| zxid);
        let mut window = Window::new(self.source);
        for extent in self.extents {
            let mut at = self.sb.extent_at(extent.index);
            // An extent whose last zxid the snapshot covers has nothing for us.
            while extent.last_zxid > after && at < extent.end {
                let again = frame_at(&mut window, self.sb, at, self.sb.extent_end(extent.index));
                let head = again.map_err(|error| unreadable(at, after, &error))?;
                let head =
                    head.map_err(|why| StoreError::corrupt(at, format!("read twice with two results: {why}")))?;
                let body_at = at + frame::HEADER_LEN as u64;
                let body = window
                    .bytes(body_at, head.body_len as usize, extent.end)
                    .map_err(|error| unreadable(at, after, &error))?;
                if head.kind == FrameKind::Txns {
                    for one in Records::of(body) {
                        let one = one.map_err(|why| StoreError::corrupt(at, why))?;
                        let void = self.truncs.iter().any(|(fseq, to)| *fseq > head.fseq && one.zxid > *to);
                        if void || one.zxid <= after {
                            continue;
                        }
                        replay.txn(one.zxid, one.txn).map_err(|what| StoreError::Corrupt {
                            offset: at,
                            what: format!("transaction {} was refused: {what}", one.zxid),
                            good_to: self.last_zxid.min(Zxid(one.zxid.0 - 1)),
                            lost_to: Some(self.last_zxid),
                        })?;
                        read.replayed += 1;
                    }
                }
                at += head.len();
            }
        }
        Ok(())
    }
}
