//! Clients in this process: links without sockets. They bring the same bytes to the same engine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Peer;
use super::seat::Lent;
use crate::engine::{CREDENTIALS_SIZE_MAX, CloseReason, ConnId, Engine, EngineSettings, NextInput};

/// Times one link is offered to the engine in a turn. More requests in a turn share one sync; fewer let others in.
const ROUNDS_MAX: usize = 16;

/// A burst of requests is over when nothing came for so long,
const BURST_PAUSE: Duration = Duration::from_micros(15);
/// and at the latest after this time: about what a sync takes.
const BURST_MAX: Duration = Duration::from_micros(200);

/// A client's end of a link, as the loop sees it. All of it is called on the loop's thread and must not block.
pub trait LocalLink: Send + Sync {
    /// The connection it was given by [`LocalLink::opened`], if it has one.
    fn conn(&self) -> Option<ConnId>;

    /// The loop took it in.
    fn opened(&self, conn: ConnId);

    /// Gives what it has to send, whole frames only, in exchange for an empty buffer.
    fn take(&self, spare: Vec<u8>) -> Vec<u8>;

    /// Whether what it was told is still being worked on, so that requests may follow within microseconds.
    fn may_follow_up(&self) -> bool;

    /// Whether it takes nothing more for a while: nothing is given to it and nothing taken from it until it pokes.
    fn is_full(&self) -> bool;

    /// How many reads it has made past the loop since this was last asked.
    fn take_reads(&self) -> u64;

    /// Whether it let go: then the connection ends and the session lives on.
    fn hung_up(&self) -> bool;

    /// Whole frames from the engine.
    fn frames(&self, bytes: &[u8]);

    /// The connection is over.
    fn gone(&self, reason: &CloseReason);
}

/// Where links in this process come to the loop's attention.
pub struct Hub {
    ready: Mutex<Ready>,
    /// The loop will look at `ready` before it sleeps.
    awake: AtomicBool,
    waker: Arc<mio::Waker>,
    lent: Arc<Lent>,
    limits: LinkLimits,
    /// Writes are refused for want of space.
    no_space: AtomicBool,
}

/// What the engine closes a link for, so that a client in this process need not find out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkLimits {
    /// `jute.maxbuffer`: bytes of the longest frame.
    pub frame_size_max: u32,
    /// `zoarium.credentialsMax`, without the identities that a connection has by itself.
    pub identities_max: u32,
    /// Bytes of all credentials.
    pub credentials_size_max: u32,
}

impl LinkLimits {
    /// Those of an engine with these settings.
    pub(super) fn of(settings: &EngineSettings) -> LinkLimits {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        // The address, and `super` beside the digest that stands for it.
        let given = 1 + usize::from(settings.super_digest.is_some());
        LinkLimits {
            frame_size_max: number(settings.limits.frame_size_max),
            identities_max: number(settings.limits.identities_max.saturating_sub(given)),
            credentials_size_max: number(CREDENTIALS_SIZE_MAX),
        }
    }
}

#[derive(Default)]
struct Ready {
    links: Vec<Arc<dyn LocalLink>>,
    over: bool,
}

impl Hub {
    pub(super) fn new(waker: Arc<mio::Waker>, lent: Arc<Lent>, limits: LinkLimits) -> Hub {
        Hub {
            ready: Mutex::default(),
            awake: AtomicBool::new(true),
            waker,
            lent,
            limits,
            no_space: AtomicBool::new(false),
        }
    }

    pub(super) fn set_no_space(&self, no_space: bool) {
        self.no_space.store(no_space, Ordering::Relaxed);
    }

    /// Whether writes are being refused for want of space, with the code of a quota as ZooKeeper has none for this.
    pub fn has_no_space(&self) -> bool {
        self.no_space.load(Ordering::Relaxed)
    }

    /// What a link may bring.
    pub fn limits(&self) -> LinkLimits {
        self.limits
    }

    /// Asks the loop to look at a link: it is new, has something to send, or hung up. False when the loop has ended.
    pub fn poke(&self, link: Arc<dyn LocalLink>) -> bool {
        {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            if ready.over {
                return false;
            }
            ready.links.push(link);
        }
        // One wake-up however many links have something: a link that finds the loop awake need not wake it.
        if !self.awake.swap(true, Ordering::SeqCst) {
            let _ = self.waker.wake();
        }
        true
    }

    /// The engine for reading, see [`Lent::read`].
    pub fn lent(&self) -> &Lent {
        &self.lent
    }

    /// Whether a link has something for the loop.
    fn has_ready(&self) -> bool {
        !self.ready.lock().unwrap_or_else(PoisonError::into_inner).links.is_empty()
    }

    fn take_ready(&self, into: &mut Vec<Arc<dyn LocalLink>>) {
        std::mem::swap(into, &mut self.ready.lock().unwrap_or_else(PoisonError::into_inner).links);
    }

    /// About to sleep: from now on a poke wakes. False when there is something to do already.
    fn may_sleep(&self) -> bool {
        self.awake.store(false, Ordering::SeqCst);
        let idle = self.ready.lock().unwrap_or_else(PoisonError::into_inner).links.is_empty();
        if !idle {
            self.awake.store(true, Ordering::SeqCst);
        }
        idle
    }

    fn end(&self) -> Vec<Arc<dyn LocalLink>> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.over = true;
        std::mem::take(&mut ready.links)
    }
}

/// One link.
struct LocalLinkState {
    link: Arc<dyn LocalLink>,
    conn: ConnId,
    /// What the engine has not taken yet, from `consumed` on.
    input: Vec<u8>,
    consumed: usize,
    blocked: bool,
    queued: bool,
    /// It poked since the last [`LocalLink::take`], and will not poke again before the next.
    asked: bool,
    /// The engine has something for it that it did not take.
    held: bool,
}

/// All of them, by the engine's slot.
pub(super) struct Locals {
    pub hub: Arc<Hub>,
    by_slot: Vec<Option<LocalLinkState>>,
    work: Vec<u32>,
    /// Those that had sent something when this turn began.
    served: Vec<u32>,
    arrived: Vec<Arc<dyn LocalLink>>,
}

impl Locals {
    pub(super) fn new(hub: Hub) -> Locals {
        Locals { hub: Arc::new(hub), by_slot: Vec::new(), work: Vec::new(), served: Vec::new(), arrived: Vec::new() }
    }

    pub(super) fn is_local(&self, slot: u32) -> bool {
        matches!(self.by_slot.get(slot as usize), Some(Some(_)))
    }

    /// Whether the loop may wait for events.
    pub(super) fn may_sleep(&self) -> bool {
        self.work.is_empty() && self.hub.may_sleep()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// Whether a link that sent something in this turn may send more at once.
    fn may_follow_up(&self) -> bool {
        let locals = self.served.iter().filter_map(|&slot| self.by_slot.get(slot as usize)?.as_ref());
        locals.into_iter().any(|local| local.link.may_follow_up())
    }

    fn get(&mut self, slot: u32) -> Option<&mut LocalLinkState> {
        self.by_slot.get_mut(slot as usize)?.as_mut()
    }

    fn enqueue(&mut self, slot: u32) {
        if let Some(local) = self.get(slot)
            && !local.queued
        {
            local.queued = true;
            self.work.push(slot);
        }
    }

    /// Its turn has come (again).
    pub(super) fn unblock(&mut self, slot: u32) {
        if let Some(local) = self.get(slot)
            && local.blocked
        {
            local.blocked = false;
            self.enqueue(slot);
        }
    }
}

impl Locals {
    /// Hands clients what there is for them already.
    pub(super) fn tell(&mut self, engine: &mut Engine) {
        while let Some(conn) = engine.poll_touched_in(|slot| self.is_local(slot)) {
            self.send(engine, conn.slot);
        }
    }

    /// Hands a link what the engine has for it.
    pub(super) fn send(&mut self, engine: &mut Engine, slot: u32) {
        let Some(local) = self.get(slot) else { return };
        let conn = local.conn;
        let Some((output, close)) = engine.output(conn) else { return };
        let close = close.cloned();
        let sent = output.len();
        if sent > 0 && close.is_none() && local.link.is_full() {
            local.held = true;
            return;
        }
        if sent > 0 {
            local.link.frames(output);
        }
        if let Some(reason) = close {
            return self.remove(engine, slot, &reason);
        }
        engine.flushed(conn, sent);
        if !engine.is_new(conn) {
            self.unblock(slot);
        }
    }

    fn remove(&mut self, engine: &mut Engine, slot: u32, reason: &CloseReason) {
        if let Some(local) = self.by_slot.get_mut(slot as usize).and_then(Option::take) {
            engine.count_shared_reads(local.conn, local.link.take_reads());
            engine.closed(local.conn);
            local.link.gone(reason);
        }
    }
}

impl Drop for Locals {
    /// However the loop ended, no thread waits for it any longer.
    fn drop(&mut self) {
        for link in self.hub.end() {
            link.gone(&CloseReason::Stopping);
        }
        for local in self.by_slot.drain(..).flatten() {
            local.link.gone(&CloseReason::Stopping);
        }
    }
}

impl Peer {
    /// Takes in what clients of this process have sent.
    pub(super) fn serve_locals(&mut self) {
        let mut arrived = std::mem::take(&mut self.locals.arrived);
        self.locals.hub.take_ready(&mut arrived);
        for link in arrived.drain(..) {
            match link.conn() {
                // It pokes when it has room.
                None if link.is_full() => {}
                None => self.add_local(link),
                // It may have been closed by us since it poked, and its slot be another's.
                Some(conn) => {
                    if let Some(local) = self.locals.get(conn.slot).filter(|local| local.conn == conn) {
                        local.asked = true;
                        self.locals.enqueue(conn.slot);
                    }
                }
            }
        }
        self.locals.arrived = arrived;
        let work = std::mem::take(&mut self.locals.work);
        if self.locals.served.is_empty() {
            self.locals.served.extend_from_slice(&work);
        }
        for slot in work {
            self.serve_local(slot);
        }
    }

    fn add_local(&mut self, link: Arc<dyn LocalLink>) {
        let conn = self.member.engine.open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        self.member.engine.keep_alive(conn);
        link.opened(conn);
        let slot = conn.slot as usize;
        if self.locals.by_slot.len() <= slot {
            self.locals.by_slot.resize_with(slot + 1, || None);
        }
        let local = LocalLinkState {
            link,
            conn,
            input: Vec::new(),
            consumed: 0,
            blocked: false,
            queued: false,
            asked: true,
            held: false,
        };
        self.locals.by_slot[slot] = Some(local);
        self.locals.enqueue(conn.slot);
    }

    fn serve_local(&mut self, slot: u32) {
        let Some(local) = self.locals.get(slot) else { return };
        local.queued = false;
        if local.link.hung_up() {
            return self.hang_up(slot);
        }
        if local.link.is_full() {
            return;
        }
        if std::mem::take(&mut local.held) {
            self.locals.send(&mut self.member.engine, slot);
        }
        let Some(local) = self.locals.get(slot) else { return };
        if local.consumed == local.input.len() {
            let mut spare = std::mem::take(&mut local.input);
            spare.clear();
            local.consumed = 0;
            local.asked = false;
            local.input = local.link.take(spare);
        }
        if local.blocked {
            return;
        }
        let conn = local.conn;
        for _ in 0..ROUNDS_MAX {
            let received = self.member.engine.receive(conn, &local.input[local.consumed..]);
            local.consumed += received.consumed;
            match received.next {
                NextInput::More(_) => {
                    assert!(local.consumed == local.input.len(), "a client in this process sent half a frame");
                    if local.asked {
                        // It poked while the engine had not taken what came before.
                        break;
                    }
                    return;
                }
                NextInput::Blocked => {
                    local.blocked = true;
                    if self.member.engine.is_new(conn) {
                        self.delayed.push(slot);
                    }
                    return;
                }
                NextInput::Yield => {}
            }
        }
        self.locals.enqueue(slot);
    }

    /// Takes in the rest of a burst that has begun: when callbacks send the next requests one by one, the first of them
    /// would otherwise have a sync for itself while all the others wait for it.
    pub(super) fn gather_locals(&mut self) {
        let begin = Instant::now();
        let (mut now, mut last) = (begin, begin);
        while self.member.engine.has_proposals()
            && self.locals.may_follow_up()
            && now - last < BURST_PAUSE
            && now - begin < BURST_MAX
        {
            // Not too often: each look takes a lock that the senders need.
            (0..16).for_each(|_| std::hint::spin_loop());
            now = Instant::now();
            if self.locals.hub.has_ready() {
                self.serve_locals();
                last = now;
            }
        }
        self.locals.served.clear();
    }

    /// Has the engine count what clients in this process have read past the loop.
    pub(super) fn count_local_reads(&mut self) {
        for local in self.locals.by_slot.iter().flatten() {
            self.member.engine.count_shared_reads(local.conn, local.link.take_reads());
        }
    }

    /// The client let go of its link; its session lives on.
    fn hang_up(&mut self, slot: u32) {
        if let Some(local) = self.locals.by_slot.get_mut(slot as usize).and_then(Option::take) {
            self.member.engine.count_shared_reads(local.conn, local.link.take_reads());
            self.member.engine.closed(local.conn);
        }
    }
}
