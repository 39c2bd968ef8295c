//! Four-letter words: gathers what they tell and sends it. The texts are made in `words`.

use super::listening::descriptors_max;
use super::word_memory::packets;
use super::{Peer, ensemble, environment, link};
use crate::engine::{ConnStatus, Duty};
use crate::four_letter::{
    self, ConfStatus, ConnectionSession, ConnectionStatus, Dump, ExpirySets, Latency, LeaderStatus, Mode,
    MonitorCounter, MonitorStatus, Percentiles, ServerStatus, SessionsDump, Spread, Summary, WatchSummary, Word,
};
use crate::ids::{Millis, SessionId, WallMillis, Zxid};
use crate::member::EnsembleStatus;

/// Longest answer; lists are cut there.
const ANSWER_SIZE_MAX: usize = 16 << 20;

impl Peer {
    /// Answers a word and closes. `rest` is what came behind it.
    pub(super) fn answer_word(&mut self, slot: u32, word: Word, rest: &[u8]) {
        let Some(Some(link::ClientSocket { address, conn, .. })) = self.links.get(slot as usize) else { return };
        let (address, conn) = (*address, *conn);
        self.member.engine.word_received(conn);
        let limit = self.config.limits.words_per_second;
        let (now, _) = self.time();
        let mut text = if !four_letter::is_allowed(word, &self.config.whitelist, self.config.read_only_mode) {
            four_letter::refused(word)
        } else if let Err(why) = self.word_memory.admit(now, word, address, limit) {
            why
        } else {
            self.word_text(word, rest)
        };
        if text.len() > ANSWER_SIZE_MAX {
            let cut = (0..=ANSWER_SIZE_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(cut);
        }
        self.member.engine.word_answered(packets(&text));
        self.send_and_close(slot, text.as_bytes());
    }

    /// A telnet client wants to go. Its interrupt counts as a word that only `*` allows.
    pub(super) fn answer_interrupt(&mut self, slot: u32) {
        match self.config.whitelist {
            four_letter::Whitelist::All => self.drop_link(slot, true),
            four_letter::Whitelist::Only(_) => {
                self.send_and_close(slot, b"telnet close is not executed because it is not in the whitelist.\n");
            }
        }
    }

    pub(super) fn word_text(&mut self, word: Word, rest: &[u8]) -> String {
        self.count_local_reads();
        if self.member.engine.duty() == Duty::None && !word.works_without_quorum() {
            return four_letter::NOT_SERVING.to_owned();
        }
        match word {
            Word::Ruok => four_letter::IMOK.to_owned(),
            Word::Isro => four_letter::isro(is_read_only(self.member.engine.duty())).to_owned(),
            Word::Srvr => four_letter::srvr(&self.server_status()),
            Word::Stat => four_letter::stat(&self.server_status(), &self.connection_statuses()),
            Word::Cons => four_letter::cons(&self.connection_statuses()),
            Word::Conf => four_letter::conf(&self.conf_status()),
            Word::Envi => four_letter::envi(&environment::environment()),
            Word::Dirs => {
                let bytes = self.member.store.stats().file_bytes;
                four_letter::dirs(bytes, bytes)
            }
            Word::Mntr => four_letter::mntr(&self.monitor_status()),
            Word::Dump => four_letter::dump(&self.dump()),
            Word::Wchs => four_letter::wchs(self.watch_summary()),
            Word::Wchp => {
                let watches = self.member.engine.data_watches();
                four_letter::wchp(watches.iter().map(|(path, sessions)| (path.as_str(), sessions.iter().copied())))
            }
            Word::Wchc => {
                let mut by_session: std::collections::BTreeMap<SessionId, Vec<String>> = Default::default();
                for (path, sessions) in self.member.engine.data_watches() {
                    for session in sessions {
                        by_session.entry(session).or_default().push(path.clone());
                    }
                }
                four_letter::wchc(by_session.iter().map(|(&id, paths)| (id, paths.iter().map(String::as_str))))
            }
            Word::Hash => four_letter::hash(std::iter::empty::<(Zxid, u64)>()),
            Word::Crst => {
                self.member.engine.reset_connection_counters();
                four_letter::CRST.to_owned()
            }
            Word::Srst => {
                self.member.engine.reset_counters();
                self.member.store.reset_sync_times();
                self.fsync_max_seen_us = 0;
                self.member.snapshots.reset_times();
                self.word_memory.reset(&self.counters());
                four_letter::SRST.to_owned()
            }
            Word::Gtmk => four_letter::trace_mask(self.word_memory.trace_mask),
            Word::Stmk => {
                if let Some(mask) = rest.first_chunk::<8>() {
                    self.word_memory.trace_mask = i64::from_be_bytes(*mask);
                }
                four_letter::trace_mask(self.word_memory.trace_mask)
            }
        }
    }

    fn server_status(&self) -> ServerStatus {
        let status = self.member.engine.status();
        ServerStatus {
            mode: mode(self.member.engine.duty()),
            latency: status.latency,
            received: status.received,
            sent: status.sent,
            connections: status.connections,
            outstanding: status.outstanding,
            zxid: self.member.engine.zxid(),
            // ZooKeeper counts an alias of the root too.
            node_count: status.znodes + 1,
            proposals: self
                .ensemble_status()
                .filter(|ensemble| ensemble.leading.is_some())
                .map(|ensemble| ensemble.numbers.proposal_sizes),
        }
    }

    fn ensemble_status(&self) -> Option<EnsembleStatus> {
        let (now, _) = self.time();
        self.member.ensemble_status(now)
    }

    fn connection_statuses(&self) -> Vec<ConnectionStatus> {
        self.member.engine.connections().map(|conn| self.connection_status(&conn)).collect()
    }

    fn connection_status(&self, conn: &ConnStatus) -> ConnectionStatus {
        let session = (conn.session != SessionId::NONE).then(|| ConnectionSession {
            id: conn.session,
            last_operation: conn.stats.last_op.map_or("NA", |op| four_letter::operation_code(op.to_i32())),
            established: self.wall_at(conn.opened),
            timeout_ms: u64::try_from(conn.timeout_ms).unwrap_or(0),
            last_xid: i64::from(conn.stats.last_xid),
            last_zxid: Zxid(conn.stats.last_zxid),
            last_response: conn.stats.last_reply,
            last_latency_ms: conn.stats.last_latency,
            latency: conn.stats.latency,
        });
        ConnectionStatus {
            remote: conn.address,
            interest: u8::from(session.is_some()),
            queued: conn.queued,
            received: conn.stats.received,
            sent: conn.stats.sent,
            session,
        }
    }

    /// The wall clock at a moment of ours, as far as it has not jumped.
    fn wall_at(&self, at: Millis) -> WallMillis {
        let (now, wall) = self.time();
        WallMillis(wall.0 + at.0 as i64 - now.0 as i64)
    }

    fn conf_status(&self) -> ConfStatus {
        let config = &self.config;
        let bytes = self.member.store.stats().file_bytes;
        let folder = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        let folder = folder.join("version-2").display().to_string();
        ConfStatus {
            client_port: self.addresses().first().map_or(-1, |address| i32::from(address.port())),
            secure_client_port: -1,
            data_dir: folder.clone(),
            data_dir_size: bytes,
            data_log_dir: folder,
            data_log_size: bytes,
            tick_time: config.tick_time_ms,
            max_client_cnxns: config.max_client_cnxns,
            min_session_timeout: config.session_timeout_min_ms(),
            max_session_timeout: config.session_timeout_max_ms(),
            client_port_listen_backlog: config.client_port_listen_backlog,
            // A server that is alone has none, whatever `myid` says.
            server_id: if config.ensemble.is_standalone() { 0 } else { config.server_id.0 },
            membership: ensemble::conf_members(config, self.members.as_ref()),
        }
    }

    fn monitor_status(&self) -> MonitorStatus {
        let (status, store) = (self.member.engine.status(), self.member.store.stats());
        let (now, _) = self.time();
        let ensemble = self.member.ensemble_status(now);
        let (reads, writes) = self.member.engine.latencies();
        let fsync = Summary {
            name: "fsynctime",
            count: store.fsync_count,
            sum: store.fsync_total_us / 1000,
            min: 0,
            max: store.fsync_max_us / 1000,
            percentiles: None,
        };
        MonitorStatus {
            server: self.server_status(),
            peer_state: peer_state(self.member.engine.duty()).map(str::to_owned),
            watch_count: status.watches,
            ephemerals_count: status.ephemerals,
            approximate_data_size: status.data_size,
            global_sessions: status.sessions,
            local_sessions: status.local_sessions,
            open_file_descriptor_count: std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
            max_file_descriptor_count: descriptors_max().map(|max| max as u64),
            uptime_ms: now.0,
            client_response_size: status.response_size,
            quorum_size: ensemble.map(|ensemble| ensemble.voters),
            leader: ensemble.and_then(|ensemble| ensemble.leading).map(|(counts, uptime_ms)| LeaderStatus {
                learners: counts.learners,
                synced_followers: counts.synced_followers,
                synced_non_voting_followers: counts.synced_non_voting_followers,
                synced_observers: counts.synced_observers,
                pending_syncs: status.syncs,
                leader_uptime_ms: uptime_ms,
            }),
            counters: self.word_memory.since_reset(self.counters()),
            summaries: [
                spread("readlatency", reads),
                spread("updatelatency", writes),
                fsync,
                self.member.snapshots.summary(),
            ]
            .into_iter()
            .chain(ensemble.map(|ensemble| election_time(ensemble.numbers.without_leader)))
            .collect(),
            own: vec![
                ("tree_memory_bytes", status.tree_memory),
                ("output_queued_bytes", status.output_total as u64),
                ("input_queued_bytes", self.input_total as u64),
                ("file_bytes", store.file_bytes),
                ("file_bound_bytes", store.file_bound),
                ("file_max_bytes", store.file_max),
                ("log_bytes", store.log_bytes),
                ("log_since_snapshot_bytes", store.log_since_snapshot),
                ("snapshot_bytes", store.snapshot_bytes),
                ("log_window_bytes", store.log_window),
                ("snapshot_running", u64::from(self.member.snapshots.is_running(&self.member.store))),
                ("lingering_connections", self.lingering.len() as u64),
            ],
        }
    }

    /// What `mntr` counts, since the start.
    fn counters(&self) -> Vec<MonitorCounter> {
        let (status, store) = (self.member.engine.status(), self.member.store.stats());
        let mut counters = vec![
            // No connection is dropped by lot, and there is no TLS port yet.
            ("connection_drop_probability", 0),
            ("outstanding_tls_handshake", 0),
            ("non_mtls_remote_conn_count", 0),
            ("non_mtls_local_conn_count", 0),
            ("auth_failed_count", status.auth_failed),
            ("stale_sessions_expired", status.sessions_expired),
            ("connection_rejected", self.listening.rejected),
            ("sessionless_connections_expired", status.handshakes_overdue),
            ("connection_revalidate_count", status.sessions_resumed),
            ("commit_count", status.transactions),
            ("snapshot_error_count", store.snapshots_failed),
            ("unrecoverable_error_count", u64::from(store.poisoned.is_some())),
            ("zoarium_snapshots_taken", store.snapshots),
        ];
        if let Some(EnsembleStatus { numbers, .. }) = self.ensemble_status() {
            counters.extend([
                ("looking_count", numbers.elections),
                ("proposal_count", numbers.proposals),
                ("diff_count", numbers.diffs),
                ("snap_count", numbers.snapshots),
                ("learner_proposal_received_count", numbers.proposals_received),
                ("learner_commit_received_count", numbers.commits_received),
            ]);
        }
        counters
    }

    fn at_wall(&self, buckets: impl Iterator<Item = (Millis, Vec<SessionId>)>) -> ExpirySets {
        buckets.map(|(at, ids)| (self.wall_at(at), ids)).collect()
    }

    fn dump(&self) -> Dump {
        let sessions = match self.member.engine.duty() {
            // When they expire only the leader knows.
            Duty::Forward { .. } | Duty::ReadOnly => SessionsDump::Timeouts(self.member.engine.session_timeouts()),
            _ => SessionsDump::Buckets(self.at_wall(self.member.engine.expiry_buckets())),
        };
        let owners = self.member.engine.ephemeral_owners();
        let mut connections: Vec<(WallMillis, Vec<_>)> = Vec::new();
        let mut all: Vec<ConnStatus> = self.member.engine.connections().collect();
        all.sort_by_key(|conn| (conn.opened, conn.address));
        for conn in all {
            let until = self.wall_at(conn.opened.plus(u64::try_from(conn.timeout_ms).unwrap_or(0)));
            match connections.last_mut() {
                Some((at, list)) if *at == until => list.push((conn.address, conn.session)),
                _ => connections.push((until, vec![(conn.address, conn.session)])),
            }
        }
        Dump {
            local: self.member.engine.local_buckets().map(|buckets| self.at_wall(buckets)),
            sessions,
            ephemerals: owners.into_iter().map(|owner| (owner.session, owner.ephemerals)).collect(),
            connections,
        }
    }

    fn watch_summary(&self) -> WatchSummary {
        let watches = self.member.engine.data_watches();
        let mut sessions: Vec<SessionId> = watches.iter().flat_map(|(_, sessions)| sessions.iter().copied()).collect();
        let total = sessions.len();
        sessions.sort_unstable();
        sessions.dedup();
        WatchSummary { connections: sessions.len(), paths: watches.len(), watches: total }
    }
}

/// What part a server with this duty plays.
fn mode(duty: Duty) -> Mode {
    match duty {
        Duty::None | Duty::Alone { .. } => Mode::Standalone,
        Duty::Decide { .. } => Mode::Leader,
        Duty::Forward { votes: true, .. } => Mode::Follower,
        Duty::Forward { votes: false, .. } => Mode::Observer,
        Duty::ReadOnly => Mode::ReadOnly,
    }
}

/// In ZooKeeper's words; a server by itself has none.
fn peer_state(duty: Duty) -> Option<&'static str> {
    match duty {
        Duty::Decide { .. } => Some("leading - broadcast"),
        Duty::Forward { votes: true, .. } => Some("following - broadcast"),
        Duty::Forward { votes: false, .. } => Some("observing - broadcast"),
        Duty::None | Duty::Alone { .. } | Duty::ReadOnly => None,
    }
}

/// `None` where nothing is served.
fn is_read_only(duty: Duty) -> Option<bool> {
    (duty != Duty::None).then_some(duty == Duty::ReadOnly)
}

/// How long there was no leader each time.
fn election_time(times: Latency) -> Summary {
    Summary {
        name: "election_time",
        count: times.count(),
        sum: times.sum_ms(),
        min: times.min_ms(),
        max: times.max_ms(),
        percentiles: None,
    }
}

fn spread(name: &'static str, spread: &Spread) -> Summary {
    let latency = spread.latency();
    Summary {
        name,
        count: latency.count(),
        sum: latency.sum_ms(),
        min: latency.min_ms(),
        max: latency.max_ms(),
        percentiles: Some(Percentiles {
            p50: spread.percentile(500),
            p95: spread.percentile(950),
            p99: spread.percentile(990),
            p999: spread.percentile(999),
        }),
    }
}
