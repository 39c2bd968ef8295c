//! The loop of one member, as `peer` runs it: what came from members, then what came from clients, one write of the log, what
//! is to leave. A write that takes long goes on beside the loop.

use std::collections::BTreeMap;

use super::agenda::Happening;
use super::host::{Deed, DeedHost};
use super::member::{ClientPortSocket, Incoming, QuorumSocket, SimProcess, SimSocket};
use super::network::{Place, StreamUse, Travelling};
use super::swarm::FaultKind;
use super::{Cluster, ProcessEnd};
use crate::engine::Engine;
use crate::ids::{LinkId, Millis, ServerId};
use crate::member::{Member, MemberFailure};
use crate::records::peer::{PacketType, QuorumPacket};
use crate::store::LogWritten;
use crate::store::tests::sim_disk::Trap;
use crate::zab::ZabEvent;

/// A packet's data at most, as the sockets have it.
const DATA_MAX: usize = 2 << 20;
/// A vote is told to a server less often than so many times in so long, µs, whatever comes.
const FLOOD: u32 = 200;
const FLOOD_US: u64 = 500_000;
/// The longest that a loop sleeps, ms.
const SWEEP_MS: u64 = 1000;

impl Cluster {
    /// A member's loop wakes.
    pub(super) fn turn(&mut self, id: ServerId) -> Result<(), String> {
        self.with_process(id, |cluster, process| {
            process.turn_at = None;
            cluster.first_half(id, process)
        })
    }

    /// The loop goes on though the write is not over.
    pub(super) fn loop_goes_on(&mut self, id: ServerId) -> Result<(), String> {
        self.with_process(id, |cluster, process| {
            if !process.waits_for_write {
                return Ok(());
            }
            cluster.story.count("mark: the loop goes on beside a write");
            process.waits_for_write = false;
            cluster.second_half(id, process, None)
        })
    }

    /// A write of the log has come to its end.
    pub(super) fn write_is_over(&mut self, id: ServerId) -> Result<(), String> {
        self.with_process(id, |cluster, process| {
            let Some(write) = process.write.take() else { return Ok(()) };
            process.waits_for_write = false;
            let written = write.carry_out();
            cluster.second_half(id, process, Some(written))
        })
    }

    /// Does something with the process of a member, if it runs, and sees to its next turn.
    fn with_process(
        &mut self,
        id: ServerId,
        work: impl FnOnce(&mut Cluster, &mut SimProcess) -> Result<(), ProcessEnd>,
    ) -> Result<(), String> {
        let now = self.agenda.now;
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let Some(mut process) = machine.process.take() else { return Ok(()) };
        machine.disk.set_clock(now);
        let ended = work(self, &mut process);
        match ended {
            Ok(()) => {
                self.schedule(id, &mut process);
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.process = Some(process);
                }
                Ok(())
            }
            Err(ProcessEnd::Dies(why)) => self.dies(id, process, why),
            Err(ProcessEnd::Wrong(why)) => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.process = Some(process);
                }
                Err(format!("{why} (member {id})"))
            }
        }
    }

    fn schedule(&mut self, id: ServerId, process: &mut SimProcess) {
        if process.waits_for_write {
            return;
        }
        let now = self.agenda.now;
        let Some(machine) = self.machines.get(&id) else { return };
        let local_us = machine.local_us(now, process.started_us);
        let local = Millis(local_us / 1000);
        process.works_until = process.works_until.max(now + 10 + self.rng.below(60));
        let leftover = process.sockets.values().any(|socket| match socket {
            SimSocket::Client(client) => !client.input.is_empty(),
            _ => false,
        });
        let mut wait_ms = process.member.poll_timeout(local).unwrap_or(SWEEP_MS).min(SWEEP_MS);
        if leftover {
            wait_ms = wait_ms.min(1);
        }
        let mut wait_us = (wait_ms * 1000) * 1_000_000 / machine.rate + 1000;
        if process.member.goes_on() || !process.inbox.is_empty() {
            wait_us = 0;
        }
        let wanted = |voice: &&super::member::SimVoice| voice.is_wanted && voice.stream.is_none() && !voice.is_dialling;
        for voice in process.voices.values().filter(wanted) {
            wait_us = wait_us.min(voice.redial_at.saturating_sub(now));
        }
        process.asleep = Some((local, wait_us / 1000));
        let due = (now + wait_us).max(process.works_until);
        if process.turn_at.is_none_or(|at| at > due) {
            process.turn_at = Some(due);
            self.agenda.at(due, &mut self.rng, Happening::Turn { member: id, life: machine.life });
        }
    }

    /// Something has come for a process: its loop wakes.
    pub(super) fn comes(&mut self, id: ServerId, what: Incoming) {
        let now = self.agenda.now;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        if machine.java.is_some() {
            return self.java_comes(id, what);
        }
        let Some(process) = &mut machine.process else { return };
        process.inbox.push_back(what);
        if process.waits_for_write || machine.stopped_at.is_some() {
            return;
        }
        let due = (now + 1).max(process.works_until);
        if process.turn_at.is_none_or(|at| at > due) {
            process.turn_at = Some(due);
            self.agenda.at(due, &mut self.rng, Happening::Turn { member: id, life: machine.life });
        }
    }

    /// Lets the member work, then looks at what it did, then carries out what it asked for.
    pub(super) fn call<R>(
        &mut self,
        id: ServerId,
        process: &mut SimProcess,
        work: impl FnOnce(&mut Member<Box<Engine>>, &mut DeedHost) -> Result<R, MemberFailure>,
    ) -> Result<R, ProcessEnd> {
        let machine = &self.machines[&id];
        let now = self.agenda.now;
        let place = Place::Member(id);
        let outputs: BTreeMap<LinkId, usize> =
            process.links.iter().map(|(link, stream)| (*link, self.net.unsent(*stream, place))).collect();
        let mut host = DeedHost::new(machine.local_us(now, process.started_us), machine.wall(now), outputs);
        let result = work(&mut process.member, &mut host);
        match &result {
            Ok(_) => self.observe(id, process)?,
            Err(MemberFailure::Damage(damage)) => return Err(ProcessEnd::Wrong(format!("G-15: {damage}"))),
            Err(MemberFailure::Store(error)) => {
                let line = format!("{id}: its disk fails: {error}");
                self.story.tell(now, &line);
            }
        }
        // What was sent before the disk failed is on its way.
        if result.is_ok() || self.observe(id, process).is_ok() {
            self.carry_out(id, process, host.deeds)?;
        }
        if self.machines[&id].disk.dead() {
            // Also where the member could go on without what it asked of its disk.
            return Err(ProcessEnd::Dies("the power goes"));
        }
        result.map_err(|_| ProcessEnd::Dies("its disk failed"))
    }

    fn set_time(&mut self, id: ServerId, process: &mut SimProcess) -> Millis {
        let machine = &self.machines[&id];
        let local = Millis(machine.local_us(self.agenda.now, process.started_us) / 1000);
        process.member.engine.set_time(local, machine.wall(self.agenda.now));
        local
    }

    fn first_half(&mut self, id: ServerId, process: &mut SimProcess) -> Result<(), ProcessEnd> {
        let local = self.set_time(id, process);
        let granted = self.unheard_ms(process, local);
        process.member.engine.grant_back(granted);
        process.member.pace();
        self.change_members(id, process);
        let pings = process.pings;
        self.call(id, process, |member, host| member.wake(host))?;
        if process.pings > pings {
            self.has_pinged(id);
        }
        self.has_woken(id, process)?;
        while let Some(incoming) = process.inbox.pop_front() {
            self.take_in(id, process, incoming)?;
        }
        self.redial_voices(id, process);
        self.take_in_clients(id, process);
        process.member.engine.go_on();
        let waiting: Vec<_> = process
            .sockets
            .values()
            .filter_map(|socket| match socket {
                SimSocket::Client(client) if !client.input.is_empty() => Some(client.conn),
                _ => None,
            })
            .collect();
        process.member.engine.tick_hearing(&mut |conn| waiting.contains(&conn));
        let write = self.call(id, process, |member, host| member.commit_begin(host))?;
        let Some(write) = write else { return self.second_half(id, process, None) };
        if process.write.replace(write).is_some() {
            return Err(ProcessEnd::Wrong("D-04: two writes of the log at once".into()));
        }
        process.waits_for_write = true;
        let machine = &self.machines[&id];
        let (life, takes_us) = (machine.life, 20 + self.rng.below(machine.write_us));
        let patience_us = (self.swarm.tick_ms * 1000 / 8).clamp(5000, 100_000);
        let now = self.agenda.now;
        self.agenda.at(now + takes_us, &mut self.rng, Happening::WriteIsOver { member: id, life });
        if takes_us > patience_us {
            self.agenda.at(now + patience_us, &mut self.rng, Happening::LoopGoesOn { member: id, life });
        }
        Ok(())
    }

    fn second_half(
        &mut self,
        id: ServerId,
        process: &mut SimProcess,
        written: Option<LogWritten>,
    ) -> Result<(), ProcessEnd> {
        self.set_time(id, process);
        self.call(id, process, |member, host| member.commit_end(host, written))?;
        self.call(id, process, |member, host| member.take_snapshot(host))?;
        self.send_output(id, process);
        process.member.told_all();
        self.call(id, process, |member, host| member.tick(host))
    }

    /// For how long nobody listened since the last turn, ms: as the loop's own count has it.
    fn unheard_ms(&self, process: &mut SimProcess, local: Millis) -> u64 {
        let gap_ms = self.swarm.gap_ms();
        let passed = local.since(process.woke);
        let (since, timeout_ms) = process.asleep.take().unwrap_or((local, 0));
        let (worked, slept) = (since.since(process.woke), local.since(since));
        let heard = worked.min(gap_ms) + slept.min(timeout_ms + gap_ms);
        process.woke = local;
        passed.saturating_sub(heard)
    }

    // -----------------------------------------------------------------------------------------------------------
    // What comes

    fn take_in(&mut self, id: ServerId, process: &mut SimProcess, incoming: Incoming) -> Result<(), ProcessEnd> {
        match incoming {
            Incoming::Accepted(stream) => {
                let Some(open) = self.net.streams.get(&stream) else { return Ok(()) };
                let socket = match (open.usage, open.peer_of(Place::Member(id))) {
                    (StreamUse::Client, Place::Client(client)) => {
                        let conn = process.member.engine.open(([127, 0, 0, 1], 1000 + client as u16).into());
                        SimSocket::Client(ClientPortSocket { conn, input: Vec::new(), has_ended: false })
                    }
                    _ => SimSocket::Quorum(new_socket(process, stream, true)),
                };
                process.sockets.insert(stream, socket);
                Ok(())
            }
            Incoming::Opened(stream) => {
                let socket = new_socket(process, stream, false);
                let link = socket.link;
                process.sockets.insert(stream, SimSocket::Quorum(socket));
                self.call(id, process, |member, host| member.handle(host, ZabEvent::Opened { link, is_ours: true }))
            }
            Incoming::DialFailed => self.call(id, process, |member, host| member.handle(host, ZabEvent::DialFailed)),
            Incoming::Voice(peer, stream) => self.voice_stands(id, process, peer, stream),
            Incoming::NoVoice(peer) => self.voice_failed(id, process, peer),
            Incoming::Stream(stream, what) => match (process.sockets.get_mut(&stream), what) {
                (Some(SimSocket::Quorum(socket)), Travelling::Bytes(bytes)) => {
                    socket.input.extend_from_slice(&bytes);
                    self.read_quorum(id, process, stream)
                }
                (Some(SimSocket::Quorum(socket)), Travelling::End) => {
                    socket.has_ended = true;
                    self.read_quorum(id, process, stream)
                }
                (Some(SimSocket::Voice(peer)), what) => {
                    let peer = *peer;
                    match what {
                        Travelling::Ballot(notification) => {
                            if let Some(voice) = process.voices.get_mut(&peer) {
                                voice.asked_at = None;
                            }
                            self.call(id, process, |member, host| {
                                member.handle(host, ZabEvent::Ballot { from: peer, notification: *notification })
                            })
                        }
                        _ => self.voice_lost(id, process, stream, peer),
                    }
                }
                (Some(SimSocket::Client(socket)), Travelling::Bytes(bytes)) => {
                    socket.input.extend_from_slice(&bytes);
                    Ok(())
                }
                (Some(SimSocket::Client(socket)), _) => {
                    socket.has_ended = true;
                    Ok(())
                }
                _ => Ok(()),
            },
        }
    }

    /// Hands over what a connection of the quorum port has, one packet at a time.
    fn read_quorum(&mut self, id: ServerId, process: &mut SimProcess, stream: u64) -> Result<(), ProcessEnd> {
        loop {
            let Some(SimSocket::Quorum(socket)) = process.sockets.get_mut(&stream) else { return Ok(()) };
            let link = socket.link;
            if socket.is_raw {
                if socket.input.is_empty() {
                    break;
                }
                let bytes = std::mem::take(&mut socket.input);
                self.call(id, process, |member, host| member.raw(host, link, &bytes))?;
                continue;
            }
            let packet = match QuorumPacket::decode(&socket.input, DATA_MAX) {
                Ok(Some((packet, used))) => {
                    socket.input.drain(..used);
                    packet
                }
                Ok(None) => break,
                Err(error) => return Err(ProcessEnd::Wrong(format!("F-20: what a member sent is no packet: {error}"))),
            };
            if packet.kind == PacketType::LEADERINFO {
                socket.epoch = packet.zxid.epoch();
            }
            if std::mem::take(&mut socket.is_new) {
                self.call(id, process, |member, host| member.handle(host, ZabEvent::Opened { link, is_ours: false }))?;
            }
            // It may have been closed at once.
            if process.sockets.contains_key(&stream) {
                self.heard_packet(process, stream, &packet);
                self.mark_arrived(id, process, &packet);
                self.call(id, process, |member, host| member.handle(host, ZabEvent::Packet { link, packet }))?;
            }
        }
        let Some(SimSocket::Quorum(socket)) = process.sockets.get(&stream) else { return Ok(()) };
        if socket.has_ended {
            let (link, was_new) = (socket.link, socket.is_new);
            self.mark_lost(socket);
            process.sockets.remove(&stream);
            process.links.remove(&link);
            self.net.close(&mut self.agenda, stream, Place::Member(id));
            if !was_new {
                self.call(id, process, |member, host| member.handle(host, ZabEvent::Closed { link }))?;
            }
        }
        Ok(())
    }

    fn take_in_clients(&mut self, id: ServerId, process: &mut SimProcess) {
        let SimProcess { sockets, member, .. } = process;
        let (mut gone, mut heard) = (Vec::new(), Vec::new());
        for (stream, socket) in sockets.iter_mut() {
            let SimSocket::Client(client) = socket else { continue };
            if !client.input.is_empty() {
                let received = member.engine.receive(client.conn, &client.input);
                client.input.drain(..received.consumed);
                // What a client had sent before it hung up, and was not read, was not heard.
                if received.consumed > 0 {
                    heard.push(*stream);
                }
            }
            if client.has_ended {
                member.engine.closed(client.conn);
                gone.push(*stream);
            }
        }
        heard.into_iter().for_each(|stream| self.heard_client(process, stream));
        for stream in gone {
            process.sockets.remove(&stream);
            self.net.close(&mut self.agenda, stream, Place::Member(id));
        }
    }

    fn send_output(&mut self, id: ServerId, process: &mut SimProcess) {
        while let Some(conn) = process.member.engine.poll_touched() {
            let Some((output, close)) = process.member.engine.output(conn) else { continue };
            let (output, is_closed) = (output.to_vec(), close.is_some());
            let is_it = |socket: &SimSocket| matches!(socket, SimSocket::Client(client) if client.conn == conn);
            let stream = process.sockets.iter().find(|(_, socket)| is_it(socket)).map(|(stream, _)| *stream);
            let Some(stream) = stream else { continue };
            let length = output.len();
            if length > 0 {
                self.net.send(&mut self.agenda, stream, Place::Member(id), Travelling::Bytes(output));
            }
            process.member.engine.flushed(conn, length);
            if is_closed {
                process.member.engine.closed(conn);
                process.sockets.remove(&stream);
                self.net.close(&mut self.agenda, stream, Place::Member(id));
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // What was asked for

    fn carry_out(&mut self, id: ServerId, process: &mut SimProcess, deeds: Vec<Deed>) -> Result<(), ProcessEnd> {
        let place = Place::Member(id);
        for deed in deeds {
            if let Some(machine) = self.machines.get_mut(&id)
                && let Some(fuse) = &mut machine.fuse
                && fuse.burns(enters_epoch(&deed))
            {
                machine.fuse = None;
                self.mark_undone(&deed);
                return Err(ProcessEnd::Dies("killed between two actions"));
            }
            match deed {
                Deed::Configured(change) => self.mark_change(process, change),
                Deed::Ballot(to, notification) => {
                    self.check_ballot(id, &notification)?;
                    let voice = process.voices.entry(to).or_default();
                    voice.newest = Some(notification.clone());
                    let (since, times) = voice.told;
                    voice.told = match self.agenda.now - since < FLOOD_US {
                        true => (since, times + 1),
                        false => (self.agenda.now, 1),
                    };
                    if times >= FLOOD {
                        let what = format!("L-08: it tells {to} a vote {times} times in {} ms", FLOOD_US / 1000);
                        return Err(ProcessEnd::Wrong(what));
                    }
                    if let Some(stream) = voice.stream {
                        let what = Travelling::Ballot(Box::new(notification));
                        self.net.send(&mut self.agenda, stream, place, what);
                    }
                }
                Deed::LinkBallots(peers) => self.link_voices(id, process, &peers)?,
                Deed::Dial(to) => self.dial(id, process, to),
                Deed::Send(link, packet) => {
                    let Some(stream) = process.links.get(&link).copied() else { continue };
                    process.pings += u64::from(packet.kind == PacketType::PING);
                    let checked = self.check_packet(id, process, stream, &packet);
                    if !self.less.is_blind {
                        checked?;
                    }
                    let mut bytes = Vec::new();
                    packet.encode(&mut bytes);
                    self.net.send(&mut self.agenda, stream, place, Travelling::Bytes(bytes));
                }
                Deed::Raw(link, bytes) => {
                    let Some(stream) = process.links.get(&link).copied() else { continue };
                    self.story.count_by("bytes of states", bytes.len() as u64);
                    self.net.send(&mut self.agenda, stream, place, Travelling::Bytes(bytes));
                    let breaks = self.swarm.faults.contains(&FaultKind::CutStream) && self.healed_at.is_none();
                    if breaks && self.rng.chance(6) {
                        self.story.tell(self.agenda.now, &format!("fault: a state that {id} sends breaks off"));
                        self.net.cut(&mut self.agenda, stream);
                    }
                }
                Deed::Close(link) => {
                    if let Some(stream) = process.links.remove(&link) {
                        process.sockets.remove(&stream);
                        self.net.close(&mut self.agenda, stream, place);
                    }
                }
                Deed::Hear(link) => {
                    if let Some(socket) = quorum_socket(process, link) {
                        socket.is_raw = true;
                    }
                    // The switch to another state is one of few moments; a power cut that comes anywhere hardly meets it.
                    let is_cut = self.swarm.faults.contains(&FaultKind::DiesInDiskCall) && self.healed_at.is_none();
                    if is_cut && self.rng.chance(2) {
                        let calls = self.rng.below(40);
                        self.machines[&id].disk.set_trap(calls, Trap::Crash);
                    }
                }
                Deed::Heard(link, rest) => {
                    if let Some(socket) = quorum_socket(process, link) {
                        socket.is_raw = false;
                        socket.input.splice(..0, rest);
                    }
                }
            }
        }
        Ok(())
    }
}

fn quorum_socket(process: &mut SimProcess, link: LinkId) -> Option<&mut QuorumSocket> {
    let stream = process.links.get(&link)?;
    match process.sockets.get_mut(stream) {
        Some(SimSocket::Quorum(socket)) => Some(socket),
        _ => None,
    }
}

fn new_socket(process: &mut SimProcess, stream: u64, is_new: bool) -> QuorumSocket {
    process.next_link += 1;
    let link = LinkId { slot: process.next_link, generation: 0 };
    process.links.insert(link, stream);
    QuorumSocket {
        link,
        is_new,
        is_raw: false,
        input: Vec::new(),
        has_ended: false,
        proposed: std::collections::VecDeque::new(),
        epoch: 0,
        began_with: None,
        is_ended: false,
        is_up: false,
        has_history: false,
        sent: None,
        acked: None,
    }
}

/// Whether a member enters an epoch with it, or has another enter one.
fn enters_epoch(deed: &Deed) -> bool {
    let Deed::Send(_, packet) = deed else { return false };
    let is_begin = packet.zxid.counter() == 0;
    match packet.kind {
        PacketType::LEADERINFO | PacketType::ACKEPOCH | PacketType::NEWLEADER | PacketType::UPTODATE => true,
        PacketType::ACK => is_begin,
        _ => false,
    }
}
