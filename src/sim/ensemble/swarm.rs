//! What a seed draws before anything happens: who takes part, how everything is set up, and which faults exist at all.
//! Leaving things out finds what "everything always" hides: one fault drowns another.

use std::collections::BTreeMap;

use super::apache::Make;
use crate::ids::ServerId;
use crate::records::servers::{Role, ServerLine};
use crate::store::StoreOptions;
use crate::store::tests::sim_disk::Rng;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    CutStream,
    CutFollower,
    OneWay,
    Isolate,
    IsolateLeader,
    Depose,
    Halves,
    SlowPath,
    Kill,
    KillLeader,
    KillNewLeader,
    KillAll,
    PowerCut,
    PowerCutAll,
    DiesBetweenDeeds,
    DiesInDiskCall,
    DiskError,
    DiskFull,
    SlowDisk,
    Pause,
    PauseLeader,
    Wipe,
    WipeBesideLaggard,
    Rot,
    WallClock,
}

const FAULTS: [FaultKind; 25] = [
    FaultKind::CutStream,
    FaultKind::CutFollower,
    FaultKind::OneWay,
    FaultKind::Isolate,
    FaultKind::IsolateLeader,
    FaultKind::Depose,
    FaultKind::Halves,
    FaultKind::SlowPath,
    FaultKind::Kill,
    FaultKind::KillLeader,
    FaultKind::KillNewLeader,
    FaultKind::KillAll,
    FaultKind::PowerCut,
    FaultKind::PowerCutAll,
    FaultKind::DiesBetweenDeeds,
    FaultKind::DiesInDiskCall,
    FaultKind::DiskError,
    FaultKind::DiskFull,
    FaultKind::SlowDisk,
    FaultKind::Pause,
    FaultKind::PauseLeader,
    FaultKind::Wipe,
    FaultKind::WipeBesideLaggard,
    FaultKind::Rot,
    FaultKind::WallClock,
];

impl FaultKind {
    /// Its name in the counts.
    pub(super) fn name(self) -> &'static str {
        match self {
            FaultKind::CutStream => "fault: connection cut",
            FaultKind::CutFollower => "fault: follower disconnected",
            FaultKind::OneWay => "fault: one path blocked",
            FaultKind::Isolate => "fault: member isolated",
            FaultKind::IsolateLeader => "fault: leader isolated",
            FaultKind::Depose => "fault: leader deposed and not told",
            FaultKind::Halves => "fault: partition",
            FaultKind::SlowPath => "fault: slow path",
            FaultKind::Kill => "fault: killed",
            FaultKind::KillLeader => "fault: leader killed",
            FaultKind::KillNewLeader => "fault: the next leader is doomed",
            FaultKind::KillAll => "fault: all killed",
            FaultKind::PowerCut => "fault: power cut",
            FaultKind::PowerCutAll => "fault: power cut of all",
            FaultKind::DiesBetweenDeeds => "fault: killed between two actions",
            FaultKind::DiesInDiskCall => "fault: power cut in a disk call",
            FaultKind::DiskError => "fault: disk error",
            FaultKind::DiskFull => "fault: disk full",
            FaultKind::SlowDisk => "fault: slow disk",
            FaultKind::Pause => "fault: paused",
            FaultKind::PauseLeader => "fault: leader paused",
            FaultKind::Wipe => "fault: wiped",
            FaultKind::WipeBesideLaggard => "fault: some are left behind",
            FaultKind::Rot => "fault: a bit rots",
            FaultKind::WallClock => "fault: wall clock jumps",
        }
    }
}

/// In whose places models are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Models {
    #[default]
    Nowhere,
    /// One or two, at least one member being ours.
    Some,
    /// In every voter's; a member of ours that does not vote has the clients.
    EveryVoter,
}

/// Which of them are old, and how the others are set up.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    pub makes: BTreeMap<ServerId, Make>,
    /// A member that takes part for the clients only, where each of the others is a model.
    pub door: Option<ServerId>,
    pub window: usize,
    pub reads_log: bool,
}

/// The setup of a run.
#[derive(Clone, Debug)]
pub(super) struct Swarm {
    pub voters: Vec<ServerId>,
    pub observers: Vec<ServerId>,
    /// Servers that no configuration has at first; with some, it changes.
    pub joiners: Vec<ServerId>,
    /// Models of members of Java's among them.
    pub beside: Beside,
    pub tick_ms: u64,
    pub init_limit: u64,
    pub sync_limit: u64,
    /// Time for a dial, ms.
    pub dial_ms: u64,
    pub clients: usize,
    /// A client thinks for so long at most, µs.
    pub think_us: u64,
    /// Sessions begin as ones that one member knows, and become known to all with their first ephemeral.
    pub local_sessions: bool,
    /// Session timeouts, in ticks: least and most.
    pub session_ticks: (u64, u64),
    /// Bytes of data at most.
    pub data_max: u64,
    pub options: StoreOptions,
    pub latency_us: (u64, u64),
    pub splits: bool,
    /// How long an ordinary write of the log takes at most, µs.
    pub write_us: u64,
    /// Clocks run at other rates, by up to a tenth.
    pub drifts: bool,
    /// The last counter of an epoch, where epochs are short.
    pub counter_last: Option<u32>,
    pub faults: Vec<FaultKind>,
    /// Time between two faults at most, µs.
    pub fault_every_us: u64,
    /// How long faults go on, µs.
    pub trouble_us: u64,
}

impl Swarm {
    pub(super) fn draw(rng: &mut Rng) -> Swarm {
        let voters = [1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7][rng.below(12) as usize];
        let observers = [0, 0, 0, 1, 1, 2][rng.below(6) as usize];
        let tick_ms = [50, 100, 200, 500, 1000, 2000][rng.below(6) as usize];
        let mut ids: Vec<ServerId> = (1..=voters + observers).map(ServerId).collect();
        // Who has which number is decided by nothing else.
        let split = rng.below(ids.len() as u64) as usize;
        ids.rotate_left(split);
        let observers = ids.split_off(voters as usize);
        let exists = 1 + rng.below(3);
        let faults: Vec<FaultKind> = FAULTS.iter().copied().filter(|_| rng.below(4) < exists).collect();
        let ticks = |ticks: u64| ticks * tick_ms * 1000;
        let options = StoreOptions {
            extent_size: 16 << 10,
            initial_size: 128 << 10,
            max_size: 4 << 20,
            max_record: 8 << 10,
            log_window: (4 + rng.below(60)) << 10,
            follower_window: [0, 0, 16 << 10, 64 << 10][rng.below(4) as usize],
            keep_snapshots: 1 + rng.below(2) as u32,
            snapshot_rate: [0, 0, 32 << 10, 256 << 10][rng.below(4) as usize],
            large_data: 64,
            small_extents: true,
            ..StoreOptions::default()
        };
        Swarm {
            voters: ids,
            observers,
            joiners: Vec::new(),
            beside: Beside::default(),
            tick_ms,
            init_limit: 5 + rng.below(6),
            sync_limit: 2 + rng.below(4),
            dial_ms: [tick_ms, 3 * tick_ms, 5000][rng.below(3) as usize],
            clients: 1 + rng.below(6) as usize,
            think_us: ticks(1) * [1, 1, 2, 4][rng.below(4) as usize] / [1, 4, 10][rng.below(3) as usize],
            local_sessions: false,
            session_ticks: (2, 20),
            data_max: [8, 100, 600][rng.below(3) as usize],
            options,
            latency_us: [(20, 200), (100, 2000), (500, 20_000)][rng.below(3) as usize],
            splits: rng.chance(2),
            write_us: [50, 500, 5000, ticks(1) / 4][rng.below(4) as usize],
            drifts: rng.chance(3),
            counter_last: [None, None, None, None, Some(60), Some(400)][rng.below(6) as usize],
            faults,
            fault_every_us: ticks([2, 6, 15, 40][rng.below(4) as usize]),
            trouble_us: ticks([60, 120, 250][rng.below(3) as usize]),
        }
    }

    /// The same with members that change, drawn apart so that the rest is what it would be without. In half of the runs nobody loses its
    /// disk: there changes are under way for longer.
    pub(super) fn changing(mut self, rng: &mut Rng) -> Swarm {
        let count = (self.voters.len() + self.observers.len()) as u64;
        self.joiners = (count + 1..=count + 1 + rng.below(3)).map(ServerId).collect();
        if rng.chance(2) {
            self.faults
                .retain(|fault| !matches!(fault, FaultKind::Wipe | FaultKind::WipeBesideLaggard | FaultKind::Rot));
        }
        self
    }

    /// The same with local sessions. Clocks are not set: the ids of such sessions are in no history, so a member that is started anew
    /// could give one of them out again.
    pub(super) fn with_local_sessions(mut self) -> Swarm {
        self.local_sessions = true;
        self.faults.retain(|fault| *fault != FaultKind::WallClock);
        self
    }

    pub(super) fn members(&self) -> Vec<ServerId> {
        let all = self.voters.iter().chain(&self.observers).chain(&self.joiners);
        let mut all: Vec<ServerId> = all.copied().collect();
        all.sort_unstable();
        all
    }

    /// Of those that vote at first.
    pub(super) fn is_quorum(&self, has: impl Fn(ServerId) -> bool) -> bool {
        2 * self.voters.iter().filter(|voter| has(**voter)).count() > self.voters.len()
    }

    /// How long a loop may be away without noticing it, ms: as the loop's own count has it.
    pub(super) fn gap_ms(&self) -> u64 {
        (self.session_ticks.0 * self.tick_ms / 8).clamp(10, 500)
    }

    /// How long a write takes at most once nothing is broken any more, µs.
    pub(super) fn calm_write_us(&self) -> u64 {
        self.write_us.min(self.ticks_us(1) / 8)
    }

    pub(super) fn ticks_us(&self, ticks: u64) -> u64 {
        ticks * self.tick_ms * 1000
    }
}

impl Swarm {
    /// The same with models, drawn apart so that the rest is what it would be without.
    pub(super) fn beside(mut self, rng: &mut Rng, models: Models, is_old: bool) -> Swarm {
        let draw = |rng: &mut Rng| match (rng.chance(2), is_old) {
            (true, _) => Make::J39,
            (_, true) => Make::Old38,
            (_, false) => Make::J38,
        };
        self.beside.window = [1, 5, 20, 500][rng.below(4) as usize];
        self.beside.reads_log = rng.chance(2);
        let count = 1 + rng.below(2) as usize;
        let mut places = self.members();
        let next = ServerId(places.len() as u64 + 1);
        if models == Models::Nowhere {
            return self;
        }
        let count = count.min(places.len() - 1);
        while places.len() > count {
            places.remove(rng.below(places.len() as u64) as usize);
        }
        self.beside.makes = places.into_iter().map(|place| (place, draw(rng))).collect();
        if models == Models::EveryVoter {
            // Those that are models in the run that this one is held against are the same here.
            let mut makes = std::mem::take(&mut self.beside.makes);
            makes.retain(|place, _| self.voters.contains(place));
            for voter in &self.voters {
                makes.entry(*voter).or_insert_with(|| draw(rng));
            }
            self.beside.makes = makes;
            if self.observers.is_empty() {
                self.observers.push(next);
                self.beside.door = Some(next);
            }
        }
        self
    }

    /// Members that faults befall.
    pub(super) fn befallen(&self) -> Vec<ServerId> {
        self.members().into_iter().filter(|id| self.beside.door != Some(*id)).collect()
    }

    /// Members that clients can connect to.
    pub(super) fn doors(&self) -> Vec<ServerId> {
        self.members().into_iter().filter(|id| !self.beside.makes.contains_key(id)).collect()
    }
}

/// How a configuration names a server that listens at this port.
pub(super) fn line(id: ServerId, role: Role, port: u64) -> Option<ServerLine> {
    ServerLine::parse(id, &format!("host{id}:{port}:1:{role};2")).ok()
}
