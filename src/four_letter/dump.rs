//! `dump`, `wchs`, `wchc`, `wchp`, `hash`: lists that can be long. Off unless the whitelist names them.

use std::net::SocketAddr;

use super::{java_address, java_date};
use crate::ids::{SessionId, WallMillis, Zxid};

/// The sessions of `dump`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsDump {
    /// Alone or leading: the expiry buckets, soonest first.
    Buckets(Vec<(WallMillis, Vec<SessionId>)>),
    /// Following: sessions with their timeout in milliseconds.
    Follower {
        /// Known to the whole ensemble.
        global: Vec<(SessionId, u64)>,
        /// Known to this server only; `None` where local sessions are off.
        local: Option<Vec<(SessionId, u64)>>,
    },
}

/// What `dump` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Sessions.
    pub sessions: SessionsDump,
    /// The ephemeral znodes of each session that has any.
    pub ephemerals: Vec<(SessionId, Vec<String>)>,
    /// When connections are closed for silence, soonest first, with who they are.
    pub connections: Vec<(WallMillis, Vec<(SocketAddr, SessionId)>)>,
}

/// The answer to `dump`.
pub fn dump(dump: &Dump) -> String {
    let mut text = "SessionTracker dump:\n".to_owned();
    match &dump.sessions {
        SessionsDump::Buckets(buckets) => {
            let sessions: usize = buckets.iter().map(|(_, ids)| ids.len()).sum();
            text += &format!("Session Sets ({})/({sessions}):\n", buckets.len());
            for (expiry, ids) in buckets {
                text += &format!("{} expire at {}:\n", ids.len(), java_date(*expiry));
                for id in ids {
                    text += &format!("\t{id}\n");
                }
            }
        }
        SessionsDump::Follower { global, local } => {
            if let Some(local) = local {
                text += &timeouts("Local", local);
            }
            text += &timeouts("Global", global);
        }
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

fn timeouts(kind: &str, sessions: &[(SessionId, u64)]) -> String {
    let mut text = format!("{kind} Sessions({}):\n", sessions.len());
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
