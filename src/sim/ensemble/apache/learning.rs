//! `Learner`, `Follower`, `Observer`: dialling, discovery, synchronisation, broadcast.

use std::collections::VecDeque;

use super::syncing::StateHeard;
use super::{Act, Goes, JavaOwn, Make};
use crate::ids::{ServerId, Zxid};
use crate::jute::FIELD_SIZE_MAX;
use crate::records::javasnap::StateReader;
use crate::records::peer::{LearnerInfo, PacketType, QuorumPacket, epoch_ack};
use crate::records::txn::Payload;
use crate::sim::Wrong;

/// How often a leader's port is dialled, and the pause between.
const DIALS: u32 = 5;
const DIAL_PAUSE_US: u64 = 100_000;
/// What a step of NEWLEADER takes at most beside the disk, µs.
const STEP_US: u64 = 200;

enum JavaPhase {
    Dialling,
    Discovery,
    /// DIFF, TRUNC or SNAP is due.
    Begins,
    Loads(Box<StateReader>, StateHeard, Zxid),
    Syncs,
    Serves,
}

/// What is done at NEWLEADER, one after the other, and may end between two of them.
#[derive(Clone, Copy, Debug)]
enum JavaStep {
    History,
    Epoch,
    Ack,
}

pub(super) struct Learning {
    leader: ServerId,
    stream: Option<u64>,
    phase: JavaPhase,
    dials: u32,
    dial_at: u64,
    gives_up_at: u64,
    heard_at: u64,
    epoch: u32,
    /// It applies as it hears, and logs nothing, until NEWLEADER: after TRUNC and SNAP.
    applies: bool,
    is_new: bool,
    /// Proposals, and which of them are committed, as far as they are not applied.
    buffered: VecDeque<(Zxid, Payload)>,
    ready: VecDeque<Zxid>,
    /// What it has logged at NEWLEADER and forgotten there (3.8), and what of it is not acknowledged.
    forgotten: VecDeque<(Zxid, Payload)>,
    unacked: Vec<Zxid>,
    last_queued: Zxid,
    steps: VecDeque<JavaStep>,
    step_at: u64,
}

impl Learning {
    pub(super) fn new(own: &mut JavaOwn, leader: ServerId) -> Learning {
        own.acts.push_back(Act::Dial(leader));
        let gives_up_at = own.now + own.ticks_us(own.settings.init_limit);
        Learning {
            leader,
            stream: None,
            phase: JavaPhase::Dialling,
            dials: 1,
            dial_at: u64::MAX,
            gives_up_at,
            heard_at: own.now,
            epoch: 0,
            applies: false,
            is_new: false,
            buffered: VecDeque::new(),
            ready: VecDeque::new(),
            forgotten: VecDeque::new(),
            unacked: Vec::new(),
            last_queued: Zxid::ZERO,
            steps: VecDeque::new(),
            step_at: u64::MAX,
        }
    }

    pub(super) fn serves(&self) -> bool {
        matches!(self.phase, JavaPhase::Serves)
    }

    /// It has cut its log, or taken a state in, and not all that belongs to it.
    pub(super) fn is_half_done(&self) -> bool {
        self.applies
    }

    pub(super) fn leader(&self) -> ServerId {
        self.leader
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    fn accuses(&self, own: &mut JavaOwn, what: &'static str) {
        own.acts.push_back(Act::Accuses(self.leader, what));
    }

    /// The read timeout of its socket: `initLimit` ticks, from NEWLEADER on `syncLimit`.
    fn silent_at(&self, own: &JavaOwn) -> u64 {
        match (self.stream, self.is_new) {
            (None, _) => u64::MAX,
            (_, false) => self.heard_at + own.ticks_us(own.settings.init_limit),
            (_, true) => self.heard_at + own.ticks_us(own.settings.sync_limit),
        }
    }

    pub(super) fn due(&self, own: &JavaOwn) -> u64 {
        let gives_up_at = if self.stream.is_none() { self.gives_up_at } else { u64::MAX };
        self.dial_at.min(gives_up_at).min(self.step_at).min(self.silent_at(own))
    }

    pub(super) fn wake(&mut self, own: &mut JavaOwn) -> Result<Goes, Wrong> {
        if self.stream.is_none() && own.now >= self.gives_up_at {
            return Ok(Goes::Leaves("its leader cannot be reached"));
        }
        if own.now >= self.dial_at {
            self.dial_at = u64::MAX;
            self.dials += 1;
            own.acts.push_back(Act::Dial(self.leader));
        }
        if own.now >= self.step_at {
            self.step_at = u64::MAX;
            self.step(own)?;
            return self.heard(own);
        }
        match own.now >= self.silent_at(own) && self.steps.is_empty() {
            true => Ok(Goes::Leaves("its leader is silent")),
            false => Ok(Goes::On),
        }
    }

    pub(super) fn dialled(&mut self, own: &mut JavaOwn, stream: Option<u64>) -> Goes {
        match stream {
            Some(stream) if self.stream.is_none() => {
                self.stream = Some(stream);
                self.heard_at = own.now;
                self.phase = JavaPhase::Discovery;
                own.inputs.insert(stream, Vec::new());
                let info = LearnerInfo { server: own.settings.me, config_version: 0, takes_passwords: false };
                let kind = if own.votes() { PacketType::FOLLOWERINFO } else { PacketType::OBSERVERINFO };
                own.send_data(stream, kind, Zxid::new(own.disk.epochs.0 as u32, 0), info.encoded());
                Goes::On
            }
            Some(stream) => {
                own.acts.push_back(Act::Close(stream));
                Goes::On
            }
            None if self.dials >= DIALS => Goes::Leaves("its leader does not listen"),
            None => {
                self.dial_at = own.now + DIAL_PAUSE_US;
                Goes::On
            }
        }
    }

    /// Takes in what has come, as long as no step is under way.
    pub(super) fn heard(&mut self, own: &mut JavaOwn) -> Result<Goes, Wrong> {
        let Some(stream) = self.stream else { return Ok(Goes::On) };
        self.heard_at = own.now;
        while self.steps.is_empty() && own.wants_history.is_none() {
            if let JavaPhase::Loads(reader, heard, zxid) = &mut self.phase {
                let Some(input) = own.inputs.get_mut(&stream) else { return Ok(Goes::On) };
                let mut each = |item: crate::records::javasnap::StateItem<'_>| {
                    heard.item(item);
                    Ok(())
                };
                let fed = reader.feed(input, &mut each).map_err(|error| format!("F-20: no state for Java: {error}"))?;
                input.drain(..fed.consumed);
                if !fed.is_whole {
                    return Ok(Goes::On);
                }
                own.wants_history = Some(*zxid);
                return Ok(Goes::On);
            }
            let Some(packet) = own.next_packet(stream)? else { return Ok(Goes::On) };
            if let Goes::Leaves(why) = self.packet(own, stream, packet)? {
                return Ok(Goes::Leaves(why));
            }
        }
        Ok(Goes::On)
    }

    /// The state that has come is that of this history.
    pub(super) fn installs(&mut self, own: &mut JavaOwn, log: &[(Zxid, Payload)]) -> Result<Goes, Wrong> {
        if let JavaPhase::Loads(_, heard, zxid) = std::mem::replace(&mut self.phase, JavaPhase::Syncs) {
            own.memory.history.clear();
            own.memory = super::JavaMemory::restored(log)?;
            if let Some(other) = heard.differs(&own.memory.state) {
                return Err(format!("S-21, S-25: the state at {zxid} that {} sends: {other}", self.leader));
            }
            own.memory.last = zxid;
            own.count("mark: a model takes a state in");
        }
        self.heard(own)
    }

    fn packet(&mut self, own: &mut JavaOwn, stream: u64, packet: QuorumPacket) -> Result<Goes, Wrong> {
        match self.phase {
            JavaPhase::Discovery if packet.kind == PacketType::LEADERINFO => {
                let epoch = packet.zxid.epoch();
                let (accepted, current) = own.disk.epochs;
                if u64::from(epoch) < accepted {
                    return Ok(Goes::Leaves("the leader's epoch is old"));
                }
                let counts = u64::from(epoch) > accepted;
                own.disk.epochs.0 = u64::from(epoch);
                self.epoch = epoch;
                let ack = epoch_ack(if counts { current as i32 } else { -1 });
                own.send_data(stream, PacketType::ACKEPOCH, own.memory.last, ack);
                self.phase = JavaPhase::Begins;
                Ok(Goes::On)
            }
            JavaPhase::Discovery => Ok(Goes::Leaves("the leader does not tell its epoch")),
            JavaPhase::Begins => {
                self.phase = JavaPhase::Syncs;
                match packet.kind {
                    PacketType::DIFF => {}
                    PacketType::TRUNC => {
                        own.disk.truncate(packet.zxid);
                        own.memory = super::JavaMemory::restored(&own.disk.log)?;
                        own.memory.last = packet.zxid;
                        self.applies = true;
                        own.count("mark: a model cuts its log");
                    }
                    PacketType::SNAP => {
                        let reader = Box::new(StateReader::new(FIELD_SIZE_MAX));
                        self.phase = JavaPhase::Loads(reader, StateHeard::default(), packet.zxid);
                        self.applies = true;
                    }
                    _ => {
                        self.accuses(own, "S-13: what follows ACKEPOCH is no history");
                        own.acts.push_back(Act::Exit("13: what follows ACKEPOCH is no history"));
                    }
                }
                Ok(Goes::On)
            }
            JavaPhase::Serves => self.broadcast(own, stream, packet),
            _ => self.synchronises(own, packet),
        }
    }

    /// Whether the next proposal follows the one before. Only 3.9.4 looks.
    fn is_gap(&mut self, own: &JavaOwn, zxid: Zxid) -> bool {
        let before = std::mem::replace(&mut self.last_queued, zxid);
        own.settings.make == Make::J39 && before.epoch() == zxid.epoch() && zxid.0 != before.0 + 1
    }

    fn synchronises(&mut self, own: &mut JavaOwn, packet: QuorumPacket) -> Result<Goes, Wrong> {
        let zxid = packet.zxid;
        match packet.kind {
            PacketType::PROPOSAL | PacketType::INFORM => {
                if self.is_gap(own, zxid) {
                    self.accuses(own, "S-13: J39 leaves, since a zxid is left out of the history");
                    return Ok(Goes::Leaves("a zxid is left out of the history"));
                }
                self.buffered.push_back((zxid, packet.data.unwrap_or_default()));
                if packet.kind == PacketType::INFORM {
                    return self.synchronises(own, QuorumPacket::bare(PacketType::COMMIT, zxid));
                }
            }
            PacketType::COMMIT if self.applies && !self.is_new => {
                if self.buffered.front().is_some_and(|(oldest, _)| *oldest == zxid)
                    && let Some((zxid, bytes)) = self.buffered.pop_front()
                    && zxid > own.memory.last
                {
                    own.memory.apply(zxid, &bytes)?;
                }
            }
            PacketType::COMMIT => {
                // It looks at its oldest proposal, and has forgotten those that it has logged (4394).
                if own.settings.make != Make::J39 && self.is_new && self.buffered.is_empty() {
                    self.accuses(own, "S-14: J38 leaves, since a COMMIT comes before UPTODATE (4394)");
                    own.count("mark: a model leaves over an early COMMIT");
                    return Ok(Goes::Leaves("NullPointerException: a COMMIT before UPTODATE"));
                }
                self.ready.push_back(zxid);
            }
            PacketType::NEWLEADER => {
                self.is_new = true;
                self.steps = match own.settings.make {
                    Make::Old38 => VecDeque::from([JavaStep::Epoch, JavaStep::History, JavaStep::Ack]),
                    _ => VecDeque::from([JavaStep::History, JavaStep::Epoch, JavaStep::Ack]),
                };
                self.step_at = own.now + 20 + own.rng.below(own.disk.write_us);
            }
            PacketType::UPTODATE => self.begins_to_serve(own)?,
            // PING among them: there is no answer.
            _ => {}
        }
        Ok(Goes::On)
    }

    fn step(&mut self, own: &mut JavaOwn) -> Result<(), Wrong> {
        match self.steps.pop_front() {
            Some(JavaStep::History) => {
                if std::mem::take(&mut self.applies) {
                    own.disk.log.clone_from(&own.memory.history);
                }
                self.logs_history(own)?;
            }
            Some(JavaStep::Epoch) => own.disk.epochs.1 = u64::from(self.epoch),
            Some(JavaStep::Ack) => {
                if let Some(stream) = self.stream {
                    own.send(stream, PacketType::ACK, Zxid::new(self.epoch, 0));
                }
            }
            None => {}
        }
        if !self.steps.is_empty() {
            self.step_at = own.now + 20 + own.rng.below(STEP_US);
        }
        Ok(())
    }

    fn logs_history(&mut self, own: &mut JavaOwn) -> Result<(), Wrong> {
        if !own.votes() {
            return Ok(());
        }
        match own.settings.make {
            // What is committed, to log and memory.
            Make::J39 => {
                while self.ready.front().is_some_and(|ready| self.buffered.front().is_some_and(|(z, _)| z == ready)) {
                    self.ready.pop_front();
                    let Some((zxid, bytes)) = self.buffered.pop_front() else { break };
                    if zxid > own.memory.last {
                        own.memory.apply(zxid, &bytes)?;
                        own.disk.log.push((zxid, bytes));
                    }
                }
            }
            Make::J38 | Make::Old38 => {
                for (zxid, bytes) in std::mem::take(&mut self.buffered) {
                    if own.settings.make == Make::Old38 {
                        own.log(zxid, Payload::clone(&bytes));
                    } else {
                        own.disk.log.push((zxid, Payload::clone(&bytes)));
                        self.unacked.push(zxid);
                    }
                    self.forgotten.push_back((zxid, bytes));
                }
            }
        }
        Ok(())
    }

    fn begins_to_serve(&mut self, own: &mut JavaOwn) -> Result<(), Wrong> {
        let Some(stream) = self.stream else { return Ok(()) };
        own.send(stream, PacketType::ACK, Zxid::new(self.epoch, 0));
        self.phase = JavaPhase::Serves;
        own.count("mark: a model serves");
        for zxid in std::mem::take(&mut self.unacked) {
            if !own.votes() {
                break;
            }
            own.send(stream, PacketType::ACK, zxid);
        }
        let mut pending = std::mem::take(&mut self.forgotten);
        for (zxid, bytes) in std::mem::take(&mut self.buffered) {
            own.log(zxid, Payload::clone(&bytes));
            pending.push_back((zxid, bytes));
        }
        self.buffered = pending;
        for zxid in std::mem::take(&mut self.ready) {
            self.commits(own, zxid)?;
        }
        Ok(())
    }

    fn commits(&mut self, own: &mut JavaOwn, zxid: Zxid) -> Result<(), Wrong> {
        match self.buffered.front() {
            None => own.acts.push_back(Act::Tell(format!("a model ignores the COMMIT of {zxid}"))),
            Some((oldest, _)) if *oldest != zxid => {
                self.accuses(own, "S-14: a model ends, since a COMMIT is not of the oldest proposal");
                own.acts.push_back(Act::Exit("12: a COMMIT is not of the oldest proposal"));
            }
            Some(_) => {
                if let Some((zxid, bytes)) = self.buffered.pop_front() {
                    own.memory.apply(zxid, &bytes)?;
                }
            }
        }
        Ok(())
    }

    fn broadcast(&mut self, own: &mut JavaOwn, stream: u64, packet: QuorumPacket) -> Result<Goes, Wrong> {
        let zxid = packet.zxid;
        match packet.kind {
            PacketType::PROPOSAL | PacketType::INFORM => {
                if self.is_gap(own, zxid) {
                    self.accuses(own, "S-13: J39 leaves, since a zxid is left out");
                    return Ok(Goes::Leaves("a zxid is left out"));
                }
                let bytes = packet.data.unwrap_or_default();
                own.log(zxid, Payload::clone(&bytes));
                self.buffered.push_back((zxid, bytes));
                if packet.kind == PacketType::INFORM {
                    self.commits(own, zxid)?;
                }
            }
            PacketType::COMMIT => self.commits(own, zxid)?,
            PacketType::PING => own.send_data(stream, PacketType::PING, zxid, Payload::default()),
            _ => {}
        }
        Ok(Goes::On)
    }

    /// These are durable: each is acknowledged, once this server serves.
    pub(super) fn logged(&mut self, own: &mut JavaOwn, durable: &[Zxid]) {
        let Some(stream) = self.stream.filter(|_| own.votes()) else { return };
        for zxid in durable {
            match self.phase {
                JavaPhase::Serves => own.send(stream, PacketType::ACK, *zxid),
                _ => self.unacked.push(*zxid),
            }
        }
    }
}
