//! Operations: the everyday ones, blocking, and any operation blocking, by callback, or several as one.

use std::ffi::{c_char, c_void};

use super::client::{ClientBox, Foreign, NO_LIMIT, watch_of, zoa_client};
use super::codes::*;
use super::guard::{Fail, Fallible, limit, out, path, sized, with};
use super::requests::*;
use super::result::{ResultBox, zoa_acl, zoa_result, zoa_stat};
use crate::client::handle::Handle;
use crate::records::OpCode;

/// Gets a result, where callbacks run. It is yours to free.
pub type zoa_done_fn =
    Option<unsafe extern "C" fn(client: *mut zoa_client, result: *mut zoa_result, user_data: *mut c_void)>;

/// A result's code; the sentence goes to `zoa_last_error`.
pub(super) fn outcome_of(result: &ResultBox) -> Fallible<()> {
    match result.code() {
        ZOA_OK => Ok(()),
        code => Err(Fail::because(code, result.sentence()).with_outcome(result.outcome())),
    }
}

/// Runs an operation and waits.
unsafe fn run(
    client: *mut zoa_client,
    handle: &Handle,
    op: &zoa_op,
    wait: Option<std::time::Duration>,
) -> Fallible<Box<ResultBox>> {
    let chroot = handle.chroot();
    // SAFETY: the caller vouches for the operation's pointers.
    unsafe {
        if let (Some(watch), ZOA_OP_GET | ZOA_OP_EXISTS | ZOA_OP_CHILDREN) = (op.watch, op.kind) {
            let (path, watch) = (path(op.path)?, watch_of(client, watch, op.watch_data));
            let code = read_code(op.kind);
            let reply = handle.read_watched(code, path, watch, wait);
            return Ok(ResultBox::from_reply(code, reply, chroot, Some(path)));
        }
        if let ZOA_OP_GET | ZOA_OP_EXISTS | ZOA_OP_CHILDREN | ZOA_OP_ACL = op.kind {
            return read(handle, op.kind, op.path, wait);
        }
        let PreparedRequest { op, body, about } = request(op, chroot)?;
        Ok(ResultBox::from_reply(op, handle.call(op, &body, wait), chroot, about.as_deref()))
    }
}

pub(super) fn read_code(kind: i32) -> OpCode {
    match kind {
        ZOA_OP_GET => OpCode::GetData,
        ZOA_OP_EXISTS => OpCode::Exists,
        ZOA_OP_ACL => OpCode::GetAcl,
        _ => OpCode::GetChildren2,
    }
}

unsafe fn read(
    handle: &Handle,
    kind: i32,
    at: *const c_char,
    wait: Option<std::time::Duration>,
) -> Fallible<Box<ResultBox>> {
    // SAFETY: the caller gives NULL or a text.
    let path = unsafe { path(at) }?;
    let code = read_code(kind);
    let reply = handle.read(code, path, wait);
    Ok(ResultBox::from_reply(code, reply, handle.chroot(), Some(path)))
}

/// Gives a successful result to whoever wants it; a failed one is told by code and sentence alone.
pub(super) unsafe fn hand_out(result: Box<ResultBox>, result_out: *mut *mut zoa_result) -> Fallible<()> {
    outcome_of(&result)?;
    if !result_out.is_null() {
        // SAFETY: the caller gives a place for a pointer.
        unsafe { out(result_out, "result_out") }?.write(result.give());
    }
    Ok(())
}

unsafe fn hand_out_stat(result: &ResultBox, stat_out: *mut zoa_stat) -> Fallible<()> {
    outcome_of(result)?;
    if let (Some(stat), false) = (result.stat(), stat_out.is_null()) {
        // SAFETY: the caller gives a place for a stat.
        unsafe { out(stat_out, "stat_out") }?.write(*stat);
    }
    Ok(())
}

/// Creates a znode, open to everybody, with `mode` `ZOA_PERSISTENT` and so on (not the TTL modes, which need a `zoa_op`).
/// `result_out` may be NULL; else the result has the path, with its sequence number, and the stat. NULL `data` with `len`
/// 0 is null data.
///
/// Any thread; waits for the server, for ever if need be. Errors: `ZOA_NODE_EXISTS`; `ZOA_NO_NODE` (no parent);
/// `ZOA_NO_CHILDREN_FOR_EPHEMERALS`; `ZOA_NO_AUTH`; `ZOA_BAD_ARGUMENTS`; `ZOA_CONNECTION_LOSS` (it may have happened),
/// `ZOA_SESSION_EXPIRED`, `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_create(
    client: *mut zoa_client,
    path: *const c_char,
    data: *const c_void,
    len: usize,
    mode: i32,
    result_out: *mut *mut zoa_result,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            let op = zoa_op { data, len, mode, ..zoa_op::plain(ZOA_OP_CREATE, path) };
            hand_out(run(client, this.handle(), &op, NO_LIMIT)?, result_out)
        })
    }
}

/// Data and stat of a znode, in a result of yours to free.
///
/// Any thread. In this process it is answered on the caller's thread, unless this session has writes under way that come
/// first. Errors: `ZOA_NO_NODE`; `ZOA_NO_AUTH`; `ZOA_CONNECTION_LOSS` (safe to retry), `ZOA_SESSION_EXPIRED`, `ZOA_CLOSED`;
/// `ZOA_BAD_ARGUMENTS`, `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_get(
    client: *mut zoa_client,
    path: *const c_char,
    result_out: *mut *mut zoa_result,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| {
            out(result_out, "result_out")?;
            hand_out(read(client.handle(), ZOA_OP_GET, path, NO_LIMIT)?, result_out)
        })
    }
}

/// Replaces a znode's data at `version` (−1: any). `stat_out` (may be NULL) gets the stat after it.
///
/// Any thread. Errors: `ZOA_NO_NODE`; `ZOA_BAD_VERSION`; `ZOA_NO_AUTH`; `ZOA_CONNECTION_LOSS` (it may have happened) and
/// the others of `zoa_client_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_set(
    client: *mut zoa_client,
    path: *const c_char,
    data: *const c_void,
    len: usize,
    version: i32,
    stat_out: *mut zoa_stat,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            let op = zoa_op { data, len, version, ..zoa_op::plain(ZOA_OP_SET, path) };
            hand_out_stat(&*run(client, this.handle(), &op, NO_LIMIT)?, stat_out)
        })
    }
}

/// Deletes a childless znode at `version` (−1: any).
///
/// Any thread. Errors: `ZOA_NO_NODE`; `ZOA_BAD_VERSION`; `ZOA_NOT_EMPTY`; `ZOA_NO_AUTH`; `ZOA_CONNECTION_LOSS` (it may have
/// happened) and the others of `zoa_client_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_delete(client: *mut zoa_client, path: *const c_char, version: i32) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            let op = zoa_op { version, ..zoa_op::plain(ZOA_OP_DELETE, path) };
            outcome_of(&*run(client, this.handle(), &op, NO_LIMIT)?)
        })
    }
}

/// Whether a znode exists. `stat_out` (may be NULL) gets its stat.
///
/// Any thread. Errors: `ZOA_NO_NODE` when it does not; the others of `zoa_client_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_exists(
    client: *mut zoa_client,
    path: *const c_char,
    stat_out: *mut zoa_stat,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| {
            hand_out_stat(&*read(client.handle(), ZOA_OP_EXISTS, path, NO_LIMIT)?, stat_out)
        })
    }
}

/// Names of a znode's children and its stat, in a result of yours to free.
///
/// Any thread. Errors: those of `zoa_client_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_children(
    client: *mut zoa_client,
    path: *const c_char,
    result_out: *mut *mut zoa_result,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| {
            out(result_out, "result_out")?;
            hand_out(read(client.handle(), ZOA_OP_CHILDREN, path, NO_LIMIT)?, result_out)
        })
    }
}

/// Waits until this server has caught up with the leader: a read after it sees every write acknowledged before it.
/// `path` may be NULL.
///
/// Any thread. Errors: `ZOA_CONNECTION_LOSS` (safe to retry), `ZOA_SESSION_EXPIRED`, `ZOA_CLOSED`; `ZOA_BAD_ARGUMENTS`,
/// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_sync(client: *mut zoa_client, path: *const c_char) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            outcome_of(&*run(client, this.handle(), &zoa_op::plain(ZOA_OP_SYNC, path), NO_LIMIT)?)
        })
    }
}

/// ACL and stat of a znode, in a result of yours to free.
///
/// Any thread. Errors: those of `zoa_client_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_acl(
    client: *mut zoa_client,
    path: *const c_char,
    result_out: *mut *mut zoa_result,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| {
            out(result_out, "result_out")?;
            hand_out(read(client.handle(), ZOA_OP_ACL, path, NO_LIMIT)?, result_out)
        })
    }
}

/// Replaces a znode's ACL at ACL version `version` (−1: any).
///
/// Any thread. Errors: `ZOA_INVALID_ACL`; `ZOA_NO_NODE`; `ZOA_BAD_VERSION`; `ZOA_NO_AUTH`; `ZOA_CONNECTION_LOSS` (it may have
/// happened) and the others of `zoa_client_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_set_acl(
    client: *mut zoa_client,
    path: *const c_char,
    acl: *const zoa_acl,
    count: usize,
    version: i32,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            let op = zoa_op { acl, acl_count: count, version, ..zoa_op::plain(ZOA_OP_SET_ACL, path) };
            outcome_of(&*run(client, this.handle(), &op, NO_LIMIT)?)
        })
    }
}

/// Runs any operation and waits up to `timeout_ms` (−1: for ever). `result_out` may be NULL. A result is handed out on
/// success only; failures are told by code and `zoa_last_error`.
///
/// Any thread. Errors: those of the operation; `ZOA_TIMEOUT`: the request goes on, and a write may still happen;
/// `ZOA_BAD_ARGUMENTS` for a kind that is none; `ZOA_TOO_OLD`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_call(
    client: *mut zoa_client,
    op: *const zoa_op,
    timeout_ms: i32,
    result_out: *mut *mut zoa_result,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            let op = sized(op, "op")?;
            hand_out(run(client, this.handle(), &op, limit(timeout_ms))?, result_out)
        })
    }
}

/// Sends any operation and returns; `done` gets the result, exactly once, where callbacks run. Requests of one client are
/// carried out in the order in which they were sent.
///
/// When this fails, nothing was sent and `done` is not called. Any thread. Errors: `ZOA_CLOSED`, `ZOA_SESSION_EXPIRED`,
/// `ZOA_AUTH_FAILED`; `ZOA_THROTTLED_OP` when too much waits to be sent; `ZOA_BAD_ARGUMENTS`, `ZOA_TOO_OLD`;
/// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_submit(
    client: *mut zoa_client,
    op: *const zoa_op,
    done: zoa_done_fn,
    user_data: *mut c_void,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            let op = sized(op, "op")?;
            let handle = this.handle();
            if let (Some(watch), ZOA_OP_GET | ZOA_OP_EXISTS | ZOA_OP_CHILDREN) = (op.watch, op.kind) {
                let (path, watch) = (path(op.path)?, watch_of(client, watch, op.watch_data));
                let code = read_code(op.kind);
                let request = PreparedRequest { op: code, body: Vec::new(), about: Some(path.to_owned()) };
                let done = completion(client, handle, request, done, user_data)?.1;
                return handle
                    .submit_read_watched(code, path, watch, done)
                    .map_err(|why| Fail::refused(why, Some(path)));
            }
            let request = request(&op, handle.chroot())?;
            let about = request.about.clone();
            let (request, done) = completion(client, handle, request, done, user_data)?;
            handle.submit(request.0, &request.1, done).map_err(|why| Fail::refused(why, about.as_deref()))
        })
    }
}

/// Takes a request apart into what is sent and what becomes of its reply.
#[expect(clippy::type_complexity, reason = "two things, named where they are used")]
fn completion(
    client: *mut zoa_client,
    handle: &Handle,
    request: PreparedRequest,
    done: zoa_done_fn,
    user_data: *mut c_void,
) -> Fallible<((OpCode, Vec<u8>), impl FnOnce(crate::client::handle::Reply) + Send + use<>)> {
    let done = done.ok_or_else(|| Fail::null("done"))?;
    let (client, user_data, chroot) = (Foreign::new(client), Foreign::new(user_data), handle.chroot().clone());
    let PreparedRequest { op, body, about } = request;
    let on_reply = move |reply| {
        let result = ResultBox::from_reply(op, reply, &chroot, about.as_deref()).give();
        // SAFETY: the host's function, with what it asked to get back; the client is freed only when no callback of it
        // is left.
        unsafe { done(client.get(), result, user_data.get()) }
    };
    Ok(((op, body), on_reply))
}

/// Runs several operations as one: all happen or none (`ZOA_OP_CREATE`, `_DELETE`, `_SET`, `_CHECK`), or several reads of one
/// moment (`ZOA_OP_GET`, `_CHILDREN`), each with a code of its own.
///
/// `result_out` may be NULL. Unlike elsewhere the result is also handed out when the multi was refused, so that
/// `zoa_result_part` can say which part was to blame. Any thread; waits for the server. Errors: that of the part to blame;
/// `ZOA_CONNECTION_LOSS` (it may have happened) and the others of `zoa_client_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_multi(
    client: *mut zoa_client,
    ops: *const zoa_op,
    count: usize,
    result_out: *mut *mut zoa_result,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| {
            let handle = client.handle();
            let PreparedRequest { op, body, about } = multi(ops, count, handle.chroot())?;
            let reply = handle.call(op, &body, NO_LIMIT);
            let result = ResultBox::from_reply(op, reply, handle.chroot(), about.as_deref());
            let outcome = outcome_of(&result);
            if !result_out.is_null() && result.has_parts() {
                out(result_out, "result_out")?.write(result.give());
            }
            outcome
        })
    }
}

/// Sends several operations as one and returns; `done` gets the result. As `zoa_client_submit` otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_submit_multi(
    client: *mut zoa_client,
    ops: *const zoa_op,
    count: usize,
    done: zoa_done_fn,
    user_data: *mut c_void,
) -> zoa_code {
    // SAFETY: the caller gives what the doc asks for.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            let handle = this.handle();
            let request = multi(ops, count, handle.chroot())?;
            let (request, done) = completion(client, handle, request, done, user_data)?;
            handle.submit(request.0, &request.1, done).map_err(|why| Fail::refused(why, None))
        })
    }
}
