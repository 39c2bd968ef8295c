//! A few members with disks, connections and ballots, where everything that may happen next is a [`Step`] and time stands still
//! until nothing else can happen. A world is a value: equal worlds have equal futures.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::ids::{Millis, ServerId, Zxid};
use crate::records::peer::{Notification, QuorumPacket};
use crate::zab::*;

pub(super) type Txns = Vec<(Zxid, Payload)>;

/// The moment that it always is.
pub(super) const NOW: Millis = Millis(1_000_000);
pub(super) const TICK_MS: u64 = 100;
/// Time passes in steps of so many ms: else every jitter would make another world.
pub(super) const STEP_MS: u64 = TICK_MS / 2;

/// What may still befall a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Transactions that a leader decides.
    pub(super) txns: u8,
    /// Questions whether the leader still leads.
    pub(super) questions: u8,
    pub(super) crashes: u8,
    /// Connections that break, or that swallow everything from then on.
    pub(super) cuts: u8,
    /// Pairs of members that cannot reach each other, until they can again.
    pub(super) splits: u8,
    /// Times that pass though something is under way.
    pub(super) delays: u8,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The oldest thing on the way to that end of a connection arrives.
    Arrives {
        conn: usize,
        end: usize,
    },
    /// The oldest ballot on the way arrives.
    Ballot {
        from: usize,
        to: usize,
    },
    /// The disk has done its oldest work.
    Disk {
        node: usize,
    },
    /// The host has done the oldest thing that takes it a while.
    Host {
        node: usize,
    },
    /// A moment that the member waited for has come.
    Timer {
        node: usize,
    },
    /// Time passes until somebody's moment comes.
    Waits,
    /// The leader decides a transaction.
    Writes {
        node: usize,
    },
    /// The leader asks whether it leads.
    Asks {
        node: usize,
    },
    /// The member ends. So much of the disk's oldest work is done all the same, and what it sent is lost or not.
    Crashes {
        node: usize,
        done: usize,
        loses: bool,
    },
    Starts {
        node: usize,
    },
    /// A connection breaks. What is on it is lost or not.
    Breaks {
        conn: usize,
        loses: bool,
    },
    /// A connection swallows everything, and nobody is told.
    Swallows {
        conn: usize,
    },
    /// Two members cannot reach each other.
    Splits {
        one: usize,
        other: usize,
    },
    Heals,
}

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    pub(super) history: Txns,
    pub(super) record: MemberRecord,
}

impl Disk {
    pub(super) fn last(&self) -> Zxid {
        self.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    pub(super) fn has(&self, zxid: Zxid) -> bool {
        self.history.iter().any(|(at, _)| *at == zxid)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    Append { run: u64, upto: Zxid, txns: Txns },
    Keep { run: u64, record: MemberRecord },
    Truncate { run: u64, to: Zxid },
    Install { run: u64, at: Zxid, record: MemberRecord, state: Txns },
}

/// What a host does that is not done at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Chore {
    Unreachable(ServerId),
    OpenSnapshot(LinkId),
    StreamSnapshot(LinkId),
    Read { link: LinkId, after: Zxid },
    InstallGivenUp { run: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) id: ServerId,
    pub(super) zab: Option<Zab>,
    pub(super) disk: Disk,
    /// What the engine has applied.
    pub(super) applied: Txns,
    /// A state that is being received.
    pub(super) heard: Option<Txns>,
    pub(super) works: VecDeque<Work>,
    pub(super) chores: VecDeque<Chore>,
    pub(super) standing: Standing,
    /// Of the leader's last transaction.
    pub(super) counter: u32,
    /// The newest epoch that was established when this leader asked whether it leads.
    pub(super) asked: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Opened,
    Packet(QuorumPacket),
    State(Txns),
    Closed,
}

/// A connection between a learner and a leader. The first end dialled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Conn {
    pub(super) ends: [usize; 2],
    pub(super) is_open: [bool; 2],
    /// Nothing arrives any more.
    pub(super) swallows: bool,
    /// NEWLEADER was sent on it, and UPTODATE.
    pub(super) has_history: bool,
    pub(super) is_serving: bool,
    /// The epoch told on it.
    pub(super) epoch: u32,
    /// On the way towards either end.
    pub(super) wires: [VecDeque<Item>; 2],
}

/// What makes a world, beside the things that may befall it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Making {
    pub(super) voters: u64,
    /// Transactions that a member has in memory when it starts.
    pub(super) memory: usize,
    /// Transactions that a log keeps for learners.
    pub(super) log_len: usize,
    /// Ballots on the way from one member to another; a newer one replaces the last of them.
    pub(super) ballots: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) making: Making,
    pub(super) budget: Budget,
    pub(super) nodes: Vec<Rc<Node>>,
    pub(super) conns: Vec<Option<Rc<Conn>>>,
    pub(super) ballots: BTreeMap<(usize, usize), VecDeque<Notification>>,
    pub(super) split: Option<(usize, usize)>,
    /// What was committed, by anybody, in order.
    pub(super) committed: Txns,
    /// Who was established in which epoch.
    pub(super) established: BTreeMap<u32, ServerId>,
    pub(super) payload: u8,
    /// The rule that is broken, and how.
    pub(super) broken: Option<(&'static str, String)>,
}

pub(super) fn link_of(conn: usize) -> LinkId {
    LinkId { slot: conn as u32, generation: 0 }
}

impl World {
    /// Members that were never started.
    pub(super) fn new(making: Making, budget: Budget) -> World {
        let nodes = (1..=making.voters).map(|id| {
            Rc::new(Node {
                id: ServerId(id),
                zab: None,
                disk: Disk::default(),
                applied: Vec::new(),
                heard: None,
                works: VecDeque::new(),
                chores: VecDeque::new(),
                standing: Standing::Looking,
                counter: 0,
                asked: None,
            })
        });
        World {
            making,
            budget,
            nodes: nodes.collect(),
            conns: Vec::new(),
            ballots: BTreeMap::new(),
            split: None,
            committed: Vec::new(),
            established: BTreeMap::new(),
            payload: 0,
            broken: None,
        }
    }

    pub(super) fn node(&mut self, node: usize) -> &mut Node {
        Rc::make_mut(&mut self.nodes[node])
    }

    pub(super) fn conn(&mut self, conn: usize) -> Option<&mut Conn> {
        self.conns.get_mut(conn)?.as_mut().map(Rc::make_mut)
    }

    /// Whether they can reach each other.
    pub(super) fn is_joined(&self, one: usize, other: usize) -> bool {
        self.split != Some((one.min(other), one.max(other)))
    }

    pub(super) fn is_up(&self, node: usize) -> bool {
        self.nodes[node].zab.is_some()
    }

    // -----------------------------------------------------------------------------------------------------------
    // What may happen

    /// What happens by itself, in a fixed order.
    pub(super) fn own_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, conn) in self.conns.iter().enumerate() {
            let Some(conn) = conn else { continue };
            let arriving = (0..2).filter(|end| !conn.wires[*end].is_empty() && conn.is_open[*end]);
            steps.extend(arriving.map(|end| Step::Arrives { conn: index, end }));
        }
        steps.extend(self.ballots.keys().map(|&(from, to)| Step::Ballot { from, to }));
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(zab) = &node.zab else { continue };
            if !node.works.is_empty() {
                steps.push(Step::Disk { node: index });
            }
            if !node.chores.is_empty() {
                steps.push(Step::Host { node: index });
            }
            if zab.poll_timeout() <= NOW {
                steps.push(Step::Timer { node: index });
            }
        }
        steps
    }

    /// When somebody's next moment comes, if that is not now.
    pub(super) fn next_moment(&self) -> Option<Millis> {
        let next = self.nodes.iter().filter_map(|node| node.zab.as_ref()).map(Zab::poll_timeout).min()?;
        (next > NOW && next < Millis(u64::MAX)).then(|| Millis(next.0.next_multiple_of(STEP_MS)))
    }

    /// Everything that may happen.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = self.own_steps();
        if (steps.is_empty() || self.budget.delays > 0) && self.next_moment().is_some() {
            steps.push(Step::Waits);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            if node.zab.is_none() {
                steps.push(Step::Starts { node: index });
                continue;
            }
            if matches!(node.standing, Standing::Leading { .. }) {
                if self.budget.txns > 0 {
                    steps.push(Step::Writes { node: index });
                }
                if self.budget.questions > 0 {
                    steps.push(Step::Asks { node: index });
                }
            }
            if self.budget.crashes > 0 {
                let most = match node.works.front() {
                    Some(Work::Append { txns, .. }) => txns.len(),
                    Some(_) => 1,
                    None => 0,
                };
                let sends = self.ballots.keys().any(|(from, _)| *from == index)
                    || self
                        .conns
                        .iter()
                        .flatten()
                        .any(|conn| (0..2).any(|end| conn.ends[end] == index && !conn.wires[1 - end].is_empty()));
                for done in 0..=most {
                    steps.push(Step::Crashes { node: index, done, loses: false });
                    if sends {
                        steps.push(Step::Crashes { node: index, done, loses: true });
                    }
                }
            }
        }
        for (index, conn) in self.conns.iter().enumerate() {
            let Some(conn) = conn else { continue };
            if self.budget.cuts > 0 && !conn.swallows && conn.is_open == [true; 2] {
                steps.push(Step::Breaks { conn: index, loses: false });
                if conn.wires.iter().any(|wire| wire.iter().any(|item| *item != Item::Opened)) {
                    steps.push(Step::Breaks { conn: index, loses: true });
                }
                steps.push(Step::Swallows { conn: index });
            }
        }
        if self.budget.splits > 0 && self.split.is_none() {
            let count = self.nodes.len();
            steps.extend((0..count).flat_map(|one| (one + 1..count).map(move |other| Step::Splits { one, other })));
        }
        if self.split.is_some() {
            steps.push(Step::Heals);
        }
        steps
    }

    /// Lets it happen.
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Arrives { conn, end } => self.arrive(conn, end),
            Step::Ballot { from, to } => {
                let Some(queue) = self.ballots.get_mut(&(from, to)) else { return };
                let first = queue.pop_front();
                if queue.is_empty() {
                    self.ballots.remove(&(from, to));
                }
                let from = self.nodes[from].id;
                if let Some(notification) = first {
                    self.give(to, ZabEvent::Ballot { from, notification });
                }
            }
            Step::Disk { node } => {
                let Some(work) = self.node(node).works.pop_front() else { return };
                let event = self.node(node).carry_out(work);
                self.check_disk(node);
                self.give(node, event);
            }
            Step::Host { node } => {
                if let Some(chore) = self.node(node).chores.pop_front() {
                    self.do_chore(node, chore);
                }
            }
            Step::Timer { node } => self.give(node, ZabEvent::Timeout),
            Step::Waits => {
                if !self.own_steps().is_empty() {
                    self.budget.delays -= 1;
                }
                let ms = self.next_moment().map_or(0, |at| at.since(NOW));
                for node in 0..self.nodes.len() {
                    self.node(node).rebase(ms);
                }
            }
            Step::Writes { node } => {
                let Standing::Leading { epoch } = self.nodes[node].standing else { return };
                self.budget.txns -= 1;
                self.payload += 1;
                let txn = Payload::from([self.payload]);
                self.node(node).counter += 1;
                let zxid = Zxid::new(epoch, self.nodes[node].counter);
                self.give(node, ZabEvent::Decided(vec![(zxid, txn)]));
            }
            Step::Asks { node } => {
                self.budget.questions -= 1;
                self.node(node).asked = self.established.keys().next_back().copied();
                self.give(node, ZabEvent::Confirm { token: 1 });
            }
            Step::Crashes { node, done, loses } => {
                self.budget.crashes -= 1;
                self.crash(node, done, loses);
            }
            Step::Starts { node } => self.start(node),
            Step::Breaks { conn, loses } => {
                self.budget.cuts -= 1;
                self.break_conn(conn, loses);
            }
            Step::Swallows { conn } => {
                self.budget.cuts -= 1;
                self.swallow(conn);
            }
            Step::Splits { one, other } => {
                self.budget.splits -= 1;
                self.split = Some((one, other));
                self.ballots.retain(|(from, to), _| ![(one, other), (other, one)].contains(&(*from, *to)));
                for conn in 0..self.conns.len() {
                    let ends = self.conns[conn].as_ref().map(|conn| conn.ends);
                    if ends == Some([one, other]) || ends == Some([other, one]) {
                        self.swallow(conn);
                    }
                }
                for (node, peer) in [(one, other), (other, one)] {
                    let peer = self.nodes[peer].id;
                    if self.is_up(node) {
                        self.node(node).chores.push_back(Chore::Unreachable(peer));
                    }
                }
            }
            Step::Heals => self.split = None,
        }
        while self.conns.last().is_some_and(Option::is_none) {
            self.conns.pop();
        }
    }
}
