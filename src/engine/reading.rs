//! Reads that are too long for one go: large multiReads, `setWatches`, lists of many children or ephemerals.

use std::sync::Arc;

use super::Engine;
use super::budget::SLICE;
use super::conn::{ConnId, PendingReply};
use super::identity::Identities;
use super::request::{decoder, parse};
use super::watching::WatchRequestList;
use crate::ids::{Millis, SessionId};
use crate::jute::{Text, encode};
use crate::records::multi::{MultiHeader, MultiOp, next_op};
use crate::records::replies::ReplyHeader;
use crate::records::requests::{PathRequest, PathWatchRequest};
use crate::records::{ErrorCode, OpCode};
use crate::tree::NodeId;
use crate::watches::Modes;

/// Bodies of multiReads up to this length are read at once: each part may be answered by all data of a znode.
const MULTI_READ_AT_ONCE: usize = 128;
/// Bodies of `setWatches` up to this length are dealt with at once.
const SET_WATCHES_AT_ONCE: usize = 8 << 10;
/// So many children or ephemerals are listed at once.
const LIST_AT_ONCE: usize = 2000;

/// A read that is under way.
pub(super) struct Reading {
    conn: ConnId,
    xid: i32,
    op: OpCode,
    body: Box<[u8]>,
    who: Arc<Identities>,
    since: Millis,
    /// The reply so far, as a frame.
    out: Vec<u8>,
    stage: ReadStage,
}

enum ReadStage {
    /// Where the next operation begins.
    MultiRead {
        offset: usize,
    },
    SetWatches {
        list: usize,
        left: usize,
        offset: usize,
        since: i64,
    },
    Children {
        node: NodeId,
        next: Option<NodeId>,
    },
    /// The prefix is that of the request; where the count stands, and how many there are so far.
    Ephemerals {
        session: SessionId,
        next: usize,
        count: i32,
        count_at: usize,
    },
}

impl Reading {
    /// Whether what it shows must be of one moment.
    pub(super) fn shows_a_state(&self) -> bool {
        !matches!(self.stage, ReadStage::SetWatches { .. })
    }
}

impl Engine {
    /// Whether a read takes slices.
    pub(super) fn is_long(&self, id: ConnId, op: OpCode, body: &[u8]) -> bool {
        match op {
            OpCode::MultiRead => body.len() > MULTI_READ_AT_ONCE,
            OpCode::SetWatches | OpCode::SetWatches2 => body.len() > SET_WATCHES_AT_ONCE,
            OpCode::GetChildren | OpCode::GetChildren2 => {
                parse::<PathWatchRequest<'_>>(body).is_ok_and(|request| self.has_many_children(request.path.as_str()))
            }
            OpCode::GetEphemerals => {
                let session = self.conns.get(id).map_or(SessionId::NONE, |conn| conn.session);
                self.state.tree.ephemeral_count_of(session) > LIST_AT_ONCE
            }
            _ => false,
        }
    }

    pub(super) fn has_many_children(&self, path: &str) -> bool {
        self.state.tree.lookup(path).is_some_and(|node| self.state.tree.view(node).child_count as usize > LIST_AT_ONCE)
    }

    /// Goes on with the long read that is under way, or begins the next. At most one ends in a turn, so that transactions
    /// get theirs.
    pub(super) fn read_slice(&mut self) {
        if self.work.is_applying() {
            return;
        }
        let Some(mut reading) = self.work.reading.take().or_else(|| self.next_reading()) else { return };
        let id = reading.conn;
        if !self.conns.is_open(id) {
            return;
        }
        let result = match self.read_some(&mut reading) {
            Ok(false) => {
                self.work.reading = Some(reading);
                return;
            }
            Ok(true) => Ok(()),
            Err(code) => Err(code),
        };
        self.end_reading(*reading, result);
    }

    fn next_reading(&mut self) -> Option<Box<Reading>> {
        while let Some(id) = self.work.long_reads.pop_front() {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            conn.waits = false;
            let Some(PendingReply::Read { xid, op, body, who, since }) = conn.pending.front() else { continue };
            let (xid, op, body, who, since) = (*xid, *op, body.clone(), Arc::clone(who), *since);
            if !self.is_long(id, op, &body) {
                // It was, when it lined up.
                self.put_off(id);
                continue;
            }
            let mut out = vec![0; 4];
            encode(&ReplyHeader { xid, zxid: self.state.applied.0, err: 0 }, &mut out);
            let mut reading =
                Reading { conn: id, xid, op, body, who, since, out, stage: ReadStage::MultiRead { offset: 0 } };
            match self.begin_reading(&mut reading) {
                Ok(stage) => reading.stage = stage,
                Err(code) => {
                    self.end_reading(reading, Err(code));
                    return None;
                }
            }
            if let Some(conn) = self.conns.get_mut(id) {
                conn.waits = true;
            }
            return Some(Box::new(reading));
        }
        None
    }

    fn begin_reading(&mut self, reading: &mut Reading) -> Result<ReadStage, ErrorCode> {
        let id = reading.conn;
        match reading.op {
            OpCode::MultiRead => Ok(ReadStage::MultiRead { offset: 0 }),
            OpCode::GetChildren | OpCode::GetChildren2 => {
                let request: PathWatchRequest<'_> = parse(&reading.body)?;
                let node = self.readable(&reading.who, &request.path)?;
                if request.watch {
                    self.watch(id, request.path.as_str(), Modes::CHILD, Some(node))?;
                }
                let count = self.state.tree.view(node).child_count;
                encode(&i32::try_from(count).unwrap_or(i32::MAX), &mut reading.out);
                Ok(ReadStage::Children { node, next: self.state.tree.child_ids(node).next() })
            }
            OpCode::GetEphemerals => {
                let session = self.conns.get(id).map_or(SessionId::NONE, |conn| conn.session);
                let count_at = reading.out.len();
                encode(&0_i32, &mut reading.out);
                Ok(ReadStage::Ephemerals { session, next: 0, count: 0, count_at })
            }
            _ => {
                let lists = if reading.op == OpCode::SetWatches { 3 } else { 5 };
                let asked = count_texts(&reading.body, lists).ok_or(ErrorCode::MarshallingError)?;
                self.may_watch(id, asked)?;
                let since = parse(&reading.body)?;
                Ok(ReadStage::SetWatches { list: 0, left: 0, offset: 8, since })
            }
        }
    }

    /// Writes some more of the reply; whether it is whole.
    fn read_some(&mut self, reading: &mut Reading) -> Result<bool, ErrorCode> {
        let Reading { conn: id, op, body, who, out, stage, .. } = reading;
        let limit = self.settings.limits.reply_size_max;
        let mut spent = 0;
        match stage {
            ReadStage::MultiRead { offset } => {
                let mut decoder = decoder(&body[*offset..]);
                while spent < SLICE {
                    let (before, from) = (decoder.rest().len(), out.len());
                    let Some(op) = next_op(&mut decoder).map_err(|_| ErrorCode::MarshallingError)? else {
                        encode(&MultiHeader::END, out);
                        return Ok(true);
                    };
                    self.multi_read_one(who, &op, 4, out)?;
                    let (MultiOp::GetData(request) | MultiOp::GetChildren(request)) = op else { continue };
                    let node = self.state.tree.lookup(request.path.as_str());
                    let checks = node.map_or(0, |node| self.state.tree.acl(node).cost());
                    spent += 8 + checks + (before - decoder.rest().len()) / 16 + (out.len() - from) / 256;
                }
                *offset = body.len() - decoder.rest().len();
            }
            ReadStage::Children { node, next } => {
                while let Some(child) = *next {
                    if spent >= SLICE {
                        return Ok(false);
                    }
                    encode(self.state.tree.name(child), out);
                    if out.len() > limit {
                        return Err(ErrorCode::MarshallingError);
                    }
                    spent += 2;
                    *next = self.state.tree.next_sibling(child);
                }
                if *op == OpCode::GetChildren2 {
                    encode(&self.state.tree.stat(*node), out);
                }
                return Ok(true);
            }
            ReadStage::Ephemerals { session, next, count, count_at } => {
                let request: PathRequest<'_> = parse(body)?;
                let prefix = request.path.as_str();
                let all = prefix.trim().is_empty() || prefix == "/";
                while let Some(node) = self.state.tree.ephemeral_at(*session, *next) {
                    if spent >= SLICE {
                        return Ok(false);
                    }
                    *next += 1;
                    let path = self.state.tree.path(node);
                    if all || path.starts_with(prefix) {
                        encode(&*path, out);
                        *count += 1;
                    }
                    if out.len() > limit {
                        return Err(ErrorCode::MarshallingError);
                    }
                    spent += 4 + path.len() / 16;
                }
                out[*count_at..*count_at + 4].copy_from_slice(&count.to_be_bytes());
                return Ok(true);
            }
            ReadStage::SetWatches { list, left, offset, since } => {
                let lists = if *op == OpCode::SetWatches { 3 } else { 5 };
                while spent < SLICE {
                    let mut decoder = decoder(&body[*offset..]);
                    if *left == 0 {
                        if *list == lists {
                            return Ok(true);
                        }
                        *list += 1;
                        let count: i32 = decoder.read().map_err(|_| ErrorCode::MarshallingError)?;
                        *left = usize::try_from(count).map_err(|_| ErrorCode::MarshallingError)?;
                    } else {
                        let path: Text<'_> = decoder.read().map_err(|_| ErrorCode::MarshallingError)?;
                        self.set_watch(*id, who, WatchRequestList::ALL[*list - 1], &path, *since)?;
                        let node = self.state.tree.lookup(path.as_str());
                        let checks = node.map_or(0, |node| self.state.tree.acl(node).cost());
                        spent += 6 + checks + path.as_str().len() / 16;
                        *left -= 1;
                    }
                    spent += 1;
                    *offset = body.len() - decoder.rest().len();
                }
            }
        }
        Ok(false)
    }

    fn end_reading(&mut self, reading: Reading, result: Result<(), ErrorCode>) {
        let Reading { conn: id, xid, op, since, mut out, .. } = reading;
        let zxid = self.state.applied.0;
        if matches!(op, OpCode::SetWatches | OpCode::SetWatches2) || result.is_err() {
            // Transactions may have been applied meanwhile.
            let err = result.err().map_or(0, ErrorCode::to_i32);
            out.truncate(4);
            encode(&ReplyHeader { xid, zxid, err }, &mut out);
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.waits = false;
        conn.pop();
        let start = conn.out.append(out);
        conn.end_reply(start, xid, zxid);
        self.replied(id, since, false);
        self.drain(id);
    }
}

/// How many texts are in the lists behind the first eight bytes; `None` if that is not what the bytes are.
fn count_texts(body: &[u8], lists: usize) -> Option<usize> {
    let mut rest = body.get(8..)?;
    let mut all = 0;
    let length = |rest: &mut &[u8]| {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        *rest = tail;
        Some(i32::from_be_bytes(*head))
    };
    for _ in 0..lists {
        let count = usize::try_from(length(&mut rest)?).ok()?;
        for _ in 0..count {
            // A null text has length −1.
            let size = match length(&mut rest)? {
                -1 => 0,
                size => usize::try_from(size).ok()?,
            };
            rest = rest.get(size..)?;
        }
        all += count;
    }
    Some(all)
}
