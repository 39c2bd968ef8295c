//! Servers without quorum.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zoarium::handle::{Handle, Options, State, code};
use zoarium::records::OpCode;

use crate::fake::{Fake, Talk};
use crate::kit::*;

fn read_only(talk: &mut Talk) -> std::io::Result<()> {
    let hello = talk.hello()?;
    if hello.read_only != Some(true) {
        // As ZooKeeper does.
        return Ok(());
    }
    talk.welcome(900 + talk.number as i64, 10_000, Some(true))?;
    loop {
        let (xid, op) = talk.request()?;
        let err = if op == OpCode::SetData.to_i32() { -119 } else { 0 };
        talk.reply(xid, 3, err)?;
        if op == -11 {
            return Ok(());
        }
    }
}

#[test]
fn a_server_without_quorum_is_taken_only_by_who_wants_it() {
    let fake = Fake::start(read_only);
    let strict = Handle::connect(&fake.address, &Options::default()).unwrap();
    await_that("several attempts", || fake.accepted() >= 3);
    assert_eq!(strict.session().state, State::Connecting);
    let content = connect(&fake.address, &Options { allow_read_only: true, ..Options::default() });
    assert_eq!(content.session().state, State::ConnectedReadOnly);
    assert_eq!(content.read(OpCode::Exists, "/", LIMIT).code, code::OK);
    assert_eq!(content.call(OpCode::SetData, &set_body("/", b""), LIMIT).code, -119);
    content.close(LIMIT).unwrap();
}

#[test]
fn a_server_that_claims_so_unasked_is_left() {
    let fake = Fake::start(|talk| {
        talk.hello()?;
        talk.welcome(5, 10_000, Some(talk.number == 0))?;
        talk.serve()
    });
    let handle = connect(&fake.address, &Options::default());
    assert_eq!(handle.session().state, State::Connected);
    assert_eq!(fake.accepted(), 2);
}

#[test]
fn a_server_with_a_quorum_is_looked_for_and_gone_to() {
    let without = Fake::start(read_only);
    let has_quorum = Arc::new(AtomicBool::new(false));
    let of_server = Arc::clone(&has_quorum);
    let with = Fake::start(move |talk| {
        let has_quorum = of_server.load(Ordering::SeqCst);
        let mut first = [0; 4];
        talk.stream.read_exact(&mut first)?;
        if &first == b"isro" {
            return talk.stream.write_all(if has_quorum { b"rw" } else { b"ro" });
        }
        if !has_quorum {
            return Ok(());
        }
        let mut payload = vec![0; u32::from_be_bytes(first) as usize];
        talk.stream.read_exact(&mut payload)?;
        let session = i64::from_be_bytes(payload[16..24].try_into().unwrap());
        assert_eq!(session, 0, "what a server without quorum calls a session is none to the others");
        talk.welcome(55, 10_000, Some(false))?;
        talk.serve()
    });
    let states = States::default();
    let options = states.options(Options { allow_read_only: true, ..Options::default() });
    let handle = connect(&format!("{},{}", without.address, with.address), &options);
    assert_eq!(handle.session().state, State::ConnectedReadOnly);
    await_that("some questions", || with.accepted() >= 4);
    assert_eq!(handle.session().state, State::ConnectedReadOnly);
    has_quorum.store(true, Ordering::SeqCst);
    await_state(&handle, State::Connected);
    assert_eq!(handle.call(OpCode::SetData, &set_body("/", b""), LIMIT).code, code::OK);
    handle.close(LIMIT).unwrap();
    assert_eq!(states.seen(), [State::ConnectedReadOnly, State::Suspended, State::Connected, State::Ended]);
}
