//! How fast a client in the server's process is: `cargo bench --bench in_process`.
//!
//! Prints durable creates per second with 1, 64 and 512 outstanding, gets of 100 bytes per second at 100,000 znodes on
//! one thread and on two, and gets while another thread writes; with processor time per operation, which a busy machine
//! does not change much. `-- gets` and `-- creates` do only that part. Under `cargo test` it runs on little input.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use zoarium::handle::{Handle, Options, code};
use zoarium::jute::{Buffer, encoded};
use zoarium::records::requests::CreateRequest;
use zoarium::records::{Acl, OpCode};
use zoarium::{Config, Server};

const LIMIT: Option<Duration> = Some(Duration::from_secs(60));
const DATA: [u8; 100] = [0x5a; 100];

fn create(path: &str) -> Vec<u8> {
    let acl = Some(vec![Acl::open()]);
    encoded(&CreateRequest { path: path.into(), data: Buffer::new(&DATA), acl, flags: 0 })
}

fn open(server: &Server) -> Arc<Handle> {
    let handle = Handle::open(Arc::clone(server.hub()), &Options::default()).expect("a thread for callbacks");
    handle.wait(LIMIT).expect("a session");
    Arc::new(handle)
}

/// Creates in flight: each reply sends the next.
struct Stream {
    handle: Arc<Handle>,
    prefix: String,
    next: AtomicUsize,
    left: AtomicUsize,
    count: usize,
    done: mpsc::Sender<()>,
}

fn send_next(stream: &Arc<Stream>) {
    let number = stream.next.fetch_add(1, Ordering::Relaxed);
    if number >= stream.count {
        return;
    }
    let again = Arc::clone(stream);
    let body = create(&format!("{}/{:03}/{number:08}", stream.prefix, number % 1000));
    let sent = stream.handle.submit(OpCode::Create, &body, move |reply| {
        assert_eq!(reply.code, code::OK);
        send_next(&again);
        if again.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = again.done.send(());
        }
    });
    sent.expect("an open handle takes requests");
}

fn creates(handle: &Arc<Handle>, prefix: &str, count: usize, outstanding: usize) -> f64 {
    assert_eq!(handle.call(OpCode::Create, &create(prefix), LIMIT).code, code::OK);
    for parent in 0..1000 {
        handle.submit(OpCode::Create, &create(&format!("{prefix}/{parent:03}")), |_| {}).expect("an open handle");
    }
    handle.call(OpCode::Sync, &encoded(&"/"), LIMIT);
    let (done, finished) = mpsc::channel();
    let (next, left) = (AtomicUsize::new(0), AtomicUsize::new(count));
    let stream = Arc::new(Stream { handle: Arc::clone(handle), prefix: prefix.to_owned(), next, left, count, done });
    let begin = Instant::now();
    for _ in 0..outstanding {
        send_next(&stream);
    }
    finished.recv().expect("the last reply tells");
    count as f64 / begin.elapsed().as_secs_f64()
}

/// Nanoseconds this thread has had of a processor, so that a busy machine does not count.
fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// The same of each thread of this process by name.
fn threads() -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let ns: u64 = read("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        *all.entry(read("comm").trim().to_owned()).or_default() += ns;
    }
    all
}

/// All paths in an order that is not that of their creation, one behind the other: whoever asks for a path has it at hand,
/// and fetching it from memory is not what is measured.
struct Paths {
    all: String,
    count: usize,
}

impl Paths {
    fn new(count: usize) -> Paths {
        let numbers = (0..count).map(|n| n * 7919 % count);
        Paths { all: numbers.map(|n| format!("/g/{:03}/{n:08}", n % 1000)).collect(), count }
    }

    fn get(&self, at: usize) -> &str {
        let length = self.all.len() / self.count;
        &self.all[at * length..][..length]
    }
}

fn gets(handle: &Handle, paths: &Paths, count: usize) -> f64 {
    let (begin, used) = (Instant::now(), processor_ns());
    for at in 0..count {
        let reply = handle.read(OpCode::GetData, paths.get(at % paths.count), LIMIT);
        assert_eq!(reply.code, code::OK);
        black_box(reply.body);
    }
    println!("  {} ns of processor time each", (processor_ns() - used) / count as u64);
    count as f64 / begin.elapsed().as_secs_f64()
}

fn main() {
    let is_tiny = !std::env::args().any(|arg| arg == "--bench");
    let scale = |full: usize, tiny: usize| if is_tiny { tiny } else { full };
    let folder = match std::env::var_os("ZOA_BENCH_DIR") {
        Some(folder) => std::path::PathBuf::from(folder),
        None => std::env::temp_dir(),
    };
    let folder = folder.join(format!("zoarium-bench-{}", std::process::id()));
    let config = Config { data_dir: folder.clone(), client_port: 0, ..Config::default() };
    let server = Server::start(config).expect("a server on a new folder");
    let handle = open(&server);

    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    // First, while there are as many znodes as it says.
    if only.as_deref().is_none_or(|only| only == "gets") {
        all_gets(&server, &handle, scale);
    }
    if only.as_deref().is_none_or(|only| only == "creates") {
        all_creates(&server, &handle, scale);
    }
    drop(handle);
    server.stop().expect("a clean stop");
    let _ = std::fs::remove_dir_all(folder);
}

fn all_gets(server: &Server, handle: &Arc<Handle>, scale: impl Fn(usize, usize) -> usize + Sync) {
    let count = scale(100_000, 500);
    creates(handle, "/g", count, 512);
    let paths = Paths::new(count);
    println!("gets, one thread:  {:>10.0} /s", gets(handle, &paths, scale(3_000_000, 500)));
    let both: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..2).map(|_| scope.spawn(|| gets(&open(server), &paths, scale(3_000_000, 500)))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no get fails")).sum()
    });
    println!("gets, two threads: {both:>10.0} /s together");
    let stop = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = open(server);
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                creates(&writer, &format!("/w{round}"), scale(20_000, 100), 64);
                round += 1;
            }
        });
        let rate = gets(handle, &paths, scale(2_000_000, 500));
        stop.store(true, Ordering::Relaxed);
        rate
    });
    println!("gets, beside a writer with 64 outstanding: {beside:>10.0} /s");
}

fn all_creates(server: &Server, handle: &Arc<Handle>, scale: impl Fn(usize, usize) -> usize) {
    for (outstanding, count) in [(1, scale(5_000, 20)), (64, scale(300_000, 500)), (512, scale(600_000, 500))] {
        let store = || server.status().expect("it runs").store;
        let (before, used) = (store(), threads());
        let rate = creates(handle, &format!("/o{outstanding}"), count, outstanding);
        println!("creates, {outstanding:>3} outstanding: {rate:>10.0} /s");
        let after = store();
        let syncs = (after.fsync_count - before.fsync_count).max(1);
        let each = (after.fsync_total_us - before.fsync_total_us) / syncs;
        println!("  {} in one sync of {each} us", (after.records - before.records) / syncs);
        for (name, ns) in threads() {
            // A thread may have ended, and taken its time with it.
            let ns = ns.saturating_sub(used.get(&name).copied().unwrap_or(0));
            println!("  {name}: {} ns of processor time each", ns / count as u64);
        }
    }
}
