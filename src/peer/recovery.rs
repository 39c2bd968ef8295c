//! From the file to an engine: what was durable when the last process ended.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use crate::Error;
use crate::config::Config;
use crate::engine::Engine;
use crate::ids::Zxid;
use crate::store::{EndOfLog, Replay, Store, StoreOptions};

struct Loading {
    engine: Engine,
}

impl Replay for Loading {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        self.engine.load_begin(zxid);
    }

    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        self.engine.load_entry(entry).map_err(|damage| damage.0)
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        self.engine.load_end().map_err(|damage| damage.0)
    }

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.engine.replay(zxid, txn).map_err(|damage| damage.0)
    }
}

/// Opens or creates the file and brings the engine to where it ends.
pub(super) fn recover(engine: Engine, config: &Config, options: &StoreOptions) -> Result<(Engine, Store), Error> {
    let path = config.file();
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
        && !folder.exists()
    {
        let refused = |source| Error::Folder { path: folder.to_owned(), source };
        if !config.data_dir_autocreate {
            let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "missing, and datadir.autocreate is false");
            return Err(refused(missing));
        }
        // Readable by the owner only, like the file.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)?;
    }
    let mut loading = Loading { engine };
    let (store, report) =
        Store::open(&path, options, &mut loading).map_err(|error| Error::from(error).in_file(&path))?;
    match report.end {
        EndOfLog::Created => log::info!("created {}", path.display()),
        end => log::info!(
            "opened {} ({}): snapshot {}, {} transactions replayed, last zxid {}, {} znodes, in {} ms",
            path.display(),
            how_it_ended(end),
            report.snapshot.map_or("none".to_owned(), |zxid| zxid.to_string()),
            report.replayed,
            report.last_zxid,
            loading.engine.tree().node_count(),
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
    Ok((loading.engine, store))
}

/// How the last server with the file ended, for the log.
fn how_it_ended(end: EndOfLog) -> String {
    match end {
        EndOfLog::Created => "new".to_owned(),
        EndOfLog::Clean => "stopped cleanly".to_owned(),
        EndOfLog::Cut { at } => format!("not stopped cleanly, nothing acknowledged lies behind byte {at}"),
    }
}
