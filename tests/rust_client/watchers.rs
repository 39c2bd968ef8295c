//! Recipes that tell of entries and states: queues whose entries are held, watchers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use zoarium::Code;
use zoarium::recipes::{ChildrenWatch, DataWatch, LockingQueue};

use crate::kit::{PATIENCE, Site, block_on, eventually};

const SOON: Duration = Duration::from_millis(20);

#[test]
fn every_entry_is_consumed_once() {
    const COUNT: usize = 40;
    let site = Site::start("entries");
    let consumed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for round in 0..4 {
            let (site, consumed) = (&site, &consumed);
            scope.spawn(move || {
                let client = if round % 2 == 0 { site.near() } else { site.far() };
                let queue = LockingQueue::new(&client, "/q");
                if round == 0 {
                    (0..COUNT / 2).for_each(|n| queue.put(n.to_string()).unwrap());
                    queue.put_all((COUNT / 2..COUNT).map(|n| n.to_string())).unwrap();
                }
                while consumed.lock().unwrap().len() < COUNT {
                    let Some(entry) = queue.take_within(SOON).unwrap() else { continue };
                    let text = String::from_utf8(entry.data().to_vec()).unwrap();
                    if text.ends_with('3') && round == 1 {
                        assert!(entry.release().unwrap());
                    } else if entry.consume().unwrap() {
                        consumed.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let consumed = consumed.into_inner().unwrap();
    assert_eq!(consumed.len(), COUNT);
    assert_eq!(consumed.iter().collect::<BTreeSet<_>>().len(), COUNT, "{consumed:?}");
    let client = site.near();
    assert!(LockingQueue::new(&client, "/q").is_empty().unwrap());
    eventually("no mark is left", || client.children("/q/taken").unwrap().is_empty());
}

#[test]
fn entries_come_by_priority_and_those_that_are_held_do_not() {
    let site = Site::start("entries-order");
    let (one, other) = (site.near(), site.far());
    let (mine, theirs) = (LockingQueue::new(&one, "/q"), LockingQueue::new(&other, "/q"));
    assert!(mine.try_take().unwrap().is_none());
    assert!(mine.take_within(SOON).unwrap().is_none());
    mine.put("later").unwrap();
    mine.put_with_priority("now", 0).unwrap();
    assert_eq!(mine.put_with_priority("x", 1000).unwrap_err().code(), Code::BadArguments);
    let now = mine.take().unwrap();
    let later = theirs.take().unwrap();
    assert_eq!((now.data(), later.data()), (&b"now"[..], &b"later"[..]));
    assert!(theirs.try_take().unwrap().is_none());
    assert_eq!(theirs.len().unwrap(), 2, "those that are held count");
    drop(now);
    let now = theirs.take_within(PATIENCE).unwrap().expect("it was given back");
    assert_eq!(now.data(), b"now");
    assert!(now.consume().unwrap() && later.consume().unwrap());
    assert!(mine.is_empty().unwrap());
}

#[test]
fn an_entry_whose_holder_is_gone_is_anothers_and_the_first_cannot_consume_it() {
    let site = Site::start("entries-gone");
    let (one, other) = (site.far(), site.near());
    let (mine, theirs) = (LockingQueue::new(&one, "/q"), LockingQueue::new(&other, "/q"));
    mine.put("x").unwrap();
    let entry = mine.take().unwrap();
    site.server().expire(one.session().id).unwrap();
    let again = theirs.take_within(PATIENCE).unwrap().expect("nobody holds it");
    assert_eq!(again.data(), b"x");
    block_on(entry.lost());
    assert!(!entry.is_held());
    assert!(!matches!(entry.consume(), Ok(true)));
    // A mark that somebody else has deleted is no hold either.
    let mark = other.children("/q/taken").unwrap().remove(0);
    other.delete(&format!("/q/taken/{mark}")).unwrap();
    assert!(!again.consume().unwrap());
    assert_eq!(theirs.len().unwrap(), 1, "the entry is still there");
    assert!(theirs.take().unwrap().consume().unwrap());
}

#[test]
fn whoever_gives_up_waiting_for_an_entry_holds_none() {
    let site = Site::start("entries-drop");
    let client = site.far();
    let queue = LockingQueue::new(&client.to_async(), "/q");
    let blocking = LockingQueue::new(&client, "/q");
    for steps in 0..12 {
        blocking.put("x").unwrap();
        // Dropped after so many steps, wherever it is then.
        let mut waiting = Box::pin(queue.take());
        let mut entry = None;
        block_on(async {
            for _ in 0..steps {
                let poll = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context))).await;
                if let std::task::Poll::Ready(taken) = poll {
                    entry = Some(taken.unwrap());
                    break;
                }
                client.to_async().sync("/").await.unwrap();
            }
        });
        drop((entry, waiting));
        let entry = blocking.take_within(PATIENCE).unwrap().expect("it is there for whoever takes it");
        assert!(entry.consume().unwrap());
    }
}

#[test]
fn a_data_watch_tells_of_the_last_state_and_never_twice_at_a_time() {
    let site = Site::start("data-watch");
    for (name, client) in site.both() {
        let path = format!("/{name}");
        let (told, last) = mpsc::channel();
        let inside = Arc::new(AtomicUsize::new(0));
        let watcher = DataWatch::new(&client, &path, move |found| {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            let data = found.unwrap().map(|(data, stat)| (data.to_vec(), stat.version));
            inside.fetch_sub(1, Ordering::SeqCst);
            told.send(data).ok();
        })
        .unwrap();
        assert_eq!(last.recv_timeout(PATIENCE), Ok(None));
        client.create(&path, "0").unwrap();
        (1..=100).for_each(|n| assert_eq!(client.set(&path, n.to_string()).unwrap().version, n));
        let mut seen = Vec::new();
        while seen.last() != Some(&100) {
            let (data, version) = last.recv_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!(String::from_utf8(data).unwrap(), version.to_string());
            seen.push(version);
        }
        assert!(seen.is_sorted() && seen.windows(2).all(|two| two[0] != two[1]), "{seen:?}");
        client.delete(&path).unwrap();
        assert_eq!(last.recv_timeout(PATIENCE), Ok(None));
        // Created anew with the same version is another state.
        client.create(&path, "again").unwrap();
        assert_eq!(last.recv_timeout(PATIENCE), Ok(Some((b"again".to_vec(), 0))));
        drop(watcher);
        client.set(&path, "unheard").unwrap();
        client.sync("/").unwrap();
        assert!(last.recv_timeout(SOON).is_err(), "it has ended");
    }
}

#[test]
fn watchers_see_what_changed_while_the_connection_was_lost() {
    let site = Site::start("watch-lost");
    let (client, other) = (site.far(), site.near());
    other.create("/w", "0").unwrap();
    let (told, last) = mpsc::channel();
    let tell = told.clone();
    let data = DataWatch::new(&client, "/w", move |found| {
        tell.send(String::from_utf8(found.unwrap().unwrap().0.to_vec()).unwrap()).unwrap();
    })
    .unwrap();
    let children =
        ChildrenWatch::new(&client, "/w", move |found| told.send(found.unwrap().join(",")).unwrap()).unwrap();
    assert_eq!(last.recv_timeout(PATIENCE).as_deref(), Ok("0"));
    assert_eq!(last.recv_timeout(PATIENCE).as_deref(), Ok(""));
    for round in 1..=5 {
        site.server().disconnect(client.session().id).unwrap();
        other.set("/w", round.to_string()).unwrap();
        other.create(&format!("/w/{round}"), "").unwrap();
        let mut due: BTreeSet<String> =
            [round.to_string(), (1..=round).map(|n| n.to_string()).collect::<Vec<_>>().join(",")].into();
        while !due.is_empty() {
            due.remove(&last.recv_timeout(PATIENCE).unwrap());
        }
    }
    drop((data, children));
}

#[test]
fn a_watcher_says_when_nothing_more_can_come() {
    let site = Site::start("watch-end");
    let (client, other) = (site.near(), site.far());
    let watch = ChildrenWatch::new(&client, "/none", |_| {});
    assert_eq!(watch.map(drop).unwrap_err().code(), Code::NoNode);
    client.create("/w", "").unwrap();
    let (told, last) = mpsc::channel();
    let tell = told.clone();
    let children =
        ChildrenWatch::new(&client, "/w", move |found| tell.send(found.map(drop).map_err(|e| e.code())).unwrap())
            .unwrap();
    assert_eq!(last.recv_timeout(PATIENCE), Ok(Ok(())));
    other.delete("/w").unwrap();
    assert_eq!(last.recv_timeout(PATIENCE), Ok(Err(Code::NoNode)));
    let data = block_on(DataWatch::new_async(&client.to_async(), "/w", move |found| {
        told.send(found.map(drop).map_err(|error| error.code())).unwrap();
    }))
    .unwrap();
    assert_eq!(last.recv_timeout(PATIENCE), Ok(Ok(())));
    site.server().expire(client.session().id).unwrap();
    assert_eq!(last.recv_timeout(PATIENCE), Ok(Err(Code::SessionExpired)));
    let late = DataWatch::new(&client, "/w", |_| {});
    assert_eq!(late.map(drop).unwrap_err().code(), Code::SessionExpired);
    drop((children, data));
}
