//! Requests under way as futures that any executor can wait for.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::call::ReplyReader;
use crate::Error;
use crate::client::handle::{Chroot, Reply};

/// A request that has been sent, as a future of its result.
///
/// It needs no runtime: whatever polls futures can wait for it. Requests of one client are carried out in the order in which
/// the verbs were called, whether or not anybody waits for them; dropping this takes nothing back.
///
/// Its waker is called on the thread `zoarium-callback`, never on a server's own.
///
/// ```
/// use std::future::Future;
/// use std::sync::Arc;
/// use std::task::{Context, Poll, Wake, Waker};
/// use zoarium::{Config, Error, Server};
///
/// // An executor: a thread that sleeps until it is woken.
/// struct Unpark(std::thread::Thread);
/// impl Wake for Unpark {
///     fn wake(self: Arc<Self>) {
///         self.0.unpark();
///     }
/// }
/// fn block_on<T>(future: impl Future<Output = T>) -> T {
///     let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
///     let mut future = std::pin::pin!(future);
///     loop {
///         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
///             Poll::Ready(value) => return value,
///             Poll::Pending => std::thread::park(),
///         }
///     }
/// }
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-pending-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// block_on(async {
///     let client = server.async_client().await?;
///     // All three are on their way before the first is waited for.
///     let (a, b, c) = (client.create("/a", b"1"), client.create("/b", b"2"), client.get("/a"));
///     assert_eq!((a.await?, b.await?), ("/a".to_owned(), "/b".to_owned()));
///     assert_eq!(c.await?.0, b"1");
///     client.close().await
/// })?;
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[must_use = "a future says what became of its request only to whoever waits for it"]
pub struct Pending<T>(PendingState<T>);

enum PendingState<T> {
    /// It was not sent.
    Refused(Option<Error>),
    Sent {
        slot: Arc<FutureSlot<Reply>>,
        reading: ReplyReader<T>,
        chroot: Chroot,
    },
}

/// Where an answer waits for its future, and the other way round.
pub(super) struct FutureSlot<A> {
    inner: Mutex<FutureAnswer<A>>,
}

struct FutureAnswer<A> {
    answer: Option<A>,
    waker: Option<Waker>,
    is_abandoned: bool,
}

impl<A> Default for FutureSlot<A> {
    fn default() -> Self {
        FutureSlot { inner: Mutex::new(FutureAnswer { answer: None, waker: None, is_abandoned: false }) }
    }
}

impl<A> FutureSlot<A> {
    fn lock(&self) -> MutexGuard<'_, FutureAnswer<A>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called where callbacks run. Gives the answer back when the slot is abandoned.
    pub(super) fn fill(&self, answer: A) -> Option<A> {
        let waker = {
            let mut inner = self.lock();
            if inner.is_abandoned {
                return Some(answer);
            }
            inner.answer = Some(answer);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        None
    }

    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<A> {
        let mut inner = self.lock();
        match inner.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                match &mut inner.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => inner.waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// No future waits for the answer any more. Gives back the one that has come.
    pub(super) fn abandon(&self) -> Option<A> {
        let mut inner = self.lock();
        inner.is_abandoned = true;
        inner.answer.take()
    }
}

impl<T> Pending<T> {
    pub(super) fn refused(error: impl Into<Error>) -> Pending<T> {
        Pending(PendingState::Refused(Some(error.into())))
    }

    pub(super) fn sent(slot: Arc<FutureSlot<Reply>>, reading: ReplyReader<T>, chroot: Chroot) -> Pending<T> {
        Pending(PendingState::Sent { slot, reading, chroot })
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        match &mut self.get_mut().0 {
            PendingState::Refused(error) => {
                Poll::Ready(Err(error.take().expect("a future is not polled after its end")))
            }
            PendingState::Sent { slot, reading, chroot } => {
                slot.poll(context).map(|reply| reading.finish(&reply, chroot).map_err(Error::from))
            }
        }
    }
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            PendingState::Refused(_) => "Pending(refused)",
            PendingState::Sent { .. } => "Pending(sent)",
        })
    }
}
