//! Every name that ZooKeeper 3.9.5 has is known, so that a typo is the only thing reported as unknown.

use super::*;

/// The keys of its administrator's guide: section titles and the Java properties in them.
const GUIDE: &str = "
    4lw.commands.whitelist admin.commandURL admin.enableServer admin.forceHttps admin.idleTimeout
    admin.needClientAuth admin.portUnification admin.rateLimiterIntervalInMS admin.restore.enabled
    admin.serverAddress admin.serverPort admin.snapshot.enabled advancedFlowControlEnabled allowSaslFailedClients
    audit.enable audit.impl.class authProvider.sasl autopurge.purgeInterval autopurge.snapRetainCount
    bitHashCacheSize client.certReload client.portUnification clientCnxnSocket clientPort clientPortAddress
    clientPortListenBacklog clientTcpKeepAlive cnxTimeout commitLogCount commitProcessor.maxCommitBatchSize
    commitProcessor.maxReadBatchSize commitProcessor.numWorkerThreads connection_throttle_decrease_ratio
    connection_throttle_drop_decrease connection_throttle_drop_increase connection_throttle_fill_count
    connection_throttle_fill_time connection_throttle_freeze_time connection_throttle_global_session_weight
    connection_throttle_local_session_weight connection_throttle_renew_session_weight connection_throttle_tokens
    connection_throttle_weight_enabled connectionDecreaseRatio connectionDropDecrease connectionDropIncrease
    connectionFreezeTime connectionMaxTokens connectionTokenFillCount connectionTokenFillTime
    connectToLearnerMasterLimit dataDir datadir.autocreate dataLogDir db.autocreate digest.enabled
    DigestAuthenticationProvider.digestAlg DigestAuthenticationProvider.enabled
    DigestAuthenticationProvider.superDigest dynamicConfigFile electionAlg electionPortBindRetry emulate353TTLNodes
    enableEagerACLCheck enforce.auth.enabled enforce.auth.schemes enforceQuota ensembleAuthName extendedTypesEnabled
    fastleader.maxNotificationInterval fastleader.minNotificationInterval fips-mode flushDelay
    follower.skipLearnerRequestToNextProcessor forceSync forward_learner_requests_to_commit_processor_disabled
    fsync.warningthresholdms globalOutstandingLimit group.1 initLimit IPAuthenticationProvider.usexforwardedfor
    jmx.log4j.disable jute.maxbuffer jute.maxbuffer.extrasize jvm.pause.info-threshold.ms jvm.pause.monitor
    jvm.pause.sleep.time.ms jvm.pause.warn-threshold.ms kerberos.canonicalizeHostNames
    kerberos.removeHostFromPrincipal kerberos.removeRealmFromPrincipal largeRequestMaxBytes largeRequestThreshold
    leader.closeSocketAsync leader.maxConcurrentDiffSyncs leader.maxConcurrentSnapSyncs leader.maxTimeToWaitForEpoch
    leaderServes learner.asyncSending learner.closeSocketAsync localSessionsEnabled localSessionsUpgradingEnabled
    maxBatchSize maxClientCnxns maxCnxns maxConcurrentDiffSyncs maxConcurrentSnapSyncs
    maxGetChildrenResponseCacheSize maxInProcessingDeadWatchers maxResponseCacheSize maxSessionTimeout
    maxTimeToWaitForEpoch maxWriteQueuePollTime messageTracker.BufferSize messageTracker.Enabled
    metricsProvider.className metricsProvider.exportJvmInfo metricsProvider.httpHost metricsProvider.httpPort
    metricsProvider.maxQueueSize metricsProvider.numWorkerThreads metricsProvider.workerShutdownTimeoutMs
    minSessionTimeout multiAddress.enabled multiAddress.reachabilityCheckEnabled
    multiAddress.reachabilityCheckTimeoutMs netty.advancedFlowControl.enabled
    netty.server.earlyDropSecureConnectionHandshakes netty.server.outstandingHandshake.limit nio.directBufferBytes
    nio.numSelectorThreads nio.numWorkerThreads nio.sessionlessCnxnTimeout nio.shutdownTimeout
    observer.election.DelayMs observer.reconnectDelayMs observer.syncEnabled observerMasterPort peerType
    portUnification preAllocSize quorum.auth.enableSasl quorum.auth.kerberos.servicePrincipal
    quorum.auth.learner.saslLoginContext quorum.auth.learnerRequireSasl quorum.auth.server.saslLoginContext
    quorum.auth.serverRequireSasl quorum.cnxn.threads.size quorumCnxnTimeoutMs quorumListenOnAllIPs
    readonlymode.enabled reconfigEnabled request_stale_connection_check request_stale_latency_check
    request_throttle_drop_stale request_throttle_max_requests request_throttle_stall_time
    request_throttler.shutdownTimeout requestStaleConnectionCheck requestStaleLatencyCheck requestThrottleDropStale
    requestThrottleLimit requestThrottleStallTime requireClientAuthScheme sasl.client.canonicalize.hostname
    secureClientPort serializeLastProcessedZxid.enabled server.1 serverCnxnFactory sessionRequireClientSASLAuth
    skipACL snapCount snapshot.compression.method snapshot.trust.empty snapSizeLimitInKb ssl.allowReverseDnsLookup
    ssl.authProvider ssl.ciphersuites ssl.clientAuth ssl.clientHostnameVerification ssl.context.supplier.class
    ssl.crl ssl.enabledProtocols ssl.handshakeDetectionTimeoutMillis ssl.hostnameVerification ssl.keyStore.location
    ssl.keyStore.password ssl.keyStore.passwordPath ssl.keyStore.type ssl.ocsp ssl.protocol
    ssl.quorum.allowReverseDnsLookup ssl.quorum.ciphersuites ssl.quorum.clientAuth
    ssl.quorum.clientHostnameVerification ssl.quorum.context.supplier.class ssl.quorum.crl
    ssl.quorum.enabledProtocols ssl.quorum.handshakeDetectionTimeoutMillis ssl.quorum.hostnameVerification
    ssl.quorum.keyStore.location ssl.quorum.keyStore.password ssl.quorum.keyStore.passwordPath
    ssl.quorum.keyStore.type ssl.quorum.ocsp ssl.quorum.protocol ssl.quorum.trustStore.location
    ssl.quorum.trustStore.password ssl.quorum.trustStore.passwordPath ssl.quorum.trustStore.type ssl.sslProvider
    ssl.trustStore.location ssl.trustStore.password ssl.trustStore.passwordPath ssl.trustStore.type sslQuorum
    sslQuorumReloadCertFiles standaloneEnabled superUser superUser.1 syncEnabled syncLimit tcpKeepAlive
    throttled_op_wait_time tickTime txnLogSizeLimitInKb version watcherCleanIntervalInSeconds watcherCleanThreadsNum
    watcherCleanThreshold watchManagerName weight.1 X509AuthenticationProvider.superUser
    znode.container.checkIntervalMs znode.container.maxNeverUsedIntervalMs znode.container.maxPerMinute";

/// What its servers read besides, from a file or as a Java property.
const SOURCE: &str = "
    admin.httpVersion client.secure closeSessionTxn.enabled com.sun.security.onlyCheckRevocationOfEECert
    commitProcessor.shutdownTimeout configuration disableAutoWatchReset follower.nodelay forceSnapshotSync
    intBufferStartingSizeBytes java.class.path java.compiler java.home java.io.tmpdir java.library.path
    java.security.login.auth.config java.specification.version java.vendor java.version jmx.log4j.mbean
    kerberos.minReLoginTimeMs kinit leader.ackLoggingFrequency leader.nodelay leaderConnectDelayDuringRetryMs
    letAnySaslUserDoX observerMaster.sizeLimit pathStats.delay pathStats.enabled pathStats.initialDelay
    pathStats.maxDepth pathStats.sampleRate pathStats.slotCapacity pathStats.slotDuration pathStats.topPathMax
    request.timeout requireKerberosConfig sasl.client sasl.client.username sasl.clientconfig sasl.serverconfig
    SASLAuthenticationProvider.superPassword secureClientPortAddress security.auth_to_local server.principal
    server.realm snapshotSizeFactor sun.security.jgss.native user.dir user.home user.name";

#[test]
fn every_key_of_zookeepers_guide_and_servers_is_known_by_name() {
    let unknown: Vec<&str> =
        GUIDE.split_whitespace().chain(SOURCE.split_whitespace()).filter(|name| keys::find(name).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let prefixed = |name: &&str| keys::find(&format!("zookeeper.{name}")).is_none();
    let unknown: Vec<&str> = GUIDE.split_whitespace().filter(prefixed).collect();
    assert!(unknown.is_empty(), "with the prefix zookeeper.: {unknown:?}");
}
