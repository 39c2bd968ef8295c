//! The client port moves: the configuration names another one for this server. Connections that stand stay.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use mio::{Interest, Registry, Token, Waker};

use super::{ClientPorts, bind};
use crate::Error;
use crate::config::Config;
use crate::ids::Millis;
use crate::peer::hearing::backlog;
use crate::peer::tokens::{LISTENERS, LISTENERS_MAX};
use crate::process::Owned;

/// Pause between two tries, ms.
const AGAIN_MS: u64 = 1000;

/// Where it is to listen.
enum Target {
    /// The names are being looked up, on a thread of its own: the loop does not wait for a resolver.
    Asked(JoinHandle<io::Result<Vec<SocketAddr>>>),
    /// There.
    Known(Vec<SocketAddr>),
    /// The names are to be looked up again.
    Unknown,
}

/// A client port on its way.
pub(super) struct Moving {
    config: Box<Config>,
    waker: Arc<Waker>,
    target: Target,
    again_at: Millis,
}

impl Moving {
    fn ask(&mut self) {
        let config = self.config.clone();
        let waker = Arc::clone(&self.waker);
        let asked = std::thread::Builder::new().name("zoarium-names".to_owned()).spawn(move || {
            let found = config.client_addresses();
            let _ = waker.wake();
            found
        });
        self.target = asked.map_or(Target::Unknown, Target::Asked);
    }
}

impl ClientPorts {
    /// Sets out to listen where `config` says. Until that can be, and where it cannot, clients connect where they did.
    pub(in crate::peer) fn move_to(&mut self, config: &Config, waker: &Arc<Waker>) {
        let mut moving = Moving {
            config: Box::new(config.clone()),
            waker: Arc::clone(waker),
            target: Target::Unknown,
            again_at: Millis(0),
        };
        moving.ask();
        self.moving = Some(moving);
    }

    /// When to call [`ClientPorts::go_on_moving`] though nothing woke the loop.
    pub(in crate::peer) fn moves_at(&self) -> Option<Millis> {
        self.moving.as_ref().filter(|moving| !matches!(moving.target, Target::Asked(_))).map(|moving| moving.again_at)
    }

    /// Goes on with a move, if one is under way. Whether clients now connect elsewhere than before.
    pub(in crate::peer) fn go_on_moving(&mut self, now: Millis, registry: &Registry) -> bool {
        let Some(mut moving) = self.moving.take_if(|moving| match &moving.target {
            Target::Asked(asked) => asked.is_finished(),
            _ => moving.again_at <= now,
        }) else {
            return false;
        };
        let addresses = match std::mem::replace(&mut moving.target, Target::Unknown) {
            Target::Unknown => {
                moving.ask();
                moving.again_at = now.plus(AGAIN_MS);
                self.moving = Some(moving);
                return false;
            }
            Target::Known(addresses) => Ok(addresses),
            Target::Asked(asked) => asked.join().unwrap_or_else(|_| Err(io::Error::other("the look-up has failed"))),
        };
        let why = match addresses {
            Ok(addresses) => match self.listen_at(&addresses, &moving.config, registry) {
                Ok(()) => return true,
                Err(error) => {
                    moving.target = Target::Known(addresses);
                    error.to_string()
                }
            },
            Err(error) => error.to_string(),
        };
        log::error!("the client port cannot move to port {} yet: {why}", moving.config.client_port);
        moving.again_at = now.plus(AGAIN_MS);
        self.moving = Some(moving);
        false
    }

    /// Listens at these addresses and no others, or stays where it is.
    fn listen_at(&mut self, addresses: &[SocketAddr], config: &Config, registry: &Registry) -> Result<(), Error> {
        let before = self.addresses();
        let at = |address: &SocketAddr| before.iter().position(|other| other == address);
        // A port that stays, at other addresses, is closed first: two sockets may not have it, one of them at all addresses.
        let overlaps =
            |address: &SocketAddr| at(address).is_none() && before.iter().any(|old| old.port() == address.port());
        let closes_first = addresses.iter().any(overlaps);
        let mut kept: Vec<Option<Owned<mio::net::TcpListener>>> =
            std::mem::take(&mut self.listeners).into_iter().map(Some).collect();
        if closes_first {
            kept.iter_mut().for_each(|listener| *listener = None);
        }
        let mut fresh = Vec::new();
        let listened = addresses.iter().take(LISTENERS_MAX).enumerate().try_for_each(|(index, address)| {
            if let Some(listener) = at(address).and_then(|at| kept[at].take()) {
                fresh.push(listener);
                return Ok(());
            }
            let mut listener = Owned::new(bind(*address, backlog(config.client_port_listen_backlog))?);
            registry
                .register(&mut *listener, Token(LISTENERS + index), Interest::READABLE)
                .map_err(Error::system("watch a listening socket"))?;
            fresh.push(listener);
            Ok(())
        });
        match listened {
            Ok(()) => {
                self.listeners = fresh;
                let shown: Vec<String> = self.addresses().iter().map(SocketAddr::to_string).collect();
                log::info!("clients connect to {} from now on; connections that stand stay", shown.join(", "));
                Ok(())
            }
            Err(error) if closes_first => {
                // What was bound so far is better than nothing.
                drop(fresh);
                self.listeners = before.iter().filter_map(|address| self.again(*address, config, registry)).collect();
                Err(error)
            }
            Err(error) => {
                // Those that were there; the new ones close.
                let olds = fresh
                    .into_iter()
                    .filter(|listener| listener.local_addr().is_ok_and(|address| before.contains(&address)));
                self.listeners = kept.into_iter().flatten().chain(olds).collect();
                Err(error)
            }
        }
    }

    fn again(&self, address: SocketAddr, config: &Config, registry: &Registry) -> Option<Owned<mio::net::TcpListener>> {
        let mut listener = Owned::new(bind(address, backlog(config.client_port_listen_backlog)).ok()?);
        registry.register(&mut *listener, Token(LISTENERS), Interest::READABLE).ok()?;
        Some(listener)
    }
}
