//! Reads: answered from the applied state, in one step with the watch they leave.
//!
//! Source: ZooKeeper 3.9 `FinalRequestProcessor`.

use std::sync::Arc;

use super::Engine;
use super::conn::ConnId;
use super::identity::{Identities, masked, user_of};
use super::request::{decoder, parse};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, SessionId};
use crate::jute::{Buffer, Text, encode};
use crate::records::multi::{MultiHeader, MultiOp, decode_ops};
use crate::records::replies::{
    AclReply, ClientInfo, DataReply, ErrorReply, NumberReply, ReplyHeader, StatReply, WhoAmIReply,
};
use crate::records::requests::{PathRequest, PathWatchRequest, PersistentWatches, SetWatchesRequest, WatchRequest};
use crate::records::{Acl, ErrorCode, OpCode, Stat, perms};
use crate::tree::NodeId;
use crate::watches::{Modes, WatchKind};

/// What a reply has beside the list or data that R-23 limits, at most.
const REPLY_OVERHEAD: usize = 256;

/// The xid of every ping reply, whatever the request had.
const PING_XID: i32 = -2;

impl Engine {
    /// Answers a read. `who` are the identities the connection had when it asked.
    pub(super) fn serve_read(
        &mut self,
        id: ConnId,
        xid: i32,
        op: OpCode,
        body: &[u8],
        who: &Arc<Identities>,
        since: Millis,
    ) {
        let xid = if op == OpCode::Ping { PING_XID } else { xid };
        let zxid = if failpoint::on(Failpoint::ReadAhead) { self.decider.proposed().0 } else { self.shown().0 };
        if matches!(op, OpCode::SetWatches | OpCode::SetWatches2) {
            // Its events go out in front of the reply, which has no body.
            let code = self.set_watches_request(id, op, body, who).err().unwrap_or(ErrorCode::Ok);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.reply(xid, zxid, code, |_| {});
            }
        } else {
            // Written straight behind what the connection has to send already.
            let Some(conn) = self.conns.get_mut(id) else { return };
            let mut out = std::mem::take(conn.out.bytes_mut());
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            encode(&ReplyHeader { xid, zxid, err: 0 }, &mut out);
            let limit = self.settings.limits.reply_size_max;
            let done = self.read_body(id, op, body, who, &mut out);
            let is_too_large = out.len() - start > limit.saturating_add(REPLY_OVERHEAD);
            if let Err(code) = done.and(if is_too_large { Err(ErrorCode::MarshallingError) } else { Ok(()) }) {
                out.truncate(start + 4);
                encode(&ReplyHeader { xid, zxid, err: code.to_i32() }, &mut out);
            }
            if let Some(conn) = self.conns.get_mut(id) {
                *conn.out.bytes_mut() = out;
                conn.end_reply(start, xid, zxid);
            }
        }
        let written = self.conns.get(id).map_or(0, |conn| conn.out.len().saturating_sub(conn.out.counted));
        self.spent.add(8 + body.len() / 32 + written / 128);
        self.replied(id, since, false);
        self.touch(id);
    }

    fn set_watches_request(
        &mut self,
        id: ConnId,
        op: OpCode,
        body: &[u8],
        who: &Arc<Identities>,
    ) -> Result<(), ErrorCode> {
        let malformed = |_| ErrorCode::MarshallingError;
        let mut decoder = decoder(body);
        let one_shot: SetWatchesRequest<'_> = decoder.read().map_err(malformed)?;
        let persistent = match op {
            OpCode::SetWatches2 => decoder.read().map_err(malformed)?,
            _ => PersistentWatches::default(),
        };
        self.set_watches(id, who, one_shot, persistent)
    }

    fn read_body(
        &mut self,
        id: ConnId,
        op: OpCode,
        body: &[u8],
        who: &Arc<Identities>,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        match op {
            OpCode::Ping => Ok(()),
            OpCode::Exists => self.exists(id, who, parse(body)?, out),
            OpCode::GetData => {
                let request: PathWatchRequest<'_> = parse(body)?;
                let node = self.readable(who, &request.path)?;
                if request.watch {
                    self.watch(id, request.path.as_str(), Modes::DATA, Some(node))?;
                }
                self.data(node, out);
                Ok(())
            }
            OpCode::GetChildren | OpCode::GetChildren2 => {
                let request: PathWatchRequest<'_> = parse(body)?;
                let node = match self.state.tree.lookup(request.path.as_str()) {
                    Some(node) if failpoint::on(Failpoint::AclUncheckedChildren) => node,
                    _ => self.readable(who, &request.path)?,
                };
                if request.watch {
                    self.watch(id, request.path.as_str(), Modes::CHILD, Some(node))?;
                }
                self.names(node, out)?;
                if op == OpCode::GetChildren2 {
                    encode(&self.state.tree.stat(node), out);
                }
                Ok(())
            }
            OpCode::GetAcl => self.get_acl(who, parse(body)?, out),
            OpCode::GetAllChildrenNumber => {
                let request: PathRequest<'_> = parse(body)?;
                let node = self.readable(who, &request.path)?;
                // ZooKeeper keeps the root under two names, and counts one of them when asked by the other.
                let alias = usize::from(request.path.as_str().is_empty());
                let total = i32::try_from(self.state.tree.descendants(node) + alias).unwrap_or(i32::MAX);
                encode(&NumberReply { total }, out);
                Ok(())
            }
            OpCode::GetEphemerals => {
                let request: PathRequest<'_> = parse(body)?;
                self.get_ephemerals(id, request.path.as_str(), out);
                Ok(())
            }
            OpCode::WhoAmI => {
                let infos = who.ids().iter();
                let infos = infos
                    .map(|id| ClientInfo { scheme: id.scheme.as_str().into(), user: user_of(id).into() })
                    .collect();
                encode(&WhoAmIReply { infos }, out);
                Ok(())
            }
            OpCode::MultiRead => self.multi_read(who, body, out),
            OpCode::AddWatch => self.add_watch(id, parse(body)?, out),
            OpCode::CheckWatches => {
                let (path, kind) = watch_kind(parse(body)?)?;
                if self.watches.contains(id.slot, path.as_str(), kind) { Ok(()) } else { Err(ErrorCode::NoWatcher) }
            }
            OpCode::RemoveWatches => {
                let (path, kind) = watch_kind(parse(body)?)?;
                if self.watches.remove(id.slot, path.as_str(), kind) { Ok(()) } else { Err(ErrorCode::NoWatcher) }
            }
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    /// The znode at `path`, if it is there and `who` may read it.
    pub(super) fn readable(&self, who: &Identities, path: &Text<'_>) -> Result<NodeId, ErrorCode> {
        if path.is_null() {
            return Err(ErrorCode::MarshallingError);
        }
        let node = self.state.tree.lookup(path.as_str()).ok_or(ErrorCode::NoNode)?;
        if self.may(who, node, perms::READ) { Ok(node) } else { Err(ErrorCode::NoAuth) }
    }

    /// Appends the reply to `getData`.
    pub(super) fn data(&self, node: NodeId, out: &mut Vec<u8>) {
        let data = self.state.tree.data(node);
        let size = 4 + data.as_ref().map_or(0, |data| data.len()) + Stat::SIZE;
        // A new buffer is made in one step, others grow by half or more.
        if out.capacity() == 0 {
            *out = Vec::with_capacity(size);
        } else {
            out.reserve(size);
        }
        encode(&DataReply { data: Buffer(data.as_deref()), stat: self.state.tree.stat(node) }, out);
    }

    pub(super) fn may(&self, who: &Identities, node: NodeId, wanted: i32) -> bool {
        let acl = self.state.tree.acl(node);
        if self.settings.skip_acl || acl.is_open() {
            return true;
        }
        self.spent.add(acl.cost());
        who.permits(acl, wanted)
    }

    fn exists(
        &mut self,
        id: ConnId,
        who: &Identities,
        request: PathWatchRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        if request.path.is_null() {
            return Err(ErrorCode::MarshallingError);
        }
        let path = request.path.as_str();
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.state.tree.lookup(path);
        // SC-69: as ZooKeeper answers since 3.9.2.
        if node.is_some_and(|node| !self.may(who, node, perms::READ)) {
            return Err(ErrorCode::NoAuth);
        }
        if request.watch && !(failpoint::on(Failpoint::AwaitForgotten) && node.is_none()) {
            self.watch(id, path, Modes::DATA, node)?;
        }
        let node = node.ok_or(ErrorCode::NoNode)?;
        encode(&StatReply { stat: self.state.tree.stat(node) }, out);
        Ok(())
    }

    pub(super) fn get_acl(
        &self,
        who: &Identities,
        request: PathRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        if request.path.is_null() {
            return Err(ErrorCode::MarshallingError);
        }
        let node = self.state.tree.lookup(request.path.as_str()).ok_or(ErrorCode::NoNode)?;
        if !self.may(who, node, perms::READ | perms::ADMIN) {
            return Err(ErrorCode::NoAuth);
        }
        let entries = self.state.tree.acl(node).entries();
        let is_admin = self.may(who, node, perms::ADMIN) || failpoint::on(Failpoint::SecretsShown);
        let shown = |entry: &Acl<'static>| match is_admin {
            true => entry.clone(),
            false => Acl { perms: entry.perms, id: masked(&entry.id) },
        };
        let acl = if entries.is_empty() { vec![Acl::open()] } else { entries.iter().map(shown).collect() };
        encode(&AclReply { acl, stat: self.state.tree.stat(node) }, out);
        Ok(())
    }

    pub(super) fn names(&self, node: NodeId, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let count = self.state.tree.view(node).child_count;
        let limit = self.settings.limits.reply_size_max;
        let start = out.len();
        encode(&i32::try_from(count).unwrap_or(i32::MAX), out);
        for name in self.state.tree.children(node) {
            encode(name, out);
            if out.len() - start > limit {
                return Err(ErrorCode::MarshallingError);
            }
        }
        Ok(())
    }

    fn get_ephemerals(&self, id: ConnId, prefix: &str, out: &mut Vec<u8>) {
        let session = self.conns.get(id).map_or(SessionId::NONE, |conn| conn.session);
        let all = prefix.trim().is_empty() || prefix == "/";
        let paths: Vec<String> = self
            .state
            .tree
            .ephemerals(session)
            .map(|node| self.state.tree.path(node))
            .filter(|path| all || path.starts_with(prefix))
            .collect();
        encode(&paths, out);
    }

    fn multi_read(&self, who: &Identities, body: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let ops = decode_ops(body).map_err(|_| ErrorCode::MarshallingError)?;
        if !ops.iter().all(|op| matches!(op, MultiOp::GetData(_) | MultiOp::GetChildren(_))) {
            return Err(ErrorCode::MarshallingError);
        }
        let start = out.len();
        for op in ops {
            self.multi_read_one(who, &op, start, out)?;
        }
        encode(&MultiHeader::END, out);
        Ok(())
    }

    /// One result of a multiRead, whose reply begins at `start`.
    pub(super) fn multi_read_one(
        &self,
        who: &Identities,
        op: &MultiOp<'_>,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        let (kind, result) = match op {
            MultiOp::GetData(request) => (OpCode::GetData, self.readable(who, &request.path)),
            MultiOp::GetChildren(request) => (OpCode::GetChildren, self.readable(who, &request.path)),
            _ => return Err(ErrorCode::MarshallingError),
        };
        match result {
            Ok(node) => {
                encode(&MultiHeader::success(kind), out);
                if kind == OpCode::GetData {
                    let data = self.state.tree.data(node);
                    encode(&DataReply { data: Buffer(data.as_deref()), stat: self.state.tree.stat(node) }, out);
                } else {
                    self.names(node, out)?;
                }
            }
            // A null path ends the whole request, as an exception does in ZooKeeper.
            Err(ErrorCode::MarshallingError) => return Err(ErrorCode::MarshallingError),
            Err(code) => {
                encode(&MultiHeader::failure(code), out);
                encode(&ErrorReply { err: code.to_i32() }, out);
            }
        }
        if out.len() - start > self.settings.limits.reply_size_max {
            return Err(ErrorCode::MarshallingError);
        }
        Ok(())
    }

    fn add_watch(&mut self, id: ConnId, request: WatchRequest<'_>, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let modes = match request.kind {
            0 => Modes::PERSISTENT,
            1 => Modes::RECURSIVE,
            _ => return Err(ErrorCode::MarshallingError),
        };
        let path = request.path.as_str();
        let node = self.state.tree.lookup(path);
        self.watch(id, path, modes, node)?;
        encode(&ErrorReply { err: 0 }, out);
        Ok(())
    }
}

fn watch_kind(request: WatchRequest<'_>) -> Result<(Text<'_>, WatchKind), ErrorCode> {
    let kind = WatchKind::from_i32(request.kind).ok_or(ErrorCode::MarshallingError)?;
    Ok((request.path, kind))
}
