//! Requests whose answers go to functions, where callbacks run, and reads that ring an alarm: what recipes are made of.

use std::sync::Arc;

use super::alarm::Alarm;
use super::call::{self, Call};
use super::futures::AsyncClient;
use super::pending::Pending;
use super::session::ClientSession;
use crate::Error;
use crate::client::handle::Reply;
use crate::records::{OpCode, Stat};

impl AsyncClient {
    /// Of a session that something else keeps.
    pub(crate) fn of_session(session: &Arc<ClientSession>) -> AsyncClient {
        AsyncClient::new(Arc::clone(session))
    }

    /// A get whose watch rings an alarm.
    pub(crate) fn get_alarmed(&self, path: &str, alarm: &Arc<Alarm>) -> Pending<(Vec<u8>, Stat)> {
        self.alarmed(call::get(path), alarm)
    }

    /// A list of children whose watch rings an alarm.
    pub(crate) fn names_alarmed(&self, path: &str, alarm: &Arc<Alarm>) -> Pending<Vec<String>> {
        self.alarmed(call::names(path), alarm)
    }

    fn alarmed<T>(&self, call: Call<T>, alarm: &Arc<Alarm>) -> Pending<T> {
        let (op, path, alarm) = (call.op, call.reading.path.clone(), Arc::clone(alarm));
        let handle = self.session.handle();
        self.session.pending(call.reading, |slot| {
            let watch = Box::new(move |_: &crate::client::handle::Event| alarm.ring());
            handle.submit_read_watched(op, &path, watch, move |reply| drop(slot.fill(reply)))
        })
    }
}

/// Where nothing can be sent any more, nobody is told: the state of the session is.
impl ClientSession {
    pub(crate) fn submit_delete(&self, path: &str, done: impl FnOnce(&Reply) + Send + 'static) {
        let (body, _) = call::delete(self.chroot(), path, call::ANY).into_record(self.chroot());
        let _ = self.handle().submit(OpCode::Delete, &body, move |reply| done(&reply));
    }

    pub(crate) fn submit_names(&self, path: &str, done: impl FnOnce(Result<Vec<String>, Error>) + Send + 'static) {
        self.submit(call::names(path), done);
    }

    pub(crate) fn submit_get(&self, path: &str, done: impl FnOnce(Result<(Vec<u8>, Stat), Error>) + Send + 'static) {
        self.submit(call::get(path), done);
    }

    pub(crate) fn submit_exists_watched(
        &self,
        path: &str,
        changed: impl Fn() + Send + Sync + 'static,
        done: impl FnOnce(Result<Option<Stat>, Error>) + Send + 'static,
    ) {
        self.submit_watched(call::exists(path), changed, done);
    }

    pub(crate) fn submit_get_watched(
        &self,
        path: &str,
        changed: impl Fn() + Send + Sync + 'static,
        done: impl FnOnce(Result<(Vec<u8>, Stat), Error>) + Send + 'static,
    ) {
        self.submit_watched(call::get(path), changed, done);
    }

    pub(crate) fn submit_children_watched(
        &self,
        path: &str,
        changed: impl Fn() + Send + Sync + 'static,
        done: impl FnOnce(Result<(Vec<String>, Stat), Error>) + Send + 'static,
    ) {
        self.submit_watched(call::children(path), changed, done);
    }

    fn submit_watched<T: 'static>(
        &self,
        call: Call<T>,
        changed: impl Fn() + Send + Sync + 'static,
        done: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        let (op, reading, chroot) = (call.op, call.reading, self.chroot().clone());
        let path = reading.path.clone();
        let done = move |reply: Reply| done(reading.finish(&reply, &chroot).map_err(Error::from));
        let _ = self.handle().submit_read_watched(op, &path, Box::new(move |_| changed()), done);
    }

    fn submit<T: 'static>(&self, call: Call<T>, done: impl FnOnce(Result<T, Error>) + Send + 'static) {
        let (op, chroot) = (call.op, self.chroot().clone());
        let (body, reading) = call.into_record(self.chroot());
        let done = move |reply: Reply| done(reading.finish(&reply, &chroot).map_err(Error::from));
        let _ = self.handle().submit(op, &body, done);
    }
}
