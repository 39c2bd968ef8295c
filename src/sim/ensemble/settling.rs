//! The end of a run: all faults end, and everything must come to rest, with everybody served and everybody equal.

use super::Cluster;
use crate::ids::ServerId;
use crate::sim::Wrong;
use crate::sim::node;
use crate::zab::Standing;

/// Time until everybody serves and every client is answered, in ticks and in seconds (L-01, L-02, L-03).
const WHOLE_TICKS: u64 = 60;
const WHOLE_S: u64 = 30;
/// Answers that each client is to read by then.
const ANSWERS: u64 = 3;
/// Who looks for a leader as Java does waits for up to a minute before it asks again.
const RESEND_US: u64 = 120_000_000;

impl Cluster {
    pub(super) fn settle(&mut self) -> Result<(), Wrong> {
        self.heal()?;
        let seen: Vec<u64> = self.clients.iter().map(|client| client.answers).collect();
        let resend_us = if self.swarm.beside.makes.is_empty() { 0 } else { RESEND_US };
        let limit = self.swarm.ticks_us(WHOLE_TICKS) + WHOLE_S * 1_000_000 + resend_us;
        self.wait_for("L-01, L-02, L-03", limit, |cluster| {
            let answered = |(number, client): (usize, &super::KazooClient)| {
                client.answers >= seen[number] + ANSWERS || cluster.less.clients.contains(&number)
            };
            cluster.unrest().or_else(|| {
                let all = cluster.clients.iter().enumerate().all(answered);
                (!all).then(|| "a client is not answered".to_owned())
            })
        })?;
        self.clients.iter_mut().for_each(|client| client.is_quiet = true);
        // What was slow when the faults ended comes to its end.
        self.until(self.agenda.now + self.swarm.ticks_us(20))?;
        self.wait_for("L-01", self.swarm.ticks_us(20), Cluster::unrest)?;
        // Sessions whose clients have gone expire (L-05); everything that was asked is answered (L-02).
        let limit = self.swarm.ticks_us(3 * self.swarm.session_ticks.1 + 10) + 5_000_000;
        let changes = self.story.counts.get("a member looks for a leader").copied();
        self.wait_for("L-02, L-05", limit, |cluster| {
            cluster.unrest().or_else(|| {
                let live = |session: &i64| cluster.clients.iter().any(|client| client.session() == *session);
                let left = cluster.canon.model.sessions.keys().find(|session| !live(session));
                let waits = cluster.clients.iter().any(|client| client.waiting() > 0);
                let waits = waits.then(|| "a request is not answered".to_owned());
                left.map(|left| format!("session 0x{left:x} has no client and lives"))
                    .or(waits)
                    .or_else(|| cluster.behind())
            })
        })?;
        if self.story.counts.get("a member looks for a leader").copied() != changes {
            return Err("L-07: an election without a fault".into());
        }
        for id in self.swarm.members() {
            self.java_check_state(id)?;
            let Some(process) = self.machines.get(&id).and_then(|machine| machine.process.as_ref()) else { continue };
            node::check_state(&process.member.engine, &self.canon.model, !self.swarm.joiners.is_empty())
                .map_err(|why| format!("{why} (member {id})"))?;
        }
        self.check_kept()
    }

    /// Lets time pass until nothing is missing; `missing` says what is.
    fn wait_for(&mut self, ids: &str, limit: u64, missing: impl Fn(&Cluster) -> Option<String>) -> Result<(), Wrong> {
        let end = self.agenda.now + limit;
        let step = self.swarm.ticks_us(1).min(200_000);
        loop {
            let Some(what) = missing(self) else { return Ok(()) };
            if self.agenda.now >= end {
                return Err(format!("{ids}: stuck: {what}, {} ms after the last fault", limit / 1000));
            }
            self.until(self.agenda.now + step)?;
        }
    }

    /// Who does not serve, if anybody.
    fn unrest(&self) -> Option<String> {
        let mut leaders: Vec<ServerId> = Vec::new();
        for (id, machine) in &self.machines {
            let Some(standing) = machine.standing() else { return Some(format!("{id} does not run")) };
            match standing {
                Standing::Looking => return Some(format!("{id} looks for a leader")),
                Standing::Leading { .. } => leaders.push(*id),
                Standing::Following { .. } => {}
            }
        }
        (leaders.len() != 1).then(|| format!("{leaders:?} lead"))
    }

    /// Who has not applied everything, if anybody.
    fn behind(&self) -> Option<String> {
        let last = self.canon.last();
        let is_behind = |machine: &super::SimMachine| {
            let writes = machine.process.as_ref().is_some_and(|process| process.write.is_some());
            machine.applied() != Some(last) || machine.logged() != last || writes
        };
        let behind = self.machines.iter().find(|(_, machine)| is_behind(machine));
        behind.map(|(id, machine)| format!("{id} has logged {} of {last}", machine.logged()))
    }
}
