//! State to bytes and back: snapshots taken while transactions run, and loading one.
//!
//! Entries are opaque to the store. Tags below 16 are the tree's; ours are for sessions.

use super::Engine;
use super::state::{Damage, ReplicatedState};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, SessionId, Zxid};
use crate::jute::{Decoder, encode};
use crate::tree::{LargeData, LeavingOut, Tree, TreeLoader};

/// A session: id, timeout in ms.
const TAG_SESSION: u8 = 16;
/// The highest session id ever seen of one server; one entry for each server that ever issued any.
const TAG_HIGHEST_ID: u8 = 17;

impl ReplicatedState {
    /// Begins a snapshot of the state as it is now. Sessions are written at once, the tree in slices.
    pub fn snapshot_begin(&mut self, emit: &mut dyn FnMut(&[u8])) {
        self.snapshot_begin_leaving(LeavingOut::NOTHING, emit);
    }

    /// The same of a snapshot that may leave data to the log that is kept with it: [`fill`](ReplicatedState::fill) takes it from
    /// there.
    pub fn snapshot_begin_leaving(&mut self, leave: LeavingOut, emit: &mut dyn FnMut(&[u8])) {
        let mut entry = Vec::new();
        for highest in self.sessions.highest_ids().filter(|_| !failpoint::on(Failpoint::HighestIdForgotten)) {
            entry.clear();
            entry.push(TAG_HIGHEST_ID);
            encode(&highest.0, &mut entry);
            emit(&entry);
        }
        for (id, session) in self.sessions.sorted() {
            if failpoint::on(Failpoint::SessionsForgotten) {
                continue;
            }
            entry.clear();
            entry.push(TAG_SESSION);
            encode(&(id.0, session.timeout_ms), &mut entry);
            emit(&entry);
        }
        self.tree.snapshot_begin_leaving(leave, emit);
    }

    /// Writes some more of it; true when it is whole.
    pub fn snapshot_slice(&mut self, nodes_max: usize, emit: &mut dyn FnMut(&[u8])) -> bool {
        self.tree.snapshot_slice(nodes_max, emit)
    }

    /// About how many bytes a snapshot would take now.
    pub fn snapshot_estimate(&self) -> u64 {
        self.tree.snapshot_estimate() + 32 * self.sessions.len() as u64
    }

    /// Starts over from nothing: a snapshot of `zxid` follows.
    pub fn load_begin(&mut self, zxid: Zxid) {
        self.loader = Some(TreeLoader::new(self.seed));
        self.tree = Tree::new(self.seed);
        self.sessions.clear();
        self.applied = zxid;
        self.reconfig_replayed = None;
    }

    /// Takes one entry of a snapshot.
    ///
    /// # Errors
    /// [`Damage`] when it is none.
    pub fn load_entry(&mut self, entry: &[u8]) -> Result<(), Damage> {
        match entry.split_first() {
            Some((&TAG_SESSION, body)) => {
                let (id, timeout_ms): (i64, i32) = read(body)?;
                self.sessions.begin(Millis(0), SessionId(id), timeout_ms);
                Ok(())
            }
            Some((&TAG_HIGHEST_ID, body)) => {
                self.sessions.saw(SessionId(read(body)?));
                Ok(())
            }
            _ => match &mut self.loader {
                Some(loader) => loader.entry(entry).map_err(Damage),
                None => Err(Damage("a snapshot entry without a snapshot".into())),
            },
        }
    }

    /// The snapshot is whole.
    ///
    /// # Errors
    /// [`Damage`] when something is missing from it.
    pub fn load_end(&mut self) -> Result<(), Damage> {
        if let Some(loader) = self.loader.take() {
            self.tree = loader.finish().map_err(Damage)?;
        }
        Ok(())
    }

    /// The data that the snapshot leaves to the log has come.
    ///
    /// # Errors
    /// [`Damage`] when some has not.
    pub fn load_filled(&self) -> Result<(), Damage> {
        if self.tree.lacks_data() {
            return Err(Damage("the log does not have all of the data that the snapshot leaves to it".into()));
        }
        Ok(())
    }
}

/// The same of the state that is served.
impl Engine {
    /// Begins a snapshot of the state as applied now.
    pub fn snapshot_begin(&mut self, emit: &mut dyn FnMut(&[u8])) {
        self.state.snapshot_begin(emit);
    }

    /// The same of a snapshot that may leave data of `least` bytes and more to the log, as far as that has it after `after`.
    pub fn snapshot_begin_leaving(&mut self, after: Zxid, least: usize, emit: &mut dyn FnMut(&[u8])) {
        let leave = LeavingOut { after, upto: self.state.applied, least };
        self.state.snapshot_begin_leaving(leave, emit);
    }

    /// What it has of large data so far.
    pub fn snapshot_large(&self) -> LargeData {
        self.state.tree.snapshot_large()
    }

    /// Writes some more of it; true when it is whole.
    pub fn snapshot_slice(&mut self, nodes_max: usize, emit: &mut dyn FnMut(&[u8])) -> bool {
        self.state.snapshot_slice(nodes_max, emit)
    }

    /// Forgets about it.
    pub fn snapshot_abort(&mut self) {
        self.state.tree.snapshot_abort();
    }

    /// About how many bytes a snapshot would take now.
    pub fn snapshot_estimate(&self) -> u64 {
        self.state.snapshot_estimate()
    }
}

fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Damage> {
    Decoder::with_limit(body, body.len()).read().map_err(|error| Damage(format!("snapshot entry: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::{Buffer, encoded};

    #[test]
    fn an_entry_may_hold_more_than_the_usual_request() {
        let data = vec![7; 5 << 20];
        let entry = encoded(&Buffer::new(&data));
        assert_eq!(read::<Buffer<'_>>(&entry).unwrap().0, Some(&data[..]));
    }
}
