//! From request to transaction: each write is checked against the state it will apply to, and becomes a transaction or
//! a refusal. The first failing check decides the error; their order is ZooKeeper's.
//!
//! Source: ZooKeeper 3.9 `PrepRequestProcessor`.

use super::caller::Caller;
use super::decider::{Decider, Ground};
use super::outstanding::View;
use super::request::decoder;
use super::settings::RECORD_OVERHEAD;
use crate::failpoint::{self, Failpoint};
use crate::ids::SessionId;
use crate::jute::{FIELD_SIZE_MAX, Text};
use crate::path;
use crate::records::requests::{CreateRequest, CreateTtlRequest, PathVersionRequest, SetAclRequest, SetDataRequest};
use crate::records::txn::{
    CheckVersionTxn, CloseSessionTxn, CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn, SetAclTxn, SetDataTxn,
    Txn,
};
use crate::records::{CreateMode, ErrorCode, OpCode, perms};
use crate::tree::Owner;

const TTL_MS_MAX: i64 = (1 << 40) - 1;

/// Ephemerals up to this many are listed by the transaction that ends their session.
const LISTED_MAX: usize = 256;

/// How a refused request is answered.
pub(super) enum DecisionRefused {
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

impl Decider {
    pub(super) fn decide<'a>(
        &mut self,
        ground: &Ground<'_>,
        caller: &Caller,
        op: OpCode,
        body: &'a [u8],
    ) -> Result<Txn<'a>, DecisionRefused> {
        self.has_room_for(ground, op, body)?;
        let txn = match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => {
                self.create(ground, caller, op, parse::<CreateRequest<'_>>(body)?, -1, false)
            }
            OpCode::CreateTtl => {
                let CreateTtlRequest { create, ttl } = parse(body)?;
                self.create(ground, caller, op, create, ttl, false)
            }
            OpCode::Delete => self.delete(ground, caller, parse(body)?),
            OpCode::SetData => self.set_data(ground, caller, parse(body)?),
            OpCode::SetAcl => self.set_acl(ground, caller, parse(body)?),
            _ => Err(ErrorCode::Unimplemented),
        };
        Ok(txn?)
    }

    /// when memory or the file is full, what makes room goes on and what takes room is refused, without a
    /// transaction, since the refusal itself would take room.
    fn has_room_for(&self, ground: &Ground<'_>, op: OpCode, body: &[u8]) -> Result<(), DecisionRefused> {
        if self.has_room(ground, true) {
            return Ok(());
        }
        let grows = match op {
            OpCode::Delete => false,
            OpCode::SetData => {
                let SetDataRequest { path, data, .. } = parse(body)?;
                let present = self.outstanding.view(&ground.state.tree, path.as_str()).map_or(0, |view| view.data_len);
                data.len() > present
            }
            _ => true,
        };
        if self.has_room(ground, grows) { Ok(()) } else { Err(DecisionRefused::Unlogged(ErrorCode::QuotaExceeded)) }
    }

    fn view(&self, ground: &Ground<'_>, path: &str) -> Result<View, ErrorCode> {
        self.outstanding.view(&ground.state.tree, path).ok_or(ErrorCode::NoNode)
    }

    /// `ttl` is −1 where the request has none.
    pub(super) fn create<'a>(
        &mut self,
        ground: &Ground<'_>,
        caller: &Caller,
        op: OpCode,
        request: CreateRequest<'a>,
        ttl: i64,
        in_multi: bool,
    ) -> Result<Txn<'a>, ErrorCode> {
        let mode = CreateMode::from_i32(request.flags).ok_or(ErrorCode::BadArguments)?;
        if mode.is_ttl() {
            if !ground.settings.extended_types {
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
        if mode.is_ephemeral() {
            ground.is_global(caller)?
        } else {
            ground.is_live(caller)?
        }
        if request.path.is_null() {
            return Err(ErrorCode::MarshallingError);
        }
        if !path::is_plausible(request.path.as_str()) {
            return Err(ErrorCode::BadArguments);
        }
        ground.path_fits(request.path.as_str())?;
        let acl = ground.fix_acl(caller, request.acl)?;
        let (parent_path, _) = path::split(request.path.as_str()).ok_or(ErrorCode::BadArguments)?;
        let parent_hash = ground.state.tree.hash(parent_path);
        let parent = self.outstanding.view_at(&ground.state.tree, parent_path, parent_hash);
        let mut parent = parent.ok_or(ErrorCode::NoNode)?;
        ground.permit(caller, &parent.acl, perms::CREATE)?;
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
        let hash = ground.state.tree.hash_below(parent_hash, name);
        if self.outstanding.exists(&ground.state.tree, path.as_str(), hash) {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(parent.owner, Owner::Session(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        if ground.settings.enforce_quota
            && !failpoint::on(Failpoint::QuotaIgnored)
            && let Some(quota) = ground.state.tree.quota(path.as_str())
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

    pub(super) fn delete<'a>(
        &mut self,
        ground: &Ground<'_>,
        caller: &Caller,
        request: PathVersionRequest<'a>,
    ) -> Result<Txn<'a>, ErrorCode> {
        ground.is_live(caller)?;
        if request.path.is_null() {
            return Err(ErrorCode::MarshallingError);
        }
        let path = request.path.as_str();
        if !path::is_plausible(path) || path::is_reserved(path) {
            return Err(ErrorCode::BadArguments);
        }
        let (parent_path, _) = path::split(path).ok_or(ErrorCode::BadArguments)?;
        let parent = self.view(ground, parent_path)?;
        let wanted = if failpoint::on(Failpoint::AclWrongBit) { perms::WRITE } else { perms::DELETE };
        ground.permit(caller, &parent.acl, wanted)?;
        let node = self.view(ground, path)?;
        expect_version(request.version, node.version)?;
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.note_deletion(ground, path, parent_path, parent);
        Ok(Txn::Delete(DeleteTxn { path: request.path }))
    }

    pub(super) fn note_deletion(&mut self, ground: &Ground<'_>, path: &str, parent_path: &str, mut parent: View) {
        parent.child_count -= 1;
        self.outstanding.set(parent_path, ground.state.tree.hash(parent_path), Some(parent));
        self.outstanding.set(path, ground.state.tree.hash(path), None);
    }

    pub(super) fn set_data<'a>(
        &mut self,
        ground: &Ground<'_>,
        caller: &Caller,
        request: SetDataRequest<'a>,
    ) -> Result<Txn<'a>, ErrorCode> {
        ground.is_live(caller)?;
        // A null path is an invalid one here, not a malformed record.
        let path = request.path.as_str();
        if !path::is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        let mut node = self.view(ground, path)?;
        if !failpoint::on(Failpoint::AclUncheckedSet) {
            ground.permit(caller, &node.acl, perms::WRITE)?;
        }
        if ground.settings.enforce_quota
            && !failpoint::on(Failpoint::QuotaIgnored)
            && let Some(quota) = ground.state.tree.quota(path)
        {
            quota.check_set(request.data.len() as i64 - node.data_len as i64, 0)?;
        }
        expect_version(request.version, node.version)?;
        let version = node.version.wrapping_add(1);
        node.version = version;
        node.data_len = request.data.len();
        self.outstanding.set(path, ground.state.tree.hash(path), Some(node));
        Ok(Txn::SetData(SetDataTxn { path: request.path, data: request.data, version }))
    }

    fn set_acl<'a>(
        &mut self,
        ground: &Ground<'_>,
        caller: &Caller,
        request: SetAclRequest<'a>,
    ) -> Result<Txn<'a>, ErrorCode> {
        ground.is_live(caller)?;
        if !path::is_valid(request.path.as_str()) {
            return Err(ErrorCode::BadArguments);
        }
        let acl = ground.fix_acl(caller, request.acl)?;
        let path = request.path.as_str();
        let mut node = self.view(ground, path)?;
        ground.permit(caller, &node.acl, perms::ADMIN)?;
        expect_version(request.version, node.aversion)?;
        let version = node.aversion.wrapping_add(1);
        node.aversion = version;
        node.acl = self.acl_list(&acl);
        self.outstanding.set(path, ground.state.tree.hash(path), Some(node));
        Ok(Txn::SetAcl(SetAclTxn { path: request.path, acl, version }))
    }

    pub(super) fn check<'a>(
        &mut self,
        ground: &Ground<'_>,
        caller: &Caller,
        request: PathVersionRequest<'a>,
    ) -> Result<Txn<'a>, ErrorCode> {
        ground.is_live(caller)?;
        if request.path.is_null() {
            return Err(ErrorCode::MarshallingError);
        }
        let path = request.path.as_str();
        if !path::is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.view(ground, path)?;
        if !failpoint::on(Failpoint::AclUncheckedCheck) {
            ground.permit(caller, &node.acl, perms::READ)?;
        }
        expect_version(request.version, node.version)?;
        Ok(Txn::Check(CheckVersionTxn { path: request.path, version: node.version.wrapping_add(1) }))
    }

    /// The end of a session: one transaction with everything it owns (G-11).
    ///
    /// Its list tells later decisions what is gone. Where that would be long there is none, and nothing is decided until the
    /// transaction is applied; without a list everything goes that the session owns then, which is the same. Servers
    /// before ZooKeeper 3.6 never listed anything.
    pub(super) fn close_session(&mut self, ground: &Ground<'_>, session: SessionId) -> Txn<'static> {
        let tree = &ground.state.tree;
        let is_short = tree.ephemeral_count_of(session) <= LISTED_MAX && self.outstanding.len() <= 16 * LISTED_MAX;
        let paths = match is_short && self.barrier.is_none() {
            true => self.outstanding.ephemerals(tree, session),
            false => return self.close_unlisted(),
        };
        ground.spent.add(8 + self.outstanding.len() / 4 + 16 * paths.len());
        let size: usize = paths.iter().map(|path| 4 + path.len()).sum();
        let size_max = ground.settings.limits.frame_size_max.min(FIELD_SIZE_MAX - RECORD_OVERHEAD);
        if paths.len() > LISTED_MAX || size > size_max {
            return self.close_unlisted();
        }
        for path in &paths {
            if let Some((parent_path, _)) = path::split(path)
                && let Some(parent) = self.outstanding.view(tree, parent_path)
            {
                self.note_deletion(ground, path, parent_path, parent);
            }
        }
        let paths = paths.into_iter().map(Text::from).collect();
        Txn::CloseSession(Some(CloseSessionTxn { paths }))
    }

    fn close_unlisted(&mut self) -> Txn<'static> {
        self.raise_barrier();
        Txn::CloseSession(None)
    }

    /// The removal of a container or expired znode, if nothing outstanding speaks against it.
    pub(super) fn reap<'a>(&mut self, ground: &Ground<'_>, path: &'a str) -> Option<Txn<'a>> {
        let tree = &ground.state.tree;
        let (parent_path, _) = path::split(path)?;
        // It may go as it is in the tree. A znode of which something is outstanding may have been set a moment ago, or be
        // another one by then: the next look sees that.
        if self.outstanding.is_pending(tree, path) {
            return None;
        }
        let node = self.outstanding.view(tree, path)?;
        let parent = self.outstanding.view(tree, parent_path)?;
        if node.child_count > 0 || matches!(node.owner, Owner::Session(_)) || path::is_reserved(path) {
            return None;
        }
        self.note_deletion(ground, path, parent_path, parent);
        Some(Txn::DeleteContainer(DeleteTxn { path: path.into() }))
    }
}

/// Minus one stands for any version; other negative numbers match nothing but themselves.
fn expect_version(expected: i32, present: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == present { Ok(()) } else { Err(ErrorCode::BadVersion) }
}
