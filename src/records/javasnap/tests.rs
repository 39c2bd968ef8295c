use super::*;
use crate::records::perms;

/// An item that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Session(i64, i32),
    Acl(i64, Vec<Acl<'static>>),
    Znode(String, Option<Vec<u8>>, i64, StatPersisted),
}

fn owned(item: StateItem<'_>) -> Owned {
    match item {
        StateItem::Session { id, timeout_ms } => Owned::Session(id, timeout_ms),
        StateItem::Acl { number, list } => Owned::Acl(number, list),
        StateItem::Znode { path, data, acl, stat } => {
            Owned::Znode(path.to_owned(), data.map(<[u8]>::to_vec), acl, stat)
        }
    }
}

fn written(items: &[Owned]) -> Vec<u8> {
    let count = |wanted: fn(&Owned) -> bool| items.iter().filter(|item| wanted(item)).count();
    let mut out = Vec::new();
    put_count(count(|item| matches!(item, Owned::Session(..))), &mut out);
    for item in items {
        if let Owned::Session(id, timeout_ms) = item {
            put_session(*id, *timeout_ms, &mut out);
        }
    }
    put_count(count(|item| matches!(item, Owned::Acl(..))), &mut out);
    for item in items {
        match item {
            Owned::Session(..) => {}
            Owned::Acl(number, list) => put_acl(*number, list, &mut out),
            Owned::Znode(path, data, acl, stat) => put_znode(path, data.as_deref(), *acl, stat, &mut out),
        }
    }
    put_end_of_znodes(&mut out);
    put_signature(&mut out);
    out
}

/// Reads `bytes`, cut into pieces of `piece` bytes; what came behind the end, and the items.
fn read(bytes: &[u8], piece: usize) -> Result<(Vec<Owned>, usize), StateError> {
    let mut reader = StateReader::new(FIELD_SIZE_MAX);
    let mut items = Vec::new();
    let mut consumed = 0;
    for part in bytes.chunks(piece) {
        let fed = reader.feed(part, &mut |item| {
            items.push(owned(item));
            Ok(())
        })?;
        consumed += fed.consumed;
        if fed.is_whole {
            return Ok((items, bytes.len() - consumed));
        }
    }
    Err(StateError::Signature)
}

fn sample() -> Vec<Owned> {
    let stat = |n: i64| StatPersisted {
        czxid: n,
        mzxid: n + 1,
        ctime: 1_700_000_000_000,
        mtime: 1_700_000_000_001,
        version: 1,
        cversion: 2,
        aversion: -1,
        ephemeral_owner: i64::MIN,
        pzxid: n + 2,
    };
    let digest = Acl::new(perms::ALL, "digest", "user:hash").into_owned();
    vec![
        Owned::Session(0x0100_0000_0000_0001, 6000),
        Owned::Session(-5, 4000),
        Owned::Acl(1, vec![Acl::new(perms::READ, "world", "anyone").into_owned()]),
        Owned::Acl(7, vec![digest.clone(), digest]),
        Owned::Acl(9, vec![]),
        Owned::Znode(String::new(), Some(vec![]), OPEN_ACL, stat(0)),
        Owned::Znode("/é".to_owned(), None, 7, stat(3)),
        Owned::Znode("/é/b".to_owned(), Some(vec![3; 3000]), 1, stat(9)),
        Owned::Znode("//".to_owned(), Some(vec![]), 9, stat(12)),
    ]
}

#[test]
fn a_stream_comes_back_from_pieces_of_any_size_and_stops_where_it_ends() {
    let mut bytes = written(&sample());
    let behind = b"packets";
    bytes.extend_from_slice(behind);
    for piece in (1..70).chain([100, 1000, 2999, 3000, 3001, bytes.len()]) {
        let (items, left) = read(&bytes, piece).unwrap();
        assert_eq!(items, sample(), "pieces of {piece}");
        assert!(left <= behind.len() && bytes.len() - left >= bytes.len() - behind.len(), "pieces of {piece}");
        // What was fed behind the end in the last piece is given back to the byte.
        assert_eq!(left, behind.len(), "pieces of {piece}");
    }
}

#[test]
fn the_stream_of_an_empty_tree_is_zookeepers() {
    // Taken from a leader of 3.9.5.
    let mut expected = vec![0; 4];
    let hex = |text: &str| -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    };
    expected.extend(hex("00000001000000000000000100000001"));
    expected.extend(hex("0000000100000005776f726c6400000006616e796f6e65"));
    let znode = |path: &str| {
        let mut out = (path.len() as u32).to_be_bytes().to_vec();
        out.extend_from_slice(path.as_bytes());
        out.extend(hex("00000000ffffffffffffffff"));
        out.extend([0; 60]);
        out
    };
    for path in ["", "/zookeeper", "/zookeeper/quota"] {
        expected.extend(znode(path));
    }
    expected.extend(hex("000000012f0000000a42656e57617348657265"));
    let system = |path: &str| Owned::Znode(path.to_owned(), Some(vec![]), OPEN_ACL, StatPersisted::default());
    let items = [
        Owned::Acl(1, vec![Acl::new(perms::READ, "world", "anyone").into_owned()]),
        system(""),
        system("/zookeeper"),
        system("/zookeeper/quota"),
    ];
    assert_eq!(written(&items), expected);
    assert_eq!(read(&expected, 5), Ok((items.to_vec(), 0)));
}

#[test]
fn a_stream_cut_anywhere_is_not_whole() {
    let bytes = written(&sample());
    for end in 0..bytes.len() {
        let mut reader = StateReader::new(FIELD_SIZE_MAX);
        let fed = reader.feed(&bytes[..end], &mut |_| Ok(()));
        assert_eq!(fed, Ok(Fed { consumed: end, is_whole: false }), "cut at {end}");
    }
}

#[test]
fn lengths_are_refused_before_the_bytes_are_there() {
    let refused = |bytes: &[u8]| {
        let mut reader = StateReader::new(1000);
        let first = reader.feed(bytes, &mut |_| Ok(()));
        assert!(matches!(first, Err(StateError::Length { .. })), "{bytes:x?}: {first:?}");
        assert!(reader.partial.capacity() <= 4 * bytes.len(), "memory for a claim");
        // Nothing is read after an error.
        assert_eq!(reader.feed(&[0; 8], &mut |_| Ok(())), Err(StateError::Over));
    };
    let sessions = 0i32.to_be_bytes();
    let (acls, mut head) = (0i32.to_be_bytes(), Vec::new());
    refused(&(-1i32).to_be_bytes());
    head.extend_from_slice(&sessions);
    refused(&[&head[..], &(-7i32).to_be_bytes()].concat());
    let list = [&head[..], &1i32.to_be_bytes(), &5i64.to_be_bytes()].concat();
    refused(&[&list[..], &(-1i32).to_be_bytes()].concat());
    let entry = [&list[..], &1i32.to_be_bytes(), &31i32.to_be_bytes()].concat();
    refused(&[&entry[..], &i32::MAX.to_be_bytes()].concat());
    head.extend_from_slice(&acls);
    refused(&[&head[..], &1001i32.to_be_bytes()].concat());
    refused(&[&head[..], &(-2i32).to_be_bytes()].concat());
    let path = [&head[..], &1i32.to_be_bytes(), b"a"].concat();
    refused(&[&path[..], &1001i32.to_be_bytes()].concat());
    let end = [&head[..], &1i32.to_be_bytes(), b"/"].concat();
    refused(&[&end[..], &11i32.to_be_bytes()].concat());
}

#[test]
fn counts_that_are_claimed_cost_nothing() {
    let mut reader = StateReader::new(FIELD_SIZE_MAX);
    let bytes = [&i32::MAX.to_be_bytes()[..], &[1; 5]].concat();
    assert_eq!(reader.feed(&bytes, &mut |_| Ok(())), Ok(Fed { consumed: 9, is_whole: false }));
    assert!(reader.partial.capacity() < 100);
}

#[test]
fn what_is_no_signature_is_an_error_and_no_end() {
    let mut bytes = written(&sample());
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    assert_eq!(read(&bytes, 64), Err(StateError::Signature));
    let null = [&bytes[..at - 13], &[0xff; 4]].concat();
    assert_eq!(read(&null, 64), Err(StateError::Signature));
}

#[test]
fn a_path_that_is_no_utf8_is_the_same_as_in_a_transaction() {
    let mut bytes = written(&[Owned::Znode("/abc".to_owned(), None, OPEN_ACL, StatPersisted::default())]);
    let at = bytes.windows(4).position(|four| four == b"/abc").unwrap();
    bytes[at + 2] = 0xff;
    let (items, _) = read(&bytes, 64).unwrap();
    let text: crate::jute::Text<'_> = crate::jute::decode(&[0, 0, 0, 4, b'/', b'a', 0xff, b'c']).unwrap();
    assert!(matches!(&items[0], Owned::Znode(path, ..) if path == text.as_str()), "{items:?}");
}

#[test]
fn a_refused_item_ends_the_reading() {
    let mut reader = StateReader::new(FIELD_SIZE_MAX);
    let refused = reader.feed(&written(&sample()), &mut |_| Err("no".to_owned()));
    assert_eq!(refused, Err(StateError::Refused("no".to_owned())));
    assert_eq!(reader.feed(&[0], &mut |_| Ok(())), Err(StateError::Over));
}

/// A snapshot file of Apache ZooKeeper 3.9.5 with one of everything, as the stream that has the same body.
pub(crate) fn apache() -> Vec<u8> {
    let file = include_bytes!("apache-3.9.5.snapshot");
    // In front a header; behind the znodes three seals, the digest with its zxid and version, and the last zxid.
    let (header, seal) = (16, 8 + 5);
    let mut stream = file[header..file.len() - (seal + 8 + 4 + 8 + seal + 8 + seal)].to_vec();
    put_signature(&mut stream);
    stream
}

#[test]
fn a_snapshot_of_apaches_is_read_and_written_to_the_byte() {
    let bytes = apache();
    for piece in [1, 5, 61, 4096] {
        let (items, left) = read(&bytes, piece).unwrap();
        assert_eq!(left, 0);
        assert_eq!(written(&items), bytes);
        let paths: Vec<&str> = items
            .iter()
            .filter_map(|item| if let Owned::Znode(path, ..) = item { Some(&path[..]) } else { None })
            .collect();
        assert!(paths.contains(&"/zookeeper/quota/q/zookeeper_stats") && paths.contains(&"/é"), "{paths:?}");
        assert!(matches!(items[0], Owned::Session(_, 300_000)), "{:?}", items[0]);
    }
}
