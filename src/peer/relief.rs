//! The loop does not wait long for the disk: a second thread goes on with it.
//!
//! The thread that works, `zoarium-loop`, carries out the writes of the log itself, which costs nothing where the disk is
//! fast. During each it leaves the peer where the other one, `zoarium-relief`, finds it. When a write takes longer than that
//! one is to put up with, it goes on with the loop: clients and other members are answered, and only what waits for the
//! write waits. Once the write is over the first thread has the loop again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::Events;

use super::{EVENTS_MAX, Peer, TurnEnd};
use crate::Error;
use crate::store::{LogWrite, LogWritten};

/// The part of a tick that the loop may be without a thread at least, and at most twice that.
const TICK_PART: u64 = 8;
/// The same in ms, whatever the tick is.
const LEAST_MS: u64 = 5;
const MOST_MS: u64 = 100;

type LoopOutcome = Result<(), Error>;

#[derive(Default)]
struct ReliefState {
    /// The peer, while the first thread is at the disk or the second one has done with it, and since when.
    left: Option<(Box<Peer>, Instant)>,
    /// The write is over, and the second thread has the peer, or had it.
    written: Option<LogWritten>,
    /// Writes so far.
    writes: u64,
    /// The second thread sleeps until the next write begins.
    is_asleep: bool,
    /// The second thread has brought the loop to its end, by a panic perhaps.
    outcome: Option<std::thread::Result<LoopOutcome>>,
    /// The first one has.
    is_over: bool,
}

#[derive(Default)]
struct Relief {
    state: Mutex<ReliefState>,
    changed: Condvar,
}

/// Tells the second thread, however the first one ends.
struct ReliefEnd<'s>(&'s Relief);

impl Drop for ReliefEnd<'_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

/// Runs the loop until it is told to stop or fails.
pub(super) fn run(peer: Peer) -> LoopOutcome {
    let patience = Duration::from_millis((peer.config.tick_time_ms / TICK_PART).clamp(LEAST_MS, MOST_MS));
    let shared = Arc::new(Relief::default());
    let second = Arc::clone(&shared);
    let second = std::thread::Builder::new()
        .name("zoarium-relief".to_owned())
        .spawn(move || second.relieve(patience))
        .map_err(Error::system("start a thread"))?;
    let at_end = ReliefEnd(&shared);
    let outcome = shared.work(Box::new(peer));
    drop(at_end);
    let _ = second.join();
    outcome
}

impl Relief {
    fn lock(&self) -> MutexGuard<'_, ReliefState> {
        // A panic while it is locked leaves a state that is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, ReliefState>) -> MutexGuard<'s, ReliefState> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'s>(&self, state: MutexGuard<'s, ReliefState>, limit: Duration) -> MutexGuard<'s, ReliefState> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    // -----------------------------------------------------------------------------------------------------------
    // The first thread

    fn work(&self, mut peer: Box<Peer>) -> LoopOutcome {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match peer.step(&mut events) {
                Ok(TurnEnd::Again) => {}
                Ok(TurnEnd::Stop) => return peer.stop(None),
                Ok(TurnEnd::Write(write)) => match self.carry_out(peer, write) {
                    Ok((back, written)) => {
                        peer = back;
                        if let Err(error) = peer.end_turn(Some(written)) {
                            return Err(peer.failed(error));
                        }
                    }
                    Err(outcome) => return outcome,
                },
                Err(error) => return Err(peer.failed(error)),
            }
        }
    }

    /// Carries out a write. The peer comes back with what became of it, unless the loop has ended meanwhile.
    fn carry_out(&self, peer: Box<Peer>, write: LogWrite) -> Result<(Box<Peer>, LogWritten), LoopOutcome> {
        let waker = peer.waker();
        let mut state = self.lock();
        state.left = Some((peer, Instant::now()));
        state.writes += 1;
        if std::mem::take(&mut state.is_asleep) {
            self.changed.notify_all();
        }
        drop(state);
        let written = write.carry_out();
        let mut state = self.lock();
        if let Some((peer, _)) = state.left.take() {
            return Ok((peer, written));
        }
        state.written = Some(written);
        self.changed.notify_all();
        // It may wait for events.
        let _ = waker.wake();
        loop {
            match state.outcome.take() {
                Some(Ok(outcome)) => return Err(outcome),
                Some(Err(panic)) => {
                    drop(state);
                    resume_unwind(panic);
                }
                None => {}
            }
            match (state.left.take(), state.written.take()) {
                (Some((peer, _)), Some(written)) => return Ok((peer, written)),
                (left, written) => (state.left, state.written) = (left, written),
            }
            state = self.wait(state);
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // The second thread

    fn relieve(&self, patience: Duration) {
        let mut seen = 0;
        let mut state = self.lock();
        while !state.is_over {
            let waits = state.left.as_ref().filter(|_| state.written.is_none()).map(|(_, since)| since.elapsed());
            match waits {
                Some(waited) if waited < patience => state = self.wait_for(state, patience - waited),
                Some(_) => {
                    let Some((peer, _)) = state.left.take() else { continue };
                    drop(state);
                    let ended = catch_unwind(AssertUnwindSafe(|| self.work_meanwhile(peer))).transpose();
                    state = self.lock();
                    if ended.is_some() {
                        state.outcome = ended;
                        self.changed.notify_all();
                        return;
                    }
                }
                // While there are writes it looks now and then, so that none has to wake it.
                None if state.writes != seen => {
                    seen = state.writes;
                    state = self.wait_for(state, patience);
                }
                None => {
                    state.is_asleep = true;
                    while state.is_asleep && !state.is_over {
                        state = self.wait(state);
                    }
                }
            }
        }
    }

    /// Goes on with the loop until the write is over, or the loop: then with its outcome.
    fn work_meanwhile(&self, mut peer: Box<Peer>) -> Option<LoopOutcome> {
        log::debug!("a write of the log takes long: the loop goes on without it");
        let mut events = Events::with_capacity(EVENTS_MAX);
        if let Err(error) = peer.end_turn(None) {
            return Some(Err(peer.failed(error)));
        }
        loop {
            let mut state = self.lock();
            if state.written.is_some() {
                state.left = Some((peer, Instant::now()));
                self.changed.notify_all();
                return None;
            }
            drop(state);
            match peer.step(&mut events) {
                Ok(TurnEnd::Again) => {}
                Ok(TurnEnd::Write(_)) => unreachable!("one write is under way at a time"),
                Ok(TurnEnd::Stop) => {
                    // The file ends cleanly or not at all.
                    let mut state = self.lock();
                    let written = loop {
                        match state.written.take() {
                            Some(written) => break written,
                            None => state = self.wait(state),
                        }
                    };
                    drop(state);
                    return Some(peer.stop(Some(written)));
                }
                Err(error) => return Some(Err(peer.failed(error))),
            }
        }
    }
}
