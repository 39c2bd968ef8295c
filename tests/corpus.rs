//! The fuzz targets as ordinary tests: over their corpora and over mutations of them, so that neither can rot.
//!
//! `UPDATE=1 cargo test --test corpus` writes the generated part of the corpora anew. `ZOA_SEED=7` chooses other mutations
//! (a failure prints its seed), `ZOA_FUZZ_SECONDS=60` more of them. `fuzz/` runs the same targets for as long as wanted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod targets;

use targets::{Rng, TARGETS, Target, seeds};

/// Mutations per seed.
const MUTATIONS: u64 = 4000;
/// Time for the mutations of one target, unless the environment says otherwise.
const TIME: Duration = Duration::from_millis(1500);
/// No input may take longer, on a busy machine and without optimization.
const TIME_PER_INPUT: Duration = Duration::from_secs(5);

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target)
}

/// The corpus of a target, in order of names. A name says what it is about: `regression-` ones are fixed bugs.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder(target.name)).unwrap_or_else(|error| panic!("{}: {error}", target.name));
    let mut corpus: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.expect("the folder can be read"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file")))
        .collect();
    corpus.sort();
    assert!(!corpus.is_empty(), "the corpus of {} is empty", target.name);
    corpus
}

/// Runs one input; a failure is kept in a file and told with all it takes to repeat it.
fn run(target: &Target, input: &[u8], what: &str) {
    let begun = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = begun.elapsed();
    if result.is_err() || took > TIME_PER_INPUT {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{:016x}", target.name, Rng::of(input).0));
        let _ = std::fs::write(&kept, input);
        panic!(
            "target {}: {what} {} (kept as {})",
            target.name,
            if result.is_err() { "failed" } else { "hung" },
            kept.display()
        );
    }
}

fn check(name: &str) {
    let target = targets::find(name).expect("a target of that name");
    let corpus = corpus(&target);
    for (name, input) in &corpus {
        run(&target, input, name);
    }
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("ZOA_SEED").unwrap_or(1);
    let time = number("ZOA_FUZZ_SECONDS").map_or(TIME, Duration::from_secs);
    let begun = Instant::now();
    let mut count = 0_u64;
    // Round by round, so that the time is shared by all seeds; a mutation depends on its number only.
    'rounds: for round in 0..MUTATIONS * if time > TIME { 1000 } else { 1 } {
        for (index, (name, input)) in corpus.iter().enumerate() {
            if begun.elapsed() > time {
                break 'rounds;
            }
            let mut rng = Rng(seed ^ (round << 16) ^ index as u64);
            let other = &corpus[rng.below(corpus.len())].1;
            let mutated = targets::mutate::mutate(input, other, target.shape, target.size_max, &mut rng);
            run(&target, &mutated, &format!("mutation {round} of {name}, ZOA_SEED={seed},"));
            count += 1;
        }
    }
    println!("{name}: {} seeds, {count} mutations in {:?}", corpus.len(), begun.elapsed());
}

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_tested() {
            let tested = [$(stringify!($name)),*];
            let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, tested);
        }
    };
}

tests!(
    frames, handshake, server, requests, replies, multi, words, paths, config, txn, replay, snapshot, watches,
    recovery,
);

#[test]
fn the_corpora_are_what_is_generated() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut stale = Vec::new();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets");
    let [stopped, killed] = &targets::SPARSE_IMAGES;
    if update {
        let images = seeds::images(Path::new(env!("CARGO_TARGET_TMPDIR")));
        std::fs::write(here.join("stopped.sparse"), &images[0]).expect("the folder can be written");
        std::fs::write(here.join("killed.sparse"), &images[1]).expect("the folder can be written");
    } else {
        // Their bytes differ each time, so they stay as they are; without them the target does nothing.
        assert!(!stopped.is_empty() && !killed.is_empty());
    }
    for seed in seeds::all() {
        let path = folder(seed.target).join(&seed.name);
        if update {
            std::fs::create_dir_all(folder(seed.target)).expect("the folder can be written");
            std::fs::write(&path, &seed.bytes).expect("the folder can be written");
        } else if std::fs::read(&path).ok().as_ref() != Some(&seed.bytes) {
            stale.push(format!("{}/{}", seed.target, seed.name));
        }
    }
    assert!(stale.is_empty(), "UPDATE=1 is due: {stale:?}");
    let size: u64 = TARGETS.iter().flat_map(corpus).map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(size < 1 << 20, "the corpora have {size} bytes");
}

#[test]
fn mutations_can_be_repeated() {
    let target = targets::find("frames").expect("a target of that name");
    let corpus = corpus(&target);
    let once = || {
        let (first, last) = (&corpus[0].1, &corpus[corpus.len() - 1].1);
        let mut rng = Rng(7);
        (0..100).map(|_| targets::mutate::mutate(first, last, target.shape, 4096, &mut rng)).collect::<Vec<_>>()
    };
    assert_eq!(once(), once());
}
