//! Configuration files as they are found in production start us unedited, or say "not yet".

use std::path::PathBuf;

use zoarium::config::{Config, ConfigError, Loaded, Note, Role};
use zoarium::ids::ServerId;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/zoo_cfg").join(name)
}

fn load(name: &str) -> Result<Loaded, ConfigError> {
    Config::load(Some(&path(name)), &[], std::iter::empty())
}

/// Reads a file without the start, and without the `myid` that this machine may have in that data folder.
fn read(name: &str) -> Loaded {
    let elsewhere = [("dataDir".to_owned(), "/nowhere/zookeeper".to_owned())];
    Config::read(Some(&path(name)), &elsewhere, std::iter::empty()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files that name an ensemble: participants and observers.
const ENSEMBLES: &[(&str, usize, usize)] = &[
    ("clickhouse.cfg", 3, 0),
    ("confluent-ensemble.cfg", 3, 0),
    ("curator-observer.cfg", 3, 1),
    ("hbase.cfg", 3, 1),
    ("ipv6-groups.cfg", 5, 0),
    ("k8s-operator.cfg", 2, 1),
    ("solr.cfg", 3, 0),
];

const STANDALONE: &[&str] = &[
    "apache-sample.cfg",
    "bitnami-container.cfg",
    "debian-package.cfg",
    "docker-library.cfg",
    "hardened-tls.cfg",
    "kafka-quickstart.cfg",
    "kazoo-harness.cfg",
];

#[test]
fn every_file_is_in_one_of_the_lists() {
    let mut found: Vec<String> = std::fs::read_dir(path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".cfg"))
        .collect();
    let mut listed: Vec<String> =
        STANDALONE.iter().copied().chain(ENSEMBLES.iter().map(|(name, ..)| *name)).map(str::to_owned).collect();
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
}

#[test]
fn standalone_files_start_us_and_no_key_is_unknown() {
    for name in STANDALONE {
        let loaded = load(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let loaded = loaded.strict().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(loaded.config.client_port != 0, "{name}");
        assert!(loaded.config.data_dir.is_absolute(), "{name}");
    }
}

#[test]
fn ensemble_files_start_us_once_the_server_has_its_number() {
    for (name, participants, observers) in ENSEMBLES {
        let ensemble = &read(name).strict().unwrap_or_else(|error| panic!("{name}: {error}")).config.ensemble;
        assert_eq!(ensemble.count(Role::Participant), *participants, "{name}");
        assert!(ensemble.init_limit.is_some() && ensemble.sync_limit.is_some(), "{name}");
        let here = |id: &str| {
            let given = [("dataDir", "/nowhere/zookeeper"), ("zoarium.serverId", id)];
            let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
            Config::load(Some(&path(name)), &given, std::iter::empty())
        };
        if *name == "curator-observer.cfg" {
            // It asks for TLS between the servers.
            let error = here("1").unwrap_err().to_string();
            assert!(error.starts_with("sslQuorum=true") && error.contains("is refused"), "{error}");
            continue;
        }
        let first = ensemble.servers.keys().next().unwrap();
        let config = here(&first.to_string()).unwrap_or_else(|error| panic!("{name}: {error}")).config;
        let observers_read = config.ensemble.count(Role::Observer);
        assert!(observers_read == *observers && !config.ensemble.is_standalone(), "{name}");
        assert!(here("99").unwrap_err().to_string().contains("no line server.99"), "{name}");
    }
}

#[test]
fn the_harness_of_kazoo_hears_that_tls_is_missing_and_gets_what_it_asks_for() {
    let loaded = load("kazoo-harness.cfg").unwrap();
    let config = &loaded.config;
    assert_eq!((config.client_port, config.max_client_cnxns, config.tick_time_ms), (20_000, 0, 2000));
    assert!(config.client_hosts.is_empty() && config.reconfig_enabled);
    let warnings: Vec<String> = loaded.notes.iter().filter(|note| note.is_warning()).map(Note::to_string).collect();
    assert!(warnings.iter().any(|text| text.starts_with("secureClientPort") && text.contains("not served yet")));
    assert!(!format!("{loaded:?}").contains("apassword"));
}

#[test]
fn values_arrive_where_they_belong() {
    let config = load("hardened-tls.cfg").unwrap().config;
    assert_eq!(config.client_hosts, ["127.0.0.1"]);
    assert_eq!(config.enforce_auth_schemes, ["digest"]);
    assert_eq!((config.secure_client_port, config.fsync_warning_ms), (Some(2281), 50));
    assert!(config.enforce_quota && config.extended_types_enabled && config.super_digest.is_some());
    let config = load("bitnami-container.cfg").unwrap().config;
    assert_eq!((config.client_port, config.session_timeout_max_ms()), (2181, 40_000));

    let read = |name| read(name).config;
    assert_eq!(read("hbase.cfg").jute_maxbuffer, 4 << 20);
    assert_eq!(read("solr.cfg").jute_maxbuffer, 0x9f_ffff);
    let groups = read("ipv6-groups.cfg").ensemble;
    assert_eq!(groups.groups[&2], [ServerId(3), ServerId(4)]);
    assert_eq!(groups.servers[&ServerId(5)].addresses[0].host, "2001:db8:0:3::1");
    assert_eq!(read("curator-observer.cfg").ensemble.peer_type, Role::Observer);
    assert_eq!(read("k8s-operator.cfg").ensemble.version, Some(0x1_0000_0000));
}
