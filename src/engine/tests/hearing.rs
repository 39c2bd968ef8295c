//! Silence is held against a client only while somebody listened to it.

use super::*;

impl World {
    /// As [`World::pass`], but nobody listened in that time.
    fn stall(&mut self, ms: u64) {
        self.engine.grant_back(ms);
        self.pass(ms);
    }

    fn ping(&mut self, conn: ConnId) {
        self.request(conn, OpCode::Ping, &());
        self.frames(conn);
    }
}

#[test]
fn time_in_which_nobody_listened_expires_nobody() {
    // G-10: a sync, a stopped process, a machine that swaps.
    let mut world = World::new();
    let conns: Vec<ConnId> = (0..100).map(|_| world.client()).collect();
    world.pass(3000);
    for _ in 0..10 {
        world.stall(6000);
    }
    assert!(conns.iter().all(|&conn| !world.is_closing(conn)));
    assert_eq!(world.engine.status().sessions_expired, 0);
    world.pass(900);
    assert_eq!(world.engine.status().sessions_expired, 0, "what was left before is left after");
    conns.iter().take(50).for_each(|&conn| world.ping(conn));
    world.pass(1200);
    assert_eq!(world.engine.status().sessions_expired, 50, "the time in which somebody listened counts");
    world.pass(5000);
    assert_eq!(world.engine.status().sessions_expired, 100);
}

#[test]
fn a_session_that_was_begun_or_resumed_after_a_stall_has_its_timeout_and_no_more() {
    let mut world = World::new();
    world.stall(60_000);
    let conn = world.client();
    world.pass(3900);
    assert!(!world.is_closing(conn));
    world.pass(1100);
    assert!(world.is_closing(conn));
}

#[test]
fn who_has_sent_something_that_was_not_taken_in_does_not_expire() {
    // G-10: whoever we let wait is not silent.
    let mut world = World::new();
    let (waiting, silent) = (world.client(), world.client());
    for _ in 0..5 {
        world.now = world.now.plus(5000);
        world.engine.set_time(world.now, WallMillis(1_700_000_000_000));
        assert!(world.engine.silence_is_due());
        world.engine.tick_unheard();
        assert!(!world.engine.has_proposals(), "nobody expires before it is known who is silent");
        world.engine.tick_hearing(&mut |conn| conn == waiting);
        world.commit();
    }
    assert!(!world.is_closing(waiting));
    assert!(world.is_closing(silent));
    world.pass(5000);
    assert!(world.is_closing(waiting));
}

#[test]
fn the_clock_of_a_handshake_stops_when_it_has_come() {
    // 3,000 at once, a burst of 1,000 and 100 a second: none is closed, the oldest come first.
    let mut settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
    (settings.session_timeout_max_ms, settings.limits.sessionless_max) = (600_000, 2500);
    (settings.limits.sessions_per_second, settings.limits.sessions_burst) = (100, 1000);
    let mut world = World::with(settings);
    let mut conns: Vec<ConnId> = Vec::new();
    for _ in 0..3000 {
        let conn = world.open();
        world.send(conn, &handshake_for(60_000));
        conns.push(conn);
    }
    world.commit();
    let has_session = |world: &World, conn| world.session(conn) != SessionId::NONE;
    let mut served = conns.iter().filter(|&&conn| has_session(&world, conn)).count();
    assert_eq!(served, 1000);
    let silent = world.open();
    for second in 1..=20 {
        // A newcomer does not overtake those who wait.
        let newcomer = world.open();
        world.send(newcomer, &handshake_for(60_000));
        world.pass(1000);
        // The loop offers them again in the order in which they came.
        for &conn in &conns {
            if world.inputs.get(&conn).is_some_and(|input| !input.is_empty()) {
                world.offer(conn, &[]);
            }
        }
        world.commit();
        served = conns.iter().take_while(|&&conn| has_session(&world, conn)).count();
        assert_eq!(served, 1000 + 100 * second, "after {second} s");
        assert!(!has_session(&world, newcomer));
    }
    assert!(conns.iter().all(|&conn| !world.is_closing(conn)));
    assert!(world.is_closing(silent), "who sends nothing is closed");
    assert_eq!(world.engine.status().handshakes_overdue, 1);
}

#[test]
fn a_flood_of_one_address_does_not_push_out_others() {
    //
    let mut settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
    settings.limits.sessionless_max = 100;
    let mut world = World::with(settings);
    let honest: Vec<ConnId> =
        (0..39).map(|number| world.engine.open(format!("10.0.0.{number}:1").parse().unwrap())).collect();
    let sent = world.open();
    world.send(sent, &handshake(0, &[0; 16], 0)[..10]);
    for round in 0..5000 {
        world.open();
        if round % 100 == 0 {
            world.pass(0);
        }
    }
    assert!(honest.iter().all(|&conn| !world.is_closing(conn)));
    for &conn in &honest {
        world.send(conn, &handshake(0, &[0; 16], 0));
    }
    world.commit();
    assert!(honest.iter().all(|&conn| world.session(conn) != SessionId::NONE));
}

fn handshake_for(timeout: i32) -> Vec<u8> {
    let password = [0; 16];
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout,
        session_id: 0,
        password: Buffer::new(&password),
    };
    let mut payload = Vec::new();
    encode(&request, &mut payload);
    payload.push(0);
    payload
}

#[test]
fn a_handshake_that_has_come_is_no_reason_to_look_who_is_silent() {
    let mut settings = EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() };
    settings.limits.handshake_ms = 1000;
    let mut world = World::with(settings);
    world.client();
    let at = |world: &mut World, ms: u64| {
        world.engine.set_time(Millis(ms), WallMillis(1_700_000_000_000 + ms as i64));
        world.engine.silence_is_due()
    };
    assert!(!at(&mut world, 1500));
    world.open();
    assert!(!at(&mut world, 2400));
    assert!(at(&mut world, 2500), "this one has not come");
}
