//! `zoarium serve` as an operator meets it: the line that says how to connect, signals, exit codes.
#![cfg(feature = "cli")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use zoarium::raw::{ConnectOptions, RawClient};
use zoarium::records::{Acl, CreateMode};

/// Longer than any of this takes; a test that hits it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of one test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("serve-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("the folder of tests is ours");
        Folder(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running `zoarium serve`, killed at the end if the test did not end it.
struct Serve {
    child: Child,
    greeting: String,
    address: String,
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoarium"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ZOARIUM_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).arg("serve").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same under a limit on the size of files, in units of 512 bytes.
fn limited(folder: &Path, units: u32, arguments: &[&str]) -> Command {
    let plain = command(folder, arguments);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -f {units}; exec \"$0\" \"$@\"")]).arg(plain.get_program());
    command.args(plain.get_args()).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

impl Serve {
    fn start(folder: &Path, arguments: &[&str]) -> Serve {
        Serve::of(command(folder, arguments))
    }

    fn of(mut command: Command) -> Serve {
        let mut child = command.spawn().expect("the binary runs");
        let mut greeting = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        stdout.read_line(&mut greeting).expect("stdout is readable");
        let Some((_, address)) = greeting.trim_end().rsplit_once("-server ") else {
            panic!("no address in {greeting:?}: {}", rest(&mut child));
        };
        let address = address.to_owned();
        Serve { child, greeting, address }
    }

    fn word(&self, word: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.write_all(word.as_bytes()).expect("the word is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer is text");
        answer
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// The exit code and everything that was logged.
    fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("the child is ours").is_none() {
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::yield_now();
        }
        let code = self.child.wait().expect("the child is ours").code();
        (code, rest(&mut self.child))
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rest(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut text);
    }
    text
}

/// Runs a serve that must not start.
fn refused(folder: &Path, arguments: &[&str], code: i32, expected: &str) {
    refuses(command(folder, arguments), code, expected);
}

fn refuses(mut command: Command, code: i32, expected: &str) {
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(expected), "{expected:?} is missing in {text}");
}

#[test]
fn one_line_says_how_to_connect_and_a_signal_stops_cleanly() {
    let folder = Folder::new();
    for signal in ["TERM", "INT"] {
        let server = Serve::start(folder.path(), &["--port", "0"]);
        assert!(server.greeting.contains("this machine only"), "{}", server.greeting);
        assert!(server.greeting.contains("./zoarium-data/zoarium.db"), "{}", server.greeting);
        assert!(server.word("srvr").contains("Mode: standalone"));
        assert!(server.word("ruok").contains("not in the whitelist"));
        server.signal(signal);
        let (code, log) = server.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains(&format!("stopping on SIG{signal}")), "{log}");
    }
    assert!(folder.path().join("zoarium-data/zoarium.db").is_file());
}

#[test]
fn words_from_this_machine_are_answered_however_many_also_on_a_socket_for_both_kinds_of_addresses() {
    let folder = Folder::new();
    let server = Serve::start(folder.path(), &["--port", "0", "--address", "*", "-D4lw.commands.whitelist=mntr"]);
    let (_, port) = server.address.rsplit_once(':').expect("an address with a port");
    let address = format!("127.0.0.1:{port}");
    let answered = (0..60).filter(|_| {
        let answer = zoarium::raw::four_letter(&address, "mntr", PATIENCE).expect("an answer");
        answer.contains("zk_znode_count")
    });
    assert_eq!(answered.count(), 60);
}

#[test]
fn a_port_or_a_file_in_use_is_refused_by_name() {
    let (one, two) = (Folder::new(), Folder::new());
    let server = Serve::start(one.path(), &["--port", "0"]);
    let port = server.address.rsplit_once(':').unwrap().1;
    refused(two.path(), &["--port", port], 1, &format!("127.0.0.1:{port}"));
    assert_eq!(std::fs::read_dir(two.path()).unwrap().count(), 0, "no file and no folder is left behind");
    refused(two.path(), &["--port", port], 1, "in use by another process");
    let holder = format!("zoarium.db is in use by process {}", server.child.id());
    refused(one.path(), &["--port", "0"], 1, &holder);
}

#[test]
fn a_wrong_configuration_is_refused_before_anything_is_touched() {
    let folder = Folder::new();
    refused(folder.path(), &["-DtickTime=0"], 2, "tickTime=0 (command line)");
    refused(folder.path(), &["-DtickTme=1", "--strict"], 2, "did you mean tickTime?");
    refused(
        folder.path(),
        &[
            "-Dserver.1=a:1:2",
            "-Dserver.2=b:1:2",
            "-DinitLimit=1",
            "-DsyncLimit=1",
            "-Dzoarium.serverId=1",
            "-DsslQuorum=true",
        ],
        1,
        "TLS",
    );
    refused(folder.path(), &["-DsessionRequireClientSASLAuth=true"], 1, "SASL");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn sighup_takes_the_whitelist_over_and_says_what_needs_a_restart() {
    let folder = Folder::new();
    let file = folder.path().join("zoo.cfg");
    let text = "dataDir=data\nclientPort=0\nclientPortAddress=127.0.0.1\n";
    std::fs::write(&file, format!("{text}4lw.commands.whitelist=srvr\n")).unwrap();
    let server = Serve::start(folder.path(), &["zoo.cfg"]);
    assert!(server.word("wchc").contains("not in the whitelist"));
    std::fs::write(&file, format!("{text}4lw.commands.whitelist=*\ntickTime=500\n")).unwrap();
    server.signal("HUP");
    let deadline = Instant::now() + PATIENCE;
    while server.word("wchc").contains("not in the whitelist") {
        assert!(Instant::now() < deadline, "the whitelist stays as it was");
        std::thread::yield_now();
    }
    server.signal("TERM");
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("other settings changed and need a restart"), "{log}");
}

#[test]
fn quiet_says_nothing_but_warnings_and_verbose_says_more() {
    let folder = Folder::new();
    let arguments = ["--port", "0", "-DpreAllocSize=1", "-DtickTme=1"];
    let server = Serve::start(folder.path(), &arguments);
    server.signal("TERM");
    let (_, log) = server.end();
    assert!(log.contains("accepted without effect: preAllocSize") && log.contains("did you mean tickTime?"), "{log}");
    assert!(!log.contains('\x1b'));

    let mut child = command(folder.path(), &[&arguments[..], &["-q"]].concat()).spawn().unwrap();
    // Without a greeting there is nothing to wait for but the file's log line: the warning comes before the start.
    let mut first = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut first).unwrap();
    assert!(first.contains("WARN") && first.contains("tickTme"), "{first}");
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    assert!(output.stdout.is_empty());
}

/// Runs `zoarium inspect` on what a server left.
fn inspect(arguments: &[&str], folder: &Path) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_zoarium")).current_dir(folder).arg("inspect").args(arguments).output();
    let output = output.expect("the binary runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn inspect_shows_transactions_as_lines_and_gives_a_verdict() {
    let folder = Folder::new();
    let server = Serve::start(folder.path(), &["--port", "0"]);
    let mut client = RawClient::connect(&server.address).unwrap();
    let acl = [Acl::open(), Acl::new(1, "digest", "bob:c2VjcmV0")];
    client.create("/a", Some(b"top secret"), &acl, CreateMode::Ephemeral).unwrap();
    client.set_data("/a", None, 0).unwrap();
    assert!(client.delete("/missing", -1).is_err());
    let (code, text) = inspect(&["zoarium-data"], folder.path());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("in use by a server"), "{text}");
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));

    let (code, text) = inspect(&["zoarium-data"], folder.path());
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "createSession timeout",
        "/a ephemeral 10 bytes acl world:anyone:cdrwa,digest:bob:x:r",
        "setData /a version 1 no data",
        "refused: ",
        "(-101)",
        "stopped cleanly",
        "verdict: good, the log ends at byte",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(!text.contains("top secret") && !text.contains("c2VjcmV0"), "{text}");
    assert!(inspect(&["zoarium-data", "--data"], folder.path()).1.contains("\"top secret\""));
    let brief = inspect(&["zoarium-data/zoarium.db", "--brief"], folder.path()).1;
    assert!(brief.contains("verdict: good") && !brief.contains("/a") && !brief.contains("frame"), "{brief}");
}

#[test]
fn inspect_tells_damage_from_what_is_no_file_of_ours() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("other"), b"hello, this is a letter and no database".repeat(4096)).unwrap();
    let (code, text) = inspect(&["other"], folder.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not a Zoarium file"), "{text}");
    let (code, text) = inspect(&["missing"], folder.path());
    assert!(code == Some(2) && text.contains("missing: No such file or directory (ENOENT)"), "{text}");

    let server = Serve::start(folder.path(), &["--port", "0"]);
    let mut client = RawClient::connect(&server.address).unwrap();
    for name in ["/a", "/b", "/c"] {
        client.create(name, Some(b"findme-findme"), &[Acl::open()], CreateMode::Persistent).unwrap();
    }
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    let file = folder.path().join("zoarium-data/zoarium.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(13).position(|window| window == b"findme-findme").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (code, text) = inspect(&["zoarium-data"], folder.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("verdict: damaged at byte"), "{text}");
    refused(folder.path(), &["--port", "0"], 1, "damaged at byte");
}

#[test]
fn a_larger_jute_maxbuffer_lets_larger_writes_in_and_keeps_them() {
    let folder = Folder::new();
    let arguments = ["--port", "0", "-Djute.maxbuffer=0x400000"];
    let data = vec![7; 3_500_000];
    let server = Serve::start(folder.path(), &arguments);
    let mut client = RawClient::connect(&server.address).unwrap();
    client.create("/large", Some(&data), &[Acl::open()], CreateMode::Persistent).unwrap();
    drop(client);
    server.signal("TERM");
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    let server = Serve::start(folder.path(), &arguments);
    let mut client = RawClient::connect(&server.address).unwrap();
    // Our client takes no reply as large as that; the stat tells.
    assert_eq!(client.exists("/large", false).unwrap().unwrap().data_length, 3_500_000);
}

#[test]
fn a_write_too_large_for_the_extents_of_an_older_file_stops_nobody_else() {
    let folder = Folder::new();
    let server = Serve::start(folder.path(), &["--port", "0"]);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    let server = Serve::start(folder.path(), &["--port", "0", "-Djute.maxbuffer=0x400000"]);
    let mut healthy = RawClient::connect(&server.address).unwrap();
    let mut client = RawClient::connect(&server.address).unwrap();
    let data = vec![7; 3_500_000];
    assert!(client.create("/large", Some(&data), &[Acl::open()], CreateMode::Persistent).is_err());
    healthy.create("/small", None, &[Acl::open()], CreateMode::Persistent).unwrap();
}

#[test]
fn every_error_about_a_file_names_the_file_and_the_systems_error_by_name() {
    let folder = Folder::new();
    // A folder where the file should be; a file where the folder should be; other people's files.
    std::fs::create_dir_all(folder.path().join("one/zoarium.db")).unwrap();
    refused(
        folder.path(),
        &["--port", "0", "--data-dir", "one"],
        1,
        "one/zoarium.db: cannot open the file: Is a directory (EISDIR)",
    );
    std::fs::write(folder.path().join("two"), "").unwrap();
    refused(folder.path(), &["--port", "0", "--data-dir", "two/data"], 2, "two/data/myid: Not a directory (ENOTDIR)");
    std::fs::write(folder.path().join("letter"), b"hello, this is a letter and no database".repeat(4096)).unwrap();
    refused(folder.path(), &["--port", "0", "--file", "letter"], 1, "letter: not a Zoarium file");
    refused(folder.path(), &["--port", "0", "--file", "/dev/null"], 1, "/dev/null: not a Zoarium file");
}

#[test]
fn what_a_start_after_a_crash_says_is_a_sentence() {
    let folder = Folder::new();
    let server = Serve::start(folder.path(), &["--port", "0"]);
    server.signal("KILL");
    server.end();
    let server = Serve::start(folder.path(), &["--port", "0"]);
    server.signal("TERM");
    let (_, log) = server.end();
    assert!(log.contains("not stopped cleanly, nothing acknowledged lies behind byte"), "{log}");
    assert!(!log.contains("Cut"), "{log}");
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn what_the_log_created_and_deleted_takes_no_memory_after_a_restart() {
    let folder = Folder::new();
    // No snapshot: all of it is replayed.
    let arguments = ["--port", "0", "-Dzoarium.logWindow=1G"];
    let server = Serve::start(folder.path(), &arguments);
    let mut client = RawClient::connect(&server.address).unwrap();
    let data = vec![7; 100_000];
    for number in 0..1000 {
        client.create(&format!("/{number}"), Some(&data), &[Acl::open()], CreateMode::Persistent).unwrap();
    }
    (0..1000).for_each(|number| client.delete(&format!("/{number}"), -1).unwrap());
    server.signal("KILL");
    server.end();
    let server = Serve::start(folder.path(), &arguments);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")).unwrap();
    assert!(resident.parse::<u32>().unwrap() < 30_000, "{resident} kB resident, for a hundred megabytes that are gone");
}

#[test]
fn beside_zookeepers_own_data_no_empty_tree_is_served_unless_told() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path().join("zk/version-2")).unwrap();
    std::fs::write(folder.path().join("zk/version-2/log.1"), "not ours").unwrap();
    let expected = "zk/version-2 holds data of a ZooKeeper server";
    refused(folder.path(), &["--port", "0", "--data-dir", "zk"], 1, expected);
    refused(folder.path(), &["--port", "0", "--data-dir", "new", "-DdataLogDir=zk"], 1, expected);
    assert!(!folder.path().join("new").exists() && !folder.path().join("zk/zoarium.db").exists());
    let server = Serve::start(folder.path(), &["--port", "0", "--data-dir", "zk", "--ignore-zookeeper-data"]);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    // From then on the file is there, and what is served is no surprise.
    let server = Serve::start(folder.path(), &["--port", "0", "--data-dir", "zk"]);
    assert!(server.word("srvr").contains("Mode: standalone"));
}

#[test]
fn a_file_without_data_dir_is_refused_before_anything_is_touched() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("zoo.cfg"), "clientPort=0\nclientPortAddress=127.0.0.1\ndatadir=/x\n").unwrap();
    refused(folder.path(), &["zoo.cfg"], 2, "zoo.cfg:3 says datadir, did you mean dataDir?");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_server_hashes_passwords_with_the_algorithm_it_is_told() {
    let folder = Folder::new();
    let arguments = ["--port", "0", "-Dzookeeper.DigestAuthenticationProvider.digestAlg=SHA-256"];
    let server = Serve::start(folder.path(), &arguments);
    let mut client = RawClient::connect(&server.address).unwrap();
    client.auth("digest", b"user:password").unwrap();
    client.create("/a", None, &[Acl::new(31, "auth", "")], CreateMode::Persistent).unwrap();
    let (acl, _) = client.get_acl("/a").unwrap();
    // As ZooKeeper with that setting.
    assert_eq!(acl[0].id.id.as_str(), "user:yRsdas04PETE7CDJcj51jDEYKh9PAjHWPZElmi6hS50=");
    assert!(RawClient::connect(&server.address).unwrap().get_data("/a", false).is_err());
}

#[test]
fn limits_as_small_as_zookeeper_takes_them_still_serve() {
    let folder = Folder::new();
    let arguments =
        ["--port", "0", "-DglobalOutstandingLimit=0", "-DmaxClientCnxns=-1", "-DmaxCnxns=-1", "-DsnapCount=1"];
    let server = Serve::start(folder.path(), &[&arguments[..], &["-Djute.maxbuffer=100"]].concat());
    let mut clients: Vec<RawClient> = (0..4).map(|_| RawClient::connect(&server.address).unwrap()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.create(&format!("/{number}"), None, &[Acl::open()], CreateMode::Persistent).unwrap();
    }
    assert_eq!(clients[0].get_children("/", false).unwrap().len(), 5);
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_never_a_signal() {
    let folder = Folder::new();
    // Too little for any file.
    refuses(limited(folder.path(), 64, &["--port", "0", "--data-dir", "a"]), 1, "EFBIG, see ulimit -f");
    // Enough to begin: writes end with an answer, and the server goes on.
    let server = Serve::of(limited(folder.path(), 96 << 11, &["--port", "0", "--data-dir", "b"]));
    let mut client = RawClient::connect(&server.address).unwrap();
    let data = vec![7; 1_000_000];
    let written = (0..200).take_while(|number| {
        client.create(&format!("/{number}"), Some(&data), &[Acl::open()], CreateMode::Persistent).is_ok()
    });
    let written = written.count();
    assert!((1..96).contains(&written), "{written} MB in 96 MiB");
    assert!(server.word("srvr").contains("Mode: standalone"));
    server.signal("TERM");
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("EFBIG, see ulimit -f"), "{log}");
    // A file that was larger before the limit came: it serves as long as what it writes lies below, and says why it ends.
    let mut child = limited(folder.path(), 2 << 11, &["--port", "0", "--data-dir", "b"]).spawn().unwrap();
    let mut greeting = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
    if greeting.is_empty() {
        let log = rest(&mut child);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{log}");
        assert!(log.contains("b/zoarium.db: ") && log.contains("EFBIG, see ulimit -f"), "{log}");
    } else {
        let server = Serve { child, greeting, address: String::new() };
        server.signal("TERM");
        let (code, log) = server.end();
        assert!(code.is_some(), "ended by a signal: {log}");
    }
}

#[test]
fn verbose_tells_of_sessions_and_twice_of_requests_and_never_a_secret() {
    let folder = Folder::new();
    for (flag, requests) in [("-v", false), ("-vv", true)] {
        let server = Serve::start(folder.path(), &["--port", "0", flag]);
        let address = server.address.clone();
        let mut client = RawClient::connect(&address).unwrap();
        client.auth("digest", b"bob:correct-horse").unwrap();
        client.create("/a", Some(b"battery-staple"), &[Acl::new(31, "auth", "")], CreateMode::Persistent).unwrap();
        client.set_data("/a", Some(b"battery-staple2"), -1).unwrap();
        let (acl, _) = client.get_acl("/a").unwrap();
        let hash = acl[0].id.id.as_str().rsplit_once(':').unwrap().1.to_owned();
        assert!(client.delete("/missing", -1).is_err());
        let (session, password) = (client.session(), client.password());
        let resume = |password| {
            let options = ConnectOptions { resume: Some((session, password)), ..ConnectOptions::default() };
            RawClient::connect_with(&address, &options)
        };
        assert!(resume([1; 16]).is_err());
        let mut client = resume(password).unwrap();
        client.auth("digest", b"bob:correct-horse").unwrap();
        client.delete("/a", -1).unwrap();
        client.close().unwrap();
        server.signal("TERM");
        let (code, log) = server.end();
        assert_eq!(code, Some(0), "{log}");
        for part in [
            format!("zoarium {} serves on {address}", env!("CARGO_PKG_VERSION")),
            "data in ./zoarium-data/zoarium.db".to_owned(),
            format!("session {session} opened by 127.0.0.1:"),
            format!("session {session} refused to 127.0.0.1:"),
            format!("session {session} resumed by 127.0.0.1:"),
            format!("session {session}: its client closed the session"),
        ] {
            assert!(log.contains(&part), "{part:?} is missing in {log}");
        }
        for part in ["create /a 14 bytes", "setData /a 15 bytes", "auth scheme digest", "answered NoNode (-101)"] {
            assert_eq!(log.contains(part), requests, "{part:?} in {log}");
        }
        let hex: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
        for secret in ["correct-horse", "battery-staple", &hash, &hex, &format!("{password:?}")] {
            assert!(!log.contains(secret), "{secret:?} is in {log}");
        }
    }
}
