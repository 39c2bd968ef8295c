//! Recipes: what they promise under contention, lost connections, expired sessions, and giving up.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zoarium::recipes::{Barrier, CacheEvent, Counter, DoubleBarrier, Election, Lock, Queue, TreeCache};
use zoarium::{Client, Code, CreateOptions, State, WatchMode};

use crate::kit::{PATIENCE, Site, block_on, eventually};

const SOON: Duration = Duration::from_millis(20);

#[test]
fn one_at_a_time_holds_a_lock_and_fences_grow() {
    let site = Site::start("lock");
    let (inside, last) = (AtomicUsize::new(0), AtomicI64::new(0));
    std::thread::scope(|scope| {
        for round in 0..6 {
            let (site, inside, last) = (&site, &inside, &last);
            scope.spawn(move || {
                let client = if round % 2 == 0 { site.near() } else { site.far() };
                let lock = Lock::new(&client, "/locks/a").identifier(format!("{round}"));
                for _ in 0..10 {
                    let guard = lock.acquire().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody else is inside");
                    assert!(last.swap(guard.fence(), Ordering::SeqCst) < guard.fence());
                    assert_eq!(guard.check().unwrap(), guard.fence());
                    inside.fetch_sub(1, Ordering::SeqCst);
                    assert!(guard.release().unwrap());
                }
            });
        }
    });
    assert_eq!(Lock::new(&site.near(), "/locks/a").contenders().unwrap(), [""; 0]);
}

#[test]
fn a_lock_is_given_in_the_order_in_which_it_was_asked_for() {
    let site = Site::start("order");
    let client = site.near();
    let first = Lock::new(&client, "/l").identifier("first").acquire().unwrap();
    let (told, order) = mpsc::channel();
    let watcher = Lock::new(&client, "/l");
    std::thread::scope(|scope| {
        for name in ["second", "third"] {
            let (told, client) = (told.clone(), site.far());
            scope.spawn(move || {
                let guard = Lock::new(&client, "/l").identifier(name).acquire().unwrap();
                told.send(name).unwrap();
                drop(guard);
            });
            eventually("it stands in line", || watcher.contenders().unwrap().contains(&name.to_owned()));
        }
        assert_eq!(watcher.contenders().unwrap(), ["first", "second", "third"]);
        drop(first);
        assert_eq!(order.recv_timeout(PATIENCE), Ok("second"));
        assert_eq!(order.recv_timeout(PATIENCE), Ok("third"));
    });
}

#[test]
fn whoever_gives_up_leaves_nothing_behind() {
    let site = Site::start("gives-up");
    let (one, other) = (site.near(), site.far());
    let (mine, theirs) = (Lock::new(&one, "/l"), Lock::new(&other, "/l"));
    let guard = mine.acquire().unwrap();
    assert!(theirs.try_acquire().unwrap().is_none());
    assert!(theirs.acquire_within(SOON).unwrap().is_none());
    // A future that is dropped while it waits.
    let lock = Lock::new(&other.to_async(), "/l");
    let mut waiting = Box::pin(lock.acquire());
    block_on(async {
        for _ in 0..20 {
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context))).await;
            assert!(polled.is_pending());
            one.to_async().sync("/").await.unwrap();
        }
    });
    drop(waiting);
    eventually("only the holder is left", || one.children("/l").unwrap().len() == 1);
    assert!(guard.release().unwrap());
    assert!(theirs.try_acquire().unwrap().is_some());
}

#[test]
fn a_lock_is_lost_with_its_session_and_with_its_znode() {
    let site = Site::start("lost");
    for (name, client) in site.both() {
        let path = format!("/{name}");
        let (told, lost) = mpsc::channel();
        let lock = Lock::new(&client, &path).on_lost(move || told.send(()).unwrap());
        let guard = lock.acquire().unwrap();
        let child = client.children(&path).unwrap().remove(0);
        site.near().delete(&format!("{path}/{child}")).unwrap();
        lost.recv_timeout(PATIENCE).unwrap();
        assert_eq!(guard.check().unwrap_err().code(), Code::NoNode);
        assert!(!guard.release().unwrap(), "it was lost before");

        let guard = lock.acquire().unwrap();
        site.server().expire(client.session().id).unwrap();
        block_on(guard.lost());
        lost.recv_timeout(PATIENCE).unwrap();
        assert_eq!(guard.check().unwrap_err().code(), Code::SessionExpired);
        assert_eq!(lock.acquire().unwrap_err().code(), Code::SessionExpired);
    }
}

#[test]
fn a_lock_outlives_a_lost_connection_and_not_a_server_that_stays_away() {
    let mut site = Site::start_with("away", |config| config.tick_time_ms = 100);
    let options = Client::options().session_timeout(Duration::from_millis(400));
    let client = options.connect(&site.address()).unwrap();
    let (told, lost) = mpsc::channel();
    let lock = Lock::new(&client, "/l").on_lost(move || told.send(()).unwrap());
    let guard = lock.acquire().unwrap();
    site.server().disconnect(client.session().id).unwrap();
    eventually("the session goes on", || client.exists("/l").is_ok_and(|stat| stat.is_some()));
    assert!(guard.is_held());
    site.stop();
    lost.recv_timeout(PATIENCE).unwrap();
    assert_eq!(guard.check().unwrap_err().code(), Code::ConnectionLoss);
    assert_eq!(client.state(), State::Suspended, "nobody has said that the session is over");
    client.detach();
}

#[test]
fn connections_lost_while_many_contend_lose_no_lock_and_no_count() {
    let site = Site::start("storm");
    let (inside, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let clients: Vec<Client> = (0..3).map(|_| site.far()).collect();
    std::thread::scope(|scope| {
        for client in &clients {
            let (inside, done) = (&inside, &done);
            scope.spawn(move || {
                let lock = Lock::new(client, "/l");
                for _ in 0..15 {
                    let guard = lock.acquire().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    let _ = guard.release().unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // Where a thread fails, nobody will be done.
        let deadline = Instant::now() + 2 * PATIENCE;
        let mut turn = 0;
        while done.load(Ordering::SeqCst) < 45 && Instant::now() < deadline {
            let before = done.load(Ordering::SeqCst);
            let _ = site.server().disconnect(clients[turn % 3].session().id);
            turn += 1;
            while done.load(Ordering::SeqCst) == before && Instant::now() < deadline {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(done.load(Ordering::SeqCst), 45);
    let client = site.near();
    eventually("nothing is left behind", || client.children("/l").unwrap().is_empty());
}

#[test]
fn one_leads_at_a_time() {
    let site = Site::start("election");
    let (one, other) = (site.near(), site.far());
    let first = Election::new(&one, "/leader", "one");
    let second = Election::new(&other, "/leader", "other");
    let leadership = first.lead().unwrap();
    assert!(second.lead_within(SOON).unwrap().is_none());
    assert_eq!(second.contenders().unwrap(), ["one"]);
    site.server().expire(one.session().id).unwrap();
    let next = second.lead().unwrap();
    assert!(next.fence() > leadership.fence() && next.is_held());
    let async_client = site.near().to_async();
    let third = Election::new(&async_client, "/leader", "third");
    drop(next);
    let led = block_on(third.lead()).unwrap();
    assert_eq!(block_on(third.contenders()).unwrap(), ["third"]);
    assert!(block_on(led.release()).unwrap());
}

#[test]
fn no_count_is_lost_and_none_is_made_twice() {
    let site = Site::start("counter");
    std::thread::scope(|scope| {
        for round in 0..4 {
            let site = &site;
            scope.spawn(move || {
                let client = if round % 2 == 0 { site.near() } else { site.far() };
                let counter = Counter::new(&client, "/hits/all");
                for _ in 0..25 {
                    counter.add(2).unwrap();
                }
            });
        }
    });
    let client = site.near();
    let counter = Counter::new(&client, "/hits/all");
    assert_eq!(counter.value().unwrap(), 200);
    assert_eq!(block_on(Counter::new(&client.to_async(), "/hits/all").add(-1)).unwrap(), 199);
    assert_eq!(counter.add(i64::MAX).unwrap_err().code(), Code::BadArguments);
    client.set("/hits/all", "many").unwrap();
    assert_eq!(counter.value().unwrap_err().code(), Code::MarshallingError);
}

#[test]
fn a_barrier_stands_until_it_is_removed() {
    let site = Site::start("barrier");
    let (one, other) = (site.near(), site.far());
    let (mine, theirs) = (Barrier::new(&one, "/b/c"), Barrier::new(&other, "/b/c"));
    theirs.wait().unwrap();
    mine.create().unwrap();
    mine.create().unwrap();
    assert!(!theirs.wait_within(SOON).unwrap());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| theirs.wait_within(PATIENCE).unwrap());
        assert!(mine.remove().unwrap());
        assert!(waiting.join().unwrap());
    });
    assert!(!mine.remove().unwrap());
    block_on(Barrier::new(&one.to_async(), "/b/c").wait()).unwrap();
}

#[test]
fn all_enter_and_leave_a_double_barrier_together() {
    let site = Site::start("double");
    let (inside, outside) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let lonely = site.near();
    assert!(DoubleBarrier::new(&lonely, "/step", 3).enter_within(SOON).unwrap().is_none());
    eventually("whoever gave up is out", || lonely.children("/step").unwrap().is_empty());
    for round in 1..=3 {
        std::thread::scope(|scope| {
            for number in 0..3 {
                let (site, inside, outside) = (&site, &inside, &outside);
                scope.spawn(move || {
                    let client = if number == 0 { site.near() } else { site.far() };
                    let barrier = DoubleBarrier::new(&client, "/step", 3);
                    inside.fetch_add(1, Ordering::SeqCst);
                    let all = barrier.enter().unwrap();
                    assert_eq!(inside.load(Ordering::SeqCst), 3 * round, "all have come");
                    outside.fetch_add(1, Ordering::SeqCst);
                    all.leave().unwrap();
                    assert_eq!(outside.load(Ordering::SeqCst), 3 * round, "all have left");
                    client.close().unwrap();
                });
            }
        });
    }
}

#[test]
fn each_entry_of_a_queue_is_taken_once_in_order() {
    let site = Site::start("queue");
    let client = site.near();
    let queue = Queue::new(&client, "/jobs");
    assert_eq!((queue.try_take().unwrap(), queue.len().unwrap()), (None, 0));
    assert_eq!(queue.take_within(SOON).unwrap(), None);
    queue.put("b").unwrap();
    queue.put("c").unwrap();
    queue.put_with_priority("a", 0).unwrap();
    assert_eq!(queue.put_with_priority("x", 1000).unwrap_err().code(), Code::BadArguments);
    assert_eq!(queue.len().unwrap(), 3);
    for expected in ["a", "b", "c"] {
        assert_eq!(queue.take().unwrap(), expected.as_bytes());
    }
    let taken = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let client = site.far();
                    let queue = Queue::new(&client, "/jobs");
                    let mut mine = Vec::new();
                    loop {
                        match queue.take().unwrap() {
                            entry if entry == b"end" => return mine,
                            entry => mine.push(entry),
                        }
                    }
                })
            })
            .collect();
        for number in 0..30 {
            queue.put(format!("{number:02}")).unwrap();
        }
        for _ in 0..3 {
            queue.put("end").unwrap();
        }
        let mut all: Vec<Vec<u8>> = takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect();
        all.sort();
        all
    });
    let expected: Vec<Vec<u8>> = (0..30).map(|number| format!("{number:02}").into_bytes()).collect();
    assert_eq!(taken, expected);
    let queue = Queue::new(&client.to_async(), "/jobs");
    block_on(async {
        queue.put(b"x").await.unwrap();
        queue.wait().await.unwrap();
        assert_eq!(queue.take().await.unwrap(), b"x");
        assert_eq!(queue.try_take().await.unwrap(), None);
        assert!(queue.is_empty().await.unwrap());
    });
}

#[test]
fn a_cache_follows_its_subtree() {
    let site = Site::start("cache");
    let writer = site.near();
    writer.ensure_path("/root/a/b").unwrap();
    for (_, client) in site.both() {
        let (told, events) = mpsc::channel();
        let cache = TreeCache::with_listener(&client, "/root", move |event| {
            let text = match event {
                CacheEvent::Added(path, _) => format!("+{path}"),
                CacheEvent::Updated(path, znode) => format!("{path}={}", String::from_utf8_lossy(&znode.data)),
                CacheEvent::Removed(path, _) => format!("-{path}"),
                other => format!("{other:?}"),
            };
            told.send(text).unwrap();
        })
        .unwrap();
        let next = || events.recv_timeout(PATIENCE).unwrap();
        let mut first: Vec<String> = (0..4).map(|_| next()).collect();
        assert_eq!(first.pop().unwrap(), "Loaded");
        first.sort();
        assert_eq!(first, ["+/root", "+/root/a", "+/root/a/b"]);
        assert_eq!(cache.children("/root"), Some(vec!["a".to_owned()]));
        writer.create("/root/c", b"1").unwrap();
        assert_eq!(next(), "+/root/c");
        writer.set("/root/c", b"2").unwrap();
        assert_eq!(next(), "/root/c=2");
        assert_eq!(cache.get("/root/c").map(|znode| znode.stat.version), Some(1));
        writer.delete("/root/c").unwrap();
        assert_eq!(next(), "-/root/c");
        assert_eq!((cache.get("/root/c"), cache.len()), (None, 3));

        // What happens while there is no connection is found out.
        site.server().disconnect(client.session().id).unwrap();
        writer.create("/root/d", b"").unwrap();
        let mut heard = Vec::new();
        while !(heard.contains(&"Reconnected".to_owned()) && heard.contains(&"+/root/d".to_owned())) {
            heard.push(next());
        }
        writer.delete("/root/d").unwrap();
        while next() != "-/root/d" {}
        client.close().unwrap();
        assert_eq!(next(), "SessionOver");
        assert_eq!(cache.len(), 3, "it stays as it is");
    }
    let client = site.near().to_async();
    let cache = block_on(TreeCache::new_async(&client, "/nothing")).unwrap();
    assert!(cache.is_empty());
    writer.ensure_path("/nothing/at/all").unwrap();
    eventually("all of it is there", || cache.len() == 3);
    drop(cache);
    let denied = CreateOptions::new().acl([zoarium::Acl::new(zoarium::Permissions::CREATE, "world", "anyone")]);
    writer.create_with("/nothing/denied", b"", &denied).unwrap();
    let (told, events) = mpsc::channel();
    let listener = move |event: CacheEvent<'_>| {
        if let CacheEvent::Failed(path, error) = event {
            let _ = told.send((path.to_owned(), error.code()));
        }
    };
    let _cache = block_on(TreeCache::with_listener_async(&client, "/nothing", listener)).unwrap();
    assert_eq!(events.recv_timeout(PATIENCE).unwrap(), ("/nothing/denied".to_owned(), Code::NoAuth));
}

#[test]
fn what_waits_for_callbacks_is_refused_in_one() {
    let site = Site::start("in-callback");
    let client = site.near();
    let (told, results) = mpsc::channel();
    let inside = client.clone();
    let guard = client
        .on_event("/a", WatchMode::OnceData, move |_| {
            let lock = Lock::new(&inside, "/l").acquire().map(drop).unwrap_err();
            let barrier = Barrier::new(&inside, "/a").wait().unwrap_err();
            told.send([lock.code(), barrier.code()]).unwrap();
        })
        .unwrap();
    client.create("/a", b"").unwrap();
    assert_eq!(results.recv_timeout(PATIENCE), Ok([Code::WouldDeadlock; 2]));
    drop(guard);
}
