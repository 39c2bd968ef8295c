//! What a host does for its member: disk, engine, time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::world::*;
use crate::ids::{Millis, ServerId, Zxid};
use crate::records::peer::{PacketType, QuorumPacket};
use crate::zab::*;

impl World {
    pub(super) fn start(&mut self, node: usize) {
        let making = self.making;
        let me = self.node(node);
        let voters = (1..=making.voters).map(ServerId).collect();
        let settings = ZabSettings {
            me: me.id,
            is_participant: true,
            quorums: Quorums::of(Quorum::Majority(Majority::new(voters))),
            config: Arc::from(""),
            tick_ms: TICK_MS,
            init_limit: 5,
            sync_limit: 2,
            reconfig: None,
            passwords: None,
        };
        // Everything logged is applied, as after a real start; the newest are in memory for learners.
        me.applied.clone_from(&me.disk.history);
        let recent = me.disk.history.len().saturating_sub(making.memory);
        let base = recent.checked_sub(1).map_or(Zxid::ZERO, |index| me.disk.history[index].0);
        let mut history = History::at(base);
        for (zxid, txn) in &me.disk.history[recent..] {
            history.push(*zxid, Arc::clone(txn)).unwrap();
        }
        history.installed(me.disk.last());
        me.zab = Some(Zab::new(NOW, settings, Start { history, record: me.disk.record, right: VotingRight::Held }));
        self.settle(node);
    }

    pub(super) fn crash(&mut self, node: usize, done: usize, loses: bool) {
        let me = self.node(node);
        match me.works.pop_front() {
            Some(Work::Append { txns, .. }) => me.disk.history.extend(txns.into_iter().take(done)),
            Some(work) if done > 0 => {
                me.carry_out(work);
            }
            _ => {}
        }
        let (id, disk) = (me.id, std::mem::take(&mut me.disk));
        *me = Node {
            id,
            zab: None,
            disk,
            applied: Vec::new(),
            heard: None,
            works: VecDeque::new(),
            chores: VecDeque::new(),
            standing: Standing::Looking,
            counter: 0,
            asked: None,
        };
        self.check_disk(node);
        self.ballots.retain(|(from, to), _| *to != node && !(loses && *from == node));
        for conn in 0..self.conns.len() {
            let Some(end) = self.conns[conn].as_ref().and_then(|conn| conn.ends.iter().position(|at| *at == node))
            else {
                continue;
            };
            if loses && let Some(conn) = self.conn(conn) {
                conn.wires[1 - end].retain(|item| *item == Item::Opened);
            }
            self.close(conn, end);
        }
        for other in 0..self.nodes.len() {
            if other != node && self.is_up(other) {
                self.node(other).chores.push_back(Chore::Unreachable(id));
            }
        }
    }

    pub(super) fn give(&mut self, node: usize, event: ZabEvent) {
        if let Some(zab) = &mut self.node(node).zab {
            zab.handle(NOW, event);
            self.settle(node);
        }
    }

    /// Carries out what is asked for. The disk begins its next append as soon as it has nothing else to do.
    pub(super) fn settle(&mut self, node: usize) {
        while let Some(action) = self.node(node).zab.as_mut().and_then(Zab::poll_action) {
            self.act(node, action);
        }
        if let Some(RoleEnd::LeaderBroke(why)) = self.node(node).zab.as_mut().and_then(Zab::take_ending) {
            self.breaks("protocol", || why.to_owned());
        }
        let me = self.node(node);
        let Some(zab) = &mut me.zab else { return };
        if me.works.is_empty()
            && let Some((run, upto)) = zab.begin_append()
        {
            let txns = zab.txns(me.disk.last(), upto).cloned().collect();
            me.works.push_back(Work::Append { run, upto, txns });
        }
        me.rebase(0);
    }

    pub(super) fn act(&mut self, node: usize, action: ZabAction) {
        match action {
            ZabAction::Ballot { to, notification } => {
                let to = to.0 as usize - 1;
                if self.is_up(to) && self.is_joined(node, to) {
                    let queue = self.ballots.entry((node, to)).or_default();
                    if queue.back() == Some(&notification) {
                        return;
                    }
                    if queue.len() >= self.making.ballots {
                        queue.pop_back();
                    }
                    queue.push_back(notification);
                }
            }
            ZabAction::LinkBallots(peers) => {
                for peer in peers {
                    let index = peer.0 as usize - 1;
                    let is_known = self.nodes[node].chores.contains(&Chore::Unreachable(peer));
                    let is_there = self.is_up(index) && self.is_joined(node, index);
                    if !is_known && !is_there {
                        self.node(node).chores.push_back(Chore::Unreachable(peer));
                    }
                }
            }
            ZabAction::Dial { to } => self.dial(node, to.0 as usize - 1),
            ZabAction::Send { link, packet } => self.send(node, link, packet),
            ZabAction::Close { link, .. } => {
                let conn = link.slot as usize;
                let ends = self.conns.get(conn).and_then(Option::as_ref).map(|conn| conn.ends);
                if let Some(end) = ends.and_then(|ends| ends.iter().position(|at| *at == node)) {
                    self.close(conn, end);
                }
            }
            ZabAction::Keep { run, record, .. } => self.node(node).works.push_back(Work::Keep { run, record }),
            ZabAction::Append { .. } => {}
            ZabAction::Truncate { run, to } => self.node(node).works.push_back(Work::Truncate { run, to }),
            ZabAction::Install { run, at, record, .. } => {
                let me = self.node(node);
                let state = me.heard.clone().unwrap_or_default();
                me.works.push_back(Work::Install { run, at, record, state });
            }
            ZabAction::Hear { .. } => self.node(node).heard = Some(Vec::new()),
            ZabAction::Unhear => {
                let me = self.node(node);
                me.heard = None;
                let given_up = me.works.iter().position(|work| matches!(work, Work::Install { .. }));
                if let Some(Work::Install { run, .. }) = given_up.and_then(|index| me.works.remove(index)) {
                    me.chores.push_back(Chore::InstallGivenUp { run });
                }
            }
            ZabAction::Replay { upto } | ZabAction::Deliver { upto } => self.apply(node, upto),
            ZabAction::Read { link, after } => self.node(node).chores.push_back(Chore::Read { link, after }),
            ZabAction::OpenSnapshot { link } => self.node(node).chores.push_back(Chore::OpenSnapshot(link)),
            ZabAction::StreamSnapshot { link } => {
                let state = self.nodes[node].applied.clone();
                self.put(node, link, Item::State(state));
                self.node(node).chores.push_back(Chore::StreamSnapshot(link));
            }
            ZabAction::AnswerPing { link, zxid } => {
                self.send(node, link, QuorumPacket::with_data(PacketType::PING, zxid, Arc::from([])));
            }
            ZabAction::Confirmed { .. } => self.check_confirmed(node, self.nodes[node].asked),
            ZabAction::Configured { .. } => {}
            ZabAction::FromLearner { .. } | ZabAction::FromLeader { .. } | ZabAction::LearnerGone { .. } => {}
            ZabAction::Stand(standing) => {
                let me = self.node(node);
                me.standing = standing;
                me.counter = 0;
                me.asked = None;
                self.check_standing(node);
            }
        }
    }

    pub(super) fn apply(&mut self, node: usize, upto: Zxid) {
        let me = self.node(node);
        let Some(zab) = &me.zab else { return };
        let into = me.heard.as_mut().unwrap_or(&mut me.applied);
        let after = into.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        into.extend(zab.txns(after, upto).cloned());
        let reached = into.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        if reached != upto {
            self.breaks("S-01", || format!("{reached} was applied in place of {upto}"));
        }
        if self.nodes[node].heard.is_none() && self.nodes[node].standing != Standing::Looking {
            self.check_applied(node);
        }
    }

    pub(super) fn do_chore(&mut self, node: usize, chore: Chore) {
        match chore {
            Chore::Unreachable(peer) => self.give(node, ZabEvent::BallotLink { peer, is_up: false }),
            Chore::OpenSnapshot(link) => {
                let zxid = self.nodes[node].applied.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
                self.give(node, ZabEvent::SnapshotOpened { link, zxid });
            }
            Chore::StreamSnapshot(link) => self.give(node, ZabEvent::SnapshotStreamed { link }),
            Chore::Read { link, after } => {
                let history = &self.nodes[node].disk.history;
                let from = history.len().saturating_sub(self.making.log_len);
                let base = from.checked_sub(1).map_or(Zxid::ZERO, |index| history[index].0);
                let behind = history.partition_point(|(zxid, _)| *zxid <= after);
                let before =
                    (after >= base).then(|| behind.checked_sub(1).map_or(Zxid::ZERO, |index| history[index].0));
                let txns = if before.is_some() { history[behind..].iter().take(1).cloned().collect() } else { vec![] };
                self.give(node, ZabEvent::Records { link, before, txns });
            }
            Chore::InstallGivenUp { run } => self.give(node, ZabEvent::Installed { run, is_done: false }),
        }
    }
}

impl Node {
    pub(super) fn carry_out(&mut self, work: Work) -> ZabEvent {
        match work {
            Work::Append { run, upto, txns } => {
                self.disk.history.extend(txns);
                ZabEvent::Synced { run, upto }
            }
            Work::Keep { run, record } => {
                self.disk.record = record;
                ZabEvent::Kept { run }
            }
            Work::Truncate { run, to } => {
                let is_done = to == Zxid::ZERO || self.disk.has(to);
                if is_done {
                    self.disk.history.retain(|(zxid, _)| *zxid <= to);
                    self.applied.retain(|(zxid, _)| *zxid <= to);
                }
                ZabEvent::Truncated { run, is_done }
            }
            Work::Install { run, at, record, state } => {
                assert_eq!(state.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid), at, "what is installed");
                self.disk.history.clone_from(&state);
                self.disk.record = record;
                self.applied = state;
                self.heard = None;
                ZabEvent::Installed { run, is_done: true }
            }
        }
    }

    /// So many ms have passed; equal situations become equal values.
    pub(super) fn rebase(&mut self, ms: u64) {
        let Some(zab) = &mut self.zab else { return };
        zab.own.now = NOW;
        // Of runs only the order matters, and on an idle disk nothing of an earlier one is under way.
        if self.works.is_empty() && !self.chores.iter().any(|chore| matches!(chore, Chore::InstallGivenUp { .. })) {
            zab.own.run = 1;
        }
        let back = |at: Millis| Millis(at.0.saturating_sub(ms));
        zab.waiting.values_mut().for_each(|waiting| waiting.since = back(waiting.since));
        zab.election.rebase(NOW, ms, STEP_MS, matches!(zab.role, ZabRole::Looking { has_begun: true }));
        match &mut zab.role {
            ZabRole::Looking { .. } => {}
            ZabRole::Leading(leader) => leader.rebase(ms),
            ZabRole::Learning(learner) => learner.rebase(ms),
        }
    }
}
