//! The table walked key by key, the order of the sources, and what is refused.

mod as_zookeeper;
mod guide;

use std::path::PathBuf;

use super::key::{Key, KeyKind, Set};
use super::keys;
use super::*;
use crate::four_letter::Whitelist;

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// From the command line alone.
fn read(given: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    Config::read(None, &pairs(given), std::iter::empty())
}

/// As [`read`], and a server could start with it.
fn start(given: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    Config::load(None, &pairs(given), std::iter::empty())
}

/// From a file of these lines alone, and a `dataDir` where they have none; the folder lives as long as the test.
fn read_file(text: &str) -> Result<Loaded, ConfigError> {
    load_all(text, &[], &[])
}

fn load_all(text: &str, env: &[(&str, &str)], given: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let folder = Folder::new();
    let data = if text.contains("dataDir") { "" } else { "\ndataDir=/x\n" };
    let file = folder.write("zoo.cfg", &format!("{text}{data}"));
    Config::load(Some(&file), &pairs(given), pairs(env).into_iter())
}

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("zoarium-config-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn error_of(given: &[(&str, &str)]) -> String {
    read(given).expect_err(&format!("{given:?} must be refused")).to_string()
}

/// The key with its `N` or `X` filled in.
fn instance(key: &Key) -> String {
    match key.name.strip_suffix(".N").or_else(|| key.name.strip_suffix(".X")) {
        Some(prefix) => format!("{prefix}.1"),
        None => key.name.to_owned(),
    }
}

/// Every key of the reference, so that none gets lost from the table.
const REFERENCE: &str = "
    tickTime dataDir dataLogDir clientPort clientPortAddress secureClientPort secureClientPortAddress
    clientPortListenBacklog maxClientCnxns maxCnxns minSessionTimeout maxSessionTimeout initLimit syncLimit
    connectToLearnerMasterLimit autopurge.snapRetainCount autopurge.purgeInterval snapCount snapSizeLimitInKb
    txnLogSizeLimitInKb preAllocSize commitLogCount globalOutstandingLimit forceSync fsync.warningthresholdms
    flushDelay maxWriteQueuePollTime maxBatchSize jute.maxbuffer skipACL enforceQuota extendedTypesEnabled
    emulate353TTLNodes znode.container.checkIntervalMs znode.container.maxPerMinute
    znode.container.maxNeverUsedIntervalMs readonlymode.enabled 4lw.commands.whitelist leaderServes serverCnxnFactory
    datadir.autocreate db.autocreate snapshot.trust.empty snapshot.compression.method digest.enabled
    serializeLastProcessedZxid.enabled watchManagerName maxResponseCacheSize maxGetChildrenResponseCacheSize
    audit.enable clientTcpKeepAlive tcpKeepAlive connection_throttle_tokens connection_throttle_fill_time
    connection_throttle_fill_count connection_throttle_freeze_time connection_throttle_drop_increase
    connection_throttle_drop_decrease connection_throttle_decrease_ratio connection_throttle_weight_enabled
    request_throttle_max_requests request_throttle_stall_time request_throttle_drop_stale
    request_stale_connection_check request_stale_latency_check throttled_op_wait_time largeRequestThreshold
    largeRequestMaxBytes server.1 peerType group.1 weight.1 dynamicConfigFile reconfigEnabled standaloneEnabled
    electionAlg electionPort cnxTimeout quorumCnxnTimeoutMs quorumListenOnAllIPs electionPortBindRetry
    localSessionsEnabled localSessionsUpgradingEnabled syncEnabled observerMasterPort observer.reconnectDelayMs
    observer.election.DelayMs leader.maxConcurrentSnapSyncs leader.maxConcurrentDiffSyncs multiAddress.enabled
    multiAddress.reachabilityCheckTimeoutMs multiAddress.reachabilityCheckEnabled quorum.auth.enableSasl
    quorum.auth.learnerRequireSasl quorum.auth.serverRequireSasl quorum.auth.learner.loginContext
    quorum.auth.server.loginContext quorum.cnxn.threads.size sslQuorum portUnification sslQuorumReloadCertFiles
    authProvider.1 authProvider.sasl DigestAuthenticationProvider.superDigest DigestAuthenticationProvider.digestAlg
    DigestAuthenticationProvider.enabled superUser superUser.a X509AuthenticationProvider.superUser
    IPAuthenticationProvider.usexforwardedfor sessionRequireClientSASLAuth enforce.auth.enabled enforce.auth.schemes
    allowSaslFailedClients letAnySaslUserDoX kerberos.removeHostFromPrincipal kerberos.removeRealmFromPrincipal
    kerberos.canonicalizeHostNames java.security.auth.login.config sasl.serverconfig ssl.keyStore.location
    ssl.keyStore.password ssl.keyStore.passwordPath ssl.keyStore.type ssl.trustStore.location ssl.trustStore.password
    ssl.trustStore.passwordPath ssl.trustStore.type ssl.protocol ssl.enabledProtocols ssl.ciphersuites ssl.clientAuth
    ssl.hostnameVerification ssl.clientHostnameVerification ssl.allowReverseDnsLookup ssl.crl ssl.ocsp
    ssl.handshakeDetectionTimeoutMillis client.portUnification client.certReload fips-mode ssl.quorum.keyStore.location
    ensembleAuthName admin.enableServer admin.serverAddress admin.serverPort admin.idleTimeout admin.commandURL
    admin.portUnification admin.forceHttps admin.needClientAuth admin.snapshot.enabled admin.restore.enabled
    admin.rateLimiterIntervalInMS metricsProvider.className metricsProvider.httpHost metricsProvider.httpPort
    metricsProvider.exportJvmInfo metricsProvider.numWorkerThreads metricsProvider.maxQueueSize
    metricsProvider.workerShutdownTimeoutMs jvm.pause.monitor jvm.pause.warn-threshold.ms version";

#[test]
fn every_key_of_the_reference_is_known_with_and_without_prefix() {
    for name in REFERENCE.split_whitespace() {
        assert!(keys::find(name).is_some(), "{name}");
        assert!(keys::find(&format!("zookeeper.{name}")).is_some(), "zookeeper.{name}");
    }
    assert!(keys::find("zookeeper.zookeeper.tickTime").is_none() && keys::find("ticktime").is_none());
}

#[test]
fn the_table_names_each_key_once_and_explains_it() {
    let mut seen = std::collections::HashMap::new();
    for key in keys::all() {
        assert!(!key.meaning.is_empty() && !key.default.is_empty(), "{}", key.name);
        let short = keys::squeeze(key.name.strip_prefix("zoarium.").unwrap_or(key.name));
        if let Some(other) = seen.insert(short, key.name) {
            panic!("{} and {other} are the same environment variable", key.name);
        }
    }
}

#[test]
fn every_key_is_found_as_an_environment_variable() {
    for key in keys::all().filter(|key| !key.name.ends_with(".X")) {
        let name = instance(key);
        let variable: String = name.chars().map(|c| if c == '.' { '_' } else { c.to_ascii_uppercase() }).collect();
        let found = keys::find_variable(&variable).unwrap_or_else(|| panic!("{variable}"));
        assert_eq!(found.name, name);
    }
}

#[test]
fn every_number_is_taken_at_its_bounds_and_refused_one_past_them() {
    let mut walked = 0;
    for key in keys::all() {
        let (min, max) = match &key.kind {
            KeyKind::Honoured(Set::Int { min, max, .. })
            | KeyKind::Kept(Set::Int { min, max, .. }, _)
            | KeyKind::Ensemble(Set::Int { min, max, .. }) => (i128::from(*min), i128::from(*max)),
            KeyKind::Honoured(Set::Size { min, max, .. }) => (i128::from(*min), i128::from(*max)),
            KeyKind::Honoured(Set::Lenient { min, max, .. }) | KeyKind::Kept(Set::Lenient { min, max, .. }, _) => {
                walked += 1;
                let taken = |value: i64| read(&[(key.name, &value.to_string())]).is_ok();
                assert!(taken(*min) && taken(*max), "{} takes {min} and {max}", key.name);
                continue;
            }
            _ => continue,
        };
        walked += 1;
        // What a bound clashes with elsewhere is not the question here.
        let taken = |value: i128| !matches!(read(&[(key.name, &value.to_string())]), Err(ConfigError::Value { .. }));
        assert!(taken(min) && taken(max), "{} takes {min} and {max}", key.name);
        for value in [(min - 1).to_string(), (max + 1).to_string(), "many".to_owned(), String::new()] {
            let text = error_of(&[(key.name, &value)]);
            let parts = [key.name, value.as_str(), "command line", &min.to_string(), &max.to_string()];
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
    assert!(walked > 50, "{walked}");
}

#[test]
fn every_honoured_key_changes_the_config() {
    let unchanged = read(&[]).unwrap().config;
    for key in keys::all() {
        let (KeyKind::Honoured(set) | KeyKind::Kept(set, _)) = &key.kind else { continue };
        let values: Vec<String> = match set {
            Set::Int { min, max, .. } | Set::Lenient { min, max, .. } => {
                vec![min.to_string(), (min + 1).to_string(), max.to_string()]
            }
            Set::Size { min, max, .. } => vec![min.to_string(), max.to_string()],
            Set::Bool(_) | Set::Property(_) => vec!["true".to_owned(), "false".to_owned()],
            _ => ["/x", "yes", "no", "*", "super:x", "SHA-256", "digest", "warn", "moving"].map(str::to_owned).to_vec(),
        };
        let changes = |value: &String| {
            let mut config = unchanged.clone();
            put_directly(&mut config, set, value);
            config != unchanged
        };
        // It decides together with another key.
        assert!(values.iter().any(changes) != (key.name == "enforce.auth.enabled"), "{}", key.name);
    }
}

fn put_directly(config: &mut Config, set: &Set, value: &str) {
    match set {
        Set::Int { set, .. } | Set::Lenient { set, .. } => set(config, value.parse().unwrap()),
        Set::Size { set, .. } => set(config, value.parse().unwrap()),
        Set::Bool(set) | Set::Property(set) => set(config, value == "true"),
        Set::Text { set, .. } | Set::Secret { set, .. } => {
            let _ = set(config, value);
        }
        Set::Numbered { .. } | Set::Keep => unreachable!("no honoured key is of these kinds"),
    }
}

#[test]
fn keys_without_effect_are_listed_in_one_note() {
    let loaded =
        read_file("clientPort=1\ndataDir=x\npreAllocSize=1\nadmin.serverPort=1\njute.maxbuffer=2000\n").unwrap();
    assert_eq!(loaded.notes.len(), 1);
    assert_eq!(loaded.notes[0].to_string(), "accepted without effect: preAllocSize, admin.serverPort");
    assert!(!loaded.notes[0].is_warning());
}

#[test]
fn without_a_file_it_is_the_embedded_default_on_loopback_with_no_limit_on_the_tree() {
    let config = read(&[]).unwrap().config;
    let limits = Limits { tree_bytes_max: None, ..Limits::default() };
    assert_eq!(config, Config { limits, ..Config::default() });
    assert_eq!(config.client_addresses().unwrap(), ["127.0.0.1:2181".parse().unwrap()]);
    assert_eq!(config.file(), PathBuf::from("./zoarium-data/zoarium.db"));
    assert_eq!((config.session_timeout_min_ms(), config.session_timeout_max_ms()), (6000, 60_000));
}

#[test]
fn settings_by_a_call_are_not_said_to_be_a_command_lines() {
    let called = |key: &str, value: &str| Config::read_called(None, &pairs(&[(key, value)])).and_then(Loaded::strict);
    assert_eq!(
        called("tickTme", "1").unwrap_err().to_string(),
        "unknown key tickTme (set by the program); did you mean tickTime?"
    );
    assert!(
        called("tickTime", "0").unwrap_err().to_string().starts_with("tickTime=0 (set by the program) is not accepted")
    );
    let text = read(&[("tickTme", "1")]).unwrap().strict().unwrap_err().to_string();
    assert_eq!(text, "unknown key tickTme (command line); did you mean tickTime?", "refused is not ignored");
}

#[test]
fn with_a_file_it_listens_everywhere_unless_told() {
    let config = read_file("clientPort=2182\ndataDir=/x\n").unwrap().config;
    assert_eq!(config.client_addresses().unwrap(), ["[::]:2182".parse().unwrap()]);
    for any in ["0.0.0.0", "::", "*"] {
        let config = read_file(&format!("clientPort=2182\nclientPortAddress={any}\n")).unwrap().config;
        assert!(config.client_hosts.is_empty(), "{any}");
    }
    let config = read_file("clientPort=2182\nclientPortAddress=127.0.0.1, [::1]\n").unwrap().config;
    let expected = ["127.0.0.1:2182".parse().unwrap(), "[::1]:2182".parse().unwrap()];
    assert_eq!(config.client_addresses().unwrap(), expected);
}

#[test]
fn the_command_line_beats_the_environment_which_beats_the_file() {
    let file = "tickTime=1\ndataDir=/file\nmaxClientCnxns=11\nclientPort=1\n";
    let env = [("ZOARIUM_TICKTIME", "2"), ("ZOARIUM_DATADIR", "/env"), ("HOME", "/"), ("ZOARIUM_MAXCLIENTCNXNS", "")];
    let loaded = load_all(file, &env, &[("zookeeper.tickTime", "3")]).unwrap();
    let config = &loaded.config;
    assert_eq!((config.tick_time_ms, config.max_client_cnxns), (3, 11), "an empty variable is not set");
    assert_eq!(config.data_dir, PathBuf::from("/env"));
    let tick = &loaded.settings[0];
    assert_eq!((tick.name.as_str(), &tick.origin, tick.overrides.len()), ("tickTime", &Origin::CommandLine, 2));
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
}

#[test]
fn a_bad_value_that_is_overridden_does_no_harm() {
    assert!(load_all("tickTime=x\nclientPort=1\ndataDir=x\n", &[], &[("tickTime", "2000")]).is_ok());
}

#[test]
fn properties_and_prefixed_keys_work_everywhere() {
    for key in ["jute.maxbuffer", "zookeeper.jute.maxbuffer"] {
        let text = format!("clientPort=1\n{key}=0x1fffff\n");
        assert_eq!(read_file(&text).unwrap().config.jute_maxbuffer, 0x1f_ffff);
        assert_eq!(read(&[(key, "2000000")]).unwrap().config.jute_maxbuffer, 2_000_000);
    }
    let config = load_all("clientPort=1\nreadonlymode.enabled=true\n", &[("ZOARIUM_JUTE_MAXBUFFER", "4096")], &[])
        .unwrap()
        .config;
    assert!(config.read_only_mode);
    assert_eq!(config.jute_maxbuffer, 4096);
    let env = [("ZOARIUM_FILE", "/x.db"), ("ZOARIUM_CLIENT_PORT", "7"), ("ZOARIUM_ZOARIUM_SLICEMS", "9")];
    let config = load_all("", &env, &[]).unwrap().config;
    assert_eq!((config.file(), config.client_port, config.limits.slice_ms), (PathBuf::from("/x.db"), 7, 9));
}

#[test]
fn later_duplicates_win_and_differing_ones_are_noted() {
    let loaded = read_file("clientPort=1\ndataDir=/x\ntickTime=5\nzookeeper.tickTime=6\ntickTime=6\n").unwrap();
    assert_eq!(loaded.config.tick_time_ms, 6);
    assert_eq!(loaded.notes.len(), 1, "{:?}", loaded.notes);
    assert!(matches!(&loaded.notes[0], Note::Repeated { key, .. } if key == "tickTime"));
}

#[test]
fn a_typo_hears_the_nearest_key_and_is_refused_when_strict() {
    let check = |typo: &str, expected: Option<&str>| {
        let loaded = read(&[(typo, "1")]).unwrap();
        let [Note::Unknown { key, nearest, .. }] = loaded.notes.as_slice() else { panic!("{:?}", loaded.notes) };
        assert_eq!((key.as_str(), *nearest), (typo, expected));
        let error = loaded.strict().expect_err("strict refuses").to_string();
        assert!(error.contains(typo), "{error}");
    };
    check("tickTme", Some("tickTime"));
    check("clientport", Some("clientPort"));
    check("zookeeper.maxClientConns", Some("maxClientCnxns"));
    check("zoarium.sliceMS", Some("zoarium.sliceMs"));
    check("server.one", Some("server.N"));
    check("completely.elsewhere.setting", None);
    let loaded = load_all("", &[("ZOARIUM_TIKTIME", "1")], &[]).unwrap();
    assert!(loaded.notes.iter().any(|note| matches!(note, Note::Unknown { nearest: Some("tickTime"), .. })));
    assert!(read(&[("tickTime", "1")]).unwrap().strict().is_ok());
}

#[test]
fn booleans_are_read_as_zookeeper_reads_them() {
    // A key of the parser: true or false, nothing else.
    assert!(read(&[("reconfigEnabled", "TRUE")]).unwrap().config.reconfig_enabled);
    assert!(error_of(&[("reconfigEnabled", "yes")]).contains("true or false"));
    // A system property: anything but true is false, and somebody says so.
    let loaded = read(&[("enforceQuota", "yes")]).unwrap();
    assert!(!loaded.config.enforce_quota);
    assert!(loaded.notes[0].to_string().contains("enforceQuota=yes"), "{:?}", loaded.notes);
    assert!(read(&[("enforceQuota", "True")]).unwrap().config.enforce_quota);
    // yes and no.
    assert!(!read(&[("forceSync", "no")]).unwrap().config.force_sync);
    assert!(error_of(&[("forceSync", "true")]).contains("yes or no"));
    assert!(read(&[("skipACL", "yes")]).unwrap().config.skip_acl);
}

#[test]
fn what_would_silently_weaken_security_is_refused() {
    let text = error_of(&[("sessionRequireClientSASLAuth", "true")]);
    assert!(text.contains("sessionRequireClientSASLAuth=true") && text.contains("SASL"), "{text}");
    assert!(read(&[("sessionRequireClientSASLAuth", "false")]).is_ok());
    assert!(error_of(&[("enforce.auth.enabled", "true")]).contains("enforce.auth.schemes"));
    error_of(&[("enforce.auth.enabled", "true"), ("enforce.auth.schemes", "sasl")]);
    error_of(&[("enforce.auth.enabled", "true"), ("enforce.auth.schemes", "digest,magic")]);
    let off = ("DigestAuthenticationProvider.enabled", "false");
    error_of(&[("enforce.auth.enabled", "true"), ("enforce.auth.schemes", "digest"), off]);
    let config = read(&[("enforce.auth.enabled", "true"), ("enforce.auth.schemes", "sasl, digest")]).unwrap().config;
    assert_eq!(config.enforce_auth_schemes, ["sasl", "digest"]);
    assert!(read(&[("enforce.auth.schemes", "digest")]).unwrap().config.enforce_auth_schemes.is_empty());
    assert!(error_of(&[("DigestAuthenticationProvider.digestAlg", "WHIRLPOOL")]).contains("SHA3-512"));
}

#[test]
fn a_tls_port_beside_a_plain_one_is_a_warning_and_alone_an_error() {
    let loaded =
        read_file("clientPort=2181\nsecureClientPort=2281\ndataDir=/x\nclient.portUnification=false\n").unwrap();
    assert_eq!(loaded.config.secure_client_port, Some(2281));
    let warnings: Vec<String> = loaded.notes.iter().filter(|note| note.is_warning()).map(Note::to_string).collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("secureClientPort") && warnings[0].contains("not served yet"), "{warnings:?}");
    let error = read_file("secureClientPort=2281\ndataDir=/x\n").unwrap_err().to_string();
    assert!(error.contains("secureClientPort is the only client port"), "{error}");
}

#[test]
fn secrets_are_never_shown() {
    let digest = "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=";
    let loaded =
        read(&[("zookeeper.DigestAuthenticationProvider.superDigest", digest), ("ssl.keyStore.password", "pw-1")]);
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config.super_digest.as_ref().map(Secret::expose), Some(digest));
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("xQJm") && !shown.contains("pw-1"), "{shown}");
    let error = error_of(&[("DigestAuthenticationProvider.superDigest", "no-colon-secret")]);
    assert!(error.contains("***") && !error.contains("secret"), "{error}");
}

#[test]
fn an_error_names_key_value_origin_and_range() {
    let folder = Folder::new();
    let file = folder.write("zoo.cfg", "# first\ntickTime=0\n");
    let error = Config::load(Some(&file), &[], std::iter::empty()).unwrap_err().to_string();
    let expected =
        format!("tickTime=0 ({}:2) is not accepted; allowed: a whole number from 1 to 2147483647", file.display());
    assert_eq!(error, expected);
    let missing = Config::load(Some(&folder.0.join("none.cfg")), &[], std::iter::empty()).unwrap_err();
    assert!(missing.to_string().contains("none.cfg"), "{missing}");
    assert!(read_file("tickTime=\\u00zz\n").unwrap_err().to_string().contains("zoo.cfg:1"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for given in [
        &[("minSessionTimeout", "5000"), ("maxSessionTimeout", "4999")][..],
        &[("maxSessionTimeout", "1")],
        &[("zoarium.outputSoftMax", "8M"), ("zoarium.outputHardMax", "4M")],
        &[("zoarium.fileSizeInitial", "1G"), ("zoarium.fileSizeMax", "512M")],
        &[("zoarium.fileSizeMax", "64M"), ("zoarium.extentSize", "16M")],
        &[("zoarium.extentSize", "5M")],
    ] {
        assert!(matches!(read(given), Err(ConfigError::Conflict(_))), "{given:?}");
    }
    assert!(read_file("clientPortAddress=127.0.0.1\n").is_err());
}

#[test]
fn one_participant_is_standalone_and_its_client_port_counts() {
    let line = "dataDir=/x\nserver.1=localhost:2888:3888;127.0.0.1:2345\n";
    let config = read_file(line).unwrap().config;
    assert_eq!((config.client_port, config.client_hosts.as_slice()), (2345, &["127.0.0.1".to_owned()][..]));
    assert!(read_file(&format!("{line}clientPort=2345\n")).is_ok());
    assert!(matches!(read_file(&format!("{line}clientPort=2346\n")), Err(ConfigError::Conflict(_))));
    assert!(read_file("dataDir=/x\nclientPort=7\nserver.1=localhost:2888:3888\n").is_ok());
}

#[test]
fn an_ensemble_is_loaded() {
    let text = "clientPort=1\ndataDir=/x\ninitLimit=10\nsyncLimit=5\nzoarium.serverId=2\n\
        server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\n";
    let loaded = read_file(text).unwrap();
    assert_eq!(loaded.config.server_id, ServerId(2));
    let ensemble = &loaded.config.ensemble;
    assert_eq!((ensemble.count(Role::Participant), ensemble.count(Role::Observer)), (2, 1));
    assert!(!ensemble.is_standalone());
    let single = "clientPort=1\ndataDir=/x\ninitLimit=10\nsyncLimit=5\nstandaloneEnabled=false\nserver.1=a:1:2\n";
    let single = read_file(&format!("{single}zoarium.serverId=1\n")).unwrap().config;
    assert!(!single.ensemble.is_standalone());
    assert!(read(&[]).unwrap().config.ensemble.is_standalone());
}

const THREE: [(&str, &str); 7] = [
    ("dataDir", "/nowhere/x"),
    ("initLimit", "10"),
    ("syncLimit", "5"),
    ("zoarium.serverId", "1"),
    ("server.1", "a:1:2"),
    ("server.2", "b:1:2"),
    ("server.3", "c:1:2"),
];

#[test]
fn what_an_ensemble_lacks_is_told_when_it_starts_and_not_of_single_settings() {
    for (without, told) in [
        ("initLimit", "initLimit is needed"),
        ("syncLimit", "syncLimit is needed"),
        ("zoarium.serverId", "write it into /nowhere/x/myid or set zoarium.serverId"),
        ("server.1", "no line server.1"),
    ] {
        let given: Vec<(&str, &str)> = THREE.iter().copied().filter(|(key, _)| *key != without).collect();
        let error = start(&given).expect_err(without).to_string();
        assert!(error.contains(told), "{error}");
        assert!(read(&given).is_ok(), "{without}");
    }
    assert!(start(&THREE).is_ok());
    let observers = [("server.1", "a:1:2:observer"), ("server.2", "a:1:2:observer")];
    let given = [&THREE[..4], &observers].concat();
    assert!(matches!(start(&given), Err(ConfigError::Conflict(text)) if text.contains("observers only")));
    for pair in observers {
        assert!(read(&[pair]).is_ok(), "each line may be set by itself");
    }
}

#[test]
fn what_servers_cannot_do_for_each_other_is_refused_in_a_sentence_and_only_in_an_ensemble() {
    for (key, value, told) in [
        ("sslQuorum", "true", "TLS between servers"),
        ("quorum.auth.enableSasl", "TRUE", "authenticate"),
        ("quorum.auth.serverRequireSasl", "true", "authenticate"),
        ("quorum.auth.learnerRequireSasl", "true", "authenticate"),
        ("observerMasterPort", "2191", "observers"),
        ("oraclePath", "/x", "three servers"),
    ] {
        let error = start(&[&THREE[..], &[(key, value)]].concat()).expect_err(key);
        assert!(matches!(error, ConfigError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(told) && error.to_string().contains(key), "{error}");
        assert!(start(&[(key, value)]).is_ok(), "a server alone has nobody to say it to");
    }
    for (key, value) in [("sslQuorum", "false"), ("observerMasterPort", "0"), ("quorum.auth.enableSasl", "false")] {
        assert!(start(&[&THREE[..], &[(key, value)]].concat()).is_ok(), "{key}");
    }
}

#[test]
fn with_groups_every_voter_is_in_exactly_one() {
    let groups = |lines: &[(&str, &str)]| start(&[&THREE[..], lines].concat()).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(groups(&[("group.1", "1:2"), ("group.2", "3:7")]), Ok(()));
    assert!(groups(&[("group.1", "1:2")]).unwrap_err().contains("server 3 votes and is in no group"));
    assert!(groups(&[("group.1", "1:2"), ("group.2", "2:3")]).unwrap_err().contains("in group.1 and in group.2"));
    let observer = [("group.1", "1:2"), ("server.3", "c:1:2:observer")];
    assert_eq!(groups(&observer), Ok(()), "who has no vote needs none");
}

#[test]
fn keys_of_an_ensemble_are_honoured_there_and_say_so_nowhere_else() {
    let fate = |loaded: &Loaded, name: &str| loaded.settings.iter().find(|setting| setting.name == name).unwrap().fate;
    let extra = [("cnxTimeout", "700"), ("leaderServes", "no"), ("quorumListenOnAllIPs", "true")];
    let three = start(&[&THREE[..], &extra].concat()).unwrap();
    let ensemble = &three.config.ensemble;
    assert!(ensemble.cnx_timeout_ms == 700 && ensemble.listen_on_all && ensemble.bind_tries == 3);
    for name in ["server.1", "initLimit", "cnxTimeout", "quorumListenOnAllIPs"] {
        assert_eq!(fate(&three, name), Fate::Honoured, "{name}");
    }
    assert_eq!(fate(&three, "leaderServes"), Fate::WithoutEffect);
    let alone = start(&[("initLimit", "10"), ("cnxTimeout", "700")]).unwrap();
    assert_eq!((fate(&alone, "initLimit"), fate(&alone, "cnxTimeout")), (Fate::Ensemble, Fate::Ensemble));
    for (value, tries) in [("0", 0), ("-1", 3), ("7", 7)] {
        assert_eq!(start(&[("electionPortBindRetry", value)]).unwrap().config.ensemble.bind_tries, tries);
    }
}

#[test]
fn in_an_ensemble_the_own_line_says_where_clients_connect() {
    let lines = [("server.1", "a:1:2;127.0.0.1:2345"), ("server.2", "b:1:2;2346")];
    let two = |extra: &[(&str, &str)]| start(&[&THREE[..4], &lines, extra].concat());
    let config = two(&[]).unwrap().config;
    assert_eq!((config.client_port, config.client_hosts.as_slice()), (2345, &["127.0.0.1".to_owned()][..]));
    assert!(two(&[("clientPort", "2346")]).is_err(), "the lines contradict each other");
}

#[test]
fn members_that_may_change_have_room_in_the_data_file() {
    let host = "a".repeat(200);
    let lines: Vec<(String, String)> =
        (1..=10).map(|id| (format!("server.{id}"), format!("{host}{id}:2888:3888"))).collect();
    let ten: Vec<(&str, &str)> = lines.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let rest = [("dataDir", "/x"), ("initLimit", "1"), ("syncLimit", "1"), ("zoarium.serverId", "1")];
    assert!(start(&[&ten[..], &rest].concat()).is_ok());
    let changing = [&rest[..], &[("reconfigEnabled", "true")]].concat();
    assert!(start(&[&ten[..6], &changing].concat()).is_ok());
    let refused = start(&[&ten[..], &changing].concat()).unwrap_err().to_string();
    assert!(refused.contains("reconfigEnabled=true 1856 is the limit"), "{refused}");
}

#[test]
fn the_dynamic_file_holds_the_membership_and_nothing_else() {
    let folder = Folder::new();
    let read = |fixed: &str, dynamic: &str| {
        let path = folder.write("zoo.cfg.dynamic", dynamic);
        let text = format!("clientPort=2345\ndataDir=/x\ndynamicConfigFile={}\n{fixed}", path.display());
        Config::read(Some(&folder.write("zoo.cfg", &text)), &[], std::iter::empty())
    };
    let loaded = read("", "server.1=localhost:2888:3888:participant;2345\nversion=100000002\n").unwrap();
    assert_eq!(loaded.config.ensemble.version, Some(0x1_0000_0002));
    assert_eq!(loaded.config.ensemble.servers.len(), 1);
    assert!(matches!(&loaded.settings[3].origin, Origin::File(path, 1) if path.ends_with("zoo.cfg.dynamic")));
    assert!(matches!(read("", "tickTime=1\n"), Err(ConfigError::Syntax { .. })));
    assert!(matches!(read("server.2=a:1:2\n", "server.1=a:1:2\n"), Err(ConfigError::Conflict(_))));
    let none = folder.write("zoo.cfg", "dynamicConfigFile=/nowhere/zoo.cfg.dynamic\n");
    assert!(matches!(Config::read(Some(&none), &[], std::iter::empty()), Err(ConfigError::Read { .. })));
}

#[test]
fn the_number_is_that_of_myid_or_is_set_and_both_must_agree() {
    let folder = Folder::new();
    let data = folder.0.display().to_string();
    let alone = [("dataDir", data.as_str())];
    let two = [("server.1", "a:1:2"), ("server.255", "b:1:2"), ("initLimit", "1"), ("syncLimit", "1"), alone[0]];
    let id = |given: &[(&str, &str)]| start(given).map(|loaded| (loaded.config.server_id.0, loaded.notes.len()));
    assert_eq!(id(&alone), Ok((0, 0)));
    assert!(matches!(id(&two), Err(ConfigError::Conflict(_))), "nothing says which one it is");
    let set = ("zoarium.serverId", "255");
    assert_eq!(id(&[&two[..], &[set]].concat()), Ok((255, 0)));
    folder.write("myid", "255\nsecond line\n");
    assert_eq!((id(&alone), id(&two)), (Ok((255, 0)), Ok((255, 0))));
    assert_eq!(id(&[&two[..], &[set]].concat()), Ok((255, 0)));
    assert!(matches!(id(&[&two[..], &[("zoarium.serverId", "1")]].concat()), Err(ConfigError::Conflict(_))));
    assert_eq!(id(&[alone[0], ("extendedTypesEnabled", "true")]), Ok((0, 1)));
    for text in ["", "replace this text", "-1", "256"] {
        folder.write("myid", text);
        assert_eq!(id(&alone), Ok((0, 1)), "{text:?}");
        assert!(matches!(id(&two), Err(ConfigError::Value { .. })), "{text:?}");
    }
    folder.write("myid", "7");
    assert!(matches!(id(&two), Err(ConfigError::Conflict(_))), "there is no server.7");
}

#[test]
fn the_whitelist_is_absent_unless_named() {
    assert_eq!(read(&[]).unwrap().config.whitelist, Whitelist::default());
    assert_eq!(read(&[("4lw.commands.whitelist", "*")]).unwrap().config.whitelist, Whitelist::All);
    assert_eq!(read(&[("4lw.commands.whitelist", "")]).unwrap().config.whitelist, Whitelist::Only(vec![]));
}

#[test]
fn limits_of_zookeeper_win_over_ours_where_given() {
    let config = read(&[]).unwrap().config;
    assert_eq!((config.connections_max(), config.requests_max()), (10_000, 10_000));
    assert_eq!(config.limits.sessionless_max(config.connections_max()), 2500);
    let config = read(&[("maxCnxns", "20000"), ("globalOutstandingLimit", "500")]).unwrap().config;
    assert_eq!((config.connections_max(), config.requests_max()), (20_000, 500));
}
