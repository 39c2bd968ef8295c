//! The copy that is changed, and its compilation. The project itself is never written to.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::find::{self, Place};
use crate::plant::{self, Planted};

/// One change that a run tries.
#[derive(Debug, Clone)]
pub(crate) struct Mutant {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) function: String,
    pub(crate) what: String,
    /// The first, second … of the same words in one function.
    pub(crate) turn: usize,
}

impl Mutant {
    /// The name that stays when lines move.
    pub(crate) fn key(&self) -> String {
        let turn = if self.turn == 0 { String::new() } else { format!(" #{}", self.turn + 1) };
        format!("{} {}: {}{turn}", self.file, self.function, self.what)
    }

    /// `src/store/log.rs` → `store`, `src/watches.rs` → `watches`.
    pub(crate) fn room(&self) -> &str {
        let inside = self.file.strip_prefix("src/").unwrap_or(&self.file);
        inside.split(['/', '.']).next().unwrap_or(inside)
    }
}

struct Source {
    file: String,
    text: String,
    places: Vec<Place>,
    /// The number of each place's first change.
    first: Vec<u32>,
}

/// The project's copy with every change in it.
pub(crate) struct Copy {
    folder: PathBuf,
    sources: Vec<Source>,
    /// By number − 1.
    pub(crate) mutants: Vec<Mutant>,
    /// Numbers that do not compile.
    pub(crate) unviable: HashSet<u32>,
}

fn tracked(project: &Path) -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(project)
        .output()
        .expect("git is there");
    String::from_utf8_lossy(&listed.stdout).split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn write_if_new(path: &Path, bytes: &[u8]) {
    if fs::read(path).is_ok_and(|before| before == bytes) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the copy's folder can be made");
    fs::write(path, bytes).expect("the copy can be written");
}

impl Copy {
    /// Finds what can be changed in the files of `project` that `wanted` accepts, and copies the others to `folder`, unless
    /// the copy is to stay as it is.
    pub(crate) fn new(project: &Path, folder: &Path, stays: bool, wanted: &dyn Fn(&str) -> bool) -> Copy {
        let write_if_new = |path: &Path, bytes: &[u8]| {
            if !stays {
                write_if_new(path, bytes);
            }
        };
        let mut copy =
            Copy { folder: folder.to_owned(), sources: Vec::new(), mutants: Vec::new(), unviable: HashSet::new() };
        let mut names = tracked(project);
        names.sort();
        for name in &names {
            let Ok(bytes) = fs::read(project.join(name)) else { continue };
            if !wanted(name) {
                if name == "Cargo.toml" {
                    // What is written in breaks lints, and nobody reads it.
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    write_if_new(&folder.join(name), without_lints(&text).as_bytes());
                } else if name != "src/lib.rs" {
                    write_if_new(&folder.join(name), &bytes);
                }
                continue;
            }
            let text = String::from_utf8(bytes).expect("source is UTF-8");
            let places = find::places(&text);
            let mut first = Vec::new();
            let mut turns: BTreeMap<(String, String), usize> = BTreeMap::new();
            for place in &places {
                first.push(copy.mutants.len() as u32 + 1);
                for change in &place.changes {
                    let turn = turns.entry((place.function.clone(), change.what.clone())).or_default();
                    copy.mutants.push(Mutant {
                        file: name.clone(),
                        line: place.line,
                        function: place.function.clone(),
                        what: change.what.clone(),
                        turn: *turn,
                    });
                    *turn += 1;
                }
            }
            copy.sources.push(Source { file: name.clone(), text, places, first });
        }
        let library = fs::read_to_string(project.join("src/lib.rs")).expect("a crate has a root");
        // A change that must fail whenever it runs is a fault like any other, not one that does not compile.
        let lenient = "#![allow(warnings, arithmetic_overflow, unconditional_panic)]\n".to_owned();
        let library = lenient + &library + &plant::answers(copy.mutants.len());
        write_if_new(&folder.join("src/lib.rs"), library.as_bytes());
        // What the project no longer has must not be compiled either.
        for name in if stays { Vec::new() } else { fs_files(&folder.join("src")) } {
            let inside = name.strip_prefix(folder).expect("it was listed there").to_string_lossy().into_owned();
            if names.binary_search(&inside).is_err() {
                fs::remove_file(&name).expect("the copy can be written");
            }
        }
        copy
    }

    fn write(&self) -> BTreeMap<String, Planted> {
        self.sources
            .iter()
            .map(|source| {
                let number = |place: usize, which: usize| {
                    let id = source.first[place] + which as u32;
                    (!self.unviable.contains(&id)).then_some(id)
                };
                let planted = plant::plant(&source.text, &source.places, &number);
                write_if_new(&self.folder.join(&source.file), planted.text.as_bytes());
                (source.file.clone(), planted)
            })
            .collect()
    }

    fn cargo(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let out = Command::new("cargo")
            .args(arguments)
            .args(["--quiet", "--locked", "--lib", "--message-format=json"])
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // Cargo gives the copy's program the project's own name, so they must not share a folder.
            .env("CARGO_TARGET_DIR", self.folder.with_file_name("target"))
            .env("CARGO_TERM_COLOR", "never")
            .current_dir(&self.folder)
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo is there");
        String::from_utf8_lossy(&out.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Takes out what does not compile, until the rest does. Returns the test program.
    pub(crate) fn build(&mut self) -> PathBuf {
        for round in 1.. {
            let planted = self.write();
            let messages = self.cargo(&["check", "--profile", "test"]);
            let errors: Vec<_> = messages.iter().filter(|one| one["message"]["level"] == "error").collect();
            if errors.is_empty() {
                break;
            }
            let before = self.unviable.len();
            for error in &errors {
                self.unviable.extend(blamed(&error["message"], &planted));
            }
            if self.unviable.len() == before {
                // A variable that is borrowed for as long as an assignment or a `drop` may not happen.
                for error in &errors {
                    let what = |id: &u32| self.mutants[*id as usize - 1].what.as_str();
                    let between = between(&error["message"], &planted).into_iter();
                    let deletes: Vec<u32> = between.filter(|id| what(id).ends_with("deleted")).collect();
                    let ends = |id: &u32| what(id).contains(" = ") || what(id).starts_with("`drop(");
                    let blamed: Vec<u32> = deletes.iter().copied().filter(ends).collect();
                    self.unviable.extend(if blamed.is_empty() { deletes } else { blamed });
                }
            }
            eprintln!("round {round}: {} errors, {} changes do not compile", errors.len(), self.unviable.len());
            if self.unviable.len() == before {
                for error in &errors {
                    eprintln!("{}", error["message"]["rendered"].as_str().unwrap_or_default());
                }
                panic!("these errors come from no change");
            }
        }
        let messages = self.cargo(&["test", "--no-run"]);
        let program = messages.iter().filter_map(|one| one["executable"].as_str()).next_back();
        PathBuf::from(program.expect("cargo names the test program"))
    }
}

/// The changes that an error speaks of: the innermost at each of its main places, else at the places it mentions.
fn blamed(message: &serde_json::Value, planted: &BTreeMap<String, Planted>) -> HashSet<u32> {
    let none = Vec::new();
    let mut spans: Vec<&serde_json::Value> = message["spans"].as_array().unwrap_or(&none).iter().collect();
    for child in message["children"].as_array().unwrap_or(&none) {
        spans.extend(child["spans"].as_array().unwrap_or(&none));
    }
    for main in [true, false] {
        let mut found = HashSet::new();
        for span in spans.iter().filter(|span| span["is_primary"].as_bool() == Some(main)) {
            let (Some(file), Some(at)) = (span["file_name"].as_str(), span["byte_start"].as_u64()) else { continue };
            let Some(planted) = planted.get(file) else { continue };
            let innermost = planted
                .spans
                .iter()
                .filter(|(range, _)| range.contains(&(at as usize)))
                .min_by_key(|(range, _)| range.end - range.start);
            found.extend(innermost.map(|(_, id)| *id));
        }
        if !found.is_empty() {
            return found;
        }
    }
    HashSet::new()
}

/// The changes that stand between the first and the last place an error speaks of.
fn between(message: &serde_json::Value, planted: &BTreeMap<String, Planted>) -> HashSet<u32> {
    let none = Vec::new();
    let spans = message["spans"].as_array().unwrap_or(&none);
    let Some((file, planted)) = spans.iter().find_map(|span| planted.get_key_value(span["file_name"].as_str()?)) else {
        return HashSet::new();
    };
    let here = spans.iter().filter(|span| span["file_name"].as_str() == Some(file));
    let places: Vec<usize> = here.filter_map(|span| span["byte_start"].as_u64()).map(|at| at as usize).collect();
    let (Some(first), Some(last)) = (places.iter().min(), places.iter().max()) else { return HashSet::new() };
    let inside = planted.spans.iter().filter(|(range, _)| range.start >= *first && range.end <= *last);
    inside.map(|(_, id)| *id).collect()
}

fn without_lints(manifest: &str) -> String {
    let mut keep = true;
    let lines = manifest.lines().filter(|line| {
        if line.starts_with('[') {
            keep = !line.starts_with("[lints");
        }
        keep
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn fs_files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            all.extend(fs_files(&entry.path()));
        } else {
            all.push(entry.path());
        }
    }
    all
}
