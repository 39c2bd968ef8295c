//! What servers answer, header first.

use serde::{Deserialize, Serialize};

use super::{Acl, Stat};
use crate::jute::{Buffer, Text};

/// In front of every reply and event after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyHeader {
    /// The request's xid; −1 for an event.
    pub xid: i32,
    /// The last transaction applied when the reply was made.
    pub zxid: i64,
    /// An error code; 0 for success.
    pub err: i32,
}

/// Reply to `create` and `sync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathReply<'a> {
    /// The path, with its sequence number.
    #[serde(borrow)]
    pub path: Text<'a>,
}

/// Reply to `create2`, `createContainer`, `createTTL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStatReply<'a> {
    /// The path, with its sequence number.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// As right after creation.
    pub stat: Stat,
}

/// Reply to `exists`, `setData`, `setACL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatReply {
    /// After the operation.
    pub stat: Stat,
}

/// Reply to `getData`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataReply<'a> {
    /// May be null.
    #[serde(borrow)]
    pub data: Buffer<'a>,
    /// Of the same moment.
    pub stat: Stat,
}

/// Reply to `getACL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclReply<'a> {
    /// Credentials masked unless the caller has ADMIN.
    #[serde(borrow)]
    pub acl: Vec<Acl<'a>>,
    /// Of the same moment.
    pub stat: Stat,
}

/// Reply to `getChildren` and `getEphemerals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesReply<'a> {
    /// Names or paths in no particular order.
    #[serde(borrow)]
    pub names: Vec<Text<'a>>,
}

/// Reply to `getChildren2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildrenStatReply<'a> {
    /// Names in no particular order.
    #[serde(borrow)]
    pub names: Vec<Text<'a>>,
    /// Of the same moment.
    pub stat: Stat,
}

/// Reply to `getAllChildrenNumber`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberReply {
    /// Descendants, the znode itself not counted.
    pub total: i32,
}

/// Reply to `addWatch`, and the body of a failed operation in a multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// An error code.
    pub err: i32,
}

/// One identity in the reply to `whoAmI`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo<'a> {
    /// The scheme.
    #[serde(borrow)]
    pub scheme: Text<'a>,
    /// The user under it, never a credential.
    #[serde(borrow)]
    pub user: Text<'a>,
}

/// Reply to `whoAmI`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoAmIReply<'a> {
    /// All identities of the connection.
    #[serde(borrow)]
    pub infos: Vec<ClientInfo<'a>>,
}

/// Body of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatcherEvent<'a> {
    /// An [`super::EventType`].
    pub kind: i32,
    /// Always 3, connected.
    pub state: i32,
    /// The path that changed.
    #[serde(borrow)]
    pub path: Text<'a>,
}
