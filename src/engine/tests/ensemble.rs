//! Engines of one ensemble, joined by their packets without sockets, logs or elections: the host commits what the leader
//! proposes and carries packets in order, and holds them back where a test wants that.

use super::*;
use crate::ids::{LinkId, ServerId};
use crate::records::peer::{PacketType, QuorumPacket};
use crate::session::{SessionPasswords, SessionSecret};

mod forwarding;
mod hostile;
mod leaders;
mod local_sessions;
mod moving;
mod storm;
mod syncing;
mod visitors;

pub(super) const WALL: i64 = 1_700_000_000_000;

/// What goes down a link, in order.
#[derive(Clone)]
enum Down {
    Commit(Proposal),
    Packet(QuorumPacket),
}

/// One server.
struct Member {
    engine: Engine,
    /// On the way from the leader.
    down: VecDeque<Down>,
    /// On the way to the leader.
    up: VecDeque<QuorumPacket>,
    /// Nothing that comes from the leader arrives.
    is_behind: bool,
    /// Nothing that goes to the leader arrives.
    is_mute: bool,
    /// The last transaction that it was told is committed.
    committed: Zxid,
}

/// A leader and its learners.
struct Ensemble {
    members: Vec<Member>,
    leader: usize,
    epoch: u32,
    /// The leader's proposals that no quorum has.
    uncommitted: VecDeque<Proposal>,
    /// Everything committed, in order.
    history: Vec<Proposal>,
    /// Proposals are committed at once.
    commits: bool,
    /// A quorum answers the leader's questions at once.
    confirms: bool,
    /// Questions without an answer.
    questions: Vec<u64>,
    /// Learners whose link is to be closed.
    closed: Vec<LinkId>,
    inputs: HashMap<(usize, ConnId), Vec<u8>>,
    now: Millis,
    xid: i32,
}

/// A client: of which server, and its connection there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Client {
    at: usize,
    conn: ConnId,
}

fn link(member: usize, epoch: u32) -> LinkId {
    LinkId { slot: member as u32, generation: epoch }
}

fn server(member: usize) -> ServerId {
    ServerId(member as u64 + 1)
}

fn settings_of(member: usize) -> EngineSettings {
    EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        server_id: server(member),
        ..EngineSettings::default()
    }
}

impl Ensemble {
    /// Member 0 leads in epoch 1.
    fn new(count: usize) -> Ensemble {
        Ensemble::with(count, settings_of)
    }

    fn with(count: usize, settings: impl Fn(usize) -> EngineSettings) -> Ensemble {
        let member = |index| Member {
            engine: Engine::empty(settings(index), [index as u8; 32], [index as u64, 2]),
            down: VecDeque::new(),
            up: VecDeque::new(),
            is_behind: false,
            is_mute: false,
            committed: Zxid::ZERO,
        };
        let mut ensemble = Ensemble {
            members: (0..count).map(member).collect(),
            leader: 0,
            epoch: 0,
            uncommitted: VecDeque::new(),
            history: Vec::new(),
            commits: true,
            confirms: true,
            questions: Vec::new(),
            closed: Vec::new(),
            inputs: HashMap::new(),
            now: Millis(0),
            xid: 0,
        };
        ensemble.lead(0);
        ensemble
    }

    fn time(&self) -> (Millis, WallMillis) {
        (self.now, WallMillis(WALL + self.now.0 as i64))
    }

    /// The role of everybody ends, whatever is under way.
    fn lose_the_leader(&mut self) {
        for member in &mut self.members {
            member.engine.retire().unwrap();
            member.up.clear();
            // What was told to be committed stays in the log.
            let told = member.down.drain(..).filter_map(|down| match down {
                Down::Commit(proposal) => Some(proposal),
                Down::Packet(_) => None,
            });
            for proposal in told {
                member.engine.replay(proposal.zxid, &proposal.txn).unwrap();
            }
        }
        self.uncommitted.clear();
        self.questions.clear();
    }

    /// A new leader: everybody gets its history.
    fn lead(&mut self, leader: usize) {
        self.epoch += 1;
        self.leader = leader;
        let (now, wall) = self.time();
        for (index, member) in self.members.iter_mut().enumerate() {
            for proposal in &self.history {
                member.engine.replay(proposal.zxid, &proposal.txn).unwrap();
            }
            member.committed = member.engine.applied();
            let duty = match index == leader {
                true => Duty::Decide { epoch: self.epoch },
                false => Duty::Forward { epoch: self.epoch, votes: true },
            };
            // What the leader hands down.
            member.engine.set_passwords(Some(SessionPasswords::Keyed), SessionSecret([9; 32]));
            member.engine.serve(duty, now, wall);
        }
        self.carry();
    }

    fn engine(&self, at: usize) -> &Engine {
        &self.members[at].engine
    }

    /// Carries everything that is not held back, until there is no more of it.
    fn carry(&mut self) {
        loop {
            let mut any = self.offer_again();
            for index in 0..self.members.len() {
                any |= self.collect(index);
            }
            any |= self.commit();
            if self.confirms {
                for token in std::mem::take(&mut self.questions) {
                    self.members[self.leader].engine.confirmed(token);
                    any = true;
                }
            }
            for index in 0..self.members.len() {
                any |= self.move_up(index) | self.move_down(index);
                self.members[index].engine.go_on();
            }
            let has_work = |member: &Member| member.engine.has_work() || member.engine.has_proposals();
            if !any && !self.members.iter().any(has_work) {
                return;
            }
        }
    }

    /// Packets that an engine has.
    fn collect(&mut self, index: usize) -> bool {
        let mut any = false;
        while let Some(outgoing) = self.members[index].engine.poll_packet() {
            any = true;
            match outgoing {
                Outgoing::ToLeader(packet) => self.members[index].up.push_back(packet),
                Outgoing::ToLearner { link, packet } => {
                    assert!(index == self.leader && link.generation == self.epoch);
                    self.members[link.slot as usize].down.push_back(Down::Packet(packet));
                }
                Outgoing::Confirm { token } => self.questions.push(token),
                Outgoing::Close { link, .. } => self.closed.push(link),
            }
        }
        any
    }

    fn commit(&mut self) -> bool {
        let leader = self.leader;
        self.uncommitted.extend(self.members[leader].engine.poll_proposals());
        if !self.commits || self.uncommitted.is_empty() {
            return false;
        }
        self.commit_first(self.uncommitted.len());
        true
    }

    /// The oldest proposals are committed, so many of them.
    fn commit_first(&mut self, count: usize) {
        let leader = self.leader;
        for proposal in self.uncommitted.drain(..count).collect::<Vec<_>>() {
            assert_eq!(proposal.zxid.epoch(), self.epoch);
            self.history.push(proposal.clone());
            for (index, member) in self.members.iter_mut().enumerate() {
                match index == leader {
                    true => deliver(&mut member.engine, &proposal),
                    false => member.down.push_back(Down::Commit(proposal.clone())),
                }
            }
            // What it has for a learner by now comes behind the commit.
            self.collect(leader);
        }
    }

    fn move_up(&mut self, index: usize) -> bool {
        let (leader, link) = (self.leader, link(index, self.epoch));
        if self.members[index].is_mute || self.members[index].up.is_empty() {
            return false;
        }
        for packet in std::mem::take(&mut self.members[index].up) {
            let taken = self.members[leader].engine.from_learner(server(index), link, &over_the_wire(&packet));
            taken.unwrap();
        }
        true
    }

    fn move_down(&mut self, index: usize) -> bool {
        let member = &mut self.members[index];
        if member.is_behind || member.down.is_empty() {
            return false;
        }
        for down in std::mem::take(&mut member.down) {
            match down {
                Down::Commit(proposal) => {
                    member.committed = proposal.zxid;
                    deliver(&mut member.engine, &proposal);
                }
                Down::Packet(packet) => {
                    member.engine.from_leader(&over_the_wire(&packet), member.committed).unwrap();
                }
            }
        }
        true
    }

    /// Offers again what was not taken.
    fn offer_again(&mut self) -> bool {
        let waiting: Vec<(usize, ConnId)> = self.inputs.keys().copied().collect();
        let mut any = false;
        for (at, conn) in waiting {
            let is_open = self.engine(at).output(conn).is_some_and(|(_, close)| close.is_none());
            if is_open && self.inputs.get(&(at, conn)).is_some_and(|input| !input.is_empty()) {
                any |= self.offer(Client { at, conn }, &[]) > 0;
            }
        }
        any
    }

    fn open(&mut self, at: usize) -> Client {
        Client { at, conn: self.members[at].engine.open("127.0.0.1:4000".parse().unwrap()) }
    }

    fn offer(&mut self, client: Client, bytes: &[u8]) -> usize {
        let mut input = self.inputs.remove(&(client.at, client.conn)).unwrap_or_default();
        input.extend_from_slice(bytes);
        let received = self.members[client.at].engine.receive(client.conn, &input);
        input.drain(..received.consumed);
        self.inputs.insert((client.at, client.conn), input);
        received.consumed
    }

    fn send(&mut self, client: Client, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.offer(client, &frame);
    }

    /// A client with a session.
    fn client(&mut self, at: usize) -> Client {
        let client = self.open(at);
        self.send(client, &handshake(0, &[0; 16], 0));
        self.carry();
        assert_eq!(self.bytes(client).len(), 41, "a handshake reply");
        client
    }

    fn session(&self, client: Client) -> SessionId {
        self.engine(client.at).conns.get(client.conn).unwrap().session
    }

    fn password(&self, client: Client) -> [u8; 16] {
        self.engine(client.at).passwords.of(self.session(client))
    }

    /// Sends a handshake for a session of another connection.
    fn resume(&mut self, at: usize, session: SessionId, password: &[u8]) -> Client {
        let client = self.open(at);
        self.send(client, &handshake(session.0, password, 0));
        client
    }

    /// The session and the timeout in the answer to a handshake.
    fn welcome(&mut self, client: Client) -> Option<(SessionId, i32)> {
        let bytes = self.bytes(client);
        let response: ConnectResponse<'_> = decode(bytes.get(4..)?).unwrap();
        Some((SessionId(response.session_id), response.timeout))
    }

    fn bytes(&mut self, client: Client) -> Vec<u8> {
        let engine = &mut self.members[client.at].engine;
        let out = engine.output(client.conn).map(|(out, _)| out.to_vec()).unwrap_or_default();
        engine.flushed(client.conn, out.len());
        out
    }

    fn frames(&mut self, client: Client) -> Vec<Frame> {
        frames_of(&self.bytes(client))
    }

    fn request(&mut self, client: Client, op: OpCode, body: &impl serde::Serialize) -> i32 {
        self.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.xid, op: op.to_i32() }, &mut payload);
        encode(body, &mut payload);
        self.send(client, &payload);
        self.xid
    }

    /// One request with its only answer.
    fn call(&mut self, client: Client, op: OpCode, body: &impl serde::Serialize) -> Frame {
        let xid = self.request(client, op, body);
        self.carry();
        let mut frames = self.frames(client);
        let frame = frames.pop().unwrap_or_else(|| panic!("no answer to {op}"));
        assert!(frames.is_empty(), "more than one answer to {op}: {frames:?}");
        assert_eq!(frame.header.xid, xid);
        frame
    }

    fn create(&mut self, client: Client, path: &str, flags: i32) -> ErrorCode {
        self.call(client, OpCode::Create, &create(path, flags)).code()
    }

    fn exists(&mut self, client: Client, path: &str) -> bool {
        let frame = self.call(client, OpCode::Exists, &PathWatchRequest { path: path.into(), watch: false });
        frame.code() == ErrorCode::Ok
    }

    fn close_reason(&self, client: Client) -> Option<CloseReason> {
        self.engine(client.at).output(client.conn).and_then(|(_, close)| close.cloned())
    }

    /// Time passes for everybody; the leader pings and learners answer.
    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        let (now, wall) = self.time();
        for member in &mut self.members {
            member.engine.set_time(now, wall);
        }
        let leader = self.leader;
        for index in (0..self.members.len()).filter(|index| *index != leader) {
            let touches = self.members[index].engine.ping_answer();
            let packet = QuorumPacket::with_data(PacketType::PING, Zxid(0), touches.into());
            self.members[index].up.push_back(packet);
            self.move_up(index);
        }
        for member in &mut self.members {
            while member.engine.tick() {}
        }
        self.carry();
    }

    /// All members have the same sessions, znodes and stats.
    fn assert_equal(&mut self) {
        let pictures: Vec<_> = self.members.iter().map(|member| picture(&member.engine)).collect();
        for picture in &pictures[1..] {
            assert_eq!(*picture, pictures[0]);
        }
    }
}

/// What a server knows, in an order.
fn picture(engine: &Engine) -> (Zxid, Vec<SessionId>, Vec<(String, crate::records::Stat)>) {
    let mut nodes = Vec::new();
    let mut paths = vec!["/".to_owned()];
    while let Some(path) = paths.pop() {
        let node = engine.tree().lookup(&path).unwrap();
        let prefix = if path == "/" { "" } else { &path };
        paths.extend(engine.tree().children(node).map(|name| format!("{prefix}/{name}")));
        nodes.push((path, engine.tree().stat(node)));
    }
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    (engine.applied(), engine.state.sessions.sorted().iter().map(|(id, _)| *id).collect(), nodes)
}

fn deliver(engine: &mut Engine, proposal: &Proposal) {
    while engine.is_busy() {
        engine.go_on();
    }
    engine.deliver(proposal.zxid, &proposal.txn).unwrap();
}

/// A packet as its bytes.
fn over_the_wire(packet: &QuorumPacket) -> QuorumPacket {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    let (decoded, length) = QuorumPacket::decode(&bytes, crate::jute::FIELD_SIZE_MAX).unwrap().unwrap();
    assert_eq!((&decoded, length), (packet, bytes.len()));
    decoded
}
