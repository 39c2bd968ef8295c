//! Recipes that many hold or share: read/write locks, semaphores, parties.

use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use zoarium::Code;
use zoarium::recipes::{Lock, Party, ReadWriteLock, Semaphore};

use crate::kit::{PATIENCE, Site, block_on, eventually};

const SOON: Duration = Duration::from_millis(20);

#[test]
fn readers_share_and_a_writer_is_alone() {
    let site = Site::start("rw-storm");
    // Readers count up, a writer takes away so much that nobody else can be inside.
    let inside = AtomicIsize::new(0);
    let together = AtomicIsize::new(0);
    std::thread::scope(|scope| {
        for round in 0..6 {
            let (site, inside, together) = (&site, &inside, &together);
            scope.spawn(move || {
                let client = if round % 2 == 0 { site.near() } else { site.far() };
                let lock = ReadWriteLock::new(&client, "/rw");
                for _ in 0..8 {
                    if round < 4 {
                        let guard = lock.read().acquire().unwrap();
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        assert!(now > 0, "a writer is inside");
                        together.fetch_max(now, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    } else {
                        let guard = lock.write().acquire().unwrap();
                        assert_eq!(inside.fetch_sub(100, Ordering::SeqCst), 0, "somebody else is inside");
                        inside.fetch_add(100, Ordering::SeqCst);
                        assert!(guard.release().unwrap());
                    }
                }
            });
        }
    });
    assert!(together.load(Ordering::SeqCst) >= 1);
}

#[test]
fn a_writer_that_waits_is_not_overtaken_by_readers() {
    let site = Site::start("rw-order");
    let (client, other) = (site.near(), site.far());
    let lock = ReadWriteLock::new(&client, "/rw");
    let (one, two) = (lock.read().acquire().unwrap(), lock.read().acquire().unwrap());
    assert!(lock.write().try_acquire().unwrap().is_none());
    std::thread::scope(|scope| {
        let (told, order) = mpsc::channel();
        let tell = told.clone();
        scope.spawn(move || {
            let lock = ReadWriteLock::new(&other, "/rw");
            let guard = lock.write().identifier("writer").acquire().unwrap();
            tell.send("writer").unwrap();
            guard.release().unwrap();
        });
        eventually("the writer stands in line", || lock.read().contenders().unwrap().contains(&"writer".to_owned()));
        assert!(lock.read().acquire_within(SOON).unwrap().is_none(), "it would overtake the writer");
        assert!(Lock::new(&client, "/rw").try_acquire().unwrap().is_none(), "a plain lock excludes writers");
        drop((one, two));
        assert_eq!(order.recv_timeout(PATIENCE), Ok("writer"));
        drop(told);
    });
    let read = lock.read().acquire().unwrap();
    assert!(read.is_held() && read.release().unwrap());
}

#[test]
fn a_semaphore_has_so_many_holders_and_no_more() {
    let site = Site::start("semaphore");
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for round in 0..6 {
            let (site, inside, most) = (&site, &inside, &most);
            scope.spawn(move || {
                let client = if round % 2 == 0 { site.near() } else { site.far() };
                let semaphore = Semaphore::new(&client, "/deep/s", 2);
                for _ in 0..6 {
                    let guard = semaphore.acquire().unwrap();
                    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(now <= 2, "{now} are inside");
                    most.fetch_max(now, Ordering::SeqCst);
                    guard.check().unwrap();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    assert!(guard.release().unwrap());
                }
            });
        }
    });
    let client = site.near();
    assert_eq!(Semaphore::new(&client, "/deep/s", 2).holders().unwrap(), [""; 0]);
    let refused = Semaphore::new(&client, "/deep/s", 3).acquire();
    assert_eq!(refused.map(drop).unwrap_err().code(), Code::BadArguments);
    eventually("nobody is left in line", || client.children("/deep/s-__lock__").unwrap().is_empty());
}

#[test]
fn a_lease_is_free_again_when_its_holder_is_gone_or_gives_up() {
    let site = Site::start("semaphore-gone");
    let (one, other) = (site.near(), site.far());
    let (told, lost) = mpsc::channel();
    let mine = Semaphore::new(&one, "/s", 1).identifier("one").on_lost(move || told.send(()).unwrap());
    let theirs = Semaphore::new(&other, "/s", 1);
    let guard = mine.acquire().unwrap();
    assert_eq!(theirs.holders().unwrap(), ["one"]);
    assert!(theirs.try_acquire().unwrap().is_none());
    assert!(theirs.acquire_within(SOON).unwrap().is_none());
    // A future that is dropped while it waits for a lease.
    let semaphore = Semaphore::new(&other.to_async(), "/s", 1);
    let mut waiting = Box::pin(semaphore.acquire());
    block_on(async {
        for _ in 0..20 {
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context))).await;
            assert!(polled.is_pending());
            one.to_async().sync("/").await.unwrap();
        }
    });
    drop(waiting);
    site.server().expire(one.session().id).unwrap();
    assert_eq!(lost.recv_timeout(PATIENCE), Ok(()));
    assert!(!guard.is_held());
    let theirs = theirs.acquire_within(PATIENCE).unwrap().expect("the lease is free");
    assert!(theirs.fence() > guard.fence());
    drop(theirs);
    eventually("nothing is left behind", || {
        other.children("/s").unwrap().is_empty() && other.children("/s-__lock__").unwrap().is_empty()
    });
}

#[test]
fn a_party_has_those_who_are_here() {
    let site = Site::start("party");
    let (one, other) = (site.near(), site.far());
    for is_shallow in [false, true] {
        let make = |client, name| match is_shallow {
            false => Party::new(client, "/p/deep", name),
            true => Party::shallow(client, "/p/shallow", name),
        };
        let (mine, theirs) = (make(&one, "me-1"), make(&other, "they"));
        assert!(mine.is_empty().unwrap());
        let here = mine.join().unwrap();
        let there = theirs.join().unwrap();
        let mut members = mine.members().unwrap();
        members.sort();
        assert_eq!(members, ["me-1", "they"]);
        assert_eq!(theirs.len().unwrap(), 2);
        assert!(there.release().unwrap());
        assert_eq!(mine.members().unwrap(), ["me-1"]);
        drop(here);
        eventually("it has left", || theirs.is_empty().unwrap());
    }
    let refused = Party::shallow(&one, "/p", "no/name").join();
    assert_eq!(refused.map(drop).unwrap_err().code(), Code::BadArguments);
}

#[test]
fn a_member_whose_session_ends_is_here_no_more_and_is_told() {
    let site = Site::start("party-lost");
    let (one, other) = (site.near(), site.far());
    let (told, lost) = mpsc::channel();
    let party = Party::new(&one, "/p", "one").on_lost(move || told.send(()).unwrap());
    let here = party.join().unwrap();
    site.server().expire(one.session().id).unwrap();
    assert_eq!(lost.recv_timeout(PATIENCE), Ok(()));
    assert!(!here.is_held());
    assert_eq!(Party::new(&other, "/p", "").members().unwrap(), [""; 0]);
    assert!(party.join().is_err());
}
