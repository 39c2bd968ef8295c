//! Logging: silent until a host asks for it.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use log::{LevelFilter, Log, Metadata, Record};

use super::codes::*;
use super::guard::{Fail, c_text, guard};
use crate::process::{PLACES, PerProcess};

/// Nothing is logged.
pub const ZOA_LOG_OFF: i32 = 0;
/// The server or the client cannot do what it should.
pub const ZOA_LOG_ERROR: i32 = 1;
/// Something a person should look at.
pub const ZOA_LOG_WARN: i32 = 2;
/// What happens now and then: starts, stops, sessions that expire.
pub const ZOA_LOG_INFO: i32 = 3;
/// For whoever looks for a bug.
pub const ZOA_LOG_DEBUG: i32 = 4;
/// Everything.
pub const ZOA_LOG_TRACE: i32 = 5;

/// Gets one line, without a newline at its end. `level` is one of `ZOA_LOG_…`; `module` and `line` live for the call.
///
/// Runs on whichever thread has something to say, several at a time. It may not call functions of this library.
pub type zoa_log_fn =
    Option<unsafe extern "C" fn(level: i32, module: *const c_char, line: *const c_char, user_data: *mut c_void)>;

#[derive(Clone, Copy)]
struct Sink {
    log: unsafe extern "C" fn(i32, *const c_char, *const c_char, *mut c_void),
    user_data: *mut c_void,
}

// SAFETY: the pointer is only handed back; the host was told that any thread may do so.
unsafe impl Send for Sink {}
// SAFETY: as above.
unsafe impl Sync for Sink {}

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
        let Some(sink) = *sink else { return };
        let (module, line) = (c_text(record.target()), c_text(&record.args().to_string()));
        let _ = INSIDE.try_with(|inside| inside.set(true));
        // SAFETY: the host's function, with what it asked to get back; both texts outlive the call.
        unsafe { (sink.log)(record.level() as i32, module.as_ptr(), line.as_ptr(), sink.user_data) };
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
    guard(|| {
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
        let sink = log.map(|log| Sink { log, user_data });
        let mut place = SINK.mine().write().unwrap_or_else(PoisonError::into_inner);
        if log::set_logger(&Logger).is_ok() {
            IS_OURS.store(true, Ordering::SeqCst);
        }
        if !IS_OURS.load(Ordering::SeqCst) {
            return Err(Fail::because(ZOA_IN_USE, "the program has another logger"));
        }
        log::set_max_level(if sink.is_some() { level } else { LevelFilter::Off });
        *place = sink;
        Ok(())
    })
}
