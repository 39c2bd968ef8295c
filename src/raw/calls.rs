//! One typed call for each operation.

use super::{ClientError, RawClient, refused};
use crate::jute::{self, Buffer, Text};
use crate::records::multi::{MultiHeader, MultiOp, MultiResult, decode_results};
use crate::records::replies::{
    AclReply, ChildrenStatReply, DataReply, NamesReply, NumberReply, PathReply, PathStatReply, StatReply, WhoAmIReply,
};
use crate::records::requests::{
    AuthRequest, CreateRequest, CreateTtlRequest, PathRequest, PathVersionRequest, PathWatchRequest, PersistentWatches,
    ReconfigRequest, SaslToken, SetAclRequest, SetDataRequest, SetWatchesRequest, WatchRequest,
};
use crate::records::{Acl, CreateMode, ErrorCode, OpCode, Stat};

/// Result of one operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// A create: path and, for all but opcode 1, the stat.
    Created(String, Option<Stat>),
    /// A delete or a check.
    Done,
    /// A `setData`.
    Set(Stat),
    /// A `getData`.
    Data(Option<Vec<u8>>, Stat),
    /// A `getChildren`.
    Children(Vec<String>),
    /// It failed, or another one did: in a failed multi `Ok` stands before the culprit, `RuntimeInconsistency` behind.
    Failed(ErrorCode),
}

/// Refusals are [`ClientError::Refused`], everything else is a lost or broken connection.
#[allow(clippy::missing_errors_doc, reason = "all calls fail alike; said once, on the block")]
impl RawClient {
    /// Creates a znode; returns its path, with the sequence number if `mode` asks for one.
    pub fn create(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl<'_>],
        mode: CreateMode,
    ) -> Result<String, ClientError> {
        let body = self.call_record(OpCode::Create, &create_request(path, data, acl, mode))?;
        Ok(jute::decode::<PathReply<'_>>(&body)?.path.as_str().to_owned())
    }

    /// Creates a znode; returns its path and stat.
    pub fn create2(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl<'_>],
        mode: CreateMode,
    ) -> Result<(String, Stat), ClientError> {
        let body = self.call_record(OpCode::Create2, &create_request(path, data, acl, mode))?;
        path_stat(&body)
    }

    /// Creates a znode that the server removes some time after its last child has gone.
    pub fn create_container(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl<'_>],
    ) -> Result<(String, Stat), ClientError> {
        let request = create_request(path, data, acl, CreateMode::Container);
        let body = self.call_record(OpCode::CreateContainer, &request)?;
        path_stat(&body)
    }

    /// Creates a znode that the server removes once it was childless and unchanged for `ttl_ms`.
    pub fn create_ttl(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl<'_>],
        mode: CreateMode,
        ttl_ms: i64,
    ) -> Result<(String, Stat), ClientError> {
        let request = CreateTtlRequest { create: create_request(path, data, acl, mode), ttl: ttl_ms };
        let body = self.call_record(OpCode::CreateTtl, &request)?;
        path_stat(&body)
    }

    /// Deletes a childless znode at `version`, or at any for −1.
    pub fn delete(&mut self, path: &str, version: i32) -> Result<(), ClientError> {
        self.call_record(OpCode::Delete, &PathVersionRequest { path: path.into(), version }).map(drop)
    }

    /// The znode's stat, or `None` when it does not exist; the watch is left in both cases.
    pub fn exists(&mut self, path: &str, watch: bool) -> Result<Option<Stat>, ClientError> {
        match self.call_record(OpCode::Exists, &PathWatchRequest { path: path.into(), watch }) {
            Ok(body) => Ok(Some(jute::decode::<StatReply>(&body)?.stat)),
            Err(ClientError::Refused(ErrorCode::NoNode)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The znode's data and stat.
    pub fn get_data(&mut self, path: &str, watch: bool) -> Result<(Option<Vec<u8>>, Stat), ClientError> {
        let body = self.call_record(OpCode::GetData, &PathWatchRequest { path: path.into(), watch })?;
        let reply: DataReply<'_> = jute::decode(&body)?;
        Ok((reply.data.0.map(<[u8]>::to_vec), reply.stat))
    }

    /// Replaces the data at `version`, or at any for −1.
    pub fn set_data(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Stat, ClientError> {
        let request = SetDataRequest { path: path.into(), data: Buffer(data), version };
        let body = self.call_record(OpCode::SetData, &request)?;
        Ok(jute::decode::<StatReply>(&body)?.stat)
    }

    /// The znode's ACL and stat. Credentials are masked unless the caller has ADMIN.
    pub fn get_acl(&mut self, path: &str) -> Result<(Vec<Acl<'static>>, Stat), ClientError> {
        let body = self.call_record(OpCode::GetAcl, &PathRequest { path: path.into() })?;
        let reply: AclReply<'_> = jute::decode(&body)?;
        Ok((reply.acl.into_iter().map(Acl::into_owned).collect(), reply.stat))
    }

    /// Replaces the ACL at ACL version `version`, or at any for −1.
    pub fn set_acl(&mut self, path: &str, acl: &[Acl<'_>], version: i32) -> Result<Stat, ClientError> {
        let request = SetAclRequest { path: path.into(), acl: Some(acl.to_vec()), version };
        let body = self.call_record(OpCode::SetAcl, &request)?;
        Ok(jute::decode::<StatReply>(&body)?.stat)
    }

    /// Names of the children, in no particular order.
    pub fn get_children(&mut self, path: &str, watch: bool) -> Result<Vec<String>, ClientError> {
        let body = self.call_record(OpCode::GetChildren, &PathWatchRequest { path: path.into(), watch })?;
        Ok(names(&jute::decode::<NamesReply<'_>>(&body)?.names))
    }

    /// Names of the children, in no particular order, and the stat.
    pub fn get_children2(&mut self, path: &str, watch: bool) -> Result<(Vec<String>, Stat), ClientError> {
        let body = self.call_record(OpCode::GetChildren2, &PathWatchRequest { path: path.into(), watch })?;
        let reply: ChildrenStatReply<'_> = jute::decode(&body)?;
        Ok((names(&reply.names), reply.stat))
    }

    /// Waits until the server has caught up with what the leader had committed.
    pub fn sync(&mut self, path: &str) -> Result<(), ClientError> {
        self.call_record(OpCode::Sync, &PathRequest { path: path.into() }).map(drop)
    }

    /// A sign of life.
    pub fn ping(&mut self) -> Result<(), ClientError> {
        self.call(OpCode::Ping.to_i32(), &[]).map(drop)
    }

    /// Performs all operations or none. When one fails the call succeeds all the same and the results say which.
    pub fn multi(&mut self, ops: &[MultiOp<'_>]) -> Result<Vec<OpResult>, ClientError> {
        outcomes(&self.call(OpCode::Multi.to_i32(), &encode_ops(ops))?)
    }

    /// Performs several reads in one request; each may fail on its own.
    pub fn multi_read(&mut self, ops: &[MultiOp<'_>]) -> Result<Vec<OpResult>, ClientError> {
        outcomes(&self.call(OpCode::MultiRead.to_i32(), &encode_ops(ops))?)
    }

    /// Sets a watch that stays; `recursive` covers the whole subtree.
    pub fn add_watch(&mut self, path: &str, recursive: bool) -> Result<(), ClientError> {
        let request = WatchRequest { path: path.into(), kind: i32::from(recursive) };
        self.call_record(OpCode::AddWatch, &request).map(drop)
    }

    /// Whether this connection has a watch: 1 children, 2 data, 3 any, 4 persistent, 5 recursive. `NoWatcher` if not.
    pub fn check_watches(&mut self, path: &str, kind: i32) -> Result<(), ClientError> {
        self.call_record(OpCode::CheckWatches, &WatchRequest { path: path.into(), kind }).map(drop)
    }

    /// Removes this connection's watches of the same kinds. `NoWatcher` if there was none.
    pub fn remove_watches(&mut self, path: &str, kind: i32) -> Result<(), ClientError> {
        self.call_record(OpCode::RemoveWatches, &WatchRequest { path: path.into(), kind }).map(drop)
    }

    /// Re-registers watches after a reconnect; what changed since `one_shot.relative_zxid` comes as events.
    pub fn set_watches(
        &mut self,
        one_shot: &SetWatchesRequest<'_>,
        lasting: &PersistentWatches<'_>,
    ) -> Result<(), ClientError> {
        let mut body = jute::encoded(one_shot);
        jute::encode(lasting, &mut body);
        self.call(OpCode::SetWatches2.to_i32(), &body).map(drop)
    }

    /// Adds an identity to the connection. After a failure the server closes it.
    pub fn auth(&mut self, scheme: &str, credentials: &[u8]) -> Result<(), ClientError> {
        let request = AuthRequest { kind: 0, scheme: scheme.into(), auth: Buffer::new(credentials) };
        self.call_record(OpCode::Auth, &request).map(drop)
    }

    /// A step of a SASL exchange; returns the server's token.
    pub fn sasl(&mut self, token: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
        let body = self.call_record(OpCode::Sasl, &SaslToken { token: Buffer::new(token) })?;
        Ok(jute::decode::<SaslToken<'_>>(&body)?.token.0.map(<[u8]>::to_vec))
    }

    /// Paths of this session's ephemeral znodes that start with `prefix`.
    pub fn get_ephemerals(&mut self, prefix: &str) -> Result<Vec<String>, ClientError> {
        let body = self.call_record(OpCode::GetEphemerals, &PathRequest { path: prefix.into() })?;
        Ok(names(&jute::decode::<NamesReply<'_>>(&body)?.names))
    }

    /// Number of descendants of `path`.
    pub fn get_all_children_number(&mut self, path: &str) -> Result<i32, ClientError> {
        let body = self.call_record(OpCode::GetAllChildrenNumber, &PathRequest { path: path.into() })?;
        Ok(jute::decode::<NumberReply>(&body)?.total)
    }

    /// The connection's identities, as scheme and user.
    pub fn who_am_i(&mut self) -> Result<Vec<(String, String)>, ClientError> {
        let body = self.call(OpCode::WhoAmI.to_i32(), &[])?;
        let reply: WhoAmIReply<'_> = jute::decode(&body)?;
        Ok(reply.infos.iter().map(|info| (info.scheme.as_str().to_owned(), info.user.as_str().to_owned())).collect())
    }

    /// Changes the ensemble's membership; returns the new configuration text.
    pub fn reconfig(&mut self, request: &ReconfigRequest<'_>) -> Result<(Option<Vec<u8>>, Stat), ClientError> {
        let body = self.call_record(OpCode::Reconfig, request)?;
        let reply: DataReply<'_> = jute::decode(&body)?;
        Ok((reply.data.0.map(<[u8]>::to_vec), reply.stat))
    }

    /// Ends the session; its ephemeral znodes are gone when this returns.
    pub fn close(mut self) -> Result<(), ClientError> {
        self.call(OpCode::CloseSession.to_i32(), &[]).map(drop)
    }

    fn call_record<T: serde::Serialize>(&mut self, op: OpCode, record: &T) -> Result<Vec<u8>, ClientError> {
        self.call(op.to_i32(), &jute::encoded(record))
    }
}

fn create_request<'a>(path: &'a str, data: Option<&'a [u8]>, acl: &[Acl<'a>], mode: CreateMode) -> CreateRequest<'a> {
    CreateRequest { path: path.into(), data: Buffer(data), acl: Some(acl.to_vec()), flags: mode.to_i32() }
}

fn path_stat(body: &[u8]) -> Result<(String, Stat), ClientError> {
    let reply: PathStatReply<'_> = jute::decode(body)?;
    Ok((reply.path.as_str().to_owned(), reply.stat))
}

fn names(names: &[Text<'_>]) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

fn encode_ops(ops: &[MultiOp<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for op in ops {
        let (code, record) = match op {
            MultiOp::Create(code, request) => (*code, jute::encoded(request)),
            MultiOp::CreateTtl(request) => (OpCode::CreateTtl, jute::encoded(request)),
            MultiOp::Delete(request) => (OpCode::Delete, jute::encoded(request)),
            MultiOp::SetData(request) => (OpCode::SetData, jute::encoded(request)),
            MultiOp::Check(request) => (OpCode::Check, jute::encoded(request)),
            MultiOp::GetData(request) => (OpCode::GetData, jute::encoded(request)),
            MultiOp::GetChildren(request) => (OpCode::GetChildren, jute::encoded(request)),
        };
        jute::encode(&MultiHeader::request(code), &mut body);
        body.extend_from_slice(&record);
    }
    jute::encode(&MultiHeader::END, &mut body);
    body
}

fn outcomes(body: &[u8]) -> Result<Vec<OpResult>, ClientError> {
    decode_results(body)?.into_iter().map(outcome).collect()
}

fn outcome(result: MultiResult<'_>) -> Result<OpResult, ClientError> {
    Ok(match result {
        MultiResult::Path(reply) => OpResult::Created(reply.path.as_str().to_owned(), None),
        MultiResult::PathStat(reply) => OpResult::Created(reply.path.as_str().to_owned(), Some(reply.stat)),
        MultiResult::Done(_) => OpResult::Done,
        MultiResult::Stat(reply) => OpResult::Set(reply.stat),
        MultiResult::Data(reply) => OpResult::Data(reply.data.0.map(<[u8]>::to_vec), reply.stat),
        MultiResult::Names(reply) => OpResult::Children(names(&reply.names)),
        MultiResult::Error(err) => match refused(err) {
            ClientError::Refused(code) => OpResult::Failed(code),
            error => return Err(error),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::Decoder;
    use crate::records::multi::decode_ops;

    #[test]
    fn the_server_reads_the_operations_the_client_wrote() {
        let acl = [Acl::open()];
        let create = create_request("/a", None, &acl, CreateMode::Ephemeral);
        let ops = [
            MultiOp::Create(OpCode::Create2, create.clone()),
            MultiOp::CreateTtl(CreateTtlRequest { create, ttl: 5 }),
            MultiOp::Check(PathVersionRequest { path: "/a".into(), version: 3 }),
            MultiOp::SetData(SetDataRequest { path: "/a".into(), data: Buffer::new(b""), version: -1 }),
            MultiOp::Delete(PathVersionRequest { path: "/a".into(), version: -1 }),
        ];
        assert_eq!(decode_ops(&encode_ops(&ops)).expect("well-formed"), ops);
    }

    #[test]
    fn a_failed_multi_has_a_result_for_every_operation() {
        let mut body = Vec::new();
        for code in [ErrorCode::Ok, ErrorCode::NoNode, ErrorCode::RuntimeInconsistency] {
            jute::encode(&MultiHeader::failure(code), &mut body);
            jute::encode(&code.to_i32(), &mut body);
        }
        jute::encode(&MultiHeader::END, &mut body);
        let failed = [ErrorCode::Ok, ErrorCode::NoNode, ErrorCode::RuntimeInconsistency].map(OpResult::Failed);
        assert_eq!(outcomes(&body).expect("well-formed"), failed);
    }

    #[test]
    fn decoding_stops_at_the_first_reply_no_server_sends() {
        let mut body = Vec::new();
        jute::encode(&MultiHeader { op: 77, done: false, err: 0 }, &mut body);
        assert!(matches!(outcomes(&body), Err(ClientError::Protocol(_))));
        assert!(Decoder::new(&body).read::<MultiHeader>().is_ok());
    }
}
