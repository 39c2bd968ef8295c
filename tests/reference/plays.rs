//! The differences we mean, acted out: what Apache ZooKeeper does and what we do.

use zoarium::raw::{ClientError, ConnectOptions, RawClient};
use zoarium::records::{Acl, CreateMode};

use crate::step::Body;

/// One difference and what each server is to do. `theirs` is `None` where it is a matter of luck or does harm.
pub struct Play {
    pub name: &'static str,
    pub theirs: Option<&'static str>,
    pub ours: &'static str,
    pub run: fn(&str) -> String,
}

pub const PLAYS: &[Play] = &[
    // It passes ZooKeeper's checks, cannot be applied, and stops the server for good.
    Play { name: "ttl-request-without-ttl-mode", theirs: None, ours: "error -8", run: ttl_without_mode },
    Play {
        name: "delete-container-from-clients",
        theirs: Some("error 0, gone"),
        ours: "error -6, closed, there",
        run: delete_container,
    },
    Play {
        name: "create-session-from-clients",
        theirs: Some("a handshake"),
        ours: "error -6, closed",
        run: create_session,
    },
    Play { name: "session-passwords", theirs: Some("derived from the id"), ours: "not to be guessed", run: passwords },
    Play { name: "password-before-takeover", theirs: Some("closed"), ours: "alive", run: takeover },
    Play { name: "auth-replies-in-order", theirs: None, ours: "1 2 3 -4 4", run: auth_in_order },
    Play { name: "refusals-in-order", theirs: None, ours: "1 2 3 4 closed", run: refusal_in_order },
    Play { name: "ipv4-mapped-network", theirs: Some("error -102"), ours: "error 0", run: mapped_network },
    Play { name: "null-in-an-acl", theirs: Some("-5 -5 -5 -114"), ours: "-114 -114 -114 -114", run: null_in_acl },
    Play { name: "null-list-of-watches", theirs: Some("event -5"), ours: "-5", run: null_list_of_watches },
    Play { name: "catching-up-respects-acls", theirs: Some("event"), ours: "no event", run: catching_up },
    Play { name: "acl-in-a-pipeline", theirs: None, ours: "0 -102", run: acl_in_pipeline },
];

const OPEN: [Acl<'static>; 1] = [Acl::open()];

fn connect(address: &str) -> RawClient {
    RawClient::connect(address).expect("a session")
}

fn ttl_without_mode(address: &str) -> String {
    let result = connect(address).create_ttl("/ttl", None, &OPEN, CreateMode::Persistent, -1);
    verdict(result.map(drop))
}

fn mapped_network(address: &str) -> String {
    let mut client = connect(address);
    // All but READ, so that the znode can go again.
    let acl = [Acl::new(30, "world", "anyone"), Acl::new(1, "ip", "::ffff:7f00:1")];
    let path = client.create("/mapped", None, &acl, CreateMode::Persistent).expect("create");
    verdict(client.get_data(&path, false).map(drop))
}

fn verdict(result: Result<(), ClientError>) -> String {
    match result {
        Ok(()) => "error 0".into(),
        Err(error) => error.refusal().map_or(error.to_string(), |code| format!("error {}", code.to_i32())),
    }
}

fn ending(client: &mut RawClient) -> &'static str {
    match client.receive() {
        Err(ClientError::Io(error)) if error.kind() != std::io::ErrorKind::TimedOut => "closed",
        _ => "open",
    }
}

fn delete_container(address: &str) -> String {
    let mut other = connect(address);
    let path = other.create("/kept", None, &[Acl::new(31, "ip", "127.0.0.1")], CreateMode::Persistent).expect("create");
    let mut client = connect(address);
    let mut told = verdict(client.call(20, &Body::new().buf(Some(path.as_bytes())).0).map(drop));
    if told != "error 0" {
        told += &format!(", {}", ending(&mut client));
    }
    told + if other.exists(&path, false).expect("exists").is_some() { ", there" } else { ", gone" }
}

fn create_session(address: &str) -> String {
    let mut client = connect(address);
    client.send(-10, &Body::new().i32(10_000).0).expect("send");
    match client.wire().receive_frame().expect("an answer") {
        frame if frame.len() == 16 => {
            let code = i32::from_be_bytes(*frame.last_chunk().expect("16 bytes"));
            format!("error {code}, {}", ending(&mut client))
        }
        frame if matches!(frame.len(), 36 | 37) => "a handshake".into(),
        frame => format!("{} bytes", frame.len()),
    }
}

/// What ZooKeeper computes as password: `java.util.Random`, seeded with the id.
fn derived_password(session: i64) -> Vec<u8> {
    let mut state = ((session ^ 0xB341_5C00) as u64 ^ 0x5_DEEC_E66D) & ((1 << 48) - 1);
    let mut password = Vec::new();
    for _ in 0..4 {
        state = state.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & ((1 << 48) - 1);
        password.extend(((state >> 16) as u32).to_le_bytes());
    }
    password
}

fn passwords(address: &str) -> String {
    let client = connect(address);
    let derived = client.password().as_slice() == derived_password(client.session().0);
    if derived { "derived from the id" } else { "not to be guessed" }.into()
}

fn takeover(address: &str) -> String {
    let mut client = connect(address);
    let options = ConnectOptions { resume: Some((client.session(), [9; 16])), ..Default::default() };
    assert!(
        matches!(RawClient::connect_with(address, &options), Err(ClientError::Expired)),
        "a wrong password is refused"
    );
    if client.ping().is_ok() { "alive" } else { "closed" }.into()
}

/// Xids in the order of the replies, then how it ended.
fn xids(client: &mut RawClient, count: usize) -> String {
    let replies = (0..count).map(|_| client.receive().map_or("none".into(), |(header, _)| header.xid.to_string()));
    replies.collect::<Vec<_>>().join(" ")
}

fn codes(client: &mut RawClient, count: usize) -> String {
    let replies = (0..count).map(|_| client.receive().map_or("none".into(), |(header, _)| header.err.to_string()));
    replies.collect::<Vec<_>>().join(" ")
}

fn set_data(path: &str, data: &[u8]) -> Vec<u8> {
    Body::new().buf(Some(path.as_bytes())).buf(Some(data)).i32(-1).0
}

fn auth_in_order(address: &str) -> String {
    let mut client = connect(address);
    for _ in 0..3 {
        client.send(5, &set_data("/", b"x")).expect("send");
    }
    client.send(100, &Body::new().i32(0).buf(Some(b"digest")).buf(Some(b"u:p")).0).expect("send");
    client.send(5, &set_data("/", b"x")).expect("send");
    xids(&mut client, 5)
}

fn refusal_in_order(address: &str) -> String {
    let mut client = connect(address);
    for _ in 0..3 {
        client.send(5, &set_data("/", b"x")).expect("send");
    }
    client.send(99, &[]).expect("send");
    format!("{} {}", xids(&mut client, 4), ending(&mut client))
}

fn null_in_acl(address: &str) -> String {
    let mut client = connect(address);
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let anyone = (31, text("world"), text("anyone"));
    let lists = [
        vec![(31, text("world"), None)],
        vec![(31, text("digest"), None)],
        vec![anyone, (31, None, text("anyone"))],
        vec![(31, None, text("anyone"))],
    ];
    for list in lists {
        let body = Body::new().buf(Some(b"/nobody")).buf(None).acl(&Some(list)).i32(0);
        client.send(1, &body.0).expect("send");
    }
    codes(&mut client, 4)
}

fn null_list_of_watches(address: &str) -> String {
    let mut client = connect(address);
    let body = Body::new().i64(0).paths(&[b"/nowhere".to_vec()]).paths(&[]).i32(-1);
    client.send(101, &body.0).expect("send");
    let code = codes(&mut client, 1);
    if client.take_events().is_empty() { code } else { format!("event {code}") }
}

fn catching_up(address: &str) -> String {
    let mut client = connect(address);
    client.create("/hidden", None, &[Acl::new(30, "world", "anyone")], CreateMode::Persistent).expect("create");
    let body = Body::new().i64(0).paths(&[b"/hidden".to_vec()]).paths(&[]).paths(&[]);
    client.call(101, &body.0).expect("setWatches");
    if client.take_events().is_empty() { "no event" } else { "event" }.into()
}

fn acl_in_pipeline(address: &str) -> String {
    let mut client = connect(address);
    client.create("/shut", None, &OPEN, CreateMode::Persistent).expect("create");
    let nobody = Some(vec![(31, Some(b"digest".to_vec()), Some(b"nobody:x".to_vec()))]);
    client.send(7, &Body::new().buf(Some(b"/shut")).acl(&nobody).i32(-1).0).expect("send");
    client.send(5, &set_data("/shut", b"x")).expect("send");
    codes(&mut client, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derived_password_is_zookeepers() {
        let known = [0x7b, 0xf1, 0xbf, 0x3d, 0xec, 0x84, 0xa7, 0xd1, 0x51, 0x6c, 0x50, 0x9f, 0x15, 0x2d, 0xdd, 0xc4];
        assert_eq!(derived_password(0x0100_0029_8117_0000), known);
    }
}
