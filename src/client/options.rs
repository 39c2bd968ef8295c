//! How to begin a session.

use std::sync::Arc;
use std::time::Duration;

use crate::client::handle::{Chroot, Options, Resume, State};
use crate::error::{Code, Failure};

/// How to begin a session. [`Client::options`](crate::Client::options) begins one.
///
/// ```
/// use std::time::Duration;
/// use zoarium::{Client, Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-client-options-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let options = Client::options()
///     .session_timeout(Duration::from_secs(20))
///     .chroot("/app")
///     .on_state(|state| println!("the session is {state:?}"));
/// let near = options.open(&server)?;
/// let far = options.connect(&server.addresses()[0].to_string())?;
/// near.create("/", b"")?; // The chroot is a znode like others.
/// assert!(far.exists("/")?.is_some());
/// # drop((near, far));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct ClientOptions {
    session_timeout: Duration,
    chroot: String,
    resume: Option<Resume>,
    allow_read_only: bool,
    request_size_max: Option<u32>,
    reply_size_max: Option<usize>,
    pub(super) connect_limit: Duration,
    pub(super) call_limit: Option<Duration>,
    pub(super) on_state: Option<Arc<dyn Fn(State) + Send + Sync>>,
}

/// How long [`Client::connect`](crate::Client::connect) waits for a server to answer, unless told otherwise.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

impl ClientOptions {
    /// Everything as usual. [`ClientOptions`] has an example, for this and all that follows.
    pub(super) fn new() -> ClientOptions {
        ClientOptions {
            session_timeout: Duration::from_secs(10),
            chroot: String::new(),
            resume: None,
            allow_read_only: false,
            request_size_max: None,
            reply_size_max: None,
            connect_limit: CONNECT_LIMIT,
            call_limit: None,
            on_state: None,
        }
    }

    /// Session timeout to ask for; 10 s unless said otherwise. The server clamps it, [`Client::session`](crate::Client::session) has the one
    /// granted. The example is at [`ClientOptions`].
    pub fn session_timeout(mut self, timeout: Duration) -> ClientOptions {
        self.session_timeout = timeout;
        self
    }

    /// All paths of the client lie below this one, which need not exist. Of a connection string's chroot it is a part further
    /// below. The example is at [`ClientOptions`].
    pub fn chroot(mut self, path: impl Into<String>) -> ClientOptions {
        self.chroot = path.into();
        self
    }

    /// Takes over a session instead of beginning one. [`Client::detach`](crate::Client::detach) has an example.
    pub fn resume(mut self, session: Resume) -> ClientOptions {
        self.resume = Some(session);
        self
    }

    /// Over TCP, be content with a server without quorum, which answers reads, while no other is found. Set like
    /// the others in the example of [`ClientOptions`].
    pub fn allow_read_only(mut self) -> ClientOptions {
        self.allow_read_only = true;
        self
    }

    /// The longest request to send, in bytes; a longer one is refused before anything is sent. In this process the
    /// server's `jute.maxbuffer` holds besides; over TCP, where that is not known, a server closes the connection for what
    /// it finds too long, and 64 MiB is the limit unless said otherwise. Set like the others in the example of [`ClientOptions`].
    pub fn request_size_max(mut self, bytes: u32) -> ClientOptions {
        self.request_size_max = Some(bytes);
        self
    }

    /// Over TCP, the longest reply to take, in bytes; a longer one costs the connection. 64 MiB unless said otherwise. Set like
    /// the others in the example of [`ClientOptions`].
    pub fn reply_size_max(mut self, bytes: usize) -> ClientOptions {
        self.reply_size_max = Some(bytes);
        self
    }

    /// How long to wait for the first answer of a server; 15 s unless said otherwise. Futures wait for ever: whoever waits
    /// for them gives up. Set like the others in the example of [`ClientOptions`].
    pub fn connect_limit(mut self, limit: Duration) -> ClientOptions {
        self.connect_limit = limit;
        self
    }

    /// How long blocking verbs wait for their replies, [`Client::with_limit`](crate::Client::with_limit) with an example. For ever unless said otherwise.
    pub fn call_limit(mut self, limit: Duration) -> ClientOptions {
        self.call_limit = Some(limit);
        self
    }

    /// Has `told` called on every change of the session's state, where callbacks run. The example is at [`ClientOptions`].
    pub fn on_state(mut self, told: impl Fn(State) + Send + Sync + 'static) -> ClientOptions {
        self.on_state = Some(Arc::new(told));
        self
    }

    pub(super) fn handle_options(&self) -> Result<Options, Failure> {
        let bad = |text: String| Failure::because(Code::BadArguments, text).not_done();
        let timeout_ms = i32::try_from(self.session_timeout.as_millis()).ok().filter(|ms| *ms > 0);
        let usual = Options::default();
        Ok(Options {
            session_timeout_ms: timeout_ms
                .ok_or_else(|| bad(format!("{:?} is no session timeout", self.session_timeout)))?,
            chroot: Chroot::new(&self.chroot).ok_or_else(|| bad(format!("the chroot {:?} is no path", self.chroot)))?,
            resume: self.resume,
            allow_read_only: self.allow_read_only,
            reply_size_max: self.reply_size_max.unwrap_or(usual.reply_size_max),
            request_size_max: self.request_size_max,
            queue: None,
            on_state: None,
        })
    }
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ClientOptions");
        shown.field("session_timeout", &self.session_timeout).field("chroot", &self.chroot);
        shown.finish_non_exhaustive()
    }
}
