//! How fast does the log become durable? Appends of {200 B, 16 KiB} × {1, 64, 512} records, each one frame and one sync.
//!
//! `cargo bench --bench log_sync [-- FOLDER]` measures about a second per line; `-- --tiny` runs each once or twice, so
//! that a test can keep it alive. The bytes are fixed. The file is removed afterwards.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zoarium::ids::{Millis, Zxid};
use zoarium::store::{Record, Replay, Store, StoreOptions};

/// Takes in nothing: the file is new.
struct Nobody;

impl Replay for Nobody {
    fn snapshot_begin(&mut self, _: Zxid) {}
    fn snapshot_entry(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn snapshot_end(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn txn(&mut self, _: Zxid, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

struct Line {
    commits: u64,
    took: Duration,
    micros: Vec<u32>,
}

impl Line {
    fn percentile(&mut self, part: f64) -> u32 {
        self.micros.sort_unstable();
        let at = ((self.micros.len() - 1) as f64 * part) as usize;
        self.micros[at]
    }
}

/// Appends until `budget` is used up. An empty snapshot now and then keeps the file small, and its space recycled.
fn measure(file: &Path, size: usize, count: usize, budget: Duration, least: u64) -> Line {
    let _ = std::fs::remove_file(file);
    let options = StoreOptions { max_size: 2 << 30, snapshot_rate: 0, ..StoreOptions::default() };
    let (mut store, _) = Store::open(file, &options, &mut Nobody).expect("a new file can be made in the folder");
    let begun = Instant::now();
    let now = || Millis(begun.elapsed().as_millis() as u64);
    while store.poll_timeout(now()).is_some() {
        store.tick(now()).expect("the disk works");
        std::thread::yield_now();
    }
    let txn = vec![0x5a_u8; size];
    let mut zxid = 0;
    let mut line = Line { commits: 0, took: Duration::ZERO, micros: Vec::new() };
    while line.took < budget || line.commits < least {
        let records: Vec<Record<'_>> = (1..=count as i64).map(|i| Record { zxid: Zxid(zxid + i), txn: &txn }).collect();
        zxid += count as i64;
        let start = Instant::now();
        store.append(&records).expect("the disk works and has room");
        let took = start.elapsed();
        (line.commits, line.took) = (line.commits + 1, line.took + took);
        line.micros.push(took.as_micros() as u32);
        store.tick(now()).expect("the disk works");
        if store.wants_snapshot() {
            store.snapshot_begin(store.last_zxid(), 0).expect("there is room");
            store.snapshot_finish().expect("the disk works");
        }
    }
    drop(store);
    let _ = std::fs::remove_file(file);
    line
}

fn main() {
    let (mut tiny, mut folder) = (false, std::env::temp_dir());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--tiny" => tiny = true,
            "--bench" => {}
            other => folder = PathBuf::from(other),
        }
    }
    let file = folder.join(format!("zoarium-log-sync-{}.db", std::process::id()));
    let (budget, least) = if tiny { (Duration::ZERO, 2) } else { (Duration::from_secs(1), 20) };
    println!(
        "{:>8} {:>8} {:>12} {:>12} {:>10} {:>8} {:>8}",
        "bytes", "records", "commits/s", "records/s", "MiB/s", "p50 us", "p99 us"
    );
    for size in [200, 16 * 1024] {
        for count in [1, 64, 512] {
            let mut line = measure(&file, size, count, budget, least);
            let rate = line.commits as f64 / line.took.as_secs_f64();
            println!(
                "{size:>8} {count:>8} {rate:>12.0} {:>12.0} {:>10.1} {:>8} {:>8}",
                rate * count as f64,
                rate * (count * size) as f64 / f64::from(1 << 20),
                line.percentile(0.5),
                line.percentile(0.99),
            );
        }
    }
}
