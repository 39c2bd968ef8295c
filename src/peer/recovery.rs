//! From the file to a state: what was durable when the last process ended.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::config::Config;
use crate::engine::{EngineSettings, ReplicatedState};
use crate::member::{Loading, trust_new_file};
use crate::peer::ensemble::has_other_voters;
use crate::store::{DiskFile, EndOfLog, Store, StoreError, give_back_memory, make_folder};

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
        make_folder(folder).map_err(refused)?;
    }
    let mut state = ReplicatedState::new(settings, seed);
    let (mut store, report) = match Store::open(&path, &config.store_options(), &mut Loading::into(&mut state)) {
        Ok(opened) => opened,
        // A disk that does not answer, or a log that another release wrote, is to be seen to before anything is given up.
        Err(damage) if is_to_be_filled(config, &damage) => {
            let mut store = to_be_filled(config, &path, damage)?;
            take_initialize(config, &mut store)?;
            return Ok((store, ReplicatedState::new(settings, seed)));
        }
        Err(error) => return Err(Error::from(error).in_file(&path)),
    };
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
    // What the log created and deleted again was allocated beside what stayed.
    if report.replayed > 0 {
        give_back_memory();
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
    take_initialize(config, &mut store)?;
    Ok((store, state))
}

/// Whether the file is damaged for good, and there are others who may have what it had.
fn is_to_be_filled(config: &Config, error: &StoreError) -> bool {
    let is_damage = matches!(error, StoreError::Corrupt { cause, .. } if cause.is_of_the_bytes());
    is_damage && !config.ensemble.is_standalone() && has_other_voters(config)
}

/// Opens a damaged file of a member, whose others have what it had. Nothing in it counts, and it is kept until their state is there.
fn to_be_filled(config: &Config, path: &Path, damage: StoreError) -> Result<Store, Error> {
    let opened =
        DiskFile::open(path).and_then(|disk| Store::open_to_be_filled(Arc::new(disk), &config.store_options()));
    let store = opened.map_err(|error| {
        log::error!("{}: {damage}", path.display());
        Error::from(error).in_file(path)
    })?;
    log::error!(
        "{}: {damage}; the file is damaged, and a leader that the others elect will fill it. Where they cannot elect one without \
         this server, stop it and move the file away: it begins with a new one, and what only the damaged file had is lost",
        path.display()
    );
    Ok(store)
}

/// Takes away the file `initialize` in the `dataDir` of a member, by which an operator says that a new file is no loss, as ZooKeeper does
/// at each start: it must not speak for a file that gets lost later. Before it goes, our file has its word, which holds until
/// that file is lost or filled.
fn take_initialize(config: &Config, store: &mut Store) -> Result<(), Error> {
    let file = config.data_dir.join("initialize");
    if config.ensemble.is_standalone() || !file.exists() {
        return Ok(());
    }
    let is_new = trust_new_file(store).map_err(|error| Error::from(error).in_file(&config.file()))?;
    let taken = std::fs::remove_file(&file).and_then(|()| File::open(&config.data_dir)?.sync_all());
    match taken {
        Ok(()) => {
            let what = if is_new {
                "this member votes though its file is new"
            } else {
                "it says nothing of a file that is not new"
            };
            log::info!("{} was there, and is taken away: {what}", file.display());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Folder { path: file, source }),
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
    use crate::config::ServerLine;
    use crate::ids::{ServerId, Zxid};
    use crate::store::{DamageCause, Soundness};

    fn member_of(servers: u64) -> Config {
        let mut config = Config { server_id: ServerId(1), ..Config::default() };
        for id in (1..=servers).map(ServerId) {
            let line = ServerLine::parse(id, "localhost:2888:3888").unwrap();
            config.ensemble.servers.insert(id, line);
        }
        config.ensemble.standalone_enabled = false;
        config
    }

    #[test]
    fn only_a_file_that_is_damaged_for_good_is_given_up_and_only_where_others_may_have_what_it_had() {
        // L-10
        let lost = StoreError::corrupt(7, DamageCause::NoSuperblock);
        let of_another_release =
            || DamageCause::TxnRefused { zxid: Zxid(1), why: "an operation of another release".into() };
        assert!(is_to_be_filled(&member_of(3), &lost));
        assert!(!is_to_be_filled(&member_of(3), &StoreError::corrupt(7, of_another_release())));
        assert!(!is_to_be_filled(&member_of(1), &lost), "nobody else has it");
    }

    #[test]
    fn the_word_that_a_new_file_is_no_loss_outlives_a_crash_and_not_the_file() {
        // SC-51
        let folder = std::env::temp_dir().join(format!("zoarium-initialize-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = Config { data_dir: folder.clone(), ..member_of(3) };
        let settings = EngineSettings::default();
        // Nothing is closed: each process is killed.
        let start = || recover(&config, &settings, [1, 2]).unwrap().0.member_state().soundness;
        let said = || File::create(folder.join("initialize")).map(drop).unwrap();
        assert_eq!(start(), Soundness::Sound);
        said();
        assert_eq!([start(), start()], [Soundness::NewAndTrusted; 2]);
        assert!(!folder.join("initialize").exists(), "it is good for one start");
        // Killed with the word in both places.
        said();
        assert_eq!([start(), start()], [Soundness::NewAndTrusted; 2]);
        std::fs::remove_file(config.file()).unwrap();
        assert_eq!(start(), Soundness::Sound, "it was said of the file that is lost");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
