//! Numbers that cannot be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A transaction id: the leader's epoch in the high 32 bits, a counter in the low 32.
///
/// Compared as a signed number, as ZooKeeper does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Before any transaction.
    pub const ZERO: Zxid = Zxid(0);

    /// The id `counter` within `epoch`.
    pub fn new(epoch: u32, counter: u32) -> Zxid {
        Zxid(((u64::from(epoch) << 32) | u64::from(counter)) as i64)
    }

    /// The leader's epoch, the high half.
    pub fn epoch(self) -> u32 {
        (self.0 as u64 >> 32) as u32
    }

    /// The position within the epoch, the low half.
    pub fn counter(self) -> u32 {
        self.0 as u32
    }

    /// Counters of an epoch from here on are spared when nothing is outstanding: better a pause chosen than one forced. The
    /// leader steps down, and a new epoch begins with its own counter.
    pub(crate) fn counter_spared() -> u32 {
        Zxid::counter_last() - 13
    }

    /// The last counter that is used. `0xffff_ffff` never is, as in ZooKeeper.
    pub(crate) fn counter_last() -> u32 {
        #[cfg(test)]
        if let Some(last) = COUNTER_LAST.get() {
            return last;
        }
        0xffff_fffd
    }

    /// The id that follows in the same epoch, or `None` when the counter is used up.
    pub fn next(self) -> Option<Zxid> {
        (self.counter() != u32::MAX).then(|| Zxid(self.0 + 1))
    }
}

#[cfg(test)]
thread_local! {
    static COUNTER_LAST: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
}

/// Epochs of this thread have fewer counters from now on, or as many as there are: nobody waits for four billion transactions.
#[cfg(test)]
pub(crate) fn set_counter_last(last: Option<u32>) {
    COUNTER_LAST.set(last);
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A client session: opaque to clients, never 0, never a container or TTL marker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SessionId(pub i64);

impl SessionId {
    /// No session: what a new client sends, and what a refused one gets.
    pub const NONE: SessionId = SessionId(0);
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A server's number in the ensemble, the content of `myid`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ServerId(pub u64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A client's request number, echoed in the reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Xid(pub i32);

/// Milliseconds since the peer started, on a clock that never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment plus `ms`.
    pub fn plus(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }

    /// How many milliseconds have passed since `earlier`; 0 if it lies ahead.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since 1970 on the wall clock. Goes into `ctime` and `mtime` and decides nothing but TTL expiry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct WallMillis(pub i64);

/// A connection on the quorum port. The generation tells it from an earlier one in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    /// Which of the host's places.
    pub slot: u32,
    /// How often that place was used before.
    pub generation: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_splits_into_epoch_and_counter() {
        let zxid = Zxid::new(3, 7);
        assert_eq!((zxid.epoch(), zxid.counter()), (3, 7));
        assert_eq!(format!("{zxid}"), "0x300000007");
    }

    #[test]
    fn the_counter_never_runs_into_the_epoch() {
        assert_eq!(Zxid::new(1, u32::MAX - 1).next(), Some(Zxid::new(1, u32::MAX)));
        assert_eq!(Zxid::new(1, u32::MAX).next(), None);
    }
}
