//! The other members of the ensemble: what comes from them to our member.

use super::Peer;
use super::ballots::BallotEvent;
use super::hosting::Hosting;
use super::quorum_links::LinkEvent;
use crate::Error;
use crate::ids::Millis;
use crate::zab;

impl Peer {
    /// Takes in what other members have sent, before anything of clients: touches before expiry, and a leader that was
    /// stopped for a while finds out first.
    pub(super) fn serve_members(&mut self, now: Millis) -> Result<(), Error> {
        let Peer { member, locals, started, network, .. } = self;
        let mut hosting = Hosting { locals, started: *started, network: network.as_mut() };
        if hosting.network.is_none() {
            return Ok(());
        }
        member.wake(&mut hosting)?;
        if let Some(network) = &mut hosting.network {
            network.ballots.turn(now)?;
            network.links.turn(now)?;
        }
        while let Some(event) = hosting.network.as_mut().and_then(|network| network.ballots.poll()) {
            let event = match event {
                BallotEvent::Notification { from, notification } => zab::ZabEvent::Ballot { from, notification },
                BallotEvent::Link { peer, is_up } => zab::ZabEvent::BallotLink { peer, is_up },
            };
            member.handle(&mut hosting, event)?;
        }
        while let Some(event) = hosting.network.as_mut().and_then(|network| network.links.poll()) {
            let event = match event {
                LinkEvent::Opened { link, is_ours } => zab::ZabEvent::Opened { link, is_ours },
                LinkEvent::DialFailed { to, why } => {
                    log::info!("server {to} cannot be reached at its quorum port: {why}");
                    zab::ZabEvent::DialFailed
                }
                LinkEvent::Packet { link, packet } => zab::ZabEvent::Packet { link, packet },
                LinkEvent::Raw { link, bytes } => {
                    member.raw(&mut hosting, link, &bytes)?;
                    continue;
                }
                LinkEvent::Closed { link, why } => {
                    log::info!("a connection of the quorum port has ended: {why}");
                    zab::ZabEvent::Closed { link }
                }
            };
            member.handle(&mut hosting, event)?;
        }
        Ok(())
    }
}
