use proptest::prelude::*;

use super::*;
use crate::ids::SessionId;
use crate::jute::{Buffer, encode};
use crate::records::servers::ClientAddress;
use crate::records::txn::TxnHeader;

const THREE: &str = "server.1=zoo1:2888:3888:participant;0.0.0.0:2181\nserver.2=zoo2:2888:3888:participant\n\
                     server.3=[2001:db8::3]:2888:3888:observer;[::1]:2181\nversion=100000002";

fn three() -> Membership {
    Membership::parse(THREE).unwrap()
}

#[test]
fn a_configuration_reads_back_as_itself() {
    let three = three();
    assert_eq!(three.to_string(), THREE);
    assert_eq!(three.version, Zxid::new(1, 2));
    assert_eq!(three.voters().collect::<Vec<_>>(), [ServerId(1), ServerId(2)]);
    let shuffled = "# a comment\n\nversion=0\nserver.2 = zoo2:2888:3888\nserver.1=zoo1:2888:3888;2181\r\n";
    let read = Membership::parse(shuffled).unwrap();
    assert_eq!(
        (read.version, read.role(ServerId(2)), read.role(ServerId(3))),
        (Zxid::ZERO, Some(Role::Participant), None)
    );
    let groups = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\ngroup.1=1\ngroup.2=2\nweight.2=3\nversion=0";
    assert_eq!(Membership::parse(groups).unwrap().to_string(), groups);
}

#[test]
fn a_text_is_refused_whole_for_anything_wrong_in_it() {
    for (wrong, expected) in [
        ("", MembershipError::NoVoters),
        ("server.1=a:1:2:observer", MembershipError::NoVoters),
        ("some thing", MembershipError::NotAPair("some thing".to_owned())),
        ("server.1=a:1:2\nclientPort=2181", MembershipError::UnknownKey("clientPort".to_owned())),
        ("server.1=a:1:2\nserver.1=b:1:2", MembershipError::Twice("server.1".to_owned())),
        ("server.x=a:1:2", MembershipError::NotANumber("x".to_owned())),
        ("server.+1=a:1:2", MembershipError::NotANumber("+1".to_owned())),
        ("server.18446744073709551615=a:1:2", MembershipError::NotANumber("18446744073709551615".to_owned())),
        ("server.1=a:1:2\nversion=0x1", MembershipError::NotANumber("0x1".to_owned())),
        ("server.1=a:1:2\nversion=ffffffffffffffff", MembershipError::NotANumber("ffffffffffffffff".to_owned())),
        ("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1", MembershipError::Grouping(ServerId(2))),
        ("server.1=a:1:2\ngroup.1=1:7", MembershipError::Grouping(ServerId(7))),
        ("server.1=a:1:2\ngroup.1=1\ngroup.2=1", MembershipError::Grouping(ServerId(1))),
    ] {
        assert_eq!(Membership::parse(wrong), Err(expected), "{wrong:?}");
    }
    for wrong in ["server.1=a:1", "server.1=a\\:1:2", "server.1=a b:1:2", "server.1=a:1:99999", "server.1="] {
        assert!(matches!(Membership::parse(wrong), Err(MembershipError::Server(..))), "{wrong:?}");
    }
    let long = format!("server.1={}:1:2", "a".repeat(Membership::TEXT_MAX));
    assert_eq!(Membership::parse(&long), Err(MembershipError::TooLong(Membership::TEXT_MAX)));
}

#[test]
fn servers_join_and_leave() {
    let new = three().changed("server.4=zoo4:1:2:participant;zoo4:3,server.2=zoo2:5:6:observer;7", "1, 9").unwrap();
    assert_eq!(
        new.to_string(),
        "server.2=zoo2:5:6:observer;0.0.0.0:7\nserver.3=[2001:db8::3]:2888:3888:observer;[::1]:2181\n\
         server.4=zoo4:1:2:participant;zoo4:3\nversion=100000002"
    );
    assert_eq!(three().changed("", "").unwrap(), three());
    for (joining, leaving, expected) in [
        ("", "1,2", MembershipError::NoVoters),
        ("", "x", MembershipError::Leaving("x".to_owned())),
        ("some thing", "", MembershipError::NotAPair("some thing".to_owned())),
        ("observer.4=a:1:2;3", "", MembershipError::UnknownKey("observer.4".to_owned())),
        ("server.4=a:1:2", "", MembershipError::PortMissing(ServerId(4))),
        ("server.4=zoo1:3888:9;3", "", MembershipError::SameAddress(ServerId(4), ServerId(1))),
    ] {
        assert_eq!(three().changed(joining, leaving), Err(expected), "{joining:?} {leaving:?}");
    }
    assert!(three().changed("server.1=zoo1:2888:3888;2181", "").is_ok(), "its own address is its own");
    let many: Vec<String> = (10..60).map(|id| format!("server.{id}=a-host-with-a-name-{id}:1:2;3")).collect();
    assert_eq!(three().changed(&many.join(","), ""), Err(MembershipError::TooLong(Membership::TEXT_MAX)));
    let groups = Membership::parse("server.1=a:1:2\ngroup.1=1").unwrap();
    assert_eq!(groups.changed("", "1"), Err(MembershipError::HasGroups));
}

#[test]
fn members_may_be_given_with_commas() {
    let members = Membership::parse_members("server.1=a:1:2;3,server.2=b:1:2:observer;3\nserver.3=c:1:2;3").unwrap();
    assert_eq!(members.servers.len(), 3);
    assert!(Membership::parse_members("some thing").is_err());
}

#[test]
fn members_are_compared_by_what_they_are() {
    let here = Membership::parse("server.1=a:1:2|b:1:2:participant;5\nversion=1").unwrap();
    let there = Membership::parse("version=2\nserver.1=b:1:2|a:1:2;0.0.0.0:5").unwrap();
    assert!(here.has_same_members(&there) && here != there);
    assert!(here.votes_at_same_place(&there, ServerId(1)));
    let moved = Membership::parse("server.1=a:9:2|b:1:2;5").unwrap();
    assert!(!here.has_same_members(&moved) && !here.votes_at_same_place(&moved, ServerId(1)));
    let observes = Membership::parse("server.1=a:1:2|b:1:2:observer;5\nserver.2=c:1:2").unwrap();
    assert!(!here.votes_at_same_place(&observes, ServerId(1)) && !observes.votes_at_same_place(&here, ServerId(1)));
}

fn txn_of(op: i32, text: &str) -> Vec<u8> {
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: Zxid::new(1, 2), time: 0, op };
    let mut out = Vec::new();
    encode(&header, &mut out);
    let record = SetDataTxn { path: "/zookeeper/config".into(), data: Buffer::new(text.as_bytes()), version: -1 };
    encode(&record, &mut out);
    out
}

#[test]
fn a_reconfiguration_is_found_among_transactions() {
    assert_eq!(Membership::of_txn(&txn_of(OpCode::Reconfig as i32, THREE)), Ok(Some(three())));
    assert_eq!(Membership::of_txn(&txn_of(OpCode::SetData as i32, THREE)), Ok(None));
    assert_eq!(Membership::of_txn(b"short"), Ok(None));
    assert!(Membership::of_txn(&txn_of(OpCode::Reconfig as i32, "some thing")).is_err());
    let whole = txn_of(OpCode::Reconfig as i32, THREE);
    assert!(Membership::of_txn(&whole[..whole.len() - 9]).is_err());
}

fn hosts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,12}",
        "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
        Just("2001:db8::7".to_owned())
    ]
}

fn lines() -> impl Strategy<Value = ServerLine> {
    let addresses = proptest::collection::vec((hosts(), any::<u16>(), any::<u16>()), 1..3);
    let client = proptest::option::of((proptest::option::of(hosts()), any::<u16>()));
    (0..9u64, addresses, any::<bool>(), client).prop_map(|(id, addresses, votes, client)| ServerLine {
        id: ServerId(id),
        addresses: addresses
            .into_iter()
            .map(|(host, quorum_port, election_port)| PeerAddress { host, quorum_port, election_port })
            .collect(),
        role: if votes { Role::Participant } else { Role::Observer },
        client: client.map(|(host, port)| ClientAddress { host, port }),
    })
}

proptest! {
    #[test]
    fn whatever_is_printed_is_read(lines in proptest::collection::vec(lines(), 1..6), version in 0..i64::MAX) {
        let servers: BTreeMap<_, _> = lines.into_iter().map(|line| (line.id, line)).collect();
        let whole = Membership { version: Zxid(version), servers, ..Membership::default() };
        match Membership::parse(&whole.to_string()) {
            Ok(read) => prop_assert_eq!(read, whole),
            Err(error) => prop_assert_eq!((error, whole.voters().count()), (MembershipError::NoVoters, 0)),
        }
    }

    #[test]
    fn no_text_is_too_strange_to_be_judged(text in "\\PC{0,80}", joining in "\\PC{0,40}", leaving in "[0-9, x]{0,9}") {
        if let Ok(read) = Membership::parse(&text) {
            prop_assert_eq!(Membership::parse(&read.to_string()), Ok(read));
        }
        if let Ok(changed) = three().changed(&joining, &leaving) {
            prop_assert_eq!(Membership::parse(&changed.to_string()), Ok(changed));
        }
    }

    #[test]
    fn no_line_is_too_strange_to_be_judged(value in "[a-z0-9:;|.\\[\\]]{0,30}") {
        if let Ok(read) = Membership::parse(&format!("server.1=a:1:2\nserver.2={value}")) {
            prop_assert_eq!(Membership::parse(&read.to_string()), Ok(read));
        }
    }
}
