//! Stretches of the file that a thread reads before they are asked for, in the order in which they will be.
//!
//! A disk gives most when it is asked for much at a time, by one, without a pause. So one thread does nothing else, and who
//! checks what was read takes over its buffers.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::access::{AlignedBuf, ReadAt};

/// Stretches that wait to be taken.
const STRETCHES: usize = 8;
/// Bytes of the longest stretch that is read ahead; of longer ones, whoever needs them reads what he needs.
const LONGEST: u64 = 8 << 20;

/// Bytes of the file, and where they are.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) at: u64,
    pub(crate) len: usize,
    pub(crate) buf: AlignedBuf,
}

impl Stretch {
    pub(crate) fn covers(&self, at: u64, len: usize) -> bool {
        self.at <= at && at - self.at + len as u64 <= self.len as u64
    }
}

/// What one thread has done with and another may fill again.
#[derive(Default)]
pub(crate) struct Spare<T>(Mutex<Vec<T>>);

impl<T: Default> Spare<T> {
    /// One of them, or a new one.
    pub(crate) fn take(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(crate) fn give(&self, one: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    }
}

/// What was read ahead, on the side of who takes it.
pub(crate) struct Ahead {
    filled: Receiver<Stretch>,
    spare: Arc<Spare<AlignedBuf>>,
    next: Option<Stretch>,
}

/// The same on the side of the thread.
pub(crate) struct Reader {
    places: Vec<Range<u64>>,
    filled: SyncSender<Stretch>,
    spare: Arc<Spare<AlignedBuf>>,
}

/// For stretches at `places`, in this order.
pub(crate) fn ahead(places: Vec<Range<u64>>) -> (Reader, Ahead) {
    let (filled_to, filled) = sync_channel(STRETCHES);
    let spare = Arc::<Spare<AlignedBuf>>::default();
    (Reader { places, filled: filled_to, spare: Arc::clone(&spare) }, Ahead { filled, spare, next: None })
}

impl Reader {
    /// Reads until all is read, nobody wants more, or something cannot be read: what to make of that is for who needs it.
    pub(crate) fn read(self, source: &dyn ReadAt) {
        for place in self.places.iter().filter(|place| place.end - place.start <= LONGEST) {
            let len = (place.end - place.start) as usize;
            let mut buf = self.spare.take();
            if buf.capacity() < len {
                buf = AlignedBuf::new(len);
            }
            let read = source.read_past_cache(&mut buf.bytes_mut()[..len], place.start);
            if read.is_err() || self.filled.send(Stretch { at: place.start, len, buf }).is_err() {
                return;
            }
        }
    }
}

impl Ahead {
    /// Exchanges `stretch` for the next one when that has the `len` bytes at `at`.
    pub(crate) fn take(&mut self, at: u64, len: usize, stretch: &mut Stretch) -> bool {
        if self.next.is_none() {
            self.next = self.filled.recv().ok();
        }
        let Some(next) = self.next.take_if(|next| next.covers(at, len)) else { return false };
        self.spare.give(std::mem::replace(stretch, next).buf);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::layout::PAGE;
    use crate::store::window::Window;

    const EXTENT: u64 = 4 * PAGE as u64;

    /// Bytes that cannot be read from `bad` on, and how often they were looked at.
    struct Counted(Vec<u8>, u64, AtomicUsize);

    impl Counted {
        fn new(extents: u64, bad: u64) -> Counted {
            let image = (0..extents * EXTENT).map(|at| (at / PAGE as u64 * 31 + at) as u8).collect();
            Counted(image, bad, AtomicUsize::new(0))
        }

        fn looks(&self) -> usize {
            self.2.load(Ordering::Relaxed)
        }
    }

    impl ReadAt for Counted {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
            self.2.fetch_add(1, Ordering::Relaxed);
            if at + buf.len() as u64 > self.1 {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            (&self.0[..]).read_at(buf, at)
        }
    }

    /// What `take` does behind a thread that reads `order`, extent by extent.
    fn behind(source: &Counted, order: &[u64], take: impl FnOnce(&mut Window<'_>)) {
        let places = order.iter().map(|number| number * EXTENT..(number + 1) * EXTENT).collect();
        let (reader, ahead) = ahead(places);
        std::thread::scope(|scope| {
            scope.spawn(|| reader.read(source));
            take(&mut Window::behind(ahead, source));
        });
    }

    fn is_there(window: &mut Window<'_>, source: &Counted, extent: u64) -> bool {
        [0, 100, EXTENT - 100].into_iter().all(|from| {
            let (at, end) = (extent * EXTENT + from, (extent + 1) * EXTENT);
            let found = window.bytes(at, 100, end).ok();
            found == Some(&source.0[at as usize..at as usize + 100])
        })
    }

    #[test]
    fn what_is_wanted_in_the_order_of_the_reading_is_read_once() {
        let source = Counted::new(40, u64::MAX);
        let order: Vec<u64> = (0..40).rev().collect();
        behind(&source, &order, |window| {
            assert!(order.iter().all(|extent| is_there(window, &source, *extent)));
        });
        assert_eq!(source.looks(), 40);
    }

    #[test]
    fn what_is_not_read_next_is_read_by_who_wants_it() {
        let source = Counted::new(40, u64::MAX);
        behind(&source, &[1, 2, 3], |window| {
            assert!([7, 1, 5, 2, 1, 3, 8].iter().all(|extent| is_there(window, &source, *extent)));
        });
        assert!(source.looks() > 3, "{}", source.looks());
    }

    #[test]
    fn a_fault_ends_the_reading_ahead_and_is_told_to_who_comes_to_it() {
        let source = Counted::new(20, 5 * EXTENT + PAGE as u64);
        behind(&source, &(0..20).collect::<Vec<_>>(), |window| {
            assert!((0..5).all(|extent| is_there(window, &source, extent)));
            assert!(window.bytes(5 * EXTENT, 100, 6 * EXTENT).is_ok(), "the good sector before the bad one");
            assert!(window.bytes(6 * EXTENT, 100, 7 * EXTENT).is_err());
        });
    }

    #[test]
    fn who_wants_no_more_lets_the_thread_end() {
        let source = Counted::new(40, u64::MAX);
        behind(&source, &(0..40).collect::<Vec<_>>(), |window| assert!(is_there(window, &source, 0)));
        assert!(source.looks() <= 3 + STRETCHES, "{}", source.looks());
    }
}
