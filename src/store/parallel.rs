//! Recovery of a file with which nothing is wrong, on several threads where there may be any.
//!
//! One thread walks the log, one reads the newest snapshot; both check what they read before it counts. The thread that
//! recovers puts together the state of what they hand over, and the transactions come to it while the walk goes on: each
//! byte is read once, and log that the snapshot covers not at all ([`cover`](super::cover)). Whatever is not as it should be
//! ends in `None`, and [`recover`](super::recover) starts over: it is the only one that words a fault or decides what a damaged
//! file is good for.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::ids::Zxid;
use crate::store::access::{AlignedBuf, ReadAt};
use crate::store::chain::{Chain, ChainEnd};
use crate::store::chunks::{self, Chunks};
use crate::store::cover::first_needed;
use crate::store::error::StoreError;
use crate::store::frame::{FrameKind, Records};
use crate::store::replay::Replay;
use crate::store::superblock::{SnapshotSlot, Superblock};

/// Chunks of the snapshot that are read ahead of the loading.
const CHUNKS_AHEAD: usize = 4;
/// Batches of the log that are read ahead of the replay.
const BATCHES_AHEAD: usize = 4;
/// Bytes of frames that are handed over together, or one frame more.
const BATCH: usize = 1 << 20;

/// Frames whose transactions are to be replayed.
#[derive(Default)]
struct FrameBatch {
    bytes: Vec<u8>,
    /// Where the bodies are in `bytes`.
    bodies: Vec<Range<usize>>,
}

/// A chunk of the snapshot, and the length of its payload; the last thing said is that there are no more.
type ReadChunk = Option<(AlignedBuf, usize)>;

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
    let log = LogPart { source, sb, from: first_needed(source, sb, kept.zxid), after: kept.zxid };
    let (walked, replayed) = if threads {
        on_threads(log, Chunks::new(source, sb, slot, kept), &kept, replay)?
    } else {
        chunks::load(source, sb, slot, &kept, replay).ok()?;
        let mut replayed = 0;
        let walked = log.walk(&mut |batch| {
            replayed += batch.replay(log.after, replay)?;
            Some(FrameBatch::default())
        })?;
        (walked, replayed)
    };
    let (chain, verdict) = walked;
    let from = chain.extents.first().map_or(Zxid::ZERO, |first| first.base_zxid);
    if kept.zxid < from || kept.zxid > chain.last_zxid {
        return None;
    }
    if matches!(verdict, ChainEnd::Damaged { .. }) {
        return None;
    }
    Some(Whole { chain, verdict, snapshot: kept, replayed })
}

/// The log as it was walked, and how many transactions of it were replayed.
type LogWalked = ((Chain, ChainEnd), u64);

fn on_threads(log: LogPart<'_>, chunks: Chunks<'_>, kept: &SnapshotSlot, replay: &mut dyn Replay) -> Option<LogWalked> {
    // What this closure owns is dropped before the scope waits, so that neither thread goes on handing over.
    std::thread::scope(|scope| {
        let (batches_to, batches) = sync_channel(BATCHES_AHEAD);
        let (empty_to, empty) = channel();
        let mut hand_over = move |batch| {
            batches_to.send(batch).ok()?;
            Some(empty.try_recv().unwrap_or_default())
        };
        let walking = spawn(scope, "zoarium-log", move || log.walk(&mut hand_over)).ok()?;
        load(scope, chunks, kept, replay)?;
        let replayed = take_in(&batches, &empty_to, kept.zxid, replay)?;
        drop(batches);
        Some((joined(walking)?, replayed))
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
    /// The zxid of the snapshot.
    after: Zxid,
}

impl LogPart<'_> {
    /// Walks it and hands over what came after the snapshot; each time an empty batch comes back, or `None` to stop. `None`
    /// when the chain cannot be walked this way.
    fn walk(self, hand_over: &mut dyn FnMut(FrameBatch) -> Option<FrameBatch>) -> Option<(Chain, ChainEnd)> {
        let mut batch = FrameBatch::default();
        let mut handed_to = Zxid::ZERO;
        // Ends the walk; nothing reads it.
        let stop = || StoreError::NoSnapshot;
        let chain = Chain::walk_from(self.source, self.sb, self.from, &mut |head, body| {
            // What was handed over cannot be taken back.
            if head.kind == FrameKind::Trunc && head.last_zxid < handed_to {
                return Err(stop());
            }
            if head.kind != FrameKind::Txns || head.last_zxid <= self.after {
                return Ok(());
            }
            handed_to = head.last_zxid;
            let from = batch.bytes.len();
            batch.bytes.extend_from_slice(body);
            batch.bodies.push(from..batch.bytes.len());
            if batch.bytes.len() >= BATCH {
                batch = hand_over(std::mem::take(&mut batch)).ok_or_else(stop)?;
            }
            Ok(())
        });
        let chain = chain.ok()?;
        hand_over(batch)?;
        let verdict = chain.judge(self.source, self.sb);
        Some((chain, verdict))
    }
}

impl FrameBatch {
    /// Replays the transactions after `after`. How many that were.
    fn replay(&self, after: Zxid, replay: &mut dyn Replay) -> Option<u64> {
        let mut replayed = 0;
        for body in &self.bodies {
            for one in Records::of(&self.bytes[body.clone()]) {
                let one = one.ok()?;
                if one.zxid > after {
                    replay.txn(one.zxid, one.txn).ok()?;
                    replayed += 1;
                }
            }
        }
        Some(replayed)
    }
}

/// Loads the snapshot that another thread reads.
fn load<'scope, 'a: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    mut chunks: Chunks<'a>,
    kept: &SnapshotSlot,
    replay: &mut dyn Replay,
) -> Option<()> {
    let (pieces_to, pieces) = sync_channel::<ReadChunk>(CHUNKS_AHEAD);
    let (empty_to, empty) = channel::<AlignedBuf>();
    let read = move || {
        loop {
            let mut buf = empty.try_recv().unwrap_or_else(|_| chunks.buffer());
            // A fault is said by not saying that this was all.
            let Ok(next) = chunks.next(&mut buf) else { return };
            let is_last = next.is_none();
            if pieces_to.send(next.map(|(_, used)| (buf, used))).is_err() || is_last {
                return;
            }
        }
    };
    spawn(scope, "zoarium-snap", read).ok()?;
    let mut stream = chunks::Stream::begin(kept, replay);
    while let Some((buf, used)) = pieces.recv().ok()? {
        stream.feed(chunks::payload(&buf, used), replay).ok()?;
        let _ = empty_to.send(buf);
    }
    stream.end(replay).ok()
}

/// Replays what the walk hands over, until it ends. How many transactions that were.
fn take_in(
    batches: &Receiver<FrameBatch>,
    empty: &Sender<FrameBatch>,
    after: Zxid,
    replay: &mut dyn Replay,
) -> Option<u64> {
    let mut replayed = 0;
    while let Ok(mut batch) = batches.recv() {
        replayed += batch.replay(after, replay)?;
        batch.bytes.clear();
        batch.bodies.clear();
        let _ = empty.send(batch);
    }
    Some(replayed)
}
