//! The election port: one connection with each other server, over which votes go both ways.
//!
//! The connection of a pair is the one that the server with the larger id opened. A server with a smaller id dials to be
//! called back: it sends its initial message and hangs up. ZooKeeper's `QuorumCnxManager`.
//!
//! Anybody may connect. What a stranger can do ends at its own connection: the initial message has a deadline and a size,
//! connections that have not said who they are give way to newer ones, a server sends so much in a second and no more, and
//! of its notifications only the newest is kept.

mod changed;
mod conn;
mod cut;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::event::Event;
use mio::{Registry, Token, Waker};

use super::dial::{Dial, DialProgress, Names};
use super::door::{DOOR, Door};
use super::place::HostPort;
use super::tokens::{ELECTION, ELECTION_LINKS, ELECTION_LINKS_MAX};
use super::wire::{QuorumWire, WireRead};
use crate::Error;
use crate::ids::{Millis, ServerId};
use crate::records::peer::{InitialMessage, Notification};
use conn::BallotConn;

/// The longest pause before a server is dialled again, ms.
const REDIAL_MAX_MS: u64 = 1000;
/// The first pause after a failure, and the time that the server with the larger id has to dial first, ms.
const REDIAL_MIN_MS: u64 = 100;
/// Pause between two dials that the same server asked for by hanging up, ms.
const CALL_BACK_PAUSE_MS: u64 = 500;
/// Servers outside the configuration that may be connected, where they may be at all.
const STRANGERS_MAX: usize = 16;
/// Connections taken in one turn.
const ACCEPTS_MAX: usize = 64;
/// Bytes read from one connection in one turn.
const READ_MAX: usize = 64 << 10;

/// What the election port is set up with.
#[derive(Clone, Debug)]
pub struct ElectionSettings {
    /// Who we are.
    pub me: ServerId,
    /// Where we listen: the addresses of our own server line, or a wildcard (`quorumListenOnAllIPs`).
    pub listen: Vec<HostPort>,
    /// Where we tell others that we listen: what our own server line says.
    pub announced: Vec<HostPort>,
    /// Where the others listen.
    pub peers: BTreeMap<ServerId, Vec<HostPort>>,
    /// `electionPortBindRetry`: tries to bind the port, 0 without end.
    pub bind_tries: u32,
    /// `cnxTimeout`: time for a dial, ms.
    pub dial_ms: u64,
    /// `quorumCnxnTimeoutMs`: time for the initial message of a server that connects, ms.
    pub initial_ms: u64,
    /// How long a server that is asked may be silent on its connection, ms. Then that is given up for a new one: packets may
    /// have been vanishing, and the system tries again after ever longer pauses.
    pub silence_ms: u64,
    /// Whether servers outside the configuration may vote-ask: where membership can change, a joiner does.
    pub takes_strangers: bool,
}

/// What happened at the election port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BallotEvent {
    /// The newest thing that a server said.
    Notification {
        /// Who it says it is.
        from: ServerId,
        /// What.
        notification: Notification,
    },
    /// The connection with a server stands; or it was lost, or could not be made.
    Link {
        /// The other server.
        peer: ServerId,
        /// Whether it stands.
        is_up: bool,
    },
}

/// What is known of another server.
#[derive(Debug, Default)]
struct BallotPeer {
    /// Where the configuration says that it listens; nothing for a stranger.
    places: Vec<HostPort>,
    /// Where it said itself that it listens.
    announced: Vec<HostPort>,
    /// Our newest notification to it, with its length in front.
    newest: Option<Vec<u8>>,
    /// The newest notification has to be sent on the present connection.
    is_unsent: bool,
    /// The slot of its connection.
    link: Option<usize>,
    /// The slot of the dial under way.
    dial: Option<usize>,
    /// A connection is wanted; it is dialled until there is one.
    is_wanted: bool,
    /// It hung up to be called back, and was not dialled since.
    is_calling: bool,
    /// We hung up to be called back, and were not since.
    is_awaited: bool,
    redial_at: Millis,
    /// Dials that failed one after the other.
    failures: u32,
    last_dial: Option<Millis>,
    /// What it said and was not taken yet.
    heard: Option<Notification>,
}

impl BallotPeer {
    fn is_stranger(&self) -> bool {
        self.places.is_empty()
    }

    /// Where to dial it. What the server says itself counts first where the configuration agrees, and last where it does
    /// not: a connection that claims another's id shall not draw us away from it.
    fn targets(&self) -> Vec<HostPort> {
        let agreed = self.announced.iter().filter(|place| self.places.contains(place));
        let mut targets: Vec<HostPort> = agreed.cloned().collect();
        for place in self.places.iter().chain(&self.announced) {
            if !targets.contains(place) {
                targets.push(place.clone());
            }
        }
        targets.retain(|place| !place.is_wildcard());
        targets
    }
}

/// What uses a token.
#[derive(Debug)]
enum BallotSlot {
    /// A dial under way.
    Dialling { peer: ServerId, dial: Dial },
    /// Somebody connected and has not said who it is.
    New { conn: BallotConn, address: SocketAddr, until: Millis },
    /// The connection with a server.
    Link { conn: BallotConn, peer: ServerId },
}

enum BallotReport {
    Heard(ServerId),
    Link(ServerId, bool),
}

/// The sockets of the election port.
///
/// In each turn of the loop: [`Ballots::event`] for every event whose token is [`Ballots::owns`], then [`Ballots::turn`],
/// then [`Ballots::poll`] until it is empty. Nothing here waits.
pub struct Ballots {
    settings: ElectionSettings,
    registry: Registry,
    names: Names,
    door: Door,
    peers: BTreeMap<ServerId, BallotPeer>,
    slots: Vec<Option<BallotSlot>>,
    reports: VecDeque<BallotReport>,
    scratch: Box<[u8]>,
    /// Nothing comes in and nothing goes out, see [`Ballots::cut_off`].
    is_cut_off: bool,
}

impl Ballots {
    /// Listens at the election port. Where an address cannot be bound yet, [`Ballots::turn`] tries again.
    ///
    /// # Errors
    /// [`Error`] when the event queue cannot be used, or a port cannot be bound and is not to be tried again.
    pub fn new(settings: ElectionSettings, registry: &Registry, waker: Arc<Waker>) -> Result<Ballots, Error> {
        let registry = registry.try_clone().map_err(Error::system("share the event queue"))?;
        let mut names = Names::new(waker);
        let mut door = Door::new("election port", ELECTION, &settings.listen, settings.bind_tries);
        door.turn(Millis(0), &mut names, &registry)?;
        let peers = settings.peers.iter().filter(|(id, _)| **id != settings.me);
        let peers =
            peers.map(|(id, places)| (*id, BallotPeer { places: places.clone(), ..BallotPeer::default() })).collect();
        Ok(Ballots {
            settings,
            registry,
            names,
            door,
            peers,
            slots: Vec::new(),
            reports: VecDeque::new(),
            scratch: vec![0; READ_MAX / 4].into_boxed_slice(),
            is_cut_off: false,
        })
    }

    /// Whether an event with this token is for [`Ballots::event`].
    pub fn owns(token: Token) -> bool {
        token == ELECTION || (ELECTION_LINKS..ELECTION_LINKS + ELECTION_LINKS_MAX).contains(&token.0)
    }

    /// Where it listens by now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.door.addresses()
    }

    /// Says where a server listens; it becomes one of the configuration if it was not.
    pub fn learn(&mut self, peer: ServerId, places: Vec<HostPort>) {
        if peer != self.settings.me {
            self.peers.entry(peer).or_default().places = places;
        }
    }

    /// Wants to hear of each of these: those without a connection are dialled at once and again until they have one, and a
    /// connection on which nothing comes for long is given up.
    pub fn link(&mut self, now: Millis, peers: &[ServerId]) {
        for &id in peers {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.is_wanted = true;
            if self.is_cut_off {
                continue;
            }
            if let Some(slot) = peer.link
                && let Some(Some(BallotSlot::Link { conn, .. })) = self.slots.get_mut(slot)
                && conn.ask(now) >= self.settings.silence_ms
            {
                let why = format!("nothing was heard for {} ms", self.settings.silence_ms);
                self.lost(now, slot, id, &why, 0);
            }
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            // Where a dial has just failed, the next one is due soon.
            if peer.link.is_none() && peer.dial.is_none() && now >= peer.redial_at {
                self.dial(now, id);
            }
        }
    }

    /// Tells a server this. Only the newest waits while the server is not connected; it is sent again on each new
    /// connection.
    pub fn send(&mut self, now: Millis, to: ServerId, notification: &Notification) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let mut bytes = peer.newest.take().unwrap_or_default();
        bytes.clear();
        notification.encode(&mut bytes);
        peer.newest = Some(bytes);
        peer.is_unsent = true;
        if let Some(slot) = peer.link
            && !self.is_cut_off
        {
            self.write(now, slot);
        }
    }

    /// Whether a connection with this server stands.
    pub fn is_linked(&self, peer: ServerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.link.is_some())
    }

    /// A socket has something to tell; looked at in [`Ballots::turn`].
    pub fn event(&mut self, event: &Event) {
        if event.token() == ELECTION {
            return self.door.ready();
        }
        let Some(at) = event.token().0.checked_sub(ELECTION_LINKS) else { return };
        match self.slots.get_mut(at) {
            Some(Some(BallotSlot::Dialling { dial, .. })) => dial.ready(),
            Some(Some(BallotSlot::New { conn, .. } | BallotSlot::Link { conn, .. })) => conn.ready(event),
            _ => {}
        }
    }

    /// Does all that can be done without waiting.
    ///
    /// # Errors
    /// [`Error::ListenServers`] once the port was tried often enough.
    pub fn turn(&mut self, now: Millis) -> Result<(), Error> {
        if self.is_cut_off {
            return Ok(());
        }
        for named in self.names.answers() {
            if named.ids.contains(&DOOR) {
                self.door.named(now, &named, &self.registry)?;
            }
            for slot in &named.ids {
                if let Some(Some(BallotSlot::Dialling { dial, .. })) = self.slots.get_mut(*slot) {
                    dial.named(&named.name, &named.found);
                }
            }
        }
        self.door.turn(now, &mut self.names, &self.registry)?;
        for _ in 0..ACCEPTS_MAX {
            let Some((stream, address)) = self.door.accept(now) else { break };
            self.admit(now, QuorumWire::new(stream), address);
        }
        for slot in 0..self.slots.len() {
            match &self.slots[slot] {
                None => {}
                Some(BallotSlot::Dialling { .. }) => self.drive(now, slot),
                Some(BallotSlot::New { until, .. }) if now >= *until => self.free(slot),
                Some(BallotSlot::New { .. }) => self.read_initial(now, slot),
                Some(BallotSlot::Link { .. }) => self.serve(now, slot),
            }
        }
        let due = |peer: &BallotPeer| peer.dial.is_none() && peer.redial_at <= now && peer.wants_dial();
        let due: Vec<ServerId> = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(id, _)| *id).collect();
        for id in due {
            self.dial(now, id);
        }
        Ok(())
    }

    /// When to call [`Ballots::turn`] if no event comes first.
    pub fn poll_timeout(&self) -> Option<Millis> {
        if self.is_cut_off {
            return None;
        }
        if self.door.has_work() {
            return Some(Millis(0));
        }
        let slots = self.slots.iter().flatten().filter_map(|slot| match slot {
            BallotSlot::Dialling { dial, .. } => Some(dial.poll_timeout()),
            BallotSlot::New { conn, until, .. } => Some(if conn.has_work() { Millis(0) } else { *until }),
            BallotSlot::Link { conn, .. } if conn.has_work() => Some(Millis(0)),
            BallotSlot::Link { conn, .. } => conn.stalls_at(self.stall_ms()),
        });
        let peers = self.peers.values().filter(|peer| peer.dial.is_none() && peer.wants_dial());
        slots.chain(peers.map(|peer| peer.redial_at)).chain(self.door.poll_timeout()).min()
    }

    /// The next thing that happened.
    pub fn poll(&mut self) -> Option<BallotEvent> {
        loop {
            match self.reports.pop_front()? {
                BallotReport::Link(peer, is_up) => return Some(BallotEvent::Link { peer, is_up }),
                BallotReport::Heard(from) => {
                    if let Some(notification) = self.peers.get_mut(&from).and_then(|peer| peer.heard.take()) {
                        return Some(BallotEvent::Notification { from, notification });
                    }
                }
            }
        }
    }

    fn stall_ms(&self) -> u64 {
        2 * self.settings.dial_ms
    }

    /// A free slot.
    fn place(&mut self) -> Option<usize> {
        let at = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if at == self.slots.len() {
            if at == ELECTION_LINKS_MAX {
                return None;
            }
            self.slots.push(None);
        }
        Some(at)
    }

    fn free(&mut self, slot: usize) {
        self.slots[slot] = None;
    }

    // -----------------------------------------------------------------------------------------------------------
    // Dialling

    fn dial(&mut self, now: Millis, id: ServerId) {
        let Some(slot) = self.place() else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if std::mem::take(&mut peer.is_awaited) {
            // It took our call and did not call back.
            self.reports.push_back(BallotReport::Link(id, false));
        }
        peer.is_calling = false;
        peer.last_dial = Some(now);
        peer.dial = Some(slot);
        let dial = Dial::new(now, peer.targets(), self.settings.dial_ms);
        self.slots[slot] = Some(BallotSlot::Dialling { peer: id, dial });
        self.drive(now, slot);
    }

    fn drive(&mut self, now: Millis, slot: usize) {
        let Some(Some(BallotSlot::Dialling { peer, dial })) = self.slots.get_mut(slot) else { return };
        let id = *peer;
        let progress = dial.drive(now, &mut self.names, slot, &self.registry, token(slot));
        let failure = match progress {
            DialProgress::Waiting => return,
            DialProgress::Failed(why) => Some(why),
            DialProgress::Connected(stream) => self.greet(now, slot, id, QuorumWire::new(stream)).err(),
        };
        if let Some(why) = failure {
            log::debug!("server {id} cannot be reached at its election port: {why}");
            self.free(slot);
            self.failed(now, id);
        }
    }

    /// Says who we are on a connection that we opened. It stays if our id is the larger one.
    fn greet(&mut self, now: Millis, slot: usize, id: ServerId, mut wire: QuorumWire) -> Result<(), String> {
        let mut bytes = Vec::new();
        let ports: Vec<u16> = self.door.addresses().iter().map(SocketAddr::port).collect();
        let named = |place: &HostPort| match (place.port, ports.first()) {
            (0, Some(&port)) => HostPort { host: place.host.clone(), port }.to_string(),
            _ => place.to_string(),
        };
        let addresses = self.settings.announced.iter().map(named).collect();
        InitialMessage { server: self.settings.me, addresses }.encode(&mut bytes);
        // In one piece: ZooKeeper takes the address with a single read.
        if wire.write(&[std::io::IoSlice::new(&bytes)])? != bytes.len() {
            return Err("it does not take the initial message".to_owned());
        }
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(()) };
        peer.dial = None;
        if is_larger(id, self.settings.me) {
            // It calls back, and if it does not, it is asked again.
            peer.is_awaited = peer.link.is_none();
            peer.redial_at = now.plus(REDIAL_MAX_MS);
            self.free(slot);
        } else {
            self.linked(now, slot, id, BallotConn::new(now, wire));
        }
        Ok(())
    }

    fn failed(&mut self, now: Millis, id: ServerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.dial = None;
        let pause = (REDIAL_MIN_MS << peer.failures.min(8)).min(REDIAL_MAX_MS);
        peer.failures += 1;
        peer.redial_at = now.plus(pause);
        if peer.link.is_none() {
            self.reports.push_back(BallotReport::Link(id, false));
            self.forget_stranger(id);
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Who connects

    fn admit(&mut self, now: Millis, wire: QuorumWire, address: SocketAddr) {
        let new_max = 16 + 4 * self.peers.len().min(64);
        let news: Vec<(usize, SocketAddr, Millis)> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(slot, used)| match used {
                Some(BallotSlot::New { address, until, .. }) => Some((slot, *address, *until)),
                _ => None,
            })
            .collect();
        if news.len() >= new_max {
            // The oldest of the address that has most of them: a server that sends its message at once is through by then.
            let of = |address: &SocketAddr| news.iter().filter(|(_, other, _)| other.ip() == address.ip()).count();
            let worst = news.iter().max_by_key(|(_, address, until)| (of(address), std::cmp::Reverse(*until)));
            if let Some((slot, ..)) = worst {
                self.free(*slot);
            }
        }
        let Some(slot) = self.place() else { return };
        let mut conn = BallotConn::new(now, wire);
        if self
            .registry
            .register(conn.wire.stream(), token(slot), mio::Interest::READABLE | mio::Interest::WRITABLE)
            .is_ok()
        {
            self.slots[slot] = Some(BallotSlot::New { conn, address, until: now.plus(self.settings.initial_ms) });
        }
    }

    fn read_initial(&mut self, now: Millis, slot: usize) {
        let Some(Some(BallotSlot::New { conn, address, .. })) = self.slots.get_mut(slot) else { return };
        let address = *address;
        let gone = conn.read(&mut self.scratch, READ_MAX);
        let initial = match InitialMessage::decode(&conn.input) {
            Ok(Some((initial, size))) => {
                conn.input.drain(..size);
                initial
            }
            Ok(None) if gone.is_none() => return,
            Ok(None) => return self.free(slot),
            Err(error) => {
                log::warn!("{address} is no server of an ensemble: {error}");
                return self.free(slot);
            }
        };
        self.introduced(now, slot, initial, address);
    }

    /// Somebody said who it is.
    fn introduced(&mut self, now: Millis, slot: usize, initial: InitialMessage, address: SocketAddr) {
        let id = initial.server;
        if id == self.settings.me {
            log::warn!("{address} says that it is server {id}, which we are ourselves");
            return self.free(slot);
        }
        let strangers = self.peers.values().filter(|peer| peer.is_stranger()).count();
        if !self.peers.contains_key(&id) {
            if !self.settings.takes_strangers || strangers >= STRANGERS_MAX {
                log::warn!("{address} says that it is server {id}, which is not in the configuration");
                return self.free(slot);
            }
            self.peers.insert(id, BallotPeer::default());
        }
        if is_larger(id, self.settings.me) {
            let Some(BallotSlot::New { conn, .. }) = self.slots[slot].take() else { return };
            return self.linked(now, slot, id, conn);
        }
        // It wants to be called back. What stands is kept until then: it may be somebody else who says so.
        let Some(BallotSlot::New { conn, .. }) = self.slots[slot].take() else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Some(Some(BallotSlot::Link { conn: link, .. })) = peer.link.map(|link| &self.slots[link])
            && link.since >= conn.since
        {
            // It has been called since: both dialled at once.
            return;
        }
        let announced = initial.addresses.iter().filter_map(|text| HostPort::parse(text));
        peer.announced = announced.filter(|place| !place.is_wildcard()).take(8).collect();
        peer.is_calling = true;
        if peer.dial.is_none() {
            peer.redial_at = peer.last_dial.map_or(now, |at| now.max(at.plus(CALL_BACK_PAUSE_MS)));
        }
    }

    fn linked(&mut self, now: Millis, slot: usize, id: ServerId, conn: BallotConn) {
        let Some(peer) = self.peers.get_mut(&id) else { return self.free(slot) };
        for unneeded in peer.link.replace(slot).into_iter().chain(peer.dial.take()) {
            self.slots[unneeded] = None;
        }
        (peer.is_awaited, peer.is_calling) = (false, false);
        peer.is_unsent = peer.newest.is_some();
        peer.failures = 0;
        // What came on an earlier connection is not to be taken for a word on this one.
        peer.heard = None;
        self.slots[slot] = Some(BallotSlot::Link { conn, peer: id });
        self.reports.push_back(BallotReport::Link(id, true));
        self.serve(now, slot);
    }

    // -----------------------------------------------------------------------------------------------------------
    // Connections that stand

    fn serve(&mut self, now: Millis, slot: usize) {
        let Some(Some(BallotSlot::Link { conn, peer: id })) = self.slots.get_mut(slot) else { return };
        let id = *id;
        let gone = conn.read(&mut self.scratch, READ_MAX);
        let Some(peer) = self.peers.get_mut(&id) else { return self.free(slot) };
        let heard = conn.notifications(now, |notification| {
            // Only the newest counts, as in ZooKeeper, whose queues drop what is older.
            if peer.heard.replace(notification).is_none() {
                self.reports.push_back(BallotReport::Heard(id));
            }
        });
        match (heard, gone) {
            (Err(why), _) => self.lost(now, slot, id, &why, REDIAL_MAX_MS),
            (Ok(()), Some(why)) => {
                // Both sides see the end: the one whose connection stays dials first.
                let pause = if is_larger(id, self.settings.me) { REDIAL_MIN_MS } else { 0 };
                self.lost(now, slot, id, &why, pause);
            }
            (Ok(()), None) => self.write(now, slot),
        }
    }

    fn write(&mut self, now: Millis, slot: usize) {
        let stall_ms = self.stall_ms();
        let Some(Some(BallotSlot::Link { conn, peer: id })) = self.slots.get_mut(slot) else { return };
        let id = *id;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Err(why) = conn.write(now, peer.newest.as_deref(), &mut peer.is_unsent, stall_ms) {
            self.lost(now, slot, id, &why, REDIAL_MIN_MS);
        }
    }

    fn lost(&mut self, now: Millis, slot: usize, id: ServerId, why: &str, pause_ms: u64) {
        log::info!("the election connection with server {id} was lost: {why}");
        self.free(slot);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.link = None;
        if peer.dial.is_none() {
            peer.redial_at = now.plus(pause_ms);
        }
        self.reports.push_back(BallotReport::Link(id, false));
        self.forget_stranger(id);
    }

    /// Nothing is kept of a server outside the configuration that is not connected.
    fn forget_stranger(&mut self, id: ServerId) {
        if self.peers.get(&id).is_some_and(|peer| peer.is_stranger() && peer.link.is_none() && peer.dial.is_none()) {
            self.peers.remove(&id);
        }
    }
}

impl BallotPeer {
    fn wants_dial(&self) -> bool {
        self.is_calling || (self.is_wanted && self.link.is_none())
    }
}

/// As ZooKeeper compares ids: with a sign.
fn is_larger(id: ServerId, than: ServerId) -> bool {
    (id.0 as i64) > (than.0 as i64)
}

fn token(slot: usize) -> Token {
    Token(ELECTION_LINKS + slot)
}
