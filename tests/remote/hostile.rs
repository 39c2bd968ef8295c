//! Servers that no client should be hurt by.

use std::io::Write;
use std::time::{Duration, Instant};

use zoarium::handle::{Handle, Options, Resume, State, code};
use zoarium::ids::SessionId;
use zoarium::records::OpCode;

use crate::fake::{Fake, Talk};
use crate::kit::*;

/// The first connection goes wrong as `talk` says, the second is served as it should be: the session gets over it.
fn recovers_from(what: &str, talk: impl Fn(&mut Talk) -> std::io::Result<()> + Send + Sync + 'static) {
    let fake = Fake::start(move |connection| {
        if connection.number == 0 {
            return talk(connection);
        }
        let hello = connection.shake()?;
        assert!(hello.last_zxid >= 0);
        connection.serve()
    });
    let handle = Handle::connect(&fake.address, &Options::default()).unwrap();
    let body = set_body("/", b"x");
    let start = Instant::now();
    let first = handle.call(OpCode::SetData, &body, LIMIT).code;
    assert!(matches!(first, code::OK | code::CONNECTION_LOSS), "{what}: {first}");
    assert_eq!(handle.call(OpCode::SetData, &body, LIMIT).code, code::OK, "{what}");
    assert!(start.elapsed() < Duration::from_secs(15), "{what}: {:?}", start.elapsed());
    assert!(fake.accepted() >= 2, "{what}: it was noticed");
    handle.close(LIMIT).unwrap();
}

#[test]
fn nonsense_before_the_handshake_leads_to_the_next_connection() {
    recovers_from("HTTP", |talk| {
        talk.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        talk.linger();
        Ok(())
    });
    recovers_from("a short answer", |talk| {
        talk.send(&[0; 10])?;
        talk.linger();
        Ok(())
    });
    recovers_from("a huge frame", |talk| {
        talk.raw(&[i32::MAX, 1, 2, 3])?;
        talk.linger();
        Ok(())
    });
    recovers_from("a negative frame", |talk| {
        talk.raw(&[-1])?;
        talk.linger();
        Ok(())
    });
    recovers_from("half an answer", |talk| {
        talk.hello()?;
        talk.raw(&[37, 0, 10_000])
    });
    recovers_from("a password of no length", |talk| {
        talk.hello()?;
        talk.raw(&[20, 0, 10_000, 0, 7, 0])?;
        talk.linger();
        Ok(())
    });
    recovers_from("hanging up", |_| Ok(()));
    recovers_from("silence", |talk| {
        talk.linger();
        Ok(())
    });
}

#[test]
fn nonsense_after_the_handshake_leads_to_the_next_connection() {
    recovers_from("a reply nobody asked for", |talk| {
        talk.shake()?;
        talk.reply(12, 1, 0)?;
        talk.linger();
        Ok(())
    });
    recovers_from("a wrong xid", |talk| {
        talk.shake()?;
        let (xid, _) = talk.request()?;
        talk.reply(xid + 1, 1, 0)?;
        talk.linger();
        Ok(())
    });
    recovers_from("a short reply", |talk| {
        talk.shake()?;
        talk.request()?;
        talk.send(&[0; 15])?;
        talk.linger();
        Ok(())
    });
    recovers_from("a frame of no bytes", |talk| {
        talk.shake()?;
        talk.raw(&[0])?;
        talk.linger();
        Ok(())
    });
    recovers_from("a bad event", |talk| {
        talk.shake()?;
        let mut event = Vec::new();
        for word in [-1, -1, -1, 0, 3, 3, i32::MAX] {
            event.extend_from_slice(&i32::to_be_bytes(word));
        }
        talk.send(&event)?;
        talk.linger();
        Ok(())
    });
    recovers_from("a huge frame", |talk| {
        talk.shake()?;
        talk.request()?;
        talk.raw(&[i32::MAX, 1])?;
        talk.linger();
        Ok(())
    });
    recovers_from("half a reply", |talk| {
        talk.shake()?;
        let (xid, _) = talk.request()?;
        talk.raw(&[16, xid, 0])
    });
    recovers_from("an answer to what is none", |talk| {
        talk.shake()?;
        talk.reply(-4, 0, 0)?;
        talk.linger();
        Ok(())
    });
}

#[test]
fn noise_does_no_harm() {
    // Ping replies at any time, events of unknown kinds, for paths nobody watches.
    let fake = Fake::start(|talk| {
        talk.shake()?;
        for kind in [0, 5, 99, 3] {
            talk.reply(-2, 3, 0)?;
            let mut event = Vec::new();
            for word in [-1, -1, -1, 0, kind, 3, 1] {
                event.extend_from_slice(&i32::to_be_bytes(word));
            }
            event.push(b'/');
            talk.send(&event)?;
        }
        talk.serve()
    });
    let handle = connect(&fake.address, &Options::default());
    assert_eq!(handle.call(OpCode::SetData, &set_body("/", b"x"), LIMIT).code, code::OK);
    handle.close(LIMIT).unwrap();
    assert_eq!(fake.accepted(), 1);
}

#[test]
fn bytes_may_come_one_by_one() {
    let fake = Fake::start(|talk| {
        talk.stream.set_nodelay(true)?;
        let hello = talk.hello()?;
        let slowly = |talk: &mut Talk, words: &[i32]| -> std::io::Result<()> {
            for byte in words.iter().flat_map(|word| word.to_be_bytes()) {
                talk.stream.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        assert_eq!(hello.read_only, Some(false));
        slowly(talk, &[36, 0, 10_000, 0, 7, 16, 1, 2, 3, 4])?;
        loop {
            let (xid, op) = talk.request()?;
            slowly(talk, &[16, xid, 0, 9, 0])?;
            if op == -11 {
                return Ok(());
            }
        }
    });
    // And a server before 3.4 leaves out the last byte of the handshake.
    let handle = connect(&fake.address, &Options::default());
    assert_eq!(handle.session().id, SessionId(7));
    assert_eq!(handle.call(OpCode::SetData, &set_body("/", b"x"), LIMIT).code, code::OK);
    assert_eq!(handle.session().last_zxid.0, 9);
    handle.close(LIMIT).unwrap();
    assert_eq!(fake.accepted(), 1);
}

#[test]
fn a_reply_above_the_limit_is_not_taken() {
    let fake = Fake::start(|talk| {
        talk.shake()?;
        loop {
            let (xid, op) = talk.request()?;
            let mut reply = vec![0; 16];
            reply[..4].copy_from_slice(&xid.to_be_bytes());
            // As large as the request's kind: a read gets too much.
            reply.resize(if op == OpCode::GetData.to_i32() { 1001 } else { 1000 }, 0);
            talk.send(&reply)?;
        }
    });
    let handle = connect(&fake.address, &Options { reply_size_max: 1000, ..Options::default() });
    for _ in 0..3 {
        assert_eq!(handle.read(OpCode::Exists, "/", LIMIT).code, code::OK);
        assert_eq!(handle.read(OpCode::GetData, "/", LIMIT).code, code::CONNECTION_LOSS);
    }
    handle.close(Some(Duration::from_millis(10))).unwrap_or(());
}

#[test]
fn a_session_that_is_not_the_one_asked_for_is_no_resumption() {
    // Trap 3: a server that begins another session in silence would hide that locks are lost.
    let fake = Fake::start(|talk| {
        talk.hello()?;
        talk.welcome(1000 + talk.number as i64, 10_000, Some(false))?;
        let _ = talk.request()?;
        Ok(())
    });
    let resume = Some(Resume { id: SessionId(5), password: [7; 16] });
    let handle = Handle::connect(&fake.address, &Options { resume, ..Options::default() }).unwrap();
    assert_eq!(handle.wait(LIMIT), Err(code::SESSION_EXPIRED));
    let handle = connect(&fake.address, &Options::default());
    assert_eq!(handle.call(OpCode::SetData, &set_body("/", b"x"), LIMIT).code, code::CONNECTION_LOSS);
    await_state(&handle, State::Expired);
}

#[test]
fn a_silent_server_is_given_up_within_two_thirds_of_the_session() {
    let fake = Fake::start(|talk| {
        talk.hello()?;
        talk.welcome(5, 3000, Some(false))?;
        if talk.number == 0 {
            talk.linger();
            return Ok(());
        }
        // Pings are answered here.
        loop {
            let payload = talk.frame()?;
            let xid = i32::from_be_bytes(payload[..4].try_into().unwrap());
            talk.reply(xid, 1, 0)?;
        }
    });
    let start = Instant::now();
    let handle = connect(&fake.address, &short(3000));
    assert_eq!(handle.call(OpCode::SetData, &set_body("/", b"x"), LIMIT).code, code::CONNECTION_LOSS);
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(1900) && waited < Duration::from_millis(15_000), "{waited:?}");
    assert_eq!(handle.call(OpCode::SetData, &set_body("/", b"x"), LIMIT).code, code::OK);
    assert_eq!(fake.accepted(), 2);
}

#[test]
fn a_server_that_always_hangs_up_is_not_stormed() {
    let fake = Fake::start(|talk| {
        talk.shake()?;
        Ok(())
    });
    let start = Instant::now();
    let handle = Handle::connect(&fake.address, &Options::default()).unwrap();
    await_that("some attempts", || fake.accepted() >= 6);
    // Five rests, each at least as long as the one before.
    assert!(start.elapsed() > Duration::from_millis(500), "after {:?}", start.elapsed());
    let _ = handle.close(Some(Duration::from_millis(100)));
}

#[test]
fn hosts_that_cannot_be_read_are_refused_at_once() {
    for hosts in ["", "a:b", "a:99999", "a/x//y", "[::1"] {
        let error = Handle::connect(hosts, &Options::default()).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{hosts}");
    }
}

#[test]
fn a_name_without_an_address_does_not_hold_up_the_others() {
    let fake = Fake::start(|talk| {
        talk.shake()?;
        talk.serve()
    });
    let hosts = format!("no-such-host.invalid:1,{},localhost:1", fake.address);
    let handle = connect(&hosts, &Options::default());
    assert_eq!(handle.call(OpCode::SetData, &set_body("/", b"x"), LIMIT).code, code::OK);
    handle.close(LIMIT).unwrap();
}
