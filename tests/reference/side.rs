//! One of the two servers, as the script sees it: sends steps, returns what came back as masked lines.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use zoarium::ids::SessionId;
use zoarium::jute::{Decoder, decode};
use zoarium::raw::{ClientError, ConnectOptions, RawClient, RawWire, four_letter};
use zoarium::records::connect::ConnectResponse;
use zoarium::records::replies::ReplyHeader;

use crate::masks::Masks;
use crate::render;
use crate::step::{Action, Body, Connect, Password, Request, Session, Step};
use crate::words;

/// Longer than any server should take for one request, shorter than the session timeouts in use.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a server may take to hang up.
const HANG_UP: Duration = Duration::from_secs(3);
/// How many connections a script has open at most.
pub const SLOTS: usize = 6;

/// One thing that came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// On which connection; of which request, counting from 0, if it is a reply.
    pub slot: usize,
    pub request: Option<usize>,
    /// Masked.
    pub line: String,
    /// The path a create made, for the script to use.
    pub created: Option<String>,
}

impl Seen {
    fn line(slot: usize, line: impl Into<String>) -> Seen {
        Seen { slot, request: None, line: line.into(), created: None }
    }
}

/// Changes a frame on its way in, or drops it, or adds one, to prove that the comparison notices.
pub type Tamper = Box<dyn FnMut(Vec<u8>) -> Vec<Vec<u8>>>;

pub struct Side {
    pub address: String,
    pub tamper: Option<Tamper>,
    masks: Masks,
    slots: Vec<Option<Connection>>,
    /// Id and password by the script's number.
    sessions: Vec<(i64, Vec<u8>)>,
}

struct Connection {
    wire: RawWire,
    /// Opcodes and ranks of requests not answered yet.
    pending: VecDeque<Pending>,
    /// Something was said after which a server hangs up. It may answer what comes in between, or not.
    ending: bool,
}

struct Pending {
    op: i32,
    rank: Option<usize>,
}

impl Side {
    pub fn new(address: String) -> Side {
        Side {
            address,
            tamper: None,
            masks: Masks::default(),
            slots: (0..SLOTS).map(|_| None).collect(),
            sessions: Vec::new(),
        }
    }

    /// Which connections are open, as far as has been noticed.
    pub fn open(&self) -> Vec<bool> {
        self.slots.iter().map(Option::is_some).collect()
    }

    /// The last zxid seen, as the script counts.
    pub fn zxid_now(&self) -> i64 {
        self.masks.now()
    }

    /// Has this side count as the other one does.
    pub fn fall_back_to(&mut self, zxid: i64) {
        self.masks.fall_back_to(zxid);
    }

    /// Ends every session the script began, so that the next script finds none of their znodes.
    pub fn end_sessions(&mut self) {
        self.slots.clear();
        for (id, password) in self.sessions.iter().filter(|(id, _)| *id != 0) {
            let password = password.as_slice().try_into().expect("passwords are 16 bytes");
            let options = ConnectOptions { resume: Some((SessionId(*id), password)), ..Default::default() };
            match RawClient::connect_with(&self.address, &options) {
                Ok(client) => client.close().expect("a live session can be ended"),
                Err(ClientError::Expired) => {}
                Err(error) => panic!("session {id:#x}: {error}"),
            }
        }
    }

    /// Forgets a connection, when the two servers disagree about it.
    pub fn forget(&mut self, slot: usize) {
        self.slots[slot] = None;
    }

    /// Carries out one step and waits until all it caused has arrived, on every connection.
    pub fn perform(&mut self, step: &Step) -> Vec<Seen> {
        let mut seen = Vec::new();
        match &step.action {
            Action::Connect(connect) => self.connect(connect, &mut seen),
            Action::Send { slot, requests, tail, split } => self.send(*slot, requests, tail, *split, &mut seen),
            Action::Drop { slot } => self.slots[*slot] = None,
            Action::Raw { bytes } => seen.push(Seen::line(SLOTS, raw(&self.address, bytes))),
            Action::Word(word) => seen.push(Seen::line(SLOTS, self.word(word))),
        }
        self.settle(&mut seen);
        seen.sort_by_key(|seen| seen.slot);
        seen
    }

    /// The masked answer to a four-letter word.
    pub fn word(&self, word: &str) -> String {
        match four_letter(&self.address, word, PATIENCE) {
            Ok(answer) if word == "dump" => {
                let there = four_letter(&self.address, "cons", PATIENCE).unwrap_or_default();
                words::shape(word, &words::without_ended(&answer, &there), &self.masks)
            }
            Ok(answer) => words::shape(word, &answer, &self.masks),
            Err(error) => format!("{word}: {:?}", error.kind()),
        }
    }

    fn connect(&mut self, connect: &Connect, seen: &mut Vec<Seen>) {
        let slot = connect.slot;
        self.slots[slot] = None;
        let (id, right) = match connect.session {
            Session::New(_) => (0, vec![0; 16]),
            Session::Resume(number) => self.sessions[number].clone(),
            Session::Unknown(id) => (id, vec![0; 16]),
        };
        let password = match connect.password {
            Password::Right => Some(right),
            Password::Wrong => Some(right.iter().map(|byte| byte ^ 0x55).collect()),
            Password::Null => None,
            Password::Empty => Some(Vec::new()),
            Password::Long => Some([right.as_slice(), &[1, 2, 3]].concat()),
        };
        let last_zxid =
            connect.last_zxid.map_or(0, |ahead| self.masks.absolute(self.masks.now().saturating_add(ahead)));
        let mut hello = Body::new().i32(connect.protocol).i64(last_zxid).i32(connect.timeout).i64(id);
        hello = hello.buf(password.as_deref());
        hello.0.extend(connect.read_only);
        let mut bytes = Body::new().buf(Some(&hello.0)).0;
        let mut pending = VecDeque::new();
        for (rank, request) in connect.behind.iter().enumerate() {
            bytes.extend(self.frame(request));
            pending.push_back(Pending::of(request, rank));
        }
        let mut wire = match RawWire::connect(&self.address, PATIENCE) {
            Ok(wire) => wire,
            Err(error) => return seen.push(Seen::line(slot, format!("no connection: {:?}", error.kind()))),
        };
        let answer = wire.send_raw(&bytes).and_then(|()| wire.receive_frame());
        match answer {
            Ok(frame) => {
                let frame = self.tamper(frame).pop().unwrap_or_default();
                self.welcome(connect.session, &frame);
                seen.push(Seen::line(slot, render::handshake(&self.masks, &frame)));
                let refused = decode::<ConnectResponse<'_>>(&frame).is_ok_and(|response| response.timeout <= 0);
                self.slots[slot] = Some(Connection { wire, pending, ending: refused });
                self.receive(slot, seen);
            }
            Err(error) => seen.push(Seen::line(slot, ending(&error))),
        }
    }

    fn welcome(&mut self, asked: Session, frame: &[u8]) {
        let Ok(response) = decode::<ConnectResponse<'_>>(frame) else { return };
        let Session::New(number) = asked else { return };
        if response.session_id != 0 {
            self.masks.name_session(response.session_id, number);
            self.sessions.resize(self.sessions.len().max(number + 1), (0, Vec::new()));
            self.sessions[number] = (response.session_id, response.password.0.unwrap_or_default().to_vec());
        }
    }

    fn frame(&self, request: &Request) -> Vec<u8> {
        let mut payload = Body::new().i32(request.xid).i32(request.op);
        if let Some(zxid) = request.zxid {
            payload = payload.i64(self.masks.absolute(zxid));
        }
        Body::new().buf(Some(&payload.raw(&request.body).0)).0
    }

    fn send(&mut self, slot: usize, requests: &[Request], tail: &[u8], split: bool, seen: &mut Vec<Seen>) {
        let mut bytes: Vec<u8> = requests.iter().flat_map(|request| self.frame(request)).collect();
        bytes.extend_from_slice(tail);
        let Some(connection) = &mut self.slots[slot] else { return };
        connection.pending.extend(requests.iter().enumerate().map(|(rank, request)| Pending::of(request, rank)));
        let cut = if split { bytes.len() / 2 } else { bytes.len() };
        // A server that has hung up is noticed when reading.
        let _ = connection.wire.send_raw(&bytes[..cut]);
        let _ = connection.wire.send_raw(&bytes[cut..]);
        self.receive(slot, seen);
    }

    /// Pings on every connection: replies come in order, so what comes before the answer is what the step caused.
    fn settle(&mut self, seen: &mut Vec<Seen>) {
        let ping = Body::new().i32(8).i32(-2).i32(11).0;
        for connection in self.slots.iter_mut().flatten() {
            connection.pending.push_back(Pending { op: 11, rank: None });
            let _ = connection.wire.send_raw(&ping);
        }
        for slot in 0..self.slots.len() {
            self.receive(slot, seen);
        }
    }

    /// Reads until every pending request of the connection is answered, or it ends.
    fn receive(&mut self, slot: usize, seen: &mut Vec<Seen>) {
        while let Some(connection) = &mut self.slots[slot] {
            if connection.ending {
                return self.await_end(slot, seen);
            }
            if connection.pending.is_empty() {
                return;
            }
            match connection.wire.receive_frame() {
                Ok(frame) => {
                    for frame in self.tamper(frame) {
                        self.take(slot, &frame, seen);
                    }
                }
                Err(error) => {
                    seen.push(Seen::line(slot, ending(&error)));
                    self.slots[slot] = None;
                }
            }
        }
    }

    fn await_end(&mut self, slot: usize, seen: &mut Vec<Seen>) {
        let Some(mut connection) = self.slots[slot].take() else { return };
        match connection.wire.poll_frame(HANG_UP) {
            Ok(Some(frame)) => seen.push(Seen::line(slot, format!("a frame at the end: {}", render::bytes(&frame)))),
            Ok(None) => seen.push(Seen::line(slot, "stays open")),
            Err(error) => seen.push(Seen::line(slot, ending(&error))),
        }
    }

    fn take(&mut self, slot: usize, frame: &[u8], seen: &mut Vec<Seen>) {
        let mut decoder = Decoder::new(frame);
        let header: ReplyHeader = match decoder.read() {
            Ok(header) => header,
            Err(error) => {
                seen.push(Seen::line(slot, format!("{error}: {}", render::bytes(frame))));
                self.slots[slot] = None;
                return;
            }
        };
        let Some(connection) = &mut self.slots[slot] else { return };
        if header.xid == -1 {
            self.masks.saw_zxid(header.zxid);
            return seen.push(Seen::line(slot, render::event(&mut self.masks, &header, decoder.rest())));
        }
        let Some(pending) = connection.pending.pop_front() else {
            return seen.push(Seen::line(slot, format!("a reply nobody asked for: {}", render::bytes(frame))));
        };
        self.masks.saw_zxid(header.zxid);
        connection.ending = pending.op == -11 || pending.op == 100 && header.err != 0 || header.zxid == -1;
        let (line, created) = render::reply(&mut self.masks, pending.op, &header, decoder.rest());
        seen.push(Seen { slot, request: pending.rank, line, created });
    }

    fn tamper(&mut self, frame: Vec<u8>) -> Vec<Vec<u8>> {
        match &mut self.tamper {
            Some(tamper) => tamper(frame),
            None => vec![frame],
        }
    }
}

impl Pending {
    fn of(request: &Request, rank: usize) -> Pending {
        Pending { op: request.op, rank: Some(rank) }
    }
}

/// How a connection ended: a reset is as good a close as any.
fn ending(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "closed".into(),
        ErrorKind::TimedOut => "silence".into(),
        kind => format!("broken: {kind:?}"),
    }
}

fn raw(address: &str, bytes: &[u8]) -> String {
    let talk = || -> std::io::Result<Vec<u8>> {
        let mut wire = RawWire::connect(address, PATIENCE)?;
        wire.send_raw(bytes)?;
        let mut stream = wire.stream();
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = Vec::new();
        let started = Instant::now();
        match stream.read_to_end(&mut answer) {
            Err(error) if answer.is_empty() && error.kind() != ErrorKind::ConnectionReset => return Err(error),
            _ if started.elapsed() > PATIENCE => return Err(ErrorKind::TimedOut.into()),
            _ => {}
        }
        Ok(answer)
    };
    match talk() {
        Ok(answer) if answer.is_empty() => "closed".into(),
        Ok(answer) => format!("{} and closed", render::bytes(&answer)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => "silence".into(),
        Err(error) => ending(&error),
    }
}
