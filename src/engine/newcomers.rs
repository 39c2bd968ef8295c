//! Connections without a session, by address: which are in line for one, and which make room.
//!
//! An address that brings many connections makes room among its own, and its handshakes wait in its own line, the
//! oldest first. A connection that has sent its handshake does not make room for one that has not.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::arrivals::Arrivals;
use super::conn::{Conn, ConnId};
use super::conns::Conns;
use super::settings::EngineLimits;
use crate::ids::Millis;

/// Lines of connections by address.
#[derive(Default)]
struct AddressLines {
    by_address: BTreeMap<IpAddr, VecDeque<ConnId>>,
    count: usize,
}

impl AddressLines {
    fn push(&mut self, address: IpAddr, id: ConnId) {
        self.by_address.entry(address).or_default().push_back(id);
        self.count += 1;
    }

    fn remove(&mut self, address: IpAddr, id: ConnId) -> bool {
        let Some(line) = self.by_address.get_mut(&address) else { return false };
        let Some(at) = line.iter().position(|one| *one == id) else { return false };
        line.remove(at);
        if line.is_empty() {
            self.by_address.remove(&address);
        }
        self.count -= 1;
        true
    }

    /// The longest line; of several the one with the lowest address, so that a run can be repeated.
    fn longest(&self) -> Option<(IpAddr, &VecDeque<ConnId>)> {
        let longest = self.by_address.iter().max_by(|a, b| a.1.len().cmp(&b.1.len()).then(b.0.cmp(a.0)));
        longest.map(|(address, line)| (*address, line))
    }
}

/// A connection that is younger need not have sent anything, ms.
const YOUNG_MS: u64 = 500;

/// All connections that have no session and none under way.
#[derive(Default)]
pub(super) struct Newcomers {
    /// Nothing whole has come from these.
    silent: AddressLines,
    /// The handshakes of these wait for their turn.
    waiting: AddressLines,
    /// By when connections must have sent their handshake, on the clock of timeouts; also of some that have.
    deadlines: VecDeque<(Millis, ConnId)>,
    arrivals: Arrivals,
}

impl Newcomers {
    pub(super) fn came(&mut self, address: IpAddr, id: ConnId, deadline: Millis) {
        self.silent.push(address, id);
        self.deadlines.push_back((deadline, id));
    }

    /// It has a session now, or is gone.
    pub(super) fn left(&mut self, address: IpAddr, id: ConnId) {
        if !self.silent.remove(address, id) {
            self.waiting.remove(address, id);
        }
    }

    /// Whether no other connection of its address has waited longer.
    pub(super) fn is_next(&self, address: IpAddr, id: ConnId) -> bool {
        self.waiting.by_address.get(&address).is_none_or(|line| line.front() == Some(&id))
    }

    /// Its handshake has come and has to wait.
    pub(super) fn waits(&mut self, address: IpAddr, id: ConnId) {
        if self.silent.remove(address, id) {
            self.waiting.push(address, id);
        }
    }

    /// Whether a new session may begin for the connection now; else its handshake waits in line.
    pub(super) fn admits(&mut self, now: Millis, address: IpAddr, id: ConnId, limits: &EngineLimits) -> bool {
        let (per_second, burst) = (limits.sessions_per_second, limits.sessions_burst);
        let admits = self.is_next(address, id) && self.arrivals.admit(now, address, per_second, burst);
        if !admits {
            self.waits(address, id);
        }
        admits
    }

    /// Takes out a connection whose handshake is overdue.
    pub(super) fn next_overdue(&mut self, listened: Millis, conns: &Conns) -> Option<ConnId> {
        self.forget_finished(conns);
        let (_, id) = *self.deadlines.front().filter(|(deadline, _)| *deadline <= listened)?;
        self.deadlines.pop_front();
        Some(id)
    }

    /// By when the next handshake must have come; of one that has come, if it was not [forgotten](Newcomers::forget_finished).
    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.deadlines.front().map(|&(deadline, _)| deadline)
    }

    pub(super) fn forget_finished(&mut self, conns: &Conns) {
        let waits = |id| conns.get(id).is_some_and(Conn::waits_for_handshake);
        while self.deadlines.front().is_some_and(|&(_, id)| !waits(id)) {
            self.deadlines.pop_front();
        }
    }

    /// connections that have sent nothing, and those whose handshake waits, each have a limit. It is enforced once in
    /// a turn, when all that were accepted in it have been read. Many that connect at once and are about to send their
    /// handshakes may be twice as many for a moment. Returns the connections that are to be closed, and why.
    pub(super) fn make_room(&mut self, now: Millis, conns: &Conns, silent_max: usize) -> Vec<(ConnId, String)> {
        let waiting_max = silent_max.saturating_mul(2);
        let is_old = |id| conns.get(id).is_none_or(|conn| now.since(conn.opened) >= YOUNG_MS);
        let mut out: Vec<ConnId> = std::iter::from_fn(|| self.silent_above(silent_max, is_old)).collect();
        out.extend(std::iter::from_fn(|| self.silent_above(silent_max.saturating_mul(2), |_| true)));
        let silent = out.into_iter().map(|id| (id, format!("more than {silent_max} connections without a session")));
        let mut out: Vec<(ConnId, String)> = silent.collect();
        while let Some(id) = self.waiting_above(waiting_max) {
            out.push((id, format!("more than {waiting_max} handshakes wait for their turn")));
        }
        out
    }

    /// Takes out the connection that makes room when more than so many are silent: the oldest of the address with the most, if it `may` go.
    fn silent_above(&mut self, most: usize, may: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        let (address, line) = self.silent.longest().filter(|_| self.silent.count > most)?;
        let id = line.front().copied().filter(|id| may(*id))?;
        self.silent.remove(address, id);
        Some(id)
    }

    /// Takes out the connection that makes room when more than so many wait: the newest of the address with the most.
    fn waiting_above(&mut self, most: usize) -> Option<ConnId> {
        let (address, line) = self.waiting.longest().filter(|_| self.waiting.count > most)?;
        let id = *line.back()?;
        self.waiting.remove(address, id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> ConnId {
        ConnId { slot, generation: 1 }
    }

    #[test]
    fn the_address_with_the_most_makes_room() {
        let (flood, honest): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut newcomers = Newcomers::default();
        newcomers.came(honest, id(0), Millis(0));
        (1..=20).for_each(|slot| newcomers.came(flood, id(slot), Millis(0)));
        assert_eq!(newcomers.silent_above(21, |_| true), None);
        let gone: Vec<u32> = std::iter::from_fn(|| newcomers.silent_above(10, |_| true)).map(|id| id.slot).collect();
        assert_eq!(gone, (1..=11).collect::<Vec<u32>>());
        assert_eq!(newcomers.silent_above(8, |_| false), None);
        newcomers.left(honest, id(0));
        assert_eq!(newcomers.silent_above(8, |_| true), Some(id(12)));
    }

    #[test]
    fn those_who_wait_are_served_oldest_first_and_make_room_newest_first() {
        let address = "10.0.0.1".parse().unwrap();
        let mut newcomers = Newcomers::default();
        (1..=5).for_each(|slot| newcomers.came(address, id(slot), Millis(0)));
        (1..=4).for_each(|slot| newcomers.waits(address, id(slot)));
        assert!(newcomers.is_next(address, id(1)));
        assert!(
            !newcomers.is_next(address, id(2)) && !newcomers.is_next(address, id(5)),
            "a newcomer does not overtake"
        );
        newcomers.left(address, id(1));
        assert!(newcomers.is_next(address, id(2)));
        assert_eq!(newcomers.waiting_above(2), Some(id(4)));
        assert_eq!(newcomers.waiting_above(2), None);
        assert_eq!(newcomers.silent_above(0, |_| true), Some(id(5)));
        assert!(newcomers.is_next("10.0.0.9".parse().unwrap(), id(9)), "other addresses have lines of their own");
    }
}
