//! Members that change: the checks of a request and their order, what it is answered with, and the znode that tells the members.

use std::collections::BTreeSet;

use super::*;
use crate::ids::ServerId;
use crate::jute::{Text, encoded};
use crate::path::CONFIG;
use crate::records::membership::{Membership, ReconfigView};
use crate::records::txn::{SetDataTxn, TxnHeader};

const THREE: &str = "server.1=a:1:2:participant;0.0.0.0:3\nserver.2=b:1:2:participant;0.0.0.0:3\nserver.3=c:1:2:participant;0.0.0.0:3\nversion=100000000";

fn three() -> Membership {
    Membership::parse(THREE).unwrap()
}

fn view(committed: &Membership, in_sync: &[u64]) -> ReconfigView {
    ReconfigView {
        committed: committed.clone(),
        seen: committed.clone(),
        in_sync: in_sync.iter().copied().map(ServerId).collect(),
        has_quorum: |members: &Membership, present: &BTreeSet<ServerId>| {
            let voters: Vec<ServerId> = members.voters().collect();
            voters.iter().filter(|voter| present.contains(voter)).count() * 2 > voters.len()
        },
    }
}

/// A leader whose members can change, with all three in sync.
fn leader(settings: EngineSettings) -> World {
    let mut world = World::with(settings);
    world.engine.retire().unwrap();
    world.engine.configured(&three());
    world.engine.serve(Duty::Decide { epoch: 1 }, Millis(0), WallMillis(1_700_000_000_000));
    world.engine.set_reconfig_view(Some(view(&three(), &[1, 2, 3])));
    world
}

fn settings() -> EngineSettings {
    EngineSettings {
        tick_ms: 1000,
        reconfig_enabled: true,
        // super:test
        super_digest: Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".to_owned()),
        ..EngineSettings::default()
    }
}

fn log_in(world: &mut World, conn: ConnId) {
    let auth = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"super:test") };
    let mut frame = encoded(&RequestHeader { xid: -4, op: OpCode::Auth.to_i32() });
    encode(&auth, &mut frame);
    world.send(conn, &frame);
    world.commit();
    assert_eq!(world.frames(conn).pop().unwrap().code(), ErrorCode::Ok);
}

const NULL: Text<'static> = Text(None);

fn change<'a>(joining: &'a str, leaving: &'a str) -> ReconfigRequest<'a> {
    ReconfigRequest { joining: joining.into(), leaving: leaving.into(), new_members: NULL, config_id: -1 }
}

fn whole(members: &str) -> ReconfigRequest<'_> {
    ReconfigRequest { joining: NULL, leaving: NULL, new_members: members.into(), config_id: -1 }
}

#[test]
fn the_first_check_that_fails_decides_in_zookeepers_order() {
    use ErrorCode::{
        BadArguments, BadVersion, MarshallingError, NewConfigNoQuorum, NoAuth, Ok, ReconfigDisabled,
        ReconfigInProgress, Unimplemented,
    };
    let at = |version, request| ReconfigRequest { config_id: version, ..request };
    let bad = || at(5, change("some thing", "x"));

    let mut off = leader(EngineSettings { reconfig_enabled: false, ..settings() });
    let conn = off.client();
    assert_eq!(off.call(conn, OpCode::Reconfig, &bad()).code(), ReconfigDisabled);
    let mut alone = World::with(settings());
    let conn = alone.client();
    assert_eq!(alone.call(conn, OpCode::Reconfig, &bad()).code(), Unimplemented);

    let mut world = leader(settings());
    let conn = world.client();
    world.engine.set_reconfig_view(None);
    assert_eq!(world.call(conn, OpCode::Reconfig, &bad()).code(), NewConfigNoQuorum);
    let mut pending = view(&three(), &[1, 2, 3]);
    pending.seen = three().with_version(Zxid::new(1, 9));
    world.engine.set_reconfig_view(Some(pending));
    assert_eq!(world.call(conn, OpCode::Reconfig, &bad()).code(), ReconfigInProgress);
    world.engine.set_reconfig_view(Some(view(&three(), &[1, 2, 3])));

    let voters: String = (11..15).map(|id| format!("server.{id}=h{id}:1:2;3,")).collect();
    let six: String = (4..7).map(|id| format!("server.{id}=h{id}:1:2;3,")).collect();
    for (request, expected) in [
        (bad(), BadVersion),
        (at(0, change("", "")), BadVersion),
        (change("some thing", ""), BadArguments),
        (change("", "one"), MarshallingError),
        (change("", "1,one"), MarshallingError),
        (change("server.x=a:5:6;7", ""), MarshallingError),
        (change("server.4=d:1:2", ""), BadArguments),
        (change("server.4=d:1;3", ""), BadArguments),
        (change("server.4=d:1:1;3", ""), BadArguments),
        (change("server.4=d:1:2:king;3", ""), BadArguments),
        (change("", "2,3"), BadArguments),
        (change("", "1,2,3"), BadArguments),
        (whole(""), BadArguments),
        (whole("server.1=a:1:2:observer;3"), MarshallingError),
        (whole("abc"), BadArguments),
        (whole("server.1=a:1:2;3\nclientPort=4"), BadArguments),
        (whole("server.1=a:1:2;3"), BadArguments),
        (whole(&voters), NewConfigNoQuorum),
        (change(&six, ""), NewConfigNoQuorum),
        (change("server.4=d:1:2;3", ""), NoAuth),
        (change("", "3"), NoAuth),
        (change("", "77"), NoAuth),
        (change("server.4=d:1:2:observer;3", ""), NoAuth),
        (at(0x1_0000_0000, whole(THREE)), NoAuth),
    ] {
        assert_eq!(world.call(conn, OpCode::Reconfig, &request).code(), expected, "{request:?}");
    }
    log_in(&mut world, conn);
    assert_eq!(world.call(conn, OpCode::Reconfig, &bad()).code(), BadVersion);
    assert_eq!(world.call(conn, OpCode::Reconfig, &whole(THREE)).code(), Ok);
}

#[test]
fn one_voter_is_enough_only_where_a_server_may_not_be_alone() {
    let mut world = leader(EngineSettings { standalone_enabled: false, skip_acl: true, ..settings() });
    let conn = world.client();
    assert_eq!(world.call(conn, OpCode::Reconfig, &change("", "2,3")).code(), ErrorCode::Ok);
}

#[test]
fn a_reconfiguration_is_a_transaction_of_type_16_whose_zxid_is_the_version_and_is_answered_with_the_text() {
    let mut world = leader(settings());
    let (conn, watcher) = (world.client(), world.client());
    log_in(&mut world, conn);
    let read = world.call(watcher, OpCode::GetData, &PathWatchRequest { path: CONFIG.into(), watch: true });
    let before: DataReply<'_> = decode(&read.body).unwrap();
    assert_eq!(before.data, Buffer::new(THREE.as_bytes()));
    assert_eq!(
        (before.stat.version, before.stat.aversion, before.stat.czxid, before.stat.mzxid),
        (-1, -1, 0, 0x1_0000_0000)
    );

    let logged = world.log.len();
    let reply = world.call(conn, OpCode::Reconfig, &change("server.4=d:1:2:observer;3", "3"));
    assert_eq!(reply.code(), ErrorCode::Ok);
    let proposal = &world.log[logged];
    let made = Membership::of_txn(&proposal.txn).unwrap().expect("it is of type 16");
    assert_eq!(
        (made.version, made.to_string()),
        (
            proposal.zxid,
            format!(
                "server.1=a:1:2:participant;0.0.0.0:3\nserver.2=b:1:2:participant;0.0.0.0:3\nserver.4=d:1:2:observer;0.0.0.0:3\nversion={:x}",
                proposal.zxid.0
            )
        )
    );
    let answered: DataReply<'_> = decode(&reply.body).unwrap();
    assert_eq!(answered.data, Buffer::new(made.to_string().as_bytes()));
    assert_eq!((answered.stat.version, answered.stat.mzxid), (-1, proposal.zxid.0));
    assert_eq!(world.events(watcher), [(EventType::DataChanged, CONFIG.to_owned())]);

    // Until it is in force there is no other, whatever a view of before says.
    for committed in [three(), three()] {
        world.engine.set_reconfig_view(Some(view(&committed, &[1, 2, 3])));
        assert_eq!(world.call(conn, OpCode::Reconfig, &change("", "")).code(), ErrorCode::ReconfigInProgress);
    }
    world.engine.set_reconfig_view(Some(view(&made, &[1, 2])));
    assert_eq!(world.call(conn, OpCode::Reconfig, &change("", "4")).code(), ErrorCode::Ok);
}

#[test]
fn a_reconfiguration_that_came_to_nothing_keeps_no_other_waiting() {
    let mut world = leader(EngineSettings { skip_acl: true, ..settings() });
    let (conn, other) = (world.client(), world.client());
    world.request(conn, OpCode::Reconfig, &change("", "3"));
    world.engine.abandon_proposals();
    assert_eq!(world.call(other, OpCode::Reconfig, &change("", "3")).code(), ErrorCode::Ok);
}

#[test]
fn only_a_reconfiguration_changes_who_the_members_are() {
    let mut world = leader(settings());
    let conn = world.client();
    let set = SetDataRequest { path: CONFIG.into(), data: Buffer::new(b"x"), version: -1 };
    assert_eq!(world.call(conn, OpCode::SetData, &set).code(), ErrorCode::NoAuth);
    assert_eq!(world.delete(conn, CONFIG).code(), ErrorCode::BadArguments);
    assert_eq!(world.create(conn, "/zookeeper/config/x", 0).code(), ErrorCode::NoAuth);
    // What the super user writes there is gone at the next start of a role.
    log_in(&mut world, conn);
    assert_eq!(world.call(conn, OpCode::SetData, &set).code(), ErrorCode::Ok);
    world.engine.retire().unwrap();
    world.engine.serve(Duty::Decide { epoch: 2 }, Millis(0), WallMillis(1_700_000_000_000));
    assert_eq!(world.engine.config_data(), THREE.as_bytes());
}

#[test]
fn the_znode_tells_the_newest_configuration_that_is_known_and_never_an_older_one() {
    let mut world = leader(EngineSettings { skip_acl: true, ..settings() });
    let conn = world.client();
    assert_eq!(world.call(conn, OpCode::Reconfig, &change("", "3")).code(), ErrorCode::Ok);
    let newer = world.engine.config_data();
    world.engine.retire().unwrap();
    world.engine.configured(&three());
    world.engine.serve(Duty::Forward { epoch: 2, votes: true }, Millis(0), WallMillis(0));
    assert_eq!(world.engine.config_data(), newer, "what its history says is newer");
    world.engine.retire().unwrap();
    let newest = three().with_version(Zxid::new(3, 0));
    world.engine.configured(&newest);
    assert_eq!(world.engine.config_data(), newer, "nobody is served, and the state may become another one");
    world.engine.serve(Duty::Forward { epoch: 3, votes: true }, Millis(0), WallMillis(7));
    assert_eq!(world.engine.config_data(), newest.to_string().as_bytes());
}

#[test]
fn what_the_log_proposes_is_read_from_its_own_record_and_not_from_the_znode_that_tells_it() {
    // A super user may write there what was never proposed, and so that what was cannot be seen.
    let mut state = ReplicatedState::new(&EngineSettings::default(), [1, 2]);
    let mut replay = |counter: u32, op: OpCode, version: u32| {
        let zxid = Zxid::new(1, counter);
        let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time: 0, op: op as i32 };
        let text = three().with_version(Zxid::new(1, version)).to_string();
        let data = Buffer::new(text.as_bytes());
        let mut out = encoded(&header);
        out.extend(encoded(&SetDataTxn { path: CONFIG.into(), data, version: -1 }));
        state.replay(zxid, &out).unwrap();
        state.reconfig_replayed().map(|proposed| proposed.version.counter())
    };
    assert_eq!(replay(1, OpCode::SetData, 1), None, "it is no proposal");
    assert_eq!(replay(2, OpCode::Reconfig, 2), Some(2));
    assert_eq!(replay(3, OpCode::SetData, 1), Some(2), "it is still there");
    // A file is read anew from its snapshot when it turns out that a part of what was read is void.
    state.load_begin(Zxid::new(1, 1));
    assert_eq!(state.reconfig_replayed(), None, "it was cut from the log");
}

#[test]
fn a_configuration_that_comes_into_force_without_a_transaction_is_told_at_once_while_clients_are_served() {
    let mut world = leader(settings());
    let told = |world: &World| String::from_utf8(world.engine.config_data()).unwrap();
    assert_eq!(told(&world), THREE);
    let newer = three().changed("server.4=d:1:2:participant;0.0.0.0:3", "").unwrap().with_version(Zxid(0x1_0000_0007));
    world.engine.configured(&newer);
    assert_eq!(told(&world), newer.to_string());
}

#[test]
fn the_configuration_of_a_transaction_is_in_force_whatever_an_older_state_says_later() {
    let mut world = leader(settings());
    let line = "server.4=d:1:2:participant;0.0.0.0:3";
    let changed = world.engine.change_config(|view| view.seen.changed(line, "").ok()).expect("it may be changed");
    world.commit();
    assert_eq!(world.engine.config_data(), changed.to_string().as_bytes());
    // A member whose log is cut, or who is sent a state, begins with what had been before.
    world.engine.retire().unwrap();
    world.engine.reload(|_| Ok::<(), ()>(())).unwrap();
    world.engine.serve(Duty::Decide { epoch: 2 }, Millis(1), WallMillis(1_700_000_000_001));
    assert_eq!(world.engine.config_data(), changed.to_string().as_bytes());
}

#[test]
fn the_znode_of_the_configuration_is_dated_when_its_server_writes_it() {
    let mut world = leader(settings());
    let modified = |world: &World| {
        let node = world.engine.tree().lookup(CONFIG).unwrap();
        world.engine.tree().stat(node).mtime
    };
    assert_eq!(modified(&world), 1_700_000_000_000);
    world.engine.set_time(Millis(5), WallMillis(1_700_000_000_005));
    world.engine.configured(&three());
    assert_eq!(modified(&world), 1_700_000_000_000, "it tells that already");
    world.engine.configured(&three().with_version(Zxid(0x1_0000_0007)));
    assert_eq!(modified(&world), 1_700_000_000_005);
}

#[test]
fn what_is_decided_behind_a_reconfiguration_is_decided_against_the_znode_that_it_leaves() {
    // Its version is −1 after each, whatever a super user has made of it.
    let mut world = leader(EngineSettings { skip_acl: true, ..settings() });
    let conn = world.client();
    let set = |version| SetDataRequest { path: CONFIG.into(), data: Buffer::new(b"x"), version };
    assert_eq!(world.call(conn, OpCode::SetData, &set(-1)).code(), ErrorCode::Ok);
    world.request(conn, OpCode::Reconfig, &change("", "3"));
    world.request(conn, OpCode::SetData, &set(0));
    world.request(conn, OpCode::SetData, &set(-1));
    world.commit();
    let frames = world.frames(conn);
    let codes: Vec<ErrorCode> = frames.iter().map(Frame::code).collect();
    assert_eq!(codes, [ErrorCode::Ok, ErrorCode::BadVersion, ErrorCode::Ok]);
    let set: StatReply = decode(&frames[2].body).unwrap();
    assert_eq!(set.stat.version, 0);
}
