//! Three members in this process, which the host controls.

use std::net::TcpListener;

use zoarium::raw::RawClient;
use zoarium::records::CreateMode;
use zoarium::{Config, Server};

use crate::cluster::{Mode, mode_of, until};
use crate::create;

struct Members {
    servers: Vec<Server>,
    folder: std::path::PathBuf,
}

impl Members {
    fn start(name: &str) -> Members {
        let folder =
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("members-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let held: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |at: usize| held[at].local_addr().unwrap().port();
        let mut common = [("tickTime", "200"), ("initLimit", "20"), ("syncLimit", "10"), ("clientPort", "0")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec();
        common.extend(
            (0..3).map(|at| (format!("server.{}", at + 1), format!("127.0.0.1:{}:{}", port(at), port(3 + at)))),
        );
        drop(held);
        let start = |at: usize| {
            let data = folder.join(at.to_string());
            let own = [("dataDir", data.display().to_string()), ("zoarium.serverId", (at + 1).to_string())];
            let own = own.map(|(key, value)| (key.to_owned(), value));
            let lines = [&common[..], &own].concat();
            Server::start(Config::load(None, &lines, std::iter::empty()).unwrap().config).unwrap()
        };
        let members = Members { servers: (0..3).map(start).collect(), folder: folder.clone() };
        until("all serve", || (0..3).all(|at| members.mode(at) != Mode::None));
        members
    }

    fn address(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.servers[at].addresses()[0].port())
    }

    fn mode(&self, at: usize) -> Mode {
        mode_of(&self.address(at))
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.servers.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_session_that_a_follower_was_asked_to_expire_has_ended_everywhere_it_is_read_when_the_call_returns() {
    let members = Members::start("expire");
    let follower = (0..3).find(|at| members.mode(*at) == Mode::Follower).unwrap();
    let mut reader = RawClient::connect(&members.address(follower)).unwrap();
    for round in 0..50 {
        let mut client = RawClient::connect(&members.address(follower)).unwrap();
        let path = create(&mut client, &format!("/held{round}"), CreateMode::Ephemeral).unwrap();
        assert!(members.servers[follower].expire(client.session()).unwrap(), "round {round}");
        assert!(reader.exists(&path, false).unwrap().is_none(), "{path} outlives its session");
        assert!(!members.servers[follower].expire(client.session()).unwrap(), "there is none any more");
    }
    // The connection of another session is cut at once, whatever is under way.
    let client = RawClient::connect(&members.address(follower)).unwrap();
    assert!(members.servers[follower].disconnect(client.session()).unwrap());
}

#[test]
fn a_member_without_a_leader_does_what_it_was_asked_with_a_session_once_there_is_one() {
    let mut members = Members::start("expire-later");
    let leader = (0..3).find(|at| members.mode(*at) == Mode::Leader).unwrap();
    let mut client = RawClient::connect(&members.address((leader + 1) % 3)).unwrap();
    let path = create(&mut client, "/held", CreateMode::Ephemeral).unwrap();
    // All know of it.
    (0..3).for_each(|at| RawClient::connect(&members.address(at)).unwrap().sync("/").unwrap());
    // The leader goes, and one that followed is asked at once.
    drop(members.servers.remove(leader));
    assert!(members.servers[0].expire(client.session()).unwrap(), "the session was alive");
    let mut reader = RawClient::connect(&members.address(0)).unwrap();
    assert!(reader.exists(&path, false).unwrap().is_none());
}
