//! Which session requests what: sessions, the znodes they work on, frames from templates.

use std::time::Duration;

use zoarium::jute::{self, Buffer};
use zoarium::raw::{ClientError, RawClient};
use zoarium::records::requests::{CreateRequest, PathVersionRequest, PathWatchRequest, RequestHeader, SetDataRequest};
use zoarium::records::{Acl, CreateMode, OpCode};

use super::load::{self, Connection, Limit, Measurement, RequestSource};
use super::{BenchError, Workload};

/// Digits that number a connection's znodes, at the end of each path.
pub(super) const DIGITS: usize = 8;
/// Znodes that set and get go round, over all connections.
const KEYS: u32 = 2000;
/// Requests on their way while preparing and cleaning up.
const PREPARE_OUTSTANDING: usize = 16;

/// Sessions on one server, and a subtree of their own.
pub(crate) struct BenchSessions {
    pub(super) root: String,
    clients: Vec<RawClient>,
    pub(super) links: Vec<Connection>,
    size: usize,
    /// How many znodes each connection has made, and not deleted from the front.
    made: Vec<std::ops::Range<u32>>,
}

impl BenchSessions {
    pub(crate) fn open(address: &str, connections: usize, size: usize) -> Result<BenchSessions, BenchError> {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(RawClient::connect(address)?);
        }
        let root = clients[0].create("/zoarium-bench-", None, &[Acl::open()], CreateMode::PersistentSequential)?;
        for rank in 0..connections {
            clients[0].create(&folder(&root, rank), None, &[Acl::open()], CreateMode::Persistent)?;
        }
        let links: Result<_, _> =
            clients.iter_mut().map(|client| Connection::new(client.wire().stream().try_clone()?)).collect();
        Ok(BenchSessions { root, links: links?, size, made: vec![0..0; connections], clients })
    }

    /// One reading, after a fifth of it that is not counted.
    pub(crate) fn measure(
        &mut self,
        workload: Workload,
        outstanding: usize,
        limit: Limit,
    ) -> Result<Measurement, BenchError> {
        let keys = KEYS / self.links.len() as u32;
        match workload {
            Workload::Create => self.warm_then(outstanding, limit, |session| session.creates()),
            Workload::Set | Workload::Get | Workload::Mixed => {
                self.prepare(keys)?;
                self.warm_then(outstanding, limit, |session| session.visits(workload, keys))
            }
            Workload::Delete => {
                let count = match limit {
                    Limit::Ops(ops) => ops,
                    _ => 200_000,
                };
                self.prepare((count / self.links.len() as u64).max(1) as u32)?;
                let mut work = self.deletes();
                let reading = load::run(&mut self.links, &mut work, outstanding, Limit::WorkDone);
                self.made = vec![0..0; self.links.len()];
                reading
            }
            Workload::Watch => {
                self.prepare(1)?;
                self.watch()?;
                self.warm_then(1, limit, |session| session.visits(Workload::Watch, 1))
            }
        }
    }

    fn warm_then(
        &mut self,
        outstanding: usize,
        limit: Limit,
        work: impl Fn(&BenchSessions) -> Requests,
    ) -> Result<Measurement, BenchError> {
        let warm = match limit {
            Limit::Time(time) => Limit::Time(time / 5),
            Limit::Ops(ops) => Limit::Ops(ops / 5),
            Limit::WorkDone => Limit::Ops(0),
        };
        let mut requests = work(self);
        let warmed = load::run(&mut self.links, &mut requests, outstanding, warm);
        let reading = warmed.and_then(|_| load::run(&mut self.links, &mut requests, outstanding, limit));
        if requests.kind == RequestKind::Create {
            self.made = requests.next.iter().map(|&next| 0..next).collect();
        }
        reading
    }

    /// Makes `count` znodes under each connection's folder.
    fn prepare(&mut self, count: u32) -> Result<(), BenchError> {
        let mut work = self.creates();
        work.end = Some(vec![count; self.links.len()]);
        let done = load::run(&mut self.links, &mut work, PREPARE_OUTSTANDING, Limit::WorkDone);
        self.made = work.next.iter().map(|&next| 0..next).collect();
        done.map(drop)
    }

    /// Sets a persistent watch on the first connection's first znode, on every connection.
    fn watch(&mut self) -> Result<(), BenchError> {
        let mut work = self.requests(RequestKind::AddWatch, |_, root| {
            let path = format!("{}/{:0DIGITS$}", folder(root, 0), 0);
            let watch = zoarium::records::requests::WatchRequest { path: path.as_str().into(), kind: 0 };
            frame(OpCode::AddWatch, &watch, None)
        });
        work.end = Some(vec![1; self.links.len()]);
        load::run(&mut self.links, &mut work, 1, Limit::WorkDone).map(drop)
    }

    /// Deletes all that was made and ends the sessions.
    pub(crate) fn clean_up(mut self) -> Result<(), BenchError> {
        let mut work = self.deletes();
        load::run(&mut self.links, &mut work, PREPARE_OUTSTANDING, Limit::WorkDone)?;
        let first = &mut self.clients[0];
        first.wire().stream().set_nonblocking(false)?;
        // The links have counted on where the client stopped; its own count does not matter to a server.
        for rank in 0..self.links.len() {
            first.delete(&folder(&self.root, rank), -1)?;
        }
        first.delete(&self.root, -1)?;
        drop(self.links);
        for mut client in self.clients {
            client.wire().stream().set_nonblocking(false)?;
            client.close()?;
        }
        Ok(())
    }

    fn creates(&self) -> Requests {
        let data = vec![b'z'; self.size];
        self.requests(RequestKind::Create, |rank, root| {
            let path = numbered(root, rank);
            let request = CreateRequest {
                path: path.as_str().into(),
                data: Buffer::new(&data),
                acl: Some(vec![Acl::open()]),
                flags: CreateMode::Persistent.to_i32(),
            };
            frame(OpCode::Create, &request, Some(&path))
        })
    }

    fn deletes(&self) -> Requests {
        let mut work = self.requests(RequestKind::Delete, |rank, root| {
            let path = numbered(root, rank);
            frame(OpCode::Delete, &PathVersionRequest { path: path.as_str().into(), version: -1 }, Some(&path))
        });
        work.next = self.made.iter().map(|made| made.start).collect();
        work.end = Some(self.made.iter().map(|made| made.end).collect());
        work
    }

    fn visits(&self, workload: Workload, keys: u32) -> Requests {
        let data = vec![b'y'; self.size];
        let set = |rank: usize, root: &str| {
            let path = numbered(root, rank);
            let request = SetDataRequest { path: path.as_str().into(), data: Buffer::new(&data), version: -1 };
            frame(OpCode::SetData, &request, Some(&path))
        };
        let get = |rank: usize, root: &str| {
            let path = numbered(root, rank);
            frame(OpCode::GetData, &PathWatchRequest { path: path.as_str().into(), watch: false }, Some(&path))
        };
        let kind = RequestKind::Visit { keys: keys.max(1), fan_out: workload == Workload::Watch };
        let mut work = match workload {
            Workload::Get | Workload::Mixed => self.requests(kind, get),
            _ => self.requests(kind, set),
        };
        if workload == Workload::Mixed {
            work.every_tenth = (0..self.links.len()).map(|rank| set(rank, &self.root)).collect();
        }
        work
    }

    fn requests(&self, kind: RequestKind, template: impl Fn(usize, &str) -> Template) -> Requests {
        let templates = (0..self.links.len()).map(|rank| template(rank, &self.root)).collect();
        let next = vec![0; self.links.len()];
        Requests { kind, templates, every_tenth: Vec::new(), next, end: None }
    }
}

pub(super) fn folder(root: &str, rank: usize) -> String {
    format!("{root}/{rank:04}")
}

pub(super) fn numbered(root: &str, rank: usize) -> String {
    format!("{}/{:0DIGITS$}", folder(root, rank), 0)
}

/// A frame with room for the xid and, at the end of the path, a number.
pub(super) struct Template {
    bytes: Vec<u8>,
    digits_at: Option<usize>,
}

pub(super) fn frame<T: serde::Serialize>(op: OpCode, record: &T, path: Option<&str>) -> Template {
    let mut payload = jute::encoded(&RequestHeader { xid: 0, op: op.to_i32() });
    jute::encode(record, &mut payload);
    let mut bytes = (payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend(payload);
    // Frame length, header, length of the path: all paths come first.
    let digits_at = path.map(|path| 4 + 8 + 4 + path.len() - DIGITS);
    Template { bytes, digits_at }
}

impl Template {
    pub(super) fn append(&self, xid: i32, number: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
        if let Some(at) = self.digits_at {
            let mut rest = number;
            for digit in out[start + at..start + at + DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestKind {
    Create,
    Delete,
    AddWatch,
    /// Round and round over the first `keys` znodes of each connection.
    Visit {
        keys: u32,
        fan_out: bool,
    },
}

struct Requests {
    kind: RequestKind,
    templates: Vec<Template>,
    every_tenth: Vec<Template>,
    /// The number of each connection's next request.
    next: Vec<u32>,
    end: Option<Vec<u32>>,
}

impl RequestSource for Requests {
    fn next(&mut self, connection: usize, xid: i32, out: &mut Vec<u8>) -> bool {
        let next = &mut self.next[connection];
        if self.end.as_ref().is_some_and(|end| *next >= end[connection]) {
            return false;
        }
        let mut template = &self.templates[connection];
        let number = match self.kind {
            RequestKind::Visit { fan_out: true, .. } if connection != 0 => return false,
            RequestKind::Visit { keys, .. } => *next % keys,
            _ => *next,
        };
        if *next % 10 == 9 {
            template = self.every_tenth.get(connection).unwrap_or(template);
        }
        template.append(xid, number, out);
        *next = next.wrapping_add(1);
        true
    }

    fn events_per_request(&self) -> u64 {
        match self.kind {
            RequestKind::Visit { fan_out: true, .. } => self.templates.len() as u64,
            _ => 0,
        }
    }
}

/// Waits until the server at `address` takes sessions.
pub(crate) fn await_session(address: &str, patience: Duration) -> Result<RawClient, BenchError> {
    let deadline = std::time::Instant::now() + patience;
    loop {
        match RawClient::connect(address) {
            Ok(client) => return Ok(client),
            Err(ClientError::Io(_)) if std::time::Instant::now() < deadline => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
