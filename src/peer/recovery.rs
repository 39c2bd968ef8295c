//! From the file to a state: what was durable when the last process ended.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::Error;
use crate::config::Config;
use crate::engine::{EngineSettings, ReplicatedState};
use crate::member::Loading;
use crate::store::{EndOfLog, Store};

/// Opens or creates the file and reads the state in which it ends. `seed` is for the tree's hash.
pub(super) fn recover(
    config: &Config,
    settings: &EngineSettings,
    seed: [u64; 2],
) -> Result<(Store, ReplicatedState), Error> {
    let path = config.file();
    if let Some(folder) = config.zookeeper_data() {
        return Err(Error::ZooKeeperData { folder, file: path });
    }
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
        && !folder.exists()
    {
        let refused = |source| Error::Folder { path: folder.to_owned(), source };
        if !config.data_dir_autocreate {
            let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "missing, and datadir.autocreate is false");
            return Err(refused(missing));
        }
        make_folder(folder, &mut |made_in| File::open(made_in)?.sync_all()).map_err(refused)?;
    }
    let mut state = ReplicatedState::new(settings, seed);
    let (store, report) = Store::open(&path, &config.store_options(), &mut Loading::into(&mut state))
        .map_err(|error| Error::from(error).in_file(&path))?;
    match report.end {
        EndOfLog::Created => log::info!("created {}", path.display()),
        end => log::info!(
            "opened {} ({}): snapshot {}, {} transactions replayed, last zxid {}, {} znodes, in {} ms",
            path.display(),
            how_it_ended(end),
            report.snapshot.map_or("none".to_owned(), |zxid| zxid.to_string()),
            report.replayed,
            report.last_zxid,
            state.tree().node_count(),
            report.took_us / 1000,
        ),
    }
    for damaged in &report.snapshots_damaged {
        log::error!("a snapshot is damaged and was not used: {damaged}");
    }
    if report.repaired > 0 {
        log::warn!("{} damaged superblock copies were written anew", report.repaired);
    }
    if !config.force_sync {
        log::warn!("forceSync=no: acknowledged writes are lost when the machine fails");
    }
    Ok((store, state))
}

/// Makes a folder and what is missing above it, readable by the owner only, like the file. Each name is synced into the
/// folder that holds it: else a power cut could take the file away with the folder.
fn make_folder(folder: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let here = Path::new(".");
    let above = folder.parent().map(|above| if above.as_os_str().is_empty() { here } else { above });
    if let Some(above) = above.filter(|above| !above.exists()) {
        make_folder(above, sync)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        // Somebody else was quicker, or the name ends in `..`.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => above.map_or(Ok(()), sync),
    }
}

/// How the last server with the file ended, for the log.
fn how_it_ended(end: EndOfLog) -> String {
    match end {
        EndOfLog::Created => "new".to_owned(),
        EndOfLog::Clean => "stopped cleanly".to_owned(),
        EndOfLog::Cut { at } => format!("not stopped cleanly, nothing acknowledged lies behind byte {at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_that_is_made_is_synced_into_the_one_above() {
        let base = std::env::temp_dir().join(format!("zoarium-folders-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let mut synced = Vec::new();
        let mut sync = |folder: &Path| {
            synced.push(folder.to_owned());
            Ok(())
        };
        make_folder(&base.join("a/b/c"), &mut sync).unwrap();
        make_folder(&base.join("a/b/d"), &mut sync).unwrap();
        make_folder(&base.join("a/b/d"), &mut sync).unwrap();
        assert_eq!(synced, [base.clone(), base.join("a"), base.join("a/b"), base.join("a/b")]);
        let refused = make_folder(&base.join("e/f"), &mut |_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
