//! ZooKeeper's records as plain structs: requests, replies, logged transactions. One file per family.
//!
//! Field order is wire order. Source: `zookeeper.jute` of ZooKeeper 3.9.

use serde::{Deserialize, Serialize};

use crate::jute::Text;

pub mod codes;
pub mod connect;
mod extension;
pub mod javasnap;
pub mod membership;
pub mod multi;
pub mod peer;
pub mod replies;
pub mod requests;
pub mod servers;
pub mod txn;

pub use codes::{CreateMode, ErrorCode, EventType, OpCode};

/// Permission bits of an [`Acl`].
pub mod perms {
    /// Read data and children.
    pub const READ: i32 = 1;
    /// Write data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Change the ACL.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = 31;
}

/// One entry of an access control list: who may do what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Acl<'a> {
    /// Bits of [`perms`].
    pub perms: i32,
    /// Whom it is for.
    #[serde(borrow)]
    pub id: Id<'a>,
}

impl<'a> Acl<'a> {
    /// An entry from its parts.
    pub fn new(perms: i32, scheme: &'a str, id: &'a str) -> Acl<'a> {
        Acl { perms, id: Id { scheme: scheme.into(), id: id.into() } }
    }

    /// `world:anyone` with all permissions, what clients call `OPEN_ACL_UNSAFE`.
    pub const fn open() -> Acl<'static> {
        Acl { perms: perms::ALL, id: Id::ANYONE }
    }

    /// The same entry, borrowing nothing.
    pub fn into_owned(self) -> Acl<'static> {
        Acl { perms: self.perms, id: self.id.into_owned() }
    }
}

/// An identity under an authentication scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id<'a> {
    /// `world`, `ip`, `digest`, `auth`, `super` …
    #[serde(borrow)]
    pub scheme: Text<'a>,
    /// What it means is the scheme's business.
    #[serde(borrow)]
    pub id: Text<'a>,
}

impl<'a> Id<'a> {
    /// `world:anyone`, which everybody is.
    pub const ANYONE: Id<'static> = Id {
        scheme: Text(Some(std::borrow::Cow::Borrowed("world"))),
        id: Text(Some(std::borrow::Cow::Borrowed("anyone"))),
    };

    /// An identity from its parts.
    pub fn new(scheme: &'a str, id: &'a str) -> Id<'a> {
        Id { scheme: scheme.into(), id: id.into() }
    }

    /// The same identity, borrowing nothing.
    pub fn into_owned(self) -> Id<'static> {
        Id { scheme: self.scheme.into_owned(), id: self.id.into_owned() }
    }
}

/// What a znode's metadata looks like to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// The transaction that created it.
    pub czxid: i64,
    /// The transaction of the last `setData`, or of the creation.
    pub mzxid: i64,
    /// Creation time, ms since 1970.
    pub ctime: i64,
    /// Time of the last `setData`, or of the creation.
    pub mtime: i64,
    /// Number of `setData` since creation.
    pub version: i32,
    /// Number of changes to the list of children.
    pub cversion: i32,
    /// Number of `setACL` since creation.
    pub aversion: i32,
    /// The owning session of an ephemeral znode, else 0.
    pub ephemeral_owner: i64,
    /// Bytes of data; 0 for null.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// The last transaction that created or deleted a direct child, or created this znode.
    pub pzxid: i64,
}

impl Stat {
    /// Bytes of the record.
    pub(crate) const SIZE: usize = 68;
}

#[cfg(test)]
mod golden;
// x
