//! Writing a folder that ZooKeeper starts from: a snapshot, the log of a member behind it, and its epochs.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use adler2::Adler32;

use super::error::{DatadirError, random_seed};
use super::folder::VERSION;
use super::snapshot::{FORMAT, SEAL_END, SNAPSHOT_MAGIC};
use super::txn_log::TxnLogWriter;
use crate::engine::{EngineSettings, ReplicatedState};
use crate::ids::{SessionId, Zxid};
use crate::member::Loading;
use crate::records::ErrorCode;
use crate::records::txn::{Txn, TxnHeader, encode_txn};
use crate::store::{Replay, make_folder, read_only};
use crate::tree::Walked;

/// Steps over the tree, and bytes, between two writes.
const STEPS: usize = 4096;
const PIECE: usize = 1 << 20;
/// What a snapshot file of ZooKeeper's says in place of the id of its database.
const DATABASE_ID: i64 = -1;

/// What was written.
#[derive(Debug, Clone)]
pub struct Exported {
    /// The snapshot.
    pub snapshot: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Transactions in the log behind it.
    pub logged: u64,
    /// The last transaction.
    pub zxid: Zxid,
    /// Znodes at the end.
    pub znodes: usize,
    /// Sessions at the end.
    pub sessions: usize,
    /// The tree's digest at the end, as ZooKeeper 3.6 and later compute it.
    pub digest: u64,
}

/// Writes the state in our file at `file`, which no server may have open, to `folder` as a data folder of ZooKeeper's. The file
/// is not changed. `progress` hears how many bytes of the snapshot were written.
///
/// What a server wrote that was alone becomes one snapshot. What a member of an ensemble has behind its own last snapshot becomes a log:
/// of a member that was killed, the last of it may be on no other one, and who leads then has ZooKeeper cut it off, which it can
/// from a log alone.
///
/// The snapshot ends behind its first seal: every version from 3.4 on starts from it, whatever its settings.
///
/// # Errors
/// [`DatadirError::Exists`] when data of ZooKeeper's is in the folder already; [`DatadirError::Store`], [`DatadirError::Io`].
pub fn export(file: &Path, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<Exported, DatadirError> {
    let home = folder.join(VERSION);
    if home.symlink_metadata().is_ok() {
        return Err(DatadirError::Exists { path: home });
    }
    // Whole under another name, so that ZooKeeper never finds a part of it.
    let mut name = home.file_name().unwrap_or_default().to_owned();
    name.push(".export");
    let begun = folder.join(name);
    if begun.symlink_metadata().is_ok() {
        // Of an export that was cut short, or that goes on: only its owner knows.
        return Err(DatadirError::Exists { path: begun });
    }
    let was_there = folder.exists();
    make_folder(&begun).map_err(DatadirError::io("create the folder", &begun))?;
    let written = write_folder(file, &begun, progress);
    let placed = written.and_then(|mut exported| {
        fs::rename(&begun, &home).map_err(DatadirError::io("create the folder", &home))?;
        exported.snapshot = home.join(exported.snapshot.file_name().unwrap_or_default());
        sync(folder).map(|()| exported)
    });
    if placed.is_err() {
        let _ = fs::remove_dir_all(&begun);
        if !was_there {
            let _ = fs::remove_dir(folder);
        }
    }
    placed
}

fn name_of(state: &ReplicatedState) -> String {
    format!("snapshot.{:x}", state.applied().0)
}

fn sync(path: &Path) -> Result<(), DatadirError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(DatadirError::io("sync", path))
}

fn create(path: &Path) -> Result<File, DatadirError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map_err(DatadirError::io("create", path))
}

/// Writes everything.
fn write_folder(file: &Path, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<Exported, DatadirError> {
    let mut state = ReplicatedState::new(&EngineSettings::default(), random_seed()?);
    let mut telling = Telling { state: &mut state, folder, behind: None, failed: None, progress };
    let read = read_only(file, &mut telling);
    let Telling { behind, failed, .. } = telling;
    failed.map_or(Ok(()), Err)?;
    let (kept, report) = read.map_err(DatadirError::store(file))?;
    let ((snapshot, bytes), logged) = match behind {
        // The mark is none of the transactions.
        Some(Behind { snapshot, log, .. }) => (snapshot, log.finish()? - 1),
        None => (write_snapshot(folder, &mut state, progress)?, 0),
    };
    // ZooKeeper does not start when the last transaction is of a later epoch than the current one.
    let current = kept.current_epoch.max(u64::from(state.applied().epoch()));
    for (name, epoch) in [("acceptedEpoch", kept.accepted_epoch.max(current)), ("currentEpoch", current)] {
        let path = folder.join(name);
        let mut file = create(&path)?;
        let written = file.write_all(epoch.to_string().as_bytes()).and_then(|()| file.sync_all());
        written.map_err(DatadirError::io("write", &path))?;
    }
    sync(folder)?;
    Ok(Exported {
        snapshot,
        bytes,
        logged,
        zxid: report.last_zxid,
        znodes: state.tree().node_count(),
        sessions: state.session_count(),
        digest: state.tree().zookeeper_digest(),
    })
}

/// Writes the state as it is now; where, and how many bytes.
fn write_snapshot(
    folder: &Path,
    state: &mut ReplicatedState,
    progress: &mut dyn FnMut(u64),
) -> Result<(PathBuf, u64), DatadirError> {
    let path = folder.join(name_of(state));
    let mut file = SealedWriter { file: create(&path)?, path: &path, seal: Adler32::new(), written: 0 };
    let mut piece = Vec::new();
    piece.extend_from_slice(&SNAPSHOT_MAGIC);
    piece.extend_from_slice(&FORMAT.to_be_bytes());
    piece.extend_from_slice(&DATABASE_ID.to_be_bytes());
    let mut retelling = state.retell_begin().expect("nothing else is told by a state of our own");
    loop {
        let walked = state.retell_on(&mut retelling, STEPS, PIECE, &mut piece);
        file.write(&piece)?;
        piece.clear();
        progress(file.written);
        if walked == Walked::Whole {
            break;
        }
    }
    let mut seal = u64::from(file.seal.checksum()).to_be_bytes().to_vec();
    seal.extend_from_slice(&SEAL_END);
    file.write(&seal)?;
    file.file.sync_all().map_err(DatadirError::io("sync", &path))?;
    let written = file.written;
    Ok((path, written))
}

/// What stands in the log for the last transaction in the snapshot: ZooKeeper cuts a log behind the transaction that it is told, and
/// behind the next one where that is not in it. It is never replayed, because the snapshot has it.
fn mark(zxid: Zxid) -> Vec<u8> {
    let txn = Txn::error(ErrorCode::RuntimeInconsistency);
    let header = TxnHeader { session: SessionId::NONE, cxid: 0, zxid, time: 0, op: txn.op().to_i32() };
    let mut bytes = Vec::new();
    encode_txn(&header, &txn, &mut bytes);
    bytes
}

/// The log of a member, and the snapshot before it.
struct Behind {
    snapshot: (PathBuf, u64),
    log: TxnLogWriter,
    log_path: PathBuf,
}

/// Reads our file into a state. What an epoch's leader has proposed is written to a log on the way, behind a snapshot of the state
/// before it.
struct Telling<'t> {
    state: &'t mut ReplicatedState,
    folder: &'t Path,
    behind: Option<Behind>,
    failed: Option<DatadirError>,
    progress: &'t mut dyn FnMut(u64),
}

impl Telling<'_> {
    fn log(&mut self, txn: &[u8]) -> Result<(), DatadirError> {
        let behind = match &mut self.behind {
            Some(behind) => behind,
            none => {
                let snapshot = write_snapshot(self.folder, self.state, self.progress)?;
                let at = self.state.applied();
                let path = self.folder.join(format!("log.{:x}", at.0));
                let file = create(&path)?;
                let mut log = TxnLogWriter::begin(path.clone(), file)?;
                log.push(&mark(at))?;
                none.insert(Behind { snapshot, log, log_path: path })
            }
        };
        behind.log.push(txn)
    }

    /// Nothing was told.
    fn begin_over(&mut self) -> Result<(), DatadirError> {
        let Some(Behind { snapshot: (snapshot, _), log_path, .. }) = self.behind.take() else { return Ok(()) };
        for path in [snapshot, log_path] {
            fs::remove_file(&path).map_err(DatadirError::io("remove", &path))?;
        }
        Ok(())
    }
}

impl Replay for Telling<'_> {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        // Also where a part of the log was told that turned out to be cut off.
        if let Err(error) = self.begin_over() {
            self.failed.get_or_insert(error);
        }
        Loading::into(self.state).snapshot_begin(zxid);
    }

    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        Loading::into(self.state).snapshot_entry(entry)
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        Loading::into(self.state).snapshot_end()
    }

    fn snapshot_value(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        Loading::into(self.state).snapshot_value(zxid, txn)
    }

    fn snapshot_filled(&mut self) -> Result<(), String> {
        Loading::into(self.state).snapshot_filled()
    }

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        // A server that is alone has no epochs, and nobody to be overruled by.
        if zxid.epoch() > 0 && self.failed.is_none() {
            self.failed = self.log(txn).err();
        }
        match &self.failed {
            Some(error) => Err(error.to_string()),
            None => Loading::into(self.state).txn(zxid, txn),
        }
    }
}

/// A file that is written from front to back, with the checksum of all of it.
struct SealedWriter<'p> {
    file: File,
    path: &'p Path,
    seal: Adler32,
    written: u64,
}

impl SealedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), DatadirError> {
        self.seal.write_slice(bytes);
        self.written += bytes.len() as u64;
        self.file.write_all(bytes).map_err(DatadirError::io("write", self.path))
    }
}
