//! What the C ABI costs: `cargo bench --bench abi`.
//!
//! The same get of 100 bytes, once through the handle and once through `zoa_client_get` with the data looked at and the
//! result freed, taking turns; prints processor time of each and the difference. Under `cargo test` it runs on little.

#![allow(unsafe_code, reason = "it calls what C calls")]

use std::ffi::{CStr, c_char, c_void};
use std::hint::black_box;
use std::ptr::{null, null_mut};
use std::sync::Arc;

use zoarium::handle::{Handle, Options, code};
use zoarium::records::OpCode;
use zoarium::{Config, Server};

unsafe extern "C" {
    fn zoa_config_new(config_out: *mut *mut c_void) -> i32;
    fn zoa_config_set(config: *mut c_void, key: *const c_char, value: *const c_char) -> i32;
    fn zoa_config_free(config: *mut c_void);
    fn zoa_server_start(config: *const c_void, server_out: *mut *mut c_void) -> i32;
    fn zoa_server_free(server: *mut c_void);
    fn zoa_client_open(server: *mut c_void, options: *const c_void, client_out: *mut *mut c_void) -> i32;
    fn zoa_client_create(
        client: *mut c_void,
        path: *const c_char,
        data: *const c_void,
        len: usize,
        mode: i32,
        result_out: *mut *mut c_void,
    ) -> i32;
    fn zoa_client_get(client: *mut c_void, path: *const c_char, result_out: *mut *mut c_void) -> i32;
    fn zoa_result_data(result: *const c_void, len_out: *mut usize) -> *const c_void;
    fn zoa_result_free(result: *mut c_void);
    fn zoa_client_free(client: *mut c_void);
}

const DATA: [u8; 100] = [0x5a; 100];

fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// A client as C has it, on a server of its own.
struct Foreign {
    server: *mut c_void,
    client: *mut c_void,
}

fn foreign(folder: &CStr) -> Foreign {
    let (mut config, mut server, mut client) = (null_mut(), null_mut(), null_mut());
    // SAFETY: each gets what its doc asks for, and everything is checked.
    unsafe {
        assert_eq!(zoa_config_new(&raw mut config), 0);
        assert_eq!(zoa_config_set(config, c"dataDir".as_ptr(), folder.as_ptr()), 0);
        assert_eq!(zoa_config_set(config, c"clientPort".as_ptr(), c"0".as_ptr()), 0);
        assert_eq!(zoa_server_start(config, &raw mut server), 0);
        zoa_config_free(config);
        assert_eq!(zoa_client_open(server, null(), &raw mut client), 0);
        let created = zoa_client_create(client, c"/a".as_ptr(), DATA.as_ptr().cast(), DATA.len(), 0, null_mut());
        assert_eq!(created, 0);
    }
    Foreign { server, client }
}

fn main() {
    let is_tiny = !std::env::args().any(|arg| arg == "--bench");
    let (rounds, count) = if is_tiny { (2, 100) } else { (20, 200_000) };
    let folder = std::env::temp_dir().join(format!("zoarium-bench-abi-{}", std::process::id()));
    let c_folder = std::ffi::CString::new(folder.join("c").display().to_string()).expect("no NUL in a path");
    let Foreign { server, client } = foreign(&c_folder);
    let config = Config { data_dir: folder.join("rust"), client_port: 0, ..Config::default() };
    let ours = Server::start(config).expect("a server on a new folder");
    let handle = Handle::open(Arc::clone(ours.hub()), &Options::default()).expect("a thread for callbacks");
    handle.wait(None).expect("a session");
    let request = zoarium::records::requests::CreateRequest {
        path: "/a".into(),
        data: zoarium::jute::Buffer::new(&DATA),
        acl: Some(vec![zoarium::records::Acl::open()]),
        flags: 0,
    };
    assert_eq!(handle.call(OpCode::Create, &zoarium::jute::encoded(&request), None).code, code::OK);

    // The least of many rounds: whatever else the machine does only ever adds.
    let (mut plain, mut through) = (u64::MAX, u64::MAX);
    for _ in 0..rounds {
        let begin = processor_ns();
        for _ in 0..count {
            let reply = handle.read(OpCode::GetData, black_box("/a"), None);
            assert_eq!(reply.code, code::OK);
            black_box(&reply.body);
        }
        plain = plain.min((processor_ns() - begin) / count);
        let begin = processor_ns();
        for _ in 0..count {
            let (mut result, mut len) = (null_mut(), 0);
            // SAFETY: the client is open; the result is freed once and not used after.
            unsafe {
                assert_eq!(zoa_client_get(client, black_box(c"/a".as_ptr()), &raw mut result), 0);
                black_box(zoa_result_data(result, &raw mut len));
                zoa_result_free(result);
            }
            assert_eq!(len, DATA.len());
        }
        through = through.min((processor_ns() - begin) / count);
    }
    println!(
        "get through the handle: {plain} ns, through the C ABI: {through} ns, more by {} ns",
        through - plain.min(through)
    );
    // SAFETY: nobody uses them any more.
    unsafe {
        zoa_client_free(client);
        zoa_server_free(server);
    }
    drop(handle);
    ours.stop().expect("a clean stop");
    let _ = std::fs::remove_dir_all(folder);
}
