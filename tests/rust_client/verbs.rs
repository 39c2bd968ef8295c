//! Verbs that wait.

use std::time::Duration;

use zoarium::{Acl, Client, Code, CreateOptions, Error, Outcome, Permissions, State};

use crate::kit::{PATIENCE, Site, eventually};

#[test]
fn every_verb_does_the_same_near_and_far() {
    let site = Site::start_with("verbs", |config| config.extended_types_enabled = true);
    for (name, client) in site.both() {
        let at = |path: &str| format!("/{name}{path}");
        assert_eq!(client.create(&at(""), b"1").unwrap(), at(""));
        let (data, stat) = client.get(&at("")).unwrap();
        assert_eq!((data, stat.version), (b"1".to_vec(), 0));
        assert_eq!(client.set(&at(""), "2").unwrap().version, 1);
        assert_eq!(client.set_if(&at(""), vec![3], 1).unwrap().version, 2);
        assert_eq!(client.set_if(&at(""), b"4", 1).unwrap_err().code(), Code::BadVersion);
        assert_eq!(client.exists(&at("")).unwrap().unwrap().version, 2);
        assert_eq!(client.exists(&at("/x")).unwrap(), None);

        client.ensure_path(&at("/a/b/c")).unwrap();
        client.ensure_path(&at("/a/b/c")).unwrap();
        assert_eq!(client.children(&at("")).unwrap(), ["a"]);
        let (names, stat) = client.children_and_stat(&at("/a")).unwrap();
        assert_eq!((names, stat.num_children), (vec!["b".to_owned()], 1));
        assert_eq!(client.descendants(&at("")).unwrap(), 3);

        let options = CreateOptions::new().ephemeral().sequential();
        let mine = client.create_with(&at("/a/mine-"), b"m", &options).unwrap();
        assert_eq!(mine.path, at("/a/mine-0000000001"));
        assert_eq!(mine.stat.ephemeral_owner, client.session().id.0);
        client.sync(&at("")).unwrap();
        assert_eq!(client.ephemerals(&at("")).unwrap(), [mine.path.as_str()]);

        let lease = CreateOptions::new().ttl(Duration::from_secs(60)).sequential();
        assert_eq!(client.create_with(&at("/lease-"), b"", &lease).unwrap().path, at("/lease-0000000001"));
        client.create_with(&at("/box"), b"", &CreateOptions::new().container()).unwrap();

        let entry = Acl::new(Permissions::READ | Permissions::ADMIN, "world", "anyone");
        assert_eq!(client.acl(&at("")).unwrap().0, [Acl::open()]);
        assert_eq!(client.set_acl(&at(""), std::slice::from_ref(&entry)).unwrap().aversion, 1);
        assert_eq!(client.acl(&at("")).unwrap().0, [entry]);
        assert_eq!(client.set(&at(""), b"").unwrap_err().code(), Code::NoAuth);
        assert_eq!(client.set_acl_if(&at(""), &[Acl::open()], 0).unwrap_err().code(), Code::BadVersion);
        client.set_acl_if(&at(""), &[Acl::open()], 1).unwrap();

        assert_eq!(client.delete(&at("/a")).unwrap_err().code(), Code::NotEmpty);
        assert_eq!(client.delete_if(&mine.path, 7).unwrap_err().code(), Code::BadVersion);
        client.delete_if(&mine.path, 0).unwrap();
        client.delete(&at("/a/b/c")).unwrap();
        client.add_auth("digest", "me:secret").unwrap();
        assert!(client.who_am_i().unwrap().contains(&("digest".to_owned(), "me".to_owned())));
        client.close().unwrap();
        assert_eq!(client.state(), State::Ended);
    }
}

#[test]
fn an_error_has_code_path_outcome_and_sentence() {
    let site = Site::start("errors");
    for (_, client) in site.both() {
        let error = client.create("/a/b", b"").unwrap_err();
        assert_eq!((error.code(), error.path(), error.outcome()), (Code::NoNode, Some("/a/b"), Outcome::NotDone));
        assert_eq!(error.to_string(), "/a/b: the znode does not exist");
        let error = client.get("no path").unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::BadArguments, Some("no path")));
        let error = client.ensure_path("no path").unwrap_err();
        assert_eq!(error.code(), Code::BadArguments);
        let error = client.multi().delete("/").delete("no path").commit().unwrap_err();
        assert_eq!((error.code(), error.part()), (Code::BadArguments, Some(1)));
        let both = CreateOptions::new().ephemeral().container();
        let error = client.create_with("/c", b"", &both).unwrap_err();
        assert_eq!((error.code(), error.outcome()), (Code::BadArguments, Outcome::NotDone));
        let error = client.create_with("/t", b"", &CreateOptions::new().ttl(PATIENCE)).unwrap_err();
        assert!(error.to_string().ends_with("need extendedTypesEnabled=true on the server"), "{error}");
        client.close().unwrap();
        let error = client.create("/late", b"").unwrap_err();
        assert_eq!((error.code(), error.outcome()), (Code::Closed, Outcome::NotDone));
        assert_eq!(error.to_string(), "/late: it has been closed; the request was not sent");
    }
}

#[test]
fn errors_of_a_server_and_of_a_client_are_one_type() {
    fn program(site: &Site) -> Result<bool, Error> {
        let client = site.server().client()?;
        let is_expired = site.server().expire(client.session().id)?;
        client.get("/").map(|_| is_expired)
    }
    let mut site = Site::start("one-type");
    assert_eq!(program(&site).unwrap_err().code(), Code::SessionExpired);
    let again = zoarium::Server::start(zoarium::Config {
        data_dir: std::env::temp_dir().join(format!("zoarium-rust-client-one-type-{}", std::process::id())),
        client_port: 0,
        ..zoarium::Config::default()
    });
    assert_eq!(again.err().map(|error| error.code()), Some(Code::InUse));
    let client = site.near();
    site.stop();
    assert_eq!(client.get("/").unwrap_err().code(), Code::Closed);
}

#[test]
fn a_chroot_hides_what_lies_above_it() {
    let site = Site::start("chroot");
    let plain = site.near();
    plain.ensure_path("/outer/inner").unwrap();
    let near = Client::options().chroot("/outer/inner").open(site.server()).unwrap();
    let far = Client::options().chroot("/inner").connect(&format!("{}/outer", site.address())).unwrap();
    for client in [near, far] {
        let options = CreateOptions::new().ephemeral();
        assert_eq!(client.create_with("/a", b"", &options).unwrap().path, "/a");
        assert!(plain.exists("/outer/inner/a").unwrap().is_some());
        assert_eq!(client.ephemerals("/").unwrap(), ["/a"]);
        assert_eq!(client.get("/b").unwrap_err().path(), Some("/b"));
        assert_eq!(client.children("/").unwrap(), ["a"]);
        client.close().unwrap();
    }
    let fresh = Client::options().chroot("/fresh").open(site.server()).unwrap();
    fresh.ensure_path("/x/y").unwrap();
    assert!(plain.exists("/fresh/x/y").unwrap().is_some());
    let error = Client::options().chroot("no path").open(site.server()).unwrap_err();
    assert_eq!(error.code(), Code::BadArguments);
}

#[test]
fn what_cannot_be_connected_is_said() {
    assert_eq!(Client::connect("").unwrap_err().code(), Code::BadArguments);
    assert_eq!(Client::connect("a:b:c").unwrap_err().code(), Code::BadArguments);
    let options = Client::options().connect_limit(Duration::from_millis(50));
    // Nobody listens there, nor is given it.
    let error = options.connect("127.0.0.1:1").unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::Timeout, "no server answered in time"));
    let error = Client::options().session_timeout(Duration::ZERO).connect("a:1").unwrap_err();
    assert_eq!(error.code(), Code::BadArguments);
}

#[test]
fn a_session_can_be_detached_and_resumed() {
    let site = Site::start("resume");
    for (_, client) in site.both() {
        client.create_with("/mine", b"", &CreateOptions::new().ephemeral()).unwrap();
        let session = client.session();
        client.detach();
        assert_eq!(client.get("/").unwrap_err().code(), Code::Closed);
        let near = Client::options().resume(session.resume()).open(site.server()).unwrap();
        assert_eq!(near.session().id, session.id);
        assert!(near.exists("/mine").unwrap().is_some());
        near.detach();
        let far = Client::options().resume(session.resume()).connect(&site.address()).unwrap();
        assert!(far.exists("/mine").unwrap().is_some());
        far.close().unwrap();
        assert_eq!(site.near().exists("/mine").unwrap(), None);
    }
}

#[test]
fn changes_of_the_state_are_told_and_clones_share_the_session() {
    let site = Site::start("state");
    let (told, states) = std::sync::mpsc::channel();
    let options = Client::options().on_state(move |state| told.send(state).unwrap());
    let client = options.connect(&site.address()).unwrap();
    let other = client.clone();
    drop(client);
    other.create("/still", b"").unwrap();
    assert_eq!(states.recv_timeout(PATIENCE), Ok(State::Connected));
    site.server().disconnect(other.session().id).unwrap();
    assert_eq!(states.recv_timeout(PATIENCE), Ok(State::Suspended));
    assert_eq!(states.recv_timeout(PATIENCE), Ok(State::Connected));
    let id = other.session().id;
    drop(other);
    assert_eq!(states.recv_timeout(PATIENCE), Ok(State::Ended));
    assert_eq!(site.server().expire(id), Ok(false), "the session ended with its last client");
}

#[test]
fn a_limit_ends_the_waiting_and_not_the_request() {
    let site = Site::start("limit");
    let client = site.near();
    site.server().pause(Duration::from_millis(300));
    let error = client.with_limit(Duration::from_millis(1)).create("/slow", b"").unwrap_err();
    assert_eq!((error.code(), error.outcome()), (Code::Timeout, Outcome::Unknown));
    eventually("the request goes on", || client.exists("/slow").unwrap().is_some());
}
