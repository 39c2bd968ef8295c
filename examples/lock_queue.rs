//! A lock queue of two clients on a server in this process; a watch; a multi with a part that fails; a session that is ended
//! on demand. `lock_queue_tokio.rs` is the same program with futures.
//!
//! `cargo run --example lock_queue`

use std::sync::mpsc;

use zoarium::recipes::Lock;
use zoarium::{Client, Config, Error, EventType, Server, WatchMode};

fn main() -> Result<(), Error> {
    for line in run("blocking")? {
        println!("{line}");
    }
    Ok(())
}

/// What happened, in order.
pub(crate) fn run(name: &str) -> Result<Vec<String>, Error> {
    let folder = std::env::temp_dir().join(format!("zoarium-lock-queue-{name}-{}", std::process::id()));
    let server = Server::start(Config { data_dir: folder.clone(), client_port: 0, ..Config::default() })?;
    let story = story(&server);
    server.stop()?;
    // The data were for this run only.
    let _ = std::fs::remove_dir_all(&folder);
    story
}

fn story(server: &Server) -> Result<Vec<String>, Error> {
    let mut story = Vec::new();
    // One client in this process, one over TCP: they behave alike.
    let near = server.client()?;
    let far = Client::connect(&server.addresses()[0].to_string())?;
    near.create("/jobs", b"0 done")?;
    let mut watch = far.watch("/jobs", WatchMode::Persistent)?;

    // Two in line for one lock.
    let lock = Lock::new(&near, "/locks/jobs").identifier("near");
    let guard = lock.acquire()?;
    story.push(format!("near holds the lock: {}", guard.is_held()));
    let first_fence = guard.fence();
    let (told, news) = mpsc::channel();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let lock = Lock::new(&far, "/locks/jobs").identifier("far");
            let guard = lock.acquire()?;
            told.send(()).ok();
            Ok::<_, Error>(guard.fence())
        });
        while lock.contenders()?.len() < 2 {
            std::thread::yield_now();
        }
        story.push(format!("in line: {}", lock.contenders()?.join(", ")));

        // Work under the lock: all of it, or nothing.
        let error =
            near.multi().set("/jobs", b"1 done").delete("/jobs/none").commit().expect_err("it has no such child");
        story.push(format!("nothing done, because of part {:?}: {error}", error.part()));
        near.multi().check("/jobs", 0).set("/jobs", b"1 done").commit()?;
        let event = watch.next().expect("the session lives");
        assert_eq!(event.kind, EventType::DataChanged);
        story.push(format!("far was told of {}: {}", event.path, String::from_utf8_lossy(&far.get("/jobs")?.0)));

        // The holder's session ends, as after a crash: the next one gets the lock, and a greater fence.
        assert!(news.try_recv().is_err(), "far still waits");
        server.expire(near.session().id)?;
        let fence = waiting.join().expect("it does not panic")?;
        story.push(format!("far holds the lock, with a greater fence: {}", fence > first_fence));
        Ok::<_, Error>(())
    })?;
    let error = guard.check().expect_err("its session has ended");
    story.push(format!("near has lost it: {error}"));
    far.close()?;
    Ok(story)
}
