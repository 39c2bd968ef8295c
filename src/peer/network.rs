//! The sockets of an ensemble: the election port's and the quorum port's.

use std::sync::Arc;

use mio::event::Event;
use mio::{Registry, Waker};

use super::ballots::Ballots;
use super::ensemble;
use super::quorum_links::QuorumLinks;
use crate::Error;
use crate::config::Config;
use crate::ids::Millis;
use crate::records::membership::Membership;
use crate::zab::{ConfigChange, Configs};

/// The sockets of the election and of the quorum port.
pub(super) struct Network {
    pub ballots: Ballots,
    pub links: QuorumLinks,
    /// As the members are now: who and where.
    config: Config,
    /// The configuration that came into force since the loop last looked.
    activated: Option<Membership>,
}

impl Network {
    /// Listens at both ports.
    ///
    /// # Errors
    /// [`Error`] when that cannot be.
    pub(super) fn open(config: &Config, registry: &Registry, waker: &Arc<Waker>) -> Result<Network, Error> {
        Ok(Network {
            ballots: Ballots::new(ensemble::election_settings(config)?, registry, Arc::clone(waker))?,
            links: QuorumLinks::new(ensemble::quorum_settings(config)?, registry, Arc::clone(waker))?,
            config: config.clone(),
            activated: None,
        })
    }

    /// The members have changed, or are about to: from now on others are reached at their new places. What came into force is
    /// where this server listens.
    pub(super) fn configured(&mut self, now: Millis, configs: &Configs, change: ConfigChange) {
        if let ConfigChange::Activated { .. } = change {
            ensemble::adopt(&mut self.config, &configs.committed);
            self.activated = Some(configs.committed.clone());
        }
        let (election, quorum) = ensemble::others_of(configs, self.config.server_id);
        // A server that has no line any more stays where it is.
        let settings = (ensemble::election_settings(&self.config), ensemble::quorum_settings(&self.config));
        let (Ok(ballots), Ok(links)) = settings else { return };
        self.ballots.change(now, ballots.listen, ballots.announced, election);
        self.links.change(links.listen, quorum);
    }

    /// The configuration that came into force since this was last asked.
    pub(super) fn take_activated(&mut self) -> Option<Membership> {
        self.activated.take()
    }

    /// From now on nothing comes from other members and nothing gets to them, as where a cable is pulled; or it does again, over
    /// new connections.
    pub(super) fn cut_off(&mut self, now: Millis, is_cut_off: bool) {
        self.ballots.cut_off(now, is_cut_off);
        self.links.cut_off(is_cut_off);
    }

    /// Ends all connections with other members, and keeps out of their way until it is not [cut off](Network::cut_off) any more.
    pub(super) fn withdraw(&mut self, now: Millis) {
        self.ballots.end_all(now);
        self.links.end_all();
        self.cut_off(now, true);
    }

    /// A socket has something to tell; false when the event is not of ours.
    pub(super) fn event(&mut self, event: &Event) -> bool {
        if Ballots::owns(event.token()) {
            self.ballots.event(event);
            return true;
        }
        if QuorumLinks::owns(event.token()) {
            self.links.event(event);
            return true;
        }
        false
    }

    /// When a turn is wanted though no event comes.
    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.ballots.poll_timeout().into_iter().chain(self.links.poll_timeout()).min()
    }
}
