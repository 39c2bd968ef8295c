//! The superblock in force, and the one way to replace it.

use std::sync::Arc;

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::access::{AlignedBuf, Disk};
use crate::store::cause::DamageCause;
use crate::store::error::StoreError;
use crate::store::layout::{SLOT_AT, SLOT_LEN};
use crate::store::options::SyncMode;
use crate::store::os_error::OsError;
use crate::store::superblock::{Extent, ExtentState, Superblock};

/// Where the log ends, as each superblock says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogEnd {
    /// The last frame, and its last transaction or the last before it.
    pub(crate) fseq: u64,
    pub(crate) zxid: Zxid,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// While the log has no frame: the number that its first one will have.
    pub(crate) first_fseq: Option<u64>,
}

/// One of the writes that an update of the superblock takes.
pub(crate) struct RootStep {
    pub(crate) buf: AlignedBuf,
    pub(crate) at: u64,
    pub(crate) is_synced: bool,
}

/// A generation that is to be written, or is being written. Until that is over the one before is in force, and nothing else that
/// one of them names is written: no extent is given out meanwhile, and there is no other update.
struct PendingUpdate {
    next: Superblock,
    is_under_way: bool,
}

/// The file with its superblock. After a failed write or sync it takes no other: everything that writes asks here.
pub(crate) struct Root {
    pub(crate) disk: Arc<dyn Disk>,
    /// The complete generation.
    pub(crate) sb: Superblock,
    /// What the checksums of frames and chunks begin with.
    pub(crate) seed: u32,
    pub(crate) sync: SyncMode,
    /// An update is not written here but waits for whoever carries out writes: [`Root::begin_update`].
    pub(crate) defers: bool,
    pending: Option<PendingUpdate>,
    /// The file is damaged, and nothing of it counts until a state was installed.
    pub(crate) is_hollow: bool,
    buf: AlignedBuf,
    poison: Option<StoreError>,
    /// Superblock updates since the file was opened.
    pub(crate) updates: u64,
}

impl Root {
    pub(crate) fn new(disk: Arc<dyn Disk>, sb: Superblock, sync: SyncMode) -> Root {
        let (seed, buf) = (sb.seed(), AlignedBuf::new(SLOT_LEN));
        Root { disk, sb, seed, sync, defers: false, pending: None, is_hollow: false, buf, poison: None, updates: 0 }
    }

    /// Refuses when a write or a sync has failed before.
    pub(crate) fn alive(&self) -> Result<(), StoreError> {
        match &self.poison {
            Some(error) if !failpoint::on(Failpoint::NoPoison) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Refuses what needs a history.
    pub(crate) fn has_history(&self) -> Result<(), StoreError> {
        if self.is_hollow {
            return Err(StoreError::corrupt(0, DamageCause::Marked));
        }
        self.alive()
    }

    /// Why nothing is written any more.
    pub(crate) fn poisoned(&self) -> Option<&StoreError> {
        self.poison.as_ref()
    }

    /// From here on nothing is written or acknowledged (S-42, P13).
    pub(crate) fn poison_sync(&mut self, error: &std::io::Error) -> StoreError {
        let reason = StoreError::SyncFailed(OsError::from(error));
        log::error!("the store takes no more writes: {}", OsError::from(error));
        self.poison.get_or_insert(reason).clone()
    }

    pub(crate) fn write_copy(&mut self, copy: &Superblock, at: u64) -> Result<(), StoreError> {
        copy.encode(at, self.buf.bytes_mut());
        let together = failpoint::on(Failpoint::MirrorsTogether);
        if let Some(rest_at) = copy.map_rest_at(at) {
            let rest = copy.map_rest();
            let written = match self.sync {
                SyncMode::Always if !together => self.disk.write_at_synced(rest.bytes(), rest_at),
                _ => self.disk.write_at(rest.bytes(), rest_at),
            };
            written.map_err(|error| self.poison_sync(&error))?;
        }
        let written = match self.sync {
            SyncMode::Always if !together => self.disk.write_at_synced(self.buf.bytes(), at),
            _ => self.disk.write_at(self.buf.bytes(), at),
        };
        written.map_err(|error| self.poison_sync(&error))
    }

    /// Makes `next` the following generation, with the log as it ends now. What it names must be durable already; it counts
    /// when this returns, or where updates are deferred once [`Root::end_update`] was told so.
    pub(crate) fn update(&mut self, mut next: Superblock, log: LogEnd) -> Result<(), StoreError> {
        self.alive()?;
        assert!(self.pending.is_none(), "two updates of the superblock at once");
        next.generation = self.sb.generation + 1;
        for (extent, before) in next.map.iter_mut().zip(&self.sb.map) {
            if before.state == ExtentState::Retired && extent.state == ExtentState::Retired {
                *extent = Extent::FREE;
            }
        }
        if let Some(first) = log.first_fseq.filter(|_| !self.is_hollow) {
            next.base_fseq = first;
        }
        // Without syncs only a clean stop knows what is durable.
        if (self.sync == SyncMode::Always || next.clean()) && !self.is_hollow {
            (next.end_fseq, next.end_zxid, next.end_offset) = (log.fseq, log.zxid, log.offset);
        }
        next.check_itself().expect("an update keeps the superblock whole");
        if self.defers {
            self.pending = Some(PendingUpdate { next, is_under_way: false });
            return Ok(());
        }
        self.write(next)
    }

    fn write(&mut self, next: Superblock) -> Result<(), StoreError> {
        let slot = (next.generation % 2) as usize;
        self.write_copy(&next, SLOT_AT[slot][0])?;
        self.write_copy(&next, SLOT_AT[slot][1])?;
        if failpoint::on(Failpoint::MirrorsTogether) {
            self.disk.sync_all().map_err(|error| self.poison_sync(&error))?;
        }
        self.sb = next;
        self.updates += 1;
        Ok(())
    }

    /// Whether an update waits to be written, or is being written.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether an update waits for [`Root::begin_update`].
    pub(crate) fn wants_update(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !pending.is_under_way)
    }

    /// What the update that waits writes, in order.
    pub(crate) fn begin_update(&mut self) -> Option<Vec<RootStep>> {
        let is_synced = self.sync == SyncMode::Always;
        let pending = self.pending.as_mut().filter(|pending| !pending.is_under_way)?;
        pending.is_under_way = true;
        let next = &pending.next;
        let mut steps = Vec::with_capacity(4);
        for at in SLOT_AT[(next.generation % 2) as usize] {
            if let Some(rest_at) = next.map_rest_at(at) {
                steps.push(RootStep { buf: next.map_rest(), at: rest_at, is_synced });
            }
            let mut buf = AlignedBuf::new(SLOT_LEN);
            next.encode(at, buf.bytes_mut());
            steps.push(RootStep { buf, at, is_synced });
        }
        Some(steps)
    }

    /// Takes note of what became of the update that was begun.
    pub(crate) fn end_update(&mut self, result: std::io::Result<()>) -> Result<(), StoreError> {
        let pending = self.pending.take_if(|pending| pending.is_under_way).expect("an update was begun");
        result.map_err(|error| self.poison_sync(&error))?;
        self.sb = pending.next;
        self.updates += 1;
        Ok(())
    }

    /// Writes the update that waits, here and now.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        match self.pending.take_if(|pending| !pending.is_under_way) {
            Some(pending) => self.write(pending.next),
            None => {
                assert!(self.pending.is_none(), "an update of the superblock is under way");
                Ok(())
            }
        }
    }
}
