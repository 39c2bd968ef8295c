//! A server under attack with a healthy client beside it, and what both are held to.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zoarium::jute::{Buffer, encode, encoded};
use zoarium::peer::Status;
use zoarium::raw::{ConnectOptions, RawClient};
use zoarium::records::connect::ConnectRequest;
use zoarium::records::requests::RequestHeader;
use zoarium::records::{Acl, CreateMode, OpCode};
use zoarium::{Config, Server};

/// No operation of the healthy client may take longer.
const DEADLINE: Duration = Duration::from_secs(5);
/// What is awaited must have come by then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// L-11
const STOP_MAX: Duration = Duration::from_secs(2);
pub(crate) const MIB: usize = 1 << 20;

/// Memory and descriptors belong to the whole process, so scenarios come one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) address: String,
    healthy: Option<Healthy>,
    memory_at_start: usize,
    folder: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// Creates and gets on one session until told to stop.
struct Healthy {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), String>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    operations: AtomicU64,
    slowest_us: AtomicU64,
    memory_max: AtomicU64,
}

/// Bytes of this process in memory.
pub(crate) fn resident() -> usize {
    // Kept open, because a scenario takes all descriptors.
    static FILE: OnceLock<File> = OnceLock::new();
    let file = FILE.get_or_init(|| File::open("/proc/self/statm").expect("Linux tells"));
    let mut text = [0; 128];
    let length = file.read_at(&mut text, 0).expect("Linux tells");
    let text = std::str::from_utf8(&text[..length]).expect("numbers");
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

/// The process's limit on descriptors.
pub(crate) fn descriptors_max() -> usize {
    let text = std::fs::read_to_string("/proc/self/limits").expect("Linux tells");
    let line = text.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    line.split_whitespace().nth(3).and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

impl Site {
    pub(crate) fn new(name: &str, config: Config) -> Site {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let config = Config { data_dir: folder.clone(), client_port: 0, ..config };
        let server = Server::start(config).expect("it starts");
        let address = server.addresses()[0].to_string();
        let healthy = Healthy::start(&address);
        let mut site = Site { server, address, healthy: None, memory_at_start: 0, folder, _turn: turn };
        site.healthy = Some(healthy);
        site.healthy_goes_on();
        site.memory_at_start = resident();
        site
    }

    pub(crate) fn status(&self) -> Status {
        self.server.status().expect("it runs")
    }

    /// Waits until the server is as said.
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if is(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {status:?}");
            assert!(!self.server.wait_for(Duration::from_millis(5)), "the server has ended");
        }
    }

    /// Nothing is left of anybody but the healthy client.
    pub(crate) fn until_quiet(&self) {
        self.until("everything is back to normal", |status| {
            let engine = &status.engine;
            // The healthy client may have one request under way.
            (engine.connections, engine.watches, status.lingering) == (1, 0, 0)
                && status.input_total < 1024
                && engine.output_total < 1024
                && engine.outstanding <= 1
        });
    }

    /// The healthy client does some more operations, each within its deadline.
    pub(crate) fn healthy_goes_on(&self) {
        let healthy = self.healthy.as_ref().expect("it runs");
        let before = healthy.shared.operations.load(Ordering::Acquire);
        let begun = Instant::now();
        while healthy.shared.operations.load(Ordering::Acquire) < before + 20 {
            assert!(!healthy.thread.is_finished(), "the healthy client gave up: see its error at the end");
            assert!(begun.elapsed() < PATIENCE, "the healthy client is stuck");
            assert!(!self.server.wait_for(Duration::from_millis(1)), "the server has ended");
        }
    }

    /// The healthy client is done for now.
    pub(crate) fn rest(&self) {
        self.healthy.as_ref().expect("it runs").shared.stop.store(true, Ordering::Release);
        self.until("the healthy client has gone", |status| status.engine.connections == 0);
    }

    /// Nobody waits any more: the healthy client is done, the server stops in time, memory stayed within
    /// `growth_max` bytes of what it was at the start.
    pub(crate) fn end(mut self, name: &str, growth_max: usize) {
        let healthy = self.healthy.take().expect("it runs");
        healthy.shared.stop.store(true, Ordering::Release);
        healthy.thread.join().expect("no panic").expect("the healthy client was served");
        let peak = healthy.shared.memory_max.load(Ordering::Acquire) as usize;
        let growth = peak.saturating_sub(self.memory_at_start);
        let Site { server, folder, .. } = self;
        let begun = Instant::now();
        server.stop().expect("it stops cleanly");
        let took = begun.elapsed();
        let _ = std::fs::remove_dir_all(folder);
        println!(
            "{name}: {} operations beside it, the slowest {} ms; {} KiB more memory; stopped in {took:?}",
            healthy.shared.operations.load(Ordering::Acquire),
            healthy.shared.slowest_us.load(Ordering::Acquire) / 1000,
            growth / 1024
        );
        assert!(growth <= growth_max, "{} MiB more memory, allowed are {}", growth / MIB, growth_max / MIB);
        assert!(took < STOP_MAX, "stopping took {took:?}");
    }
}

impl Healthy {
    fn start(address: &str) -> Healthy {
        let shared = Arc::new(Shared::default());
        let (theirs, address) = (Arc::clone(&shared), address.to_owned());
        let thread = std::thread::spawn(move || {
            let result = work(&theirs, &address);
            if let Err(error) = &result {
                eprintln!("the healthy client: {error}");
            }
            result
        });
        Healthy { shared, thread }
    }
}

fn work(shared: &Shared, address: &str) -> Result<(), String> {
    let options = ConnectOptions { wait: DEADLINE, ..ConnectOptions::default() };
    let mut client = RawClient::connect_with(address, &options).map_err(|error| format!("cannot connect: {error}"))?;
    let acl = [Acl::open()];
    while !shared.stop.load(Ordering::Acquire) {
        let begun = Instant::now();
        let told = |error| format!("after {:?}: {error}", begun.elapsed());
        let path = client.create("/healthy-", Some(b"data"), &acl, CreateMode::PersistentSequential).map_err(told)?;
        let (data, _) = client.get_data(&path, false).map_err(told)?;
        if data.as_deref() != Some(b"data") {
            return Err(format!("{path} has other data: {data:?}"));
        }
        client.delete(&path, -1).map_err(told)?;
        let took = begun.elapsed();
        if took > DEADLINE {
            return Err(format!("create, get and delete took {took:?}"));
        }
        shared.slowest_us.fetch_max(took.as_micros() as u64, Ordering::AcqRel);
        shared.memory_max.fetch_max(resident() as u64, Ordering::AcqRel);
        shared.operations.fetch_add(1, Ordering::AcqRel);
    }
    client.close().map_err(|error| error.to_string())
}

/// A new session's client, not healthy by profession.
pub(crate) fn client(address: &str) -> RawClient {
    RawClient::connect_with(address, &ConnectOptions { wait: PATIENCE, ..ConnectOptions::default() })
        .expect("a session")
}

/// A connection without a session.
pub(crate) fn stream(address: &str) -> TcpStream {
    TcpStream::connect(address).expect("the server listens")
}

/// A handshake's frame for a new session.
pub(crate) fn handshake() -> Vec<u8> {
    let mut payload = encoded(&ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout: 30_000,
        session_id: 0,
        password: Buffer::new(&[0; 16]),
    });
    payload.push(0);
    framed(&payload)
}

pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// A request's frame.
pub(crate) fn request(xid: i32, op: OpCode, body: &impl serde::Serialize) -> Vec<u8> {
    let mut payload = encoded(&RequestHeader { xid, op: op.to_i32() });
    encode(body, &mut payload);
    framed(&payload)
}
