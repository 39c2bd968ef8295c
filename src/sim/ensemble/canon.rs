//! The canonical history: what was committed, extended when the first member applies it and never rewritten; the state at
//! every point of it; and what every client may rely on by it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::swarm::{FaultKind, Swarm};
use crate::ids::{ServerId, Zxid};
use crate::records::Stat;
use crate::records::membership::Membership;
use crate::records::txn::{Payload, Txn, decode_txn};
use crate::sim::Wrong;
use crate::sim::model::{Model, Touched, parent_of};
use crate::sim::oracle::{self, ChangeReply, ReadAnswer};
use crate::sim::request::SimRequest;
use crate::sim::who::SimUsers;

/// The refusal of a request that came over a connection its session has left.
const SESSION_MOVED: i32 = -118;
const NO_NODE: i32 = -101;

/// A write that a client has sent and of which nothing is committed yet.
pub(super) struct SentWrite {
    pub request: SimRequest,
    /// The connection, of all that there were, and the member at its other end.
    pub conn: u64,
    pub at: ServerId,
    /// The highest zxid that anybody had been acknowledged when it was sent (G-01).
    pub floor: i64,
}

/// A committed write whose client was not answered yet.
pub(super) struct CommittedWrite {
    pub zxid: i64,
    pub outcomes: Vec<ChangeReply>,
    pub code: i32,
}

/// A znode at some point of the history.
#[derive(Debug)]
pub(super) struct ZnodeView {
    data: Option<Vec<u8>>,
    stat: Stat,
    children: BTreeSet<String>,
}

/// A znode since this zxid; `None` while it is not there.
type SinceView = (i64, Option<Rc<ZnodeView>>);

pub(super) struct CommittedTxn {
    pub zxid: Zxid,
    pub bytes: Payload,
    pub touched: Vec<Touched>,
}

pub(super) struct Canon {
    /// The state at the end.
    pub model: Model,
    pub txns: Vec<CommittedTxn>,
    views: BTreeMap<String, Vec<SinceView>>,
    pub sent: BTreeMap<(i64, i32), SentWrite>,
    pub done: BTreeMap<(i64, i32), CommittedWrite>,
    /// The highest zxid of a write that somebody was acknowledged (G-01).
    pub acked: i64,
    /// The highest zxid of the header of any reply that somebody has read (G-04).
    pub shown: i64,
    /// Sessions that ended without their clients' asking for it.
    pub expired: u64,
    /// Every session that has ended, and where.
    pub ended: BTreeMap<i64, i64>,
    /// Sessions whose end some leader has proposed.
    pub closing: BTreeSet<i64>,
    /// Whether writes may be refused for want of room.
    pub may_refuse: bool,
    /// Whether sessions begin as ones that one member knows.
    pub has_local: bool,
    /// Who was established in which epoch (S-07).
    pub leaders: BTreeMap<u32, ServerId>,
    /// The last connection of each session over which a write came that had its effect (G-02).
    spoken: BTreeMap<i64, u64>,
    /// Who votes by the newest configuration that is committed, and its version.
    pub voters: Vec<ServerId>,
    pub config_version: Zxid,
    /// Every configuration that was committed, in order, and who votes by it.
    pub configs: Vec<(Zxid, Vec<ServerId>)>,
    /// How often each member has begun another part, or ended.
    parts: BTreeMap<ServerId, u64>,
    /// Who is a model of a server of Java's.
    pub models: BTreeSet<ServerId>,
    /// States that were reached.
    pub marks: BTreeMap<&'static str, u64>,
}

impl Canon {
    pub(super) fn new(swarm: &Swarm) -> Canon {
        let mut canon = Canon {
            model: Model::new(),
            txns: Vec::new(),
            views: BTreeMap::new(),
            sent: BTreeMap::new(),
            done: BTreeMap::new(),
            acked: 0,
            shown: 0,
            expired: 0,
            ended: BTreeMap::new(),
            closing: BTreeSet::new(),
            may_refuse: swarm.faults.contains(&FaultKind::DiskFull),
            has_local: swarm.local_sessions,
            leaders: BTreeMap::new(),
            spoken: BTreeMap::new(),
            voters: swarm.voters.clone(),
            models: swarm.beside.makes.keys().copied().collect(),
            config_version: Zxid::ZERO,
            configs: vec![(Zxid::ZERO, swarm.voters.clone())],
            parts: BTreeMap::new(),
            marks: BTreeMap::new(),
        };
        for path in canon.model.nodes.keys().cloned().collect::<Vec<_>>() {
            canon.remember(&path, 0);
        }
        canon
    }

    pub(super) fn mark(&mut self, mark: &'static str) {
        *self.marks.entry(mark).or_default() += 1;
    }

    /// A member begins another part, or ends: what only it knows is gone.
    pub(super) fn begins_anew(&mut self, id: ServerId) {
        *self.parts.entry(id).or_default() += 1;
    }

    pub(super) fn part_of(&self, id: ServerId) -> u64 {
        self.parts.get(&id).copied().unwrap_or(0)
    }

    pub(super) fn last(&self) -> Zxid {
        self.txns.last().map_or(Zxid::ZERO, |txn| txn.zxid)
    }

    pub(super) fn at(&self, zxid: Zxid) -> Option<&CommittedTxn> {
        let at = self.txns.binary_search_by_key(&zxid, |txn| txn.zxid).ok()?;
        self.txns.get(at)
    }

    /// Whether those who vote by the newest configuration are a quorum for whom this holds.
    pub(super) fn is_quorum(&self, has: impl Fn(ServerId) -> bool) -> bool {
        is_majority(&self.voters, has)
    }

    /// What was committed above `after`, up to `upto`.
    pub(super) fn between(&self, after: i64, upto: i64) -> &[CommittedTxn] {
        let from = self.txns.partition_point(|txn| txn.zxid.0 <= after);
        let to = self.txns.partition_point(|txn| txn.zxid.0 <= upto);
        &self.txns[from..to.max(from)]
    }

    fn remember(&mut self, path: &str, zxid: i64) {
        let view = self.model.nodes.get(path).map(|node| {
            Rc::new(ZnodeView {
                data: node.data.clone(),
                stat: self.model.stat(path).unwrap_or_default(),
                children: self.model.children(path),
            })
        });
        self.views.entry(path.to_owned()).or_default().push((zxid, view));
    }

    /// The znode as it was at `zxid`.
    pub(super) fn view(&self, path: &str, zxid: i64) -> Option<&ZnodeView> {
        let views = self.views.get(path)?;
        let at = views.partition_point(|(since, _)| *since <= zxid).checked_sub(1)?;
        views[at].1.as_deref()
    }

    /// Whether it was there at `zxid`, when its data changed last and when its children did.
    pub(super) fn changes(&self, path: &str, zxid: i64) -> Option<(i64, i64)> {
        self.view(path, zxid).map(|view| (view.stat.mzxid, view.stat.pzxid))
    }

    /// What a read ought to be answered from the state at `zxid`. `None` for what is no read of the state.
    pub(super) fn answer(&self, request: &SimRequest, zxid: i64) -> Option<ReadAnswer> {
        let view = |path: &str| self.view(path, zxid).ok_or(ReadAnswer::Error(NO_NODE));
        let answer = match request {
            SimRequest::Exists { path, .. } => view(path).map(|view| ReadAnswer::Stat(view.stat)),
            SimRequest::GetData { path, .. } => view(path).map(|view| ReadAnswer::Data(view.data.clone(), view.stat)),
            SimRequest::GetChildren { path, stat, .. } => {
                view(path).map(|view| ReadAnswer::Names(view.children.clone(), stat.then_some(view.stat)))
            }
            _ => return None,
        };
        Some(answer.unwrap_or_else(|error| error))
    }

    /// The next transaction is committed.
    pub(super) fn commit(&mut self, zxid: Zxid, bytes: &Payload) -> Result<(), Wrong> {
        let last = self.last();
        let follows = zxid.0 == last.0 + 1 || (zxid.epoch() > last.epoch() && zxid.counter() == 1);
        if !follows {
            return Err(format!("S-02, S-05, S-13: {zxid} is committed after {last}"));
        }
        if zxid.counter() > Zxid::counter_last() {
            return Err(format!("S-05, S-13: {zxid} is behind the last counter of its epoch"));
        }
        let (header, txn, _) = decode_txn(bytes).map_err(|error| format!("S-03: {zxid}: {error}"))?;
        if header.zxid != zxid {
            return Err(format!("S-03: {} stands at {zxid}", header.zxid));
        }
        let (session, time) = (header.session.0, header.time);
        let touched = match &txn {
            Txn::CreateSession(txn) => {
                if self.has_local && !self.model.local.contains(&session) {
                    return Err(format!("S-03: {zxid} begins 0x{session:x}, which no member has given out"));
                }
                self.model.begin(session, txn.timeout, zxid.0)?;
                if self.has_local {
                    self.mark("mark: a local session becomes known to all");
                }
                Vec::new()
            }
            Txn::CloseSession(listed) => {
                if header.cxid == 0 {
                    self.expired += 1;
                    self.mark("mark: a session expires");
                } else {
                    self.take_sent(session, header.cxid, zxid)?;
                    let answer = CommittedWrite { zxid: zxid.0, outcomes: vec![ChangeReply::Done], code: oracle::OK };
                    self.done.insert((session, header.cxid), answer);
                }
                let listed =
                    listed.as_ref().map(|txn| txn.paths.iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>());
                // Two may ask for the same end; the second time nothing happens.
                let again = !self.model.sessions.contains_key(&session) && self.ended.contains_key(&session);
                self.ended.insert(session, zxid.0);
                if again {
                    self.mark("mark: a session ends twice");
                }
                if listed.as_ref().is_some_and(|listed| !listed.is_empty()) {
                    self.mark("mark: a session ends with ephemerals");
                }
                match listed {
                    Some(listed) if again && listed.is_empty() => Vec::new(),
                    listed => self.model.end(session, listed.as_deref(), zxid.0)?,
                }
            }
            // Nobody asked for it, and the znode that tells it is each server's own.
            Txn::Reconfig(_) => {
                let config = Membership::of_txn(bytes).ok().flatten().filter(|config| config.version == zxid);
                let config = config.ok_or_else(|| format!("S-03: {zxid} is no configuration"))?;
                (self.voters, self.config_version) = (config.voters().collect(), zxid);
                self.configs.push((zxid, self.voters.clone()));
                self.mark("mark: another configuration is committed");
                Vec::new()
            }
            _ => self.write(session, header.cxid, &txn, zxid, time)?,
        };
        self.model.zxid = zxid.0;
        let mut paths: BTreeSet<&str> = touched.iter().map(|touched| touched.path.as_str()).collect();
        paths.extend(touched.iter().map(|touched| parent_of(&touched.path)));
        for path in paths.into_iter().map(str::to_owned).collect::<Vec<_>>() {
            self.remember(&path, zxid.0);
        }
        self.txns.push(CommittedTxn { zxid, bytes: Payload::clone(bytes), touched });
        Ok(())
    }

    fn write(&mut self, session: i64, cxid: i32, txn: &Txn<'_>, zxid: Zxid, time: i64) -> Result<Vec<Touched>, Wrong> {
        let sent = self.take_sent(session, cxid, zxid)?;
        let made = oracle::decisions(txn, session, &sent.request)?;
        let has_moved = made == [Err(SESSION_MOVED)];
        let expected = oracle::decide(&self.model, &sent.request, &SimUsers::default(), session, &BTreeMap::new());
        // A learner waits for a transaction, so what has no room is refused with one.
        let has_no_room = self.may_refuse && made.contains(&Err(oracle::QUOTA_EXCEEDED));
        if expected != made && !has_moved && !has_no_room {
            let id = oracle::verdict(&expected, &made, &sent.request);
            return Err(format!("{id}: {zxid}: {:?} became {made:?}, ought to be {expected:?}", sent.request));
        }
        // What comes late over a connection that the session has left has no effect any more.
        let spoken = self.spoken.entry(session).or_default();
        if !has_moved && sent.conn < *spoken {
            let (conn, left_for) = (sent.conn, *spoken);
            let what = format!("{zxid} of 0x{session:x} came over connection {conn}, left for {left_for}");
            return Err(format!("G-02: {what}: {:?}", sent.request));
        }
        if !has_moved {
            *spoken = sent.conn.max(*spoken);
        }
        let is_multi = matches!(sent.request, SimRequest::Multi(_));
        for (is_it, mark) in [
            (has_moved, "mark: a request comes when its session has moved"),
            (has_no_room && expected != made, "mark: a write is refused for want of room"),
            (is_multi && made.iter().any(Result::is_err), "mark: a multi fails"),
        ] {
            if is_it {
                self.mark(mark);
            }
        }
        let mut touched = Vec::new();
        let mut outcomes = Vec::new();
        let failed = made.iter().any(Result::is_err);
        for decision in &made {
            if let Ok(change) = decision
                && !failed
            {
                touched.extend(self.model.apply(change, zxid.0, time)?);
            }
            outcomes.push(oracle::outcome(&self.model, decision));
        }
        let code = match (txn, &made[..]) {
            (Txn::Error(_), [Err(code)]) => *code,
            _ => oracle::OK,
        };
        self.done.insert((session, cxid), CommittedWrite { zxid: zxid.0, outcomes, code });
        Ok(touched)
    }

    /// The request that a transaction comes from: it was sent, it has had no effect yet, and none sent before it on its
    /// connection was left out (G-02, S-03, S-34).
    fn take_sent(&mut self, session: i64, xid: i32, zxid: Zxid) -> Result<SentWrite, Wrong> {
        let Some(sent) = self.sent.remove(&(session, xid)) else {
            let why = if self.done.contains_key(&(session, xid)) { "has had its effect" } else { "nobody sent" };
            return Err(format!("S-03, S-34: {zxid} is of request {xid} of session 0x{session:x}, which {why}"));
        };
        if zxid.0 <= sent.floor {
            return Err(format!(
                "G-01, S-31: {zxid} is of a request that was sent when 0x{:x} had been acknowledged",
                sent.floor
            ));
        }
        let mut earlier = self.sent.range((session, i32::MIN)..(session, xid)).map(|(_, earlier)| earlier);
        match earlier.find(|earlier| earlier.conn == sent.conn) {
            // Without room a leader refuses some of its own clients', which leave no trace; a learner waits for one.
            Some(at) if self.may_refuse && self.leaders.get(&zxid.epoch()) == Some(&at.at) => Ok(sent),
            Some(skipped) => Err(format!("G-02: {zxid} before {:?} of the same connection", skipped.request)),
            None => Ok(sent),
        }
    }
}

/// Whether this holds for more than half of them.
pub(super) fn is_majority(voters: &[ServerId], has: impl Fn(ServerId) -> bool) -> bool {
    2 * voters.iter().filter(|voter| has(**voter)).count() > voters.len()
}
