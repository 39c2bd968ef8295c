//! What a process has once, and a forked child once more.
//!
//! A child has the memory of its parent, but of its threads only the one that forked: what the others held locked stays
//! locked for ever. So nothing that a parent's thread may hold is asked in a child; it begins with a place of its own.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many processes in a line, each forked from the one before and each using this library, keep apart for certain.
/// Beyond that places are used again, those of the oldest ancestors first.
pub const PLACES: usize = 16;

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How often this process and its ancestors were forked: in a child it is another number than in its parent.
pub fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// To be called in every forked child before anything else of this library is. Touches an atomic and nothing else.
pub fn forked() {
    FORKS.fetch_add(1, Ordering::SeqCst);
}

/// A static that is separate in every forked child. Finding one's own neither locks nor waits.
#[derive(Debug)]
pub struct PerProcess<T> {
    places: [T; PLACES],
}

impl<T> PerProcess<T> {
    /// One value for each place, all alike.
    pub const fn new(places: [T; PLACES]) -> PerProcess<T> {
        PerProcess { places }
    }

    /// This process's own.
    pub fn mine(&self) -> &T {
        &self.places[forks() as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_processes_keeps_apart() {
        let each = PerProcess::new([const { AtomicU32::new(0) }; PLACES]);
        assert!(std::ptr::eq(each.mine(), each.mine()));
        each.mine().fetch_add(1, Ordering::SeqCst);
        assert_eq!(each.places.iter().map(|place| place.load(Ordering::SeqCst)).sum::<u32>(), 1);
    }
}
