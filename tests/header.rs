//! `include/zoarium.h`: what it says is what the library has, and compilers take it as C11 and C++17.
//!
//! `UPDATE=1 cargo test --test header` writes it anew.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

const FILES: &[&str] = &[
    "mod",
    "codes",
    "guard",
    "log",
    "config",
    "server",
    "ensemble",
    "queue",
    "result",
    "requests",
    "client",
    "operations",
    "pending",
];

const INTRODUCTION: &str = "\
/*
 * zoarium.h: a ZooKeeper-compatible coordination server and client in one library.
 *
 * Every function that can fail returns a zoa_code, 0 for success; zoa_last_error() has the sentence. Outputs are
 * written on success only. Whatever a _new, _start, _open or _connect hands out is ended by one _free, which takes
 * NULL and may be called in any order. Results own their bytes, of any length. Nothing is printed, no signal handler
 * is installed, the process is never ended.
 *
 * Caveats
 *  - fork: a child may not use handles of its parent; calls answer ZOA_FORKED, and _free leaves their memory alone.
 *    New handles may be made in the child. It holds none of its parent's data files, ports and connections: its copies
 *    of them are closed before fork returns.
 *  - A data folder serves one server at a time (ZOA_IN_USE). Do not put it on a network file system.
 *  - A handle that was freed is usually noticed (ZOA_BAD_HANDLE), but using one remains an error of the program.
 *  - The library cannot be unloaded: dlclose has no effect.
 *  - Structs that begin with struct_size must be filled by their _INIT macro first.
 *
 * This file is generated from src/ffi/ and compared with it by a test.
 */";

const MACROS: &str = "
#ifdef __cplusplus
#define ZOA_INIT_(type) [] { type value = {}; value.struct_size = sizeof(type); return value; }()
#define ZOA_STATUS_INIT ZOA_INIT_(zoa_status)
#define ZOA_SESSION_INIT ZOA_INIT_(zoa_session)
#define ZOA_CLIENT_OPTIONS_INIT ZOA_INIT_(zoa_client_options)
#define ZOA_OP_INIT [] { zoa_op value = {}; value.struct_size = sizeof(zoa_op); value.version = -1; return value; }()
#else
#define ZOA_STATUS_INIT { .struct_size = sizeof(zoa_status) }
#define ZOA_SESSION_INIT { .struct_size = sizeof(zoa_session) }
#define ZOA_CLIENT_OPTIONS_INIT { .struct_size = sizeof(zoa_client_options) }
#define ZOA_OP_INIT { .struct_size = sizeof(zoa_op), .version = -1 }
#endif
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    // The modules it names are read along with it; to name them too would declare everything twice.
    let builder = cbindgen::Builder::new()
        .with_src(root().join("src/ffi/mod.rs"))
        .with_language(cbindgen::Language::C)
        .with_include_guard("ZOARIUM_H")
        .with_header(INTRODUCTION)
        .with_after_include(MACROS)
        .with_cpp_compat(true)
        .with_documentation(true);
    let mut config = cbindgen::Config { usize_is_size_t: true, line_length: 110, ..cbindgen::Config::default() };
    config.language = cbindgen::Language::C;
    config.include_guard = Some("ZOARIUM_H".into());
    config.header = Some(INTRODUCTION.into());
    config.after_includes = Some(MACROS.into());
    config.cpp_compat = true;
    config.no_includes = true;
    config.sys_includes = ["stdbool.h", "stddef.h", "stdint.h"].map(String::from).to_vec();
    config.documentation_style = cbindgen::DocumentationStyle::C99;
    config.function.args = cbindgen::Layout::Auto;
    let mut text = Vec::new();
    builder.with_config(config).generate().unwrap().write(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn the_committed_header_is_that_of_the_source() {
    let path = root().join("include/zoarium.h");
    let fresh = generated();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == fresh, "include/zoarium.h is out of date: run UPDATE=1 cargo test --test header");
}

#[test]
fn every_exported_function_is_declared() {
    let header = generated();
    for file in FILES {
        let source = std::fs::read_to_string(root().join(format!("src/ffi/{file}.rs"))).unwrap();
        for name in source.lines().filter_map(|line| line.split("extern \"C\" fn zoa_").nth(1)) {
            let name = format!("zoa_{}(", name.split('(').next().unwrap());
            assert!(header.contains(&name), "{name} is missing");
        }
    }
}

fn exists(compiler: &str) -> bool {
    Command::new(compiler).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn check_compiles(compilers: &[&str], standard: &str, extension: &str) {
    let folder = std::env::temp_dir().join(format!("zoarium-header-{}-{extension}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let source: PathBuf = folder.join(format!("alone.{extension}"));
    let text = "#include \"zoarium.h\"\nint main(void) {\n  zoa_op op = ZOA_OP_INIT;\n  zoa_status status = ZOA_STATUS_INIT;\n  \
                zoa_session session = ZOA_SESSION_INIT;\n  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;\n  \
                return op.version == -1 && status.struct_size && session.struct_size && options.struct_size ? 0 : 1;\n}\n";
    std::fs::write(&source, text).unwrap();
    let compilers: Vec<&&str> = compilers.iter().filter(|compiler| exists(compiler)).collect();
    assert!(!compilers.is_empty(), "no compiler at all");
    for compiler in compilers {
        let output = Command::new(compiler)
            .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only", "-I"])
            .args([root().join("include"), source.clone()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_header_is_c11() {
    check_compiles(&["gcc", "clang"], "-std=c11", "c");
}

#[test]
fn the_header_is_cpp17() {
    check_compiles(&["g++", "clang++"], "-std=c++17", "cpp");
}

fn check_cxx(source: &str, options: &[&str]) {
    let compilers: Vec<&&str> = ["g++", "clang++"].iter().filter(|compiler| exists(compiler)).collect();
    assert!(!compilers.is_empty(), "no compiler at all");
    for compiler in compilers {
        let output = Command::new(compiler)
            .args([
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Wconversion",
                "-Wshadow",
                "-Wold-style-cast",
                "-Wnon-virtual-dtor",
            ])
            .args(["-Werror", "-fsyntax-only", "-I"])
            .args([root().join("include"), root().join(source)])
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{compiler} {options:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_cxx_header_is_cpp17_and_cpp20() {
    check_cxx("c-examples/cxx.cpp", &["-std=c++17"]);
    check_cxx("c-examples/cxx.cpp", &["-std=c++20"]);
}

#[test]
fn the_cxx_header_does_without_exceptions() {
    check_cxx("tests/cxx/without_exceptions.cpp", &["-std=c++17", "-fno-exceptions"]);
    check_cxx("tests/cxx/without_exceptions.cpp", &["-std=c++20", "-fno-exceptions", "-fno-rtti"]);
}
