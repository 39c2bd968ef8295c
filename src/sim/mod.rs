//! A seeded simulator: the engine, the broadcast and the store that ship, on a disk that tears and a network that cuts.
//!
//! One thread, no clock, no socket: a seed draws every choice, so a failure is replayed by `ZOA_SEED=… cargo test sim`.
//! Clients speak the real wire protocol. What the server sends is checked as it leaves, against the history of committed
//! transactions and a plain model that shares no code with the tree.

mod client;
mod model;
mod node;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use client::Client;
use model::Model;
use node::{Failed, Node};

use crate::ids::{Millis, WallMillis, Zxid};
use crate::store::tests::sim_disk::{Rng, SimDisk, Trap};

/// A bug that a test switches on, to see that the checker finds it (§6.9 of the correctness rules).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    /// None.
    None,
    /// Transactions are applied and answered before they are on disk (D-10).
    AnswerFirst,
    /// Snapshots leave the sessions out (SC-38).
    ForgetSessions,
    /// The last transaction of a frame is answered and not written (D-04).
    DropLast,
    /// A restart begins one zxid too early (S-02).
    ReuseZxid,
}

/// What was found wrong: the invariant's ID and the story.
pub(crate) type Wrong = String;

/// One server, its clients, and what is true about them.
pub(crate) struct World {
    rng: Rng,
    now: u64,
    bug: Bug,
    disk: Arc<SimDisk>,
    node: Option<Node>,
    clients: Vec<Client>,
    /// Committed transactions, from the first on. Never rewritten.
    history: Vec<(Zxid, Vec<u8>)>,
    /// Proposed since the start of the present process: what may turn up after a crash without having been committed.
    tried: Vec<(Zxid, Vec<u8>)>,
    model: Model,
    /// A running hash over everything that happened: the same seed gives the same.
    trace: u64,
    pub(crate) crashes: u64,
    pub(crate) replies: u64,
    pub(crate) events: u64,
    pub(crate) snapshots: u64,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Bug) -> World {
        let mut rng = Rng(seed);
        let count = 2 + rng.below(6) as usize;
        World {
            now: 0,
            bug,
            disk: Arc::new(SimDisk::new(rng.next())),
            node: None,
            clients: (0..count).map(|_| Client::new(rng.next())).collect(),
            history: Vec::new(),
            tried: Vec::new(),
            model: Model::default(),
            trace: seed,
            rng,
            crashes: 0,
            replies: 0,
            events: 0,
            snapshots: 0,
        }
    }

    /// Runs `steps` steps and then checks what is left. Returns the trace.
    pub(crate) fn run(&mut self, steps: u32) -> Result<u64, Wrong> {
        for _ in 0..steps {
            self.step()?;
        }
        // Liveness, in small: heal, and everybody gets an answer (L-02).
        self.restart()?;
        for client in &mut self.clients {
            client.calm();
        }
        for _ in 0..400 {
            self.now += 20;
            for index in 0..self.clients.len() {
                self.talk(index)?;
            }
            self.turn()?;
        }
        let waiting = self.clients.iter().filter(|client| client.is_waiting()).count();
        if waiting > 0 {
            return Err(format!("L-02: {waiting} clients have no answer long after everything is well"));
        }
        Ok(self.trace)
    }

    fn step(&mut self) -> Result<(), Wrong> {
        self.now += self.rng.below(30);
        match self.rng.below(100) {
            0..60 => {
                let index = self.rng.below(self.clients.len() as u64) as usize;
                self.talk(index)
            }
            60..95 => self.turn(),
            95 => {
                // A pause: timers come late, sessions may expire.
                self.now += self.rng.below(6000);
                Ok(())
            }
            96 => {
                let index = self.rng.below(self.clients.len() as u64) as usize;
                self.cut(index);
                Ok(())
            }
            97 => {
                // The power goes at some call in the near future, in the middle of whatever it is.
                self.disk.set_trap(self.rng.below(12), Trap::Crash);
                Ok(())
            }
            98 => self.crash(),
            _ => self.turn(),
        }
    }

    /// A client sends something, the server takes some of it, the client reads.
    fn talk(&mut self, index: usize) -> Result<(), Wrong> {
        if self.node.is_none() {
            self.restart()?;
        }
        let Some(node) = &mut self.node else { return Ok(()) };
        node.set_time(Millis(self.now), wall(self.now));
        let client = &mut self.clients[index];
        client.act(node, &mut self.rng);
        self.check_output(index)
    }

    /// The server takes a turn: decides, syncs, delivers, snapshots.
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
        let (now, wall, bug) = (Millis(self.now), wall(self.now), self.bug);
        let mut lied = Vec::new();
        if let Some(node) = &mut self.node {
            node.set_time(now, wall);
            let known = self.tried.len();
            node.propose(&mut self.tried);
            if bug == Bug::AnswerFirst {
                lied = self.tried[known..].to_vec();
                node.lie();
            }
        }
        self.deliver()?;
        if let Some(node) = &mut self.node {
            node.append(bug, &lied)?;
        }
        self.deliver()?;
        if let Some(node) = &mut self.node {
            self.snapshots += node.finish(&mut self.rng, bug)?;
        }
        for index in 0..self.clients.len() {
            self.check_output(index).map_err(Failed::Wrong)?;
        }
        Ok(())
    }

    /// One transaction after the other, so that each reply meets the model of its own moment.
    fn deliver(&mut self) -> Result<(), Failed> {
        loop {
            let Some(node) = &mut self.node else { return Ok(()) };
            let Some((zxid, txn)) = node.deliver_next()? else { return Ok(()) };
            self.committed(zxid, txn).map_err(Failed::Wrong)?;
            for index in 0..self.clients.len() {
                self.check_output(index).map_err(Failed::Wrong)?;
            }
        }
    }

    fn committed(&mut self, zxid: Zxid, txn: Vec<u8>) -> Result<(), Wrong> {
        if let Some((last, _)) = self.history.last()
            && zxid.0 != last.0 + 1
        {
            return Err(format!("S-02, S-13: {zxid} committed after {last}"));
        }
        self.model.apply(&txn).map_err(|why| format!("S-20: {zxid}: {why}"))?;
        self.mix(zxid.0 as u64);
        self.mix(txn.iter().fold(0, |hash: u64, &byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte))));
        self.history.push((zxid, txn));
        Ok(())
    }

    /// Everything the server has for a client is checked as it leaves; the model stands at that very zxid.
    fn check_output(&mut self, index: usize) -> Result<(), Wrong> {
        let Some(node) = &mut self.node else { return Ok(()) };
        let client = &mut self.clients[index];
        let (replies, events) = client.receive(node, &self.history, &self.model)?;
        self.replies += replies;
        self.events += events;
        self.mix(replies * 7 + events);
        Ok(())
    }

    fn cut(&mut self, index: usize) {
        if let Some(node) = &mut self.node {
            self.clients[index].disconnect(node);
        }
    }

    /// Process or power, whichever the seed says; then the next talk restarts it.
    fn crash(&mut self) -> Result<(), Wrong> {
        self.crashes += 1;
        self.node = None;
        for client in &mut self.clients {
            client.lost_connection();
        }
        let disk = if self.rng.chance(3) {
            self.disk.after_kill(self.rng.next())
        } else {
            self.disk.after_power_cut(&mut self.rng)
        };
        self.disk = Arc::new(disk);
        self.mix(self.crashes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Wrong> {
        if self.node.is_some() {
            return Ok(());
        }
        let opened = Node::open(Arc::clone(&self.disk), self.rng.next(), Millis(self.now), wall(self.now), self.bug);
        let (node, replayed) = match opened {
            Ok(opened) => opened,
            // A crash may hit recovery too.
            Err(Failed::Disk) => return self.crash(),
            Err(Failed::Wrong(why)) => return Err(why),
        };
        let committed = self.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        let applied = node.applied();
        if applied < committed {
            return Err(format!("G-09, S-10: {committed} was committed, {applied} is what came back"));
        }
        // What is in the file beyond what was committed must be what was proposed, in order and without a hole (S-40).
        for (zxid, txn) in replayed {
            match self.history.iter().find(|(known, _)| *known == zxid) {
                Some((_, known)) if *known == txn => {}
                Some(_) => return Err(format!("S-01: {zxid} came back with other bytes")),
                None if self.tried.contains(&(zxid, txn.clone())) => self.committed(zxid, txn)?,
                None => return Err(format!("S-03: {zxid} came back and was never proposed")),
            }
        }
        if self.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid) != applied {
            return Err(format!("S-40: the state says {applied}, the log ends elsewhere"));
        }
        node.check(&self.model)?;
        self.tried.clear();
        self.node = Some(node);
        Ok(())
    }

    fn mix(&mut self, value: u64) {
        self.trace = (self.trace ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

fn wall(now: u64) -> WallMillis {
    WallMillis(1_700_000_000_000 + now as i64)
}
