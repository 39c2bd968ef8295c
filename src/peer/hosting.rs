//! What a member asks of the loop while it works.

use std::time::{Instant, SystemTime};

use super::local::Locals;
use crate::Error;
use crate::engine::Engine;
use crate::ids::{Millis, WallMillis};
use crate::member::{Failure, Host};

/// The parts of a peer that its member needs while it works.
pub(super) struct Hosting<'p> {
    /// Clients in this process.
    pub locals: &'p mut Locals,
    /// Since when time is counted.
    pub started: Instant,
}

impl Host for Hosting<'_> {
    fn time(&self) -> (Millis, WallMillis) {
        time(self.started)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn tell(&mut self, engine: &mut Engine) {
        if !self.locals.is_empty() {
            self.locals.tell(engine);
        }
    }
}

/// The time since `started`, and on the wall clock.
pub(super) fn time(started: Instant) -> (Millis, WallMillis) {
    let now = Millis(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    let wall = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(_) => 0,
    };
    (now, WallMillis(wall))
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Store(error) => error.into(),
            Failure::Damage(damage) => Error::Damage(damage.0),
        }
    }
}
