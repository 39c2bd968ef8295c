//! The script: chooses the next step from chance and from what the servers have answered so far.

use std::collections::VecDeque;

use crate::broken;
use crate::pools;
use crate::render::bytes;
use crate::requests::Source;
use crate::rng::Rng;
use crate::side::{SLOTS, Seen};
use crate::step::{Action, Body, Connect, Password, Request, Session, Step};
use crate::stories;

/// The connection that stays super and cleans up.
pub const SUPER_SLOT: usize = 0;
/// How many steps a session may be without connection before it is resumed, so that none expires.
const DETACHED_STEPS_MAX: usize = 25;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Life {
    Attached(usize),
    Detached {
        since: usize,
    },
    Ended,
    /// Never granted.
    Unborn,
}

pub struct Script {
    pub rng: Rng,
    /// Steps decided on already.
    pub queue: VecDeque<Step>,
    sessions: Vec<Life>,
    made: Vec<String>,
    open: Vec<bool>,
    zxid_now: i64,
    xid: i32,
    step: usize,
    /// What was asked last, to make sense of what comes back.
    last: Option<Action>,
}

impl Script {
    pub fn new(seed: u64) -> Script {
        let mut script = Script {
            rng: Rng::new(seed),
            queue: VecDeque::new(),
            sessions: Vec::new(),
            made: Vec::new(),
            open: vec![false; SLOTS],
            zxid_now: 0,
            xid: 0,
            step: 0,
            last: None,
        };
        let first = script.new_session(SUPER_SLOT);
        script.queue.push_back(first);
        stories::clean_up(&mut script);
        script
    }

    pub fn next(&mut self) -> Step {
        let step = match self.queue.pop_front() {
            Some(step) => step,
            None => self.choose(),
        };
        let step = self.cut_after_race(step);
        self.step += 1;
        self.last = Some(step.action.clone());
        step
    }

    /// Ends a batch after what ZooKeeper's later answers depend on only once it is applied. In one batch they would be
    /// a matter of luck.
    fn cut_after_race(&mut self, mut step: Step) -> Step {
        let Action::Send { slot, requests, tail, .. } = &mut step.action else { return step };
        let Some(at) = requests.iter().position(races).filter(|at| at + 1 < requests.len()) else { return step };
        let (slot, rest, tail) = (*slot, requests.split_off(at + 1), std::mem::take(tail));
        let first = std::mem::take(requests);
        let mut rest = self.send(slot, rest);
        if let Action::Send { tail: rest_tail, .. } = &mut rest.action {
            *rest_tail = tail;
        }
        self.queue.push_front(rest);
        self.send(slot, first)
    }

    /// Learns from what the reference server did.
    pub fn observe(&mut self, seen: &[Seen], open: Vec<bool>, zxid_now: i64) {
        self.made.extend(seen.iter().filter_map(|seen| seen.created.clone()).filter(|path| path.contains("s-")));
        let surplus = self.made.len().saturating_sub(30);
        self.made.drain(..surplus);
        self.zxid_now = zxid_now;
        let last = self.last.take();
        for life in &mut self.sessions {
            if let Life::Attached(slot) = *life
                && !open[slot]
            {
                *life = Life::Detached { since: self.step };
            }
        }
        match last {
            Some(Action::Connect(connect)) => self.observe_connect(&connect, &open),
            Some(Action::Send { slot, requests, .. }) if requests.iter().any(|request| request.op == -11) => {
                self.end_session_of(slot);
            }
            _ => {}
        }
        self.open = open;
    }

    fn observe_connect(&mut self, connect: &Connect, open: &[bool]) {
        let number = match connect.session {
            Session::New(number) | Session::Resume(number) => number,
            Session::Unknown(_) => return,
        };
        let now = self.step;
        for life in self.sessions.iter_mut().filter(|life| **life == Life::Attached(connect.slot)) {
            *life = Life::Detached { since: now };
        }
        if !open[connect.slot] {
            return;
        }
        self.sessions[number] = Life::Attached(connect.slot);
    }

    fn end_session_of(&mut self, slot: usize) {
        // It was attached there when the step began, and has just been marked detached.
        let now = self.step;
        let ended = self.sessions.iter_mut().find(|life| match life {
            Life::Attached(at) => *at == slot,
            Life::Detached { since } => *since == now,
            Life::Ended | Life::Unborn => false,
        });
        if let Some(life) = ended {
            *life = Life::Ended;
        }
    }

    fn choose(&mut self) -> Step {
        if !self.open[SUPER_SLOT] {
            let step = self.attach(SUPER_SLOT);
            let login = self.login(SUPER_SLOT, "digest", pools::SUPER.as_bytes());
            self.queue.push_back(login);
            return step;
        }
        if let Some(step) = self.overdue() {
            return step;
        }
        if let Some(slot) = (1..SLOTS - 1).find(|&slot| !self.open[slot]) {
            return self.attach(slot);
        }
        let slot = self.slot();
        match self.rng.below(1000) {
            0..=659 => self.requests(slot),
            660..=749 => self.broken(slot),
            750..=769 => self.closing(slot),
            770..=809 => self.random_login(slot),
            810..=829 => stories::handshake(self),
            830..=849 => self.drop(slot),
            850..=859 => self.raw(),
            860..=874 => stories::reconnect_with_watches(self),
            875..=904 => stories::quota(self),
            905..=934 => stories::ephemerals(self),
            935..=954 => stories::watches(self),
            955..=964 => stories::sizes(self),
            965..=974 => stories::permissions(self),
            975..=979 => self.word(),
            980..=989 => stories::unlock(self),
            _ => {
                stories::clean_up(self);
                self.next_queued()
            }
        }
    }

    pub fn next_queued(&mut self) -> Step {
        self.queue.pop_front().expect("a story has at least one step")
    }

    /// One of the open connections that are not super.
    pub fn slot(&mut self) -> usize {
        let open: Vec<_> = (1..SLOTS).filter(|&slot| self.open[slot]).collect();
        if open.is_empty() || self.rng.chance(4) { SUPER_SLOT } else { self.rng.pick(&open) }
    }

    pub fn source(&mut self) -> Source<'_> {
        self.xid += 1;
        Source { rng: &mut self.rng, made: &self.made, zxid_now: self.zxid_now, xid: self.xid }
    }

    pub fn made(&self) -> &[String] {
        &self.made
    }

    pub fn zxid_now(&self) -> i64 {
        self.zxid_now
    }

    // Steps

    pub fn send(&mut self, slot: usize, requests: Vec<Request>) -> Step {
        let texts: Vec<_> = requests.iter().map(|request| request.text.as_str()).collect();
        let text = format!("#{slot}: {}", texts.join(" | "));
        let split = self.rng.chance(3);
        Step { action: Action::Send { slot, requests, tail: Vec::new(), split }, text }
    }

    pub fn request(&mut self, op: i32, body: Body, text: impl Into<String>) -> Request {
        self.xid += 1;
        Request::new(op, self.xid, body, text.into())
    }

    fn requests(&mut self, slot: usize) -> Step {
        let count = self.rng.weighted(&[(50, 1), (20, 2), (15, 4), (10, 8), (5, 14)]);
        let requests = self.random_requests(count);
        self.send(slot, requests)
    }

    pub fn random_requests(&mut self, count: usize) -> Vec<Request> {
        let mut source = self.source();
        let requests = (0..count).map(|_| source.any()).collect();
        self.xid = source.xid;
        requests
    }

    fn broken(&mut self, slot: usize) -> Step {
        let count = 1 + self.rng.below(3);
        let mut source = self.source();
        let requests = (0..count).map(|_| broken::request(&mut source)).collect();
        self.xid = source.xid;
        self.send(slot, requests)
    }

    /// Something that ends the connection. What ZooKeeper refuses in its network thread comes alone: its answer
    /// would overtake those to earlier requests, or not.
    fn closing(&mut self, slot: usize) -> Step {
        match self.rng.below(10) {
            0..=3 => {
                let mut source = self.source();
                let request = broken::unknown_operation(&mut source);
                self.xid = source.xid;
                self.send(slot, vec![request])
            }
            4..=6 => {
                let count = self.rng.below(3);
                let mut requests = self.random_requests(count);
                requests.push(self.request(-11, Body::new(), "closeSession"));
                self.send(slot, requests)
            }
            _ => {
                let (tail, text) = broken::tail(&mut self.rng);
                let action = Action::Send { slot, requests: Vec::new(), tail, split: false };
                Step { action, text: format!("#{slot}: {text}") }
            }
        }
    }

    pub fn login(&mut self, slot: usize, scheme: &str, credentials: &[u8]) -> Step {
        let request = self.auth(Some(scheme), Some(credentials));
        self.send(slot, vec![request])
    }

    pub fn auth(&mut self, scheme: Option<&str>, credentials: Option<&[u8]>) -> Request {
        let kind = self.rng.pick(&[0, 0, 0, 7]);
        let body = Body::new().i32(kind).buf(scheme.map(str::as_bytes)).buf(credentials);
        let xid = if self.rng.chance(70) { -4 } else { self.xid + 1 };
        let credentials = credentials.map_or("null".into(), bytes);
        let mut request = self.request(100, body, format!("auth {scheme:?} {credentials}"));
        request.xid = xid;
        request
    }

    fn random_login(&mut self, slot: usize) -> Step {
        let credentials = self.rng.pick(pools::USERS);
        let first = match self.rng.below(30) {
            0..=19 => self.auth(Some("digest"), Some(credentials)),
            20 => self.auth(Some("digest"), Some(b"")),
            21 => self.auth(Some("ip"), Some(b"10.1.1.1")),
            22 => self.auth(Some("digest"), Some("ü:pässword".as_bytes())),
            23 => {
                let token = self.rng.pick(&[Some(&b""[..]), Some(&b"abc"[..]), None]);
                self.request(102, Body::new().buf(token), format!("sasl {token:?}"))
            }
            24 => self.auth(Some("digest"), None),
            25 => {
                let scheme = self.rng.pick(&["world", "sasl", "x509", "super", "auth", "foo", ""]);
                self.auth(Some(scheme), Some(b"anyone"))
            }
            26 => self.auth(None, Some(b"u:p")),
            27 => self.auth(Some("Digest"), Some(b"u:p")),
            28 => {
                let mut cut = self.auth(Some("digest"), Some(b"u:p"));
                cut.body.truncate(9);
                cut.text += " cut";
                cut
            }
            _ => self.auth(Some("digest"), Some(pools::SUPER.as_bytes())),
        };
        // Alone, or first: the reference answers it out of turn, and may answer it before what is still on its way.
        let mut requests = vec![first];
        if requests[0].op == 100 && requests[0].text.contains("digest\") \"") && self.rng.chance(50) {
            requests.push(self.request(107, Body::new(), "whoAmI"));
            requests.extend(self.random_requests(2));
        }
        self.send(slot, requests)
    }

    pub fn drop(&mut self, slot: usize) -> Step {
        Step { action: Action::Drop { slot }, text: format!("#{slot}: hangs up") }
    }

    fn raw(&mut self) -> Step {
        let (bytes, text) = broken::greeting(&mut self.rng);
        Step { action: Action::Raw { bytes }, text: text.into() }
    }

    fn word(&mut self) -> Step {
        let word = self.rng.pick(crate::words::DURING);
        Step { action: Action::Word(word), text: word.into() }
    }

    // Sessions

    pub fn connect(&mut self, slot: usize, session: Session) -> Connect {
        Connect {
            slot,
            session,
            password: Password::Right,
            protocol: 0,
            timeout: 60_000,
            last_zxid: None,
            read_only: Some(0),
            behind: Vec::new(),
        }
    }

    pub fn connect_step(&mut self, connect: Connect) -> Step {
        let behind: Vec<_> = connect.behind.iter().map(|request| request.text.as_str()).collect();
        let text = format!(
            "#{}: connects, {:?}, password {:?}, protocol {}, timeout {}, zxid {:?}, read-only {:?} | {}",
            connect.slot,
            connect.session,
            connect.password,
            connect.protocol,
            connect.timeout,
            connect.last_zxid,
            connect.read_only,
            behind.join(" | ")
        );
        Step { action: Action::Connect(connect), text }
    }

    pub fn new_session(&mut self, slot: usize) -> Step {
        let number = self.new_session_number();
        let connect = self.connect(slot, Session::New(number));
        self.connect_step(connect)
    }

    pub fn new_session_number(&mut self) -> usize {
        self.sessions.push(Life::Unborn);
        self.sessions.len() - 1
    }

    /// Sessions that live without a connection.
    pub fn detached(&self) -> Vec<usize> {
        let detached = |number: &usize| matches!(self.sessions[*number], Life::Detached { .. });
        (0..self.sessions.len()).filter(detached).collect()
    }

    pub fn ended(&self) -> Vec<usize> {
        (0..self.sessions.len()).filter(|&number| self.sessions[number] == Life::Ended).collect()
    }

    pub fn session_at(&self, slot: usize) -> Option<usize> {
        self.sessions.iter().position(|&life| life == Life::Attached(slot))
    }

    /// Fills an empty slot, with a session that waits if there is one.
    fn attach(&mut self, slot: usize) -> Step {
        let detached = self.detached();
        if detached.is_empty() || self.rng.chance(30) {
            return self.new_session(slot);
        }
        let session = Session::Resume(self.rng.pick(&detached));
        let mut connect = self.connect(slot, session);
        connect.last_zxid = self.rng.pick(&[None, Some(0)]);
        self.connect_step(connect)
    }

    /// Resumes, in the slot kept for that, a session that has been waiting long; then ends it.
    fn overdue(&mut self) -> Option<Step> {
        let number = self
            .sessions
            .iter()
            .position(|life| matches!(life, Life::Detached { since } if self.step - since > DETACHED_STEPS_MAX))?;
        let slot = SLOTS - 1;
        if self.open[slot] {
            let request = self.request(-11, Body::new(), "closeSession");
            return Some(self.send(slot, vec![request]));
        }
        let connect = self.connect(slot, Session::Resume(number));
        Some(self.connect_step(connect))
    }
}

/// Quotas are decided about by the usage that is applied, and permissions by the list that is.
pub fn races(request: &Request) -> bool {
    request.op == 7 || request.body.windows(2).any(|part| part == b"/q")
}
