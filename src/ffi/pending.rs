//! `zoa_pending`: a request that is waited for little by little, by hosts that have something else to look after.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client::{ClientBox, watch_of, zoa_client};
use super::codes::*;
use super::guard::{Fail, HandleHead, HandleKind, guard, limit, out, path, sized, take, with};
use super::operations::{hand_out, read_code};
use super::requests::*;
use super::result::{ResultBox, zoa_result};
use crate::client::handle::{Chroot, UnderWay};
use crate::records::OpCode;

/// A request under way.
///
/// Made by `zoa_client_begin`, ended by `zoa_pending_free`. Any thread, one at a time. It may outlive its client, which
/// answers everything when it is closed.
pub struct zoa_pending {
    _private: (),
}

#[repr(C)]
struct PendingBox {
    head: HandleHead,
    op: OpCode,
    chroot: Chroot,
    about: Option<String>,
    under_way: UnderWay,
    /// The result has been handed out.
    is_over: AtomicBool,
}

// SAFETY: it is `repr(C)` and begins with its head.
unsafe impl HandleKind for PendingBox {
    const TAG: u32 = u32::from_le_bytes(*b"pend");
}

/// As `zoa_client_call`, for hosts that must look after something else now and then, such as Ctrl-C: when `timeout_ms`
/// (−1: for ever) passes first, the answer is `ZOA_TIMEOUT` and the request itself is put into `pending_out`, to go on
/// waiting for it with `zoa_pending_wait`. Yours to free. On any other answer `pending_out` is left alone.
///
/// Any thread. Errors: those of `zoa_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_begin(
    client: *mut zoa_client,
    op: *const zoa_op,
    timeout_ms: i32,
    result_out: *mut *mut zoa_result,
    pending_out: *mut *mut zoa_pending,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            let op = sized(op, "op")?;
            let pending_out = out(pending_out, "pending_out")?;
            let handle = this.handle();
            let chroot = handle.chroot();
            let (code, about, begun) = match op.kind {
                ZOA_OP_GET | ZOA_OP_EXISTS | ZOA_OP_CHILDREN if op.watch.is_some() => {
                    let (path, code) = (path(op.path)?, read_code(op.kind));
                    let watch = watch_of(client, op.watch.ok_or_else(|| Fail::null("watch"))?, op.watch_data);
                    (code, Some(path.to_owned()), handle.begin_watched(code, path, watch))
                }
                ZOA_OP_GET | ZOA_OP_EXISTS | ZOA_OP_CHILDREN | ZOA_OP_ACL => {
                    let (path, code) = (path(op.path)?, read_code(op.kind));
                    if let Some(reply) = handle.read_at_once(code, path) {
                        return hand_out(ResultBox::from_reply(code, reply, chroot, Some(path)), result_out);
                    }
                    let PreparedRequest { op, body, about } = request(&op, chroot)?;
                    (op, about, handle.begin(op, &body))
                }
                _ => {
                    let PreparedRequest { op, body, about } = request(&op, chroot)?;
                    (op, about, handle.begin(op, &body))
                }
            };
            let under_way = begun.map_err(|why| Fail::refused(why, about.as_deref()))?;
            if let Some(reply) = under_way.wait(limit(timeout_ms)) {
                return hand_out(ResultBox::from_reply(code, reply, chroot, about.as_deref()), result_out);
            }
            let pending = PendingBox {
                head: HandleHead::new::<PendingBox>(),
                op: code,
                chroot: chroot.clone(),
                about,
                under_way,
                is_over: AtomicBool::new(false),
            };
            pending_out.write(Box::into_raw(Box::new(pending)).cast());
            Err(Fail::new(ZOA_TIMEOUT))
        })
    }
}

/// Goes on waiting for a request, up to `timeout_ms` (−1: for ever). `result_out` may be NULL; it gets the result once, on
/// success.
///
/// Any thread, one at a time. Errors: those of the operation; `ZOA_TIMEOUT`: it is still under way, call again;
/// `ZOA_BAD_ARGUMENTS` when its result has been given out; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_pending_wait(
    pending: *mut zoa_pending,
    timeout_ms: i32,
    result_out: *mut *mut zoa_result,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(pending.cast_const().cast::<c_void>(), "pending", |pending: &PendingBox| {
            if pending.is_over.load(Ordering::SeqCst) {
                return Err(Fail::because(ZOA_BAD_ARGUMENTS, "its result has been given out"));
            }
            let Some(reply) = pending.under_way.wait(limit(timeout_ms)) else { return Err(Fail::new(ZOA_TIMEOUT)) };
            pending.is_over.store(true, Ordering::SeqCst);
            hand_out(ResultBox::from_reply(pending.op, reply, &pending.chroot, pending.about.as_deref()), result_out)
        })
    }
}

/// Lets go of a request: it is carried out all the same, and the program does not hear how it went. NULL is fine.
///
/// Any thread, once no thread waits for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_pending_free(pending: *mut zoa_pending) {
    guard(|| {
        // SAFETY: the caller gives NULL or a request that nobody waits for.
        drop(unsafe { take::<PendingBox>(pending.cast()) });
        Ok(())
    });
}
