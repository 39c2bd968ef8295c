//! Recovery of a file with which nothing is wrong, on several threads where there may be any.
//!
//! One thread reads, another checks what was read: the newest snapshot, then the log behind it. The thread that recovers
//! puts together the state of what they hand over, all at the same time: each byte is read once, and log that the snapshot
//! covers, and leaves no data to, not at all ([`cover`](super::cover)). Whatever is not as it should be ends in `None`, and
//! [`recover`](super::recover) starts over: it is the only one that words a fault or decides what a damaged file is good for.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::ids::Zxid;
use crate::store::access::ReadAt;
use crate::store::ahead::{Spare, ahead};
use crate::store::chain::{Chain, ChainEnd};
use crate::store::chunks::{self, Chunks};
use crate::store::cover::first_needed;
use crate::store::error::StoreError;
use crate::store::frame::{FrameHead, FrameKind, Records};
use crate::store::replay::Replay;
use crate::store::superblock::{SnapshotSlot, Superblock};
use crate::store::taking::LogTaking;
use crate::store::window::Window;

/// Batches that are checked ahead of the state.
const BATCHES_AHEAD: usize = 8;
/// Bytes that are handed over together, or one frame or chunk more.
const BATCH: usize = 1 << 20;

/// What was checked and is handed over together: frames whose transactions are to be replayed, or payloads of chunks.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each of them is in `bytes`.
    parts: Vec<Range<usize>>,
}

/// What the thread that checks says, the snapshot first.
enum Checked {
    Chunks(Batch),
    /// The snapshot is whole.
    SnapshotEnds,
    Frames(Batch),
}

/// The log as it was found, and what was taken in of the file.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) chain: Chain,
    /// No damage.
    pub(crate) verdict: ChainEnd,
    pub(crate) snapshot: SnapshotSlot,
    pub(crate) replayed: u64,
}

/// Recovers from the newest snapshot and the log. `None` when it is not to be had this way; then what `replay` has taken in is
/// void. `threads`: there may be other threads.
pub(crate) fn recover(source: &dyn ReadAt, sb: &Superblock, replay: &mut dyn Replay, threads: bool) -> Option<Whole> {
    let age = |slot: &usize| sb.snapshots[*slot].map(|kept| (kept.zxid, kept.id));
    let slot = [0, 1].into_iter().max_by_key(age)?;
    let kept = sb.snapshots[slot]?;
    let log = LogPart { source, sb, from: first_needed(source, sb, kept.log_after), after: kept.log_after };
    let (walked, replayed) = if threads {
        on_threads(log, slot, &kept, replay)?
    } else {
        chunks::load(source, sb, slot, &kept, replay).ok()?;
        let mut taking = LogTaking::behind(&kept, replay);
        let walked = log.walk(&mut Window::new(source), &mut |batch| {
            batch.give(&mut taking)?;
            Some(batch.emptied())
        })?;
        (walked, taking.end().ok()?)
    };
    let (chain, verdict) = walked;
    let from = chain.extents.first().map_or(Zxid::ZERO, |first| first.base_zxid);
    if kept.log_after < from || kept.zxid > chain.last_zxid {
        return None;
    }
    if matches!(verdict, ChainEnd::Damaged { .. }) {
        return None;
    }
    Some(Whole { chain, verdict, snapshot: kept, replayed })
}

/// The log as it was walked, and how many transactions of it were replayed.
type LogWalked = ((Chain, ChainEnd), u64);

fn on_threads(log: LogPart<'_>, slot: usize, kept: &SnapshotSlot, replay: &mut dyn Replay) -> Option<LogWalked> {
    let chunks = Chunks::new(log.sb, slot, *kept);
    let (reader, ahead) = ahead(chunks.places().into_iter().chain(log.places()).collect());
    let (checked_to, checked) = sync_channel(BATCHES_AHEAD);
    let spare = &Spare::default();
    // What this closure owns is dropped before the scope waits, so that no thread goes on handing over.
    std::thread::scope(move |scope| {
        spawn(scope, "zoarium-read", move || reader.read(log.source)).ok()?;
        let mut window = Window::behind(ahead, log.source);
        let hand_over = CheckedSender { checked: checked_to, spare };
        let check = move || {
            hand_over.chunks(chunks, &mut window)?;
            log.walk(&mut window, &mut |batch| hand_over.batch(Checked::Frames(batch)))
        };
        let checking = spawn(scope, "zoarium-check", check).ok()?;
        let replayed = take_in(&checked, spare, kept, replay)?;
        Some((joined(checking)?, replayed))
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().name(name.to_owned()).spawn_scoped(scope, run)
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The part of the log that is needed after a snapshot.
#[derive(Clone, Copy)]
struct LogPart<'a> {
    source: &'a dyn ReadAt,
    sb: &'a Superblock,
    /// Its first extent.
    from: u64,
    /// Transactions up to this are in the snapshot, with their data.
    after: Zxid,
}

impl LogPart<'_> {
    /// Where it is, extent by extent.
    fn places(self) -> impl Iterator<Item = Range<u64>> {
        let extents = (self.from..=self.sb.log_head_lseq).filter_map(move |lseq| self.sb.log_extent(lseq));
        extents.map(move |index| self.sb.extent_at(index)..self.sb.extent_end(index))
    }

    /// Walks it and hands over what the snapshot leaves to it and what came after the snapshot; each time an empty batch comes back,
    /// or `None` to stop. `None` when the chain cannot be walked this way.
    fn walk(
        self,
        window: &mut Window<'_>,
        hand_over: &mut dyn FnMut(Batch) -> Option<Batch>,
    ) -> Option<(Chain, ChainEnd)> {
        let mut batch = Batch::default();
        let mut handed_to = Zxid::ZERO;
        // Ends the walk; nothing reads it.
        let stop = || StoreError::NoSnapshot;
        let mut visit = |head: &FrameHead, body: &[u8]| {
            // What was handed over cannot be taken back.
            if head.kind == FrameKind::Trunc && head.last_zxid < handed_to {
                return Err(stop());
            }
            if head.kind != FrameKind::Txns || head.last_zxid <= self.after {
                return Ok(());
            }
            handed_to = head.last_zxid;
            if batch.add(body) {
                batch = hand_over(std::mem::take(&mut batch)).ok_or_else(stop)?;
            }
            Ok(())
        };
        let mut chain = Chain::before(self.sb, self.from);
        while chain.step(window, self.sb, &mut visit).ok()? {}
        hand_over(batch)?;
        let verdict = chain.judge(self.source, self.sb);
        Some((chain, verdict))
    }
}

impl Batch {
    /// Takes one more in; whether that is enough.
    fn add(&mut self, part: &[u8]) -> bool {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(part);
        self.parts.push(from..self.bytes.len());
        self.bytes.len() >= BATCH
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| &self.bytes[part.clone()])
    }

    fn emptied(mut self) -> Batch {
        self.bytes.clear();
        self.parts.clear();
        self
    }

    /// Gives the transactions to the state.
    fn give(&self, taking: &mut LogTaking<'_>) -> Option<()> {
        for body in self.parts() {
            for one in Records::of(body) {
                let one = one.ok()?;
                taking.txn(one.zxid, one.txn).ok()?;
            }
        }
        Some(())
    }
}

/// The way from the thread that checks to the one that recovers.
struct CheckedSender<'a> {
    checked: SyncSender<Checked>,
    spare: &'a Spare<Batch>,
}

impl CheckedSender<'_> {
    /// Gives an empty batch, or `None` to stop.
    fn batch(&self, checked: Checked) -> Option<Batch> {
        self.checked.send(checked).ok()?;
        Some(self.spare.take())
    }

    /// Checks the snapshot and hands over what is in its chunks. A fault is said by not saying that this was all.
    fn chunks(&self, mut chunks: Chunks, window: &mut Window<'_>) -> Option<()> {
        let mut batch = Batch::default();
        while let Some((_, payload)) = chunks.next(window).ok()? {
            if batch.add(payload) {
                batch = self.batch(Checked::Chunks(batch))?;
            }
        }
        self.batch(Checked::Chunks(batch))?;
        self.checked.send(Checked::SnapshotEnds).ok()
    }
}

/// Takes in what was checked, until nothing more comes. How many transactions were replayed; `None` without a whole snapshot.
fn take_in(
    checked: &Receiver<Checked>,
    spare: &Spare<Batch>,
    kept: &SnapshotSlot,
    replay: &mut dyn Replay,
) -> Option<u64> {
    let mut stream = chunks::Stream::begin(kept, replay);
    while let Checked::Chunks(batch) = checked.recv().ok()? {
        batch.parts().try_for_each(|payload| stream.feed(payload, replay)).ok()?;
        spare.give(batch.emptied());
    }
    stream.end(replay).ok()?;
    let mut taking = LogTaking::behind(kept, replay);
    while let Ok(Checked::Frames(batch)) = checked.recv() {
        batch.give(&mut taking)?;
        spare.give(batch.emptied());
    }
    taking.end().ok()
}
