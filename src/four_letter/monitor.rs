//! `mntr`: the numbers that monitoring reads. What we do not have is left out, never faked.

use super::numbers::average;
use super::{Mode, ServerStatus, SizeSummary, version_line};

/// A number that only grows, under its key without `zk_`.
pub type MonitorCounter = (&'static str, u64);

/// A measured quantity, under its key without `zk_`: `avg_`, `min_`, `max_`, `cnt_`, `sum_` go before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Such as `fsynctime`.
    pub name: &'static str,
    /// How many were measured.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
    /// The smallest, 0 for none.
    pub min: u64,
    /// The largest, 0 for none.
    pub max: u64,
    /// For the advanced ones, such as `readlatency`.
    pub percentiles: Option<Percentiles>,
}

/// Values that 50, 95, 99 and 99.9 of a hundred do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named after what they are
pub struct Percentiles {
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
    pub p999: u64,
}

/// What a leader knows of its followers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderStatus {
    /// Connected followers and observers.
    pub learners: usize,
    /// Followers that have the history.
    pub synced_followers: usize,
    /// Those of them that do not vote.
    pub synced_non_voting_followers: usize,
    /// Observers that have the history.
    pub synced_observers: usize,
    /// `sync` requests waiting.
    pub pending_syncs: usize,
    /// Milliseconds.
    pub leader_uptime_ms: u64,
}

/// The numbers of `mntr`. `None` has no line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MonitorStatus {
    /// What `srvr` shows too.
    pub server: ServerStatus,
    /// In an ensemble, such as `leading - broadcast`.
    pub peer_state: Option<String>,
    /// Watches of all kinds.
    pub watch_count: usize,
    /// Ephemeral znodes.
    pub ephemerals_count: usize,
    /// Bytes of all paths and data.
    pub approximate_data_size: u64,
    /// Sessions of the whole ensemble.
    pub global_sessions: usize,
    /// Sessions of this server only.
    pub local_sessions: usize,
    /// Open descriptors of the process.
    pub open_file_descriptor_count: Option<u64>,
    /// How many it may have.
    pub max_file_descriptor_count: Option<u64>,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Bytes of replies to requests.
    pub client_response_size: SizeSummary,
    /// Voters of the ensemble.
    pub quorum_size: Option<usize>,
    /// A leader's numbers.
    pub leader: Option<LeaderStatus>,
    /// Numbers that only grow.
    pub counters: Vec<MonitorCounter>,
    /// Measured quantities.
    pub summaries: Vec<Summary>,
    /// Our own numbers, which get `zk_zoarium_` before their key: readers of the answer expect `zk_` on every line.
    pub own: Vec<(&'static str, u64)>,
}

/// The answer to `mntr`: `zk_key`, tab, value.
pub fn mntr(status: &MonitorStatus) -> String {
    let mut lines = MonitorLines(String::new());
    let server = &status.server;
    lines.put("version", version_line());
    lines.put("server_state", server.mode);
    lines.put_some("peer_state", status.peer_state.as_ref());
    lines.put("avg_latency", server.latency.average());
    lines.put("max_latency", server.latency.max_ms());
    lines.put("min_latency", server.latency.min_ms());
    lines.put("packets_received", server.received);
    lines.put("packets_sent", server.sent);
    lines.put("num_alive_connections", server.connections);
    lines.put("outstanding_requests", server.outstanding);
    lines.put("znode_count", server.node_count);
    lines.put("watch_count", status.watch_count);
    lines.put("ephemerals_count", status.ephemerals_count);
    lines.put("approximate_data_size", status.approximate_data_size);
    lines.put("global_sessions", status.global_sessions);
    lines.put("local_sessions", status.local_sessions);
    lines.put_some("open_file_descriptor_count", status.open_file_descriptor_count);
    lines.put_some("max_file_descriptor_count", status.max_file_descriptor_count);
    lines.put("uptime", status.uptime_ms);
    lines.put("last_client_response_size", status.client_response_size.last);
    lines.put("max_client_response_size", status.client_response_size.max);
    lines.put("min_client_response_size", status.client_response_size.min);
    lines.put_some("quorum_size", status.quorum_size);
    if let Some(leader) = status.leader.filter(|_| server.mode == Mode::Leader) {
        lines.put("learners", leader.learners);
        // The name of 3.4 and 3.5, which monitoring tools still ask for.
        lines.put("followers", leader.synced_followers);
        lines.put("synced_followers", leader.synced_followers);
        lines.put("synced_non_voting_followers", leader.synced_non_voting_followers);
        lines.put("synced_observers", leader.synced_observers);
        lines.put("pending_syncs", leader.pending_syncs);
        lines.put("leader_uptime", leader.leader_uptime_ms);
    }
    if let Some(sizes) = server.proposals {
        lines.put("last_proposal_size", sizes.last);
        lines.put("max_proposal_size", sizes.max);
        lines.put("min_proposal_size", sizes.min);
    }
    for (name, value) in &status.counters {
        lines.put(name, value);
    }
    for summary in &status.summaries {
        lines.put_summary(summary);
    }
    for (name, value) in &status.own {
        lines.0 += &format!("zk_zoarium_{name}\t{value}\n");
    }
    lines.0
}

struct MonitorLines(String);

impl MonitorLines {
    fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0 += &format!("zk_{key}\t{value}\n");
    }

    fn put_some(&mut self, key: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn put_summary(&mut self, summary: &Summary) {
        let Summary { name, count, sum, min, max, percentiles } = summary;
        self.put(&format!("avg_{name}"), average(*sum, *count));
        self.put(&format!("min_{name}"), min);
        self.put(&format!("max_{name}"), max);
        self.put(&format!("cnt_{name}"), count);
        self.put(&format!("sum_{name}"), sum);
        if let Some(Percentiles { p50, p95, p99, p999 }) = percentiles {
            for (prefix, value) in [("p50", p50), ("p95", p95), ("p99", p99), ("p999", p999)] {
                self.put(&format!("{prefix}_{name}"), value);
            }
        }
    }
}
