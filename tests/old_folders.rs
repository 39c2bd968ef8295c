//! Folders that servers of Apache ZooKeeper 3.4 to 3.9 have left are taken over: every znode is answered as that server answered
//! it, and the sessions go on.
//!
//! `tests/clients/old_folders.py` has made them, and says what is in them. They are never written anew: what it writes today is
//! of another server's chance.
#![cfg(feature = "datadir")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use zoarium::datadir::{DataFolder, Import, export, import};
use zoarium::ids::{ServerId, SessionId};
use zoarium::raw::{ConnectOptions, RawClient};
use zoarium::{Config, Server, SessionPasswords, Stat};

/// What a znode is to a client: data, stat, ACL.
type Shown = (String, String, String);

struct Walk {
    sessions: Vec<(SessionId, [u8; 16], i32)>,
    znodes: BTreeMap<String, Shown>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_walk(text: &str) -> Walk {
    let (mut sessions, mut znodes) = (Vec::new(), BTreeMap::new());
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields[0] == "session" {
            let password: Vec<u8> =
                (0..32).step_by(2).map(|at| u8::from_str_radix(&fields[2][at..at + 2], 16).unwrap()).collect();
            let id = SessionId(fields[1].parse().unwrap());
            sessions.push((id, password.try_into().unwrap(), fields[3].parse().unwrap()));
        } else {
            znodes.insert(fields[0].to_owned(), (fields[1].to_owned(), fields[2].to_owned(), fields[3].to_owned()));
        }
    }
    Walk { sessions, znodes }
}

fn shown_stat(stat: &Stat) -> String {
    let (first, last) = ([stat.czxid, stat.mzxid, stat.ctime, stat.mtime], stat.pzxid);
    let first = first.map(|number| number.to_string()).join(" ");
    let (versions, owner) = ([stat.version, stat.cversion, stat.aversion], stat.ephemeral_owner);
    let versions = versions.map(|number| number.to_string()).join(" ");
    format!("{first} {versions} {owner} {} {} {last}", stat.data_length, stat.num_children)
}

/// Every znode as the server answers it.
fn walk(client: &mut RawClient) -> BTreeMap<String, Shown> {
    let (mut found, mut left) = (BTreeMap::new(), vec!["/".to_owned()]);
    while let Some(path) = left.pop() {
        let (data, stat) = client.get_data(&path, false).unwrap();
        let (acl, _) = client.get_acl(&path).unwrap();
        let entries: Vec<String> =
            acl.iter().map(|acl| format!("{}:{}:{}", acl.perms, acl.id.scheme.as_str(), acl.id.id.as_str())).collect();
        for name in client.get_children(&path, false).unwrap() {
            left.push(format!("{}/{name}", path.trim_end_matches('/')));
        }
        let data = data.map_or("null".to_owned(), |data| hex(&data));
        found.insert(path, (data, shown_stat(&stat), entries.join(",")));
    }
    found
}

/// Puts the files of a kept folder where a server had them.
fn unpack(packed: &Path, to: &Path) {
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(packed).unwrap()).read_to_end(&mut content).unwrap();
    let mut rest = &content[..];
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (name, length) = std::str::from_utf8(&rest[..end]).unwrap().rsplit_once(' ').unwrap();
        let (file, after) = rest[end + 1..].split_at(length.parse().unwrap());
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
        rest = after;
    }
}

fn take_over(folder: &Path) -> Import {
    let found = DataFolder::find(folder, None).unwrap();
    import(found, ServerId(1), &mut |_| ()).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// Takes one of the folders over, asks a server of ours for everything, and gives it back once.
fn check(packed: &Path, work: &Path) {
    let name = packed.file_stem().unwrap().to_str().unwrap();
    let line: (u32, u32) = {
        let version = name.trim_start_matches("zookeeper-");
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap(), numbers.next().unwrap())
    };
    let expected = read_walk(&fs::read_to_string(packed.with_extension("walk")).unwrap());
    assert!(expected.znodes.len() > 50 && expected.sessions.len() == 3, "{name}");
    let folder = work.join(name);
    unpack(packed, &folder);

    let read = take_over(&folder);
    // Servers since 3.6 leave digests of the tree.
    assert_eq!(read.is_checked(), line >= (3, 6), "{name}");
    let is_compressed = |ending: &str| read.snapshot().unwrap().extension().is_some_and(|found| found == ending);
    assert!(is_compressed("gz") == name.ends_with("-gz"), "{name}: {:?}", read.snapshot());
    assert!(is_compressed("snappy") == name.ends_with("-snappy"), "{name}: {:?}", read.snapshot());
    assert!(read.applied() > 0, "{name}: nothing of a log was needed");
    let (digest, zxid) = (read.state().tree().zookeeper_digest(), read.state().applied());
    let data = folder.join("ours");
    let config = Config {
        data_dir: data.clone(),
        client_port: 0,
        session_passwords: Some(SessionPasswords::Compatible),
        extended_types_enabled: true,
        ..Config::default()
    };
    read.write(&config.file(), &config.store_options(), &mut |_| ()).unwrap();

    let back = folder.join("back");
    let exported = export(&config.file(), &back, &mut |_| ()).unwrap();
    let again = take_over(&back);
    let state = again.state();
    assert_eq!((exported.digest, state.tree().zookeeper_digest()), (digest, digest), "{name}");
    assert_eq!((state.applied(), state.session_count()), (zxid, exported.sessions), "{name}");

    let server = Server::start(config).unwrap();
    assert!(server.wait_until_serving(std::time::Duration::from_secs(60)), "{name}");
    let address = server.addresses()[0].to_string();
    let mut clients: Vec<RawClient> = Vec::new();
    for &(id, password, timeout_ms) in &expected.sessions {
        let options = ConnectOptions { timeout_ms, resume: Some((id, password)), ..ConnectOptions::default() };
        let client =
            RawClient::connect_with(&address, &options).unwrap_or_else(|error| panic!("{name}: {id:?}: {error}"));
        assert_eq!((client.session(), client.timeout_ms()), (id, timeout_ms), "{name}");
        clients.push(client);
    }
    clients[0].auth("digest", b"mover:secret").unwrap();
    let found = walk(&mut clients[0]);
    for path in expected.znodes.keys().chain(found.keys()) {
        // ZooKeeper knows it since 3.5, and its parent counts it.
        if line < (3, 5) && (path == "/zookeeper/config" || path == "/zookeeper") {
            continue;
        }
        assert_eq!(found.get(path), expected.znodes.get(path), "{name}: {path}");
    }
    for (number, &(id, ..)) in expected.sessions.iter().enumerate() {
        let (_, stat) = clients[0].get_data(&format!("/open/ephemeral-{number}"), false).unwrap();
        assert_eq!(stat.ephemeral_owner, id.0, "{name}");
    }
    drop(clients);
    server.stop().unwrap();
}

#[test]
fn folders_of_every_line_of_zookeeper_since_3_4_are_taken_over_and_their_sessions_go_on() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_files");
    let mut folders: Vec<PathBuf> = fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.extension().is_some_and(|ending| ending == "folder"));
    folders.sort();
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("old-folders-{}", std::process::id()));
    let _ = fs::remove_dir_all(&work);
    for folder in &folders {
        check(folder, &work);
    }
    let names: Vec<String> =
        folders.iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    for line in ["3.4.", "3.5.", "3.6.", "3.7.", "3.8.", "3.9."] {
        assert!(names.iter().any(|name| name.starts_with(&format!("zookeeper-{line}"))), "{line}: {names:?}");
    }
    fs::remove_dir_all(&work).unwrap();
}
