//! Where the store meets the world: the file, its syncs and locks, read windows, randomness, the clock.
//!
//! The only file of the room with `unsafe` in it. Everything above sees a [`Disk`] or a [`ReadAt`], so a test can
//! tear, fill and rot what lies below.
#![allow(unsafe_code)]

use crate::store::access::{Disk, ReadAt};
use crate::store::cause::ForeignCause;
use crate::store::error::StoreError;
use crate::store::layout::PAGE;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::process::Owned;

/// Keeps SIGXFSZ from the calling thread and from those it starts, so that a write beyond the limit on file sizes
/// (`ulimit -f`) fails with EFBIG instead of ending the process. The system sends that signal to the thread that wrote, so
/// the signals of all other threads of the host stay as they are.
pub fn block_file_size_signal() {
    let mut signals = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is ours and made a valid, empty one first; only the calling thread's mask changes.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGXFSZ);
        libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
    }
}

/// A real file, locked for this handle alone.
pub struct DiskFile {
    file: Owned<File>,
    direct: Option<Owned<File>>,
    /// For synced writes past the page cache. Not `direct`, so that nobody is told of another's failed writes.
    direct_synced: Option<Owned<File>>,
    /// Cleared when the file system turns out to refuse direct or range-synced writes.
    direct_works: AtomicBool,
    direct_synced_works: AtomicBool,
    dsync_works: AtomicBool,
    /// Where it belongs.
    path: PathBuf,
    /// It is there, and not yet under the name of a creation.
    in_place: AtomicBool,
    opened: Instant,
}

impl std::fmt::Debug for DiskFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for DiskFile {
    /// A creation that came to nothing leaves nothing. A child that was forked at a bad moment may have the file open as
    /// well, and would keep it locked.
    fn drop(&mut self) {
        if self.file.is_ours() {
            if self.is_being_created() {
                let _ = std::fs::remove_file(being_created(&self.path));
            }
            // SAFETY: flock takes a descriptor, which `file` keeps open, and touches no memory of ours.
            unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) };
        }
    }
}

impl DiskFile {
    /// Opens `path` for reading and writing and locks it. When it is absent, a new file (mode 0600) is begun beside it,
    /// under a name of its own until it is [put in its place](Disk::put_in_place).
    ///
    /// # Errors
    /// [`StoreError::Locked`] when it is open elsewhere; [`StoreError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<DiskFile, StoreError> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => DiskFile::lock(file, path, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => DiskFile::begin(path),
            Err(error) => Err(StoreError::io("open the file")(error)),
        }
    }

    fn begin(path: &Path) -> Result<DiskFile, StoreError> {
        let new = being_created(path);
        // What a creation that was cut short has left is of no use, unless it goes on.
        let _left = match OpenOptions::new().read(true).write(true).open(&new) {
            Ok(file) => {
                let left = DiskFile::lock(file, path, path)?;
                std::fs::remove_file(&new).map_err(StoreError::io("remove an unfinished file"))?;
                Some(left)
            }
            Err(_) => None,
        };
        let created = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new);
        let file = created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Locked { path: path.to_owned(), holder: None },
            _ => StoreError::io("create the file")(error),
        })?;
        let begun = DiskFile::lock(file, path, &new)?;
        // Another process may have put its own in place since we looked.
        if path.symlink_metadata().is_ok() {
            return Err(StoreError::Locked { path: path.to_owned(), holder: None });
        }
        Ok(begun)
    }

    /// `path`: where it belongs; `here`: where it is.
    fn lock(file: File, path: &Path, here: &Path) -> Result<DiskFile, StoreError> {
        let file = Owned::new(file);
        // SAFETY: flock takes a descriptor, which `file` keeps open, and touches no memory of ours.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            return Err(match error.kind() {
                io::ErrorKind::WouldBlock => StoreError::Locked { path: path.to_owned(), holder: holder_of(&file) },
                _ => StoreError::io("lock the file")(error),
            });
        }
        let meta = file.metadata().map_err(StoreError::io("examine the file"))?;
        if !meta.is_file() {
            return Err(StoreError::Foreign { found: ForeignCause::NotAFile });
        }
        let open_direct = || {
            open_direct(here)
                .filter(|direct| direct.metadata().is_ok_and(|m| (m.dev(), m.ino()) == (meta.dev(), meta.ino())))
        };
        let (direct, direct_synced) = (open_direct(), open_direct());
        Ok(DiskFile {
            direct_synced_works: AtomicBool::new(direct_synced.is_some()),
            direct_works: AtomicBool::new(direct.is_some()),
            dsync_works: AtomicBool::new(cfg!(target_os = "linux")),
            file,
            direct,
            direct_synced,
            path: path.to_owned(),
            in_place: AtomicBool::new(here == path),
            opened: Instant::now(),
        })
    }

    fn direct_file(&self, at: u64, buf: &[u8]) -> Option<&File> {
        self.direct.as_deref().filter(|_| is_aligned(at, buf) && self.direct_works.load(Ordering::Relaxed))
    }

    fn direct_synced_file(&self, at: u64, buf: &[u8]) -> Option<&File> {
        self.direct_synced
            .as_deref()
            .filter(|_| is_aligned(at, buf) && self.direct_synced_works.load(Ordering::Relaxed))
    }
}

/// The process that has a file locked, as the system lists it. None from within a container that hides it.
fn holder_of(file: &File) -> Option<u32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locked_by(&locks, &places_of(file)).filter(|pid| *pid != 0)
}

/// How the list of locks may name the file: by its device and its number there, as numbers alone repeat from one file
/// system to the next.
fn places_of(file: &File) -> Vec<String> {
    let Ok(meta) = file.metadata() else { return Vec::new() };
    let mut devices = vec![format!("{:02x}:{:02x}", libc::major(meta.dev()), libc::minor(meta.dev()))];
    // Some file systems (btrfs) give their files other devices than the one that they are listed by: that of the mount.
    let described = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    devices.extend(device_of_mount(&described, &mounts));
    devices.into_iter().map(|device| format!("{device}:{}", meta.ino())).collect()
}

/// The device of the mount that a descriptor is on, from what the system tells of descriptors and of mounts.
fn device_of_mount(described: &str, mounts: &str) -> Option<String> {
    let mount = described.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    // `id parent major:minor …`, in decimal.
    let device = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        (fields.next() == Some(mount)).then(|| fields.nth(1))?
    })?;
    let (major, minor) = device.split_once(':')?;
    Some(format!("{:02x}:{:02x}", major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
}

/// Who holds the exclusive lock of the file at one of `places`, by the list of locks; 0 = a process that is not seen from here.
fn locked_by(locks: &str, places: &[String]) -> Option<u32> {
    // `number: FLOCK ADVISORY WRITE pid device:inode …`; who waits for a lock has an arrow in the second place.
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (kind, mode) = (fields.next()?, fields.nth(1)?);
        let (pid, place) = (fields.next()?, fields.next()?);
        let is_held = kind == "FLOCK" && mode == "WRITE" && places.iter().any(|of| of == place);
        is_held.then(|| pid.parse().unwrap_or(0))
    })
}

/// Whether a direct write of `buf` at `at` is allowed everywhere.
fn is_aligned(at: u64, buf: &[u8]) -> bool {
    at.is_multiple_of(PAGE as u64) && buf.len().is_multiple_of(PAGE) && buf.as_ptr().align_offset(PAGE) == 0
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> Option<Owned<File>> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path).ok().map(Owned::new)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> Option<Owned<File>> {
    None
}

/// One `pwritev2` with `RWF_DSYNC`: these bytes and the metadata needed to read them, nothing else of the file.
#[cfg(target_os = "linux")]
fn write_dsync(file: &File, mut buf: &[u8], mut at: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let vector = libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() };
        let offset = i64::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the one vector describes `buf`, which lives through the call and is only read by a write.
        let written = unsafe { libc::pwritev2(file.as_raw_fd(), &raw const vector, 1, offset, libc::RWF_DSYNC) };
        match usize::try_from(written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                buf = buf.get(written..).unwrap_or_default();
                at += written as u64;
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn write_dsync(_file: &File, _buf: &[u8], _at: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives memory that was freed back to the system, where the allocator keeps it (glibc does, for each thread that freed some).
/// It takes locks of the allocator for a while, so it is not for a loop that serves.
///
/// It stands here because all `unsafe` code outside of the C ABI stands in this file.
pub(crate) fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes a number, and moves nothing that is allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets up to `backlog` connections wait on a socket that listens already.
///
/// It stands here for the same reason.
///
/// # Errors
/// What the operating system says.
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: usize) -> io::Result<()> {
    let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
    // SAFETY: listen takes a descriptor, which is open as long as it is borrowed, and touches no memory of ours.
    match unsafe { libc::listen(socket.as_raw_fd(), backlog) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A port of 127.0.0.1 that nobody else is given while the socket is open, though nobody listens there yet: whoever names the
/// port may listen on it, any number of times. A connection is refused until then.
///
/// It stands here for the same reason.
///
/// # Errors
/// What the operating system says.
pub(crate) fn hold_port() -> io::Result<std::net::TcpListener> {
    // SAFETY: socket takes numbers only.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let yes: libc::c_int = 1;
    let size = |size: usize| libc::socklen_t::try_from(size).unwrap_or(0);
    let (level, name, len) = (libc::SOL_SOCKET, libc::SO_REUSEADDR, size(size_of_val(&yes)));
    // SAFETY: the value is a number that lives until the call is over, of the length told.
    if unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(&yes).cast(), len) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let address = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0),
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let len = size(size_of_val(&address));
    // SAFETY: the address lives until the call is over, and its length is told.
    if unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket.into())
}

/// Whether the call is not known here, as opposed to known and failed.
fn unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL))
        || error.kind() == io::ErrorKind::Unsupported
}

/// Where blocks cannot be asked for, zeros from `at` to `len` reserve them.
fn write_zeros(file: &File, mut at: u64, len: u64) -> io::Result<()> {
    let zeros = [0u8; 64 * 1024];
    while at < len {
        let count = (len - at).min(zeros.len() as u64) as usize;
        file.write_all_at(&zeros[..count], at)?;
        at += count as u64;
    }
    Ok(())
}

impl ReadAt for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, at)
    }

    fn read_past_cache(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.read_at_direct(buf, at)
    }
}

impl Disk for DiskFile {
    fn grow(&self, len: u64) -> io::Result<()> {
        let now = self.file.metadata()?.len();
        if len <= now {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        {
            let (from, count) = (now as libc::off_t, (len - now) as libc::off_t);
            loop {
                // SAFETY: fallocate takes a descriptor, which `self` keeps open, and touches no memory of ours.
                if unsafe { libc::fallocate(self.file.as_raw_fd(), 0, from, count) } == 0 {
                    return Ok(());
                }
                let error = io::Error::last_os_error();
                if unsupported(&error) {
                    break;
                }
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        write_zeros(&self.file, now, len)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(buf, at)
    }

    fn write_at_synced(&self, buf: &[u8], at: u64) -> io::Result<()> {
        if let Some(direct) = self.direct_synced_file(at, buf) {
            match write_dsync(direct, buf, at) {
                Err(error) if unsupported(&error) => self.direct_synced_works.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        if self.dsync_works.load(Ordering::Relaxed) {
            match write_dsync(&self.file, buf, at) {
                Err(error) if unsupported(&error) => self.dsync_works.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        self.file.write_all_at(buf, at)?;
        self.file.sync_data()
    }

    fn write_at_direct(&self, buf: &[u8], at: u64) -> io::Result<()> {
        if let Some(direct) = self.direct_file(at, buf) {
            match direct.write_all_at(buf, at) {
                Err(error) if unsupported(&error) => self.direct_works.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        self.file.write_all_at(buf, at)
    }

    fn read_at_direct(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        if let Some(direct) = self.direct_file(at, buf) {
            match direct.read_exact_at(buf, at) {
                Err(error) if unsupported(&error) => self.direct_works.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        self.file.read_exact_at(buf, at)
    }

    fn sync_all(&self) -> io::Result<()> {
        // Through the descriptor of the snapshots when there is one: an error of theirs is reported to them, and
        // one of the log's pages stays to be reported to the log.
        match &self.direct {
            Some(direct) => direct.sync_all(),
            None => self.file.sync_all(),
        }
    }

    fn drop_cache(&self) {
        #[cfg(target_os = "linux")]
        // SAFETY: posix_fadvise takes a descriptor, which `self` keeps open, and touches no memory of ours.
        unsafe {
            libc::posix_fadvise(self.file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
        }
    }

    fn prefetch(&self, at: u64, len: u64) {
        if self.direct_synced_works.load(Ordering::Relaxed) {
            // Nothing will be read for these writes, and pages in memory would have to be thrown out again.
            return;
        }
        #[cfg(target_os = "linux")]
        // SAFETY: posix_fadvise takes a descriptor, which `self` keeps open, and touches no memory of ours.
        unsafe {
            let (at, len) = (at as libc::off_t, len as libc::off_t);
            libc::posix_fadvise(self.file.as_raw_fd(), at, len, libc::POSIX_FADV_WILLNEED);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (at, len);
    }

    fn background(&self) -> bool {
        true
    }

    fn direct(&self) -> bool {
        self.direct_works.load(Ordering::Relaxed)
    }

    fn writer(&self) -> &'static str {
        if self.direct_synced_works.load(Ordering::Relaxed) {
            "direct"
        } else if self.dsync_works.load(Ordering::Relaxed) {
            "dsync"
        } else {
            "portable"
        }
    }

    fn now_us(&self) -> u64 {
        self.opened.elapsed().as_micros() as u64
    }

    fn random(&self, buf: &mut [u8]) -> io::Result<()> {
        getrandom::fill(buf).map_err(|error| io::Error::other(error.to_string()))
    }

    fn is_being_created(&self) -> bool {
        !self.in_place.load(Ordering::Relaxed)
    }

    fn put_in_place(&self) -> io::Result<()> {
        rename_new(&being_created(&self.path), &self.path)?;
        self.in_place.store(true, Ordering::Relaxed);
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// What the name of a file that is being created ends with.
const BEING_CREATED: &str = ".creating";

fn being_created(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BEING_CREATED);
    PathBuf::from(name)
}

/// Whether the name is that of a file that is being created.
pub(crate) fn is_being_created(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(BEING_CREATED)
}

/// Renames, unless there is something of the new name.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::ffi::CString;
        use std::os::unix::ffi::OsStrExt;
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
        let (old, new) = (text(from)?, text(to)?);
        // SAFETY: both paths are NUL-terminated and live through the call, which reads them and keeps nothing.
        let renamed = unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                libc::AT_FDCWD,
                old.as_ptr(),
                libc::AT_FDCWD,
                new.as_ptr(),
                libc::RENAME_NOREPLACE,
            )
        };
        let error = io::Error::last_os_error();
        match renamed {
            0 => return Ok(()),
            _ if unsupported(&error) => {}
            _ => return Err(error),
        }
    }
    if to.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(from, to)
}

/// A file read through read-only map windows, for looking into files that may be in use.
///
/// Nothing a server depends on goes through it: where a page under a map cannot be had, because its sector is bad or the file
/// was cut, touching it is a signal, which ends the host. So pages are asked for before they are touched, and where the
/// system cannot be asked the bytes are read by calls. What is left is a file that is cut between the two.
pub(crate) struct MappedFile {
    file: File,
    window: Mutex<Option<(u64, memmap2::MmapRaw)>>,
}

/// Bytes of a window.
const MAP_WINDOW: u64 = 4 << 20;

impl std::fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MappedFile").finish_non_exhaustive()
    }
}

impl MappedFile {
    /// Opens `path` for reading, whoever else has it open.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] when it is not a regular file, [`StoreError::Io`] otherwise.
    pub(crate) fn open(path: &Path) -> Result<MappedFile, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open the file"))?;
        let meta = file.metadata().map_err(StoreError::io("examine the file"))?;
        if !meta.is_file() {
            return Err(StoreError::Foreign { found: ForeignCause::NotAFile });
        }
        Ok(MappedFile { file, window: Mutex::new(None) })
    }

    /// Whether a server holds the lock of the file. Asks without taking it; `false` where that cannot be told.
    pub(crate) fn in_use(&self) -> bool {
        let places = places_of(&self.file);
        // The list is handed out page by page, and one that is held is left out when another before it goes meanwhile.
        let listed = |_| std::fs::read_to_string("/proc/locks").is_ok_and(|locks| locked_by(&locks, &places).is_some());
        (0..LOCK_LISTS).any(listed)
    }
}

/// How often the list of locks is read before a file counts as not in use.
const LOCK_LISTS: usize = 4;

impl ReadAt for MappedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, mut buf: &mut [u8], mut at: u64) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        if at.checked_add(buf.len() as u64).is_none_or(|end| end > len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        while !buf.is_empty() {
            let start = at / MAP_WINDOW * MAP_WINDOW;
            let here = MAP_WINDOW.min(len - start);
            let map = match window.take().filter(|(from, map)| *from == start && map.len() as u64 == here) {
                Some((_, map)) => map,
                None => memmap2::MmapOptions::new().offset(start).len(here as usize).map_raw_read_only(&self.file)?,
            };
            let from = (at - start) as usize;
            let count = buf.len().min(here as usize - from);
            let (now, later) = buf.split_at_mut(count);
            if !populate(&map, from, count)? {
                self.file.read_exact_at(now, at)?;
                (buf, at) = (later, at + count as u64);
                continue;
            }
            // SAFETY: `from + count` lies inside the map, which lives until after the copy, and the file was that long a
            // moment ago. The bytes are copied out through raw pointers, because a server may be changing them: no
            // reference into the map ever exists, and what is copied is checked before it is used.
            unsafe { std::ptr::copy_nonoverlapping(map.as_ptr().add(from), now.as_mut_ptr(), count) };
            *window = Some((start, map));
            buf = later;
            at += count as u64;
        }
        Ok(())
    }
}

/// Brings the pages in; an error where touching them would be a signal, and `false` where that cannot be told.
#[cfg(target_os = "linux")]
fn populate(map: &memmap2::MmapRaw, from: usize, count: usize) -> io::Result<bool> {
    let page = from / PAGE * PAGE;
    match map.advise_range(memmap2::Advice::PopulateRead, page, from + count - page) {
        // An older kernel does not know the advice.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        result => result.map(|()| true),
    }
}

#[cfg(not(target_os = "linux"))]
fn populate(_map: &memmap2::MmapRaw, _from: usize, _count: usize) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
#[path = "tests/disk.rs"]
mod tests;
