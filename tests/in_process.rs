//! Clients in the server's own process: the same sessions, order, watches, errors and limits as over a socket.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use zoarium::four_letter::Word;
use zoarium::handle::code::Outcome;
use zoarium::handle::load::{BYTES_MAX, JOBS_MAX};
use zoarium::handle::queue::{CallbackQueue, NotRun};
use zoarium::handle::{Chroot, Handle, Options, Refused, Reply, Resume, SizeLimit, State, WatchMode, code};
use zoarium::jute::{Buffer, decode, encoded};
use zoarium::raw::RawClient;
use zoarium::records::replies::{DataReply, StatReply};
use zoarium::records::requests::{CreateRequest, PathRequest, PathVersionRequest, SetDataRequest};
use zoarium::records::{Acl, CreateMode, EventType, OpCode};
use zoarium::{Config, Server};

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// A server with a folder that goes with it.
struct Peer {
    server: Option<Server>,
    folder: PathBuf,
}

impl Peer {
    fn start(name: &str) -> Peer {
        // Two tests that give it the same name run at the same time.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("zoarium-in-process-{name}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        let config = Config { data_dir: folder.clone(), client_port: 0, ..Config::default() };
        Peer { server: Some(Server::start(config).unwrap()), folder }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn open(&self) -> Handle {
        self.open_with(&Options::default())
    }

    fn open_with(&self, options: &Options) -> Handle {
        let handle = Handle::open(Arc::clone(self.server().hub()), options).unwrap();
        handle.wait(LIMIT).unwrap();
        handle
    }

    fn tcp(&self) -> RawClient {
        RawClient::connect(&self.server().addresses()[0].to_string()).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.server.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn create(path: &str, data: &[u8], mode: CreateMode) -> Vec<u8> {
    let acl = Some(vec![Acl::open()]);
    encoded(&CreateRequest { path: path.into(), data: Buffer::new(data), acl, flags: mode.to_i32() })
}

fn set(path: &str, data: &[u8]) -> Vec<u8> {
    encoded(&SetDataRequest { path: path.into(), data: Buffer::new(data), version: -1 })
}

fn data(reply: &Reply) -> Vec<u8> {
    assert_eq!(reply.code, code::OK);
    decode::<DataReply<'_>>(&reply.body).unwrap().data.0.unwrap().to_vec()
}

#[test]
fn what_one_side_writes_the_other_reads() {
    let peer = Peer::start("both");
    let (handle, mut tcp) = (peer.open(), peer.tcp());
    assert_eq!(handle.call(OpCode::Create, &create("/a", b"1", CreateMode::Persistent), LIMIT).code, code::OK);
    assert_eq!(tcp.get_data("/a", false).unwrap().0.unwrap(), b"1");
    tcp.set_data("/a", Some(b"2"), -1).unwrap();
    assert_eq!(data(&handle.read(OpCode::GetData, "/a", LIMIT)), b"2");
    assert_eq!(handle.read(OpCode::GetData, "/b", LIMIT).code, code::NO_NODE);
    let stat = decode::<StatReply>(&handle.read(OpCode::Exists, "/a", LIMIT).body).unwrap().stat;
    assert_eq!(stat, tcp.exists("/a", false).unwrap().unwrap());
}

#[test]
fn a_read_sees_the_writes_of_its_own_session() {
    // G-02: also when the writes were only submitted.
    let peer = Peer::start("own");
    let handle = peer.open();
    handle.call(OpCode::Create, &create("/a", b"", CreateMode::Persistent), LIMIT);
    for round in 0..200_u32 {
        handle.submit(OpCode::SetData, &set("/a", &round.to_be_bytes()), |_| {}).unwrap();
        assert_eq!(data(&handle.read(OpCode::GetData, "/a", LIMIT)), round.to_be_bytes());
    }
}

#[test]
fn an_acl_holds_in_process_too() {
    let peer = Peer::start("acl");
    let (owner, other) = (peer.open(), peer.open());
    assert_eq!(owner.add_auth("digest", b"me:secret", LIMIT).code, code::OK);
    let acl = Some(vec![Acl::new(31, "auth", "")]);
    let request = CreateRequest { path: "/mine".into(), data: Buffer::new(b"x"), acl, flags: 0 };
    assert_eq!(owner.call(OpCode::Create, &encoded(&request), LIMIT).code, code::OK);
    assert_eq!(data(&owner.read(OpCode::GetData, "/mine", LIMIT)), b"x");
    for op in [OpCode::GetData, OpCode::Exists, OpCode::GetChildren2, OpCode::GetAcl] {
        assert_eq!(other.read(op, "/mine", LIMIT).code, -102, "{op}");
    }
    other.add_auth("digest", b"me:secret", LIMIT);
    assert_eq!(data(&other.read(OpCode::GetData, "/mine", LIMIT)), b"x");
}

#[test]
fn the_end_of_a_session_takes_its_ephemerals() {
    let peer = Peer::start("ephemeral");
    let (handle, other) = (peer.open(), peer.open());
    handle.call(OpCode::Create, &create("/e", b"", CreateMode::Ephemeral), LIMIT);
    assert_eq!(other.read(OpCode::Exists, "/e", LIMIT).code, code::OK);
    handle.close(LIMIT).unwrap();
    assert_eq!(other.read(OpCode::Exists, "/e", LIMIT).code, code::NO_NODE);
    assert_eq!(handle.read(OpCode::Exists, "/e", LIMIT).code, code::CLOSED);
    assert_eq!(handle.close(LIMIT), Ok(()), "closing twice is fine");
}

#[test]
fn what_was_detached_while_it_connected_stays_detached() {
    let peer = Peer::start("detach-early");
    let other = peer.open();
    for round in 0..2000 {
        let handle = Handle::open(Arc::clone(peer.server().hub()), &Options::default()).unwrap();
        for _ in 0..(round % 100) * 20 {
            std::hint::spin_loop();
        }
        handle.detach();
        // The loop has been round since.
        assert_eq!(other.call(OpCode::Sync, &encoded(&"/"), LIMIT).code, code::OK);
        assert_eq!(handle.session().state, State::Ended, "in round {round}");
        assert_eq!(handle.call(OpCode::Exists, &encoded(&"/"), LIMIT).code, code::CLOSED, "in round {round}");
    }
}

#[test]
fn a_client_let_go_below_two_callbacks_does_not_wait_for_the_outer_one() {
    // C-07: the queue of the outer callback is not the one that runs the inner callback.
    let peer = Peer::start("nested");
    let outer = peer.open();
    let hub = Arc::clone(peer.server().hub());
    let (told, is_over) = mpsc::channel();
    let job = move |_: Reply| {
        let queue = Arc::new(CallbackQueue::with_descriptor().unwrap());
        let options = Options { queue: Some(Arc::clone(&queue)), ..Options::default() };
        let inner = Handle::open(Arc::clone(&hub), &options).unwrap();
        let beside = Handle::open(hub, &Options::default()).unwrap();
        beside.wait(LIMIT).unwrap();
        beside.submit(OpCode::Sync, &encoded(&"/"), |_| {}).unwrap();
        assert_eq!(beside.call(OpCode::Sync, &encoded(&"/"), LIMIT).code, code::OK, "its callback waits now");
        inner.submit(OpCode::Sync, &encoded(&"/"), move |_| drop(beside)).unwrap();
        assert_eq!(queue.run(1, LIMIT), Ok(1));
        told.send(()).unwrap();
    };
    outer.submit(OpCode::Sync, &encoded(&"/"), job).unwrap();
    is_over.recv_timeout(LIMIT.unwrap()).expect("the inner callback returns");
}

#[test]
fn a_detached_session_is_resumed_with_its_ephemerals() {
    let peer = Peer::start("resume");
    let first = peer.open();
    first.call(OpCode::Create, &create("/e", b"", CreateMode::Ephemeral), LIMIT);
    let session = first.session();
    first.detach();
    assert_eq!(first.session().state, State::Ended);
    assert_eq!(first.read(OpCode::Exists, "/e", LIMIT).code, code::CLOSED, "detached is closed at once");
    let resume = Some(Resume { id: session.id, password: session.password });
    let second = peer.open_with(&Options { resume, ..Options::default() });
    assert_eq!(second.session().id, session.id);
    assert_eq!(second.read(OpCode::Exists, "/e", LIMIT).code, code::OK);

    let wrong = Some(Resume { id: session.id, password: [7; 16] });
    let third =
        Handle::open(Arc::clone(peer.server().hub()), &Options { resume: wrong, ..Options::default() }).unwrap();
    assert_eq!(third.wait(LIMIT), Err(code::SESSION_EXPIRED));
    assert_eq!(second.read(OpCode::Exists, "/e", LIMIT).code, code::OK, "the guess did no harm");
}

#[test]
fn every_watch_mode_tells_what_it_should() {
    let peer = Peer::start("watch");
    let (handle, mut tcp) = (peer.open(), peer.tcp());
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let tell = Arc::new(move |mode: WatchMode, event: &zoarium::handle::Event| {
        tell.lock().unwrap().send((mode, event.kind, event.path.clone())).unwrap();
    });
    tcp.create("/a", None, &[Acl::open()], CreateMode::Persistent).unwrap();
    let mut ids = Vec::new();
    for mode in [WatchMode::OnceData, WatchMode::OnceChildren, WatchMode::Persistent, WatchMode::Recursive] {
        let tell = Arc::clone(&tell);
        ids.push(handle.watch("/a", mode, Box::new(move |event| tell(mode, event)), LIMIT).unwrap());
    }
    let take = |count: usize| {
        let mut events: Vec<_> = (0..count).map(|_| told.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
        events.sort_by_key(|(mode, kind, _)| (*mode as i32, kind.to_i32()));
        events
    };
    let a = || "/a".to_owned();
    tcp.set_data("/a", Some(b"1"), -1).unwrap();
    assert_eq!(
        take(3),
        [
            (WatchMode::OnceData, EventType::DataChanged, a()),
            (WatchMode::Persistent, EventType::DataChanged, a()),
            (WatchMode::Recursive, EventType::DataChanged, a()),
        ]
    );
    tcp.create("/a/b", None, &[Acl::open()], CreateMode::Persistent).unwrap();
    assert_eq!(
        take(3),
        [
            (WatchMode::OnceChildren, EventType::ChildrenChanged, a()),
            (WatchMode::Persistent, EventType::ChildrenChanged, a()),
            (WatchMode::Recursive, EventType::Created, "/a/b".to_owned()),
        ]
    );
    handle.unwatch(ids[2], LIMIT).unwrap();
    assert_eq!(handle.unwatch(ids[2], LIMIT), Err(code::NO_WATCHER));
    assert_eq!(handle.unwatch(ids[0], LIMIT), Err(code::NO_WATCHER), "it was spent");
    tcp.set_data("/a", Some(b"2"), -1).unwrap();
    assert_eq!(take(1), [(WatchMode::Recursive, EventType::DataChanged, a())]);
    handle.close(LIMIT).unwrap();
    assert!(told.try_recv().is_err());
}

#[test]
fn an_event_comes_before_the_reply_to_a_later_read() {
    // G-05
    let peer = Peer::start("order");
    let (handle, writer) = (peer.open(), peer.open());
    writer.call(OpCode::Create, &create("/a", b"0", CreateMode::Persistent), LIMIT);
    for round in 1..=100_u32 {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (done, finished) = mpsc::channel();
        let of_watch = Arc::clone(&log);
        let watch = Box::new(move |_: &zoarium::handle::Event| of_watch.lock().unwrap().push("event"));
        handle.watch("/a", WatchMode::OnceData, watch, LIMIT).unwrap();
        writer.submit(OpCode::SetData, &set("/a", &round.to_be_bytes()), |_| {}).unwrap();
        loop {
            let (log, done) = (Arc::clone(&log), done.clone());
            let body = encoded(&zoarium::records::requests::PathWatchRequest { path: "/a".into(), watch: false });
            let on_reply = move |reply: Reply| {
                let is_new = data(&reply) == round.to_be_bytes();
                log.lock().unwrap().push(if is_new { "new" } else { "old" });
                done.send(is_new).unwrap();
            };
            handle.submit(OpCode::GetData, &body, on_reply).unwrap();
            if finished.recv().unwrap() {
                break;
            }
        }
        let log = log.lock().unwrap();
        let event = log.iter().position(|what| *what == "event").unwrap();
        assert!(event < log.iter().position(|what| *what == "new").unwrap(), "{log:?}");
        assert!(log[..event].iter().all(|what| *what == "old"), "{log:?}");
    }
}

#[test]
fn a_callback_may_block_on_its_own_client() {
    // C-07
    let peer = Peer::start("nested");
    let handle = Arc::new(peer.open());
    let (done, finished) = mpsc::channel();
    let inside = Arc::clone(&handle);
    let body = create("/a", b"x", CreateMode::Persistent);
    handle
        .submit(OpCode::Create, &body, move |reply| {
            assert!(inside.is_in_callback());
            let got = inside.read(OpCode::GetData, "/a", LIMIT);
            let set = inside.call(OpCode::SetData, &set("/a", b"y"), LIMIT);
            // The last reference may go here, in a callback of the handle itself.
            drop(inside);
            done.send((reply.code, data(&got), set.code)).unwrap();
        })
        .unwrap();
    assert_eq!(finished.recv_timeout(Duration::from_secs(20)).unwrap(), (0, b"x".to_vec(), 0));
}

#[test]
fn every_request_is_answered_before_close_returns() {
    // C-08
    let peer = Peer::start("pending");
    let handle = peer.open();
    let answered = Arc::new(AtomicUsize::new(0));
    for n in 0..1000 {
        let answered = Arc::clone(&answered);
        let body = create(&format!("/n{n}"), b"", CreateMode::Persistent);
        handle
            .submit(OpCode::Create, &body, move |_| {
                answered.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
    }
    handle.close(LIMIT).unwrap();
    assert_eq!(answered.load(Ordering::SeqCst), 1000);
}

#[test]
fn a_server_that_stops_tells_its_clients() {
    let mut peer = Peer::start("stop");
    let states = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&states);
    let on_state: Arc<dyn Fn(State) + Send + Sync> = Arc::new(move |state| seen.lock().unwrap().push(state));
    let handle = peer.open_with(&Options { on_state: Some(on_state), ..Options::default() });
    peer.server.take().unwrap().stop().unwrap();
    assert_eq!(handle.call(OpCode::Create, &create("/a", b"", CreateMode::Persistent), LIMIT).code, code::CLOSED);
    assert_eq!(handle.read(OpCode::GetData, "/", LIMIT).code, code::CLOSED);
    handle.close(LIMIT).unwrap();
    assert_eq!(*states.lock().unwrap(), [State::Connected, State::Ended]);
}

#[test]
fn a_request_beyond_the_limit_is_refused_and_the_session_is_untouched() {
    let states = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&states);
    let peer = Peer::start("large");
    let on_state = Arc::new(move |state| seen.lock().unwrap().push(state));
    let handle = peer.open_with(&Options { on_state: Some(on_state), ..Options::default() });
    let huge = create("/huge", &vec![0; 2 << 20], CreateMode::Persistent);
    let reply = handle.call(OpCode::Create, &huge, LIMIT);
    let (size, limit) = (8 + huge.len() as u32, SizeLimit::Server(0xf_ffff));
    assert_eq!((reply.code, reply.unsent), (code::BAD_ARGUMENTS, Some(Refused::TooLarge { size, limit })));
    assert_eq!(reply.outcome(), Outcome::NotDone);
    let sentence = reply.unsent.unwrap().to_string();
    assert!(sentence.contains("jute.maxbuffer of 1048575") && sentence.contains(&size.to_string()), "{sentence}");
    assert_eq!(handle.read(OpCode::Exists, "/huge", LIMIT).code, code::NO_NODE);
    drop(handle);
    assert_eq!(*states.lock().unwrap(), [State::Connected, State::Ended]);
}

#[test]
fn a_write_too_large_for_the_files_extents_is_refused_alone() {
    let mut peer = Peer::start("extents");
    drop(peer.server.take());
    let config = Config { data_dir: peer.folder.clone(), client_port: 0, jute_maxbuffer: 8 << 20, ..Config::default() };
    peer.server = Some(Server::start(config).unwrap());
    let (handle, other) = (peer.open(), peer.open());
    let (done, answered) = mpsc::channel();
    for size in [3 << 20, 1 << 20] {
        let request = create(&format!("/of-{size}"), &vec![0; size], CreateMode::Persistent);
        let (ours, theirs) = (done.clone(), done.clone());
        let body = create("/small-", b"", CreateMode::PersistentSequential);
        other.submit(OpCode::Create, &body, move |reply| theirs.send(("small", reply.code)).unwrap()).unwrap();
        handle.submit(OpCode::Create, &request, move |reply| ours.send(("large", reply.code)).unwrap()).unwrap();
    }
    let mut codes: Vec<_> = (0..4).map(|_| answered.recv_timeout(LIMIT.unwrap()).unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, [("large", code::BAD_ARGUMENTS), ("large", code::OK), ("small", code::OK), ("small", code::OK)]);
}

#[test]
fn a_lost_connection_costs_what_was_under_way_and_not_the_session() {
    let peer = Peer::start("cut");
    let handle = peer.open();
    handle.call(OpCode::Create, &create("/e", b"", CreateMode::Ephemeral), LIMIT);
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let watch = Box::new(move |event: &zoarium::handle::Event| tell.lock().unwrap().send(event.kind).unwrap());
    handle.watch("/e", WatchMode::OnceData, watch, LIMIT).unwrap();
    assert_eq!(peer.server().disconnect(handle.session().id), Ok(true));
    assert_eq!(handle.call(OpCode::SetData, &set("/e", b"1"), LIMIT).code, code::OK);
    assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(EventType::DataChanged), "the watch was set again");
}

/// A number behind a label of a four-letter word's answer.
fn number(text: &str, label: &str) -> u64 {
    let rest = text.split(label).nth(1).unwrap_or_else(|| panic!("{text} has no {label}"));
    rest.trim_start().chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn reads_past_the_loop_are_counted_as_packets() {
    const READS: u64 = 1000;
    let peer = Peer::start("counted");
    let handle = peer.open();
    handle.wait(LIMIT).unwrap();
    let ask = |word: &[u8; 4]| peer.server().word(Word::from_bytes(*word).unwrap()).unwrap();
    let before = ask(b"srvr");
    for _ in 0..READS {
        assert_eq!(handle.read(OpCode::Exists, "/", LIMIT).code, code::OK);
    }
    let after = ask(b"srvr");
    for label in ["Received:", "Sent:"] {
        assert_eq!(number(&after, label) - number(&before, label), READS, "{before}{after}");
    }
    assert!(number(&ask(b"mntr"), "zk_packets_received") >= READS);
    assert!(number(&ask(b"cons"), "recved=") >= READS, "{}", ask(b"cons"));
    // What is counted stays counted when the client goes, and `srst` forgets it like everything else.
    handle.read(OpCode::Exists, "/", LIMIT);
    drop(handle);
    let gone = ask(b"srvr");
    assert!(number(&gone, "Received:") > number(&after, "Received:"), "{gone}");
    let other = peer.open();
    other.wait(LIMIT).unwrap();
    other.read(OpCode::Exists, "/", LIMIT);
    ask(b"srst");
    assert!(number(&ask(b"srvr"), "Received:") < READS, "{}", ask(b"srvr"));
}

#[test]
fn an_idle_session_in_process_does_not_expire() {
    let folder = std::env::temp_dir().join(format!("zoarium-in-process-idle-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let config = Config { data_dir: folder.clone(), client_port: 0, tick_time_ms: 20, ..Config::default() };
    let peer = Peer { server: Some(Server::start(config).unwrap()), folder };
    let handle = peer.open_with(&Options { session_timeout_ms: 40, ..Options::default() });
    assert_eq!(handle.session().timeout_ms, 40);
    handle.call(OpCode::Create, &create("/e", b"", CreateMode::Ephemeral), LIMIT);
    // A session over TCP that nobody keeps alive shows that time enough has passed.
    let options = zoarium::raw::ConnectOptions { timeout_ms: 200, ..Default::default() };
    let begins = || {
        let mut witness = RawClient::connect_with(&peer.server().addresses()[0].to_string(), &options)?;
        witness.create("/w", None, &[Acl::open()], CreateMode::Ephemeral)
    };
    // On a busy machine one may be over before it has said anything.
    while begins().is_err() {}
    while handle.read(OpCode::Exists, "/w", LIMIT).code == code::OK {
        std::thread::yield_now();
    }
    assert_eq!(handle.read(OpCode::Exists, "/e", LIMIT).code, code::OK);
}

#[test]
fn a_read_of_a_frozen_server_keeps_its_limit() {
    let peer = Peer::start("frozen");
    let handle = peer.open();
    // However long; and what is asked for once that has returned waits.
    peer.server().pause(Duration::MAX);
    let begin = std::time::Instant::now();
    assert_eq!(handle.read(OpCode::GetData, "/", Some(Duration::from_millis(100))).code, code::TIMEOUT);
    assert!(begin.elapsed() < Duration::from_secs(20));
    peer.server().request_stop();
}

#[test]
fn a_chroot_is_invisible_from_inside() {
    let peer = Peer::start("chroot");
    let outside = peer.open();
    outside.call(OpCode::Create, &create("/app", b"top", CreateMode::Persistent), LIMIT);
    let inside = peer.open_with(&Options { chroot: Chroot::new("/app").unwrap(), ..Options::default() });
    assert_eq!(data(&inside.read(OpCode::GetData, "/", LIMIT)), b"top");
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let watch = Box::new(move |event: &zoarium::handle::Event| tell.lock().unwrap().send(event.path.clone()).unwrap());
    inside.watch("/x", WatchMode::OnceData, watch, LIMIT).unwrap();
    outside.call(OpCode::Create, &create("/app/x", b"", CreateMode::Persistent), LIMIT);
    assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap(), "/x");
}

#[test]
fn a_queue_runs_callbacks_where_it_is_told_to() {
    let peer = Peer::start("queue");
    let queue = Arc::new(CallbackQueue::with_descriptor().unwrap());
    let handle = peer.open_with(&Options { queue: Some(Arc::clone(&queue)), ..Options::default() });
    assert!(queue.descriptor().is_some());
    let here = std::thread::current().id();
    let (done, finished) = mpsc::channel();
    let nested = Arc::clone(&queue);
    let body = create("/a", b"", CreateMode::Persistent);
    handle
        .submit(OpCode::Create, &body, move |reply| {
            assert_eq!(nested.run(1, None), Err(NotRun::Nested));
            done.send((std::thread::current().id(), reply.code)).unwrap();
        })
        .unwrap();
    assert_eq!(queue.run(64, LIMIT), Ok(1));
    assert_eq!(finished.try_recv().unwrap(), (here, code::OK));
    assert_eq!(queue.run(64, Some(Duration::ZERO)), Ok(0));

    // Nobody runs the queue: close does, for its own client.
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let body = encoded(&PathVersionRequest { path: "/a".into(), version: -1 });
    let on_reply = move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    handle.submit(OpCode::Delete, &body, on_reply).unwrap();
    handle.close(LIMIT).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn readers_see_whole_turns_while_a_writer_works() {
    // G-13
    let peer = Peer::start("readers");
    let writer = peer.open();
    writer.call(OpCode::Create, &create("/a", b"00000000", CreateMode::Persistent), LIMIT);
    let stop = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = peer.open();
                let (mut last, mut last_zxid) = (0, 0);
                while stop.load(Ordering::SeqCst) == 0 {
                    let reply = reader.read(OpCode::GetData, "/a", LIMIT);
                    let value: u64 = String::from_utf8(data(&reply)).unwrap().parse().unwrap();
                    assert!(value >= last && reply.zxid >= last_zxid, "time went backwards");
                    (last, last_zxid) = (value, reply.zxid);
                }
            });
        }
        for round in 1..=500_u64 {
            let code = writer.call(OpCode::SetData, &set("/a", format!("{round:08}").as_bytes()), LIMIT).code;
            assert_eq!(code, code::OK);
        }
        stop.store(1, Ordering::SeqCst);
    });
}

#[test]
fn the_callback_thread_goes_with_the_last_client() {
    // C-15. Other tests of this process hold clients too, so this looks at what one round leaves.
    let peer = Peer::start("rounds");
    for round in 0..300 {
        let handle = peer.open();
        let path = PathRequest { path: "/".into() };
        assert_eq!(handle.call(OpCode::Sync, &encoded(&path), LIMIT).code, code::OK, "{round}");
    }
    let status = peer.server().status().unwrap();
    assert_eq!((status.engine.sessions, status.engine.connections), (0, 0));
}

#[test]
fn a_storm_that_nobody_drains_stays_within_bounds_and_loses_nothing() {
    //
    const CHANGES: usize = 25_000;
    let peer = Peer::start("storm");
    let writer = peer.open();
    writer.call(OpCode::Create, &create("/a", b"", CreateMode::Persistent), LIMIT);
    let address = peer.server().addresses()[0].to_string();
    for over_tcp in [false, true] {
        let queue = Arc::new(CallbackQueue::with_descriptor().unwrap());
        let options = Options { queue: Some(Arc::clone(&queue)), ..Options::default() };
        let watcher = if over_tcp { Handle::connect(&address, &options).unwrap() } else { peer.open_with(&options) };
        let zxids = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&zxids);
        let on_event = move |event: &zoarium::handle::Event| seen.lock().unwrap().push(event.zxid);
        watcher.watch("/a", WatchMode::Persistent, Box::new(on_event), LIMIT).unwrap();
        let (done, answered) = mpsc::channel();
        for _ in 0..CHANGES {
            let done = done.clone();
            writer.submit(OpCode::SetData, &set("/a", b"x"), move |reply| done.send(reply.code).unwrap()).unwrap();
        }
        for _ in 0..CHANGES {
            assert_eq!(answered.recv_timeout(LIMIT.unwrap()), Ok(code::OK));
        }
        // Over TCP the last of them may still be on their way.
        let deadline = std::time::Instant::now() + LIMIT.unwrap();
        while watcher.backlog().0 < JOBS_MAX && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        let (jobs, bytes) = watcher.backlog();
        assert!((JOBS_MAX..2 * JOBS_MAX).contains(&jobs), "{jobs} wait");
        assert!(bytes < BYTES_MAX);
        // A thread that waits is answered all the same, or a callback that waits would never return.
        assert_eq!(watcher.call(OpCode::Sync, &encoded(&PathRequest { path: "/".into() }), LIMIT).code, code::OK);
        while zxids.lock().unwrap().len() < CHANGES {
            assert!(queue.run(1000, LIMIT).unwrap() > 0, "only {} events", zxids.lock().unwrap().len());
        }
        assert!(watcher.session().state == State::Connected && watcher.backlog() == (0, 0));
        let zxids = zxids.lock().unwrap();
        assert!(zxids.len() == CHANGES && zxids.is_sorted(), "each once, in order");
    }
}

#[test]
fn a_client_that_is_full_goes_on_when_it_is_drained() {
    // nobody waits and nothing else happens, so the queue itself has to say that there is room.
    const REQUESTS: usize = 3 * JOBS_MAX;
    let peer = Peer::start("full");
    let address = peer.server().addresses()[0].to_string();
    for over_tcp in [false, true] {
        let queue = Arc::new(CallbackQueue::with_descriptor().unwrap());
        let options = Options { queue: Some(Arc::clone(&queue)), ..Options::default() };
        let handle = if over_tcp { Handle::connect(&address, &options).unwrap() } else { peer.open_with(&options) };
        let answers = Arc::new(AtomicUsize::new(0));
        let body = encoded(&PathRequest { path: "/".into() });
        for _ in 0..REQUESTS {
            let answers = Arc::clone(&answers);
            handle
                .submit(OpCode::Sync, &body, move |_| {
                    let _ = answers.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
        }
        while handle.backlog().0 < JOBS_MAX {
            std::thread::yield_now();
        }
        while answers.load(Ordering::SeqCst) < REQUESTS {
            assert!(queue.run(100, LIMIT).unwrap() > 0, "only {answers:?} answers");
            assert!(handle.backlog().0 < 2 * JOBS_MAX);
        }
    }
}
