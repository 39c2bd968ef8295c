//! A leader packet by packet: requests that have no room, and learners that go while theirs wait.

use super::feeding::link;
use super::hand::{Hand, Past, roomy};
use super::long::{leading, long};
use crate::ids::{LinkId, Millis, Zxid};
use crate::jute::{Buffer, encode};
use crate::records::OpCode;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::records::requests::SetDataRequest;
use crate::store::StoreOptions;
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
