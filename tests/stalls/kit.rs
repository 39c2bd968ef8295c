//! A server of one test's own, and many small clients that one thread drives.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An empty folder.
pub(crate) fn new_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Builds the library that makes a sync slow.
pub(crate) fn build_slow_sync(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/slow_sync.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let library = folder.join("slow_sync.so");
    let built =
        Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl").status();
    assert!(built.expect("a C compiler is there").success());
}

/// Has a process use that library.
pub(crate) fn with_slow_sync(command: &mut Command, folder: &Path) {
    command.env("LD_PRELOAD", folder.join("slow_sync.so")).env("SLOW_SYNC", folder.join("slow"));
}

/// The next sync of a process that uses it takes so long.
pub(crate) fn make_slow(folder: &Path, ms: u64) {
    std::fs::write(folder.join("slow.new"), ms.to_string()).unwrap();
    std::fs::rename(folder.join("slow.new"), folder.join("slow")).unwrap();
}

/// A running `zoarium serve` in a folder of its own.
pub(crate) struct Serve {
    child: Child,
    folder: PathBuf,
    pub(crate) address: String,
}

impl Serve {
    /// With a library that can make a sync slow.
    pub(crate) fn start(settings: &[&str]) -> Serve {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("stalls-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = new_folder(&name);
        build_slow_sync(&folder);
        Serve::start_in(folder, settings)
    }

    fn spawn(folder: &Path, settings: &[&str]) -> Child {
        let binary = std::env::var("ZOA_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_zoarium").to_owned());
        let mut command = Command::new(binary);
        command.current_dir(folder).args(["serve", "--port", "0", "-Dzookeeper.4lw.commands.whitelist=*"]);
        command.args(["-DmaxClientCnxns=0", "-Dzoarium.sessionBurst=100000"]).args(settings);
        with_slow_sync(&mut command, folder);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Kills it and starts it again, without waiting until it serves.
    pub(crate) fn begin_restart(&mut self) {
        self.kill();
        self.child = Serve::spawn(&self.folder, &[]);
    }

    fn start_in(folder: PathBuf, settings: &[&str]) -> Serve {
        let mut child = Serve::spawn(&folder, settings);
        let mut greeting = Vec::new();
        let stdout = child.stdout.as_mut().unwrap();
        while !greeting.ends_with(b"\n") {
            let mut byte = [0];
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "the server ended before it served");
            greeting.push(byte[0]);
        }
        let greeting = String::from_utf8(greeting).unwrap();
        let address = greeting.trim_end().rsplit_once("-server ").expect("the greeting has an address").1.to_owned();
        Serve { child, folder, address }
    }

    /// Kills it and starts it again on the same file.
    pub(crate) fn restart(mut self) -> Serve {
        self.kill();
        let folder = std::mem::take(&mut self.folder);
        Serve::start_in(folder, &[])
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// The next sync takes so long.
    pub(crate) fn slow_sync(&self, ms: u64) {
        make_slow(&self.folder, ms);
    }

    /// Whether that sync has begun.
    pub(crate) fn sync_has_begun(&self) -> bool {
        !self.folder.join("slow").exists()
    }

    /// Whether it is over.
    pub(crate) fn sync_is_over(&self) -> bool {
        self.folder.join("slow.over").exists()
    }

    /// The code with which the process has ended.
    pub(crate) fn has_ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"mntr").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).parse().unwrap()
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.kill();
        if !self.folder.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A session that pings, and may give up and reconnect.
pub(crate) struct Pinger {
    address: String,
    stream: Option<TcpStream>,
    input: Vec<u8>,
    timeout: Duration,
    pub(crate) session: i64,
    password: [u8; 16],
    open: bool,
    sent: Instant,
    /// When the last thing came that was waited for.
    heard: Instant,
    awaited: bool,
    pub(crate) expired: bool,
    /// How often it gave up on a connection.
    pub(crate) given_up: u32,
}

impl Pinger {
    pub(crate) fn new(address: &str, timeout: Duration) -> Pinger {
        let now = Instant::now();
        let mut pinger = Pinger {
            address: address.to_owned(),
            stream: None,
            input: Vec::new(),
            timeout,
            session: 0,
            password: [0; 16],
            open: false,
            sent: now,
            heard: now,
            awaited: false,
            expired: false,
            given_up: 0,
        };
        pinger.connect();
        pinger
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether nothing that it sent waits for an answer.
    pub(crate) fn is_answered(&self) -> bool {
        !self.awaited
    }

    fn connect(&mut self) {
        self.input.clear();
        self.open = false;
        (self.sent, self.heard, self.awaited) = (Instant::now(), Instant::now(), true);
        // On this machine the system answers for the server, however busy that is, while its queue has room.
        let address = self.address.parse().unwrap();
        self.stream = TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        let Some(stream) = &mut self.stream else { return };
        stream.set_nonblocking(true).unwrap();
        let mut frame = vec![0, 0, 0, 45, 0, 0, 0, 0];
        frame.extend_from_slice(&[0; 8]);
        frame.extend_from_slice(&(self.timeout.as_millis() as i32).to_be_bytes());
        frame.extend_from_slice(&self.session.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 16]);
        frame.extend_from_slice(&self.password);
        frame.push(0);
        let _ = stream.write_all(&frame);
    }

    /// Sends a ping when a third of the timeout has passed; gives up when an answer has not come for two thirds.
    pub(crate) fn drive(&mut self, gives_up: bool) {
        self.take();
        let now = Instant::now();
        if self.expired {
            return;
        }
        if self.stream.is_none() || (gives_up && self.awaited && now - self.heard > self.timeout * 2 / 3) {
            self.given_up += 1;
            return self.connect();
        }
        if self.open && now - self.sent > self.timeout / 3 {
            self.send(&[0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11]);
        }
    }

    /// Sends a frame whose answer is waited for.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.sent = Instant::now();
        if !std::mem::replace(&mut self.awaited, true) {
            self.heard = self.sent;
        }
        if self.stream.as_mut().is_some_and(|stream| stream.write_all(frame).is_err()) {
            self.stream = None;
        }
    }

    fn take(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(0) => self.stream = None,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.stream = None,
            }
        }
        while let Some(length) = self.input.first_chunk::<4>().map(|head| u32::from_be_bytes(*head) as usize) {
            if self.input.len() < 4 + length {
                break;
            }
            let frame: Vec<u8> = self.input.drain(..4 + length).skip(4).collect();
            (self.heard, self.awaited) = (Instant::now(), false);
            if !self.open {
                self.session = i64::from_be_bytes(frame[8..16].try_into().unwrap());
                self.password.copy_from_slice(&frame[20..36]);
                self.expired = self.session == 0;
                self.open = !self.expired;
            }
        }
    }
}

/// Drives all of them until `done`, and not longer than patience lasts.
pub(crate) fn drive(pingers: &mut [Pinger], gives_up: bool, mut done: impl FnMut(&mut [Pinger]) -> bool) {
    let begun = Instant::now();
    while !done(pingers) {
        assert!(begun.elapsed() < PATIENCE, "it takes too long");
        pingers.iter_mut().for_each(|pinger| pinger.drive(gives_up));
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// For so long.
pub(crate) fn drive_for(pingers: &mut [Pinger], gives_up: bool, time: Duration) {
    let until = Instant::now() + time;
    drive(pingers, gives_up, |_| Instant::now() >= until);
}
