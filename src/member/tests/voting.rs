//! Members whose files are new or wiped, in elections.

use std::sync::Arc;

use super::hand::{Hand, Past, roomy};
use super::net::World;
use super::site::{self, Site};
use super::{OK, serving};
use crate::failpoint::{self, Failpoint};
use crate::ids::ServerId;
use crate::member::JoinSettings;
use crate::store::MemberState;
use crate::store::tests::sim_disk::SimDisk;

/// A write that two of three have acknowledged; one of the two loses its file, the other one is away, and the third one was cut
/// off before the write. Whether anybody leads then, and whether the write is there when the one that was away is back.
fn one_of_two_that_have_a_write_is_wiped() -> (World, bool, ServerId) {
    let (mut world, clients) = serving();
    world.all_agree();
    let (leader, followers) = (world.leader().unwrap(), world.followers());
    let (wiped, behind) = (followers[0], followers[1]);
    let at_leader = *clients.iter().find(|client| client.server == leader).unwrap();
    world.net.cut(behind);
    assert_eq!(world.create(at_leader, "/acknowledged", b"x", 0), OK);
    world.kill(leader);
    world.kill(wiped);
    world.wipe(wiped);
    world.net.heal();
    world.start(wiped);
    world.pass(20_000);
    let is_led = world.leader().is_some();
    world.start(leader);
    world.until("all serve", World::is_whole);
    world.all_agree();
    (world, is_led, leader)
}

#[test]
fn a_wiped_member_does_not_help_one_that_is_behind_to_lead() {
    // S-10, SC-51
    let (world, is_led, _) = one_of_two_that_have_a_write_is_wiped();
    assert!(!is_led, "a member that is behind leads by the vote of one that has lost what it acknowledged");
    for id in world.ids() {
        assert!(world.engine(id).tree().lookup("/acknowledged").is_some(), "{id} has lost what was acknowledged");
    }
}

#[test]
fn a_wiped_member_that_voted_at_once_would_lose_a_write() {
    // What the test above is worth.
    let (world, is_led, had_it) = failpoint::with(Failpoint::NewFileVotes, one_of_two_that_have_a_write_is_wiped);
    assert!(is_led && world.engine(had_it).tree().lookup("/acknowledged").is_none());
}

#[test]
fn a_wiped_member_is_filled_by_the_others_and_votes_from_then_on() {
    // S-10, L-10
    let (mut world, clients) = serving();
    let wiped = world.followers()[0];
    let stays = *clients.iter().find(|client| client.server != wiped).unwrap();
    world.kill(wiped);
    world.wipe(wiped);
    assert_eq!(world.create(stays, "/meanwhile", b"x", 0), OK);
    world.start(wiped);
    world.until("it follows", World::is_whole);
    world.all_agree();
    let other = world.ids().into_iter().find(|id| *id != wiped && *id != stays.server).unwrap();
    world.kill(other);
    world.until("two of three serve", World::is_whole);
    assert!(world.engine(wiped).tree().lookup("/meanwhile").is_some());
}

#[test]
fn new_members_begin_when_all_have_met_and_not_before() {
    for voters in [2, 3, 5] {
        let mut world = World::idle(voters, 1);
        let last = ServerId(voters);
        world.ids().into_iter().filter(|id| *id != last).for_each(|id| world.start(id));
        world.pass(10_000);
        assert_eq!(world.leader(), None, "of {voters} voters one was never heard");
        world.start(last);
        world.until("all serve", World::is_whole);
        // A majority is enough from then on.
        world.kill(last);
        if voters > 2 {
            world.until("a majority serves", World::is_whole);
        }
    }
}

#[test]
fn a_member_with_a_history_leads_new_ones_that_have_met_it() {
    // As when a server that was alone becomes one of three.
    let (mut world, clients) = serving();
    world.all_agree();
    assert_eq!(world.create(clients[0], "/alone", b"x", 0), OK);
    world.all_agree();
    let keeps = world.followers()[0];
    for id in world.ids() {
        world.kill(id);
        if id != keeps {
            world.wipe(id);
        }
    }
    world.start(keeps);
    let others: Vec<ServerId> = world.ids().into_iter().filter(|id| *id != keeps).collect();
    world.start(others[0]);
    world.pass(10_000);
    assert_eq!(world.leader(), None, "the third may have more than the one that has something");
    world.start(others[1]);
    world.until("all serve", World::is_whole);
    world.all_agree();
    assert!(world.engine(others[0]).tree().lookup("/alone").is_some());
}

#[test]
fn an_operator_who_knows_that_nothing_is_lost_need_not_wait_for_all() {
    for (trusts, leads) in [(Some(true), true), (Some(false), false), (None, false)] {
        let mut world = World::idle(3, 0);
        world.joining.trusts_new_file = trusts;
        world.start(ServerId(1));
        world.start(ServerId(2));
        world.pass(10_000);
        assert_eq!(world.leader().is_some(), leads, "{trusts:?}");
        world.start(ServerId(3));
        world.pass(10_000);
        assert_eq!(world.leader().is_some(), trusts != Some(false), "{trusts:?}, all three");
    }
}

#[test]
fn what_an_operator_says_of_a_new_file_outlives_the_process_that_was_told() {
    // SC-51
    for told in [0, 1, 2] {
        let mut world = World::idle(3, 0);
        (1..=told).for_each(|id| world.trust(ServerId(id)));
        world.start(ServerId(1));
        world.start(ServerId(2));
        world.pass(10_000);
        assert_eq!(world.leader().is_some(), told == 2, "{told} of two were told");
    }
}

#[test]
fn a_file_that_has_an_epoch_or_a_history_is_not_new_whatever_is_said_of_new_ones() {
    // S-10, L-01: a majority of those that were together is enough.
    for is_written in [false, true] {
        for trusts in [None, Some(false)] {
            let mut world = World::new(3, 0);
            world.until("one leads and two follow", World::is_whole);
            if is_written {
                let client = world.connect(ServerId(1), None).unwrap();
                assert_eq!(world.create(client, "/a", b"", 0), OK);
                world.all_agree();
            }
            world.ids().into_iter().for_each(|id| world.kill(id));
            world.joining.trusts_new_file = trusts;
            world.start(ServerId(1));
            world.start(ServerId(2));
            world.until("two of three serve", World::is_whole);
        }
    }
}

#[test]
fn a_member_whose_file_is_damaged_votes_once_a_leader_has_filled_it_whatever_is_said_of_new_files() {
    // F-21, S-10, SC-51
    let past = Past::writes(20, 100);
    for trusts_new_file in [None, Some(false), Some(true)] {
        let disk = Arc::new(SimDisk::new(1));
        Site::new(&disk).write();
        let mut hand = Hand::damaged(disk, &roomy(), JoinSettings { trusts_new_file, ..JoinSettings::default() });
        hand.turns(3);
        assert!(!hand.has_voted(), "{trusts_new_file:?}: it may have lost what it acknowledged");
        hand.promises(5);
        hand.hears_state(&past);
        hand.ends_history(5);
        hand.loses_leader();
        hand.turns(3);
        assert!(hand.has_voted());
        assert_eq!(hand.recovered(), (past.end(), past.digest));
    }
}

#[test]
fn only_a_file_in_which_nothing_ever_was_is_new_in_an_election() {
    // S-10: one with transactions of a server that was alone, and one that has entered an epoch and no transaction of it, may vote.
    type Past = fn(&Arc<SimDisk>);
    let was_alone: Past = |disk| (0..3).for_each(|_| Site::new(disk).write());
    let has_entered: Past = |disk| {
        let mut member = site::open(disk, &roomy());
        let kept = MemberState { accepted_epoch: 1, current_epoch: 1, ..member.store.member_state().clone() };
        member.store.keep(&kept).unwrap();
    };
    let is_new: Past = |_| ();
    for (past, is_new) in [(was_alone, false), (has_entered, false), (is_new, true)] {
        for trusts_new_file in [None, Some(false), Some(true)] {
            let disk = Arc::new(SimDisk::new(1));
            past(&disk);
            let joining = JoinSettings { trusts_new_file, ..JoinSettings::default() };
            let mut hand = Hand::on(disk, &roomy(), &[1, 2, 3], joining);
            hand.turns(3);
            assert_eq!(hand.has_voted(), !is_new || trusts_new_file == Some(true), "{is_new}, {trusts_new_file:?}");
        }
    }
}
