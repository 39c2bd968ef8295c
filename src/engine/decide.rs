//! From request to transaction: each write is checked against the state it will apply to, and becomes a transaction or
//! a refusal. The first failing check decides the error; their order is ZooKeeper's.
//!
//! Source: ZooKeeper 3.9 `PrepRequestProcessor`.

use std::sync::Arc;

use super::caller::{Caller, Requester};
use super::conn::ConnId;
use super::identity::fix_up;
use super::outstanding::View;
use super::request::decoder;
use super::settings::RECORD_OVERHEAD;
use super::{Duty, Engine, LogSpace};
use crate::failpoint::{self, Failpoint};
use crate::ids::{SessionId, Zxid};
use crate::jute::{FIELD_SIZE_MAX, Text};
use crate::path;
use crate::records::requests::{
    CreateRequest, CreateTtlRequest, PathVersionRequest, ReconfigRequest, SetAclRequest, SetDataRequest,
};
use crate::records::txn::{
    CheckVersionTxn, CloseSessionTxn, CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn, SetAclTxn, SetDataTxn,
    Txn,
};
use crate::records::{Acl, CreateMode, ErrorCode, OpCode, perms};
use crate::tree::{AclList, Owner};

const TTL_MS_MAX: i64 = (1 << 40) - 1;

/// Ephemerals up to this many are listed by the transaction that ends their session.
const LISTED_MAX: usize = 256;

/// How a refused request is answered.
enum DecisionRefused {
    /// As a transaction, like every write.
    Logged(ErrorCode),
    /// At once, leaving no trace in the history.
    Unlogged(ErrorCode),
}

impl From<ErrorCode> for DecisionRefused {
    fn from(code: ErrorCode) -> Self {
        DecisionRefused::Logged(code)
    }
}

/// A request that could not be parsed leaves no trace; one that could and names no path does, as with ZooKeeper.
fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecisionRefused> {
    decoder(body).read().map_err(|_| DecisionRefused::Unlogged(ErrorCode::MarshallingError))
}

impl Engine {
    /// Decides a write of a client and proposes the outcome.
    pub(super) fn write(&mut self, id: ConnId, xid: i32, op: OpCode, body: &[u8]) {
        match self.duty {
            Duty::Alone { .. } | Duty::Decide { .. } => {
                let Some(conn) = self.conns.get(id) else { return };
                let caller =
                    Caller { session: conn.session, requester: Requester::Client(id), who: Arc::clone(&conn.who) };
                self.decide_for(caller, xid, op, body);
            }
            Duty::Forward { .. } => self.forward_write(id, xid, op, body),
            Duty::ReadOnly | Duty::None => self.refuse_write(id, xid, op),
        }
    }

    /// Decides a write of any caller.
    pub(super) fn decide_for(&mut self, caller: Caller, xid: i32, op: OpCode, body: &[u8]) {
        // The end of a session may come from anywhere.
        if op != OpCode::CloseSession && !self.speaks_for(caller.session, caller.requester) {
            return self.propose_for(&caller, xid, op, &Txn::error(ErrorCode::SessionMoved));
        }
        if op == OpCode::Multi {
            return self.multi(xid, caller, body);
        }
        if body.len() > self.record_size_max().saturating_sub(RECORD_OVERHEAD) {
            return self.refuse_unlogged(&caller, xid, op, ErrorCode::BadArguments);
        }
        match self.decide(&caller, op, body) {
            Ok(txn) => self.propose_for(&caller, xid, op, &txn),
            Err(DecisionRefused::Logged(code)) => self.propose_for(&caller, xid, op, &Txn::error(code)),
            Err(DecisionRefused::Unlogged(code)) => self.refuse_unlogged(&caller, xid, op, code),
        }
    }

    /// Refuses without a transaction, unless a learner waits for one.
    pub(super) fn refuse_unlogged(&mut self, caller: &Caller, xid: i32, op: OpCode, code: ErrorCode) {
        match caller.requester {
            Requester::Client(id) => self.answer(id, xid, None, code, Vec::new(), None),
            Requester::Learner(_) => self.propose_for(caller, xid, op, &Txn::error(code)),
        }
    }

    fn decide<'a>(&mut self, caller: &Caller, op: OpCode, body: &'a [u8]) -> Result<Txn<'a>, DecisionRefused> {
        if op == OpCode::CloseSession {
            return Ok(self.decide_close(caller.session));
        }
        self.has_room_for(op, body)?;
        let txn = match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => {
                self.create(caller, op, parse::<CreateRequest<'_>>(body)?, -1, false)
            }
            OpCode::CreateTtl => {
                let CreateTtlRequest { create, ttl } = parse(body)?;
                self.create(caller, op, create, ttl, false)
            }
            OpCode::Delete => self.delete(caller, parse(body)?),
            OpCode::SetData => self.set_data(caller, parse(body)?),
            OpCode::SetAcl => self.set_acl(caller, parse(body)?),
            OpCode::Reconfig => {
                parse::<ReconfigRequest<'_>>(body)?;
                self.reconfig(caller)
            }
            _ => Err(ErrorCode::Unimplemented),
        };
        Ok(txn?)
    }

    /// when memory or the file is full, what makes room goes on and what takes room is refused, without a
    /// transaction, since the refusal itself would take room.
    fn has_room_for(&self, op: OpCode, body: &[u8]) -> Result<(), DecisionRefused> {
        let full = self.state.tree.memory_bytes() >= self.settings.limits.tree_size_max;
        if self.log_space == LogSpace::Plenty && !full {
            return Ok(());
        }
        let grows = match op {
            OpCode::Delete => false,
            OpCode::SetData => {
                let SetDataRequest { path, data, .. } = parse(body)?;
                let present = self.outstanding.view(&self.state.tree, path.as_str()).map_or(0, |view| view.data_len);
                data.len() > present
            }
            _ => true,
        };
        if grows || self.log_space == LogSpace::None {
            Err(DecisionRefused::Unlogged(ErrorCode::QuotaExceeded))
        } else {
            Ok(())
        }
    }

    fn is_live(&self, caller: &Caller) -> Result<(), ErrorCode> {
        let is_live = self.state.sessions.is_live(caller.session) || self.remote.is_beginning(caller.session);
        if is_live || failpoint::on(Failpoint::EndedSessionActs) { Ok(()) } else { Err(ErrorCode::SessionExpired) }
    }

    fn permit(&self, caller: &Caller, acl: &AclList, wanted: i32) -> Result<(), ErrorCode> {
        self.spent.add(acl.cost());
        if self.settings.skip_acl || acl.is_open() || caller.who.permits(acl, wanted) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn view(&self, path: &str) -> Result<View, ErrorCode> {
        self.outstanding.view(&self.state.tree, path).ok_or(ErrorCode::NoNode)
    }

    /// R-17, checked wherever a path enters the tree.
    fn path_fits(&self, path: &str) -> Result<(), ErrorCode> {
        let limits = &self.settings.limits;
        if path.len() <= limits.path_size_max && path::depth(path) <= limits.path_depth_max {
            Ok(())
        } else {
            Err(ErrorCode::BadArguments)
        }
    }

    fn fix_acl<'a>(&self, caller: &Caller, acl: Option<Vec<Acl<'a>>>) -> Result<Vec<Acl<'a>>, ErrorCode> {
        fix_up(acl, &caller.who, self.settings.digest_enabled, self.settings.limits.acl_entries_max)
    }

    /// `ttl` is −1 where the request has none.
    pub(super) fn create<'a>(
        &mut self,
        caller: &Caller,
        op: OpCode,
        request: CreateRequest<'a>,
        ttl: i64,
        in_multi: bool,
    ) -> Result<Txn<'a>, ErrorCode> {
        let mode = CreateMode::from_i32(request.flags).ok_or(ErrorCode::BadArguments)?;
        if mode.is_ttl() {
            if !self.settings.extended_types {
                return Err(ErrorCode::Unimplemented);
            }
            if !(1..=TTL_MS_MAX).contains(&ttl) {
                return Err(ErrorCode::BadArguments);
            }
        } else if op == OpCode::CreateTtl && !in_multi {
            // ZooKeeper 3.9.5 lets a negative one through, and then cannot apply it, for ever.
            return Err(ErrorCode::BadArguments);
        }
        if op == OpCode::CreateContainer && mode.is_ephemeral() {
            return Err(ErrorCode::BadArguments);
        }
        self.is_live(caller)?;
        if request.path.is_null() {
            return Err(ErrorCode::MarshallingError);
        }
        if !path::is_plausible(request.path.as_str()) {
            return Err(ErrorCode::BadArguments);
        }
        self.path_fits(request.path.as_str())?;
        let acl = self.fix_acl(caller, request.acl)?;
        let (parent_path, _) = path::split(request.path.as_str()).ok_or(ErrorCode::BadArguments)?;
        let parent_hash = self.state.tree.hash(parent_path);
        let parent = self.outstanding.view_at(&self.state.tree, parent_path, parent_hash);
        let mut parent = parent.ok_or(ErrorCode::NoNode)?;
        self.permit(caller, &parent.acl, perms::CREATE)?;
        let path = if mode.is_sequential() {
            let number = if failpoint::on(Failpoint::SequenceReused) { parent.child_count } else { parent.cversion };
            Text::from(path::with_sequence(request.path.as_str(), number))
        } else {
            request.path
        };
        if !path::is_valid(path.as_str()) {
            return Err(ErrorCode::BadArguments);
        }
        let (parent_path, name) = path::split(path.as_str()).expect("a valid path has a slash");
        let hash = self.state.tree.hash_below(parent_hash, name);
        if self.outstanding.exists(&self.state.tree, path.as_str(), hash) {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(parent.owner, Owner::Session(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        if self.settings.enforce_quota
            && !failpoint::on(Failpoint::QuotaIgnored)
            && let Some(quota) = self.state.tree.quota(path.as_str())
        {
            quota.check_create(request.data.len(), 0, 0)?;
        }
        let owner = match mode {
            _ if op == OpCode::CreateContainer => Owner::Container,
            // Elsewhere the flag alone makes no container in ZooKeeper.
            CreateMode::Container if in_multi => Owner::Container,
            mode if mode.is_ephemeral() => Owner::Session(caller.session),
            mode if mode.is_ttl() => Owner::Ttl(ttl.unsigned_abs()),
            _ => Owner::None,
        };
        // The counter stays at its maximum rather than wrap (ZooKeeper never stores a lower one).
        let parent_cversion = parent.cversion.saturating_add(1);
        parent.cversion = parent_cversion;
        parent.child_count += 1;
        self.outstanding.set(parent_path, parent_hash, Some(parent));
        let view = View {
            version: 0,
            cversion: 0,
            aversion: 0,
            child_count: 0,
            data_len: request.data.len(),
            owner,
            acl: self.acl_list(&acl),
        };
        self.outstanding.set(path.as_str(), hash, Some(view));
        let data = request.data;
        Ok(match owner {
            Owner::Container => Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion }),
            Owner::Ttl(_) => Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl }),
            Owner::None | Owner::Session(_) => {
                let ephemeral = mode.is_ephemeral();
                let txn = CreateTxn { path, data, acl, ephemeral, parent_cversion };
                if op == OpCode::Create2 { Txn::Create2(txn) } else { Txn::Create(txn) }
            }
        })
    }

    /// A list for a view, shared where it is the usual one.
    fn acl_list(&self, acl: &[Acl<'_>]) -> Arc<AclList> {
        if acl == [Acl::open()] {
            return Arc::clone(&self.open_acl);
        }
        Arc::new(AclList::new(acl))
    }

    pub(super) fn delete<'a>(
        &mut self,
        caller: &Caller,
        request: PathVersionRequest<'a>,
    ) -> Result<Txn<'a>, ErrorCode> {
        self.is_live(caller)?;
        if request.path.is_null() {
            return Err(ErrorCode::MarshallingError);
        }
        let path = request.path.as_str();
        if !path::is_plausible(path) || path::is_reserved(path) {
            return Err(ErrorCode::BadArguments);
        }
        let (parent_path, _) = path::split(path).ok_or(ErrorCode::BadArguments)?;
        let parent = self.view(parent_path)?;
        let wanted = if failpoint::on(Failpoint::AclWrongBit) { perms::WRITE } else { perms::DELETE };
        self.permit(caller, &parent.acl, wanted)?;
        let node = self.view(path)?;
        expect_version(request.version, node.version)?;
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.note_deletion(path, parent_path, parent);
        Ok(Txn::Delete(DeleteTxn { path: request.path }))
    }

    fn note_deletion(&mut self, path: &str, parent_path: &str, mut parent: View) {
        parent.child_count -= 1;
        self.outstanding.set(parent_path, self.state.tree.hash(parent_path), Some(parent));
        self.outstanding.set(path, self.state.tree.hash(path), None);
    }

    pub(super) fn set_data<'a>(&mut self, caller: &Caller, request: SetDataRequest<'a>) -> Result<Txn<'a>, ErrorCode> {
        self.is_live(caller)?;
        // A null path is an invalid one here, not a malformed record.
        let path = request.path.as_str();
        if !path::is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        let mut node = self.view(path)?;
        if !failpoint::on(Failpoint::AclUncheckedSet) {
            self.permit(caller, &node.acl, perms::WRITE)?;
        }
        if self.settings.enforce_quota
            && !failpoint::on(Failpoint::QuotaIgnored)
            && let Some(quota) = self.state.tree.quota(path)
        {
            quota.check_set(request.data.len() as i64 - node.data_len as i64, 0)?;
        }
        expect_version(request.version, node.version)?;
        let version = node.version.wrapping_add(1);
        node.version = version;
        node.data_len = request.data.len();
        self.outstanding.set(path, self.state.tree.hash(path), Some(node));
        Ok(Txn::SetData(SetDataTxn { path: request.path, data: request.data, version }))
    }

    fn set_acl<'a>(&mut self, caller: &Caller, request: SetAclRequest<'a>) -> Result<Txn<'a>, ErrorCode> {
        self.is_live(caller)?;
        if !path::is_valid(request.path.as_str()) {
            return Err(ErrorCode::BadArguments);
        }
        let acl = self.fix_acl(caller, request.acl)?;
        let path = request.path.as_str();
        let mut node = self.view(path)?;
        self.permit(caller, &node.acl, perms::ADMIN)?;
        expect_version(request.version, node.aversion)?;
        let version = node.aversion.wrapping_add(1);
        node.aversion = version;
        node.acl = self.acl_list(&acl);
        self.outstanding.set(path, self.state.tree.hash(path), Some(node));
        Ok(Txn::SetAcl(SetAclTxn { path: request.path, acl, version }))
    }

    pub(super) fn check<'a>(&mut self, caller: &Caller, request: PathVersionRequest<'a>) -> Result<Txn<'a>, ErrorCode> {
        self.is_live(caller)?;
        if request.path.is_null() {
            return Err(ErrorCode::MarshallingError);
        }
        let path = request.path.as_str();
        if !path::is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.view(path)?;
        if !failpoint::on(Failpoint::AclUncheckedCheck) {
            self.permit(caller, &node.acl, perms::READ)?;
        }
        expect_version(request.version, node.version)?;
        Ok(Txn::Check(CheckVersionTxn { path: request.path, version: node.version.wrapping_add(1) }))
    }

    /// As a standalone server answers.
    fn reconfig(&self, caller: &Caller) -> Result<Txn<'static>, ErrorCode> {
        if !self.settings.reconfig_enabled {
            return Err(ErrorCode::ReconfigDisabled);
        }
        self.is_live(caller)?;
        Err(ErrorCode::Unimplemented)
    }

    /// The end of a session, asked for or by expiry: one transaction with everything it owns (G-11).
    ///
    /// A list tells who decides what comes behind it. Where that would be long there is none, and nothing is decided until
    /// the transaction is applied; without a list everything goes that the session owns then, which is the same. Servers
    /// before ZooKeeper 3.6 never listed anything.
    fn decide_close(&mut self, session: SessionId) -> Txn<'static> {
        self.state.sessions.set_closing(session);
        self.remote.has_begun(session);
        let is_short =
            self.state.tree.ephemeral_count_of(session) <= LISTED_MAX && self.outstanding.len() <= 16 * LISTED_MAX;
        let paths = match is_short && self.work.barrier.is_none() {
            true => self.outstanding.ephemerals(&self.state.tree, session),
            false => return self.close_unlisted(),
        };
        self.spent.add(8 + self.outstanding.len() / 4 + 16 * paths.len());
        let size: usize = paths.iter().map(|path| 4 + path.len()).sum();
        let size_max = self.settings.limits.frame_size_max.min(FIELD_SIZE_MAX - RECORD_OVERHEAD);
        if paths.len() > LISTED_MAX || size > size_max {
            return self.close_unlisted();
        }
        for path in &paths {
            if let Some((parent_path, _)) = path::split(path)
                && let Some(parent) = self.outstanding.view(&self.state.tree, parent_path)
            {
                self.note_deletion(path, parent_path, parent);
            }
        }
        let paths = paths.into_iter().map(Text::from).collect();
        Txn::CloseSession(Some(CloseSessionTxn { paths }))
    }

    fn close_unlisted(&mut self) -> Txn<'static> {
        // It is proposed next.
        self.work.barrier = Some(self.proposed.next().unwrap_or(Zxid(self.proposed.0 + 1)));
        Txn::CloseSession(None)
    }

    /// Proposes the end of an expired session.
    pub(super) fn propose_expiry(&mut self, session: SessionId) {
        let txn = self.decide_close(session);
        self.propose(session, 0, &txn);
    }

    /// Proposes the removal of a container or expired znode, if nothing outstanding speaks against it.
    pub(super) fn propose_reaping(&mut self, path: &str) {
        let Some((parent_path, _)) = path::split(path) else { return };
        // It may go as it is in the tree. What is about to become of it nobody has looked at: it may have been set a
        // moment ago, or be another znode by then. The next look sees that.
        if self.outstanding.is_pending(&self.state.tree, path) {
            return;
        }
        let Some(node) = self.outstanding.view(&self.state.tree, path) else { return };
        let Some(parent) = self.outstanding.view(&self.state.tree, parent_path) else { return };
        if node.child_count > 0 || matches!(node.owner, Owner::Session(_)) || path::is_reserved(path) {
            return;
        }
        self.note_deletion(path, parent_path, parent);
        self.propose(SessionId::NONE, 0, &Txn::DeleteContainer(DeleteTxn { path: path.into() }));
    }
}

/// Whether the request can be read far enough to have its place in the history.
pub(super) fn is_well_formed(op: OpCode, body: &[u8]) -> bool {
    fn reads<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> bool {
        decoder(body).read::<T>().is_ok()
    }
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => reads::<CreateRequest<'_>>(body),
        OpCode::CreateTtl => reads::<CreateTtlRequest<'_>>(body),
        OpCode::Delete => reads::<PathVersionRequest<'_>>(body),
        OpCode::SetData => reads::<SetDataRequest<'_>>(body),
        OpCode::SetAcl => reads::<SetAclRequest<'_>>(body),
        OpCode::Reconfig => reads::<ReconfigRequest<'_>>(body),
        OpCode::Multi => super::multi::has_place(body),
        _ => true,
    }
}

/// Minus one stands for any version; other negative numbers match nothing but themselves.
fn expect_version(expected: i32, present: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == present { Ok(()) } else { Err(ErrorCode::BadVersion) }
}
