//! Election ports of several servers on loopback, and what strangers can do to them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use crate::ids::Zxid;
use crate::peer::tests::{Node, until, until_all};
use crate::records::peer::PeerState;
use crate::store::hold_port;

fn settings(me: u64) -> ElectionSettings {
    let here = HostPort { host: "127.0.0.1".to_owned(), port: 0 };
    ElectionSettings {
        me: ServerId(me),
        listen: vec![here.clone()],
        announced: vec![here],
        peers: BTreeMap::new(),
        bind_tries: 1,
        dial_ms: 5000,
        initial_ms: 10_000,
        silence_ms: 10_000,
        takes_strangers: false,
    }
}

fn place(node: &Node<Ballots>) -> HostPort {
    HostPort { host: "127.0.0.1".to_owned(), port: node.sockets.addresses()[0].port() }
}

/// Servers with these ids that know each other.
fn ensemble(ids: &[u64]) -> Vec<Node<Ballots>> {
    let mut nodes: Vec<Node<Ballots>> = ids.iter().map(|id| Node::<Ballots>::new(settings(*id))).collect();
    let places: Vec<HostPort> = nodes.iter().map(place).collect();
    for node in &mut nodes {
        for (id, place) in ids.iter().zip(&places) {
            node.sockets.learn(ServerId(*id), vec![place.clone()]);
        }
    }
    nodes
}

fn vote(round: i64) -> Notification {
    Notification {
        state: PeerState::Looking,
        leader: ServerId(1),
        zxid: Zxid(7),
        round,
        peer_epoch: 0,
        version: 2,
        config: "server.1=a:1:2:participant\nversion=0".into(),
    }
}

impl Node<Ballots> {
    fn link(&mut self, peers: &[u64]) {
        let (now, peers) = (self.now(), peers.iter().copied().map(ServerId).collect::<Vec<_>>());
        self.sockets.link(now, &peers);
    }

    fn tell(&mut self, to: u64, round: i64) {
        let now = self.now();
        self.sockets.send(now, ServerId(to), &vote(round));
    }

    fn has_link(&self, peer: u64) -> bool {
        self.sockets.is_linked(ServerId(peer))
    }

    /// The rounds that this server told us, in order.
    fn rounds(&self, from: u64) -> Vec<i64> {
        let round = |report: &BallotEvent| match report {
            BallotEvent::Notification { from: who, notification } if *who == ServerId(from) => Some(notification.round),
            _ => None,
        };
        self.reports.iter().filter_map(round).collect()
    }

    fn heard(&self, from: u64, round: i64) -> bool {
        self.rounds(from).last() == Some(&round)
    }

    fn ups(&self, peer: u64) -> Vec<bool> {
        let up = |report: &BallotEvent| match report {
            BallotEvent::Link { peer: who, is_up } if *who == ServerId(peer) => Some(*is_up),
            _ => None,
        };
        self.reports.iter().filter_map(up).collect()
    }

    fn connections(&self) -> usize {
        self.sockets.slots.iter().flatten().count()
    }
}

/// A connection from outside that says this first.
fn stranger(node: &Node<Ballots>, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(node.sockets.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(first).unwrap();
    stream
}

fn initial(id: u64, address: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    InitialMessage { server: ServerId(id), addresses: vec![address.to_owned()] }.encode(&mut bytes);
    bytes
}

fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut room = [0; 4096];
    loop {
        match (&*stream).read(&mut room) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn servers_are_linked_whoever_dials_and_hear_each_other() {
    for dialler in [&[1][..], &[3], &[1, 2, 3]] {
        let mut nodes = ensemble(&[1, 2, 3]);
        for &id in dialler {
            nodes[id - 1].link(&[1, 2, 3]);
        }
        for (index, node) in nodes.iter_mut().enumerate() {
            for to in [1, 2, 3] {
                node.tell(to, 10 + index as i64);
            }
        }
        let others = [(1, 2), (1, 3), (2, 3)].into_iter().filter(|(a, b)| dialler.contains(a) || dialler.contains(b));
        let others: Vec<(usize, usize)> = others.collect();
        until_all(&mut nodes, "everybody who dialled, or was, hears the other", |nodes| {
            others
                .iter()
                .all(|&(a, b)| nodes[a - 1].heard(b as u64, 9 + b as i64) && nodes[b - 1].heard(a as u64, 9 + a as i64))
        });
        for &(a, b) in &others {
            assert!(nodes[a - 1].has_link(b as u64) && nodes[b - 1].has_link(a as u64));
            assert!(nodes[a - 1].ups(b as u64).contains(&true));
        }
    }
}

#[test]
fn there_is_one_connection_for_a_pair_and_the_larger_id_opened_it() {
    // SC-34
    let mut nodes = ensemble(&[1, 2]);
    nodes[0].link(&[2]);
    nodes[1].link(&[1]);
    until_all(&mut nodes, "they are linked", |nodes| nodes[0].has_link(2) && nodes[1].has_link(1));
    until_all(&mut nodes, "one connection each", |nodes| nodes.iter().all(|node| node.connections() == 1));
    let port = nodes[0].sockets.addresses()[0].port();
    let Some(BallotSlot::Link { conn, .. }) = &mut nodes[0].sockets.slots.iter_mut().flatten().next() else { panic!() };
    assert_eq!(conn.wire.stream().local_addr().unwrap().port(), port, "server 1 accepted it");
}

#[test]
fn the_newest_ballot_alone_is_sent_again_on_a_new_connection() {
    let mut nodes = ensemble(&[1, 2]);
    nodes[0].link(&[2]);
    for round in 1..=5 {
        nodes[0].tell(2, round);
    }
    until_all(&mut nodes, "the first connection", |nodes| nodes[1].heard(1, 5));
    assert_eq!(nodes[1].rounds(1), [5], "what was older never left");
    // The second server is gone and comes back at the same place.
    let place = place(&nodes[1]);
    nodes.truncate(1);
    until_all(&mut nodes, "its end is noticed", |nodes| nodes[0].ups(2) == [true, false]);
    let mut back = settings(2);
    back.listen = vec![place.clone()];
    nodes.push(Node::<Ballots>::new(back));
    let first = super::tests::place(&nodes[0]);
    nodes[1].sockets.learn(ServerId(1), vec![first]);
    until_all(&mut nodes, "it hears the newest ballot without being told anew", |nodes| nodes[1].heard(1, 5));
}

#[test]
fn a_server_is_redialled_at_least_every_second_while_others_go_on() {
    // SC-28, SC-65
    let mut nodes = ensemble(&[1, 2, 3]);
    // Somebody who listens and never says anything, and a name that does not exist.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    deaf.set_nonblocking(true).unwrap();
    let port = deaf.local_addr().unwrap().port();
    nodes[2].sockets.learn(ServerId(1), vec![HostPort { host: "name.invalid".to_owned(), port }]);
    nodes[0].sockets.learn(ServerId(3), vec![HostPort { host: "127.0.0.1".to_owned(), port }]);
    nodes[0].link(&[2, 3]);
    nodes[2].link(&[1, 2]);
    nodes[2].tell(2, 4);
    nodes[0].tell(2, 3);
    let mut calls = Vec::new();
    until_all(&mut nodes, "three calls to the deaf one, and all else goes on", |nodes| {
        while let Ok((stream, _)) = deaf.accept() {
            calls.push((nodes[0].now(), stream));
        }
        calls.len() >= 3 && nodes[1].heard(3, 4) && nodes[1].heard(1, 3)
    });
    for pair in calls.windows(2) {
        assert!(pair[1].0.since(pair[0].0) >= 900, "a call that was taken is not repeated at once");
    }
    let mut said = Vec::new();
    calls[0].1.read_to_end(&mut said).unwrap();
    let (initial, size) = InitialMessage::decode(&said).unwrap().unwrap();
    assert_eq!((initial.server, size), (ServerId(1), said.len()), "it said who it is and hung up");
    until_all(&mut nodes, "the name's failure is told", |nodes| nodes[2].ups(1).contains(&false));
}

#[test]
fn a_smaller_id_is_called_back_where_it_announces_itself() {
    // SC-30
    let mut node = Node::<Ballots>::new(ElectionSettings { takes_strangers: true, ..settings(5) });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let own = stranger(&node, &initial(4, &format!("127.0.0.1:{}", listener.local_addr().unwrap().port())));
    let mut called = None;
    until(&mut node, "it is called back", |_| {
        called = called.take().or_else(|| listener.accept().ok());
        called.is_some()
    });
    until(&mut node, "its own connection is closed", |_| is_closed(&own));
    let (mut stream, _) = called.unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut said = vec![0; initial(5, "127.0.0.1:65535").len()];
    until(&mut node, "the connection stands", |node| node.has_link(4));
    stream.read_exact(&mut said[..20]).unwrap();
    assert_eq!(&said[8..16], &5u64.to_be_bytes());
    // A server of the configuration is looked for where that says first.
    let mut nodes = ensemble(&[1, 2]);
    let _liar = stranger(&nodes[1], &initial(1, &format!("127.0.0.1:{}", listener.local_addr().unwrap().port())));
    until_all(&mut nodes, "the true one is dialled", |nodes| nodes[1].has_link(1) && nodes[0].has_link(2));
    assert!(listener.accept().is_err(), "the liar was dialled");
}

#[test]
fn whoever_is_not_in_the_configuration_is_closed_and_so_is_our_own_id() {
    //
    let mut node = ensemble(&[1, 2]).remove(0);
    let own = stranger(&node, &initial(1, "127.0.0.1:1"));
    let unknown = stranger(&node, &initial(9, "127.0.0.1:1"));
    let old = stranger(&node, &7u64.to_be_bytes());
    until(&mut node, "all are closed", |_| [&own, &unknown, &old].into_iter().all(is_closed));
    assert!(node.connections() == 0 && node.reports.is_empty());
}

#[test]
fn a_first_message_that_is_wrong_too_long_or_too_slow_costs_its_connection() {
    //
    let mut nodes = ensemble(&[1, 2]);
    nodes[0].sockets.settings.initial_ms = 400;
    let mut long = initial(2, "x");
    long.splice(16..20, 2049u32.to_be_bytes());
    let wrong = [
        stranger(&nodes[0], &(-65_534i64).to_be_bytes()),
        stranger(&nodes[0], &long),
        stranger(&nodes[0], b"ruok"),
        stranger(&nodes[0], b"GET / HTTP/1.1\r\n\r\n"),
        stranger(&nodes[0], &[]),
    ];
    let mut slow = stranger(&nodes[0], &[]);
    let message = initial(2, "127.0.0.1:1");
    let mut at = 0;
    until(&mut nodes[0], "they are closed", |node| {
        // A byte now and then, without end.
        if node.turns % 20 == 0 && slow.write_all(&message[at % 19..=at % 19]).is_ok() {
            at += 1;
        }
        wrong.iter().all(is_closed) && is_closed(&slow)
    });
    nodes[1].link(&[1]);
    nodes[1].tell(1, 3);
    until_all(&mut nodes, "the true one is heard", |nodes| nodes[0].heard(2, 3));
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let mut nodes = ensemble(&[1, 2]);
    let mut crowd = Vec::new();
    // No more at once than may wait to be accepted.
    for _ in 0..10 {
        crowd.extend((0..30).map(|_| stranger(&nodes[0], &[])));
        nodes[0].turn();
    }
    nodes[1].link(&[1]);
    nodes[1].tell(1, 3);
    until_all(&mut nodes, "the true one is heard", |nodes| nodes[0].heard(2, 3));
    until_all(&mut nodes, "most of the crowd is gone", |nodes| nodes[0].connections() <= 21);
    assert!(crowd.iter().filter(|stream| is_closed(stream)).count() >= 280);
}

#[test]
fn a_flood_of_notifications_costs_its_connection_and_hides_nobody() {
    let mut nodes = ensemble(&[1, 2, 3]);
    let mut flood = stranger(&nodes[0], &initial(3, "127.0.0.1:1"));
    nodes[1].link(&[1]);
    nodes[1].tell(1, 8);
    let mut message = Vec::new();
    vote(5).encode(&mut message);
    let flood_bytes = message.repeat(200);
    flood.set_nonblocking(true).unwrap();
    let mut at = 0;
    until_all(&mut nodes, "the flood is cut and the other heard", |nodes| {
        while let Ok(count) = flood.write(&flood_bytes[at..]) {
            at = (at + count) % flood_bytes.len();
        }
        nodes[0].ups(3).contains(&false) && nodes[0].heard(2, 8)
    });
    assert_eq!(nodes[0].ups(3), [true, false]);
    let rounds = nodes[0].rounds(3);
    assert!(!rounds.is_empty() && rounds.len() < 200, "{} notifications were handed on", rounds.len());
    // Wrong lengths close at once, and what is no notification is ignored.
    for length in [0u32, u32::MAX, (512 << 10) + 1] {
        let mut wrong = stranger(&nodes[0], &initial(3, "127.0.0.1:1"));
        wrong.write_all(&length.to_be_bytes()).unwrap();
        until_all(&mut nodes, "it is closed", |_| is_closed(&wrong));
    }
    let mut odd = stranger(&nodes[0], &initial(3, "127.0.0.1:1"));
    odd.write_all(&[0, 0, 0, 3, 1, 2, 3]).unwrap();
    odd.write_all(&message).unwrap();
    nodes[0].reports.clear();
    until_all(&mut nodes, "what follows is heard", |nodes| nodes[0].heard(3, 5));
}

#[test]
fn who_reads_nothing_holds_one_message_and_is_given_up() {
    let mut nodes = ensemble(&[1, 2]);
    nodes[0].sockets.settings.dial_ms = 200;
    let deaf = stranger(&nodes[0], &initial(2, "127.0.0.1:1"));
    until(&mut nodes[0], "it is linked", |node| node.has_link(2));
    let config = "x".repeat(400 << 10);
    until(&mut nodes[0], "it is given up", |node| {
        let now = node.now();
        node.sockets.send(now, ServerId(2), &Notification { config: config.as_str().into(), ..vote(1) });
        !node.has_link(2)
    });
    drop(deaf);
}

#[test]
fn a_replaced_connection_is_not_told_as_lost() {
    let mut nodes = ensemble(&[1, 2]);
    let first = stranger(&nodes[0], &initial(2, "127.0.0.1:1"));
    until(&mut nodes[0], "it is linked", |node| node.has_link(2));
    let second = stranger(&nodes[0], &initial(2, "127.0.0.1:1"));
    until(&mut nodes[0], "the older one is closed", |_| is_closed(&first));
    assert!(nodes[0].has_link(2) && !is_closed(&second));
    assert_eq!(nodes[0].ups(2), [true, true]);
    second.shutdown(Shutdown::Both).unwrap();
    until(&mut nodes[0], "its end is told", |node| node.ups(2) == [true, true, false]);
}

#[test]
fn a_port_that_is_taken_is_tried_again_and_then_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let place = HostPort { host: "127.0.0.1".to_owned(), port };
    let mut node = Node::<Ballots>::new(ElectionSettings { listen: vec![place.clone()], bind_tries: 3, ..settings(1) });
    assert!(node.sockets.addresses().is_empty());
    drop(taken);
    until(&mut node, "it listens", |node| !node.sockets.addresses().is_empty());
    let poll = mio::Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
    let again = ElectionSettings { listen: vec![place], bind_tries: 1, ..settings(2) };
    let error = Ballots::new(again, poll.registry(), waker).err().unwrap().to_string();
    assert!(error.contains("election port") && error.contains("quorumListenOnAllIPs"), "{error}");
}

#[test]
fn a_connection_on_which_an_asked_server_stays_silent_is_given_up_for_a_new_one() {
    // As after packets have vanished for a while: the connection stands, and the system's next try may be a minute away.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = Node::<Ballots>::new(ElectionSettings { silence_ms: 200, ..settings(3) });
    let there = HostPort { host: "127.0.0.1".to_owned(), port: silent.local_addr().unwrap().port() };
    node.sockets.learn(ServerId(1), vec![there]);
    node.tell(1, 10);
    until(&mut node, "it is dialled again", |node| {
        node.link(&[1]);
        node.ups(1).len() >= 3
    });
    assert_eq!(node.ups(1)[..3], [true, false, true]);
    // Who speaks keeps its connection.
    let mut nodes = ensemble(&[1, 3]);
    nodes[1].sockets.settings.silence_ms = 1500;
    let begin = std::time::Instant::now();
    until_all(&mut nodes, "twice that has passed", |nodes| {
        nodes[1].link(&[1]);
        nodes[0].tell(3, 10);
        begin.elapsed() >= Duration::from_millis(3000)
    });
    assert_eq!(nodes[1].ups(1), [true]);
}

/// A place that nobody listens at, nor is given while it is held.
fn free_place() -> (TcpListener, HostPort) {
    let held = hold_port().unwrap();
    let port = held.local_addr().unwrap().port();
    (held, HostPort { host: "127.0.0.1".to_owned(), port })
}

#[test]
fn who_is_no_member_any_more_loses_its_connection_and_who_joins_is_dialled() {
    let mut nodes = ensemble(&[1, 2, 3, 4]);
    nodes[2].link(&[1, 2]);
    until_all(&mut nodes, "two are connected", |nodes| {
        nodes[2].sockets.is_linked(ServerId(1)) && nodes[2].sockets.is_linked(ServerId(2))
    });
    let here = settings(3);
    let others = BTreeMap::from([1, 4].map(|id| (ServerId(id), vec![place(&nodes[id as usize - 1])])));
    let now = nodes[2].now();
    nodes[2].sockets.change(now, here.listen, here.announced, others);
    assert!(nodes[2].sockets.is_linked(ServerId(1)) && !nodes[2].sockets.is_linked(ServerId(2)));
    nodes[2].link(&[1, 2, 4]);
    until_all(&mut nodes, "the one that joined is connected", |nodes| nodes[2].sockets.is_linked(ServerId(4)));
    assert!(!nodes[2].sockets.is_linked(ServerId(2)), "it was asked for and is no member");
}

#[test]
fn a_server_that_moves_listens_at_its_new_place_alone_and_is_found_there() {
    let mut nodes = ensemble(&[1, 2]);
    let (old, (_held, new)) = (place(&nodes[0]), free_place());
    let now = nodes[0].now();
    let other = BTreeMap::from([(ServerId(2), vec![place(&nodes[1])])]);
    nodes[0].sockets.change(now, vec![new.clone()], vec![new.clone()], other);
    until(&mut nodes[0], "it listens again", |node| !node.sockets.addresses().is_empty());
    assert_eq!(place(&nodes[0]), new);
    assert!(TcpStream::connect(("127.0.0.1", old.port)).is_err(), "nobody listens where it was");
    let (now, here) = (nodes[1].now(), settings(2));
    nodes[1].sockets.change(now, here.listen, here.announced, BTreeMap::from([(ServerId(1), vec![old, new])]));
    nodes[1].link(&[1]);
    until_all(&mut nodes, "it is found", |nodes| nodes[1].sockets.is_linked(ServerId(1)));
}
