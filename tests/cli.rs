//! The command line as a user meets it: exit codes, messages, help.
#![cfg(feature = "cli")]

use std::process::{Command, Output};

/// Runs `zoarium` in a folder without settings of its own, with an environment that has none.
fn zoarium(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoarium"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ZOARIUM_") {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().expect("the binary runs")
}

fn check(arguments: &[&str], code: i32, expected: &[&str]) {
    let output = zoarium(arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?} said {text}");
    for part in expected {
        assert!(text.contains(part), "{part:?} is missing for {arguments:?} in {text}");
    }
    assert!(!text.contains('\x1b'), "no colours where there is no terminal: {text}");
}

#[test]
fn help_teaches_by_examples() {
    check(
        &["--help"],
        0,
        &["Examples:", "Exit codes: 0 done, 1 refused, 2 wrong usage or configuration, 3 no connection"],
    );
    check(&["check", "--help"], 0, &["Examples:", "zoarium check zoo.cfg"]);
    check(&["dev", "--help"], 0, &["Examples:", "zoarium dev --peers 3", "What to try:"]);
    check(&["--version"], 0, &[env!("CARGO_PKG_VERSION")]);
    check(&[], 2, &["Usage:"]);
    check(&["chekc"], 2, &["check"]);
}

#[test]
fn check_explains_each_setting_and_where_it_came_from() {
    let file = "tests/zoo_cfg/kafka-quickstart.cfg";
    check(
        &["check", file, "-Dzookeeper.tickTime=500", "--port", "2182"],
        0,
        &[
            "every address, port 2182",
            "dataDir=/tmp/zookeeper",
            "from tests/zoo_cfg/kafka-quickstart.cfg:2",
            "clientPort=2182",
            "from command line, instead of tests/zoo_cfg/kafka-quickstart.cfg:3",
            "without effect",
            "Good:",
        ],
    );
    check(&["check", "--all"], 0, &["none: the embedded default", "127.0.0.1, port 2181", "jute.maxbuffer=1048575"]);
}

#[test]
fn check_lists_every_key_that_a_program_may_set() {
    let keys: Vec<String> = zoarium::Config::keys().map(|key| key.name.to_owned()).collect();
    assert!(keys.len() > 100, "{}", keys.len());
    check(&["check", "--all"], 0, &keys.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_typo_hears_the_nearest_key_and_strict_refuses_it() {
    check(&["check", "-DtickTme=1"], 0, &["unknown key tickTme", "did you mean tickTime?"]);
    check(&["check", "-DtickTme=1", "--strict"], 2, &["did you mean tickTime?"]);
}

#[test]
fn a_wrong_configuration_ends_with_2_and_an_ensemble_with_1() {
    check(&["check", "-DtickTime=0"], 2, &["error: tickTime=0 (command line) is not accepted", "from 1 to"]);
    check(&["check", "nowhere/zoo.cfg"], 2, &["cannot read nowhere/zoo.cfg"]);
    check(&["check", "-D", "tickTime"], 2, &["KEY=VALUE"]);
    let file = "tests/zoo_cfg/solr.cfg";
    let id = "-Dzoarium.serverId=1";
    check(&["check", file, id, "-DdataDir=/nowhere/x"], 0, &["3 participants, 0 observers", "Good:"]);
    check(&["check", file, "-DdataDir=/nowhere/x"], 1, &["Refused:", "/nowhere/x/myid or set zoarium.serverId"]);
    check(&["check", file, id, "-DsslQuorum=true"], 1, &["Refused: sslQuorum=true (command line) is refused", "TLS"]);
}

#[test]
fn check_explains_values_above_their_defaults_and_what_they_bring_about() {
    check(
        &["check", "-Djute.maxbuffer=0x1000000", "-DmaxClientCnxns=10", "-Dzoarium.fileSizeMax=8G"],
        0,
        &[
            "a new file in units of 67108864 (zoarium.extentSize; raised from 4194304, because jute.maxbuffer",
            "(default 1048575, this is above it)",
            "(default 60, this is below it)",
            "(default 6G, this is above it)",
        ],
    );
    // ZooKeeper's default is not ours where the key is absent: what counts then is named.
    check(&["check", "-DglobalOutstandingLimit=2000"], 0, &["(default zoarium.requestsMax)"]);
    check(&["check", "-DmaxCnxns=2000000000"], 0, &["although maxCnxns allows 2000000000"]);
}

#[test]
fn check_never_calls_honoured_what_does_nothing() {
    for (key, value) in [
        ("snapCount", "1000"),
        ("digest.enabled", "false"),
        ("zoarium.sliceMs", "9"),
        ("zoarium.aclListsMax", "9"),
        ("zoarium.failedLoginsMax", "9"),
        ("zoarium.logLinesPerSecond", "9"),
        ("zoarium.timersPerTick", "9"),
        ("dataLogDir", "/x"),
        ("enforce.auth.schemes", "digest"),
        ("audit.enable", "true"),
    ] {
        let output = zoarium(&["check", &format!("-D{key}={value}")]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let after = text.split(&format!("  {key}={value}\n")).nth(1).unwrap_or_else(|| panic!("{key} in {text}"));
        let line = after.lines().next().unwrap();
        assert!(!line.contains("honoured") && line.contains(';'), "{key}: {line}");
    }
}

#[test]
fn a_command_without_a_server_ends_with_3() {
    // Nobody listens on a port that was just free, and port 1 is nobody's.
    check(&["bench", "--address", "127.0.0.1:1", "--ops", "1", "--rounds", "1"], 3, &["127.0.0.1:1", "connection"]);
}

/// How a command ends, and what it complains of, whose standard output is `out`.
fn told(arguments: &[&str], out: impl Into<std::process::Stdio>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoarium"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).stdout(out);
    let output = command.stderr(std::process::Stdio::piped()).output().expect("the binary runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_command_whose_reader_has_gone_ends_as_with_one() {
    let commands: &[(&[&str], i32)] = &[
        (&["check", "--all"], 0),
        (&["check", "2199"], 2),
        (&["inspect", "Cargo.toml"], 1),
        (&["bench", "--address", "127.0.0.1:1", "--ops", "1", "--rounds", "1"], 3),
        (&["--help"], 0),
    ];
    for (arguments, code) in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (ended, said) = told(arguments, writer);
        assert_eq!(ended, Some(*code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        // The complaints' reader may be gone, too.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_zoarium"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(*arguments);
        let status = command.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(*code), "{arguments:?}");
    }
}

#[test]
fn output_that_is_lost_on_a_full_disk_is_told_and_is_no_success() {
    let full = || std::fs::File::create("/dev/full").unwrap();
    let (code, said) = told(&["check"], full());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot write the output: No space left on device (ENOSPC)"), "{said}");
}

#[test]
fn check_refuses_what_serve_refuses() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-check-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("data/version-2")).unwrap();
    let (data, file) = (folder.join("data"), folder.join("zoo.cfg"));
    std::fs::write(data.join("version-2/snapshot.0"), "").unwrap();
    let (data, file) = (data.to_str().unwrap(), file.to_str().unwrap());
    let expected = ["Refused:", "data/version-2 holds data of a ZooKeeper server", "--ignore-zookeeper-data"];
    check(&["check", "--data-dir", data], 1, &expected);
    check(&["check", "--data-dir", "/nowhere", &format!("-DdataLogDir={data}")], 1, &expected);
    check(&["check", "--data-dir", data, "--ignore-zookeeper-data"], 0, &["Good:"]);
    std::fs::write(file, format!("clientPort=2181\ndatadir={data}\n")).unwrap();
    check(&["check", file], 2, &["dataDir is not set", "zoo.cfg:2 says datadir, did you mean dataDir?"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn zookeepers_positional_form_listens_everywhere() {
    check(
        &["check", "2199", "/x", "500", "7"],
        0,
        &["every address, port 2199", "/x/zoarium.db", "tick 500 ms", "maxClientCnxns=7"],
    );
    check(&["check", "2199"], 2, &["2199 DATADIR"]);
    check(&["check", "zoo.cfg", "/x"], 2, &["zoo.cfg is not a port"]);
}

#[test]
fn secrets_stay_out_of_the_explanation() {
    let output = zoarium(&["check", "tests/zoo_cfg/hardened-tls.cfg", "--all"]);
    let text = String::from_utf8_lossy(&output.stdout);
    for secret in ["correct-horse", "battery-staple", "D/InIHSb7yEEbrWz8b9l71RjZJU="] {
        assert!(!text.contains(secret));
    }
    assert!(text.contains("superDigest=***"));
}
