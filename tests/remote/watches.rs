//! Watches and lost connections.

use std::sync::{Arc, Mutex, mpsc};

use zoarium::handle::{Event, Options, Reply, State, WatchMode, code};
use zoarium::jute::{decode, encoded};
use zoarium::records::replies::DataReply;
use zoarium::records::requests::PathWatchRequest;
use zoarium::records::{CreateMode, EventType, OpCode};

use crate::kit::*;

pub fn every_kind_of_watch_outlives_a_lost_connection(site: &Site) {
    let (proxy, writer, events) = (site.proxy(), site.connect(), Events::new());
    for path in ["/data", "/child", "/standing", "/tree", "/quiet"] {
        create(&writer, path, b"", CreateMode::Persistent);
    }
    let handle = connect(&site.over(&[&proxy.address]), &Options::default());
    let watch = |path, mode, name| handle.watch(path, mode, events.watch(name), LIMIT).unwrap();
    watch("/data", WatchMode::OnceData, "data");
    watch("/new", WatchMode::OnceData, "exist");
    watch("/child", WatchMode::OnceChildren, "child");
    watch("/standing", WatchMode::Persistent, "persistent");
    watch("/tree", WatchMode::Recursive, "recursive");
    watch("/quiet", WatchMode::OnceData, "quiet");
    proxy.refuse(true);
    proxy.cut();
    await_state(&handle, State::Suspended);
    // What one-shot watches would have told is caught up on; standing ones miss what happens meanwhile.
    set(&writer, "/data", b"1");
    create(&writer, "/new", b"", CreateMode::Persistent);
    create(&writer, "/child/x", b"", CreateMode::Persistent);
    proxy.refuse(false);
    handle.wait(LIMIT).unwrap();
    assert_eq!(
        events.sorted(3),
        [
            ("child", EventType::ChildrenChanged, "/child".to_owned()),
            ("data", EventType::DataChanged, "/data".to_owned()),
            ("exist", EventType::Created, "/new".to_owned()),
        ]
    );
    set(&writer, "/standing", b"1");
    create(&writer, "/tree/x", b"", CreateMode::Persistent);
    set(&writer, "/quiet", b"1");
    assert_eq!(
        events.sorted(3),
        [
            ("persistent", EventType::DataChanged, "/standing".to_owned()),
            ("quiet", EventType::DataChanged, "/quiet".to_owned()),
            ("recursive", EventType::Created, "/tree/x".to_owned()),
        ]
    );
    set(&writer, "/data", b"2");
    set(&writer, "/quiet", b"2");
    handle.close(LIMIT).unwrap();
    assert!(events.none(), "one-shot watches are spent");
}

pub fn thousands_of_watches_are_registered_again(site: &Site) {
    // SC-58: more bytes than any server takes in one frame.
    const COUNT: usize = 20_000;
    let (proxy, writer, events) = (site.proxy(), site.connect(), Events::new());
    let handle = connect(&site.over(&[&proxy.address]), &Options::default());
    let path = |n: usize| format!("/{n:090}");
    let (done, finished) = mpsc::channel();
    for n in 0..COUNT {
        let done = done.clone();
        let on_reply = move |reply: Reply| done.send(reply.code).unwrap();
        handle.submit_read_watched(OpCode::Exists, &path(n), events.watch("one"), on_reply).unwrap();
    }
    for _ in 0..COUNT {
        assert_eq!(finished.recv_timeout(PATIENCE), Ok(code::NO_NODE));
    }
    let before = proxy.bytes_up();
    proxy.refuse(true);
    proxy.cut();
    await_state(&handle, State::Suspended);
    create(&writer, &path(7), b"", CreateMode::Persistent);
    proxy.refuse(false);
    assert_eq!(events.next(), ("one", EventType::Created, path(7)));
    for n in [0, COUNT / 2, COUNT - 1] {
        create(&writer, &path(n), b"", CreateMode::Persistent);
        assert_eq!(events.next(), ("one", EventType::Created, path(n)));
    }
    await_that("all of them were sent again", || proxy.bytes_up() - before > COUNT * 90);
    assert!(events.none());
}

pub fn an_event_comes_before_the_reply_to_a_later_read(site: &Site) {
    // G-05
    let (handle, writer) = (site.connect(), site.connect());
    let top = handle.chroot().outer("/").into_owned();
    for round in 1..=50_u32 {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (done, finished) = mpsc::channel();
        let of_watch = Arc::clone(&log);
        let watch = Box::new(move |_: &Event| of_watch.lock().unwrap().push("event"));
        handle.watch("/", WatchMode::OnceData, watch, LIMIT).unwrap();
        writer.submit(OpCode::SetData, &set_body(&top, &round.to_be_bytes()), |_| {}).unwrap();
        loop {
            let (log, done) = (Arc::clone(&log), done.clone());
            let body = encoded(&PathWatchRequest { path: top.as_str().into(), watch: false });
            let on_reply = move |reply: Reply| {
                let data = decode::<DataReply<'_>>(&reply.body).unwrap().data;
                let is_new = data.0 == Some(&round.to_be_bytes());
                log.lock().unwrap().push(if is_new { "new" } else { "old" });
                done.send(is_new).unwrap();
            };
            handle.submit(OpCode::GetData, &body, on_reply).unwrap();
            if finished.recv_timeout(PATIENCE).unwrap() {
                break;
            }
        }
        let log = log.lock().unwrap();
        let event = log.iter().position(|what| *what == "event").unwrap();
        assert!(event < log.iter().position(|what| *what == "new").unwrap(), "{log:?}");
        assert!(log[..event].iter().all(|what| *what == "old"), "{log:?}");
    }
}
