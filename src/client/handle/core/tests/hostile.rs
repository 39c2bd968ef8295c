//! Servers that say what no server says, and hosts that want more than is allowed.

use super::super::session::QUEUED_SIZE_MAX;
use super::super::{IdentityLimits, Terms};
use super::model::{Carrier, TIMEOUT, Told, frame, reply, terms, welcome};
use crate::client::handle::transport::{Refused, SizeLimit, State};
use crate::code;
use crate::records::OpCode;

#[track_caller]
fn is_refused(carrier: &mut Carrier, bytes: &[u8], why: &str) {
    let refused = carrier.hear(bytes);
    assert!(refused.as_ref().is_err_and(|error| error.contains(why)), "{refused:?}");
}

#[test]
fn a_length_that_no_frame_has_is_refused_before_its_bytes_come() {
    for length in [-1, i32::MIN, (1 << 16) + 1, i32::MAX] {
        let mut carrier = Carrier::up(terms());
        is_refused(&mut carrier, &length.to_be_bytes(), "are the most taken here");
        let mut carrier = Carrier::new(terms());
        carrier.connect();
        is_refused(&mut carrier, &length.to_be_bytes(), "are the most taken here");
    }
}

#[test]
fn an_answer_to_the_handshake_that_is_none_is_refused() {
    let attempt = |payload: &[u8], why: &str| {
        let mut carrier = Carrier::new(terms());
        carrier.connect();
        is_refused(&mut carrier, payload, why);
        assert_eq!(carrier.told, []);
        assert!(!carrier.core.is_up());
    };
    for size in 0..36 {
        attempt(&frame(&welcome(5, TIMEOUT, &[3; 16], false)[4..4 + size]), "a bad answer to the handshake");
    }
    attempt(&welcome(5, TIMEOUT, &[3; 15], false), "16 bytes");
    attempt(&welcome(5, TIMEOUT, &[], false), "16 bytes");
    attempt(&welcome(5, TIMEOUT, &[3; 16], true), "without quorum");
}

#[test]
fn an_old_servers_answer_without_the_read_only_flag_is_taken() {
    let mut carrier = Carrier::new(Terms { allow_read_only: true, ..terms() });
    carrier.connect();
    let with_flag = welcome(5, TIMEOUT, &[3; 16], false);
    carrier.hear(&frame(&with_flag[4..with_flag.len() - 1])).unwrap();
    assert_eq!(carrier.states(), [State::Connected]);
}

#[test]
fn a_session_without_a_quorum_is_begun_anew_at_a_server_with_one() {
    let mut carrier = Carrier::new(Terms { allow_read_only: true, ..terms() });
    carrier.connect();
    carrier.hear(&welcome(9, TIMEOUT, &[9; 16], true)).unwrap();
    assert_eq!(carrier.states(), [State::ConnectedReadOnly]);
    carrier.cut();
    carrier.connect();
    carrier.run();
    assert_eq!(carrier.server.handshakes, [(0, 0, vec![0; 16])], "the first server's session is no other's");
    assert_eq!(carrier.states(), [State::ConnectedReadOnly, State::Suspended, State::Connected]);
}

#[test]
fn replies_out_of_turn_are_refused_and_what_came_before_counts() {
    for (xid, why) in [(2, "where one to 1 was due"), (7, "where one to 1 was due"), (-8, "where one to 1 was due")] {
        let mut carrier = Carrier::up(terms());
        carrier.submit(1);
        carrier.submit(2);
        carrier.send(usize::MAX);
        is_refused(&mut carrier, &reply(xid, 1, 0), why);
    }
    let mut carrier = Carrier::up(terms());
    carrier.submit(1);
    carrier.send(usize::MAX);
    let two = [reply(1, 1, -101), reply(1, 1, 0)].concat();
    is_refused(&mut carrier, &two, "that nobody waits for");
    assert!(matches!(carrier.end_of(1), Some(Told::Reply { code: code::NO_NODE, .. })));
    for size in 0..16 {
        let mut carrier = Carrier::up(terms());
        carrier.submit(1);
        carrier.send(usize::MAX);
        is_refused(&mut carrier, &frame(&reply(1, 1, 0)[4..4 + size]), "a reply of");
    }
}

#[test]
fn pings_are_answered_beside_everything() {
    let mut carrier = Carrier::up(terms());
    carrier.submit(1);
    carrier.send(usize::MAX);
    carrier.hear(&[reply(-2, 40, 0), reply(-2, 40, 0)].concat()).unwrap();
    carrier.run();
    carrier.check_outcomes([1].into_iter());
    assert_eq!(carrier.told.len(), 1);
    // One that a host asked for is told like any other.
    carrier.core.submit(OpCode::Ping, &[], 2).unwrap();
    carrier.submit(3);
    carrier.run();
    assert!(matches!(carrier.end_of(2), Some(Told::Reply { code: code::OK, .. })));
    carrier.check_outcomes([3].into_iter());
}

#[test]
fn what_waits_is_limited_in_bytes_and_one_request_is_always_taken() {
    let size_limit = SizeLimit::Server(u32::MAX);
    let mut carrier = Carrier::new(Terms { size_limit, ..terms() });
    let half = vec![0; QUEUED_SIZE_MAX / 2];
    carrier.core.submit(OpCode::SetData, &half, 1).unwrap();
    assert_eq!(carrier.core.submit(OpCode::SetData, &half, 2), Err(Refused::Full));
    carrier.core.submit(OpCode::SetData, &half[100..], 3).unwrap();
    let mut carrier = Carrier::new(Terms { size_limit, ..terms() });
    carrier.core.submit(OpCode::SetData, &vec![0; QUEUED_SIZE_MAX + 1], 1).unwrap();
    // SessionIdentities wait in the same bounds, however often each is added.
    let mut carrier = Carrier::new(Terms { size_limit, ..terms() });
    let long = vec![b'u'; QUEUED_SIZE_MAX / 4];
    let taken = (0..10).take_while(|n| carrier.core.add_auth("digest", &long, *n).is_ok()).count();
    assert_eq!(taken, 3);
    assert_eq!(carrier.core.add_auth("digest", &long, 20), Err(Refused::Full));
}

#[test]
fn a_request_beyond_the_limit_is_refused_here() {
    let size_limit = SizeLimit::Client(100);
    let mut carrier = Carrier::up(Terms { size_limit, ..terms() });
    assert_eq!(
        carrier.core.submit(OpCode::SetData, &[0; 93], 1),
        Err(Refused::TooLarge { size: 101, limit: size_limit })
    );
    carrier.core.submit(OpCode::GetData, &[0; 92], 2).unwrap();
    let refused = carrier.core.add_auth("digest", &[b'x'; 100], 3);
    assert!(matches!(refused, Err(Refused::TooLarge { .. })), "{refused:?}");
}

#[test]
fn a_known_servers_limits_hold_and_what_it_knows_is_not_sent_again() {
    let identity_limits = Some(IdentityLimits { count_max: 2, size_max: 1000 });
    let mut carrier = Carrier::up(Terms { identity_limits, ..terms() });
    for (waiter, user) in ["a:a", "b:b", "a:a"].into_iter().enumerate() {
        carrier.core.add_auth("digest", user.as_bytes(), waiter as u32).unwrap();
    }
    assert_eq!(carrier.core.add_auth("digest", b"c:c", 9), Err(Refused::TooManyIdentities { max: 2 }));
    carrier.run();
    assert_eq!(carrier.server.heard[0], ["auth a:a -4", "auth b:b -4", "whoAmI"]);
    (0..3).for_each(|waiter| assert!(matches!(carrier.end_of(waiter), Some(Told::Reply { code: code::OK, .. }))));
    // A server elsewhere may have another opinion every time, and is asked.
    let mut carrier = Carrier::up(terms());
    (0..2).for_each(|waiter| assert!(carrier.core.add_auth("digest", b"a:a", waiter).unwrap()));
    carrier.run();
    carrier.cut();
    carrier.connect();
    carrier.run();
    assert_eq!(carrier.server.heard, [vec!["auth a:a -4", "auth a:a -4"], vec!["auth a:a -4"]]);
}
