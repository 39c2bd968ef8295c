//! Four-letter words: what must be equal in their answers, and what only has to look alike.

use std::collections::BTreeMap;

use crate::masks::Masks;

/// Asked in the middle of a script.
pub const DURING: &[&str] = &["ruok", "isro", "wchs", "wchc", "wchp", "srvr", "stat", "dump", "cons", "mntr", "gtmk"];

/// All that are compared. `stmk` carries its number behind it.
pub const ALL: &[&str] = &[
    "ruok",
    "isro",
    "wchs",
    "wchc",
    "wchp",
    "srvr",
    "stat",
    "dump",
    "cons",
    "mntr",
    "conf",
    "envi",
    "dirs",
    "gtmk",
    "stmk\0\0\0\0\0\0\x012",
    "stmk\0\0\0\0\0\0\0\0",
    "gtmk",
    "crst",
    "srst",
];

/// Values of `mntr` that two servers in the same state share.
const MNTR_EQUAL: &[&str] = &[
    "zk_server_state",
    "zk_num_alive_connections",
    "zk_outstanding_requests",
    "zk_znode_count",
    "zk_watch_count",
    "zk_ephemerals_count",
    "zk_global_sessions",
    "zk_local_sessions",
    "zk_connection_drop_probability",
    "zk_last_client_response_size",
    "zk_max_client_response_size",
    "zk_min_client_response_size",
];

/// Values of `mntr` that monitoring reads.
const MNTR_PRESENT: &[&str] = &[
    "zk_version",
    "zk_approximate_data_size",
    "zk_avg_latency",
    "zk_max_latency",
    "zk_min_latency",
    "zk_packets_received",
    "zk_packets_sent",
    "zk_open_file_descriptor_count",
    "zk_max_file_descriptor_count",
    "zk_uptime",
    "zk_outstanding_tls_handshake",
    "zk_auth_failed_count",
    "zk_non_mtls_remote_conn_count",
    "zk_non_mtls_local_conn_count",
    "zk_avg_readlatency",
    "zk_cnt_readlatency",
    "zk_p99_readlatency",
    "zk_avg_updatelatency",
    "zk_cnt_updatelatency",
    "zk_p99_updatelatency",
    "zk_avg_fsynctime",
    "zk_cnt_fsynctime",
    "zk_avg_snapshottime",
    "zk_cnt_snapshottime",
];

/// The answer with everything masked in which servers may differ.
pub fn shape(word: &str, answer: &str, masks: &Masks) -> String {
    let body = match word.get(..4).unwrap_or(word) {
        "srvr" => lines(answer, |line| server_line(line, masks)),
        "stat" => lines(answer, |line| match line.strip_prefix(" /") {
            Some(client) => format!(" /{}", digits_masked(client)),
            None => server_line(line, masks),
        }),
        "cons" => sorted_lines(answer, |line| connection_line(line, masks)),
        "conf" => lines(answer, conf_line),
        "envi" => {
            let of_the_java_machine = |line: &&str| line.starts_with("java.") || line.starts_with("os.memory.free");
            let rest = answer.split('\n').filter(|line| !of_the_java_machine(line));
            rest.map(environment_line).collect::<Vec<_>>().join("\n")
        }
        "dirs" => lines(answer, digits_masked),
        "dump" => dump(answer, masks),
        "wchs" => lines(answer, |line| match line.split_once(" connections watching ") {
            Some((_, paths)) => format!("# connections watching {paths}"),
            None => line.to_owned(),
        }),
        "wchc" => blocks(answer, |line| ids_masked(line, masks)),
        "wchp" => blocks(answer, |line| ids_masked(line, masks)),
        "mntr" => mntr(answer),
        _ => answer.to_owned(),
    };
    format!("{}: {body:?}", &word[..4])
}

fn lines(answer: &str, mask: impl Fn(&str) -> String) -> String {
    answer.split('\n').map(mask).collect::<Vec<_>>().join("\n")
}

fn sorted_lines(answer: &str, mask: impl Fn(&str) -> String) -> String {
    let mut lines: Vec<_> = answer.split('\n').map(mask).collect();
    // The empty lines at the end stay there.
    lines.sort_by(|a, b| a.is_empty().cmp(&b.is_empty()).then(a.cmp(b)));
    lines.join("\n")
}

/// Runs of digits become `#`.
fn digits_masked(line: &str) -> String {
    let mut masked = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if masked.ends_with('#') => {}
            '0'..='9' => masked.push('#'),
            c => masked.push(c),
        }
    }
    masked
}

fn server_line(line: &str, masks: &Masks) -> String {
    let number = |text: &str| i64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(-1);
    match line.split_once(": ") {
        Some(("Zookeeper version", version)) => {
            let begins = version.starts_with(|c: char| c.is_ascii_digit()) && version.contains(", built on ");
            format!("Zookeeper version: {}", if begins { "#" } else { version })
        }
        Some(("Latency min/avg/max", times)) => {
            let numbers = times.split('/').filter(|time| time.parse::<f64>().is_ok()).count();
            format!("Latency min/avg/max: {numbers} numbers")
        }
        Some((what @ ("Received" | "Sent"), count)) => format!("{what}: {}", digits_masked(count)),
        Some(("Zxid", zxid)) if zxid.starts_with("0x") => format!("Zxid: {}", masks.zxid(number(zxid))),
        _ => line.to_owned(),
    }
}

/// ` /127.0.0.1:1[1](queued=0,recved=5,sid=0x1,lop=PING,to=10000)`: names in order; values where they must agree.
fn connection_line(line: &str, masks: &Masks) -> String {
    let Some((address, fields)) = line.split_once('(') else { return line.to_owned() };
    let fields = fields.trim_end_matches(')').split(',').map(|field| match field.split_once('=') {
        Some(("sid", id)) => format!("sid={}", ids_masked(id, masks)),
        Some((name @ ("lop" | "to"), value)) => format!("{name}={value}"),
        Some((name, value)) => format!("{name}={}", if value.starts_with("0x") { "0x#" } else { "#" }),
        None => field.to_owned(),
    });
    // The bits of interest say whether the server was writing just then.
    let fields: Vec<_> = fields.collect();
    format!("({}) {}", fields.join(","), digits_masked(address))
}

fn conf_line(line: &str) -> String {
    match line.split_once('=') {
        Some((key @ ("clientPort" | "dataDirSize" | "dataLogSize"), value)) => {
            format!("{key}={}", digits_masked(value))
        }
        Some((key @ ("dataDir" | "dataLogDir"), _)) => format!("{key}=#"),
        _ => line.to_owned(),
    }
}

/// Memory is the process's, the folder the server's own, and the host's name a matter of whom one asks.
fn environment_line(line: &str) -> String {
    match line.split_once('=') {
        Some((key @ ("zookeeper.version" | "host.name" | "user.dir"), _)) => format!("{key}=#"),
        Some((key, value)) if key.starts_with("os.memory") => format!("{key}={}", digits_masked(value)),
        _ => line.to_owned(),
    }
}

/// Session ids become the script's names.
fn ids_masked(line: &str, masks: &Masks) -> String {
    let Some(at) = line.find("0x") else { return line.to_owned() };
    let hex: String = line[at + 2..].chars().take_while(char::is_ascii_hexdigit).collect();
    let id = u64::from_str_radix(&hex, 16).unwrap_or(0) as i64;
    format!("{}{}{}", &line[..at], masks.session(id), &line[at + 2 + hex.len()..])
}

/// Heads with indented lines below, in any order.
fn blocks(answer: &str, mask: impl Fn(&str) -> String) -> String {
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut head = String::new();
    let mut rest = String::new();
    for line in answer.split('\n') {
        if line.starts_with('\t') {
            blocks.entry(head.clone()).or_default().push(mask(line));
        } else if line.is_empty() {
            rest.push('\n');
        } else {
            head = mask(line);
        }
    }
    for lines in blocks.values_mut() {
        lines.sort();
    }
    format!("{blocks:?}{rest}")
}

/// The answer to `dump` without connections that `cons` does not list, which is the asking one and what ended.
///
/// ZooKeeper sets a connection's time limit anew after each reading from it, without asking whether another thread has closed
/// it meanwhile, as the take-over and the end of its session do. One that was closed just then stays in the list of time
/// limits, which is what `dump` shows, until its session's timeout has passed: longer than the comparison waits.
pub fn without_ended(dump: &str, cons: &str) -> String {
    let there: Vec<_> = cons.lines().filter_map(|line| line.trim_start().split('[').next()).collect();
    let is_ended = |line: &str| {
        let address = line.strip_prefix("\tip: ").and_then(|rest| rest.split(' ').next());
        address.is_some_and(|address| !there.contains(&address))
    };
    let kept: Vec<_> = dump.split('\n').filter(|line| !is_ended(line)).collect();
    let connections = kept.iter().filter(|line| line.starts_with("\tip: ")).count();
    let counted = |line: &&str| match line.strip_prefix("Connections Sets (") {
        Some(sets) => format!("Connections Sets ({}/({connections}):", sets.split('/').next().unwrap_or("")),
        None => (*line).to_owned(),
    };
    kept.iter().map(counted).collect::<Vec<_>>().join("\n")
}

/// Which expiry bucket a session is in is a matter of time; that it is in one is not.
fn dump(answer: &str, masks: &Masks) -> String {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in answer.split('\n') {
        if line.contains(" expire at ") {
            continue;
        }
        if line.starts_with('\t') {
            let masked = digits_after_port(&ids_masked(line, masks));
            sections.last_mut().expect("dump begins with a title").1.push(masked);
        } else if line.contains(" Sets (") {
            // "(buckets)/(members)": how many buckets is a matter of time as well.
            let members = line.split('/').next_back().unwrap_or("");
            sections.push((format!("{}/{members}", line.split('(').next().unwrap_or("")), Vec::new()));
        } else {
            sections.push((ids_masked(line, masks), Vec::new()));
        }
    }
    for (_, lines) in &mut sections {
        lines.sort();
    }
    // Owners of ephemerals come in no order.
    let is_owner =
        |title: &str| title.strip_prefix('S').is_some_and(|rest| rest.trim_end_matches(':').parse::<u32>().is_ok());
    sections.retain(|(title, lines)| !is_owner(title) || !lines.is_empty());
    let owners = sections.iter().filter(|(title, _)| is_owner(title)).count();
    for (title, _) in sections.iter_mut().filter(|(title, _)| title.starts_with("Sessions with Ephemerals (")) {
        *title = format!("Sessions with Ephemerals ({owners} that have some):");
    }
    for run in sections.chunk_by_mut(|a, b| is_owner(&a.0) && is_owner(&b.0)) {
        run.sort();
    }
    format!("{sections:?}")
}

fn digits_after_port(line: &str) -> String {
    match line.split_once(" sessionId: ") {
        Some((address, session)) => format!("{session} {}", digits_masked(address)),
        None => line.to_owned(),
    }
}

/// The shapes of two answers, without what ZooKeeper does not tell: a quota whose text it cannot read ends each of its
/// `mntr`s before the first latency, for good.
pub fn as_far_as_zookeeper_tells(theirs: String, ours: String) -> (String, String) {
    let is_cut = MNTR_PRESENT.iter().all(|key| !is_latency(key) || theirs.contains(&format!("{key} is missing")));
    if !theirs.contains("zk_version") || !is_cut {
        return (theirs, ours);
    }
    let rest = |shape: String| -> String {
        // Line ends are escaped here.
        let kept = shape.split("\\n").filter(|line| !is_latency(line.split(' ').next().unwrap_or("")));
        kept.collect::<Vec<_>>().join("\\n")
    };
    (rest(theirs), rest(ours))
}

/// What ZooKeeper's provider of metrics tells.
fn is_latency(key: &str) -> bool {
    ["zk_avg_", "zk_cnt_", "zk_p99_"].iter().any(|start| key.starts_with(start)) && key != "zk_avg_latency"
}

fn mntr(answer: &str) -> String {
    let values: BTreeMap<_, _> = answer.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut shape: Vec<_> = answer.lines().take(2).map(|line| line.split('\t').next().unwrap_or("").into()).collect();
    let odd = answer.lines().filter(|line| !line.starts_with("zk_") || line.matches('\t').count() != 1);
    shape.extend(odd.map(|line| format!("odd line {line}")));
    for key in MNTR_EQUAL {
        shape.push(format!("{key}={}", values.get(key).unwrap_or(&"missing").trim_end_matches(".0")));
    }
    for key in MNTR_PRESENT {
        let kind = match values.get(key).map(|value| value.parse::<f64>().is_ok()) {
            None => "missing",
            Some(true) => "a number",
            Some(false) => "text",
        };
        shape.push(format!("{key} is {kind}"));
    }
    shape.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_left_out_only_where_zookeeper_tells_none() {
        let both = "mntr: \"zk_version\\nzk_avg_latency is a number".to_owned();
        let whole = both.clone() + "\\n" + &of_all(" is a number");
        let cut = both.clone() + "\\n" + &of_all(" is missing");
        assert_eq!(as_far_as_zookeeper_tells(cut.clone(), whole.clone()), (both.clone(), both));
        assert_eq!(as_far_as_zookeeper_tells(whole.clone(), cut.clone()), (whole, cut), "ours may not be cut");
    }

    fn of_all(what: &str) -> String {
        MNTR_PRESENT
            .iter()
            .filter(|key| is_latency(key))
            .map(|key| format!("{key}{what}"))
            .collect::<Vec<_>>()
            .join("\\n")
    }

    #[test]
    fn connections_that_ended_are_left_out_of_a_dump_and_not_counted() {
        let cons = " /127.0.0.1:5[1](queued=0,recved=3,sent=3,sid=0x2,lop=PING)\n /127.0.0.1:77[0](queued=0,recved=1,sent=0)\n\n";
        let dump = "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at Z:\n\t0x2\nConnections dump:\n\
            Connections Sets (2)/(2):\n1 expire at Y:\n\tip: /127.0.0.1:55 sessionId: 0x2\n1 expire at Z:\n\
            \tip: /127.0.0.1:5 sessionId: 0x2\n";
        let expected = "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at Z:\n\t0x2\nConnections dump:\n\
            Connections Sets (2)/(1):\n1 expire at Y:\n1 expire at Z:\n\tip: /127.0.0.1:5 sessionId: 0x2\n";
        assert_eq!(without_ended(dump, cons), expected);
    }
}
