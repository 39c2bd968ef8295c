//! Every key that `zoarium check` calls honoured is acted upon: the field it fills is read outside the configuration.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use regex::Regex;
use zoarium::config::{Config, Fate};

fn read(folder: &str) -> String {
    fn walk(path: &Path, files: &mut Vec<PathBuf>) {
        if path.is_dir() {
            std::fs::read_dir(path).unwrap().for_each(|entry| walk(&entry.unwrap().path(), files));
        } else {
            files.push(path.to_owned());
        }
    }
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn what_is_called_honoured_is_read_by_who_acts_upon_it() {
    let tables = read("src/config/keys.rs") + &read("src/config/keys_zoarium.rs");
    // What `Config` itself makes of its fields goes to the same users.
    let users = read("src/peer") + &read("src/bin/zoarium") + &read("src/server.rs") + &read("src/config/mod.rs");
    let field = Regex::new(r"\bc\.([a-z_.]+) = ").unwrap();
    let rows: Vec<&str> = tables.split("\n    key(\"").collect();
    let mut walked = 0;
    for key in Config::keys().filter(|key| key.fate == Fate::Honoured) {
        let row = rows.iter().find(|row| row.starts_with(&format!("{}\"", key.name)));
        let Some(name) = row.and_then(|row| field.captures(row)).map(|found| found[1].to_owned()) else {
            assert_eq!(key.name, "enforce.auth.enabled", "applied together with the schemes");
            continue;
        };
        walked += 1;
        let last = name.rsplit('.').next().unwrap();
        let used = Regex::new(&format!(r"(config|self|storage|limits|loaded)\s*\.({last})\b")).unwrap();
        assert!(used.is_match(&users), "{} fills {name}, which nobody reads", key.name);
    }
    assert!(walked > 45, "{walked}");
}
