//! The inputs that everything starts from: one of each kind, made here so that they follow the records.

use std::borrow::Cow;

use zoarium::jute::{Buffer, Text, encode, encoded};
use zoarium::records::connect::ConnectRequest;
use zoarium::records::multi::{MultiHeader, MultiOp};
use zoarium::records::replies::*;
use zoarium::records::requests::*;
use zoarium::records::txn::*;
use zoarium::records::{Acl, ErrorCode, OpCode, Stat, perms};

use super::conversation::{framed, greeting, history, request};
use super::state::{entries, joined, logged};

/// One input with the target it is for and a name.
pub(crate) struct Seed {
    pub(crate) target: &'static str,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// All generated seeds.
pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| seeds.push(Seed { target, name: name.to_owned(), bytes });
    for (name, frames) in conversations() {
        let bytes = frames.concat();
        if bytes.len() <= 4096 {
            add("handshake", &name, bytes.clone());
        }
        add("frames", &name, bytes);
    }
    for (name, bytes) in programs() {
        add("server", name, bytes);
    }
    for (index, (op, body)) in bodies().into_iter().enumerate() {
        add("requests", &format!("{index:02}-{op}"), [vec![kind_of(op)], body].concat());
    }
    for (index, (which, body)) in replies().into_iter().enumerate() {
        add("replies", &format!("{index:02}"), [vec![which], body].concat());
    }
    for (name, body) in multis() {
        add("multi", name, [vec![20], body].concat());
    }
    for word in zoarium::four_letter::Word::ALL {
        add("words", word.as_str(), word.as_str().as_bytes().to_vec());
    }
    for (index, text) in ["ruok\n", "RUOK", "ruo", "srvs", "*", "ruok, srvr,mntr", " conf ,*", ""].iter().enumerate() {
        add("words", &format!("near-{index}"), text.as_bytes().to_vec());
    }
    for (index, path) in PATHS.iter().chain(&ODD_PATHS).enumerate() {
        add("paths", &format!("{index:02}"), path.as_bytes().to_vec());
    }
    add("paths", "deep", "/a".repeat(1500).into_bytes());
    add("paths", "long", format!("/{}", "é".repeat(2000)).into_bytes());
    for (name, text) in CONFIGURATIONS {
        add("config", name, text.as_bytes().to_vec());
    }
    for (index, txn) in transactions().iter().enumerate() {
        add("txn", &format!("{index:02}-{}", txn.op()), logged(0x1_0000_0001, txn));
    }
    for (name, pieces) in histories() {
        add("replay", name, joined(pieces.iter().map(|piece| &piece[..])));
    }
    for (name, pieces) in snapshots() {
        add("snapshot", name, joined(pieces.iter().map(|piece| &piece[..])));
    }
    let calls: Vec<u8> = (0..200_u32).map(|n| (n.wrapping_mul(97) >> (n % 5)) as u8).collect();
    add("watches", "mixed", calls);
    add("watches", "all-of-one-kind", (0..64).flat_map(|n| [n % 8, n]).collect());
    for (name, bytes) in damages() {
        add("recovery", name, bytes);
    }
    seeds
}

const PATHS: [&str; 12] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/s-",
    "/e",
    "/q",
    "/zookeeper",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/zookeeper/quota/q",
    "/zookeeper/quota/q/zookeeper_limits",
];
const ODD_PATHS: [&str; 14] = [
    "",
    "a",
    "//",
    "/a/",
    "/./a",
    "/../a",
    "/a/..",
    "/\0",
    "/a\u{1f}",
    "/\u{e000}",
    "/\u{1f600}",
    "/é",
    "/a b",
    "/.../x",
];

fn text(text: &str) -> Text<'_> {
    Text(Some(Cow::Borrowed(text)))
}

fn open() -> Option<Vec<Acl<'static>>> {
    Some(vec![Acl::open()])
}

fn create(path: &str, flags: i32) -> CreateRequest<'_> {
    CreateRequest { path: text(path), data: Buffer::new(b"data"), acl: open(), flags }
}

/// A well-formed request of any kind, from three bytes: for the language of the target `server`.
pub(crate) fn made_request(xid: i32, op: u8, path: u8, flavour: u8) -> Vec<u8> {
    let path = PATHS[usize::from(path) % PATHS.len()];
    let version = [-1, 0, 1, 2][usize::from(flavour) & 3];
    let watch = flavour & 1 == 1;
    let acl = match flavour >> 5 {
        0 => Some(vec![Acl::new(perms::READ, "world", "anyone")]),
        1 => Some(vec![Acl::new(perms::ALL, "auth", "")]),
        2 => Some(vec![Acl::new(perms::ALL, "ip", "127.0.0.1/8"), Acl::new(perms::READ, "digest", "u:x")]),
        3 => None,
        _ => open(),
    };
    let creation = CreateRequest {
        path: text(path),
        data: if path.ends_with("limits") { Buffer::new(b"count=2,bytes=30") } else { Buffer::new(b"0123456789") },
        acl: acl.clone(),
        flags: i32::from(flavour & 7),
    };
    let at = PathWatchRequest { path: text(path), watch };
    let of = PathVersionRequest { path: text(path), version };
    let set = SetDataRequest {
        path: text(path),
        data: Buffer::new(&b"0123456789abcdef"[..usize::from(flavour & 15)]),
        version,
    };
    match op % 26 {
        0 | 1 => request(xid, OpCode::Create, &creation),
        2 => request(xid, OpCode::Create2, &creation),
        3 => request(xid, OpCode::CreateContainer, &creation),
        4 => request(xid, OpCode::CreateTtl, &CreateTtlRequest { create: creation, ttl: i64::from(flavour) * 100 }),
        5 | 6 => request(xid, OpCode::Delete, &of),
        7 => request(xid, OpCode::SetData, &set),
        8 => request(xid, OpCode::SetAcl, &SetAclRequest { path: text(path), acl, version }),
        9 => request(xid, OpCode::Exists, &at),
        10 => request(xid, OpCode::GetData, &at),
        11 => request(xid, OpCode::GetChildren, &at),
        12 => request(xid, OpCode::GetChildren2, &at),
        13 => request(xid, OpCode::GetAcl, &PathRequest { path: text(path) }),
        14 => request(xid, OpCode::Sync, &PathRequest { path: text(path) }),
        15 => {
            let mut body = part(OpCode::Check, &of);
            body.extend(part(OpCode::Create, &creation));
            body.extend(part(if watch { OpCode::SetData } else { OpCode::Delete }, &set));
            encode(&MultiHeader::END, &mut body);
            headed(xid, OpCode::Multi, &body)
        }
        16 => {
            let mut body = part(OpCode::GetData, &at);
            body.extend(part(OpCode::GetChildren, &at));
            encode(&MultiHeader::END, &mut body);
            headed(xid, OpCode::MultiRead, &body)
        }
        17 => request(xid, OpCode::AddWatch, &WatchRequest { path: text(path), kind: i32::from(flavour & 1) }),
        18 => request(xid, OpCode::RemoveWatches, &WatchRequest { path: text(path), kind: 1 + i32::from(flavour % 5) }),
        19 => request(xid, OpCode::CheckWatches, &WatchRequest { path: text(path), kind: 1 + i32::from(flavour % 5) }),
        20 => request(-8, OpCode::SetWatches, &watches(i64::from(flavour))),
        21 => {
            let auth = [&b"u:p"[..], b"super:test", b"", b"nobody"][usize::from(flavour) & 3];
            request(-4, OpCode::Auth, &AuthRequest { kind: 0, scheme: text("digest"), auth: Buffer::new(auth) })
        }
        22 => request(xid, OpCode::GetEphemerals, &PathRequest { path: text(path) }),
        23 => request(xid, OpCode::GetAllChildrenNumber, &PathRequest { path: text(path) }),
        24 => request(xid, OpCode::WhoAmI, &()),
        _ if flavour & 7 == 0 => request(xid, OpCode::CloseSession, &()),
        _ => request(-2, OpCode::Ping, &()),
    }
}

fn part(op: OpCode, body: &impl serde::Serialize) -> Vec<u8> {
    let mut out = encoded(&MultiHeader::request(op));
    encode(body, &mut out);
    out
}

fn headed(xid: i32, op: OpCode, body: &[u8]) -> Vec<u8> {
    let mut payload = encoded(&RequestHeader { xid, op: op.to_i32() });
    payload.extend_from_slice(body);
    framed(&payload)
}

fn watches(relative_zxid: i64) -> SetWatchesRequest<'static> {
    SetWatchesRequest {
        relative_zxid,
        data: vec![text("/a"), text("/gone")],
        exist: vec![text("/a/b"), text("/none")],
        child: vec![text("/"), text("/a")],
    }
}

/// A golden body per kind of request, with what an empty, a null and an odd field look like.
fn bodies() -> Vec<(OpCode, Vec<u8>)> {
    let null = Text(None);
    let none = CreateRequest { path: null.clone(), data: Buffer(None), acl: None, flags: 0 };
    let odd = CreateRequest { path: text(""), data: Buffer::new(b""), acl: Some(Vec::new()), flags: 99 };
    let ttl = |ttl| CreateTtlRequest { create: create("/ttl", 5), ttl };
    let acl =
        vec![Acl::new(perms::ALL, "auth", ""), Acl::new(perms::READ, "digest", "u:h"), Acl::new(1, "ip", "::1/64")];
    let reconfig = ReconfigRequest {
        joining: text("server.1=a:1:2;3"),
        leaving: null.clone(),
        new_members: null.clone(),
        config_id: -1,
    };
    let mut two = encoded(&watches(0));
    encode(&PersistentWatches { persistent: vec![text("/p")], recursive: vec![text("/")] }, &mut two);
    let mut multi = part(OpCode::Create, &create("/m", 0));
    encode(&MultiHeader::END, &mut multi);
    vec![
        (OpCode::Create, encoded(&create("/a", 0))),
        (OpCode::Create, encoded(&none)),
        (OpCode::Create, encoded(&odd)),
        (OpCode::Create, encoded(&create("/s-", 3))),
        (OpCode::Create2, encoded(&create("/a/b", 1))),
        (OpCode::CreateContainer, encoded(&create("/c", 4))),
        (OpCode::CreateTtl, encoded(&ttl(1000))),
        (OpCode::CreateTtl, encoded(&ttl(-1))),
        (OpCode::Delete, encoded(&PathVersionRequest { path: text("/a"), version: -1 })),
        (OpCode::Check, encoded(&PathVersionRequest { path: null.clone(), version: i32::MIN })),
        (OpCode::Exists, encoded(&PathWatchRequest { path: text("/a"), watch: true })),
        (OpCode::GetData, encoded(&PathWatchRequest { path: text("/a"), watch: false })),
        (OpCode::GetChildren, encoded(&PathWatchRequest { path: text("/"), watch: true })),
        (OpCode::GetChildren2, encoded(&PathWatchRequest { path: null.clone(), watch: true })),
        (OpCode::SetData, encoded(&SetDataRequest { path: text("/a"), data: Buffer::new(&[7; 300]), version: 0 })),
        (OpCode::SetData, encoded(&SetDataRequest { path: text("/a"), data: Buffer(None), version: -1 })),
        (OpCode::GetAcl, encoded(&PathRequest { path: text("/a") })),
        (OpCode::Sync, encoded(&PathRequest { path: text("/") })),
        (OpCode::GetEphemerals, encoded(&PathRequest { path: null.clone() })),
        (OpCode::GetAllChildrenNumber, encoded(&PathRequest { path: text("/") })),
        (OpCode::SetAcl, encoded(&SetAclRequest { path: text("/a"), acl: Some(acl), version: -1 })),
        (OpCode::SetAcl, encoded(&SetAclRequest { path: text("/a"), acl: None, version: 0 })),
        (OpCode::Reconfig, encoded(&reconfig)),
        (OpCode::AddWatch, encoded(&WatchRequest { path: text("/a"), kind: 1 })),
        (OpCode::RemoveWatches, encoded(&WatchRequest { path: text("/a"), kind: 3 })),
        (OpCode::CheckWatches, encoded(&WatchRequest { path: text("/a"), kind: 9 })),
        (OpCode::Auth, encoded(&AuthRequest { kind: 0, scheme: text("digest"), auth: Buffer::new(b"u:p") })),
        (OpCode::Auth, encoded(&AuthRequest { kind: 0, scheme: null.clone(), auth: Buffer(None) })),
        (OpCode::Sasl, encoded(&SaslToken { token: Buffer::new(b"token") })),
        (OpCode::SetWatches, encoded(&watches(0))),
        (OpCode::SetWatches2, two),
        (OpCode::Multi, multi),
        (OpCode::MultiRead, encoded(&MultiHeader::END)),
        (OpCode::Ping, Vec::new()),
        (OpCode::WhoAmI, Vec::new()),
        (OpCode::DeleteContainer, encoded(&PathRequest { path: text("/c") })),
        (OpCode::CreateSession, encoded(&1000_i32)),
        (OpCode::CloseSession, Vec::new()),
    ]
}

/// The byte by which the target `requests` chooses the record.
fn kind_of(op: OpCode) -> u8 {
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => 1,
        OpCode::CreateTtl => 2,
        OpCode::Delete | OpCode::Check => 3,
        OpCode::Exists | OpCode::GetData | OpCode::GetChildren | OpCode::GetChildren2 => 4,
        OpCode::SetData => 5,
        OpCode::GetAcl | OpCode::Sync | OpCode::GetEphemerals | OpCode::GetAllChildrenNumber => 6,
        OpCode::SetAcl => 7,
        OpCode::Reconfig => 8,
        OpCode::AddWatch | OpCode::RemoveWatches | OpCode::CheckWatches => 9,
        OpCode::Auth => 10,
        OpCode::Sasl => 11,
        OpCode::SetWatches => 12,
        OpCode::SetWatches2 => 13,
        _ => 0,
    }
}

fn old_greeting() -> Vec<u8> {
    let with_flag = greeting();
    framed(&with_flag[4..with_flag.len() - 1])
}

fn hello(session_id: i64, password: &[u8], last_zxid_seen: i64) -> Vec<u8> {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen,
        timeout: 5000,
        session_id,
        password: Buffer::new(password),
    };
    let mut payload = encoded(&request);
    payload.push(1);
    framed(&payload)
}

/// What clients send: a handshake and requests, right and wrong.
fn conversations() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut all: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    for (index, (op, body)) in bodies().into_iter().enumerate() {
        let xid = match op {
            OpCode::Ping => -2,
            OpCode::Auth => -4,
            OpCode::SetWatches | OpCode::SetWatches2 => -8,
            _ => 5,
        };
        let frames = vec![
            greeting(),
            request(1, OpCode::Create, &create("/a", 0)),
            headed(xid, op, &body),
            request(6, OpCode::GetData, &PathWatchRequest { path: text("/a"), watch: true }),
        ];
        all.push((format!("{index:02}-{op}"), frames));
    }
    for (name, body) in multis() {
        let frames = vec![greeting(), request(1, OpCode::Create, &create("/a", 0)), headed(2, OpCode::Multi, &body)];
        all.push((format!("multi-{name}"), frames));
    }
    let get = request(9, OpCode::GetData, &PathWatchRequest { path: text("/big"), watch: false });
    let big = CreateRequest { path: text("/big"), data: Buffer::new(&[b'x'; 3000]), acl: open(), flags: 0 };
    let auth = |size: usize| {
        let credentials = vec![b'u'; size];
        request(-4, OpCode::Auth, &AuthRequest { kind: 0, scheme: text("digest"), auth: Buffer::new(&credentials) })
    };
    let others: [(&str, Vec<Vec<u8>>); 16] = [
        ("hello-old", vec![old_greeting(), request(1, OpCode::WhoAmI, &())]),
        ("hello-unknown-session", vec![hello(0x1234, &[1; 16], 0), get.clone()]),
        ("hello-no-password", vec![hello(0x1234, &[], 0)]),
        ("hello-long-password", vec![hello(1, &[9; 900], 0)]),
        ("hello-too-long", vec![hello(1, &[9; 1100], 0)]),
        ("hello-from-the-future", vec![hello(0, &[0; 16], i64::MAX)]),
        ("hello-negative", vec![hello(-1, &[0; 16], -1)]),
        ("hello-twice", vec![greeting(), greeting()]),
        ("hello-cut", vec![greeting()[..20].to_vec()]),
        ("length-zero", vec![greeting(), vec![0; 4]]),
        ("length-2-gib", vec![greeting(), vec![0x7f, 0xff, 0xff, 0xff, 1, 2, 3]]),
        ("length-negative", vec![greeting(), vec![0xff; 4]]),
        ("header-short", vec![greeting(), framed(&[0; 7])]),
        ("pipelined-reads", [vec![greeting(), request(1, OpCode::Create, &big)], vec![get; 40]].concat()),
        ("auth-sizes", vec![greeting(), auth(0), auth(1), auth(3000), auth(2), auth(4), auth(5), auth(6)]),
        (
            "closed-and-more",
            vec![
                greeting(),
                request(1, OpCode::Create, &create("/e", 1)),
                request(2, OpCode::CloseSession, &()),
                request(3, OpCode::Create, &create("/late", 0)),
            ],
        ),
    ];
    all.extend(others.into_iter().map(|(name, frames)| (name.to_owned(), frames)));
    all
}

fn multis() -> Vec<(&'static str, Vec<u8>)> {
    let end = encoded(&MultiHeader::END);
    let one = part(OpCode::Create, &create("/m", 0));
    let all = [
        one.clone(),
        part(OpCode::Create2, &create("/m2", 0)),
        part(OpCode::CreateContainer, &create("/mc", 4)),
        part(OpCode::CreateTtl, &CreateTtlRequest { create: create("/mt", 5), ttl: 5 }),
        part(OpCode::SetData, &SetDataRequest { path: text("/m"), data: Buffer::new(b"z"), version: 0 }),
        part(OpCode::Check, &PathVersionRequest { path: text("/m"), version: 1 }),
        part(OpCode::Delete, &PathVersionRequest { path: text("/m"), version: -1 }),
    ]
    .concat();
    let failing =
        [one.clone(), part(OpCode::Delete, &PathVersionRequest { path: text("/none"), version: -1 }), one.clone()];
    let reads = part(OpCode::GetData, &PathWatchRequest { path: text("/a"), watch: false });
    let nested = [encoded(&MultiHeader::request(OpCode::Multi)), one.clone(), end.clone()].concat();
    let wrong_end = encoded(&MultiHeader { op: 1, done: true, err: 7 });
    let with = |body: &[u8]| [body, &end].concat();
    // The answers too: the target reads both.
    let answer = MultiOp::Delete(PathVersionRequest { path: text("/x"), version: 1 });
    assert!(matches!(answer, MultiOp::Delete(_)));
    let mut results = encoded(&MultiHeader::success(OpCode::Create));
    encode(&PathReply { path: text("/m") }, &mut results);
    encode(&MultiHeader::success(OpCode::SetData), &mut results);
    encode(&StatReply { stat: Stat::default() }, &mut results);
    encode(&MultiHeader::failure(ErrorCode::NoNode), &mut results);
    encode(&ErrorReply { err: -101 }, &mut results);
    vec![
        ("none", end.clone()),
        ("one", with(&one)),
        ("all", with(&all)),
        ("failing", with(&failing.concat())),
        ("many", with(&one.repeat(60))),
        ("reads", with(&reads)),
        ("nested", with(&nested)),
        ("no-end", one.clone()),
        ("wrong-end", [one, wrong_end].concat()),
        ("results", with(&results)),
    ]
}

fn replies() -> Vec<(u8, Vec<u8>)> {
    let stat = Stat { czxid: 1, mzxid: -1, version: 3, num_children: 2, ..Stat::default() };
    vec![
        (0, encoded(&ReplyHeader { xid: -1, zxid: 0x1_0000_0002, err: -101 })),
        (1, encoded(&PathReply { path: text("/a") })),
        (2, encoded(&PathStatReply { path: Text(None), stat })),
        (3, encoded(&StatReply { stat })),
        (4, encoded(&DataReply { data: Buffer(None), stat })),
        (4, encoded(&DataReply { data: Buffer::new(b"data"), stat })),
        (5, encoded(&AclReply { acl: vec![Acl::open(), Acl::new(1, "ip", "10.0.0.0/8")], stat })),
        (6, encoded(&vec!["a", "", "é"])),
        (8, encoded(&NumberReply { total: -1 })),
        (9, encoded(&ErrorReply { err: i32::MIN })),
        (10, encoded(&WhoAmIReply { infos: vec![ClientInfo { scheme: text("digest"), user: text("u") }] })),
        (11, encoded(&WatcherEvent { kind: 4, state: 3, path: text("/a") })),
        (12, encoded(&stat)),
        (13, encoded(&vec![Acl::open(); 3])),
        (15, hello(7, &[7; 16], 3)[4..].to_vec()),
        (15, old_greeting()[4..].to_vec()),
    ]
}

fn transactions() -> Vec<Txn<'static>> {
    let create = |path| CreateTxn {
        path: text(path),
        data: Buffer::new(b"d"),
        acl: vec![Acl::open()],
        ephemeral: false,
        parent_cversion: 1,
    };
    let sub = |txn: Txn<'static>| {
        let mut bytes = Vec::new();
        txn.encode(&mut bytes);
        (txn.op().to_i32(), &*Vec::leak(bytes))
    };
    let part = |(op, bytes): (i32, &'static [u8])| SubTxn { op, data: Buffer::new(bytes) };
    let container =
        CreateContainerTxn { path: text("/c"), data: Buffer(None), acl: vec![Acl::open()], parent_cversion: 2 };
    let ttl = CreateTtlTxn { path: text("/t"), data: Buffer(None), acl: vec![Acl::open()], parent_cversion: 3, ttl: 9 };
    let set = SetDataTxn { path: text("/a"), data: Buffer::new(b"new"), version: 1 };
    vec![
        Txn::Create(create("/a")),
        Txn::Create2(create("/a/b")),
        Txn::Create(CreateTxn { ephemeral: true, ..create("/e") }),
        Txn::CreateContainer(container),
        Txn::CreateTtl(ttl),
        Txn::SetData(set.clone()),
        Txn::Reconfig(SetDataTxn { path: text("/zookeeper/config"), ..set }),
        Txn::SetAcl(SetAclTxn { path: text("/a"), acl: vec![Acl::new(1, "digest", "u:h")], version: 1 }),
        Txn::Check(CheckVersionTxn { path: text("/a"), version: 2 }),
        Txn::Multi(vec![part(sub(Txn::Create(create("/m")))), part(sub(Txn::Delete(DeleteTxn { path: text("/m") })))]),
        Txn::Multi(vec![
            part(sub(Txn::error(ErrorCode::NoNode))),
            part(sub(Txn::error(ErrorCode::RuntimeInconsistency))),
        ]),
        Txn::Multi(vec![part(sub(Txn::Multi(Vec::new())))]),
        Txn::CreateSession(CreateSessionTxn { timeout: 4000 }),
        Txn::Delete(DeleteTxn { path: text("/a/b") }),
        Txn::DeleteContainer(DeleteTxn { path: text("/c") }),
        Txn::CloseSession(Some(CloseSessionTxn { paths: vec![text("/e")] })),
        Txn::CloseSession(None),
        Txn::error(ErrorCode::NodeExists),
    ]
}

fn histories() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let all: Vec<Vec<u8>> = transactions().iter().map(|txn| logged(1, txn)).collect();
    let backwards: Vec<Vec<u8>> = all.iter().rev().cloned().collect();
    let root = [
        Txn::Delete(DeleteTxn { path: text("/") }),
        Txn::Delete(DeleteTxn { path: text("/zookeeper/quota") }),
        Txn::SetData(SetDataTxn { path: text("/"), data: Buffer(None), version: -5 }),
        Txn::Create(CreateTxn {
            path: text("no slash"),
            data: Buffer(None),
            acl: Vec::new(),
            ephemeral: true,
            parent_cversion: -1,
        }),
        Txn::Create(CreateTxn {
            path: text("/a//b/../"),
            data: Buffer(None),
            acl: Vec::new(),
            ephemeral: true,
            parent_cversion: i32::MAX,
        }),
    ];
    vec![("all", all), ("backwards", backwards), ("nonsense", root.iter().map(|txn| logged(1, txn)).collect())]
}

/// A history that makes every kind of znode.
fn story() -> Vec<u8> {
    let mut frames = vec![greeting()];
    frames.push(request(-4, OpCode::Auth, &AuthRequest { kind: 0, scheme: text("digest"), auth: Buffer::new(b"u:p") }));
    for (xid, (path, flags)) in
        [("/a", 0), ("/a/b", 0), ("/a/b/c", 0), ("/e", 1), ("/s-", 2), ("/s-", 3), ("/c", 4)].iter().enumerate()
    {
        let op = if *flags == 4 { OpCode::CreateContainer } else { OpCode::Create };
        frames.push(request(xid as i32, op, &create(path, *flags)));
    }
    frames.push(request(20, OpCode::CreateTtl, &CreateTtlRequest { create: create("/t", 5), ttl: 5000 }));
    let mine =
        CreateRequest { acl: Some(vec![Acl::new(perms::ALL, "auth", "")]), data: Buffer(None), ..create("/mine", 0) };
    frames.push(request(21, OpCode::Create, &mine));
    frames.push(request(
        22,
        OpCode::SetData,
        &SetDataRequest { path: text("/a"), data: Buffer::new(&[9; 200]), version: -1 },
    ));
    frames.push(request(23, OpCode::Delete, &PathVersionRequest { path: text("/none"), version: -1 }));
    frames.push(headed(24, OpCode::Multi, &multis()[2].1));
    frames.concat()
}

fn snapshots() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let of = |input: &[u8]| entries(&mut history(input).0);
    let without_trailer =
        |entries: Vec<Vec<u8>>| entries.into_iter().filter(|entry| entry[0] != 15).collect::<Vec<_>>();
    let deep: Vec<Vec<u8>> = std::iter::once(greeting())
        .chain((1..40).map(|depth| request(depth, OpCode::Create, &create(&"/d".repeat(depth as usize), 0))))
        .collect();
    let wide: Vec<Vec<u8>> = std::iter::once(greeting())
        .chain((0..100).map(|xid| request(xid, OpCode::Create, &create("/w-", 2))))
        .collect();
    vec![
        ("empty", of(&[])),
        ("every-kind", without_trailer(of(&story()))),
        ("every-kind-whole", of(&story())),
        ("deep", without_trailer(of(&deep.concat()))),
        ("wide", without_trailer(of(&wide.concat()))),
        ("nothing", Vec::new()),
    ]
}

/// Commands of the target `server`.
fn programs() -> Vec<(&'static str, Vec<u8>)> {
    let open = [0x90, 0x91, 0x92];
    let every_request: Vec<u8> =
        (0..26).flat_map(|op| (0..3).flat_map(move |at| [op % 3, op, at, op * 7 + at])).collect();
    let quotas =
        [[0x00, 0, 6, 0x80], [0x00, 0, 10, 0x80], [0x00, 0, 11, 0x80], [0x00, 7, 6, 0x8f], [0x00, 5, 11, 0x80]];
    let slow_reader =
        [vec![0x91, 0xd1, 1], (0..60).flat_map(|_| [0x01, 10, 1, 0]).collect(), vec![0xd1, 9, 0xe1]].concat();
    let expiry =
        [&open[..], &[0x00, 0, 5, 0x81, 0xc0, 250, 0xc0, 250, 0xc0, 250, 0xc0, 250, 0xc0, 250, 0xc0, 250]].concat();
    let churn: Vec<u8> = (0..60).flat_map(|n| [0x90 + n % 3, 0x01 + n % 3, 9 + n % 12, n, n, 0xb0 + n % 3]).collect();
    vec![
        ("every-request", [&open[..], &every_request].concat()),
        ("quotas", [&open[..], &quotas.concat()].concat()),
        ("slow-reader", slow_reader),
        ("expiry", expiry),
        ("churn", churn),
        ("raw", vec![0x91, 0x81, 5, 0, 0, 0, 9, 1, 0x61, 8, 0, 0, 0, 1, 0, 0, 0, 11]),
    ]
}

/// Changes to a real image, see `image.rs`: what, then eight bytes per change.
fn damages() -> Vec<(&'static str, Vec<u8>)> {
    let change = |place: u32, what: u8, value: u32| {
        let place = place.to_le_bytes();
        let value = value.to_le_bytes();
        vec![place[0], place[1], place[2], what, value[0], value[1], value[2], value[3]]
    };
    let with = |head: u8, changes: &[Vec<u8>]| [&[head][..], &changes.concat()].concat();
    vec![
        ("stopped", vec![0]),
        ("stopped-repaired", vec![2]),
        ("killed", vec![1]),
        ("killed-repaired", vec![3]),
        ("bit", with(0, &[change(9000, 1, 3)])),
        ("bit-repaired", with(2, &[change(9000, 1, 3)])),
        ("number-repaired", with(3, &[change(72, 2, 7), change(4096 * 5, 3, 1 << 30)])),
        ("sector-gone", with(1, &[change(12_000, 5, 0)])),
        ("sector-elsewhere", with(3, &[change(12_000, 6, 14_000)])),
        ("line-elsewhere", with(2, &[change(15_000, 7, 12_000)])),
        ("cut", with(0, &[change(15_000, 8, 0)])),
        ("copy-elsewhere", with(0, &[change(0, 9, 0x0100)])),
        ("raw-empty", vec![0xff]),
        ("raw-text", b"\xff# not a file of ours\n".to_vec()),
        ("raw-magic", b"\xffZOARIUM1\0\0\0\0".to_vec()),
    ]
}

const CONFIGURATIONS: [(&str, &str); 6] = [
    ("plain", "tickTime=2000\nclientPort=2181\nmaxClientCnxns=60\n4lw.commands.whitelist=*\n"),
    ("java", "# comment\n! another\nclient\\u0050ort : 2181\ninitLimit 10\\\n 5\n\\\\=x\nkey\n"),
    (
        "ensemble",
        "server.1=a:2888:3888;2181\nserver.2=[::1]:2888:3888:observer;0.0.0.0:2181\ninitLimit=5\nsyncLimit=2\n",
    ),
    ("odd", "clientPort=99999999999\ntickTime=-1\nmaxClientCnxns=x\njute.maxbuffer=0x7fffffff\n\\u12\n"),
    (
        "ours",
        "zoarium.connectionsMax=0\nzoarium.treeBytesMax=18446744073709551615\nzoarium.extentSize=1\nforceSync=no\n",
    ),
    (
        "near",
        "clientport=1\ncleintPort=2\nticktime =\n=value\n\u{feff}snapCount=9\r\nminSessionTimeout=60000\rmaxSessionTimeout=1",
    ),
];

/// Sparse images of files that a server left behind, stopped and killed, with snapshots and log in them.
pub(crate) fn images(folder: &std::path::Path) -> [Vec<u8>; 2] {
    ["stopped", "killed"].map(|name| {
        let path = folder.join(format!("{name}.db"));
        let _ = std::fs::remove_file(&path);
        super::image::make(&path, &story(), name == "stopped");
        let image = std::fs::read(&path).expect("the file was written");
        let _ = std::fs::remove_file(&path);
        super::image::sparse(&image)
    })
}
