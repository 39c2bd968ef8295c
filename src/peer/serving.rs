//! What a server is to its clients, for threads that ask, that wait until it serves, or that are told of each change.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::Duty;
use crate::ids::ServerId;
use crate::zab::Standing;

/// What a server is to its clients.
///
/// [`Ensemble`](crate::Ensemble) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ServerRole {
    /// A member that knows no leader: clients are refused.
    #[default]
    Looking,
    /// It follows a leader and votes.
    Following,
    /// It follows a leader and has no vote.
    Observing,
    /// It leads.
    Leading,
    /// It is a server by itself.
    Standalone,
    /// A member that knows no leader, and answers reads of clients that put up with that.
    ReadOnly,
    /// It was stopped, or killed.
    Stopped,
    /// It ended by a failure.
    Failed,
}

impl ServerRole {
    /// Whether clients are served in this role. [`Ensemble`](crate::Ensemble) has an example.
    pub fn serves(self) -> bool {
        !matches!(self, ServerRole::Looking | ServerRole::Stopped | ServerRole::Failed)
    }

    /// Whether writes are decided in this role. [`Ensemble`](crate::Ensemble) has an example.
    pub fn leads(self) -> bool {
        matches!(self, ServerRole::Leading | ServerRole::Standalone)
    }
}

/// A role, and of whom.
///
/// [`Ensemble`](crate::Ensemble) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RoleState {
    /// The role.
    pub role: ServerRole,
    /// The epoch of the leader, where there is one; else 0.
    pub epoch: u32,
    /// The leader, itself where it leads; `None` where there is none, and of a server by itself.
    pub leader: Option<ServerId>,
}

impl RoleState {
    /// Of server `me`, whose engine has this duty.
    pub(super) fn of(me: ServerId, duty: Duty, standing: Option<Standing>) -> RoleState {
        match (duty, standing) {
            (Duty::None, _) => RoleState::default(),
            (Duty::ReadOnly, _) => RoleState { role: ServerRole::ReadOnly, ..RoleState::default() },
            (Duty::Alone { .. }, _) => RoleState { role: ServerRole::Standalone, ..RoleState::default() },
            (Duty::Decide { epoch }, _) => RoleState { role: ServerRole::Leading, epoch, leader: Some(me) },
            (Duty::Forward { epoch, votes }, standing) => {
                let leader = match standing {
                    Some(Standing::Following { leader, .. }) => Some(leader),
                    _ => None,
                };
                RoleState { role: if votes { ServerRole::Following } else { ServerRole::Observing }, epoch, leader }
            }
        }
    }

    fn is_over(self) -> bool {
        matches!(self.role, ServerRole::Stopped | ServerRole::Failed)
    }
}

/// What is told of each change of a role.
pub type RoleFn = Box<dyn FnMut(RoleState) + Send>;

/// What a server is to its clients, shared by its loop and whoever asks.
#[derive(Default)]
pub struct Serving {
    state: Mutex<RoleState>,
    changed: Condvar,
    /// Held while it is called, so that whoever takes it away knows that it is not called any more.
    listener: Mutex<Option<RoleFn>>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("state", &self.now()).finish_non_exhaustive()
    }
}

impl Serving {
    fn lock(&self) -> MutexGuard<'_, RoleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is something else from now on. Only one thread at a time says so.
    pub(super) fn set(&self, state: RoleState) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        *self.lock() = state;
        self.changed.notify_all();
        if let Some(listener) = &mut *listener {
            listener(state);
        }
    }

    /// The server has ended, by a failure or as it was told to: no thread need wait any longer.
    pub fn end(&self, by_failure: bool) {
        let role = if by_failure { ServerRole::Failed } else { ServerRole::Stopped };
        self.set(RoleState { role, ..RoleState::default() });
    }

    /// What it is now.
    pub fn now(&self) -> RoleState {
        *self.lock()
    }

    /// Whether clients are served now.
    pub fn is_so(&self) -> bool {
        self.now().role.serves()
    }

    /// Waits until clients are served; false when they were not for so long, or the server has ended.
    pub fn wait(&self, limit: Duration) -> bool {
        let waits = |state: &mut RoleState| !state.role.serves() && !state.is_over();
        let waited = self.changed.wait_timeout_while(self.lock(), limit, waits).unwrap_or_else(PoisonError::into_inner);
        waited.0.role.serves()
    }

    /// Waits until it is something else than `seen`, but no longer than `limit`.
    pub fn wait_for_change(&self, seen: RoleState, limit: Duration) {
        let waits = |state: &mut RoleState| *state == seen;
        drop(self.changed.wait_timeout_while(self.lock(), limit, waits));
    }

    /// Waits until the server has ended, but no longer than `limit`; whether it has.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let waits = |state: &mut RoleState| !state.is_over();
        let waited = self.changed.wait_timeout_while(self.lock(), limit, waits).unwrap_or_else(PoisonError::into_inner);
        waited.0.is_over()
    }

    /// Has this called with what it is now, and with each change from now on, on the loop's thread; in place of what was
    /// called so far, which is not called any more once this returns.
    pub fn listen(&self, mut told: Option<RoleFn>) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = &mut told {
            told(self.now());
        }
        *listener = told;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const FOLLOWS: RoleState = RoleState { role: ServerRole::Following, epoch: 3, leader: Some(ServerId(2)) };

    #[test]
    fn whoever_waits_goes_on_when_it_serves_and_when_it_has_ended() {
        let serving = Serving::default();
        assert!(!serving.is_so() && !serving.wait(Duration::ZERO));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| serving.wait(Duration::from_secs(60)));
            serving.set(FOLLOWS);
            assert!(waits.join().unwrap());
        });
        serving.set(RoleState::default());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| serving.wait(Duration::from_secs(60)));
            serving.end(false);
            assert!(!waits.join().unwrap());
        });
    }

    #[test]
    fn a_listener_is_told_what_it_is_and_of_each_change_in_order_until_another_takes_its_place() {
        let serving = Serving::default();
        let (first, told_first) = mpsc::channel();
        serving.set(FOLLOWS);
        assert!(!serving.wait_for_end(Duration::ZERO));
        serving.listen(Some(Box::new(move |state| first.send(state.role).unwrap())));
        serving.set(RoleState::default());
        let (second, told_second) = mpsc::channel();
        serving.listen(Some(Box::new(move |state| second.send(state.role).unwrap())));
        serving.end(true);
        assert!(serving.wait_for_end(Duration::ZERO));
        serving.listen(None);
        assert_eq!(told_first.iter().collect::<Vec<_>>(), [ServerRole::Following, ServerRole::Looking]);
        assert_eq!(told_second.iter().collect::<Vec<_>>(), [ServerRole::Looking, ServerRole::Failed]);
    }

    #[test]
    fn a_role_is_what_the_engine_does_and_whom_it_follows() {
        let me = ServerId(7);
        let standing = Standing::Following { leader: ServerId(2), epoch: 3, votes: true };
        assert_eq!(RoleState::of(me, Duty::Forward { epoch: 3, votes: true }, Some(standing)), FOLLOWS);
        let leads = RoleState::of(me, Duty::Decide { epoch: 4 }, Some(Standing::Leading { epoch: 4 }));
        assert_eq!((leads.role, leads.epoch, leads.leader), (ServerRole::Leading, 4, Some(me)));
        let roles = [
            (Duty::None, ServerRole::Looking),
            (Duty::ReadOnly, ServerRole::ReadOnly),
            (Duty::Alone { epoch: 1 }, ServerRole::Standalone),
            (Duty::Forward { epoch: 3, votes: false }, ServerRole::Observing),
        ];
        for (duty, role) in roles {
            assert_eq!(RoleState::of(me, duty, None).role, role);
        }
    }
}
