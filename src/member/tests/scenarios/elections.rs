//! Epochs that end as soon as they begin, and members that come back.

use crate::member::tests::net::World;
use crate::member::tests::{OK, serving};
use crate::zab::Standing;

#[test]
fn leaders_that_die_before_their_first_proposal_lose_nothing_and_share_no_epoch() {
    // SC-19, S-07
    let (mut world, clients) = serving();
    assert_eq!(world.create(clients[0], "/kept", b"x", 0), OK);
    world.all_agree();
    for epoch in 1..11 {
        let leader = world.leader().unwrap();
        assert_eq!(world.standing(leader), Some(Standing::Leading { epoch }));
        world.kill(leader);
        world.start(leader);
        world.until("all serve", |world| {
            world.is_whole() && world.standing(leader) != Some(Standing::Leading { epoch })
        });
        world.all_agree();
    }
    assert!(world.ids().into_iter().all(|id| world.engine(id).tree().lookup("/kept").is_some()));
}

#[test]
fn a_crash_at_any_moment_of_an_election_needs_no_help() {
    // SC-20, S-08, L-01
    for moment in 0..40 {
        let (mut world, clients) = serving();
        assert_eq!(world.create(clients[0], "/kept", b"x", 0), OK);
        world.all_agree();
        let (leader, follower) = (world.leader().unwrap(), world.followers()[(moment % 2) as usize]);
        world.kill(leader);
        world.start(leader);
        world.pass(5 * moment);
        world.kill(follower);
        world.start(follower);
        world.until("all serve", World::is_whole);
        world.all_agree();
        let again = world.leader().unwrap();
        let Some(Standing::Leading { epoch }) = world.standing(again) else { panic!("it leads") };
        assert!(epoch > 1, "an epoch began twice");
        let client = world.connect(again, None).unwrap();
        assert_eq!(world.create(client, "/more", b"x", 0), OK);
    }
}

#[test]
fn the_member_with_the_highest_number_follows_when_it_comes_back() {
    // SC-25, S-09
    let (mut world, _) = serving();
    let highest = *world.ids().last().unwrap();
    world.kill(highest);
    world.until("another leads", |world| world.is_whole() && world.followers().len() == 1);
    let (leader, standing) = (world.leader().unwrap(), world.standing(world.leader().unwrap()));
    let client = world.connect(leader, None).unwrap();
    for round in 0..5 {
        world.start(highest);
        world.until("it follows", World::is_whole);
        assert_eq!((world.leader(), world.standing(leader)), (Some(leader), standing));
        assert_eq!(world.create(client, &format!("/n{round}"), b"x", 0), OK, "its connection is the one of before");
        world.all_agree();
        world.kill(highest);
        world.pass(1_000);
    }
}

#[test]
fn a_leader_whose_port_does_not_accept_leads_nobody_and_follows() {
    // SC-32, L-01: the others elect it by its number, as often as they hear it.
    let (mut world, clients) = serving();
    assert_eq!(world.create(clients[0], "/kept", b"x", 0), OK);
    world.all_agree();
    let highest = *world.ids().last().unwrap();
    world.ids().into_iter().for_each(|id| world.kill(id));
    world.net.accepts_nobody = Some(highest);
    world.ids().into_iter().for_each(|id| world.start(id));
    world.until("all serve", World::is_whole);
    let leader = world.leader().unwrap();
    assert_ne!(leader, highest);
    let client = world.connect(leader, None).unwrap();
    assert_eq!(world.create(client, "/more", b"x", 0), OK);
    world.all_agree();
    assert!(world.ids().into_iter().all(|id| world.engine(id).tree().lookup("/kept").is_some()));
}
