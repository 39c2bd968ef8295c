//! Keys that a standalone server accepts and does not act upon: the ensemble's, and what has no counterpart here.

use super::key::{I32_MAX, I32_MIN, Key, KeyKind, Set, key};
use super::{Config, Role, ServerLine};
use crate::ids::ServerId;

/// Looked at when an ensemble starts, which refuses what it asks for and cannot have.
const KEEP: KeyKind = KeyKind::Ensemble(Set::Keep);
const FIXED: KeyKind = KeyKind::WithoutEffect("what it sets is fixed, or decided by other limits");
const MISSING: KeyKind = KeyKind::WithoutEffect("what it is for is not there yet");
const NO_THREADS: KeyKind = KeyKind::WithoutEffect("there are no threads or queues of that kind");
const JVM: KeyKind = KeyKind::WithoutEffect("there is no Java virtual machine");
const LOOP: KeyKind = KeyKind::WithoutEffect("one loop does this work, there is no pool or queue to size");
const FILE: KeyKind = KeyKind::WithoutEffect("one file holds log and snapshots and reclaims its own space");
const THROTTLE: KeyKind = KeyKind::WithoutEffect("back-pressure and the limits zoarium.* take its place");
const TLS: KeyKind = KeyKind::WithoutEffect("TLS is not served yet");
const SASL: KeyKind = KeyKind::WithoutEffect("SASL is not there yet");
const ADMIN: KeyKind = KeyKind::WithoutEffect("the admin server is not there yet");
const METRICS: KeyKind = KeyKind::WithoutEffect("the metrics page is not there yet; mntr has the numbers");
const LOGGING: KeyKind = KeyKind::WithoutEffect("logging is set with -v, -q and ZOARIUM_LOG");

/// A whole number that goes into the ensemble's part. Below one it is as if it were not set, as in ZooKeeper.
const fn ticks(set: fn(&mut super::Config, i64)) -> KeyKind {
    KeyKind::Ensemble(Set::Int { min: I32_MIN, max: I32_MAX, set })
}

/// A whole number that ZooKeeper reads as a property of Java.
const fn property(min: i64, max: i64, set: fn(&mut super::Config, i64)) -> KeyKind {
    KeyKind::Ensemble(Set::Lenient { min, max, set })
}

fn count(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}

/// Keys that matter only when several servers work together.
#[rustfmt::skip]
pub(super) static ENSEMBLE: &[Key] = &[
    key("server.N", "none", "address and role of server N", KeyKind::Ensemble(Set::Numbered {
        allowed: "host:quorumPort:electionPort[:participant|observer][;[clientHost:]clientPort]", set: set_server })),
    key("group.N", "none", "servers of group N of a hierarchical quorum",
        KeyKind::Ensemble(Set::Numbered { allowed: "server ids separated by colons", set: set_group })),
    key("weight.N", "1", "votes of server N in its group", KeyKind::Ensemble(Set::Numbered { allowed: "a number", set: set_weight })),
    key("peerType", "participant", "role of this server; its server line wins", KeyKind::Ensemble(Set::Text {
        allowed: "participant or observer", set: |c, v| { c.ensemble.peer_type = Role::parse(v)?; Some(()) } })),
    key("initLimit", "none", "ticks for a follower to connect and sync", ticks(|c, v| c.ensemble.init_limit = count(v))),
    key("syncLimit", "none", "ticks a follower may lag", ticks(|c, v| c.ensemble.sync_limit = count(v))),
    key("connectToLearnerMasterLimit", "initLimit", "ticks for a follower to connect",
        KeyKind::Kept(Set::Int { min: I32_MIN, max: I32_MAX, set: |c, v| c.ensemble.connect_to_learner_master_limit = count(v) },
            "initLimit counts")),
    key("standaloneEnabled", "true", "a single server line makes a standalone server",
        KeyKind::Ensemble(Set::Bool(|c, v| c.ensemble.standalone_enabled = v))),
    key("dynamicConfigFile", "none", "file with the server lines", KeyKind::Ensemble(Set::Text {
        allowed: "a path", set: |c, v| { c.ensemble.dynamic_config_file = Some((!v.is_empty()).then_some(v)?.into()); Some(()) } })),
    key("version", "0", "zxid of the dynamic configuration, in hexadecimal", KeyKind::Ensemble(Set::Text {
        allowed: "a hexadecimal number", set: |c, v| { c.ensemble.version = Some(i64::from_str_radix(v, 16).ok()?); Some(()) } })),
    key("electionAlg", "3", "election algorithm", KeyKind::Ensemble(Set::Int { min: 3, max: 3, set: |_, _| {} })),
    key("electionPort", "2182", "unused by ZooKeeper too", KeyKind::WithoutEffect("ZooKeeper does not use it either")),
    key("leaderServes", "yes", "the leader accepts clients", KeyKind::WithoutEffect("every server serves clients")),
    key("cnxTimeout", "5000", "time for a connection to another server in milliseconds",
        property(1, I32_MAX, |c, v| c.ensemble.cnx_timeout_ms = v as u64)),
    key("quorumCnxnTimeoutMs", "-1", "time for the first message of another server in milliseconds, -1 for syncLimit",
        property(-1, I32_MAX, |c, v| c.ensemble.quorum_cnxn_timeout_ms = count(v))),
    key("quorumListenOnAllIPs", "false", "listen for servers on every address",
        KeyKind::Ensemble(Set::Bool(|c, v| c.ensemble.listen_on_all = v))),
    key("electionPortBindRetry", "3", "tries to bind a port for other servers, 0 without end",
        property(-1, I32_MAX, |c, v| c.ensemble.bind_tries = u32::try_from(v).unwrap_or(3))),
    key("localSessionsEnabled", "false", "sessions known to one server only",
        KeyKind::Ensemble(Set::Bool(|c, v| c.ensemble.local_sessions = v))),
    key("localSessionsUpgradingEnabled", "false", "local sessions become global when they need to",
        KeyKind::Ensemble(Set::Bool(|c, v| c.ensemble.local_sessions_upgrading = v))),
    key("syncEnabled", "true", "observers keep a log", FIXED),
    key("observerMasterPort", "0", "observers attach to followers at this port", KEEP),
    key("observer.reconnectDelayMs", "0", "an observer's pause before it reconnects", FIXED),
    key("observer.election.DelayMs", "200", "an observer's pause before an election", FIXED),
    key("leader.maxConcurrentSnapSyncs", "10", "snapshots sent to followers at once", FIXED),
    key("leader.maxConcurrentDiffSyncs", "100", "followers brought up by log at once", FIXED),
    key("maxConcurrentSnapSyncs", "10", "older name of leader.maxConcurrentSnapSyncs", FIXED),
    key("maxConcurrentDiffSyncs", "100", "older name of leader.maxConcurrentDiffSyncs", FIXED),
    key("multiAddress.enabled", "false", "a server may have several addresses",
        KeyKind::WithoutEffect("a server line may always name several; the first that answers is used")),
    key("oraclePath", "none", "a file that decides when one of two servers is gone", KEEP),
    key("multiAddress.reachabilityCheckTimeoutMs", "1000", "time to find a reachable address", FIXED),
    key("multiAddress.reachabilityCheckEnabled", "true", "look for a reachable address", FIXED),
    key("commitLogCount", "500", "transactions kept for follower sync", FIXED),
    key("learner.asyncSending", "false", "followers send from a thread of their own", NO_THREADS),
    key("learner.closeSocketAsync", "false", "followers close from a thread of their own", NO_THREADS),
    key("leader.closeSocketAsync", "false", "the leader closes from a thread of its own", NO_THREADS),
    key("forward_learner_requests_to_commit_processor_disabled", "false", "older forwarding of requests", NO_THREADS),
    key("db.autocreate", "none", "whether a server with a new file votes: true at once, false once synced, none once all others were heard",
        KeyKind::Ensemble(Set::Property(|c, v| c.ensemble.db_autocreate = Some(v)))),
    key("quorum.auth.enableSasl", "false", "servers authenticate to each other", KEEP),
    key("quorum.auth.learnerRequireSasl", "false", "a follower insists on it", KEEP),
    key("quorum.auth.serverRequireSasl", "false", "a leader insists on it", KEEP),
    key("quorum.auth.kerberos.servicePrincipal", "none", "principal of the servers", MISSING),
    key("quorum.auth.learner.loginContext", "QuorumLearner", "login section of a follower", MISSING),
    key("quorum.auth.server.loginContext", "QuorumServer", "login section of a leader", MISSING),
    key("quorum.auth.learner.saslLoginContext", "QuorumLearner", "other name of the login section", MISSING),
    key("quorum.auth.server.saslLoginContext", "QuorumServer", "other name of the login section", MISSING),
    key("quorum.cnxn.threads.size", "20", "threads for connections between servers", NO_THREADS),
    key("sslQuorum", "false", "TLS between servers", KEEP),
    key("portUnification", "false", "TLS and plain on one port between servers", MISSING),
    key("sslQuorumReloadCertFiles", "false", "read certificates again when they change", MISSING),
    key("ssl.quorum.X", "none", "TLS between servers", MISSING),
    key("enableEagerACLCheck", "false", "a server checks ACLs before it forwards a write to the leader", FIXED),
    key("fastleader.minNotificationInterval", "200", "shortest wait for votes in an election", FIXED),
    key("fastleader.maxNotificationInterval", "60000", "longest wait for votes in an election", FIXED),
    key("leader.maxTimeToWaitForEpoch", "-1", "how long a new leader waits for its followers", FIXED),
    key("leader.ackLoggingFrequency", "1000", "how often acknowledgements are logged", FIXED),
    key("leader.nodelay", "true", "TCP_NODELAY between servers", FIXED),
    key("follower.nodelay", "true", "TCP_NODELAY between servers", FIXED),
    key("follower.skipLearnerRequestToNextProcessor", "false", "requests of observers skip a stage in followers", NO_THREADS),
    key("observer.syncEnabled", "true", "other name of syncEnabled", FIXED),
    key("observerMaster.sizeLimit", "33554432", "bytes a follower keeps for its observers", MISSING),
    key("leaderConnectDelayDuringRetryMs", "100", "pause before the leader is tried again", FIXED),
    key("forceSnapshotSync", "false", "followers are always brought up by a snapshot", MISSING),
    key("snapshotSizeFactor", "0.33", "log sent to a follower, as a part of a snapshot's size", FIXED),
    key("messageTracker.Enabled", "false", "keep the last messages between leader and followers for the log", MISSING),
    key("messageTracker.BufferSize", "10", "how many of them", MISSING),
    key("ensembleAuthName", "none", "names of the authentication scheme ensemble", MISSING),
];

/// Keys accepted by name, and why nothing comes of them.
#[rustfmt::skip]
pub(super) static ACCEPTED: &[Key] = &[
    // Storage: ours is one file.
    key("autopurge.snapRetainCount", "3", "snapshots to keep when purging", FILE),
    key("autopurge.purgeInterval", "0", "hours between purges", FILE),
    key("snapSizeLimitInKb", "4194304", "log size between snapshots", FILE),
    key("txnLogSizeLimitInKb", "-1", "log size before the next log file", FILE),
    key("preAllocSize", "65536", "log space reserved at once", FILE),
    key("snapshot.trust.empty", "false", "start with logs and no snapshot", FILE),
    key("snapshot.compression.method", "none", "compression of snapshots", FILE),
    key("serializeLastProcessedZxid.enabled", "true", "part of ZooKeeper's snapshot format", FILE),
    key("emulate353TTLNodes", "false", "owner encoding of 3.5.3 for TTL nodes", KeyKind::NotYet("TTL nodes use the encoding of 3.5.4 and later")),
    // Threads, queues, caches.
    key("flushDelay", "0", "wait to gather writes before a sync", LOOP),
    key("maxWriteQueuePollTime", "flushDelay/3", "wait of the writing thread", LOOP),
    key("maxBatchSize", "1000", "writes gathered for one sync", LOOP),
    key("nio.numSelectorThreads", "auto", "selector threads", LOOP),
    key("nio.numWorkerThreads", "auto", "worker threads", LOOP),
    key("nio.directBufferBytes", "65536", "buffer of a thread", LOOP),
    key("nio.shutdownTimeout", "5000", "wait for the threads at the end", LOOP),
    key("commitProcessor.numWorkerThreads", "auto", "threads that commit", LOOP),
    key("commitProcessor.shutdownTimeout", "5000", "wait for them at the end", LOOP),
    key("commitProcessor.maxReadBatchSize", "-1", "reads between commits", LOOP),
    key("commitProcessor.maxCommitBatchSize", "1", "commits between reads", LOOP),
    key("serverCnxnFactory", "NIO", "class that handles connections", LOOP),
    key("netty.advancedFlowControl.enabled", "false", "flow control of Netty", LOOP),
    key("netty.server.outstandingHandshake.limit", "-1", "TLS handshakes at once", LOOP),
    key("watchManagerName", "WatchManager", "class that keeps watches", LOOP),
    key("watcherCleanThreadsNum", "2", "threads that drop watches", LOOP),
    key("watcherCleanThreshold", "1000", "watches dropped at once", LOOP),
    key("watcherCleanIntervalInSeconds", "600", "pause between drops", LOOP),
    key("maxInProcessingDeadWatchers", "-1", "watches to be dropped", LOOP),
    key("bitHashCacheSize", "10", "cache of watches", LOOP),
    key("maxResponseCacheSize", "400", "encoded replies kept", LOOP),
    key("maxGetChildrenResponseCacheSize", "400", "encoded child lists kept", LOOP),
    key("closeSessionTxn.enabled", "true", "names of ephemerals in the closing transaction", LOOP),
    key("clientTcpKeepAlive", "false", "keep-alive of client connections; pings find dead ones", LOOP),
    key("tcpKeepAlive", "false", "keep-alive between servers; pings find dead ones", LOOP),
    key("clientPortBindRetry", "0", "tries to bind", LOOP),
    key("jute.maxbuffer.extrasize", "same", "room for records above jute.maxbuffer in the log", FILE),
    key("reservedSpaceInBytes", "none", "see zoarium.fileSizeMax", FILE),
    // Throttling.
    key("connection_throttle_tokens", "0", "connection tokens", THROTTLE),
    key("connection_throttle_fill_time", "1", "connection tokens", THROTTLE),
    key("connection_throttle_fill_count", "1", "connection tokens", THROTTLE),
    key("connection_throttle_freeze_time", "-1", "connection tokens", THROTTLE),
    key("connection_throttle_drop_increase", "0.02", "connection tokens", THROTTLE),
    key("connection_throttle_drop_decrease", "0.002", "connection tokens", THROTTLE),
    key("connection_throttle_decrease_ratio", "0", "connection tokens", THROTTLE),
    key("connection_throttle_weight_enabled", "false", "connection tokens", THROTTLE),
    key("connection_throttle_global_session_weight", "3", "connection tokens", THROTTLE),
    key("connection_throttle_renew_session_weight", "2", "connection tokens", THROTTLE),
    key("connection_throttle_local_session_weight", "1", "connection tokens", THROTTLE),
    key("request_throttle_max_requests", "0", "requests let in at once", THROTTLE),
    key("request_throttle_stall_time", "100", "wait of a request kept out", THROTTLE),
    key("request_throttle_drop_stale", "true", "drop requests of closed connections", THROTTLE),
    key("request_throttler.shutdownTimeout", "10000", "wait at the end", THROTTLE),
    key("request_stale_connection_check", "true", "drop requests of closed connections", THROTTLE),
    key("request_stale_latency_check", "false", "drop requests past their session's timeout", THROTTLE),
    key("throttled_op_wait_time", "0", "refuse requests that waited longer", THROTTLE),
    key("largeRequestThreshold", "-1", "size from which a request is large", THROTTLE),
    key("largeRequestMaxBytes", "104857600", "bytes of large requests at once", THROTTLE),
    key("netty.server.earlyDropSecureConnectionHandshakes", "false", "drop TLS handshakes that are not waited for", TLS),
    key("intBufferStartingSizeBytes", "1024", "buffer of a thread", LOOP),
    key("pathStats.X", "none", "statistics of the paths most asked for", METRICS),
    // TLS for clients.
    key("secureClientPort", "none", "port for clients with TLS",
        KeyKind::NotYet("the TLS port is not served yet; only the plain client port is")),
    key("secureClientPortAddress", "all", "address of the TLS port", TLS),
    key("client.portUnification", "false", "TLS and plain on the client port",
        KeyKind::NotYet("TLS is not served yet; the client port takes plain connections only")),
    key("client.certReload", "false", "read certificates again when they change", TLS),
    key("client.secure", "false", "a client's setting", TLS),
    key("clientCnxnSocket", "none", "a client's setting", TLS),
    key("fips-mode", "true", "restrict TLS to what FIPS allows", TLS),
    key("ssl.keyStore.location", "none", "the server's key", TLS),
    key("ssl.keyStore.password", "none", "its password", TLS),
    key("ssl.keyStore.passwordPath", "none", "file of its password", TLS),
    key("ssl.keyStore.type", "by name", "format of the key", TLS),
    key("ssl.trustStore.location", "none", "who is trusted", TLS),
    key("ssl.trustStore.password", "none", "its password", TLS),
    key("ssl.trustStore.passwordPath", "none", "file of its password", TLS),
    key("ssl.trustStore.type", "by name", "format of who is trusted", TLS),
    key("ssl.protocol", "TLSv1.3", "version of TLS", TLS),
    key("ssl.enabledProtocols", "ssl.protocol", "versions of TLS", TLS),
    key("ssl.ciphersuites", "auto", "ciphers", TLS),
    key("ssl.context.supplier.class", "none", "class that makes TLS contexts", TLS),
    key("ssl.clientAuth", "need", "whether clients need a certificate", TLS),
    key("ssl.hostnameVerification", "true", "compare names in certificates", TLS),
    key("ssl.clientHostnameVerification", "false", "compare clients' names in certificates", TLS),
    key("ssl.allowReverseDnsLookup", "false", "find names by address", TLS),
    key("ssl.crl", "false", "revocation lists", TLS),
    key("ssl.ocsp", "false", "revocation by asking", TLS),
    key("ssl.tcnative.ocsp", "none", "revocation by asking", TLS),
    key("ssl.sslProvider", "JDK", "TLS library", TLS),
    key("ssl.handshakeDetectionTimeoutMillis", "5000", "time to tell TLS from plain", TLS),
    key("ssl.authProvider", "x509", "scheme of certificates", TLS),
    key("X509AuthenticationProvider.superUser", "none", "certificate of the super user", TLS),
    // Authentication.
    key("authProvider.X", "none", "class of an authentication scheme: digest, ip and world are always there", KeyKind::NotYet(
        "this authentication scheme is not there yet; digest, ip and world are")),
    key("sessionRequireClientSASLAuth", "false", "clients must log in by SASL",
        KeyKind::RefusedIfTrue("SASL is not there yet, and without it everybody would be let in")),
    key("requireClientAuthScheme", "none", "has no effect in ZooKeeper either", SASL),
    key("jaasLoginRenew", "none", "renewal of the login", SASL),
    key("superUser", "none", "SASL name of the super user", SASL),
    key("superUser.X", "none", "SASL name of a super user", SASL),
    key("allowSaslFailedClients", "false", "a failed SASL login keeps its connection", SASL),
    key("SASLAuthenticationProvider.superPassword", "none", "password of the SASL super user", SASL),
    key("server.principal", "none", "Kerberos name of the server, as clients know it", SASL),
    key("server.realm", "none", "Kerberos realm of the server, as clients know it", SASL),
    key("requireKerberosConfig", "false", "refuse to start without a Kerberos configuration", SASL),
    key("kerberos.minReLoginTimeMs", "60000", "pause between Kerberos logins", SASL),
    key("kinit", "/usr/bin/kinit", "program for Kerberos logins", SASL),
    key("letAnySaslUserDoX", "none", "any SASL user may do what this one may", SASL),
    key("kerberos.removeHostFromPrincipal", "false", "shorten Kerberos names", SASL),
    key("kerberos.removeRealmFromPrincipal", "false", "shorten Kerberos names", SASL),
    key("kerberos.canonicalizeHostNames", "false", "look up Kerberos host names", SASL),
    key("security.auth_to_local", "DEFAULT", "rules for Kerberos names", SASL),
    key("sasl.X", "none", "SASL login", SASL),
    key("IPAuthenticationProvider.usexforwardedfor", "false", "trust a header of the admin server", ADMIN),
    key("audit.enable", "false", "write an audit log", KeyKind::NotYet("the audit log is not written")),
    key("audit.impl.class", "log4j", "class that writes the audit log", LOGGING),
    // Admin server and metrics.
    key("admin.enableServer", "true", "HTTP admin server", ADMIN),
    key("admin.serverAddress", "0.0.0.0", "its address", ADMIN),
    key("admin.serverPort", "8080", "its port", ADMIN),
    key("admin.idleTimeout", "30000", "its idle time", ADMIN),
    key("admin.commandURL", "/commands", "its path", ADMIN),
    key("admin.portUnification", "false", "TLS and plain on its port", ADMIN),
    key("admin.forceHttps", "false", "TLS only on its port", ADMIN),
    key("admin.needClientAuth", "false", "certificates on its port", ADMIN),
    key("admin.httpVersion", "11", "its HTTP version", ADMIN),
    key("admin.snapshot.enabled", "true", "its command snapshot", ADMIN),
    key("admin.snapshot.intervalInMS", "900000", "pause between its snapshots", ADMIN),
    key("admin.restore.enabled", "true", "its command restore", ADMIN),
    key("admin.restore.intervalInMS", "900000", "pause between its restores", ADMIN),
    key("admin.rateLimiterIntervalInMS", "300000", "pause between its costly commands", ADMIN),
    key("metricsProvider.className", "none", "class that shows metrics", METRICS),
    key("metricsProvider.httpHost", "0.0.0.0", "its address", METRICS),
    key("metricsProvider.httpPort", "7000", "its port", METRICS),
    key("metricsProvider.exportJvmInfo", "true", "Java's own numbers", METRICS),
    key("metricsProvider.numWorkerThreads", "1", "its threads", METRICS),
    key("metricsProvider.maxQueueSize", "1000000", "its queue", METRICS),
    key("metricsProvider.workerShutdownTimeoutMs", "1000", "wait for it at the end", METRICS),
    // Java, and the launcher scripts around it.
    key("jvm.pause.monitor", "false", "watch for pauses of Java", JVM),
    key("jvm.pause.warn-threshold.ms", "10000", "pause worth a warning", JVM),
    key("jvm.pause.info-threshold.ms", "1000", "pause worth a line", JVM),
    key("jvm.pause.sleep.time.ms", "500", "how often to look", JVM),
    key("jmx.log4j.mbean", "none", "logging controls over JMX", JVM),
    key("disableAutoWatchReset", "false", "a client's setting", LOOP),
    key("request.timeout", "0", "a client's setting", LOOP),
    key("configuration", "none", "folder of the configuration, set by tools", JVM),
    key("jmx.log4j.disable", "false", "logging controls over JMX", JVM),
    key("java.security.auth.login.config", "none", "file with SASL logins", SASL),
    key("java.X", "none", "a setting of Java", JVM),
    key("javax.X", "none", "a setting of Java", JVM),
    key("com.sun.X", "none", "a setting of Java", JVM),
    key("sun.X", "none", "a setting of Java", JVM),
    key("jdk.X", "none", "a setting of Java", JVM),
    key("io.netty.X", "none", "a setting of Netty", JVM),
    key("file.encoding", "UTF-8", "text is UTF-8", JVM),
    key("user.X", "none", "a setting of Java", JVM),
    key("log.X", "none", "logging of the launcher scripts", LOGGING),
    key("console.threshold", "INFO", "logging of the launcher scripts", LOGGING),
    key("root.logger", "INFO", "logging of the launcher scripts", LOGGING),
    key("tracelog.X", "none", "logging of the launcher scripts", LOGGING),
    key("auditlog.X", "none", "logging of the launcher scripts", LOGGING),
    key("log4j.X", "none", "logging of Java", LOGGING),
    key("log4j2.X", "none", "logging of Java", LOGGING),
    key("logback.X", "none", "logging of Java", LOGGING),
    key("slf4j.X", "none", "logging of Java", LOGGING),
    key("org.slf4j.X", "none", "logging of Java", LOGGING),
];

fn set_server(config: &mut Config, id: u64, value: &str) -> Result<(), String> {
    let id = ServerId(id);
    config.ensemble.servers.insert(id, ServerLine::parse(id, value)?);
    Ok(())
}

fn set_group(config: &mut Config, id: u64, value: &str) -> Result<(), String> {
    let members = value.split(':').map(|part| part.trim().parse().map(ServerId)).collect::<Result<Vec<_>, _>>();
    config.ensemble.groups.insert(id, members.map_err(|_| "server ids are numbers".to_owned())?);
    Ok(())
}

fn set_weight(config: &mut Config, id: u64, value: &str) -> Result<(), String> {
    let weight = value.parse().map_err(|_| "a weight is a number".to_owned())?;
    config.ensemble.weights.insert(ServerId(id), weight);
    Ok(())
}
