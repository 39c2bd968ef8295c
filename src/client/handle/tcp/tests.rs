//! A session's way through time, without a socket and without a clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::conn::TcpConn;
use super::session::TcpSession;
use crate::client::handle::core::{IoAction, parse};
use crate::client::handle::transport::{Event, Listener, State, Transport, WatchedPaths};
use crate::client::handle::{Options, code};
use crate::ids::Millis;
use crate::jute::{Buffer, encoded};
use crate::records::OpCode;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::replies::ReplyHeader;

#[derive(Default)]
struct Heard {
    states: Mutex<Vec<State>>,
    is_full: Mutex<bool>,
}

impl Listener for Heard {
    fn event(&self, _: Event) {}

    fn state(&self, state: State) {
        self.states.lock().unwrap().push(state);
    }

    fn watches(&self) -> WatchedPaths {
        WatchedPaths { data: vec!["/watched".to_owned()], ..WatchedPaths::default() }
    }

    fn flush(&self) {}

    fn is_full(&self) -> bool {
        *self.is_full.lock().unwrap()
    }
}

/// A connection whose other end and clock are the test's.
struct Play {
    now: Millis,
    conn: TcpConn,
    session: Arc<TcpSession>,
    heard: Arc<Heard>,
    codes: Arc<Mutex<Vec<(&'static str, i32)>>>,
}

const TIMEOUT: i32 = 9000;

impl Play {
    fn new(hosts: &str) -> Play {
        let heard = Arc::new(Heard::default());
        let listener: std::sync::Weak<dyn Listener> = Arc::downgrade(&(Arc::clone(&heard) as Arc<dyn Listener>));
        let options = Options { session_timeout_ms: TIMEOUT, reply_size_max: 1000, ..Options::default() };
        let session = Arc::new(TcpSession::new(&options, listener));
        let now = Millis(1_000_000);
        let conn = TcpConn::new(Arc::clone(&session), parse(hosts).unwrap().0, 7, now);
        Play { now, conn, session, heard, codes: Arc::default() }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.conn.timeout(self.now);
    }

    /// Lets time pass until something is to be done; how long that took.
    fn pass_until_action(&mut self) -> (u64, IoAction) {
        let start = self.now;
        loop {
            match self.conn.poll_action() {
                Some(IoAction::Close) => {}
                Some(action) => return (self.now.since(start), action),
                None => {
                    self.now = self.conn.poll_timeout().expect("it goes on").max(self.now);
                    self.conn.timeout(self.now);
                }
            }
        }
    }

    fn connect(&mut self) -> SocketAddr {
        match self.pass_until_action().1 {
            IoAction::Connect(address) => address,
            other => panic!("{other:?}"),
        }
    }

    /// All that is to be sent, as frames.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        while !self.conn.output().is_empty() {
            let piece = self.conn.output().to_vec();
            self.conn.wrote(self.now, piece.len());
            bytes.extend(piece);
        }
        let mut frames = Vec::new();
        let mut rest = &bytes[..];
        while let Some((head, behind)) = rest.split_first_chunk::<4>() {
            let (frame, behind) = behind.split_at(u32::from_be_bytes(*head) as usize);
            frames.push(frame.to_vec());
            rest = behind;
        }
        frames
    }

    fn receive(&mut self, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.conn.received(self.now, &frame);
    }

    fn reply(&mut self, xid: i32, zxid: i64, err: i32) {
        self.receive(&encoded(&ReplyHeader { xid, zxid, err }));
    }

    fn welcome(&mut self, session_id: i64, timeout: i32) {
        let response = ConnectResponse { protocol_version: 0, timeout, session_id, password: Buffer::new(&[3; 16]) };
        self.receive(&encoded(&response));
    }

    /// From a connection that was asked for to one that stands.
    fn up(&mut self) {
        self.connect();
        self.conn.connected();
        assert_eq!(self.sent().len(), 1, "the handshake and nothing else");
        self.welcome(5, TIMEOUT);
        assert!(self.session.info().state.is_connected());
    }

    fn submit(&self, name: &'static str) {
        let codes = Arc::clone(&self.codes);
        let done = Box::new(move |reply: crate::client::handle::Reply| codes.lock().unwrap().push((name, reply.code)));
        self.session.submit(OpCode::SetData, name.as_bytes(), done).unwrap();
    }

    fn codes(&self) -> Vec<(&'static str, i32)> {
        std::mem::take(&mut *self.codes.lock().unwrap())
    }
}

/// One whose callbacks have bugs, as far as the I/O thread can meet any.
struct Panics;

impl Listener for Panics {
    fn event(&self, _: Event) {}

    fn state(&self, state: State) {
        assert!(state.is_final(), "a bug");
    }

    fn watches(&self) -> WatchedPaths {
        WatchedPaths::default()
    }

    fn flush(&self) {}
}

#[test]
fn a_bug_in_one_session_leaves_the_others_alone() {
    use std::io::{Read, Write};
    // C-01
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hosts = || parse(&server.local_addr().unwrap().to_string()).unwrap().0;
    let options = Options::default();
    let (buggy, sound): (Arc<dyn Listener>, Arc<dyn Listener>) = (Arc::new(Panics), Arc::new(Heard::default()));
    let mut sessions = Vec::new();
    let mut streams = Vec::new();
    for listener in [&buggy, &sound] {
        let tcp = super::Tcp::connect(hosts(), &options, Arc::downgrade(listener)).unwrap();
        let (done, finished) = std::sync::mpsc::channel();
        let done = Box::new(move |reply: crate::client::handle::Reply| done.send(reply.code).unwrap());
        tcp.submit(OpCode::SetData, b"", done).unwrap();
        let (mut stream, _) = server.accept().unwrap();
        stream.read_exact(&mut [0; 49]).unwrap();
        let mut frame = vec![0, 0, 0, 36];
        let response =
            ConnectResponse { protocol_version: 0, timeout: TIMEOUT, session_id: 5, password: Buffer::new(&[3; 16]) };
        frame.extend(encoded(&response));
        stream.write_all(&frame).unwrap();
        sessions.push((tcp, finished));
        streams.push(stream);
    }
    let limit = std::time::Duration::from_secs(20);
    assert_eq!(sessions[0].1.recv_timeout(limit), Ok(code::PANIC));
    assert_eq!(sessions[0].0.session().state, State::Ended);
    let mut request = [0; 46];
    streams[1].read_exact(&mut request).unwrap();
    let mut frame = vec![0, 0, 0, 16];
    frame.extend(encoded(&ReplyHeader { xid: -8, zxid: 1, err: 0 }));
    frame.extend([0, 0, 0, 16]);
    frame.extend(encoded(&ReplyHeader { xid: 1, zxid: 1, err: 0 }));
    streams[1].write_all(&frame).unwrap();
    assert_eq!(sessions[1].1.recv_timeout(limit), Ok(0));
    sessions[1].0.detach();
}

fn xid(frame: &[u8]) -> i32 {
    i32::from_be_bytes(frame[..4].try_into().unwrap())
}

#[test]
fn every_host_has_its_turn_before_there_is_a_rest() {
    let mut play = Play::new("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
    let mut rests = Vec::new();
    for _ in 0..12 {
        let mut ports = Vec::new();
        for n in 0..3 {
            let (waited, action) = play.pass_until_action();
            let IoAction::Connect(address) = action else { panic!("{action:?}") };
            ports.push(address.port());
            if n == 0 {
                rests.push(waited);
            } else {
                assert_eq!(waited, 0);
            }
            play.conn.closed(play.now, "refused");
        }
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3]);
    }
    assert_eq!(rests[0], 0);
    for (round, rest) in rests[1..].iter().enumerate() {
        let most = (50 << round.min(10)).min(1000);
        assert!((most / 2..=most).contains(rest), "{rests:?}");
    }
}

#[test]
fn a_host_has_its_share_of_the_session_to_answer() {
    let mut play = Play::new("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
    let first = play.connect();
    play.pass(2999);
    assert_eq!(play.conn.poll_action(), None);
    play.pass(1);
    assert_eq!(play.conn.poll_action(), Some(IoAction::Close));
    let second = play.connect();
    assert_ne!(first, second);
    // The handshake is part of it.
    play.pass(2000);
    play.conn.connected();
    play.pass(999);
    assert_eq!(play.conn.poll_action(), None);
    play.pass(1);
    assert_eq!(play.conn.poll_action(), Some(IoAction::Close));
}

#[test]
fn a_name_is_looked_up_at_every_turn_and_all_its_addresses_are_tried() {
    let mut play = Play::new("somewhere:7");
    for _ in 0..2 {
        assert_eq!(play.pass_until_action().1, IoAction::Resolve("somewhere".to_owned()));
        play.conn.resolved(play.now, "elsewhere", &Err("late".to_owned()));
        assert_eq!(play.conn.poll_action(), None, "that was another's");
        play.conn.resolved(play.now, "somewhere", &Ok(vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]));
        let mut tried = Vec::new();
        for _ in 0..2 {
            tried.push(play.connect().to_string());
            play.conn.closed(play.now, "refused");
        }
        tried.sort();
        assert_eq!(tried, ["127.0.0.1:7", "[::1]:7"]);
    }
    // One that takes too long, and one that fails.
    assert_eq!(play.pass_until_action().1, IoAction::Resolve("somewhere".to_owned()));
    let (waited, action) = play.pass_until_action();
    assert_eq!(action, IoAction::Resolve("somewhere".to_owned()));
    assert!(waited >= TIMEOUT as u64);
    play.conn.resolved(play.now, "somewhere", &Err("no".to_owned()));
    assert_eq!(play.pass_until_action().1, IoAction::Resolve("somewhere".to_owned()));
}

#[test]
fn pings_go_at_a_third_and_silence_ends_at_two() {
    let mut play = Play::new("127.0.0.1:1");
    play.up();
    play.sent();
    play.reply(-8, 1, 0);
    let start = play.now;
    play.pass(2999);
    assert!(play.sent().is_empty());
    play.pass(1);
    assert_eq!(play.sent().iter().map(|frame| xid(frame)).collect::<Vec<_>>(), [-2]);
    play.pass(2000);
    // Requests are as good as pings.
    play.submit("instead");
    assert_eq!(play.sent().len(), 1);
    play.pass(999);
    assert!(play.session.info().state.is_connected());
    assert_eq!(play.now.since(start), 5999);
    play.pass(1);
    assert_eq!(play.session.info().state, State::Suspended);
    assert_eq!(play.codes(), [("instead", code::CONNECTION_LOSS)]);
    assert_eq!(*play.heard.states.lock().unwrap(), [State::Connected, State::Suspended]);
}

#[test]
fn a_full_queue_stops_reading_and_is_no_silence() {
    let mut play = Play::new("127.0.0.1:1");
    play.up();
    *play.heard.is_full.lock().unwrap() = true;
    assert!(play.conn.wants_input());
    play.reply(-8, 1, 0);
    assert!(!play.conn.wants_input());
    for _ in 0..10_000 {
        play.pass(5);
        for frame in play.sent() {
            assert!(xid(&frame) < 0, "pings keep the session");
        }
    }
    assert!(play.session.info().state.is_connected());
    *play.heard.is_full.lock().unwrap() = false;
    assert!(!play.conn.wants_input());
    play.conn.look_again(play.now);
    assert!(play.conn.wants_input());
    play.pass(5999);
    assert!(play.session.info().state.is_connected());
    play.pass(1);
    assert_eq!(play.session.info().state, State::Suspended);
}

#[test]
fn what_was_said_first_is_said_first_again() {
    let mut play = Play::new("127.0.0.1:1");
    play.session.add_auth("digest", b"a:b", Box::new(|_| {})).unwrap();
    play.submit("early");
    for round in 0..3 {
        play.up();
        let xids: Vec<i32> = play.sent().iter().map(|frame| xid(frame)).collect();
        assert_eq!(xids, [-4, -8, 1 + round], "identities, watches, what waits");
        play.conn.closed(play.now, "cut");
        assert_eq!(play.codes().len(), 1);
        play.submit("waiting");
    }
}

#[test]
fn a_frame_is_lost_from_its_first_byte_on() {
    // Two requests; so many bytes of both leave.
    for written in 0..=2 * (12 + 3) {
        let mut play = Play::new("127.0.0.1:1");
        play.up();
        play.sent();
        play.submit("one");
        play.submit("two");
        assert_eq!(play.conn.output().len(), 30);
        play.conn.wrote(play.now, written);
        play.submit("three");
        play.conn.closed(play.now, "cut");
        let lost: Vec<&str> = play.codes().iter().map(|(name, _)| *name).collect();
        let expected: &[&str] = match written {
            0 => &[],
            1..=15 => &["one"],
            _ => &["one", "two"],
        };
        assert_eq!(lost, expected, "after {written} bytes");
        play.up();
        let bodies: Vec<Vec<u8>> = play.sent()[1..].iter().map(|frame| frame[8..].to_vec()).collect();
        assert_eq!(bodies, [&b"one"[..], b"two", b"three"][expected.len()..], "the others are sent, once");
    }
}

#[test]
fn an_identity_may_be_answered_before_its_turn() {
    let mut play = Play::new("127.0.0.1:1");
    play.up();
    play.submit("first");
    let codes = Arc::clone(&play.codes);
    let done = Box::new(move |reply: crate::client::handle::Reply| codes.lock().unwrap().push(("auth", reply.code)));
    play.session.add_auth("digest", b"a:b", done).unwrap();
    play.sent();
    play.reply(-8, 1, 0);
    play.reply(-4, 0, 0);
    play.reply(1, 9, 0);
    assert_eq!(play.codes(), [("auth", 0), ("first", 0)]);
    assert_eq!(play.session.info().last_zxid.0, 9);
}

#[test]
fn the_next_handshake_tells_how_far_the_session_has_seen() {
    let mut play = Play::new("127.0.0.1:1");
    play.up();
    play.submit("one");
    play.sent();
    play.reply(-8, 40, 0);
    play.reply(1, 41, -101);
    play.conn.closed(play.now, "cut");
    play.connect();
    play.conn.connected();
    let hello = play.sent().remove(0);
    let (request, read_only) = ConnectRequest::decode(&hello).unwrap();
    assert_eq!((request.session_id, request.last_zxid_seen, read_only), (5, 41, Some(false)));
    assert_eq!(request.password.0, Some(&[3; 16][..]));
    play.welcome(0, 0);
    assert_eq!(play.session.info().state, State::Expired);
    assert!(play.conn.is_over());
    assert_eq!(*play.heard.states.lock().unwrap(), [State::Connected, State::Suspended, State::Expired]);
}

#[test]
fn a_connection_that_lasted_makes_the_next_rest_short_again() {
    let mut play = Play::new("127.0.0.1:1");
    for _ in 0..8 {
        play.connect();
        play.conn.closed(play.now, "refused");
    }
    play.up();
    play.conn.closed(play.now, "at once");
    assert!(play.pass_until_action().0 >= 500, "it is no good server that hangs up");
    play.conn.connected();
    play.sent();
    play.welcome(5, TIMEOUT);
    play.pass(2000);
    play.conn.closed(play.now, "after a while");
    assert!(play.pass_until_action().0 <= 50);
}
