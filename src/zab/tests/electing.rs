//! An election's rules one by one: who is better, who counts, when it has ended, and for how long it waits.

use std::collections::BTreeMap;

use crate::ids::{Millis, ServerId, Zxid};
use crate::records::peer::{Notification, PeerState};
use crate::zab::election::{Ask, LeaderElection, wait_max_ms};
use crate::zab::quorum::Groups;
use crate::zab::{Majority, Quorum, Quorums, Silence, Vote, VotingRight};

const TICK_MS: u64 = 2_000;
const BEGIN: Millis = Millis(5_000);
/// How long a quorum's candidate may still be beaten.
const LINGER_MS: u64 = 200;

fn vote(leader: u64, epoch: i64, counter: u32) -> Vote {
    Vote { leader: ServerId(leader), zxid: Zxid::new(1, counter), peer_epoch: epoch }
}

/// A candidate without a history.
fn nothing(leader: u64) -> Vote {
    Vote { leader: ServerId(leader), zxid: Zxid::ZERO, peer_epoch: 0 }
}

/// What a member whose file is new tells.
fn silence(me: u64) -> Vote {
    Vote { leader: ServerId(me), zxid: Zxid(-1), peer_epoch: 0 }
}

fn majority(count: u64) -> Quorums {
    Quorums::of(Quorum::Majority(Majority::new((1..=count).map(ServerId).collect())))
}

struct Election {
    election: LeaderElection,
    quorums: Quorums,
    now: Millis,
}

impl Election {
    /// Of so many voters, begun by this one with this candidacy of its own.
    fn of(voters: u64, me: u64, own: Vote) -> Election {
        Election::by(majority(voters), me, own)
    }

    /// Of so many voters, begun by this one, whose file is new.
    fn new_among(voters: u64, me: u64) -> Election {
        let (mut election, quorums) = (LeaderElection::new(ServerId(me), TICK_MS), majority(voters));
        let right = VotingRight::OnceAllAreHeard;
        assert_eq!(election.begin(BEGIN, nothing(me), right, &quorums), Ask::TellAndDial);
        let election = Election { election, quorums, now: BEGIN };
        assert_eq!((election.proposal(), election.election.told_round()), (silence(me), 0));
        election
    }

    fn by(quorums: Quorums, me: u64, own: Vote) -> Election {
        let mut election = LeaderElection::new(ServerId(me), TICK_MS);
        assert_eq!(election.begin(BEGIN, own, VotingRight::Held, &quorums), Ask::TellAndDial);
        assert_eq!((election.round(), election.proposal()), (1, own));
        Election { election, quorums, now: BEGIN }
    }

    fn hears(&mut self, from: u64, state: PeerState, round: i64, vote: Vote) -> Ask {
        self.hears_version(from, state, round, vote, 2)
    }

    fn hears_version(&mut self, from: u64, state: PeerState, round: i64, vote: Vote, version: i32) -> Ask {
        let Vote { leader, zxid, peer_epoch } = vote;
        let ballot = Notification { state, leader, zxid, round, peer_epoch, version, config: "".into() };
        self.election.ballot(self.now, ServerId(from), &ballot, &self.quorums)
    }

    /// A voter that looks says this in the first round.
    fn looks(&mut self, from: u64, vote: Vote) -> Ask {
        self.hears(from, PeerState::Looking, 1, vote)
    }

    fn link(&mut self, peer: u64, is_up: bool) -> Ask {
        self.election.link(self.now, ServerId(peer), is_up, &self.quorums)
    }

    fn after(&mut self, ms: u64) -> Ask {
        self.now = self.now.plus(ms);
        self.election.timeout(self.now, &self.quorums)
    }

    /// How long it waits from now on, ms.
    fn waits(&self) -> u64 {
        self.election.poll_timeout().since(self.now)
    }

    fn proposal(&self) -> Vote {
        self.election.proposal()
    }

    fn silence(&self) -> Option<Silence> {
        self.election.silence(&self.quorums)
    }
}

#[test]
fn a_voter_that_is_alone_wins_at_once() {
    let own = vote(1, 1, 5);
    let mut alone = Election::of(1, 1, own);
    assert_eq!(alone.waits(), 0);
    assert_eq!(alone.after(0), Ask::Decided(own));
    assert!(Election::of(2, 1, own).waits() > 0, "one of two is no quorum");
}

#[test]
fn a_member_whose_file_is_new_votes_once_it_has_heard_every_other_voter_say_something_new() {
    // SC-51
    let has = vote(2, 3, 5);
    let mut election = Election::new_among(3, 1);
    // It may be repeated from an earlier election: a server does so on each new connection.
    assert_eq!(election.looks(2, vote(2, 2, 2)), Ask::Nothing);
    assert_eq!(election.link(2, true), Ask::Tell(ServerId(2)));
    assert_eq!(election.looks(2, vote(2, 2, 2)), Ask::Nothing);
    assert_eq!(election.silence(), Some(Silence::AwaitsVoters(vec![ServerId(2), ServerId(3)])));
    assert_eq!(election.looks(2, has), Ask::Nothing);
    assert_eq!(election.silence(), Some(Silence::AwaitsVoters(vec![ServerId(3)])));
    assert_eq!(election.looks(3, silence(3)), Ask::Tell(ServerId(3)));
    assert_eq!(election.proposal(), silence(1));
    assert_eq!(election.looks(3, silence(3)), Ask::TellAll);
    assert_eq!((election.proposal(), election.election.told_round()), (has, 1));
    // One that has less may not have its vote, though the best one is gone.
    assert_eq!(election.link(2, false), Ask::TellAll);
    assert_eq!(election.hears(3, PeerState::Looking, 2, vote(3, 2, 2)), Ask::Nothing);
    assert_eq!(election.proposal(), silence(1));
    assert_eq!(election.silence(), Some(Silence::AwaitsHistory(has.zxid)));
}

#[test]
fn who_follows_is_not_heard_and_who_has_lost_something_neither() {
    let mut election = Election::new_among(3, 1);
    for _ in 0..3 {
        assert_eq!(election.hears(2, PeerState::Following, 1, vote(3, 3, 5)), Ask::Nothing);
        let damaged = Vote { peer_epoch: -1, ..silence(3) };
        assert!(matches!(election.looks(3, damaged), Ask::Nothing | Ask::Tell(ServerId(3))));
    }
    assert_eq!(election.silence(), Some(Silence::AwaitsVoters(vec![ServerId(2), ServerId(3)])));
    assert_eq!(election.proposal(), silence(1));
}

#[test]
fn who_says_nothing_is_answered_by_who_has_a_vote() {
    // It is what such a member waits for.
    let mut election = Election::of(3, 1, vote(1, 1, 1));
    for _ in 0..3 {
        assert_eq!(election.hears(2, PeerState::Looking, 0, silence(2)), Ask::Tell(ServerId(2)));
    }
    // Two of them do not answer each other for ever.
    let mut silent = Election::new_among(3, 1);
    let asks: Vec<Ask> = (0..3).map(|_| silent.hears(2, PeerState::Looking, 0, silence(2))).collect();
    assert_eq!(asks, [Ask::Tell(ServerId(2)), Ask::Nothing, Ask::Nothing]);
}

#[test]
fn a_member_whose_file_is_new_does_not_lead_with_the_history_it_had() {
    // SC-51. The others still vote for what it was before.
    let was = vote(1, 5, 9);
    let mut election = Election::new_among(3, 1);
    for from in [2, 3] {
        for _ in 0..3 {
            election.looks(from, was);
        }
    }
    assert_eq!(election.silence(), Some(Silence::AwaitsHistory(Zxid::new(1, 9))));
    assert_eq!(election.proposal(), silence(1), "nobody who is here has what was told of");
    for round in 1..4 {
        assert!(!matches!(election.hears(2, PeerState::Looking, round, was), Ask::Decided(_)));
        assert_eq!(election.proposal(), silence(1));
    }
    // Somebody has it after all.
    assert_eq!(election.hears(3, PeerState::Looking, 3, vote(3, 5, 9)), Ask::TellAll);
    assert_eq!(election.proposal(), vote(3, 5, 9));
}

#[test]
fn a_candidate_that_says_nothing_any_more_is_given_up() {
    // SC-51. It came back without its file before anybody saw that it had gone.
    let (own, best) = (vote(1, 1, 1), vote(3, 5, 9));
    let mut election = Election::of(3, 1, own);
    assert_eq!(election.looks(3, best), Ask::TellAll);
    assert_eq!(election.proposal(), best);
    for epoch in [0, -1] {
        let silent = Vote { peer_epoch: epoch, ..silence(3) };
        let asked = election.hears(3, PeerState::Looking, 0, silent);
        assert!(matches!(asked, Ask::TellAll | Ask::Tell(ServerId(3))), "{asked:?}");
        assert_eq!((election.election.round(), election.proposal()), (2, own));
    }
    // Nor is it voted for because another still does.
    election.hears(2, PeerState::Looking, 2, best);
    assert_eq!(election.proposal(), own);
}

#[test]
fn a_member_whose_file_is_new_does_not_vote_for_one_that_says_nothing_any_more() {
    // L-08, SC-51: it would give it up and vote for it again, as fast as the two answer each other.
    let was = vote(3, 5, 9);
    let mut election = Election::new_among(3, 1);
    for _ in 0..3 {
        election.looks(2, was);
        election.hears(3, PeerState::Looking, 0, silence(3));
    }
    let round = election.election.round();
    for _ in 0..5 {
        assert_ne!(election.hears(3, PeerState::Looking, 0, silence(3)), Ask::TellAll);
    }
    assert_eq!((election.election.round(), election.proposal()), (round, silence(1)));
    // Who has the same history finds that as well, and stands for it.
    let best = vote(2, 5, 9);
    assert_eq!(election.hears(2, PeerState::Looking, 2, best), Ask::TellAll);
    assert_eq!(election.proposal(), best);
}

#[test]
fn two_of_different_rounds_do_not_answer_each_other_for_ever_when_one_of_them_is_silent() {
    let mut silent = Election::new_among(3, 1);
    assert_eq!(silent.hears(2, PeerState::Looking, 7, vote(2, 1, 1)), Ask::TellAll);
    // It was restarted: it answers whatever we tell it.
    for _ in 0..3 {
        assert_eq!(silent.hears(2, PeerState::Looking, 1, vote(2, 1, 1)), Ask::Nothing);
    }
}

#[test]
fn no_history_that_cannot_be_keeps_a_member_silent() {
    let mut election = Election::new_among(3, 1);
    let impossible = [
        Vote { peer_epoch: i64::MAX, ..vote(2, 1, 1) },
        Vote { peer_epoch: -1, ..vote(2, 0, 0) },
        Vote { zxid: Zxid(-2), ..vote(2, 1, 1) },
    ];
    for told in impossible.into_iter().chain(impossible) {
        election.looks(2, told);
    }
    assert_eq!(election.silence(), Some(Silence::AwaitsVoters(vec![ServerId(2), ServerId(3)])), "such a word is none");
    for from in [2, 3, 2, 3] {
        election.looks(from, vote(from, 1, 1));
    }
    assert_eq!(election.proposal(), vote(3, 1, 1));
}

#[test]
fn a_log_that_is_ahead_of_its_epoch_is_heard_and_one_of_a_later_epoch_is_better() {
    // It crashed before it kept the epoch of what it had logged.
    let behind = Vote { zxid: Zxid::new(3, 9), ..vote(2, 1, 0) };
    let entered = Vote { zxid: Zxid::new(3, 2), ..vote(3, 3, 0) };
    let mut election = Election::new_among(3, 1);
    for told in [behind, entered, behind, entered] {
        election.looks(told.leader.0, told);
    }
    assert_eq!((election.silence(), election.proposal()), (None, entered));
}

#[test]
fn the_better_candidate_is_of_a_later_epoch_or_has_the_longer_log_or_the_higher_id() {
    let own = vote(2, 3, 5);
    for (candidate, is_better) in [
        (vote(3, 3, 5), true),
        (vote(1, 3, 5), false),
        (vote(1, 3, 6), true),
        (vote(3, 3, 4), false),
        (vote(1, 4, 1), true),
        (vote(3, 2, 9), false),
    ] {
        let mut election = Election::of(5, 2, own);
        let ask = election.looks(candidate.leader.0, candidate);
        let (proposal, told) = if is_better { (candidate, Ask::TellAll) } else { (own, Ask::Nothing) };
        assert_eq!((election.proposal(), ask), (proposal, told), "{candidate:?}");
    }
}

#[test]
fn a_candidate_whose_votes_weigh_nothing_is_not_adopted() {
    let weights = BTreeMap::from([(ServerId(3), 0)]);
    let groups = [vec![ServerId(1), ServerId(2), ServerId(3)]];
    let quorums = Quorums::of(Quorum::Groups(Groups::new(groups, &weights)));
    let mut election = Election::by(quorums, 1, vote(1, 1, 1));
    assert_eq!(election.looks(3, vote(3, 9, 9)), Ask::Nothing);
    assert_eq!(election.proposal(), vote(1, 1, 1));
    assert_eq!(election.looks(2, vote(2, 1, 1)), Ask::TellAll);
}

#[test]
fn a_candidate_that_was_not_heard_itself_is_not_voted_for() {
    // Else a member would vote for a leader that it cannot reach.
    let mut election = Election::of(5, 1, vote(1, 1, 1));
    let third = vote(3, 1, 9);
    assert_eq!(election.looks(2, third), Ask::Nothing);
    assert_eq!(election.proposal(), vote(1, 1, 1));
    // In a later round it is not voted for either, and our own candidacy is told.
    assert_eq!(election.hears(2, PeerState::Looking, 4, third), Ask::TellAll);
    assert_eq!((election.election.round(), election.proposal()), (4, vote(1, 1, 1)));
    assert_eq!(election.hears(3, PeerState::Looking, 4, third), Ask::TellAll);
    assert_eq!(election.proposal(), third);
    // In the next election it must be heard anew.
    election.election.begin(election.now, vote(1, 1, 1), VotingRight::Held, &election.quorums);
    assert_eq!(election.hears(2, PeerState::Looking, 5, third), Ask::Nothing);
    assert_eq!(election.proposal(), vote(1, 1, 1));
}

#[test]
fn a_later_round_begins_with_the_own_candidacy_and_without_the_votes_of_the_last() {
    let mut election = Election::of(5, 1, vote(1, 1, 1));
    election.looks(5, vote(5, 1, 9));
    assert_eq!(election.proposal(), vote(5, 1, 9));
    assert_eq!(election.looks(3, vote(5, 1, 9)), Ask::Nothing);
    assert_eq!(election.waits(), LINGER_MS, "three of five are a quorum");
    // What was proposed before does not count: the fifth may not take part in it.
    assert_eq!(election.hears(2, PeerState::Looking, 7, vote(2, 1, 3)), Ask::TellAll);
    assert_eq!((election.election.round(), election.proposal()), (7, vote(2, 1, 3)));
    assert!(election.waits() > LINGER_MS - 1 && election.after(LINGER_MS) != Ask::Decided(vote(5, 1, 9)));
    // A later round with somebody worse than us.
    assert_eq!(election.hears(4, PeerState::Looking, 8, vote(4, 0, 9)), Ask::TellAll);
    assert_eq!((election.election.round(), election.proposal()), (8, vote(1, 1, 1)));
    // Two votes of the round before would make three.
    assert_eq!(election.hears(3, PeerState::Looking, 8, vote(1, 1, 1)), Ask::Nothing);
    assert_ne!(election.waits(), LINGER_MS);
}

#[test]
fn an_older_round_is_answered_and_does_not_count() {
    let own = vote(3, 1, 1);
    let mut election = Election::of(3, 3, own);
    election.hears(1, PeerState::Looking, 4, vote(1, 1, 1));
    assert_eq!(election.hears(2, PeerState::Looking, 3, own), Ask::Tell(ServerId(2)));
    assert_eq!(election.hears(2, PeerState::Looking, 3, vote(2, 9, 9)), Ask::Tell(ServerId(2)));
    assert_eq!((election.election.round(), election.proposal()), (4, own));
    assert_ne!(election.waits(), LINGER_MS, "one vote of three");
    assert_eq!(election.hears(2, PeerState::Looking, 4, own), Ask::Nothing);
    assert_eq!(election.waits(), LINGER_MS);
}

#[test]
fn an_election_ends_once_all_agree_that_can_be_reached_else_a_moment_later() {
    let own = vote(3, 1, 1);
    let begun = || {
        let mut election = Election::of(3, 3, own);
        assert_eq!(election.looks(1, own), Ask::Nothing);
        assert_eq!(election.waits(), LINGER_MS);
        election
    };
    let mut late = begun();
    assert_eq!(late.after(LINGER_MS - 1), Ask::Nothing);
    assert_eq!(late.looks(1, own), Ask::Nothing);
    assert_eq!(late.waits(), 1, "the same vote again puts nothing off");
    assert_eq!(late.after(1), Ask::Decided(own));
    assert_eq!(begun().looks(2, own), Ask::Decided(own), "all agree");
    assert_eq!(begun().link(2, false), Ask::Decided(own), "the second cannot be reached");
    // Who was heard can be reached.
    let mut heard = Election::of(3, 3, own);
    assert_eq!(heard.link(2, false), Ask::Nothing);
    assert_eq!(heard.looks(2, vote(2, 1, 1)), Ask::Nothing);
    assert_eq!(heard.looks(1, own), Ask::Nothing);
    assert_eq!(heard.waits(), LINGER_MS);
    // Whoever could not be reached in the last election may be reached now.
    let mut again = Election::of(3, 3, own);
    assert_eq!(again.link(2, false), Ask::Nothing);
    again.election.begin(again.now, own, VotingRight::Held, &again.quorums);
    assert_eq!(again.hears(1, PeerState::Looking, 2, own), Ask::Nothing);
    assert_eq!(again.waits(), LINGER_MS);
    let mut linked = Election::of(3, 3, own);
    assert_eq!(linked.link(2, false), Ask::Nothing);
    assert_eq!(linked.link(2, true), Ask::Tell(ServerId(2)));
    assert_eq!(linked.looks(1, own), Ask::Nothing);
    assert_eq!(linked.waits(), LINGER_MS);
}

#[test]
fn the_candidate_of_a_quorum_is_beaten_by_a_better_one() {
    // SC-29
    let own = vote(2, 1, 1);
    let mut election = Election::of(5, 2, own);
    election.looks(1, own);
    election.looks(3, own);
    assert_eq!(election.waits(), LINGER_MS);
    assert_eq!(election.looks(5, vote(5, 1, 1)), Ask::TellAll);
    assert_eq!(election.proposal(), vote(5, 1, 1));
    assert!(!matches!(election.after(LINGER_MS), Ask::Decided(_)), "nobody has won");
    // A quorum that falls apart has not won either.
    let mut parted = Election::of(5, 2, own);
    parted.looks(1, own);
    parted.looks(3, own);
    assert_eq!(parted.looks(3, vote(3, 1, 0)), Ask::Nothing);
    assert_ne!(parted.waits(), LINGER_MS);
}

#[test]
fn a_voter_tells_whom_it_adopted_before_it_follows() {
    let best = vote(2, 1, 1);
    let mut election = Election::of(2, 1, vote(1, 1, 1));
    assert_eq!(election.looks(2, best), Ask::TellAll);
    assert_eq!(election.waits(), 0);
    assert_eq!(election.after(0), Ask::Decided(best));
}

#[test]
fn a_member_that_does_not_know_what_it_has_neither_wins_nor_counts() {
    let unknown = |id: u64| Vote { leader: ServerId(id), zxid: Zxid(-1), peer_epoch: 9 };
    let own = vote(1, 1, 1);
    let mut election = Election::of(3, 1, own);
    assert_eq!(election.looks(3, unknown(3)), Ask::Nothing);
    assert_eq!(election.hears(3, PeerState::Looking, 7, unknown(3)), Ask::Nothing);
    assert_eq!((election.election.round(), election.proposal()), (1, own));
    let mut unsound = Election::of(3, 1, unknown(1));
    assert_eq!(unsound.looks(3, vote(3, 1, 1)), Ask::Nothing);
    assert_eq!(unsound.proposal(), unknown(1));
}

#[test]
fn a_vote_is_told_again_and_more_seldom_each_time() {
    let around = |wait: u64, base: u64| (base..=base + base / 10).contains(&wait);
    let mut election = Election::of(3, 1, vote(1, 1, 1));
    for base in [200, 400, 800, 1_600, 3_200, 4_000, 4_000] {
        let wait = election.waits();
        assert!(around(wait, base), "{wait} ms in place of {base}");
        assert_eq!(election.after(wait - 1), Ask::Nothing);
        let ask = election.after(1);
        assert_eq!(ask, Ask::TellAndDial, "after {base} ms");
    }
    // The next election does not begin with the last one's wait.
    election.election.begin(election.now, vote(1, 1, 1), VotingRight::Held, &election.quorums);
    assert_eq!(election.election.round(), 2);
    assert!(around(election.waits(), 200));
    assert_eq!([100, 499, 500, 501, 2_000].map(wait_max_ms), [1_000, 1_000, 1_000, 1_002, 4_000]);
    // Members that began together do not go on together, nor does one in each round.
    let first_wait = |me, rounds| {
        let mut election = LeaderElection::new(ServerId(me), TICK_MS);
        (0..rounds).for_each(|_| {
            election.begin(BEGIN, vote(me, 1, 1), VotingRight::Held, &majority(3));
        });
        election.poll_timeout()
    };
    let by_id: std::collections::BTreeSet<_> = (1..=20).map(|me| first_wait(me, 1)).collect();
    let by_round: std::collections::BTreeSet<_> = (1..=20).map(|rounds| first_wait(1, rounds)).collect();
    assert!(by_id.len() > 5 && by_round.len() > 5, "{by_id:?} {by_round:?}");
}

#[test]
fn a_candidate_that_finds_no_quorum_is_given_up_and_must_be_heard_again() {
    let (own, third) = (vote(1, 1, 1), vote(3, 1, 1));
    let mut election = Election::of(5, 1, own);
    election.looks(3, third);
    assert_eq!(election.proposal(), third);
    let mut passed = 0;
    while election.proposal() == third {
        let wait = election.waits();
        assert!(wait > 0);
        passed += wait;
        assert_eq!(election.after(wait), Ask::TellAndDial);
    }
    assert!((4 * 4_000..=4 * 4_400).contains(&passed), "{passed} ms");
    assert_eq!((election.election.round(), election.proposal()), (2, own));
    assert_eq!(election.hears(2, PeerState::Looking, 2, third), Ask::Nothing);
    assert_eq!(election.proposal(), own, "the third was not heard since");
    // Our own candidacy is not given up, and no round begins for it.
    let mut waiting = Election::of(5, 1, own);
    for _ in 0..30 {
        let wait = waiting.waits();
        assert!(wait > 0, "it does not spin");
        waiting.after(wait);
    }
    assert_eq!((waiting.election.round(), waiting.proposal()), (1, own));
}

#[test]
fn a_candidate_that_is_only_proposed_gives_way_when_a_voter_is_needed_that_does_not_know_it() {
    // L-01: the first knows nothing of the change by which the third votes and the others do not. Its vote is needed, and it has no
    // address of the third.
    let changing = || {
        let [committed, next] =
            [&[1, 2][..], &[3]].map(|ids| Majority::new(ids.iter().copied().map(ServerId).collect()));
        Quorums { committed: Quorum::Majority(committed), next: vec![Quorum::Majority(next)] }
    };
    let [mut second, mut third] = [2, 3].map(|me| Election::by(changing(), me, vote(me, 1, 4)));
    second.looks(1, vote(1, 1, 1));
    second.looks(3, vote(3, 1, 4));
    third.looks(2, vote(3, 1, 4));
    assert_eq!([second.proposal(), third.proposal()], [vote(3, 1, 4); 2], "by its number");
    for election in [&mut second, &mut third] {
        for round in 2..200 {
            election.after(100);
            // It follows a candidate too soon, and begins again: rounds that it begins put nothing off.
            election.hears(1, PeerState::Looking, round, vote(1, 1, 1));
        }
    }
    assert_eq!(second.proposal(), vote(2, 1, 4), "the third is given up");
    let round = second.election.round();
    second.hears(3, PeerState::Looking, round, vote(3, 1, 4));
    assert_eq!(second.proposal(), vote(2, 1, 4));
    third.hears(2, PeerState::Looking, round, vote(2, 1, 4));
    assert_eq!(third.proposal(), vote(2, 1, 4), "it gives way");
    second.hears(1, PeerState::Looking, round, vote(2, 1, 4));
    assert_ne!(second.hears(3, PeerState::Looking, round, vote(2, 1, 4)), Ask::Nothing);
    // Who has more does not.
    third.hears(2, PeerState::Looking, round, vote(2, 1, 3));
    let mut better = Election::by(changing(), 3, vote(3, 1, 5));
    for _ in 0..200 {
        better.after(100);
    }
    better.hears(2, PeerState::Looking, round, vote(2, 1, 4));
    assert_eq!(better.proposal(), vote(3, 1, 5));
}

#[test]
fn a_candidate_that_is_lost_is_left_for_a_new_round() {
    let (own, third) = (vote(1, 1, 1), vote(3, 1, 1));
    let mut election = Election::of(5, 1, own);
    election.looks(3, third);
    election.looks(2, third);
    assert_eq!(election.waits(), LINGER_MS);
    assert_eq!(election.link(3, false), Ask::TellAll);
    assert_eq!((election.election.round(), election.proposal()), (2, own));
    assert_ne!(election.waits(), LINGER_MS);
    assert_eq!(election.hears(2, PeerState::Looking, 2, third), Ask::Nothing);
    assert_eq!(election.proposal(), own, "it is not heard any more");
    // Of others only the vote goes.
    let mut other = Election::of(5, 5, vote(5, 1, 1));
    other.looks(1, vote(5, 1, 1));
    assert_eq!(other.link(1, false), Ask::Nothing);
    assert_eq!(other.election.round(), 1);
    other.looks(2, vote(5, 1, 1));
    assert_ne!(other.waits(), LINGER_MS, "two are left of three");
    other.looks(3, vote(5, 1, 1));
    assert_eq!(other.waits(), LINGER_MS);
}

#[test]
fn who_joins_a_working_ensemble_follows_the_leader_that_says_so_and_that_a_quorum_follows() {
    // SC-26
    use PeerState::{Following, Leading, Observing};
    let leader = vote(3, 4, 1);
    let begun = || Election::of(5, 1, vote(1, 9, 9));
    let mut joining = begun();
    assert_eq!(joining.hears(3, Leading, 6, leader), Ask::Nothing);
    assert_eq!(joining.hears(4, Following, 6, leader), Ask::Nothing);
    // What the members saw when they voted may differ.
    assert_eq!(joining.hears(2, Following, 8, vote(3, 4, 7)), Ask::Decided(vote(3, 4, 7)));
    assert_eq!(joining.election.round(), 8);
    // Observers and members of another leader are no followers of this one.
    let mut few = begun();
    few.hears(3, Leading, 6, leader);
    few.hears(4, Following, 6, leader);
    for (state, vote) in [(Observing, leader), (Following, vote(4, 4, 1)), (Following, vote(3, 5, 1))] {
        assert_eq!(few.hears(2, state, 6, vote), Ask::Nothing, "{state:?} {vote:?}");
    }
    // Those before 3.4.6 tell no epoch that could be compared.
    assert_eq!(few.hears_version(2, Following, 6, vote(3, 5, 1), 0), Ask::Decided(vote(3, 5, 1)));
    // A leader that only others report may be dead.
    let mut dead = begun();
    for from in [2, 4, 5] {
        assert_eq!(dead.hears(from, Following, 6, leader), Ask::Nothing);
    }
    assert_eq!(dead.hears(3, PeerState::Looking, 1, vote(3, 0, 0)), Ask::Nothing);
    assert_eq!(dead.hears(3, Leading, 6, leader), Ask::Decided(leader));
    // What was heard over a connection that is lost does not count.
    let mut cut = begun();
    cut.hears(3, Leading, 6, leader);
    cut.hears(4, Following, 6, leader);
    cut.link(4, false);
    assert_eq!(cut.hears(2, Following, 6, leader), Ask::Nothing);
    // Nor what an earlier election heard.
    let mut again = begun();
    again.hears(3, Leading, 6, leader);
    again.hears(4, Following, 6, leader);
    again.election.begin(again.now, vote(1, 9, 9), VotingRight::Held, &again.quorums);
    assert_eq!(again.hears(2, Following, 6, leader), Ask::Nothing);
    let mut three = Election::of(3, 1, vote(1, 9, 9));
    assert_eq!(three.hears(2, Following, 1, leader), Ask::Nothing);
    three.election.begin(three.now, vote(1, 9, 9), VotingRight::Held, &three.quorums);
    assert_eq!(three.hears(3, Leading, 2, leader), Ask::Nothing, "the second followed it in the round before");
}

#[test]
fn in_the_same_round_who_looks_for_that_leader_counts_as_its_follower() {
    use PeerState::{Following, Leading, Looking};
    let leader = vote(3, 4, 1);
    let begun = || {
        let mut election = Election::of(5, 1, vote(1, 1, 1));
        election.hears(3, Looking, 1, leader);
        assert_eq!(election.proposal(), leader);
        election
    };
    let mut election = begun();
    assert_eq!(election.hears(2, Following, 1, leader), Ask::Nothing, "the leader does not lead yet");
    assert_eq!(election.hears(3, Leading, 1, leader), Ask::Decided(leader));
    assert_eq!(election.election.round(), 1);
    // Who looks must have seen the same of it.
    let mut longer = begun();
    longer.hears(2, Following, 1, vote(3, 4, 7));
    assert_eq!(longer.hears(3, Leading, 1, vote(3, 4, 7)), Ask::Nothing);
    // Our own vote is of another round, and of another leader.
    let mut other = begun();
    other.hears(2, Following, 2, leader);
    assert_eq!(other.hears(3, Leading, 2, leader), Ask::Nothing);
    let mut another = Election::of(5, 1, vote(1, 9, 9));
    another.hears(2, Following, 1, leader);
    assert_eq!(another.hears(3, Leading, 1, leader), Ask::Nothing);
}

#[test]
fn a_member_that_others_still_follow_leads_only_if_they_elected_it_in_this_round() {
    let own = vote(1, 4, 1);
    for (round, leads) in [(1, true), (6, false)] {
        let mut election = Election::of(3, 1, own);
        let asks = [2, 3].map(|from| election.hears(from, PeerState::Following, round, own));
        assert_eq!(asks.contains(&Ask::Decided(own)), leads, "round {round}: {asks:?}");
    }
}

#[test]
fn who_votes_for_nobody_that_may_win_is_told_our_vote_if_it_is_behind() {
    let stranger = vote(9, 9, 9);
    let mut election = Election::of(3, 1, vote(1, 1, 1));
    election.hears(2, PeerState::Looking, 4, vote(2, 1, 0));
    assert_eq!(election.hears(3, PeerState::Looking, 3, stranger), Ask::Tell(ServerId(3)));
    assert_eq!(election.hears(3, PeerState::Looking, 4, stranger), Ask::Nothing);
    assert_eq!(election.hears(3, PeerState::Looking, 9, stranger), Ask::Nothing);
    assert_eq!(election.hears(3, PeerState::Following, 3, stranger), Ask::Nothing);
    assert_eq!((election.election.round(), election.proposal()), (4, vote(1, 1, 1)));
}

#[test]
fn a_member_without_a_vote_answers_nobody_since_every_voter_answers_it() {
    // L-08: the two would tell each other the same for ever, as fast as the network takes it.
    let mut observer = Election::of(3, 9, Vote::nobody());
    assert_eq!(observer.hears(1, PeerState::Looking, 5, vote(1, 1, 1)), Ask::TellAll);
    for _ in 0..3 {
        assert_eq!(observer.hears(2, PeerState::Looking, 0, silence(2)), Ask::Nothing);
        assert_eq!(observer.hears(3, PeerState::Looking, 2, vote(3, 1, 0)), Ask::Nothing);
        assert_eq!(observer.hears(3, PeerState::Looking, 2, vote(9, 1, 0)), Ask::Nothing);
    }
    assert_eq!(observer.proposal(), vote(1, 1, 1));
    // It asks when it is connected, and again when it has waited.
    assert_eq!(observer.link(2, true), Ask::Tell(ServerId(2)));
}

#[test]
fn a_member_without_a_vote_finds_the_leader_and_counts_for_nothing() {
    let mut election = Election::of(3, 9, Vote::nobody());
    let best = vote(2, 1, 1);
    assert_eq!(election.looks(2, best), Ask::TellAll);
    assert_ne!(election.waits(), LINGER_MS, "one voter of three");
    assert_eq!(election.looks(1, best), Ask::Nothing);
    assert_eq!(election.waits(), LINGER_MS);
    assert_eq!(election.looks(3, best), Ask::Decided(best));
    // Any candidate is better than none.
    let worst = Vote { leader: ServerId(1), zxid: Zxid::ZERO, peer_epoch: 0 };
    let mut other = Election::of(3, 9, Vote::nobody());
    assert_eq!(other.looks(1, worst), Ask::TellAll);
    assert_eq!(other.proposal(), worst);
}

#[test]
fn behind_the_last_round_that_there_is_comes_the_first_and_an_election_goes_on() {
    // F-20, L-01: whoever claims to be a voter may say what it likes.
    for state in [PeerState::Looking, PeerState::Following] {
        let mut election = Election::of(3, 1, vote(1, 1, 5));
        let theirs = vote(3, 1, 9);
        election.hears(3, PeerState::Leading, i64::MAX, theirs);
        election.hears(2, state, i64::MAX, theirs);
        assert_eq!(election.election.round(), i64::MAX, "{state:?}");
        let own = vote(1, 1, 5);
        let quorums = election.quorums.clone();
        assert_eq!(election.election.begin(election.now, own, VotingRight::Held, &quorums), Ask::TellAndDial);
        assert_eq!((election.election.round(), election.proposal()), (i64::MIN, own));
        // Who is still in the last round is heard, and they agree there.
        assert_eq!(election.hears(3, PeerState::Looking, i64::MAX, theirs), Ask::TellAll);
        assert_eq!((election.election.round(), election.proposal()), (i64::MAX, theirs));
        assert_eq!(election.hears(2, PeerState::Looking, i64::MAX, theirs), Ask::Decided(theirs));
    }
}
