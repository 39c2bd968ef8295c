//! Lost connections, and what becomes of requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use zoarium::handle::{Options, Refused, Reply, State, code};
use zoarium::records::replies::StatReply;
use zoarium::records::{CreateMode, OpCode};

use crate::fake::Fake;
use crate::kit::*;

pub fn the_next_host_takes_over(site: &Site) {
    let (one, two) = (site.proxy(), site.proxy());
    let states = States::default();
    let handle = connect(&site.over(&[NOBODY, &one.address, &two.address]), &states.options(Options::default()));
    create(&handle, "/e", b"", CreateMode::Ephemeral);
    let session = handle.session().id;
    let mut is_one = one.bytes_up() > 0;
    for _ in 0..6 {
        let (from, to) = if is_one { (&one, &two) } else { (&two, &one) };
        is_one = !is_one;
        to.refuse(false);
        from.refuse(true);
        let before = to.accepted();
        from.cut();
        await_that("the other host", || set(&handle, "/e", b"x").code == code::OK && to.accepted() > before);
        assert_eq!(handle.session().id, session);
        assert!(exists(&handle, "/e"));
    }
    let seen = states.seen();
    assert!(seen.iter().all(|state| matches!(state, State::Connected | State::Suspended)), "{seen:?}");
    assert!(seen.windows(2).all(|two| two[0] != two[1]), "each change is told once: {seen:?}");
}

pub fn what_was_sent_is_lost_and_what_was_not_waits(site: &Site) {
    let proxy = site.proxy();
    let handle = connect(&site.over(&[&proxy.address]), &Options::default());
    let top = handle.chroot().outer("/").into_owned();
    let (done, finished) = mpsc::channel();
    let submit = |name: &'static str, data: &[u8]| {
        let done = done.clone();
        handle.submit(OpCode::SetData, &set_body(&top, data), move |reply| done.send((name, reply.code)).unwrap())
    };
    proxy.hold_replies(true);
    let before = proxy.bytes_up();
    let body = set_body(&top, b"sent");
    submit("sent", b"sent").unwrap();
    await_that("the request on the wire", || proxy.bytes_up() >= before + 12 + body.len());
    proxy.refuse(true);
    proxy.cut();
    assert_eq!(finished.recv_timeout(PATIENCE), Ok(("sent", code::CONNECTION_LOSS)));
    await_state(&handle, State::Suspended);
    submit("waiting", b"waited").unwrap();
    proxy.hold_replies(false);
    proxy.refuse(false);
    assert_eq!(finished.recv_timeout(PATIENCE), Ok(("waiting", code::OK)));
    assert_eq!(get(&handle, "/"), b"waited");
    // Version 2: the first was carried out, as it happens, and neither was twice.
    let stat =
        zoarium::jute::decode::<zoarium::records::replies::StatReply>(&handle.read(OpCode::Exists, "/", LIMIT).body);
    assert_eq!(stat.unwrap().stat.version, 2);
}

pub fn what_is_asked_for_while_suspended_is_done_afterwards_in_order(site: &Site) {
    let proxy = site.proxy();
    let handle = connect(&site.over(&[&proxy.address]), &Options::default());
    proxy.refuse(true);
    proxy.cut();
    await_state(&handle, State::Suspended);
    let order = Arc::new(Mutex::new(Vec::new()));
    for n in 0..100 {
        let order = Arc::clone(&order);
        let path = handle.chroot().outer("/s-").into_owned();
        let body = create_body(&path, b"", CreateMode::PersistentSequential);
        let on_reply = move |reply: Reply| {
            assert_eq!(reply.code, code::OK);
            let name = String::from_utf8_lossy(&reply.body).into_owned();
            order.lock().unwrap().push((n, name));
        };
        handle.submit(OpCode::Create, &body, on_reply).unwrap();
    }
    proxy.refuse(false);
    assert_eq!(set(&handle, "/", b"").code, code::OK);
    handle.close(LIMIT).unwrap();
    let order = order.lock().unwrap();
    for (n, (asked, name)) in order.iter().enumerate() {
        assert_eq!(n, *asked);
        assert!(name.ends_with(&format!("s-{n:010}")), "{name}");
    }
    assert_eq!(order.len(), 100);
}

pub fn every_request_is_answered_once_however_often_the_connection_goes(site: &Site) {
    const COUNT: usize = 3000;
    let proxy = site.proxy();
    let handle = connect(&site.over(&[&proxy.address]), &Options::default());
    let codes = Arc::new(Mutex::new(vec![None; COUNT]));
    for n in 0..COUNT {
        let codes = Arc::clone(&codes);
        let path = handle.chroot().outer(&format!("/n{n}")).into_owned();
        let on_reply = move |reply: Reply| {
            let before = codes.lock().unwrap()[n].replace(reply.code);
            assert_eq!(before, None, "answered twice");
        };
        handle.submit(OpCode::Create, &create_body(&path, b"", CreateMode::Persistent), on_reply).unwrap();
        if n % 500 == 250 {
            let before = proxy.accepted();
            proxy.cut();
            if n % 1000 == 250 {
                await_that("another connection", || proxy.accepted() > before);
            }
        }
    }
    assert!(exists_patiently(&handle, "/"));
    handle.close(LIMIT).unwrap();
    let reader = site.connect();
    let codes = codes.lock().unwrap();
    for (n, code) in codes.iter().enumerate() {
        match code.expect("every request is answered") {
            code::OK => assert!(exists(&reader, &format!("/n{n}")), "{n}"),
            code => assert_eq!(code, code::CONNECTION_LOSS, "{n}: an own create sent twice would find itself"),
        }
    }
}

pub fn no_write_is_carried_out_twice(site: &Site) {
    const CLIENTS: usize = 8;
    const ROUNDS_MAX: usize = 50_000;
    let proxy = site.proxy();
    let (running, all_lost, states) = (AtomicUsize::new(CLIENTS), AtomicUsize::new(0), States::default());
    // However fast the machine is, connections go under writes.
    let was_cut = || all_lost.load(Ordering::SeqCst) > 0 && states.seen().len() > 2;
    let tallies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let (proxy, running, all_lost, states, was_cut) = (&proxy, &running, &all_lost, &states, &was_cut);
                scope.spawn(move || {
                    let options = if n == 0 { states.options(Options::default()) } else { Options::default() };
                    let handle = connect(&site.over(&[&proxy.address]), &options);
                    let path = format!("/counted-{n}");
                    while !matches!(create(&handle, &path, b"", CreateMode::Ephemeral).code, code::OK | NODE_EXISTS) {}
                    let (mut carried_out, mut unknown) = (0, 0);
                    for round in 0..ROUNDS_MAX {
                        if round >= 150 && was_cut() {
                            break;
                        }
                        match set(&handle, &path, b"x").code {
                            code::OK => carried_out += 1,
                            code::CONNECTION_LOSS => {
                                unknown += 1;
                                all_lost.fetch_add(1, Ordering::SeqCst);
                            }
                            code => panic!("round {round}: {code}"),
                        }
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                    (handle, path, carried_out, unknown)
                })
            })
            .collect();
        while running.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(50));
            proxy.cut();
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for (handle, path, carried_out, unknown) in &tallies {
        assert!(exists_patiently(handle, path));
        let reply = handle.read(OpCode::Exists, path, LIMIT);
        let version = zoarium::jute::decode::<StatReply>(&reply.body).unwrap().stat.version;
        assert!((*carried_out..=carried_out + unknown).contains(&version), "{carried_out} <= {version} <= +{unknown}");
    }
    assert!(all_lost.load(Ordering::SeqCst) > 0, "no write was under way when the connection went");
    let seen = states.seen();
    assert!(seen.len() > 2 && seen.windows(2).all(|two| two[0] != two[1]), "{seen:?}");
}

/// ZooKeeper's number.
const NODE_EXISTS: i32 = -110;

fn exists_patiently(handle: &zoarium::handle::Handle, path: &str) -> bool {
    loop {
        match handle.read(OpCode::Exists, path, LIMIT).code {
            code::CONNECTION_LOSS => {}
            code => return code == code::OK,
        }
    }
}

#[test]
fn what_may_wait_is_limited_in_bytes() {
    // A server that takes connections and says nothing.
    let fake = Fake::start(|talk| {
        talk.linger();
        Ok(())
    });
    let handle = zoarium::handle::Handle::connect(&fake.address, &short(60_000)).unwrap();
    let body = set_body("/", &vec![0; 1 << 20]);
    let answered = Count::default();
    let mut taken = 0;
    let refused = loop {
        let answered = answered.clone();
        let on_reply = move |reply: Reply| {
            assert_eq!(reply.code, code::CLOSED);
            answered.add();
        };
        match handle.submit(OpCode::SetData, &body, on_reply) {
            Ok(()) => taken += 1,
            Err(code) => break code,
        }
        assert!(taken <= 64, "64 MiB are the most");
    };
    assert_eq!(refused, Refused::Full);
    assert!(taken >= 60, "{taken}");
    let _ = handle.close(LIMIT);
    assert_eq!(answered.get(), taken);
}
