//! The network: ordered byte streams between places, which are cut anywhere, seen by one end only, blocked in one direction,
//! slow, and full.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::agenda::{Agenda, Happening};
use crate::ids::ServerId;
use crate::records::peer::Notification;
use crate::store::tests::sim_disk::Rng;

/// Bytes that the systems of both ends take in before a sender's own queue grows.
const SYSTEM_BUFFERS: usize = 48 << 10;

/// A machine on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Member(ServerId),
    Client(usize),
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamUse {
    Quorum,
    Election,
    Client,
}

/// What comes out of a stream's end.
#[derive(Clone, Debug)]
pub(super) enum Travelling {
    Bytes(Vec<u8>),
    /// A whole notification: how they are cut into bytes is tested with the sockets.
    Ballot(Box<Notification>),
    /// The other end has closed, or the connection is broken.
    End,
}

#[derive(Debug, Default)]
struct Way {
    runs: VecDeque<(u64, Travelling)>,
    bytes: usize,
    last_due: u64,
    is_scheduled: bool,
}

/// One connection. `ways[i]` leads to `ends[i]`.
#[derive(Debug)]
pub(super) struct SimStream {
    pub usage: StreamUse,
    pub ends: [Place; 2],
    open: [bool; 2],
    ways: [Way; 2],
    /// It was cut: whatever is sent from now on is lost.
    is_cut: bool,
    /// An observer has introduced itself on it.
    pub is_observers: bool,
}

impl SimStream {
    fn index(&self, place: Place) -> Option<usize> {
        self.ends.iter().position(|end| *end == place)
    }

    /// The other end of `place`.
    pub(super) fn peer_of(&self, place: Place) -> Place {
        if self.ends[0] == place { self.ends[1] } else { self.ends[0] }
    }
}

#[derive(Debug)]
pub(super) struct SimNet {
    pub streams: BTreeMap<u64, SimStream>,
    next: u64,
    /// Ordered pairs between which nothing gets through, and by how many faults.
    blocked: BTreeMap<(Place, Place), u32>,
    slow: BTreeMap<(Place, Place), u64>,
    /// Machines that have no power: they refuse nothing, they are silent.
    off: BTreeSet<ServerId>,
    latency_us: (u64, u64),
    /// Runs are split at random places.
    splits: bool,
    rng: Rng,
}

impl SimNet {
    pub(super) fn new(seed: u64, latency_us: (u64, u64), splits: bool) -> SimNet {
        SimNet {
            streams: BTreeMap::new(),
            next: 0,
            blocked: BTreeMap::new(),
            slow: BTreeMap::new(),
            off: BTreeSet::new(),
            latency_us,
            splits,
            rng: Rng(seed),
        }
    }

    /// Time for one way, µs.
    pub(super) fn latency(&mut self, from: Place, to: Place) -> u64 {
        let (least, most) = self.latency_us;
        let slow = self.slow.get(&(from, to)).copied().unwrap_or(0);
        least + self.rng.below(most - least + 1) + if slow > 0 { self.rng.below(slow) } else { 0 }
    }

    pub(super) fn is_blocked(&self, from: Place, to: Place) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    /// Whether bytes go both ways between these.
    pub(super) fn can_reach(&self, a: Place, b: Place) -> bool {
        !self.is_blocked(a, b) && !self.is_blocked(b, a)
    }

    pub(super) fn open(&mut self, usage: StreamUse, from: Place, to: Place) -> u64 {
        self.next += 1;
        let stream = SimStream {
            usage,
            ends: [from, to],
            open: [true; 2],
            ways: [Way::default(), Way::default()],
            is_cut: false,
            is_observers: false,
        };
        self.streams.insert(self.next, stream);
        self.next
    }

    /// Sends from `place` to the other end.
    pub(super) fn send(&mut self, agenda: &mut Agenda, id: u64, place: Place, what: Travelling) {
        let Some(stream) = self.streams.get(&id) else { return };
        let Some(from) = stream.index(place) else { return };
        if !stream.open[from] || stream.is_cut {
            return;
        }
        match what {
            Travelling::Bytes(mut bytes) if self.splits && bytes.len() > 1 && self.rng.chance(4) => {
                let rest = bytes.split_off(1 + self.rng.below(bytes.len() as u64 - 1) as usize);
                self.push(agenda, id, 1 - from, Travelling::Bytes(bytes), 0);
                self.push(agenda, id, 1 - from, Travelling::Bytes(rest), 0);
            }
            what => self.push(agenda, id, 1 - from, what, 0),
        }
    }

    fn push(&mut self, agenda: &mut Agenda, id: u64, to: usize, what: Travelling, extra_us: u64) {
        let Some(stream) = self.streams.get(&id) else { return };
        let (from_place, to_place) = (stream.ends[1 - to], stream.ends[to]);
        let latency = self.latency(from_place, to_place) + extra_us;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let way = &mut stream.ways[to];
        let due = (agenda.now + latency).max(way.last_due);
        way.last_due = due;
        if let Travelling::Bytes(bytes) = &what {
            way.bytes += bytes.len();
        }
        way.runs.push_back((due, what));
        if !std::mem::replace(&mut way.is_scheduled, true) {
            agenda.at(due, &mut self.rng, Happening::Arrival { stream: id, to });
        }
    }

    /// Whether somebody still reads at this end.
    pub(super) fn is_read(&self, id: u64, place: Place) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.index(place).is_some_and(|at| stream.open[at]))
    }

    /// Bytes that wait in the sender's own queue.
    pub(super) fn unsent(&self, id: u64, place: Place) -> usize {
        let Some(stream) = self.streams.get(&id) else { return 0 };
        stream.index(place).map_or(0, |from| stream.ways[1 - from].bytes.saturating_sub(SYSTEM_BUFFERS))
    }

    /// What arrives at an end now, and where that is.
    pub(super) fn arrive(&mut self, agenda: &mut Agenda, id: u64, to: usize) -> (Option<Place>, Vec<Travelling>) {
        let Some(stream) = self.streams.get_mut(&id) else { return (None, Vec::new()) };
        stream.ways[to].is_scheduled = false;
        let (from_place, to_place) = (stream.ends[1 - to], stream.ends[to]);
        if self.blocked.contains_key(&(from_place, to_place)) {
            // They wait, and are sent again.
            return (None, Vec::new());
        }
        let mut arrived = Vec::new();
        let way = &mut stream.ways[to];
        while let Some((due, _)) = way.runs.front() {
            if *due > agenda.now {
                way.is_scheduled = true;
                let due = *due;
                agenda.at(due, &mut self.rng, Happening::Arrival { stream: id, to });
                break;
            }
            let Some((_, what)) = way.runs.pop_front() else { break };
            if let Travelling::Bytes(bytes) = &what {
                way.bytes -= bytes.len();
            }
            arrived.push(what);
        }
        let is_silent = matches!(to_place, Place::Member(member) if self.off.contains(&member));
        if !stream.open[to] {
            // Nobody is there: the sender is told, unless the machine itself is off.
            let has_sent = arrived.iter().any(|what| !matches!(what, Travelling::End));
            if stream.open[1 - to] && has_sent && !is_silent && !stream.is_cut {
                stream.is_cut = true;
                self.push(agenda, id, 1 - to, Travelling::End, 0);
            }
            self.forget_if_over(id);
            return (None, Vec::new());
        }
        if arrived.iter().any(|what| matches!(what, Travelling::End)) {
            stream.open[to] = false;
        }
        self.forget_if_over(id);
        (Some(to_place), arrived)
    }

    fn forget_if_over(&mut self, id: u64) {
        if self.streams.get(&id).is_some_and(|stream| stream.open == [false; 2]) {
            self.streams.remove(&id);
        }
    }

    /// An end is closed in order: what it has sent still arrives.
    pub(super) fn close(&mut self, agenda: &mut Agenda, id: u64, place: Place) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(at) = stream.index(place) else { return };
        let was_open = std::mem::replace(&mut stream.open[at], false);
        stream.ways[at].runs.clear();
        if was_open && stream.open[1 - at] && !stream.is_cut {
            self.push(agenda, id, 1 - at, Travelling::End, 0);
        }
        self.forget_if_over(id);
    }

    /// The newest connection of the quorum port between these.
    pub(super) fn quorum_stream(&self, a: Place, b: Place) -> Option<u64> {
        let is_it = |stream: &SimStream| {
            stream.usage == StreamUse::Quorum
                && stream.open == [true; 2]
                && (stream.ends == [a, b] || stream.ends == [b, a])
        };
        self.streams.iter().rev().find(|(_, stream)| is_it(stream)).map(|(id, _)| *id)
    }

    /// The connection is lost, and both ends hear of it as soon as what was under way has come.
    pub(super) fn break_off(&mut self, agenda: &mut Agenda, id: u64) {
        for to in 0..2 {
            self.push(agenda, id, to, Travelling::End, 0);
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.is_cut = true;
        }
    }

    /// Whatever is sent over the connection from now on is lost, and nobody hears of that.
    pub(super) fn swallow(&mut self, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.is_cut = true;
        }
    }

    /// The connection is lost at some byte; each end hears of that in its own time, or never.
    pub(super) fn cut(&mut self, agenda: &mut Agenda, id: u64) -> [bool; 2] {
        let mut hears = [false; 2];
        for to in 0..2 {
            let Some(stream) = self.streams.get_mut(&id) else { return hears };
            let way = &mut stream.ways[to];
            let kept = self.rng.below(way.runs.len() as u64 + 1) as usize;
            let mut lost = way.runs.split_off(kept);
            if let Some((due, Travelling::Bytes(bytes))) = lost.pop_front() {
                let part = self.rng.below(bytes.len() as u64 + 1) as usize;
                way.runs.push_back((due, Travelling::Bytes(bytes[..part].to_vec())));
            }
            way.bytes = way
                .runs
                .iter()
                .map(|(_, what)| if let Travelling::Bytes(bytes) = what { bytes.len() } else { 0 })
                .sum();
            hears[to] = !self.rng.chance(3);
            if hears[to] {
                let late = if self.rng.chance(2) { 0 } else { self.rng.below(3_000_000) };
                self.push(agenda, id, to, Travelling::End, late);
            }
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.is_cut = true;
        }
        hears
    }

    /// A process is gone. Its system closes its sockets; a machine without power closes nothing.
    pub(super) fn process_ended(&mut self, agenda: &mut Agenda, member: ServerId, is_off: bool) {
        let place = Place::Member(member);
        let ids: Vec<u64> =
            self.streams.iter().filter(|(_, stream)| stream.ends.contains(&place)).map(|(id, _)| *id).collect();
        if is_off {
            self.off.insert(member);
        }
        for id in ids {
            if is_off && let Some(stream) = self.streams.get_mut(&id) {
                if let Some(at) = stream.index(place) {
                    stream.open[at] = false;
                    // What was under way on the wire arrives, what was in its buffers does not.
                    stream.ways[1 - at].runs.truncate(1);
                }
                self.forget_if_over(id);
            } else {
                self.close(agenda, id, place);
            }
        }
    }

    /// The machine has power again: it answers what it does not know with a refusal.
    pub(super) fn has_power(&mut self, member: ServerId) {
        self.off.remove(&member);
    }

    pub(super) fn is_off(&self, member: ServerId) -> bool {
        self.off.contains(&member)
    }

    pub(super) fn block(&mut self, pairs: &[(Place, Place)]) {
        for pair in pairs {
            *self.blocked.entry(*pair).or_default() += 1;
        }
    }

    pub(super) fn unblock(&mut self, agenda: &mut Agenda, pairs: &[(Place, Place)]) {
        for pair in pairs {
            if let Some(count) = self.blocked.get_mut(pair) {
                *count -= 1;
                if *count == 0 {
                    self.blocked.remove(pair);
                }
            }
        }
        self.wake_all(agenda);
    }

    pub(super) fn set_slow(&mut self, pair: (Place, Place), us: u64) {
        self.slow.insert(pair, us);
    }

    /// What this place sends over connections that were cut is acknowledged by nobody, and its system gives them up.
    pub(super) fn give_up_cut(&mut self, agenda: &mut Agenda, place: Place) {
        let cut: Vec<(u64, usize)> = self
            .streams
            .iter()
            .filter_map(|(id, stream)| {
                let at = stream.index(place)?;
                (stream.is_cut && stream.open[at]).then_some((*id, at))
            })
            .collect();
        cut.into_iter().for_each(|(id, to)| self.push(agenda, id, to, Travelling::End, 0));
    }

    /// All paths are open and fast.
    pub(super) fn heal(&mut self, agenda: &mut Agenda) {
        self.blocked.clear();
        self.slow.clear();
        self.wake_all(agenda);
    }

    fn wake_all(&mut self, agenda: &mut Agenda) {
        for (id, stream) in &mut self.streams {
            for to in 0..2 {
                let way = &mut stream.ways[to];
                if let Some((due, _)) = way.runs.front()
                    && !way.is_scheduled
                {
                    way.is_scheduled = true;
                    // Retransmissions come after a while.
                    let due = (*due).max(agenda.now + self.rng.below(200_000));
                    agenda.at(due, &mut self.rng, Happening::Arrival { stream: *id, to });
                }
            }
        }
    }
}
