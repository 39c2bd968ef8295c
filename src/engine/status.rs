//! What the engine tells about itself: the numbers behind the four-letter words.

use std::net::SocketAddr;

use super::conn::{ConnId, ConnStats};
use super::{Duty, Engine};
use crate::four_letter::{Latency, SizeSummary, Spread};
use crate::ids::{Millis, SessionId, Zxid};

/// The server as a whole.
#[derive(Clone, Copy, Debug)]
pub struct EngineStatus {
    /// The last transaction applied.
    pub applied: Zxid,
    /// Frames and four-letter words received since the counters were reset.
    pub received: u64,
    /// Replies and events sent, answers to handshakes and words included.
    pub sent: u64,
    /// Bytes of replies to requests.
    pub response_size: SizeSummary,
    /// Of all requests.
    pub latency: Latency,
    /// Connections, with a session or not.
    pub connections: usize,
    /// Requests taken and not answered.
    pub outstanding: usize,
    /// `sync`s that another server has to answer or confirm.
    pub syncs: usize,
    /// Sessions that all servers know.
    pub sessions: usize,
    /// Sessions that only this server knows.
    pub local_sessions: usize,
    /// Znodes.
    pub znodes: usize,
    /// Of them ephemeral.
    pub ephemerals: usize,
    /// Bytes of paths and data.
    pub data_size: u64,
    /// Bytes of the tree in memory.
    pub tree_memory: u64,
    /// Watches of both tables.
    pub watches: usize,
    /// Sessions that expired.
    pub sessions_expired: u64,
    /// Sessions that were resumed.
    pub sessions_resumed: u64,
    /// Refused credentials.
    pub auth_failed: u64,
    /// Connections that never completed a handshake.
    pub handshakes_overdue: u64,
    /// Transactions applied since the start, replayed ones included.
    pub transactions: u64,
    /// Bytes queued for clients.
    pub output_total: usize,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct ConnStatus {
    /// The client's end.
    pub address: SocketAddr,
    /// Its session, if it has one.
    pub session: SessionId,
    /// Granted timeout, ms.
    pub timeout_ms: i32,
    /// When it was opened.
    pub opened: Millis,
    /// Requests taken and not answered.
    pub queued: usize,
    /// Counters.
    pub stats: ConnStats,
}

/// One expiry bucket, or one session with its ephemerals.
#[derive(Clone, Debug)]
pub struct SessionStatus {
    /// The session.
    pub session: SessionId,
    /// Its ephemeral znodes.
    pub ephemerals: Vec<String>,
}

impl Engine {
    /// The server as a whole.
    pub fn status(&self) -> EngineStatus {
        EngineStatus {
            applied: self.state.applied,
            received: self.counters.received,
            sent: self.counters.sent,
            response_size: self.counters.response_size,
            latency: self.counters.latency,
            connections: self.conns.len(),
            outstanding: self.in_flight() + self.remote.len(),
            syncs: self.forward.syncs() + self.remote.syncs(),
            sessions: self.state.sessions.len(),
            local_sessions: self.local.len(),
            znodes: self.state.tree.node_count(),
            ephemerals: self.state.tree.ephemeral_count(),
            data_size: self.state.tree.approximate_data_size(),
            tree_memory: self.state.tree.memory_bytes()
                + (self.state.tree.snapshot_preimage_bytes() + self.state.tree.state_walk_bytes()) as u64,
            watches: self.watches.count(),
            sessions_expired: self.counters.expired,
            sessions_resumed: self.counters.resumed,
            auth_failed: self.counters.auth_failed,
            handshakes_overdue: self.counters.handshakes_overdue,
            transactions: self.state.transactions,
            output_total: self.conns.queued(),
        }
    }

    /// How long reads and writes took.
    pub fn latencies(&self) -> (&Spread, &Spread) {
        (&self.counters.read_latency, &self.counters.update_latency)
    }

    /// A four-letter word came in on a connection.
    pub fn word_received(&mut self, id: ConnId) {
        self.counters.received += 1;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.stats.received += 1;
        }
    }

    /// The answer to a word went out, in so many packets.
    pub fn word_answered(&mut self, packets: u64) {
        self.counters.sent += packets;
    }

    /// Sets the counters of the server to zero.
    pub fn reset_counters(&mut self) {
        self.counters.reset();
    }

    /// Sets the counters of every connection to zero.
    pub fn reset_connection_counters(&mut self) {
        let all: Vec<_> = self.conns.iter().map(|(id, _)| id).collect();
        for id in all {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.stats = ConnStats::default();
            }
        }
    }

    /// Every connection.
    pub fn connections(&self) -> impl Iterator<Item = ConnStatus> {
        self.conns.iter().map(|(_, conn)| ConnStatus {
            address: conn.address,
            session: conn.session,
            timeout_ms: conn.timeout_ms,
            opened: conn.opened,
            queued: conn.pending.len(),
            stats: conn.stats,
        })
    }

    /// Expiry buckets in order, with the moment each comes due: of the sessions that all servers know.
    pub fn expiry_buckets(&self) -> impl Iterator<Item = (Millis, Vec<SessionId>)> {
        self.state.sessions.buckets().map(|(at, ids)| (self.clock.of_listened(at), ids))
    }

    /// The same of the sessions that only this server knows; `None` where there are none by its settings.
    pub fn local_buckets(&self) -> Option<impl Iterator<Item = (Millis, Vec<SessionId>)>> {
        let has_local = self.settings.local_sessions && !matches!(self.duty, Duty::Alone { .. });
        has_local.then(|| self.local.buckets().map(|(at, ids)| (self.clock.of_listened(at), ids)))
    }

    /// All sessions with their timeouts, in order of their ids.
    pub fn session_timeouts(&self) -> Vec<(SessionId, u64)> {
        let timeout = |timeout_ms| u64::try_from(timeout_ms).unwrap_or(0);
        self.state.sessions.sorted().into_iter().map(|(id, session)| (id, timeout(session.timeout_ms))).collect()
    }

    /// Sessions that own ephemerals, in order of their ids.
    pub fn ephemeral_owners(&self) -> Vec<SessionStatus> {
        let mut owners: Vec<SessionStatus> = self
            .state
            .tree
            .ephemeral_owners()
            .map(|(session, _)| SessionStatus {
                session,
                ephemerals: self.state.tree.ephemerals(session).map(|node| self.state.tree.path(node)).collect(),
            })
            .collect();
        owners.sort_by_key(|owner| owner.session);
        owners
    }

    /// Paths with a data watch and the sessions that set it, in order of the paths.
    pub fn data_watches(&self) -> Vec<(String, Vec<SessionId>)> {
        let session_of = |slot| {
            let id = self.conns.id_of(slot)?;
            self.conns.get(id).map(|conn| conn.session)
        };
        let mut watches: Vec<(String, Vec<SessionId>)> = self
            .watches
            .data_watches()
            .map(|(path, watchers)| (path.to_owned(), watchers.filter_map(session_of).collect()))
            .collect();
        watches.sort();
        watches
    }
}
