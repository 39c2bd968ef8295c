//! What a member asks of its host while it works, written down and carried out afterwards, in order.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::ids::{LinkId, Millis, ServerId, WallMillis};
use crate::member::Host;
use crate::records::peer::{Notification, QuorumPacket};
use crate::zab::{ConfigChange, Configs};

/// One thing that was asked for.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Ballot(ServerId, Notification),
    LinkBallots(Vec<ServerId>),
    Dial(ServerId),
    Send(LinkId, QuorumPacket),
    Raw(LinkId, Vec<u8>),
    Close(LinkId),
    Hear(LinkId),
    Heard(LinkId, Vec<u8>),
    Configured(ConfigChange),
}

/// The host of one call.
pub(super) struct DeedHost {
    now: Millis,
    wall: WallMillis,
    us: Cell<u64>,
    /// Bytes that wait to be sent, by connection.
    outputs: BTreeMap<LinkId, usize>,
    pub deeds: Vec<Deed>,
}

impl DeedHost {
    pub(super) fn new(now_us: u64, wall: WallMillis, outputs: BTreeMap<LinkId, usize>) -> DeedHost {
        DeedHost { now: Millis(now_us / 1000), wall, us: Cell::new(now_us), outputs, deeds: Vec::new() }
    }

    fn grows(&mut self, link: LinkId, bytes: usize) {
        *self.outputs.entry(link).or_default() += bytes;
    }
}

impl Host for DeedHost {
    fn time(&self) -> (Millis, WallMillis) {
        (self.now, self.wall)
    }

    /// Each look takes a moment, so that slices of work come to their ends.
    fn now_us(&self) -> u64 {
        self.us.set(self.us.get() + 40);
        self.us.get()
    }

    fn tell(&mut self, _engine: &mut Engine) {}

    fn ballot(&mut self, to: ServerId, notification: &Notification) {
        self.deeds.push(Deed::Ballot(to, notification.clone()));
    }

    fn link_ballots(&mut self, peers: &[ServerId]) {
        self.deeds.push(Deed::LinkBallots(peers.to_vec()));
    }

    fn dial(&mut self, to: ServerId) {
        self.deeds.push(Deed::Dial(to));
    }

    fn send(&mut self, link: LinkId, packet: &QuorumPacket) {
        self.grows(link, 24 + packet.data().len());
        self.deeds.push(Deed::Send(link, packet.clone()));
    }

    fn send_raw(&mut self, link: LinkId, bytes: Vec<u8>) {
        self.grows(link, bytes.len());
        self.deeds.push(Deed::Raw(link, bytes));
    }

    fn output_len(&self, link: LinkId) -> usize {
        self.outputs.get(&link).copied().unwrap_or(0)
    }

    fn close(&mut self, link: LinkId) {
        self.deeds.push(Deed::Close(link));
    }

    fn configured(&mut self, _configs: &Configs, change: ConfigChange) {
        self.deeds.push(Deed::Configured(change));
    }

    fn hear(&mut self, link: LinkId) {
        self.deeds.push(Deed::Hear(link));
    }

    fn heard(&mut self, link: LinkId, rest: &[u8]) {
        self.deeds.push(Deed::Heard(link, rest.to_vec()));
    }
}
