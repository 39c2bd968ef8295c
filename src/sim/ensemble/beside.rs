//! Models of Apache members beside ours: how they are driven, and what is held against them. What a model has on disk is what the
//! checkers read; what it decides is what Java decides, so only what Java promises, too, is asked of it.

use std::collections::VecDeque;

use super::agenda::Happening;
use super::apache::{Act, Apache, JavaDisk};
use super::canon::Canon;
use super::member::{Incoming, JavaSeat};
use super::network::{Place, StreamUse, Travelling};
use super::{Cluster, ProcessEnd};
use crate::ids::{ServerId, Zxid};
use crate::path::CONFIG;
use crate::records::peer::PacketType;
use crate::records::txn::{Txn, decode_txn};
use crate::sim::Wrong;
use crate::zab::Standing;

/// Time for a dial of an election port, ms (`zookeeper.cnxTimeout`).
const DIAL_MS: u64 = 5000;

impl Canon {
    /// Whether a server may call what it has applied by the begin of this epoch: as one of Java's does that took office in it, and
    /// whoever takes a state from that one.
    pub(super) fn is_begin_of_java(&self, zxid: Zxid) -> bool {
        zxid.counter() == 0 && self.leaders.get(&zxid.epoch()).is_some_and(|leader| self.models.contains(leader))
    }

    /// Whether a leader of Java's that does not know yet that it is none may have answered a sync at `zxid`, though `seen` is of a later
    /// epoch: it asks nobody (section 4.7 of the protocol; their sync is no quorum read).
    pub(super) fn may_be_deposed_java(&self, zxid: Zxid, seen: Zxid) -> bool {
        zxid.epoch() < seen.epoch()
            && self.leaders.range(zxid.epoch()..seen.epoch()).any(|(_, leader)| self.models.contains(leader))
    }
}

impl Cluster {
    fn seat(&mut self, id: ServerId) -> Option<&mut JavaSeat> {
        self.machines.get_mut(&id)?.java.as_mut()
    }

    pub(super) fn java_comes(&mut self, id: ServerId, what: Incoming) {
        let due = self.agenda.now + 1 + self.rng.below(20);
        let Some(seat) = self.seat(id) else { return };
        if seat.process.is_some() {
            seat.inbox.push_back(what);
            self.java_turns(id, due);
        }
    }

    fn java_turns(&mut self, id: ServerId, due: u64) {
        let due = due.max(self.agenda.now + 1);
        let Some(life) = self.machines.get(&id).map(|machine| machine.life) else { return };
        let Some(seat) = self.seat(id) else { return };
        if seat.turn_at.is_none_or(|at| at > due) {
            seat.turn_at = Some(due);
            self.agenda.at(due, &mut self.rng, Happening::Turn { member: id, life });
        }
    }

    pub(super) fn java_starts(&mut self, id: ServerId) -> Result<(), Wrong> {
        let now = self.agenda.now;
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        machine.told = None;
        let Some(seat) = machine.java.as_mut() else { return Ok(()) };
        let logged = seat.disk.log.last().map_or(0, |(zxid, _)| u64::from(zxid.epoch()));
        let (mut disk, seed) = (std::mem::take(&mut seat.disk), seat.rng.next());
        if logged > disk.epochs.1 {
            // It refuses to start: an operator writes the epoch of what is logged into its file.
            disk.epochs = (disk.epochs.0.max(logged), logged);
            self.story.count("mark: a model refuses to start");
        }
        let Some(seat) = self.seat(id) else { return Ok(()) };
        seat.verified = seat.verified.min(disk.log.len());
        let mut process = Box::new(Apache::new(seat.settings.clone(), disk, now, seed)?);
        self.story.tell(
            now,
            &format!("{id}: begins, a {:?}, at {}", self.swarm.beside.makes[&id], self.machines[&id].logged()),
        );
        match self.java_acts(id, &mut process) {
            Ok(()) => {}
            Err(ProcessEnd::Dies(why)) => return self.java_dies(id, process, why),
            Err(ProcessEnd::Wrong(why)) => return Err(why),
        }
        self.java_goes_on(id, process);
        Ok(())
    }

    fn java_goes_on(&mut self, id: ServerId, process: Box<Apache>) {
        let due = process.poll_timeout();
        if let Some(seat) = self.seat(id) {
            seat.process = Some(process);
        }
        self.java_turns(id, due);
    }

    /// A model looks at what has come, and at its clock.
    pub(super) fn java_turn(&mut self, id: ServerId) -> Result<(), Wrong> {
        let now = self.agenda.now;
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let (wall, write_us) = (machine.wall(now).0, machine.write_us);
        let Some(seat) = machine.java.as_mut() else { return Ok(()) };
        // Another turn is due sooner, or later: what was put off while it was stopped comes late.
        if seat.turn_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        seat.turn_at = None;
        let Some(mut process) = seat.process.take() else { return Ok(()) };
        let inbox = std::mem::take(&mut seat.inbox);
        (process.own.now, process.own.wall, process.own.disk.write_us) = (now, wall, write_us);
        match self.java_works(id, &mut process, inbox) {
            Ok(()) => {
                self.java_goes_on(id, process);
                Ok(())
            }
            Err(ProcessEnd::Dies(why)) => self.java_dies(id, process, why),
            Err(ProcessEnd::Wrong(why)) => {
                if let Some(seat) = self.seat(id) {
                    seat.process = Some(process);
                }
                Err(format!("{why} (member {id}, a model)"))
            }
        }
    }

    fn java_works(&mut self, id: ServerId, process: &mut Apache, inbox: VecDeque<Incoming>) -> Result<(), ProcessEnd> {
        for what in inbox {
            self.java_takes(id, process, what)?;
            self.java_acts(id, process)?;
        }
        process.wake()?;
        self.java_acts(id, process)
    }

    fn java_takes(&mut self, id: ServerId, process: &mut Apache, what: Incoming) -> Result<(), ProcessEnd> {
        let place = Place::Member(id);
        match what {
            Incoming::Accepted(stream) => {
                let is_quorum = |stream: &super::network::SimStream| stream.usage == StreamUse::Quorum;
                match self.net.streams.get(&stream).is_some_and(is_quorum) {
                    true => process.accepted(stream),
                    false => self.net.close(&mut self.agenda, stream, place),
                }
            }
            Incoming::Opened(stream) => process.dialled(Some(stream))?,
            Incoming::DialFailed => process.dialled(None)?,
            Incoming::Voice(peer, stream) => self.java_voice_stands(id, process, peer, stream),
            Incoming::NoVoice(peer) => {
                if let Some(seat) = self.seat(id) {
                    seat.dialling.remove(&peer);
                }
            }
            Incoming::Stream(stream, what) => {
                let voice = self
                    .seat(id)
                    .and_then(|seat| seat.voices.iter().find(|(_, of)| **of == stream).map(|(peer, _)| *peer));
                match (voice, what) {
                    (Some(peer), Travelling::Ballot(told)) => process.ballot(peer, *told)?,
                    (Some(peer), _) => {
                        if let Some(seat) = self.seat(id) {
                            seat.voices.remove(&peer);
                        }
                        self.net.close(&mut self.agenda, stream, place);
                    }
                    (None, Travelling::Bytes(bytes)) => process.reads(stream, &bytes)?,
                    (None, Travelling::End) => process.ended(stream)?,
                    (None, Travelling::Ballot(_)) => {}
                }
            }
        }
        Ok(())
    }

    /// An election connection stands: of two the newer one stays, and what was said last is said again.
    fn java_voice_stands(&mut self, id: ServerId, process: &mut Apache, peer: ServerId, stream: u64) {
        let place = Place::Member(id);
        let Some(opened_by) = self.net.streams.get(&stream).map(|open| open.ends[0]) else { return };
        let Some(seat) = self.seat(id) else { return };
        if opened_by == place {
            seat.dialling.remove(&peer);
        }
        let older = seat.voices.get(&peer).copied();
        if older.is_some_and(|older| older > stream) {
            return self.net.close(&mut self.agenda, stream, place);
        }
        seat.voices.insert(peer, stream);
        let last = seat.last.get(&peer).cloned();
        if let Some(older) = older {
            self.net.close(&mut self.agenda, older, place);
        }
        let waits = process.undelivered.get_mut(&peer).and_then(Option::take);
        if let Some(told) = waits.or(last) {
            self.net.send(&mut self.agenda, stream, place, Travelling::Ballot(Box::new(told)));
        }
    }

    fn java_dials_voice(&mut self, id: ServerId, peer: ServerId) {
        let life = self.machines[&id].life;
        let Some(seat) = self.seat(id) else { return };
        if seat.voices.contains_key(&peer) || !seat.dialling.insert(peer) {
            return;
        }
        let due = self.agenda.now + self.dial_us(id, peer, DIAL_MS);
        self.agenda.at(due, &mut self.rng, Happening::BallotDialled { member: id, life, to: peer });
    }

    // -----------------------------------------------------------------------------------------------------------
    // What it does

    /// Looks at what a model has done, and carries out what it asks for.
    fn java_acts(&mut self, id: ServerId, process: &mut Apache) -> Result<(), ProcessEnd> {
        loop {
            self.java_observed(id, process)?;
            while let Some(act) = process.poll_act() {
                if let Some(machine) = self.machines.get_mut(&id)
                    && let Some(fuse) = &mut machine.fuse
                    && fuse.burns(true)
                {
                    machine.fuse = None;
                    return Err(ProcessEnd::Dies("killed between two actions"));
                }
                self.java_does(id, process, act)?;
            }
            let Some(zxid) = process.own.wants_history else { return Ok(()) };
            let Some(donor) = self.donor(zxid) else {
                return Err(ProcessEnd::Wrong(format!("S-02: a state at {zxid} is sent, and nobody has that history")));
            };
            let upto = donor.log.partition_point(|(at, _)| *at <= zxid);
            process.history(&donor.log[..upto])?;
        }
    }

    fn java_does(&mut self, id: ServerId, process: &mut Apache, act: Act) -> Result<(), ProcessEnd> {
        let (now, place) = (self.agenda.now, Place::Member(id));
        match act {
            Act::Ballot(to, told) => {
                let Some(seat) = self.seat(id) else { return Ok(()) };
                seat.last.insert(to, told.clone());
                match seat.voices.get(&to).copied() {
                    Some(stream) => self.net.send(&mut self.agenda, stream, place, Travelling::Ballot(Box::new(told))),
                    None => {
                        process.undelivered.insert(to, Some(told));
                        self.java_dials_voice(id, to);
                    }
                }
            }
            Act::DialVoices => {
                for voter in self.swarm.voters.clone().into_iter().filter(|voter| *voter != id) {
                    self.java_dials_voice(id, voter);
                }
            }
            Act::Dial(to) => {
                let due = now + self.dial_us(id, to, self.swarm.init_limit * self.swarm.tick_ms);
                let life = self.machines[&id].life;
                let Some(seat) = self.seat(id) else { return Ok(()) };
                seat.dial += 1;
                let what = Happening::Dialled { member: id, life, serial: seat.dial, to };
                self.agenda.at(due, &mut self.rng, what);
            }
            Act::Send(stream, packet) => {
                self.story.mix(u64::from(packet.kind.0.unsigned_abs()) ^ packet.zxid.0 as u64);
                self.told_to_cut(id, stream, &packet);
                if matches!(packet.kind, PacketType::DIFF | PacketType::TRUNC | PacketType::SNAP) {
                    self.story.tell(now, &format!("{id}: sends {} {}", packet.kind, packet.zxid));
                }
                let mut bytes = Vec::new();
                packet.encode(&mut bytes);
                self.net.send(&mut self.agenda, stream, place, Travelling::Bytes(bytes));
            }
            Act::Raw(stream, bytes) => {
                self.net.send(&mut self.agenda, stream, place, Travelling::Bytes(bytes));
            }
            Act::Close(stream) => self.net.close(&mut self.agenda, stream, place),
            Act::Leads(epoch) => {
                self.story.count("mark: a model leads");
                self.story.count("a leader is established");
                self.story.tell(now, &format!("{id}: leads in epoch {epoch}, a model"));
                self.established(id, epoch)?;
                if std::mem::take(&mut self.dooms_leader) && self.healed_at.is_none() {
                    let due = now + self.rng.below(4 * self.swarm.latency_us.1 + self.swarm.write_us);
                    let what = Happening::Dies { member: id, life: self.machines[&id].life };
                    self.agenda.at(due, &mut self.rng, what);
                }
            }
            Act::Decided(bytes) => {
                let (header, txn, _) = decode_txn(&bytes).map_err(|error| format!("S-03: {error}"))?;
                if matches!(txn, Txn::CloseSession(_)) {
                    let session = header.session.0;
                    self.canon.closing.insert(session);
                    if header.cxid == 0 {
                        let timeout_ms = self.canon.model.sessions.get(&session).copied().unwrap_or(0);
                        self.story.tell(now, &format!("{id}: session 0x{session:x} ends, as a model says"));
                        self.ends_without_a_fault(id, session, timeout_ms as u64)?;
                    }
                }
            }
            Act::Tell(line) => self.story.tell(now, &format!("{id}: {line}")),
            Act::Count(what) => self.story.count(what),
            // Servers of Java's do this to each other, and it is known.
            Act::Accuses(whom, what) if self.swarm.beside.makes.contains_key(&whom) => {
                self.story.tell(now, &format!("{id}: of the model {whom}: {what}"));
            }
            Act::Accuses(whom, what) => return Err(ProcessEnd::Wrong(format!("{what}; by {whom}"))),
            Act::Exit(code) => {
                self.story.tell(now, &format!("{id}: exits with {code}"));
                self.story.count("a model exits");
                return Err(ProcessEnd::Dies("it exits"));
            }
        }
        Ok(())
    }

    // -----------------------------------------------------------------------------------------------------------
    // What is held against it

    fn java_observed(&mut self, id: ServerId, process: &Apache) -> Result<(), Wrong> {
        self.java_logged(id, &process.own.disk)?;
        if self.swarm.voters.contains(&id) {
            self.epochs_kept(id, process.own.disk.epochs)?;
        }
        let standing = process.standing();
        let before = self.seat(id).map_or(Standing::Looking, |seat| std::mem::replace(&mut seat.standing, standing));
        if standing == Standing::Looking && before != Standing::Looking {
            self.story.count("a member looks for a leader");
        }
        let applied = process.applied();
        let mut verified = self.seat(id).map_or(0, |seat| seat.verified).min(applied.len());
        while standing != Standing::Looking && verified < applied.len() {
            let (zxid, bytes) = &applied[verified];
            match self.canon.txns.get(verified) {
                Some(txn) if txn.zxid == *zxid && txn.bytes == *bytes => {}
                Some(txn) => return Err(format!("S-01, S-02: {zxid} is applied where {} was", txn.zxid)),
                None => {
                    if !self.canon.is_quorum(|voter| self.keeps(voter, *zxid, bytes)) {
                        return Err(format!("S-11: {zxid} is applied and no quorum has it on disk to stay"));
                    }
                    self.canon.commit(*zxid, bytes)?;
                    self.story.mix(zxid.0 as u64);
                    self.story.count_by("transactions", 1);
                }
            }
            verified += 1;
        }
        if let Some(seat) = self.seat(id) {
            seat.verified = verified;
        }
        Ok(())
    }

    /// Its log is what the checkers know of it from now on.
    fn java_logged(&mut self, id: ServerId, disk: &JavaDisk) -> Result<(), Wrong> {
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let known = machine.log.len();
        if disk.log.len() >= known && disk.log[..known].last() == machine.log.last() {
            if disk.log.len() > known {
                machine.log.extend_from_slice(&disk.log[known..]);
            }
            return Ok(());
        }
        let common = machine.log.iter().zip(&disk.log).take_while(|(a, b)| a == b).count();
        let lost = machine.log[common].0;
        // What a state replaces may end before the state does.
        let is_cut = disk.log.len() == common;
        if machine.told.is_none_or(|told| is_cut && lost <= told.to) {
            return Err(format!("S-15: a model cuts {lost} from its log, and nobody has told it to"));
        }
        self.story.count("mark: a log is cut");
        self.replaced(id, disk.log.clone())?;
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.told = None;
        }
        Ok(())
    }

    /// The state of a model at the end is that of the history.
    pub(super) fn java_check_state(&self, id: ServerId) -> Result<(), Wrong> {
        let Some(process) = self.machines[&id].java.as_ref().and_then(|seat| seat.process.as_ref()) else {
            return Ok(());
        };
        let (state, model) = (&process.own.memory.state, &self.canon.model);
        let other = model.nodes.iter().find(|(path, node)| *path != CONFIG && state.nodes.get(*path) != Some(node));
        match other {
            Some((path, node)) => {
                Err(format!("S-21: {path} is {:?} at model {id}, by the history {node:?}", state.nodes.get(path)))
            }
            None if state.nodes.len() != model.nodes.len() || state.sessions != model.sessions => {
                Err(format!("S-21, S-25: model {id} has other znodes or sessions than the history"))
            }
            None => Ok(()),
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Its end

    pub(super) fn java_kill(&mut self, id: ServerId, is_power: bool) -> Result<bool, Wrong> {
        let Some(process) = self.seat(id).and_then(|seat| seat.process.take()) else { return Ok(false) };
        self.java_dies(id, process, if is_power { "the power goes" } else { "killed" })?;
        Ok(true)
    }

    fn java_dies(&mut self, id: ServerId, mut process: Box<Apache>, why: &'static str) -> Result<(), Wrong> {
        let now = self.agenda.now;
        self.story.tell(now, &format!("{id}: {why}"));
        let is_power = why == "the power goes";
        self.story.count(if is_power { "a process ends with the power" } else { "a process is killed" });
        process.own.torn_log(self.rng.next());
        self.java_logged(id, &process.own.disk)?;
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        machine.life += 1;
        (machine.stopped_at, machine.fuse) = (None, None);
        machine.put_off.clear();
        let life = machine.life;
        if let Some(seat) = machine.java.as_mut() {
            seat.disk = process.own.disk;
            seat.inbox.clear();
            seat.voices.clear();
            seat.dialling.clear();
            seat.last.clear();
            (seat.turn_at, seat.standing) = (None, Standing::Looking);
        }
        self.net.process_ended(&mut self.agenda, id, is_power);
        let ticks = [0, 1, 10, 40][self.rng.below(4) as usize];
        let due = now + 1000 + self.rng.below(self.swarm.ticks_us(ticks).max(1));
        self.agenda.at(due, &mut self.rng, Happening::Starts { member: id, life });
        self.mark_down();
        self.check_kept()
    }
}
