//! Checks that an unmodified Rust client, the crate `zookeeper-client`, works on the server at the address given.
//!
//! Prints `passed NAME` or `failed NAME` for each check, and `restart` when the server shall be killed and started
//! again on the same data; it goes on after one line on standard input.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;
use zookeeper_client::{
    Acls, AddWatchMode, Client, CreateMode, CreateOptions, Error, EventType, MultiReadResult, MultiWriteError,
    MultiWriteResult, Permission, SessionState,
};

const WAIT: Duration = Duration::from_secs(15);
const OPEN: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());

/// Runs the check of that name, which has the client for itself, and tells how it went.
macro_rules! check {
    ($passed:ident, $check:ident($($argument:expr),*)) => {{
        // A task of its own turns a failed assertion into a result.
        match tokio::task::spawn_local(timeout(WAIT, $check($($argument),*))).await {
            Ok(Ok(())) => println!("passed {}", stringify!($check)),
            Ok(Err(_)) => {
                println!("failed {}: not done in {WAIT:?}", stringify!($check));
                $passed = false;
            }
            Err(_) => {
                println!("failed {}: its assertion is on standard error", stringify!($check));
                $passed = false;
            }
        }
    }};
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = std::env::args().nth(1).expect("usage: rust-client HOST:PORT");
    let passed = tokio::task::LocalSet::new().run_until(run(address)).await;
    std::process::exit(if passed { 0 } else { 1 });
}

async fn run(address: String) -> bool {
    let client = connect(&address).await;
    let mut passed = true;
    check!(passed, nodes_are_created_read_changed_and_deleted(client.clone()));
    check!(passed, sequence_numbers_follow_each_other(client.clone()));
    check!(passed, ttl_and_container_nodes_show_no_owner(client.clone()));
    check!(passed, one_shot_watches_fire_once(client.clone()));
    check!(passed, recursive_watches_see_the_whole_subtree(client.clone()));
    check!(passed, a_multi_succeeds_or_fails_as_a_whole(client.clone()));
    check!(passed, a_multi_read_answers_each_part(client.clone()));
    check!(passed, access_control_is_kept(client.clone(), address.clone()));
    check!(passed, counts_ephemerals_and_users_are_told(client.clone()));
    check!(passed, a_lock_goes_to_the_next_in_line(client.clone(), address.clone()));
    check!(passed, ephemerals_end_with_their_session(client.clone(), address.clone()));
    check!(passed, a_detached_session_is_resumed(address.clone()));
    check!(passed, data_session_and_watches_survive_a_kill_of_the_server(client.clone()));
    passed
}

async fn connect(address: &str) -> Client {
    let connector = Client::connector().with_session_timeout(Duration::from_secs(8)).connect(address);
    connector.await.expect("the server takes a new session")
}

async fn nodes_are_created_read_changed_and_deleted(client: Client) {
    let (created, _) = client.create("/node", b"one", &OPEN).await.unwrap();
    assert_eq!(client.get_data("/node").await.unwrap(), (b"one".to_vec(), created));
    assert_eq!(client.create("/node", b"again", &OPEN).await.unwrap_err(), Error::NodeExists);
    assert_eq!(client.create("/none/child", b"", &OPEN).await.unwrap_err(), Error::NoNode);

    assert_eq!(client.set_data("/node", b"two", Some(7)).await.unwrap_err(), Error::BadVersion);
    let changed = client.set_data("/node", b"two", Some(0)).await.unwrap();
    assert_eq!((changed.version, changed.czxid), (1, created.czxid));
    assert!(changed.mzxid > created.mzxid);

    client.create("/node/child", b"", &OPEN).await.unwrap();
    assert_eq!(client.delete("/node", None).await.unwrap_err(), Error::NotEmpty);
    assert_eq!(client.list_children("/node").await.unwrap(), ["child"]);
    client.delete("/node/child", Some(0)).await.unwrap();
    let (children, stat) = client.get_children("/node").await.unwrap();
    assert_eq!((children.len(), stat.cversion, stat.num_children), (0, 2, 0));
    client.delete("/node", None).await.unwrap();
    assert_eq!(client.check_stat("/node").await.unwrap(), None);
    client.sync("/").await.unwrap();
}

async fn sequence_numbers_follow_each_other(client: Client) {
    client.create("/sequence", b"", &OPEN).await.unwrap();
    let options = CreateMode::PersistentSequential.with_acls(Acls::anyone_all());
    for wanted in 0..3 {
        let (_, sequence) = client.create("/sequence/n-", b"", &options).await.unwrap();
        assert_eq!(sequence.into_i64(), wanted);
    }
}

async fn ttl_and_container_nodes_show_no_owner(client: Client) {
    let container = CreateMode::Container.with_acls(Acls::anyone_all());
    let (stat, _) = client.create("/container", b"", &container).await.unwrap();
    assert_eq!(stat.ephemeral_owner, 0);
    let ttl = OPEN.with_ttl(Duration::from_secs(60));
    let (stat, _) = client.create("/ttl", b"", &ttl).await.unwrap();
    assert_eq!(stat.ephemeral_owner, 0);
}

async fn one_shot_watches_fire_once(client: Client) {
    let (none, created) = client.check_and_watch_stat("/watched").await.unwrap();
    assert!(none.is_none());
    let (stat, _) = client.create("/watched", b"", &OPEN).await.unwrap();
    let event = created.changed().await;
    assert_eq!((event.event_type, event.path.as_str()), (EventType::NodeCreated, "/watched"));

    let (_, same, changed) = client.get_and_watch_data("/watched").await.unwrap();
    assert_eq!(same, stat);
    let (_, _, children) = client.get_and_watch_children("/watched").await.unwrap();
    client.set_data("/watched", b"x", None).await.unwrap();
    client.set_data("/watched", b"y", None).await.unwrap();
    assert_eq!(changed.changed().await.event_type, EventType::NodeDataChanged);
    client.create("/watched/child", b"", &OPEN).await.unwrap();
    assert_eq!(children.changed().await.event_type, EventType::NodeChildrenChanged);

    let (_, _, unwanted) = client.get_and_watch_data("/watched/child").await.unwrap();
    drop(unwanted);
    let (_, deleted) = client.check_and_watch_stat("/watched/child").await.unwrap();
    client.delete("/watched/child", None).await.unwrap();
    assert_eq!(deleted.changed().await.event_type, EventType::NodeDeleted);
}

async fn recursive_watches_see_the_whole_subtree(client: Client) {
    let mut watcher = client.watch("/tree", AddWatchMode::PersistentRecursive).await.unwrap();
    client.create("/tree", b"", &OPEN).await.unwrap();
    client.create("/tree/branch", b"", &OPEN).await.unwrap();
    client.set_data("/tree/branch", b"leaf", None).await.unwrap();
    client.delete("/tree/branch", None).await.unwrap();
    for wanted in [
        (EventType::NodeCreated, "/tree"),
        (EventType::NodeCreated, "/tree/branch"),
        (EventType::NodeDataChanged, "/tree/branch"),
        (EventType::NodeDeleted, "/tree/branch"),
    ] {
        let event = watcher.changed().await;
        assert_eq!((event.event_type, event.path.as_str()), wanted);
    }
    drop(watcher);
}

async fn a_multi_succeeds_or_fails_as_a_whole(client: Client) {
    let mut writer = client.new_multi_writer();
    writer.add_create("/multi", b"one", &OPEN).unwrap();
    writer.add_set_data("/multi", b"two", Some(0)).unwrap();
    writer.add_check_version("/multi", 1).unwrap();
    writer.add_create("/multi/child", b"", &OPEN).unwrap();
    writer.add_delete("/multi/child", Some(0)).unwrap();
    let results = writer.commit().await.unwrap();
    assert_eq!(results.len(), 5);
    let MultiWriteResult::Create { path, .. } = &results[0] else { panic!("came {:?}", results[0]) };
    assert_eq!(path, "/multi");

    writer.add_set_data("/multi", b"three", None).unwrap();
    writer.add_check_version("/multi", 9).unwrap();
    writer.add_delete("/multi", None).unwrap();
    let MultiWriteError::OperationFailed { source, .. } = writer.commit().await.unwrap_err() else {
        panic!("a failed check is a failed operation")
    };
    assert_eq!(source, Error::BadVersion);
    assert_eq!(client.get_data("/multi").await.unwrap().0, b"two");
}

async fn a_multi_read_answers_each_part(client: Client) {
    client.create("/read", b"data", &OPEN).await.unwrap();
    client.create("/read/child", b"", &OPEN).await.unwrap();
    let mut reader = client.new_multi_reader();
    reader.add_get_data("/read").unwrap();
    reader.add_get_children("/read").unwrap();
    reader.add_get_data("/none").unwrap();
    let results = reader.commit().await.unwrap();
    let [MultiReadResult::Data { data, .. }, MultiReadResult::Children { children }, MultiReadResult::Error { err }] =
        &results[..]
    else {
        panic!("came {results:?}")
    };
    assert_eq!((data.as_slice(), children.as_slice(), err), (&b"data"[..], &["child".to_owned()][..], &Error::NoNode));
}

async fn access_control_is_kept(client: Client, address: String) {
    client.auth("digest", b"user:password").await.unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::creator_all());
    client.create("/private", b"secret", &options).await.unwrap();
    let (acls, stat) = client.get_acl("/private").await.unwrap();
    assert_eq!((acls.len(), acls[0].permission(), acls[0].scheme()), (1, Permission::ALL, "digest"));
    assert_eq!(stat.aversion, 0);

    let stranger = connect(&address).await;
    assert_eq!(stranger.get_data("/private").await.unwrap_err(), Error::NoAuth);
    assert_eq!(stranger.set_data("/private", b"", None).await.unwrap_err(), Error::NoAuth);
    stranger.auth("digest", b"user:password").await.unwrap();
    assert_eq!(stranger.get_data("/private").await.unwrap().0, b"secret");
}

async fn counts_ephemerals_and_users_are_told(client: Client) {
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create("/counted", b"", &OPEN).await.unwrap();
    client.create("/counted/a", b"", &options).await.unwrap();
    client.create("/counted/b", b"", &OPEN).await.unwrap();
    assert_eq!(client.count_descendants_number("/counted").await.unwrap(), 2);
    assert_eq!(client.list_ephemerals("/counted").await.unwrap(), ["/counted/a"]);
    let users = client.list_auth_users().await.unwrap();
    assert!(users.iter().any(|user| user.scheme() == "ip" && user.user() == "127.0.0.1"), "came {users:?}");
}

async fn a_lock_goes_to_the_next_in_line(client: Client, address: String) {
    let other = connect(&address).await;
    let prefix = || zookeeper_client::LockPrefix::new_curator("/lock", "latch-").unwrap();
    let options = || {
        let options = zookeeper_client::LockOptions::new(Acls::anyone_all());
        options.with_ancestor_options(CreateMode::Container.with_acls(Acls::anyone_all())).unwrap()
    };
    let first = client.lock(prefix(), b"first", options()).await.unwrap();
    let waiting = tokio::task::spawn_local({
        let (prefix, options) = (prefix(), options());
        async move { other.lock(prefix, b"second", options).await.map(|lock| lock.lock_path().to_owned()) }
    });
    // The second in line has its node before the first lets go.
    while client.list_children("/lock").await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(first.lock_path().ends_with("-0000000000"), "came {}", first.lock_path());
    assert!(!waiting.is_finished());
    drop(first);
    let second_path = waiting.await.unwrap().unwrap();
    assert!(second_path.ends_with("-0000000001"), "came {second_path}");
}

async fn ephemerals_end_with_their_session(client: Client, address: String) {
    let passing = connect(&address).await;
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let (stat, _) = passing.create("/passing", b"", &options).await.unwrap();
    assert_eq!(stat.ephemeral_owner, passing.session_id().0);
    assert_eq!(passing.create("/passing/child", b"", &OPEN).await.unwrap_err(), Error::NoChildrenForEphemerals);
    let (_, gone) = client.check_and_watch_stat("/passing").await.unwrap();
    drop(passing);
    assert_eq!(gone.changed().await.event_type, EventType::NodeDeleted);
}

async fn a_detached_session_is_resumed(address: String) {
    let connector = Client::connector().with_session_timeout(Duration::from_secs(8)).with_detached();
    let client = connector.connect(&address).await.unwrap();
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create("/resumed", b"", &options).await.unwrap();
    let (id, session) = (client.session_id(), client.into_session());
    let again = Client::connector().with_session(session).connect(&address).await.unwrap();
    assert_eq!(again.session_id(), id);
    assert_eq!(again.check_stat("/resumed").await.unwrap().unwrap().ephemeral_owner, id.0);
}

async fn data_session_and_watches_survive_a_kill_of_the_server(client: Client) {
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let (before, _) = client.create("/survivor", b"alive", &options).await.unwrap();
    let (_, _, watcher) = client.get_and_watch_data("/survivor").await.unwrap();
    let mut state = client.state_watcher();
    let session = client.session_id();

    println!("restart");
    let mut answer = String::new();
    let restarted = BufReader::new(tokio::io::stdin()).read_line(&mut answer).await.unwrap();
    assert!(restarted > 0, "nobody restarts the server");
    while state.peek_state() != SessionState::SyncConnected {
        state.changed().await;
    }
    assert_eq!(client.session_id(), session);
    assert_eq!(client.get_data("/survivor").await.unwrap(), (b"alive".to_vec(), before));
    let after = client.set_data("/survivor", b"still", Some(0)).await.unwrap();
    assert!(after.mzxid > before.mzxid);
    assert_eq!(watcher.changed().await.event_type, EventType::NodeDataChanged);
}
