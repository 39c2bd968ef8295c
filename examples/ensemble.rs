//! Three servers in one process, one of which leads: it is killed, comes back, and another one is cut off.
//!
//! `cargo run --example ensemble`

use std::sync::mpsc;
use std::time::Duration;

use zoarium::{Code, Ensemble, Error, Outcome, ServerRole};

fn main() -> Result<(), Error> {
    for line in run()? {
        println!("{line}");
    }
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(60);

/// What happened, in order.
pub(crate) fn run() -> Result<Vec<String>, Error> {
    let ensemble = Ensemble::start(3)?;
    let mut story = vec![format!("members that serve: {}", ensemble.connect_string().split(',').count())];

    // Any client, and any ZooKeeper client of any language, connects to all of them.
    let client = ensemble.client()?;
    client.create("/kept", b"by a majority")?;

    // Killed: it says goodbye to nobody. What was acknowledged is on the disks of a majority, and so of one that is left.
    let dead = ensemble.leader().expect("all serve");
    ensemble.kill(dead)?;
    let put = |data: &[u8]| loop {
        match client.set("/kept", data) {
            // What is set twice is set all the same.
            Err(error) if error.code() == Code::ConnectionLoss && error.outcome() != Outcome::Done => {}
            done => return done.map(|stat| stat.version),
        }
    };
    put(b"by two of three")?;
    ensemble.wait_until_serving(PATIENCE)?;
    let leader = ensemble.leader().expect("two of three are a majority");
    story.push(format!("the leader was killed, and another one leads: {}", leader != dead));

    // A client in this process, past the socket.
    let near = ensemble.member(leader).expect("it runs").client()?;
    story.push(format!("/kept holds {:?}", String::from_utf8_lossy(&near.get("/kept")?.0)));

    // It comes back with what it had, at the ports it had, and is told the rest.
    ensemble.restart(dead)?;
    ensemble.wait_until_serving(PATIENCE)?;
    let server = ensemble.member(dead).expect("it runs");
    story.push(format!("the killed member is back: {:?}", server.role().role));

    // Cut off, it finds out that it hears nobody; the others go on.
    let (told, roles) = mpsc::channel();
    server.on_role(move |state| told.send(state.role).unwrap_or(()));
    ensemble.cut(dead)?;
    near.set("/kept", b"without one")?;
    let looks = roles.iter().find(|role| *role == ServerRole::Looking);
    story.push(format!("cut off, it is {:?}", looks.expect("it lives")));
    ensemble.heal(dead)?;
    ensemble.wait_until_serving(PATIENCE)?;
    let moved = server.client()?;
    moved.sync("/kept")?;
    story.push(format!("healed, it has {:?}", String::from_utf8_lossy(&moved.get("/kept")?.0)));
    drop((near, moved, server));
    client.close()?;
    ensemble.stop()?;
    Ok(story)
}
