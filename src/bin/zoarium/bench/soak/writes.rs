//! The writes of a soak, and what must be in the znodes after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use zoarium::jute::Buffer;
use zoarium::raw::{ClientError, RawClient};
use zoarium::records::requests::{CreateRequest, PathVersionRequest, PathWatchRequest, SetDataRequest};
use zoarium::records::{Acl, CreateMode, ErrorCode, OpCode};

use crate::bench::BenchError;
use crate::bench::load::{self, Connection, Limit, Measurement, RequestSource};
use crate::bench::work::{self, BenchSessions, DIGITS, Template, folder, frame, numbered};

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SoakLoad {
    /// The znodes and their values, to begin with.
    Fill,
    /// Set after set, round and round.
    Sets,
    /// Delete and create again, round and round.
    Churn,
    /// A set, a get, a delete and a create in turn.
    Mix,
}

impl SoakLoad {
    pub(super) fn name(self) -> &'static str {
        match self {
            SoakLoad::Fill => "fill",
            SoakLoad::Sets => "sets",
            SoakLoad::Churn => "deletes, creates",
            SoakLoad::Mix => "mix",
        }
    }
}

/// Marks a znode that is not there.
const DELETED: u32 = u32::MAX;
/// Where the data's stamp is, behind the path: the length of the data is between.
const STAMP_SIZE: usize = 4;

/// What the thread that loads and the thread that watches share.
#[derive(Default)]
pub(super) struct SoakShared {
    /// Nothing more is to be sent; what is on its way is waited for.
    pub(super) stop: AtomicBool,
    pub(super) replies: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// All connections of one soak, and what each of their znodes holds.
pub(super) struct Writes {
    session: BenchSessions,
    shared: Arc<SoakShared>,
    outstanding: usize,
    /// Znodes per connection, and how many of them carry values.
    znodes: u32,
    keys: u32,
    templates: Vec<Templates>,
    load: SoakLoad,
    next: Vec<u32>,
    stamps: Vec<u32>,
    /// The stamp of each valued znode, by connection.
    holds: Vec<Vec<u32>>,
    last_refusal: i32,
}

/// A connection's frames.
struct Templates {
    create: Template,
    create_empty: Template,
    set: Template,
    get: Template,
    delete: Template,
    /// Where the stamp is in `create` and in `set`.
    stamp_at: usize,
}

impl Templates {
    fn new(root: &str, rank: usize, size: usize) -> Templates {
        let path = numbered(root, rank);
        let data = vec![b'z'; size];
        let create = |data: &[u8]| {
            let acl = Some(vec![Acl::open()]);
            let flags = CreateMode::Persistent.to_i32();
            let request = CreateRequest { path: path.as_str().into(), data: Buffer::new(data), acl, flags };
            frame(OpCode::Create, &request, Some(&path))
        };
        let set = SetDataRequest { path: path.as_str().into(), data: Buffer::new(&data), version: -1 };
        let get = PathWatchRequest { path: path.as_str().into(), watch: false };
        let delete = PathVersionRequest { path: path.as_str().into(), version: -1 };
        Templates {
            create: create(&data),
            create_empty: create(&[]),
            set: frame(OpCode::SetData, &set, Some(&path)),
            get: frame(OpCode::GetData, &get, Some(&path)),
            delete: frame(OpCode::Delete, &delete, Some(&path)),
            // Frame length, header, length of the path, path, length of the data.
            stamp_at: 4 + 8 + 4 + path.len() + 4,
        }
    }
}

impl Writes {
    /// Opens `connections` sessions for `znodes` znodes of which `valued` carry `size` bytes.
    pub(super) fn open(
        address: &str,
        (connections, outstanding): (usize, usize),
        (znodes, valued, size): (usize, usize, usize),
        shared: Arc<SoakShared>,
    ) -> Result<Writes, BenchError> {
        let session = BenchSessions::open(address, connections, size)?;
        let templates = (0..connections).map(|rank| Templates::new(&session.root, rank, size)).collect();
        let each = |all: usize| (all / connections).max(1) as u32;
        let keys = each(valued);
        Ok(Writes {
            session,
            shared,
            outstanding,
            znodes: each(znodes),
            keys,
            templates,
            load: SoakLoad::Fill,
            next: vec![0; connections],
            stamps: vec![0; connections],
            holds: vec![vec![DELETED; keys as usize]; connections],
            last_refusal: 0,
        })
    }

    /// Runs `load` until it is stopped, or done.
    pub(super) fn run(&mut self, load: SoakLoad) -> Result<Measurement, BenchError> {
        if load != self.load {
            self.load = load;
            self.next.fill(0);
        }
        // The links are lent, for the requests come from the rest of this.
        let mut links: Vec<Connection> = std::mem::take(&mut self.session.links);
        let outstanding = self.outstanding;
        let reading = load::run(&mut links, self, outstanding, Limit::WorkDone);
        self.session.links = links;
        reading
    }

    /// The code of the last refusal.
    pub(super) fn last_refusal(&self) -> i32 {
        self.last_refusal
    }

    /// How many of about `sample` znodes hold what was written last, and the first that does not.
    pub(super) fn verify(&self, client: &mut RawClient, sample: usize) -> Result<(usize, Option<String>), BenchError> {
        let all = self.keys as usize * self.holds.len();
        let step = (all / sample).max(1);
        let mut equal = 0;
        for at in (0..all).step_by(step) {
            let (rank, key) = (at % self.holds.len(), at / self.holds.len());
            let path = format!("{}/{key:0DIGITS$}", folder(&self.session.root, rank));
            let wanted = self.holds[rank][key];
            let found = match client.get_data(&path, false) {
                Ok((data, _)) => data.as_deref().and_then(|data| data.first_chunk().copied()).map(u32::from_be_bytes),
                Err(ClientError::Refused(ErrorCode::NoNode)) => Some(DELETED),
                Err(error) => return Err(error.into()),
            };
            if found != Some(wanted) {
                return Ok((equal, Some(format!("{path} holds write {found:?} and not {wanted}"))));
            }
            equal += 1;
        }
        Ok((equal, None))
    }

    fn write(&mut self, connection: usize, key: u32, xid: i32, out: &mut Vec<u8>, create: bool) {
        let templates = &self.templates[connection];
        let start = out.len();
        let template = if create { &templates.create } else { &templates.set };
        template.append(xid, key, out);
        let stamp = &mut self.stamps[connection];
        *stamp += 1;
        let at = start + templates.stamp_at;
        out[at..at + STAMP_SIZE].copy_from_slice(&stamp.to_be_bytes());
        self.holds[connection][key as usize] = *stamp;
    }

    fn delete(&mut self, connection: usize, key: u32, xid: i32, out: &mut Vec<u8>) {
        self.templates[connection].delete.append(xid, key, out);
        self.holds[connection][key as usize] = DELETED;
    }
}

impl RequestSource for Writes {
    fn next(&mut self, connection: usize, xid: i32, out: &mut Vec<u8>) -> bool {
        let (next, keys) = (self.next[connection], self.keys);
        let whole = match self.load {
            // A deleted znode comes back before the load ends.
            SoakLoad::Churn => next.is_multiple_of(2),
            SoakLoad::Mix => next % 4 != 3,
            SoakLoad::Fill | SoakLoad::Sets => true,
        };
        if whole && self.shared.stop.load(Ordering::Relaxed) {
            return false;
        }
        match self.load {
            SoakLoad::Fill if next >= self.znodes => return false,
            SoakLoad::Fill if next >= keys => self.templates[connection].create_empty.append(xid, next, out),
            SoakLoad::Fill => self.write(connection, next, xid, out, true),
            SoakLoad::Sets => self.write(connection, next % keys, xid, out, false),
            SoakLoad::Churn if whole => self.delete(connection, next / 2 % keys, xid, out),
            SoakLoad::Churn => self.write(connection, next / 2 % keys, xid, out, true),
            SoakLoad::Mix => {
                let base = next / 4 * 3;
                match next % 4 {
                    0 => self.write(connection, base % keys, xid, out, false),
                    1 => self.templates[connection].get.append(xid, (base + 1) % keys, out),
                    2 => self.delete(connection, (base + 2) % keys, xid, out),
                    _ => self.write(connection, (base + 2) % keys, xid, out, true),
                }
            }
        }
        self.next[connection] = next + 1;
        true
    }

    fn answered(&mut self, replies: u64, refused: Option<(u64, i32)>) -> bool {
        self.shared.replies.fetch_add(replies, Ordering::Relaxed);
        if let Some((count, code)) = refused {
            self.shared.refused.fetch_add(count, Ordering::Relaxed);
            self.last_refusal = code;
        }
        true
    }
}

/// A session beside the load, as an application has one.
pub(super) fn honest(address: &str) -> Result<RawClient, BenchError> {
    work::await_session(address, std::time::Duration::from_secs(10))
}
