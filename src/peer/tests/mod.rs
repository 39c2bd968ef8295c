//! Sockets of several servers in one thread, each with an event queue of its own, driven until something is so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Registry, Waker};

use super::ballots::{BallotEvent, Ballots, ElectionSettings};
use super::quorum_links::{LinkEvent, QuorumLinks, QuorumSettings};
use super::tokens::WAKER;
use crate::ids::Millis;

/// What is driven.
pub(super) trait Sockets {
    type Report;
    fn event(&mut self, event: &Event);
    fn turn(&mut self, now: Millis);
    fn poll(&mut self) -> Option<Self::Report>;
    fn poll_timeout(&self) -> Option<Millis>;
    fn flush(&mut self);
}

impl Sockets for Ballots {
    type Report = BallotEvent;

    fn event(&mut self, event: &Event) {
        assert!(Ballots::owns(event.token()));
        Ballots::event(self, event);
    }

    fn turn(&mut self, now: Millis) {
        Ballots::turn(self, now).unwrap();
    }

    fn poll(&mut self) -> Option<BallotEvent> {
        Ballots::poll(self)
    }

    fn poll_timeout(&self) -> Option<Millis> {
        Ballots::poll_timeout(self)
    }

    fn flush(&mut self) {}
}

impl Sockets for QuorumLinks {
    type Report = LinkEvent;

    fn event(&mut self, event: &Event) {
        assert!(QuorumLinks::owns(event.token()));
        QuorumLinks::event(self, event);
    }

    fn turn(&mut self, now: Millis) {
        QuorumLinks::turn(self, now).unwrap();
    }

    fn poll(&mut self) -> Option<LinkEvent> {
        QuorumLinks::poll(self)
    }

    fn poll_timeout(&self) -> Option<Millis> {
        QuorumLinks::poll_timeout(self)
    }

    fn flush(&mut self) {
        QuorumLinks::flush(self);
    }
}

/// One server's sockets, and all they reported that was not taken.
pub(super) struct Node<S: Sockets> {
    poll: Poll,
    pub(super) sockets: S,
    pub(super) reports: Vec<S::Report>,
    pub(super) turns: u64,
    started: Instant,
}

impl Node<Ballots> {
    pub(super) fn new(settings: ElectionSettings) -> Node<Ballots> {
        Node::of(|registry, waker| Ballots::new(settings, registry, waker).unwrap())
    }
}

impl Node<QuorumLinks> {
    pub(super) fn new(settings: QuorumSettings) -> Node<QuorumLinks> {
        Node::of(|registry, waker| QuorumLinks::new(settings, registry, waker).unwrap())
    }
}

impl<S: Sockets> Node<S> {
    fn of(make: impl FnOnce(&Registry, Arc<Waker>) -> S) -> Node<S> {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).unwrap());
        let sockets = make(poll.registry(), waker);
        Node { poll, sockets, reports: Vec::new(), turns: 0, started: Instant::now() }
    }

    pub(super) fn now(&self) -> Millis {
        Millis(self.started.elapsed().as_millis() as u64)
    }

    /// One turn, waiting for events no longer than it asks for itself, and 2 ms at most.
    pub(super) fn turn(&mut self) {
        self.turn_without_poll();
        while let Some(report) = self.sockets.poll() {
            self.reports.push(report);
        }
        self.sockets.flush();
    }

    /// As [`Node::turn`], with the reports left where they are.
    pub(super) fn turn_without_poll(&mut self) {
        let now = self.now();
        let wait = self.sockets.poll_timeout().map_or(2, |at| at.since(now).min(2));
        let mut events = Events::with_capacity(1024);
        self.poll.poll(&mut events, Some(Duration::from_millis(wait))).unwrap();
        for event in events.iter().filter(|event| event.token() != WAKER) {
            self.sockets.event(event);
        }
        let now = self.now();
        self.sockets.turn(now);
        self.turns += 1;
    }
}

/// How long a test waits for what must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Drives one server until it is so.
pub(super) fn until<S: Sockets>(node: &mut Node<S>, what: &str, mut is_so: impl FnMut(&mut Node<S>) -> bool) {
    let begun = Instant::now();
    while !is_so(node) {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        node.turn();
    }
}

/// Drives several until it is so.
pub(super) fn until_all<S: Sockets>(nodes: &mut [Node<S>], what: &str, mut is_so: impl FnMut(&mut [Node<S>]) -> bool) {
    let begun = Instant::now();
    while !is_so(nodes) {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        nodes.iter_mut().for_each(Node::turn);
    }
}
