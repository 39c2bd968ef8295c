//! The loop: sockets, clock, disk. Carries out what the core decides, and decides nothing itself.
//!
//! One thread at a time, nothing that blocks but the log's sync, and that not for long: see `relief`. A turn: sockets in →
//! decide → one frame, one sync → deliver what is committed → one slice of a snapshot, if one is being taken → sockets out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::config::Config;
use crate::engine::{CloseReason, Duty, EngineSettings, LogSpace};
use crate::four_letter::{Whitelist, Word};
use crate::ids::{Millis, ServerId, SessionId, WallMillis};
use crate::member::{EngineSeat as _, EnsembleStatus, JoinSettings, LogSpaceChanged, Member};
use crate::records::membership::Membership;
use crate::store::{LogWrite, LogWritten};
use crate::zab::Configs;
use crate::{Error, engine};

pub mod answer;
mod answers;
pub mod ballots;
mod configuring;
mod dial;
mod door;
mod dynamic;
pub mod ensemble;
mod environment;
mod expiring;
mod hearing;
mod hosting;
mod intake;
pub mod leaving;
mod lingering;
mod link;
mod listening;
pub mod local;
mod members;
mod network;
pub mod place;
mod pool;
pub mod quorum_links;
mod recovery;
mod relief;
pub mod seat;
pub mod serving;
mod shortage;
#[cfg(test)]
mod tests;
mod tokens;
mod wire;
mod word_memory;

use answer::Answer;
use configuring::Begun;
use dynamic::DynamicWriter;
use expiring::Expirings;
use hearing::LoopDelay;
use hosting::Hosting;
use leaving::{HandOver, HandedOver};
use lingering::Lingering;
use link::ClientSocket;
use listening::ClientPorts;
use local::{Hub, LinkLimits, Locals};
use network::Network;
use pool::MemoryPool;
use seat::Seat;
use serving::{RoleState, Serving};
use tokens::{LINKS, LISTENERS_MAX, WAKER};

/// Events taken from the system at once.
const EVENTS_MAX: usize = 4096;
/// Bytes read from one socket in one turn.
const READ_SIZE: usize = 128 << 10;
/// Time for a leader that is to stop until another has everything, ms.
const LEAVE_MS: u64 = 500;
/// Turns come so often meanwhile, ms.
const LEAVE_POLL_MS: u64 = 5;
/// Work that must be done now and then, ms.
const SWEEP_MS: u64 = 1000;

/// What other threads ask of the loop.
#[derive(Debug)]
pub enum Command {
    /// Stop cleanly.
    Stop,
    /// Other four-letter words are allowed from now on.
    Whitelist(Whitelist),
    /// Tell how things are.
    Status(Answer<Status>),
    /// Answer a four-letter word.
    Word(Word, Answer<String>),
    /// End a session as its timeout would; answered when that is durable and told, with whether there was one.
    Expire(SessionId, Answer<bool>),
    /// Cut a session's connection; answered when that is done, with whether there is such a session.
    Disconnect(SessionId, Answer<bool>),
    /// Do nothing for so long but listen for [`Command::Stop`]; answered when that begins.
    Pause(Duration, Answer<()>),
    /// Go on, if it is paused.
    Resume,
    /// End as a killed process does: nothing more is written, nobody is told.
    Kill,
    /// Lead no more, once another member has everything, but wait for that no longer than this.
    HandOver(Duration, Answer<HandedOver>),
    /// Nothing comes from the other members any more and nothing gets to them, or it does again; answered when that begins.
    CutOff(bool, Answer<()>),
}

/// How a running server is.
#[derive(Clone, Debug)]
pub struct Status {
    /// The engine's numbers.
    pub engine: engine::EngineStatus,
    /// What a member of an ensemble tells about itself.
    pub ensemble: Option<EnsembleStatus>,
    /// The store's numbers.
    pub store: crate::store::StoreStats,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Bytes read from clients and not yet acted upon.
    pub input_total: usize,
    /// Closed connections whose client has not said goodbye yet.
    pub lingering: usize,
    /// Connections refused for being too many.
    pub rejected: u64,
    /// Turns of the loop since the start.
    pub turns: u64,
}

/// How a turn has ended.
enum TurnEnd {
    /// Another may begin.
    Again,
    /// Half way: this is to be carried out first, or meanwhile; then comes [`Peer::end_turn`].
    Write(LogWrite),
    /// The loop is told to stop.
    Stop,
}

/// One peer with everything it owns.
pub struct Peer {
    config: Config,
    member: Member<Seat>,

    poll: Poll,
    waker: Arc<mio::Waker>,
    commands: Receiver<Command>,
    /// Commands that came during a pause.
    put_off: VecDeque<Command>,
    /// The answers that are given to waiting threads at the end of the turn.
    answers: Vec<(Answer<bool>, bool)>,
    expirings: Expirings,
    listening: ClientPorts,
    /// The sockets of an ensemble.
    network: Option<Network>,
    /// The configuration in force, where it can change.
    members: Option<Membership>,
    /// Keeps it in files.
    writer: DynamicWriter,
    /// By the engine's slot.
    links: Vec<Option<ClientSocket>>,
    /// Clients in this process.
    locals: Locals,
    lingering: Lingering,
    /// Slots that have input to look at in this turn.
    work: Vec<u32>,
    scratch: Box<[u8]>,
    /// Bytes read and not acted upon, all links together.
    input_total: usize,
    /// Memory for large frames that are being read.
    pool: MemoryPool,
    /// How well the loop listens to clients.
    hearing: LoopDelay,
    /// Bytes read in this turn.
    read_in_turn: usize,
    /// Connections whose handshake waits for its turn, and when that is looked at.
    delayed: Vec<u32>,
    delayed_until: Millis,
    word_memory: word_memory::WordMemory,

    started: Instant,
    /// What it is to its clients, for other threads, and as it was told last.
    serving: Arc<Serving>,
    role_told: RoleState,
    /// Its end is to be that of a killed process.
    is_killed: bool,
    /// It leads and is to stop: as soon as another has everything, and then in any case.
    leaves_by: Option<Millis>,
    /// Its leadership is given away.
    hand_over: Option<HandOver>,
    next_sweep: Millis,
    fsync_max_seen_us: u64,
    file_bytes_seen: u64,
    turns: u64,
}

impl Peer {
    /// Opens the file, recovers what it holds, and listens.
    ///
    /// # Errors
    /// [`Error`] when the folder, the file or an address cannot be used.
    pub fn open(mut config: Config, commands: Receiver<Command>) -> Result<Peer, Error> {
        let mut seeds = [0; 16];
        getrandom::fill(&mut seeds).map_err(|error| Error::System {
            what: "get random numbers",
            source: std::io::Error::other(error.to_string()),
        })?;
        let (low, high) = (u128::from_le_bytes(seeds) as u64, (u128::from_le_bytes(seeds) >> 64) as u64);
        let mut settings = settings_of(&config);
        let me = settings.server_id;
        let link_limits = LinkLimits::of(&settings);
        let seeds = [low, high];
        let begun = Begun::if_members_change(&config, &settings, seeds)?;
        let file_version = config.ensemble.version.unwrap_or(0);
        let mut configs = begun.as_ref().and_then(|begun| begun.configs(&mut config));
        // Before the file: a server that finds the port taken makes no file.
        let poll = Poll::new().map_err(Error::system("create the event queue"))?;
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(Error::system("create the waker"))?;
        let waker = Arc::new(waker);
        let listening = ClientPorts::bind(&config, poll.registry())?;
        let network = match config.ensemble.is_standalone() {
            true => None,
            false => Some(Network::open(&config, poll.registry(), &waker)?),
        };

        let started = Instant::now();
        let begun = match begun {
            Some(begun) => begun,
            None => {
                let (store, state) = recovery::recover(&config, &settings, seeds)?;
                let begun = Begun { store, state };
                configs = begun.configs(&mut config);
                begun
            }
        };
        let Begun { store, state } = begun;
        // A write above what the log takes is refused before it is proposed. Refused by the log, it would take along all that were
        // proposed with it, and no reply could say that it did not happen.
        settings.limits.record_size_max = usize::try_from(store.max_record()).unwrap_or(usize::MAX);
        let mut member = Member::new(settings, state, store, Seat::new);
        let hub = Hub::new(Arc::clone(&waker), member.engine.lent(), link_limits);
        member.store.set_writes_apart();
        let pool = MemoryPool::new(config.limits.input_bytes_max / 2, READ_SIZE);
        let hearing =
            LoopDelay::new(config.session_timeout_min_ms(), hearing::backlog(config.client_port_listen_backlog));
        let mut peer = Peer {
            config,
            member,
            poll,
            waker,
            commands,
            put_off: VecDeque::new(),
            answers: Vec::new(),
            expirings: Expirings::default(),
            listening,
            network,
            members: configs.as_ref().map(|configs| configs.committed.clone()),
            writer: DynamicWriter::default(),
            links: Vec::new(),
            locals: Locals::new(hub),
            lingering: Lingering::default(),
            work: Vec::new(),
            scratch: vec![0; READ_SIZE].into_boxed_slice(),
            input_total: 0,
            pool,
            hearing,
            read_in_turn: 0,
            delayed: Vec::new(),
            delayed_until: Millis(0),
            word_memory: word_memory::WordMemory::default(),
            started,
            serving: Arc::default(),
            role_told: RoleState::default(),
            is_killed: false,
            leaves_by: None,
            hand_over: None,
            next_sweep: Millis(SWEEP_MS),
            fsync_max_seen_us: 0,
            file_bytes_seen: 0,
            turns: 0,
        };
        let (now, wall) = peer.time();
        peer.hearing.woke(now);
        if let Some(members) = peer.members.clone() {
            peer.member.engine.configured(&members);
            // They were not written when it came into force. A file that names a server which was removed is how that is to join again.
            if members.version.0 > file_version && members.servers.contains_key(&peer.config.server_id) {
                peer.keep_in_files(&members);
            }
        }
        peer.start(now, wall, configs)?;
        peer.tell_role();
        peer.file_bytes_seen = peer.member.store.stats().file_bytes;
        let addresses: Vec<String> = peer.addresses().iter().map(SocketAddr::to_string).collect();
        log::info!(
            "zoarium {} {} on {}, server id {me}, data in {}",
            env!("CARGO_PKG_VERSION"),
            if peer.serving.is_so() { "serves" } else { "listens" },
            addresses.join(", "),
            peer.config.file().display()
        );
        Ok(peer)
    }

    /// Serves alone, or looks for a leader.
    fn start(&mut self, now: Millis, wall: WallMillis, configs: Option<Configs>) -> Result<(), Error> {
        let Peer { member, locals, started, network, config, .. } = self;
        if network.is_none() {
            member.start(now, wall);
            return Ok(());
        }
        let settings = ensemble::zab_settings(config, configs)?;
        let joining =
            JoinSettings { is_read_only: config.read_only_mode, trusts_new_file: config.ensemble.db_autocreate };
        let mut hosting = Hosting { locals, started: *started, network: network.as_mut() };
        Ok(member.join(&mut hosting, settings, joining)?)
    }

    /// Where clients connect: ports are real ones even where 0 was configured.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening.addresses()
    }

    /// Wakes the loop after a command was sent.
    pub fn waker(&self) -> Arc<mio::Waker> {
        Arc::clone(&self.waker)
    }

    /// What it is to its clients, for other threads.
    pub fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving)
    }

    fn tell_role(&mut self) {
        let state = RoleState::of(self.config.server_id, self.member.engine.duty(), self.member.standing());
        if std::mem::replace(&mut self.role_told, state) != state {
            self.serving.set(state);
        }
    }

    /// Where clients in this process come in.
    pub fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.locals.hub)
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// [`Error`] when the store failed: nothing is acknowledged from then on (S-42).
    pub fn run(self) -> Result<(), Error> {
        relief::run(self)
    }

    /// Waits for something to happen, and does what there is to do then.
    fn step(&mut self, events: &mut Events) -> Result<TurnEnd, Error> {
        let timeout = self.poll_timeout();
        let (now, _) = self.time();
        self.hearing.sleeps(now, timeout.as_millis() as u64);
        // Without a leader no client is to read: what is here may be on its way out.
        if self.member.engine.duty() != Duty::None {
            self.member.engine.lend();
        }
        let polled = self.poll.poll(events, Some(timeout));
        self.member.engine.take_back();
        if let Err(error) = polled
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(Error::System { what: "wait for events", source: error });
        }
        self.turn(events)
    }

    /// Tells everybody that nothing more will come, for this reason.
    fn failed(&mut self, error: Error) -> Error {
        let error = error.in_file(&self.config.file());
        log::error!("{error}: this server takes no more writes and stops");
        self.member.engine.take_back();
        self.member.engine.close_all(&CloseReason::Stopping);
        self.send_output();
        error
    }

    /// One turn, or its first half when it has something to write.
    fn turn(&mut self, events: &Events) -> Result<TurnEnd, Error> {
        self.turns += 1;
        let (now, wall) = self.time();
        self.member.engine.grant_back(self.hearing.woke(now));
        self.member.engine.set_time(now, wall);
        self.pace_the_log();
        let (mut has_connections, mut reported) = (false, 0);
        for event in events {
            reported += 1;
            match event.token() {
                WAKER => {}
                _ if self.network.as_mut().is_some_and(|network| network.event(event)) => {}
                Token(token) if token < LINKS => has_connections = true,
                Token(token) => self.link_event(token - LINKS, event),
            }
        }
        if !self.carry_out_commands() {
            return Ok(TurnEnd::Stop);
        }
        self.serve_members(now)?;
        self.serve_hand_over(now);
        if self.leaves_by.is_some_and(|by| now >= by || self.member.may_leave()) {
            return Ok(TurnEnd::Stop);
        }
        // Its clients' requests stay where they are, and come to another server.
        if !self.takes_nothing() {
            self.take_in(has_connections, (reported, reported >= EVENTS_MAX), now);
        }
        let Peer { member, locals, started, network, .. } = self;
        let mut hosting = Hosting { locals, started: *started, network: network.as_mut() };
        if let Some(write) = member.commit_begin(&mut hosting)? {
            return Ok(TurnEnd::Write(write));
        }
        self.end_turn(None)?;
        Ok(TurnEnd::Again)
    }

    /// The second half of a turn, with what was written, if anything was.
    fn end_turn(&mut self, written: Option<LogWritten>) -> Result<(), Error> {
        let Peer { member, locals, started, network, .. } = self;
        let mut hosting = Hosting { locals, started: *started, network: network.as_mut() };
        member.commit_end(&mut hosting, written)?;
        member.take_snapshot(&mut hosting)?;
        self.tell_role();
        let (now, wall) = self.time();
        self.follow_members(now);
        self.member.engine.set_time(now, wall);
        self.send_output();
        self.expirings.answer(&self.member.engine);
        for (waiting, answer) in std::mem::take(&mut self.answers) {
            waiting.give(answer);
        }
        let Peer { member, locals, started, network, .. } = self;
        member.tick(&mut Hosting { locals, started: *started, network: network.as_mut() })?;
        if now >= self.next_sweep {
            self.sweep(now);
        }
        Ok(())
    }

    /// Tells how much may be decided in this turn, by the space that there is for it.
    fn pace_the_log(&mut self) {
        if let Some(LogSpaceChanged { log_space, is_disk_full }) = self.member.pace() {
            self.tell_of_log_space(log_space, is_disk_full);
        }
    }

    fn tell_of_log_space(&mut self, log_space: LogSpace, disk_full: bool) {
        self.locals.hub.set_no_space(log_space != LogSpace::Plenty);
        let file = self.config.file();
        let why = match disk_full {
            true => format!("the disk of {} has no space (dataDir, zoarium.file)", file.display()),
            false => format!("{} is as large as zoarium.fileSizeMax allows", file.display()),
        };
        match log_space {
            LogSpace::Plenty => log::info!("there is space again: all writes are taken"),
            LogSpace::Reserve => log::error!("{why}: creates and growing sets are refused, deletes make room"),
            LogSpace::None => log::error!("{why}: all writes are refused"),
        }
    }

    fn time(&self) -> (Millis, WallMillis) {
        hosting::time(self.started)
    }

    fn poll_timeout(&self) -> Duration {
        let (now, _) = self.time();
        if let Some(by) = self.leaves_by {
            return Duration::from_millis(by.since(now).min(LEAVE_POLL_MS));
        }
        if self.hand_over.is_some() {
            return Duration::from_millis(LEAVE_POLL_MS);
        }
        let has_input = !self.work.is_empty() || !self.locals.may_sleep();
        if self.member.goes_on() || has_input {
            return Duration::ZERO;
        }
        let mut wait = self.next_sweep.since(now);
        if let Some(at) = self.pool.goes_on_at(now) {
            wait = wait.min(at.since(now));
        }
        if let Some(ms) = self.member.poll_timeout(now) {
            wait = wait.min(ms);
        }
        if let Some(at) = self.network.as_ref().and_then(Network::poll_timeout) {
            wait = wait.min(at.since(now));
        }
        if !self.delayed.is_empty() {
            wait = wait.min(self.delayed_until.since(now));
        }
        if let Some(ms) = self.listening.poll_timeout(now) {
            wait = wait.min(ms);
        }
        Duration::from_millis(wait)
    }

    fn carry_out_commands(&mut self) -> bool {
        while let Some(command) = self.put_off.pop_front().or_else(|| self.commands.try_recv().ok()) {
            match command {
                Command::Stop if self.leaves_by.is_some() => {}
                Command::Stop => {
                    if !self.begin_to_leave() {
                        return false;
                    }
                }
                Command::HandOver(limit, answer) => {
                    self.begin_to_hand_over(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX / 2), answer);
                }
                Command::Expire(session, reply) => {
                    self.expirings.push(session, reply);
                }
                Command::Disconnect(session, reply) => {
                    let known = self.member.engine.disconnect(session);
                    self.answers.push((reply, known));
                }
                Command::Pause(duration, begun) => {
                    begun.give(());
                    if !self.pause(duration) {
                        return false;
                    }
                }
                Command::Resume => {}
                Command::Kill => {
                    self.is_killed = true;
                    return false;
                }
                Command::CutOff(is_cut_off, begun) => self.cut_off(is_cut_off, begun),
                Command::Whitelist(whitelist) => self.config.whitelist = whitelist,
                Command::Word(word, reply) => {
                    reply.give(self.word_text(word, &[]));
                }
                Command::Status(reply) => {
                    self.count_local_reads();
                    let (now, _) = self.time();
                    let status = Status {
                        engine: self.member.engine.status(),
                        ensemble: self.member.ensemble_status(now),
                        store: self.member.store.stats(),
                        uptime_ms: now.0,
                        input_total: self.input_total,
                        lingering: self.lingering.len(),
                        rejected: self.listening.rejected,
                        turns: self.turns,
                    };
                    reply.give(status);
                }
            }
        }
        self.expirings.ask(&mut self.member.engine);
        true
    }

    fn cut_off(&mut self, is_cut_off: bool, begun: Answer<()>) {
        let (now, _) = self.time();
        if let Some(network) = &mut self.network {
            network.cut_off(now, is_cut_off);
        }
        begun.give(());
    }

    /// Freezes; false when asked to stop meanwhile.
    fn pause(&mut self, duration: Duration) -> bool {
        match duration {
            Duration::MAX => log::info!("pausing until told to go on"),
            duration => log::info!("pausing for {} ms on request", duration.as_millis()),
        }
        let (begun, mut duration) = (Instant::now(), duration);
        loop {
            match self.commands.recv_timeout(duration.saturating_sub(begun.elapsed())) {
                Ok(Command::Stop) => return false,
                Ok(Command::Kill) => {
                    self.is_killed = true;
                    return false;
                }
                Ok(Command::Resume) => return true,
                Ok(Command::CutOff(is_cut_off, begun)) => self.cut_off(is_cut_off, begun),
                Ok(Command::Pause(more, answer)) => {
                    answer.give(());
                    duration = duration.saturating_add(more);
                }
                Ok(command) => self.put_off.push_back(command),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// What need not be looked at in every turn.
    fn sweep(&mut self, now: Millis) {
        self.next_sweep = now.plus(SWEEP_MS);
        self.lingering.sweep(now);
        self.close_the_stalled(now);
        self.word_memory.sweep();
        let fsync = self.member.store.stats();
        if fsync.file_bytes != self.file_bytes_seen {
            log::debug!("the file has grown from {} to {} bytes", self.file_bytes_seen, fsync.file_bytes);
            self.file_bytes_seen = fsync.file_bytes;
        }
        if fsync.fsync_max_us > self.fsync_max_seen_us {
            self.fsync_max_seen_us = fsync.fsync_max_us;
            if fsync.fsync_max_us / 1000 >= self.config.fsync_warning_ms {
                log::warn!(
                    "a sync of the log took {} ms (fsync.warningthresholdms {})",
                    fsync.fsync_max_us / 1000,
                    self.config.fsync_warning_ms
                );
            }
        }
    }

    /// Stops cleanly, having taken note of what was written last.
    fn stop(mut self, written: Option<LogWritten>) -> Result<(), Error> {
        if self.is_killed {
            // All is dropped: sockets are closed, nobody is told, and the file ends where the last write did.
            log::info!("killed at zxid {}", self.member.engine.applied());
            return Ok(());
        }
        if written.is_some()
            && let Err(error) = self.end_turn(written)
        {
            return Err(self.failed(error));
        }
        log::info!("stopping at zxid {}", self.member.engine.applied());
        self.member.engine.close_all(&CloseReason::Stopping);
        self.send_output();
        let closed = self.member.store.close();
        self.writer.finish();
        closed.map_err(|error| Error::from(error).in_file(&self.config.file()))
    }
}

fn settings_of(config: &Config) -> EngineSettings {
    let limits = &config.limits;
    let millis = |ms: u64| i32::try_from(ms).unwrap_or(i32::MAX);
    EngineSettings {
        // ZooKeeper's own number for a server that has none.
        server_id: if config.server_id == ServerId(0) { ServerId(1) } else { config.server_id },
        tick_ms: config.tick_time_ms,
        session_timeout_min_ms: millis(config.session_timeout_min_ms()),
        session_timeout_max_ms: millis(config.session_timeout_max_ms()),
        session_passwords: config.session_passwords,
        skip_acl: config.skip_acl,
        enforce_quota: config.enforce_quota,
        extended_types: config.extended_types_enabled,
        digest_enabled: config.digest_auth_enabled,
        digest_alg: config.digest_alg,
        super_digest: config.super_digest.as_ref().map(|secret| secret.expose().to_owned()),
        enforced_schemes: config.enforce_auth_schemes.clone(),
        reconfig_enabled: config.reconfig_enabled,
        standalone_enabled: config.ensemble.standalone_enabled,
        local_sessions: config.ensemble.local_sessions,
        local_sessions_upgrading: config.ensemble.local_sessions_upgrading,
        container_check_interval_ms: config.container_check_interval_ms,
        container_max_per_minute: config.container_max_per_minute,
        container_never_used_max_ms: config.container_max_never_used_interval_ms,
        limits: engine::EngineLimits {
            frame_size_max: config.jute_maxbuffer,
            first_frame_size_max: limits.first_frame_max,
            handshake_ms: limits.handshake_timeout_ms,
            sessionless_max: limits.sessionless_max(config.connections_max()),
            in_flight_per_connection_max: limits.requests_per_connection_max,
            in_flight_max: config.requests_max(),
            waiting_size_max: limits.output_soft_max,
            output_soft_max: limits.output_soft_max,
            output_hard_max: limits.output_hard_max,
            output_total_max: limits.output_bytes_max,
            sessions_max: limits.sessions_max,
            sessions_per_second: limits.session_rate,
            sessions_burst: limits.session_burst,
            watches_per_connection_max: limits.watches_per_session_max,
            watches_max: limits.watches_max,
            path_size_max: limits.path_size_max,
            path_depth_max: limits.path_depth_max,
            acl_entries_max: limits.acl_entries_max,
            identities_max: limits.credentials_max,
            tree_size_max: limits.tree_bytes_max.unwrap_or(u64::MAX),
            reply_size_max: limits.reply_size_max,
            // Told once the file is open.
            // Known once the file is open.
            record_size_max: usize::MAX,
        },
    }
}
