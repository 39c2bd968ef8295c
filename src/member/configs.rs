//! Which configuration a member begins with: its files', or what its store knows better.

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::records::membership::Membership;
use crate::store::{KeptConfig, MemberState, Store};
use crate::zab::Configs;

/// Both of a configuration's texts are kept in the superblock.
const _: () = assert!(2 * Membership::TEXT_MAX <= MemberState::TEXTS_MAX);

/// The configurations to begin with: the committed one of `file` and `store` that is newer, what a leader told last, and what our log
/// proposes. `in_tree`: the data of `/zookeeper/config` as it was recovered.
pub fn configs_at_start(store: &Store, in_tree: Option<&[u8]>, file: Membership) -> Configs {
    let state = store.member_state();
    let mut configs = Configs::of(file);
    if let Some(kept) = read(&state.config).filter(|kept| kept.version > configs.committed.version) {
        if !kept.has_same_members(&configs.committed) {
            log::warn!(
                "the configuration {} in this member's file is newer than that of the configuration files",
                kept.version
            );
        }
        configs.commit(kept);
    }
    let committed = configs.committed.version;
    configs.told = read(&state.config_seen).filter(|told| told.version > committed);
    if !failpoint::on(Failpoint::LoggedConfigForgotten) {
        let in_tree = in_tree.and_then(text);
        configs.logged = in_tree.filter(|logged| logged.version > committed && logged.version.counter() > 0);
    }
    configs
}

fn read(kept: &KeptConfig) -> Option<Membership> {
    if kept.version == Zxid::ZERO.0 {
        return None;
    }
    let read = text(&kept.text);
    if read.is_none() {
        log::error!("the configuration 0x{:x} that this member keeps cannot be read", kept.version);
    }
    read
}

fn text(bytes: &[u8]) -> Option<Membership> {
    Membership::parse(std::str::from_utf8(bytes).ok()?).ok()
}
