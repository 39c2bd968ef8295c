//! What is in the folder: snapshots, logs, epochs, the server's number.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::DatadirError;
use crate::ids::Zxid;

/// Where the files of both kinds lie below `dataDir` and `dataLogDir`.
pub(super) const VERSION: &str = "version-2";

/// A file that is named after a zxid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZxidEntry {
    /// The zxid in its name: of the first transaction in a log, of the last before a snapshot was begun.
    pub zxid: Zxid,
    /// The file.
    pub path: PathBuf,
}

/// The epochs that a member of an ensemble keeps; `None` where a file is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epochs {
    /// `acceptedEpoch`.
    pub accepted: Option<u64>,
    /// `currentEpoch`, or `currentEpoch.tmp` where that is newer.
    pub current: Option<u64>,
}

/// The files of a data folder.
#[derive(Debug, Clone)]
pub struct DataFolder {
    /// Oldest first.
    pub snapshots: Vec<ZxidEntry>,
    /// Oldest first.
    pub logs: Vec<ZxidEntry>,
    /// Of a member of an ensemble.
    pub epochs: Epochs,
    /// The number in `myid`.
    pub server_id: Option<u64>,
}

impl DataFolder {
    /// Looks for the files of a server whose `dataDir` is `data`, and whose `dataLogDir` is `logs` if that is another folder.
    /// The folder `version-2` itself may be named as well.
    ///
    /// # Errors
    /// [`DatadirError::Nothing`], [`DatadirError::MixedUp`], [`DatadirError::Epochs`], [`DatadirError::Io`].
    pub fn find(data: &Path, logs: Option<&Path>) -> Result<DataFolder, DatadirError> {
        let home = version_of(data)?;
        let (snapshots, logs_here) = named_files(&home)?;
        let logs = match logs.map(version_of).transpose()?.filter(|logs| *logs != home) {
            None => logs_here,
            Some(log_home) => {
                let (snapshots_there, logs) = named_files(&log_home)?;
                if let Some(stray) = snapshots_there.first().or(logs_here.first()) {
                    return Err(DatadirError::MixedUp { path: stray.path.clone() });
                }
                logs
            }
        };
        if snapshots.is_empty() && logs.is_empty() {
            return Err(DatadirError::Nothing { folder: data.to_owned() });
        }
        let epochs = Epochs { accepted: epoch(&home, "acceptedEpoch")?, current: epoch(&home, "currentEpoch")? };
        let current = epochs.current.max(epoch(&home, "currentEpoch.tmp").unwrap_or_default());
        let above = if home == data { home.parent().unwrap_or(data) } else { data };
        Ok(DataFolder { snapshots, logs, epochs: Epochs { current, ..epochs }, server_id: server_id(above)? })
    }
}

/// The folder with the files, given the one that the configuration names, or itself.
fn version_of(folder: &Path) -> Result<PathBuf, DatadirError> {
    let below = folder.join(VERSION);
    if below.is_dir() {
        return Ok(below);
    }
    // A folder that cannot be read is told as such.
    fs::read_dir(folder).map_err(DatadirError::io("read the folder", folder))?;
    Ok(folder.to_owned())
}

/// The snapshots and the logs in a folder, each from the oldest to the newest.
fn named_files(folder: &Path) -> Result<(Vec<ZxidEntry>, Vec<ZxidEntry>), DatadirError> {
    let read = || DatadirError::io("read the folder", folder);
    let (mut snapshots, mut logs) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(read())? {
        let entry = entry.map_err(read())?;
        let name = entry.file_name();
        let Some((kind, rest)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
        let hex =
            rest.split_once('.').filter(|(_, ending)| ["gz", "snappy"].contains(ending)).map_or(rest, |(hex, _)| hex);
        // Names with anything else in them are not ZooKeeper's, or are of files that it has not finished.
        let Ok(zxid) = i64::from_str_radix(hex, 16) else { continue };
        let file = ZxidEntry { zxid: Zxid(zxid), path: entry.path() };
        match kind {
            "snapshot" => snapshots.push(file),
            "log" if hex == rest => logs.push(file),
            _ => {}
        }
    }
    snapshots.sort_by(|a, b| (a.zxid, &a.path).cmp(&(b.zxid, &b.path)));
    logs.sort_by_key(|log| log.zxid);
    Ok((snapshots, logs))
}

/// The first line of a small file, if it is there.
fn first_line(path: &Path) -> Result<Option<String>, DatadirError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DatadirError::io("read", path)(error)),
    }
}

fn epoch(folder: &Path, name: &str) -> Result<Option<u64>, DatadirError> {
    let path = folder.join(name);
    let Some(line) = first_line(&path)? else { return Ok(None) };
    let number = line.parse::<u32>().map_err(|_| DatadirError::Epochs {
        what: format!("{} says {line:?}, which is no number of an epoch", path.display()),
    })?;
    Ok(Some(u64::from(number)))
}

fn server_id(folder: &Path) -> Result<Option<u64>, DatadirError> {
    let path = folder.join("myid");
    let Some(line) = first_line(&path)? else { return Ok(None) };
    let number = line.parse::<u64>().map_err(|_| DatadirError::Damaged {
        path: path.clone(),
        offset: 0,
        what: format!("{line:?} is no number of a server"),
    })?;
    Ok(Some(number))
}
