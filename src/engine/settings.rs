//! What an engine is told at start: ZooKeeper's rules and our limits.

use crate::digests::DigestAlg;
use crate::ids::ServerId;
use crate::session::SessionPasswords;

/// Bytes that a transaction may have beyond its request: its header, and the identities that `auth` in an ACL stands for.
pub(super) const RECORD_OVERHEAD: usize = 72 << 10;

/// Settings of the engine. The defaults are ZooKeeper's where it has one.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The high byte of session ids made here.
    pub server_id: ServerId,
    /// Width of an expiry bucket, ms.
    pub tick_ms: u64,
    /// Smallest session timeout granted, ms.
    pub session_timeout_min_ms: i32,
    /// Largest session timeout granted, ms.
    pub session_timeout_max_ms: i32,
    /// Which passwords sessions get from a server that is alone; `None`: as its file had it.
    pub session_passwords: Option<SessionPasswords>,
    /// Grant everything to everybody.
    pub skip_acl: bool,
    /// Refuse what exceeds a hard quota.
    pub enforce_quota: bool,
    /// Whether TTL znodes may be created.
    pub extended_types: bool,
    /// Whether scheme `digest` exists.
    pub digest_enabled: bool,
    /// The hash of scheme `digest`.
    pub digest_alg: DigestAlg,
    /// `super:<hash>`: a client that logs in with this digest may do everything.
    pub super_digest: Option<String>,
    /// Connections need an identity of one of these schemes for anything but `auth`. Empty: no such rule.
    pub enforced_schemes: Vec<String>,
    /// Whether `reconfig` is answered with anything but "disabled".
    pub reconfig_enabled: bool,
    /// Whether sessions begin as ones that only their server knows, in an ensemble.
    pub local_sessions: bool,
    /// Whether such a session becomes one of all servers when it wants an ephemeral.
    pub local_sessions_upgrading: bool,
    /// Whether an ensemble is to have two voters at least.
    pub standalone_enabled: bool,
    /// Time between looks at containers and TTL znodes, ms.
    pub container_check_interval_ms: u64,
    /// Containers and TTL znodes removed per minute at most.
    pub container_max_per_minute: u64,
    /// A container that never had a child goes after this time, ms; 0 for never.
    pub container_never_used_max_ms: u64,
    /// Sizes and counts.
    pub limits: EngineLimits,
}

impl Default for EngineSettings {
    fn default() -> Self {
        EngineSettings {
            server_id: ServerId(1),
            tick_ms: 3000,
            session_timeout_min_ms: 6000,
            session_timeout_max_ms: 60_000,
            session_passwords: None,
            skip_acl: false,
            enforce_quota: false,
            extended_types: false,
            digest_enabled: true,
            digest_alg: DigestAlg::default(),
            super_digest: None,
            enforced_schemes: Vec::new(),
            reconfig_enabled: false,
            local_sessions: false,
            local_sessions_upgrading: false,
            standalone_enabled: true,
            container_check_interval_ms: 60_000,
            container_max_per_minute: 10_000,
            container_never_used_max_ms: 0,
            limits: EngineLimits::default(),
        }
    }
}

/// Every resource has a limit with a defined effect. The numbers are those of.
#[derive(Clone, Debug)]
pub struct EngineLimits {
    /// largest frame accepted, bytes (`jute.maxbuffer`). At the limit: close before allocating.
    pub frame_size_max: usize,
    /// largest first frame, bytes. At the limit: close.
    pub first_frame_size_max: usize,
    /// time to complete the handshake, ms. At the limit: close.
    pub handshake_ms: u64,
    /// connections without a session. At the limit: the oldest is closed.
    pub sessionless_max: usize,
    /// requests in flight per connection. At the limit: stop reading.
    pub in_flight_per_connection_max: usize,
    /// requests in flight in all. At the limit: stop reading.
    pub in_flight_max: usize,
    /// bytes of requests that wait, per connection. At the limit: stop reading.
    pub waiting_size_max: usize,
    /// output queued per connection, bytes. Above: no more of its requests are served.
    pub output_soft_max: usize,
    /// output queued per connection beside its largest reply, bytes. Above: close.
    pub output_hard_max: usize,
    /// output queued in all, bytes. Before a large reply could pass it, the read waits.
    pub output_total_max: usize,
    /// sessions. At the limit: new ones are refused by closing.
    pub sessions_max: usize,
    /// new sessions per second and address. At the limit: delay.
    pub sessions_per_second: u64,
    /// how many may come at once before that.
    pub sessions_burst: u64,
    /// watched paths per connection. At the limit: `ThrottledOp`.
    pub watches_per_connection_max: usize,
    /// watches in all. At the limit: `ThrottledOp`.
    pub watches_max: usize,
    /// length of a path, bytes. Above: `BadArguments`.
    pub path_size_max: usize,
    /// depth of a path. Above: `BadArguments`.
    pub path_depth_max: usize,
    /// entries in an ACL. Above: `InvalidACL`.
    pub acl_entries_max: usize,
    /// identities per connection. Above: close.
    pub identities_max: usize,
    /// bytes of the tree in memory. Above: creates and growing sets get `QuotaExceeded`.
    pub tree_size_max: u64,
    /// Bytes of the largest record that the log takes. A write that might make a larger one: `BadArguments`.
    pub record_size_max: usize,
    /// largest reply, bytes. Above: `MarshallingError`.
    pub reply_size_max: usize,
}

impl Default for EngineLimits {
    fn default() -> Self {
        EngineLimits {
            frame_size_max: 0xf_ffff,
            first_frame_size_max: 1024,
            handshake_ms: 10_000,
            sessionless_max: 2500,
            in_flight_per_connection_max: 1000,
            in_flight_max: 10_000,
            waiting_size_max: 4 << 20,
            output_soft_max: 4 << 20,
            output_hard_max: 16 << 20,
            output_total_max: 256 << 20,
            sessions_max: 100_000,
            sessions_per_second: 1000,
            sessions_burst: 1000,
            watches_per_connection_max: 100_000,
            watches_max: 2_000_000,
            path_size_max: 8192,
            path_depth_max: 1000,
            acl_entries_max: 1000,
            identities_max: 64,
            tree_size_max: u64::MAX,
            record_size_max: usize::MAX,
            reply_size_max: 64 << 20,
        }
    }
}
