//! A session's route from server to server: whose turn it is, when to ping, when to give a silent one up.
//!
//! Bytes, names and time in, bytes and actions out. The session itself is the [`SessionCore`] that most methods are given.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::ProtocolError;
use super::hosts::{Hosts, ServerAddress};
use super::input::TcpInput;
use super::random::Random;
use super::session::{SessionCore, first_unsent, ping};
use crate::client::handle::transport::WatchedPaths;
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
pub(crate) enum IoAction {
    /// Look up a name, and hand in [`Route::resolved`].
    Resolve(String),
    /// Open a connection, and hand in [`Route::connected`] or [`Route::closed`].
    Connect(SocketAddr),
    /// Close the connection.
    Close,
    /// Ask this server whether it has a quorum, and hand in [`Route::probed`] if it does.
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

/// One session's route. Hand in what happens, carry out what the core delivers and [`Route::poll_action`] until there is none,
/// send [`Route::output`], and come back at [`Route::poll_timeout`].
pub(crate) struct Route {
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

impl Route {
    /// Begins with the first host's turn. `list` has one at least; `timeout_ms` is what the session asks for.
    pub(crate) fn new(list: Vec<ServerAddress>, timeout_ms: i32, seed: u64, now: Millis) -> Route {
        let mut random = Random::new(seed);
        let mut hosts = Hosts::new(list, &mut random);
        let host = hosts.turn().clone();
        let timeout = u64::try_from(timeout_ms).unwrap_or(0);
        let mut route = Route {
            hosts,
            random,
            phase: TcpPhase::Resting,
            since: now,
            host,
            candidates: Vec::new(),
            failures: 0,
            writing: Vec::new(),
            written: 0,
            input: TcpInput::default(),
            timeout,
            last_heard: now,
            last_sent: now,
            full_until: None,
            search: None,
            actions: VecDeque::new(),
        };
        route.begin_turn(now);
        route
    }

    /// The next thing to do.
    pub(crate) fn poll_action(&mut self) -> Option<IoAction> {
        self.actions.pop_front()
    }

    /// When to call [`Route::timeout`] if nothing else comes first.
    pub(crate) fn poll_timeout(&self) -> Option<Millis> {
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
    pub(crate) fn is_over(&self) -> bool {
        self.phase == TcpPhase::Over
    }

    /// Whether to read. Not while the host cannot follow.
    pub(crate) fn wants_input(&self) -> bool {
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
    pub(crate) fn resolved(&mut self, now: Millis, name: &str, found: &Result<Vec<IpAddr>, String>) {
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
    pub(crate) fn connected<W>(&mut self, core: &mut SessionCore<W>) {
        if self.phase == TcpPhase::Connecting {
            // The time is that of the attempt.
            self.phase = TcpPhase::Handshaking;
            self.input.clear();
            core.connected();
        }
    }

    /// The connection is gone, or was never there.
    pub(crate) fn closed<W>(&mut self, now: Millis, why: &str, core: &mut SessionCore<W>) {
        match self.phase {
            TcpPhase::Connecting | TcpPhase::Handshaking => {
                log::debug!("{}: {why}", self.host);
                core.lost(&[]);
                self.drop_connection();
                self.begin_attempt(now);
            }
            TcpPhase::Up => self.lose(now, why, core),
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

    fn lose<W>(&mut self, now: Millis, why: &str, core: &mut SessionCore<W>) {
        log::info!("lost the connection to {}: {why}", self.host);
        let writing = std::mem::take(&mut self.writing);
        core.lost(&writing[first_unsent(&writing, self.written)..]);
        self.drop_connection();
        if core.is_over() {
            self.phase = TcpPhase::Over;
            return;
        }
        if now.since(self.since) >= GOOD_AFTER {
            self.failures = 0;
        }
        self.next_host(now);
    }

    /// Lets go of the connection for good.
    pub(crate) fn end(&mut self) {
        self.drop_connection();
        self.phase = TcpPhase::Over;
    }

    /// Bytes came: [`Route::take_in`] is next.
    pub(crate) fn received(&mut self, now: Millis, bytes: &[u8]) {
        self.last_heard = now;
        self.input.extend(bytes);
    }

    /// Has the core take what came. Its deliveries point into [`Route::input`]; once they are carried out, [`Route::took_in`]
    /// is due with what this returned.
    pub(crate) fn take_in<W>(
        &mut self,
        core: &mut SessionCore<W>,
        watches: impl Fn() -> WatchedPaths,
    ) -> (usize, Result<(), ProtocolError>) {
        match self.phase {
            TcpPhase::Handshaking | TcpPhase::Up => core.received(self.input.waiting(), watches),
            _ => (0, Ok(())),
        }
    }

    /// What came and was not taken.
    pub(crate) fn input(&self) -> &[u8] {
        self.input.waiting()
    }

    /// So many bytes were taken, and this is what they say of the connection.
    pub(crate) fn took_in<W>(
        &mut self,
        now: Millis,
        size: usize,
        result: Result<(), ProtocolError>,
        core: &mut SessionCore<W>,
    ) {
        self.input.take(size);
        if core.is_over() {
            return self.end();
        }
        if self.phase == TcpPhase::Handshaking && core.is_up() {
            self.up(now, core.timeout_ms(), core.is_read_only());
        }
        if let Err(ProtocolError(why)) = result {
            log::warn!("{} is not a server to talk to: {why}", self.host);
            self.closed(now, &why, core);
        }
    }

    fn up(&mut self, now: Millis, timeout_ms: i32, is_read_only: bool) {
        (self.phase, self.since) = (TcpPhase::Up, now);
        self.timeout = u64::try_from(timeout_ms).expect("a session has time");
        // What is left of the handshake went down with nobody: the server has answered it.
        (self.writing, self.written) = (Vec::new(), 0);
        self.last_sent = now;
        if is_read_only {
            self.search = Some((now.plus(SEARCH_EVERY.0), SEARCH_EVERY.0));
        }
    }

    /// Whether a server answers requests.
    pub(crate) fn is_up(&self) -> bool {
        self.phase == TcpPhase::Up
    }

    /// Bytes were taken in from a server that is up: whether those who run callbacks are full with what they brought.
    pub(crate) fn filled(&mut self, now: Millis, is_full: bool) {
        self.full_until = is_full.then(|| now.plus(FULL_EVERY));
    }

    /// Whether those who run callbacks were full when that was last asked.
    pub(crate) fn was_full(&self) -> bool {
        self.full_until.is_some()
    }

    /// Whether it is time to ask again.
    pub(crate) fn is_due_to_look(&self, now: Millis) -> bool {
        self.full_until.is_some_and(|at| now >= at)
    }

    /// They were full, and may have room again.
    pub(crate) fn look_again(&mut self, now: Millis, is_full: bool) {
        self.filled(now, is_full);
        // The silence was ours.
        self.last_heard = now;
    }

    /// The moment of [`Route::poll_timeout`] has come. May be called any time.
    pub(crate) fn timeout<W>(&mut self, now: Millis, core: &mut SessionCore<W>) {
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
            TcpPhase::Connecting | TcpPhase::Handshaking => self.closed(now, "no answer in time", core),
            TcpPhase::Up => self.care(now, core),
        }
    }

    /// Keeps a connection that stands alive, as long as it is.
    fn care<W>(&mut self, now: Millis, core: &mut SessionCore<W>) {
        if now.since(self.last_heard) >= self.silence_limit() {
            return self.lose(now, "the server is silent", core);
        }
        if now.since(self.last_sent) >= self.ping_every() {
            if self.output(core).is_empty() {
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
    pub(crate) fn probed<W>(&mut self, now: Millis, host: ServerAddress, core: &mut SessionCore<W>) {
        if self.phase == TcpPhase::Up && self.search.is_some() {
            self.lose(now, &format!("{host} has a quorum"), core);
            if self.phase != TcpPhase::Over {
                self.actions.retain(|action| *action == IoAction::Close);
                self.host = host;
                self.begin_turn(now);
            }
        }
    }

    /// Fetches what is to be sent next.
    pub(crate) fn output<W>(&mut self, core: &mut SessionCore<W>) -> &[u8] {
        if self.wants_more() {
            self.writing.clear();
            self.writing.shrink_to(ROOM_KEPT);
            self.written = 0;
            core.take(&mut self.writing);
        }
        self.fetched()
    }

    /// Whether all that was fetched has left.
    pub(crate) fn wants_more(&self) -> bool {
        matches!(self.phase, TcpPhase::Handshaking | TcpPhase::Up) && self.written == self.writing.len()
    }

    /// What was fetched and has not left.
    pub(crate) fn fetched(&self) -> &[u8] {
        match self.phase {
            TcpPhase::Handshaking | TcpPhase::Up => &self.writing[self.written..],
            _ => &[],
        }
    }

    /// So much of what was fetched has left.
    pub(crate) fn wrote(&mut self, now: Millis, size: usize) {
        self.written += size;
        self.last_sent = now;
    }
}
