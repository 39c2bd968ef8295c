//! A state that we tell is one that Apache ZooKeeper loads: what follows a SNAP packet is the body of a snapshot file.

use zoarium::engine::{Engine, EngineSettings, Walked};
use zoarium::ids::Zxid;
use zoarium::raw::{RawClient, four_letter};
use zoarium::records::javasnap::put_signature;
use zoarium::records::{Acl, CreateMode};
use zoarium::tree::NodeId;

use crate::servers::{self, Kind, Server, Settings};

/// Where the file that we take the state from ends.
const AT: Zxid = Zxid(0x16);

/// A snapshot of Apache ZooKeeper's with one of everything, heard by an engine of ours.
fn heard() -> Engine {
    let file = include_bytes!("../../src/records/javasnap/apache-3.9.5.snapshot");
    // In front a header; behind the znodes three seals, the digest with its zxid and version, and the last zxid.
    let mut stream = file[16..file.len() - (13 + 20 + 13 + 8 + 13)].to_vec();
    put_signature(&mut stream);
    let mut engine = Engine::empty(EngineSettings::default(), [1; 32], [2, 3]);
    let mut hearing = engine.hear(AT);
    assert!(hearing.feed(&stream).expect("a state").is_whole);
    engine.take_over(hearing.finish().expect("a state"));
    engine
}

/// The checksum in ZooKeeper's files.
fn adler32(bytes: &[u8]) -> i64 {
    let sums = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    i64::from(sums.1 << 16 | sums.0)
}

/// The same state as a file of ZooKeeper's.
fn snapshot_file(engine: &mut Engine) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut retelling = engine.retell_begin().expect("it is told to nobody else");
    while engine.retell_on(&mut retelling, 3, 1 << 20, &mut stream) == Walked::More {}
    let mut signature = Vec::new();
    put_signature(&mut signature);
    let body = stream.strip_suffix(&signature[..]).expect("a stream ends with its signature");
    let mut file = Vec::from(*b"ZKSN\0\0\0\x02");
    file.extend_from_slice(&(-1i64).to_be_bytes());
    file.extend_from_slice(body);
    let seal = adler32(&file);
    file.extend_from_slice(&seal.to_be_bytes());
    file.extend_from_slice(b"\0\0\0\x01/");
    file
}

#[test]
fn apache_zookeeper_loads_the_state_that_we_tell() {
    if servers::class_path().is_err() {
        assert!(!crate::reference_is_here());
        return;
    }
    let mut engine = heard();
    let mut settings = Settings::rich();
    settings.snapshot = Some((AT.0, snapshot_file(&mut engine)));
    let tree = engine.tree();
    let server = Server::start(Kind::ZooKeeper, &settings);
    let mut client = RawClient::connect(&server.address).expect("a session");
    let mut waiting = vec![NodeId::ROOT];
    let mut seen = 0;
    while let Some(id) = waiting.pop() {
        let path = tree.path(id);
        waiting.extend(tree.child_ids(id));
        seen += 1;
        let (data, stat) = client.get_data(&path, false).unwrap_or_else(|error| panic!("{path}: {error}"));
        // The server rewrites the text of its configuration.
        if path != "/zookeeper/config" {
            assert_eq!((data, stat), (tree.data(id).map(std::borrow::Cow::into_owned), tree.stat(id)), "{path}");
        }
        let mut children = client.get_children(&path, false).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut ours: Vec<String> = tree.children(id).map(str::to_owned).collect();
        children.sort();
        ours.sort();
        assert_eq!(children, ours, "{path}");
        if let Ok((acl, _)) = client.get_acl(&path)
            && !path.starts_with("/acl")
        {
            assert_eq!(acl, tree.acl(id).entries(), "{path}");
        }
    }
    assert_eq!(seen, tree.node_count());
    let words = four_letter(&server.address, "dump", std::time::Duration::from_secs(5)).expect("dump");
    let (owner, _) = tree.ephemeral_owners().next().expect("an ephemeral");
    assert!(words.contains(&format!("{owner}")) && words.contains("/eph"), "{words}");
    // The counters go on where they were.
    let path = client.create("/a/s-", Some(b""), &[Acl::open()], CreateMode::PersistentSequential).expect("a child");
    assert_eq!(path, "/a/s-0000000003");
}
