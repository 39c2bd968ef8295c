//! What must never happen, held against everything that a member does as it does it. What a member has is read from its disk,
//! not from what it believes.

use super::agenda::Happening;
use super::changing::watches;
use super::member::{SimMachine, SimProcess, ToldToCut};
use super::network::Place;
use super::{Cluster, ProcessEnd};
use crate::ids::{ServerId, Zxid};
use crate::records::peer::{Notification, PacketType, PeerState, QuorumPacket};
use crate::records::txn::{Payload, Txn, decode_txn};
use crate::sim::Wrong;
use crate::store::{Store, StoreError};
use crate::zab::Standing;

/// By so much a timeout may be short: clocks are read in whole milliseconds.
const CLOCK_SLACK_US: u64 = 3000;

impl Cluster {
    /// Looks at a member after it has worked.
    pub(super) fn observe(&mut self, id: ServerId, process: &mut SimProcess) -> Result<(), ProcessEnd> {
        if process.member.store.last_zxid() != self.machines[&id].end() {
            self.log_changed(id, process)?;
        }
        self.epochs_kept(id, process.member.store.epochs())?;
        let standing = process.member.standing().unwrap_or(Standing::Looking);
        let before = std::mem::replace(&mut process.standing, standing);
        if standing != before {
            self.canon.begins_anew(id);
            self.mark_standing(id, process, before);
            self.stands(id, process, before, standing)?;
        }
        // What it has applied when its role ends, it has applied in that role.
        if standing != Standing::Looking || before != Standing::Looking {
            self.applies(id, process)?;
        }
        process.applied = process.member.applied();
        Ok(())
    }

    /// A leader that has looked at the clock has heard of a quorum not long ago (L-04).
    pub(super) fn has_woken(&self, id: ServerId, process: &SimProcess) -> Result<(), Wrong> {
        let Standing::Leading { epoch } = process.standing else { return Ok(()) };
        let limit = self.swarm.ticks_us(self.swarm.sync_limit.max(self.swarm.init_limit) + 2);
        let installing = self.swarm.ticks_us(10 * self.swarm.init_limit + 2);
        let listened = process.listened_us(self.agenda.now);
        let local = |us: u64| us * self.machines[&id].rate / 1_000_000;
        if process.sent_state.is_some_and(|at| local(listened - at) < installing) {
            return Ok(());
        }
        let is_heard = |voter: ServerId| {
            let at = process.learners.get(&voter).copied().unwrap_or(0).max(process.leads_since);
            voter == id || local(listened - at) <= limit
        };
        let is_enough = match process.member.configs() {
            None => self.swarm.is_quorum(is_heard),
            Some(configs) => watches(configs, id, is_heard),
        };
        match is_enough {
            true => Ok(()),
            false => Err(format!("L-04: {id} leads in epoch {epoch}, and has not heard of a quorum for long")),
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // The disk

    fn log_changed(&mut self, id: ServerId, process: &mut SimProcess) -> Result<(), ProcessEnd> {
        let last = process.member.store.last_zxid();
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        if machine.has(last) {
            if process.applied > last {
                self.story.count("mark: what is cut was applied");
            }
            let kept = machine.log.partition_point(|(zxid, _)| *zxid <= last);
            let dropped = machine.log.split_off(kept);
            if last < machine.begin {
                // It is no leader of Java's state any more that the log goes on from.
                machine.begin = Zxid::ZERO;
            }
            process.verified = process.verified.min(kept);
            self.story.count("mark: a log is cut");
            let line = format!("{id}: its log is cut at {last}");
            self.story.tell(self.agenda.now, &line);
            if self.machines[&id].told.is_none_or(|told| last < told.to) {
                return Err(ProcessEnd::Wrong(format!("S-15: {id} cuts its log at {last}, and nobody has told it to")));
            }
            self.dropped(id, &dropped)?;
            self.carried_out(id);
            return Ok(());
        }
        let after = machine.end();
        let grown = if last > after { read_log(&mut process.member.store, after) } else { Ok(None) };
        // Where a bit has rotted, others tell what is there.
        let grown = if machine.is_rotten { grown.unwrap_or(None) } else { grown? };
        if let Some(grown) = grown {
            if grown.len() > 1 {
                self.story.count("mark: several transactions share a sync");
            }
            machine.log.extend(grown);
            if machine.logged() == last {
                return Ok(());
            }
        }
        self.installed(id, process, last)
    }

    /// A state was installed: it is that of some history, which somebody has.
    fn installed(&mut self, id: ServerId, process: &mut SimProcess, at: Zxid) -> Result<(), ProcessEnd> {
        let Some(donor) = self.donor(at) else {
            if self.machines[&id].is_rotten {
                return Err(ProcessEnd::Dies("its log cannot be read"));
            }
            return Err(ProcessEnd::Wrong(format!(
                "S-02, S-40: a state at {at} is on disk, and nobody has that history"
            )));
        };
        let upto = donor.log.partition_point(|(zxid, _)| *zxid <= at);
        let log = donor.log[..upto].to_vec();
        process.verified = 0;
        self.story.count("mark: a state is installed");
        let before = self.machines[&id].logged();
        if before == Zxid::ZERO && at > Zxid::ZERO {
            self.story.count("mark: a new file is filled by a state");
        }
        if before > at {
            self.story.count("mark: a state is installed over a longer log");
        }
        let line = format!("{id}: a state at {at} is its own");
        self.story.tell(self.agenda.now, &line);
        // It holds all of it: a SNAP tells where the state begins, and what follows comes on top.
        if let Some(told) = self.machines.get_mut(&id).and_then(|machine| machine.told.as_mut()) {
            told.to = told.to.max(at);
        }
        self.replaced(id, log)?;
        self.begins_at(id, at);
        self.carried_out(id);
        Ok(())
    }

    /// Whose history a state at this zxid is of: a server of Java's calls its own by the begin of the epoch in which it took office.
    pub(super) fn donor(&self, at: Zxid) -> Option<&SimMachine> {
        let has_it = || self.machines.values().find(|machine| machine.has(at));
        let leads = || self.machines.get(self.canon.leaders.get(&at.epoch())?);
        has_it().or_else(|| leads().filter(|_| self.canon.is_begin_of_java(at)))
    }

    /// The state of a member is told to begin there.
    pub(super) fn begins_at(&mut self, id: ServerId, at: Zxid) {
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.begin = if at.counter() == 0 { at } else { Zxid::ZERO };
        }
    }

    /// It has cut what it was told to: what it logs from then on, it holds.
    fn carried_out(&mut self, id: ServerId) {
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.told = None;
        }
    }

    /// The log is another one from now on: nothing committed may be missing that was there.
    pub(super) fn replaced(&mut self, id: ServerId, log: Vec<(Zxid, Payload)>) -> Result<(), Wrong> {
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let before = std::mem::replace(&mut machine.log, log);
        let common = before.iter().zip(&machine.log).take_while(|(a, b)| a == b).count();
        self.dropped(id, &before[common..])
    }

    /// Something has gone from a log. A leader tells a learner that comes back to cut what is not committed yet, and sends it
    /// again; others may commit that meanwhile, since nothing that the learner has acknowledged before counts any more. So
    /// what is committed may go where that was told, as long as every quorum has it all the same.
    fn dropped(&mut self, id: ServerId, dropped: &[(Zxid, Payload)]) -> Result<(), Wrong> {
        let is_committed =
            |(zxid, bytes): &&(Zxid, Payload)| self.canon.at(*zxid).is_some_and(|txn| txn.bytes == *bytes);
        if let Some((zxid, _)) = dropped.iter().find(is_committed) {
            if self.machines[&id].told.is_none_or(|told| *zxid <= told.to) {
                return Err(format!("S-15, S-40: {id} has lost {zxid}, which is committed"));
            }
            self.story.count("mark: what is cut was committed meanwhile");
        }
        self.check_kept()
    }

    /// Whether it has this on disk, and nobody has told it to cut it.
    pub(super) fn keeps(&self, id: ServerId, zxid: Zxid, bytes: &Payload) -> bool {
        let machine = &self.machines[&id];
        let is_told = |told: &ToldToCut| told.to < zxid && self.net.is_read(told.stream, Place::Member(id));
        machine.holds(zxid, bytes) && !machine.told.as_ref().is_some_and(is_told)
    }

    /// Every quorum has a member that holds everything committed, or one that does not vote before it has met one that does (S-10).
    pub(super) fn check_kept(&self) -> Result<(), Wrong> {
        let Some(last) = self.canon.txns.last() else { return Ok(()) };
        let lacks = |voter: ServerId| !self.machines[&voter].is_new() && !self.keeps(voter, last.zxid, &last.bytes);
        if self.canon.is_quorum(lacks) {
            return Err(format!("S-10, S-15, G-09: a quorum does not hold {}, which is committed", last.zxid));
        }
        Ok(())
    }

    pub(super) fn epochs_kept(&mut self, id: ServerId, epochs: (u64, u64)) -> Result<(), Wrong> {
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let before = std::mem::replace(&mut machine.epochs, epochs);
        let known = machine.committed_at_end.take();
        machine.ever = machine.ever.max(machine.logged());
        if epochs.0 < before.0 || epochs.1 < before.1 || epochs.1 > epochs.0 {
            return Err(format!("S-08: accepted and current epoch are {epochs:?} after {before:?}"));
        }
        if epochs.1 > before.1 {
            // Nothing of an earlier epoch is committed any more that this epoch's leader lacks, and its history comes first.
            // A write that failed may have reached the disk all the same, which is seen when the file is read again.
            let known = &self.canon.txns[..known.unwrap_or(self.canon.txns.len())];
            let earlier = known.partition_point(|txn| u64::from(txn.zxid.epoch()) < epochs.1);
            if let Some(last) = earlier.checked_sub(1).map(|at| &known[at])
                && !machine.holds(last.zxid, &last.bytes)
            {
                let (current, lacks) = (epochs.1, last.zxid);
                return Err(format!(
                    "S-09, D-02: epoch {current} is current on disk without {lacks}, which is committed"
                ));
            }
        }
        if before.0 > before.1 && epochs.0 > before.0 {
            self.story.count("mark: a promise is followed by another");
        }
        let logged = u64::from(machine.logged().epoch());
        if logged > epochs.0 {
            return Err(format!("S-08: a transaction of epoch {logged} is logged, {} is accepted", epochs.0));
        }
        Ok(())
    }

    // -----------------------------------------------------------------------------------------------------------
    // Agreement

    fn stands(
        &mut self,
        id: ServerId,
        process: &mut SimProcess,
        before: Standing,
        standing: Standing,
    ) -> Result<(), ProcessEnd> {
        let now = self.agenda.now;
        let at = process.member.applied();
        match standing {
            Standing::Looking => {
                self.mark_removed(id, before);
                self.story.count("a member looks for a leader");
                self.story.tell(now, &format!("{id}: looks for a leader, at {at}"));
            }
            Standing::Following { leader, epoch, .. } => {
                self.story.count("a member follows");
                self.story.tell(now, &format!("{id}: follows {leader} in epoch {epoch}, at {at}"));
                process.heard.clear();
            }
            Standing::Leading { epoch } => {
                self.story.count("a leader is established");
                self.story.tell(now, &format!("{id}: leads in epoch {epoch}, from {at}"));
                process.heard.clear();
                process.leads_since = process.listened_us(now);
                process.decides_since = process.sessions_us(now);
                self.established(id, epoch)?;
                if std::mem::take(&mut self.dooms_leader) && self.healed_at.is_none() {
                    let due = now + self.rng.below(4 * self.swarm.latency_us.1 + self.swarm.write_us);
                    let what = Happening::Dies { member: id, life: self.machines[&id].life };
                    self.agenda.at(due, &mut self.rng, what);
                }
            }
        }
        Ok(())
    }

    pub(super) fn established(&mut self, id: ServerId, epoch: u32) -> Result<(), Wrong> {
        if let Some(other) = self.canon.leaders.insert(epoch, id) {
            return Err(format!("S-07: epoch {epoch} is led by {id} and was led by {other}"));
        }
        let log = &self.machines[&id].log;
        if let Some(last) = self.canon.txns.last()
            && !self.machines[&id].holds(last.zxid, &last.bytes)
        {
            return Err(format!("S-09: {id} leads without {}, which is committed", last.zxid));
        }
        if let Some((zxid, bytes)) = log.last()
            && !self.canon.is_quorum(|voter| self.keeps(voter, *zxid, bytes))
        {
            return Err(format!("S-11, D-02: {id} leads from {zxid}, which no quorum has on disk"));
        }
        if !self.canon.is_quorum(|voter| self.machines[&voter].epochs.1 >= u64::from(epoch)) {
            return Err(format!("S-08, D-03: {id} leads in epoch {epoch}, which no quorum has on disk"));
        }
        Ok(())
    }

    /// What a member that serves has applied is committed, and is on its own disk.
    fn applies(&mut self, id: ServerId, process: &mut SimProcess) -> Result<(), ProcessEnd> {
        let applied = process.member.applied();
        let machine = &self.machines[&id];
        if !machine.has(applied) {
            return Err(ProcessEnd::Wrong(format!("S-12: {applied} is applied and is not in the log on disk")));
        }
        let upto = machine.log.partition_point(|(zxid, _)| *zxid <= applied);
        while process.verified < upto {
            let at = process.verified;
            let (zxid, bytes) = self.machines[&id].log[at].clone();
            match self.canon.txns.get(at) {
                Some(txn) if txn.zxid == zxid && txn.bytes == bytes => {}
                Some(txn) => {
                    return Err(ProcessEnd::Wrong(format!("S-01, S-02: {zxid} is applied where {} was", txn.zxid)));
                }
                None => self.committed(id, process, zxid, &bytes)?,
            }
            process.verified += 1;
        }
        Ok(())
    }

    /// The first member has applied it.
    fn committed(&mut self, id: ServerId, process: &mut SimProcess, zxid: Zxid, bytes: &Payload) -> Result<(), Wrong> {
        if !self.canon.is_quorum(|voter| self.keeps(voter, zxid, bytes)) {
            return Err(format!("S-11: {zxid} is applied and no quorum has it on disk to stay"));
        }
        self.config_committed(id, process, zxid, bytes)?;
        // What an earlier leader decided may be committed by the election of the next one.
        if matches!(process.standing, Standing::Leading { epoch } if epoch == zxid.epoch()) {
            self.decided(id, process, bytes)?;
        }
        self.mark_committed(process, zxid);
        self.canon.commit(zxid, bytes)?;
        self.story.mix(zxid.0 as u64);
        self.story.count_by("transactions", 1);
        Ok(())
    }

    /// A leader has decided this: a session ends only when nobody has heard of it for its timeout (G-10, S-35).
    fn decided(&mut self, id: ServerId, process: &mut SimProcess, bytes: &Payload) -> Result<(), Wrong> {
        let (header, txn, _) = decode_txn(bytes).map_err(|error| format!("S-03: {error}"))?;
        if !self.judged.insert(header.zxid) {
            return Ok(());
        }
        let session = header.session.0;
        let listened = process.sessions_us(self.agenda.now);
        if matches!(txn, Txn::CloseSession(_)) {
            self.canon.closing.insert(session);
        }
        match txn {
            // One of an earlier epoch has its whole timeout from the election on, whenever a learner is sent it.
            Txn::CreateSession(_) if matches!(process.standing, Standing::Leading { epoch } if epoch == header.zxid.epoch()) =>
            {
                process.heard.insert(session, (listened, "its beginning"));
            }
            Txn::CloseSession(_) if header.cxid == 0 => {
                let heard = process.heard.get(&session).copied().unwrap_or((0, "nothing"));
                let (heard, by) = heard.max((process.decides_since, "the election"));
                let silent_us = (listened - heard) * self.machines[&id].rate / 1_000_000;
                let timeout_ms = self.canon.model.sessions.get(&session).copied().unwrap_or(0);
                let line = format!("{id}: session 0x{session:x} ends, {} ms after {by}", silent_us / 1000);
                self.story.tell(self.agenda.now, &line);
                if silent_us + CLOCK_SLACK_US < timeout_ms as u64 * 1000 {
                    let silent_ms = silent_us / 1000;
                    return Err(format!("G-10, S-35: 0x{session:x} ends {silent_ms} ms after {by}, of {timeout_ms}"));
                }
                self.ends_without_a_fault(id, session, timeout_ms as u64)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A client that speaks for its session and pings in time keeps it, once nothing is broken any more. One that is at a leader
    /// which does not know yet that it was deposed, or at a learner of that, pings in vain.
    pub(super) fn ends_without_a_fault(&self, leader: ServerId, session: i64, timeout_ms: u64) -> Result<(), Wrong> {
        let Some(healed_at) = self.healed_at else { return Ok(()) };
        let now = self.agenda.now;
        let speaks = |client: &super::KazooClient| {
            let is_heard = client.greeted_by().is_some_and(|server| server == leader || self.follows(server, leader));
            client.speaks_for(now).filter(|(of, since_us)| *of == session && now - since_us > healed_at && is_heard)
        };
        let since_us = self.clients.iter().find_map(speaks).map_or(0, |(_, since_us)| since_us);
        // What a ping's news takes to the leader at most: to a follower, until the leader's next ping, and on.
        let on_its_way_us =
            self.swarm.ticks_us(1) * 2 / 3 + 4 * self.swarm.latency_us.1 + 2 * self.swarm.calm_write_us() + 20_000;
        if since_us < timeout_ms * 1000 || timeout_ms * 2000 / 3 < on_its_way_us {
            return Ok(());
        }
        Err(format!("G-10, L-05: the leader ends 0x{session:x}, whose client has pinged for {} ms", since_us / 1000))
    }

    fn follows(&self, server: ServerId, leader: ServerId) -> bool {
        let standing = self.machines.get(&server).and_then(SimMachine::standing);
        matches!(standing, Some(Standing::Following { leader: of, .. }) if of == leader)
    }

    // -----------------------------------------------------------------------------------------------------------
    // What leaves

    pub(super) fn check_ballot(&mut self, id: ServerId, notification: &Notification) -> Result<(), Wrong> {
        let machine = &self.machines[&id];
        let is_own = notification.state == PeerState::Looking && notification.leader == id;
        // It says nothing.
        if is_own && notification.zxid == Zxid(-1) {
            return match machine.is_new() {
                true => {
                    self.story.count("mark: a member says nothing in an election");
                    Ok(())
                }
                false => Err(format!("SC-51: it does not vote, though its file is not new: {:?}", machine.epochs)),
            };
        }
        let is_own = is_own && !(notification.zxid <= machine.ever && notification.zxid > machine.logged());
        if is_own
            && (!machine.has(notification.zxid)
                || notification.peer_epoch > machine.epochs.1.max(u64::from(machine.logged().epoch())) as i64)
        {
            return Err(format!(
                "D-06: it votes for itself with {} of epoch {}; on disk are {} and {:?}",
                notification.zxid,
                notification.peer_epoch,
                machine.logged(),
                machine.epochs
            ));
        }
        Ok(())
    }

    pub(super) fn check_packet(
        &mut self,
        id: ServerId,
        process: &mut SimProcess,
        stream: u64,
        packet: &QuorumPacket,
    ) -> Result<(), Wrong> {
        let zxid = packet.zxid;
        self.story.mix(u64::from(packet.kind.0.unsigned_abs()) ^ zxid.0 as u64);
        if packet.kind == PacketType::PROPOSAL
            && matches!(process.standing, Standing::Leading { .. })
            && let Some(data) = &packet.data
        {
            self.decided(id, process, data)?;
        }
        self.told_to_cut(id, stream, packet);
        self.mark_leaving(process, stream, packet);
        self.is_not_applied(id, process, packet)?;
        self.sent_in_order(id, process, stream, packet)?;
        let machine = &self.machines[&id];
        let Some(super::member::SimSocket::Quorum(socket)) = process.sockets.get_mut(&stream) else { return Ok(()) };
        match packet.kind {
            PacketType::ACK if zxid.counter() != 0 && !machine.has(zxid) => {
                Err(format!("S-12, D-04: {zxid} is acknowledged and is not on disk"))
            }
            PacketType::ACK if zxid.counter() != 0 && !socket.has_history => {
                Err(format!("S-12, D-02: {zxid} is acknowledged before the history that it belongs to"))
            }
            PacketType::ACK if zxid.counter() == 0 && machine.epochs.1 != u64::from(zxid.epoch()) => {
                let current = machine.epochs.1;
                Err(format!("S-12, D-03: the history of epoch {} is acknowledged in epoch {current}", zxid.epoch()))
            }
            PacketType::ACK if zxid.counter() == 0 => {
                socket.has_history = true;
                Ok(())
            }
            PacketType::ACKEPOCH if machine.epochs.0 < u64::from(socket.epoch) => {
                Err(format!("D-01: epoch {} is promised, {} is on disk", socket.epoch, machine.epochs.0))
            }
            PacketType::LEADERINFO if machine.epochs.0 != u64::from(zxid.epoch()) => {
                Err(format!("D-01: epoch {} is told, {} is on disk", zxid.epoch(), machine.epochs.0))
            }
            PacketType::PROPOSAL => {
                socket.proposed.push_back(zxid);
                Ok(())
            }
            PacketType::COMMIT | PacketType::COMMITANDACTIVATE if socket.is_ended && !socket.is_up => {
                Err(format!("S-14: {zxid} is committed to a learner that was not told to serve"))
            }
            PacketType::COMMIT | PacketType::COMMITANDACTIVATE => match socket.proposed.pop_front() {
                Some(oldest) if oldest == zxid => Ok(()),
                oldest => Err(format!("S-14: {zxid} is committed to a learner, its oldest proposal is {oldest:?}")),
            },
            PacketType::DIFF | PacketType::TRUNC | PacketType::SNAP => {
                self.story.count(match packet.kind {
                    PacketType::DIFF => "mark: DIFF",
                    PacketType::TRUNC => "mark: TRUNC",
                    _ => "mark: SNAP",
                });
                if packet.kind == PacketType::SNAP {
                    process.sent_state = Some(process.listened_us(self.agenda.now));
                }
                let line = format!("{id}: sends {} {zxid}", packet.kind);
                self.story.tell(self.agenda.now, &line);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Nothing is left out of what a learner is sent, and nothing comes twice (S-13); each proposal is acknowledged by itself, in
    /// order: a leader of ZooKeeper's looks at a proposal only when that very one is acknowledged (S-12).
    fn sent_in_order(
        &self,
        id: ServerId,
        process: &mut SimProcess,
        stream: u64,
        packet: &QuorumPacket,
    ) -> Result<(), Wrong> {
        let (machine, zxid) = (&self.machines[&id], packet.zxid);
        let Some(super::member::SimSocket::Quorum(socket)) = process.sockets.get_mut(&stream) else { return Ok(()) };
        let at = machine.log.binary_search_by_key(&zxid, |(at, _)| *at);
        let before_in_log = at.ok().map(|at| at.checked_sub(1).map_or(Zxid::ZERO, |before| machine.log[before].0));
        match packet.kind {
            PacketType::TRUNC | PacketType::SNAP => socket.sent = Some(zxid),
            PacketType::PROPOSAL | PacketType::INFORM | PacketType::INFORMANDACTIVATE if !machine.is_rotten => {
                let before = before_in_log.or((zxid.counter() > 1).then_some(Zxid(zxid.0 - 1)));
                match socket.sent.replace(zxid) {
                    Some(sent) if zxid <= sent => {
                        return Err(format!("S-13: {zxid} is sent to a learner that was sent {sent} before"));
                    }
                    Some(sent) if before.is_some_and(|before| before > sent) => {
                        return Err(format!("S-13: {zxid} is sent to a learner that was sent nothing behind {sent}"));
                    }
                    _ => {}
                }
            }
            PacketType::ACK if zxid.counter() != 0 => {
                let acked = socket.acked.replace(zxid);
                if let (Some(acked), Some(before)) = (acked, before_in_log)
                    && acked != before
                {
                    return Err(format!("S-12: {zxid} is acknowledged behind {acked}, and {before} is not"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Nobody is told to cut what its leader has applied (S-15).
    fn is_not_applied(&self, id: ServerId, process: &SimProcess, packet: &QuorumPacket) -> Result<(), Wrong> {
        let applied = process.member.applied();
        if packet.kind == PacketType::TRUNC && packet.zxid < applied {
            return Err(format!("S-15: {id} has applied {applied} and tells a learner to end at {}", packet.zxid));
        }
        Ok(())
    }

    pub(super) fn told_to_cut(&mut self, id: ServerId, stream: u64, packet: &QuorumPacket) {
        let told = match packet.kind {
            PacketType::TRUNC | PacketType::SNAP => Some(ToldToCut { stream, to: packet.zxid }),
            PacketType::DIFF => None,
            PacketType::ACK if packet.zxid.counter() == 0 => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.told = machine.told.filter(|told| told.stream != stream);
                }
                return;
            }
            _ => return,
        };
        let Some(open) = self.net.streams.get(&stream) else { return };
        let place = open.peer_of(Place::Member(id));
        if let Place::Member(learner) = place
            && self.net.is_read(stream, place)
            && let Some(learner) = self.machines.get_mut(&learner)
        {
            learner.told = told;
        }
    }

    /// A leader hears of sessions from its learners.
    pub(super) fn heard_packet(&self, process: &mut SimProcess, stream: u64, packet: &QuorumPacket) {
        let now = self.agenda.now;
        let (listened, heard_at) = (process.listened_us(now), process.sessions_us(now));
        if let Some([Place::Member(a), Place::Member(b)]) = self.net.streams.get(&stream).map(|stream| stream.ends) {
            process.learners.insert(a, listened);
            process.learners.insert(b, listened);
        }
        if packet.kind == PacketType::ACKEPOCH
            && let Some(super::member::SimSocket::Quorum(socket)) = process.sockets.get_mut(&stream)
        {
            socket.sent = Some(packet.zxid);
        }
        let mut heard = |bytes: &[u8], by| {
            if let Some(session) = bytes.first_chunk::<8>() {
                process.hears_of(i64::from_be_bytes(*session), heard_at, by);
            }
        };
        match packet.kind {
            PacketType::PING => packet.data().chunks_exact(12).for_each(|bytes| heard(bytes, "a ping's answer")),
            PacketType::REQUEST => heard(packet.data(), "a request of a learner's"),
            PacketType::REVALIDATE => heard(packet.data(), "a learner's question"),
            _ => {}
        }
    }

    /// Requests of a client were read by a member.
    pub(super) fn heard_client(&self, process: &mut SimProcess, stream: u64) {
        let client = self.clients.iter().find(|client| client.stream() == Some(stream));
        if let Some(session) = client.and_then(|client| client.greeted_session()) {
            process.hears_of(session, process.sessions_us(self.agenda.now), "its client");
        }
    }
}

/// What a log has behind `after`; `None` when `after` is not in it.
fn read_log(store: &mut Store, after: Zxid) -> Result<Option<Vec<(Zxid, Payload)>>, ProcessEnd> {
    let broken = |error: StoreError| ProcessEnd::Wrong(format!("S-40: the log does not read back: {error}"));
    let Some(mut cursor) = store.read_open(after).map_err(broken)? else { return Ok(None) };
    let mut found = Vec::new();
    if cursor.before() != after {
        store.read_close(cursor);
        return Ok(None);
    }
    loop {
        let piece = store.read(&mut cursor, 1 << 20).map_err(broken)?;
        if piece.is_empty() {
            break;
        }
        found.extend(piece);
    }
    store.read_close(cursor);
    Ok(Some(found))
}
