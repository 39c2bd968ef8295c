//! The fault driver, and what becomes of processes: how they end, and how machines come back.

use std::sync::Arc;

use super::agenda::Happening;
use super::canon::is_majority;
use super::kazoo::Doubt;
use super::member::{self, Fuse, Incoming, Opened, SimMachine, SimProcess, ToldToCut};
use super::network::{Place, Travelling};
use super::swarm::FaultKind;
use super::{Cluster, ProcessEnd};
use crate::ids::{self, Millis, ServerId, Zxid};
use crate::member::JoinSettings;
use crate::store::tests::sim_disk::{Rng, SimDisk, Trap};
use crate::zab::Standing;

impl Cluster {
    /// One fault, and the time of the next. Each draws from numbers of its own, so that others stay what they are when one is
    /// left out.
    pub(super) fn fault(&mut self) -> Result<(), String> {
        if self.healed_at.is_some() {
            return Ok(());
        }
        let number = self.faults.len() as u64;
        let own = Rng(self.fault_seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        let shared = std::mem::replace(&mut self.rng, own);
        let done = self.next_fault(number);
        self.rng = shared;
        done
    }

    fn next_fault(&mut self, number: u64) -> Result<(), String> {
        let most = self.swarm.fault_every_us;
        // Calm stretches between catastrophes.
        let pause = if self.rng.chance(12) { 8 * most } else { self.rng.below(2 * most) };
        self.agenda.at(self.agenda.now + pause, &mut self.rng, Happening::Fault);
        let Some(kind) = self.pick(&self.swarm.faults.clone()) else { return Ok(()) };
        self.faults.push(kind);
        if self.less.faults.contains(&number) {
            return Ok(());
        }
        let members = self.swarm.befallen();
        let any = members[self.rng.below(members.len() as u64) as usize];
        let leader = self.leader().unwrap_or(any);
        let happened = match kind {
            FaultKind::CutStream => self.cut_something(),
            FaultKind::OneWay => {
                let other = self.other_place(any);
                let pair = if self.rng.chance(2) { (Place::Member(any), other) } else { (other, Place::Member(any)) };
                self.block(vec![pair], &format!("nothing gets from {:?} to {:?}", pair.0, pair.1))
            }
            FaultKind::Isolate => self.isolate(any),
            FaultKind::IsolateLeader => self.isolate(leader),
            // Counted when it has happened.
            FaultKind::Depose => {
                self.depose(leader);
                false
            }
            FaultKind::Halves => {
                let part: Vec<ServerId> = members.iter().copied().filter(|_| self.rng.chance(2)).collect();
                let rest = members.iter().filter(|id| !part.contains(id));
                let pairs = rest.flat_map(|a| part.iter().map(|b| (Place::Member(*a), Place::Member(*b))));
                let pairs: Vec<_> = pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect();
                !pairs.is_empty() && self.block(pairs, &format!("{part:?} are apart from the others"))
            }
            FaultKind::SlowPath => {
                let pair = (Place::Member(any), self.other_place(any));
                let us = self.rng.below(self.swarm.ticks_us(3));
                self.net.set_slow(pair, us);
                true
            }
            FaultKind::CutFollower => self.cut_follower(leader, any),
            FaultKind::Kill => self.kill(any, false)?,
            FaultKind::KillLeader => self.kill(leader, false)?,
            FaultKind::KillNewLeader => !std::mem::replace(&mut self.dooms_leader, true),
            FaultKind::PowerCut => self.kill(any, true)?,
            FaultKind::KillAll | FaultKind::PowerCutAll => {
                let mut happened = false;
                for id in members {
                    happened |= self.kill(id, kind == FaultKind::PowerCutAll)?;
                }
                happened
            }
            FaultKind::DiesBetweenDeeds => {
                let fuse = match self.rng.below(40) as u32 {
                    left @ 0..30 => Fuse::After(left),
                    _ => Fuse::EntersEpoch,
                };
                self.machines.get_mut(&any).is_some_and(|machine| machine.fuse.replace(fuse).is_none())
            }
            FaultKind::DiesInDiskCall => {
                let calls = self.rng.below(12);
                self.machines[&any].disk.set_trap(calls, Trap::Crash);
                true
            }
            FaultKind::DiskError => {
                let calls = self.rng.below(6);
                self.machines[&any].disk.set_trap(calls, Trap::Error(std::io::ErrorKind::Other));
                true
            }
            FaultKind::DiskFull => self.fill_or_empty(any),
            FaultKind::SlowDisk => {
                let us = [self.swarm.write_us, self.swarm.ticks_us(1), self.swarm.ticks_us(8)];
                let us = us[self.rng.below(3) as usize];
                self.machines.get_mut(&any).is_some_and(|machine| std::mem::replace(&mut machine.write_us, us) != us)
            }
            FaultKind::Pause => self.pause(any),
            FaultKind::PauseLeader => self.pause(leader),
            FaultKind::Wipe => self.wipe(any)?,
            FaultKind::WipeBesideLaggard => self.leave_behind(leader),
            FaultKind::Rot => self.rot(any)?,
            FaultKind::WallClock => {
                let day = 86_400_000;
                let jump = [0, 60_000, -60_000, 3650 * day, -3650 * day][self.rng.below(5) as usize];
                if let Some(machine) = self.machines.get_mut(&any) {
                    machine.wall_offset = jump;
                }
                true
            }
        };
        if happened {
            self.story.count(kind.name());
        }
        Ok(())
    }

    fn pick(&mut self, kinds: &[FaultKind]) -> Option<FaultKind> {
        kinds.get(self.rng.below(kinds.len() as u64) as usize).copied()
    }

    /// Who leads, as far as anybody can see from outside.
    pub(super) fn leader(&self) -> Option<ServerId> {
        let leads = |machine: &SimMachine| match machine.standing() {
            Some(Standing::Leading { epoch }) => Some(epoch),
            _ => None,
        };
        let leaders = self.machines.iter().filter_map(|(id, machine)| Some((leads(machine)?, *id)));
        leaders.max().map(|(_, id)| id)
    }

    fn other_place(&mut self, than: ServerId) -> Place {
        let members: Vec<ServerId> = self.swarm.befallen().into_iter().filter(|id| *id != than).collect();
        if members.is_empty() || self.rng.chance(5) {
            return Place::Client(self.rng.below(self.swarm.clients as u64) as usize);
        }
        Place::Member(members[self.rng.below(members.len() as u64) as usize])
    }

    fn cut_something(&mut self) -> bool {
        let ids: Vec<u64> = self.net.streams.keys().copied().collect();
        let Some(id) = ids.get(self.rng.below(ids.len() as u64) as usize).copied() else { return false };
        let Some((usage, ends)) = self.net.streams.get(&id).map(|stream| (stream.usage, stream.ends)) else {
            return false;
        };
        let hears = self.net.cut(&mut self.agenda, id);
        let line =
            format!("fault: a {usage:?} connection of {:?} and {:?} is cut; heard of: {hears:?}", ends[0], ends[1]);
        self.story.tell(self.agenda.now, &line);
        true
    }

    /// A follower's connection is cut, both ends hear of it at once, and the leader's disk is slow: the follower is back while
    /// what it has acknowledged is outstanding.
    fn cut_follower(&mut self, leader: ServerId, follower: ServerId) -> bool {
        let (a, b) = (Place::Member(leader), Place::Member(follower));
        let Some(stream) = self.net.quorum_stream(a, b) else { return false };
        if let Some(machine) = self.machines.get_mut(&leader) {
            machine.write_us = self.swarm.ticks_us(4);
        }
        self.net.break_off(&mut self.agenda, stream);
        self.story
            .tell(self.agenda.now, &format!("fault: {follower} is disconnected from {leader}, whose disk is slow"));
        true
    }

    /// Nothing gets through for a while.
    fn block(&mut self, pairs: Vec<(Place, Place)>, line: &str) -> bool {
        let ticks = [1, 5, 20, 60][self.rng.below(4) as usize];
        let us = self.rng.below(self.swarm.ticks_us(ticks)) + 1000;
        if pairs.iter().all(|(a, b)| !pairs.contains(&(*b, *a))) {
            self.story.count("a path is blocked one way");
        }
        self.block_for(pairs, line, us);
        true
    }

    fn block_for(&mut self, pairs: Vec<(Place, Place)>, line: &str, us: u64) {
        self.net.block(&pairs);
        self.story.tell(self.agenda.now, &format!("fault: {line} for {} ms", us / 1000));
        self.blocks += 1;
        self.agenda.at(self.agenda.now + us, &mut self.rng, Happening::Opens { number: self.blocks });
        self.blocked.insert(self.blocks, pairs);
    }

    pub(super) fn opens(&mut self, number: u64) {
        if let Some(pairs) = self.blocked.remove(&number) {
            self.net.unblock(&mut self.agenda, &pairs);
        }
    }

    fn isolate(&mut self, id: ServerId) -> bool {
        let me = Place::Member(id);
        let others: Vec<Place> =
            self.swarm.members().into_iter().filter(|other| *other != id).map(Place::Member).collect();
        let pairs: Vec<(Place, Place)> = match self.rng.below(4) {
            0 => others.iter().map(|other| (me, *other)).collect(),
            1 => others.iter().map(|other| (*other, me)).collect(),
            _ => others.iter().flat_map(|other| [(me, *other), (*other, me)]).collect(),
        };
        !pairs.is_empty() && self.block(pairs, &format!("{id} is cut off"))
    }

    /// A leader is cut off, and its learners find that out at once while it does not: they elect another one, and for a while its
    /// clients have two to choose from (F-16, G-04). That happens right behind a ping, so that they have nearly all of the time until
    /// the next one to see something newer: who counts an answer to this one as an answer to their questions is wrong until then. In half
    /// of the cases the answers come late.
    fn depose(&mut self, leader: ServerId) {
        if self.leader() == Some(leader) && self.deposable(leader).is_some() {
            self.to_depose = Some((leader, self.rng.next()));
        }
    }

    /// The epoch that a member leads in, if those that follow it can go on without it.
    fn deposable(&self, leader: ServerId) -> Option<u32> {
        let process = self.machines[&leader].process.as_ref();
        let Some(Standing::Leading { epoch }) = process.map(|process| process.standing) else { return None };
        let follows = |voter: ServerId| self.net.quorum_stream(Place::Member(leader), Place::Member(voter)).is_some();
        let can = self.healed_at.is_none() && self.canon.is_quorum(|voter| voter != leader && follows(voter));
        can.then_some(epoch)
    }

    /// A leader has sent the ping of its time.
    pub(super) fn has_pinged(&mut self, leader: ServerId) {
        let Some((_, seed)) = self.to_depose.take_if(|(id, _)| *id == leader) else { return };
        let shared = std::mem::replace(&mut self.rng, Rng(seed));
        if self.rng.chance(2) {
            let us = self.rng.below(self.swarm.ticks_us(self.swarm.sync_limit));
            let pairs = self.others(leader).map(|other| (Place::Member(other), Place::Member(leader))).collect();
            self.block_for(pairs, &format!("{leader} hears its learners late,"), us);
        }
        let seed = self.rng.next();
        let due = self.agenda.now + 4 * self.swarm.latency_us.1 + 2000;
        self.agenda.at(due, &mut self.rng, Happening::IsDeposed { leader, seed });
        self.rng = shared;
    }

    fn others(&self, than: ServerId) -> impl Iterator<Item = ServerId> + use<> {
        self.swarm.members().into_iter().filter(move |other| *other != than)
    }

    pub(super) fn deposed(&mut self, leader: ServerId, seed: u64) {
        // The process may not lead any more by now.
        let Some(epoch) = self.deposable(leader) else { return };
        let shared = std::mem::replace(&mut self.rng, Rng(seed));
        let here = Place::Member(leader);
        for other in self.others(leader) {
            if let Some(stream) = self.net.quorum_stream(here, Place::Member(other)) {
                self.net.swallow(stream);
                self.comes(other, Incoming::Stream(stream, Travelling::End));
            }
        }
        let us = self.swarm.ticks_us(self.swarm.sync_limit + 1 + self.rng.below(10));
        let pairs = self.others(leader).map(|other| (here, Place::Member(other))).collect();
        self.block_for(pairs, &format!("{leader} is cut off, and its learners know that"), us);
        self.story.count(FaultKind::Depose.name());
        let since = self.agenda.now;
        let doubt = Doubt { leader, epoch, since, until: since + us };
        for client in (0..self.clients.len()).filter(|client| !self.less.clients.contains(client)).collect::<Vec<_>>() {
            self.clients[client].begins_to_doubt(doubt);
            let due = self.clients[client].acts_at(since);
            self.client_acts_at(client, due);
        }
        self.rng = shared;
    }

    /// As many voters as can be missed are cut off for a while, so that they lack what is committed meanwhile. When they are back,
    /// one that has it loses its disk, and the others that have it are cut off: those left are a quorum by their number, and
    /// must not decide anything.
    fn leave_behind(&mut self, leader: ServerId) -> bool {
        let voters = self.canon.voters.clone();
        let missed = voters.len().saturating_sub(1) / 2;
        let mut laggards: Vec<ServerId> = voters.into_iter().filter(|voter| *voter != leader).collect();
        if missed == 0 {
            return false;
        }
        while laggards.len() > missed {
            laggards.remove(self.rng.below(laggards.len() as u64) as usize);
        }
        let us = self.swarm.ticks_us(self.swarm.sync_limit + 2 + self.rng.below(10));
        let seed = self.rng.next();
        self.block_for(self.pairs_with_others(&laggards), &format!("{laggards:?} are left behind"), us);
        self.agenda.at(self.agenda.now + us, &mut self.rng, Happening::LaggardsAreBack { laggards, seed });
        true
    }

    pub(super) fn laggards_are_back(&mut self, laggards: &[ServerId], seed: u64) -> Result<(), String> {
        if self.healed_at.is_some() {
            return Ok(());
        }
        let shared = std::mem::replace(&mut self.rng, Rng(seed));
        let done = self.wipe_beside(laggards);
        self.rng = shared;
        done
    }

    fn wipe_beside(&mut self, laggards: &[ServerId]) -> Result<(), String> {
        let mut keepers = self.canon.voters.clone();
        keepers.retain(|voter| !laggards.contains(voter));
        if keepers.is_empty() {
            return Ok(());
        }
        let wiped = keepers.remove(self.rng.below(keepers.len() as u64) as usize);
        if self.wipe(wiped)? {
            self.story.count(FaultKind::Wipe.name());
            let us = self.swarm.ticks_us(20 + self.rng.below(40));
            let line = format!("{keepers:?} are cut off from those that lack what is committed");
            self.block_for(self.pairs_with_others(&keepers), &line, us);
        }
        Ok(())
    }

    /// Every path between these and the other members, both ways.
    fn pairs_with_others(&self, those: &[ServerId]) -> Vec<(Place, Place)> {
        let members = self.swarm.members();
        let others = members.into_iter().filter(|other| !those.contains(other));
        let pairs = others.flat_map(|a| those.iter().map(move |b| (Place::Member(a), Place::Member(*b))));
        pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
    }

    fn fill_or_empty(&mut self, id: ServerId) -> bool {
        let Some(machine) = self.machines.get_mut(&id) else { return false };
        machine.is_full = !machine.is_full;
        let room = if machine.is_full { machine.disk.image().len() as u64 } else { u64::MAX };
        machine.disk.set_room(room);
        machine.is_full
    }

    fn pause(&mut self, id: ServerId) -> bool {
        let ticks = [1, 4, 15, 40][self.rng.below(4) as usize];
        let us = self.rng.below(self.swarm.ticks_us(ticks)) + 1000;
        let now = self.agenda.now;
        let Some(machine) = self.machines.get_mut(&id) else { return false };
        if !machine.runs() || machine.stopped_at.is_some() {
            return false;
        }
        machine.stopped_at = Some(now);
        let life = machine.life;
        self.agenda.at(now + us, &mut self.rng, Happening::Resumes { member: id, life });
        self.story.tell(now, &format!("fault: {id} is stopped for {} ms", us / 1000));
        true
    }

    pub(super) fn resumes(&mut self, id: ServerId) {
        let now = self.agenda.now;
        let gap_ms = self.swarm.gap_ms();
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let Some(stopped_at) = machine.stopped_at.take() else { return };
        let life = machine.life;
        for what in std::mem::take(&mut machine.put_off) {
            self.agenda.at(now, &mut self.rng, what);
        }
        let Some(process) = &mut machine.process else { return };
        let stopped_us = now - stopped_at;
        process.stopped_us += stopped_us;
        process.resumed_at = Some(now);
        let unnoticed_ms = gap_ms + process.asleep.map_or(0, |(_, timeout_ms)| timeout_ms) + 1;
        process.granted_us += stopped_us.saturating_sub(unnoticed_ms * 1000);
        if !process.waits_for_write {
            process.turn_at = Some(now);
            self.agenda.at(now, &mut self.rng, Happening::Turn { member: id, life });
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Processes

    pub(super) fn kill(&mut self, id: ServerId, is_power: bool) -> Result<bool, String> {
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(false) };
        if machine.java.is_some() {
            return self.java_kill(id, is_power);
        }
        let Some(process) = machine.process.take() else { return Ok(false) };
        self.dies(id, process, if is_power { "the power goes" } else { "killed" })?;
        Ok(true)
    }

    /// A process is over.
    pub(super) fn dies(&mut self, id: ServerId, mut process: SimProcess, why: &'static str) -> Result<(), String> {
        let now = self.agenda.now;
        self.story.tell(now, &format!("{id}: {why}"));
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let is_power = why == "the power goes" || machine.disk.dead();
        self.story.count(match why {
            "its disk failed" if !is_power => "a process ends with its disk",
            _ if is_power => "a process ends with the power",
            _ => "a process is killed",
        });
        self.mark_death(&process);
        self.canon.begins_anew(id);
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        machine.committed_at_end = Some(self.canon.txns.len());
        machine.is_unsure |= machine.disk.troubled() && machine.disk.calls() > 0 && why != "killed";
        if let Some(write) = process.write.take()
            && self.rng.chance(2)
        {
            // It was somewhere in the middle.
            machine.disk.set_trap(self.rng.below(4), Trap::Crash);
            drop(write.carry_out());
            self.story.count("mark: a write is torn");
        }
        drop(process);
        let disk = match is_power {
            true => machine.disk.after_power_cut(&mut self.rng),
            false => machine.disk.after_kill(self.rng.next()),
        };
        disk.set_room(u64::MAX);
        machine.is_full = false;
        machine.disk = Arc::new(disk);
        machine.life += 1;
        (machine.stopped_at, machine.fuse) = (None, None);
        machine.put_off.clear();
        self.net.process_ended(&mut self.agenda, id, is_power);
        let ticks = [0, 1, 10, 40][self.rng.below(4) as usize];
        let life = machine.life;
        let due = now + 1000 + self.rng.below(self.swarm.ticks_us(ticks).max(1));
        self.agenda.at(due, &mut self.rng, Happening::Starts { member: id, life });
        self.mark_down();
        self.check_kept()
    }

    /// Whether a machine may come back without what was on its disk. Not so many at once that what was acknowledged is nowhere any
    /// more, or lacking on a quorum of those that do not know that they have lost something. `knows`: this one would. The same holds
    /// for each configuration of the past: of its voters enough must know that another one has followed.
    fn may_lose_disk(&self, id: ServerId, knows: bool) -> bool {
        // A server of Java's votes at once, whatever it has lost.
        if self.machines[&id].java.is_some() {
            return false;
        }
        let accepted = self.machines.values().map(|machine| machine.epochs.0).max().unwrap_or(0);
        let keeps_all = |voter: ServerId| {
            let last = self.canon.txns.last();
            self.machines[&voter].epochs.0 >= accepted
                && last.is_none_or(|last| self.keeps(voter, last.zxid, &last.bytes))
        };
        let is_known_to_lack = |voter: ServerId| (knows && voter == id) || self.machines[&voter].is_new();
        let loses = |voters: &[ServerId], keeps: &dyn Fn(ServerId) -> bool| {
            let keeps = |voter: ServerId| voter != id && !self.machines[&voter].is_rotten && keeps(voter);
            let lack = is_majority(voters, |voter| !keeps(voter) && !is_known_to_lack(voter));
            voters.contains(&id) && (lack || !voters.iter().any(|voter| keeps(*voter)))
        };
        let is_past_lost = self.canon.configs.windows(2).any(|pair| {
            let followed = self.canon.at(pair[1].0);
            loses(&pair[0].1, &|voter| followed.is_some_and(|txn| self.keeps(voter, txn.zxid, &txn.bytes)))
        });
        let mut proposed = self.proposed_voters().into_iter().chain([self.canon.voters.clone()]);
        let is_lost = proposed.any(|voters| {
            // Nobody may count on what it has acknowledged and is not committed, nor on an epoch that has no leader yet.
            let machine = &self.machines[&id];
            let established = self.canon.leaders.last_key_value().map_or(0, |(epoch, _)| u64::from(*epoch));
            let owes = voters.contains(&id) && (machine.logged() > self.canon.last() || machine.epochs.1 > established);
            owes || loses(&voters, &keeps_all)
        });
        !is_past_lost && !is_lost
    }

    /// A machine comes back with a new disk.
    fn wipe(&mut self, id: ServerId) -> Result<bool, String> {
        if !self.may_lose_disk(id, true) {
            return Ok(false);
        }
        self.kill(id, false)?;
        self.new_disk(id)?;
        Ok(true)
    }

    fn new_disk(&mut self, id: ServerId) -> Result<(), String> {
        let seed = self.rng.next();
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let disk = SimDisk::new(seed);
        disk.set_paced();
        machine.disk = Arc::new(disk);
        machine.log.clear();
        (machine.epochs, machine.begin) = ((0, 0), Zxid::ZERO);
        (machine.told, machine.is_rotten) = (None, false);
        self.story.tell(self.agenda.now, &format!("fault: {id} has a new disk"));
        self.check_kept()
    }

    /// While a machine is down, a bit of its log or of its newer snapshot becomes another one.
    fn rot(&mut self, id: ServerId) -> Result<bool, String> {
        if !self.may_lose_disk(id, false) || self.machines[&id].is_rotten {
            return Ok(false);
        }
        self.kill(id, false)?;
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(false) };
        let rotten = match self.rng.chance(4) {
            true => machine.disk.rotten_snapshot(&mut self.rng),
            false => machine.disk.rotten(&mut self.rng),
        };
        let Some(rotten) = rotten.filter(|_| !machine.is_unsure) else { return Ok(false) };
        rotten.set_paced();
        machine.disk = Arc::new(rotten);
        machine.is_rotten = true;
        self.story.tell(self.agenda.now, &format!("fault: a bit on the disk of {id} is another one"));
        Ok(true)
    }

    /// A member that finds damage does not begin. Whoever runs it gives it a new disk, as soon as the others have everything.
    fn damage_is_found(&mut self, id: ServerId) -> Result<(), String> {
        self.story.count("mark: damage is found");
        if self.may_lose_disk(id, true) {
            self.new_disk(id)?;
        }
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        machine.life += 1;
        let what = Happening::Starts { member: id, life: machine.life };
        self.agenda.at(self.agenda.now + self.swarm.ticks_us(1), &mut self.rng, what);
        Ok(())
    }

    /// A machine's process begins.
    pub(super) fn starts(&mut self, id: ServerId) -> Result<(), String> {
        let now = self.agenda.now;
        self.net.has_power(id);
        if self.machines[&id].java.is_some() {
            return self.java_starts(id);
        }
        let seed = self.rng.next();
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        machine.disk.set_clock(now);
        let opened = match member::open(&machine.disk, &self.swarm, id, seed) {
            Ok(opened) => opened,
            Err(_) if machine.disk.troubled() => {
                // A fault hit recovery.
                let disk = match machine.disk.dead() {
                    true => machine.disk.after_power_cut(&mut self.rng),
                    false => machine.disk.after_kill(seed),
                };
                disk.set_room(u64::MAX);
                machine.disk = Arc::new(disk);
                machine.life += 1;
                machine.is_unsure = true;
                self.story.count("mark: a fault hits recovery");
                let what = Happening::Starts { member: id, life: machine.life };
                self.agenda.at(now + 1000, &mut self.rng, what);
                return Ok(());
            }
            Err(_) if machine.is_rotten => return self.damage_is_found(id),
            Err(error) => return Err(format!("S-40: {id}: a crash was taken for damage: {error}")),
        };
        let Opened { member, replayed } = opened;
        let stats = member.store.stats();
        if stats.snapshot_log_after < stats.snapshot_zxid {
            self.story.count("mark: a restart takes from the log what a snapshot left to it");
        }
        let applied = member.applied();
        self.story.tell(now, &format!("{id}: begins, at {applied}"));
        self.recovered(id, applied, replayed)?;
        let mut process = SimProcess {
            standing: Standing::Looking,
            member,
            started_us: now,
            sockets: Default::default(),
            links: Default::default(),
            next_link: 0,
            inbox: Default::default(),
            voices: Default::default(),
            dial: 0,
            turn_at: None,
            works_until: now,
            waits_for_write: false,
            write: None,
            woke: Millis(0),
            asleep: None,
            verified: 0,
            heard: Default::default(),
            stopped_us: 0,
            granted_us: 0,
            leads_since: 0,
            decides_since: 0,
            learners: Default::default(),
            sent_state: None,
            pings: 0,
            applied,
            resumed_at: None,
        };
        let settings = member::zab_settings(&self.swarm, id, &mut process.member);
        match self.call(id, &mut process, |member, host| member.join(host, settings, JoinSettings::default())) {
            Ok(()) => {}
            Err(ProcessEnd::Dies(why)) => return self.dies(id, process, why),
            Err(ProcessEnd::Wrong(why)) => return Err(why),
        }
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        process.turn_at = Some(now + 10);
        let what = Happening::Turn { member: id, life: machine.life };
        machine.process = Some(process);
        self.agenda.at(now + 10, &mut self.rng, what);
        Ok(())
    }

    /// What a file gave is what was synced, perhaps with more that was written, and nothing else (S-40).
    fn recovered(
        &mut self,
        id: ServerId,
        applied: Zxid,
        replayed: Vec<(Zxid, crate::records::txn::Payload)>,
    ) -> Result<(), String> {
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let is_unsure = std::mem::take(&mut machine.is_unsure);
        let before = machine.log.clone();
        let from = replayed.first().map_or(Zxid(applied.0 + 1), |(zxid, _)| *zxid);
        let known = before.partition_point(|(zxid, _)| *zxid < from);
        let mut log = before[..known].to_vec();
        log.extend(replayed);
        let end = log.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        if end != applied && machine.begin != applied {
            // A state was installed, and the process died before it could say so.
            let Some(donor) = self.donor(applied).filter(|_| is_unsure) else {
                return Err(format!("S-40: {id} comes back at {applied}, and its log ends at {end}"));
            };
            let upto = donor.log.partition_point(|(zxid, _)| *zxid <= applied);
            log = donor.log[..upto].to_vec();
            self.begins_at(id, applied);
        }
        let is_kept = log.len() >= before.len() && log[..before.len()] == before[..];
        if is_kept && log.len() > before.len() {
            self.story.count("mark: a crash leaves more than was synced");
        }
        let is_rotten = self.machines[&id].is_rotten;
        if !is_kept && is_rotten && before.starts_with(&log) {
            // In the last frame before an unclean end it cannot be told from a write that was torn (S-41's exception).
            self.story.count("mark: damage passes for a torn end");
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.told = Some(ToldToCut { stream: 0, to: end });
            }
        } else if !is_kept && !is_unsure {
            let had = before.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
            return Err(format!("S-40, G-09: {id} had synced {had} and comes back at {applied}"));
        }
        self.replaced(id, log)?;
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.told = None;
        }
        Ok(())
    }

    /// Everything is well from now on.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.healed_at = Some(self.agenda.now);
        self.story.tell(self.agenda.now, "all faults end");
        self.blocked.clear();
        self.to_depose = None;
        // Where epochs are short, clients that are fast end one after the other.
        ids::set_counter_last(None);
        self.net.heal(&mut self.agenda);
        for id in self.swarm.members() {
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.disk.heal();
                machine.is_full = false;
                machine.fuse = None;
                machine.write_us = self.swarm.calm_write_us();
                // The id of a local session is in no history, so that a clock set back would give it out again.
                if !self.swarm.local_sessions {
                    machine.wall_offset = 0;
                }
            }
            self.resumes(id);
            // Whoever has no timer for a connection hears from its system that it is gone.
            if self.machines[&id].java.is_some() {
                self.net.give_up_cut(&mut self.agenda, Place::Member(id));
            }
            if let Some(machine) = self.machines.get_mut(&id)
                && !machine.runs()
            {
                machine.life += 1;
                self.starts(id)?;
            }
        }
        Ok(())
    }
}
