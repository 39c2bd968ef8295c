//! Multis: their operations are decided one by one, each against what the ones before it leave, and become one
//! transaction or, where one is refused, nothing but a list of results (G-13).

use super::Engine;
use super::budget::SLICE;
use super::caller::{Caller, Requester};
use super::decider::{Decider, Ground};
use super::request::{decoder, has_acls, is_multi_write};
use super::settings::RECORD_OVERHEAD;
use crate::failpoint::{self, Failpoint};
use crate::jute::Buffer;
use crate::records::multi::{MultiOp, next_op};
use crate::records::requests::CreateTtlRequest;
use crate::records::txn::{SubTxn, Txn};
use crate::records::{CreateMode, ErrorCode, OpCode};

/// Type and length in front of each part of a multi.
const PART_HEADER_SIZE: usize = 8;
/// Bodies up to this length are decided at once, unless that takes long for other reasons.
const AT_ONCE: usize = 16 << 10;

/// A multi that is being decided.
pub(super) struct Deciding {
    xid: i32,
    pub caller: Caller,
    body: Box<[u8]>,
    multi: MultiProgress,
}

/// How far a multi is decided.
#[derive(Default)]
struct MultiProgress {
    /// Views have been recorded that may have to be taken back.
    begun: bool,
    /// Where the next operation begins.
    offset: usize,
    parts: Vec<(OpCode, Vec<u8>)>,
    /// Bytes of the parts.
    size: usize,
    failed: Option<ErrorCode>,
    /// What ZooKeeper refuses with a place in the history.
    malformed: bool,
    /// What it refuses without one.
    unplaced: bool,
    /// Not all of it makes room.
    grows: bool,
}

impl Engine {
    pub(super) fn multi(&mut self, xid: i32, caller: Caller, body: &[u8]) {
        let mut multi = MultiProgress::default();
        let (decider, ground) = self.decider();
        if body.len() <= AT_ONCE && decider.decide_some(&ground, &caller, &mut multi, body) {
            return self.propose_multi(xid, &caller, multi);
        }
        self.work.deciding = Some(Box::new(Deciding { xid, caller, body: body.into(), multi }));
    }

    /// Goes on with the multi that is being decided, if there is one.
    pub(super) fn decide_slice(&mut self) {
        if self.decider.barrier.is_some() {
            return;
        }
        let Some(mut deciding) = self.work.deciding.take() else { return };
        let is_gone = match deciding.caller.requester {
            Requester::Client(id) => !self.conns.is_open(id),
            Requester::Learner(link) => !self.remote.is_there(link),
        };
        if is_gone {
            if deciding.multi.begun {
                self.decider.outstanding.roll_back();
            }
            return;
        }
        let Deciding { xid, caller, body, multi } = &mut *deciding;
        let (decider, ground) = self.decider();
        if decider.decide_some(&ground, caller, multi, body) {
            let xid = *xid;
            self.propose_multi(xid, &deciding.caller, deciding.multi);
            if let Requester::Client(id) = deciding.caller.requester {
                self.touch(id);
            }
        } else {
            self.work.deciding = Some(deciding);
        }
    }

    /// Takes back what was decided of a multi so far. It begins anew.
    pub(super) fn start_deciding_over(&mut self) {
        if let Some(deciding) = &mut self.work.deciding
            && std::mem::take(&mut deciding.multi).begun
        {
            self.decider.outstanding.roll_back();
        }
    }

    fn propose_multi(&mut self, xid: i32, caller: &Caller, multi: MultiProgress) {
        let (decider, ground) = self.decider();
        let has_no_room = !decider.has_room(&ground, multi.grows);
        let outstanding = &mut decider.outstanding;
        if multi.malformed || multi.unplaced || has_no_room || multi.failed.is_some() {
            // Nothing of it happened: sequence numbers are not used up, nothing stays pending (G-13).
            if failpoint::on(Failpoint::MultiKeepsCounters) {
                outstanding.commit();
            } else {
                outstanding.roll_back();
            }
        } else {
            outstanding.commit();
        }
        if multi.unplaced {
            return self.refuse_unlogged(caller, xid, OpCode::Multi, ErrorCode::MarshallingError);
        }
        // Quota limits that cannot be read end the whole request, as an exception does there.
        if multi.malformed || (!has_no_room && multi.failed == Some(ErrorCode::MarshallingError)) {
            return self.propose_for(caller, xid, OpCode::Multi, &Txn::error(ErrorCode::MarshallingError));
        }
        if has_no_room {
            return self.refuse_unlogged(caller, xid, OpCode::Multi, ErrorCode::QuotaExceeded);
        }
        let parts = multi.parts.iter();
        let parts = parts.map(|(op, bytes)| SubTxn { op: op.to_i32(), data: Buffer::new(bytes) }).collect();
        self.propose_for(caller, xid, OpCode::Multi, &Txn::Multi(parts));
    }
}

impl Decider {
    /// Decides operations until the budget is spent; whether the multi is whole.
    fn decide_some(&mut self, ground: &Ground<'_>, caller: &Caller, multi: &mut MultiProgress, body: &[u8]) -> bool {
        if !std::mem::replace(&mut multi.begun, true) {
            self.outstanding.begin();
        }
        let record_size_max = ground.record_size_max().saturating_sub(RECORD_OVERHEAD);
        let room = multi_size_max(ground.settings.limits.frame_size_max).min(record_size_max);
        let mut decoder = decoder(&body[multi.offset..]);
        let (from, until) = (decoder.rest().len(), ground.spent.cost() + SLICE);
        while ground.spent.cost() < until {
            let left = decoder.rest().len();
            let op = match next_op(&mut decoder) {
                Ok(Some(op)) if !has_acls(&op) => {
                    multi.unplaced = true;
                    return true;
                }
                Ok(Some(op)) if is_multi_write(&op) => op,
                Ok(None) => return true,
                Ok(Some(_)) | Err(_) => {
                    multi.malformed = true;
                    return true;
                }
            };
            ground.spent.add(8 + (left - decoder.rest().len()) / 16);
            multi.grows |= !matches!(op, MultiOp::Delete(_) | MultiOp::Check(_));
            let mut bytes = Vec::new();
            let decided = match multi.failed {
                Some(_) => Err(ErrorCode::RuntimeInconsistency),
                None => self.decide_part(ground, caller, op),
            };
            let decided = decided.and_then(|txn| {
                txn.encode(&mut bytes);
                // An ACL may have become longer than it was in the request; the log takes no record of any size.
                let size = multi.size + PART_HEADER_SIZE + bytes.len();
                if size > room {
                    return Err(ErrorCode::BadArguments);
                }
                multi.size = size;
                Ok(txn.op())
            });
            let op = decided.unwrap_or_else(|code| {
                multi.failed.get_or_insert(code);
                let txn = Txn::error(code);
                bytes.clear();
                txn.encode(&mut bytes);
                txn.op()
            });
            multi.parts.push((op, bytes));
        }
        multi.offset += from - decoder.rest().len();
        false
    }

    fn decide_part<'a>(&mut self, ground: &Ground<'_>, caller: &Caller, op: MultiOp<'a>) -> Result<Txn<'a>, ErrorCode> {
        match op {
            MultiOp::Create(op, request) => self.create(ground, caller, op, request, -1, true),
            MultiOp::CreateTtl(CreateTtlRequest { create, ttl }) => {
                // With another flag it is an ordinary create.
                let is_ttl = CreateMode::from_i32(create.flags).is_some_and(CreateMode::is_ttl);
                let op = if is_ttl { OpCode::CreateTtl } else { OpCode::Create };
                self.create(ground, caller, op, create, ttl, true)
            }
            MultiOp::Delete(request) => self.delete(ground, caller, request),
            MultiOp::SetData(request) => self.set_data(ground, caller, request),
            MultiOp::Check(request) => self.check(ground, caller, request),
            MultiOp::GetData(_) | MultiOp::GetChildren(_) => Err(ErrorCode::MarshallingError),
        }
    }
}

/// Bytes that the parts of a multi may have as transactions: sequence numbers and the like make them a little longer than
/// the request, and records of the log have room for half as much again.
fn multi_size_max(frame_size_max: usize) -> usize {
    frame_size_max + frame_size_max / 4 + (16 << 10)
}
