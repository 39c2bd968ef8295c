//! Three `zoarium serve` processes on loopback that can be killed, wiped and started again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use zoarium::raw::{ClientError, ConnectOptions, RawClient, four_letter};

use crate::ports::Ports;

/// Longer than any of this takes; a test that hits it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The members, by number from 0 on, and their folder, which is removed in the end unless a test failed.
pub(crate) struct Cluster {
    folder: PathBuf,
    /// The clients' ports.
    ports: Vec<u16>,
    /// Held for as long as the members may be started.
    _ports: Ports,
    members: Vec<Option<Child>>,
    /// A sync of a member's log can be made slow.
    has_slow_syncs: bool,
}

/// What stands behind a member's word for it, as `srvr` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Leader,
    Follower,
    Observer,
    /// It does not serve, or does not run.
    None,
}

/// What the member there says.
pub(crate) fn mode_of(address: &str) -> Mode {
    match four_letter(address, "srvr", Duration::from_secs(2)) {
        Ok(text) if text.contains("Mode: leader") => Mode::Leader,
        Ok(text) if text.contains("Mode: follower") => Mode::Follower,
        Ok(text) if text.contains("Mode: observer") => Mode::Observer,
        _ => Mode::None,
    }
}

impl Cluster {
    /// `count` members that all serve.
    pub(crate) fn start(count: usize) -> Cluster {
        Cluster::with(count, 0, 10, false)
    }

    /// So many voters, and behind them one member without a vote.
    pub(crate) fn with_observer(voters: usize) -> Cluster {
        Cluster::with(voters + 1, 1, 10, false)
    }

    /// The same, of members whose next sync [`Cluster::slow_sync`] makes slow.
    pub(crate) fn with_slow_syncs(count: usize, sync_limit: u32) -> Cluster {
        Cluster::with(count, 0, sync_limit, true)
    }

    fn with(count: usize, observers: usize, sync_limit: u32, has_slow_syncs: bool) -> Cluster {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("ensemble-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        let block = Ports::take(3 * count);
        let port = |at: usize| block.first + at as u16;
        let servers: String = (0..count)
            .map(|at| {
                let role = if at + observers < count { "participant" } else { "observer" };
                format!("server.{}=127.0.0.1:{}:{}:{role}\n", at + 1, port(count + at), port(2 * count + at))
            })
            .collect();
        for at in 0..count {
            let data = folder.join(format!("data{at}"));
            fs::create_dir_all(&data).unwrap();
            fs::write(data.join("myid"), format!("{}\n", at + 1)).unwrap();
            let tick = std::env::var("ZOA_ENSEMBLE_TICK").unwrap_or_else(|_| "200".to_owned());
            let settings = format!(
                "tickTime={tick}\ninitLimit=20\nsyncLimit={sync_limit}\nmaxSessionTimeout=120000\nclientPort={}\nclientPortAddress=127.0.0.1\ndataDir={}\n\
                 admin.enableServer=false\n4lw.commands.whitelist=*\n{servers}",
                port(at),
                data.display(),
            );
            fs::write(folder.join(format!("zoo{at}.cfg")), settings).unwrap();
        }
        let ports = (0..count).map(port).collect();
        let members = (0..count).map(|_| None).collect();
        let mut cluster = Cluster { folder, ports, _ports: block, members, has_slow_syncs };
        if has_slow_syncs {
            cluster.build_slow_sync();
        }
        (0..count).for_each(|at| cluster.spawn(at));
        cluster.until("all serve", Cluster::is_whole);
        cluster
    }

    /// One more line for its configuration, from its next start on.
    pub(crate) fn set(&self, at: usize, line: &str) {
        let config = self.folder.join(format!("zoo{at}.cfg"));
        let text = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{text}{line}\n")).unwrap();
    }

    pub(crate) fn spawn(&mut self, at: usize) {
        assert!(self.members[at].is_none(), "runs already");
        let log = File::options().create(true).append(true).open(self.log(at)).unwrap();
        let binary = std::env::var_os("ZOA_ENSEMBLE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_zoarium").into());
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ZOARIUM_") {
                command.env_remove(name);
            }
        }
        if self.has_slow_syncs {
            command.env("LD_PRELOAD", self.folder.join("slow_sync.so")).env("SLOW_SYNC", self.slow(at));
        }
        let config = self.folder.join(format!("zoo{at}.cfg"));
        let child = command.arg("serve").arg(config).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.members[at] = Some(child.spawn().unwrap());
    }

    fn build_slow_sync(&self) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/slow_sync.c");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let library = self.folder.join("slow_sync.so");
        let mut command = Command::new(compiler);
        command.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl");
        assert!(command.status().expect("a C compiler is there").success());
    }

    fn slow(&self, at: usize) -> PathBuf {
        self.folder.join(format!("slow{at}"))
    }

    /// A bit of these bytes is another one, wherever they are in this member's file.
    pub(crate) fn damage(&self, at: usize, bytes: &[u8]) {
        assert!(self.members[at].is_none(), "it runs");
        let file = self.folder.join(format!("data{at}/zoarium.db"));
        let mut image = fs::read(&file).unwrap();
        let found: Vec<usize> = (0..image.len() - bytes.len()).filter(|at| image[*at..].starts_with(bytes)).collect();
        assert!(!found.is_empty(), "they are not there");
        found.into_iter().for_each(|at| image[at + bytes.len() / 2] ^= 1);
        fs::write(&file, image).unwrap();
    }

    /// The next sync of this member takes so long.
    pub(crate) fn slow_sync(&self, at: usize, ms: u64) {
        self.slow_writes(at, &ms.to_string());
    }

    /// The next write of this member's superblock takes so long.
    pub(crate) fn slow_superblock(&self, at: usize, ms: u64) {
        // In front of the first extent.
        self.slow_writes(at, &format!("{ms} {}", 128 << 10));
    }

    fn slow_writes(&self, at: usize, what: &str) {
        let new = self.slow(at).with_extension("new");
        fs::write(&new, what).unwrap();
        fs::rename(new, self.slow(at)).unwrap();
    }

    /// Whether that sync has begun.
    pub(crate) fn sync_has_begun(&self, at: usize) -> bool {
        !self.slow(at).exists()
    }

    /// Whether it is over.
    pub(crate) fn sync_is_over(&self, at: usize) -> bool {
        self.slow(at).with_extension("over").exists()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, at: usize) {
        let mut child = self.members[at].take().expect("only a running member is killed");
        assert!(child.try_wait().unwrap().is_none(), "member {at} ended by itself\n{}", self.logs());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn spawn_if_down(&mut self, at: usize) {
        if self.members[at].is_none() {
            self.spawn(at);
        }
    }

    /// It stands still, and its connections stay.
    pub(crate) fn pause(&self, at: usize) {
        self.signal(at, "-STOP");
    }

    /// It goes on.
    pub(crate) fn resume(&self, at: usize) {
        self.signal(at, "-CONT");
    }

    fn signal(&self, at: usize, signal: &str) {
        let process = self.members[at].as_ref().expect("it runs").id();
        let sent = Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
        assert!(sent.success(), "kill {signal} {process}");
    }

    /// SIGTERM; the exit code.
    pub(crate) fn stop(&mut self, at: usize) -> Option<i32> {
        let mut child = self.members[at].take().expect("only a running member is stopped");
        let sent = Command::new("kill").arg(child.id().to_string()).status();
        assert!(sent.unwrap().success());
        child.wait().unwrap().code()
    }

    /// Its data file is gone.
    pub(crate) fn wipe(&mut self, at: usize) {
        assert!(self.members[at].is_none(), "runs");
        fs::remove_file(self.folder.join(format!("data{at}")).join("zoarium.db")).unwrap();
    }

    pub(crate) fn address(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at])
    }

    pub(crate) fn mode(&self, at: usize) -> Mode {
        if self.members[at].is_none() {
            return Mode::None;
        }
        mode_of(&self.address(at))
    }

    /// Every member that runs serves, and one of them leads.
    pub(crate) fn is_whole(&self) -> bool {
        let running: Vec<usize> = (0..self.members.len()).filter(|at| self.members[*at].is_some()).collect();
        let modes: Vec<Mode> = running.iter().map(|at| self.mode(*at)).collect();
        modes.iter().filter(|mode| **mode == Mode::Leader).count() == 1 && !modes.contains(&Mode::None)
    }

    pub(crate) fn leader(&self) -> usize {
        self.until("one leads", |cluster| cluster.find(Mode::Leader).is_some());
        self.find(Mode::Leader).expect("one was found a moment ago")
    }

    pub(crate) fn find(&self, mode: Mode) -> Option<usize> {
        (0..self.members.len()).find(|at| self.mode(*at) == mode)
    }

    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut(&Cluster) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            assert!(begin.elapsed() < PATIENCE, "it never came true that {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A session at this member, new or resumed, as soon as it serves.
    #[track_caller]
    pub(crate) fn connect(&self, at: usize, options: &ConnectOptions) -> RawClient {
        let begin = Instant::now();
        loop {
            match RawClient::connect_with(&self.address(at), options) {
                Ok(client) => return client,
                Err(ClientError::Expired) => panic!("the session is over\n{}", self.logs()),
                Err(error) => {
                    assert!(begin.elapsed() < PATIENCE, "no session at member {at}: {error}\n{}", self.logs());
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    fn log(&self, at: usize) -> PathBuf {
        self.folder.join(format!("member{at}.log"))
    }

    pub(crate) fn logs(&self) -> String {
        let tail = |at| {
            let log = fs::read(self.log(at)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- member {at}:\n{}\n", lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        (0..self.members.len()).map(tail).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.members.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
