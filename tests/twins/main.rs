//! One script of operations, run in the server's own process, over TCP to our server, and over TCP to Apache ZooKeeper:
//! results, codes, stats, events and states must be the same.

#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, reason = "nothing in a test program is reachable")]

#[allow(dead_code, reason = "shared with the comparison of the two servers")]
#[path = "../reference/masks.rs"]
mod masks;
#[allow(dead_code, reason = "shared with the comparison of the two servers")]
#[path = "../reference/render.rs"]
mod render;
mod requests;
mod script;
#[allow(dead_code, reason = "shared with the comparison of the two servers")]
#[path = "../reference/servers.rs"]
mod servers;
mod stage;

use std::path::PathBuf;
use std::sync::Arc;

use zoarium::handle::{Handle, Options};
use zoarium::{Config, Server};

use stage::Stage;

/// The settings of [`servers::Settings::rich`].
fn config(folder: &PathBuf) -> Config {
    let _ = std::fs::remove_dir_all(folder);
    Config {
        data_dir: folder.clone(),
        client_port: 0,
        tick_time_ms: 2000,
        min_session_timeout_ms: Some(20_000),
        max_session_timeout_ms: Some(90_000),
        max_client_cnxns: 0,
        extended_types_enabled: true,
        enforce_quota: true,
        ..Config::default()
    }
}

fn with_ours(name: &str, run: impl FnOnce(&Server) -> Vec<String>) -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("twins-{name}-{}", std::process::id()));
    let server = Server::start(config(&folder)).unwrap();
    let transcript = run(&server);
    drop(server);
    let _ = std::fs::remove_dir_all(&folder);
    transcript
}

fn in_process() -> Vec<String> {
    with_ours("here", |server| {
        let hub = Arc::clone(server.hub());
        script::play(Stage::new(Box::new(move |options: &Options| Handle::open(Arc::clone(&hub), options).unwrap())))
    })
}

fn over_tcp() -> Vec<String> {
    with_ours("tcp", |server| play_at(&server.addresses()[0].to_string()))
}

fn play_at(address: &str) -> Vec<String> {
    let address = address.to_owned();
    // What a server takes is not known over TCP, unless a client is told.
    let told = |options: &Options| Options { request_size_max: Some(0xf_ffff), ..options.clone() };
    script::play(Stage::new(Box::new(move |options: &Options| Handle::connect(&address, &told(options)).unwrap())))
}

/// The first place where two transcripts part, with what led there.
fn compare(left: (&str, &[String]), right: (&str, &[String])) {
    let parted = (0..left.1.len().max(right.1.len())).find(|&at| left.1.get(at) != right.1.get(at));
    if let Some(at) = parted {
        let before = left.1[at.saturating_sub(6)..at].join("\n");
        let (one, two) = (left.1.get(at), right.1.get(at));
        panic!("line {at}:\n{before}\n{}:\n  {one:?}\n{}:\n  {two:?}", left.0, right.0);
    }
}

#[test]
fn in_process_and_over_tcp_everything_is_the_same() {
    let (here, tcp) = (in_process(), over_tcp());
    if let Ok(file) = std::env::var("TWINS_TRANSCRIPT") {
        std::fs::write(file, here.join("\n")).unwrap();
    }
    compare(("in process", &here), ("over TCP", &tcp));
    assert!(here.len() > 300, "{} lines", here.len());
}

#[test]
fn apache_zookeeper_says_the_same() {
    if let Err(why) = servers::class_path() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no reference server: {why}");
        return eprintln!("SKIPPED, no reference server: {why}");
    }
    let server = servers::Server::start(servers::Kind::ZooKeeper, &servers::Settings::rich());
    compare(("Apache ZooKeeper", &play_at(&server.address)), ("ours over TCP", &over_tcp()));
}
