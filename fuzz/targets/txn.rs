#![no_main]

#[path = "../../tests/targets/mod.rs"]
mod targets;
#[path = "../src/with_libfuzzer.rs"]
mod with_libfuzzer;

with_libfuzzer::target!("txn");
