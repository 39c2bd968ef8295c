//! What `make install` installs: its files, its names, and that the examples build with it in every way we document. The
//! work is done by `tests/package/check`, as for `make test-install`, here under sanitizers and with the library of this
//! very build.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder that nobody else has, emptied of what an earlier run left.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("package-{name}"));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Runs `make` on the archive that cargo put beside this test.
fn make(folder: &Path, target: &str, settings: &[&str]) {
    let test = std::env::current_exe().unwrap();
    let archive = test.parent().unwrap().join("libzoarium.a");
    let mut command = Command::new("make");
    command.current_dir(root()).arg(target).arg(format!("ARCHIVE={}", archive.display()));
    command.arg(format!("OUT={}", folder.join("out").display()));
    command.arg(format!("DESTDIR={}", folder.join("stage").display()));
    succeeds(command.args(settings).env_remove("MAKEFLAGS").env_remove("MAKELEVEL"));
}

/// Installs below a prefix that does not exist, then moves everything elsewhere: nothing may depend on where it was.
fn install(name: &str, settings: &[&str]) -> PathBuf {
    let folder = folder(name);
    make(&folder, "install", &[&["PREFIX=/nowhere/zoarium"], settings].concat());
    let moved = folder.join("moved");
    std::fs::rename(folder.join("stage/nowhere/zoarium"), &moved).unwrap();
    moved
}

/// The installation that most tests share.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| install("shared", &[]))
}

fn check(prefix: &Path, step: &str) {
    let mut command = Command::new(root().join("tests/package/check"));
    command.arg(prefix).arg(step);
    command.env("CC", "gcc").env("CXX", "g++");
    command.env("TEST_CFLAGS", "-g -fsanitize=address,undefined -fno-sanitize-recover=all");
    let said = succeeds(&mut command);
    // With what it passed over, for whoever reads the output of the tests.
    print!("{said}");
}

#[test]
fn exactly_the_promised_files_are_installed() {
    check(installed(), "contents");
}

#[test]
fn only_our_names_are_exported_and_they_have_versions() {
    check(installed(), "names");
}

#[test]
fn the_names_are_the_same_with_another_linker() {
    let sysroot = succeeds(Command::new("rustc").args(["--print", "sysroot"]));
    let host = succeeds(Command::new("rustc").args(["--print", "host-tuple"]));
    let lld = Path::new(sysroot.trim()).join("lib/rustlib").join(host.trim()).join("bin/gcc-ld");
    if !lld.join("ld.lld").exists() {
        println!("passed over: there is no {}", lld.display());
        return;
    }
    let prefix = install("lld", &[&format!("LDFLAGS=-B{} -fuse-ld=lld", lld.display())]);
    check(&prefix, "names");
}

#[test]
fn examples_build_through_pkg_config() {
    check(installed(), "pkg-config");
}

#[test]
fn examples_build_through_cmake() {
    check(installed(), "cmake");
}

#[test]
fn examples_build_through_meson() {
    check(installed(), "meson");
}

#[test]
fn another_rust_library_fits_in_the_same_program() {
    check(installed(), "two-libraries");
}

#[test]
fn folders_outside_the_prefix_are_named_in_full_and_uninstalling_leaves_nothing() {
    let folder = folder("elsewhere");
    let settings = ["PREFIX=/usr", "LIBDIR=/usr/lib/some-linux-gnu", "INCLUDEDIR=/opt/include"];
    make(&folder, "install", &settings);
    let text = |path: &str| std::fs::read_to_string(folder.join("stage/usr/lib/some-linux-gnu").join(path)).unwrap();
    let module = text("pkgconfig/zoarium.pc");
    assert!(module.contains("prefix=${pcfiledir}/../../..\n"), "{module}");
    assert!(module.contains("libdir=${prefix}/lib/some-linux-gnu\nincludedir=/opt/include\n"), "{module}");
    assert!(text("cmake/zoarium/zoariumConfig.cmake").contains("\"/opt/include\""));
    make(&folder, "uninstall", &settings);
    let left = succeeds(Command::new("find").arg(folder.join("stage")).args(["-not", "-type", "d"]));
    assert_eq!(left, "");
}
