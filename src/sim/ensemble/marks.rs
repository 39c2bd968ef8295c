//! States that a run ought to reach now and then, counted: a checker that never saw one has not looked at it.

use super::Cluster;
use super::host::Deed;
use super::member::{QuorumSocket, SimProcess, SimSocket};
use crate::ids::{ServerId, Zxid};
use crate::records::peer::{PacketType, QuorumPacket, decode_epoch_ack};
use crate::zab::Standing;

/// Those that five hundred seeds reach.
#[cfg(test)]
pub(super) const MARKS: &[&str] = &[
    "mark: DIFF",
    "mark: DIFF, and transactions",
    "mark: TRUNC",
    "mark: TRUNC, and transactions",
    "mark: SNAP",
    "mark: SNAP, and transactions",
    "mark: the history ends with what is not committed",
    "mark: UPTODATE while proposals are outstanding",
    "mark: an epoch is acknowledged and does not count",
    "mark: an observer is informed",
    "mark: a session is asked about",
    "mark: a session goes on at another member",
    "mark: a session goes on at the same member",
    "mark: a wrong password is refused",
    "mark: a client is told that its session is over",
    "mark: a client is told what it missed",
    "mark: a session is not known at the leader",
    "mark: a request comes when its session has moved",
    "mark: a multi fails",
    "mark: a session ends with ephemerals",
    "mark: a write is refused for want of room",
    "mark: a log is cut",
    "mark: a state is installed",
    "mark: a learner is lost before it serves",
    "mark: a learner is lost with proposals outstanding",
    "mark: a silent election connection is given up",
    "mark: a write is torn",
    "mark: a fault hits recovery",
    "mark: the loop goes on beside a write",
    "mark: a role ends while its log is written",
    "mark: a leader goes with proposals outstanding",
    "mark: two think that they lead",
    "mark: an epoch is left out",
    "mark: an election commits what was outstanding",
    "mark: what is outstanding is never committed",
    "mark: a transaction of an earlier epoch is committed",
    "mark: a follower applies first",
    "mark: committed without the leader's own disk",
    "mark: an observer serves",
    "mark: damage is found",
    "mark: a quorum is down",
    "mark: all members are down",
    "mark: a crash leaves more than was synced",
    "mark: dies before a ballot leaves",
    "mark: dies before a proposal leaves",
    "mark: dies before a proposal is acknowledged",
    "mark: dies before a commit leaves",
    "mark: dies before a request is forwarded",
    "mark: what is cut was applied",
    "mark: several transactions share a sync",
    "mark: a new file is filled by a state",
    "mark: a promise is followed by another",
    "mark: a member says nothing in an election",
    "mark: a snapshot is published",
    "mark: a snapshot leaves data to the log",
    "mark: a restart takes from the log what a snapshot left to it",
    "mark: a leader steps down",
    "mark: a follower leaves its leader",
    "mark: the same member leads the next epoch",
    "mark: an epoch ends without a transaction",
    "mark: a member follows while a deposed leader leads",
    "mark: a COMMIT comes before its own disk has it",
    "mark: a ping's answer tells of sessions",
    "mark: an acknowledgement comes after the commit",
    "mark: a learner comes while its leader serves",
    "mark: a learner comes before its leader serves",
    "mark: an observer is sent a state",
    "mark: a request is forwarded",
    "mark: a learner's sync is answered",
    "mark: a session goes on under another leader",
    "mark: a client that comes back has missed nothing",
    "mark: a read is of an earlier state than others have seen",
    "mark: a session expires",
    "mark: a local session becomes known to all",
    "mark: a local session goes on",
    "mark: a local session is closed",
    "mark: a proposal leaves between NEWLEADER and UPTODATE",
    "mark: an epoch is used up",
    "mark: a leader that was stopped finds itself deposed",
    "mark: dies before a history is acknowledged",
    "mark: dies before an epoch is told",
    "mark: dies before an epoch is acknowledged",
    "mark: dies before UPTODATE leaves",
];

/// Those that ten thousand seeds reach beside them.
#[cfg(test)]
pub(super) const RARE_MARKS: &[&str] = &[
    "mark: a state breaks off half way",
    "mark: damage passes for a torn end",
    "mark: what is cut was committed meanwhile",
    "mark: a session ends twice",
    "mark: dies before a connection is closed",
    "mark: dies while it takes in a state",
    "mark: a snapshot is given up",
    "mark: an append waits for an extent",
    "mark: two learners are sent a state at once",
    "mark: a learner is lost before its history begins",
];

impl Cluster {
    /// A process dies before it can do this.
    pub(super) fn mark_undone(&mut self, deed: &Deed) {
        let mark = match deed {
            Deed::Ballot(..) => "mark: dies before a ballot leaves",
            Deed::Close(_) => "mark: dies before a connection is closed",
            Deed::Send(_, packet) => match packet.kind {
                PacketType::LEADERINFO => "mark: dies before an epoch is told",
                PacketType::ACKEPOCH => "mark: dies before an epoch is acknowledged",
                PacketType::ACK if packet.zxid.counter() == 0 => "mark: dies before a history is acknowledged",
                PacketType::ACK => "mark: dies before a proposal is acknowledged",
                PacketType::PROPOSAL => "mark: dies before a proposal leaves",
                PacketType::COMMIT => "mark: dies before a commit leaves",
                PacketType::UPTODATE => "mark: dies before UPTODATE leaves",
                PacketType::REQUEST => "mark: dies before a request is forwarded",
                _ => return,
            },
            _ => return,
        };
        self.story.count(mark);
    }

    /// A process ends: by a fault, or with the run.
    pub(super) fn mark_death(&mut self, process: &SimProcess) {
        let mut sockets = process.sockets.values();
        if sockets.any(|socket| matches!(socket, SimSocket::Quorum(socket) if socket.is_raw)) {
            self.story.count("mark: dies while it takes in a state");
        }
        self.mark_store(process);
    }

    /// What a store has done in the life of its process.
    pub(super) fn mark_store(&mut self, process: &SimProcess) {
        let stats = process.member.store.stats();
        for (mark, count) in [
            ("mark: a snapshot is published", stats.snapshots),
            ("mark: a snapshot leaves data to the log", stats.snapshots_leaving),
            ("mark: a snapshot is given up", stats.snapshots_failed),
            ("mark: an append waits for an extent", stats.waited_for_extent),
        ] {
            if count > 0 {
                self.story.count_by(mark, count);
            }
        }
    }

    /// What the end of a role, or the beginning of another, says about elections.
    fn mark_election(&mut self, id: ServerId, process: &SimProcess, before: Standing) {
        let now = self.agenda.now;
        let logged = self.machines[&id].logged();
        match (before, process.standing) {
            (Standing::Leading { epoch }, _) => {
                self.story.count("mark: a leader steps down");
                if process.resumed_at.is_some_and(|at| now - at < self.swarm.ticks_us(1)) {
                    self.story.count("mark: a leader that was stopped finds itself deposed");
                }
                if logged.epoch() == epoch && logged.counter() >= Zxid::counter_spared() {
                    self.story.count("mark: an epoch is used up");
                }
            }
            (Standing::Following { votes: true, .. }, _) => self.story.count("mark: a follower leaves its leader"),
            (_, Standing::Leading { epoch }) => {
                let last = self.canon.leaders.iter().next_back().map(|(epoch, leader)| (*epoch, *leader));
                if last.is_some_and(|(_, leader)| leader == id) {
                    self.story.count("mark: the same member leads the next epoch");
                }
                if last.is_some_and(|(before, _)| logged.epoch() < before && before < epoch) {
                    self.story.count("mark: an epoch ends without a transaction");
                }
            }
            (_, Standing::Following { epoch, .. }) => {
                let mut others = self.machines.values().filter_map(|machine| machine.process.as_ref());
                let is_deposed =
                    |other: &SimProcess| matches!(other.standing, Standing::Leading { epoch: of } if of < epoch);
                if others.any(is_deposed) {
                    self.story.count("mark: a member follows while a deposed leader leads");
                }
            }
            _ => {}
        }
    }

    /// A packet has come to a member.
    pub(super) fn mark_arrived(&mut self, id: ServerId, process: &SimProcess, packet: &QuorumPacket) {
        let has = self.machines[&id].has(packet.zxid);
        let mark = match packet.kind {
            PacketType::COMMIT if !has => "mark: a COMMIT comes before its own disk has it",
            PacketType::PING if packet.data().len() >= 12 => "mark: a ping's answer tells of sessions",
            PacketType::ACK if packet.zxid.counter() != 0 && packet.zxid <= process.applied => {
                "mark: an acknowledgement comes after the commit"
            }
            _ => return,
        };
        self.story.count(mark);
    }

    /// How a learner is brought up to date.
    fn mark_plan(&mut self, process: &SimProcess, stream: u64, kind: PacketType) {
        let serves = matches!(process.standing, Standing::Leading { .. });
        self.story.count(match serves {
            true => "mark: a learner comes while its leader serves",
            false => "mark: a learner comes before its leader serves",
        });
        if self.net.streams.get(&stream).is_some_and(|stream| stream.is_observers) {
            match kind {
                PacketType::SNAP => self.story.count("mark: an observer is sent a state"),
                PacketType::TRUNC => self.story.count("mark: an observer is told to cut"),
                _ => {}
            }
        }
        let is_sent = |socket: &&SimSocket| matches!(socket, SimSocket::Quorum(socket) if socket.began_with == Some(PacketType::SNAP) && !socket.is_ended);
        if kind == PacketType::SNAP && process.sockets.values().filter(is_sent).count() > 0 {
            self.story.count("mark: two learners are sent a state at once");
        }
    }

    /// A member is something else to its clients from now on.
    pub(super) fn mark_standing(&mut self, id: ServerId, process: &SimProcess, before: Standing) {
        self.mark_election(id, process, before);
        let (logged, committed) = (self.machines[&id].logged(), self.canon.last());
        if before != Standing::Looking && process.write.is_some() {
            self.story.count("mark: a role ends while its log is written");
        }
        if matches!(before, Standing::Leading { .. }) && logged > committed {
            self.story.count("mark: a leader goes with proposals outstanding");
        }
        match process.standing {
            Standing::Looking => {}
            Standing::Following { votes, .. } => {
                if !votes {
                    self.story.count("mark: an observer serves");
                }
            }
            Standing::Leading { epoch } => {
                let others = self.machines.values().filter_map(|machine| machine.process.as_ref());
                if others.into_iter().any(|other| matches!(other.standing, Standing::Leading { .. })) {
                    self.story.count("mark: two think that they lead");
                }
                if self.canon.leaders.keys().next_back().is_some_and(|last| epoch > last + 1) {
                    self.story.count("mark: an epoch is left out");
                }
                if logged > committed {
                    self.story.count("mark: an election commits what was outstanding");
                }
                if self.machines.values().any(|machine| machine.logged() > logged) {
                    self.story.count("mark: what is outstanding is never committed");
                }
            }
        }
    }

    /// The first member has applied this.
    pub(super) fn mark_committed(&mut self, process: &SimProcess, zxid: Zxid) {
        let epoch = match process.standing {
            Standing::Leading { epoch } => epoch,
            Standing::Following { epoch, .. } => {
                self.story.count("mark: a follower applies first");
                let leader = self.canon.leaders.get(&epoch).and_then(|leader| self.machines.get(leader));
                if leader.is_some_and(|leader| leader.logged() < zxid) {
                    self.story.count("mark: committed without the leader's own disk");
                }
                epoch
            }
            Standing::Looking => return,
        };
        if zxid.epoch() < epoch {
            self.story.count("mark: a transaction of an earlier epoch is committed");
        }
    }

    /// A packet leaves.
    pub(super) fn mark_leaving(&mut self, process: &mut SimProcess, stream: u64, packet: &QuorumPacket) {
        if matches!(packet.kind, PacketType::DIFF | PacketType::TRUNC | PacketType::SNAP) {
            self.mark_plan(process, stream, packet.kind);
        }
        if packet.kind == PacketType::OBSERVERINFO
            && let Some(stream) = self.net.streams.get_mut(&stream)
        {
            stream.is_observers = true;
        }
        let Some(SimSocket::Quorum(socket)) = process.sockets.get_mut(&stream) else { return };
        let is_ended = socket.is_ended;
        let mark = match packet.kind {
            PacketType::DIFF | PacketType::TRUNC | PacketType::SNAP => {
                socket.began_with = Some(packet.kind);
                return;
            }
            PacketType::PROPOSAL if !is_ended => match socket.began_with.take() {
                Some(PacketType::DIFF) => "mark: DIFF, and transactions",
                Some(PacketType::TRUNC) => "mark: TRUNC, and transactions",
                Some(PacketType::SNAP) => "mark: SNAP, and transactions",
                _ => return,
            },
            PacketType::NEWLEADER => {
                socket.is_ended = true;
                if socket.proposed.is_empty() {
                    return;
                }
                "mark: the history ends with what is not committed"
            }
            PacketType::UPTODATE => {
                socket.is_up = true;
                if socket.proposed.is_empty() {
                    return;
                }
                "mark: UPTODATE while proposals are outstanding"
            }
            PacketType::ACKEPOCH if decode_epoch_ack(packet.data()).is_ok_and(|epoch| epoch == -1) => {
                "mark: an epoch is acknowledged and does not count"
            }
            PacketType::PROPOSAL if !socket.is_up => "mark: a proposal leaves between NEWLEADER and UPTODATE",
            PacketType::REQUEST => "mark: a request is forwarded",
            PacketType::SYNC => "mark: a learner's sync is answered",
            PacketType::INFORM => "mark: an observer is informed",
            PacketType::REVALIDATE if packet.data().len() == 9 && packet.data()[8] == 0 => {
                "mark: a session is not known at the leader"
            }
            PacketType::REVALIDATE if packet.data().len() != 9 => "mark: a session is asked about",
            _ => return,
        };
        self.story.count(mark);
    }

    /// A connection of the quorum port has come to its end.
    pub(super) fn mark_lost(&mut self, socket: &QuorumSocket) {
        if socket.is_raw {
            self.story.count("mark: a state breaks off half way");
        }
        if socket.sent.is_some() && !socket.is_ended && socket.began_with.is_none() {
            self.story.count("mark: a learner is lost before its history begins");
        }
        if socket.is_ended && !socket.is_up {
            self.story.count("mark: a learner is lost before it serves");
        }
        if socket.is_up && !socket.proposed.is_empty() {
            self.story.count("mark: a learner is lost with proposals outstanding");
        }
    }

    /// A process has died.
    pub(super) fn mark_down(&mut self) {
        let is_down = |id: ServerId| !self.machines[&id].runs();
        let all = self.swarm.members().into_iter().all(is_down);
        let quorum = self.swarm.is_quorum(is_down);
        if quorum {
            self.story.count("mark: a quorum is down");
        }
        if all {
            self.story.count("mark: all members are down");
        }
    }
}
