//! The C examples and the C tests: built with sanitizers, against the shared and the static library, run and compared.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo put the libraries of this build: beside this test itself.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_owned()
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("zoarium-c-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Link {
    Shared,
    Static,
}

fn build(compiler: &str, source: &Path, link: Link, folder: &Path) -> PathBuf {
    let program = folder.join("program");
    let mut command = Command::new(compiler);
    command
        .args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I"])
        .arg(root().join("include"))
        .arg(source)
        .arg("-o")
        .arg(&program);
    match link {
        Link::Shared => {
            // The name the library gives itself, for the loader.
            let library = libraries().join("libzoarium.so");
            let alias = folder.join(concat!("libzoarium.so.0.", env!("CARGO_PKG_VERSION_MINOR")));
            std::os::unix::fs::symlink(&library, &alias).unwrap();
            std::os::unix::fs::symlink(&library, folder.join("libzoarium.so")).unwrap();
            command.arg("-L").arg(folder).arg("-lzoarium").arg(format!("-Wl,-rpath,{}", folder.display()));
        }
        Link::Static => {
            command.arg(libraries().join("libzoarium.a"));
            command.args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"]);
        }
    }
    let output = command.arg("-lpthread").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn check(source: &str, link: Link, args: &[&str], expected: &str) {
    let name = Path::new(source).file_stem().unwrap().to_str().unwrap();
    for compiler in ["gcc", "clang"] {
        if !Command::new(compiler).arg("--version").output().is_ok_and(|output| output.status.success()) {
            continue;
        }
        let folder = Folder::new(&format!("{name}-{compiler}-{}", link as i32));
        let program = build(compiler, &root().join(source), link, &folder.0);
        let output =
            Command::new("timeout").arg("120").arg(&program).arg(folder.0.join("data")).args(args).output().unwrap();
        let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{source} by {compiler}: {}\n{said}\n{wrong}", output.status);
        assert_eq!(said, expected, "{source} by {compiler}: {wrong}");
    }
}

fn check_example(name: &str, args: &[&str]) {
    let expected = std::fs::read_to_string(root().join(format!("c-examples/expected/{name}.txt"))).unwrap();
    for link in [Link::Shared, Link::Static] {
        check(&format!("c-examples/{name}.c"), link, args, &expected);
    }
}

#[test]
fn hello_says_what_its_page_says() {
    check_example("hello", &[]);
}

#[test]
fn remote_gets_over_a_restart_of_its_server() {
    check_example("remote", &[]);
}

#[test]
fn resume_keeps_its_lock_across_a_restart() {
    check_example("resume", &[]);
}

#[test]
fn watch_hears_every_change_in_order() {
    check_example("watch", &[]);
}

#[test]
fn loop_runs_callbacks_on_its_own_thread() {
    check_example("loop", &[]);
}

#[test]
fn throughput_loses_no_reply() {
    check_example("throughput", &["2000", "64"]);
}

#[test]
fn misuse_is_answered_with_codes() {
    // C-02, C-03, C-07, C-11, C-12
    check("tests/c/misuse.c", Link::Shared, &[], "0 failures\n");
}

#[test]
fn every_example_is_tested() {
    let this = std::fs::read_to_string(root().join("tests/c_examples.rs")).unwrap();
    for entry in std::fs::read_dir(root().join("c-examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "c") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(this.contains(&format!("check_example(\"{name}\"")), "{name} is not tested");
        }
    }
}
