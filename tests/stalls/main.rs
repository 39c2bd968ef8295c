//! A server that stands still for a while, and what its clients lose by that: nothing.
//!
//! `ZOA_SESSIONS` sets how many sessions ping; 3,000 need as many descriptors on both sides.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

mod kit;

use kit::{PATIENCE, Pinger, Serve, build_slow_sync, drive, drive_for, make_slow, new_folder, with_slow_sync};
use zoarium::raw::RawClient;
use zoarium::records::{Acl, CreateMode};
use zoarium::{Config, Error, Server};

/// The shortest timeout that a server with the default tick grants.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Longer than that.
const STALL_MS: u64 = 6000;

fn sessions() -> usize {
    std::env::var("ZOA_SESSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

fn open_all(server: &Serve, count: usize) -> Vec<Pinger> {
    let mut pingers: Vec<Pinger> = (0..count).map(|_| Pinger::new(&server.address, TIMEOUT)).collect();
    drive(&mut pingers, false, |pingers| pingers.iter().all(Pinger::is_open));
    pingers
}

fn none_has_expired(server: &Serve, pingers: &mut [Pinger]) {
    drive(pingers, true, |pingers| pingers.iter().all(|pinger| pinger.is_open() || pinger.expired));
    let expired = pingers.iter().filter(|pinger| pinger.expired).count();
    assert_eq!(expired, 0, "of {} sessions", pingers.len());
    assert_eq!(server.number("zk_stale_sessions_expired"), 0);
    assert_eq!(server.number("zk_global_sessions"), pingers.len() as u64);
}

/// Sets the root's data, without waiting for the answer.
fn write(pinger: &mut Pinger) {
    pinger.send(&[0, 0, 0, 21, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 1, b'/', 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
}

#[test]
fn a_process_that_was_stopped_expires_nobody_that_pings() {
    let server = Serve::start(&[]);
    let mut pingers = open_all(&server, sessions());
    drive_for(&mut pingers, false, TIMEOUT / 3);
    server.signal("STOP");
    drive_for(&mut pingers, false, Duration::from_millis(STALL_MS));
    server.signal("CONT");
    drive_for(&mut pingers, false, TIMEOUT * 3 / 2);
    none_has_expired(&server, &mut pingers);
    // And whoever is silent from here on expires.
    drop(pingers.split_off(1));
    drive(&mut pingers, false, |_| server.number("zk_global_sessions") == 1);
}

#[test]
fn a_sync_that_takes_seconds_expires_nobody_that_pings() {
    let server = Serve::start(&[]);
    let mut pingers = open_all(&server, sessions());
    server.slow_sync(STALL_MS);
    write(&mut pingers[0]);
    drive(&mut pingers, false, |_| server.sync_is_over());
    drive_for(&mut pingers, false, TIMEOUT * 3 / 2);
    none_has_expired(&server, &mut pingers);
}

#[test]
fn while_a_sync_takes_seconds_pings_and_words_are_answered_and_no_write_is() {
    // D-10, F-10: before, whoever pinged gave up after two thirds of its timeout.
    let server = Serve::start(&[]);
    let mut pingers = open_all(&server, 50);
    server.slow_sync(STALL_MS);
    let (writer, others) = pingers.split_first_mut().unwrap();
    write(writer);
    drive(others, true, |_| {
        writer.drive(false);
        let is_answered = writer.is_answered();
        let is_over = server.sync_is_over();
        assert!(is_over || !is_answered, "a write was acknowledged before it was durable");
        if server.sync_has_begun() && !is_over {
            server.number("zk_num_alive_connections");
        }
        is_over
    });
    assert!(others.iter().all(|pinger| pinger.given_up == 0), "a ping was not answered");
    drive(&mut pingers, true, |pingers| pingers[0].is_answered());
    none_has_expired(&server, &mut pingers);
}

#[test]
fn clients_that_give_up_and_reconnect_during_a_stall_keep_their_sessions() {
    let server = Serve::start(&[]);
    let mut pingers = open_all(&server, 200);
    let before: Vec<i64> = pingers.iter().map(|pinger| pinger.session).collect();
    server.signal("STOP");
    drive_for(&mut pingers, true, Duration::from_millis(STALL_MS));
    server.signal("CONT");
    assert!(pingers.iter().all(|pinger| pinger.given_up > 0), "each has given up once");
    drive_for(&mut pingers, true, TIMEOUT * 3 / 2);
    none_has_expired(&server, &mut pingers);
    let after: Vec<i64> = pingers.iter().map(|pinger| pinger.session).collect();
    assert_eq!(before, after);
}

#[test]
fn a_server_stops_before_a_sync_that_hangs_is_over_and_keeps_what_it_acknowledged() {
    let mut server = Serve::start(&[]);
    let mut pingers = open_all(&server, 1);
    write(&mut pingers[0]);
    drive(&mut pingers, false, |_| server.number("zk_zoarium_log_bytes") > 0);
    server.slow_sync(8000);
    write(&mut pingers[0]);
    drive(&mut pingers, false, |_| server.sync_has_begun());
    server.signal("TERM");
    let mut code = None;
    drive(&mut pingers, false, |_| {
        code = server.has_ended();
        code.is_some()
    });
    assert!(!server.sync_is_over(), "it waited for the disk");
    assert_eq!(code, Some(Some(1)), "a disk that hangs is told");
    let server = server.restart();
    let mut resumed = std::mem::take(&mut pingers);
    drive(&mut resumed, true, |pingers| pingers[0].is_open() || pingers[0].expired || pingers[0].given_up > 3);
    assert_eq!(server.number("zk_global_sessions"), 1, "the session lives on in the file");
}

#[test]
fn a_server_stops_cleanly_in_the_middle_of_a_snapshot() {
    let mut server = Serve::start(&["-Dzoarium.logWindow=1M", "-Dzoarium.snapshotRate=1M"]);
    let mut client = RawClient::connect(&server.address).unwrap();
    let data = vec![1; 100_000];
    let begun = Instant::now();
    let mut count = 0;
    while server.number("zk_zoarium_snapshot_running") == 0 {
        client.create(&format!("/{count}"), Some(&data), &[Acl::open()], CreateMode::Persistent).unwrap();
        count += 1;
        assert!(begun.elapsed() < PATIENCE, "no snapshot begins");
    }
    server.signal("TERM");
    let mut code = None;
    drive(&mut [], false, |_| {
        code = server.has_ended();
        code.is_some()
    });
    assert_eq!(code, Some(Some(0)));
    let server = server.restart();
    let mut client = RawClient::connect(&server.address).unwrap();
    assert_eq!(client.get_children("/", false).unwrap().len(), count + 1);
}

#[test]
fn a_server_that_is_still_starting_stops_at_once() {
    let mut server = Serve::start(&[]);
    server.slow_sync(8000);
    server.begin_restart();
    drive(&mut [], false, |_| server.sync_has_begun());
    server.signal("TERM");
    let mut code = None;
    drive(&mut [], false, |_| {
        code = server.has_ended();
        code.is_some()
    });
    assert_eq!((code, server.sync_is_over()), (Some(Some(0)), false));
    drop(server.restart());
}

/// In a process of its own, because the library that makes a sync slow is for a whole process.
#[test]
fn a_host_gets_its_thread_back_while_a_sync_hangs() {
    const NAME: &str = "a_host_gets_its_thread_back_while_a_sync_hangs";
    if let Ok(folder) = std::env::var("ZOA_STALLED_HOST") {
        return host(PathBuf::from(folder));
    }
    let folder = new_folder(&format!("stalls-{}-host", std::process::id()));
    build_slow_sync(&folder);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", NAME, "--nocapture"]).env("ZOA_STALLED_HOST", &folder);
    with_slow_sync(&mut command, &folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir_all(folder).unwrap();
}

fn host(folder: PathBuf) {
    let config = || Config { data_dir: folder.join("data"), client_port: 0, ..Config::default() };
    let server = Server::start(config()).unwrap();
    let mut client = RawClient::connect(&server.addresses()[0].to_string()).unwrap();
    client.create("/kept", None, &[Acl::open()], CreateMode::Persistent).unwrap();
    make_slow(&folder, 6000);
    let late = std::thread::spawn(move || client.create("/late", None, &[Acl::open()], CreateMode::Persistent));
    drive(&mut [], false, |_| !folder.join("slow").exists());
    assert!(matches!(server.stop(), Err(Error::StillStopping)));
    let is_over = || folder.join("slow.over").exists();
    assert!(!is_over(), "it waited for the disk");
    // The file is in use until the sync is over, and free soon after.
    assert!(Server::start(config()).is_err());
    drive(&mut [], false, |_| is_over());
    let mut again = None;
    drive(&mut [], false, |_| {
        again = Server::start(config()).ok();
        again.is_some()
    });
    let server = again.unwrap();
    let mut client = RawClient::connect(&server.addresses()[0].to_string()).unwrap();
    assert!(client.exists("/kept", false).unwrap().is_some());
    // Whatever was said of the late write is true.
    if late.join().unwrap().is_ok() {
        assert!(client.exists("/late", false).unwrap().is_some());
    }
    server.stop().unwrap();
}
