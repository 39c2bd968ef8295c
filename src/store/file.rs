//! The open store: its parts, the superblock updates, the clock's share of the work.

use std::path::Path;
use std::sync::Arc;

use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, Zxid};
use crate::store::disk::{AlignedBuf, Disk, DiskFile};
use crate::store::error::StoreError;
use crate::store::extents::ExtentState;
use crate::store::extents::{self, ExtentPool};
use crate::store::helper::Helper;
use crate::store::layout::{EXTENTS_AT, SLOT_AT, SLOT_LEN, first_len, sb};
use crate::store::log::Tail;
use crate::store::member::MemberState;
use crate::store::options::{StoreOptions, StoreStats, SyncMode};
use crate::store::os_error::OsError;
use crate::store::read::Pins;
use crate::store::recover::{self, EndOfLog, Recovered, RecoveryReport, Replay};
use crate::store::snapshot::{Build, SnapshotDone};
use crate::store::superblock::{Extent, Superblock};

/// Bytes of a new file that are zeroed before it is used; the rest follows beside the loop.
const FIRST_ZEROS: u64 = 256 * 1024;
/// The append buffer of an idle server.
const APPEND_BUF: usize = 64 * 1024;
/// How often finished work of the helper is looked for.
const HELPER_POLL_MS: u64 = 10;
/// The same while writes wait for it.
const HELPER_POLL_SOON_MS: u64 = 1;

/// One open file: a log of transactions and snapshots of what they made.
///
/// Owned by one thread. [`append`](Store::append) returns when its records are durable; [`tick`](Store::tick) does what
/// is due by the clock and wants to be called when [`poll_timeout`](Store::poll_timeout) says so. What may be slow
/// (snapshots, growth) goes on beside, on a thread that exists only while there is such work.
///
/// Invariants: 1. nothing is acknowledged before its sync has returned; 2. after a failed write or sync nothing is
/// written any more (S-42); 3. only extents that are FREE in the complete superblock generation are written, or the
/// log's own behind its end (S-43); 4. superblock updates are made one at a time, each after everything it names.
pub struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: StoreOptions,
    pub(crate) sb: Superblock,
    sb_buf: AlignedBuf,
    pub(crate) seed: u32,
    pub(crate) log: Tail,
    /// The highest frame number seen when the file was opened: ours are above.
    pub(crate) fseq_floor: u64,
    pub(crate) pool: ExtentPool,
    pub(crate) helper: Helper,
    pub(crate) build: Option<Build>,
    pub(crate) verified: bool,
    pub(crate) snapshot_id: u64,
    /// Stream bytes of a snapshot of the state as it is now, at most; 0 = not told.
    pub(crate) state_size: u64,
    /// The most of these since the file was opened.
    pub(crate) snapshot_largest: u64,
    /// Where the log ended when the newest published snapshot began.
    pub(crate) snapshot_began: u64,
    /// Extents when the file was opened: it does not shrink.
    pub(crate) extents_at_open: u64,
    /// The cursors that read the log.
    pub(crate) pins: Pins,
    /// Writes were told to wait, when they last asked.
    pub(crate) log_waits: bool,
    /// The caller asks in every turn what may be logged.
    pub(crate) is_paced: bool,
    pub(crate) snapshot_not_before: Millis,
    /// Spreads the snapshots of an ensemble: 0 to 255 parts of an eighth of the window.
    pub(crate) jitter: u8,
    pub(crate) now: Millis,
    /// Since when nothing was appended, as far as `tick` has seen.
    pub(crate) idle_since: Option<Millis>,
    /// The last records were known to be durable when this frame was written.
    pub(crate) marked_fseq: u64,
    /// A frame was built and is being written.
    pub(crate) is_writing: bool,
    /// Whoever calls carries out all writes of the log: see [`set_marks_apart`](Store::set_marks_apart).
    pub(crate) has_marks_apart: bool,
    /// The end of the log is to be marked.
    pub(crate) is_mark_due: bool,
    /// It is damaged, and nothing of it counts until a state was installed.
    pub(crate) is_hollow: bool,
    pub(crate) poison: Option<StoreError>,
    pub(crate) stats: StoreStats,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("last_zxid", &self.log.last_zxid)
            .field("generation", &self.sb.generation)
            .field("extents", &self.sb.map.len())
            .finish_non_exhaustive()
    }
}

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
        report.took_us = store.disk.now_us().saturating_sub(begun);
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
            member: MemberState::default(),
            server_id: options.server_id.unwrap_or(0),
            log_base_lseq: 1,
            log_head_lseq: 1,
            base_fseq: 1,
            end_fseq: 0,
            end_zxid: Zxid::ZERO,
            end_offset: EXTENTS_AT,
            snapshots: [None, None],
            secret,
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
        let extent = sb.extent_at(0);
        let mut store = Store::with(
            disk,
            options,
            sb.clone(),
            Tail {
                lseq: 1,
                index: 0,
                at: extent,
                fseq: 0,
                last_crc: 0,
                last_zxid: Zxid::ZERO,
                last_txns_fseq: 0,
                extents: Vec::new(),
                truncs: Vec::new(),
                buf: AlignedBuf::new(APPEND_BUF),
            },
        );
        // With generation 2 in the first slot the file is complete, and comes to where it is looked for: what is found
        // there and is not complete was never ours to make anew.
        sb.incarnation = 1;
        store.update_superblock(sb)?;
        store.append_mark()?;
        if !failpoint::on(Failpoint::NameBeforeContent) && !failpoint::on(Failpoint::FileUnnamed) {
            in_place(&*store.disk)?;
        }
        store.marked_fseq = store.log.fseq;
        store.snapshot_began = store.sb.extent_size();
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
        let mut store = Store::with(
            disk,
            options,
            sb.clone(),
            Tail {
                lseq: chain.lseq,
                index: chain.index,
                at: chain.at,
                fseq: chain.fseq,
                last_crc: chain.last_crc,
                last_zxid: chain.last_zxid.max(report.snapshot.unwrap_or_default()),
                last_txns_fseq: chain.last_txns_fseq,
                extents: chain.extents,
                truncs: chain.truncs,
                buf: AlignedBuf::new(APPEND_BUF),
            },
        );
        report.last_zxid = store.log.last_zxid;
        store.fseq_floor = highest_fseq;
        let newest = report.snapshot.unwrap_or_default();
        let uncovered = store.log.extents.iter().find(|e| e.last_zxid > newest);
        let size = store.sb.extent_size();
        store.snapshot_began = uncovered.map_or(store.log_position(), |extent| extent.lseq * size);
        // A lone copy is given its mirror back before anything else is written to its slot (P7).
        for (slot, mirror, copy) in &repairs {
            store.write_copy(copy, SLOT_AT[*slot][*mirror])?;
        }
        report.repaired = repairs.len() as u32;
        let mut next = sb;
        next.incarnation += 1;
        next.flags &= !sb::FLAG_CLEAN;
        if let Some(server_id) = options.server_id {
            next.server_id = server_id;
        }
        for slot in bad_slots {
            log::error!("dropping a damaged snapshot: {:?}", report.snapshots_damaged);
            next.retire_snapshot(slot);
        }
        store.read_last_page()?;
        store.update_superblock(next)?;
        report.incarnation = store.sb.incarnation;
        // From now on nothing behind the end can join the chain (P3).
        store.append_mark()?;
        store.marked_fseq = store.log.fseq;
        Ok((store, report))
    }

    pub(crate) fn with(disk: Arc<dyn Disk>, options: &StoreOptions, sb: Superblock, log: Tail) -> Store {
        Store {
            options: options.clone(),
            seed: sb.seed(),
            sb_buf: AlignedBuf::new(SLOT_LEN),
            fseq_floor: log.fseq,
            log,
            pool: ExtentPool::default(),
            helper: Helper::new(options.snapshot_rate),
            build: None,
            verified: false,
            snapshot_id: 0,
            state_size: 0,
            snapshot_largest: 0,
            snapshot_began: 0,
            extents_at_open: sb.map.len() as u64,
            pins: Pins::default(),
            log_waits: false,
            is_paced: false,
            sb,
            snapshot_not_before: Millis(0),
            jitter: 0,
            now: Millis(0),
            idle_since: None,
            marked_fseq: 0,
            is_writing: false,
            has_marks_apart: false,
            is_mark_due: false,
            is_hollow: false,
            poison: None,
            stats: StoreStats::default(),
            disk,
        }
    }

    pub(crate) fn draw_jitter(&mut self) {
        let mut one = [0];
        if self.disk.random(&mut one).is_ok() {
            self.jitter = one[0];
        }
    }

    /// Refuses when a write or a sync has failed before.
    pub(crate) fn alive(&self) -> Result<(), StoreError> {
        match &self.poison {
            Some(error) if !failpoint::on(Failpoint::NoPoison) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// From here on nothing is written or acknowledged (S-42, P13).
    pub(crate) fn poison_sync(&mut self, error: &std::io::Error) -> StoreError {
        let reason = StoreError::SyncFailed(OsError::from(error));
        log::error!("the store takes no more writes: {}", OsError::from(error));
        self.poison.get_or_insert(reason).clone()
    }

    fn write_copy(&mut self, copy: &Superblock, at: u64) -> Result<(), StoreError> {
        copy.encode(at, self.sb_buf.bytes_mut());
        let together = failpoint::on(Failpoint::MirrorsTogether);
        if let Some(rest_at) = copy.map_rest_at(at) {
            let rest = copy.map_rest();
            let written = match self.options.sync {
                SyncMode::Always if !together => self.disk.write_at_synced(rest.bytes(), rest_at),
                _ => self.disk.write_at(rest.bytes(), rest_at),
            };
            written.map_err(|error| self.poison_sync(&error))?;
        }
        let written = match self.options.sync {
            SyncMode::Always if !together => self.disk.write_at_synced(self.sb_buf.bytes(), at),
            _ => self.disk.write_at(self.sb_buf.bytes(), at),
        };
        written.map_err(|error| self.poison_sync(&error))
    }

    /// Makes `next` the following generation. What it names must be durable already; it counts when this returns.
    pub(crate) fn update_superblock(&mut self, mut next: Superblock) -> Result<(), StoreError> {
        self.alive()?;
        next.generation = self.sb.generation + 1;
        for (extent, before) in next.map.iter_mut().zip(&self.sb.map) {
            if before.state == ExtentState::Retired && extent.state == ExtentState::Retired {
                *extent = Extent::FREE;
            }
        }
        if self.log.extents.is_empty() && !self.is_hollow {
            next.base_fseq = self.log.fseq.max(self.fseq_floor) + 1;
        }
        // Without syncs only a clean stop knows what is durable.
        if (self.options.sync == SyncMode::Always || next.clean()) && !self.is_hollow {
            (next.end_fseq, next.end_zxid, next.end_offset) = (self.log.fseq, self.log.last_zxid, self.log.at);
        }
        next.check_itself().expect("an update keeps the superblock whole");
        let slot = (next.generation % 2) as usize;
        self.write_copy(&next, SLOT_AT[slot][0])?;
        self.write_copy(&next, SLOT_AT[slot][1])?;
        if failpoint::on(Failpoint::MirrorsTogether) {
            self.disk.sync_all().map_err(|error| self.poison_sync(&error))?;
        }
        self.sb = next;
        self.stats.superblock_updates += 1;
        Ok(())
    }

    /// Does what is due at `now`: marks the end of an idle log, links and grows ahead, moves a snapshot on.
    ///
    /// `Some` tells the end of a snapshot, good or bad.
    ///
    /// # Errors
    /// [`StoreError::SyncFailed`], which is final.
    pub fn tick(&mut self, now: Millis) -> Result<Option<SnapshotDone>, StoreError> {
        self.alive()?;
        self.now = self.now.max(now);
        // Whatever updates the superblock waits for the disk, and it is at work.
        if self.is_writing {
            return Ok(None);
        }
        while let Some(done) = self.helper.poll(&*self.disk) {
            self.handle_done(done)?;
        }
        self.tend_pins();
        self.tend_growth()?;
        self.link_ahead()?;
        if self.log.last_txns_fseq > self.marked_fseq && self.options.mark_after_ms > 0 {
            match self.idle_since {
                None => self.idle_since = Some(self.now),
                Some(since) if self.now.since(since) < self.options.mark_after_ms => {}
                Some(_) if self.has_marks_apart => self.is_mark_due = true,
                Some(_) => {
                    self.marked_fseq = self.log.fseq;
                    self.append_mark()?;
                }
            }
        }
        self.tend_snapshot()
    }

    /// Marks of the end of the log are begun by [`mark_begin`](Store::mark_begin) and by nothing else from now on, so that
    /// [`tick`](Store::tick) waits for the disk only where space is rearranged.
    pub fn set_marks_apart(&mut self) {
        self.has_marks_apart = true;
    }

    /// Milliseconds from `now` until [`tick`](Store::tick) has something to do; `None` while nothing is due.
    pub fn poll_timeout(&self, now: Millis) -> Option<u64> {
        if self.poison.is_some() || self.is_writing {
            return None;
        }
        let mark = (self.log.last_txns_fseq > self.marked_fseq && self.options.mark_after_ms > 0)
            .then(|| self.idle_since.map_or(0, |since| since.plus(self.options.mark_after_ms).since(now)));
        let grows = self.sb.map.len() < extents::initial_extents(&self.options, self.sb.extent_size());
        let poll = if self.log_waits { HELPER_POLL_SOON_MS } else { HELPER_POLL_MS };
        let helper = (self.helper.active() || self.build.is_some()).then_some(poll);
        let growth = (grows && !self.helper.active()).then(|| self.growth_pause(now));
        [mark, helper, growth].into_iter().flatten().min()
    }

    /// The last transaction appended or recovered.
    pub fn last_zxid(&self) -> Zxid {
        self.log.last_zxid
    }

    /// The file's identity, random at its creation.
    pub fn file_uuid(&self) -> [u8; 16] {
        self.sb.file_uuid
    }

    /// 32 random bytes kept in the file since its creation, for the keys of whoever owns it. Not for logs.
    pub fn secret(&self) -> [u8; 32] {
        self.sb.secret
    }

    /// The accepted and the current epoch.
    pub fn epochs(&self) -> (u64, u64) {
        (self.sb.member.accepted_epoch, self.sb.member.current_epoch)
    }

    /// What is kept beside the log, as [`keep`](Store::keep) left it.
    pub fn member_state(&self) -> &MemberState {
        &self.sb.member
    }

    /// Keeps the epochs and what else a member of an ensemble must not forget, in one superblock update; durable on
    /// return (D-01, D-03).
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when the texts do not fit, and nothing was changed; [`StoreError::SyncFailed`], which is
    /// final.
    ///
    /// # Panics
    /// When an epoch would fall, or the current one pass the accepted one (S-08).
    pub fn keep(&mut self, state: &MemberState) -> Result<(), StoreError> {
        self.check_member_state(state)?;
        let mut next = self.sb.clone();
        next.member = state.clone();
        self.update_superblock(next)
    }

    /// Whether `state` may be kept after what is kept now.
    pub(crate) fn check_member_state(&self, state: &MemberState) -> Result<(), StoreError> {
        let (accepted, current) = (state.accepted_epoch, state.current_epoch);
        let kept = &self.sb.member;
        assert!(accepted >= kept.accepted_epoch && current >= kept.current_epoch, "an epoch would fall");
        assert!(current <= accepted, "current epoch {current} above accepted epoch {accepted}");
        let (size, limit) = (state.texts_len(), MemberState::TEXTS_MAX);
        if size > limit {
            return Err(StoreError::TooLarge { size: size as u64, limit: limit as u64 });
        }
        Ok(())
    }

    /// Stores the epochs and leaves what else is kept; durable on return.
    ///
    /// # Errors
    /// As [`keep`](Store::keep), and it panics as that does.
    pub fn set_epochs(&mut self, accepted: u64, current: u64) -> Result<(), StoreError> {
        let state = MemberState { accepted_epoch: accepted, current_epoch: current, ..self.sb.member.clone() };
        self.keep(&state)
    }

    /// Counts syncs of the log, and their times, from zero.
    pub fn reset_sync_times(&mut self) {
        (self.stats.fsync_count, self.stats.fsync_total_us, self.stats.fsync_max_us) = (0, 0, 0);
    }

    /// What the store did and how it is.
    pub fn stats(&self) -> StoreStats {
        let newest = self.sb.snapshots.iter().flatten().max_by_key(|kept| kept.id);
        let size = self.sb.extent_size();
        StoreStats {
            snapshot_zxid: newest.map_or(Zxid::ZERO, |kept| kept.zxid),
            snapshot_bytes: newest.map_or(0, |kept| kept.bytes),
            log_since_snapshot: self.log_since_snapshot(),
            file_bytes: self.sb.file_len(),
            file_bound: self.bytes_of(self.bound_extents()),
            file_max: self.bytes_of(u64::from(extents::extents_most(&self.options, size))),
            writer: self.disk.writer(),
            durable: self.options.sync == SyncMode::Always,
            direct: self.disk.direct(),
            incarnation: self.sb.incarnation,
            poisoned: self.poison.clone(),
            ..self.stats.clone()
        }
    }

    /// Stops cleanly: a snapshot in progress is given up, and the exact end of the log is stored (D-11).
    ///
    /// Dropping the store without this is safe too; the next opening then looks for the end itself.
    ///
    /// # Errors
    /// [`StoreError::SyncFailed`] when this or an earlier write could not be made durable.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.helper.stop();
        self.alive()?;
        let mut next = self.sb.clone();
        next.flags |= sb::FLAG_CLEAN;
        if self.options.sync == SyncMode::Never {
            self.disk.sync_all().map_err(|error| self.poison_sync(&error))?;
        }
        self.update_superblock(next)
    }
}
