//! Transactions that are applied in slices: long multis, the end of sessions with many ephemerals, many events.
//!
//! No reader sees the tree in between, and the reply is made when all is done: every client sees the transaction whole.

use std::ops::Range;

use super::budget::SLICE;
use super::deliver::encode_result;
use super::state::Damage;
use super::watching::Firing;
use super::{Engine, OpCode};
use crate::jute::{Buffer, encode};
use crate::records::ErrorCode;
use crate::records::multi::MultiHeader;
use crate::records::txn::{SubTxn, Txn, TxnHeader};
use crate::tree::{Applied, Tree};

/// Multis up to this many bytes are applied at once.
const MULTI_AT_ONCE: usize = 16 << 10;
/// Events up to this many are sent at once.
const EVENTS_AT_ONCE: usize = 2000;

/// A transaction that is half applied.
pub(super) struct Applying {
    header: TxnHeader,
    stage: ApplyStage,
    /// The transaction as logged.
    bytes: Box<[u8]>,
    /// Parts of a multi: type, and where it stands in `bytes`.
    parts: Vec<(i32, Range<usize>)>,
    /// Of a multi: the part that failed, and the results as they are answered.
    failed: Option<usize>,
    results: Vec<u8>,
    /// Of other transactions.
    outcome: Applied<'static>,
    firing: Firing,
}

#[derive(Clone, Copy)]
enum ApplyStage {
    /// Parts of a multi are looked at before the first is applied; this one is next.
    Checking(usize),
    /// They are applied, or answered if one of them failed.
    Parts(usize),
    /// Ephemerals go.
    Ending,
    /// Events are sent.
    Telling,
}

impl Engine {
    /// Sets out to apply a long transaction; false if it is none.
    pub(super) fn begin_applying(&mut self, header: &TxnHeader, txn: &Txn<'_>, bytes: &[u8]) -> bool {
        let (stage, parts) = match txn {
            Txn::Multi(parts) if bytes.len() > MULTI_AT_ONCE => {
                let place = |part: &SubTxn<'_>| {
                    let data = part.data.0.unwrap_or_default();
                    let from = (data.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
                    (part.op, if data.is_empty() { 0..0 } else { from..from + data.len() })
                };
                (ApplyStage::Checking(0), parts.iter().map(place).collect())
            }
            Txn::CloseSession(None) => (ApplyStage::Ending, Vec::new()),
            _ => return false,
        };
        self.start(Applying {
            header: *header,
            stage,
            bytes: bytes.into(),
            parts,
            failed: None,
            results: Vec::new(),
            outcome: Applied::SessionClosed,
            firing: Firing::default(),
        });
        true
    }

    /// A transaction is applied whose events are too many to be sent at once; `firing` comes back if they are not.
    pub(super) fn begin_telling(
        &mut self,
        header: &TxnHeader,
        outcome: &Applied<'_>,
        firing: Firing,
    ) -> Option<Firing> {
        if firing.count() <= EVENTS_AT_ONCE {
            return Some(firing);
        }
        let mut applying = Applying {
            header: *header,
            stage: ApplyStage::Telling,
            bytes: Box::default(),
            parts: Vec::new(),
            failed: None,
            results: Vec::new(),
            outcome: Applied::Deleted,
            firing,
        };
        match outcome {
            Applied::Multi(results) => {
                applying.outcome = Applied::Multi(Vec::new());
                results.iter().for_each(|result| encode_result(result, &mut applying.results));
            }
            Applied::Created { op, path, stat } => {
                applying.outcome = Applied::Created { op: *op, path: path.clone().into_owned(), stat: *stat };
            }
            Applied::Deleted => applying.outcome = Applied::Deleted,
            Applied::DataSet(stat) => applying.outcome = Applied::DataSet(*stat),
            Applied::AclSet(stat) => applying.outcome = Applied::AclSet(*stat),
            Applied::Checked => applying.outcome = Applied::Checked,
            Applied::SessionCreated => applying.outcome = Applied::SessionCreated,
            Applied::SessionClosed => applying.outcome = Applied::SessionClosed,
            Applied::Error(code) => applying.outcome = Applied::Error(*code),
        }
        self.start(applying);
        None
    }

    fn start(&mut self, applying: Applying) {
        self.work.applying = Some(Box::new(applying));
    }

    /// Goes on with the transaction that is half applied, if one is. Whether it is whole.
    ///
    /// # Errors
    /// [`Damage`] when a part of it cannot be read; nothing of it was applied then.
    pub fn apply_slice(&mut self) -> Result<bool, Damage> {
        let Some(mut applying) = self.work.applying.take() else { return Ok(true) };
        if !self.apply_some(&mut applying)? {
            self.work.applying = Some(applying);
            return Ok(false);
        }
        self.conns.free_slots();
        let Applying { header, results, outcome, .. } = *applying;
        let is_multi = matches!(outcome, Applied::Multi(_)) || !results.is_empty();
        if is_multi {
            self.reply_with_results(&header, results);
        } else {
            self.reply_to_write(&header, &outcome);
        }
        self.delivered(&header);
        Ok(true)
    }

    fn apply_some(&mut self, applying: &mut Applying) -> Result<bool, Damage> {
        let Applying { header, stage, bytes, parts, failed, results, outcome, firing } = applying;
        let damaged = |error| Damage(format!("transaction {}: {error}", header.zxid));
        let part_at = |index: usize| {
            let (op, range): &(i32, Range<usize>) = &parts[index];
            SubTxn { op: *op, data: Buffer::new(&bytes[range.clone()]) }
        };
        let cost = |index: usize| 8 + parts[index].1.len() / 16;
        let mut spent = 0;
        if let ApplyStage::Checking(next) = stage {
            *outcome = Applied::Multi(Vec::new());
            while *next < parts.len() {
                if spent >= SLICE {
                    return Ok(false);
                }
                if Tree::check_part(&part_at(*next)).map_err(damaged)?.is_some() && failed.is_none() {
                    *failed = Some(*next);
                }
                spent += cost(*next) / 4;
                *next += 1;
            }
            *stage = ApplyStage::Parts(0);
        }
        if let ApplyStage::Parts(next) = stage {
            while *next < parts.len() {
                if spent >= SLICE {
                    return Ok(false);
                }
                let watches = &mut self.watches;
                let part = part_at(*next);
                let result = match *failed {
                    None => self.state.tree.apply_part(header, &part, &mut |change| firing.observe(watches, change)),
                    Some(failed) => Tree::check_part(&part).map(|error| {
                        Applied::Error(error.unwrap_or(match *next < failed {
                            true => ErrorCode::Ok,
                            false => ErrorCode::RuntimeInconsistency,
                        }))
                    }),
                };
                encode_result(&result.map_err(damaged)?, results);
                spent += cost(*next);
                *next += 1;
            }
            self.applied_whole(header, &Txn::Multi(Vec::new()));
            *stage = ApplyStage::Telling;
        }
        if let ApplyStage::Ending = stage {
            let watches = &mut self.watches;
            if !self.state.tree.end_session_slice(header, SLICE, &mut |change| firing.observe(watches, change)) {
                return Ok(false);
            }
            self.applied_whole(header, &Txn::CloseSession(None));
            *stage = ApplyStage::Telling;
            spent = SLICE / 2;
        }
        Ok(self.send_events(firing, header.zxid, SLICE.saturating_sub(spent).max(1)))
    }

    fn reply_with_results(&mut self, header: &TxnHeader, mut results: Vec<u8>) {
        encode(&MultiHeader::END, &mut results);
        self.reply_with(header, ErrorCode::Ok, |_, out| out.extend_from_slice(&results));
    }

    /// Everything is applied up to here, and answered.
    pub(super) fn delivered(&mut self, header: &TxnHeader) {
        while let Some(conn) = self.awaiting.next_sync(header.zxid) {
            self.drain(conn);
        }
        self.remote.applied(header.zxid);
        self.answer_syncs();
        if header.op == OpCode::CloseSession.to_i32() {
            self.session_ended(header.session);
            self.end_is_certain(header.session);
        }
        if header.op == OpCode::Reconfig.to_i32() {
            self.note_config();
        }
        self.decider.applied(self.state.applied, self.work.deciding.is_some());
    }
}
