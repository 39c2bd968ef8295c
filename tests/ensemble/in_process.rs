//! Members in this process, which the host controls.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zoarium::raw::RawClient;
use zoarium::records::CreateMode;
use zoarium::store::{InspectLine, inspect};
use zoarium::{Client, Code, Config, Ensemble, EnsembleOptions, ServerRole};

use crate::create;

const LIMIT: Duration = Duration::from_secs(60);

fn connect(ensemble: &Ensemble, member: u64) -> RawClient {
    RawClient::connect(ensemble.address(member).unwrap()).unwrap()
}

fn follower(ensemble: &Ensemble) -> u64 {
    let leader = ensemble.leader().unwrap();
    (1..=3).find(|member| *member != leader).unwrap()
}

/// Has members killed while a client writes, and returns what was acknowledged.
fn acknowledged_under(ensemble: &Ensemble, name: &str, kill: impl FnOnce()) -> Vec<String> {
    let is_over = &AtomicBool::new(false);
    let client = ensemble.client().unwrap().with_limit(Duration::from_secs(2));
    std::thread::scope(|scope| {
        let (begun, runs) = std::sync::mpsc::channel();
        let writer = scope.spawn(move || {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let path = format!("/{name}-{number}");
                if client.create(&path, b"x").is_ok() {
                    acknowledged.push(path);
                } else if is_over.load(Ordering::SeqCst) {
                    break;
                }
                if acknowledged.len() == 50 {
                    begun.send(()).unwrap();
                }
                if acknowledged.len() >= 2_000 {
                    break;
                }
            }
            acknowledged
        });
        runs.recv().unwrap();
        kill();
        is_over.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    })
}

fn was_stopped_cleanly(ensemble: &Ensemble, member: u64) -> bool {
    let mut is_clean = None;
    inspect(&ensemble.folder(member).unwrap().join("zoarium.db"), &mut |line| {
        if let InspectLine::Root { clean, .. } = line {
            is_clean = Some(clean);
        }
    })
    .unwrap();
    is_clean.unwrap()
}

fn assert_has(client: &Client, paths: &[String]) {
    client.sync("/").unwrap();
    for path in paths {
        assert!(client.exists(path).unwrap().is_some(), "{path} was acknowledged and is lost");
    }
}

#[test]
fn a_session_that_a_follower_was_asked_to_expire_has_ended_everywhere_it_is_read_when_the_call_returns() {
    let members = Ensemble::start(3).unwrap();
    let follower = follower(&members);
    let server = members.member(follower).unwrap();
    let mut reader = connect(&members, follower);
    for round in 0..50 {
        let mut client = connect(&members, follower);
        let path = create(&mut client, &format!("/held{round}"), CreateMode::Ephemeral).unwrap();
        assert!(server.expire(client.session()).unwrap(), "round {round}");
        assert!(reader.exists(&path, false).unwrap().is_none(), "{path} outlives its session");
        assert!(!server.expire(client.session()).unwrap(), "there is none any more");
    }
    // The connection of another session is cut at once, whatever is under way.
    let client = connect(&members, follower);
    assert!(server.disconnect(client.session()).unwrap());
}

#[test]
fn a_member_without_a_leader_does_what_it_was_asked_with_a_session_once_there_is_one() {
    let members = Ensemble::start(3).unwrap();
    let leader = members.leader().unwrap();
    let others: Vec<u64> = (1..=3).filter(|member| *member != leader).collect();
    let mut client = connect(&members, others[0]);
    let path = create(&mut client, "/held", CreateMode::Ephemeral).unwrap();
    // All know of it.
    (1..=3).for_each(|member| connect(&members, member).sync("/").unwrap());
    // The leader goes, and one that followed is asked at once.
    members.stop_member(leader).unwrap();
    let asked = members.member(others[1]).unwrap();
    assert!(asked.expire(client.session()).unwrap(), "the session was alive");
    let mut reader = connect(&members, others[1]);
    assert!(reader.exists(&path, false).unwrap().is_none());
}

#[test]
fn members_that_are_killed_under_load_keep_what_was_acknowledged_and_come_back_where_they_were() {
    // G-04
    let ensemble = Ensemble::start(3).unwrap();
    let dead = ensemble.leader().unwrap();
    let mut acknowledged = acknowledged_under(&ensemble, "one", || ensemble.kill(dead).unwrap());
    assert!(!ensemble.is_running(dead) && ensemble.member(dead).is_none());
    assert!(TcpStream::connect(ensemble.address(dead).unwrap()).is_err(), "nobody listens for it");
    assert!(!was_stopped_cleanly(&ensemble, dead), "nothing is tidied up in the file of a killed member");
    ensemble.wait_until_serving(LIMIT).unwrap();
    assert_ne!(ensemble.leader(), Some(dead));
    assert_has(&ensemble.client().unwrap(), &acknowledged);
    ensemble.restart(dead).unwrap();
    ensemble.wait_until_serving(LIMIT).unwrap();
    assert_has(&ensemble.member(dead).unwrap().client().unwrap(), &acknowledged);

    let all = || (1..=3).for_each(|member| ensemble.kill(member).unwrap());
    acknowledged.extend(acknowledged_under(&ensemble, "all", all));
    assert!(ensemble.leader().is_none() && ensemble.wait_until_serving(LIMIT).is_err());
    (1..=3).for_each(|member| ensemble.restart(member).unwrap());
    ensemble.wait_until_serving(LIMIT).unwrap();
    (1..=3).for_each(|member| assert_has(&ensemble.member(member).unwrap().client().unwrap(), &acknowledged));
    ensemble.stop().unwrap();
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_without_being_told_and_follows_once_it_is_not() {
    // L-04
    let ensemble = Ensemble::start(3).unwrap();
    let old = ensemble.leader().unwrap();
    let server = ensemble.member(old).unwrap();
    let near = server.client().unwrap().with_limit(Duration::from_secs(1));
    near.create("/before", b"").unwrap();
    let begun = Instant::now();
    ensemble.cut(old).unwrap();
    // It notices nothing before its followers have been silent for too long: `syncLimit` is two seconds.
    let is_leading = server.role().role == ServerRole::Leading;
    assert!(is_leading || begun.elapsed() >= Duration::from_secs(2), "it was told");
    near.create("/lost", b"").unwrap_err();
    ensemble.wait_until_serving(LIMIT).unwrap();
    let new = ensemble.leader().unwrap();
    assert_ne!(new, old);
    let client = ensemble.member(new).unwrap().client().unwrap();
    client.create("/after", b"").unwrap();
    // It finds out, and finds nobody.
    let (told, roles) = std::sync::mpsc::channel();
    server.on_role(move |state| told.send(state.role).unwrap_or(()));
    assert!(roles.iter().any(|role| role == ServerRole::Looking));
    ensemble.heal(old).unwrap();
    ensemble.wait_until_serving(LIMIT).unwrap();
    assert_eq!((server.role().role, server.role().leader.map(|leader| leader.0)), (ServerRole::Following, Some(new)));
    let near = server.client().unwrap();
    near.sync("/").unwrap();
    assert!(near.exists("/after").unwrap().is_some() && near.exists("/lost").unwrap().is_none());
}

#[test]
fn a_follower_that_is_cut_off_or_paused_keeps_nobody_up_and_catches_up() {
    let ensemble = Ensemble::start(3).unwrap();
    let follower = follower(&ensemble);
    // One that stands still can be cut off as well, and nobody waits for it.
    ensemble.pause(follower).unwrap();
    ensemble.cut(follower).unwrap();
    ensemble.heal(follower).unwrap();
    ensemble.resume(follower).unwrap();
    for (name, cut) in [("/cut", true), ("/paused", false)] {
        if cut {
            ensemble.cut(follower).unwrap()
        } else {
            ensemble.pause(follower).unwrap()
        }
        ensemble.wait_until_serving(LIMIT).unwrap();
        let client = ensemble.member(ensemble.leader().unwrap()).unwrap().client().unwrap();
        client.create(name, b"").unwrap();
        if cut {
            ensemble.heal(follower).unwrap()
        } else {
            ensemble.resume(follower).unwrap()
        }
        ensemble.wait_until_serving(LIMIT).unwrap();
        // It may still have to find out that it is behind.
        let near = ensemble.client_of(follower);
        near.sync("/").unwrap();
        assert!(near.exists(name).unwrap().is_some());
    }
}

/// A client of one member, which may be looking for a leader just now.
trait ClientOf {
    fn client_of(&self, member: u64) -> Client;
}

impl ClientOf for Ensemble {
    fn client_of(&self, member: u64) -> Client {
        Client::connect(self.address(member).unwrap()).unwrap()
    }
}

#[test]
fn whoever_waits_in_vain_is_told_which_members_do_not_serve_and_why() {
    let ensemble = Ensemble::start(3).unwrap();
    let leader = ensemble.leader().unwrap();
    let left = follower(&ensemble);
    (1..=3).filter(|member| *member != left).for_each(|member| ensemble.kill(member).unwrap());
    let begun = Instant::now();
    let limit = Duration::from_millis(300);
    let error = ensemble.wait_until_serving(limit).unwrap_err();
    assert!(begun.elapsed() >= limit);
    assert_eq!(error.code(), Code::Timeout);
    let said = error.to_string();
    assert!(said.contains(&format!("member {left} ")) && !said.contains(&format!("member {leader} ")), "{said}");
    for (refused, why) in [
        (ensemble.kill(leader), "does not run"),
        (ensemble.pause(leader), "does not run"),
        (ensemble.restart(left), "runs"),
        (ensemble.cut(0), "no member 0"),
        (ensemble.kill(4), "no member 4"),
    ] {
        let refused = refused.unwrap_err();
        assert!(refused.code() == Code::BadArguments && refused.to_string().contains(why), "{refused}");
    }
    for size in [0, 65] {
        assert_eq!(Ensemble::start(size).unwrap_err().code(), Code::BadArguments);
    }
}

#[test]
fn one_member_is_a_server_by_itself_and_a_folder_that_is_given_stays() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("one-member-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let usual = EnsembleOptions::default();
    let config = Config { extended_types_enabled: true, ..usual.config };
    let options = EnsembleOptions { folder: Some(folder.clone()), config, ..usual };
    for is_first in [true, false] {
        let ensemble = Ensemble::start_with(1, options.clone()).unwrap();
        assert_eq!(ensemble.member(1).unwrap().role().role, ServerRole::Standalone);
        assert_eq!(ensemble.leader(), Some(1));
        let client = ensemble.client().unwrap();
        assert_eq!(client.create("/kept", b"").is_ok(), is_first);
        ensemble.stop().unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_member_that_cannot_start_leaves_nothing_behind() {
    let usual = EnsembleOptions::default();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("no-folder-{}", std::process::id()));
    std::fs::write(&folder, b"").unwrap();
    let options = EnsembleOptions { folder: Some(folder.clone()), ..usual };
    let error = Ensemble::start_with(3, options).unwrap_err();
    assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
    std::fs::remove_file(&folder).unwrap();
}

#[test]
fn leadership_is_handed_over_and_no_session_or_write_is_lost() {
    let ensemble = Ensemble::start(3).unwrap();
    let old = ensemble.leader().unwrap();
    let server = ensemble.member(old).unwrap();
    let follower = follower(&ensemble);
    let refused = ensemble.member(follower).unwrap().hand_over(LIMIT).unwrap_err();
    assert_eq!(refused.code(), Code::BadArguments);
    let acknowledged = acknowledged_under(&ensemble, "handed", || server.hand_over(LIMIT).unwrap());
    let state = server.role();
    assert!(state.role == ServerRole::Following && state.leader.is_some_and(|leader| leader.0 != old), "{state:?}");
    ensemble.wait_until_serving(LIMIT).unwrap();
    assert_has(&server.client().unwrap(), &acknowledged);

    // With nobody to take it over whoever asked is told so, and all goes on later.
    let leader = ensemble.leader().unwrap();
    let server = ensemble.member(leader).unwrap();
    (1..=3).filter(|member| *member != leader).for_each(|member| ensemble.pause(member).unwrap());
    let error = server.hand_over(Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    (1..=3).filter(|member| *member != leader).for_each(|member| ensemble.resume(member).unwrap());
    ensemble.wait_until_serving(LIMIT).unwrap();
    ensemble.client().unwrap().create("/goes-on", b"").unwrap();
}
