//! What programs are linked against: names and layouts are recorded, so that a break is a failing test.
//!
//! `UPDATE=1 cargo test --test abi` records them anew. Adding is a minor release, anything else a new `ZOA_ABI`.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn compare(recorded: &str, found: &str) {
    let path = root().join("tests/abi").join(recorded);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "tests/abi/{recorded} says otherwise");
}

#[test]
fn exactly_the_recorded_names_are_exported() {
    let test = std::env::current_exe().unwrap();
    let library = test.parent().unwrap().join("libzoarium.so");
    let output = Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(&library).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    let foreign: Vec<&&str> = names.iter().filter(|name| !name.starts_with("zoa_")).collect();
    assert!(foreign.is_empty(), "exported without our prefix: {foreign:?}");
    compare("symbols.txt", &(names.join("\n") + "\n"));
}

/// Structs of the header with their fields.
fn structs(header: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut open = false;
    for line in header.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("typedef struct ").and_then(|rest| rest.strip_suffix(" {")) {
            found.push((name.to_owned(), Vec::new()));
            open = true;
        } else if line.starts_with('}') {
            open = false;
        } else if open && !line.starts_with('/') && line.ends_with(';') {
            let declared = line.trim_end_matches(';').split('[').next().unwrap();
            let field = declared.rsplit([' ', '*']).next().unwrap();
            found.last_mut().unwrap().1.push(field.to_owned());
        }
    }
    found
}

#[test]
fn every_struct_has_its_recorded_layout() {
    let header = std::fs::read_to_string(root().join("include/zoarium.h")).unwrap();
    let mut source = String::from("#include <stdio.h>\n#include <zoarium.h>\nint main(void) {\n");
    for (name, fields) in structs(&header) {
        assert!(!fields.is_empty(), "{name}");
        source += &format!("  printf(\"{name} %zu\\n\", sizeof({name}));\n");
        for field in fields {
            source += &format!(
                "  printf(\"{name}.{field} %zu %zu\\n\", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));\n"
            );
        }
    }
    source += "  return 0;\n}\n";
    let folder: PathBuf = std::env::temp_dir().join(format!("zoarium-abi-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("layout.c"), source).unwrap();
    let built = Command::new("gcc")
        .args(["-std=c11", "-I"])
        .arg(root().join("include"))
        .arg(folder.join("layout.c"))
        .arg("-o")
        .arg(folder.join("layout"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let output = Command::new(folder.join("layout")).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    compare("layout.txt", &String::from_utf8(output.stdout).unwrap());
}
