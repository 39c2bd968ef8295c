//! `zoarium bench`: load in a closed loop, over the raw protocol, against any ZooKeeper.

mod footprint;
mod load;
mod machine;
mod server;
mod soak;
mod table;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use zoarium::raw::ClientError;

use crate::exit;
use crate::out::say;
use crate::paint::complain;
use load::{Limit, Measurement};
use table::Row;
use work::BenchSessions;

/// Measure a server: throughput and latency of one kind of request, or a table of them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  zoarium bench --table                              a server on this machine, four shapes of load
  zoarium bench --workload set --size 1000           sets of 1,000 bytes at 50 connections × 20 requests
  zoarium bench --address a:2181 --versus b:2181     two servers in turn
  zoarium bench --soak 10                            ten minutes of writes at full speed against a server of its
                                                     own in this folder, which takes up to 6 GiB of disk

Each connection keeps --outstanding requests on their way and sends the next when a reply comes, so latency is
connections × outstanding / rate. A server is given other work by nobody else while it is measured.

Exit codes: 0 done, all gates and bounds held; 1 missed, or no server; 2 wrong usage.")]
pub(crate) struct BenchArguments {
    /// The server to measure.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2181")]
    address: String,
    /// A second server, measured in turn with the first; prints how they compare.
    #[arg(long, value_name = "HOST:PORT")]
    versus: Option<String>,
    /// What to measure, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "create,set,get")]
    workload: Vec<Workload>,
    /// Connections, each with a session.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Requests on their way on each connection.
    #[arg(long, default_value_t = 20)]
    outstanding: usize,
    /// Bytes of data in a znode.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// How long each reading takes; a fifth of it goes unmeasured before.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many requests each reading takes, in place of --seconds.
    #[arg(long)]
    ops: Option<u64>,
    /// Measure 1 × 1, 1 × 100, 50 × 1 and 50 × 20 connections × outstanding.
    #[arg(long)]
    table: bool,
    /// How many times each reading is taken; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Fail when the first server is less than this many times as fast: create:50x20:4.
    #[arg(long, value_name = "WORKLOAD:SHAPE:RATIO", requires = "versus", value_parser = parse_gate)]
    gate: Vec<Gate>,
    /// Names for the two servers in the table.
    #[arg(long, value_delimiter = ',', default_value = "zoarium,ZooKeeper")]
    names: Vec<String>,
    /// A folder on the file system the servers write to, to name it.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    on: PathBuf,
    /// Measure this program's own footprint instead: start, memory, threads. Starts servers of its own.
    #[arg(long, conflicts_with_all = ["table", "versus"])]
    footprint: bool,
    /// Load a server of its own without pause for so many minutes instead, and hold it to its bounds: file, memory,
    /// pauses, refusals, snapshots, rate, restart.
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["table", "versus", "footprint"])]
    soak: Option<f64>,
    /// For --soak: rates and times are printed beside their bounds and do not decide, as on a machine that others use.
    #[arg(long, requires = "soak")]
    no_timing: bool,
    /// For --soak: only these states, by their number in the matrix, 1 to 9.
    #[arg(long, requires = "soak", value_name = "NUMBER", value_delimiter = ',', value_parser = soak::state_number)]
    states: Vec<usize>,
    /// For --footprint: how many znodes to fill the memory with.
    #[arg(long, default_value_t = 1_000_000)]
    znodes: usize,
}

/// What is asked of the server.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Workload {
    /// Create znodes.
    Create,
    /// Set the data of existing znodes.
    Set,
    /// Get the data of existing znodes.
    Get,
    /// Nine gets for one set.
    Mixed,
    /// Delete znodes.
    Delete,
    /// Set one znode that every connection watches; counts the events.
    Watch,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Workload::Create => "create",
            Workload::Set => "set",
            Workload::Get => "get",
            Workload::Mixed => "mixed",
            Workload::Delete => "delete",
            Workload::Watch => "watch",
        }
    }
}

/// Connections and requests outstanding on each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    connections: usize,
    outstanding: usize,
}

const TABLE: [Shape; 4] = [
    Shape { connections: 1, outstanding: 1 },
    Shape { connections: 1, outstanding: 100 },
    Shape { connections: 50, outstanding: 1 },
    Shape { connections: 50, outstanding: 20 },
];

#[derive(Clone, Debug)]
struct Gate {
    workload: Workload,
    shape: Shape,
    ratio: f64,
}

fn parse_gate(text: &str) -> Result<Gate, String> {
    let parts: Vec<_> = text.split(':').collect();
    let [workload, shape, ratio] = parts[..] else { return Err("three parts are needed, as in create:50x20:4".into()) };
    let workload = Workload::from_str(workload, false)?;
    let shape = shape.split_once('x').and_then(|(connections, outstanding)| {
        Some(Shape { connections: connections.parse().ok()?, outstanding: outstanding.parse().ok()? })
    });
    let shape = shape.ok_or("the shape is CONNECTIONSxOUTSTANDING")?;
    Ok(Gate { workload, shape, ratio: ratio.parse().map_err(|_| "the ratio is a number")? })
}

/// Runs the command.
pub(crate) fn run(arguments: &BenchArguments) -> ExitCode {
    let done = match arguments.soak {
        Some(minutes) => soak::run(minutes, !arguments.no_timing, &arguments.states),
        None if arguments.footprint => footprint::run(arguments.znodes),
        None => measure(arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(exit::REFUSED),
        Err(error) => {
            complain(format!("bench: {error}"));
            ExitCode::from(if error.is::<NoConnection>() { exit::NO_CONNECTION } else { exit::REFUSED })
        }
    }
}

/// Why there is no reading.
type BenchError = Box<dyn std::error::Error>;

/// No server at the address, or it went away.
#[derive(Debug)]
struct NoConnection(String);

impl std::fmt::Display for NoConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoConnection {}

fn measure(arguments: &BenchArguments) -> Result<bool, BenchError> {
    let shapes = match arguments.table {
        true => TABLE.to_vec(),
        false => vec![Shape { connections: arguments.connections, outstanding: arguments.outstanding }],
    };
    if shapes.iter().any(|shape| shape.connections == 0 || shape.outstanding == 0) || arguments.rounds == 0 {
        return Err("connections, outstanding and rounds are at least 1".into());
    }
    let mut addresses = vec![arguments.address.as_str()];
    addresses.extend(arguments.versus.as_deref());
    say!("{}", machine::describe(&arguments.on));
    say!(
        "closed loop, {} B data, {} × {} per reading, median; latency of all rounds",
        arguments.size,
        arguments.rounds,
        arguments.ops.map_or(format!("{} s", arguments.seconds), |ops| format!("{ops} requests")),
    );
    table::head(&arguments.names, addresses.len());
    let mut passed = true;
    for &workload in &arguments.workload {
        for &shape in &shapes {
            let row = row(arguments, workload, shape, &addresses)?;
            table::line(&row);
            for gate in arguments.gate.iter().filter(|gate| gate.workload == workload && gate.shape == shape) {
                let held = row.ratio() >= gate.ratio;
                passed &= held;
                say!("  gate {} × : {}", gate.ratio, if held { "held" } else { "MISSED" });
            }
        }
    }
    Ok(passed)
}

/// One cell of the table: the servers in turn, round by round, so that both meet the machine's moods alike.
fn row(arguments: &BenchArguments, workload: Workload, shape: Shape, addresses: &[&str]) -> Result<Row, BenchError> {
    let mut readings: Vec<Vec<Measurement>> = addresses.iter().map(|_| Vec::new()).collect();
    for _ in 0..arguments.rounds {
        for (address, readings) in addresses.iter().zip(&mut readings) {
            let reading = reading(arguments, workload, shape, address);
            readings.push(reading.map_err(|error| -> BenchError {
                let text = format!("{address}, {}: {error}", workload.name());
                match error.downcast_ref::<ClientError>() {
                    Some(ClientError::Io(_)) => NoConnection(text).into(),
                    _ => text.into(),
                }
            })?);
        }
    }
    Ok(Row::new(workload, shape.connections, shape.outstanding, readings))
}

fn reading(
    arguments: &BenchArguments,
    workload: Workload,
    shape: Shape,
    address: &str,
) -> Result<Measurement, BenchError> {
    let limit = match arguments.ops {
        Some(ops) => Limit::Ops(ops),
        None => Limit::Time(Duration::from_secs_f64(arguments.seconds)),
    };
    let mut session = BenchSessions::open(address, shape.connections, arguments.size)?;
    let reading = session.measure(workload, shape.outstanding, limit);
    // Also after a failure: what was made is to go.
    session.clean_up()?;
    reading
}
