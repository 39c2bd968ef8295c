//! Runs targets for a while with any compiler: random mutations without coverage, kept inputs on failure.
//!
//! `cargo run --release --bin drive -- TARGET SECONDS [SEED]`; TARGET may be `all`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

#[path = "../../tests/targets/mod.rs"]
mod targets;

use targets::{Rng, TARGETS, Target};

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(target.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().flat_map(std::fs::read).collect()
}

/// True when nothing was found.
fn drive(target: &Target, time: Duration, seed: u64) -> bool {
    let mut corpus = corpus(target);
    let seeds = corpus.len();
    let begun = Instant::now();
    let (mut count, mut slowest) = (0_u64, Duration::ZERO);
    while begun.elapsed() < time {
        let mut rng = Rng(seed.wrapping_add(count));
        let (input, other) = (&corpus[rng.below(corpus.len())], &corpus[rng.below(corpus.len())]);
        let mutated = targets::mutate::mutate(input, other, target.shape, target.size_max, &mut rng);
        let at = Instant::now();
        let failed = catch_unwind(AssertUnwindSafe(|| (target.run)(&mutated))).is_err();
        slowest = slowest.max(at.elapsed());
        if failed {
            let kept = format!("{}-{:016x}", target.name, Rng::of(&mutated).0);
            std::fs::write(&kept, &mutated).expect("this folder can be written");
            println!("{}: FAILED after {count} inputs, kept as {kept}", target.name);
            return false;
        }
        // Without coverage nobody knows which inputs lead on, so now and then one becomes a base for others.
        if rng.chance(50) {
            if corpus.len() < seeds + 1000 {
                corpus.push(mutated);
            } else {
                corpus[seeds + rng.below(1000)] = mutated;
            }
        }
        count += 1;
    }
    println!("{}: {count} inputs in {} s, the slowest took {slowest:?}", target.name, time.as_secs());
    true
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(name), Some(seconds)) = (arguments.first(), arguments.get(1).and_then(|text| text.parse().ok())) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("drive TARGET SECONDS [SEED]\ntargets: all {}", names.join(" "));
        return ExitCode::from(2);
    };
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let seed = arguments.get(2).and_then(|text| text.parse().ok()).unwrap_or_else(clock);
    println!("seed {seed}");
    let chosen: Vec<&Target> = TARGETS.iter().filter(|target| name == "all" || target.name == name).collect();
    if chosen.is_empty() {
        eprintln!("no target is called {name}");
        return ExitCode::from(2);
    }
    let sound = chosen.into_iter().filter(|target| !drive(target, Duration::from_secs(seconds), seed)).count() == 0;
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
