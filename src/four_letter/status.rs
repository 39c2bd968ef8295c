//! `srvr`, `stat`, `conf`, `envi`, `dirs`: the server in a few lines.

use std::fmt;

use super::connections::{ConnectionStatus, short_line};
use super::{Latency, SizeSummary, version_line};
use crate::ids::Zxid;

/// What part a server plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Alone.
    #[default]
    Standalone,
    /// Leads an ensemble.
    Leader,
    /// Follows with a vote.
    Follower,
    /// Follows without a vote.
    Observer,
    /// Has no quorum and serves reads to who asked for that.
    ReadOnly,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly => "read-only",
        })
    }
}

/// The numbers of `srvr`, `stat` and the head of `mntr`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ServerStatus {
    /// What part it plays.
    pub mode: Mode,
    /// How long requests took since the start or the last `srst`.
    pub latency: Latency,
    /// Packets received since then.
    pub received: u64,
    /// Packets sent since then.
    pub sent: u64,
    /// Open client connections, the asking one included.
    pub connections: usize,
    /// Requests in flight.
    pub outstanding: usize,
    /// The last transaction applied.
    pub zxid: Zxid,
    /// Znodes, reserved ones included.
    pub node_count: usize,
    /// A leader's proposals.
    pub proposals: Option<SizeSummary>,
}

/// The answer to `srvr`.
pub fn srvr(status: &ServerStatus) -> String {
    head(status) + &body(status)
}

/// The answer to `stat`: `srvr` with a line for each connection, the asking one included.
pub fn stat<'a>(status: &ServerStatus, connections: impl IntoIterator<Item = &'a ConnectionStatus>) -> String {
    let mut text = head(status) + "Clients:\n";
    for connection in connections {
        text += &short_line(connection);
    }
    text + "\n" + &body(status)
}

fn head(status: &ServerStatus) -> String {
    let read_only = match status.mode {
        Mode::ReadOnly => "READ-ONLY mode; serving only read-only clients\n",
        _ => "",
    };
    format!("Zookeeper version: {}\n{read_only}", version_line())
}

fn body(status: &ServerStatus) -> String {
    let ServerStatus { mode, latency, received, sent, connections, outstanding, zxid, node_count, proposals } = status;
    let proposals = match proposals {
        Some(SizeSummary { last, min, max }) => format!("Proposal sizes last/min/max: {last}/{min}/{max}\n"),
        None => String::new(),
    };
    format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {received}\nSent: {sent}\nConnections: {connections}\n\
         Outstanding: {outstanding}\nZxid: {zxid}\nMode: {mode}\nNode count: {node_count}\n{proposals}",
        latency.min_ms(),
        latency.average(),
        latency.max_ms(),
    )
}

/// What `conf` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfStatus {
    /// Port of plain clients, -1 for none.
    pub client_port: i32,
    /// Port of TLS clients, -1 for none.
    pub secure_client_port: i32,
    /// Folder of the data.
    pub data_dir: String,
    /// Bytes of the data on disk.
    pub data_dir_size: u64,
    /// Folder of the log; with one file for both it is the folder of the data.
    pub data_log_dir: String,
    /// Bytes of the log on disk.
    pub data_log_size: u64,
    /// Unit of time in milliseconds.
    pub tick_time: u64,
    /// Connections per address, 0 for no limit.
    pub max_client_cnxns: usize,
    /// Milliseconds.
    pub min_session_timeout: u64,
    /// Milliseconds.
    pub max_session_timeout: u64,
    /// Connections waiting for accept, -1 for the system's choice.
    pub client_port_listen_backlog: i32,
    /// This server's number.
    pub server_id: u64,
    /// The ensemble, when there is one.
    pub membership: Option<ConfMembership>,
}

/// The ensemble's part of `conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfMembership {
    /// Ticks.
    pub init_limit: u64,
    /// Ticks.
    pub sync_limit: u64,
    /// Where votes go.
    pub election_port: u16,
    /// Where followers connect.
    pub quorum_port: u16,
    /// Whether this server has no vote.
    pub observer: bool,
    /// The configuration's lines, joined by newlines, without one at the end.
    pub text: String,
}

/// The answer to `conf`.
pub fn conf(status: &ConfStatus) -> String {
    let mut text = format!(
        "clientPort={}\nsecureClientPort={}\ndataDir={}\ndataDirSize={}\ndataLogDir={}\ndataLogSize={}\ntickTime={}\n\
         maxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog={}\nserverId={}\n",
        status.client_port,
        status.secure_client_port,
        status.data_dir,
        status.data_dir_size,
        status.data_log_dir,
        status.data_log_size,
        status.tick_time,
        status.max_client_cnxns,
        status.min_session_timeout,
        status.max_session_timeout,
        status.client_port_listen_backlog,
        status.server_id,
    );
    if let Some(membership) = &status.membership {
        // The blank after "membership:" is part of the format, and so is the missing newline at the end.
        text += &format!(
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={}\nmembership: \n{}",
            membership.init_limit,
            membership.sync_limit,
            membership.election_port,
            membership.quorum_port,
            u8::from(membership.observer),
            membership.text,
        );
    }
    text
}

/// What `envi` shows besides the version. An absent value has no line; what is Java's own never has one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Environment {
    /// `host.name`.
    pub host_name: Option<String>,
    /// `os.name`, such as `Linux`.
    pub os_name: Option<String>,
    /// `os.arch`, such as `amd64`.
    pub os_arch: Option<String>,
    /// `os.version`, such as `6.18.0`.
    pub os_version: Option<String>,
    /// `user.name`.
    pub user_name: Option<String>,
    /// `user.home`.
    pub user_home: Option<String>,
    /// `user.dir`, the current folder.
    pub user_dir: Option<String>,
    /// `os.memory.free` in MiB.
    pub memory_free_mib: Option<u64>,
    /// `os.memory.max` in MiB.
    pub memory_max_mib: Option<u64>,
    /// `os.memory.total` in MiB.
    pub memory_total_mib: Option<u64>,
}

/// The answer to `envi`.
pub fn envi(environment: &Environment) -> String {
    let mut text = format!("Environment:\nzookeeper.version={}\n", version_line());
    let memory = |mib: Option<u64>| mib.map(|mib| format!("{mib}MB"));
    let lines = [
        ("host.name", environment.host_name.clone()),
        ("os.name", environment.os_name.clone()),
        ("os.arch", environment.os_arch.clone()),
        ("os.version", environment.os_version.clone()),
        ("user.name", environment.user_name.clone()),
        ("user.home", environment.user_home.clone()),
        ("user.dir", environment.user_dir.clone()),
        ("os.memory.free", memory(environment.memory_free_mib)),
        ("os.memory.max", memory(environment.memory_max_mib)),
        ("os.memory.total", memory(environment.memory_total_mib)),
    ];
    for (key, value) in lines {
        if let Some(value) = value {
            text += &format!("{key}={value}\n");
        }
    }
    text
}

/// The answer to `dirs`: bytes of data and of log on disk.
pub fn dirs(data_size: u64, log_size: u64) -> String {
    format!("datadir_size: {data_size}\nlogdir_size: {log_size}\n")
}
