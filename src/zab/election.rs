//! Fast Leader Election: from votes to one leader. Reads no clock and sends nothing itself.
//!
//! ZooKeeper's `FastLeaderElection` with three differences that its servers cannot tell from luck: re-sending backs off to a
//! second and not to a minute; a candidate is adopted only if it was heard itself, so that nobody votes for a leader it
//! cannot reach; and an election ends without the last wait when every voter that can be reached agrees.

use std::collections::{BTreeMap, BTreeSet};

use super::quorum::Quorums;
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, ServerId, Zxid};
use crate::records::peer::{Notification, PeerState};

/// The candidate of a member without a vote; also its zxid and epoch.
const NOBODY: i64 = i64::MIN;
/// How long a quorum's candidate may still be beaten, ms (`finalizeWait`).
const LINGER_MS: u64 = 200;
/// The first wait for answers, ms (`fastleader.minNotificationInterval`).
const RESEND_MIN_MS: u64 = 200;

/// The longest wait for answers, ms, where a tick takes so long.
pub fn wait_max_ms(tick_ms: u64) -> u64 {
    (2 * tick_ms).max(1_000)
}

/// A candidate, and how good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// Who should lead.
    pub leader: ServerId,
    /// Its last zxid.
    pub zxid: Zxid,
    /// Its current epoch.
    pub peer_epoch: i64,
}

impl Vote {
    /// What a member without a vote begins with. Nothing is worse.
    pub fn nobody() -> Vote {
        Vote { leader: ServerId(NOBODY as u64), zxid: Zxid(NOBODY), peer_epoch: NOBODY }
    }

    /// Whether this candidate is the better one: by epoch first, because whoever adopted a newer leader's history beats a
    /// longer one that was abandoned.
    fn beats(&self, other: &Vote, quorums: &Quorums) -> bool {
        let is_blind = failpoint::on(Failpoint::EpochNotCompared);
        let epoch = |vote: &Vote| if is_blind { 0 } else { vote.peer_epoch };
        let rank = |vote: &Vote| (epoch(vote), vote.zxid, vote.leader.0 as i64);
        quorums.weight(self.leader) > 0 && rank(self) > rank(other)
    }
}

/// A voter's vote as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ballot {
    vote: Vote,
    round: i64,
    state: PeerState,
    version: i32,
}

impl Ballot {
    /// Whether two votes are for the same thing. Members of a working ensemble may differ in zxid and round.
    fn agrees(&self, other: &Ballot) -> bool {
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            return self.vote == other.vote && self.round == other.round;
        }
        let one_is_old = (self.version == 0) != (other.version == 0);
        self.vote.leader == other.vote.leader && (one_is_old || self.vote.peer_epoch == other.vote.peer_epoch)
    }
}

/// What an election asks for after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Nothing.
    Nothing,
    /// Tell every voter the present proposal.
    TellAll,
    /// Tell this one.
    Tell(ServerId),
    /// Tell every voter, and dial those that are not connected.
    TellAndDial,
    /// The election has ended with this vote.
    Decided(Vote),
}

/// One member's part in elections; lives as long as the process, because rounds must grow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LeaderElection {
    me: ServerId,
    round: i64,
    /// Our own candidacy of this election.
    own: Vote,
    proposal: Vote,
    /// Votes of this round.
    votes: BTreeMap<ServerId, Ballot>,
    /// Votes of those that follow or lead, whatever their round.
    settled: BTreeMap<ServerId, Ballot>,
    /// Whom we heard in this election.
    heard: BTreeSet<ServerId>,
    /// Who could not be reached in this election.
    unreachable: BTreeSet<ServerId>,
    wait_ms: u64,
    /// The longest wait, ms.
    wait_max_ms: u64,
    resend_at: Millis,
    /// When the candidate of a quorum has won, unless it is beaten.
    wins_at: Option<Millis>,
    /// When a candidate that is not us is given up for want of a quorum.
    gives_up_at: Millis,
}

impl LeaderElection {
    /// Before the first election. `tick_ms` decides how long the longest wait for answers is.
    pub(super) fn new(me: ServerId, tick_ms: u64) -> LeaderElection {
        LeaderElection {
            me,
            round: 0,
            own: Vote::nobody(),
            proposal: Vote::nobody(),
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            heard: BTreeSet::new(),
            unreachable: BTreeSet::new(),
            wait_ms: RESEND_MIN_MS,
            wait_max_ms: wait_max_ms(tick_ms),
            resend_at: Millis(0),
            wins_at: None,
            gives_up_at: Millis(0),
        }
    }

    /// Begins an election with this candidacy of our own.
    pub(super) fn begin(&mut self, now: Millis, own: Vote, quorums: &Quorums) -> Ask {
        self.own = own;
        self.settled.clear();
        self.heard.clear();
        self.unreachable.clear();
        self.wait_ms = RESEND_MIN_MS;
        self.next_round(now, self.round + 1);
        self.propose(own);
        if quorums.is_quorum_of(|voter| voter == self.me) {
            self.wins_at = Some(now);
        }
        Ask::TellAndDial
    }

    fn next_round(&mut self, now: Millis, round: i64) {
        self.round = round;
        self.votes.clear();
        self.wins_at = None;
        self.resend_at = now.plus(self.jittered(self.wait_ms));
        self.gives_up_at = now.plus(self.jittered(4 * self.wait_max_ms));
    }

    /// Ours is a vote like any other.
    fn propose(&mut self, vote: Vote) {
        self.proposal = vote;
        self.wins_at = None;
        if self.own != Vote::nobody() {
            let ballot = Ballot { vote, round: self.round, state: PeerState::Looking, version: 2 };
            self.votes.insert(self.me, ballot);
        }
    }

    /// Up to a tenth more, so that members that began together do not go on together. From what is known here only: one
    /// history of events gives one trace.
    fn jittered(&self, ms: u64) -> u64 {
        let mixed = (self.me.0 ^ (self.round as u64) << 8 ^ ms << 24).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ms + (mixed >> 32) % (ms / 10 + 1)
    }

    /// The round, for notifications.
    pub(super) fn round(&self) -> i64 {
        self.round
    }

    /// What we propose, for notifications.
    pub(super) fn proposal(&self) -> Vote {
        self.proposal
    }

    /// When to call [`LeaderElection::timeout`].
    pub(super) fn poll_timeout(&self) -> Millis {
        self.wins_at.unwrap_or_else(|| self.resend_at.min(self.gives_up_at))
    }

    /// An election connection is there, or cannot be had.
    pub(super) fn link(&mut self, now: Millis, peer: ServerId, is_up: bool, quorums: &Quorums) -> Ask {
        if is_up {
            self.unreachable.remove(&peer);
            return Ask::Tell(peer);
        }
        self.unreachable.insert(peer);
        self.heard.remove(&peer);
        self.votes.remove(&peer);
        self.settled.remove(&peer);
        if peer == self.proposal.leader {
            // It died, or we were cut off: others may still vote for it, but we cannot follow it.
            self.next_round(now, self.round + 1);
            self.propose(self.own);
            return Ask::TellAll;
        }
        // There may be nobody left to wait for.
        self.count(now, quorums)
    }

    /// Time has passed.
    pub(super) fn timeout(&mut self, now: Millis) -> Ask {
        if let Some(at) = self.wins_at {
            return if now >= at { Ask::Decided(self.proposal) } else { Ask::Nothing };
        }
        if now >= self.gives_up_at && self.proposal.leader != self.own.leader {
            self.heard.clear();
            self.next_round(now, self.round + 1);
            self.propose(self.own);
            return Ask::TellAndDial;
        }
        if now >= self.gives_up_at {
            self.gives_up_at = now.plus(self.jittered(4 * self.wait_max_ms));
        }
        if now < self.resend_at {
            return Ask::Nothing;
        }
        self.wait_ms = (self.wait_ms * 2).min(self.wait_max_ms);
        self.resend_at = now.plus(self.jittered(self.wait_ms));
        Ask::TellAndDial
    }

    /// A voter's notification. Those of others must not come here: they are answered and not counted (S-11).
    pub(super) fn ballot(&mut self, now: Millis, from: ServerId, ballot: &Notification, quorums: &Quorums) -> Ask {
        self.unreachable.remove(&from);
        self.heard.insert(from);
        let vote = Vote { leader: ballot.leader, zxid: ballot.zxid, peer_epoch: ballot.peer_epoch };
        let stored = Ballot { vote, round: ballot.round, state: ballot.state, version: ballot.version };
        if !quorums.is_voter(ballot.leader) {
            // It knows of nobody yet, but we may tell it.
            return if ballot.state == PeerState::Looking && ballot.round < self.round {
                Ask::Tell(from)
            } else {
                Ask::Nothing
            };
        }
        match ballot.state {
            PeerState::Looking => self.looking(now, from, stored, quorums),
            PeerState::Following | PeerState::Leading => self.settled(from, stored, quorums),
            PeerState::Observing => Ask::Nothing,
        }
    }

    fn looking(&mut self, now: Millis, from: ServerId, ballot: Ballot, quorums: &Quorums) -> Ask {
        // A member that does not know what it has neither wins nor counts.
        if ballot.vote.zxid == Zxid(-1) || self.own.zxid == Zxid(-1) {
            return Ask::Nothing;
        }
        let can_follow = ballot.vote.leader == self.me || self.heard.contains(&ballot.vote.leader);
        let mut ask = Ask::Nothing;
        if ballot.round > self.round {
            self.next_round(now, ballot.round);
            let better = can_follow && ballot.vote.beats(&self.own, quorums);
            self.propose(if better { ballot.vote } else { self.own });
            ask = Ask::TellAll;
        } else if ballot.round < self.round {
            return Ask::Tell(from);
        } else if can_follow && ballot.vote.beats(&self.proposal, quorums) {
            self.propose(ballot.vote);
            ask = Ask::TellAll;
        }
        self.votes.insert(from, ballot);
        match self.count(now, quorums) {
            Ask::Nothing => ask,
            // Others must learn what we decided for before they hear that we follow.
            Ask::Decided(_) if ask == Ask::TellAll => {
                self.wins_at = Some(now);
                Ask::TellAll
            }
            counted => counted,
        }
    }

    /// Whether our proposal has won, or when.
    fn count(&mut self, now: Millis, quorums: &Quorums) -> Ask {
        let ours = Ballot { vote: self.proposal, round: self.round, state: PeerState::Looking, version: 2 };
        let agrees = |voter: ServerId| self.votes.get(&voter).is_some_and(|ballot| ballot.agrees(&ours));
        if !quorums.is_quorum_of(agrees) {
            self.wins_at = None;
            return Ask::Nothing;
        }
        if quorums.voters().into_iter().all(|voter| agrees(voter) || self.unreachable.contains(&voter)) {
            return Ask::Decided(self.proposal);
        }
        self.wins_at.get_or_insert(now.plus(LINGER_MS));
        Ask::Nothing
    }

    fn settled(&mut self, from: ServerId, ballot: Ballot, quorums: &Quorums) -> Ask {
        if ballot.round == self.round {
            self.votes.insert(from, ballot);
            if self.has_leader(&self.votes, &ballot, quorums) {
                return Ask::Decided(ballot.vote);
            }
        }
        self.settled.insert(from, ballot);
        if self.has_leader(&self.settled, &ballot, quorums) {
            self.round = ballot.round;
            return Ask::Decided(ballot.vote);
        }
        Ask::Nothing
    }

    /// Whether a quorum follows that leader, and the leader says so itself: a member that restarted must not elect one
    /// that is dead and that the survivors still report.
    fn has_leader(&self, votes: &BTreeMap<ServerId, Ballot>, ballot: &Ballot, quorums: &Quorums) -> bool {
        let leader = ballot.vote.leader;
        let leads = match leader == self.me {
            true => ballot.round == self.round,
            false => votes.get(&leader).is_some_and(|its| its.state == PeerState::Leading),
        };
        leads && quorums.is_quorum_of(|voter| votes.get(&voter).is_some_and(|its| its.agrees(ballot)))
    }
}

#[cfg(test)]
impl LeaderElection {
    /// Moves every moment back by so many ms, and to the next whole `step`; then it is `now`. Outside an election only the round is remembered,
    /// since the next one begins with everything else; and whoever proposes itself gives up nobody. So equal situations are equal
    /// values.
    pub(super) fn rebase(&mut self, now: Millis, ms: u64, step: u64, is_looking: bool) {
        if !is_looking {
            *self = LeaderElection {
                round: self.round,
                wait_max_ms: self.wait_max_ms,
                ..LeaderElection::new(self.me, self.wait_max_ms)
            };
        }
        let back = |at: Millis| Millis(at.0.saturating_sub(ms).next_multiple_of(step));
        self.resend_at = back(self.resend_at);
        self.wins_at = self.wins_at.map(back);
        self.gives_up_at = back(self.gives_up_at);
        if is_looking && self.proposal.leader == self.own.leader {
            self.gives_up_at = now.plus(4 * self.wait_max_ms);
        }
    }
}
