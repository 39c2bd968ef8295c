//! Members that come, change their role and go, among our own.

use super::net::{Session, World};
use crate::ids::ServerId;
use crate::jute::Text;
use crate::path;
use crate::records::OpCode;
use crate::records::requests::ReconfigRequest;
use crate::zab::{ConfigChange, Standing};

const OK: Option<i32> = Some(0);

impl World {
    /// The error and the text that a request to reconfigure is answered with; `None` when the connection was closed.
    fn reconfigure(&mut self, client: Session, joining: &str, leaving: &str, version: i64) -> Option<(i32, String)> {
        let request = ReconfigRequest {
            joining: joining.into(),
            leaving: leaving.into(),
            new_members: Text(None),
            config_id: version,
        };
        let (header, body) = self.call(client, OpCode::Reconfig, &request)?;
        let length = body.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize);
        Some((header.err, String::from_utf8(body.get(4..4 + length).unwrap_or_default().to_vec()).unwrap()))
    }
}

fn id(id: u64) -> ServerId {
    ServerId(id)
}

fn line(id: u64, role: &str) -> String {
    format!("server.{id}=host{id}:1:2:{role};host{id}:3")
}

/// Three voters that serve, of an ensemble that can change, and a session on each.
fn serving() -> (World, Vec<Session>) {
    let mut world = World::changing(3);
    for one in 1..=3 {
        world.start(id(one));
    }
    world.until("one leads and two follow", World::is_whole);
    let clients = (1..=3).map(|one| world.connect(id(one), None).unwrap()).collect();
    (world, clients)
}

/// Whoever is connected with a member that goes on.
fn elsewhere(world: &World, clients: &[Session], not: &[ServerId]) -> Session {
    *clients.iter().find(|client| !not.contains(&client.server) && world.standing(client.server).is_some()).unwrap()
}

fn follows(world: &World, one: ServerId, as_voter: bool) -> bool {
    matches!(world.standing(one), Some(Standing::Following { votes, .. }) if votes == as_voter)
}

#[test]
fn each_configuration_is_told_to_the_host_and_shown_to_clients_once_it_is_in_force() {
    let (mut world, clients) = serving();
    let shows = |world: &World, one: ServerId| {
        let tree = world.engine(one).tree();
        let data = tree.data(tree.lookup(path::CONFIG).unwrap()).unwrap();
        let version = world.configs(one).committed.version.0;
        std::str::from_utf8(&data).unwrap().contains(&format!("version={version:x}"))
    };
    // The first one is in no log.
    for one in 1..=3 {
        let told = &world.net.configured[&id(one)];
        let (configs, change) = told.last().unwrap();
        assert_eq!((configs, *change), (world.configs(id(one)), ConfigChange::Activated { is_in_log: false }));
        assert!(configs.committed.version.epoch() > 0 && shows(&world, id(one)), "{one}");
    }
    world.net.configured.clear();
    let leader = world.leader().unwrap();
    let asks = *clients.iter().find(|client| client.server == leader).unwrap();
    let moved = world.followers()[0];
    let line = line(moved.0, "participant").replace(":1:2:", ":7:8:");
    assert_eq!(world.reconfigure(asks, &line, "", -1).map(|(err, _)| err), OK);
    world.until("all know", |world| (1..=3).all(|one| world.configs(id(one)) == world.configs(leader)));
    world.all_agree();
    for one in 1..=3 {
        let told = &world.net.configured[&id(one)];
        assert_eq!(told.first().map(|(_, change)| *change), Some(ConfigChange::Proposed), "{one}");
        let (configs, change) = told.last().unwrap();
        assert_eq!((configs, *change), (world.configs(id(one)), ConfigChange::Activated { is_in_log: true }));
        assert!(configs.committed.to_string().contains(&line) && shows(&world, id(one)), "{one}");
    }
}

#[test]
fn an_observer_joins_becomes_a_voter_and_a_follower_goes() {
    let (mut world, clients) = serving();
    let leader = world.leader().unwrap();
    let asks = *clients.iter().find(|client| client.server == leader).unwrap();
    assert_eq!(world.create(asks, "/before", b"x", 0), OK);
    assert_eq!(world.configs(leader).committed.version.counter(), 0);
    assert!(world.configs(leader).committed.version.epoch() > 0, "the first configuration has its epoch's version");
    // It names the others and itself, and is in no configuration yet.
    world.join(id(4), &line(4, "observer"));
    world
        .until("the joiner is brought up to date", |world| follows(world, id(4), true) || follows(world, id(4), false));
    let reply = world.reconfigure(asks, &line(4, "observer"), "", -1);
    assert_eq!(reply.map(|(err, _)| err), OK);
    world.until("it observes", |world| follows(world, id(4), false));
    assert_eq!(world.leader(), Some(leader), "nobody was elected");
    let (err, text) = world.reconfigure(asks, &line(4, "participant"), "", -1).unwrap();
    assert_eq!(err, 0);
    assert!(text.contains(&line(4, "participant")), "{text}");
    world.until("it votes", |world| follows(world, id(4), true));
    let gone = world.followers().into_iter().find(|one| *one != id(4)).unwrap();
    assert_eq!(world.reconfigure(asks, "", &gone.to_string(), -1).map(|(err, _)| err), OK);
    world.kill(gone);
    assert_eq!(world.leader(), Some(leader), "nobody was elected");
    // Of three, the joiner's vote is needed now.
    let other = world.followers().into_iter().find(|one| *one != id(4)).unwrap();
    world.kill(other);
    world.until("two of three go on", World::is_whole);
    let asks = world.connect(world.leader().unwrap(), None).unwrap();
    assert_eq!(world.create(asks, "/after", b"x", 0), OK);
    assert_eq!(world.exists(asks, "/before"), Some(true));
}

#[test]
fn a_leader_that_is_removed_answers_and_another_leads_without_an_election() {
    let (mut world, clients) = serving();
    let leader = world.leader().unwrap();
    let asks = *clients.iter().find(|client| client.server == leader).unwrap();
    let before = world.configs(leader).committed.version;
    let (err, text) = world.reconfigure(asks, "", &leader.to_string(), before.0).unwrap();
    assert_eq!((err, text.contains(&format!("server.{leader}="))), (0, false));
    let next = |world: &World| world.leader().is_some_and(|next| next != leader) && world.is_whole();
    world.until("another one leads, and the old leader follows it", next);
    let epoch = |world: &World| match world.standing(world.leader().unwrap()) {
        Some(Standing::Leading { epoch }) => epoch,
        _ => 0,
    };
    assert_eq!(epoch(&world), before.epoch() + 1, "one epoch further: no leader in between");
    world.kill(leader);
    let stays = world.connect(world.leader().unwrap(), None).unwrap();
    assert_eq!(world.create(stays, "/after", b"x", 0), OK);
    world.pass(2_000);
    assert!(world.is_whole());
}

#[test]
fn what_was_changed_is_known_after_a_restart_whatever_the_files_say() {
    let (mut world, clients) = serving();
    let leader = world.leader().unwrap();
    let asks = *clients.iter().find(|client| client.server == leader).unwrap();
    world.join(id(4), &line(4, "observer"));
    world.until("the joiner is there", World::is_whole);
    assert_eq!(world.reconfigure(asks, &line(4, "participant"), "", -1).map(|(err, _)| err), OK);
    world.until("it votes", |world| world.is_whole() && world.configs(id(4)).committed.servers.len() == 4);
    let version = world.configs(leader).committed.version;
    let all = world.ids();
    world.all_have_applied();
    all.iter().for_each(|one| world.kill(*one));
    // Of four, two are no quorum; their files say three.
    world.start(id(1));
    world.start(id(2));
    world.pass(5_000);
    assert_eq!(world.leader(), None, "two of four serve");
    world.start(id(4));
    world.until("three of four serve", World::is_whole);
    for one in [1, 2, 4] {
        assert_eq!(world.configs(id(one)).committed.version, version, "{one}");
    }
    let asks = world.connect(id(1), None).unwrap();
    assert_eq!(world.create(asks, "/after", b"x", 0), OK);
}

#[test]
fn a_member_that_was_away_hears_of_the_members_of_today() {
    let (mut world, clients) = serving();
    let leader = world.leader().unwrap();
    let away = world.followers()[0];
    let asks = elsewhere(&world, &clients, &[away]);
    world.join(id(4), &line(4, "participant"));
    world.until("the joiner is there", World::is_whole);
    world.kill(away);
    assert_eq!(world.reconfigure(asks, &line(4, "participant"), "", -1).map(|(err, _)| err), OK);
    let old: Vec<String> = world
        .ids()
        .into_iter()
        .filter(|one| *one != away && *one != leader && one.0 < 4)
        .map(|one| one.to_string())
        .collect();
    let asks = world.connect(world.leader().unwrap(), None).unwrap();
    assert_eq!(world.reconfigure(asks, "", &old.join(","), -1).map(|(err, _)| err), OK);
    let version = world.configs(world.leader().unwrap()).committed.version;
    world.start(away);
    world.until("it knows", |world| world.is_whole() && world.configs(away).committed.version == version);
}
