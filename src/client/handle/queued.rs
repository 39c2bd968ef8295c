//! Completions that run where callbacks run.

use std::sync::Arc;

use super::HandleCore;
use super::queue::RunJob;
use super::transport::{Arriving, Complete, Reply};

/// A callback for a reply: first what the transport completes, then, with the reply in it, what the queue runs. One and
/// the same box, so that the transport's thread neither takes nor gives back memory for it.
pub(super) struct Queued<F> {
    core: Option<Arc<HandleCore>>,
    got: Option<Got>,
    done: F,
}

enum Got {
    Reply(Reply),
    Arriving(Arriving),
}

impl<F: FnOnce(Reply) + Send + 'static> Queued<F> {
    pub(super) fn new(core: &Arc<HandleCore>, done: F) -> Box<Queued<F>> {
        Box::new(Queued { core: Some(Arc::clone(core)), got: None, done })
    }

    fn stage(mut self: Box<Self>, got: Got) {
        let size = match &got {
            Got::Reply(reply) => reply.body.len(),
            Got::Arriving(reply) => reply.size(),
        };
        self.got = Some(got);
        let core = self.core.take().expect("a request is completed once");
        core.stage(size, self);
    }
}

impl<F: FnOnce(Reply) + Send + 'static> Complete for Queued<F> {
    fn complete(self: Box<Self>, reply: Reply) {
        self.stage(Got::Reply(reply));
    }

    fn complete_from(self: Box<Self>, reply: Arriving) {
        self.stage(Got::Arriving(reply));
    }
}

impl<F: FnOnce(Reply) + Send> RunJob for Queued<F> {
    fn run(self: Box<Self>) {
        let Queued { got, done, .. } = *self;
        match got.expect("it is queued with its reply") {
            Got::Reply(reply) => done(reply),
            Got::Arriving(reply) => done(reply.into_reply()),
        }
    }
}
