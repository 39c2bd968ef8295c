//! The closed loop: one thread, non-blocking sockets, frames made in place.
//!
//! It has to cost much less than any server, or it measures itself: one clock reading per batch of replies, one write
//! per batch of requests, no allocation on the way.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::BenchError;

/// A server that says nothing for this long is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);
/// Connections that have nothing to ask show this often that they live.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING: [u8; 12] = [0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11];
const XID_EVENT: i32 = -1;
const XID_PING: i32 = -2;
/// Read at once from a socket, in bytes.
const READ_SIZE: usize = 256 << 10;

/// Makes the requests.
pub(crate) trait RequestSource {
    /// Appends the next request of a connection as a frame, or nothing when there is none left.
    fn next(&mut self, connection: usize, xid: i32, out: &mut Vec<u8>) -> bool;

    /// How many watch events each request causes: the next one is made only when all have come.
    fn events_per_request(&self) -> u64 {
        0
    }

    /// Takes note of replies as they come. `refused`: how many of them were refusals, and one's code; false ends the run.
    fn answered(&mut self, _replies: u64, refused: Option<(u64, i32)>) -> bool {
        refused.is_none()
    }
}

/// When to stop.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Time(Duration),
    Ops(u64),
    /// When no connection has work left.
    WorkDone,
}

/// What was measured.
pub(crate) struct Measurement {
    /// Replies, or events where those are counted.
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    /// Nanoseconds from request to reply.
    pub(crate) latency: Histogram<u64>,
    /// How much of a core this program took.
    pub(crate) own_cpu: f64,
}

impl Measurement {
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }
}

/// From a nanosecond to a minute, three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

/// One connection, its session begun already.
pub(crate) struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
    /// When each request on its way was made.
    sent: VecDeque<Instant>,
    /// Pings that are not answered yet.
    pings: u32,
    next_xid: i32,
    awaited_xid: i32,
}

/// What one reading from a socket brought.
#[derive(Default)]
struct ReplyBatch {
    replies: u64,
    /// Of the replies, those that refuse, and the code of the last.
    refused: Option<(u64, i32)>,
    events: u64,
    /// The socket may hold more, and will not tell again.
    full: bool,
}

impl Connection {
    pub(crate) fn new(stream: std::net::TcpStream) -> std::io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream: TcpStream::from_std(stream),
            out: Vec::new(),
            written: 0,
            input: vec![0; READ_SIZE],
            filled: 0,
            sent: VecDeque::new(),
            pings: 0,
            next_xid: 1,
            awaited_xid: 1,
        })
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    fn read(&mut self) -> Result<ReplyBatch, BenchError> {
        let mut batch = ReplyBatch::default();
        match self.stream.read(&mut self.input[self.filled..]) {
            Ok(0) => return Err("the server closed the connection".into()),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(batch),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        // A socket that fills the buffer only in part is empty.
        batch.full = self.filled == self.input.len();
        let mut at = 0;
        while let Some((length, rest)) = self.input[at..self.filled].split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some(frame) = rest.get(..length) else {
                if 4 + length > self.input.len() {
                    self.input.resize(4 + length, 0);
                }
                break;
            };
            at += 4 + length;
            self.judge(frame_head(frame)?, &mut batch)?;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(batch)
    }

    fn judge(&mut self, (xid, err): (i32, i32), batch: &mut ReplyBatch) -> Result<(), BenchError> {
        match xid {
            XID_EVENT => batch.events += 1,
            XID_PING => self.pings = self.pings.saturating_sub(1),
            _ => return self.judge_reply(xid, err, batch),
        }
        Ok(())
    }

    fn judge_reply(&mut self, xid: i32, err: i32, batch: &mut ReplyBatch) -> Result<(), BenchError> {
        if xid != self.awaited_xid {
            return Err(format!("reply to request {xid} while {} is due", self.awaited_xid).into());
        }
        if err != 0 {
            let before = batch.refused.map_or(0, |(count, _)| count);
            batch.refused = Some((before + 1, err));
        }
        self.awaited_xid = self.awaited_xid.checked_add(1).unwrap_or(1);
        batch.replies += 1;
        Ok(())
    }
}

fn frame_head(frame: &[u8]) -> Result<(i32, i32), BenchError> {
    let head: &[u8; 16] = frame.first_chunk().ok_or("a reply without header")?;
    let number = |at: usize| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    Ok((number(0), number(12)))
}

/// Keeps `outstanding` requests on their way on every link until `limit`, then waits for the last replies.
pub(crate) fn run(
    links: &mut [Connection],
    work: &mut dyn RequestSource,
    outstanding: usize,
    limit: Limit,
) -> Result<Measurement, BenchError> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    for (rank, link) in links.iter_mut().enumerate() {
        poll.registry().register(&mut link.stream, Token(rank), Interest::READABLE | Interest::WRITABLE)?;
    }
    let cpu_before = super::machine::own_cpu();
    let start = Instant::now();
    let mut run = Run { limit, start, made: 0, count: 0, events_due: 0, latency: histogram() };
    for (rank, link) in links.iter_mut().enumerate() {
        run.top_up(rank, link, work, outstanding, start)?;
    }
    let (mut last, mut pinged) = (start, start);
    // Whoever uses the connection afterwards must not find the answer to a ping on it.
    while links.iter().any(|link| !link.sent.is_empty() || link.pings > 0) || run.events_due > 0 {
        poll.poll(&mut events, Some(SILENCE))?;
        if events.is_empty() {
            return Err(format!("no reply for {} s", SILENCE.as_secs()).into());
        }
        if last - pinged > PING_EVERY {
            pinged = last;
            for link in links.iter_mut().filter(|link| link.sent.is_empty()) {
                link.out.extend_from_slice(&PING);
                link.pings += 1;
                link.flush()?;
            }
        }
        for event in &events {
            let rank = event.token().0;
            if event.is_writable() {
                links[rank].flush()?;
            }
            while event.is_readable() {
                let batch = links[rank].read()?;
                last = Instant::now();
                run.take(&batch, rank, links, work, outstanding, last)?;
                if !batch.full {
                    break;
                }
            }
        }
    }
    for link in links.iter_mut() {
        poll.registry().deregister(&mut link.stream)?;
    }
    let elapsed = last - start;
    let own_cpu = (super::machine::own_cpu() - cpu_before) / elapsed.as_secs_f64().max(1e-9);
    Ok(Measurement { count: run.count, elapsed, latency: run.latency, own_cpu })
}

struct Run {
    limit: Limit,
    start: Instant,
    made: u64,
    count: u64,
    events_due: u64,
    latency: Histogram<u64>,
}

impl Run {
    fn is_over(&self, now: Instant) -> bool {
        match self.limit {
            Limit::Time(time) => now - self.start >= time,
            Limit::Ops(ops) => self.made >= ops,
            Limit::WorkDone => false,
        }
    }

    fn top_up(
        &mut self,
        rank: usize,
        link: &mut Connection,
        work: &mut dyn RequestSource,
        outstanding: usize,
        now: Instant,
    ) -> Result<(), BenchError> {
        while link.sent.len() < outstanding && self.events_due == 0 && !self.is_over(now) {
            if !work.next(rank, link.next_xid, &mut link.out) {
                break;
            }
            link.next_xid = link.next_xid.checked_add(1).unwrap_or(1);
            link.sent.push_back(now);
            self.made += 1;
            self.events_due += work.events_per_request();
        }
        link.flush()
    }

    fn take(
        &mut self,
        batch: &ReplyBatch,
        rank: usize,
        links: &mut [Connection],
        work: &mut dyn RequestSource,
        outstanding: usize,
        now: Instant,
    ) -> Result<(), BenchError> {
        if !work.answered(batch.replies, batch.refused) {
            let code = batch.refused.map_or(0, |(_, code)| code);
            return Err(format!("a request was refused with error {code}").into());
        }
        if work.events_per_request() > 0 {
            return self.take_events(batch, links, work, now);
        }
        for _ in 0..batch.replies {
            let sent = links[rank].sent.pop_front().ok_or("a reply that nobody waits for")?;
            self.latency.saturating_record((now - sent).as_nanos() as u64);
        }
        self.count += batch.replies;
        self.top_up(rank, &mut links[rank], work, outstanding, now)
    }

    /// With watches, a request is over when everybody has heard of it.
    fn take_events(
        &mut self,
        batch: &ReplyBatch,
        links: &mut [Connection],
        work: &mut dyn RequestSource,
        now: Instant,
    ) -> Result<(), BenchError> {
        self.events_due = self.events_due.checked_sub(batch.events).ok_or("more events than changes")?;
        self.count += batch.events;
        // The writer is the first link; its reply comes behind its own event.
        if let Some(&sent) = links[0].sent.front() {
            for _ in 0..batch.events {
                self.latency.saturating_record((now - sent).as_nanos() as u64);
            }
        }
        // The reply shows in `awaited_xid`; the time of the request is kept until the last event.
        if self.events_due == 0 && links[0].sent.front().is_some() && links[0].awaited_xid == links[0].next_xid {
            links[0].sent.pop_front();
            self.top_up(0, &mut links[0], work, 1, now)?;
        }
        Ok(())
    }
}
