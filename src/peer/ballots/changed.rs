//! The configuration has changed: other members, other addresses.

use std::collections::BTreeMap;

use super::Ballots;
use crate::ids::{Millis, ServerId};
use crate::peer::door::Door;
use crate::peer::place::HostPort;
use crate::peer::tokens::ELECTION;

impl Ballots {
    /// Listens at `listen` and tells others `announced` from now on, and goes by these other members. Connections stay, but for
    /// those with servers that are no members any more.
    pub fn change(
        &mut self,
        now: Millis,
        listen: Vec<HostPort>,
        announced: Vec<HostPort>,
        mut peers: BTreeMap<ServerId, Vec<HostPort>>,
    ) {
        peers.remove(&self.settings.me);
        if listen != self.settings.listen {
            let places: Vec<String> = listen.iter().map(HostPort::to_string).collect();
            log::info!("the election port is at {} from now on", places.join(", "));
            // What listens there is closed first: the port may be the same. It is tried until it works: a server that ended over it
            // would take its vote with it.
            self.door = Door::moved("election port", ELECTION, &listen);
        }
        (self.settings.listen, self.settings.announced) = (listen, announced);
        let gone: Vec<ServerId> = self.peers.keys().copied().filter(|id| !peers.contains_key(id)).collect();
        for id in gone {
            let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_stranger()) else { continue };
            peer.places.clear();
            peer.is_wanted = false;
            let (link, dial) = (peer.link, peer.dial.take());
            if let Some(slot) = dial {
                self.free(slot);
            }
            match link {
                Some(slot) => self.lost(now, slot, id, "it is no member any more", 0),
                None => self.forget_stranger(id),
            }
        }
        for (id, places) in &peers {
            let peer = self.peers.entry(*id).or_default();
            if peer.places != *places {
                peer.places.clone_from(places);
                // What it said of itself was of the place where it was.
                peer.announced.clear();
                (peer.failures, peer.redial_at) = (0, now);
            }
        }
        self.settings.peers = peers;
    }
}
