//! Members of one ensemble in one process: a queue for a network, simulated disks, clients on their engines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::engine::{ConnId, Engine, EngineSettings, ReplicatedState};
use crate::ids::{LinkId, Millis, ServerId, WallMillis, Zxid};
use crate::jute::{Buffer, decode, encode};
use crate::member::{Host, JoinSettings, Loading, Member, configs_at_start, trust_new_file};
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::membership::Membership;
use crate::records::peer::{Notification, QuorumPacket};
use crate::records::replies::ReplyHeader;
use crate::records::requests::{CreateRequest, PathRequest, PathWatchRequest, RequestHeader, SetDataRequest};
use crate::records::{Acl, OpCode};
use crate::store::tests::sim_disk::SimDisk;
use crate::store::{LogWrite, Store, StoreOptions};
use crate::zab::{ConfigChange, Configs, Majority, Quorum, Quorums, Standing, ZabEvent, ZabSettings};

const TICK_MS: u64 = 100;
/// A step of the common clock, ms.
const STEP_MS: u64 = 5;

/// What is on its way to a member.
enum Item {
    Event(ZabEvent),
    Raw(LinkId, Vec<u8>),
}

/// The wires between members.
#[derive(Default)]
pub(super) struct Net {
    inboxes: BTreeMap<ServerId, VecDeque<Item>>,
    /// Each end of a connection, and the other one.
    ends: BTreeMap<(ServerId, LinkId), (ServerId, LinkId)>,
    links_made: u32,
    /// The newest ballot of one to another: re-sent when they are connected.
    ballots: BTreeMap<(ServerId, ServerId), Notification>,
    ballot_links: Vec<(ServerId, ServerId)>,
    /// How often each kind of packet was sent, and bytes of states.
    pub sent: BTreeMap<i32, usize>,
    pub raw: usize,
    /// So many of them arrive together; 0 for a few.
    pub raw_piece: usize,
    /// Who is sent states that cannot be read.
    pub spoils: Option<ServerId>,
    /// How far each member's wall clock is off, ms.
    pub wall_jumps: BTreeMap<ServerId, i64>,
    /// What each member told its host of configurations.
    pub configured: BTreeMap<ServerId, Vec<(Configs, ConfigChange)>>,
    /// A member whose quorum port does not accept.
    pub accepts_nobody: Option<ServerId>,
    /// A member that nobody reaches and that reaches nobody.
    apart: Option<ServerId>,
}

impl Net {
    fn push(&mut self, to: ServerId, item: Item) {
        if let Some(inbox) = self.inboxes.get_mut(&to) {
            inbox.push_back(item);
        }
    }

    fn is_up(&self, server: ServerId) -> bool {
        self.inboxes.contains_key(&server)
    }

    fn tell(&mut self, from: ServerId, to: ServerId) {
        if let Some(notification) = self.ballots.get(&(from, to)).cloned() {
            self.push(to, Item::Event(ZabEvent::Ballot { from, notification }));
        }
    }

    fn is_linked(&self, a: ServerId, b: ServerId) -> bool {
        self.ballot_links.contains(&(a.min(b), a.max(b)))
    }

    fn link(&mut self, a: ServerId, b: ServerId) {
        if self.is_linked(a, b) || !self.is_up(a) || !self.is_up(b) || self.is_cut(a, b) {
            return;
        }
        self.ballot_links.push((a.min(b), a.max(b)));
        for (one, other) in [(a, b), (b, a)] {
            self.push(one, Item::Event(ZabEvent::BallotLink { peer: other, is_up: true }));
            self.tell(one, other);
        }
    }

    fn close(&mut self, end: (ServerId, LinkId)) {
        if let Some((other, link)) = self.ends.remove(&end) {
            self.ends.remove(&(other, link));
            self.push(other, Item::Event(ZabEvent::Closed { link }));
        }
    }

    fn is_cut(&self, a: ServerId, b: ServerId) -> bool {
        self.apart.is_some_and(|apart| a == apart || b == apart)
    }

    /// `from` sends this over its connection with `to`, whatever it is.
    pub(super) fn speak(&mut self, from: ServerId, to: ServerId, packet: QuorumPacket) {
        let end = self.ends.iter().find(|((at, _), (other, _))| *at == from && *other == to);
        let link = end.map(|(_, (_, link))| *link).expect("they are connected");
        self.push(to, Item::Event(ZabEvent::Packet { link, packet }));
    }

    /// Cuts the wires of `server`.
    pub(super) fn cut(&mut self, server: ServerId) {
        self.apart = Some(server);
        self.lose_links(server);
    }

    pub(super) fn heal(&mut self) {
        self.apart = None;
    }

    fn dies(&mut self, server: ServerId) {
        self.inboxes.remove(&server);
        self.lose_links(server);
        self.ballots.retain(|(from, _), _| *from != server);
    }

    fn lose_links(&mut self, server: ServerId) {
        let ends: Vec<_> = self.ends.keys().filter(|(at, _)| *at == server).copied().collect();
        for (at, link) in ends {
            self.push(at, Item::Event(ZabEvent::Closed { link }));
            self.close((at, link));
        }
        let lost: Vec<_> = self.ballot_links.iter().filter(|(a, b)| *a == server || *b == server).copied().collect();
        for (a, b) in lost {
            for (one, other) in [(a, b), (b, a)] {
                self.push(one, Item::Event(ZabEvent::BallotLink { peer: other, is_up: false }));
            }
        }
        self.ballot_links.retain(|(a, b)| *a != server && *b != server);
    }
}

struct Wires<'n> {
    me: ServerId,
    now: u64,
    net: &'n mut Net,
}

impl Host for Wires<'_> {
    fn time(&self) -> (Millis, WallMillis) {
        let jumped = self.net.wall_jumps.get(&self.me).copied().unwrap_or(0);
        (Millis(self.now), WallMillis(1_700_000_000_000 + self.now as i64 + jumped))
    }

    fn now_us(&self) -> u64 {
        self.now * 1000
    }

    fn tell(&mut self, _engine: &mut Engine) {}

    fn ballot(&mut self, to: ServerId, notification: &Notification) {
        self.net.ballots.insert((self.me, to), notification.clone());
        if self.net.is_linked(self.me, to) {
            self.net.tell(self.me, to);
        }
    }

    fn link_ballots(&mut self, peers: &[ServerId]) {
        peers.iter().for_each(|peer| self.net.link(self.me, *peer));
    }

    fn dial(&mut self, to: ServerId) {
        if !self.net.is_up(to) || self.net.is_cut(self.me, to) || self.net.accepts_nobody == Some(to) {
            return self.net.push(self.me, Item::Event(ZabEvent::DialFailed));
        }
        self.net.links_made += 2;
        let ours = LinkId { slot: self.net.links_made, generation: 0 };
        let theirs = LinkId { slot: self.net.links_made + 1, generation: 0 };
        self.net.ends.insert((self.me, ours), (to, theirs));
        self.net.ends.insert((to, theirs), (self.me, ours));
        self.net.push(self.me, Item::Event(ZabEvent::Opened { link: ours, is_ours: true }));
        self.net.push(to, Item::Event(ZabEvent::Opened { link: theirs, is_ours: false }));
    }

    fn send(&mut self, link: LinkId, packet: &QuorumPacket) {
        *self.net.sent.entry(packet.kind.0).or_default() += 1;
        if let Some(&(to, at)) = self.net.ends.get(&(self.me, link)) {
            self.net.push(to, Item::Event(ZabEvent::Packet { link: at, packet: packet.clone() }));
        }
    }

    fn send_raw(&mut self, link: LinkId, mut bytes: Vec<u8>) {
        self.net.raw += bytes.len();
        if let Some(&(to, at)) = self.net.ends.get(&(self.me, link)) {
            if self.net.spoils == Some(to) {
                bytes.iter_mut().for_each(|byte| *byte = !*byte);
            }
            let size = if self.net.raw_piece == 0 { 7 } else { self.net.raw_piece };
            bytes.chunks(size).for_each(|piece| self.net.push(to, Item::Raw(at, piece.to_vec())));
        }
    }

    /// What the other end has not read yet.
    fn output_len(&self, link: LinkId) -> usize {
        let Some((to, at)) = self.net.ends.get(&(self.me, link)) else { return 0 };
        let waits = self.net.inboxes.get(to).into_iter().flatten();
        waits
            .map(|item| {
                if let Item::Raw(link, bytes) = item
                    && link == at
                {
                    bytes.len()
                } else {
                    0
                }
            })
            .sum()
    }

    fn close(&mut self, link: LinkId) {
        self.net.close((self.me, link));
    }

    fn configured(&mut self, configs: &Configs, change: ConfigChange) {
        self.net.configured.entry(self.me).or_default().push((configs.clone(), change));
    }

    fn heard(&mut self, _link: LinkId, rest: &[u8]) {
        assert!(rest.is_empty(), "packets are apart from the stream here");
    }
}

/// A client's session on one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub server: ServerId,
    conn: ConnId,
    pub id: i64,
    pub password: [u8; 16],
}

pub(super) struct World {
    pub net: Net,
    disks: BTreeMap<ServerId, Arc<SimDisk>>,
    pub(super) members: BTreeMap<ServerId, Member<Box<Engine>>>,
    outputs: BTreeMap<(ServerId, u32), Vec<u8>>,
    now: u64,
    xid: i32,
    pub(super) options: StoreOptions,
    observers: Vec<ServerId>,
    /// What each member's configuration file says, where members may change.
    files: BTreeMap<ServerId, Membership>,
    /// So many pieces of a state a member reads in a step; `None` for all.
    pub raw_per_step: Option<usize>,
    /// How members join, and what the operator says of new files.
    pub joining: JoinSettings,
    /// How long a write of the log takes, ms; members that are not here write at once.
    pub slow: BTreeMap<ServerId, u64>,
    /// Writes under way, and when they are over.
    writes: BTreeMap<ServerId, (u64, LogWrite)>,
}

impl World {
    pub(super) fn new(voters: u64, observers: u64) -> World {
        let mut world = World::idle(voters, observers);
        world.ids().into_iter().for_each(|id| world.start(id));
        world
    }

    /// Of which nobody has started.
    pub(super) fn idle(voters: u64, observers: u64) -> World {
        let count = voters + observers;
        let options = StoreOptions {
            extent_size: 64 << 10,
            initial_size: 512 << 10,
            max_size: 16 << 20,
            max_record: 32 << 10,
            log_window: 128 << 10,
            follower_window: 0,
            small_extents: true,
            ..StoreOptions::default()
        };
        let disk = |id| (ServerId(id), Arc::new(SimDisk::new(id)));
        World {
            net: Net::default(),
            disks: (1..=count).map(disk).collect(),
            members: BTreeMap::new(),
            outputs: BTreeMap::new(),
            now: 1,
            xid: 0,
            options,
            observers: (voters + 1..=count).map(ServerId).collect(),
            files: BTreeMap::new(),
            raw_per_step: None,
            joining: JoinSettings::default(),
            slow: BTreeMap::new(),
            writes: BTreeMap::new(),
        }
    }

    /// Of which nobody has started, and whose members may change.
    pub(super) fn changing(voters: u64) -> World {
        let mut world = World::idle(voters, 0);
        let lines: Vec<String> =
            (1..=voters).map(|id| format!("server.{id}=host{id}:1:2:participant;host{id}:3")).collect();
        let file = Membership::parse(&lines.join("\n")).unwrap();
        world.files = world.ids().into_iter().map(|id| (id, file.clone())).collect();
        world
    }

    /// A new member starts whose file names those of the first and itself, as this line says.
    pub(super) fn join(&mut self, id: ServerId, line: &str) {
        let file = self.files.values().next().unwrap().changed(line, "").unwrap();
        self.files.insert(id, file);
        self.disks.insert(id, Arc::new(SimDisk::new(id.0)));
        self.start(id);
    }

    /// The configurations that a member knows.
    pub(super) fn configs(&self, id: ServerId) -> &Configs {
        self.members[&id].configs().unwrap()
    }

    pub(super) fn ids(&self) -> Vec<ServerId> {
        self.disks.keys().copied().collect()
    }

    pub(super) fn voters(&self) -> Vec<ServerId> {
        self.ids().into_iter().filter(|id| !self.observers.contains(id)).collect()
    }

    /// An operator says of this member's new file that it is no loss; the process that is told ends at once.
    pub(super) fn trust(&mut self, id: ServerId) {
        let disk = Arc::clone(&self.disks[&id]) as Arc<_>;
        let mut state = ReplicatedState::new(&EngineSettings::default(), [id.0, 7]);
        let (mut store, _) = Store::open_on(disk, &self.options, &mut Loading::into(&mut state)).unwrap();
        assert!(trust_new_file(&mut store).unwrap(), "its file is not new");
    }

    /// Opens what is on the member's disk.
    pub(super) fn start(&mut self, id: ServerId) {
        let settings = EngineSettings {
            server_id: id,
            tick_ms: TICK_MS,
            session_timeout_min_ms: 1000,
            session_timeout_max_ms: 20_000,
            reconfig_enabled: !self.files.is_empty(),
            standalone_enabled: false,
            skip_acl: !self.files.is_empty(),
            ..EngineSettings::default()
        };
        let mut state = ReplicatedState::new(&settings, [id.0, 7]);
        let disk = Arc::clone(&self.disks[&id]) as Arc<_>;
        let (store, _) = Store::open_on(disk, &self.options, &mut Loading::into(&mut state)).unwrap();
        let mut member = Member::new(settings, state, store, Box::new);
        // As the peer does.
        member.store.set_writes_apart();
        let reconfig =
            self.files.get(&id).map(|file| configs_at_start(&member.store, member.engine.state(), file.clone()));
        if let Some(configs) = &reconfig {
            member.engine.configured(&configs.committed);
        }
        let settings = ZabSettings {
            me: id,
            is_participant: !self.observers.contains(&id),
            quorums: Quorums::of(Quorum::Majority(Majority::new(self.voters()))),
            config: "version=0".into(),
            tick_ms: TICK_MS,
            init_limit: 10,
            sync_limit: 5,
            reconfig,
            passwords: None,
        };
        self.net.inboxes.insert(id, VecDeque::new());
        let mut wires = Wires { me: id, now: self.now, net: &mut self.net };
        member.join(&mut wires, settings, self.joining).unwrap();
        self.members.insert(id, member);
    }

    /// The process is over; what was synced stays.
    pub(super) fn kill(&mut self, id: ServerId) {
        self.members.remove(&id);
        self.writes.remove(&id);
        self.net.dies(id);
        self.outputs.retain(|(server, _), _| *server != id);
        let disk = self.disks[&id].after_kill(self.now);
        self.disks.insert(id, Arc::new(disk));
    }

    /// Its disk is new.
    pub(super) fn wipe(&mut self, id: ServerId) {
        assert!(!self.members.contains_key(&id));
        self.disks.insert(id, Arc::new(SimDisk::new(self.now)));
    }

    /// The member's disk has no space beyond what its file has.
    pub(super) fn fill_disk(&mut self, id: ServerId) {
        self.disks[&id].set_room(self.disks[&id].image().len() as u64);
    }

    /// Nothing on the member's disk can be read any more.
    pub(super) fn spoil_disk(&mut self, id: ServerId) {
        self.disks[&id].fail_reads(0, u64::MAX);
    }

    /// The member's disk has space again.
    pub(super) fn empty_disk(&mut self, id: ServerId) {
        self.disks[&id].set_room(u64::MAX);
    }

    pub(super) fn engine(&self, id: ServerId) -> &Engine {
        &self.members[&id].engine
    }

    pub(super) fn standing(&self, id: ServerId) -> Option<Standing> {
        self.members.get(&id)?.standing()
    }

    pub(super) fn leader(&self) -> Option<ServerId> {
        self.ids().into_iter().find(|id| matches!(self.standing(*id), Some(Standing::Leading { .. })))
    }

    pub(super) fn followers(&self) -> Vec<ServerId> {
        let follows = |id: &ServerId| matches!(self.standing(*id), Some(Standing::Following { .. }));
        self.ids().into_iter().filter(follows).collect()
    }

    /// Everybody who runs serves.
    pub(super) fn is_whole(&self) -> bool {
        self.leader().is_some() && self.followers().len() + 1 == self.members.len()
    }

    pub(super) fn time(&self) -> Millis {
        Millis(self.now)
    }

    pub(super) fn applied(&self, id: ServerId) -> Zxid {
        self.members[&id].applied()
    }

    fn step(&mut self) {
        self.now += STEP_MS;
        for id in self.ids() {
            let Some(member) = self.members.get_mut(&id) else { continue };
            let mut wires = Wires { me: id, now: self.now, net: &mut self.net };
            let (now, wall) = wires.time();
            member.engine.set_time(now, wall);
            member.wake(&mut wires).unwrap();
            member.pace();
            let mut arrived = wires.net.inboxes.get_mut(&id).map(std::mem::take).unwrap_or_default();
            if let Some(allowed) = self.raw_per_step {
                let raw = arrived.iter().enumerate().filter(|(_, item)| matches!(item, Item::Raw(..)));
                if let Some((at, _)) = raw.clone().nth(allowed) {
                    let later = arrived.split_off(at);
                    wires.net.inboxes.insert(id, later);
                }
            }
            for item in arrived {
                match item {
                    Item::Event(event) => member.handle(&mut wires, event).unwrap(),
                    Item::Raw(link, bytes) => member.raw(&mut wires, link, &bytes).unwrap(),
                }
            }
            member.engine.go_on();
            while member.engine.tick() {}
            match self.slow.get(&id).copied().or_else(|| self.writes.contains_key(&id).then_some(0)) {
                None => member.commit(&mut wires).unwrap(),
                Some(takes_ms) => {
                    if let Some(write) = member.commit_begin(&mut wires).unwrap() {
                        assert!(!self.writes.contains_key(&id), "two writes at once");
                        self.writes.insert(id, (wires.now + takes_ms, write));
                    }
                    let is_over = self.writes.get(&id).is_some_and(|(due, _)| *due <= wires.now);
                    let over = if is_over { self.writes.remove(&id) } else { None };
                    let written = over.map(|(_, write)| write.carry_out());
                    member.commit_end(&mut wires, written).unwrap();
                }
            }
            member.take_snapshot(&mut wires).unwrap();
            while let Some(conn) = member.engine.poll_touched() {
                let Some((output, close)) = member.engine.output(conn) else { continue };
                let (output, is_closed) = (output.to_vec(), close.is_some());
                self.outputs.entry((id, conn.slot)).or_default().extend_from_slice(&output);
                member.engine.flushed(conn, output.len());
                if is_closed {
                    member.engine.closed(conn);
                    self.outputs.remove(&(id, conn.slot));
                }
            }
            member.told_all();
            member.tick(&mut wires).unwrap();
        }
    }

    #[track_caller]
    pub(super) fn until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        let end = self.now + 60_000;
        while !is_so(self) {
            let standings: Vec<_> = self.ids().into_iter().map(|id| self.standing(id)).collect();
            assert!(self.now < end, "it never came true that {what}: {standings:?}");
            self.step();
        }
    }

    fn offer(&mut self, server: ServerId, conn: ConnId, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        let end = self.now + 60_000;
        loop {
            let engine = &mut self.members.get_mut(&server).unwrap().engine;
            let consumed = engine.receive(conn, &frame).consumed;
            frame.drain(..consumed);
            if frame.is_empty() {
                return;
            }
            // The log waits for a snapshot or for space.
            assert!(self.now < end, "a request is never taken");
            self.step();
        }
    }

    /// The next frame that a connection was sent; `None` when it was closed.
    #[track_caller]
    fn frame(&mut self, server: ServerId, conn: ConnId) -> Option<Vec<u8>> {
        let key = (server, conn.slot);
        self.until("a frame comes", |world| {
            let is_open = world.members.get(&server).is_some_and(|member| member.engine.output(conn).is_some());
            !is_open || world.outputs.get(&key).is_some_and(|output| output.len() > 4)
        });
        let output = self.outputs.get_mut(&key)?;
        let length = u32::from_be_bytes(*output.first_chunk::<4>()?) as usize;
        let frame = output[4..4 + length].to_vec();
        output.drain(..4 + length);
        Some(frame)
    }

    /// A new session, or `resumed`, at this member. `None` when the connection was closed.
    #[track_caller]
    pub(super) fn connect(&mut self, server: ServerId, resumed: Option<Session>) -> Option<Session> {
        let engine = &mut self.members.get_mut(&server).unwrap().engine;
        let conn = engine.open("127.0.0.1:4000".parse().unwrap());
        let (session_id, password) = resumed.map_or((0, [0; 16]), |old| (old.id, old.password));
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout: 10_000,
            session_id,
            password: Buffer::new(&password),
        };
        let mut payload = Vec::new();
        encode(&request, &mut payload);
        payload.push(0);
        self.offer(server, conn, &payload);
        let frame = self.frame(server, conn)?;
        let response: ConnectResponse<'_> = decode(&frame[..frame.len() - 1]).unwrap();
        let password = response.password.0.unwrap().try_into().unwrap();
        Some(Session { server, conn, id: response.session_id, password })
    }

    pub(super) fn call(
        &mut self,
        client: Session,
        op: OpCode,
        body: &impl serde::Serialize,
    ) -> Option<(ReplyHeader, Vec<u8>)> {
        self.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.xid, op: op.to_i32() }, &mut payload);
        encode(body, &mut payload);
        self.members.get(&client.server)?.engine.output(client.conn)?;
        self.offer(client.server, client.conn, &payload);
        let frame = self.frame(client.server, client.conn)?;
        let header: ReplyHeader = decode(&frame[..16]).unwrap();
        assert_eq!(header.xid, self.xid);
        Some((header, frame[16..].to_vec()))
    }

    /// Sends a create and does not wait for its answer.
    pub(super) fn send_create(&mut self, client: Session, path: &str) {
        self.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.xid, op: OpCode::Create.to_i32() }, &mut payload);
        let acl = Some(vec![Acl::open()]);
        encode(&CreateRequest { path: path.into(), data: Buffer::new(b""), acl, flags: 0 }, &mut payload);
        self.offer(client.server, client.conn, &payload);
        self.step();
    }

    /// Asks for the end of the session and does not wait for it.
    pub(super) fn send_close(&mut self, client: Session) {
        self.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.xid, op: OpCode::CloseSession.to_i32() }, &mut payload);
        self.offer(client.server, client.conn, &payload);
    }

    /// Whether a write of the member's log is under way.
    pub(super) fn is_writing(&self, id: ServerId) -> bool {
        self.writes.contains_key(&id)
    }

    /// Sends a `sync` and does not wait for its answer.
    pub(super) fn send_sync(&mut self, client: Session) {
        self.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.xid, op: OpCode::Sync.to_i32() }, &mut payload);
        encode(&PathRequest { path: "/".into() }, &mut payload);
        self.offer(client.server, client.conn, &payload);
        self.step();
    }

    /// Whether an answer is there for this client.
    pub(super) fn is_answered(&self, client: Session) -> bool {
        self.outputs.get(&(client.server, client.conn.slot)).is_some_and(|output| !output.is_empty())
    }

    /// Takes the answer that is there.
    #[track_caller]
    pub(super) fn take_answer(&mut self, client: Session) {
        assert!(self.frame(client.server, client.conn).is_some(), "the connection is closed");
    }

    /// Lets so much time pass.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.step();
        }
    }

    /// The end of the log on the member's disk.
    pub(super) fn logged(&self, id: ServerId) -> Zxid {
        self.members[&id].store.last_zxid()
    }

    /// The error of a create; `None` when the connection was closed before an answer came.
    pub(super) fn create(&mut self, client: Session, path: &str, data: &[u8], flags: i32) -> Option<i32> {
        let acl = Some(vec![Acl::open()]);
        let request = CreateRequest { path: path.into(), data: Buffer::new(data), acl, flags };
        self.call(client, OpCode::Create, &request).map(|(header, _)| header.err)
    }

    pub(super) fn set(&mut self, client: Session, path: &str, data: &[u8]) -> Option<i32> {
        let request = SetDataRequest { path: path.into(), data: Buffer::new(data), version: -1 };
        self.call(client, OpCode::SetData, &request).map(|(header, _)| header.err)
    }

    pub(super) fn sync(&mut self, client: Session) -> Option<i32> {
        self.call(client, OpCode::Sync, &PathRequest { path: "/".into() }).map(|(header, _)| header.err)
    }

    /// Whether it exists, as this client's member sees it.
    pub(super) fn exists(&mut self, client: Session, path: &str) -> Option<bool> {
        let request = PathWatchRequest { path: path.into(), watch: false };
        self.call(client, OpCode::Exists, &request).map(|(header, _)| header.err == 0)
    }

    /// Everything that a member holds: path, stat, data, ACL; and its sessions.
    pub(super) fn state(&self, id: ServerId) -> Vec<String> {
        let engine = self.engine(id);
        let tree = engine.tree();
        let mut all: Vec<String> = Vec::new();
        let mut paths = vec!["/".to_owned()];
        while let Some(path) = paths.pop() {
            let node = tree.lookup(&path).unwrap();
            all.push(format!("{path} {:?} {:?} {:?}", tree.stat(node), tree.data(node), tree.acl(node).entries()));
            let prefix = if path == "/" { String::new() } else { path };
            paths.extend(tree.children(node).map(|name| format!("{prefix}/{name}")));
        }
        let mut sessions: Vec<i64> = engine.expiry_buckets().flat_map(|(_, ids)| ids).map(|id| id.0).collect();
        sessions.sort_unstable();
        all.sort();
        all.push(format!("{sessions:x?}"));
        all
    }

    /// Every member has applied everything.
    #[track_caller]
    pub(super) fn all_have_applied(&mut self) {
        self.until("everybody has applied everything", |world| {
            let ends: Vec<Zxid> = world.members.keys().map(|id| world.applied(*id)).collect();
            world.is_whole() && ends.iter().all(|end| *end == ends[0])
        });
    }

    /// And all hold the same.
    #[track_caller]
    pub(super) fn all_agree(&mut self) {
        self.all_have_applied();
        let ids: Vec<ServerId> = self.members.keys().copied().collect();
        for id in &ids {
            self.engine(*id).tree().check().unwrap();
            assert_eq!(self.state(*id), self.state(ids[0]), "{id} and {}", ids[0]);
        }
    }
}
