//! Configurations that change while the world lives: servers come, go, change their role and their place.

use super::*;
use crate::failpoint::{self, Failpoint};
use crate::ids::SessionId;
use crate::jute::{Buffer, encode};
use crate::records::OpCode;
use crate::records::membership::Membership;
use crate::records::servers::{Role, ServerLine};
use crate::records::txn::{SetDataTxn, TxnHeader};

fn line(id: ServerId, role: Role, port: u16) -> ServerLine {
    ServerLine::parse(id, &format!("host{id}:{port}:1:{role};2")).unwrap()
}

impl World {
    /// What its file says, and what its disk knows better. A joiner's file names some members and itself.
    pub(super) fn configs_at_start(&self, node: usize) -> Option<Configs> {
        if self.shape.joiners == 0 {
            return None;
        }
        let (me, disk) = (self.nodes[node].id, &self.nodes[node].disk);
        let mut file = Membership::default();
        for id in (1..=self.shape.voters + self.shape.observers).map(ServerId) {
            let role = if id.0 <= self.shape.voters { Role::Participant } else { Role::Observer };
            file.servers.insert(id, line(id, role, 100));
        }
        let role = if me.0.is_multiple_of(2) { Role::Participant } else { Role::Observer };
        file.servers.entry(me).or_insert_with(|| line(me, role, 100));
        let kept = disk.configs.clone().unwrap_or_else(|| Configs::of(file.clone()));
        let mut configs = Configs::of(if kept.committed.version > Zxid::ZERO { kept.committed } else { file });
        configs.told = kept.told;
        let logged = disk.history.iter().rev().find_map(|(_, txn)| Membership::of_txn(txn).unwrap());
        configs.logged = logged.filter(|logged| logged.version > configs.committed.version);
        if failpoint::on(Failpoint::LoggedConfigForgotten) {
            configs.logged = None;
        }
        Some(configs)
    }

    pub(super) fn configured(&mut self, node: usize, configs: &Configs, change: ConfigChange) {
        let id = self.nodes[node].id;
        self.tell(format!("{id} {change:?} {:?} then {:?}", configs.committed.version, configs.seen().version));
        match change {
            ConfigChange::Proposed => self.count("configuration proposed"),
            ConfigChange::Activated { is_in_log: true } => self.count("configuration activated"),
            ConfigChange::Activated { is_in_log: false } => {
                self.count("configuration activated without its transaction")
            }
            ConfigChange::Forgotten => self.count("configuration forgotten"),
        }
    }

    /// Whoever leads proposes another configuration, if it may.
    pub(super) fn reconfigure(&mut self) {
        let delay = 200 + self.config_rng.below(1_500);
        self.after(delay, Happens::Reconfigures);
        if self.is_healing {
            return;
        }
        for node in 0..self.nodes.len() {
            let Standing::Leading { epoch } = self.nodes[node].standing else { continue };
            let view = self.nodes[node].zab.as_ref().and_then(Zab::reconfig_view);
            let Some(view) = view.filter(|_| self.nodes[node].paused_until.0 <= self.now) else { continue };
            if view.seen.version != view.committed.version {
                self.count("reconfiguration under way");
                continue;
            }
            let mut new = view.committed.clone();
            for _ in 0..1 + self.config_rng.below(3) {
                let id = match self.config_rng.below(4) {
                    0 => self.nodes[node].id,
                    _ => ServerId(1 + self.config_rng.below(self.nodes.len() as u64)),
                };
                let port = 100 + self.config_rng.below(3) as u16;
                match self.config_rng.below(4) {
                    0 => drop(new.servers.remove(&id)),
                    1 => drop(new.servers.insert(id, line(id, Role::Observer, port))),
                    _ => drop(new.servers.insert(id, line(id, Role::Participant, port))),
                }
            }
            if new.voters().next().is_none() || !(view.has_quorum)(&new, &view.in_sync) {
                self.count("reconfiguration refused");
                continue;
            }
            self.count("reconfiguration");
            self.nodes[node].counter += 1;
            let zxid = Zxid::new(epoch, self.nodes[node].counter);
            let new = new.with_version(zxid);
            self.tell(format!("{} proposes {:?}", self.nodes[node].id, new.to_string()));
            let mut txn = Vec::new();
            let header = TxnHeader { session: SessionId(0), cxid: 0, zxid, time: 0, op: OpCode::Reconfig as i32 };
            encode(&header, &mut txn);
            let text = new.to_string();
            let data = Buffer::new(text.as_bytes());
            encode(&SetDataTxn { path: "/zookeeper/config".into(), data, version: -1 }, &mut txn);
            self.give(node, ZabEvent::Decided(vec![(zxid, txn.into())]));
        }
    }
}
