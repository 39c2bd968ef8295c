//! A lock queue of two clients on a server in this process; a watch; a multi with a part that fails; a session that is ended
//! on demand. `lock_queue.rs` is the same program without futures.
//!
//! `cargo run --example lock_queue_tokio`

use zoarium::recipes::Lock;
use zoarium::{AsyncClient, Config, Error, EventType, Server, WatchMode};

fn main() -> Result<(), Error> {
    for line in run("tokio")? {
        println!("{line}");
    }
    Ok(())
}

/// What happened, in order.
pub(crate) fn run(name: &str) -> Result<Vec<String>, Error> {
    let folder = std::env::temp_dir().join(format!("zoarium-lock-queue-{name}-{}", std::process::id()));
    let server = Server::start(Config { data_dir: folder.clone(), client_port: 0, ..Config::default() })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let story = runtime.block_on(story(&server));
    server.stop()?;
    // The data were for this run only.
    let _ = std::fs::remove_dir_all(&folder);
    story
}

async fn story(server: &Server) -> Result<Vec<String>, Error> {
    let mut story = Vec::new();
    // One client in this process, one over TCP: they behave alike.
    let near = server.async_client().await?;
    let far = AsyncClient::connect(&server.addresses()[0].to_string()).await?;
    near.create("/jobs", b"0 done").await?;
    let mut watch = far.watch("/jobs", WatchMode::Persistent).await?;

    // Two in line for one lock.
    let lock = Lock::new(&near, "/locks/jobs").identifier("near");
    let guard = lock.acquire().await?;
    story.push(format!("near holds the lock: {}", guard.is_held()));
    let first_fence = guard.fence();
    let theirs = Lock::new(&far, "/locks/jobs").identifier("far");
    let waiting = tokio::spawn(async move { theirs.acquire().await.map(|guard| guard.fence()) });
    while lock.contenders().await?.len() < 2 {
        tokio::task::yield_now().await;
    }
    story.push(format!("in line: {}", lock.contenders().await?.join(", ")));

    // Work under the lock: all of it, or nothing.
    let failing = near.multi().set("/jobs", b"1 done").delete("/jobs/none").commit();
    let error = failing.await.expect_err("it has no such child");
    story.push(format!("nothing done, because of part {:?}: {error}", error.part()));
    near.multi().check("/jobs", 0).set("/jobs", b"1 done").commit().await?;
    let event = watch.next().await.expect("the session lives");
    assert_eq!(event.kind, EventType::DataChanged);
    story.push(format!("far was told of {}: {}", event.path, String::from_utf8_lossy(&far.get("/jobs").await?.0)));

    // The holder's session ends, as after a crash: the next one gets the lock, and a greater fence.
    assert!(!waiting.is_finished(), "far still waits");
    server.expire(near.session().id)?;
    guard.lost().await;
    let fence = waiting.await.expect("it does not panic")?;
    story.push(format!("far holds the lock, with a greater fence: {}", fence > first_fence));
    let error = guard.check().expect_err("its session has ended");
    story.push(format!("near has lost it: {error}"));
    far.close().await?;
    Ok(story)
}
