//! The dynamic configuration file beside `zoo.cfg`: what it is called, what is in it, and how `zoo.cfg` comes to name it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{keys, properties};

/// Between the name of the static file and the version.
const INFIX: &str = ".dynamic.";

/// Where the configuration of this version is kept beside the static file: `zoo.cfg.dynamic.100000002`.
pub(crate) fn dynamic_file(static_file: &Path, version: i64) -> PathBuf {
    beside(static_file, &format!("{INFIX}{version:x}"))
}

/// Where ZooKeeper keeps a configuration that is proposed and not committed.
pub(crate) fn next_file(static_file: &Path) -> PathBuf {
    beside(static_file, &format!("{INFIX}next"))
}

/// Where the static file is kept as it was before it first named a dynamic one.
pub(crate) fn backup_file(static_file: &Path) -> PathBuf {
    beside(static_file, ".bak")
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The version that the name of a dynamic file tells; `None` where it tells none.
pub(super) fn version_of_name(file: &Path) -> Option<i64> {
    let name = file.file_name()?.to_str()?;
    let (_, version) = name.rsplit_once(INFIX)?;
    let is_hex = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
    i64::from_str_radix(version, 16).ok().filter(|_| is_hex)
}

/// Whether the key says who the members are, and so belongs into the dynamic file.
pub(super) fn is_membership(name: &str) -> bool {
    ["server.", "group.", "weight."].iter().any(|prefix| name.starts_with(prefix))
}

/// The static file's bytes with the membership left out and `dynamic_file` named instead; all else stays as it was written.
/// `erases_client_port`: the server's own line says where clients connect, so that nothing else may.
///
/// # Errors
/// What is wrong with the file, or why it cannot name `dynamic_file`.
pub(crate) fn renamed(static_file: &[u8], dynamic_file: &Path, erases_client_port: bool) -> Result<Vec<u8>, String> {
    let Some(name) = dynamic_file.to_str().filter(|name| !name.contains(['\n', '\r'])) else {
        return Err(format!("{} cannot be written into a configuration file", dynamic_file.display()));
    };
    let goes = |key: &str| {
        let key = keys::find(key).map_or_else(|| key.to_owned(), |found| found.name);
        let is_client_port = key == "clientPort" || key == "clientPortAddress";
        is_membership(&key)
            || key == "peerType"
            || key == "version"
            || key == "dynamicConfigFile"
            || (erases_client_port && is_client_port)
    };
    let mut text = Vec::with_capacity(static_file.len() + name.len() + 32);
    for lines in logical_lines(static_file) {
        let bytes = &static_file[lines];
        let found = properties::parse(&properties::text_of(bytes)).map_err(|(_, why)| why)?;
        if !found.first().is_some_and(|property| goes(&property.key)) {
            text.extend_from_slice(bytes);
        }
    }
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.push(b'\n');
    }
    // A backslash at the end of the file would join the line that comes to it.
    if text.ends_with(b"\\\n") {
        text.push(b'\n');
    }
    text.extend_from_slice(format!("dynamicConfigFile={}\n", name.replace('\\', "\\\\")).as_bytes());
    Ok(text)
}

/// The lines of a file, those joined by a backslash as one, each with its end.
fn logical_lines(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let (mut begin, mut line_begin) = (0, 0);
    while line_begin < bytes.len() {
        let rest = &bytes[line_begin..];
        let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let end = match &rest[length..] {
            [b'\r', b'\n', ..] => line_begin + length + 2,
            [_, ..] => line_begin + length + 1,
            [] => line_begin + length,
        };
        let line = &rest[..length];
        let is_first = begin == line_begin;
        let first = line.iter().find(|byte| !matches!(byte, b' ' | b'\t' | 0x0c));
        let is_nothing = is_first && matches!(first, None | Some(b'#' | b'!'));
        let backslashes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
        line_begin = end;
        if is_nothing || backslashes % 2 == 0 {
            lines.push(begin..end);
            begin = end;
        }
    }
    if begin < bytes.len() {
        lines.push(begin..bytes.len());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_by_the_name_of_a_dynamic_file_and_by_no_other() {
        let check = |name: &str, expected| assert_eq!(version_of_name(Path::new(name)), expected, "{name}");
        check("/etc/zoo.cfg.dynamic.100000002", Some(0x1_0000_0002));
        check("zoo.cfg.dynamic.0", Some(0));
        check("zoo.cfg.dynamic.ffffffffffffffff", None);
        check("zoo.cfg.dynamic.+1", None);
        check("zoo.cfg.dynamic.next", None);
        check("zoo.cfg.dynamic.", None);
        check("zoo.cfg.dynamic", None);
        check("members", None);
        let version = 0x1_0000_00ab;
        assert_eq!(version_of_name(&dynamic_file(Path::new("/etc/zoo.cfg"), version)), Some(version));
        assert_eq!(next_file(Path::new("a.cfg")), Path::new("a.cfg.dynamic.next"));
        assert_eq!(backup_file(Path::new("a.cfg")), Path::new("a.cfg.bak"));
    }

    fn check(text: &str, erases: bool, expected: &str) {
        let renamed = renamed(text.as_bytes(), Path::new("/etc/zoo.cfg.dynamic.5"), erases).unwrap();
        let renamed = String::from_utf8(renamed).unwrap();
        assert_eq!(renamed, format!("{expected}dynamicConfigFile=/etc/zoo.cfg.dynamic.5\n"), "{text:?}");
        // Named already, it is named once.
        let again = super::renamed(renamed.as_bytes(), Path::new("/etc/zoo.cfg.dynamic.5"), erases).unwrap();
        assert_eq!(String::from_utf8(again).unwrap(), renamed);
    }

    #[test]
    fn the_static_file_loses_its_members_and_keeps_all_else_as_it_was_written() {
        let fixed = "# Written by hand\n\ntickTime = 2000\r\ndataDir: /var/lib/\\\n   zookeeper\n";
        check(&format!("{fixed}server.1=a:1:2\nserver.2=\\\n  b:1:2\n"), false, fixed);
        check(&format!("zookeeper.server.1=a:1:2\n{fixed}group.1=1:2\nweight.1 3\npeerType=observer"), false, fixed);
        check("clientPort=1\nclientPortAddress=::\nserver.1=a:1:2;1", true, "");
        check("clientPort=1\nserver.1=a:1:2", false, "clientPort=1\n");
        check("# server.1=a:1:2 \\\nserver.1=a:1:2\ninitLimit=5", false, "# server.1=a:1:2 \\\ninitLimit=5\n");
        check("dynamicConfigFile=/etc/zoo.cfg.dynamic.4\nx=\\", false, "x=\\\n\n");
        check("", false, "");
        let latin = renamed(b"dataDir=/m\xfcll\nserver.1=a:1:2\n", Path::new("/d"), false).unwrap();
        assert_eq!(latin, b"dataDir=/m\xfcll\ndynamicConfigFile=/d\n");
        assert_eq!(renamed(b"", Path::new("C:\\zoo"), false).unwrap(), b"dynamicConfigFile=C:\\\\zoo\n");
        assert!(renamed(b"", Path::new("/a\nb"), false).is_err());
    }
}
