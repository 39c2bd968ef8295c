//! Crowds and greedy clients, and what they cost those who behave: nothing but their turn.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zoarium::raw::{ConnectOptions, RawClient};
use zoarium::records::{Acl, CreateMode};
use zoarium::{Config, Server};

/// A folder that goes when the test does.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("zoarium-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn config(&self) -> Config {
        let mut config = Config { data_dir: self.0.clone(), client_port: 0, ..Config::default() };
        config.max_client_cnxns = 0;
        config
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn address(server: &Server) -> String {
    server.addresses()[0].to_string()
}

/// A connection that has sent a handshake for a new session.
fn greet(address: &str, timeout_ms: i32) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut frame = vec![0, 0, 0, 45, 0, 0, 0, 0];
    frame.extend_from_slice(&[0; 8]);
    frame.extend_from_slice(&timeout_ms.to_be_bytes());
    frame.extend_from_slice(&[0; 8]);
    frame.extend_from_slice(&[0, 0, 0, 16]);
    frame.extend_from_slice(&[0; 17]);
    stream.write_all(&frame).unwrap();
    stream
}

/// The answer to the handshake; `None` when the connection was closed instead.
fn session(stream: &mut TcpStream) -> Option<i64> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = [0; 41];
    match stream.read_exact(&mut answer) {
        Ok(()) => Some(i64::from_be_bytes(answer[12..20].try_into().unwrap())),
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no answer in a minute");
            None
        }
    }
}

#[test]
fn frames_that_are_begun_and_not_sent_hold_up_nobody() {
    let folder = Folder::new("hoarders");
    let mut config = folder.config();
    config.limits.input_bytes_max = 16 << 20;
    config.limits.session_burst = 10_000;
    let bound = config.limits.input_bytes_max + (2 << 20);
    let server = Server::start(config).unwrap();
    let over = AtomicBool::new(false);
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        let hoard = |count: usize, begun: usize| {
            let mut hoarders: Vec<TcpStream> = (0..count).map(|_| greet(&address(&server), 60_000)).collect();
            for hoarder in &mut hoarders {
                session(hoarder).unwrap();
                hoarder.set_nonblocking(true).unwrap();
                // The server may take it, let it wait, or close the connection.
                let _ = hoarder.write(&1_000_000u32.to_be_bytes());
                let _ = hoarder.write(&vec![0; begun]);
            }
            while !over.load(Ordering::Relaxed) {
                hoarders.iter_mut().for_each(|hoarder| drop(hoarder.write(&[0; 100])));
                std::thread::park_timeout(Duration::from_millis(50));
            }
        };
        scope.spawn(move || hoard(200, 60_000));
        scope.spawn(move || hoard(200, 999_000));
        let options = ConnectOptions { timeout_ms: 4000, ..ConnectOptions::default() };
        let mut honest: Vec<RawClient> =
            (0..4).map(|_| RawClient::connect_with(&address(&server), &options).unwrap()).collect();
        for (number, client) in honest.iter_mut().enumerate() {
            client.create(&format!("/{number}"), None, &[Acl::open()], CreateMode::Ephemeral).unwrap();
        }
        let data = vec![7; 500_000];
        for round in 0..40 {
            for (number, client) in honest.iter_mut().enumerate() {
                let begun = Instant::now();
                let stat = client.set_data(&format!("/{number}"), Some(&data), -1).unwrap();
                longest = longest.max(begun.elapsed());
                assert_eq!(stat.version, round + 1);
            }
            let held = server.status().unwrap().input_total;
            assert!(held <= bound, "{held} bytes of input are held");
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(server.status().unwrap().engine.sessions_expired, 0);
    });
    println!("longest write of 500 KB beside 400 hoarders: {} ms", longest.as_millis());
}

#[test]
fn handshakes_that_wait_for_their_turn_are_served_and_not_closed() {
    // The clock of a handshake is shorter than the line.
    let folder = Folder::new("line");
    let mut config = folder.config();
    config.limits.handshake_timeout_ms = 1000;
    (config.limits.session_burst, config.limits.session_rate) = (100, 200);
    let server = Server::start(config).unwrap();
    let mut streams: Vec<TcpStream> = (0..500).map(|_| greet(&address(&server), 30_000)).collect();
    let answered = streams.iter_mut().filter_map(session).filter(|&session| session != 0).count();
    assert_eq!(answered, 500);
    let status = server.status().unwrap();
    assert_eq!((status.engine.sessions, status.engine.handshakes_overdue), (500, 0));
}

#[test]
fn a_flood_of_connections_closes_no_handshake_of_others() {
    let folder = Folder::new("flood");
    let mut config = folder.config();
    config.limits.sessionless_max = Some(50);
    // Others come from another address, where the machine has one.
    let has_two = TcpListener::bind("[::1]:0").is_ok();
    config.client_hosts = vec!["127.0.0.1".to_owned(), if has_two { "::1" } else { "127.0.0.1" }.to_owned()];
    let server = Server::start(config).unwrap();
    let other = server.addresses().last().unwrap().to_string();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut kept = std::collections::VecDeque::new();
            while !over.load(Ordering::Relaxed) {
                kept.extend(TcpStream::connect(address(&server)));
                if kept.len() > 200 {
                    kept.pop_front();
                }
            }
        });
        let answered = (0..200).filter(|_| session(&mut greet(&other, 10_000)).is_some()).count();
        over.store(true, Ordering::Relaxed);
        assert_eq!(answered, 200);
    });
}

#[test]
fn many_clients_read_a_large_list_at_once() {
    // Together the replies are far more than may be queued; each is more than one connection may leave unread.
    let folder = Folder::new("lists");
    let mut config = folder.config();
    config.limits.output_bytes_max = 16 << 20;
    config.limits.output_hard_max = 1 << 20;
    config.limits.output_soft_max = 1 << 19;
    config.limits.reply_size_max = 8 << 20;
    config.limits.session_burst = 10_000;
    let server = Server::start(config).unwrap();
    let mut writer = RawClient::connect(&address(&server)).unwrap();
    let name = "n".repeat(2000);
    for number in 0..1000 {
        writer.create(&format!("/{name}{number}"), None, &[Acl::open()], CreateMode::Persistent).unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let mut client = RawClient::connect(&address(&server)).unwrap();
                for _ in 0..5 {
                    assert_eq!(client.get_children("/", false).unwrap().len(), 1001);
                }
            });
        }
    });
}
