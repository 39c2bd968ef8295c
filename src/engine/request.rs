//! How the records of requests are read, what can be said of a request by itself, and the one record of a reply that reads and
//! writes share.

use crate::jute::{Decoder, Text, encode};
use crate::records::multi::{MultiOp, next_op};
use crate::records::replies::PathReply;
use crate::records::requests::{
    CreateRequest, CreateTtlRequest, PathRequest, PathVersionRequest, ReconfigRequest, SetAclRequest, SetDataRequest,
};
use crate::records::{CreateMode, ErrorCode, OpCode};

/// A cursor over a request's record with the engine's field limit.
pub(super) fn decoder(body: &[u8]) -> Decoder<'_> {
    Decoder::with_limit(body, body.len())
}

/// The record that a request consists of.
pub(super) fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, ErrorCode> {
    decoder(body).read().map_err(|_| ErrorCode::MarshallingError)
}

/// A request that names nothing but a path.
pub(super) fn parse_path(path: &str) -> PathRequest<'_> {
    PathRequest { path: path.into() }
}

/// The reply to `create`, shared with writes.
pub(super) fn encode_path(path: &Text<'_>, out: &mut Vec<u8>) {
    encode(&PathReply { path: path.as_str().into() }, out);
}

/// Whether a client's request changes znodes. It becomes a transaction, as does the one that ends a session.
pub(super) fn changes_znodes(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::SetAcl
            | OpCode::Multi
            | OpCode::Reconfig
    )
}

/// Whether it becomes a transaction.
pub(super) fn is_write(op: OpCode) -> bool {
    changes_znodes(op) || op == OpCode::CloseSession
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
        OpCode::Multi => has_place(body),
        _ => true,
    }
}

/// Whether a create that ZooKeeper makes a local session known to all servers for is in it: an ephemeral one.
pub(super) fn wants_ephemeral(op: OpCode, body: &[u8]) -> bool {
    let is_ephemeral = |flags| CreateMode::from_i32(flags).is_some_and(CreateMode::is_ephemeral);
    let mut decoder = decoder(body);
    match op {
        OpCode::Create | OpCode::Create2 => {
            decoder.read::<CreateRequest<'_>>().is_ok_and(|request| is_ephemeral(request.flags))
        }
        OpCode::Multi => {
            while let Ok(Some(op)) = next_op(&mut decoder) {
                if let MultiOp::Create(OpCode::Create | OpCode::Create2, request) = op
                    && is_ephemeral(request.flags)
                {
                    return true;
                }
            }
            false
        }
        _ => false,
    }
}

/// Whether a create names an ACL list. Without one ZooKeeper fails before the request has its place in the history.
pub(super) fn has_acls(op: &MultiOp<'_>) -> bool {
    match op {
        MultiOp::Create(_, request) => request.acl.is_some(),
        MultiOp::CreateTtl(request) => request.create.acl.is_some(),
        _ => true,
    }
}

/// Whether a multi is refused with a place in the history, if it is refused at all.
fn has_place(body: &[u8]) -> bool {
    let mut decoder = decoder(body);
    while let Ok(Some(op)) = next_op(&mut decoder) {
        if !has_acls(&op) || !is_multi_write(&op) {
            return has_acls(&op);
        }
    }
    true
}

/// Whether the whole request may stand with this operation in it.
pub(super) fn is_multi_write(op: &MultiOp<'_>) -> bool {
    match op {
        MultiOp::Create(_, request) => {
            !request.path.is_null() && CreateMode::from_i32(request.flags).is_some_and(|mode| !mode.is_ttl())
        }
        MultiOp::CreateTtl(request) => !request.create.path.is_null(),
        MultiOp::Delete(request) | MultiOp::Check(request) => !request.path.is_null(),
        MultiOp::SetData(request) => !request.path.is_null(),
        MultiOp::GetData(_) | MultiOp::GetChildren(_) => false,
    }
}
