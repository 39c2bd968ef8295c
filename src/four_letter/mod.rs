//! Four-letter words: which are answered, and what they say. Pure formatting; the peer fills the structs.

mod connections;
mod date;
mod dump;
mod monitor;
mod numbers;
mod status;
#[cfg(test)]
mod tests;
mod whitelist;

pub use connections::{ConnectionSession, ConnectionStatus, cons, operation_code};
pub use date::{civil, java_date};
pub use dump::{Dump, ExpirySets, SessionsDump, WatchSummary, dump, hash, wchc, wchp, wchs};
pub use monitor::{LeaderStatus, MonitorCounter, MonitorStatus, Percentiles, Summary, mntr};
pub use numbers::{Latency, SizeSummary, Spread, java_address};
pub use status::{ConfMembership, ConfStatus, Environment, Mode, ServerStatus, conf, dirs, envi, srvr, stat};
pub use whitelist::{Whitelist, Word, is_allowed, refused};

use crate::ids::WallMillis;

/// The answer to `ruok`. No newline.
pub const IMOK: &str = "imok";

/// The answer to `crst`, its newline included.
pub const CRST: &str = "Connection stats reset.\n";

/// The answer to `srst`, its newline included.
pub const SRST: &str = "Server stats reset.\n";

/// The answer to most words while there is no quorum, its newline included; [`hash`] goes without.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// The trace mask `gtmk` answers with until `stmk` sets another.
pub const TRACE_MASK: i64 = 306;

/// When this version was made. A constant, so that the same source gives the same binary.
const BUILT: WallMillis = WallMillis(1_795_219_200_000);

/// The version as ZooKeeper's clients read it: major and minor say which features exist.
pub const VERSION: &str = concat!("3.9.5-zoarium-", env!("CARGO_PKG_VERSION"));

/// The version and its date in the form of ZooKeeper up to 3.6, `MM/DD/YYYY`: the older releases of go-zk's parser
/// accept no other, and every parser accepts this one.
pub fn version_line() -> String {
    let date = civil(BUILT);
    format!(
        "{VERSION}, built on {:02}/{:02}/{} {:02}:{:02} UTC",
        date.month, date.day, date.year, date.hour, date.minute
    )
}

/// The answer to `isro`: whether the server takes writes; `None` without a quorum. No newline.
pub fn isro(read_only: Option<bool>) -> &'static str {
    match read_only {
        Some(false) => "rw",
        Some(true) => "ro",
        None => "null",
    }
}

/// The answer to `gtmk` and `stmk`. No newline.
pub fn trace_mask(mask: i64) -> String {
    mask.to_string()
}
