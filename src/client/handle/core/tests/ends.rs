//! How a session ends, and what those who wait are told then.

use super::super::{Closing, Terms};
use super::model::{Carrier, TIMEOUT, Told, reply, terms, welcome};
use crate::client::handle::transport::{Refused, Resume, State};
use crate::code::{self, Outcome};
use crate::ids::SessionId;
use crate::records::OpCode;

fn near() -> Terms {
    Terms { closes_on_next_connection: true, ..terms() }
}

#[track_caller]
fn refuses(carrier: &mut Carrier, why: Refused) {
    assert_eq!(carrier.core.submit(OpCode::SetData, &[], 900), Err(why));
    assert_eq!(carrier.core.add_auth("digest", b"late:x", 901), Err(why));
}

#[test]
fn a_close_follows_what_was_submitted_before_it() {
    let mut carrier = Carrier::up(terms());
    carrier.submit(1);
    assert_eq!(carrier.core.close(50), Closing::Asked);
    assert_eq!(carrier.core.close(51), Closing::Waits);
    refuses(&mut carrier, Refused::Closed);
    carrier.run();
    carrier.check_outcomes([1].into_iter());
    assert_eq!(carrier.server.heard[0], ["set 1 as 1", "close"]);
    assert_eq!(
        carrier.told[1..],
        [
            Told::State(State::Ended),
            Told::Closed { waiter: 50, code: code::OK },
            Told::Closed { waiter: 51, code: code::OK }
        ]
    );
    assert_eq!(carrier.core.close(52), Closing::Over(52));
    refuses(&mut carrier, Refused::Closed);
}

#[test]
fn a_close_that_is_lost_ends_the_session_here() {
    let mut carrier = Carrier::up(terms());
    (1..=2).for_each(|number| carrier.submit(number));
    carrier.send(20);
    carrier.core.close(50);
    carrier.cut();
    carrier.check_outcomes(1..=2);
    assert!(matches!(carrier.end_of(1), Some(Told::Failure { code: code::CONNECTION_LOSS, .. })));
    assert_eq!(carrier.states(), [State::Ended]);
    assert_eq!(carrier.end_of(50), Some(&Told::Closed { waiter: 50, code: code::CONNECTION_LOSS }));
    assert_eq!(carrier.server.sessions, [1], "it is left to expire");
}

#[test]
fn a_close_in_the_servers_process_is_asked_for_again_on_the_next_connection() {
    // Cut at every byte of the write and the request to close.
    for sent in 0..=16 + 12 {
        let mut carrier = Carrier::up(near());
        carrier.submit(1);
        carrier.core.close(50);
        carrier.send(sent);
        carrier.cut();
        refuses(&mut carrier, Refused::Closed);
        carrier.connect();
        carrier.run();
        carrier.check_outcomes([1].into_iter());
        match sent {
            // The server has ended the session, and its answer was lost.
            28 => assert_eq!(carrier.states(), [State::Suspended, State::Expired]),
            _ => assert_eq!(carrier.states(), [State::Suspended, State::Connected, State::Ended], "{sent}"),
        }
        assert_eq!(carrier.end_of(50), Some(&Told::Closed { waiter: 50, code: code::OK }));
        assert_eq!(carrier.server.sessions, [], "nothing is left to expire");
        let asked = carrier.server.heard[1].iter().filter(|heard| *heard == "close").count();
        assert_eq!(asked, usize::from(sent < 28), "once on a connection, {sent}");
    }
    // Without any connection yet, likewise.
    let mut carrier = Carrier::new(near());
    carrier.submit(1);
    assert_eq!(carrier.core.close(50), Closing::Waits);
    carrier.connect();
    carrier.run();
    carrier.check_outcomes([1].into_iter());
    assert_eq!(carrier.states(), [State::Connected, State::Ended]);
}

#[test]
fn a_close_without_a_server_to_ask_ends_here() {
    for had_a_session in [false, true] {
        let mut carrier = if had_a_session { Carrier::up(terms()) } else { Carrier::new(terms()) };
        if had_a_session {
            carrier.cut();
        }
        carrier.submit(1);
        assert_eq!(carrier.core.close(50), Closing::NobodyToAsk);
        assert_eq!(carrier.core.close(51), Closing::Waits);
        carrier.core.end(State::Ended, code::CLOSED, code::CONNECTION_LOSS);
        carrier.deliver(&[]);
        let expected = Told::Failure { waiter: 1, code: code::CLOSED, outcome: Outcome::NotDone };
        assert_eq!(carrier.end_of(1), Some(&expected));
        let code = if had_a_session { code::CONNECTION_LOSS } else { code::OK };
        assert_eq!(carrier.end_of(51), Some(&Told::Closed { waiter: 51, code }));
    }
    // A server answers between the wish and the end: then it is asked.
    let mut carrier = Carrier::new(terms());
    assert_eq!(carrier.core.close(50), Closing::NobodyToAsk);
    carrier.connect();
    carrier.run();
    assert_eq!(carrier.server.heard[0], ["close"]);
    assert_eq!(carrier.end_of(50), Some(&Told::Closed { waiter: 50, code: code::OK }));
}

#[test]
fn a_session_that_expired_takes_everything_along() {
    let mut carrier = Carrier::up(terms());
    (1..=3).for_each(|number| carrier.submit(number));
    carrier.send(20);
    carrier.server.expire_all();
    carrier.cut();
    carrier.core.add_auth("digest", b"a:b", 100).unwrap();
    carrier.connect();
    carrier.run();
    carrier.check_outcomes(1..=3);
    let not_done = |waiter| Told::Failure { waiter, code: code::SESSION_EXPIRED, outcome: Outcome::NotDone };
    assert_eq!(carrier.end_of(3), Some(&not_done(3)), "it was never sent");
    assert_eq!(carrier.end_of(100), Some(&not_done(100)));
    assert_eq!(carrier.states(), [State::Suspended, State::Expired]);
    refuses(&mut carrier, Refused::Expired);
    assert_eq!(carrier.server.executed, [1]);
    carrier.core.end(State::Ended, code::CLOSED, code::OK);
    carrier.deliver(&[]);
    assert_eq!(carrier.states().len(), 2, "it ends once");
    // Nothing comes back to life.
    carrier.core.connected();
    let mut bytes = Vec::new();
    carrier.core.take(&mut bytes);
    assert!(bytes.is_empty());
    carrier.hear(&welcome(1, TIMEOUT, &[3; 16], false)).unwrap();
    assert_eq!(carrier.states().len(), 2);
}

#[test]
fn a_server_that_begins_another_session_says_that_ours_is_over() {
    let mut carrier = Carrier::up(terms());
    carrier.cut();
    carrier.core.connected();
    carrier.hear(&welcome(77, TIMEOUT, &[3; 16], false)).unwrap();
    assert_eq!(carrier.states(), [State::Suspended, State::Expired]);
    assert_eq!(carrier.core.info().id, SessionId(1));
}

#[test]
fn a_session_to_resume_is_resumed_or_over() {
    for (id, password, expected) in
        [(1, [3; 16], State::Connected), (1, [4; 16], State::Expired), (2, [3; 16], State::Expired)]
    {
        let resume = Some(Resume { id: SessionId(id), password });
        let mut carrier = Carrier::new(Terms { resume, ..terms() });
        carrier.server.sessions.push(1);
        carrier.connect();
        carrier.run();
        assert_eq!(carrier.states(), [expected]);
    }
}

#[test]
fn refused_credentials_end_the_session_at_once_and_on_every_reconnect() {
    // Refused when they are added.
    let mut carrier = Carrier::up(terms());
    carrier.core.add_auth("bad", b"x", 100).unwrap();
    carrier.submit(1);
    carrier.send(30);
    carrier.receive(usize::MAX);
    assert!(matches!(carrier.end_of(100), Some(Told::Reply { code: code::AUTH_FAILED, .. })));
    carrier.check_outcomes([1].into_iter());
    assert!(matches!(carrier.end_of(1), Some(Told::Failure { code: code::AUTH_FAILED, .. })));
    assert_eq!(carrier.states(), [State::AuthFailed]);
    refuses(&mut carrier, Refused::AuthFailed);
    // Lost before they were answered, so that it is the next server that refuses them.
    let mut carrier = Carrier::up(terms());
    carrier.core.add_auth("bad", b"x", 100).unwrap();
    carrier.send(usize::MAX);
    carrier.cut();
    assert!(matches!(carrier.end_of(100), Some(Told::Failure { code: code::CONNECTION_LOSS, .. })));
    carrier.connect();
    carrier.run();
    assert_eq!(carrier.states(), [State::Suspended, State::Connected, State::AuthFailed]);
}

#[test]
fn a_server_that_wants_sasl_ends_the_session() {
    let mut carrier = Carrier::up(terms());
    carrier.submit(1);
    carrier.submit(2);
    carrier.send(16);
    carrier.hear(&reply(1, 5, -124)).unwrap();
    assert_eq!(carrier.states(), [State::AuthFailed]);
    let expected = Told::Failure { waiter: 2, code: code::AUTH_FAILED, outcome: Outcome::NotDone };
    assert_eq!(carrier.end_of(2), Some(&expected));
}

#[test]
fn a_detached_session_lives_on_and_nobody_hears_of_its_state() {
    let mut carrier = Carrier::up(terms());
    carrier.submit(1);
    carrier.send(usize::MAX);
    carrier.submit(2);
    carrier.core.detach();
    carrier.core.detach();
    carrier.deliver(&[]);
    carrier.check_outcomes(1..=2);
    assert!(matches!(carrier.end_of(1), Some(Told::Failure { code: code::CLOSED, outcome: Outcome::Unknown, .. })));
    assert!(matches!(carrier.end_of(2), Some(Told::Failure { code: code::CLOSED, outcome: Outcome::NotDone, .. })));
    assert_eq!(carrier.states(), []);
    assert_eq!(carrier.server.sessions, [1]);
    carrier.cut();
    assert_eq!(carrier.told.len(), 2, "and nothing more comes");
}

#[test]
fn after_a_bug_nothing_is_certain() {
    let mut carrier = Carrier::up(terms());
    carrier.submit(1);
    carrier.core.end(State::Ended, code::PANIC, code::PANIC);
    carrier.deliver(&[]);
    let expected = Told::Failure { waiter: 1, code: code::PANIC, outcome: Outcome::Unknown };
    assert_eq!(carrier.end_of(1), Some(&expected));
}
