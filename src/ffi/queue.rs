//! `zoa_queue`: callbacks on the host's own thread, with a descriptor to poll.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::codes::*;
use super::guard::{Fail, Fallible, HandleHead, HandleKind, guard, guard_value, limit, look, out, take, with};
use crate::client::handle::queue::{CallbackQueue, NotRun};

/// Where callbacks of clients wait for the host to run them.
///
/// At 10,000 callbacks of one client, or 16 MiB of replies and events, that client stops reading from its server, and goes on
/// at half of that: nothing is lost. While a thread waits for a reply of that client, it reads on.
///
/// Made by `zoa_queue_new`, ended by `zoa_queue_free`. Any thread; one thread at a time runs it. One queue may serve many
/// clients (`zoa_client_options.queue`). Callbacks run in `zoa_queue_run` alone, but for the last ones of a client: while nobody
/// runs the queue they run on the thread that closes, detaches or frees the client.
pub struct zoa_queue {
    _private: (),
}

#[repr(C)]
pub(super) struct QueueBox {
    head: HandleHead,
    pub(super) queue: Arc<CallbackQueue>,
}

// SAFETY: it is `repr(C)` and begins with its head.
unsafe impl HandleKind for QueueBox {
    const TAG: u32 = u32::from_le_bytes(*b"queu");
}

/// The queue behind a pointer; `None` for NULL.
pub(super) unsafe fn queue_of(queue: *mut zoa_queue) -> Fallible<Option<Arc<CallbackQueue>>> {
    if queue.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller gives a queue.
    let queue = unsafe { look::<QueueBox>(queue.cast_const().cast::<c_void>(), "queue") }?;
    Ok(Some(Arc::clone(&queue.queue)))
}

/// A queue. Yours to free.
///
/// Any thread. Errors: `ZOA_SYSTEM` when there are no descriptors left; `ZOA_NULL_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_queue_new(queue_out: *mut *mut zoa_queue) -> zoa_code {
    guard(|| {
        // SAFETY: the caller gives NULL or a place for a pointer.
        let place = unsafe { out(queue_out, "queue_out") }?;
        let queue = CallbackQueue::with_descriptor().map_err(|error| Fail::because(ZOA_SYSTEM, error.to_string()))?;
        let queue = Box::new(QueueBox { head: HandleHead::new::<QueueBox>(), queue: Arc::new(queue) });
        place.write(Box::into_raw(queue).cast());
        Ok(())
    })
}

/// A descriptor that is readable while something waits to be run. Only poll it: do not read, write or close it.
///
/// It lives as long as the queue and is closed on exec. Any thread. −1 when `queue` is no queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_queue_fd(queue: *const zoa_queue) -> c_int {
    guard_value(-1, || {
        // SAFETY: the caller gives NULL or a queue.
        let queue = unsafe { look::<QueueBox>(queue.cast(), "queue") }?;
        Ok(queue.queue.descriptor().map_or(-1, |descriptor| descriptor.as_raw_fd()))
    })
}

/// Runs up to `max` callbacks on this thread, waiting up to `timeout_ms` for the first (0 polls, −1 waits for ever).
///
/// `ran_out` (may be NULL) gets how many. A small `max` keeps a storm of events from holding up the host's loop: the
/// descriptor stays readable while more wait.
/// Any thread, one at a time. Errors: `ZOA_WOULD_DEADLOCK` from within one of its own callbacks; `ZOA_IN_USE` while
/// another thread runs it; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_queue_run(
    queue: *mut zoa_queue,
    max: usize,
    timeout_ms: i32,
    ran_out: *mut usize,
) -> zoa_code {
    // SAFETY: the caller gives NULL or a queue, and NULL or a place for a number.
    unsafe {
        with(queue.cast_const().cast(), "queue", |queue: &QueueBox| {
            // Kept alive even if a callback frees the queue.
            let queue = Arc::clone(&queue.queue);
            let ran = queue.run(max, limit(timeout_ms)).map_err(|why| match why {
                NotRun::Nested => Fail::because(ZOA_WOULD_DEADLOCK, "called from one of the queue's own callbacks"),
                NotRun::Busy => Fail::because(ZOA_IN_USE, "another thread is running the queue"),
                NotRun::Forked => Fail::because(ZOA_FORKED, "a callback forked, and this is the child"),
            })?;
            if !ran_out.is_null() {
                ran_out.write_unaligned(ran);
            }
            Ok(())
        })
    }
}

/// Frees a queue. NULL is fine. Clients that use it keep what they need of it; free them first to run their last
/// callbacks.
///
/// Any thread, once no thread calls `zoa_queue_run`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_queue_free(queue: *mut zoa_queue) {
    guard(|| {
        // SAFETY: the caller gives NULL or a queue that nobody uses any more.
        drop(unsafe { take::<QueueBox>(queue.cast()) });
        Ok(())
    });
}
