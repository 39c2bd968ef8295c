//! What a server decides: bytes of clients in, transactions out; committed transactions in, replies and events out.
//!
//! A write takes the whole road whoever leads: request → decided against what is outstanding → transaction → proposed →
//! durable on a quorum → delivered here → applied → reply and events. Refused writes take it too.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::ids::{Millis, SessionId, WallMillis, Zxid};
use crate::jute::FIELD_SIZE_MAX;
use crate::records::Acl;
use crate::records::OpCode;
pub use crate::records::txn::Proposal;
use crate::records::txn::{Payload, Txn, TxnHeader, encode_txn};
use crate::session::Passwords;
use crate::tree::{AclList, Tree};
use crate::watches::Watches;

mod applying;
mod arrivals;
mod budget;
mod caller;
mod clock;
mod complaints;
mod conn;
mod conns;
mod decide;
mod deliver;
mod duty;
mod ending;
mod forward;
mod handshake;
mod hear;
mod holding;
mod housekeeping;
mod identity;
mod large;
mod multi;
mod newcomers;
mod output;
mod outstanding;
mod persist;
mod read;
mod read_only;
mod reading;
mod receive;
mod remote;
mod request;
mod retell;
mod settings;
mod shared;
mod state;
mod status;
mod trace;
mod watching;
mod work;

#[cfg(test)]
mod tests;

pub use crate::tree::Walked;
use caller::{Caller, Requester};
use clock::TurnClock;
use conn::PendingReply;
pub use conn::{CloseReason, ConnId, ConnStats};
use conns::Conns;
pub use duty::{Duty, Outgoing, Violation};
pub use hear::StateHearing;
pub use identity::java_address;
use outstanding::Outstanding;
pub(crate) use receive::CREDENTIALS_SIZE_MAX;
pub use receive::{NextInput, Received};
pub use retell::Retelling;
pub use settings::{EngineLimits, EngineSettings};
pub use state::{Damage, ReplicatedState};
pub use status::{ConnStatus, EngineStatus, SessionStatus};

/// Memory kept for the next transaction to be encoded.
const SCRATCH_MAX: usize = 64 << 10;

/// How much room the log has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogSpace {
    /// Enough.
    Plenty,
    /// Only the reserve: creates and growing sets are refused; deletes and the end of sessions go on.
    Reserve,
    /// None: every write is refused.
    None,
}

/// A connection that waits for a transaction to be applied.
struct Awaiting {
    zxid: Zxid,
    conn: ConnId,
}

/// One server's state machine. Does no I/O and reads no clock.
///
/// In each turn of the loop: [`Engine::set_time`]; [`Engine::receive`] for what sockets brought; [`Engine::go_on`];
/// [`Engine::tick`]; take [`Engine::poll_proposals`], make them durable and agreed on; hand each to
/// [`Engine::deliver_begin`] in zxid order, and only while the engine is not [busy](Engine::is_busy); then, for each connection from [`Engine::poll_touched`], send [`Engine::output`] and report
/// [`Engine::flushed`]. So no reply and no read can show a write that a crash could take back (G-09, D-10).
pub struct Engine {
    settings: EngineSettings,
    clock: TurnClock,
    state: ReplicatedState,
    watches: Watches,
    passwords: Passwords,
    conns: Conns,
    outstanding: Outstanding,
    /// The list nearly every znode has.
    open_acl: Arc<AclList>,
    awaiting: VecDeque<Awaiting>,
    /// Connections with a `sync` behind a proposal that need not be their own.
    syncing: VecDeque<Awaiting>,
    work: work::OngoingWork,
    spent: budget::Spent,
    proposals: Vec<Proposal>,
    /// Where a transaction is encoded, before it is given exactly the memory it needs.
    scratch: Vec<u8>,
    /// The last transaction proposed.
    proposed: Zxid,
    log_space: LogSpace,
    holding: holding::LogBudget,
    duty: Duty,
    /// For other servers.
    packets: duty::Packets,
    /// While it follows.
    forward: forward::Forward,
    /// While it leads.
    remote: remote::Remote,
    /// The requesters that want to resume a session whose end is proposed.
    ending: ending::EndingSessions,
    /// While it is read-only.
    visitors: read_only::Visitors,
    newcomers: newcomers::Newcomers,
    next_reaping: Millis,
    counters: status::Counters,
}

impl Engine {
    /// An engine that goes on with `state` and does not serve yet. `secret` keys session passwords: it is that of the file which
    /// the state was read from.
    pub fn new(settings: EngineSettings, secret: [u8; 32], state: ReplicatedState) -> Engine {
        Engine {
            clock: TurnClock::new(),
            watches: Watches::new(state.seed),
            passwords: Passwords::new(secret),
            conns: Conns::default(),
            outstanding: Outstanding::default(),
            open_acl: Arc::new(AclList::new(&[Acl::open()])),
            awaiting: VecDeque::new(),
            syncing: VecDeque::new(),
            work: work::OngoingWork::default(),
            spent: budget::Spent::default(),
            proposals: Vec::new(),
            scratch: Vec::new(),
            proposed: state.applied,
            log_space: LogSpace::Plenty,
            holding: holding::LogBudget::default(),
            duty: Duty::None,
            packets: duty::Packets::new(),
            forward: forward::Forward::default(),
            remote: remote::Remote::default(),
            ending: ending::EndingSessions::default(),
            visitors: read_only::Visitors::default(),
            newcomers: newcomers::Newcomers::default(),
            next_reaping: Millis(0),
            counters: status::Counters::default(),
            settings,
            state,
        }
    }

    /// The same with an empty state, whose tree hashes by `seed`.
    pub fn empty(settings: EngineSettings, secret: [u8; 32], seed: [u64; 2]) -> Engine {
        let state = ReplicatedState::new(&settings, seed);
        Engine::new(settings, secret, state)
    }

    /// What time it is, once per turn.
    pub fn set_time(&mut self, now: Millis, wall: WallMillis) {
        self.clock.now = now;
        self.clock.wall = wall;
    }

    /// In so much of the time that has passed the loop did not listen to clients. It does not count for their timeouts.
    pub fn grant_back(&mut self, ms: u64) {
        self.clock.unheard_ms += ms;
    }

    /// How much room the log has, once per turn.
    pub fn set_log_space(&mut self, log_space: LogSpace) {
        self.log_space = log_space;
    }

    /// The last transaction applied.
    pub fn applied(&self) -> Zxid {
        self.state.applied
    }

    /// The tree as applied.
    pub fn tree(&self) -> &Tree {
        &self.state.tree
    }

    /// A client connected.
    pub fn open(&mut self, address: SocketAddr) -> ConnId {
        let id = self.conns.open(address, self.clock.now);
        let deadline = self.clock.listened().plus(self.settings.limits.handshake_ms);
        self.newcomers.came(address.ip(), id, deadline);
        id
    }

    /// The client lives in this process: its session does not expire while the connection is there, and it does not
    /// wait for its turn among strangers.
    pub fn keep_alive(&mut self, id: ConnId) {
        self.conns.keep_alive(id);
    }

    /// The socket is gone. The session, if any, lives on.
    pub fn closed(&mut self, id: ConnId) {
        // Events that are being sent name watchers by their slots.
        let Some((conn, spoke)) = self.conns.remove(id, self.work.is_applying()) else { return };
        self.watches.remove_watcher(id.slot);
        self.newcomers.left(conn.address.ip(), id);
        if spoke {
            self.visitors.left(conn.session);
        }
        self.serve_waiting_reads();
    }

    /// Transactions decided since the last call, in zxid order.
    pub fn poll_proposals(&mut self) -> std::vec::Drain<'_, Proposal> {
        self.proposals.drain(..)
    }

    /// What [`Engine::poll_proposals`] would give.
    pub fn proposals(&self) -> &[Proposal] {
        &self.proposals
    }

    /// Whether [`Engine::poll_proposals`] would give any.
    pub fn has_proposals(&self) -> bool {
        !self.proposals.is_empty()
    }

    /// What was proposed and not delivered will never be, all of it: forget it, and close the connections that wait for it,
    /// because we cannot say that it did not happen (G-14). Where other servers have some of it, the role ends instead.
    pub fn abandon_proposals(&mut self) {
        self.proposals.clear();
        self.start_deciding_over();
        self.work.barrier = None;
        self.outstanding.clear();
        self.state.sessions.clear_closing();
        self.proposed = self.zxid();
        for Awaiting { conn, .. } in std::mem::take(&mut self.awaiting) {
            self.close(conn, CloseReason::Violation("the write could not be logged".into()));
        }
        for link in self.remote.take_abandoned() {
            self.packets.push_back(Outgoing::Close { link, why: "a request of its clients could not be logged" });
        }
        self.syncs_abandoned();
        self.ends_are_off();
        // What they were behind has come to nothing.
        for Awaiting { conn: id, .. } in std::mem::take(&mut self.syncing) {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.sync_now(self.state.applied);
                self.drain(id);
            }
        }
    }

    /// The next connection that has output, is to be closed, or may be read from again.
    pub fn poll_touched(&mut self) -> Option<ConnId> {
        self.conns.poll_touched(|_| true)
    }

    /// The same for connections in certain slots only.
    pub fn poll_touched_in(&mut self, is_wanted: impl Fn(u32) -> bool) -> Option<ConnId> {
        self.conns.poll_touched(is_wanted)
    }

    /// Bytes to send, and whether to close after them.
    pub fn output(&self, id: ConnId) -> Option<(&[u8], Option<&CloseReason>)> {
        self.conns.get(id).map(|conn| (conn.out.unsent(), conn.close.as_ref()))
    }

    /// The first `sent` bytes of the output have left.
    pub fn flushed(&mut self, id: ConnId, sent: usize) {
        if self.conns.flushed(id, sent, self.settings.limits.output_soft_max) {
            self.drain(id);
            self.touch(id);
        }
        self.serve_waiting_reads();
    }

    /// Bytes queued for all clients.
    pub fn output_total(&self) -> usize {
        self.conns.queued()
    }

    /// Closes a connection once its output has left.
    pub fn close(&mut self, id: ConnId, reason: CloseReason) {
        self.conns.close(id, self.clock.now, reason);
    }

    /// Closes every connection, as when the server stops serving.
    pub fn close_all(&mut self, reason: &CloseReason) {
        let all: Vec<ConnId> = self.conns.iter().map(|(id, _)| id).collect();
        for id in all {
            self.close(id, reason.clone());
        }
    }

    /// Whether nothing was accepted from the connection yet.
    pub fn is_new(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.phase == conn::ConnPhase::New)
    }

    /// Connections, with a session or not.
    pub fn connection_count(&self) -> usize {
        self.conns.len()
    }

    /// The loop is to look at the connection.
    fn touch(&mut self, id: ConnId) {
        self.conns.touch(id, self.clock.now, self.settings.limits.output_hard_max);
    }

    /// Gives a transaction its place and its bytes.
    fn propose(&mut self, session: SessionId, cxid: i32, txn: &Txn<'_>) -> Zxid {
        // Alone, the counter may run over into the epoch, as ZooKeeper's does; in an ensemble a new epoch comes first.
        let zxid = self.proposed.next().unwrap_or(Zxid(self.proposed.0 + 1));
        let is_ours = !matches!(self.duty, Duty::Decide { epoch } if epoch != zxid.epoch());
        assert!(is_ours, "{zxid} is not of the epoch of {:?}", self.duty);
        self.proposed = zxid;
        let header = TxnHeader { session, cxid, zxid, time: self.clock.wall.0, op: txn.op().to_i32() };
        self.scratch.clear();
        encode_txn(&header, txn, &mut self.scratch);
        let txn = Payload::from(self.scratch.as_slice());
        // One large transaction does not keep its memory for ever.
        self.scratch.shrink_to(SCRATCH_MAX);
        self.spend(txn.len());
        self.proposals.push(Proposal { zxid, txn });
        zxid
    }

    /// Proposes for the requesting session: a client of ours gets its reply when the transaction is delivered, a learner sees it then.
    fn propose_for(&mut self, caller: &Caller, xid: i32, op: OpCode, txn: &Txn<'_>) {
        let zxid = self.propose(caller.session, xid, txn);
        match caller.requester {
            Requester::Client(id) => {
                let since = self.clock.now;
                self.awaiting.push_back(Awaiting { zxid, conn: id });
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.push(PendingReply::Write { zxid: Some(zxid), xid, op, since });
                }
            }
            Requester::Learner(link) => self.remote.note_proposed(zxid, link),
        }
    }

    /// Bytes of the largest record that may be proposed: what the log takes, and what other servers do.
    fn record_size_max(&self) -> usize {
        let limit = self.settings.limits.record_size_max;
        if matches!(self.duty, Duty::Alone { .. }) { limit } else { limit.min(FIELD_SIZE_MAX) }
    }
}
