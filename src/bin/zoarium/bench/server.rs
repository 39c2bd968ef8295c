//! A server of this program on a folder of its own, as a user would start it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{BenchError, work};

/// A running server. Ends when dropped, and its folder with it.
pub(super) struct BenchServer {
    child: Child,
    address: String,
    folder: PathBuf,
    settings: Vec<String>,
    spawned: Instant,
}

impl BenchServer {
    /// Starts one on `folder`, which is made anew. `settings` are arguments for `zoarium serve`.
    pub(super) fn spawn(folder: &Path, settings: &[&str]) -> Result<BenchServer, BenchError> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // What an earlier run left is in the way.
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
        // What the last server left to write is not this one's to wait for.
        File::open(folder)?.sync_all()?;
        let mut settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        settings.extend(["--port".to_owned(), port.to_string()]);
        let (child, spawned) = launch(folder, &settings)?;
        Ok(BenchServer { child, address: format!("127.0.0.1:{port}"), folder: folder.to_owned(), settings, spawned })
    }

    /// Ends it as a power cut would and starts it again on the same folder and port.
    pub(super) fn kill_and_restart(&mut self) -> Result<(), BenchError> {
        self.child.kill()?;
        self.child.wait()?;
        (self.child, self.spawned) = launch(&self.folder, &self.settings)?;
        Ok(())
    }

    /// Waits for the first reply; how long that took since the start.
    pub(super) fn await_first_reply(&mut self, patience: Duration) -> Result<Duration, BenchError> {
        let mut client = work::await_session(&self.address, patience)?;
        client.exists("/", false)?;
        let took = self.spawned.elapsed();
        client.close()?;
        Ok(took)
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder with the data file in it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// What it logged as errors.
    pub(super) fn errors(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.join(LOG)).unwrap_or_default();
        log.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect()
    }
}

const LOG: &str = "server.log";

fn launch(folder: &Path, settings: &[String]) -> Result<(Child, Instant), BenchError> {
    let log = File::options().create(true).append(true).open(folder.join(LOG))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--data-dir").arg(folder).args(settings);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let spawned = Instant::now();
    Ok((command.spawn()?, spawned))
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        // It may have ended by itself, and the folder with it; then nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
