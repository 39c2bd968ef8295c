//! Steps that only together mean something.

use crate::pools;
use crate::render::bytes;
use crate::script::{SUPER_SLOT, Script, races};
use crate::side::SLOTS;
use crate::step::{Body, Password, Request, Session, Step};

fn create(script: &mut Script, op: i32, path: &str, data: Option<&[u8]>, flags: i32) -> Request {
    let body = Body::new().buf(Some(path.as_bytes())).buf(data).acl(&pools::open_acl()).i32(flags);
    script.request(op, body, format!("{} {path} flags {flags}", crate::requests::name(op)))
}

fn delete(script: &mut Script, path: &str) -> Request {
    script.request(2, Body::new().buf(Some(path.as_bytes())).i32(-1), format!("delete {path}"))
}

fn get_data(script: &mut Script, path: &str, watch: u8) -> Request {
    script.request(4, Body::new().buf(Some(path.as_bytes())).byte(watch), format!("getData {path} watch {watch}"))
}

fn set_data(script: &mut Script, path: &str, data: &[u8]) -> Request {
    let body = Body::new().buf(Some(path.as_bytes())).buf(Some(data)).i32(-1);
    script.request(5, body, format!("setData {path} {}", bytes(data)))
}

fn set_acl_open(script: &mut Script, path: &str) -> Request {
    let body = Body::new().buf(Some(path.as_bytes())).acl(&pools::open_acl()).i32(-1);
    script.request(7, body, format!("setACL {path} open"))
}

fn push(script: &mut Script, slot: usize, requests: Vec<Request>) {
    let step = script.send(slot, requests);
    script.queue.push_back(step);
}

/// Super deletes what is there and makes the roots anew.
pub fn clean_up(script: &mut Script) {
    let login = script.login(SUPER_SLOT, "digest", pools::SUPER.as_bytes());
    script.queue.push_back(login);
    let opened = ["/", "/zookeeper", "/zookeeper/quota"].map(|path| set_acl_open(script, path));
    push(script, SUPER_SLOT, opened.into());
    let quota = ["/a", "/q/a", "/q", ""];
    let names = ["/zookeeper_limits", "/zookeeper_stats", ""];
    let mut paths: Vec<String> = script.made().to_vec();
    paths.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
    for parent in quota {
        paths.extend(names.iter().map(|name| format!("/zookeeper/quota{parent}{name}")));
    }
    paths.extend(pools::ordinary_paths().iter().map(|path| path.to_string()));
    let deletes: Vec<_> = paths.iter().map(|path| delete(script, path)).collect();
    for some in deletes.chunks(15) {
        push(script, SUPER_SLOT, some.to_vec());
    }
    let creates = ["/t", "/t/a", "/t/b", "/c", "/acl", "/acl/a", "/q"].map(|path| create(script, 1, path, None, 0));
    push(script, SUPER_SLOT, creates.into());
}

/// Super opens what others have shut.
pub fn unlock(script: &mut Script) -> Step {
    let paths = ["/acl", "/acl/a", "/acl/b", "/acl/a/x", "/acl/b/x", "/t", "/c", "/q"];
    let requests = paths.iter().map(|path| set_acl_open(script, path)).collect();
    script.send(SUPER_SLOT, requests)
}

/// Handshakes of all kinds on a connection of their own.
pub fn handshake(script: &mut Script) -> Step {
    let slot = SLOTS - 1;
    let detached = script.detached();
    let ended = script.ended();
    let attached: Vec<_> = (1..SLOTS - 1).filter_map(|slot| script.session_at(slot)).collect();
    let session = match script.rng.below(10) {
        0 | 1 if !detached.is_empty() => Session::Resume(script.rng.pick(&detached)),
        2 if !ended.is_empty() => Session::Resume(script.rng.pick(&ended)),
        3 => Session::Unknown(script.rng.pick(&[-1, 1, 0x1234_5678_9abc, i64::MIN, i64::MAX])),
        4 | 5 if !attached.is_empty() => Session::Resume(script.rng.pick(&attached)),
        _ => Session::New(script.new_session_number()),
    };
    let mut connect = script.connect(slot, session);
    connect.protocol = script.rng.pick(&[0, 0, 0, 1, -1, i32::MAX]);
    connect.timeout = script.rng.pick(&[0, -5, 1, 40_000, 100_000, i32::MAX, i32::MIN]);
    connect.read_only = script.rng.pick(&[Some(0), Some(0), Some(1), None, Some(7)]);
    connect.last_zxid = script.rng.pick(&[None, None, Some(0), Some(0), Some(-3), Some(1), Some(1000)]);
    connect.password = match session {
        // A wrong password for a session in use is a listed difference.
        Session::Resume(number) if attached.contains(&number) => Password::Right,
        _ => script.rng.pick(&[
            Password::Right,
            Password::Right,
            Password::Right,
            Password::Wrong,
            Password::Null,
            Password::Empty,
            Password::Long,
        ]),
    };
    if script.rng.chance(40) {
        // As Java clients do: identities and requests right behind the handshake.
        connect.behind.push(script.auth(Some("digest"), Some(b"u:p")));
        connect.behind.extend(script.random_requests(3));
        connect.behind.retain(|request| !races(request));
    }
    script.connect_step(connect)
}

/// Watches, a lost connection, changes meanwhile, a new connection that says what it had watched.
pub fn reconnect_with_watches(script: &mut Script) -> Step {
    let slot = script.slot();
    let Some(session) = script.session_at(slot).filter(|_| slot != SUPER_SLOT) else {
        let requests = script.random_requests(1);
        return script.send(slot, requests);
    };
    let paths = ["/t/a", "/t/b", "/t/c", "/c/x", "/t/a/x", "/gone"];
    let reads: Vec<_> = paths.iter().map(|path| get_data(script, path, 1)).collect();
    push(script, slot, reads);
    let before = script.zxid_now();
    let hang_up = script.drop(slot);
    script.queue.push_back(hang_up);
    let changes = script.random_requests(8);
    push(script, SUPER_SLOT, changes);
    let mut more = vec![set_data(script, "/t/a", b"meanwhile"), create(script, 1, "/t/c", None, 0)];
    if script.rng.chance(50) {
        more.push(delete(script, "/t/c"));
        more.push(delete(script, "/t/b"));
    }
    push(script, SUPER_SLOT, more);
    let mut connect = script.connect(slot, Session::Resume(session));
    connect.last_zxid = Some(-1);
    let op = script.rng.pick(&[101, 105]);
    let mut body = Body::new();
    for _ in 0..if op == 101 { 3 } else { 5 } {
        let mut some: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        some.retain(|_| script.rng.chance(60));
        body = body.paths(&some);
    }
    let mut again = script.request(op, body, format!("setWatches ({op}) since {before}"));
    (again.xid, again.zxid) = (-8, Some(before));
    connect.behind.push(again);
    let step = script.connect_step(connect);
    script.queue.push_back(step);
    let changes = ["/t/a", "/t/b", "/t/c", "/c/x"].map(|path| set_data(script, path, b"after"));
    push(script, SUPER_SLOT, changes.into());
    script.next_queued()
}

/// A quota, things below it, its usage, its end.
pub fn quota(script: &mut Script) -> Step {
    let slot = script.slot();
    let base = script.rng.pick(&["/q", "/q/a", "/q"]);
    let parent = format!("/zookeeper/quota{base}");
    let (limits, stats) = (format!("{parent}/zookeeper_limits"), format!("{parent}/zookeeper_stats"));
    let limit = (!script.rng.chance(10)).then(|| pools::limits(&mut script.rng));
    let mut requests = vec![create(script, 1, "/zookeeper/quota/q", None, 0), create(script, 1, &parent, None, 0)];
    requests.push(create(script, 1, "/q", Some(b"root"), 0));
    requests.push(create(script, 1, &limits, limit.as_deref(), 0));
    requests.push(create(script, 1, &stats, Some(b"count=0,bytes=0"), 0));
    push(script, slot, requests);
    let mut requests = Vec::new();
    for _ in 0..3 + script.rng.below(6) {
        let path = script.rng.pick(&["/q", "/q/a", "/q/b", "/q/a/x", "/q/a/y", "/q/s-"]);
        let data = vec![b'd'; script.rng.pick(&[0, 1, 5, 12, 25])];
        requests.push(match script.rng.below(6) {
            0..=1 => create(script, 15, path, Some(&data), if path.ends_with('-') { 2 } else { 0 }),
            2..=3 => set_data(script, path, &data),
            4 => delete(script, path),
            _ => get_data(script, &stats, 0),
        });
    }
    requests.push(get_data(script, &stats, 0));
    requests.push(get_data(script, &limits, 1));
    push(script, slot, requests);
    if script.rng.chance(60) {
        let new_limit = pools::limits(&mut script.rng);
        let requests = vec![
            set_data(script, &limits, &new_limit),
            set_data(script, "/q", b"a little longer than before"),
            set_data(script, "/q", b"short"),
            get_data(script, &stats, 0),
        ];
        push(script, slot, requests);
    }
    if script.rng.chance(70) {
        let requests = vec![delete(script, &limits), delete(script, &stats), delete(script, &parent)];
        push(script, slot, requests);
    }
    script.next_queued()
}

/// A session with ephemerals that ends while others watch.
pub fn ephemerals(script: &mut Script) -> Step {
    let owner = 1 + script.rng.below(SLOTS - 2);
    let watcher = script.slot();
    let mut requests = Vec::new();
    for path in ["/t/a/x", "/t/b/e", "/t/b/s-", "/c/e", "/t/s-", "/acl/e"] {
        if script.rng.chance(60) {
            let flags = if path.ends_with('-') { 3 } else { 1 };
            requests.push(create(script, 15, path, Some(b"mine"), flags));
        }
    }
    let prefix = script.rng.pick(&["", "/", "/t", "/t/b", " ", "/nowhere"]);
    let body = Body::new().buf(Some(prefix.as_bytes()));
    requests.push(script.request(103, body, format!("getEphemerals {prefix:?}")));
    push(script, owner, requests);
    let mode = script.rng.pick(&[0, 1]);
    let mut requests = Vec::new();
    for path in ["/t/b", "/t/b/e", "/c"] {
        let watch = Body::new().buf(Some(path.as_bytes())).i32(mode);
        requests.push(script.request(106, watch, format!("addWatch {path} mode {mode}")));
        let children = Body::new().buf(Some(path.as_bytes())).byte(1);
        requests.push(script.request(12, children, format!("getChildren2 {path} watch")));
    }
    push(script, watcher, requests);
    if script.rng.chance(30) {
        let body = Body::new().buf(Some(b"/t/b/e")).i32(0);
        let all = script.request(106, body, "addWatch /t/b/e mode 0");
        push(script, owner, vec![all]);
    }
    if script.rng.chance(70) {
        let mut requests = script.random_requests(1);
        requests.push(script.request(-11, Body::new(), "closeSession"));
        push(script, owner, requests);
    }
    let reads = ["/t/b", "/t/b/e", "/c", "/t"].map(|path| {
        let body = Body::new().buf(Some(path.as_bytes())).byte(0);
        script.request(12, body, format!("getChildren2 {path}"))
    });
    push(script, watcher, reads.into());
    script.next_queued()
}

/// Watches of all modes around one path on several connections, then changes, then removals.
pub fn watches(script: &mut Script) -> Step {
    let path = script.rng.pick(&["/t/a", "/t/a/x", "/t/b", "/c", "/t"]);
    for slot in 1..SLOTS - 1 {
        let mut requests = Vec::new();
        for _ in 0..1 + script.rng.below(3) {
            let body = Body::new().buf(Some(path.as_bytes()));
            requests.push(match script.rng.below(6) {
                0 => script.request(3, body.byte(1), format!("exists {path} watch")),
                1 => script.request(4, body.byte(1), format!("getData {path} watch")),
                2 => script.request(8, body.byte(1), format!("getChildren {path} watch")),
                3 => script.request(106, body.i32(0), format!("addWatch {path} persistent")),
                4 => script.request(106, body.i32(1), format!("addWatch {path} recursive")),
                _ => {
                    let parent = zoarium::path::split(path).expect("has a slash").0;
                    let body = Body::new().buf(Some(parent.as_bytes())).i32(1);
                    script.request(106, body, format!("addWatch {parent} recursive"))
                }
            });
        }
        push(script, slot, requests);
    }
    let changer = script.slot();
    let child = format!("{path}/kid");
    let changes = vec![
        create(script, 1, path, None, 0),
        set_data(script, path, b"new"),
        create(script, 1, &child, None, 0),
        set_data(script, &child, b"new"),
        delete(script, &child),
        delete(script, path),
        create(script, 1, path, None, 0),
    ];
    push(script, changer, changes);
    for slot in 1..SLOTS - 1 {
        let kind = script.rng.below(6) as i32;
        let requests = [17, 18, 17].map(|op| {
            let body = Body::new().buf(Some(path.as_bytes())).i32(kind);
            script.request(op, body, format!("{} {path} kind {kind}", crate::requests::name(op)))
        });
        push(script, slot, requests.into());
    }
    let last = set_data(script, path, b"last");
    push(script, changer, vec![last]);
    script.next_queued()
}

/// Frames around the limit of 1,048,575 bytes.
pub fn sizes(script: &mut Script) -> Step {
    let slot = script.slot();
    // Header 8, path 4 + 4, data length 4, version 4.
    let frame = script.rng.pick(&[0x8_0000, 0xf_fffe, 0xf_ffff, 0x10_0000, 0x20_0000]);
    let data = vec![b'x'; frame - 24];
    let mut big = set_data(script, "/t/a", &data);
    big.text += &format!(" in a frame of {frame}");
    assert_eq!(8 + big.body.len(), frame);
    push(script, slot, vec![big]);
    let reads = vec![get_data(script, "/t/a", 0), set_data(script, "/t/a", b"small")];
    push(script, SUPER_SLOT, reads);
    script.next_queued()
}

/// A list with all kinds of entries, and who may do what under it.
pub fn permissions(script: &mut Script) -> Step {
    let (owner, other) = (script.slot(), script.slot());
    let login = script.login(owner, "digest", b"u:p");
    script.queue.push_back(login);
    let acl = pools::acl(&mut script.rng, 0);
    let fields = |path: &str| Body::new().buf(Some(path.as_bytes())).buf(Some(b"secret")).acl(&acl).i32(0);
    let creates = ["/acl/p", "/acl/p/kid"].map(|path| script.request(15, fields(path), format!("create2 {path}")));
    push(script, owner, creates.into());
    let watch = Body::new().buf(Some(b"/acl")).i32(1);
    let watch = script.request(106, watch, "addWatch /acl recursive");
    push(script, other, vec![watch]);
    for slot in [other, owner, SUPER_SLOT] {
        let path = || Body::new().buf(Some(b"/acl/p"));
        let mut requests = vec![
            script.request(6, path(), "getACL /acl/p"),
            script.request(3, path().byte(1), "exists /acl/p watch"),
            script.request(12, path().byte(1), "getChildren2 /acl/p watch"),
            script.request(104, path(), "getAllChildrenNumber /acl/p"),
            get_data(script, "/acl/p/kid", 1),
            set_data(script, "/acl/p/kid", b"changed"),
            set_data(script, "/acl/p", b"changed"),
            create(script, 1, "/acl/p/other", None, 0),
            delete(script, "/acl/p/other"),
        ];
        if script.rng.chance(40) {
            let list = pools::acl(&mut script.rng, 0);
            requests.push(script.request(7, path().acl(&list).i32(-1), "setACL /acl/p"));
            requests.push(script.request(6, path(), "getACL /acl/p"));
        }
        requests.push(delete(script, "/acl/p/kid"));
        push(script, slot, requests);
    }
    let end = delete(script, "/acl/p");
    push(script, SUPER_SLOT, vec![end]);
    script.next_queued()
}
