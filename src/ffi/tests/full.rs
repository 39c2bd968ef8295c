//! A disk without space as a program sees it that links the library: a code of its own, a sentence that says where to look,
//! and a way out by deleting. Over TCP the code is ZooKeeper's.

use std::ffi::{CStr, CString};
use std::ptr::null;
use std::time::{Duration, Instant};

use super::*;
use crate::ffi::codes::{ZOA_DISK_FULL, ZOA_OUTCOME_NOT_DONE, ZOA_QUOTA_EXCEEDED};
use crate::ffi::guard::zoa_last_outcome;
use crate::raw::RawClient;
use crate::records::{Acl, CreateMode, ErrorCode};
use crate::store::tests::full_disk::Mounted;

/// A server in this process with a client in it.
struct Site {
    server: *mut super::super::server::zoa_server,
    client: *mut super::super::client::zoa_client,
}

impl Site {
    fn start(settings: &[(&CStr, &str)]) -> Site {
        let (mut config, mut server, mut client) = (null_mut(), null_mut(), null_mut());
        // SAFETY: every pointer is NULL, a place of ours, or a handle that was made here.
        unsafe {
            assert_eq!(zoa_config_new(&raw mut config), ZOA_OK);
            for (key, value) in settings {
                let value = CString::new(*value).unwrap();
                assert_eq!(zoa_config_set(config, key.as_ptr(), value.as_ptr()), ZOA_OK, "{}", last_error());
            }
            assert_eq!(zoa_server_start(config, &raw mut server), ZOA_OK, "{}", last_error());
            zoa_config_free(config);
            assert_eq!(zoa_client_open(server, null(), &raw mut client), ZOA_OK, "{}", last_error());
            assert_eq!(zoa_client_wait(client, 20_000), ZOA_OK, "{}", last_error());
        }
        Site { server, client }
    }

    fn create(&self, path: &CStr, data: &[u8]) -> zoa_code {
        // SAFETY: the client lives, the path ends with NUL, and the data are as long as said.
        unsafe { zoa_client_create(self.client, path.as_ptr(), data.as_ptr().cast(), data.len(), 0, null_mut()) }
    }

    fn set(&self, path: &CStr, data: &[u8]) -> zoa_code {
        // SAFETY: as in `create`.
        unsafe { zoa_client_set(self.client, path.as_ptr(), data.as_ptr().cast(), data.len(), -1, null_mut()) }
    }

    fn delete(&self, path: &CStr) -> zoa_code {
        // SAFETY: as in `create`.
        unsafe { zoa_client_delete(self.client, path.as_ptr(), -1) }
    }

    fn tcp(&self) -> RawClient {
        // SAFETY: the server lives, and its address as long as it does.
        let address = unsafe { CStr::from_ptr(zoa_server_address(self.server)) };
        RawClient::connect(address.to_str().unwrap()).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // SAFETY: both were made by `start`, and are freed once.
        unsafe {
            zoa_client_free(self.client);
            zoa_server_free(self.server);
        }
    }
}

fn refusal<T>(result: Result<T, crate::raw::ClientError>) -> Option<ErrorCode> {
    result.err().and_then(|error| error.refusal())
}

fn path(number: usize) -> CString {
    CString::new(format!("/large-{number}")).unwrap()
}

// R-22, F-09: a real file system of 34 MiB.
#[test]
fn a_write_without_space_on_the_disk_says_so_and_deletes_make_room() {
    let Some(mounted) = Mounted::new(34) else {
        println!("SKIPPED: no file system can be mounted here");
        return;
    };
    let folder = mounted.0.join("data");
    let site = Site::start(&[(c"dataDir", folder.to_str().unwrap()), (c"clientPort", "0")]);
    let large = vec![7; 500_000];
    let mut count = 0;
    let code = loop {
        match site.create(&path(count), &large) {
            ZOA_OK => count += 1,
            code => break code,
        }
        assert!(count < 200, "100 MB in 34 MiB");
    };
    assert_eq!((code, zoa_last_outcome()), (ZOA_DISK_FULL, ZOA_OUTCOME_NOT_DONE), "{}", last_error());
    let sentence = last_error();
    assert!(sentence.contains("disk") && sentence.contains("dataDir"), "{sentence}");
    assert!(!sentence.contains("quota"), "{sentence}");
    assert!(count > 5, "{count} znodes of 500 KB in 34 MiB");

    // What grows is refused, what does not goes on, in this process and over TCP; there by ZooKeeper's code.
    let mut tcp = site.tcp();
    assert_eq!(site.set(&path(0), &[7; 600_000]), ZOA_DISK_FULL);
    assert_eq!(
        refusal(tcp.create("/tcp", Some(&large), &[Acl::open()], CreateMode::Persistent)),
        Some(ErrorCode::QuotaExceeded)
    );
    assert_eq!(site.set(&path(0), b"small"), ZOA_OK, "{}", last_error());
    assert!(tcp.exists("/large-1", false).unwrap().is_some());
    for number in 1..count {
        if number % 2 == 0 {
            tcp.delete(&format!("/large-{number}"), -1).unwrap();
        } else {
            assert_eq!(site.delete(&path(number)), ZOA_OK, "{}", last_error());
        }
    }

    // The room that deletes made is there once a snapshot without those znodes has taken the place of the log.
    let begun = Instant::now();
    loop {
        match site.create(c"/again", &large) {
            ZOA_OK => break,
            code => assert_eq!(code, ZOA_DISK_FULL, "{}", last_error()),
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "deletes make no room");
        assert_eq!(site.set(&path(0), b"small"), ZOA_OK, "{}", last_error());
    }
    tcp.create("/tcp", Some(&large), &[Acl::open()], CreateMode::Persistent).unwrap();
    tcp.close().unwrap();
    drop(site);
}

#[test]
fn a_quota_is_told_as_a_quota_in_process_and_over_tcp() {
    let folder = crate::store::tests::real::Folder::new();
    let data = folder.file().with_extension("data");
    let site = Site::start(&[(c"dataDir", data.to_str().unwrap()), (c"clientPort", "0"), (c"enforceQuota", "true")]);
    let mut tcp = site.tcp();
    assert_eq!(site.create(c"/q", b""), ZOA_OK, "{}", last_error());
    assert_eq!(site.create(c"/zookeeper/quota/q", b""), ZOA_OK, "{}", last_error());
    let limits = c"/zookeeper/quota/q/zookeeper_limits";
    assert_eq!(site.create(limits, b"count=-1,bytes=-1;byteHardLimit=100;countHardLimit=2"), ZOA_OK);
    assert_eq!(site.create(c"/zookeeper/quota/q/zookeeper_stats", b"count=1,bytes=0"), ZOA_OK);
    let code = site.create(c"/q/large", &[7; 200]);
    assert_eq!((code, zoa_last_outcome()), (ZOA_QUOTA_EXCEEDED, ZOA_OUTCOME_NOT_DONE), "{}", last_error());
    assert!(last_error().contains("quota") && !last_error().contains("disk"), "{}", last_error());
    let refused = tcp.create("/q/large", Some(&[7; 200]), &[Acl::open()], CreateMode::Persistent);
    assert_eq!(refusal(refused), Some(ErrorCode::QuotaExceeded));
    assert_eq!(site.create(c"/q/a", b""), ZOA_OK, "{}", last_error());
    assert_eq!(site.create(c"/q/b", b""), ZOA_QUOTA_EXCEEDED);
    tcp.close().unwrap();
    drop(site);
}
