//! A ZooKeeper you can link.
//!
//! Zoarium is the coordination service of Apache ZooKeeper (znode tree, sessions, ephemerals, watches) as one
//! engine with one event loop and one data file. Any ZooKeeper client works on it over TCP, unmodified.
//!
//! The core is sans-IO: bytes, events and time in, actions out. `ARCHITECTURE.md` has the rooms and the rules.

mod client;
#[doc(hidden)]
pub mod code;
pub mod config;
pub mod digests;
pub mod engine;
mod error;
mod ffi;
pub mod handle;
pub mod ids;
pub mod jute;
pub mod member;
mod meter;
pub mod path;
pub mod peer;
mod plant;
pub mod process;
#[doc(hidden)]
pub mod raw;
pub mod recipes;
pub mod records;
mod resolve;
pub mod server;
pub mod session;
#[cfg(test)]
mod sim;
pub mod store;
pub mod tree;
pub mod watches;
pub mod words;
pub mod zab;

/// The README's Rust is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use client::{
    Acl, AsyncClient, AsyncWatch, Client, ClientOptions, CreateOptions, Created, Multi, MultiRead, Near, Pending,
    Permissions, ReadResult, Watch, WatchEnd, WatchGuard, WriteResult,
};
pub use code::Outcome;
pub use config::Config;
pub use error::{Code, Error, Failure};
pub use handle::{Event, Resume, SessionInfo, State, WatchMode};
pub use records::{EventType, Stat};
pub use server::Server;
