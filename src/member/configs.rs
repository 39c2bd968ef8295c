//! Which configuration a member begins with: its files', or what its store knows better.

use crate::engine::ReplicatedState;
use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::records::membership::Membership;
use crate::store::{KeptConfig, MemberState, Store};
use crate::zab::Configs;

/// Both of a configuration's texts are kept in the superblock.
const _: () = assert!(2 * Membership::TEXT_MAX <= MemberState::TEXTS_MAX);

/// The configurations to begin with: the committed one of `file` and `store` that is newer, what a leader told last, and what our log
/// proposes, which was replayed into `state`. A snapshot holds what is committed and hence kept, so behind it nothing is missed.
pub fn configs_at_start(store: &Store, state: &ReplicatedState, file: Membership) -> Configs {
    let kept_state = store.member_state();
    let mut configs = Configs::of(file);
    if let Some(kept) = read(&kept_state.config).filter(|kept| kept.version > configs.committed.version) {
        if !kept.has_same_members(&configs.committed) {
            log::warn!(
                "the configuration {} in this member's file is newer than that of the configuration files",
                kept.version
            );
        }
        configs.commit(kept);
    }
    let committed = configs.committed.version;
    configs.told = read(&kept_state.config_seen).filter(|told| told.version > committed);
    if !failpoint::on(Failpoint::LoggedConfigForgotten) {
        configs.logged = state.reconfig_replayed().filter(|logged| logged.version > committed).cloned();
    }
    configs
}

fn read(kept: &KeptConfig) -> Option<Membership> {
    if kept.version == Zxid::ZERO.0 {
        return None;
    }
    let text = std::str::from_utf8(&kept.text).ok();
    let read = text.and_then(|text| Membership::parse(text).ok());
    if read.is_none() {
        log::error!("the configuration 0x{:x} that this member keeps cannot be read", kept.version);
    }
    read
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::EngineSettings;
    use crate::ids::SessionId;
    use crate::jute::{Buffer, encode};
    use crate::member::Loading;
    use crate::path;
    use crate::records::OpCode;
    use crate::records::txn::{SetDataTxn, TxnHeader};
    use crate::store::tests::sim_disk::SimDisk;
    use crate::store::tests::world::tiny;

    /// One voter of this port; 0 is the version of a file that has none.
    fn config(version: u64, port: u16) -> Membership {
        Membership::parse(&format!("server.1=host:{port}:2:participant;host:3\nversion={version:x}")).unwrap()
    }

    fn kept(config: &Membership) -> KeptConfig {
        KeptConfig { version: config.version.0, text: config.to_string().into_bytes() }
    }

    /// What a member begins with whose superblock keeps these.
    fn at_start(file: &Membership, committed: KeptConfig, seen: KeptConfig) -> Configs {
        let mut state = ReplicatedState::new(&EngineSettings::default(), [1, 2]);
        let disk = Arc::new(SimDisk::new(1));
        let (mut store, _) = Store::open_on(disk, &tiny(), &mut Loading::into(&mut state)).unwrap();
        store.keep(&MemberState { config: committed, config_seen: seen, ..store.member_state().clone() }).unwrap();
        configs_at_start(&store, &state, file.clone())
    }

    #[test]
    fn the_newer_of_file_and_superblock_is_committed_and_only_what_is_newer_still_was_told() {
        let (file, old, new, newest) = (config(5, 10), config(4, 20), config(6, 30), config(7, 40));
        let none = KeptConfig::default;
        for (committed, seen, expected) in [
            (none(), none(), Configs::of(file.clone())),
            (kept(&old), none(), Configs::of(file.clone())),
            (kept(&old), kept(&old), Configs::of(file.clone())),
            // Who changes a file and not its version means it.
            (kept(&config(5, 50)), kept(&config(5, 60)), Configs::of(file.clone())),
            (kept(&new), kept(&config(6, 60)), Configs::of(new.clone())),
            (kept(&new), none(), Configs::of(new.clone())),
            (kept(&new), kept(&new), Configs::of(new.clone())),
            (kept(&old), kept(&new), Configs { told: Some(new.clone()), ..Configs::of(file.clone()) }),
            (kept(&new), kept(&newest), Configs { told: Some(newest.clone()), ..Configs::of(new.clone()) }),
        ] {
            assert_eq!(at_start(&file, committed, seen), expected);
        }
    }

    #[test]
    fn what_the_log_proposes_counts_as_long_as_it_is_newer_than_what_is_committed() {
        // It needs a quorum of its own before anything is committed by the old one alone.
        let file = config(5, 10);
        for (version, is_newer) in [(4, false), (5, false), (6, true)] {
            let mut state = ReplicatedState::new(&EngineSettings::default(), [1, 2]);
            let (store, _) =
                Store::open_on(Arc::new(SimDisk::new(1)), &tiny(), &mut Loading::into(&mut state)).unwrap();
            let (proposed, zxid) = (config(version, 20), Zxid::new(1, 1));
            let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time: 0, op: OpCode::Reconfig as i32 };
            let text = proposed.to_string();
            let mut txn = Vec::new();
            encode(&header, &mut txn);
            encode(
                &SetDataTxn { path: path::CONFIG.into(), data: Buffer::new(text.as_bytes()), version: -1 },
                &mut txn,
            );
            state.replay(zxid, &txn).unwrap();
            let configs = configs_at_start(&store, &state, file.clone());
            assert_eq!(configs, Configs { logged: is_newer.then_some(proposed), ..Configs::of(file.clone()) });
        }
    }

    #[test]
    fn a_kept_configuration_that_cannot_be_read_leaves_the_file_in_force() {
        let file = config(5, 10);
        for text in [&b"server.1=nonsense"[..], b"\xff\xfe"] {
            let broken = KeptConfig { version: 9, text: text.to_vec() };
            assert_eq!(at_start(&file, broken.clone(), broken), Configs::of(file.clone()));
        }
    }
}
