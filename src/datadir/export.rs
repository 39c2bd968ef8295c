//! Writing a folder that ZooKeeper starts from: one snapshot, and the epochs of a member.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use adler2::Adler32;

use super::error::{DatadirError, random_seed};
use super::folder::VERSION;
use super::snapshot::{FORMAT, SEAL_END, SNAPSHOT_MAGIC};
use crate::engine::{EngineSettings, ReplicatedState};
use crate::ids::Zxid;
use crate::member::Loading;
use crate::store::{make_folder, read_only};
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
    /// The last transaction in it.
    pub zxid: Zxid,
    /// Znodes in it.
    pub znodes: usize,
    /// Sessions in it.
    pub sessions: usize,
    /// The tree's digest as ZooKeeper 3.6 and later compute it.
    pub digest: u64,
}

/// Writes the state in our file at `file`, which no server may have open, to `folder` as a data folder of ZooKeeper's. The file
/// is not changed. `progress` hears how many bytes of the snapshot were written.
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
    let mut state = ReplicatedState::new(&EngineSettings::default(), random_seed()?);
    let (kept, report) = read_only(file, &mut Loading::into(&mut state)).map_err(DatadirError::store(file))?;
    // Whole under another name, so that ZooKeeper never finds a part of it.
    let mut name = home.file_name().unwrap_or_default().to_owned();
    name.push(".export");
    let begun = folder.join(name);
    if begun.symlink_metadata().is_ok() {
        // Of an export that was cut short, or that goes on: only its owner knows.
        return Err(DatadirError::Exists { path: begun });
    }
    make_folder(&begun).map_err(DatadirError::io("create the folder", &begun))?;
    let written = write_folder(&begun, &mut state, (kept.accepted_epoch, kept.current_epoch), progress);
    let placed = written.and_then(|bytes| {
        fs::rename(&begun, &home).map_err(DatadirError::io("create the folder", &home))?;
        sync(folder).map(|()| bytes)
    });
    if placed.is_err() {
        let _ = fs::remove_dir_all(&begun);
    }
    Ok(Exported {
        snapshot: home.join(name_of(&state)),
        bytes: placed?,
        zxid: report.last_zxid,
        znodes: state.tree().node_count(),
        sessions: state.session_count(),
        digest: state.tree().zookeeper_digest(),
    })
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

/// Writes everything; how many bytes the snapshot has.
fn write_folder(
    folder: &Path,
    state: &mut ReplicatedState,
    (accepted, current): (u64, u64),
    progress: &mut dyn FnMut(u64),
) -> Result<u64, DatadirError> {
    // ZooKeeper does not start when the last transaction is of a later epoch than the current one.
    let current = current.max(u64::from(state.applied().epoch()));
    for (name, epoch) in [("acceptedEpoch", accepted.max(current)), ("currentEpoch", current)] {
        let path = folder.join(name);
        let mut file = create(&path)?;
        let written = file.write_all(epoch.to_string().as_bytes()).and_then(|()| file.sync_all());
        written.map_err(DatadirError::io("write", &path))?;
    }
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
    sync(folder)?;
    Ok(file.written)
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
