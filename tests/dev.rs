//! `zoarium dev` as somebody meets it who tries things out, or a program that tests against it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use zoarium::Client;

struct Dev {
    child: Child,
    keys: Option<ChildStdin>,
    told: BufReader<ChildStderr>,
    said: BufReader<ChildStdout>,
    hosts: String,
    /// Where it puts what is temporary.
    folder: PathBuf,
}

impl Dev {
    fn start(name: &str, arguments: &[&str]) -> Dev {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dev-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zoarium"));
        command.arg("dev").args(arguments).env("TMPDIR", &folder).env_remove("ZOARIUM_LOG");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut hosts = String::new();
        said.read_line(&mut hosts).unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        Dev { keys: child.stdin.take(), told, said, hosts: hosts.trim_end().to_owned(), child, folder }
    }

    /// Presses a key, and returns the next line that is no line of the log.
    fn press(&mut self, key: &str) -> String {
        writeln!(self.keys.as_mut().unwrap(), "{key}").unwrap();
        self.next_line()
    }

    fn next_line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.told.read_line(&mut line).unwrap() > 0, "it has ended");
            if !line.starts_with('[') {
                return line.trim_end().to_owned();
            }
        }
    }

    fn list(&mut self) -> Vec<String> {
        let first = self.press("l");
        let count = self.hosts.split(',').count();
        std::iter::once(first).chain((1..count).map(|_| self.next_line())).collect()
    }

    /// How it ended, and what else it had said.
    fn ended(&mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code();
        assert_eq!(std::fs::read_dir(&self.folder).unwrap().count(), 0, "its data go with it");
        std::fs::remove_dir_all(&self.folder).unwrap();
        (code, rest)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number in `member 2 leads`.
fn leader_in(told: &str) -> String {
    let (_, rest) = told.rsplit_once("member ").unwrap();
    rest.strip_suffix(" leads").unwrap_or_else(|| panic!("nobody leads: {told}")).to_owned()
}

#[test]
fn the_first_line_says_where_to_connect_and_keys_do_to_members_what_they_say() {
    let mut dev = Dev::start("keys", &["--peers", "3"]);
    let hosts = dev.hosts.clone();
    assert_eq!(hosts.split(',').count(), 3, "{hosts}");
    let client = Client::connect(&hosts).unwrap();
    client.create("/kept", b"1").unwrap();
    let listed = dev.list();
    assert_eq!(listed.iter().filter(|line| line.ends_with("  leads")).count(), 1, "{listed:?}");
    for (line, host) in listed.iter().zip(hosts.split(',')) {
        assert!(line.contains(host), "{line}");
    }

    let killed = dev.press("k");
    let dead = killed.strip_prefix("member ").unwrap().split(' ').next().unwrap().to_owned();
    let leader = leader_in(&killed);
    assert!(killed.contains("was killed") && leader != dead, "{killed}");
    let at = dead.parse::<usize>().unwrap() - 1;
    assert!(dev.list()[at].ends_with("was killed"));
    assert_eq!(dev.press(&format!("w {dead}")), format!("member {dead} has no data any more"));
    assert!(dev.press(&format!("r {dead}")).starts_with(&format!("member {dead} is back")));
    assert!(dev.list()[at].ends_with(&format!("follows {leader}")));
    assert!(dev.press(&format!("p{dead}")).contains("stands still"));
    assert!(dev.press(&format!("r {dead}")).contains("is back"));
    let cut = dev.press("c");
    assert!(cut.contains(&format!("member {leader} is cut off")) && leader_in(&cut) != leader, "{cut}");
    assert!(dev.press("r").starts_with("all are back"));
    assert!(dev.press("k 4").contains("4 is no member: there are 1 to 3"));
    assert!(dev.press("?").contains("k [N] kill"));
    assert!(dev.press(&format!("w {dead}")).contains("runs"));
    client.sync("/").unwrap();
    assert!(client.exists("/kept").unwrap().is_some());

    // The end of its input is its end.
    drop(dev.keys.take());
    assert_eq!(dev.ended(), (Some(0), String::new()), "nothing else on stdout");
}

#[test]
fn one_server_ends_by_a_key_and_by_a_signal() {
    let mut dev = Dev::start("key", &[]);
    Client::connect(&dev.hosts).unwrap().create("/a", b"").unwrap();
    assert!(dev.press("l").ends_with("is a server by itself"));
    writeln!(dev.keys.as_mut().unwrap(), "q").unwrap();
    assert_eq!(dev.ended(), (Some(0), String::new()));
    let mut dev = Dev::start("signal", &["-DtickTime=500"]);
    let sent = Command::new("kill").args(["-s", "TERM", &dev.child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    assert_eq!(dev.ended(), (Some(0), String::new()));
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let refused = |arguments: &[&str], code: i32, why: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_zoarium")).arg("dev").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(why) && output.stdout.is_empty(), "{said}");
    };
    refused(&["--peers", "0"], 1, "from 1 to 64");
    refused(&["-DtickTime=often"], 2, "tickTime");
    refused(&["-DtickTme=500"], 2, "tickTme");
}
