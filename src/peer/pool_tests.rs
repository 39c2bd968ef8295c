//! The pool with sockets that are numbers: virtual time, counted turns.

use super::*;

const MAX: usize = 4 << 20;
const CHUNK: usize = 128 << 10;
const FRAME: usize = 1 << 20;

/// A client that sends one frame.
struct Client {
    /// Bytes that it sends in a millisecond, and every how many it sends them.
    rate: usize,
    every_ms: u64,
    frame: usize,
    socket: usize,
    sent: usize,
    kept: usize,
    closed: bool,
    waits: bool,
    finished: Option<u64>,
}

impl Client {
    fn sending(frame: usize, rate: usize) -> Client {
        Client { rate, every_ms: 1, frame, socket: 0, sent: 0, kept: 0, closed: false, waits: false, finished: None }
    }

    fn every(mut self, ms: u64) -> Client {
        self.every_ms = ms;
        self
    }
}

struct World {
    pool: MemoryPool,
    clients: Vec<Client>,
    most_held: usize,
}

impl World {
    fn new(clients: Vec<Client>) -> World {
        World { pool: MemoryPool::new(MAX, CHUNK), clients, most_held: 0 }
    }

    /// One turn of the loop in each millisecond.
    fn run(&mut self, from: u64, to: u64) {
        for ms in from..to {
            let now = Millis(ms);
            for client in self.clients.iter_mut().filter(|client| ms % client.every_ms == 0) {
                // A socket holds no more than a few chunks.
                let more = client.rate.min(client.frame - client.sent).min((4 * CHUNK).saturating_sub(client.socket));
                client.socket += more;
                client.sent += more;
            }
            for slot in self.pool.go_on(now) {
                self.clients[slot as usize].waits = false;
            }
            for slot in 0..self.clients.len() as u32 {
                self.serve(slot, now);
            }
            self.most_held = self.most_held.max(self.pool.held());
        }
    }

    fn serve(&mut self, slot: u32, now: Millis) {
        let at = slot as usize;
        if self.clients[at].closed || self.clients[at].waits || self.clients[at].socket == 0 {
            return;
        }
        let most = loop {
            match self.pool.may_read(slot, now) {
                Share::Any => break CHUNK,
                Share::Few => break FREE.saturating_sub(self.clients[at].kept).max(1),
                Share::Wait => {
                    self.clients[at].waits = true;
                    return;
                }
                Share::AfterClosing(victim) => {
                    self.clients[victim as usize].closed = true;
                    self.pool.forget(victim);
                }
            }
        };
        let client = &mut self.clients[at];
        let count = client.socket.min(most);
        client.socket -= count;
        client.kept += count;
        let is_whole = client.kept == client.frame;
        if is_whole {
            client.finished = Some(now.0);
            client.kept = 0;
        }
        let (kept, wanted) = (client.kept, if is_whole { 0 } else { client.frame });
        self.pool.keeps(slot, kept, wanted, now);
        self.pool.has_read(slot, count, count < most, now);
    }

    fn add(&mut self, client: Client) -> usize {
        self.clients.push(client);
        self.clients.len() - 1
    }
}

#[test]
fn a_claim_costs_nobody_anything() {
    let mut world = World::new((0..1000).map(|_| Client::sending(FRAME, 100).every(100)).collect());
    world.run(0, 1000);
    let honest = world.add(Client::sending(500_000, CHUNK));
    world.run(1000, 1100);
    assert!(world.clients[honest].finished.is_some_and(|at| at < 1010));
    assert!(world.clients.iter().all(|client| !client.closed), "there was memory for all");
}

#[test]
fn frames_that_are_all_but_sent_make_room_for_one_that_is_being_sent() {
    // 300 send nearly all of a frame, then a byte now and then.
    let hoarder = || {
        let mut client = Client::sending(FRAME, 1).every(200);
        client.socket = FRAME - 1000;
        client.sent = FRAME - 1000;
        client
    };
    let mut world = World::new((0..300).map(|_| hoarder()).collect());
    world.run(0, 6000);
    assert!(world.most_held <= MAX + FRAME + CHUNK, "{} bytes", world.most_held);
    let honest: Vec<usize> = (0..20).map(|_| world.add(Client::sending(500_000, CHUNK))).collect();
    world.run(6000, 6300);
    for at in honest {
        let client = &world.clients[at];
        assert!(!client.closed && client.finished.is_some(), "{:?} {:?}", client.closed, client.kept);
    }
    assert!(world.most_held <= MAX + FRAME + CHUNK, "{} bytes", world.most_held);
}

#[test]
fn frames_that_are_being_sent_wait_for_each_other_and_all_finish() {
    // 200 MB at once where 4 fit.
    let mut world = World::new((0..200).map(|_| Client::sending(FRAME, 64 << 10)).collect());
    world.run(0, 2000);
    assert!(world.clients.iter().all(|client| client.finished.is_some() && !client.closed));
    assert!(world.most_held <= MAX + FRAME + CHUNK, "{} bytes", world.most_held);
}

#[test]
fn where_all_are_slow_the_slowest_make_room_for_the_fast() {
    // Each of 40 sends 200 KB a second, which is progress; together they would need ten times the memory.
    let mut world = World::new((0..40).map(|_| Client::sending(FRAME, 200)).collect());
    world.run(0, 2000);
    let honest = world.add(Client::sending(500_000, CHUNK));
    world.run(2000, 20_000);
    assert!(!world.clients[honest].closed && world.clients[honest].finished.is_some_and(|at| at < 2050));
    assert!(world.clients.iter().all(|client| client.closed || client.finished.is_some()));
    assert!(world.most_held <= MAX + FRAME + CHUNK, "{} bytes", world.most_held);
}

#[test]
fn the_only_large_frame_may_have_any_size() {
    let mut world = World::new(vec![Client::sending(20 * MAX, CHUNK)]);
    world.run(0, 1000);
    assert!(world.clients[0].finished.is_some());
    assert_eq!(world.pool.held(), 0);
}

#[test]
fn whoever_goes_leaves_nothing_behind() {
    let mut world = World::new((0..100).map(|_| Client::sending(FRAME, 2000)).collect());
    world.run(0, 200);
    assert!(world.pool.held() > 0);
    (0..100).for_each(|slot| world.pool.forget(slot));
    assert_eq!((world.pool.held(), world.pool.go_on(Millis(300)).len()), (0, 0));
    assert_eq!(world.pool.may_read(7, Millis(300)), Share::Any);
}
