//! A leader packet by packet: how much it decides, requests that have no room, learners that go while theirs wait.

use super::feeding::link;
use super::hand::{Hand, Past, roomy};
use super::long::{leading, long};
use crate::ids::{LinkId, Millis, Zxid};
use crate::jute::{Buffer, encode};
use crate::records::OpCode;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::records::requests::{PathRequest, SetDataRequest};
use crate::store::StoreOptions;
use crate::store::tests::world::tiny;
use crate::zab::{Standing, ZabEvent};

/// Behind it are those of the learners' clients.
const SESSION: i64 = 0x0900_0000_0000_0000;

impl Hand {
    /// A client of a learner's asks for this.
    fn is_asked(&mut self, link: LinkId, op: OpCode, body: &[u8]) {
        let mut data = (SESSION + i64::from(link.slot)).to_be_bytes().to_vec();
        data.extend(1_i32.to_be_bytes());
        data.extend(op.to_i32().to_be_bytes());
        data.extend(body);
        let packet = QuorumPacket::with_data(PacketType::REQUEST, Zxid(-1), data.into());
        self.tell(ZabEvent::Packet { link, packet });
    }

    /// A client of a learner's writes so many bytes.
    fn is_asked_to_write(&mut self, link: LinkId, size: usize) {
        let mut body = Vec::new();
        let data = vec![7; size];
        encode(&SetDataRequest { path: "/".into(), data: Buffer::new(&data), version: -1 }, &mut body);
        self.is_asked(link, OpCode::SetData, &body);
    }

    /// An observer comes that has everything, serves, and whose client has a session.
    fn is_followed(&mut self, link: LinkId) {
        self.is_observed(link, self.member.applied());
        self.turns(3);
        let Some(Standing::Leading { epoch }) = self.member.standing() else { panic!("it does not lead") };
        let packet = QuorumPacket::bare(PacketType::ACK, Zxid::new(epoch, 0));
        self.tell(ZabEvent::Packet { link, packet });
        assert!(self.wires.sent.iter().any(|(to, packet)| *to == link && packet.kind == PacketType::UPTODATE));
        self.is_asked(link, OpCode::CreateSession, &30_000_i32.to_be_bytes());
        self.turns(3);
    }

    fn learners(&self) -> usize {
        let status = self.member.ensemble_status(Millis(self.wires.clock.now)).unwrap();
        status.leading.expect("it leads").0.learners
    }
}

fn too_large(options: &StoreOptions) -> usize {
    options.max_record as usize + 1
}

#[test]
fn what_has_no_room_is_refused_once_what_was_decided_before_it_is_written_and_answered() {
    // R-22, G-14: by the refusal everybody is disconnected who waits for a write.
    let mut hand = Hand::leading(&Past::writes(2, 10), &roomy());
    let ((first, small), (second, large)) =
        (hand.client_with_writes(1, 10), hand.client_with_writes(1, too_large(&roomy())));
    let sent = |hand: &Hand| (hand.sent_to(first), hand.sent_to(second));
    let before = sent(&hand);
    hand.member.engine.receive(first, &small);
    hand.is_slow = true;
    hand.turn();
    hand.member.engine.receive(second, &large);
    hand.turns(5);
    assert_eq!(sent(&hand), before, "a write is under way");
    hand.is_slow = false;
    hand.end_write();
    assert!(hand.sent_to(first).1 > before.0.1, "it is answered");
    hand.turns(3);
    assert!(hand.sent_to(first).0 && !hand.sent_to(second).0);
    assert!(!hand.member.has_undelivered() && !hand.member.goes_on());
}

#[test]
fn what_a_leader_decided_and_did_not_propose_is_nothing_in_its_next_epoch() {
    // S-16, G-14
    let mut hand = Hand::leading(&Past::writes(2, 10), &tiny());
    let (conn, bytes) = hand.client_with_writes(1000, 700);
    let budget = hand.member.store.log_budget(0) as usize;
    hand.begin_rearranging();
    let mut taken = 0;
    for _ in 0..20 {
        taken += hand.member.engine.receive(conn, &bytes[taken..]).consumed;
        hand.turn();
    }
    assert!(hand.member.has_undelivered(), "nothing waits for the room: the test is too small");
    assert!(taken < 2 * budget, "{taken} bytes are decided, {budget} may be logged");
    let Some(Standing::Leading { epoch }) = hand.member.standing() else { panic!("it leads") };
    hand.is_left_for_another_epoch(link(1));
    let last = hand.member.store.last_zxid();
    hand.is_slow = false;
    hand.end_write();
    hand.turns(30);
    assert_eq!(hand.member.standing(), Some(Standing::Leading { epoch: epoch + 1 }));
    assert!(!hand.member.has_undelivered() && !hand.member.goes_on());
    assert!(!hand.sent_to(conn).0, "its client is to ask what became of it");
    assert_eq!((hand.member.store.last_zxid(), hand.member.applied()), (last, last));
    hand.client_with_writes(0, 0);
    assert_eq!(hand.member.applied(), Zxid::new(epoch + 1, 1));
    assert_eq!(hand.recovered(), hand.state());
}

#[test]
fn a_learner_whose_client_asks_for_what_has_no_room_is_disconnected_and_no_other() {
    // R-22, G-14: it waits for a transaction that will never come.
    let mut hand = Hand::leading(&Past::writes(2, 10), &roomy());
    (1..=2).for_each(|slot| hand.is_followed(link(slot)));
    let before = hand.member.applied();
    hand.is_asked_to_write(link(1), 10);
    hand.turns(3);
    assert_eq!((hand.member.applied().0, hand.learners()), (before.0 + 1, 2));
    hand.is_asked_to_write(link(1), too_large(&roomy()));
    hand.turns(3);
    assert_eq!((&hand.wires.closed[..], hand.learners()), (&[link(1)][..], 1));
    assert_eq!(hand.member.applied().0, before.0 + 1);
    assert!(matches!(hand.member.standing(), Some(Standing::Leading { .. })));
}

#[test]
fn a_sync_of_a_learners_client_is_answered_as_soon_as_the_write_before_it_is_over() {
    // G-04, L-02: nothing else need come.
    let mut hand = Hand::leading(&Past::writes(2, 10), &roomy());
    hand.is_followed(link(1));
    let (conn, bytes) = hand.client_with_writes(1, 10);
    hand.is_slow = true;
    hand.member.engine.receive(conn, &bytes);
    hand.turn();
    let mut body = Vec::new();
    encode(&PathRequest { path: "/".into() }, &mut body);
    hand.is_asked(link(1), OpCode::Sync, &body);
    hand.turns(3);
    let answers = |hand: &Hand| {
        hand.wires.sent.iter().filter(|(to, packet)| *to == link(1) && packet.kind == PacketType::SYNC).count()
    };
    assert_eq!(answers(&hand), 0, "no quorum has what was before it");
    hand.end_write();
    assert_eq!((answers(&hand), hand.wires.flushed), (1, hand.wires.sent.len()));
}

#[test]
fn what_a_learner_asked_for_that_went_before_it_was_decided_comes_to_nothing() {
    // G-14: it waits for a long request of another client.
    for goes in [false, true] {
        let (mut hand, conn) = leading();
        hand.is_followed(link(1));
        let before = hand.member.applied();
        let multi = long(1);
        hand.member.engine.receive(conn, &multi);
        hand.is_asked_to_write(link(1), 10);
        assert!(
            hand.member.engine.has_work() && !hand.member.engine.has_proposals(),
            "it is decided: the test is too small"
        );
        if goes {
            hand.tell(ZabEvent::Closed { link: link(1) });
            assert_eq!(hand.learners(), 0);
        }
        hand.turns(30);
        assert_eq!(hand.member.applied().0, before.0 + if goes { 1 } else { 2 });
        assert!(!hand.member.goes_on());
    }
}

#[test]
fn while_a_write_is_under_way_a_leader_decides_no_more_than_its_log_may_take() {
    // R-22, F-10: a slow disk slows the writers down.
    let mut hand = Hand::leading(&Past::writes(2, 10), &tiny());
    let (conn, bytes) = hand.client_with_writes(1000, 700);
    let budget = hand.member.store.log_budget(0) as usize;
    assert!(budget < bytes.len() / 4, "{budget}: the test is too small");
    hand.is_slow = true;
    let (mut taken, mut before) = (0, 0);
    for turn in 0..100 {
        taken += hand.member.engine.receive(conn, &bytes[taken..]).consumed;
        hand.turn();
        if turn == 2 {
            before = taken;
        }
    }
    assert!(before > 0 && taken < 2 * budget, "{taken} bytes are decided, {budget} may be logged");
    hand.is_slow = false;
    hand.end_write();
    for _ in 0..2000 {
        taken += hand.member.engine.receive(conn, &bytes[taken..]).consumed;
        hand.turns(1);
    }
    assert_eq!(taken, bytes.len(), "all are taken in the end");
}

#[test]
fn what_a_leader_decided_while_the_superblock_was_written_is_proposed_as_soon_as_that_is_over() {
    // R-22, L-03: nothing comes from outside, and still the next turn is asked for.
    let mut hand = Hand::leading(&Past::writes(2, 10), &tiny());
    let (conn, bytes) = hand.client_with_writes(1000, 700);
    hand.begin_rearranging();
    let mut taken = 0;
    for _ in 0..20 {
        taken += hand.member.engine.receive(conn, &bytes[taken..]).consumed;
        hand.turn();
    }
    let decided = hand.member.store.last_zxid();
    assert!(hand.member.has_undelivered(), "nothing waits for the room: the test is too small");
    assert!(!hand.member.goes_on(), "it turns and turns while the disk is at work");
    hand.end_write();
    assert!(hand.member.goes_on(), "what was decided waits for something to come");
    hand.is_slow = false;
    hand.turn();
    assert!(hand.member.store.last_zxid() > decided);
    hand.turns(3);
    assert!(!hand.member.goes_on());
}

#[test]
fn a_leader_that_has_decided_something_asks_for_a_turn_unless_its_disk_is_at_work() {
    // L-03
    let mut hand = Hand::leading(&Past::writes(2, 10), &roomy());
    let (conn, bytes) = hand.client_with_writes(2, 10);
    let half = bytes.len() / 2;
    assert!(!hand.member.goes_on());
    hand.member.engine.receive(conn, &bytes[..half]);
    assert!(hand.member.goes_on(), "what was decided waits for something to come");
    hand.is_slow = true;
    hand.turn();
    hand.member.engine.receive(conn, &bytes[half..]);
    assert!(!hand.member.goes_on(), "it turns and turns while the disk is at work");
    hand.end_write();
    assert!(hand.member.goes_on());
}
