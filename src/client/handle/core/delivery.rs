//! What a session has for those who wait for it, and how it reaches them.

use std::ops::Range;
use std::sync::Arc;

use super::ProtocolError;
use super::pending::SentRequest;
use crate::client::handle::transport::{Arriving, Completion, Event, Listener, Reply, State};
use crate::code::{self, Code};
use crate::jute::Decoder;
use crate::records::EventType;
use crate::records::OpCode;
use crate::records::replies::{ReplyHeader, WatcherEvent};

/// One thing to tell. Places are those of the bytes that were handed in last.
pub(crate) enum Delivery<W> {
    /// The server has answered.
    Reply {
        /// What.
        request: SentRequest<W>,
        /// The reply's header.
        header: ReplyHeader,
        /// Where its record lies.
        record: Range<usize>,
    },
    /// No server will answer.
    Failure {
        /// What.
        request: SentRequest<W>,
        /// Why.
        code: Code,
        /// It has certainly not been sent.
        is_unsent: bool,
    },
    /// A watch has fired.
    Event {
        /// By which transaction.
        zxid: i64,
        /// Where its record lies.
        record: Range<usize>,
    },
    /// The session's state has changed.
    State(State),
    /// The session is over, for somebody who asked for that.
    Closed {
        /// Who.
        waiter: W,
        /// How the closing went.
        code: Code,
    },
}

/// Bytes a reply has at most, on average, for a burst of them to be copied as one.
const SHARED_RECORD_SIZE_MAX: usize = 1 << 10;

/// Carries deliveries out, in their order. `answered` hears of each request first, and may put another code in place of the
/// server's.
///
/// # Errors
/// [`ProtocolError`] for an event that is none. What follows it is delivered all the same.
pub(crate) fn deliver(
    deliveries: &mut Vec<Delivery<Completion>>,
    bytes: &[u8],
    listener: Option<&dyn Listener>,
    answered: impl Fn(OpCode, &mut Code),
) -> Result<(), ProtocolError> {
    // One copy of them all, made here; each record is copied out of it by whoever wants it. Not worth it for large ones, nor
    // for one alone.
    let is_worth_it = deliveries.len() > 1 && bytes.len() / deliveries.len() <= SHARED_RECORD_SIZE_MAX;
    let burst: Option<Arc<[u8]>> = (is_worth_it && !bytes.is_empty()).then(|| bytes.into());
    let mut result = Ok(());
    for delivery in deliveries.drain(..) {
        match delivery {
            Delivery::Reply { request: SentRequest { op, waiter, .. }, mut header, record } => {
                answered(op, &mut header.err);
                match (waiter, &burst) {
                    (Some(waiter), Some(burst)) => waiter.complete_from(Arriving::new(&header, burst, record)),
                    (Some(waiter), None) => waiter.complete(reply_of(&header, &bytes[record])),
                    (None, _) => {}
                }
            }
            Delivery::Failure { request: SentRequest { op, waiter, .. }, mut code, is_unsent } => {
                answered(op, &mut code);
                if let Some(waiter) = waiter {
                    waiter.complete(if is_unsent { Reply::unsent(code) } else { Reply::failed(code) });
                }
            }
            Delivery::Event { zxid, record } => match (listener, event_of(zxid, &bytes[record])) {
                (_, Err(error)) => result = Err(error),
                (Some(listener), Ok(Some(event))) => listener.event(event),
                _ => {}
            },
            Delivery::State(state) => {
                if let Some(listener) = listener {
                    listener.state(state);
                }
            }
            Delivery::Closed { waiter, code } => waiter.complete(Reply::failed(code)),
        }
    }
    result
}

/// The reply that a header and a record make.
fn reply_of(header: &ReplyHeader, record: &[u8]) -> Reply {
    let body = if header.err == code::OK { record.to_vec() } else { Vec::new() };
    Reply { code: header.err, zxid: header.zxid, body, unsent: None }
}

/// The event that a record is. Servers send session events to nobody; a kind from the future is not worth a connection.
fn event_of(zxid: i64, record: &[u8]) -> Result<Option<Event>, ProtocolError> {
    let mut decoder = Decoder::new(record);
    let event: WatcherEvent<'_> = decoder.read().map_err(|error| ProtocolError(format!("a bad event: {error}")))?;
    let kind = EventType::from_i32(event.kind);
    Ok(kind.map(|kind| Event { kind, path: event.path.as_str().to_owned(), zxid }))
}
