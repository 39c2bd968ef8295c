//! The one file: a log of transactions, snapshots of what they made, and two superblock slots that tie them together.
//!
//! Knows bytes and zxids, nothing of the tree. Its files stand in layers, and each knows only those before it, in this order,
//! which `tests/layering.rs` checks: the tables of the bytes (`layout`) and what they are told with; how the file is reached
//! (`access` says what is needed of it, `disk` meets the operating system); its root (`superblock` as bytes, `root` in force);
//! the log as it is found (`frame` as bytes, `chain` walked, `cover` what need not be walked at once); its space (`extents`),
//! with the slow work beside the loop (`helper`); the log as it goes on (`log` written, `read` to others); snapshots (`chunks` as bytes, `snapshot` written, `budget` for who has how much room); the way
//! back (`recover`, on several threads `parallel`) and `inspect`; and the open store, which joins the parts (`parts`), finds
//! room (`supply`), publishes (`publish`), does what is due (`turn`), keeps the history (`history`) and is opened and closed
//! (`open`). `docs/FORMAT.md` describes the bytes.

mod access;
mod ahead;
mod budget;
mod cause;
mod chain;
mod chunks;
mod cover;
mod disk;
mod error;
mod extents;
mod folder;
mod frame;
mod helper;
mod history;
mod inspect;
mod layout;
mod le;
mod log;
mod member;
mod open;
mod options;
mod os_error;
mod pace;
mod parallel;
mod parts;
mod publish;
mod read;
mod recover;
mod replay;
mod root;
mod snapshot;
mod superblock;
mod supply;
mod taking;
#[cfg(test)]
pub(crate) mod tests;
mod turn;
mod window;
mod writing;

pub use access::{Disk, ReadAt};
pub use cause::{ChunkAt, DamageCause, ForeignCause, FrameFault, OptionRange, RecordFault, SnapshotFault};
pub use disk::{DiskFile, block_file_size_signal};
pub(crate) use disk::{give_back_memory, hold_port, listen};
pub use error::StoreError;
pub use folder::make_folder;
pub use frame::Record;
pub use inspect::{InspectLine, InspectVerdict, SuperblockLine, inspect, inspect_bytes};
pub use member::{KeptConfig, MemberState, Soundness};
pub use options::{Space, SpaceLevel, StoreOptions, StoreStats, SyncMode};
pub use os_error::{OsError, os_text};
pub use parts::Store;
pub use read::{LogCursor, Logged};
pub use recover::{DamagedSnapshot, EndOfLog, RecoveryReport, read_only, recover_image};
pub use replay::Replay;
pub use snapshot::SnapshotDone;
pub use writing::{LogWrite, LogWritten};
