//! The one file: a log of transactions, snapshots of what they made, and two superblock slots that tie them together.
//!
//! Knows bytes and zxids, nothing of the tree. `layout` has the tables, `superblock` the root, `extents` the space,
//! `log` the append, `writing` the step of it that waits for the disk, `recover` the way back, `parallel` the same on several threads, `snapshot` the snapshots, `helper` the slow work beside the loop, `file`
//! the open store, `disk` everything that touches the operating system. `docs/FORMAT.md` describes the bytes.

mod chunks;
mod disk;
mod error;
mod extents;
mod file;
mod helper;
mod hollow;
mod inspect;
mod install;
mod layout;
mod le;
mod log;
mod member;
mod options;
mod os_error;
mod pace;
mod parallel;
mod read;
mod recover;
mod snapshot;
mod space;
mod superblock;
#[cfg(test)]
pub(crate) mod tests;
mod truncate;
mod window;
mod writing;

pub(crate) use disk::listen;
pub use disk::{Disk, DiskFile, ReadAt, block_file_size_signal};
pub use error::StoreError;
pub use file::Store;
pub use inspect::{InspectLine, InspectVerdict, SuperblockLine, inspect, inspect_bytes};
pub use log::Record;
pub use member::{KeptConfig, MemberState, Soundness};
pub use options::{Space, SpaceLevel, StoreOptions, StoreStats, SyncMode};
pub use os_error::{OsError, os_text};
pub use read::{LogCursor, Logged};
pub use recover::{EndOfLog, RecoveryReport, Replay, recover_image};
pub use snapshot::SnapshotDone;
pub use writing::{LogWrite, LogWritten};
