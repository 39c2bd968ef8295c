//! What a Java leader makes of a request, and what a transaction does: by the plain model of the simulator, whose bytes are read and
//! written here.

use crate::ids::{SessionId, Zxid};
use crate::jute::{Buffer, Decoder, JuteError, Text, encoded};
use crate::records::multi::{MultiOp, decode_ops};
use crate::records::requests::{CreateRequest, PathVersionRequest, SetDataRequest};
use crate::records::txn::{
    CloseSessionTxn, CreateTxn, DeleteTxn, ErrorTxn, Payload, SetDataTxn, SubTxn, Txn, TxnHeader, decode_txn,
};
use crate::records::{Acl, OpCode};
use crate::sim::Wrong;
use crate::sim::model::{Model, ModelOwner};
use crate::sim::oracle::{self, OracleChange};
use crate::sim::request::{SimRequest, Write};
use crate::sim::who::{ModelAcl, SimUsers};

/// The rest of a multi that failed.
const INCONSISTENT: i32 = -2;

/// A transaction takes effect.
pub(super) fn applied_to(model: &mut Model, bytes: &[u8]) -> Result<(), Wrong> {
    let (header, txn, _) = decode_txn(bytes).map_err(|error| format!("S-03: no transaction for Java: {error}"))?;
    let (session, zxid) = (header.session.0, header.zxid.0);
    model.zxid = zxid;
    match &txn {
        Txn::CreateSession(txn) => model.begin(session, txn.timeout, zxid),
        // It may have ended before.
        Txn::CloseSession(_) if !model.sessions.contains_key(&session) => Ok(()),
        Txn::CloseSession(listed) => {
            let paths = |txn: &CloseSessionTxn<'_>| txn.paths.iter().map(|path| path.as_str().to_owned()).collect();
            let listed: Option<Vec<String>> = listed.as_ref().map(paths);
            model.end(session, listed.as_deref(), zxid).map(drop)
        }
        txn => {
            let decisions = oracle::decisions(txn, session, &SimRequest::Ping)?;
            if decisions.iter().any(Result::is_err) {
                return Ok(());
            }
            let changes = decisions.into_iter().flatten();
            changes.into_iter().try_for_each(|change| model.apply(&change, zxid, header.time).map(drop))
        }
    }
}

fn create(op: OpCode, request: &CreateRequest<'_>) -> Write {
    Write::Create {
        op,
        path: request.path.as_str().to_owned(),
        data: request.data.0.map(<[u8]>::to_vec),
        acl: request.acl.iter().flatten().map(ModelAcl::of).collect(),
        flags: request.flags,
        ttl: -1,
    }
}

fn delete(request: &PathVersionRequest<'_>) -> Write {
    Write::Delete { path: request.path.as_str().to_owned(), version: request.version }
}

fn set(request: &SetDataRequest<'_>) -> Write {
    let data = request.data.0.map(<[u8]>::to_vec);
    Write::Set { path: request.path.as_str().to_owned(), data, version: request.version }
}

/// What a learner forwards for a client.
fn read_request(op: OpCode, body: &[u8]) -> Result<SimRequest, JuteError> {
    let mut decoder = Decoder::new(body);
    Ok(match op {
        OpCode::Create | OpCode::Create2 => SimRequest::Write(create(op, &decoder.read()?)),
        OpCode::Delete => SimRequest::Write(delete(&decoder.read()?)),
        OpCode::SetData => SimRequest::Write(set(&decoder.read()?)),
        OpCode::Multi => {
            let write = |part: MultiOp<'_>| match part {
                MultiOp::Create(op, request) => Ok(create(op, &request)),
                MultiOp::Delete(request) => Ok(delete(&request)),
                MultiOp::SetData(request) => Ok(set(&request)),
                other => Err(JuteError::Invalid(format!("{other:?} in a multi"))),
            };
            SimRequest::Multi(decode_ops(body)?.into_iter().map(write).collect::<Result<_, _>>()?)
        }
        other => return Err(JuteError::Invalid(format!("{other} is forwarded"))),
    })
}

/// The record of one change, and its type.
fn record(change: &OracleChange) -> (i32, Vec<u8>) {
    let acls = |acl: &[ModelAcl]| acl.iter().map(ModelAcl::on_the_wire).collect::<Vec<Acl<'static>>>();
    let mut out = Vec::new();
    let op = match change {
        OracleChange::Create { op, path, data: bytes, acl, owner, parent_creations, .. } => {
            let txn = CreateTxn {
                path: Text::new(path),
                data: Buffer(bytes.as_deref()),
                acl: acls(acl),
                ephemeral: matches!(owner, ModelOwner::Session(_)),
                parent_cversion: *parent_creations,
            };
            Txn::Create(txn).encode(&mut out);
            op.to_i32()
        }
        OracleChange::Delete { path } => {
            Txn::Delete(DeleteTxn { path: Text::new(path) }).encode(&mut out);
            OpCode::Delete.to_i32()
        }
        OracleChange::Set { path, data: bytes, version } => {
            let txn = SetDataTxn { path: Text::new(path), data: Buffer(bytes.as_deref()), version: *version };
            Txn::SetData(txn).encode(&mut out);
            OpCode::SetData.to_i32()
        }
        // Nobody asks a model for these.
        OracleChange::SetAcl { .. } | OracleChange::Check { .. } => OpCode::Error.to_i32(),
    };
    (op, out)
}

/// A refusal.
pub(super) fn refusal(code: i32) -> (i32, Vec<u8>) {
    (OpCode::Error.to_i32(), encoded(&ErrorTxn { err: code }))
}

fn decided_one(model: &Model, write: &Write, session: i64) -> Result<OracleChange, i32> {
    let request = SimRequest::Write(write.clone());
    let decided = oracle::decide(model, &request, &SimUsers::default(), session, &Default::default());
    decided.into_iter().next().unwrap_or(Err(INCONSISTENT))
}

/// What a write becomes on the state ahead: type and record.
pub(super) fn decide(ahead: &Model, op: OpCode, body: &[u8], session: i64) -> Result<(i32, Vec<u8>), Wrong> {
    let request = read_request(op, body).map_err(|error| format!("F-20: a request for Java: {error}"))?;
    let writes = match request {
        SimRequest::Multi(writes) => writes,
        SimRequest::Write(write) => return Ok(decided_one(ahead, &write, session).map_or_else(refusal, |c| record(&c))),
        _ => return Ok(refusal(INCONSISTENT)),
    };
    let mut state = ahead.clone();
    let mut parts = Vec::new();
    let mut has_failed = false;
    for write in &writes {
        let decided = match has_failed {
            true => Err(INCONSISTENT),
            false => decided_one(&state, write, session),
        };
        match decided {
            Ok(change) => {
                state.apply(&change, ahead.zxid + 1, 0)?;
                parts.push(record(&change));
            }
            Err(code) => {
                has_failed = true;
                parts.push(refusal(code));
            }
        }
    }
    let parts = parts.iter().map(|(op, bytes)| SubTxn { op: *op, data: Buffer::new(bytes) }).collect();
    let mut out = Vec::new();
    Txn::Multi(parts).encode(&mut out);
    Ok((OpCode::Multi.to_i32(), out))
}

/// The bytes of a transaction.
pub(super) fn transaction(session: i64, cxid: i32, zxid: Zxid, time: i64, record: (i32, Vec<u8>)) -> Payload {
    let header = TxnHeader { session: SessionId(session), cxid, zxid, time, op: record.0 };
    let mut out = encoded(&header);
    out.extend(record.1);
    out.into()
}

/// The end of a session, its ephemerals with it.
pub(super) fn close(ahead: &Model, session: i64) -> (i32, Vec<u8>) {
    let paths = ahead.ephemerals(session);
    let paths = paths.iter().map(|path| Text::new(path)).collect();
    (OpCode::CloseSession.to_i32(), encoded(&CloseSessionTxn { paths }))
}
