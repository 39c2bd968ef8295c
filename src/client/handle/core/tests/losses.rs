//! A connection lost at any byte of either direction: what was seen is not sent again, what was not is.

use super::model::{Carrier, Told, terms};
use crate::client::handle::transport::{State, WatchedPaths};
use crate::code::{self, Outcome};

/// A session with an identity and a watch that was told it all on one connection, and has sent and submitted nothing since.
fn ready() -> Carrier {
    let mut carrier = Carrier::new(terms());
    carrier.watches = WatchedPaths { data: vec!["/watched".to_owned()], ..WatchedPaths::default() };
    carrier.core.add_auth("digest", b"a:b", 100).unwrap();
    carrier.connect();
    carrier.run();
    carrier.told.clear();
    carrier
}

/// Bytes of a write with its frame.
const FRAME: usize = 16;

#[test]
fn what_the_server_has_seen_a_byte_of_is_never_sent_again() {
    // Three writes, of which so many bytes go; the replies to those come, or do not.
    for sent in 0..=3 * FRAME {
        for are_answered in [false, true] {
            let mut carrier = ready();
            (1..=3).for_each(|number| carrier.submit(number));
            assert_eq!(carrier.send(sent), sent);
            if are_answered {
                carrier.receive(usize::MAX);
            }
            carrier.submit(4);
            carrier.cut();
            let answered = if are_answered { sent / FRAME } else { 0 };
            let seen = sent.div_ceil(FRAME);
            for number in 1..=4 {
                let expected = match number as usize {
                    n if n <= answered => Some(code::OK),
                    n if n <= seen => Some(code::CONNECTION_LOSS),
                    _ => None,
                };
                let end = carrier.end_of(number).map(|told| match told {
                    Told::Reply { code, .. } => *code,
                    Told::Failure { code, outcome, .. } => {
                        assert_eq!(*outcome, Outcome::Unknown);
                        *code
                    }
                    other => panic!("{other:?}"),
                });
                assert_eq!(end, expected, "{number} after {sent} bytes");
            }
            assert_eq!(carrier.states(), [State::Suspended]);
            carrier.connect();
            carrier.run();
            carrier.check_outcomes(1..=4);
            let resent: Vec<u32> = (seen as u32 + 1..=4).collect();
            assert!(carrier.server.executed.ends_with(&resent), "{:?}", carrier.server.executed);
            let heard = &carrier.server.heard[1];
            assert_eq!(heard[0], "auth a:b -4");
            assert_eq!(heard[1], format!("setWatches of 1 since {answered} -8"));
            assert_eq!(heard.len(), 2 + resent.len());
        }
    }
}

#[test]
fn a_reply_cut_anywhere_is_no_reply() {
    let size_of_reply = 4 + 16 + 4;
    for came in 0..=3 * size_of_reply {
        let mut carrier = ready();
        (1..=3).for_each(|number| carrier.submit(number));
        carrier.send(usize::MAX);
        assert_eq!(carrier.receive(came), came);
        carrier.cut();
        for number in 1..=3 {
            let is_answered = number as usize <= came / size_of_reply;
            let told = carrier.end_of(number).unwrap();
            assert_eq!(matches!(told, Told::Reply { .. }), is_answered, "{number} after {came} bytes: {told:?}");
        }
        carrier.connect();
        carrier.run();
        carrier.check_outcomes(1..=3);
        assert_eq!(carrier.server.executed, [1, 2, 3], "each once");
    }
}

#[test]
fn a_connection_lost_before_its_handshake_is_answered_costs_nothing() {
    for sent in 0..60 {
        for came in [0, 1, 20, 40] {
            let mut carrier = Carrier::new(terms());
            carrier.submit(1);
            carrier.core.add_auth("digest", b"a:b", 100).unwrap();
            carrier.connect();
            carrier.send(sent);
            carrier.receive(came);
            carrier.cut();
            assert_eq!(carrier.told, [], "nobody is told of an attempt");
            carrier.connect();
            carrier.run();
            carrier.check_outcomes([1].into_iter());
            assert!(matches!(carrier.end_of(100), Some(Told::Reply { code: code::OK, .. })));
            assert_eq!(carrier.states(), [State::Connected]);
        }
    }
}

#[test]
fn what_a_connection_is_told_first_may_be_lost_at_any_byte() {
    for sent in 0..200 {
        let mut carrier = ready();
        carrier.submit(1);
        carrier.cut();
        carrier.connect();
        carrier.send(sent);
        carrier.receive(usize::MAX);
        carrier.send(sent);
        carrier.cut();
        carrier.connect();
        carrier.run();
        carrier.check_outcomes([1].into_iter());
        let heard = &carrier.server.heard[2][..2];
        assert_eq!(heard[0], "auth a:b -4");
        assert!(heard[1].starts_with("setWatches of 1"), "{heard:?}");
    }
}

#[test]
fn whatever_happens_every_write_ends_once_and_as_it_says() {
    // Any order of submitting, sending, receiving and cutting, by seed.
    for seed in 0..3000_u64 {
        let mut state = seed;
        let mut below = move |bound: u64| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % bound
        };
        let mut carrier = Carrier::new(terms());
        let (mut last, mut is_connected, mut identities) = (0, false, 0);
        for _ in 0..60 {
            match below(12) {
                0..=3 => {
                    last += 1;
                    carrier.submit(last);
                }
                4..=5 => assert!(carrier.send(below(40) as usize) < 40),
                6..=7 => assert!(carrier.receive(below(60) as usize) < 60),
                8 if identities < 3 => {
                    identities += 1;
                    let user = format!("u{}:p", below(2));
                    carrier.core.add_auth("digest", user.as_bytes(), 1000 + identities).unwrap();
                }
                9 if is_connected => {
                    carrier.cut();
                    is_connected = false;
                }
                _ if !is_connected => {
                    carrier.connect();
                    is_connected = true;
                }
                _ => {}
            }
            carrier.deliver(&[]);
        }
        if is_connected {
            carrier.cut();
        }
        carrier.connect();
        carrier.run();
        carrier.check_outcomes(1..=last);
        (1..=identities).for_each(|n| assert!(carrier.end_of(1000 + n).is_some(), "seed {seed}"));
        let states = carrier.states();
        assert!(states.windows(2).all(|two| two[0] != two[1]), "seed {seed}: {states:?}");
        let handshakes = &carrier.server.handshakes;
        assert!(handshakes.windows(2).all(|two| two[0].1 <= two[1].1), "seed {seed}: {handshakes:?}");
    }
}
