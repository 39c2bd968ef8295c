//! The embedding API: start a peer on a thread of its own, ask how it is, stop it.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Error;
use crate::client::{AsyncClient, Client, Near};
use crate::config::Config;
use crate::error::{Code, Failure};
use crate::four_letter::{Whitelist, Word};
use crate::ids::SessionId;
use crate::peer::answer::{Answer, Unanswered, question};
use crate::peer::leaving::HandedOver;
use crate::peer::local::Hub;
use crate::peer::serving::Serving;
pub use crate::peer::serving::{RoleState, ServerRole};
use crate::peer::{Command, Peer, Status};

mod ensemble;
mod options;
mod places;

pub use ensemble::Ensemble;
pub use options::EnsembleOptions;

/// A running peer. Dropping it stops it.
///
/// One thread, `zoarium-loop`, does all the work; `zoarium-relief` sleeps and goes on with it while a write of the log takes
/// long; another, `zoarium-snap`, exists while a snapshot is written or the file grows. No other thread, no signal handler, nothing printed.
///
/// ```
/// use std::time::Duration;
/// use zoarium::{Config, Error, Server, Word};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-server-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// println!("any ZooKeeper client may connect to {}", server.addresses()[0]);
/// let client = server.client()?;
/// assert!(server.is_serving() && server.wait_until_serving(Duration::ZERO), "a member of an ensemble needs a leader first");
/// assert!(server.status().is_some());
/// assert_eq!(server.word(Word::Ruok).as_deref(), Some("imok"));
///
/// // For tests: a lost connection, and a session that ends at once.
/// assert!(server.disconnect(client.session().id)?);
/// assert!(server.expire(client.session().id)?);
/// assert!(!server.expire(client.session().id)?, "there is no such session any more");
///
/// server.request_stop();
/// assert!(server.wait_for(Duration::from_secs(10)));
/// assert!(server.failure(|error| error.to_string()).is_none());
/// server.stop()?;
/// # drop(client);
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
pub struct Server {
    addresses: Vec<SocketAddr>,
    commands: Sender<Command>,
    waker: Arc<mio::Waker>,
    hub: Arc<Hub>,
    serving: Arc<Serving>,
    ended: Arc<Ended>,
    thread: Option<JoinHandle<()>>,
}

/// How long [`Server::stop`] waits for the loop. It ends within milliseconds unless the disk hangs.
const STOP_WAIT: Duration = Duration::from_millis(1800);

/// How the loop ended, once it has.
#[derive(Default)]
struct Ended {
    result: Mutex<Option<Result<(), Error>>>,
    changed: Condvar,
    over: std::sync::atomic::AtomicBool,
}

/// Why a server did not answer.
///
/// [`Server`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoAnswer {
    /// It has ended.
    Ended,
    /// It did not come to it in time.
    Busy,
}

/// What can be changed while a server runs.
///
/// [`Server`] has an example.
#[derive(Clone, Debug)]
pub struct Reload {
    /// Which four-letter words are answered.
    pub whitelist: Whitelist,
}

impl Server {
    /// Opens the file, recovers what it holds, listens, and serves. Returns when clients can connect; a member of an ensemble
    /// refuses them until it has found a leader: [`Server::wait_until_serving`].
    ///
    /// [`Server`] has an example.
    ///
    /// # Errors
    /// [`Error`] when the folder, the file or an address cannot be used.
    pub fn start(config: Config) -> Result<Server, Error> {
        let (commands, inbox) = mpsc::channel();
        let (ready, opened) = question();
        let ended = Arc::new(Ended::default());
        let at_end = Arc::clone(&ended);
        let thread = std::thread::Builder::new()
            .name("zoarium-loop".to_owned())
            .spawn(move || {
                crate::store::block_file_size_signal();
                // A bug stops this server, never its host; what was acknowledged is on disk.
                let mut told = None;
                let result = catch_unwind(AssertUnwindSafe(|| {
                    let peer = match Peer::open(config, inbox) {
                        Ok(peer) => peer,
                        Err(error) => {
                            ready.give(Err(error));
                            return Ok(());
                        }
                    };
                    told = Some(peer.serving());
                    ready.give(Ok((peer.addresses(), peer.waker(), peer.hub(), peer.serving())));
                    peer.run()
                }));
                let result = result.unwrap_or_else(|panic| Err(Error::Panicked(panic_text(&*panic))));
                let has_failed = result.is_err();
                at_end.set(result);
                if let Some(serving) = told {
                    serving.end(has_failed);
                }
            })
            .map_err(Error::system("start the loop's thread"))?;
        match opened.wait(None) {
            Ok(Ok((addresses, waker, hub, serving))) => {
                Ok(Server { addresses, commands, waker, hub, serving, ended, thread: Some(thread) })
            }
            Ok(Err(error)) => {
                let _ = thread.join();
                Err(error)
            }
            Err(_) => {
                let _ = thread.join();
                Err(ended.take().err().unwrap_or_else(|| Error::Panicked("it ended while starting".into())))
            }
        }
    }

    /// Where clients connect. A port configured as 0 is the one that was chosen.
    ///
    /// [`Server`] has an example.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where clients in this process come in, see [`crate::client::handle::Handle::open`].
    #[doc(hidden)]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Begins a session with this server, past the socket and nothing else: it behaves as one over TCP does.
    ///
    /// ```
    /// use zoarium::{Client, Config, Error, Server};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-server-client-{}", std::process::id()));
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let client: Client = server.client()?;
    /// client.create("/a", b"1")?;
    /// let (data, stat) = client.get("/a")?;
    /// assert_eq!((&data[..], stat.version), (&b"1"[..], 0));
    /// server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Code::Closed`] when the server has stopped; [`Code::System`].
    pub fn client(&self) -> Result<Client, Error> {
        Client::options().open(self)
    }

    /// The same as a future, of a client whose verbs are futures. [`AsyncClient`] has an example.
    ///
    /// # Errors
    /// As [`Server::client`].
    pub async fn async_client(&self) -> Result<AsyncClient, Error> {
        Client::options().open_async(self).await
    }

    /// Whether clients are served now. A member of an ensemble serves no client while there is no leader, or only reads where
    /// read-only mode is on.
    ///
    /// [`Server`] has an example.
    pub fn is_serving(&self) -> bool {
        self.serving.is_so()
    }

    /// Waits until clients are served; false when they were not for so long, or the server has ended.
    ///
    /// [`Server`] has an example.
    pub fn wait_until_serving(&self, limit: Duration) -> bool {
        self.serving.wait(limit)
    }

    /// What it is to its clients now: for a member of an ensemble whether it leads or follows, and whom.
    ///
    /// [`Ensemble`] has an example.
    pub fn role(&self) -> RoleState {
        self.serving.now()
    }

    /// The same, for whoever waits or listens longer than it lives.
    pub(crate) fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }

    /// Has `told` called with what the server is now, and with each change from now on, its end the last; in place of what was
    /// called so far. It runs on the server's own thread, which waits for it: it should be short, must not ask this server
    /// anything that waits, and not call this here.
    ///
    /// [`Ensemble`] has an example.
    pub fn on_role(&self, told: impl FnMut(RoleState) + Send + 'static) {
        self.serving.listen(Some(Box::new(told)));
    }

    /// Waits until the server has ended, by [`Server::stop`] from another thread or by a failure.
    ///
    /// [`Server`] has an example.
    pub fn wait(&self) {
        self.has_ended_within(None);
    }

    /// The same for at most `timeout`; true if it has ended.
    ///
    /// [`Server`] has an example.
    pub fn wait_for(&self, timeout: Duration) -> bool {
        self.has_ended_within(Some(timeout))
    }

    /// Whether it has ended by then, and all that it tells of itself says so: what it is to its clients is told last.
    fn has_ended_within(&self, limit: Option<Duration>) -> bool {
        let begun = Instant::now();
        self.ended.wait(limit)
            && self.serving.wait_for_end(limit.map_or(Duration::MAX, |limit| limit.saturating_sub(begun.elapsed())))
    }

    /// How it is; `None` once it has ended, or when it does not answer within ten seconds.
    ///
    /// [`Server`] has an example.
    pub fn status(&self) -> Option<Status> {
        self.status_within(Duration::from_secs(10)).ok()
    }

    /// The same with another limit.
    ///
    /// [`Server`] has an example.
    ///
    /// # Errors
    /// [`NoAnswer`]: it has ended, or is busy with something else.
    pub fn status_within(&self, limit: Duration) -> Result<Status, NoAnswer> {
        self.ask(limit, Command::Status)
    }

    /// Ends a session as its timeout would, only now: its ephemeral znodes are gone when this returns, and its client
    /// hears of it at its next contact, one in this process at once. `Ok(false)` when there is no such session.
    ///
    /// [`Server`] has an example.
    ///
    /// # Errors
    /// [`NoAnswer`]: the server has ended, or is busy with something else and does it later.
    pub fn expire(&self, session: SessionId) -> Result<bool, NoAnswer> {
        self.ask(Duration::from_secs(10), |reply| Command::Expire(session, reply))
    }

    /// Cuts the connection of a session, which lives on: its client may resume it, and does so by itself. `Ok(false)` when
    /// there is no such session.
    ///
    /// [`Server`] has an example.
    ///
    /// # Errors
    /// As [`Server::expire`].
    pub fn disconnect(&self, session: SessionId) -> Result<bool, NoAnswer> {
        self.ask(Duration::from_secs(10), |reply| Command::Disconnect(session, reply))
    }

    /// Freezes the server for so long, as a machine does that swaps or a disk that hangs. For tests. Returns once that has
    /// begun, so that whatever is asked for from then on waits; stopping ends it early.
    ///
    /// [`Server`] has an example.
    pub fn pause(&self, duration: Duration) {
        // Where there is no answer it has ended, or stands still already.
        let _ = self.ask(Duration::from_secs(10), |begun| Command::Pause(duration, begun));
    }

    /// Gives leadership away: the leader takes nothing new, waits until another member has everything, steps down, and keeps out
    /// of the election that follows. Writes pause for that election and no longer; clients of this server connect anew. Returns
    /// once another member leads.
    ///
    /// ```
    /// use std::time::Duration;
    /// use zoarium::{Ensemble, Error};
    ///
    /// let ensemble = Ensemble::start(3)?;
    /// let leader = ensemble.leader().expect("all serve");
    /// ensemble.member(leader).expect("it runs").hand_over(Duration::from_secs(30))?;
    /// assert_ne!(ensemble.leader(), Some(leader));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Code::BadArguments`] where it does not lead, is a server by itself, or no other member votes; [`Code::Timeout`] where no other member had
    /// everything within `limit`, and it goes on leading, or where none was elected; [`Code::Closed`].
    pub fn hand_over(&self, limit: Duration) -> Result<(), Error> {
        let answer = self.ask(limit.saturating_add(Duration::from_secs(10)), |answer| Command::HandOver(limit, answer));
        match answer? {
            HandedOver::Done => Ok(()),
            HandedOver::DoesNotLead => {
                Err(Failure::because(Code::BadArguments, "this server leads nobody, and has nothing to hand over")
                    .into())
            }
            HandedOver::NobodyElse => {
                Err(Failure::because(Code::BadArguments, "no other server votes: there is nobody to hand over to")
                    .into())
            }
            HandedOver::Late => {
                Err(Failure::because(Code::Timeout, "no other server could take the leadership over in time").into())
            }
        }
    }

    /// Ends a pause.
    ///
    /// [`Ensemble`] has an example.
    pub fn resume(&self) {
        self.tell(Command::Resume);
    }

    /// Ends it as `kill -9` ends a process: what is on disk by then is all that is left, no client is told, and leadership is
    /// handed over to nobody. For tests. Returns once it has ended; false where a write that is under way keeps it from that
    /// for two seconds.
    ///
    /// [`Ensemble`] has an example.
    pub fn kill(&self) -> bool {
        self.tell(Command::Kill);
        self.has_ended_within(Some(STOP_WAIT))
    }

    /// Cuts a member of an ensemble off from the others: nothing that they send arrives, nothing gets to them, and nobody is
    /// told, as where a cable is pulled. Its clients reach it all the same. For tests. Returns once that has begun.
    ///
    /// [`Ensemble`] has an example.
    pub fn cut(&self) {
        let _ = self.ask(Duration::from_secs(10), |begun| Command::CutOff(true, begun));
    }

    /// Ends what [`Server::cut`] began: the members connect anew.
    ///
    /// [`Ensemble`] has an example.
    pub fn heal(&self) {
        let _ = self.ask(Duration::from_secs(10), |begun| Command::CutOff(false, begun));
    }

    fn ask<T>(&self, limit: Duration, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, NoAnswer> {
        let (answer, awaited) = question();
        self.tell(command(answer));
        awaited.wait(Some(limit)).map_err(|why| match why {
            Unanswered::Late => NoAnswer::Busy,
            Unanswered::Never => NoAnswer::Ended,
        })
    }

    /// The answer to a four-letter word, whether or not clients may ask it; `None` once it has ended, or when it does not
    /// answer within ten seconds.
    ///
    /// [`Server`] has an example.
    pub fn word(&self, word: Word) -> Option<String> {
        self.word_within(Duration::from_secs(10), word).ok()
    }

    /// The same with another limit.
    ///
    /// [`Server`] has an example.
    ///
    /// # Errors
    /// [`NoAnswer`]: it has ended, or is busy with something else.
    pub fn word_within(&self, limit: Duration, word: Word) -> Result<String, NoAnswer> {
        self.ask(limit, |reply| Command::Word(word, reply))
    }

    /// What `describe` makes of the failure that ended it; `None` while it runs and after a clean stop.
    ///
    /// [`Server`] has an example.
    pub fn failure<T>(&self, describe: impl FnOnce(&Error) -> T) -> Option<T> {
        let result = self.ended.result.lock().ok()?;
        result.as_ref()?.as_ref().err().map(describe)
    }

    /// Changes what can be changed while it runs.
    ///
    /// [`Server`] has an example.
    pub fn reload(&self, reload: Reload) {
        self.tell(Command::Whitelist(reload.whitelist));
    }

    /// Asks it to stop and returns at once; [`Server::wait`] tells when it has, [`Server::stop`] how it went.
    ///
    /// [`Server`] has an example.
    pub fn request_stop(&self) {
        self.tell(Command::Stop);
    }

    /// Stops it cleanly: clients are disconnected, their sessions live on in the file.
    ///
    /// Returns within two seconds. Where the disk does not finish a write in that time, the server is left to end by itself
    /// when it has; until then its file and addresses are in use. What was not acknowledged by then may or may not be in
    /// the file, as after a crash; what was acknowledged is.
    ///
    /// [`Server`] has an example.
    ///
    /// # Errors
    /// What ended it, if that was a failure; what went wrong in closing the file; [`Error::StillStopping`] as said above.
    pub fn stop(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.tell(Command::Stop);
        if !self.ended.wait(Some(STOP_WAIT)) {
            return Err(Error::StillStopping);
        }
        let _ = thread.join();
        self.ended.take()
    }

    fn tell(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

impl Near for Server {
    fn door(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl From<NoAnswer> for Error {
    fn from(why: NoAnswer) -> Error {
        match why {
            NoAnswer::Ended => Failure::because(Code::Closed, "the server has ended").not_done().into(),
            NoAnswer::Busy => Failure::because(Code::Timeout, "the server is busy with something else").into(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::error!("stopped with: {error}");
        }
    }
}

impl Ended {
    fn set(&self, result: Result<(), Error>) {
        if let Ok(mut slot) = self.result.lock() {
            *slot = Some(result);
        }
        self.over.store(true, std::sync::atomic::Ordering::Release);
        self.changed.notify_all();
    }

    fn take(&self) -> Result<(), Error> {
        self.result.lock().ok().and_then(|mut slot| slot.take()).unwrap_or(Ok(()))
    }

    fn wait(&self, timeout: Option<Duration>) -> bool {
        let over = || self.over.load(std::sync::atomic::Ordering::Acquire);
        let Ok(slot) = self.result.lock() else { return true };
        match timeout {
            None => drop(self.changed.wait_while(slot, |_| !over())),
            Some(timeout) => drop(self.changed.wait_timeout_while(slot, timeout, |_| !over())),
        }
        over()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
