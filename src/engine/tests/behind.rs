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

#[test]
fn nothing_is_decided_for_a_session_behind_its_decided_end() {
    // S-28: not even that a znode is as it was.
    use crate::records::multi::MultiHeader;
    let mut world = World::new();
    let (client, other) = (world.client(), world.client());
    assert_eq!(world.create(client, "/a", 0).code(), ErrorCode::Ok);
    let any = PathVersionRequest { path: "/a".into(), version: -1 };
    assert!(world.engine.expire(world.session(client)));
    let mut checks = Vec::new();
    encode(&MultiHeader::request(OpCode::Check), &mut checks);
    encode(&any, &mut checks);
    encode(&MultiHeader::END, &mut checks);
    let set = SetDataRequest { path: "/a".into(), data: Buffer::new(b"x"), version: -1 };
    let set_acl = SetAclRequest { path: "/a".into(), acl: Some(vec![Acl::open()]), version: -1 };
    world.request(client, OpCode::Create, &create("/b", 0));
    world.request(client, OpCode::SetData, &set);
    world.request(client, OpCode::SetAcl, &set_acl);
    world.request(client, OpCode::Delete, &any);
    // The end itself is behind all of them.
    let proposals: Vec<Proposal> = world.engine.poll_proposals().collect();
    let codes: Vec<i32> = proposals
        .iter()
        .filter_map(|proposal| match crate::records::txn::decode_txn(&proposal.txn).unwrap().1 {
            crate::records::txn::Txn::Error(error) => Some(error.err),
            _ => None,
        })
        .collect();
    assert_eq!(codes, [ErrorCode::SessionExpired.to_i32(); 4]);
    for proposal in proposals {
        world.engine.deliver(proposal.zxid, &proposal.txn).unwrap();
    }
    assert!(world.exists(other, "/a", false) && !world.exists(other, "/b", false));
    // A multi that only checks, too.
    let late = world.client();
    assert!(world.engine.expire(world.session(late)));
    let mut payload = Vec::new();
    encode(&RequestHeader { xid: 7, op: OpCode::Multi.to_i32() }, &mut payload);
    payload.extend_from_slice(&checks);
    world.send(late, &payload);
    let multi = world.engine.proposals()[1].txn.clone();
    let (_, txn, _) = crate::records::txn::decode_txn(&multi).unwrap();
    let crate::records::txn::Txn::Multi(parts) = txn else { panic!("{txn:?}") };
    let data = parts[0].data.0.unwrap();
    assert_eq!((parts.len(), parts[0].op), (1, -1));
    assert_eq!(data, ErrorCode::SessionExpired.to_i32().to_be_bytes());
}

#[test]
fn versions_are_expected_as_they_were_applied_and_as_they_are_decided() {
    let mut world = World::new();
    let client = world.client();
    assert_eq!(world.create(client, "/a", 0).code(), ErrorCode::Ok);
    let acl = |version| SetAclRequest { path: "/a".into(), acl: Some(vec![Acl::open()]), version };
    let set = |version| SetDataRequest { path: "/a".into(), data: Buffer::new(b"x"), version };
    for version in 0..3 {
        assert_eq!(world.call(client, OpCode::SetAcl, &acl(version)).code(), ErrorCode::Ok);
        assert_eq!(world.call(client, OpCode::SetData, &set(version)).code(), ErrorCode::Ok);
        assert_eq!(world.call(client, OpCode::SetAcl, &acl(version)).code(), ErrorCode::BadVersion);
        assert_eq!(world.call(client, OpCode::SetData, &set(version)).code(), ErrorCode::BadVersion);
    }
    for version in [3, 3, 4] {
        world.request(client, OpCode::SetAcl, &acl(version));
        world.request(client, OpCode::SetData, &set(version));
    }
    world.commit();
    use ErrorCode::{BadVersion, Ok};
    let codes: Vec<ErrorCode> = world.frames(client).iter().map(Frame::code).collect();
    assert_eq!(codes, [Ok, Ok, BadVersion, BadVersion, Ok, Ok]);
}
