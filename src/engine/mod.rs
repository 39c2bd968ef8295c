//! What a server decides: bytes of clients in, transactions out; committed transactions in, replies and events out.
//!
//! A write takes the whole road whoever leads: request → decided against what is outstanding → transaction → proposed →
//! durable on a quorum → delivered here → applied → reply and events. Refused writes take it too.

use std::net::SocketAddr;

use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, SessionId, WallMillis, Zxid};
use crate::records::OpCode;
use crate::records::membership::ReconfigView;
pub use crate::records::txn::Proposal;
use crate::session::{Passwords, Sessions};
use crate::tree::Tree;
use crate::watches::Watches;

mod applying;
mod arrivals;
mod awaiting;
mod budget;
mod caller;
mod clock;
mod complaints;
mod conn;
mod conns;
mod counters;
mod decide;
mod decider;
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
mod local_sessions;
mod multi;
mod newcomers;
mod output;
mod outstanding;
mod persist;
mod read;
mod read_only;
mod reading;
mod receive;
mod reconfig;
mod refusing;
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
mod write;

#[cfg(test)]
mod tests;

pub use crate::tree::Walked;
use awaiting::Awaiting;
use clock::TurnClock;
pub use conn::{CloseReason, ConnId, ConnStats};
use conns::Conns;
use decider::Decider;
pub use duty::{Duty, Outgoing, Violation};
pub use hear::StateHearing;
pub use identity::java_address;
pub(crate) use receive::CREDENTIALS_SIZE_MAX;
pub use receive::{NextInput, Received};
pub use retell::Retelling;
pub use settings::{EngineLimits, EngineSettings};
pub use state::{Damage, ReplicatedState};
pub use status::{ConnStatus, EngineStatus, SessionStatus};

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
    decider: Decider,
    awaiting: Awaiting,
    work: work::OngoingWork,
    spent: budget::Spent,
    /// Connections that wait with a write until the log may go on.
    held: Vec<ConnId>,
    duty: Duty,
    /// For other servers.
    packets: duty::Packets,
    /// While it follows.
    forward: forward::Forward,
    /// While it leads.
    remote: remote::Remote,
    /// While it leads and members can change.
    reconfig_view: Option<ReconfigView>,
    /// The configuration in force: its version, and its text.
    config: Option<(Zxid, String)>,
    /// The requesters that want to resume a session whose end is proposed.
    ending: ending::EndingSessions,
    /// Who asked a leader for sessions that it does not know, or whose password is another here.
    refusals: refusing::Refusals,
    /// Sessions that no other server knows.
    local: Sessions,
    /// The first session that was given out while there was no leader.
    first_visitor: Option<SessionId>,
    newcomers: newcomers::Newcomers,
    next_reaping: Millis,
    counters: counters::Counters,
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
            decider: Decider::new(state.applied),
            awaiting: Awaiting::default(),
            work: work::OngoingWork::default(),
            spent: budget::Spent::default(),
            held: Vec::new(),
            duty: Duty::None,
            packets: duty::Packets::new(),
            forward: forward::Forward::default(),
            remote: remote::Remote::default(),
            reconfig_view: None,
            config: None,
            ending: ending::EndingSessions::default(),
            refusals: refusing::Refusals::default(),
            local: Sessions::new(settings.server_id, settings.tick_ms),
            first_visitor: None,
            newcomers: newcomers::Newcomers::default(),
            next_reaping: Millis(0),
            counters: counters::Counters::default(),
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
        self.decider.log_space = log_space;
    }

    /// The last transaction applied.
    pub fn applied(&self) -> Zxid {
        self.state.applied
    }

    /// The tree as applied.
    pub fn tree(&self) -> &Tree {
        &self.state.tree
    }

    /// The state as applied.
    pub fn state(&self) -> &ReplicatedState {
        &self.state
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
        // Where local sessions are off, those of a read-only server end with their connections.
        let ends = !self.settings.local_sessions || failpoint::on(Failpoint::LocalEndsWithConnection);
        if spoke && ends {
            self.local.end(conn.session);
        }
        self.serve_waiting_reads();
    }

    /// Transactions decided since the last call, in zxid order.
    pub fn poll_proposals(&mut self) -> std::vec::Drain<'_, Proposal> {
        self.decider.proposals.drain(..)
    }

    /// What [`Engine::poll_proposals`] would give.
    pub fn proposals(&self) -> &[Proposal] {
        &self.decider.proposals
    }

    /// Whether [`Engine::poll_proposals`] would give any.
    pub fn has_proposals(&self) -> bool {
        !self.decider.proposals.is_empty()
    }

    /// What was proposed and not delivered will never be, all of it: forget it, and close the connections that wait for it,
    /// because we cannot say that it did not happen (G-14). Where other servers have some of it, the role ends instead.
    pub fn abandon_proposals(&mut self) {
        self.start_deciding_over();
        self.decider.start_over(self.zxid());
        self.state.sessions.clear_closing();
        // Local sessions of clients of ours that were to be known to all: they are neither now.
        let lost: Vec<ConnId> = self.remote.beginning().filter_map(|session| self.conns.owner_of(session)).collect();
        let (writes, syncs) = self.awaiting.take();
        for conn in writes.into_iter().chain(lost) {
            self.close(conn, CloseReason::Violation("the write could not be logged".into()));
        }
        for link in self.remote.take_abandoned() {
            self.packets.push_back(Outgoing::Close { link, why: "a request of its clients could not be logged" });
        }
        self.syncs_abandoned();
        self.ends_are_off();
        // What they were behind has come to nothing.
        for id in syncs {
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
}
