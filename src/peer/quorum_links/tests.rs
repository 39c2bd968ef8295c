//! Quorum ports of several servers on loopback, streams between packets, and what strangers can do to them.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::ids::Zxid;
use crate::peer::tests::{Node, until, until_all};
use crate::records::Id;
use crate::store::hold_port;

fn settings(me: u64) -> QuorumSettings {
    QuorumSettings {
        me: ServerId(me),
        listen: vec![HostPort { host: "127.0.0.1".to_owned(), port: 0 }],
        peers: (1..=9).map(|id| (ServerId(id), Vec::new())).collect(),
        bind_tries: 1,
        dial_ms: 5000,
        first_ms: 10_000,
        takes_strangers: false,
    }
}

fn place(node: &Node<QuorumLinks>) -> HostPort {
    HostPort { host: "127.0.0.1".to_owned(), port: node.sockets.addresses()[0].port() }
}

fn info(server: u64) -> QuorumPacket {
    let info = LearnerInfo { server: ServerId(server), config_version: 0, takes_passwords: true };
    QuorumPacket::with_data(PacketType::FOLLOWERINFO, Zxid(0), info.encoded())
}

fn proposal(counter: u32, size: usize) -> QuorumPacket {
    let data: Vec<u8> = (0..size).map(|at| (at as u32).wrapping_mul(counter + 7) as u8).collect();
    QuorumPacket::with_data(PacketType::PROPOSAL, Zxid::new(1, counter), data.into())
}

fn ack(counter: u32) -> QuorumPacket {
    QuorumPacket::bare(PacketType::ACK, Zxid::new(1, counter))
}

fn bytes_of(packets: &[QuorumPacket]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets.iter().for_each(|packet| packet.encode(&mut bytes));
    bytes
}

impl Node<QuorumLinks> {
    fn dial(&mut self, to: u64) {
        let now = self.now();
        self.sockets.dial(now, ServerId(to));
    }

    fn opened(&self) -> Vec<LinkId> {
        let opened = |report: &LinkEvent| match report {
            LinkEvent::Opened { link, .. } => Some(*link),
            _ => None,
        };
        self.reports.iter().filter_map(opened).collect()
    }

    fn packets(&self, from: LinkId) -> Vec<QuorumPacket> {
        let packet = |report: &LinkEvent| match report {
            LinkEvent::Packet { link, packet } if *link == from => Some(packet.clone()),
            _ => None,
        };
        self.reports.iter().filter_map(packet).collect()
    }

    fn ends(&self) -> Vec<LinkId> {
        let end = |report: &LinkEvent| match report {
            LinkEvent::Closed { link, .. } => Some(*link),
            _ => None,
        };
        self.reports.iter().filter_map(end).collect()
    }

    fn connections(&self) -> usize {
        self.sockets.slots.iter().flatten().count()
    }
}

/// A leader, a follower, and the names of their connection on either side.
fn joined() -> (Vec<Node<QuorumLinks>>, LinkId, LinkId) {
    let mut nodes = vec![Node::<QuorumLinks>::new(settings(1)), Node::<QuorumLinks>::new(settings(2))];
    let leader = place(&nodes[0]);
    nodes[1].sockets.learn(ServerId(1), vec![leader]);
    nodes[1].dial(1);
    until(&mut nodes[1], "the dial is through", |node| !node.opened().is_empty());
    let to_leader = nodes[1].opened()[0];
    assert_eq!(nodes[1].reports, [LinkEvent::Opened { link: to_leader, is_ours: true }]);
    nodes[1].sockets.send(to_leader, &info(2));
    until_all(&mut nodes, "the learner is there", |nodes| !nodes[0].opened().is_empty());
    let to_learner = nodes[0].opened()[0];
    let expected = [
        LinkEvent::Opened { link: to_learner, is_ours: false },
        LinkEvent::Packet { link: to_learner, packet: info(2) },
    ];
    assert_eq!(nodes[0].reports, expected);
    nodes.iter_mut().for_each(|node| node.reports.clear());
    (nodes, to_learner, to_leader)
}

fn stranger(node: &Node<QuorumLinks>, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(node.sockets.addresses()[0]).unwrap();
    stream.write_all(first).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

fn is_closed(mut stream: &TcpStream) -> bool {
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn packets_of_every_size_arrive_whole_and_in_order_both_ways() {
    let (mut nodes, to_learner, to_leader) = joined();
    let mut down = vec![QuorumPacket::bare(PacketType::DIFF, Zxid(1))];
    let sizes = [0, 1, 20, 4095, 4096, 4097, 70_000, 3, 1 << 20, 2_097_150, 5];
    down.extend(sizes.iter().enumerate().map(|(at, size)| proposal(at as u32, *size)));
    let mut up = vec![QuorumPacket::with_data(PacketType::ACKEPOCH, Zxid(3), vec![0; 4].into())];
    up.extend((1..2000).map(ack));
    let mut request = QuorumPacket::with_data(PacketType::REQUEST, Zxid(-1), vec![1; 300].into());
    request.authinfo = Some(vec![Id::new("ip", "127.0.0.1"), Id::new("digest", "a:b")]);
    up.push(request);
    down.iter().for_each(|packet| nodes[0].sockets.send(to_learner, packet));
    up.iter().for_each(|packet| nodes[1].sockets.send(to_leader, packet));
    assert_eq!(nodes[0].sockets.output_len(to_learner), bytes_of(&down).len());
    until_all(&mut nodes, "all of it has come", |nodes| {
        nodes[0].packets(to_learner).len() == up.len() && nodes[1].packets(to_leader).len() == down.len()
    });
    assert!(nodes[0].packets(to_learner) == up && nodes[1].packets(to_leader) == down);
    assert_eq!((nodes[0].sockets.output_len(to_learner), nodes[1].sockets.output_len(to_leader)), (0, 0));
}

#[test]
fn packets_leave_when_they_are_flushed_many_in_one_write() {
    let (mut nodes, _, to_leader) = joined();
    let up: Vec<QuorumPacket> = (1..=500).map(ack).collect();
    up.iter().for_each(|packet| nodes[1].sockets.send(to_leader, packet));
    assert_eq!(nodes[1].sockets.output_len(to_leader), 500 * 20, "nothing leaves before");
    nodes[1].sockets.flush();
    assert_eq!(nodes[1].sockets.output_len(to_leader), 0, "and all of it then");
    assert_eq!(nodes[1].sockets.poll_timeout(), None);
}

#[test]
fn a_stream_goes_in_the_same_bytes_between_packets() {
    for is_split in [false, true] {
        let (mut nodes, to_learner, to_leader) = joined();
        let stream: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
        // It looks like a packet and is none.
        let stream = [bytes_of(&[QuorumPacket::bare(PacketType::UPTODATE, Zxid(-1))]), stream].concat();
        let behind = [proposal(1, 10), QuorumPacket::bare(PacketType::NEWLEADER, Zxid::new(1, 0))];
        nodes[0].sockets.send(to_learner, &QuorumPacket::bare(PacketType::SNAP, Zxid::new(1, 0)));
        for piece in stream.chunks(if is_split { 1000 } else { usize::MAX }) {
            nodes[0].sockets.send_raw(to_learner, piece.to_vec());
            if is_split {
                nodes[0].turn();
            }
        }
        behind.iter().for_each(|packet| nodes[0].sockets.send(to_learner, packet));
        nodes[0].sockets.flush();
        until_all(&mut nodes, "SNAP", |nodes| nodes[1].packets(to_leader).len() == 1);
        // Nothing behind SNAP is read before somebody hears it.
        (0..5).for_each(|_| nodes.iter_mut().for_each(Node::turn));
        assert_eq!(nodes[1].reports.len(), 1);
        nodes[1].sockets.hear(to_leader);
        let mut heard = Vec::new();
        let begun = std::time::Instant::now();
        while heard.len() < stream.len() {
            assert!(begun.elapsed() < crate::peer::tests::PATIENCE);
            nodes[0].turn();
            // As a member does it: each event carried out before the next is asked for.
            nodes[1].turn_with(|sockets, event| {
                let LinkEvent::Raw { link, bytes } = event else { panic!("{event:?}") };
                let wanted = (stream.len() - heard.len()).min(bytes.len());
                heard.extend_from_slice(&bytes[..wanted]);
                if heard.len() == stream.len() {
                    sockets.heard(link, &bytes[wanted..]);
                    return false;
                }
                true
            });
        }
        assert!(heard == stream);
        nodes[1].reports.clear();
        until_all(&mut nodes, "packets again", |nodes| nodes[1].packets(to_leader).len() == behind.len());
        assert_eq!(nodes[1].packets(to_leader), behind);
    }
}

impl Node<QuorumLinks> {
    /// A turn in which each event is carried out at once, until `carry_out` wants no more.
    fn turn_with(&mut self, mut carry_out: impl FnMut(&mut QuorumLinks, LinkEvent) -> bool) {
        self.turn_without_poll();
        while let Some(event) = self.sockets.poll() {
            if !carry_out(&mut self.sockets, event) {
                break;
            }
        }
    }
}

#[test]
fn what_came_before_the_end_is_told_before_the_end() {
    let (mut nodes, to_learner, to_leader) = joined();
    (1..=100).for_each(|counter| nodes[1].sockets.send(to_leader, &ack(counter)));
    nodes[1].sockets.close(to_leader);
    until_all(&mut nodes, "the end", |nodes| !nodes[0].ends().is_empty());
    assert_eq!((nodes[0].packets(to_learner).len(), nodes[0].ends()), (100, vec![to_learner]));
    assert!(nodes[1].reports.is_empty(), "who closes hears nothing of it");
    assert_eq!((nodes[0].connections(), nodes[1].connections()), (0, 0));
    // The name is not used again, and names nothing.
    nodes[1].dial(1);
    until(&mut nodes[1], "another one", |node| !node.opened().is_empty());
    assert_ne!(nodes[1].opened()[0], to_leader);
    nodes[1].sockets.send(to_leader, &ack(1));
    assert_eq!(nodes[1].sockets.output_len(nodes[1].opened()[0]), 0);
}

#[test]
fn the_first_address_that_answers_is_used_and_a_dial_without_any_fails() {
    let mut nodes = vec![Node::<QuorumLinks>::new(settings(1)), Node::<QuorumLinks>::new(settings(2))];
    // A port where nobody listens, nor is given it.
    let port = 1;
    let nobody = HostPort { host: "127.0.0.1".to_owned(), port };
    let unknown = HostPort { host: "name.invalid".to_owned(), port };
    let leader = place(&nodes[0]);
    nodes[1].sockets.learn(ServerId(1), vec![unknown.clone(), nobody.clone(), leader]);
    nodes[1].sockets.learn(ServerId(3), vec![nobody.clone(), unknown]);
    nodes[1].dial(1);
    until_all(&mut nodes, "the third is reached", |nodes| !nodes[1].opened().is_empty());
    nodes[1].reports.clear();
    nodes[1].dial(3);
    until_all(&mut nodes, "none is reached", |nodes| !nodes[1].reports.is_empty());
    let [LinkEvent::DialFailed { to: ServerId(3), why }] = nodes[1].reports.as_slice() else {
        panic!("{:?}", nodes[1].reports)
    };
    assert!(why.contains("name.invalid"), "{why}");
    // A dial that another one replaces, or that is given up, tells nothing.
    nodes[1].reports.clear();
    nodes[1].dial(1);
    nodes[1].dial(3);
    until_all(&mut nodes, "the second one's end", |nodes| !nodes[1].reports.is_empty());
    assert!(matches!(nodes[1].reports.as_slice(), [LinkEvent::DialFailed { to: ServerId(3), .. }]));
}

#[test]
fn a_learner_that_takes_nothing_is_closed_at_the_limit_of_its_queue() {
    //
    let (mut nodes, to_learner, _) = joined();
    let large = proposal(1, 2_000_000);
    let mut sent = 0;
    // The learner's loop stands still.
    until(&mut nodes[0], "it is closed", |node| {
        node.sockets.send(to_learner, &large);
        assert!(node.sockets.output_len(to_learner) <= OUTPUT_MAX);
        sent += 1;
        !node.ends().is_empty()
    });
    assert!(sent >= OUTPUT_MAX / 2_000_000, "after {sent}");
    assert_eq!(nodes[0].connections(), 0);
}

#[test]
fn who_does_not_introduce_itself_is_never_told_of() {
    //
    let mut node = Node::<QuorumLinks>::new(QuorumSettings { first_ms: 400, ..settings(1) });
    let mut long = bytes_of(&[info(2)]);
    long[12..16].copy_from_slice(&2000u32.to_be_bytes());
    let mut ids = bytes_of(&[info(2)]);
    let at = ids.len() - 4;
    ids[at..].copy_from_slice(&1000u32.to_be_bytes());
    ids.extend((0..200).flat_map(|_| [0, 0, 0, 1, b'a', 0, 0, 0, 1, b'b']));
    let short = QuorumPacket::with_data(PacketType::FOLLOWERINFO, Zxid(0), vec![0; 11].into());
    let wrong: Vec<TcpStream> = [
        long,
        ids,
        bytes_of(&[info(10)]),
        bytes_of(&[ack(1)]),
        bytes_of(&[short]),
        b"GET / HTTP/1.1\r\n\r\nmore and more".to_vec(),
        Vec::new(),
    ]
    .iter()
    .map(|first| stranger(&node, first))
    .collect();
    let mut slow = stranger(&node, &[]);
    let bytes = bytes_of(&[info(2)]);
    let mut at = 0;
    until(&mut node, "all are closed", |node| {
        if node.turns % 20 == 0 && slow.write_all(&bytes[at % 30..=at % 30]).is_ok() {
            at += 1;
        }
        wrong.iter().all(is_closed) && is_closed(&slow)
    });
    assert!(node.reports.is_empty(), "{:?}", node.reports);
}

#[test]
fn a_crowd_that_says_nothing_keeps_no_learner_out() {
    let mut nodes = vec![Node::<QuorumLinks>::new(settings(1)), Node::<QuorumLinks>::new(settings(2))];
    let mut crowd = Vec::new();
    // No more at once than may wait to be accepted.
    for _ in 0..20 {
        crowd.extend((0..35).map(|_| stranger(&nodes[0], &[])));
        nodes[0].turn();
    }
    let leader = place(&nodes[0]);
    nodes[1].sockets.learn(ServerId(1), vec![leader]);
    nodes[1].dial(1);
    until_all(&mut nodes, "the dial is through", |nodes| !nodes[1].opened().is_empty());
    let link = nodes[1].opened()[0];
    nodes[1].sockets.send(link, &info(2));
    until_all(&mut nodes, "the learner is there", |nodes| !nodes[0].opened().is_empty());
    assert!(nodes[0].connections() <= NEW_MAX + 1);
    drop(crowd);
}

#[test]
fn a_learner_that_breaks_the_protocol_loses_its_link_alone() {
    let (mut nodes, to_learner, to_leader) = joined();
    let mut second = stranger(&nodes[0], &bytes_of(&[info(3)]));
    until_all(&mut nodes, "a second learner", |nodes| nodes[0].opened().len() == 1);
    let other = nodes[0].opened()[0];
    let epoch = QuorumPacket::with_data(PacketType::ACKEPOCH, Zxid(3), vec![0; 4].into());
    second.write_all(&bytes_of(&[epoch, ack(1)])).unwrap();
    second.write_all(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0]).unwrap();
    until_all(&mut nodes, "its end", |nodes| nodes[0].ends() == [other]);
    assert_eq!(nodes[0].packets(other).len(), 3, "what was whole before it is told");
    nodes[1].sockets.send(to_leader, &ack(5));
    until_all(&mut nodes, "the first goes on", |nodes| nodes[0].packets(to_learner) == [ack(5)]);
    // Identities without end are no packet either.
    let mut third = stranger(&nodes[0], &bytes_of(&[info(4), ack(1)]));
    third.write_all(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 3, 232]).unwrap();
    let mut id = vec![0, 0, 255, 0];
    id.resize(4 + 0xff00, b'x');
    let mut at = 0;
    until_all(&mut nodes, "it is closed", |_| {
        while let Ok(count) = third.write(&id[at..]) {
            at = (at + count) % id.len();
        }
        is_closed(&third)
    });
}

#[test]
fn a_quorum_port_that_moves_keeps_its_connections_and_takes_whom_the_new_members_name() {
    let (mut nodes, to_learner, to_leader) = joined();
    let old = place(&nodes[0]);
    let held = hold_port().unwrap();
    let port = held.local_addr().unwrap().port();
    let new = HostPort { host: "127.0.0.1".to_owned(), port };
    let nobody = HostPort { host: "127.0.0.1".to_owned(), port: 1 };
    nodes[0].sockets.change(vec![new.clone()], BTreeMap::from([(ServerId(7), vec![nobody.clone()])]));
    until(&mut nodes[0], "it listens again", |node| !node.sockets.addresses().is_empty());
    assert_eq!(place(&nodes[0]), new);
    assert!(TcpStream::connect(("127.0.0.1", old.port)).is_err(), "nobody listens where it was");
    // The learner is no member any more: whether it goes is decided elsewhere.
    nodes[1].sockets.send(to_leader, &info(2));
    until_all(&mut nodes, "the connection carries on", |nodes| nodes[0].packets(to_learner).len() == 1);
    // Dialled by its old members the learner would not be found; by the new ones it is.
    let (seventh, places) = (Node::<QuorumLinks>::new(settings(7)), BTreeMap::from([(ServerId(1), vec![nobody, new])]));
    nodes.push(seventh);
    nodes[2].sockets.change(settings(7).listen, places);
    nodes[2].dial(1);
    until_all(&mut nodes, "the new port is reached", |nodes| !nodes[2].opened().is_empty());
    let link = nodes[2].opened()[0];
    nodes[2].sockets.send(link, &info(7));
    until_all(&mut nodes, "the new member is taken in", |nodes| !nodes[0].opened().is_empty());
}
