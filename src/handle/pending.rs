//! Requests that were sent and wait for their replies, in order.

use std::collections::VecDeque;

use super::code;
use super::transport::{Completion, Event, Listener, Reply};
use crate::jute::{Decoder, encode};
use crate::records::replies::{ReplyHeader, WatcherEvent};
use crate::records::requests::RequestHeader;
use crate::records::{EventType, OpCode};

/// Xid of watch events.
pub const XID_EVENT: i32 = -1;
/// Xid of pings.
pub const XID_PING: i32 = -2;
/// Xid of authentication packets.
pub const XID_AUTH: i32 = -4;
/// Xid of re-registered watches.
pub const XID_SET_WATCHES: i32 = -8;

/// A request under way.
pub struct SentRequest {
    /// The number its reply will have.
    pub xid: i32,
    /// What was asked.
    pub op: OpCode,
    /// Whom to tell.
    pub done: Completion,
}

/// The requests of one connection that were not answered yet, oldest first. Servers answer in this order.
#[derive(Default)]
pub struct PendingRequests {
    waiting: VecDeque<SentRequest>,
    last_xid: i32,
}

/// A frame that does not belong into this conversation: the connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(pub String);

impl PendingRequests {
    /// Numbers a request and appends it as a frame to `out`, length in front.
    pub fn push(&mut self, op: OpCode, body: &[u8], done: Completion, out: &mut Vec<u8>) {
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
        self.waiting.push_back(SentRequest { xid, op, done });
    }

    /// Takes the request that a reply with this xid answers.
    ///
    /// An identity's may come before its turn: ZooKeeper answers those as soon as it reads them.
    ///
    /// # Errors
    /// [`ProtocolError`] when another reply was due.
    pub fn pop(&mut self, xid: i32) -> Result<SentRequest, ProtocolError> {
        if xid == XID_AUTH
            && let Some(at) = self.waiting.iter().position(|waiting| waiting.xid == XID_AUTH)
        {
            return Ok(self.waiting.remove(at).expect("it was just found"));
        }
        match self.waiting.front() {
            Some(front) if front.xid == xid => Ok(self.waiting.pop_front().expect("it has a front")),
            Some(front) => Err(ProtocolError(format!("a reply to {xid} where one to {} was due", front.xid))),
            None => Err(ProtocolError(format!("a reply to {xid} that nobody waits for"))),
        }
    }

    /// Takes all of them, as when the connection is lost.
    pub fn take(&mut self) -> VecDeque<SentRequest> {
        std::mem::take(&mut self.waiting)
    }

    /// Adds some that have their numbers already, behind all others.
    pub fn append(&mut self, waiting: &mut VecDeque<SentRequest>) {
        self.waiting.append(waiting);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Completes requests that will never be answered.
pub fn fail(waiting: VecDeque<SentRequest>, reply: &Reply) {
    for one in waiting {
        one.done.complete(reply.clone());
    }
}

/// A frame's header and what follows it, the length in front taken off already.
///
/// # Errors
/// [`ProtocolError`] when it is too short.
pub fn split_frame(frame: &[u8]) -> Result<(ReplyHeader, &[u8]), ProtocolError> {
    let mut decoder = Decoder::new(frame);
    let header = decoder.read().map_err(|_| ProtocolError(format!("a reply of {} bytes", frame.len())))?;
    Ok((header, decoder.rest()))
}

/// Tells the listener of an event, given a frame's header and body.
///
/// # Errors
/// [`ProtocolError`] when it is none.
pub fn tell_event(header: &ReplyHeader, body: &[u8], listener: &dyn Listener) -> Result<(), ProtocolError> {
    let mut decoder = Decoder::new(body);
    let event: WatcherEvent<'_> = decoder.read().map_err(|error| ProtocolError(format!("a bad event: {error}")))?;
    // Servers send session events to nobody; a kind from the future is not worth a connection.
    if let Some(kind) = EventType::from_i32(event.kind) {
        listener.event(Event { kind, path: event.path.as_str().to_owned(), zxid: header.zxid });
    }
    Ok(())
}

/// The reply that a header and a body make.
pub fn reply_of(header: &ReplyHeader, body: &[u8]) -> Reply {
    let body = if header.err == code::OK { body.to_vec() } else { Vec::new() };
    Reply { code: header.err, zxid: header.zxid, body, unsent: None }
}
