//! One answer of the loop's, and the thread that waits for it.
//!
//! Not a channel of the standard library: waiting at one makes a handle of the waiting thread, which that thread keeps until
//! it ends. A host's main thread ends with its process, so the host would be told of a leak that is ours.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The loop's side. Dropped without an answer, it says that there will be none.
pub struct Answer<T>(Arc<AnswerCell<T>>);

impl<T> std::fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

/// The asking thread's side.
pub struct Awaited<T>(Arc<AnswerCell<T>>);

struct AnswerCell<T> {
    state: Mutex<AnswerState<T>>,
    changed: Condvar,
}

enum AnswerState<T> {
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
    let place = Arc::new(AnswerCell { state: Mutex::new(AnswerState::Open), changed: Condvar::new() });
    (Answer(Arc::clone(&place)), Awaited(place))
}

impl<T> AnswerCell<T> {
    fn set(&self, state: AnswerState<T>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_all();
    }
}

impl<T> Answer<T> {
    /// Answers. The asking thread may have gone in the meantime.
    pub fn give(self, answer: T) {
        self.0.set(AnswerState::Given(answer));
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let is_open = matches!(*self.0.state.lock().unwrap_or_else(PoisonError::into_inner), AnswerState::Open);
        if is_open {
            self.0.set(AnswerState::Over);
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
        let is_open = |state: &mut AnswerState<T>| matches!(state, AnswerState::Open);
        let mut state = match limit {
            None => self.0.changed.wait_while(state, is_open).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let waited = self.0.changed.wait_timeout_while(state, limit, is_open);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        match std::mem::replace(&mut *state, AnswerState::Over) {
            AnswerState::Given(answer) => Ok(answer),
            AnswerState::Open => Err(Unanswered::Late),
            AnswerState::Over => Err(Unanswered::Never),
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
