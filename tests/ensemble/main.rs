//! Ensembles of real processes: they elect, replicate, and keep serving while members are killed and come back.
//!
//! `ZOA_ENSEMBLE_KILLS`, `ZOA_ENSEMBLE_FOLLOWER_KILLS` and `ZOA_ENSEMBLE_ALL_KILLS` say how often the leader, a follower and
//! all of them are killed under load, `ZOA_ENSEMBLE_AWAY` for how many writes a member is away; what `cargo test` runs is the
//! short form. `ZOA_ENSEMBLE_BINARY` names the program of the members, where it is to be another than the one just built,
//! `ZOA_ENSEMBLE_TICK` their `tickTime`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cluster;
mod five;
mod in_process;
mod load;
mod local_sessions;
mod passwords;
mod paused;
#[path = "../kit/ports.rs"]
mod ports;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::{Cluster, Mode};
use five::told_by;
use zoarium::raw::{ClientError, ConnectOptions, RawClient};
use zoarium::records::{Acl, CreateMode, ErrorCode};

fn create(client: &mut RawClient, path: &str, mode: CreateMode) -> Result<String, ClientError> {
    client.create(path, Some(b"x"), &[Acl::open()], mode)
}

/// A session that lives as long as any test, and does not wait long for a member that is killed.
fn options() -> ConnectOptions {
    ConnectOptions { timeout_ms: 120_000, wait: Duration::from_secs(5), ..ConnectOptions::default() }
}

/// Everything below `/`, with stats: what a client sees of a member, after a `sync`.
fn tree(client: &mut RawClient) -> BTreeMap<String, String> {
    client.sync("/").unwrap();
    let mut found = BTreeMap::new();
    let mut paths = vec!["/".to_owned()];
    while let Some(path) = paths.pop() {
        let (data, stat) = client.get_data(&path, false).unwrap();
        let prefix = if path == "/" { "" } else { &path };
        paths.extend(client.get_children(&path, false).unwrap().iter().map(|name| format!("{prefix}/{name}")));
        found.insert(path, format!("{data:?} {stat:?}"));
    }
    found
}

#[track_caller]
fn all_agree(cluster: &Cluster, count: usize) -> BTreeMap<String, String> {
    cluster.until("all serve", Cluster::is_whole);
    let mut trees: Vec<_> = (0..count).map(|at| tree(&mut cluster.connect(at, &options()))).collect();
    let first = trees.swap_remove(0);
    for other in &trees {
        assert!(*other == first, "members hold different trees: {other:?}\n{first:?}");
    }
    first
}

#[test]
fn a_write_through_any_member_is_read_on_all() {
    let cluster = Cluster::start(3);
    let mut clients: Vec<RawClient> = (0..3).map(|at| cluster.connect(at, &options())).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        for number in 0..20 {
            create(client, &format!("/from{at}-{number}"), CreateMode::Persistent).unwrap();
        }
    }
    let sequence: Vec<String> =
        clients.iter_mut().map(|client| create(client, "/q-", CreateMode::PersistentSequential).unwrap()).collect();
    assert!(sequence.is_sorted(), "{sequence:?}");
    for client in &mut clients {
        client.sync("/").unwrap();
        for at in 0..3 {
            assert!(client.exists(&format!("/from{at}-19"), false).unwrap().is_some());
        }
    }
    assert!(matches!(
        create(&mut clients[0], "/from2-3", CreateMode::Persistent),
        Err(ClientError::Refused(ErrorCode::NodeExists))
    ));
    all_agree(&cluster, 3);
}

/// How often, from the environment; what `cargo test` runs is the short form.
fn times(variable: &str, short: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}

#[test]
fn the_leader_is_killed_under_load_and_comes_back_and_every_promise_is_kept() {
    load::kept_through(3, times("ZOA_ENSEMBLE_KILLS", 3), |cluster, leader| {
        cluster.kill(leader);
        cluster.until("the others serve", Cluster::is_whole);
        cluster.spawn(leader);
    });
}

#[test]
fn a_follower_is_killed_under_load_and_comes_back_and_every_promise_is_kept() {
    let mut round = 0;
    load::kept_through(3, times("ZOA_ENSEMBLE_FOLLOWER_KILLS", 2), |cluster, leader| {
        round += 1;
        let follower = (leader + 1 + round % 2) % 3;
        cluster.kill(follower);
        cluster.spawn(follower);
    });
}

#[test]
fn all_are_killed_under_load_and_come_back_and_every_promise_is_kept() {
    load::kept_through(3, times("ZOA_ENSEMBLE_ALL_KILLS", 2), |cluster, leader| {
        (0..3).map(|step| (leader + step) % 3).for_each(|at| cluster.kill(at));
        (0..3).for_each(|at| cluster.spawn(at));
    });
}

#[test]
fn a_leader_that_is_stopped_under_load_hands_over_and_ends_cleanly_and_every_promise_is_kept() {
    load::kept_through(3, times("ZOA_ENSEMBLE_STOPS", 2), |cluster, leader| {
        let begin = Instant::now();
        assert_eq!(cluster.stop(leader), Some(0), "{}", cluster.logs());
        assert!(cluster.logs().contains("it waits until another has everything"), "{}", cluster.logs());
        let stopped = begin.elapsed().as_millis();
        cluster.until("the others serve", Cluster::is_whole);
        println!("stopped after {stopped} ms, the others serve after {} ms", begin.elapsed().as_millis());
        cluster.spawn(leader);
    });
}

#[test]
fn a_member_that_lost_its_file_is_sent_the_whole_state() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut client = cluster.connect(leader, &options());
    for number in 0..200 {
        client.create(&format!("/n{number}"), Some(&[7; 500]), &[Acl::open()], CreateMode::Persistent).unwrap();
    }
    create(&mut client, "/mine", CreateMode::Ephemeral).unwrap();
    let lost = cluster.find(Mode::Follower).unwrap();
    cluster.kill(lost);
    cluster.wipe(lost);
    create(&mut client, "/meanwhile", CreateMode::Persistent).unwrap();
    cluster.spawn(lost);
    cluster.until("all serve", Cluster::is_whole);
    let tree = all_agree(&cluster, 3);
    assert!(tree.contains_key("/n199") && tree.contains_key("/mine") && tree.contains_key("/meanwhile"));
    // It is on its disk, too.
    cluster.kill(lost);
    cluster.spawn(lost);
    all_agree(&cluster, 3);
    let mut there = cluster.connect(lost, &options());
    create(&mut there, "/by-it", CreateMode::Persistent).unwrap();
    assert!(tree.len() + 1 == all_agree(&cluster, 3).len());
}

#[test]
fn a_member_that_lost_its_file_does_not_help_one_that_is_behind_to_lead() {
    // S-10, SC-51: of three, two have the write; one of them loses its file, and the other one is away.
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut client = cluster.connect(leader, &options());
    let behind = cluster.find(Mode::Follower).unwrap();
    let wiped = (0..3).find(|at| *at != leader && *at != behind).unwrap();
    cluster.pause(behind);
    create(&mut client, "/acknowledged", CreateMode::Persistent).unwrap();
    cluster.kill(leader);
    cluster.kill(wiped);
    cluster.wipe(wiped);
    cluster.resume(behind);
    cluster.spawn(wiped);
    cluster.until("the new file is told of", |cluster| cluster.logs().contains("file is new"));
    // Several times as long as an election takes.
    for _ in 0..60 {
        assert_eq!(cluster.find(Mode::Leader), None, "elected without the write\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster.spawn(leader);
    assert!(all_agree(&cluster, 3).contains_key("/acknowledged"));
}

#[test]
fn a_member_whose_file_is_damaged_is_filled_by_the_others_and_votes_again() {
    // L-10, G-16
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut client = cluster.connect(leader, &options());
    let marker = b"what the disk forgets, and nobody is told".repeat(10);
    client.create("/forgotten", Some(&marker), &[Acl::open()], CreateMode::Persistent).unwrap();
    create(&mut client, "/behind-it", CreateMode::Persistent).unwrap();
    all_agree(&cluster, 3);
    let damaged = cluster.find(Mode::Follower).unwrap();
    cluster.kill(damaged);
    cluster.damage(damaged, &marker);
    create(&mut client, "/meanwhile", CreateMode::Persistent).unwrap();
    cluster.spawn(damaged);
    cluster.until("all serve", Cluster::is_whole);
    assert!(cluster.logs().contains("the file is damaged"), "{}", cluster.logs());
    let tree = all_agree(&cluster, 3);
    assert!(["/forgotten", "/behind-it", "/meanwhile"].iter().all(|path| tree.contains_key(*path)));
    cluster.kill(leader);
    cluster.until("two serve", Cluster::is_whole);
    // And its own file is whole.
    cluster.kill(damaged);
    cluster.spawn(damaged);
    cluster.until("two serve", Cluster::is_whole);
    cluster.spawn(leader);
    assert_eq!(all_agree(&cluster, 3), tree);
}

#[test]
fn an_observer_whose_file_is_damaged_is_filled_by_the_others() {
    // L-10
    let mut cluster = Cluster::with_observer(3);
    let leader = cluster.leader();
    let mut client = cluster.connect(leader, &options());
    let marker = b"what the disk forgets, and nobody is told".repeat(10);
    client.create("/forgotten", Some(&marker), &[Acl::open()], CreateMode::Persistent).unwrap();
    create(&mut client, "/behind-it", CreateMode::Persistent).unwrap();
    all_agree(&cluster, 4);
    assert_eq!(cluster.mode(3), Mode::Observer);
    cluster.kill(3);
    cluster.damage(3, &marker);
    cluster.spawn(3);
    // It has nothing to show meanwhile, and what is written through it later is written.
    cluster.until("the damage is told", |cluster| cluster.logs().contains("the file is damaged"));
    cluster.until("all serve", Cluster::is_whole);
    let mut there = cluster.connect(3, &options());
    create(&mut there, "/through-it", CreateMode::Persistent).unwrap();
    let tree = all_agree(&cluster, 4);
    assert!(["/forgotten", "/behind-it", "/through-it"].iter().all(|path| tree.contains_key(*path)));
    // And its own file is whole, also under another leader.
    cluster.kill(3);
    cluster.kill(leader);
    cluster.spawn(3);
    cluster.until("three serve", Cluster::is_whole);
    cluster.spawn(leader);
    assert_eq!(all_agree(&cluster, 4), tree);
    // Nobody leads: it waits, damaged, and says so.
    (0..4).for_each(|at| cluster.kill(at));
    cluster.damage(3, &marker);
    cluster.spawn(3);
    cluster
        .until("the damage is told", |cluster| cluster.logs().contains("a leader that the others elect will fill it"));
    cluster.kill(3);
    (0..4).for_each(|at| cluster.spawn(at));
    cluster.until("all serve", Cluster::is_whole);
    assert_eq!(all_agree(&cluster, 4), tree);
}

#[test]
fn a_minority_refuses_and_all_three_killed_come_back_with_everything() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut client = cluster.connect(leader, &options());
    create(&mut client, "/kept", CreateMode::Persistent).unwrap();
    (0..3).filter(|at| *at != leader).collect::<Vec<_>>().into_iter().for_each(|at| cluster.kill(at));
    cluster.until("the leader has found out", |cluster| cluster.mode(leader) == Mode::None);
    assert!(create(&mut client, "/refused", CreateMode::Persistent).is_err());
    assert!(RawClient::connect_with(&cluster.address(leader), &options()).is_err(), "no session without a quorum");
    cluster.kill(leader);
    (0..3).for_each(|at| cluster.spawn(at));
    cluster.until("all serve", Cluster::is_whole);
    assert!(all_agree(&cluster, 3).contains_key("/kept"));
}

/// Longer than a leader or a follower may be silent where `syncLimit` is 10.
const STALL_MS: u64 = 6000;

/// A create that is sent before a slow sync, and ends after it.
fn late_create(cluster: &Cluster, at: usize, path: &'static str) -> std::thread::JoinHandle<bool> {
    let wait = Duration::from_secs(40);
    let mut client = cluster.connect(at, &ConnectOptions { wait, ..options() });
    cluster.slow_sync(at, STALL_MS);
    let created = std::thread::spawn(move || create(&mut client, path, CreateMode::Persistent).is_ok());
    cluster.until("the sync has begun", |cluster| cluster.sync_has_begun(at));
    created
}

#[test]
fn a_leader_whose_sync_takes_seconds_goes_on_leading_and_acknowledges_nothing_early() {
    // F-10, D-05, D-10
    let cluster = Cluster::with_slow_syncs(3, 10);
    let leader = cluster.leader();
    let mut client = cluster.connect(cluster.find(Mode::Follower).unwrap(), &options());
    let (_, epoch) = client.get_data("/", false).map(|(_, stat)| (stat.pzxid, stat.pzxid >> 32)).unwrap();
    let late = late_create(&cluster, leader, "/late");
    let mut count = 0;
    while !cluster.sync_is_over(leader) {
        assert!(!late.is_finished() || cluster.sync_is_over(leader), "acknowledged before it was durable");
        create(&mut client, &format!("/n{count}"), CreateMode::Persistent).expect("two others are a quorum");
        count += 1;
        assert_eq!(cluster.mode(leader), Mode::Leader, "{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(count > 10, "{count} writes in {STALL_MS} ms");
    assert!(late.join().unwrap(), "{}", cluster.logs());
    create(&mut client, "/after", CreateMode::Persistent).unwrap();
    let (_, stat) = client.get_data("/after", false).unwrap();
    assert!(epoch == 0 || stat.czxid >> 32 == epoch, "there was an election");
    assert_eq!(cluster.leader(), leader);
    let tree = all_agree(&cluster, 3);
    assert!(tree.contains_key("/late") && tree.contains_key("/n10"));
}

#[test]
fn a_leader_whose_superblock_takes_seconds_to_write_goes_on_leading() {
    // F-10, P6: half an extent of writes, and the next one is made part of the log.
    let cluster = Cluster::with_slow_syncs(3, 10);
    let leader = cluster.leader();
    let mut client = cluster.connect(cluster.find(Mode::Follower).unwrap(), &options());
    let large = vec![7; 100 << 10];
    let write = |client: &mut RawClient| {
        client.create("/large-", Some(&large), &[Acl::open()], CreateMode::PersistentSequential).unwrap();
    };
    // A new file has half a mebibyte for its log before its superblock says more.
    (0..10).for_each(|_| write(&mut client));
    // It is to have room meanwhile: the file grows ahead of the log, to 20 MiB, and takes its superblock for that.
    cluster.until("the file has grown", |cluster| told_by(cluster, leader, "zk_zoarium_file_bytes") >= 20 << 20);
    cluster.slow_superblock(leader, STALL_MS);
    let mut count = 0;
    while !cluster.sync_has_begun(leader) {
        write(&mut client);
        count += 1;
        assert!(count < 500, "the superblock is not written");
    }
    let mut meanwhile = 0;
    while !cluster.sync_is_over(leader) {
        create(&mut client, "/meanwhile-", CreateMode::PersistentSequential).expect("two others are a quorum");
        meanwhile += 1;
        assert_eq!(cluster.mode(leader), Mode::Leader, "{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(meanwhile > 10, "{meanwhile} writes in {STALL_MS} ms");
    assert_eq!(cluster.leader(), leader);
    assert_eq!(all_agree(&cluster, 3).keys().filter(|path| path.starts_with("/meanwhile-")).count(), meanwhile);
}

#[test]
fn a_follower_whose_sync_takes_seconds_keeps_its_place_and_its_clients() {
    // F-10, S-12: `syncLimit` leaves it the time for one acknowledgement.
    let cluster = Cluster::with_slow_syncs(3, 100);
    let slow = cluster.find(Mode::Follower).unwrap();
    // Shorter than the stall, and long enough for a busy machine to ping in time.
    let short = ConnectOptions { timeout_ms: 4000, ..options() };
    let mut there = cluster.connect(slow, &short);
    let ephemeral = create(&mut there, "/ephemeral", CreateMode::Ephemeral).unwrap();
    let mut leader = cluster.connect(cluster.leader(), &options());
    let late = late_create(&cluster, slow, "/late");
    while !cluster.sync_is_over(slow) {
        assert!(!late.is_finished() || cluster.sync_is_over(slow), "acknowledged before it was durable");
        there.ping().expect("a ping is answered");
        assert!(there.exists(&ephemeral, false).unwrap().is_some(), "a read is answered");
        create(&mut leader, "/by-others-", CreateMode::PersistentSequential).unwrap();
        assert_eq!(cluster.mode(slow), Mode::Follower, "{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(late.join().unwrap(), "{}", cluster.logs());
    assert!(leader.exists(&ephemeral, false).unwrap().is_some(), "its session was kept alive by its pings");
    let tree = all_agree(&cluster, 3);
    assert!(tree.contains_key("/late") && tree.contains_key("/ephemeral"));
}
