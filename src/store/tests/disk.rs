//! Real files: what each way of writing leaves, what is refused, and that a fallback is only taken where there is need.

use super::*;
use crate::store::access::{AlignedBuf, read_present};
use crate::store::tests::real::Folder;

fn opened(folder: &Folder) -> DiskFile {
    let disk = DiskFile::open(&folder.file()).unwrap();
    disk.grow(1 << 20).unwrap();
    disk
}

fn read(disk: &DiskFile, at: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    disk.read_at(&mut buf, at).unwrap();
    buf
}

// One snapshot chunk that is not aligned must not make all later ones go through the page cache.
#[test]
fn a_buffer_that_is_not_aligned_is_written_and_turns_nothing_off() {
    let folder = Folder::new();
    let disk = opened(&folder);
    let (direct, writer) = (disk.direct(), disk.writer());
    let mut buf = AlignedBuf::new(3 * PAGE);
    buf.bytes_mut().iter_mut().enumerate().for_each(|(i, b)| *b = (i % 251) as u8);
    for (at, range) in [
        (0, 0..PAGE),
        (PAGE as u64, 1..1 + PAGE),
        (2 * PAGE as u64 + 8, 0..PAGE),
        (4 * PAGE as u64, 0..100),
        (5 * PAGE as u64, PAGE..3 * PAGE),
    ] {
        let piece = &buf.bytes()[range.clone()];
        disk.write_at_direct(piece, at).unwrap();
        assert_eq!(read(&disk, at, piece.len()), piece, "direct, at {at}");
        disk.write_at_synced(piece, at + (64 << 10)).unwrap();
        assert_eq!(read(&disk, at + (64 << 10), piece.len()), piece, "synced, at {at}");
        let mut back = vec![0; piece.len()];
        disk.read_at_direct(&mut back, at).unwrap();
        assert_eq!(back, piece, "read past the cache, at {at}");
        assert_eq!((disk.direct(), disk.writer()), (direct, writer), "at {at}");
    }
    assert!(is_aligned(0, buf.bytes()) && is_aligned(PAGE as u64, &buf.bytes()[PAGE..]));
    assert!(!is_aligned(8, buf.bytes()) && !is_aligned(0, &buf.bytes()[8..]) && !is_aligned(0, &buf.bytes()[..8]));
    assert!(!is_aligned(0, &buf.bytes()[8..8 + PAGE]));
}

#[test]
fn every_way_of_writing_leaves_the_same_bytes_and_is_named() {
    let folder = Folder::new();
    std::fs::write(folder.file(), []).unwrap();
    let disk = opened(&folder);
    assert_eq!(disk.direct(), open_direct(&folder.file()).is_some(), "where the file system can, it is used");
    let mut buf = AlignedBuf::new(2 * PAGE);
    if disk.direct_synced.is_some() {
        assert_eq!(disk.writer(), "direct");
    }
    for (round, name) in [(1, "dsync"), (2, "portable")] {
        disk.direct_synced_works.store(false, Ordering::Relaxed);
        disk.direct_works.store(false, Ordering::Relaxed);
        disk.dsync_works.store(round == 1, Ordering::Relaxed);
        assert_eq!((disk.writer(), disk.direct()), (name, false));
        buf.bytes_mut().fill(round);
        disk.write_at_synced(buf.bytes(), 0).unwrap();
        disk.write_at_direct(buf.bytes(), 1 << 16).unwrap();
        assert_eq!(read(&disk, 0, 2 * PAGE), buf.bytes());
        assert_eq!(read(&disk, 1 << 16, 2 * PAGE), buf.bytes());
        let mut back = vec![0; 2 * PAGE];
        disk.read_at_direct(&mut back, 1 << 16).unwrap();
        assert_eq!(back, buf.bytes());
    }
}

// A disk that fails must not be taken for one that lacks a call, or its error would be forgotten.
#[test]
fn only_what_a_system_does_not_know_is_done_in_another_way() {
    for (code, expected) in [
        (libc::ENOSYS, true),
        (libc::EOPNOTSUPP, true),
        (libc::EINVAL, true),
        (libc::EIO, false),
        (libc::ENOSPC, false),
        (libc::EFBIG, false),
        (libc::EBADF, false),
    ] {
        assert_eq!(unsupported(&io::Error::from_raw_os_error(code)), expected, "{code}");
    }
    assert!(unsupported(&io::ErrorKind::Unsupported.into()));
    assert!(!unsupported(&io::Error::other("a bad sector")));
    // A failure is told.
    let read_only = File::open("/proc/self/exe").unwrap();
    assert!(write_dsync(&read_only, &[1; 8], 0).is_err());
}

#[test]
fn bytes_are_empty_only_when_there_are_none() {
    let (none, one): (&[u8], &[u8]) = (&[], &[0]);
    assert!(none.is_empty() && ReadAt::is_empty(&none).unwrap() && !ReadAt::is_empty(&one).unwrap());
    assert_eq!(read_present(&one, 0, 10).unwrap(), [0]);
    assert_eq!((read_present(&one, 1, 10).unwrap(), read_present(&one, 5, 10).unwrap()), (vec![], vec![]));
    let folder = Folder::new();
    let disk = DiskFile::open(&folder.file()).unwrap();
    assert!(ReadAt::is_empty(&disk).unwrap());
    disk.grow(1).unwrap();
    assert!(!ReadAt::is_empty(&disk).unwrap());
}

#[test]
fn what_is_no_regular_file_is_refused_and_the_refusal_says_so() {
    let folder = Folder::new();
    let made = std::process::Command::new("mkfifo").arg(folder.file()).status();
    assert!(made.is_ok_and(|status| status.success()));
    match DiskFile::open(&folder.file()) {
        Err(StoreError::Foreign { found }) => assert_eq!(found, ForeignCause::NotAFile),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_grows_with_zeros_and_never_shrinks() {
    let folder = Folder::new();
    let disk = DiskFile::open(&folder.file()).unwrap();
    disk.grow(100_000).unwrap();
    disk.write_at(&[7; 10], 99_990).unwrap();
    disk.grow(50_000).unwrap();
    disk.grow(100_000).unwrap();
    assert_eq!((disk.len().unwrap(), read(&disk, 99_990, 10)), (100_000, vec![7; 10]));
    disk.grow(300_001).unwrap();
    assert_eq!((disk.len().unwrap(), read(&disk, 99_990, 10)), (300_001, vec![7; 10]));
    assert!(read(&disk, 100_000, 200_001).iter().all(|b| *b == 0));
    assert!(disk.read_at(&mut [0; 2], 300_000).is_err(), "nothing is made up behind the end");
    // The same where the file system gives no blocks unless something is written.
    write_zeros(&disk.file, 300_001, 500_000).unwrap();
    assert_eq!((disk.len().unwrap(), read(&disk, 99_990, 10)), (500_000, vec![7; 10]));
    disk.write_at(&[7; 10], 499_990).unwrap();
    write_zeros(&disk.file, 500_000, 500_000).unwrap();
    assert_eq!(disk.len().unwrap(), 500_000);
    write_zeros(&disk.file, 300_001, 499_990).unwrap();
    assert_eq!((disk.len().unwrap(), read(&disk, 499_990, 10)), (500_000, vec![7; 10]));
    assert!(read(&disk, 300_001, 199_989).iter().all(|b| *b == 0));
}

#[test]
fn a_mapped_file_is_read_across_its_windows_and_not_beyond_its_end() {
    let folder = Folder::new();
    let window = MAP_WINDOW as usize;
    let bytes: Vec<u8> = (0..2 * window + 5000).map(|i| (i / 7 % 253) as u8).collect();
    std::fs::write(folder.file(), &bytes).unwrap();
    let file = MappedFile::open(&folder.file()).unwrap();
    assert_eq!(file.len().unwrap(), bytes.len() as u64);
    for (at, len) in [(0, 10), (window - 5, 10), (window, 10), (5, 2 * window), (2 * window + 4990, 10), (3, 0)] {
        let mut buf = vec![0; len];
        file.read_at(&mut buf, at as u64).unwrap();
        assert_eq!(buf, bytes[at..at + len], "{len} bytes at {at}");
    }
    for (at, len) in [(bytes.len() - 9, 10), (bytes.len(), 1), (usize::MAX - 3, 10)] {
        assert!(file.read_at(&mut vec![0; len], at as u64).is_err(), "{len} bytes at {at}");
    }
    assert!(!file.in_use());
    let held = DiskFile::open(&folder.file()).unwrap();
    // The system's list may leave a lock out while others come and go.
    assert!((0..1000).any(|_| file.in_use()));
    drop(held);
    assert!(!file.in_use());
}

#[test]
fn a_lock_on_another_file_system_is_not_taken_for_one_on_this_file() {
    let locks = "1: POSIX  ADVISORY  WRITE 11 fd:01:7 0 EOF\n\
                 2: FLOCK  ADVISORY  WRITE 12 fd:01:7 0 EOF\n\
                 2: -> FLOCK  ADVISORY  WRITE 13 fd:02:7 0 EOF\n\
                 3: FLOCK  ADVISORY  READ  14 fd:03:7 0 EOF\n\
                 4: FLOCK  ADVISORY  WRITE -1 00:1f:71 0 EOF\n";
    let holder = |place: &str| locked_by(locks, &[place.to_owned()]);
    assert_eq!(holder("fd:01:7"), Some(12));
    assert_eq!((holder("fd:02:7"), holder("fd:03:7"), holder("fd:01:71"), holder("00:1f:7")), (None, None, None, None));
    assert_eq!(holder("00:1f:71"), Some(0), "a process of another container has it");
    assert_eq!(locked_by(locks, &["00:20:7".to_owned(), "fd:01:7".to_owned()]), Some(12));
    let mounts = "21 1 253:1 / / rw - ext4 /dev/vda rw\n36 21 0:31 /home /home rw - btrfs /dev/vdb rw\n";
    assert_eq!(device_of_mount("pos:\t0\nflags:\t02\nmnt_id:\t36\nino:\t7\n", mounts), Some("00:1f".to_owned()));
    assert_eq!(device_of_mount("mnt_id:\t3\n", mounts), None);
    let folder = Folder::new();
    let (held, other) = (DiskFile::open(&folder.file()).unwrap(), File::open("/proc/self/exe").unwrap());
    assert!((0..1000).any(|_| holder_of(&held.file) == Some(std::process::id())));
    assert_ne!(places_of(&held.file), places_of(&other));
}

#[test]
fn a_port_that_is_held_is_listened_on_again_and_again_and_given_to_nobody_else() {
    use std::net::{TcpListener, TcpStream};
    let held = hold_port().unwrap();
    let address = held.local_addr().unwrap();
    assert!(TcpStream::connect(address).is_err(), "nobody listens yet");
    for _ in 0..3 {
        let listener = TcpListener::bind(address).unwrap();
        let client = TcpStream::connect(address).unwrap();
        drop(listener.accept().unwrap());
        assert!(TcpListener::bind(address).is_err(), "one at a time");
        drop(client);
    }
    let others: Vec<TcpListener> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    assert!(others.iter().all(|other| other.local_addr().unwrap() != address));
}

#[test]
fn a_file_that_is_long_enough_is_left_as_it_is() {
    let folder = Folder::new();
    let disk = opened(&folder);
    for len in [1 << 20, 1 << 19, 0] {
        disk.grow(len).unwrap();
        assert_eq!(disk.len().unwrap(), 1 << 20);
    }
}
