//! Against a server of a few lines that says what the test wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;
use crate::records::{Acl, CreateMode};

/// Answers each frame with the next answer, then hangs up. Returns the frames it was sent.
fn serve(answers: Vec<Vec<Vec<u8>>>) -> (String, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        answers.into_iter().map(|answer| exchange(&mut stream, &answer)).collect()
    });
    (address, server)
}

fn exchange(stream: &mut TcpStream, answer: &[Vec<u8>]) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).unwrap();
    for payload in answer {
        stream.write_all(&(payload.len() as u32).to_be_bytes()).unwrap();
        stream.write_all(payload).unwrap();
    }
    frame
}

fn welcome(timeout: i32, session_id: i64) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    ConnectResponse { protocol_version: 0, timeout, session_id, password: Buffer::new(&[7; 16]) }
        .encode(Some(false), &mut out);
    vec![out]
}

fn reply(xid: i32, zxid: i64, err: i32, body: &[u8]) -> Vec<u8> {
    let mut out = jute::encoded(&ReplyHeader { xid, zxid, err });
    out.extend_from_slice(body);
    out
}

fn event(zxid: i64, kind: EventType, path: &str) -> Vec<u8> {
    let body = jute::encoded(&WatcherEvent { kind: kind.to_i32(), state: 3, path: path.into() });
    reply(XID_EVENT, zxid, 0, &body)
}

#[test]
fn a_new_session_keeps_what_the_server_granted() {
    let (address, server) = serve(vec![welcome(4000, 9)]);
    let client = RawClient::connect(&address).unwrap();
    assert_eq!((client.session(), client.password(), client.timeout_ms()), (SessionId(9), [7; 16], 4000));
    let frames = server.join().unwrap();
    assert_eq!(frames[0].len(), 45, "with the read-only flag");
}

#[test]
fn a_refused_session_is_expired() {
    for (timeout, session) in [(0, 0), (0, 9), (4000, 0)] {
        let (address, _server) = serve(vec![welcome(timeout, session)]);
        let options = ConnectOptions { resume: Some((SessionId(5), [1; 16])), ..Default::default() };
        assert!(matches!(RawClient::connect_with(&address, &options), Err(ClientError::Expired)));
    }
}

#[test]
fn events_between_request_and_reply_are_kept_in_order() {
    let (address, _server) = serve(vec![
        welcome(4000, 9),
        vec![
            event(5, EventType::Created, "/a"),
            event(5, EventType::ChildrenChanged, "/"),
            reply(1, 5, 0, &jute::encoded("/a")),
        ],
    ]);
    let mut client = RawClient::connect(&address).unwrap();
    assert_eq!(client.create("/a", None, &[Acl::open()], CreateMode::Persistent).unwrap(), "/a");
    let seen: Vec<_> = client.take_events().into_iter().map(|event| (event.kind, event.path, event.zxid)).collect();
    assert_eq!(seen, [(EventType::Created, "/a".into(), 5), (EventType::ChildrenChanged, "/".into(), 5)]);
    assert_eq!(client.last_zxid(), 5);
}

#[test]
fn refusals_foreign_xids_and_hang_ups_are_told_apart() {
    let (address, _server) =
        serve(vec![welcome(4000, 9), vec![reply(1, 2, -101, &[])], vec![reply(8, 2, 0, &[])], vec![]]);
    let mut client = RawClient::connect(&address).unwrap();
    assert_eq!(client.delete("/a", -1).unwrap_err().refusal(), Some(ErrorCode::NoNode));
    assert!(matches!(client.delete("/a", -1), Err(ClientError::Protocol(_))));
    match client.delete("/a", -1) {
        Err(ClientError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
        other => panic!("{other:?}"),
    }
}

#[test]
fn waiting_for_an_event_sends_pings() {
    let (address, server) = serve(vec![
        welcome(30, 9),
        vec![reply(XID_PING, 1, 0, &[])],
        vec![event(4, EventType::Deleted, "/x"), reply(XID_PING, 4, 0, &[])],
    ]);
    let mut client = RawClient::connect(&address).unwrap();
    let event = client.next_event(Duration::from_secs(10)).unwrap().expect("an event");
    assert_eq!((event.kind, event.path.as_str()), (EventType::Deleted, "/x"));
    assert_eq!(server.join().unwrap().len(), 3);
}

#[test]
fn a_frame_in_pieces_is_one_frame() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut wire = RawWire::connect(&address, Duration::from_secs(10)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in [&[0, 0][..], &[0, 3, 1], &[2, 3, 0, 0, 0, 0]] {
        stream.write_all(piece).unwrap();
        if piece.len() < 6 {
            assert_eq!(wire.poll_frame(Duration::from_millis(5)).unwrap(), None);
        }
    }
    assert_eq!(wire.receive_frame().unwrap(), [1, 2, 3]);
    assert_eq!(wire.receive_frame().unwrap(), [0u8; 0]);
}
