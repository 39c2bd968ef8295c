//! The examples and tests in C and C++: built with sanitizers, against the shared and the static library, run and
//! compared.

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

fn is_cxx(source: &Path) -> bool {
    source.extension().is_some_and(|extension| extension == "cpp")
}

/// The compilers that are here; without any a test shows nothing.
fn compilers(source: &Path) -> Vec<&'static str> {
    let known = if is_cxx(source) { ["g++", "clang++"] } else { ["gcc", "clang"] };
    let is_here =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let found: Vec<&str> = known.into_iter().filter(is_here).collect();
    assert!(!found.is_empty(), "no compiler at all");
    found
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What finds wrong memory. Not for what forks beside other threads: the sanitizer's own allocator, left locked by one of
/// them, does not survive that.
fn sanitizers(name: &Path) -> &'static [&'static str] {
    if name.file_stem().is_some_and(|stem| stem == "fork") {
        return &[];
    }
    &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
}

fn compile(compiler: &str, source: &Path, object: &Path) {
    // C++ without optimisation: with sanitizers it would take its compilers three times as long.
    let language = if is_cxx(source) { ["-std=c++17", "-O0"] } else { ["-std=gnu11", "-O1"] };
    let without = if source.ends_with("without_exceptions.cpp") { &["-fno-exceptions"][..] } else { &[] };
    let warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"];
    let mut command = Command::new(compiler);
    command.args(language).args(without).args(warnings).args(sanitizers(source)).args(["-g", "-c", "-I"]);
    succeeds(command.arg(root().join("include")).arg(source).arg("-o").arg(object));
}

fn link_with(compiler: &str, object: &Path, link: Link, folder: &Path) -> PathBuf {
    let program = folder.join(format!("program-{}", link as i32));
    let mut command = Command::new(compiler);
    command.args(sanitizers(object)).arg(object).arg("-o").arg(&program);
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
    succeeds(command.arg("-lpthread"));
    program
}

#[test]
fn the_commands_for_cargos_own_library_work_as_they_are_documented() {
    let document = std::fs::read_to_string(root().join("docs/LINKING.md")).unwrap();
    let section = document.split("## Why not `cargo build`").nth(1).unwrap();
    let commands = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    // The library of this very build stands for what the first command makes.
    let (build, rest) = commands.split_once('\n').unwrap();
    assert_eq!(build, "cargo build --release");
    let folder = Folder::new("cargo");
    let link = |to: PathBuf, name: &str| std::os::unix::fs::symlink(to, folder.0.join(name)).unwrap();
    std::fs::create_dir_all(folder.0.join("target/release")).unwrap();
    link(libraries().join("libzoarium.so"), "target/release/libzoarium.so");
    link(root().join("include"), "include");
    link(root().join("c-examples/hello.c"), "app.c");
    let mut shell = Command::new("sh");
    succeeds(shell.current_dir(&folder.0).args(["-euc", rest]));
    succeeds(Command::new(folder.0.join("a.out")).current_dir(&folder.0));
}

fn check(source: &str, links: &[Link], args: &[&str], expected: &str) {
    let name = Path::new(source).file_stem().unwrap().to_str().unwrap();
    let source = root().join(source);
    for compiler in compilers(&source) {
        let folder = Folder::new(&format!("{name}-{compiler}"));
        let object = folder.0.join(format!("{name}.o"));
        compile(compiler, &source, &object);
        for &link in links {
            let program = link_with(compiler, &object, link, &folder.0);
            let data = folder.0.join(format!("data-{}", link as i32));
            let output = Command::new("timeout").arg("120").arg(&program).arg(data).args(args).output().unwrap();
            let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{name} by {compiler}: {}\n{said}\n{wrong}", output.status);
            assert_eq!(said, expected, "{name} by {compiler}: {wrong}");
            // C-10: the library says nothing by itself. What differs from run to run these two tell there.
            let tells = ["throughput", "lock_losses"].contains(&name);
            assert!(tells || wrong.is_empty(), "{name} by {compiler}: {wrong}");
        }
    }
}

fn check_example(name: &str) {
    let page = |extension: &str| root().join(format!("c-examples/expected/{name}.{extension}"));
    let expected = std::fs::read_to_string(page("txt")).unwrap();
    let args = std::fs::read_to_string(page("args")).unwrap_or_default();
    let args: Vec<&str> = args.split_whitespace().collect();
    let source = ["c", "cpp"].map(|extension| format!("c-examples/{name}.{extension}"));
    let source = source.iter().find(|source| root().join(source).exists()).unwrap();
    check(source, &[Link::Shared, Link::Static], &args, &expected);
}

#[test]
fn hello_says_what_its_page_says() {
    check_example("hello");
}

#[test]
fn remote_gets_over_a_restart_of_its_server() {
    check_example("remote");
}

#[test]
fn resume_keeps_its_lock_across_a_restart() {
    check_example("resume");
}

#[test]
fn watch_hears_every_change_in_order() {
    check_example("watch");
}

#[test]
fn loop_runs_callbacks_on_its_own_thread() {
    check_example("loop");
}

#[test]
fn throughput_loses_no_reply() {
    check_example("throughput");
}

#[test]
fn lock_is_handed_on_in_order_and_refuses_who_lost_it() {
    check_example("lock");
}

#[test]
fn config_ends_with_what_was_written_last() {
    check_example("config");
}

#[test]
fn membership_notices_who_leaves_and_who_crashes() {
    check_example("membership");
}

#[test]
fn ensemble_goes_on_without_its_leader_and_takes_it_back() {
    check_example("ensemble");
}

#[test]
fn ensembles_are_killed_paused_cut_off_and_ended_in_any_order() {
    check("tests/c/ensembles.c", &[Link::Shared], &[], "0 failures\n");
}

#[test]
fn cxx_says_what_its_page_says() {
    check_example("cxx");
}

#[test]
fn misuse_is_answered_with_codes() {
    // C-02, C-03, C-07, C-11, C-12
    check("tests/c/misuse.c", &[Link::Shared], &[], "0 failures\n");
}

#[test]
fn the_lock_of_the_example_survives_lost_connections() {
    check("tests/c/lock_losses.c", &[Link::Shared], &[], "0 faults, 18 times held, 0 left, cut\n");
}

#[test]
fn the_cxx_header_frees_every_callable_once() {
    check("tests/cxx/wrapper.cpp", &[Link::Shared], &[], "0 failures\n");
}

#[test]
fn the_cxx_header_works_without_exceptions() {
    check("tests/cxx/without_exceptions.cpp", &[Link::Static], &[], "1 answered\n");
}

#[test]
fn hostile_calls_break_nothing() {
    // Z-14, C-01 to C-04, C-07, C-08. A million of them: `.ci/test hostile-calls`.
    let seed = std::env::var("ZOA_SEED").unwrap_or_else(|_| "1".to_owned());
    check("tests/c/hostile_calls.c", &[Link::Shared], &["4000", &seed], "0 failures\n");
}

#[test]
fn a_server_stops_in_every_state_and_ends_sessions_on_demand() {
    // L-11, C-08, C-09
    check("tests/c/control.c", &[Link::Shared], &[], "0 failures\n");
}

#[test]
fn the_header_keeps_its_promises() {
    check("tests/c/promises.c", &[Link::Shared], &[], "0 failures\n");
}

#[test]
fn callbacks_that_end_each_others_clients_come_to_an_end() {
    check("tests/c/crossing.c", &[Link::Shared], &[], "0 failures\n");
}

/// Under Valgrind, which must find nothing lost, not even possibly. Where there is none, it says so.
#[test]
fn a_host_is_left_without_lost_memory() {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no valgrind here");
        return;
    }
    let (folder, source) = (Folder::new("valgrind"), root().join("tests/c/guest.c"));
    let (object, program) = (folder.0.join("guest.o"), folder.0.join("guest"));
    let mut compile = Command::new("gcc");
    succeeds(compile.args(["-g", "-c", "-I"]).arg(root().join("include")).arg(source).arg("-o").arg(&object));
    let mut link = Command::new("gcc");
    link.arg(&object).arg(libraries().join("libzoarium.a"));
    succeeds(link.args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc", "-o"]).arg(&program));
    let kinds = ["--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible"];
    let mut run = Command::new("timeout");
    let output = run.args(["300", "valgrind"]).args(kinds).arg(&program).arg(folder.0.join("data")).output().unwrap();
    let (said, found) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said == "0 failures\n", "{}\n{said}\n{found}", output.status);
}

#[test]
fn what_is_refused_for_its_size_or_form_did_not_happen_and_costs_nothing() {
    check("tests/c/refusals.c", &[Link::Shared], &[], "0 failures\n");
}

#[test]
fn a_server_stops_during_a_slow_sync_and_a_snapshot_and_may_die_while_it_recovers() {
    check("tests/c/stops.c", &[Link::Shared], &[], "0 failures\n");
}

#[test]
fn a_forked_child_has_nothing_of_its_parent_and_everything_of_its_own() {
    // C-11
    check("tests/c/fork.c", &[Link::Shared, Link::Static], &[], "0 failures\n");
}

#[test]
fn a_client_over_tcp_is_a_good_guest_too() {
    // C-02, C-03, C-07, C-10, C-11
    check("tests/c/remote.c", &[Link::Shared], &[], "0 failures\n");
}

/// The README's block in a language, as it stands there.
fn readme_block(language: &str) -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut lines = readme.lines().skip_while(|line| *line != format!("```{language}")).skip(1);
    let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
    assert!(!block.is_empty(), "the README has no block in {language}");
    block.join("\n")
}

/// Runs a README's block between what a program needs before and after it, in a folder of its own.
fn check_readme(language: &str, before: &str, after: &str) {
    let folder = Folder::new(&format!("readme-{language}"));
    let source = folder.0.join(format!("readme.{language}"));
    let enter = "if (argc != 2 || mkdir(argv[1], 0700) != 0 || chdir(argv[1]) != 0) return 2;";
    let main = format!("int main(int argc, char **argv) {{\n{enter}\n");
    std::fs::write(&source, format!("{before}\n{main}{}\n{after}\n}}\n", readme_block(language))).unwrap();
    check(source.to_str().unwrap(), &[Link::Shared], &[], "");
}

const POSIX: &str = "#include <sys/stat.h>\n#include <unistd.h>\n#include <stdio.h>";

#[test]
fn the_readmes_c_runs() {
    let after = "zoa_client_free(client), zoa_server_free(server), zoa_config_free(config);\nreturn code != ZOA_OK;";
    check_readme("c", &format!("{POSIX}\n#include <zoarium.h>"), after);
}

#[test]
fn the_readmes_cxx_runs() {
    check_readme(
        "cpp",
        &format!("{POSIX}\n#include <zoarium.hpp>"),
        "return client.get(\"/hello\").data() != \"world\";",
    );
}

#[test]
fn every_example_is_tested() {
    let this = std::fs::read_to_string(root().join("tests/c_examples.rs")).unwrap();
    for entry in std::fs::read_dir(root().join("c-examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "c" || extension == "cpp") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(this.contains(&format!("check_example(\"{name}\"")), "{name} is not tested");
        }
    }
}
