//! One member in virtual time whose ensemble is the test: it speaks for the other servers packet by packet, and has a hand on the
//! member's disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::site::{self, LoopClock, Seat, Site, new_session};
use crate::engine::{ConnId, Duty, Engine, EngineSettings, ReplicatedState, Walked};
use crate::ids::{LinkId, Millis, ServerId, WallMillis, Zxid};
use crate::jute::encode;
use crate::member::{Host, JoinSettings, Loading, Member};
use crate::records::peer::{LearnerInfo, Notification, PacketType, PeerState, QuorumPacket, epoch_ack};
use crate::records::txn::Payload;
use crate::store::tests::sim_disk::SimDisk;
use crate::store::tests::world::tiny;
use crate::store::{LogWrite, MemberState, Store, StoreOptions};
use crate::zab::{Majority, Quorum, Quorums, Standing, ZabEvent, ZabSettings};

const TICK_MS: u64 = 100;
/// The server that the member follows.
const LEADER: ServerId = ServerId(3);

/// What the member asked of its host.
#[derive(Default)]
pub(super) struct Wires {
    pub clock: LoopClock,
    /// Packets, oldest first.
    pub sent: Vec<(LinkId, QuorumPacket)>,
    /// Who was dialled, and when.
    pub dialled: Vec<(u64, ServerId)>,
    pub closed: Vec<LinkId>,
    /// Streams that have ended, and the bytes behind them.
    pub heard: Vec<(LinkId, Vec<u8>)>,
    /// Bytes that a connection has not taken yet.
    pub waiting: BTreeMap<LinkId, usize>,
    /// Pieces of states, where they went to and how large they were.
    pub raw: Vec<(LinkId, usize)>,
    /// Nobody takes anything for now.
    pub is_blocked: bool,
    /// How many packets were handed to the system.
    pub flushed: usize,
    vote: Option<Notification>,
}

impl Host for Wires {
    fn time(&self) -> (Millis, WallMillis) {
        self.clock.time()
    }

    fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    fn tell(&mut self, _: &mut Engine) {}

    fn ballot(&mut self, _: ServerId, notification: &Notification) {
        self.vote = Some(notification.clone());
    }

    fn dial(&mut self, to: ServerId) {
        self.dialled.push((self.clock.now, to));
    }

    fn send(&mut self, link: LinkId, packet: &QuorumPacket) {
        self.sent.push((link, packet.clone()));
    }

    fn send_raw(&mut self, link: LinkId, bytes: Vec<u8>) {
        self.raw.push((link, bytes.len()));
        if self.is_blocked {
            *self.waiting.entry(link).or_default() += bytes.len();
        }
    }

    fn output_len(&self, link: LinkId) -> usize {
        self.waiting.get(&link).copied().unwrap_or(0)
    }

    fn close(&mut self, link: LinkId) {
        self.closed.push(link);
    }

    fn flush(&mut self) {
        self.flushed = self.sent.len();
    }

    fn heard(&mut self, link: LinkId, rest: &[u8]) {
        self.heard.push((link, rest.to_vec()));
    }
}

/// What another server did in epoch 4.
pub(super) struct Past {
    disk: Arc<SimDisk>,
    pub txns: Vec<(Zxid, Payload)>,
    /// The stream of its state.
    pub state: Vec<u8>,
    /// The state's digest.
    pub digest: u64,
}

impl Past {
    /// What this client made of it.
    pub(super) fn of(options: &StoreOptions, deeds: impl FnOnce(&mut Site)) -> Past {
        let disk = Arc::new(SimDisk::new(3));
        let mut member = site::open(&disk, options);
        let kept = MemberState { accepted_epoch: 4, current_epoch: 4, ..member.store.member_state().clone() };
        member.store.keep(&kept).unwrap();
        let mut site = Site::of(member);
        deeds(&mut site);
        let Site { member, .. } = &mut site;
        let mut cursor = member.store.read_open(Zxid::ZERO).unwrap().expect("all of the log is there");
        let mut txns = Vec::new();
        while txns.last().map(|(zxid, _)| *zxid) != Some(member.applied()) {
            let read = member.store.read(&mut cursor, 1 << 20).unwrap();
            assert!(!read.is_empty(), "the log ends at {:?}", txns.last());
            txns.extend(read);
        }
        member.store.read_close(cursor);
        let mut telling = member.engine.retell_begin().unwrap();
        let mut state = Vec::new();
        loop {
            let mut piece = Vec::new();
            let walked = member.engine.retell_on(&mut telling, 100, 1 << 16, &mut piece);
            state.append(&mut piece);
            match walked {
                Walked::More => {}
                Walked::Whole => break,
                Walked::GivenUp => panic!("nothing is written meanwhile"),
            }
        }
        let digest = member.engine.tree().digest();
        Past { disk, txns, state, digest }
    }

    /// So many writes of so many bytes.
    pub(super) fn writes(count: usize, size: usize) -> Past {
        Past::of(&roomy(), |site| {
            (0..count).for_each(|number| assert_eq!(site.create(&format!("/n{number}"), size), Some(0)))
        })
    }

    /// What it has on disk.
    pub(super) fn image(&self) -> Vec<u8> {
        self.disk.image()
    }

    /// Its last transaction.
    pub(super) fn end(&self) -> Zxid {
        self.txns.last().unwrap().0
    }
}

/// A log that keeps all that these tests write.
pub(super) fn roomy() -> StoreOptions {
    StoreOptions { log_window: 4 << 20, follower_window: 0, max_size: 16 << 20, ..tiny() }
}

fn settings() -> EngineSettings {
    EngineSettings { server_id: ServerId(1), tick_ms: TICK_MS, ..EngineSettings::default() }
}

pub(super) struct Hand {
    pub member: Member<Seat>,
    pub wires: Wires,
    pub disk: Arc<SimDisk>,
    options: StoreOptions,
    /// Writes are handed back when the test says so.
    pub is_slow: bool,
    write: Option<LogWrite>,
    /// The connection to the leader of this moment.
    pub link: LinkId,
}

impl Hand {
    /// One of three voters, with a new file that its operator trusts.
    pub(super) fn new(options: &StoreOptions) -> Hand {
        Hand::joining(options, JoinSettings { trusts_new_file: Some(true), ..JoinSettings::default() })
    }

    pub(super) fn joining(options: &StoreOptions, joining: JoinSettings) -> Hand {
        Hand::on(Arc::new(SimDisk::new(7)), options, &[1, 2, 3], joining)
    }

    /// The only voter, with this past.
    pub(super) fn leading(past: &Past, options: &StoreOptions) -> Hand {
        let mut hand =
            Hand::on(Arc::new(SimDisk::of_image(past.disk.image(), 7)), options, &[1], JoinSettings::default());
        hand.turns(20);
        assert!(matches!(hand.member.standing(), Some(Standing::Leading { .. })));
        hand
    }

    /// With what is on this disk.
    pub(super) fn on(disk: Arc<SimDisk>, options: &StoreOptions, voters: &[u64], joining: JoinSettings) -> Hand {
        let mut state = ReplicatedState::new(&settings(), [1, 2]);
        let (store, _) = Store::open_on(Arc::clone(&disk) as _, options, &mut Loading::into(&mut state)).unwrap();
        Hand::with(disk, store, state, options, voters, joining)
    }

    /// One of three voters whose file is damaged.
    pub(super) fn damaged(disk: Arc<SimDisk>, options: &StoreOptions, joining: JoinSettings) -> Hand {
        let store = Store::open_to_be_filled(Arc::clone(&disk) as _, options).unwrap();
        let state = ReplicatedState::new(&settings(), [1, 2]);
        Hand::with(disk, store, state, options, &[1, 2, 3], joining)
    }

    fn with(
        disk: Arc<SimDisk>,
        store: Store,
        state: ReplicatedState,
        options: &StoreOptions,
        voters: &[u64],
        joining: JoinSettings,
    ) -> Hand {
        let mut member = Member::new(settings(), state, store, Seat::of);
        // As the peer does.
        member.store.set_writes_apart();
        let zab = ZabSettings {
            me: ServerId(1),
            is_participant: true,
            quorums: Quorums::of(Quorum::Majority(Majority::new(voters.iter().copied().map(ServerId).collect()))),
            config: "version=0".into(),
            tick_ms: TICK_MS,
            init_limit: 10,
            sync_limit: 5,
            reconfig: None,
            passwords: None,
        };
        let mut wires = Wires { clock: LoopClock::at(1000), ..Wires::default() };
        member.join(&mut wires, zab, joining).unwrap();
        let link = LinkId { slot: 0, generation: 0 };
        Hand { member, wires, disk, options: options.clone(), is_slow: false, write: None, link }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Its turns and its disk

    /// One turn of the loop.
    pub(super) fn turn(&mut self) {
        self.begin_turn();
        let write = self.member.commit_begin(&mut self.wires).unwrap();
        assert!(write.is_none() || self.write.is_none(), "two writes at once");
        self.write = self.write.take().or(write);
        if self.is_slow {
            self.member.commit_end(&mut self.wires, None).unwrap();
        } else {
            while let Some(write) = self.write.take() {
                self.member.commit_end(&mut self.wires, Some(write.carry_out())).unwrap();
                self.write = self.member.commit_begin(&mut self.wires).unwrap();
            }
            self.member.commit_end(&mut self.wires, None).unwrap();
        }
        self.member.take_snapshot(&mut self.wires).unwrap();
        self.member.told_all();
        self.member.tick(&mut self.wires).unwrap();
    }

    /// What a turn does before it commits.
    pub(super) fn begin_turn(&mut self) {
        let (now, wall) = self.wires.time();
        self.member.engine.set_time(now, wall);
        self.member.wake(&mut self.wires).unwrap();
        self.member.pace();
        self.member.engine.go_on();
        while self.member.engine.tick() {}
    }

    /// So many, with a millisecond between two.
    pub(super) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.wires.clock.now += 1;
            self.turn();
        }
    }

    /// The write that is under way is over.
    pub(super) fn end_write(&mut self) {
        let written = self.write.take().expect("no write is under way").carry_out();
        self.member.commit_end(&mut self.wires, Some(written)).unwrap();
    }

    /// The superblock begins to be written, as it is whenever the file grows or a snapshot is published.
    pub(super) fn begin_rearranging(&mut self) {
        let state = self.member.store.member_state().clone();
        self.member.store.keep(&state).unwrap();
        self.is_slow = true;
        self.turn();
        assert!(self.write.is_some() && self.member.store.is_rearranging());
    }

    /// The process is over, and another one begins with its file.
    pub(super) fn restarts(&mut self) {
        let disk = Arc::new(SimDisk::of_image(self.disk.image(), 8));
        *self = Hand::on(disk, &self.options.clone(), &[1, 2, 3], JoinSettings::default());
    }

    /// What a process has that begins with the member's file now.
    pub(super) fn recovered(&self) -> (Zxid, u64) {
        let member = site::open(&Arc::new(SimDisk::of_image(self.disk.image(), 4)), &self.options);
        (member.applied(), member.engine.tree().digest())
    }

    /// What it has in memory.
    pub(super) fn state(&self) -> (Zxid, u64) {
        (self.member.applied(), self.member.engine.tree().digest())
    }

    /// What it told others in elections last.
    pub(super) fn vote(&self) -> Option<&Notification> {
        self.wires.vote.as_ref()
    }

    pub(super) fn duty(&self) -> Duty {
        self.member.engine.duty()
    }

    // -----------------------------------------------------------------------------------------------------------
    // The leader that it follows

    pub(super) fn tell(&mut self, event: ZabEvent) {
        self.member.handle(&mut self.wires, event).unwrap();
    }

    /// Both others say that there is a leader.
    pub(super) fn is_told_who_leads(&mut self) {
        let own = self.wires.vote.clone().expect("it votes");
        for (from, state) in [(LEADER, PeerState::Leading), (ServerId(2), PeerState::Following)] {
            let notification = Notification { state, leader: LEADER, ..own.clone() };
            self.tell(ZabEvent::Ballot { from, notification });
        }
    }

    /// The connection to the leader that was dialled is there.
    pub(super) fn is_connected(&mut self) {
        self.link = LinkId { slot: self.link.slot + 1, generation: 0 };
        self.tell(ZabEvent::Opened { link: self.link, is_ours: true });
    }

    /// It promises a leader this epoch.
    pub(super) fn promises(&mut self, epoch: u32) {
        let before = self.wires.dialled.len();
        self.is_told_who_leads();
        while self.wires.dialled.len() == before {
            assert!(self.member.standing() == Some(Standing::Looking), "it follows somebody");
            let wait = self.member.poll_timeout(Millis(self.wires.clock.now)).expect("it waits for something");
            assert!(wait <= 2000, "it does not dial the leader");
            self.wires.clock.now += wait.max(1);
            self.turn();
        }
        self.is_connected();
        self.hears(PacketType::LEADERINFO, Zxid::new(epoch, 0));
        self.turn();
        assert!(self.has_sent(PacketType::ACKEPOCH), "it did not promise epoch {epoch}");
    }

    pub(super) fn hears(&mut self, kind: PacketType, zxid: Zxid) {
        self.packet(QuorumPacket::bare(kind, zxid));
    }

    pub(super) fn packet(&mut self, packet: QuorumPacket) {
        self.tell(ZabEvent::Packet { link: self.link, packet });
    }

    /// Proposals, and with each its commit.
    pub(super) fn hears_committed(&mut self, txns: &[(Zxid, Payload)]) {
        for (zxid, txn) in txns {
            self.packet(QuorumPacket::with_data(PacketType::PROPOSAL, *zxid, txn.clone()));
            self.hears(PacketType::COMMIT, *zxid);
        }
    }

    /// Bytes of a state come.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.member.raw(&mut self.wires, self.link, bytes).unwrap();
    }

    /// The state of this past comes, all of it but what ends the history.
    pub(super) fn hears_state(&mut self, past: &Past) {
        self.hears(PacketType::SNAP, past.end());
        self.raw(&past.state);
        assert_eq!(self.wires.heard.last(), Some(&(self.link, Vec::new())));
    }

    /// The history of this epoch ends here, and the member serves as soon as it has everything.
    pub(super) fn ends_history(&mut self, epoch: u32) {
        self.hears(PacketType::NEWLEADER, Zxid::new(epoch, 0));
        self.serves(epoch);
    }

    /// It acknowledges the history of this epoch, is told to serve, and does.
    pub(super) fn serves(&mut self, epoch: u32) {
        for _ in 0..300 {
            if !self.has_acked(epoch) {
                self.turns(1);
            }
        }
        assert!(self.has_acked(epoch), "the history is not acknowledged");
        self.hears(PacketType::UPTODATE, Zxid(-1));
        self.turn();
        let standing = Standing::Following { leader: LEADER, epoch, votes: true };
        assert_eq!(self.member.standing(), Some(standing));
    }

    /// It follows in this epoch with this past, by way of its log.
    pub(super) fn follows_by_log(&mut self, epoch: u32, past: &[(Zxid, Payload)]) {
        self.promises(epoch);
        self.hears(PacketType::DIFF, past.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid));
        self.hears_committed(past);
        self.ends_history(epoch);
    }

    /// The connection to the leader is lost.
    pub(super) fn loses_leader(&mut self) {
        self.tell(ZabEvent::Closed { link: self.link });
        assert_eq!(self.member.standing(), Some(Standing::Looking));
    }

    /// Whether it has said in elections whom it votes for.
    pub(super) fn has_voted(&self) -> bool {
        // Who has no voice says that its log ends before the first transaction.
        self.wires.vote.as_ref().is_some_and(|vote| vote.zxid >= Zxid::ZERO)
    }

    /// Whether it sent such a packet over its connection to the leader.
    pub(super) fn has_sent(&self, kind: PacketType) -> bool {
        self.packets().any(|packet| packet.kind == kind)
    }

    /// Whether it has acknowledged the history that begins this epoch.
    pub(super) fn has_acked(&self, epoch: u32) -> bool {
        self.packets().any(|packet| packet.kind == PacketType::ACK && packet.zxid == Zxid::new(epoch, 0))
    }

    /// Where it said that its log ends.
    pub(super) fn end_told(&self) -> Option<Zxid> {
        self.packets().find(|packet| packet.kind == PacketType::ACKEPOCH).map(|packet| packet.zxid)
    }

    fn packets(&self) -> impl Iterator<Item = &QuorumPacket> {
        self.wires.sent.iter().filter(|(link, _)| *link == self.link).map(|(_, packet)| packet)
    }

    // -----------------------------------------------------------------------------------------------------------
    // Its clients

    /// A client that asks for a session, for reading alone perhaps.
    pub(super) fn client(&mut self, is_read_only: bool) -> ConnId {
        let conn = self.member.engine.open("127.0.0.1:4000".parse().unwrap());
        self.member.engine.keep_alive(conn);
        let mut frame = vec![0; 4];
        encode(&new_session(), &mut frame);
        frame.push(u8::from(is_read_only));
        let length = frame.len() as u32 - 4;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(self.member.engine.receive(conn, &frame).consumed, frame.len());
        conn
    }

    /// Whether a client is connected, and how many bytes it was sent.
    pub(super) fn sent_to(&self, conn: ConnId) -> (bool, usize) {
        let (unsent, closed) = self.member.engine.output(conn).expect("its connection is there");
        (closed.is_none(), unsent.len())
    }

    /// A client with a session of a member that leads, and what it sends: so many writes of so many bytes.
    pub(super) fn client_with_writes(&mut self, count: i32, size: usize) -> (ConnId, Vec<u8>) {
        let conn = self.client(false);
        self.turns(3);
        (conn, site::writes(count, size))
    }

    // -----------------------------------------------------------------------------------------------------------
    // A learner of a member that leads

    /// An observer comes whose log ends there, and is told that it is brought up to date.
    pub(super) fn is_observed(&mut self, link: LinkId, end: Zxid) {
        self.tell(ZabEvent::Opened { link, is_ours: false });
        let server = ServerId(8 + u64::from(link.slot));
        let info = LearnerInfo { server, config_version: 0, takes_passwords: true };
        self.tell(ZabEvent::Packet {
            link,
            packet: QuorumPacket::with_data(PacketType::OBSERVERINFO, Zxid::ZERO, info.encoded()),
        });
        self.tell(ZabEvent::Packet {
            link,
            packet: QuorumPacket::with_data(PacketType::ACKEPOCH, end, epoch_ack(end.epoch() as i32)),
        });
    }

    /// A server of ZooKeeper's comes: from the next epoch on sessions have passwords that it takes, so that this one ends.
    pub(super) fn is_left_for_another_epoch(&mut self, link: LinkId) {
        let standing = self.member.standing();
        let info = LearnerInfo { server: ServerId(99), config_version: 0, takes_passwords: false };
        let packet = QuorumPacket::with_data(PacketType::OBSERVERINFO, Zxid::ZERO, info.encoded());
        self.tell(ZabEvent::Opened { link, is_ours: false });
        self.tell(ZabEvent::Packet { link, packet });
        assert_ne!(self.member.standing(), standing, "it goes on leading in its epoch");
    }

    /// The transactions that were sent on a connection.
    pub(super) fn txns_sent(&self, link: LinkId) -> usize {
        self.zxids_sent(link).count()
    }

    /// Their zxids.
    pub(super) fn zxids_sent(&self, link: LinkId) -> impl Iterator<Item = Zxid> {
        let is_one = move |(to, packet): &&(LinkId, QuorumPacket)| {
            *to == link && matches!(packet.kind, PacketType::PROPOSAL | PacketType::INFORM)
        };
        self.wires.sent.iter().filter(is_one).map(|(_, packet)| packet.zxid)
    }
}
