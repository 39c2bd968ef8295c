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
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Instant;

use copy::Copy;
use run::{Fate, Tests};

const ROOMS: &[&str] = &["engine", "tree", "store", "session", "zab", "watches", "member"];
const USAGE: &str = "mutate PROJECT FOLDER [--rooms a,b] [--sample N] [--quick | --brief] [--minutes N] [--again] [--as-built] [--list] [--write]";

/// So much of what changes something is to be noticed in each room, in percent.
const LEAST: f64 = 90.0;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let project = PathBuf::from(arguments.next().expect(USAGE));
    let folder = PathBuf::from(arguments.next().expect(USAGE));
    let mut rooms: Vec<String> = ROOMS.iter().map(|room| (*room).to_owned()).collect();
    let (mut again, mut as_built, mut list, mut write) = (false, false, false, false);
    let (mut sample, mut minutes, mut stages) = (None, None, run::STAGES.len());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rooms" => rooms = arguments.next().expect(USAGE).split(',').map(str::to_owned).collect(),
            "--sample" => sample = Some(arguments.next().and_then(|text| text.parse().ok()).expect(USAGE)),
            "--quick" => stages = 1,
            "--brief" => stages = 2,
            "--minutes" => minutes = Some(arguments.next().and_then(|text| text.parse::<u64>().ok()).expect(USAGE)),
            "--again" => again = true,
            "--as-built" => as_built = true,
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
        room.is_some_and(|room| ROOMS.contains(&room))
            && !for_tests.iter().any(|module| {
                name.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
    };
    let mut copy = Copy::new(&project, &folder.join("copy"), list || as_built, &wanted);
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
    let built = folder.join("program.txt");
    let program = if as_built {
        PathBuf::from(fs::read_to_string(&built).expect("an earlier run compiled it"))
    } else {
        copy.build()
    };
    let keys: Vec<String> = copy.unviable.iter().map(|id| copy.mutants[*id as usize - 1].key()).collect();
    fs::write(&known, keys.join("\n")).expect("the folder can be written");
    fs::write(&built, program.to_string_lossy().as_bytes()).expect("the folder can be written");

    let tests = Tests::look(&program, &folder.join("copy"), &folder.join("scratch"), stages);
    let log = folder.join("fates.txt");
    // What earlier runs killed is not tried again with `--again`: tests are only ever added between such runs.
    let before: BTreeMap<String, Fate> = if again { report::read(&log) } else { BTreeMap::new() };
    let mut fates: Vec<Option<Fate>> = copy.mutants.iter().map(|mutant| before.get(&mutant.key()).copied()).collect();
    let tried = chosen(&copy, &rooms, sample);
    let begin = Instant::now();
    let is_over = || minutes.is_some_and(|minutes| begin.elapsed().as_secs() >= 60 * minutes);
    for (id, fate) in (1..).zip(&mut fates) {
        if copy.unviable.contains(&id) || (sample.is_some() && !tried.contains(&id)) {
            *fate = None;
        }
    }
    for stage in 0..stages {
        for (count, id) in tried.iter().enumerate() {
            if is_over() {
                eprintln!("\nno time is left at {count} of {} in stage {}", tried.len(), stage + 1);
                break;
            }
            let fate = &mut fates[*id as usize - 1];
            if matches!(fate, Some(Fate::Killed | Fate::Timeout)) || (stage > 0 && *fate == Some(Fate::Unreached)) {
                continue;
            }
            *fate = Some(tests.fate(*id, copy.mutants[*id as usize - 1].room(), stage));
            if count % 50 == 0 {
                report::write(&log, &copy, &fates);
                eprint!("\rstage {} of {}: {count} of {}  ", stage + 1, run::STAGES.len(), tried.len());
            }
        }
        report::write(&log, &copy, &fates);
    }
    eprintln!();
    let reasons = report::reasons(&project.join("tests/mutate/equivalent.txt"));
    let text = report::text(&copy, &fates, &reasons);
    print!("{}", text.0);
    if write {
        fs::write(project.join("docs/mutants.txt"), text.0 + &text.1).expect("the project can be written");
    }
    if text.2 < LEAST {
        eprintln!("fewer than {LEAST} % of a room's faults that change something are noticed");
        std::process::exit(1);
    }
}

/// Which changes are tried: all of `rooms`, or so many of each, chosen by a hash of their names and `$ZOA_SEED`. So the
/// same are chosen again as long as their code stays.
fn chosen(copy: &Copy, rooms: &[String], sample: Option<usize>) -> Vec<u32> {
    let seed: u64 = std::env::var("ZOA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut all = Vec::new();
    for room in rooms {
        let ids = (1..).zip(&copy.mutants).filter(|(id, one)| one.room() == room && !copy.unviable.contains(id));
        let mut ids: Vec<(u64, u32)> = ids
            .map(|(id, mutant)| {
                let mut hash = std::hash::DefaultHasher::new();
                (seed, mutant.key()).hash(&mut hash);
                (hash.finish(), id)
            })
            .collect();
        ids.sort_unstable();
        all.extend(ids.iter().take(sample.unwrap_or(usize::MAX)).map(|(_, id)| *id));
    }
    all
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
