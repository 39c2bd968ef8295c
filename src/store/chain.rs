//! The log as it is read: the chain of good frames, and what its end means.
//!
//! The end of the log is where the chain stops. Whether that is a *torn tail* (a crash; cut it) or *damage* (bytes that had
//! been durable are gone; refuse) is decided by what later frames and the superblock say had been synced. See `docs/FORMAT.md`.

use std::io;

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::access::ReadAt;
use crate::store::cause::{DamageCause, FrameFault};
use crate::store::error::StoreError;
use crate::store::frame::{FrameHead, FrameKind, OpenBody, Records, trunc_to};
use crate::store::layout::frame;
use crate::store::os_error::OsError;
use crate::store::superblock::Superblock;
use crate::store::window::Window;

/// One linked log extent that the chain has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogExtent {
    pub(crate) lseq: u64,
    pub(crate) index: u32,
    /// The number of its first frame.
    pub(crate) first_fseq: u64,
    /// The last zxid before its first record.
    pub(crate) base_zxid: Zxid,
    /// The highest zxid in it or before it, cut off or not.
    pub(crate) last_zxid: Zxid,
    /// Where the chain leaves it.
    pub(crate) end: u64,
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
    pub(crate) why: FrameFault,
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
        cause: DamageCause,
        lost_to: Option<Zxid>,
    },
}

/// Looks at every frame the walk accepts.
pub(crate) type FrameVisitor<'v> = dyn FnMut(&FrameHead, &[u8]) -> Result<(), StoreError> + 'v;

pub(crate) fn unreadable(at: u64, good_to: Zxid, error: &io::Error) -> StoreError {
    StoreError::Corrupt { offset: at, cause: DamageCause::Unreadable(OsError::from(error)), good_to, lost_to: None }
}

/// The frame at `at`, if it is good by itself: header and body whole, in its own place, inside the extent.
pub(crate) fn frame_at(
    window: &mut Window<'_>,
    sb: &Superblock,
    at: u64,
    end: u64,
) -> io::Result<Result<FrameHead, FrameFault>> {
    if end - at < frame::HEADER_LEN as u64 {
        return Ok(Err(FrameFault::ExtentEnds));
    }
    let Some(head) = FrameHead::decode(window.bytes(at, frame::HEADER_LEN, end)?, sb.seed()) else {
        return Ok(Err(FrameFault::NoHeader));
    };
    if head.own_offset != at {
        return Ok(Err(FrameFault::OtherPlace));
    }
    if head.incarnation > sb.incarnation {
        return Ok(Err(FrameFault::LaterIncarnation));
    }
    if u64::from(head.body_len) > end - at - frame::HEADER_LEN as u64 {
        return Ok(Err(FrameFault::TooLong));
    }
    let body = window.bytes(at + frame::HEADER_LEN as u64, head.body_len as usize, end)?;
    if crc32c::crc32c(body) != head.body_crc {
        return Ok(Err(FrameFault::BodyChecksum));
    }
    Ok(Ok(head))
}

/// Whether the body is what the header says, given the last zxid before it.
fn check_body(head: &FrameHead, body: &[u8], last_zxid: Zxid) -> Result<(), FrameFault> {
    match head.kind {
        FrameKind::Open => match OpenBody::decode(body) {
            Some(open) if open.base_zxid == head.last_zxid => Ok(()),
            _ => Err(FrameFault::Open),
        },
        FrameKind::Mark if body.is_empty() && head.last_zxid == last_zxid => Ok(()),
        FrameKind::Mark => Err(FrameFault::Mark),
        FrameKind::Trunc if trunc_to(body) == Some(head.last_zxid) && head.last_zxid <= last_zxid => Ok(()),
        FrameKind::Trunc => Err(FrameFault::Trunc),
        FrameKind::Txns => {
            let (mut last, mut count) = (last_zxid, 0);
            for one in Records::of(body) {
                let one = one.map_err(FrameFault::Record)?;
                if one.zxid <= last {
                    return Err(FrameFault::ZxidsBackwards);
                }
                last = one.zxid;
                count += 1;
            }
            match count == head.records && count > 0 && last == head.last_zxid {
                true => Ok(()),
                false => Err(FrameFault::OtherRecords),
            }
        }
    }
}

impl Chain {
    /// Walks from the OPEN of the first log extent as far as good frames go.
    pub(crate) fn walk(
        source: &dyn ReadAt,
        sb: &Superblock,
        visit: &mut FrameVisitor<'_>,
    ) -> Result<Chain, StoreError> {
        Chain::walk_from(source, sb, sb.log_base_lseq, visit)
    }

    /// The same from the OPEN of log extent `lseq` on, which is linked.
    pub(crate) fn walk_from(
        source: &dyn ReadAt,
        sb: &Superblock,
        lseq: u64,
        visit: &mut FrameVisitor<'_>,
    ) -> Result<Chain, StoreError> {
        let mut chain = Chain::before(sb, lseq);
        let mut window = Window::new(source);
        while chain.step(&mut window, sb, visit)? {}
        Ok(chain)
    }

    /// A chain without frames before the OPEN of log extent `lseq`, which is linked.
    pub(crate) fn before(sb: &Superblock, lseq: u64) -> Chain {
        let index = sb.log_extent(lseq).expect("the superblock was checked: every lseq is there");
        Chain {
            extents: Vec::new(),
            lseq,
            index,
            at: sb.extent_at(index),
            why: FrameFault::NoHeader,
            fseq: 0,
            last_crc: 0,
            incarnation: 0,
            last_zxid: Zxid::ZERO,
            last_txns_fseq: 0,
            frames: 0,
            records: 0,
            truncs: Vec::new(),
        }
    }

    /// Goes on by one frame; false where no good one follows.
    pub(crate) fn step(
        &mut self,
        window: &mut Window<'_>,
        sb: &Superblock,
        visit: &mut FrameVisitor<'_>,
    ) -> Result<bool, StoreError> {
        let (at, end) = (self.at, sb.extent_end(self.index));
        let next = self.next(window, sb, at, end, None);
        match next.map_err(|error| unreadable(at, self.last_zxid, &error))? {
            Ok(head) => return self.accept(window, sb, &head, visit).map(|()| true),
            Err(why) => self.why = why,
        }
        // The chain may go on in the next linked extent, if that one says it left this one exactly here.
        let Some(next_index) = sb.log_extent(self.lseq + 1).filter(|_| !self.extents.is_empty()) else {
            return Ok(false);
        };
        let (open_at, open_end) = (sb.extent_at(next_index), sb.extent_end(next_index));
        let from = OpenBody {
            lseq: self.lseq + 1,
            extent: next_index,
            prev_extent: self.index,
            prev_end_offset: self.at,
            prev_lseq: self.lseq,
            base_zxid: self.last_zxid,
        };
        let next = self.next(window, sb, open_at, open_end, Some(from));
        let Ok(head) = next.map_err(|error| unreadable(open_at, self.last_zxid, &error))? else { return Ok(false) };
        (self.lseq, self.index, self.at) = (self.lseq + 1, next_index, open_at);
        self.accept(window, sb, &head, visit).map(|()| true)
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
    ) -> io::Result<Result<FrameHead, FrameFault>> {
        let head = match frame_at(window, sb, at, end)? {
            Ok(head) => head,
            Err(why) => return Ok(Err(why)),
        };
        let first = self.extents.is_empty();
        let opens = first || from.is_some();
        if opens != (head.kind == FrameKind::Open) {
            return Ok(Err(FrameFault::OpenMisplaced));
        }
        let body = window.bytes(at + frame::HEADER_LEN as u64, head.body_len as usize, end)?;
        if first {
            // What came before the extent is taken as given. The superblock knows the number of the log's first frame.
            let lseq = OpenBody::decode(body).map(|open| open.lseq);
            let is_numbered = head.fseq == sb.base_fseq || self.lseq != sb.log_base_lseq;
            if !is_numbered || lseq != Some(self.lseq) {
                return Ok(Err(FrameFault::OpenOfEarlierUse));
            }
        } else if !failpoint::on(Failpoint::ChainUnchecked) {
            let follows = head.fseq == self.fseq + 1 && head.incarnation == self.incarnation;
            let resumes = head.fseq > self.fseq && head.incarnation > self.incarnation;
            if !follows && !resumes {
                return Ok(Err(FrameFault::EarlierUse));
            }
            if head.prev_crc != self.last_crc {
                return Ok(Err(FrameFault::FollowsAnother));
            }
            if from.is_some() && OpenBody::decode(body) != from {
                return Ok(Err(FrameFault::LeftElsewhere));
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
        let damaged = |cause: DamageCause, lost_to: Option<Zxid>| ChainEnd::Damaged { cause, lost_to };
        let why = self.why;
        let known = Some(sb.end_zxid).filter(|zxid| *zxid > self.last_zxid);
        if failpoint::on(Failpoint::EverythingTorn) {
            return ChainEnd::Torn { highest_fseq: self.fseq.max(sb.end_fseq).max(sb.base_fseq) + 1000 };
        }
        if sb.clean() {
            if (self.at, self.fseq) == (sb.end_offset, sb.end_fseq) || failpoint::on(Failpoint::EndUnchecked) {
                return ChainEnd::Clean;
            }
            return damaged(DamageCause::EndMoved { why, fseq: sb.end_fseq, end: sb.end_offset }, known);
        }
        if sb.end_fseq >= expected && !failpoint::on(Failpoint::EndUnchecked) {
            return damaged(DamageCause::DurableFrameGone { why, fseq: sb.end_fseq }, known);
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
                    Err(error) => {
                        return damaged(DamageCause::BehindTheEnd { at, error: OsError::from(&error) }, known);
                    }
                };
                if let Some(head) = FrameHead::decode(bytes, sb.seed()).filter(|head| head.own_offset == at) {
                    if head.incarnation > sb.incarnation {
                        return damaged(DamageCause::FrameAhead { at }, known);
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
                DamageCause::WitnessedFrameGone { why, fseq: expected },
                known.max(lost.filter(|zxid| *zxid > self.last_zxid)),
            );
        }
        ChainEnd::Torn { highest_fseq: highest }
    }
}
