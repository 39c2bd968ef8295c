//! Passwords of sessions: what anybody can compute who knows a session's id opens nothing, and the right one opens it everywhere.

use std::time::{Duration, Instant};

use zoarium::ids::SessionId;
use zoarium::raw::{ClientError, ConnectOptions, RawClient};
use zoarium::records::CreateMode;

use crate::cluster::{Cluster, Mode};
use crate::{create, options};

/// What ZooKeeper makes of an id: `java.util.Random` with a seed that everybody knows.
fn computed(session: SessionId) -> [u8; 16] {
    let mut state = ((session.0 ^ 0xb341_5c00) as u64 ^ 0x5_deec_e66d) & ((1 << 48) - 1);
    let mut password = [0; 16];
    for chunk in password.chunks_exact_mut(4) {
        state = (state.wrapping_mul(0x5_deec_e66d) + 0xb) & ((1 << 48) - 1);
        chunk.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    password
}

/// A session and what opens it.
pub(crate) struct Held {
    pub(crate) session: SessionId,
    pub(crate) password: [u8; 16],
}

impl Held {
    /// A new session with an ephemeral znode at this path.
    pub(crate) fn new(cluster: &Cluster, at: usize, path: &str) -> Held {
        let mut client = cluster.connect(at, &options());
        create(&mut client, path, CreateMode::Ephemeral).unwrap();
        Held { session: client.session(), password: client.password() }
    }

    /// Goes on with it at this member; what it is told is its password from now on.
    pub(crate) fn resumes(&mut self, cluster: &Cluster, at: usize) {
        let resume = Some((self.session, self.password));
        let mut client = cluster.connect(at, &ConnectOptions { resume, ..options() });
        assert_eq!(client.session(), self.session);
        client.ping().unwrap();
        self.password = client.password();
    }

    /// Whether this opens it at that member, which serves.
    pub(crate) fn opens(&self, cluster: &Cluster, at: usize, password: [u8; 16]) -> bool {
        let resume = Some((self.session, password));
        let begin = Instant::now();
        loop {
            match RawClient::connect_with(&cluster.address(at), &ConnectOptions { resume, ..options() }) {
                Ok(client) => {
                    assert_eq!(client.session(), self.session);
                    return true;
                }
                Err(ClientError::Expired) => return false,
                // It has lost its leader.
                Err(error) => assert!(begin.elapsed() < Duration::from_secs(60), "{error}\n{}", cluster.logs()),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_session_moves_anywhere_with_its_password_and_nowhere_with_one_that_is_computed_from_its_id() {
    // SC-40, G-10
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut held = Held::new(&cluster, leader, "/held");
    let mut owner =
        cluster.connect(leader, &ConnectOptions { resume: Some((held.session, held.password)), ..options() });
    for at in 0..3 {
        assert!(!held.opens(&cluster, at, computed(held.session)), "member {at} takes what anybody can compute");
        let mut nearly = held.password;
        nearly[15] ^= 1;
        assert!(!held.opens(&cluster, at, nearly));
    }
    owner.ping().expect("who holds the session has not noticed");
    for at in 0..3 {
        held.resumes(&cluster, at);
    }
    // Another leader has the same secret,
    cluster.kill(leader);
    cluster.until("two serve", Cluster::is_whole);
    let other = cluster.leader();
    held.resumes(&cluster, other);
    assert!(!held.opens(&cluster, other, computed(held.session)));
    // so has one that began anew,
    cluster.wipe(leader);
    cluster.spawn(leader);
    cluster.until("all serve", Cluster::is_whole);
    held.resumes(&cluster, leader);
    // and it when it leads.
    (0..3).filter(|at| *at != leader).for_each(|at| cluster.kill(at));
    cluster.until("it has no quorum", |cluster| cluster.mode(leader) == Mode::None);
    cluster.spawn(other);
    cluster.until("two serve", Cluster::is_whole);
    [leader, other].iter().for_each(|at| held.resumes(&cluster, *at));
    // All of them, from their disks.
    cluster.kill(leader);
    cluster.kill(other);
    (0..3).for_each(|at| cluster.spawn(at));
    cluster.until("all serve", Cluster::is_whole);
    for at in 0..3 {
        held.resumes(&cluster, at);
        assert!(!held.opens(&cluster, at, computed(held.session)));
    }
    let mut looks = cluster.connect(cluster.leader(), &options());
    assert!(looks.exists("/held", false).unwrap().is_some());
}

/// Every member is restarted with this line, the leader last, as an operator does it.
fn all_are_told(cluster: &mut Cluster, line: &str) {
    let leader = cluster.leader();
    for at in (0..3).filter(|at| *at != leader).chain([leader]) {
        assert_eq!(cluster.stop(at), Some(0), "{}", cluster.logs());
        cluster.set(at, line);
        cluster.spawn(at);
        cluster.until("all serve", Cluster::is_whole);
    }
}

#[test]
fn an_operator_makes_sessions_ready_for_zookeepers_members_and_takes_it_back_and_none_is_lost() {
    // SC-40; docs/MIGRATION.md
    let mut cluster = Cluster::start(3);
    let mut held = Held::new(&cluster, 0, "/held");
    assert_ne!(held.password, computed(held.session));
    all_are_told(&mut cluster, "zoarium.sessionPasswords=compatible");
    for at in 0..3 {
        held.resumes(&cluster, at);
        assert_eq!(held.password, computed(held.session), "a member of ZooKeeper's takes it");
    }
    all_are_told(&mut cluster, "zoarium.sessionPasswords=moving");
    let before = held.password;
    held.resumes(&cluster, 0);
    assert_ne!(held.password, before);
    assert!(held.opens(&cluster, 1, before), "who has not connected since is known");
    all_are_told(&mut cluster, "zoarium.sessionPasswords=keyed");
    for at in 0..3 {
        held.resumes(&cluster, at);
        assert!(!held.opens(&cluster, at, computed(held.session)));
    }
}
