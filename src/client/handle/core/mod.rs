//! The session of a client, whatever carries its bytes: no socket, no clock, no thread.
//!
//! [`SessionCore`] is what all carriers share: the handshake, requests and their replies, refusals, identities and watches
//! that are re-sent on every connection, the end. A carrier (`local.rs`, in the server's own process; `tcp/`) moves the bytes.
//!
//! The contract. Any thread hands in requests; one at a time hands in what happens to the connection. After each call the
//! carrier takes the deliveries ([`SessionCore::take_deliveries`]) before it lets anybody else at the core, and carries them
//! out in their order and without holding it: who is told may call back. What goes to the server is fetched with
//! [`SessionCore::take`], in whole frames; once taken, a frame counts as seen by the server unless the carrier gives it
//! back ([`SessionCore::lost`]).
//!
//! `W` is whoever waits for a reply: a completion in clients, a number in tests.

mod delivery;
mod hosts;
mod identities;
mod input;
mod pending;
mod random;
mod route;
mod session;
#[cfg(test)]
mod tests;
mod watches;

pub(super) use delivery::{Delivery, deliver};
pub(super) use hosts::{ServerAddress, parse};
pub(super) use identities::IdentityLimits;
pub(super) use route::{IoAction, Route};
pub(super) use session::{Closing, QUEUED_SIZE_MAX, SessionCore, Terms, is_order};

/// Something that no server says: the connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProtocolError(pub(super) String);
