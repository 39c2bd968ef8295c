//! Watches: one event after another, as futures, and by callbacks.

use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use zoarium::{Client, Code, EventType, State, WatchEnd, WatchMode};

use crate::kit::{PATIENCE, Site, block_on, eventually};

fn told(watch: &mut zoarium::Watch) -> (EventType, String) {
    let event = watch.next_within(PATIENCE).expect("an event");
    (event.kind, event.path)
}

#[test]
fn every_mode_tells_what_it_should() {
    let site = Site::start("modes");
    let writer = site.near();
    for (name, client) in site.both() {
        let (root, a) = (format!("/{name}"), format!("/{name}/a"));
        writer.create(&root, b"").unwrap();
        let mut data = client.watch(&a, WatchMode::OnceData).unwrap();
        let mut children = client.watch(&root, WatchMode::OnceChildren).unwrap();
        let mut persistent = client.watch(&root, WatchMode::Persistent).unwrap();
        let mut recursive = client.watch(&root, WatchMode::Recursive).unwrap();
        writer.create(&a, b"").unwrap();
        writer.set(&a, b"1").unwrap();
        writer.set(&root, b"1").unwrap();
        writer.delete(&a).unwrap();
        assert_eq!(told(&mut data), (EventType::Created, a.clone()));
        assert_eq!(told(&mut children), (EventType::ChildrenChanged, root.clone()));
        for kind in [EventType::ChildrenChanged, EventType::DataChanged, EventType::ChildrenChanged] {
            assert_eq!(told(&mut persistent), (kind, root.clone()));
        }
        for (kind, path) in [
            (EventType::Created, &a),
            (EventType::DataChanged, &a),
            (EventType::DataChanged, &root),
            (EventType::Deleted, &a),
        ] {
            assert_eq!(told(&mut recursive), (kind, path.clone()));
        }
        assert_eq!((data.next(), data.end()), (None, Some(WatchEnd::Told)));
        assert_eq!((children.next(), children.end()), (None, Some(WatchEnd::Told)));
        assert_eq!((persistent.try_next(), persistent.end()), (None, None));
        let error = client.watch("/nothing", WatchMode::OnceChildren).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::NoNode, Some("/nothing")));
    }
}

#[test]
fn a_read_leaves_a_watch_without_a_gap() {
    let site = Site::start("read-watched");
    for (name, client) in site.both() {
        let path = format!("/{name}");
        let (stat, mut creation) = client.exists_watched(&path).unwrap();
        assert_eq!(stat, None);
        client.create(&path, b"1").unwrap();
        assert_eq!(told(&mut creation), (EventType::Created, path.clone()));
        let (data, stat, mut change) = client.get_watched(&path).unwrap();
        assert_eq!((&data[..], stat.version), (&b"1"[..], 0));
        let (names, mut list) = client.children_watched(&path).unwrap();
        assert!(names.is_empty());
        client.create(&format!("{path}/a"), b"").unwrap();
        client.set(&path, b"2").unwrap();
        assert_eq!(told(&mut list), (EventType::ChildrenChanged, path.clone()));
        assert_eq!(told(&mut change), (EventType::DataChanged, path.clone()));
        assert_eq!(client.get_watched("/nothing").unwrap_err().code(), Code::NoNode);
    }
}

#[test]
fn events_are_futures_too() {
    let site = Site::start("async-watch");
    for (name, client) in site.both() {
        let client = client.to_async();
        let path = format!("/{name}");
        block_on(async {
            let mut watch = client.watch("/", WatchMode::Recursive).await.unwrap();
            let (_, mut creation) = client.exists_watched(&path).await.unwrap();
            client.create(&path, b"").await.unwrap();
            assert_eq!(creation.next().await.unwrap().kind, EventType::Created);
            let (_, _, mut change) = client.get_watched(&path).await.unwrap();
            let (_, mut list) = client.children_watched(&path).await.unwrap();
            client.set(&path, b"1").await.unwrap();
            client.create(&format!("{path}/a"), b"").await.unwrap();
            assert_eq!(change.next().await.unwrap().kind, EventType::DataChanged);
            assert_eq!(list.next().await.unwrap().kind, EventType::ChildrenChanged);
            assert_eq!(list.next().await, None);
            let kinds = [watch.next().await.unwrap().kind, watch.next().await.unwrap().kind];
            assert_eq!(kinds, [EventType::Created, EventType::DataChanged]);
            // Under tokio as a task: the future may wander.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let task = runtime.spawn(async move { watch.next().await.map(|event| event.path) });
            assert_eq!(task.await.unwrap(), Some(format!("{path}/a")));
            runtime.shutdown_background();
            client.close().await.unwrap();
        });
    }
}

#[test]
fn callbacks_are_told_until_their_guard_is_dropped() {
    let site = Site::start("callbacks");
    for (name, client) in site.both() {
        let path = format!("/{name}");
        let (sender, events) = mpsc::channel();
        let inside = client.clone();
        let guard = client
            .on_event(&path, WatchMode::Persistent, move |event| {
                // A verb that waits, in a callback.
                let data = inside.get(&event.path).map(|(data, _)| data);
                sender.send((event.kind, data.unwrap_or_default())).unwrap();
            })
            .unwrap();
        client.create(&path, b"1").unwrap();
        assert_eq!(events.recv_timeout(PATIENCE), Ok((EventType::Created, b"1".to_vec())));
        drop(guard);
        // Its closure is gone with it, and so is the sender.
        assert_eq!(events.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
        client.set(&path, b"2").unwrap();

        let (sender, events) = mpsc::channel();
        let told = move |event: &zoarium::Event| sender.send(event.kind).unwrap_or_default();
        block_on(client.to_async().on_event(&path, WatchMode::Persistent, told)).unwrap().keep();
        client.set(&path, b"3").unwrap();
        assert_eq!(events.recv_timeout(PATIENCE), Ok(EventType::DataChanged));
    }
}

#[test]
fn a_watch_ends_with_its_session_and_keeps_none_alive() {
    let site = Site::start("watch-ends");
    let client = site.near();
    let mut closed = client.watch("/", WatchMode::Persistent).unwrap();
    client.close().unwrap();
    assert_eq!((closed.next(), closed.end()), (None, Some(WatchEnd::SessionOver)));

    let client = site.far();
    let mut dropped = client.watch("/", WatchMode::Persistent).unwrap();
    let waiting = std::thread::spawn(move || dropped.next());
    drop(client);
    assert_eq!(waiting.join().unwrap(), None);

    let client = site.near();
    let mut expired = client.to_async();
    let mut watch = block_on(expired.watch("/", WatchMode::Persistent)).unwrap();
    site.server().expire(client.session().id).unwrap();
    assert_eq!(block_on(watch.next()), None);
    assert_eq!((watch.end(), client.state()), (Some(WatchEnd::SessionOver), State::Expired));
    expired = site.near().to_async();
    let mut watch = block_on(expired.watch("/", WatchMode::Persistent)).unwrap();
    expired.detach();
    assert_eq!(block_on(watch.next()), None);
}

#[test]
fn a_callback_that_holds_its_client_does_not_keep_it_after_the_close() {
    let site = Site::start("circle");
    let client = site.near();
    let (inside, witness) = (client.clone(), std::sync::Arc::new(()));
    let seen = std::sync::Arc::downgrade(&witness);
    client
        .on_event("/", WatchMode::Persistent, move |_| {
            let _ = (&inside, &witness);
        })
        .unwrap()
        .keep();
    client.close().unwrap();
    assert_eq!(seen.strong_count(), 0);
}

#[test]
fn watches_are_set_again_after_a_lost_connection() {
    let site = Site::start("watch-again");
    for (name, client) in site.both() {
        let (sender, states) = mpsc::channel();
        let told = move |state| sender.send(state).unwrap_or_default();
        let session = client.session();
        client.detach();
        let options = Client::options().resume(session.resume()).on_state(told);
        let client = match name {
            "near" => options.open(site.server()).unwrap(),
            _ => options.connect(&site.address()).unwrap(),
        };
        let mut watch = client.watch(&format!("/{name}"), WatchMode::Persistent).unwrap();
        site.server().disconnect(client.session().id).unwrap();
        while states.recv_timeout(PATIENCE).unwrap() != State::Suspended {}
        while states.recv_timeout(PATIENCE).unwrap() != State::Connected {}
        client.create(&format!("/{name}"), b"").unwrap();
        assert_eq!(told_kind(&mut watch), EventType::Created);
    }
}

fn told_kind(watch: &mut zoarium::Watch) -> EventType {
    told(watch).0
}

#[test]
fn whoever_takes_too_little_is_told_that_events_are_missing() {
    let site = Site::start("too-slow");
    let client = site.near();
    client.create("/a", b"").unwrap();
    let mut watch = client.watch("/a", WatchMode::Persistent).unwrap();
    let writer = client.to_async();
    let mut last = None;
    for _ in 0..65_536 + 10 {
        last = Some(writer.set("/a", b""));
        if last.as_ref().is_some() && watch.end().is_some() {
            break;
        }
    }
    block_on(last.unwrap()).unwrap();
    eventually("the watch ends", || watch.end() == Some(WatchEnd::TooSlow));
    assert_eq!(watch.by_ref().count(), 65_536, "what came before is there");
    assert_eq!(watch.next(), None);
}

#[test]
fn a_future_of_a_watch_that_is_dropped_leaves_no_watch() {
    let site = Site::start("abandoned");
    let client = site.near().to_async();
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut setting = std::pin::pin!(client.watch("/", WatchMode::Persistent));
        // Polled once, so that it is sent; whether or not the answer has come is the same to whoever drops it.
        assert!(matches!(setting.as_mut().poll(&mut context), Poll::Pending | Poll::Ready(_)));
    }
    eventually("the server has no watch left", || {
        let answer = site.server().word(zoarium::four_letter::Word::Wchs).unwrap();
        answer.contains("Total watches:0")
    });
}
