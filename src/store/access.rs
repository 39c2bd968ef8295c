//! How the store reaches its file: bytes by position, syncs, and the little else that it needs from outside.
//!
//! Everything above sees a [`Disk`] or a [`ReadAt`], so that a test can tear, fill and rot what lies below.

use std::io;

use crate::store::layout::PAGE;

/// Bytes that can be read by position, from several threads at once.
pub trait ReadAt: Sync {
    /// How many bytes there are.
    ///
    /// # Errors
    /// What the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buf` with the bytes from `at` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when there are fewer; else what the operating system says.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()>;

    /// The same for much that is read once: past the page cache where that is possible, which is where `buf`, its length
    /// and `at` are multiples of 4 KiB.
    ///
    /// # Errors
    /// As [`read_at`](ReadAt::read_at).
    fn read_past_cache(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.read_at(buf, at)
    }

    /// Whether there is nothing at all.
    ///
    /// # Errors
    /// As [`len`](ReadAt::len).
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl ReadAt for &[u8] {
    fn len(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let from = usize::try_from(at).ok();
        let found = from.and_then(|from| self.get(from..from.checked_add(buf.len())?));
        buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The bytes at `at`, at most `most`, as far as the source has them.
pub(crate) fn read_present(source: &(impl ReadAt + ?Sized), at: u64, most: usize) -> io::Result<Vec<u8>> {
    let present = source.len()?.saturating_sub(at).min(most as u64) as usize;
    let mut buf = vec![0; present];
    if present > 0 {
        source.read_at(&mut buf, at)?;
    }
    Ok(buf)
}

/// One file as the store uses it, and the little else it needs from outside.
///
/// Calls may come from two threads at once; they never touch the same bytes then. "Synced" means: survives a power
/// cut once the call has returned success. Offsets and lengths count bytes.
pub trait Disk: ReadAt + Send + Sync {
    /// Makes the file at least `len` bytes long with blocks behind them, so that writing there cannot run out of space.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] and the like: an answer, not a failure of the file.
    fn grow(&self, len: u64) -> io::Result<()>;

    /// Writes without syncing.
    ///
    /// # Errors
    /// After one, what lies there is unknown.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()>;

    /// Writes and syncs these bytes, and no others.
    ///
    /// # Errors
    /// After one, what lies there is unknown, and a repetition proves nothing.
    fn write_at_synced(&self, buf: &[u8], at: u64) -> io::Result<()>;

    /// Writes past the page cache where that is possible. `buf`, its length and `at` are multiples of 4 KiB.
    /// Not synced.
    ///
    /// # Errors
    /// After one, what lies there is unknown.
    fn write_at_direct(&self, buf: &[u8], at: u64) -> io::Result<()>;

    /// Reads past the page cache where that is possible, so that what is seen is what the device holds.
    ///
    /// # Errors
    /// As [`read_at`](ReadAt::read_at).
    fn read_at_direct(&self, buf: &mut [u8], at: u64) -> io::Result<()>;

    /// Syncs everything written so far, the length included.
    ///
    /// # Errors
    /// After one, nothing written since the last sync may be believed.
    fn sync_all(&self) -> io::Result<()>;

    /// Forgets clean cached pages, so that the next read asks the device.
    fn drop_cache(&self) {}

    /// Announces that `at..at + len` is written soon.
    fn prefetch(&self, at: u64, len: u64) {
        let _ = (at, len);
    }

    /// Whether snapshots and growth may run on a thread of their own; else they run inside `tick`.
    fn background(&self) -> bool {
        false
    }

    /// Where they run inside `tick`: whether they then take as long by [`now_us`](Disk::now_us) as on the thread.
    fn paced(&self) -> bool {
        false
    }

    /// Microseconds that a direct write of so many bytes takes, where there is no thread for it and the time is the
    /// one of [`now_us`](Disk::now_us). Until they have passed, `tick` begins no other piece of a snapshot or of growth.
    fn direct_us(&self, len: usize) -> u64 {
        let _ = len;
        0
    }

    /// Whether direct writes really are direct.
    fn direct(&self) -> bool {
        true
    }

    /// How synced writes are made, for the status.
    fn writer(&self) -> &'static str;

    /// Microseconds on a clock that never goes back.
    fn now_us(&self) -> u64;

    /// Fills `buf` with unpredictable bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn random(&self, buf: &mut [u8]) -> io::Result<()>;

    /// Whether this file is a new one that nobody looks for yet, since it is not in its place.
    fn is_being_created(&self) -> bool;

    /// Puts the new file, complete and synced, in its place, and makes its name survive a power cut (D-12).
    ///
    /// # Errors
    /// What the operating system says; [`io::ErrorKind::AlreadyExists`] when another file is there by now.
    fn put_in_place(&self) -> io::Result<()>;
}

/// A buffer whose start is a multiple of 4 KiB, as direct writes ask.
#[derive(Debug, Default)]
pub(crate) struct AlignedBuf {
    raw: Vec<u8>,
    start: usize,
    capacity: usize,
}

impl AlignedBuf {
    /// A zeroed buffer of `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> AlignedBuf {
        let raw = vec![0u8; capacity + PAGE];
        let start = raw.as_ptr().align_offset(PAGE);
        assert!(start < PAGE, "a byte pointer can be aligned within a page");
        AlignedBuf { raw, start, capacity }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.raw[self.start..self.start + self.capacity]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.raw[self.start..self.start + self.capacity]
    }
}
