//! One client's socket: what it sent and what it has not taken yet.

use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Token};

use super::pool::FREE;
use super::{LINKS, Peer};
use crate::engine::{CloseReason, ConnId, NextInput};
use crate::four_letter::Word;
use crate::ids::Millis;
use crate::process::Owned;

/// Bytes read in one turn; links that are left over come first in the next.
const TURN_INPUT_MAX: usize = 8 << 20;

/// What a telnet client sends when it is interrupted: known so that it is not taken for the length of a frame.
const TELNET_INTERRUPT: [u8; 4] = [0xff, 0xf4, 0xff, 0xfd];

/// A client's socket.
pub(super) struct ClientSocket {
    stream: Owned<TcpStream>,
    pub conn: ConnId,
    pub address: IpAddr,
    /// Bytes that are no whole frame yet, or whose turn has not come.
    input: Vec<u8>,
    /// The first bytes were compared with the four-letter words.
    greeted: bool,
    readable: bool,
    /// The client has closed its side, or the connection is broken: no event will tell again.
    hung_up: bool,
    /// The engine takes no more of it for now.
    blocked: bool,
    /// What is left over may be whole frames: they come before more is read.
    has_frames: bool,
    /// There is something to read and no memory for it.
    pub waits_for_memory: bool,
    queued: bool,
    /// Since when there is output that the client does not take.
    stalled_since: Option<Millis>,
    /// The incomplete frame's size when it is a large one, else 0.
    wanted: usize,
}

/// What became of reading from a socket.
enum SocketRead {
    Bytes(usize),
    Nothing,
    Gone,
}

impl ClientSocket {
    fn read(&mut self, buffer: &mut [u8]) -> SocketRead {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => SocketRead::Gone,
                Ok(count) => {
                    // A short read has emptied the socket: the next bytes come with an event of their own. The end
                    // does not, if it came with these.
                    self.readable = count == buffer.len() || self.hung_up;
                    SocketRead::Bytes(count)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    SocketRead::Nothing
                }
                Err(_) => SocketRead::Gone,
            };
        }
    }
}

impl ClientSocket {
    pub(super) fn input_len(&self) -> usize {
        self.input.len()
    }

    /// Whether what is kept is the beginning of a large frame.
    pub(super) fn is_large(&self) -> bool {
        self.wanted > 0
    }

    /// Whether its client has sent something that we let wait. What it will never be able to send does not count.
    pub(super) fn has_unheard(&self) -> bool {
        let waits = self.blocked || self.waits_for_memory || self.queued;
        waits && ((self.has_frames && !self.input.is_empty()) || matches!(self.stream.peek(&mut [0]), Ok(1..)))
    }

    /// Whether the client has gone while its handshake waited for its turn.
    pub(super) fn has_left(&self) -> bool {
        self.hung_up
    }

    /// Whether its output waits longer than it may.
    pub(super) fn has_stalled(&self, now: Millis, stall_ms: u64) -> bool {
        self.stalled_since.is_some_and(|at| now.since(at) > stall_ms)
    }
}

impl Peer {
    /// Takes a new connection in.
    pub(super) fn add_link(&mut self, mut stream: Owned<TcpStream>, address: std::net::SocketAddr) {
        // Replies are small and awaited; without this they would wait for acknowledgements of earlier ones.
        let _ = stream.set_nodelay(true);
        let conn = self.member.engine.open(address);
        let slot = conn.slot as usize;
        let token = Token(LINKS + slot);
        if self.poll.registry().register(&mut *stream, token, Interest::READABLE | Interest::WRITABLE).is_err() {
            self.member.engine.closed(conn);
            return;
        }
        if self.links.len() <= slot {
            self.links.resize_with(slot + 1, || None);
        }
        self.listening.counts.enter(address.ip());
        self.links[slot] = Some(ClientSocket {
            stream,
            conn,
            address: address.ip(),
            input: Vec::new(),
            greeted: false,
            readable: true,
            hung_up: false,
            blocked: false,
            has_frames: false,
            waits_for_memory: false,
            queued: false,
            stalled_since: None,
            wanted: 0,
        });
        self.enqueue(conn.slot);
    }

    pub(super) fn link_event(&mut self, slot: usize, event: &Event) {
        let Some(Some(link)) = self.links.get_mut(slot) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            link.readable = true;
            link.hung_up |= event.is_read_closed() || event.is_error();
            if !link.blocked {
                self.enqueue(slot as u32);
            }
        }
        if event.is_writable() {
            self.send(slot as u32);
        }
    }

    pub(super) fn enqueue(&mut self, slot: u32) {
        if let Some(Some(link)) = self.links.get_mut(slot as usize)
            && !link.queued
        {
            link.queued = true;
            self.work.push(slot);
        }
    }

    /// Offers handshakes again that wait for their turn, oldest first.
    fn retry_delayed(&mut self, now: Millis) {
        if now < self.delayed_until {
            return;
        }
        self.delayed_until = now.plus(self.member.engine.arrivals_retry_ms());
        for slot in std::mem::take(&mut self.delayed) {
            self.locals.unblock(slot);
            let Some(Some(link)) = self.links.get_mut(slot as usize) else { continue };
            if link.has_left() && self.member.engine.is_new(link.conn) {
                // A session whose client has gone would cost the connections behind it their turn.
                self.drop_link(slot, false);
                continue;
            }
            link.blocked = false;
            self.enqueue(slot);
        }
    }

    /// Reads from every link that has something, once each, so that none starves the others. Returns how many were in line,
    /// and how many of them were read.
    pub(super) fn serve_input(&mut self, now: Millis) -> (usize, usize) {
        self.retry_delayed(now);
        self.grant_memory(now);
        self.read_in_turn = 0;
        let work = std::mem::take(&mut self.work);
        for (index, &slot) in work.iter().enumerate() {
            if self.read_in_turn >= TURN_INPUT_MAX {
                let later = std::mem::replace(&mut self.work, work[index..].to_vec());
                self.work.extend(later);
                return (work.len(), index);
            }
            if let Some(Some(link)) = self.links.get_mut(slot as usize) {
                link.queued = false;
                self.serve_link(slot, now);
            }
            if self.member.engine.output_total() > self.config.limits.output_bytes_max {
                self.send_output();
            }
        }
        (work.len(), work.len())
    }

    fn serve_link(&mut self, slot: u32, now: Millis) {
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return };
        if link.blocked {
            return;
        }
        let before = link.input.len();
        let can_read = link.readable && !link.waits_for_memory && !(link.has_frames && before > 0);
        let most = if can_read { self.may_read(slot, now) } else { 0 };
        let mut scratch = std::mem::take(&mut self.scratch);
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return };
        let reading = if most > 0 {
            link.read(&mut scratch[..most])
        } else {
            link.waits_for_memory |= can_read;
            SocketRead::Nothing
        };
        let count = match reading {
            SocketRead::Bytes(count) => Some(count),
            SocketRead::Nothing if most > 0 => Some(0),
            SocketRead::Nothing | SocketRead::Gone => None,
        };
        self.read_in_turn += count.unwrap_or(0);
        match reading {
            SocketRead::Gone => self.drop_link(slot, false),
            SocketRead::Nothing if before == 0 => {}
            SocketRead::Nothing => {
                let mut input = std::mem::take(&mut link.input);
                let consumed = self.take_input(slot, &input);
                input.drain(..consumed);
                self.keep_input(slot, before, input, now);
            }
            SocketRead::Bytes(count) if before == 0 => {
                let consumed = self.take_input(slot, &scratch[..count]);
                let rest = scratch[consumed..count].to_vec();
                self.keep_input(slot, before, rest, now);
            }
            SocketRead::Bytes(count) => {
                let mut input = std::mem::take(&mut link.input);
                input.extend_from_slice(&scratch[..count]);
                let consumed = self.take_input(slot, &input);
                input.drain(..consumed);
                self.keep_input(slot, before, input, now);
            }
        }
        self.scratch = scratch;
        if let (Some(Some(link)), Some(count)) = (self.links.get(slot as usize), count) {
            self.pool.has_read(slot, count, !link.readable, now);
        }
        if let Some(Some(link)) = self.links.get_mut(slot as usize)
            && link.readable
            && !link.blocked
            && !link.waits_for_memory
        {
            self.enqueue(slot);
        }
    }

    fn keep_input(&mut self, slot: u32, before: usize, mut input: Vec<u8>, now: Millis) {
        self.input_total -= before;
        if let Some(Some(link)) = self.links.get_mut(slot as usize) {
            if input.is_empty() {
                input = Vec::new();
            } else if input.capacity() > 2 * input.len() + 1024 {
                input.shrink_to_fit();
            }
            self.input_total += input.len();
            self.pool.keeps(slot, input.len(), link.wanted, now);
            link.input = input;
        }
    }

    /// Hands bytes to the engine; returns how many need not be offered again.
    fn take_input(&mut self, slot: u32, input: &[u8]) -> usize {
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return input.len() };
        if !link.greeted {
            let Some(first) = input.first_chunk::<4>() else { return 0 };
            if let Some(word) = Word::from_bytes(*first) {
                if self.member.engine.is_applying() {
                    // It would tell of half a transaction.
                    self.enqueue(slot);
                    return 0;
                }
                self.answer_word(slot, word, &input[4..]);
                return input.len();
            }
            if *first == TELNET_INTERRUPT {
                self.answer_interrupt(slot);
                return input.len();
            }
            link.greeted = true;
        }
        let conn = link.conn;
        let received = self.member.engine.receive(conn, input);
        let waits = received.next == NextInput::Blocked;
        let delayed = waits && self.member.engine.is_new(conn);
        if let Some(Some(link)) = self.links.get_mut(slot as usize) {
            link.blocked = waits;
            link.has_frames = waits || received.next == NextInput::Yield;
            link.wanted = match received.next {
                NextInput::More(size) if size > FREE => size,
                _ => 0,
            };
            match received.next {
                NextInput::Yield => self.enqueue(slot),
                NextInput::Blocked if delayed => self.delayed.push(slot),
                NextInput::Blocked | NextInput::More(_) => {}
            }
        }
        received.consumed
    }

    /// Sends what the engine has for its connections, and lets those go on that waited.
    pub(super) fn send_output(&mut self) {
        while let Some(conn) = self.member.engine.poll_touched() {
            self.send(conn.slot);
        }
        self.member.told_all();
        self.close_the_largest();
    }

    /// Sends what it can of one connection's output.
    pub(super) fn send(&mut self, slot: u32) {
        if self.locals.is_local(slot) {
            return self.locals.send(&mut self.member.engine, slot);
        }
        let (now, _) = self.time();
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return };
        let conn = link.conn;
        let Some((output, close)) = self.member.engine.output(conn) else { return };
        let silent = matches!(close, Some(CloseReason::Violation(_) | CloseReason::Cut | CloseReason::NotServing));
        let closing = close.is_some();
        let (total, mut sent) = (output.len(), 0);
        let mut gone = false;
        while sent < total {
            match link.stream.write(&output[sent..]) {
                Ok(0) => gone = true,
                Ok(count) => {
                    sent += count;
                    link.stalled_since = None;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    link.stalled_since.get_or_insert(now);
                }
                Err(_) => gone = true,
            }
            break;
        }
        if gone {
            return self.drop_link(slot, false);
        }
        if sent == total && closing {
            // Closing with unread input would reset the connection, and the client might never see the last reply.
            return self.drop_link(slot, total > 0 || !silent);
        }
        self.member.engine.flushed(conn, sent);
        if let Some(Some(link)) = self.links.get_mut(slot as usize)
            && link.blocked
            && !self.member.engine.is_new(conn)
        {
            link.blocked = false;
            self.enqueue(slot);
        }
    }

    /// Ends a link. `linger`: wait for the client to close its side, so that it gets what was sent last.
    pub(super) fn drop_link(&mut self, slot: u32, linger: bool) {
        let Some(mut link) = self.links.get_mut(slot as usize).and_then(Option::take) else { return };
        self.forget(&mut link);
        if linger {
            let (now, _) = self.time();
            self.lingering.add(link.stream, now, self.poll.registry());
        }
    }

    fn forget(&mut self, link: &mut ClientSocket) {
        self.input_total -= link.input.len();
        self.pool.forget(link.conn.slot);
        self.listening.counts.leave(link.address);
        self.member.engine.closed(link.conn);
        let _ = self.poll.registry().deregister(&mut *link.stream);
    }

    /// Sends a text and closes: the answer to a four-letter word.
    pub(super) fn send_and_close(&mut self, slot: u32, text: &[u8]) {
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return };
        // Such answers fit a socket's buffer or are cut: no client may hold memory by not reading them.
        let mut rest = text;
        while !rest.is_empty() {
            match link.stream.write(rest) {
                Ok(0) => break,
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if rest.is_empty() {
            self.drop_link(slot, true);
        } else if let Some(mut link) = self.links.get_mut(slot as usize).and_then(Option::take) {
            self.forget(&mut link);
            let (now, _) = self.time();
            self.lingering.add_with(link.stream, rest.to_vec(), now, self.poll.registry());
        }
    }
}
