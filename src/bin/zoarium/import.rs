//! `zoarium import`: a stopped ZooKeeper server's data becomes a file of ours.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use zoarium::config::Config;
use zoarium::datadir::{DataFolder, ImportStep, import};
use zoarium::ids::ServerId;

use crate::exit;
use crate::out::say;
use crate::paint::{complain, warn};

/// Take over a stopped ZooKeeper server's data: its newest snapshot and the log after it become a data file.
#[derive(Args)]
#[command(after_help = "\
Examples:
  zoarium import /etc/zookeeper/conf/zoo.cfg             the data of that server, into its dataDir
  zoarium import /var/lib/zookeeper --dry-run            look only: znodes, sessions, last transaction, digest
  zoarium import /data/zk --log-dir /log/zk --to /data/zoarium
                                                         dataDir and dataLogDir are two folders

Stop the ZooKeeper server first. Its files stay as they are; read are those of 3.4 to 3.9, compressed or not.
Znodes, data, stats, ACLs, sessions, ephemerals, TTLs, containers and quotas are kept, and the epochs of a
member of an ensemble. Where ZooKeeper has put a digest behind the last transaction, the tree is compared with it.

Afterwards `zoarium serve` with the same zoo.cfg goes on where that server stopped.
`zoarium export` is the way back.

Exit codes: 0 done; 1 the data is damaged or contradicts itself, or cannot be written; 2 wrong usage.")]
pub(crate) struct ImportArguments {
    /// The server's zoo.cfg, or its dataDir.
    #[arg(value_name = "ZOO_CFG|FOLDER")]
    source: PathBuf,
    /// The folder of the logs (dataLogDir), if it is another one.
    #[arg(long, value_name = "FOLDER")]
    log_dir: Option<PathBuf>,
    /// The folder of the new file zoarium.db; without it, the dataDir.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// The server's number; without it, what myid says.
    #[arg(long, value_name = "NUMBER")]
    server_id: Option<u64>,
    /// Read and check everything, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &ImportArguments) -> ExitCode {
    match take_over(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            complain(text);
            ExitCode::from(code)
        }
    }
}

/// What ends the command, with its exit code.
type CommandEnd = (u8, String);

fn refused(error: impl std::fmt::Display) -> CommandEnd {
    (exit::REFUSED, error.to_string())
}

/// The configuration of the server that takes over.
fn config_of(source: &Path) -> Result<Config, CommandEnd> {
    let usage = |error: &dyn std::fmt::Display| (exit::USAGE, error.to_string());
    if source.is_dir() {
        return Ok(Config { data_dir: source.to_owned(), ..Config::default() });
    }
    let loaded = Config::read(Some(source), &[], std::iter::empty()).map_err(|error| usage(&error))?;
    Ok(loaded.config)
}

fn take_over(arguments: &ImportArguments) -> Result<(), CommandEnd> {
    let mut config = config_of(&arguments.source)?;
    let log_dir = arguments.log_dir.clone().or_else(|| config.data_log_dir.clone());
    let folder = DataFolder::find(&config.data_dir, log_dir.as_deref()).map_err(refused)?;
    if let Some(id) = arguments.server_id.or(folder.server_id) {
        config.server_id = ServerId(id);
    }
    if let Some(to) = &arguments.to {
        config.data_dir.clone_from(to);
    }
    let file = config.file();
    if !arguments.dry_run && file.symlink_metadata().is_ok() {
        return Err((exit::REFUSED, format!("{} is there already, and is not overwritten", file.display())));
    }
    let begun = Instant::now();
    let mut progress = Progress::new();
    let read = import(folder, config.server_id, &mut |step| progress.tell(step)).map_err(refused)?;
    let (state, (accepted, current)) = (read.state(), read.epochs());
    let snapshot = read.snapshot().map_or("no snapshot".to_owned(), |path| path.display().to_string());
    say!("read        {snapshot} and {} transactions of the log", read.applied());
    say!(
        "state       {} znodes, {} ephemeral, {} bytes of data; {} sessions; last zxid {}",
        state.tree().node_count(),
        state.tree().ephemeral_count(),
        state.tree().approximate_data_size(),
        state.session_count(),
        state.applied()
    );
    say!("epochs      accepted {accepted}, current {current}");
    let compared = if read.is_checked() { "as ZooKeeper computed it" } else { "ZooKeeper left none to compare with" };
    say!("digest      {:#018x}, {compared}", state.tree().zookeeper_digest());
    if arguments.dry_run {
        say!("dry run: nothing was written; {} would be", file.display());
        return Ok(());
    }
    read.write(&file, &config.store_options(), &mut |step| progress.tell(step)).map_err(refused)?;
    say!("written     {}, in {:.1} s", file.display(), begun.elapsed().as_secs_f64());
    Ok(())
}

/// Says how far it is, once a second while it takes long; and at once what is not as it should be.
struct Progress {
    told: Instant,
}

impl Progress {
    fn new() -> Progress {
        Progress { told: Instant::now() }
    }

    fn tell(&mut self, step: ImportStep<'_>) {
        let text = match step {
            ImportStep::SnapshotSkipped { why } => {
                return warn(format!("a snapshot is not whole, an older one is used: {why}"));
            }
            ImportStep::TornTail { path, offset } => {
                return warn(format!(
                    "{}: the last transaction, at byte {offset}, was not written whole and is left out",
                    path.display()
                ));
            }
            ImportStep::Snapshot { path, bytes } => format!("reading     {}, {} MiB", path.display(), bytes >> 20),
            ImportStep::Log { path, applied } => format!("reading     {}, {applied} transactions", path.display()),
            ImportStep::Writing { bytes } => format!("writing     {} MiB", bytes >> 20),
            _ => return,
        };
        if self.told.elapsed() >= Duration::from_secs(1) {
            self.told = Instant::now();
            say!("{text}");
        }
    }
}
