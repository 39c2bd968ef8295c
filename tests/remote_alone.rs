//! What TCP clients leave behind when they are gone: nothing. Alone in its process, so that it can count.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use zoarium::handle::{Handle, Options, code};
use zoarium::jute::encoded;
use zoarium::records::OpCode;
use zoarium::records::requests::PathRequest;
use zoarium::{Config, Server};

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// Threads of clients; the server in this process has its own.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| ["zoarium-io", "zoarium-cal", "zoarium-res"].iter().any(|own| name.starts_with(own))).collect()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// Threads go a moment after they were waited for.
fn await_no_threads() {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !threads().is_empty() {
        assert!(Instant::now() < deadline, "{:?} are left", threads());
        std::thread::yield_now();
    }
}

#[test]
fn threads_descriptors_and_mappings_go_with_the_last_client() {
    // C-15
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("remote-alone-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let server = Server::start(Config { data_dir: folder.clone(), client_port: 0, ..Config::default() }).unwrap();
    let address = server.addresses()[0].to_string();
    let by_name = format!("localhost:{}", server.addresses()[0].port());
    // Nobody listens there, nor is given it.
    let dead = "127.0.0.1:1";

    let round = |number: usize| {
        let hosts = if number.is_multiple_of(10) { &by_name } else { &address };
        let handle = Handle::connect(hosts, &Options::default()).unwrap();
        let sync = encoded(&PathRequest { path: "/".into() });
        assert_eq!(handle.call(OpCode::Sync, &sync, LIMIT).code, code::OK);
        match number % 3 {
            0 => handle.close(LIMIT).unwrap(),
            1 => handle.detach(),
            _ => {}
        }
        drop(handle);
        if number.is_multiple_of(7) {
            drop(Handle::connect(dead, &Options::default()).unwrap());
        }
    };
    // The first rounds fill what the process keeps: the allocator's arenas, the resolver's files.
    for number in 0..30 {
        round(number);
    }
    await_no_threads();
    let (descriptors_before, mappings_before) = (descriptors(), mappings());
    for number in 0..1000 {
        round(number);
    }
    await_no_threads();
    // The server closes its ends a moment later.
    let deadline = Instant::now() + Duration::from_secs(20);
    while descriptors() > descriptors_before {
        assert!(Instant::now() < deadline, "{} after {descriptors_before}", descriptors());
        std::thread::yield_now();
    }
    assert!(mappings() <= mappings_before + 20, "{} after {mappings_before}", mappings());
    drop(server);
    let _ = std::fs::remove_dir_all(&folder);
}
