//! Requests that a session has taken and not answered yet, in order.

use std::collections::VecDeque;

use super::ProtocolError;
use crate::jute::encode;
use crate::records::OpCode;
use crate::records::requests::RequestHeader;

/// Xid of watch events.
pub(super) const XID_EVENT: i32 = -1;
/// Xid of pings.
pub(super) const XID_PING: i32 = -2;
/// Xid of authentication packets.
pub(super) const XID_AUTH: i32 = -4;
/// Xid of watches that are registered again.
pub(super) const XID_SET_WATCHES: i32 = -8;

/// A request that was not answered yet.
pub(crate) struct SentRequest<W> {
    /// The number its reply will have.
    pub(super) xid: i32,
    /// What was asked.
    pub(crate) op: OpCode,
    /// Whom to tell; nobody for what a connection sends by itself.
    pub(crate) waiter: Option<W>,
}

/// The open requests of one session, oldest first. Servers answer in this order.
pub(super) struct PendingRequests<W> {
    requests: VecDeque<SentRequest<W>>,
    last_xid: i32,
}

impl<W> Default for PendingRequests<W> {
    fn default() -> Self {
        PendingRequests { requests: VecDeque::new(), last_xid: 0 }
    }
}

impl<W> PendingRequests<W> {
    /// Numbers a request and appends it as a frame to `out`, length in front.
    pub(super) fn push(&mut self, op: OpCode, body: &[u8], waiter: Option<W>, out: &mut Vec<u8>) {
        let xid = match op {
            OpCode::Ping => XID_PING,
            OpCode::Auth => XID_AUTH,
            OpCode::SetWatches | OpCode::SetWatches2 => XID_SET_WATCHES,
            _ => {
                self.last_xid = if self.last_xid == i32::MAX { 1 } else { self.last_xid + 1 };
                self.last_xid
            }
        };
        let length = u32::try_from(8 + body.len()).expect("requests are below 4 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        encode(&RequestHeader { xid, op: op.to_i32() }, out);
        out.extend_from_slice(body);
        self.requests.push_back(SentRequest { xid, op, waiter });
    }

    /// Takes the request that a reply with this xid answers.
    ///
    /// An identity's may come before its turn: ZooKeeper answers those as soon as it reads them.
    ///
    /// # Errors
    /// [`ProtocolError`] when another reply was due.
    pub(super) fn pop(&mut self, xid: i32) -> Result<SentRequest<W>, ProtocolError> {
        if xid == XID_AUTH
            && let Some(at) = self.requests.iter().position(|request| request.xid == XID_AUTH)
        {
            return Ok(self.requests.remove(at).expect("it was just found"));
        }
        match self.requests.front() {
            Some(front) if front.xid == xid => Ok(self.requests.pop_front().expect("it has a front")),
            Some(front) => Err(ProtocolError(format!("a reply to {xid} where one to {} was due", front.xid))),
            None => Err(ProtocolError(format!("a reply to {xid} that nobody waits for"))),
        }
    }

    /// Takes the request that a ping's reply answers, if somebody asked for that ping.
    pub(super) fn pop_ping(&mut self) -> Option<SentRequest<W>> {
        let is_next = self.requests.front().is_some_and(|front| front.xid == XID_PING);
        if is_next { self.requests.pop_front() } else { None }
    }

    /// Whether a request of this kind is open.
    pub(super) fn contains(&self, op: OpCode) -> bool {
        self.requests.iter().any(|request| request.op == op)
    }

    /// Takes all of them, as when the connection is lost.
    pub(super) fn take(&mut self) -> VecDeque<SentRequest<W>> {
        std::mem::take(&mut self.requests)
    }

    /// Adds some that have their numbers already, behind all others.
    pub(super) fn append(&mut self, requests: &mut VecDeque<SentRequest<W>>) {
        self.requests.append(requests);
    }

    #[cfg(test)]
    pub(super) fn set_last_xid(&mut self, xid: i32) {
        self.last_xid = xid;
    }
}
