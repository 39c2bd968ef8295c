//! How a Java leader brings a learner up to date, and the stream of a whole state.

use super::JavaOwn;
use crate::ids::Zxid;
use crate::path::CONFIG;
use crate::records::Acl;
use crate::records::javasnap::{
    OPEN_ACL, StatPersisted, StateItem, put_acl, put_count, put_end_of_znodes, put_session, put_signature, put_znode,
};
use crate::records::peer::PacketType;
use crate::sim::model::{Model, ModelOwner, Znode};
use crate::sim::who::ModelAcl;

/// The number of the one list in a model's streams: everybody may read.
const READ_ONLY: i64 = 1;

/// How it begins, from which zxid on, and the first transaction of its history that is sent behind.
pub(super) struct SyncPlan {
    pub kind: PacketType,
    pub zxid: Zxid,
    pub from: usize,
}

/// `LearnerHandler.syncFollower`, for a learner whose last zxid is `peer`.
pub(super) fn plan(own: &JavaOwn, peer: Zxid) -> SyncPlan {
    let history = &own.memory.history;
    let end = history.len();
    let is_epoch_start = peer.counter() == 0;
    let last = own.memory.last;
    let (lo, hi) = match history.last() {
        Some((hi, _)) => (history[end.saturating_sub(own.settings.window)].0, *hi),
        None => (last, last),
    };
    let snap = SyncPlan { kind: PacketType::SNAP, zxid: last, from: end };
    if peer == last {
        return SyncPlan { kind: PacketType::DIFF, zxid: peer, from: end };
    }
    if peer > hi && !is_epoch_start {
        return SyncPlan { kind: PacketType::TRUNC, zxid: hi, from: end };
    }
    let from = match (lo <= peer && peer <= hi, own.settings.reads_log && peer < lo) {
        (true, _) => end.saturating_sub(own.settings.window),
        (_, true) => 0,
        _ => return snap,
    };
    let mut before = Zxid::ZERO;
    for (at, (zxid, _)) in history.iter().enumerate().skip(from) {
        if *zxid < peer {
            before = *zxid;
            continue;
        }
        return match *zxid == peer {
            true => SyncPlan { kind: PacketType::DIFF, zxid: hi, from: at + 1 },
            false if is_epoch_start => SyncPlan { kind: PacketType::DIFF, zxid: hi, from: at },
            false if zxid.epoch() != peer.epoch() => snap,
            false => SyncPlan { kind: PacketType::TRUNC, zxid: before, from: at },
        };
    }
    match is_epoch_start {
        true => SyncPlan { kind: PacketType::DIFF, zxid: hi, from: end },
        false => snap,
    }
}

/// The whole state as a stream.
pub(super) fn state_bytes(model: &Model) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(model.sessions.len(), &mut out);
    model.sessions.iter().for_each(|(id, timeout)| put_session(*id, *timeout, &mut out));
    put_count(1, &mut out);
    put_acl(READ_ONLY, &[Acl::new(1, "world", "anyone")], &mut out);
    // Depth first, as Java walks its tree.
    let mut nodes: Vec<_> = model.nodes.iter().collect();
    nodes.sort_by_key(|(path, _)| path.replace('/', "\0"));
    for (path, node) in nodes {
        let owner = if let ModelOwner::Session(session) = node.owner { session } else { 0 };
        let stat = StatPersisted {
            czxid: node.zxids.0,
            mzxid: node.zxids.1,
            ctime: node.times.0,
            mtime: node.times.1,
            version: node.version,
            cversion: node.creations,
            aversion: node.aversion,
            ephemeral_owner: owner,
            pzxid: node.zxids.2,
        };
        let acl = if node.acl == [ModelAcl::open()] { OPEN_ACL } else { READ_ONLY };
        let path = if path == "/" { "" } else { path };
        put_znode(path, node.data.as_deref(), acl, &stat, &mut out);
    }
    put_end_of_znodes(&mut out);
    put_signature(&mut out);
    out
}

/// A state as it comes.
#[derive(Default)]
pub(super) struct StateHeard {
    sessions: Vec<(i64, i32)>,
    znodes: Vec<(String, Znode)>,
}

impl StateHeard {
    pub(super) fn item(&mut self, item: StateItem<'_>) {
        match item {
            StateItem::Session { id, timeout_ms } => self.sessions.push((id, timeout_ms)),
            StateItem::Acl { .. } => {}
            StateItem::Znode { path, data, stat, .. } => {
                let owner = match stat.ephemeral_owner {
                    0 => ModelOwner::Nobody,
                    session => ModelOwner::Session(session),
                };
                let znode = Znode {
                    data: data.map(<[u8]>::to_vec),
                    acl: Vec::new(),
                    owner,
                    zxids: (stat.czxid, stat.mzxid, stat.pzxid),
                    times: (stat.ctime, stat.mtime),
                    version: stat.version,
                    aversion: stat.aversion,
                    creations: stat.cversion,
                };
                let path = if path.is_empty() { "/" } else { path };
                self.znodes.push((path.to_owned(), znode));
            }
        }
    }

    /// What of it is not as in this state, lists of permissions and the configuration apart.
    pub(super) fn differs(&self, model: &Model) -> Option<String> {
        let mut sessions: Vec<(i64, i32)> = model.sessions.iter().map(|(id, timeout)| (*id, *timeout)).collect();
        let mut heard = self.sessions.clone();
        sessions.sort_unstable();
        heard.sort_unstable();
        if heard != sessions {
            return Some(format!("sessions {heard:x?}, ought to be {sessions:x?}"));
        }
        let other = self.znodes.iter().find(|(path, node)| {
            let is = model.nodes.get(path).map(|is| Znode { acl: Vec::new(), ..is.clone() });
            path != CONFIG && is.as_ref() != Some(node)
        });
        if let Some((path, node)) = other {
            return Some(format!("{path} is {node:?}, ought to be {:?}", model.nodes.get(path)));
        }
        let count = self.znodes.iter().filter(|(path, _)| path != CONFIG).count();
        let due = model.nodes.keys().filter(|path| *path != CONFIG).count();
        (count != due).then(|| format!("{count} znodes, ought to be {due}"))
    }
}
