//! Requests, short to write.

use zoarium::jute::{Buffer, encode, encoded};
use zoarium::records::multi::MultiHeader;
use zoarium::records::requests::{
    CreateRequest, CreateTtlRequest, PathRequest, PathVersionRequest, PathWatchRequest, ReconfigRequest, SetAclRequest,
    SetDataRequest, WatchRequest,
};
use zoarium::records::{Acl, OpCode};

/// An operation and its record.
pub type Request = (OpCode, Vec<u8>);

pub fn create_as(op: OpCode, path: &str, data: Option<&[u8]>, acl: &[Acl<'_>], flags: i32) -> Request {
    (op, encoded(&CreateRequest { path: path.into(), data: Buffer(data), acl: Some(acl.to_vec()), flags }))
}

pub fn create(path: &str, data: &str, flags: i32) -> Request {
    create_as(OpCode::Create2, path, Some(data.as_bytes()), &[Acl::open()], flags)
}

pub fn create_ttl(path: &str, flags: i32, ttl: i64) -> Request {
    let acl = Some(vec![Acl::open()]);
    let create = CreateRequest { path: path.into(), data: Buffer(Some(b"t")), acl, flags };
    (OpCode::CreateTtl, encoded(&CreateTtlRequest { create, ttl }))
}

pub fn container(path: &str) -> Request {
    create_as(OpCode::CreateContainer, path, None, &[Acl::open()], 4)
}

pub fn set(path: &str, data: &str, version: i32) -> Request {
    (OpCode::SetData, encoded(&SetDataRequest { path: path.into(), data: Buffer(Some(data.as_bytes())), version }))
}

pub fn set_null(path: &str) -> Request {
    (OpCode::SetData, encoded(&SetDataRequest { path: path.into(), data: Buffer(None), version: -1 }))
}

pub fn delete(path: &str, version: i32) -> Request {
    (OpCode::Delete, encoded(&PathVersionRequest { path: path.into(), version }))
}

pub fn check(path: &str, version: i32) -> Request {
    (OpCode::Check, encoded(&PathVersionRequest { path: path.into(), version }))
}

pub fn read(op: OpCode, path: &str) -> Request {
    match op {
        OpCode::GetAcl | OpCode::Sync | OpCode::GetEphemerals | OpCode::GetAllChildrenNumber => {
            (op, encoded(&PathRequest { path: path.into() }))
        }
        _ => (op, encoded(&PathWatchRequest { path: path.into(), watch: false })),
    }
}

pub fn set_acl(path: &str, acl: &[Acl<'_>], version: i32) -> Request {
    (OpCode::SetAcl, encoded(&SetAclRequest { path: path.into(), acl: Some(acl.to_vec()), version }))
}

pub fn watches(op: OpCode, path: &str, kind: i32) -> Request {
    (op, encoded(&WatchRequest { path: path.into(), kind }))
}

pub fn reconfig(joining: &str) -> Request {
    let request =
        ReconfigRequest { joining: joining.into(), leaving: "".into(), new_members: "".into(), config_id: -1 };
    (OpCode::Reconfig, encoded(&request))
}

/// Several as one.
pub fn multi(op: OpCode, parts: &[Request]) -> Request {
    let mut body = Vec::new();
    for (op, part) in parts {
        encode(&MultiHeader::request(*op), &mut body);
        body.extend_from_slice(part);
    }
    encode(&MultiHeader::END, &mut body);
    (op, body)
}
