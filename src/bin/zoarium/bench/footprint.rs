//! What a server of this program costs: time to start, memory at rest and full, threads.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zoarium::jute::{self, Buffer};
use zoarium::raw::RawClient;
use zoarium::records::multi::MultiHeader;
use zoarium::records::requests::CreateRequest;
use zoarium::records::{Acl, CreateMode, OpCode};

use super::server::BenchServer;
use super::{BenchError, machine};
use crate::out::say;

/// Resident memory at rest, in bytes.
const IDLE_MAX: u64 = 8 << 20;
/// Start on an empty folder to the first reply; the median of so many.
const START_MAX: Duration = Duration::from_millis(20);
const STARTS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// Resident bytes per znode with 100 bytes of data.
const ZNODE_MAX: f64 = 280.0;
/// The one thread that serves; main, signals and the store's writer of snapshots are named beside it.
const LOOP: &str = "zoarium-loop";
const OTHERS: [&str; 4] = ["zoarium", "zoarium-relief", "zoarium-signals", "zoarium-snap"];

const DATA_SIZE: usize = 100;
/// Creates in one multi, multis on their way, znodes in one folder.
const BATCH: usize = 200;
const OUTSTANDING: usize = 8;
const FOLDER_SIZE: usize = 1000;

/// Measures, prints, and tells whether all limits are held.
pub(crate) fn run(znodes: usize) -> Result<bool, BenchError> {
    say!("{}", machine::describe(Path::new(".")));
    let mut held = true;
    let mut line = |what: &str, value: String, limit: String, good: bool| {
        held &= good;
        say!("{what:<44}{value:>14}   limit {limit:<12}{}", if good { "held" } else { "MISSED" });
    };
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let mut server = spawn()?;
        starts.push(server.await_first_reply(PATIENCE)?);
    }
    starts.sort();
    let start = starts[STARTS / 2];
    line("start on an empty folder to first reply", ms(start), ms(START_MAX), start <= START_MAX);

    let mut server = spawn()?;
    server.await_first_reply(PATIENCE)?;
    let pid = server.pid();
    // At rest means after the work of starting: wait until no more memory comes or goes.
    let idle = settled(|| machine::memory(pid, "VmRSS"));
    line("resident at rest", mib(idle), mib(IDLE_MAX), idle <= IDLE_MAX);
    let threads = machine::threads(pid);
    let loops = threads.iter().filter(|name| *name == LOOP).count();
    let known = threads.iter().all(|name| name == LOOP || OTHERS.contains(&name.as_str()));
    line("threads that serve", loops.to_string(), "1, no unknown".into(), loops == 1 && known);
    say!("  {}", threads.join(", "));

    let started = Instant::now();
    fill(server.address(), znodes)?;
    let took = started.elapsed();
    let parts = ["VmRSS", "RssAnon", "RssFile"].map(|field| settled(|| machine::memory(pid, field)));
    let each = (parts[0].saturating_sub(idle)) as f64 / znodes as f64;
    line(
        &format!("resident per znode, {znodes} of {DATA_SIZE} B"),
        format!("{each:.0} B"),
        format!("{ZNODE_MAX:.0} B"),
        each <= ZNODE_MAX,
    );
    say!(
        "  resident {} in all: {} of its own, {} of mapped files; filled in {:.1} s",
        mib(parts[0]),
        mib(parts[1]),
        mib(parts[2]),
        took.as_secs_f64()
    );
    Ok(held)
}

/// Not under /tmp: that may be no disk at all.
fn spawn() -> Result<BenchServer, BenchError> {
    let folder: PathBuf = std::env::current_dir()?.join(format!(".footprint-{}", std::process::id()));
    BenchServer::spawn(&folder, &[])
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A value once it has stood still for a while.
fn settled(read: impl Fn() -> u64) -> u64 {
    let mut last = read();
    let mut same = 0;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(50));
        let now = read();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        if same == 10 {
            break;
        }
    }
    last
}

/// Creates `count` znodes, in folders of a thousand.
fn fill(address: &str, count: usize) -> Result<(), BenchError> {
    let mut client = RawClient::connect(address)?;
    let data = [b'z'; DATA_SIZE];
    let mut on_the_way = 0;
    let mut made = 0;
    while made < count {
        let folder = format!("/{:05}", made / FOLDER_SIZE);
        if made % FOLDER_SIZE == 0 {
            await_all(&mut client, &mut on_the_way)?;
            client.create(&folder, None, &[Acl::open()], CreateMode::Persistent)?;
        }
        let end = (made + BATCH).min(count);
        let mut body = Vec::new();
        for number in made..end {
            let path = format!("{folder}/{number:08}");
            jute::encode(&MultiHeader::request(OpCode::Create), &mut body);
            let acl = Some(vec![Acl::open()]);
            jute::encode(&CreateRequest { path: path.into(), data: Buffer::new(&data), acl, flags: 0 }, &mut body);
        }
        jute::encode(&MultiHeader::END, &mut body);
        client.send(OpCode::Multi.to_i32(), &body)?;
        on_the_way += 1;
        made = end;
        while on_the_way >= OUTSTANDING {
            await_one(&mut client, &mut on_the_way)?;
        }
    }
    await_all(&mut client, &mut on_the_way)?;
    let there = client.get_all_children_number("/")? as usize;
    if there < count {
        return Err(format!("{there} znodes are there, {count} were made").into());
    }
    Ok(client.close()?)
}

fn await_one(client: &mut RawClient, on_the_way: &mut usize) -> Result<(), BenchError> {
    let (header, _) = client.receive()?;
    *on_the_way -= 1;
    if header.err == 0 { Ok(()) } else { Err(format!("a multi was refused with error {}", header.err).into()) }
}

fn await_all(client: &mut RawClient, on_the_way: &mut usize) -> Result<(), BenchError> {
    while *on_the_way > 0 {
        await_one(client, on_the_way)?;
    }
    Ok(())
}
