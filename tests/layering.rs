//! The rooms of `src/` and what each may use. A line that breaks the table fails here, with its file and number.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms it may use besides itself and what is [`FREE`].
const ROOMS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("path", &[]),
    ("hash", &[]),
    ("failpoint", &[]),
    ("meter", &[]),
    ("process", &[]),
    ("resolve", &[]),
    ("code", &[]),
    ("jute", &[]),
    ("four_letter", &[]),
    ("records", &["jute"]),
    ("tree", &["jute", "records"]),
    ("watches", &[]),
    ("digests", &[]),
    ("session", &[]),
    ("store", &["process"]),
    ("engine", &["digests", "jute", "records", "tree", "watches", "session", "four_letter"]),
    ("zab", &["records", "session"]),
    ("member", &["engine", "records", "session", "store", "four_letter", "zab"]),
    ("config", &["Error", "digests", "records", "session", "store", "four_letter"]),
    ("client", &["Error", "engine", "error", "jute", "peer", "process", "records", "resolve"]),
    ("recipes", &["Error", "client", "error", "records"]),
    ("raw", &["client", "jute", "records"]),
    ("peer", &["Error", "config", "engine", "member", "process", "records", "resolve", "store", "four_letter", "zab"]),
    ("datadir", &["engine", "member", "records", "store", "tree"]),
    ("server", &["Error", "client", "config", "error", "peer", "process", "store", "four_letter"]),
    (
        "ffi",
        &[
            "Config",
            "Error",
            "Server",
            "config",
            "client",
            "ids",
            "jute",
            "peer",
            "process",
            "records",
            "server",
            "store",
            "four_letter",
        ],
    ),
    ("error", &["store"]),
    // Stands in for `peer` in tests; nothing but tests may use it.
    ("sim", &["jute", "records", "session", "tree", "engine", "member", "store", "zab"]),
];

/// Free to all: numbers, paths, hashes, codes, and two that are nothing outside of tests: the switch for planted bugs, the count of steps.
const FREE: &[&str] = &["ids", "path", "hash", "code", "failpoint", "meter"];

/// Rooms that never meet the world: events and time in, actions out.
const PURE: &[&str] = &[
    "ids",
    "path",
    "hash",
    "code",
    "meter",
    "jute",
    "four_letter",
    "digests",
    "records",
    "tree",
    "watches",
    "session",
    "engine",
    "zab",
    "member",
];

/// Parts of other rooms that are as pure, each with what it may use of its own room.
const PURE_PARTS: &[(&str, &[&str])] = &[
    ("client/handle/chroot", &[]),
    ("client/handle/core", &["client/handle/chroot", "client/handle/transport"]),
    ("client/handle/transport", &[]),
];

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

/// Tables of the standard library whose order no seed of ours decides.
const SELF_SEEDING: &[&str] = &["HashMap", "HashSet", "RandomState", "DefaultHasher"];

/// The one file outside of the C ABI that may be unsafe.
const UNSAFE: &[&str] = &["src/store/disk.rs"];

/// Names that two types may have, and why.
const TWICE: &[(&str, &str)] = &[(
    "Acl",
    "an entry of an access control list: `records::Acl` borrows from the wire, the public one owns its texts",
)];

/// So many types whose names end in the same word are a family, and the glossary says of what.
const FAMILY: usize = 3;

/// The files of `store`, each knowing only those before it.
const STORE_LAYERS: &[&[&str]] = &[
    // The tables of the file's bytes, and what they are told with.
    &["le", "layout", "os_error", "cause", "error", "options", "member", "replay"],
    // How the file is reached.
    &["access", "ahead", "disk", "folder"],
    // Its root.
    &["superblock", "root"],
    // The log as it is found: its bytes, how they are walked.
    &["frame", "window", "chain", "cover"],
    // Its space, and the slow work beside the loop.
    &["helper", "extents"],
    // The log as it is written, and how it is read to others.
    &["writing", "log", "read"],
    // Snapshots: their bytes, how fast they must be, how they are written.
    &["chunks", "pace", "snapshot", "budget"],
    // The way back, and a look from outside.
    &["taking", "parallel", "recover", "inspect"],
    // The open store, its parts joined.
    &["parts", "supply", "publish", "turn", "history", "open"],
];

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
        || path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.ends_with("tests.rs") || ["golden.rs", "model.rs"].contains(&name));
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

/// Every path that code names, `use` lines of any shape taken apart, with the number of the line on which it begins.
fn paths(code: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = code.iter();
    while let Some((number, line)) = lines.next() {
        let mut statement = line.trim().to_owned();
        let after_visibility = match statement.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(')').map_or("", |(_, rest)| rest).trim_start(),
            Some(rest) => rest.trim_start(),
            None => &statement,
        };
        if after_visibility.starts_with("use ") {
            while !statement.contains(';') {
                let Some((_, line)) = lines.next() else { break };
                statement.push(' ');
                statement.push_str(line.trim());
            }
            let (_, tree) = statement.split_once("use ").unwrap();
            let mut leaves = Vec::new();
            leaves_of("", tree.trim_end().trim_end_matches(';'), &mut leaves);
            found.extend(leaves.into_iter().map(|leaf| (*number, leaf)));
        } else {
            let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
            let words = line.split(|c: char| !is_path(c));
            let rooted =
                words.filter(|word| ["crate::", "super::", "self::"].iter().any(|root| word.starts_with(root)));
            found.extend(rooted.map(|word| (*number, word.to_owned())));
        }
    }
    found
}

/// The paths of a `use` tree: braces multiplied out, what follows `as` left away.
fn leaves_of(prefix: &str, tree: &str, leaves: &mut Vec<String>) {
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[begin..]);
    for part in parts.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('{') {
            Some((head, rest)) => {
                let inside = rest.trim_end().strip_suffix('}').unwrap_or(rest);
                leaves_of(&format!("{prefix}{}", head.trim()), inside, leaves);
            }
            None => leaves.push(format!("{prefix}{}", part.split(" as ").next().unwrap().trim())),
        }
    }
}

/// The room that a path begins in, if it begins at the crate.
fn room_named(path: &str) -> Option<&str> {
    path.strip_prefix("crate::").map(|rest| rest.split("::").next().unwrap_or("")).filter(|room| !room.is_empty())
}

/// Where a file stands: `store/log.rs` is `["store", "log"]`, `store/mod.rs` is `["store"]`.
fn module_of(path: &Path) -> Vec<String> {
    let inside = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut parts: Vec<String> = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The module that a path names, seen from `from`: the longest beginning that is a file.
fn resolve(from: &[String], path: &str, modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let mut parts = path.split("::").peekable();
    let mut at = match parts.next()? {
        "crate" => Vec::new(),
        "self" => from.to_vec(),
        "super" => from[..from.len().saturating_sub(1)].to_vec(),
        first => [from, &[first.to_owned()]].concat(),
    };
    while parts.next_if_eq(&"super").is_some() {
        at.pop();
    }
    if !at.is_empty() && !modules.contains(&at) {
        return None;
    }
    for part in parts {
        let below = [at.as_slice(), &[part.to_owned()]].concat();
        if !modules.contains(&below) {
            break;
        }
        at = below;
    }
    (!at.is_empty()).then_some(at)
}

/// Files of one room that use each other in a circle. A file and the one that it is a part of (`mod.rs`) are none.
fn circles(uses: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Vec<String> {
    fn reaches(
        uses: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
        from: &Vec<String>,
        wanted: &Vec<String>,
        seen: &mut BTreeSet<Vec<String>>,
    ) -> bool {
        uses.get(from).is_some_and(|used| {
            used.iter().any(|next| next == wanted || (seen.insert(next.clone()) && reaches(uses, next, wanted, seen)))
        })
    }
    let name = |module: &Vec<String>| module.join("/");
    let in_circle = uses.keys().filter(|module| reaches(uses, module, module, &mut BTreeSet::new()));
    in_circle
        .map(|module| {
            format!(
                "{} uses itself by way of {}",
                name(module),
                uses[module].iter().map(name).collect::<Vec<_>>().join(", ")
            )
        })
        .collect()
}

/// Which file uses which of its own room.
fn uses_within_rooms() -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let sources = sources();
    let modules: BTreeSet<Vec<String>> = sources.iter().map(|(_, path, _)| module_of(path)).collect();
    let mut uses: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (_, path, text) in &sources {
        let from = module_of(path);
        for (_, named) in paths(&code(path, text)) {
            if let Some(to) = resolve(&from, &named, &modules)
                && to[0] == from[0]
                && !from.starts_with(&to)
                && !to.starts_with(&from)
            {
                uses.entry(from.clone()).or_default().insert(to);
            }
        }
    }
    uses
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
        for (number, named) in paths(&code(&path, &text)) {
            let Some(used) = room_named(&named) else { continue };
            let free = used == room || FREE.contains(&used);
            if !free && !allowed.contains(&used) {
                broken.push(format!("{}:{number}: {room} uses {used}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn pure_rooms_do_not_meet_the_world() {
    let mut broken = Vec::new();
    for (room, path, text) in sources() {
        let module = module_of(&path).join("/");
        if PURE.contains(&room.as_str()) || PURE_PARTS.iter().any(|(part, _)| is_within(&module, part)) {
            for (number, line) in code(&path, &text) {
                for word in WORLD.iter().filter(|word| line.contains(**word)) {
                    broken.push(format!("{}:{number}: {word}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn is_within(module: &str, part: &str) -> bool {
    module.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[test]
fn pure_parts_use_of_their_rooms_only_what_is_pure() {
    let uses = uses_within_rooms();
    let mut broken = Vec::new();
    for (part, allowed) in PURE_PARTS {
        let files = uses.iter().filter(|(module, _)| is_within(&module.join("/"), part));
        for (module, used) in files.flat_map(|(module, used)| used.iter().map(move |used| (module, used.join("/")))) {
            if !is_within(&used, part) && !allowed.iter().any(|allowed| is_within(&used, allowed)) {
                broken.push(format!("{} uses {used}", module.join("/")));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(is_within("a/b/c", "a/b") && is_within("a/b", "a/b") && !is_within("a/bc", "a/b"));
    let files: Vec<String> = sources().iter().map(|(_, path, _)| module_of(path).join("/")).collect();
    for (part, _) in PURE_PARTS {
        assert!(files.iter().any(|file| is_within(file, part)), "{part} is gone");
    }
}

#[test]
fn pure_rooms_and_the_store_have_no_table_that_seeds_itself() {
    let mut broken = Vec::new();
    for (room, path, text) in sources() {
        if PURE.contains(&room.as_str()) || room == "store" {
            let code = code(&path, &text);
            let seeds = |text: &str| SELF_SEEDING.iter().any(|name| text.ends_with(name));
            let used = paths(&code).into_iter().filter(|(_, named)| named.starts_with("std::") && seeds(named));
            broken.extend(used.map(|(number, named)| format!("{}:{number}: {named}", path.display())));
            for (number, line) in code {
                if line.split("std::").skip(1).any(|rest| {
                    seeds(rest.split(|c: char| !c.is_alphanumeric() && c != ':').next().unwrap().trim_end_matches(':'))
                }) {
                    broken.push(format!("{}:{number}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "one seed must give one trace, see `hash`: {}", broken.join("\n"));
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

/// The types that a file declares at its outermost level, with their lines.
fn types(code: &[(usize, String)]) -> Vec<(usize, String)> {
    let declared = |line: &str| -> Option<String> {
        let mut rest = line;
        if let Some(after) = rest.strip_prefix("pub") {
            rest = match after.strip_prefix('(') {
                Some(inside) => inside.split_once(") ")?.1,
                None => after.strip_prefix(' ')?,
            };
        }
        let rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
        let (keyword, name) = rest.split_once(' ')?;
        let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        matches!(keyword, "struct" | "enum" | "trait" | "type" | "union").then(|| name.to_owned())
    };
    code.iter().filter_map(|(number, line)| Some((*number, declared(line)?))).collect()
}

#[test]
fn no_two_types_have_one_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, path, text) in sources() {
        let inside = path.strip_prefix(root()).unwrap().display().to_string();
        for (number, name) in types(&code(&path, &text)) {
            places.entry(name).or_default().push(format!("{inside}:{number}"));
        }
    }
    places.retain(|_, places| places.len() > 1);
    let allowed: BTreeSet<String> = TWICE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let new: Vec<_> = places.iter().filter(|(name, _)| !allowed.contains(*name)).collect();
    assert!(new.is_empty(), "one name for two types: {new:#?}");
    let gone: Vec<_> = allowed.iter().filter(|name| !places.contains_key(*name)).collect();
    assert!(gone.is_empty(), "only one type has this name now, take it from the list: {gone:?}");
}

#[test]
fn the_glossary_explains_what_families_of_types_are_called() {
    let glossary = fs::read_to_string(root().join("docs/GLOSSARY.md")).unwrap();
    let (_, naming) = glossary.split_once("## How types are named").expect("the section on names");
    let explained: BTreeSet<&str> = naming
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
        .flat_map(|(words, _)| words.split(", "))
        .collect();
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (room, path, text) in sources() {
        if !matches!(room.as_str(), "bin" | "sim") {
            for (_, name) in types(&code(&path, &text)) {
                if let Some(last) = name.rfind(|c: char| c.is_ascii_uppercase()) {
                    families.entry(name[last..].to_owned()).or_default().insert(name);
                }
            }
        }
    }
    let missing: Vec<_> =
        families.iter().filter(|(last, types)| types.len() >= FAMILY && !explained.contains(last.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/GLOSSARY.md: {missing:#?}");
}

#[test]
fn the_reader_of_types_finds_them() {
    let read = |text: &str| -> Vec<String> {
        let lines: Vec<(usize, String)> = text.lines().map(str::to_owned).enumerate().collect();
        types(&lines).into_iter().map(|(_, name)| name).collect()
    };
    assert_eq!(read("struct A;\npub enum B<'a> {\npub(in crate::c) type C = D;"), ["A", "B", "C"]);
    assert_eq!(read("pub(super) unsafe trait E: F {\nunion G {"), ["E", "G"]);
    assert_eq!(read("    type Item = u8;\nuse a::struct_b;\nimpl H for I {\npub fn j() {"), [] as [&str; 0]);
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
fn the_files_of_a_room_stand_in_no_circle() {
    let circles = circles(&uses_within_rooms());
    assert!(circles.is_empty(), "{circles:#?}");
}

/// What is said in `order` to come later and is used by what comes before, or is not in it. Inside a layer the order counts as
/// well.
fn upward(order: &[&str], uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let place = |file: &str| order.iter().position(|name| *name == file);
    let pairs = uses.iter().flat_map(|(from, used)| used.iter().map(move |to| (from, to)));
    let is_wrong = |(from, to): &(&String, &String)| match (place(from), place(to)) {
        (Some(from), Some(to)) => from < to,
        _ => true,
    };
    pairs.filter(is_wrong).map(|(from, to)| format!("{from} uses {to}")).collect()
}

#[test]
fn the_files_of_the_store_stand_in_layers() {
    let order: Vec<&str> = STORE_LAYERS.concat();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, used) in uses_within_rooms() {
        if let [room, file] = &from[..]
            && room == "store"
        {
            uses.entry(file.clone()).or_default().extend(used.iter().filter_map(|to| to.get(1).cloned()));
        }
    }
    assert!(uses.len() > 20, "the files of the store are not seen: {uses:?}");
    // What the open store can do stands in several files: none asks for what a later one adds.
    let mut bodies: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for (_, path, text) in sources() {
        let module = module_of(&path);
        let [room, file] = &module[..] else { continue };
        if room == "store" && text.contains("\nimpl Store {") {
            let (adds, asks) = bodies.entry(file.clone()).or_default();
            for (_, line) in code(&path, &text) {
                adds.extend(names_behind(&line, "fn "));
                asks.extend(names_behind(&line, "self."));
            }
        }
    }
    assert!(bodies.len() > 3, "{bodies:?}");
    for (file, (adds, asks)) in &bodies {
        for (other, (added, _)) in bodies.iter().filter(|(other, _)| *other != file) {
            if asks.difference(adds).any(|name| added.contains(name)) {
                uses.entry(file.clone()).or_default().insert(other.clone());
            }
        }
    }
    let broken = upward(&order, &uses);
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The names between `before` and an opening bracket.
fn names_behind(line: &str, before: &str) -> Vec<String> {
    let name = |rest: &str| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        rest[end..].starts_with('(').then(|| rest[..end].to_owned())
    };
    line.split(before).skip(1).filter_map(name).collect()
}

#[test]
fn a_planted_upward_use_is_found() {
    let uses = |pairs: &[(&str, &str)]| -> BTreeMap<String, BTreeSet<String>> {
        pairs.iter().map(|(from, to)| ((*from).to_owned(), BTreeSet::from([(*to).to_owned()]))).collect()
    };
    let order = ["layout", "log", "store"];
    assert_eq!(upward(&order, &uses(&[("store", "log"), ("log", "layout")])), [] as [&str; 0]);
    assert_eq!(upward(&order, &uses(&[("log", "store")])), ["log uses store"]);
    assert_eq!(upward(&order, &uses(&[("store", "new")])), ["store uses new"], "a file without a place");
    assert_eq!(names_behind("let x = self.log.append(self.room(1)) + self.at;", "self."), ["room"]);
}

#[test]
fn the_reader_of_use_lines_reads_them() {
    let read = |text: &str| -> Vec<String> {
        let lines: Vec<(usize, String)> = text.lines().map(str::to_owned).enumerate().collect();
        paths(&lines).into_iter().map(|(_, path)| path).collect()
    };
    assert_eq!(read("use crate::ids::Zxid;"), ["crate::ids::Zxid"]);
    assert_eq!(
        read("pub(crate) use crate::{Error, engine::{self as e, Engine}};"),
        ["crate::Error", "crate::engine::self", "crate::engine::Engine"]
    );
    assert_eq!(
        read("use crate::{\n    peer,\n    store::{\n        Store,\n    },\n};\nuse super::log;"),
        ["crate::peer", "crate::store::Store", "super::log"]
    );
    assert_eq!(read("let x: crate::a::B = crate::c::D;"), ["crate::a::B", "crate::c::D"]);
    assert_eq!(read("pub(crate) fn f()"), [] as [&str; 0]);
    assert_eq!(room_named("crate::ids::Zxid"), Some("ids"));
    assert_eq!(room_named("super::ids"), None);
}

#[test]
fn a_planted_circle_is_found() {
    let module = |text: &str| -> Vec<String> { text.split('/').map(str::to_owned).collect() };
    let modules: BTreeSet<Vec<String>> = ["a", "a/b", "a/c", "a/d"].map(module).into();
    assert_eq!(resolve(&module("a/b"), "super::c::Thing", &modules), Some(module("a/c")));
    assert_eq!(resolve(&module("a/b"), "crate::a::d", &modules), Some(module("a/d")));
    assert_eq!(resolve(&module("a"), "c::Thing", &modules), Some(module("a/c")));
    assert_eq!(resolve(&module("a/b"), "std::fs", &modules), None);
    let line = |uses: &[(&str, &str)]| {
        let mut map: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
        for (from, to) in uses {
            map.entry(module(from)).or_default().insert(module(to));
        }
        circles(&map)
    };
    assert_eq!(line(&[("a/b", "a/c"), ("a/c", "a/d")]), [] as [&str; 0]);
    assert_eq!(line(&[("a/b", "a/c"), ("a/c", "a/d"), ("a/d", "a/b")]).len(), 3);
}
