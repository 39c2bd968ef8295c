//! What whoever links the library gets with it: what `docs/DEPENDENCIES.md` says, and never more than it allows.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

/// The most run-time crates that a program gets by linking this library.
const CRATES_MAX: usize = 12;

/// The crates that a build with these arguments links, this one left out.
fn linked(arguments: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,no-proc-macro", "--prefix", "none"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let names = String::from_utf8(tree.stdout).unwrap();
    names
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != env!("CARGO_PKG_NAME"))
        .map(str::to_owned)
        .collect()
}

/// The crates of the table in the document.
fn documented() -> BTreeSet<String> {
    let text = include_str!("../docs/DEPENDENCIES.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split(',').map(|name| name.trim().trim_matches('`').to_owned()))
        .collect()
}

#[test]
fn whoever_links_the_library_gets_the_documented_crates_and_no_others() {
    let linked = linked(&["--no-default-features"]);
    assert_eq!(linked, documented());
    assert!(linked.len() <= CRATES_MAX, "{linked:?}");
}

#[test]
fn the_hashes_that_few_servers_use_come_with_a_feature_of_their_own() {
    let without = linked(&["--no-default-features"]);
    let with = linked(&["--no-default-features", "--features", "digests"]);
    let more: BTreeSet<&str> = with.difference(&without).map(String::as_str).collect();
    assert!(["md-5", "sha2", "sha3"].iter().all(|name| more.contains(name)), "{more:?}");
    assert!(linked(&[]).is_superset(&with), "the command line has it");
}
