//! The single home of every key: its name, default, meaning, and what becomes of it.

use super::key::{I32_MAX, I32_MIN, Key, KeyKind, Set, int, key};
use super::{Config, Secret, keys_accepted, keys_zoarium};
use crate::digests::DigestAlg;
use crate::four_letter::Whitelist;

/// A handshake takes 45 bytes: with less nobody could connect. ZooKeeper starts with less, and nobody can.
const HANDSHAKE_SIZE: i64 = 45;

/// As [`int`], for a property of Java.
const fn lenient(min: i64, max: i64, set: fn(&mut Config, i64)) -> KeyKind {
    KeyKind::Honoured(Set::Lenient { min, max, set })
}

const fn text(allowed: &'static str, set: fn(&mut Config, &str) -> Option<()>) -> KeyKind {
    KeyKind::Honoured(Set::Text { allowed, set })
}

const fn property(set: fn(&mut Config, bool)) -> KeyKind {
    KeyKind::Honoured(Set::Property(set))
}

/// Every key, whatever becomes of it.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    HONOURED.iter().chain(keys_zoarium::ZOARIUM).chain(keys_accepted::ENSEMBLE).chain(keys_accepted::ACCEPTED)
}

/// -1 stands for the default; other negative numbers set no limit, as in ZooKeeper.
fn optional(value: i64) -> Option<u64> {
    (value != -1).then_some(value.max(0) as u64)
}

/// ZooKeeper's keys that a standalone server acts upon.
#[rustfmt::skip]
static HONOURED: &[Key] = &[
    key("dataDir", "./zoarium-data", "folder of the file zoarium.db and of myid",
        text("a path", |c, v| { c.data_dir = nonempty(v)?.into(); Some(()) })),
    key("datadir.autocreate", "true", "make a missing data folder", property(|c, v| c.data_dir_autocreate = v)),
    key("dataLogDir", "dataDir", "folder of ZooKeeper's transaction log",
        KeyKind::Kept(Set::Text { allowed: "a path", set: |c, v| { c.data_log_dir = Some(nonempty(v)?.into()); Some(()) } },
            "one file holds log and snapshots; looked at for ZooKeeper's own data at the first start")),
    key("clientPort", "2181", "port for clients; 0 picks a free one", int(0, 65535, |c, v| c.client_port = v as u16)),
    key("clientPortAddress", "all", "addresses to listen on, separated by commas; loopback when there is no configuration file",
        text("host names or addresses, or *", |c, v| { c.client_hosts = hosts(v)?; Some(()) })),
    key("maxClientCnxns", "60", "connections per client address, 0 without limit",
        int(I32_MIN, I32_MAX, |c, v| c.max_client_cnxns = v.max(0) as usize)),
    key("clientPortListenBacklog", "-1", "connections that may wait to be accepted, as far as the system allows; 0 and below: 4,096",
        int(I32_MIN, I32_MAX, |c, v| c.client_port_listen_backlog = v as i32)),
    key("maxCnxns", "0", "connections in all, 0 leaves it to zoarium.connectionsMax",
        lenient(0, I32_MAX, |c, v| c.max_cnxns = v as usize)),
    key("jute.maxbuffer", "1048575", "largest client frame in bytes",
        lenient(HANDSHAKE_SIZE, I32_MAX, |c, v| c.jute_maxbuffer = v as usize)),
    key("globalOutstandingLimit", "zoarium.requestsMax", "requests in flight in all",
        lenient(1, I32_MAX, |c, v| c.global_outstanding_limit = Some(v as usize))),
    key("nio.sessionlessCnxnTimeout", "zoarium.handshakeTimeoutMs", "time for the first frame of a connection in milliseconds",
        lenient(1, I32_MAX, |c, v| c.limits.handshake_timeout_ms = v as u64)),
    key("tickTime", "3000", "unit of time in milliseconds", int(1, I32_MAX, |c, v| c.tick_time_ms = v as u64)),
    key("minSessionTimeout", "-1", "shortest session timeout in milliseconds, -1 for 2 ticks",
        int(I32_MIN, I32_MAX, |c, v| c.min_session_timeout_ms = optional(v))),
    key("maxSessionTimeout", "-1", "longest session timeout in milliseconds, -1 for 20 ticks",
        int(I32_MIN, I32_MAX, |c, v| c.max_session_timeout_ms = optional(v))),
    key("snapCount", "100000", "transactions between snapshots", KeyKind::Kept(
        Set::Lenient { min: 2, max: I32_MAX, set: |c, v| c.snap_count = v as u64 },
        "snapshots follow the size of the log: zoarium.logWindow")),
    key("forceSync", "yes", "sync the log before acknowledging; no may lose acknowledged writes in a power cut",
        text("yes or no", |c, v| { c.force_sync = yes_no(v)?; Some(()) })),
    key("fsync.warningthresholdms", "1000", "log a sync slower than this many milliseconds",
        lenient(0, I32_MAX, |c, v| c.fsync_warning_ms = v as u64)),
    key("4lw.commands.whitelist", "srvr",
        "four-letter words that are answered, * for all; srvr always is",
        text("words separated by commas, or *", |c, v| { c.whitelist = Whitelist::parse(v); Some(()) })),
    key("readonlymode.enabled", "false",
        "serve reads without a quorum, which a server on its own always has; isro is answered without a whitelist",
        property(|c, v| c.read_only_mode = v)),
    key("reconfigEnabled", "false", "membership may change while running",
        KeyKind::Honoured(Set::Bool(|c, v| c.reconfig_enabled = v))),
    key("extendedTypesEnabled", "false", "TTL nodes exist", property(|c, v| c.extended_types_enabled = v)),
    key("enforceQuota", "false", "hard quota limits refuse writes", property(|c, v| c.enforce_quota = v)),
    key("znode.container.checkIntervalMs", "60000", "pause between two looks for containers and TTL nodes to remove",
        lenient(1, I32_MAX, |c, v| c.container_check_interval_ms = v as u64)),
    key("znode.container.maxPerMinute", "10000", "containers and TTL nodes removed in a minute at most",
        lenient(1, I32_MAX, |c, v| c.container_max_per_minute = v as u64)),
    key("znode.container.maxNeverUsedIntervalMs", "0", "a container that never had a child goes after this long, 0 never",
        lenient(0, i64::MAX, |c, v| c.container_max_never_used_interval_ms = v as u64)),
    key("skipACL", "no", "yes switches all ACL checks off",
        text("yes or no", |c, v| { c.skip_acl = yes_no(v)?; Some(()) })),
    key("DigestAuthenticationProvider.superDigest", "none", "super:<hash> lets that user do anything",
        KeyKind::Honoured(Set::Secret { allowed: "name:base64 of the hash of name:password",
            set: |c, v| { c.super_digest = Some(Secret::new(v.contains(':').then_some(v)?)); Some(()) } })),
    key("DigestAuthenticationProvider.digestAlg", "SHA1", "hash of scheme digest",
        text(DigestAlg::ALLOWED, |c, v| { c.digest_alg = DigestAlg::parse(v)?; Some(()) })),
    key("DigestAuthenticationProvider.enabled", "true", "scheme digest exists", property(|c, v| c.digest_auth_enabled = v)),
    key("digest.enabled", "true", "keep a content digest of the tree (word hash)",
        KeyKind::Kept(Set::Property(|c, v| c.digest_enabled = v), "no content digest is kept yet")),
    key("enforce.auth.enabled", "false", "requests need an identity of enforce.auth.schemes",
        KeyKind::Honoured(Set::Property(|_, _| {}))), // applied together with the schemes, in `apply`
    key("enforce.auth.schemes", "none", "schemes of which one is needed, when enforce.auth.enabled",
        text("schemes separated by commas: digest (sasl and x509 are not there yet)",
            |c, v| { c.enforce_auth_schemes = schemes(v)?; Some(()) })),
];

fn nonempty(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

fn hosts(value: &str) -> Option<Vec<String>> {
    let hosts: Vec<&str> = value.split(',').map(str::trim).collect();
    if hosts.iter().any(|host| host.is_empty() || host.contains(char::is_whitespace)) {
        return None;
    }
    if hosts.iter().any(|host| crate::records::servers::is_any_address(host)) {
        return Some(Vec::new());
    }
    Some(hosts.iter().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned()).collect())
}

/// `yes` or `no`. To ZooKeeper anything but `yes` is no, so that `forceSync=true` switches syncing off: other
/// words are refused rather than guessed.
fn yes_no(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn schemes(value: &str) -> Option<Vec<String>> {
    let schemes: Vec<String> = value.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    let known = |scheme: &String| matches!(scheme.as_str(), "digest" | "sasl" | "x509" | "ip");
    // With schemes nobody can have, every client would be turned away: that is an error at start, not at noon.
    let reachable = schemes.iter().any(|scheme| matches!(scheme.as_str(), "digest" | "ip"));
    (schemes.iter().all(known) && reachable).then_some(schemes)
}

/// A key as found: the row of the table, and the full name with the number or text of a pattern filled in.
pub(super) struct FoundKey {
    pub(super) key: &'static Key,
    pub(super) name: String,
    /// The part that stands for `N` or `X`.
    pub(super) instance: Option<String>,
}

/// Sections of ZooKeeper's guide whose titles are not the name that its servers read, and that name.
static TITLES: &[(&str, &str)] = &[
    ("advancedFlowControlEnabled", "netty.advancedFlowControl.enabled"),
    ("connectionMaxTokens", "connection_throttle_tokens"),
    ("connectionTokenFillTime", "connection_throttle_fill_time"),
    ("connectionTokenFillCount", "connection_throttle_fill_count"),
    ("connectionFreezeTime", "connection_throttle_freeze_time"),
    ("connectionDropIncrease", "connection_throttle_drop_increase"),
    ("connectionDropDecrease", "connection_throttle_drop_decrease"),
    ("connectionDecreaseRatio", "connection_throttle_decrease_ratio"),
    ("requestThrottleLimit", "request_throttle_max_requests"),
    ("requestThrottleStallTime", "request_throttle_stall_time"),
    ("requestThrottleDropStale", "request_throttle_drop_stale"),
    ("requestStaleLatencyCheck", "request_stale_latency_check"),
    ("requestStaleConnectionCheck", "request_stale_connection_check"),
    ("maxTimeToWaitForEpoch", "leader.maxTimeToWaitForEpoch"),
];

/// Looks up a key of a file or of the command line, with or without the prefix `zookeeper.`.
pub(super) fn find(name: &str) -> Option<FoundKey> {
    let short = name.strip_prefix("zookeeper.");
    let title = TITLES.iter().find(|(title, _)| *title == short.unwrap_or(name)).map(|(_, read)| *read);
    find_exact(name).or_else(|| find_exact(short?)).or_else(|| find_exact(title?))
}

fn find_exact(name: &str) -> Option<FoundKey> {
    if let Some(key) = all().find(|key| key.name == name && pattern(key).is_none()) {
        return Some(FoundKey { key, name: name.to_owned(), instance: None });
    }
    all().find_map(|key| {
        let (prefix, number) = pattern(key)?;
        let instance = name.strip_prefix(prefix)?;
        let fits = if number { is_number(instance) } else { !instance.is_empty() };
        fits.then(|| FoundKey { key, name: name.to_owned(), instance: Some(instance.to_owned()) })
    })
}

/// Looks up an environment variable's name, `ZOARIUM_` already taken off: upper case, `_` for `.`.
///
/// Underscores are not compared, so `ZOARIUM_CLIENT_PORT` works as well as `ZOARIUM_CLIENTPORT`.
pub(super) fn find_variable(variable: &str) -> Option<FoundKey> {
    let wanted = squeeze(variable);
    for key in all() {
        let short = key.name.strip_prefix("zoarium.").unwrap_or(key.name);
        match pattern(key) {
            None if squeeze(short) == wanted || squeeze(key.name) == wanted => {
                return Some(FoundKey { key, name: key.name.to_owned(), instance: None });
            }
            Some((prefix, true)) => {
                if let Some(number) = wanted.strip_prefix(&squeeze(prefix)).filter(|number| is_number(number)) {
                    return Some(FoundKey {
                        key,
                        name: format!("{prefix}{number}"),
                        instance: Some(number.to_owned()),
                    });
                }
            }
            _ => {}
        }
    }
    None
}

/// The prefix of a key that stands for many, and whether a number must follow it.
fn pattern(key: &Key) -> Option<(&'static str, bool)> {
    if let Some(prefix) = key.name.strip_suffix(".N") {
        return Some((&key.name[..=prefix.len()], true));
    }
    let prefix = key.name.strip_suffix(".X")?;
    Some((&key.name[..=prefix.len()], false))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() < 19 && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn squeeze(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

/// The known key nearest to `name`, if one is near enough to be meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("zookeeper.").unwrap_or(name).to_ascii_lowercase();
    nearest_of(&name, |key| key.name.to_ascii_lowercase())
}

/// As [`nearest`], for the name of an environment variable.
pub(super) fn nearest_variable(variable: &str) -> Option<&'static str> {
    let name = squeeze(variable.strip_prefix("ZOARIUM_").unwrap_or(variable));
    nearest_of(&name, |key| squeeze(key.name.strip_prefix("zoarium.").unwrap_or(key.name)))
}

fn nearest_of(name: &str, spelled: impl Fn(&Key) -> String) -> Option<&'static str> {
    let limit = (name.len() / 4).max(2);
    // The distance takes time by the product of the lengths, and is no less than their difference.
    let near = all().map(|key| (spelled(key), key.name)).filter(|(other, _)| other.len().abs_diff(name.len()) <= limit);
    let (distance, nearest) = near.map(|(other, key)| (distance(name, &other), key)).min_by_key(|(d, _)| *d)?;
    (distance <= limit && distance < name.len()).then_some(nearest)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(128).collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}
