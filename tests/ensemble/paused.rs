//! A leader that stands still while the others elect another one, and then wakes up.

use std::time::{Duration, Instant};

use zoarium::jute::encoded;
use zoarium::raw::ConnectOptions;
use zoarium::records::requests::{CreateRequest, PathRequest, PathWatchRequest};
use zoarium::records::{Acl, CreateMode, OpCode};

use crate::cluster::{Cluster, Mode};
use crate::{all_agree, create, options};

/// Of sessions at the member that is stopped.
const TIMEOUT_MS: i32 = 5000;

/// In one burst behind each other.
const BURST: usize = 2000;

#[test]
fn a_leader_that_is_stopped_in_a_burst_wakes_up_and_acknowledges_expires_and_shows_nothing_of_the_past() {
    // SC-23, G-04, G-10, L-04
    let cluster = Cluster::start(3);
    let old = cluster.leader();
    let short = ConnectOptions { timeout_ms: TIMEOUT_MS, ..options() };
    // It will go on at another member; to the old leader it will have been silent for longer than its timeout.
    let mut moving = cluster.connect(old, &short);
    let mine = create(&mut moving, "/mine", CreateMode::Ephemeral).unwrap();
    let patient = ConnectOptions { wait: Duration::from_secs(30), ..options() };
    let mut burst = cluster.connect(old, &patient);
    let acl = || Some(vec![Acl::open()]);
    let mut xids = std::collections::BTreeMap::new();
    for number in 0..BURST {
        if number == BURST / 2 {
            cluster.pause(old);
        }
        let path = format!("/burst{number}");
        let flags = CreateMode::Persistent.to_i32();
        let body = encoded(&CreateRequest { path: path.as_str().into(), data: Default::default(), acl: acl(), flags });
        xids.insert(burst.send(OpCode::Create.to_i32(), &body).unwrap(), path);
    }
    let sync = burst.send(OpCode::Sync.to_i32(), &encoded(&PathRequest { path: "/".into() })).unwrap();
    let look = encoded(&PathWatchRequest { path: "/new".into(), watch: false });
    let look = burst.send(OpCode::Exists.to_i32(), &look).unwrap();

    let others: Vec<usize> = (0..3).filter(|at| *at != old).collect();
    cluster.until("another one leads", |cluster| others.iter().any(|at| cluster.mode(*at) == Mode::Leader));
    let new = *others.iter().find(|at| cluster.mode(**at) == Mode::Leader).unwrap();
    let resume = Some((moving.session(), moving.password()));
    // With a longer timeout now, of which the old leader does not know.
    let mut moved = cluster.connect(new, &ConnectOptions { resume, ..options() });
    create(&mut moved, "/new", CreateMode::Persistent).unwrap();
    let begin = Instant::now();
    let timeout = Duration::from_millis(TIMEOUT_MS as u64 + 500);
    cluster.until("the old leader has heard nothing for longer than the timeout", |_| begin.elapsed() > timeout);
    cluster.resume(old);

    let mut acknowledged = Vec::new();
    let (mut is_synced, mut has_new) = (false, false);
    while let Ok((header, _)) = burst.receive() {
        match xids.get(&header.xid) {
            Some(path) if header.err == 0 => acknowledged.push(path.clone()),
            Some(path) => panic!("{path} was refused with {}", header.err),
            None if header.xid == sync => is_synced = header.err == 0,
            None if header.xid == look => {
                has_new = header.err == 0;
                break;
            }
            None => {}
        }
    }
    assert!(!is_synced || has_new, "a sync was answered with the state before another one led\n{}", cluster.logs());
    let tree = all_agree(&cluster, 3);
    for path in &acknowledged {
        assert!(tree.contains_key(path), "{path} was acknowledged and is lost\n{}", cluster.logs());
    }
    assert!(tree.contains_key("/new") && tree.contains_key(&mine), "{:?}\n{}", tree.keys(), cluster.logs());
    moved.ping().unwrap();
    assert!(moved.exists(&mine, false).unwrap().is_some());
}
