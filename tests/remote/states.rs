//! The end, from every state there is.

use std::time::{Duration, Instant};

use zoarium::handle::{Handle, Options, Resume, State, code};
use zoarium::ids::SessionId;
use zoarium::records::OpCode;

use crate::fake::Fake;
use crate::kit::*;
use crate::proxy::Proxy;

/// L-11
const STOP_MAX: Duration = Duration::from_secs(2);

/// A client in a certain state, with whatever keeps it there.
struct Case {
    name: &'static str,
    handle: Handle,
    _keeper: (Option<Proxy>, Option<Fake>),
    /// What closing says.
    closing: Result<(), i32>,
}

fn cases(site: &Site) -> Vec<Case> {
    let case = |name, handle, closing| Case { name, handle, _keeper: (None, None), closing };
    let silent = Fake::start(|talk| {
        talk.linger();
        Ok(())
    });
    let shaking = Handle::connect(&silent.address, &Options::default()).unwrap();
    await_that("a connection", || silent.accepted() > 0);
    let deaf = Fake::start(|talk| {
        talk.shake()?;
        talk.linger();
        Ok(())
    });
    let unanswered = connect(&deaf.address, &Options::default());
    let proxy = site.proxy();
    let suspended = connect(&site.over(&[&proxy.address]), &Options::default());
    proxy.refuse(true);
    proxy.cut();
    await_state(&suspended, State::Suspended);
    let resume = Some(Resume { id: SessionId(12345), password: [1; 16] });
    let expired = Handle::connect(&site.hosts(), &Options { resume, ..Options::default() }).unwrap();
    assert_eq!(expired.wait(LIMIT), Err(code::SESSION_EXPIRED));
    let refused = site.connect();
    assert_eq!(refused.add_auth("no-such-scheme", b"", LIMIT).code, code::AUTH_FAILED);
    await_state(&refused, State::AuthFailed);
    let ended = site.connect();
    ended.close(LIMIT).unwrap();
    vec![
        case("just begun", Handle::connect(&site.hosts(), &Options::default()).unwrap(), Ok(())),
        case("nobody listens", Handle::connect(NOBODY, &Options::default()).unwrap(), Ok(())),
        case("no such name", Handle::connect("no-such-host.invalid", &Options::default()).unwrap(), Ok(())),
        Case { name: "shaking", handle: shaking, _keeper: (None, Some(silent)), closing: Ok(()) },
        case("connected", site.connect(), Ok(())),
        Case { name: "unanswered", handle: unanswered, _keeper: (None, Some(deaf)), closing: Err(code::TIMEOUT) },
        Case {
            name: "suspended",
            handle: suspended,
            _keeper: (Some(proxy), None),
            closing: Err(code::CONNECTION_LOSS),
        },
        case("expired", expired, Ok(())),
        case("refused", refused, Ok(())),
        case("ended", ended, Ok(())),
    ]
}

/// Ends each client with a request under way, which must be answered.
fn end_each(site: &Site, end: impl Fn(&Case)) {
    for case in cases(site) {
        let (answered, counted) = (Count::default(), Count::default());
        let answers = answered.clone();
        if case.handle.submit(OpCode::Exists, &[], move |_| answers.add()).is_ok() {
            counted.add();
        }
        let start = Instant::now();
        end(&case);
        assert!(start.elapsed() < STOP_MAX, "{}: {:?}", case.name, start.elapsed());
        // A limit that has passed is not spent on callbacks either.
        await_that(case.name, || answered.get() == counted.get());
        assert!(case.handle.session().state.is_final(), "{}", case.name);
        let start = Instant::now();
        assert!(case.handle.submit(OpCode::Exists, &[], |_| unreachable!()).is_err(), "{}", case.name);
        drop(case);
        assert!(start.elapsed() < STOP_MAX);
    }
}

pub fn a_client_can_be_closed_in_every_state(site: &Site) {
    // C-08, C-09, L-11
    end_each(site, |case| {
        // Who is answered in the end is given time for that, and who is not is not waited for.
        let limit_ms = if case.closing.is_ok() { 1800 } else { 500 };
        let closed = case.handle.close(Some(Duration::from_millis(limit_ms)));
        // One that has just begun may or may not have a server yet.
        assert!(closed == case.closing || case.name == "just begun", "{}: {closed:?}", case.name);
    });
}

pub fn a_client_can_be_detached_in_every_state(site: &Site) {
    end_each(site, |case| case.handle.detach());
}
