//! A simulated machine: its disk, its clocks, and the process that runs on it, if one does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::agenda::Happening;
use super::apache::{Apache, JavaDisk, JavaSettings, Make};
use super::network::Travelling;
use super::swarm::{Swarm, line};
use crate::engine::{ConnId, Engine, EngineSettings, ReplicatedState};
use crate::ids::{LinkId, Millis, ServerId, SessionId, WallMillis, Zxid};
use crate::member::{Loading, Member, configs_at_start as configs_of};
use crate::records::membership::Membership;
use crate::records::peer::{Notification, PacketType};
use crate::records::servers::Role;
use crate::records::txn::Payload;
use crate::session::SessionPasswords;
use crate::sim::node::Noting;
use crate::store::tests::sim_disk::{Rng, SimDisk};
use crate::store::{LogWrite, Store, StoreError};
use crate::zab::{Configs, Majority, Quorum, Quorums, Standing, ZabSettings};

/// What has come to a process and was not looked at yet.
pub(super) enum Incoming {
    Stream(u64, Travelling),
    /// Somebody has connected to the quorum port or to the client port.
    Accepted(u64),
    /// Our dial of a quorum port stands.
    Opened(u64),
    DialFailed,
    /// An election connection stands.
    Voice(ServerId, u64),
    /// It could not be made.
    NoVoice(ServerId),
}

/// A connection of the quorum port.
pub(super) struct QuorumSocket {
    pub link: LinkId,
    /// It has not introduced itself.
    pub is_new: bool,
    pub is_raw: bool,
    pub input: Vec<u8>,
    pub has_ended: bool,
    /// Proposals sent and not committed on it yet (S-14).
    pub proposed: VecDeque<Zxid>,
    /// The epoch that came over it (D-01).
    pub epoch: u32,
    /// How what the learner lacks begins, until the first transaction of it has left.
    pub began_with: Option<PacketType>,
    /// NEWLEADER has left, and UPTODATE.
    pub is_ended: bool,
    pub is_up: bool,
    /// The acknowledgement of the history has left.
    pub has_history: bool,
    /// Where the learner at the other end has said that its log ends, and what it has been sent since (S-13).
    pub sent: Option<Zxid>,
    /// The last proposal that was acknowledged over it (S-12).
    pub acked: Option<Zxid>,
}

/// A client's connection.
pub(super) struct ClientPortSocket {
    pub conn: ConnId,
    pub input: Vec<u8>,
    pub has_ended: bool,
}

pub(super) enum SimSocket {
    Quorum(QuorumSocket),
    Voice(ServerId),
    Client(ClientPortSocket),
}

/// What a process has to do with another server's election port.
#[derive(Default)]
pub(super) struct SimVoice {
    pub newest: Option<Notification>,
    pub stream: Option<u64>,
    pub is_dialling: bool,
    pub is_wanted: bool,
    pub redial_at: u64,
    pub failures: u32,
    /// Since when it is asked and silent.
    pub asked_at: Option<u64>,
    /// How often it was told something since then (L-08).
    pub told: (u64, u32),
}

/// A process that runs.
pub(super) struct SimProcess {
    pub member: Member<Box<Engine>>,
    pub started_us: u64,
    pub sockets: BTreeMap<u64, SimSocket>,
    pub links: BTreeMap<LinkId, u64>,
    pub next_link: u32,
    pub inbox: VecDeque<Incoming>,
    pub voices: BTreeMap<ServerId, SimVoice>,
    /// The dial under way.
    pub dial: u64,
    pub turn_at: Option<u64>,
    /// It works until then.
    pub works_until: u64,
    /// The loop waits for its write.
    pub waits_for_write: bool,
    pub write: Option<LogWrite>,
    pub woke: Millis,
    pub asleep: Option<(Millis, u64)>,
    pub standing: Standing,
    /// Entries of its log that were compared with the history.
    pub verified: usize,
    /// When it last heard of a session, by [`SimProcess::sessions_us`], and by what (G-10).
    pub heard: BTreeMap<i64, (u64, &'static str)>,
    /// How long it did not run, µs.
    pub stopped_us: u64,
    /// The part of that which its loop has granted back to sessions: it does not notice how long it slept to the last moment.
    pub granted_us: u64,
    pub leads_since: u64,
    /// The same by the time that counts for sessions.
    pub decides_since: u64,
    /// When it last heard of each of its learners, by the same count (L-04).
    pub learners: BTreeMap<ServerId, u64>,
    /// When it last sent a state: who installs one may be silent for longer.
    pub sent_state: Option<u64>,
    /// Pings and answers that it has sent.
    pub pings: u64,
    /// What it had applied when it was looked at last.
    pub applied: Zxid,
    /// When it last went on after it had been stopped.
    pub resumed_at: Option<u64>,
}

impl SimProcess {
    /// The time that counts for sessions.
    pub(super) fn sessions_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.granted_us)
    }

    /// A sign of life of a session. One whose end is proposed has none: where no PROPOSAL leaves, since nobody else votes, the end
    /// is looked at when it is committed, and what came meanwhile was too late.
    pub(super) fn hears_of(&mut self, session: i64, at_us: u64, by: &'static str) {
        if !self.member.engine.is_ending(SessionId(session)) {
            self.heard.insert(session, (at_us, by));
        }
    }

    /// The time at which somebody listens.
    pub(super) fn listened_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.stopped_us)
    }
}

/// When a process dies between two actions that one event led to.
#[derive(Clone, Copy)]
pub(super) enum Fuse {
    /// After so many more.
    After(u32),
    /// Before it enters an epoch or has another enter one, which are few among all the others.
    EntersEpoch,
}

impl Fuse {
    /// One more action is to be done. Whether the process dies before it.
    pub(super) fn burns(&mut self, enters_epoch: bool) -> bool {
        match self {
            Fuse::After(0) => true,
            Fuse::After(left) => {
                *left -= 1;
                false
            }
            Fuse::EntersEpoch => enters_epoch,
        }
    }
}

/// A machine.
pub(super) struct SimMachine {
    pub disk: Arc<SimDisk>,
    pub process: Option<SimProcess>,
    /// In the place of a member of ours, a model of one of Java's.
    pub java: Option<JavaSeat>,
    /// Counts processes.
    pub life: u32,
    /// Its clock's rate, millionths.
    pub rate: u64,
    pub wall_offset: i64,
    pub stopped_at: Option<u64>,
    /// What was due while its process was stopped.
    pub put_off: Vec<Happening>,
    /// How long a write takes at most, µs.
    pub write_us: u64,
    /// When it is killed between two actions.
    pub fuse: Option<Fuse>,
    /// Its log, as on its disk.
    pub log: Vec<(Zxid, Payload)>,
    /// Where its state is told to begin, if that is the begin of an epoch, as a state of Java's may be.
    pub begin: Zxid,
    /// The highest end that its log ever had: others may still tell of it, and it believes them.
    pub ever: Zxid,
    /// Accepted and current epoch on its disk.
    pub epochs: (u64, u64),
    /// How many transactions were committed when its process ended. What its disk turns out to have was there by then.
    pub committed_at_end: Option<usize>,
    /// It died in the middle of a call of its disk: what that did is not known before it is read again.
    pub is_unsure: bool,
    pub is_full: bool,
    /// A bit of what was synced is another one (F-05).
    pub is_rotten: bool,
    /// What its leader has told it to keep of its log, until it has acknowledged the history that it is sent.
    pub told: Option<ToldToCut>,
}

/// A TRUNC or a SNAP on its way to a member: whatever its log has above `to` goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToldToCut {
    pub stream: u64,
    pub to: Zxid,
}

impl SimMachine {
    pub(super) fn new(seed: u64, swarm: &Swarm, rng: &mut Rng) -> SimMachine {
        let disk = SimDisk::new(seed);
        disk.set_paced();
        SimMachine {
            disk: Arc::new(disk),
            process: None,
            java: None,
            life: 0,
            rate: if swarm.drifts { 900_000 + rng.below(200_001) } else { 1_000_000 },
            wall_offset: if rng.chance(3) { rng.below(100_000) as i64 - 50_000 } else { 0 },
            stopped_at: None,
            put_off: Vec::new(),
            write_us: swarm.write_us,
            fuse: None,
            log: Vec::new(),
            begin: Zxid::ZERO,
            ever: Zxid::ZERO,
            epochs: (0, 0),
            committed_at_end: None,
            is_unsure: false,
            is_full: false,
            is_rotten: false,
            told: None,
        }
    }

    /// The end of its log.
    pub(super) fn logged(&self) -> Zxid {
        self.log.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    /// What it has by its own word.
    pub(super) fn end(&self) -> Zxid {
        self.logged().max(self.begin)
    }

    /// Whether its log holds this.
    pub(super) fn holds(&self, zxid: Zxid, bytes: &Payload) -> bool {
        self.log.binary_search_by_key(&zxid, |(at, _)| *at).is_ok_and(|at| self.log[at].1 == *bytes)
    }

    /// Whether its file is new, so that it does not vote before it has met all others.
    pub(super) fn is_new(&self) -> bool {
        self.java.is_none() && self.log.is_empty() && self.epochs.1 == 0
    }

    pub(super) fn has(&self, zxid: Zxid) -> bool {
        zxid == Zxid::ZERO || zxid == self.begin || self.log.binary_search_by_key(&zxid, |(at, _)| *at).is_ok()
    }

    /// Its own time, µs since its process began.
    pub(super) fn local_us(&self, now_us: u64, started_us: u64) -> u64 {
        1000 + (now_us - started_us) * self.rate / 1_000_000
    }

    pub(super) fn wall(&self, now_us: u64) -> WallMillis {
        WallMillis(1_700_000_000_000 + (now_us / 1000) as i64 + self.wall_offset)
    }
}

/// Where a model runs.
pub(super) struct JavaSeat {
    pub settings: JavaSettings,
    pub disk: JavaDisk,
    pub process: Option<Box<Apache>>,
    pub inbox: VecDeque<Incoming>,
    pub turn_at: Option<u64>,
    pub standing: Standing,
    /// Transactions that were compared with the history.
    pub verified: usize,
    /// Election connections, who is dialled for one, and what was said last.
    pub voices: BTreeMap<ServerId, u64>,
    pub dialling: BTreeSet<ServerId>,
    pub last: BTreeMap<ServerId, Notification>,
    pub dial: u64,
    pub rng: Rng,
}

impl JavaSeat {
    pub(super) fn new(swarm: &Swarm, me: ServerId, make: Make, seed: u64) -> JavaSeat {
        let settings = JavaSettings {
            me,
            make,
            voters: swarm.voters.clone(),
            tick_us: swarm.tick_ms * 1000,
            init_limit: swarm.init_limit,
            sync_limit: swarm.sync_limit,
            window: swarm.beside.window,
            reads_log: swarm.beside.reads_log,
        };
        JavaSeat {
            settings,
            disk: JavaDisk::default(),
            process: None,
            inbox: VecDeque::new(),
            turn_at: None,
            standing: Standing::Looking,
            verified: 0,
            voices: BTreeMap::new(),
            dialling: BTreeSet::new(),
            last: BTreeMap::new(),
            dial: 0,
            rng: Rng(seed),
        }
    }
}

impl SimMachine {
    /// Whether a process runs on it, ours or Java's.
    pub(super) fn runs(&self) -> bool {
        self.process.is_some() || self.java.as_ref().is_some_and(|seat| seat.process.is_some())
    }

    /// Whether connections of its quorum port are taken.
    pub(super) fn listens(&self) -> bool {
        let is_bound = |seat: &JavaSeat| seat.process.as_ref().is_some_and(|process| process.is_bound());
        self.process.is_some() || self.java.as_ref().is_some_and(is_bound)
    }

    /// What its process is, if one runs.
    pub(super) fn standing(&self) -> Option<Standing> {
        let java = || self.java.as_ref()?.process.as_ref().map(|process| process.standing());
        self.process.as_ref().map(|process| process.standing).or_else(java)
    }

    /// The last transaction that its process has applied.
    pub(super) fn applied(&self) -> Option<Zxid> {
        let last = |process: &Apache| process.applied().last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        let java = || self.java.as_ref()?.process.as_ref().map(|process| last(process));
        self.process.as_ref().map(|process| process.member.applied()).or_else(java)
    }
}

/// What a file gave when it was opened.
pub(super) struct Opened {
    pub member: Member<Box<Engine>>,
    pub replayed: Vec<(Zxid, Payload)>,
}

/// Beside a server of Java's, session passwords are those that it makes.
fn passwords(swarm: &Swarm) -> Option<SessionPasswords> {
    (!swarm.beside.makes.is_empty()).then_some(SessionPasswords::Compatible)
}

/// Opens what is on a disk.
pub(super) fn open(disk: &Arc<SimDisk>, swarm: &Swarm, id: ServerId, seed: u64) -> Result<Opened, StoreError> {
    let tick = swarm.tick_ms;
    let settings = EngineSettings {
        server_id: id,
        tick_ms: tick,
        session_timeout_min_ms: (swarm.session_ticks.0 * tick) as i32,
        session_timeout_max_ms: (swarm.session_ticks.1 * tick) as i32,
        reconfig_enabled: !swarm.joiners.is_empty(),
        local_sessions: swarm.local_sessions,
        local_sessions_upgrading: true,
        session_passwords: passwords(swarm),
        ..EngineSettings::default()
    };
    let mut state = ReplicatedState::new(&settings, [seed, !seed]);
    let mut noting = Noting { loading: Loading::into(&mut state), replayed: Vec::new() };
    let (store, _) = Store::open_on(Arc::clone(disk) as Arc<_>, &swarm.options, &mut noting)?;
    let replayed = noting.replayed.into_iter().map(|proposal| (proposal.zxid, proposal.txn)).collect();
    let mut member = Member::new(settings, state, store, Box::new);
    // As the peer does.
    member.store.set_writes_apart();
    Ok(Opened { member, replayed })
}

/// What a member's part in the agreement is set up with.
pub(super) fn zab_settings(swarm: &Swarm, id: ServerId, member: &mut Member<Box<Engine>>) -> ZabSettings {
    let reconfig = configs_at_start(swarm, id, member);
    ZabSettings {
        me: id,
        is_participant: swarm.voters.contains(&id),
        quorums: Quorums::of(Quorum::Majority(Majority::new(swarm.voters.clone()))),
        config: "version=0".into(),
        tick_ms: swarm.tick_ms,
        init_limit: swarm.init_limit,
        sync_limit: swarm.sync_limit,
        reconfig,
        passwords: passwords(swarm),
    }
}

/// What a member begins with: its file names the first members, and itself.
fn configs_at_start(swarm: &Swarm, id: ServerId, member: &mut Member<Box<Engine>>) -> Option<Configs> {
    if swarm.joiners.is_empty() {
        return None;
    }
    let mut file = Membership::default();
    let joins_as = if id.0.is_multiple_of(2) { Role::Participant } else { Role::Observer };
    let mut add = |id: ServerId, role| drop(line(id, role, 100).and_then(|line| file.servers.insert(id, line)));
    swarm.voters.iter().for_each(|id| add(*id, Role::Participant));
    swarm.observers.iter().for_each(|id| add(*id, Role::Observer));
    if swarm.joiners.contains(&id) {
        add(id, joins_as);
    }
    let configs = configs_of(&member.store, member.engine.state(), file);
    member.engine.configured(&configs.committed);
    Some(configs)
}
