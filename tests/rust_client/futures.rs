//! The same verbs as futures: under an executor of ten lines, under tokio, under smol.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zoarium::{Acl, AsyncClient, Code, CreateOptions, Error, Outcome, State};

use crate::kit::{Site, block_on};

/// One program for all executors.
async fn program(site: &Site) -> Result<(), Error> {
    let near = site.server().async_client().await?;
    let far = AsyncClient::connect(&site.address()).await?;
    for (name, client) in [("near", near), ("far", far)] {
        let at = |path: &str| format!("/{name}{path}");
        assert_eq!(client.create(&at(""), b"1").await?, at(""));
        let (data, stat) = client.get(&at("")).await?;
        assert_eq!((&data[..], stat.version), (&b"1"[..], 0));
        assert_eq!(client.set(&at(""), b"2").await?.version, 1);
        assert_eq!(client.set_if(&at(""), b"3", 7).await.unwrap_err().code(), Code::BadVersion);
        client.ensure_path(&at("/a/b")).await?;
        assert_eq!(client.children(&at("")).await?, ["a"]);
        assert_eq!(client.children_and_stat(&at("")).await?.1.num_children, 1);
        assert_eq!(client.exists(&at("/x")).await?, None);
        assert_eq!(client.descendants(&at("")).await?, 2);
        let mine = client.create_with(&at("/m-"), b"", &CreateOptions::new().ephemeral().sequential()).await?;
        client.sync(&at("")).await?;
        assert_eq!(client.ephemerals(&at("")).await?, [mine.path.as_str()]);
        assert_eq!(client.acl(&at("")).await?.0, [Acl::open()]);
        client.set_acl(&at(""), &[Acl::open()]).await?;
        client.set_acl_if(&at(""), &[Acl::open()], 1).await?;
        client.add_auth("digest", "me:secret").await?;
        assert!(client.who_am_i().await?.contains(&("digest".to_owned(), "me".to_owned())));
        client.delete_if(&mine.path, 0).await?;
        let error = client.delete(&at("")).await.unwrap_err();
        let known = (error.code(), error.path(), error.outcome());
        assert_eq!(known, (Code::NotEmpty, Some(at("").as_str()), Outcome::NotDone));

        // All are sent before the first is waited for, and carried out in that order.
        let sets: Vec<_> = (0..100).map(|round| client.set(&at("/a/b"), format!("{round}"))).collect();
        for (round, set) in sets.into_iter().enumerate() {
            assert_eq!(set.await?.version as usize, round + 1);
        }
        client.close().await?;
        assert_eq!(client.state(), State::Ended);
        assert_eq!(client.get("/").await.unwrap_err().code(), Code::Closed);
    }
    Ok(())
}

#[test]
fn futures_work_under_an_executor_of_ten_lines() {
    block_on(program(&Site::start("ten-lines"))).unwrap();
}

#[test]
fn futures_work_under_tokio() {
    let site = Site::start("tokio-one");
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(program(&site)).unwrap();
    let site = Arc::new(Site::start("tokio-many"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    // As a task, which may wander between threads.
    let task = runtime.spawn(async move { program(&site).await });
    runtime.block_on(task).unwrap().unwrap();
}

#[test]
fn futures_work_under_smol() {
    let site = Site::start("smol");
    smol::block_on(async {
        let executor = smol::Executor::new();
        executor.run(program(&site)).await
    })
    .unwrap();
}

#[test]
fn a_dropped_future_takes_nothing_back_and_wakes_nobody() {
    let site = Site::start("dropped");
    let client = site.near().to_async();
    drop(client.create("/sent", b""));
    assert!(block_on(client.exists("/sent")).unwrap().is_some());
}

#[test]
fn a_waker_is_called_on_the_thread_of_callbacks() {
    struct Named(std::sync::Mutex<Option<String>>, AtomicUsize, std::thread::Thread);
    impl std::task::Wake for Named {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() = std::thread::current().name().map(str::to_owned);
            self.1.fetch_add(1, Ordering::SeqCst);
            self.2.unpark();
        }
    }
    let site = Site::start("waker");
    let client = site.near().to_async();
    let named = Arc::new(Named(Default::default(), AtomicUsize::new(0), std::thread::current()));
    let waker = std::task::Waker::from(Arc::clone(&named));
    let mut context = std::task::Context::from_waker(&waker);
    // Nothing is answered during a pause, so the first poll finds nothing.
    site.server().pause(std::time::Duration::MAX);
    let mut create = std::pin::pin!(client.create("/a", b""));
    assert!(std::future::Future::poll(create.as_mut(), &mut context).is_pending());
    site.server().resume();
    while named.1.load(Ordering::SeqCst) == 0 {
        std::thread::park();
    }
    assert_eq!(named.0.lock().unwrap().as_deref(), Some("zoarium-callback"));
    assert!(std::future::Future::poll(create.as_mut(), &mut context).is_ready());
    assert_eq!(named.1.load(Ordering::SeqCst), 1);
}

#[test]
fn futures_end_when_the_session_does() {
    let site = Site::start("ends");
    let client = site.near().to_async();
    let id = client.session().id;
    site.server().expire(id).unwrap();
    assert_eq!(block_on(client.create("/late", b"")).unwrap_err().code(), Code::SessionExpired);
    let mut site = site;
    let client = block_on(AsyncClient::connect(&site.address())).unwrap();
    site.stop();
    // It waits for a server that never comes, until the client is closed.
    let waiting = client.get("/");
    let _ = block_on(client.close());
    let error = block_on(waiting).unwrap_err();
    assert!(matches!(error.code(), Code::Closed | Code::ConnectionLoss), "{error}");
}
