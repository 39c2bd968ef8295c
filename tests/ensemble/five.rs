//! Five members, and members that were away.

use std::time::{Duration, Instant};

use zoarium::raw::{RawClient, four_letter};
use zoarium::records::CreateMode;

use crate::cluster::{Cluster, Mode};
use crate::{all_agree, create, options};

#[test]
fn of_five_members_two_may_be_lost_and_with_three_lost_nothing_is_served_or_forgotten() {
    let mut cluster = Cluster::start(5);
    let leader = cluster.leader();
    let mut client = cluster.connect(leader, &options());
    create(&mut client, "/of-five", CreateMode::Persistent).unwrap();
    // The leader and one more: three are a quorum.
    let other = (leader + 1) % 5;
    cluster.kill(leader);
    cluster.kill(other);
    cluster.until("three serve", Cluster::is_whole);
    let leader = cluster.leader();
    let mut client = cluster.connect(leader, &options());
    assert!(client.exists("/of-five", false).unwrap().is_some());
    create(&mut client, "/of-three", CreateMode::Persistent).unwrap();
    // One more: two are none.
    let third = (0..5).find(|at| cluster.mode(*at) == Mode::Follower).unwrap();
    cluster.kill(third);
    cluster.until("nobody serves", |cluster| (0..5).all(|at| cluster.mode(at) == Mode::None));
    assert!(create(&mut client, "/of-two", CreateMode::Persistent).is_err());
    assert!(RawClient::connect_with(&cluster.address(leader), &options()).is_err(), "no session without a quorum");
    let why = four_letter(&cluster.address(leader), "srvr", Duration::from_secs(5)).unwrap();
    assert!(why.contains("not currently serving requests"), "{why}");
    // One of the first two comes back, without what was written since.
    cluster.spawn(other);
    cluster.until("three serve", Cluster::is_whole);
    let mut client = cluster.connect(other, &options());
    create(&mut client, "/again", CreateMode::Persistent).unwrap();
    for path in ["/of-five", "/of-three"] {
        assert!(client.exists(path, false).unwrap().is_some(), "{path} is lost\n{}", cluster.logs());
    }
    (0..5).filter(|at| *at != other).for_each(|at| cluster.spawn_if_down(at));
    let tree = all_agree(&cluster, 5);
    assert!(tree.contains_key("/again") && tree.contains_key("/of-three"));
}

/// A number of the leader's `mntr`.
fn told(cluster: &Cluster, key: &str) -> u64 {
    told_by(cluster, cluster.leader(), key)
}

pub(crate) fn told_by(cluster: &Cluster, at: usize, key: &str) -> u64 {
    let text = four_letter(&cluster.address(at), "mntr", Duration::from_secs(5)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).parse().unwrap()
}

/// Creates so many znodes, several at a time.
fn fill(client: &mut RawClient, name: &str, count: usize) {
    use zoarium::jute::encoded;
    use zoarium::records::requests::CreateRequest;
    use zoarium::records::{Acl, OpCode};
    let mut waiting = 0;
    for number in 0..count {
        let path = format!("{name}-{number}");
        let acl = Some(vec![Acl::open()]);
        let body = encoded(&CreateRequest { path: path.as_str().into(), data: Default::default(), acl, flags: 0 });
        client.send(OpCode::Create.to_i32(), &body).unwrap();
        waiting += 1;
        while waiting > if number + 1 < count { 500 } else { 0 } {
            let (header, _) = client.receive().unwrap();
            assert_eq!(header.err, 0);
            waiting -= 1;
        }
    }
}

#[test]
fn a_member_that_was_away_is_sent_what_it_lacks_and_one_without_its_file_everything() {
    let mut cluster = Cluster::start(3);
    let mut client = cluster.connect(cluster.leader(), &options());
    let away = cluster.find(Mode::Follower).unwrap();
    let most = std::env::var("ZOA_ENSEMBLE_AWAY").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    let mut expected = told(&cluster, "zk_znode_count");
    for (round, count) in [1, 1000, most].into_iter().enumerate() {
        let before = (told(&cluster, "zk_diff_count"), told(&cluster, "zk_snap_count"));
        cluster.kill(away);
        fill(&mut client, &format!("/away{round}"), count);
        // The load goes on while it comes back.
        cluster.spawn(away);
        let (begin, mut batches) = (Instant::now(), 0);
        while batches < 2 || !cluster.is_whole() {
            fill(&mut client, &format!("/back{round}-{batches}"), 100);
            batches += 1;
            assert!(begin.elapsed() < Duration::from_secs(300), "it does not catch up\n{}", cluster.logs());
        }
        println!("it serves after {:?}, {batches}00 writes meanwhile", begin.elapsed());
        expected += count as u64 + 100 * batches;
        let after = (told(&cluster, "zk_diff_count"), told(&cluster, "zk_snap_count"));
        println!("away for {count} writes: {before:?} DIFFs and SNAPs before, {after:?} after");
        if count <= 3000 {
            assert_eq!((after.0 - before.0, after.1 - before.1), (1, 0), "{count} writes\n{}", cluster.logs());
        }
    }
    let before = (told(&cluster, "zk_diff_count"), told(&cluster, "zk_snap_count"));
    cluster.kill(away);
    cluster.wipe(away);
    cluster.spawn(away);
    cluster.until("all serve", Cluster::is_whole);
    let after = (told(&cluster, "zk_diff_count"), told(&cluster, "zk_snap_count"));
    assert_eq!((after.0 - before.0, after.1 - before.1), (0, 1), "{}", cluster.logs());
    let mut there = cluster.connect(away, &options());
    there.sync("/").unwrap();
    assert_eq!(told_by(&cluster, away, "zk_znode_count"), expected, "of the znodes");
    if most <= 3000 {
        all_agree(&cluster, 3);
    }
}
