//! The quorum port: connections between learners and their leader, over which packets go both ways.
//!
//! Packets have no length around them, and behind a SNAP the same bytes go on as the stream of a state. So what comes is
//! kept as bytes until it is asked for, one packet at a time, and the member that hears a stream says where it ends.

mod changed;
mod cut;
mod link;
mod output;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::event::Event;
use mio::{Interest, Registry, Token, Waker};

use super::dial::{Dial, DialProgress, Names};
use super::door::{DOOR, Door};
use super::place::HostPort;
use super::tokens::{QUORUM, QUORUM_LINKS, QUORUM_LINKS_MAX};
use super::wire::{QuorumWire, WireRead};
use crate::Error;
use crate::ids::{LinkId, Millis, ServerId};
use crate::records::peer::{LearnerInfo, PacketType, QuorumPacket};
use link::{LinkInput, Next, QuorumLink};

/// Connections taken in one turn.
const ACCEPTS_MAX: usize = 64;
/// Bytes read from one connection in one turn.
const READ_MAX: usize = 1 << 20;
/// Connections that may not have introduced themselves yet.
const NEW_MAX: usize = 64;
/// Bytes that may wait to be sent on one connection.
pub const OUTPUT_MAX: usize = 64 << 20;

/// What the quorum port is set up with.
#[derive(Clone, Debug)]
pub struct QuorumSettings {
    /// Who we are.
    pub me: ServerId,
    /// Where we listen: the addresses of our own server line, or a wildcard (`quorumListenOnAllIPs`).
    pub listen: Vec<HostPort>,
    /// Where the other servers listen, and which of them may connect as a learner.
    pub peers: BTreeMap<ServerId, Vec<HostPort>>,
    /// Tries to bind the port, 0 without end.
    pub bind_tries: u32,
    /// Time for a dial, ms.
    pub dial_ms: u64,
    /// Time for the first packet of a server that connects, ms.
    pub first_ms: u64,
    /// Whether servers outside the configuration may come: where membership can change, a joiner does.
    pub takes_strangers: bool,
}

/// What happened at the quorum port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A connection stands. One that was accepted is told of when its first packet is there: that packet comes next.
    Opened {
        /// Its name.
        link: LinkId,
        /// Whether we dialled it.
        is_ours: bool,
    },
    /// The server could not be dialled. Whether to try again is not decided here.
    DialFailed {
        /// Which server.
        to: ServerId,
        /// Why not.
        why: String,
    },
    /// A packet came.
    Packet {
        /// From there.
        link: LinkId,
        /// The packet.
        packet: QuorumPacket,
    },
    /// Bytes came on a connection that is being heard: see [`QuorumLinks::hear`].
    Raw {
        /// From there.
        link: LinkId,
        /// All that has come.
        bytes: Vec<u8>,
    },
    /// The other end closed, or broke the protocol, or takes nothing any more. The link's name is not used again.
    /// Not told of a connection that [`QuorumLinks::close`] closed.
    Closed {
        /// Which.
        link: LinkId,
        /// Why.
        why: String,
    },
}

/// What uses a token.
#[derive(Debug)]
enum QuorumSlot {
    /// A dial under way; there is one at most.
    Dialling { to: ServerId, dial: Dial },
    /// A connection.
    Link(QuorumLink),
}

enum QuorumReport {
    /// There may be packets, raw bytes or the end to tell of.
    Look(LinkId),
    Opened(LinkId, bool),
    DialFailed(ServerId, String),
}

/// The sockets of the quorum port.
///
/// In each turn of the loop: [`QuorumLinks::event`] for every event whose token is [`QuorumLinks::owns`], then
/// [`QuorumLinks::turn`], then [`QuorumLinks::poll`] until it is empty, each event carried out before the next is asked for.
/// What is sent is written by [`QuorumLinks::flush`], so that many packets leave in one write. Nothing here waits.
pub struct QuorumLinks {
    settings: QuorumSettings,
    registry: Registry,
    names: Names,
    door: Door,
    slots: Vec<Option<QuorumSlot>>,
    /// How often each slot was used: with the slot, a link's name.
    generations: Vec<u32>,
    reports: VecDeque<QuorumReport>,
    /// Links with output that was not offered to the system yet.
    unflushed: Vec<LinkId>,
    scratch: Box<[u8]>,
    /// Nothing comes in and nothing goes out, see [`QuorumLinks::cut_off`].
    is_cut_off: bool,
    /// Connections that were closed meanwhile: the other end is not to hear of it.
    silenced: Vec<QuorumLink>,
}

impl QuorumLinks {
    /// Listens at the quorum port. Where an address cannot be bound yet, [`QuorumLinks::turn`] tries again.
    ///
    /// # Errors
    /// [`Error`] when the event queue cannot be used, or a port cannot be bound and is not to be tried again.
    pub fn new(settings: QuorumSettings, registry: &Registry, waker: Arc<Waker>) -> Result<QuorumLinks, Error> {
        let registry = registry.try_clone().map_err(Error::system("share the event queue"))?;
        let mut names = Names::new(waker);
        let mut door = Door::new("quorum port", QUORUM, &settings.listen, settings.bind_tries);
        door.turn(Millis(0), &mut names, &registry)?;
        Ok(QuorumLinks {
            settings,
            registry,
            names,
            door,
            slots: Vec::new(),
            generations: Vec::new(),
            reports: VecDeque::new(),
            unflushed: Vec::new(),
            scratch: vec![0; READ_MAX / 8].into_boxed_slice(),
            is_cut_off: false,
            silenced: Vec::new(),
        })
    }

    /// Whether an event with this token is for [`QuorumLinks::event`].
    pub fn owns(token: Token) -> bool {
        token == QUORUM || (QUORUM_LINKS..QUORUM_LINKS + QUORUM_LINKS_MAX).contains(&token.0)
    }

    /// Where it listens by now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.door.addresses()
    }

    /// Says where a server listens; it may come as a learner from now on.
    pub fn learn(&mut self, peer: ServerId, places: Vec<HostPort>) {
        self.settings.peers.insert(peer, places);
    }

    /// Dials a server: [`LinkEvent::Opened`] or [`LinkEvent::DialFailed`] follows. A dial under way is given up for it.
    pub fn dial(&mut self, now: Millis, to: ServerId) {
        self.give_up_dial();
        let places = self.settings.peers.get(&to).into_iter().flatten().filter(|place| !place.is_wildcard());
        let dial = Dial::new(now, places.cloned(), self.settings.dial_ms);
        match self.place() {
            Some(slot) => {
                self.slots[slot] = Some(QuorumSlot::Dialling { to, dial });
                if !self.is_cut_off {
                    self.drive(now, slot);
                }
            }
            None => self.reports.push_back(QuorumReport::DialFailed(to, "there are too many connections".to_owned())),
        }
    }

    /// Gives up the dial under way, if there is one; nothing more is told of it.
    pub fn give_up_dial(&mut self) {
        for slot in &mut self.slots {
            if matches!(slot, Some(QuorumSlot::Dialling { .. })) {
                *slot = None;
            }
        }
        let slots = &mut self.slots;
        self.reports.retain(|report| match report {
            QuorumReport::DialFailed(..) => false,
            QuorumReport::Opened(link, true) => {
                slots[link.slot as usize] = None;
                false
            }
            _ => true,
        });
    }

    /// Queues a packet. A connection that would have to keep too much for it is closed instead.
    pub fn send(&mut self, link: LinkId, packet: &QuorumPacket) {
        let Some(open) = self.open(link).filter(|open| !open.is_at_end()) else { return };
        open.output.packet(packet);
        self.sent(link);
    }

    /// Queues bytes of a state's stream, behind the packets queued so far.
    pub fn send_raw(&mut self, link: LinkId, bytes: Vec<u8>) {
        let Some(open) = self.open(link).filter(|open| !open.is_at_end()) else { return };
        open.output.bytes(bytes);
        self.sent(link);
    }

    fn sent(&mut self, link: LinkId) {
        let Some(open) = self.open(link) else { return };
        if open.output.len() > OUTPUT_MAX {
            let why = format!("more than {OUTPUT_MAX} bytes wait to be sent to it");
            return self.end(link, why);
        }
        if !std::mem::replace(&mut open.is_unflushed, true) {
            self.unflushed.push(link);
        }
    }

    /// Bytes queued and not taken by the system yet.
    pub fn output_len(&self, link: LinkId) -> usize {
        match self.slots.get(link.slot as usize) {
            Some(Some(QuorumSlot::Link(open))) if open.name == link => open.output.len(),
            _ => 0,
        }
    }

    /// Hands all that is queued to the system, as far as it takes it.
    pub fn flush(&mut self) {
        if self.is_cut_off {
            return self.forget_output();
        }
        for link in std::mem::take(&mut self.unflushed) {
            self.write(link);
        }
    }

    /// Closes a connection, after what of its output the system takes at once. Nothing more is told of it.
    pub fn close(&mut self, link: LinkId) {
        if self.is_cut_off {
            return self.silence(link);
        }
        if self.open(link).is_some() {
            self.write(link);
            if self.open(link).is_some() {
                self.slots[link.slot as usize] = None;
            }
        }
    }

    /// Bytes from now on are the stream of a state, told as [`LinkEvent::Raw`], until [`QuorumLinks::heard`]. To be called
    /// when the SNAP packet was polled and before the next poll: nothing behind a SNAP is read as a packet.
    pub fn hear(&mut self, link: LinkId) {
        self.set_input(link, LinkInput::Raw);
    }

    /// The stream has ended; of the last [`LinkEvent::Raw`] these bytes were behind its end. They are packets again.
    pub fn heard(&mut self, link: LinkId, rest: &[u8]) {
        if let Some(open) = self.open(link) {
            open.put_back(rest);
        }
        self.set_input(link, LinkInput::Packets);
    }

    fn set_input(&mut self, link: LinkId, input: LinkInput) {
        if let Some(open) = self.open(link) {
            open.input = input;
            self.look(link);
        }
    }

    /// A socket has something to tell; looked at in [`QuorumLinks::turn`].
    pub fn event(&mut self, event: &Event) {
        if event.token() == QUORUM {
            return self.door.ready();
        }
        if self.is_cut_off {
            return;
        }
        let Some(at) = event.token().0.checked_sub(QUORUM_LINKS) else { return };
        let name = match self.slots.get_mut(at) {
            Some(Some(QuorumSlot::Dialling { dial, .. })) => return dial.ready(),
            Some(Some(QuorumSlot::Link(link))) => {
                link.wire.ready(event);
                link.name
            }
            _ => return,
        };
        if event.is_writable() {
            self.write(name);
        }
    }

    /// Does all that can be done without waiting.
    ///
    /// # Errors
    /// [`Error::ListenServers`] once the port was tried often enough.
    pub fn turn(&mut self, now: Millis) -> Result<(), Error> {
        if self.is_cut_off {
            self.fail_dials(now);
            return Ok(());
        }
        for named in self.names.answers() {
            if named.ids.contains(&DOOR) {
                self.door.named(now, &named, &self.registry)?;
            }
            for slot in &named.ids {
                if let Some(Some(QuorumSlot::Dialling { dial, .. })) = self.slots.get_mut(*slot) {
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
                Some(QuorumSlot::Dialling { .. }) => self.drive(now, slot),
                Some(QuorumSlot::Link(link)) if link.is_late(now) => {
                    log::warn!("{} connected to the quorum port and said nothing", link.address);
                    self.slots[slot] = None;
                }
                Some(QuorumSlot::Link(_)) => self.read(now, slot),
            }
        }
        Ok(())
    }

    /// When to call [`QuorumLinks::turn`] if no event comes first.
    pub fn poll_timeout(&self) -> Option<Millis> {
        if self.is_cut_off {
            return self.poll_timeout_cut_off();
        }
        if self.door.has_work() || !self.reports.is_empty() || !self.unflushed.is_empty() {
            return Some(Millis(0));
        }
        let slots = self.slots.iter().flatten().filter_map(|slot| match slot {
            QuorumSlot::Dialling { dial, .. } => Some(dial.poll_timeout()),
            QuorumSlot::Link(link) if link.can_read() => Some(Millis(0)),
            QuorumSlot::Link(link) => link.until,
        });
        slots.chain(self.door.poll_timeout()).min()
    }

    /// The next thing that happened.
    pub fn poll(&mut self) -> Option<LinkEvent> {
        loop {
            let name = match self.reports.pop_front()? {
                QuorumReport::Opened(link, is_ours) => return Some(LinkEvent::Opened { link, is_ours }),
                QuorumReport::DialFailed(to, why) => return Some(LinkEvent::DialFailed { to, why }),
                QuorumReport::Look(name) => name,
            };
            let Some(link) = self.open(name) else { continue };
            link.is_queued = false;
            match link.next() {
                Next::Nothing => {}
                Next::Packet(packet) => {
                    self.look_first(name);
                    return Some(LinkEvent::Packet { link: name, packet });
                }
                Next::Raw(bytes) => {
                    self.look_first(name);
                    return Some(LinkEvent::Raw { link: name, bytes });
                }
                Next::End(why) => {
                    self.slots[name.slot as usize] = None;
                    return Some(LinkEvent::Closed { link: name, why });
                }
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Slots

    fn open(&mut self, name: LinkId) -> Option<&mut QuorumLink> {
        match self.slots.get_mut(name.slot as usize) {
            Some(Some(QuorumSlot::Link(link))) if link.name == name => Some(link),
            _ => None,
        }
    }

    /// A free slot, and a name that was never used.
    fn place(&mut self) -> Option<usize> {
        let at = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if at == self.slots.len() {
            if at == QUORUM_LINKS_MAX {
                return None;
            }
            self.slots.push(None);
            self.generations.push(0);
        }
        self.generations[at] = self.generations[at].wrapping_add(1);
        Some(at)
    }

    fn name(&self, slot: usize) -> LinkId {
        LinkId { slot: slot as u32, generation: self.generations[slot] }
    }

    fn look(&mut self, name: LinkId) {
        if let Some(link) = self.open(name)
            && !std::mem::replace(&mut link.is_queued, true)
        {
            self.reports.push_back(QuorumReport::Look(name));
        }
    }

    /// There may be more where something was just taken: it keeps its place in the order in which it came.
    fn look_first(&mut self, name: LinkId) {
        if let Some(link) = self.open(name) {
            link.is_queued = true;
            self.reports.push_front(QuorumReport::Look(name));
        }
    }

    /// Nothing more is taken from a connection, nor sent; it is told of behind what came before.
    fn end(&mut self, name: LinkId, why: String) {
        if let Some(link) = self.open(name) {
            log::info!("the connection with {} at the quorum port ends: {why}", link.address);
            link.ended(why);
            self.look(name);
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Sockets

    fn drive(&mut self, now: Millis, slot: usize) {
        let name = self.name(slot);
        let Some(Some(QuorumSlot::Dialling { to, dial })) = self.slots.get_mut(slot) else { return };
        let to = *to;
        match dial.drive(now, &mut self.names, slot, &self.registry, token(slot)) {
            DialProgress::Waiting => {}
            DialProgress::Failed(why) => {
                log::info!("server {to} cannot be reached at its quorum port: {why}");
                self.slots[slot] = None;
                self.reports.push_back(QuorumReport::DialFailed(to, why));
            }
            DialProgress::Connected(stream) => {
                self.slots[slot] = Some(QuorumSlot::Link(QuorumLink::ours(name, QuorumWire::new(stream))));
                self.reports.push_back(QuorumReport::Opened(name, true));
                self.read(now, slot);
            }
        }
    }

    fn admit(&mut self, now: Millis, mut wire: QuorumWire, address: SocketAddr) {
        let news = self.slots.iter().enumerate().filter_map(|(slot, used)| match used {
            Some(QuorumSlot::Link(link)) => link.until.map(|until| (slot, link.address, until)),
            _ => None,
        });
        let news: Vec<(usize, SocketAddr, Millis)> = news.collect();
        if news.len() >= NEW_MAX {
            // The oldest of the address that has most of them: a server that introduces itself at once is through by then.
            let of = |address: &SocketAddr| news.iter().filter(|(_, other, _)| other.ip() == address.ip()).count();
            let worst = news.iter().max_by_key(|(_, address, until)| (of(address), std::cmp::Reverse(*until)));
            if let Some((slot, ..)) = worst {
                self.slots[*slot] = None;
            }
        }
        let Some(slot) = self.place() else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.registry.register(wire.stream(), token(slot), interest).is_ok() {
            let until = now.plus(self.settings.first_ms);
            self.slots[slot] = Some(QuorumSlot::Link(QuorumLink::theirs(self.name(slot), wire, address, until)));
        }
    }

    fn read(&mut self, now: Millis, slot: usize) {
        let _ = now;
        let Some(Some(QuorumSlot::Link(link))) = self.slots.get_mut(slot) else { return };
        if !link.can_read() {
            return;
        }
        let name = link.name;
        let mut count = 0;
        while link.can_read() && count < READ_MAX {
            match link.wire.read(&mut self.scratch) {
                WireRead::Bytes(size) => {
                    link.take_in(&self.scratch[..size]);
                    count += size;
                }
                WireRead::Nothing => break,
                WireRead::Gone(why) => link.closes(why),
            }
        }
        if link.until.is_some() {
            self.introduce(slot);
        } else {
            self.look(name);
        }
    }

    /// Tells of an accepted connection once it has said who it is.
    fn introduce(&mut self, slot: usize) {
        let Some(Some(QuorumSlot::Link(link))) = self.slots.get_mut(slot) else { return };
        let why = match link.peek() {
            Ok(None) if !link.is_at_end() => return,
            Ok(None) => "it said nothing".to_owned(),
            Err(error) => error,
            Ok(Some(packet)) => match learner(&packet) {
                Err(why) => why,
                Ok(info) if !self.settings.takes_strangers && !self.settings.peers.contains_key(&info.server) => {
                    format!("it says that it is server {}, which is not in the configuration", info.server)
                }
                Ok(_) => {
                    let name = link.name;
                    link.until = None;
                    self.reports.push_back(QuorumReport::Opened(name, false));
                    return self.look(name);
                }
            },
        };
        log::warn!("{} is turned away at the quorum port: {why}", link.address);
        self.slots[slot] = None;
    }

    fn write(&mut self, name: LinkId) {
        let Some(link) = self.open(name) else { return };
        link.is_unflushed = false;
        if let Err(why) = link.output.write(&mut link.wire) {
            self.end(name, why);
        }
    }
}

/// What a connection says first.
fn learner(packet: &QuorumPacket) -> Result<LearnerInfo, String> {
    match packet.kind {
        PacketType::FOLLOWERINFO | PacketType::OBSERVERINFO => {
            LearnerInfo::decode(packet.data()).map_err(|error| error.to_string())
        }
        kind => Err(format!("it begins with {kind}")),
    }
}

fn token(slot: usize) -> Token {
    Token(QUORUM_LINKS + slot)
}
