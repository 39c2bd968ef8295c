//! What a [`Zab`](super::Zab) is told, and what it asks for.

use super::reconfig::{ConfigChange, Configs};
use crate::ids::{LinkId, ServerId, Zxid};
use crate::records::peer::{Notification, QuorumPacket};
use crate::records::txn::Payload;
use crate::session::{SessionPasswords, SessionSecret};

/// How session passwords are made: the word of an epoch's leader, by which every member that enters the epoch goes.
///
/// It is kept with the current epoch and not before: a member whose vote is not enough may tell of an epoch that never begins,
/// and must not take from others what their sessions' passwords are made with. So whoever leads later has been in
/// the last epoch that began, and hands on its secret; and nobody gives out passwords of another kind before a quorum takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct EpochPasswords {
    /// Which kind; `None` before the first leader has said so.
    pub mode: Option<SessionPasswords>,
    /// What random ones are made with.
    pub secret: SessionSecret,
}

/// What a member keeps beside its log, changed by one atomic update of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct MemberRecord {
    /// The highest epoch promised to a prospective leader (`acceptedEpoch`).
    pub accepted_epoch: u32,
    /// The epoch of the newest leader whose history this member has (`currentEpoch`).
    pub current_epoch: u32,
    /// How session passwords are made in it.
    pub passwords: EpochPasswords,
}

/// What a leader tells of its learners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct LearnerCounts {
    /// Connected, in sync or not.
    pub learners: usize,
    /// Followers that receive proposals as they are made.
    pub synced_followers: usize,
    /// Those of them that have no vote.
    pub synced_non_voting_followers: usize,
    /// Observers that are told of commits as they happen.
    pub synced_observers: usize,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ZabEvent {
    /// Time has passed; see [`Zab::poll_timeout`](super::Zab::poll_timeout).
    Timeout,
    /// A notification came from `from`.
    Ballot {
        /// The sender, as its initial message said.
        from: ServerId,
        /// What it said.
        notification: Notification,
    },
    /// The election connection with `peer` is there, or was lost.
    BallotLink {
        /// The other end.
        peer: ServerId,
        /// Whether it is there.
        is_up: bool,
    },
    /// A connection on the quorum port: accepted, or the one asked for by [`ZabAction::Dial`].
    Opened {
        /// The connection.
        link: LinkId,
        /// Whether we dialled it.
        is_ours: bool,
    },
    /// The dial could not be carried out.
    DialFailed,
    /// A packet came.
    Packet {
        /// From there.
        link: LinkId,
        /// The packet.
        packet: QuorumPacket,
    },
    /// The other end closed the connection, or it broke.
    Closed {
        /// The connection.
        link: LinkId,
    },
    /// The engine that leads decided these transactions, with consecutive zxids.
    Decided(Vec<(Zxid, Payload)>),
    /// The log is on disk up to `upto`.
    Synced {
        /// Of the [`ZabAction::Append`].
        run: u64,
        /// As there.
        upto: Zxid,
    },
    /// An append failed. What of it reached the disk is unknown; nothing more will be appended.
    AppendFailed,
    /// A [`MemberRecord`] is on disk.
    Kept {
        /// Of the [`ZabAction::Keep`].
        run: u64,
    },
    /// The log ends where it was asked to, or cannot.
    Truncated {
        /// Of the [`ZabAction::Truncate`].
        run: u64,
        /// Whether it was done.
        is_done: bool,
    },
    /// The state received is this member's own from now on, on disk, or could not be installed.
    Installed {
        /// Of the [`ZabAction::Install`].
        run: u64,
        /// Whether it was done.
        is_done: bool,
    },
    /// The stream behind SNAP ended: whole, or broken.
    Heard {
        /// From there.
        link: LinkId,
        /// Whether it was whole.
        is_whole: bool,
    },
    /// Bytes of the stream behind SNAP came or left, and there are more to come: whoever takes or sends them is not silent.
    StateMoves {
        /// Over there.
        link: LinkId,
    },
    /// A piece of the log for a learner, for [`ZabAction::Read`].
    Records {
        /// Of the learner.
        link: LinkId,
        /// The last zxid of the log at or below the one asked for; `None` when the log does not reach back so far.
        before: Option<Zxid>,
        /// What follows in the log, in order.
        txns: Vec<(Zxid, Payload)>,
    },
    /// The newest snapshot can be sent to a learner.
    SnapshotOpened {
        /// Of the learner.
        link: LinkId,
        /// What it holds.
        zxid: Zxid,
    },
    /// The snapshot's last byte was handed to the connection.
    SnapshotStreamed {
        /// Of the learner.
        link: LinkId,
    },
    /// The engine has a packet for the leader: a request, a revalidation.
    ToLeader(QuorumPacket),
    /// The engine has a packet for a learner.
    ToLearner {
        /// Its connection.
        link: LinkId,
        /// The packet.
        packet: QuorumPacket,
    },
    /// The leader wants to know that it still leads (G-04); answered with [`ZabAction::Confirmed`].
    Confirm {
        /// Given back.
        token: u64,
    },
}

/// Why a connection is closed by us; for the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Leaving {
    /// The role that it belonged to has ended.
    RoleEnded,
    /// This member does not lead, or not any more.
    NotLeading,
    /// Nothing came for too long.
    Silent,
    /// A proposal was not acknowledged for too long.
    Lagging,
    /// It is ahead of this leader's history.
    Ahead,
    /// A newer connection of the same server.
    Replaced,
    /// It broke the protocol.
    Protocol(&'static str),
    /// Its packet's data could not be read.
    Broken(String),
}

/// What a member is to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// No leader: clients are refused.
    Looking,
    /// It decides writes, in this epoch.
    Leading {
        /// The epoch.
        epoch: u32,
    },
    /// It serves reads and forwards writes.
    Following {
        /// To whom.
        leader: ServerId,
        /// The leader's epoch.
        epoch: u32,
        /// Whether it has a vote.
        votes: bool,
    },
}

/// One thing to do. They are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ZabAction {
    /// Tell `to` this, if it can be reached; a newer one replaces it while it waits.
    Ballot {
        /// Whom.
        to: ServerId,
        /// What.
        notification: Notification,
    },
    /// Dial the election ports of those that are not connected.
    LinkBallots(Vec<ServerId>),
    /// Dial the quorum port of the leader, and say [`ZabEvent::Opened`] or [`ZabEvent::DialFailed`].
    Dial {
        /// The leader.
        to: ServerId,
    },
    /// Send the packet.
    Send {
        /// Where.
        link: LinkId,
        /// What.
        packet: QuorumPacket,
    },
    /// Close the connection.
    Close {
        /// Which.
        link: LinkId,
        /// Why.
        why: Leaving,
    },
    /// Make the record durable, then say [`ZabEvent::Kept`].
    Keep {
        /// Given back.
        run: u64,
        /// What to keep.
        record: MemberRecord,
        /// And the configurations with it, where they may change.
        configs: Option<Box<Configs>>,
    },
    /// Append what the log lacks up to `upto` (from [`Zab::txns`](super::Zab::txns)), sync, then say [`ZabEvent::Synced`].
    Append {
        /// Given back.
        run: u64,
        /// The last one.
        upto: Zxid,
    },
    /// Drop everything above `to` from the log, durably, and snapshots above it; reload the state if it held more. Then
    /// say [`ZabEvent::Truncated`].
    Truncate {
        /// Given back.
        run: u64,
        /// The last one that stays.
        to: Zxid,
    },
    /// Bytes from now on are the stream of a state: build it apart, touching neither state nor file, until
    /// [`ZabEvent::Heard`].
    Hear {
        /// From there.
        link: LinkId,
    },
    /// Make the state heard and this record this member's own, in one atomic switch; then say [`ZabEvent::Installed`].
    Install {
        /// Given back.
        run: u64,
        /// What the state holds.
        at: Zxid,
        /// To be kept with it.
        record: MemberRecord,
        /// And the configurations, where they may change.
        configs: Option<Box<Configs>>,
    },
    /// Forget a state heard and not installed.
    Unhear,
    /// Apply what is not applied yet up to `upto`; there is nobody to be answered.
    Replay {
        /// The last one.
        upto: Zxid,
    },
    /// Apply, answer and notify up to `upto`.
    Deliver {
        /// The last one.
        upto: Zxid,
    },
    /// Read the log for a learner, from behind `after`, a piece at a time and when its output allows; then say
    /// [`ZabEvent::Records`].
    Read {
        /// Of the learner.
        link: LinkId,
        /// The last one it has.
        after: Zxid,
    },
    /// Find the newest snapshot, taking one if there is none, and say [`ZabEvent::SnapshotOpened`].
    OpenSnapshot {
        /// Of the learner.
        link: LinkId,
    },
    /// Send the snapshot's bytes, then say [`ZabEvent::SnapshotStreamed`].
    StreamSnapshot {
        /// Of the learner.
        link: LinkId,
    },
    /// A packet of a learner's for the engine: a request, a revalidation, touched sessions.
    FromLearner {
        /// Who.
        from: ServerId,
        /// Its connection.
        link: LinkId,
        /// What.
        packet: QuorumPacket,
    },
    /// A packet of the leader's for the engine: a sync reached, a session revalidated.
    FromLeader {
        /// Its connection.
        link: LinkId,
        /// What.
        packet: QuorumPacket,
    },
    /// A learner is gone.
    LearnerGone {
        /// Its connection.
        link: LinkId,
    },
    /// The answer to a ping of the leader's is due, with the sessions heard of since the last one.
    AnswerPing {
        /// The leader.
        link: LinkId,
        /// To be echoed.
        zxid: Zxid,
    },
    /// A quorum answered a ping that was sent after the question.
    Confirmed {
        /// As asked.
        token: u64,
    },
    /// What this member is from now on.
    Stand(Standing),
    /// The ensemble's configuration has changed, or is about to.
    Configured {
        /// As they are now.
        configs: Box<Configs>,
        /// What became of one.
        change: ConfigChange,
    },
}
