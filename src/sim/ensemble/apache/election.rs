//! `FastLeaderElection`: its order of votes, its two tables, its timers, as they are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Act, JavaOwn};
use crate::ids::{ServerId, Zxid};
use crate::records::peer::{Notification, PeerState};

/// `finalizeWait` and the first resend, µs; the longest wait for a resend.
const LINGER_US: u64 = 200_000;
const RESEND_US: u64 = 200_000;
const RESEND_MAX_US: u64 = 60_000_000;
/// What who does not vote says in place of a server, a zxid and an epoch.
const NOBODY: i64 = i64::MIN;

/// Whom a server votes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JavaVote {
    pub leader: ServerId,
    pub zxid: Zxid,
    pub epoch: i64,
}

impl JavaVote {
    pub(super) fn own(own: &JavaOwn) -> JavaVote {
        if !own.votes() {
            return JavaVote { leader: ServerId(NOBODY as u64), zxid: Zxid(NOBODY), epoch: NOBODY };
        }
        JavaVote { leader: own.settings.me, zxid: own.memory.last, epoch: own.disk.epochs.1 as i64 }
    }

    fn of(told: &Notification) -> JavaVote {
        JavaVote { leader: told.leader, zxid: told.zxid, epoch: told.peer_epoch }
    }

    fn beats(&self, other: &JavaVote) -> bool {
        (self.epoch, self.zxid, self.leader.0 as i64) > (other.epoch, other.zxid, other.leader.0 as i64)
    }

    pub(super) fn told(&self, state: PeerState, round: i64) -> Notification {
        let JavaVote { leader, zxid, epoch } = *self;
        Notification { state, leader, zxid, round, peer_epoch: epoch, version: 2, config: Arc::from("version=0") }
    }
}

/// A vote that came: its round and the state of the server that sent it.
#[derive(Clone, Copy, Debug)]
struct HeardVote {
    vote: JavaVote,
    round: i64,
    state: PeerState,
}

impl HeardVote {
    fn is_same(&self, other: &HeardVote) -> bool {
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            return self.vote == other.vote && self.round == other.round;
        }
        (self.vote.leader, self.vote.epoch) == (other.vote.leader, other.vote.epoch)
    }
}

/// The votes of one server that is LOOKING.
pub(super) struct JavaElection {
    proposal: JavaVote,
    votes: BTreeMap<ServerId, HeardVote>,
    settled: BTreeMap<ServerId, HeardVote>,
    wait_us: u64,
    resend_at: u64,
    /// A quorum agrees: it is over when nothing comes until then.
    lingers_until: Option<u64>,
    /// What it has told itself.
    loopback: VecDeque<Notification>,
}

impl Default for JavaElection {
    fn default() -> JavaElection {
        JavaElection {
            proposal: JavaVote { leader: ServerId(0), zxid: Zxid::ZERO, epoch: 0 },
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            wait_us: RESEND_US,
            resend_at: 0,
            lingers_until: None,
            loopback: VecDeque::new(),
        }
    }
}

impl JavaElection {
    pub(super) fn begin(&mut self, own: &mut JavaOwn, round: &mut i64) -> Option<JavaVote> {
        *round += 1;
        self.proposal = JavaVote::own(own);
        self.resend_at = own.now + self.wait_us;
        self.tells_all(own, *round);
        self.loops(own, round)
    }

    pub(super) fn notification(&self, round: i64) -> Notification {
        self.proposal.told(PeerState::Looking, round)
    }

    pub(super) fn due(&self) -> u64 {
        self.lingers_until.unwrap_or(self.resend_at)
    }

    fn tells_all(&mut self, own: &mut JavaOwn, round: i64) {
        let told = self.notification(round);
        for voter in own.settings.voters.clone() {
            match voter == own.settings.me {
                true => self.loopback.push_back(told.clone()),
                false => own.acts.push_back(Act::Ballot(voter, told.clone())),
            }
        }
    }

    pub(super) fn wake(
        &mut self,
        own: &mut JavaOwn,
        round: &mut i64,
        undelivered: &BTreeMap<ServerId, Option<Notification>>,
    ) -> Option<JavaVote> {
        if let Some(until) = self.lingers_until {
            return (own.now >= until).then_some(self.proposal);
        }
        if own.now < self.resend_at {
            return None;
        }
        match undelivered.is_empty() || undelivered.values().any(Option::is_none) {
            true => self.tells_all(own, *round),
            false => own.acts.push_back(Act::DialVoices),
        }
        self.wait_us = (2 * self.wait_us).min(RESEND_MAX_US);
        self.resend_at = own.now + self.wait_us;
        self.loops(own, round)
    }

    pub(super) fn hears(
        &mut self,
        own: &mut JavaOwn,
        round: &mut i64,
        from: ServerId,
        told: Notification,
    ) -> Option<JavaVote> {
        self.takes(own, round, from, &told).or_else(|| self.loops(own, round))
    }

    fn loops(&mut self, own: &mut JavaOwn, round: &mut i64) -> Option<JavaVote> {
        let me = own.settings.me;
        while let Some(told) = self.loopback.pop_front() {
            if let Some(vote) = self.takes(own, round, me, &told) {
                return Some(vote);
            }
        }
        None
    }

    fn takes(&mut self, own: &mut JavaOwn, round: &mut i64, from: ServerId, told: &Notification) -> Option<JavaVote> {
        let (vote, state) = (JavaVote::of(told), told.state);
        if !own.settings.voters.contains(&vote.leader) || !own.settings.voters.contains(&from) {
            return None;
        }
        if let Some(until) = &mut self.lingers_until {
            if !vote.beats(&self.proposal) {
                *until = own.now + LINGER_US;
                return None;
            }
            self.lingers_until = None;
        }
        let heard = HeardVote { vote, round: told.round, state };
        match state {
            PeerState::Looking => {
                if told.zxid == Zxid(-1) || told.round < *round {
                    return None;
                }
                if told.round > *round {
                    *round = told.round;
                    self.votes.clear();
                    let mine = JavaVote::own(own);
                    self.proposal = if vote.beats(&mine) { vote } else { mine };
                    self.tells_all(own, *round);
                } else if vote.beats(&self.proposal) {
                    self.proposal = vote;
                    self.tells_all(own, *round);
                }
                self.votes.insert(from, heard);
                let mine = HeardVote { vote: self.proposal, round: *round, state: PeerState::Looking };
                if is_quorum(own, &self.votes, &mine) {
                    self.lingers_until = Some(own.now + LINGER_US);
                }
                None
            }
            PeerState::Observing => None,
            PeerState::Following | PeerState::Leading => {
                if told.round == *round {
                    self.votes.insert(from, heard);
                    if is_quorum(own, &self.votes, &heard) && leads(own, &self.votes, &heard, *round) {
                        return Some(vote);
                    }
                }
                self.settled.insert(from, heard);
                if is_quorum(own, &self.settled, &heard) && leads(own, &self.settled, &heard, *round) {
                    *round = told.round;
                    return Some(vote);
                }
                None
            }
        }
    }
}

fn is_quorum(own: &JavaOwn, votes: &BTreeMap<ServerId, HeardVote>, vote: &HeardVote) -> bool {
    own.is_quorum(|voter| votes.get(&voter).is_some_and(|heard| heard.is_same(vote)))
}

/// Whether the one who is voted for says that it leads.
fn leads(own: &JavaOwn, votes: &BTreeMap<ServerId, HeardVote>, vote: &HeardVote, round: i64) -> bool {
    if vote.vote.leader == own.settings.me {
        return round == vote.round;
    }
    votes.get(&vote.vote.leader).is_some_and(|heard| heard.state == PeerState::Leading)
}
