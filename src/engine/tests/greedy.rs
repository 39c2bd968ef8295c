//! Requests that would grow into more than they are: what one client asks for must not cost the others their writes,
//! nor the server its memory.

use super::*;
use crate::records::multi::{MultiHeader, MultiResult, decode_results};

/// As the store will take it: half again as much as the largest request, and some.
fn record_size_max() -> usize {
    EngineLimits::default().frame_size_max * 3 / 2 + (64 << 10)
}

impl World {
    /// The longest transaction so far.
    fn longest(&self) -> usize {
        self.log.iter().map(|proposal| proposal.txn.len()).max().unwrap_or(0)
    }

    fn auth(&mut self, conn: ConnId, credentials: &[u8]) -> Vec<Frame> {
        let request = AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(credentials) };
        self.request(conn, OpCode::Auth, &request);
        self.frames(conn)
    }
}

fn auth_entries(count: i32) -> Option<Vec<Acl<'static>>> {
    // Different permissions, so that none is dropped as a duplicate.
    Some((0..count).map(|perms| Acl::new(perms << 5 | perms::ALL, "auth", "")).collect())
}

#[test]
fn the_end_of_a_session_fits_the_log_whatever_it_owns() {
    // G-11: 400 ephemerals with names of 8,000 bytes are more than a record of the log can list.
    let mut world = World::new();
    let (conn, other) = (world.client(), world.client());
    for number in 0..400 {
        let path = format!("/{number:03}{}", "x".repeat(8000));
        assert_eq!(world.create(conn, &path, 1).code(), ErrorCode::Ok);
    }
    // One that is not applied yet when the end is decided.
    world.request(conn, OpCode::Create, &create("/late", 1));
    world.request(conn, OpCode::CloseSession, &());
    world.commit();
    assert_eq!(world.engine.status().ephemerals, 0);
    assert!(!world.exists(other, "/late", false));
    assert!(world.longest() <= record_size_max(), "{} bytes", world.longest());
}

#[test]
fn credentials_have_a_limit_in_bytes() {
    //
    let mut world = World::new();
    let conn = world.client();
    assert_eq!(world.auth(conn, &[b'u'; 60_000])[0].code(), ErrorCode::Ok);
    assert!(world.auth(conn, &[b'v'; 60_000]).is_empty());
    assert!(world.is_closing(conn));
}

#[test]
fn acls_do_not_grow_beyond_their_limit() {
    // each `auth` stands for all identities of the caller.
    let mut world = World::new();
    let conn = world.client();
    for number in 0..40 {
        world.auth(conn, format!("{number}{}:p", "u".repeat(1000)).as_bytes());
    }
    let request = |acl| CreateRequest { path: "/a".into(), data: Buffer::new(b""), acl, flags: 0 };
    assert_eq!(world.call(conn, OpCode::Create, &request(auth_entries(1))).code(), ErrorCode::Ok);
    assert_eq!(world.call(conn, OpCode::Create, &request(auth_entries(20))).code(), ErrorCode::InvalidAcl);
    // 40 times 40 are more entries than an ACL may have.
    let mut world = World::new();
    let conn = world.client();
    for number in 0..40 {
        world.auth(conn, format!("{number}:p").as_bytes());
    }
    assert_eq!(world.call(conn, OpCode::Create, &request(auth_entries(40))).code(), ErrorCode::InvalidAcl);
}

#[test]
fn a_multi_that_grows_too_large_is_refused_as_a_whole() {
    //
    let mut world = World::new();
    let (conn, other) = (world.client(), world.client());
    for number in 0..40 {
        world.auth(conn, format!("{number}{}:p", "u".repeat(1000)).as_bytes());
    }
    let xid = 77;
    let mut payload = Vec::new();
    encode(&RequestHeader { xid, op: OpCode::Multi.to_i32() }, &mut payload);
    for number in 0..2000 {
        encode(&MultiHeader::request(OpCode::Create), &mut payload);
        let path = format!("/m{number}");
        let request = CreateRequest { path: path.as_str().into(), data: Buffer(None), acl: auth_entries(1), flags: 0 };
        encode(&request, &mut payload);
    }
    encode(&MultiHeader::END, &mut payload);
    world.send(conn, &payload);
    assert!(world.engine.proposals().iter().all(|proposal| proposal.txn.len() <= record_size_max()));
    world.commit();
    let frames = world.frames(conn);
    let results = decode_results(&frames[0].body).unwrap();
    assert_eq!(results.len(), 2000);
    assert!(results.contains(&MultiResult::Error(ErrorCode::BadArguments.to_i32())));
    assert!(!world.exists(other, "/m0", false), "a part of it was done");
}

#[test]
fn watched_paths_have_the_limit_of_paths() {
    // a watch may wait for a znode that can never be, and its path is kept.
    let mut world = World::new();
    let conn = world.client();
    let path = format!("/{}", "x".repeat(500_000));
    let exists = PathWatchRequest { path: path.as_str().into(), watch: true };
    assert_eq!(world.call(conn, OpCode::Exists, &exists).code(), ErrorCode::BadArguments);
    let add = WatchRequest { path: path.as_str().into(), kind: 1 };
    assert_eq!(world.call(conn, OpCode::AddWatch, &add).code(), ErrorCode::BadArguments);
    let set =
        SetWatchesRequest { relative_zxid: 0, data: Vec::new(), exist: vec![path.as_str().into()], child: Vec::new() };
    assert_eq!(world.call(conn, OpCode::SetWatches, &set).code(), ErrorCode::BadArguments);
    assert_eq!(world.engine.status().watches, 0);
    // Without a watch nothing is kept, and the answer is ZooKeeper's.
    let exists = PathWatchRequest { path: path.as_str().into(), watch: false };
    assert_eq!(world.call(conn, OpCode::Exists, &exists).code(), ErrorCode::NoNode);
}

#[test]
fn watched_paths_have_a_limit_in_bytes() {
    //
    let mut settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
    (settings.limits.watches_per_connection_max, settings.limits.watches_max) = (100, 1000);
    let mut world = World::with(settings);
    let (conn, other) = (world.client(), world.client());
    let long = |number: usize| format!("/{number:02}{}", "x".repeat(1021));
    let code = |world: &mut World, conn, number| {
        let path = long(number);
        let exists = PathWatchRequest { path: path.as_str().into(), watch: true };
        world.call(conn, OpCode::Exists, &exists).code()
    };
    let codes: Vec<ErrorCode> = (0..30).map(|number| code(&mut world, conn, number)).collect();
    let taken = codes.iter().filter(|&&code| code == ErrorCode::NoNode).count();
    assert_eq!(taken, 25, "as many as 100 of 256 bytes: {codes:?}");
    assert_eq!(codes[29], ErrorCode::ThrottledOp);
    // Others do not pay for it, and what is given back can be used again.
    assert_eq!(code(&mut world, other, 0), ErrorCode::NoNode);
    let path = long(3);
    let remove = WatchRequest { path: path.as_str().into(), kind: 3 };
    assert_eq!(world.call(conn, OpCode::RemoveWatches, &remove).code(), ErrorCode::Ok);
    assert_eq!(code(&mut world, conn, 40), ErrorCode::NoNode);
}
