//! What is to be durable: what the leader decides, appended to our log, and the record that is kept beside it.

use super::EnsemblePart;
use crate::ids::Zxid;
use crate::member::{EngineSeat, Host, MemberFailure, MemberParts};
use crate::records::membership::Membership;
use crate::session::{SessionPasswords, SessionSecret};
use crate::store::{KeptConfig, LogWrite, MemberState, Record, Soundness, Store, StoreError};
use crate::zab::{Configs, EpochPasswords, MemberRecord, Standing, ZabEvent};

/// How long an append that found no room waits before it is tried again, ms.
const FULL_PAUSE_MS: u64 = 200;

/// A record that is to be durable before this is told.
pub(super) struct Keeping {
    run: u64,
    record: MemberRecord,
    configs: Option<Box<Configs>>,
    /// It is on its way, and not behind another write of the superblock any more.
    is_begun: bool,
}

impl Keeping {
    /// Not begun.
    pub(super) fn new(run: u64, record: MemberRecord, configs: Option<Box<Configs>>) -> Keeping {
        Keeping { run, record, configs, is_begun: false }
    }
}

impl EnsemblePart {
    /// The transactions of the history that are not in our log.
    fn unlogged(&self, store: &Store) -> impl Iterator<Item = usize> {
        self.zab.txns(store.last_zxid(), self.zab.history().last()).map(|(_, txn)| txn.len())
    }

    /// Bytes of what was decided, here or by the leader, and is not in our log.
    pub(in crate::member) fn unlogged_bytes(&self, store: &Store) -> usize {
        self.unlogged(store).sum::<usize>() + self.held.iter().map(|one| one.txn.len()).sum::<usize>()
    }

    /// Takes what the engine decided, if there is room for it in our own log: what was sent cannot be taken back.
    pub(in crate::member) fn propose<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
    ) -> Result<(), MemberFailure> {
        self.awaits_link = false;
        if !matches!(self.standing, Standing::Leading { .. }) || self.is_leaving {
            return Ok(());
        }
        self.held.extend(parts.engine.poll_proposals());
        if self.held.is_empty() {
            return Ok(());
        }
        // What was sent to others and is not in our log yet needs its room, too.
        let mut sizes = std::mem::take(&mut self.sizes);
        sizes.clear();
        sizes.extend(self.unlogged(parts.store).chain(self.held.iter().map(|one| one.txn.len())));
        self.sizes = sizes;
        // More may be linked once the superblock is written.
        self.awaits_link = parts.store.is_rearranging() && !parts.store.has_room_linked(&self.sizes);
        if self.awaits_link {
            return Ok(());
        }
        match parts.store.reserve(&self.sizes) {
            Ok(()) => {
                let decided = self.held.drain(..).map(|one| (one.zxid, one.txn)).collect();
                self.handle(parts, host, ZabEvent::Decided(decided))
            }
            Err(error @ (StoreError::Full { .. } | StoreError::TooLarge { .. })) => {
                let is_alone = self.zab.history().committed() == self.zab.history().last();
                if is_alone && self.deliveries.is_empty() && !parts.engine.is_applying() {
                    log::error!("{error}: {} writes were refused", self.held.len());
                    self.held.clear();
                    parts.engine.abandon_proposals();
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Begins to append what the history has and the log has not.
    pub(in crate::member) fn begin_append<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
    ) -> Result<Option<LogWrite>, MemberFailure> {
        let now = host.time().0;
        if parts.store.is_writing() || self.retry_at.is_some_and(|at| now < at) {
            return Ok(None);
        }
        let Some((run, upto)) = self.appending.or_else(|| self.zab.begin_append()) else { return Ok(None) };
        // A whole history may have come, and what is logged of it is room well used, though there be none for all.
        let (mut size, fill) = (0, parts.store.frame_fill());
        let unlogged = self.zab.txns(parts.store.last_zxid(), upto);
        let records: Vec<Record<'_>> = unlogged
            .take_while(|(_, txn)| {
                size += txn.len();
                size - txn.len() < fill
            })
            .map(|(zxid, txn)| Record { zxid: *zxid, txn })
            .collect();
        let begun = parts.store.append_begin(&records);
        self.appending = Some((run, upto));
        let was_full = self.retry_at.take().is_some();
        match begun {
            Ok(None) => {
                self.appended(parts, host)?;
                Ok(None)
            }
            Ok(write) => Ok(write),
            // The leader will leave us behind; once there is room we go on.
            Err(error @ StoreError::Full { .. }) => {
                if !was_full {
                    log::error!("{error}: this member cannot follow until there is space");
                }
                self.retry_at = Some(now.plus(FULL_PAUSE_MS));
                Ok(None)
            }
            Err(error @ StoreError::TooLarge { .. }) => {
                log::error!("{error}: this member cannot follow its leader, whose limits are larger");
                self.appending = None;
                self.handle(parts, host, ZabEvent::AppendFailed)?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether what the leader sent has no room in the log, and a snapshot of what was recovered may make some. Of a configuration that is
    /// proposed only the log tells until it is known to be committed, so no snapshot may take the place of that.
    pub(in crate::member) fn makes_room(&self) -> bool {
        self.retry_at.is_some() && self.configs().is_none_or(|configs| !configs.is_pending())
    }

    /// The role has ended. What it sent and found no room is nobody's: the next election does not wait for space.
    pub(super) fn forget_what_lacks_room(&mut self, store: &Store) {
        if self.retry_at.take().is_some()
            && let Some((run, _)) = self.appending.take()
        {
            self.follow_ups.push_back(ZabEvent::Synced { run, upto: store.last_zxid() });
        }
    }

    /// The log is on disk further than it was: perhaps as far as was asked for.
    pub(in crate::member) fn appended<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
    ) -> Result<(), MemberFailure> {
        if let Some(kept) = self.go_on_keeping(parts)? {
            self.handle(parts, host, kept)?;
        }
        if !parts.store.is_writing()
            && let Some((run, to)) = self.truncating.take()
        {
            let is_done = self.truncate(parts, to)?;
            self.handle(parts, host, ZabEvent::Truncated { run, is_done })?;
        }
        if !parts.store.is_rearranging()
            && let Some((run, at, state)) = self.to_install.take()
        {
            self.install(parts, run, at, *state)?;
        }
        match self.appending {
            Some((run, upto)) if parts.store.last_zxid() >= upto => {
                self.appending = None;
                self.handle(parts, host, ZabEvent::Synced { run, upto })
            }
            _ => Ok(()),
        }
    }

    /// Begins to keep a record unless another write of the superblock is before it. What is to be told once it is durable.
    pub(super) fn go_on_keeping<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
    ) -> Result<Option<ZabEvent>, MemberFailure> {
        let Some(keeping) = &mut self.keeping else { return Ok(None) };
        if !parts.store.is_rearranging() && !keeping.is_begun {
            parts.store.keep(&kept(parts.store, keeping.record, keeping.configs.as_deref()))?;
            keeping.is_begun = true;
        }
        let is_over = keeping.is_begun && !parts.store.is_rearranging();
        let kept = if is_over { self.keeping.take() } else { None };
        Ok(kept.map(|keeping| ZabEvent::Kept { run: keeping.run }))
    }
}

/// What was kept.
pub(super) fn record_of(store: &Store) -> MemberRecord {
    let state = store.member_state();
    let epoch = |kept: u64| u32::try_from(kept).unwrap_or(u32::MAX);
    MemberRecord {
        accepted_epoch: epoch(state.accepted_epoch),
        current_epoch: epoch(state.current_epoch),
        passwords: EpochPasswords {
            mode: SessionPasswords::of_code(state.passwords),
            secret: SessionSecret(state.secret),
        },
    }
}

/// What is kept with this record and these configurations; without them, those that the file has stay.
pub(super) fn kept(store: &Store, record: MemberRecord, configs: Option<&Configs>) -> MemberState {
    let mut state = MemberState {
        accepted_epoch: record.accepted_epoch.into(),
        current_epoch: record.current_epoch.into(),
        passwords: record.passwords.mode.map_or(0, SessionPasswords::code),
        secret: record.passwords.secret.0,
        ..store.member_state().clone()
    };
    // Once it has a leader's history it is a file as any other.
    if record.current_epoch > 0 && state.soundness == Soundness::NewAndTrusted {
        state.soundness = Soundness::Sound;
    }
    if let Some(configs) = configs {
        state.config = text_of(&configs.committed);
        state.config_seen = configs.told.as_ref().map(text_of).unwrap_or_default();
    }
    state
}

/// What a file says without a version stays the file's.
fn text_of(config: &Membership) -> KeptConfig {
    match config.version {
        Zxid::ZERO => KeptConfig::default(),
        version => KeptConfig { version: version.0, text: config.to_string().into_bytes() },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{EngineSettings, ReplicatedState};
    use crate::ids::{Millis, ServerId};
    use crate::member::{JoinSettings, Loading};
    use crate::store::tests::sim_disk::SimDisk;
    use crate::store::tests::world::tiny;
    use crate::zab::{Majority, Quorum, Quorums, ZabSettings};

    fn store() -> Store {
        let mut state = ReplicatedState::new(&EngineSettings::default(), [1, 2]);
        Store::open_on(Arc::new(SimDisk::new(1)), &tiny(), &mut Loading::into(&mut state)).unwrap().0
    }

    fn config(version: u64) -> Membership {
        Membership::parse(&format!("server.1=host:1:2:participant;host:3\nversion={version:x}")).unwrap()
    }

    fn record(accepted_epoch: u32, current_epoch: u32) -> MemberRecord {
        let passwords =
            EpochPasswords { mode: Some(SessionPasswords::Moving), secret: SessionSecret([accepted_epoch as u8; 32]) };
        MemberRecord { accepted_epoch, current_epoch, passwords }
    }

    #[test]
    fn no_snapshot_makes_room_in_place_of_a_log_that_proposes_a_configuration() {
        // S-11
        let committed = Configs::of(config(5));
        let proposed = Configs { logged: Some(config(9)), ..committed.clone() };
        for (configs, makes_room) in [(None, true), (Some(committed), true), (Some(proposed), false)] {
            let settings = ZabSettings {
                me: ServerId(1),
                is_participant: true,
                quorums: Quorums::of(Quorum::Majority(Majority::new(vec![ServerId(1), ServerId(2)]))),
                config: "version=0".into(),
                tick_ms: 100,
                init_limit: 10,
                sync_limit: 5,
                reconfig: configs,
                passwords: None,
            };
            let mut part = EnsemblePart::new(Millis(0), settings, JoinSettings::default(), &store(), Zxid(9));
            assert!(!part.makes_room(), "there is room");
            part.retry_at = Some(Millis(1));
            assert_eq!(part.makes_room(), makes_room);
        }
    }

    #[test]
    fn what_is_kept_of_a_record_is_read_back_as_it_was() {
        // S-08, D-01, D-02
        let mut store = store();
        for record in [record(1, 0), record(3, 2), record(4, 4)] {
            store.keep(&kept(&store, record, None)).unwrap();
            let again = record_of(&store);
            assert_eq!((again.accepted_epoch, again.current_epoch), (record.accepted_epoch, record.current_epoch));
            assert!(again.passwords == record.passwords, "the passwords of epoch {}", record.accepted_epoch);
        }
    }

    #[test]
    fn a_new_file_that_its_operator_trusts_is_as_any_other_once_it_has_a_leaders_history() {
        // F-21
        let mut store = store();
        let new = MemberState { soundness: Soundness::NewAndTrusted, ..store.member_state().clone() };
        store.keep(&new).unwrap();
        assert_eq!(kept(&store, record(1, 0), None).soundness, Soundness::NewAndTrusted, "it has promised an epoch");
        assert_eq!(kept(&store, record(1, 1), None).soundness, Soundness::Sound);
    }

    #[test]
    fn configurations_are_kept_as_they_are_and_those_of_the_files_are_left_to_the_files() {
        let mut store = store();
        let both = Configs { told: Some(config(9)), ..Configs::of(config(5)) };
        let state = kept(&store, record(1, 1), Some(&both));
        assert_eq!((state.config.version, state.config_seen.version), (5, 9));
        let read = |kept: &KeptConfig| Membership::parse(std::str::from_utf8(&kept.text).unwrap()).unwrap();
        assert_eq!((read(&state.config), read(&state.config_seen)), (config(5), config(9)));
        store.keep(&state).unwrap();
        let other = kept(&store, record(2, 1), None);
        assert_eq!((other.config.version, other.config_seen.version), (5, 9), "they stay");
        let committed = kept(&store, record(2, 1), Some(&Configs::of(config(9))));
        assert_eq!((committed.config.version, committed.config_seen), (9, KeptConfig::default()));
        let of_files = kept(&store, record(2, 1), Some(&Configs::of(config(0))));
        assert_eq!((of_files.config, of_files.config_seen), (KeptConfig::default(), KeptConfig::default()));
    }
}
