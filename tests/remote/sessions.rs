//! Sessions: begun, resumed, expired, refused.

use std::time::{Duration, Instant};

use zoarium::handle::{Chroot, Handle, Options, Resume, State, WatchMode, code};
use zoarium::jute::{decode, encoded};
use zoarium::records::replies::{AclReply, ChildrenStatReply};
use zoarium::records::requests::{CreateRequest, PathRequest};
use zoarium::records::{Acl, CreateMode, EventType, OpCode};

use crate::kit::*;

pub fn everyday_operations_work(site: &Site) {
    let handle = site.connect();
    assert_eq!(create(&handle, "/a", b"1", CreateMode::Persistent).code, code::OK);
    assert_eq!(create(&handle, "/a", b"1", CreateMode::Persistent).code, -110);
    assert_eq!(get(&handle, "/a"), b"1");
    assert_eq!(set(&handle, "/a", b"2").code, code::OK);
    assert_eq!(get(&handle, "/a"), b"2");
    for name in ["/a/x", "/a/y"] {
        assert_eq!(create(&handle, name, b"", CreateMode::Ephemeral).code, code::OK);
    }
    let reply = handle.read(OpCode::GetChildren2, "/a", LIMIT);
    let mut names: Vec<_> = decode::<ChildrenStatReply<'_>>(&reply.body)
        .unwrap()
        .names
        .iter()
        .map(|name| name.as_str().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["x", "y"]);
    let acl = handle.read(OpCode::GetAcl, "/a", LIMIT);
    assert_eq!(decode::<AclReply<'_>>(&acl.body).unwrap().acl, [Acl::open()]);
    assert_eq!(delete(&handle, "/a").code, -111);
    assert_eq!(delete(&handle, "/a/x").code, code::OK);
    assert!(!exists(&handle, "/a/x"));
    let path = handle.chroot().outer("/a").into_owned();
    assert_eq!(handle.call(OpCode::Sync, &encoded(&PathRequest { path: path.as_str().into() }), LIMIT).code, code::OK);
    let session = handle.session();
    assert_eq!((session.state, session.timeout_ms), (State::Connected, 10_000));
    assert!(session.last_zxid.0 > 0);
    handle.close(LIMIT).unwrap();
    assert_eq!(handle.close(LIMIT), Ok(()), "closing twice is fine");
    assert_eq!(handle.read(OpCode::Exists, "/a", LIMIT).code, code::CLOSED);
    assert!(!exists(&site.connect(), "/a/y"), "the session took its ephemeral along");
}

pub fn a_chroot_in_the_hosts_and_one_in_the_options_add_up(site: &Site) {
    let outside = site.connect();
    create(&outside, "/in", b"top", CreateMode::Persistent);
    let options = Options { chroot: Chroot::new("/in").unwrap(), ..Options::default() };
    let inside = connect(&site.hosts(), &options);
    assert_eq!(inside.chroot().as_str(), format!("{}/in", site.chroot));
    assert_eq!(get(&inside, "/"), b"top");
    let events = Events::new();
    inside.watch("/x", WatchMode::OnceData, events.watch("x"), LIMIT).unwrap();
    create(&outside, "/in/x", b"", CreateMode::Persistent);
    assert_eq!(events.next(), ("x", EventType::Created, "/x".to_owned()));
}

pub fn a_detached_session_is_resumed_with_its_ephemerals(site: &Site) {
    // SC-40
    let first = site.connect();
    create(&first, "/e", b"", CreateMode::Ephemeral);
    let session = first.session();
    first.detach();
    assert_eq!(first.session().state, State::Ended);
    assert_eq!(set(&first, "/e", b"x").code, code::CLOSED);
    let resume = Some(Resume { id: session.id, password: session.password });
    let second = connect(&site.hosts(), &Options { resume, ..Options::default() });
    assert_eq!(second.session().id, session.id);
    assert!(exists(&second, "/e"));
    second.close(LIMIT).unwrap();
    assert!(!exists(&site.connect(), "/e"));
}

pub fn a_wrong_password_is_an_expired_session(site: &Site) {
    // SC-40
    let owner = site.connect();
    create(&owner, "/e", b"", CreateMode::Ephemeral);
    let resume = Some(Resume { id: owner.session().id, password: [9; 16] });
    let states = States::default();
    let guess = Handle::connect(&site.hosts(), &states.options(Options { resume, ..Options::default() })).unwrap();
    assert_eq!(guess.wait(LIMIT), Err(code::SESSION_EXPIRED));
    assert_eq!(set(&guess, "/e", b"x").code, code::SESSION_EXPIRED);
    guess.close(LIMIT).unwrap();
    assert_eq!(states.seen(), [State::Expired]);
    // ZooKeeper cuts the owner's connection before it looks at the password; the session lives on either way.
    await_that("the owner's session", || owner.read(OpCode::Exists, "/e", LIMIT).code == code::OK);
}

pub fn a_session_that_nobody_kept_alive_has_expired(site: &Site) {
    let (proxy, states) = (site.proxy(), States::default());
    let handle = connect(&site.over(&[&proxy.address]), &states.options(short(2000)));
    assert_eq!(create(&handle, "/e", b"", CreateMode::Ephemeral).code, code::OK);
    let other = site.connect();
    proxy.refuse(true);
    proxy.cut();
    await_that("the end of the ephemeral", || !exists(&other, "/e"));
    assert_eq!(handle.session().state, State::Suspended, "nobody said so yet");
    let waiting = Count::default();
    let answered = waiting.clone();
    let body = set_body(&site.chroot, b"late");
    handle
        .submit(OpCode::SetData, &body, move |reply| {
            assert_eq!(reply.code, code::SESSION_EXPIRED);
            answered.add();
        })
        .unwrap();
    proxy.refuse(false);
    await_state(&handle, State::Expired);
    assert_eq!(handle.wait(LIMIT), Err(code::SESSION_EXPIRED));
    assert_eq!(set(&handle, "/", b"later").code, code::SESSION_EXPIRED);
    handle.close(LIMIT).unwrap();
    assert_eq!(waiting.get(), 1);
    assert_eq!(states.seen(), [State::Connected, State::Suspended, State::Expired]);
    assert_eq!(get(&other, "/"), b"");
}

pub fn an_idle_session_is_kept_alive(site: &Site) {
    let states = States::default();
    let handle = connect(&site.hosts(), &states.options(short(2000)));
    assert_eq!(handle.session().timeout_ms, 2000);
    create(&handle, "/e", b"", CreateMode::Ephemeral);
    // Three times the session's time, and a tick.
    let until = Instant::now() + Duration::from_millis(6200);
    let other = site.connect();
    while Instant::now() < until {
        assert!(exists(&other, "/e"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(states.seen(), [State::Connected], "without a lost connection");
}

pub fn a_refused_identity_ends_the_session(site: &Site) {
    let states = States::default();
    let handle = connect(&site.hosts(), &states.options(Options::default()));
    assert_eq!(handle.add_auth("no-such-scheme", b"x", LIMIT).code, code::AUTH_FAILED);
    await_state(&handle, State::AuthFailed);
    assert_eq!(set(&handle, "/", b"x").code, code::AUTH_FAILED);
    handle.close(LIMIT).unwrap();
    assert_eq!(states.seen(), [State::Connected, State::AuthFailed]);

    // Also one that is said before there is a connection.
    let early = Handle::connect(&site.hosts(), &Options::default()).unwrap();
    assert_eq!(early.add_auth("no-such-scheme", b"x", LIMIT).code, code::AUTH_FAILED);
    await_state(&early, State::AuthFailed);
    assert_eq!(early.wait(LIMIT), Err(code::AUTH_FAILED));
}

pub fn identities_are_said_again(site: &Site) {
    let proxy = site.proxy();
    let handle = Handle::connect(&site.over(&[&proxy.address]), &Options::default()).unwrap();
    assert_eq!(handle.add_auth("digest", b"me:secret", LIMIT).code, code::OK, "before the connection stands");
    let path = handle.chroot().outer("/mine").into_owned();
    let acl = Some(vec![Acl::new(31, "auth", "")]);
    let body = CreateRequest { path: path.as_str().into(), data: Default::default(), acl, flags: 0 };
    assert_eq!(handle.call(OpCode::Create, &encoded(&body), LIMIT).code, code::OK);
    assert_eq!(site.connect().read(OpCode::GetData, "/mine", LIMIT).code, -102);
    for _ in 0..3 {
        proxy.cut();
        await_that("a read with the identity", || {
            let code = handle.read(OpCode::GetData, "/mine", LIMIT).code;
            assert!(matches!(code, code::OK | code::CONNECTION_LOSS), "{code}");
            code == code::OK
        });
    }
}

pub fn a_frame_beyond_the_servers_limit_costs_the_connection_and_not_the_session(site: &Site) {
    // as in the server's own process.
    let handle = site.connect();
    create(&handle, "/e", b"", CreateMode::Ephemeral);
    let events = Events::new();
    handle.watch("/e", WatchMode::OnceData, events.watch("e"), LIMIT).unwrap();
    let huge = create(&handle, "/huge", &vec![0; 2 << 20], CreateMode::Persistent);
    assert_eq!(huge.code, code::CONNECTION_LOSS);
    assert_eq!(set(&handle, "/e", b"1").code, code::OK);
    assert_eq!(events.next(), ("e", EventType::DataChanged, "/e".to_owned()), "the watch was set again");
}

pub fn a_hundred_clients_share_two_threads(site: &Site) {
    let handles: Vec<Handle> = (0..100).map(|_| Handle::connect(&site.hosts(), &Options::default()).unwrap()).collect();
    for (n, handle) in handles.iter().enumerate() {
        handle.wait(LIMIT).unwrap();
        assert_eq!(create(handle, &format!("/{n}"), b"", CreateMode::Ephemeral).code, code::OK);
    }
    let names: Vec<String> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .collect();
    for name in ["zoarium-io\n", "zoarium-callbac\n"] {
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{names:?}");
    }
}
