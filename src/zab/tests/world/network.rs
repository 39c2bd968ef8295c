//! Connections, which split, lag and break, and the faults that befall everything.

use super::*;

impl World {
    pub(super) fn dialled(&mut self, node: usize, to: usize) {
        let cut = self.blocked.contains(&(node, to)) || self.blocked.contains(&(to, node));
        if self.nodes[to].zab.is_none() || cut {
            return self.give(node, ZabEvent::DialFailed);
        }
        let mut end = |index: usize| {
            let me = &mut self.nodes[index];
            me.generation += 1;
            let link = LinkId { slot: me.generation % 4, generation: me.generation };
            me.links.insert(link, self.conns.len());
            (index, link)
        };
        let ends = [end(node), end(to)];
        let lives = [self.nodes[node].life, self.nodes[to].life];
        self.conns.push(Conn {
            ends,
            lives,
            is_open: true,
            is_serving: false,
            has_history: false,
            epoch: 0,
            wires: Default::default(),
        });
        self.give(to, ZabEvent::Opened { link: ends[1].1, is_ours: false });
        self.give(node, ZabEvent::Opened { link: ends[0].1, is_ours: true });
    }

    pub(super) fn send(&mut self, node: usize, link: LinkId, packet: QuorumPacket) {
        self.check_send(node, &packet);
        if let Some(&conn) = self.nodes[node].links.get(&link) {
            match packet.kind {
                PacketType::LEADERINFO => self.conns[conn].epoch = packet.zxid.epoch(),
                PacketType::ACKEPOCH => {
                    let (told, kept) = (self.conns[conn].epoch, self.nodes[node].disk.record.accepted_epoch);
                    self.check(kept >= told, "D-01", || format!("{packet} promises {told}, accepted is {kept}"));
                }
                PacketType::NEWLEADER => self.conns[conn].is_serving = false,
                PacketType::UPTODATE => self.conns[conn].is_serving = true,
                PacketType::COMMIT if self.conns[conn].has_history => {
                    // ZooKeeper 3.8 dies on it (EP 2.10).
                    self.check(self.conns[conn].is_serving, "S-14", || format!("{packet} before UPTODATE"));
                }
                _ => {}
            }
            self.conns[conn].has_history |= packet.kind == PacketType::NEWLEADER;
        }
        self.put(node, link, Item::Packet(packet));
    }

    pub(super) fn put(&mut self, node: usize, link: LinkId, item: Item) {
        let Some(&conn) = self.nodes[node].links.get(&link) else { return };
        let towards = usize::from(self.conns[conn].ends[0] == (node, link));
        self.conns[conn].wires[towards].push_back(item);
        let delay = 1 + self.rng.below(5);
        self.after(delay, Happens::Arrives { conn, towards });
    }

    pub(super) fn arrive(&mut self, conn: usize, towards: usize) {
        let (node, link) = self.conns[conn].ends[towards];
        let from = self.conns[conn].ends[1 - towards].0;
        if self.blocked.contains(&(from, node)) {
            // The bytes stay where they are until the way is open again.
            let delay = 50 + self.rng.below(100);
            return self.after(delay, Happens::Arrives { conn, towards });
        }
        let is_there = self.nodes[node].links.get(&link) == Some(&conn);
        let Some(item) = self.conns[conn].wires[towards].pop_front() else { return };
        if !is_there {
            return;
        }
        match item {
            Item::Packet(packet) => self.give(node, ZabEvent::Packet { link, packet }),
            Item::State(state) => {
                let is_whole = !self.rng.one_in(8) || self.is_healing;
                if self.nodes[node].heard.is_some() {
                    let mut state = state;
                    if !is_whole {
                        state.truncate(state.len() / 2);
                    }
                    self.nodes[node].heard = Some(state);
                    self.give(node, ZabEvent::Heard { link, is_whole });
                }
            }
        }
    }

    /// Each end sees it in its own time; what was sent before may still arrive.
    pub(super) fn break_conn(&mut self, conn: usize) {
        if !std::mem::replace(&mut self.conns[conn].is_open, false) {
            return;
        }
        for end in 0..2 {
            let delay = 5 + self.rng.below(40);
            self.after(delay, Happens::Broken { conn, end });
        }
    }

    pub(super) fn records(&mut self, node: usize, link: LinkId, after: Zxid) {
        let history = &self.nodes[node].disk.history;
        let from = history.len().saturating_sub(self.shape.log_len);
        let base = from.checked_sub(1).map_or(Zxid::ZERO, |index| history[index].0);
        let behind = history.partition_point(|(zxid, _)| *zxid <= after);
        let before = (after >= base).then(|| behind.checked_sub(1).map_or(Zxid::ZERO, |index| history[index].0));
        let slice = if self.is_healing { 500 } else { 7 };
        let txns = if before.is_some() { history[behind..].iter().take(slice).cloned().collect() } else { Vec::new() };
        self.count("log read");
        self.give(node, ZabEvent::Records { link, before, txns });
    }

    pub(super) fn fault(&mut self) {
        if self.shape.faults == 0 || self.is_healing {
            return;
        }
        let delay = self.rng.below(2_000 / self.shape.faults) + 1;
        self.after(delay, Happens::Fault);
        let count = self.nodes.len() as u64;
        let (one, other) = (self.rng.below(count) as usize, self.rng.below(count) as usize);
        let leader = self.nodes.iter().position(|node| matches!(node.standing, Standing::Leading { .. }));
        match self.rng.below(12) {
            0 | 1 => self.crash(one),
            2 => self.crash(leader.unwrap_or(one)),
            3 => (0..self.nodes.len()).for_each(|node| self.crash(node)),
            4 => {
                self.count("one way blocked");
                self.blocked.insert((one, other));
            }
            5 => {
                self.count("cut off");
                let alone = leader.unwrap_or(one);
                self.blocked.extend((0..self.nodes.len()).flat_map(|node| [(node, alone), (alone, node)]));
            }
            6 => {
                self.count("halves");
                let side: Vec<bool> = self.nodes.iter().map(|_| self.rng.one_in(2)).collect();
                let apart = (0..side.len()).flat_map(|a| (0..side.len()).map(move |b| (a, b)));
                self.blocked.extend(apart.filter(|(a, b)| side[*a] != side[*b]));
            }
            7..=9 => self.blocked.clear(),
            10 => {
                self.count("pause");
                let node = if self.rng.one_in(2) { leader.unwrap_or(one) } else { one };
                self.nodes[node].paused_until = Millis(self.now + self.rng.below(2_500));
            }
            _ => {
                self.count("connection cut");
                let open: Vec<usize> = (0..self.conns.len()).filter(|conn| self.conns[*conn].is_open).collect();
                if !open.is_empty() {
                    let conn = open[self.rng.below(open.len() as u64) as usize];
                    self.break_conn(conn);
                }
            }
        }
        // A node must not be blocked from itself.
        self.blocked.retain(|(a, b)| a != b);
    }
}
