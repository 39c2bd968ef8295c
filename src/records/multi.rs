//! Multi: several operations in one request, each behind a header, ended by a header that says so.

use serde::{Deserialize, Serialize};

use super::replies::{DataReply, ErrorReply, NamesReply, PathReply, PathStatReply, StatReply};
use super::requests::{CreateRequest, CreateTtlRequest, PathVersionRequest, PathWatchRequest, SetDataRequest};
use super::{ErrorCode, OpCode};
use crate::jute::{Decoder, JuteError};

/// In front of each operation and each result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiHeader {
    /// An operation code, or −1.
    pub op: i32,
    /// Whether this is the end of the list.
    pub done: bool,
    /// In results: an error code.
    pub err: i32,
}

impl MultiHeader {
    /// Ends the list.
    pub const END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };

    /// In front of a request.
    pub fn request(op: OpCode) -> MultiHeader {
        MultiHeader { op: op.to_i32(), done: false, err: -1 }
    }

    /// In front of a result that succeeded.
    pub fn success(op: OpCode) -> MultiHeader {
        MultiHeader { op: op.to_i32(), done: false, err: 0 }
    }

    /// In front of a result that failed; an [`ErrorReply`] with the same number follows.
    pub fn failure(code: ErrorCode) -> MultiHeader {
        MultiHeader { op: -1, done: false, err: code.to_i32() }
    }
}

/// One operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiOp<'a> {
    /// `create`, `create2`, `createContainer`.
    Create(OpCode, CreateRequest<'a>),
    /// `createTTL`.
    CreateTtl(CreateTtlRequest<'a>),
    /// `delete`.
    Delete(PathVersionRequest<'a>),
    /// `setData`.
    SetData(SetDataRequest<'a>),
    /// `check`.
    Check(PathVersionRequest<'a>),
    /// `getData`, only in a multiRead.
    GetData(PathWatchRequest<'a>),
    /// `getChildren`, only in a multiRead.
    GetChildren(PathWatchRequest<'a>),
}

/// Reads the next operation of a multi or multiRead; `None` at its end.
///
/// # Errors
/// [`JuteError`] for an operation that has no place in a multi, or a cut record. Nested multis are refused by this too
/// (SC-70).
pub fn next_op<'a>(decoder: &mut Decoder<'a>) -> Result<Option<MultiOp<'a>>, JuteError> {
    let header: MultiHeader = decoder.read()?;
    if header.done {
        return Ok(None);
    }
    Ok(Some(match OpCode::from_i32(header.op) {
        Some(op @ (OpCode::Create | OpCode::Create2 | OpCode::CreateContainer)) => MultiOp::Create(op, decoder.read()?),
        Some(OpCode::CreateTtl) => MultiOp::CreateTtl(decoder.read()?),
        Some(OpCode::Delete) => MultiOp::Delete(decoder.read()?),
        Some(OpCode::SetData) => MultiOp::SetData(decoder.read()?),
        Some(OpCode::Check) => MultiOp::Check(decoder.read()?),
        Some(OpCode::GetData) => MultiOp::GetData(decoder.read()?),
        Some(OpCode::GetChildren) => MultiOp::GetChildren(decoder.read()?),
        _ => return Err(JuteError::Invalid(format!("operation {} has no place in a multi", header.op))),
    }))
}

/// Reads all operations of a multi or multiRead.
///
/// # Errors
/// As [`next_op`].
pub fn decode_ops(body: &[u8]) -> Result<Vec<MultiOp<'_>>, JuteError> {
    let mut decoder = Decoder::with_limit(body, body.len());
    std::iter::from_fn(|| next_op(&mut decoder).transpose()).collect()
}

/// One result of a multi, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiResult<'a> {
    /// `create`.
    Path(PathReply<'a>),
    /// `create2` and the other creates.
    PathStat(PathStatReply<'a>),
    /// `delete` or `check`.
    Done(OpCode),
    /// `setData`.
    Stat(StatReply),
    /// `getData`.
    Data(DataReply<'a>),
    /// `getChildren`.
    Names(NamesReply<'a>),
    /// It failed, or another one did.
    Error(i32),
}

/// Reads the results of a multi or multiRead.
///
/// # Errors
/// [`JuteError`] for a result type no server sends, or a cut record.
pub fn decode_results(body: &[u8]) -> Result<Vec<MultiResult<'_>>, JuteError> {
    let mut decoder = Decoder::with_limit(body, body.len());
    let mut results = Vec::new();
    loop {
        let header: MultiHeader = decoder.read()?;
        if header.done {
            return Ok(results);
        }
        results.push(match OpCode::from_i32(header.op) {
            Some(OpCode::Create) => MultiResult::Path(decoder.read()?),
            Some(OpCode::Create2) => MultiResult::PathStat(decoder.read()?),
            Some(op @ (OpCode::Delete | OpCode::Check)) => MultiResult::Done(op),
            Some(OpCode::SetData) => MultiResult::Stat(decoder.read()?),
            Some(OpCode::GetData) => MultiResult::Data(decoder.read()?),
            Some(OpCode::GetChildren) => MultiResult::Names(decoder.read()?),
            Some(OpCode::Error) => MultiResult::Error(decoder.read::<ErrorReply>()?.err),
            _ => return Err(JuteError::Invalid(format!("no result has type {}", header.op))),
        });
    }
}
