//! `zoa_client`: one session, in this process or over TCP.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::codes::*;
use super::guard::{
    Fail, Fallible, HandleHead, HandleKind, SignalsBlocked, SizedStruct, bytes, guard, guard_value, limit, look, out,
    path, sized, take, text, with, write_sized,
};
use super::queue::{queue_of, zoa_queue};
use super::server::{ServerBox, zoa_server};
use crate::client::handle::watching::WatchFn;
use crate::client::handle::{Chroot, Handle, Options, Resume, State, WatchMode};
use crate::ids::SessionId;

/// One session. In this process and over TCP it behaves the same.
///
/// Made by `zoa_client_open` or `zoa_client_connect`, closed by `zoa_client_close` or `zoa_client_detach`, ended by
/// `zoa_client_free`. Any thread, several at a time.
///
/// Callbacks run on the thread `zoarium-callback`, one for all clients of the process, or wherever `zoa_queue_run` is
/// called for the client's queue; one at a time, never from within a call of an operation. They may call everything,
/// blocking operations on their own client included; freeing their own client takes effect when they return. Events
/// and results come in the order of the server's answers. A blocking call on another thread may return while an
/// earlier event still waits for its turn.
///
/// All paths, those given and those told (results, events, `ZOA_OP_EPHEMERALS`), are relative to the client's chroot,
/// whose own znode is `"/"`. A chroot need not exist; it is created when a client creates `"/"`.
pub struct zoa_client {
    _private: (),
}

/// A session's identity and how it is. Begin with `ZOA_SESSION_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zoa_session {
    /// `sizeof(zoa_session)`.
    pub struct_size: u32,
    /// `ZOA_CONNECTING` and so on.
    pub state: i32,
    /// As granted; 0 before the first connection.
    pub timeout_ms: i32,
    /// 0.
    pub reserved: u32,
    /// 0 before the first connection.
    pub id: i64,
    /// With the id, all it takes to resume the session.
    pub password: [u8; 16],
    /// The server's number where it is known (in this process), else 0.
    pub server_id: u64,
    /// The last transaction this session has seen.
    pub last_zxid: i64,
}

// SAFETY: it is numbers.
unsafe impl SizedStruct for zoa_session {}

/// No server has answered yet.
pub const ZOA_CONNECTING: i32 = 0;
/// Requests are answered.
pub const ZOA_CONNECTED: i32 = 1;
/// Reads are answered, by a server without quorum.
pub const ZOA_CONNECTED_READ_ONLY: i32 = 2;
/// The connection is lost, the session may live; another server is being looked for.
pub const ZOA_SUSPENDED: i32 = 3;
/// The session is over, its ephemeral znodes are gone. Final.
pub const ZOA_EXPIRED: i32 = 4;
/// The server refused the credentials. Final.
pub const ZOA_AUTH_REFUSED: i32 = 5;
/// Closed or detached here, or the server in this process has stopped. Final.
pub const ZOA_ENDED: i32 = 6;

/// Told of every change of a session's state, where callbacks run. `zoa_client_open` or `zoa_client_connect` may not have
/// returned yet.
pub type zoa_state_fn = Option<unsafe extern "C" fn(client: *mut zoa_client, state: i32, user_data: *mut c_void)>;

/// Over TCP, be content with a server without quorum, which answers reads, until one with a quorum is found.
pub const ZOA_ALLOW_READ_ONLY: u32 = 1;

/// How to begin a session. Begin with `ZOA_CLIENT_OPTIONS_INIT`: zero always means "as usual".
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zoa_client_options {
    /// `sizeof(zoa_client_options)`.
    pub struct_size: u32,
    /// Bits of `ZOA_ALLOW_READ_ONLY`.
    pub flags: u32,
    /// What to ask for; the server clamps it. 0: 10 s.
    pub session_timeout_ms: i32,
    /// All paths are relative to this one, see `zoa_client`. NULL: none.
    pub chroot: *const c_char,
    /// Where callbacks run. NULL: on the thread `zoarium-callback`.
    pub queue: *mut zoa_queue,
    /// NULL: the program is not told.
    pub on_state: zoa_state_fn,
    /// Handed to `on_state`.
    pub user_data: *mut c_void,
    /// A session to take over, with `resume_password`. 0: a new one.
    pub resume_id: i64,
    /// As in `zoa_session`.
    pub resume_password: [u8; 16],
    /// The longest request to send, in bytes of the data and all that goes with them; a longer one is `ZOA_BAD_ARGUMENTS`
    /// before anything is sent. In this process `jute.maxbuffer` of the server holds besides; over TCP, where that is not
    /// known, a server closes the connection for what it finds too long, so say here what it is configured to take
    /// (ZooKeeper's default: 1048575). 0: in this process the server's limit alone, over TCP 64 MiB.
    pub request_size_max: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: zeros are NULL, none and 0 in all of its fields.
unsafe impl SizedStruct for zoa_client_options {
    /// Before `request_size_max`.
    const FIRST_SIZE: usize = 72;
}

/// A change of a watched znode. Borrowed for the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zoa_event {
    /// `sizeof(zoa_event)` of the library: fields past it are not there.
    pub struct_size: u32,
    /// `ZOA_EVENT_CREATED` and so on.
    pub kind: i32,
    /// The session's state when the event came: `ZOA_CONNECTED`.
    pub state: i32,
    /// 0.
    pub reserved: u32,
    /// The znode that changed; under a recursive watch not the one watched.
    pub path: *const c_char,
    /// The transaction that did it; −1 for what was caught up on after a reconnect.
    pub zxid: i64,
}

/// The znode was created.
pub const ZOA_EVENT_CREATED: i32 = 1;
/// It was deleted.
pub const ZOA_EVENT_DELETED: i32 = 2;
/// Its data were set.
pub const ZOA_EVENT_DATA: i32 = 3;
/// A child was created or deleted.
pub const ZOA_EVENT_CHILDREN: i32 = 4;

/// Told of a change, where callbacks run. `event` and its path live for the call.
///
/// Of a znode and nothing else: neither a lost connection nor the session's end is told to watches, but to `on_state`. When
/// the session expires, all of its watches are over, and none is called for that; only where the connection still stands, a
/// watch of a znode that went with the session may be told of its deletion first.
pub type zoa_watch_fn =
    Option<unsafe extern "C" fn(client: *mut zoa_client, event: *const zoa_event, user_data: *mut c_void)>;

/// One event: the znode is created, deleted, or its data set.
pub const ZOA_WATCH_ONCE_DATA: i32 = 0;
/// One event: a child is created or deleted, or the znode itself is deleted.
pub const ZOA_WATCH_ONCE_CHILDREN: i32 = 1;
/// Every event of the znode, until `zoa_client_unwatch`.
pub const ZOA_WATCH_PERSISTENT: i32 = 2;
/// Every event of the znode and all below it but for lists of children, until `zoa_client_unwatch`.
pub const ZOA_WATCH_RECURSIVE: i32 = 3;

#[repr(C)]
pub(super) struct ClientBox {
    head: HandleHead,
    /// Empty only while a callback runs before `zoa_client_open` or `zoa_client_connect` has finished.
    handle: OnceLock<Handle>,
    server_id: u64,
}

// SAFETY: it is `repr(C)` and begins with its head.
unsafe impl HandleKind for ClientBox {
    const TAG: u32 = u32::from_le_bytes(*b"clie");
}

impl ClientBox {
    pub(super) fn handle(&self) -> &Handle {
        self.handle.wait()
    }
}

/// A pointer that is handed back to the host and never looked at here.
pub(super) struct Foreign<T>(*mut T);

impl<T> Foreign<T> {
    pub(super) fn new(pointer: *mut T) -> Foreign<T> {
        Foreign(pointer)
    }

    pub(super) fn get(&self) -> *mut T {
        self.0
    }
}

// SAFETY: the host was told on which thread it gets the pointer back.
unsafe impl<T> Send for Foreign<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Foreign<T> {}

/// A watch of the host's.
pub(super) fn watch_of(
    client: *mut zoa_client,
    watch: unsafe extern "C" fn(*mut zoa_client, *const zoa_event, *mut c_void),
    user_data: *mut c_void,
) -> WatchFn {
    let (client, user_data) = (Foreign::new(client), Foreign::new(user_data));
    Box::new(move |event| {
        let path = CString::new(event.path.as_str()).unwrap_or_default();
        let event = zoa_event {
            struct_size: size_of::<zoa_event>() as u32,
            kind: event.kind.to_i32(),
            state: ZOA_CONNECTED,
            reserved: 0,
            path: path.as_ptr(),
            zxid: event.zxid,
        };
        // SAFETY: the host's function, with what it asked to get back; the event outlives the call, and the client is
        // freed only when no callback of it is left.
        unsafe { watch(client.get(), &raw const event, user_data.get()) }
    })
}

/// What C says of a session, as the handle wants it.
unsafe fn options_of(options: *const zoa_client_options, client: *mut zoa_client) -> Fallible<Options> {
    let mut wanted = Options::default();
    if options.is_null() {
        return Ok(wanted);
    }
    // SAFETY: the caller gives options with their size, whose pointers are what their docs say.
    unsafe {
        let options = sized(options, "options")?;
        if options.flags & !ZOA_ALLOW_READ_ONLY != 0 {
            return Err(Fail::because(ZOA_BAD_ARGUMENTS, format!("options.flags is {:#x}", options.flags)));
        }
        wanted.allow_read_only = options.flags & ZOA_ALLOW_READ_ONLY != 0;
        match options.session_timeout_ms {
            0 => {}
            ms if ms > 0 => wanted.session_timeout_ms = ms,
            ms => return Err(Fail::because(ZOA_BAD_ARGUMENTS, format!("a session timeout of {ms} ms"))),
        }
        if !options.chroot.is_null() {
            let chroot = text(options.chroot, "options.chroot")?;
            let no_path = || Fail::because(ZOA_BAD_ARGUMENTS, format!("the chroot {chroot:?} is no path"));
            wanted.chroot = Chroot::new(chroot).ok_or_else(no_path)?;
        }
        wanted.queue = queue_of(options.queue)?;
        wanted.request_size_max = (options.request_size_max != 0).then_some(options.request_size_max);
        if options.resume_id != 0 {
            wanted.resume = Some(Resume { id: SessionId(options.resume_id), password: options.resume_password });
        }
        if let Some(on_state) = options.on_state {
            let (client, user_data) = (Foreign::new(client), Foreign::new(options.user_data));
            // SAFETY: as for watches.
            wanted.on_state = Some(Arc::new(move |state| on_state(client.get(), state as i32, user_data.get())));
        }
        Ok(wanted)
    }
}

/// Makes the box first: callbacks get its address, and may come before the handle is in it.
unsafe fn begin(
    options: *const zoa_client_options,
    server_id: u64,
    client_out: *mut *mut zoa_client,
    open: impl FnOnce(&Options) -> Fallible<Handle>,
) -> Fallible<()> {
    // SAFETY: the caller gives NULL or a place for a pointer.
    let place = unsafe { out(client_out, "client_out") }?;
    let client = Box::new(ClientBox { head: HandleHead::new::<ClientBox>(), handle: OnceLock::new(), server_id });
    let client = Box::into_raw(client);
    // SAFETY: the caller gives NULL or options.
    let opened = unsafe { options_of(options, client.cast()) }.and_then(|options| {
        let _quiet = SignalsBlocked::new();
        open(&options)
    });
    match opened {
        Ok(handle) => {
            // SAFETY: it is freed by `zoa_client_free` only, which nobody can call before it is given out; a callback
            // that frees it waits for the handle.
            let _ = unsafe { &*client }.handle.set(handle);
            place.write(client.cast());
            Ok(())
        }
        Err(fail) => {
            // SAFETY: nobody has seen it.
            drop(unsafe { Box::from_raw(client) });
            Err(fail)
        }
    }
}

/// Begins a session with a server in this process, past the socket and nothing else. Yours to close and free. `options`
/// may be NULL. Does not wait: operations do, see `zoa_client_wait`.
///
/// Any thread. Errors: `ZOA_CLOSED` when the server has stopped; `ZOA_BAD_ARGUMENTS`, `ZOA_TOO_OLD`, `ZOA_BAD_UTF8` for
/// options; `ZOA_SYSTEM`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_open(
    server: *mut zoa_server,
    options: *const zoa_client_options,
    client_out: *mut *mut zoa_client,
) -> zoa_code {
    guard(|| {
        // SAFETY: the caller gives NULL or a server, NULL or options, NULL or a place for a pointer.
        unsafe {
            let server = look::<ServerBox>(server.cast_const().cast(), "server")?;
            if !server.is_running() {
                return Err(Fail::because(ZOA_CLOSED, "the server has stopped"));
            }
            begin(options, server.server_id(), client_out, |options| {
                let hub = Arc::clone(&server.hub);
                Handle::open(hub, options).map_err(|error| Fail::because(ZOA_SYSTEM, error.to_string()))
            })
        }
    })
}

/// Begins a session with a server elsewhere, over TCP. Yours to close and free. `options` may be NULL. Does not wait:
/// operations do, see `zoa_client_wait`; while no server answers, they wait too.
///
/// `hosts` is ZooKeeper's connection string, `"one:2181,two:2181,[::1]:2181/chroot"`: servers of one ensemble, tried in an
/// order of chance; the port may be left out (2181). `options.chroot` lies below the chroot in `hosts`. When a connection is
/// lost, the session is resumed with the next server, watches and identities included. No request is ever sent twice:
/// what was sent and not answered ends in `ZOA_CONNECTION_LOSS`, what was not sent yet waits. One thread, `zoarium-io`,
/// serves all clients of the process.
///
/// Any thread. Errors: `ZOA_BAD_ARGUMENTS` for `hosts` that cannot be read; `ZOA_BAD_ARGUMENTS`, `ZOA_TOO_OLD`,
/// `ZOA_BAD_UTF8` for options; `ZOA_SYSTEM`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_connect(
    hosts: *const c_char,
    options: *const zoa_client_options,
    client_out: *mut *mut zoa_client,
) -> zoa_code {
    guard(|| {
        // SAFETY: the caller gives NULL or a text, NULL or options, NULL or a place for a pointer.
        unsafe {
            let hosts = text(hosts, "hosts")?;
            begin(options, 0, client_out, |options| {
                Handle::connect(hosts, options).map_err(|error| match error.kind() {
                    std::io::ErrorKind::InvalidInput => Fail::because(ZOA_BAD_ARGUMENTS, error.to_string()),
                    _ => Fail::because(ZOA_SYSTEM, error.to_string()),
                })
            })
        }
    })
}

/// Waits until a server answers, up to `timeout_ms` (−1: for ever).
///
/// Any thread. Errors: `ZOA_TIMEOUT`; `ZOA_SESSION_EXPIRED` when the session to resume is over; `ZOA_AUTH_FAILED`;
/// `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_wait(client: *mut zoa_client, timeout_ms: i32) -> zoa_code {
    // SAFETY: the caller gives NULL or a client.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| {
            client.handle().wait(limit(timeout_ms)).map_err(Fail::new)
        })
    }
}

/// The session as it is now, in `session_out`, whose `struct_size` says how much fits. Also works after the end.
///
/// Any thread. Errors: `ZOA_TOO_OLD`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_session(client: *const zoa_client, session_out: *mut zoa_session) -> zoa_code {
    // SAFETY: the caller gives NULL or a client, NULL or a session with its size.
    unsafe {
        with(client.cast(), "client", |client: &ClientBox| {
            let info = client.handle().session();
            let session = zoa_session {
                struct_size: 0,
                state: info.state as i32,
                timeout_ms: info.timeout_ms,
                reserved: 0,
                id: info.id.0,
                password: info.password,
                server_id: client.server_id,
                last_zxid: info.last_zxid.0,
            };
            write_sized(session_out, session, "session_out")
        })
    }
}

/// Adds an identity to the session: scheme `"digest"` with `"user:password"`, for one. Waits for the server's answer.
///
/// Any thread. Errors: `ZOA_AUTH_FAILED`, which ends the session; `ZOA_CONNECTION_LOSS` (the identity is
/// re-sent on reconnect); `ZOA_CLOSED`, `ZOA_SESSION_EXPIRED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`,
/// `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_add_auth(
    client: *mut zoa_client,
    scheme: *const c_char,
    credentials: *const c_void,
    len: usize,
) -> zoa_code {
    // SAFETY: the caller gives NULL or a client, NULL or a text, and data with their length.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| {
            let (scheme, credentials) = (text(scheme, "scheme")?, bytes(credentials, len)?.unwrap_or_default());
            let reply = client.handle().add_auth(scheme, credentials, None);
            if reply.code == ZOA_OK { Ok(()) } else { Err(Fail::of(&reply, None)) }
        })
    }
}

/// Sets a watch in one of the modes `ZOA_WATCH_…` and puts its number into `watch_id_out` (may be NULL). `zoa_client_unwatch`
/// ends it, and so does the end of its session, which it is not told of: see `zoa_watch_fn`.
///
/// `user_data` is handed back as it is; it must live until the client is freed, or the watch has been ended and no callback
/// of it runs. Any thread; waits for the server. Errors: `ZOA_NO_NODE` for `ZOA_WATCH_ONCE_CHILDREN`; `ZOA_NO_AUTH`;
/// `ZOA_THROTTLED_OP` with too many watches; `ZOA_BAD_ARGUMENTS`; `ZOA_CONNECTION_LOSS`, `ZOA_SESSION_EXPIRED`,
/// `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_watch(
    client: *mut zoa_client,
    path: *const c_char,
    mode: i32,
    watch: zoa_watch_fn,
    user_data: *mut c_void,
    watch_id_out: *mut u64,
) -> zoa_code {
    // SAFETY: the caller gives NULL or a client, NULL or a text, NULL or a place for a number.
    unsafe {
        with(client.cast_const().cast(), "client", |this: &ClientBox| {
            let path = self::path(path)?;
            let mode = match mode {
                ZOA_WATCH_ONCE_DATA => WatchMode::OnceData,
                ZOA_WATCH_ONCE_CHILDREN => WatchMode::OnceChildren,
                ZOA_WATCH_PERSISTENT => WatchMode::Persistent,
                ZOA_WATCH_RECURSIVE => WatchMode::Recursive,
                other => return Err(Fail::because(ZOA_BAD_ARGUMENTS, format!("there is no watch mode {other}"))),
            };
            let watch = watch_of(client, watch.ok_or_else(|| Fail::null("watch"))?, user_data);
            let id = this.handle().watch(path, mode, watch, None);
            let id = id.map_err(|reply| Fail::of(&reply, Some(path)))?;
            if !watch_id_out.is_null() {
                watch_id_out.write_unaligned(id);
            }
            Ok(())
        })
    }
}

/// Ends a watch of `zoa_client_watch`. No callback of it begins after this returns; one may be running on another thread. The
/// watch of a read (`zoa_op.watch`) has no number and cannot be ended.
///
/// Any thread; waits for the server. Errors: `ZOA_NO_WATCHER` when it has ended or fired already; `ZOA_CONNECTION_LOSS`
/// and the like: it has ended here all the same; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_unwatch(client: *mut zoa_client, watch_id: u64) -> zoa_code {
    // SAFETY: the caller gives NULL or a client.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| {
            client.handle().unwatch(watch_id, None).map_err(Fail::new)
        })
    }
}

/// Ends the session, with its ephemeral znodes. Waits up to `timeout_ms` (−1: for ever). Closing twice is fine.
///
/// When it returns, every request has been answered, every callback has run, and none will run again; except when called
/// from a callback, where those that still wait run after it. The last callbacks of a client with a queue run in the
/// `zoa_queue_run` that is under way on another thread, for whose end this waits; where there is none, on the thread that calls
/// this, before it returns. Any thread. Errors: `ZOA_TIMEOUT`: closed here all the same,
/// but the session is left to expire or a callback still runs; `ZOA_CONNECTION_LOSS`: the same, because no server was
/// connected that could be asked; `ZOA_WOULD_DEADLOCK`: closed, and a callback of this client still runs, which waits for the
/// callback that this is called from, on another queue, in the same way; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_close(client: *mut zoa_client, timeout_ms: i32) -> zoa_code {
    // SAFETY: the caller gives NULL or a client.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| {
            client.handle().close(limit(timeout_ms)).map_err(Fail::new)
        })
    }
}

/// Lets go of the session and leaves it alive, to be resumed with the id and password of `zoa_client_session`. Callbacks as
/// after `zoa_client_close`; what was under way ends in `ZOA_CLOSED`.
///
/// Any thread. Errors: `ZOA_WOULD_DEADLOCK` as in `zoa_client_close`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_detach(client: *mut zoa_client) -> zoa_code {
    // SAFETY: the caller gives NULL or a client.
    unsafe {
        with(client.cast_const().cast(), "client", |client: &ClientBox| client.handle().try_detach().map_err(Fail::new))
    }
}

/// Closes the client if it is open, with a limit of two seconds for the server, waits for its callbacks and frees it.
/// NULL is fine.
///
/// From a callback on the same queue it takes effect when the callback returns: until then the client is closed. From a
/// callback on another queue it waits for the client's own; where one of those waits in the same way for the callback that
/// this is called from, it takes effect when that one returns. Any thread, once nobody else uses the client.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_client_free(client: *mut zoa_client) {
    guard_value((), || {
        // SAFETY: the caller gives NULL or a client that nobody else uses any more.
        let Some(client) = (unsafe { take::<ClientBox>(client.cast()) }) else { return Ok(()) };
        let handle = client.handle();
        let in_callback = handle.is_in_callback();
        if handle.close(Some(Handle::DROP_LIMIT)) == Err(ZOA_WOULD_DEADLOCK) || in_callback {
            // Behind everything that still waits for this client; the box must be whole until then.
            let client = Box::leak(client);
            let (handle, whole) = (client.handle(), Foreign::new(std::ptr::from_ref::<ClientBox>(client).cast_mut()));
            // SAFETY: it was leaked above, for this.
            handle.defer(move || drop(unsafe { Box::from_raw(whole.get()) }));
        }
        Ok(())
    });
}

const _: () = assert!(State::Connecting as i32 == ZOA_CONNECTING && State::Connected as i32 == ZOA_CONNECTED);
const _: () = assert!(State::ConnectedReadOnly as i32 == ZOA_CONNECTED_READ_ONLY);
const _: () = assert!(State::Suspended as i32 == ZOA_SUSPENDED && State::Expired as i32 == ZOA_EXPIRED);
const _: () = assert!(State::AuthFailed as i32 == ZOA_AUTH_REFUSED && State::Ended as i32 == ZOA_ENDED);
/// Blocking functions without a limit of their own wait until a server answers, or the session is over.
pub(super) const NO_LIMIT: Option<Duration> = None;
