//! A damaged file that waits to be filled by other members: nothing of it is loaded, nothing is logged, and what it has is
//! left where it is until a whole state takes its place.

use std::sync::Arc;

use crate::ids::Zxid;
use crate::store::disk::{AlignedBuf, Disk};
use crate::store::error::StoreError;
use crate::store::file::Store;
use crate::store::layout::sb;
use crate::store::log::Tail;
use crate::store::member::{MemberState, Soundness};
use crate::store::options::StoreOptions;
use crate::store::superblock::Copies;

/// No frame of the file has a number as high as this above what the superblock knows.
const FSEQ_JUMP: u64 = 1 << 40;

impl Store {
    /// Opens a file that [`open_on`](Store::open_on) calls damaged, for a member whose peers will fill it: marks it as damaged, which
    /// survives until [`install_begin`](Store::install_begin) has come to its end. Until then only
    /// [`keep`](Store::keep) and an installation are possible, and the history is empty.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when no copy of the superblock is valid, which leaves nothing to go on from, and the other
    /// errors of [`open_on`](Store::open_on).
    pub fn open_to_be_filled(disk: Arc<dyn Disk>, options: &StoreOptions) -> Result<Store, StoreError> {
        options.check()?;
        let copies = Copies::read(&*disk).map_err(StoreError::io("read the superblocks"))?;
        let found = match copies.newest() {
            Some(newest) => newest.clone(),
            None => copies.choose()?.clone(),
        };
        if let Some(expected) = options.server_id.filter(|id| *id != found.server_id && found.server_id != 0) {
            return Err(StoreError::WrongServer { expected, found: found.server_id });
        }
        let len = disk.len().map_err(StoreError::io("examine the file"))?;
        if len < found.file_len() {
            // Space that was cut off comes back empty.
            disk.grow(found.file_len()).map_err(StoreError::io("give the file back its length"))?;
        }
        let index = found.log_extent(found.log_head_lseq).expect("the superblock was checked: every lseq is there");
        let mut store = Store::with(
            disk,
            options,
            found.clone(),
            Tail {
                lseq: found.log_head_lseq,
                index,
                at: found.extent_at(index),
                fseq: found.end_fseq.max(found.base_fseq) + FSEQ_JUMP,
                last_crc: 0,
                last_zxid: Zxid::ZERO,
                last_txns_fseq: 0,
                extents: Vec::new(),
                truncs: Vec::new(),
                buf: AlignedBuf::new(64 * 1024),
            },
        );
        store.is_hollow = true;
        let mut next = found;
        next.incarnation += 1;
        next.flags = (next.flags & !sb::FLAG_CLEAN) | sb::FLAG_DAMAGED;
        next.member = MemberState { soundness: Soundness::Damaged, ..next.member };
        if let Some(server_id) = options.server_id {
            next.server_id = server_id;
        }
        // Twice, so that both slots are whole again.
        for _ in 0..2 {
            let next = next.clone();
            store.update_superblock(next)?;
        }
        Ok(store)
    }

    /// Whether the file is damaged and waits to be filled.
    pub fn is_to_be_filled(&self) -> bool {
        self.is_hollow
    }

    /// Refuses what needs a history.
    pub(crate) fn has_history(&self) -> Result<(), StoreError> {
        if self.is_hollow {
            return Err(StoreError::corrupt(0, "the file is marked as damaged and waits to be filled by its peers"));
        }
        self.alive()
    }
}
