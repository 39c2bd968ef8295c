//! The `zoarium` command: a server, and what one needs around it.

// They panic when nobody reads any more: `out::say` and `paint::complain` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod check;
mod describe;
mod dev;
mod export;
mod import;
mod inspect;
mod logging;
mod options;
mod out;
mod paint;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit codes, the same for every command.
mod exit {
    /// Understood and denied: a server that cannot start, a file that is damaged.
    pub(crate) const REFUSED: u8 = 1;
    /// The command line or the configuration is wrong.
    pub(crate) const USAGE: u8 = 2;
    /// There is no server at the address, or the connection to it is lost.
    pub(crate) const NO_CONNECTION: u8 = 3;
}

/// A coordination service that speaks ZooKeeper's protocol, in one process and one file.
#[derive(Parser)]
#[command(
    name = "zoarium",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES
)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
    #[command(flatten)]
    volume: logging::Volume,
}

const EXAMPLES: &str = "\
Examples:
  zoarium serve                        a server on its own: ./zoarium-data, 127.0.0.1, port 2181
  zoarium serve zoo.cfg                a ZooKeeper server's configuration, unedited
  zoarium dev --peers 3                a throw-away ensemble, whose leader you can kill
  zoarium check /etc/zookeeper/conf/zoo.cfg
                                       what each setting of that file means here, and what is ignored
  zoarium inspect zoarium-data         what is in a data file, transactions as lines
  zoarium bench --table                how fast a server is, this one or another
  zoarium import zoo.cfg               take over the data of a stopped ZooKeeper server
  zoarium export zoarium-data --to zk  write a folder that ZooKeeper starts from

Exit codes: 0 done, 1 refused, 2 wrong usage or configuration, 3 no connection.
`zoarium COMMAND --help` says more about each command.";

#[derive(Subcommand)]
enum Subcommands {
    Serve(serve::ServeArguments),
    Bench(bench::BenchArguments),
    Check(check::CheckArguments),
    Inspect(inspect::InspectArguments),
    Import(import::ImportArguments),
    Export(export::ExportArguments),
    Dev(dev::DevArguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = match cli.command {
        Subcommands::Serve(arguments) => serve::run(arguments, cli.volume),
        Subcommands::Bench(arguments) => bench::run(&arguments),
        Subcommands::Check(arguments) => check::run(&arguments),
        Subcommands::Inspect(arguments) => inspect::run(&arguments),
        Subcommands::Import(arguments) => import::run(&arguments),
        Subcommands::Export(arguments) => export::run(&arguments),
        Subcommands::Dev(arguments) => dev::run(&arguments, cli.volume),
    };
    if out::is_lost() && code == ExitCode::SUCCESS { ExitCode::from(exit::REFUSED) } else { code }
}
