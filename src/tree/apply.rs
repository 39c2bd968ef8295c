//! One transaction: what it changes, what its client is told, and which znodes an observer hears of.
//!
//! Source: ZooKeeper 3.9 `DataTree.processTxn`.

use std::fmt;
use std::sync::Arc;

use super::node::{Name, Node};
use super::{AclList, NodeId, Owner, Tree};
use crate::failpoint::{self, Failpoint};
use crate::jute::{Buffer, Decoder, JuteError, Text};
use crate::path;
use crate::records::txn::{SubTxn, Txn, TxnHeader};
use crate::records::{Acl, ErrorCode, EventType, OpCode, Stat};

/// One znode was created, deleted or set.
///
/// That the children of its parent changed goes without saying, for the first two.
#[derive(Clone, Copy, Debug)]
pub struct ZnodeChange<'a> {
    /// `Created`, `Deleted` or `DataChanged`.
    pub kind: EventType,
    /// The znode.
    pub path: &'a str,
    /// The znode above it; the root's is the root.
    pub parent: &'a str,
    /// The znode's ACL; of a deleted one the ACL it had.
    pub acl: &'a Arc<AclList>,
    /// The parent's ACL.
    pub parent_acl: &'a Arc<AclList>,
    /// The znode's watch bits; of a deleted one those it had.
    pub watched: u8,
    /// The parent's watch bits.
    pub parent_watched: u8,
}

/// What a transaction came to: the substance of the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied<'t> {
    /// A znode is there.
    Created {
        /// Which of the creates it was, for they are answered differently.
        op: OpCode,
        /// Its path, with its sequence number.
        path: Text<'t>,
        /// As right after creation.
        stat: Stat,
    },
    /// A znode is gone.
    Deleted,
    /// A znode has new data, and this stat.
    DataSet(Stat),
    /// A znode has a new ACL, and this stat.
    AclSet(Stat),
    /// A version was compared when the request was decided on.
    Checked,
    /// A session begins. The tree does not care.
    SessionCreated,
    /// A session has ended, and its ephemerals with it.
    SessionClosed,
    /// Nothing happened, for this reason.
    Error(ErrorCode),
    /// One for each part. When the multi failed, all are errors: `Ok` before the part that failed,
    /// `RuntimeInconsistency` after it.
    Multi(Vec<Applied<'t>>),
}

/// A committed transaction that cannot be one: the log or the leader is damaged. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// A part of a multi is no record of its type.
    Malformed(JuteError),
    /// A part of a multi has a type that has no place there.
    NotInMulti(i32),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::Malformed(error) => write!(f, "a part of a multi cannot be read: {error}"),
            ApplyError::NotInMulti(op) => write!(f, "a transaction of type {op} within a multi"),
        }
    }
}

impl std::error::Error for ApplyError {}

type Observer<'o> = &'o mut dyn FnMut(&ZnodeChange<'_>);

/// What the creates have in common.
struct NewNode<'r, 't> {
    op: OpCode,
    path: &'r Text<'t>,
    data: Buffer<'t>,
    acl: &'r [Acl<'t>],
    owner: Owner,
    parent_cversion: i32,
}

impl Tree {
    /// Carries out one committed transaction, all of it or nothing.
    ///
    /// `observe` is called for each znode that was created, deleted or set, in order. What does not fit (a parent that is
    /// missing, a znode that is there already) ends in [`Applied::Error`], as it may when a log is replayed over a newer
    /// tree; then nothing of the client's has changed.
    ///
    /// # Errors
    /// [`ApplyError`] when a part of a multi cannot be read. Nothing was changed.
    pub fn apply<'t>(
        &mut self,
        header: &TxnHeader,
        txn: &Txn<'t>,
        observe: &mut dyn FnMut(&ZnodeChange<'_>),
    ) -> Result<Applied<'t>, ApplyError> {
        match txn {
            Txn::Multi(parts) => self.apply_multi(header, parts, observe),
            txn => Ok(self.apply_one(header, txn, observe)),
        }
    }

    fn apply_multi<'t>(
        &mut self,
        header: &TxnHeader,
        parts: &[SubTxn<'t>],
        observe: Observer<'_>,
    ) -> Result<Applied<'t>, ApplyError> {
        // All are read before the first is applied, so that damage in one leaves no half of a multi behind.
        let txns = parts.iter().map(decode_part).collect::<Result<Vec<_>, _>>()?;
        if failpoint::on(Failpoint::MultiHalfApplied) {
            let _ = txns
                .iter()
                .map(|txn| self.apply_one(header, txn, observe))
                .take_while(|o| !matches!(o, Applied::Error(_)))
                .count();
        }
        let Some(failed) = txns.iter().position(|txn| matches!(txn, Txn::Error(_))) else {
            return Ok(Applied::Multi(txns.iter().map(|txn| self.apply_one(header, txn, observe)).collect()));
        };
        let codes = txns.iter().enumerate().map(|(at, txn)| match txn {
            Txn::Error(error) => error_code(error.err),
            _ if at < failed => ErrorCode::Ok,
            _ => ErrorCode::RuntimeInconsistency,
        });
        Ok(Applied::Multi(codes.map(Applied::Error).collect()))
    }

    /// Carries out one part of a multi none of whose parts is an error: for who does a long one in slices, and lets nobody
    /// look at the tree in between.
    ///
    /// # Errors
    /// [`ApplyError`] when the part cannot be read; [`Tree::check_part`] tells before.
    pub fn apply_part<'t>(
        &mut self,
        header: &TxnHeader,
        part: &SubTxn<'t>,
        observe: &mut dyn FnMut(&ZnodeChange<'_>),
    ) -> Result<Applied<'t>, ApplyError> {
        decode_part(part).map(|txn| self.apply_one(header, &txn, observe))
    }

    /// Whether a part of a multi can be read, and the error that it stands for if it is one.
    ///
    /// # Errors
    /// [`ApplyError`] when it cannot be read.
    pub fn check_part(part: &SubTxn<'_>) -> Result<Option<ErrorCode>, ApplyError> {
        Ok(match decode_part(part)? {
            Txn::Error(error) => Some(error_code(error.err)),
            _ => None,
        })
    }

    /// Deletes ephemerals of a session that ends without a list until none is left or `budget` is spent; the same for who
    /// does it in slices. What makes a quota goes last (ZooKeeper takes them as they come out of a hash set). Whether the
    /// session has none left.
    pub fn end_session_slice(
        &mut self,
        header: &TxnHeader,
        budget: usize,
        observe: &mut dyn FnMut(&ZnodeChange<'_>),
    ) -> bool {
        let mut spent = 0;
        // Most have the parent of the one before: where that is need not be found anew for each.
        let mut above = (NodeId::NIL, String::new(), self.hash("/"));
        let mut path = String::new();
        while let Some(&id) = self.ephemerals.of(header.session).last() {
            if spent >= budget {
                return false;
            }
            let parent = self.nodes[id].parent;
            if above.0 != parent {
                let path = self.path(parent);
                let hash = self.hash(&path);
                above = (parent, path, hash);
            }
            let (_, parent_path, parent_hash) = &above;
            let name = self.nodes[id].name.as_str();
            path.clear();
            path.extend([parent_path.strip_suffix('/').unwrap_or(parent_path), "/", name]);
            spent += 8 + path.len() / 16;
            let hash = self.hash_below(*parent_hash, name).number();
            self.delete_child(id, hash, &path, (parent, parent_path), header.zxid.0, observe);
        }
        true
    }

    fn apply_one<'t>(&mut self, header: &TxnHeader, txn: &Txn<'t>, observe: Observer<'_>) -> Applied<'t> {
        let zxid = header.zxid.0;
        match txn {
            Txn::Create(t) | Txn::Create2(t) => {
                let owner = if t.ephemeral { Owner::from_i64(header.session.0) } else { Owner::None };
                let (path, acl, parent_cversion) = (&t.path, t.acl.as_slice(), t.parent_cversion);
                self.create(header, NewNode { op: txn.op(), path, data: t.data, acl, owner, parent_cversion }, observe)
            }
            Txn::CreateContainer(t) => {
                let (path, acl, parent_cversion) = (&t.path, t.acl.as_slice(), t.parent_cversion);
                let owner = Owner::Container;
                self.create(header, NewNode { op: txn.op(), path, data: t.data, acl, owner, parent_cversion }, observe)
            }
            Txn::CreateTtl(t) => {
                let owner = match u64::try_from(t.ttl) {
                    Ok(ttl @ 1..=Owner::TTL_MAX) => Owner::Ttl(ttl),
                    _ => return Applied::Error(ErrorCode::BadArguments),
                };
                let (path, acl, parent_cversion) = (&t.path, t.acl.as_slice(), t.parent_cversion);
                self.create(header, NewNode { op: txn.op(), path, data: t.data, acl, owner, parent_cversion }, observe)
            }
            Txn::Delete(t) | Txn::DeleteContainer(t) => match self.delete(t.path.as_str(), zxid, observe) {
                Ok(()) => Applied::Deleted,
                Err(code) => Applied::Error(code),
            },
            Txn::SetData(t) | Txn::Reconfig(t) => self.set_data(header, t.path.as_str(), t.data.0, t.version, observe),
            Txn::SetAcl(t) => self.set_acl(t.path.as_str(), &t.acl, t.version),
            Txn::Check(_) => Applied::Checked,
            Txn::CreateSession(_) => Applied::SessionCreated,
            Txn::CloseSession(t) => {
                let listed = t.iter().flat_map(|t| &t.paths);
                for path in listed {
                    if failpoint::on(Failpoint::EphemeralOutlives) {
                        return Applied::SessionClosed;
                    }
                    // Those that are gone already were deleted by their owner in the meantime, or by this same
                    // transaction before a restart (SC-47).
                    let _ = self.delete(path.as_str(), zxid, observe);
                }
                self.end_session_slice(header, usize::MAX, observe);
                Applied::SessionClosed
            }
            Txn::Error(t) => Applied::Error(error_code(t.err)),
            Txn::Multi(_) => unreachable!("parts of a multi are no multis, and a whole one does not come here"),
        }
    }

    fn create<'t>(&mut self, header: &TxnHeader, new: NewNode<'_, 't>, observe: Observer<'_>) -> Applied<'t> {
        let zxid = header.zxid.0;
        let path = new.path.as_str();
        let (parent_path, name) = match path::split(path) {
            Some((parent, name)) if path.starts_with('/') && !name.is_empty() => (parent, name),
            _ => return Applied::Error(ErrorCode::BadArguments),
        };
        let parent_hash = self.hash(parent_path);
        let Some(parent) = self.find(parent_path, parent_hash) else { return Applied::Error(ErrorCode::NoNode) };
        if self.nodes[parent].is_ephemeral() {
            return Applied::Error(ErrorCode::NoChildrenForEphemerals);
        }
        let hash = self.hash_below(parent_hash, name).number();
        if let Some(id) = self.child(parent, name.as_bytes(), hash) {
            // A replay over a newer tree: the znode stays as it is, but its first ACL may have been lost.
            self.put_acl(id, new.acl);
            if new.parent_cversion != -1 {
                self.count_child(parent, new.parent_cversion, zxid);
            }
            return Applied::Error(ErrorCode::NodeExists);
        }
        let acl = self.acls.intern(new.acl);
        let data = new.data.0.map(Box::from);
        let node = Node::new(Name::new(name), data, acl, new.owner, zxid, header.time);
        let next = self.nodes[parent].cversion.saturating_add(1);
        self.count_child(parent, if new.parent_cversion == -1 { next } else { new.parent_cversion }, zxid);
        let id = self.insert(node, Some(parent), hash, path.len());
        let stat = self.stat(id);
        self.quota_created(id, path);
        self.report(EventType::Created, path, parent_path, acl, 0, parent, observe);
        Applied::Created { op: new.op, path: new.path.clone(), stat }
    }

    /// Brings a parent's counter of creations up to `cversion`. It never falls, lest a sequence number come twice.
    fn count_child(&mut self, parent: NodeId, cversion: i32, zxid: i64) {
        if cversion > self.nodes[parent].cversion && !(failpoint::on(Failpoint::CversionStuck) && cversion % 8 == 7) {
            self.edit(parent, |node| (node.cversion, node.pzxid) = (cversion, zxid));
        }
    }

    fn delete(&mut self, path: &str, zxid: i64, observe: Observer<'_>) -> Result<(), ErrorCode> {
        let (parent_path, name) = match path::split(path) {
            Some(split) if path.starts_with('/') && !path::is_reserved(path) => split,
            _ => return Err(ErrorCode::BadArguments),
        };
        let parent_hash = self.hash(parent_path);
        let parent = self.find(parent_path, parent_hash).ok_or(ErrorCode::NoNode)?;
        let hash = self.hash_below(parent_hash, name).number();
        match self.child(parent, name.as_bytes(), hash) {
            Some(id) => self.delete_child(id, hash, path, (parent, parent_path), zxid, observe),
            // Though it is gone: the tree may stem from a snapshot that has the deletion but not its mark on the parent, and
            // a client's child watch would miss it (SC-46, SC-47).
            None => {
                self.mark_parent(parent, zxid);
                return Err(ErrorCode::NoNode);
            }
        }
        Ok(())
    }

    fn mark_parent(&mut self, parent: NodeId, zxid: i64) {
        if zxid > self.nodes[parent].pzxid && !failpoint::on(Failpoint::PzxidStale) {
            self.edit(parent, |node| node.pzxid = zxid);
        }
    }

    /// Deletes a znode that is there, `hash` being that of its path, and marks its parent.
    fn delete_child(
        &mut self,
        id: NodeId,
        hash: u64,
        path: &str,
        (parent, parent_path): (NodeId, &str),
        zxid: i64,
        observe: Observer<'_>,
    ) {
        self.mark_parent(parent, zxid);
        // Children here are those of a later znode of the same path, met in a replay. They will be created again.
        for (id, hash, path) in self.below(id, hash, path) {
            let parent = self.nodes[id].parent;
            let (parent_path, _) = path::split(&path).expect("it has a znode above it");
            self.remove(id, hash, &path, parent, parent_path, observe);
        }
        self.remove(id, hash, path, parent, parent_path, observe);
    }

    /// All znodes below, children before parents, with the hashes of their paths and the paths.
    fn below(&self, id: NodeId, hash: u64, path: &str) -> Vec<(NodeId, u64, String)> {
        if self.nodes[id].child_count == 0 {
            return Vec::new();
        }
        let mut found = vec![(id, hash, path.to_owned())];
        let mut at = 0;
        while at < found.len() {
            let (id, hash, path) = found[at].clone();
            found.extend(self.child_ids(id).map(|child| {
                let name = self.name(child);
                (child, self.keys.step(hash, name.as_bytes()), format!("{path}/{name}"))
            }));
            at += 1;
        }
        found.split_off(1).into_iter().rev().collect()
    }

    fn remove(&mut self, id: NodeId, hash: u64, path: &str, parent: NodeId, parent_path: &str, observe: Observer<'_>) {
        let node = self.take_out(id, hash, path.len());
        self.quota_deleted(id, path, node.data_length());
        self.report(EventType::Deleted, path, parent_path, node.acl, node.watched, parent, observe);
        self.acls.release(node.acl);
    }

    fn set_data<'t>(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        observe: Observer<'_>,
    ) -> Applied<'t> {
        let Some(id) = self.lookup(path) else { return Applied::Error(ErrorCode::NoNode) };
        let growth = self.replace_data(id, data);
        self.edit(id, |node| {
            node.version = version;
            if !failpoint::on(Failpoint::MzxidKept) {
                node.mzxid = header.zxid.0;
            }
            node.mtime = header.time;
        });
        let stat = self.stat(id);
        self.quota_set(id, path, growth);
        let node = &self.nodes[id];
        let (parent, acl, watched) = (self.parent(id).unwrap_or(id), node.acl, node.watched);
        let path = if path.is_empty() { "/" } else { path };
        let (parent_path, _) = path::split(path).expect("the path of a znode has a slash");
        self.report(EventType::DataChanged, path, parent_path, acl, watched, parent, observe);
        Applied::DataSet(stat)
    }

    fn set_acl<'t>(&mut self, path: &str, acl: &[Acl<'_>], version: i32) -> Applied<'t> {
        let Some(id) = self.lookup(path) else { return Applied::Error(ErrorCode::NoNode) };
        if !failpoint::on(Failpoint::AclKept) {
            self.put_acl(id, acl);
        }
        self.edit(id, |node| node.aversion = version);
        Applied::AclSet(self.stat(id))
    }

    fn put_acl(&mut self, id: NodeId, acl: &[Acl<'_>]) {
        let new = self.acls.intern(acl);
        let old = self.nodes[id].acl;
        if new != old {
            self.edit(id, |node| node.acl = new);
        }
        self.acls.release(old);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one Change")]
    fn report(
        &self,
        kind: EventType,
        path: &str,
        parent_path: &str,
        acl: u32,
        watched: u8,
        parent: NodeId,
        observe: Observer<'_>,
    ) {
        let above = &self.nodes[parent];
        observe(&ZnodeChange {
            kind,
            path,
            parent: parent_path,
            acl: self.acls.get(acl),
            parent_acl: self.acls.get(above.acl),
            watched,
            parent_watched: above.watched,
        });
    }
}

pub(super) fn decode_part<'t>(part: &SubTxn<'t>) -> Result<Txn<'t>, ApplyError> {
    let bytes = part.data.0.unwrap_or_default();
    match OpCode::from_i32(part.op) {
        Some(
            OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::SetData
            | OpCode::Check
            | OpCode::Error,
        ) => Txn::decode(part.op, &mut Decoder::with_limit(bytes, bytes.len())).map_err(ApplyError::Malformed),
        _ => Err(ApplyError::NotInMulti(part.op)),
    }
}

/// Codes that we do not know come from another kind of server; a client would not know them either.
fn error_code(err: i32) -> ErrorCode {
    ErrorCode::from_i32(err).unwrap_or(ErrorCode::SystemError)
}
