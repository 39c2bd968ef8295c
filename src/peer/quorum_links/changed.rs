//! The configuration has changed: other members, other addresses.

use std::collections::BTreeMap;

use super::QuorumLinks;
use crate::ids::ServerId;
use crate::peer::door::Door;
use crate::peer::place::HostPort;
use crate::peer::tokens::QUORUM;

impl QuorumLinks {
    /// Listens at `listen` from now on, and dials these members at these places. Connections stay: whether one has to go is not
    /// decided here.
    pub fn change(&mut self, listen: Vec<HostPort>, mut peers: BTreeMap<ServerId, Vec<HostPort>>) {
        peers.remove(&self.settings.me);
        if listen != self.settings.listen {
            let places: Vec<String> = listen.iter().map(HostPort::to_string).collect();
            log::info!("the quorum port is at {} from now on", places.join(", "));
            // What listens there is closed first: the port may be the same. It is tried until it works.
            self.door = Door::moved("quorum port", QUORUM, &listen);
        }
        self.settings.listen = listen;
        self.settings.peers = peers;
    }
}
