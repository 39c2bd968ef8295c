//! For whom a write is decided, and where its reply goes.

use std::sync::Arc;

use super::conn::ConnId;
use super::identity::Identities;
use crate::ids::{LinkId, SessionId};

/// The connection that a request came by; its reply goes back that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requester {
    /// A client of ours.
    Client(ConnId),
    /// A client of a learner's, which waits for a transaction.
    Learner(LinkId),
}

impl Requester {
    /// Whether both come by way of the same server.
    pub(super) fn is_same_server(self, other: Requester) -> bool {
        match (self, other) {
            (Requester::Client(_), Requester::Client(_)) => true,
            (Requester::Learner(a), Requester::Learner(b)) => a == b,
            _ => false,
        }
    }
}

/// The session that requests, with the identities of its connection.
pub(super) struct Caller {
    pub session: SessionId,
    pub requester: Requester,
    pub who: Arc<Identities>,
}
