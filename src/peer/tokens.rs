//! Which token of the event queue stands for which socket.

use mio::Token;

/// Wakes the loop from another thread.
pub(super) const WAKER: Token = Token(0);
/// The listening sockets' tokens begin here.
pub(super) const LISTENERS: usize = 1;
/// Listening sockets for clients, at most.
pub(super) const LISTENERS_MAX: usize = 64;
/// Every socket that listens at the election port.
pub(super) const ELECTION: Token = Token(LISTENERS + LISTENERS_MAX);
/// Every socket that listens at the quorum port.
pub(super) const QUORUM: Token = Token(ELECTION.0 + 1);
/// Connections of the election port.
pub(super) const ELECTION_LINKS: usize = QUORUM.0 + 1;
/// How many of them there may be.
pub(super) const ELECTION_LINKS_MAX: usize = 512;
/// Connections of the quorum port.
pub(super) const QUORUM_LINKS: usize = ELECTION_LINKS + ELECTION_LINKS_MAX;
/// How many of them there may be.
pub(super) const QUORUM_LINKS_MAX: usize = 512;
/// Connections of clients begin here.
pub(super) const LINKS: usize = QUORUM_LINKS + QUORUM_LINKS_MAX;

const _: () = assert!(ELECTION.0 == 65 && ELECTION_LINKS == 67 && LINKS == 1091);
