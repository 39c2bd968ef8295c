//! What is true, seen from outside: the canonical history, the state it makes, and what everybody may rely on by it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Wrong;
use super::model::{Model, Touched};
use super::oracle::{self, ChangeReply, OracleChange, OracleQuotas};
use super::request::SimRequest;
use super::who::SimUsers;
use crate::ids::Zxid;
use crate::records::txn::{Payload, Proposal, Txn, decode_txn};

/// A write that was asked for and of whose transaction nothing is known yet.
pub(super) struct Wanted {
    pub request: SimRequest,
    pub who: SimUsers,
    /// Of the connection.
    pub conn: u64,
    /// When it reached the server, counted in requests; 0 while it did not.
    pub arrived: u64,
    /// The server was short of room: it may refuse without a trace.
    pub tight: bool,
}

/// A transaction that was proposed.
struct Tried {
    zxid: Zxid,
    txn: Payload,
    /// The quotas as they were when it was decided.
    quotas: Rc<OracleQuotas>,
}

/// A committed write whose client has no reply yet.
pub(super) struct UnreportedWrite {
    pub zxid: i64,
    pub outcomes: Vec<ChangeReply>,
    pub code: i32,
}

/// A session's time.
pub(super) struct Life {
    /// When the server last heard of it, ms.
    pub heard: u64,
    /// When a connection of it last had to wait: it does not expire for that.
    held: u64,
    /// Timeouts that may hold: since a restart any that was ever granted, else the last.
    pub least: i32,
    pub most: i32,
    granted: (i32, i32),
    /// Its end is proposed.
    pub closing: bool,
    /// Somebody with the right password was told that it is over, when so many requests had arrived.
    pub told: Option<u64>,
}

pub(super) struct Truth {
    pub model: Model,
    /// Committed transactions, from the first on. Never rewritten.
    pub history: Vec<(Zxid, Vec<u8>)>,
    /// Proposed since the start of the present process: what may turn up after a crash without having been committed.
    tried: Vec<Tried>,
    pub wanted: BTreeMap<(i64, i32), Wanted>,
    pub done: BTreeMap<(i64, i32), UnreportedWrite>,
    pub lives: BTreeMap<i64, Life>,
    pub passwords: BTreeMap<i64, Vec<u8>>,
    /// The highest zxid of a write that somebody was answered (G-04).
    pub acked: i64,
    /// Requests that have reached the server.
    pub arrivals: u64,
    /// The session of the last transaction, if that created one.
    pub created: Option<i64>,
    /// The session of the last transaction, if that ended one.
    pub ended: Option<i64>,
    pub never_used_ms: i64,
    pub tick_ms: u64,
}

impl Truth {
    pub(super) fn new(never_used_ms: i64, tick_ms: u64) -> Truth {
        Truth {
            model: Model::new(),
            history: Vec::new(),
            tried: Vec::new(),
            wanted: BTreeMap::new(),
            done: BTreeMap::new(),
            lives: BTreeMap::new(),
            passwords: BTreeMap::new(),
            acked: 0,
            arrivals: 0,
            created: None,
            ended: None,
            never_used_ms,
            tick_ms,
        }
    }

    pub(super) fn last(&self) -> Zxid {
        self.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    /// The server proposed these, at this moment, having decided them on the state as it is.
    pub(super) fn proposed(&mut self, proposals: &[Proposal], now: u64) -> Result<(), Wrong> {
        let quotas = Rc::new(self.model.quotas());
        for proposal in proposals {
            let Proposal { zxid, txn: bytes } = proposal;
            let before = self.tried.last().map_or(self.last(), |tried| tried.zxid.max(self.last()));
            if zxid.0 != before.0 + 1 {
                return Err(format!("S-02, S-13: {zxid} is proposed after {before}"));
            }
            let (header, txn, _) = decode_txn(bytes).map_err(|error| format!("S-03: {error}"))?;
            if matches!(txn, Txn::CloseSession(_))
                && let Some(life) = self.lives.get_mut(&header.session.0)
            {
                let silent = now.saturating_sub(life.heard);
                if header.cxid == 0 && silent < life.least.unsigned_abs().into() {
                    let (session, least) = (header.session, life.least);
                    return Err(format!("G-10, S-35: {session} expires after {silent} ms of {least}"));
                }
                life.closing = true;
            }
            self.tried.push(Tried { zxid: *zxid, txn: Payload::clone(bytes), quotas: Rc::clone(&quotas) });
        }
        for (session, life) in &self.lives {
            let silent = now.saturating_sub(life.heard.max(life.held));
            if !life.closing && silent > u64::from(life.most.unsigned_abs()) + 2 * self.tick_ms {
                return Err(format!("L-05: session 0x{session:x} lives after {silent} ms of silence"));
            }
        }
        Ok(())
    }

    /// What was proposed and is not committed could not be logged, and never will be.
    pub(super) fn abandoned(&mut self) {
        let last = self.last();
        for tried in self.tried.extract_if(.., |tried| tried.zxid > last) {
            if let Ok((header, _, _)) = decode_txn(&tried.txn) {
                self.wanted.remove(&(header.session.0, header.cxid));
            }
        }
        self.lives.values_mut().for_each(|life| life.closing = false);
    }

    /// The next transaction is committed: the state moves on. What it touched is for the watchers.
    pub(super) fn committed(&mut self, zxid: Zxid, bytes: &[u8], now: u64) -> Result<Vec<Touched>, Wrong> {
        let last = self.last();
        if zxid.0 != last.0 + 1 {
            return Err(format!("S-02, S-13: {zxid} committed after {last}"));
        }
        let tried = self.tried.iter().find(|tried| tried.zxid == zxid);
        let Some(tried) = tried.filter(|tried| &*tried.txn == bytes) else {
            return Err(format!("S-03: {zxid} is committed and was never proposed like that"));
        };
        let quotas = Rc::clone(&tried.quotas);
        let (header, txn, _) = decode_txn(bytes).map_err(|error| format!("S-03: {zxid}: {error}"))?;
        if header.zxid != zxid {
            return Err(format!("S-03: {} stands at {zxid}", header.zxid));
        }
        let (session, time) = (header.session.0, header.time);
        (self.created, self.ended) = (None, None);
        let touched = match &txn {
            Txn::CreateSession(txn) => {
                self.model.begin(session, txn.timeout, zxid.0)?;
                let granted = (txn.timeout, txn.timeout);
                let (least, most) = granted;
                self.lives
                    .insert(session, Life { heard: now, held: now, least, most, granted, closing: false, told: None });
                self.created = Some(session);
                Vec::new()
            }
            Txn::CloseSession(listed) => {
                if header.cxid != 0 {
                    self.take_wanted(session, header.cxid, zxid)?;
                    let outcomes = vec![ChangeReply::Done];
                    self.done
                        .insert((session, header.cxid), UnreportedWrite { zxid: zxid.0, outcomes, code: oracle::OK });
                }
                self.lives.remove(&session);
                self.ended = Some(session);
                // A client may ask twice; the second time nothing happens.
                let again = header.cxid != 0 && !self.model.sessions.contains_key(&session);
                let listed =
                    listed.as_ref().map(|txn| txn.paths.iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>());
                match listed {
                    Some(listed) if again && listed.is_empty() => Vec::new(),
                    listed => self.model.end(session, listed.as_deref(), zxid.0)?,
                }
            }
            Txn::DeleteContainer(txn) => {
                let path = txn.path.as_str().to_owned();
                if !self.model.may_go(&path, time, self.never_used_ms) {
                    let node = self.model.nodes.get(&path);
                    return Err(format!("G-03, TTL: {path} is taken away at {time} and may not go: {node:?}"));
                }
                self.model.apply(&OracleChange::Delete { path }, zxid.0, time)?
            }
            _ => {
                let wanted = self.take_wanted(session, header.cxid, zxid)?;
                if self.lives.get(&session).is_some_and(|life| life.told.is_some_and(|told| told < wanted.arrived)) {
                    return Err(format!("S-35: 0x{session:x} acts after somebody was told that it is over"));
                }
                let made = oracle::decisions(&txn, session, &wanted.request)?;
                self.agree(session, &wanted, &made, &quotas, zxid)?;
                let refused_whole = matches!(txn, Txn::Error(_));
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
                let code = match (refused_whole, &made[..]) {
                    (true, [Err(code)]) => *code,
                    _ => oracle::OK,
                };
                self.done.insert((session, header.cxid), UnreportedWrite { zxid: zxid.0, outcomes, code });
                touched
            }
        };
        self.model.zxid = zxid.0;
        self.history.push((zxid, bytes.to_vec()));
        Ok(touched)
    }

    /// The transaction is what the request ought to become.
    fn agree(
        &self,
        session: i64,
        wanted: &Wanted,
        made: &[oracle::Decision],
        quotas: &OracleQuotas,
        zxid: Zxid,
    ) -> Result<(), Wrong> {
        let expected = oracle::decide(&self.model, &wanted.request, &wanted.who, session, quotas);
        if expected == made {
            return Ok(());
        }
        let now = oracle::decide(&self.model, &wanted.request, &wanted.who, session, &self.model.quotas());
        if now == made {
            return Ok(());
        }
        let id = oracle::verdict(&expected, made, &wanted.request);
        let (request, who) = (&wanted.request, &wanted.who);
        Err(format!("{id}: {zxid}: {request:?} by {who:?} became {made:?}, ought to be {expected:?}"))
    }

    /// The request that this transaction comes from: it was asked, it arrived, and none before it was left out.
    fn take_wanted(&mut self, session: i64, xid: i32, zxid: Zxid) -> Result<Wanted, Wrong> {
        let Some(wanted) = self.wanted.remove(&(session, xid)) else {
            return Err(format!("S-03, S-34: {zxid} for request {xid} of 0x{session:x}, which is not waited for"));
        };
        if wanted.arrived == 0 {
            return Err(format!("S-03, SC-41: {zxid} for request {xid} of 0x{session:x}, which never arrived"));
        }
        let mut earlier = self.wanted.range((session, i32::MIN)..(session, xid)).map(|(_, earlier)| earlier);
        if let Some(skipped) = earlier.find(|earlier| earlier.conn == wanted.conn && !earlier.tight) {
            return Err(format!("G-02: {zxid} before {:?} of the same connection", skipped.request));
        }
        Ok(wanted)
    }

    /// A server opened the file: everybody gets a full timeout (G-10), and nothing else is under way.
    pub(super) fn reopened(&mut self, now: u64) {
        for life in self.lives.values_mut() {
            (life.heard, life.closing) = (now, false);
            (life.least, life.most) = life.granted;
        }
        self.tried.clear();
        self.wanted.clear();
        self.done.clear();
    }

    /// A session is resumed with this timeout.
    pub(super) fn resumed(&mut self, session: i64, timeout: i32, now: u64) {
        if let Some(life) = self.lives.get_mut(&session) {
            life.granted = (life.granted.0.min(timeout), life.granted.1.max(timeout));
            (life.heard, life.least, life.most) = (now, timeout, timeout);
        }
    }

    /// A connection of a session waits for the server.
    pub(super) fn waits(&mut self, session: i64, now: u64) {
        if let Some(life) = self.lives.get_mut(&session) {
            life.held = now;
        }
    }

    /// The server heard of a session.
    pub(super) fn heard(&mut self, session: i64, now: u64) {
        if let Some(life) = self.lives.get_mut(&session).filter(|life| !life.closing) {
            life.heard = now;
        }
    }

    /// Whether a write that reached the server before arrival number `before` is still to be decided about (G-04).
    pub(super) fn unsettled(&self, before: u64) -> Option<&Wanted> {
        self.wanted.values().find(|wanted| wanted.arrived != 0 && wanted.arrived < before && !wanted.tight)
    }
}
