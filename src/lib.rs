//! A ZooKeeper you can link.
//!
//! Zoarium is the coordination service of Apache ZooKeeper (znode tree, sessions, ephemerals, watches) as one
//! engine with one event loop and one data file. Any ZooKeeper client works on it over TCP, unmodified.
//!
//! The core is sans-IO: bytes, events and time in, actions out. `ARCHITECTURE.md` has the rooms and the rules.

pub mod client;
pub mod config;
pub mod ids;
pub mod jute;
pub mod path;
pub mod records;
pub mod store;
pub mod tree;
pub mod words;
