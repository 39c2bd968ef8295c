//! What a process has once, and a forked child once more; and what a child must not keep.
//!
//! A child has the memory of its parent, but of its threads only the one that forked: what the others held locked stays
//! locked for ever. So nothing that a parent's thread may hold is asked in a child; it begins with a place of its own.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

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

thread_local! {
    /// What this thread was begun for; 0 for a host's.
    static WORKS_FOR: Cell<usize> = const { Cell::new(0) };
}

/// A thread of ours says what it was begun for: the address of what it works on.
pub fn work_for<T>(what: &T) {
    let _ = WORKS_FOR.try_with(|of| of.set(std::ptr::from_ref(what).addr()));
}

/// Whether this is the thread that was begun for it. Makes no handle of the thread, as the standard library would: a host's
/// thread would keep that until it ends.
pub fn is_working_for<T>(what: &T) -> bool {
    WORKS_FOR.try_with(Cell::get) == Ok(std::ptr::from_ref(what).addr())
}

/// Descriptors above this are not followed; no system lets a process have them unless told to.
const DESCRIPTORS_MAX: usize = 1 << 20;

/// One bit for each descriptor that a child must not keep. Atomics, because a child reads it between fork and everything
/// else, where a lock may be held for ever and memory must not be asked for.
static OWNED: [AtomicU64; DESCRIPTORS_MAX / 64] = [const { AtomicU64::new(0) }; DESCRIPTORS_MAX / 64];
/// Words of it that may have bits.
static OWNED_WORDS: AtomicUsize = AtomicUsize::new(0);

/// A descriptor for this process's threads alone: a child that is forked closes its copy.
///
/// With a copy a child would hold what no thread there works on: a file's lock, a port, a client's connection.
#[derive(Debug)]
pub struct Owned<T: AsRawFd> {
    inner: Option<T>,
    forks: u32,
}

impl<T: AsRawFd> Owned<T> {
    /// Of a descriptor that was just opened.
    pub fn new(inner: T) -> Owned<T> {
        mark(inner.as_raw_fd(), true);
        Owned { inner: Some(inner), forks: forks() }
    }

    /// Whether this process opened it. Where it did not, the number may be another descriptor's by now.
    pub fn is_ours(&self) -> bool {
        self.forks == forks()
    }
}

impl<T: AsRawFd> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("it is there until it is dropped")
    }
}

impl<T: AsRawFd> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("it is there until it is dropped")
    }
}

impl<T: AsRawFd> Drop for Owned<T> {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        if self.forks == forks() {
            // First: once it is closed, another thread may get the number for something that children may keep.
            mark(inner.as_raw_fd(), false);
            drop(inner);
        } else {
            // It was closed when this process began.
            std::mem::forget(inner);
        }
    }
}

fn mark(descriptor: RawFd, is_owned: bool) {
    let Some(number) = usize::try_from(descriptor).ok().filter(|number| *number < DESCRIPTORS_MAX) else { return };
    let (word, bit) = (number / 64, 1 << (number % 64));
    if is_owned {
        OWNED_WORDS.fetch_max(word + 1, Ordering::SeqCst);
        OWNED[word].fetch_or(bit, Ordering::SeqCst);
    } else {
        OWNED[word].fetch_and(!bit, Ordering::SeqCst);
    }
}

/// Takes one of the descriptors that this process was forked with and has to close. For the handler that runs in every
/// child: touches atomics and nothing else.
pub fn next_inherited() -> Option<RawFd> {
    for (at, word) in OWNED[..OWNED_WORDS.load(Ordering::SeqCst).min(OWNED.len())].iter().enumerate() {
        let bits = word.load(Ordering::SeqCst);
        if bits != 0 {
            word.store(bits & (bits - 1), Ordering::SeqCst);
            return RawFd::try_from(at * 64 + bits.trailing_zeros() as usize).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_owned_is_marked_and_nothing_else() {
        let is_marked = |number: RawFd| OWNED[number as usize / 64].load(Ordering::SeqCst) & (1 << (number % 64)) != 0;
        let kept = File::open("/dev/null").unwrap();
        let owned = Owned::new(File::open("/dev/null").unwrap());
        let number = owned.as_raw_fd();
        assert!(is_marked(number) && !is_marked(kept.as_raw_fd()));
    }

    #[test]
    fn a_line_of_processes_keeps_apart() {
        let each = PerProcess::new([const { AtomicU32::new(0) }; PLACES]);
        assert!(std::ptr::eq(each.mine(), each.mine()));
        each.mine().fetch_add(1, Ordering::SeqCst);
        assert_eq!(each.places.iter().map(|place| place.load(Ordering::SeqCst)).sum::<u32>(), 1);
    }
}
