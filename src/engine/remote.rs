//! A leader's learners: their clients' requests become transactions, their sessions are known, moved and touched.
//!
//! 1. A request brings exactly one transaction, whatever becomes of it, because a learner waits for it at the head of a
//!    queue. A refusal that a client of ours would get without a transaction is one here.
//! 2. The requests of a learner are decided in the order in which they came. Where one must wait, those behind it do; those of
//!    other learners do not. Where many wait, learners take turns.
//! 3. One connection speaks for a session: a learner's or one of ours. The requests of others are refused with
//!    `SessionMoved`, and their clients are closed without an answer.
//!
//! Source: ZooKeeper 3.9 `LearnerHandler`, `Leader.processSync`, `PrepRequestProcessor`, `SessionTrackerImpl.checkSession`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::caller::{Caller, Requester};
use super::conn::{CloseReason, ConnId};
use super::duty::{Outgoing, Violation};
use super::forward::{REQUEST_HEAD_SIZE, TOUCH_SIZE};
use super::identity::Identities;
use super::request::is_write;
use super::{Duty, Engine};
use crate::failpoint::{self, Failpoint};
use crate::ids::{LinkId, ServerId, SessionId, Zxid};
use crate::records::peer::{PacketType, QuorumPacket};
use crate::records::txn::{CreateSessionTxn, Txn};
use crate::records::{ErrorCode, Id, OpCode};

/// Bytes of requests of one learner that wait to be decided. Above: its connection is closed.
const WAITING_SIZE_MAX: usize = 64 << 20;
/// Ended sessions that are remembered. Of one that is forgotten, a request that was on the way all the while is let through.
const ENDED_MAX: usize = 100_000;
/// What a request costs beside its bytes.
const REQUEST_OVERHEAD: usize = 128;

/// A learner that has sent something.
struct ForwardingLearner {
    server: ServerId,
    /// Its requests that are not decided yet, oldest first.
    waiting: VecDeque<LearnerRequest>,
    /// Bytes of them.
    waiting_size: usize,
    /// The identities of the last requester: most requests of a learner come from few clients.
    who: Arc<Identities>,
}

/// A request of a learner's client.
struct LearnerRequest {
    session: SessionId,
    cxid: i32,
    op: OpCode,
    who: Arc<Identities>,
    /// How often its session had moved when it came.
    moves: u64,
    /// As it came: the body is behind the head.
    data: Arc<[u8]>,
}

impl LearnerRequest {
    fn size(&self) -> usize {
        REQUEST_OVERHEAD + self.data.len()
    }

    fn body(&self) -> &[u8] {
        &self.data[REQUEST_HEAD_SIZE..]
    }
}

/// A `sync` of a client of ours or of a learner's.
struct Syncing {
    /// What was proposed before it.
    upto: Zxid,
    /// The question that was asked after it came.
    token: u64,
    session: SessionId,
    requester: Requester,
}

/// Which connection speaks for a session.
struct Speaker {
    requester: Requester,
    /// How often it was another server's before, since this one leads.
    moves: u64,
}

/// What a leader knows of its learners, and which requester speaks for each session.
#[derive(Default)]
pub(super) struct Remote {
    learners: BTreeMap<LinkId, ForwardingLearner>,
    /// Which connection speaks for a session. That of a learner which is gone lets no other speak before the session is resumed.
    speaks_for: BTreeMap<SessionId, Speaker>,
    /// Sessions of learners' clients whose beginning is decided and not applied here, and whether their end is decided, too.
    /// Others may have it on their disks before we do, and their clients write.
    beginning: BTreeMap<SessionId, bool>,
    /// Where local sessions are on: the sessions of all servers that have ended last, oldest first.
    ended: VecDeque<SessionId>,
    /// The same.
    has_ended: BTreeSet<SessionId>,
    /// Requests of all learners that are not decided yet.
    waiting_count: usize,
    /// Whose request of those was decided last: the next learner is the first to be asked.
    last_turn: Option<LinkId>,
    /// Transactions of learners' requests that are not applied yet.
    proposed: VecDeque<(Zxid, LinkId)>,
    /// Unanswered, oldest first.
    syncs: VecDeque<Syncing>,
    /// How many of them each session has.
    syncs_of: BTreeMap<SessionId, usize>,
    /// The last question asked. It only grows, so that a late answer is known for what it is.
    token: u64,
    /// Whether the last question is still here: then a `sync` that comes now shares it.
    is_asking: bool,
    /// A quorum has answered this question, and so all before it.
    confirmed: u64,
    /// Up to where learners were told that it is committed. We apply it later while our own disk is slow.
    committed: Zxid,
}

impl Remote {
    /// The role ends.
    pub(super) fn lay_down(&mut self) {
        *self = Remote { token: self.token, confirmed: self.token, ..Remote::default() };
    }

    /// A `sync` that comes from now on asks anew.
    pub(super) fn question_left(&mut self) {
        self.is_asking = false;
    }

    pub(super) fn syncs(&self) -> usize {
        self.syncs.len()
    }

    /// Requests of learners that were taken and not decided.
    pub(super) fn len(&self) -> usize {
        self.waiting_count
    }

    pub(super) fn is_there(&self, link: LinkId) -> bool {
        self.learners.contains_key(&link)
    }

    /// It speaks for the session from now on.
    pub(super) fn set_speaker(&mut self, session: SessionId, requester: Requester) {
        let speaker = self.speaks_for.entry(session).or_insert(Speaker { requester, moves: 0 });
        speaker.moves += u64::from(!speaker.requester.is_same_server(requester));
        speaker.requester = requester;
    }

    fn moves_of(&self, session: SessionId) -> u64 {
        if failpoint::on(Failpoint::MovedNotEnforced) {
            return 0;
        }
        self.speaks_for.get(&session).map_or(0, |speaker| speaker.moves)
    }

    /// Whether the session's beginning is decided and not applied here yet, nor its end decided.
    pub(super) fn is_beginning(&self, session: SessionId) -> bool {
        self.beginning.get(&session) == Some(&false)
    }

    /// Its beginning is decided.
    pub(super) fn begins(&mut self, session: SessionId) {
        self.beginning.insert(session, false);
    }

    /// Sessions whose beginning is decided and not applied.
    pub(super) fn beginning(&self) -> impl Iterator<Item = SessionId> {
        self.beginning.keys().copied()
    }

    /// Whether the end of such a session is decided.
    pub(super) fn ends_before_it_began(&self, session: SessionId) -> bool {
        self.beginning.get(&session) == Some(&true)
    }

    /// Its beginning is applied: from now on the table of sessions tells. Whether its end is decided.
    pub(super) fn has_begun(&mut self, session: SessionId) -> bool {
        self.beginning.remove(&session) == Some(true)
    }

    /// Its end is decided. With local sessions a learner may ask for sessions that we do not know, and those that have ended are
    /// to be told from them, while their requests are still on the way.
    pub(super) fn end_is_decided(&mut self, session: SessionId, has_local: bool) {
        if let Some(ends) = self.beginning.get_mut(&session) {
            *ends = true;
        }
        if has_local && self.has_ended.insert(session) {
            self.ended.push_back(session);
        }
        if self.ended.len() > ENDED_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.has_ended.remove(&oldest);
        }
    }

    pub(super) fn has_ended(&self, session: SessionId) -> bool {
        self.has_ended.contains(&session)
    }

    /// The session has ended.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.speaks_for.remove(&session);
    }

    /// A transaction is applied.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        while self.proposed.front().is_some_and(|&(at, _)| at <= zxid) {
            self.proposed.pop_front();
        }
    }

    pub(super) fn note_proposed(&mut self, zxid: Zxid, link: LinkId) {
        self.proposed.push_back((zxid, link));
    }

    /// Sessions for which somebody speaks.
    #[cfg(test)]
    pub(super) fn speakers(&self) -> usize {
        self.speaks_for.len()
    }

    /// Learners that wait for what will never come.
    pub(super) fn take_abandoned(&mut self) -> Vec<LinkId> {
        // Who has ended is asked only of sessions that are not in the table, so ends that come to nothing may stay here.
        self.beginning.clear();
        let mut links: Vec<LinkId> = self.proposed.drain(..).map(|(_, link)| link).collect();
        links.sort_unstable();
        links.dedup();
        links
    }
}

fn two<const N: usize>(data: &[u8]) -> Option<([u8; N], i32, &[u8])> {
    let (first, rest) = data.split_first_chunk::<N>()?;
    let (second, rest) = rest.split_first_chunk::<4>()?;
    Some((*first, i32::from_be_bytes(*second), rest))
}

impl Engine {
    /// Takes a packet of a learner's: a request, a question about a session, the answer to a ping.
    ///
    /// # Errors
    /// [`Violation`] when it breaks the protocol: then its connection is to be closed.
    pub fn from_learner(&mut self, from: ServerId, link: LinkId, packet: &QuorumPacket) -> Result<(), Violation> {
        let Duty::Decide { .. } = self.duty else { return Ok(()) };
        self.remote.learners.entry(link).or_insert_with(|| ForwardingLearner {
            server: from,
            waiting: VecDeque::new(),
            waiting_size: 0,
            who: Arc::new(Identities::of(&[])),
        });
        self.spent.begin();
        match packet.kind {
            PacketType::REQUEST => self.requested(link, packet),
            PacketType::REVALIDATE => self.asked_about(link, packet),
            PacketType::PING => self.heard_of(packet.data()),
            other => Err(Violation(format!("{other} is not for an engine that leads"))),
        }
    }

    /// A learner is gone, and its clients' requests with it.
    pub fn learner_gone(&mut self, link: LinkId) {
        let Some(learner) = self.remote.learners.remove(&link) else { return };
        log::debug!("server {} is gone; no server speaks for the sessions of its clients", learner.server);
        self.remote.waiting_count -= learner.waiting.len();
        let gone = |sync: &Syncing| matches!(sync.requester, Requester::Learner(of) if of == link);
        let (lost, kept) = std::mem::take(&mut self.remote.syncs).into_iter().partition(gone);
        self.remote.syncs = kept;
        let lost: VecDeque<Syncing> = lost;
        lost.iter().for_each(|sync| self.sync_done(sync.session));
    }

    /// A quorum has answered something that was sent after the question with this token was asked.
    pub fn confirmed(&mut self, token: u64) {
        if matches!(self.duty, Duty::Decide { .. }) && token <= self.remote.token {
            self.remote.confirmed = self.remote.confirmed.max(token);
            self.answer_syncs();
            self.refuse_upto(self.remote.confirmed);
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Requests

    fn requested(&mut self, link: LinkId, packet: &QuorumPacket) -> Result<(), Violation> {
        let Some(data) = &packet.data else { return Err(Violation("a request without data".into())) };
        let Some((session, cxid, rest)) = two::<8>(data) else {
            return Err(Violation(format!("a request of {} bytes has no head", data.len())));
        };
        let Some((op, _)) = rest.split_first_chunk::<4>() else {
            return Err(Violation(format!("a request of {} bytes has no head", data.len())));
        };
        let (session, number) = (SessionId(i64::from_be_bytes(session)), i32::from_be_bytes(*op));
        let op = OpCode::from_i32(number).filter(|op| is_forwarded(*op));
        let Some(op) = op else { return Err(Violation(format!("operation {number} is none that is forwarded"))) };
        // Where no answer to a ping gets through, this is all that is heard of its client.
        self.state.sessions.touch(self.clock.listened(), session);
        let who = self.identities_of(link, packet.authinfo.as_deref().unwrap_or_default());
        let moves = self.remote.moves_of(session);
        let request = LearnerRequest { session, cxid, op, who, moves, data: Arc::clone(data) };
        if op == OpCode::CreateSession {
            if request.body().len() < 4 {
                return Err(Violation("a session without a timeout".into()));
            }
            if !crate::session::may_be_issued(session) {
                return Err(Violation(format!("{session} cannot be a session's id")));
            }
        }
        // Whoever waits already and needs to wait no longer comes first.
        if !self.waits(link) && self.may_decide(&request) && !self.has_requests() {
            self.decide_request(link, request);
            return Ok(());
        }
        let size = request.size();
        let Some(learner) = self.remote.learners.get_mut(&link) else { return Ok(()) };
        if learner.waiting_size + size > WAITING_SIZE_MAX {
            return Err(Violation(format!("more than {WAITING_SIZE_MAX} bytes of requests wait")));
        }
        learner.waiting_size += size;
        learner.waiting.push_back(request);
        self.remote.waiting_count += 1;
        Ok(())
    }

    fn waits(&self, link: LinkId) -> bool {
        self.remote.learners.get(&link).is_some_and(|learner| !learner.waiting.is_empty())
    }

    fn identities_of(&mut self, link: LinkId, ids: &[Id<'static>]) -> Arc<Identities> {
        match self.remote.learners.get_mut(&link) {
            Some(learner) => {
                if learner.who.ids() != ids {
                    learner.who = Arc::new(Identities::of(ids));
                }
                Arc::clone(&learner.who)
            }
            None => Arc::new(Identities::of(ids)),
        }
    }

    /// Whether a request may be decided now. What it asks for may have to wait for a multi that is being decided, for the
    /// log, or for the answer to the `sync` in front of it: a learner answers its clients in order.
    fn may_decide(&self, request: &LearnerRequest) -> bool {
        !self.is_deciding()
            && self.decider.log_budget > 0
            && !self.epoch_is_used_up()
            && (request.op == OpCode::Sync || !self.remote.syncs_of.contains_key(&request.session))
    }

    /// Decides what learners asked for, as far as it may be now, a request of each in turn.
    pub(super) fn decide_requests(&mut self) {
        while !self.spent.is_over()
            && let Some(link) = self.next_turn()
            && let Some(learner) = self.remote.learners.get_mut(&link)
            && let Some(request) = learner.waiting.pop_front()
        {
            learner.waiting_size -= request.size();
            self.remote.waiting_count -= 1;
            self.remote.last_turn = Some(link);
            self.decide_request(link, request);
        }
    }

    /// The learner whose oldest request is to be decided next.
    fn next_turn(&self) -> Option<LinkId> {
        if self.remote.waiting_count == 0 {
            return None;
        }
        let learners = &self.remote.learners;
        let behind = self.remote.last_turn.map_or(Unbounded, Excluded);
        let in_turn = learners.range((behind, Unbounded)).chain(learners);
        let is_due =
            |learner: &ForwardingLearner| learner.waiting.front().is_some_and(|oldest| self.may_decide(oldest));
        in_turn.filter(|(_, learner)| is_due(learner)).map(|(link, _)| *link).next()
    }

    /// Whether [`Engine::decide_requests`] has something to do.
    pub(super) fn has_requests(&self) -> bool {
        self.next_turn().is_some()
    }

    fn decide_request(&mut self, link: LinkId, request: LearnerRequest) {
        self.spent.add(8 + request.data.len() / 32);
        let LearnerRequest { session, cxid, op, ref who, moves, .. } = request;
        let requester = Requester::Learner(link);
        let caller = Caller { session, requester, who: Arc::clone(who) };
        match op {
            OpCode::Sync => self.ask(session, requester),
            OpCode::CreateSession => {
                let timeout = request.body().first_chunk::<4>().map_or(0, |timeout| i32::from_be_bytes(*timeout));
                self.remote.set_speaker(session, requester);
                if !self.state.sessions.is_live(session) {
                    self.remote.begins(session);
                }
                self.propose_for(&caller, cxid, op, &Txn::CreateSession(CreateSessionTxn { timeout }));
            }
            // What a client of ours may not ask for. A learner of ZooKeeper's forwards it.
            OpCode::Check | OpCode::DeleteContainer => {
                self.propose_for(&caller, cxid, op, &Txn::error(ErrorCode::Unimplemented));
            }
            // It has waited while the session was elsewhere, and came back: what was sent later has had its effect there.
            _ if is_write(op) && op != OpCode::CloseSession && moves != self.remote.moves_of(session) => {
                self.propose_for(&caller, cxid, op, &Txn::error(ErrorCode::SessionMoved));
            }
            _ => self.decide_for(caller, cxid, op, request.body()),
        }
    }

    /// Whether this requester may have a request of the session decided. No requester speaks for a session until its first
    /// request after an election. From then on it speaks until the session is resumed elsewhere: what comes from where the
    /// session was would have its effect behind what was sent later (G-02), though the server it moved to be gone.
    pub(super) fn speaks_for(&mut self, session: SessionId, requester: Requester) -> bool {
        let is_known = self.state.sessions.is_live(session) || self.remote.is_beginning(session);
        let is_unchecked = failpoint::on(Failpoint::MovedNotEnforced);
        if !matches!(self.duty, Duty::Decide { .. }) || !is_known || is_unchecked {
            return true;
        }
        match self.remote.speaks_for.get(&session) {
            Some(speaker) => speaker.requester.is_same_server(requester),
            None => {
                self.remote.set_speaker(session, requester);
                true
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Sessions

    /// Is this session alive? If it is, the learner that asks speaks for it from now on.
    fn asked_about(&mut self, link: LinkId, packet: &QuorumPacket) -> Result<(), Violation> {
        let Some((id, timeout_ms, _)) = two::<8>(packet.data()) else {
            let length = packet.data().len();
            return Err(Violation(format!("a question about a session has {length} bytes")));
        };
        let session = SessionId(i64::from_be_bytes(id));
        if !self.is_answered(link, session, timeout_ms) {
            self.deny_once_it_leads(link, session, timeout_ms)?;
        }
        Ok(())
    }

    /// Whether what a learner asks about a session is answered by what is known of it, or will be.
    pub(super) fn is_answered(&mut self, link: LinkId, session: SessionId, timeout_ms: i32) -> bool {
        if self.is_ending(session) {
            self.tell_of_the_end(session, Requester::Learner(link));
        } else if self.remote.is_beginning(session) {
            self.moves_to(link, session);
        } else if self.state.sessions.is_live(session) {
            self.state.sessions.set_timeout(self.clock.listened(), session, timeout_ms.max(0));
            self.moves_to(link, session);
        } else {
            return false;
        }
        true
    }

    /// A learner speaks for the session from now on.
    pub(super) fn moves_to(&mut self, link: LinkId, session: SessionId) {
        self.remote.set_speaker(session, Requester::Learner(link));
        self.counters.resumed += 1;
        if let Some(moved) = self.conns.owner_of(session) {
            self.close(moved, CloseReason::Moved);
        }
        self.answer_learner(link, session, true);
    }

    /// The answer to a learner's question.
    pub(super) fn answer_learner(&mut self, link: LinkId, session: SessionId, is_valid: bool) {
        let mut data = session.0.to_be_bytes().to_vec();
        data.push(u8::from(is_valid));
        let packet = QuorumPacket::with_data(PacketType::REVALIDATE, Zxid(-1), data.into());
        self.packets.push_back(Outgoing::ToLearner { link, packet });
    }

    /// Sessions that a learner has heard of.
    fn heard_of(&mut self, data: &[u8]) -> Result<(), Violation> {
        if !data.len().is_multiple_of(TOUCH_SIZE) {
            return Err(Violation(format!("the answer to a ping has {} bytes", data.len())));
        }
        let now = self.clock.listened();
        let mut rest = data;
        while let Some((id, timeout_ms, behind)) = two::<8>(rest) {
            self.state.sessions.touch_for(now, SessionId(i64::from_be_bytes(id)), timeout_ms);
            rest = behind;
        }
        Ok(())
    }

    // -----------------------------------------------------------------------------------------------------------
    // `sync`

    /// A `sync` is answered once what was proposed before it is applied and a quorum has confirmed, after it came, that
    /// this server leads (G-04). Those that come before the question has left share it.
    pub(super) fn ask(&mut self, session: SessionId, requester: Requester) {
        let (upto, token) = (self.last_proposed(), self.question());
        let remote = &mut self.remote;
        remote.syncs.push_back(Syncing { upto, token, session, requester });
        *remote.syncs_of.entry(session).or_default() += 1;
        if failpoint::on(Failpoint::SyncUnconfirmed) {
            self.answer_syncs();
        }
    }

    /// The question whether this server still leads that a quorum answers next.
    pub(super) fn question(&mut self) -> u64 {
        let remote = &mut self.remote;
        if !std::mem::replace(&mut remote.is_asking, true) {
            remote.token += 1;
            self.packets.push_back(Outgoing::Confirm { token: remote.token });
        }
        remote.token
    }

    fn sync_done(&mut self, session: SessionId) {
        if let Some(count) = self.remote.syncs_of.get_mut(&session) {
            *count -= 1;
            if *count == 0 {
                self.remote.syncs_of.remove(&session);
            }
        }
    }

    /// Learners have been told that everything up to `zxid` is committed.
    pub fn committed(&mut self, zxid: Zxid) {
        if zxid > self.remote.committed && matches!(self.duty, Duty::Decide { .. }) {
            self.remote.committed = zxid;
            self.answer_syncs();
        }
    }

    /// Answers whatever `sync` is reached and confirmed. That of a learner's client is reached once the learner was told of the
    /// commits: it waits for its own disk, and not for ours.
    pub(super) fn answer_syncs(&mut self) {
        let (shown, confirmed) = (self.shown(), self.remote.confirmed);
        let told = self.remote.committed.max(shown);
        let is_confirmed = |sync: &Syncing| sync.token <= confirmed || failpoint::on(Failpoint::SyncUnconfirmed);
        let is_due = |sync: &Syncing| {
            let reached = if matches!(sync.requester, Requester::Learner(_)) { told } else { shown };
            sync.upto <= reached && is_confirmed(sync)
        };
        // The oldest is behind no more than the others are, and its question is the oldest.
        if !self.remote.syncs.front().is_some_and(|sync| sync.upto <= told && is_confirmed(sync)) {
            return;
        }
        let (due, waiting) = std::mem::take(&mut self.remote.syncs).into_iter().partition(is_due);
        self.remote.syncs = waiting;
        let due: VecDeque<Syncing> = due;
        for sync in due {
            self.sync_done(sync.session);
            match sync.requester {
                Requester::Client(id) => self.sync_reached(id, shown),
                Requester::Learner(link) => {
                    let packet = QuorumPacket::bare(PacketType::SYNC, Zxid::ZERO);
                    self.packets.push_back(Outgoing::ToLearner { link, packet });
                }
            }
        }
    }

    /// What they were behind has come to nothing.
    pub(super) fn syncs_abandoned(&mut self) {
        let applied = self.state.applied;
        for sync in &mut self.remote.syncs {
            sync.upto = sync.upto.min(applied);
        }
        self.answer_syncs();
    }

    /// A connection of ours speaks for the session.
    pub(super) fn speaks_here(&mut self, session: SessionId, id: ConnId) {
        if matches!(self.duty, Duty::Decide { .. }) {
            self.remote.set_speaker(session, Requester::Client(id));
        }
    }
}

/// What a learner may ask for: what its clients write, and `sync`.
fn is_forwarded(op: OpCode) -> bool {
    is_write(op) || matches!(op, OpCode::DeleteContainer | OpCode::Check | OpCode::Sync | OpCode::CreateSession)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_sessions_that_have_ended_so_many_are_remembered_and_the_oldest_are_forgotten() {
        // S-44
        let mut remote = Remote::default();
        remote.end_is_decided(SessionId(-1), false);
        assert!(!remote.has_ended(SessionId(-1)), "without local sessions nobody asks");
        for number in 1..=ENDED_MAX as i64 + 2 {
            remote.end_is_decided(SessionId(number), true);
            remote.end_is_decided(SessionId(number), true);
        }
        assert_eq!((remote.ended.len(), remote.has_ended.len()), (ENDED_MAX, ENDED_MAX));
        assert!(!remote.has_ended(SessionId(2)) && remote.has_ended(SessionId(3)));
        assert!(remote.has_ended(SessionId(ENDED_MAX as i64 + 2)));
    }
}
