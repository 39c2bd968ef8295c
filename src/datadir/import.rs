//! Taking a folder over: its newest whole snapshot and the log behind it, as one state in a new file of ours.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{DatadirError, random_seed};
use super::folder::{DataFolder, ZxidEntry};
use super::sealed::SealedReader;
use super::snapshot::{ReadSnapshot, TreeDigest, read_snapshot};
use super::txn_log::{NextTxn, TxnLogReader};
use crate::engine::{EngineSettings, ReplicatedState};
use crate::ids::{ServerId, Zxid};
use crate::records::txn::{Txn, decode_txn};
use crate::store::{Disk, DiskFile, MemberState, Store, StoreError, StoreOptions, make_folder};

/// The version of the digests behind transactions that are compared.
const DIGEST_VERSION: i32 = 2;
/// Snapshots that are tried, from the newest: as many as ZooKeeper tries.
const SNAPSHOTS_TRIED: usize = 100;
/// Znodes written between two looks at how much waits for the disk.
const SLICE_NODES: usize = 64;
/// Bytes that may wait for the disk.
const BACKLOG_MAX: usize = 8 << 20;

/// How far an import is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ImportStep<'a> {
    /// So many bytes of a snapshot were read, uncompressed.
    Snapshot {
        /// The file.
        path: &'a Path,
        /// Bytes.
        bytes: u64,
    },
    /// A snapshot is not whole: an older one is used, with more of the log.
    SnapshotSkipped {
        /// What is wrong with it.
        why: &'a DatadirError,
    },
    /// Transactions of a log were read.
    Log {
        /// The file.
        path: &'a Path,
        /// Transactions applied so far.
        applied: u64,
    },
    /// The last transaction of the last log was not written whole and is left out: nothing had been acknowledged of it.
    TornTail {
        /// The file.
        path: &'a Path,
        /// Where it stands.
        offset: u64,
    },
    /// So many bytes of the new file's snapshot were handed over.
    Writing {
        /// Bytes.
        bytes: u64,
    },
}

/// A state that was read from a ZooKeeper server's folder.
pub struct Import {
    state: ReplicatedState,
    folder: DataFolder,
    snapshot: Option<PathBuf>,
    applied: u64,
    is_checked: bool,
}

/// Reads the state that a ZooKeeper server would start with from `folder`, for a server with number `server_id`. `progress`
/// hears how far it is.
///
/// # Errors
/// [`DatadirError`] names the file, the place and what is wrong there. Nothing was written.
pub fn import(
    folder: DataFolder,
    server_id: ServerId,
    progress: &mut dyn FnMut(ImportStep<'_>),
) -> Result<Import, DatadirError> {
    let seed = random_seed()?;
    let settings = EngineSettings { server_id, ..EngineSettings::default() };
    let newest = newest_snapshot(&folder, &settings, seed, progress)?;
    let snapshot = newest.as_ref().map(|(_, path)| path.clone());
    let mut reading = match newest {
        Some((ReadSnapshot { state, digest: expected }, _)) => {
            LogReading { state, expected, has_snapshot: true, ..LogReading::new(&settings, seed) }
        }
        None => LogReading::new(&settings, seed),
    };
    let from = reading.state.applied();
    // Of the snapshot's own state, or of one that the log leads to.
    reading.computed = reading.expected.take_if(|expected| expected.zxid == from);
    let last_before = folder.logs.iter().rposition(|log| log.zxid <= from).unwrap_or(0);
    let logs = &folder.logs[last_before..];
    for (at, log) in logs.iter().enumerate() {
        reading.read(log, at + 1 == logs.len(), progress)?;
    }
    let LogReading { state, applied, computed, doubted, .. } = reading;
    let is_checked = computed.is_some();
    computed.map_or(Ok(()), |digest| compare(&state, digest))?;
    doubted.map_or(Ok(()), Err)?;
    check_epochs(&folder, state.applied())?;
    Ok(Import { state, folder, snapshot, applied, is_checked })
}

/// The newest snapshot that is whole, and its file; `None` where there is none, and the log begins at the beginning.
fn newest_snapshot(
    folder: &DataFolder,
    settings: &EngineSettings,
    seed: [u64; 2],
    progress: &mut dyn FnMut(ImportStep<'_>),
) -> Result<Option<(ReadSnapshot, PathBuf)>, DatadirError> {
    let mut newest_fault = None;
    for ZxidEntry { zxid, path } in folder.snapshots.iter().rev().take(SNAPSHOTS_TRIED) {
        let mut told = |bytes| progress(ImportStep::Snapshot { path, bytes });
        let read =
            SealedReader::open(path).and_then(|mut file| read_snapshot(&mut file, *zxid, settings, seed, &mut told));
        match read {
            Ok(read) => return Ok(Some((read, path.clone()))),
            Err(error @ DatadirError::Damaged { .. }) => {
                progress(ImportStep::SnapshotSkipped { why: &error });
                newest_fault.get_or_insert(error);
            }
            Err(other) => return Err(other),
        }
    }
    newest_fault.map_or(Ok(None), |newest| Err(DatadirError::NoSnapshot { newest: Box::new(newest) }))
}

/// The log on its way into the state.
struct LogReading {
    state: ReplicatedState,
    applied: u64,
    has_snapshot: bool,
    /// The digest of the snapshot, of a state that the log leads to.
    expected: Option<TreeDigest>,
    /// The digest of the tree as it is now, as the server computed it.
    computed: Option<TreeDigest>,
    /// The snapshot's digest was another one, and none was equal since. The server writes the digest of the last transaction that it
    /// has applied whole, and a snapshot that was taken meanwhile can have effects of the one after that.
    doubted: Option<DatadirError>,
}

impl LogReading {
    fn new(settings: &EngineSettings, seed: [u64; 2]) -> LogReading {
        LogReading {
            state: ReplicatedState::new(settings, seed),
            applied: 0,
            has_snapshot: false,
            expected: None,
            computed: None,
            doubted: None,
        }
    }

    fn read(
        &mut self,
        log: &ZxidEntry,
        is_last_file: bool,
        progress: &mut dyn FnMut(ImportStep<'_>),
    ) -> Result<(), DatadirError> {
        let path = &log.path;
        let Some(mut file) = TxnLogReader::open(path)? else { return Ok(()) };
        loop {
            let at = file.at();
            match file.next()? {
                NextTxn::End => break,
                // In an earlier log as well: a server that was killed goes on in the next one. What is missing then shows as a gap.
                NextTxn::Torn => {
                    if is_last_file {
                        progress(ImportStep::TornTail { path, offset: at });
                    }
                    break;
                }
                NextTxn::Damaged => {
                    let what = "no whole transaction, which matches its checksum, and others follow".to_owned();
                    return Err(DatadirError::Damaged { path: path.clone(), offset: at, what });
                }
                NextTxn::Txn(zxid) => self.apply(zxid, &file, path)?,
            }
            if self.applied.is_multiple_of(1024) {
                progress(ImportStep::Log { path, applied: self.applied });
            }
        }
        progress(ImportStep::Log { path, applied: self.applied });
        Ok(())
    }

    fn apply(&mut self, zxid: Zxid, file: &TxnLogReader, path: &Path) -> Result<(), DatadirError> {
        let last = self.state.applied();
        // One that comes twice counts once, as in ZooKeeper.
        if zxid <= last {
            return Ok(());
        }
        // Without a snapshot only the very first transaction is proof that nothing came before.
        let may_skip_epochs = last > Zxid::ZERO || self.has_snapshot;
        let follows = zxid.0 == last.0 + 1 || (zxid.epoch() > last.epoch() && zxid.counter() <= 1 && may_skip_epochs);
        if !follows {
            return Err(DatadirError::Gap { after: last, before: zxid, path: path.to_owned() });
        }
        self.state.replay(zxid, file.txn()).map_err(|damage| file.damaged(damage.0))?;
        self.applied += 1;
        match decode_txn(file.txn()) {
            Ok((_, _, Some(digest))) if digest.version == DIGEST_VERSION => {
                self.computed = Some(TreeDigest { zxid, value: digest.digest });
            }
            // Has no digest, and changes nothing.
            Ok((_, Txn::Error(_), _)) => {}
            _ => self.computed = None,
        }
        if let Some(expected) = self.expected.take_if(|expected| expected.zxid == zxid) {
            match compare(&self.state, expected) {
                Ok(()) => _ = self.computed.get_or_insert(expected),
                Err(error) => self.doubted = Some(error),
            }
        } else if self.doubted.is_some() && self.computed.is_some_and(|computed| compare(&self.state, computed).is_ok())
        {
            self.doubted = None;
        }
        Ok(())
    }
}

fn compare(state: &ReplicatedState, digest: TreeDigest) -> Result<(), DatadirError> {
    let found = state.tree().zookeeper_digest() as i64;
    match found == digest.value {
        true => Ok(()),
        false => Err(DatadirError::Digest { zxid: digest.zxid, expected: digest.value, found }),
    }
}

/// Whether the epochs are such that ZooKeeper would start with them.
fn check_epochs(folder: &DataFolder, last: Zxid) -> Result<(), DatadirError> {
    let refuse = |what: String| Err(DatadirError::Epochs { what });
    let of_log = u64::from(last.epoch());
    match (folder.epochs.current, folder.epochs.accepted) {
        (Some(current), _) if of_log > current => {
            refuse(format!("currentEpoch says {current}, and the last transaction {last} is of epoch {of_log}"))
        }
        (Some(current), Some(accepted)) if accepted < current => {
            refuse(format!("acceptedEpoch says {accepted} and currentEpoch {current}, which cannot be above it"))
        }
        _ => Ok(()),
    }
}

impl Import {
    /// The snapshot that it began with; `None` where the log begins at the beginning.
    pub fn snapshot(&self) -> Option<&Path> {
        self.snapshot.as_deref()
    }

    /// Transactions applied behind the snapshot.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The state.
    pub fn state(&self) -> &ReplicatedState {
        &self.state
    }

    /// Whether the tree was compared with the digest that the server had put behind the last transaction that changed it, or into
    /// the snapshot, and is equal.
    pub fn is_checked(&self) -> bool {
        self.is_checked
    }

    /// The accepted and the current epoch: those of the files, and where there are none that of the last transaction.
    pub fn epochs(&self) -> (u64, u64) {
        let current = self.folder.epochs.current.unwrap_or(u64::from(self.state.applied().epoch()));
        (self.folder.epochs.accepted.unwrap_or(current).max(current), current)
    }

    /// Writes the state to a new file at `path`, which appears there when it is whole; its folder is made if need be. `progress` hears how far it is.
    ///
    /// # Errors
    /// [`DatadirError::Exists`] when something is at `path`; [`DatadirError::Store`] when there is no room for it, or the disk
    /// fails. Nothing is left at `path` then.
    pub fn write(
        mut self,
        path: &Path,
        options: &StoreOptions,
        progress: &mut dyn FnMut(ImportStep<'_>),
    ) -> Result<(), DatadirError> {
        if path.symlink_metadata().is_ok() {
            return Err(DatadirError::Exists { path: path.to_owned() });
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.exists() {
            make_folder(folder).map_err(DatadirError::io("create the folder", folder))?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".import");
        let begun = path.with_file_name(name);
        if begun.symlink_metadata().is_ok() {
            // Of an import that was cut short. While one goes on, it is locked.
            drop(DiskFile::open(&begun).map_err(DatadirError::store(&begun))?);
            fs::remove_file(&begun).map_err(DatadirError::io("remove", &begun))?;
        }
        let written = self.write_whole(&begun, options, progress).map_err(DatadirError::store(path));
        let placed = written.and_then(|()| {
            // Never over a file that came meanwhile; where a file cannot have two names, as nearly so as can be.
            let linked = fs::hard_link(&begun, path);
            let moved = linked.or_else(|_| match path.symlink_metadata() {
                Ok(_) => Err(std::io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(&begun, path),
            });
            moved.map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => DatadirError::Exists { path: path.to_owned() },
                _ => DatadirError::io("create", path)(error),
            })
        });
        let _ = fs::remove_file(&begun);
        placed?;
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(DatadirError::io("sync the folder", folder))
    }

    fn write_whole(
        &mut self,
        path: &Path,
        options: &StoreOptions,
        progress: &mut dyn FnMut(ImportStep<'_>),
    ) -> Result<(), StoreError> {
        let disk: std::sync::Arc<dyn Disk> = std::sync::Arc::new(DiskFile::open(path)?);
        let options = StoreOptions { snapshot_rate: 0, ..options.clone() };
        let (mut store, _) = Store::open_on(disk, &options, &mut Nothing)?;
        let (accepted_epoch, current_epoch) = self.epochs();
        let kept = MemberState { accepted_epoch, current_epoch, ..store.member_state().clone() };
        let state = &mut self.state;
        store.install_begin(state.applied(), state.snapshot_estimate(), &kept)?;
        let (mut failed, mut bytes) = (None, 0);
        let mut push = |store: &mut Store, entry: &[u8]| {
            bytes += entry.len() as u64;
            if failed.is_none() {
                failed = store.snapshot_push(entry).err();
            }
            failed.clone()
        };
        let mut refused = None;
        state.snapshot_begin(&mut |entry| refused = push(&mut store, entry));
        let mut is_whole = false;
        while !is_whole {
            if let Some(error) = refused {
                return Err(error);
            }
            is_whole = state.snapshot_slice(SLICE_NODES, &mut |entry| refused = push(&mut store, entry));
            while store.snapshot_backlog() > BACKLOG_MAX {
                store.snapshot_await_room()?;
            }
        }
        if let Some(error) = refused {
            return Err(error);
        }
        progress(ImportStep::Writing { bytes });
        store.snapshot_finish()?;
        store.snapshot_wait()?.outcome?;
        store.close()
    }
}

/// Of a file that is new nothing is read.
struct Nothing;

impl crate::store::Replay for Nothing {
    fn snapshot_begin(&mut self, _: Zxid) {}

    fn snapshot_entry(&mut self, _: &[u8]) -> Result<(), String> {
        Err("a new file has no snapshot".to_owned())
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        Err("a new file has no snapshot".to_owned())
    }

    fn txn(&mut self, _: Zxid, _: &[u8]) -> Result<(), String> {
        Err("a new file has no transactions".to_owned())
    }
}
