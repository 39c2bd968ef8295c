//! Several operations as one.

use zoarium::{Client, Code, CreateOptions, Outcome, ReadResult, WriteResult};

use crate::kit::{Site, block_on};

#[test]
fn a_multi_does_all_of_it() {
    let site = Site::start("multi");
    for (name, client) in site.both() {
        let at = |path: &str| format!("/{name}{path}");
        client.create(&at(""), b"1").unwrap();
        let done = client
            .multi()
            .check(&at(""), 0)
            .set_if(&at(""), b"2", 0)
            .create(&at("/a"), b"a")
            .create_with(&at("/a/s-"), b"", &CreateOptions::new().sequential())
            .create_with(&at("/c"), b"", &CreateOptions::new().container())
            .delete_if(&at("/c"), 0)
            .set(&at("/a"), b"b")
            .commit()
            .unwrap();
        let [checked, set, a, sequential, _, deleted, again] = &done[..] else { panic!("{done:?}") };
        assert_eq!((checked, deleted), (&WriteResult::Checked, &WriteResult::Deleted));
        assert!(matches!(set, WriteResult::Set(stat) if stat.version == 1));
        assert!(matches!(a, WriteResult::Created(znode) if znode.path == at("/a") && znode.stat.data_length == 1));
        assert!(matches!(sequential, WriteResult::Created(znode) if znode.path == at("/a/s-0000000000")));
        assert!(matches!(again, WriteResult::Set(stat) if stat.version == 1));
        assert_eq!(client.multi().commit().unwrap(), []);
    }
}

#[test]
fn a_multi_that_fails_does_nothing_and_says_which_part_failed() {
    let site = Site::start_with("multi-fails", |config| config.extended_types_enabled = false);
    for (name, client) in site.both() {
        let at = |path: &str| format!("/{name}{path}");
        client.create(&at(""), b"1").unwrap();
        let parts = || client.multi().create(&at("/a"), b"").set_if(&at(""), b"2", 7).delete(&at("/nothing"));
        let error = parts().commit().unwrap_err();
        assert_eq!((error.code(), error.part(), error.outcome()), (Code::BadVersion, Some(1), Outcome::NotDone));
        let text =
            format!("/{name} (part 1 of the multi, counted from 0): the expected version is not the current one");
        assert_eq!((error.path(), error.to_string()), (Some(at("").as_str()), text));
        assert_eq!(client.exists(&at("/a")).unwrap(), None);
        let lasting = CreateOptions::new().ephemeral().container();
        let error = parts().create_with(&at("/x"), b"", &lasting).commit().unwrap_err();
        assert_eq!((error.code(), error.part()), (Code::BadArguments, Some(3)), "before anything is sent");
        let ttl = CreateOptions::new().ttl(std::time::Duration::from_secs(9));
        let error = client.multi().create_with(&at("/t"), b"", &ttl).commit().unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotDone);
        let error = block_on(client.to_async().multi().delete(&at("/nothing")).commit()).unwrap_err();
        assert_eq!((error.code(), error.part()), (Code::NoNode, Some(0)));
    }
}

#[test]
fn reads_of_one_moment_fail_each_on_its_own() {
    let site = Site::start("multi-read");
    site.near().ensure_path("/root/a").unwrap();
    let near = Client::options().chroot("/root").open(site.server()).unwrap();
    let far = Client::options().chroot("/root").connect(&site.address()).unwrap();
    for client in [near, far] {
        client.set("/a", b"1").unwrap();
        let found = client.multi_read().get("/a").get("/b").children("/").commit().unwrap();
        assert!(matches!(&found[0], Ok(ReadResult::Data(data, _)) if data == b"1"));
        let error = found[1].as_ref().unwrap_err();
        assert_eq!((error.code(), error.path(), error.part()), (Code::NoNode, Some("/b"), Some(1)));
        assert!(matches!(&found[2], Ok(ReadResult::Children(names)) if names == &["a"]));
        let found = block_on(client.to_async().multi_read().children("/a").commit()).unwrap();
        assert!(matches!(&found[0], Ok(ReadResult::Children(names)) if names.is_empty()));
        let error = client.multi().set("/a", b"").delete("/b").commit().unwrap_err();
        assert_eq!(error.path(), Some("/b"), "as the client named it");
    }
}
