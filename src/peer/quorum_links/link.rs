//! One connection of the quorum port: what came and was not asked for yet, and what is to be sent.

use std::net::SocketAddr;

use super::output::LinkOutput;
use crate::ids::{LinkId, Millis};
use crate::peer::wire::QuorumWire;
use crate::records::peer::{PacketType, QuorumPacket};

/// Bytes of one packet of a connection that has not been accepted as a learner yet, at most.
const EARLY_SIZE_MAX: usize = 1 << 10;
/// Packets that a learner sends before it is accepted: its introduction and its epoch.
const EARLY: u32 = 2;
/// Bytes of one packet, at most: data of the largest request, and the identities of its client.
const PACKET_SIZE_MAX: usize = 4 << 20;
/// Bytes that came and were not asked for, from which on nothing more is read.
const INPUT_MAX: usize = PACKET_SIZE_MAX;
/// Room for input that is kept although nothing is in it.
const INPUT_KEPT: usize = 256 << 10;

/// How what comes is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkInput {
    /// As packets.
    Packets,
    /// Not at all: behind a SNAP, until somebody hears it.
    Held,
    /// As the stream of a state.
    Raw,
}

/// What a connection has to tell.
#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    Packet(QuorumPacket),
    Raw(Vec<u8>),
    End(String),
}

#[derive(Debug)]
pub(super) struct QuorumLink {
    pub(super) name: LinkId,
    pub(super) wire: QuorumWire,
    /// The other end, for the log.
    pub(super) address: SocketAddr,
    is_ours: bool,
    /// When it must have introduced itself; `None` once it has.
    pub(super) until: Option<Millis>,
    pub(super) input: LinkInput,
    /// What came; what was asked for is in front of `begin`.
    bytes: Vec<u8>,
    begin: usize,
    /// Packets taken.
    packets: u32,
    pub(super) output: LinkOutput,
    /// Why nothing more will come.
    end: Option<String>,
    /// It is in the line of links that may have an event to report.
    pub(super) is_queued: bool,
    /// It is in the line of those who have something to send.
    pub(super) is_unflushed: bool,
}

impl QuorumLink {
    /// One that we dialled.
    pub(super) fn ours(name: LinkId, mut wire: QuorumWire) -> QuorumLink {
        let address = wire.stream().peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        QuorumLink {
            name,
            wire,
            address,
            is_ours: true,
            until: None,
            input: LinkInput::Packets,
            bytes: Vec::new(),
            begin: 0,
            packets: 0,
            output: LinkOutput::default(),
            end: None,
            is_queued: false,
            is_unflushed: false,
        }
    }

    /// One that was accepted.
    pub(super) fn theirs(name: LinkId, wire: QuorumWire, address: SocketAddr, until: Millis) -> QuorumLink {
        QuorumLink { is_ours: false, until: Some(until), address, ..QuorumLink::ours(name, wire) }
    }

    pub(super) fn is_late(&self, now: Millis) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Whether there may be something to read, and room for it.
    pub(super) fn can_read(&self) -> bool {
        self.wire.is_readable() && self.end.is_none() && self.bytes.len() - self.begin < INPUT_MAX
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.end.is_some()
    }

    /// Bytes came.
    pub(super) fn take_in(&mut self, bytes: &[u8]) {
        if self.begin > 0 {
            self.bytes.drain(..self.begin);
            self.begin = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that were handed out come first again.
    pub(super) fn put_back(&mut self, rest: &[u8]) {
        self.bytes.splice(..self.begin, rest.iter().copied());
        self.begin = 0;
    }

    /// The other end sends nothing more.
    pub(super) fn closes(&mut self, why: String) {
        self.end.get_or_insert(why);
    }

    /// It is broken: what came and was not asked for does not count.
    pub(super) fn ended(&mut self, why: String) {
        self.end = Some(why);
        (self.bytes, self.begin) = (Vec::new(), 0);
        self.output = LinkOutput::default();
    }

    fn size_max(&self) -> usize {
        if !self.is_ours && self.packets < EARLY { EARLY_SIZE_MAX } else { PACKET_SIZE_MAX }
    }

    /// The packet in front, and its size.
    fn decode(&self) -> Result<Option<(QuorumPacket, usize)>, String> {
        let (input, size_max) = (&self.bytes[self.begin..], self.size_max());
        match QuorumPacket::decode(input, size_max).map_err(|error| error.to_string())? {
            Some((packet, size)) if size <= size_max => Ok(Some((packet, size))),
            None if input.len() < size_max => Ok(None),
            _ => Err(format!("a packet of more than {size_max} bytes")),
        }
    }

    /// The packet in front, which stays there.
    pub(super) fn peek(&self) -> Result<Option<QuorumPacket>, String> {
        Ok(self.decode()?.map(|(packet, _)| packet))
    }

    /// Takes the next thing that came.
    pub(super) fn next(&mut self) -> Next {
        let is_empty = self.begin == self.bytes.len();
        match self.input {
            LinkInput::Raw if !is_empty => {
                let mut bytes = std::mem::take(&mut self.bytes);
                bytes.drain(..std::mem::take(&mut self.begin));
                return Next::Raw(bytes);
            }
            LinkInput::Packets if !is_empty => match self.decode() {
                Ok(None) => {}
                Ok(Some((packet, size))) => {
                    self.took(size);
                    if self.is_ours && packet.kind == PacketType::SNAP {
                        self.input = LinkInput::Held;
                    }
                    return Next::Packet(packet);
                }
                Err(why) => return Next::End(why),
            },
            LinkInput::Held => return Next::Nothing,
            LinkInput::Raw | LinkInput::Packets => {}
        }
        match self.end.take() {
            Some(why) => Next::End(why),
            None => Next::Nothing,
        }
    }

    fn took(&mut self, size: usize) {
        self.begin += size;
        self.packets = self.packets.saturating_add(1);
        if self.begin == self.bytes.len() {
            self.bytes.clear();
            self.begin = 0;
            self.bytes.shrink_to(INPUT_KEPT);
        }
    }
}
