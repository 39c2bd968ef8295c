//! Bounds on what clients can use, and the shape of the file.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bounds on every resource a client can use, each with a default that serves and a key to change it.
///
/// Numbers are inclusive: a resource may reach its limit and not pass it. Sizes are bytes.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `zoarium.firstFrameMax`: the first frame of a connection, before there is a session.
    pub first_frame_max: usize,
    /// `zoarium.handshakeTimeoutMs`: a connection must have sent its first frame by then.
    pub handshake_timeout_ms: u64,
    /// `zoarium.connectionsMax`: connections in all, when `maxCnxns` says no limit.
    pub connections_max: usize,
    /// `zoarium.sessionlessMax`: connections without a session; `None` is a quarter of all.
    pub sessionless_max: Option<usize>,
    /// `zoarium.acceptPauseMs`: pause before the next accept once descriptors have run out.
    pub accept_pause_ms: u64,
    /// `zoarium.requestsPerConnectionMax`: requests in flight on one connection.
    pub requests_per_connection_max: usize,
    /// `zoarium.requestsMax`: requests in flight in all, when `globalOutstandingLimit` is not given.
    pub requests_max: usize,
    /// `zoarium.inputBytesMax`: bytes read and not yet processed, all connections together.
    pub input_bytes_max: usize,
    /// `zoarium.outputSoftMax`: unsent bytes of one connection from which on its requests wait.
    pub output_soft_max: usize,
    /// `zoarium.outputHardMax`: unsent bytes of one connection, beside its largest single reply, that close it.
    pub output_hard_max: usize,
    /// `zoarium.outputStallMs`: a connection that takes nothing of its output for this long is closed.
    pub output_stall_ms: u64,
    /// `zoarium.outputBytesMax`: unsent bytes, all connections together.
    pub output_bytes_max: usize,
    /// `zoarium.sessionsMax`: live sessions.
    pub sessions_max: usize,
    /// `zoarium.sessionRate`: new sessions per second and client address.
    pub session_rate: u64,
    /// `zoarium.sessionBurst`: new sessions an address may open at once before `session_rate` binds.
    pub session_burst: u64,
    /// `zoarium.watchesPerSessionMax`: watches of one session.
    pub watches_per_session_max: usize,
    /// `zoarium.watchesMax`: watches in all.
    pub watches_max: usize,
    /// `zoarium.pathSizeMax`: length of a path.
    pub path_size_max: usize,
    /// `zoarium.pathDepthMax`: names in a path.
    pub path_depth_max: usize,
    /// `zoarium.aclEntriesMax`: entries in one ACL.
    pub acl_entries_max: usize,
    /// `zoarium.aclListsMax`: different ACLs in the tree. Not acted upon yet.
    pub acl_lists_max: usize,
    /// `zoarium.credentialsMax`: identities of one connection.
    pub credentials_max: usize,
    /// `zoarium.failedLoginsMax`: failed logins on one connection. Not acted upon yet.
    pub failed_logins_max: usize,
    /// `zoarium.treeBytesMax`: memory of the tree; `None` is no limit.
    ///
    /// 1 GiB for a program that embeds a server; [`Config::load`](super::Config::load), the tool's way in, starts without a limit.
    pub tree_bytes_max: Option<u64>,
    /// `zoarium.replySizeMax`: size of one reply.
    pub reply_size_max: usize,
    /// `zoarium.sliceMs`: longest work at a stretch on the loop for one request. Not acted upon yet.
    pub slice_ms: u64,
    /// `zoarium.wordsPerSecond`: four-letter words per second and client address; more are answered with a line that
    /// says so. `ruok`, `srvr`, `isro` and what comes over loopback are not counted.
    pub words_per_second: u64,
    /// `zoarium.logLinesPerSecond`: log lines of one kind per second; more are counted. Not acted upon yet.
    pub log_lines_per_second: u64,
    /// `zoarium.timersPerTick`: sessions, containers and TTL nodes looked at in one tick. Not acted upon yet.
    pub timers_per_tick: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            first_frame_max: KIB,
            handshake_timeout_ms: 10_000,
            connections_max: 10_000,
            sessionless_max: None,
            accept_pause_ms: 100,
            requests_per_connection_max: 1000,
            requests_max: 10_000,
            input_bytes_max: 64 * MIB,
            output_soft_max: 4 * MIB,
            output_hard_max: 16 * MIB,
            output_stall_ms: 30_000,
            output_bytes_max: 256 * MIB,
            sessions_max: 100_000,
            session_rate: 1000,
            session_burst: 1000,
            watches_per_session_max: 100_000,
            watches_max: 2_000_000,
            path_size_max: 8 * KIB,
            path_depth_max: 1000,
            acl_entries_max: 1000,
            acl_lists_max: 100_000,
            credentials_max: 64,
            failed_logins_max: 3,
            tree_bytes_max: Some(1024 * MIB as u64),
            reply_size_max: 64 * MIB,
            slice_ms: 5,
            words_per_second: 10,
            log_lines_per_second: 10,
            timers_per_tick: 10_000,
        }
    }
}

impl Limits {
    /// Most connections without a session out of `connections_max` in all: never less than one.
    ///
    /// [`Config`](crate::Config) has an example.
    pub fn sessionless_max(&self, connections_max: usize) -> usize {
        self.sessionless_max.unwrap_or(connections_max / 4).max(1)
    }
}

/// The shape of the one file. Sizes are bytes.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// `zoarium.fileSizeInitial`: what a new file grows to at once.
    pub file_size_initial: u64,
    /// `zoarium.fileSizeMax`: the file never grows past this.
    pub file_size_max: u64,
    /// `zoarium.extentSize`: unit in which the file's space is handed out; fixed when the file is made.
    pub extent_size: u64,
    /// `zoarium.logWindow`: log after which a snapshot is wanted, when it exceeds the size of the last snapshot, or twice
    /// that size while there are fewer than 100,000 transactions in it.
    pub log_window: u64,
    /// `zoarium.followerWindow`: log kept beyond need, for followers to catch up.
    pub follower_window: u64,
    /// `zoarium.keepSnapshots`: snapshots kept.
    pub keep_snapshots: usize,
    /// `zoarium.snapshotRate`: bytes per second a snapshot writes; 0 is as fast as possible.
    pub snapshot_rate: u64,
    /// `zoarium.markAfterMs`: idle time after which the end of the log is marked as durable; 0 is never.
    pub mark_after_ms: u64,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            file_size_initial: MIB as u64,
            file_size_max: 6 * 1024 * MIB as u64,
            extent_size: 4 * MIB as u64,
            log_window: 64 * MIB as u64,
            follower_window: 16 * MIB as u64,
            keep_snapshots: 2,
            snapshot_rate: 64 * MIB as u64,
            mark_after_ms: 50,
        }
    }
}
