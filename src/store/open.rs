//! Opening: a new file, one that is gone on with, a damaged one that waits to be filled; and the clean stop.

use crate::store::access::{AlignedBuf, Disk};
use crate::store::cover::CoverCheck;
use crate::store::disk::DiskFile;
use crate::store::error::StoreError;
use crate::store::helper::HelperJob;
use crate::store::layout::{EXTENTS_AT, SLOT_AT, SLOT_LEN, first_len, sb};
use crate::store::log::{EarlierExtents, Log};
use crate::store::member::{MemberState, Soundness};
use crate::store::options::{StoreOptions, SyncMode};
use crate::store::os_error::OsError;
use crate::store::parts::Store;
use crate::store::recover::{self, EndOfLog, Recovered, RecoveryReport};
use crate::store::replay::Replay;
use crate::store::root::Root;
use crate::store::superblock::{Copies, Extent, ExtentState, Superblock};
use std::path::Path;
use std::sync::Arc;

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;

/// Bytes of a new file that are zeroed before it is used; the rest follows beside the loop.
const FIRST_ZEROS: u64 = 256 * 1024;
/// No frame of the file has a number as high as this above what the superblock knows.
const FSEQ_JUMP: u64 = 1 << 40;

impl Store {
    /// Opens the file at `path`, creating it when it is absent, and rebuilds the state through `replay`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when durable bytes are damaged, [`StoreError::Locked`] when another has the file open,
    /// [`StoreError::Foreign`], [`StoreError::Newer`], [`StoreError::WrongServer`], [`StoreError::Option`],
    /// [`StoreError::Full`] when a new file finds no room, and what the operating system refuses. The file is not
    /// changed then.
    pub fn open(
        path: &Path,
        options: &StoreOptions,
        replay: &mut dyn Replay,
    ) -> Result<(Store, RecoveryReport), StoreError> {
        options.check()?;
        Store::open_on(Arc::new(DiskFile::open(path)?), options, replay)
    }

    /// Opens the store on any [`Disk`].
    ///
    /// # Errors
    /// As [`open`](Store::open).
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: &StoreOptions,
        replay: &mut dyn Replay,
    ) -> Result<(Store, RecoveryReport), StoreError> {
        options.check()?;
        let begun = disk.now_us();
        let fresh = disk.is_being_created();
        if !fresh {
            // What a dead process left in the page cache is made durable before it is believed; then the cache is
            // dropped, because after a failed write-back it may hold what the device never got.
            disk.sync_all().map_err(|error| StoreError::SyncFailed(OsError::from(&error)))?;
            disk.drop_cache();
        }
        let (mut store, mut report) =
            if fresh { Store::create(disk, options)? } else { Store::go_on(disk, options, replay)? };
        store.draw_jitter();
        report.took_us = store.extents.root.disk.now_us().saturating_sub(begun);
        Ok((store, report))
    }

    /// Makes a new file: one extent now, the others from `tick`.
    fn create(disk: Arc<dyn Disk>, options: &StoreOptions) -> Result<(Store, RecoveryReport), StoreError> {
        let (mut file_uuid, mut secret) = ([0; 16], [0; 32]);
        disk.random(&mut file_uuid)
            .and_then(|()| disk.random(&mut secret))
            .map_err(StoreError::io("draw random bytes"))?;
        let log = Extent { state: ExtentState::Log, order: 1 };
        let mut sb = Superblock {
            generation: 0,
            file_uuid,
            extent_log2: options.extent_size.trailing_zeros(),
            incarnation: 0,
            flags: 0,
            member: MemberState { secret, ..MemberState::default() },
            server_id: options.server_id.unwrap_or(0),
            log_base_lseq: 1,
            log_head_lseq: 1,
            base_fseq: 1,
            end_fseq: 0,
            end_zxid: Zxid::ZERO,
            end_offset: EXTENTS_AT,
            snapshots: [None, None],
            first_len: first_len(options.extent_size.trailing_zeros()),
            map_extent: None,
            map: vec![log],
        };
        let full = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full { capacity: 0 },
            _ => StoreError::Io { what: "reserve space for a new file", error: OsError::from(&error) },
        };
        disk.grow(sb.file_len()).map_err(full)?;
        // Generation 1 in both mirrors of its slot, and zeros. It may share one sync, because the file is in nobody's place.
        sb.generation = 1;
        let mut image = AlignedBuf::new((EXTENTS_AT + FIRST_ZEROS.min(sb.first_len)) as usize);
        for at in SLOT_AT[1] {
            sb.encode(at, &mut image.bytes_mut()[at as usize..at as usize + SLOT_LEN]);
        }
        let failed = |error: std::io::Error| StoreError::SyncFailed(OsError::from(&error));
        disk.write_at_direct(image.bytes(), 0).map_err(failed)?;
        drop(image);
        disk.sync_all().map_err(failed)?;
        let in_place = |disk: &dyn Disk| disk.put_in_place().map_err(StoreError::io("put the new file in its place"));
        if failpoint::on(Failpoint::NameBeforeContent) {
            in_place(&*disk)?;
        }
        let (log, root) = (Log::new(&sb, 1), Root::new(disk, sb.clone(), options.sync));
        let mut store = Store::with(options, root, log);
        // With generation 2 in the first slot the file is complete, and comes to where it is looked for: what is found
        // there and is not complete was never ours to make anew.
        sb.incarnation = 1;
        store.update(sb)?;
        store.log.append_mark(&mut store.extents.root)?;
        if !failpoint::on(Failpoint::NameBeforeContent) && !failpoint::on(Failpoint::FileUnnamed) {
            in_place(&*store.extents.root.disk)?;
        }
        store.log.marked_fseq = store.log.fseq;
        store.demand.snapshot_began = store.extents.size();
        let report = RecoveryReport {
            end: EndOfLog::Created,
            snapshot: None,
            snapshot_entries: 0,
            snapshots_damaged: Vec::new(),
            replayed: 0,
            frames: 0,
            last_zxid: Zxid::ZERO,
            repaired: 0,
            incarnation: 1,
            took_us: 0,
        };
        Ok((store, report))
    }

    /// Recovers a file that is there, and seals its end.
    fn go_on(
        disk: Arc<dyn Disk>,
        options: &StoreOptions,
        replay: &mut dyn Replay,
    ) -> Result<(Store, RecoveryReport), StoreError> {
        let Recovered { sb, repairs, chain, highest_fseq, bad_slots, mut report } =
            recover::recover(&*disk, options.server_id, replay, disk.background())?;
        let newest = report.snapshot.unwrap_or_default();
        let log = Log::found(&sb, chain, newest, highest_fseq);
        let mut store = Store::with(options, Root::new(disk, sb.clone(), options.sync), log);
        report.last_zxid = store.log.last_zxid;
        let uncovered = store.log.extents.iter().find(|e| e.last_zxid > newest);
        let (size, end) = (store.extents.size(), store.log.position(store.sb()));
        store.demand.snapshot_began = uncovered.map_or(end, |extent| extent.lseq * size);
        // A lone copy is given its mirror back before anything else is written to its slot (P7).
        for (slot, mirror, copy) in &repairs {
            store.extents.root.write_copy(copy, SLOT_AT[*slot][*mirror])?;
        }
        report.repaired = repairs.len() as u32;
        let mut next = sb;
        next.incarnation += 1;
        next.flags &= !sb::FLAG_CLEAN;
        if let Some(server_id) = options.server_id {
            next.server_id = server_id;
        }
        for slot in bad_slots {
            for damaged in &report.snapshots_damaged {
                log::error!("dropping a damaged snapshot: {damaged}");
            }
            next.retire_snapshot(slot);
        }
        store.log.read_last_page(&*store.extents.root.disk)?;
        store.update(next)?;
        report.incarnation = store.sb().incarnation;
        // From now on nothing behind the end can join the chain (P3).
        store.log.append_mark(&mut store.extents.root)?;
        store.log.marked_fseq = store.log.fseq;
        if let Some(first) = store.log.extents.first().filter(|_| store.log.earlier == EarlierExtents::Unchecked) {
            let check = CoverCheck::before(store.sb(), first.lseq);
            let disk = Arc::clone(&store.extents.root.disk);
            store.extents.helper.submit(&disk, HelperJob::CheckLog(Box::new(check)));
        }
        Ok((store, report))
    }

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
        let fseq = found.end_fseq.max(found.base_fseq) + FSEQ_JUMP;
        let log = Log::hollow(&found, fseq);
        let mut store = Store::with(options, Root::new(disk, found.clone(), options.sync), log);
        store.extents.root.is_hollow = true;
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
            store.update(next)?;
        }
        Ok(store)
    }

    /// Whether the file is damaged and waits to be filled.
    pub fn is_to_be_filled(&self) -> bool {
        self.extents.root.is_hollow
    }

    /// Stops cleanly: a snapshot in progress is given up, and the exact end of the log is stored (D-11).
    ///
    /// Dropping the store without this is safe too; the next opening then looks for the end itself.
    ///
    /// # Errors
    /// [`StoreError::SyncFailed`] when this or an earlier write could not be made durable.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.extents.helper.stop();
        self.extents.root.settle()?;
        self.extents.root.alive()?;
        let mut next = self.sb().clone();
        next.flags |= sb::FLAG_CLEAN;
        if self.extents.root.sync == SyncMode::Never {
            let root = &mut self.extents.root;
            root.disk.sync_all().map_err(|error| root.poison_sync(&error))?;
        }
        self.update(next)
    }
}
