//! A session as its users and the I/O thread share it.
//!
//! Any thread puts requests in; the I/O thread takes them out, and is the only one to see answers. Nobody is told of anything
//! while the session is locked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::client::handle::Options;
use crate::client::handle::core::{Closing, Delivery, ProtocolError, QUEUED_SIZE_MAX, SessionCore, Terms, deliver};
use crate::client::handle::transport::{Completion, Listener, Refused, SessionInfo, SizeLimit, State};
use crate::code::Code;
use crate::records::OpCode;

/// A session over TCP.
pub(super) struct TcpSession {
    core: Mutex<SessionCore<Completion>>,
    listener: Weak<dyn Listener>,
}

impl TcpSession {
    /// A session that begins, or is resumed, with the first connection.
    pub(super) fn new(options: &Options, listener: Weak<dyn Listener>) -> TcpSession {
        let kept = SizeLimit::Queue(QUEUED_SIZE_MAX as u32);
        let terms = Terms {
            session_timeout_ms: options.session_timeout_ms,
            resume: options.resume,
            allow_read_only: options.allow_read_only,
            size_limit: options.request_size_max.map_or(kept, |bytes| kept.and(SizeLimit::Client(bytes))),
            frame_size_max: options.reply_size_max,
            identity_limits: None,
            closes_on_next_connection: false,
        };
        TcpSession { core: Mutex::new(SessionCore::new(terms)), listener }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SessionCore<Completion>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listener(&self) -> Option<Arc<dyn Listener>> {
        self.listener.upgrade()
    }

    /// Takes a request. Whether the I/O thread should be told; else it takes the request on connecting.
    pub(super) fn submit(&self, op: OpCode, body: &[u8], done: Completion) -> Result<bool, Refused> {
        self.lock().submit(op, body, done)
    }

    /// Takes an identity, as [`TcpSession::submit`].
    pub(super) fn add_auth(&self, scheme: &str, bytes: &[u8], done: Completion) -> Result<bool, Refused> {
        self.lock().add_auth(scheme, bytes, done)
    }

    /// Begins to close.
    pub(super) fn close(&self, done: Completion) -> Closing<Completion> {
        self.lock().close(done)
    }

    /// The session as it is now.
    pub(super) fn info(&self) -> SessionInfo {
        self.lock().info()
    }

    /// Whether nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// Whether whoever runs callbacks cannot follow.
    pub(super) fn is_full(&self) -> bool {
        self.listener().is_some_and(|listener| listener.is_full())
    }

    /// Lets something happen to the session that brings no bytes, and tells of what that leads to.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut SessionCore<Completion>) -> T) -> T {
        let mut deliveries = Vec::new();
        let result = {
            let mut core = self.lock();
            let result = change(&mut core);
            core.take_deliveries(&mut deliveries);
            result
        };
        if !deliveries.is_empty() {
            self.deliver(&mut deliveries, &[]).expect("without bytes there is no event");
        }
        result
    }

    /// Tells of a burst.
    pub(super) fn deliver(
        &self,
        deliveries: &mut Vec<Delivery<Completion>>,
        bytes: &[u8],
    ) -> Result<(), ProtocolError> {
        let listener = self.listener();
        let result = deliver(deliveries, bytes, listener.as_deref(), |_, _| {});
        if let Some(listener) = listener {
            listener.flush();
        }
        result
    }

    /// Ends it: `code` for everything under way, `closing` for those who asked for the end.
    pub(super) fn end(&self, state: State, code: Code, closing: Code) {
        self.change(|core| core.end(state, code, closing));
    }

    /// Ends it without telling the listener.
    pub(super) fn detach(&self) {
        self.change(SessionCore::detach);
    }
}
