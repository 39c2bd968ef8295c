//! Which znodes to create so that one exists.

use crate::Error;
use crate::error::Code;

/// The znodes to create so that one exists: first that one, and where its parent is missing those above it.
pub(super) struct Ensuring<'a> {
    path: &'a str,
    /// How many levels of it are to be created next; `None` when all is there.
    next: Option<usize>,
}

impl<'a> Ensuring<'a> {
    pub(super) fn new(path: &'a str) -> Ensuring<'a> {
        Ensuring { path, next: Some(crate::path::depth(path)) }
    }

    /// What to create next.
    pub(super) fn next(&self) -> Option<&'a str> {
        let level = self.next?;
        let ends = self.path.match_indices('/').map(|(at, _)| at).skip(1);
        match level {
            // Also where it is no path: the server says so.
            level if level == crate::path::depth(self.path) => Some(self.path),
            0 => Some("/"),
            level => ends.take(level).last().map(|end| &self.path[..end]),
        }
    }

    /// What became of it.
    pub(super) fn tell(&mut self, created: Result<(), Error>) -> Result<(), Error> {
        let level = self.next.expect("it was asked for what to create");
        let down = |level| (level < crate::path::depth(self.path)).then_some(level + 1);
        match created {
            Ok(()) => self.next = down(level),
            Err(error) => match error.code() {
                Code::NodeExists => self.next = down(level),
                // Somebody deleted what was just there, or a chroot is missing.
                Code::NoNode if level > 0 => self.next = Some(level - 1),
                _ => return Err(error),
            },
        }
        Ok(())
    }
}
