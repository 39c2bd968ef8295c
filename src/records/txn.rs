//! Transactions as they are proposed, logged and applied: ZooKeeper's own bytes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Acl, ErrorCode, OpCode};
use crate::ids::{SessionId, Zxid};
use crate::jute::{Buffer, Decoder, JuteError, Text, encode};

/// A transaction's header and record: the bytes of its PROPOSAL, of its INFORM and of its place in the log.
pub type Payload = Arc<[u8]>;

/// A transaction to be made durable and agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its place in the history.
    pub zxid: Zxid,
    /// Header and record, as logged.
    pub txn: Payload,
}

/// In front of every transaction, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnHeader {
    /// The session that asked; 0 for the leader's own housekeeping.
    pub session: SessionId,
    /// The client's request number; 0 for session creation and expiry.
    pub cxid: i32,
    /// Its place in the history.
    pub zxid: Zxid,
    /// The leader's wall clock, ms since 1970.
    pub time: i64,
    /// An [`OpCode`].
    pub op: i32,
}

/// `create` and `create2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTxn<'a> {
    /// The final path.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Data.
    #[serde(borrow)]
    pub data: Buffer<'a>,
    /// Final identities: `auth` is resolved before proposing (SC-73).
    #[serde(borrow)]
    pub acl: Vec<Acl<'a>>,
    /// Whether the header's session owns it.
    pub ephemeral: bool,
    /// The parent's counter of creations after this one; −1 from before ZooKeeper 3.4.
    pub parent_cversion: i32,
}

/// `createContainer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateContainerTxn<'a> {
    /// The final path.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Data.
    #[serde(borrow)]
    pub data: Buffer<'a>,
    /// Final identities.
    #[serde(borrow)]
    pub acl: Vec<Acl<'a>>,
    /// As in [`CreateTxn`].
    pub parent_cversion: i32,
}

/// `createTTL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTtlTxn<'a> {
    /// The final path.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Data.
    #[serde(borrow)]
    pub data: Buffer<'a>,
    /// Final identities.
    #[serde(borrow)]
    pub acl: Vec<Acl<'a>>,
    /// As in [`CreateTxn`].
    pub parent_cversion: i32,
    /// Time to live, ms.
    pub ttl: i64,
}

/// `delete` and `deleteContainer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTxn<'a> {
    /// The znode.
    #[serde(borrow)]
    pub path: Text<'a>,
}

/// `setData` and `reconfig`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDataTxn<'a> {
    /// The znode.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// The new data.
    #[serde(borrow)]
    pub data: Buffer<'a>,
    /// The new version.
    pub version: i32,
}

/// `setACL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAclTxn<'a> {
    /// The znode.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Final identities.
    #[serde(borrow)]
    pub acl: Vec<Acl<'a>>,
    /// The new ACL version.
    pub version: i32,
}

/// `check`, only within a multi.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckVersionTxn<'a> {
    /// The znode.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// The current version plus one; no server reads it.
    pub version: i32,
}

/// `createSession`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSessionTxn {
    /// Granted timeout, ms.
    pub timeout: i32,
}

/// `closeSession`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseSessionTxn<'a> {
    /// The session's ephemeral znodes.
    #[serde(borrow)]
    pub paths: Vec<Text<'a>>,
}

/// A refused write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorTxn {
    /// An [`ErrorCode`].
    pub err: i32,
}

/// One part of a multi.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubTxn<'a> {
    /// An [`OpCode`].
    pub op: i32,
    /// The bytes of the record.
    #[serde(borrow)]
    pub data: Buffer<'a>,
}

/// The tree's digest after a transaction, optional behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnDigest {
    /// The algorithm; 2 is ZooKeeper's present one.
    pub version: i32,
    /// The digest.
    pub digest: i64,
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn<'a> {
    /// A new znode; the client gets its path.
    Create(CreateTxn<'a>),
    /// A new znode; the client gets path and stat.
    Create2(CreateTxn<'a>),
    /// A new container.
    CreateContainer(CreateContainerTxn<'a>),
    /// A new znode with a time to live.
    CreateTtl(CreateTtlTxn<'a>),
    /// A znode goes.
    Delete(DeleteTxn<'a>),
    /// An empty container or expired znode goes.
    DeleteContainer(DeleteTxn<'a>),
    /// New data.
    SetData(SetDataTxn<'a>),
    /// New membership.
    Reconfig(SetDataTxn<'a>),
    /// A new ACL.
    SetAcl(SetAclTxn<'a>),
    /// Nothing; a version was compared.
    Check(CheckVersionTxn<'a>),
    /// All of these, or none if one of them is an error.
    Multi(Vec<SubTxn<'a>>),
    /// A session begins.
    CreateSession(CreateSessionTxn),
    /// A session ends, its ephemerals with it. Without a list: all that it has.
    CloseSession(Option<CloseSessionTxn<'a>>),
    /// Nothing; a write was refused.
    Error(ErrorTxn),
}

impl<'a> Txn<'a> {
    /// Its operation code.
    pub fn op(&self) -> OpCode {
        match self {
            Txn::Create(_) => OpCode::Create,
            Txn::Create2(_) => OpCode::Create2,
            Txn::CreateContainer(_) => OpCode::CreateContainer,
            Txn::CreateTtl(_) => OpCode::CreateTtl,
            Txn::Delete(_) => OpCode::Delete,
            Txn::DeleteContainer(_) => OpCode::DeleteContainer,
            Txn::SetData(_) => OpCode::SetData,
            Txn::Reconfig(_) => OpCode::Reconfig,
            Txn::SetAcl(_) => OpCode::SetAcl,
            Txn::Check(_) => OpCode::Check,
            Txn::Multi(_) => OpCode::Multi,
            Txn::CreateSession(_) => OpCode::CreateSession,
            Txn::CloseSession(_) => OpCode::CloseSession,
            Txn::Error(_) => OpCode::Error,
        }
    }

    /// A refusal.
    pub fn error(code: ErrorCode) -> Txn<'static> {
        Txn::Error(ErrorTxn { err: code.to_i32() })
    }

    /// Appends the record without header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Txn::Create(txn) | Txn::Create2(txn) => encode(txn, out),
            Txn::CreateContainer(txn) => encode(txn, out),
            Txn::CreateTtl(txn) => encode(txn, out),
            Txn::Delete(txn) | Txn::DeleteContainer(txn) => encode(txn, out),
            Txn::SetData(txn) | Txn::Reconfig(txn) => encode(txn, out),
            Txn::SetAcl(txn) => encode(txn, out),
            Txn::Check(txn) => encode(txn, out),
            Txn::Multi(txns) => encode(txns, out),
            Txn::CreateSession(txn) => encode(txn, out),
            Txn::CloseSession(Some(txn)) => encode(txn, out),
            Txn::CloseSession(None) => {}
            Txn::Error(txn) => encode(txn, out),
        }
    }

    /// Reads a record of type `op` from the front of `decoder`.
    ///
    /// # Errors
    /// [`JuteError`] for a type that is no transaction, or a cut record.
    pub fn decode(op: i32, decoder: &mut Decoder<'a>) -> Result<Txn<'a>, JuteError> {
        Ok(match OpCode::from_i32(op) {
            Some(OpCode::Create) => Txn::Create(decode_create(decoder)?),
            Some(OpCode::Create2) => Txn::Create2(decode_create(decoder)?),
            Some(OpCode::CreateContainer) => Txn::CreateContainer(decoder.read()?),
            Some(OpCode::CreateTtl) => Txn::CreateTtl(decoder.read()?),
            Some(OpCode::Delete) => Txn::Delete(decoder.read()?),
            Some(OpCode::DeleteContainer) => Txn::DeleteContainer(decoder.read()?),
            Some(OpCode::SetData) => Txn::SetData(decoder.read()?),
            Some(OpCode::Reconfig) => Txn::Reconfig(decoder.read()?),
            Some(OpCode::SetAcl) => Txn::SetAcl(decoder.read()?),
            Some(OpCode::Check) => Txn::Check(decoder.read()?),
            Some(OpCode::Multi) => Txn::Multi(decoder.read()?),
            Some(OpCode::CreateSession) => Txn::CreateSession(decoder.read()?),
            // ZooKeeper before 3.6 logs no list.
            Some(OpCode::CloseSession) if decoder.rest().is_empty() => Txn::CloseSession(None),
            Some(OpCode::CloseSession) => Txn::CloseSession(Some(decoder.read()?)),
            Some(OpCode::Error) => Txn::Error(decoder.read()?),
            _ => return Err(JuteError::Invalid(format!("no transaction has type {op}"))),
        })
    }
}

/// ZooKeeper before 3.4 logged creates without the parent's counter.
fn decode_create<'a>(decoder: &mut Decoder<'a>) -> Result<CreateTxn<'a>, JuteError> {
    #[derive(Deserialize)]
    struct Begin<'a> {
        #[serde(borrow)]
        path: Text<'a>,
        #[serde(borrow)]
        data: Buffer<'a>,
        #[serde(borrow)]
        acl: Vec<Acl<'a>>,
        ephemeral: bool,
    }
    let Begin { path, data, acl, ephemeral } = decoder.read()?;
    let parent_cversion = if decoder.rest().is_empty() { -1 } else { decoder.read()? };
    Ok(CreateTxn { path, data, acl, ephemeral, parent_cversion })
}

/// Appends a whole transaction: header and record. `header.op` must be that of `txn`.
pub fn encode_txn(header: &TxnHeader, txn: &Txn<'_>, out: &mut Vec<u8>) {
    debug_assert_eq!(header.op, txn.op().to_i32());
    encode(header, out);
    txn.encode(out);
}

/// Reads a whole transaction as it is proposed and logged. A digest behind it, if any, is the third value.
///
/// # Errors
/// [`JuteError`] when the bytes are no transaction.
pub fn decode_txn(bytes: &[u8]) -> Result<(TxnHeader, Txn<'_>, Option<TxnDigest>), JuteError> {
    let mut decoder = Decoder::with_limit(bytes, bytes.len());
    let header: TxnHeader = decoder.read()?;
    let txn = Txn::decode(header.op, &mut decoder)?;
    let digest = if decoder.rest().len() >= 12 { Some(decoder.read()?) } else { None };
    Ok((header, txn, digest))
}
