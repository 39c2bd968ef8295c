//! The programs of `examples/`: both tell the same story.

#[path = "../../examples/ensemble.rs"]
#[allow(dead_code, reason = "its main is for those who run it")]
mod ensemble;
#[path = "../../examples/lock_queue.rs"]
#[allow(dead_code, reason = "a program of its own")]
mod lock_queue;
#[path = "../../examples/lock_queue_tokio.rs"]
#[allow(dead_code, reason = "a program of its own")]
mod lock_queue_tokio;

#[test]
fn the_lock_queue_tells_the_same_story_with_and_without_futures() {
    let story = [
        "near holds the lock: true",
        "in line: near, far",
        "nothing done, because of part Some(1): /jobs/none (part 1 of the multi, counted from 0): the znode does not exist",
        "far was told of /jobs: 1 done",
        "far holds the lock, with a greater fence: true",
        "near has lost it: /locks/jobs: it is held no more",
    ];
    assert_eq!(lock_queue::run("test").unwrap(), story);
    assert_eq!(lock_queue_tokio::run("test-tokio").unwrap(), story);
}

#[test]
fn the_ensemble_of_the_example_goes_on_without_its_leader_and_takes_it_back() {
    let story = [
        "members that serve: 3",
        "the leader was killed, and another one leads: true",
        "/kept holds \"by two of three\"",
        "the killed member is back: Following",
        "cut off, it is Looking",
        "healed, it has \"without one\"",
    ];
    assert_eq!(ensemble::run().unwrap(), story);
}
