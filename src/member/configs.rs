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
