//! Connecting to another server: its names looked up anew each time, its addresses tried in turn, never waited for.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token, Waker};

use super::place::HostPort;
use crate::ids::Millis;
use crate::process::Owned;
use crate::resolve::{LookupResult, Lookups};
use crate::store::os_text;

/// Look-ups under way for one set of sockets, and their answers, which come from other threads.
#[derive(Debug)]
pub(super) struct Names {
    lookups: Lookups,
    answers: Arc<Mutex<Vec<(String, LookupResult)>>>,
    waker: Arc<Waker>,
}

/// An answer of the resolver.
#[derive(Debug)]
pub(super) struct Named {
    /// What was looked up.
    pub(super) name: String,
    /// The requester.
    pub(super) ids: Vec<usize>,
    /// What came of it.
    pub(super) found: LookupResult,
}

impl Names {
    /// `waker` wakes the loop when a name is found.
    pub(super) fn new(waker: Arc<Waker>) -> Names {
        Names { lookups: Lookups::default(), answers: Arc::default(), waker }
    }

    /// Looks `name` up for `id`; `Some` when that cannot even begin.
    pub(super) fn ask(&mut self, name: &str, id: usize) -> Option<LookupResult> {
        let (answers, waker, asked) = (Arc::clone(&self.answers), Arc::clone(&self.waker), name.to_owned());
        self.lookups.ask(name, id, move |found| {
            answers.lock().unwrap_or_else(PoisonError::into_inner).push((asked, found));
            let _ = waker.wake();
        })
    }

    /// What was found since the last time.
    pub(super) fn answers(&mut self) -> Vec<Named> {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        let named = |(name, found): (String, LookupResult)| Named { ids: self.lookups.answered(&name), name, found };
        answers.into_iter().map(named).collect()
    }
}

/// How far a dial is.
#[derive(Debug)]
pub(super) enum DialProgress {
    /// The resolver or the other server has not answered yet.
    Waiting,
    /// The connection stands.
    Connected(Owned<TcpStream>),
    /// No address could be reached; why the last one could not.
    Failed(String),
}

#[derive(Debug)]
enum DialStage {
    /// The next place or address is to be taken.
    Next,
    /// A name is being looked up.
    Naming(HostPort),
    /// A connection is being made.
    Connecting { stream: Owned<TcpStream>, to: SocketAddr, is_ready: bool },
}

/// One attempt to reach a server, at the first of its addresses that answers.
#[derive(Debug)]
pub(super) struct Dial {
    /// Not looked up yet.
    places: VecDeque<HostPort>,
    /// Looked up and not tried yet.
    addresses: VecDeque<SocketAddr>,
    stage: DialStage,
    /// When it has failed as a whole.
    ends_at: Millis,
    /// When the present address has had its share of the time.
    step_ends_at: Millis,
    failure: String,
}

impl Dial {
    /// To be driven at once. Each place and address gets an equal share of what is left of `timeout_ms`.
    pub(super) fn new(now: Millis, places: impl IntoIterator<Item = HostPort>, timeout_ms: u64) -> Dial {
        let ends_at = now.plus(timeout_ms.max(1));
        Dial {
            places: places.into_iter().collect(),
            addresses: VecDeque::new(),
            stage: DialStage::Next,
            ends_at,
            step_ends_at: ends_at,
            failure: "no address is known".to_owned(),
        }
    }

    /// When it wants to be driven if nothing else happens.
    pub(super) fn poll_timeout(&self) -> Millis {
        self.step_ends_at.min(self.ends_at)
    }

    /// Its socket has something to tell.
    pub(super) fn ready(&mut self) {
        if let DialStage::Connecting { is_ready, .. } = &mut self.stage {
            *is_ready = true;
        }
    }

    /// A name was looked up. What it was not waiting for does nothing.
    pub(super) fn named(&mut self, name: &str, found: &LookupResult) {
        let DialStage::Naming(place) = &self.stage else { return };
        if place.host != name {
            return;
        }
        match found {
            Ok(found) => self.addresses.extend(found.iter().map(|address| SocketAddr::new(*address, place.port))),
            Err(why) => self.failure = format!("{place}: {why}"),
        }
        self.stage = DialStage::Next;
    }

    /// Goes on as far as it can. `id` is its number with the resolver, `token` its socket's.
    pub(super) fn drive(
        &mut self,
        now: Millis,
        names: &mut Names,
        id: usize,
        registry: &Registry,
        token: Token,
    ) -> DialProgress {
        loop {
            if now >= self.poll_timeout() {
                self.failure = match &self.stage {
                    DialStage::Connecting { to, .. } => format!("{to} does not answer"),
                    DialStage::Naming(place) => format!("{place}: the name is still being looked up"),
                    DialStage::Next => std::mem::take(&mut self.failure),
                };
                self.stage = DialStage::Next;
            }
            match &mut self.stage {
                DialStage::Connecting { is_ready: false, .. } | DialStage::Naming(_) => return DialProgress::Waiting,
                DialStage::Connecting { stream, to, is_ready } => {
                    *is_ready = false;
                    match established(stream) {
                        Ok(false) => return DialProgress::Waiting,
                        Ok(true) => {
                            let DialStage::Connecting { stream, .. } =
                                std::mem::replace(&mut self.stage, DialStage::Next)
                            else {
                                unreachable!("it was just looked at");
                            };
                            return DialProgress::Connected(stream);
                        }
                        Err(error) => {
                            self.failure = format!("{to}: {}", os_text(&error));
                            self.stage = DialStage::Next;
                        }
                    }
                }
                DialStage::Next => {
                    if !self.step(now, names, id, registry, token) {
                        return DialProgress::Failed(std::mem::take(&mut self.failure));
                    }
                }
            }
        }
    }

    /// Begins with the next address or place; false when there is none, or no time.
    fn step(&mut self, now: Millis, names: &mut Names, id: usize, registry: &Registry, token: Token) -> bool {
        if now >= self.ends_at || (self.addresses.is_empty() && self.places.is_empty()) {
            return false;
        }
        let left = self.ends_at.since(now);
        self.step_ends_at = now.plus((left / (self.addresses.len() + self.places.len()) as u64).max(1));
        if let Some(to) = self.addresses.pop_front() {
            match connect(to, token, registry) {
                Ok(stream) => self.stage = DialStage::Connecting { stream, to, is_ready: false },
                Err(error) => self.failure = format!("{to}: {}", os_text(&error)),
            }
            return true;
        }
        let Some(place) = self.places.pop_front() else { return false };
        if let Some(address) = place.literal() {
            self.addresses.push_back(SocketAddr::new(address, place.port));
            return true;
        }
        match names.ask(&place.host, id) {
            None => self.stage = DialStage::Naming(place),
            Some(found) => {
                let host = place.host.clone();
                self.stage = DialStage::Naming(place);
                self.named(&host, &found);
            }
        }
        true
    }
}

fn connect(to: SocketAddr, token: Token, registry: &Registry) -> io::Result<Owned<TcpStream>> {
    let mut stream = Owned::new(TcpStream::connect(to)?);
    registry.register(&mut *stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// Whether a connection that was begun stands.
fn established(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(peer) if stream.local_addr()? == peer => {
            // Dialling a port of our own machine that nobody listens on can reach the dialling socket itself, which
            // would then hold the port that the other server wants to listen on.
            Err(io::Error::new(ErrorKind::ConnectionRefused, "nobody listens there"))
        }
        Ok(_) => {
            // Votes, proposals and acknowledgements are small and awaited.
            stream.set_nodelay(true)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
