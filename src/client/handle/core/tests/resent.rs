//! What is re-sent on reconnect: identities, watches, then what waits.

use super::model::{Carrier, Told, terms};
use crate::client::handle::transport::WatchedPaths;
use crate::code;

fn paths(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("/{kind}/{n:060}")).collect()
}

#[test]
fn identities_come_first_then_watches_then_what_waits() {
    let mut carrier = Carrier::new(terms());
    carrier.watches = WatchedPaths { child: paths("c", 1), ..WatchedPaths::default() };
    for (waiter, user) in ["a:a", "b:b"].into_iter().enumerate() {
        carrier.core.add_auth("digest", user.as_bytes(), 100 + waiter as u32).unwrap();
    }
    for round in 1..=3 {
        carrier.submit(round);
        carrier.connect();
        carrier.run();
        let heard = carrier.server.heard.last().unwrap();
        let watches = format!("setWatches of 1 since {} -8", round - 1);
        let set = format!("set {round} as {round}");
        assert_eq!(heard[..], ["auth a:a -4", "auth b:b -4", &watches, &set]);
        carrier.cut();
    }
    assert!(matches!(carrier.end_of(101), Some(Told::Reply { code: code::OK, .. })));
}

#[test]
fn every_watch_is_registered_again_in_frames_that_servers_take() {
    let mut carrier = Carrier::up(terms());
    carrier.cut();
    carrier.watches = WatchedPaths {
        data: paths("d", 3000),
        exist: paths("e", 10),
        child: paths("c", 10),
        persistent: paths("p", 5),
        recursive: paths("r", 3000),
    };
    carrier.connect();
    carrier.run();
    let heard = &carrier.server.heard[1];
    assert!(heard.len() > 2, "{heard:?}");
    let count = |line: &String| line.split(' ').nth(2).unwrap().parse::<usize>().unwrap();
    assert_eq!(heard.iter().map(count).sum::<usize>(), 6025);
    assert!(heard[0].starts_with("setWatches of"), "servers before 3.6 know no other: {}", heard[0]);
    assert!(heard.last().unwrap().starts_with("setWatches2 of"), "{heard:?}");
}

#[test]
fn a_server_is_told_of_the_last_reply_and_not_of_the_last_event() {
    // An event of a transaction may come while others of it do not, so that they have to be asked for.
    let mut carrier = Carrier::up(terms());
    carrier.server.sends_events = true;
    carrier.watches = WatchedPaths { data: paths("d", 1), ..WatchedPaths::default() };
    carrier.submit(1);
    carrier.run();
    carrier.submit(2);
    carrier.send(usize::MAX);
    let whole = carrier.server.output.len();
    carrier.receive(whole - 1);
    assert!(matches!(carrier.told.last(), Some(Told::Event { zxid: 2, .. })));
    carrier.cut();
    carrier.connect();
    carrier.run();
    assert_eq!(carrier.server.handshakes[1].1, 1);
    assert_eq!(carrier.server.heard[1], ["setWatches of 1 since 1 -8"]);
}

#[test]
fn an_identitys_answer_may_come_before_its_turn() {
    let mut carrier = Carrier::up(terms());
    carrier.submit(1);
    carrier.core.add_auth("digest", b"a:a", 100).unwrap();
    carrier.send(usize::MAX);
    carrier.hear(&super::model::reply(-4, 0, 0)).unwrap();
    assert!(matches!(carrier.end_of(100), Some(Told::Reply { code: code::OK, .. })));
    assert_eq!(carrier.end_of(1), None);
}

#[test]
fn orders_are_counted_once_each() {
    // The carrier lets no read overtake what it counts here, and counts down by what is delivered.
    let mut carrier = Carrier::new(terms());
    carrier.watches = WatchedPaths { child: paths("c", 1), ..WatchedPaths::default() };
    carrier.core.add_auth("digest", b"a:a", 100).unwrap();
    carrier.submit(1);
    carrier.core.submit(crate::records::OpCode::GetData, &[], 2).unwrap();
    assert_eq!(carrier.core.orders(), 2, "the identity and the write, and not the read");
    carrier.connect();
    carrier.run();
    assert_eq!(carrier.core.orders(), 3, "and the watches");
    carrier.cut();
    carrier.connect();
    carrier.run();
    assert_eq!(carrier.core.orders(), 5, "the identity and the watches, re-sent");
}

#[test]
fn what_every_connection_is_told_is_told_once_on_each() {
    // Cut while the identity waits to be sent, with a write on either side of it.
    for sent in [0, 16] {
        let mut carrier = Carrier::up(terms());
        carrier.submit(1);
        carrier.core.add_auth("digest", b"a:a", 100).unwrap();
        carrier.submit(2);
        assert_eq!(carrier.send(sent), sent);
        carrier.cut();
        carrier.connect();
        carrier.run();
        carrier.check_outcomes(1..=2);
        assert_eq!(carrier.server.heard[1].iter().filter(|heard| heard.starts_with("auth")).count(), 1);
        assert!(matches!(carrier.end_of(100), Some(Told::Failure { code: code::CONNECTION_LOSS, .. })));
    }
}

#[test]
fn the_highest_zxid_seen_is_told_whatever_came_after_it() {
    let mut carrier = Carrier::up(terms());
    (1..=2).for_each(|number| carrier.submit(number));
    carrier.send(usize::MAX);
    carrier.hear(&[super::model::reply(1, 9, 0), super::model::reply(2, 5, 0)].concat()).unwrap();
    carrier.core.saw(8);
    carrier.cut();
    carrier.connect();
    carrier.run();
    assert_eq!(carrier.server.handshakes[1].1, 9);
}
