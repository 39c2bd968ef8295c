//! Plants small faults in a copy of the crate, one at a time, and tells which of them no test notices.
//!
//! All faults are compiled in at once, each behind a question that `$ZOA_MUTANT` answers, so that trying one costs a run
//! of the tests that reach it and no compilation. `docs/TESTING.md` tells how it is used.

mod copy;
mod find;
mod plant;
mod report;
mod run;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use copy::Copy;
use run::{Fate, Tests};

const ROOMS: &[&str] = &["engine", "tree", "store", "session", "zab", "watches"];
const USAGE: &str = "mutate PROJECT FOLDER [--rooms a,b] [--again] [--list] [--write]";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let project = PathBuf::from(arguments.next().expect(USAGE));
    let folder = PathBuf::from(arguments.next().expect(USAGE));
    let mut rooms: Vec<String> = ROOMS.iter().map(|room| (*room).to_owned()).collect();
    let (mut again, mut list, mut write) = (false, false, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rooms" => rooms = arguments.next().expect(USAGE).split(',').map(str::to_owned).collect(),
            "--again" => again = true,
            "--list" => list = true,
            "--write" => write = true,
            _ => panic!("{USAGE}"),
        }
    }

    let mut for_tests = Vec::new();
    test_modules(&project.join("src"), &mut for_tests, &project);
    // The same files are always written to, so that cargo compiles little; `rooms` says what is tried.
    let wanted = |name: &str| {
        let inside = name.strip_prefix("src/").filter(|name| name.ends_with(".rs"));
        let room = inside.and_then(|name| name.split(['/', '.']).next());
        room.is_some_and(|room| ROOMS.contains(&room)) && !for_tests.iter().any(|module| {
            name.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    };
    let mut copy = Copy::new(&project, &folder.join("copy"), &wanted);
    if list {
        copy.mutants.iter().for_each(|mutant| println!("{}:{} {}", mutant.file, mutant.line, mutant.key()));
        return;
    }
    let known = folder.join("unviable.txt");
    let unviable: HashSet<String> = fs::read_to_string(&known).unwrap_or_default().lines().map(str::to_owned).collect();
    for (index, mutant) in copy.mutants.iter().enumerate() {
        if unviable.contains(&mutant.key()) {
            copy.unviable.insert(index as u32 + 1);
        }
    }
    let program = copy.build();
    let keys: Vec<String> = copy.unviable.iter().map(|id| copy.mutants[*id as usize - 1].key()).collect();
    fs::write(&known, keys.join("\n")).expect("the folder can be written");

    let tests = Tests::look(&program, &folder.join("copy"), &folder.join("scratch"));
    let log = folder.join("fates.txt");
    // What earlier runs killed is not tried again with `--again`: tests are only ever added between such runs.
    let before: BTreeMap<String, Fate> = if again { report::read(&log) } else { BTreeMap::new() };
    let mut out = fs::File::create(&log).expect("the folder can be written");
    let mut fates = Vec::new();
    for (index, mutant) in copy.mutants.iter().enumerate() {
        let id = index as u32 + 1;
        if copy.unviable.contains(&id) {
            fates.push(None);
            continue;
        }
        let known = before.get(&mutant.key()).copied();
        let ours = rooms.iter().any(|room| room == mutant.room());
        let fate = match known {
            Some(fate) if !ours || matches!(fate, Fate::Killed | Fate::Timeout) => fate,
            None if !ours => {
                fates.push(None);
                continue;
            }
            _ => tests.fate(id),
        };
        writeln!(out, "{}\t{}", report::word(fate), mutant.key()).expect("the folder can be written");
        if ours && matches!(fate, Fate::Survived | Fate::Unreached) {
            eprintln!("{}:{} {:?}: {}", mutant.file, mutant.line, fate, mutant.what);
        }
        fates.push(Some(fate));
    }
    let reasons = report::reasons(&project.join("tests/mutate/equivalent.txt"));
    let text = report::text(&copy, &fates, &reasons);
    print!("{}", text.0);
    if write {
        fs::write(project.join("docs/mutants.txt"), text.0 + &text.1).expect("the project can be written");
    }
    if text.2 < 85.0 {
        eprintln!("fewer than 85 % of a room's faults are noticed");
        std::process::exit(1);
    }
}

/// Files and folders that their parent declares for tests alone.
fn test_modules(folder: &Path, all: &mut Vec<String>, project: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            test_modules(&path, all, project);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let stem = path.file_stem().unwrap_or_default();
        let children = if stem == "mod" || stem == "lib" { folder.to_owned() } else { folder.join(stem) };
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line == "#[cfg(test)]"
                && let Some(name) = lines.next().and_then(|next| next.split("mod ").nth(1)?.strip_suffix(';'))
            {
                let child = children.join(name);
                all.push(child.strip_prefix(project).unwrap_or(&child).to_string_lossy().into_owned());
            }
        }
    }
}
