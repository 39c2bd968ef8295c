//! A simulated client: pipelines requests, loses connections, comes back with its session, and checks what it is told.

use std::collections::VecDeque;

use super::Wrong;
use super::model::Model;
use super::node::Node;
use crate::engine::{ConnId, Verdict};
use crate::ids::Zxid;
use crate::jute::{Buffer, Decoder, decode, encode, encoded};
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::multi::{MultiHeader, MultiResult, decode_results};
use crate::records::replies::{DataReply, NamesReply, PathReply, ReplyHeader, WatcherEvent};
use crate::records::requests::{
    CreateRequest, PathRequest, PathVersionRequest, PathWatchRequest, RequestHeader, SetDataRequest,
};
use crate::records::txn::decode_txn;
use crate::records::{Acl, ErrorCode, OpCode};
use crate::store::tests::sim_disk::Rng;

/// A request on its way.
struct Asked {
    xid: i32,
    op: OpCode,
    path: String,
}

pub(super) struct Client {
    rng: Rng,
    conn: Option<ConnId>,
    /// Bytes on the wire to the server.
    wire: VecDeque<u8>,
    /// What the server has of them and did not take yet.
    offered: Vec<u8>,
    blocked: bool,
    greeted: bool,
    session: i64,
    password: [u8; 16],
    asked: VecDeque<Asked>,
    next_xid: i32,
    /// The highest zxid seen in any reply (G-08).
    seen: i64,
    /// Of the replies on this connection alone (G-05).
    last_reply_zxid: i64,
    /// How much it has looked at of the server's output.
    quiet: bool,
}

impl Client {
    pub(super) fn new(seed: u64) -> Client {
        Client {
            rng: Rng(seed),
            conn: None,
            wire: VecDeque::new(),
            offered: Vec::new(),
            blocked: false,
            greeted: false,
            session: 0,
            password: [0; 16],
            asked: VecDeque::new(),
            next_xid: 1,
            seen: 0,
            last_reply_zxid: 0,
            quiet: false,
        }
    }

    /// Asks for nothing new, so that what is open can be answered.
    pub(super) fn calm(&mut self) {
        self.quiet = true;
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The connection is gone, whoever cut it. What was asked has an unknown outcome (G-14).
    pub(super) fn lost_connection(&mut self) {
        self.conn = None;
        self.wire.clear();
        self.offered.clear();
        self.asked.clear();
        (self.blocked, self.greeted) = (false, false);
        self.last_reply_zxid = 0;
    }

    pub(super) fn disconnect(&mut self, node: &mut Node) {
        if let Some(conn) = self.conn {
            node.close(conn);
        }
        self.lost_connection();
    }

    /// Connects, or asks something; then some of the bytes arrive.
    pub(super) fn act(&mut self, node: &mut Node, _world: &mut Rng) {
        match self.conn {
            None => self.connect(node),
            Some(_) if self.greeted && !self.quiet && self.asked.len() < 12 => self.ask(),
            Some(_) => {}
        }
        self.arrive(node);
    }

    fn connect(&mut self, node: &mut Node) {
        let port = 1000 + (self.rng.next() % 60_000) as u16;
        let conn = node.engine.open(([127, 0, 0, 1], port).into());
        self.conn = Some(conn);
        // Now and then somebody tries an id with a wrong password: it must not get the session.
        let mut password = self.password;
        if self.session != 0 && self.rng.chance(20) {
            password[3] ^= 1;
        }
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.seen,
            timeout: 4000,
            session_id: self.session,
            password: Buffer::new(&password),
        };
        let mut payload = encoded(&request);
        payload.push(0);
        self.send(&payload);
    }

    fn send(&mut self, payload: &[u8]) {
        self.wire.extend((payload.len() as u32).to_be_bytes());
        self.wire.extend(payload);
    }

    fn path(&mut self) -> String {
        let top = self.rng.below(4);
        if self.rng.chance(2) { format!("/t{top}") } else { format!("/t{top}/c{}", self.rng.below(5)) }
    }

    fn ask(&mut self) {
        let path = self.path();
        let data = vec![self.rng.next() as u8; self.rng.below(300) as usize];
        let acl = || Some(vec![Acl::open()]);
        let version = if self.rng.chance(3) { self.rng.below(3) as i32 } else { -1 };
        let watch = self.rng.chance(3);
        let mut body = Vec::new();
        let op = match self.rng.below(24) {
            0..6 => {
                let flags = [0, 0, 1, 2, 3][self.rng.below(5) as usize];
                let request = CreateRequest { path: path.as_str().into(), data: Buffer::new(&data), acl: acl(), flags };
                encode(&request, &mut body);
                OpCode::Create
            }
            6..10 => {
                encode(&SetDataRequest { path: path.as_str().into(), data: Buffer::new(&data), version }, &mut body);
                OpCode::SetData
            }
            10..13 => {
                encode(&PathVersionRequest { path: path.as_str().into(), version }, &mut body);
                OpCode::Delete
            }
            13..16 => {
                encode(&PathWatchRequest { path: path.as_str().into(), watch }, &mut body);
                OpCode::GetData
            }
            16..18 => {
                encode(&PathWatchRequest { path: path.as_str().into(), watch }, &mut body);
                OpCode::GetChildren
            }
            18 => {
                encode(&PathWatchRequest { path: path.as_str().into(), watch: true }, &mut body);
                OpCode::Exists
            }
            19 => {
                encode(&PathRequest { path: path.as_str().into() }, &mut body);
                OpCode::Sync
            }
            20 => OpCode::Ping,
            21 | 22 => {
                let other = self.path();
                let create = CreateRequest { path: other.as_str().into(), data: Buffer(None), acl: acl(), flags: 0 };
                encode(&MultiHeader::request(OpCode::Create), &mut body);
                encode(&create, &mut body);
                encode(&MultiHeader::request(OpCode::SetData), &mut body);
                encode(&SetDataRequest { path: path.as_str().into(), data: Buffer::new(&data), version }, &mut body);
                encode(&MultiHeader::END, &mut body);
                OpCode::Multi
            }
            _ if self.rng.chance(6) => OpCode::CloseSession,
            _ => OpCode::Ping,
        };
        let xid = if op == OpCode::Ping { -2 } else { self.next_xid };
        self.next_xid += 1;
        let mut payload = encoded(&RequestHeader { xid, op: op.to_i32() });
        payload.extend_from_slice(&body);
        self.send(&payload);
        self.asked.push_back(Asked { xid, op, path });
    }

    /// Some of the bytes on the wire reach the server, cut anywhere (F-14).
    fn arrive(&mut self, node: &mut Node) {
        let Some(conn) = self.conn else { return };
        let all = self.wire.len() as u64;
        let count = if self.quiet || self.rng.chance(3) { all } else { self.rng.below(all + 1) };
        self.offered.extend(self.wire.drain(..count as usize));
        if self.blocked && node.engine.is_waiting(conn) {
            return;
        }
        let received = node.engine.receive(conn, &self.offered);
        self.offered.drain(..received.consumed);
        self.blocked = received.verdict == Verdict::Blocked;
    }

    /// Takes what the server has to send. The model stands at the engine's last applied transaction.
    pub(super) fn receive(
        &mut self,
        node: &mut Node,
        history: &[(Zxid, Vec<u8>)],
        model: &Model,
    ) -> Result<(u64, u64), Wrong> {
        let Some(conn) = self.conn else { return Ok((0, 0)) };
        let Some((output, close)) = node.engine.output(conn) else {
            self.lost_connection();
            return Ok((0, 0));
        };
        let (output, close) = (output.to_vec(), close.is_some());
        node.engine.flushed(conn, output.len());
        let (mut replies, mut events) = (0, 0);
        let mut rest = &output[..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let (frame, after) = after.split_at_checked(length).ok_or("S-30: half a frame was queued")?;
            rest = after;
            if !self.greeted {
                self.handshake_answered(frame)?;
            } else if frame[..4] == [0xff; 4] {
                self.event(frame)?;
                events += 1;
            } else {
                self.reply(frame, history, model)?;
                replies += 1;
            }
        }
        if close {
            node.engine.closed(conn);
            self.lost_connection();
        }
        Ok((replies, events))
    }

    fn handshake_answered(&mut self, frame: &[u8]) -> Result<(), Wrong> {
        let response: ConnectResponse<'_> = decode(frame).map_err(|error| format!("SC-62: {error}"))?;
        if response.session_id == 0 {
            // Expired, or a wrong password. Begin anew.
            (self.session, self.password) = (0, [0; 16]);
            return Ok(());
        }
        if self.session != 0 && self.session != response.session_id {
            return Err("G-10: a new session in place of the one asked for".into());
        }
        self.greeted = true;
        self.session = response.session_id;
        self.password.copy_from_slice(response.password.0.unwrap_or(&[0; 16]));
        Ok(())
    }

    fn event(&mut self, frame: &[u8]) -> Result<(), Wrong> {
        let header: ReplyHeader = decode(frame).map_err(|error| error.to_string())?;
        let event: WatcherEvent<'_> = decode(&frame[16..]).map_err(|error| error.to_string())?;
        if header.zxid <= self.last_reply_zxid {
            return Err(format!(
                "G-05: the event {} {} of 0x{:x} comes after a reply of 0x{:x}",
                event.kind,
                event.path.as_str(),
                header.zxid,
                self.last_reply_zxid
            ));
        }
        Ok(())
    }

    fn reply(&mut self, frame: &[u8], history: &[(Zxid, Vec<u8>)], model: &Model) -> Result<(), Wrong> {
        let mut decoder = Decoder::new(frame);
        let header: ReplyHeader = decoder.read().map_err(|error| error.to_string())?;
        let body = decoder.rest();
        let Some(asked) = self.asked.pop_front() else {
            return Err(format!("S-30: a reply to nothing: {header:?}"));
        };
        if header.xid != asked.xid {
            return Err(format!("G-02, S-30: the reply to {} comes in the place of {}", header.xid, asked.xid));
        }
        if header.zxid < self.seen {
            return Err(format!("G-08, S-32: 0x{:x} after 0x{:x}", header.zxid, self.seen));
        }
        self.seen = header.zxid;
        self.last_reply_zxid = header.zxid;
        let code = ErrorCode::from_i32(header.err).ok_or_else(|| format!("code {} is none", header.err))?;
        match asked.op {
            OpCode::Create | OpCode::SetData | OpCode::Delete | OpCode::Multi | OpCode::CloseSession => {
                self.write_answered(&asked, header, code, body, history)
            }
            OpCode::GetData => read_agrees(&asked, header, code, body, model),
            OpCode::GetChildren if code == ErrorCode::Ok => {
                let reply: NamesReply<'_> = decode(body).map_err(|error| error.to_string())?;
                let names = reply.names.iter().map(|name| name.as_str().to_owned()).collect();
                if model.children(&asked.path) == names {
                    Ok(())
                } else {
                    Err(format!("S-32: children of {} at 0x{:x}: {names:?}", asked.path, header.zxid))
                }
            }
            _ => Ok(()),
        }
    }

    /// The header names the write's own transaction, and that says what the reply says (G-03, S-34).
    fn write_answered(
        &mut self,
        asked: &Asked,
        header: ReplyHeader,
        code: ErrorCode,
        body: &[u8],
        history: &[(Zxid, Vec<u8>)],
    ) -> Result<(), Wrong> {
        let at = history.binary_search_by_key(&Zxid(header.zxid), |(zxid, _)| *zxid);
        let Ok(at) = at else {
            return Err(format!("G-09: an answer of 0x{:x}, which is not committed", header.zxid));
        };
        let (txn, record, _) = decode_txn(&history[at].1).map_err(|error| error.to_string())?;
        if (txn.session.0, txn.cxid) != (self.session, asked.xid) {
            return Err(format!("G-03: the reply to {} names the transaction of another", asked.xid));
        }
        use crate::records::txn::Txn;
        let agrees = match (&record, code) {
            (Txn::Error(error), code) => error.err == code.to_i32(),
            (Txn::Create(txn), ErrorCode::Ok) => {
                decode::<PathReply<'_>>(body).is_ok_and(|reply| reply.path.as_str() == txn.path.as_str())
            }
            (Txn::Multi(parts), ErrorCode::Ok) => decode_results(body).is_ok_and(|results| {
                let failed = parts.iter().any(|part| part.op == -1);
                results.len() == parts.len()
                    && results.iter().all(|result| matches!(result, MultiResult::Error(_)) == failed)
            }),
            (_, code) => code == ErrorCode::Ok,
        };
        if asked.op == OpCode::CloseSession {
            (self.session, self.password) = (0, [0; 16]);
        }
        if agrees { Ok(()) } else { Err(format!("G-13, G-14: {} was answered {code} for {record:?}", asked.op)) }
    }
}

/// A read equals the model at the header's zxid (G-03, S-32).
fn read_agrees(asked: &Asked, header: ReplyHeader, code: ErrorCode, body: &[u8], model: &Model) -> Result<(), Wrong> {
    let node = model.nodes.get(&asked.path);
    let agrees = match (node, code) {
        (None, ErrorCode::NoNode) => true,
        (Some(node), ErrorCode::Ok) => {
            let reply: DataReply<'_> = decode(body).map_err(|error| error.to_string())?;
            reply.data.0 == node.data.as_deref() && reply.stat.version == node.version && reply.stat.mzxid == node.mzxid
        }
        _ => false,
    };
    if agrees {
        Ok(())
    } else {
        Err(format!("G-03, S-32: {} at 0x{:x} was answered {code}, the model has {node:?}", asked.path, header.zxid))
    }
}
