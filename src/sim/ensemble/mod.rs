//! Whole ensembles in one seed: the members that ship, one to seven of them with observers, on a network that splits, clogs
//! and half-closes, on disks that tear, with clients that move.
//!
//! One thread, no clock, no socket. `agenda` says what happens when; `network` carries bytes; `member` is a machine and `turn`
//! the loop of its process, as `peer` runs it; `dialling` is what the sockets of members do; `kazoo` is a client; `faults`
//! breaks things. Nothing is believed: `checks` reads what members have from their disks and holds what they send against it,
//! `canon` keeps the history that was committed and the state at every point of it. Every complaint begins with the ID of the
//! promise that is broken.

mod agenda;
mod apache;
mod beside;
mod canon;
mod changing;
mod checks;
mod dialling;
mod faults;
mod host;
mod kazoo;
mod marks;
mod member;
mod network;
#[cfg(test)]
mod seeds;
mod settling;
mod shrinking;
mod story;
mod swarm;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use agenda::{Agenda, Happening};
use canon::Canon;
use kazoo::{KazooClient, KazooStep};
use member::{Incoming, JavaSeat, SimMachine};
use network::{Place, SimNet, StreamUse, Travelling};
use shrinking::Less;
use story::Story;
use swarm::{FaultKind, Models, Swarm};

use crate::ids::{self, ServerId, Zxid};
use crate::member::MemberFailure;
use crate::sim::Wrong;
use crate::store::tests::sim_disk::Rng;

/// One seed of so many has clients that try wrong passwords.
const WRONG_PASSWORDS: u64 = 5;

/// One seed of so many has sessions that begin as ones that one member knows and no other.
const LOCAL_SESSIONS: u64 = 4;

/// Why the work of a process ended.
enum ProcessEnd {
    /// The process is over.
    Dies(&'static str),
    /// A promise is broken.
    Wrong(Wrong),
}

impl From<Wrong> for ProcessEnd {
    fn from(wrong: Wrong) -> ProcessEnd {
        ProcessEnd::Wrong(wrong)
    }
}

impl From<MemberFailure> for ProcessEnd {
    fn from(failure: MemberFailure) -> ProcessEnd {
        match failure {
            MemberFailure::Store(_) => ProcessEnd::Dies("its disk failed"),
            MemberFailure::Damage(damage) => ProcessEnd::Wrong(format!("G-15: {damage}")),
        }
    }
}

/// What a run came to.
pub(crate) struct SeedOutcome {
    /// A hash over everything that happened.
    pub trace: u64,
    pub counts: BTreeMap<&'static str, u64>,
    /// Virtual time, s.
    pub seconds: f64,
    /// What is wrong, and how it came to that.
    pub wrong: Option<(Wrong, String)>,
    /// The faults that were drawn, by their numbers.
    faults: Vec<FaultKind>,
    clients: usize,
}

/// An ensemble, its clients, and what is true about them.
struct Cluster {
    rng: Rng,
    agenda: Agenda,
    net: SimNet,
    swarm: Swarm,
    machines: BTreeMap<ServerId, SimMachine>,
    clients: Vec<KazooClient>,
    conns: u64,
    canon: Canon,
    story: Story,
    /// Decisions that were looked at.
    judged: BTreeSet<Zxid>,
    blocks: u64,
    blocked: BTreeMap<u64, Vec<(Place, Place)>>,
    /// The next leader is killed soon after it was established.
    dooms_leader: bool,
    /// A leader that is deposed with its next ping, and from what is drawn how.
    to_depose: Option<(ServerId, u64)>,
    /// Faults drawn so far, and from what.
    faults: Vec<FaultKind>,
    fault_seed: u64,
    /// What is left out.
    less: Less,
    /// When all faults ended.
    healed_at: Option<u64>,
    /// From what is drawn how the members change.
    changes: Rng,
    /// The leader is asked for other members in its next turn.
    is_change_due: bool,
}

/// Runs one seed.
pub(crate) fn run_seed(seed: u64) -> SeedOutcome {
    run_less(seed, &Less::default())
}

/// Runs one seed of an ensemble whose members change.
pub(crate) fn run_changing_seed(seed: u64) -> SeedOutcome {
    run_less(seed, &Less { changes: true, ..Less::default() })
}

/// Runs one seed, and leaves something out.
fn run_less(seed: u64, less: &Less) -> SeedOutcome {
    let mut cluster = Cluster::new(seed, less.clone());
    ids::set_counter_last(cluster.swarm.counter_last);
    let run = catch_unwind(AssertUnwindSafe(|| cluster.run()));
    ids::set_counter_last(None);
    let wrong = match run {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
            Some(format!("G-15: a member panics: {text}"))
        }
    };
    let swarm = &cluster.swarm;
    let wrong = wrong.map(|why| {
        let head = format!(
            "{} voters, observers {:?}, models {:?}, tick {} ms, initLimit {}, syncLimit {}, {} clients, faults {:?}",
            swarm.voters.len(),
            swarm.observers,
            swarm.beside.makes,
            swarm.tick_ms,
            swarm.init_limit,
            swarm.sync_limit,
            swarm.clients,
            swarm.faults
        );
        (why, format!("{head}\n{}", cluster.story.transcript()))
    });
    let ends: Vec<_> = cluster.machines.values_mut().filter_map(|machine| machine.process.take()).collect();
    ends.iter().for_each(|process| cluster.mark_store(process));
    cluster.story.count_by("answers read", cluster.clients.iter().map(|client| client.answers).sum());
    cluster.story.count_by("sessions expired", cluster.canon.expired);
    for (mark, count) in &cluster.canon.marks {
        cluster.story.count_by(mark, *count);
    }
    SeedOutcome {
        trace: cluster.story.trace,
        counts: cluster.story.counts,
        seconds: cluster.agenda.now as f64 / 1e6,
        wrong,
        faults: cluster.faults,
        clients: cluster.swarm.clients,
    }
}

impl Cluster {
    fn new(seed: u64, less: Less) -> Cluster {
        let mut rng = Rng(seed);
        let swarm = Swarm::draw(&mut rng);
        let mut changes = Rng(seed ^ 0xc0f1_65ed_0000_0001);
        let swarm = if less.changes { swarm.changing(&mut changes) } else { swarm };
        // Servers of Java's would have to have them, too.
        let is_beside = less.models != Models::Nowhere || less.is_compared;
        let has_local = seed % LOCAL_SESSIONS == 3 && !is_beside;
        let swarm = if has_local { swarm.with_local_sessions() } else { swarm };
        let mut models = Rng(seed ^ 0x6a61_7661_0000_0001);
        let swarm = swarm.beside(&mut models, less.models, less.has_old_models);
        let machines = swarm.members().into_iter().map(|id| {
            let rng = if swarm.beside.door == Some(id) { &mut models } else { &mut rng };
            (id, SimMachine::new(rng.next(), &swarm, rng))
        });
        let mut machines: BTreeMap<ServerId, SimMachine> = machines.collect();
        for (id, make) in &swarm.beside.makes {
            if let Some(machine) = machines.get_mut(id) {
                machine.java = Some(JavaSeat::new(&swarm, *id, *make, models.next()));
            }
        }
        let (least, most) = swarm.session_ticks;
        let clients = (0..swarm.clients).map(|number| {
            let ticks = least + rng.below(most - least + 1);
            let timeout_ms = (ticks * swarm.tick_ms) as i32;
            KazooClient::new(rng.next(), number, &swarm, timeout_ms)
        });
        let mut clients: Vec<KazooClient> = clients.collect();
        // Decided by the seed's number, so that the others go on as they did without this.
        let tries_wrong = seed.is_multiple_of(WRONG_PASSWORDS) && !is_beside;
        clients.iter_mut().for_each(|client| client.tries_wrong = tries_wrong);
        Cluster {
            agenda: Agenda::default(),
            net: SimNet::new(rng.next() ^ less.course, swarm.latency_us, swarm.splits),
            machines,
            clients,
            conns: 0,
            canon: Canon::new(&swarm),
            story: Story::default(),
            judged: BTreeSet::new(),
            blocks: 0,
            blocked: BTreeMap::new(),
            dooms_leader: false,
            to_depose: None,
            faults: Vec::new(),
            fault_seed: rng.next(),
            less,
            changes,
            is_change_due: false,
            healed_at: None,
            swarm,
            rng,
        }
    }

    fn run(&mut self) -> Result<(), Wrong> {
        for id in self.swarm.members() {
            let due = self.rng.below(self.swarm.ticks_us(2));
            self.agenda.at(due, &mut self.rng, Happening::Starts { member: id, life: 0 });
        }
        for client in 0..self.clients.len() {
            let due = self.rng.below(self.swarm.ticks_us(2));
            if self.less.clients.contains(&client) {
                continue;
            }
            self.client_acts_at(client, due);
        }
        let first = self.swarm.ticks_us(4);
        self.agenda.at(first, &mut self.rng, Happening::Fault);
        if !self.swarm.joiners.is_empty() {
            self.agenda.at(first, &mut self.rng, Happening::MembersChange);
        }
        self.until(self.swarm.trouble_us)?;
        self.settle()
    }

    /// Lets everything happen that is due by then.
    fn until(&mut self, end: u64) -> Result<(), Wrong> {
        while let Some(what) = self.agenda.next(end) {
            self.happens(what)?;
        }
        self.agenda.now = end;
        Ok(())
    }

    fn happens(&mut self, what: Happening) -> Result<(), Wrong> {
        // What is meant for a process that is stopped waits until it goes on; for one that is over, it is void.
        let (member, life) = match what {
            Happening::Turn { member, life }
            | Happening::WriteIsOver { member, life }
            | Happening::LoopGoesOn { member, life } => (member, life),
            Happening::Dialled { member, life, .. }
            | Happening::BallotDialled { member, life, .. }
            | Happening::Starts { member, life }
            | Happening::Dies { member, life }
            | Happening::Resumes { member, life } => {
                if self.machines[&member].life != life {
                    return Ok(());
                }
                (member, u32::MAX)
            }
            _ => (ServerId(0), u32::MAX),
        };
        if life != u32::MAX {
            let machine = &self.machines[&member];
            if machine.life != life {
                return Ok(());
            }
            if machine.stopped_at.is_some() {
                if let Some(machine) = self.machines.get_mut(&member) {
                    machine.put_off.push(what);
                }
                return Ok(());
            }
        }
        match what {
            Happening::Arrival { stream, to } => self.arrives(stream, to),
            Happening::Turn { member, .. } if self.machines[&member].java.is_some() => self.java_turn(member),
            Happening::Turn { member, .. } => {
                let now = self.agenda.now;
                let process = self.machines[&member].process.as_ref();
                // Another turn was found to be due sooner.
                if process.is_none_or(|process| process.turn_at != Some(now) || process.waits_for_write) {
                    return Ok(());
                }
                self.turn(member)
            }
            Happening::WriteIsOver { member, .. } => self.write_is_over(member),
            Happening::LoopGoesOn { member, .. } => self.loop_goes_on(member),
            Happening::Dialled { member, serial, to, .. } => {
                self.dialled(member, serial, to);
                Ok(())
            }
            Happening::BallotDialled { member, to, .. } => {
                self.ballot_dialled(member, to);
                Ok(())
            }
            Happening::ClientActs { client } => self.client_acts(client),
            Happening::Fault => self.fault(),
            Happening::MembersChange => {
                self.members_change();
                Ok(())
            }
            Happening::Starts { member, .. } => {
                if self.machines[&member].runs() {
                    return Ok(());
                }
                self.starts(member)
            }
            Happening::Dies { .. } if self.healed_at.is_some() => Ok(()),
            Happening::Dies { member, .. } => self.kill(member, false).map(drop),
            Happening::Resumes { member, .. } => {
                self.resumes(member);
                Ok(())
            }
            Happening::Opens { number } => {
                self.opens(number);
                Ok(())
            }
            Happening::IsDeposed { leader, seed } => {
                self.deposed(leader, seed);
                Ok(())
            }
            Happening::LaggardsAreBack { laggards, seed } => self.laggards_are_back(&laggards, seed),
        }
    }

    fn arrives(&mut self, stream: u64, to: usize) -> Result<(), Wrong> {
        let (place, arrived) = self.net.arrive(&mut self.agenda, stream, to);
        match place {
            None => Ok(()),
            Some(Place::Member(member)) => {
                for what in arrived {
                    self.comes(member, Incoming::Stream(stream, what));
                }
                Ok(())
            }
            Some(Place::Client(client)) => {
                arrived.into_iter().try_for_each(|what| self.client_reads(client, stream, what))
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Clients

    fn client_acts(&mut self, index: usize) -> Result<(), Wrong> {
        let now = self.agenda.now;
        if self.clients[index].acts_due == now {
            self.client_steps(index);
            let due = self.clients[index].acts_at(now);
            self.client_acts_at(index, due);
        }
        Ok(())
    }

    fn client_acts_at(&mut self, client: usize, due: u64) {
        self.clients[client].acts_due = due;
        self.agenda.at(due, &mut self.rng, Happening::ClientActs { client });
    }

    fn client_steps(&mut self, index: usize) {
        let now = self.agenda.now;
        let me = Place::Client(index);
        let before = self.clients[index].stream();
        match self.clients[index].acts(now, &mut self.canon) {
            KazooStep::Nothing => {}
            KazooStep::HangUp => {
                if let Some(stream) = before {
                    self.net.close(&mut self.agenda, stream, me);
                }
            }
            KazooStep::Send(bytes) => {
                if let Some(stream) = before {
                    self.net.send(&mut self.agenda, stream, me, Travelling::Bytes(bytes));
                }
            }
            KazooStep::Connect(server) => {
                let there = Place::Member(server);
                if !self.machines[&server].runs() || !self.net.can_reach(me, there) {
                    self.clients[index].pauses_until = now + self.rng.below(self.swarm.ticks_us(2));
                    return;
                }
                let stream = self.net.open(StreamUse::Client, me, there);
                self.conns += 1;
                let hello = self.clients[index].connected(stream, self.conns, now);
                let session = self.clients[index].session();
                let line = format!("client {index}: connection {} to {server} for 0x{session:x}", self.conns);
                self.story.tell(now, &line);
                self.comes(server, Incoming::Accepted(stream));
                self.net.send(&mut self.agenda, stream, me, Travelling::Bytes(hello));
            }
        }
    }

    fn client_reads(&mut self, index: usize, stream: u64, what: Travelling) -> Result<(), Wrong> {
        let now = self.agenda.now;
        let client = &mut self.clients[index];
        if client.stream() != Some(stream) {
            return Ok(());
        }
        let says = match what {
            Travelling::Bytes(bytes) => client.reads(&bytes, now, &mut self.canon)?,
            _ => {
                client.lost(now);
                Vec::new()
            }
        };
        let me = Place::Client(index);
        if client.stream() != Some(stream) {
            self.net.close(&mut self.agenda, stream, me);
        } else if !says.is_empty() {
            self.net.send(&mut self.agenda, stream, me, Travelling::Bytes(says));
        }
        Ok(())
    }
}
