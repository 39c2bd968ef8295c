//! Connections between a learner and a leader.

use std::collections::VecDeque;
use std::rc::Rc;

use super::world::*;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::zab::*;

impl World {
    pub(super) fn dial(&mut self, node: usize, to: usize) {
        if !self.is_up(to) || !self.is_joined(node, to) {
            return self.give(node, ZabEvent::DialFailed);
        }
        let conn = Conn {
            ends: [node, to],
            is_open: [true; 2],
            swallows: false,
            has_history: false,
            is_serving: false,
            epoch: 0,
            wires: [VecDeque::new(), VecDeque::from([Item::Opened])],
        };
        let free = self.conns.iter().position(Option::is_none).unwrap_or(self.conns.len());
        if free == self.conns.len() {
            self.conns.push(None);
        }
        self.conns[free] = Some(Rc::new(conn));
        self.give(node, ZabEvent::Opened { link: link_of(free), is_ours: true });
    }

    pub(super) fn send(&mut self, node: usize, link: LinkId, packet: QuorumPacket) {
        let index = link.slot as usize;
        self.check_send(node, index, &packet);
        if let Some(conn) = self.conn(index) {
            match packet.kind {
                PacketType::LEADERINFO => conn.epoch = packet.zxid.epoch(),
                PacketType::NEWLEADER => conn.has_history = true,
                PacketType::UPTODATE => conn.is_serving = true,
                _ => {}
            }
        }
        self.put(node, link, Item::Packet(packet));
    }

    pub(super) fn put(&mut self, node: usize, link: LinkId, item: Item) {
        let Some(conn) = self.conn(link.slot as usize) else { return };
        let Some(end) = conn.ends.iter().position(|at| *at == node) else { return };
        if conn.is_open == [true; 2] && !conn.swallows {
            conn.wires[1 - end].push_back(item);
        }
    }

    pub(super) fn arrive(&mut self, index: usize, end: usize) {
        let link = link_of(index);
        let Some(conn) = self.conn(index) else { return };
        let node = conn.ends[end];
        let Some(item) = conn.wires[end].pop_front() else { return };
        match item {
            Item::Opened => self.give(node, ZabEvent::Opened { link, is_ours: false }),
            Item::Packet(packet) => self.give(node, ZabEvent::Packet { link, packet }),
            Item::State(state) => {
                if self.nodes[node].heard.is_some() {
                    self.node(node).heard = Some(state);
                    self.give(node, ZabEvent::Heard { link, is_whole: true });
                }
            }
            Item::Closed => {
                self.close(index, end);
                self.give(node, ZabEvent::Closed { link });
            }
        }
    }

    /// This end is closed; the other one is told behind what is on the way.
    pub(super) fn close(&mut self, index: usize, end: usize) {
        let (link, Some(conn)) = (link_of(index), self.conn(index)) else { return };
        let node = conn.ends[end];
        conn.wires[end].clear();
        if std::mem::replace(&mut conn.is_open[end], false) && conn.is_open[1 - end] && !conn.swallows {
            conn.wires[1 - end].push_back(Item::Closed);
        }
        if conn.is_open == [false; 2] {
            self.conns[index] = None;
        }
        // What was meant for it is for nobody now.
        self.node(node).chores.retain(|chore| match chore {
            Chore::OpenSnapshot(at) | Chore::StreamSnapshot(at) | Chore::Read { link: at, .. } => *at != link,
            Chore::Unreachable(_) | Chore::InstallGivenUp { .. } => true,
        });
    }

    pub(super) fn break_conn(&mut self, index: usize, loses: bool) {
        let Some(conn) = self.conn(index) else { return };
        for end in 0..2 {
            if loses {
                conn.wires[end].retain(|item| *item == Item::Opened);
            }
            conn.wires[end].push_back(Item::Closed);
        }
        // Nothing more is sent.
        conn.swallows = true;
    }

    pub(super) fn swallow(&mut self, index: usize) {
        let Some(conn) = self.conn(index) else { return };
        conn.wires.iter_mut().for_each(|wire| wire.retain(|item| *item == Item::Opened));
        conn.swallows = true;
    }
}
