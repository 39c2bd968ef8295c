//! What a member asks of the loop while it works.

use std::time::{Instant, SystemTime};

use super::local::Locals;
use super::network::Network;
use crate::Error;
use crate::engine::Engine;
use crate::ids::{LinkId, Millis, ServerId, WallMillis};
use crate::member::{Host, MemberFailure};
use crate::records::peer::{Notification, QuorumPacket};
use crate::zab::{ConfigChange, Configs};

/// The parts of a peer that its member needs while it works.
pub(super) struct Hosting<'p> {
    /// Clients in this process.
    pub locals: &'p mut Locals,
    /// Since when time is counted.
    pub started: Instant,
    /// The sockets of an ensemble.
    pub network: Option<&'p mut Network>,
}

impl Host for Hosting<'_> {
    fn time(&self) -> (Millis, WallMillis) {
        time(self.started)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn tell(&mut self, engine: &mut Engine) {
        if !self.locals.is_empty() {
            self.locals.tell(engine);
        }
    }

    fn ballot(&mut self, to: ServerId, notification: &Notification) {
        let (now, _) = self.time();
        if let Some(network) = &mut self.network {
            network.ballots.send(now, to, notification);
        }
    }

    fn link_ballots(&mut self, peers: &[ServerId]) {
        let (now, _) = self.time();
        if let Some(network) = &mut self.network {
            network.ballots.link(now, peers);
        }
    }

    fn dial(&mut self, to: ServerId) {
        let (now, _) = self.time();
        if let Some(network) = &mut self.network {
            network.links.dial(now, to);
        }
    }

    fn send(&mut self, link: LinkId, packet: &QuorumPacket) {
        if let Some(network) = &mut self.network {
            network.links.send(link, packet);
        }
    }

    fn send_raw(&mut self, link: LinkId, bytes: Vec<u8>) {
        if let Some(network) = &mut self.network {
            network.links.send_raw(link, bytes);
        }
    }

    fn output_len(&self, link: LinkId) -> usize {
        self.network.as_ref().map_or(0, |network| network.links.output_len(link))
    }

    fn close(&mut self, link: LinkId) {
        if let Some(network) = &mut self.network {
            network.links.close(link);
        }
    }

    fn hear(&mut self, link: LinkId) {
        if let Some(network) = &mut self.network {
            network.links.hear(link);
        }
    }

    fn heard(&mut self, link: LinkId, rest: &[u8]) {
        if let Some(network) = &mut self.network {
            network.links.heard(link, rest);
        }
    }

    fn configured(&mut self, configs: &Configs, change: ConfigChange) {
        let (now, _) = self.time();
        if let Some(network) = &mut self.network {
            network.configured(now, configs, change);
        }
    }

    fn flush(&mut self) {
        if let Some(network) = &mut self.network {
            network.links.flush();
        }
    }
}

/// The time since `started`, and on the wall clock.
pub(super) fn time(started: Instant) -> (Millis, WallMillis) {
    let now = Millis(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    let wall = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(_) => 0,
    };
    (now, WallMillis(wall))
}

impl From<MemberFailure> for Error {
    fn from(failure: MemberFailure) -> Error {
        match failure {
            MemberFailure::Store(error) => error.into(),
            MemberFailure::Damage(damage) => Error::Damage(damage.0),
        }
    }
}
