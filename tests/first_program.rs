//! The first program of a Rust user, as it stands: it compiles, runs, and leaves nothing unsaid.

#![allow(clippy::unwrap_used)]

use zoarium::{Client, Config, Error, Server};

fn main() -> Result<(), Error> {
    let server = Server::start(Config { data_dir: "d".into(), client_port: 0, ..Config::default() })?;
    let client: Client = server.client()?;
    client.create("/a", b"1")?;
    let (data, stat) = client.get("/a")?;
    assert_eq!((&data[..], stat.version), (&b"1"[..], 0));
    server.stop()
}

/// The only test of this program, because it moves to another folder.
#[test]
fn the_first_program_runs_as_it_stands() {
    let folder = std::env::temp_dir().join(format!("zoarium-first-program-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::env::set_current_dir(&folder).unwrap();
    main().unwrap();
    assert!(folder.join("d/zoarium.db").exists(), "the data are where the program said");
    std::fs::remove_dir_all(&folder).unwrap();
}
