//! `dump`, `wchs`, `wchc`, `wchp`, `hash`: lists that can be long. Off unless the whitelist names them.

use std::net::SocketAddr;

use super::{java_address, java_date};
use crate::ids::{SessionId, WallMillis, Zxid};

/// The sessions of `dump`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsDump {
    /// Alone or leading: the expiry buckets, soonest first.
    Buckets(ExpirySets),
    /// Following: sessions with their timeout in milliseconds.
    Timeouts(Vec<(SessionId, u64)>),
}

/// Expiry buckets, soonest first: when each comes due, and the sessions in it.
pub type ExpirySets = Vec<(WallMillis, Vec<SessionId>)>;

/// What `dump` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Sessions that only this server knows; `None` where it has none by its configuration.
    pub local: Option<ExpirySets>,
    /// Sessions that all servers know.
    pub sessions: SessionsDump,
    /// The ephemeral znodes of each session that has any.
    pub ephemerals: Vec<(SessionId, Vec<String>)>,
    /// When connections are closed for silence, soonest first, with who they are.
    pub connections: Vec<(WallMillis, Vec<(SocketAddr, SessionId)>)>,
}

/// The answer to `dump`.
pub fn dump(dump: &Dump) -> String {
    let mut text = "SessionTracker dump:\n".to_owned();
    if let Some(local) = &dump.local {
        text += &format!("Local {}", session_sets(local));
    }
    match &dump.sessions {
        SessionsDump::Buckets(buckets) => {
            let kind = if dump.local.is_some() { "Global " } else { "" };
            text += &format!("{kind}{}", session_sets(buckets));
        }
        SessionsDump::Timeouts(sessions) => text += &timeouts(sessions),
    }
    text += &format!("ephemeral nodes dump:\nSessions with Ephemerals ({}):\n", dump.ephemerals.len());
    for (id, paths) in &dump.ephemerals {
        text += &format!("{id}:\n");
        for path in paths {
            text += &format!("\t{path}\n");
        }
    }
    let connections: usize = dump.connections.iter().map(|(_, connections)| connections.len()).sum();
    text += &format!("Connections dump:\nConnections Sets ({})/({connections}):\n", dump.connections.len());
    for (expiry, connections) in &dump.connections {
        text += &format!("{} expire at {}:\n", connections.len(), java_date(*expiry));
        for (remote, session) in connections {
            text += &format!("\tip: {} sessionId: {session}\n", java_address(*remote));
        }
    }
    text
}

fn session_sets(buckets: &ExpirySets) -> String {
    let sessions: usize = buckets.iter().map(|(_, ids)| ids.len()).sum();
    let mut text = format!("Session Sets ({})/({sessions}):\n", buckets.len());
    for (expiry, ids) in buckets {
        text += &format!("{} expire at {}:\n", ids.len(), java_date(*expiry));
        for id in ids {
            text += &format!("\t{id}\n");
        }
    }
    text
}

fn timeouts(sessions: &[(SessionId, u64)]) -> String {
    let mut text = format!("Global Sessions({}):\n", sessions.len());
    for (id, timeout_ms) in sessions {
        text += &format!("{id}\t{timeout_ms}ms\n");
    }
    text
}

/// How many watch what, for `wchs`. Data watches only, as ZooKeeper counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WatchSummary {
    /// Connections with a watch.
    pub connections: usize,
    /// Paths watched.
    pub paths: usize,
    /// Watches.
    pub watches: usize,
}

/// The answer to `wchs`.
pub fn wchs(summary: WatchSummary) -> String {
    let WatchSummary { connections, paths, watches } = summary;
    format!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n")
}

/// The answer to `wchc`: the paths each session watches.
pub fn wchc<'a, P: IntoIterator<Item = &'a str>>(sessions: impl IntoIterator<Item = (SessionId, P)>) -> String {
    let mut text = String::new();
    for (session, paths) in sessions {
        text += &format!("{session}\n");
        for path in paths {
            text += &format!("\t{path}\n");
        }
    }
    text + "\n"
}

/// The answer to `wchp`: the sessions that watch each path.
pub fn wchp<'a, S: IntoIterator<Item = SessionId>>(paths: impl IntoIterator<Item = (&'a str, S)>) -> String {
    let mut text = String::new();
    for (path, sessions) in paths {
        text += &format!("{path}\n");
        for session in sessions {
            text += &format!("\t{session}\n");
        }
    }
    text + "\n"
}

/// The answer to `hash`: digests of the tree at some transactions.
pub fn hash(digests: impl IntoIterator<Item = (Zxid, u64)>) -> String {
    digests.into_iter().map(|(zxid, digest)| format!("{:x}: {digest}\n", zxid.0)).collect()
}
