//! Clients over TCP: against our server, against Apache ZooKeeper where there is one, and against whatever misbehaves.

#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, reason = "nothing in a test program is reachable")]

mod fake;
mod hostile;
mod kit;
mod lost;
mod proxy;
mod read_only;
#[allow(dead_code, reason = "shared with the comparison of the two servers")]
#[path = "../reference/servers.rs"]
mod servers;
mod sessions;
mod states;
mod watches;

/// Each of these runs against our server as a test of its own, and one after the other against Apache ZooKeeper.
macro_rules! scenarios {
    ($($room:ident: $($name:ident)+;)+) => {
        mod ours {
            $($(#[test]
            fn $name() {
                let mut site = crate::kit::Site::ours(stringify!($name));
                site.begin(stringify!($name));
                crate::$room::$name(&site);
            })+)+
        }

        #[test]
        fn all_of_it_holds_against_apache_zookeeper() {
            let mut site = match kit::Site::zookeeper() {
                Ok(site) => site,
                Err(why) => {
                    assert!(std::env::var("CI").as_deref() != Ok("true"), "no reference server: {why}");
                    return eprintln!("SKIPPED, no reference server: {why}");
                }
            };
            $($({
                eprintln!("{}", stringify!($name));
                site.begin(stringify!($name));
                $room::$name(&site);
            })+)+
        }
    };
}

scenarios! {
    sessions: everyday_operations_work
        a_chroot_in_the_hosts_and_one_in_the_options_add_up
        a_detached_session_is_resumed_with_its_ephemerals
        a_wrong_password_is_an_expired_session
        a_session_that_nobody_kept_alive_has_expired
        an_idle_session_is_kept_alive
        a_refused_identity_ends_the_session
        identities_are_said_again
        a_frame_beyond_the_servers_limit_costs_the_connection_and_not_the_session
        a_hundred_clients_share_two_threads;
    watches: every_kind_of_watch_outlives_a_lost_connection
        thousands_of_watches_are_registered_again
        an_event_comes_before_the_reply_to_a_later_read;
    lost: the_next_host_takes_over
        what_was_sent_is_lost_and_what_was_not_waits
        what_is_asked_for_while_suspended_is_done_afterwards_in_order
        every_request_is_answered_once_however_often_the_connection_goes
        no_write_is_carried_out_twice;
    states: a_client_can_be_closed_in_every_state
        a_client_can_be_detached_in_every_state;
}
