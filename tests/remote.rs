//! Clients over TCP: against our server here, and against anything that misbehaves.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use zoarium::handle::{Handle, Options, code};
use zoarium::jute::{Buffer, encoded};
use zoarium::records::requests::CreateRequest;
use zoarium::records::{Acl, OpCode};
use zoarium::{Config, Server};

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

#[test]
fn a_session_over_tcp_does_the_everyday_things() {
    let folder = std::env::temp_dir().join(format!("zoarium-remote-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let config = Config { data_dir: folder.clone(), client_port: 0, ..Config::default() };
    let server = Server::start(config).unwrap();
    let address = server.addresses()[0].to_string();
    let handle = Handle::connect(&address, &Options::default()).unwrap();
    handle.wait(LIMIT).unwrap();
    let acl = Some(vec![Acl::open()]);
    let body = encoded(&CreateRequest { path: "/a".into(), data: Buffer::new(b"x"), acl, flags: 0 });
    assert_eq!(handle.call(OpCode::Create, &body, LIMIT).code, code::OK);
    assert_eq!(handle.read(OpCode::GetData, "/a", LIMIT).code, code::OK);
    for _ in 0..200 {
        assert_eq!(handle.read(OpCode::GetData, "/a", LIMIT).code, code::OK);
    }
    handle.close(LIMIT).unwrap();
    let localhost = format!("localhost:{}", server.addresses()[0].port());
    let handle = Handle::connect(&localhost, &Options::default()).unwrap();
    handle.wait(LIMIT).unwrap();
    drop(server);
    let _ = std::fs::remove_dir_all(&folder);
}
