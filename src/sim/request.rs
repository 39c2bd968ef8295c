//! What simulated clients ask: plain values, the bytes that go out for them, and how they are drawn.

use super::who::{ModelAcl, SimUsers, USERS};
use crate::jute::{Buffer, encode, encoded};
use crate::records::multi::MultiHeader;
use crate::records::requests::{
    AuthRequest, CreateRequest, CreateTtlRequest, PathRequest, PathVersionRequest, PathWatchRequest, PersistentWatches,
    RequestHeader, SetAclRequest, SetDataRequest, SetWatchesRequest, WatchRequest,
};
use crate::records::{Acl, OpCode};
use crate::store::tests::sim_disk::Rng;

/// One change, alone or within a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Create {
        op: OpCode,
        path: String,
        data: Option<Vec<u8>>,
        acl: Vec<ModelAcl>,
        flags: i32,
        ttl: i64,
    },
    Delete {
        path: String,
        version: i32,
    },
    Set {
        path: String,
        data: Option<Vec<u8>>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Vec<ModelAcl>,
        version: i32,
    },
    /// Only within a multi.
    Check {
        path: String,
        version: i32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SimRequest {
    Write(Write),
    Multi(Vec<Write>),
    Close,
    Exists {
        path: String,
        watch: bool,
    },
    GetData {
        path: String,
        watch: bool,
    },
    GetChildren {
        path: String,
        watch: bool,
        stat: bool,
    },
    GetAcl(String),
    GetEphemerals(String),
    Descendants(String),
    WhoAmI,
    /// Of data, or of names where the flag is set.
    MultiRead(Vec<(String, bool)>),
    AddWatch {
        path: String,
        recursive: bool,
    },
    RemoveWatches {
        path: String,
        kind: i32,
    },
    CheckWatches {
        path: String,
        kind: i32,
    },
    SetWatches {
        since: i64,
        lists: [Vec<String>; 5],
        short: bool,
    },
    Sync(String),
    Ping,
    Auth(usize),
}

impl SimRequest {
    /// Whether a local session may be over once this was sent: it closes it, or makes it one of all members.
    pub(super) fn may_end_local(&self) -> bool {
        let is_ephemeral = |write: &Write| matches!(write, Write::Create { flags: 1 | 3, .. });
        match self {
            SimRequest::Close => true,
            SimRequest::Write(write) => is_ephemeral(write),
            SimRequest::Multi(writes) => writes.iter().any(is_ephemeral),
            _ => false,
        }
    }

    pub(super) fn op(&self) -> OpCode {
        match self {
            SimRequest::Write(Write::Create { op, .. }) => *op,
            SimRequest::Write(Write::Delete { .. }) => OpCode::Delete,
            SimRequest::Write(Write::Set { .. }) => OpCode::SetData,
            SimRequest::Write(Write::SetAcl { .. }) => OpCode::SetAcl,
            SimRequest::Write(Write::Check { .. }) => OpCode::Check,
            SimRequest::Multi(_) => OpCode::Multi,
            SimRequest::Close => OpCode::CloseSession,
            SimRequest::Exists { .. } => OpCode::Exists,
            SimRequest::GetData { .. } => OpCode::GetData,
            SimRequest::GetChildren { stat: false, .. } => OpCode::GetChildren,
            SimRequest::GetChildren { stat: true, .. } => OpCode::GetChildren2,
            SimRequest::GetAcl(_) => OpCode::GetAcl,
            SimRequest::GetEphemerals(_) => OpCode::GetEphemerals,
            SimRequest::Descendants(_) => OpCode::GetAllChildrenNumber,
            SimRequest::WhoAmI => OpCode::WhoAmI,
            SimRequest::MultiRead(_) => OpCode::MultiRead,
            SimRequest::AddWatch { .. } => OpCode::AddWatch,
            SimRequest::RemoveWatches { .. } => OpCode::RemoveWatches,
            SimRequest::CheckWatches { .. } => OpCode::CheckWatches,
            SimRequest::SetWatches { short: true, .. } => OpCode::SetWatches,
            SimRequest::SetWatches { short: false, .. } => OpCode::SetWatches2,
            SimRequest::Sync(_) => OpCode::Sync,
            SimRequest::Ping => OpCode::Ping,
            SimRequest::Auth(_) => OpCode::Auth,
        }
    }

    pub(super) fn is_write(&self) -> bool {
        matches!(self, SimRequest::Write(_) | SimRequest::Multi(_) | SimRequest::Close)
    }

    /// Header and body.
    pub(super) fn encode(&self, xid: i32) -> Vec<u8> {
        let mut out = encoded(&RequestHeader { xid, op: self.op().to_i32() });
        match self {
            SimRequest::Write(write) => write.encode(&mut out),
            SimRequest::Multi(writes) => {
                for write in writes {
                    encode(&MultiHeader::request(SimRequest::Write(write.clone()).op()), &mut out);
                    write.encode(&mut out);
                }
                encode(&MultiHeader::END, &mut out);
            }
            SimRequest::Exists { path, watch }
            | SimRequest::GetData { path, watch }
            | SimRequest::GetChildren { path, watch, .. } => {
                encode(&PathWatchRequest { path: path.as_str().into(), watch: *watch }, &mut out);
            }
            SimRequest::GetAcl(path)
            | SimRequest::GetEphemerals(path)
            | SimRequest::Descendants(path)
            | SimRequest::Sync(path) => encode(&PathRequest { path: path.as_str().into() }, &mut out),
            SimRequest::MultiRead(reads) => {
                for (path, names) in reads {
                    let op = if *names { OpCode::GetChildren } else { OpCode::GetData };
                    encode(&MultiHeader::request(op), &mut out);
                    encode(&PathWatchRequest { path: path.as_str().into(), watch: false }, &mut out);
                }
                encode(&MultiHeader::END, &mut out);
            }
            SimRequest::AddWatch { path, recursive } => {
                encode(&WatchRequest { path: path.as_str().into(), kind: i32::from(*recursive) }, &mut out);
            }
            SimRequest::RemoveWatches { path, kind } | SimRequest::CheckWatches { path, kind } => {
                encode(&WatchRequest { path: path.as_str().into(), kind: *kind }, &mut out);
            }
            SimRequest::SetWatches { since, lists, short } => {
                let texts = |list: &Vec<String>| list.iter().map(|path| path.clone().into()).collect();
                let [data, exist, child, persistent, recursive] = lists;
                let (data, exist, child) = (texts(data), texts(exist), texts(child));
                encode(&SetWatchesRequest { relative_zxid: *since, data, exist, child }, &mut out);
                if !short {
                    let (persistent, recursive) = (texts(persistent), texts(recursive));
                    encode(&PersistentWatches { persistent, recursive }, &mut out);
                }
            }
            SimRequest::Auth(user) => {
                let auth = Buffer::new(USERS[*user].0.as_bytes());
                encode(&AuthRequest { kind: 0, scheme: "digest".into(), auth }, &mut out);
            }
            SimRequest::Close | SimRequest::WhoAmI | SimRequest::Ping => {}
        }
        out
    }
}

impl Write {
    fn encode(&self, out: &mut Vec<u8>) {
        let list = |acl: &Vec<ModelAcl>| Some(acl.iter().map(ModelAcl::on_the_wire).collect::<Vec<Acl<'static>>>());
        match self {
            Write::Create { op, path, data, acl, flags, ttl } => {
                let (path, data, acl, flags) = (path.as_str().into(), Buffer(data.as_deref()), list(acl), *flags);
                let create = CreateRequest { path, data, acl, flags };
                match op {
                    OpCode::CreateTtl => encode(&CreateTtlRequest { create, ttl: *ttl }, out),
                    _ => encode(&create, out),
                }
            }
            Write::Delete { path, version } | Write::Check { path, version } => {
                encode(&PathVersionRequest { path: path.as_str().into(), version: *version }, out);
            }
            Write::Set { path, data, version } => {
                let (path, data) = (path.as_str().into(), Buffer(data.as_deref()));
                encode(&SetDataRequest { path, data, version: *version }, out);
            }
            Write::SetAcl { path, acl, version } => {
                encode(&SetAclRequest { path: path.as_str().into(), acl: list(acl), version: *version }, out);
            }
        }
    }
}

/// What a run asks for at all: leaving things out finds what "everything always" hides.
#[derive(Clone, Debug)]
pub(super) struct Taste {
    acls: bool,
    quotas: bool,
    housekeeping: bool,
    multis: bool,
    /// Bytes of data at most.
    data_max: u64,
}

impl Taste {
    pub(super) fn draw(rng: &mut Rng) -> Taste {
        Taste {
            acls: !rng.chance(3),
            quotas: rng.chance(2),
            housekeeping: rng.chance(2),
            multis: !rng.chance(4),
            data_max: [8, 60, 300, 1500][rng.below(4) as usize],
        }
    }

    fn path(&self, rng: &mut Rng) -> String {
        let top = rng.below(4);
        match rng.below(if self.acls { 12 } else { 10 }) {
            0 if rng.chance(3) => "/".to_owned(),
            0..3 => format!("/t{top}"),
            3..9 => format!("/t{top}/c{}", rng.below(4)),
            9 => format!("/t{top}/c{}/d{}", rng.below(4), rng.below(2)),
            10 => "/vault".to_owned(),
            _ => format!("/vault/s{}", rng.below(3)),
        }
    }

    /// Data. What lies in the vault bears the mark of who put it there.
    fn data(&self, rng: &mut Rng, path: &str, who: &SimUsers) -> Option<Vec<u8>> {
        if let Some(user) = who.first().filter(|_| path.starts_with("/vault")) {
            return Some(format!("{}{}", mark(user), rng.below(1000)).into_bytes());
        }
        (!rng.chance(12)).then(|| vec![rng.next() as u8; rng.below(self.data_max) as usize])
    }

    fn acl(&self, rng: &mut Rng, path: &str, who: &SimUsers) -> Vec<ModelAcl> {
        // In the vault nobody ever gives anybody else a right.
        if path.starts_with("/vault/") {
            return vec![ModelAcl::new([31, 1, 2 | 8, 31][rng.below(4) as usize], "auth", "")];
        }
        if !self.acls || !rng.chance(3) || path == "/vault" {
            return vec![ModelAcl::open()];
        }
        let user = rng.below(2) as usize;
        match rng.below(7) {
            0 => vec![ModelAcl::new(1, "world", "anyone"), ModelAcl::new(31, "auth", "")],
            1 => vec![ModelAcl::new(1 + rng.below(31) as i32, "world", "anyone")],
            2 => vec![ModelAcl::new(31, "digest", USERS[user].1), ModelAcl::new(4 | 8, "world", "anyone")],
            3 => {
                vec![ModelAcl::new(rng.below(32) as i32, "digest", USERS[user].1), ModelAcl::new(16, "world", "anyone")]
            }
            4 => vec![ModelAcl::new(31, "ip", "127.0.0.1"), ModelAcl::new(31, "ip", "127.0.0.1")],
            5 if who.first().is_none() => vec![],
            _ => vec![ModelAcl::new(31, "auth", "")],
        }
    }

    fn version(&self, rng: &mut Rng) -> i32 {
        if rng.chance(3) { rng.below(3) as i32 } else { -1 }
    }

    fn write(&self, rng: &mut Rng, who: &SimUsers, in_multi: bool) -> Write {
        let path = self.path(rng);
        match rng.below(if in_multi { 13 } else { 12 }) {
            0..6 => {
                let mut path = path;
                if path == "/vault" || (path.starts_with("/vault/") && who.first().is_none()) {
                    path = format!("/t{}", rng.below(4));
                }
                let data = self.data(rng, &path, who);
                let acl = self.acl(rng, &path, who);
                let (op, flags, ttl) = match rng.below(if self.housekeeping { 14 } else { 10 }) {
                    0..5 => (OpCode::Create, [0, 0, 1, 2, 3][rng.below(5) as usize], -1),
                    5..10 => (OpCode::Create2, [0, 0, 1, 2, 3][rng.below(5) as usize], -1),
                    10 | 11 => (OpCode::CreateContainer, 4, -1),
                    12 => (OpCode::CreateTtl, 5, 1 + rng.below(3000) as i64),
                    _ => (OpCode::CreateTtl, 6, 1 + rng.below(3000) as i64),
                };
                if matches!(flags, 2 | 3 | 6) {
                    path.push_str("-q");
                }
                Write::Create { op, path, data, acl, flags, ttl }
            }
            6..9 => Write::Set { data: self.data(rng, &path, who), version: self.version(rng), path },
            9 | 10 => Write::Delete { path, version: self.version(rng) },
            11 if in_multi => Write::Delete { path, version: self.version(rng) },
            11 if path == "/" || path == "/vault" => Write::Delete { path: "/t0/c0".into(), version: -1 },
            11 => Write::SetAcl { acl: self.acl(rng, &path, who), path, version: self.version(rng) },
            _ => Write::Check { path, version: self.version(rng) },
        }
    }

    /// The next request of a client that is `who` and holds `watched`.
    pub(super) fn request(&self, rng: &mut Rng, who: &SimUsers) -> SimRequest {
        let path = self.path(rng);
        let watch = rng.chance(3);
        match rng.below(60) {
            0..22 => SimRequest::Write(self.write(rng, who, false)),
            22..26 if self.multis => {
                SimRequest::Multi((0..1 + rng.below(4)).map(|_| self.write(rng, who, true)).collect())
            }
            22..24 if self.quotas => quota(rng),
            26..31 => SimRequest::GetData { path, watch },
            31..36 => SimRequest::GetChildren { path, watch, stat: rng.chance(2) },
            36..39 => SimRequest::Exists { path, watch },
            39 => SimRequest::GetAcl(path),
            40 => SimRequest::GetEphemerals(if rng.chance(2) { "/".into() } else { path }),
            41 => SimRequest::Descendants(path),
            42 => SimRequest::WhoAmI,
            43 => SimRequest::MultiRead((0..1 + rng.below(3)).map(|_| (self.path(rng), rng.chance(2))).collect()),
            44..47 => SimRequest::AddWatch { path, recursive: rng.chance(2) },
            47 => SimRequest::RemoveWatches { path, kind: 1 + rng.below(5) as i32 },
            48 => SimRequest::CheckWatches { path, kind: 1 + rng.below(5) as i32 },
            49..52 => SimRequest::Sync(path),
            52 if self.acls => SimRequest::Auth(if rng.chance(10) { 2 } else { rng.below(2) as usize }),
            53 if rng.chance(8) => SimRequest::Close,
            54 if self.quotas => quota(rng),
            _ => SimRequest::Ping,
        }
    }
}

/// A quota on `/t0` is set, changed or removed.
fn quota(rng: &mut Rng) -> SimRequest {
    let create = |path: &str, data: Option<Vec<u8>>| Write::Create {
        op: OpCode::Create,
        path: path.to_owned(),
        data,
        acl: vec![ModelAcl::open()],
        flags: 0,
        ttl: -1,
    };
    let limits = |rng: &mut Rng| {
        let (count, bytes) = (2 + rng.below(8), rng.below(1500));
        Some(format!("count=-1,bytes=-1=;byteHardLimit={bytes};countHardLimit={count}").into_bytes())
    };
    match rng.below(4) {
        0 => SimRequest::Write(Write::Delete { path: "/zookeeper/quota/t0/zookeeper_limits".into(), version: -1 }),
        1 => SimRequest::Write(Write::Set {
            path: "/zookeeper/quota/t0/zookeeper_limits".into(),
            data: limits(rng),
            version: -1,
        }),
        2 => SimRequest::Multi(vec![
            create("/zookeeper/quota/t0/zookeeper_limits", limits(rng)),
            create("/zookeeper/quota/t0/zookeeper_stats", None),
        ]),
        _ => SimRequest::Multi(vec![
            create("/zookeeper/quota/t0", None),
            create("/zookeeper/quota/t0/zookeeper_limits", limits(rng)),
            create("/zookeeper/quota/t0/zookeeper_stats", None),
        ]),
    }
}

/// What only `user` may ever see.
pub(super) fn mark(user: usize) -> String {
    format!("SECRET-OF-{user}-")
}

/// A frame with this in it.
pub(super) fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}
