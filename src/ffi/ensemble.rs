//! `zoa_ensemble`: a whole ensemble in this process.

use std::ffi::{CString, c_char};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::codes::*;
use super::config::{ConfigBox, zoa_config};
use super::guard::{
    Fail, Fallible, HandleHead, HandleKind, SignalsBlocked, c_text, guard, guard_value, limit, look, out, take, with,
};
use super::server::{ServerBox, failure, zoa_server};
use crate::server::{Ensemble, EnsembleOptions};

/// A whole ensemble in this process, whose members can be killed, started again, paused and cut off: for tests, and to try
/// things out.
///
/// Made by `zoa_ensemble_start`, stopped by `zoa_ensemble_stop`, ended by `zoa_ensemble_free`. Any thread. Members are
/// numbered from 1, as in `server.1`. Each is a `zoa_server` with a folder, three ports of 127.0.0.1 and threads of its own.
/// Ports stay a member's own while it does not run: nobody else is given one.
pub struct zoa_ensemble {
    _private: (),
}

#[repr(C)]
pub(super) struct EnsembleBox {
    head: HandleHead,
    /// Until it is stopped.
    ensemble: RwLock<Option<Arc<Ensemble>>>,
    hosts: CString,
}

// SAFETY: it is `repr(C)` and begins with its head.
unsafe impl HandleKind for EnsembleBox {
    const TAG: u32 = u32::from_le_bytes(*b"ense");
}

impl EnsembleBox {
    fn running(&self) -> Fallible<Arc<Ensemble>> {
        let ensemble = self.ensemble.read().unwrap_or_else(PoisonError::into_inner);
        ensemble.clone().ok_or_else(|| Fail::new(ZOA_CLOSED))
    }

    fn stop(&self) -> Fallible<()> {
        let ensemble = self.ensemble.write().unwrap_or_else(PoisonError::into_inner).take();
        ensemble.map_or(Ok(()), |ensemble| ensemble.end().map_err(|error| failure(&error)))
    }
}

/// Does something to a member.
///
/// # Safety
/// NULL, or an ensemble.
unsafe fn with_member(
    ensemble: *mut zoa_ensemble,
    act: impl FnOnce(&Ensemble) -> Result<(), crate::Error>,
) -> zoa_code {
    // SAFETY: as the caller says.
    unsafe {
        with(ensemble.cast_const().cast(), "ensemble", |ensemble: &EnsembleBox| {
            let _quiet = SignalsBlocked::new();
            act(&*ensemble.running()?).map_err(|error| failure(&error))
        })
    }
}

/// Starts so many members, from 1 to 64; all of them serve when this returns. Yours to stop and free.
///
/// `config` NULL: ticks of 100 ms, sessions from 200 ms to two minutes, as many connections as come, all four-letter words, and
/// a temporary folder, which goes with the ensemble. What a config without a file sets beats these; with a file, it alone counts.
/// `"dataDir"` is where the members' folders lie, `1`, `2` and so on; they stay. Numbers, ports and server lines are the
/// ensemble's own business. What `zoa_config_on_role` asks for is not told of its members.
///
/// Any thread. Errors: `ZOA_BAD_ARGUMENTS` for a size or settings that cannot be; `ZOA_TIMEOUT` where not all serve within a
/// minute, with what each of those that do not is doing; those of `zoa_server_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_start(
    config: *const zoa_config,
    size: u32,
    ensemble_out: *mut *mut zoa_ensemble,
) -> zoa_code {
    guard(|| {
        // SAFETY: the caller gives NULL or a place for a pointer.
        let place = unsafe { out(ensemble_out, "ensemble_out") }?;
        let mut options = EnsembleOptions::default();
        if !config.is_null() {
            // SAFETY: the caller gives a config.
            let config = unsafe { look::<ConfigBox>(config.cast(), "config") }?;
            options = config.ensemble_options()?;
        }
        let _quiet = SignalsBlocked::new();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let ensemble = Ensemble::start_with(size, options).map_err(|error| failure(&error))?;
        let ensemble = Box::new(EnsembleBox {
            head: HandleHead::new::<EnsembleBox>(),
            hosts: c_text(&ensemble.connect_string()),
            ensemble: RwLock::new(Some(Arc::new(ensemble))),
        });
        place.write(Box::into_raw(ensemble).cast());
        Ok(())
    })
}

/// Where clients connect, `"127.0.0.1:40211,127.0.0.1:40214,127.0.0.1:40217"`: the addresses of all members in the order of
/// their numbers, the same each time a member runs. Lives as long as the ensemble.
///
/// Any thread. NULL when `ensemble` is no ensemble.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_hosts(ensemble: *const zoa_ensemble) -> *const c_char {
    guard_value(std::ptr::null(), || {
        // SAFETY: the caller gives NULL or an ensemble.
        let ensemble = unsafe { look::<EnsembleBox>(ensemble.cast(), "ensemble") }?;
        Ok(ensemble.hosts.as_ptr())
    })
}

/// Waits until all members serve that run and are neither paused nor cut off, and one of them leads the others; up to
/// `timeout_ms` (−1: for ever).
///
/// Any thread. Errors: `ZOA_TIMEOUT`, with what each member that does not serve is doing; `ZOA_BAD_ARGUMENTS` where none runs that
/// could; `ZOA_CLOSED` after a stop; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_wait(ensemble: *mut zoa_ensemble, timeout_ms: i32) -> zoa_code {
    let limit = limit(timeout_ms).unwrap_or(Duration::MAX);
    // SAFETY: the caller gives NULL or an ensemble.
    unsafe { with_member(ensemble, |ensemble| ensemble.wait_until_serving(limit)) }
}

/// The member that leads, of those that are neither paused nor cut off; 0 while there is none.
///
/// Any thread. Errors: `ZOA_CLOSED` after a stop; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_leader(ensemble: *mut zoa_ensemble, member_out: *mut u64) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble, and NULL or a place for a number.
    unsafe {
        with(ensemble.cast_const().cast(), "ensemble", |ensemble: &EnsembleBox| {
            let place = out(member_out, "member_out")?;
            place.write(ensemble.running()?.leader().unwrap_or(0));
            Ok(())
        })
    }
}

/// The server that a member is, for `zoa_client_open`, `zoa_server_status` and all the others. The handle is yours to free,
/// before or after the ensemble; freeing it does not stop the member. Once the member was killed or stopped it is a server that
/// has ended, also when the member runs again: ask anew.
///
/// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it does not run; `ZOA_CLOSED` after a stop;
/// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_server(
    ensemble: *mut zoa_ensemble,
    member: u64,
    server_out: *mut *mut zoa_server,
) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble, and NULL or a place for a pointer.
    unsafe {
        with(ensemble.cast_const().cast(), "ensemble", |ensemble: &EnsembleBox| {
            let place = out(server_out, "server_out")?;
            let ensemble = ensemble.running()?;
            ensemble.address(member).map_err(|error| failure(&error))?;
            let none = || Fail::because(ZOA_BAD_ARGUMENTS, format!("member {member} does not run"));
            let server = ensemble.member(member).ok_or_else(none)?;
            place.write(Box::into_raw(Box::new(ServerBox::of_member(server, member))).cast());
            Ok(())
        })
    }
}

/// Ends a member as `kill -9` ends a process: it keeps what was on its disk and nothing more, leadership is handed over to nobody,
/// and nobody hears of it but by the end of their connections.
///
/// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it does not run; `ZOA_TIMEOUT` where its disk hangs;
/// `ZOA_CLOSED` after a stop; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_kill(ensemble: *mut zoa_ensemble, member: u64) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble.
    unsafe { with_member(ensemble, |ensemble| ensemble.kill(member)) }
}

/// Starts a member that does not run, with the data and addresses it had. It does not serve yet when this returns:
/// `zoa_ensemble_wait`.
///
/// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it runs; `ZOA_CLOSED` after a stop; those of
/// `zoa_server_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_restart(ensemble: *mut zoa_ensemble, member: u64) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble.
    unsafe { with_member(ensemble, |ensemble| ensemble.restart(member)) }
}

/// Takes a member that does not run its data: once it runs it begins anew, and is sent everything by the others.
///
/// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it runs; `ZOA_SYSTEM`; `ZOA_CLOSED` after a stop;
/// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_wipe(ensemble: *mut zoa_ensemble, member: u64) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble.
    unsafe { with_member(ensemble, |ensemble| ensemble.wipe(member)) }
}

/// Has a member stand still, as a machine that swaps: its connections stay, nobody is answered, until `zoa_ensemble_resume`.
///
/// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it does not run; `ZOA_CLOSED` after a stop;
/// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_pause(ensemble: *mut zoa_ensemble, member: u64) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble.
    unsafe { with_member(ensemble, |ensemble| ensemble.pause(member)) }
}

/// Lets a paused member go on.
///
/// Any thread. Errors: as `zoa_ensemble_pause`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_resume(ensemble: *mut zoa_ensemble, member: u64) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble.
    unsafe { with_member(ensemble, |ensemble| ensemble.resume(member)) }
}

/// Cuts a member off from the others, as where a cable is pulled: nothing that they send arrives, nothing gets to them, and
/// nobody is told. Its clients reach it all the same. Until `zoa_ensemble_heal`.
///
/// Any thread. Errors: as `zoa_ensemble_pause`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_cut(ensemble: *mut zoa_ensemble, member: u64) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble.
    unsafe { with_member(ensemble, |ensemble| ensemble.cut(member)) }
}

/// Connects a member with the others again.
///
/// Any thread. Errors: as `zoa_ensemble_pause`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_heal(ensemble: *mut zoa_ensemble, member: u64) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble.
    unsafe { with_member(ensemble, |ensemble| ensemble.heal(member)) }
}

/// Stops all members, cleanly where their data stay, and takes a temporary folder away. Stopping what has stopped is fine.
///
/// Any thread. Errors: what had ended a member, if that was a failure; `ZOA_TIMEOUT` where a disk hangs; `ZOA_NULL_ARGUMENT`,
/// `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_stop(ensemble: *mut zoa_ensemble) -> zoa_code {
    // SAFETY: the caller gives NULL or an ensemble.
    unsafe { with(ensemble.cast_const().cast(), "ensemble", EnsembleBox::stop) }
}

/// Stops the ensemble if it runs, and frees it. NULL is fine.
///
/// Any thread, once no thread uses the ensemble.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_ensemble_free(ensemble: *mut zoa_ensemble) {
    guard(|| {
        // SAFETY: the caller gives NULL or an ensemble that nobody uses any more.
        if let Some(ensemble) = unsafe { take::<EnsembleBox>(ensemble.cast()) } {
            let _ = ensemble.stop();
        }
        Ok(())
    });
}
