//! Connections among members: dials of the quorum port, and the one election connection of each pair.

use super::agenda::Happening;
use super::member::{Incoming, SimProcess, SimSocket};
use super::network::{Place, StreamUse, Travelling};
use super::{Cluster, ProcessEnd};
use crate::ids::ServerId;
use crate::zab::{ZabEvent, election_wait_max_ms};

/// The pauses between two dials of an election port, µs.
const REDIAL_MIN_US: u64 = 100_000;
const REDIAL_MAX_US: u64 = 1_000_000;

impl Cluster {
    fn takes_connections(&self, to: ServerId) -> bool {
        self.machines.get(&to).is_some_and(|machine| machine.runs())
    }

    /// Whether a dial of a quorum port is the one that this member waits for.
    fn is_awaited(&self, id: ServerId, serial: u64) -> bool {
        let Some(machine) = self.machines.get(&id) else { return false };
        let ours = machine.process.as_ref().map(|process| process.dial);
        ours.or(machine.java.as_ref().map(|seat| seat.dial)) == Some(serial)
    }

    /// When a dial from here to there comes to something, µs from now: a black hole takes its time.
    pub(super) fn dial_us(&mut self, from: ServerId, to: ServerId, limit_ms: u64) -> u64 {
        let (a, b) = (Place::Member(from), Place::Member(to));
        if self.net.can_reach(a, b) && !self.net.is_off(to) {
            return self.net.latency(a, b) + self.net.latency(b, a);
        }
        limit_ms * 1000
    }

    pub(super) fn dial(&mut self, id: ServerId, process: &mut SimProcess, to: ServerId) {
        process.dial += 1;
        let limit_ms = self.swarm.dial_ms.min(self.swarm.sync_limit * self.swarm.tick_ms);
        let due = self.agenda.now + self.dial_us(id, to, limit_ms);
        let life = self.machines[&id].life;
        let what = Happening::Dialled { member: id, life, serial: process.dial, to };
        self.agenda.at(due, &mut self.rng, what);
    }

    /// A dial of a quorum port has come to something.
    pub(super) fn dialled(&mut self, id: ServerId, serial: u64, to: ServerId) {
        if !self.is_awaited(id, serial) {
            return;
        }
        let (a, b) = (Place::Member(id), Place::Member(to));
        if !self.machines.get(&to).is_some_and(|machine| machine.listens()) || !self.net.can_reach(a, b) {
            return self.comes(id, Incoming::DialFailed);
        }
        let stream = self.net.open(StreamUse::Quorum, a, b);
        self.comes(id, Incoming::Opened(stream));
        self.comes(to, Incoming::Accepted(stream));
    }

    // -----------------------------------------------------------------------------------------------------------
    // Elections

    /// Election connections with these are wanted.
    pub(super) fn link_voices(
        &mut self,
        id: ServerId,
        process: &mut SimProcess,
        peers: &[ServerId],
    ) -> Result<(), ProcessEnd> {
        let now = self.agenda.now;
        let silence_us = 1000 * self.swarm.dial_ms.max(2 * election_wait_max_ms(self.swarm.tick_ms));
        for peer in peers {
            let voice = process.voices.entry(*peer).or_default();
            voice.is_wanted = true;
            if let Some(stream) = voice.stream {
                let asked_at = *voice.asked_at.get_or_insert(now);
                if now - asked_at >= silence_us {
                    self.story.count("mark: a silent election connection is given up");
                    self.voice_gone(process, stream, *peer);
                    self.net.close(&mut self.agenda, stream, Place::Member(id));
                    process.inbox.push_back(Incoming::NoVoice(*peer));
                }
            }
            self.redial_voice(id, process, *peer);
        }
        Ok(())
    }

    pub(super) fn redial_voices(&mut self, id: ServerId, process: &mut SimProcess) {
        let peers: Vec<ServerId> = process.voices.keys().copied().collect();
        for peer in peers {
            self.redial_voice(id, process, peer);
        }
    }

    fn redial_voice(&mut self, id: ServerId, process: &mut SimProcess, peer: ServerId) {
        let now = self.agenda.now;
        let Some(voice) = process.voices.get_mut(&peer) else { return };
        if !voice.is_wanted || voice.stream.is_some() || voice.is_dialling || voice.redial_at > now {
            return;
        }
        voice.is_dialling = true;
        let due = now + self.dial_us(id, peer, self.swarm.dial_ms);
        let life = self.machines[&id].life;
        self.agenda.at(due, &mut self.rng, Happening::BallotDialled { member: id, life, to: peer });
    }

    /// A dial of an election port has come to something.
    pub(super) fn ballot_dialled(&mut self, id: ServerId, to: ServerId) {
        let (a, b) = (Place::Member(id), Place::Member(to));
        if !self.takes_connections(to) || !self.net.can_reach(a, b) {
            return self.comes(id, Incoming::NoVoice(to));
        }
        let stream = self.net.open(StreamUse::Election, a, b);
        self.comes(id, Incoming::Voice(to, stream));
        self.comes(to, Incoming::Voice(id, stream));
    }

    pub(super) fn voice_stands(
        &mut self,
        id: ServerId,
        process: &mut SimProcess,
        peer: ServerId,
        stream: u64,
    ) -> Result<(), ProcessEnd> {
        let place = Place::Member(id);
        let Some(open) = self.net.streams.get(&stream) else {
            // It was closed before this member, which stood still, could hear of it. One that dials is to dial again.
            let is_dialling = process.voices.get(&peer).is_some_and(|voice| voice.is_dialling);
            return if is_dialling { self.voice_failed(id, process, peer) } else { Ok(()) };
        };
        let opened_by = if open.ends[0] == place { id } else { peer };
        let voice = process.voices.entry(peer).or_default();
        if opened_by == id {
            voice.is_dialling = false;
        }
        let older = voice.stream;
        if older.is_some_and(|older| older > stream) {
            // Both dialled at once: the newer connection stays, at both ends.
            self.story.count("mark: crossed dials");
            self.net.close(&mut self.agenda, stream, place);
            return Ok(());
        }
        voice.stream = Some(stream);
        (voice.failures, voice.asked_at) = (0, None);
        let newest = voice.newest.clone();
        if let Some(older) = older {
            process.sockets.remove(&older);
            self.net.close(&mut self.agenda, older, place);
        }
        process.sockets.insert(stream, SimSocket::Voice(peer));
        if let Some(newest) = newest {
            self.net.send(&mut self.agenda, stream, place, Travelling::Ballot(Box::new(newest)));
        }
        self.call(id, process, |member, host| member.handle(host, ZabEvent::BallotLink { peer, is_up: true }))
    }

    pub(super) fn voice_failed(
        &mut self,
        id: ServerId,
        process: &mut SimProcess,
        peer: ServerId,
    ) -> Result<(), ProcessEnd> {
        let voice = process.voices.entry(peer).or_default();
        voice.is_dialling = false;
        voice.redial_at = self.agenda.now + (REDIAL_MIN_US << voice.failures.min(8)).min(REDIAL_MAX_US);
        voice.failures += 1;
        if voice.stream.is_some() {
            return Ok(());
        }
        self.call(id, process, |member, host| member.handle(host, ZabEvent::BallotLink { peer, is_up: false }))
    }

    fn voice_gone(&mut self, process: &mut SimProcess, stream: u64, peer: ServerId) {
        process.sockets.remove(&stream);
        if let Some(voice) = process.voices.get_mut(&peer) {
            voice.stream = None;
            voice.redial_at = self.agenda.now + REDIAL_MIN_US;
        }
    }

    pub(super) fn voice_lost(
        &mut self,
        id: ServerId,
        process: &mut SimProcess,
        stream: u64,
        peer: ServerId,
    ) -> Result<(), ProcessEnd> {
        self.voice_gone(process, stream, peer);
        self.net.close(&mut self.agenda, stream, Place::Member(id));
        self.call(id, process, |member, host| member.handle(host, ZabEvent::BallotLink { peer, is_up: false }))
    }
}
