//! A state from another server's stream (SNAP): built apart, and taken over when all of it is there and on disk.
//!
//! Until [`Engine::take_over`] the engine's own state is what it was, so a stream that breaks leaves nothing behind.

use super::Engine;
use super::retell::EXACT;
use super::settings::EngineSettings;
use super::state::{Damage, ReplicatedState};
use crate::ids::{Millis, SessionId, Zxid};
use crate::jute::FIELD_SIZE_MAX;
use crate::records::javasnap::{Fed, StateItem, StateReader};
use crate::tree::StateLoader;
use crate::watches::Watches;

/// A stream that is being heard.
pub struct StateHearing {
    reader: StateReader,
    making: Making,
}

struct Making {
    loader: StateLoader,
    /// All of the state but its znodes, which `loader` has.
    state: ReplicatedState,
    is_exact: bool,
}

/// Bytes of a path or of a znode's data in a snapshot file, at most: a server may have been told to take large ones.
const FILE_FIELD_SIZE_MAX: usize = 64 << 20;

impl StateHearing {
    /// Sets out to hear the state at `at` from a snapshot file, for a server with `settings`, whose tree hashes by `seed`.
    pub fn of_file(settings: &EngineSettings, seed: [u64; 2], at: Zxid) -> StateHearing {
        let mut state = ReplicatedState::new(settings, seed);
        state.applied = at;
        let making = Making { loader: StateLoader::new(seed), state, is_exact: false };
        StateHearing { reader: StateReader::of_file(FILE_FIELD_SIZE_MAX), making }
    }

    /// Takes in the next bytes of the stream. What lies behind its end is not consumed.
    ///
    /// # Errors
    /// [`Damage`] when they cannot be a state; nothing more is to be fed then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Damage> {
        let making = &mut self.making;
        let fed = self.reader.feed(bytes, &mut |item| making.item(item));
        fed.map_err(|error| Damage(format!("the state is broken: {error}")))
    }

    /// The stream is whole: puts the state together.
    ///
    /// # Errors
    /// [`Damage`] when something is missing from it.
    pub fn finish(self) -> Result<ReplicatedState, Damage> {
        let Making { loader, mut state, is_exact } = self.making;
        state.tree = loader.finish(is_exact).map_err(|why| Damage(format!("the state is broken: {why}")))?;
        Ok(state)
    }
}

impl Making {
    fn item(&mut self, item: StateItem<'_>) -> Result<(), String> {
        match item {
            StateItem::Session { id, timeout_ms } => {
                let (id, sessions) = (SessionId(id), &mut self.state.sessions);
                if id == SessionId::NONE || sessions.get(id).is_some() {
                    return Err(format!("session {id} comes twice, or cannot be"));
                }
                sessions.begin(Millis(0), id, timeout_ms);
                Ok(())
            }
            StateItem::Acl { number, list } => {
                self.is_exact |= matches!(&list[..], [acl] if acl.perms == 0
                    && (acl.id.scheme.as_str(), acl.id.id.as_str()) == EXACT);
                self.loader.acl(number, &list)
            }
            StateItem::Znode { path, data, acl, stat } => self.loader.znode(path, data, acl, &stat),
        }
    }
}

impl Engine {
    /// Sets out to hear the state at `at`. The engine's own is left alone.
    pub fn hear(&self, at: Zxid) -> StateHearing {
        let seed = self.state.seed;
        let mut state = ReplicatedState::new(&self.settings, seed);
        state.applied = at;
        // The stream does not say which ids this server has issued (S-27).
        self.state.sessions.highest_ids().for_each(|id| state.sessions.saw(id));
        let field_size_max = FIELD_SIZE_MAX.max(self.settings.limits.record_size_max);
        let making = Making { loader: StateLoader::new(seed), state, is_exact: false };
        StateHearing { reader: StateReader::new(field_size_max), making }
    }

    /// Goes on with a state that was heard, and is on disk by now, in place of its own. No client may be
    /// served meanwhile: watches are forgotten, and a snapshot of the old state that was being taken is over.
    pub fn take_over(&mut self, heard: ReplicatedState) {
        let before = std::mem::replace(&mut self.state, heard);
        self.state.transactions += before.transactions;
        // Clients may have come while it was heard (S-27).
        before.sessions.highest_ids().for_each(|id| self.state.sessions.saw(id));
        self.stands_anew();
    }

    /// Forgets its state, and `load` reads it again from the file. No client may be served meanwhile.
    ///
    /// # Errors
    /// What `load` says; the engine must not be used any more then.
    pub fn reload<E>(&mut self, load: impl FnOnce(&mut ReplicatedState) -> Result<(), E>) -> Result<(), E> {
        // First, so that no two states need memory at a time.
        self.state.load_begin(Zxid::ZERO);
        let loaded = load(&mut self.state);
        self.stands_anew();
        loaded
    }

    fn stands_anew(&mut self) {
        self.watches = Watches::new(self.state.seed);
        self.decider.start_over(self.state.applied);
    }
}
