//! What clients ask, header first.

use serde::{Deserialize, Serialize};

use super::Acl;
use crate::jute::{Buffer, Text};

/// In front of every request after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHeader {
    /// The client's number for it, echoed in the reply.
    pub xid: i32,
    /// An operation code, as it came.
    pub op: i32,
}

/// `create`, `create2` and `createContainer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateRequest<'a> {
    /// Path, or prefix of a sequential one.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Initial data.
    #[serde(borrow)]
    pub data: Buffer<'a>,
    /// Initial ACL; null and empty are refused later, with another code than garbage.
    #[serde(borrow)]
    pub acl: Option<Vec<Acl<'a>>>,
    /// A [`super::CreateMode`] as it came.
    pub flags: i32,
}

/// `createTTL`: as [`CreateRequest`] with a time to live in ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTtlRequest<'a> {
    /// The common fields.
    #[serde(borrow)]
    pub create: CreateRequest<'a>,
    /// Time to live, ms.
    pub ttl: i64,
}

/// `delete` and `check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathVersionRequest<'a> {
    /// The znode.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Expected version; −1 for any.
    pub version: i32,
}

/// `exists`, `getData`, `getChildren`, `getChildren2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathWatchRequest<'a> {
    /// The znode.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Whether to leave a one-shot watch.
    pub watch: bool,
}

/// `setData`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDataRequest<'a> {
    /// The znode.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// The new data.
    #[serde(borrow)]
    pub data: Buffer<'a>,
    /// Expected version; −1 for any.
    pub version: i32,
}

/// `getACL`, `sync`, `getEphemerals`, `getAllChildrenNumber`, `deleteContainer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRequest<'a> {
    /// The znode, or a prefix.
    #[serde(borrow)]
    pub path: Text<'a>,
}

/// `setACL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAclRequest<'a> {
    /// The znode.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// The new list.
    #[serde(borrow)]
    pub acl: Option<Vec<Acl<'a>>>,
    /// Expected ACL version; −1 for any.
    pub version: i32,
}

/// `reconfig`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconfigRequest<'a> {
    /// Comma-separated `server.N=…` to add.
    #[serde(borrow)]
    pub joining: Text<'a>,
    /// Comma-separated ids to remove.
    #[serde(borrow)]
    pub leaving: Text<'a>,
    /// A complete new list instead.
    #[serde(borrow)]
    pub new_members: Text<'a>,
    /// Expected configuration version; −1 for any.
    pub config_id: i64,
}

/// `checkWatches` and `removeWatches`, and `addWatch` with `mode` in place of `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest<'a> {
    /// The watched path.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Which watches, or which mode.
    pub kind: i32,
}

/// `auth`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthRequest<'a> {
    /// Ignored.
    pub kind: i32,
    /// The scheme.
    #[serde(borrow)]
    pub scheme: Text<'a>,
    /// Credentials.
    #[serde(borrow)]
    pub auth: Buffer<'a>,
}

/// `sasl`, and its reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaslToken<'a> {
    /// The mechanism's bytes.
    #[serde(borrow)]
    pub token: Buffer<'a>,
}

/// `setWatches`. No list may be null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetWatchesRequest<'a> {
    /// The last zxid the client has seen.
    pub relative_zxid: i64,
    /// Paths with a data watch.
    #[serde(borrow)]
    pub data: Vec<Text<'a>>,
    /// Paths whose creation is awaited.
    #[serde(borrow)]
    pub exist: Vec<Text<'a>>,
    /// Paths with a child watch.
    #[serde(borrow)]
    pub child: Vec<Text<'a>>,
}

/// What `setWatches2` has on top of [`SetWatchesRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistentWatches<'a> {
    /// Paths with a persistent watch.
    #[serde(borrow)]
    pub persistent: Vec<Text<'a>>,
    /// Paths with a persistent recursive watch.
    #[serde(borrow)]
    pub recursive: Vec<Text<'a>>,
}
