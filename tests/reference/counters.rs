//! What `mntr`, `srvr`, `conf` and `envi` count and name, with every value compared that does not depend on the machine's
//! pace. The scripts cannot compare these: their servers were asked a different number of times before.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use zoarium::raw::{RawClient, four_letter};
use zoarium::records::{Acl, CreateMode};

const PATIENCE: Duration = Duration::from_secs(30);
const OPEN: [Acl<'static>; 1] = [Acl::open()];
/// As `Settings::counting` has it.
const CONNECTIONS_MAX: usize = 8;
const REJECTED: usize = 3;

fn word(address: &str, word: &str) -> String {
    four_letter(address, word, PATIENCE).expect("an answer")
}

/// One value of `mntr`.
fn value(answer: &str, key: &str) -> String {
    let line = answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'));
    line.unwrap_or("missing").to_owned()
}

/// Sizes of responses and packets received, as `mntr` has them now.
fn counts(address: &str, what: &str) -> String {
    let answer = word(address, "mntr");
    let keys =
        ["last_client_response_size", "min_client_response_size", "max_client_response_size", "packets_received"];
    let values: Vec<_> = keys.iter().map(|key| value(&answer, &format!("zk_{key}"))).collect();
    format!("{what}: {}", values.join(" "))
}

/// What a server says after each of a few requests.
pub fn story(address: &str) -> Vec<String> {
    let mut seen = vec![word(address, "srst")];
    seen.push(counts(address, "nothing yet"));
    for word in ["ruok", "srvr", "isro", "conf"] {
        crate::counters::word(address, word);
    }
    seen.push(counts(address, "words"));
    let mut client = RawClient::connect(address).expect("a session");
    seen.push(counts(address, "a session"));
    client.ping().expect("ping");
    seen.push(counts(address, "a ping"));
    client.exists("/", false).expect("exists");
    seen.push(counts(address, "exists"));
    client.create("/counted", Some(&[7; 500]), &OPEN, CreateMode::Persistent).expect("create");
    seen.push(counts(address, "create"));
    client.get_data("/counted", true).expect("getData");
    seen.push(counts(address, "getData"));
    let mut other = RawClient::connect(address).expect("a session");
    other.set_data("/counted", None, -1).expect("setData");
    assert!(client.next_event(PATIENCE).expect("a connection").is_some());
    seen.push(counts(address, "a set and its event"));
    other.delete("/missing", -1).expect_err("no such znode");
    seen.push(counts(address, "a refusal"));
    other.get_children2("/", false).expect("getChildren2");
    seen.push(counts(address, "a list"));
    other.auth("digest", b"a:b").expect("auth");
    seen.push(counts(address, "auth"));
    other.close().expect("close");
    seen.push(counts(address, "close"));
    let srvr = word(address, "srvr");
    seen.extend(srvr.lines().filter(|line| line.starts_with("Received: ")).map(str::to_owned));
    seen.extend(rejections(address));
    client.close().expect("close");
    seen.extend(word(address, "conf").lines().filter(|line| line.starts_with("serverId")).map(str::to_owned));
    seen.extend(environment(address));
    seen
}

/// Connections that are too many, and what `srst` makes of their number.
fn rejections(address: &str) -> Vec<String> {
    // One client is there already. Sessions, for a server may count a connection only when it looks at it.
    let clients: Vec<RawClient> =
        (1..CONNECTIONS_MAX).map(|_| RawClient::connect(address).expect("a session")).collect();
    for _ in 0..REJECTED {
        let mut link = TcpStream::connect(address).expect("the server listens");
        link.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        let end = link.read(&mut [0; 16]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "one too many hears {end:?}");
    }
    for client in clients {
        client.close().expect("close");
    }
    // A server may not have noticed their end.
    let deadline = Instant::now() + PATIENCE;
    let answers = || four_letter(address, "ruok", PATIENCE).is_ok_and(|answer| answer == "imok");
    while !(0..CONNECTIONS_MAX).all(|_| answers()) {
        assert!(Instant::now() < deadline, "the connections stay");
    }
    let before: usize = value(&word(address, "mntr"), "zk_connection_rejected").parse().expect("a number");
    word(address, "srst");
    let answer = word(address, "mntr");
    let keys = ["connection_rejected", "auth_failed_count", "stale_sessions_expired", "max_client_response_size"];
    let mut seen = vec![format!("rejected: {}", before >= REJECTED)];
    seen.extend(keys.iter().map(|key| format!("{key} after srst: {}", value(&answer, &format!("zk_{key}")))));
    seen.push(format!("cnt_snapshottime after srst: {}", value(&answer, "zk_cnt_snapshottime")));
    seen
}

/// The lines of `envi` that are not the Java machine's, nor of a server's own folder and release.
fn environment(address: &str) -> Vec<String> {
    let own = ["java.", "os.memory.", "user.dir", "zookeeper.version", "host.name"];
    let own = |line: &&str| own.iter().any(|key| line.starts_with(key));
    word(address, "envi").lines().filter(|line| !own(line)).map(str::to_owned).collect()
}
