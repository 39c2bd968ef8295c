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
    let tables =
        ["keys.rs", "keys_zoarium.rs", "keys_accepted.rs"].map(|file| read(&format!("src/config/{file}"))).concat();
    // What `Config` itself makes of its fields goes to the same users.
    let users = read("src/peer")
        + &read("src/bin/zoarium")
        + &read("src/server/mod.rs")
        + &read("src/config/mod.rs")
        + &read("src/config/servers.rs")
        + &read("src/config/load.rs");
    let field = Regex::new(r"\bc\.([a-z_.]+) = ").unwrap();
    let rows: Vec<&str> = tables.split("\n    key(\"").collect();
    let mut walked = 0;
    let refusals = read("src/config/startable.rs");
    for key in Config::keys().filter(|key| matches!(key.fate, Fate::Honoured | Fate::Ensemble)) {
        let row = rows.iter().find(|row| row.starts_with(&format!("{}\"", key.name)));
        let Some(name) = row.and_then(|row| field.captures(row)).map(|found| found[1].to_owned()) else {
            let elsewhere =
                ["enforce.auth.enabled", "server.N", "group.N", "weight.N", "electionAlg"].contains(&key.name);
            assert!(elsewhere || refusals.contains(&format!("\"{}\"", key.name)), "nobody looks at {}", key.name);
            continue;
        };
        if key.name == "dynamicConfigFile" {
            // It is read where the settings are gathered.
            continue;
        }
        walked += 1;
        let last = name.rsplit('.').next().unwrap();
        let used = Regex::new(&format!(r"(config|self|storage|limits|loaded|ensemble)\s*\.({last})\b")).unwrap();
        assert!(used.is_match(&users), "{} fills {name}, which nobody reads", key.name);
    }
    assert!(walked > 45, "{walked}");
}
