//! A server with a folder that goes with it, both ways to reach it, and an executor of ten lines.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use zoarium::{Client, Config, Server};

/// Longer than anything takes that is not broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    server: Option<Server>,
    folder: PathBuf,
}

impl Site {
    pub(crate) fn start(name: &str) -> Site {
        Site::start_with(name, |_| {})
    }

    pub(crate) fn start_with(name: &str, change: impl FnOnce(&mut Config)) -> Site {
        let folder = std::env::temp_dir().join(format!("zoarium-rust-client-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let mut config = Config { data_dir: folder.clone(), client_port: 0, ..Config::default() };
        change(&mut config);
        Site { server: Some(Server::start(config).unwrap()), folder }
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> String {
        self.server().addresses()[0].to_string()
    }

    pub(crate) fn near(&self) -> Client {
        self.server().client().unwrap()
    }

    pub(crate) fn far(&self) -> Client {
        Client::connect(&self.address()).unwrap()
    }

    /// One client of each kind, with its name.
    pub(crate) fn both(&self) -> [(&'static str, Client); 2] {
        [("near", self.near()), ("far", self.far())]
    }

    /// The server is gone; its folder stays until this goes.
    pub(crate) fn stop(&mut self) {
        self.server.take().unwrap().stop().unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.server.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The whole executor.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// What a busy machine does in the end.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}
