//! The client handle: one session, whatever carries it.

pub mod code;
pub mod pending;
pub mod resume;
pub mod transport;

pub use code::Code;
pub use transport::{Completion, Event, Listener, Refused, Reply, SessionInfo, State, Transport, WatchedPaths};
