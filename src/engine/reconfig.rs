//! Members that change: what a request to reconfigure is refused for, and the znode that tells who they are.
//!
//! Source: ZooKeeper 3.9 `PrepRequestProcessor`, `ZKDatabase.initConfigInZKDatabase`.

use super::Engine;
use super::caller::Caller;
use super::decide::DecisionRefused;
use super::decider::{Decider, Ground};
use super::duty::Duty;
use super::request::decoder;
use crate::ids::{SessionId, WallMillis, Zxid};
use crate::jute::Buffer;
use crate::path;
use crate::records::membership::{Membership, MembershipError, ReconfigView};
use crate::records::requests::ReconfigRequest;
use crate::records::txn::{SetDataTxn, Txn, TxnHeader};
use crate::records::{ErrorCode, OpCode, perms};

/// The version of the configuration's znode: no request counts it up.
const VERSION: i32 = -1;

impl Engine {
    /// What it was told last.
    pub fn reconfig_view(&self) -> Option<&ReconfigView> {
        self.reconfig_view.as_ref()
    }

    /// What a leader's member knows of its ensemble, whenever that is another; `None` where it does not lead or members cannot change.
    pub fn set_reconfig_view(&mut self, view: Option<ReconfigView>) {
        if let Some(view) = &view {
            self.decider.reconfigured_upto(view.committed.version);
        }
        self.reconfig_view = view;
    }

    /// This configuration is in force, whether or not a transaction of the history said so: `/zookeeper/config` tells it, once this
    /// server serves.
    pub fn configured(&mut self, committed: &Membership) {
        self.config = Some((committed.version, committed.to_string()));
        if self.duty != Duty::None {
            self.write_config();
        }
    }

    /// Writes the configuration in force into its znode where that tells an older one. No transaction does: each server does it for
    /// itself, with its own time.
    pub(super) fn write_config(&mut self) {
        let Some((version, text)) = &self.config else { return };
        let tree = &mut self.state.tree;
        let node = tree.lookup(path::CONFIG);
        let told = node.and_then(|node| tree.data(node));
        let is_told = told.as_deref().is_some_and(|told| match version.0 {
            0 => told == text.as_bytes(),
            _ => version_of(told).is_some_and(|told| told >= *version),
        });
        if is_told {
            return;
        }
        drop(told);
        let WallMillis(time) = self.clock.wall;
        let header =
            TxnHeader { session: SessionId::NONE, cxid: 0, zxid: *version, time, op: OpCode::Reconfig.to_i32() };
        let _ = tree.apply(&header, &reconfig_txn(text), &mut |_| {});
    }

    /// A transaction has changed the configuration: what its znode tells now is what is in force.
    pub(super) fn note_config(&mut self) {
        let data = self.config_data();
        if let (Some(version), Ok(text), Some(config)) = (version_of(&data), String::from_utf8(data), &mut self.config)
            && version > config.0
        {
            *config = (version, text);
        }
    }

    /// Decides a request to reconfigure and proposes the outcome.
    pub(super) fn reconfig(&mut self, caller: &Caller, xid: i32, body: &[u8]) {
        let (decider, ground) = self.decider();
        match decider.reconfig(&ground, caller, body) {
            Ok(text) => self.propose_for(caller, xid, OpCode::Reconfig, &reconfig_txn(&text)),
            Err(DecisionRefused::Logged(code)) => self.propose_for(caller, xid, OpCode::Reconfig, &Txn::error(code)),
            Err(DecisionRefused::Unlogged(code)) => self.refuse_unlogged(caller, xid, OpCode::Reconfig, code),
        }
    }

    /// The data of `/zookeeper/config`, which a request to reconfigure is answered with.
    pub(super) fn config_data(&self) -> Vec<u8> {
        let tree = &self.state.tree;
        let data = tree.lookup(path::CONFIG).and_then(|node| tree.data(node));
        data.map(|data| data.into_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
impl Engine {
    /// Decides what `change` makes of the present configuration, as if a client had asked whom nobody answers; nothing if it may
    /// not be changed now.
    pub(crate) fn change_config(
        &mut self,
        change: impl FnOnce(&ReconfigView) -> Option<Membership>,
    ) -> Option<Membership> {
        let view = self.reconfig_view.as_ref()?;
        let is_free = !self.decider.is_reconfiguring() && view.seen.version == view.committed.version;
        let new = change(view).filter(|new| is_free && (view.has_quorum)(new, &view.in_sync))?;
        let zxid = self.decider.next();
        let new = new.with_version(zxid);
        self.decider.begins_reconfiguring(zxid);
        self.propose(SessionId::NONE, 0, &reconfig_txn(&new.to_string()));
        Some(new)
    }
}

impl Decider {
    /// The text of the configuration that a request makes. The first check that fails decides the error, in ZooKeeper's order.
    fn reconfig(&mut self, ground: &Ground<'_>, caller: &Caller, body: &[u8]) -> Result<String, DecisionRefused> {
        let request: ReconfigRequest<'_> =
            decoder(body).read().map_err(|_| DecisionRefused::Unlogged(ErrorCode::MarshallingError))?;
        if !self.has_room(ground, true) {
            return Err(DecisionRefused::Unlogged(ErrorCode::QuotaExceeded));
        }
        if !ground.settings.reconfig_enabled {
            return Err(ErrorCode::ReconfigDisabled.into());
        }
        ground.is_live(caller)?;
        if matches!(ground.duty, Duty::Alone { .. }) {
            return Err(ErrorCode::Unimplemented.into());
        }
        let Some(view) = ground.reconfig_view else { return Err(ErrorCode::NewConfigNoQuorum.into()) };
        if self.is_reconfiguring() || view.seen.version != view.committed.version {
            return Err(ErrorCode::ReconfigInProgress.into());
        }
        if request.config_id != -1 && request.config_id != view.seen.version.0 {
            return Err(ErrorCode::BadVersion.into());
        }
        let new = changed(&view.seen, &request).map_err(|(code, why)| {
            log::info!("a request to reconfigure is refused: {why}");
            code
        })?;
        let voters_min = if ground.settings.standalone_enabled { 2 } else { 1 };
        if new.voters().count() < voters_min {
            return Err(ErrorCode::BadArguments.into());
        }
        if !(view.has_quorum)(&new, &view.in_sync) {
            return Err(ErrorCode::NewConfigNoQuorum.into());
        }
        let mut node = self.outstanding.view(&ground.state.tree, path::CONFIG).ok_or(ErrorCode::NoNode)?;
        ground.permit(caller, &node.acl, perms::WRITE)?;
        let zxid = self.next();
        let text = new.with_version(zxid).to_string();
        (node.version, node.data_len) = (VERSION, text.len());
        self.outstanding.set(path::CONFIG, ground.state.tree.hash(path::CONFIG), Some(node));
        self.begins_reconfiguring(zxid);
        Ok(text)
    }
}

/// The members that a request asks for, or the code of its refusal and why.
fn changed(seen: &Membership, request: &ReconfigRequest<'_>) -> Result<Membership, (ErrorCode, MembershipError)> {
    let is_whole = !request.new_members.is_null();
    let new = match is_whole {
        true => Membership::parse_members(request.new_members.as_str()),
        false => seen.changed(request.joining.as_str(), request.leaving.as_str()),
    };
    let new = new.map_err(|why| {
        let code = match why {
            MembershipError::Leaving(_) => ErrorCode::MarshallingError,
            // ZooKeeper's parser of whole configurations does not expect these.
            MembershipError::NoVoters if is_whole && !request.new_members.as_str().is_empty() => {
                ErrorCode::MarshallingError
            }
            MembershipError::NotANumber(_) if !is_whole => ErrorCode::MarshallingError,
            _ => ErrorCode::BadArguments,
        };
        (code, why)
    })?;
    // One server cannot listen twice at one place.
    let twice = new.servers.values().find(|line| line.addresses.iter().any(|at| at.quorum_port == at.election_port));
    match twice {
        Some(line) => Err((ErrorCode::BadArguments, MembershipError::SameAddress(line.id, line.id))),
        None => Ok(new),
    }
}

fn reconfig_txn(text: &str) -> Txn<'_> {
    Txn::Reconfig(SetDataTxn { path: path::CONFIG.into(), data: Buffer::new(text.as_bytes()), version: VERSION })
}

/// The version that a configuration's text tells in its last line.
fn version_of(text: &[u8]) -> Option<Zxid> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, version) = text.rsplit_once("version=")?;
    i64::from_str_radix(version, 16).ok().map(Zxid)
}
