//! A server to talk to, a proxy that cuts, and requests as records.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use zoarium::handle::watching::WatchFn;
use zoarium::handle::{Event, Handle, Options, Reply, State, code};
use zoarium::jute::{Buffer, decode, encoded};
use zoarium::records::replies::DataReply;
use zoarium::records::requests::{CreateRequest, PathVersionRequest, SetDataRequest};
use zoarium::records::{Acl, CreateMode, EventType, OpCode};
use zoarium::{Config, Server};

use crate::proxy::Proxy;
use crate::servers;

/// What is awaited must have come by then.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const LIMIT: Option<Duration> = Some(PATIENCE);
/// Nobody listens there, nor is given it.
pub const NOBODY: &str = "127.0.0.1:1";

/// One server, ours in this process or Apache ZooKeeper. Every test has a chroot of its own in it.
pub struct Site {
    pub address: String,
    pub chroot: String,
    kind: Kind,
}

enum Kind {
    Ours(Option<Server>, PathBuf),
    ZooKeeper(#[allow(dead_code, reason = "ends when dropped")] servers::Server),
}

/// Session timeouts from 400 ms to a minute.
const TICK_TIME: u64 = 200;

impl Site {
    /// Ours.
    pub fn ours(name: &str) -> Site {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("remote-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let config = Config {
            data_dir: folder.clone(),
            client_port: 0,
            tick_time_ms: TICK_TIME,
            max_session_timeout_ms: Some(60_000),
            max_client_cnxns: 0,
            ..Config::default()
        };
        let server = Server::start(config).unwrap();
        Site::new(server.addresses()[0].to_string(), Kind::Ours(Some(server), folder))
    }

    /// Apache ZooKeeper, or why there is none here.
    pub fn zookeeper() -> Result<Site, &'static str> {
        servers::class_path()?;
        let config = ["maxSessionTimeout=60000", "maxClientCnxns=0", "4lw.commands.whitelist=*"];
        let mut config: Vec<String> = config.iter().map(|line| line.to_string()).collect();
        config.push(format!("tickTime={TICK_TIME}"));
        let server = servers::Server::start(
            servers::Kind::ZooKeeper,
            &servers::Settings { config, properties: Vec::new(), myid: None, snapshot: None },
        );
        Ok(Site::new(server.address.clone(), Kind::ZooKeeper(server)))
    }

    fn new(address: String, kind: Kind) -> Site {
        let mut site = Site { address, chroot: String::new(), kind };
        site.begin("first");
        site
    }

    /// A fresh place for the next test.
    pub fn begin(&mut self, name: &str) {
        self.chroot = format!("/{name}");
        let handle = Handle::connect(&self.address, &Options::default()).unwrap();
        assert_eq!(create(&handle, &self.chroot, b"", CreateMode::Persistent).code, code::OK);
        handle.close(LIMIT).unwrap();
    }

    /// The connection string of this test.
    pub fn hosts(&self) -> String {
        self.over(&[&self.address])
    }

    /// The same by way of others.
    pub fn over(&self, addresses: &[&str]) -> String {
        format!("{}{}", addresses.join(","), self.chroot)
    }

    pub fn proxy(&self) -> Proxy {
        Proxy::start(&self.address)
    }

    pub fn connect(&self) -> Handle {
        connect(&self.hosts(), &Options::default())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Kind::Ours(server, folder) = &mut self.kind {
            drop(server.take());
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// A connected client.
pub fn connect(hosts: &str, options: &Options) -> Handle {
    let handle = Handle::connect(hosts, options).unwrap();
    handle.wait(LIMIT).unwrap();
    handle
}

/// Options with a short session.
pub fn short(timeout_ms: i32) -> Options {
    Options { session_timeout_ms: timeout_ms, ..Options::default() }
}

/// The states a session went through, as its callback heard of them.
#[derive(Clone, Default)]
pub struct States(Arc<Mutex<Vec<State>>>);

impl States {
    pub fn options(&self, options: Options) -> Options {
        let seen = Arc::clone(&self.0);
        Options { on_state: Some(Arc::new(move |state| seen.lock().unwrap().push(state))), ..options }
    }

    pub fn seen(&self) -> Vec<State> {
        self.0.lock().unwrap().clone()
    }
}

pub fn create_body(path: &str, data: &[u8], mode: CreateMode) -> Vec<u8> {
    let acl = Some(vec![Acl::open()]);
    encoded(&CreateRequest { path: path.into(), data: Buffer::new(data), acl, flags: mode.to_i32() })
}

pub fn set_body(path: &str, data: &[u8]) -> Vec<u8> {
    encoded(&SetDataRequest { path: path.into(), data: Buffer::new(data), version: -1 })
}

pub fn create(handle: &Handle, path: &str, data: &[u8], mode: CreateMode) -> Reply {
    handle.call(OpCode::Create, &create_body(&handle.chroot().outer(path), data, mode), LIMIT)
}

pub fn set(handle: &Handle, path: &str, data: &[u8]) -> Reply {
    handle.call(OpCode::SetData, &set_body(&handle.chroot().outer(path), data), LIMIT)
}

pub fn delete(handle: &Handle, path: &str) -> Reply {
    let path = handle.chroot().outer(path);
    let body = encoded(&PathVersionRequest { path: path.as_ref().into(), version: -1 });
    handle.call(OpCode::Delete, &body, LIMIT)
}

pub fn exists(handle: &Handle, path: &str) -> bool {
    match handle.read(OpCode::Exists, path, LIMIT).code {
        code::OK => true,
        code::NO_NODE => false,
        code => panic!("exists {path}: {code}"),
    }
}

pub fn get(handle: &Handle, path: &str) -> Vec<u8> {
    let reply = handle.read(OpCode::GetData, path, LIMIT);
    assert_eq!(reply.code, code::OK, "get {path}");
    decode::<DataReply<'_>>(&reply.body).unwrap().data.0.unwrap_or_default().to_vec()
}

/// The watch's name, and its event.
pub type Told = (&'static str, EventType, String);

/// Events as they come, under the name that each watch was given.
pub struct Events {
    tell: Arc<Mutex<mpsc::Sender<Told>>>,
    told: mpsc::Receiver<Told>,
}

impl Events {
    pub fn new() -> Events {
        let (tell, told) = mpsc::channel();
        Events { tell: Arc::new(Mutex::new(tell)), told }
    }

    pub fn watch(&self, name: &'static str) -> WatchFn {
        let tell = Arc::clone(&self.tell);
        Box::new(move |event: &Event| tell.lock().unwrap().send((name, event.kind, event.path.clone())).unwrap())
    }

    pub fn next(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("an event")
    }

    /// So many, in any order.
    pub fn sorted(&self, count: usize) -> Vec<Told> {
        let mut all: Vec<_> = (0..count).map(|_| self.next()).collect();
        all.sort_by_key(|(name, kind, path)| (*name, path.clone(), kind.to_i32()));
        all
    }

    pub fn none(&self) -> bool {
        self.told.try_recv().is_err()
    }
}

/// Waits for what somebody else brings about.
pub fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} never came true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn await_state(handle: &Handle, state: State) {
    await_that(&format!("{state:?}"), || handle.session().state == state);
}

/// Counts callbacks.
#[derive(Clone, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
