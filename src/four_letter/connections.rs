//! `cons`, and the client lines of `stat`.

use std::net::SocketAddr;

use super::{Latency, java_address};
use crate::ids::{Millis, SessionId, WallMillis, Zxid};

/// One client connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// Where the client is.
    pub remote: SocketAddr,
    /// What the server waits for on the socket: 1 to read, 4 to write, both added, 0 for neither.
    pub interest: u8,
    /// Requests in flight.
    pub queued: usize,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Its session, once there is one.
    pub session: Option<ConnectionSession>,
}

/// What a connection with a session shows besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSession {
    /// The session.
    pub id: SessionId,
    /// Code of the last operation, from [`operation_code`].
    pub last_operation: &'static str,
    /// When the connection was made.
    pub established: WallMillis,
    /// Granted session timeout in milliseconds.
    pub timeout_ms: u64,
    /// Number of the last request; not shown when negative, as after a ping (-2).
    pub last_xid: i64,
    /// The zxid of the last reply.
    pub last_zxid: Zxid,
    /// When the last reply went out.
    pub last_response: Millis,
    /// How long the last request took, in milliseconds.
    pub last_latency_ms: u64,
    /// How long its requests took.
    pub latency: Latency,
}

/// The line of `stat`, and of `cons` for a connection without a session. The leading blank belongs to it.
pub(super) fn short_line(connection: &ConnectionStatus) -> String {
    brief(connection) + ")\n"
}

fn brief(connection: &ConnectionStatus) -> String {
    let ConnectionStatus { remote, interest, queued, received, sent, session: _ } = connection;
    format!(" {}[{interest:x}](queued={queued},recved={received},sent={sent}", java_address(*remote))
}

/// The answer to `cons`.
pub fn cons<'a>(connections: impl IntoIterator<Item = &'a ConnectionStatus>) -> String {
    let mut text = String::new();
    for connection in connections {
        let Some(session) = &connection.session else {
            text += &short_line(connection);
            continue;
        };
        text += &brief(connection);
        text += &format!(
            ",sid={},lop={},est={},to={}",
            session.id, session.last_operation, session.established.0, session.timeout_ms
        );
        if session.last_xid >= 0 {
            text += &format!(",lcxid=0x{:x}", session.last_xid);
        }
        text += &format!(
            ",lzxid={},lresp={},llat={},minlat={},avglat={},maxlat={})\n",
            session.last_zxid,
            session.last_response.0,
            session.last_latency_ms,
            session.latency.min_ms(),
            session.latency.average_whole(),
            session.latency.max_ms()
        );
    }
    text + "\n"
}

/// The code that `cons` shows for an operation's number on the wire; `NA` for none and for unknown ones.
pub fn operation_code(opcode: i32) -> &'static str {
    match opcode {
        -10 => "SESS",
        -11 => "CLOS",
        1 | 15 | 19 | 21 => "CREA",
        2 | 20 => "DELE",
        3 => "EXIS",
        4 => "GETD",
        5 => "SETD",
        6 => "GETA",
        7 => "SETA",
        8 | 12 => "GETC",
        9 => "SYNC",
        11 => "PING",
        13 => "CHEC",
        14 => "MULT",
        16 => "RECO",
        17 => "CHKW",
        18 => "REMW",
        22 => "MLTR",
        101 => "SETW",
        103 => "GETE",
        104 => "GETACN",
        105 => "STW2",
        106 => "ADDW",
        107 => "HOMI",
        _ => "NA",
    }
}
