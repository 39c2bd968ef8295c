//! A ZooKeeper server's data folder: taken over into a file of ours, and written from one.
//!
//! [`import()`] reads the newest whole snapshot and the log after it as ZooKeeper does at its start; [`export()`] writes a
//! snapshot that ZooKeeper starts from. What lies in the folder is trusted in nothing; nothing in it is changed.
//!
//! Source: ZooKeeper 3.9 `FileTxnSnapLog`, `FileSnap`, `FileTxnLog`, `SnapStream`, and files of 3.4 to 3.9.

mod error;
mod export;
mod folder;
mod import;
mod sealed;
mod snapshot;
mod txn_log;

#[cfg(test)]
mod tests;

pub use error::DatadirError;
pub use export::{Exported, export};
pub use folder::{DataFolder, Epochs};
pub use import::{Import, ImportStep, import};
