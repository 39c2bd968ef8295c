//! Keys of our own: where the file lies, its shape, and the limits.

use super::Config;
use super::key::{I32_MAX, Key, KeyKind, Set, key};
use crate::ids::ServerId;
use crate::session::SessionPasswords;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

const fn size(min: u64, max: u64, set: fn(&mut Config, u64)) -> KeyKind {
    KeyKind::Honoured(Set::Size { min, max, set })
}

/// A count or a time of at least one.
const fn some(set: fn(&mut Config, i64)) -> KeyKind {
    KeyKind::Honoured(Set::Int { min: 1, max: I32_MAX, set })
}

/// As [`some`], for a limit that is fixed so far.
const fn unenforced(set: fn(&mut Config, i64)) -> KeyKind {
    KeyKind::Kept(Set::Int { min: 1, max: I32_MAX, set }, "this limit cannot be changed yet")
}

/// The keys that begin with `zoarium.`.
#[rustfmt::skip]
pub(super) static ZOARIUM: &[Key] = &[
    key("zoarium.file", "dataDir/zoarium.db", "the file itself",
        KeyKind::Honoured(Set::Text { allowed: "a path", set: |c, v| { c.file = Some((!v.is_empty()).then_some(v)?.into()); Some(()) } })),
    key("zoarium.serverId", "myid", "this server's number, for hosts without a file myid in dataDir",
        KeyKind::Honoured(Set::Int { min: 0, max: 255, set: |c, v| c.server_id = ServerId(v as u64) })),
    key("zoarium.ignoreZooKeeperData", "false", "begin with an empty tree although ZooKeeper's own data lies in dataDir or dataLogDir",
        KeyKind::Honoured(Set::Bool(|c, v| c.ignore_zookeeper_data = v))),
    key("zoarium.sessionPasswords", "as it was; of what is new, keyed",
        "of a server alone, or of the one that leads: keyed, moving (sessions of ZooKeeper's go on too) or compatible (also with ZooKeeper later)",
        KeyKind::Honoured(Set::Text { allowed: "keyed, moving or compatible",
            set: |c, v| { c.session_passwords = Some(SessionPasswords::parse(v)?); Some(()) } })),
    key("zoarium.fileSizeInitial", "1M", "what a new file grows to at once", size(MIB, TIB, |c, v| c.storage.file_size_initial = v)),
    key("zoarium.fileSizeMax", "6G", "the file never grows past this", size(8 * MIB, TIB, |c, v| c.storage.file_size_max = v)),
    key("zoarium.extentSize", "4M", "unit of space in the file, fixed when it is made",
        size(4 * MIB, 64 * MIB, |c, v| c.storage.extent_size = v)),
    key("zoarium.logWindow", "64M", "log after which a snapshot is wanted, when it exceeds the last snapshot's size",
        size(MIB, TIB, |c, v| c.storage.log_window = v)),
    key("zoarium.followerWindow", "16M", "log kept for followers to catch up", size(0, TIB, |c, v| c.storage.follower_window = v)),
    key("zoarium.keepSnapshots", "2", "snapshots kept",
        KeyKind::Honoured(Set::Int { min: 1, max: 2, set: |c, v| c.storage.keep_snapshots = v as usize })),
    key("zoarium.snapshotRate", "64M", "bytes per second a snapshot writes, 0 as fast as possible",
        size(0, TIB, |c, v| c.storage.snapshot_rate = v)),
    key("zoarium.markAfterMs", "50", "idle time after which the end of the log is marked as durable, 0 never",
        KeyKind::Honoured(Set::Int { min: 0, max: I32_MAX, set: |c, v| c.storage.mark_after_ms = v as u64 })),
    key("zoarium.logLevel", "info", "how much the tool logs; -v and -q win; read again on SIGHUP",
        KeyKind::Honoured(Set::Text { allowed: "off, error, warn, info, debug or trace",
            set: |c, v| { c.log_level = Some(v.parse().ok()?); Some(()) } })),
    key("zoarium.firstFrameMax", "1K", "first frame of a connection",
        size(64, MIB, |c, v| c.limits.first_frame_max = v as usize)),
    key("zoarium.handshakeTimeoutMs", "10000", "time for the first frame", some(|c, v| c.limits.handshake_timeout_ms = v as u64)),
    key("zoarium.connectionsMax", "10000", "connections in all, when maxCnxns is 0",
        some(|c, v| c.limits.connections_max = v as usize)),
    key("zoarium.sessionlessMax", "a quarter of all", "connections without a session",
        some(|c, v| c.limits.sessionless_max = Some(v as usize))),
    key("zoarium.acceptPauseMs", "100", "pause before the next accept when descriptors have run out",
        some(|c, v| c.limits.accept_pause_ms = v as u64)),
    key("zoarium.requestsPerConnectionMax", "1000", "requests in flight on a connection",
        some(|c, v| c.limits.requests_per_connection_max = v as usize)),
    key("zoarium.requestsMax", "10000", "requests in flight in all, when globalOutstandingLimit is absent",
        some(|c, v| c.limits.requests_max = v as usize)),
    key("zoarium.inputBytesMax", "64M", "bytes read and not yet processed, in all",
        size(MIB, TIB, |c, v| c.limits.input_bytes_max = v as usize)),
    key("zoarium.outputSoftMax", "4M", "unsent bytes of a connection from which on its requests wait",
        size(1024, TIB, |c, v| c.limits.output_soft_max = v as usize)),
    key("zoarium.outputHardMax", "16M", "unsent bytes of a connection that close it",
        size(1024, TIB, |c, v| c.limits.output_hard_max = v as usize)),
    key("zoarium.outputStallMs", "30000", "a connection that takes nothing for this long is closed",
        some(|c, v| c.limits.output_stall_ms = v as u64)),
    key("zoarium.outputBytesMax", "256M", "unsent bytes in all", size(MIB, TIB, |c, v| c.limits.output_bytes_max = v as usize)),
    key("zoarium.sessionsMax", "100000", "live sessions", some(|c, v| c.limits.sessions_max = v as usize)),
    key("zoarium.sessionRate", "1000", "new sessions per second and address", some(|c, v| c.limits.session_rate = v as u64)),
    key("zoarium.sessionBurst", "1000", "new sessions of an address at once", some(|c, v| c.limits.session_burst = v as u64)),
    key("zoarium.watchesPerSessionMax", "100000", "watches of a session",
        some(|c, v| c.limits.watches_per_session_max = v as usize)),
    key("zoarium.watchesMax", "2000000", "watches in all", some(|c, v| c.limits.watches_max = v as usize)),
    key("zoarium.pathSizeMax", "8K", "length of a path", size(64, MIB, |c, v| c.limits.path_size_max = v as usize)),
    key("zoarium.pathDepthMax", "1000", "names in a path", some(|c, v| c.limits.path_depth_max = v as usize)),
    key("zoarium.aclEntriesMax", "1000", "entries in an ACL", some(|c, v| c.limits.acl_entries_max = v as usize)),
    key("zoarium.aclListsMax", "100000", "different ACLs in the tree", unenforced(|c, v| c.limits.acl_lists_max = v as usize)),
    key("zoarium.credentialsMax", "64", "identities of a connection", some(|c, v| c.limits.credentials_max = v as usize)),
    key("zoarium.failedLoginsMax", "3", "failed logins on a connection", unenforced(|c, v| c.limits.failed_logins_max = v as usize)),
    key("zoarium.treeBytesMax", "0", "memory of the tree, 0 without limit",
        size(0, TIB, |c, v| c.limits.tree_bytes_max = (v > 0).then_some(v))),
    key("zoarium.replySizeMax", "64M", "size of a reply", size(MIB, 1 << 30, |c, v| c.limits.reply_size_max = v as usize)),
    key("zoarium.sliceMs", "5", "longest work at a stretch for one request", unenforced(|c, v| c.limits.slice_ms = v as u64)),
    key("zoarium.wordsPerSecond", "10",
        "four-letter words per second and address; ruok, srvr, isro and those from this machine are always answered",
        some(|c, v| c.limits.words_per_second = v as u64)),
    key("zoarium.logLinesPerSecond", "10", "log lines of a kind per second",
        unenforced(|c, v| c.limits.log_lines_per_second = v as u64)),
    key("zoarium.timersPerTick", "10000", "sessions, containers and TTL nodes looked at in a tick",
        unenforced(|c, v| c.limits.timers_per_tick = v as usize)),
];
