//! `zoarium export`: a file of ours becomes a folder that ZooKeeper starts from.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use zoarium::datadir::export;

use crate::exit;
use crate::out::say;
use crate::paint::complain;

/// Write a data folder that ZooKeeper starts from: a snapshot, the log of a member behind it, and its epochs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  zoarium export /var/lib/zoarium --to /var/lib/zookeeper     zoarium.db of that folder, as version-2/snapshot.*
  zoarium export zoarium.db --to zk

Stop the server first; its file stays as it is. Every ZooKeeper from 3.4 on starts from the snapshot: znodes, data,
stats, ACLs, sessions, ephemerals, TTLs, containers and quotas are kept. The folder must not have a version-2
yet. A member of an ensemble needs its myid there as well; what it has in its log becomes a log, which ZooKeeper can cut
where the other members say so.

Exit codes: 0 done; 1 the file is damaged or in use, or the folder cannot be written; 2 wrong usage.")]
pub(crate) struct ExportArguments {
    /// The data file, or the folder with a zoarium.db in it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// ZooKeeper's dataDir to be.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

pub(crate) fn run(arguments: &ExportArguments) -> ExitCode {
    let file = if arguments.file.is_dir() { arguments.file.join("zoarium.db") } else { arguments.file.clone() };
    let begun = Instant::now();
    let mut told = begun;
    let mut progress = |bytes: u64| {
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            say!("writing     {} MiB", bytes >> 20);
        }
    };
    match export(&file, &arguments.to, &mut progress) {
        Ok(exported) => {
            let (znodes, sessions, zxid) = (exported.znodes, exported.sessions, exported.zxid);
            say!("state       {znodes} znodes; {sessions} sessions; last zxid {zxid}");
            say!("digest      {:#018x}, as ZooKeeper computes it", exported.digest);
            let (path, bytes) = (exported.snapshot.display(), exported.bytes);
            if exported.logged > 0 {
                say!("log         {} transactions behind the snapshot", exported.logged);
            }
            say!("written     {path}, {bytes} bytes, in {:.1} s", begun.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(error);
            ExitCode::from(exit::REFUSED)
        }
    }
}
