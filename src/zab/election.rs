//! Fast Leader Election: from votes to one leader. Reads no clock and sends nothing itself.
//!
//! ZooKeeper's `FastLeaderElection` with five differences that its servers cannot tell from luck: re-sending backs off to a
//! second and not to a minute; a candidate is adopted only if it was heard itself, so that nobody votes for a leader it
//! cannot reach; nor if it was elected a moment ago and could not be followed; an election ends without the last wait when
//! every voter that can be reached agrees; and in one that finds no quorum for long a candidate gives way to one as good
//! that votes by the committed configuration, because a voter may be needed that knows no other.

use std::collections::{BTreeMap, BTreeSet};

use super::newcomer::{Newcomer, SILENT, Silence, VotingRight, silent};
use super::quorum::Quorums;
use super::vote::Vote;
use crate::ids::{Millis, ServerId};
use crate::records::peer::{Notification, PeerState};

/// How long a quorum's candidate may still be beaten, ms (`finalizeWait`).
const LINGER_MS: u64 = 200;
/// The first wait for answers, ms (`fastleader.minNotificationInterval`).
const RESEND_MIN_MS: u64 = 200;
/// Who has no vote and says the same again is told the same again once in so many ms: more often than it asks by itself.
const ANSWER_GAP_MS: u64 = 100;

/// The longest wait for answers, ms, where a tick takes so long.
pub fn wait_max_ms(tick_ms: u64) -> u64 {
    (2 * tick_ms).max(1_000)
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

/// What a server without a vote was told, in which round of its own, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ObserverTold {
    at: Millis,
    round: i64,
    told_round: i64,
    proposal: Vote,
}

/// One member's part in elections; lives as long as the process, because rounds must grow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LeaderElection {
    me: ServerId,
    round: i64,
    /// Our own candidacy of this election.
    own: Vote,
    /// Whether it may be one.
    right: VotingRight,
    /// What a member whose file is new has heard.
    newcomer: Newcomer,
    proposal: Vote,
    /// Votes of this round.
    votes: BTreeMap<ServerId, Ballot>,
    /// Votes of those that follow or lead, whatever their round.
    settled: BTreeMap<ServerId, Ballot>,
    /// Whom we heard in this election.
    heard: BTreeSet<ServerId>,
    /// Who was elected and could not be followed, because nothing came from its quorum port; and until when it is not voted for.
    shunned: BTreeMap<ServerId, Millis>,
    /// Who could not be reached in this election.
    unreachable: BTreeSet<ServerId>,
    /// Who has no vote and is in a later round than ours, and the last answer to it.
    answered: BTreeMap<ServerId, ObserverTold>,
    wait_ms: u64,
    /// The longest wait, ms.
    wait_max_ms: u64,
    resend_at: Millis,
    /// When the candidate of a quorum has won, unless it is beaten.
    wins_at: Option<Millis>,
    /// When a candidate that is not us is given up for want of a quorum.
    gives_up_at: Millis,
    /// From when on the one of two candidates that are as good counts that the committed configuration has. Rounds that others begin do not
    /// put it off: who follows such a one too soon, since it knows of no other voters, comes back again and again.
    gives_way_at: Millis,
}

impl LeaderElection {
    /// Before the first election. `tick_ms` decides how long the longest wait for answers is.
    pub(super) fn new(me: ServerId, tick_ms: u64) -> LeaderElection {
        LeaderElection {
            me,
            round: 0,
            own: Vote::nobody(),
            right: VotingRight::Held,
            newcomer: Newcomer::default(),
            proposal: Vote::nobody(),
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            heard: BTreeSet::new(),
            shunned: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            answered: BTreeMap::new(),
            wait_ms: RESEND_MIN_MS,
            wait_max_ms: wait_max_ms(tick_ms),
            resend_at: Millis(0),
            wins_at: None,
            gives_up_at: Millis(0),
            gives_way_at: Millis(0),
        }
    }

    /// Begins an election with this candidacy of our own, which counts as far as `right` says.
    pub(super) fn begin(&mut self, now: Millis, own: Vote, right: VotingRight, quorums: &Quorums) -> Ask {
        (self.own, self.right) = (own, right);
        self.newcomer.begin();
        self.settled.clear();
        self.heard.clear();
        self.unreachable.clear();
        self.wait_ms = RESEND_MIN_MS;
        self.gives_way_at = now.plus(4 * self.wait_max_ms);
        self.next_round(now, self.round_after());
        self.propose(self.candidacy(quorums));
        if self.proposal.zxid != SILENT && quorums.is_quorum_of(|voter| voter == self.me) {
            self.wins_at = Some(now);
        }
        Ask::TellAndDial
    }

    /// The round that follows. Whoever claims to be a voter may say that it is in the last one that there is: behind that comes
    /// the first, as in ZooKeeper, and who is not there yet takes the others along to its own.
    fn round_after(&self) -> i64 {
        self.round.wrapping_add(1)
    }

    fn next_round(&mut self, now: Millis, round: i64) {
        self.round = round;
        self.votes.clear();
        self.wins_at = None;
        self.resend_at = now.plus(self.jittered(self.wait_ms));
        self.gives_up_at = now.plus(self.jittered(4 * self.wait_max_ms));
    }

    /// Whether our vote counts.
    pub(super) fn is_heard(&self, quorums: &Quorums) -> bool {
        match self.right {
            VotingRight::Held => true,
            VotingRight::OnceAllAreHeard => self.newcomer.missing(self.me, quorums).is_empty(),
            VotingRight::OnceFilled => false,
        }
    }

    /// Why we say nothing, if we do.
    pub(super) fn silence(&self, quorums: &Quorums) -> Option<Silence> {
        if self.right == VotingRight::Held || self.proposal.zxid != SILENT {
            return None;
        }
        let missing = self.newcomer.missing(self.me, quorums);
        Some(match self.right {
            VotingRight::OnceFilled => Silence::AwaitsLeader,
            _ if missing.is_empty() => Silence::AwaitsHistory(self.newcomer.named()),
            _ => Silence::AwaitsVoters(missing),
        })
    }

    /// Whether our log may count for this leader, beside our vote.
    pub(super) fn may_count_for(&self, vote: &Vote, quorums: &Quorums) -> bool {
        self.right == VotingRight::Held || (self.is_heard(quorums) && self.newcomer.may_count_for(vote))
    }

    /// Whom we vote for before we have heard of somebody better.
    fn candidacy(&self, quorums: &Quorums) -> Vote {
        match self.right {
            VotingRight::Held => Some(self.own),
            _ if self.is_heard(quorums) => self.newcomer.best(self.own, quorums),
            _ => None,
        }
        .unwrap_or_else(|| silent(self.me, self.right))
    }

    /// It was elected, and nobody answered at its quorum port: it may hear nobody, and be heard all the same. For a while somebody
    /// else is voted for, if there is somebody.
    pub(super) fn shun(&mut self, now: Millis, leader: ServerId) {
        self.shunned.insert(leader, now.plus(self.wait_max_ms));
    }

    /// It was heard in this election, and there is no reason to think that it cannot hear us.
    fn can_follow(&self, now: Millis, candidate: ServerId) -> bool {
        self.heard.contains(&candidate) && self.shunned.get(&candidate).is_none_or(|until| now >= *until)
    }

    /// Ours is a vote like any other.
    fn propose(&mut self, vote: Vote) {
        self.proposal = vote;
        self.wins_at = None;
        if vote.zxid == SILENT {
            self.votes.remove(&self.me);
        } else if self.own != Vote::nobody() {
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

    /// The round, for notifications while we look: a server answers a vote of an earlier round than its own, and none is earlier
    /// than that of who says nothing.
    pub(super) fn told_round(&self) -> i64 {
        if self.proposal.zxid == SILENT { 0 } else { self.round }
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
        self.newcomer.forget(peer);
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
            self.next_round(now, self.round_after());
            self.propose(self.candidacy(quorums));
            return Ask::TellAll;
        }
        // There may be nobody left to wait for.
        self.count(now, quorums)
    }

    /// Time has passed.
    pub(super) fn timeout(&mut self, now: Millis, quorums: &Quorums) -> Ask {
        if let Some(at) = self.wins_at {
            return if now >= at { Ask::Decided(self.proposal) } else { Ask::Nothing };
        }
        if now >= self.gives_up_at && self.proposal.leader != self.own.leader {
            self.heard.clear();
            self.next_round(now, self.round_after());
            self.propose(self.candidacy(quorums));
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

    /// Whether a server is answered that looks for a leader, when it has no vote or we have none. One of ZooKeeper's that is in a later round
    /// than ours answers each answer with what it has said before, and a voter takes no round from it: that would go on as fast as
    /// the network takes it.
    /// Where members change, each of two may take the other for one without a vote, and the same holds in every round.
    pub(super) fn answers(&mut self, now: Millis, observer: ServerId, round: i64, members_change: bool) -> bool {
        let answer = ObserverTold { at: now, round, told_round: self.told_round(), proposal: self.proposal };
        if round <= answer.told_round && !members_change {
            return true;
        }
        self.answered.retain(|_, last| now.since(last.at) < ANSWER_GAP_MS);
        let is_said = self.answered.get(&observer).is_some_and(|last| ObserverTold { at: now, ..*last } == answer);
        if !is_said {
            self.answered.insert(observer, answer);
        }
        !is_said
    }

    /// Whether the candidate of a vote is the better one.
    fn is_better(&self, now: Millis, vote: &Vote, other: &Vote, quorums: &Quorums) -> bool {
        let is_known_to_all = |vote: &Vote| quorums.committed.weight(vote.leader) > 0;
        let is_as_good = (vote.peer_epoch, vote.zxid) == (other.peer_epoch, other.zxid);
        match now >= self.gives_way_at && is_as_good && is_known_to_all(vote) != is_known_to_all(other) {
            true => is_known_to_all(vote),
            false => vote.beats(other, quorums),
        }
    }

    /// A voter's notification. Those of others must not come here: they are answered and not counted (S-11).
    pub(super) fn ballot(&mut self, now: Millis, from: ServerId, ballot: &Notification, quorums: &Quorums) -> Ask {
        self.unreachable.remove(&from);
        self.heard.insert(from);
        let vote = Vote { leader: ballot.leader, zxid: ballot.zxid, peer_epoch: ballot.peer_epoch };
        let stored = Ballot { vote, round: ballot.round, state: ballot.state, version: ballot.version };
        if !quorums.is_voter(ballot.leader) {
            // It knows of nobody yet, but we may tell it.
            let is_behind = ballot.state == PeerState::Looking && ballot.round < self.round;
            return if is_behind && self.own != Vote::nobody() { Ask::Tell(from) } else { Ask::Nothing };
        }
        match ballot.state {
            // Voters answer whatever a server without a vote says while it looks: what it said to that would be answered again,
            // and so on for ever. It asks in its time.
            PeerState::Looking => match self.looking(now, from, stored, quorums) {
                Ask::Tell(_) if self.own == Vote::nobody() => Ask::Nothing,
                ask => ask,
            },
            PeerState::Following | PeerState::Leading => {
                self.newcomer.forget(from);
                self.settled(from, stored, quorums)
            }
            PeerState::Observing => Ask::Nothing,
        }
    }

    fn looking(&mut self, now: Millis, from: ServerId, ballot: Ballot, quorums: &Quorums) -> Ask {
        let mut ask = Ask::Nothing;
        if self.right == VotingRight::OnceAllAreHeard {
            self.newcomer.heard(from, ballot.vote);
            let candidacy = self.candidacy(quorums);
            if self.proposal.zxid == SILENT && candidacy.zxid != SILENT {
                self.propose(candidacy);
                ask = Ask::TellAll;
            }
        }
        // A member that does not know what it has neither wins nor counts, whatever it was before. It is answered, since it waits
        // to hear us; two of them answer each other until they have met.
        if ballot.vote.zxid == SILENT {
            self.heard.remove(&from);
            self.votes.remove(&from);
            if self.proposal.leader == from {
                self.next_round(now, self.round_after());
                self.propose(self.candidacy(quorums));
                return self.count_and(Ask::TellAll, now, quorums);
            }
            let is_answered = match self.proposal.zxid == SILENT {
                true => self.right == VotingRight::OnceAllAreHeard && !self.newcomer.has_met(from),
                false => ballot.round < self.round,
            };
            return match ask {
                Ask::TellAll => self.count_and(ask, now, quorums),
                _ if is_answered => Ask::Tell(from),
                _ => Ask::Nothing,
            };
        }
        let can_follow = match ballot.vote.leader == self.me {
            // Others may still vote for what we were before we lost it.
            true => self.right == VotingRight::Held || ballot.vote == self.own,
            false => self.can_follow(now, ballot.vote.leader),
        };
        if ballot.round > self.round {
            self.next_round(now, ballot.round);
            let own = self.candidacy(quorums);
            let better = can_follow && own.zxid != SILENT && self.is_better(now, &ballot.vote, &own, quorums);
            self.propose(if better { ballot.vote } else { own });
            ask = Ask::TellAll;
        } else if ballot.round < self.round {
            return match ask {
                // Those who are told the rest hear it anyhow.
                Ask::TellAll => self.count_and(ask, now, quorums),
                // It would answer who says nothing, and so on for ever; it is told again in its time.
                _ if self.proposal.zxid == SILENT => Ask::Nothing,
                _ => Ask::Tell(from),
            };
        } else if can_follow
            && self.proposal.zxid != SILENT
            && self.is_better(now, &ballot.vote, &self.proposal, quorums)
        {
            self.propose(ballot.vote);
            ask = Ask::TellAll;
        }
        self.votes.insert(from, ballot);
        self.count_and(ask, now, quorums)
    }

    /// Counts after `ask` was found to be due.
    fn count_and(&mut self, ask: Ask, now: Millis, quorums: &Quorums) -> Ask {
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
            // A leader that comes back with a new file has nothing to lead with, whatever the others still say.
            true => ballot.round == self.round && self.right == VotingRight::Held,
            false => votes.get(&leader).is_some_and(|its| its.state == PeerState::Leading),
        };
        leads && quorums.is_quorum_of(|voter| votes.get(&voter).is_some_and(|its| its.agrees(ballot)))
    }
}

#[cfg(test)]
impl LeaderElection {
    /// Moves every moment back by so many ms, and to the next whole `step`; then it is `now`. Outside an election only the round is
    /// remembered, and who is not voted for, since the next one begins with everything else; and whoever proposes itself gives up
    /// nobody. So equal situations are equal values.
    pub(super) fn rebase(&mut self, now: Millis, ms: u64, step: u64, is_looking: bool) {
        if !is_looking {
            *self = LeaderElection {
                round: self.round,
                wait_max_ms: self.wait_max_ms,
                shunned: std::mem::take(&mut self.shunned),
                ..LeaderElection::new(self.me, self.wait_max_ms)
            };
        }
        let back = |at: Millis| Millis(at.0.saturating_sub(ms).next_multiple_of(step));
        self.shunned.values_mut().for_each(|until| *until = back(*until));
        self.shunned.retain(|_, until| *until > now);
        self.answered.values_mut().for_each(|answer| answer.at = back(answer.at));
        self.resend_at = back(self.resend_at);
        self.wins_at = self.wins_at.map(back);
        self.gives_way_at = now.plus(4 * self.wait_max_ms);
        self.gives_up_at = back(self.gives_up_at);
        if is_looking && self.proposal.leader == self.own.leader {
            self.gives_up_at = now.plus(4 * self.wait_max_ms);
        }
    }
}
