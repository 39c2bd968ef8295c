//! One answer of the loop's, and whoever waits for it.
//!
//! Not a channel of the standard library: waiting at one makes a handle of the waiting thread, which that thread keeps until
//! it ends. A host's main thread ends with its process, so the host would be told of a leak that is ours.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The loop's side. Dropped without an answer, it says that there will be none.
pub struct Answer<T>(Arc<Place<T>>);

impl<T> std::fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

/// The side of who asked.
pub struct Awaited<T>(Arc<Place<T>>);

struct Place<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

enum State<T> {
    Open,
    Given(T),
    Over,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unanswered {
    /// It did not come in time.
    Late,
    /// There will be none.
    Never,
}

/// Both sides of a question.
pub fn question<T>() -> (Answer<T>, Awaited<T>) {
    let place = Arc::new(Place { state: Mutex::new(State::Open), changed: Condvar::new() });
    (Answer(Arc::clone(&place)), Awaited(place))
}

impl<T> Place<T> {
    fn set(&self, state: State<T>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_all();
    }
}

impl<T> Answer<T> {
    /// Answers. Who asked may have gone in the meantime.
    pub fn give(self, answer: T) {
        self.0.set(State::Given(answer));
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let is_open = matches!(*self.0.state.lock().unwrap_or_else(PoisonError::into_inner), State::Open);
        if is_open {
            self.0.set(State::Over);
        }
    }
}

impl<T> Awaited<T> {
    /// The answer, waiting for it; without a limit for ever.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn wait(self, limit: Option<Duration>) -> Result<T, Unanswered> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |state: &mut State<T>| matches!(state, State::Open);
        let mut state = match limit {
            None => self.0.changed.wait_while(state, is_open).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let waited = self.0.changed.wait_timeout_while(state, limit, is_open);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        match std::mem::replace(&mut *state, State::Over) {
            State::Given(answer) => Ok(answer),
            State::Open => Err(Unanswered::Late),
            State::Over => Err(Unanswered::Never),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_or_does_not() {
        let (answer, awaited) = question();
        answer.give(7);
        assert_eq!(awaited.wait(None), Ok(7));
        let (answer, awaited) = question::<i32>();
        drop(answer);
        assert_eq!(awaited.wait(None), Err(Unanswered::Never));
        let (answer, awaited) = question::<i32>();
        assert_eq!(awaited.wait(Some(Duration::ZERO)), Err(Unanswered::Late));
        answer.give(7);
    }

    #[test]
    fn whoever_waits_is_woken() {
        let (answer, awaited) = question();
        let waiting = std::thread::spawn(move || awaited.wait(Some(Duration::MAX)));
        answer.give("yes");
        assert_eq!(waiting.join().unwrap(), Ok("yes"));
    }
}
