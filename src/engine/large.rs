//! Large replies wait while the memory for output is in use, so that no connection is closed for one that is allowed.

use std::sync::Arc;

use super::Engine;
use super::conn::{ConnId, PendingReply};
use super::identity::Identities;
use super::request::parse;
use crate::records::OpCode;
use crate::records::multi::{MultiOp, decode_ops};
use crate::records::requests::{PathRequest, PathWatchRequest};
use crate::tree::NodeId;

/// Replies up to this size never wait for others' output.
const SMALL_REPLY_SIZE: usize = 64 << 10;
/// What a reply has beside its names and data, at most.
const OVERHEAD: usize = 128;

impl Engine {
    /// Whether reads wait until clients have taken some of the output that is queued for them.
    pub fn reads_wait_for_output(&self) -> bool {
        self.conns.reads_wait()
    }

    /// Whether a read's reply is too large for what is left of the memory for output.
    ///
    /// Below the gate any reply that R-23 allows fits; above it only small ones are made.
    pub(super) fn must_wait_for_output(&self, op: OpCode, body: &[u8], who: &Arc<Identities>) -> bool {
        self.conns.queued() > self.output_gate() && self.is_larger(op, body, who, SMALL_REPLY_SIZE)
    }

    fn output_gate(&self) -> usize {
        let limits = &self.settings.limits;
        limits.output_total_max.saturating_sub(limits.reply_size_max).max(limits.output_total_max / 2)
    }

    /// The front of the line goes on, as far as there is memory.
    pub(super) fn serve_waiting_reads(&mut self) {
        while let Some(id) = self.conns.next_waiting_read(self.output_gate()) {
            self.drain(id);
        }
    }

    /// Whether the request in front of a connection's queue is a read that must wait. With a write behind it, it may not:
    /// that will be applied in its turn, and the read must not show it. While a read waits, nothing more is taken.
    pub(super) fn front_must_wait(&self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get(id) else { return false };
        match conn.pending.front() {
            Some(PendingReply::Read { op, body, who, .. }) => {
                self.must_wait_for_output(*op, body, who)
                    && !conn.pending.iter().any(|pending| matches!(pending, PendingReply::Write { .. }))
            }
            _ => false,
        }
    }

    /// Whether the reply would have more than `most` bytes. Looks at no more than that.
    fn is_larger(&self, op: OpCode, body: &[u8], who: &Identities, most: usize) -> bool {
        match op {
            OpCode::GetData | OpCode::GetChildren | OpCode::GetChildren2 => {
                let Ok(request) = parse::<PathWatchRequest<'_>>(body) else { return false };
                let Ok(node) = self.readable(who, &request.path) else { return false };
                self.reply_size(op, node, most) > most
            }
            OpCode::GetEphemerals => {
                if parse::<PathRequest<'_>>(body).is_err() {
                    return false;
                }
                // Those of this session are not known by its identities; any count above this is a long list.
                self.state.tree.ephemeral_count() > most / OVERHEAD
            }
            OpCode::MultiRead => {
                let Ok(ops) = decode_ops(body) else { return false };
                let mut total = 0;
                for op in &ops {
                    let (op, path) = match op {
                        MultiOp::GetData(request) => (OpCode::GetData, &request.path),
                        MultiOp::GetChildren(request) => (OpCode::GetChildren, &request.path),
                        _ => return false,
                    };
                    total += OVERHEAD;
                    if let Ok(node) = self.readable(who, path) {
                        total += self.reply_size(op, node, most);
                    }
                    if total > most {
                        return true;
                    }
                }
                false
            }
            _ => false,
        }
    }

    /// About how many bytes a reply has, or a number above `most`.
    fn reply_size(&self, op: OpCode, node: NodeId, most: usize) -> usize {
        if op == OpCode::GetData {
            return OVERHEAD + self.state.tree.view(node).data_length;
        }
        let mut size = OVERHEAD;
        for name in self.state.tree.children(node) {
            size += 4 + name.len();
            if size > most {
                break;
            }
        }
        size
    }
}
