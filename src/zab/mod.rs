//! Atomic broadcast: which transactions are agreed on, in which order.
//!
//! So far the part of a leader that has its quorum, alone: a standalone peer is a quorum of one and takes the same road.

mod broadcast;
mod quorum;

pub use broadcast::{Broadcast, Outstanding};
pub use quorum::Majority;
