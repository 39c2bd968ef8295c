//! Members, disks and a network in one seed, with checkers that look on from outside. The members are the `Zab`s that ship;
//! engine, log and connections are the plainest stand-ins that can crash, tear, be late and be cut.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use crate::ids::{Millis, ServerId, Zxid};
use crate::records::peer::{Notification, PacketType, QuorumPacket};
use crate::zab::*;

mod checks;
mod network;
mod reconfiguring;

pub(super) type Txns = Vec<(Zxid, Payload)>;

/// What a world is made of.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) voters: u64,
    pub(super) observers: u64,
    /// Servers that no configuration has at first. With some the configuration changes while the world lives; with none that is
    /// switched off.
    pub(super) joiners: u64,
    /// Faults per virtual second, about; 0 for a calm world.
    pub(super) faults: u64,
    /// Transactions that a log keeps for learners; the rest only a snapshot has.
    pub(super) log_len: usize,
    pub(super) seconds: u64,
}

#[derive(Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
struct Disk {
    /// The whole history, from the first transaction.
    history: Txns,
    record: MemberRecord,
    configs: Option<Configs>,
}

impl Disk {
    fn last(&self) -> Zxid {
        self.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }
}

/// Durable work that has begun.
#[derive(Clone, Debug)]
enum Work {
    Append { run: u64, upto: Zxid, txns: Txns },
    Keep { run: u64, record: MemberRecord, configs: Option<Box<Configs>> },
    Truncate { run: u64, to: Zxid },
    Install { run: u64, at: Zxid, record: MemberRecord, configs: Option<Box<Configs>>, state: Txns },
}

struct Node {
    id: ServerId,
    zab: Option<Zab>,
    disk: Disk,
    /// What the engine has applied.
    applied: Txns,
    /// A state that is being received.
    heard: Option<Txns>,
    work: Option<Work>,
    /// Grows with every crash: what was meant for an earlier life is dropped.
    life: u64,
    /// Work the disk has not begun yet.
    queue: Vec<Work>,
    standing: Standing,
    generation: u32,
    /// Its ends of connections.
    links: BTreeMap<LinkId, usize>,
    paused_until: Millis,
    counter: u32,
}

/// One thing on the wire.
#[derive(Clone, Debug)]
enum Item {
    Packet(QuorumPacket),
    State(Txns),
}

struct Conn {
    ends: [(usize, LinkId); 2],
    lives: [u64; 2],
    is_open: bool,
    /// Whether the learner on it was told to serve.
    is_serving: bool,
    /// Whether NEWLEADER was sent on it.
    has_history: bool,
    /// The epoch told on it.
    epoch: u32,
    /// Not arrived yet, towards either end.
    wires: [std::collections::VecDeque<Item>; 2],
}

#[derive(Clone, Debug)]
enum Happens {
    Timer { node: usize, life: u64 },
    Turn { node: usize, life: u64 },
    DiskDone { node: usize, life: u64 },
    Arrives { conn: usize, towards: usize },
    Broken { conn: usize, end: usize },
    Ballot { from: usize, to: usize, notification: Notification },
    BallotLink { node: usize, life: u64, peer: usize, is_up: bool },
    Dialled { node: usize, life: u64, to: usize },
    SnapshotOpened { node: usize, life: u64, link: LinkId },
    SnapshotStreamed { node: usize, life: u64, link: LinkId },
    Records { node: usize, life: u64, link: LinkId, after: Zxid },
    Writes,
    Reconfigures,
    Fault,
    Starts { node: usize },
}

pub(super) struct World {
    pub(super) shape: Shape,
    now: u64,
    rng: Rng,
    /// For what changes the configuration, so that worlds without that are what they were.
    config_rng: Rng,
    /// Who votes by the newest configuration that is committed.
    in_force: Vec<ServerId>,
    nodes: Vec<Node>,
    conns: Vec<Conn>,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Happens>>,
    /// From there nothing arrives there.
    blocked: BTreeSet<(usize, usize)>,
    is_healing: bool,
    /// Nobody writes any more.
    is_quiet: bool,
    /// No log can be cut.
    pub(super) refuses_truncations: bool,
    /// What was committed, by anybody, in order.
    canonical: Txns,
    /// Who was established in which epoch.
    established: BTreeMap<u32, ServerId>,
    /// The highest epoch that was established when the question was asked.
    questions: BTreeMap<u64, (usize, u32)>,
    payload: u64,
    pub(super) trace: u64,
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// The newest happenings, for whoever reads a failure.
    story: std::collections::VecDeque<String>,
}

const TICK_MS: u64 = 100;

impl World {
    pub(super) fn new(seed: u64, shape: Shape) -> World {
        let rng = Rng::new(seed);
        let count = (shape.voters + shape.observers + shape.joiners) as usize;
        let nodes = (0..count).map(|index| Node {
            id: ServerId(index as u64 + 1),
            zab: None,
            disk: Disk::default(),
            applied: Vec::new(),
            heard: None,
            work: None,
            life: 0,
            queue: Vec::new(),
            standing: Standing::Looking,
            generation: 0,
            links: BTreeMap::new(),
            paused_until: Millis(0),
            counter: 0,
        });
        let mut world = World {
            in_force: (1..=shape.voters).map(ServerId).collect(),
            config_rng: Rng::new(seed ^ 0xc0f1_65ed),
            shape,
            now: 1,
            rng,
            nodes: nodes.collect(),
            conns: Vec::new(),
            heap: BinaryHeap::new(),
            events: Vec::new(),
            blocked: BTreeSet::new(),
            is_healing: false,
            is_quiet: false,
            refuses_truncations: false,
            canonical: Vec::new(),
            established: BTreeMap::new(),
            questions: BTreeMap::new(),
            payload: 0,
            trace: 0,
            counts: BTreeMap::new(),
            story: std::collections::VecDeque::new(),
        };
        for node in 0..count {
            let delay = world.rng.below(300);
            world.after(delay, Happens::Starts { node });
        }
        world.after(500, Happens::Writes);
        world.after(1_000, Happens::Fault);
        if world.shape.joiners > 0 {
            world.after(700, Happens::Reconfigures);
        }
        world
    }

    fn after(&mut self, delay: u64, happens: Happens) {
        let tie = self.rng.next();
        self.heap.push(Reverse((self.now + delay, tie, self.events.len())));
        self.events.push(Some(happens));
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn tell(&mut self, line: String) {
        if self.story.len() == 120 {
            self.story.pop_front();
        }
        self.story.push_back(format!("{:>6} {line}", self.now));
    }

    #[track_caller]
    fn check(&self, holds: bool, rule: &str, what: impl FnOnce() -> String) {
        if !holds {
            let story: Vec<&str> = self.story.iter().map(String::as_str).collect();
            panic!("{rule}: {}\n{}", what(), story.join("\n"));
        }
    }

    /// Lives through it, then lets everything heal and asks for what must then come true.
    pub(super) fn run(&mut self) {
        let end = self.now + self.shape.seconds * 1_000;
        self.run_until(end);
        self.heal();
        // L-01, L-03: elections after the last fault, and the slowest learner.
        let healed = self.now + 40 * TICK_MS * 10;
        self.run_until(healed);
        self.is_quiet = true;
        self.run_until(healed + 20 * TICK_MS);
        self.finish();
    }

    /// Nothing reaches the leader any more once there is one, and what it sends arrives. It, and who leads some time later.
    pub(super) fn deafen_the_leader(&mut self) -> (ServerId, Option<ServerId>) {
        let leads = |node: &Node| matches!(node.standing, Standing::Leading { .. });
        self.run_until(self.now + 3_000);
        let leader = self.nodes.iter().position(leads).expect("one leads");
        self.blocked.extend((0..self.nodes.len()).map(|node| (node, leader)));
        self.run_until(self.now + 50 * TICK_MS);
        let later = self.nodes.iter().enumerate().find(|(index, node)| *index != leader && leads(node));
        (self.nodes[leader].id, later.map(|(_, node)| node.id))
    }

    fn run_until(&mut self, end: u64) {
        while let Some(&Reverse((due, _, index))) = self.heap.peek() {
            if due > end {
                break;
            }
            self.heap.pop();
            self.now = self.now.max(due);
            if let Some(happens) = self.events[index].take() {
                self.trace = self.trace.rotate_left(5) ^ (due << 8) ^ index as u64;
                self.happen(happens);
            }
        }
        self.now = end;
    }

    fn heal(&mut self) {
        self.is_healing = true;
        self.blocked.clear();
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until = Millis(0);
            if self.nodes[node].zab.is_none() {
                self.after(1, Happens::Starts { node });
            }
        }
        for conn in 0..self.conns.len() {
            for towards in 0..2 {
                self.after(1, Happens::Arrives { conn, towards });
            }
        }
    }

    fn finish(&mut self) {
        let leaders = self.nodes.iter().filter(|node| matches!(node.standing, Standing::Leading { .. })).count();
        self.check(leaders == 1, "L-01", || format!("{leaders} leaders after everything healed"));
        for node in &self.nodes {
            let lengths = (node.applied.len(), self.canonical.len());
            self.check(lengths.0 == lengths.1, "L-03", || {
                format!("{} has applied {} of {}: {:?}", node.id, lengths.0, lengths.1, node.standing)
            });
        }
        self.check(!self.canonical.is_empty(), "L-02", || "nothing was ever committed".to_owned());
    }

    fn alive(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].zab.is_some()
    }

    fn happen(&mut self, happens: Happens) {
        // A paused node's events wait, and come at once.
        let paused = match &happens {
            Happens::Timer { node, .. }
            | Happens::Turn { node, .. }
            | Happens::DiskDone { node, .. }
            | Happens::BallotLink { node, .. }
            | Happens::Dialled { node, .. } => Some(*node),
            Happens::Ballot { to, .. } => Some(*to),
            Happens::Arrives { conn, towards } => Some(self.conns[*conn].ends[*towards].0),
            _ => None,
        };
        if let Some(node) = paused
            && self.nodes[node].paused_until.0 > self.now
        {
            let delay = self.nodes[node].paused_until.0 - self.now;
            return self.after(delay, happens);
        }
        match happens {
            Happens::Starts { node } => self.start(node),
            Happens::Timer { node, life } if self.alive(node, life) => {
                let due = self.nodes[node].zab.as_ref().is_some_and(|zab| zab.poll_timeout().0 <= self.now);
                if due {
                    self.give(node, ZabEvent::Timeout);
                }
            }
            Happens::Turn { node, life } if self.alive(node, life) => self.turn(node),
            Happens::DiskDone { node, life } if self.alive(node, life) => self.disk_done(node),
            Happens::Arrives { conn, towards } => self.arrive(conn, towards),
            Happens::Broken { conn, end } => {
                let (node, link) = self.conns[conn].ends[end];
                if self.alive(node, self.conns[conn].lives[end]) && self.nodes[node].links.remove(&link).is_some() {
                    self.give(node, ZabEvent::Closed { link });
                }
            }
            Happens::Ballot { from, to, notification }
                if self.nodes[to].zab.is_some() && !self.blocked.contains(&(from, to)) =>
            {
                let from = self.nodes[from].id;
                self.give(to, ZabEvent::Ballot { from, notification });
            }
            Happens::BallotLink { node, life, peer, is_up } if self.alive(node, life) => {
                let peer = self.nodes[peer].id;
                self.give(node, ZabEvent::BallotLink { peer, is_up });
            }
            Happens::Dialled { node, life, to } if self.alive(node, life) => self.dialled(node, to),
            Happens::SnapshotOpened { node, life, link } if self.alive(node, life) => {
                let zxid = self.nodes[node].applied.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
                self.count("snapshot sent");
                self.give(node, ZabEvent::SnapshotOpened { link, zxid });
            }
            Happens::SnapshotStreamed { node, life, link } if self.alive(node, life) => {
                self.give(node, ZabEvent::SnapshotStreamed { link });
            }
            Happens::Records { node, life, link, after } if self.alive(node, life) => self.records(node, link, after),
            Happens::Writes => self.writes(),
            Happens::Reconfigures => self.reconfigure(),
            Happens::Fault => self.fault(),
            _ => {}
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Members

    fn start(&mut self, node: usize) {
        if self.nodes[node].zab.is_some() {
            return;
        }
        let voters: Vec<ServerId> = (1..=self.shape.voters).map(ServerId).collect();
        let reconfig = self.configs_at_start(node);
        let me = &mut self.nodes[node];
        let settings = ZabSettings {
            me: me.id,
            is_participant: voters.contains(&me.id),
            quorums: Quorums::of(Quorum::Majority(Majority::new(voters))),
            config: Arc::from("version=0"),
            tick_ms: TICK_MS,
            init_limit: 10,
            sync_limit: 5,
            reconfig,
            passwords: None,
        };
        // Everything logged is applied, as after a real start; the newest are in memory for learners.
        me.applied = me.disk.history.clone();
        me.heard = None;
        me.counter = 0;
        let recent = me.disk.history.len().saturating_sub(20);
        let base = recent.checked_sub(1).map_or(Zxid::ZERO, |index| me.disk.history[index].0);
        let mut history = History::at(base);
        for (zxid, txn) in &me.disk.history[recent..] {
            history.push(*zxid, Arc::clone(txn)).unwrap();
        }
        history.installed(me.disk.last());
        let is_new = me.disk.history.is_empty() && me.disk.record.current_epoch == 0;
        let right = if is_new { VotingRight::OnceAllAreHeard } else { VotingRight::Held };
        me.zab = Some(Zab::new(Millis(self.now), settings, Start { history, record: me.disk.record, right }));
        self.tell(format!("{} starts", self.nodes[node].id));
        self.drain(node);
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].zab.take().is_none() {
            return;
        }
        self.count("crash");
        self.tell(format!("{} crashes", self.nodes[node].id));
        // Work under way is done, not done, or done in part.
        if let Some(work) = self.nodes[node].work.take() {
            match work {
                Work::Append { txns, .. } => {
                    let torn = self.rng.below(txns.len() as u64 + 1) as usize;
                    self.nodes[node].disk.history.extend(txns.into_iter().take(torn));
                }
                other if self.rng.one_in(2) => {
                    self.carry_out(node, other);
                }
                _ => {}
            }
        }
        let me = &mut self.nodes[node];
        me.queue.clear();
        me.life += 1;
        me.standing = Standing::Looking;
        let links = std::mem::take(&mut me.links);
        for conn in links.into_values() {
            self.break_conn(conn);
        }
        for other in 0..self.nodes.len() {
            if other != node {
                let (delay, life) = (self.rng.below(20), self.nodes[other].life);
                self.after(delay, Happens::BallotLink { node: other, life, peer: node, is_up: false });
            }
        }
        let delay = 50 + self.rng.below(3_000);
        self.after(delay, Happens::Starts { node });
    }

    fn give(&mut self, node: usize, event: ZabEvent) {
        match &event {
            ZabEvent::Timeout | ZabEvent::Ballot { .. } => {}
            ZabEvent::Packet { packet, .. } => {
                let line = format!("{} <- {packet}", self.nodes[node].id);
                self.tell(line);
            }
            other => {
                let line = format!("{} {other:?}", self.nodes[node].id);
                self.tell(line.chars().take(160).collect());
            }
        }
        let now = Millis(self.now);
        if let Some(zab) = &mut self.nodes[node].zab {
            zab.handle(now, event);
        }
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].zab.as_mut().and_then(Zab::poll_action) {
            self.act(node, action);
        }
        let ending = self.nodes[node].zab.as_mut().and_then(Zab::take_ending);
        if let Some(ending) = ending {
            self.count("role ended");
            if let RoleEnd::Reconfigured { leader } = ending {
                self.count(if leader.is_some() { "designated leader taken" } else { "leader left by NEWLEADER" });
            }
            let is_planned = ending == RoleEnd::LeaderBroke("the state it sent was not whole");
            self.check(is_planned || !matches!(ending, RoleEnd::LeaderBroke(_)), "protocol", || {
                format!("{}: {ending:?}", self.nodes[node].id)
            });
            self.tell(format!("{} ends: {ending:?}", self.nodes[node].id));
        }
        let life = self.nodes[node].life;
        if let Some(at) = self.nodes[node].zab.as_ref().map(Zab::poll_timeout)
            && at.0 < u64::MAX
        {
            let delay = at.0.saturating_sub(self.now);
            self.after(delay, Happens::Timer { node, life });
        }
        let delay = self.rng.below(3);
        self.after(delay, Happens::Turn { node, life });
        self.check_disks(node);
    }

    fn turn(&mut self, node: usize) {
        let me = &mut self.nodes[node];
        let Some(zab) = &mut me.zab else { return };
        if me.work.is_some() || !me.queue.is_empty() {
            return;
        }
        if let Some((run, upto)) = zab.begin_append() {
            let txns: Txns = zab.txns(me.disk.last(), upto).cloned().collect();
            self.begin_work(node, Work::Append { run, upto, txns });
        }
    }

    fn begin_work(&mut self, node: usize, work: Work) {
        if self.nodes[node].work.is_some() {
            self.nodes[node].queue.push(work);
            return;
        }
        self.nodes[node].work = Some(work);
        let slow = self.rng.one_in(60);
        let delay = if slow { self.rng.below(700) } else { self.rng.below(4) };
        let life = self.nodes[node].life;
        self.after(delay, Happens::DiskDone { node, life });
    }

    fn carry_out(&mut self, node: usize, work: Work) -> ZabEvent {
        let refuses = self.refuses_truncations;
        let me = &mut self.nodes[node];
        match work {
            Work::Append { run, upto, txns } => {
                me.disk.history.extend(txns);
                ZabEvent::Synced { run, upto }
            }
            Work::Keep { run, record, configs } => {
                me.disk.record = record;
                me.disk.configs = configs.map(|configs| *configs);
                ZabEvent::Kept { run }
            }
            Work::Truncate { run, to } => {
                let is_there = to == Zxid::ZERO || me.disk.history.iter().any(|(zxid, _)| *zxid == to);
                let is_done = is_there && !refuses;
                if is_done {
                    me.disk.history.retain(|(zxid, _)| *zxid <= to);
                    me.applied.retain(|(zxid, _)| *zxid <= to);
                }
                ZabEvent::Truncated { run, is_done }
            }
            Work::Install { run, at, record, configs, state } => {
                assert_eq!(state.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid), at, "what is installed");
                me.disk.history = state.clone();
                me.disk.record = record;
                me.disk.configs = configs.map(|configs| *configs);
                me.applied = state;
                me.heard = None;
                ZabEvent::Installed { run, is_done: true }
            }
        }
    }

    fn disk_done(&mut self, node: usize) {
        let Some(work) = self.nodes[node].work.take() else { return };
        let event = self.carry_out(node, work);
        if !self.nodes[node].queue.is_empty() {
            let next = self.nodes[node].queue.remove(0);
            self.begin_work(node, next);
        }
        self.give(node, event);
    }

    fn act(&mut self, node: usize, action: ZabAction) {
        let life = self.nodes[node].life;
        match action {
            ZabAction::Ballot { to, notification } => {
                let to = to.0 as usize - 1;
                if self.nodes.get(to).is_some_and(|peer| peer.zab.is_some()) && !self.blocked.contains(&(node, to)) {
                    let delay = 1 + self.rng.below(5);
                    self.after(delay, Happens::Ballot { from: node, to, notification });
                }
            }
            ZabAction::LinkBallots(peers) => {
                for peer in peers {
                    let peer = peer.0 as usize - 1;
                    let cut = self.blocked.contains(&(node, peer)) || self.blocked.contains(&(peer, node));
                    let is_up = self.nodes[peer].zab.is_some() && !cut;
                    if !is_up {
                        let delay = 1 + self.rng.below(5);
                        self.after(delay, Happens::BallotLink { node, life, peer, is_up });
                    }
                }
            }
            ZabAction::Dial { to } => {
                let delay = 1 + self.rng.below(5);
                self.after(delay, Happens::Dialled { node, life, to: to.0 as usize - 1 });
            }
            ZabAction::Send { link, packet } => self.send(node, link, packet),
            ZabAction::Close { link, why } => {
                self.tell(format!("{} closes {link:?}: {why:?}", self.nodes[node].id));
                if let Some(conn) = self.nodes[node].links.remove(&link) {
                    self.break_conn(conn);
                }
            }
            ZabAction::Keep { run, record, configs } => self.begin_work(node, Work::Keep { run, record, configs }),
            ZabAction::Append { .. } => {}
            ZabAction::Truncate { run, to } => {
                self.count("truncation");
                self.begin_work(node, Work::Truncate { run, to });
            }
            ZabAction::Install { run, at, record, configs } => {
                self.count("installation");
                let state = self.nodes[node].heard.clone().unwrap_or_default();
                self.begin_work(node, Work::Install { run, at, record, configs, state });
            }
            ZabAction::Hear { .. } => self.nodes[node].heard = Some(Vec::new()),
            ZabAction::Unhear => self.nodes[node].heard = None,
            ZabAction::Replay { upto } | ZabAction::Deliver { upto } => self.apply(node, upto),
            ZabAction::Read { link, after } => {
                let delay = 1 + self.rng.below(10);
                self.after(delay, Happens::Records { node, life, link, after });
            }
            ZabAction::OpenSnapshot { link } => {
                let delay = self.rng.below(30);
                self.after(delay, Happens::SnapshotOpened { node, life, link });
            }
            ZabAction::StreamSnapshot { link } => {
                let state = self.nodes[node].applied.clone();
                self.put(node, link, Item::State(state));
                let delay = self.rng.below(60);
                self.after(delay, Happens::SnapshotStreamed { node, life, link });
            }
            ZabAction::AnswerPing { link, zxid } => {
                self.send(node, link, QuorumPacket::with_data(PacketType::PING, zxid, Arc::from([])));
            }
            ZabAction::Confirmed { token } => {
                self.count("sync confirmed");
                let (asked, newest) = self.questions[&token];
                let Standing::Leading { epoch } = self.nodes[asked].standing else { return };
                self.check(newest <= epoch, "G-04", || format!("epoch {epoch} confirmed, {newest} had begun"));
            }
            ZabAction::FromLearner { .. } | ZabAction::FromLeader { .. } | ZabAction::LearnerGone { .. } => {}
            ZabAction::Configured { configs, change } => self.configured(node, &configs, change),
            ZabAction::Stand(standing) => self.stand(node, standing),
        }
    }

    fn apply(&mut self, node: usize, upto: Zxid) {
        let me = &mut self.nodes[node];
        let Some(zab) = &me.zab else { return };
        let into = me.heard.as_mut().unwrap_or(&mut me.applied);
        let after = into.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        into.extend(zab.txns(after, upto).cloned());
        let reached = into.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        assert_eq!(reached, upto, "applied");
        if self.nodes[node].heard.is_none() && self.nodes[node].standing != Standing::Looking {
            self.check_applied(node);
        }
    }

    fn stand(&mut self, node: usize, standing: Standing) {
        let id = self.nodes[node].id;
        self.tell(format!("{id} stands: {standing:?}"));
        self.nodes[node].standing = standing;
        match standing {
            Standing::Looking => {}
            Standing::Leading { epoch } => {
                self.count("established");
                self.nodes[node].counter = 0;
                let other = self.established.insert(epoch, id);
                self.check(other.is_none_or(|other| other == id), "S-07", || {
                    format!("{id} and {other:?} lead {epoch}")
                });
                self.check_applied(node);
                let whole = self.nodes[node].applied.len() >= self.canonical.len();
                self.check(whole, "S-09", || format!("{id} leads without the whole history"));
            }
            Standing::Following { .. } => self.check_applied(node),
        }
    }

    fn writes(&mut self) {
        let delay = 1 + self.rng.below(if self.is_healing { 30 } else { 8 });
        self.after(delay, Happens::Writes);
        for node in 0..self.nodes.len() {
            let Standing::Leading { epoch } = self.nodes[node].standing else { continue };
            if self.is_quiet {
                return;
            }
            if self.nodes[node].paused_until.0 > self.now || self.nodes[node].zab.is_none() {
                continue;
            }
            if self.rng.one_in(5) {
                let newest = self.established.keys().next_back().copied().unwrap_or(0);
                self.payload += 1;
                let token = self.payload;
                self.questions.insert(token, (node, newest));
                self.give(node, ZabEvent::Confirm { token });
            }
            let mut txns = Vec::new();
            for _ in 0..1 + self.rng.below(3) {
                self.payload += 1;
                self.nodes[node].counter += 1;
                let zxid = Zxid::new(epoch, self.nodes[node].counter);
                txns.push((zxid, Payload::from(self.payload.to_be_bytes())));
            }
            if matches!(self.nodes[node].standing, Standing::Leading { epoch: now } if now == epoch) {
                self.give(node, ZabEvent::Decided(txns));
            }
        }
    }
}
