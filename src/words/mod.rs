//! Four-letter words: which are answered, and what they say. Pure formatting; the peer fills the structs.

mod whitelist;

pub use whitelist::{Whitelist, Word, is_allowed, refused};

/// The answer to most words while there is no quorum, its newline included.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";
