//! The rules that code and tests cite by number are in `docs/RULES.md`, and no user ever sees a number.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What may cite a rule.
const CITING: &[&str] = &[
    "src",
    "tests",
    "bindings",
    "c-examples",
    "include",
    "docs",
    "benches",
    "fuzz",
    ".ci",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "README.md",
    "build.rs",
    "Makefile",
];
const ENDINGS: &[&str] = &["rs", "md", "py", "c", "h", "hpp", "cpp", "toml", "sh", "txt"];
/// The groups of rules; other words with a dash and a number are none (SHA-256, UTF-8).
const GROUPS: &[&str] = &["G", "S", "L", "F", "D", "R", "C", "Z", "SC"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let name = path.file_name().unwrap_or_default();
        if name == "target" || name == "node_modules" || name == "__pycache__" || name == ".venv" {
            return;
        }
        let mut entries: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| files_below(entry, found));
    } else {
        let ending = path.extension().and_then(|ending| ending.to_str());
        // What has no ending is a script.
        if ending.is_none_or(|ending| ENDINGS.contains(&ending)) {
            found.push(path.to_path_buf());
        }
    }
}

/// Numbers of rules in a text: a group, a dash, two digits, and nothing else that belongs to the word.
fn cited(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for (at, _) in text.match_indices('-') {
        let group_begin = bytes[..at].iter().rposition(|byte| !byte.is_ascii_alphanumeric()).map_or(0, |last| last + 1);
        let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let (group, number) = (&bytes[group_begin..at], &bytes[at + 1..at + 1 + digits]);
        let after_dash = group_begin > 0 && matches!(bytes[group_begin - 1], b'-' | b'_' | b'/' | b'\\');
        if digits == 2
            && number.iter().all(u8::is_ascii_digit)
            && !after_dash
            && GROUPS.iter().any(|known| known.as_bytes() == group)
        {
            found.push(text[group_begin..at + 1 + digits].to_owned());
        }
    }
    found
}

/// The numbers that `docs/RULES.md` gives a row to.
fn known(rules: &str) -> BTreeSet<String> {
    let cells = rules.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.filter(|cell| cited(cell).first().is_some_and(|rule| rule == cell)).map(str::to_owned).collect()
}

/// Every line of a file that cites what no row says.
fn unresolved(name: &str, text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(number, line)| cited(line).into_iter().map(move |rule| (number, rule)))
        .filter(|(_, rule)| !known.contains(rule))
        .map(|(number, rule)| format!("{name}:{}: {rule} is not in docs/RULES.md", number + 1))
        .collect()
}

/// String literals of Rust code with a rule's number in them, comments left out: a message would show it.
fn shown(name: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        // Every second piece between quotes is text, as far as a line goes; escaped quotes are none.
        let unescaped = code.replace("\\\"", "");
        let texts = unescaped.split('"').skip(1).step_by(2);
        let rules: Vec<String> = texts.flat_map(cited).collect();
        wrong.extend(rules.into_iter().map(|rule| format!("{name}:{}: {rule} in a text that is shown", number + 1)));
    }
    wrong
}

fn all_files() -> Vec<(String, String)> {
    let root = root();
    let mut paths = Vec::new();
    CITING
        .iter()
        .map(|name| root.join(name))
        .filter(|path| path.exists())
        .for_each(|path| files_below(&path, &mut paths));
    paths
        .into_iter()
        .filter_map(|path| {
            let text = String::from_utf8(fs::read(&path).unwrap()).ok()?;
            Some((path.strip_prefix(&root).unwrap().display().to_string(), text))
        })
        .collect()
}

#[test]
fn every_rule_that_is_cited_is_stated() {
    let rules = fs::read_to_string(root().join("docs/RULES.md")).unwrap();
    let known = known(&rules);
    assert!(known.len() > 200, "{} rules were read", known.len());
    let files = all_files();
    let wrong: Vec<String> = files
        .iter()
        .filter(|(name, _)| name != "tests/rules.rs")
        .flat_map(|(name, text)| unresolved(name, text, &known))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let count: usize = files.iter().map(|(_, text)| cited(text).len()).sum();
    assert!(count > 600, "only {count} citations were found");
}

#[test]
fn no_user_sees_the_number_of_a_rule() {
    let mut wrong = Vec::new();
    for (name, text) in all_files() {
        let is_test = name.contains("/tests") || name.ends_with("model.rs") || name.starts_with("src/sim/");
        if name.starts_with("src/") && name.ends_with(".rs") && !is_test {
            // Unit tests at the end of a file may name the rule in an assertion.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            wrong.extend(shown(&name, code));
        }
        if name.starts_with("include/") || name.starts_with("bindings/python/zoarium/") || name == "README.md" {
            wrong.extend(cited(&text).into_iter().map(|rule| format!("{name}: {rule}")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn planted_numbers_are_found() {
    let known = known("| rule | x |\n| G-01 | y |\n| SC-70 | z |\n| SHA-25 | no |\n");
    assert_eq!(known.iter().collect::<Vec<_>>(), ["G-01", "SC-70"]);
    assert_eq!(
        unresolved("a.rs", "// G-01, SC-70 and SHA-256\n// (G-99)", &known),
        ["a.rs:2: G-99 is not in docs/RULES.md"]
    );
    assert_eq!(cited("G-1, XG-01, G-001, G-01a, UTF-16, R-01–R-03, -S-10").len(), 2);
    assert_eq!(
        shown("a.rs", "    // \"R-01\"\n    say(\"limit (R-02)\"); // R-03"),
        ["a.rs:2: R-02 in a text that is shown"]
    );
}
