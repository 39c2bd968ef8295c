//! What happens by itself: sessions expire, containers and expired znodes go.

use std::time::{Duration, Instant};

use zoarium::raw::{ClientError, ConnectOptions, RawClient, RawEvent};
use zoarium::records::{Acl, CreateMode};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const OPEN: [Acl<'static>; 1] = [Acl::open()];

/// What happens, and how it looks to a client.
pub type Story = (&'static str, fn(&str) -> Vec<String>);

pub const STORIES: &[Story] = &[
    ("a session expires", expiry),
    ("a session that says nothing keeps to its own timeout", negotiated),
    ("a container goes with its last child", container),
    ("a container that was never used stays", unused_container),
    ("a znode with a time to live goes", ttl),
    ("a time to live waits for the last child", ttl_with_child),
];

fn connect(address: &str) -> RawClient {
    RawClient::connect(address).expect("a session")
}

fn watch(client: &mut RawClient, path: &str) {
    client.add_watch(path, true).expect("addWatch");
}

/// The next `count` events as text, zxids relative to the first.
fn events(client: &mut RawClient, count: usize) -> Vec<String> {
    let mut events: Vec<RawEvent> = Vec::new();
    while events.len() < count {
        match client.next_event(PATIENCE).expect("a connection") {
            Some(event) => events.push(event),
            None => break,
        }
    }
    let first = events.first().map_or(0, |event| event.zxid);
    let mut lines: Vec<_> =
        events.iter().map(|event| format!("{} {} +{}", event.kind, event.path, event.zxid - first)).collect();
    // Ephemerals of one session go in no promised order.
    lines.sort();
    lines
}

fn expiry(address: &str) -> Vec<String> {
    let mut watcher = connect(address);
    watcher.create("/expiry", None, &OPEN, CreateMode::Persistent).expect("create");
    watch(&mut watcher, "/expiry");
    let short = ConnectOptions { timeout_ms: 4000, ..Default::default() };
    let mut client = RawClient::connect_with(address, &short).expect("a session");
    // The last that it says comes later.
    let since = Instant::now();
    for name in ["/expiry/a", "/expiry/b"] {
        client.create(name, None, &OPEN, CreateMode::Ephemeral).expect("create");
    }
    events(&mut watcher, 2);
    let mut seen = events(&mut watcher, 2);
    let waited = since.elapsed();
    let in_time = waited > Duration::from_millis(3900) && waited < Duration::from_secs(9);
    seen.push(format!("in time: {in_time}"));
    // The connection ends without a word.
    let end = client.wire().receive_frame();
    seen.push(format!("{:?}", end.map_err(|error| error.kind())));
    let again = ConnectOptions { resume: Some((client.session(), client.password())), ..Default::default() };
    seen.push(format!("expired: {}", matches!(RawClient::connect_with(address, &again), Err(ClientError::Expired))));
    seen
}

fn negotiated(address: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for timeout_ms in [0, 1, 3999, 4000, 4001, 89_999, 90_001, i32::MAX, -1] {
        let options = ConnectOptions { timeout_ms, ..Default::default() };
        let client = RawClient::connect_with(address, &options).expect("a session");
        seen.push(format!("{timeout_ms}: {}", client.timeout_ms()));
        client.close().expect("close");
    }
    seen
}

fn container(address: &str) -> Vec<String> {
    let mut client = connect(address);
    client.create_container("/box", Some(b"x"), &OPEN).expect("createContainer");
    watch(&mut client, "/box");
    client.create("/box/kid", None, &OPEN, CreateMode::Persistent).expect("create");
    client.delete("/box/kid", -1).expect("delete");
    events(&mut client, 3)
}

fn unused_container(address: &str) -> Vec<String> {
    let mut client = connect(address);
    client.create_container("/unused", None, &OPEN).expect("createContainer");
    // One that does go tells that the server has looked.
    client.create_container("/used", None, &OPEN).expect("createContainer");
    watch(&mut client, "/used");
    client.create("/used/kid", None, &OPEN, CreateMode::Persistent).expect("create");
    client.delete("/used/kid", -1).expect("delete");
    let mut seen = events(&mut client, 3);
    let unused = client.exists("/unused", false).expect("exists");
    seen.push(format!("unused: {}", unused.is_some()));
    seen
}

fn ttl(address: &str) -> Vec<String> {
    let mut client = connect(address);
    client.create("/ttl", None, &OPEN, CreateMode::Persistent).expect("create");
    watch(&mut client, "/ttl");
    client.create_ttl("/ttl/short", None, &OPEN, CreateMode::PersistentWithTtl, 200).expect("createTTL");
    client.create_ttl("/ttl/long", None, &OPEN, CreateMode::PersistentWithTtl, 1_000_000).expect("createTTL");
    client.create_ttl("/ttl/s-", None, &OPEN, CreateMode::PersistentSequentialWithTtl, 1).expect("createTTL");
    let mut seen = events(&mut client, 5);
    for line in &mut seen {
        // Whether two go at once depends on when the server looks.
        line.truncate(line.rfind('+').unwrap_or(line.len()));
    }
    seen.push(format!("{:?}", client.get_children("/ttl", false).expect("getChildren")));
    seen
}

fn ttl_with_child(address: &str) -> Vec<String> {
    let mut client = connect(address);
    client.create_ttl("/parent", None, &OPEN, CreateMode::PersistentWithTtl, 1).expect("createTTL");
    if client.create("/parent/kid", None, &OPEN, CreateMode::Persistent).is_err() {
        // The server was quick and has looked in between; then there is nothing to tell.
        return vec!["NodeDeleted /parent".into()];
    }
    watch(&mut client, "/parent");
    client.create_ttl("/other", None, &OPEN, CreateMode::PersistentWithTtl, 1).expect("createTTL");
    let deadline = Instant::now() + PATIENCE;
    while client.exists("/other", false).expect("exists").is_some() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(client.exists("/parent", false).expect("exists").is_some(), "it has a child");
    client.delete("/parent/kid", -1).expect("delete");
    let deleted = events(&mut client, 2);
    deleted.into_iter().filter(|line| line.contains("/parent +")).map(|_| "NodeDeleted /parent".into()).collect()
}
