//! Starts the two servers: Apache ZooKeeper on Java, and ours.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use zoarium::raw::four_letter;

#[path = "../kit/ports.rs"]
mod ports;
use ports::Ports;

/// Which server.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    ZooKeeper,
    Ours,
}

/// Lines of `zoo.cfg`, and settings that Apache ZooKeeper takes from nowhere but Java's properties.
#[derive(Clone)]
pub struct Settings {
    pub config: Vec<String>,
    pub properties: Vec<(&'static str, &'static str)>,
    /// What the file `myid` says, if there is one.
    pub myid: Option<&'static str>,
    /// A snapshot file of ZooKeeper's to begin with, and its zxid.
    pub snapshot: Option<(i64, Vec<u8>)>,
}

impl Settings {
    /// Everything on that a script makes use of.
    pub fn rich() -> Settings {
        Settings::of(
            &[
                "tickTime=2000",
                // Wide, so that neither a slow machine nor a session without connection ends in an expiry.
                "minSessionTimeout=20000",
                "maxSessionTimeout=90000",
                "maxClientCnxns=0",
                "4lw.commands.whitelist=*",
                "extendedTypesEnabled=true",
                "enforceQuota=true",
                "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
            ],
            &[("znode.container.checkIntervalMs", "1000000000")],
        )
    }

    /// As much as possible left at its default.
    pub fn poor() -> Settings {
        Settings::of(
            &["tickTime=10000", "maxClientCnxns=0", "reconfigEnabled=true", "skipACL=yes"],
            &[("znode.container.checkIntervalMs", "1000000000")],
        )
    }

    /// Containers and expired znodes go soon.
    pub fn quick() -> Settings {
        let mut settings = Settings::rich();
        settings.properties = vec![("znode.container.checkIntervalMs", "100")];
        settings.config.retain(|line| !line.starts_with("minSessionTimeout"));
        settings
    }

    /// Few connections, and a number for the server.
    pub fn counting() -> Settings {
        let mut settings = Settings::rich();
        settings.config.retain(|line| !line.starts_with("maxClientCnxns"));
        settings.config.push("maxClientCnxns=8".into());
        settings.myid = Some("3");
        settings
    }

    fn of(config: &[&str], properties: &[(&'static str, &'static str)]) -> Settings {
        Settings {
            config: config.iter().map(|line| line.to_string()).collect(),
            properties: properties.to_vec(),
            myid: None,
            snapshot: None,
        }
    }
}

/// A running server on a data directory of its own. Ends when dropped.
pub struct Server {
    pub address: String,
    _ports: Ports,
    child: Child,
    dir: PathBuf,
}

impl Server {
    pub fn start(kind: Kind, settings: &Settings) -> Server {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let rank = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reference-{}-{rank}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("data")).expect("the temporary directory is ours");
        if let Some(myid) = settings.myid {
            fs::write(dir.join("data/myid"), myid).expect("myid");
        }
        if let Some((zxid, file)) = &settings.snapshot {
            fs::create_dir_all(dir.join("data/version-2")).expect("the temporary directory is ours");
            fs::write(dir.join(format!("data/version-2/snapshot.{zxid:x}")), file).expect("a snapshot");
        }
        let ports = Ports::take(1);
        let port = ports.first;
        let mut config = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            dir.join("data").display()
        );
        for line in &settings.config {
            config += &format!("{line}\n");
        }
        let file = dir.join("zoo.cfg");
        fs::write(&file, config).expect("zoo.cfg");
        let mut command = match kind {
            Kind::ZooKeeper => zookeeper(settings),
            Kind::Ours => ours(settings),
        };
        let log = File::create(dir.join("log")).expect("log");
        let errors = log.try_clone().expect("a second handle");
        let child = command.arg(&file).stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(&dir).spawn();
        let child = child.unwrap_or_else(|error| panic!("{kind:?} does not start: {error}"));
        let mut server = Server { address: format!("127.0.0.1:{port}"), _ports: ports, child, dir };
        server.await_service(kind);
        server
    }

    fn await_service(&mut self, kind: Kind) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = four_letter(&self.address, "srvr", Duration::from_secs(5)).unwrap_or_default();
            if answer.contains("Mode: standalone") {
                return;
            }
            let ended = self.child.try_wait().expect("our child");
            assert!(ended.is_none() && Instant::now() < deadline, "{kind:?} did not come up:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it is still there.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last of what it wrote.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn zookeeper(settings: &Settings) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.args(settings.properties.iter().map(|(name, value)| format!("-D{name}={value}")));
    command.arg("-cp").arg(class_path().expect("asked for only where there is one"));
    command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
    command
}

fn ours(settings: &Settings) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoarium"));
    command.arg("serve");
    command.args(settings.properties.iter().map(|(name, value)| format!("-D{name}={value}")));
    command
}

/// Where Java finds a ZooKeeper, or why it does not.
pub fn class_path() -> Result<&'static str, &'static str> {
    static FOUND: OnceLock<Result<String, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/zookeeper/classpath");
        Command::new("java").arg("-version").output().map_err(|error| format!("no Java: {error}"))?;
        let output = Command::new(script).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    found.as_deref().map_err(String::as_str)
}
