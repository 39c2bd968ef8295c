//! `zoa_server`: one peer in this process.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::codes::*;
use super::config::{ConfigBox, RoleCallback, zoa_config};
use super::guard::{
    Fail, Fallible, HandleHead, HandleKind, SignalsBlocked, SizedStruct, c_text, guard, guard_value, limit, look, out,
    take, text, with, write_sized,
};
use crate::client::handle::load::QueueShare;
use crate::client::handle::queue::{Callbacks, Job};
use crate::ids::SessionId;
use crate::peer::local::Hub;
use crate::peer::serving::Serving;
use crate::server::{NoAnswer, RoleState, ServerRole};
use crate::{Error, Server};

/// One peer.
///
/// Made by `zoa_server_start`, stopped by `zoa_server_stop`, ended by `zoa_server_free`. Any thread. Any number may live in
/// one process, each with a data folder and a port of its own. It runs one thread, `zoarium-loop`, a second one,
/// `zoarium-relief`, that sleeps unless a write takes long, and another for a moment now and then; all of them block all
/// signals.
pub struct zoa_server {
    _private: (),
}

/// No leader is known.
pub const ZOA_ROLE_LOOKING: i32 = 0;
/// It follows a leader and votes.
pub const ZOA_ROLE_FOLLOWING: i32 = 1;
/// It follows a leader and has no vote.
pub const ZOA_ROLE_OBSERVING: i32 = 2;
/// It leads.
pub const ZOA_ROLE_LEADING: i32 = 3;
/// It is alone.
pub const ZOA_ROLE_STANDALONE: i32 = 4;
/// It has no quorum and serves reads.
pub const ZOA_ROLE_READ_ONLY: i32 = 5;
/// It was stopped.
pub const ZOA_ROLE_STOPPED: i32 = 6;
/// It stopped by itself; `zoa_server_wait` says why.
pub const ZOA_ROLE_FAILED: i32 = 7;

/// How a server is. Begin with `ZOA_STATUS_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zoa_status {
    /// `sizeof(zoa_status)`.
    pub struct_size: u32,
    /// One of `ZOA_ROLE_…`.
    pub role: i32,
    /// Its number in the ensemble.
    pub server_id: u64,
    /// The epoch of its last transaction.
    pub epoch: i64,
    /// Its last transaction.
    pub last_zxid: i64,
    /// The leader's number; its own when standalone, 0 while there is none.
    pub leader_id: u64,
    /// The port clients connect to.
    pub client_port: u32,
    /// Sessions.
    pub sessions: u32,
    /// Znodes, the same number as in the words `srvr` and `mntr`: ZooKeeper counts the root twice.
    pub znodes: u64,
    /// Watches.
    pub watches: u64,
    /// Bytes of paths and data.
    pub data_bytes: u64,
    /// Bytes of the data file.
    pub file_bytes: u64,
    /// Learners of a leader that are up to date; 0 when it does not lead.
    pub learners_in_sync: u32,
    /// Servers that make a quorum, where each has one vote; 1 when standalone.
    pub quorum_size: u32,
    /// Requests taken and not answered.
    pub outstanding: u64,
}

// SAFETY: it is numbers.
unsafe impl SizedStruct for zoa_status {}

#[repr(C)]
pub(super) struct ServerBox {
    head: HandleHead,
    server: RwLock<Option<Arc<Server>>>,
    /// Whether it is a member of an ensemble, which goes on when the handle is freed.
    is_member: bool,
    serving: Arc<Serving>,
    /// How it ended, once `zoa_server_stop` has taken it.
    ended: RwLock<Option<Result<(), String>>>,
    stopping: Mutex<()>,
    pub(super) hub: Arc<Hub>,
    address: CString,
    port: u16,
    server_id: u64,
    callbacks: Option<Arc<Callbacks>>,
    load: Arc<QueueShare>,
}

// SAFETY: it is `repr(C)` and begins with its head.
unsafe impl HandleKind for ServerBox {
    const TAG: u32 = u32::from_le_bytes(*b"serv");
}

/// What a server's loop gets to answer at the least.
const ANSWER_MIN: Duration = Duration::from_millis(50);

impl ServerBox {
    pub(super) fn is_running(&self) -> bool {
        let server = self.server.read().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().is_some_and(|server| !server.wait_for(std::time::Duration::ZERO))
    }

    pub(super) fn server_id(&self) -> u64 {
        self.server_id
    }

    fn new(server: Arc<Server>, server_id: u64, is_member: bool, callbacks: Option<Arc<Callbacks>>) -> ServerBox {
        let address = server.addresses().first();
        ServerBox {
            head: HandleHead::new::<ServerBox>(),
            hub: Arc::clone(server.hub()),
            address: c_text(&address.map(ToString::to_string).unwrap_or_default()),
            port: address.map_or(0, std::net::SocketAddr::port),
            server_id,
            is_member,
            serving: Arc::clone(server.serving()),
            server: RwLock::new(Some(server)),
            ended: RwLock::new(None),
            stopping: Mutex::new(()),
            callbacks,
            load: Arc::new(QueueShare::new()),
        }
    }

    /// A further handle of an ensemble's member.
    pub(super) fn of_member(server: Arc<Server>, server_id: u64) -> ServerBox {
        ServerBox::new(server, server_id, true, None)
    }

    /// Has the host told of the role now, and of each from now on.
    fn tell_roles(&self, callback: RoleCallback) {
        let Some(callbacks) = self.callbacks.clone() else { return };
        let load = Arc::clone(&self.load);
        self.serving.listen(Some(Box::new(move |RoleState { role, epoch, .. }: RoleState| {
            // SAFETY: the host's function, with what it asked to get back.
            let job: Job = Box::new(move || unsafe { callback.call(role_number(role), i64::from(epoch)) });
            callbacks.queue().push(&load, [(0, job)]);
        })));
    }

    /// Asks the running server something about a session.
    fn ask_about(
        &self,
        session_id: i64,
        ask: impl FnOnce(&Server, SessionId) -> Result<bool, NoAnswer>,
    ) -> Fallible<()> {
        let running = self.server.read().unwrap_or_else(PoisonError::into_inner);
        let running = running.as_ref().ok_or_else(|| Fail::new(ZOA_CLOSED))?;
        match ask(running, SessionId(session_id)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fail::because(ZOA_SESSION_EXPIRED, format!("there is no session {session_id:#x}"))),
            Err(why) => Err(no_answer(why)),
        }
    }

    fn stop(&self, timeout_ms: i32) -> Fallible<()> {
        {
            let server = self.server.read().unwrap_or_else(PoisonError::into_inner);
            let Some(server) = server.as_ref() else { return Ok(()) };
            server.request_stop();
            match limit(timeout_ms) {
                None => server.wait(),
                Some(limit) if server.wait_for(limit) => {}
                Some(limit) => {
                    return Err(Fail::because(ZOA_TIMEOUT, format!("still stopping after {} ms", limit.as_millis())));
                }
            }
        }
        self.finish()
    }

    /// Stops it, without waiting longer than [`Server::stop`] does, and keeps how it ended.
    fn finish(&self) -> Fallible<()> {
        // Others who stop it at the same time wait until it is known how it ended. The server's other locks
        // are taken one at a time: `zoa_server_status` takes them in another order.
        let _alone = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(server) = self.server.write().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let result = match Arc::try_unwrap(server) {
            Ok(server) => server.stop(),
            // An ensemble holds it too, and tells how it ended.
            Err(server) => {
                let words = server.failure(Error::to_string).map_or(Ok(()), Err);
                *self.ended.write().unwrap_or_else(PoisonError::into_inner) = Some(words);
                return Ok(());
            }
        };
        let words = result.as_ref().copied().map_err(Error::to_string);
        *self.ended.write().unwrap_or_else(PoisonError::into_inner) = Some(words);
        result.map_err(|error| failure(&error))
    }
}

impl RoleCallback {
    /// # Safety
    /// The host keeps its side: the function may be called with its own `user_data`.
    unsafe fn call(self, role: i32, epoch: i64) {
        // SAFETY: as above.
        unsafe { (self.changed)(role, epoch, self.user_data) }
    }
}

fn no_answer(why: NoAnswer) -> Fail {
    match why {
        NoAnswer::Ended => Fail::new(ZOA_CLOSED),
        NoAnswer::Busy => Fail::because(ZOA_TIMEOUT, "the server is busy with something else"),
    }
}

fn role_number(role: ServerRole) -> i32 {
    match role {
        ServerRole::Looking => ZOA_ROLE_LOOKING,
        ServerRole::Following => ZOA_ROLE_FOLLOWING,
        ServerRole::Observing => ZOA_ROLE_OBSERVING,
        ServerRole::Leading => ZOA_ROLE_LEADING,
        ServerRole::Standalone => ZOA_ROLE_STANDALONE,
        ServerRole::ReadOnly => ZOA_ROLE_READ_ONLY,
        ServerRole::Stopped => ZOA_ROLE_STOPPED,
        ServerRole::Failed => ZOA_ROLE_FAILED,
    }
}

pub(super) fn failure(error: &Error) -> Fail {
    Fail::because(error.code().number(), error.to_string())
}

/// Opens the data folder, recovers what it holds, listens, and serves; returns when clients can connect. A member of an ensemble
/// (`server.N` lines in a file of `zoa_config_load`) refuses them until it has found a leader: `zoa_server_ready`. Yours to stop and
/// free. `config` NULL: the defaults of `zoa_config_new`. Nothing can stop it before it returns; the process may end at any
/// moment, recovery bears that.
///
/// Any thread. Errors: `ZOA_IN_USE` when another server has the data; `ZOA_PORT_TAKEN`; `ZOA_CORRUPT`; `ZOA_DISK_FULL`;
/// `ZOA_BAD_ARGUMENTS` for settings that do not go together, and where ZooKeeper's own data lies and no file of ours
/// (`zoarium.ignoreZooKeeperData` begins all the same); `ZOA_SYSTEM`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_start(config: *const zoa_config, server_out: *mut *mut zoa_server) -> zoa_code {
    guard(|| {
        // SAFETY: the caller gives NULL or a place for a pointer.
        let place = unsafe { out(server_out, "server_out") }?;
        let (config, on_role) = if config.is_null() {
            (crate::Config::default(), None)
        } else {
            // SAFETY: the caller gives a config.
            unsafe { look::<ConfigBox>(config.cast(), "config") }?.load()?
        };
        let _quiet = SignalsBlocked::new();
        let callbacks = match on_role {
            None => None,
            Some(_) => Some(Callbacks::shared().map_err(|error| Fail::because(ZOA_SYSTEM, error.to_string()))?),
        };
        let server_id = config.server_id.0.max(1);
        let server = Server::start(config).map_err(|error| failure(&error))?;
        let server = Box::new(ServerBox::new(Arc::new(server), server_id, false, callbacks));
        if let Some(callback) = on_role {
            server.tell_roles(callback);
        }
        place.write(Box::into_raw(server).cast());
        Ok(())
    })
}

/// Waits until the server answers, up to `timeout_ms` (−1: for ever; at least 50). It does as soon as it has started, unless
/// something holds it up. Whether a member of an ensemble serves clients says `zoa_server_ready`.
///
/// Any thread. Errors: `ZOA_CLOSED` after a stop; what ended the server, with the sentence, when it failed; `ZOA_TIMEOUT`;
/// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_wait(server: *mut zoa_server, timeout_ms: i32) -> zoa_code {
    // SAFETY: the caller gives NULL or a server.
    unsafe {
        with(server.cast_const().cast(), "server", |server: &ServerBox| {
            match server.ended.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
                Some(Ok(())) => return Err(Fail::new(ZOA_CLOSED)),
                Some(Err(why)) => return Err(Fail::because(ZOA_SYSTEM, why.clone())),
                None => {}
            }
            let running = server.server.read().unwrap_or_else(PoisonError::into_inner);
            let Some(running) = running.as_ref() else { return Err(Fail::new(ZOA_CLOSED)) };
            let limit = limit(timeout_ms).unwrap_or(Duration::MAX).max(ANSWER_MIN);
            let answer = running.status_within(limit);
            match (running.failure(failure), answer) {
                (Some(fail), _) => Err(fail),
                (None, Ok(_)) => Ok(()),
                (None, Err(why)) => Err(no_answer(why)),
            }
        })
    }
}

/// Waits until clients are served, up to `timeout_ms` (−1: for ever; 0 only looks). A standalone server serves from its start; a
/// member of an ensemble while it leads or follows a leader, and without one only reads, where `readonlymode.enabled` is on.
///
/// Any thread; does not wait for the server's loop. Errors: `ZOA_TIMEOUT` while it looks for a leader; `ZOA_CLOSED` after a stop;
/// what ended the server, with the sentence, when it failed; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_ready(server: *mut zoa_server, timeout_ms: i32) -> zoa_code {
    // SAFETY: the caller gives NULL or a server.
    unsafe {
        with(server.cast_const().cast(), "server", |server: &ServerBox| {
            let limit = limit(timeout_ms).unwrap_or(Duration::MAX);
            if server.serving.wait(limit) {
                return Ok(());
            }
            match server.serving.now().role {
                ServerRole::Stopped => Err(Fail::new(ZOA_CLOSED)),
                ServerRole::Failed => {
                    let running = server.server.read().unwrap_or_else(PoisonError::into_inner);
                    let running = running.as_ref().and_then(|running| running.failure(failure));
                    let ended = server.ended.read().unwrap_or_else(PoisonError::into_inner);
                    let ended = ended.clone().and_then(Result::err).map(|why| Fail::because(ZOA_SYSTEM, why));
                    Err(running.or(ended).unwrap_or_else(|| Fail::new(ZOA_CLOSED)))
                }
                _ => Err(Fail::because(ZOA_TIMEOUT, "it looks for a leader; clients are refused until there is one")),
            }
        })
    }
}

/// How the server is, in `status_out`, whose `struct_size` says how much fits. Also works on a server that has ended:
/// then most numbers are 0.
///
/// Any thread; waits for the server's loop. Errors: `ZOA_TIMEOUT` when that is busy for ten seconds; `ZOA_TOO_OLD`;
/// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_status(server: *const zoa_server, status_out: *mut zoa_status) -> zoa_code {
    // SAFETY: the caller gives NULL or a server, and NULL or a status with its size.
    unsafe {
        with(server.cast(), "server", |server: &ServerBox| {
            let running = server.server.read().unwrap_or_else(PoisonError::into_inner);
            let status = match running.as_ref().map(|running| running.status_within(Duration::from_secs(10))) {
                Some(Err(NoAnswer::Busy)) => return Err(no_answer(NoAnswer::Busy)),
                Some(Ok(status)) => Some(status),
                Some(Err(NoAnswer::Ended)) | None => None,
            };
            let has_failed = running.as_ref().is_some_and(|running| running.failure(|_| ()).is_some());
            // Whoever stops it holds `ended` and wants `server`: never both the other way round.
            drop(running);
            let state = server.serving.now();
            let role = if status.is_some() {
                role_number(state.role)
            } else if has_failed || matches!(*server.ended.read().unwrap_or_else(PoisonError::into_inner), Some(Err(_)))
            {
                ZOA_ROLE_FAILED
            } else {
                ZOA_ROLE_STOPPED
            };
            let mut answer = zoa_status {
                struct_size: 0,
                role,
                server_id: server.server_id,
                epoch: 0,
                last_zxid: 0,
                leader_id: 0,
                client_port: u32::from(server.port),
                sessions: 0,
                znodes: 0,
                watches: 0,
                data_bytes: 0,
                file_bytes: 0,
                learners_in_sync: 0,
                quorum_size: 1,
                outstanding: 0,
            };
            if let Some(status) = status {
                let engine = &status.engine;
                answer.epoch = i64::from(engine.applied.epoch());
                answer.last_zxid = engine.applied.0;
                answer.leader_id = match (state.role, state.leader) {
                    (ServerRole::Standalone, _) => server.server_id,
                    (_, leader) => leader.map_or(0, |leader| leader.0),
                };
                if let Some(ensemble) = &status.ensemble {
                    let counts = ensemble.leading.map(|(counts, _)| counts.synced_followers + counts.synced_observers);
                    answer.learners_in_sync = u32::try_from(counts.unwrap_or(0)).unwrap_or(u32::MAX);
                    answer.quorum_size = u32::try_from(ensemble.voters / 2 + 1).unwrap_or(u32::MAX);
                }
                answer.sessions = u32::try_from(engine.sessions).unwrap_or(u32::MAX);
                answer.znodes = engine.znodes as u64 + 1;
                answer.watches = engine.watches as u64;
                answer.data_bytes = engine.data_size;
                answer.file_bytes = status.store.file_bytes;
                answer.outstanding = engine.outstanding as u64;
            }
            write_sized(status_out, answer, "status_out")
        })
    }
}

/// Where clients connect, `"127.0.0.1:40211"`, whatever port 0 became. Lives as long as the server.
///
/// Any thread. NULL when `server` is no server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_address(server: *const zoa_server) -> *const c_char {
    guard_value(std::ptr::null(), || {
        // SAFETY: the caller gives NULL or a server.
        let server = unsafe { look::<ServerBox>(server.cast(), "server") }?;
        Ok(server.address.as_ptr())
    })
}

/// The answer to a four-letter word such as `"mntr"`, whether or not the whitelist allows it to clients. Free it with
/// `zoa_text_free`.
///
/// Any thread; waits for the server's loop. Errors: `ZOA_BAD_ARGUMENTS` when there is no such word; `ZOA_TIMEOUT` when the
/// loop is busy for ten seconds; `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_command(
    server: *mut zoa_server,
    word: *const c_char,
    text_out: *mut *mut c_char,
) -> zoa_code {
    // SAFETY: the caller gives NULL or a server, NULL or a text, NULL or a place for a pointer.
    unsafe {
        with(server.cast_const().cast(), "server", |server: &ServerBox| {
            let place = out(text_out, "text_out")?;
            let name = text(word, "word")?;
            let word = <[u8; 4]>::try_from(name.as_bytes()).ok().and_then(crate::four_letter::Word::from_bytes);
            let no_word = || Fail::because(ZOA_BAD_ARGUMENTS, format!("there is no word {name:?}"));
            let word = word.ok_or_else(no_word)?;
            let running = server.server.read().unwrap_or_else(PoisonError::into_inner);
            let running = running.as_ref().ok_or_else(|| Fail::new(ZOA_CLOSED))?;
            let answer = running.word_within(Duration::from_secs(10), word).map_err(no_answer)?;
            place.write(c_text(&answer).into_raw());
            Ok(())
        })
    }
}

/// Frees a text of `zoa_server_command`. NULL is fine. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_text_free(text: *mut c_char) {
    guard(|| {
        if !text.is_null() {
            // SAFETY: the caller gives what `zoa_server_command` handed out, once.
            drop(unsafe { CString::from_raw(text) });
        }
        Ok(())
    });
}

/// Ends a session as its timeout would, only now: its ephemeral znodes are gone when this returns. Its client hears of it
/// at its next contact, one in this process at once. For tests, and for programs that know that a client is dead.
///
/// `session_id` is that of `zoa_client_session`. Any thread; waits for the server's loop. Errors: `ZOA_SESSION_EXPIRED`
/// when there is no such session (any more); `ZOA_TIMEOUT` when the loop is busy for ten seconds, and does it later;
/// `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_expire(server: *mut zoa_server, session_id: i64) -> zoa_code {
    // SAFETY: the caller gives NULL or a server.
    unsafe {
        with(server.cast_const().cast(), "server", |server: &ServerBox| server.ask_about(session_id, Server::expire))
    }
}

/// Cuts the connection of a session, which lives on: its client becomes `ZOA_SUSPENDED`, with what was under way lost, and
/// comes back by itself. Fine where it has no connection. For tests.
///
/// Any thread; waits for the server's loop. Errors: as `zoa_server_expire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_disconnect(server: *mut zoa_server, session_id: i64) -> zoa_code {
    // SAFETY: the caller gives NULL or a server.
    unsafe {
        with(server.cast_const().cast(), "server", |server: &ServerBox| {
            server.ask_about(session_id, Server::disconnect)
        })
    }
}

/// Freezes the server for `duration_ms`, as a machine does that swaps, or a disk that hangs: no client is answered meanwhile.
/// Returns once that has begun; `zoa_server_stop` ends it early. For tests.
///
/// Any thread; waits for the server's loop. Errors: `ZOA_BAD_ARGUMENTS` for a duration below 0; `ZOA_CLOSED`;
/// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_pause(server: *mut zoa_server, duration_ms: i32) -> zoa_code {
    // SAFETY: the caller gives NULL or a server.
    unsafe {
        with(server.cast_const().cast(), "server", |server: &ServerBox| {
            let no_duration = || Fail::because(ZOA_BAD_ARGUMENTS, format!("a pause of {duration_ms} ms"));
            let duration = limit(duration_ms).ok_or_else(no_duration)?;
            let running = server.server.read().unwrap_or_else(PoisonError::into_inner);
            running.as_ref().ok_or_else(|| Fail::new(ZOA_CLOSED))?.pause(duration);
            Ok(())
        })
    }
}

/// Gives leadership to another server: the leader takes nothing new for half a second at a stretch, waits up to `timeout_ms` (−1: for
/// ever) until another one has everything, steps down, and keeps out of the election that follows. Writes pause for that election and no longer; its clients
/// connect anew. Returns once another server leads.
///
/// Any thread; waits for the server's loop. Errors: `ZOA_UNIMPLEMENTED` on a standalone server; `ZOA_BAD_ARGUMENTS` where it does
/// not lead, or no other server votes; `ZOA_TIMEOUT` where no other server had everything in time, and it goes on leading, or where none was elected;
/// `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_handover(server: *mut zoa_server, timeout_ms: i32) -> zoa_code {
    // SAFETY: the caller gives NULL or a server.
    unsafe {
        with(server.cast_const().cast(), "server", |server: &ServerBox| {
            let running = server.server.read().unwrap_or_else(PoisonError::into_inner);
            let running = running.as_ref().ok_or_else(|| Fail::new(ZOA_CLOSED))?;
            if running.role().role == ServerRole::Standalone {
                return Err(Fail::because(ZOA_UNIMPLEMENTED, "a standalone server has nobody to hand over to"));
            }
            running.hand_over(limit(timeout_ms).unwrap_or(Duration::MAX)).map_err(|error| failure(&error))
        })
    }
}

/// Stops the server: clients are disconnected (those in this process see `ZOA_CLOSED`), sessions live on in the file.
/// Waits up to `timeout_ms` (−1: for ever). Stopping what has stopped is fine.
///
/// A server ends within milliseconds, also while it takes a snapshot, unless the disk hangs: then it takes nothing from
/// clients any more, but ends and frees its file and addresses only when the disk has finished its write. What it had
/// acknowledged is on disk in any case; what it had not may or may not be, as after a crash.
///
/// A leader takes nothing new and waits up to half a second until another member has everything, so that writes pause for an
/// election and no longer.
///
/// Any thread, callbacks included. Errors: `ZOA_TIMEOUT`: it goes on stopping, call again; what went wrong in closing the
/// file, or had ended the server before; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_stop(server: *mut zoa_server, timeout_ms: i32) -> zoa_code {
    // SAFETY: the caller gives NULL or a server.
    unsafe { with(server.cast_const().cast::<c_void>(), "server", |server: &ServerBox| server.stop(timeout_ms)) }
}

/// Stops the server if it runs, unless it is a member of `zoa_ensemble_server`, and frees it. NULL is fine. Its clients may be
/// freed before or after. Returns within two seconds; where the disk hangs longer, the server ends by itself as said at
/// `zoa_server_stop`.
///
/// Any thread, once no thread uses the server; not from its own `zoa_role_fn`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zoa_server_free(server: *mut zoa_server) {
    guard(|| {
        // SAFETY: the caller gives NULL or a server that nobody uses any more.
        if let Some(server) = unsafe { take::<ServerBox>(server.cast()) } {
            if !server.is_member {
                let _ = server.finish();
            }
            if let Some(callbacks) = &server.callbacks {
                // One that the disk holds up ends later, and tells nobody.
                server.serving.listen(None);
                callbacks.queue().settle(&server.load, None);
            }
        }
        Ok(())
    });
}
