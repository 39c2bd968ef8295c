//! Watches: setting them, catching up after a reconnect, and telling who watches what happened.
//!
//! Source: ZooKeeper 3.9 `WatchManager.triggerWatch`, `DataTree.setWatches`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Engine;
use super::conn::{Conn, ConnId};
use super::identity::Identities;
use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::jute::{Text, encode};
use crate::records::replies::{ReplyHeader, WatcherEvent};
use crate::records::requests::{PersistentWatches, SetWatchesRequest};
use crate::records::{ErrorCode, EventType, perms};
use crate::tree::{AclList, NodeId, ZnodeChange};
use crate::watches::{Modes, Watcher, Watches};

/// The xid of events.
const EVENT_XID: i32 = -1;
/// The zxid of events that make up for missed ones.
const CATCH_UP_ZXID: i64 = -1;
/// "Connected", the only state a server sends.
const STATE_CONNECTED: i32 = 3;

/// An event that is due, and who is to get it if it may.
pub(super) struct Fired {
    kind: EventType,
    path: Box<str>,
    acl: Arc<AclList>,
    watchers: Vec<Watcher>,
}

/// Events of one transaction, collected while it is applied and sent when all of it is (G-06).
#[derive(Default)]
pub(super) struct Firing {
    fired: VecDeque<Fired>,
    /// Created paths that a watch is still on: their znodes need the mark.
    marks: Vec<(Box<str>, u8)>,
    hits: Vec<Watcher>,
    /// Events times watchers.
    count: usize,
}

impl Firing {
    /// One change: spends the watches it meets. The marks on the znodes save the look-ups where there is no watch.
    pub(super) fn observe(&mut self, watches: &mut Watches, change: &ZnodeChange<'_>) {
        if watches.is_empty() {
            return;
        }
        // A znode created in this very transaction does not have its mark yet.
        let unsure = change.kind == EventType::Created || !self.marks.is_empty() || watches.has_recursive();
        if unsure || change.watched & 1 != 0 {
            watches.trigger_data(change.path, &mut self.hits);
            self.fire(change.kind, change.path, change.acl);
        }
        match change.kind {
            EventType::Created => {
                let bits = watches.bits(change.path);
                if bits != 0 {
                    self.marks.push((change.path.into(), bits));
                }
            }
            EventType::Deleted if failpoint::on(Failpoint::DeletionUnheard) => {}
            EventType::Deleted if unsure || change.watched & 2 != 0 => self.deleted_for_child_watchers(watches, change),
            _ => {}
        }
        if change.kind != EventType::DataChanged && (unsure || change.parent_watched & 2 != 0) {
            watches.trigger_child(change.parent, &mut self.hits);
            self.fire(EventType::ChildrenChanged, change.parent, change.parent_acl);
        }
    }

    /// A child watch hears of the deletion too, unless its connection did already; it is spent all the same.
    fn deleted_for_child_watchers(&mut self, watches: &mut Watches, change: &ZnodeChange<'_>) {
        watches.trigger_child(change.path, &mut self.hits);
        if let Some(last) = self.fired.back()
            && last.kind == EventType::Deleted
            && &*last.path == change.path
        {
            self.hits.retain(|watcher| !last.watchers.contains(watcher));
        }
        self.fire(EventType::Deleted, change.path, change.acl);
    }

    /// How many events are to be sent.
    pub(super) fn count(&self) -> usize {
        self.count + self.marks.len()
    }

    fn fire(&mut self, kind: EventType, path: &str, acl: &Arc<AclList>) {
        if !self.hits.is_empty() {
            let watchers = std::mem::take(&mut self.hits);
            self.count += watchers.len();
            self.fired.push_back(Fired { kind, path: path.into(), acl: Arc::clone(acl), watchers });
        }
    }
}

/// The lists of a request that sets watches, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WatchRequestList {
    Data,
    Exist,
    Child,
    Persistent,
    Recursive,
}

impl WatchRequestList {
    pub(super) const ALL: [WatchRequestList; 5] = [
        WatchRequestList::Data,
        WatchRequestList::Exist,
        WatchRequestList::Child,
        WatchRequestList::Persistent,
        WatchRequestList::Recursive,
    ];
}

/// as many watches as allowed may have paths of this many bytes each; longer ones are fewer.
const WATCH_SIZE_MEAN: usize = 256;

impl Engine {
    /// Sends the events of a transaction to the watchers that may read the znode (SC-66), until `budget` is spent; whether
    /// all are sent. A watcher that may not read it has spent its watch all the same.
    pub(super) fn send_events(&mut self, firing: &mut Firing, zxid: Zxid, budget: usize) -> bool {
        let mut spent = 0;
        while let Some((path, bits)) = firing.marks.pop() {
            if let Some(node) = self.state.tree.lookup(&path) {
                self.state.tree.set_watched(node, self.state.tree.watched(node) | bits);
            }
            spent += 1 + path.len() / 32;
            if spent >= budget {
                return false;
            }
        }
        while let Some(Fired { kind, path, acl, mut watchers }) = firing.fired.pop_front() {
            // In the order of the watchers, from the back of a list that is turned round.
            watchers.reverse();
            while let Some(watcher) = watchers.pop() {
                let Some(id) = self.conns.id_of(watcher) else { continue };
                let Some(conn) = self.conns.get_mut(id) else { continue };
                let permitted = self.settings.skip_acl || acl.is_open() || conn.who.permits(&acl, perms::READ);
                if failpoint::on(Failpoint::EventSkipped) && zxid.0 % 4 == 0 {
                    continue;
                }
                let wrong = failpoint::on(Failpoint::EventKindWrong) && kind == EventType::Created;
                let kind = if wrong { EventType::DataChanged } else { kind };
                if (permitted || failpoint::on(Failpoint::EventUnchecked)) && conn.close.is_none() {
                    if failpoint::on(Failpoint::EventDoubled) {
                        send_event(conn, zxid.0, kind, &path);
                    }
                    send_event(conn, zxid.0, kind, &path);
                    self.counters.sent += 1;
                    self.touch(id);
                }
                spent += 2 + path.len() / 32 + acl.cost();
                if spent >= budget && !watchers.is_empty() {
                    watchers.reverse();
                    firing.fired.push_front(Fired { kind, path, acl, watchers });
                    return false;
                }
            }
            if spent >= budget && !firing.fired.is_empty() {
                return false;
            }
        }
        true
    }

    /// Registers a watch, within R-16.
    pub(super) fn watch(
        &mut self,
        id: ConnId,
        path: &str,
        modes: Modes,
        node: Option<NodeId>,
    ) -> Result<(), ErrorCode> {
        let limits = &self.settings.limits;
        // R-17 holds for paths that are kept, and this one may be of a znode that cannot be.
        if path.len() > limits.path_size_max {
            return Err(ErrorCode::BadArguments);
        }
        let (own_max, all_max) = (limits.watches_per_connection_max, limits.watches_max);
        let own_bytes = self.watches.path_bytes_of(id.slot) + path.len();
        let all_bytes = self.watches.path_bytes() + path.len();
        if self.watches.paths_of(id.slot) >= own_max
            || self.watches.count() >= all_max
            || own_bytes > own_max.saturating_mul(WATCH_SIZE_MEAN).max(limits.path_size_max)
            || all_bytes > all_max.saturating_mul(WATCH_SIZE_MEAN).max(limits.path_size_max)
        {
            return Err(ErrorCode::ThrottledOp);
        }
        self.watches.add(id.slot, path, modes);
        if let Some(node) = node {
            self.state.tree.set_watched(node, self.watches.bits(path));
        }
        Ok(())
    }

    /// Whether so many more watches are within R-16.
    pub(super) fn may_watch(&self, id: ConnId, asked: usize) -> Result<(), ErrorCode> {
        let limits = &self.settings.limits;
        if self.watches.paths_of(id.slot) + asked > limits.watches_per_connection_max
            || self.watches.count() + asked > limits.watches_max
        {
            return Err(ErrorCode::ThrottledOp);
        }
        Ok(())
    }

    /// A client is back and tells what it watched and how far it had seen. What it missed it gets at once, before the
    /// reply; the rest is registered (G-07). No client learns this way of a change to a znode that it may not read (SC-67).
    pub(super) fn set_watches(
        &mut self,
        id: ConnId,
        who: &Arc<Identities>,
        request: SetWatchesRequest<'_>,
        persistent: PersistentWatches<'_>,
    ) -> Result<(), ErrorCode> {
        let asked = request.data.len()
            + request.exist.len()
            + request.child.len()
            + persistent.persistent.len()
            + persistent.recursive.len();
        self.may_watch(id, asked)?;
        let since = request.relative_zxid;
        for (list, paths) in [
            (WatchRequestList::Data, &request.data),
            (WatchRequestList::Exist, &request.exist),
            (WatchRequestList::Child, &request.child),
            (WatchRequestList::Persistent, &persistent.persistent),
            (WatchRequestList::Recursive, &persistent.recursive),
        ] {
            for path in paths {
                self.set_watch(id, who, list, path, since)?;
            }
        }
        Ok(())
    }

    /// One path of such a request.
    pub(super) fn set_watch(
        &mut self,
        id: ConnId,
        who: &Identities,
        list: WatchRequestList,
        path: &Text<'_>,
        since: i64,
    ) -> Result<(), ErrorCode> {
        match list {
            WatchRequestList::Data => {
                let changed = |engine: &Engine, node| {
                    let mzxid = engine.state.tree.view(node).mzxid.0;
                    mzxid > since || (failpoint::on(Failpoint::CatchUpAgain) && mzxid == since)
                };
                self.catch_up(id, who, path, Modes::DATA, EventType::DataChanged, changed)
            }
            WatchRequestList::Exist => {
                let node = self.state.tree.lookup(path.as_str());
                match node {
                    Some(node) if self.may(who, node, perms::READ) || failpoint::on(Failpoint::CatchUpUnchecked) => {
                        self.missed(id, EventType::Created, path);
                    }
                    node => self.watch(id, path.as_str(), Modes::DATA, node)?,
                }
                Ok(())
            }
            WatchRequestList::Child => {
                let changed = |engine: &Engine, node| {
                    let node = engine.state.tree.view(node);
                    let changed = if failpoint::on(Failpoint::CatchUpByData) { node.mzxid } else { node.pzxid };
                    changed.0 > since
                };
                self.catch_up(id, who, path, Modes::CHILD, EventType::ChildrenChanged, changed)
            }
            WatchRequestList::Persistent => {
                self.watch(id, path.as_str(), Modes::PERSISTENT, self.state.tree.lookup(path.as_str()))
            }
            WatchRequestList::Recursive => {
                self.watch(id, path.as_str(), Modes::RECURSIVE, self.state.tree.lookup(path.as_str()))
            }
        }
    }

    fn catch_up(
        &mut self,
        id: ConnId,
        who: &Identities,
        path: &Text<'_>,
        modes: Modes,
        kind: EventType,
        changed: impl Fn(&Engine, NodeId) -> bool,
    ) -> Result<(), ErrorCode> {
        match self.state.tree.lookup(path.as_str()) {
            None => self.missed(id, EventType::Deleted, path),
            Some(node) if changed(self, node) && self.may(who, node, perms::READ) => self.missed(id, kind, path),
            node => self.watch(id, path.as_str(), modes, node)?,
        }
        Ok(())
    }

    fn missed(&mut self, id: ConnId, kind: EventType, path: &Text<'_>) {
        if let Some(conn) = self.conns.get_mut(id) {
            send_event(conn, CATCH_UP_ZXID, kind, path.as_str());
            // The client asked for these events: together they are its reply.
            conn.out.note_more(conn.last_frame + 4);
            self.counters.sent += 1;
        }
    }
}

fn send_event(conn: &mut Conn, zxid: i64, kind: EventType, path: &str) {
    conn.frame(|out| {
        encode(&ReplyHeader { xid: EVENT_XID, zxid, err: 0 }, out);
        encode(&WatcherEvent { kind: kind.to_i32(), state: STATE_CONNECTED, path: path.into() }, out);
    });
}
