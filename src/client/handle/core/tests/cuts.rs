//! However the bytes come, the same is told.

use super::model::{Carrier, Told, terms};
use crate::client::handle::transport::{State, WatchedPaths};
use crate::code;

/// A session with an identity and a watch that sends three writes; every piece that comes is of these sizes in turn.
fn play(sizes: &[usize]) -> (Vec<Told>, Vec<String>) {
    let mut carrier = Carrier::new(terms());
    carrier.server.sends_events = true;
    carrier.watches = WatchedPaths { data: vec!["/watched".to_owned()], ..WatchedPaths::default() };
    carrier.core.add_auth("digest", b"a:b", 100).unwrap();
    (1..=3).for_each(|number| carrier.submit(number));
    carrier.connect();
    let mut sizes = sizes.iter().copied().cycle();
    while carrier.send(sizes.next().unwrap()) + carrier.receive(sizes.next().unwrap()) > 0 {}
    carrier.run();
    (carrier.told, carrier.server.heard.remove(0))
}

#[test]
fn every_cut_of_the_bytes_tells_the_same() {
    let (told, heard) = play(&[usize::MAX]);
    assert_eq!(heard, ["auth a:b -4", "setWatches of 1 since 0 -8", "set 1 as 1", "set 2 as 2", "set 3 as 3"]);
    let event = |zxid| Told::Event { zxid, path: "/watched".to_owned() };
    let reply =
        |waiter: u32, zxid, record: &[u8]| Told::Reply { waiter, code: code::OK, zxid, record: record.to_vec() };
    assert_eq!(
        told,
        [
            Told::State(State::Connected),
            reply(100, 0, &[]),
            event(1),
            reply(1, 1, &[0, 0, 0, 1]),
            event(2),
            reply(2, 2, &[0, 0, 0, 2]),
            event(3),
            reply(3, 3, &[0, 0, 0, 3]),
        ]
    );
    // Every first piece, and every size of all pieces.
    for first in 1..400 {
        assert_eq!(play(&[usize::MAX, first, usize::MAX, usize::MAX]), (told.clone(), heard.clone()), "cut at {first}");
        assert_eq!(play(&[first]), (told.clone(), heard.clone()), "in pieces of {first}");
        assert_eq!(play(&[first, 1]), (told.clone(), heard.clone()), "pieces of {first} out, single bytes in");
    }
}

#[test]
fn xids_go_round_without_those_that_mean_something_else() {
    let mut carrier = Carrier::up(terms());
    carrier.core.set_last_xid(i32::MAX - 1);
    (1..=3).for_each(|number| carrier.submit(number));
    carrier.run();
    carrier.check_outcomes(1..=3);
    assert_eq!(carrier.server.heard[0], ["set 1 as 2147483647", "set 2 as 1", "set 3 as 2"]);
}
