//! Stretches of the file in memory, read from front to back.

use std::io;

use crate::store::access::{AlignedBuf, ReadAt};
use crate::store::ahead::{Ahead, Stretch};
use crate::store::layout::PAGE;

/// Bytes of a window, unless a frame needs more.
const WINDOW: usize = 4 << 20;

/// A stretch of the file in memory.
pub(crate) struct Window<'a> {
    source: &'a dyn ReadAt,
    /// What a thread reads of it.
    ahead: Option<Ahead>,
    here: Stretch,
    /// Bytes that are read at once.
    size: usize,
}

impl<'a> Window<'a> {
    pub(crate) fn new(source: &'a dyn ReadAt) -> Window<'a> {
        Window { source, ahead: None, here: Stretch::default(), size: WINDOW }
    }

    /// One that takes what is read ahead while it comes in the order in which it is wanted.
    pub(crate) fn behind(ahead: Ahead, source: &'a dyn ReadAt) -> Window<'a> {
        Window { ahead: Some(ahead), ..Window::new(source) }
    }

    /// One for readers that take little at a time.
    pub(crate) fn small(source: &'a dyn ReadAt) -> Window<'a> {
        Window { size: WINDOW / 8, ..Window::new(source) }
    }

    /// One for who looks at single places.
    pub(crate) fn of_a_page(source: &'a dyn ReadAt) -> Window<'a> {
        Window { size: PAGE, ..Window::new(source) }
    }

    /// The `len` bytes at `at`, which lie before `limit`.
    pub(crate) fn bytes(&mut self, at: u64, len: usize, limit: u64) -> io::Result<&[u8]> {
        let room = limit.checked_sub(at).and_then(|room| usize::try_from(room).ok()).unwrap_or(0);
        if room < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !self.here.covers(at, len) {
            let taken = self.ahead.as_mut().is_some_and(|ahead| ahead.take(at, len, &mut self.here));
            if !taken {
                self.read(at, len, room)?;
            }
        }
        let from = (at - self.here.at) as usize;
        self.here.buf.bytes().get(from..from + len).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads `len` bytes at `at` and, of the `room` behind it, as many as a window has. What is here of them already is
    /// not read again.
    fn read(&mut self, at: u64, len: usize, room: usize) -> io::Result<()> {
        // Whole pages, because only those are read past the page cache.
        let lead = (at % PAGE as u64) as usize;
        let start = at - lead as u64;
        // `len` is checked against the extent, and the extent against the file, so a claim cannot size this.
        let wanted = (lead + len.max(self.size)).next_multiple_of(PAGE).min(lead + room);
        let here = &mut self.here;
        let present = match start.checked_sub(here.at).and_then(|from| usize::try_from(from).ok()) {
            Some(from) if from < here.len => from..from + (here.len - from) / PAGE * PAGE,
            _ => 0..0,
        };
        let kept = present.len().min(wanted);
        if here.buf.capacity() < wanted {
            let mut larger = AlignedBuf::new(wanted.next_multiple_of(PAGE).max(self.size + PAGE));
            larger.bytes_mut()[..kept].copy_from_slice(&here.buf.bytes()[present.start..present.start + kept]);
            here.buf = larger;
        } else {
            here.buf.bytes_mut().copy_within(present.start..present.start + kept, 0);
        }
        (here.at, here.len) = (start, wanted);
        let Err(error) = self.source.read_past_cache(&mut here.buf.bytes_mut()[kept..wanted], start + kept as u64)
        else {
            return Ok(());
        };
        // One bad sector must not hide the good ones before it.
        (here.at, here.len) = (at, len);
        if self.source.read_at(&mut here.buf.bytes_mut()[..len], at).is_ok() {
            return Ok(());
        }
        here.len = 0;
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Bytes whose looks are written down.
    struct Noted(Vec<u8>, Mutex<Vec<(u64, usize)>>);

    impl ReadAt for Noted {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
            self.1.lock().unwrap().push((at, buf.len()));
            (&self.0[..]).read_at(buf, at)
        }
    }

    #[test]
    fn no_byte_is_read_twice_on_the_way_forward_whatever_is_asked_for() {
        let image: Vec<u8> = (0..3 * WINDOW + 5 * PAGE).map(|at| (at * 7 + at / 256) as u8).collect();
        for step in [64, 1000, PAGE, WINDOW / 2 + 24, WINDOW - 8, WINDOW + 24] {
            let noted = Noted(image.clone(), Mutex::default());
            let mut window = Window::new(&noted);
            let mut at = 0;
            while at + step <= image.len() {
                // The head of a frame, and all of it.
                for len in [8, step] {
                    let found = window.bytes(at as u64, len, image.len() as u64).unwrap();
                    assert!(found == &image[at..at + len], "{len} bytes at {at}");
                }
                at += step;
            }
            let looks = noted.1.into_inner().unwrap();
            assert!(looks.iter().all(|(at, len)| at % PAGE as u64 == 0 && len % PAGE == 0), "step {step}: {looks:?}");
            let again = looks.windows(2).filter(|pair| pair[0].0 + (pair[0].1 as u64) != pair[1].0);
            assert_eq!(again.count(), 0, "step {step}: {looks:?}");
        }
    }

    #[test]
    fn what_is_not_before_the_limit_is_not_read() {
        let image = vec![1; 3 * PAGE];
        let noted = Noted(image, Mutex::default());
        let mut window = Window::new(&noted);
        assert!(window.bytes(PAGE as u64, PAGE, 2 * PAGE as u64).is_ok());
        assert!(window.bytes(PAGE as u64, PAGE + 1, 2 * PAGE as u64).is_err());
        assert!(window.bytes(3 * PAGE as u64, 1, 2 * PAGE as u64).is_err());
        assert_eq!(noted.1.into_inner().unwrap(), [(PAGE as u64, PAGE)]);
    }

    /// Bytes of which a page cannot be read.
    struct Rotten(Vec<u8>, u64);

    impl ReadAt for Rotten {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
            match at < self.1 + PAGE as u64 && at + buf.len() as u64 > self.1 {
                true => Err(io::ErrorKind::InvalidData.into()),
                false => (&self.0[..]).read_at(buf, at),
            }
        }
    }

    #[test]
    fn what_could_not_be_read_is_not_there_when_it_is_asked_for_again() {
        let image: Vec<u8> = (0..5 * PAGE).map(|at| (at / 7) as u8).collect();
        let rotten = Rotten(image.clone(), 2 * PAGE as u64);
        let mut window = Window::new(&rotten);
        for (at, is_there) in [(0, true), (2, false), (2, false), (1, true), (2, false), (3, true), (2, false)] {
            let found = window.bytes((at * PAGE) as u64, PAGE, image.len() as u64).ok();
            assert_eq!(found, is_there.then(|| &image[at * PAGE..(at + 1) * PAGE]), "page {at}");
        }
    }
}
