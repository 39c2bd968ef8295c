//! A ZooKeeper you can link.
//!
//! Zoarium is the coordination service of Apache ZooKeeper (znode tree, sessions, ephemerals, watches) as one
//! engine with one event loop and one data file. Any ZooKeeper client works on it over TCP, unmodified; this crate also has
//! a client of its own, which reaches a server in its process without a socket, and any ZooKeeper over TCP.
//!
//! # A first program
//!
//! It starts a server, opens a session with it, creates a znode and reads it back. A port of 0 is one that the system
//! chooses; the data are one file in the folder `d`.
//!
//! ```standalone_crate
//! # let dir = std::env::temp_dir().join(format!("zoarium-guide-first-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir).unwrap();
//! # std::env::set_current_dir(&dir).unwrap();
//! use zoarium::{Client, Config, Error, Server};
//!
//! fn main() -> Result<(), Error> {
//!     let server = Server::start(Config { data_dir: "d".into(), client_port: 0, ..Config::default() })?;
//!     let client: Client = server.client()?;
//!     client.create("/a", b"1")?;
//!     let (data, stat) = client.get("/a")?;
//!     assert_eq!((&data[..], stat.version), (&b"1"[..], 0));
//!     server.stop()
//! }
//! # main().unwrap();
//! # std::fs::remove_dir_all(dir).unwrap();
//! ```
//!
//! # Clients
//!
//! [`Server::client`] begins a session with a server in this process, [`Client::connect`] one over TCP with any server that
//! speaks ZooKeeper's protocol; they behave alike. [`Client`] has a verb for each operation, which waits for its reply;
//! [`CreateOptions`] are for ephemeral, sequential, container and TTL znodes and for ACLs; [`ClientOptions`] are for session
//! timeouts, chroots and sessions to take over.
//!
//! ```
//! use zoarium::{Client, Config, CreateOptions, Error, Server};
//!
//! # let dir = std::env::temp_dir().join(format!("zoarium-guide-clients-{}", std::process::id()));
//! let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
//! let near = server.client()?;
//! let far = Client::connect(&format!("{}/app", server.addresses()[0]))?;
//!
//! near.ensure_path("/app/members")?;
//! let me = far.create_with("/members/m-", b"host-7", &CreateOptions::new().ephemeral().sequential())?;
//! assert_eq!(me.path, "/members/m-0000000000");
//! assert_eq!(near.children("/app/members")?, ["m-0000000000"]);
//!
//! // The session's end takes its ephemeral znodes with it.
//! far.close()?;
//! assert!(near.children("/app/members")?.is_empty());
//! # drop(near);
//! # server.stop()?;
//! # std::fs::remove_dir_all(dir).ok();
//! # Ok::<(), Error>(())
//! ```
//!
//! # Errors
//!
//! There is one [`Error`], of servers and clients, so `?` works everywhere. It has a [`Code`], the path, and says whether a
//! write happened: after a lost connection that is unknown, and a program has to look before it tries again.
//!
//! ```
//! use zoarium::{Client, Code, Error, Outcome};
//!
//! /// Sets a znode, creating it where it is missing.
//! fn put(client: &Client, path: &str, data: &[u8]) -> Result<(), Error> {
//!     loop {
//!         let error = match client.set(path, data) {
//!             Ok(_) => return Ok(()),
//!             Err(error) if error.code() == Code::NoNode => match client.create(path, data) {
//!                 Ok(_) => return Ok(()),
//!                 Err(error) => error,
//!             },
//!             Err(error) => error,
//!         };
//!         match (error.code(), error.outcome()) {
//!             // Setting it twice does no harm; somebody else may have created it meanwhile.
//!             (Code::ConnectionLoss | Code::NodeExists, Outcome::Unknown | Outcome::NotDone) => {}
//!             _ => return Err(error),
//!         }
//!     }
//! }
//! # let dir = std::env::temp_dir().join(format!("zoarium-guide-errors-{}", std::process::id()));
//! # let config = zoarium::Config { data_dir: dir.clone(), client_port: 0, ..zoarium::Config::default() };
//! # let server = zoarium::Server::start(config)?;
//! # let client = server.client()?;
//! # put(&client, "/a", b"1")?;
//! # put(&client, "/a", b"2")?;
//! # assert_eq!(client.get("/a")?.0, b"2");
//! # drop(client);
//! # server.stop()?;
//! # std::fs::remove_dir_all(dir).ok();
//! # Ok::<(), Error>(())
//! ```
//!
//! # Watches and multis
//!
//! A [`Watch`] is an iterator over events; [`Client::on_event`] calls back instead, and the reads whose names end in
//! `_watched` leave a watch without a gap. [`Client::multi`] gathers writes that all happen or none.
//!
//! ```
//! use zoarium::{Code, Config, Error, EventType, Server, WatchMode};
//!
//! # let dir = std::env::temp_dir().join(format!("zoarium-guide-watches-{}", std::process::id()));
//! let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
//! let client = server.client()?;
//! client.create("/config", b"1")?;
//! let mut watch = client.watch("/config", WatchMode::Persistent)?;
//!
//! client.multi().check("/config", 0).set("/config", b"2").create("/log", b"").commit()?;
//! assert_eq!(watch.next().map(|event| event.kind), Some(EventType::DataChanged));
//!
//! let error = client.multi().delete("/log").check("/config", 0).commit().unwrap_err();
//! assert_eq!((error.code(), error.part()), (Code::BadVersion, Some(1)));
//! # drop((watch, client));
//! # server.stop()?;
//! # std::fs::remove_dir_all(dir).ok();
//! # Ok::<(), Error>(())
//! ```
//!
//! # Futures
//!
//! [`AsyncClient`] has the same verbs as futures. They need no runtime: tokio, smol, async-std and an executor of ten lines
//! ([`Pending`]) will do. [`Client::to_async`] and [`AsyncClient::to_blocking`] turn one into the other.
//!
//! ```
//! use zoarium::{Config, Error, Server};
//!
//! async fn program(server: &Server) -> Result<(), Error> {
//!     let client = server.async_client().await?;
//!     client.create("/a", b"1").await?;
//!     let (data, _) = client.get("/a").await?;
//!     assert_eq!(data, b"1");
//!     client.close().await
//! }
//! # let dir = std::env::temp_dir().join(format!("zoarium-guide-futures-{}", std::process::id()));
//! let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
//! smol::block_on(program(&server))?;
//! # server.stop()?;
//! # std::fs::remove_dir_all(dir).ok();
//! # Ok::<(), Error>(())
//! ```
//!
//! # Recipes, and tests of one's own
//!
//! [`recipes`] has locks with fences, elections, counters, barriers, queues and a cache of a subtree. What a program does when
//! its session ends need not wait for a timeout in its tests: [`Server::expire`] ends a session at once,
//! [`Server::disconnect`] cuts its connection, [`Server::pause`] freezes the server.
//!
//! ```
//! use zoarium::recipes::Lock;
//! use zoarium::{Config, Error, Server};
//!
//! # let dir = std::env::temp_dir().join(format!("zoarium-guide-recipes-{}", std::process::id()));
//! let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
//! let (first, second) = (server.client()?, server.client()?);
//! let guard = Lock::new(&first, "/lock").acquire()?;
//! assert!(server.expire(first.session().id)?);
//!
//! let next = Lock::new(&second, "/lock").acquire()?;
//! assert!(next.fence() > guard.fence());
//! # drop((guard, next, first, second));
//! # server.stop()?;
//! # std::fs::remove_dir_all(dir).ok();
//! # Ok::<(), Error>(())
//! ```
//!
//! # Ensembles
//!
//! [`Config::load`] reads the `zoo.cfg` of a member of an ensemble as it does any other, and [`Server::start`] starts it.
//! [`Ensemble`] is a whole one in this process, for tests: its members are killed, started again, paused and cut off.
//!
//! `examples/lock_queue.rs` and `examples/lock_queue_tokio.rs` are whole programs. Every setting of a server is a field of
//! [`Config`]; [`Config::load`] reads ZooKeeper's `zoo.cfg`. The rooms of the crate and their rules are in `ARCHITECTURE.md`; modules
//! that this page does not show are no part of the public face, and change without notice.

mod client;
#[doc(hidden)]
pub mod code;
#[doc(hidden)]
pub mod config;
#[cfg(feature = "datadir")]
#[doc(hidden)]
pub mod datadir;
#[doc(hidden)]
pub mod digests;
#[doc(hidden)]
pub mod engine;
mod error;
mod failpoint;
mod ffi;
#[doc(hidden)]
pub mod four_letter;
mod hash;
#[doc(hidden)]
pub mod ids;
#[doc(hidden)]
pub mod jute;
#[doc(hidden)]
pub mod member;
mod meter;
#[doc(hidden)]
pub mod path;
#[doc(hidden)]
pub mod peer;
#[doc(hidden)]
pub mod process;
#[doc(hidden)]
pub mod raw;
pub mod recipes;
#[doc(hidden)]
pub mod records;
mod resolve;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod session;
#[cfg(test)]
mod sim;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod tree;
#[doc(hidden)]
pub mod watches;
#[doc(hidden)]
pub mod zab;

/// The README's Rust is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[doc(hidden)]
pub use client::handle;
pub use client::handle::{Event, Resume, SessionInfo, State, WatchMode};
pub use client::{
    Acl, AsyncClient, AsyncWatch, Client, ClientOptions, CreateOptions, Created, Multi, MultiRead, Near, Pending,
    Permissions, ReadResult, Reconfig, Watch, WatchEnd, WatchGuard, WriteResult,
};
pub use code::Outcome;
pub use config::{
    ClientAddress, Config, ConfigError, EnsembleSettings, Fate, KeyInfo, Limits, Loaded, Note, Origin, PeerAddress,
    Role, Secret, ServerLine, Setting, Storage,
};
pub use digests::DigestAlg;
pub use error::{Code, Error, Failure};
pub use four_letter::{Whitelist, Word};
pub use ids::{ServerId, SessionId, Zxid};
pub use peer::Status;
pub use records::{EventType, Stat};
pub use server::{Ensemble, EnsembleOptions, NoAnswer, Reload, RoleState, Server, ServerRole};
pub use session::SessionPasswords;
pub use store::StoreError;
