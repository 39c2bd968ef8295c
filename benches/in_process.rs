//! How fast a client in the server's process is: `cargo bench --bench in_process`.
//!
//! Prints durable creates per second with 1, 64 and 512 outstanding, gets of 100 bytes per second at 100,000 znodes on
//! one thread and on two, and gets while another thread writes. Under `cargo test` it runs on little input.

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

fn gets(handle: &Handle, paths: &[String], count: usize) -> f64 {
    let (begin, used) = (Instant::now(), processor_ns());
    let mut at = 0;
    for _ in 0..count {
        // A stride that visits all and is not the order of creation.
        at = (at + 7919) % paths.len();
        let reply = handle.read(OpCode::GetData, &paths[at], LIMIT);
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

    // First, while there are as many znodes as it says.
    let count = scale(100_000, 500);
    creates(&handle, "/g", count, 512);
    let paths: Vec<String> = (0..count).map(|n| format!("/g/{:03}/{n:08}", n % 1000)).collect();
    println!("gets, one thread:  {:>10.0} /s", gets(&handle, &paths, scale(3_000_000, 500)));
    let both: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..2).map(|_| scope.spawn(|| gets(&open(&server), &paths, scale(3_000_000, 500)))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no get fails")).sum()
    });
    println!("gets, two threads: {both:>10.0} /s together");
    let stop = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = open(&server);
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                creates(&writer, &format!("/w{round}"), scale(20_000, 100), 64);
                round += 1;
            }
        });
        let rate = gets(&handle, &paths, scale(2_000_000, 500));
        stop.store(true, Ordering::Relaxed);
        rate
    });
    println!("gets, beside a writer with 64 outstanding: {beside:>10.0} /s");

    for (outstanding, count) in [(1, scale(5_000, 20)), (64, scale(300_000, 500)), (512, scale(600_000, 500))] {
        let rate = creates(&handle, &format!("/o{outstanding}"), count, outstanding);
        println!("creates, {outstanding:>3} outstanding: {rate:>10.0} /s");
    }
    let status = server.status().expect("it runs");
    let (syncs, total_us) = (status.store.fsync_count, status.store.fsync_total_us);
    println!("syncs: {syncs}, {} us each", total_us / syncs.max(1));
    drop(handle);
    server.stop().expect("a clean stop");
    let _ = std::fs::remove_dir_all(folder);
}
