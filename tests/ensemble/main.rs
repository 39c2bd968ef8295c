//! Ensembles of real processes: they elect, replicate, and keep serving while members are killed and come back.
//!
//! `ZOA_ENSEMBLE_KILLS` says how often the leader is killed under load; what `cargo test` runs is the short form.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cluster;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster::{Cluster, Mode};
use zoarium::raw::{Client, ClientError, ConnectOptions};
use zoarium::records::{Acl, CreateMode, ErrorCode};

fn create(client: &mut Client, path: &str, mode: CreateMode) -> Result<String, ClientError> {
    client.create(path, Some(b"x"), &[Acl::open()], mode)
}

/// A session that lives as long as any test, and does not wait long for a member that is killed.
fn options() -> ConnectOptions {
    ConnectOptions { timeout_ms: 120_000, wait: Duration::from_secs(5), ..ConnectOptions::default() }
}

/// Everything below `/`, with stats: what a client sees of a member, after a `sync`.
fn tree(client: &mut Client) -> BTreeMap<String, String> {
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
    let mut clients: Vec<Client> = (0..3).map(|at| cluster.connect(at, &options())).collect();
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

/// Creates znodes one after the other, wherever a member serves, and keeps to the truth about which were acknowledged.
fn load(addresses: &[String], name: &str, is_over: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let address = &addresses[number % addresses.len()];
        let Ok(mut client) = Client::connect_with(address, &options()) else { continue };
        while !is_over.load(Ordering::Relaxed) {
            number += 1;
            let path = format!("/{name}-{number}");
            match create(&mut client, &path, CreateMode::Persistent) {
                Ok(made) => acknowledged.push(made),
                // Each path is asked for once.
                Err(ClientError::Refused(code)) => panic!("{path}: {code}"),
                Err(_) => break,
            }
        }
    }
    acknowledged
}

#[test]
fn the_leader_is_killed_under_load_and_comes_back_and_nothing_acknowledged_is_lost() {
    let kills = std::env::var("ZOA_ENSEMBLE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut cluster = Cluster::start(3);
    let addresses: Vec<String> = (0..3).map(|at| cluster.address(at)).collect();
    let is_over = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..3)
            .map(|number| {
                let (addresses, is_over) = (&addresses, &is_over);
                scope.spawn(move || load(addresses, &format!("load{number}"), is_over))
            })
            .collect();
        for round in 0..kills {
            let leader = cluster.leader();
            // A session that began at the leader, with an ephemeral of its own, outlives it elsewhere.
            let mut client = cluster.connect(leader, &options());
            let mine = create(&mut client, &format!("/ephemeral{round}"), CreateMode::Ephemeral).unwrap();
            cluster.kill(leader);
            cluster.until("the others serve", Cluster::is_whole);
            let elsewhere = cluster.find(Mode::Follower).unwrap();
            let resume = Some((client.session(), client.password()));
            let mut moved = cluster.connect(elsewhere, &ConnectOptions { resume, ..options() });
            assert!(moved.exists(&mine, false).unwrap().is_some(), "{}", cluster.logs());
            create(&mut moved, &format!("/after{round}"), CreateMode::Persistent).unwrap();
            moved.close().unwrap();
            cluster.spawn(leader);
            cluster.until("all serve again", Cluster::is_whole);
        }
        is_over.store(true, Ordering::Relaxed);
        loads.into_iter().flat_map(|load| load.join().unwrap()).collect::<Vec<String>>()
    });
    assert!(acknowledged.len() > 10 * kills, "{} writes", acknowledged.len());
    let tree = all_agree(&cluster, 3);
    for path in &acknowledged {
        assert!(tree.contains_key(path), "{path} was acknowledged and is lost\n{}", cluster.logs());
    }
    for round in 0..kills {
        assert!(tree.contains_key(&format!("/after{round}")));
        assert!(!tree.contains_key(&format!("/ephemeral{round}")), "it outlives its session");
    }
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
fn a_minority_refuses_and_all_three_killed_come_back_with_everything() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut client = cluster.connect(leader, &options());
    create(&mut client, "/kept", CreateMode::Persistent).unwrap();
    (0..3).filter(|at| *at != leader).collect::<Vec<_>>().into_iter().for_each(|at| cluster.kill(at));
    cluster.until("the leader has found out", |cluster| cluster.mode(leader) == Mode::None);
    assert!(create(&mut client, "/refused", CreateMode::Persistent).is_err());
    assert!(Client::connect_with(&cluster.address(leader), &options()).is_err(), "no session without a quorum");
    cluster.kill(leader);
    (0..3).for_each(|at| cluster.spawn(at));
    cluster.until("all serve", Cluster::is_whole);
    assert!(all_agree(&cluster, 3).contains_key("/kept"));
}
