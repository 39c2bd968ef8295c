//! A load that keeps to the truth: what was acknowledged, when, and as which transaction.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use zoarium::raw::{ClientError, ConnectOptions, RawClient};
use zoarium::records::CreateMode;

use crate::cluster::Cluster;
use crate::{all_agree, create, options};

/// How many writers there are.
const WRITERS: usize = 3;
/// Writes that are acknowledged between two strikes at least.
const WRITES: usize = 30;
/// A session that is left to itself expires after this.
const LEFT_MS: i32 = 4000;

/// One acknowledged write.
struct Write {
    began: Instant,
    ended: Instant,
    zxid: i64,
    path: String,
}

/// What the writers share.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// The greatest zxid that anybody was acknowledged.
    highest: AtomicI64,
    /// Writes acknowledged.
    count: AtomicUsize,
}

/// Creates znodes one after the other, wherever a member serves; now and then a `sync` must show what is known to have
/// happened.
fn write(addresses: &[String], name: &str, shared: &Shared) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut number = 0;
    while !shared.is_over.load(Ordering::Relaxed) {
        let address = &addresses[number % addresses.len()];
        number += 1;
        let Ok(mut client) = RawClient::connect_with(address, &options()) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !shared.is_over.load(Ordering::Relaxed) {
            number += 1;
            let path = format!("/{name}-{number}");
            let began = Instant::now();
            match create(&mut client, &path, CreateMode::Persistent) {
                Ok(path) => {
                    let zxid = client.last_zxid();
                    shared.highest.fetch_max(zxid, Ordering::SeqCst);
                    shared.count.fetch_add(1, Ordering::Relaxed);
                    writes.push(Write { began, ended: Instant::now(), zxid, path });
                }
                // Each path is asked for once.
                Err(ClientError::Refused(code)) => panic!("{path}: {code}"),
                Err(_) => break,
            }
            if number % 16 == 0 {
                let known = shared.highest.load(Ordering::SeqCst);
                if client.sync("/").is_err() || client.exists("/", false).is_err() {
                    break;
                }
                // G-04
                let shown = client.last_zxid();
                assert!(shown >= known, "a sync at {address} shows {shown:#x}, and {known:#x} had been acknowledged");
            }
        }
    }
    writes
}

/// A session whose client has gone without a word, and its ephemeral znode.
struct Left {
    path: String,
    /// When its client was surely still there.
    at: Instant,
}

/// Strikes as often as asked while writers write through all members, and checks that every promise was kept (G-01, G-02,
/// G-10): nothing acknowledged is lost, zxids are in the order of time, no `sync` shows the past, ephemerals end with their
/// sessions and no sooner.
pub(crate) fn kept_through(members: usize, times: usize, mut strike: impl FnMut(&mut Cluster, usize)) {
    let mut cluster = Cluster::start(members);
    let addresses: Vec<String> = (0..members).map(|at| cluster.address(at)).collect();
    let shared = Shared::default();
    let mut closed = Vec::new();
    let mut left: Vec<Left> = Vec::new();
    let mut struck = Vec::new();
    let writes = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (addresses, shared) = (&addresses, &shared);
                scope.spawn(move || write(addresses, &format!("load{number}"), shared))
            })
            .collect();
        // A panic of this thread must end the writers as well.
        let over = Over(&shared.is_over);
        for round in 0..times {
            let leader = cluster.leader();
            let elsewhere = (leader + 1 + round % (members - 1)) % members;
            // One session outlives the member that it began at, one is left to expire.
            let mut moving = cluster.connect(leader, &options());
            let mine = create(&mut moving, &format!("/ephemeral{round}"), CreateMode::Ephemeral).unwrap();
            let options = ConnectOptions { timeout_ms: LEFT_MS, ..options() };
            let mut leaving = cluster.connect(elsewhere, &options);
            let at = Instant::now();
            left.push(Left {
                path: create(&mut leaving, &format!("/left{round}"), CreateMode::Ephemeral).unwrap(),
                at,
            });
            drop(leaving);
            let before = shared.count.load(Ordering::Relaxed);
            cluster.until("the writers go on", |_| shared.count.load(Ordering::Relaxed) >= before + WRITES);
            struck.push(Instant::now());
            strike(&mut cluster, leader);
            cluster.until("all serve", Cluster::is_whole);
            let resume = Some((moving.session(), moving.password()));
            let mut moved = cluster.connect(elsewhere, &ConnectOptions { resume, ..crate::options() });
            // A member that was not needed for the quorum may not have heard of its znodes yet.
            moved.sync("/").unwrap();
            assert!(
                moved.exists(&mine, false).unwrap().is_some(),
                "{mine} went without its session\n{}",
                cluster.logs()
            );
            create(&mut moved, &format!("/after{round}"), CreateMode::Persistent).unwrap();
            for left in &left {
                let is_there = moved.exists(&left.path, false).unwrap().is_some();
                let age = left.at.elapsed();
                assert!(
                    is_there || age >= Duration::from_millis(LEFT_MS as u64),
                    "{} went after {age:?}\n{}",
                    left.path,
                    cluster.logs()
                );
            }
            moved.close().unwrap();
            closed.push(mine);
        }
        drop(over);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<Write>>()
    });
    in_order(&writes);
    let leader = cluster.leader();
    let mut client = cluster.connect(leader, &options());
    for left in &left {
        cluster.until("a session that was left has expired", |_| is_gone(&mut client, &left.path));
    }
    let tree = all_agree(&cluster, members);
    for Write { path, .. } in &writes {
        assert!(tree.contains_key(path), "{path} was acknowledged and is lost\n{}", cluster.logs());
    }
    (0..times).for_each(|round| assert!(tree.contains_key(&format!("/after{round}"))));
    closed.iter().for_each(|path| assert!(!tree.contains_key(path), "{path} outlives its session"));
    println!("{} writes acknowledged through {times} times", writes.len());
    tell_pauses(&writes, &struck);
}

/// Prints how long after each strike the first write was acknowledged that began after it.
fn tell_pauses(writes: &[Write], struck: &[Instant]) {
    let first = |at: &Instant| writes.iter().filter(|write| write.began >= *at).map(|write| write.ended).min();
    let mut pauses: Vec<Duration> = struck.iter().filter_map(|at| Some(first(at)?.duration_since(*at))).collect();
    pauses.sort_unstable();
    if let (Some(median), Some(longest)) = (pauses.get(pauses.len() / 2), pauses.last()) {
        println!(
            "the first write afterwards: after {median:?} in the middle, {longest:?} at most, of {}",
            pauses.len()
        );
    }
}

fn is_gone(client: &mut RawClient, path: &str) -> bool {
    client.exists(path, false).unwrap().is_none()
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// No zxid comes twice, and what began after another was acknowledged has a greater one.
fn in_order(writes: &[Write]) {
    let mut by_zxid = BTreeMap::new();
    for write in writes {
        if let Some(other) = by_zxid.insert(write.zxid, &write.path) {
            panic!("{} and {other} have the zxid {:#x}", write.path, write.zxid);
        }
    }
    let mut by_end: Vec<&Write> = writes.iter().collect();
    by_end.sort_by_key(|write| write.ended);
    let mut by_begin: Vec<&Write> = writes.iter().collect();
    by_begin.sort_by_key(|write| write.began);
    let (mut ended, mut greatest) = (by_end.into_iter().peekable(), 0);
    for write in by_begin {
        while let Some(before) = ended.next_if(|before| before.ended < write.began) {
            greatest = greatest.max(before.zxid);
        }
        assert!(write.zxid > greatest, "{} has {:#x}, {greatest:#x} had been acknowledged", write.path, write.zxid);
    }
}
