//! A model of a member of Apache ZooKeeper's: our own code, made from the protocol and from how those servers are known to behave.
//! It shares the records with our members, and nothing else: what our members believe about each other cannot hide in it.
//!
//! One machine without sockets and clock, like ours: something is handed in, acts come out, to be carried out in order. Two makes
//! differ in how they take a history in: `J39` is 3.9.4 and later, `J38` is 3.8.5 and later.
//!
//! What is left out, because it would only lose what Java loses: a state that was taken in by half and is kept (5094), and
//! snapshots above what is cut (1549). Clients do not connect to it.

mod deciding;
mod election;
mod java_disk;
mod leading;
mod learning;
mod syncing;

use std::collections::{BTreeMap, VecDeque};

use election::{JavaElection, JavaVote};
pub(super) use java_disk::JavaDisk;
use java_disk::{JavaMemory, LogThread};
use leading::Leading;
use learning::Learning;

use crate::ids::{ServerId, Zxid};
use crate::records::peer::{Notification, PacketType, PeerState, QuorumPacket};
use crate::records::txn::Payload;
use crate::sim::Wrong;
use crate::store::tests::sim_disk::Rng;
use crate::zab::Standing;

/// A packet's data at most, as Java reads it.
const DATA_MAX: usize = 2_097_150;

/// Which Java.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Make {
    /// Leaves when a zxid is left out; logs what is not committed only after UPTODATE.
    J39,
    /// Logs all of it before it acknowledges NEWLEADER, and leaves when some of that is committed before UPTODATE (4394).
    J38,
    /// `J38` as it was before 3.8.5: its epoch is on disk before its history (4643), which it acknowledges before it is there (4646),
    /// and its log may grow when its role is over (4712).
    Old38,
}

/// What a member is set up with.
#[derive(Clone, Debug)]
pub(super) struct JavaSettings {
    pub me: ServerId,
    pub make: Make,
    pub voters: Vec<ServerId>,
    pub tick_us: u64,
    pub init_limit: u64,
    pub sync_limit: u64,
    /// Committed transactions that it keeps in memory for learners (`commitLogCount`), and whether it reads its log for them.
    pub window: usize,
    pub reads_log: bool,
}

/// One thing to carry out.
#[derive(Debug)]
pub(super) enum Act {
    Ballot(ServerId, Notification),
    /// Whoever has no election connection is dialled.
    DialVoices,
    Dial(ServerId),
    Send(u64, QuorumPacket),
    Raw(u64, Vec<u8>),
    Close(u64),
    /// It leads, and serves.
    Leads(u32),
    /// It has decided this.
    Decided(Payload),
    Tell(String),
    /// Something that the model is there for has happened.
    Count(&'static str),
    /// That server has done what no server of Java's can take.
    Accuses(ServerId, &'static str),
    /// `System.exit`.
    Exit(&'static str),
}

/// What every role works on.
pub(super) struct JavaOwn {
    pub settings: JavaSettings,
    pub now: u64,
    pub wall: i64,
    pub disk: JavaDisk,
    pub memory: JavaMemory,
    log: LogThread,
    acts: VecDeque<Act>,
    rng: Rng,
    /// Connections of the quorum port, each with what has come and is no whole packet.
    pub inputs: BTreeMap<u64, Vec<u8>>,
    /// A state has come whose history is to be told.
    pub wants_history: Option<Zxid>,
}

/// What a role has to say when it has looked at something.
enum Goes {
    On,
    /// It becomes LOOKING.
    Leaves(&'static str),
}

enum JavaRole {
    Looking(JavaElection),
    Learning(Learning),
    Leading(Leading),
}

/// One server.
pub(super) struct Apache {
    pub own: JavaOwn,
    role: JavaRole,
    /// The logical clock, and the vote in which the last election ended.
    round: i64,
    vote: JavaVote,
    /// For each other server the message that waits for a connection: one, the newest.
    pub undelivered: BTreeMap<ServerId, Option<Notification>>,
}

impl JavaOwn {
    fn votes(&self) -> bool {
        self.settings.voters.contains(&self.settings.me)
    }

    fn is_quorum(&self, has: impl Fn(ServerId) -> bool) -> bool {
        2 * self.settings.voters.iter().filter(|voter| has(**voter)).count() > self.settings.voters.len()
    }

    fn ticks_us(&self, ticks: u64) -> u64 {
        ticks * self.settings.tick_us
    }

    fn send(&mut self, stream: u64, kind: PacketType, zxid: Zxid) {
        self.acts.push_back(Act::Send(stream, QuorumPacket::bare(kind, zxid)));
    }

    fn send_data(&mut self, stream: u64, kind: PacketType, zxid: Zxid, data: Payload) {
        self.acts.push_back(Act::Send(stream, QuorumPacket::with_data(kind, zxid, data)));
    }

    fn close(&mut self, stream: u64) {
        if self.inputs.remove(&stream).is_some() {
            self.acts.push_back(Act::Close(stream));
        }
    }

    fn count(&mut self, what: &'static str) {
        self.acts.push_back(Act::Count(what));
    }

    /// The next whole packet of a connection.
    fn next_packet(&mut self, stream: u64) -> Result<Option<QuorumPacket>, Wrong> {
        let Some(input) = self.inputs.get_mut(&stream) else { return Ok(None) };
        let next =
            QuorumPacket::decode(input, DATA_MAX).map_err(|error| format!("F-20: no packet for Java: {error}"))?;
        Ok(next.map(|(packet, used)| {
            input.drain(..used);
            packet
        }))
    }
}

impl Apache {
    pub(super) fn new(settings: JavaSettings, disk: JavaDisk, now: u64, seed: u64) -> Result<Apache, Wrong> {
        let memory = JavaMemory::restored(&disk.log)?;
        let others = settings.voters.iter().copied().filter(|other| *other != settings.me);
        let undelivered = others.map(|other| (other, None)).collect();
        let own = JavaOwn {
            settings,
            now,
            wall: 0,
            disk,
            memory,
            log: LogThread::default(),
            acts: VecDeque::new(),
            rng: Rng(seed),
            inputs: BTreeMap::new(),
            wants_history: None,
        };
        let mut apache = Apache {
            role: JavaRole::Looking(JavaElection::default()),
            round: 0,
            vote: JavaVote::own(&own),
            own,
            undelivered,
        };
        apache.looks()?;
        Ok(apache)
    }

    pub(super) fn standing(&self) -> Standing {
        match &self.role {
            JavaRole::Leading(leading) if leading.serves() => Standing::Leading { epoch: leading.epoch() },
            JavaRole::Learning(learning) if learning.serves() => {
                let (leader, epoch) = (learning.leader(), learning.epoch());
                Standing::Following { leader, epoch, votes: self.own.votes() }
            }
            _ => Standing::Looking,
        }
    }

    /// Its quorum port is bound only while it leads.
    pub(super) fn is_bound(&self) -> bool {
        matches!(self.role, JavaRole::Leading(_))
    }

    pub(super) fn poll_act(&mut self) -> Option<Act> {
        self.own.acts.pop_front()
    }

    /// What it has applied, first to last.
    pub(super) fn applied(&self) -> &[(Zxid, Payload)] {
        &self.own.memory.history
    }

    /// When it is to be woken.
    pub(super) fn poll_timeout(&self) -> u64 {
        let role = match &self.role {
            JavaRole::Looking(election) => election.due(),
            JavaRole::Learning(learning) => learning.due(&self.own),
            JavaRole::Leading(leading) => leading.due(&self.own),
        };
        role.min(self.own.log.due())
    }

    /// Looks at its clock, and at its disk.
    pub(super) fn wake(&mut self) -> Result<(), Wrong> {
        let durable = self.own.log_written();
        let goes = match &mut self.role {
            JavaRole::Looking(election) => {
                if let Some(vote) = election.wake(&mut self.own, &mut self.round, &self.undelivered) {
                    return self.elected(vote);
                }
                Goes::On
            }
            JavaRole::Learning(learning) => {
                learning.logged(&mut self.own, &durable);
                learning.wake(&mut self.own)?
            }
            JavaRole::Leading(leading) => {
                leading.logged(&mut self.own, &durable)?;
                leading.wake(&mut self.own)?
            }
        };
        self.goes(goes)
    }

    /// A message of the election port.
    pub(super) fn ballot(&mut self, from: ServerId, told: Notification) -> Result<(), Wrong> {
        let is_voter = self.own.settings.voters.contains(&from);
        let is_asked = told.state == PeerState::Looking;
        if !is_voter {
            self.answer(from);
            return Ok(());
        }
        let JavaRole::Looking(election) = &mut self.role else {
            if is_asked {
                self.answer(from);
            }
            return Ok(());
        };
        if is_asked && told.round < self.round {
            let notification = election.notification(self.round);
            self.own.acts.push_back(Act::Ballot(from, notification));
        }
        match election.hears(&mut self.own, &mut self.round, from, told) {
            Some(vote) => self.elected(vote),
            None => Ok(()),
        }
    }

    fn answer(&mut self, to: ServerId) {
        let notification = match &self.role {
            JavaRole::Looking(election) => election.notification(self.round),
            JavaRole::Leading(_) => self.vote.told(PeerState::Leading, self.round),
            JavaRole::Learning(_) if self.own.votes() => self.vote.told(PeerState::Following, self.round),
            JavaRole::Learning(_) => self.vote.told(PeerState::Observing, self.round),
        };
        self.own.acts.push_back(Act::Ballot(to, notification));
    }

    fn elected(&mut self, vote: JavaVote) -> Result<(), Wrong> {
        self.vote = vote;
        self.role = match vote.leader == self.own.settings.me {
            true => JavaRole::Leading(Leading::new(&mut self.own)?),
            false => JavaRole::Learning(Learning::new(&mut self.own, vote.leader)),
        };
        Ok(())
    }

    /// A dial of the leader's port has come to something.
    pub(super) fn dialled(&mut self, stream: Option<u64>) -> Result<(), Wrong> {
        let goes = match (&mut self.role, stream) {
            (JavaRole::Learning(learning), stream) => learning.dialled(&mut self.own, stream),
            (_, Some(stream)) => {
                self.own.acts.push_back(Act::Close(stream));
                Goes::On
            }
            _ => Goes::On,
        };
        self.goes(goes)
    }

    /// Somebody has connected to the quorum port.
    pub(super) fn accepted(&mut self, stream: u64) {
        match &mut self.role {
            JavaRole::Leading(leading) => leading.accepted(&mut self.own, stream),
            _ => self.own.acts.push_back(Act::Close(stream)),
        }
    }

    /// Bytes have come over a connection of the quorum port.
    pub(super) fn reads(&mut self, stream: u64, bytes: &[u8]) -> Result<(), Wrong> {
        let Some(input) = self.own.inputs.get_mut(&stream) else { return Ok(()) };
        input.extend_from_slice(bytes);
        let goes = match &mut self.role {
            JavaRole::Learning(learning) => learning.heard(&mut self.own)?,
            JavaRole::Leading(leading) => leading.heard(&mut self.own, stream)?,
            JavaRole::Looking(_) => Goes::On,
        };
        self.goes(goes)
    }

    /// The history of the state that has come.
    pub(super) fn history(&mut self, log: &[(Zxid, Payload)]) -> Result<(), Wrong> {
        self.own.wants_history = None;
        let JavaRole::Learning(learning) = &mut self.role else { return Ok(()) };
        let goes = learning.installs(&mut self.own, log)?;
        self.goes(goes)
    }

    /// A connection of the quorum port is over.
    pub(super) fn ended(&mut self, stream: u64) -> Result<(), Wrong> {
        if self.own.inputs.remove(&stream).is_none() {
            return Ok(());
        }
        self.own.acts.push_back(Act::Close(stream));
        match &mut self.role {
            JavaRole::Learning(_) => self.goes(Goes::Leaves("its leader is gone")),
            JavaRole::Leading(leading) => {
                leading.lost(stream);
                Ok(())
            }
            JavaRole::Looking(_) => Ok(()),
        }
    }

    fn goes(&mut self, goes: Goes) -> Result<(), Wrong> {
        // The peerEpoch of its vote is the new one from the moment when it serves.
        if let Standing::Leading { epoch } | Standing::Following { epoch, .. } = self.standing() {
            self.vote.epoch = i64::from(epoch);
        }
        match goes {
            Goes::On => Ok(()),
            Goes::Leaves(why) => {
                let line = format!("a model leaves its role: {why}");
                self.own.acts.push_back(Act::Tell(line));
                self.looks()
            }
        }
    }

    /// Becomes LOOKING. No append of the role that ends comes later, unless it is an old one (4712); memory is what the log says.
    fn looks(&mut self) -> Result<(), Wrong> {
        for stream in self.own.inputs.keys().copied().collect::<Vec<_>>() {
            self.own.close(stream);
        }
        self.own.wants_history = None;
        if self.own.settings.make != Make::Old38 {
            self.own.flush_log();
        }
        match &self.role {
            JavaRole::Learning(learning) if learning.is_half_done() => {
                self.own.memory = JavaMemory::restored(&self.own.disk.log)?;
            }
            _ => self.own.memory.follow(&self.own.disk.log)?,
        }
        let mut election = JavaElection::default();
        let elected = election.begin(&mut self.own, &mut self.round);
        self.role = JavaRole::Looking(election);
        match elected {
            Some(vote) => self.elected(vote),
            None => Ok(()),
        }
    }
}
