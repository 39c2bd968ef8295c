//! Golden bytes: frames and transactions as a ZooKeeper 3.9.5 server sent and logged them.

use super::connect::{ConnectRequest, ConnectResponse};
use super::multi::{MultiHeader, MultiOp, MultiResult, decode_ops, decode_results};
use super::replies::*;
use super::requests::*;
use super::txn::*;
use super::*;
use crate::ids::{SessionId, Zxid};
use crate::jute::{Buffer, Decoder, decode, encode, encoded};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A frame's payload, the length in front checked.
fn payload(text: &str) -> Vec<u8> {
    let frame = hex(text);
    assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
    frame[4..].to_vec()
}

/// A request decodes to `record`, and `record` encodes to it.
fn request<'a, T>(frame: &'a [u8], xid: i32, op: OpCode, record: T)
where
    T: serde::Serialize + serde::Deserialize<'a> + PartialEq + std::fmt::Debug,
{
    let mut decoder = Decoder::new(frame);
    assert_eq!(decoder.read(), Ok(RequestHeader { xid, op: op.to_i32() }));
    assert_eq!(decoder.read::<T>().as_ref(), Ok(&record));
    let mut bytes = encoded(&RequestHeader { xid, op: op.to_i32() });
    encode(&record, &mut bytes);
    assert_eq!(bytes, frame);
}

fn reply<'a, T>(frame: &'a [u8], header: ReplyHeader, record: T)
where
    T: serde::Serialize + serde::Deserialize<'a> + PartialEq + std::fmt::Debug,
{
    let mut decoder = Decoder::new(frame);
    assert_eq!(decoder.read(), Ok(header));
    assert_eq!(decoder.read::<T>().as_ref(), Ok(&record));
    let mut bytes = encoded(&header);
    encode(&record, &mut bytes);
    assert_eq!(bytes, frame);
}

fn ok(xid: i32, zxid: i64) -> ReplyHeader {
    ReplyHeader { xid, zxid, err: 0 }
}

fn open() -> Option<Vec<Acl<'static>>> {
    Some(vec![Acl::open()])
}

#[test]
fn handshake() {
    // SC-62: with and without the read-only byte.
    let frame = payload(
        "0000002d 00000000 00000000 00000000 00002710 00000000 00000000 00000010
         00000000 00000000 00000000 00000000 00",
    );
    let wanted = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout: 10_000,
        session_id: 0,
        password: Buffer::new(&[0; 16]),
    };
    assert_eq!(ConnectRequest::decode(&frame), Ok((wanted.clone(), Some(false))));
    assert_eq!(ConnectRequest::decode(&frame[..44]), Ok((wanted, None)));

    let frame = payload("00000025 00000000 00002710 01000029 81170000 00000010 7bf1bf3d ec84a7d1 516c509f 152dddc4 00");
    let password = hex("7bf1bf3dec84a7d1516c509f152dddc4");
    let response = ConnectResponse {
        protocol_version: 0,
        timeout: 10_000,
        session_id: 0x0100_0029_8117_0000,
        password: Buffer::new(&password),
    };
    let mut bytes = Vec::new();
    response.encode(Some(false), &mut bytes);
    assert_eq!(bytes, frame);
    assert_eq!(decode::<ConnectResponse<'_>>(&frame), Ok(response));
}

#[test]
fn create_and_its_reply() {
    let frame = payload(
        "00000033 00000001 00000001 00000002 2f610000 00026869 00000001 0000001f
         00000005 776f726c 64000000 06616e79 6f6e6500 000000",
    );
    let record = CreateRequest { path: "/a".into(), data: Buffer::new(b"hi"), acl: open(), flags: 0 };
    request(&frame, 1, OpCode::Create, record);
    let frame = payload("00000016 00000001 00000000 00000002 00000000 00000002 2f61");
    reply(&frame, ok(1, 2), PathReply { path: "/a".into() });
}

#[test]
fn get_data_and_its_reply() {
    let frame = payload("0000000f 00000002 00000004 00000002 2f6101");
    request(&frame, 2, OpCode::GetData, PathWatchRequest { path: "/a".into(), watch: true });
    let frame = payload(
        "0000005a 00000002 00000000 00000002 00000000 00000002 68690000 00000000
         00020000 00000000 00020000 01a1f906 a0110000 01a1f906 a0110000 00000000
         00000000 00000000 00000000 00000000 00020000 00000000 00000000 0002",
    );
    let time = 0x01a1_f906_a011;
    let stat = Stat { czxid: 2, mzxid: 2, ctime: time, mtime: time, data_length: 2, pzxid: 2, ..Stat::default() };
    reply(&frame, ok(2, 2), DataReply { data: Buffer::new(b"hi"), stat });
}

#[test]
fn set_data_its_event_and_its_reply() {
    let frame = payload("00000018 00000003 00000005 00000002 2f610000 0002796f 00000000");
    request(&frame, 3, OpCode::SetData, SetDataRequest { path: "/a".into(), data: Buffer::new(b"yo"), version: 0 });
    let frame = payload("0000001e ffffffff 00000000 00000003 00000000 00000003 00000003 00000002 2f61");
    reply(&frame, ok(-1, 3), WatcherEvent { kind: EventType::DataChanged.to_i32(), state: 3, path: "/a".into() });
    let frame = payload(
        "00000054 00000003 00000000 00000003 00000000 00000000 00000002 00000000
         00000003 000001a1 f906a011 000001a1 f906a027 00000001 00000000 00000000
         00000000 00000000 00000002 00000000 00000000 00000002",
    );
    let stat = Stat {
        czxid: 2,
        mzxid: 3,
        ctime: 0x01a1_f906_a011,
        mtime: 0x01a1_f906_a027,
        version: 1,
        data_length: 2,
        pzxid: 2,
        ..Stat::default()
    };
    reply(&frame, ok(3, 3), StatReply { stat });
}

#[test]
fn exists_on_a_missing_znode() {
    let frame = payload("00000012 00000004 00000003 00000005 2f6e6f70 6500");
    request(&frame, 4, OpCode::Exists, PathWatchRequest { path: "/nope".into(), watch: false });
    let frame = payload("00000010 00000004 00000000 00000003 ffffff9b");
    let header = ReplyHeader { xid: 4, zxid: 3, err: ErrorCode::NoNode.to_i32() };
    assert_eq!(encoded(&header), frame);
}

#[test]
fn create2_of_a_sequential_znode_with_null_data() {
    let frame = payload(
        "00000034 00000005 0000000f 00000005 2f612f6e 2dffffff ff000000 01000000
         1f000000 05776f72 6c640000 0006616e 796f6e65 00000002",
    );
    let record = CreateRequest { path: "/a/n-".into(), data: Buffer(None), acl: open(), flags: 2 };
    request(&frame, 5, OpCode::Create2, record);
    let frame = payload(
        "00000067 00000005 00000000 00000004 00000000 0000000f 2f612f6e 2d303030
         30303030 30303000 00000000 00000400 00000000 00000400 0001a1f9 06a02f00
         0001a1f9 06a02f00 00000000 00000000 00000000 00000000 00000000 00000000
         00000000 00000000 000004",
    );
    let time = 0x01a1_f906_a02f;
    let stat = Stat { czxid: 4, mzxid: 4, ctime: time, mtime: time, pzxid: 4, ..Stat::default() };
    reply(&frame, ok(5, 4), PathStatReply { path: "/a/n-0000000000".into(), stat });
}

#[test]
fn a_failing_multi() {
    let frame = payload(
        "0000006c 00000007 0000000e 0000000d 00ffffff ff000000 022f6100 00000100
         00000200 ffffffff 00000005 2f6e6f70 65ffffff ff000000 0100ffff ffff0000
         00022f62 00000000 00000001 0000001f 00000005 776f726c 64000000 06616e79
         6f6e6500 000000ff ffffff01 ffffffff",
    );
    let ops = decode_ops(&frame[8..]).unwrap();
    let wanted = [
        MultiOp::Check(PathVersionRequest { path: "/a".into(), version: 1 }),
        MultiOp::Delete(PathVersionRequest { path: "/nope".into(), version: -1 }),
        MultiOp::Create(
            OpCode::Create,
            CreateRequest { path: "/b".into(), data: Buffer::new(b""), acl: open(), flags: 0 },
        ),
    ];
    assert_eq!(ops, wanted);
    let frame = payload(
        "00000040 00000007 00000000 00000005 00000000 ffffffff 00 00000000 00000000
         ffffffff 00 ffffff9b ffffff9b ffffffff 00 fffffffe fffffffe ffffffff 01 ffffffff",
    );
    let results = decode_results(&frame[16..]).unwrap();
    assert_eq!(results, [MultiResult::Error(0), MultiResult::Error(-101), MultiResult::Error(-2)]);
    let mut bytes = Vec::new();
    for code in [ErrorCode::Ok, ErrorCode::NoNode, ErrorCode::RuntimeInconsistency] {
        encode(&MultiHeader::failure(code), &mut bytes);
        encode(&ErrorReply { err: code.to_i32() }, &mut bytes);
    }
    encode(&MultiHeader::END, &mut bytes);
    assert_eq!(bytes, &frame[16..]);
}

#[test]
fn a_successful_multi_has_a_stat_for_set_data() {
    let frame = payload(
        "0000006f 00000008 00000000 00000006 00000000 0000000d 00 00000000 00000005 00 00000000
         00000000 00000002 00000000 00000006 000001a1 f906a011 000001a1 f906a041
         00000002 00000001 00000000 00000000 00000000 00000001 00000001 00000000 00000004
         ffffffff 01 ffffffff",
    );
    let results = decode_results(&frame[16..]).unwrap();
    assert_eq!(results[0], MultiResult::Done(OpCode::Check));
    assert!(matches!(&results[1], MultiResult::Stat(r) if r.stat.version == 2 && r.stat.pzxid == 4));
}

#[test]
fn small_ones() {
    let frame = payload("0000001d fffffffc 00000064 00000000 00000006 64696765 73740000 0003753a 70");
    request(&frame, -4, OpCode::Auth, AuthRequest { kind: 0, scheme: "digest".into(), auth: Buffer::new(b"u:p") });
    let frame = payload("00000022 fffffff8 00000065 00000000 00000000 00000001 00000002 2f610000 00000000 0000");
    let record = SetWatchesRequest { relative_zxid: 0, data: vec!["/a".into()], exist: Vec::new(), child: Vec::new() };
    request(&frame, -8, OpCode::SetWatches, record);
    let frame = payload("00000012 00000009 0000006a 00000002 2f610000 0001");
    request(&frame, 9, OpCode::AddWatch, WatchRequest { path: "/a".into(), kind: 1 });
    let frame = payload("00000014 00000009 00000000 00000006 00000000 00000000");
    reply(&frame, ok(9, 6), ErrorReply { err: 0 });
    let frame = payload(
        "00000036 0000000a 00000000 00000006 00000000 00000002 00000002 6970 00000009 3132372e302e302e31
         00000006 646967657374 00000001 75",
    );
    let infos = vec![
        ClientInfo { scheme: "ip".into(), user: "127.0.0.1".into() },
        ClientInfo { scheme: "digest".into(), user: "u".into() },
    ];
    reply(&frame, ok(10, 6), WhoAmIReply { infos });
}

const SESSION: SessionId = SessionId(0x0100_0016_b69b_0000);

fn txn_round_trip(bytes: &[u8], header: TxnHeader, txn: Txn<'_>, digest: Option<i64>) {
    let digest = digest.map(|digest| TxnDigest { version: 2, digest });
    assert_eq!(decode_txn(bytes), Ok((header, txn.clone(), digest)));
    let mut again = Vec::new();
    encode_txn(&header, &txn, &mut again);
    if let Some(digest) = digest {
        encode(&digest, &mut again);
    }
    assert_eq!(again, bytes);
}

fn header(cxid: i32, counter: u32, time: i64, op: OpCode) -> TxnHeader {
    TxnHeader { session: SESSION, cxid, zxid: Zxid::new(1, counter), time, op: op.to_i32() }
}

#[test]
fn create_session_transaction() {
    let bytes =
        hex("0100 0016b69b0000 00000000 0000000100000001 000001a1f8f3fd03 fffffff6 00001770 00000002 0000000051c6d660");
    txn_round_trip(
        &bytes,
        header(0, 1, 0x01a1_f8f3_fd03, OpCode::CreateSession),
        Txn::CreateSession(CreateSessionTxn { timeout: 6000 }),
        Some(0x51c6_d660),
    );
}

#[test]
fn create_transaction() {
    let bytes =
        hex("01000016b69b0000 00000001 0000000100000002 000001a1f8f3fd20 00000001 00000002 2f61 00000005 68656c6c6f
         00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00 00000001 00000002 000000020ce20235");
    let txn = CreateTxn {
        path: "/a".into(),
        data: Buffer::new(b"hello"),
        acl: vec![Acl::open()],
        ephemeral: false,
        parent_cversion: 1,
    };
    txn_round_trip(&bytes, header(1, 2, 0x01a1_f8f3_fd20, OpCode::Create), Txn::Create(txn), Some(0x2_0ce2_0235));
}

#[test]
fn refused_and_failed_transactions() {
    let bytes = hex("01000016b69b0000 00000005 0000000100000006 000001a1f8f3fd40 ffffffff ffffff92");
    txn_round_trip(&bytes, header(5, 6, 0x01a1_f8f3_fd40, OpCode::Error), Txn::error(ErrorCode::NodeExists), None);
}

#[test]
fn multi_and_close_session_transactions() {
    let bytes = hex("01000016b69b0000 00000006 0000000100000007 000001a1f8f3fd40 0000000e 00000002
         00000005 00000010 00000003 2f6d31 00000001 32 00000001 0000000d 0000000a 00000002 2f61 00000002");
    let (_, txn, digest) = decode_txn(&bytes).unwrap();
    assert_eq!(digest, None);
    let Txn::Multi(subs) = txn else { panic!("not a multi") };
    let mut decoder = Decoder::new(subs[0].data.0.unwrap());
    assert_eq!(
        Txn::decode(subs[0].op, &mut decoder),
        Ok(Txn::SetData(SetDataTxn { path: "/m1".into(), data: Buffer::new(b"2"), version: 1 }))
    );
    let bytes = hex("01000016b69b0000 0000000a 000000010000000b 000001a1f8f3fd40 fffffff5 00000001 00000004 2f612f65
         00000002 0000000192b01657");
    txn_round_trip(
        &bytes,
        header(10, 11, 0x01a1_f8f3_fd40, OpCode::CloseSession),
        Txn::CloseSession(Some(CloseSessionTxn { paths: vec!["/a/e".into()] })),
        Some(0x1_92b0_1657),
    );
}

#[test]
fn a_cut_transaction_is_an_error_at_every_byte() {
    let bytes = hex("01000016b69b0000 00000001 0000000100000002 000001a1f8f3fd20 00000007 00000002 2f61
         00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00000001");
    for end in 0..bytes.len() {
        assert!(decode_txn(&bytes[..end]).is_err(), "{end} bytes were accepted");
    }
}
