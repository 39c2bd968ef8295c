//! What is decided and not applied yet: how znodes will be, and the transactions that wait to be agreed on.

use std::sync::Arc;

use super::LogSpace;
use super::budget::Spent;
use super::caller::{Caller, Requester};
use super::duty::Duty;
use super::identity::fix_up;
use super::outstanding::Outstanding;
use super::remote::Remote;
use super::settings::EngineSettings;
use super::state::ReplicatedState;
use crate::failpoint::{self, Failpoint};
use crate::ids::{SessionId, WallMillis, Zxid};
use crate::path;
use crate::records::membership::ReconfigView;
use crate::records::txn::{Payload, Proposal, Txn, TxnHeader, encode_txn};
use crate::records::{Acl, ErrorCode};
use crate::session::Sessions;
use crate::tree::AclList;

/// Memory kept for the next transaction to be encoded.
const SCRATCH_MAX: usize = 64 << 10;

/// What a decision stands on, beside what is outstanding.
pub(super) struct Ground<'g> {
    pub settings: &'g EngineSettings,
    /// As applied.
    pub state: &'g ReplicatedState,
    pub remote: &'g Remote,
    /// Sessions that no other server knows.
    pub local: &'g Sessions,
    pub reconfig_view: Option<&'g ReconfigView>,
    pub duty: Duty,
    /// What a decision costs is added here.
    pub spent: &'g Spent,
}

impl Ground<'_> {
    /// Whether the session may write.
    pub(super) fn is_live(&self, caller: &Caller) -> Result<(), ErrorCode> {
        match self.is_global(caller) {
            Err(ErrorCode::EphemeralOnLocalSession) => Ok(()),
            other => other,
        }
    }

    /// Whether all servers know the session, so that it may own an ephemeral.
    pub(super) fn is_global(&self, caller: &Caller) -> Result<(), ErrorCode> {
        let is_live = self.state.sessions.is_live(caller.session) || self.remote.is_beginning(caller.session);
        if is_live || failpoint::on(Failpoint::EndedSessionActs) {
            Ok(())
        } else if self.local.is_live(caller.session) || self.is_local_elsewhere(caller) {
            Err(ErrorCode::EphemeralOnLocalSession)
        } else {
            Err(ErrorCode::SessionExpired)
        }
    }

    /// A session that a learner speaks for and we do not know is one that only the learner knows, unless it was one of all
    /// servers, or of ours.
    fn is_local_elsewhere(&self, caller: &Caller) -> bool {
        let sessions = &self.state.sessions;
        self.settings.local_sessions
            && matches!(caller.requester, Requester::Learner(_))
            && sessions.get(caller.session).is_none()
            && !sessions.are_issued_here(caller.session)
            && !self.remote.has_ended(caller.session)
    }

    pub(super) fn permit(&self, caller: &Caller, acl: &AclList, wanted: i32) -> Result<(), ErrorCode> {
        self.spent.add(acl.cost());
        if self.settings.skip_acl || acl.is_open() || caller.who.permits(acl, wanted) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    /// R-17, checked wherever a path enters the tree.
    pub(super) fn path_fits(&self, path: &str) -> Result<(), ErrorCode> {
        let limits = &self.settings.limits;
        if path.len() <= limits.path_size_max && path::depth(path) <= limits.path_depth_max {
            Ok(())
        } else {
            Err(ErrorCode::BadArguments)
        }
    }

    pub(super) fn fix_acl<'a>(&self, caller: &Caller, acl: Option<Vec<Acl<'a>>>) -> Result<Vec<Acl<'a>>, ErrorCode> {
        fix_up(acl, &caller.who, self.settings.digest_enabled, self.settings.limits.acl_entries_max)
    }

    /// Bytes of the largest record that may be proposed: what the log takes, and what other servers do.
    pub(super) fn record_size_max(&self) -> usize {
        self.duty.record_size_max(&self.settings.limits)
    }
}

/// Makes transactions of requests, one after the other, each against the state as it will be.
pub(super) struct Decider {
    /// How znodes will be.
    pub outstanding: Outstanding,
    /// The end of a session is outstanding that no view tells of: nothing is decided until it is applied.
    pub barrier: Option<Zxid>,
    pub log_space: LogSpace,
    /// How many bytes of transactions may be decided until the loop says more.
    pub log_budget: u64,
    /// Transactions that the loop has not taken yet.
    pub proposals: Vec<Proposal>,
    /// The last transaction proposed.
    proposed: Zxid,
    /// A reconfiguration that was decided and is not in force yet.
    reconfiguring: Option<Zxid>,
    /// The list nearly every znode has.
    open_acl: Arc<AclList>,
    /// Where a transaction is encoded, before it is given exactly the memory it needs.
    scratch: Vec<u8>,
}

impl Decider {
    /// Nothing is outstanding behind `applied`.
    pub(super) fn new(applied: Zxid) -> Decider {
        Decider {
            outstanding: Outstanding::default(),
            barrier: None,
            log_space: LogSpace::Plenty,
            log_budget: u64::MAX,
            proposals: Vec::new(),
            proposed: applied,
            reconfiguring: None,
            open_acl: Arc::new(AclList::new(&[Acl::open()])),
            scratch: Vec::new(),
        }
    }

    /// Whatever was decided is applied or will never be: goes on behind `zxid`.
    pub(super) fn start_over(&mut self, zxid: Zxid) {
        self.proposals.clear();
        self.outstanding.clear();
        self.barrier = None;
        self.reconfiguring = None;
        self.proposed = zxid;
    }

    /// The last transaction proposed.
    pub(super) fn proposed(&self) -> Zxid {
        self.proposed
    }

    /// Where the next transaction stands. In an ensemble a new epoch begins before a counter is used up; alone, it runs over
    /// into the epoch, as ZooKeeper's does.
    pub(super) fn next(&self) -> Zxid {
        self.proposed.next().unwrap_or(Zxid(self.proposed.0 + 1))
    }

    /// The transaction at `zxid` is a reconfiguration: there is no other until it is in force.
    pub(super) fn begins_reconfiguring(&mut self, zxid: Zxid) {
        self.reconfiguring = Some(zxid);
    }

    /// Whether one was decided and is not in force yet.
    pub(super) fn is_reconfiguring(&self) -> bool {
        self.reconfiguring.is_some()
    }

    /// The configuration of this version is in force.
    pub(super) fn reconfigured_upto(&mut self, version: Zxid) {
        self.reconfiguring.take_if(|zxid| *zxid <= version);
    }

    /// Nothing is decided until the next transaction is applied, which is about to be proposed.
    pub(super) fn raise_barrier(&mut self) {
        self.barrier = Some(self.next());
    }

    /// Everything is applied up to here. `is_deciding`: views of a multi that is half decided are to stay.
    pub(super) fn applied(&mut self, zxid: Zxid, is_deciding: bool) {
        if self.barrier.is_some_and(|barrier| zxid >= barrier) {
            // Whatever was decided before the barrier is applied, and nothing was decided since.
            self.barrier = None;
            self.outstanding.clear();
        }
        if zxid == self.proposed && !is_deciding {
            self.outstanding.clear();
        }
    }

    /// whether there is memory and space for a transaction; one that does not grow may use the reserve.
    pub(super) fn has_room(&self, ground: &Ground<'_>, grows: bool) -> bool {
        match self.log_space {
            LogSpace::None => false,
            _ if !grows => true,
            LogSpace::Plenty => ground.state.tree.memory_bytes() < ground.settings.limits.tree_size_max,
            LogSpace::Reserve => false,
        }
    }

    /// A list for a view, shared where it is the usual one.
    pub(super) fn acl_list(&self, acl: &[Acl<'_>]) -> Arc<AclList> {
        if acl == [Acl::open()] {
            return Arc::clone(&self.open_acl);
        }
        Arc::new(AclList::new(acl))
    }

    /// Gives a transaction its place and its bytes.
    pub(super) fn propose(
        &mut self,
        duty: Duty,
        wall: WallMillis,
        session: SessionId,
        cxid: i32,
        txn: &Txn<'_>,
    ) -> Zxid {
        let zxid = self.next();
        let is_ours = !matches!(duty, Duty::Decide { epoch } if epoch != zxid.epoch());
        assert!(is_ours, "{zxid} is not of the epoch of {duty:?}");
        self.proposed = zxid;
        let header = TxnHeader { session, cxid, zxid, time: wall.0, op: txn.op().to_i32() };
        self.scratch.clear();
        encode_txn(&header, txn, &mut self.scratch);
        let txn = Payload::from(self.scratch.as_slice());
        // One large transaction does not keep its memory for ever.
        self.scratch.shrink_to(SCRATCH_MAX);
        self.log_budget = self.log_budget.saturating_sub(txn.len() as u64);
        self.proposals.push(Proposal { zxid, txn });
        zxid
    }

    #[cfg(test)]
    pub(super) fn pretend_proposed(&mut self, zxid: Zxid) {
        self.proposed = zxid;
    }
}
