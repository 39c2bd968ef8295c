//! The part of the log that the newest snapshot covers: passed over when the file is opened, and checked afterwards.
//!
//! It is there for the older of two snapshots, and for members that lack some of it. What the newest snapshot leaves to the log is no
//! part of it. A state has nothing from it when the newest snapshot is whole, so an opening need not wait for it to be read: it may be most of the file.

use crate::ids::Zxid;
use crate::store::access::ReadAt;
use crate::store::cause::DamageCause;
use crate::store::chain::{Chain, frame_at};
use crate::store::error::StoreError;
use crate::store::frame::{FrameKind, OpenBody};
use crate::store::layout::frame;
use crate::store::superblock::Superblock;
use crate::store::window::Window;

/// Bytes of log that are checked in one step, or one frame more.
const STEP: u64 = 1 << 20;

/// The last log extent before which the log has nothing that a state at `zxid` lacks; the first where no other can be told.
///
/// A good OPEN frame of the extent's present use is proof of what the log held before it: it was written behind that.
pub(crate) fn first_needed(source: &dyn ReadAt, sb: &Superblock, zxid: Zxid) -> u64 {
    let mut window = Window::of_a_page(source);
    let mut opens_after = |lseq: u64| {
        let index = sb.log_extent(lseq)?;
        let (at, end) = (sb.extent_at(index), sb.extent_end(index));
        let head = frame_at(&mut window, sb, at, end).ok()?.ok().filter(|head| head.kind == FrameKind::Open)?;
        let body = window.bytes(at + frame::HEADER_LEN as u64, head.body_len as usize, end).ok()?;
        let open = OpenBody::decode(body).filter(|open| (open.lseq, open.extent) == (lseq, index))?;
        (open.base_zxid == head.last_zxid).then_some(open.base_zxid)
    };
    let later = (sb.log_base_lseq + 1..=sb.log_head_lseq).rev();
    later.into_iter().find(|lseq| opens_after(*lseq).is_some_and(|base| base <= zxid)).unwrap_or(sb.log_base_lseq)
}

/// The log before an extent, on its way to being checked.
#[derive(Debug)]
pub(crate) struct CoverCheck {
    sb: Superblock,
    chain: Chain,
    /// The extent.
    before: u64,
}

impl CoverCheck {
    /// The log of `sb` before its extent `lseq`, which is not its first.
    pub(crate) fn before(sb: &Superblock, lseq: u64) -> CoverCheck {
        CoverCheck { sb: sb.clone(), chain: Chain::before(sb, sb.log_base_lseq), before: lseq }
    }

    /// Bytes that were checked in this step; when it was the last one, the chain that leads into the extent, with the OPEN
    /// of that as its last frame, or what is wrong with it.
    pub(crate) fn step(&mut self, source: &dyn ReadAt) -> (usize, Option<Result<Chain, StoreError>>) {
        let mut window = Window::small(source);
        let mut bytes = 0;
        while bytes < STEP {
            let from = self.chain.at;
            match self.chain.step(&mut window, &self.sb, &mut |_, _| Ok(())) {
                Err(error) => return (0, Some(Err(error))),
                Ok(false) => {
                    let cause = DamageCause::CoveredFrameGone { why: self.chain.why };
                    return (0, Some(Err(StoreError::corrupt(self.chain.at, cause))));
                }
                Ok(true) if self.chain.lseq == self.before => {
                    let empty = Chain::before(&self.sb, self.before);
                    return (bytes as usize, Some(Ok(std::mem::replace(&mut self.chain, empty))));
                }
                Ok(true) => bytes += self.chain.at.saturating_sub(from).max(1),
            }
        }
        (bytes as usize, None)
    }
}
