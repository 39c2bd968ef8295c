//! A bug at every entry (C-01).

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "all of them take NULL for every pointer, and panic before they look"
)]

mod full;

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr::{null, null_mut};

use super::client::{
    zoa_client_add_auth, zoa_client_close, zoa_client_connect, zoa_client_detach, zoa_client_free, zoa_client_open,
    zoa_client_session, zoa_client_unwatch, zoa_client_wait, zoa_client_watch,
};
use super::codes::{ZOA_OK, ZOA_PANIC, zoa_code};
use super::config::{zoa_config_free, zoa_config_load, zoa_config_new, zoa_config_on_role, zoa_config_set};
use super::ensemble::{
    zoa_ensemble_cut, zoa_ensemble_free, zoa_ensemble_heal, zoa_ensemble_hosts, zoa_ensemble_kill, zoa_ensemble_leader,
    zoa_ensemble_pause, zoa_ensemble_restart, zoa_ensemble_resume, zoa_ensemble_server, zoa_ensemble_start,
    zoa_ensemble_stop, zoa_ensemble_wait, zoa_ensemble_wipe,
};
use super::guard::zoa_last_error;
use super::log::{zoa_log_to, zoa_log_to_queue};
use super::operations::{
    zoa_client_acl, zoa_client_call, zoa_client_children, zoa_client_create, zoa_client_delete, zoa_client_exists,
    zoa_client_get, zoa_client_multi, zoa_client_set, zoa_client_set_acl, zoa_client_submit, zoa_client_submit_multi,
    zoa_client_sync,
};
use super::pending::{zoa_client_begin, zoa_pending_free, zoa_pending_wait};
use super::queue::{zoa_queue_fd, zoa_queue_free, zoa_queue_new, zoa_queue_run};
use super::result::{
    zoa_result_acl, zoa_result_code, zoa_result_count, zoa_result_data, zoa_result_error, zoa_result_free,
    zoa_result_name, zoa_result_outcome, zoa_result_part, zoa_result_path, zoa_result_stat, zoa_result_zxid,
};
use super::server::{
    zoa_server_address, zoa_server_command, zoa_server_disconnect, zoa_server_expire, zoa_server_free,
    zoa_server_handover, zoa_server_pause, zoa_server_ready, zoa_server_start, zoa_server_status, zoa_server_stop,
    zoa_server_wait, zoa_text_free,
};

thread_local! {
    /// The next function panics at its entry.
    pub(super) static PLANTED: Cell<bool> = const { Cell::new(false) };
}

/// Those that only look something up, and have nothing that could fail.
const LOOK_UPS: &[&str] = &[
    "zoa_abi",
    "zoa_code_name",
    "zoa_code_outcome",
    "zoa_code_text",
    "zoa_features",
    "zoa_last_error",
    "zoa_last_outcome",
    "zoa_version",
];

type Call<'a, R> = (&'static str, &'a dyn Fn() -> R);

fn last_error() -> String {
    // SAFETY: it is never NULL, and copied before the next call.
    unsafe { CStr::from_ptr(zoa_last_error()) }.to_str().unwrap().to_owned()
}

#[test]
fn a_panic_at_any_entry_becomes_a_code() {
    let with_code: &[Call<'_, zoa_code>] = &[
        ("zoa_client_acl", &|| unsafe { zoa_client_acl(null_mut(), null(), null_mut()) }),
        ("zoa_client_add_auth", &|| unsafe { zoa_client_add_auth(null_mut(), null(), null(), 0) }),
        ("zoa_client_begin", &|| unsafe { zoa_client_begin(null_mut(), null(), 0, null_mut(), null_mut()) }),
        ("zoa_client_call", &|| unsafe { zoa_client_call(null_mut(), null(), 0, null_mut()) }),
        ("zoa_client_children", &|| unsafe { zoa_client_children(null_mut(), null(), null_mut()) }),
        ("zoa_client_close", &|| unsafe { zoa_client_close(null_mut(), 0) }),
        ("zoa_client_connect", &|| unsafe { zoa_client_connect(null(), null(), null_mut()) }),
        ("zoa_client_create", &|| unsafe { zoa_client_create(null_mut(), null(), null(), 0, 0, null_mut()) }),
        ("zoa_client_delete", &|| unsafe { zoa_client_delete(null_mut(), null(), 0) }),
        ("zoa_client_detach", &|| unsafe { zoa_client_detach(null_mut()) }),
        ("zoa_client_exists", &|| unsafe { zoa_client_exists(null_mut(), null(), null_mut()) }),
        ("zoa_client_get", &|| unsafe { zoa_client_get(null_mut(), null(), null_mut()) }),
        ("zoa_client_multi", &|| unsafe { zoa_client_multi(null_mut(), null(), 0, null_mut()) }),
        ("zoa_client_open", &|| unsafe { zoa_client_open(null_mut(), null(), null_mut()) }),
        ("zoa_client_session", &|| unsafe { zoa_client_session(null(), null_mut()) }),
        ("zoa_client_set", &|| unsafe { zoa_client_set(null_mut(), null(), null(), 0, 0, null_mut()) }),
        ("zoa_client_set_acl", &|| unsafe { zoa_client_set_acl(null_mut(), null(), null(), 0, 0) }),
        ("zoa_client_submit", &|| unsafe { zoa_client_submit(null_mut(), null(), None, null_mut()) }),
        ("zoa_client_submit_multi", &|| unsafe { zoa_client_submit_multi(null_mut(), null(), 0, None, null_mut()) }),
        ("zoa_client_sync", &|| unsafe { zoa_client_sync(null_mut(), null()) }),
        ("zoa_client_unwatch", &|| unsafe { zoa_client_unwatch(null_mut(), 0) }),
        ("zoa_client_wait", &|| unsafe { zoa_client_wait(null_mut(), 0) }),
        ("zoa_client_watch", &|| unsafe { zoa_client_watch(null_mut(), null(), 0, None, null_mut(), null_mut()) }),
        ("zoa_config_load", &|| unsafe { zoa_config_load(null_mut(), null()) }),
        ("zoa_config_new", &|| unsafe { zoa_config_new(null_mut()) }),
        ("zoa_config_on_role", &|| unsafe { zoa_config_on_role(null_mut(), None, null_mut()) }),
        ("zoa_config_set", &|| unsafe { zoa_config_set(null_mut(), null(), null()) }),
        ("zoa_ensemble_cut", &|| unsafe { zoa_ensemble_cut(null_mut(), 1) }),
        ("zoa_ensemble_heal", &|| unsafe { zoa_ensemble_heal(null_mut(), 1) }),
        ("zoa_ensemble_kill", &|| unsafe { zoa_ensemble_kill(null_mut(), 1) }),
        ("zoa_ensemble_leader", &|| unsafe { zoa_ensemble_leader(null_mut(), null_mut()) }),
        ("zoa_ensemble_pause", &|| unsafe { zoa_ensemble_pause(null_mut(), 1) }),
        ("zoa_ensemble_restart", &|| unsafe { zoa_ensemble_restart(null_mut(), 1) }),
        ("zoa_ensemble_resume", &|| unsafe { zoa_ensemble_resume(null_mut(), 1) }),
        ("zoa_ensemble_server", &|| unsafe { zoa_ensemble_server(null_mut(), 1, null_mut()) }),
        ("zoa_ensemble_start", &|| unsafe { zoa_ensemble_start(null(), 3, null_mut()) }),
        ("zoa_ensemble_stop", &|| unsafe { zoa_ensemble_stop(null_mut()) }),
        ("zoa_ensemble_wait", &|| unsafe { zoa_ensemble_wait(null_mut(), 0) }),
        ("zoa_ensemble_wipe", &|| unsafe { zoa_ensemble_wipe(null_mut(), 1) }),
        ("zoa_log_to", &|| unsafe { zoa_log_to(0, None, null_mut()) }),
        ("zoa_log_to_queue", &|| unsafe { zoa_log_to_queue(0, null_mut(), None, null_mut()) }),
        ("zoa_pending_wait", &|| unsafe { zoa_pending_wait(null_mut(), 0, null_mut()) }),
        ("zoa_queue_new", &|| unsafe { zoa_queue_new(null_mut()) }),
        ("zoa_queue_run", &|| unsafe { zoa_queue_run(null_mut(), 0, 0, null_mut()) }),
        ("zoa_result_code", &|| unsafe { zoa_result_code(null()) }),
        ("zoa_server_command", &|| unsafe { zoa_server_command(null_mut(), null(), null_mut()) }),
        ("zoa_server_disconnect", &|| unsafe { zoa_server_disconnect(null_mut(), 0) }),
        ("zoa_server_expire", &|| unsafe { zoa_server_expire(null_mut(), 0) }),
        ("zoa_server_handover", &|| unsafe { zoa_server_handover(null_mut(), 0) }),
        ("zoa_server_pause", &|| unsafe { zoa_server_pause(null_mut(), 0) }),
        ("zoa_server_ready", &|| unsafe { zoa_server_ready(null_mut(), 0) }),
        ("zoa_server_start", &|| unsafe { zoa_server_start(null(), null_mut()) }),
        ("zoa_server_status", &|| unsafe { zoa_server_status(null(), null_mut()) }),
        ("zoa_server_stop", &|| unsafe { zoa_server_stop(null_mut(), 0) }),
        ("zoa_server_wait", &|| unsafe { zoa_server_wait(null_mut(), 0) }),
    ];
    let without: &[Call<'_, ()>] = &[
        ("zoa_client_free", &|| unsafe {
            zoa_client_free(null_mut());
        }),
        ("zoa_config_free", &|| unsafe {
            zoa_config_free(null_mut());
        }),
        ("zoa_ensemble_free", &|| unsafe {
            zoa_ensemble_free(null_mut());
        }),
        ("zoa_ensemble_hosts", &|| unsafe {
            zoa_ensemble_hosts(null());
        }),
        ("zoa_pending_free", &|| unsafe {
            zoa_pending_free(null_mut());
        }),
        ("zoa_queue_fd", &|| unsafe {
            zoa_queue_fd(null());
        }),
        ("zoa_queue_free", &|| unsafe {
            zoa_queue_free(null_mut());
        }),
        ("zoa_result_acl", &|| unsafe {
            zoa_result_acl(null(), 0);
        }),
        ("zoa_result_count", &|| unsafe {
            zoa_result_count(null());
        }),
        ("zoa_result_data", &|| unsafe {
            zoa_result_data(null(), null_mut());
        }),
        ("zoa_result_error", &|| unsafe {
            zoa_result_error(null());
        }),
        ("zoa_result_free", &|| unsafe {
            zoa_result_free(null_mut());
        }),
        ("zoa_result_name", &|| unsafe {
            zoa_result_name(null(), 0);
        }),
        ("zoa_result_part", &|| unsafe {
            zoa_result_part(null(), 0);
        }),
        ("zoa_result_path", &|| unsafe {
            zoa_result_path(null());
        }),
        ("zoa_result_stat", &|| unsafe {
            zoa_result_stat(null());
        }),
        ("zoa_result_outcome", &|| unsafe {
            zoa_result_outcome(null());
        }),
        ("zoa_result_zxid", &|| unsafe {
            zoa_result_zxid(null());
        }),
        ("zoa_server_address", &|| unsafe {
            zoa_server_address(null());
        }),
        ("zoa_server_free", &|| unsafe {
            zoa_server_free(null_mut());
        }),
        ("zoa_text_free", &|| unsafe {
            zoa_text_free(null_mut());
        }),
    ];
    for (name, call) in with_code {
        PLANTED.set(true);
        assert_eq!(call(), ZOA_PANIC, "{name}");
        assert!(!PLANTED.get() && last_error().contains("planted"), "{name}");
    }
    for (name, call) in without {
        PLANTED.set(true);
        call();
        assert!(!PLANTED.get() && last_error().contains("planted"), "{name}");
    }
    let tested = with_code.iter().map(|(name, _)| *name).chain(without.iter().map(|(name, _)| *name));
    let mut tested: Vec<&str> = tested.chain(LOOK_UPS.iter().copied()).collect();
    tested.sort_unstable();
    let exported: Vec<&str> = include_str!("../../tests/abi/symbols.txt").lines().collect();
    assert_eq!(tested, exported, "functions that are not tried here");
}

#[test]
fn a_panic_inside_leaves_the_handle_spent() {
    use super::guard::with;
    let mut queue = null_mut();
    // SAFETY: the queue is a queue, and freed once.
    unsafe {
        assert_eq!(zoa_queue_new(&raw mut queue), ZOA_OK);
        let panics = with(queue.cast_const().cast(), "queue", |_: &super::queue::QueueBox| panic!("planted"));
        assert_eq!(panics, ZOA_PANIC);
        assert_eq!(zoa_queue_run(queue, 1, 0, null_mut()), ZOA_PANIC, "spent");
        zoa_queue_free(queue);
    }
}
