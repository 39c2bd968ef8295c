//! A session on its route: what the I/O thread drives.

use std::net::IpAddr;
use std::sync::Arc;

use super::session::TcpSession;
use crate::client::handle::core::{Delivery, IoAction, Route, ServerAddress};
use crate::client::handle::transport::Completion;
use crate::ids::Millis;

/// One session's route, and the session that is told of what happens there. As [`Route`] otherwise.
pub(super) struct TcpConn {
    session: Arc<TcpSession>,
    route: Route,
    /// Empty between bursts; its room is kept.
    deliveries: Vec<Delivery<Completion>>,
}

impl TcpConn {
    /// Begins with the first host's turn.
    pub(super) fn new(session: Arc<TcpSession>, list: Vec<ServerAddress>, seed: u64, now: Millis) -> TcpConn {
        let timeout_ms = session.lock().timeout_ms();
        TcpConn { session, route: Route::new(list, timeout_ms, seed, now), deliveries: Vec::new() }
    }

    pub(super) fn poll_action(&mut self) -> Option<IoAction> {
        self.route.poll_action()
    }

    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.route.poll_timeout()
    }

    pub(super) fn is_over(&self) -> bool {
        self.route.is_over()
    }

    pub(super) fn wants_input(&self) -> bool {
        self.route.wants_input()
    }

    /// A name was looked up.
    pub(super) fn resolved(&mut self, now: Millis, name: &str, found: &Result<Vec<IpAddr>, String>) {
        self.route.resolved(now, name, found);
    }

    /// The connection stands.
    pub(super) fn connected(&mut self) {
        self.session.change(|core| self.route.connected(core));
    }

    /// The connection is gone, or was never there.
    pub(super) fn closed(&mut self, now: Millis, why: &str) {
        self.session.change(|core| self.route.closed(now, why, core));
    }

    /// Lets go of the connection for good.
    pub(super) fn end(&mut self) {
        self.route.end();
    }

    /// Bytes came.
    pub(super) fn received(&mut self, now: Millis, bytes: &[u8]) {
        self.route.received(now, bytes);
        let listener = self.session.listener();
        let (taken, result) = {
            let mut core = self.session.lock();
            let watches = || listener.as_ref().map(|listener| listener.watches()).unwrap_or_default();
            let taken = self.route.take_in(&mut core, watches);
            core.take_deliveries(&mut self.deliveries);
            taken
        };
        let told = self.session.deliver(&mut self.deliveries, self.route.input());
        self.session.change(|core| self.route.took_in(now, taken, result.and(told), core));
        if self.route.is_up() {
            self.route.filled(now, self.session.is_full());
        }
    }

    /// The queue of callbacks may have room again.
    pub(super) fn look_again(&mut self, now: Millis) {
        if self.route.was_full() {
            self.route.look_again(now, self.session.is_full());
        }
    }

    /// The moment of [`TcpConn::poll_timeout`] has come. May be called any time.
    pub(super) fn timeout(&mut self, now: Millis) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        if self.route.is_due_to_look(now) {
            self.route.look_again(now, self.session.is_full());
        }
        self.session.change(|core| self.route.timeout(now, core));
    }

    /// A server with a quorum was found.
    pub(super) fn probed(&mut self, now: Millis, host: ServerAddress) {
        self.session.change(|core| self.route.probed(now, host, core));
    }

    /// What to send next.
    pub(super) fn output(&mut self) -> &[u8] {
        if self.route.wants_more() {
            self.route.output(&mut self.session.lock());
        }
        self.route.fetched()
    }

    /// So much of [`TcpConn::output`] has left.
    pub(super) fn wrote(&mut self, now: Millis, size: usize) {
        self.route.wrote(now, size);
    }
}
