//! kill -9 under load: what was acknowledged is there after the restart, and nothing else but what was asked for.
//!
//! `ZOA_KILL9_ROUNDS` sets the number of rounds, `ZOA_RESTART_ZNODES` the size of the tree whose restart is timed, and
//! `ZOA_RESTART_MS_MAX` a bound on that time; `ZOA_SEED` replays the choices of a run (the moment of a kill is chosen
//! too, but the machine has its say). `ZOA_KILL9_SERVER` names another server, `zookeeper` for Apache ZooKeeper.
#![allow(clippy::unwrap_used, reason = "a test stops where it goes wrong")]

mod model;
#[path = "../kit/ports.rs"]
mod ports;
mod random;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zoarium::ids::SessionId;
use zoarium::jute;
use zoarium::raw::{ClientError, ConnectOptions, RawClient};
use zoarium::records::replies::PathReply;
use zoarium::records::{Acl, CreateMode};

use model::{Node, Plan, Tree, Write, find_prefix};
use random::Random;
use server::{Server, TIMEOUT_MAX_MS, TIMEOUT_MIN_MS};

const CONNECTIONS: usize = 6;
/// Requests on the way at once, per connection.
const OUTSTANDING_MAX: usize = 32;
const WAIT: Duration = Duration::from_secs(15);
/// Snapshots soon. Slow ones are not done before the kill comes upon them; fast ones may be, and then recovery begins
/// with them and the log they set free is used again. `snapCount` is Apache ZooKeeper's word for it.
const SLOW_SNAPSHOTS: &str =
    "zoarium.logWindow=1M\nzoarium.followerWindow=0\nzoarium.snapshotRate=4M\nsnapCount=3000\n";
const FAST_SNAPSHOTS: &str = "zoarium.logWindow=1M\nzoarium.followerWindow=0\nzoarium.snapshotRate=0\nsnapCount=3000\n";

/// What becomes of a connection's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Resumed with its password after each restart, to the end of the test.
    Lasts,
    /// Resumed after this restart, then closed.
    Resumes,
    /// Closed before the kill, if that leaves the time.
    Closes,
    /// Left to expire.
    Expires,
}

/// One connection's side of the story.
struct Story {
    base: String,
    fate: Fate,
    session: (SessionId, [u8; 16]),
    writes: Vec<Write>,
    /// The zxids of the replies, in order: these writes are acknowledged.
    acknowledged: Vec<i64>,
}

// G-02: what took effect of a lost connection is a prefix of what it sent. G-09: a reply outlives the process.
// G-10, SC-40: sessions resume with their password only, expire when left alone, and take their ephemerals along.
// S-40, F-01: recovery yields everything acknowledged, nothing never written, also when killed while it runs.
#[test]
fn what_was_acknowledged_survives_kill_9_and_nothing_else_appears() {
    let rounds: u64 = setting("ZOA_KILL9_ROUNDS").unwrap_or(3);
    let seed: u64 = setting("ZOA_SEED").unwrap_or(1);
    println!("{rounds} rounds, ZOA_SEED={seed}");
    let mut random = Random::new(seed);
    let mut server = Server::new("kill9");
    let mut lasting = None;
    // What the rounds so far left behind, for ever.
    let mut history: Vec<(String, Tree)> = Vec::new();
    let mut last_zxid = 0;
    let (mut writes, mut acknowledged) = (0, 0);
    server.configure(FAST_SNAPSHOTS);
    let mut observer = server.start(&options(None, 0));

    for round in 0..rounds {
        let context = format!("round {round} of ZOA_SEED={seed}");
        observer.create(&format!("/r{round}"), None, &[Acl::open()], CreateMode::Persistent).expect(&context);
        let (stories, seen) = run_until_killed(&mut server, &mut random, round, lasting);
        last_zxid = observer.last_zxid().max(last_zxid).max(seen);

        server.configure([SLOW_SNAPSHOTS, FAST_SNAPSHOTS][random.below(2) as usize]);
        if random.below(4) == 0 {
            // Recovery is killed too, somewhere in its first milliseconds.
            server.spawn();
            spin(Duration::from_micros(random.below(20_000)));
            server.kill();
        }
        let begin = Instant::now();
        observer = server.start(&options(None, last_zxid));
        let restart_time = begin.elapsed();
        observer.sync("/").expect(&context);
        assert!(observer.last_zxid() >= last_zxid, "{context}: {:#x} < {last_zxid:#x}", observer.last_zxid());

        // First those whose session waits for its client, for it does not wait for long.
        let mut lasting_client = None;
        for story in stories.iter().filter(|story| story.fate != Fate::Expires) {
            let closed = matches!(story.writes.last(), Some(Write::Close));
            let client = resume(&server, story, last_zxid, &context);
            assert!(client.is_some() || closed, "{context}: {:?} does not resume; {}", story.fate, server.log_tail());
            let found = check_tree(&mut observer, story, false, &context);
            match client {
                Some(client) if story.fate == Fate::Lasts => lasting_client = Some(client),
                Some(client) => client.close().expect(&context),
                None => {
                    let left = found.values().any(|node| node.ephemeral);
                    assert!(!left, "{context}: {} is closed, its ephemerals are there", story.base);
                }
            }
        }
        for story in stories.iter().filter(|story| story.fate == Fate::Expires) {
            if wait_until_expired(&mut observer, story, &context) {
                let outcome = RawClient::connect_with(&server.address(), &options(Some(story.session), last_zxid));
                assert!(matches!(outcome, Err(ClientError::Expired)), "{context}: expired, yet {outcome:?}");
            }
            check_tree(&mut observer, story, true, &context);
        }
        for story in &stories {
            let found = read_tree(&mut observer, &story.base);
            let ephemerals = found.values().filter(|node| node.ephemeral).count();
            assert!(ephemerals == 0 || story.fate == Fate::Lasts, "{context}: {ephemerals} in {}", story.base);
            history.push((story.base.clone(), found));
            writes += story.writes.len();
            acknowledged += story.acknowledged.len();
        }
        let mut client = lasting_client.expect("the first connection's session lasts");
        client.ping().expect(&context);
        lasting = Some((client.session(), client.password()));
        last_zxid = last_zxid.max(client.last_zxid());
        last_zxid = last_zxid.max(observer.last_zxid());
        let (base, tree) = &history[random.below(history.len() as u64) as usize];
        assert!(read_tree(&mut observer, base) == *tree, "{context}: {base} changed since its round");
        println!(
            "round {round}: {} znodes, restart {restart_time:.1?}",
            history.iter().map(|h| h.1.len()).sum::<usize>()
        );
    }
    for (base, tree) in &history {
        assert!(read_tree(&mut observer, base) == *tree, "{base} changed since its round; ZOA_SEED={seed}");
    }
    assert!(acknowledged > 0, "nothing was written");
    println!("{rounds} rounds: {writes} writes sent, {acknowledged} acknowledged, all of these there");
}

#[test]
fn a_large_tree_is_back_soon_after_kill_9() {
    let znodes: usize = setting("ZOA_RESTART_ZNODES").unwrap_or(2000);
    let time_max = setting("ZOA_RESTART_MS_MAX").map(Duration::from_millis);
    let mut server = Server::new("restart");
    let mut client = server.start(&options(None, 0));
    client.create("/tree", None, &[Acl::open()], CreateMode::Persistent).unwrap();
    let data = [b'x'; 100];
    let paths: Vec<String> = (0..znodes).map(|index| format!("/tree/node-{index:07}")).collect();
    let (mut sent, mut received) = (0, 0);
    while received < paths.len() {
        if sent < paths.len() && sent - received < 500 {
            let create = Write::Create { path: paths[sent].clone(), data: data.to_vec(), mode: CreateMode::Persistent };
            create.send(&mut client).unwrap();
            sent += 1;
        } else {
            assert_eq!(client.receive().unwrap().0.err, 0);
            received += 1;
        }
    }
    server.kill();
    let begin = Instant::now();
    let mut client = server.start(&options(None, client.last_zxid()));
    let (_, stat) = client.get_data("/tree", false).unwrap();
    let time = begin.elapsed();
    println!("restart at {znodes} znodes: {time:.1?} from start to the first reply");
    assert_eq!(stat.num_children as usize, znodes);
    assert_eq!(client.get_data(paths.last().unwrap(), false).unwrap().0.as_deref(), Some(&data[..]));
    if let Some(time_max) = time_max {
        assert!(time <= time_max, "restart took {time:?}, allowed are {time_max:?}");
    }
}

/// Lets all connections write until a chosen number of replies has come, then kills the server. Returns their stories
/// and the highest zxid anyone has seen.
fn run_until_killed(
    server: &mut Server,
    random: &mut Random,
    round: u64,
    lasting: Option<(SessionId, [u8; 16])>,
) -> (Vec<Story>, i64) {
    let replies = Arc::new(AtomicU64::new(0));
    let threads: Vec<JoinHandle<(Story, i64)>> = (0..CONNECTIONS)
        .map(|index| {
            let fate = match index {
                0 => Fate::Lasts,
                _ => [Fate::Resumes, Fate::Closes, Fate::Expires][random.below(3) as usize],
            };
            let resume = lasting.filter(|_| fate == Fate::Lasts);
            let timeout_ms = if fate == Fate::Expires { TIMEOUT_MIN_MS } else { TIMEOUT_MAX_MS };
            let options = ConnectOptions { timeout_ms, ..options(resume, 0) };
            let client = RawClient::connect_with(&server.address(), &options).expect("the server runs");
            assert_eq!(client.timeout_ms(), timeout_ms, "else the waits of this test are wrong");
            let plan = Plan::new(format!("/r{round}/c{index}"), Random::new(random.next()));
            let closes_after = (fate == Fate::Closes).then(|| random.below(60) as usize);
            let replies = Arc::clone(&replies);
            std::thread::spawn(move || {
                write_until_cut(client, format!("/r{round}/c{index}"), plan, fate, closes_after, &replies)
            })
        })
        .collect();
    let replies_before_kill = 1 + random.below(1200);
    let begin = Instant::now();
    while replies.load(Ordering::Relaxed) < replies_before_kill {
        assert!(begin.elapsed() < Duration::from_secs(60), "too few replies; {}", server.log_tail());
        std::thread::yield_now();
    }
    spin(Duration::from_micros(random.below(2000)));
    server.kill();
    let (stories, seen): (Vec<Story>, Vec<i64>) = threads.into_iter().map(|thread| thread.join().unwrap()).unzip();
    (stories, seen.into_iter().max().unwrap_or(0))
}

/// Writes, pipelined, until the connection is cut or the session closed.
fn write_until_cut(
    mut client: RawClient,
    base: String,
    mut plan: Plan,
    fate: Fate,
    closes_after: Option<usize>,
    replies: &AtomicU64,
) -> (Story, i64) {
    let session = (client.session(), client.password());
    let mut story = Story { base, fate, session, writes: Vec::new(), acknowledged: Vec::new() };
    loop {
        let closing = matches!(story.writes.last(), Some(Write::Close));
        if !closing && story.writes.len() - story.acknowledged.len() < OUTSTANDING_MAX {
            let write = match closes_after {
                Some(count) if story.writes.len() == count => Write::Close,
                _ => plan.next(),
            };
            let sent = write.send(&mut client);
            // What was cut in the middle of sending may have arrived all the same.
            story.writes.push(write);
            if sent.is_err() {
                break;
            }
        } else {
            let (header, body) = match client.receive() {
                Ok(reply) => reply,
                Err(ClientError::Io(_)) => break,
                Err(error) => panic!("{}: {error}", story.base),
            };
            let write = &story.writes[story.acknowledged.len()];
            assert_eq!(header.err, 0, "{}: {write:?} must succeed", story.base);
            if let Write::Sequential { path, .. } = write {
                assert_eq!(jute::decode::<PathReply<'_>>(&body).unwrap().path.as_str(), path);
            }
            story.acknowledged.push(header.zxid);
            replies.fetch_add(1, Ordering::Relaxed);
            if closing && story.acknowledged.len() == story.writes.len() {
                break;
            }
        }
    }
    (story, client.last_zxid())
}

/// Resumes a session, not before a wrong password was refused. `None` when there is no such session any more.
fn resume(server: &Server, story: &Story, last_zxid: i64, context: &str) -> Option<RawClient> {
    let (id, password) = story.session;
    let mut wrong = password;
    wrong[15] ^= 1;
    let outcome = RawClient::connect_with(&server.address(), &options(Some((id, wrong)), last_zxid));
    assert!(matches!(outcome, Err(ClientError::Expired)), "{context}: a wrong password, yet {outcome:?}");
    match RawClient::connect_with(&server.address(), &options(Some(story.session), last_zxid)) {
        Ok(client) => {
            assert_eq!((client.session(), client.password()), story.session, "{context}");
            Some(client)
        }
        Err(ClientError::Expired) => None,
        Err(error) => panic!("{context}: {error}; {}", server.log_tail()),
    }
}

/// Reads what the story left behind, which some prefix of its writes must explain.
fn check_tree(observer: &mut RawClient, story: &Story, ended: bool, context: &str) -> Tree {
    let found = read_tree(observer, &story.base);
    if let Err(why) = find_prefix(&story.writes, &story.acknowledged, ended, &found) {
        panic!("{context}: {} ({:?}): {why}", story.base, story.fate);
    }
    found
}

/// Waits until nothing below the story's base belongs to its session; tells whether anything did.
fn wait_until_expired(observer: &mut RawClient, story: &Story, context: &str) -> bool {
    let begin = Instant::now();
    let mut waited = false;
    loop {
        observer.take_events();
        match observer.get_children(&story.base, true) {
            Ok(_) => {}
            // Not even the base was created.
            Err(error) if error.refusal().is_some() => return false,
            Err(error) => panic!("{context}: {error}"),
        }
        if !read_tree(observer, &story.base).values().any(|node| node.ephemeral) {
            return waited;
        }
        let left = WAIT.saturating_sub(begin.elapsed());
        let event = observer.next_event(left).unwrap();
        assert!(event.is_some(), "{context}: ephemerals of {} outlive their session", story.base);
        waited = true;
    }
}

/// Reads the znodes at and below `base`, two levels deep, as the plans make them.
fn read_tree(client: &mut RawClient, base: &str) -> Tree {
    let mut tree = Tree::new();
    let mut todo = vec![base.to_owned()];
    while let Some(path) = todo.pop() {
        let (data, stat) = match client.get_data(&path, false) {
            Ok(found) => found,
            // Gone since its parent was listed, or never there.
            Err(error) if error.refusal().is_some() => continue,
            Err(error) => panic!("{path}: {error}"),
        };
        if stat.num_children > 0 {
            let children = client.get_children(&path, false).unwrap();
            todo.extend(children.iter().map(|name| format!("{path}/{name}")));
        }
        let node = Node {
            data: data.unwrap_or_default(),
            version: stat.version,
            ephemeral: stat.ephemeral_owner != 0,
            czxid: Some(stat.czxid),
            mzxid: Some(stat.mzxid),
        };
        tree.insert(path, node);
    }
    tree
}

fn options(resume: Option<(SessionId, [u8; 16])>, last_zxid_seen: i64) -> ConnectOptions {
    ConnectOptions { timeout_ms: TIMEOUT_MAX_MS, resume, last_zxid_seen, wait: WAIT, ..ConnectOptions::default() }
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Lets time pass without giving up the processor: a sleep is too coarse for the moment of a kill.
fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}
