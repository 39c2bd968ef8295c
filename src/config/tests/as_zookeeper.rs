//! What a start does that ZooKeeper was asked about: each value here was tried with Apache ZooKeeper 3.9.5.

use super::*;

#[test]
fn numbers_that_are_properties_of_java_never_keep_a_server_from_starting() {
    // As Apache ZooKeeper 3.9.5 started with each kind of value: too small, too large, no number.
    let mut walked = 0;
    for key in keys::all() {
        let (KeyKind::Honoured(Set::Lenient { min, max, .. })
        | KeyKind::Ensemble(Set::Lenient { min, max, .. })
        | KeyKind::Kept(Set::Lenient { min, max, .. }, _)) = &key.kind
        else {
            continue;
        };
        walked += 1;
        let taken = |value: &str| {
            let loaded = read(&[(key.name, value)]).unwrap_or_else(|error| panic!("{}={value}: {error}", key.name));
            let remark = |note: &&Note| matches!(note, Note::Remark(text) if text.contains("out of range") || text.contains("no number"));
            (loaded.config, loaded.notes.iter().filter(remark).map(Note::to_string).collect::<Vec<_>>())
        };
        let (least, most) = (taken(&min.to_string()), taken(&max.to_string()));
        assert_eq!((least.1.len(), most.1.len()), (0, 0), "{}", key.name);
        for (value, as_if) in [(min - 1, &least.0), (i64::from(i32::MIN), &least.0), (max.saturating_add(1), &most.0)] {
            let (config, remarks) = taken(&value.to_string());
            assert_eq!(&config, as_if, "{}={value}", key.name);
            assert_eq!(remarks.len(), usize::from(value != *max), "{}={value}: {remarks:?}", key.name);
        }
        for value in ["many", ""] {
            let (config, remarks) = taken(value);
            assert_eq!(config, read(&[]).unwrap().config, "{}={value}", key.name);
            assert!(remarks.len() == 1 && remarks[0].contains("no number"), "{remarks:?}");
        }
    }
    assert!(walked >= 12, "{walked}");
}

#[test]
fn values_that_zookeeper_starts_with_start_us() {
    // Each was tried with Apache ZooKeeper 3.9.5.
    let config = |given: &[(&str, &str)]| read(given).unwrap_or_else(|error| panic!("{given:?}: {error}")).config;
    assert_eq!(config(&[("maxClientCnxns", "-1")]).max_client_cnxns, 0, "no limit");
    assert_eq!(config(&[("maxCnxns", "-1")]).connections_max(), 10_000, "no limit but our own");
    assert_eq!(config(&[("snapCount", "1")]).snap_count, 2, "as ZooKeeper does");
    assert_eq!(config(&[("globalOutstandingLimit", "0")]).requests_max(), 1);
    assert_eq!(config(&[("jute.maxbuffer", "100")]).jute_maxbuffer, 100);
    assert_eq!(config(&[("jute.maxbuffer", "0")]).jute_maxbuffer, 45, "a handshake");
    assert_eq!(config(&[("nio.sessionlessCnxnTimeout", "4000")]).limits.handshake_timeout_ms, 4000);
    let both = [("zoarium.handshakeTimeoutMs", "3000"), ("nio.sessionlessCnxnTimeout", "4000")];
    assert_eq!(config(&both).limits.handshake_timeout_ms, 3000, "ours is the more precise name");
    assert_eq!(config(&[("minSessionTimeout", "-2")]).session_timeout_min_ms(), 0);
    assert_eq!(config(&[("minSessionTimeout", "-1")]).session_timeout_min_ms(), 6000);
    let zone = config(&[("clientPortAddress", "0:0:0:0:0:0:0:1%lo"), ("clientPort", "1")]);
    assert_eq!(zone.client_addresses().unwrap()[0].ip(), "::1".parse::<std::net::IpAddr>().unwrap());
    assert!(config(&[("clientPortAddress", "::1%nosuch")]).client_addresses().is_err(), "nor does ZooKeeper start");
    for name in ["initLimit", "syncLimit", "connectToLearnerMasterLimit"] {
        assert_eq!(config(&[(name, "0")]).ensemble, EnsembleSettings::default());
    }
    for name in ["SHA1", "SHA-256", "sha-512", "SHA3-256", "MD5", "SHA-512/256"] {
        let alg = config(&[("DigestAuthenticationProvider.digestAlg", name)]).digest_alg;
        assert!(alg.to_string().eq_ignore_ascii_case(name), "{alg}");
    }
}

#[test]
fn a_file_that_does_not_say_where_the_data_lies_is_refused() {
    let folder = Folder::new();
    let load = |text: &str, given: &[(&str, &str)], env: &[(&str, &str)]| {
        let file = folder.write("zoo.cfg", text);
        Config::load(Some(&file), &pairs(given), pairs(env).into_iter())
    };
    let error = |text: &str| load(text, &[], &[]).expect_err(text).to_string();
    assert!(error("clientPort=1\n").contains("dataDir is not set in"));
    for typo in ["datadir", "dataDri", "dataDirr", "DATADIR", "data.dir", "zookeeper.datadir"] {
        let text = error(&format!("clientPort=1\n{typo}=/x\n"));
        assert!(text.contains("zoo.cfg:2") && text.contains(&format!("says {typo}, did you mean dataDir?")), "{text}");
    }
    // What else is wrong comes first: it may be the reason.
    assert!(error("tickTime=x\n").contains("tickTime=x"));
    assert!(load("clientPort=1\n", &[("dataDir", "/x")], &[]).is_ok());
    assert!(load("clientPort=1\n", &[], &[("ZOARIUM_DATADIR", "/x")]).is_ok());
    assert!(load("clientPort=1\nzoarium.file=/x/y.db\n", &[], &[]).is_ok());
}

#[test]
fn zookeepers_own_data_is_found_where_an_empty_tree_would_be_served() {
    let (data, logs, other) = (Folder::new(), Folder::new(), Folder::new());
    let (data_dir, log_dir) = (data.0.display().to_string(), logs.0.display().to_string());
    let found = |extra: &[(&str, &str)]| {
        let mut given = vec![("dataDir", data_dir.as_str()), ("dataLogDir", log_dir.as_str())];
        given.extend_from_slice(extra);
        read(&given).unwrap().config.zookeeper_data()
    };
    assert_eq!(found(&[]), None);
    for folder in [&data, &logs] {
        let version = folder.0.join("version-2");
        std::fs::create_dir(&version).unwrap();
        for harmless in ["acceptedEpoch", "currentEpoch", ".snapshot.tmp"] {
            std::fs::write(version.join(harmless), "1").unwrap();
        }
        assert_eq!(found(&[]), None, "epochs alone are no data");
        for name in ["log.1", "snapshot.0", "snapshot.1a.gz"] {
            std::fs::write(version.join(name), "").unwrap();
            assert_eq!(found(&[]), Some(version.clone()), "{name}");
            assert_eq!(found(&[("zoarium.ignoreZooKeeperData", "true")]), None);
            std::fs::remove_file(version.join(name)).unwrap();
        }
    }
    std::fs::write(logs.0.join("version-2/log.1"), "").unwrap();
    let file = other.write("zoarium.db", "");
    let file = file.display().to_string();
    assert!(found(&[("zoarium.file", &file)]).is_some(), "an empty file is no tree");
    std::fs::write(&file, "something").unwrap();
    assert_eq!(found(&[("zoarium.file", &file)]), None, "what is in it is not for the configuration to judge");
}

#[test]
fn a_myid_that_no_line_names_does_not_get_another_servers_port() {
    // Apache ZooKeeper 3.9.5 goes by clientPort then, and without it runs and listens nowhere.
    let folder = Folder::new();
    let data = folder.0.display().to_string();
    let load = |lines: &str| {
        let file = folder.write("zoo.cfg", &format!("dataDir={data}\n{lines}\n"));
        Config::load(Some(&file), &[], std::iter::empty())
    };
    let line = "server.1=127.0.0.1:2888:3888;127.0.0.1:2345";
    assert_eq!(load(line).unwrap().config.client_port, 2345, "without a myid nothing speaks against it");
    folder.write("myid", "1\n");
    assert_eq!(load(line).unwrap().config.client_port, 2345);
    folder.write("myid", "7\n");
    let text = load(line).unwrap_err().to_string();
    assert!(text.contains("is 7") && text.contains("no line server.7") && text.contains(&data), "{text}");
    let loaded = load(&format!("{line}\nclientPort=2346\nclientPortAddress=127.0.0.1")).unwrap();
    assert_eq!((loaded.config.client_port, loaded.notes.len()), (2346, 1), "{:?}", loaded.notes);
    assert!(load("server.1=127.0.0.1:2888:3888").is_err(), "no port for clients is named at all");
    assert!(matches!(
        load(&format!("{line}\nstandaloneEnabled=false\ninitLimit=1\nsyncLimit=1")),
        Err(ConfigError::Conflict(_))
    ));
}
