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

/// The file with its superblock. After a failed write or sync it takes no other: everything that writes asks here.
pub(crate) struct Root {
    pub(crate) disk: Arc<dyn Disk>,
    /// The complete generation.
    pub(crate) sb: Superblock,
    /// What the checksums of frames and chunks begin with.
    pub(crate) seed: u32,
    pub(crate) sync: SyncMode,
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
        Root { disk, sb, seed, sync, is_hollow: false, buf, poison: None, updates: 0 }
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
    /// when this returns.
    pub(crate) fn update(&mut self, mut next: Superblock, log: LogEnd) -> Result<(), StoreError> {
        self.alive()?;
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
}
