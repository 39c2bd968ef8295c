//! What is held by an ephemeral znode, and how its holder learns that it is held no more.

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::base::{Removal, is_passing};
use crate::Error;
use crate::client::handle::State;
use crate::client::{AsyncClient, ClientSession, ListenerGuard};
use crate::error::{Code, Failure};
use crate::records::Stat;

/// One znode of one's own, from when it gave what it was made for until that is released or lost.
///
/// It is lost when the session is over, when somebody deletes the znode, and when the connection has been lost for as long as
/// the session may live without one: the server may have given it to somebody else by then.
pub(super) struct Holding {
    inner: Arc<HeldZnode>,
    _listening: ListenerGuard,
}

struct HeldZnode {
    session: Weak<ClientSession>,
    parent: String,
    name: String,
    path: String,
    /// The transaction that created the znode.
    fence: i64,
    standing: Mutex<HoldingState>,
    changed: Condvar,
    on_lost: Option<Arc<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct HoldingState {
    end: Option<End>,
    /// Counts connections lost and found, so that a timer knows whether it is still meant.
    spell: u64,
    is_suspended: bool,
    wakers: Vec<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Released,
    Lost(Code),
}

impl HeldZnode {
    fn lock(&self) -> MutexGuard<'_, HoldingState> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was held until now.
    fn end(&self, end: End) -> bool {
        let wakers = {
            let mut standing = self.lock();
            if standing.end.is_some() {
                return false;
            }
            standing.end = Some(end);
            std::mem::take(&mut standing.wakers)
        };
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    fn lose(&self, why: Code) {
        if self.end(End::Lost(why)) {
            if let Some(session) = self.session.upgrade() {
                // Where the znode is still there, somebody may be waiting for it.
                Removal::of_name(&AsyncClient::of_session(&session), &self.parent, &self.name);
            }
            if let Some(on_lost) = &self.on_lost {
                on_lost();
            }
        }
    }

    /// Looks whether the znode is there, and watches it.
    fn look(self: &Arc<HeldZnode>) {
        let Some(session) = self.session.upgrade() else { return };
        let (at_change, at_answer) = (Arc::downgrade(self), Arc::downgrade(self));
        let changed = move || {
            if let Some(inner) = at_change.upgrade().filter(|inner| inner.lock().end.is_none()) {
                inner.look();
            }
        };
        session.submit_exists_watched(&self.path, changed, move |found| {
            if let Some(inner) = at_answer.upgrade() {
                inner.looked(found);
            }
        });
    }

    fn looked(self: &Arc<HeldZnode>, found: Result<Option<Stat>, Error>) {
        match found {
            Ok(Some(stat)) if stat.czxid == self.fence => {}
            Ok(_) => self.lose(Code::NoNode),
            Err(error) if is_passing(&error) => self.look(),
            Err(error) => self.lose(error.code()),
        }
    }

    fn heard(self: &Arc<HeldZnode>, state: State, session_timeout: Duration) {
        match state {
            state if state.is_final() => {
                self.lose(if state == State::Expired { Code::SessionExpired } else { Code::Closed });
            }
            State::Suspended => {
                let spell = {
                    let mut standing = self.lock();
                    standing.spell += 1;
                    standing.is_suspended = true;
                    standing.spell
                };
                let inner = Arc::downgrade(self);
                let timer = move || HeldZnode::wait_out(&inner, spell, session_timeout);
                if std::thread::Builder::new().name("zoarium-holding".to_owned()).spawn(timer).is_err() {
                    // Nobody would notice: so it is over at once.
                    self.lose(Code::ConnectionLoss);
                }
            }
            _ => {
                let was_suspended = {
                    let mut standing = self.lock();
                    standing.spell += 1;
                    std::mem::replace(&mut standing.is_suspended, false)
                };
                self.changed.notify_all();
                if was_suspended && self.lock().end.is_none() {
                    // The watch is set again on the new connection; this also notices a znode that went without one.
                    self.look();
                }
            }
        }
    }

    /// On a thread of its own: loses it unless the connection comes back in time.
    fn wait_out(inner: &Weak<HeldZnode>, spell: u64, limit: Duration) {
        let deadline = Instant::now() + limit;
        let Some(inner) = inner.upgrade() else { return };
        let mut standing = inner.lock();
        loop {
            if standing.spell != spell || standing.end.is_some() {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            standing = inner.changed.wait_timeout(standing, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(standing);
        inner.lose(Code::ConnectionLoss);
    }
}

impl Holding {
    pub(super) fn new(
        client: &AsyncClient,
        parent: &str,
        name: &str,
        fence: i64,
        on_lost: Option<Arc<dyn Fn() + Send + Sync>>,
    ) -> Holding {
        let session = &client.session;
        let inner = Arc::new(HeldZnode {
            session: Arc::downgrade(session),
            parent: parent.to_owned(),
            name: name.to_owned(),
            path: super::base::below(parent, name),
            fence,
            standing: Mutex::default(),
            changed: Condvar::new(),
            on_lost,
        });
        let timeout = Duration::from_millis(u64::try_from(session.info().timeout_ms).unwrap_or(0));
        let listening = {
            let inner = Arc::downgrade(&inner);
            session.listen(move |state| {
                if let Some(inner) = inner.upgrade() {
                    inner.heard(state, timeout);
                }
            })
        };
        inner.look();
        match session.info().state {
            state if state.is_connected() => {}
            state => inner.heard(state, timeout),
        }
        Holding { inner, _listening: listening }
    }

    pub(super) fn fence(&self) -> i64 {
        self.inner.fence
    }

    pub(super) fn is_held(&self) -> bool {
        self.inner.lock().end.is_none()
    }

    /// Why it is held no more.
    pub(super) fn check(&self) -> Result<i64, Error> {
        match self.inner.lock().end {
            None => Ok(self.inner.fence),
            Some(end) => {
                let code = if let End::Lost(code) = end { code } else { Code::NoNode };
                Err(Failure::because(code, "it is held no more").at(Some(&self.inner.parent)).not_done().into())
            }
        }
    }

    /// Waits until it is held no more.
    pub(super) async fn lost(&self) {
        poll_fn(|context| {
            let mut standing = self.inner.lock();
            if standing.end.is_some() {
                return Poll::Ready(());
            }
            if !standing.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                standing.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// It is released: false when it has been lost before. What deletes the znode is the caller's.
    pub(super) fn end(&self) -> bool {
        self.inner.end(End::Released)
    }

    pub(super) fn name(&self) -> &str {
        &self.inner.name
    }

    pub(super) fn parent(&self) -> &str {
        &self.inner.parent
    }

    /// Of the znode.
    pub(super) fn path(&self) -> &str {
        &self.inner.path
    }
}
