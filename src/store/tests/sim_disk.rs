//! A disk in memory that can lose, tear, reorder, refuse, fill up and rot.
//!
//! Each 512-byte sector has its synced content and the versions written since. A power cut picks one of them for each
//! sector, or a cut between two at any byte (F-02, F-03). A crash of the process alone keeps the newest (F-01).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Mutex;

use crate::store::access::{Disk, ReadAt};
use crate::store::frame::FrameHead;
use crate::store::layout::{EXTENTS_AT, frame};
use crate::store::le;
use crate::store::superblock::{Copies, Superblock};

const SECTOR: usize = 512;

/// Numbers from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

/// What to do at a counted call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    /// Power goes: this call happens in part, and every later one fails.
    Crash,
    /// This call fails.
    Error(ErrorKind),
    /// This call and every later one fails.
    ErrorForEver(ErrorKind),
}

#[derive(Debug, Default)]
struct State {
    synced: Vec<u8>,
    cached: Vec<u8>,
    /// The length that a power cut cannot take back.
    synced_len: usize,
    /// Versions written since the last sync that covers the sector, oldest first.
    pending: BTreeMap<usize, Vec<[u8; SECTOR]>>,
    /// Calls that change something, counted.
    calls: u64,
    trap: Option<(u64, Trap)>,
    dead: bool,
    /// Bytes the disk has room for.
    room: u64,
    bad_reads: Vec<(u64, u64)>,
    clock: u64,
    /// Bytes per second of direct writes; 0 = no time passes.
    speed: u64,
    rng: u64,
    /// The file is where it is looked for; before that a crash leaves none.
    in_place: bool,
    /// The helper takes its time.
    paced: bool,
    /// Microseconds that a synced write takes at most.
    slow_us: u64,
    /// The highest number of a frame that is in the file, and a number that was used again.
    highest_fseq: u64,
    reused: Option<(u64, u64)>,
}

/// The disk.
#[derive(Debug)]
pub(crate) struct SimDisk(Mutex<State>);

impl SimDisk {
    pub(crate) fn new(seed: u64) -> SimDisk {
        SimDisk(Mutex::new(State { rng: seed, room: u64::MAX, ..State::default() }))
    }

    pub(crate) fn of_image(image: Vec<u8>, seed: u64) -> SimDisk {
        let disk = SimDisk::new(seed);
        {
            let mut state = disk.0.lock().unwrap();
            state.in_place = true;
            state.cached = image.clone();
            state.synced_len = image.len();
            state.synced = image;
        }
        disk
    }

    pub(crate) fn set_trap(&self, after_calls: u64, trap: Trap) {
        let mut state = self.0.lock().unwrap();
        state.trap = Some((state.calls + after_calls, trap));
    }

    pub(crate) fn set_room(&self, bytes: u64) {
        self.0.lock().unwrap().room = bytes;
    }

    pub(crate) fn fail_reads(&self, from: u64, to: u64) {
        self.0.lock().unwrap().bad_reads.push((from, to));
    }

    /// Everything can be read again.
    pub(crate) fn read_again(&self) {
        self.0.lock().unwrap().bad_reads.clear();
    }

    /// How fast direct writes are: a helper on this disk takes its time, in virtual time.
    pub(crate) fn set_speed(&self, bytes_per_second: u64) {
        self.0.lock().unwrap().speed = bytes_per_second;
    }

    /// Lets time pass, beside the 100 µs of each look at the clock.
    pub(crate) fn pass_us(&self, us: u64) {
        self.0.lock().unwrap().clock += us;
    }

    /// The helper takes as long by this disk's clock as its pace says.
    pub(crate) fn set_paced(&self) {
        self.0.lock().unwrap().paced = true;
    }

    /// It is at least so late.
    pub(crate) fn set_clock(&self, us: u64) {
        let mut state = self.0.lock().unwrap();
        state.clock = state.clock.max(us);
    }

    pub(crate) fn clock_us(&self) -> u64 {
        self.0.lock().unwrap().clock
    }

    /// Synced writes take up to so long from now on.
    pub(crate) fn set_slow(&self, most_us: u64) {
        self.0.lock().unwrap().slow_us = most_us;
    }

    /// No trap, and room again.
    pub(crate) fn heal(&self) {
        let mut state = self.0.lock().unwrap();
        (state.trap, state.room, state.slow_us) = (None, u64::MAX, 0);
    }

    /// Whether something is the matter that explains an error.
    pub(crate) fn troubled(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.dead || state.trap.is_some() || state.room != u64::MAX
    }

    /// A frame number that was given to two frames of this file, and the highest before it.
    pub(crate) fn reused(&self) -> Option<(u64, u64)> {
        self.0.lock().unwrap().reused
    }

    /// A copy on which one frame of the log has a wrong bit, if there is a frame (F-05).
    pub(crate) fn rotten(&self, rng: &mut Rng) -> Option<SimDisk> {
        let mut image = self.image();
        let mut frames = frames_in(&image, 0, 0);
        frames.sort_unstable_by_key(|(_, fseq)| *fseq);
        let last = frames.len().checked_sub(1)?;
        let at = if rng.chance(2) {
            last - rng.below(4) as usize % frames.len()
        } else {
            rng.below(last as u64 + 1) as usize
        };
        let offset = frames[at].0;
        let body = le::u32_at(&image[offset..], frame::BODY_LEN) as usize;
        let byte = offset + rng.below((frame::HEADER_LEN + body) as u64) as usize;
        *image.get_mut(byte)? ^= 1 << rng.below(8);
        Some(SimDisk::of_image(image, rng.next()))
    }

    /// A copy on which the newer of two kept snapshots has a wrong bit, if there are two (F-05).
    pub(crate) fn rotten_snapshot(&self, rng: &mut Rng) -> Option<SimDisk> {
        let mut image = self.image();
        let copies = Copies::read(&&image[..]).ok()?;
        let sb = copies.newest()?;
        let [Some(a), Some(b)] = sb.snapshots else { return None };
        let slot = usize::from(b.id > a.id);
        let at = sb.extent_at(*sb.snapshot_extents(slot).first()?) as usize + rng.below(64) as usize;
        *image.get_mut(at)? ^= 1 << rng.below(8);
        Some(SimDisk::of_image(image, rng.next()))
    }

    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    /// Sectors that were written since they were synced.
    pub(crate) fn unsynced(&self) -> usize {
        self.0.lock().unwrap().pending.len()
    }

    pub(crate) fn dead(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    /// What a reader of the running system sees.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.0.lock().unwrap().cached.clone()
    }

    /// The process is killed: the cache survives.
    pub(crate) fn after_kill(&self, seed: u64) -> SimDisk {
        let state = self.0.lock().unwrap();
        let disk = SimDisk::new(seed);
        if state.in_place {
            let mut next = disk.0.lock().unwrap();
            next.in_place = true;
            (next.synced, next.cached, next.pending) =
                (state.synced.clone(), state.cached.clone(), state.pending.clone());
            (next.synced_len, next.speed, next.clock) = (state.synced_len, state.speed, state.clock);
        }
        disk.0.lock().unwrap().goes_on_from(&state);
        disk
    }

    /// The power goes: each sector holds any version of those written since its sync, or a mix of two.
    pub(crate) fn after_power_cut(&self, rng: &mut Rng) -> SimDisk {
        let state = self.0.lock().unwrap();
        if !state.in_place {
            let disk = SimDisk::new(rng.next());
            disk.0.lock().unwrap().goes_on_from(&state);
            return disk;
        }
        let mut image = state.synced.clone();
        // Some crashes are extreme, or mixtures would hide what all-or-nothing shows.
        let style = rng.below(4);
        for (sector, versions) in &state.pending {
            let at = sector * SECTOR;
            let end = (at + SECTOR).min(image.len());
            if at >= end {
                continue;
            }
            let mut apply = |version: usize, bytes: usize| {
                if version > 0 {
                    let to = (at + bytes).min(end);
                    image[at..to].copy_from_slice(&versions[version - 1][..to - at]);
                }
            };
            match style {
                0 => {}
                1 => apply(versions.len(), SECTOR),
                _ => {
                    let version = rng.below(versions.len() as u64 + 1) as usize;
                    apply(version, SECTOR);
                    if style == 3 && rng.chance(4) {
                        let over = rng.below(versions.len() as u64 + 1) as usize;
                        let bytes = rng.below(SECTOR as u64) as usize;
                        apply(over, bytes);
                    }
                }
            }
        }
        if rng.chance(2) {
            image.truncate(state.synced_len);
        }
        let disk = SimDisk::of_image(image, rng.next());
        disk.set_speed(state.speed);
        disk.pass_us(state.clock);
        disk.0.lock().unwrap().goes_on_from(&state);
        disk
    }
}

/// Offsets and numbers of the frames in `bytes`, which lie at `at` of the file, from index `from` on.
fn frames_in(bytes: &[u8], at: usize, from: usize) -> Vec<(usize, u64)> {
    let begin = from.max((EXTENTS_AT as usize).saturating_sub(at)).next_multiple_of(frame::ALIGN);
    let places = (begin..bytes.len().saturating_sub(frame::HEADER_LEN - 1)).step_by(frame::ALIGN);
    let frames = places.filter(|place| {
        let head = &bytes[*place..];
        le::u32_at(head, frame::MAGIC) == frame::MAGIC_VALUE
            && le::u64_at(head, frame::OWN_OFFSET) == (at + place) as u64
    });
    frames.map(|place| (at + place, le::u64_at(&bytes[place..], frame::FSEQ))).collect()
}

impl State {
    /// What is true of the file whatever happened to its bytes.
    fn goes_on_from(&mut self, before: &State) {
        if before.paced {
            (self.paced, self.clock) = (true, before.clock);
            (self.room, self.slow_us) = (before.room, before.slow_us);
        }
        self.reused = before.reused;
        self.find_highest();
    }

    /// Of the frames that are there.
    fn find_highest(&mut self) {
        let copies = Copies::read(&&self.cached[..]).ok();
        let Some(seed) = copies.as_ref().and_then(Copies::newest).map(Superblock::seed) else {
            self.highest_fseq = 0;
            return;
        };
        // Of a header that was torn nobody can know the number.
        let whole = |(at, _): &&(usize, u64)| FrameHead::decode(&self.cached[*at..], seed).is_some();
        let frames = frames_in(&self.cached, 0, 0);
        self.highest_fseq = frames.iter().filter(whole).map(|(_, fseq)| *fseq).max().unwrap_or(0);
    }

    /// Frame numbers only grow in the life of a file, as far as the file shows them.
    fn look_at_frames(&mut self, buf: &[u8], at: usize) {
        for (offset, fseq) in frames_in(buf, at, 0) {
            let there = self.cached.get(offset..offset + frame::HEADER_LEN);
            if there == buf.get(offset - at..offset - at + frame::HEADER_LEN) {
                continue;
            }
            if fseq <= self.highest_fseq {
                self.reused.get_or_insert((fseq, self.highest_fseq));
            }
            self.highest_fseq = self.highest_fseq.max(fseq);
        }
    }

    /// Counts a call; tells how much of it happens.
    fn step(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.calls += 1;
        match self.trap {
            Some((at, Trap::Crash)) if self.calls >= at => {
                self.dead = true;
                Err(ErrorKind::BrokenPipe.into())
            }
            Some((at, Trap::Error(kind))) if self.calls == at => Err(kind.into()),
            Some((at, Trap::ErrorForEver(kind))) if self.calls >= at => Err(kind.into()),
            _ => Ok(()),
        }
    }

    fn write(&mut self, buf: &[u8], at: u64) -> io::Result<()> {
        let at = at as usize;
        if at + buf.len() > self.cached.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        if self.paced {
            self.look_at_frames(buf, at);
        }
        self.cached[at..at + buf.len()].copy_from_slice(buf);
        for sector in at / SECTOR..(at + buf.len()).div_ceil(SECTOR) {
            let mut content = [0; SECTOR];
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(self.cached.len());
            content[..to - from].copy_from_slice(&self.cached[from..to]);
            self.pending.entry(sector).or_default().push(content);
        }
        Ok(())
    }

    fn sync(&mut self, from: u64, to: u64) {
        let range = from as usize / SECTOR..(to as usize).div_ceil(SECTOR);
        let covered: Vec<usize> = self.pending.range(range).map(|(sector, _)| *sector).collect();
        for sector in covered {
            self.pending.remove(&sector);
            let at = sector * SECTOR;
            let end = (at + SECTOR).min(self.cached.len());
            self.synced[at..end].copy_from_slice(&self.cached[at..end]);
        }
        self.synced_len = self.synced_len.max((to as usize).min(self.cached.len()));
    }

    /// A sync that failed: the system may now take the pages for clean, though the device never got them (F-08).
    fn lose(&mut self, from: u64, to: u64) {
        let mut rng = Rng(self.rng);
        if !self.dead && rng.chance(2) {
            let range = from as usize / SECTOR..(to as usize).div_ceil(SECTOR);
            let covered: Vec<usize> = self.pending.range(range).map(|(sector, _)| *sector).collect();
            covered.iter().for_each(|sector| drop(self.pending.remove(sector)));
        }
        self.rng = rng.0;
    }
}

impl ReadAt for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().cached.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let end = at + buf.len() as u64;
        if state.bad_reads.iter().any(|(from, to)| at < *to && *from < end) {
            return Err(io::Error::other("a bad sector"));
        }
        (&state.cached[..]).read_at(buf, at)
    }
}

impl Disk for SimDisk {
    fn grow(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        if len > state.room {
            return Err(ErrorKind::StorageFull.into());
        }
        if len > state.cached.len() as u64 {
            state.cached.resize(len as usize, 0);
            state.synced.resize(len as usize, 0);
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let dead = state.dead;
        let step = state.step();
        if !dead {
            // Also when the call fails or the power goes: the bytes may have got anywhere.
            state.write(buf, at)?;
        }
        step
    }

    fn write_at_synced(&self, buf: &[u8], at: u64) -> io::Result<()> {
        let written = self.write_at(buf, at);
        let mut state = self.0.lock().unwrap();
        if state.slow_us > 0 {
            let mut rng = Rng(state.rng);
            state.clock += rng.below(state.slow_us);
            state.rng = rng.0;
        }
        match written {
            Ok(()) => state.sync(at, at + buf.len() as u64),
            Err(_) => state.lose(at, at + buf.len() as u64),
        }
        written
    }

    fn write_at_direct(&self, buf: &[u8], at: u64) -> io::Result<()> {
        assert!(at.is_multiple_of(4096) && buf.len().is_multiple_of(4096) && buf.as_ptr().align_offset(4096) == 0);
        self.write_at(buf, at)
    }

    fn read_at_direct(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.read_at(buf, at)
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let len = state.cached.len() as u64;
        let step = state.step();
        match step {
            Ok(()) => state.sync(0, len),
            Err(_) => state.lose(0, len),
        }
        step
    }

    fn drop_cache(&self) {
        let mut guard = self.0.lock().unwrap();
        let state = &mut *guard;
        state.cached.copy_from_slice(&state.synced);
        for (sector, versions) in &state.pending {
            let at = sector * SECTOR;
            let end = (at + SECTOR).min(state.cached.len());
            if let Some(newest) = versions.last() {
                state.cached[at..end].copy_from_slice(&newest[..end - at]);
            }
        }
        if state.paced {
            state.find_highest();
        }
    }

    fn paced(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.speed > 0 || state.paced
    }

    fn direct_us(&self, len: usize) -> u64 {
        (len as u64 * 1_000_000).checked_div(self.0.lock().unwrap().speed).unwrap_or(0)
    }

    fn writer(&self) -> &'static str {
        "simulated"
    }

    fn now_us(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        state.clock += 100;
        state.clock
    }

    fn random(&self, buf: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let mut rng = Rng(state.rng);
        buf.iter_mut().for_each(|b| *b = rng.next() as u8);
        state.rng = rng.0;
        Ok(())
    }

    fn is_being_created(&self) -> bool {
        !self.0.lock().unwrap().in_place
    }

    fn put_in_place(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let dead = state.dead;
        let step = state.step();
        // A power cut in the middle leaves the one or the other.
        let mut rng = Rng(state.rng);
        state.in_place = !dead && (step.is_ok() || rng.chance(2));
        state.rng = rng.0;
        step
    }
}
