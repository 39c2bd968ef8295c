//! Every item of the public face has an example, or says where there is one.

use std::fs;
use std::path::{Path, PathBuf};

/// What the crate shows, beside what is hidden.
const FACE: &[&str] = &["src/client", "src/recipes", "src/error", "src/server", "src/config"];

fn files(at: &Path, found: &mut Vec<PathBuf>) {
    // Hidden: what the clients stand on.
    if at.ends_with("src/client/handle") {
        return;
    }
    if at.is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else if at.extension().is_some_and(|ending| ending == "rs") && !at.to_str().unwrap().contains("tests") {
        found.push(at.to_owned());
    }
}

/// The public functions and types of a file whose documentation has no example and names none.
fn without_example(text: &str) -> Vec<(usize, String)> {
    const KINDS: &[&str] = &["fn ", "async fn ", "const fn ", "struct ", "enum ", "trait "];
    let (mut docs, mut found, mut is_hidden) = (String::new(), Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            docs.push_str(doc);
            continue;
        }
        if line.starts_with("#[") || line.starts_with("reason =") || line == ")]" {
            is_hidden |= line == "#[doc(hidden)]";
            continue;
        }
        let is_item = line.strip_prefix("pub ").is_some_and(|item| KINDS.iter().any(|kind| item.starts_with(kind)));
        if is_item && !is_hidden && !docs.contains("```") && !docs.contains("example") {
            found.push((number + 1, line.to_owned()));
        }
        docs.clear();
        is_hidden = false;
    }
    found
}

#[test]
fn every_public_item_has_an_example_or_names_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for part in FACE {
        files(&root.join(part), &mut all);
    }
    assert!(all.len() > 20, "the files are found");
    let mut missing = Vec::new();
    for path in all {
        for (number, item) in without_example(&fs::read_to_string(&path).unwrap()) {
            missing.push(format!("{}:{number}: {item}", path.display()));
        }
    }
    assert!(missing.is_empty(), "{} without an example:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn an_item_without_an_example_is_found() {
    let text = "/// Does it.\n#[must_use]\npub fn f() {}\n\n/// [`f`] has an example.\npub struct S;\n";
    assert_eq!(without_example(text), [(3, "pub fn f() {}".to_owned())]);
}
