//! One session's way from connection to connection: whose turn it is, what to say first, when to give up.
//!
//! Does no I/O and reads no clock: bytes, names and time in, actions out. Answers go to [`TcpSession`], which tells those who
//! wait for them.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::hosts::{Hosts, ServerAddress};
use super::input::TcpInput;
use super::random::Random;
use super::session::{BurstEnd, TcpSession, Welcome, first_unsent, ping};
use crate::ids::Millis;

/// The first rest after every server was tried in vain, ms; the next ones double.
const REST_MIN: u64 = 50;
/// The longest rest, ms. Every rest is between a half and the whole of what it could be.
const REST_MAX: u64 = 1000;
/// A connection that lived that long was a good one: the next rest is the first again.
const GOOD_AFTER: u64 = 1000;
/// Pings go at least that often, ms, however long the session may be silent.
const PING_EVERY_MAX: u64 = 10_000;
/// No server is given less time than this to answer, ms.
const ATTEMPT_MIN: u64 = 200;
/// How often to look whether a full queue has room again, ms. It says so itself; this is for those that do not.
const FULL_EVERY: u64 = 100;
/// What is kept of a buffer's room between bursts, in bytes.
const ROOM_KEPT: usize = 256 << 10;
/// How often a server with a quorum is looked for, ms, at first and at last.
const SEARCH_EVERY: (u64, u64) = (100, 60_000);

/// What the I/O thread is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IoAction {
    /// Look up a name, and hand in [`TcpConn::resolved`].
    Resolve(String),
    /// Open a connection, and hand in [`TcpConn::connected`] or [`TcpConn::closed`].
    Connect(SocketAddr),
    /// Close the connection.
    Close,
    /// Ask this server whether it has a quorum, and hand in [`TcpConn::probed`] if it does.
    Probe(ServerAddress),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TcpPhase {
    /// Until the moment that `since` names.
    Resting,
    /// For the host whose turn it is.
    Resolving,
    Connecting,
    /// The handshake was sent, or is.
    Handshaking,
    /// Requests go.
    Up,
    Over,
}

/// One session's way. Hand in what happens, then carry out [`TcpConn::poll_action`] until there is none, send
/// [`TcpConn::output`], and come back at [`TcpConn::poll_timeout`].
pub(super) struct TcpConn {
    session: Arc<TcpSession>,
    hosts: Hosts,
    random: Random,
    phase: TcpPhase,
    /// When the phase began; in [`TcpPhase::Resting`], when it ends.
    since: Millis,
    host: ServerAddress,
    /// Addresses of the host whose turn it is that were not tried yet.
    candidates: Vec<SocketAddr>,
    /// Hosts tried in vain since the last good connection.
    failures: u32,
    writing: Vec<u8>,
    written: usize,
    input: TcpInput,
    timeout: u64,
    last_heard: Millis,
    last_sent: Millis,
    /// Set while the queue of callbacks is full: when to look again.
    full_until: Option<Millis>,
    /// Without a quorum: when to look for a server with one, and how long to wait after that.
    search: Option<(Millis, u64)>,
    actions: VecDeque<IoAction>,
}

impl TcpConn {
    /// Begins with the first host's turn.
    pub(super) fn new(
        session: Arc<TcpSession>,
        list: Vec<ServerAddress>,
        frame_size_max: usize,
        seed: u64,
        now: Millis,
    ) -> TcpConn {
        let mut random = Random::new(seed);
        let mut hosts = Hosts::new(list, &mut random);
        let host = hosts.turn().clone();
        let timeout = u64::try_from(session.timeout_ms()).unwrap_or(0);
        let mut conn = TcpConn {
            session,
            hosts,
            random,
            phase: TcpPhase::Resting,
            since: now,
            host,
            candidates: Vec::new(),
            failures: 0,
            writing: Vec::new(),
            written: 0,
            input: TcpInput::new(frame_size_max),
            timeout,
            last_heard: now,
            last_sent: now,
            full_until: None,
            search: None,
            actions: VecDeque::new(),
        };
        conn.begin_turn(now);
        conn
    }

    /// The next thing to do.
    pub(super) fn poll_action(&mut self) -> Option<IoAction> {
        self.actions.pop_front()
    }

    /// When to call [`TcpConn::timeout`] if nothing else comes first.
    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        match self.phase {
            TcpPhase::Over => None,
            TcpPhase::Resting => Some(self.since),
            TcpPhase::Resolving | TcpPhase::Connecting | TcpPhase::Handshaking => {
                Some(self.since.plus(self.attempt_limit()))
            }
            TcpPhase::Up => {
                let silence = self.full_until.unwrap_or(self.last_heard.plus(self.silence_limit()));
                let search = self.search.map(|(at, _)| at);
                Some(silence.min(self.last_sent.plus(self.ping_every())).min(search.unwrap_or(silence)))
            }
        }
    }

    /// Whether nothing more will be done.
    pub(super) fn is_over(&self) -> bool {
        self.phase == TcpPhase::Over
    }

    /// Whether to read. Not while the host cannot follow.
    pub(super) fn wants_input(&self) -> bool {
        matches!(self.phase, TcpPhase::Handshaking | TcpPhase::Up) && self.full_until.is_none()
    }

    /// As Java's client: a server has the session's time, shared among all of them.
    fn attempt_limit(&self) -> u64 {
        (self.timeout / self.hosts.len() as u64).max(ATTEMPT_MIN)
    }

    fn silence_limit(&self) -> u64 {
        self.timeout * 2 / 3
    }

    fn ping_every(&self) -> u64 {
        (self.timeout / 3).min(PING_EVERY_MAX)
    }

    fn begin_turn(&mut self, now: Millis) {
        self.candidates.clear();
        match self.host.literal() {
            Some(address) => {
                self.candidates.push(SocketAddr::new(address, self.host.port));
                self.begin_attempt(now);
            }
            None => {
                (self.phase, self.since) = (TcpPhase::Resolving, now);
                self.actions.push_back(IoAction::Resolve(self.host.name.clone()));
            }
        }
    }

    fn begin_attempt(&mut self, now: Millis) {
        match self.candidates.pop() {
            Some(address) => {
                (self.phase, self.since) = (TcpPhase::Connecting, now);
                self.actions.push_back(IoAction::Connect(address));
            }
            None => self.next_host(now),
        }
    }

    /// This host's turn was in vain.
    fn next_host(&mut self, now: Millis) {
        self.failures = self.failures.saturating_add(1);
        self.host = self.hosts.turn().clone();
        let rounds = self.failures / self.hosts.len() as u32;
        let is_round = self.failures.is_multiple_of(self.hosts.len() as u32);
        if is_round {
            let most = REST_MIN.saturating_mul(1 << (rounds - 1).min(10)).min(REST_MAX);
            let rest = most / 2 + self.random.below(most / 2 + 1);
            (self.phase, self.since) = (TcpPhase::Resting, now.plus(rest));
        } else {
            self.begin_turn(now);
        }
    }

    /// A name was looked up.
    pub(super) fn resolved(&mut self, now: Millis, name: &str, found: &Result<Vec<IpAddr>, String>) {
        if self.phase != TcpPhase::Resolving || self.host.name != name {
            return;
        }
        match found {
            Ok(found) => {
                self.candidates = found.iter().map(|address| SocketAddr::new(*address, self.host.port)).collect();
                self.random.shuffle(&mut self.candidates);
            }
            Err(why) => log::debug!("{} has no address: {why}", self.host.name),
        }
        self.begin_attempt(now);
    }

    /// The connection stands.
    pub(super) fn connected(&mut self) {
        if self.phase == TcpPhase::Connecting {
            // The time is that of the attempt.
            self.phase = TcpPhase::Handshaking;
            self.input.clear();
            (self.writing, self.written) = (self.session.hello(), 0);
        }
    }

    /// The connection is gone, or was never there.
    pub(super) fn closed(&mut self, now: Millis, why: &str) {
        match self.phase {
            TcpPhase::Connecting | TcpPhase::Handshaking => {
                log::debug!("{}: {why}", self.host);
                self.drop_connection();
                self.begin_attempt(now);
            }
            TcpPhase::Up => self.lose(now, why),
            TcpPhase::Resting | TcpPhase::Resolving | TcpPhase::Over => {}
        }
    }

    fn drop_connection(&mut self) {
        self.actions.push_back(IoAction::Close);
        self.input.clear();
        (self.writing, self.written) = (Vec::new(), 0);
        self.full_until = None;
        self.search = None;
    }

    fn lose(&mut self, now: Millis, why: &str) {
        log::info!("lost the connection to {}: {why}", self.host);
        let writing = std::mem::take(&mut self.writing);
        let is_over = self.session.lost(&writing[first_unsent(&writing, self.written)..]);
        self.drop_connection();
        if is_over {
            self.phase = TcpPhase::Over;
            return;
        }
        if now.since(self.since) >= GOOD_AFTER {
            self.failures = 0;
        }
        self.next_host(now);
    }

    /// Lets go of the connection for good.
    pub(super) fn end(&mut self) {
        self.drop_connection();
        self.phase = TcpPhase::Over;
    }

    /// Bytes came.
    pub(super) fn received(&mut self, now: Millis, bytes: &[u8]) {
        self.last_heard = now;
        self.input.extend(bytes);
        if self.phase == TcpPhase::Handshaking {
            match self.input.frame() {
                Ok(None) => return,
                Ok(Some(frame)) => match self.session.welcome(self.input.payload(frame)) {
                    Welcome::Up { timeout_ms, introduction } => self.up(now, timeout_ms, introduction),
                    Welcome::Over => return self.end(),
                    Welcome::ProtocolError(nonsense) => return self.refuse(now, &nonsense.0),
                },
                Err(nonsense) => return self.refuse(now, &nonsense.0),
            }
        }
        if self.phase == TcpPhase::Up {
            match self.session.answers(&mut self.input) {
                BurstEnd::Go => {}
                BurstEnd::Over => return self.end(),
                BurstEnd::ProtocolError(nonsense) => return self.refuse(now, &nonsense.0),
            }
            self.look_at_queue(now);
        }
    }

    fn refuse(&mut self, now: Millis, why: &str) {
        log::warn!("{} is not a server to talk to: {why}", self.host);
        self.closed(now, why);
    }

    fn up(&mut self, now: Millis, timeout_ms: i32, introduction: Vec<u8>) {
        (self.phase, self.since) = (TcpPhase::Up, now);
        self.timeout = u64::try_from(timeout_ms).expect("a session has time");
        (self.writing, self.written) = (introduction, 0);
        self.last_sent = now;
        if self.session.is_read_only() {
            self.search = Some((now.plus(SEARCH_EVERY.0), SEARCH_EVERY.0));
        }
    }

    fn look_at_queue(&mut self, now: Millis) {
        self.full_until = self.session.is_full().then(|| now.plus(FULL_EVERY));
    }

    /// The queue may have room again.
    pub(super) fn look_again(&mut self, now: Millis) {
        if self.full_until.is_some() {
            self.look_at_queue(now);
            // The silence was ours.
            self.last_heard = now;
        }
    }

    /// The moment of [`TcpConn::poll_timeout`] has come. May be called any time.
    pub(super) fn timeout(&mut self, now: Millis) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        match self.phase {
            TcpPhase::Over => {}
            TcpPhase::Resting => self.begin_turn(now),
            TcpPhase::Resolving => {
                log::debug!("looking up {} takes too long", self.host.name);
                self.next_host(now);
            }
            TcpPhase::Connecting | TcpPhase::Handshaking => self.closed(now, "no answer in time"),
            TcpPhase::Up => self.care(now),
        }
    }

    /// Keeps a connection that stands alive, as long as it is.
    fn care(&mut self, now: Millis) {
        if self.full_until.is_some_and(|at| now >= at) {
            self.look_again(now);
        }
        if now.since(self.last_heard) >= self.silence_limit() {
            return self.lose(now, "the server is silent");
        }
        if now.since(self.last_sent) >= self.ping_every() {
            if self.output().is_empty() {
                (self.writing, self.written) = (ping(), 0);
            }
            // Where something waits to be sent, it says as much as a ping.
            self.last_sent = now;
        }
        if let Some((at, wait)) = self.search
            && now >= at
        {
            let wait = (wait * 2).min(SEARCH_EVERY.1);
            self.search = Some((now.plus(wait), wait));
            // One of two turns in a row is another's than ours, if there is another.
            let turns = [self.hosts.turn().clone(), self.hosts.turn().clone()];
            if let Some(host) = turns.into_iter().find(|host| *host != self.host) {
                self.actions.push_back(IoAction::Probe(host));
            }
        }
    }

    /// A server with a quorum was found.
    pub(super) fn probed(&mut self, now: Millis, host: ServerAddress) {
        if self.phase == TcpPhase::Up && self.search.is_some() {
            self.lose(now, &format!("{host} has a quorum"));
            if self.phase != TcpPhase::Over {
                self.actions.retain(|action| *action == IoAction::Close);
                self.host = host;
                self.begin_turn(now);
            }
        }
    }

    /// What to send next.
    pub(super) fn output(&mut self) -> &[u8] {
        if self.phase == TcpPhase::Up && self.written == self.writing.len() {
            self.writing.clear();
            self.writing.shrink_to(ROOM_KEPT);
            self.written = 0;
            self.session.take(&mut self.writing);
        }
        match self.phase {
            TcpPhase::Handshaking | TcpPhase::Up => &self.writing[self.written..],
            _ => &[],
        }
    }

    /// So much of [`TcpConn::output`] has left.
    pub(super) fn wrote(&mut self, now: Millis, size: usize) {
        self.written += size;
        self.last_sent = now;
    }
}
