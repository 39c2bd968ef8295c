//! A seeded simulator: the engine, the broadcast and the store that ship, on a disk that tears and a network that cuts.
//!
//! One thread, no clock, no socket: a seed draws every choice, so a failure is replayed by `ZOA_SEED=… cargo test sim`.
//! Clients speak the real wire protocol. What the server sends is checked as it leaves, against the history of committed
//! transactions and a plain model that shares no code with the tree.
//!
//! `truth` keeps the history and holds each transaction against what `oracle` makes of its request; `conn` holds each frame
//! against the truth; `watching` says which events are due; `client` and `request` draw what is asked; `node` stands in for
//! `peer`. Every complaint begins with the ID of the promise that is broken.

mod client;
mod conn;
mod ensemble;
mod model;
mod node;
mod oracle;
mod request;
#[cfg(test)]
mod tests;
mod truth;
mod watching;
mod who;

use std::sync::Arc;

use client::SimClient;
use conn::SimConn;
use node::{Failed, Setup, SimNode};
use request::Taste;
use truth::Truth;

use crate::ids::{Millis, WallMillis, Zxid};
use crate::member::Appended;
use crate::records::txn::Proposal;
use crate::store::tests::sim_disk::{Rng, SimDisk, Trap};

/// What was found wrong: the invariant's ID and the story.
pub(crate) type Wrong = String;

/// Which faults exist in a run.
#[derive(Clone, Debug)]
struct Faults {
    /// Steps in a thousand.
    cuts: u64,
    crashes: u64,
    traps: u64,
    failed_syncs: u64,
    full_disk: bool,
    slow_syncs: bool,
    clock_jumps: bool,
    /// At each start the wall clock begins at the same moment, as on a board without a battery.
    clock_resets: bool,
    rot: bool,
    pauses: bool,
}

impl Faults {
    fn draw(rng: &mut Rng) -> Faults {
        let mut rate = |most: u64| if rng.chance(3) { 0 } else { rng.below(most + 1) };
        let (cuts, crashes, traps, failed_syncs) = (rate(20), rate(15), rate(10), rate(3));
        Faults {
            cuts,
            crashes,
            traps,
            failed_syncs,
            full_disk: rng.chance(3),
            slow_syncs: rng.chance(3),
            clock_jumps: rng.chance(3),
            clock_resets: rng.chance(4),
            rot: rng.chance(2),
            pauses: rng.chance(2),
        }
    }
}

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunSummary {
    pub(crate) crashes: u64,
    pub(crate) stops: u64,
    pub(crate) replies: u64,
    pub(crate) events: u64,
    pub(crate) snapshots: u64,
    pub(crate) refused: u64,
    pub(crate) rotten: u64,
    pub(crate) txns: u64,
}

/// One server, its clients, and what is true about them.
pub(crate) struct World {
    rng: Rng,
    now: u64,
    /// Added to the time to give the wall clock's.
    wall_offset: i64,
    setup: Setup,
    faults: Faults,
    taste: Taste,
    disk: Arc<SimDisk>,
    node: Option<SimNode>,
    clients: Vec<SimClient>,
    conns: Vec<SimConn>,
    serial: u64,
    truth: Truth,
    /// Everything up to here was durable before the last frame was begun (S-41).
    durable_before: Zxid,
    /// A running hash over everything that happened: the same seed gives the same.
    trace: u64,
    pub(crate) step: u32,
    pub(crate) seen: RunSummary,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut rng = Rng(seed);
        let count = 3 + rng.below(6) as usize;
        let setup = Setup::draw(&mut rng);
        let disk = SimDisk::new(rng.next());
        disk.set_paced();
        World {
            now: 0,
            wall_offset: 0,
            faults: Faults::draw(&mut rng),
            taste: Taste::draw(&mut rng),
            disk: Arc::new(disk),
            node: None,
            clients: (0..count).map(|number| SimClient::new(rng.next(), number)).collect(),
            conns: Vec::new(),
            serial: 0,
            truth: Truth::new(setup.settings.container_never_used_max_ms as i64, setup.settings.tick_ms),
            durable_before: Zxid::ZERO,
            trace: seed,
            step: 0,
            seen: RunSummary::default(),
            setup,
            rng,
        }
    }

    /// Runs `steps` steps and then checks what is left. Returns the trace.
    pub(crate) fn run(&mut self, steps: u32) -> Result<u64, Wrong> {
        while self.step < steps {
            self.step += 1;
            self.take_step().map_err(|why| format!("step {}, {} ms: {why}", self.step, self.now))?;
        }
        self.quiesce().map_err(|why| format!("in the end: {why}"))?;
        Ok(self.trace)
    }

    /// Liveness, in small: heal, and everybody gets an answer (L-02); what is due to go has gone.
    fn quiesce(&mut self) -> Result<(), Wrong> {
        self.disk.heal();
        (self.faults.failed_syncs, self.faults.slow_syncs) = (0, false);
        self.restart()?;
        self.clients.iter_mut().for_each(SimClient::calm);
        for round in 0..500 {
            self.now += 20;
            for index in 0..self.clients.len() {
                self.act(index)?;
            }
            for index in 0..self.conns.len() {
                let all = self.conns[index].on_the_wire();
                self.conns[index].travel(all);
            }
            self.turn()?;
            if round == 100 {
                self.check_state()?;
            }
        }
        self.check_state()?;
        if let Some(conn) = self.conns.iter().find(|conn| conn.waiting() > 0 && !conn.closing) {
            let (waiting, hello) = (conn.waiting(), &conn.hello);
            return Err(format!("L-02, S-30: {waiting} requests of {hello:?} have no answer long after all is well"));
        }
        let late = self.wall().0 - 4000;
        let never = self.truth.never_used_ms;
        match self.truth.model.nodes.keys().find(|path| self.truth.model.may_go(path, late, never)) {
            Some(path) if self.wall_offset >= 0 => Err(format!("L-12: {path} is still there and ought to have gone")),
            _ => Ok(()),
        }
    }

    fn take_step(&mut self) -> Result<(), Wrong> {
        self.now += self.rng.below(25);
        let Faults { cuts, crashes, traps, failed_syncs, .. } = self.faults;
        let limits = [cuts, crashes, traps, failed_syncs, 8, 4, 8];
        let mut draw = self.rng.below(1000);
        let mut which = 0;
        for limit in limits {
            if draw < limit {
                break;
            }
            draw -= limit;
            which += 1;
        }
        match which {
            0 => self.cut(),
            1 => self.crash(),
            2 => {
                // The power goes at some call in the near future, in the middle of whatever it is.
                self.disk.set_trap(self.rng.below(12), Trap::Crash);
                Ok(())
            }
            3 => {
                self.disk.set_trap(self.rng.below(4), Trap::Error(std::io::ErrorKind::Other));
                Ok(())
            }
            4 if self.faults.pauses => {
                // Timers come late, sessions may expire.
                self.now += self.rng.below(5000);
                Ok(())
            }
            5 => self.stop(),
            6 => {
                self.trouble();
                Ok(())
            }
            _ if draw.is_multiple_of(5) => self.turn(),
            _ => {
                let index = self.rng.below(self.clients.len() as u64) as usize;
                self.act(index)?;
                if self.conns.is_empty() {
                    return Ok(());
                }
                let index = self.rng.below(self.conns.len() as u64) as usize;
                let all = self.conns[index].on_the_wire() as u64;
                let count = if self.rng.chance(2) { all } else { self.rng.below(all + 1) };
                self.conns[index].travel(count as usize);
                Ok(())
            }
        }
    }

    /// The disk fills or is emptied, becomes slow or fast; the wall clock jumps (F-09, F-10, F-12).
    fn trouble(&mut self) {
        if self.faults.full_disk {
            let room = if self.rng.chance(2) { u64::MAX } else { (64 << 10) + self.rng.below(16) * (16 << 10) };
            self.disk.set_room(room);
        }
        if self.faults.slow_syncs {
            let most_us = if self.rng.chance(2) { 0 } else { 1000 << self.rng.below(12) };
            self.disk.set_slow(most_us);
        }
        if self.faults.clock_jumps {
            let days = 86_400_000;
            self.wall_offset =
                [0, self.rng.below(60_000) as i64, -(self.rng.below(60_000) as i64), 3650 * days, -3650 * days]
                    [self.rng.below(5) as usize];
        }
    }

    /// A client connects, asks, or leaves its connection.
    fn act(&mut self, index: usize) -> Result<(), Wrong> {
        if self.node.is_none() {
            self.restart()?;
        }
        let Some(node) = &mut self.node else { return Ok(()) };
        let client = &mut self.clients[index];
        let Some(serial) = client.conn else {
            if self.rng.chance(3) {
                let hello = client.hello(&self.truth);
                self.serial += 1;
                client.conn = Some(self.serial);
                self.conns.push(SimConn::open(node, self.serial, index, hello, client.next_xid));
            }
            return Ok(());
        };
        let Some(conn) = self.conns.iter_mut().find(|conn| conn.serial == serial) else { return Ok(()) };
        // Requests are pipelined.
        for _ in 0..1 + self.rng.below(3) {
            let Some(request) = client.next(&self.taste, &conn.who_asks, conn.waiting()) else { break };
            let request = client.doubts(request, &self.truth);
            conn.ask(request, client.session, &mut self.truth);
            client.next_xid = conn.next_xid();
        }
        Ok(())
    }

    /// A connection goes, or its client forgets it while the server still has it (F-15, F-16).
    fn cut(&mut self) -> Result<(), Wrong> {
        if self.conns.is_empty() {
            return Ok(());
        }
        let index = self.rng.below(self.conns.len() as u64) as usize;
        let half_open = self.rng.chance(2);
        let conn = &mut self.conns[index];
        if !conn.left {
            self.clients[conn.client].lost_connection();
        }
        conn.left = true;
        if let Some(node) = self.node.as_mut().filter(|_| !half_open) {
            node.member.engine.closed(conn.id);
            self.conns.remove(index);
        }
        Ok(())
    }

    /// The server takes a turn: reads, decides, syncs, delivers, goes on with a snapshot, writes.
    fn turn(&mut self) -> Result<(), Wrong> {
        match self.try_turn() {
            Ok(()) => Ok(()),
            Err(Failed::Disk) => self.crash(),
            Err(Failed::Wrong(why)) => Err(why),
        }
    }

    fn try_turn(&mut self) -> Result<(), Failed> {
        if self.node.is_none() {
            return self.restart().map_err(Failed::Wrong);
        }
        self.disk.set_clock(self.now * 1000);
        let (now, wall) = (Millis(self.now), self.wall());
        let Some(node) = &mut self.node else { return Ok(()) };
        node.begin_turn(now, wall);
        let tight = node.tight();
        for conn in &mut self.conns {
            conn.offer(node, &mut self.truth, self.now, tight);
        }
        self.check_output(false)?;
        // What is durable is applied before more becomes so.
        self.deliver()?;
        let Some(node) = &mut self.node else { return Ok(()) };
        let batch = node.decided();
        self.truth.proposed(&batch, self.now)?;
        let before = self.truth.last();
        let is_empty = batch.is_empty();
        let appended = node.append()?;
        self.now = self.now.max(self.disk.clock_us() / 1000);
        match appended {
            Appended::Refused => {
                self.seen.refused += 1;
                self.truth.abandoned();
            }
            Appended::Durable if !is_empty => self.durable_before = before,
            Appended::Durable => {}
        }
        if let Some((fseq, highest)) = self.disk.reused() {
            return Err(Failed::Wrong(format!("S-40, P3: frame number {fseq} is used again after {highest}")));
        }
        self.deliver()?;
        let (now, wall) = (Millis(self.now), self.wall());
        let Some(node) = &mut self.node else { return Ok(()) };
        self.seen.snapshots += node.finish(now, wall, &mut self.rng)?;
        let idle = node.is_idle();
        self.read();
        self.check_output(idle)?;
        Ok(())
    }

    /// One transaction after the other, so that each reply and each event meets the model of its own moment.
    fn deliver(&mut self) -> Result<(), Failed> {
        let (now, wall) = (Millis(self.now), self.wall());
        loop {
            let Some(node) = &mut self.node else { return Ok(()) };
            node.member.engine.set_time(now, wall);
            let Some(Proposal { zxid, txn }) = node.deliver_next()? else { return Ok(()) };
            self.check_frames(true)?;
            self.committed(zxid, &txn)?;
            if let (Some(node), Some(ended)) = (&self.node, self.truth.ended) {
                node.owns_nothing(ended)?;
            }
            self.check_output(false)?;
            if zxid.0 % 64 == 0 {
                self.check_state()?;
            }
        }
    }

    fn committed(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), Wrong> {
        let touched = self.truth.committed(zxid, txn, self.now)?;
        for conn in &mut self.conns {
            conn.applied(zxid.0, &touched);
        }
        self.seen.txns += 1;
        self.mix(zxid.0 as u64);
        self.mix(txn.iter().fold(0, |hash: u64, &byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte))));
        Ok(())
    }

    fn check_state(&self) -> Result<(), Wrong> {
        self.node.as_ref().map_or(Ok(()), |node| node.check(&self.truth.model))
    }

    /// Everything the server has for its clients is checked as it leaves; the model stands at that very zxid.
    /// With `idle` nothing that was decided is still to be delivered.
    fn check_output(&mut self, idle: bool) -> Result<(), Wrong> {
        self.check_frames(false)?;
        let Some(node) = &self.node else { return Ok(()) };
        let bound: Vec<(Option<i64>, u64)> = self.conns.iter().map(|conn| (conn.session, conn.bound)).collect();
        for conn in &mut self.conns {
            let moved = bound.iter().any(|(session, at)| *session == conn.session && *at > conn.bound);
            let soft = self.setup.settings.limits.output_soft_max;
            conn.settled(node, &self.truth, moved && conn.session.is_some(), soft, idle)?;
        }
        Ok(())
    }

    fn check_frames(&mut self, before: bool) -> Result<(), Wrong> {
        let Some(node) = &self.node else { return Ok(()) };
        let mut mixed = 0;
        for conn in &mut self.conns {
            let hash = conn.check(node, &mut self.truth, self.now, before)?;
            mixed = (mixed ^ hash).wrapping_mul(0x100_0000_01b3);
        }
        self.mix(mixed);
        Ok(())
    }

    /// Clients read what there is; slow ones a little of it. Connections that are over go.
    fn read(&mut self) {
        let Some(node) = &mut self.node else { return };
        for conn in &mut self.conns {
            let client = &mut self.clients[conn.client];
            let most = if client.slow && !client.rng.chance(4) { client.rng.below(600) as usize } else { usize::MAX };
            for taken in conn.read(node, most) {
                if !conn.left {
                    client.takes(taken);
                }
            }
        }
        let clients = &mut self.clients;
        let seen = &mut self.seen;
        self.conns.retain(|conn| {
            let over = conn.is_over(node);
            if over {
                node.member.engine.closed(conn.id);
                (seen.replies, seen.events) = (seen.replies + conn.replies, seen.events + conn.events);
                if !conn.left {
                    clients[conn.client].lost_connection();
                }
            }
            !over
        });
    }

    fn lose_connections(&mut self) {
        for conn in self.conns.drain(..) {
            (self.seen.replies, self.seen.events) = (self.seen.replies + conn.replies, self.seen.events + conn.events);
        }
        self.clients.iter_mut().for_each(SimClient::lost_connection);
    }

    /// Process or power, whichever the seed says; then the next act restarts it.
    fn crash(&mut self) -> Result<(), Wrong> {
        self.seen.crashes += 1;
        self.node = None;
        self.lose_connections();
        let disk = if self.rng.chance(3) {
            self.disk.after_kill(self.rng.next())
        } else {
            self.disk.after_power_cut(&mut self.rng)
        };
        self.disk = Arc::new(disk);
        self.mix(self.seen.crashes);
        self.after_stop(self.durable_before)
    }

    /// The server is stopped cleanly.
    fn stop(&mut self) -> Result<(), Wrong> {
        let Some(node) = self.node.take() else { return Ok(()) };
        self.lose_connections();
        if node.stop().is_err() {
            return self.crash();
        }
        self.seen.stops += 1;
        self.disk = Arc::new(self.disk.after_kill(self.rng.next()));
        self.after_stop(self.truth.last())
    }

    /// While it is down time passes, and a bit may rot.
    fn after_stop(&mut self, durable: Zxid) -> Result<(), Wrong> {
        self.now += self.rng.below(2000);
        if !self.faults.rot || self.rng.chance(2) {
            return Ok(());
        }
        self.rot(durable)?;
        self.rot_a_snapshot()
    }

    /// A frame that had been synced is damaged, on a copy: that is found out, or nothing is lost by it (S-41, F-05). What
    /// hits only the last frame of an unclean stop cannot be told from a torn one.
    fn rot(&mut self, durable: Zxid) -> Result<(), Wrong> {
        let Some(disk) = self.disk.rotten(&mut self.rng) else { return Ok(()) };
        self.seen.rotten += 1;
        let seed = self.rng.next();
        match SimNode::open(&Arc::new(disk), &self.setup, seed, Millis(self.now), self.wall()) {
            Ok((node, _)) if node.applied() < durable => Err(format!(
                "S-41: damage was taken for a torn end: {durable} was durable, {} is served",
                node.applied()
            )),
            _ => Ok(()),
        }
    }

    /// The newer of two snapshots is damaged, on a copy: the older one and the log behind it serve (D-09).
    fn rot_a_snapshot(&mut self) -> Result<(), Wrong> {
        let Some(disk) = self.disk.rotten_snapshot(&mut self.rng) else { return Ok(()) };
        self.seen.rotten += 1;
        let (seed, committed) = (self.rng.next(), self.truth.last());
        match SimNode::open(&Arc::new(disk), &self.setup, seed, Millis(self.now), self.wall()) {
            Ok((node, _)) if node.applied() >= committed => Ok(()),
            Ok((node, _)) => Err(format!("D-09, S-41: {committed} was committed, {} is served", node.applied())),
            Err(error) => Err(format!("D-09: the older snapshot does not do: {error}")),
        }
    }

    fn restart(&mut self) -> Result<(), Wrong> {
        if self.node.is_some() {
            return Ok(());
        }
        self.disk.set_clock(self.now * 1000);
        if self.faults.clock_resets {
            self.wall_offset = -(self.now as i64);
        }
        let opened = SimNode::open(&self.disk, &self.setup, self.rng.next(), Millis(self.now), self.wall());
        let (node, replayed) = match opened {
            Ok(opened) => opened,
            // A crash or a full disk may hit recovery too.
            Err(_) if self.disk.troubled() => {
                self.disk.heal();
                return self.crash();
            }
            Err(error) => return Err(format!("S-40: a crash was taken for damage: {error}")),
        };
        let (committed, applied) = (self.truth.last(), node.applied());
        if applied < committed {
            return Err(format!("G-09, S-10: {committed} was committed, {applied} is what came back"));
        }
        // What is in the file beyond what was committed must be what was proposed, in order and without a hole (S-40).
        for Proposal { zxid, txn } in replayed {
            match self.truth.history.binary_search_by_key(&zxid, |(known, _)| *known) {
                Ok(at) if self.truth.history[at].1 == *txn => {}
                Ok(_) => return Err(format!("S-01: {zxid} came back with other bytes")),
                Err(_) => self.committed(zxid, &txn)?,
            }
        }
        if self.truth.last() != applied {
            return Err(format!("S-40: the state says {applied}, the log ends at {}", self.truth.last()));
        }
        node.check(&self.truth.model)?;
        self.truth.reopened(self.now);
        self.durable_before = applied;
        self.node = Some(node);
        Ok(())
    }

    fn wall(&self) -> WallMillis {
        WallMillis(1_700_000_000_000 + self.now as i64 + self.wall_offset)
    }

    fn mix(&mut self, value: u64) {
        self.trace = (self.trace ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

impl RunSummary {
    pub(crate) fn add(&mut self, other: &RunSummary) {
        self.crashes += other.crashes;
        self.stops += other.stops;
        self.replies += other.replies;
        self.events += other.events;
        self.snapshots += other.snapshots;
        self.refused += other.refused;
        self.rotten += other.rotten;
        self.txns += other.txns;
    }
}
