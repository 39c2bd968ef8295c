//! What comes behind something that was decided and is not applied yet.

use super::*;

#[test]
fn what_comes_behind_the_decided_removal_of_a_container_finds_it_gone() {
    // S-21
    let mut world = World::new();
    let client = world.client();
    assert_eq!(world.create(client, "/parent", 0).code(), ErrorCode::Ok);
    assert_eq!(world.call(client, OpCode::CreateContainer, &create("/parent/c", 4)).code(), ErrorCode::Ok);
    assert_eq!(world.create(client, "/parent/c/used", 0).code(), ErrorCode::Ok);
    assert_eq!(world.delete(client, "/parent/c/used").code(), ErrorCode::Ok);
    let mut seconds = 0;
    while !world.engine.has_proposals() {
        assert!(world.exists(client, "/parent/c", false) && seconds < 1000, "it is never decided");
        seconds += 1;
        world.now = world.now.plus(1000);
        world.engine.set_time(world.now, WallMillis(1_700_000_000_000 + world.now.0 as i64));
        while world.engine.tick() {}
    }
    world.request(client, OpCode::Create, &create("/parent/c/late", 0));
    world.request(client, OpCode::CreateContainer, &create("/parent/c", 4));
    world.request(client, OpCode::Create, &create("/parent/c/again", 0));
    world.commit();
    let codes: Vec<ErrorCode> = world.frames(client).iter().map(Frame::code).collect();
    assert_eq!(codes, [ErrorCode::NoNode, ErrorCode::Ok, ErrorCode::Ok]);
    world.engine.tree().check().unwrap();
    let parent = world.engine.tree().lookup("/parent").unwrap();
    assert_eq!(world.engine.tree().stat(parent).cversion, 3, "made, removed, made again");
}

#[test]
fn a_session_is_known_from_its_beginning_to_its_end() {
    let mut world = World::new();
    let client = world.client();
    let session = world.session(client);
    assert!(world.engine.has_session(session) && !world.engine.has_session(SessionId(session.0 + 1)));
    world.request(client, OpCode::CloseSession, &());
    assert!(world.engine.has_session(session), "its end is not applied");
    world.commit();
    assert!(!world.engine.has_session(session));
}

#[test]
fn what_comes_behind_a_decided_write_is_decided_as_if_it_were_applied() {
    // S-20: all of it is on its way at once.
    let mut world = World::new();
    let client = world.client();
    let delete = |path| PathVersionRequest { path, version: -1 };
    world.request(client, OpCode::Create, &create("/p", 0));
    world.request(client, OpCode::Create, &create("/p/c", 0));
    world.request(client, OpCode::Delete, &delete("/p".into()));
    world.request(client, OpCode::Delete, &delete("/p/c".into()));
    world.request(client, OpCode::Create, &create("/p/s-", 2));
    world.request(client, OpCode::Delete, &delete("/p/s-0000000001".into()));
    world.request(client, OpCode::Delete, &delete("/p".into()));
    world.request(client, OpCode::Create, &create("/e", 1));
    world.request(client, OpCode::Create, &create("/e/below", 0));
    world.commit();
    let codes: Vec<ErrorCode> = world.frames(client).iter().map(Frame::code).collect();
    use ErrorCode::{NoChildrenForEphemerals, NotEmpty, Ok};
    assert_eq!(codes, [Ok, Ok, NotEmpty, Ok, Ok, Ok, Ok, Ok, NoChildrenForEphemerals]);
    world.engine.tree().check().unwrap();
}
