//! A count of steps, for tests that hold a bound on the work of a request without a clock.
//!
//! One step stands for about one look at memory that may be cold: a znode, a slot of a table, an entry of an ACL, a
//! watch, 32 bytes read from a request. Nothing is counted outside of tests.

/// Counts `count` steps.
#[inline(always)]
pub(crate) fn steps(count: usize) {
    #[cfg(test)]
    COUNT.with(|all| all.set(all.get() + count as u64));
    #[cfg(not(test))]
    let _ = count;
}

#[cfg(test)]
thread_local! {
    static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Steps that this thread has counted so far.
#[cfg(test)]
pub(crate) fn counted() -> u64 {
    COUNT.with(std::cell::Cell::get)
}
