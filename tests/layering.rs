//! The rooms of `src/` and what each may use. A line that breaks the table fails here, with its file and number.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms it may use besides itself and what is [`FREE`].
const ROOMS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("path", &[]),
    ("plant", &[]),
    ("meter", &[]),
    ("process", &[]),
    ("jute", &[]),
    ("words", &[]),
    ("records", &["jute"]),
    ("tree", &["jute", "records"]),
    ("watches", &[]),
    ("digests", &[]),
    ("session", &[]),
    ("store", &["process"]),
    ("engine", &["digests", "jute", "records", "tree", "watches", "session", "words"]),
    ("zab", &["records"]),
    ("config", &["digests", "store", "words"]),
    ("handle", &["engine", "jute", "peer", "process", "records"]),
    ("client", &["handle", "jute", "records"]),
    ("peer", &["Error", "config", "engine", "process", "store", "words", "zab"]),
    ("server", &["Error", "config", "peer", "store", "words"]),
    (
        "ffi",
        &[
            "Config", "Error", "Server", "config", "handle", "ids", "jute", "peer", "process", "records", "server",
            "store", "words",
        ],
    ),
    ("error", &["store"]),
    // Stands in for `peer` in tests; nothing but tests may use it.
    ("sim", &["jute", "records", "tree", "engine", "zab", "store"]),
];

/// Free to all: numbers, paths, and two that are nothing outside of tests: the switch for planted bugs, the count of steps.
const FREE: &[&str] = &["ids", "path", "plant", "meter"];

/// Rooms that never meet the world: events and time in, actions out.
const PURE: &[&str] =
    &["ids", "path", "meter", "jute", "words", "digests", "records", "tree", "watches", "session", "engine", "zab"];

/// What meeting the world looks like.
const WORLD: &[&str] = &[
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "std::io",
    "std::time",
    "Instant::now",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "getrandom",
    "mio::",
    "libc::",
    "println!",
    "eprintln!",
];

/// The one file outside of the C ABI that may be unsafe.
const UNSAFE: &[&str] = &["src/store/map.rs"];

/// A room is not a world.
const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of `src/`, with its room. The binary is a user of the public API and no room.
fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let src = root().join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    files.sort();
    let room_of = |path: &Path| {
        let inside = path.strip_prefix(&src).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    };
    files.into_iter().map(|path| (room_of(&path), path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// Lines that are code: no comments, and nothing of the tests at a file's end or in a `tests` file.
fn code(path: &Path, text: &str) -> Vec<(usize, String)> {
    let is_test = path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| ["tests.rs", "golden.rs", "model.rs"].iter().any(|test| name == *test));
    if is_test {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut rest = text.lines().enumerate().peekable();
    while let Some((number, line)) = rest.next() {
        let next_is_inline_module = |next: Option<&(usize, &str)>| {
            next.is_some_and(|(_, next)| next.trim_start().starts_with("mod ") && next.ends_with('{'))
        };
        if line.trim() == "#[cfg(test)]" && next_is_inline_module(rest.peek()) {
            break;
        }
        let line = line.split("//").next().unwrap_or("");
        if !line.trim().is_empty() {
            lines.push((number + 1, line.to_owned()));
        }
    }
    lines
}

/// The rooms a line names: what follows `crate::`, also within braces.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut rooms = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => rooms.extend(list.split('}').next().unwrap_or("").split(',').map(|item| word(item.trim()))),
            None => rooms.push(word(rest)),
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

#[test]
fn every_room_uses_only_what_the_table_allows() {
    let mut broken = Vec::new();
    for (room, path, text) in sources() {
        if matches!(room.as_str(), "bin" | "lib") {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            broken.push(format!("{}: the room {room} is not in the table", path.display()));
            continue;
        };
        for (number, line) in code(&path, &text) {
            for used in named(&line) {
                let free = used == room || FREE.contains(&used.as_str());
                if !free && !allowed.contains(&used.as_str()) {
                    broken.push(format!("{}:{number}: {room} uses {used}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn pure_rooms_do_not_meet_the_world() {
    let mut broken = Vec::new();
    for (room, path, text) in sources() {
        if PURE.contains(&room.as_str()) {
            for (number, line) in code(&path, &text) {
                for word in WORLD.iter().filter(|word| line.contains(**word)) {
                    broken.push(format!("{}:{number}: {word}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn unsafe_code_lives_in_its_room() {
    let mut broken = Vec::new();
    for (_, path, text) in sources() {
        let inside = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if UNSAFE.contains(&inside.as_str()) || inside.starts_with("src/ffi/") {
            continue;
        }
        for (number, line) in code(&path, &text) {
            if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                broken.push(format!("{inside}:{number}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_file_becomes_the_world() {
    let too_long: Vec<String> = sources()
        .into_iter()
        .filter(|(_, _, text)| text.lines().count() > LINES_MAX)
        .map(|(_, path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(too_long.is_empty(), "{}", too_long.join("\n"));
}

#[test]
fn the_reader_of_use_lines_reads_them() {
    assert_eq!(named("use crate::ids::Zxid;"), ["ids"]);
    assert_eq!(named("use crate::{Error, engine};"), ["Error", "engine"]);
    assert_eq!(named("let x: crate::a::B = crate::c::D;"), ["a", "c"]);
    assert_eq!(named("pub(crate) fn f()"), [] as [&str; 0]);
}
