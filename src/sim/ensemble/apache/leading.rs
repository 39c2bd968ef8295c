//! `Leader` and its `LearnerHandler`s: the epoch, who is brought up to date, what is proposed and committed, who lives.

use std::collections::{BTreeMap, BTreeSet};

use super::{Act, Goes, JavaOwn, deciding, syncing};
use crate::ids::{ServerId, Zxid};
use crate::records::OpCode;
use crate::records::peer::{LearnerInfo, PacketType, QuorumPacket, decode_epoch_ack, leader_info};
use crate::records::txn::{CreateSessionTxn, Payload};
use crate::sim::Wrong;
use crate::sim::model::Model;

const SESSION_MOVED: i32 = -118;

/// How far a leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum JavaTerm {
    /// Epochs are collected, then their acknowledgements, then those of the history.
    Infos,
    EpochAcks,
    NewLeader,
    Serves,
}

/// How far a learner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum JavaStage {
    Connected,
    Info,
    Told,
    /// It has acknowledged the epoch, and ends here.
    EpochAck(Zxid),
    /// It is on the list, and was sent NEWLEADER.
    Listed,
    /// It has acknowledged something, which counts as NEWLEADER's acknowledgement.
    Acked,
    UpToDate,
}

struct JavaHandler {
    server: ServerId,
    is_observer: bool,
    stage: JavaStage,
    heard_at: u64,
    ack_deadline: u64,
    /// `SyncLimitCheck`: the proposal whose acknowledgement is awaited, since when, and the one after it.
    awaited: Option<(Zxid, u64)>,
    next: Option<(Zxid, u64)>,
}

struct JavaOutstanding {
    bytes: Payload,
    acks: BTreeSet<ServerId>,
}

struct JavaSession {
    timeout_us: u64,
    expires_at: u64,
    /// Through whom it speaks.
    owner: Option<u64>,
    is_closing: bool,
}

pub(super) struct Leading {
    summary: (i64, Zxid),
    term: JavaTerm,
    epoch: u32,
    infos: BTreeSet<ServerId>,
    epoch_acks: BTreeSet<ServerId>,
    history_acks: BTreeSet<ServerId>,
    gives_up_at: u64,
    handlers: BTreeMap<u64, JavaHandler>,
    outstanding: BTreeMap<Zxid, JavaOutstanding>,
    last_proposed: Zxid,
    /// The state as it will be.
    ahead: Model,
    syncs: BTreeMap<Zxid, Vec<u64>>,
    sessions: BTreeMap<i64, JavaSession>,
    tick: u64,
    half_tick_at: u64,
    is_whole_tick: bool,
}

impl Leading {
    pub(super) fn new(own: &mut JavaOwn) -> Result<Leading, Wrong> {
        let (accepted, current) = own.disk.epochs;
        let mut leading = Leading {
            summary: (current as i64, own.memory.last),
            term: JavaTerm::Infos,
            epoch: accepted as u32 + 1,
            infos: BTreeSet::new(),
            epoch_acks: BTreeSet::new(),
            history_acks: BTreeSet::new(),
            gives_up_at: own.now + own.ticks_us(own.settings.init_limit),
            handlers: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            last_proposed: Zxid::ZERO,
            ahead: own.memory.state.clone(),
            syncs: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tick: 0,
            half_tick_at: u64::MAX,
            is_whole_tick: false,
        };
        leading.infos.insert(own.settings.me);
        leading.goes_on(own)?;
        Ok(leading)
    }

    pub(super) fn serves(&self) -> bool {
        self.term == JavaTerm::Serves
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    fn silent_at(own: &JavaOwn, handler: &JavaHandler) -> u64 {
        let ticks = if handler.stage < JavaStage::Acked { own.settings.init_limit } else { own.settings.sync_limit };
        handler.heard_at + own.ticks_us(ticks)
    }

    pub(super) fn due(&self, own: &JavaOwn) -> u64 {
        let gives_up_at = if self.term == JavaTerm::Serves { u64::MAX } else { self.gives_up_at };
        let silent_at = self.handlers.values().map(|handler| Leading::silent_at(own, handler)).min();
        self.half_tick_at.min(gives_up_at).min(silent_at.unwrap_or(u64::MAX))
    }

    pub(super) fn accepted(&mut self, own: &mut JavaOwn, stream: u64) {
        own.inputs.insert(stream, Vec::new());
        let handler = JavaHandler {
            server: ServerId(0),
            is_observer: true,
            stage: JavaStage::Connected,
            heard_at: own.now,
            ack_deadline: self.tick + own.settings.init_limit + own.settings.sync_limit,
            awaited: None,
            next: None,
        };
        self.handlers.insert(stream, handler);
    }

    pub(super) fn lost(&mut self, stream: u64) {
        self.handlers.remove(&stream);
    }

    fn hangs_up(&mut self, own: &mut JavaOwn, stream: u64) {
        self.handlers.remove(&stream);
        own.close(stream);
    }

    pub(super) fn wake(&mut self, own: &mut JavaOwn) -> Result<Goes, Wrong> {
        if self.term != JavaTerm::Serves && own.now >= self.gives_up_at {
            return Ok(Goes::Leaves("no quorum has come"));
        }
        let silent = self.handlers.iter().filter(|(_, handler)| own.now >= Leading::silent_at(own, handler));
        for stream in silent.map(|(stream, _)| *stream).collect::<Vec<_>>() {
            self.hangs_up(own, stream);
        }
        if self.term != JavaTerm::Serves || own.now < self.half_tick_at {
            return Ok(Goes::On);
        }
        self.half_tick_at = own.now + own.settings.tick_us / 2;
        if self.is_whole_tick {
            self.tick += 1;
            let is_synced = |voter: ServerId| {
                let mut handlers = self.handlers.values();
                voter == own.settings.me
                    || handlers.any(|handler| handler.server == voter && self.tick <= handler.ack_deadline)
            };
            if !own.is_quorum(is_synced) {
                return Ok(Goes::Leaves("no quorum is in sync"));
            }
        }
        self.is_whole_tick = !self.is_whole_tick;
        let limit = own.ticks_us(own.settings.sync_limit);
        for (stream, stage, since) in
            self.handlers.iter().map(|(stream, handler)| (*stream, handler.stage, handler.awaited)).collect::<Vec<_>>()
        {
            if since.is_some_and(|(_, since)| own.now - since >= limit) {
                own.acts.push_back(Act::Tell("a model waits for an ACK for too long".into()));
                self.hangs_up(own, stream);
            } else if stage >= JavaStage::Listed {
                own.send(stream, PacketType::PING, self.last_proposed);
            }
        }
        self.expires(own)
    }

    /// The next step of taking office, if a quorum allows it.
    fn goes_on(&mut self, own: &mut JavaOwn) -> Result<(), Wrong> {
        let me = own.settings.me;
        if self.term == JavaTerm::Infos && own.is_quorum(|voter| self.infos.contains(&voter)) {
            self.term = JavaTerm::EpochAcks;
            own.disk.epochs.0 = u64::from(self.epoch);
            self.epoch_acks.insert(me);
            self.last_proposed = Zxid::new(self.epoch, 0);
            self.gives_up_at = own.now + own.ticks_us(own.settings.init_limit);
            for stream in self.handlers.keys().copied().collect::<Vec<_>>() {
                self.tells_epoch(own, stream);
            }
        }
        if self.term == JavaTerm::EpochAcks && own.is_quorum(|voter| self.epoch_acks.contains(&voter)) {
            self.term = JavaTerm::NewLeader;
            own.disk.epochs.1 = u64::from(self.epoch);
            self.history_acks.insert(me);
            self.gives_up_at = own.now + own.ticks_us(own.settings.init_limit);
            for stream in self.handlers.keys().copied().collect::<Vec<_>>() {
                self.synchronises(own, stream);
            }
        }
        if self.term == JavaTerm::NewLeader && own.is_quorum(|voter| self.history_acks.contains(&voter)) {
            self.takes_office(own);
        }
        Ok(())
    }

    fn takes_office(&mut self, own: &mut JavaOwn) {
        self.term = JavaTerm::Serves;
        own.memory.last = Zxid::new(self.epoch, 0);
        own.acts.push_back(Act::Leads(self.epoch));
        self.half_tick_at = own.now + own.settings.tick_us / 2;
        for (id, timeout_ms) in own.memory.state.sessions.clone() {
            self.tracks(own, id, timeout_ms, None);
        }
        for stream in self.handlers.keys().copied().collect::<Vec<_>>() {
            self.tells_up_to_date(own, stream);
        }
    }

    fn tells_epoch(&mut self, own: &mut JavaOwn, stream: u64) {
        if let Some(handler) = self.handlers.get_mut(&stream)
            && handler.stage == JavaStage::Info
        {
            handler.stage = JavaStage::Told;
            own.send_data(stream, PacketType::LEADERINFO, Zxid::new(self.epoch, 0), leader_info(None));
        }
    }

    fn tells_up_to_date(&mut self, own: &mut JavaOwn, stream: u64) {
        if let Some(handler) = self.handlers.get_mut(&stream)
            && handler.stage == JavaStage::Acked
        {
            handler.stage = JavaStage::UpToDate;
            own.send(stream, PacketType::UPTODATE, Zxid(-1));
        }
    }

    /// What the learner lacks, what is outstanding, NEWLEADER.
    fn synchronises(&mut self, own: &mut JavaOwn, stream: u64) {
        let Some(handler) = self.handlers.get_mut(&stream) else { return };
        let JavaStage::EpochAck(peer) = handler.stage else { return };
        handler.stage = JavaStage::Listed;
        let plan = syncing::plan(own, peer);
        own.send(stream, plan.kind, plan.zxid);
        own.count(match plan.kind {
            PacketType::DIFF => "mark: a model sends DIFF",
            PacketType::TRUNC => "mark: a model sends TRUNC",
            _ => "mark: a model sends SNAP",
        });
        if plan.kind == PacketType::SNAP {
            own.acts.push_back(Act::Raw(stream, syncing::state_bytes(&own.memory.state)));
        }
        let lacking = own.memory.history[plan.from..].to_vec();
        for (zxid, bytes) in lacking {
            own.send_data(stream, PacketType::PROPOSAL, zxid, bytes);
            own.send(stream, PacketType::COMMIT, zxid);
        }
        if !handler.is_observer {
            for (zxid, proposal) in &self.outstanding {
                own.send_data(stream, PacketType::PROPOSAL, *zxid, Payload::clone(&proposal.bytes));
            }
        }
        own.send_data(stream, PacketType::NEWLEADER, Zxid::new(self.epoch, 0), b"version=0".as_slice().into());
    }

    pub(super) fn heard(&mut self, own: &mut JavaOwn, stream: u64) -> Result<Goes, Wrong> {
        while let Some(packet) = own.next_packet(stream)? {
            let Some(handler) = self.handlers.get_mut(&stream) else { return Ok(Goes::On) };
            handler.heard_at = own.now;
            handler.ack_deadline = self.tick + own.settings.sync_limit;
            if handler.stage < JavaStage::Listed {
                // Its first deadline is a long one.
                handler.ack_deadline += own.settings.init_limit;
                self.introduces(own, stream, &packet)?;
                continue;
            }
            if handler.stage == JavaStage::Listed {
                self.first_ack(own, stream, &packet)?;
                continue;
            }
            if let Goes::Leaves(why) = self.packet(own, stream, packet)? {
                return Ok(Goes::Leaves(why));
            }
        }
        Ok(Goes::On)
    }

    fn introduces(&mut self, own: &mut JavaOwn, stream: u64, packet: &QuorumPacket) -> Result<(), Wrong> {
        let Some(handler) = self.handlers.get_mut(&stream) else { return Ok(()) };
        match (handler.stage, packet.kind) {
            (JavaStage::Connected, PacketType::FOLLOWERINFO | PacketType::OBSERVERINFO) => {
                let info = LearnerInfo::decode(packet.data()).map_err(|error| format!("F-20: {error}"))?;
                handler.server = info.server;
                handler.is_observer = packet.kind == PacketType::OBSERVERINFO;
                handler.stage = JavaStage::Info;
                if self.term == JavaTerm::Infos {
                    self.epoch = self.epoch.max(packet.zxid.epoch() + 1);
                    if own.settings.voters.contains(&info.server) {
                        self.infos.insert(info.server);
                    }
                    self.goes_on(own)?;
                }
                if self.term > JavaTerm::Infos {
                    self.tells_epoch(own, stream);
                }
            }
            (JavaStage::Told, PacketType::ACKEPOCH) => {
                let epoch = decode_epoch_ack(packet.data()).map_err(|error| format!("F-20: {error}"))?;
                handler.stage = JavaStage::EpochAck(packet.zxid);
                let server = handler.server;
                if self.term > JavaTerm::EpochAcks {
                    self.synchronises(own, stream);
                } else if epoch != -1 && (i64::from(epoch), packet.zxid) > self.summary {
                    own.acts.push_back(Act::Tell(format!("a model refuses {server}, which is ahead of it")));
                    self.hangs_up(own, stream);
                } else if epoch != -1 && own.settings.voters.contains(&server) {
                    self.epoch_acks.insert(server);
                    self.goes_on(own)?;
                }
            }
            (_, kind) => {
                own.acts.push_back(Act::Tell(format!("a model is sent {kind} before anything else")));
                self.hangs_up(own, stream);
            }
        }
        Ok(())
    }

    /// Whatever is acknowledged first counts as NEWLEADER's acknowledgement; with another zxid it is lost (4685).
    fn first_ack(&mut self, own: &mut JavaOwn, stream: u64, packet: &QuorumPacket) -> Result<(), Wrong> {
        let Some(handler) = self.handlers.get_mut(&stream) else { return Ok(()) };
        if packet.kind != PacketType::ACK {
            own.acts.push_back(Act::Accuses(handler.server, "S-12: something comes before NEWLEADER's ACK"));
            self.hangs_up(own, stream);
            return Ok(());
        }
        handler.stage = JavaStage::Acked;
        let server = handler.server;
        if packet.zxid != Zxid::new(self.epoch, 0) {
            own.acts
                .push_back(Act::Accuses(server, "S-12: another ACK comes before NEWLEADER's, which is lost (4685)"));
        } else if own.settings.voters.contains(&server) && self.term == JavaTerm::NewLeader {
            self.history_acks.insert(server);
            self.goes_on(own)?;
        }
        if self.term == JavaTerm::Serves {
            self.tells_up_to_date(own, stream);
        }
        Ok(())
    }

    fn packet(&mut self, own: &mut JavaOwn, stream: u64, packet: QuorumPacket) -> Result<Goes, Wrong> {
        let Some(handler) = self.handlers.get_mut(&stream) else { return Ok(Goes::On) };
        let (server, zxid) = (handler.server, packet.zxid);
        match packet.kind {
            PacketType::ACK => {
                if handler.awaited.is_some_and(|(awaited, _)| awaited == zxid) {
                    handler.awaited = handler.next.take();
                } else if handler.next.is_some_and(|(next, _)| next == zxid) {
                    handler.next = None;
                }
                self.acked(own, server, zxid)
            }
            PacketType::PING if !packet.data().len().is_multiple_of(12) => {
                own.acts.push_back(Act::Accuses(server, "F-20: a ping's answer is no list of sessions"));
                self.hangs_up(own, stream);
                Ok(Goes::On)
            }
            PacketType::PING => {
                for touched in packet.data().chunks_exact(12) {
                    let (session, _) = read_session(touched);
                    self.touches(own, session);
                }
                Ok(Goes::On)
            }
            PacketType::REVALIDATE => {
                let (id, _) = read_session(packet.data());
                let lives = self.touches(own, id);
                if let Some(session) = self.sessions.get_mut(&id).filter(|_| lives) {
                    session.owner = Some(stream);
                }
                let mut answer = id.to_be_bytes().to_vec();
                answer.push(u8::from(lives));
                own.send_data(stream, PacketType::REVALIDATE, zxid, answer.into());
                Ok(Goes::On)
            }
            PacketType::REQUEST => self.request(own, stream, packet.data()),
            _ => Ok(Goes::On),
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Requests

    fn request(&mut self, own: &mut JavaOwn, stream: u64, data: &[u8]) -> Result<Goes, Wrong> {
        let (Some(session), Some(cxid), Some(op)) =
            (data.first_chunk::<8>(), data.get(8..12).and_then(<[u8]>::first_chunk), data.get(12..16))
        else {
            return Err("F-20: a request for Java is too short".into());
        };
        let (session, cxid) = (i64::from_be_bytes(*session), i32::from_be_bytes(*cxid));
        let op = op.first_chunk().and_then(|op| OpCode::from_i32(i32::from_be_bytes(*op)));
        let body = &data[16..];
        let Some(op) = op else { return Err("F-20: a request for Java has no operation".into()) };
        let record = match op {
            OpCode::Sync => {
                match self.outstanding.is_empty() {
                    true => own.send(stream, PacketType::SYNC, Zxid::ZERO),
                    false => self.syncs.entry(self.last_proposed).or_default().push(stream),
                }
                return Ok(Goes::On);
            }
            OpCode::CreateSession => {
                let timeout = body.first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes));
                self.tracks(own, session, timeout, Some(stream));
                (op.to_i32(), crate::jute::encoded(&CreateSessionTxn { timeout }))
            }
            OpCode::CloseSession => {
                if let Some(tracked) = self.sessions.get_mut(&session) {
                    tracked.is_closing = true;
                }
                deciding::close(&self.ahead, session)
            }
            op => {
                let owner = self.sessions.get_mut(&session).map(|tracked| *tracked.owner.get_or_insert(stream));
                match owner.is_some_and(|owner| owner != stream) {
                    true => deciding::refusal(SESSION_MOVED),
                    false => deciding::decide(&self.ahead, op, body, session)?,
                }
            }
        };
        self.proposes(own, session, cxid, record)
    }

    fn tracks(&mut self, own: &JavaOwn, id: i64, timeout_ms: i32, owner: Option<u64>) {
        let timeout_us = timeout_ms as u64 * 1000;
        let session = JavaSession { timeout_us, expires_at: 0, owner, is_closing: false };
        self.sessions.insert(id, session);
        self.touches(own, id);
    }

    /// A session was heard of; whether it lives.
    fn touches(&mut self, own: &JavaOwn, id: i64) -> bool {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.is_closing) else { return false };
        let tick = own.settings.tick_us;
        let expires_at = ((own.now + session.timeout_us) / tick + 1) * tick;
        session.expires_at = session.expires_at.max(expires_at);
        true
    }

    fn expires(&mut self, own: &mut JavaOwn) -> Result<Goes, Wrong> {
        let over = self.sessions.iter().filter(|(_, session)| own.now >= session.expires_at && !session.is_closing);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.is_closing = true;
            }
            let record = deciding::close(&self.ahead, id);
            if let Goes::Leaves(why) = self.proposes(own, id, 0, record)? {
                return Ok(Goes::Leaves(why));
            }
        }
        Ok(Goes::On)
    }

    // -----------------------------------------------------------------------------------------------------------
    // Broadcast

    fn proposes(&mut self, own: &mut JavaOwn, session: i64, cxid: i32, record: (i32, Vec<u8>)) -> Result<Goes, Wrong> {
        if self.last_proposed.counter() >= Zxid::counter_last() {
            return Ok(Goes::Leaves("the counter of its epoch is used up"));
        }
        let zxid = Zxid(self.last_proposed.0 + 1);
        self.last_proposed = zxid;
        let bytes = deciding::transaction(session, cxid, zxid, own.wall, record);
        deciding::applied_to(&mut self.ahead, &bytes)?;
        own.acts.push_back(Act::Decided(Payload::clone(&bytes)));
        self.outstanding.insert(zxid, JavaOutstanding { bytes: Payload::clone(&bytes), acks: BTreeSet::new() });
        for (stream, handler) in &mut self.handlers {
            if handler.stage < JavaStage::Listed || handler.is_observer {
                continue;
            }
            if handler.stage == JavaStage::UpToDate {
                match handler.awaited {
                    None => handler.awaited = Some((zxid, own.now)),
                    Some(_) => handler.next = Some((zxid, own.now)),
                }
            }
            own.send_data(*stream, PacketType::PROPOSAL, zxid, Payload::clone(&bytes));
        }
        own.log(zxid, bytes);
        Ok(Goes::On)
    }

    /// Its own log has these.
    pub(super) fn logged(&mut self, own: &mut JavaOwn, durable: &[Zxid]) -> Result<(), Wrong> {
        durable.iter().try_for_each(|zxid| self.acked(own, own.settings.me, *zxid).map(drop))
    }

    /// A proposal is looked at when it is acknowledged itself, and then only.
    fn acked(&mut self, own: &mut JavaOwn, server: ServerId, zxid: Zxid) -> Result<Goes, Wrong> {
        let has_earlier = self.outstanding.contains_key(&Zxid(zxid.0 - 1));
        let Some(proposal) = self.outstanding.get_mut(&zxid) else { return Ok(Goes::On) };
        if own.settings.voters.contains(&server) {
            proposal.acks.insert(server);
        }
        if has_earlier || !own.is_quorum(|voter| proposal.acks.contains(&voter)) {
            return Ok(Goes::On);
        }
        let Some(proposal) = self.outstanding.remove(&zxid) else { return Ok(Goes::On) };
        own.memory.apply(zxid, &proposal.bytes)?;
        for (stream, handler) in &self.handlers {
            match (handler.stage >= JavaStage::Listed, handler.is_observer) {
                (false, _) => {}
                (true, true) => own.send_data(*stream, PacketType::INFORM, zxid, Payload::clone(&proposal.bytes)),
                (true, false) => own.send(*stream, PacketType::COMMIT, zxid),
            }
        }
        for stream in self.syncs.remove(&zxid).unwrap_or_default() {
            if self.handlers.contains_key(&stream) {
                own.send(stream, PacketType::SYNC, Zxid::ZERO);
            }
        }
        let sessions = &own.memory.state.sessions;
        self.sessions.retain(|id, session| !session.is_closing || sessions.contains_key(id));
        Ok(Goes::On)
    }
}

fn read_session(data: &[u8]) -> (i64, i32) {
    let id = data.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    let timeout = data.get(8..12).and_then(<[u8]>::first_chunk).map_or(0, |bytes| i32::from_be_bytes(*bytes));
    (id, timeout)
}
