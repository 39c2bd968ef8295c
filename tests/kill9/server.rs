//! A server process that can be killed and started again on the same data.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zoarium::raw::{ConnectOptions, RawClient, four_letter};

use crate::ports::Ports;

const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Granted as asked for, see `maxSessionTimeout` below: of sessions that wait for their clients, however busy the machine is.
pub(crate) const TIMEOUT_MAX_MS: i32 = 60_000;
/// The shortest session timeout granted.
pub(crate) const TIMEOUT_MIN_MS: i32 = 400;

/// One server with its folder, which is removed in the end unless a test failed.
pub(crate) struct Server {
    folder: PathBuf,
    ports: Ports,
    child: Option<Child>,
}

impl Server {
    /// A server that does not run yet, on an empty folder.
    pub(crate) fn new(name: &str) -> Server {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("data")).unwrap();
        let server = Server { folder, ports: Ports::take(1), child: None };
        server.configure("");
        server
    }

    /// Adds `settings`, lines of a zoo.cfg, to those every server has, for the next start.
    pub(crate) fn configure(&self, settings: &str) {
        // A short tick, so that sessions expire soon.
        let settings = format!(
            "tickTime=200\nmaxSessionTimeout={TIMEOUT_MAX_MS}\nclientPort={}\ndataDir={}\nadmin.enableServer=false\nmaxClientCnxns=0\n{settings}",
            self.ports.first,
            self.folder.join("data").display(),
        );
        fs::write(self.folder.join("zoo.cfg"), settings).unwrap();
    }

    /// Starts the process; it may take a while until it answers.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "runs already");
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let child = command(&self.folder.join("zoo.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Starts the process and waits for its first session, opened with `options`.
    pub(crate) fn start(&mut self, options: &ConnectOptions) -> RawClient {
        self.spawn();
        let begin = Instant::now();
        // Apache ZooKeeper may swallow a session's request that comes too early, but answers this word in time.
        while !four_letter(&self.address(), "srvr", Duration::from_secs(1)).is_ok_and(|answer| answer.contains("Mode:"))
        {
            assert!(begin.elapsed() < START_TIME_MAX, "does not serve after {START_TIME_MAX:?}; {}", self.log_tail());
            let status = self.child.as_mut().expect("spawned above").try_wait().unwrap();
            assert!(status.is_none(), "the server ended: {status:?}; {}", self.log_tail());
            std::thread::sleep(Duration::from_millis(1));
        }
        match RawClient::connect_with(&self.address(), options) {
            Ok(client) => client,
            Err(error) => panic!("no session: {error}; {}", self.log_tail()),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("only a running server is killed");
        let status = child.try_wait().unwrap();
        assert!(status.is_none(), "the server ended by itself: {status:?}; {}", self.log_tail());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.first)
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        format!("{} ends with:\n{}", self.log().display(), lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; that is told elsewhere.
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// `ZOA_KILL9_SERVER` names another binary than the one built with this test, such as the release build; `zookeeper`
/// proves the test itself on Apache ZooKeeper.
fn command(config: &Path) -> Command {
    let named = std::env::var("ZOA_KILL9_SERVER");
    if named.as_deref() == Ok("zookeeper") {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/zookeeper/classpath");
        let classpath = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        assert!(classpath.status.success(), "no Apache ZooKeeper");
        let mut command = Command::new("java");
        command.arg("-cp").arg(String::from_utf8(classpath.stdout).unwrap().trim());
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(config);
        return command;
    }
    let mut command = Command::new(named.as_deref().unwrap_or(env!("CARGO_BIN_EXE_zoarium")));
    command.arg("serve").arg(config);
    command
}
