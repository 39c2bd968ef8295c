//! Logging: silent until a host asks for it.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use log::{LevelFilter, Log, Metadata, Record};

use super::codes::*;
use super::guard::{Fail, Fallible, c_text, guard};
use super::queue::{queue_of, zoa_queue};
use crate::client::handle::load::QueueShare;
use crate::client::handle::queue::{CallbackQueue, Job};
use crate::process::{PLACES, PerProcess};

/// Nothing is logged.
pub const ZOA_LOG_OFF: i32 = 0;
/// The server or the client cannot do what it should.
pub const ZOA_LOG_ERROR: i32 = 1;
/// Something a person should look at.
pub const ZOA_LOG_WARN: i32 = 2;
/// What happens now and then: starts, stops, sessions that expire.
pub const ZOA_LOG_INFO: i32 = 3;
/// For the search for a bug.
pub const ZOA_LOG_DEBUG: i32 = 4;
/// Everything.
pub const ZOA_LOG_TRACE: i32 = 5;

/// Gets one line, without a newline at its end. `level` is one of `ZOA_LOG_…`; `module` and `line` live for the call.
///
/// For `zoa_log_to` it runs on whichever thread has something to say, several at a time, and may not call functions of this
/// library. For `zoa_log_to_queue` it is a callback like others, and may.
pub type zoa_log_fn =
    Option<unsafe extern "C" fn(level: i32, module: *const c_char, line: *const c_char, user_data: *mut c_void)>;

/// Lines that may wait in a queue. Those beyond are dropped and counted: a log must not grow with what it tells of.
const LINES_MAX: usize = 1_000;

#[derive(Clone, Copy)]
struct LogCallback {
    log: unsafe extern "C" fn(i32, *const c_char, *const c_char, *mut c_void),
    user_data: *mut c_void,
}

impl LogCallback {
    fn call(self, level: log::Level, module: &str, line: &str) {
        let (module, line) = (c_text(module), c_text(line));
        // SAFETY: the host's function, with what it asked to get back; both texts outlive the call.
        unsafe { (self.log)(level as i32, module.as_ptr(), line.as_ptr(), self.user_data) };
    }
}

/// Where a host runs its own callbacks, and how many lines wait there.
struct LogBacklog {
    queue: Arc<CallbackQueue>,
    load: Arc<QueueShare>,
    dropped: AtomicUsize,
}

impl LogBacklog {
    fn push(&self, call: LogCallback, record: &Record<'_>) {
        if self.load.waiting().0 >= LINES_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let job = |level, module: String, line: String| -> (usize, Job) {
            (module.len() + line.len(), Box::new(move || call.call(level, &module, &line)))
        };
        let line = job(record.level(), record.target().to_owned(), record.args().to_string());
        let lost = match self.dropped.swap(0, Ordering::Relaxed) {
            0 => None,
            count => Some(job(
                log::Level::Warn,
                module_path!().to_owned(),
                format!("{count} lines were dropped: nobody ran the queue"),
            )),
        };
        self.queue.push(&self.load, lost.into_iter().chain([line]));
    }
}

struct Sink {
    call: LogCallback,
    waiting: Option<LogBacklog>,
}

// SAFETY: the pointer is only handed back; the host was told that any thread may do so.
unsafe impl Send for LogCallback {}
// SAFETY: as above.
unsafe impl Sync for LogCallback {}

/// A forked child begins without: a thread that it does not have may be in the sink.
static SINK: PerProcess<RwLock<Option<Sink>>> = PerProcess::new([const { RwLock::new(None) }; PLACES]);
static IS_OURS: AtomicBool = AtomicBool::new(false);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let Ok(false) = INSIDE.try_with(Cell::get) else { return };
        // Held during the call, so that nothing is logged to a sink once `zoa_log_to` has replaced it.
        let sink = SINK.mine().read().unwrap_or_else(PoisonError::into_inner);
        let Some(sink) = &*sink else { return };
        let _ = INSIDE.try_with(|inside| inside.set(true));
        match &sink.waiting {
            Some(waiting) => waiting.push(sink.call, record),
            None => sink.call.call(record.level(), record.target(), &record.args().to_string()),
        }
        let _ = INSIDE.try_with(|inside| inside.set(false));
    }

    fn flush(&self) {}
}

/// Sends log lines up to `level_max` (`ZOA_LOG_…`) to `log`; NULL for silence, which is how a process begins.
///
/// One sink per process; a forked child begins silent. After this returns the sink before is not called any more.
/// Any thread. Errors: `ZOA_WOULD_DEADLOCK` from within a sink; `ZOA_BAD_ARGUMENTS` for a level that is none;
/// `ZOA_IN_USE` when the program already has another logger for Rust's `log`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_log_to(level_max: i32, log: zoa_log_fn, user_data: *mut c_void) -> zoa_code {
    guard(|| replace(level_max, log.map(|log| Sink { call: LogCallback { log, user_data }, waiting: None })))
}

/// As `zoa_log_to`, but each line waits in a queue until that is run, like any callback: `log` may do what it likes, and
/// no thread of the library waits for it. NULL for `queue` is `ZOA_NULL_ARGUMENT`; NULL for `log` is silence.
///
/// While 1,000 lines wait, further ones are dropped; their number is the next line. After this or `zoa_log_to` returns no more
/// lines of the sink before are added, but those that wait are still handed out when the queue is run.
/// Any thread. Errors: those of `zoa_log_to`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_log_to_queue(
    level_max: i32,
    queue: *mut zoa_queue,
    log: zoa_log_fn,
    user_data: *mut c_void,
) -> zoa_code {
    guard(|| {
        // SAFETY: the caller gives NULL or a queue.
        let queue = unsafe { queue_of(queue) }?.ok_or_else(|| Fail::because(ZOA_NULL_ARGUMENT, "queue is NULL"))?;
        let waiting = LogBacklog { queue, load: Arc::new(QueueShare::new()), dropped: AtomicUsize::new(0) };
        replace(level_max, log.map(|log| Sink { call: LogCallback { log, user_data }, waiting: Some(waiting) }))
    })
}

fn replace(level_max: i32, sink: Option<Sink>) -> Fallible<()> {
    if INSIDE.get() {
        return Err(Fail::new(ZOA_WOULD_DEADLOCK));
    }
    let level = match level_max {
        ZOA_LOG_OFF => LevelFilter::Off,
        ZOA_LOG_ERROR => LevelFilter::Error,
        ZOA_LOG_WARN => LevelFilter::Warn,
        ZOA_LOG_INFO => LevelFilter::Info,
        ZOA_LOG_DEBUG => LevelFilter::Debug,
        ZOA_LOG_TRACE => LevelFilter::Trace,
        other => return Err(Fail::because(ZOA_BAD_ARGUMENTS, format!("there is no log level {other}"))),
    };
    let mut place = SINK.mine().write().unwrap_or_else(PoisonError::into_inner);
    if log::set_logger(&Logger).is_ok() {
        IS_OURS.store(true, Ordering::SeqCst);
    }
    if !IS_OURS.load(Ordering::SeqCst) {
        return Err(Fail::because(ZOA_IN_USE, "the program has another logger"));
    }
    log::set_max_level(if sink.is_some() { level } else { LevelFilter::Off });
    let before = std::mem::replace(&mut *place, sink);
    drop(place);
    // Outside of the lock: the last reference to a queue may go with it.
    drop(before);
    Ok(())
}
