//! A good guest leaves nothing behind: threads, descriptors, mappings and files are as before (C-15).
//!
//! `ZOA_ROUNDS=10000` for the long version.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zoarium::handle::queue::CallbackQueue;
use zoarium::handle::{Handle, Options, WatchMode, code};
use zoarium::jute::{Buffer, encoded};
use zoarium::records::requests::CreateRequest;
use zoarium::records::{Acl, OpCode};
use zoarium::{Config, Server};

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Threads, descriptors and mappings of a file of ours.
fn held() -> (usize, usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (entries("/proc/self/task"), entries("/proc/self/fd"), maps.lines().filter(|line| line.ends_with(".db")).count())
}

/// How many threads of ours have this name, which the system cuts after 15 bytes.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|of| of.trim_end() == &name[..name.len().min(15)]).count()
}

/// A thread has its name a moment after it has begun.
fn await_threads<const N: usize>(names: [&str; N], wanted: [usize; N]) {
    let begin = Instant::now();
    while names.map(threads) != wanted {
        assert!(begin.elapsed() < LIMIT.unwrap(), "{names:?}: {:?} threads, not {wanted:?}", names.map(threads));
        std::thread::yield_now();
    }
}

/// Threads go a moment after they were waited for.
fn await_held(wanted: (usize, usize, usize)) {
    let begin = Instant::now();
    while held() != wanted {
        assert!(begin.elapsed() < LIMIT.unwrap(), "{:?} threads, descriptors and mappings, not {wanted:?}", held());
        std::thread::yield_now();
    }
}

fn round(folder: &Path, number: usize) {
    let config = Config { data_dir: folder.to_owned(), client_port: 0, ..Config::default() };
    let server = Server::start(config).unwrap();
    let queue = (number % 2 == 1).then(|| Arc::new(CallbackQueue::with_descriptor().unwrap()));
    let handle = Handle::open(Arc::clone(server.hub()), &Options { queue, ..Options::default() }).unwrap();
    handle.watch("/a", WatchMode::Recursive, Box::new(|_| {}), LIMIT).unwrap();
    let acl = Some(vec![Acl::open()]);
    let body = encoded(&CreateRequest { path: "/a/".into(), data: Buffer(None), acl, flags: 3 });
    handle.submit(OpCode::Create, &body, |_| {}).unwrap();
    assert_eq!(handle.read(OpCode::GetData, "/", LIMIT).code, code::OK);
    let begin = Instant::now();
    // In each order, and with work under way.
    if number.is_multiple_of(3) {
        server.stop().unwrap();
        drop(handle);
    } else {
        drop(handle);
        server.stop().unwrap();
    }
    // L-11; a long run at low priority, beside whatever the machine does otherwise, allows for more.
    let limit_ms = std::env::var("ZOA_STOP_MS_MAX").ok().and_then(|ms| ms.parse().ok()).unwrap_or(2000);
    assert!(begin.elapsed() < Duration::from_millis(limit_ms), "stopping took {:?}", begin.elapsed());
}

#[test]
fn a_process_holds_a_hundred_servers_and_holds_round_after_round() {
    // One test, so that nothing else in this process opens anything.
    rounds_of_start_use_and_stop_leave_nothing();
    a_hundred_servers_live_in_one_process();
}

fn a_hundred_servers_live_in_one_process() {
    let before = held();
    let folder = std::env::temp_dir().join(format!("zoarium-guests-{}", std::process::id()));
    let servers: Vec<(Server, Handle)> = (0..100)
        .map(|number| {
            let config = Config { data_dir: folder.join(number.to_string()), client_port: 0, ..Config::default() };
            let server = Server::start(config).unwrap();
            let handle = Handle::open(Arc::clone(server.hub()), &Options::default()).unwrap();
            (server, handle)
        })
        .collect();
    for (_, handle) in &servers {
        let acl = Some(vec![Acl::open()]);
        let body = encoded(&CreateRequest { path: "/a".into(), data: Buffer(None), acl, flags: 0 });
        assert_eq!(handle.call(OpCode::Create, &body, LIMIT).code, code::OK);
    }
    // A loop each with its relief, one thread for all callbacks, and now and then one that grows a file.
    await_threads(["zoarium-loop", "zoarium-relief", "zoarium-callback"], [100, 100, 1]);
    assert!((before.0 + 201..=before.0 + 301).contains(&held().0), "{} threads", held().0);
    drop(servers);
    await_held(before);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn rounds_of_start_use_and_stop_leave_nothing() {
    let rounds = std::env::var("ZOA_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60);
    let folder = std::env::temp_dir().join(format!("zoarium-guest-{}", std::process::id()));
    round(&folder, 0);
    await_threads(["zoarium-loop", "zoarium-relief", "zoarium-callback", "zoarium-snap"], [0; 4]);
    let before = held();
    for number in 0..rounds {
        round(&folder, number);
    }
    await_held(before);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["zoarium.db"]);
    std::fs::remove_dir_all(&folder).unwrap();
}
