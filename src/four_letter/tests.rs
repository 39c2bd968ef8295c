//! The reference's samples, and the parsers of the clients that read these texts.

use std::net::SocketAddr;

use regex::Regex;

use super::*;
use crate::ids::{Millis, SessionId, Zxid};

fn latency(values: &[u64]) -> Latency {
    let mut latency = Latency::default();
    values.iter().for_each(|ms| latency.record(*ms));
    latency
}

fn status() -> ServerStatus {
    ServerStatus {
        mode: Mode::Standalone,
        latency: latency(&[0, 22, 1]),
        received: 385,
        sent: 443,
        connections: 1,
        outstanding: 0,
        zxid: Zxid(0x108),
        node_count: 35,
        proposals: None,
    }
}

fn connection(address: &str) -> ConnectionStatus {
    let remote: SocketAddr = address.parse().unwrap();
    ConnectionStatus { remote, interest: 0, queued: 0, received: 1, sent: 0, session: None }
}

fn with_session(address: &str) -> ConnectionStatus {
    let session = ConnectionSession {
        id: SessionId(0x100_001b_831c_002c),
        last_operation: operation_code(106),
        established: WallMillis(1_795_178_864_316),
        timeout_ms: 10_000,
        last_xid: 3,
        last_zxid: Zxid(0x10b),
        last_response: Millis(2_264_507),
        last_latency_ms: 1,
        latency: latency(&[0, 3, 0, 1]),
    };
    ConnectionStatus { interest: 1, received: 5, sent: 5, session: Some(session), ..connection(address) }
}

#[test]
fn srvr_is_zookeepers_text() {
    let expected = "\
Latency min/avg/max: 0/7.6667/22
Received: 385
Sent: 443
Connections: 1
Outstanding: 0
Zxid: 0x108
Mode: standalone
Node count: 35
";
    assert_eq!(srvr(&status()), format!("Zookeeper version: {}\n{expected}", version_line()));
    let leader =
        ServerStatus { mode: Mode::Leader, proposals: Some(SizeSummary { last: 36, min: 32, max: 92 }), ..status() };
    assert!(srvr(&leader).ends_with("Mode: leader\nNode count: 35\nProposal sizes last/min/max: 36/32/92\n"));
    let read_only = srvr(&ServerStatus { mode: Mode::ReadOnly, ..status() });
    assert_eq!(read_only.lines().nth(1), Some("READ-ONLY mode; serving only read-only clients"));
    assert!(read_only.contains("\nMode: read-only\n"));
}

#[test]
fn stat_lists_clients_in_the_short_form() {
    let text = stat(&status(), &[connection("127.0.0.1:41744"), with_session("127.0.0.1:46210")]);
    let (head, rest) = text.split_once('\n').unwrap();
    assert_eq!(head, format!("Zookeeper version: {}", version_line()));
    let expected = "\
Clients:
 /127.0.0.1:41744[0](queued=0,recved=1,sent=0)
 /127.0.0.1:46210[1](queued=0,recved=5,sent=5)

Latency min/avg/max: 0/7.6667/22
";
    assert!(rest.starts_with(expected), "{rest}");
}

#[test]
fn cons_is_zookeepers_text() {
    let expected = " /127.0.0.1:46224[0](queued=0,recved=1,sent=0)\n \
        /127.0.0.1:46210[1](queued=0,recved=5,sent=5,sid=0x100001b831c002c,lop=ADDW,est=1795178864316,to=10000,\
        lcxid=0x3,lzxid=0x10b,lresp=2264507,llat=1,minlat=0,avglat=1,maxlat=3)\n\n";
    assert_eq!(cons(&[connection("127.0.0.1:46224"), with_session("127.0.0.1:46210")]), expected);
}

#[test]
fn cons_leaves_the_xid_of_a_ping_out() {
    let mut connection = with_session("127.0.0.1:1");
    connection.session.as_mut().unwrap().last_xid = -2;
    assert!(cons(&[connection]).contains(",to=10000,lzxid=0x10b,"));
}

#[test]
fn conf_is_zookeepers_text() {
    let mut status = ConfStatus {
        client_port: 32181,
        secure_client_port: -1,
        data_dir: "/data/version-2".to_owned(),
        data_dir_size: 67_112_560,
        data_log_dir: "/data/version-2".to_owned(),
        data_log_size: 67_112_560,
        tick_time: 500,
        max_client_cnxns: 0,
        min_session_timeout: 1000,
        max_session_timeout: 10_000,
        client_port_listen_backlog: -1,
        server_id: 0,
        membership: None,
    };
    let alone = "\
clientPort=32181
secureClientPort=-1
dataDir=/data/version-2
dataDirSize=67112560
dataLogDir=/data/version-2
dataLogSize=67112560
tickTime=500
maxClientCnxns=0
minSessionTimeout=1000
maxSessionTimeout=10000
clientPortListenBacklog=-1
serverId=0
";
    assert_eq!(conf(&status), alone);
    status.membership = Some(ConfMembership {
        init_limit: 10,
        sync_limit: 5,
        election_port: 3888,
        quorum_port: 2888,
        observer: false,
        text: "server.1=host1:2888:3888:participant;0.0.0.0:2181\nversion=100000000".to_owned(),
    });
    let cluster = "initLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=3888\nquorumPort=2888\npeerType=0\n\
        membership: \nserver.1=host1:2888:3888:participant;0.0.0.0:2181\nversion=100000000";
    assert_eq!(conf(&status), format!("{alone}{cluster}"));
}

#[test]
fn dump_is_zookeepers_text() {
    let id = SessionId(0x100_001b_831c_002c);
    let at = |ms: i64| WallMillis(1_795_178_874_000 + ms);
    let mut status = Dump {
        local: None,
        sessions: SessionsDump::Buckets(vec![(at(0), vec![]), (at(500), vec![id])]),
        ephemerals: vec![(id, vec!["/adm".to_owned()])],
        connections: vec![(
            at(5000),
            vec![("127.0.0.1:46210".parse().unwrap(), id), ("127.0.0.1:46226".parse().unwrap(), SessionId::NONE)],
        )],
    };
    let expected = "\
SessionTracker dump:
Session Sets (2)/(1):
0 expire at Fri Nov 20 12:47:54 UTC 2026:
1 expire at Fri Nov 20 12:47:54 UTC 2026:
\t0x100001b831c002c
ephemeral nodes dump:
Sessions with Ephemerals (1):
0x100001b831c002c:
\t/adm
Connections dump:
Connections Sets (1)/(2):
2 expire at Fri Nov 20 12:47:59 UTC 2026:
\tip: /127.0.0.1:46210 sessionId: 0x100001b831c002c
\tip: /127.0.0.1:46226 sessionId: 0x0
";
    assert_eq!(dump(&status), expected);
    status.sessions = SessionsDump::Timeouts(vec![(id, 4000)]);
    let follower = "SessionTracker dump:\nGlobal Sessions(1):\n0x100001b831c002c\t4000ms\nephemeral nodes dump:\n";
    assert!(dump(&status).starts_with(follower));
    status.local = Some(Vec::new());
    let with_local = follower.replace("Global", "Local Session Sets (0)/(0):\nGlobal");
    assert!(dump(&status).starts_with(&with_local));
}

#[test]
fn the_watch_words_are_zookeepers_text() {
    let summary = WatchSummary { connections: 1, paths: 1, watches: 1 };
    assert_eq!(wchs(summary), "1 connections watching 1 paths\nTotal watches:1\n");
    assert_eq!(wchc([(SessionId(0x2c), ["/a", "/b"])]), "0x2c\n\t/a\n\t/b\n\n");
    assert_eq!(wchp([("/a", [SessionId(0x2c), SessionId(0x2d)])]), "/a\n\t0x2c\n\t0x2d\n\n");
    assert_eq!(wchc::<[&str; 0]>([]), "\n");
}

#[test]
fn the_small_words_are_zookeepers_text() {
    assert_eq!((IMOK, isro(Some(false)), isro(Some(true)), isro(None)), ("imok", "rw", "ro", "null"));
    assert_eq!(trace_mask(TRACE_MASK), "306");
    assert_eq!(dirs(67_109_358, 67_109_358), "datadir_size: 67109358\nlogdir_size: 67109358\n");
    assert_eq!(hash([(Zxid(0x80), 42)]), "80: 42\n");
}

#[test]
fn mntr_begins_with_version_and_state_and_leaves_out_what_is_absent() {
    let text = mntr(&MonitorStatus { server: status(), ..MonitorStatus::default() });
    let lines: Vec<(&str, &str)> = text.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(lines[0], ("zk_version", version_line().as_str()));
    assert_eq!(lines[1], ("zk_server_state", "standalone"));
    assert!(lines.contains(&("zk_avg_latency", "7.6667")) && lines.contains(&("zk_znode_count", "35")));
    for absent in ["zk_quorum_size", "zk_learners", "zk_peer_state", "zk_open_file_descriptor_count"] {
        assert!(lines.iter().all(|(key, _)| *key != absent), "{absent}");
    }
}

#[test]
fn mntr_of_a_leader_counts_followers_under_the_old_name_too() {
    let leader = LeaderStatus {
        learners: 2,
        synced_followers: 2,
        synced_non_voting_followers: 0,
        synced_observers: 0,
        pending_syncs: 0,
        leader_uptime_ms: 5,
    };
    let server = ServerStatus { mode: Mode::Leader, ..status() };
    let summary = Summary { name: "fsynctime", count: 4, sum: 6, min: 1, max: 3, percentiles: None };
    let percentiles = Some(Percentiles { p50: 1, p95: 2, p99: 3, p999: 4 });
    let text = mntr(&MonitorStatus {
        server,
        leader: Some(leader),
        summaries: vec![summary.clone(), Summary { name: "readlatency", percentiles, ..summary }],
        counters: vec![("commit_count", 9)],
        own: vec![("limit_bytes", 1)],
        ..MonitorStatus::default()
    });
    for line in ["zk_followers\t2", "zk_avg_fsynctime\t1.5", "zk_cnt_fsynctime\t4", "zk_p999_readlatency\t4"] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.ends_with("zk_zoarium_limit_bytes\t1\n") && text.contains("zk_commit_count\t9\n"));
}

/// go-zk's `FLWSrvr`, in its newer form and in the one that knows no ISO dates.
#[test]
fn go_zk_reads_srvr() {
    let strict = r"\d\d/\d\d/\d\d\d\d";
    let newer = r"(?:\d\d/\d\d/\d\d\d\d|\d\d\d\d-\d\d-\d\d)";
    for date in [strict, newer] {
        let version = format!(r"^Zookeeper version: ([A-Za-z0-9\.\-]+), built on ({date} \d\d:\d\d [A-Za-z0-9:\+\-]+)");
        let times = r"^Latency min/avg/max: (\d+)/([0-9.]+)/(\d+)";
        let network = r"^Received: (\d+).*\n^Sent: (\d+).*\n^Connections: (\d+).*\n^Outstanding: (\d+)";
        let state = r"^Zxid: (0x[A-Za-z0-9]+).*\n^Mode: (\w+).*\n^Node count: (\d+)";
        let parser = Regex::new(&format!(r"(?m:\A{version}.*\n{times}.*\n{network}.*\n{state})")).unwrap();
        for latency in [latency(&[0, 1, 22]), Latency::default(), latency_below_a_thousandth()] {
            let text = srvr(&ServerStatus { latency, ..status() });
            let found = parser.captures(&text).unwrap_or_else(|| panic!("go-zk cannot read {text}"));
            assert_eq!(&found[1], VERSION);
            assert_eq!((&found[10], &found[11], &found[12]), ("0x108", "standalone", "35"));
        }
    }
}

fn latency_below_a_thousandth() -> Latency {
    let mut latency = latency(&[1]);
    (0..1999).for_each(|_| latency.record(0));
    assert_eq!(latency.average(), "0.0005");
    latency
}

/// go-zk's `FLWCons`.
#[test]
fn go_zk_reads_cons() {
    let address = r"^ /((?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?):(?:\d+))\[\d+\]";
    let packets = r"\(queued=(\d+),recved=(\d+),sent=(\d+),sid=(0x[A-Za-z0-9]+),lop=(\w+),est=(\d+),to=(\d+),";
    let session = r"lcxid=(0x[A-Za-z0-9]+),lzxid=(0x[A-Za-z0-9]+),lresp=(\d+),llat=(\d+),minlat=(\d+),avglat=(\d+),maxlat=(\d+)\)";
    let parser = Regex::new(&format!("{address}{packets}{session}")).unwrap();
    let text = cons(&[with_session("[::ffff:127.0.0.1]:46210")]);
    let found = parser.captures(text.lines().next().unwrap()).expect("go-zk reads the line");
    assert_eq!((&found[1], &found[5], &found[6]), ("127.0.0.1:46210", "0x100001b831c002c", "ADDW"));
}

/// kazoo's `server_version`: the key, then digits and dots, at least two numbers.
#[test]
fn kazoo_reads_the_version_in_envi() {
    let text =
        envi(&Environment { os_name: Some("Linux".to_owned()), memory_free_mib: Some(374), ..Environment::default() });
    assert!(text.starts_with("Environment:\n") && text.ends_with("os.name=Linux\nos.memory.free=374MB\n"));
    let value = text.lines().find_map(|line| line.strip_prefix("zookeeper.version=")).unwrap();
    let digits = &Regex::new(r"^[0-9.]+").unwrap().find(value).unwrap().as_str();
    let numbers: Vec<u32> = digits.split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(numbers, [3, 9, 5]);
}

/// zkServer.sh greps for `Mode`; monitors cut at `: `.
#[test]
fn scripts_find_their_lines_in_srvr() {
    let text = srvr(&status());
    assert_eq!(text.lines().filter(|line| line.contains("Mode")).collect::<Vec<_>>(), ["Mode: standalone"]);
    for key in ["Zxid: ", "Node count: ", "Connections: ", "Outstanding: "] {
        assert_eq!(text.lines().filter(|line| line.starts_with(key)).count(), 1, "{key}");
    }
}
