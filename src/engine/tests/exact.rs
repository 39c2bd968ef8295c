//! Promises at their exact edge: one zxid, one id, one byte away the answer is another.

use super::*;

/// What `setWatches` sends at once to a client that has seen everything up to `seen`.
fn missed(world: &mut World, watcher: ConnId, seen: i64) -> Vec<(EventType, String)> {
    let request = SetWatchesRequest {
        relative_zxid: seen,
        data: vec!["/data".into()],
        exist: Vec::new(),
        child: vec!["/kids".into()],
    };
    world.request(watcher, OpCode::SetWatches, &request);
    let mut frames = world.frames(watcher);
    assert_eq!(frames.pop().unwrap().code(), ErrorCode::Ok);
    frames.iter().map(Frame::event).collect()
}

#[test]
fn a_change_that_the_client_has_seen_is_not_told_again_and_the_next_one_is() {
    // G-07: ZooKeeper compares with `>`; with `>=` every reconnect would repeat the last event.
    let mut world = World::new();
    let (watcher, writer) = (world.client(), world.client());
    for path in ["/data", "/kids"] {
        world.create(writer, path, 0);
    }
    world.set(writer, "/data");
    let data = world.engine.applied().0;
    world.create(writer, "/kids/c", 0);
    let kids = world.engine.applied().0;
    assert_eq!(kids, data + 1);
    let (data_event, kids_event) =
        ((EventType::DataChanged, "/data".to_owned()), (EventType::ChildrenChanged, "/kids".to_owned()));
    assert_eq!(missed(&mut world, watcher, data - 1), [data_event, kids_event.clone()]);
    assert_eq!(missed(&mut world, watcher, data), [kids_event]);
    assert_eq!(missed(&mut world, watcher, kids), []);
    // What was not told at once is watched.
    world.set(writer, "/data");
    world.create(writer, "/kids/d", 0);
    let events = world.events(watcher);
    assert_eq!(events.len(), 2, "{events:?}");
}

#[test]
fn a_restart_from_a_snapshot_issues_no_session_id_again() {
    // S-27, F-12: the sessions are gone from the snapshot, the clock has gone back, and still no id is used twice.
    let mut world = World::new();
    let mut issued = Vec::new();
    for _ in 0..3 {
        let conn = world.client();
        issued.push(world.session(conn));
        world.call(conn, OpCode::CloseSession, &());
    }
    let mut entries = Vec::new();
    world.engine.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
    while !world.engine.snapshot_slice(10, &mut |entry| entries.push(entry.to_vec())) {}

    let mut later = World::new();
    later.load(world.engine.applied(), &entries);
    assert_eq!(later.engine.status().sessions, 0);
    later.engine.retire().unwrap();
    later.engine.serve(ALONE, Millis(0), WallMillis(1_600_000_000_000));
    for _ in 0..3 {
        let conn = later.client();
        assert!(!issued.contains(&later.session(conn)), "{:?} twice", later.session(conn));
        assert!(later.session(conn) > issued[2]);
    }
}

#[test]
fn a_snapshot_keeps_sessions_with_their_timeouts_and_what_they_own() {
    let mut world = World::new();
    let conn = world.client();
    world.create(conn, "/e", 1);
    world.create(conn, "/p", 0);
    let mut entries = Vec::new();
    world.engine.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
    while !world.engine.snapshot_slice(1, &mut |entry| entries.push(entry.to_vec())) {}
    let size: usize = entries.iter().map(|entry| entry.len() + 4).sum();
    let estimate = world.engine.snapshot_estimate() as usize;
    assert!((size..size + 4096).contains(&estimate), "{estimate} for {size} bytes");

    let mut later = World::new();
    later.client();
    later.load(world.engine.applied(), &entries);
    later.engine.retire().unwrap();
    later.engine.serve(ALONE, Millis(0), WallMillis(1_700_000_000_000));
    let status = later.engine.status();
    assert_eq!((status.applied, status.sessions, status.ephemerals), (world.engine.applied(), 1, 1));
    assert_eq!(later.engine.tree().node_count(), world.engine.tree().node_count());
    later.pass(3999);
    assert!(later.engine.tree().lookup("/e").is_some());
    later.pass(1001);
    assert!(later.engine.tree().lookup("/e").is_none(), "its session had 4 s and a tick");
    assert!(later.engine.tree().lookup("/p").is_some());
    // What is no entry is damage, and the next snapshot begins from nothing.
    for entry in [&[][..], &[200], &[16], &[16, 0, 0], &[17, 1]] {
        later.engine.state.load_begin(world.engine.applied());
        assert!(later.engine.state.load_entry(entry).is_err(), "{entry:?}");
    }
}
