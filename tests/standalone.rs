//! A standalone peer in this process, with real sockets, a real file and a real client.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use zoarium::raw::{ConnectOptions, RawClient};
use zoarium::records::{Acl, CreateMode, ErrorCode, EventType};
use zoarium::{Config, Server, ServerRole};

/// A folder that goes when the test does.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("zoarium-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn config(&self) -> Config {
        Config { data_dir: self.0.clone(), client_port: 0, ..Config::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn address(server: &Server) -> String {
    server.addresses()[0].to_string()
}

fn open() -> Vec<Acl<'static>> {
    vec![Acl::open()]
}

#[test]
fn a_znode_and_its_session_outlive_a_restart() {
    // G-09, G-10, D-11
    let folder = Folder::new("restart");
    let server = Server::start(folder.config()).unwrap();
    let mut client = RawClient::connect(&address(&server)).unwrap();
    client.create("/kept", Some(b"data"), &open(), CreateMode::Persistent).unwrap();
    client.create("/mine", None, &open(), CreateMode::Ephemeral).unwrap();
    let (resume, seen) = ((client.session(), client.password()), client.last_zxid());
    server.stop().unwrap();

    let server = Server::start(folder.config()).unwrap();
    let options = ConnectOptions { resume: Some(resume), last_zxid_seen: seen, ..ConnectOptions::default() };
    let mut client = RawClient::connect_with(&address(&server), &options).unwrap();
    assert_eq!(client.get_data("/kept", false).unwrap().0.as_deref(), Some(&b"data"[..]));
    let (_, stat) = client.get_data("/mine", false).unwrap();
    assert_eq!(stat.ephemeral_owner, client.session().0);
    client.close().unwrap();
    let mut other = RawClient::connect(&address(&server)).unwrap();
    assert_eq!(other.exists("/mine", false).unwrap(), None);
    server.stop().unwrap();
}

#[test]
fn a_change_is_told_to_who_watches() {
    let folder = Folder::new("watch");
    let server = Server::start(folder.config()).unwrap();
    let mut watcher = RawClient::connect(&address(&server)).unwrap();
    let mut writer = RawClient::connect(&address(&server)).unwrap();
    watcher.exists("/a", true).unwrap();
    writer.create("/a", None, &open(), CreateMode::Persistent).unwrap();
    let event = watcher.next_event(Duration::from_secs(10)).unwrap().expect("an event");
    assert_eq!((event.kind, event.path.as_str()), (EventType::Created, "/a"));
    server.stop().unwrap();
}

#[test]
fn refusals_have_zookeepers_codes() {
    let folder = Folder::new("codes");
    let server = Server::start(folder.config()).unwrap();
    let mut client = RawClient::connect(&address(&server)).unwrap();
    client.create("/a", None, &open(), CreateMode::Persistent).unwrap();
    let refused = |result: Result<String, zoarium::raw::ClientError>| result.unwrap_err().refusal();
    assert_eq!(refused(client.create("/a", None, &open(), CreateMode::Persistent)), Some(ErrorCode::NodeExists));
    assert_eq!(refused(client.create("/b/c", None, &open(), CreateMode::Persistent)), Some(ErrorCode::NoNode));
    server.stop().unwrap();
}

#[test]
fn who_has_waited_for_the_end_of_a_server_sees_it_stopped() {
    let folder = Folder::new("waited");
    let server = Server::start(folder.config()).unwrap();
    let (lets_go, held) = std::sync::mpsc::channel::<()>();
    let (told, begun) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let server = &server;
        // Who is told of its role holds up whoever tells.
        scope.spawn(move || {
            server.on_role(move |_| {
                told.send(()).unwrap();
                let _ = held.recv();
            });
        });
        begun.recv().unwrap();
        server.request_stop();
        let has_ended = server.wait_for(Duration::from_millis(500));
        assert!(!has_ended || server.role().role == ServerRole::Stopped, "{:?}", server.role());
        drop(lets_go);
        server.wait();
        assert_eq!(server.role().role, ServerRole::Stopped);
    });
}

#[test]
fn a_second_server_on_the_same_file_is_refused() {
    // F-23
    let folder = Folder::new("lock");
    let server = Server::start(folder.config()).unwrap();
    let error = Server::start(folder.config()).err().expect("two servers on one file");
    assert!(error.to_string().contains("zoarium.db is in use by this process"), "{error}");
    server.stop().unwrap();
}

#[test]
fn an_address_in_use_is_named() {
    let folder = Folder::new("address");
    let other = Folder::new("address2");
    let server = Server::start(folder.config()).unwrap();
    let config = Config { client_port: server.addresses()[0].port(), ..other.config() };
    let error = Server::start(config).err().expect("two servers on one port");
    assert!(error.to_string().contains("in use by this process"), "{error}");
}

#[test]
fn a_library_refuses_to_begin_beside_zookeepers_own_data_too() {
    let folder = Folder::new("beside");
    std::fs::create_dir_all(folder.0.join("version-2")).unwrap();
    std::fs::write(folder.0.join("version-2/snapshot.0"), "").unwrap();
    let error = Server::start(folder.config()).err().expect("an empty tree beside that data");
    assert!(matches!(&error, zoarium::Error::ZooKeeperData { folder: found, .. } if found.ends_with("version-2")));
    assert!(error.to_string().contains("zoarium.ignoreZooKeeperData=true"), "{error}");
    assert!(!folder.0.join("zoarium.db").exists());
    Server::start(Config { ignore_zookeeper_data: true, ..folder.config() }).unwrap().stop().unwrap();
}

#[test]
fn a_host_is_not_ended_by_the_limit_on_file_sizes() {
    const NAME: &str = "a_host_is_not_ended_by_the_limit_on_file_sizes";
    if std::env::var_os("ZOA_TEST_FILE_SIZE_IS_LIMITED").is_some() {
        let error = Server::start(Folder::new("limited").config()).err().expect("a file within 32 KiB");
        assert!(error.to_string().contains("EFBIG, see ulimit -f"), "{error}");
        return;
    }
    // This test again, in a process of its own, as a host whose files may not be larger than 32 KiB.
    let host = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -f 64; exec \"$0\" \"$@\""]).arg(host).args(["--exact", NAME]);
    let output = command.env("ZOA_TEST_FILE_SIZE_IS_LIMITED", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{:?}: {text}", output.status);
}
